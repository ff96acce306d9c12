//! Ready-made worlds with hardware: one switch of each kind, and as many as a benchmark wants.

use super::hardware::{DUMMY_VLAN, Device, Hardware, HardwareKind};
use super::hardware_driver::set_exactly;
use super::hil::{Attachment, Nic, Node, Switch};
use super::two_tenants::AUDITOR;
use super::vlans::{VlanList, VlanRanges};
use super::{Exit, Link, PortAt, PortVlans, World, WorldError};

/// VLANs of [`World::mixed`].
const MIXED: [u16; 3] = [100, 101, 102];

/// Projects of [`World::datacentre`].
const TENANTS: usize = 64;

impl World {
    /// Two tenants on one switch of each kind: a star around an Open vSwitch, everything isolated.
    ///
    /// ```text
    ///   router ── sw1-uplink   sw1 (Open vSwitch)
    ///             sw1-t1 … t5 ── port 24 of dell-0, n3000-0, nexus-0, vdx-0, s3048-0
    ///   on each of the six:  NODE-1 eth0 ── port 1  red-net
    ///                        NODE-2 eth0 ── port 2  blue-net
    ///                        NODE-3 eth0 ── port 3  red-net, and tagged red-two
    ///                                       port 4  free
    /// ```
    ///
    /// Projects `red` (user `alice`) and `blue` (`bob`); networks `red-net` (VLAN 100), `blue-net` (101) and `red-two` (102,
    /// of red). Nodes are called like their switch, `dell-0-1`. HIL knows the ports 1 to 4 of each, and the VDX twice: as
    /// `vdx-0` for its TenGigabitEthernet and as `vdx-0-forty` for its FortyGigabitEthernet ports, of which one is free. The
    /// startup configurations are this state; driver and passwords are those of [`World::two_tenants`].
    pub fn mixed() -> World {
        let mut world = World::new();
        build_mixed(&mut world).expect("the steps below add each thing once, and before it is used");
        world
    }

    /// `switches` hardware switches of the given kinds in turn, each with `ports` ports, 64 tenants on them, everything
    /// isolated. The same arguments give the same world.
    ///
    /// Switches are `sw0001` and so on, in a row: the last port of each leads to the last but one of the next, and the last but
    /// one of the first to a router. Every eighth of the other ports is free, on each of the rest is a node with one nic; a
    /// third of the nodes have a second network, tagged. Tenant `t00` has the VLANs 100 and 200, `t01` 101 and 201 …
    /// HIL's users are `admin` and `auditor`.
    pub fn datacentre(kinds: &[HardwareKind], switches: usize, ports: usize) -> World {
        let mut world = World::new();
        build_datacentre(&mut world, kinds, switches, ports)
            .expect("each switch and each port is numbered, so none is added twice");
        world
    }
}

fn build_mixed(world: &mut World) -> Result<(), WorldError> {
    world.add_project("red");
    world.add_project("blue");
    world.add_user("admin", "lab-admin", true, &[]);
    world.add_user(AUDITOR, "lab-auditor", true, &[]);
    world.add_user("alice", "lab-alice", false, &["red"]);
    world.add_user("bob", "lab-bob", false, &["blue"]);
    world.add_network("red-net", Some("red"), &["red"], "100");
    world.add_network("blue-net", Some("blue"), &["blue"], "101");
    world.add_network("red-two", Some("red"), &["red"], "102");
    for driver in ["dell", "n3000", "nexus", "brocade", "dellnos9"] {
        world.hil.extensions.push(format!("hil.ext.switches.{driver}"));
    }

    world.add_ovs_switch("sw1")?;
    let trunk = PortVlans::Trunk(MIXED.to_vec());
    world.switch_mut("sw1")?.add_port("br-sw1", "sw1-uplink", &trunk)?;
    let router =
        Exit { at: PortAt::new("sw1", "sw1-uplink"), to: "router".to_owned(), vlans: MIXED.to_vec() };
    world.exits.push(router);
    populate(world, "sw1", |n| format!("sw1p{n}"), 1)?;

    let names = ["dell-0", "n3000-0", "nexus-0", "vdx-0", "s3048-0"];
    for (n, (name, kind)) in (1..).zip(names.into_iter().zip(HardwareKind::ALL)) {
        world.add_hardware_switch(name, kind)?;
        let here = format!("sw1-t{n}");
        world.switch_mut("sw1")?.add_port("br-sw1", &here, &trunk)?;
        let label = kind.hil_port(24);
        let there = kind.native_port(None, &label);
        let hardware = world.hardware_mut(name)?;
        for vlan in MIXED {
            hardware.add_vlan(vlan);
        }
        hardware.add_port(&there)?;
        add_trunk(hardware, &there, &VlanRanges::from(MIXED))?;
        world.links.push(Link { a: PortAt::new("sw1", &here), b: PortAt::new(name, &label) });
        populate(world, name, |n| kind.hil_port(n), n + 1)?;
    }
    world.register_hardware("vdx-0-forty", "vdx-0", Some("FortyGigabitEthernet"))?;
    world.add_port("vdx-0-forty", "1/0/49")?;

    world.host_mut("sw1")?.save_startup();
    for name in names {
        world.hardware_mut(name)?.save_startup();
    }
    Ok(())
}

