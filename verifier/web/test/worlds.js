// Attestations of worlds made by chance: slices and common parts of every kind, polls, leases, checkpoints, cosigners and policies.
// The claim in them is what this page's scripts recompute, so isoverify's check `claim` compares both judgements member by
// member, in thousands of states that no vector thought of.
"use strict";

const { iso } = require("./load.js");
const { signer, seedOf, line, envelope, LOG, Chance } = require("./tools.js");

const { CLASSES } = iso.policy;
const DAY = iso.time("2026-03-02T10:00:00.000Z");
const VLAN = 100;
const WITNESSES = [1, 2, 3].map((n) => signer(`witness.example/w${n}`, 4, seedOf(n)));
const AUDITOR = signer("auditor.example/a", 4, seedOf(4));

// ---- what a poll says -----------------------------------------------------------------------------------------------

const digestOf = (text) => iso.hex(iso.blake3(iso.encode(text)));
const SWITCHES = ["s0", "s1", "s2", "s3"].map(digestOf).sort();
// The last two are outside the roster: one behind links, one that attachments lead to.
const PLACES = SWITCHES.flatMap((handle) => ["p0", "p1", "p2", "p3"].map((port) => ({ switch: handle, port: digestOf(handle + port) })));
const byPlace = (a, b) => iso.compareText(a.switch + a.port, b.switch + b.port);
const SETS = ["", "all", "100", "7", "1-99,101-4094", "50-400", "2-99,101-4094", "1-4093"];
const FIRST_SETS = SETS.filter((set) => set !== "");

// Members that are present when chance has it so, in the order written.
function members(...pairs) {
  return Object.fromEntries(pairs.filter(([, value]) => value !== undefined));
}

function flag(chance, probability) {
  return chance.is(probability) ? true : undefined;
}

function shuffled(chance, list) {
  return chance.is(0.2) ? [...list].reverse() : list;
}

// A list that may be out of order, which is refused.
function sometimesWrong(chance, list) {
  return chance.is(0.01) ? [...list].reverse() : chance.is(0.01) ? [...list, ...list.slice(-1)] : list;
}

function exitOf(chance) {
  return { name: chance.of(["core", "edge", "lab"]), kind: chance.of(iso.slice.KINDS) };
}

const named = (chance, place) => (chance.is(0.2) ? { switch: `sw${SWITCHES.indexOf(place.switch)}`, port: `p/${place.port.slice(0, 2)}` } : undefined);

// How much goes wrong. Where everything does, one finding hides the others; so most worlds have two or three kinds of trouble, and
// only some have all.
const TROUBLES = ["roster", "scope", "manager", "failures", "unread", "bypasses", "wide", "passedPorts", "member", "access", "placeless", "networks",
  "lines", "carries", "mixed", "link", "exit", "down", "unreadable", "unassessed", "moving", "passed", "explained"];

class Trouble {
  constructor(chance) {
    this.everywhere = chance.is(0.3) ? chance.of([0.15, 0.4, 1]) : null;
    this.some = new Set(Array.from({ length: 1 + chance.below(4) }, () => chance.of(TROUBLES)));
    // Lines, where nobody is declared on, say nothing of the other kinds unless they are there.
    if (chance.is(0.5)) this.some.add("lines");
  }

  of(kind) {
    return this.everywhere ?? (this.some.has(kind) ? 2 : 0);
  }
}

