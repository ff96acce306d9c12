//! C2SP tlog-tiles: the log as immutable files that any web server can hand out.
//!
//! ```text
//! tile/0/000            hashes of entries 0..256             256 × 32 bytes
//! tile/0/001.p/44       hashes of entries 256..300            44 × 32 bytes: the right edge, partial
//! tile/1/000.p/1        the root of tile/0/000                 1 × 32 bytes
//! tile/entries/000      entries 0..256                       256 × (u16 length ‖ entry)
//! tile/entries/001.p/44 entries 256..300                      44 × (u16 length ‖ entry)
//!
//! hash i of tile (L, n) is the root of the 256^L leaves from (256·n + i)·256^L on
//! number n in threes, all but the last with an x: 1234067 is x001/x234/067
//! ```
//!
//! # In scope
//! - [`TilePath`]: names, read and written; which exist for a size ([`hash_tiles`], [`entry_tiles`]).
//! - [`encode_tile`], [`encode_bundle`] and their inverses; [`TileBuilder`], which makes tiles from leaves.
//! - [`audit_tiles`]: every hash of every tile against its parent, and the right edge against the root.
//!
//! # Out of scope
//! Reading and serving files; gzip.
//!
//! # Trust
//! A tile is not signed. A hash from one is worth nothing before the tile was compared with its parent and so on up
//! to a signed root; readers that skip one tile have been deceived (CVE-2026-56865). Use [`audit_tiles`], or verify
//! proofs made from tiles as a stranger's.
//!
//! Specification: <https://c2sp.org/tlog-tiles>; what we narrow is in `docs/formats/tiles.md`.

use crate::hash::Hash;
use crate::merkle::{self, Frontier, LeafIndex, NodeId, ProofError, decompose};
use std::fmt;
use thiserror::Error;

/// Hashes in a full tile, entries in a full bundle.
pub const TILE_WIDTH: u16 = 256;
/// Levels of the tree in one tile.
const TILE_HEIGHT: u8 = 8;
/// The highest level in a path. Levels above 7 are well-formed, but no tree is so large.
const MAX_PATH_LEVEL: u8 = 63;
/// The longest entry of a bundle, because of its 16-bit length.
pub const MAX_ENTRY: usize = 65_535;

/// Why a tile, a bundle or a path was refused.
#[non_exhaustive]
#[derive(Clone, PartialEq, Eq, Debug, Error)]
pub enum TileError {
    /// Not a path of a tile.
    #[error("{0:?} is not a tile path (like tile/0/x001/x234/067 or tile/entries/067.p/44)")]
    Path(String),
    /// Another number of bytes than the width demands.
    #[error("the tile has {found} bytes, {needed} are needed for {width} hashes")]
    Length {
        /// Bytes in the tile.
        found: usize,
        /// Bytes needed.
        needed: usize,
        /// Hashes in a tile of that path.
        width: u16,
    },
    /// The bundle ends before its last entry does.
    #[error("the bundle ends inside entry {entry} of {width}")]
    BundleShort {
        /// Which entry, from 0.
        entry: u16,
        /// Entries in a bundle of that path.
        width: u16,
    },
    /// The bundle goes on after its last entry.
    #[error("the bundle has {extra} bytes after its {width} entries")]
    BundleLong {
        /// Bytes too many.
        extra: usize,
        /// Entries in a bundle of that path.
        width: u16,
    },
    /// Widths are 1 to 256.
    #[error("a tile or bundle has 1 to 256 members, not {found}")]
    Width {
        /// Members given.
        found: usize,
    },
    /// An entry does not fit a 16-bit length.
    #[error("an entry has {found} bytes, at most {MAX_ENTRY} fit a bundle")]
    EntryTooLong {
        /// Bytes in the entry.
        found: usize,
    },
    /// The tile is not the one that its parent is over.
    #[error("{path} has root {computed}, its parent says {parent}: the tile was changed")]
    ParentMismatch {
        /// The tile.
        path: TilePath,
        /// Root of its hashes.
        computed: Hash,
        /// Hash in the parent tile.
        parent: Hash,
    },
    /// The tiles on the right edge do not lead to the signed root.
    #[error("the right-edge tiles for {size} entries lead to root {computed}, the checkpoint says {signed}")]
    RootMismatch {
        /// Entries in the tree.
        size: u64,
        /// Root of the tiles.
        computed: Hash,
        /// Root in the checkpoint.
        signed: Hash,
    },
    /// An entry is not the one that the tile holds the hash of.
    #[error("entry {index} has hash {computed}, its tile says {tile}: the entry was changed")]
    EntryMismatch {
        /// The entry.
        index: LeafIndex,
        /// Hash of its bytes.
        computed: Hash,
        /// Hash in the tile.
        tile: Hash,
    },
    /// The stored right edge does not fit the size.
    #[error(transparent)]
    Edge(#[from] ProofError),
}

// ---------------------------------------------------------------------------------------------------------------
// Paths

/// What a tile holds.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum TileKind {
    /// Hashes of subtrees of 256^level leaves; level 0..=63.
    Hashes(u8),
    /// The entries themselves.
    Entries,
}

