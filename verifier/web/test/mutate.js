// Deterministic changes of an attestation, its evidence and its policy. Half of them are signed again, so that they get past the
// signature and the digest and reach the steps behind.
"use strict";

const fs = require("node:fs");
const path = require("node:path");
const { iso } = require("./load.js");
const { readCase, VECTORS } = require("./vectors.js");
const { Chance, envelope, statementOf, line, LOG } = require("./tools.js");

const FOLDER = path.join(VECTORS, "evidence");

// ---- bytes ----------------------------------------------------------------------------------------------------------

function changeBytes(chance, bytes) {
  const out = [...bytes];
  const at = chance.below(out.length);
  switch (chance.below(6)) {
    case 0: out[at] ^= 1 << chance.below(8); break;
    case 1: out[at] = chance.of([..."0123456789abcdef \n\t\"\\,:{}[]+/=-"]).charCodeAt(0); break;
    case 2: out.splice(at, 1 + chance.below(4)); break;
    case 3: out.splice(at, 0, ...out.slice(at, at + 1 + chance.below(40))); break;
    case 4: out.splice(at, 0, chance.below(256)); break;
    default: out.length = at;
  }
  return Uint8Array.from(out);
}

// Whole words and lines, so that more than broken tokens come of it.
function changePolicy(chance, bytes) {
  const lines = iso.decode(bytes).split("\n");
  const at = chance.below(lines.length);
  const words = lines[at].split(" ");
  const word = chance.below(words.length);
  switch (chance.below(7)) {
    case 0: lines.splice(at, 1); break;
    case 1: lines.splice(chance.below(lines.length), 0, lines[at]); break;
    case 2: words.splice(word, 1); lines[at] = words.join(" "); break;
    case 3: words[word] = chance.of(lines.join(" ").split(" ")); lines[at] = words.join(" "); break;
    case 4: words.push(chance.of(["public ok", "members exactly n1/eth0", "exits exactly", "accept-unread flows", "log audit.example/moc", "vlan 100"])); lines[at] = words.join(" "); break;
    case 5: lines.push(chance.of(["max-gap 1s", "max-gap 60s", "witnessed-within 1s", "fresh-within 1m", "unpinned", "audit none", "# comment", "quorum none", "max-gap 10d"])); break;
    default: return changeBytes(chance, bytes);
  }
  return iso.encode(lines.join("\n"));
}

// ---- values ---------------------------------------------------------------------------------------------------------

// Every place in a JSON value, as [container, key].
function places(value, found = []) {
  if (value === null || typeof value !== "object") return found;
  for (const key of Object.keys(value)) {
    found.push([value, key]);
    places(value[key], found);
  }
  return found;
}

const TIME = /^\d{4}-\d\d-\d\dT[0-9:.]+Z$/;

function changeText(chance, text, all) {
  if (TIME.test(text) && chance.is(0.6)) return iso.timeText(iso.time(text) + chance.of([-60000, -1, 1, 1000, 15000, 60000, 864e5]));
  if (text.startsWith("p ") && chance.is(0.7)) {
    const words = text.split(" ");
    words[1 + chance.below(3)] = String(chance.of([0, 1, 100, 9999, 10001, 40000, 1e14]));
    return words.join(" ");
  }
  switch (chance.below(4)) {
    case 0: return text === "" ? "x" : text.slice(0, chance.below(text.length));
    case 1: return iso.decode(changeAscii(chance, text));
    case 2: return chance.of(all.map(([container, key]) => container[key]).filter((v) => typeof v === "string"));
    default: return chance.of(["", "x", "red", "blue", "admin", "cabling", "everything", "manager", "1m", "10m", "0ms", "isolated", "violated", "unknown"]);
  }
}

function changeAscii(chance, text) {
  const bytes = iso.encode(text);
  if (bytes.length > 0) bytes[chance.below(bytes.length)] = 0x20 + chance.below(0x5f);
  return bytes.some((b) => b > 0x7e) ? iso.encode("x") : bytes;
}

