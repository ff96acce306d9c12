//! The normal form: what a cloud manager declares and what switches do, in the same words whatever the vendor.
//!
//! One log audits one *domain*, a set of switches that share one VLAN space. Everything here is plain data with a
//! canonical JSON form, so that a state can be stored once, named by its digest, and judged again years later.

use crate::time::Timestamp;
use crate::vlan::{VlanId, VlanSet};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;

/// A port of a switch, by the names of whoever speaks: the cloud manager's labels in [`Declared`], the scope's
/// names elsewhere.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PortId {
    /// The switch.
    pub switch: String,
    /// The port on it, e.g. `gi1/0/5`.
    pub port: String,
}

impl PortId {
    /// A port by its two names.
    pub fn new(switch: impl Into<String>, port: impl Into<String>) -> PortId {
        PortId { switch: switch.into(), port: port.into() }
    }
}

impl fmt::Display for PortId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.switch, self.port)
    }
}

/// Something a reader met and could not understand. Never dropped, never guessed: what it touches is unreadable.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Anomaly {
    /// What it concerns, in the source's words: a path, a port, a line.
    pub about: String,
    /// What was found and what would have been understood.
    pub what: String,
}

/// Who owns a network. HIL: a project, or the administrators.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Owner {
    /// Owned by the administrators.
    Admin,
    /// Owned by this project.
    Project(String),
}

/// Whose nodes may be attached to a network.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Access {
    /// Any project's (HIL: a null access list).
    Public,
    /// These projects', besides the owner's.
    Projects(BTreeSet<String>),
}

/// The VLAN a network is declared on.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum NetworkVlan {
    /// A VLAN that can be judged.
    Id(VlanId),
    /// An id outside 1 to 4094 (HIL accepts "4096"; its null allocator gives a uuid), verbatim. Nothing can be said
    /// about the network, and that is what is said.
    Unassessable(String),
}

/// A declared network.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Network {
    /// Its VLAN.
    pub vlan: NetworkVlan,
    /// Its owner.
    pub owner: Owner,
    /// Its access list.
    pub access: Access,
}

/// How an attachment carries its network. HIL: `vlan/native` or `vlan/<id>`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Channel {
    /// Untagged.
    Native,
    /// Tagged with this VLAN id.
    Tagged(VlanId),
    /// By a machine that lives on the cloud manager's own host (HIL: a headnode): the network reaches it through that
    /// host's port, an exit, and how is not said. Such an attachment has no port of its own.
    ManagerHost,
    /// A channel that is neither (HIL's null allocator says `null`), verbatim.
    Other(String),
}

/// A node's nic declared to be on a network.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Attachment {
    /// The network, by name.
    pub network: String,
    /// The project that holds the node; `None` for a free node.
    pub project: Option<String>,
    /// The node.
    pub node: String,
    /// Its nic.
    pub nic: String,
    /// The nic's MAC address as the manager writes it.
    pub mac: Option<String>,
    /// The port the nic is cabled to, by the manager's labels; `None` when the manager knows no port.
    pub port: Option<PortId>,
    /// Untagged or tagged.
    pub channel: Channel,
}

/// A change the cloud manager is carrying out.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Action {
    /// The node whose nic is being changed.
    pub node: String,
    /// The nic.
    pub nic: String,
    /// The port the nic is cabled to, if known.
    pub port: Option<PortId>,
    /// The network that is being connected; `None` for a detachment or revert.
    pub network: Option<String>,
    /// True while pending; false for one that failed.
    pub pending: bool,
}