/// Name of a tile or entry bundle, relative to the log's prefix.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct TilePath {
    kind: TileKind,
    index: u64,
    width: u16,
}

impl TilePath {
    /// The tile of that kind at `index`, with its first `width` members. `None` unless the width is 1..=256 and the
    /// level 0..=63.
    pub fn new(kind: TileKind, index: u64, width: u16) -> Option<TilePath> {
        let level = if let TileKind::Hashes(level) = kind { level } else { 0 };
        ((1..=TILE_WIDTH).contains(&width) && level <= MAX_PATH_LEVEL).then_some(TilePath {
            kind,
            index,
            width,
        })
    }

    /// Reads a path in its one spelling, without a slash before it.
    ///
    /// # Errors
    /// [`TileError::Path`].
    pub fn parse(path: &str) -> Result<TilePath, TileError> {
        parse_path(path).ok_or_else(|| TileError::Path(path.chars().take(120).collect()))
    }

    /// What it holds.
    pub fn kind(&self) -> TileKind {
        self.kind
    }

    /// Its number on its level, from the left.
    pub fn index(&self) -> u64 {
        self.index
    }

    /// Members in it, 1..=256.
    pub fn width(&self) -> u16 {
        self.width
    }

    /// Whether it has fewer than 256 members.
    pub fn is_partial(&self) -> bool {
        self.width < TILE_WIDTH
    }

    /// The full tile of which this is the beginning; a client may ask for it instead.
    pub fn full(&self) -> TilePath {
        TilePath { width: TILE_WIDTH, ..*self }
    }

    /// Level of its members: an entry is at level 0.
    fn level(&self) -> u8 {
        match self.kind {
            TileKind::Hashes(level) => level,
            TileKind::Entries => 0,
        }
    }

    /// Whether every member of it is in a tree of `size` leaves: whether a log of that size can serve it.
    pub fn is_within(&self, size: u64) -> bool {
        width_for(self.level(), self.index, size) >= self.width
    }

    /// Whether it is *the* tile at its place for a tree of `size` leaves: full, or partial of exactly the width that
    /// the size implies. These are the ones that a client asks for and an export holds.
    pub fn is_of(&self, size: u64) -> bool {
        width_for(self.level(), self.index, size) == self.width
    }
}

fn parse_path(path: &str) -> Option<TilePath> {
    // Longer than any index can be, and shorter than anything that would be costly.
    if path.len() > 64 {
        return None;
    }
    let (kind, number) = path.strip_prefix("tile/")?.split_once('/')?;
    let kind = match kind {
        "entries" => TileKind::Entries,
        level => TileKind::Hashes(plain_number(level, u64::from(MAX_PATH_LEVEL))? as u8),
    };
    let (number, width) = match number.split_once(".p/") {
        Some((number, width)) => (number, plain_number(width, u64::from(TILE_WIDTH) - 1)? as u16),
        None => (number, TILE_WIDTH),
    };
    let mut index = 0u64;
    let mut groups = number.split('/').peekable();
    let mut first = true;
    while let Some(group) = groups.next() {
        let digits = if groups.peek().is_some() { group.strip_prefix('x')? } else { group };
        if digits.len() != 3 || !digits.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
        // A leading x000 would be a second spelling of a smaller number.
        if first && groups.peek().is_some() && digits == "000" {
            return None;
        }
        first = false;
        index = index.checked_mul(1000)?.checked_add(digits.parse().ok()?)?;
    }
    TilePath::new(kind, index, width)
}

