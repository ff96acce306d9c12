// BLAKE3-256, plain and keyed, from the BLAKE3 paper (sections 2.1 to 2.5).
"use strict";

(function (iso) {
  // The initial words are those of SHA-256.
  const IV = Int32Array.of(0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19);
  const CHUNK_START = 1, CHUNK_END = 2, PARENT = 4, ROOT = 8, KEYED_HASH = 16;
  const BLOCK = 64, CHUNK = 1024;

  // Which word of the message each place of each of the seven rounds takes: the permutation applied again and again.
  const PERMUTATION = [2, 6, 3, 10, 7, 0, 4, 13, 1, 11, 12, 5, 9, 14, 15, 8];
  const SCHEDULE = [Array.from({ length: 16 }, (_, i) => i)];
  while (SCHEDULE.length < 7) {
    const last = SCHEDULE[SCHEDULE.length - 1];
    SCHEDULE.push(PERMUTATION.map((place) => last[place]));
  }

  // Signed words: V8 keeps those as integers, and unsigned ones as doubles.
  const v = new Int32Array(16);

  function mix(a, b, c, d, x, y) {
    let va = v[a], vb = v[b], vc = v[c], vd = v[d];
    va = (va + vb + x) | 0;
    vd ^= va; vd = (vd >>> 16) | (vd << 16);
    vc = (vc + vd) | 0;
    vb ^= vc; vb = (vb >>> 12) | (vb << 20);
    va = (va + vb + y) | 0;
    vd ^= va; vd = (vd >>> 8) | (vd << 24);
    vc = (vc + vd) | 0;
    vb ^= vc; vb = (vb >>> 7) | (vb << 25);
    v[a] = va; v[b] = vb; v[c] = vc; v[d] = vd;
  }

  // The first half of the output; nothing here asks for more than 32 bytes.
  function compress(chaining, words, counter, length, flags) {
    v.set(chaining);
    v[8] = IV[0]; v[9] = IV[1]; v[10] = IV[2]; v[11] = IV[3];
    v[12] = counter;
    v[13] = Math.floor(counter / 0x100000000);
    v[14] = length;
    v[15] = flags;
    for (const s of SCHEDULE) {
      mix(0, 4, 8, 12, words[s[0]], words[s[1]]);
      mix(1, 5, 9, 13, words[s[2]], words[s[3]]);
      mix(2, 6, 10, 14, words[s[4]], words[s[5]]);
      mix(3, 7, 11, 15, words[s[6]], words[s[7]]);
      mix(0, 5, 10, 15, words[s[8]], words[s[9]]);
      mix(1, 6, 11, 12, words[s[10]], words[s[11]]);
      mix(2, 7, 8, 13, words[s[12]], words[s[13]]);
      mix(3, 4, 9, 14, words[s[14]], words[s[15]]);
    }
    const out = new Int32Array(8);
    for (let i = 0; i < 8; i++) out[i] = v[i] ^ v[i + 8];
    return out;
  }

  // Little-endian words of one block, zeros behind its end.
  function load(bytes, from, to, words) {
    words.fill(0);
    for (let at = from; at < to; at++) words[(at - from) >> 2] |= bytes[at] << (8 * ((at - from) & 3));
  }

  const words = new Int32Array(16);

  // The chaining value of one chunk; `last` is ROOT when it is the only one.
  function chunkValue(key, flags, bytes, from, to, last) {
    let chaining = key;
    let start = CHUNK_START;
    const counter = from / CHUNK;
    do {
      const end = Math.min(from + BLOCK, to);
      load(bytes, from, end, words);
      const final = end === to ? CHUNK_END | last : 0;
      chaining = compress(chaining, words, counter, end - from, flags | start | final);
      start = 0;
      from = end;
    } while (from < to);
    return chaining;
  }

  // The left child has as many chunks as the largest power of two that leaves something for the right one.
  function leftLength(length) {
    const chunks = Math.ceil(length / CHUNK);
    let left = 1;
    while (left * 2 < chunks) left *= 2;
    return left * CHUNK;
  }

  function nodeValue(key, flags, bytes, from, to, root) {
    if (to - from <= CHUNK) return chunkValue(key, flags, bytes, from, to, root);
    const middle = from + leftLength(to - from);
    const children = new Int32Array(16);
    children.set(nodeValue(key, flags, bytes, from, middle, 0));
    children.set(nodeValue(key, flags, bytes, middle, to, 0), 8);
    return compress(key, children, 0, BLOCK, flags | PARENT | root);
  }

  function digest(key, flags, bytes) {
    const value = nodeValue(key, flags, bytes, 0, bytes.length, ROOT);
    const out = new Uint8Array(32);
    const view = new DataView(out.buffer);
    for (let i = 0; i < 8; i++) view.setInt32(4 * i, value[i], true);
    return out;
  }

  function blake3(bytes) {
    return digest(IV, 0, bytes);
  }

  function keyedBlake3(key, bytes) {
    const view = new DataView(key.buffer, key.byteOffset, 32);
    return digest(Int32Array.from({ length: 8 }, (_, i) => view.getInt32(4 * i, true)), KEYED_HASH, bytes);
  }

  iso.blake3 = blake3;
  iso.keyedBlake3 = keyedBlake3;
})(globalThis.isoverify = globalThis.isoverify || {});
