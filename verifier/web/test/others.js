// What the page does not need, read from docs/formats all the same, so that every file in tests/vectors goes through a second
// reading: commitments and snapshots (content.md), tiles (tiles.md), witnesses (witness.md).
"use strict";

const { iso } = require("./load.js");
const j = iso.json;

// ---- content --------------------------------------------------------------------------------------------------------

const COMMIT = iso.blake3(iso.encode("isoledger content commit v1"));

function commitment(opening, origin, seq, content) {
  return iso.keyedBlake3(COMMIT, iso.concat(opening, iso.blake3(iso.encode(origin)), iso.u64Bytes(seq), iso.blake3(content)));
}

const signed = (c) => (c.tries("-") ? -j.integer(1, Number.MAX_SAFE_INTEGER)(c) : j.count(c));

// Values of the given shapes, in brackets.
const tuple = (...shapes) => (c) => {
  c.take("[");
  const values = shapes.map((shape, i) => {
    if (i > 0) c.take(",");
    return shape(c);
  });
  c.take("]");
  return values;
};

const window = tuple(signed, signed);
const manifest = j.object({
  v: j.one, snapshot: j.digest, manager: window, switches: j.list(window),
  rereads: j.list(tuple(j.count, j.string, signed, signed)),
});

const source = j.object({
  reader: j.object({ dialect: j.string, version: j.count }), identity: j.orNull(j.string),
  failure: j.orNull(j.word("silent", "unreadable", "source-changed")), error: j.orNull(j.string), state: j.orNull(j.digest),
  evidence: j.orNull(j.digest),
});
const snapshot = j.object({
  v: j.one, scope_seq: j.count, scope: j.digest, slots: j.digest, manager: source,
  switches: j.list(j.object({ name: j.string, source })),
  moving: j.list(j.object({ port: j.object({ switch: j.string, port: j.string }), polls: j.count, since: j.time })),
});

// ---- tiles ----------------------------------------------------------------------------------------------------------

const WIDTH = 256n;

function parseTilePath(path) {
  const m = /^tile\/(0|[1-9][0-9]*|entries)\/((?:x[0-9]{3}\/)*[0-9]{3})(?:\.p\/([1-9][0-9]{0,2}))?$/.exec(path);
  const level = m && m[1] !== "entries" ? Number(m[1]) : 0;
  const width = m && m[3] !== undefined ? Number(m[3]) : 256;
  const index = m && BigInt(m[2].replace(/[x/]/g, ""));
  const partial = m && m[3] !== undefined;
  if (m === null || path.length > 64 || level > 63 || (partial && width > 255) || m[2].startsWith("x000/") || index > iso.U64_MAX) {
    iso.refuse("path", `${path} is no tile`);
  }
  return { entries: m[1] === "entries", level, index, width };
}

function tilePath(level, index, width) {
  const groups = index.toString().padStart(Math.ceil(index.toString().length / 3) * 3, "0").match(/.../g);
  const number = groups.map((group, i) => (i < groups.length - 1 ? `x${group}` : group)).join("/");
  return `tile/${level}/${number}${width === 256n ? "" : `.p/${width}`}`;
}

function hashesOn(level, size) {
  return size / WIDTH ** BigInt(level);
}

function listTiles(size) {
  const all = [];
  const add = (name, count) => {
    for (let i = 0n; i < count / WIDTH; i++) all.push(tilePath(name, i, WIDTH));
    if (count % WIDTH > 0n) all.push(tilePath(name, count / WIDTH, count % WIDTH));
  };
  for (let level = 0; hashesOn(level, size) > 0n; level++) add(level, hashesOn(level, size));
  add("entries", size);
  return all;
}

// Whether a log of this size has the tile, and whether it is the tile *of* the size at its place.
function within(path, size) {
  const { level, index, width } = parseTilePath(path);
  const count = hashesOn(level, size);
  const end = index * WIDTH + BigInt(width);
  if (end > count) iso.refuse("not-within", `${path} is not within ${size} entries`);
  const full = (index + 1n) * WIDTH <= count;
  return { current: full ? width === 256 : end === count };
}

function parseBundle(bytes, width) {
  const entries = [];
  let at = 0;
  while (entries.length < width) {
    if (at + 2 > bytes.length) iso.refuse("bundle-short", "an entry is missing");
    const length = (bytes[at] << 8) | bytes[at + 1];
    at += 2 + length;
    if (at > bytes.length) iso.refuse("bundle-short", "an entry is cut off");
    entries.push(bytes.subarray(at - length, at));
  }
  if (at !== bytes.length) iso.refuse("bundle-long", "something behind the last entry");
  return entries;
}

