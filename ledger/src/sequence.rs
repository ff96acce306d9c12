//! Writing: from facts to a published checkpoint. The commit is `Ledger::commit`, on one page.

use crate::batch::{Batch, ContentError, MAX_BATCH_BYTES, MAX_BATCH_ENTRIES, MAX_NOTE, Packed, Stored};
use crate::edge::Edge;
use crate::head::Head;
use crate::highwater::{HighWaterError, Mark};
use crate::journal::JournalError;
use crate::layout;
use crate::log::{Ledger, Now};
use crate::read::{Published, ReadError, ReadLog as _};
use crate::store::{Row, StoreError};
use isoledger_core::checkpoint::{Checkpoint, CheckpointError, SignedCheckpoint};
use isoledger_core::content::Opening;
use isoledger_core::note::{KeyKind, Note, NoteError, NoteSigner, SignatureLine, VerifierKey};
use isoledger_core::record::{Body, Chain, ChainError, Record, RecordError};
use isoledger_core::{Digest, Timestamp};
use std::collections::HashSet;
use std::sync::{Arc, PoisonError};

/// A fact that has no place in the log yet.
#[derive(Clone, Debug)]
pub struct Pending {
    /// When it is sequenced; not before the entry before it.
    pub time: Timestamp,
    /// What happened. Its commitment, if it has one, is made for the `seq` it will get: [`Ledger::next_seq`] and on.
    pub body: Body,
    /// What opens the commitment, for the types that have one.
    pub opening: Option<Opening>,
    /// Content by digest. What the log already holds is not stored again, so give everything.
    pub content: Vec<(Digest, Vec<u8>)>,
}

/// A fact with its place: durable, acknowledged, under the published checkpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sequenced {
    /// Its place.
    pub seq: u64,
    /// The entry's bytes.
    pub entry: Vec<u8>,
    /// The record in it.
    pub record: Record,
}

/// Why nothing was appended. Unless [`is_fatal`](AppendError::is_fatal), the log is as before and goes on.
#[derive(Debug, thiserror::Error)]
pub enum AppendError {
    /// An earlier failure left it unknown what is on the disk.
    #[error(
        "this handle is not trusted any more: {cause}. Close the log and open it again; opening finds out what was kept"
    )]
    Poisoned {
        /// That failure.
        cause: String,
    },
    /// The journal or the high-water mark failed where it cannot be undone: it is unknown whether the entries will be
    /// there after opening again.
    #[error("{cause}. Whether the entries were kept shows when the log is opened again; close it first")]
    InDoubt {
        /// The failure.
        cause: Box<CommitError>,
    },
    /// The disk refused before anything was committed.
    #[error("nothing was appended: {cause}")]
    NotWritten {
        /// The failure.
        cause: Box<JournalError>,
    },
    /// The clock stands before the last entry.
    #[error(
        "the clock says {now}, the last entry is of {last}: times in the log do not run backwards. Correct the clock, or wait"
    )]
    ClockBehind {
        /// Time of the last entry.
        last: Timestamp,
        /// Time given.
        now: Timestamp,
    },
    /// The entry may not stand there.
    #[error(transparent)]
    Chain(ChainError),
    /// The body cannot be written so that it reads back as itself.
    #[error("entry {seq} cannot be written: {cause}")]
    Record {
        /// Its place.
        seq: u64,
        /// What a reader would say.
        cause: RecordError,
    },
    /// A value in the body has no spelling in the format.
    #[error("entry {seq} of type {kind} does not read back as it was given")]
    Unspeakable {
        /// Its place.
        seq: u64,
        /// Its type.
        kind: String,
    },
    /// This type is not the caller's to append.
    #[error("entries of type {kind} are not appended so: {instead}")]
    Type {
        /// The type.
        kind: String,
        /// What to do.
        instead: &'static str,
    },
    /// The commitment is not to the opening given, at this place.
    #[error("the commitment of entry {seq} is not what its opening gives there: make it for that seq")]
    Commitment {
        /// The place.
        seq: u64,
    },
    /// A commitment without opening, or the reverse.
    #[error("entry {seq} of type {kind} must come {}", if *needed { "with the opening of its commitment" } else { "without an opening: it commits to nothing" })]
    Opening {
        /// The place.
        seq: u64,
        /// The type.
        kind: String,
        /// Whether an opening is needed.
        needed: bool,
    },
    /// The content committed to is neither given nor in the log.
    #[error("entry {seq} commits to {digest}, which is neither given nor in the log")]
    ContentMissing {
        /// The place.
        seq: u64,
        /// What it commits to.
        digest: Digest,
    },
    /// Content that cannot be stored.
    #[error(transparent)]
    Content(#[from] ContentError),
    /// No entry, or too much at once.
    #[error(
        "a batch has 1 to {MAX_BATCH_ENTRIES} entries and at most {MAX_BATCH_BYTES} bytes; {entries} entries of {bytes} bytes were given"
    )]
    Batch {
        /// Entries given.
        entries: usize,
        /// Bytes they have.
        bytes: usize,
    },
    /// The key cannot sign.
    #[error(transparent)]
    Note(#[from] NoteError),
    /// The checkpoint cannot be archived.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// The checkpoint is not of this log's entries. Who made it knows another history.
    #[error(
        "a checkpoint of size {size} with root {found} is not of this log, whose root there is {ours}: do not serve it, and find out who signed it"
    )]
    ForeignCheckpoint {
        /// Its size.
        size: u64,
        /// Its root.
        found: isoledger_core::Hash,
        /// Ours.
        ours: isoledger_core::Hash,
    },
    /// The log cannot be read, which appending needs.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The key is not one this log can go on with.
    #[error(
        "the log {origin} cannot go on with the key {key}: a log's key has its origin as name, signs notes, and is new"
    )]
    NewKey {
        /// The log.
        origin: String,
        /// The key.
        key: Box<VerifierKey>,
    },
}

