//! The RFC 6962 tree over SHA-256: hashes, compact ranges, proofs and their verification.
//!
//! ```text
//!                  root(7)                      leaf  = SHA-256(00 ‖ entry)
//!              ╱           ╲                    node  = SHA-256(01 ‖ left ‖ right)
//!          (2,0)             ·                  root of no leaves = SHA-256("")
//!         ╱     ╲          ╱   ╲
//!      (1,0)   (1,1)    (1,2)    ╲              (level, index) names a *complete* subtree: the leaves
//!      ╱  ╲    ╱  ╲     ╱  ╲      ╲             [index·2^level, (index+1)·2^level)
//!     0    1  2    3   4    5      6            nodes without a name exist on the right edge only
//! ```
//!
//! # In scope
//! - [`CompactRange`] and [`Frontier`]: O(log n) hashes that stand for a run of leaves; for streaming writers.
//! - [`inclusion_plan`], [`consistency_plan`], [`range_plan`]: which complete subtrees a proof needs, computed
//!   without touching storage; [`Plan::assemble`] then fetches them and folds the right edge.
//! - [`root_from_inclusion`], [`check_consistency`], [`RangeVerifier`]: verification, which first computes how
//!   many hashes there must be.
//!
//! # Out of scope
//! Storage and signatures. A root is worth what its checkpoint is worth: see [`crate::checkpoint`].
//!
//! The format of the proofs is `docs/formats/proof.md`. Every function takes any `u64` and never panics.

use crate::hash::Hash;
use sha2::{Digest as _, Sha256};
use std::fmt;
use thiserror::Error;

/// The most hashes any proof in this module can have: one per level of a tree of `u64::MAX` leaves, on each side.
pub const MAX_PROOF_HASHES: usize = 128;

/// Position of an entry in the log, from 0. Equal to the `seq` of the record.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct LeafIndex(pub u64);

impl fmt::Display for LeafIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Hash of an entry: SHA-256 of a zero byte and the entry's bytes.
pub fn leaf_hash(entry: &[u8]) -> Hash {
    Hash(Sha256::new_with_prefix([0u8]).chain_update(entry).finalize().into())
}

/// Hash of an inner node: SHA-256 of a one byte and the hashes of its two children.
pub fn node_hash(left: &Hash, right: &Hash) -> Hash {
    let mut block = [1u8; 65];
    block[1..33].copy_from_slice(&left.0);
    block[33..].copy_from_slice(&right.0);
    Hash(Sha256::digest(block).into())
}

/// Root of the tree without leaves: SHA-256 of nothing.
pub fn empty_root() -> Hash {
    Hash(Sha256::digest(b"").into())
}

/// Name of a complete subtree: the `2^level` leaves from `index · 2^level` on. Level 0 is a leaf.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct NodeId {
    /// Height of the subtree, 0..=63.
    pub level: u8,
    /// Position among the subtrees of this height, from the left.
    pub index: u64,
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "({}, {})", self.level, self.index)
    }
}

/// Why a proof was refused.
#[non_exhaustive]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
pub enum ProofError {
    /// The leaf is not in a tree of that size.
    #[error("leaf {index} is not in a tree of {size} leaves")]
    IndexOutOfTree {
        /// The leaf asked for.
        index: LeafIndex,
        /// Leaves in the tree.
        size: u64,
    },
    /// A range must hold at least one leaf and lie in the tree.
    #[error(
        "[{start}, {end}) is not a range of leaves in a tree of {size}: it must hold at least one leaf and end at {size} or before"
    )]
    RangeOutOfTree {
        /// First leaf of the range.
        start: u64,
        /// First leaf after the range.
        end: u64,
        /// Leaves in the tree.
        size: u64,
    },
    /// A consistency proof goes from a smaller tree to a larger one.
    #[error("a tree of {newer} leaves cannot extend one of {older}: bring the larger tree as the newer one")]
    SizesReversed {
        /// Leaves in the tree said to be older.
        older: u64,
        /// Leaves in the tree said to be newer.
        newer: u64,
    },
    /// The number of hashes does not follow from the sizes.
    #[error(
        "{what} has {found} hashes, a tree of {size} leaves needs exactly {needed} (docs/formats/proof.md#length)"
    )]
    WrongLength {
        /// Which list of hashes.
        what: Part,
        /// Hashes in the proof.
        found: usize,
        /// Hashes that the sizes demand.
        needed: usize,
        /// Leaves in the tree.
        size: u64,
    },
    /// The verifier was given another number of leaves than the range holds.
    #[error("the range [{start}, {end}) holds {} leaves, {pushed} were given", end.saturating_sub(*start))]
    WrongLeafCount {
        /// First leaf of the range.
        start: u64,
        /// First leaf after the range.
        end: u64,
        /// Leaves that were given.
        pushed: u64,
    },
    /// The hashes lead to another root: the leaves or the proof are not from this tree.
    #[error(
        "the proof leads to root {computed}, the checkpoint says {signed}: the entry or the proof is not from this tree"
    )]
    RootMismatch {
        /// Root computed from the leaves and the proof.
        computed: Hash,
        /// Root that was to be reached.
        signed: Hash,
    },
    /// The older tree is not a prefix of the newer one, or the proof is wrong.
    #[error(
        "the proof leads to older root {computed}, the older checkpoint says {signed}: the newer tree is not an extension of it, or the proof is for other sizes"
    )]
    OlderRootMismatch {
        /// Older root computed from the proof.
        computed: Hash,
        /// Older root that was to be reached.
        signed: Hash,
    },
}

/// Which list of hashes a [`ProofError::WrongLength`] is about.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Part {
    /// The audit path of an inclusion proof.
    Inclusion,
    /// A consistency proof.
    Consistency,
    /// The `left` list of a range proof.
    RangeLeft,
    /// The `right` list of a range proof.
    RangeRight,
    /// The hashes of a [`Frontier`] or [`CompactRange`].
    Compact,
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Part::Inclusion => "inclusion proof",
            Part::Consistency => "consistency proof",
            Part::RangeLeft => "left part of the range proof",
            Part::RangeRight => "right part of the range proof",
            Part::Compact => "compact range",
        })
    }
}

