//! A store in memory that complains: it refuses what no correct caller does, so that tests on it find such callers.

use super::{Applied, Changes, Row, Store, StoreError};
use crate::edge::{WIDTH, full_tiles};
use isoledger_core::Timestamp;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Rows in memory, with opinions.
///
/// - changes out of order, or after a failed apply: [`StoreError::OutOfOrder`], [`StoreError::Misuse`];
/// - reading a bundle, tile or tail row that was never applied: [`StoreError::Misuse`] instead of `None`;
/// - removing a row that is not there, putting another value into a row that never changes: [`StoreError::Misuse`].
#[derive(Default)]
pub struct MemoryStore {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    applied: Option<Applied>,
    rows: BTreeMap<Row, Vec<u8>>,
    polls: BTreeSet<(Timestamp, u64)>,
    /// How many more applies succeed; `None` for all.
    budget: Option<u64>,
    failed: bool,
}

impl MemoryStore {
    /// An empty store.
    pub fn new() -> MemoryStore {
        MemoryStore::default()
    }

    /// Lets `n` more applies succeed and the one after fail, once; the store must then not be applied to again.
    pub fn fail_after(&self, n: u64) {
        self.lock().budget = Some(n);
    }

    /// Whether an apply has failed.
    pub fn failed(&self) -> bool {
        self.lock().failed
    }

    /// Another store with the same rows, as a process that is started again finds it.
    pub fn reopened(&self) -> MemoryStore {
        let s = self.lock();
        MemoryStore {
            state: Mutex::new(State {
                applied: s.applied,
                rows: s.rows.clone(),
                polls: s.polls.clone(),
                budget: None,
                failed: false,
            }),
        }
    }

    /// Overwrites a value, for tests of what happens then.
    pub fn damage(&self, row: &Row, value: Vec<u8>) {
        self.lock().rows.insert(row.clone(), value);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn misuse<T>(what: String) -> Result<T, StoreError> {
    Err(StoreError::Misuse(what))
}

impl Store for MemoryStore {
    fn applied(&self) -> Result<Applied, StoreError> {
        Ok(self.lock().applied.unwrap_or(Applied::NOTHING))
    }

    fn apply(&self, changes: &Changes) -> Result<(), StoreError> {
        let mut s = self.lock();
        if s.failed {
            return misuse("changes were applied after an apply had failed".into());
        }
        let at = s.applied.unwrap_or(Applied::NOTHING);
        if changes.from != at {
            return Err(StoreError::OutOfOrder { from: Box::new(changes.from), at: Box::new(at) });
        }
        if changes.to.frames <= at.frames || changes.to.head.size < at.head.size {
            return misuse(format!("changes lead from {at:?} back to {:?}", changes.to));
        }
        match &mut s.budget {
            Some(0) => {
                s.failed = true;
                return Err(StoreError::Engine {
                    path: "memory".into(),
                    doing: "apply",
                    cause: "it was told to fail".into(),
                });
            }
            Some(n) => *n -= 1,
            None => {}
        }
        for (row, value) in &changes.rows {
            match value {
                Some(value) => {
                    let old = s.rows.insert(row.clone(), value.clone());
                    let fixed = !matches!(row, Row::Cosigned(_) | Row::Projection(_));
                    if fixed && old.is_some_and(|old| old != *value) {
                        return misuse(format!("{row:?} was put twice with different values"));
                    }
                }
                None if s.rows.remove(row).is_none() => {
                    return misuse(format!("{row:?} was removed and is not there"));
                }
                None => {}
            }
        }
        s.polls.extend(&changes.polls);
        s.applied = Some(changes.to);
        Ok(())
    }

    fn get(&self, row: &Row) -> Result<Option<Vec<u8>>, StoreError> {
        let s = self.lock();
        let size = s.applied.map_or(0, |a| a.head.size);
        let applied = match row {
            Row::Entries(n) | Row::Signatures(n) | Row::Openings(n) => *n < size / WIDTH,
            Row::Tile(level, n) => *n < full_tiles(size, *level),
            Row::Tail(seq) => *seq < size && *seq >= size - size % WIDTH,
            Row::Cosigned(_) | Row::Content(_) | Row::Projection(_) => true,
        };
        if !applied {
            return misuse(format!("{row:?} was read at size {size}, where it cannot be"));
        }
        Ok(s.rows.get(row).cloned())
    }

    fn has(&self, row: &Row) -> Result<bool, StoreError> {
        Ok(self.lock().rows.contains_key(row))
    }

    fn put(&self, row: &Row, value: &[u8]) -> Result<(), StoreError> {
        self.lock().rows.insert(row.clone(), value.to_vec());
        Ok(())
    }

    fn last_poll_ended_by(&self, time: Timestamp) -> Result<Option<u64>, StoreError> {
        Ok(self.lock().polls.range(..=(time, u64::MAX)).next_back().map(|(_, seq)| *seq))
    }
}
