//! Copies of a log: made beside its writer, and kept from signing.
//!
//! A copy holds what was acknowledged when it was begun and nothing behind: the journal up to the high-water mark, that
//! mark, and the newest checkpoint. The index is not copied; it follows. Every copy says in a file of one word what it is:
//!
//! ```text
//! backup         made to be restored         nothing is signed here
//! clone          made to be read, and grown  nothing is signed here
//! restored       put back in place           nothing is signed here until the witnesses that are required agree
//! acknowledged   restored, and a person vouched that nobody has seen more: the next writer signs, and says so
//! ```
//!
//! [`CopyMark`] is that word; [`crate::log::Ledger::open`] obeys it. Copies that were made with other tools have no such
//! word, and only a witness notices them.
//!
//! # Order
//! The word is written first, then the journal, then the mark, each durable before the next: an interrupted copy signs
//! nothing, and the same command goes on with it.

use crate::batch::MAX_NOTE;
use crate::disk::{Disk, RealDisk};
use crate::facts::{Facts, FactsError};
use crate::head::Head;
use crate::highwater::{HighWater, HighWaterError, Mark};
use crate::journal::{Cursor, JournalError, Next, Position, segment_path, segments};
use crate::layout;
use crate::read::ReadError;
use crate::reader::{LogReader, lost};
use isoledger_core::Hash;
use isoledger_core::merkle::{Frontier, leaf_hash};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What a directory that holds a copy may be used for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CopyMark {
    /// To be restored.
    Backup,
    /// To be read.
    Clone,
    /// To be continued once it is known that nobody has seen more.
    Restored,
    /// To be continued: a person vouched for it.
    Acknowledged,
    /// A newer program's; nothing may be signed.
    Unknown,
}

impl CopyMark {
    /// The word in the file.
    pub fn word(self) -> &'static str {
        match self {
            CopyMark::Backup => "backup",
            CopyMark::Clone => "clone",
            CopyMark::Restored => "restored",
            CopyMark::Acknowledged => "acknowledged",
            CopyMark::Unknown => "unknown",
        }
    }

    /// What the data directory `dir` is marked as; `None` for a log that is no marked copy.
    pub fn read(disk: &Arc<dyn Disk>, dir: &Path) -> Result<Option<CopyMark>, CopyError> {
        let path = layout::copy(dir);
        let bytes = match layout::read_small(disk, &path, 64) {
            Ok(bytes) => bytes,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            // Longer than any word that is known.
            Err(e) if e.kind() == io::ErrorKind::FileTooLarge => return Ok(Some(CopyMark::Unknown)),
            Err(source) => return Err(CopyError::Io { doing: "read", path, source }),
        };
        let known = [CopyMark::Backup, CopyMark::Clone, CopyMark::Restored, CopyMark::Acknowledged];
        let is = |m: &CopyMark| bytes.strip_suffix(b"\n") == Some(m.word().as_bytes());
        // What cannot be read keeps the log from signing, as does a file that was torn.
        Ok(Some(known.into_iter().find(is).unwrap_or(CopyMark::Unknown)))
    }

    /// Marks the data directory `dir`, durably.
    pub fn write(self, disk: &Arc<dyn Disk>, dir: &Path) -> Result<(), CopyError> {
        let (path, new) = (layout::copy(dir), layout::copy(dir).with_extension("new"));
        let io = |doing| {
            let path = path.clone();
            move |source| CopyError::Io { doing, path, source }
        };
        match disk.remove(&new) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(io("remove the leftover of")(e)),
            _ => {}
        }
        let file = disk.create(&new).map_err(io("create"))?;
        file.write_at(format!("{}\n", self.word()).as_bytes(), 0).map_err(io("write"))?;
        file.sync_data().map_err(io("sync"))?;
        disk.rename(&new, &path).map_err(io("rename"))?;
        disk.sync_dir(dir).map_err(io("sync the directory of"))
    }

    /// Takes the mark away, durably.
    pub fn remove(disk: &Arc<dyn Disk>, dir: &Path) -> Result<(), CopyError> {
        let path = layout::copy(dir);
        let io = |source| CopyError::Io { doing: "remove", path: path.clone(), source };
        disk.remove(&path).map_err(io)?;
        disk.sync_dir(dir).map_err(io)
    }
}