function commonParts(chance, trouble) {
  const few = (list, p, kind) => chance.some(list, p * trouble.of(kind));
  const source = { reader: { dialect: "test", version: 1 }, identity: null };
  const link = () => (chance.is(0.3) ? chance.of(PLACES) : undefined);
  const exit = () => (chance.is(0.3) ? exitOf(chance) : undefined);
  return {
    roster: { v: 1, manager: source, switches: sometimesWrong(chance, chance.some(SWITCHES, 1 - 0.1 * trouble.of("roster")).map((handle) => ({ switch: handle, source }))) },
    scope: {
      v: 1, domain: "moc", entry: 1,
      unassessed: few(PLACES, 0.3, "scope").sort(byPlace).map((p) => members(["switch", p.switch], ["port", p.port], ["name", named(chance, p)], ["reason", chance.of(["lab", "", "gr\u00fcn"])])),
    },
    coverage: {
      v: 1, manager: chance.is(0.15 * trouble.of("manager")) ? chance.of(["silent", "unreadable", "source-changed"]) : null,
      switches: few(SWITCHES, 0.2, "failures").map((handle) => ({ switch: handle, failure: chance.of(["silent", "unreadable", "source-changed", "unaudited"]) })),
      ports: few(PLACES, 0.06, "unread").sort(byPlace).map((p) => members(["switch", p.switch], ["port", p.port], ["vlans", chance.of(FIRST_SETS)], ["link", link()], ["unassessed", flag(chance, 0.4)])),
    },
    bypasses: {
      v: 1,
      switches: few(SWITCHES, 0.3, "bypasses").map((handle) => ({
        switch: handle, dirty: shuffled(chance, chance.some(CLASSES, 0.15)).map((name) => ({ class: name, vlans: chance.of(FIRST_SETS) })),
        unread: shuffled(chance, chance.some(CLASSES, 0.15)),
      })),
    },
    wide: members(["v", 1],
      ["ports", few(PLACES, 0.12, "wide").sort(byPlace).map((p) => widePort(chance, p, link(), exit()))],
      ["passed", orNone(few(PLACES, 0.08, "passedPorts").sort(byPlace).map((p) => passedPort(chance, p, link(), exit())))]),
  };
}

function orNone(list) {
  return list.length === 0 ? undefined : list;
}

function widePort(chance, p, link, exit) {
  const untagged = chance.is(0.5) ? chance.of([VLAN, 7, 1]) : undefined;
  const tagged = untagged === VLAN ? "1-99,101-4094" : untagged === 1 ? chance.of(["2-4094", "100"]) : chance.of(SETS);
  return members(["switch", p.switch], ["port", p.port], ["name", named(chance, p)], ["untagged", untagged], ["tagged", tagged],
    ["allowed", chance.of(SETS)], ["link", link], ["exit", exit], ["registered", flag(chance, 0.5)], ["down", flag(chance, 0.2)],
    ["unassessed", flag(chance, 0.2)], ["moving", flag(chance, 0.2)]);
}

function passedPort(chance, p, link, exit) {
  return members(["switch", p.switch], ["port", p.port], ["name", named(chance, p)], ["vlans", chance.of(FIRST_SETS)], ["all", flag(chance, 0.3)],
    ["allowed", chance.of(SETS)], ["link", link], ["exit", exit], ["registered", flag(chance, 0.5)], ["unassessed", flag(chance, 0.2)],
    ["moving", flag(chance, 0.2)]);
}

function attachmentsOf(chance, trouble) {
  const list = [];
  for (let n = 0; n < 4; n++) {
    if (!chance.is(0.6)) continue;
    list.push({
      project: chance.is(0.15 * trouble.of("member")) ? chance.of([null, "blue"]) : "red", node: `n${n}`, nic: chance.of(["eth0", "eth1"]),
      as: chance.of(["untagged", "untagged", "tagged", "other"]), at: chance.is(0.1 * trouble.of("placeless")) ? null : chance.of(PLACES.slice(0, 12)),
    });
  }
  return chance.is(0.97) ? list.sort((a, b) => Number(a.project !== null) - Number(b.project !== null) || iso.compareText(`${a.project} ${a.node}`, `${b.project} ${b.node}`)) : list;
}

