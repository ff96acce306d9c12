//! Divergences: what differs, since when, and who moved.
//!
//! A *divergence* is a finding's life at one place (a port, a switch, a class of bypass, the cloud manager, a nic, a
//! network), with the VLANs it covers. It is open while its finding is found and closed when a reading says otherwise.
//! All of this is a projection: a fold over polls ([`Divergences::push`]) that signs nothing and can be computed again
//! from the log at any time, to the same bytes. The page is docs/formats/divergence.md; the rules are these.
//!
//! # What a poll says of a place
//! - *found*: a network's judgement holds the finding.
//! - *agreeing*: not found, and everything the finding rests on was read in this poll.
//! - *unseen*: not found, but the switch, the cloud manager or the port was silent, not understood or in transition.
//!   A silence is no repair: an open divergence stays open, *not confirmed since*. Nor is it agreement: it never
//!   begins an onset interval.
//! - *withdrawn*: the operator took the switch out of the scope, or the port out of what is assessed. The divergence
//!   is closed by the scope, and its closing claims no agreement.
//!
//! # Sides and reads
//! A finding about a port is a conjunction of what the port does (its switch's side), what is declared on the port
//! and on the VLAN (the cloud manager's side), and what the scope allows. Each *read* of a side has a window: the
//! manifest's window of the switch, or that of the port's second reading; the window of the declared state in force,
//! which may lie before the poll; the poll itself for the scope. The true moment of a read is somewhere in it.
//! A cached declared state is read once, whatever number of polls rest on it.
//!
//! The *base* of a place is the last poll before in which it was not unseen. A side *moved* when the part of it the
//! finding rests on ([`sides`]), for the VLANs in question, differs between the base and now. A VLAN moved when it has
//! not been read as declared all the time since the base.
//!
//! # Onset
//! For the first poll that finds it, the *onset interval* is `(after, by]`:
//! - `after`: the start of the last read of a side that moved which still showed that side as it was at the base;
//!   where several moved, the earliest of these.
//! - `by`: the latest end of the first disagreeing reads, that is of the reads of all sides in that poll.
//!
//! The interval holds the moment the disagreement began. Sides that did not move satisfied their part of the
//! conjunction at the base already; that the finding was absent there is due to a side that moved, and as long as
//! *that* side reads as at the base the finding is absent, whatever the others do. So the beginning is later than
//! that read, and it is not later than the poll that found it. Nothing is assumed about moments nobody looked at:
//! a side may have moved and come back there.
//!
//! `after` is absent (*before the first reading*) when there is no base: the first poll ever, a new switch, a switch
//! never read together with the cloud manager; and when the reader of a side that moved, or the semantics, changed
//! since the base, because then the earlier reads are no evidence that it was not there.
//!
//! A finding that rests on the switch alone (`all-vlans`, `native-mismatch`) is unseen only while its port says
//! nothing; reads of a port in transition then count for neither end.
//!
//! # Cause
//! | cause | when |
//! |---|---|
//! | `switch-moved` | only the switch's side moved |
//! | `declaration-moved` | only the cloud manager's side moved |
//! | `both` | more than one side moved; `movers` says which |
//! | `scope-changed` | only the scope moved |
//! | `blind` | no base: one side has no earlier reading |
//! | `reader-changed` | a side that moved is read by another dialect or version than at the base, or by other semantics |
//! | `source-changed` | a side that moved shows another identity than at the base |
//! | `reading` | nobody moved: the finding is about a reading that failed, and ends with one that did not |
//! | `unclear` | no side was seen to move; the interval then runs over the reads of all sides |
//!
//! # Closing
//! The same backwards. For the first agreeing poll, with the last poll that found it as base:
//! - `after`: the earliest start of the reads of all sides in the last poll that found it, but not before the onset.
//!   For a port that was read again, the declared state was confirmed in that poll: its read starts with the poll.
//!   A finding about the switch alone is about a declared VLAN all the same, which counts as read when the poll starts.
//! - `by`: the end of the first read, of the unbroken run that shows a side that moved as it is now; where several
//!   moved, the latest of these.
//!
//! # What passed
//! A switch that tells of its changes may have carried something between two readings and at neither. Such a finding is
//! a key of its own, marked *passed*; it is found in the one poll whose reading told of it, and closed by the next,
//! whatever that one reads. When it was is the switch's *claim*: `from` the moment it first told of it, `to` the moment it
//! told that it was over. It began in `(after, from]`, where `after` is the start of the last read without it, and ended in
//! `(from, to]`; `switch-moved`.
//!
//! # What was missed
//! *Gaps* list the failed readings between the base and the poll that shows the change: whose, which polls, and from
//! the start of the last good read before to the end of the next. Of each source the last eight are remembered. A poll that was never made leaves no record; it shows as a wide interval.

mod facts;
mod fold;
mod moves;
mod query;
mod rows;
pub mod sides;
mod track;

#[cfg(test)]
mod tests;

pub use facts::{Extent, Facts, FactsMaker, Key, NetworkFacts, PollFacts};
pub use fold::{Divergences, FoldError};
pub use query::{Mark, Query, Run, VerdictNow};