function parseTile(bytes, width) {
  if (bytes.length !== 32 * width) iso.refuse("length", `${bytes.length} bytes in a tile of ${width}`);
  return Array.from({ length: width }, (_, i) => bytes.slice(32 * i, 32 * i + 32));
}

function checkParent(bytes, parent) {
  if (!iso.equalBytes(iso.merkle.rootOf(parseTile(bytes, 256)), parent)) iso.refuse("parent-mismatch", "not what its parent holds");
}

// ---- witness --------------------------------------------------------------------------------------------------------

const REQUEST_LIMIT = 68397, NOTE_LIMIT = 65536, PROOF_LINES = 63;

function malformed(what) {
  iso.refuse("malformed", what);
}

// As a witness reads a checkpoint: extension lines, none of them empty, are taken.
function parseForeignCheckpoint(text) {
  const [origin, sizeText, rootText, ...rest] = text.slice(0, -1).split("\n");
  const size = sizeText === undefined ? null : iso.u64(sizeText), root = rootText === undefined ? null : iso.hashFromBase64(rootText);
  if (!iso.note.isName(origin) || size === null || root === null || rest.includes("")) malformed("no checkpoint");
  return { origin, size, root };
}

function parseRequest(bytes) {
  if (bytes.length > REQUEST_LIMIT) malformed("too long");
  const text = iso.decode(bytes, "malformed");
  const m = /^old ([0-9]+)\n((?:.{44}\n)*)\n/.exec(text);
  const old = m === null ? null : iso.u64(m[1]);
  if (old === null) malformed("no old size");
  const proof = m[2].split("\n").slice(0, -1).map((line) => iso.hashFromBase64(line) ?? malformed("no hash"));
  if (proof.length > PROOF_LINES) malformed("too many hashes");
  const noteBytes = iso.encode(text.slice(m[0].length));
  if (noteBytes.length > NOTE_LIMIT) malformed("too long a note");
  let note;
  try {
    note = iso.note.readNote(noteBytes);
  } catch (error) {
    malformed(error.message);
  }
  return { old, proof, note, checkpoint: parseForeignCheckpoint(note.text) };
}

// `logs` are the keys of the witness's list; `latest` what it cosigned last, or null. Refuses with the conflict's size, if any.
async function answerRequest(bytes, logs, latest) {
  const { old, proof, note, checkpoint } = parseRequest(bytes);
  const keys = logs.filter((key) => key.name === checkpoint.origin);
  if (keys.length === 0) iso.refuse("unknown-log", `nobody here watches ${checkpoint.origin}`);
  try {
    await iso.note.verifyNote(note, keys);
  } catch (error) {
    iso.refuse("signature", error.message);
  }
  if (old > checkpoint.size) iso.refuse("old-above-size", "from more entries to fewer");
  const before = latest ?? { size: 0n, root: iso.sha256(new Uint8Array(0)) };
  if (old !== before.size) throw Object.assign(new iso.Refused("conflict", "another size"), { size: before.size });
  if (checkpoint.size === 0n && !iso.equalBytes(checkpoint.root, iso.sha256(new Uint8Array(0)))) iso.refuse("empty-root", "no such root");
  try {
    iso.merkle.consistency(before, checkpoint, proof);
  } catch (error) {
    iso.refuse("inconsistent", error.message);
  }
}

const STATUS = {
  malformed: 400, "unknown-log": 404, signature: 403, "old-above-size": 400, conflict: 409, "empty-root": 422, inconsistent: 422,
};

// What the log takes an answer for.
function takeAnswer(status, type, body) {
  const isSize = /^text\/x\.tlog\.size *(;|$)/.test(type ?? "");
  if (status === 200) return cosignatures(body) ? "cosigned" : "odd";
  if (status === 409) return isSize && body.endsWith("\n") && iso.u64(body.slice(0, -1)) !== null ? "stands" : "contradicts";
  if (status === 422) return "contradicts";
  if (status === 403 || status === 404) return "not-watched";
  if (status === 429 || status >= 500) return "busy";
  return status === 400 ? "malformed" : "odd";
}

function cosignatures(body) {
  try {
    iso.note.readNote(iso.encode(`x\n\n${body}`));
    return true;
  } catch {
    return false;
  }
}

module.exports = {
  commitment, manifest, snapshot, parseTilePath, listTiles, within, parseBundle, parseTile, checkParent, answerRequest, STATUS, takeAnswer,
};
