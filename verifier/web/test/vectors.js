// Every file in tests/vectors, read as the pages' sections "Vector files" say.
"use strict";

const fs = require("node:fs");
const path = require("node:path");
const { iso, ROOT } = require("./load.js");
const others = require("./others.js");
const j = iso.json;

const VECTORS = path.join(ROOT, "tests/vectors");

// Header lines, a line of three hyphens, bytes. With `form: hex` the bytes are hex digits and white space.
function readVector(file) {
  const bytes = fs.readFileSync(file);
  const at = bytes.indexOf("\n---\n");
  const head = { all: [] };
  for (const line of bytes.subarray(0, at).toString("utf8").split("\n")) {
    const [, name, value] = /^([a-z-]+): ?(.*)$/s.exec(line);
    head.all.push([name, value]);
    head[name] ??= value;
  }
  let body = new Uint8Array(bytes.subarray(at + 5));
  if (head.form === "hex") body = iso.unhex(iso.decode(body).replace(/\s/g, ""));
  return { head, body, lines: (name) => head.all.filter(([n]) => n === name).map(([, value]) => value) };
}

function must(condition, what) {
  if (!condition) throw new Error(what);
}

function mustBe(got, wanted, what = "") {
  must(String(got) === String(wanted), `${what} is ${got}, not ${wanted}`);
}

const hash = iso.hashFromBase64;
const textLines = (body) => iso.decode(body).split("\n").filter((line) => line !== "");
const named = (body, name) => textLines(body).filter((line) => line.split(" ")[0] === name).map((line) => line.slice(name.length + 1));

