//! What must be remembered of the past to date the next divergence: of every side its last value and read, and its
//! value at the base where that is another.

use super::query::Mark;
use super::sides::{Allowance, Carried, Declaration};
use super::{Gap, Why};
use crate::state::Place;
use isoledger_core::judge::FindingKind;
use isoledger_core::model::{BypassClass, Failure, Reader, Window};
use isoledger_core::{Digest, Timestamp, VlanId, VlanSet};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// The most gaps remembered of one source; older ones are forgotten.
pub(crate) const MAX_GAPS: usize = 8;

/// A good read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Read {
    /// The poll it was made in, or that rests on it.
    pub(crate) seq: u64,
    pub(crate) window: Window,
}

/// The last poll: all that an unchanged poll changes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Head {
    pub(crate) v: u32,
    pub(crate) seq: u64,
    /// Polls folded so far, this one included.
    pub(crate) polls: u64,
    pub(crate) started: Timestamp,
    pub(crate) ended: Timestamp,
    pub(crate) semantics: u32,
    /// The first poll with these semantics.
    pub(crate) semantics_since: u64,
    pub(crate) facts: Digest,
    /// The last good read of the cloud manager.
    pub(crate) manager: Option<Read>,
    pub(crate) switches: BTreeMap<String, SwitchReads>,
}

/// When a switch was read.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SwitchReads {
    /// The last good read.
    pub(crate) read: Option<Read>,
    /// The last poll in which both it and the cloud manager were read.
    pub(crate) seen: Option<u64>,
    /// The last attempt, if it was in vain.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) tried: Option<Window>,
    /// Ports whose last good read is another than the switch's: read again, or not understood since. `None`: never.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) ports: BTreeMap<String, Option<Read>>,
}

impl Head {
    pub(crate) fn mark(&self) -> Mark {
        Mark { seq: self.seq, started: self.started, ended: self.ended }
    }
}

impl SwitchReads {
    /// The last good read of a port.
    pub(crate) fn port(&self, port: &str) -> Option<Read> {
        self.ports.get(port).copied().unwrap_or(self.read)
    }
}

/// Who is read, by whom, and since when not.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SourceTrack {
    pub(crate) reader: Option<Reader>,
    /// The first poll read by this reader.
    pub(crate) reader_since: u64,
    pub(crate) identity: Option<String>,
    /// The first poll that showed this identity.
    pub(crate) identity_since: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) blind: Option<Blind>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) gaps: Vec<Gap>,
}

/// A source or port that says nothing now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Blind {
    pub(crate) why: Why,
    /// Start of the last good read.
    pub(crate) from: Option<Timestamp>,
    /// The first poll of it.
    pub(crate) first: u64,
    /// Polls folded before it began.
    pub(crate) polls: u64,
}

impl Blind {
    pub(crate) fn gap(&self, of: Place, to: Timestamp, polls: u64) -> Gap {
        Gap {
            of,
            why: self.why,
            first: self.first,
            polls: polls.saturating_sub(self.polls),
            from: self.from,
            to,
        }
    }
}

/// A switch: both sides of its ports, as last read.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SwitchTrack {
    pub(crate) source: SourceTrack,
    /// Digest of the state last read.
    pub(crate) state: Option<Digest>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) observed: BTreeMap<String, Carried>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) declared: BTreeMap<String, Declaration>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) scope: BTreeMap<String, Allowance>,
    /// Ports of which a side has left its base while the port was unseen.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) departed: BTreeMap<String, Departed>,
    /// Ports that are unseen for a reason of their own, or were and have not been seen since.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) blind_ports: BTreeMap<String, BlindPort>,
    /// Bypass classes last read as dirty.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) dirty: BTreeMap<BypassClass, VlanSet>,
    /// Bypass classes the switch's last reading does not cover, and when they were last read.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) stale: BTreeMap<BypassClass, Option<Read>>,
}

/// Sides of a port that differ from the base.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Departed {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) observed: Option<Left<Carried>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) declared: Option<Left<Declaration>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) scope: Option<Left<Allowance>>,
}

impl Departed {
    pub(crate) fn is_empty(&self) -> bool {
        *self == Departed::default()
    }
}

/// A side that has left its base.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Left<T> {
    /// Its value at the base.
    pub(crate) base: T,
    /// The last read that showed it.
    pub(crate) read: Option<Window>,
    /// The first read of the unbroken run that shows its value now.
    pub(crate) since: Window,
}

impl<T: Clone + PartialEq> Left<T> {
    /// A side that was `old`, last read in `old_read`, is read as `new` in `read`.
    pub(crate) fn step(side: &mut Option<Left<T>>, old: &T, old_read: Option<Window>, new: &T, read: Window) {
        match side {
            _ if old == new => {}
            None => *side = Some(Left { base: old.clone(), read: old_read, since: read }),
            // Back at the base: reads from here on are reads of it again.
            Some(left) if left.base == *new => *side = None,
            Some(left) => left.since = read,
        }
    }
}

/// A port that is unseen for a reason of its own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct BlindPort {
    pub(crate) blind: Blind,
    /// The last poll in which it was seen.
    pub(crate) seen: Option<u64>,
    /// What findings start from that rest on the switch alone.
    pub(crate) held: Held,
}

/// The base, on its switch's side, of a port that is unseen for a reason of its own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) enum Held {
    /// It was never read before.
    Nothing,
    /// What it did, and the last read of it, before.
    At(Carried, Read),
    /// It was read well since, only not together with the cloud manager.
    Free,
}

/// The cloud manager.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ManagerTrack {
    pub(crate) source: SourceTrack,
    /// Digest of the declarations last read.
    pub(crate) declarations: Option<Digest>,
    /// Every VLAN that was ever declared.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) vlans: BTreeMap<VlanId, VlanTrack>,
    /// Attached nics whose port is in transition, by node and nic, and the last read of the cloud manager before.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) excused: BTreeMap<String, BTreeMap<String, Option<Read>>>,
}

/// Whether a VLAN is declared to a network, and since when.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct VlanTrack {
    pub(crate) declared: bool,
    /// The first poll of the unbroken run that shows it so.
    pub(crate) since: u64,
    /// The last read before, which showed it otherwise.
    pub(crate) before: Option<Window>,
    /// The first read that showed it so.
    pub(crate) read: Window,
}

/// The finding a failure becomes.
pub(crate) fn finding_of(failure: Failure) -> FindingKind {
    match failure {
        Failure::Silent | Failure::Unaudited => FindingKind::Silent,
        Failure::Unreadable | Failure::SourceChanged => FindingKind::Unreadable,
    }
}

/// Likewise as a reason.
pub(crate) fn why_of(failure: Failure) -> Why {
    match failure {
        Failure::Silent => Why::Silent,
        Failure::Unaudited => Why::OutOfScope,
        Failure::Unreadable => Why::Unreadable,
        Failure::SourceChanged => Why::SourceChanged,
    }
}

/// Names of switches, in the tracks or in a poll.
pub(crate) fn union_keys<'a, A, B>(
    a: &'a BTreeMap<String, A>,
    b: &'a BTreeMap<String, B>,
) -> BTreeSet<&'a str> {
    a.keys().chain(b.keys()).map(String::as_str).collect()
}