// ---------------------------------------------------------------------------------------------------------------
// Shape: which subtrees, which way down. No hashes here.

/// The complete subtrees that cover `[start, end)` with as few as possible, left to right: at each step the
/// largest aligned one that fits. At most 126 of them; none when `start >= end`.
pub fn decompose(start: u64, end: u64) -> impl Iterator<Item = NodeId> {
    let mut at = start;
    std::iter::from_fn(move || {
        let left = end.checked_sub(at).filter(|&n| n > 0)?;
        // trailing_zeros of 0 is 64, ilog2 is at most 63: the level is always a valid shift.
        let level = at.trailing_zeros().min(left.ilog2());
        let id = NodeId { level: level as u8, index: at >> level };
        at += 1 << level; // at + 2^level <= end, so this cannot overflow
        Some(id)
    })
}

/// Number of hashes that stand for `[start, end)` in a [`CompactRange`].
pub fn compact_len(start: u64, end: u64) -> usize {
    decompose(start, end).count()
}

/// The largest power of two smaller than `n`; `n` is at least 2.
fn split(n: u64) -> u64 {
    1 << (n - 1).ilog2()
}

/// The turns on the way from the root of a tree down to a node. A tree of `u64::MAX` leaves is 64 levels deep, so
/// 64 bits hold every way. Bit i is set when turn i went into the right child (its sibling is on the left).
#[derive(Clone, Copy)]
struct Turns {
    bits: u64,
    len: u32,
}

impl Turns {
    const NONE: Turns = Turns { bits: 0, len: 0 };

    fn push(&mut self, sibling_on_left: bool) {
        self.bits |= u64::from(sibling_on_left) << self.len;
        self.len += 1;
    }

    /// From the node up to the root: true when the sibling is on the left.
    fn upwards(self) -> impl Iterator<Item = bool> {
        (0..self.len).rev().map(move |i| self.bits >> i & 1 == 1)
    }

    fn right_siblings(self) -> usize {
        (self.len - self.bits.count_ones()) as usize
    }
}

/// Walks from the root of a tree of `size` leaves to leaf `index` (< size); `sibling(lo, hi, on_left)` sees each
/// subtree that is passed by, from the top.
fn walk_to_leaf(index: u64, size: u64, mut sibling: impl FnMut(u64, u64, bool)) -> Turns {
    let (mut lo, mut hi, mut turns) = (0, size, Turns::NONE);
    while hi - lo > 1 {
        let mid = lo + split(hi - lo);
        if index < mid {
            sibling(mid, hi, false);
            turns.push(false);
            hi = mid;
        } else {
            sibling(lo, mid, true);
            turns.push(true);
            lo = mid;
        }
    }
    turns
}

/// Walks from the root to the smallest subtree that ends at `end` (0 < end <= size) on the way to its last leaf;
/// returns the turns and the first leaf of that subtree.
fn walk_to_end(end: u64, size: u64, mut sibling: impl FnMut(u64, u64, bool)) -> (Turns, u64) {
    let (mut lo, mut hi, mut turns) = (0, size, Turns::NONE);
    while hi != end {
        let mid = lo + split(hi - lo);
        if end <= mid {
            sibling(mid, hi, false);
            turns.push(false);
            hi = mid;
        } else {
            sibling(lo, mid, true);
            turns.push(true);
            lo = mid;
        }
    }
    (turns, lo)
}

// ---------------------------------------------------------------------------------------------------------------
// Compact ranges

/// The hashes of the complete subtrees that cover a run of leaves `[start, end)`, left to right. Adjacent ranges
/// merge, so that workers can hash chunks of a log apart from each other.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CompactRange {
    start: u64,
    end: u64,
    hashes: Vec<Hash>,
}

/// Ranges end here at the latest, so that appending cannot overflow within the life of the machine.
const MAX_LEAVES: u64 = u64::MAX >> 1;

impl CompactRange {
    /// The empty range before leaf `start`. Starts beyond 2^63 - 1 are taken as 2^63 - 1: no tree is that large.
    pub fn new(start: u64) -> CompactRange {
        let start = start.min(MAX_LEAVES);
        CompactRange { start, end: start, hashes: Vec::new() }
    }

    /// A range from its stored parts.
    ///
    /// # Errors
    /// [`ProofError::RangeOutOfTree`] when `end < start` or `end` is beyond 2^63 - 1;
    /// [`ProofError::WrongLength`] when the number of hashes is not [`compact_len`].
    pub fn from_parts(start: u64, end: u64, hashes: Vec<Hash>) -> Result<CompactRange, ProofError> {
        if end < start || end > MAX_LEAVES {
            return Err(ProofError::RangeOutOfTree { start, end, size: MAX_LEAVES });
        }
        let needed = compact_len(start, end);
        if hashes.len() != needed {
            return Err(ProofError::WrongLength {
                what: Part::Compact,
                found: hashes.len(),
                needed,
                size: end,
            });
        }
        Ok(CompactRange { start, end, hashes })
    }

    /// First leaf of the range.
    pub fn start(&self) -> u64 {
        self.start
    }

    /// First leaf after the range.
    pub fn end(&self) -> u64 {
        self.end
    }

    /// The hashes, left to right; which subtrees they are is [`decompose`]`(start, end)`.
    pub fn hashes(&self) -> &[Hash] {
        &self.hashes
    }

    /// Appends a leaf by its hash.
    pub fn append(&mut self, leaf: Hash) {
        self.append_with(leaf, |_, _| ());
    }

    /// Appends a leaf by its hash; `made` sees every subtree that became complete, the leaf itself first.
    pub fn append_with(&mut self, leaf: Hash, made: impl FnMut(NodeId, Hash)) {
        self.push_node(NodeId { level: 0, index: self.end }, leaf, made);
    }