impl AppendError {
    /// Whether the handle is of no more use: close the log and open it again.
    pub fn is_fatal(&self) -> bool {
        matches!(self, AppendError::Poisoned { .. } | AppendError::InDoubt { .. })
    }
}

/// Where a commit broke.
#[derive(Debug, thiserror::Error)]
pub enum CommitError {
    /// Writing or syncing the journal.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// Applying to the index.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Raising the high-water mark.
    #[error(transparent)]
    HighWater(#[from] HighWaterError),
    /// Signing the checkpoint.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
}

// A checkpoint with the signature lines of `kept` that it lacks: both are of one size and root.
fn merged(
    checkpoint: &SignedCheckpoint,
    kept: &SignedCheckpoint,
) -> Result<SignedCheckpoint, CheckpointError> {
    let new = Note::parse(checkpoint.as_bytes())?;
    let lacks = |l: &&SignatureLine| !new.signatures().iter().any(|n| (&n.name, n.id) == (&l.name, l.id));
    let mut out = checkpoint.clone();
    for line in Note::parse(kept.as_bytes())?.signatures().iter().filter(lacks) {
        out = out.with(line)?;
    }
    Ok(out)
}

/// A batch that is ready to be committed.
struct Staged {
    batch: Batch,
    chain: Chain,
    time: Timestamp,
    sequenced: Vec<Sequenced>,
}

impl Ledger {
    /// The `seq` that the next entry will get.
    pub fn next_seq(&self) -> u64 {
        self.view.now().edge.size()
    }

    /// The earliest time the next entry may have.
    pub fn last_time(&self) -> Timestamp {
        self.view.now().published.time
    }

    /// Appends facts in this order, all or none. When it returns `Ok` they are durable, acknowledged, and under the
    /// published checkpoint; one call is one `fdatasync` of the journal and one of the high-water mark, however many
    /// facts it brings.
    ///
    /// # Errors
    /// [`AppendError`].
    pub fn append(&mut self, pending: Vec<Pending>) -> Result<Vec<Sequenced>, AppendError> {
        for p in &pending {
            let instead = match &p.body {
                Body::Genesis { .. } => "a log has one, made by create",
                Body::KeyRotated { .. } => "use rotate, which also changes the key",
                Body::Unknown { .. } => "this program does not know the type",
                _ => continue,
            };
            return Err(AppendError::Type { kind: p.body.kind().to_owned(), instead });
        }
        self.sequence(pending)
    }

