//! The public log read as a stranger reads it: the files of an export, or whatever serves the same paths.
//!
//! # In scope
//! - [`Fetch`]: bringing one file. [`Directory`] brings those of an export; whoever has a network brings the rest.
//! - [`PublicLog`]: a [`ReadLog`] over such files, so that the same audit runs over it.
//!
//! # Out of scope
//! Openings and content: they are not public. Old partial tiles, which an export that grew leaves behind and nobody
//! asks for again.
//!
//! # Trust
//! Nothing here is checked against the tree: bundles and tiles are given as they were brought, so that an audit can say
//! *which* entry is wrong instead of which file. Only [`check_log`](crate::audit::check_log) may ask.

use crate::batch::{MAX_NOTE, MAX_SIGNATURE_LINE, Stored};
use crate::edge::{WIDTH, is_cosigned};
use crate::facts::Facts;
use crate::head::Head;
use crate::read::{Published, ReadError, ReadLog};
use isoledger_core::checkpoint::{CheckpointError, SignedCheckpoint};
use isoledger_core::note::VerifierKey;
use isoledger_core::record::{Body, MAX_ENTRY, Record};
use isoledger_core::tiles::{TileError, TileKind, TilePath, decode_bundle, decode_tile, width_for};
use isoledger_core::{Digest, Hash, Timestamp};
use std::fmt;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

/// The longest file of a public log: a bundle of the longest entries or signature lines.
pub const MAX_FILE: usize =
    WIDTH as usize * (2 + if MAX_ENTRY > MAX_SIGNATURE_LINE { MAX_ENTRY } else { MAX_SIGNATURE_LINE });

/// Brings the files of a public log.
pub trait Fetch {
    /// The file of this path below the log's root, of at most `max` bytes; `None` when there is none.
    ///
    /// # Errors
    /// Why it could not be brought, as a sentence's end.
    fn fetch(&self, path: &str, max: usize) -> Result<Option<Vec<u8>>, FetchError>;
}

/// Why a file was not brought.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// Longer than any such file can be.
    #[error("it is longer than {max} bytes, which no such file of a log is")]
    TooLong {
        /// Allowed.
        max: usize,
    },
    /// The operating system refused.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The server did not answer as one that has the file or has it not.
    #[error("the server: {said}")]
    Server {
        /// What happened, in whole words.
        said: String,
    },
}

/// The files of an export.
#[derive(Clone, Debug)]
pub struct Directory(pub PathBuf);

impl Directory {
    /// Whether a directory looks like an export: a checkpoint, and nothing of a data directory.
    pub fn is_export(dir: &Path) -> bool {
        let data = [crate::layout::journal(dir), crate::layout::high_water(dir)];
        dir.join("checkpoint").is_file() && !data.iter().any(|path| path.exists())
    }
}

impl Fetch for Directory {
    fn fetch(&self, path: &str, max: usize) -> Result<Option<Vec<u8>>, FetchError> {
        let file = match File::open(self.0.join(path)) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            file => file?,
        };
        let mut bytes = Vec::new();
        file.take(max as u64 + 1).read_to_end(&mut bytes)?;
        if bytes.len() > max {
            return Err(FetchError::TooLong { max });
        }
        Ok(Some(bytes))
    }
}

/// What is wrong with a file of the public log.
#[derive(Debug, thiserror::Error)]
pub enum PublicFault {
    /// The checkpoint says that there is such a file.
    #[error("it is missing")]
    Missing,
    /// It could not be brought.
    #[error(transparent)]
    Fetch(#[from] FetchError),
    /// It is no tile or bundle of that place.
    #[error(transparent)]
    Tile(#[from] TileError),
    /// It is no checkpoint.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// It is the checkpoint of an empty tree.
    #[error("it is of an empty log, of which there is nothing to say")]
    Empty,
}

/// A public log.
pub struct PublicLog<F> {
    fetch: F,
    published: Published,
    /// Whether signature bundles are there. They are no part of C2SP tlog-tiles.
    signed: bool,
    keys: OnceLock<Vec<(u64, VerifierKey)>>,
    /// The block read last.
    recent: Mutex<Option<(u64, Vec<Arc<Stored>>)>>,
}

impl<F> fmt::Debug for PublicLog<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PublicLog").field("head", &self.published.head).finish_non_exhaustive()
    }
}