    /// Appends the range that begins where this one ends.
    ///
    /// # Errors
    /// [`ProofError::RangeOutOfTree`] when `next` begins elsewhere; `self` is unchanged then.
    pub fn merge(&mut self, next: &CompactRange) -> Result<(), ProofError> {
        if next.start != self.end {
            return Err(ProofError::RangeOutOfTree { start: next.start, end: next.end, size: self.end });
        }
        for (id, hash) in decompose(next.start, next.end).zip(&next.hashes) {
            self.push_node(id, *hash, |_, _| ());
        }
        Ok(())
    }

    // `id` begins at self.end. As long as it is a right child whose left sibling begins inside the range, that
    // sibling is the last hash we hold: the decomposition is greedy and the sibling is the largest that ends here.
    fn push_node(&mut self, id: NodeId, hash: Hash, mut made: impl FnMut(NodeId, Hash)) {
        let (mut level, mut index, mut hash) = (id.level, id.index, hash);
        self.end += 1 << level;
        made(NodeId { level, index }, hash);
        while index & 1 == 1 && (index - 1) << level >= self.start {
            let Some(left) = self.hashes.pop() else { break };
            hash = node_hash(&left, &hash);
            (level, index) = (level + 1, index >> 1);
            made(NodeId { level, index }, hash);
        }
        self.hashes.push(hash);
    }
}

/// Folds subtree hashes, left to right, into the hash of the node above them all (the RFC's right-leaning shape).
fn fold(hashes: &[Hash]) -> Option<Hash> {
    let (last, rest) = hashes.split_last()?;
    Some(rest.iter().rev().fold(*last, |right, left| node_hash(left, &right)))
}

/// The compact range from leaf 0: all that a writer needs to go on, and all that a verifier needs to know.
/// Stored as its [`size`](Frontier::size) and [`hashes`](Frontier::hashes).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Frontier(CompactRange);

impl Default for Frontier {
    fn default() -> Self {
        Frontier::new()
    }
}

impl Frontier {
    /// The empty tree.
    pub fn new() -> Frontier {
        Frontier(CompactRange::new(0))
    }

    /// From a stored size and hashes. Compare [`root`](Frontier::root) with a known root: the hashes are not checked.
    ///
    /// # Errors
    /// As [`CompactRange::from_parts`].
    pub fn from_parts(size: u64, hashes: Vec<Hash>) -> Result<Frontier, ProofError> {
        CompactRange::from_parts(0, size, hashes).map(Frontier)
    }

    /// Leaves so far.
    pub fn size(&self) -> u64 {
        self.0.end
    }

    /// One hash per one-bit of the size, the largest subtree first.
    pub fn hashes(&self) -> &[Hash] {
        &self.0.hashes
    }

    /// Appends a leaf by its hash and says where it went.
    pub fn append(&mut self, leaf: Hash) -> LeafIndex {
        let index = LeafIndex(self.0.end);
        self.0.append(leaf);
        index
    }

    /// Appends a leaf; `made` sees every subtree that became complete, the leaf itself first. For writers of nodes.
    pub fn append_with(&mut self, leaf: Hash, made: impl FnMut(NodeId, Hash)) -> LeafIndex {
        let index = LeafIndex(self.0.end);
        self.0.append_with(leaf, made);
        index
    }

    /// Appends the leaves of `next`, which begins at this size.
    ///
    /// # Errors
    /// As [`CompactRange::merge`].
    pub fn merge(&mut self, next: &CompactRange) -> Result<(), ProofError> {
        self.0.merge(next)
    }

    /// Root of the tree so far.
    pub fn root(&self) -> Hash {
        fold(&self.0.hashes).unwrap_or_else(empty_root)
    }
}

/// Root of a tree given all its leaf hashes.
pub fn root_of(leaves: impl IntoIterator<Item = Hash>) -> Hash {
    let mut frontier = Frontier::new();
    for leaf in leaves {
        frontier.append(leaf);
    }
    frontier.root()
}

// ---------------------------------------------------------------------------------------------------------------
// Generating

/// Which complete subtrees a list of proof hashes is made from. Computed from numbers alone, so that storage may
/// fetch [`nodes`](Plan::nodes) as it likes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Plan {
    nodes: Vec<NodeId>,
    /// For each proof hash, how many of `nodes` are folded into it; more than one on the right edge only.
    parts: Vec<u8>,
}

impl Plan {
    fn of(subtrees: impl IntoIterator<Item = (u64, u64)>) -> Plan {
        let (mut nodes, mut parts) = (Vec::new(), Vec::new());
        for (lo, hi) in subtrees {
            let before = nodes.len();
            nodes.extend(decompose(lo, hi));
            parts.push((nodes.len() - before) as u8); // at most 126: see decompose
        }
        Plan { nodes, parts }
    }

    /// The subtrees to fetch, in the order in which they are used.
    pub fn nodes(&self) -> &[NodeId] {
        &self.nodes
    }

    /// Number of hashes in the finished proof.
    pub fn len(&self) -> usize {
        self.parts.len()
    }

    /// Whether the proof needs no hash at all.
    pub fn is_empty(&self) -> bool {
        self.parts.is_empty()
    }

    /// Fetches every node and folds them into the proof's hashes. The first error of `fetch` ends it.
    pub fn assemble<E>(&self, mut fetch: impl FnMut(NodeId) -> Result<Hash, E>) -> Result<Vec<Hash>, E> {
        let mut at = 0;
        let mut out = Vec::with_capacity(self.parts.len());
        for &part in &self.parts {
            let mut hashes = Vec::with_capacity(part.into());
            for &id in &self.nodes[at..at + usize::from(part)] {
                hashes.push(fetch(id)?);
            }
            at += usize::from(part);
            out.extend(fold(&hashes)); // a part is never empty: every subtree has leaves
        }
        Ok(out)
    }
}