/// What the cloud manager says should be.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Declared {
    /// Networks by name.
    pub networks: BTreeMap<String, Network>,
    /// Attachments, sorted.
    pub attachments: BTreeSet<Attachment>,
    /// Where every nic is cabled: port to (node, nic), whether or not anything is attached. Ports are the manager's
    /// labels; several nics on one port are possible and listed all.
    pub cabling: BTreeSet<Cable>,
    /// Ports the manager knows at all.
    pub registered: BTreeSet<PortId>,
    /// Changes in flight, as far as the source shows them.
    pub actions: BTreeSet<Action>,
    /// The project that holds each node, attached or not; a free node is absent. What passed between two readings on a
    /// node's port may have been the manager's own doing only for networks that this project may join.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub holders: BTreeMap<String, String>,
    /// What could not be understood. Any makes the declaration as a whole unreadable, since it may hide an
    /// attachment.
    pub anomalies: Vec<Anomaly>,
}

/// A nic and the port it is cabled to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cable {
    /// The port, by the manager's labels.
    pub port: PortId,
    /// The node.
    pub node: String,
    /// The nic.
    pub nic: String,
}

/// The ways in which traffic may bypass a port's VLAN columns. Closed; each dialect says for every class whether
/// its reading is clean, dirty or not made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum BypassClass {
    /// Forwarding rules other than plain learning (OpenFlow, policy routing of frames, ACL redirects).
    Flows,
    /// A controller, or anyone, with standing power to install such rules.
    Controller,
    /// Mirror, SPAN, RSPAN sessions.
    Mirror,
    /// Ports that accept tags of VLANs they are not members of.
    IngressFiltering,
    /// Layer 3 interfaces that route between VLANs.
    Routing,
    /// VLAN translation or mapping.
    Translation,
    /// VLANs assigned by MAC address, protocol or subnet.
    Classification,
    /// VLANs assigned at run time: 802.1X, GVRP/MVRP, VTP, voice VLAN.
    Dynamic,
    /// Frames with two tags that leave their VLAN at the second.
    DoubleTagging,
}

impl BypassClass {
    /// Every class, in the order of the pages.
    pub const ALL: [BypassClass; 9] = [
        BypassClass::Flows,
        BypassClass::Controller,
        BypassClass::Mirror,
        BypassClass::IngressFiltering,
        BypassClass::Routing,
        BypassClass::Translation,
        BypassClass::Classification,
        BypassClass::Dynamic,
        BypassClass::DoubleTagging,
    ];

    /// The name in formats and policies.
    pub fn name(self) -> &'static str {
        match self {
            BypassClass::Flows => "flows",
            BypassClass::Controller => "controller",
            BypassClass::Mirror => "mirror",
            BypassClass::IngressFiltering => "ingress-filtering",
            BypassClass::Routing => "routing",
            BypassClass::Translation => "translation",
            BypassClass::Classification => "classification",
            BypassClass::Dynamic => "dynamic",
            BypassClass::DoubleTagging => "double-tagging",
        }
    }

    /// The class with this name.
    pub fn from_name(name: &str) -> Option<BypassClass> {
        BypassClass::ALL.into_iter().find(|c| c.name() == name)
    }
}

impl fmt::Display for BypassClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What a reader says of one bypass class on one switch. A class a reader does not mention is not read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum BypassReading {
    /// Read, or impossible on this dialect by construction: nothing bypasses the VLAN columns in this way.
    Clean,
    /// Read, and something does.
    Dirty {
        /// The VLANs that may be touched; every VLAN unless the reader can prove fewer.
        vlans: VlanSet,
        /// What was found, for the admin.
        detail: String,
    },
    /// Not read.
    NotRead {
        /// Why, for the admin.
        why: String,
    },
}

/// What a switch does with the VLANs of one logical port.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PortState {
    /// The VLAN whose frames leave without a tag, and which untagged frames enter.
    pub untagged: Option<VlanId>,
    /// VLANs carried with a tag. A VLAN that is both is listed as `untagged` only.
    pub tagged: VlanSet,
    /// Read as administratively down (`Some(true)`), up, or not read. Link state is not this.
    pub admin_down: Option<bool>,
    /// Whether the port drops tags of VLANs it is not a member of; `None` where not read per port.
    pub ingress_filtering: Option<bool>,
    /// The logical port this one is bundled into. Its own VLANs count only while this is `None`.
    pub aggregate: Option<String>,
    /// The members of a logical port that bundles others; empty for a plain port.
    pub members: BTreeSet<String>,
}

