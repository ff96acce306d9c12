//! From the normal form to slices and common part: the step an auditor repeats to see that a slice follows from the
//! evidence.

use crate::content::{MOVING_POLLS, MOVING_SPAN, MovingPort};
use crate::hash::Digest;
use crate::json;
use crate::lease::{Lease, Slots};
use crate::model::{
    Access, Attachment, BypassClass, BypassReading, Channel, Declared, Failure, NetworkVlan, Observed, Owner,
    PortId, PortReading, PortState, Reader, Scope,
};
use crate::slice::{
    BypassView, Bypasses, Carries, Common, Coverage, DeclaredAs, DirtyClass, ExitView, Member,
    NetworkSection, Peer, Roster, RosterSource, RosterSwitch, ScopeView, Slice, SlicePort, UnassessedView,
    Unread, UnreadPort, WIDE, Wide, WidePort,
};
use crate::time::Timestamp;
use crate::vlan::{VlanId, VlanSet};
use crate::vlantree::VlanTree;
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// A source as one poll met it.
#[derive(Clone, Copy, Debug)]
pub struct SourceView<'a> {
    /// Its reader.
    pub reader: &'a Reader,
    /// Its identity as its reader prints it.
    pub identity: Option<&'a str>,
    /// Why there is no usable reading; `None` when there is one.
    pub failure: Option<Failure>,
}

/// A switch as one poll met it.
#[derive(Clone, Copy, Debug)]
pub struct SwitchView<'a> {
    /// Reader, identity, failure.
    pub source: SourceView<'a>,
    /// The reading; `None` on failure.
    pub observed: Option<&'a Observed>,
}

/// Everything one poll knows.
#[derive(Clone, Copy, Debug)]
pub struct Inputs<'a> {
    /// The scope in force.
    pub scope: &'a Scope,
    /// The `scope-changed` entry it came with.
    pub scope_seq: u64,
    /// Leases and keys in force.
    pub slots: &'a Slots,
    /// The declared state in force: the last one read.
    pub declared: &'a Declared,
    /// How the cloud manager was met.
    pub manager: SourceView<'a>,
    /// How each switch of the scope was met. One that is absent was silent.
    pub switches: &'a BTreeMap<String, SwitchView<'a>>,
    /// Ports that may count as moving, see [`active_moving`].
    pub moving: &'a BTreeSet<PortId>,
}

/// The ports among `moving` whose change still excuses a disagreement in a poll that started at `started`: no more
/// than [`MOVING_POLLS`] polls in a row and less than [`MOVING_SPAN`].
pub fn active_moving(moving: &[MovingPort], started: Timestamp) -> BTreeSet<PortId> {
    moving
        .iter()
        .filter(|m| m.polls <= MOVING_POLLS && started.since(m.since) < MOVING_SPAN)
        .map(|m| m.port.clone())
        .collect()
}

/// What a poll says, cut into what each may see.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Assembly {
    /// What concerns everybody.
    pub common: Common,
    /// Slices of the VLANs that are declared or carried; every other slot is empty.
    pub slices: BTreeMap<u16, Slice>,
    /// Sections of the networks with a usable VLAN, by name.
    pub networks: BTreeMap<String, NetworkSection>,
    /// Networks whose VLAN id cannot be judged, with the id.
    pub unassessable: BTreeMap<String, String>,
    /// What the handles stand for. For the operator; never handed out.
    pub names: Names,
}

/// What handles stand for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Names {
    /// Switches by handle.
    pub switches: HashMap<Digest, String>,
    /// Ports by handle.
    pub ports: HashMap<Digest, PortId>,
}

/// A version of the VLAN tree with the bytes it commits to.
pub struct Cut {
    /// The tree.
    pub tree: VlanTree,
    /// Canonical bytes of the common part.
    pub common: Vec<u8>,
    /// Canonical bytes of the slices, by slot; a slot that is absent commits to the empty string.
    pub slices: BTreeMap<u16, Vec<u8>>,
}

impl Assembly {
    /// The canonical bytes of each slice.
    pub fn slice_bytes(&self) -> BTreeMap<u16, Vec<u8>> {
        self.slices.iter().map(|(v, s)| (*v, json::to_canonical(s))).collect()
    }