function sectionOf(chance, lease, trouble) {
  return {
    v: 1, name: "red-net", vlan: VLAN,
    owner: chance.is(0.1) ? "admin" : { project: "red" }, access: chance.is(0.1 * trouble.of("access")) ? "public" : { projects: chance.of([["red"], ["green", "red"]]) },
    lease, salt: digestOf(`salt ${lease}`), attachments: attachmentsOf(chance, trouble),
  };
}

function sliceOf(chance, section, sectionDigest, trouble) {
  const networks = chance.is(0.1 * trouble.of("networks")) ? [sectionDigest, digestOf("other")].sort() : [sectionDigest];
  const index = networks.indexOf(sectionDigest);
  const ports = [];
  for (const p of [...PLACES].sort(byPlace)) {
    const declared = section.attachments.filter((a) => a.at !== null && a.at.port === p.port).map((a) => ({ network: index, as: a.as }));
    const order = ["untagged", "tagged", "other"];
    declared.sort((a, b) => order.indexOf(a.as) - order.indexOf(b.as));
    if (declared.length === 0 && !chance.is(0.15 * trouble.of("lines"))) continue;
    ports.push(lineOf(chance, p, declared, trouble));
  }
  return { v: 1, vlan: VLAN, lease: section.lease, networks: sometimesWrong(chance, networks), ports: sometimesWrong(chance, ports) };
}

function lineOf(chance, p, declared, trouble) {
  const rare = (probability, kind) => flag(chance, probability * trouble.of(kind));
  const alone = declared.length === 0;
  const allowed = alone && trouble.everywhere === null && chance.is(0.97);
  const expected = declared.length > 0 && declared[0].as !== "other" ? declared[0].as : "tagged";
  return members(["switch", p.switch], ["port", p.port], ["name", named(chance, p)],
    ["carries", chance.is(1 - 0.3 * trouble.of("carries")) ? expected : chance.of(["none", "untagged", "tagged"])], ["declared", orNone(declared)],
    ["registered", flag(chance, 0.6)], ["mixed", rare(0.1, "mixed")],
    ["link", chance.is(0.3 * trouble.of("link")) || (alone && chance.is(0.3)) ? chance.of(PLACES) : undefined],
    ["exit", allowed || chance.is(0.15 * trouble.of("exit")) ? exitOf(chance) : undefined], ["down", rare(0.15, "down")], ["unreadable", rare(0.1, "unreadable")],
    ["unassessed", rare(0.12, "unassessed")], ["moving", rare(0.1, "moving")], ["passed", rare(0.15, "passed")], ["explained", rare(0.15, "explained")]);
}

// ---- a version: five sections, slice, section, and a root that they open ----------------------------------------------

function makeVersion(chance, number, lease, trouble) {
  const texts = [];
  const put = (value) => {
    const text = JSON.stringify(value);
    const digest = digestOf(text);
    texts.push([digest, text]);
    return digest;
  };
  const parts = commonParts(chance, trouble);
  const common = put(members(["v", 1], ...iso.slice.PARTS.map((part) => [part, put(parts[part])])));
  const section = sectionOf(chance, lease.number, trouble);
  const sectionDigest = put(section);
  const slice = put(sliceOf(chance, section, sectionDigest, trouble));
  const siblings = Array.from({ length: 12 }, () => iso.unhex(chance.digest()));
  const leaf = iso.merkle.slotLeaf(iso.unhex(lease.key), VLAN, number, LOG.name, iso.unhex(slice), iso.unhex(common));
  const root = iso.hex(iso.merkle.slotRoot(leaf, VLAN, siblings));
  return { number, lease, texts, root, opened: { version: number, common, slice, section: sectionDigest, proof: iso.base64(iso.concat(...siblings)) } };
}

// ---- the log --------------------------------------------------------------------------------------------------------

