//! Recorded evidence read by today's readers: what would be seen now in what was said then.
//!
//! An audit asks whether a state follows from its evidence by the reader that recorded it. This asks another question:
//! whether the readers of this release understand the same evidence otherwise. A difference is no fault of the log. It
//! says which verdicts rest on a reading that has since been corrected, before the next poll shows it as `reader changed`.

use crate::read::{ReadError, ReadLog};
use crate::state::{PollState, Snapshots, StateError};
use isoledger_core::json::to_canonical;
use isoledger_core::model::{Failure, Reader};
use isoledger_core::record::{Body, Record, RecordError};
use isoledger_core::{Digest, Timestamp};
use std::collections::BTreeSet;

/// Today's readers. The caller's, since the ledger knows no vendor.
pub trait TodaysReaders {
    /// A switch's evidence, read by today's reader of the dialect: the reader, and the state's canonical bytes or why
    /// there is none.
    fn observed(&mut self, dialect: &str, evidence: &[u8]) -> Rereading;
    /// Likewise a cloud manager's.
    fn declared(&mut self, dialect: &str, evidence: &[u8]) -> Rereading;
}

/// What today's reader made of evidence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rereading {
    /// The reader; `None` when this release has none for the dialect.
    pub reader: Option<Reader>,
    /// The state's canonical bytes, or why the evidence gives none.
    pub state: Result<Vec<u8>, String>,
}

/// Evidence that is understood otherwise today.
#[derive(Clone, Debug)]
pub struct Difference {
    /// The first poll in the range that rests on this evidence.
    pub seq: u64,
    /// When that poll began.
    pub started: Timestamp,
    /// The switch; `None` for the cloud manager.
    pub switch: Option<String>,
    /// Digest of the evidence.
    pub evidence: Digest,
    /// Who read it then.
    pub recorded_by: Reader,
    /// The state recorded; `None` where the evidence was not understood then.
    pub recorded: Option<Vec<u8>>,
    /// What today's reader makes of it.
    pub today: Rereading,
}

/// What was read again.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Polls in the range.
    pub polls: u64,
    /// Distinct pieces of evidence read again.
    pub read_again: u64,
    /// Of these, those that differ.
    pub differences: u64,
    /// Those read by another version than the one that recorded them, whether or not that made a difference.
    pub other_version: u64,
    /// Polls whose content is archived, and which could therefore not be read again.
    pub without_content: u64,
}

/// Why a log could not be read again.
#[derive(Debug, thiserror::Error)]
pub enum RenormaliseError {
    /// The log cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
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
}

/// Reads the evidence of the polls recorded from the first to the second time of `range` (`None`: no bound) again, each
/// distinct piece once, and tells `found` every difference in the order of the log. `progress` is told how many entries are done, and of how many.
///
/// # Errors
/// The log or a poll's content cannot be read. Evidence that is not understood is no error but a difference.
pub fn renormalise(
    log: &impl ReadLog,
    range: (Option<Timestamp>, Option<Timestamp>),
    readers: &mut dyn TodaysReaders,
    found: &mut dyn FnMut(Difference),
    progress: &mut dyn FnMut(u64, u64),
) -> Result<Summary, RenormaliseError> {
    let size = log.size()?;
    let mut out = Summary::default();
    let mut cache = Snapshots::with_capacity(2);
    let mut seen: BTreeSet<(Digest, Option<Digest>, Reader)> = BTreeSet::new();
    let mut last_snapshot = None;
    for entry in log.entries(0, size) {
        let (seq, stored) = entry?;
        if seq % 256 == 0 {
            progress(seq, size);
        }
        let record =
            Record::parse(&stored.text).map_err(|source| RenormaliseError::Record { seq, source })?;
        let outside =
            range.0.is_some_and(|from| record.time < from) || range.1.is_some_and(|to| record.time > to);
        if outside || !matches!(record.body, Body::Poll(_)) {
            continue;
        }
        out.polls += 1;
        let state = match PollState::of(log, seq, &mut cache) {
            Ok(state) => state,
            Err(StateError::Missing { .. }) => {
                out.without_content += 1;
                continue;
            }
            Err(e) => return Err(RenormaliseError::State { seq, source: Box::new(e) }),
        };
        if last_snapshot.replace(state.parsed.digest) == Some(state.parsed.digest) {
            continue;
        }
        let manager = state.manager();
        let declared = manager.state.map(|_| to_canonical(state.declared()));
        let switches = state
            .switches()
            .map(|(name, source, o)| (Some(name.to_owned()), source, o.map(|o| to_canonical(&**o))));
        for (switch, source, recorded) in std::iter::once((None, manager, declared)).chain(switches) {
            let Some(evidence) = source.evidence else { continue };
            // Only what was not understood may be understood today. A silent source's evidence is not whole, a changed
            // one's is not its own, and a failed cloud manager's state is an older one's.
            match (source.failure, &switch) {
                (None, _) | (Some(Failure::Unreadable), Some(_)) => {}
                _ => continue,
            }
            if !seen.insert((evidence, source.state, source.reader.clone())) {
                continue;
            }
            let bytes = match log.content(&evidence) {
                Ok(bytes) => bytes,
                Err(ReadError::NoContent { .. }) => continue,
                Err(e) => return Err(e.into()),
            };
            let dialect = &source.reader.dialect;
            let today = match &switch {
                Some(_) => readers.observed(dialect, &bytes),
                None => readers.declared(dialect, &bytes),
            };
            out.read_again += 1;
            out.other_version += u64::from(today.reader.as_ref() != Some(&source.reader));
            let same = match (&recorded, &today.state) {
                (Some(then), Ok(now)) => then == now,
                (None, Err(_)) => true,
                _ => false,
            };
            if !same {
                out.differences += 1;
                found(Difference {
                    seq,
                    started: state.started(),
                    switch,
                    evidence,
                    recorded_by: source.reader.clone(),
                    recorded,
                    today,
                });
            }
        }
    }
    progress(size, size);
    Ok(out)
}