impl<F: Fetch> PublicLog<F> {
    /// Reads the checkpoint and nothing else. It is not believed yet: whose it is shows when the entries are read.
    ///
    /// # Errors
    /// [`ReadError::Public`].
    pub fn open(fetch: F) -> Result<PublicLog<F>, ReadError> {
        let path = "checkpoint";
        let fault = |fault: PublicFault| ReadError::Public {
            path: path.to_owned(),
            seq: None,
            fault: Box::new(fault),
        };
        let note = fetch.fetch(path, MAX_NOTE).map_err(|e| fault(e.into()))?;
        let note = note.ok_or_else(|| fault(PublicFault::Missing))?;
        let checkpoint = SignedCheckpoint::parse(&note).map_err(|e| fault(e.into()))?;
        let head = Head { size: checkpoint.unverified().size, root: checkpoint.unverified().root };
        if head.size == 0 {
            return Err(fault(PublicFault::Empty));
        }
        let published = Published { head, time: Timestamp::default(), checkpoint };
        let mut log =
            PublicLog { fetch, published, signed: true, keys: OnceLock::new(), recent: Mutex::new(None) };
        // An audit names what is wrong with the last entry, if anything is; the time is for others.
        if let Ok(record) = log.record(head.size - 1) {
            log.published.time = record.time;
        }
        Ok(log)
    }

    /// The same without asking for signature bundles, for logs that are served as C2SP tlog-tiles and no more.
    #[must_use]
    pub fn without_signatures(mut self) -> PublicLog<F> {
        self.signed = false;
        self.recent = Mutex::new(None);
        self
    }

    /// Whether the first signature bundle is there.
    ///
    /// # Errors
    /// It could not be asked for.
    pub fn has_signatures(&self) -> Result<bool, ReadError> {
        let path = signatures_of(&self.entry_bundle(0)?);
        match self.fetch.fetch(&path, MAX_FILE) {
            Ok(found) => Ok(found.is_some()),
            Err(e) => Err(ReadError::Public { path, seq: Some(0), fault: Box::new(e.into()) }),
        }
    }

    fn entry_bundle(&self, n: u64) -> Result<TilePath, ReadError> {
        let size = self.published.head.size;
        let path = TilePath::new(TileKind::Entries, n, width_for(0, n, size));
        path.ok_or(ReadError::NoEntry { seq: n.saturating_mul(WIDTH), size })
    }

    fn bring(&self, path: &str, seq: Option<u64>) -> Result<Vec<u8>, ReadError> {
        let fault = |fault| ReadError::Public { path: path.to_owned(), seq, fault: Box::new(fault) };
        match self.fetch.fetch(path, MAX_FILE) {
            Ok(Some(bytes)) => Ok(bytes),
            Ok(None) => Err(fault(PublicFault::Missing)),
            Err(e) => Err(fault(e.into())),
        }
    }
}

/// Where the signature lines of an entry bundle are.
pub fn signatures_of(bundle: &TilePath) -> String {
    bundle.to_string().replacen("tile/entries/", "signatures/", 1)
}

/// The items of a bundle of which the first belongs to entry `first`; damage is named by the entry in which it ends.
fn items<'b>(path: &str, bytes: &'b [u8], (width, first): (u16, u64)) -> Result<Vec<&'b [u8]>, ReadError> {
    decode_bundle(bytes, width).map_err(|e| {
        let seq = match &e {
            TileError::BundleShort { entry, .. } => first + u64::from(*entry),
            _ => first,
        };
        ReadError::Public { path: path.to_owned(), seq: Some(seq), fault: Box::new(e.into()) }
    })
}

