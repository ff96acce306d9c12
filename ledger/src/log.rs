//! A log that can be written: opening with recovery, and reading while it is written. Writing itself is
//! [`crate::sequence`].

use crate::backup::{CopyError, CopyMark};
use crate::batch::Stored;
use crate::disk::{Disk, RealDisk};
use crate::edge::{Edge, WIDTH, full_tiles, is_cosigned, tile_hashes};
use crate::facts::{Facts, FactsError};
use crate::head::Head;
use crate::highwater::{HighWater, HighWaterError, Mark};
use crate::journal::{Cursor, Journal, JournalError, Next, Position, SEGMENT_BYTES, Tail, TornTail};
use crate::layout;
use crate::lock::{DirLock, LockError};
use crate::read::{Published, ReadError, ReadLog};
use crate::reader::{LogReader, lost};
use crate::sequence::{AppendError, Pending};
use crate::store::{Applied, Changes, Row, SledStore, Store, StoreError};
use crate::{batch, bundle};
use isoledger_core::checkpoint::{Checkpoint, CheckpointError, SignedCheckpoint};
use isoledger_core::merkle::{Frontier, leaf_hash};
use isoledger_core::note::{NoteSigner, VerifierKey};
use isoledger_core::record::{Body, Chain};
use isoledger_core::tiles::tile_root;
use isoledger_core::{Digest, Hash, SEMANTICS, Timestamp};
use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

/// Why a log cannot be made or opened. Nothing was signed.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process writes it.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// The high-water mark cannot be used.
    #[error(transparent)]
    HighWater(#[from] HighWaterError),
    /// The journal cannot be used.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The index cannot be used, nor set aside.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The entries make no log.
    #[error(transparent)]
    Facts(#[from] FactsError),
    /// The journal's root is not the one that was vouched for.
    #[error(
        "the journal has root {found} at entry {size}, the high-water mark vouches for {vouched}: signing would fork the log. One of the two is from another copy; restore both together"
    )]
    Inconsistent {
        /// Entries.
        size: u64,
        /// Root of the journal there.
        found: Hash,
        /// Root of the mark.
        vouched: Hash,
    },
    /// Someone outside has seen a longer log.
    #[error(
        "the log has {size} entries; {seen} were seen signed outside. This is an older copy: going on would fork the log. Restore a newer copy of the data directory, or retire this log"
    )]
    Behind {
        /// Entries here.
        size: u64,
        /// Entries seen.
        seen: u64,
    },
    /// It is a copy that was made to be kept or read.
    #[error(
        "{path} holds a copy of the log, marked {:?}: nothing is signed in a copy. Name the log's own directory; `isoledger restore` puts a backup in its place", mark.word()
    )]
    Copy {
        /// The data directory.
        path: PathBuf,
        /// What it is.
        mark: CopyMark,
    },
    /// It was restored, and nobody has said that no more was seen of it.
    #[error(
        "{path} was restored from a backup of {size} entries. If anybody has seen more of this log, going on would sign a second history. With a required witness that answers this is found out by itself; without, find the largest checkpoint that anybody has, and say so: isoledger restore --i-know-nobody-has-more-than ENTRIES"
    )]
    Restored {
        /// The data directory.
        path: PathBuf,
        /// Entries here.
        size: u64,
    },
    /// What kind of copy it is cannot be read or changed.
    #[error(transparent)]
    CopyMark(#[from] CopyError),
    /// Making it was interrupted; nothing was ever published.
    #[error(
        "{path} holds a log whose creation was interrupted; nothing of it was ever published. Create it again"
    )]
    Unfinished {
        /// The data directory.
        path: PathBuf,
    },
    /// There is a log already.
    #[error("{path} already holds the log {origin} with {size} entries; choose another directory")]
    Exists {
        /// The data directory.
        path: PathBuf,
        /// Its name.
        origin: String,
        /// Its size.
        size: u64,
    },
    /// The directory is not there.
    #[error("{path} is not there: create the log first")]
    Missing {
        /// The data directory.
        path: PathBuf,
    },
    /// Another key than the log's.
    #[error(
        "the log is signed by {wanted}; the key given is {found}. Give the log's own key: a log changes its key only by an entry"
    )]
    WrongKey {
        /// The log's key.
        wanted: Box<VerifierKey>,
        /// The key given.
        found: Box<VerifierKey>,
    },
    /// The first or the recovering entry could not be written.
    #[error(transparent)]
    Append(#[from] Box<AppendError>),
    /// The checkpoint could not be signed.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
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

/// What opening is doing, for whoever waits.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Progress {
    /// Reading and checking the journal: entries so far.
    Checking(u64),
    /// Applying the journal to the index: entries so far, and in all.
    Applying(u64, u64),
}

