//! The right edge of the log: what is not yet in full tiles and full bundles, and the one function that turns a
//! journal batch into rows of a store. The running service, replay after a crash and a rebuild all go through it.

use crate::batch::{Batch, Stored};
use crate::bundle;
use crate::head::Head;
use crate::store::{Applied, Changes, Row, Store, StoreError};
use isoledger_core::Hash;
use isoledger_core::merkle::{Frontier, leaf_hash};
use isoledger_core::record::{Body, Record};
use isoledger_core::tiles::{
    AuditError, TileBuilder, TileKind, TilePath, decode_tile, encode_tile, tile_root,
};
use std::sync::Arc;

/// Entries in a full bundle and hashes in a full tile.
pub const WIDTH: u64 = 256;

/// Everything behind the last full bundle and beside the full tiles.
#[derive(Clone, Default)]
pub struct Edge {
    /// The same tree as `tiles`, for its root without folding every partial tile again.
    frontier: Frontier,
    tiles: TileBuilder,
    frames: u64,
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
        let wanted = |path: &TilePath| path.kind() == TileKind::Hashes(level) && path.index() == n;
        self.tiles.partial().find(|(path, _)| wanted(path)).map(|(_, hashes)| hashes)
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
            let leaf = leaf_hash(&entry.text);
            self.frontier.append(leaf);
            self.tiles.push(leaf, |path, hashes| {
                if let TileKind::Hashes(level) = path.kind() {
                    changes.put(Row::Tile(level, path.index()), encode_tile(hashes));
                }
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

    /// Rebuilds the edge at the point a store has got to, from its rows; `None` when they do not lead to the root the
    /// store claims.
    pub fn load(store: &dyn Store, at: Applied) -> Result<Option<Edge>, StoreError> {
        let size = at.head.size;
        let mut tail = Vec::new();
        for seq in size - size % WIDTH..size {
            let Some(entry) = store.get(&Row::Tail(seq))?.and_then(|v| bundle::decode_one(&v)) else {
                return Ok(None);
            };
            tail.push(Arc::new(entry));
        }
        // A partial tile of level 0 is the hashes of the tail; of the others, the roots of the full tiles below.
        let partial = |path: TilePath| -> Result<Vec<u8>, Option<StoreError>> {
            let TileKind::Hashes(level) = path.kind() else { return Err(None) };
            let Some(below) = level.checked_sub(1) else {
                return Ok(tail.iter().flat_map(|e| leaf_hash(&e.text).0).collect());
            };
            let first = path.index() * WIDTH;
            let mut out = Vec::new();
            for n in first..first + u64::from(path.width()) {
                let tile = store.get(&Row::Tile(below, n)).map_err(Some)?;
                out.extend(tile_root(&tile.and_then(|v| tile_hashes(&v)).ok_or(None)?).0);
            }
            Ok(out)
        };
        let tiles = match TileBuilder::resume(size, partial) {
            Ok(tiles) => tiles,
            Err(AuditError::Fetch { error: Some(e), .. }) => return Err(e),
            Err(_) => return Ok(None),
        };
        let edge = Edge { frontier: tiles.frontier(), tiles, frames: at.frames, tail };
        Ok((edge.applied() == at).then_some(edge))
    }
}

/// Number of full tiles of a tile level in a tree of `size`.
pub fn full_tiles(size: u64, level: u8) -> u64 {
    // 256^(level+1) leaves under each.
    size.checked_shr(8 * (u32::from(level) + 1)).unwrap_or(0)
}

/// The 256 hashes of a full tile.
pub fn tile_hashes(bytes: &[u8]) -> Option<Vec<Hash>> {
    decode_tile(bytes, WIDTH as u16).ok()
}

/// Whether a checkpoint note has signature lines of others than the log. The log's own may be two, where it changed its
/// key; they have one name.
pub fn is_cosigned(note: &[u8]) -> bool {
    let lines = note.split(|b| *b == b'\n').filter_map(|line| line.strip_prefix("\u{2014} ".as_bytes()));
    let mut names = lines.filter_map(|line| line.split(|b| *b == b' ').next());
    let first = names.next();
    names.any(|name| Some(name) != first)
}