use crate::state::Place;
use isoledger_core::judge::{FindingClass, FindingKind};
use isoledger_core::{Timestamp, VlanSet};
use serde::{Deserialize, Serialize};
use sides::PortView;
use std::collections::BTreeSet;
use std::fmt;

/// A finding's life at one place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Divergence {
    /// `<seq>-<16 hex digits>`: the poll that opened it, and BLAKE3 of the canonical JSON of its key.
    pub id: String,
    /// Where and what.
    pub key: Key,
    /// The VLANs it covers now, or when it was last found.
    pub vlans: VlanSet,
    /// Every VLAN it has covered.
    pub ever: VlanSet,
    /// The networks it has covered, for nics and networks; elsewhere the VLANs tell
    /// ([`Divergences::networks_of`]).
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub networks: BTreeSet<String>,
    /// When it began, and why.
    pub onset: Change,
    /// Of one that passed: when it was there, as the switch claims.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub claim: Option<Claim>,
    /// Set while it is open and the last polls could not see it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unconfirmed: Option<Unconfirmed>,
    /// When it ended, and why; absent while it is open.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub closed: Option<Change>,
    /// Both sides of a port, before and after.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sides: Option<Sides>,
}

impl Divergence {
    /// Whether it is open.
    pub fn is_open(&self) -> bool {
        self.closed.is_none()
    }

    /// What it does to a verdict.
    pub fn class(&self) -> FindingClass {
        self.key.finding.class()
    }

    /// Its place.
    pub fn place(&self) -> &Place {
        &self.key.place
    }

    /// Its finding.
    pub fn finding(&self) -> FindingKind {
        self.key.finding
    }
}

/// When something was, between two readings, by what a switch told: the moments at which it came.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Claim {
    /// It was told of.
    pub from: Timestamp,
    /// It was told to be over.
    pub to: Timestamp,
}

/// The beginning or the end of a divergence: it happened in `(after, by]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Change {
    /// The poll that showed it.
    pub seq: u64,
    /// It happened after this; `None`: before the first reading.
    pub after: Option<Timestamp>,
    /// And not after this.
    pub by: Timestamp,
    /// Why.
    pub cause: Cause,
    /// The sides that moved.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub movers: BTreeSet<Mover>,
    /// Failed readings between the base and that poll, by source.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub gaps: Vec<Gap>,
}

/// Why a divergence began or ended; see the [module](self) for the exact meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Cause {
    /// Only the switch's side moved.
    SwitchMoved,
    /// Only the cloud manager's side moved.
    DeclarationMoved,
    /// More than one side moved.
    Both,
    /// The operator changed the scope.
    ScopeChanged,
    /// One side has no earlier reading.
    Blind,
    /// We read otherwise than before.
    ReaderChanged,
    /// The source is another than before.
    SourceChanged,
    /// The reading itself failed, or works again.
    Reading,
    /// No side was seen to move.
    Unclear,
}

impl Cause {
    /// Its name in formats.
    pub fn name(self) -> &'static str {
        match self {
            Cause::SwitchMoved => "switch-moved",
            Cause::DeclarationMoved => "declaration-moved",
            Cause::Both => "both",
            Cause::ScopeChanged => "scope-changed",
            Cause::Blind => "blind",
            Cause::ReaderChanged => "reader-changed",
            Cause::SourceChanged => "source-changed",
            Cause::Reading => "reading",
            Cause::Unclear => "unclear",
        }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A side that can move.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mover {
    /// What the switch does.
    Switch,
    /// What the cloud manager declares.
    Declaration,
    /// What the scope says.
    Scope,
}

/// Readings that failed, between two that did not.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Gap {
    /// Whose: a switch, the cloud manager, or one port.
    pub of: Place,
    /// Why, at last.
    pub why: Why,
    /// The first poll that failed.
    pub first: u64,
    /// Failed polls.
    pub polls: u64,
    /// Start of the last good read before; `None` when there was none.
    pub from: Option<Timestamp>,
    /// End of the next good read.
    pub to: Timestamp,
}

/// Why a source or a port said nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Why {
    /// No answer.
    Silent,
    /// An answer that was not understood, or access refused.
    Unreadable,
    /// Another identity than the scope admits.
    SourceChanged,
    /// The port was being changed.
    InTransition,
    /// Not in the scope, or not assessed.
    OutOfScope,
}

/// Since when an open divergence could not be seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Unconfirmed {
    /// The last poll that found it.
    pub seq: u64,
    /// Earliest start of that poll's reads of the sides.
    pub started: Timestamp,
    /// End of that poll.
    pub ended: Timestamp,
}

/// Both sides of a port around the changes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sides {
    /// At the base, with the last reads that showed it; `None` without a base.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<PortView>,
    /// In the poll that opened it, with the first reads that showed it: these may be earlier than that poll, when
    /// the other side was not read.
    pub opened: PortView,
    /// In the poll that closed it, likewise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub closed: Option<PortView>,
}