/// How to open.
pub struct OpenOptions<'p> {
    /// The time now, for a `log-recovered` entry.
    pub now: Timestamp,
    /// The size someone outside has seen signed, a witness for one: a shorter log is a restored backup or a clone and
    /// is not opened for writing. 0 when nobody was asked.
    pub at_least: u64,
    /// Whether whoever has to be asked was asked and said so: a restored log is opened only then, or when a person
    /// vouched for it.
    pub agreed: bool,
    /// Size at which a journal segment is closed, in bytes.
    pub segment_bytes: u64,
    /// Told from time to time what is being done.
    pub progress: Option<&'p mut dyn FnMut(Progress)>,
}

impl OpenOptions<'_> {
    /// The usual ones.
    pub fn at(now: Timestamp) -> OpenOptions<'static> {
        OpenOptions { now, at_least: 0, agreed: false, segment_bytes: SEGMENT_BYTES, progress: None }
    }
}

/// What became of the index when the log was opened.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum IndexState {
    /// It was there, as far as the journal.
    Whole,
    /// It was there, and short of this many entries, which were applied from the journal.
    Replayed {
        /// Entries applied.
        entries: u64,
    },
    /// It was not there, or not usable; it was built again from the journal.
    Rebuilt {
        /// What was wrong.
        reason: String,
        /// Where the old one was put, if there was one.
        kept: Option<PathBuf>,
    },
}

/// What opening found and did. Anything but a whole log is worth an operator's look.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct OpenReport {
    /// Entries.
    pub size: u64,
    /// Root over them.
    pub root: Hash,
    /// What became of the index.
    pub index: IndexState,
    /// Entries that were committed and not acknowledged when the program ended. They are kept.
    pub unacknowledged: u64,
    /// The torn tail that was cut off; it is recorded in the log.
    pub torn: Option<TornTail>,
    /// `seq` of the `log-recovered` entry, when one was written.
    pub recovered: Option<u64>,
    /// `seq` of the entry that says that the log was restored, when one was written.
    pub restored: Option<u64>,
}

/// Where the store comes from, and where it goes when it is no good.
pub trait StoreSource {
    /// Opens it, or makes an empty one.
    fn open(&mut self) -> Result<Box<dyn Store>, StoreError>;
    /// Why what is there must not be opened, if so.
    fn distrusted(&self) -> Option<String>;
    /// Puts what is there away; where it went. Called after it was closed.
    fn set_aside(&mut self) -> Result<Option<PathBuf>, OpenError>;
}

/// The index of a data directory, in sled.
struct SledSource {
    dir: PathBuf,
}

/// What a log stands on. [`Ledger::create`] and [`Ledger::open`] choose the machine's file system, a lock and sled;
/// tests choose disks and stores that misbehave.
pub struct Ground<'s> {
    /// The disk under journal, high-water mark and checkpoint file.
    pub disk: Arc<dyn Disk>,
    /// The data directory on it.
    pub dir: &'s Path,
    /// Keeps other writers out; without it the caller does.
    pub lock: Option<DirLock>,
    /// Where the store comes from.
    pub source: &'s mut dyn StoreSource,
}

impl StoreSource for SledSource {
    fn open(&mut self) -> Result<Box<dyn Store>, StoreError> {
        Ok(Box::new(SledStore::open(&layout::index(&self.dir))?))
    }

    fn distrusted(&self) -> Option<String> {
        layout::suspect(&self.dir).exists().then(|| "reading found damage in it".to_owned())
    }

    fn set_aside(&mut self) -> Result<Option<PathBuf>, OpenError> {
        let from = layout::index(&self.dir);
        let kept = if from.exists() {
            // The first free number; a directory can hold no more of them than there are numbers to try.
            let to = (1..u32::MAX).map(|n| self.dir.join(format!("index.damaged-{n}"))).find(|p| !p.exists());
            let to = to.unwrap_or_else(|| self.dir.join("index.damaged"));
            std::fs::rename(&from, &to).map_err(|source| OpenError::Io {
                doing: "set aside",
                path: from.clone(),
                source,
            })?;
            Some(to)
        } else {
            None
        };
        match std::fs::remove_file(layout::suspect(&self.dir)) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => {
                Err(OpenError::Io { doing: "remove", path: layout::suspect(&self.dir), source: e })
            }
            _ => Ok(kept),
        }
    }
}

/// The log, for its one writer. Reads like a [`View`].
pub struct Ledger {
    pub(crate) view: View,
    pub(crate) journal: Journal,
    pub(crate) high: HighWater,
    pub(crate) chain: Chain,
    pub(crate) signer: Arc<NoteSigner>,
    pub(crate) origin_hash: Digest,
    /// The newest checkpoint, served and not yet in the journal: the next batch begins with it.
    pub(crate) unarchived: Option<(u64, Vec<u8>)>,
    /// Why nothing more may be written through this handle.
    pub(crate) poisoned: Option<String>,
    _lock: Option<DirLock>,
}

/// A reader of an open log: cheap to clone, usable from any thread, always at the newest published checkpoint.
#[derive(Clone)]
pub struct View(pub(crate) Arc<Shared>);