// Each returns nothing, or refuses with the kind that the vector expects; what a good one must say is compared on the way.
const readers = {
  async note({ head, body, lines }) {
    if (head.as === "vkey") return void iso.note.parseKey(iso.decode(body));
    const keys = lines("key").map(iso.note.parseKey);
    const signers = head.as === "record" ? await iso.note.verifyRecord(body, keys[0]) : await iso.note.verifyNote(iso.note.readNote(body), keys);
    mustBe(signers.map((s) => s.key.name).join(", "), head.verified, "verified");
    if (head.time !== undefined) mustBe(signers[0].time, head.time, "time");
  },

  async checkpoint({ head, body, lines }) {
    const c = await iso.note.verifyCheckpoint(body, [iso.note.parseKey(head.log)], lines("cosigner").map(iso.note.parseKey));
    mustBe(c.size, head.size, "size");
    mustBe(c.cosigned.map((s) => `${s.key.name}@${s.time}`).join(" "), head.cosigned ?? "", "cosigned");
  },

  async dsse({ head, body }) {
    if (head.kind === "pae") return mustBe(iso.hex(iso.attestation.signedBytes(head.type, iso.unhex(head.payload))), iso.hex(body), "bytes");
    const key = iso.note.parseKey(head.key);
    if (head.kind === "keyid") return mustBe(iso.attestation.keyId(key), iso.decode(body).trim(), "keyid");
    const envelope = iso.attestation.parseEnvelope(body, Number(head.max));
    await iso.attestation.verifyEnvelope(envelope, [key]);
    if (envelope.type !== head.type) iso.refuse("wrong-payload-type", "another type");
  },

  entry({ head, body }) {
    const entry = iso.entry.parseBytes(body);
    mustBe(entry.type, head.type, "type");
    mustBe(entry.seq, head.seq, "seq");
    mustBe(entry.digest, head.digest, "digest");
  },

  chain({ head, body }) {
    const entries = iso.decode(body).split(/(?<=\n)/).map((text) => iso.entry.parse(text));
    const chain = new iso.entry.Chain();
    entries.forEach((entry, i) => {
      try {
        chain.add(entry);
      } catch (error) {
        mustBe(entries[0].seq + i, head.at, "at");
        throw error;
      }
    });
    mustBe(chain.last.digest, head.head, "head");
  },

  merkle({ head, body }) {
    const big = (name) => BigInt(head[name]);
    switch (head.kind) {
      case "leaf":
        return mustBe(iso.base64(iso.merkle.leafHash(body)), head.hash, "hash");
      case "root": {
        const leaves = iso.decode(body).split("\n").filter((line) => line.startsWith("entry")).map((line) => iso.merkle.leafHash(iso.unhex(line.slice(6))));
        return mustBe(iso.base64(iso.merkle.rootOf(leaves)), head.root, "root");
      }
      case "inclusion":
        return iso.merkle.inclusion(hash(head.leaf), big("index"), big("size"), hash(head.root), textLines(body).map(hash));
      case "consistency": {
        const tree = (name) => ({ size: big(name), root: hash(head[`${name}-root`]) });
        return iso.merkle.consistency(tree("older"), tree("newer"), textLines(body).map(hash));
      }
      default: {
        const of = (name) => named(body, name).map(hash);
        return iso.merkle.range(big("start"), big("end"), big("size"), hash(head.root), of("left"), of("right"), of("leaf"));
      }
    }
  },

  "vlan-tree"({ head, body }) {
    const digest = (name) => iso.unhex(head[name]);
    const handle = (label, ...parts) => {
      const zero = [0];
      const message = iso.concat(iso.encode(`isoledger/${label}/1`), ...parts.flatMap((part) => [zero, iso.encode(part)]));
      return iso.hex(iso.keyedBlake3(digest("handles"), message));
    };
    const unusedKey = (slot) => iso.keyedBlake3(digest("unused"), [slot >> 8, slot & 255]);
    const leaf = (slot, key, slice) => iso.merkle.slotLeaf(key, slot, BigInt(head.version), head.origin, slice, digest("common"));
    switch (head.kind) {
      case "unused":
        return mustBe(iso.hex(unusedKey(Number(head.slot))), head["slot-key"], "key");
      case "opening":
        return mustBe(iso.hex(iso.merkle.opening(digest("slot-key"), BigInt(head.version))), head.opening, "opening");
      case "commit":
        return mustBe(iso.hex(leaf(Number(head.slot), digest("slot-key"), iso.blake3(body))), head.commit, "leaf");
      case "node":
        return mustBe(iso.hex(iso.merkle.slotNode(digest("left"), digest("right"))), head.node, "node");
      case "switch-handle":
        return mustBe(handle("switch", head.switch), head.handle, "handle");
      case "port-handle":
        return mustBe(handle("port", head.switch, head.port), head.handle, "handle");
      case "identity":
        return mustBe(handle("identity", head.identity), head.handle, "handle");
      case "root": {
        const leased = new Map(named(body, "leased").map((line) => line.split(" ")).map(([slot, ...rest]) => [Number(slot), rest.map(iso.unhex)]));
        const nothing = iso.blake3(new Uint8Array(0));
        let nodes = Array.from({ length: 4096 }, (_, slot) => leaf(slot, ...(leased.get(slot) ?? [unusedKey(slot), nothing])));
        while (nodes.length > 1) nodes = Array.from({ length: nodes.length / 2 }, (_, i) => iso.merkle.slotNode(nodes[2 * i], nodes[2 * i + 1]));
        return mustBe(iso.hex(nodes[0]), head.root, "root");
      }
      default: {
        const slot = Number(head.slot);
        const top = iso.merkle.slotRoot(leaf(slot, digest("slot-key"), iso.unhex(named(body, "slice")[0])), slot, named(body, "sibling").map(iso.unhex));
        if (iso.hex(top) !== head.root) iso.refuse("mismatch", "another root");
      }
    }
  },

  slice({ head, body }) {
    j.read(iso.slice.shapes[head.kind], iso.decode(body));
  },

  content({ head, body }) {
    if (head.kind !== "commitment") return void j.read(others[head.kind], iso.decode(body));
    const got = iso.hex(others.commitment(iso.unhex(head.opening), head.origin, BigInt(head.seq), body));
    if (got !== head.commitment) iso.refuse("mismatch", "another commitment");
  },

  tiles({ head, body }) {
    const text = () => iso.decode(body);
    switch (head.kind) {
      case "path": {
        const tile = others.parseTilePath(text());
        const what = tile.entries ? "entries" : `level ${tile.level}`;
        return mustBe(`${what} index ${tile.index} width ${tile.width}`, head.is);
      }
      case "list":
        return mustBe(others.listTiles(BigInt(head.size)).join("\n"), textLines(body).join("\n"));
      case "within":
        return mustBe(others.within(text(), BigInt(head.size)).current ? "yes" : "no", head.current ?? "no", "current");
      case "bundle":
        return mustBe(others.parseBundle(body, Number(head.width)).map((e) => iso.hex(e) || "-").join(" "), head.entries);
      case "tile": {
        const hashes = others.parseTile(body, Number(head.width));
        mustBe(hashes.map(iso.base64).join(" "), head.hashes, "hashes");
        return mustBe(iso.base64(iso.merkle.rootOf(hashes)), head.root, "root");
      }
      default:
        return others.checkParent(body, hash(head.parent));
    }
  },

  async witness({ head, body, lines }) {
    if (head.kind === "answer") {
      return iso.refuse(others.takeAnswer(Number(head.status), head.type, iso.decode(body)), "as the log takes it");
    }
    const latest = head["latest-size"] === undefined ? null : { size: BigInt(head["latest-size"]), root: hash(head["latest-root"]) };
    try {
      await others.answerRequest(body, lines("log").map(iso.note.parseKey), latest);
    } catch (error) {
      mustBe(others.STATUS[error.kind], head.status, `status of ${error.kind}`);
      if (error.size !== undefined) mustBe(error.size, head.conflict, "conflict");
      throw error;
    }
    mustBe(200, head.status, "status");
  },

  policy({ head, body }) {
    let policy;
    try {
      policy = iso.policy.parse(body);
    } catch (error) {
      if (error.kind !== undefined) mustBe(error.line ?? "", head.line ?? "", "line");
      throw error;
    }
    const said = {
      logs: policy.logs.length, cosigners: policy.cosigners.length, stanzas: policy.stanzas.length,
      quorum: iso.policy.quorumText(policy.quorum), audit: iso.policy.quorumText(policy.audit), "max-gap": iso.spanText(policy.maxGap),
      "witnessed-within": iso.spanText(policy.witnessedWithin), "fresh-within": iso.spanText(policy.freshWithin),
      unpinned: policy.unpinned ? "yes" : "no", stanza: policy.stanzas[0] && iso.policy.stanzaText(policy.stanzas[0]),
    };
    if (head.signed !== undefined) {
      const signed = new Map(head.signed.split(" ").map((part) => part.split("=")).map(([name, time]) => [name, Number(time)]));
      said.reached = iso.policy.reached(policy.quorum, signed) ?? "never";
    }
    for (const [name, value] of Object.entries(said)) {
      if (head[name] !== undefined) mustBe(value, head[name], name);
    }
  },
};

