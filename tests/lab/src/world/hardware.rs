//! A hardware switch, whatever its vendor: what it is configured to do, and the levers on it.
//!
//! The model says what a switch does; the emulators (SSH consoles, REST) say it in each vendor's words. Names of ports are
//! the switch's own: `gi1/0/5`, `Gi1/0/5`, `Ethernet1/5`, `TenGigabitEthernet 1/0/5`, `GigabitEthernet 1/5`.
//!
//! # In scope
//! - Every mode of a port that decides VLANs, and each way around them that a switch's page names as a class of bypass.
//! - Running and startup configuration, accounts, and a switch that refuses to be configured.
//! # Out of scope
//! - The management network, spanning tree, counters, temperature: readers ask for none of it.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use super::hil::SwitchKind;
use super::vlans::{VlanList, VlanRanges};
use super::{World, WorldError};

/// The VLAN that HIL's N3000 and Nexus drivers set as native where there should be none. It is never created on Nexus.
pub(crate) const DUMMY_VLAN: u16 = 2222;

/// The PVID that stands for "drop what comes untagged".
const NO_PVID: u16 = 4095;

/// The hardware switches HIL can drive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum HardwareKind {
    /// Dell PowerConnect 5500, a command line over SSH.
    PowerConnect5500,
    /// Dell N3000 (OS 6), a command line over SSH.
    N3000,
    /// Cisco Nexus 3500 or 5500, a command line over SSH.
    Nexus,
    /// Brocade VDX (NOS), REST.
    Vdx,
    /// Dell S3048-ON (OS 9), REST.
    Os9,
}

impl HardwareKind {
    /// All of them.
    pub const ALL: [HardwareKind; 5] = [
        HardwareKind::PowerConnect5500,
        HardwareKind::N3000,
        HardwareKind::Nexus,
        HardwareKind::Vdx,
        HardwareKind::Os9,
    ];

    /// Whether it is managed by a command line over SSH; the others speak REST.
    pub fn is_console(self) -> bool {
        !matches!(self, HardwareKind::Vdx | HardwareKind::Os9)
    }

    /// What HIL calls it.
    pub fn switch_kind(self) -> SwitchKind {
        match self {
            HardwareKind::PowerConnect5500 => SwitchKind::PowerConnect55xx,
            HardwareKind::N3000 => SwitchKind::DellN3000,
            HardwareKind::Nexus => SwitchKind::Nexus,
            HardwareKind::Vdx => SwitchKind::Brocade,
            HardwareKind::Os9 => SwitchKind::DellNos9,
        }
    }

    /// The interface type under which HIL registers it, where HIL wants one.
    pub fn interface_type(self) -> Option<&'static str> {
        match self {
            HardwareKind::Vdx => Some("TenGigabitEthernet"),
            HardwareKind::Os9 => Some("GigabitEthernet"),
            _ => None,
        }
    }

    /// What HIL calls the `n`-th port, counted from 1.
    pub fn hil_port(self, n: usize) -> String {
        match self {
            HardwareKind::PowerConnect5500 | HardwareKind::N3000 => format!("gi1/0/{n}"),
            HardwareKind::Nexus => format!("Ethernet1/{n}"),
            HardwareKind::Vdx => format!("1/0/{n}"),
            HardwareKind::Os9 => format!("1/{n}"),
        }
    }

    /// The switch's own name for what HIL calls `label`.
    pub fn native_port(self, interface_type: Option<&str>, label: &str) -> String {
        match self {
            HardwareKind::PowerConnect5500 => label.to_ascii_lowercase(),
            HardwareKind::N3000 | HardwareKind::Nexus => {
                let mut letters = label.chars();
                letters
                    .next()
                    .map_or_else(String::new, |c| c.to_ascii_uppercase().to_string() + letters.as_str())
            }
            HardwareKind::Vdx | HardwareKind::Os9 => {
                format!("{} {label}", interface_type.or(self.interface_type()).unwrap_or_default())
            }
        }
    }

    /// The name of the `n`-th aggregate (port-channel).
    pub fn aggregate_port(self, n: u16) -> String {
        match self {
            HardwareKind::PowerConnect5500 | HardwareKind::N3000 => format!("Po{n}"),
            HardwareKind::Nexus => format!("port-channel{n}"),
            HardwareKind::Vdx => format!("Port-channel {n}"),
            HardwareKind::Os9 => format!("Port-channel {n}"),
        }
    }

    /// Whether a trunk's native VLAN is carried only while the list of allowed VLANs has it.
    fn native_needs_allowing(self) -> bool {
        !matches!(self, HardwareKind::Vdx)
    }
}