pub(crate) struct Shared {
    pub(crate) origin: String,
    pub(crate) domain: String,
    pub(crate) dir: PathBuf,
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) store: Box<dyn Store>,
    pub(crate) now: RwLock<Arc<Now>>,
    /// The journal, read when the store fails; opened when that first happens.
    fallback: Mutex<Option<LogReader>>,
    repairs: AtomicU64,
}

/// What readers see at one moment.
#[derive(Clone)]
pub(crate) struct Now {
    pub(crate) published: Published,
    pub(crate) edge: Edge,
    pub(crate) keys: Vec<(u64, VerifierKey)>,
    /// Sizes of which there is a cosigned checkpoint.
    pub(crate) cosigned: Arc<BTreeSet<u64>>,
}

/// What reading the journal from its beginning found.
struct Scan {
    facts: Facts,
    frontier: Frontier,
    frames: u64,
    tail: Tail,
    /// End of the acknowledged batches.
    acknowledged: Position,
    /// Where the store stands in the journal, if it stands where a batch ends with the root it claims.
    store_at: Option<Position>,
    archived: Option<u64>,
    cosigned: BTreeSet<u64>,
}

impl Ledger {
    /// Makes a log in `dir`, which must hold none, or one whose creation was interrupted; other files in it are left
    /// alone. The first entry is durable and its checkpoint published when this returns.
    pub fn create(
        dir: &Path,
        origin: &str,
        domain: &str,
        signer: Arc<NoteSigner>,
        time: Timestamp,
    ) -> Result<Ledger, OpenError> {
        let disk = RealDisk::shared();
        let io = |doing| move |source| OpenError::Io { doing, path: dir.to_owned(), source };
        disk.create_dir(dir).map_err(io("create"))?;
        if let Some(parent) = dir.canonicalize().map_err(io("open"))?.parent() {
            disk.sync_dir(parent).map_err(io("sync the parent of"))?;
        }
        let lock = DirLock::take(&layout::lock(dir))?;
        let mut source = SledSource { dir: dir.to_owned() };
        let ground = Ground { disk, dir, lock: Some(lock), source: &mut source };
        Ledger::create_on(ground, origin, domain, signer, OpenOptions::at(time))
    }

    /// Opens the log in `dir`, after whatever happened to it.
    pub fn open(
        dir: &Path,
        signer: Arc<NoteSigner>,
        options: OpenOptions<'_>,
    ) -> Result<(Ledger, OpenReport), OpenError> {
        if !layout::journal(dir).exists() && !layout::high_water(dir).exists() {
            return Err(OpenError::Missing { path: dir.to_owned() });
        }
        let lock = DirLock::take(&layout::lock(dir))?;
        let mut source = SledSource { dir: dir.to_owned() };
        let ground = Ground { disk: RealDisk::shared(), dir, lock: Some(lock), source: &mut source };
        Ledger::open_on(ground, signer, options)
    }

    /// [`create`](Ledger::create) on any ground.
    pub fn create_on(
        ground: Ground<'_>,
        origin: &str,
        domain: &str,
        signer: Arc<NoteSigner>,
        options: OpenOptions<'_>,
    ) -> Result<Ledger, OpenError> {
        let Ground { disk, dir, lock, source } = ground;
        let io = |doing| move |source| OpenError::Io { doing, path: dir.to_owned(), source };
        // The high-water file comes first and says "nothing was published" until the first commit is through, so an
        // interrupted creation is told from a damaged log.
        let high_path = layout::high_water(dir);
        let nothing = Mark { head: Head::EMPTY, frames: 0, time: Timestamp::default() };
        let high = match HighWater::read(&disk, &high_path) {
            Err(HighWaterError::Missing { .. }) => {
                if disk.list(&layout::journal(dir)).is_ok() {
                    // A journal without a mark is a log that lost its mark, not one that was never made.
                    return Err(HighWaterError::Missing { path: high_path }.into());
                }
                HighWater::create(&disk, &high_path, nothing)?
            }
            Err(e) => return Err(e.into()),
            Ok(mark) => {
                let found = scan(&disk, dir, mark, Applied::NOTHING, &mut None)?;
                if mark != nothing || found.frontier.size() > 0 {
                    let origin = found.facts.origin;
                    return Err(OpenError::Exists {
                        path: dir.to_owned(),
                        origin,
                        size: found.frontier.size(),
                    });
                }
                for segment in disk.list(&layout::journal(dir)).unwrap_or_default() {
                    if segment.ends_with(".seg") || segment.ends_with(".new") {
                        disk.remove(&layout::journal(dir).join(segment))
                            .map_err(io("clear the journal of"))?;
                    }
                }
                HighWater::open(&disk, &high_path)?
            }
        };
        source.set_aside()?;
        let journal = Journal::create(&disk, &layout::journal(dir), options.segment_bytes)?;
        disk.sync_dir(dir).map_err(io("sync"))?;
        let store = source.open()?;
        let checkpoint = Checkpoint { origin: origin.to_owned(), size: 0, root: Head::EMPTY.root };
        // Signed to check name and key; the empty tree is never served: the first commit follows at once.
        let checkpoint = SignedCheckpoint::sign(checkpoint, &signer)?;
        let published = Published { head: Head::EMPTY, time: Timestamp::default(), checkpoint };
        let key = signer.verifier().clone();
        let now =
            Now { published, edge: Edge::new(), keys: vec![(0, key.clone())], cosigned: Arc::default() };
        let view = View::new((origin, domain), dir, disk, store, now);
        let mut ledger = Ledger {
            view,
            journal,
            high,
            chain: Chain::new(),
            signer,
            origin_hash: Digest::of(origin.as_bytes()),
            unarchived: None,
            poisoned: None,
            _lock: lock,
        };
        let body = Body::Genesis { domain: domain.to_owned(), key: key.to_string(), semantics: SEMANTICS };
        ledger
            .sequence(vec![Pending { time: options.now, body, opening: None, content: Vec::new() }])
            .map_err(Box::new)?;
        Ok(ledger)
    }