impl PortState {
    /// Every VLAN the port carries by its columns, whatever its administrative state.
    pub fn carries(&self) -> VlanSet {
        let mut all = self.tagged.clone();
        if let Some(v) = self.untagged {
            all.insert(v);
        }
        all
    }
}

/// One port of a switch's answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum PortReading {
    /// Read and understood.
    Read(PortState),
    /// Not understood: counts for every VLAN it might carry.
    Unreadable {
        /// The VLANs it might carry; every VLAN unless the reader can prove fewer.
        might_carry: VlanSet,
        /// What was not understood, for the admin.
        why: String,
    },
}

/// What one switch does.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Observed {
    /// Logical and member ports by the switch's own names. A port the scope or the manager knows and the switch
    /// does not list carries nothing.
    pub ports: BTreeMap<String, PortReading>,
    /// Bypass classes. A class that is absent is not read.
    pub bypasses: BTreeMap<BypassClass, BypassReading>,
    /// What came and went between the reading before and this one, by logical port; empty for a switch that does not
    /// tell. A class of bypass that was dirty only in between is dirty in `bypasses`, its detail says when.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub between: BTreeMap<String, Between>,
    /// What could not be understood and is not confined to a port. Any makes the whole switch unreadable.
    pub anomalies: Vec<Anomaly>,
}

/// VLANs that a port carried between two readings and at neither, as the switch told of its changes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Between {
    /// The VLANs, never empty.
    pub vlans: VlanSet,
    /// At some moment the port carried every VLAN, and does not now.
    #[serde(default, skip_serializing_if = "no")]
    pub all: bool,
    /// When the switch first told of one of them; the switch's claim, dated by when it arrived.
    pub from: Timestamp,
    /// When it told that the last of them was gone, likewise.
    pub to: Timestamp,
}

fn no(b: &bool) -> bool {
    !*b
}

/// Why a source gave no usable reading.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Failure {
    /// No answer, or none in time.
    Silent,
    /// An answer that was not understood, or access refused.
    Unreadable,
    /// Another identity (host key, certificate, serial, system id) than the scope admits.
    SourceChanged,
    /// The cloud manager attaches nodes to a switch that nobody audits.
    Unaudited,
}

/// When a source was read: from before the first byte was asked for to after the last was received.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Window {
    /// Before the first request.
    pub started: Timestamp,
    /// After the last answer.
    pub ended: Timestamp,
}

/// Which reader made a reading, and of what.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reader {
    /// The dialect, e.g. `openvswitch`.
    pub dialect: String,
    /// The parser's version; moves when the same evidence may read differently.
    pub version: u32,
}

/// The scope: which switches are audited, and what the operator says of their infrastructure. Reviewed by people,
/// recorded as `scope-changed`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scope {
    /// The domain's name.
    pub domain: String,
    /// The audited switches by name.
    #[serde(default)]
    pub switches: BTreeMap<String, ScopeSwitch>,
    /// Cables between audited switches.
    #[serde(default)]
    pub links: Vec<Link>,
    /// Ports through which the domain is left.
    #[serde(default)]
    pub exits: Vec<Exit>,
    /// Ports the operator does not assess.
    #[serde(default)]
    pub unassessed: Vec<Unassessed>,
    /// Whether tenants see the names of ports and switches instead of opaque handles.
    #[serde(default)]
    pub disclose_ports: bool,
}

fn is_false(b: &bool) -> bool {
    !*b
}

