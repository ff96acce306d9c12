//! An Open vSwitch host: its database, and the flow tables behind each bridge.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::WorldError;
use crate::openflow::{Flow, Group, Meter};
use crate::ovsdb::{Database, DatabaseError, Datum, Uuid};

/// The OpenFlow number of a bridge's own port.
const OFPP_LOCAL: i64 = 0xfffe;

/// Which VLANs a port carries, said in Open vSwitch's columns.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PortVlans {
    /// Nothing set: the port carries every VLAN. What a bare `ovs-vsctl add-port` leaves.
    All,
    /// `vlan_mode=access` without a tag: no VLAN at all.
    Nothing,
    /// `vlan_mode=access tag=N`.
    Access(u16),
    /// `vlan_mode=trunk trunks=…`. An empty list is every VLAN.
    Trunk(Vec<u16>),
    /// `vlan_mode=native-untagged tag=N trunks=…`. An empty list is every VLAN.
    Native {
        /// The native VLAN.
        untagged: u16,
        /// The others.
        tagged: Vec<u16>,
    },
    /// `vlan_mode=native-tagged tag=N trunks=…`: like native, but it leaves tagged.
    NativeTagged {
        /// The native VLAN.
        native: u16,
        /// The others.
        tagged: Vec<u16>,
    },
    /// `vlan_mode=dot1q-tunnel tag=N cvlans=…`.
    Tunnel {
        /// The service VLAN.
        outer: u16,
        /// The customer VLANs; none is all.
        inner: Vec<u16>,
    },
    /// `vlan_mode=native-untagged` and nothing else, which HIL's revert leaves: every VLAN.
    HilReverted,
}

impl PortVlans {
    /// The four columns: `vlan_mode`, `tag`, `trunks`, `cvlans`.
    fn columns(&self) -> [(&'static str, Datum); 4] {
        let none = Datum::empty;
        let set = |vlans: &[u16]| Datum::set(vlans.iter().copied());
        let (mode, tag, trunks, cvlans) = match self {
            PortVlans::All => (none(), none(), none(), none()),
            PortVlans::Nothing => (Datum::from("access"), none(), none(), none()),
            PortVlans::Access(vlan) => (Datum::from("access"), Datum::from(*vlan), none(), none()),
            PortVlans::Trunk(vlans) => (Datum::from("trunk"), none(), set(vlans), none()),
            PortVlans::Native { untagged, tagged } => {
                (Datum::from("native-untagged"), Datum::from(*untagged), set(tagged), none())
            }
            PortVlans::NativeTagged { native, tagged } => {
                (Datum::from("native-tagged"), Datum::from(*native), set(tagged), none())
            }
            PortVlans::Tunnel { outer, inner } => {
                (Datum::from("dot1q-tunnel"), Datum::from(*outer), none(), set(inner))
            }
            PortVlans::HilReverted => (Datum::from("native-untagged"), none(), none(), none()),
        };
        [("vlan_mode", mode), ("tag", tag), ("trunks", trunks), ("cvlans", cvlans)]
    }
}

/// A port mirror (SPAN): what it copies, and where to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MirrorSpec {
    /// Everything.
    pub select_all: bool,
    /// What enters at these ports.
    pub select_src_ports: Vec<String>,
    /// What leaves at these ports.
    pub select_dst_ports: Vec<String>,
    /// Only these VLANs; none is all.
    pub select_vlans: Vec<u16>,
    /// To this port …
    pub output_port: Option<String>,
    /// … or flooded into this VLAN.
    pub output_vlan: Option<u16>,
}

/// What is behind a bridge and in no database: flows, groups and meters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bridge {
    /// Flows, in the order they are listed.
    pub flows: Vec<Flow>,
    /// Groups.
    pub groups: Vec<Group>,
    /// Meters.
    pub meters: Vec<Meter>,
}

impl Default for Bridge {
    /// The one flow of a fresh bridge: `priority=0 actions=NORMAL`.
    fn default() -> Bridge {
        Bridge { flows: vec![Flow::normal()], groups: Vec::new(), meters: Vec::new() }
    }
}