    /// [`open`](Ledger::open) on any ground.
    pub fn open_on(
        ground: Ground<'_>,
        signer: Arc<NoteSigner>,
        mut options: OpenOptions<'_>,
    ) -> Result<(Ledger, OpenReport), OpenError> {
        let Ground { disk, dir, lock, source } = ground;
        let copy = CopyMark::read(&disk, dir)?;
        if let Some(mark @ (CopyMark::Backup | CopyMark::Clone | CopyMark::Unknown)) = copy {
            return Err(OpenError::Copy { path: dir.to_owned(), mark });
        }
        let mark = HighWater::read(&disk, &layout::high_water(dir))?;
        if copy == Some(CopyMark::Restored) && !options.agreed {
            return Err(OpenError::Restored { path: dir.to_owned(), size: mark.head.size });
        }

        // The index first, because it says where replay begins; then the journal, all of it, which is the judge.
        let found = open_index(source)?.and_then(|store| match store.applied() {
            Ok(at) => Ok((store, at)),
            Err(e) => Err(e.to_string()),
        });
        let (store, at, mut index) = match found {
            Ok((store, at)) => (Some(store), at, None),
            Err(reason) => (None, Applied::NOTHING, Some(reason)),
        };
        let scan = scan(&disk, dir, mark, at, &mut options.progress)?;
        if scan.tail.end.frame < mark.frames {
            return Err(lost(dir, scan.tail, mark).into());
        }
        if scan.frontier.size() == 0 {
            return Err(OpenError::Unfinished { path: dir.to_owned() });
        }
        if scan.frontier.size() < options.at_least {
            return Err(OpenError::Behind { size: scan.frontier.size(), seen: options.at_least });
        }
        let wanted = scan.facts.key_at(scan.frontier.size());
        if let Some(wanted) = wanted.filter(|wanted| *wanted != signer.verifier()) {
            let found = Box::new(signer.verifier().clone());
            return Err(OpenError::WrongKey { wanted: Box::new(wanted.clone()), found });
        }
        let chain = scan.facts.chain()?;

        // The journal is cut and hardened before anything is built on it.
        let (journal, torn) =
            Journal::open(&disk, &layout::journal(dir), scan.tail, scan.acknowledged, options.segment_bytes)?;

        let mut edge = None;
        if let Some(s) = &store {
            match (scan.store_at, Edge::load(s.as_ref(), at)) {
                (Some(_), Ok(Some(loaded))) => edge = Some(loaded),
                (None, _) => index = Some("it is not an index of this journal, or ahead of it".to_owned()),
                (_, Ok(None)) => index = Some("its rows do not lead to the root it claims".to_owned()),
                (_, Err(e)) => index = Some(e.to_string()),
            }
        }
        let size = scan.frontier.size();
        let caught_up = match (store, edge, scan.store_at) {
            (Some(store), Some(mut edge), Some(from)) if index.is_none() && at != Applied::NOTHING => {
                let entries = size - edge.size();
                let state = if entries == 0 { IndexState::Whole } else { IndexState::Replayed { entries } };
                match replay(&disk, dir, store.as_ref(), &mut edge, from, size, &mut options.progress) {
                    Ok(()) => Ok((store, edge, state)),
                    Err(OpenError::Store(e)) => {
                        index = Some(e.to_string());
                        Err(None)
                    }
                    Err(e) => return Err(e),
                }
            }
            (Some(empty), ..) if index.is_none() => Err(Some(empty)),
            _ => Err(None),
        };
        // What was open and of no use is closed by now, so that it can be set aside.
        let (store, edge, state) = match caught_up {
            Ok(all) => all,
            Err(empty) => {
                let reason = index.unwrap_or_else(|| "it was empty or not there".to_owned());
                tracing::warn!(reason, "the index is built again from the journal");
                let (store, kept) = match empty {
                    Some(empty) => (empty, None),
                    None => {
                        let kept = source.set_aside()?;
                        (source.open()?, kept)
                    }
                };
                let mut edge = Edge::new();
                let from = Cursor::begin(&disk, &layout::journal(dir)).position();
                replay(&disk, dir, store.as_ref(), &mut edge, from, size, &mut options.progress)?;
                (store, edge, IndexState::Rebuilt { reason, kept })
            }
        };

        let mut high = HighWater::open(&disk, &layout::high_water(dir))?;
        let head = edge.applied().head;
        let found = Applied {
            head: Head { size: scan.frontier.size(), root: scan.frontier.root() },
            frames: scan.frames,
        };
        if edge.applied() != found {
            // The rows were just computed from the journal whose root this is.
            return Err(OpenError::Inconsistent {
                size: head.size,
                found: head.root,
                vouched: found.head.root,
            });
        }
        let time = chain.head().map(|(_, time)| time).unwrap_or_default();
        let unacknowledged = head.size - mark.head.size;
        if found.frames > mark.frames {
            high.raise(Mark { head, frames: found.frames, time })?;
        }

        let checkpoint = Checkpoint { origin: scan.facts.origin.clone(), size: head.size, root: head.root };
        let checkpoint = SignedCheckpoint::sign(checkpoint, &signer)?;
        // An Ed25519 signature is the same each time, so a checkpoint that was served and not yet archived is this
        // very note.
        let unarchived =
            (scan.archived != Some(head.size)).then(|| (head.size, checkpoint.as_bytes().to_vec()));
        let origin_hash = Digest::of(scan.facts.origin.as_bytes());
        let names = (scan.facts.origin.as_str(), scan.facts.domain.as_str());
        let now = Now {
            published: Published { head, time, checkpoint },
            edge,
            keys: scan.facts.keys.clone(),
            cosigned: Arc::new(scan.cosigned),
        };
        let view = View::new(names, dir, disk.clone(), store, now);
        let mut ledger = Ledger {
            view,
            journal,
            high,
            chain,
            signer,
            origin_hash,
            unarchived,
            poisoned: None,
            _lock: lock,
        };
        ledger.write_checkpoint_file();
        let recovered = ledger.record_torn_tails(options.now, torn.is_some())?;
        let restored = match copy {
            None => None,
            Some(_) => Some(ledger.record_restored(options.now, options.agreed)?),
        };
        let head = ledger.view.now().published.head;
        let report = OpenReport {
            size: head.size,
            root: head.root,
            index: state,
            unacknowledged,
            torn,
            recovered,
            restored,
        };
        Ok((ledger, report))
    }