/// What a port does with VLANs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum PortMode {
    /// One VLAN, untagged: [`HwPort::access_vlan`].
    #[default]
    Access,
    /// [`HwPort::native`] and [`HwPort::allowed`].
    Trunk,
    /// Membership VLAN by VLAN: [`HwPort::general`]. `general` or `hybrid` in the vendors' words.
    General,
    /// 802.1Q tunnel: all that arrives is put in the access VLAN, tags and all. `customer`, `dot1q-tunnel`.
    Tunnel,
    /// A host or promiscuous port of a private VLAN: [`HwPort::private_vlan`].
    PrivateVlan,
    /// A routed port, in no VLAN: `no switchport`.
    Layer3,
}

/// Membership of a port in mode [`PortMode::General`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct General {
    /// The VLAN of what arrives untagged; `None` drops it.
    pub pvid: Option<u16>,
    /// VLANs that leave untagged.
    pub untagged: VlanRanges,
    /// VLANs that leave tagged.
    pub tagged: VlanRanges,
    /// Whether frames of VLANs the port is not in are dropped on arrival.
    pub ingress_filtering: bool,
    /// Whether untagged frames are dropped on arrival.
    pub tagged_only: bool,
}

impl Default for General {
    fn default() -> General {
        General {
            pvid: Some(1),
            untagged: VlanRanges::from([1]),
            tagged: VlanRanges::none(),
            ingress_filtering: true,
            tagged_only: false,
        }
    }
}

/// Private VLAN settings of a port.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PrivateVlan {
    /// The primary VLAN.
    pub primary: u16,
    /// The secondary VLANs: one for a host, any number for a promiscuous port.
    pub secondary: VlanRanges,
    /// Whether the port speaks to every host.
    pub promiscuous: bool,
}

/// How a VLAN came to a port without being configured there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum DynamicBy {
    /// GVRP or MVRP: a neighbour asked for it.
    Gvrp,
    /// 802.1X: an authentication server said so.
    Dot1x,
    /// A virtual link trunk's peer has it.
    Vlt,
    /// The switch's own doing.
    Internal,
    /// OS 9's code `M`.
    Trunk,
}

/// VLANs that came to a port by themselves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dynamic {
    /// How.
    pub by: DynamicBy,
    /// Whether they leave tagged.
    pub tagged: bool,
    /// Which.
    pub vlans: VlanRanges,
}

/// A port, physical or an aggregate of such.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HwPort {
    /// The switch's own name for it.
    pub name: String,
    /// Free text. May hold anything that a person or an attacker types: prompts, pager lines, other ports' records.
    pub description: String,
    /// Whether it is an aggregate, a port-channel.
    pub is_aggregate: bool,
    /// The aggregate it is a member of.
    pub aggregate: Option<String>,
    /// `shutdown`.
    pub admin_down: bool,
    /// Whether there is a link.
    pub link_up: bool,
    /// What it does with VLANs.
    pub mode: PortMode,
    /// The VLAN of mode access, and the outer one of mode tunnel. It is remembered in the other modes.
    pub access_vlan: u16,
    /// The native VLAN of mode trunk; `None` drops what comes untagged. Remembered in the other modes.
    pub native: Option<u16>,
    /// Whether the native VLAN leaves tagged.
    pub native_tagged: bool,
    /// The allowed VLANs of mode trunk. Remembered in the other modes.
    pub allowed: VlanList,
    /// The membership of mode general. Remembered in the other modes; `None` is the default.
    pub general: Option<Box<General>>,
    /// Private VLAN settings.
    pub private_vlan: Option<Box<PrivateVlan>>,
    /// VLANs that came by themselves, whatever the mode.
    pub dynamic: Vec<Dynamic>,
    /// VDX: whether it is a `port-profile-port`, whose VLANs come from the profiles and from a hypervisor manager.
    pub profile_port: bool,
    /// The address of a routed port.
    pub ip: Option<String>,
}