/// An Open vSwitch host.
///
/// Every edit is out of band from the readers' point of view, as `ovs-vsctl` or `ovs-ofctl` on the host would be.
///
/// ```
/// # use isoledger_lab::{PortVlans, World};
/// let mut world = World::two_tenants();
/// let sw1 = world.switch_mut("sw1").unwrap();
/// sw1.set_port("sw1p3", "tag", 100u16).unwrap();
/// sw1.add_port("br-sw1", "intruder", &PortVlans::Access(100)).unwrap();
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OvsHost {
    pub(crate) database: Arc<Database>,
    bridges: BTreeMap<String, Bridge>,
    startup: Option<Arc<Database>>,
    /// `Interface.type` of ports made here. The real hardware's is empty; `dummy` is what tests of Open vSwitch use.
    pub interface_type: String,
    seed: u64,
    macs: u64,
}

impl OvsHost {
    pub(crate) fn new(seed: u64) -> OvsHost {
        let mut host = OvsHost {
            database: Arc::new(Database::new(seed)),
            bridges: BTreeMap::new(),
            startup: None,
            interface_type: String::new(),
            seed,
            macs: 0,
        };
        host.applied();
        host
    }

    /// The database, to read it.
    pub fn database(&self) -> &Database {
        &self.database
    }

    /// The names of the bridges.
    pub fn bridges(&self) -> impl Iterator<Item = &str> {
        self.bridges.keys().map(String::as_str)
    }

    /// The flows, groups and meters of a bridge.
    pub fn bridge(&self, name: &str) -> Option<&Bridge> {
        self.bridges.get(name)
    }

    /// The flows, groups and meters of a bridge, to change them.
    ///
    /// # Errors
    /// There is no such bridge.
    pub fn bridge_mut(&mut self, name: &str) -> Result<&mut Bridge, WorldError> {
        self.bridges
            .get_mut(name)
            .ok_or_else(|| WorldError::Missing { kind: "bridge", name: name.to_owned() })
    }

    /// Changes rows by hand, whatever they are. The edit counts as applied: `next_cfg` and `cur_cfg` advance.
    ///
    /// # Errors
    /// The closure's.
    pub fn edit<R>(
        &mut self,
        edit: impl FnOnce(&mut Database) -> Result<R, DatabaseError>,
    ) -> Result<R, WorldError> {
        let mut copy = (*self.database).clone();
        let result = edit(&mut copy)?;
        self.database = Arc::new(copy);
        self.applied();
        Ok(result)
    }

    fn applied(&mut self) {
        let database = Arc::make_mut(&mut self.database);
        let root = database.root();
        let next =
            database.get("Open_vSwitch", root, "next_cfg").ok().and_then(|d| d.ints().next()).unwrap_or(0);
        for column in ["next_cfg", "cur_cfg"] {
            database
                .set("Open_vSwitch", root, column, next.wrapping_add(1))
                .expect("both are integer columns of the root row");
        }
    }

    /// Sets the root row's counters: `cur_cfg < next_cfg` is a switch that has not applied its configuration yet.
    ///
    /// # Errors
    /// None today; the database checks the types.
    pub fn set_cfg(&mut self, cur_cfg: i64, next_cfg: i64) -> Result<(), WorldError> {
        let database = Arc::make_mut(&mut self.database);
        let root = database.root();
        database.set("Open_vSwitch", root, "cur_cfg", cur_cfg)?;
        database.set("Open_vSwitch", root, "next_cfg", next_cfg)?;
        Ok(())
    }

    fn mac(&mut self) -> String {
        self.macs += 1;
        let [.., a, b] = self.macs.to_be_bytes();
        let [.., s] = self.seed.to_be_bytes();
        format!("02:0b:0f:{s:02x}:{a:02x}:{b:02x}")
    }