    /// Writes `log-recovered` for a log that was restored, and on whose word it goes on.
    fn record_restored(&mut self, now: Timestamp, agreed: bool) -> Result<u64, OpenError> {
        let reason = if agreed { "restored" } else { "restored-unwitnessed" };
        let seq = self.record_recovered(now, reason)?;
        // A crash before this has the next start say it once more, which is true twice over.
        CopyMark::remove(&self.view.0.disk, &self.view.0.dir)?;
        Ok(seq)
    }

    fn record_recovered(&mut self, now: Timestamp, reason: &str) -> Result<u64, OpenError> {
        let size = self.view.now().published.head.size;
        // The clock may stand before the last entry; this entry must not.
        let time = self.chain.head().map_or(now, |(_, last)| last.max(now));
        let body = Body::LogRecovered { reason: reason.to_owned(), size };
        self.sequence(vec![Pending { time, body, opening: None, content: Vec::new() }]).map_err(Box::new)?;
        Ok(size)
    }

    /// Writes `log-recovered` for tails that were cut off now or, if the program ended before it could say so, earlier.
    fn record_torn_tails(&mut self, now: Timestamp, cut: bool) -> Result<Option<u64>, OpenError> {
        const PENDING: &str = ".pending";
        let dir = layout::journal(&self.view.0.dir).join("torn");
        let disk = self.view.0.disk.clone();
        let pending: Vec<String> = match disk.list(&dir) {
            Ok(names) => names.into_iter().filter(|n| n.ends_with(PENDING)).collect(),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(source) => return Err(OpenError::Io { doing: "list", path: dir, source }),
        };
        if pending.is_empty() && !cut {
            return Ok(None);
        }
        let size = self.record_recovered(now, "torn-tail")?;
        for name in pending {
            let to = format!("{}.{size}.recorded", name.trim_end_matches(PENDING));
            // When this fails the next start records the tail once more, which is true twice over.
            if let Err(e) = disk.rename(&dir.join(&name), &dir.join(to)) {
                tracing::warn!(name, error = %e, "a recorded tail keeps its old name");
            }
        }
        Ok(Some(size))
    }

    /// A reader that other threads may keep.
    pub fn view(&self) -> View {
        self.view.clone()
    }
}

impl std::ops::Deref for Ledger {
    type Target = View;

    fn deref(&self) -> &View {
        &self.view
    }
}