impl HwPort {
    /// A port as it comes from the factory: up, access, VLAN 1; and if it were a trunk, every VLAN. On OS 9 a routed port
    /// that is shut down; a trunk of a VDX would begin with VLAN 1 only, native and tagged.
    pub fn factory(kind: HardwareKind, name: &str) -> HwPort {
        let (os9, vdx) = (kind == HardwareKind::Os9, kind == HardwareKind::Vdx);
        HwPort {
            name: name.to_owned(),
            link_up: true,
            admin_down: os9,
            mode: if os9 { PortMode::Layer3 } else { PortMode::Access },
            access_vlan: 1,
            native: Some(1),
            native_tagged: vdx,
            allowed: if vdx { VlanList::None } else { VlanList::All },
            ..HwPort::default()
        }
    }

    /// Makes it an access port.
    pub fn set_access(&mut self, vlan: u16) -> &mut HwPort {
        (self.mode, self.access_vlan) = (PortMode::Access, vlan);
        self
    }

    /// Makes it a trunk.
    pub fn set_trunk(&mut self, native: Option<u16>, allowed: VlanList) -> &mut HwPort {
        (self.mode, self.native, self.allowed) = (PortMode::Trunk, native, allowed);
        self
    }

    /// Makes it a general (hybrid) port with this membership; the untagged VLAN is the PVID too.
    pub fn set_general(&mut self, untagged: Option<u16>, tagged: VlanRanges) -> &mut HwPort {
        self.mode = PortMode::General;
        let general = General {
            pvid: untagged,
            untagged: untagged.into_iter().collect(),
            tagged,
            ..General::default()
        };
        self.general = Some(Box::new(general));
        self
    }

    /// The membership of mode general, to change it.
    pub fn general_mut(&mut self) -> &mut General {
        self.general.get_or_insert_default()
    }

    /// The PVID of mode general, 4095 where untagged frames are dropped.
    pub fn general_pvid(&self) -> u16 {
        self.general.as_ref().map_or(Some(1), |g| g.pvid).unwrap_or(NO_PVID)
    }
}

/// A VLAN that was created.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HwVlan {
    /// The name; empty is the switch's default.
    pub name: String,
    /// `shutdown` or suspended.
    pub inactive: bool,
    /// The address (IPv4 or IPv6) of its routed interface, with the length of the prefix. Two such VLANs and `ip_routing` make a router.
    pub ip: Option<String>,
    /// RSPAN: what is in it is copied from elsewhere.
    pub remote_span: bool,
}

/// A mirror (SPAN) session.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SpanSession {
    /// Its number.
    pub id: u16,
    /// The ports copied.
    pub source_ports: Vec<String>,
    /// The VLANs copied.
    pub source_vlans: VlanRanges,
    /// The port copied to.
    pub destination: Option<String>,
    /// Whether the session is shut.
    pub shut: bool,
}

/// By what a frame is put into a VLAN, other than its tag and its port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClassifiedBy {
    /// Source MAC address.
    Mac,
    /// Protocol.
    Protocol,
    /// Source subnet.
    Subnet,
}

/// Puts frames into a VLAN by what they hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VlanRule {
    /// By what.
    pub by: ClassifiedBy,
    /// The address, protocol or subnet.
    pub what: String,
    /// The VLAN.
    pub vlan: u16,
    /// The port it holds for; `None` is all.
    pub port: Option<String>,
}

/// Rewrites a tag on a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VlanTranslation {
    /// The port.
    pub port: String,
    /// The tag on the wire.
    pub from: u16,
    /// The VLAN inside.
    pub to: u16,
}

/// A VDX port profile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortProfile {
    /// Its name.
    pub name: String,
    /// Whether it is activated.
    pub active: bool,
    /// Its VLANs.
    pub allowed: VlanList,
    /// The MAC addresses it applies to.
    pub macs: Vec<String>,
}

/// A configuration: what `show running-config` is about.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HwConfig {
    /// The host name, which prompts show.
    pub hostname: String,
    /// The ports, in the switch's order.
    pub ports: Vec<HwPort>,
    /// The VLANs there are. One that is allowed on a port and missing here carries nothing now and everything once created.
    pub vlans: BTreeMap<u16, HwVlan>,
    /// Mirror sessions.
    pub sessions: Vec<SpanSession>,
    /// `ip routing`.
    pub ip_routing: bool,
    /// GVRP or MVRP.
    pub gvrp: bool,
    /// 802.1X.
    pub dot1x: bool,
    /// OpenFlow.
    pub openflow: bool,
    /// sFlow: samples of frames are sent to a collector.
    pub sflow: bool,
    /// Nexus: `vlan dot1q tag native`.
    pub tag_native: bool,
    /// VLANs by MAC address, protocol or subnet.
    pub rules: Vec<VlanRule>,
    /// VLAN translation.
    pub translations: Vec<VlanTranslation>,
    /// VDX port profiles.
    pub profiles: Vec<PortProfile>,
}