/// Four ports with three nodes.
fn populate(
    world: &mut World,
    switch: &str,
    port: impl Fn(usize) -> String,
    number: usize,
) -> Result<(), WorldError> {
    for n in 1..=4 {
        world.add_port(switch, &port(n))?;
    }
    for (n, project, network) in [(1, "red", "red-net"), (2, "blue", "blue-net"), (3, "red", "red-net")] {
        let node = format!("{switch}-{n}");
        world.add_node(&node, Some(project));
        world.add_nic(&node, "eth0", &format!("de:ad:be:ef:{number:02x}:{n:02x}"))?;
        world.wire(&node, "eth0", switch, &port(n))?;
        world.attach(&node, "eth0", network, None)?;
        if n == 3 {
            world.attach(&node, "eth0", "red-two", Some("vlan/102"))?;
        }
    }
    Ok(())
}

/// Makes a port carry these VLANs tagged and none untagged, as an administrator would.
fn add_trunk(hardware: &mut Hardware, port: &str, vlans: &VlanRanges) -> Result<(), WorldError> {
    let kind = hardware.kind;
    let port = hardware.port_mut(port)?;
    port.admin_down = false;
    match kind {
        HardwareKind::Os9 => port.set_general(None, vlans.clone()),
        HardwareKind::N3000 | HardwareKind::Nexus => {
            port.set_trunk(Some(DUMMY_VLAN), VlanList::List(vlans.clone()))
        }
        HardwareKind::PowerConnect5500 => port.set_trunk(None, VlanList::List(vlans.clone())),
        // VLAN 1 stays native, and tagged.
        HardwareKind::Vdx => port.set_trunk(Some(1), VlanList::List(vlans.clone())),
    };
    Ok(())
}