    /// Builds version `version` of the VLAN tree of the log whose origin has the BLAKE3 `origin_hash`.
    pub fn cut(&self, version: u64, origin_hash: Digest, slots: &Slots) -> Cut {
        let common = json::to_canonical(&self.common.part());
        let slices = self.slice_bytes();
        let nothing = Digest::of(b"");
        let tree = VlanTree::build(version, origin_hash, Digest::of(&common), |v| {
            (slices.get(&v).map_or(nothing, |s| Digest::of(s)), slots.key(v))
        });
        Cut { tree, common, slices }
    }
}

/// Cuts what a poll knows into slices and common part.
pub fn assemble(inputs: &Inputs<'_>) -> Assembly {
    Assembler::new(inputs).run()
}

// What the scope and the cloud manager say of one logical port.
#[derive(Default)]
struct PortFacts<'a> {
    registered: bool,
    nodes: BTreeSet<&'a str>,
    attachments: Vec<&'a Attachment>,
}

struct Assembler<'a> {
    inputs: &'a Inputs<'a>,
    names: Names,
    handles: HashMap<PortId, Peer>,
    // Scope switch by the manager's label; a label nobody audits stands for itself.
    labels: HashMap<&'a str, &'a str>,
    unaudited: BTreeSet<&'a str>,
    links: HashMap<&'a PortId, (&'a PortId, &'a VlanSet)>,
    exits: HashMap<&'a PortId, (ExitView, &'a VlanSet)>,
    unassessed: BTreeSet<&'a PortId>,
}