class Log {
  constructor(chance, trouble) {
    Object.assign(this, { chance, trouble, entries: [], texts: [], versions: new Map(), polls: [] });
    this.lease = this.newLease(2);
    this.clock = DAY;
    this.add("genesis", `,"domain":"moc","key":"${LOG.vkey}","semantics":1`);
    this.add("scope-changed", `,"commitment":"${chance.digest()}"`);
    while (this.polls.length < 3 + chance.below(7)) this.step();
  }

  newLease(number) {
    return { number, key: this.chance.digest() };
  }

  add(type, body) {
    const prev = this.texts.length === 0 ? "0".repeat(64) : digestOf(this.texts[this.texts.length - 1]);
    const seq = this.texts.length;
    this.texts.push(`{"v":1,"origin":"${LOG.name}","seq":${seq},"time":"${iso.timeText(this.clock)}","prev":"${prev}","type":"${type}"${body}}\n`);
  }

  step() {
    const { chance } = this;
    if (chance.is(0.12)) this.add(chance.of(["scope-changed", "exception-granted", "divergence-acknowledged"]), `,"commitment":"${chance.digest()}"`);
    if (chance.is(0.05)) this.add("weather-noted", ',"sky":["grey"]');
    const seq = this.texts.length;
    const last = this.polls[this.polls.length - 1];
    const started = this.clock + chance.of([0, 1, 5000, 10000, 10000, 10000, 40000]);
    const ended = started + chance.of([0, 100, 100, 2000]);
    this.clock = ended + chance.of([0, 50]);
    if (chance.is(0.1) && last !== undefined) this.lease = this.newLease(seq + (chance.is(0.05) ? 1 : 0));
    let version = last?.version;
    if (version === undefined || this.lease !== version.lease || chance.is(0.5)) version = makeVersion(chance, seq, this.lease, this.trouble);
    this.versions.set(version.number, version);
    this.polls.push({ seq, started, ended, version });
    this.add("poll", `,"semantics":1,"started":"${iso.timeText(started)}","ended":"${iso.timeText(ended)}","version":${version.number},"root":"${version.root}","content":"${chance.digest()}"`);
  }
}

// ---- proofs, by the recursive definitions ---------------------------------------------------------------------------

const rootOf = iso.merkle.rootOf;
const half = (n) => 2 ** (Math.ceil(Math.log2(n)) - 1);

// The largest nodes that lie wholly on one side of the range.
function outside(leaves, lo, hi, start, end, left, right) {
  if (hi <= start) return void left.push(rootOf(leaves.slice(lo, hi)));
  if (lo >= end) return void right.push(rootOf(leaves.slice(lo, hi)));
  if (hi - lo === 1 || (start <= lo && hi <= end)) return;
  const middle = lo + half(hi - lo);
  outside(leaves, lo, middle, start, end, left, right);
  outside(leaves, middle, hi, start, end, left, right);
}

function consistencyProof(m, leaves, whole = true) {
  if (m === leaves.length) return whole ? [] : [rootOf(leaves)];
  const k = half(leaves.length);
  if (m <= k) return [...consistencyProof(m, leaves.slice(0, k), whole), rootOf(leaves.slice(k))];
  return [...consistencyProof(m - k, leaves.slice(k), false), rootOf(leaves.slice(0, k))];
}

// ---- evidence and attestation ---------------------------------------------------------------------------------------

function pack(texts, chance) {
  let lastPoll = null;
  return texts.map((text, i) => {
    const entry = JSON.parse(text);
    const before = i === 0 ? null : JSON.parse(texts[i - 1]);
    const poll = lastPoll;
    if (entry.type === "poll") lastPoll = entry;
    if (entry.type !== "poll" || poll === null || before === null || chance.is(0.1)) return text;
    const span = (a, b) => iso.time(a) - iso.time(b);
    const times = `${span(entry.time, before.time)} ${span(entry.time, entry.ended)} ${span(entry.ended, entry.started)}`;
    const content = iso.base64(iso.unhex(entry.content));
    return entry.version === entry.seq ? `v ${times} ${content} ${iso.base64(iso.unhex(entry.root))}` : `p ${times} ${content}`;
  });
}

