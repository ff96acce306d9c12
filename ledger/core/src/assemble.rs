//! From the normal form to slices and common part: the step an auditor repeats to see that a slice follows from the
//! evidence.

use crate::content::{MOVING_POLLS, MOVING_SPAN, MovingPort};
use crate::hash::Digest;
use crate::json;
use crate::lease::{Lease, Slots};
use crate::model::{
    Access, Attachment, BypassClass, BypassReading, Channel, Declared, Exit, Failure, Network, NetworkVlan,
    Observed, Owner, PortId, PortNames, PortReading, PortState, Reader, Scope,
};
use crate::slice::{
    BypassView, Bypasses, Carries, Common, Coverage, DeclaredAs, DirtyClass, ExitView, Member,
    NetworkSection, PassedPort, Peer, Roster, RosterSource, RosterSwitch, ScopeView, Slice, SlicePort,
    UnassessedView, Unread, UnreadPort, WIDE, Wide, WidePort,
};
use crate::time::Timestamp;
use crate::vlan::{VlanId, VlanSet};
use crate::vlantree::VlanTree;
use std::borrow::Cow;
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
    /// The reading; `None` on failure, and not looked at beside one.
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
    /// How each switch of the scope was met. One that is absent was silent; one the scope does not name is not
    /// audited and not looked at.
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

/// The bytes that a version of the VLAN tree commits to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// Canonical bytes of the common part.
    pub common: Vec<u8>,
    /// Canonical bytes of the slices, by slot; a slot that is absent commits to the empty string.
    pub slices: BTreeMap<u16, Vec<u8>>,
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

/// What a version of the VLAN tree commits to, by digest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Committed {
    /// BLAKE3 of the common part.
    pub common: Digest,
    /// BLAKE3 of the slices, by slot; a slot that is absent commits to the empty string.
    pub slices: BTreeMap<u16, Digest>,
}

impl Committed {
    /// Version `version` of the VLAN tree of the log whose origin has the BLAKE3 `origin_hash`.
    pub fn tree(&self, version: u64, origin_hash: Digest, slots: &Slots) -> VlanTree {
        let nothing = Digest::of(b"");
        VlanTree::build(version, origin_hash, self.common, |v| {
            (self.slices.get(&v).copied().unwrap_or(nothing), slots.key(v))
        })
    }
}

impl Assembly {
    /// The canonical bytes of common part and slices.
    pub fn written(&self) -> Written {
        Written {
            common: json::to_canonical(&self.common.part()),
            slices: self.slices.iter().map(|(v, s)| (*v, json::to_canonical(s))).collect(),
        }
    }

    /// What a version commits to. Slices that `last` holds too are not written again: comparing one is a tenth of the
    /// work, and most polls that change anything change a few.
    pub fn committed(&self, last: Option<(&Assembly, &Committed)>) -> Committed {
        let known = |v: &u16, s: &Slice| {
            let (assembly, committed) = last?;
            if assembly.slices.get(v)? == s { committed.slices.get(v).copied() } else { None }
        };
        let common = match last {
            Some((assembly, committed)) if assembly.common == self.common => committed.common,
            _ => Digest::of(&json::to_canonical(&self.common.part())),
        };
        let digest =
            |(v, s): (&u16, &Slice)| (*v, known(v, s).unwrap_or_else(|| Digest::of(&json::to_canonical(s))));
        Committed { common, slices: self.slices.iter().map(digest).collect() }
    }

    /// Builds version `version` of the VLAN tree of the log whose origin has the BLAKE3 `origin_hash`.
    pub fn cut(&self, version: u64, origin_hash: Digest, slots: &Slots) -> Cut {
        let Written { common, slices } = self.written();
        let committed = Committed {
            common: Digest::of(&common),
            slices: slices.iter().map(|(v, bytes)| (*v, Digest::of(bytes))).collect(),
        };
        Cut { tree: committed.tree(version, origin_hash, slots), common, slices }
    }
}

/// Cuts what a poll knows into slices and common part.
pub fn assemble(inputs: &Inputs<'_>) -> Assembly {
    let names = inputs.scope.names();
    match names.renamed(inputs.declared) {
        Some(declared) => Assembler::new(&Inputs { declared: &declared, ..*inputs }, names).run(),
        None => Assembler::new(inputs, names).run(),
    }
}