/// The audit path of leaf `index` in a tree of `size` (RFC 6962 section 2.1.1), the leaf's sibling first.
///
/// # Errors
/// [`ProofError::IndexOutOfTree`].
pub fn inclusion_plan(index: LeafIndex, size: u64) -> Result<Plan, ProofError> {
    if index.0 >= size {
        return Err(ProofError::IndexOutOfTree { index, size });
    }
    let mut siblings = Vec::new();
    walk_to_leaf(index.0, size, |lo, hi, _| siblings.push((lo, hi)));
    siblings.reverse();
    Ok(Plan::of(siblings))
}

/// The proof that the tree of `newer` leaves extends the one of `older` (RFC 6962 section 2.1.2). Empty when the
/// sizes are equal, or when `older` is 0, which every tree extends.
///
/// # Errors
/// [`ProofError::SizesReversed`].
pub fn consistency_plan(older: u64, newer: u64) -> Result<Plan, ProofError> {
    if older > newer {
        return Err(ProofError::SizesReversed { older, newer });
    }
    if older == 0 || older == newer {
        return Ok(Plan::of([]));
    }
    let mut subtrees = Vec::new();
    let (_, lo) = walk_to_end(older, newer, |lo, hi, _| subtrees.push((lo, hi)));
    if lo > 0 {
        // Otherwise the node is the older root itself, which the verifier has.
        subtrees.push((lo, older));
    }
    subtrees.reverse();
    Ok(Plan::of(subtrees))
}

/// What a range proof needs: the hashes left of the range and those right of it, each left to right.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RangePlan {
    /// The subtrees of [`decompose`]`(0, start)`.
    pub left: Plan,
    /// The largest nodes of the tree that lie entirely in `[end, size)`; the last may be incomplete.
    pub right: Plan,
}

/// A range proof: all that is needed besides the leaf hashes of `[start, end)` to compute the root.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RangeProof {
    /// Hashes of the complete subtrees that cover `[0, start)`, left to right.
    pub left: Vec<Hash>,
    /// Hashes of the largest nodes that lie entirely in `[end, size)`, left to right.
    pub right: Vec<Hash>,
}

impl RangePlan {
    /// Fetches every node. The first error of `fetch` ends it.
    pub fn assemble<E>(&self, mut fetch: impl FnMut(NodeId) -> Result<Hash, E>) -> Result<RangeProof, E> {
        Ok(RangeProof { left: self.left.assemble(&mut fetch)?, right: self.right.assemble(&mut fetch)? })
    }
}

/// The range proof of `[start, end)` in a tree of `size`.
///
/// # Errors
/// [`ProofError::RangeOutOfTree`] unless `start < end <= size`.
pub fn range_plan(start: u64, end: u64, size: u64) -> Result<RangePlan, ProofError> {
    check_range(start, end, size)?;
    let mut right = Vec::new();
    walk_to_end(end, size, |lo, hi, on_left| {
        if !on_left {
            right.push((lo, hi));
        }
    });
    right.reverse();
    let left = Plan { nodes: decompose(0, start).collect(), parts: vec![1; start.count_ones() as usize] };
    Ok(RangePlan { left, right: Plan::of(right) })
}

fn check_range(start: u64, end: u64, size: u64) -> Result<(), ProofError> {
    if start >= end || end > size {
        return Err(ProofError::RangeOutOfTree { start, end, size });
    }
    Ok(())
}

/// Root of the tree of `size` leaves, from its complete subtrees.
pub fn root_plan(size: u64) -> Plan {
    if size == 0 { Plan::of([]) } else { Plan::of([(0, size)]) }
}

// ---------------------------------------------------------------------------------------------------------------
// Verifying

fn need(what: Part, found: usize, needed: usize, size: u64) -> Result<(), ProofError> {
    if found != needed {
        return Err(ProofError::WrongLength { what, found, needed, size });
    }
    Ok(())
}

/// The root that an inclusion proof leads to; compare it with a signed one, or use [`check_inclusion`].
///
/// # Errors
/// [`ProofError::IndexOutOfTree`], [`ProofError::WrongLength`].
pub fn root_from_inclusion(
    leaf: Hash,
    index: LeafIndex,
    size: u64,
    proof: &[Hash],
) -> Result<Hash, ProofError> {
    if index.0 >= size {
        return Err(ProofError::IndexOutOfTree { index, size });
    }
    let turns = walk_to_leaf(index.0, size, |_, _, _| ());
    need(Part::Inclusion, proof.len(), turns.len as usize, size)?;
    Ok(turns.upwards().zip(proof).fold(leaf, |hash, (sibling_on_left, sibling)| {
        if sibling_on_left { node_hash(sibling, &hash) } else { node_hash(&hash, sibling) }
    }))
}

/// Checks that the leaf with this hash is at `index` in the tree of `size` leaves with root `root`.
///
/// # Errors
/// Those of [`root_from_inclusion`], and [`ProofError::RootMismatch`].
pub fn check_inclusion(
    leaf: Hash,
    index: LeafIndex,
    size: u64,
    root: &Hash,
    proof: &[Hash],
) -> Result<(), ProofError> {
    same_root(root_from_inclusion(leaf, index, size, proof)?, root)
}

fn same_root(computed: Hash, signed: &Hash) -> Result<(), ProofError> {
    if computed != *signed {
        return Err(ProofError::RootMismatch { computed, signed: *signed });
    }
    Ok(())
}

