//! The right edge of the log: what is not yet in full tiles and full bundles, and the one function that turns a
//! journal batch into rows of a store. The running service, replay after a crash and a rebuild all go through it.

use crate::batch::{Batch, Packed, Stored};
use crate::bundle;
use crate::head::Head;
use crate::store::{Applied, Changes, Row, Store, StoreError};
use isoledger_core::merkle::{Frontier, NodeId, decompose, leaf_hash, root_of};
use isoledger_core::record::{Body, Record};
use isoledger_core::Hash;
use std::sync::Arc;

/// Entries in a full bundle and hashes in a full tile.
pub const WIDTH: u64 = 256;

/// Everything behind the last full bundle and beside the full tiles.
#[derive(Clone, Default)]
pub struct Edge {
    frontier: Frontier,
    frames: u64,
    /// For each tile level, the hashes of the last, not yet full tile.
    levels: Vec<Vec<Hash>>,
    /// The entries behind the last full bundle.
    tail: Vec<Arc<Stored>>,
}

impl Edge {
    /// The edge of the empty log.
    pub fn new() -> Edge {
        Edge::default()
    }

    /// How far it got.
    pub fn applied(&self) -> Applied {
        Applied { head: Head { size: self.frontier.size(), root: self.frontier.root() }, frames: self.frames }
    }

    /// Number of entries.
    pub fn size(&self) -> u64 {
        self.frontier.size()
    }

    /// The entries behind the last full bundle.
    pub fn tail(&self) -> &[Arc<Stored>] {
        &self.tail
    }

    /// The hashes of tile `n` of a tile level when it is the last, not yet full one; `None` when it is another.
    pub fn partial(&self, level: u8, n: u64) -> Option<&[Hash]> {
        let hashes = self.levels.get(level as usize).map_or(&[][..], Vec::as_slice);
        (full_tiles(self.size(), level) == n).then_some(hashes)
    }

    /// Takes in a batch and says which rows follow from it.
    pub fn absorb(&mut self, batch: &Batch) -> Changes {
        let mut changes = Changes::from(self.applied());
        for (contents, entry) in &batch.entries {
            let seq = self.size();
            for packed in contents {
                changes.put(Row::Content(packed.digest), packed.to_value());
            }
            // Only polls are found by time, by when they ended; a malformed entry cannot come this far.
            if let Ok(Record { body: Body::Poll(p), .. }) = Record::parse(&entry.text) {
                changes.poll(p.ended, seq);
            }
            changes.put(Row::Tail(seq), bundle::encode_one(entry));
            self.tail.push(entry.clone());
            if self.tail.len() as u64 == WIDTH {
                let first = seq + 1 - WIDTH;
                let block = first / WIDTH;
                changes.put(Row::Entries(block), bundle::compress(&bundle::entries(&self.tail)));
                changes.put(Row::Signatures(block), bundle::compress(&bundle::signatures(&self.tail)));
                changes.put(Row::Openings(block), bundle::openings(&self.tail));
                (first..=seq).for_each(|s| changes.remove(Row::Tail(s)));
                self.tail.clear();
            }
            self.push_leaf(leaf_hash(&entry.text), |level, n, tile| {
                changes.put(Row::Tile(level, n), tile.iter().flat_map(|h| h.0).collect());
            });
        }
        for (size, note) in &batch.checkpoints {
            if is_cosigned(note) {
                changes.put(Row::Cosigned(*size), note.clone());
            }
        }
        self.frames += batch.frames();
        changes.finish(self.applied());
        changes
    }

    fn push_leaf(&mut self, leaf: Hash, mut full: impl FnMut(u8, u64, &[Hash])) {
        let levels = &mut self.levels;
        self.frontier.append_with(leaf, |node, hash| {
            if node.level % 8 != 0 {
                return;
            }
            let level = (node.level / 8) as usize;
            if levels.len() <= level {
                levels.resize(level + 1, Vec::new());
            }
            levels[level].push(hash);
            if levels[level].len() as u64 == WIDTH {
                full(level as u8, node.index / WIDTH, &levels[level]);
                levels[level].clear();
            }
        });
    }

    /// Rebuilds the edge at the point a store has got to, from its rows; `None` when they do not lead to the root the
    /// store claims.
    pub fn load(store: &dyn Store, at: Applied) -> Result<Option<Edge>, StoreError> {
        let size = at.head.size;
        let mut edge = Edge { frames: at.frames, ..Edge::default() };
        for seq in size - size % WIDTH..size {
            let Some(entry) = store.get(&Row::Tail(seq))?.and_then(|v| bundle::decode_one(&v)) else {
                return Ok(None);
            };
            edge.tail.push(Arc::new(entry));
        }
        edge.levels.push(edge.tail.iter().map(|e| leaf_hash(&e.text)).collect());
        for level in 1..8u8 {
            let count = full_tiles(size, level - 1);
            if count == 0 {
                break;
            }
            let mut hashes = Vec::new();
            for n in count - count % WIDTH..count {
                let Some(tile) = store.get(&Row::Tile(level - 1, n))?.and_then(|v| tile_hashes(&v)) else {
                    return Ok(None);
                };
                hashes.push(root_of(tile));
            }
            edge.levels.push(hashes);
        }
        let mut peaks = Vec::new();
        for node in decompose(0, size) {
            match edge.node(node) {
                Some(hash) => peaks.push(hash),
                None => return Ok(None),
            }
        }
        let Ok(frontier) = Frontier::from_parts(size, peaks) else { return Ok(None) };
        edge.frontier = frontier;
        Ok((edge.applied() == at).then_some(edge))
    }

    /// The hash of a complete subtree that lies within a not yet full tile.
    fn node(&self, node: NodeId) -> Option<Hash> {
        let (level, up) = (node.level / 8, node.level % 8);
        let from = (node.index << up) % WIDTH;
        let hashes = self.levels.get(level as usize)?.get(from as usize..(from + (1 << up)) as usize)?;
        Some(root_of(hashes.iter().copied()))
    }
}

/// Number of full tiles of a tile level in a tree of `size`.
pub fn full_tiles(size: u64, level: u8) -> u64 {
    // 256^(level+1) leaves under each.
    size.checked_shr(8 * (u32::from(level) + 1)).unwrap_or(0)
}

/// The 256 hashes of a full tile.
pub fn tile_hashes(bytes: &[u8]) -> Option<Vec<Hash>> {
    let (chunks, rest) = bytes.as_chunks::<32>();
    (rest.is_empty() && chunks.len() as u64 == WIDTH).then(|| chunks.iter().map(|c| Hash(*c)).collect())
}

/// Whether a checkpoint note has more signature lines than the log's own.
pub fn is_cosigned(note: &[u8]) -> bool {
    note.split(|b| *b == b'\n').filter(|line| line.starts_with("\u{2014} ".as_bytes())).count() > 1
}

/// Content of a store row, as it was packed.
pub(crate) fn content_row(packed: &Packed) -> (Row, Vec<u8>) {
    (Row::Content(packed.digest), packed.to_value())
}
