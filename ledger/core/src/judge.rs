//! Findings and verdicts: the same code for the service, the auditor and the tenant.
//!
//! [`judge`] is a function of the common part, one slice and one network's section, and of nothing else. It is
//! version [`crate::SEMANTICS`] of the semantics; docs/formats/slice.md gives it as a table.

use crate::assemble::{Assembly, may_join};
use crate::hash::Digest;
use crate::json;
use crate::model::{Access, BypassClass, ExitKind, Failure};
use crate::slice::{
    BypassView, Carries, Common, ExitView, NetworkSection, PassedPort, Peer, Slice, SlicePort,
    UnassessedView, WidePort,
};
use crate::vlan::VlanId;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet, HashMap};
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
    /// It was so between the reading before and this one, and at neither.
    #[serde(default, skip_serializing_if = "no")]
    pub passed: bool,
}

fn no(b: &bool) -> bool {
    !*b
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
    /// Something is listed twice or out of order.
    #[error("the slice or a section lists something twice or out of order")]
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
    // Whether every section lists each thing once and in order; if not, nothing is judged by it.
    ordered: bool,
    // Every switch the common part speaks of, by handle: its place in `seats`.
    places: HashMap<Digest, usize>,
    seats: Vec<Seat<'a>>,
    // The places of seats that have something to say: not read, or a class that is not clean.
    notable: Vec<usize>,
    reasons: HashMap<(Digest, Digest), &'a UnassessedView>,
    wide: HashMap<(Digest, Digest), usize>,
    // For each wide port: its switch, the switch at the other end of its link, and whether it carries every VLAN.
    wide_seats: Vec<(usize, Option<usize>, bool)>,
    // For each that was wide between two readings: its switch, and the switch at the other end of its link.
    passed_seats: Vec<(usize, Option<usize>)>,
}

// What the common part says of one switch.
#[derive(Clone, Copy)]
struct Seat<'a> {
    handle: Digest,
    failure: Option<Failure>,
    bypass: Option<&'a BypassView>,
}