/// Checks that the tree of `newer` leaves and root `newer_root` begins with the tree of `older` leaves and root
/// `older_root`.
///
/// # Errors
/// [`ProofError::SizesReversed`], [`ProofError::WrongLength`], [`ProofError::OlderRootMismatch`],
/// [`ProofError::RootMismatch`].
pub fn check_consistency(
    older: u64,
    older_root: &Hash,
    newer: u64,
    newer_root: &Hash,
    proof: &[Hash],
) -> Result<(), ProofError> {
    if older > newer {
        return Err(ProofError::SizesReversed { older, newer });
    }
    if older == 0 || older == newer {
        need(Part::Consistency, proof.len(), 0, newer)?;
        if older == 0 {
            let computed = empty_root();
            if computed != *older_root {
                return Err(ProofError::OlderRootMismatch { computed, signed: *older_root });
            }
            if newer > 0 {
                return Ok(());
            }
        }
        return same_root(*older_root, newer_root);
    }
    let (turns, lo) = walk_to_end(older, newer, |_, _, _| ());
    let seeded = usize::from(lo > 0);
    need(Part::Consistency, proof.len(), turns.len as usize + seeded, newer)?;
    let seed = if lo > 0 { proof[0] } else { *older_root };
    let (mut old, mut new) = (seed, seed);
    for (sibling_on_left, sibling) in turns.upwards().zip(&proof[seeded..]) {
        if sibling_on_left {
            old = node_hash(sibling, &old);
            new = node_hash(sibling, &new);
        } else {
            new = node_hash(&new, sibling);
        }
    }
    if old != *older_root {
        return Err(ProofError::OlderRootMismatch { computed: old, signed: *older_root });
    }
    same_root(new, newer_root)
}

/// Verifies a range proof while the leaves stream by, holding O(log n) hashes.
///
/// ```
/// use isoledger_core::merkle::{RangeVerifier, leaf_hash, range_plan, root_of};
///
/// let leaves: Vec<_> = (0..7u8).map(|i| leaf_hash(&[i])).collect();
/// let subtree = |id: isoledger_core::merkle::NodeId| {
///     let (from, width) = ((id.index << id.level) as usize, 1 << id.level);
///     Ok::<_, std::convert::Infallible>(root_of(leaves[from..from + width].iter().copied()))
/// };
/// let proof = range_plan(2, 5, 7).unwrap().assemble(subtree).unwrap();
///
/// let mut verifier = RangeVerifier::new(2, &proof.left).unwrap();
/// leaves[2..5].iter().for_each(|leaf| verifier.push(*leaf));
/// assert_eq!(verifier.finish(5, 7, &proof.right).unwrap(), root_of(leaves));
/// ```
#[derive(Clone, Debug)]
pub struct RangeVerifier {
    start: u64,
    frontier: Frontier,
}

impl RangeVerifier {
    /// Begins at leaf `start` with the proof's left part.
    ///
    /// # Errors
    /// [`ProofError::WrongLength`] when `left` does not have one hash per one-bit of `start`;
    /// [`ProofError::RangeOutOfTree`] when `start` is beyond 2^63 - 1.
    pub fn new(start: u64, left: &[Hash]) -> Result<RangeVerifier, ProofError> {
        need(Part::RangeLeft, left.len(), start.count_ones() as usize, start)?;
        Ok(RangeVerifier { start, frontier: Frontier::from_parts(start, left.to_vec())? })
    }

    /// The next leaf of the range, by its hash.
    pub fn push(&mut self, leaf: Hash) {
        self.frontier.append(leaf);
    }

    /// Index of the leaf that [`push`](RangeVerifier::push) expects next.
    pub fn next_index(&self) -> LeafIndex {
        LeafIndex(self.frontier.size())
    }

    /// The root to which the proof leads, for the range that ends before `end` in a tree of `size` leaves. The
    /// caller compares it with a signed root.
    ///
    /// # Errors
    /// [`ProofError::RangeOutOfTree`], [`ProofError::WrongLeafCount`], [`ProofError::WrongLength`].
    pub fn finish(self, end: u64, size: u64, right: &[Hash]) -> Result<Hash, ProofError> {
        check_range(self.start, end, size)?;
        if self.frontier.size() != end {
            let pushed = self.frontier.size() - self.start;
            return Err(ProofError::WrongLeafCount { start: self.start, end, pushed });
        }
        let (turns, lo) = walk_to_end(end, size, |_, _, _| ());
        need(Part::RangeRight, right.len(), turns.right_siblings(), size)?;
        // Our hashes are, left to right: one for each left sibling on the way, then those of [lo, end).
        let lefts = turns.bits.count_ones() as usize;
        debug_assert_eq!(lefts, lo.count_ones() as usize);
        let hashes = self.frontier.hashes();
        let mut left = hashes[..lefts].iter().rev();
        let mut right = right.iter();
        // [lo, end) is not empty, because start < end: there is something to fold.
        let Some(mut hash) = fold(&hashes[lefts..]) else {
            return Err(ProofError::RangeOutOfTree { start: self.start, end, size });
        };
        for sibling_on_left in turns.upwards() {
            let sibling = if sibling_on_left { left.next() } else { right.next() };
            let Some(sibling) = sibling else { break }; // both were counted above
            hash = if sibling_on_left { node_hash(sibling, &hash) } else { node_hash(&hash, sibling) };
        }
        Ok(hash)
    }

    /// As [`finish`](RangeVerifier::finish), and compares the root.
    ///
    /// # Errors
    /// Those of `finish`, and [`ProofError::RootMismatch`].
    pub fn finish_at(self, end: u64, size: u64, right: &[Hash], root: &Hash) -> Result<(), ProofError> {
        same_root(self.finish(end, size, right)?, root)
    }
}

// ---------------------------------------------------------------------------------------------------------------
// Text

/// Hashes as text: 44 base64 characters and a newline each, as in tlog-proof and tlog-witness.
pub fn proof_to_text(hashes: &[Hash]) -> String {
    let mut out = String::with_capacity(hashes.len() * 45);
    for hash in hashes {
        out.push_str(&hash.to_base64());
        out.push('\n');
    }
    out
}