    /// Lets the log go on with another key: appends `key-rotated`, signed by the old key, and archives the last
    /// checkpoint of the old key before the new one signs anything. The checkpoint that is published then has the lines
    /// of both, so that whoever knows only one of them can follow.
    ///
    /// # Errors
    /// [`AppendError`]; when it is not fatal and the log's key is still the old one, nothing happened.
    pub fn rotate(&mut self, new: Arc<NoteSigner>, time: Timestamp) -> Result<Sequenced, AppendError> {
        let key = new.verifier().clone();
        // A key that was retired does not come back: what it signed in between would be the log's again.
        let known = self.keys().iter().any(|(_, k)| k.public() == key.public());
        if key.name() != self.origin() || key.kind() != KeyKind::Note || known {
            return Err(AppendError::NewKey { origin: self.origin().to_owned(), key: Box::new(key) });
        }
        let body = Body::KeyRotated { key: key.to_string() };
        // A crash after this leaves a log whose next entry is the new key's; it opens with that key and no other.
        let done = self.sequence(vec![Pending { time, body, opening: None, content: Vec::new() }])?;
        let mut now = (*self.view.now()).clone();
        now.keys.push((now.published.head.size, key));
        self.publish(now);
        if let Some((size, note)) = self.unarchived.clone() {
            self.archive(size, note)?;
        }
        self.signer = new;
        let now = self.view.now();
        let old = &now.published.checkpoint;
        let both = SignedCheckpoint::sign(old.unverified().clone(), &self.signer)?;
        let checkpoint = merged(old, &both)?;
        self.unarchived = Some((now.published.head.size, checkpoint.as_bytes().to_vec()));
        let published = Published { checkpoint, ..now.published.clone() };
        self.publish(Now { published, ..(*now).clone() });
        self.write_checkpoint_file();
        // One entry was given.
        done.into_iter().next().ok_or(AppendError::Batch { entries: 0, bytes: 0 })
    }

    /// Keeps a cosigned checkpoint for ever, and serves it when it is about the newest size. Durable when it returns.
    /// Cosignatures of the same size that were kept before stay; a newer one of the same key replaces the older.
    ///
    /// # Errors
    /// [`AppendError::ForeignCheckpoint`] when its root is not ours; [`AppendError::Checkpoint`] when this log's key
    /// has not signed it. The cosignatures are the caller's to check: which count is policy.
    pub fn archive_checkpoint(&mut self, checkpoint: &SignedCheckpoint) -> Result<(), AppendError> {
        let (size, root) = (checkpoint.unverified().size, checkpoint.unverified().root);
        let ours = self.root_at(size)?;
        if root != ours {
            return Err(AppendError::ForeignCheckpoint { size, found: root, ours });
        }
        let keys = self.keys();
        let signed =
            keys.iter().rev().map(|(_, key)| checkpoint.open(key)).reduce(|best, next| best.or(next));
        if let Some(Err(e)) = signed {
            return Err(e.into());
        }
        // An auditor comes days after the witnesses, about the same size.
        let checkpoint = &match self.cosigned(size, size, 1)?.pop() {
            Some(kept) => merged(checkpoint, &kept)?,
            None => checkpoint.clone(),
        };
        let note = checkpoint.as_bytes();
        if note.len() > MAX_NOTE {
            return Err(NoteError::TooLong { found: note.len(), max: MAX_NOTE }.into());
        }
        self.archive(size, note.to_vec())?;
        let now = self.view.now();
        if now.published.head.size == size {
            let published = Published { checkpoint: checkpoint.clone(), ..now.published.clone() };
            self.publish(Now { published, ..(*now).clone() });
            self.write_checkpoint_file();
        }
        Ok(())
    }

    fn archive(&mut self, size: u64, note: Vec<u8>) -> Result<(), AppendError> {
        let own = self.unarchived.take().filter(|(_, served)| *served != note);
        let batch =
            Batch { checkpoints: own.into_iter().chain([(size, note)]).collect(), entries: Vec::new() };
        let (chain, time) = (self.chain.clone(), self.last_time());
        let served = batch.checkpoints.first().cloned();
        let result = self.commit(Staged { batch, chain, time, sequenced: Vec::new() });
        if let Err(e) = result {
            self.unarchived = served;
            return Err(e);
        }
        Ok(())
    }