// A port by names that live as long as the inputs, so that ten thousands of them cost no copies.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct At<'a> {
    switch: &'a str,
    port: &'a str,
}

impl<'a> At<'a> {
    fn of(id: &'a PortId) -> At<'a> {
        At { switch: &id.switch, port: &id.port }
    }

    fn id(self) -> PortId {
        PortId::new(self.switch, self.port)
    }
}

// What was read of one logical port.
enum Line<'a> {
    Read(&'a PortState),
    Unreadable(Cow<'a, VlanSet>),
    // The scope or the cloud manager knows it; a switch that does not list it carries nothing there.
    Unlisted,
}

impl<'a> Line<'a> {
    fn carried(&self) -> Cow<'a, VlanSet> {
        match self {
            Line::Read(s) if s.untagged.is_none() => Cow::Borrowed(&s.tagged),
            Line::Read(s) => Cow::Owned(s.carries()),
            Line::Unreadable(might_carry) => might_carry.clone(),
            Line::Unlisted => Cow::Owned(VlanSet::empty()),
        }
    }

    fn untagged(&self) -> Option<VlanId> {
        match self {
            Line::Read(s) => s.untagged,
            _ => None,
        }
    }

    fn down(&self) -> bool {
        matches!(self, Line::Read(s) if s.admin_down == Some(true))
    }
}

// One logical port: what was read of it, and what the scope and the cloud manager say.
struct Port<'a> {
    at: At<'a>,
    line: Line<'a>,
    handle: Option<Peer>,
    registered: bool,
    // The first node cabled here, and whether there is another.
    node: Option<&'a str>,
    mixed: bool,
    // For each attachment here: its network, by place among the declared ones, and how it is declared.
    attachments: Vec<(usize, Carries)>,
    link: Option<(At<'a>, VlanSet)>,
    exit: Option<&'a Exit>,
    unassessed: bool,
    moving: bool,
    // The VLAN that the other end of a link carries untagged.
    native: Option<VlanId>,
    // What it carried between the reading before and this one only.
    passed: Option<Passed<'a>>,
}

struct Passed<'a> {
    vlans: Cow<'a, VlanSet>,
    all: bool,
    // Whoever holds a node that is cabled here.
    projects: BTreeSet<&'a str>,
}

impl<'a> Port<'a> {
    fn new(at: At<'a>, line: Line<'a>) -> Port<'a> {
        Port {
            at,
            line,
            handle: None,
            registered: false,
            node: None,
            mixed: false,
            attachments: Vec::new(),
            link: None,
            exit: None,
            unassessed: false,
            moving: false,
            native: None,
            passed: None,
        }
    }

    fn cable(&mut self, node: &'a str) {
        self.registered = true;
        self.mixed |= *self.node.get_or_insert(node) != node;
    }
}

struct Assembler<'a> {
    inputs: &'a Inputs<'a>,
    names: Names,
    switch_handles: HashMap<&'a str, Digest>,
    // A label nobody audits, or two claim, stands for itself.
    labels: PortNames<'a>,
    unaudited: BTreeSet<&'a str>,
    // The readings of the scope's switches. One beside a failure is not used: it may be an impostor's.
    read: BTreeMap<&'a str, &'a Observed>,
    // Logical port by member.
    bundles: HashMap<At<'a>, &'a str>,
    // Every port that is read on its own, that something is declared on, or whose native VLAN another end needs; and
    // the place of each.
    ports: Vec<Port<'a>>,
    places: HashMap<At<'a>, usize>,
    // The place of each attachment's port, in the order of the declaration.
    seats: Vec<Option<usize>>,
}

