// The check: the numbered steps of docs/formats/evidence.md in their order, and what they come to.
"use strict";

(function (iso) {
  const { Later } = iso.attestation;
  const CLOCKS_DIFFER = 60000;

  // ---- steps 1 to 12: is the claim proven? --------------------------------------------------------------------------

  class Stop extends Error {}

  class Report {
    constructor() {
      this.checks = [];
      this.outcome = null;
      this.refuted = null;
      this.claim = null;
      this.demands = null;
    }

    add(check, status, detail) {
      this.checks.push({ check, status, detail });
    }

    // Takes a step of 1 to 12: what is refused is a bad proof, what is of a later version undecided, and both end it.
    async take(check, step, detail) {
      let value;
      try {
        value = await step();
      } catch (error) {
        if (!(error instanceof iso.Refused || error instanceof Later)) throw error;
        this.add(check, error instanceof Later ? "undecided" : "failed", error.message);
        this.conclude(error instanceof Later ? "undecided" : "refuted", error instanceof Later ? null : "proof");
        throw new Stop();
      }
      if (detail !== undefined) this.add(check, "passed", detail(value));
      return value;
    }

    conclude(outcome, refuted = null) {
      this.outcome = outcome;
      this.refuted = refuted;
    }
  }

  async function proveClaim(report, files, policy, progress) {
    const take = report.take.bind(report);
    const { envelope, key } = await take("envelope", async () => {
      const envelope = iso.attestation.parseEnvelope(files.attestation);
      return { envelope, key: await iso.attestation.verifyEnvelope(envelope, policy.logs) };
    }, ({ key }) => `signed by ${key.name} (key ${key.id})`);

    const { claim } = await take("statement", () => {
      const statement = iso.attestation.parseStatement(envelope);
      if (statement.subject.digest.sha256 !== iso.hex(iso.sha256(files.evidence))) {
        iso.refuse("subject", "about another evidence file than this one");
      }
      return statement;
    }, () => "an isolation statement about exactly this evidence file");
    report.claim = claim;

    const evidence = await take("evidence", () => iso.evidence.open(files.evidence, claim, key),
      (e) => `canonical; of network ${JSON.stringify(e.network)}, VLAN ${e.vlan}, log ${e.origin}`);
    const checkpoint = await take("checkpoint", () => iso.evidence.newest(evidence, claim, policy),
      (c) => `${c.size} entries, root ${iso.base64(c.root)}, signed by ${c.origin}`);
    const archived = await take("chain", () => iso.evidence.archive(evidence, checkpoint, policy),
      (list) => (list.length === 0 ? "no archived checkpoint" : `${counted(list.length, "archived checkpoint")}, each signed and extended by the next`));

    // The entries are unpacked before their hashes are compared with the root: there is nothing to hash before.
    await take("range", () => iso.evidence.countEntries(evidence, checkpoint));
    const entries = await take("entries", () => iso.evidence.unpackEntries(evidence, claim, progress));
    await take("range", () => iso.evidence.checkRange(evidence, checkpoint, entries),
      () => `entries ${evidence.range.start} to ${evidence.range.end - 1n} are in the log of ${checkpoint.size} entries`);
    report.add("entries", "passed", entriesDetail(entries));
    const ends = await take("ends", () => iso.evidence.closeEnds(evidence, entries, checkpoint, claim),
      ({ first, last }) => `closed: ${first ? "a poll" : "the log's beginning"} before the range, ${last ? "a poll" : "the log's end"} after it`);

    // The versions first, then whether the rules are known, and only then what is in the texts.
    const { polls, versions } = await take("versions", () => iso.evidence.matchVersions(evidence, entries, ends));
    await take("semantics", () => iso.evidence.checkSemantics(polls));
    await take("slices", () => iso.evidence.readTexts(evidence, versions));
    await take("versions", () => iso.evidence.openVersions(evidence, versions, claim),
      () => `${versions.length} distinct, each opened at VLAN ${claim.vlan} under the root its polls state`);
    await take("slices", () => iso.evidence.checkSlices(versions, claim),
      () => `canonical, complete, of network ${JSON.stringify(claim.network)}, open to project ${JSON.stringify(claim.project)}`);
    report.add("semantics", "passed", "every poll follows semantics 1, and was judged anew");

    const proven = { claim, evidence, checkpoint, checkpoints: [...archived, checkpoint], entries, polls, versions };
    await take("claim", () => compareClaim(proven),
      () => `recomputed and equal: ${claim.verdict}, ${claim.isolated} of ${claim.polls} polls isolated`);
    return proven;
  }

  function entriesDetail(entries) {
    const polls = entries.filter((e) => e.type === "poll").length;
    const unknown = entries.filter((e) => !e.known).length;
    return `none missing, each following from the one before; ${polls} polls`
      + (unknown > 0 ? `; ${unknown} of a later type, counted and skipped` : "");
  }

  // ---- 12: the claim ------------------------------------------------------------------------------------------------

  function judgeAll(polls, accepted) {
    const judged = new Map();
    return polls.map((poll) => {
      const { opened } = poll;
      if (!judged.has(opened.version)) {
        judged.set(opened.version, iso.slice.judge(opened.parts, opened.theSlice, opened.theSection, accepted));
      }
      const judgement = judged.get(opened.version);
      return {
        seq: poll.seq, started: poll.started, ended: poll.ended, section: opened.theSection, judgement,
        verdict: judgement.verdict, blind: iso.range.blindSources(judgement),
      };
    });
  }

  function recompute({ claim, evidence, checkpoint, entries, polls }) {
    const judged = judgeAll(polls, []);
    const range = iso.range.assess(judged, claim.from, claim.to, claim.maxGap);
    const seqs = (type) => entries.filter((e) => e.type === type).map((e) => e.seq);
    const names = checkpoint.lines.map((line) => line.name).filter((name) => name !== evidence.origin);
    const leases = new Set(polls.map((poll) => poll.opened.theSlice.lease));
    return {
      verdict: range.verdict, polls: range.polls, isolated: range.isolated, violations: range.violations,
      blind: range.blind.map((s) => ({ blind: isHandle(s.source) ? { switch: s.source } : s.source, from: s.from, to: s.to })),
      leases: [...leases].sort((a, b) => (a < b ? -1 : 1)),
      scopeChanges: seqs("scope-changed"),
      exits: iso.slice.exitsOnce(judged.flatMap((poll) => poll.judgement.exits)),
      notAssessed: iso.slice.notAssessedOnce(judged.flatMap((poll) => poll.judgement.not_assessed)),
      exceptions: seqs("exception-granted"),
      cosignatures: [...new Set(names)].sort(iso.compareText),
    };
  }

  function isHandle(source) {
    return source !== "everything" && source !== "manager";
  }

  function compareClaim(proven) {
    const { claim, checkpoint } = proven;
    for (const [member, value] of Object.entries(recompute(proven))) {
      if (asText(value) !== asText(claim[member])) {
        iso.refuse("claim", `${member} does not follow from the evidence, which says ${asText(value)}`);
      }
    }
    if (claim.auditedTo !== null && claim.auditedTo > checkpoint.size) iso.refuse("claim", "auditedTo is beyond the log's end");
  }

  // Members are read in one order, so equal values are equal texts. BigInts, which JSON does not know, are huge integers.
  function asText(value) {
    return JSON.stringify(value, (_, v) => (typeof v === "bigint" ? `${v} as BigInt` : v));
  }

  // ---- steps 13 to 22: is it what the tenant demands? ---------------------------------------------------------------

  function findStanza(policy, claim) {
    return policy.stanzas.find((s) => s.network === claim.network && s.domain === claim.domain && s.project === claim.project
      && (s.vlan === undefined || s.vlan === claim.vlan) && (s.log === undefined || s.log === claim.log.origin)) ?? null;
  }

  // When the quorum was reached, in milliseconds, for each checkpoint that it cosigned.
  function quorumTimes(quorum, checkpoints) {
    const times = [];
    for (const checkpoint of checkpoints) {
      const second = iso.policy.reached(quorum, checkpoint.signed);
      if (second !== null) times.push({ size: checkpoint.size, time: second * 1000 });
    }
    return times;
  }

  // Which polls the quorum knew of soon enough. From the last to the first, so that each poll has the earliest time of the
  // checkpoints that cover it without a search.
  function confirmed(polls, times, within) {
    const good = new Set();
    const left = times.slice().sort((a, b) => (a.size < b.size ? -1 : 1));
    let earliest = Infinity;
    for (const poll of polls.slice().reverse()) {
      while (left.length > 0 && left[left.length - 1].size > BigInt(poll.seq)) earliest = Math.min(earliest, left.pop().time);
      if (earliest - poll.ended <= within && poll.ended - earliest <= CLOCKS_DIFFER) good.add(poll.seq);
    }
    return good;
  }

  class Demands {
    constructor(proven, policy, stanza, asked) {
      Object.assign(this, proven, { policy, stanza, asked });
      this.times = policy.quorum === null ? null : quorumTimes(policy.quorum, this.checkpoints);
      this.judged = judgeAll(this.polls, stanza === null ? [] : stanza["accept-unread"] ?? []);
      const good = this.times === null ? null : confirmed(this.judged, this.times, policy.witnessedWithin);
      for (const poll of this.judged) this.setConfirmed(poll, good === null || good.has(poll.seq));
      this.range = iso.range.assess(this.judged, this.claim.from, this.claim.to, policy.maxGap);
    }

    setConfirmed(poll, yes) {
      poll.confirmed = yes;
      if (yes) return;
      poll.blind.add("everything");
      if (poll.verdict === "isolated") poll.verdict = "unknown";
    }

    request() {
      const { asked, claim } = this;
      if (asked.from !== null && asked.from !== claim.from) return ["failed", "of a range that begins elsewhere than asked for"];
      if (asked.to !== null && asked.to !== claim.to) return ["failed", "of a range that ends elsewhere than asked for"];
      if (asked.nonce !== null && asked.nonce !== claim.nonce) {
        return ["failed", claim.nonce === null ? "an answer to no nonce" : "an answer to another nonce"];
      }
      const some = asked.from !== null || asked.to !== null || asked.nonce !== null;
      return ["passed", some ? "the answer to what was asked for" : "no range and no nonce was asked for"];
    }

    witnesses() {
      if (this.times === null) return ["passed", "the policy asks for no witness: times and history are the operator's word"];
      const count = this.judged.filter((poll) => poll.confirmed).length;
      const within = iso.spanText(this.policy.witnessedWithin);
      const who = iso.policy.quorumText(this.policy.quorum);
      if (count === 0) return ["undecided", `${who} confirmed no poll within ${within}`];
      return ["passed", `${who} confirmed ${count} of ${this.judged.length} polls within ${within}`];
    }

    auditors() {
      const { audit } = this.policy;
      if (audit === null) return ["passed", "none is asked for: that slices follow from the recorded evidence is the operator's word"];
      const reached = this.checkpoints.some((c) => c.size >= this.evidence.range.end && iso.policy.reached(audit, c.signed) !== null);
      const who = iso.policy.quorumText(audit);
      return reached ? ["passed", `${who} recomputed the log beyond the range`] : ["undecided", `${who} has not recomputed the whole range`];
    }

    isolation() {
      const { verdict, isolated, polls, violations, blind, longest } = this.range;
      const allowed = iso.spanText(this.policy.maxGap);
      if (verdict === "violated") return ["failed", violations.map(violationText).join("; ") + findingsText(this.judged)];
      if (verdict === "isolated") {
        return ["passed", `${isolated} of ${polls} polls isolated, longest gap ${seconds(longest)}, ${allowed} allowed`];
      }
      if (isolated === 0) return ["undecided", `no poll is isolated${findingsText(this.judged)}`];
      const stretches = blind.length === 1 ? "a stretch" : `${blind.length} stretches`;
      return ["undecided", `${stretches} longer than ${allowed} without a good reading${findingsText(this.judged)}`];
    }

    members() {
      const demand = this.stanza.members;
      const at = this.judged.map((poll) => new Set(poll.section.attachments.map((a) => JSON.stringify([a.node, a.nic]))));
      const shown = (name) => JSON.parse(name).join("/");
      const all = [...new Set(at.flatMap((names) => [...names]))].sort(iso.compareText);
      if (demand === undefined) return ["passed", `the policy leaves them open; declared: ${all.map(shown).join(", ") || "nobody"}`];
      const wanted = demand.list.map((name) => JSON.stringify(name.split("/")));
      const extra = demand.exactly ? all.filter((name) => !wanted.includes(name)) : [];
      if (extra.length > 0) return ["failed", `one too many: ${extra.map(shown).join(", ")}`];
      const missing = wanted.filter((name) => !at.every((names) => names.has(name)));
      if (missing.length > 0) return ["undecided", `not declared at every poll: ${missing.map(shown).join(", ")}`];
      return ["passed", `as the policy says: ${wanted.map(shown).join(", ") || "nobody"}`];
    }

    exits() {
      const wanted = this.stanza.exits;
      const found = [...new Set(this.claim.exits.map((exit) => exit.name))];
      if (wanted === undefined) return ["passed", `the policy leaves them open; carried it: ${found.join(", ") || "none"}`];
      const extra = found.filter((name) => !wanted.includes(name));
      if (extra.length > 0) return ["failed", `one too many: ${extra.join(", ")}`];
      const missing = wanted.filter((name) => !found.includes(name));
      if (missing.length > 0) return ["undecided", `never carried it: ${missing.join(", ")}`];
      return ["passed", `as the policy says: ${wanted.join(", ") || "none"}`];
    }

    public() {
      if (!this.judged.some((poll) => poll.judgement.public)) return ["passed", "not public"];
      if (this.stanza.public !== undefined) return ["passed", "public, as the policy allows"];
      return ["undecided", "any project may join, and the policy does not allow that"];
    }

    notAssessed() {
      const accepted = this.stanza["accept-unassessed"] ?? [];
      const names = portNames(this.versions);
      const isAccepted = ({ switch: handle, port }) => accepted.includes(port)
        || [...(names.get(`${handle} ${port}`) ?? [])].some((name) => accepted.includes(name));
      const open = this.claim.notAssessed.filter((item) => item.port && !isAccepted(item.port));
      if (open.length > 0) return ["undecided", `nobody assesses ${open.map((item) => shortPort(item.port)).join(", ")}`];
      return ["passed", `as the policy allows, nobody assesses ${this.claim.notAssessed.map(notAssessedText).join(", ")}`];
    }

    freshness() {
      const { now, nonce } = this.asked;
      if (nonce === null) return ["undecided", "fresh was asked for, and no nonce given"];
      const last = this.judged.length === 0 ? -Infinity : this.judged[this.judged.length - 1].ended;
      const moments = [["the last poll", last]];
      if (this.times !== null) moments.push(["the newest cosignature", Math.max(-Infinity, ...this.times.map((t) => t.time))]);
      for (const [what, moment] of moments) {
        if (now - moment > this.policy.freshWithin) return ["undecided", `${what} is older than ${iso.spanText(this.policy.freshWithin)}`];
        if (moment - now > CLOCKS_DIFFER) return ["undecided", `${what} is later than now`];
      }
      return ["passed", `the last poll ended ${seconds(now - last)} ago`];
    }
  }

  // Names that any opened text discloses, by handles. The policy writes them SWITCH/PORT.
  function portNames(versions) {
    const names = new Map();
    for (const { parts, theSlice } of versions) {
      for (const port of [...theSlice.ports, ...parts.wide.ports, ...parts.wide.passed, ...parts.scope.unassessed]) {
        if (port.name === null) continue;
        const key = `${port.switch} ${port.port}`;
        if (!names.has(key)) names.set(key, new Set());
        names.get(key).add(`${port.name.switch}/${port.name.port}`);
      }
    }
    return names;
  }

  // ---- words --------------------------------------------------------------------------------------------------------

  function counted(n, what) {
    return `${n} ${what}${n === 1 ? "" : "s"}`;
  }

  function seconds(ms) {
    return `${(ms / 1000).toFixed(1)} s`;
  }

  function shortPort({ port }) {
    return `port ${port.slice(0, 12)}…`;
  }

  function subjectText(subject) {
    if (typeof subject === "string") return subject;
    if (subject.port) return shortPort(subject.port);
    if (subject.switch) return `switch ${subject.switch.slice(0, 12)}…`;
    if (subject.class) return `${subject.class.class} at switch ${subject.class.switch.slice(0, 12)}…`;
    return `nic ${subject.nic.node}/${subject.nic.nic}`;
  }

  function findingsText(polls) {
    const texts = new Set();
    for (const { judgement } of polls) {
      for (const { finding, subject, passed } of judgement.findings) {
        if (iso.slice.ISOLATION.includes(finding) || iso.slice.VISIBILITY.includes(finding)) {
          texts.add(`${finding} at ${subjectText(subject)}${passed ? " (passed)" : ""}`);
        }
      }
    }
    return texts.size === 0 ? "" : `; found: ${[...texts].slice(0, 8).join(", ")}${texts.size > 8 ? ", …" : ""}`;
  }

  function violationText({ after, by, overBy, polls }) {
    const end = overBy === null ? "not over by the end of the range" : `over by ${iso.timeText(overBy)}`;
    return `began after ${iso.timeText(after)} and by ${iso.timeText(by)}, ${end} (${counted(polls, "poll")})`;
  }

  function notAssessedText(item) {
    if (item === "cabling") return item;
    if (item.class) return `${item.class.class} at switch ${item.class.switch.slice(0, 12)}…`;
    if (item.port) return shortPort(item.port);
    return `what is behind exit ${item.exit.name}`;
  }

  // ---- the whole ----------------------------------------------------------------------------------------------------

  function holdAgainst(report, proven, policy, asked) {
    const stanza = findStanza(policy, proven.claim);
    const demands = new Demands(proven, policy, stanza, asked);
    report.demands = demands;
    const add = (check, [status, detail]) => report.add(check, status, detail);
    if (stanza === null) add("stanza", ["undecided", "the policy does not speak of this network, domain, project, VLAN and log"]);
    else add("stanza", ["passed", `line ${stanza.line} of the policy`]);
    add("request", demands.request());
    add("witnesses", demands.witnesses());
    add("auditors", demands.auditors());
    if (stanza === null) return;
    add("isolation", demands.isolation());
    add("members", demands.members());
    add("exits", demands.exits());
    add("public", demands.public());
    add("not-assessed", demands.notAssessed());
    if (asked.now !== null) add("freshness", demands.freshness());
  }

  function conclude(report) {
    const status = (name) => report.checks.find((c) => c.check === name)?.status;
    if (status("request") === "failed") return report.conclude("refuted", "proof");
    if (status("stanza") !== "passed") return report.conclude("undecided");
    if (["isolation", "members", "exits"].some((name) => status(name) === "failed")) return report.conclude("refuted", "violation");
    if (report.checks.every((c) => c.status === "passed")) return report.conclude("verified");
    return report.conclude("undecided");
  }

  const ORDER = ["envelope", "statement", "evidence", "checkpoint", "chain", "range", "entries", "ends", "versions", "slices",
    "semantics", "claim", "stanza", "request", "witnesses", "auditors", "isolation", "members", "exits", "public", "not-assessed",
    "freshness"];

  // `files` are bytes: attestation, evidence. `policy` was read by iso.policy.parse. `asked`: from, to (milliseconds), nonce, and
  // now where the answer must be fresh; null where nothing was asked.
  async function verify(files, policy, asked, progress = () => {}) {
    const report = new Report();
    report.policy = policy;
    try {
      const proven = await proveClaim(report, files, policy, progress);
      holdAgainst(report, proven, policy, asked);
      conclude(report);
    } catch (error) {
      if (!(error instanceof Stop)) throw error;
    }
    report.firstOpen = report.checks.find((c) => c.status !== "passed")?.check ?? "none";
    report.checks.sort((a, b) => ORDER.indexOf(a.check) - ORDER.indexOf(b.check));
    return report;
  }

  iso.verify = verify;
  iso.words = { counted, seconds, violationText, notAssessedText, subjectText };
  iso.recompute = recompute;
})(globalThis.isoverify = globalThis.isoverify || {});