/// A decimal number without leading zeroes, at most `max`.
fn plain_number(text: &str, max: u64) -> Option<u64> {
    text.parse::<u64>().ok().filter(|n| *n <= max && n.to_string() == text)
}

impl fmt::Display for TilePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            TileKind::Hashes(level) => write!(f, "tile/{level}/")?,
            TileKind::Entries => f.write_str("tile/entries/")?,
        }
        let groups = (0..7).rev().map(|i| self.index / 1000u64.pow(i) % 1000);
        let mut groups = groups.skip_while(|group| *group == 0).peekable();
        if groups.peek().is_none() {
            f.write_str("000")?;
        }
        while let Some(group) = groups.next() {
            let more = groups.peek().is_some();
            write!(f, "{}{group:03}{}", if more { "x" } else { "" }, if more { "/" } else { "" })?;
        }
        if self.is_partial() {
            write!(f, ".p/{}", self.width)?;
        }
        Ok(())
    }
}

impl std::str::FromStr for TilePath {
    type Err = TileError;
    fn from_str(path: &str) -> Result<Self, TileError> {
        TilePath::parse(path)
    }
}

/// Number of hashes on tile level `level` of a tree of `size` leaves.
fn level_len(level: u8, size: u64) -> u64 {
    size.checked_shr(u32::from(level) * u32::from(TILE_HEIGHT)).unwrap_or(0)
}

/// Width of the tile at `index` on tile level `level` in a tree of `size` leaves; 0 when there is none.
pub fn width_for(level: u8, index: u64, size: u64) -> u16 {
    let Some(before) = index.checked_mul(u64::from(TILE_WIDTH)) else { return 0 };
    level_len(level, size).saturating_sub(before).min(u64::from(TILE_WIDTH)) as u16
}

/// Every hash tile of a tree of `size` leaves, level by level from the leaves, left to right.
pub fn hash_tiles(size: u64) -> impl Iterator<Item = TilePath> {
    (0..=7).flat_map(move |level| tiles_of(TileKind::Hashes(level), level, size))
}

/// Every entry bundle of a log of `size` entries, left to right.
pub fn entry_tiles(size: u64) -> impl Iterator<Item = TilePath> {
    tiles_of(TileKind::Entries, 0, size)
}

fn tiles_of(kind: TileKind, level: u8, size: u64) -> impl Iterator<Item = TilePath> {
    let count = level_len(level, size).div_ceil(u64::from(TILE_WIDTH));
    (0..count).filter_map(move |index| TilePath::new(kind, index, width_for(level, index, size)))
}

// ---------------------------------------------------------------------------------------------------------------
// Contents

/// The bytes of a tile.
pub fn encode_tile(hashes: &[Hash]) -> Vec<u8> {
    hashes.iter().flat_map(|hash| hash.0).collect()
}

/// Reads a tile of `width` hashes.
///
/// # Errors
/// [`TileError::Length`].
pub fn decode_tile(bytes: &[u8], width: u16) -> Result<Vec<Hash>, TileError> {
    let needed = usize::from(width) * 32;
    let (hashes, rest) = bytes.as_chunks::<32>();
    if bytes.len() != needed || !rest.is_empty() {
        return Err(TileError::Length { found: bytes.len(), needed, width });
    }
    Ok(hashes.iter().map(|hash| Hash(*hash)).collect())
}

/// The bytes of an entry bundle.
///
/// # Errors
/// [`TileError::EntryTooLong`], [`TileError::Width`].
pub fn encode_bundle<'a>(entries: impl IntoIterator<Item = &'a [u8]>) -> Result<Vec<u8>, TileError> {
    let mut out = Vec::new();
    let mut found = 0;
    for entry in entries {
        let Ok(len) = u16::try_from(entry.len()) else {
            return Err(TileError::EntryTooLong { found: entry.len() });
        };
        out.extend(len.to_be_bytes());
        out.extend(entry);
        found += 1;
    }
    if !(1..=usize::from(TILE_WIDTH)).contains(&found) {
        return Err(TileError::Width { found });
    }
    Ok(out)
}