    pub(crate) fn sequence(&mut self, pending: Vec<Pending>) -> Result<Vec<Sequenced>, AppendError> {
        let staged = self.stage(pending)?;
        self.commit(staged)
    }

    /// The commit. Each step says what a crash right after it leaves behind.
    fn commit(&mut self, staged: Staged) -> Result<Vec<Sequenced>, AppendError> {
        if let Some(cause) = &self.poisoned {
            return Err(AppendError::Poisoned { cause: cause.clone() });
        }
        let Staged { batch, chain, time, sequenced } = staged;
        let now = self.view.now();

        // 1. Stage: all bytes are in memory, the root is known, the entries are signed, no checkpoint is.
        //    A crash leaves nothing. An error leaves nothing either.
        let mut edge: Edge = now.edge.clone();
        let changes = edge.absorb(&batch);
        let Head { size, root } = changes.to.head;

        // 2. Write the batch behind the journal's last one.
        //    A crash leaves a torn tail or a whole batch, beyond the high-water mark: a torn one is cut off and
        //    recorded, a whole one is kept. Nobody was told of either. An error is undone by cutting the file back;
        //    when that fails, what is there is unknown.
        if let Err(cause) = self.journal.write(&batch, changes.to.head) {
            return match self.journal.retract() {
                Ok(()) => Err(AppendError::NotWritten { cause: Box::new(cause) }),
                Err(also) => Err(self.poison(also.into())),
            };
        }

        // 3. Sync the journal: THE COMMIT POINT. From here on the entries are part of the log.
        //    A crash leaves them durable and unacknowledged; opening applies them and raises the mark. An error is
        //    fatal: the kernel may have dropped the pages and will not say so again.
        self.journal.sync().map_err(|e| self.poison(e.into()))?;

        // 4. Apply to the index, through the function that recovery uses.
        //    A crash leaves the index short, by this or by more, since nothing in it is durable: opening replays. An
        //    error is fatal for this handle only because the index would stay behind: opening repairs it.
        if let Err(e) = self.view.0.store.apply(&changes) {
            self.view.distrust_index();
            return Err(self.poison(e.into()));
        }

        // 5. Raise the high-water mark, durably.
        //    A crash leaves the log as after 3. From here on, losing these entries is noticed at start. An error is
        //    fatal: two slots in an unknown state must not be written again blindly.
        let mark = Mark { head: changes.to.head, frames: changes.to.frames, time };
        self.high.raise(mark).map_err(|e| self.poison(e.into()))?;

        // 6. Sign the checkpoint and publish it. Only now, so that nothing is ever signed that could still be lost.
        //    A crash leaves a log that signs this very note again when it is opened. It is archived with the next
        //    batch.
        if !batch.entries.is_empty() {
            let checkpoint = Checkpoint { origin: self.view.0.origin.clone(), size, root };
            let checkpoint =
                SignedCheckpoint::sign(checkpoint, &self.signer).map_err(|e| self.poison(e.into()))?;
            self.unarchived = Some((size, checkpoint.as_bytes().to_vec()));
            let published = Published { head: changes.to.head, time, checkpoint };
            self.publish(Now { published, edge, keys: now.keys.clone(), cosigned: now.cosigned.clone() });
            self.write_checkpoint_file();
        } else {
            let mut cosigned = now.cosigned.clone();
            let sizes =
                batch.checkpoints.iter().filter(|(_, note)| crate::edge::is_cosigned(note)).map(|(s, _)| *s);
            Arc::make_mut(&mut cosigned).extend(sizes);
            self.publish(Now { published: now.published.clone(), edge, keys: now.keys.clone(), cosigned });
        }
        self.chain = chain;

        // 7. The caller is told. Whatever happens to this machine now, short of losing the disk, the entries are there.
        Ok(sequenced)
    }

    fn poison(&mut self, cause: CommitError) -> AppendError {
        self.poisoned = Some(cause.to_string());
        AppendError::InDoubt { cause: Box::new(cause) }
    }