function checkpointOf(chance, leaves, size, cosigners, second) {
  const text = `${LOG.name}\n${size}\n${iso.base64(rootOf(leaves.slice(0, size)))}\n`;
  const lines = cosigners.map((c) => line(c, text, second + chance.of([0, 0, 1, 30, 100])));
  return `${text}\n${line(LOG, text)}${lines.join("")}`;
}

function secondsAfter(log, size, chance) {
  const { time } = JSON.parse(log.texts[size - 1]);
  return Math.floor(iso.time(time) / 1000) + chance.of([0, 1, 5, 60, 1000, -30, -100]);
}

function policyOf(chance) {
  const lines = [`log ${LOG.vkey}`];
  WITNESSES.forEach((w, i) => lines.push(`witness w${i + 1} ${w.vkey}`));
  lines.push(`auditor a ${AUDITOR.vkey}`, "group two 2 w1 w2 w3");
  lines.push(`quorum ${chance.of(["none", "none", "w1", "two", "a"])}`, `audit ${chance.of(["none", "none", "a"])}`);
  lines.push(`max-gap ${chance.of(["1m", "10s", "30100ms", "5m", "0ms"])}`, `witnessed-within ${chance.of(["1s", "1m", "15m"])}`);
  const options = [
    chance.of(["", "", "members exactly n0/eth0 n1/eth0", "members at-least n0/eth0"]), chance.of(["", "", "exits exactly", "exits exactly core edge lab", "exits exactly core"]),
    chance.of(["", "public ok"]), chance.of(["", "accept-unread flows routing dynamic", `accept-unread ${CLASSES.join(" ")}`]),
    chance.of(["", `accept-unassessed ${PLACES.map((p) => p.port).join(" ")}`, `accept-unassessed sw0/p/${PLACES[0].port.slice(0, 2)} sw1/p/${PLACES[4].port.slice(0, 2)}`]),
  ];
  lines.push(`network red-net domain moc project red ${options.join(" ")}`);
  return iso.encode(`${lines.join("\n")}\n`);
}

// A range that some entries close on both sides, and which entries these are.
function rangeOf(chance, log) {
  const { polls, texts } = log;
  const first = chance.is(0.3) ? null : chance.below(polls.length), last = chance.is(0.4) ? null : chance.below(polls.length);
  const from = first === null ? polls[0].ended - 1 - chance.below(3000) : polls[first].ended + chance.of([0, 0, 1, 3000]);
  const to = last === null ? polls[polls.length - 1].started + 1 + chance.below(chance.of([200, 3000, 80000])) : polls[last].started - chance.of([0, 0, 1, 3000]);
  if (from > to) return rangeOf(chance, log);
  const before = polls.filter((p) => p.ended <= from), after = polls.filter((p) => p.started >= to);
  const start = before.length > 0 ? before[before.length - 1].seq : 0, end = after.length > 0 ? after[0].seq + 1 : texts.length;
  return { from, to, start, end: Math.max(end, start + 1) };
}