/// The index as it was found: the store, or what is wrong with it.
type Found = Result<Box<dyn Store>, String>;

/// Opens the index unless it is distrusted. Only a newer schema is an error.
fn open_index(source: &mut dyn StoreSource) -> Result<Found, OpenError> {
    if let Some(reason) = source.distrusted() {
        return Ok(Err(reason));
    }
    match source.open() {
        Err(e @ StoreError::Newer { .. }) => Err(e.into()),
        found => Ok(found.map_err(|e| e.to_string())),
    }
}

fn scan(
    disk: &Arc<dyn Disk>,
    dir: &Path,
    mark: Mark,
    store: Applied,
    progress: &mut Option<&mut dyn FnMut(Progress)>,
) -> Result<Scan, OpenError> {
    let mut cursor = Cursor::begin(disk, &layout::journal(dir));
    let (mut facts, mut frontier) = (Facts::default(), Frontier::new());
    let (mut acknowledged, mut store_at, mut archived) = (None, None, None);
    let (mut reported, mut claimed, mut cosigned) = (0, Head::EMPTY, BTreeSet::new());
    let tail = loop {
        let at = cursor.position();
        if at.frame == mark.frames {
            let found = frontier.root();
            if (frontier.size(), found) != (mark.head.size, mark.head.root) {
                return Err(OpenError::Inconsistent { size: mark.head.size, found, vouched: mark.head.root });
            }
            acknowledged = Some(at);
        }
        if at.frame == store.frames
            && frontier.size() == store.head.size
            && frontier.root() == store.head.root
        {
            store_at = Some(at);
        }
        match cursor.next_batch()? {
            Next::End(tail) => break tail,
            Next::Batch(read) => {
                for (_, entry) in &read.batch.entries {
                    facts.absorb(frontier.size(), &entry.text)?;
                    frontier.append(leaf_hash(&entry.text));
                }
                if let Some((size, _)) = read.batch.checkpoints.last() {
                    archived = Some(*size);
                }
                let notes = read.batch.checkpoints.iter().filter(|(_, note)| is_cosigned(note));
                cosigned.extend(notes.map(|(size, _)| *size));
                claimed = read.head;
                if frontier.size() - reported >= 4096
                    && let Some(tell) = progress
                {
                    reported = frontier.size();
                    tell(Progress::Checking(reported));
                }
            }
        }
    };
    let found = frontier.root();
    if found != claimed.root {
        return Err(OpenError::Inconsistent { size: claimed.size, found, vouched: claimed.root });
    }
    let frames = tail.end.frame;
    if frames < mark.frames {
        return Err(lost(dir, tail, mark).into());
    }
    let Some(acknowledged) = acknowledged else {
        // The mark stands in the middle of a batch: it is not this journal's.
        return Err(OpenError::Inconsistent { size: mark.head.size, found, vouched: mark.head.root });
    };
    Ok(Scan { facts, frontier, frames, tail, acknowledged, store_at, archived, cosigned })
}

/// Applies the journal from `from` to a store, through the same function as the running service.
fn replay(
    disk: &Arc<dyn Disk>,
    dir: &Path,
    store: &dyn Store,
    edge: &mut Edge,
    from: Position,
    size: u64,
    progress: &mut Option<&mut dyn FnMut(Progress)>,
) -> Result<(), OpenError> {
    // Several batches at a time: sled writes its pages once instead of once a poll.
    const ENTRIES: u64 = 1024;
    const BYTES: usize = 16 << 20;
    let mut cursor = Cursor::resume(disk, &layout::journal(dir), from);
    let mut waiting: Option<(Changes, usize)> = None;
    loop {
        let next = cursor.next_batch()?;
        if let Next::Batch(read) = &next {
            let (changes, bytes) = (edge.absorb(&read.batch), read.batch.bytes());
            waiting = Some(match waiting {
                None => (changes, bytes),
                Some((mut before, sum)) => {
                    before.merge(changes);
                    (before, sum + bytes)
                }
            });
        }
        let last = matches!(next, Next::End(_));
        if let Some((changes, bytes)) = waiting.take_if(|(changes, bytes)| {
            last || *bytes >= BYTES || changes.to.head.size - changes.from.head.size >= ENTRIES
        }) {
            tracing::debug!(bytes, entries = changes.to.head.size, "applied to the index");
            store.apply(&changes)?;
            if let Some(tell) = progress {
                tell(Progress::Applying(changes.to.head.size, size));
            }
        }
        if last {
            return Ok(());
        }
    }
}

impl View {
    fn new(
        (origin, domain): (&str, &str),
        dir: &Path,
        disk: Arc<dyn Disk>,
        store: Box<dyn Store>,
        now: Now,
    ) -> View {
        View(Arc::new(Shared {
            origin: origin.to_owned(),
            domain: domain.to_owned(),
            dir: dir.to_owned(),
            disk,
            store,
            now: RwLock::new(Arc::new(now)),
            fallback: Mutex::new(None),
            repairs: AtomicU64::new(0),
        }))
    }

