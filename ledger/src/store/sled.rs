//! The store in sled 0.34, which is trusted with nothing (docs/decisions/why-sled-never-stands-alone.md).
//!
//! | tree | rows |
//! |---|---|
//! | `log` | bundles, tiles, tail rows, cosigned checkpoints, polls by time, and under the empty key how far it got: one tree, so that one batch of sled's is atomic over all of them |
//! | `content` | content by digest; put before the batch that refers to it |
//! | `projections` | what projections keep |
//! | `meta` | `schema`: the version of all this, u32 |
//!
//! Each value ends in BLAKE3 over its tree, key and bytes: sled's own CRC covers pages on disk, not what a bug makes
//! of them. sled panics on some damaged files where it should return an error, so every call is fenced.

use super::{Applied, Changes, Row, SCHEMA, Store, StoreError};
use crate::head::Head;
use isoledger_core::{Hash, Timestamp};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::time::Duration;

/// sled's page cache. Small: what is served often is in the caches of whoever asks.
const CACHE_BYTES: u64 = 32 << 20;
/// Opening reads sled's whole log at worst; one that takes longer than this is taken for hung.
const OPEN_DEADLINE: Duration = Duration::from_secs(600);

/// Rows in a sled database.
pub struct SledStore {
    path: PathBuf,
    trees: Option<Trees>,
}

struct Trees {
    db: ::sled::Db,
    log: ::sled::Tree,
    content: ::sled::Tree,
    projections: ::sled::Tree,
}

const APPLIED: &[u8] = b"";
const SCHEMA_KEY: &[u8] = b"schema";

impl SledStore {
    /// Opens the database in `path`, or makes an empty one.
    ///
    /// # Errors
    /// [`StoreError::Newer`]; [`StoreError::Engine`] for whatever sled says, when it panics, and when the schema is
    /// older than ours: the caller sets the directory aside and rebuilds.
    pub fn open(path: &Path) -> Result<SledStore, StoreError> {
        // On a thread of its own: a panic there is a value here, and a hang has an end.
        let (send, receive) = mpsc::channel();
        let dir = path.to_owned();
        let engine = |cause: String| StoreError::Engine { path: path.to_owned(), doing: "open", cause };
        std::thread::Builder::new()
            .name("index-open".into())
            .spawn(move || {
                let opened = catch_unwind(AssertUnwindSafe(|| open_trees(&dir)));
                // The receiver is gone only after the deadline; then the database is dropped here.
                let _ = send.send(opened);
            })
            .map_err(|e| engine(e.to_string()))?;
        let opened = receive
            .recv_timeout(OPEN_DEADLINE)
            .map_err(|_| engine(format!("no answer within {} s", OPEN_DEADLINE.as_secs())))?;
        let (trees, schema, fresh) = match opened {
            Ok(Ok(found)) => found,
            Ok(Err(e)) => return Err(engine(e.to_string())),
            Err(panic) => return Err(engine(panic_text(&*panic))),
        };
        let store = SledStore { path: path.to_owned(), trees: Some(trees) };
        match schema {
            Some(SCHEMA) => Ok(store),
            Some(found) if found > SCHEMA => Err(StoreError::Newer { path: path.to_owned(), found }),
            None if fresh => {
                store.fenced("write", |t| {
                    t.db.open_tree("meta")?.insert(SCHEMA_KEY, &SCHEMA.to_be_bytes())?;
                    Ok(())
                })?;
                Ok(store)
            }
            Some(found) => Err(engine(format!("it has schema {found}, older than {SCHEMA}"))),
            None => Err(engine("it has data and no schema".into())),
        }
    }

    /// Runs something on sled; errors and panics become [`StoreError::Engine`].
    fn fenced<T>(
        &self,
        doing: &'static str,
        f: impl FnOnce(&Trees) -> ::sled::Result<T>,
    ) -> Result<T, StoreError> {
        let engine = |cause| StoreError::Engine { path: self.path.clone(), doing, cause };
        let trees = self.trees.as_ref().expect("the trees are taken in drop only");
        match catch_unwind(AssertUnwindSafe(|| f(trees))) {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(e)) => Err(engine(e.to_string())),
            Err(panic) => Err(engine(panic_text(&*panic))),
        }
    }
}

impl Drop for SledStore {
    fn drop(&mut self) {
        // sled flushes when it is dropped, and panics when it cannot.
        let trees = self.trees.take();
        let _ = catch_unwind(AssertUnwindSafe(|| drop(trees)));
    }
}

type Opened = (Trees, Option<u32>, bool);

