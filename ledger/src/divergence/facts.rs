//! What one poll contributes to divergences: findings by place, the sides of every port, who was read.
//!
//! Polls in which nothing changed share their [`Facts`]; what is their own is a few windows.

use super::Claim;
use super::sides::{Allowance, Attached, Carried, Declaration};
use crate::state::{Place, PollState, place_of, unassessable};
use isoledger_core::assemble::{Assembly, Names};
use isoledger_core::judge::{FindingKind, Inconsistent, Judgement, Subject, Verdict, judge_all};
use isoledger_core::model::{
    BypassClass, Channel, Declared, ExitKind, Failure, NetworkVlan, Observed, PortId, PortReading, Reader,
    Scope, Window,
};
use isoledger_core::slice::Carries;
use isoledger_core::{Digest, Timestamp, VlanId, VlanSet, json};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

/// What a divergence is the life of: a finding at a place.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Key {
    /// Where.
    pub place: Place,
    /// What.
    pub finding: FindingKind,
    /// It was so between two readings, and at neither.
    #[serde(default, skip_serializing_if = "no")]
    pub passed: bool,
}

fn no(b: &bool) -> bool {
    !*b
}

/// How far a finding at one place reaches.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Extent {
    /// The VLANs of the networks it was found for.
    pub vlans: VlanSet,
    /// The networks, where the VLANs do not tell: for nics and for networks themselves.
    pub networks: BTreeSet<String>,
}

/// What a poll says of a network, without its findings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NetworkFacts {
    /// Its VLAN; `None` when its id cannot be judged.
    pub vlan: Option<VlanId>,
    /// The verdict.
    pub verdict: Verdict,
    /// Whether every attachment is carried as declared.
    pub conforms: bool,
    /// Why nothing can be said, if that is so.
    pub reason: Option<String>,
}

/// One source as a poll met it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct SourceFacts {
    pub(crate) reader: Option<Reader>,
    pub(crate) identity: Option<String>,
    // None: read, and understood but for single ports.
    pub(crate) failure: Option<Failure>,
}

/// What a switch that was read does.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct PortFacts {
    pub(crate) state: Option<Digest>,
    // Ports that were understood, members of bundles included.
    pub(crate) carried: BTreeMap<String, Carried>,
    pub(crate) unreadable: BTreeSet<String>,
    pub(crate) dirty: BTreeMap<BypassClass, VlanSet>,
    pub(crate) unread: BTreeSet<BypassClass>,
    // When each logical port carried what it carried between two readings only, as the switch claims.
    pub(crate) between: BTreeMap<String, Claim>,
}

impl PortFacts {
    /// The physical ports a logical port consists of, itself included.
    pub(crate) fn group<'a>(&'a self, port: &'a str) -> BTreeSet<&'a str> {
        let own = self.carried.get(port);
        let bundled = self.carried.iter().filter(|(_, c)| c.bundle.as_deref() == Some(port));
        own.iter()
            .flat_map(|c| c.members.iter().map(String::as_str))
            .chain(bundled.map(|(name, _)| name.as_str()))
            .chain([port])
            .collect()
    }
}

/// What the cloud manager declares, by the scope's names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Declarations {
    // Of the declared state and the scope's labels.
    pub(crate) digest: Option<Digest>,
    // By switch and port.
    pub(crate) ports: BTreeMap<String, BTreeMap<String, Declaration>>,
    pub(crate) vlans: BTreeMap<VlanId, BTreeSet<String>>,
    // Where every attached nic is.
    pub(crate) nics: BTreeMap<(String, String), PortId>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SwitchFacts {
    pub(crate) source: SourceFacts,
    pub(crate) ports: Option<Arc<PortFacts>>,
    // Ports that say nothing in this poll although the switch may: not understood, moving, or not assessed.
    pub(crate) moving: BTreeSet<String>,
    pub(crate) unassessed: BTreeSet<String>,
}

