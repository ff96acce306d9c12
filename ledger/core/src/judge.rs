//! Findings and verdicts: the same code for the service, the auditor and the tenant.
//!
//! [`judge`] is a function of the common part, one slice and one network's section, and of nothing else. It is
//! version [`crate::SEMANTICS`] of the semantics; docs/formats/slice.md gives it as a table.

use crate::assemble::may_join;
use crate::hash::Digest;
use crate::json;
use crate::model::{Access, BypassClass, Failure};
use crate::slice::{
    BypassView, Carries, Common, ExitView, NetworkSection, Peer, Slice, SlicePort, UnassessedView, WidePort,
};
use crate::vlan::VlanId;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeSet, HashMap};
use std::fmt;

/// What can be wrong, a closed vocabulary.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FindingKind {
    /// A port carries the VLAN, nothing declares it, no link or exit allows it; or nics of different nodes share a
    /// logical port.
    ForeignPort,
    /// Likewise, and the cloud manager does not know the port.
    UnregisteredPort,
    /// A port carries every VLAN without being allowed to.
    AllVlans,
    /// A declared attachment of a node that is free, or whose project is neither owner nor in the access list.
    ForeignMember,
    /// Two networks are declared on one VLAN id.
    SharedVlan,
    /// The two ends of a link have different untagged VLANs.
    NativeMismatch,
    /// Something bypasses the VLAN columns.
    Bypass,
    /// Declared and not carried.
    MissingPort,
    /// Declared untagged and carried tagged, or the reverse.
    WrongTagging,
    /// The cloud manager was changing this port during the poll.
    InTransition,
    /// An answer that was not understood, or a class of bypass that was not read.
    Unreadable,
    /// No answer.
    Silent,
    /// Would be foreign, but is administratively down.
    LatentPort,
}

/// What a finding does to a verdict.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FindingClass {
    /// Violates isolation.
    Isolation,
    /// Makes the verdict unknown.
    Visibility,
    /// The network does not work as declared; no effect on the verdict.
    Connectivity,
    /// Worth mending; no effect on the verdict.
    Hygiene,
}

impl FindingKind {
    /// What it does to a verdict.
    pub fn class(self) -> FindingClass {
        use FindingKind::*;
        match self {
            ForeignPort | UnregisteredPort | AllVlans | ForeignMember | SharedVlan | NativeMismatch
            | Bypass => FindingClass::Isolation,
            MissingPort | WrongTagging => FindingClass::Connectivity,
            InTransition | Unreadable | Silent => FindingClass::Visibility,
            LatentPort => FindingClass::Hygiene,
        }
    }

    /// Its name in formats.
    pub fn name(self) -> &'static str {
        use FindingKind::*;
        match self {
            ForeignPort => "foreign-port",
            UnregisteredPort => "unregistered-port",
            AllVlans => "all-vlans",
            ForeignMember => "foreign-member",
            SharedVlan => "shared-vlan",
            NativeMismatch => "native-mismatch",
            Bypass => "bypass",
            MissingPort => "missing-port",
            WrongTagging => "wrong-tagging",
            InTransition => "in-transition",
            Unreadable => "unreadable",
            Silent => "silent",
            LatentPort => "latent-port",
        }
    }
}

impl fmt::Display for FindingKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What a finding is about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Subject {
    /// A port, by handles.
    Port(Peer),
    /// A switch, by handle.
    Switch(Digest),
    /// A class of bypass on a switch.
    Class {
        /// Handle of the switch.
        switch: Digest,
        /// The class.
        class: BypassClass,
    },
    /// The cloud manager.
    Manager,
    /// An attachment of the network.
    Nic {
        /// The node.
        node: String,
        /// The nic.
        nic: String,
    },
    /// The network itself.
    Network,
}

/// Something that is wrong with one network at one poll.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Finding {
    /// What.
    pub finding: FindingKind,
    /// Where.
    pub subject: Subject,
}

