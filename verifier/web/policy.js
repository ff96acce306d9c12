// The tenant's policy (docs/formats/policy.md). Whatever is not understood is an error with its line.
"use strict";

(function (iso) {
  const LIMIT = 1048576, MANY = 128, STANZAS = 4096;
  const HUNDRED_YEARS = 36525 * 86400000;
  const OPTIONS = ["domain", "project", "vlan", "log", "members", "exits", "public", "accept-unassessed", "accept-unread",
    "accept-exception"];
  const CLASSES = ["flows", "controller", "mirror", "ingress-filtering", "routing", "translation", "classification",
    "dynamic", "double-tagging"];

  class PolicyError extends iso.Refused {
    constructor(kind, line, message) {
      super(kind, line === null ? message : `line ${line}: ${message}`);
      this.line = line;
    }
  }

  // ---- lines into words ---------------------------------------------------------------------------------------------

  // Controls (tab is white space), and characters that show nothing or turn text around.
  const FORBIDDEN = /(?!\t)\p{Cc}|[\u00ad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff]/u;
  const WORD = /[^ \t"]+|"(?:[^"\\]|\\["\\])*"/y;

  // [{ text, bare }]; a bare word is what keywords and options are.
  function wordsOf(line, fail) {
    const words = [];
    let at = 0;
    for (;;) {
      while (line[at] === " " || line[at] === "\t") at++;
      if (at === line.length) return words;
      WORD.lastIndex = at;
      const found = WORD.exec(line);
      if (found === null) fail("quote", "a quoted word that does not end, or an escape other than \\\" and \\\\");
      at = WORD.lastIndex;
      if (at < line.length && line[at] !== " " && line[at] !== "\t") fail("quote", "a quote inside a word");
      const bare = !found[0].startsWith('"');
      words.push({ bare, text: bare ? found[0] : found[0].slice(1, -1).replace(/\\(["\\])/g, "$1") });
    }
  }

  // ---- the lines ----------------------------------------------------------------------------------------------------

  class Reader {
    constructor() {
      this.policy = {
        logs: [], cosigners: [], groups: [], quorum: undefined, audit: undefined, maxGap: undefined,
        witnessedWithin: undefined, freshWithin: undefined, unpinned: undefined, stanzas: [],
      };
      this.line = 0;
      this.keys = new Set();
      this.names = new Map();
      this.grouped = new Set();
    }

    fail(kind, message) {
      throw new PolicyError(kind, this.line, message);
    }

    read(text) {
      const lines = text.split("\n");
      if (lines[lines.length - 1] === "") lines.pop();
      for (const line of lines) {
        this.line += 1;
        this.readLine(line);
      }
    }

    readLine(line) {
      if (FORBIDDEN.test(line)) this.fail("character", "a character that is not allowed");
      if (/^[ \t]*#/.test(line)) return;
      const words = wordsOf(line, this.fail.bind(this));
      if (words.length === 0) return;
      const [keyword, ...rest] = words;
      const known = {
        log: this.log, witness: this.cosigner, auditor: this.cosigner, group: this.group, quorum: this.quorum,
        audit: this.quorum, "max-gap": this.span, "witnessed-within": this.span, "fresh-within": this.span,
        unpinned: this.unpinned, network: this.stanza,
      };
      if (!keyword.bare || !Object.hasOwn(known, keyword.text)) this.fail("keyword", `${keyword.text} is no line's beginning`);
      known[keyword.text].call(this, rest, keyword.text);
    }

    count(words, least, most) {
      if (words.length < least || words.length > most) this.fail("form", "too few words, or too many");
    }

    room(list, most) {
      if (list.length >= most) this.fail("too-many", `at most ${most} of these`);
    }

    once(name) {
      if (this.policy[name] !== undefined) this.fail("repeated", "stands here a second time");
    }

    key(text, type) {
      let key;
      try {
        key = iso.note.parseKey(text);
      } catch (error) {
        this.fail("key", error.message);
      }
      if (key.type !== type) this.fail("key-kind", "a log's key is of type 01, a cosigner's of type 04");
      const bytes = iso.hex(key.key);
      if (this.keys.has(bytes)) this.fail("same-key", "this key stands on a line before");
      this.keys.add(bytes);
      return key;
    }

    log(words) {
      this.count(words, 1, 2);
      this.room(this.policy.logs, MANY);
      this.policy.logs.push(this.key(words[0].text, iso.note.PLAIN));
    }

    define(name, what) {
      if (name === "none" || name === "") this.fail("name", `${JSON.stringify(name)} is no name`);
      if (this.names.has(name)) this.fail("same-name", `${name} is defined before`);
      this.names.set(name, what);
    }

    cosigner(words, keyword) {
      this.count(words, 2, 3);
      this.room(this.policy.cosigners, MANY);
      const cosigner = { name: words[0].text, key: this.key(words[1].text, iso.note.COSIGNATURE), auditor: keyword === "auditor" };
      this.define(cosigner.name, cosigner);
      this.policy.cosigners.push(cosigner);
    }

    group(words) {
      this.count(words, 2, Infinity);
      this.room(this.policy.groups, MANY);
      const [name, threshold, ...members] = words.map((word) => word.text);
      const need = threshold === "all" ? members.length : threshold === "any" ? 1 : iso.integer(threshold);
      if (need === null || need < 1 || need > members.length) this.fail("threshold", "a number that its members can reach");
      for (const member of members) {
        if (!this.names.has(member)) this.fail("undefined", `${member} is not defined before`);
        if (this.grouped.has(member)) this.fail("grouped", `${member} is in a group already`);
        this.grouped.add(member);
      }
      const group = { name, need, members: members.map((member) => this.names.get(member)) };
      this.define(name, group);
      this.policy.groups.push(group);
    }

    quorum(words, keyword) {
      this.once(keyword);
      this.count(words, 1, 1);
      const [{ text: name, bare }] = words;
      const nobody = bare && name === "none";
      if (!nobody && !this.names.has(name)) this.fail("undefined", `${name} is not defined before`);
      const chosen = nobody ? null : this.names.get(name);
      if (keyword === "audit" && chosen !== null && !cosignersOf(chosen).every((c) => c.auditor)) {
        this.fail("not-auditor", "a witness recomputes nothing");
      }
      this.policy[keyword] = chosen;
    }

    span(words, keyword) {
      const name = { "max-gap": "maxGap", "witnessed-within": "witnessedWithin", "fresh-within": "freshWithin" }[keyword];
      this.once(name);
      this.count(words, 1, 1);
      const span = iso.span(words[0].text);
      if (span === null || span > HUNDRED_YEARS) this.fail("span", "a whole number with ms, s, m, h or d");
      this.policy[name] = span;
    }

    unpinned(words) {
      this.once("unpinned");
      this.count(words, 0, 0);
      this.policy.unpinned = true;
    }

    // ---- stanzas ----------------------------------------------------------------------------------------------------

    stanza(words) {
      this.room(this.policy.stanzas, STANZAS);
      const isOption = (word) => word.bare && OPTIONS.includes(word.text);
      const next = () => (words.length === 0 || isOption(words[0]) ? null : words.shift());
      const name = () => {
        const word = next();
        return word === null || word.text === "" ? this.fail("no-name", "a name is missing") : word.text;
      };
      const stanza = { line: this.line, network: name() };
      while (words.length > 0) {
        const option = words.shift();
        if (!isOption(option)) this.fail("option", `${option.text} is no option; a name with a space needs quotes`);
        if (Object.hasOwn(stanza, option.text)) this.fail("repeated", `${option.text} stands here twice`);
        stanza[option.text] = this.option(option.text, next, name);
      }
      for (const needed of ["domain", "project"]) {
        if (!Object.hasOwn(stanza, needed)) this.fail("without", `a stanza without ${needed}`);
      }
      if (this.policy.stanzas.some((other) => overlap(stanza, other))) this.fail("same-stanza", "two stanzas of one claim");
      this.policy.stanzas.push(stanza);
    }

    option(option, next, name) {
      const qualifier = (...words) => {
        const word = next();
        if (word === null || !word.bare || !words.includes(word.text)) this.fail("no-qualifier", words.join(" or "));
        return word.text;
      };
      switch (option) {
        case "domain": case "project": case "log":
          return name();
        case "vlan":
          return this.vlan(name());
        case "public":
          return qualifier("ok");
        case "members": {
          const exactly = qualifier("exactly", "at-least") === "exactly";
          return { exactly, list: this.list(next, !exactly, this.member) };
        }
        case "exits":
          qualifier("exactly");
          return this.list(next, false, (text) => text);
        case "accept-unassessed":
          return this.list(next, true, this.port);
        case "accept-unread":
          return this.list(next, true, (text) => (CLASSES.includes(text) ? text : this.fail("class", `${text} is no class`)));
        default:
          return this.list(next, true, this.exception);
      }
    }

    list(next, someone, check) {
      const items = [];
      for (let word = next(); word !== null; word = next()) {
        const item = check.call(this, word.text);
        if (items.includes(item)) this.fail("twice", `${item} stands here twice`);
        items.push(item);
      }
      if (someone && items.length === 0) this.fail("no-name", "an empty list demands nothing");
      return items;
    }

    vlan(text) {
      const vlan = iso.integer(text, 4094);
      return vlan === null || vlan === 0 ? this.fail("vlan", "a VLAN id from 1 to 4094") : vlan;
    }

    member(text) {
      return /^[^/]+\/[^/]+$/.test(text) ? text : this.fail("member", `${text} is not NODE/NIC`);
    }

    port(text) {
      return iso.isDigest(text) || /^[^/]+\/./s.test(text) ? text : this.fail("port", `${text} is neither SWITCH/PORT nor a handle`);
    }

    exception(text) {
      const seq = iso.u64(text);
      return seq === null ? this.fail("exception", `${text} is no entry`) : seq;
    }

    // ---- the end ----------------------------------------------------------------------------------------------------

    finish() {
      const policy = this.policy;
      this.line = null;
      if (policy.logs.length === 0) this.fail("missing-log", "no log line: nobody's word would count");
      if (policy.quorum === undefined) this.fail("missing-quorum", "no quorum line");
      const origins = new Set(policy.logs.map((log) => log.name));
      for (const stanza of policy.stanzas) {
        this.line = stanza.line;
        if (stanza.log !== undefined && !origins.has(stanza.log)) this.fail("undefined", `no log line of ${stanza.log}`);
        if (stanza.log === undefined && origins.size > 1) this.fail("which-log", "which of the logs may speak of this network?");
      }
      policy.audit ??= null;
      policy.maxGap ??= 300000;
      policy.witnessedWithin ??= 900000;
      policy.freshWithin ??= 900000;
      policy.unpinned ??= false;
      return policy;
    }
  }

  // Whether one claim could be of both.
  function overlap(a, b) {
    const may = (x, y) => x === undefined || y === undefined || x === y;
    return a.network === b.network && a.domain === b.domain && a.project === b.project && may(a.vlan, b.vlan) && may(a.log, b.log);
  }

  function parse(bytes) {
    if (bytes.length > LIMIT) throw new PolicyError("too-long", null, "a policy has at most 1 MiB");
    const reader = new Reader();
    reader.read(iso.decode(bytes));
    const policy = reader.finish();
    policy.digest = iso.hex(iso.blake3(bytes));
    return policy;
  }

  // ---- quorums ------------------------------------------------------------------------------------------------------

  function cosignersOf(node) {
    return node.members === undefined ? [node] : node.members.flatMap(cosignersOf);
  }

  // When it was reached, given when each cosigner signed (by name); null if it was not.
  function reached(node, signed) {
    if (node.members === undefined) return signed.get(node.name) ?? null;
    const times = node.members.map((member) => reached(member, signed)).filter((time) => time !== null);
    return times.length < node.need ? null : times.sort((a, b) => a - b)[node.need - 1];
  }

  function quorumText(node) {
    if (node === null) return "none";
    if (node.members === undefined) return node.name;
    const need = node.need === node.members.length ? "all" : node.need;
    return `${need} of (${node.members.map(quorumText).join(", ")})`;
  }

  // ---- stanzas in words ---------------------------------------------------------------------------------------------

  function quoted(name) {
    return name === "" || OPTIONS.includes(name) || /[ \t"]/.test(name) ? `"${name.replace(/["\\]/g, "\\$&")}"` : name;
  }

  // With options and lists in order, so that equal demands are equal texts.
  function stanzaText(stanza) {
    const sorted = (list) => list.slice().sort(iso.compareText).map((item) => ` ${quoted(item)}`).join("");
    let text = `network ${quoted(stanza.network)}`;
    for (const option of OPTIONS) {
      const value = stanza[option];
      if (value === undefined) continue;
      text += ` ${option}`;
      if (option === "members") text += ` ${value.exactly ? "exactly" : "at-least"}${sorted(value.list)}`;
      else if (option === "exits") text += ` exactly${sorted(value)}`;
      else if (option === "accept-unassessed") text += sorted(value.filter((p) => !iso.isDigest(p))) + sorted(value.filter(iso.isDigest));
      else if (option === "accept-exception") text += value.slice().sort((a, b) => (a < b ? -1 : 1)).map((seq) => ` ${seq}`).join("");
      else if (Array.isArray(value)) text += sorted(value);
      else text += ` ${typeof value === "number" ? value : quoted(value)}`;
    }
    return text;
  }

  iso.policy = { parse, reached, cosignersOf, quorumText, stanzaText, CLASSES };
})(globalThis.isoverify = globalThis.isoverify || {});