impl HwConfig {
    /// A port, by the switch's own name for it.
    pub fn port(&self, name: &str) -> Option<&HwPort> {
        self.ports.iter().find(|p| p.name == name)
    }

    /// The members of an aggregate.
    pub fn members<'a>(&'a self, aggregate: &'a str) -> impl Iterator<Item = &'a HwPort> {
        self.ports.iter().filter(move |p| p.aggregate.as_deref() == Some(aggregate))
    }

    /// The session that copies to a port, if one does.
    pub fn span_destination(&self, port: &str) -> Option<&SpanSession> {
        self.sessions.iter().find(|s| s.destination.as_deref() == Some(port))
    }
}

/// An account of the switch.
#[derive(Clone, PartialEq, Eq)]
pub struct Account {
    /// The name.
    pub user: String,
    /// The password, in the clear.
    pub password: String,
    /// Whether it may change anything.
    pub may_write: bool,
}

impl fmt::Debug for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Account")
            .field("user", &self.user)
            .field("may_write", &self.may_write)
            .finish_non_exhaustive()
    }
}

/// Spellings of a REST interface that differ from one firmware to another.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RestStyle {
    /// NOS: a list is one `collection` element. Otherwise its entries follow each other, as resources that share a path do.
    pub collections: bool,
    /// NOS: flags that are false are shown too.
    pub defaults: bool,
    /// OS 9: a list shows what is in its entries without being asked for depth.
    pub deep_lists: bool,
}

/// Which VLANs a port carries, as far as its configuration decides: the lab's own view, for tests to compare with.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Carries {
    /// Untagged, in or out.
    pub untagged: VlanRanges,
    /// Tagged, in or out.
    pub tagged: VlanRanges,
}

/// A hardware switch.
///
/// Every edit is out of band from the readers' point of view, as an administrator at the console would make it.
///
/// ```
/// # use isoledger_lab::{HardwareKind, VlanList, World};
/// let mut world = World::new();
/// world.add_hardware_switch("dell-0", HardwareKind::PowerConnect5500).unwrap();
/// world.add_port("dell-0", "gi1/0/5").unwrap();
/// let dell = world.hardware_mut("dell-0").unwrap();
/// dell.port_mut("gi1/0/5").unwrap().set_trunk(Some(100), VlanList::All);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hardware {
    /// What it is.
    pub kind: HardwareKind,
    /// Serial number: with the MAC address, what tells it from its replacement.
    pub serial: String,
    /// Its MAC address.
    pub mac: String,
    /// The firmware's version.
    pub firmware: String,
    /// Who may log in. The first is the one HIL uses, `auditor` the one of whoever audits, which may only read (but on OS 9,
    /// where such an account could not ask for VLANs).
    pub accounts: Vec<Account>,
    /// The password of `enable`; `None` is no password.
    pub enable_password: Option<String>,
    /// How its REST interface spells things that differ from one firmware to another.
    pub rest: RestStyle,
    /// Refuses every change, HIL's included. Console drivers do not notice.
    pub refuses_changes: bool,
    config: Arc<HwConfig>,
    startup: Option<Arc<HwConfig>>,
}

impl Hardware {
    pub(crate) fn new(name: &str, kind: HardwareKind, seed: u64) -> Hardware {
        let account = |user: &str, may_write| Account {
            user: user.to_owned(),
            password: format!("lab-{user}"),
            may_write,
        };
        let [.., a, b] = seed.to_be_bytes();
        let mut config = HwConfig { hostname: name.to_owned(), ..HwConfig::default() };
        config.vlans.insert(1, HwVlan::default());
        // On OS 9 an account that may only read may only GET, and the command that shows VLANs is a POST.
        let auditor_may_write = kind == HardwareKind::Os9;
        let (letters, firmware) = match kind {
            HardwareKind::PowerConnect5500 => ("PC", "4.1.0.22"),
            HardwareKind::N3000 => ("N3", "6.5.4.2"),
            HardwareKind::Nexus => ("SSI", "5.2(1)N1(9)"),
            HardwareKind::Vdx => ("VDX", "7.2.0"),
            HardwareKind::Os9 => ("OS9", "9.14(2.4)"),
        };
        Hardware {
            kind,
            serial: format!("{letters}{seed:08}"),
            mac: format!("02:0b:10:00:{a:02x}:{b:02x}"),
            firmware: firmware.to_owned(),
            accounts: vec![account("hil", true), account(super::two_tenants::AUDITOR, auditor_may_write)],
            enable_password: None,
            rest: RestStyle::default(),
            refuses_changes: false,
            config: Arc::new(config),
            startup: None,
        }
    }