function changeList(chance, list) {
  const at = chance.below(list.length);
  switch (chance.below(4)) {
    case 0: list.splice(at, 1); break;
    case 1: list.splice(at, 0, list[at]); break;
    case 2: list.reverse(); break;
    default: {
      const other = chance.below(list.length);
      [list[at], list[other]] = [list[other], list[at]];
    }
  }
}

function changeValue(chance, root) {
  const all = places(root);
  const [container, key] = chance.of(all);
  const value = container[key];
  if (Array.isArray(value) && value.length > 0) changeList(chance, value);
  else if (typeof value === "number") container[key] = chance.of([0, 1, value + 1, Math.max(0, value - 1), value * 2, 2 ** 53, 4094, 1.5, -1]);
  else if (typeof value === "string") container[key] = changeText(chance, value, all);
  else if (value === null) container[key] = chance.of(["x", 1, "2026-03-02T10:00:30.000Z", 5]);
  else if (chance.is(0.5)) delete container[key];
  else container[key] = null;
}

// ---- cases ----------------------------------------------------------------------------------------------------------

function signAgain(one, evidenceText, change = () => {}) {
  const statement = JSON.parse(statementOf(one.attestation));
  const evidence = iso.encode(evidenceText);
  statement.subject[0].digest.sha256 = iso.hex(iso.sha256(evidence));
  change(statement);
  return { ...one, evidence, attestation: envelope(JSON.stringify(statement)) };
}

const canSignAgain = (one) => {
  try {
    JSON.parse(statementOf(one.attestation));
    return true;
  } catch {
    return false;
  }
};

// The checkpoint says something else, and the log signs that.
function changeCheckpoint(chance, one) {
  const evidence = JSON.parse(iso.decode(one.evidence));
  const [text, lines] = evidence.checkpoint.split(/(?<=\n)\n/);
  const parts = text.split("\n");
  parts[1] = String(Number(parts[1]) + chance.of([-1, 0, 1]));
  if (chance.is(0.3)) parts[2] = iso.base64(iso.unhex(chance.digest()));
  const signed = parts.join("\n");
  const kept = lines.split("\n").slice(1).filter(() => chance.is(0.8)).join("\n");
  evidence.checkpoint = `${signed}\n${line(LOG, signed)}${kept}`;
  return signAgain(one, JSON.stringify(evidence), ({ predicate }) => {
    predicate.log.size = Number(parts[1]);
    predicate.log.root = parts[2];
  });
}

function changed(chance, one) {
  const kind = chance.below(canSignAgain(one) ? 8 : 3);
  switch (kind) {
    case 0: return { ...one, attestation: changeBytes(chance, one.attestation) };
    case 1: return { ...one, evidence: changeBytes(chance, one.evidence) };
    case 2: return { ...one, policy: changePolicy(chance, one.policy) };
    case 3: {
      const bytes = changeBytes(chance, one.evidence);
      try {
        return signAgain(one, iso.decode(bytes));
      } catch {
        return { ...one, evidence: bytes };
      }
    }
    case 4: case 5: {
      const evidence = JSON.parse(iso.decode(one.evidence));
      changeValue(chance, evidence);
      return signAgain(one, JSON.stringify(evidence));
    }
    case 6: return changeCheckpoint(chance, one);
    default: return signAgain(one, iso.decode(one.evidence), (statement) => changeValue(chance, chance.is(0.8) ? statement.predicate : statement));
  }
}

function mutations(count, seed) {
  const chance = new Chance(seed);
  const bases = fs.readdirSync(FOLDER).sort().map((name) => ({ name, ...readCase(path.join(FOLDER, name)) }));
  // Freshness is by isoverify's own clock.
  for (const base of bases) base.asked = { ...base.asked, now: null };
  const parsable = bases.filter((one) => {
    try {
      return JSON.parse(iso.decode(one.evidence)).checkpoint.includes("\n\n");
    } catch {
      return false;
    }
  });
  return Array.from({ length: count }, () => changed(chance, chance.of(parsable)));
}

module.exports = { mutations };
