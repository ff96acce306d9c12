//! What an audit found wrong: which entry, and of what kind. For whoever must act on it without reading sentences.

use crate::audit::{AuditError, EntryFault};
use crate::facts::FactsError;
use crate::highwater::HighWaterError;
use crate::journal::JournalError;
use crate::public::PublicFault;
use crate::read::ReadError;
use crate::recompute::RecomputeError;
use crate::state::StateError;
use isoledger_core::tiles;
use serde::Serialize;
use std::fmt;

/// Where, and what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Damage {
    /// The first entry it touches, where entries can be told.
    pub entry: Option<u64>,
    /// Its kind.
    pub kind: DamageKind,
}

/// Kinds of damage. A closed list: docs/THREATS.md says of each lie which of these refutes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum DamageKind {
    /// Stored bytes are not those that were written: a frame's checksum, a bundle's framing.
    Bytes,
    /// Something is not there: a segment, the end of the journal, a file of an export.
    Missing,
    /// Journal and high-water mark are of two copies.
    TwoCopies,
    /// The high-water mark is missing or damaged.
    HighWater,
    /// An entry is not in its one spelling.
    Format,
    /// An entry may not stand where it stands: dropped, repeated, moved, spliced in, or dated backwards.
    Chain,
    /// An entry is not signed by the key in force.
    Signature,
    /// The log begins with another key than the one known for it.
    Key,
    /// A tile does not lead to the root, or holds another hash than its entry has.
    Tile,
    /// The checkpoint is none of the log's key, or is not there.
    Checkpoint,
    /// The entries lead to another root than was signed, or cosigned.
    Root,
    /// What was audited before is no part of this log: another history.
    History,
    /// What was audited before is longer than this log: an older copy.
    Older,
    /// An opening does not open its entry's commitment.
    Commitment,
    /// Content is missing, or not what its address says.
    Content,
    /// A recorded state does not follow from its evidence.
    Evidence,
    /// Slices and common part do not lead to the root that the entry states.
    Slices,
    /// Leases and slot keys do not follow from the poll before.
    Lease,
    /// How long a port has been in transition does not follow from the poll before.
    Transition,
    /// The scope in force is not the one recorded last.
    Scope,
    /// The disk or the server would not give it; nothing is known of it.
    Unreadable,
}

impl DamageKind {
    /// Every kind.
    pub const ALL: [DamageKind; 21] = [
        DamageKind::Bytes,
        DamageKind::Missing,
        DamageKind::TwoCopies,
        DamageKind::HighWater,
        DamageKind::Format,
        DamageKind::Chain,
        DamageKind::Signature,
        DamageKind::Key,
        DamageKind::Tile,
        DamageKind::Checkpoint,
        DamageKind::Root,
        DamageKind::History,
        DamageKind::Older,
        DamageKind::Commitment,
        DamageKind::Content,
        DamageKind::Evidence,
        DamageKind::Slices,
        DamageKind::Lease,
        DamageKind::Transition,
        DamageKind::Scope,
        DamageKind::Unreadable,
    ];

    /// Its name, as `audit --json` has it.
    pub fn name(self) -> &'static str {
        match self {
            DamageKind::Bytes => "bytes",
            DamageKind::Missing => "missing",
            DamageKind::TwoCopies => "two-copies",
            DamageKind::HighWater => "high-water",
            DamageKind::Format => "format",
            DamageKind::Chain => "chain",
            DamageKind::Signature => "signature",
            DamageKind::Key => "key",
            DamageKind::Tile => "tile",
            DamageKind::Checkpoint => "checkpoint",
            DamageKind::Root => "root",
            DamageKind::History => "history",
            DamageKind::Older => "older",
            DamageKind::Commitment => "commitment",
            DamageKind::Content => "content",
            DamageKind::Evidence => "evidence",
            DamageKind::Slices => "slices",
            DamageKind::Lease => "lease",
            DamageKind::Transition => "transition",
            DamageKind::Scope => "scope",
            DamageKind::Unreadable => "unreadable",
        }
    }
}

impl fmt::Display for DamageKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

fn damage(entry: impl Into<Option<u64>>, kind: DamageKind) -> Damage {
    Damage { entry: entry.into(), kind }
}

