// The evidence file: steps 3 to 11 of docs/formats/evidence.md, each a function that refuses, throws Later, or returns what the
// next ones need. Nothing here asks what the tenant wants; that is verify.js.
"use strict";

(function (iso) {
  const j = iso.json;
  const LIMIT = 536870912;
  const { Later } = iso.attestation;
  const SEMANTICS = 1;

  const hashes = j.list(j.hash);
  const shape = j.object({
    v: j.one, origin: j.string, network: j.string, vlan: j.vlan, checkpoint: j.string,
    chain: j.list(j.object({ checkpoint: j.string, proof: hashes })),
    range: j.object({ start: j.u64, end: j.u64, left: hashes, right: hashes }),
    leases: j.list(j.object({ lease: j.count, key: j.digest })),
    texts: j.list(j.string),
    versions: j.list(j.object({ version: j.count, common: j.digest, slice: j.digest, section: j.digest, proof: j.string })),
    entries: j.list(j.string),
  });

  // Long loops give way to the page now and then.
  function pause() {
    return new Promise((resume) => setTimeout(resume, 0));
  }
  const STRIDE = 4096;

  // ---- 3: evidence --------------------------------------------------------------------------------------------------

  function open(bytes, claim, logKey) {
    if (bytes.length > LIMIT) iso.refuse("too-long", "an evidence file has at most 512 MiB");
    const text = iso.decode(bytes);
    const version = j.versionOf(text);
    if (version !== null && version > 1) throw new Later(`evidence of version ${version}, which this page does not know`);
    const evidence = j.read(shape, text);
    const same = (a, b, what) => a === b || iso.refuse("differs", `${what}: ${a} in the evidence, ${b} in the claim`);
    if (evidence.origin !== logKey.name) iso.refuse("differs", `evidence of ${evidence.origin}, attested by ${logKey.name}`);
    same(evidence.origin, claim.log.origin, "log");
    same(evidence.network, claim.network, "network");
    same(evidence.vlan, claim.vlan, "VLAN");
    return evidence;
  }

  // ---- 4 and 5: checkpoint, chain -----------------------------------------------------------------------------------

  // A checkpoint with `signed`: when each of the policy's cosigners signed it.
  async function readCheckpoint(text, origin, policy) {
    const logs = policy.logs.filter((key) => key.name === origin);
    const checkpoint = await iso.note.verifyCheckpoint(iso.encode(text), logs, policy.cosigners.map((c) => c.key));
    checkpoint.signed = new Map(checkpoint.cosigned.map(({ key, time }) => [policy.cosigners.find((c) => c.key === key).name, time]));
    return checkpoint;
  }

  async function newest(evidence, claim, policy) {
    const checkpoint = await readCheckpoint(evidence.checkpoint, evidence.origin, policy);
    if (checkpoint.size !== claim.log.size) iso.refuse("differs", `a checkpoint of ${checkpoint.size} entries, a claim of ${claim.log.size}`);
    if (!iso.equalBytes(checkpoint.root, claim.log.root)) iso.refuse("differs", "checkpoint and claim have two roots");
    return checkpoint;
  }

  async function archive(evidence, checkpoint, policy) {
    const checkpoints = [];
    for (const { checkpoint: text } of evidence.chain) checkpoints.push(await readCheckpoint(text, evidence.origin, policy));
    let before = 0n;
    for (const { size } of [...checkpoints, checkpoint]) {
      if (size <= before) iso.refuse("order", "archived checkpoints do not ascend");
      before = size;
    }
    checkpoints.forEach((older, i) => iso.merkle.consistency(older, checkpoints[i + 1] ?? checkpoint, evidence.chain[i].proof));
    return checkpoints;
  }

  // ---- 6 and 7: range, entries --------------------------------------------------------------------------------------

  function countEntries({ range, entries }, checkpoint) {
    const { start, end } = range;
    if (start >= end || end > checkpoint.size) iso.refuse("range", `entries ${start} to ${end} of a log of ${checkpoint.size}`);
    if (BigInt(entries.length) !== end - start) iso.refuse("range", `${entries.length} entries, where the range has ${end - start}`);
  }

  async function unpackEntries(evidence, claim, progress) {
    const chain = new iso.entry.Chain();
    const start = Number(evidence.range.start);
    const list = [];
    for (const [i, packed] of evidence.entries.entries()) {
      const entry = unpackOne(packed, chain);
      if (entry.seq !== start + i) iso.refuse("seq", `entry ${entry.seq} in the place of ${start + i}`);
      if (entry.origin !== evidence.origin) iso.refuse("origin", `entry ${entry.seq} is of ${entry.origin}`);
      chain.add(entry);
      if (entry.type === "genesis" && entry.domain !== claim.domain) iso.refuse("domain", `a log of domain ${entry.domain}`);
      entry.leaf = iso.merkle.leafHash(entry.bytes);
      entry.bytes = null;
      list.push(entry);
      if (i % STRIDE === STRIDE - 1) {
        progress(`entry ${i + 1} of ${evidence.entries.length}`);
        await pause();
      }
    }
    return list;
  }

  function unpackOne(packed, chain) {
    try {
      return iso.entry.unpack(packed, chain);
    } catch (error) {
      if (error.kind === "version") throw new Later(error.message);
      throw error;
    }
  }

  function checkRange({ range }, checkpoint, entries) {
    iso.merkle.range(range.start, range.end, checkpoint.size, checkpoint.root, range.left, range.right, entries.map((e) => e.leaf));
  }

  // ---- 8: ends ------------------------------------------------------------------------------------------------------

  // Which polls close the range: outside it, so that nothing was cut off.
  function closeEnds(evidence, entries, checkpoint, { from, to }) {
    if (from > to) iso.refuse("ends", "the range ends before it begins");
    const polls = entries.filter((e) => e.type === "poll");
    const before = polls.filter((p) => p.ended <= from), after = polls.filter((p) => p.started >= to);
    if (before.length === 0 && evidence.range.start !== 0n) iso.refuse("ends", "open at the start: a poll before it is missing");
    if (before.length > 0 && before[before.length - 1] !== entries[0]) iso.refuse("ends", "more than the range at the start");
    if (after.length === 0 && evidence.range.end !== checkpoint.size) iso.refuse("ends", "open at the end: a poll after it is missing");
    if (after.length > 0 && after[0] !== entries[entries.length - 1]) iso.refuse("ends", "more than the range at the end");
    return { first: before[0] ?? null, last: after[0] ?? null };
  }

  // ---- 9 to 11: versions, semantics, slices -------------------------------------------------------------------------

  // The opened polls. A poll that only closes an end may stay closed: it can be of another's lease.
  function matchVersions(evidence, entries, ends) {
    const opened = new Map();
    let before = -1;
    for (const version of evidence.versions) {
      if (version.version <= before) iso.refuse("order", "versions do not ascend");
      before = version.version;
      opened.set(version.version, { ...version, root: null });
    }
    const polls = [];
    for (const poll of entries.filter((e) => e.type === "poll")) {
      const version = opened.get(poll.version);
      if (version === undefined) {
        if (poll !== ends.first && poll !== ends.last) iso.refuse("version", `version ${poll.version} of poll ${poll.seq} is not opened`);
        continue;
      }
      version.root = poll.root;
      poll.opened = version;
      polls.push(poll);
    }
    for (const version of opened.values()) {
      if (version.root === null) iso.refuse("version", `version ${version.version} is no poll's`);
    }
    return { polls, versions: [...opened.values()] };
  }

  function checkSemantics(polls) {
    const other = polls.find((poll) => poll.semantics !== SEMANTICS);
    if (other !== undefined) throw new Later(`poll ${other.seq} follows semantics ${other.semantics}, which this page does not know`);
  }

  // The texts by digest, each read once as what a version says it is.
  class Texts {
    constructor(texts) {
      this.byDigest = new Map();
      this.read = new Map();
      let before = "";
      for (const text of texts) {
        const digest = iso.hex(iso.blake3(iso.encode(text)));
        if (digest <= before) iso.refuse("order", "the texts are not in the order of their digests");
        before = digest;
        this.byDigest.set(digest, text);
      }
    }

    get(digest, kind) {
      const key = `${kind} ${digest}`;
      if (!this.read.has(key)) this.read.set(key, this.parse(digest, kind));
      return this.read.get(key);
    }

    parse(digest, kind) {
      const text = this.byDigest.get(digest);
      if (text === undefined) iso.refuse("missing", `the ${kind} ${digest} is not there`);
      const version = j.versionOf(text);
      if (version !== null && version !== 1) throw new Later(`a ${kind} of version ${version}, which this page does not know`);
      return j.read(iso.slice.shapes[kind], text);
    }

    checkAllUsed() {
      const used = new Set([...this.read.keys()].map((key) => key.split(" ")[1]));
      for (const digest of this.byDigest.keys()) {
        if (!used.has(digest)) iso.refuse("unused", `the text ${digest} belongs to no version`);
      }
    }
  }

  function readTexts(evidence, versions) {
    const texts = new Texts(evidence.texts);
    for (const version of versions) {
      const common = texts.get(version.common, "common");
      version.parts = {};
      for (const part of iso.slice.PARTS) version.parts[part] = texts.get(common[part], part);
      version.theSlice = texts.get(version.slice, "slice");
      version.theSection = texts.get(version.section, "section");
    }
    texts.checkAllUsed();
  }

  function openVersions(evidence, versions, claim) {
    const keys = new Map();
    let before = -1;
    for (const { lease, key } of evidence.leases) {
      if (lease <= before) iso.refuse("order", "leases do not ascend");
      before = lease;
      keys.set(lease, iso.unhex(key));
    }
    const used = new Set();
    for (const version of versions) {
      const { lease } = version.theSlice;
      const key = keys.get(lease);
      if (key === undefined) iso.refuse("lease", `no key of lease ${lease}`);
      used.add(lease);
      if (lease > version.version) iso.refuse("lease", `lease ${lease} begins after version ${version.version}`);
      checkOpening(version, key, claim.vlan, evidence.origin);
    }
    if (used.size !== keys.size) iso.refuse("lease", "a key that opens nothing");
  }

  function checkOpening(version, key, vlan, origin) {
    const proof = iso.unbase64(version.proof);
    if (proof === null || proof.length % 32 !== 0) iso.refuse("proof", `the proof of version ${version.version} is not hashes in base64`);
    const siblings = [];
    for (let at = 0; at < proof.length; at += 32) siblings.push(proof.subarray(at, at + 32));
    const leaf = iso.merkle.slotLeaf(key, vlan, version.version, origin, iso.unhex(version.slice), iso.unhex(version.common));
    if (iso.hex(iso.merkle.slotRoot(leaf, vlan, siblings)) !== version.root) {
      iso.refuse("root-mismatch", `version ${version.version} does not open at VLAN ${vlan}`);
    }
  }

  function checkSlices(versions, claim) {
    for (const { parts, theSlice, theSection, section, version } of versions) {
      const differs = (what) => iso.refuse("differs", `version ${version} is of another ${what}`);
      if (theSlice.vlan !== claim.vlan || theSection.vlan !== claim.vlan) differs("VLAN");
      if (theSection.name !== claim.network) differs("network");
      if (parts.scope.domain !== claim.domain) differs("domain");
      if (!mayHold(theSection, claim.project)) iso.refuse("project", `at version ${version} project ${claim.project} may not join`);
      iso.slice.check(parts, theSlice, theSection, section);
    }
  }

  function mayHold({ owner, access }, project) {
    if (access === "public" || access.projects.includes(project)) return true;
    return owner === "admin" ? project === "admin" : owner.project === project;
  }

  iso.evidence = {
    LIMIT, open, newest, archive, countEntries, unpackEntries, checkRange, closeEnds, matchVersions, checkSemantics, readTexts,
    openVersions, checkSlices,
  };
})(globalThis.isoverify = globalThis.isoverify || {});