/// What a poll says of a network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// Everything was read, and nobody but the declared is on the network.
    Isolated,
    /// Something could not be read, and nothing that was read violates.
    Unknown,
    /// An isolation finding.
    Violated,
}

impl Verdict {
    /// Its name in formats.
    pub fn name(self) -> &'static str {
        match self {
            Verdict::Isolated => "isolated",
            Verdict::Unknown => "unknown",
            Verdict::Violated => "violated",
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What was not assessed, and is said every time.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum NotAssessed {
    /// Whether cables run where the declaration says.
    Cabling,
    /// A class of bypass on a switch the network is on.
    Class {
        /// Handle of the switch.
        switch: Digest,
        /// The class.
        class: BypassClass,
    },
    /// A port the operator does not assess.
    Port {
        /// Handle of the switch.
        switch: Digest,
        /// Handle of the port.
        port: Digest,
        /// The operator's reason.
        reason: String,
    },
    /// What is behind an exit.
    Exit {
        /// Its name.
        name: String,
    },
}

/// The result of judging one network at one poll.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Judgement {
    /// The verdict.
    pub verdict: Verdict,
    /// Whether every attachment is carried as declared.
    pub conforms: bool,
    /// Whether any project may join.
    pub public: bool,
    /// Sorted, each once.
    pub findings: Vec<Finding>,
    /// Exits that carry the network, sorted by name.
    pub exits: Vec<ExitView>,
    /// Sorted, each once.
    pub not_assessed: Vec<NotAssessed>,
}

/// Why a slice contradicts itself. An honest recorder never signs one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Inconsistent {
    /// The network's section is not among the slice's.
    #[error("the slice of VLAN {vlan} does not hold the section of network {name:?}")]
    NoSection {
        /// The slice's VLAN.
        vlan: VlanId,
        /// The network.
        name: String,
    },
    /// Section and slice speak of different VLANs or leases.
    #[error("the section of network {name:?} is of another VLAN or lease than the slice")]
    OtherSlice {
        /// The network.
        name: String,
    },
    /// A port is listed twice or out of order.
    #[error("the slice or the wide section lists ports twice or out of order")]
    Order,
    /// The attachments of the section are not the declarations of the slice.
    #[error("the attachments of network {name:?} are not those its slice declares on ports")]
    Attachments {
        /// The network.
        name: String,
    },
}

/// The common part, indexed once for judging many networks.
pub struct CommonIndex<'a> {
    common: &'a Common,
    unread: HashMap<Digest, Failure>,
    bypasses: HashMap<Digest, &'a BypassView>,
    reasons: HashMap<(Digest, Digest), &'a UnassessedView>,
    wide: HashMap<(Digest, Digest), &'a WidePort>,
    all_vlans: BTreeSet<(Digest, Digest)>,
}

impl<'a> CommonIndex<'a> {
    /// Indexes the common part.
    pub fn new(common: &'a Common) -> CommonIndex<'a> {
        let wide = &common.wide.ports;
        CommonIndex {
            common,
            unread: common.coverage.switches.iter().map(|u| (u.switch, u.failure)).collect(),
            bypasses: common.bypasses.switches.iter().map(|b| (b.switch, b)).collect(),
            reasons: common.scope.unassessed.iter().map(|u| ((u.switch, u.port), u)).collect(),
            wide: wide.iter().map(|w| ((w.switch, w.port), w)).collect(),
            all_vlans: wide.iter().filter(|w| w.carries_all()).map(|w| (w.switch, w.port)).collect(),
        }
    }

    /// The common part.
    pub fn common(&self) -> &'a Common {
        self.common
    }
}

