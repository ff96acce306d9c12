//! A witness's memory: what it cosigned last for each log, kept so that it never signs two histories.
//!
//! ```text
//! DIR/lock                one witness at a time
//! DIR/logs/<hex>          for each log, by SHA-256 of its origin: the checkpoint cosigned last, a signed note with the
//!                         log's lines that verified and this witness's own
//! DIR/logs/<hex>.new      left by a crash while writing; removed at start
//! ```
//!
//! The file is the answer that was given: its own cosignature vouches for it, so a changed byte is noticed without a
//! checksum, and it can be served as it lies.
//!
//! # In scope
//! - [`Witness::add`]: the decision of [`isoledger_core::witness::decide`], made and persisted as one step for each
//!   log. Logs do not wait for each other.
//! - [`Witness::latest`]: what monitors see.
//!
//! # Out of scope
//! HTTP; which logs are watched; the clock. An auditor that cosigns keeps its memory here too.
//!
//! # Trust
//! Nothing is signed that is not durable first. A file that cannot be believed stops the start: taking its log for a
//! new one would cosign whatever comes. An older copy of the whole directory cannot be told from the real one: a
//! witness's directory is never restored from a backup.

use crate::disk::{Disk, DiskFile, RealDisk};
use crate::layout;
use crate::lock::{DirLock, LockError};
use isoledger_core::Timestamp;
use isoledger_core::checkpoint::Checkpoint;
use isoledger_core::note::{NoteError, NoteSigner, SignatureLine, VerifierKey};
use isoledger_core::witness::{self, AddCheckpoint, MAX_CHECKPOINT, Refusal, RequestError, Watched};
use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

/// Under which name a log's new state is written before it replaces the old one.
const NEW: &str = ".new";

/// Why a witness does not start. Nothing was signed.
#[derive(Debug, thiserror::Error)]
pub enum WitnessError {
    /// Another process is this witness.
    #[error("{path} is locked: another process{} is this witness. Two would sign two histories; stop it first", pid.map(|p| format!(" ({p})")).unwrap_or_default())]
    Held {
        /// The lock file.
        path: PathBuf,
        /// The process that wrote its id into it, when readable.
        pid: Option<u32>,
    },
    /// A file of the memory cannot be believed.
    #[error(
        "{path} is not a checkpoint that {name} cosigned ({why}). Without it nothing may be cosigned for its log, so the witness does not start. If the key is another than before, give the old one; if the file is damaged, take the log off the list, tell its operator, and begin with a new key"
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Name of the witness's key.
        name: String,
        /// What is wrong.
        why: String,
    },
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

