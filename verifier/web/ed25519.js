// Ed25519 (RFC 8032) by WebCrypto, with what docs/formats/checkpoint.md demands beyond it: a key and an R that are points
// of large order, R in its one spelling, and S below the group order. WebCrypto's equation is the cofactorless one; the
// rest differs between browsers, so it is checked here and not left to them.
"use strict";

(function (iso) {
  const P = 2n ** 255n - 19n;
  const L = 2n ** 252n + 27742317777372353535851937790883648493n;

  const mod = (x) => ((x % P) + P) % P;

  function power(base, exponent) {
    let result = 1n;
    for (; exponent > 0n; exponent >>= 1n) {
      if (exponent & 1n) result = (result * base) % P;
      base = (base * base) % P;
    }
    return result;
  }

  const inverse = (x) => power(x, P - 2n);
  const D = mod(-121665n * inverse(121666n));

  function littleEndian(bytes) {
    let value = 0n;
    for (let i = bytes.length - 1; i >= 0; i--) value = (value << 8n) | BigInt(bytes[i]);
    return value;
  }

  // y as written, without the sign of x.
  function written(bytes) {
    return littleEndian(bytes) & (2n ** 255n - 1n);
  }

  // x² = (y² - 1) / (d y² + 1); the bytes are a point if that is a square.
  function xSquared(y) {
    return (mod(y * y - 1n) * inverse(mod(D * y * y + 1n))) % P;
  }

  function isSquare(n) {
    return n === 0n || power(n, (P - 1n) / 2n) === 1n;
  }

  // The points of order 1, 2, 4 and 8 are those with these y, whatever the sign of x.
  const Y8 = 0x05fc536d880238b13933c6d305acdfd5f098eff289f4c345b027b2c28f95e826n;
  const SMALL = [1n, P - 1n, 0n, Y8, P - Y8];

  function isSmall(y) {
    return SMALL.includes(y % P);
  }

  function isPoint(bytes) {
    return isSquare(xSquared(written(bytes)));
  }

  // A key as policies and verifier keys may hold it. y may be written unreduced, as in docs/formats/checkpoint.md.
  function isKey(bytes) {
    return bytes.length === 32 && !isSmall(written(bytes)) && isPoint(bytes);
  }

  let usable = null;

  // Whether this browser can: WebCrypto is missing outside secure contexts, and Ed25519 in old browsers.
  async function available() {
    if (usable === null) {
      usable = (async () => {
        try {
          await importKey(iso.unhex("d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"));
          return true;
        } catch {
          return false;
        }
      })();
    }
    return usable;
  }

  const imported = new Map();

  function importKey(bytes) {
    const name = iso.hex(bytes);
    if (!imported.has(name)) {
      imported.set(name, globalThis.crypto.subtle.importKey("raw", bytes, { name: "Ed25519" }, false, ["verify"]));
    }
    return imported.get(name);
  }

  async function verify(key, signature, message) {
    if (signature.length !== 64) return false;
    const r = signature.subarray(0, 32);
    if (littleEndian(signature.subarray(32)) >= L) return false;
    // Whether R is a point at all the equation says, which compares R with what was computed.
    if (written(r) >= P || isSmall(written(r)) || isSmall(written(key))) return false;
    return globalThis.crypto.subtle.verify({ name: "Ed25519" }, await importKey(key), signature, message);
  }

  iso.ed25519 = { available, isKey, verify };
})(globalThis.isoverify = globalThis.isoverify || {});