    pub(crate) fn now(&self) -> Arc<Now> {
        self.0.now.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The audited domain.
    pub fn domain(&self) -> &str {
        &self.0.domain
    }

    /// How often reading found the index wrong and took the journal's word. Worth an alert when it is not 0.
    pub fn repairs(&self) -> u64 {
        self.0.repairs.load(Ordering::Relaxed)
    }

    /// Whether content is in the log, without reading it.
    pub fn has_content(&self, digest: &Digest) -> Result<bool, ReadError> {
        Ok(self.0.store.has(&Row::Content(*digest))?)
    }

    /// What a projection of this name kept. It follows from the log and may be gone: then it is computed again.
    pub fn projection(&self, name: &str) -> Option<Vec<u8>> {
        // A projection that cannot be read is one that is gone.
        self.0.store.get(&Row::Projection(name.to_owned())).ok().flatten()
    }

    /// Keeps something for a projection. Not durable.
    pub fn keep_projection(&self, name: &str, bytes: &[u8]) -> Result<(), ReadError> {
        Ok(self.0.store.put(&Row::Projection(name.to_owned()), bytes)?)
    }

    /// A row, as a checked value; from the journal when the store does not have it right, which is then repaired.
    fn checked<T>(
        &self,
        row: Row,
        check: impl Fn(&[u8]) -> Option<T>,
        remake: impl FnOnce(&LogReader) -> Result<Vec<u8>, ReadError>,
    ) -> Result<T, ReadError> {
        let cause = match self.0.store.get(&row) {
            Ok(Some(bytes)) => match check(&bytes) {
                Some(value) => return Ok(value),
                None => "it does not lead to the root".to_owned(),
            },
            Ok(None) => "it is not there".to_owned(),
            Err(e @ StoreError::Misuse(_)) => return Err(e.into()),
            Err(e) => e.to_string(),
        };
        let bytes = self.ask_journal(remake)?;
        let value = check(&bytes);
        self.0.repairs.fetch_add(1, Ordering::Relaxed);
        tracing::error!(?row, cause, "the index was wrong; the journal's bytes are served");
        if value.is_some()
            && let Err(e) = self.0.store.put(&row, &bytes)
        {
            tracing::error!(?row, error = %e, "the index cannot be repaired; it is rebuilt at the next start");
            self.distrust_index();
        }
        value.ok_or(ReadError::Journal(JournalError::Io {
            doing: "make an index row again from",
            path: layout::journal(&self.0.dir),
            source: io::Error::new(io::ErrorKind::InvalidData, format!("{row:?} does not follow from it")),
        }))
    }

    /// Has the next start build the index again. Best effort: without the mark it looks at the right edge only, and
    /// reads repair again.
    pub(crate) fn distrust_index(&self) {
        let path = layout::suspect(&self.0.dir);
        match self.0.disk.create(&path) {
            Err(e) if e.kind() != io::ErrorKind::AlreadyExists => {
                tracing::error!(path = %path.display(), error = %e, "the index cannot be marked as damaged");
            }
            _ => {}
        }
    }

    fn ask_journal<T>(&self, f: impl FnOnce(&LogReader) -> Result<T, ReadError>) -> Result<T, ReadError> {
        let mut fallback = self.0.fallback.lock().unwrap_or_else(PoisonError::into_inner);
        let reader = match fallback.take() {
            Some(mut reader) => {
                reader.refresh()?;
                reader
            }
            None => LogReader::open_on(self.0.disk.clone(), &self.0.dir)?,
        };
        f(fallback.insert(reader))
    }

    fn full_block(&self, n: u64) -> Result<Vec<Arc<Stored>>, ReadError> {
        let parents = self.tile_hashes(1, n / WIDTH)?;
        let Some(root) = parents.get((n % WIDTH) as usize).copied() else {
            return Err(ReadError::NoTile { path: format!("block {n}"), size: self.now().edge.size() });
        };
        let texts = self.checked(
            Row::Entries(n),
            |v| {
                let items = bundle::split(&bundle::decompress(v)?)?
                    .into_iter()
                    .map(<[u8]>::to_vec)
                    .collect::<Vec<_>>();
                let leaves: Vec<Hash> = items.iter().map(|e| leaf_hash(e)).collect();
                (tile_root(&leaves) == root && items.len() as u64 == WIDTH).then_some(items)
            },
            |r| Ok(bundle::compress(&bundle::entries(&r.block(n)?))),
        )?;
        let signatures = self.checked(
            Row::Signatures(n),
            |v| {
                let items = bundle::split(&bundle::decompress(v)?)?
                    .into_iter()
                    .map(<[u8]>::to_vec)
                    .collect::<Vec<_>>();
                (items.len() as u64 == WIDTH).then_some(items)
            },
            |r| Ok(bundle::compress(&bundle::signatures(&r.block(n)?))),
        )?;
        let openings = self.checked(
            Row::Openings(n),
            |v| bundle::split_openings(v).filter(|o| o.len() as u64 == WIDTH),
            |r| Ok(bundle::openings(&r.block(n)?)),
        )?;
        let parts = texts.into_iter().zip(signatures).zip(openings);
        Ok(parts.map(|((text, signature), opening)| Arc::new(Stored { text, signature, opening })).collect())
    }
}

impl ReadLog for View {
    fn origin(&self) -> &str {
        &self.0.origin
    }