/// Why a checkpoint was not cosigned. Nothing was signed.
#[derive(Debug, thiserror::Error)]
pub enum AddError {
    /// By the rules.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The clock stands before the last cosignature of this log.
    #[error(
        "the clock says {now}, this log was cosigned at {last}: a time that runs backwards would vouch for the past. Correct the clock"
    )]
    ClockBehind {
        /// Time of the last cosignature.
        last: Timestamp,
        /// Time given.
        now: Timestamp,
    },
    /// An earlier failure left it unknown what is on the disk.
    #[error("an earlier failure left it unknown what is stored of this log: {cause}. Restart the witness")]
    Doubtful {
        /// That failure.
        cause: String,
    },
    /// It could not be stored.
    #[error("cannot {doing} {path}: {source}")]
    Io {
        /// What was being done.
        doing: &'static str,
        /// The file.
        path: PathBuf,
        /// The reason.
        source: io::Error,
    },
    /// The key does not sign.
    #[error(transparent)]
    Note(#[from] NoteError),
    /// What would be stored is larger than what is read.
    #[error(transparent)]
    Kept(#[from] RequestError),
}

/// What was cosigned last.
#[derive(Clone, Debug)]
struct Kept {
    head: Checkpoint,
    note: String,
    time: Timestamp,
}

#[derive(Debug, Default)]
struct Slot {
    kept: Option<Kept>,
    doubtful: Option<String>,
}

/// A witness: its key and its memory. Usable from any thread.
pub struct Witness {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    signer: NoteSigner,
    // By origin hash. The outer lock is held to find a slot, never while one is written.
    slots: Mutex<HashMap<String, Arc<Mutex<Slot>>>>,
    _lock: Option<DirLock>,
}

impl Witness {
    /// Opens the memory in `dir`, which is made if it is not there.
    ///
    /// # Errors
    /// [`WitnessError`].
    pub fn open(dir: &Path, signer: NoteSigner) -> Result<Witness, WitnessError> {
        let disk = RealDisk::shared();
        disk.create_dir(dir).map_err(|source| io_error("make", dir, source))?;
        let lock = DirLock::take(&layout::lock(dir)).map_err(|e| match e {
            LockError::Held { path, pid } => WitnessError::Held { path, pid },
            LockError::Io { path, source } => WitnessError::Io { doing: "lock", path, source },
        })?;
        Witness::open_on(disk, dir, Some(lock), signer)
    }

    /// [`open`](Witness::open) on any disk; without a lock the caller keeps others out.
    ///
    /// # Errors
    /// [`WitnessError`].
    pub fn open_on(
        disk: Arc<dyn Disk>,
        dir: &Path,
        lock: Option<DirLock>,
        signer: NoteSigner,
    ) -> Result<Witness, WitnessError> {
        let logs = dir.join("logs");
        disk.create_dir(&logs).map_err(|source| io_error("make", &logs, source))?;
        disk.sync_dir(dir).map_err(|source| io_error("sync", dir, source))?;
        let mut slots = HashMap::new();
        for name in disk.list(&logs).map_err(|source| io_error("list", &logs, source))? {
            let path = logs.join(&name);
            if name.ends_with(NEW) {
                // Nobody was told of it: the answer is given after the rename.
                disk.remove(&path).map_err(|source| io_error("remove", &path, source))?;
                continue;
            }
            let kept = read(&disk, &path, &name, signer.verifier())?;
            let slot = Slot { kept: Some(kept), doubtful: None };
            slots.insert(name, Arc::new(Mutex::new(slot)));
        }
        Ok(Witness { disk, dir: dir.to_owned(), signer, slots: Mutex::new(slots), _lock: lock })
    }

    /// The witness's public key.
    pub fn key(&self) -> &VerifierKey {
        self.signer.verifier()
    }

    /// Cosigns a checkpoint at `now`, if the rules allow it. `keys` are those known for the checkpoint's origin. When it
    /// returns `Ok`, that this checkpoint was cosigned is durable; two calls for one log never overlap.
    ///
    /// # Errors
    /// [`AddError`].
    pub fn add(
        &self,
        request: &AddCheckpoint,
        keys: &[VerifierKey],
        now: Timestamp,
    ) -> Result<SignatureLine, AddError> {
        let checkpoint = &request.checkpoint;
        if keys.is_empty() {
            // Before a slot is made: strangers' origins must not fill the memory.
            return Err(Refusal::UnknownLog.into());
        }
        let hash = witness::origin_hash(&checkpoint.head().origin);
        let slot = self.slot(&hash);
        let mut slot = slot.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(cause) = &slot.doubtful {
            return Err(AddError::Doubtful { cause: cause.clone() });
        }
        let mut lines = witness::decide(request, keys, slot.kept.as_ref().map(|k| &k.head))?;
        if let Some(last) = slot.kept.as_ref().map(|k| k.time).filter(|last| now.seconds() < last.seconds()) {
            return Err(AddError::ClockBehind { last, now });
        }
        let line = self.signer.cosign(checkpoint.text(), now)?;
        lines.push(line.clone());
        let note = checkpoint.with_lines(&lines)?.as_str().to_owned();
        let file = self.write_new(&hash, note.as_bytes())?;
        // Up to here the old state is certain, and a full disk is no more than a refusal. After a failed sync the kernel
        // may have dropped pages and say nothing the next time, and after a failed rename nobody knows which of the two
        // states is on the disk: the next decision would rest on a guess.
        if let Err(e) = self.replace(&hash, file.as_ref()) {
            slot.doubtful = Some(e.to_string());
            return Err(e);
        }
        slot.kept = Some(Kept { head: checkpoint.head().clone(), note, time: now });
        Ok(line)
    }

    /// The checkpoint cosigned last for the log with this [origin hash](witness::origin_hash), with the log's lines and
    /// this witness's.
    pub fn latest(&self, origin_hash: &str) -> Option<String> {
        let slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        let slot = slots.get(origin_hash)?.clone();
        drop(slots);
        let slot = slot.lock().unwrap_or_else(PoisonError::into_inner);
        slot.kept.as_ref().map(|k| k.note.clone())
    }

    /// The size of the checkpoint cosigned last for a log; 0 when there is none.
    pub fn size(&self, origin: &str) -> u64 {
        let slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(slot) = slots.get(&witness::origin_hash(origin)).cloned() else { return 0 };
        drop(slots);
        let slot = slot.lock().unwrap_or_else(PoisonError::into_inner);
        slot.kept.as_ref().map_or(0, |k| k.head.size)
    }

    fn slot(&self, hash: &str) -> Arc<Mutex<Slot>> {
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        slots.entry(hash.to_owned()).or_default().clone()
    }

    /// Writes a log's new state under another name. A crash leaves the old state, and a leftover that the next start
    /// removes.
    fn write_new(&self, hash: &str, bytes: &[u8]) -> Result<Box<dyn DiskFile>, AddError> {
        let new = self.dir.join("logs").join(format!("{hash}{NEW}"));
        match self.disk.remove(&new) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(add_error("remove", &new, e)),
            _ => {}
        }
        let file = self.disk.create(&new).map_err(|e| add_error("create", &new, e))?;
        file.write_at(bytes, 0).map_err(|e| add_error("write", &new, e))?;
        Ok(file)
    }

    /// Puts the new state in the old one's place. Each step says what a crash right after it leaves behind; nobody has
    /// been told anything before the last.
    fn replace(&self, hash: &str, file: &dyn DiskFile) -> Result<(), AddError> {
        let logs = self.dir.join("logs");
        let (new, path) = (logs.join(format!("{hash}{NEW}")), logs.join(hash));
        // The old state, and all of the new one under the other name.
        file.sync_data().map_err(|e| add_error("sync", &new, e))?;
        // The old state or the new one, whole: both were true when they were signed.
        self.disk.rename(&new, &path).map_err(|e| add_error("rename", &new, e))?;
        // The new one. Only now may it be answered for.
        self.disk.sync_dir(&logs).map_err(|e| add_error("sync", &logs, e))
    }
}