    /// The running configuration.
    pub fn config(&self) -> &HwConfig {
        &self.config
    }

    /// The running configuration, to change it.
    pub fn config_mut(&mut self) -> &mut HwConfig {
        Arc::make_mut(&mut self.config)
    }

    /// The configuration to come back with after a power cut; `None` is the running one.
    pub fn startup(&self) -> Option<&HwConfig> {
        self.startup.as_deref()
    }

    /// The account with this name and password.
    pub fn account(&self, user: &str, password: &str) -> Option<&Account> {
        self.accounts.iter().find(|a| a.user == user && a.password == password)
    }

    /// A port, by the switch's own name for it.
    pub fn port(&self, name: &str) -> Option<&HwPort> {
        self.config.port(name)
    }

    /// A port, to change it.
    ///
    /// # Errors
    /// There is no such port.
    pub fn port_mut(&mut self, name: &str) -> Result<&mut HwPort, WorldError> {
        let found = self.config_mut().ports.iter_mut().find(|p| p.name == name);
        found.ok_or_else(|| WorldError::Missing { kind: "port", name: name.to_owned() })
    }

    /// Adds a port as it comes from the factory.
    ///
    /// # Errors
    /// There is one of that name.
    pub fn add_port(&mut self, name: &str) -> Result<&mut HwPort, WorldError> {
        if self.port(name).is_some() {
            return Err(WorldError::Exists { kind: "port", name: name.to_owned() });
        }
        let port = HwPort::factory(self.kind, name);
        let ports = &mut self.config_mut().ports;
        ports.push(port);
        let last = ports.len() - 1;
        Ok(&mut ports[last])
    }

    /// Bundles ports: adds the aggregate `n` and makes them its members.
    ///
    /// # Errors
    /// A port is missing, or there is such an aggregate.
    pub fn add_aggregate(&mut self, n: u16, members: &[&str]) -> Result<&mut HwPort, WorldError> {
        let name = self.kind.aggregate_port(n);
        for member in members {
            self.port_mut(member)?;
        }
        self.add_port(&name)?;
        for member in members {
            self.port_mut(member)?.aggregate = Some(name.clone());
        }
        let port = self.port_mut(&name)?;
        port.is_aggregate = true;
        Ok(port)
    }

    /// Creates a VLAN, or finds it.
    pub fn add_vlan(&mut self, vlan: u16) -> &mut HwVlan {
        self.config_mut().vlans.entry(vlan).or_default()
    }

    /// Adds a mirror session.
    pub fn add_span(&mut self, session: SpanSession) {
        self.config_mut().sessions.push(session);
    }

    /// Remembers the running configuration as the one to come back with after a power cut.
    pub fn save_startup(&mut self) {
        self.startup = Some(Arc::clone(&self.config));
    }

    pub(super) fn boot(&mut self) {
        if let Some(startup) = &self.startup {
            self.config = Arc::clone(startup);
        }
    }