fn build_datacentre(
    world: &mut World,
    kinds: &[HardwareKind],
    switches: usize,
    ports: usize,
) -> Result<(), WorldError> {
    let mut vlans = VlanRanges::none();
    world.add_user("admin", "lab-admin", true, &[]);
    world.add_user(AUDITOR, "lab-auditor", true, &[]);
    for t in (0..100u16).take(TENANTS) {
        let (project, first, second) = (format!("t{t:02}"), 100 + t, 200 + t);
        world.add_project(&project);
        world.add_network(&format!("{project}-a"), Some(&project), &[&project], &first.to_string());
        world.add_network(&format!("{project}-b"), Some(&project), &[&project], &second.to_string());
        [first, second].into_iter().for_each(|v| vlans.insert(v));
    }
    let name_of = |s: usize| format!("sw{s:04}");
    for (s, kind) in (1..=switches).zip(kinds.iter().copied().cycle()) {
        let name = name_of(s);
        let mut registered = Vec::with_capacity(ports);
        let hardware = world.add_hardware(&name, kind)?;
        for vlan in vlans.iter() {
            hardware.add_vlan(vlan);
        }
        let mut nodes = Vec::with_capacity(ports);
        let mut attachments = Vec::with_capacity(ports * 2);
        for p in 1..=ports {
            let label = kind.hil_port(p);
            let native_name = kind.native_port(None, &label);
            hardware.add_port(&native_name)?;
            if p == ports && s == switches {
                // There is no next one.
                set_exactly(hardware, &native_name, None, VlanRanges::none())?;
                continue;
            }
            if p + 2 > ports {
                add_trunk(hardware, &native_name, &vlans)?;
                continue;
            }
            registered.push(label.clone());
            if p % 8 == 0 {
                set_exactly(hardware, &native_name, None, VlanRanges::none())?;
                continue;
            }
            let tenant = (s * 7 + p) % TENANTS;
            // Below 64, so that it fits.
            let number = u16::try_from(tenant).unwrap_or_default();
            let second = (p % 3 == 0).then_some(200 + number);
            set_exactly(hardware, &native_name, Some(100 + number), second.into_iter().collect())?;
            let node = format!("{name}-{p:02}");
            let mut attach = |network: String, channel: String| {
                let (node, nic) = (node.clone(), "eth0".to_owned());
                attachments.push(Attachment { node, nic, network, channel });
            };
            attach(format!("t{tenant:02}-a"), "vlan/native".to_owned());
            if let Some(second) = second {
                attach(format!("t{tenant:02}-b"), format!("vlan/{second}"));
            }
            let [.., high, low] = s.to_be_bytes();
            nodes.push(Node {
                label: node,
                project: Some(format!("t{tenant:02}")),
                metadata: Vec::new(),
                nics: vec![Nic {
                    label: "eth0".to_owned(),
                    mac: format!("de:ad:be:{high:02x}:{low:02x}:{:02x}", p & 0xff),
                    port: Some(PortAt::new(&name, &label)),
                }],
            });
        }
        hardware.save_startup();
        let dummy = matches!(kind, HardwareKind::N3000 | HardwareKind::Nexus).then_some(DUMMY_VLAN);
        world.switches.push(Switch {
            label: name.clone(),
            kind: kind.switch_kind(),
            ports: registered,
            device: Some(Device {
                hardware: name.clone(),
                interface_type: kind.interface_type().map(str::to_owned),
                dummy_vlan: dummy,
            }),
        });
        world.nodes.append(&mut nodes);
        world.attachments.append(&mut attachments);
        let uplink = PortAt::new(&name, &kind.hil_port(ports.saturating_sub(1)));
        if s == 1 {
            world.exits.push(Exit { at: uplink, to: "router".to_owned(), vlans: vlans.iter().collect() });
        } else {
            let before = kinds[(s - 2) % kinds.len()];
            let a = PortAt::new(&name_of(s - 1), &before.hil_port(ports));
            world.links.push(Link { a, b: uplink });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    /// VLANs declared on each port of hardware, by the switch's own name: untagged and tagged.
    fn declared(world: &World) -> BTreeMap<(String, String), (VlanRanges, VlanRanges)> {
        let mut all: BTreeMap<(String, String), (VlanRanges, VlanRanges)> = BTreeMap::new();
        for attachment in &world.attachments {
            let nic = world.node(&attachment.node).unwrap().nics.iter().find(|n| n.label == attachment.nic);
            let port = nic.unwrap().port.clone().unwrap();
            let Ok(at) = world.hardware_port(&port.switch, &port.port) else { continue };
            let vlan: u16 = world.network(&attachment.network).unwrap().network_id.parse().unwrap();
            let (untagged, tagged) = all.entry(at).or_default();
            if attachment.channel == "vlan/native" { untagged.insert(vlan) } else { tagged.insert(vlan) }
        }
        all
    }

    /// Every port of hardware carries what is declared, or is a link's or an exit's; VLAN 1 is nobody's.
    fn assert_isolated(world: &World) -> usize {
        let declared = declared(world);
        let ends: Vec<_> = world
            .links
            .iter()
            .flat_map(|l| [&l.a, &l.b])
            .chain(world.exits.iter().map(|e| &e.at))
            .filter_map(|at| world.hardware_port(&at.switch, &at.port).ok())
            .collect();
        let mut seen = 0;
        for (name, hardware) in world.all_hardware() {
            for port in hardware.config().ports.iter().filter(|p| !p.admin_down) {
                let at = (name.to_owned(), port.name.clone());
                if ends.contains(&at) {
                    continue;
                }
                let mut carries = hardware.carries(&port.name).unwrap();
                [&mut carries.untagged, &mut carries.tagged].into_iter().for_each(|set| set.remove(1));
                let expected = declared.get(&at).cloned().unwrap_or_default();
                assert_eq!((carries.untagged, carries.tagged), expected, "{name} {}", port.name);
                seen += 1;
            }
        }
        assert!(declared.keys().all(|(hardware, port)| {
            world.hardware(hardware).unwrap().port(port).is_some_and(|p| !p.admin_down)
        }));
        seen
    }

    #[test]
    fn everything_in_the_mixed_world_is_isolated() {
        let world = World::mixed();
        // Three used ports on five switches, and a free one on the three whose free ports are not shut down.
        assert_eq!(assert_isolated(&world), 18);
        assert_eq!(world.switches.len(), 7);
        assert_eq!(world.links.len(), 5);
    }

    #[test]
    fn a_datacentre_is_isolated_and_the_same_each_time() {
        let world = World::datacentre(&HardwareKind::ALL, 11, 24);
        assert!(assert_isolated(&world) > 11 * 18);
        let again = World::datacentre(&HardwareKind::ALL, 11, 24);
        assert!(world.all_hardware().eq(again.all_hardware()) && world.nodes == again.nodes);
        assert_eq!((world.switches.len(), world.links.len(), world.exits.len()), (11, 10, 1));
        for link in &world.links {
            for end in [&link.a, &link.b] {
                let (hardware, port) = world.hardware_port(&end.switch, &end.port).unwrap();
                assert!(world.hardware(&hardware).unwrap().port(&port).is_some(), "{end}");
            }
        }
    }
}