fn add_error(doing: &'static str, path: &Path, source: io::Error) -> AddError {
    AddError::Io { doing, path: path.to_owned(), source }
}

fn io_error(doing: &'static str, path: &Path, source: io::Error) -> WitnessError {
    WitnessError::Io { doing, path: path.to_owned(), source }
}

fn read(disk: &Arc<dyn Disk>, path: &Path, name: &str, key: &VerifierKey) -> Result<Kept, WitnessError> {
    let damaged =
        |why: String| WitnessError::Damaged { path: path.to_owned(), name: key.name().to_owned(), why };
    let bytes = layout::read_small(disk, path, MAX_CHECKPOINT).map_err(|e| io_error("read", path, e))?;
    let kept = Watched::parse(&bytes).map_err(|e| damaged(e.to_string()))?;
    if witness::origin_hash(&kept.head().origin) != name {
        return Err(damaged("it is of another log than its name says".into()));
    }
    let lines = kept.lines_of(std::slice::from_ref(key)).map_err(|e| damaged(e.to_string()))?;
    let found = witness::cosignatures(kept.text(), &lines, std::slice::from_ref(key));
    let found = found.map_err(|e| damaged(e.to_string()))?;
    let time = found.first().map(|l| l.time).ok_or_else(|| damaged("it has no such line".into()))?;
    Ok(Kept { head: kept.head().clone(), note: kept.as_str().to_owned(), time })
}