/// An audited switch.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ScopeSwitch {
    /// The cloud manager's labels for it; empty means its own name. (HIL registers some switches once per interface
    /// type.)
    #[serde(default)]
    pub labels: BTreeSet<String>,
    /// By label, what stands before the manager's port labels in the switch's own port names: a Brocade VDX that HIL
    /// registers for one interface type has `1/0/5` there and `TenGigabitEthernet 1/0/5` here. Absent means nothing.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub prefixes: BTreeMap<String, String>,
    /// Whether the manager's port labels are put in lower case, for switches that name their ports so whatever the case
    /// they are typed in. (HIL lets `Ethernet1/2` and `ethernet1/2` be registered.)
    #[serde(default, skip_serializing_if = "is_false")]
    pub ignore_case: bool,
    /// The identity the operator admits, as its reader prints it; absent admits any and records which.
    #[serde(default)]
    pub identity: Option<String>,
}

/// A cable between two audited switches, both ends judged.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Link {
    /// One end.
    pub a: PortId,
    /// The other end.
    pub b: PortId,
    /// The VLANs it may carry.
    pub vlans: VlanSet,
}

/// A port through which VLANs leave the audited domain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Exit {
    /// The name tenants see, e.g. `core-router`.
    pub name: String,
    /// What is behind it.
    pub kind: ExitKind,
    /// The port.
    pub port: PortId,
    /// The VLANs it may carry.
    pub vlans: VlanSet,
}

/// What is behind an exit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ExitKind {
    /// A router or firewall.
    Router,
    /// The cloud manager's own host (HIL: headnodes' trunk).
    ManagerHost,
    /// A switch that is not audited.
    UnauditedSwitch,
    /// The bridge's own port into its host.
    Local,
}

impl ExitKind {
    /// The name in formats.
    pub fn name(self) -> &'static str {
        match self {
            ExitKind::Router => "router",
            ExitKind::ManagerHost => "manager-host",
            ExitKind::UnauditedSwitch => "unaudited-switch",
            ExitKind::Local => "local",
        }
    }
}

/// A port the operator chose not to assess.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Unassessed {
    /// The port.
    pub port: PortId,
    /// Why, in the operator's words; tenants read it.
    pub reason: String,
}

impl Scope {
    /// The exit through which `vlan` reaches the cloud manager's own host: one of that kind that may carry it, else one to
    /// an unaudited switch, behind which the host then must be; of several the first by name.
    pub fn manager_host(&self, vlan: VlanId) -> Option<&Exit> {
        let kinds = [ExitKind::ManagerHost, ExitKind::UnauditedSwitch];
        let of = |kind| self.exits.iter().filter(move |e| e.kind == kind && e.vlans.contains(vlan));
        kinds.into_iter().find_map(|kind| of(kind).min_by(|a, b| a.name.cmp(&b.name)))
    }

    /// How the cloud manager's names are to be understood.
    pub fn names(&self) -> PortNames<'_> {
        let mut labels: HashMap<&str, Option<(&str, &ScopeSwitch)>> = HashMap::new();
        for (name, s) in &self.switches {
            let own = s.labels.is_empty().then_some(name);
            for label in s.labels.iter().chain(own) {
                labels.entry(label).and_modify(|claimed| *claimed = None).or_insert(Some((name.as_str(), s)));
            }
        }
        let plain = self.switches.values().all(|s| s.prefixes.is_empty() && !s.ignore_case);
        PortNames { labels, plain }
    }
}

/// What the cloud manager's labels of switches and ports mean in a scope.
#[derive(Clone, Debug)]
pub struct PortNames<'a> {
    // By label; `None` for one that two switches claim.
    labels: HashMap<&'a str, Option<(&'a str, &'a ScopeSwitch)>>,
    // No port is called otherwise than by the manager.
    plain: bool,
}

