// What the tests need to make attestations of their own: chance that repeats, signatures, and isoverify to compare with.
"use strict";

const crypto = require("node:crypto");
const fs = require("node:fs");
const path = require("node:path");
const { spawnSync } = require("node:child_process");
const { iso, ROOT } = require("./load.js");

const ISOVERIFY = path.join(ROOT, "target/debug/isoverify");
const ISOLEDGER = path.join(ROOT, "target/debug/isoledger");

// ---- chance: the same numbers for the same seed (mulberry32) --------------------------------------------------------

class Chance {
  constructor(seed) {
    this.state = seed >>> 0;
  }

  next() {
    this.state = (this.state + 0x6d2b79f5) >>> 0;
    let t = this.state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  }

  // 0 to n - 1.
  below(n) {
    return Math.floor(this.next() * n);
  }

  is(probability) {
    return this.next() < probability;
  }

  of(list) {
    return list[this.below(list.length)];
  }

  some(list, probability) {
    return list.filter(() => this.is(probability));
  }

  digest() {
    return iso.hex(iso.blake3(iso.encode(`chance ${this.next()}`)));
  }
}

// ---- keys that only tests have --------------------------------------------------------------------------------------

function signer(name, type, seed) {
  const der = Buffer.concat([Buffer.from("302e020100300506032b657004220420", "hex"), seed]);
  const secret = crypto.createPrivateKey({ key: der, format: "der", type: "pkcs8" });
  const key = new Uint8Array(crypto.createPublicKey(secret).export({ format: "der", type: "spki" }).subarray(-32));
  const id = iso.hex(iso.sha256(iso.concat(iso.encode(name), [10, type], key)).subarray(0, 4));
  return {
    name, type, key, id, vkey: `${name}+${id}+${iso.base64(iso.concat([type], key))}`,
    sign: (bytes) => new Uint8Array(crypto.sign(null, bytes, secret)),
  };
}

const seedOf = (byte) => Buffer.alloc(32, byte);
// The log of tests/vectors/evidence.
const LOG = signer("audit.example/moc", 1, seedOf(7));

function line(signer, text, second) {
  const plain = signer.type === 1;
  const message = plain ? text : `cosignature/v1\ntime ${second}\n${text}`;
  const body = plain ? [] : iso.u64Bytes(second);
  const bytes = iso.concat(iso.unhex(signer.id), body, signer.sign(iso.encode(message)));
  return `\u2014 ${signer.name} ${iso.base64(bytes)}\n`;
}

function envelope(statementText, log = LOG) {
  const type = "application/vnd.in-toto+json";
  const payload = iso.encode(statementText);
  const sig = iso.base64(log.sign(iso.attestation.signedBytes(type, payload)));
  return iso.encode(`{"payloadType":"${type}","payload":"${iso.base64(payload)}",`
    + `"signatures":[{"keyid":"${iso.attestation.keyId(log)}","sig":"${sig}"}]}\n`);
}

// The statement that envelope bytes hold, as text.
function statementOf(attestation) {
  return iso.decode(iso.attestation.parseEnvelope(attestation).payload);
}

// ---- both readings --------------------------------------------------------------------------------------------------

const OK_CODES = [0, 1, 2];

// What isoverify says of each case { policy, attestation, evidence, asked }; cases of one policy go through one call.
function isoverifyAll(cases, dir) {
  const groups = new Map();
  cases.forEach((one, i) => {
    const base = path.join(dir, String(i));
    fs.writeFileSync(`${base}.attestation.json`, one.attestation);
    fs.writeFileSync(`${base}.evidence.json`, one.evidence);
    const { from, to, nonce } = one.asked;
    const args = [];
    if (from !== null) args.push("--from", iso.timeText(from));
    if (to !== null) args.push("--to", iso.timeText(to));
    if (nonce !== null) args.push(`--nonce=${nonce}`);
    const key = `${iso.hex(iso.sha256(one.policy))} ${args.join(" ")}`;
    if (!groups.has(key)) groups.set(key, { args, policy: one.policy, list: [] });
    groups.get(key).list.push(i);
  });
  const said = new Array(cases.length);
  for (const { args, policy, list } of groups.values()) {
    const file = path.join(dir, "policy");
    fs.writeFileSync(file, policy);
    const files = list.map((i) => path.join(dir, `${i}.attestation.json`));
    const run = spawnSync(ISOVERIFY, ["--json", "--policy", file, ...args, ...files], { encoding: "utf8", maxBuffer: 2 ** 30 });
    const lines = run.stdout.split("\n").filter((text) => text !== "").map((text) => JSON.parse(text));
    if (run.status === 64 && lines.length === 0) list.forEach((i) => (said[i] = { outcome: "policy" }));
    else if (OK_CODES.includes(run.status) && lines.length === list.length) list.forEach((i, at) => (said[i] = lines[at]));
    else throw new Error(`isoverify: ${run.error ?? run.status} ${run.stderr}`);
  }
  return said;
}

async function ours({ policy, attestation, evidence, asked }) {
  let parsed;
  try {
    parsed = iso.policy.parse(policy);
  } catch (error) {
    if (error.kind === undefined) throw error;
    return { outcome: "policy", checks: [] };
  }
  return iso.verify({ attestation, evidence }, parsed, asked);
}

function shortOutcome(said) {
  return said.outcome === "refuted" ? said.refuted : said.outcome;
}

function firstOpen(said) {
  return (said.checks ?? []).find((c) => c.status !== "passed")?.check ?? "none";
}

// Runs both and returns where they differ; `reasons` counts the cases in which the first check that did not pass has one name.
async function compare(cases, dir) {
  const theirs = isoverifyAll(cases, dir);
  const differences = [], outcomes = {};
  let reasons = 0;
  for (const [i, one] of cases.entries()) {
    const mine = await ours(one);
    const outcome = shortOutcome(mine);
    outcomes[outcome] = (outcomes[outcome] ?? 0) + 1;
    if (outcome !== shortOutcome(theirs[i])) differences.push({ i, one, mine, theirs: theirs[i] });
    const assessed = theirs[i].assessed;
    if (assessed && mine.demands) {
      const { verdict, polls, isolated } = mine.demands.range;
      const conforms = mine.demands.judged.every((poll) => poll.judgement.conforms);
      const same = conforms === assessed.conforms && verdict === assessed.verdict && polls === assessed.polls && isolated === assessed.isolated
        && mine.demands.range.violations.length === assessed.violations.length && mine.demands.range.blind.length === assessed.tooLong.length;
      if (!same) differences.push({ i, one, mine, theirs: theirs[i], assessed: true });
    }
    if ((mine.firstOpen ?? "none") === firstOpen(theirs[i])) reasons += 1;
  }
  return { differences, outcomes, reasons };
}

module.exports = { ISOVERIFY, ISOLEDGER, Chance, signer, seedOf, LOG, line, envelope, statementOf, compare };
