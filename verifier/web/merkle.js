// The two trees: the log's, RFC 6962 with SHA-256 (docs/formats/proof.md), and the VLAN tree, BLAKE3 over 4,096 slots
// (docs/formats/vlan-tree.md). Sizes and indices of the log's tree are BigInts: they may be anything below 2^64.
"use strict";

(function (iso) {
  function leafHash(entry) {
    return iso.sha256(iso.concat([0], entry));
  }

  function nodeHash(left, right) {
    return iso.sha256(iso.concat([1], left, right));
  }

  // The largest power of two below n > 1.
  function split(n) {
    return 1n << BigInt((n - 1n).toString(2).length - 1);
  }

  // Walks from [0, size) down. `isThere(lo, hi)` ends it, `goesLeft(middle)` chooses; each turn is the side on which the
  // sibling lies. The walk ends at one leaf at the latest.
  function walk(size, isThere, goesLeft) {
    const turns = [];
    let lo = 0n, hi = size;
    while (!isThere(lo, hi) && hi - lo > 1n) {
      const middle = lo + split(hi - lo);
      if (goesLeft(middle)) {
        turns.push("right");
        hi = middle;
      } else {
        turns.push("left");
        lo = middle;
      }
    }
    return { turns, lo };
  }

  const walkToEnd = (size, end) => walk(size, (_, hi) => hi === end, (middle) => end <= middle);

  function mustEqual(a, b, kind = "root-mismatch") {
    if (!iso.equalBytes(a, b)) iso.refuse(kind, "the hashes lead to another root");
  }

  function mustCount(list, count) {
    if (list.length !== count) iso.refuse("wrong-length", `${list.length} hashes, not ${count}`);
  }

  function inclusion(leaf, index, size, root, proof) {
    if (index >= size) iso.refuse("index-out-of-tree", `entry ${index} of a log of ${size}`);
    const { turns } = walk(size, (lo, hi) => lo === index && hi === index + 1n, (middle) => index < middle);
    mustCount(proof, turns.length);
    const top = turns.reverse().reduce((h, side, i) => (side === "left" ? nodeHash(proof[i], h) : nodeHash(h, proof[i])), leaf);
    mustEqual(top, root);
  }

  function consistency(older, newer, proof) {
    if (older.size > newer.size) iso.refuse("sizes-reversed", `from ${older.size} to ${newer.size} entries`);
    if (older.size === 0n) {
      mustCount(proof, 0);
      const nothing = iso.sha256(new Uint8Array(0));
      mustEqual(older.root, nothing, "older-root-mismatch");
      if (newer.size === 0n) mustEqual(newer.root, nothing);
      return;
    }
    if (older.size === newer.size) {
      mustCount(proof, 0);
      mustEqual(older.root, newer.root);
      return;
    }
    const { turns, lo } = walkToEnd(newer.size, older.size);
    mustCount(proof, turns.length + (lo === 0n ? 0 : 1));
    const rest = proof.slice();
    let x = lo === 0n ? older.root : rest.shift();
    let y = x;
    for (const side of turns.reverse()) {
      const sibling = rest.shift();
      if (side === "left") {
        x = nodeHash(sibling, x);
        y = nodeHash(sibling, y);
      } else {
        y = nodeHash(y, sibling);
      }
    }
    mustEqual(x, older.root, "older-root-mismatch");
    mustEqual(y, newer.root);
  }

  function oneBits(n) {
    return n.toString(2).replaceAll("0", "").length;
  }

  // `leaves` are the leaf hashes from `start` on.
  function range(start, end, size, root, left, right, leaves) {
    if (start >= end || end > size) iso.refuse("range-out-of-tree", `entries ${start} to ${end} of a log of ${size}`);
    mustCount(left, start === 0n ? 0 : oneBits(start));
    if (BigInt(leaves.length) !== end - start) {
      iso.refuse("wrong-leaf-count", `${leaves.length} entries, not ${end - start}`);
    }
    const { turns } = walkToEnd(size, end);
    mustCount(right, turns.filter((side) => side === "right").length);

    const stack = left.slice();
    const fold = () => {
      const top = stack.pop();
      stack.push(nodeHash(stack.pop(), top));
    };
    leaves.forEach((leaf, i) => {
      stack.push(leaf);
      for (let j = start + BigInt(i); j & 1n; j >>= 1n) fold();
    });
    const waiting = turns.filter((side) => side === "left").length;
    while (stack.length > waiting + 1) fold();
    const rest = right.slice();
    for (const side of turns.reverse()) {
      if (side === "left") fold();
      else stack.push(nodeHash(stack.pop(), rest.shift()));
    }
    mustEqual(stack[0], root);
  }

  // The root over leaf hashes, for trees that are held whole.
  function rootOf(leaves) {
    if (leaves.length === 0) return iso.sha256(new Uint8Array(0));
    if (leaves.length === 1) return leaves[0];
    const k = Number(split(BigInt(leaves.length)));
    return nodeHash(rootOf(leaves.slice(0, k)), rootOf(leaves.slice(k)));
  }

  // ---- the VLAN tree ------------------------------------------------------------------------------------------------

  const K1 = iso.blake3(iso.encode("isoledger vlan tree leaf v1"));
  const K2 = iso.blake3(iso.encode("isoledger vlan tree node v1"));
  const DEPTH = 12;

  function opening(slotKey, version) {
    return iso.keyedBlake3(slotKey, iso.concat(iso.encode("isoledger/open/1"), iso.u64Bytes(version)));
  }

  // `slice` and `common` are digests, `origin` the log's name.
  function slotLeaf(slotKey, slot, version, origin, slice, common) {
    const message = iso.concat(opening(slotKey, version), [slot >> 8, slot & 255], iso.u64Bytes(version),
      iso.blake3(iso.encode(origin)), slice, common);
    return iso.keyedBlake3(K1, message);
  }

  function slotNode(left, right) {
    return iso.keyedBlake3(K2, iso.concat(left, right));
  }

  function slotRoot(leaf, slot, siblings) {
    if (siblings.length !== DEPTH) iso.refuse("length", `${siblings.length} siblings, not ${DEPTH}`);
    return siblings.reduce((h, sibling, i) => ((slot >> i) & 1 ? slotNode(sibling, h) : slotNode(h, sibling)), leaf);
  }

  iso.merkle = { leafHash, nodeHash, inclusion, consistency, range, rootOf, opening, slotLeaf, slotNode, slotRoot };
})(globalThis.isoverify = globalThis.isoverify || {});