impl<'a> CommonIndex<'a> {
    /// Indexes the common part.
    pub fn new(common: &'a Common) -> CommonIndex<'a> {
        let (coverage, wide) = (&common.coverage, &common.wide.ports);
        let ordered = common.roster.switches.is_sorted_by(|a, b| a.switch < b.switch)
            && common.scope.unassessed.is_sorted_by(|a, b| (a.switch, a.port) < (b.switch, b.port))
            && coverage.switches.is_sorted_by(|a, b| a.switch < b.switch)
            && coverage.ports.is_sorted_by(|a, b| (a.switch, a.port) < (b.switch, b.port))
            && common.bypasses.switches.is_sorted_by(|a, b| a.switch < b.switch)
            && wide.is_sorted_by(|a, b| (a.switch, a.port) < (b.switch, b.port))
            && common.wide.passed.is_sorted_by(|a, b| (a.switch, a.port) < (b.switch, b.port));
        let mut index = CommonIndex {
            common,
            ordered,
            places: HashMap::new(),
            seats: Vec::new(),
            notable: Vec::new(),
            reasons: common.scope.unassessed.iter().map(|u| ((u.switch, u.port), u)).collect(),
            wide: wide.iter().enumerate().map(|(i, w)| ((w.switch, w.port), i)).collect(),
            wide_seats: Vec::new(),
            passed_seats: Vec::new(),
        };
        for s in &common.roster.switches {
            let i = index.seat(s.switch);
            index.seats[i].failure = None;
        }
        for u in &coverage.switches {
            let i = index.seat(u.switch);
            index.seats[i].failure = Some(u.failure);
        }
        for b in &common.bypasses.switches {
            let i = index.seat(b.switch);
            index.seats[i].bypass = Some(b);
        }
        for w in wide {
            let at = index.seat(w.switch);
            let peer = w.link.map(|p| index.seat(p.switch));
            index.wide_seats.push((at, peer, w.carries_all()));
        }
        for p in &common.wide.passed {
            let at = index.seat(p.switch);
            let peer = p.link.map(|p| index.seat(p.switch));
            index.passed_seats.push((at, peer));
        }
        let notable = |s: &Seat<'_>| s.failure.is_some() || s.bypass.is_some();
        index.notable = (0..index.seats.len()).filter(|i| notable(&index.seats[*i])).collect();
        index
    }

    // The place of a switch. One that the roster does not name was not read by anybody.
    fn seat(&mut self, handle: Digest) -> usize {
        let seats = &mut self.seats;
        *self.places.entry(handle).or_insert_with(|| {
            seats.push(Seat { handle, failure: Some(Failure::Unaudited), bypass: None });
            seats.len() - 1
        })
    }

    fn read(&self, switch: &Digest) -> bool {
        self.places.get(switch).is_some_and(|i| self.seats[*i].failure.is_none())
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
        involved: vec![false; index.seats.len()],
        adrift: section.attachments.is_empty(),
        findings: BTreeSet::new(),
        exits: BTreeSet::new(),
        not_assessed: BTreeSet::from([NotAssessed::Cabling]),
    };
    match index.common.coverage.manager {
        None => {
            if slice.networks.len() > 1 {
                j.find(FindingKind::SharedVlan, Subject::Network);
            }
            j.members(section);
        }
        Some(Failure::Silent) => j.find(FindingKind::Silent, Subject::Manager),
        Some(_) => j.find(FindingKind::Unreadable, Subject::Manager),
    }
    for m in &section.attachments {
        match m.at {
            Some(at) => j.involve(at.switch),
            None => j.adrift = true,
        }
    }
    for p in &slice.ports {
        j.port(p);
    }
    for (w, seats) in index.common.wide.ports.iter().zip(&index.wide_seats) {
        j.wide(w, *seats);
    }
    for (p, seats) in index.common.wide.passed.iter().zip(&index.passed_seats) {
        j.wide_passed(p, *seats);
    }
    for u in &index.common.coverage.ports {
        if u.vlans.contains(slice.vlan) {
            j.involve(u.switch);
            if let Some(peer) = u.link {
                j.involve(peer.switch);
            }
            if u.unassessed {
                j.unassessed(u.switch, u.port);
                j.adrift = true;
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
    let sorted = index.ordered
        && slice.ports.is_sorted_by(|a, b| (a.switch, a.port) < (b.switch, b.port))
        && slice.ports.iter().all(|p| p.declared.is_sorted())
        && slice.networks.is_sorted_by(|a, b| a < b)
        && section.attachments.is_sorted();
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
    // Switches that this network's frames may reach, by place; only their bypasses and silences concern it.
    involved: Vec<bool>,
    // Nobody knows where the network ends: it has an attachment without a port, or none; or it goes on through a port
    // that is not assessed or into a switch that is not audited. It may then come back anywhere unseen.
    adrift: bool,
    findings: BTreeSet<Finding>,
    exits: BTreeSet<ExitView>,
    not_assessed: BTreeSet<NotAssessed>,
}

impl Judge<'_> {
    fn find(&mut self, finding: FindingKind, subject: Subject) {
        self.findings.insert(Finding { finding, subject, passed: false });
    }

    fn find_passed(&mut self, finding: FindingKind, subject: Subject) {
        self.findings.insert(Finding { finding, subject, passed: true });
    }

    fn unassessed(&mut self, switch: Digest, port: Digest) {
        let reason = self.index.reasons.get(&(switch, port)).map_or(String::new(), |u| u.reason.clone());
        self.not_assessed.insert(NotAssessed::Port { switch, port, reason });
    }

    fn exit(&mut self, exit: &ExitView) {
        self.not_assessed.insert(NotAssessed::Exit { name: exit.name.clone() });
        self.exits.insert(exit.clone());
        self.adrift |= exit.kind == ExitKind::UnauditedSwitch;
    }

    fn involve(&mut self, switch: Digest) {
        match self.index.places.get(&switch) {
            Some(i) => self.involved[*i] = true,
            // On no list at all: nobody read it.
            None => self.find(FindingKind::Silent, Subject::Switch(switch)),
        }
    }

    fn line(&self, at: Peer) -> Option<&SlicePort> {
        let ports = &self.slice.ports;
        let i = ports.binary_search_by_key(&(at.switch, at.port), |p| (p.switch, p.port)).ok()?;
        ports.get(i)
    }

    fn wide_port(&self, at: Peer) -> Option<&WidePort> {
        self.index.wide.get(&(at.switch, at.port)).and_then(|i| self.index.common.wide.ports.get(*i))
    }

    fn members(&mut self, section: &NetworkSection) {
        for m in &section.attachments {
            let nic = || Subject::Nic { node: m.node.clone(), nic: m.nic.clone() };
            if m.at.is_none() {
                self.find(FindingKind::MissingPort, nic());
            }
            let member = m.project.as_ref().is_some_and(|p| may_join(&section.owner, &section.access, p));
            if !member {
                match m.at.filter(|at| self.line(*at).is_some_and(|p| p.moving)) {
                    // Excused for now, but not forgotten: the port itself may be one that is not assessed.
                    Some(at) => self.find(FindingKind::InTransition, Subject::Port(at)),
                    None => self.find(FindingKind::ForeignMember, nic()),
                }
            }
        }
    }

    fn port(&mut self, p: &SlicePort) {
        let at = Peer { switch: p.switch, port: p.port };
        let subject = Subject::Port(at);
        self.involve(p.switch);
        let carries = p.carries != Carries::None && !p.down;
        if let (Some(peer), true) = (p.link, carries || p.unreadable || p.passed) {
            self.involve(peer.switch);
        }
        if p.unassessed {
            self.unassessed(p.switch, p.port);
            self.adrift |= carries || p.unreadable || p.passed;
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
        if p.passed {
            self.passed(p, allowed);
        }
        if !carries {
            // A declared port of a switch that was not read is not known to be missing.
            let judged = self.manager_read && self.index.read(&p.switch);
            if !p.declared.is_empty() {
                if judged {
                    self.find(FindingKind::MissingPort, subject);
                }
            } else if p.carries != Carries::None && !allowed && self.manager_read {
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

    // It carried this VLAN between two readings: as if it did now, unless the cloud manager may have done and undone it.
    fn passed(&mut self, p: &SlicePort, allowed: bool) {
        let subject = Subject::Port(Peer { switch: p.switch, port: p.port });
        if let Some(exit) = &p.exit {
            self.exit(exit);
        }
        if allowed || !p.declared.is_empty() || !self.manager_read || self.wide_passed_at(p) {
            return;
        }
        let kind = match (p.explained, p.registered) {
            (true, _) => FindingKind::InTransition,
            (false, true) => FindingKind::ForeignPort,
            (false, false) => FindingKind::UnregisteredPort,
        };
        self.find_passed(kind, subject);
    }

    // Whether the wide section speaks of what passed there, and so judges it.
    fn wide_passed_at(&self, p: &SlicePort) -> bool {
        let passed = &self.index.common.wide.passed;
        let at = passed.binary_search_by_key(&(p.switch, p.port), |w| (w.switch, w.port));
        at.is_ok_and(|i| passed[i].vlans.contains(self.slice.vlan))
    }

    fn wide_passed(&mut self, w: &PassedPort, (seat, peer): (usize, Option<usize>)) {
        let vlan = self.slice.vlan;
        if !w.vlans.contains(vlan) {
            return;
        }
        let allowed = w.allowed.contains(vlan);
        self.involved[seat] = true;
        if let (Some(peer), true) = (peer, allowed) {
            self.involved[peer] = true;
        }
        let at = Peer { switch: w.switch, port: w.port };
        if w.unassessed {
            self.unassessed(w.switch, w.port);
            self.adrift = true;
            return;
        }
        if w.moving {
            self.find(FindingKind::InTransition, Subject::Port(at));
            return;
        }
        if allowed {
            if let Some(exit) = &w.exit {
                self.exit(exit);
            }
            return;
        }
        let (declared, explained) =
            self.line(at).map_or((false, false), |p| (!p.declared.is_empty(), p.explained));
        let kind = if declared && !w.all {
            return;
        } else if explained {
            FindingKind::InTransition
        } else if w.all {
            // As for a port that carries every VLAN now: no declaration could make that right.
            FindingKind::AllVlans
        } else if !self.manager_read {
            return;
        } else if w.registered {
            FindingKind::ForeignPort
        } else {
            FindingKind::UnregisteredPort
        };
        self.find_passed(kind, Subject::Port(at));
    }

    // A link port carries this VLAN untagged: so must the other end, or frames change their VLAN on the cable.
    fn native(&mut self, at: Peer, peer: Peer) {
        if !self.index.read(&peer.switch) {
            return;
        }
        let line = self.line(peer).map(|p| (p.carries, p.down || p.unreadable || p.unassessed || p.moving));
        let wide = || {
            let w = self.wide_port(peer)?;
            Some((w.carries(self.slice.vlan), w.down || w.unassessed || w.moving))
        };
        // The slice holds a line for the other end, or the wide section does; from one that shows neither nothing
        // can be excused.
        let (carries, excused) = line.or_else(wide).unwrap_or((Carries::None, false));
        if carries != Carries::Untagged && !excused {
            self.find(FindingKind::NativeMismatch, Subject::Port(at));
            self.find(FindingKind::NativeMismatch, Subject::Port(peer));
        }
    }

    fn wide(&mut self, w: &WidePort, (seat, peer, all): (usize, Option<usize>, bool)) {
        let vlan = self.slice.vlan;
        let carries = w.carries(vlan);
        if carries == Carries::None {
            return;
        }
        let allowed = w.allowed.contains(vlan);
        self.involved[seat] = true;
        if let (Some(peer), true, false) = (peer, allowed, w.down) {
            self.involved[peer] = true;
        }
        let at = Peer { switch: w.switch, port: w.port };
        if w.unassessed {
            self.unassessed(w.switch, w.port);
            self.adrift |= !w.down;
            return;
        }
        if w.moving {
            self.find(FindingKind::InTransition, Subject::Port(at));
            return;
        }
        if allowed {
            if w.down {
                return;
            }
            if let Some(exit) = &w.exit {
                self.exit(exit);
            }
            if let (Some(peer), Carries::Untagged) = (w.link, carries) {
                self.native(at, peer);
            }
            return;
        }
        let declared = || self.line(at).is_some_and(|p| !p.declared.is_empty());
        let kind = if all {
            // Whoever is behind it is on every network of the domain, the port's own included; no declaration
            // could make that right, so it stands even while the cloud manager is silent.
            FindingKind::AllVlans
        } else if !self.manager_read || declared() {
            return;
        } else if w.registered {
            FindingKind::ForeignPort
        } else {
            FindingKind::UnregisteredPort
        };
        self.find(if w.down { FindingKind::LatentPort } else { kind }, Subject::Port(at));
    }

    fn switches(&mut self, accept: &BTreeSet<BypassClass>) {
        let index = self.index;
        for i in &index.notable {
            let Seat { handle: switch, failure, bypass } = index.seats[*i];
            // Audited, that is to say within the domain, and not read.
            let lost = failure.is_some_and(|f| f != Failure::Unaudited);
            if !(self.involved[*i] || self.adrift && lost) {
                continue;
            }
            match failure {
                None => {}
                Some(Failure::Silent | Failure::Unaudited) => {
                    self.find(FindingKind::Silent, Subject::Switch(switch));
                }
                Some(Failure::Unreadable | Failure::SourceChanged) => {
                    self.find(FindingKind::Unreadable, Subject::Switch(switch));
                }
            }
            let Some(b) = bypass else { continue };
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

/// Judges every network of an assembly as the recorder does, accepting nothing.
///
/// # Errors
/// Never for what [`crate::assemble::assemble`] made; an error means that assembling and judging disagree.
pub fn judge_all(assembly: &Assembly) -> Result<BTreeMap<String, Judgement>, Inconsistent> {
    judge_since(assembly, None)
}

/// [`judge_all`], knowing what an earlier assembly was judged to be: a judgement is a function of common part, slice and
/// section, so where all three are as they were, it is.
///
/// # Errors
/// As [`judge_all`].
pub fn judge_since(
    assembly: &Assembly,
    last: Option<(&Assembly, &BTreeMap<String, Judgement>)>,
) -> Result<BTreeMap<String, Judgement>, Inconsistent> {
    let index = CommonIndex::new(&assembly.common);
    let none = BTreeSet::new();
    let last = last.filter(|(then, _)| then.common == assembly.common);
    let judged = assembly.networks.iter().map(|(name, section)| {
        let vlan = section.vlan.get();
        let slice = assembly
            .slices
            .get(&vlan)
            .ok_or_else(|| Inconsistent::NoSection { vlan: section.vlan, name: name.clone() })?;
        let known = last.and_then(|(then, judged)| {
            let same = then.networks.get(name)? == section && then.slices.get(&vlan)? == slice;
            if same { judged.get(name) } else { None }
        });
        Ok((name.clone(), known.cloned().map_or_else(|| judge(&index, slice, section, &none), Ok)?))
    });
    judged.collect()
}