impl<F: Fetch> ReadLog for PublicLog<F> {
    fn origin(&self) -> &str {
        &self.published.checkpoint.unverified().origin
    }

    /// As far as the entries can be read; an audit gathers them itself.
    fn keys(&self) -> Vec<(u64, VerifierKey)> {
        let gather = || {
            let mut facts = Facts::default();
            for entry in self.entries(0, self.published.head.size) {
                let Ok((seq, entry)) = entry else { break };
                if facts.absorb(seq, &entry.text).is_err() {
                    break;
                }
            }
            facts.keys
        };
        self.keys.get_or_init(gather).clone()
    }

    fn published(&self) -> Result<Published, ReadError> {
        Ok(self.published.clone())
    }

    fn block(&self, n: u64) -> Result<Vec<Arc<Stored>>, ReadError> {
        let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, block)) = recent.as_ref().filter(|(m, _)| *m == n) {
            return Ok(block.clone());
        }
        let path = self.entry_bundle(n)?;
        let (width, first) = (path.width(), n * WIDTH);
        let name = path.to_string();
        let bytes = self.bring(&name, Some(first))?;
        let texts = items(&name, &bytes, (width, first))?;
        let (name, lines);
        let lines = if self.signed {
            name = signatures_of(&path);
            lines = self.bring(&name, Some(first))?;
            items(&name, &lines, (width, first))?
        } else {
            vec![&[][..]; texts.len()]
        };
        let stored = |(text, line): (&[u8], &[u8])| {
            Arc::new(Stored { text: text.to_vec(), signature: line.to_vec(), opening: None })
        };
        let block: Vec<Arc<Stored>> = texts.into_iter().zip(lines).map(stored).collect();
        *recent = Some((n, block.clone()));
        Ok(block)
    }

    fn tile_hashes(&self, level: u8, n: u64) -> Result<Vec<Hash>, ReadError> {
        let size = self.published.head.size;
        let path = TilePath::new(TileKind::Hashes(level), n, width_for(level, n, size));
        let path = path.ok_or(ReadError::NoTile { path: format!("tile {n} at level {level}"), size })?;
        let name = path.to_string();
        let bytes = self.bring(&name, None)?;
        decode_tile(&bytes, path.width()).map_err(|e| ReadError::Public {
            path: name,
            seq: None,
            fault: Box::new(e.into()),
        })
    }

    fn content(&self, digest: &Digest) -> Result<Vec<u8>, ReadError> {
        Err(ReadError::NoContent { digest: *digest })
    }

    fn seq_at_time(&self, time: Timestamp) -> Result<Option<u64>, ReadError> {
        let mut found = None;
        for entry in self.entries(0, self.published.head.size) {
            let (seq, entry) = entry?;
            let record = Record::parse(&entry.text).map_err(|cause| ReadError::Record { seq, cause })?;
            if let Body::Poll(p) = record.body {
                // Polls follow each other, so none behind one that ended too late can have ended in time.
                if p.ended > time {
                    break;
                }
                found = Some(seq);
            }
        }
        Ok(found)
    }

    fn cosigned(&self, from: u64, to: u64, max: usize) -> Result<Vec<SignedCheckpoint>, ReadError> {
        let checkpoint = &self.published.checkpoint;
        let wanted = max > 0 && (from..=to).contains(&self.published.head.size);
        Ok((wanted && is_cosigned(checkpoint.as_bytes())).then(|| checkpoint.clone()).into_iter().collect())
    }

    fn cosigned_sizes(&self, from: u64, to: u64) -> Result<Vec<u64>, ReadError> {
        Ok(self.cosigned(from, to, 1)?.iter().map(|c| c.unverified().size).collect())
    }
}