// ---- judge and evidence have forms of their own ---------------------------------------------------------------------

function judgeVector(file) {
  const members = {};
  for (const line of fs.readFileSync(file, "utf8").split("\n")) {
    const m = /^"([a-z]+)": (.*?),?$/.exec(line);
    if (m !== null) members[m[1]] = m[2];
  }
  const read = (name) => j.read(iso.slice.shapes[name], members[name]);
  const common = read("common");
  const parts = {};
  for (const part of iso.slice.PARTS) {
    parts[part] = read(part);
    mustBe(iso.hex(iso.blake3(iso.encode(members[part]))), common[part], part);
  }
  const theSlice = read("slice"), section = read("section");
  let said;
  try {
    iso.slice.check(parts, theSlice, section, iso.hex(iso.blake3(iso.encode(members.section))));
    const judgement = iso.slice.judge(parts, theSlice, section, JSON.parse(members.accept));
    mustBe(JSON.stringify(judgement), members.judgement, "judgement");
    said = judgement.verdict;
  } catch (error) {
    if (error.kind === undefined) throw error;
    said = error.kind;
  }
  mustBe(JSON.stringify(said), members.expect, "outcome");
}

function readCase(file) {
  const [head, policy, attestation, evidence] = fs.readFileSync(file, "utf8").split("\n---\n");
  const said = Object.fromEntries(head.split("\n").map((line) => [line.slice(0, line.indexOf(":")), line.slice(line.indexOf(":") + 2)]));
  const time = (name) => (said[name] === undefined ? null : iso.time(said[name]));
  return {
    said, policy: iso.encode(`${policy}\n`), attestation: iso.encode(`${attestation}\n`), evidence: iso.encode(evidence.replace(/\n$/, "")),
    asked: { from: time("from"), to: time("to"), nonce: said.nonce ?? null, now: time("now") },
  };
}

function outcomeOf(report) {
  return report.outcome === "refuted" ? report.refuted : report.outcome;
}

async function evidenceVector(file) {
  const { said, policy, asked, ...files } = readCase(file);
  const report = await iso.verify(files, iso.policy.parse(policy), asked);
  mustBe(`${outcomeOf(report)} by ${report.firstOpen}`, `${said.expect} by ${said.check}`, "outcome");
}

// ---- all of them ----------------------------------------------------------------------------------------------------

// Where a page says that a reader need not tell them apart.
const REFUSALS_ALIKE = { slice: ["malformed", "not-canonical"], content: ["malformed", "not-canonical"] };

async function plainVector(folder, file) {
  const vector = readVector(file);
  const expected = vector.head.expect ?? "ok";
  let said = "ok";
  try {
    await readers[folder](vector);
  } catch (error) {
    if (error.kind === undefined) throw error;
    said = error.kind;
  }
  const alike = (REFUSALS_ALIKE[folder] ?? []).includes(expected) && said !== "ok";
  must(said === expected || alike, `said ${said}, not ${expected}`);
}

function folders() {
  return fs.readdirSync(VECTORS).sort();
}

async function runFolder(folder, report) {
  for (const name of fs.readdirSync(path.join(VECTORS, folder)).sort()) {
    const file = path.join(VECTORS, folder, name);
    await report(`${folder}/${name}`, () => {
      if (folder === "judge") return judgeVector(file);
      if (folder === "evidence") return evidenceVector(file);
      return plainVector(folder, file);
    });
  }
}

module.exports = { folders, runFolder, readCase, outcomeOf, VECTORS, must, mustBe };