fn open_trees(path: &Path) -> ::sled::Result<Opened> {
    let db =
        ::sled::Config::new().path(path).cache_capacity(CACHE_BYTES).mode(::sled::Mode::LowSpace).open()?;
    let meta = db.open_tree("meta")?;
    let (log, content) = (db.open_tree("log")?, db.open_tree("content")?);
    let projections = db.open_tree("projections")?;
    let schema = meta.get(SCHEMA_KEY)?.and_then(|v| Some(u32::from_be_bytes(v.as_ref().try_into().ok()?)));
    let fresh = schema.is_none() && log.is_empty() && content.is_empty();
    Ok((Trees { db, log, content, projections }, schema, fresh))
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str).or(panic.downcast_ref::<&str>().copied());
    format!("sled panicked: {}", text.unwrap_or("without words"))
}

/// The value with its sum behind it.
fn seal(key: &[u8], value: &[u8]) -> Vec<u8> {
    [value, &sum(key, value)].concat()
}

fn sum(key: &[u8], value: &[u8]) -> [u8; 32] {
    let mut h = blake3::Hasher::new();
    h.update(&(key.len() as u64).to_be_bytes());
    h.update(key);
    h.update(value);
    *h.finalize().as_bytes()
}

fn open_value<'a>(key: &[u8], sealed: &'a [u8]) -> Option<&'a [u8]> {
    let (value, found) = sealed.split_last_chunk::<32>()?;
    (sum(key, value) == *found).then_some(value)
}

fn poll_key(ended: Timestamp, seq: u64) -> Vec<u8> {
    [&b"q"[..], &ended.millis().to_be_bytes(), &seq.to_be_bytes()].concat()
}

fn tree_of<'t>(t: &'t Trees, row: &Row) -> &'t ::sled::Tree {
    match row {
        Row::Content(_) => &t.content,
        Row::Projection(_) => &t.projections,
        _ => &t.log,
    }
}

impl Store for SledStore {
    fn applied(&self) -> Result<Applied, StoreError> {
        let Some(value) = self.fenced("read", |t| t.log.get(APPLIED))? else { return Ok(Applied::NOTHING) };
        let decode = |v: &[u8]| {
            let v: &[u8; 48] = open_value(APPLIED, v)?.try_into().ok()?;
            let num = |at: usize| Some(u64::from_be_bytes(v[at..at + 8].try_into().ok()?));
            let root = Hash(v[16..].try_into().ok()?);
            Some(Applied { frames: num(0)?, head: Head { size: num(8)?, root } })
        };
        decode(&value).ok_or_else(|| StoreError::Engine {
            path: self.path.clone(),
            doing: "read",
            cause: "the row that says how far it got is damaged".into(),
        })
    }

    fn apply(&self, changes: &Changes) -> Result<(), StoreError> {
        let at = self.applied()?;
        if changes.from != at {
            return Err(StoreError::OutOfOrder { from: Box::new(changes.from), at: Box::new(at) });
        }
        self.fenced("apply", |t| {
            let mut batch = ::sled::Batch::default();
            for (row, value) in &changes.rows {
                let key = row.key();
                match value {
                    Some(v) if matches!(row, Row::Content(_)) => {
                        // Its own tree, first: content that nothing refers to is harmless, the reverse is not.
                        t.content.insert(&key, seal(&key, v))?;
                    }
                    Some(v) => batch.insert(key.as_slice(), seal(&key, v)),
                    None => batch.remove(key.as_slice()),
                }
            }
            for (ended, seq) in &changes.polls {
                batch.insert(poll_key(*ended, *seq), &[]);
            }
            let head = changes.to.head;
            let applied =
                [&changes.to.frames.to_be_bytes()[..], &head.size.to_be_bytes(), &head.root.0].concat();
            batch.insert(APPLIED, seal(APPLIED, &applied));
            t.log.apply_batch(batch)
        })
    }

    fn get(&self, row: &Row) -> Result<Option<Vec<u8>>, StoreError> {
        let key = row.key();
        match self.fenced("read", |t| tree_of(t, row).get(&key))? {
            None => Ok(None),
            Some(sealed) => match open_value(&key, &sealed) {
                Some(value) => Ok(Some(value.to_vec())),
                None => Err(StoreError::Damaged { path: self.path.clone(), row: row.clone() }),
            },
        }
    }

    fn has(&self, row: &Row) -> Result<bool, StoreError> {
        self.fenced("read", |t| tree_of(t, row).contains_key(row.key()))
    }

    fn put(&self, row: &Row, value: &[u8]) -> Result<(), StoreError> {
        let key = row.key();
        self.fenced("write", |t| tree_of(t, row).insert(&key, seal(&key, value)).map(drop))
    }

    fn last_poll_ended_by(&self, time: Timestamp) -> Result<Option<u64>, StoreError> {
        let found = self.fenced("read", |t| {
            t.log.range(poll_key(Timestamp::default(), 0)..=poll_key(time, u64::MAX)).next_back().transpose()
        })?;
        let seq = |key: ::sled::IVec| Some(u64::from_be_bytes(*key.last_chunk()?));
        Ok(found.and_then(|(key, _)| seq(key)))
    }
}
