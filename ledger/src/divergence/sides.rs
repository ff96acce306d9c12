//! The two sides of a port, and the part of each that a finding depends on.
//!
//! Every finding about a port is a conjunction: something the switch does *and* something the cloud manager declares
//! *and* something the scope says. The functions named `…_concern` cut out of each side what the finding's conjunct
//! looks at, so that a change elsewhere on the port moves nothing.

use isoledger_core::judge::FindingKind;
use isoledger_core::model::{PortId, PortState, Window};
use isoledger_core::slice::Carries;
use isoledger_core::{VlanId, VlanSet};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// The most attachments and nodes a [`PortView`] lists.
pub const SHOWN: usize = 16;

fn no(b: &bool) -> bool {
    !*b
}

fn none(n: &u32) -> bool {
    *n == 0
}

/// What a port does, as a switch was read. Members that are false or empty are left out.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Carried {
    /// The VLAN carried without a tag.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub untagged: Option<VlanId>,
    /// VLANs carried with a tag.
    #[serde(default, skip_serializing_if = "VlanSet::is_empty")]
    pub tagged: VlanSet,
    /// Read as administratively down.
    #[serde(default, skip_serializing_if = "no")]
    pub down: bool,
    /// The logical port it is bundled into.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bundle: Option<String>,
    /// The ports bundled into it.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub members: BTreeSet<String>,
}

impl Carried {
    /// From a port's reading.
    pub fn of(state: &PortState) -> Carried {
        Carried {
            untagged: state.untagged,
            tagged: state.tagged.clone(),
            down: state.admin_down == Some(true),
            bundle: state.aggregate.clone(),
            members: state.members.clone(),
        }
    }

    /// Every VLAN it carries by its columns.
    pub fn vlans(&self) -> VlanSet {
        match self.untagged {
            Some(v) => self.tagged.union(&VlanSet::one(v)),
            None => self.tagged.clone(),
        }
    }
}

/// What is declared on a port. Members that are false or empty are left out.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Declaration {
    /// The cloud manager knows the port.
    #[serde(default, skip_serializing_if = "no")]
    pub registered: bool,
    /// The nodes cabled to it.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub nodes: BTreeSet<String>,
    /// The attachments through it.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub attachments: BTreeSet<Attached>,
}

impl Declaration {
    /// Whether nothing is declared.
    pub fn is_empty(&self) -> bool {
        *self == Declaration::default()
    }

    fn join(&mut self, other: &Declaration) {
        self.registered |= other.registered;
        self.nodes.extend(other.nodes.iter().cloned());
        self.attachments.extend(other.attachments.iter().cloned());
    }
}

/// One attachment on a port.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Attached {
    /// The network.
    pub network: String,
    /// Its VLAN; `None` when its id cannot be judged.
    pub vlan: Option<VlanId>,
    /// Untagged, tagged or other.
    #[serde(rename = "as")]
    pub carried: Carries,
    /// The node.
    pub node: String,
    /// Its nic.
    pub nic: String,
}

/// What the scope says of a port.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Allowance {
    /// The VLANs it may carry as a link or an exit.
    pub vlans: VlanSet,
    /// The other end of its link.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub link: Option<PortId>,
    /// The operator does not assess it.
    #[serde(default, skip_serializing_if = "no")]
    pub unassessed: bool,
}

/// Both sides of a port, for people.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PortView {
    /// What it carried.
    pub carried: Carried,
    /// The reading of the switch this rests on: the last that showed it, or the first (see [`super::Sides`]).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub carried_read: Option<Window>,
    /// What was declared on it and on the ports bundled into it, up to [`SHOWN`] attachments and nodes.
    pub declared: Declaration,
    /// Attachments that are not shown.
    #[serde(default, skip_serializing_if = "none")]
    pub more: u32,
    /// The reading of the cloud manager this rests on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub declared_read: Option<Window>,
}

