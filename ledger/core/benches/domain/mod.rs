//! A large domain for benchmarks: 1,000 switches of 48 ports, 2,000 networks, every VLAN on every uplink.

use isoledger_core::model::*;
use isoledger_core::{VlanId, VlanSet};
use std::collections::BTreeMap;

/// Switches with nodes on them.
pub(crate) const LEAVES: usize = 979;
/// Switches between them.
pub(crate) const SPINES: usize = 21;
/// Ports of each.
pub(crate) const PORTS: usize = 48;
/// Networks.
pub(crate) const NETWORKS: usize = 2000;

fn vlan(network: usize) -> VlanId {
    VlanId::new(100 + network as u16).expect("2,000 networks fit")
}

fn port(n: usize) -> String {
    format!("GigabitEthernet1/0/{}", n + 1)
}

/// Scope, declared and observed state.
pub(crate) fn main_domain() -> (Scope, Declared, BTreeMap<String, Observed>) {
    let mut scope = Scope { domain: "bench".into(), ..Scope::default() };
    let mut declared = Declared::default();
    let mut observed = BTreeMap::new();
    let project = |n: usize| format!("project-{}", n / 4);
    for n in 0..NETWORKS {
        let network = Network {
            vlan: NetworkVlan::Id(vlan(n)),
            owner: Owner::Project(project(n)),
            access: Access::Projects([project(n)].into()),
        };
        declared.networks.insert(format!("network-{n}"), network);
    }
    let trunk = VlanSet::range(vlan(0), vlan(NETWORKS - 1));
    let plain = PortState { ingress_filtering: Some(true), admin_down: Some(false), ..PortState::default() };
    for s in 0..LEAVES + SPINES {
        let name = format!("switch-{s:04}");
        let mut o = Observed::default();
        o.bypasses.extend(BypassClass::ALL.map(|c| (c, BypassReading::Clean)));
        for p in 0..PORTS {
            // A leaf's last port is its uplink; a spine has one port a leaf.
            let uplink = if s < LEAVES { p == PORTS - 1 } else { (s - LEAVES) * PORTS + p < LEAVES };
            let mut state = plain.clone();
            if uplink {
                state.tagged = trunk.clone();
            } else if s < LEAVES {
                let n = (s * PORTS + p) * 7919 % NETWORKS;
                state.untagged = Some(vlan(n));
                let at = PortId::new(name.as_str(), port(p));
                declared.registered.insert(at.clone());
                declared.attachments.insert(Attachment {
                    network: format!("network-{n}"),
                    project: Some(project(n)),
                    node: format!("node-{s}-{p}"),
                    nic: "eth0".into(),
                    mac: None,
                    port: Some(at),
                    channel: Channel::Native,
                });
            }
            o.ports.insert(port(p), PortReading::Read(state));
        }
        if s < LEAVES {
            let spine = format!("switch-{:04}", LEAVES + s / PORTS);
            scope.links.push(Link {
                a: PortId::new(name.as_str(), port(PORTS - 1)),
                b: PortId::new(spine, port(s % PORTS)),
                vlans: trunk.clone(),
            });
        }
        scope.switches.insert(name.clone(), ScopeSwitch::default());
        observed.insert(name, o);
    }
    (scope, declared, observed)
}