    /// Adds a bridge with its LOCAL port, which carries nothing.
    ///
    /// # Errors
    /// The name is taken.
    pub fn add_bridge(&mut self, name: &str) -> Result<(), WorldError> {
        let mac = self.mac();
        let datapath_id = format!("0000{}", mac.replace(':', ""));
        self.edit(|db| {
            let interface = db.insert(
                "Interface",
                [
                    ("name", Datum::from(name)),
                    ("type", Datum::from("internal")),
                    ("ofport", Datum::from(OFPP_LOCAL)),
                    ("mac_in_use", Datum::from(mac.as_str())),
                    ("admin_state", Datum::from("up")),
                    ("link_state", Datum::from("up")),
                ],
            )?;
            let mut port = vec![("name", Datum::from(name)), ("interfaces", Datum::from(interface))];
            port.extend(PortVlans::Nothing.columns());
            let port = db.insert("Port", port)?;
            let bridge = db.insert(
                "Bridge",
                [
                    ("name", Datum::from(name)),
                    ("ports", Datum::from(port)),
                    ("fail_mode", Datum::from("standalone")),
                    ("datapath_id", Datum::from(datapath_id.as_str())),
                    ("datapath_version", Datum::from("3.1.0")),
                ],
            )?;
            db.refer("Open_vSwitch", db.root(), "bridges", bridge)
        })?;
        self.bridges.insert(name.to_owned(), Bridge::default());
        Ok(())
    }

    /// Adds a port with one interface of its name.
    ///
    /// # Errors
    /// There is no such bridge, or the name is taken.
    pub fn add_port(&mut self, bridge: &str, name: &str, vlans: &PortVlans) -> Result<(), WorldError> {
        let kind = self.interface_type.clone();
        self.add_any_port(bridge, name, &[(name, &kind, &[])], vlans, vec![])
    }

    /// Adds a bond: one port, an interface for each member.
    ///
    /// # Errors
    /// There is no such bridge, or a name is taken.
    pub fn add_bond(
        &mut self,
        bridge: &str,
        name: &str,
        members: &[&str],
        vlans: &PortVlans,
    ) -> Result<(), WorldError> {
        let kind = self.interface_type.clone();
        let members: Vec<InterfaceSpec<'_>> = members.iter().map(|m| (*m, kind.as_str(), &[][..])).collect();
        self.add_any_port(bridge, name, &members, vlans, vec![])
    }

    /// Adds a fake bridge: a port of its parent with `fake_bridge` set, and a VLAN that its members share.
    ///
    /// # Errors
    /// There is no such bridge, or the name is taken.
    pub fn add_fake_bridge(&mut self, parent: &str, name: &str, vlan: u16) -> Result<(), WorldError> {
        self.add_any_port(
            parent,
            name,
            &[(name, "internal", &[])],
            &PortVlans::All,
            vec![("fake_bridge", Datum::from(true)), ("tag", Datum::from(vlan))],
        )
    }

    /// Adds one half of a patch cable; its other half is the port `peer` of another bridge of the host.
    ///
    /// # Errors
    /// There is no such bridge, or the name is taken.
    pub fn add_patch(
        &mut self,
        bridge: &str,
        name: &str,
        peer: &str,
        vlans: &PortVlans,
    ) -> Result<(), WorldError> {
        self.add_any_port(bridge, name, &[(name, "patch", &[("peer", peer)])], vlans, vec![])
    }

    /// Adds a tunnel port, `kind` being `vxlan`, `gre`, `geneve` …
    ///
    /// # Errors
    /// There is no such bridge, or the name is taken.
    pub fn add_tunnel(
        &mut self,
        bridge: &str,
        name: &str,
        kind: &str,
        remote_ip: &str,
        vlans: &PortVlans,
    ) -> Result<(), WorldError> {
        self.add_any_port(bridge, name, &[(name, kind, &[("remote_ip", remote_ip)])], vlans, vec![])
    }