/// Judges one network by the common part, its slice and its section. `accept` holds the classes of bypass whose
/// being unread the one who asks accepts; the recorder accepts none.
///
/// # Errors
/// A slice that contradicts itself or the section.
pub fn judge(
    index: &CommonIndex<'_>,
    slice: &Slice,
    section: &NetworkSection,
    accept: &BTreeSet<BypassClass>,
) -> Result<Judgement, Inconsistent> {
    let own = own_index(slice, section)?;
    check_consistent(index, slice, section, own)?;
    let mut j = Judge {
        index,
        slice,
        manager_read: index.common.coverage.manager.is_none(),
        lines: slice.ports.iter().map(|p| ((p.switch, p.port), p)).collect(),
        involved: BTreeSet::new(),
        findings: BTreeSet::new(),
        exits: BTreeSet::new(),
        not_assessed: BTreeSet::from([NotAssessed::Cabling]),
    };
    if slice.networks.len() > 1 {
        j.find(FindingKind::SharedVlan, Subject::Network);
    }
    match index.common.coverage.manager {
        None => j.members(section),
        Some(Failure::Silent) => j.find(FindingKind::Silent, Subject::Manager),
        Some(_) => j.find(FindingKind::Unreadable, Subject::Manager),
    }
    for m in &section.attachments {
        if let Some(at) = m.at {
            j.involved.insert(at.switch);
        }
    }
    for p in &slice.ports {
        j.port(p);
    }
    for w in &index.common.wide.ports {
        j.wide(w);
    }
    for u in &index.common.coverage.ports {
        if u.vlans.contains(slice.vlan) {
            j.involved.insert(u.switch);
            if u.unassessed {
                j.unassessed(u.switch, u.port);
            } else {
                j.find(FindingKind::Unreadable, Subject::Port(Peer { switch: u.switch, port: u.port }));
            }
        }
    }
    j.switches(accept);
    let class = |c| j.findings.iter().any(|f: &Finding| f.finding.class() == c);
    let verdict = if class(FindingClass::Isolation) {
        Verdict::Violated
    } else if class(FindingClass::Visibility) {
        Verdict::Unknown
    } else {
        Verdict::Isolated
    };
    Ok(Judgement {
        verdict,
        conforms: !class(FindingClass::Connectivity),
        public: section.access == Access::Public,
        findings: j.findings.into_iter().collect(),
        exits: j.exits.into_iter().collect(),
        not_assessed: j.not_assessed.into_iter().collect(),
    })
}

fn own_index(slice: &Slice, section: &NetworkSection) -> Result<u32, Inconsistent> {
    if section.vlan != slice.vlan || section.lease != slice.lease {
        return Err(Inconsistent::OtherSlice { name: section.name.clone() });
    }
    let digest = Digest::of(&json::to_canonical(section));
    let at = slice.networks.iter().position(|d| *d == digest);
    at.and_then(|i| u32::try_from(i).ok())
        .ok_or_else(|| Inconsistent::NoSection { vlan: slice.vlan, name: section.name.clone() })
}

// What a lying recorder could otherwise use to say one thing in the section and another in the ports.
fn check_consistent(
    index: &CommonIndex<'_>,
    slice: &Slice,
    section: &NetworkSection,
    own: u32,
) -> Result<(), Inconsistent> {
    let wide = &index.common.wide.ports;
    let sorted = slice.ports.windows(2).all(|w| (w[0].switch, w[0].port) < (w[1].switch, w[1].port))
        && wide.windows(2).all(|w| (w[0].switch, w[0].port) < (w[1].switch, w[1].port))
        && slice.networks.windows(2).all(|w| w[0] < w[1]);
    if !sorted {
        return Err(Inconsistent::Order);
    }
    let mut wanted: Vec<(Digest, Digest, Carries)> =
        section.attachments.iter().filter_map(|m| m.at.map(|a| (a.switch, a.port, m.carried))).collect();
    let mut found: Vec<(Digest, Digest, Carries)> = slice
        .ports
        .iter()
        .flat_map(|p| p.declared.iter().filter(|d| d.network == own).map(|d| (p.switch, p.port, d.carried)))
        .collect();
    wanted.sort_unstable();
    found.sort_unstable();
    let known = u32::try_from(slice.networks.len()).unwrap_or(u32::MAX);
    let in_range = slice.ports.iter().flat_map(|p| &p.declared).all(|d| d.network < known);
    if wanted != found || !in_range {
        return Err(Inconsistent::Attachments { name: section.name.clone() });
    }
    Ok(())
}

