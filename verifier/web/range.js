// The verdict over a range (docs/formats/attestation.md): what polls say together, and what nobody looked at.
"use strict";

(function (iso) {
  const SOURCE_ORDER = (source) => (source === "everything" ? [0, ""] : source === "manager" ? [1, ""] : [2, source]);

  // `polls` are the opened ones in order, { seq, started, ended, verdict, blind } with `blind` a set of sources: handles of
  // switches, "manager", "everything".
  function stretches(polls, from, to) {
    const done = [];
    const open = new Map();
    const close = (source, at) => {
      done.push({ source, from: open.get(source), to: at });
      open.delete(source);
    };
    polls.forEach((poll, i) => {
      const since = sinceOf(polls, i, from);
      if (!poll.blind.has("everything") && !open.has("everything")) {
        done.push({ source: "everything", from: since, to: poll.ended });
      }
      for (const source of [...open.keys()]) {
        if (!poll.blind.has(source)) close(source, poll.ended);
      }
      for (const source of poll.blind) {
        if (!open.has(source)) open.set(source, since);
      }
    });
    for (const [source, opened] of [...open]) close(source, Math.max(opened, to));

    const last = polls[polls.length - 1];
    if (last === undefined) done.push({ source: "everything", from, to });
    else if (last.ended < to) done.push({ source: "everything", from: last.started, to });
    return done;
  }

  function sinceOf(polls, i, from) {
    return i === 0 ? Math.min(from, polls[0].started) : polls[i - 1].started;
  }

  function tooLong(all, allowed) {
    const order = iso.slice.by((s) => [s.from, s.to, ...SOURCE_ORDER(s.source)]);
    const list = all.filter((s) => s.to - s.from > allowed).sort(order);
    return list.filter((s, i) => i === 0 || order(list[i - 1], s) !== 0);
  }

  function violations(polls, from) {
    const found = [];
    let open = null;
    polls.forEach((poll, i) => {
      if (poll.verdict === "violated") {
        if (open === null) {
          open = { after: sinceOf(polls, i, from), by: poll.ended, overBy: null, first: poll.seq, polls: 0 };
          found.push(open);
        }
        open.polls += 1;
      } else if (open !== null) {
        open.overBy = poll.ended;
        open = null;
      }
    });
    return found;
  }

  function assess(polls, from, to, allowed) {
    const all = stretches(polls, from, to);
    const blind = tooLong(all, allowed);
    const violated = violations(polls, from);
    const isolated = polls.filter((p) => p.verdict === "isolated").length;
    const verdict = violated.length > 0 ? "violated" : isolated > 0 && blind.length === 0 ? "isolated" : "unknown";
    const longest = all.reduce((most, s) => Math.max(most, s.to - s.from), 0);
    return { verdict, polls: polls.length, isolated, violations: violated, blind, longest };
  }

  // Which sources a judgement says nothing good of.
  function blindSources(judgement) {
    const sources = new Set();
    for (const { finding, subject } of judgement.findings) {
      if (!iso.slice.VISIBILITY.includes(finding)) continue;
      if (subject === "manager") sources.add("manager");
      else sources.add(subject.switch ?? (subject.port ?? subject.class).switch);
    }
    return sources;
  }

  iso.range = { assess, blindSources };
})(globalThis.isoverify = globalThis.isoverify || {});
