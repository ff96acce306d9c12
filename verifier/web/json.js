// Canonical JSON (docs/formats/slice.md): every value has one spelling, so a reader that knows what must come next needs no
// general parser. A shape is a function that reads one value at a cursor, or refuses; nothing is written again to compare.
"use strict";

(function (iso) {
  class Cursor {
    constructor(text) {
      this.text = text;
      this.at = 0;
    }

    fail(what) {
      iso.refuse("json", `${what} expected at character ${this.at}`);
    }

    sees(token) {
      return this.text.startsWith(token, this.at);
    }

    take(token) {
      if (!this.sees(token)) this.fail(JSON.stringify(token));
      this.at += token.length;
    }

    tries(token) {
      if (!this.sees(token)) return false;
      this.at += token.length;
      return true;
    }

    // What a sticky regular expression finds here.
    match(pattern, what) {
      pattern.lastIndex = this.at;
      const found = pattern.exec(this.text);
      if (found === null) this.fail(what);
      this.at = pattern.lastIndex;
      return found[0];
    }
  }

  // ---- plain values -------------------------------------------------------------------------------------------------

  const DIGITS = /(?:0|[1-9][0-9]*)(?![0-9.eE])/y;

  // An integer below 2^64 as a BigInt.
  function u64(c) {
    const value = iso.u64(c.match(DIGITS, "a number"));
    return value === null ? c.fail("a number below 2^64") : value;
  }

  // An integer from `least` to `most` as a number; `most` is within what a double holds.
  function integer(least, most) {
    return (c) => {
      const value = u64(c);
      if (value < BigInt(least) || value > BigInt(most)) c.fail(`a number from ${least} to ${most}`);
      return Number(value);
    };
  }

  const CONTROL_ESCAPES = { '"': '"', "\\": "\\", b: "\b", t: "\t", n: "\n", f: "\f", r: "\r" };
  const PLAIN = /[^"\\\u0000-\u001f]*/y;
  // The control characters that have no escape of their own.
  const LONG = /00(?:0[0-7be-f]|1[0-9a-f])/y;

  function string(c) {
    c.take('"');
    let value = c.match(PLAIN, "a string");
    while (!c.tries('"')) {
      c.take("\\");
      const escape = c.text[c.at];
      if (Object.hasOwn(CONTROL_ESCAPES, escape)) {
        c.at += 1;
        value += CONTROL_ESCAPES[escape];
      } else {
        c.take("u");
        value += String.fromCharCode(parseInt(c.match(LONG, "an escape in its one spelling"), 16));
      }
      value += c.match(PLAIN, "a string");
    }
    return value;
  }

  function word(...words) {
    return (c) => {
      const found = words.find((w) => c.tries(`"${w}"`));
      return found === undefined ? c.fail(`one of ${words.join(", ")}`) : found;
    };
  }

  function orNull(shape) {
    return (c) => (c.tries("null") ? null : shape(c));
  }

  // A string that `accept` makes something of; null means that it is none.
  function parsed(accept, what) {
    return (c) => {
      const value = accept(string(c));
      return value === null ? c.fail(what) : value;
    };
  }

  const truth = (c) => {
    c.take("true");
    return true;
  };
  const digest = parsed((text) => (iso.isDigest(text) ? text : null), "64 lower-case hex digits");
  const hash = parsed(iso.hashFromBase64, "32 bytes in base64");
  const time = parsed(iso.time, "a time");
  const vlan = integer(1, 4094);

  // Any integer below 2^64: a number while a double holds it, else a BigInt. No two integers are ever taken for equal.
  function count(c) {
    const value = u64(c);
    return value <= BigInt(Number.MAX_SAFE_INTEGER) ? Number(value) : value;
  }

  // ---- lists and objects --------------------------------------------------------------------------------------------

  function list(shape) {
    return (c) => {
      const items = [];
      c.take("[");
      if (c.tries("]")) return items;
      do items.push(shape(c));
      while (c.tries(","));
      c.take("]");
      return items;
    };
  }

  // A list that is left out when it is empty, and never written so.
  function someList(shape) {
    return (c) => {
      const items = list(shape)(c);
      return items.length === 0 ? c.fail("an element") : items;
    };
  }

  // Strings in the order of their UTF-8 bytes, each once.
  function stringSet(c) {
    const items = list(string)(c);
    for (let i = 1; i < items.length; i++) {
      if (iso.compareText(items[i - 1], items[i]) >= 0) c.fail("strings in the order of their bytes, each once");
    }
    return items;
  }

  // Marks a member that is left out when false, absent or empty; `otherwise` is what a reader then finds.
  function maybe(shape, otherwise = null) {
    return { shape, otherwise };
  }

  // Members in this order and no others.
  function object(members) {
    const names = Object.entries(members);
    return (c) => {
      const value = {};
      let separator = "";
      c.take("{");
      for (const [name, member] of names) {
        const optional = typeof member !== "function";
        const key = `${separator}"${name}":`;
        if (optional && !c.sees(key)) {
          value[name] = member.otherwise;
          continue;
        }
        c.take(key);
        value[name] = optional ? member.shape(c) : member(c);
        separator = ",";
      }
      c.take("}");
      return value;
    };
  }

  // One of several shapes; the first token of each tells them apart.
  function either(...choices) {
    return (c) => {
      const choice = choices.find(([token]) => c.sees(token));
      return choice === undefined ? c.fail(choices.map(([token]) => token).join(" or ")) : choice[1](c);
    };
  }

  // ---- VLAN sets ----------------------------------------------------------------------------------------------------

  const ALL = [[1, 4094]];

  // A list of [first, last], ascending, not touching; null unless the text is its one spelling.
  function vlanSet(text) {
    if (text === "") return [];
    if (text === "all") return ALL;
    const ranges = [];
    let last = -1;
    for (const part of text.split(",")) {
      const m = /^([1-9][0-9]{0,3})(?:-([1-9][0-9]{0,3}))?$/.exec(part);
      if (m === null) return null;
      const from = Number(m[1]), to = m[2] === undefined ? from : Number(m[2]);
      if ((m[2] !== undefined && to <= from) || to > 4094 || from <= last + 1) return null;
      ranges.push([from, to]);
      last = to;
    }
    return ranges.length === 1 && ranges[0][0] === 1 && ranges[0][1] === 4094 ? null : ranges;
  }

  function holds(set, vlan) {
    return set.some(([from, to]) => from <= vlan && vlan <= to);
  }

  function sizeOf(set) {
    return set.reduce((sum, [from, to]) => sum + to - from + 1, 0);
  }

  // ---- whole texts --------------------------------------------------------------------------------------------------

  function read(shape, text) {
    const cursor = new Cursor(text);
    const value = shape(cursor);
    if (cursor.at !== text.length) cursor.fail("the end");
    return value;
  }

  // The number behind {"v":, if the text begins so: a later version is told from a broken file.
  function versionOf(text) {
    const m = /^\{"v":([0-9]{1,10}),/.exec(text);
    return m === null ? null : Number(m[1]);
  }

  iso.json = {
    read, versionOf, u64, integer, string, word, orNull, parsed, truth, digest, hash, time, vlan, count, list, someList,
    stringSet, maybe, object, either, vlanSet: parsed(vlanSet, "a VLAN set"), holds, sizeOf, one: integer(1, 1),
  };
})(globalThis.isoverify = globalThis.isoverify || {});
