// Signed notes, verifier keys and checkpoints (docs/formats/checkpoint.md).
"use strict";

(function (iso) {
  const NOTE_LIMIT = 1048576, LINES_LIMIT = 64, NAME_LIMIT = 255, CHECKPOINT_LIMIT = 322;
  const LAST_SECOND = 253402300799n;
  const PLAIN = 1, COSIGNATURE = 4;
  const LF = 10;

  function isName(name) {
    return name !== "" && iso.encode(name).length <= NAME_LIMIT && !/[\p{White_Space}\p{Cc}+]/u.test(name);
  }

  // ---- verifier keys ------------------------------------------------------------------------------------------------

  function keyId(name, type, key) {
    return iso.hex(iso.sha256(iso.concat(iso.encode(name), [LF, type], key)).subarray(0, 4));
  }

  function parseKey(text) {
    const parts = /^([^+]*)\+([^+]*)\+(.*)$/s.exec(text);
    if (parts === null) iso.refuse("malformed", "a verifier key is name+id+base64");
    const [, name, id, encoded] = parts;
    if (!isName(name)) iso.refuse("name", `${JSON.stringify(name)} is no name for a key`);
    if (!/^[0-9a-f]{8}$/.test(id)) iso.refuse("malformed", "a key id has eight lower-case hex digits");
    const bytes = iso.unbase64(encoded);
    if (bytes === null || bytes.length === 0) iso.refuse("malformed", `the key of ${name} is not base64`);
    const type = bytes[0], key = bytes.slice(1);
    if (type !== PLAIN && type !== COSIGNATURE) iso.refuse("algorithm", `the key of ${name} is of type ${type}`);
    if (key.length !== 32) iso.refuse("malformed", `the key of ${name} has ${key.length} bytes, not 32`);
    if (keyId(name, type, key) !== id) iso.refuse("id", `the id of the key of ${name} is not the hash of the rest`);
    if (!iso.ed25519.isKey(key)) iso.refuse("point", `the key of ${name} is no point of large order`);
    return { name, id, type, key, text };
  }

  // ---- reading ------------------------------------------------------------------------------------------------------

  function parseLine(line) {
    const bad = () => iso.refuse("signature-line", `${JSON.stringify(line)} is no signature line`);
    const m = /^\u2014 ([^ ]*) ([^ ]*)$/.exec(line);
    if (m === null || !isName(m[1])) bad();
    const bytes = iso.unbase64(m[2]);
    if (bytes === null || bytes.length < 5) bad();
    return { name: m[1], id: iso.hex(bytes.subarray(0, 4)), signature: bytes.slice(4) };
  }

  // The text (its last newline included) and the signature lines, all of them well-formed.
  function readNote(bytes) {
    if (bytes.length > NOTE_LIMIT) iso.refuse("too-long", "a note has at most 1 MiB");
    const all = iso.decode(bytes);
    if (/[\u0000-\u0009\u000b-\u001f]/.test(all)) iso.refuse("control-character", "a control character in a note");
    if (!all.endsWith("\n")) iso.refuse("no-final-newline", "a note ends with a newline");
    const blank = all.lastIndexOf("\n\n");
    if (blank < 0 || blank + 2 === all.length) iso.refuse("no-signature", "no signature below a blank line");
    const lines = all.slice(blank + 2, -1).split("\n");
    if (lines.length > LINES_LIMIT) iso.refuse("too-many-signatures", `${lines.length} signature lines, at most 64`);
    return { text: all.slice(0, blank + 1), lines: lines.map(parseLine) };
  }

  // ---- verifying ----------------------------------------------------------------------------------------------------

  function isOf(line, key) {
    return line.name === key.name && line.id === key.id;
  }

  // The second that a cosignature names, or null when the line is none.
  function cosignatureTime(line) {
    if (line.signature.length !== 72) return null;
    return new DataView(line.signature.buffer, line.signature.byteOffset).getBigUint64(0);
  }

  async function verifyLine(line, key, text) {
    if (key.type === PLAIN) {
      const good = line.signature.length === 64 && (await iso.ed25519.verify(key.key, line.signature, iso.encode(text)));
      if (!good) iso.refuse("bad-signature", `the signature of ${key.name} does not verify`);
      return null;
    }
    const time = cosignatureTime(line);
    if (time === null) iso.refuse("bad-signature", `the cosignature of ${key.name} has another length`);
    if (time === 0n || time > LAST_SECOND) iso.refuse("cosignature-time", `${key.name} cosigned at no possible time`);
    const signed = iso.encode(`cosignature/v1\ntime ${time}\n${text}`);
    if (!(await iso.ed25519.verify(key.key, line.signature.subarray(8), signed))) {
      iso.refuse("bad-signature", `the cosignature of ${key.name} does not verify`);
    }
    return Number(time);
  }

  // The known keys that signed, in the order of the lines: [{ key, time }], time in seconds and null for plain ones.
  async function verifyNote(note, keys) {
    keys.forEach((a, i) => {
      if (keys.slice(0, i).some((b) => isOf(a, b) && !iso.equalBytes(a.key, b.key))) {
        iso.refuse("ambiguous-key", `two known keys are called ${a.name} with one id`);
      }
    });
    const known = [];
    for (const line of note.lines) {
      const key = keys.find((k) => isOf(line, k));
      if (key === undefined) continue;
      if (known.some((other) => other.key === key)) iso.refuse("duplicate-signature", `${key.name} signed twice`);
      known.push({ key, line });
    }
    if (known.length === 0) iso.refuse("unknown-signers", "nobody known signed this");
    const signers = [];
    for (const { key, line } of known) signers.push({ key, time: await verifyLine(line, key, note.text) });
    return signers;
  }

  async function verifyRecord(bytes, key) {
    const note = readNote(bytes);
    if (note.text.indexOf("\n") !== note.text.length - 1 || note.text === "\n") {
      iso.refuse("record-lines", "the text of a record is one line");
    }
    if (note.lines.length !== 1) iso.refuse("signature-count", "a record has exactly one signature");
    if (note.lines[0].signature.length !== 64) iso.refuse("signature-line", "a record's signature has 68 bytes");
    if (key.type !== PLAIN) iso.refuse("unknown-signers", "a cosigner's key signs no records");
    return verifyNote(note, [key]);
  }

  // ---- checkpoints --------------------------------------------------------------------------------------------------

  const EMPTY_ROOT = iso.sha256(new Uint8Array(0));

  function parseCheckpoint(text) {
    if (iso.encode(text).length > CHECKPOINT_LIMIT) iso.refuse("too-long", "a checkpoint's text has at most 322 bytes");
    const lines = text.split("\n");
    if (lines.length !== 4) iso.refuse("lines", "a checkpoint has three lines: origin, size, root");
    const [origin, sizeText, rootText] = lines;
    if (!isName(origin)) iso.refuse("origin", `${JSON.stringify(origin)} is no origin`);
    const size = iso.u64(sizeText);
    if (size === null) iso.refuse("size", `${JSON.stringify(sizeText)} is no size`);
    const root = iso.hashFromBase64(rootText);
    if (root === null) iso.refuse("root", `${JSON.stringify(rootText)} is no root`);
    if (size === 0n && !iso.equalBytes(root, EMPTY_ROOT)) iso.refuse("empty-root", "another root for no entries");
    return { origin, size, root };
  }

  // `logs` are keys of one origin, any of which may have signed; `cosigners` those whose lines are to be checked.
  async function verifyCheckpoint(bytes, logs, cosigners) {
    if (logs.some((k) => k.type !== PLAIN) || cosigners.some((k) => k.type !== COSIGNATURE)) {
      iso.refuse("wrong-kind", "a log signs with type 01, a cosigner with type 04");
    }
    const note = readNote(bytes);
    const checkpoint = parseCheckpoint(note.text);
    if (logs.some((k) => k.name !== checkpoint.origin)) {
      iso.refuse("wrong-origin", `a checkpoint of ${checkpoint.origin}, not of ${logs[0].name}`);
    }
    const signers = await verifyNote(note, [...logs, ...cosigners]);
    if (!signers.some((s) => s.key.type === PLAIN)) iso.refuse("unknown-signers", `${checkpoint.origin} did not sign`);
    return { ...checkpoint, lines: note.lines, cosigned: signers.filter((s) => s.key.type === COSIGNATURE) };
  }

  iso.note = { isName, parseKey, readNote, verifyNote, verifyRecord, parseCheckpoint, verifyCheckpoint, PLAIN, COSIGNATURE };
})(globalThis.isoverify = globalThis.isoverify || {});