/// Reads an entry bundle of `width` entries.
///
/// # Errors
/// [`TileError::BundleShort`], [`TileError::BundleLong`].
pub fn decode_bundle(bytes: &[u8], width: u16) -> Result<Vec<&[u8]>, TileError> {
    let mut rest = bytes;
    let mut entries = Vec::with_capacity(usize::from(width));
    for entry in 0..width {
        let short = TileError::BundleShort { entry, width };
        let Some((len, tail)) = rest.split_first_chunk::<2>() else { return Err(short) };
        let Some((bytes, tail)) = tail.split_at_checked(u16::from_be_bytes(*len).into()) else {
            return Err(short);
        };
        entries.push(bytes);
        rest = tail;
    }
    if !rest.is_empty() {
        return Err(TileError::BundleLong { extra: rest.len(), width });
    }
    Ok(entries)
}

/// Checks the entries of a bundle, of which the first is entry `first` of the log, against the hashes of the level-0
/// tile at the same place.
///
/// # Errors
/// [`TileError::EntryMismatch`] for the first entry that differs; [`TileError::Width`] when the numbers differ.
pub fn check_bundle(first: LeafIndex, entries: &[&[u8]], hashes: &[Hash]) -> Result<(), TileError> {
    if entries.len() != hashes.len() {
        return Err(TileError::Width { found: entries.len() });
    }
    for ((entry, tile), index) in entries.iter().zip(hashes).zip(first.0..) {
        let computed = merkle::leaf_hash(entry);
        if computed != *tile {
            return Err(TileError::EntryMismatch { index: LeafIndex(index), computed, tile: *tile });
        }
    }
    Ok(())
}

/// Root over the hashes of a full tile: what its parent must hold. Over a partial tile it is in no tile.
pub fn tile_root(hashes: &[Hash]) -> Hash {
    merkle::root_of(hashes.iter().copied())
}

/// Checks a full tile against the hash that its parent tile holds for it.
///
/// # Errors
/// [`TileError::ParentMismatch`].
pub fn check_tile(path: TilePath, hashes: &[Hash], parent: &Hash) -> Result<(), TileError> {
    let computed = tile_root(hashes);
    if computed != *parent {
        return Err(TileError::ParentMismatch { path, computed, parent: *parent });
    }
    Ok(())
}

/// Where the hash of a subtree is found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NodePlace {
    /// Level of the tile.
    pub level: u8,
    /// Index of the tile.
    pub index: u64,
    /// First of its hashes below the subtree.
    pub first: u16,
    /// Number of them, 1 to 128, a power of two.
    pub count: u16,
}

impl NodePlace {
    /// The tile, and the hashes in it, from which a subtree's hash is computed.
    pub fn of(id: NodeId) -> NodePlace {
        let within = id.level % TILE_HEIGHT;
        // A subtree of a u64-sized tree: index·2^level < 2^64, so shifting back by less than level loses nothing.
        let first = id.index << within;
        NodePlace {
            level: id.level / TILE_HEIGHT,
            index: first / u64::from(TILE_WIDTH),
            first: (first % u64::from(TILE_WIDTH)) as u16,
            count: 1 << within,
        }
    }

    /// The subtree's hash, from the hashes of its tile, full or partial; `None` when the tile is too narrow.
    pub fn hash(&self, tile: &[Hash]) -> Option<Hash> {
        let (first, count) = (usize::from(self.first), usize::from(self.count));
        Some(merkle::root_of(tile.get(first..first + count)?.iter().copied()))
    }
}

// ---------------------------------------------------------------------------------------------------------------
// Building

/// Makes tiles from leaf hashes, holding the right edge only: at most 8 × 255 hashes.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct TileBuilder {
    size: u64,
    /// The partial tile of each level; never 256 long between calls.
    edge: [Vec<Hash>; 8],
}

impl TileBuilder {
    /// For an empty log.
    pub fn new() -> TileBuilder {
        TileBuilder::default()
    }

    /// Goes on at `size` with the partial tiles of the right edge, which `fetch` brings.
    ///
    /// # Errors
    /// Those of `fetch`, and [`TileError::Length`], as [`AuditError`]; [`TileError::Edge`] for sizes beyond 2^63 - 1.
    pub fn resume<E>(
        size: u64,
        mut fetch: impl FnMut(TilePath) -> Result<Vec<u8>, E>,
    ) -> Result<TileBuilder, AuditError<E>> {
        let mut builder = TileBuilder { size, ..TileBuilder::default() };
        for (level, edge) in (0..).zip(&mut builder.edge) {
            if let Some(path) = edge_tile(level, size) {
                *edge = fetch_tile(path, &mut fetch)?;
            }
        }
        builder.try_frontier().map_err(|error| AuditError::Root(error.into()))?;
        Ok(builder)
    }