/// What a poll says, as far as it stays the same while nothing changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    pub(crate) digest: Digest,
    pub(crate) manager: SourceFacts,
    // None when the cloud manager was not read.
    pub(crate) declared: Option<Arc<Declarations>>,
    // Every switch of the scope.
    pub(crate) switches: BTreeMap<String, SwitchFacts>,
    // By switch and port.
    pub(crate) scope: BTreeMap<String, BTreeMap<String, Allowance>>,
    pub(crate) networks: BTreeMap<String, NetworkFacts>,
    pub(crate) findings: BTreeMap<Key, Extent>,
}

impl Facts {
    /// The networks' verdicts.
    pub fn networks(&self) -> &BTreeMap<String, NetworkFacts> {
        &self.networks
    }

    /// The findings by place.
    pub fn findings(&self) -> &BTreeMap<Key, Extent> {
        &self.findings
    }

    fn of(
        state: &PollState,
        digest: Digest,
        assembly: &Assembly,
        judged: &BTreeMap<String, Judgement>,
        before: Option<&Facts>,
    ) -> Facts {
        let (scope, coverage) = (state.scope(), &assembly.common.coverage);
        let failures: HashMap<&Digest, Failure> =
            coverage.switches.iter().map(|u| (&u.switch, u.failure)).collect();
        let mut moving: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for id in state.moving() {
            moving.entry(id.switch).or_default().insert(id.port);
        }
        let mut switches = BTreeMap::new();
        for name in scope.switches.keys() {
            let handle = state.parsed.slots.switch_handle(name);
            let source = state.switch(name);
            let ports = state.observed(name).filter(|_| !failures.contains_key(&handle)).map(|o| {
                let digest = source.and_then(|s| s.state);
                let known = before.and_then(|b| b.switches.get(name)?.ports.as_ref());
                match known.filter(|p| p.state.is_some() && p.state == digest) {
                    Some(same) => same.clone(),
                    None => Arc::new(port_facts(digest, o, &handle, assembly)),
                }
            });
            let mut s = SwitchFacts {
                source: SourceFacts {
                    reader: source.map(|s| s.reader.clone()),
                    identity: source.and_then(|s| s.identity.clone()),
                    failure: failures.get(&handle).copied(),
                },
                ports,
                moving: moving.remove(name).unwrap_or_default(),
                unassessed: BTreeSet::new(),
            };
            for u in scope.unassessed.iter().filter(|u| u.port.switch == *name) {
                s.unassessed.insert(u.port.port.clone());
            }
            s.spread_to_bundles();
            switches.insert(name.clone(), s);
        }
        let declared = coverage.manager.is_none().then(|| {
            let digest = declarations_digest(state);
            let known = before.and_then(|b| b.declared.as_ref());
            match known.filter(|d| d.digest == Some(digest)) {
                Some(same) => same.clone(),
                None => Arc::new(declarations(digest, state.declared(), scope)),
            }
        });
        let manager = state.manager();
        Facts {
            digest,
            manager: SourceFacts {
                reader: Some(manager.reader.clone()),
                identity: manager.identity.clone(),
                failure: coverage.manager,
            },
            declared,
            switches,
            scope: allowances(scope),
            networks: networks(assembly, judged),
            findings: findings(&assembly.names, assembly, judged),
        }
    }

    /// Whether the port says nothing in this poll, for a reason of its own.
    pub(crate) fn port_is_blind(&self, id: &PortId) -> bool {
        self.switches.get(&id.switch).is_some_and(|s| {
            s.moving.contains(&id.port)
                || s.unassessed.contains(&id.port)
                || s.ports.as_ref().is_some_and(|p| p.unreadable.contains(&id.port))
        })
    }

    /// Whether the port is in transition, or a member of a bundle that says nothing.
    pub(crate) fn port_is_moving(&self, id: &PortId) -> bool {
        self.switches.get(&id.switch).is_some_and(|s| s.moving.contains(&id.port))
    }