impl<'a> Assembler<'a> {
    // The ports of the inputs' declaration are called as their switches call them.
    fn new(inputs: &'a Inputs<'a>, labels: PortNames<'a>) -> Assembler<'a> {
        let scope = inputs.scope;
        let mut read = BTreeMap::new();
        for name in scope.switches.keys() {
            if let Some(SwitchView { source: SourceView { failure: None, .. }, observed: Some(o) }) =
                inputs.switches.get(name)
            {
                read.insert(name.as_str(), *o);
            }
        }
        let bundles = bundles(&read);
        let count = read.values().map(|o| o.ports.len()).sum();
        let mut assembler = Assembler {
            inputs,
            names: Names::default(),
            switch_handles: HashMap::new(),
            labels,
            unaudited: BTreeSet::new(),
            read,
            bundles,
            ports: Vec::with_capacity(count),
            places: HashMap::with_capacity(count),
            seats: Vec::with_capacity(inputs.declared.attachments.len()),
        };
        assembler.readings();
        assembler.passed();
        assembler.declarations();
        assembler.holders();
        assembler.scope();
        assembler
    }

    fn readings(&mut self) {
        for (switch, o) in &self.read {
            for (port, reading) in &o.ports {
                let at = At { switch, port };
                let line = match reading {
                    PortReading::Unreadable { might_carry, .. } => {
                        Line::Unreadable(Cow::Borrowed(might_carry))
                    }
                    PortReading::Read(s) if s.aggregate.is_none() => Line::Read(s),
                    PortReading::Read(_) if self.bundles.contains_key(&at) => continue,
                    // Bundled into what is not there: nobody knows what it carries.
                    PortReading::Read(_) => Line::Unreadable(Cow::Owned(VlanSet::all())),
                };
                self.places.insert(at, self.ports.len());
                self.ports.push(Port::new(at, line));
            }
        }
    }

    // What was bundled in the meantime is judged on the bundle, as it is now.
    fn passed(&mut self) {
        let read = std::mem::take(&mut self.read);
        for (switch, o) in &read {
            for (port, b) in &o.between {
                let at = At { switch, port };
                let at = self.bundles.get(&at).map_or(at, |b| At { port: b, ..at });
                let known = &mut self.port(at).passed;
                *known = Some(match known.take() {
                    None => Passed { vlans: Cow::Borrowed(&b.vlans), all: b.all, projects: BTreeSet::new() },
                    Some(k) => Passed { vlans: Cow::Owned(k.vlans.union(&b.vlans)), all: k.all | b.all, ..k },
                });
            }
        }
        self.read = read;
    }

    // Who holds the nodes behind the ports where something passed.
    fn holders(&mut self) {
        if self.ports.iter().all(|p| p.passed.is_none()) {
            return;
        }
        let declared = self.inputs.declared;
        let cabled = declared.cabling.iter().map(|c| {
            let holder = declared.holders.get(&c.node);
            (&c.port, holder.map(String::as_str))
        });
        let attached =
            declared.attachments.iter().filter_map(|a| Some((a.port.as_ref()?, a.project.as_deref())));
        for (port, project) in cabled.chain(attached) {
            let at = self.meant(port);
            let place = self.places.get(&at).copied();
            if let (Some(i), Some(project)) = (place, project)
                && let Some(passed) = &mut self.ports[i].passed
            {
                passed.projects.insert(project);
            }
        }
    }

    // For each VLAN that is declared, who may be on it: only as far as something passed.
    fn networks_by_vlan(&self) -> BTreeMap<VlanId, Vec<&'a Network>> {
        let mut all: BTreeMap<VlanId, Vec<&Network>> = BTreeMap::new();
        if self.ports.iter().any(|p| p.passed.is_some()) {
            for n in self.inputs.declared.networks.values() {
                if let NetworkVlan::Id(v) = n.vlan {
                    all.entry(v).or_default().push(n);
                }
            }
        }
        all
    }

    fn declarations(&mut self) {
        let declared = self.inputs.declared;
        for port in &declared.registered {
            self.logical(port).registered = true;
        }
        for cable in &declared.cabling {
            self.logical(&cable.port).cable(&cable.node);
        }
        // Both are sorted by network: walked side by side, no name is looked up.
        let mut networks = declared.networks.keys().enumerate().peekable();
        for a in &declared.attachments {
            while networks.next_if(|(_, name)| **name < a.network).is_some() {}
            let network = networks.peek().filter(|(_, name)| **name == a.network).map(|(i, _)| *i);
            let seat = match (&a.port, &a.channel) {
                (Some(port), _) => {
                    let at = self.meant(port);
                    let i = self.place(at);
                    let port = &mut self.ports[i];
                    port.cable(&a.node);
                    // One on a network that nobody knows makes the port known, and allows nothing.
                    port.attachments.extend(network.map(|n| (n, carried_as(&a.channel))));
                    Some(i)
                }
                // A machine on the manager's own host is where the scope says that host is. No nic is cabled there and
                // the manager does not know the port, so it is neither mixed nor registered by this. Without such an
                // exit nobody knows where the network goes, which is what an attachment without a place says.
                (None, Channel::ManagerHost) => {
                    let vlan = declared.networks.get(&a.network).and_then(|n| match n.vlan {
                        NetworkVlan::Id(v) => Some(v),
                        NetworkVlan::Unassessable(_) => None,
                    });
                    let exit = vlan.and_then(|v| self.inputs.scope.manager_host(v)).map(|e| At::of(&e.port));
                    // An exit that is a member of a bundle is none: what carries is the bundle.
                    exit.filter(|at| !self.bundles.contains_key(at)).map(|at| {
                        let i = self.place(at);
                        self.ports[i].attachments.extend(network.map(|n| (n, carried_as(&a.channel))));
                        i
                    })
                }
                (None, _) => None,
            };
            self.seats.push(seat);
        }
    }