    /// The VLANs a port carries by its own lines. A port that is down carries them as well, once it is up; those of an
    /// aggregate's member count only outside the bundle. VLANs that are not created are included.
    ///
    /// `None` when there is no such port.
    pub fn carries(&self, name: &str) -> Option<Carries> {
        let port = self.port(name)?;
        let mut all = match port.mode {
            PortMode::Access | PortMode::Tunnel => {
                Carries { untagged: VlanRanges::from([port.access_vlan]), tagged: VlanRanges::none() }
            }
            PortMode::Trunk => {
                let mut tagged = port.allowed.ranges();
                let native =
                    port.native.filter(|n| tagged.contains(*n) || !self.kind.native_needs_allowing());
                let mut untagged = VlanRanges::none();
                if let Some(native) = native {
                    if port.native_tagged || self.config.tag_native {
                        tagged.insert(native);
                    } else {
                        tagged.remove(native);
                        untagged.insert(native);
                    }
                }
                Carries { untagged, tagged }
            }
            PortMode::General => {
                let general = port.general.as_deref().cloned().unwrap_or_default();
                let mut untagged = general.untagged;
                untagged = untagged.union(&general.pvid.into_iter().collect());
                Carries { tagged: general.tagged.without(&untagged), untagged }
            }
            PortMode::PrivateVlan => {
                let mut untagged = VlanRanges::none();
                if let Some(private) = &port.private_vlan {
                    untagged = private.secondary.clone();
                    untagged.insert(private.primary);
                }
                Carries { untagged, tagged: VlanRanges::none() }
            }
            PortMode::Layer3 => Carries::default(),
        };
        for dynamic in &port.dynamic {
            let set = if dynamic.tagged { &mut all.tagged } else { &mut all.untagged };
            *set = set.union(&dynamic.vlans);
        }
        Some(all)
    }
}

/// How HIL reaches a hardware switch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Device {
    /// The physical switch.
    pub hardware: String,
    /// Brocade and OS 9: the ports this registration is about. One physical switch may be registered once per type.
    pub interface_type: Option<String>,
    /// N3000 and Nexus: the VLAN that stands for "no native VLAN".
    pub dummy_vlan: Option<u16>,
}

impl World {
    // ---- hardware switches

    /// Adds a physical switch without ports. HIL does not know it.
    ///
    /// # Errors
    /// There is one of that name.
    pub fn add_hardware(&mut self, name: &str, kind: HardwareKind) -> Result<&mut Hardware, WorldError> {
        let seed = self.hardware.len() as u64 + 1;
        match self.hardware.entry(name.to_owned()) {
            std::collections::btree_map::Entry::Occupied(_) => {
                Err(WorldError::Exists { kind: "hardware switch", name: name.to_owned() })
            }
            std::collections::btree_map::Entry::Vacant(place) => {
                Ok(place.insert(Hardware::new(name, kind, seed)))
            }
        }
    }

    /// Adds a physical switch without ports, and registers it with HIL under the same name and the kind's usual interface
    /// type.
    ///
    /// # Errors
    /// There is a switch of that name.
    pub fn add_hardware_switch(&mut self, name: &str, kind: HardwareKind) -> Result<(), WorldError> {
        self.add_hardware(name, kind)?;
        self.register_hardware(name, name, kind.interface_type())
    }

    /// Registers a physical switch with HIL. One that speaks REST may be registered once for each interface type.
    ///
    /// # Errors
    /// There is no such physical switch, or HIL has the label.
    pub fn register_hardware(
        &mut self,
        label: &str,
        hardware: &str,
        interface_type: Option<&str>,
    ) -> Result<(), WorldError> {
        let kind = self.find_hardware(hardware)?.kind;
        let device = Device {
            hardware: hardware.to_owned(),
            interface_type: interface_type.map(str::to_owned),
            dummy_vlan: matches!(kind, HardwareKind::N3000 | HardwareKind::Nexus).then_some(DUMMY_VLAN),
        };
        self.add_declared_switch(label, kind.switch_kind())?;
        if let Some(switch) = self.switches.last_mut() {
            switch.device = Some(device);
        }
        Ok(())
    }

    /// A physical switch.
    pub fn hardware(&self, name: &str) -> Option<&Hardware> {
        self.hardware.get(name)
    }

    /// A physical switch, to edit it out of band.
    ///
    /// # Errors
    /// There is no such switch.
    pub fn hardware_mut(&mut self, name: &str) -> Result<&mut Hardware, WorldError> {
        let missing = || WorldError::Missing { kind: "hardware switch", name: name.to_owned() };
        self.hardware.get_mut(name).ok_or_else(missing)
    }

    pub(super) fn find_hardware(&self, name: &str) -> Result<&Hardware, WorldError> {
        self.hardware(name)
            .ok_or_else(|| WorldError::Missing { kind: "hardware switch", name: name.to_owned() })
    }

    /// The physical switches, by name.
    pub fn all_hardware(&self) -> impl Iterator<Item = (&str, &Hardware)> {
        self.hardware.iter().map(|(name, switch)| (name.as_str(), switch))
    }