impl<'a> PortNames<'a> {
    /// The audited switch that the cloud manager calls `label`; `None` for a label nobody audits, or two switches claim.
    pub fn switch(&self, label: &str) -> Option<&'a str> {
        self.labels.get(label).copied().flatten().map(|(name, _)| name)
    }

    /// The port that the cloud manager calls `declared`, by the switch's names. A label without a switch stands for
    /// itself.
    pub fn port(&self, declared: &PortId) -> PortId {
        let switch = self.switch(&declared.switch).unwrap_or(&declared.switch);
        PortId::new(switch, self.own_name(declared))
    }

    /// `declared` with its ports called as their switches call them; the switches keep the manager's labels. `None` where
    /// that changes nothing.
    pub fn renamed(&self, declared: &Declared) -> Option<Declared> {
        if self.plain {
            return None;
        }
        let own = |p: &PortId| PortId::new(p.switch.as_str(), self.own_name(p));
        Some(Declared {
            networks: declared.networks.clone(),
            attachments: (declared.attachments.iter())
                .map(|a| Attachment { port: a.port.as_ref().map(own), ..a.clone() })
                .collect(),
            cabling: declared.cabling.iter().map(|c| Cable { port: own(&c.port), ..c.clone() }).collect(),
            registered: declared.registered.iter().map(own).collect(),
            actions: (declared.actions.iter())
                .map(|a| Action { port: a.port.as_ref().map(own), ..a.clone() })
                .collect(),
            holders: declared.holders.clone(),
            anomalies: declared.anomalies.clone(),
        })
    }

    fn own_name<'p>(&self, declared: &'p PortId) -> Cow<'p, str> {
        let Some(Some((_, switch))) = self.labels.get(declared.switch.as_str()) else {
            return Cow::Borrowed(&declared.port);
        };
        let name = match switch.ignore_case {
            true => Cow::Owned(declared.port.to_ascii_lowercase()),
            false => Cow::Borrowed(declared.port.as_str()),
        };
        match switch.prefixes.get(&declared.switch) {
            Some(prefix) => Cow::Owned(format!("{prefix}{name}")),
            None => name,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_device_registered_once_per_interface_type() {
        let vdx = ScopeSwitch {
            labels: ["vdx-te".to_owned(), "vdx-fo".to_owned()].into(),
            prefixes: [
                ("vdx-te".to_owned(), "TenGigabitEthernet ".to_owned()),
                ("vdx-fo".to_owned(), "FortyGigabitEthernet ".to_owned()),
            ]
            .into(),
            ..ScopeSwitch::default()
        };
        let nexus = ScopeSwitch { ignore_case: true, ..ScopeSwitch::default() };
        let clash = ScopeSwitch { labels: ["twice".to_owned()].into(), ..ScopeSwitch::default() };
        let switches = [("vdx", vdx), ("nexus", nexus), ("a", clash.clone()), ("b", clash)];
        let scope = Scope {
            switches: switches.into_iter().map(|(n, s)| (n.to_owned(), s)).collect(),
            ..Scope::default()
        };
        let names = scope.names();
        for (label, port, want) in [
            ("vdx-te", "101/0/1", "vdx TenGigabitEthernet 101/0/1"),
            ("vdx-fo", "101/0/1", "vdx FortyGigabitEthernet 101/0/1"),
            ("nexus", "Ethernet1/12", "nexus ethernet1/12"),
            ("nexus", "ethernet1/12", "nexus ethernet1/12"),
            ("twice", "Gi1", "twice Gi1"),
            ("nobody", "Gi1", "nobody Gi1"),
            ("vdx", "101/0/1", "vdx 101/0/1"),
        ] {
            assert_eq!(names.port(&PortId::new(label, port)).to_string(), want);
        }
        let declared = Declared {
            registered: ["Ethernet1/1", "ethernet1/1"].map(|p| PortId::new("nexus", p)).into(),
            ..Declared::default()
        };
        let renamed = names.renamed(&declared).unwrap();
        assert_eq!(renamed.registered, [PortId::new("nexus", "ethernet1/1")].into());
        assert!(Scope::default().names().renamed(&declared).is_none());
    }
}