    /// Leaves so far.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Appends a leaf by its hash; `full` sees every tile that became full, lowest level first.
    pub fn push(&mut self, leaf: Hash, mut full: impl FnMut(TilePath, &[Hash])) {
        self.size += 1;
        let mut hash = leaf;
        for (level, edge) in (0..).zip(&mut self.edge) {
            edge.push(hash);
            if edge.len() < usize::from(TILE_WIDTH) {
                return;
            }
            let index = level_len(level, self.size) / u64::from(TILE_WIDTH) - 1;
            full(TilePath { kind: TileKind::Hashes(level), index, width: TILE_WIDTH }, edge);
            hash = tile_root(edge);
            edge.clear();
        }
    }

    /// The partial tiles of the right edge, lowest level first.
    pub fn partial(&self) -> impl Iterator<Item = (TilePath, &[Hash])> {
        (0..)
            .zip(&self.edge)
            .filter_map(|(level, edge)| Some((edge_tile(level, self.size)?, edge.as_slice())))
    }

    /// The tree so far.
    pub fn frontier(&self) -> Frontier {
        self.try_frontier().expect("every edge is as long as its byte of the size, which resume has checked")
    }

    fn try_frontier(&self) -> Result<Frontier, ProofError> {
        let mut hashes = Vec::new();
        for edge in self.edge.iter().rev() {
            for id in decompose(0, edge.len() as u64) {
                let first = (id.index as usize) << id.level;
                hashes.push(merkle::root_of(edge[first..first + (1 << id.level)].iter().copied()));
            }
        }
        Frontier::from_parts(self.size, hashes)
    }
}

/// The partial tile on the right edge of a level, if there is one.
fn edge_tile(level: u8, size: u64) -> Option<TilePath> {
    let len = level_len(level, size);
    let width = (len % u64::from(TILE_WIDTH)) as u16;
    TilePath::new(TileKind::Hashes(level), len / u64::from(TILE_WIDTH), width)
}

// ---------------------------------------------------------------------------------------------------------------
// Auditing

/// Why an audit of tiles ended.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
pub enum AuditError<E> {
    /// A tile could not be brought.
    #[error("{path}: {error}")]
    Fetch {
        /// The tile.
        path: TilePath,
        /// What the caller's function said.
        error: E,
    },
    /// A tile was brought and is wrong.
    #[error("{path}: {error}")]
    Tile {
        /// The tile.
        path: TilePath,
        /// What is wrong with it.
        error: TileError,
    },
    /// The right edge does not lead to the root.
    #[error(transparent)]
    Root(TileError),
}

fn fetch_tile<E>(
    path: TilePath,
    fetch: &mut impl FnMut(TilePath) -> Result<Vec<u8>, E>,
) -> Result<Vec<Hash>, AuditError<E>> {
    let bytes = fetch(path).map_err(|error| AuditError::Fetch { path, error })?;
    decode_tile(&bytes, path.width).map_err(|error| AuditError::Tile { path, error })
}

/// Fetches every hash tile of a tree of `size` leaves, once, and checks every hash in it: the right edge against
/// `root`, every full tile against its parent. `leaf` sees the leaf hashes in order, each only after its tile and all
/// tiles above it were found good. Holds at most 16 tiles.
///
/// # Errors
/// [`AuditError`], naming the first tile that is missing or wrong.
pub fn audit_tiles<E>(
    size: u64,
    root: &Hash,
    mut fetch: impl FnMut(TilePath) -> Result<Vec<u8>, E>,
    mut leaf: impl FnMut(LeafIndex, Hash),
) -> Result<(), AuditError<E>> {
    let edge = TileBuilder::resume(size, &mut fetch)?;
    let computed = edge.frontier().root();
    if computed != *root {
        return Err(AuditError::Root(TileError::RootMismatch { size, computed, signed: *root }));
    }
    // The highest level's partial tile covers the first leaves, the next one those after them, and so on.
    for (level, hashes) in (0..8).zip(&edge.edge).rev() {
        let first = level_len(level, size) / u64::from(TILE_WIDTH) * u64::from(TILE_WIDTH);
        descend(level, first, hashes, &mut fetch, &mut leaf)?;
    }
    Ok(())
}

