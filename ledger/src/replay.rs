//! Replay: everything that follows from the log, made again from its entries and content alone up to a moment, and held
//! against what is kept.
//!
//! # In scope
//! - The index's rows, by the one function that also the running service makes them with ([`Edge::absorb`]). Each is
//!   compared with the row that a kept index has, when one is at hand.
//! - The projections' rows: divergences and verdict timelines. They are folded three times: over the journal at one go;
//!   over the journal, put away and restored half-way; and over what the kept index says of entries and content. The
//!   three must be the same bytes.
//!
//! # Out of scope
//! Signatures, chain and evidence, which are an audit's. Rows that a kept index has and should not have: nothing asks
//! for them, and a store cannot list its rows.
//!
//! # Trust
//! None is needed: the journal checks its frames, and two results are compared.

use crate::batch::{Batch, Packed, Stored};
use crate::bundle;
use crate::divergence::{Divergences, FactsMaker, FoldError};
use crate::edge::{Edge, WIDTH};
use crate::head::Head;
use crate::journal::JournalError;
use crate::projection::{Projection, ProjectionError};
use crate::read::{ReadError, ReadLog};
use crate::reader::LogReader;
use crate::state::{PollState, Snapshots, StateError};
use crate::store::{Row, Store, StoreError};
use isoledger_core::judge::Inconsistent;
use isoledger_core::record::{Body, Record, RecordError};
use isoledger_core::{Digest, Hash, Timestamp};
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;

/// Differences that are told in words; the rest is counted.
pub const TOLD: usize = 20;

/// Rows in few words: how many, and a digest over their names and bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fingerprint {
    /// How many.
    pub rows: u64,
    /// BLAKE3 over names and values, each with its length before it.
    pub digest: Digest,
}

#[derive(Default)]
struct Fingers {
    hasher: blake3::Hasher,
    rows: u64,
}

impl Fingers {
    fn put(&mut self, name: &[u8], value: &[u8]) {
        for part in [name, value] {
            self.hasher.update(&(part.len() as u64).to_be_bytes()).update(part);
        }
        self.rows += 1;
    }

    fn done(self) -> Fingerprint {
        Fingerprint { rows: self.rows, digest: Digest(*self.hasher.finalize().as_bytes()) }
    }
}

/// What was made again, and how it compares.
#[derive(Clone, Debug)]
pub struct Replayed {
    /// The tree of the entries up to the moment.
    pub head: Head,
    /// Time of the last of them.
    pub time: Timestamp,
    /// Polls among them.
    pub polls: u64,
    /// Polls whose content is archived: they are in the index, and in no projection.
    pub without_content: u64,
    /// The index's rows.
    pub index: Fingerprint,
    /// The rows of divergences and verdict timelines.
    pub divergences: Fingerprint,
    /// Entries that the kept index has, of those up to the moment; `None` when no index was at hand.
    pub kept: Option<u64>,
    /// Rows of the kept index that were compared.
    pub compared: u64,
    /// Differences found.
    pub differences: u64,
    /// The first [`TOLD`] of them in words.
    pub told: Vec<String>,
}

impl Replayed {
    fn differs(&mut self, what: impl FnOnce() -> String) {
        self.differences += 1;
        if self.told.len() < TOLD {
            self.told.push(what());
        }
    }
}