async function world(seed) {
  const chance = new Chance(seed);
  const log = new Log(chance, new Trouble(chance));
  const leaves = log.texts.map((text) => iso.merkle.leafHash(iso.encode(text)));
  const size = leaves.length;
  const { from, to, start, end } = rangeOf(chance, log);

  const cosigners = () => chance.some([...WITNESSES, AUDITOR], 0.6);
  const sizes = chance.some(Array.from({ length: size - 1 }, (_, i) => i + 1), 0.3);
  // One twice, which is refused.
  if (chance.is(0.02) && sizes.length > 0) sizes.unshift(sizes[0]);
  const chain = sizes.map((m, i) => ({
    checkpoint: checkpointOf(chance, leaves, m, cosigners(), secondsAfter(log, m, chance)),
    proof: consistencyProof(m, leaves.slice(0, sizes[i + 1] ?? size)).map(iso.base64),
  }));
  const newest = cosigners();
  const left = [], right = [];
  outside(leaves, 0, size, start, end, left, right);

  const inside = log.polls.filter((p) => p.seq >= start && p.seq < end);
  const used = [...new Set(inside.map((p) => p.version))].sort((a, b) => a.number - b.number);
  const texts = new Map(used.flatMap((v) => v.texts));
  const leases = new Map(used.map((v) => [v.lease.number, { lease: v.lease.number, key: v.lease.key }]));
  const evidence = {
    v: 1, origin: LOG.name, network: "red-net", vlan: VLAN,
    checkpoint: checkpointOf(chance, leaves, size, newest, secondsAfter(log, size, chance)), chain,
    range: { start, end, left: left.map(iso.base64), right: right.map(iso.base64) },
    leases: [...leases.values()].sort((a, b) => a.lease - b.lease),
    texts: [...texts].sort(([a], [b]) => iso.compareText(a, b)).map(([, text]) => text),
    versions: used.map((v) => v.opened), entries: pack(log.texts.slice(start, end), chance),
  };
  const bytes = iso.encode(JSON.stringify(evidence));
  const claim = {
    network: "red-net", domain: "moc", vlan: VLAN, project: "red", verdict: "isolated", from, to, polls: 0, isolated: 0, violations: [],
    maxGap: chance.of([60000, 10000, 300000, 0]), blind: [], leases: [], scopeChanges: [], exits: [], notAssessed: [], exceptions: [], nonce: null,
    issued: DAY + 864e5, log: { origin: LOG.name, size, root: rootOf(leaves) }, cosignatures: [], auditedTo: chance.of([null, size]),
  };
  const policy = policyOf(chance);
  Object.assign(claim, await recomputed(bytes, claim, iso.policy.parse(policy)));
  const statement = {
    _type: "https://in-toto.io/Statement/v1", subject: [{ name: "x", digest: { sha256: iso.hex(iso.sha256(bytes)) } }],
    predicateType: "https://isoledger.dev/vlan-isolation/v1", predicate: spelled(claim),
  };
  return { name: `world ${seed}`, policy, evidence: bytes, attestation: envelope(JSON.stringify(statement)), asked: { from: null, to: null, nonce: null, now: null } };
}

// What these scripts say follows from the evidence; nothing when they refuse it before.
async function recomputed(bytes, claim, policy) {
  const ev = iso.evidence;
  try {
    const evidence = ev.open(bytes, claim, LOG);
    const checkpoint = await ev.newest(evidence, { log: { ...claim.log, size: BigInt(claim.log.size) } }, policy);
    const entries = await ev.unpackEntries(evidence, claim, () => {});
    const { polls, versions } = ev.matchVersions(evidence, entries, ev.closeEnds(evidence, entries, checkpoint, claim));
    ev.readTexts(evidence, versions);
    ev.checkSlices(versions, claim);
    return iso.recompute({ claim, evidence, checkpoint, entries, polls });
  } catch (error) {
    if (error.kind === undefined) throw error;
    return {};
  }
}

function spelled(claim) {
  const t = iso.timeText;
  return {
    ...claim, from: t(claim.from), to: t(claim.to), issued: t(claim.issued), maxGap: iso.spanText(claim.maxGap),
    violations: claim.violations.map((v) => ({ ...v, after: t(v.after), by: t(v.by), overBy: v.overBy === null ? null : t(v.overBy) })),
    blind: claim.blind.map((b) => ({ ...b, from: t(b.from), to: t(b.to) })), log: { ...claim.log, root: iso.base64(claim.log.root) },
  };
}

async function worlds(count, seed) {
  const list = [];
  for (let i = 0; i < count; i++) list.push(await world(seed * 1000000 + i));
  return list;
}

module.exports = { worlds };