    pub(crate) fn allowance(&self, id: &PortId) -> Option<&Allowance> {
        self.scope.get(&id.switch)?.get(&id.port)
    }
}

impl SwitchFacts {
    // A bundle is moving when a member is, and a member says nothing while its bundle does not.
    fn spread_to_bundles(&mut self) {
        let Some(ports) = self.ports.clone() else { return };
        for (member, bundle) in ports.carried.iter().filter_map(|(m, c)| Some((m, c.bundle.as_ref()?))) {
            if self.moving.contains(member) {
                self.moving.insert(bundle.clone());
            }
        }
        for (member, bundle) in ports.carried.iter().filter_map(|(m, c)| Some((m, c.bundle.as_ref()?))) {
            if self.moving.contains(bundle) || ports.unreadable.contains(bundle) {
                self.moving.insert(member.clone());
            }
        }
    }
}

fn port_facts(state: Option<Digest>, o: &Observed, handle: &Digest, assembly: &Assembly) -> PortFacts {
    let mut facts = PortFacts { state, ..PortFacts::default() };
    for (name, reading) in &o.ports {
        match reading {
            // A member of a bundle that is not there cannot be placed; the judges call it unreadable, too.
            PortReading::Read(s) if s.aggregate.as_ref().is_none_or(|b| o.ports.contains_key(b)) => {
                facts.carried.insert(name.clone(), Carried::of(s));
            }
            PortReading::Read(_) | PortReading::Unreadable { .. } => {
                facts.unreadable.insert(name.clone());
            }
        }
    }
    for (name, b) in &o.between {
        // What was bundled in the meantime is judged on the bundle.
        let bundle = facts.carried.get(name).and_then(|c| c.bundle.as_ref());
        let claim = Claim { from: b.from, to: b.to };
        let known = facts.between.entry(bundle.unwrap_or(name).clone()).or_insert(claim);
        *known = Claim { from: known.from.min(b.from), to: known.to.max(b.to) };
    }
    if let Some(b) = assembly.common.bypasses.switches.iter().find(|b| b.switch == *handle) {
        facts.dirty = b.dirty.iter().map(|d| (d.class, d.vlans.clone())).collect();
        facts.unread = b.unread.iter().copied().collect();
    }
    facts
}

// The declared state says where a port is in the manager's labels, which the scope translates.
fn declarations_digest(state: &PollState) -> Digest {
    let labels: BTreeMap<&String, _> = (state.scope().switches.iter())
        .map(|(name, s)| (name, (&s.labels, &s.prefixes, s.ignore_case)))
        .collect();
    // Where the manager's own host is, which places the machines on it.
    let exits: Vec<_> = (state.scope().exits.iter())
        .filter(|e| matches!(e.kind, ExitKind::ManagerHost | ExitKind::UnauditedSwitch))
        .collect();
    let declared = state.manager().state.unwrap_or(Digest::ZERO);
    Digest::of(&[&declared.0[..], &json::to_canonical(&(labels, exits))].concat())
}

