//! The store: rows that follow from the journal, laid out for reading. It can be deleted at any time.

mod memory;
mod sled;

pub use self::memory::MemoryStore;
pub use self::sled::SledStore;

use crate::head::Head;
use isoledger_core::{Digest, Timestamp};
use std::collections::BTreeMap;
use std::path::PathBuf;

/// Version of the rows. A store of another version is rebuilt when it is older and refused when it is newer.
pub const SCHEMA: u32 = 1;

/// Name of a row.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Hash)]
pub enum Row {
    /// Entry bundle `n`, full, zstd.
    Entries(u64),
    /// Signature bundle `n`, full, zstd.
    Signatures(u64),
    /// Openings of bundle `n`, full. Confidential.
    Openings(u64),
    /// Full tile `n` of a tile level.
    Tile(u8, u64),
    /// One entry behind the last full bundle, with signature and opening, by `seq`.
    Tail(u64),
    /// A cosigned checkpoint, by size; the newest note for that size.
    Cosigned(u64),
    /// Content by digest, with its length, zstd. Confidential.
    Content(Digest),
    /// What a projection keeps, by its name. Follows from the log, but is not applied with it.
    Projection(String),
}

impl Row {
    /// The name as bytes: a letter for the kind, then numbers big-endian, so that rows sort by number.
    pub fn key(&self) -> Vec<u8> {
        let numbered = |kind: u8, n: &u64| [&[kind][..], &n.to_be_bytes()].concat();
        match self {
            Row::Entries(n) => numbered(b'e', n),
            Row::Signatures(n) => numbered(b's', n),
            Row::Openings(n) => numbered(b'o', n),
            Row::Tile(level, n) => [&[b't', *level][..], &n.to_be_bytes()].concat(),
            Row::Tail(n) => numbered(b'r', n),
            Row::Cosigned(n) => numbered(b'c', n),
            Row::Content(d) => [&b"b"[..], &d.0].concat(),
            Row::Projection(name) => [&b"p"[..], name.as_bytes()].concat(),
        }
    }
}

/// How far a store has got: after which batch.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Applied {
    /// Size and root.
    pub head: Head,
    /// Journal frames.
    pub frames: u64,
}

impl Applied {
    /// Before the first batch.
    pub const NOTHING: Applied = Applied { head: Head::EMPTY, frames: 0 };
}

/// What one or more batches change. Built by [`crate::edge::Edge::absorb`].
#[derive(Clone, Debug)]
pub struct Changes {
    /// Where the store must stand before.
    pub from: Applied,
    /// Where it stands after.
    pub to: Applied,
    /// Values to put, or `None` to remove.
    pub rows: BTreeMap<Row, Option<Vec<u8>>>,
    /// When polls ended, and their `seq`.
    pub polls: Vec<(Timestamp, u64)>,
}

impl Changes {
    pub(crate) fn from(at: Applied) -> Changes {
        Changes { from: at, to: at, rows: BTreeMap::new(), polls: Vec::new() }
    }

    pub(crate) fn put(&mut self, row: Row, value: Vec<u8>) {
        self.rows.insert(row, Some(value));
    }

    /// A row that these very changes put is simply not put.
    pub(crate) fn remove(&mut self, row: Row) {
        match row {
            Row::Tail(seq) if seq >= self.from.head.size => self.rows.remove(&row),
            _ => self.rows.insert(row, None),
        };
    }

    pub(crate) fn poll(&mut self, ended: Timestamp, seq: u64) {
        self.polls.push((ended, seq));
    }

    pub(crate) fn finish(&mut self, to: Applied) {
        self.to = to;
    }

    /// Joins changes that follow directly on these, so that a replay applies many batches at once.
    pub(crate) fn merge(&mut self, next: Changes) {
        assert_eq!(self.to, next.from, "changes were merged out of order");
        for (row, value) in next.rows {
            match value {
                Some(value) => self.put(row, value),
                None => self.remove(row),
            }
        }
        self.polls.extend(next.polls);
        self.to = next.to;
    }
}

/// Why a store cannot do what was asked. Never fatal to the log: the journal has everything.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The engine failed, or panicked.
    #[error("the index in {path} failed to {doing}: {cause}")]
    Engine {
        /// Its directory.
        path: PathBuf,
        /// What was being done.
        doing: &'static str,
        /// Its words.
        cause: String,
    },
    /// A row is not what was put there.
    #[error("the index in {path} returned damaged bytes for {row:?}")]
    Damaged {
        /// Its directory.
        path: PathBuf,
        /// The row.
        row: Row,
    },
    /// A newer program laid it out.
    #[error(
        "the index in {path} has schema {found}; this program knows up to {SCHEMA}. Use the newer isoledger, or move the directory away: it is rebuilt from the journal"
    )]
    Newer {
        /// Its directory.
        path: PathBuf,
        /// Its version.
        found: u32,
    },
    /// Changes that do not follow on what was applied.
    #[error("changes from {from:?} were offered to an index at {at:?}")]
    OutOfOrder {
        /// Where they begin.
        from: Box<Applied>,
        /// Where the store stands.
        at: Box<Applied>,
    },
    /// A caller's mistake that only the checking store sees.
    #[error("the store was misused: {0}")]
    Misuse(String),
}

/// A keeper of rows. Nothing in it is durable by promise: whatever is lost is applied again from the journal.
///
/// One writer calls [`apply`](Store::apply); everybody may read.
pub trait Store: Send + Sync {
    /// How far changes were applied. In memory; survives what the last durable state of the engine survived.
    fn applied(&self) -> Result<Applied, StoreError>;

    /// Applies changes: after a crash either all are there, with [`applied`](Store::applied) moved, or none. Visible
    /// to readers when it returns; **not durable**.
    fn apply(&self, changes: &Changes) -> Result<(), StoreError>;

    /// The value of a row, checked to be what was put; `None` when there is none. Whether it is *true* is the
    /// caller's to check against the tree.
    fn get(&self, row: &Row) -> Result<Option<Vec<u8>>, StoreError>;

    /// Whether there is such a row; its value is not looked at.
    fn has(&self, row: &Row) -> Result<bool, StoreError>;

    /// Puts a row outside the order of the log: a repair from the journal, or a projection. **Not durable.**
    fn put(&self, row: &Row, value: &[u8]) -> Result<(), StoreError>;

    /// `seq` of the last poll that ended at or before `time`.
    fn last_poll_ended_by(&self, time: Timestamp) -> Result<Option<u64>, StoreError>;
}