/// Hands on hashes that are known to be good and begin at `first` on their level: leaves to `leaf`, others to the
/// tiles below them.
fn descend<E>(
    level: u8,
    first: u64,
    hashes: &[Hash],
    fetch: &mut impl FnMut(TilePath) -> Result<Vec<u8>, E>,
    leaf: &mut impl FnMut(LeafIndex, Hash),
) -> Result<(), AuditError<E>> {
    for (hash, index) in hashes.iter().zip(first..) {
        let Some(below) = level.checked_sub(1) else {
            leaf(LeafIndex(index), *hash);
            continue;
        };
        let path = TilePath { kind: TileKind::Hashes(below), index, width: TILE_WIDTH };
        let children = fetch_tile(path, fetch)?;
        check_tile(path, &children, hash).map_err(|error| AuditError::Tile { path, error })?;
        descend(below, index * u64::from(TILE_WIDTH), &children, fetch, leaf)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::merkle::{inclusion_plan, leaf_hash, range_plan, root_of, root_plan};
    use proptest::prelude::*;
    use std::collections::HashMap;
    use std::convert::Infallible;

    fn leaf(i: u64) -> Hash {
        leaf_hash(&i.to_be_bytes())
    }

    // Every tile of a log, as files.
    fn build(size: u64) -> (HashMap<TilePath, Vec<u8>>, TileBuilder) {
        let (mut files, mut builder) = (HashMap::new(), TileBuilder::new());
        for i in 0..size {
            builder.push(leaf(i), |path, hashes| {
                assert!(files.insert(path, encode_tile(hashes)).is_none());
            });
        }
        for (path, hashes) in builder.partial() {
            assert!(files.insert(path, encode_tile(hashes)).is_none());
        }
        (files, builder)
    }

    fn root(size: u64) -> Hash {
        root_of((0..size).map(leaf))
    }

    const SIZES: [u64; 13] = [0, 1, 2, 255, 256, 257, 300, 511, 512, 1000, 65_535, 65_536, 70_000];

    #[test]
    fn builds_exactly_the_tiles_that_exist() {
        for size in SIZES {
            let (files, builder) = build(size);
            let mut named: Vec<_> = hash_tiles(size).collect();
            let mut made: Vec<_> = files.keys().copied().collect();
            named.sort();
            made.sort();
            assert_eq!(named, made, "size {size}");
            assert_eq!(builder.frontier().root(), root(size));
            assert_eq!(builder.frontier().size(), size);
            assert!(named.iter().all(|path| path.is_of(size) && path.is_within(size)));
        }
        // The specification's example.
        let (files, _) = build(70_000);
        assert_eq!(files.len(), 273 + 1 + 1 + 1 + 1);
        for path in ["tile/0/272", "tile/0/273.p/112", "tile/1/000", "tile/1/001.p/17", "tile/2/000.p/1"] {
            assert!(files.contains_key(&TilePath::parse(path).unwrap()), "{path}");
        }
    }

    #[test]
    fn hashes_follow_their_definition() {
        let (files, _) = build(70_000);
        for (path, bytes) in &files {
            let TileKind::Hashes(level) = path.kind() else { panic!("an entry bundle") };
            let width = 256u64.pow(level.into());
            for (i, hash) in (path.index() * 256..).zip(decode_tile(bytes, path.width()).unwrap()) {
                // Level 2 and the first tiles of level 0 and 1; all of them would hash the log 70,000 times.
                if level == 2 || i < 300 {
                    assert_eq!(hash, root_of((i * width..(i + 1) * width).map(leaf)));
                }
            }
        }
    }

    #[test]
    fn a_builder_goes_on_where_it_stopped() {
        let nothing = |_| Ok::<_, Infallible>(vec![0; 255 * 32]);
        assert!(matches!(TileBuilder::resume(u64::MAX, nothing), Err(AuditError::Root(TileError::Edge(_)))));
        for size in SIZES {
            let (files, builder) = build(size);
            let again = TileBuilder::resume(size, |path| files.get(&path).cloned().ok_or("missing")).unwrap();
            assert_eq!(again, builder);
        }
    }

    #[test]
    fn an_audit_sees_every_leaf_in_order_and_every_tile_once() {
        for size in SIZES {
            let (files, _) = build(size);
            let mut fetched = Vec::new();
            let mut next = 0;
            audit_tiles(
                size,
                &root(size),
                |path| {
                    fetched.push(path);
                    files.get(&path).cloned().ok_or("missing")
                },
                |index, hash| {
                    assert_eq!((index, hash), (LeafIndex(next), leaf(next)));
                    next += 1;
                },
            )
            .unwrap();
            assert_eq!(next, size);
            fetched.sort();
            let mut all: Vec<_> = files.keys().copied().collect();
            all.sort();
            assert_eq!(fetched, all);
        }
    }

    // CVE-2026-56865: readers that left some full tiles uncompared. Every hash of every tile of a small log; of a log
    // with three levels all upper tiles and a fifth of level 0, the right edge among them.
    #[test]
    fn every_corrupted_tile_is_refused() {
        for path in hash_tiles(1000) {
            (0..path.width()).for_each(|hash| refuse_corrupted(1000, path, hash));
        }
        for path in hash_tiles(70_000)
            .filter(|p| p.kind() != TileKind::Hashes(0) || p.index() % 10 < 2 || p.index() > 253)
        {
            refuse_corrupted(70_000, path, path.width() - 1);
        }
    }

    thread_local!(static LOGS: std::cell::RefCell<HashMap<u64, Log>> = Default::default());
    type Log = std::rc::Rc<(HashMap<TilePath, Vec<u8>>, Vec<Hash>, Hash)>;

    fn refuse_corrupted(size: u64, path: TilePath, hash: u16) {
        let log = LOGS.with_borrow_mut(|logs| {
            let make = || std::rc::Rc::new((build(size).0, (0..size).map(leaf).collect(), root(size)));
            logs.entry(size).or_insert_with(make).clone()
        });
        let (files, leaves, root) = &*log;
        let mut seen_bad = false;
        let result = audit_tiles(
            size,
            root,
            |p| -> Result<_, Infallible> {
                let mut bytes = files[&p].clone();
                if p == path {
                    bytes[usize::from(hash) * 32 + 5] ^= 0x10;
                }
                Ok(bytes)
            },
            |index, hash| seen_bad |= hash != leaves[index.0 as usize],
        );
        match result {
            Err(AuditError::Tile { path: named, error: TileError::ParentMismatch { .. } }) => {
                assert_eq!(named, path);
                assert!(!path.is_partial());
            }
            Err(AuditError::Root(TileError::RootMismatch { .. })) => assert!(path.is_partial()),
            other => panic!("{path} hash {hash}: {other:?}"),
        }
        assert!(!seen_bad, "a leaf of {path} was handed on before it was checked");
    }

    #[test]
    fn an_audit_names_the_tile_that_is_short_or_missing() {
        let size = 70_000;
        let (files, _) = build(size);
        let root = root(size);
        let short = |p: TilePath| Ok::<_, Infallible>(files[&p][1..].to_vec());
        assert!(matches!(
            audit_tiles(size, &root, short, |_, _| ()),
            Err(AuditError::Tile { error: TileError::Length { .. }, .. })
        ));
        let gone = |p: TilePath| files.get(&p).filter(|_| p.index() != 5).cloned().ok_or("not found");
        let error = audit_tiles(size, &root, gone, |_, _| ()).unwrap_err();
        assert_eq!(error.to_string(), "tile/0/005: not found");
    }

    #[test]
    fn proofs_from_tiles() {
        let size = 70_000;
        let (files, _) = build(size);
        let fetch = |id: NodeId| {
            let place = NodePlace::of(id);
            let width = width_for(place.level, place.index, size);
            let path = TilePath::new(TileKind::Hashes(place.level), place.index, width).ok_or("no tile")?;
            place.hash(&decode_tile(&files[&path], width).unwrap()).ok_or("too narrow")
        };
        assert_eq!(root_plan(size).assemble(fetch).unwrap(), [root(size)]);
        for index in [0, 1, 255, 256, 65_535, 65_536, 69_887, 69_888, 69_999] {
            let proof = inclusion_plan(LeafIndex(index), size).unwrap().assemble(fetch).unwrap();
            merkle::check_inclusion(leaf(index), LeafIndex(index), size, &root(size), &proof).unwrap();
        }
        let proof = range_plan(1000, 1300, size).unwrap().assemble(fetch).unwrap();
        let mut verifier = merkle::RangeVerifier::new(1000, &proof.left).unwrap();
        (1000..1300).for_each(|i| verifier.push(leaf(i)));
        verifier.finish_at(1300, size, &proof.right, &root(size)).unwrap();
    }

    #[test]
    fn bundles() {
        let entries: Vec<Vec<u8>> = vec![vec![], b"one".to_vec(), vec![7; MAX_ENTRY]];
        let slices: Vec<&[u8]> = entries.iter().map(Vec::as_slice).collect();
        let bytes = encode_bundle(slices.iter().copied()).unwrap();
        assert_eq!(&bytes[..7], [0, 0, 0, 3, b'o', b'n', b'e']);
        assert_eq!(decode_bundle(&bytes, 3).unwrap(), slices);
        assert!(matches!(decode_bundle(&bytes, 4), Err(TileError::BundleShort { entry: 3, .. })));
        assert!(matches!(decode_bundle(&bytes, 2), Err(TileError::BundleLong { .. })));
        for cut in [0, 1, 2, 3, 6, 8, bytes.len() - 1] {
            assert!(matches!(decode_bundle(&bytes[..cut], 3), Err(TileError::BundleShort { .. })), "{cut}");
        }
        assert!(matches!(
            encode_bundle([[0; MAX_ENTRY + 1].as_slice()]),
            Err(TileError::EntryTooLong { .. })
        ));
        assert!(matches!(encode_bundle([]), Err(TileError::Width { found: 0 })));
        assert!(matches!(encode_bundle([b"".as_slice(); 257]), Err(TileError::Width { found: 257 })));

        let mut hashes: Vec<_> = slices.iter().map(|e| leaf_hash(e)).collect();
        check_bundle(LeafIndex(256), &slices, &hashes).unwrap();
        assert!(check_bundle(LeafIndex(256), &slices[..2], &hashes).is_err());
        hashes[1].0[0] ^= 1;
        assert!(matches!(
            check_bundle(LeafIndex(256), &slices, &hashes),
            Err(TileError::EntryMismatch { index: LeafIndex(257), .. })
        ));
    }

    #[test]
    fn widths_at_the_edges_of_numbers() {
        assert_eq!(width_for(0, 0, 0), 0);
        assert_eq!(width_for(0, u64::MAX, u64::MAX), 0);
        assert_eq!(width_for(0, u64::MAX >> 8, u64::MAX), 255);
        assert_eq!(width_for(7, 0, u64::MAX), 255);
        assert_eq!(width_for(8, 0, u64::MAX), 0);
        assert_eq!(width_for(63, 0, u64::MAX), 0);
        assert_eq!(TilePath::new(TileKind::Entries, 0, 0), None);
        assert_eq!(TilePath::new(TileKind::Entries, 0, 257), None);
        assert_eq!(TilePath::new(TileKind::Hashes(64), 0, 1), None);
        // A partial tile stays servable when its tile has filled up; it is then not the one to ask for.
        let old = TilePath::parse("tile/0/000.p/44").unwrap();
        assert!(old.is_within(300) && !old.is_of(300) && old.is_of(44) && !old.is_within(43));
        assert!(old.full().is_of(300));
    }

    proptest! {
        #[test]
        fn paths_read_back(level in 0..=64u8, index: u64, shift in 0..64u32, width in 1..=256u16) {
            let kind = if level == 64 { TileKind::Entries } else { TileKind::Hashes(level) };
            let path = TilePath::new(kind, index >> shift, width).unwrap();
            prop_assert_eq!(TilePath::parse(&path.to_string()).unwrap(), path);
        }

        #[test]
        fn what_is_read_is_written_the_same(index: u64, shift in 0..64u32, at: usize, new in "[x0-9/.p]{0,2}") {
            let mut text = TilePath::new(TileKind::Hashes(7), index >> shift, 44).unwrap().to_string();
            let at = at % text.len();
            text.replace_range(at..=at, &new);
            if let Ok(path) = TilePath::parse(&text) {
                prop_assert_eq!(path.to_string(), text);
            }
        }

        #[test]
        fn bundles_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..600), width in 0..=256u16) {
            if let Ok(entries) = decode_bundle(&bytes, width)
                && width > 0
            {
                prop_assert_eq!(encode_bundle(entries).unwrap(), bytes);
            }
        }
    }
}