fn declarations(digest: Digest, declared: &Declared, scope: &Scope) -> Declarations {
    let names = scope.names();
    let place = |id: &PortId| names.port(id);
    let mut out = Declarations { digest: Some(digest), ..Declarations::default() };
    for (name, n) in &declared.networks {
        if let NetworkVlan::Id(v) = n.vlan {
            out.vlans.entry(v).or_default().insert(name.clone());
        }
    }
    fn at(out: &mut Declarations, id: PortId) -> &mut Declaration {
        out.ports.entry(id.switch).or_default().entry(id.port).or_default()
    }
    for id in &declared.registered {
        at(&mut out, place(id)).registered = true;
    }
    for cable in &declared.cabling {
        let d = at(&mut out, place(&cable.port));
        d.registered = true;
        d.nodes.insert(cable.node.clone());
    }
    for a in &declared.attachments {
        let vlan = declared.networks.get(&a.network).and_then(|n| match n.vlan {
            NetworkVlan::Id(v) => Some(v),
            NetworkVlan::Unassessable(_) => None,
        });
        // As assembled: a machine on the manager's host is at that host's exit, and makes the port nobody's.
        let hosted = a.port.is_none() && a.channel == Channel::ManagerHost;
        let exit = || vlan.and_then(|v| scope.manager_host(v)).map(|e| e.port.clone());
        let Some(id) = (if hosted { exit() } else { a.port.as_ref().map(place) }) else { continue };
        out.nics.entry((a.node.clone(), a.nic.clone())).or_insert_with(|| id.clone());
        let carried = match a.channel {
            Channel::Native => Carries::Untagged,
            Channel::Tagged(_) => Carries::Tagged,
            Channel::ManagerHost | Channel::Other(_) => Carries::Other,
        };
        let d = at(&mut out, id);
        if !hosted {
            d.registered = true;
            d.nodes.insert(a.node.clone());
        }
        d.attachments.insert(Attached {
            network: a.network.clone(),
            vlan,
            carried,
            node: a.node.clone(),
            nic: a.nic.clone(),
        });
    }
    out
}

fn allowances(scope: &Scope) -> BTreeMap<String, BTreeMap<String, Allowance>> {
    let mut all: BTreeMap<String, BTreeMap<String, Allowance>> = BTreeMap::new();
    fn at<'a>(all: &'a mut BTreeMap<String, BTreeMap<String, Allowance>>, id: &PortId) -> &'a mut Allowance {
        all.entry(id.switch.clone()).or_default().entry(id.port.clone()).or_default()
    }
    for l in &scope.links {
        for (end, other) in [(&l.a, &l.b), (&l.b, &l.a)] {
            let a = at(&mut all, end);
            a.vlans = a.vlans.union(&l.vlans);
            a.link = Some(other.clone());
        }
    }
    for e in &scope.exits {
        let a = at(&mut all, &e.port);
        a.vlans = a.vlans.union(&e.vlans);
    }
    for u in &scope.unassessed {
        at(&mut all, &u.port).unassessed = true;
    }
    all
}

fn networks(assembly: &Assembly, judged: &BTreeMap<String, Judgement>) -> BTreeMap<String, NetworkFacts> {
    let judged = judged.iter().map(|(name, j)| {
        let vlan = assembly.networks.get(name).map(|n| n.vlan);
        (name.clone(), NetworkFacts { vlan, verdict: j.verdict, conforms: j.conforms, reason: None })
    });
    let others = assembly.unassessable.iter().map(|(name, id)| {
        let reason = Some(unassessable(id));
        (name.clone(), NetworkFacts { vlan: None, verdict: Verdict::Unknown, conforms: true, reason })
    });
    judged.chain(others).collect()
}

fn findings(
    names: &Names,
    assembly: &Assembly,
    judged: &BTreeMap<String, Judgement>,
) -> BTreeMap<Key, Extent> {
    // Gathered by handle: a port on every VLAN is in the findings of every network, and is named once.
    let mut by_subject: HashMap<(FindingKind, bool, &Subject), Vec<VlanId>> = HashMap::new();
    let mut networks: BTreeMap<Key, BTreeSet<String>> = BTreeMap::new();
    let mut out: BTreeMap<Key, Extent> = BTreeMap::new();
    for (name, j) in judged {
        let Some(vlan) = assembly.networks.get(name).map(|n| n.vlan) else { continue };
        for f in &j.findings {
            if f.subject == Subject::Network {
                let key = Key { place: Place::Network(name.clone()), finding: f.finding, passed: false };
                out.insert(key, Extent { vlans: VlanSet::one(vlan), networks: [name.clone()].into() });
                continue;
            }
            if let Subject::Nic { .. } = f.subject {
                let key = Key { place: place_of(names, name, &f.subject), finding: f.finding, passed: false };
                networks.entry(key).or_default().insert(name.clone());
            }
            by_subject.entry((f.finding, f.passed, &f.subject)).or_default().push(vlan);
        }
    }
    for ((finding, passed, subject), vlans) in by_subject {
        let key = Key { place: place_of(names, "", subject), finding, passed };
        let networks = networks.remove(&key).unwrap_or_default();
        out.insert(key, Extent { vlans: vlans.into_iter().collect(), networks });
    }
    out
}