impl From<&ReadError> for Damage {
    fn from(e: &ReadError) -> Damage {
        match e {
            ReadError::Record { seq, .. } => damage(*seq, DamageKind::Format),
            ReadError::Facts(e) => facts(None, e),
            ReadError::NoContent { .. } | ReadError::Content(_) => damage(None, DamageKind::Content),
            ReadError::Journal(e) => journal(e),
            ReadError::HighWater(e) => match e {
                HighWaterError::Missing { .. } | HighWaterError::Damaged { .. } => {
                    damage(None, DamageKind::HighWater)
                }
                HighWaterError::Io { .. } => damage(None, DamageKind::Unreadable),
            },
            ReadError::Inconsistent { .. } => damage(None, DamageKind::TwoCopies),
            ReadError::NoCheckpoint { .. } => damage(None, DamageKind::Checkpoint),
            ReadError::Changed { first, .. } => damage(*first, DamageKind::Bytes),
            ReadError::Public { seq, fault, .. } => {
                let kind = match &**fault {
                    PublicFault::Missing => DamageKind::Missing,
                    PublicFault::Fetch(_) => DamageKind::Unreadable,
                    PublicFault::Tile(_) if seq.is_some() => DamageKind::Bytes,
                    PublicFault::Tile(_) => DamageKind::Tile,
                    PublicFault::Checkpoint(_) | PublicFault::Empty => DamageKind::Checkpoint,
                };
                damage(*seq, kind)
            }
            ReadError::Proof(_) => damage(None, DamageKind::Tile),
            ReadError::NoEntry { seq, .. } => damage(*seq, DamageKind::Missing),
            ReadError::NoTile { .. } | ReadError::NoLog { .. } => damage(None, DamageKind::Missing),
            ReadError::Store(_) => damage(None, DamageKind::Unreadable),
        }
    }
}

fn journal(e: &JournalError) -> Damage {
    match e {
        JournalError::Damaged { seq, .. } | JournalError::DamagedAhead { seq, .. } => {
            damage(*seq, DamageKind::Bytes)
        }
        JournalError::Disorder { seq, .. } => damage(*seq, DamageKind::Bytes),
        JournalError::Segment { seq, .. } => damage(*seq, DamageKind::Missing),
        JournalError::Truncated { size, .. } => damage(*size, DamageKind::Missing),
        JournalError::Io { .. } => damage(None, DamageKind::Unreadable),
    }
}

fn facts(seq: Option<u64>, e: &FactsError) -> Damage {
    match e {
        FactsError::Record { seq, .. } | FactsError::Key { seq, .. } => damage(*seq, DamageKind::Format),
        FactsError::Chain(_) | FactsError::NoGenesis { .. } => damage(seq, DamageKind::Chain),
    }
}

impl From<&AuditError> for Damage {
    fn from(e: &AuditError) -> Damage {
        match e {
            AuditError::Entry { seq, fault } => {
                let kind = match fault {
                    EntryFault::Record(_) => DamageKind::Format,
                    EntryFault::Chain(_) => DamageKind::Chain,
                    EntryFault::Facts(e) => return facts(Some(*seq), e),
                    EntryFault::Signature(_) | EntryFault::SignatureText => DamageKind::Signature,
                    EntryFault::Opening(_) | EntryFault::Commitment => DamageKind::Commitment,
                    EntryFault::Content { .. } => DamageKind::Content,
                    EntryFault::Leaf { .. } => DamageKind::Tile,
                };
                damage(*seq, kind)
            }
            AuditError::Tiles(e) => match &**e {
                tiles::AuditError::Fetch { error, .. } => error.into(),
                _ => damage(None, DamageKind::Tile),
            },
            AuditError::Checkpoint(_) => damage(None, DamageKind::Checkpoint),
            AuditError::Root { .. } => damage(None, DamageKind::Root),
            AuditError::Key { .. } => damage(0, DamageKind::Key),
            AuditError::Older { size, .. } => damage(*size, DamageKind::Older),
            AuditError::History { .. } => damage(None, DamageKind::History),
            AuditError::Read(e) => e.into(),
        }
    }
}

impl From<&RecomputeError> for Damage {
    fn from(e: &RecomputeError) -> Damage {
        match e {
            RecomputeError::Read(e) => e.into(),
            RecomputeError::Record { seq, .. } => damage(*seq, DamageKind::Format),
            RecomputeError::State { seq, source } => match &**source {
                StateError::NoOpening { .. } | StateError::Opening { .. } => {
                    damage(*seq, DamageKind::Commitment)
                }
                _ => damage(*seq, DamageKind::Content),
            },
            RecomputeError::Evidence { seq, .. } => damage(*seq, DamageKind::Evidence),
            RecomputeError::Root { seq, .. } => damage(*seq, DamageKind::Slices),
            RecomputeError::Lease { seq, .. } => damage(*seq, DamageKind::Lease),
            RecomputeError::Moving { seq, .. } => damage(*seq, DamageKind::Transition),
            RecomputeError::Scope { seq, .. } => damage(*seq, DamageKind::Scope),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_the_serialised_ones_and_all_different() {
        for (n, kind) in DamageKind::ALL.into_iter().enumerate() {
            assert_eq!(serde_json::to_value(kind).unwrap(), kind.name());
            assert!(!DamageKind::ALL[..n].contains(&kind), "{kind}");
        }
    }
}
