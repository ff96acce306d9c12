// SHA-256, from FIPS 180-4. Synchronous: the tree of a log has a hash for every entry, and WebCrypto would make a promise
// of each.
"use strict";

(function (iso) {
  // The constants are by definition the first 32 bits of the fractional parts of the square roots (H) and cube roots (K)
  // of the first primes. Computed, none of them can be mistyped.
  function primes(count) {
    const found = [];
    for (let n = 2; found.length < count; n++) {
      if (found.every((p) => n % p !== 0)) found.push(n);
    }
    return found;
  }

  // The largest x with x^power <= n.
  function root(n, power) {
    let low = 0n, high = 1n << 64n;
    while (high - low > 1n) {
      const middle = (low + high) >> 1n;
      if (middle ** power <= n) low = middle;
      else high = middle;
    }
    return low;
  }

  function fraction(prime, power) {
    return Number(root(BigInt(prime) << (32n * power), power) & 0xffffffffn) | 0;
  }

  const H = Int32Array.from(primes(8), (p) => fraction(p, 2n));
  const K = Int32Array.from(primes(64), (p) => fraction(p, 3n));

  const W = new Int32Array(64);

  function block(state, bytes, at) {
    for (let t = 0; t < 16; t++, at += 4) {
      W[t] = (bytes[at] << 24) | (bytes[at + 1] << 16) | (bytes[at + 2] << 8) | bytes[at + 3];
    }
    for (let t = 16; t < 64; t++) {
      const x = W[t - 15], y = W[t - 2];
      const s0 = ((x >>> 7) | (x << 25)) ^ ((x >>> 18) | (x << 14)) ^ (x >>> 3);
      const s1 = ((y >>> 17) | (y << 15)) ^ ((y >>> 19) | (y << 13)) ^ (y >>> 10);
      W[t] = (s1 + W[t - 7] + s0 + W[t - 16]) | 0;
    }
    let a = state[0], b = state[1], c = state[2], d = state[3];
    let e = state[4], f = state[5], g = state[6], h = state[7];
    for (let t = 0; t < 64; t++) {
      const S1 = ((e >>> 6) | (e << 26)) ^ ((e >>> 11) | (e << 21)) ^ ((e >>> 25) | (e << 7));
      const t1 = (h + S1 + ((e & f) ^ (~e & g)) + K[t] + W[t]) | 0;
      const S0 = ((a >>> 2) | (a << 30)) ^ ((a >>> 13) | (a << 19)) ^ ((a >>> 22) | (a << 10));
      const t2 = (S0 + ((a & b) ^ (a & c) ^ (b & c))) | 0;
      h = g; g = f; f = e; e = (d + t1) | 0;
      d = c; c = b; b = a; a = (t1 + t2) | 0;
    }
    state[0] += a; state[1] += b; state[2] += c; state[3] += d;
    state[4] += e; state[5] += f; state[6] += g; state[7] += h;
  }

  function sha256(bytes) {
    const state = H.slice();
    const whole = bytes.length - (bytes.length % 64);
    for (let at = 0; at < whole; at += 64) block(state, bytes, at);

    // The rest, a one bit, zeros, and the length in bits as 64 bits.
    const rest = bytes.subarray(whole);
    const tail = new Uint8Array(rest.length < 56 ? 64 : 128);
    tail.set(rest);
    tail[rest.length] = 0x80;
    const length = new DataView(tail.buffer, tail.length - 8);
    length.setUint32(0, Math.floor(bytes.length / 2 ** 29));
    length.setUint32(4, bytes.length << 3);
    for (let at = 0; at < tail.length; at += 64) block(state, tail, at);

    const out = new Uint8Array(32);
    const view = new DataView(out.buffer);
    for (let i = 0; i < 8; i++) view.setInt32(4 * i, state[i]);
    return out;
  }

  iso.sha256 = sha256;
})(globalThis.isoverify = globalThis.isoverify || {});