impl PortView {
    pub(super) fn new(
        carried: &Carried,
        carried_read: Option<Window>,
        mut declared: Declaration,
        declared_read: Option<Window>,
    ) -> PortView {
        let all = declared.attachments.len();
        declared.attachments = declared.attachments.into_iter().take(SHOWN).collect();
        declared.nodes = declared.nodes.into_iter().take(SHOWN).collect();
        let more = u32::try_from(all - declared.attachments.len()).unwrap_or(u32::MAX);
        PortView { carried: carried.clone(), carried_read, declared, more, declared_read }
    }
}

/// The declarations on a logical port: those on itself and on the ports bundled into it.
pub(super) fn together<'a>(group: impl Iterator<Item = &'a Declaration>) -> Declaration {
    group.fold(Declaration::default(), |mut all, d| {
        all.join(d);
        all
    })
}

/// Whether a finding about a port rests on what is declared there, besides what the switch does.
pub(super) fn two_sided(kind: FindingKind) -> bool {
    !matches!(kind, FindingKind::AllVlans | FindingKind::NativeMismatch | FindingKind::Unreadable)
}

/// What of a port's reading a finding on `vlans` depends on.
#[derive(PartialEq, Eq)]
pub(super) struct ObservedConcern<'a> {
    carries: VlanSet,
    untagged: Option<VlanId>,
    down: bool,
    all: bool,
    bundle: Option<&'a str>,
    members: &'a BTreeSet<String>,
}

pub(super) fn observed_concern<'a>(
    kind: FindingKind,
    port: &'a Carried,
    vlans: &VlanSet,
) -> ObservedConcern<'a> {
    use FindingKind::*;
    let carried = port.vlans();
    // A port that is down carries nothing; only a latent port is about what it would carry.
    let dead = port.down && !matches!(kind, LatentPort | InTransition);
    let carries = if dead { VlanSet::empty() } else { carried.intersection(vlans) };
    let tagging = matches!(kind, WrongTagging | NativeMismatch | InTransition);
    ObservedConcern {
        untagged: port.untagged.filter(|v| tagging && carries.contains(*v)),
        down: port.down && matches!(kind, LatentPort | InTransition),
        // A port with every VLAN is another finding than one with this VLAN.
        all: carried.is_all()
            && !dead
            && matches!(kind, ForeignPort | UnregisteredPort | AllVlans | LatentPort),
        carries,
        bundle: port.bundle.as_deref(),
        members: &port.members,
    }
}

/// What of the declarations on a port a finding on `vlans` depends on.
#[derive(PartialEq, Eq)]
pub(super) struct DeclaredConcern {
    declared: BTreeMap<VlanId, BTreeSet<Carries>>,
    registered: bool,
    mixed: bool,
}

pub(super) fn declared_concern(kind: FindingKind, port: &Declaration, vlans: &VlanSet) -> DeclaredConcern {
    use FindingKind::*;
    let mut declared: BTreeMap<VlanId, BTreeSet<Carries>> = BTreeMap::new();
    for a in &port.attachments {
        if let Some(v) = a.vlan.filter(|v| vlans.contains(*v)) {
            let how = declared.entry(v).or_default();
            // Only wrong tagging asks how; for the others it matters whether.
            if matches!(kind, WrongTagging | InTransition) {
                how.insert(a.carried);
            }
        }
    }
    let foreign = matches!(kind, ForeignPort | UnregisteredPort);
    DeclaredConcern {
        registered: foreign && declared.is_empty() && port.registered,
        mixed: foreign && !declared.is_empty() && port.nodes.len() > 1,
        declared,
    }
}

/// What of the scope's word on a port a finding on `vlans` depends on.
pub(super) fn scope_concern<'a>(
    kind: FindingKind,
    port: &'a Allowance,
    vlans: &VlanSet,
) -> (VlanSet, Option<&'a PortId>) {
    let link = port.link.as_ref().filter(|_| kind == FindingKind::NativeMismatch);
    (port.vlans.intersection(vlans), link)
}
