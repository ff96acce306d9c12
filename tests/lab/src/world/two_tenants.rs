//! The ready-made world.

use super::{Exit, Link, PortAt, PortVlans, World, WorldError};

/// An administrator whom nobody but the auditor uses, so that what the auditor did can be told apart.
pub(crate) const AUDITOR: &str = "auditor";

impl World {
    /// Two tenants, two switches, everything isolated.
    ///
    /// ```text
    ///   node01 eth0 ── sw1p1  red-net        sw2p1  blue-net ── eth0 node04
    ///   node02 eth0 ── sw1p2  red-net        sw2p2  vlan/100 ── eth0 node05
    ///   node03 eth0 ── sw1p3  blue-net       sw2p3  nothing  ── eth0 node06 (free)
    ///                  sw1p4  free           sw2p4  free
    ///                  uplink 100,101 ── router
    ///                  trunk  100,101 ─────── trunk
    ///                       br-sw1                br-sw2
    /// ```
    ///
    /// Projects `red` (user `alice`) and `blue` (`bob`); networks `red-net` (VLAN 100) and `blue-net` (VLAN 101); `admin`
    /// and `auditor` are administrators. node01 has a second nic `eth1` that is wired to nothing. HIL knows the ports
    /// `sw1p1…4` and `sw2p1…4` only. Each bridge is on an Open vSwitch host of its own, called like the switch, whose startup
    /// configuration is this state. The driver is [`Driver::Careful`](super::Driver::Careful); passwords are `lab-NAME`.
    pub fn two_tenants() -> World {
        let mut world = World::new();
        build(&mut world).expect("the steps below add each thing once, and before it is used");
        world
    }
}

fn build(world: &mut World) -> Result<(), WorldError> {
    world.add_project("red");
    world.add_project("blue");
    world.add_user("admin", "lab-admin", true, &[]);
    world.add_user(AUDITOR, "lab-auditor", true, &[]);
    world.add_user("alice", "lab-alice", false, &["red"]);
    world.add_user("bob", "lab-bob", false, &["blue"]);
    world.add_network("red-net", Some("red"), &["red"], "100");
    world.add_network("blue-net", Some("blue"), &["blue"], "101");

    for switch in ["sw1", "sw2"] {
        world.add_ovs_switch(switch)?;
        for port in 1..=4 {
            world.add_port(switch, &format!("{switch}p{port}"))?;
        }
        let trunk = PortVlans::Trunk(vec![100, 101]);
        world.switch_mut(switch)?.add_port(&format!("br-{switch}"), &format!("{switch}-trunk"), &trunk)?;
    }
    world.switch_mut("sw1")?.add_port("br-sw1", "sw1-uplink", &PortVlans::Trunk(vec![100, 101]))?;
    world.links.push(Link { a: PortAt::new("sw1", "sw1-trunk"), b: PortAt::new("sw2", "sw2-trunk") });
    world.exits.push(Exit {
        at: PortAt::new("sw1", "sw1-uplink"),
        to: "router".to_owned(),
        vlans: vec![100, 101],
    });

    let nodes = [
        ("node01", Some("red"), "sw1", "sw1p1", Some(("red-net", None))),
        ("node02", Some("red"), "sw1", "sw1p2", Some(("red-net", None))),
        ("node03", Some("blue"), "sw1", "sw1p3", Some(("blue-net", None))),
        ("node04", Some("blue"), "sw2", "sw2p1", Some(("blue-net", None))),
        ("node05", Some("red"), "sw2", "sw2p2", Some(("red-net", Some("vlan/100")))),
        ("node06", None, "sw2", "sw2p3", None),
    ];
    for (n, (node, project, switch, port, network)) in nodes.into_iter().enumerate() {
        world.add_node(node, project);
        world.add_nic(node, "eth0", &format!("de:ad:be:ef:00:{:02x}", n + 1))?;
        world.wire(node, "eth0", switch, port)?;
        if let Some((network, channel)) = network {
            world.attach(node, "eth0", network, channel)?;
        }
    }
    world.add_nic("node01", "eth1", "de:ad:be:ef:01:01")?;
    for host in ["sw1", "sw2"] {
        world.host_mut(host)?.save_startup();
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ovsdb::Datum;

    fn columns(world: &World, switch: &str, port: &str) -> (Datum, Datum, Datum) {
        let db = world.host(switch).unwrap().database();
        let row = db.find("Port", port).unwrap();
        let get = |column| db.get("Port", row, column).unwrap();
        (get("vlan_mode"), get("tag"), get("trunks"))
    }

    #[test]
    fn no_port_is_left_on_all_vlans() {
        let world = World::two_tenants();
        let mut seen = 0;
        for switch in ["sw1", "sw2"] {
            let db = world.host(switch).unwrap().database();
            for (row, _) in db.rows("Port") {
                let get = |column| db.get("Port", row, column).unwrap();
                let mode = get("vlan_mode");
                let name = get("name");
                match mode.as_str() {
                    Some("access") => {}
                    Some("trunk") => assert_ne!(get("trunks"), Datum::empty(), "{name:?}"),
                    other => panic!("{name:?} is in mode {other:?}"),
                }
                seen += 1;
            }
        }
        assert_eq!(seen, 13, "eight edge ports, two trunks, one uplink, two LOCAL");
    }

    #[test]
    fn the_careful_driver_writes_exactly_what_is_declared() {
        let mut world = World::two_tenants();
        assert_eq!(
            columns(&world, "sw1", "sw1p1"),
            (Datum::from("access"), Datum::from(100u16), Datum::empty())
        );
        world.grant("blue-net", "red").unwrap();
        world.attach("node01", "eth0", "blue-net", Some("vlan/101")).unwrap();
        let native = Datum::from("native-untagged");
        assert_eq!(columns(&world, "sw1", "sw1p1"), (native, Datum::from(100u16), Datum::set([101u16])));
        world.detach("node01", "eth0", "red-net").unwrap();
        assert_eq!(
            columns(&world, "sw1", "sw1p1"),
            (Datum::from("trunk"), Datum::empty(), Datum::set([101u16]))
        );
        world.revert("sw1", "sw1p1").unwrap();
        assert_eq!(columns(&world, "sw1", "sw1p1"), (Datum::from("access"), Datum::empty(), Datum::empty()));
        assert_eq!(world.attached("node01", "eth0").count(), 0);
    }

    #[test]
    fn the_stock_driver_opens_ports_to_all_vlans() {
        let mut world = World::two_tenants();
        world.daemon.driver = super::super::Driver::StockHil;
        let before = world.host("sw1").unwrap().database().find("Port", "sw1p1").unwrap();
        world.revert("sw1", "sw1p1").unwrap();
        let after = world.host("sw1").unwrap().database().find("Port", "sw1p1").unwrap();
        assert_ne!(before, after, "the port was deleted and made anew");
        let native = || Datum::from("native-untagged");
        assert_eq!(columns(&world, "sw1", "sw1p1"), (native(), Datum::empty(), Datum::empty()));
        world.attach("node01", "eth0", "red-net", None).unwrap();
        assert_eq!(columns(&world, "sw1", "sw1p1"), (native(), Datum::from(100u16), Datum::empty()));
    }
}