    fn add_any_port(
        &mut self,
        bridge: &str,
        name: &str,
        interfaces: &[InterfaceSpec<'_>],
        vlans: &PortVlans,
        more: Vec<(&'static str, Datum)>,
    ) -> Result<(), WorldError> {
        let bridge = self.row("Bridge", "bridge", bridge)?;
        let macs: Vec<String> = interfaces.iter().map(|_| self.mac()).collect();
        self.edit(|db| {
            let free = free_ofport(db, bridge)?;
            let mut rows = Vec::new();
            for (ofport, ((name, kind, options), mac)) in (free..).zip(interfaces.iter().zip(&macs)) {
                rows.push(db.insert(
                    "Interface",
                    [
                        ("name", Datum::from(*name)),
                        ("type", Datum::from(*kind)),
                        ("options", Datum::map(options.iter().copied())),
                        ("ofport", Datum::from(ofport)),
                        ("mac_in_use", Datum::from(mac.as_str())),
                        ("admin_state", Datum::from("up")),
                        ("link_state", Datum::from("up")),
                    ],
                )?);
            }
            let mut columns = vec![("name", Datum::from(name)), ("interfaces", Datum::set(rows))];
            columns.extend(vlans.columns());
            columns.extend(more);
            let port = db.insert("Port", columns)?;
            db.refer("Bridge", bridge, "ports", port)
        })
    }

    /// Removes a port and its interfaces.
    ///
    /// # Errors
    /// There is no such port.
    pub fn del_port(&mut self, port: &str) -> Result<(), WorldError> {
        let row = self.row("Port", "port", port)?;
        self.edit(|db| db.remove("Port", row))
    }

    /// Sets a column of a port: `tag`, `trunks`, `vlan_mode`, `other_config` …
    ///
    /// # Errors
    /// There is no such port or column, or the value has the wrong type.
    pub fn set_port(&mut self, port: &str, column: &str, value: impl Into<Datum>) -> Result<(), WorldError> {
        self.set("Port", port, column, value)
    }

    /// Sets the VLAN columns of a port, all four.
    ///
    /// # Errors
    /// There is no such port.
    pub fn set_port_vlans(&mut self, port: &str, vlans: &PortVlans) -> Result<(), WorldError> {
        let row = self.row("Port", "port", port)?;
        self.edit(|db| {
            vlans.columns().into_iter().try_for_each(|(column, value)| db.set("Port", row, column, value))
        })
    }

    /// Sets a column of the row called `name` in any table.
    ///
    /// # Errors
    /// There is no such table, row or column, or the value has the wrong type.
    pub fn set(
        &mut self,
        table: &'static str,
        name: &str,
        column: &str,
        value: impl Into<Datum>,
    ) -> Result<(), WorldError> {
        let row = self.row(table, "row", name)?;
        self.edit(|db| db.set(table, row, column, value))
    }

    /// Turns a port's interfaces administratively down, or up again.
    ///
    /// # Errors
    /// There is no such port.
    pub fn set_admin_down(&mut self, port: &str, down: bool) -> Result<(), WorldError> {
        let row = self.row("Port", "port", port)?;
        let state = if down { "down" } else { "up" };
        self.edit(|db| {
            let interfaces = db.get("Port", row, "interfaces")?;
            interfaces.uuids().try_for_each(|i| {
                db.set("Interface", i, "admin_state", state)?;
                db.set("Interface", i, "link_state", state)
            })
        })
    }

    /// Adds a mirror to a bridge.
    ///
    /// # Errors
    /// There is no such bridge or port.
    pub fn add_mirror(&mut self, bridge: &str, name: &str, spec: &MirrorSpec) -> Result<(), WorldError> {
        let bridge = self.row("Bridge", "bridge", bridge)?;
        let ports = |names: &[String]| -> Result<Datum, WorldError> {
            names.iter().map(|p| self.row("Port", "port", p)).collect::<Result<Vec<_>, _>>().map(Datum::set)
        };
        let columns = [
            ("name", Datum::from(name)),
            ("select_all", Datum::from(spec.select_all)),
            ("select_src_port", ports(&spec.select_src_ports)?),
            ("select_dst_port", ports(&spec.select_dst_ports)?),
            ("select_vlan", Datum::set(spec.select_vlans.iter().copied())),
            ("output_port", ports(spec.output_port.as_slice())?),
            ("output_vlan", Datum::set(spec.output_vlan)),
        ];
        self.edit(|db| {
            let mirror = db.insert("Mirror", columns)?;
            db.refer("Bridge", bridge, "mirrors", mirror)
        })
    }

    /// Removes a mirror.
    ///
    /// # Errors
    /// There is no such mirror.
    pub fn remove_mirror(&mut self, name: &str) -> Result<(), WorldError> {
        let row = self.row("Mirror", "mirror", name)?;
        self.edit(|db| db.remove("Mirror", row))
    }

    /// Points a bridge at an OpenFlow controller, such as `tcp:192.0.2.1:6653`.
    ///
    /// # Errors
    /// There is no such bridge.
    pub fn add_controller(&mut self, bridge: &str, target: &str) -> Result<(), WorldError> {
        let bridge = self.row("Bridge", "bridge", bridge)?;
        self.edit(|db| {
            let controller = db.insert("Controller", [("target", Datum::from(target))])?;
            db.refer("Bridge", bridge, "controller", controller)
        })
    }

    /// Takes all controllers away from a bridge.
    ///
    /// # Errors
    /// There is no such bridge.
    pub fn remove_controllers(&mut self, bridge: &str) -> Result<(), WorldError> {
        let bridge = self.row("Bridge", "bridge", bridge)?;
        self.edit(|db| {
            let controllers = db.get("Bridge", bridge, "controller")?;
            controllers.uuids().try_for_each(|c| db.remove("Controller", c))
        })
    }

    /// Adds an OpenFlow flow to a bridge, as `ovs-ofctl add-flow` would: a flow with the same table, priority and match is
    /// replaced.
    ///
    /// # Errors
    /// There is no such bridge.
    pub fn add_flow(&mut self, bridge: &str, flow: Flow) -> Result<(), WorldError> {
        let flows = &mut self.bridge_mut(bridge)?.flows;
        flows.retain(|f| (f.table, f.priority, &f.matches) != (flow.table, flow.priority, &flow.matches));
        flows.push(flow);
        Ok(())
    }

    /// Takes a bridge back to its one flow, `priority=0 actions=NORMAL`, without groups and meters.
    ///
    /// # Errors
    /// There is no such bridge.
    pub fn reset_flows(&mut self, bridge: &str) -> Result<(), WorldError> {
        *self.bridge_mut(bridge)? = Bridge::default();
        Ok(())
    }

    /// The row of a port, which must be on the bridge.
    pub(super) fn port_in(&self, bridge: &str, port: &str) -> Result<Uuid, WorldError> {
        let on_bridge = self.row("Bridge", "bridge", bridge)?;
        let row = self.row("Port", "port", port)?;
        if self.database.get("Bridge", on_bridge, "ports")?.uuids().any(|p| p == row) {
            return Ok(row);
        }
        Err(WorldError::Missing { kind: "port", name: format!("{bridge} {port}") })
    }

    /// Remembers the database as the configuration to come back with after [`World::power_cut`](super::World::power_cut).
    pub fn save_startup(&mut self) {
        self.startup = Some(Arc::clone(&self.database));
    }

    pub(super) fn boot(&mut self) {
        if let Some(startup) = &self.startup {
            self.database = Arc::clone(startup);
        }
        let names: BTreeSet<String> = self
            .database
            .rows("Bridge")
            .filter_map(|(row, _)| Some(self.database.get("Bridge", row, "name").ok()?.as_str()?.to_owned()))
            .collect();
        self.bridges = names.into_iter().map(|name| (name, Bridge::default())).collect();
        self.applied();
    }

    fn row(&self, table: &str, kind: &'static str, name: &str) -> Result<Uuid, WorldError> {
        self.database.find(table, name).ok_or_else(|| WorldError::Missing { kind, name: name.to_owned() })
    }
}

/// Name, type and options of an interface to be made.
type InterfaceSpec<'a> = (&'a str, &'a str, &'a [(&'a str, &'a str)]);

/// The lowest OpenFlow port number that no interface of the bridge has.
fn free_ofport(db: &Database, bridge: Uuid) -> Result<i64, DatabaseError> {
    let mut last = 0;
    for port in db.get("Bridge", bridge, "ports")?.uuids() {
        for interface in db.get("Port", port, "interfaces")?.uuids() {
            last = db
                .get("Interface", interface, "ofport")?
                .ints()
                .filter(|n| *n < OFPP_LOCAL)
                .fold(last, i64::max);
        }
    }
    Ok(last + 1)
}