    fn scope(&mut self) {
        let scope = self.inputs.scope;
        // `None` for a port that two links claim: it has one cable, and nobody knows which.
        let mut links: BTreeMap<At<'a>, Option<(At<'a>, VlanSet)>> = BTreeMap::new();
        for l in scope.links.iter().filter(|l| l.a != l.b) {
            for (end, other) in [(At::of(&l.a), At::of(&l.b)), (At::of(&l.b), At::of(&l.a))] {
                links
                    .entry(end)
                    .and_modify(|known| {
                        *known = known
                            .take()
                            .filter(|(peer, _)| *peer == other)
                            .map(|(peer, vlans)| (peer, vlans.union(&l.vlans)));
                    })
                    .or_insert_with(|| Some((other, l.vlans.clone())));
            }
        }
        for (end, link) in &links {
            let (Some((other, vlans)), Some(i)) = (link, self.places.get(end)) else { continue };
            let line = &self.ports[*i].line;
            if let (Some(v), false) = (line.untagged(), line.down())
                && vlans.contains(v)
                && self.read.contains_key(other.switch)
            {
                // Needed even where the switch does not list it: it then carries nothing there.
                self.port(*other).native = Some(v);
            }
        }
        for (end, link) in links {
            if let Some(i) = self.places.get(&end) {
                self.ports[*i].link = link;
            }
        }
        for exit in &scope.exits {
            let Some(i) = self.places.get(&At::of(&exit.port)) else { continue };
            let known = &mut self.ports[*i].exit;
            // Where two exits claim one port, the first by name counts and the other's VLANs are not allowed.
            if known.is_none_or(|k| (&exit.name, exit.kind) < (&k.name, k.kind)) {
                *known = Some(exit);
            }
        }
        for u in &scope.unassessed {
            if let Some(i) = self.places.get(&At::of(&u.port)) {
                self.ports[*i].unassessed = true;
            }
        }
        for at in self.inputs.moving.iter().map(At::of) {
            // The cloud manager changes a member; what is judged is its bundle.
            let bundle = self.bundles.get(&at).map(|b| At { port: b, ..at });
            for at in [Some(at), bundle].into_iter().flatten() {
                if let Some(i) = self.places.get(&at) {
                    self.ports[*i].moving = true;
                }
            }
        }
    }

    // The logical port a declared port means: through the scope's labels, and through the bundle it is in.
    fn meant(&mut self, declared: &'a PortId) -> At<'a> {
        let label = declared.switch.as_str();
        let switch = match self.labels.switch(label) {
            Some(s) => s,
            None => {
                self.unaudited.insert(label);
                label
            }
        };
        let at = At { switch, port: &declared.port };
        if self.bundles.is_empty() {
            return at;
        }
        self.bundles.get(&at).map_or(at, |b| At { port: b, ..at })
    }

    fn logical(&mut self, declared: &'a PortId) -> &mut Port<'a> {
        let at = self.meant(declared);
        self.port(at)
    }

    fn place(&mut self, at: At<'a>) -> usize {
        let ports = &mut self.ports;
        *self.places.entry(at).or_insert_with(|| {
            ports.push(Port::new(at, Line::Unlisted));
            ports.len() - 1
        })
    }

    fn port(&mut self, at: At<'a>) -> &mut Port<'a> {
        let i = self.place(at);
        &mut self.ports[i]
    }

    fn switch_handle(&mut self, switch: &'a str) -> Digest {
        if let Some(h) = self.switch_handles.get(switch) {
            return *h;
        }
        let handle = self.inputs.slots.switch_handle(switch);
        self.names.switches.insert(handle, switch.to_owned());
        self.switch_handles.insert(switch, handle);
        handle
    }

    fn handle(&mut self, at: At<'a>) -> Peer {
        match self.places.get(&at) {
            Some(i) => self.handle_of(*i),
            None => self.name(at),
        }
    }

    fn handle_of(&mut self, i: usize) -> Peer {
        if let Some(h) = self.ports[i].handle {
            return h;
        }
        let h = self.name(self.ports[i].at);
        self.ports[i].handle = Some(h);
        h
    }

    fn name(&mut self, at: At<'a>) -> Peer {
        let h = Peer {
            switch: self.switch_handle(at.switch),
            port: self.inputs.slots.port_handle(at.switch, at.port),
        };
        self.names.ports.insert(h.port, at.id());
        h
    }

    fn shown(&self, at: At<'a>) -> Option<PortId> {
        self.inputs.scope.disclose_ports.then(|| at.id())
    }

    fn run(mut self) -> Assembly {
        let inputs = self.inputs;
        self.names.ports.reserve(self.ports.len());
        let (networks, indices, unassessable) = self.network_sections();
        let mut slices: BTreeMap<u16, Slice> = BTreeMap::new();
        for (v, commitments) in &indices.by_vlan {
            let lease = inputs.slots.leases.get(v).map_or(0, |l: &Lease| l.since);
            if let Some(vlan) = VlanId::new(*v) {
                let networks = commitments.clone();
                slices.insert(*v, Slice { v: 1, vlan, lease, networks, ports: Vec::new() });
            }
        }
        let on_vlan = self.networks_by_vlan();
        let (mut wide, mut wide_passed) = (Vec::new(), Vec::new());
        let mut unread_ports = Vec::new();
        let (mut declared, mut vlans): (Vec<(u16, DeclaredAs)>, Vec<u16>) = (Vec::new(), Vec::new());
        for i in 0..self.ports.len() {
            let at = self.handle_of(i);
            let link = self.ports[i].link.take();
            let peer = link.as_ref().map(|(other, vlans)| (self.handle(*other), vlans));
            let port = &self.ports[i];
            let name = self.shown(port.at);
            let view = |exit: &Exit| ExitView { name: exit.name.clone(), kind: exit.kind };
            let (carried, untagged, down) = (port.line.carried(), port.line.untagged(), port.line.down());
            let unreadable = matches!(port.line, Line::Unreadable(_));
            let is_wide = carried.len() > WIDE;
            let mut allowed = VlanSet::empty();
            if let Some((_, vlans)) = &peer {
                allowed = allowed.union(vlans);
            }
            if let Some(exit) = port.exit {
                allowed = allowed.union(&exit.vlans);
            }
            let none = VlanSet::empty();
            let passed = port.passed.as_ref().map_or(&none, |p| &*p.vlans);
            let is_wide_passed = passed.len() > WIDE;
            let explained: VlanSet = port.passed.as_ref().map_or_else(VlanSet::empty, |p| {
                let joins = |n: &&Network| p.projects.iter().any(|by| may_join(&n.owner, &n.access, by));
                let own = on_vlan.iter().filter(|(v, all)| p.vlans.contains(**v) && all.iter().any(joins));
                own.map(|(v, _)| *v).collect()
            });
            if let Some(p) = port.passed.as_ref().filter(|_| is_wide_passed) {
                wide_passed.push(PassedPort {
                    switch: at.switch,
                    port: at.port,
                    name: name.clone(),
                    vlans: p.vlans.clone().into_owned(),
                    all: p.all,
                    allowed: allowed.clone(),
                    link: peer.map(|p| p.0),
                    exit: port.exit.map(view),
                    registered: port.registered,
                    unassessed: port.unassessed,
                    moving: port.moving,
                });
            }
            if is_wide && unreadable {
                unread_ports.push(UnreadPort {
                    switch: at.switch,
                    port: at.port,
                    vlans: carried.clone().into_owned(),
                    link: peer.map(|p| p.0),
                    unassessed: port.unassessed,
                });
            } else if is_wide {
                let tagged = untagged
                    .map_or_else(|| carried.clone().into_owned(), |v| carried.difference(&VlanSet::one(v)));
                wide.push(WidePort {
                    switch: at.switch,
                    port: at.port,
                    name: name.clone(),
                    untagged,
                    tagged,
                    allowed,
                    link: peer.map(|p| p.0),
                    exit: port.exit.map(view),
                    registered: port.registered,
                    down,
                    unassessed: port.unassessed,
                    moving: port.moving,
                });
            }
            // One line per VLAN: those declared here, those carried unless the port is listed as wide, and the one
            // that the other end of a link carries untagged.
            declared.clear();
            for (network, carried) in &port.attachments {
                if let Some((v, network)) = indices.by_network[*network] {
                    declared.push((v, DeclaredAs { network, carried: *carried }));
                }
            }
            declared.sort_unstable();
            vlans.clear();
            vlans.extend(declared.iter().map(|(v, _)| *v));
            if !is_wide {
                vlans.extend(carried.iter().map(VlanId::get));
            }
            if !is_wide || unreadable {
                vlans.extend(port.native.map(VlanId::get));
            }
            let told = if is_wide_passed { &explained } else { passed };
            vlans.extend(told.iter().map(VlanId::get));
            vlans.sort_unstable();
            vlans.dedup();
            for v in &vlans {
                let Some(vlan) = VlanId::new(*v) else { continue };
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
                    name: name.clone(),
                    carries,
                    declared: declared.iter().filter(|(on, _)| on == v).map(|(_, d)| *d).collect(),
                    registered: port.registered,
                    mixed: port.mixed,
                    link: peer.filter(|(_, vlans)| vlans.contains(vlan)).map(|p| p.0),
                    exit: port.exit.filter(|e| e.vlans.contains(vlan)).map(view),
                    down,
                    unreadable,
                    unassessed: port.unassessed,
                    moving: port.moving,
                    passed: passed.contains(vlan),
                    explained: explained.contains(vlan),
                };
                let slice = slices.entry(*v).or_insert_with(|| Slice {
                    v: 1,
                    vlan,
                    lease: 0,
                    networks: Vec::new(),
                    ports: Vec::new(),
                });
                slice.ports.push(line);
            }
        }
        for slice in slices.values_mut() {
            slice.ports.sort_unstable_by(|a, b| (&a.switch, &a.port).cmp(&(&b.switch, &b.port)));
            // It lives until the next poll, and was grown by doubling.
            slice.ports.shrink_to_fit();
        }
        wide.sort_by_key(|p| (p.switch, p.port));
        wide_passed.sort_by_key(|p| (p.switch, p.port));
        unread_ports.sort();
        let common = Common {
            roster: self.roster(),
            scope: self.scope_view(),
            coverage: self.coverage(unread_ports),
            bypasses: self.bypasses(),
            wide: Wide { v: 1, ports: wide, passed: wide_passed },
        };
        Assembly { common, slices, networks, unassessable, names: self.names }
    }

    fn network_sections(&mut self) -> (BTreeMap<String, NetworkSection>, Indices, BTreeMap<String, String>) {
        let declared = self.inputs.declared;
        let seats = std::mem::take(&mut self.seats);
        let mut attachments = declared.attachments.iter().zip(seats).peekable();
        let mut sections = BTreeMap::new();
        let mut unassessable = BTreeMap::new();
        let mut commitments: BTreeMap<u16, Vec<(Digest, usize)>> = BTreeMap::new();
        for (place, (name, n)) in declared.networks.iter().enumerate() {
            let vlan = match &n.vlan {
                NetworkVlan::Id(v) => *v,
                NetworkVlan::Unassessable(id) => {
                    unassessable.insert(name.clone(), id.clone());
                    continue;
                }
            };
            while attachments.next_if(|(a, _)| a.network < *name).is_some() {}
            let mut members = Vec::new();
            while let Some((a, seat)) = attachments.next_if(|(a, _)| a.network == *name) {
                members.push(Member {
                    project: a.project.clone(),
                    node: a.node.clone(),
                    nic: a.nic.clone(),
                    carried: carried_as(&a.channel),
                    at: seat.map(|i| self.handle_of(i)),
                });
            }
            members.sort();
            let lease = self.inputs.slots.lease(vlan);
            let section = NetworkSection {
                v: 1,
                name: name.clone(),
                vlan,
                owner: n.owner.clone(),
                access: n.access.clone(),
                lease: lease.map_or(0, |l| l.since),
                salt: lease.and_then(|l| l.networks.get(name)).map_or(Digest::ZERO, |l| l.salt),
                attachments: members,
            };
            let digest = Digest::of(&json::to_canonical(&section));
            commitments.entry(vlan.get()).or_default().push((digest, place));
            sections.insert(name.clone(), section);
        }
        let mut indices =
            Indices { by_vlan: BTreeMap::new(), by_network: vec![None; declared.networks.len()] };
        for (v, mut list) in commitments {
            list.sort();
            for (i, (_, place)) in (0u32..).zip(&list) {
                indices.by_network[*place] = Some((v, i));
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
            if !inputs.scope.switches.contains_key(name) {
                continue;
            }
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
            let at = At::of(&u.port);
            let h = self.handle(at);
            unassessed.push(UnassessedView {
                switch: h.switch,
                port: h.port,
                name: self.shown(at),
                reason: u.reason.clone(),
            });
        }
        unassessed.sort();
        unassessed.dedup_by_key(|u| (u.switch, u.port));
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
        let mut unaudited = std::mem::take(&mut self.unaudited);
        unaudited.retain(|label| {
            let used = |a: &Attachment| a.port.as_ref().is_some_and(|p| p.switch == *label);
            inputs.declared.attachments.iter().any(used)
        });
        let ends = inputs.scope.links.iter().flat_map(|l| [&l.a, &l.b]).map(|p| p.switch.as_str());
        unaudited.extend(ends.filter(|s| !inputs.scope.switches.contains_key(*s)));
        for label in unaudited {
            switches.push(Unread { switch: self.switch_handle(label), failure: Failure::Unaudited });
        }
        switches.sort();
        switches.dedup_by_key(|u| u.switch);
        let manager =
            inputs.manager.failure.or((!inputs.declared.anomalies.is_empty()).then_some(Failure::Unreadable));
        Coverage { v: 1, manager, switches, ports }
    }

    fn bypasses(&mut self) -> Bypasses {
        let mut switches = Vec::new();
        for (name, o) in std::mem::take(&mut self.read) {
            let mut dirty = Vec::new();
            let mut unread = Vec::new();
            let unfiltered = o.ports.values().any(
                |p| matches!(p, PortReading::Read(s) if s.ingress_filtering == Some(false) && s.admin_down != Some(true)),
            );
            for class in BypassClass::ALL {
                match o.bypasses.get(&class) {
                    // Whatever is said of the switch as a whole, one open port lets every VLAN in.
                    _ if class == BypassClass::IngressFiltering && unfiltered => {
                        dirty.push(DirtyClass { class, vlans: VlanSet::all() });
                    }
                    Some(BypassReading::Dirty { vlans, .. }) => {
                        dirty.push(DirtyClass { class, vlans: vlans.clone() });
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

// Which logical port each member is in. A member says so itself; where its own answer is missing or not understood,
// the bundle that lists it does. A bundle that is not there, or is itself in a bundle, is none.
fn bundles<'a>(read: &BTreeMap<&'a str, &'a Observed>) -> HashMap<At<'a>, &'a str> {
    let mut bundles = HashMap::new();
    for (switch, o) in read {
        let o: &'a Observed = o;
        for (port, reading) in &o.ports {
            let PortReading::Read(state) = reading else { continue };
            let logical = |name: &str| match o.ports.get(name) {
                Some(PortReading::Read(s)) => s.aggregate.is_none(),
                Some(PortReading::Unreadable { .. }) => true,
                None => false,
            };
            match &state.aggregate {
                Some(bundle) if logical(bundle) => {
                    bundles.insert(At { switch, port }, bundle.as_str());
                }
                Some(_) => {}
                None => {
                    for member in &state.members {
                        if !matches!(o.ports.get(member), Some(PortReading::Read(_))) {
                            bundles.insert(At { switch, port: member }, port.as_str());
                        }
                    }
                }
            }
        }
    }
    bundles
}

struct Indices {
    by_vlan: BTreeMap<u16, Vec<Digest>>,
    // VLAN and index in its slice, by place among the declared networks.
    by_network: Vec<Option<(u16, u32)>>,
}

fn carried_as(channel: &Channel) -> Carries {
    match channel {
        Channel::Native => Carries::Untagged,
        Channel::Tagged(_) => Carries::Tagged,
        Channel::ManagerHost | Channel::Other(_) => Carries::Other,
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