    fn keys(&self) -> Vec<(u64, VerifierKey)> {
        self.now().keys.clone()
    }

    fn published(&self) -> Result<Published, ReadError> {
        Ok(self.now().published.clone())
    }

    fn block(&self, n: u64) -> Result<Vec<Arc<Stored>>, ReadError> {
        let now = self.now();
        let size = now.edge.size();
        if n < full_tiles(size, 0) {
            return self.full_block(n);
        }
        match n == full_tiles(size, 0) && !now.edge.tail().is_empty() {
            true => Ok(now.edge.tail().to_vec()),
            false => Err(ReadError::NoEntry { seq: n.saturating_mul(WIDTH), size }),
        }
    }

    fn tile_hashes(&self, level: u8, n: u64) -> Result<Vec<Hash>, ReadError> {
        let now = self.now();
        if let Some(partial) = now.edge.partial(level, n) {
            return Ok(partial.to_vec());
        }
        if n >= full_tiles(now.edge.size(), level) {
            let path = format!("tile {n} at level {level}");
            return Err(ReadError::NoTile { path, size: now.edge.size() });
        }
        // A full tile is believed when its parent holds its root, and the parent likewise, up to the right edge,
        // which is in memory and was checked against the root.
        let parents = self.tile_hashes(level + 1, n / WIDTH)?;
        let Some(root) = parents.get((n % WIDTH) as usize).copied() else {
            let path = format!("tile {n} at level {level}");
            return Err(ReadError::NoTile { path, size: now.edge.size() });
        };
        self.checked(
            Row::Tile(level, n),
            |v| tile_hashes(v).filter(|hashes| tile_root(hashes) == root),
            |r| Ok(r.tile_hashes(level, n)?.iter().flat_map(|h| h.0).collect()),
        )
    }

    fn content(&self, digest: &Digest) -> Result<Vec<u8>, ReadError> {
        let row = Row::Content(*digest);
        if let Ok(false) = self.0.store.has(&row) {
            // Absent from a sound index: absent from the log. An index that lost a row is found by its reader, who
            // knows the digest from an entry; so look before saying no, it is a rare question.
            return self.ask_journal(|r| r.content(digest));
        }
        self.checked(
            row,
            |v| batch::Packed::from_value(*digest, v)?.unpack().ok(),
            |r| {
                let bytes = r.content(digest)?;
                Ok(batch::Packed::pack(*digest, &bytes)?.to_value())
            },
        )
    }

    fn seq_at_time(&self, time: Timestamp) -> Result<Option<u64>, ReadError> {
        let now = self.now();
        let found = match self.0.store.last_poll_ended_by(time) {
            Ok(found) => found.filter(|seq| *seq < now.edge.size()),
            Err(_) => return self.ask_journal(|r| r.seq_at_time(time)),
        };
        // The row is believed when the entry it names says so, and the next poll had not ended by then.
        let ended = |seq: u64| -> Result<Option<Timestamp>, ReadError> {
            Ok(match self.record(seq)?.body {
                Body::Poll(p) => Some(p.ended),
                _ => None,
            })
        };
        if let Some(seq) = found
            && ended(seq)?.is_none_or(|ended| ended > time)
        {
            return self.ask_journal(|r| r.seq_at_time(time));
        }
        for seq in found.map_or(0, |seq| seq + 1)..now.edge.size() {
            match ended(seq)? {
                Some(ended) if ended <= time => return self.ask_journal(|r| r.seq_at_time(time)),
                Some(_) => break,
                None => {}
            }
        }
        Ok(found)
    }

    fn cosigned(&self, from: u64, to: u64, max: usize) -> Result<Vec<SignedCheckpoint>, ReadError> {
        let now = self.now();
        let sizes = now.cosigned.range(from..=to.max(from)).take(max);
        sizes
            .map(|size| {
                let root = self.root_at(*size)?;
                self.checked(
                    Row::Cosigned(*size),
                    |v| SignedCheckpoint::parse(v).ok().filter(|c| c.unverified().root == root),
                    |r| {
                        let found = r.cosigned(*size, *size, 1)?;
                        Ok(found.first().map(|c| c.as_bytes().to_vec()).unwrap_or_default())
                    },
                )
            })
            .collect()
    }

    fn cosigned_sizes(&self, from: u64, to: u64) -> Result<Vec<u64>, ReadError> {
        Ok(self.now().cosigned.range(from..=to.max(from)).copied().collect())
    }
}