/// One poll, as divergences see it.
#[derive(Clone, Debug)]
pub struct PollFacts {
    /// The entry.
    pub seq: u64,
    /// The poll's start.
    pub started: Timestamp,
    /// The poll's end.
    pub ended: Timestamp,
    /// The semantics of its verdicts.
    pub semantics: u32,
    /// When the declared state in force was read.
    pub manager: Window,
    /// When each switch was read, or asked in vain.
    pub switches: BTreeMap<String, Window>,
    /// Ports that were read again: switch, port, window.
    pub rereads: BTreeMap<String, BTreeMap<String, Window>>,
    /// What it says.
    pub facts: Arc<Facts>,
}

/// Makes [`PollFacts`], remembering the last poll's so that what did not change is shared.
#[derive(Debug, Default)]
pub struct FactsMaker {
    last: Option<Arc<Facts>>,
}

impl FactsMaker {
    /// The facts of a poll, judged here.
    ///
    /// # Errors
    /// See [`Inconsistent`]: assembling and judging disagree, a defect of ours.
    pub fn facts(&mut self, state: &PollState) -> Result<PollFacts, Inconsistent> {
        let facts = match self.same(state) {
            Ok(facts) => facts,
            Err(digest) => {
                let assembly = state.assembly();
                let judged = judge_all(&assembly)?;
                self.keep(Facts::of(state, digest, &assembly, &judged, self.last.as_deref()))
            }
        };
        Ok(poll_facts(state, facts))
    }

    /// The facts of a poll whose assembly and judgements are at hand.
    pub fn facts_of(
        &mut self,
        state: &PollState,
        assembly: &Assembly,
        judged: &BTreeMap<String, Judgement>,
    ) -> PollFacts {
        let facts = match self.same(state) {
            Ok(facts) => facts,
            Err(digest) => self.keep(Facts::of(state, digest, assembly, judged, self.last.as_deref())),
        };
        poll_facts(state, facts)
    }

    // The last facts when this poll's are the same, or the digest that tells them apart.
    fn same(&self, state: &PollState) -> Result<Arc<Facts>, Digest> {
        let mut bytes = state.parsed.digest.0.to_vec();
        bytes.extend_from_slice(&state.poll.semantics.to_be_bytes());
        // Which changes still excuse a disagreement depends on the time.
        bytes.extend_from_slice(&json::to_canonical(&state.moving()));
        let digest = Digest::of(&bytes);
        self.last.clone().filter(|f| f.digest == digest).ok_or(digest)
    }

    fn keep(&mut self, facts: Facts) -> Arc<Facts> {
        let facts = Arc::new(facts);
        self.last = Some(facts.clone());
        facts
    }
}

fn poll_facts(state: &PollState, facts: Arc<Facts>) -> PollFacts {
    let mut rereads: BTreeMap<String, BTreeMap<String, Window>> = BTreeMap::new();
    for (id, window) in state.rereads() {
        rereads.entry(id.switch).or_default().insert(id.port, window);
    }
    PollFacts {
        seq: state.seq,
        started: state.started(),
        ended: state.ended(),
        semantics: state.poll.semantics,
        manager: state.manager_window(),
        switches: state
            .switches()
            .filter_map(|(name, ..)| Some((name.to_owned(), state.switch_window(name)?)))
            .collect(),
        rereads,
        facts,
    }
}
