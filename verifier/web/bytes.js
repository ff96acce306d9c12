// Bytes, text, times and spans: the small spellings that all pages share.
"use strict";

(function (iso) {
  // A file does not say what it must. `kind` is for tests and tools, the message for people.
  class Refused extends Error {
    constructor(kind, message) {
      super(message);
      this.kind = kind;
    }
  }

  function refuse(kind, message) {
    throw new Refused(kind, message);
  }

  // ---- text ---------------------------------------------------------------------------------------------------------

  const encoder = new TextEncoder();

  function encode(text) {
    return encoder.encode(text);
  }

  // ignoreBOM keeps a byte order mark as the character it is, so that readers can refuse it.
  function decode(bytes, kind = "not-utf8") {
    try {
      return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
    } catch {
      return refuse(kind, "not UTF-8");
    }
  }

  function compareBytes(a, b) {
    const length = Math.min(a.length, b.length);
    for (let i = 0; i < length; i++) {
      if (a[i] !== b[i]) return a[i] - b[i];
    }
    return a.length - b.length;
  }

  function equalBytes(a, b) {
    return a.length === b.length && compareBytes(a, b) === 0;
  }

  // The order of the formats is that of UTF-8 bytes; JavaScript's own is that of UTF-16 units, which differs beyond
  // U+FFFF.
  function compareText(a, b) {
    if (a === b) return 0;
    const length = Math.min(a.length, b.length);
    let i = 0;
    while (i < length && a.charCodeAt(i) === b.charCodeAt(i)) i++;
    if (i === a.length || i === b.length) return a.length - b.length;
    return unitOrder(a.charCodeAt(i)) - unitOrder(b.charCodeAt(i));
  }

  // Surrogates stand for what is above every other unit.
  function unitOrder(unit) {
    return unit >= 0xd800 && unit < 0xe000 ? unit + 0x10000 : unit;
  }

  // ---- hex and base64, each in its one spelling ---------------------------------------------------------------------

  const PAIRS = Array.from({ length: 256 }, (_, byte) => byte.toString(16).padStart(2, "0"));

  function hex(bytes) {
    let text = "";
    for (let i = 0; i < bytes.length; i++) text += PAIRS[bytes[i]];
    return text;
  }

  function unhex(text) {
    if (text.length % 2 !== 0 || !/^[0-9a-f]*$/.test(text)) refuse("hex", "not lower-case hex digits");
    const bytes = new Uint8Array(text.length / 2);
    for (let i = 0; i < bytes.length; i++) bytes[i] = parseInt(text.slice(2 * i, 2 * i + 2), 16);
    return bytes;
  }

  function isDigest(text) {
    return /^[0-9a-f]{64}$/.test(text);
  }

  const ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  const VALUES = new Int8Array(128).fill(-1);
  for (let i = 0; i < 64; i++) VALUES[ALPHABET.charCodeAt(i)] = i;

  function base64(bytes) {
    let text = "";
    for (let i = 0; i < bytes.length; i += 3) {
      const left = bytes.length - i;
      const word = (bytes[i] << 16) | ((bytes[i + 1] || 0) << 8) | (bytes[i + 2] || 0);
      text += ALPHABET[word >> 18] + ALPHABET[(word >> 12) & 63];
      text += left > 1 ? ALPHABET[(word >> 6) & 63] : "=";
      text += left > 2 ? ALPHABET[word & 63] : "=";
    }
    return text;
  }

  // Padded, and with zero unused bits; null for anything else.
  function unbase64(text) {
    if (text.length % 4 !== 0) return null;
    const padding = text.endsWith("==") ? 2 : text.endsWith("=") ? 1 : 0;
    const digits = text.length - padding;
    const bytes = new Uint8Array((text.length / 4) * 3 - padding);
    let word = 0, bits = 0, at = 0;
    for (let i = 0; i < digits; i++) {
      const code = text.charCodeAt(i);
      const value = code < 128 ? VALUES[code] : -1;
      if (value < 0) return null;
      word = ((word << 6) | value) & 0xfffff;
      bits += 6;
      if (bits >= 8) {
        bits -= 8;
        bytes[at++] = (word >> bits) & 0xff;
      }
    }
    return (word & ((1 << bits) - 1)) === 0 && at === bytes.length ? bytes : null;
  }

  // 32 bytes in base64 are 44 characters.
  function hashFromBase64(text) {
    const bytes = text.length === 44 ? unbase64(text) : null;
    return bytes !== null && bytes.length === 32 ? bytes : null;
  }

  // ---- numbers ------------------------------------------------------------------------------------------------------

  const U64_MAX = (1n << 64n) - 1n;

  // A decimal number in its one spelling, below 2^64, as a BigInt; null for anything else.
  function u64(text) {
    if (!/^(0|[1-9][0-9]{0,19})$/.test(text)) return null;
    const value = BigInt(text);
    return value <= U64_MAX ? value : null;
  }

  // The same, at most `most`, which a double holds exactly.
  function integer(text, most = Number.MAX_SAFE_INTEGER) {
    const value = u64(text);
    return value !== null && value <= BigInt(most) ? Number(value) : null;
  }

  function u64Bytes(value) {
    const bytes = new Uint8Array(8);
    new DataView(bytes.buffer).setBigUint64(0, BigInt(value));
    return bytes;
  }

  function concat(...parts) {
    const bytes = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
    let at = 0;
    for (const part of parts) {
      bytes.set(part, at);
      at += part.length;
    }
    return bytes;
  }

  // ---- times and spans ----------------------------------------------------------------------------------------------

  const DAYS = [31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];

  function daysIn(year, month) {
    const leap = year % 4 === 0 && (year % 100 !== 0 || year % 400 === 0);
    return month === 2 && leap ? 29 : DAYS[month - 1];
  }

  // Milliseconds since 1970, or null when there is no such moment: Date.UTC itself would carry a 31st of February over.
  function time(text) {
    const m = /^(\d{4})-(\d\d)-(\d\d)T(\d\d):(\d\d):(\d\d)\.(\d{3})Z$/.exec(text);
    if (m === null) return null;
    const [, year, month, day, hour, minute, second, ms] = m.map(Number);
    if (year < 1970 || month < 1 || month > 12 || day < 1 || day > daysIn(year, month)) return null;
    if (hour > 23 || minute > 59 || second > 59) return null;
    return Date.UTC(year, month - 1, day, hour, minute, second, ms);
  }

  const LAST_TIME = Date.UTC(9999, 11, 31, 23, 59, 59, 999);

  function timeText(value) {
    return new Date(value).toISOString();
  }

  const UNITS = [["d", 86400000], ["h", 3600000], ["m", 60000], ["s", 1000], ["ms", 1]];

  // A whole number of the largest unit that divides it.
  function spanText(ms) {
    if (ms === 0) return "0ms";
    const [name, size] = UNITS.find(([, size]) => ms % size === 0);
    return `${ms / size}${name}`;
  }

  // Milliseconds of any such number with a unit, or null.
  function span(text) {
    const m = /^(0|[1-9][0-9]{0,15})(d|h|ms|m|s)$/.exec(text);
    if (m === null) return null;
    const value = Number(m[1]) * UNITS.find(([name]) => name === m[2])[1];
    return Number.isSafeInteger(value) ? value : null;
  }

  Object.assign(iso, {
    Refused, refuse, encode, decode, compareBytes, equalBytes, compareText, hex, unhex, isDigest, base64, unbase64,
    hashFromBase64, U64_MAX, u64, integer, u64Bytes, concat, time, timeText, LAST_TIME, span, spanText,
  });
})(globalThis.isoverify = globalThis.isoverify || {});