struct Judge<'a> {
    index: &'a CommonIndex<'a>,
    slice: &'a Slice,
    manager_read: bool,
    lines: HashMap<(Digest, Digest), &'a SlicePort>,
    // Switches that this network's frames may reach; only their bypasses and silences concern it.
    involved: BTreeSet<Digest>,
    findings: BTreeSet<Finding>,
    exits: BTreeSet<ExitView>,
    not_assessed: BTreeSet<NotAssessed>,
}

impl Judge<'_> {
    fn find(&mut self, finding: FindingKind, subject: Subject) {
        self.findings.insert(Finding { finding, subject });
    }

    fn unassessed(&mut self, switch: Digest, port: Digest) {
        let reason = self.index.reasons.get(&(switch, port)).map_or(String::new(), |u| u.reason.clone());
        self.not_assessed.insert(NotAssessed::Port { switch, port, reason });
    }

    fn exit(&mut self, exit: &ExitView) {
        self.not_assessed.insert(NotAssessed::Exit { name: exit.name.clone() });
        self.exits.insert(exit.clone());
    }

    fn members(&mut self, section: &NetworkSection) {
        for m in &section.attachments {
            let nic = || Subject::Nic { node: m.node.clone(), nic: m.nic.clone() };
            if m.at.is_none() {
                self.find(FindingKind::MissingPort, nic());
            }
            let moving = m.at.is_some_and(|a| self.lines.get(&(a.switch, a.port)).is_some_and(|p| p.moving));
            let member = m.project.as_ref().is_some_and(|p| may_join(&section.owner, &section.access, p));
            if !member && !moving {
                self.find(FindingKind::ForeignMember, nic());
            }
        }
    }

    fn port(&mut self, p: &SlicePort) {
        let at = Peer { switch: p.switch, port: p.port };
        let subject = Subject::Port(at);
        // A declared port of a switch that was not read is not known to be missing.
        let read = !self.index.unread.contains_key(&p.switch);
        self.involved.insert(p.switch);
        let carries = p.carries != Carries::None && !p.down;
        if let (Some(peer), true) = (p.link, carries || p.unreadable) {
            self.involved.insert(peer.switch);
        }
        if p.unassessed {
            self.unassessed(p.switch, p.port);
            return;
        }
        if p.unreadable {
            self.find(FindingKind::Unreadable, subject);
            return;
        }
        if p.moving {
            self.find(FindingKind::InTransition, subject);
            return;
        }
        let allowed = p.link.is_some() || p.exit.is_some();
        // A port listed as wide is judged there unless something is declared on it.
        let wide = self.index.wide.get(&(p.switch, p.port)).copied();
        if !carries {
            if !p.declared.is_empty() {
                if self.manager_read && read {
                    self.find(FindingKind::MissingPort, subject);
                }
            } else if p.carries != Carries::None && !allowed && wide.is_none() {
                self.find(FindingKind::LatentPort, subject);
            }
            return;
        }
        if let Some(exit) = &p.exit {
            self.exit(exit);
        }
        if !p.declared.is_empty() {
            if p.mixed && self.manager_read {
                self.find(FindingKind::ForeignPort, subject.clone());
            }
            let wrong = |d: &Carries| *d != Carries::Other && *d != p.carries;
            if self.manager_read && p.declared.iter().any(|d| wrong(&d.carried)) {
                self.find(FindingKind::WrongTagging, subject);
            }
        } else if !allowed && self.manager_read {
            let kind = if p.registered { FindingKind::ForeignPort } else { FindingKind::UnregisteredPort };
            self.find(kind, subject);
        }
        if let (Some(peer), Carries::Untagged) = (p.link, p.carries) {
            self.native(at, peer);
        }
    }

    // A link port carries this VLAN untagged: so must the other end, or frames change their VLAN on the cable.
    fn native(&mut self, at: Peer, peer: Peer) {
        if self.index.unread.contains_key(&peer.switch) {
            return;
        }
        let vlan = self.slice.vlan;
        let other = self
            .lines
            .get(&(peer.switch, peer.port))
            .map(|p| (p.carries, p.down || p.unreadable || p.unassessed || p.moving));
        let wide = self
            .index
            .wide
            .get(&(peer.switch, peer.port))
            .map(|w| (w.carries(vlan), w.down || w.unassessed || w.moving));
        let unread =
            self.index.common.coverage.ports.iter().any(|u| (u.switch, u.port) == (peer.switch, peer.port));
        let (carries, excused) = other.or(wide).unwrap_or((Carries::None, unread));
        if carries != Carries::Untagged && !excused {
            self.find(FindingKind::NativeMismatch, Subject::Port(at));
            let other = Peer { switch: peer.switch, port: peer.port };
            self.find(FindingKind::NativeMismatch, Subject::Port(other));
        }
    }

    fn wide(&mut self, w: &WidePort) {
        let vlan = self.slice.vlan;
        let carries = w.carries(vlan);
        if carries == Carries::None {
            return;
        }
        let at = Peer { switch: w.switch, port: w.port };
        let subject = Subject::Port(at);
        let allowed = w.allowed.contains(vlan);
        self.involved.insert(w.switch);
        if let (Some(peer), true, false) = (w.link, allowed, w.down) {
            self.involved.insert(peer.switch);
        }
        if w.unassessed {
            self.unassessed(w.switch, w.port);
            return;
        }
        if w.down {
            if !allowed {
                self.find(FindingKind::LatentPort, subject);
            }
            return;
        }
        if w.moving {
            self.find(FindingKind::InTransition, subject);
            return;
        }
        let declared = self.lines.get(&(w.switch, w.port)).is_some_and(|p| !p.declared.is_empty());
        if allowed {
            if let Some(exit) = &w.exit {
                self.exit(exit);
            }
            if let (Some(peer), Carries::Untagged) = (w.link, carries) {
                self.native(at, peer);
            }
        } else if self.index.all_vlans.contains(&(w.switch, w.port)) {
            // Whoever is behind it is on every network of the domain, the port's own included; no declaration
            // could make that right, so it stands even while the cloud manager is silent.
            self.find(FindingKind::AllVlans, subject);
        } else if !declared && self.manager_read {
            let kind = if w.registered { FindingKind::ForeignPort } else { FindingKind::UnregisteredPort };
            self.find(kind, subject);
        }
    }

    fn switches(&mut self, accept: &BTreeSet<BypassClass>) {
        for switch in std::mem::take(&mut self.involved) {
            match self.index.unread.get(&switch) {
                None => {}
                Some(Failure::Silent | Failure::Unaudited) => {
                    self.find(FindingKind::Silent, Subject::Switch(switch));
                }
                Some(Failure::Unreadable | Failure::SourceChanged) => {
                    self.find(FindingKind::Unreadable, Subject::Switch(switch));
                }
            }
            let Some(b) = self.index.bypasses.get(&switch) else { continue };
            for d in &b.dirty {
                if d.vlans.contains(self.slice.vlan) {
                    self.find(FindingKind::Bypass, Subject::Class { switch, class: d.class });
                }
            }
            for class in &b.unread {
                self.not_assessed.insert(NotAssessed::Class { switch, class: *class });
                if !accept.contains(class) {
                    self.find(FindingKind::Unreadable, Subject::Class { switch, class: *class });
                }
            }
        }
    }
}