/// Why there is no copy.
#[derive(Debug, thiserror::Error)]
pub enum CopyError {
    /// Something else is there.
    #[error(
        "{path} holds {}; choose an empty or new directory",
        found.map_or("a log that is no copy", |f| match f {
            CopyMark::Backup => "a backup",
            CopyMark::Clone => "a clone",
            CopyMark::Restored | CopyMark::Acknowledged => "a restored log",
            CopyMark::Unknown => "a copy of a kind that this program does not know",
        })
    )]
    Occupied {
        /// The directory.
        path: PathBuf,
        /// What it is marked as.
        found: Option<CopyMark>,
    },
    /// The copy there is of another history.
    #[error(
        "{path} holds a copy of {size} entries with root {theirs}, and the log to copy {}: one of the two is not the log you think. Nothing was changed; keep both, and find out",
        found.map_or("has no such place".to_owned(), |root| format!("has root {root} there"))
    )]
    Fork {
        /// The directory of the copy.
        path: PathBuf,
        /// Its size.
        size: u64,
        /// Its root.
        theirs: Hash,
        /// Root of the log there, if a batch of it ends there.
        found: Option<Hash>,
    },
    /// The journal's root is not the one that was vouched for.
    #[error(
        "the journal in {path} has root {found} at entry {size}, its high-water mark says otherwise: nothing was copied. Audit it"
    )]
    Inconsistent {
        /// The directory.
        path: PathBuf,
        /// Entries.
        size: u64,
        /// Root there.
        found: Hash,
    },
    /// The mark cannot be used.
    #[error(transparent)]
    HighWater(#[from] HighWaterError),
    /// The journal cannot be used.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The entries make no log.
    #[error(transparent)]
    Facts(#[from] FactsError),
    /// What was written does not read back.
    #[error("the copy does not read back: {0}. Remove it and copy again; look at the disk")]
    ReadBack(#[from] ReadError),
    /// The operating system refused.
    #[error("cannot {doing} {path}: {source}")]
    Io {
        /// What was being done.
        doing: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// Its reason.
        source: io::Error,
    },
}

/// What was copied.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Copied {
    /// The log.
    pub origin: String,
    /// Its domain.
    pub domain: String,
    /// Size and root of the copy.
    pub head: Head,
    /// Entries that an earlier copy had already.
    pub kept: u64,
    /// Bytes written.
    pub bytes: u64,
}

/// Copies the log in the data directory `from`, beside whoever writes it, to the data directory `to`: a new or empty one,
/// or one that is marked as the same kind of copy, of the same log, which then grows.
///
/// # Errors
/// [`CopyError`]. Of damage in `from` nothing is copied.
pub fn copy(from: &Path, to: &Path, kind: CopyMark) -> Result<Copied, CopyError> {
    let disk = RealDisk::shared();
    let io = |doing, path: &Path| {
        let path = path.to_owned();
        move |source| CopyError::Io { doing, path, source }
    };
    let found = CopyMark::read(&disk, to)?;
    let holds = [layout::journal(to), layout::high_water(to), layout::index(to)].iter().any(|p| p.exists());
    if found.map_or(holds, |found| found != kind) {
        return Err(CopyError::Occupied { path: to.to_owned(), found });
    }
    // An interrupted copy has no mark yet.
    let earlier = match HighWater::read(&disk, &layout::high_water(to)) {
        Ok(mark) => Some(mark),
        Err(HighWaterError::Missing { .. }) => None,
        Err(e) => return Err(e.into()),
    };
    // The checkpoint before the mark, and the mark before the journal: each is behind the next in a log that grows.
    let note = layout::read_small(&disk, &layout::checkpoint(from), MAX_NOTE).ok();
    let mark = HighWater::read(&disk, &layout::high_water(from))?;
    let (end, facts) = walk(&disk, from, to, mark, earlier)?;

    disk.create_dir(&layout::journal(to)).map_err(io("create", to))?;
    if found.is_none() {
        kind.write(&disk, to)?;
    }
    let mut bytes = 0;
    for segment in segments(&disk, &layout::journal(from))?.into_iter().filter(|s| *s <= end.segment) {
        let limit = (segment == end.segment).then_some(end.offset);
        bytes += grow(&disk, &layout::journal(from), &layout::journal(to), segment, limit)?;
    }
    disk.sync_dir(&layout::journal(to)).map_err(io("sync", to))?;
    match earlier {
        None => drop(HighWater::create(&disk, &layout::high_water(to), mark)?),
        Some(earlier) if earlier.frames < mark.frames => {
            HighWater::open(&disk, &layout::high_water(to))?.raise(mark)?;
        }
        Some(_) => {}
    }
    if let Some(note) = note {
        let path = layout::checkpoint(to);
        layout::overwrite(&disk, &path, &note).map_err(io("write", &path))?;
    }
    disk.sync_dir(to).map_err(io("sync", to))?;
    // Read back whole: every frame, every chain value, the root at the mark.
    let head = LogReader::open(to)?.head();
    let kept = earlier.map_or(0, |e| e.head.size);
    Ok(Copied { origin: facts.origin, domain: facts.domain, head, kept, bytes })
}

/// Reads the journal up to the mark, as a writer's start does, and finds where that is.
fn walk(
    disk: &Arc<dyn Disk>,
    from: &Path,
    to: &Path,
    mark: Mark,
    earlier: Option<Mark>,
) -> Result<(Position, Facts), CopyError> {
    let fork = |earlier: Mark, found| CopyError::Fork {
        path: to.to_owned(),
        size: earlier.head.size,
        theirs: earlier.head.root,
        found,
    };
    if let Some(earlier) = earlier.filter(|e| e.head.size > mark.head.size || e.frames > mark.frames) {
        return Err(fork(earlier, None));
    }
    let mut cursor = Cursor::begin(disk, &layout::journal(from));
    let (mut facts, mut frontier, mut met) = (Facts::default(), Frontier::new(), false);
    loop {
        let at = cursor.position();
        if let Some(earlier) = earlier.filter(|e| e.frames == at.frame) {
            let root = frontier.root();
            if (frontier.size(), root) != (earlier.head.size, earlier.head.root) {
                return Err(fork(earlier, Some(root)));
            }
            met = true;
        }
        if at.frame >= mark.frames {
            let found = frontier.root();
            if (at.frame, frontier.size(), found) != (mark.frames, mark.head.size, mark.head.root) {
                let (path, size) = (from.to_owned(), frontier.size());
                return Err(CopyError::Inconsistent { path, size, found });
            }
            // A mark is always at the end of a batch, of this journal or of another.
            return match earlier.filter(|_| !met) {
                Some(earlier) => Err(fork(earlier, None)),
                None => Ok((at, facts)),
            };
        }
        match cursor.next_batch()? {
            Next::Batch(read) => {
                for (_, entry) in &read.batch.entries {
                    facts.absorb(frontier.size(), &entry.text)?;
                    frontier.append(leaf_hash(&entry.text));
                }
            }
            Next::End(tail) => return Err(lost(from, tail, mark).into()),
        }
    }
}

/// Brings a segment of the copy up to the original, or to `limit` bytes of it. What is there is a beginning of it: bytes of
/// a segment never change, and the whole is read back in the end.
fn grow(
    disk: &Arc<dyn Disk>,
    from: &Path,
    to: &Path,
    segment: u64,
    limit: Option<u64>,
) -> Result<u64, CopyError> {
    const CHUNK: u64 = 1 << 20;
    let (source, target) = (segment_path(from, segment), segment_path(to, segment));
    let io = |doing, path: &Path| {
        let path = path.to_owned();
        move |source| CopyError::Io { doing, path, source }
    };
    let read = disk.open_read(&source).map_err(io("open", &source))?;
    let write = match disk.open_write(&target) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => disk.create(&target),
        other => other,
    }
    .map_err(io("open", &target))?;
    let end = limit.unwrap_or(read.size().map_err(io("measure", &source))?);
    let begin = write.size().map_err(io("measure", &target))?.min(end);
    let mut at = begin;
    while at < end {
        let mut chunk = vec![0; (end - at).min(CHUNK) as usize];
        let n = read.read_at(&mut chunk, at).map_err(io("read", &source))?;
        if n == 0 {
            break;
        }
        write.write_at(&chunk[..n], at).map_err(io("write", &target))?;
        at += n as u64;
    }
    // What an interrupted copy left behind the end, if a power cut made it longer.
    write.set_size(end).map_err(io("cut", &target))?;
    write.sync_data().map_err(io("sync", &target))?;
    Ok(at - begin)
}