/// Why the log could not be replayed.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// There is nothing up to the moment.
    #[error("no entry is dated up to {to}; the log begins at {begins}")]
    Before {
        /// The moment.
        to: Timestamp,
        /// Time of the first entry.
        begins: Timestamp,
    },
    /// The log cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The journal cannot be read.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// An entry does not parse.
    #[error("entry {seq}: {source}")]
    Record {
        /// The entry.
        seq: u64,
        /// Why.
        source: RecordError,
    },
    /// A poll's content cannot be read.
    #[error("entry {seq}: {source}")]
    State {
        /// The entry.
        seq: u64,
        /// Why.
        source: Box<StateError<ReadError>>,
    },
    /// A poll does not fold.
    #[error(transparent)]
    Fold(#[from] FoldError),
    /// Judging contradicts itself.
    #[error(transparent)]
    Facts(#[from] Inconsistent),
    /// Rows just made cannot be restored.
    #[error(transparent)]
    Rows(#[from] ProjectionError<Infallible>),
    /// The rows made again lead to another tree than the journal.
    #[error("the entries made again have root {found} at {size}; the journal has {wanted}")]
    Root {
        /// Entries.
        size: u64,
        /// Of what was made again.
        found: Hash,
        /// Of the journal.
        wanted: Hash,
    },
}

/// Makes everything that follows from the entries dated up to `to` again and compares it with `kept`, the rows of an
/// index of this log; `progress` is told how many entries are done, and of how many.
///
/// # Errors
/// [`ReplayError`]. A difference is none: it is counted and told.
pub fn replay(
    log: &LogReader,
    to: Timestamp,
    kept: Option<&dyn Store>,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<Replayed, ReplayError> {
    let mut out = Replayed {
        head: Head::EMPTY,
        time: Timestamp::default(),
        polls: 0,
        without_content: 0,
        index: Fingers::default().done(),
        divergences: Fingers::default().done(),
        kept: None,
        compared: 0,
        differences: 0,
        told: Vec::new(),
    };
    let kept = match kept.map(|store| (store, store.applied())) {
        None => None,
        Some((store, Ok(at))) => Some(Kept { store, size: at.head.size }),
        Some((_, Err(e))) => {
            out.differs(|| e.to_string());
            None
        }
    };
    rows(log, to, kept.as_ref(), &mut out, progress)?;
    out.kept = kept.as_ref().map(|kept| kept.size.min(out.head.size));
    let wanted = log.root_at(out.head.size)?;
    if out.head.root != wanted {
        return Err(ReplayError::Root { size: out.head.size, found: out.head.root, wanted });
    }
    projections(log, kept.as_ref(), &mut out, progress)?;
    Ok(out)
}

/// The part of a batch that is dated up to `to`, and whether that is all of it.
fn cut(batch: Batch, first: u64, to: Timestamp, last: &mut Timestamp) -> Result<(Batch, bool), ReplayError> {
    let (mut whole, mut entries) = (true, Vec::new());
    for (seq, (contents, entry)) in (first..).zip(batch.entries) {
        let time = Record::parse(&entry.text).map_err(|source| ReplayError::Record { seq, source })?.time;
        if time > to {
            whole = false;
            break;
        }
        *last = time;
        entries.push((contents, entry));
    }
    Ok((Batch { checkpoints: batch.checkpoints, entries }, whole))
}

fn rows(
    log: &LogReader,
    to: Timestamp,
    kept: Option<&Kept<'_>>,
    out: &mut Replayed,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<(), ReplayError> {
    let (mut edge, mut fingers) = (Edge::new(), Fingers::default());
    // The newest note of a size counts, whenever it came.
    let mut cosigned: BTreeMap<u64, Vec<u8>> = BTreeMap::new();
    let mut poll: Option<(Timestamp, u64)> = None;
    let size = log.head().size;
    for read in log.batches() {
        let first = edge.size();
        let (batch, whole) = cut(read?.batch, first, to, &mut out.time)?;
        if !whole && batch.entries.is_empty() {
            break;
        }
        let changes = edge.absorb(&batch);
        // What came with the batch is in an index that has the batch's first entry: batches are applied whole.
        let there = kept.filter(|kept| kept.size > first);
        for (row, value) in changes.rows.iter().filter_map(|(row, v)| Some((row, v.as_ref()?))) {
            match row {
                // What is behind the last full bundle is looked at in the end.
                Row::Tail(_) => {}
                Row::Cosigned(size) => {
                    cosigned.insert(*size, value.clone());
                }
                _ => {
                    fingers.put(&row.key(), value);
                    if let Some(kept) = there {
                        kept.compare(row, value, out);
                    }
                }
            }
        }
        out.polls += changes.polls.len() as u64;
        for (ended, seq) in changes.polls {
            fingers.put(&ended.millis().to_be_bytes(), &seq.to_be_bytes());
            // Of polls that ended in one millisecond the last is the answer.
            if let (Some(kept), Some((before, seq))) = (there, poll.replace((ended, seq)))
                && before < ended
            {
                kept.compare_time(before, seq, out);
            }
        }
        progress(edge.size(), size);
        if !whole {
            break;
        }
    }
    out.head = edge.applied().head;
    if out.head.size == 0 {
        let begins = log.record(0)?.time;
        return Err(ReplayError::Before { to, begins });
    }
    let first = out.head.size - out.head.size % WIDTH;
    for (seq, entry) in (first..).zip(edge.tail()) {
        fingers.put(&Row::Tail(seq).key(), &bundle::encode_one(entry));
        if let Some(kept) = kept.filter(|kept| kept.size > seq) {
            out.compared += 1;
            match kept.entry(seq) {
                Ok(found) if found == **entry => {}
                Ok(_) => out.differs(|| format!("the index has another entry {seq}")),
                Err(e) => out.differs(|| format!("entry {seq} in the index: {e}")),
            }
        }
    }
    for (size, note) in &cosigned {
        fingers.put(&Row::Cosigned(*size).key(), note);
        if let Some(kept) = kept.filter(|kept| kept.size >= out.head.size) {
            // Cosignatures that came later are in a newer note, which an index of a later moment has instead.
            out.compared += 1;
            if !matches!(kept.store.get(&Row::Cosigned(*size)), Ok(Some(_))) {
                out.differs(|| format!("the index has no cosigned checkpoint of {size} entries"));
            }
        }
    }
    out.index = fingers.done();
    Ok(())
}

/// Why a kept row is of no use.
#[derive(Debug, thiserror::Error)]
enum Unusable {
    #[error("it is not there")]
    Missing,
    #[error("it cannot be read")]
    Malformed,
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// An index that was kept.
struct Kept<'s> {
    store: &'s dyn Store,
    size: u64,
}

impl Kept<'_> {
    fn row(&self, row: &Row) -> Result<Vec<u8>, Unusable> {
        self.store.get(row)?.ok_or(Unusable::Missing)
    }

    fn compare(&self, row: &Row, value: &[u8], out: &mut Replayed) {
        out.compared += 1;
        match self.row(row) {
            Ok(found)
                if found == value
                    || (held(row, &found).is_some() && held(row, &found) == held(row, value)) => {}
            Ok(_) => out.differs(|| format!("the index has other bytes for {row:?}")),
            Err(e) => out.differs(|| format!("{row:?} in the index: {e}")),
        }
    }

    fn compare_time(&self, ended: Timestamp, seq: u64, out: &mut Replayed) {
        out.compared += 1;
        match self.store.last_poll_ended_by(ended) {
            Ok(Some(found)) if found == seq => {}
            Ok(found) => out.differs(|| {
                let found = found.map_or("none".to_owned(), |found| found.to_string());
                format!("the index says that the last poll up to {ended} is {found}; it is {seq}")
            }),
            Err(e) => out.differs(|| format!("the last poll up to {ended}: {e}")),
        }
    }

    fn entry(&self, seq: u64) -> Result<Stored, Unusable> {
        if seq >= self.size - self.size % WIDTH {
            return bundle::decode_one(&self.row(&Row::Tail(seq))?).ok_or(Unusable::Malformed);
        }
        let (n, at) = (seq / WIDTH, (seq % WIDTH) as usize);
        let item = |row: Row| -> Result<Vec<u8>, Unusable> {
            let bundle = bundle::decompress(&self.row(&row)?).ok_or(Unusable::Malformed)?;
            let items = bundle::split(&bundle).ok_or(Unusable::Malformed)?;
            Ok(items.get(at).ok_or(Unusable::Malformed)?.to_vec())
        };
        let openings = bundle::split_openings(&self.row(&Row::Openings(n))?).ok_or(Unusable::Malformed)?;
        Ok(Stored {
            text: item(Row::Entries(n))?,
            signature: item(Row::Signatures(n))?,
            opening: *openings.get(at).ok_or(Unusable::Malformed)?,
        })
    }

    fn content(&self, digest: &Digest) -> Result<Option<Vec<u8>>, Unusable> {
        match self.store.get(&Row::Content(*digest))? {
            None => Ok(None),
            Some(value) => {
                let packed = Packed::from_value(*digest, &value).ok_or(Unusable::Malformed)?;
                Ok(Some(packed.unpack().map_err(|_| Unusable::Malformed)?))
            }
        }
    }

    fn state(&self, seq: u64, cache: &mut Snapshots) -> Result<PollState, String> {
        let stored = self.entry(seq).map_err(|e| format!("entry {seq} in the index: {e}"))?;
        let record = Record::parse(&stored.text).map_err(|e| format!("entry {seq} in the index: {e}"))?;
        if record.seq != seq {
            return Err(format!("the index has entry {} in the place of entry {seq}", record.seq));
        }
        let opening = stored.opening.ok_or_else(|| format!("the index has no opening for entry {seq}"))?;
        PollState::load(&record, &opening, &|digest| self.content(digest), cache)
            .map_err(|e| format!("from the index: {e}"))
    }
}

/// What a compressed row holds: another release may compress the same bytes otherwise.
fn held(row: &Row, value: &[u8]) -> Option<Vec<u8>> {
    match row {
        Row::Entries(_) | Row::Signatures(_) => bundle::decompress(value),
        Row::Content(digest) => Packed::from_value(*digest, value)?.unpack().ok(),
        _ => None,
    }
}

/// Divergences as they are folded, and what makes facts for them.
#[derive(Default)]
struct Folding {
    all: Divergences,
    maker: FactsMaker,
}

impl Folding {
    fn push(&mut self, state: &PollState) -> Result<(), ReplayError> {
        let facts = self.maker.facts(state)?;
        Ok(self.all.push(&facts)?)
    }

    fn fingerprint(&self) -> Fingerprint {
        let mut fingers = Fingers::default();
        for (name, value) in self.all.rows() {
            fingers.put(name.as_bytes(), &value);
        }
        fingers.done()
    }

    /// The same after a program ended and another one began.
    fn restored(&self) -> Result<Folding, ReplayError> {
        let rows = self.all.rows();
        let mut get = |name: &str| Ok::<_, Infallible>(rows.get(name).cloned());
        let all = Divergences::restore(&mut get)?.unwrap_or_default();
        Ok(Folding { all, maker: FactsMaker::default() })
    }
}

fn projections(
    log: &LogReader,
    kept: Option<&Kept<'_>>,
    out: &mut Replayed,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<(), ReplayError> {
    let size = out.head.size;
    let (mut straight, mut broken, mut indexed) =
        (Folding::default(), Folding::default(), Folding::default());
    let (mut caches, mut done) = ([(); 2].map(|()| Snapshots::with_capacity(2)), 0);
    // An index that is behind is caught up at the next start; there is nothing to fold from it up to the moment.
    let mut kept = kept.filter(|kept| kept.size >= size);
    for entry in log.entries(0, size) {
        let (seq, stored): (u64, Arc<Stored>) = entry?;
        if seq % WIDTH == 0 {
            progress(seq, size);
        }
        let record = Record::parse(&stored.text).map_err(|source| ReplayError::Record { seq, source })?;
        if !matches!(record.body, Body::Poll(_)) {
            continue;
        }
        let state = match PollState::of(log, seq, &mut caches[0]) {
            Ok(state) => state,
            Err(StateError::Missing { .. }) => {
                out.without_content += 1;
                continue;
            }
            Err(e) => return Err(ReplayError::State { seq, source: Box::new(e) }),
        };
        straight.push(&state)?;
        broken.push(&state)?;
        done += 1;
        if done == out.polls / 2 {
            broken = broken.restored()?;
        }
        if let Some(index) = kept {
            // What a lying index says need not even fold.
            let folded = index.state(seq, &mut caches[1]);
            match folded.and_then(|state| indexed.push(&state).map_err(|e| format!("from the index: {e}"))) {
                Ok(()) => {}
                Err(e) => {
                    // One that cannot be folded from says so once; what follows from it would be told again and again.
                    out.differs(|| e);
                    kept = None;
                }
            }
        }
    }
    progress(size, size);
    out.divergences = straight.fingerprint();
    if broken.fingerprint() != out.divergences {
        out.differs(|| "divergences put away and restored half-way are other bytes".to_owned());
    }
    if kept.is_some() && indexed.fingerprint() != out.divergences {
        out.differs(|| {
            "divergences folded from the index are other bytes than those folded from the journal".to_owned()
        });
    }
    Ok(())
}
