// Entries of the log (docs/formats/entry.md), and their packed form (docs/formats/evidence.md).
"use strict";

(function (iso) {
  const LIMIT = 4096;
  const NUMBER_MOST = 2 ** 53;
  const ZERO = "0".repeat(64);

  // ---- grammar ------------------------------------------------------------------------------------------------------

  // Parts of the grammar: a pattern, and what a value is made with (null refuses it).
  const number = ["(0|[1-9][0-9]*)", (text) => iso.integer(text, NUMBER_MOST)];
  const number32 = ["(0|[1-9][0-9]*)", (text) => iso.integer(text, 2 ** 32 - 1)];
  const time = ['"([^"]*)"', iso.time];
  const digest = ['"([0-9a-f]{64})"', (text) => text];
  const word = ['"([A-Za-z0-9._-]{1,64})"', (text) => text];
  const origin = ['"([!#-*,-[\\]-~]{1,200})"', (text) => text];
  const key = ['"([!#-[\\]-~]{1,400})"', (text) => text];

  const BODIES = {
    genesis: { domain: word, key, semantics: number32 },
    poll: { semantics: number32, started: time, ended: time, version: number, root: digest, content: digest },
    "scope-changed": { commitment: digest },
    "key-rotated": { key },
    "divergence-acknowledged": { commitment: digest },
    "exception-granted": { commitment: digest },
    "content-archived": { upto: number, commitment: digest },
    "log-recovered": { reason: word, size: number },
  };

  function members(shape) {
    return Object.entries(shape).map(([name, [pattern]]) => `,"${name}":${pattern}`).join("");
  }

  const HEAD = { origin, seq: number, time, prev: digest, type: word };
  const HEAD_PATTERN = new RegExp(`^\\{"v":1${members(HEAD)}`);
  const BODY_PATTERNS = {};
  for (const [type, shape] of Object.entries(BODIES)) BODY_PATTERNS[type] = new RegExp(`^${members(shape)}\\}\n$`);

  function malformed(what) {
    iso.refuse("malformed", `an entry is malformed: ${what}`);
  }

  function values(shape, found) {
    const entry = {};
    Object.entries(shape).forEach(([name, [, make]], i) => {
      entry[name] = make(found[i + 1]);
      if (entry[name] === null) malformed(name);
    });
    return entry;
  }

  // A type of later: its body is some JSON, which nobody here understands.
  function checkUnknown(text, rest) {
    if (!/^(,"[^\u0000-\u001f]*)?\}\n$/.test(rest)) malformed("body");
    try {
      JSON.parse(text);
    } catch {
      malformed("not one JSON object");
    }
  }

  function parse(text) {
    const bytes = iso.encode(text);
    if (bytes.length > LIMIT) iso.refuse("too-long", `an entry of ${bytes.length} bytes, at most ${LIMIT}`);
    const version = iso.integer(/^\{"v":([0-9]*)/.exec(text)?.[1] ?? "", NUMBER_MOST);
    if (version !== null && version !== 1) iso.refuse("version", `an entry of version ${version}`);
    const head = HEAD_PATTERN.exec(text);
    if (head === null) malformed("head");
    const entry = values(HEAD, head);
    const rest = text.slice(head[0].length);
    if (Object.hasOwn(BODIES, entry.type)) {
      const body = BODY_PATTERNS[entry.type].exec(rest);
      if (body === null) malformed(`body of ${entry.type}`);
      Object.assign(entry, values(BODIES[entry.type], body));
    } else {
      checkUnknown(text, rest);
    }
    entry.known = Object.hasOwn(BODIES, entry.type);
    entry.bytes = bytes;
    entry.digest = iso.hex(iso.blake3(bytes));
    return entry;
  }

  function parseBytes(bytes) {
    if (bytes.length > LIMIT) iso.refuse("too-long", `an entry of ${bytes.length} bytes, at most ${LIMIT}`);
    return parse(iso.decode(bytes, "malformed"));
  }

  // ---- the chain ----------------------------------------------------------------------------------------------------

  // Takes entries in order and refuses the one that does not follow.
  class Chain {
    constructor() {
      this.last = null;
      this.lastPoll = null;
      this.fromTheStart = false;
    }

    add(entry) {
      const before = this.last;
      const fail = (rule, what) => iso.refuse(rule, `entry ${entry.seq}: ${what}`);
      if (before === null) {
        this.fromTheStart = entry.seq === 0;
      } else {
        if (entry.origin !== before.origin) fail("origin", "another origin than the entry before");
        if (entry.seq !== before.seq + 1) fail("seq", `follows entry ${before.seq}`);
      }
      if (before !== null && entry.prev !== before.digest) fail("prev", "does not name the entry before");
      if (entry.seq === 0 && entry.prev !== ZERO) fail("prev", "something before the first entry");
      if (before !== null && entry.time < before.time) fail("backwards", "earlier than the entry before");
      if ((entry.type === "genesis") !== (entry.seq === 0)) fail("genesis", "a log begins once, with a genesis");
      if (entry.type === "poll") this.addPoll(entry, fail);
      this.last = entry;
    }

    addPoll(poll, fail) {
      const before = this.lastPoll;
      if (poll.started > poll.ended || poll.ended > poll.time) fail("window", "its times are out of order");
      if (before !== null) {
        if (poll.started < before.ended) fail("overlap", "the poll began before the one before had ended");
        const same = poll.version === before.version && poll.root === before.root;
        if (poll.version !== poll.seq && !same) fail("stale", "neither a version of its own nor that of the poll before");
      } else if (this.fromTheStart ? poll.version !== poll.seq : poll.version > poll.seq) {
        fail("stale", "a version that no poll can have cut");
      }
      this.lastPoll = poll;
    }
  }

  // ---- packed entries -----------------------------------------------------------------------------------------------

  const DELTA = "(0|[1-9][0-9]{0,14})";
  const HASH = "([A-Za-z0-9+/]{43}=)";
  const SHORT = new RegExp(`^(?:p ${DELTA} ${DELTA} ${DELTA} ${HASH}|v ${DELTA} ${DELTA} ${DELTA} ${HASH} ${HASH})$`);

  function hashHex(text) {
    const bytes = iso.hashFromBase64(text);
    if (bytes === null) malformed("a packed hash");
    return iso.hex(bytes);
  }

  function timeTextOf(value) {
    if (value < 0 || value > iso.LAST_TIME) malformed("a packed time");
    return iso.timeText(value);
  }

  // The entry as it stands in the log, from its packed form and the chain before it.
  function unpack(packed, chain) {
    if (packed.startsWith("{")) return parse(packed);
    const m = SHORT.exec(packed);
    if (m === null) malformed("neither an entry nor a packed one");
    const before = chain.last, poll = chain.lastPoll;
    if (before === null || poll === null) malformed("packed, and no poll before it");
    const cut = packed.startsWith("v");
    const [dt, de, ds, content, root] = cut ? m.slice(5) : m.slice(1);
    const seq = before.seq + 1;
    const time = before.time + Number(dt), ended = time - Number(de), started = ended - Number(ds);
    return parse(`{"v":1,"origin":"${before.origin}","seq":${seq},"time":"${timeTextOf(time)}","prev":"${before.digest}",`
      + `"type":"poll","semantics":${poll.semantics},"started":"${timeTextOf(started)}","ended":"${timeTextOf(ended)}",`
      + `"version":${cut ? seq : poll.version},"root":"${cut ? hashHex(root) : poll.root}","content":"${hashHex(content)}"}\n`);
  }

  iso.entry = { parse, parseBytes, unpack, Chain };
})(globalThis.isoverify = globalThis.isoverify || {});