/// Reads what [`proof_to_text`] writes; at most [`MAX_PROOF_HASHES`]. `None` when a line is anything else.
pub fn proof_from_text(text: &str) -> Option<Vec<Hash>> {
    if text.len() > MAX_PROOF_HASHES * 45 {
        return None;
    }
    text.split_inclusive('\n').map(|line| Hash::from_base64(line.strip_suffix('\n')?)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashMap;
    use std::convert::Infallible;

    // The RFC's own words, as slices: MTH, PATH, PROOF. Slow and obviously right.
    fn mth(d: &[Hash]) -> Hash {
        match d.len() {
            0 => empty_root(),
            1 => d[0],
            n => {
                let k = rfc_k(n);
                node_hash(&mth(&d[..k]), &mth(&d[k..]))
            }
        }
    }

    fn rfc_k(n: usize) -> usize {
        let mut k = 1;
        while k * 2 < n {
            k *= 2;
        }
        k
    }

    fn path(m: usize, d: &[Hash]) -> Vec<Hash> {
        if d.len() == 1 {
            return vec![];
        }
        let k = rfc_k(d.len());
        let (mut p, last) =
            if m < k { (path(m, &d[..k]), mth(&d[k..])) } else { (path(m - k, &d[k..]), mth(&d[..k])) };
        p.push(last);
        p
    }

    fn subproof(m: usize, d: &[Hash], b: bool) -> Vec<Hash> {
        let n = d.len();
        if m == n {
            return if b { vec![] } else { vec![mth(d)] };
        }
        let k = rfc_k(n);
        let (mut p, last) = if m <= k {
            (subproof(m, &d[..k], b), mth(&d[k..]))
        } else {
            (subproof(m - k, &d[k..], false), mth(&d[..k]))
        };
        p.push(last);
        p
    }

    // The definition on the format page: the largest tree nodes without a leaf before `end`.
    fn right_of(end: usize, lo: usize, d: &[Hash]) -> Vec<Hash> {
        if end <= lo {
            return vec![mth(d)];
        }
        if end >= lo + d.len() {
            return vec![];
        }
        let k = rfc_k(d.len());
        let mut p = right_of(end, lo, &d[..k]);
        p.extend(right_of(end, lo + k, &d[k..]));
        p
    }

    fn leaves(n: usize) -> Vec<Hash> {
        (0..n).map(|i| leaf_hash(format!("leaf {i}").as_bytes())).collect()
    }

    // Every complete subtree, hashed once, straight from the definition.
    fn subtree(leaves: &[Hash]) -> impl Fn(NodeId) -> Result<Hash, Infallible> + use<> {
        let levels: Vec<Vec<Hash>> = (0..9).map(|l| leaves.chunks_exact(1 << l).map(mth).collect()).collect();
        move |id| Ok(levels[usize::from(id.level)][id.index as usize])
    }

    const ALL: usize = 70;

    #[test]
    fn roots_of_all_small_sizes() {
        let d = leaves(300);
        let mut frontier = Frontier::new();
        for n in 0..=300 {
            assert_eq!(frontier.root(), mth(&d[..n]), "size {n}");
            assert_eq!(frontier.size(), n as u64);
            assert_eq!(frontier.hashes().len(), n.count_ones() as usize);
            let again = Frontier::from_parts(n as u64, frontier.hashes().to_vec()).unwrap();
            assert_eq!(again, frontier);
            assert_eq!(
                root_plan(n as u64).assemble(subtree(&d)).unwrap().first().copied(),
                (n > 0).then(|| mth(&d[..n]))
            );
            if n < 300 {
                assert_eq!(frontier.append(d[n]), LeafIndex(n as u64));
            }
        }
    }

    #[test]
    fn made_nodes_are_the_complete_subtrees() {
        let d = leaves(ALL);
        let mut made = HashMap::new();
        let mut frontier = Frontier::new();
        for leaf in &d {
            frontier.append_with(*leaf, |id, hash| assert!(made.insert(id, hash).is_none()));
        }
        let mut expected = 0;
        for level in 0..7u8 {
            for index in 0..(ALL >> level) as u64 {
                expected += 1;
                let id = NodeId { level, index };
                assert_eq!(made[&id], subtree(&d)(id).unwrap());
            }
        }
        assert_eq!(made.len(), expected);
    }

    #[test]
    fn inclusion_of_every_leaf_of_every_small_tree() {
        let d = leaves(ALL);
        let subtree = subtree(&d);
        for n in 1..=ALL {
            let root = mth(&d[..n]);
            for i in 0..n {
                let index = LeafIndex(i as u64);
                let plan = inclusion_plan(index, n as u64).unwrap();
                let proof = plan.assemble(&subtree).unwrap();
                assert_eq!(proof, path(i, &d[..n]), "leaf {i} of {n}");
                assert_eq!(plan.len(), proof.len());
                check_inclusion(d[i], index, n as u64, &root, &proof).unwrap();
                refuse_corruptions(&proof, |p| check_inclusion(d[i], index, n as u64, &root, p));
                // The same path is no proof for another leaf or another position.
                if n > 1 {
                    let other = (i + 1) % n;
                    assert!(check_inclusion(d[other], index, n as u64, &root, &proof).is_err());
                    assert!(check_inclusion(d[i], LeafIndex(other as u64), n as u64, &root, &proof).is_err());
                }
            }
        }
    }

    #[test]
    fn consistency_of_every_pair_of_small_trees() {
        let d = leaves(ALL);
        let subtree = subtree(&d);
        for n in 0..=ALL {
            let new = mth(&d[..n]);
            for m in 0..=n {
                let old = mth(&d[..m]);
                let proof = consistency_plan(m as u64, n as u64).unwrap().assemble(&subtree).unwrap();
                if m > 0 {
                    assert_eq!(proof, subproof(m, &d[..n], true), "{m} to {n}");
                } else {
                    assert!(proof.is_empty());
                }
                let check = |p: &[Hash]| check_consistency(m as u64, &old, n as u64, &new, p);
                check(&proof).unwrap();
                refuse_corruptions(&proof, check);
                let wrong = leaf_hash(b"wrong");
                assert!(check_consistency(m as u64, &wrong, n as u64, &new, &proof).is_err());
                if m > 0 {
                    assert!(check_consistency(m as u64, &old, n as u64, &wrong, &proof).is_err());
                }
            }
        }
    }

    #[test]
    fn every_range_of_every_small_tree() {
        let d = leaves(ALL);
        let subtree = subtree(&d);
        for n in 1..=ALL {
            let root = mth(&d[..n]);
            for start in 0..n {
                for end in start + 1..=n {
                    let (s, e, size) = (start as u64, end as u64, n as u64);
                    let proof = range_plan(s, e, size).unwrap().assemble(&subtree).unwrap();
                    assert_eq!(proof.right, right_of(end, 0, &d[..n]), "[{start},{end}) of {n}");
                    let check = |left: &[Hash], right: &[Hash]| {
                        let mut v = RangeVerifier::new(s, left)?;
                        d[start..end].iter().for_each(|h| v.push(*h));
                        v.finish_at(e, size, right, &root)
                    };
                    check(&proof.left, &proof.right).unwrap();
                    if n <= 40 {
                        refuse_corruptions(&proof.left, |p| check(p, &proof.right));
                        refuse_corruptions(&proof.right, |p| check(&proof.left, p));
                    }
                }
            }
        }
    }

    #[test]
    fn a_range_of_one_is_an_inclusion_proof_in_two_parts() {
        let d = leaves(ALL);
        for n in 1..=ALL as u64 {
            for i in 0..n {
                let proof = range_plan(i, i + 1, n).unwrap().assemble(subtree(&d)).unwrap();
                let mut both: Vec<_> = proof.left.iter().chain(&proof.right).copied().collect();
                let mut path = inclusion_plan(LeafIndex(i), n).unwrap().assemble(subtree(&d)).unwrap();
                both.sort();
                path.sort();
                assert_eq!(both, path);
            }
        }
    }

    // Each hash flipped, each dropped, one added: all refused.
    fn refuse_corruptions(proof: &[Hash], check: impl Fn(&[Hash]) -> Result<(), ProofError>) {
        for i in 0..proof.len() {
            let mut bad = proof.to_vec();
            bad[i].0[i % 32] ^= 1;
            assert!(check(&bad).is_err(), "corrupted hash {i} was accepted");
            bad.remove(i);
            assert!(matches!(check(&bad), Err(ProofError::WrongLength { .. })));
        }
        let mut long = proof.to_vec();
        long.push(empty_root());
        assert!(matches!(check(&long), Err(ProofError::WrongLength { .. })));
    }

    #[test]
    fn wrong_leaf_in_the_middle_of_a_range() {
        let d = leaves(33);
        let proof = range_plan(5, 30, 33).unwrap().assemble(subtree(&d)).unwrap();
        for bad in 5..30 {
            let mut v = RangeVerifier::new(5, &proof.left).unwrap();
            for (i, leaf) in d.iter().enumerate().take(30).skip(5) {
                v.push(if i == bad { leaf_hash(b"other") } else { *leaf });
            }
            assert!(matches!(
                v.finish_at(30, 33, &proof.right, &mth(&d)),
                Err(ProofError::RootMismatch { .. })
            ));
        }
        // One leaf too few, one too many.
        for count in [24, 26] {
            let mut v = RangeVerifier::new(5, &proof.left).unwrap();
            d[5..5 + count].iter().for_each(|h| v.push(*h));
            assert_eq!(
                v.finish(30, 33, &proof.right),
                Err(ProofError::WrongLeafCount { start: 5, end: 30, pushed: count as u64 })
            );
        }
    }

    #[test]
    fn numbers_that_make_no_sense() {
        let h = empty_root();
        assert!(matches!(inclusion_plan(LeafIndex(0), 0), Err(ProofError::IndexOutOfTree { .. })));
        assert!(matches!(inclusion_plan(LeafIndex(7), 7), Err(ProofError::IndexOutOfTree { .. })));
        assert!(matches!(consistency_plan(8, 7), Err(ProofError::SizesReversed { .. })));
        assert!(matches!(range_plan(3, 3, 7), Err(ProofError::RangeOutOfTree { .. })));
        assert!(matches!(range_plan(3, 8, 7), Err(ProofError::RangeOutOfTree { .. })));
        assert!(matches!(range_plan(5, 3, 7), Err(ProofError::RangeOutOfTree { .. })));
        assert!(matches!(
            check_consistency(0, &leaf_hash(b""), 5, &h, &[]),
            Err(ProofError::OlderRootMismatch { .. })
        ));
        assert!(matches!(
            root_from_inclusion(h, LeafIndex(u64::MAX), u64::MAX, &[]),
            Err(ProofError::IndexOutOfTree { .. })
        ));
        // 64 levels, the last leaf alone on the right edge of each.
        assert!(matches!(
            root_from_inclusion(h, LeafIndex(u64::MAX - 1), u64::MAX, &[]),
            Err(ProofError::WrongLength { found: 0, needed: 63, .. })
        ));
        assert!(matches!(
            root_from_inclusion(h, LeafIndex(0), u64::MAX, &[]),
            Err(ProofError::WrongLength { found: 0, needed: 64, .. })
        ));
        assert!(RangeVerifier::new(u64::MAX, &[h; 64]).is_err());
        assert!(Frontier::from_parts(u64::MAX, vec![h; 64]).is_err());
        let mut v = RangeVerifier::new(MAX_LEAVES - 1, &[h; 62]).unwrap();
        v.push(h);
        assert!(v.finish(MAX_LEAVES, u64::MAX, &[h, h]).is_ok());
        let v = RangeVerifier::new(0, &[]).unwrap();
        assert!(matches!(v.finish(0, 0, &[]), Err(ProofError::RangeOutOfTree { .. })));
    }

    #[test]
    fn text_form_has_one_spelling() {
        let d = leaves(3);
        let text = proof_to_text(&d);
        assert_eq!(proof_from_text(&text), Some(d));
        assert_eq!(proof_from_text(""), Some(vec![]));
        assert_eq!(proof_from_text(&text[..text.len() - 1]), None);
        assert_eq!(proof_from_text(&format!("{text}\n")), None);
        assert_eq!(proof_from_text(&text.replace('\n', "\r\n")), None);
        assert_eq!(proof_from_text(&proof_to_text(&[empty_root(); 129])), None);
    }

    // A tree in which leaf i is known only near a few places: the others are all one and the same leaf, so that any
    // subtree without a special leaf has a hash that depends on its level only.
    struct Sparse {
        special: HashMap<u64, Hash>,
        plain: Vec<Hash>,
    }

    impl Sparse {
        fn new(special: &[u64]) -> Sparse {
            let mut plain = vec![leaf_hash(b"plain")];
            for level in 0..63 {
                plain.push(node_hash(&plain[level], &plain[level]));
            }
            let special = special.iter().map(|i| (*i, leaf_hash(&i.to_be_bytes()))).collect();
            Sparse { special, plain }
        }

        fn leaf(&self, i: u64) -> Hash {
            *self.special.get(&i).unwrap_or(&self.plain[0])
        }

        fn node(&self, id: NodeId) -> Hash {
            if !self.special.keys().any(|i| i >> id.level == id.index) {
                return self.plain[usize::from(id.level)];
            }
            if id.level == 0 {
                return self.leaf(id.index);
            }
            let child = |side| NodeId { level: id.level - 1, index: id.index * 2 + side };
            node_hash(&self.node(child(0)), &self.node(child(1)))
        }

        fn fetch(&self, id: NodeId) -> Result<Hash, Infallible> {
            Ok(self.node(id))
        }

        fn root(&self, size: u64) -> Hash {
            let hashes = root_plan(size).assemble(|id| self.fetch(id)).unwrap();
            hashes.first().copied().unwrap_or_else(empty_root)
        }
    }

    fn big_size() -> impl Strategy<Value = u64> {
        prop_oneof![
            1..=u64::MAX,
            (0..64u32).prop_map(|b| 1 << b),
            (1..64u32).prop_map(|b| (1 << b) - 1),
            1..=1u64 << 40
        ]
    }

    proptest! {
        #[test]
        fn large_inclusion(size in big_size(), at: u64, flip: (usize, u8)) {
            let index = at % size;
            let tree = Sparse::new(&[index, size - 1, index.saturating_sub(1)]);
            let root = tree.root(size);
            let proof = inclusion_plan(LeafIndex(index), size).unwrap().assemble(|id| tree.fetch(id)).unwrap();
            check_inclusion(tree.leaf(index), LeafIndex(index), size, &root, &proof).unwrap();
            if !proof.is_empty() {
                let mut bad = proof.clone();
                let which = flip.0 % bad.len();
                bad[which].0[usize::from(flip.1 % 32)] ^= 0x80;
                prop_assert!(check_inclusion(tree.leaf(index), LeafIndex(index), size, &root, &bad).is_err());
            }
        }

        #[test]
        fn large_consistency(newer in big_size(), at: u64, flip: (usize, u8)) {
            let older = 1 + at % newer;
            let tree = Sparse::new(&[older - 1, newer - 1]);
            let (old, new) = (tree.root(older), tree.root(newer));
            let proof = consistency_plan(older, newer).unwrap().assemble(|id| tree.fetch(id)).unwrap();
            check_consistency(older, &old, newer, &new, &proof).unwrap();
            if !proof.is_empty() {
                let mut bad = proof.clone();
                let which = flip.0 % bad.len();
                bad[which].0[usize::from(flip.1 % 32)] ^= 1;
                prop_assert!(check_consistency(older, &old, newer, &new, &bad).is_err());
            }
        }

        #[test]
        fn large_range(size in 1..u64::MAX >> 1, at: u64, count in 1..300u64) {
            let start = at % size;
            let end = start.saturating_add(count).min(size);
            let tree = Sparse::new(&[start, end - 1, size - 1]);
            let proof = range_plan(start, end, size).unwrap().assemble(|id| tree.fetch(id)).unwrap();
            let mut v = RangeVerifier::new(start, &proof.left).unwrap();
            (start..end).for_each(|i| v.push(tree.leaf(i)));
            prop_assert_eq!(v.finish(end, size, &proof.right).unwrap(), tree.root(size));
        }

        #[test]
        fn ranges_merge(a in 0..200u64, b in 0..200u64, c in 0..200u64) {
            let mut cuts = [a, b, c];
            cuts.sort();
            let d = leaves(200);
            let compact = |from: u64, to: u64| {
                let mut r = CompactRange::new(from);
                (from..to).for_each(|i| r.append(d[i as usize]));
                assert_eq!(r.hashes().len(), compact_len(from, to));
                for (id, h) in decompose(from, to).zip(r.hashes()) {
                    assert_eq!(subtree(&d)(id).unwrap(), *h);
                }
                r
            };
            let whole = compact(cuts[0], cuts[2]);
            let mut merged = compact(cuts[0], cuts[1]);
            merged.merge(&compact(cuts[1], cuts[2])).unwrap();
            prop_assert_eq!(&merged, &whole);
            let mut front = Frontier::new();
            front.merge(&compact(0, cuts[0])).unwrap();
            front.merge(&whole).unwrap();
            prop_assert_eq!(front.root(), mth(&d[..cuts[2] as usize]));
            if cuts[1] != cuts[2] {
                prop_assert!(front.clone().merge(&compact(cuts[1], cuts[2])).is_err());
            }
        }

        #[test]
        fn decomposition_is_exact(a: u64, b: u64) {
            let (start, end) = (a.min(b), a.max(b));
            let mut at = start;
            let mut count = 0;
            for id in decompose(start, end) {
                prop_assert_eq!(id.index << id.level, at);
                at += 1 << id.level;
                count += 1;
            }
            prop_assert_eq!(at, end);
            prop_assert!(count <= 126);
        }
    }
}