    /// Assembles, signs and packs, without touching a file.
    fn stage(&self, pending: Vec<Pending>) -> Result<Staged, AppendError> {
        if let Some(cause) = &self.poisoned {
            return Err(AppendError::Poisoned { cause: cause.clone() });
        }
        let entries = pending.len();
        if entries == 0 || entries > MAX_BATCH_ENTRIES {
            return Err(AppendError::Batch { entries, bytes: 0 });
        }
        let mut batch = Batch { checkpoints: self.unarchived.iter().cloned().collect(), entries: Vec::new() };
        let (mut chain, mut time) = (self.chain.clone(), self.last_time());
        let (mut sequenced, mut new) = (Vec::with_capacity(entries), HashSet::new());
        let mut bytes = 0;
        for (seq, p) in (self.next_seq()..).zip(pending) {
            bytes += p.content.iter().map(|(_, c)| c.len()).sum::<usize>();
            let contents = self.pack(&p, &mut new)?;
            let (stored, record) = self.entry(seq, p, &mut chain, &new)?;
            time = record.time;
            sequenced.push(Sequenced { seq, entry: stored.text.clone(), record });
            batch.entries.push((contents, Arc::new(stored)));
            if batch.bytes() > MAX_BATCH_BYTES {
                return Err(AppendError::Batch { entries, bytes });
            }
        }
        Ok(Staged { batch, chain, time, sequenced })
    }

    /// The content of a fact that the log does not hold yet.
    fn pack(&self, p: &Pending, new: &mut HashSet<Digest>) -> Result<Vec<Packed>, AppendError> {
        let mut out = Vec::new();
        for (digest, bytes) in &p.content {
            if new.contains(digest) || self.stored_already(digest) {
                continue;
            }
            out.push(Packed::pack(*digest, bytes)?);
            new.insert(*digest);
        }
        Ok(out)
    }

    /// Whether content need not be stored again. In doubt it is: twice is better than not at all.
    fn stored_already(&self, digest: &Digest) -> bool {
        self.view.0.store.has(&Row::Content(*digest)).unwrap_or(false)
    }

    fn entry(
        &self,
        seq: u64,
        p: Pending,
        chain: &mut Chain,
        new: &HashSet<Digest>,
    ) -> Result<(Stored, Record), AppendError> {
        let kind = || p.body.kind().to_owned();
        match (p.body.commitment(), &p.opening) {
            (None, None) => {}
            (Some(commitment), Some(opening)) => {
                if opening.commit(&self.origin_hash, seq) != commitment {
                    return Err(AppendError::Commitment { seq });
                }
                let digest = opening.digest;
                if !new.contains(&digest) && !self.stored_already(&digest) {
                    return Err(AppendError::ContentMissing { seq, digest });
                }
            }
            (needed, _) => return Err(AppendError::Opening { seq, kind: kind(), needed: needed.is_some() }),
        }
        let (prev, last) = chain.head().unwrap_or((Digest::ZERO, Timestamp::default()));
        if p.time < last {
            return Err(AppendError::ClockBehind { last, now: p.time });
        }
        let kind = kind();
        let record = Record { origin: self.view.0.origin.clone(), seq, time: p.time, prev, body: p.body };
        let text = record.encode();
        // What is stored for ever must read back, as the very thing that was meant.
        let read = Record::parse(text.as_bytes()).map_err(|cause| AppendError::Record { seq, cause })?;
        if read != record {
            return Err(AppendError::Unspeakable { seq, kind });
        }
        chain.push(&record, text.as_bytes()).map_err(AppendError::Chain)?;
        let signature = self.signer.sign(&text)?.to_string().into_bytes();
        Ok((Stored { text: text.into_bytes(), signature, opening: p.opening }, record))
    }

    pub(crate) fn publish(&self, now: Now) {
        *self.view.0.now.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(now);
    }

    /// Puts the newest checkpoint where readers in other processes look. Not a step of the commit: they find an older
    /// one in the journal, and the next commit tries again.
    pub(crate) fn write_checkpoint_file(&self) {
        let shared = &self.view.0;
        let now = self.view.now();
        let path = layout::checkpoint(&shared.dir);
        if let Err(e) = layout::overwrite(&shared.disk, &path, now.published.checkpoint.as_bytes()) {
            tracing::warn!(path = %path.display(), error = %e, "the checkpoint file could not be written");
        }
    }
}