    /// The physical switch, and its own name for the port, behind what HIL calls a switch and a port.
    ///
    /// # Errors
    /// HIL has no such switch, or it is no hardware of the lab. Whether the port is there is not looked at.
    pub fn hardware_port(&self, switch: &str, port: &str) -> Result<(String, String), WorldError> {
        let found = self
            .switch(switch)
            .ok_or_else(|| WorldError::Missing { kind: "switch", name: switch.to_owned() })?;
        let Some(device) = &found.device else {
            let kind = found.kind.class_name().to_owned();
            return Err(WorldError::NotEmulated { switch: switch.to_owned(), kind });
        };
        let hardware = self.find_hardware(&device.hardware)?;
        let native = hardware.kind.native_port(device.interface_type.as_deref(), port);
        Ok((device.hardware.clone(), native))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn port(kind: HardwareKind, set: impl FnOnce(&mut HwPort)) -> (String, String) {
        let mut hardware = Hardware::new("s", kind, 1);
        set(hardware.add_port("p").unwrap());
        let carries = hardware.carries("p").unwrap();
        (carries.untagged.to_string(), carries.tagged.to_string())
    }

    #[test]
    fn what_a_port_carries() {
        use HardwareKind::{N3000, Nexus, Os9, PowerConnect5500, Vdx};
        let list = |text| VlanList::List(VlanRanges::parse(text).unwrap());
        let of = |a: &str, b: &str| (a.to_owned(), b.to_owned());
        assert_eq!(
            port(Nexus, |_| {}),
            of("1", ""),
            "an access port's remembered trunk list carries nothing"
        );
        assert_eq!(port(Os9, |_| {}), of("", ""));
        assert_eq!(
            port(N3000, |p| {
                p.set_trunk(Some(1), VlanList::All);
            }),
            of("1", "2-4094")
        );
        let native_outside = |p: &mut HwPort| {
            p.set_trunk(Some(1), list("10"));
        };
        assert_eq!(port(PowerConnect5500, native_outside), of("", "10"));
        assert_eq!(port(Vdx, native_outside), of("", "1,10"), "the default VLAN 1 is always there, tagged");
        let untagged = |p: &mut HwPort| p.set_trunk(Some(1), list("10")).native_tagged = false;
        assert_eq!(port(Vdx, untagged), of("1", "10"));
        let tagged = |p: &mut HwPort| p.set_trunk(Some(10), list("10,20")).native_tagged = true;
        assert_eq!(port(Vdx, tagged), of("", "10,20"));
        let general = |p: &mut HwPort| p.set_general(Some(5), [6, 7].into()).general_mut().pvid = Some(9);
        assert_eq!(port(PowerConnect5500, general), of("5,9", "6-7"));
        let gvrp = Dynamic { by: DynamicBy::Gvrp, tagged: true, vlans: [30].into() };
        assert_eq!(port(Os9, |p| p.set_general(Some(5), [6].into()).dynamic.push(gvrp)), of("5", "6,30"));
        let except = VlanList::Except(VlanRanges::parse("2-4093").unwrap());
        assert_eq!(
            port(Vdx, |p| {
                p.set_trunk(None, except);
            }),
            of("", "1,4094")
        );
    }

    #[test]
    fn a_power_cut_brings_back_what_was_saved() {
        let mut world = World::new();
        world.add_hardware_switch("n", HardwareKind::N3000).unwrap();
        world.add_port("n", "gi1/0/1").unwrap();
        world.hardware_mut("n").unwrap().save_startup();
        let saved = world.hardware("n").unwrap().config().clone();
        world.hardware_mut("n").unwrap().port_mut("Gi1/0/1").unwrap().set_access(7);
        assert_ne!(*world.hardware("n").unwrap().config(), saved);
        world.power_cut("n").unwrap();
        assert_eq!(*world.hardware("n").unwrap().config(), saved);
    }

    #[test]
    fn hil_names_become_the_switchs_own() {
        use HardwareKind::{N3000, Nexus, Os9, PowerConnect5500, Vdx};
        assert_eq!(PowerConnect5500.native_port(None, "te1/0/12"), "te1/0/12");
        assert_eq!(N3000.native_port(None, "gi1/0/6"), "Gi1/0/6");
        assert_eq!(Nexus.native_port(None, "ethernet1/12"), "Ethernet1/12");
        assert_eq!(Vdx.native_port(Some("FortyGigabitEthernet"), "1/0/49"), "FortyGigabitEthernet 1/0/49");
        assert_eq!(Os9.native_port(None, "1/3"), "GigabitEthernet 1/3");
    }
}