impl<'a> Assembler<'a> {
    fn new(inputs: &'a Inputs<'a>) -> Assembler<'a> {
        let scope = inputs.scope;
        let mut labels = HashMap::new();
        for (name, s) in &scope.switches {
            if s.labels.is_empty() {
                labels.insert(name.as_str(), name.as_str());
            }
            labels.extend(s.labels.iter().map(|l| (l.as_str(), name.as_str())));
        }
        let links = scope.links.iter().flat_map(|l| [(&l.a, (&l.b, &l.vlans)), (&l.b, (&l.a, &l.vlans))]);
        let exits = scope
            .exits
            .iter()
            .map(|e| (&e.port, (ExitView { name: e.name.clone(), kind: e.kind }, &e.vlans)));
        Assembler {
            inputs,
            names: Names::default(),
            handles: HashMap::new(),
            labels,
            unaudited: BTreeSet::new(),
            links: links.collect(),
            exits: exits.collect(),
            unassessed: scope.unassessed.iter().map(|u| &u.port).collect(),
        }
    }

    fn switch_handle(&mut self, switch: &str) -> Digest {
        let handle = self.inputs.slots.switch_handle(switch);
        self.names.switches.entry(handle).or_insert_with(|| switch.to_owned());
        handle
    }

    fn handle(&mut self, id: &PortId) -> Peer {
        if let Some(h) = self.handles.get(id) {
            return *h;
        }
        let h = Peer {
            switch: self.switch_handle(&id.switch),
            port: self.inputs.slots.port_handle(&id.switch, &id.port),
        };
        self.names.ports.insert(h.port, id.clone());
        self.handles.insert(id.clone(), h);
        h
    }

    fn shown(&self, id: &PortId) -> Option<PortId> {
        self.inputs.scope.disclose_ports.then(|| id.clone())
    }

    // The logical port a declared port means: through the scope's labels, and through the bundle it is in.
    fn logical(&mut self, declared: &'a PortId) -> PortId {
        let label = declared.switch.as_str();
        let switch = match self.labels.get(label) {
            Some(s) => *s,
            None => {
                self.unaudited.insert(label);
                label
            }
        };
        let own = PortId::new(switch, declared.port.as_str());
        let observed = self.inputs.switches.get(switch).and_then(|s| s.observed);
        match observed.and_then(|o| o.ports.get(&declared.port)) {
            Some(PortReading::Read(PortState { aggregate: Some(bundle), .. })) => {
                PortId::new(switch, bundle.as_str())
            }
            _ => own,
        }
    }

    fn run(mut self) -> Assembly {
        let inputs = self.inputs;
        let facts = self.declared_facts();
        let (networks, indices, unassessable) = self.network_sections();
        let mut slices: BTreeMap<u16, Slice> = BTreeMap::new();
        for (v, commitments) in &indices.by_vlan {
            let lease = inputs.slots.leases.get(v).map_or(0, |l: &Lease| l.since);
            if let Some(vlan) = VlanId::new(*v) {
                let networks = commitments.clone();
                slices.insert(*v, Slice { v: 1, vlan, lease, networks, ports: Vec::new() });
            }
        }
        let mut wide = Vec::new();
        let mut unread_ports = Vec::new();
        let mut lines: BTreeMap<PortId, PortReading> = BTreeMap::new();
        // Every port that is observed on its own, or that something is declared on.
        for (switch, view) in inputs.switches {
            for (port, reading) in view.observed.iter().flat_map(|o| &o.ports) {
                if !matches!(reading, PortReading::Read(PortState { aggregate: Some(_), .. })) {
                    lines.insert(PortId::new(switch.as_str(), port.as_str()), reading.clone());
                }
            }
        }
        for id in facts.keys() {
            lines.entry(id.clone()).or_insert_with(|| PortReading::Read(PortState::default()));
        }
        for (id, reading) in &lines {
            let at = self.handle(id);
            let fact = facts.get(id);
            let link = self.links.get(id).copied();
            let exit = self.exits.get(id).cloned();
            let unassessed = self.unassessed.contains(id);
            let moving = inputs.moving.contains(id);
            let registered = fact.is_some_and(|f| f.registered);
            let peer = link.map(|(other, vlans)| (self.handle(other), vlans));
            let (carried, untagged, down, unreadable) = match reading {
                PortReading::Read(s) => (s.carries(), s.untagged, s.admin_down == Some(true), false),
                PortReading::Unreadable { might_carry, .. } => (might_carry.clone(), None, false, true),
            };
            let is_wide = carried.len() > WIDE;
            if is_wide && unreadable {
                let vlans = carried.clone();
                unread_ports.push(UnreadPort { switch: at.switch, port: at.port, vlans, unassessed });
            } else if is_wide {
                let mut allowed = VlanSet::empty();
                if let Some((_, vlans)) = &peer {
                    allowed = allowed.union(vlans);
                }
                if let Some((_, vlans)) = &exit {
                    allowed = allowed.union(vlans);
                }
                let tagged = untagged.map_or(carried.clone(), |v| carried.difference(&VlanSet::one(v)));
                wide.push(WidePort {
                    switch: at.switch,
                    port: at.port,
                    name: self.shown(id),
                    untagged,
                    tagged,
                    allowed,
                    link: peer.map(|p| p.0),
                    exit: exit.as_ref().map(|e| e.0.clone()),
                    registered,
                    down,
                    unassessed,
                    moving,
                });
            }
            // One line per VLAN: those declared here, and those carried unless the port is listed as wide.
            let mut declared: BTreeMap<u16, Vec<DeclaredAs>> = BTreeMap::new();
            for a in fact.iter().flat_map(|f| &f.attachments) {
                if let Some((v, network)) = indices.by_name.get(a.network.as_str()) {
                    let line = DeclaredAs { network: *network, carried: carried_as(&a.channel) };
                    declared.entry(*v).or_default().push(line);
                }
            }
            let mut vlans: BTreeSet<u16> = declared.keys().copied().collect();
            if !is_wide {
                vlans.extend(carried.iter().map(VlanId::get));
            }
            for v in vlans {
                let Some(vlan) = VlanId::new(v) else { continue };
                let mut declared = declared.remove(&v).unwrap_or_default();
                declared.sort_unstable();
                let carries = if untagged == Some(vlan) {
                    Carries::Untagged
                } else if carried.contains(vlan) {
                    Carries::Tagged
                } else {
                    Carries::None
                };
                let line = SlicePort {
                    switch: at.switch,
                    port: at.port,
                    name: self.shown(id),
                    carries,
                    declared,
                    registered,
                    mixed: fact.is_some_and(|f| f.nodes.len() > 1),
                    link: peer.filter(|(_, vlans)| vlans.contains(vlan)).map(|p| p.0),
                    exit: exit.as_ref().filter(|(_, vlans)| vlans.contains(vlan)).map(|e| e.0.clone()),
                    down,
                    unreadable,
                    unassessed,
                    moving,
                };
                slices
                    .entry(v)
                    .or_insert_with(|| Slice {
                        v: 1,
                        vlan,
                        lease: 0,
                        networks: Vec::new(),
                        ports: Vec::new(),
                    })
                    .ports
                    .push(line);
            }
        }
        for slice in slices.values_mut() {
            slice.ports.sort_by_key(|p| (p.switch, p.port));
        }
        wide.sort_by_key(|p| (p.switch, p.port));
        unread_ports.sort();
        let common = Common {
            roster: self.roster(),
            scope: self.scope_view(),
            coverage: self.coverage(unread_ports),
            bypasses: self.bypasses(),
            wide: Wide { v: 1, ports: wide },
        };
        Assembly { common, slices, networks, unassessable, names: self.names }
    }

    fn declared_facts(&mut self) -> BTreeMap<PortId, PortFacts<'a>> {
        let declared = self.inputs.declared;
        let mut facts: BTreeMap<PortId, PortFacts<'a>> = BTreeMap::new();
        for port in &declared.registered {
            let id = self.logical(port);
            facts.entry(id).or_default().registered = true;
        }
        for cable in &declared.cabling {
            let id = self.logical(&cable.port);
            let f = facts.entry(id).or_default();
            f.registered = true;
            f.nodes.insert(&cable.node);
        }
        for a in &declared.attachments {
            if let Some(port) = &a.port {
                let id = self.logical(port);
                let f = facts.entry(id).or_default();
                f.registered = true;
                f.nodes.insert(&a.node);
                f.attachments.push(a);
            }
        }
        facts
    }

    fn network_sections(
        &mut self,
    ) -> (BTreeMap<String, NetworkSection>, Indices<'a>, BTreeMap<String, String>) {
        let declared = self.inputs.declared;
        let mut members: HashMap<&str, Vec<Member>> = HashMap::new();
        for a in &declared.attachments {
            let at = a.port.as_ref().map(|p| {
                let id = self.logical(p);
                self.handle(&id)
            });
            members.entry(a.network.as_str()).or_default().push(Member {
                project: a.project.clone(),
                node: a.node.clone(),
                nic: a.nic.clone(),
                carried: carried_as(&a.channel),
                at,
            });
        }
        let mut sections = BTreeMap::new();
        let mut unassessable = BTreeMap::new();
        let mut commitments: BTreeMap<u16, Vec<(Digest, &'a str)>> = BTreeMap::new();
        for (name, n) in &declared.networks {
            let vlan = match &n.vlan {
                NetworkVlan::Id(v) => *v,
                NetworkVlan::Unassessable(id) => {
                    unassessable.insert(name.clone(), id.clone());
                    continue;
                }
            };
            let lease = self.inputs.slots.lease(vlan);
            let mut attachments = members.remove(name.as_str()).unwrap_or_default();
            attachments.sort();
            let section = NetworkSection {
                v: 1,
                name: name.clone(),
                vlan,
                owner: n.owner.clone(),
                access: n.access.clone(),
                lease: lease.map_or(0, |l| l.since),
                salt: lease.and_then(|l| l.networks.get(name)).map_or(Digest::ZERO, |l| l.salt),
                attachments,
            };
            let digest = Digest::of(&json::to_canonical(&section));
            commitments.entry(vlan.get()).or_default().push((digest, name));
            sections.insert(name.clone(), section);
        }
        let mut indices = Indices::default();
        for (v, mut list) in commitments {
            list.sort();
            for (i, (_, name)) in (0u32..).zip(&list) {
                indices.by_name.insert(name, (v, i));
            }
            indices.by_vlan.insert(v, list.into_iter().map(|(d, _)| d).collect());
        }
        (sections, indices, unassessable)
    }

    fn roster(&mut self) -> Roster {
        let inputs = self.inputs;
        let blind = |s: &SourceView<'_>| RosterSource {
            reader: s.reader.clone(),
            identity: s.identity.map(|i| inputs.slots.identity_handle(i)),
        };
        let mut switches = Vec::new();
        for (name, view) in inputs.switches {
            switches.push(RosterSwitch {
                switch: self.switch_handle(name),
                name: inputs.scope.disclose_ports.then(|| name.clone()),
                source: blind(&view.source),
            });
        }
        switches.sort_by_key(|s| s.switch);
        Roster { v: 1, manager: blind(&inputs.manager), switches }
    }

    fn scope_view(&mut self) -> ScopeView {
        let inputs = self.inputs;
        let mut unassessed = Vec::new();
        for u in &inputs.scope.unassessed {
            let h = self.handle(&u.port);
            let name = self.shown(&u.port);
            unassessed.push(UnassessedView {
                switch: h.switch,
                port: h.port,
                name,
                reason: u.reason.clone(),
            });
        }
        unassessed.sort();
        ScopeView { v: 1, domain: inputs.scope.domain.clone(), entry: inputs.scope_seq, unassessed }
    }

    fn coverage(&mut self, ports: Vec<UnreadPort>) -> Coverage {
        let inputs = self.inputs;
        let mut switches = Vec::new();
        for name in inputs.scope.switches.keys() {
            let failure = match inputs.switches.get(name) {
                None => Some(Failure::Silent),
                Some(s) => s.source.failure.or(match s.observed {
                    None => Some(Failure::Silent),
                    // What is not confined to a port makes the whole answer unreadable.
                    Some(o) if !o.anomalies.is_empty() => Some(Failure::Unreadable),
                    Some(_) => None,
                }),
            };
            if let Some(failure) = failure {
                switches.push(Unread { switch: self.switch_handle(name), failure });
            }
        }
        for label in std::mem::take(&mut self.unaudited) {
            let used = |a: &Attachment| a.port.as_ref().is_some_and(|p| p.switch == label);
            if inputs.declared.attachments.iter().any(used) {
                switches.push(Unread { switch: self.switch_handle(label), failure: Failure::Unaudited });
            }
        }
        switches.sort();
        let manager =
            inputs.manager.failure.or((!inputs.declared.anomalies.is_empty()).then_some(Failure::Unreadable));
        Coverage { v: 1, manager, switches, ports }
    }

    fn bypasses(&mut self) -> Bypasses {
        let inputs = self.inputs;
        let mut switches = Vec::new();
        for (name, view) in inputs.switches {
            let Some(o) = view.observed else { continue };
            let mut dirty = Vec::new();
            let mut unread = Vec::new();
            let unfiltered = o.ports.values().any(
                |p| matches!(p, PortReading::Read(s) if s.ingress_filtering == Some(false) && s.admin_down != Some(true)),
            );
            for class in BypassClass::ALL {
                match o.bypasses.get(&class) {
                    Some(BypassReading::Dirty { vlans, .. }) => {
                        dirty.push(DirtyClass { class, vlans: vlans.clone() });
                    }
                    _ if class == BypassClass::IngressFiltering && unfiltered => {
                        dirty.push(DirtyClass { class, vlans: VlanSet::all() });
                    }
                    Some(BypassReading::Clean) => {}
                    Some(BypassReading::NotRead { .. }) | None => unread.push(class),
                }
            }
            if !dirty.is_empty() || !unread.is_empty() {
                switches.push(BypassView { switch: self.switch_handle(name), dirty, unread });
            }
        }
        switches.sort();
        Bypasses { v: 1, switches }
    }
}

#[derive(Default)]
struct Indices<'a> {
    by_vlan: BTreeMap<u16, Vec<Digest>>,
    by_name: HashMap<&'a str, (u16, u32)>,
}

fn carried_as(channel: &Channel) -> Carries {
    match channel {
        Channel::Native => Carries::Untagged,
        Channel::Tagged(_) => Carries::Tagged,
        Channel::Other(_) => Carries::Other,
    }
}

/// Whether `project` may have nodes on a network with this owner and access list.
pub fn may_join(owner: &Owner, access: &Access, project: &str) -> bool {
    let owns = matches!(owner, Owner::Project(p) if p == project);
    owns || match access {
        Access::Public => true,
        Access::Projects(list) => list.contains(project),
    }
}
