//! A site of many switches of every dialect, with a declared-state file in place of a cloud manager: a crawl of tens of
//! thousands of nodes over REST takes longer than any poll, and is measured nowhere else either.

use crate::site::Site;
use isoledger_lab::{
    Attachment, HardwareKind, Lab, Link, Nic, Node, PortAt, PortVlans, VlanList, VlanRanges, World,
    WorldError,
};
use serde_json::{Map, Value, json};

/// Kinds of switches: five of hardware, and Open vSwitch.
const KINDS: usize = HardwareKind::ALL.len() + 1;
/// Tenants of [`World::datacentre`].
const TENANTS: usize = 64;

/// `switches` switches of all kinds in turn, each with `ports` ports, everything isolated: [`World::datacentre`], and beside
/// it a row of Open vSwitches with the same tenants on them, whose first leads to a router of its own.
pub fn world(switches: usize, ports: usize) -> World {
    let virtual_ones = switches / KINDS;
    let mut world = World::datacentre(&HardwareKind::ALL, switches - virtual_ones, ports);
    for s in 1..=virtual_ones {
        add_virtual(&mut world, s, s == virtual_ones, ports)
            .expect("each is numbered, so none is added twice");
    }
    world
}

fn name_of(s: usize) -> String {
    format!("ov{s:04}")
}

fn port_of(s: usize, p: usize) -> String {
    format!("{}p{p}", name_of(s))
}

/// VLANs of the tenants, as [`World::datacentre`] gives them.
fn vlans() -> Vec<u16> {
    (0..100u16).take(TENANTS).flat_map(|t| [100 + t, 200 + t]).collect()
}

fn add_virtual(world: &mut World, s: usize, last: bool, ports: usize) -> Result<(), WorldError> {
    let name = name_of(s);
    let bridge = format!("br-{name}");
    world.add_ovs_switch(&name)?;
    for p in 1..=ports {
        let port = port_of(s, p);
        if p + 2 > ports {
            // From the last one nothing leads further.
            let open = p < ports || !last;
            let trunk = if open { PortVlans::Trunk(vlans()) } else { PortVlans::Nothing };
            world.host_mut(&name)?.add_port(&bridge, &port, &trunk)?;
            continue;
        }
        world.register_port(&name, &port)?;
        if p % 8 == 0 {
            world.host_mut(&name)?.add_port(&bridge, &port, &PortVlans::Nothing)?;
            continue;
        }
        let tenant = (s * 7 + p) % TENANTS;
        // Below 64, so that it fits.
        let number = u16::try_from(tenant).unwrap_or_default();
        let second = (p % 3 == 0).then_some(200 + number);
        let carried = match second {
            None => PortVlans::Access(100 + number),
            Some(second) => PortVlans::Native { untagged: 100 + number, tagged: vec![second] },
        };
        world.host_mut(&name)?.add_port(&bridge, &port, &carried)?;
        let node = format!("{name}-{p:02}");
        let on = |network: String, channel: String| Attachment {
            node: node.clone(),
            nic: "eth0".to_owned(),
            network,
            channel,
        };
        world.attachments.push(on(format!("t{tenant:02}-a"), "vlan/native".to_owned()));
        if let Some(second) = second {
            world.attachments.push(on(format!("t{tenant:02}-b"), format!("vlan/{second}")));
        }
        let nic = Nic {
            label: "eth0".to_owned(),
            mac: format!("de:ad:bf:{:02x}:{:02x}:{p:02x}", s >> 8, s & 0xff),
            port: Some(PortAt::new(&name, &port)),
        };
        world.nodes.push(Node {
            label: node,
            project: Some(format!("t{tenant:02}")),
            metadata: Vec::new(),
            nics: vec![nic],
        });
    }
    if s > 1 {
        let (a, b) = (
            PortAt::new(&name_of(s - 1), &port_of(s - 1, ports)),
            PortAt::new(&name, &port_of(s, ports - 1)),
        );
        world.links.push(Link { a, b });
    }
    Ok(())
}

/// What a world's cloud manager declares, as a declared-state file in JSON.
pub fn declared_file(world: &World) -> String {
    let networks: Map<String, Value> = world
        .networks
        .iter()
        .map(|n| {
            let vlan: u16 = n.network_id.parse().expect("a VLAN of a fleet");
            (n.label.clone(), json!({ "vlan": vlan, "owner": n.owner }))
        })
        .collect();
    let switches: Map<String, Value> =
        world.switches.iter().map(|s| (s.label.clone(), json!({ "ports": s.ports }))).collect();
    let mut nodes: Map<String, Value> = world
        .nodes
        .iter()
        .map(|n| {
            let nics: Map<String, Value> = n
                .nics
                .iter()
                .map(|nic| {
                    let at = nic.port.as_ref();
                    let about = json!({ "switch": at.map(|p| &p.switch), "port": at.map(|p| &p.port) });
                    (nic.label.clone(), about)
                })
                .collect();
            (n.label.clone(), json!({ "project": n.project, "nics": nics }))
        })
        .collect();
    for a in &world.attachments {
        let nic = &mut nodes[&a.node]["nics"][&a.nic];
        if a.channel == "vlan/native" {
            nic["native"] = json!(a.network);
        } else if let Some(tagged) = nic["tagged"].as_array_mut() {
            tagged.push(json!(a.network));
        } else {
            nic["tagged"] = json!([a.network]);
        }
    }
    json!({ "version": 1, "networks": networks, "nodes": nodes, "switches": switches }).to_string()
}

/// The directory of the auditor of a lab with a [`world`].
pub fn site(lab: &Lab, ports: usize) -> Site {
    let mut site = Site::of_lab(lab);
    std::fs::write(site.path("declared.json"), lab.read(declared_file)).expect("the directory is ours");
    site.manager = "kind = \"declared-file\"\npath = \"declared.json\"\n".into();
    let vlans: Vec<String> = vlans().iter().map(u16::to_string).collect();
    site.exit("virtual-router", &name_of(1), &port_of(1, ports - 1), &vlans.join(","));
    site.write();
    site
}

/// Opens a free port of a hardware switch to VLAN 100, as somebody would who is not the cloud manager. Gives the port's
/// name as the switch's reader lists it.
///
/// # Panics
/// There is no such switch, or it has fewer than eight ports.
pub fn open_free_port(world: &mut World, hardware: &str) -> String {
    let kind = world.hardware(hardware).expect("a switch of the fleet").kind;
    let native = kind.native_port(None, &kind.hil_port(8));
    let switch = world.hardware_mut(hardware).expect("it was there just now");
    let port = switch.port_mut(&native).expect("a switch of a fleet has eight ports");
    port.admin_down = false;
    let _ = match kind {
        HardwareKind::Os9 => port.set_general(Some(100), VlanRanges::none()),
        HardwareKind::Vdx => port.set_trunk(Some(1), VlanList::List(VlanRanges::from([100]))),
        _ => port.set_access(100),
    };
    crate::hardware::observed_name(kind, &native)
}
