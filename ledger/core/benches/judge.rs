//! Assembling and judging a large domain: 1,000 switches of 48 ports, 2,000 networks, every VLAN on every uplink.
//!
//! This is the hard case: each network may reach each switch. `assemble` cuts one poll into slices and common part,
//! `judge` judges all networks, `both` is what a poll costs between the last answer and the verdicts.

use criterion::{Criterion, criterion_group, criterion_main};
use isoledger_core::assemble::{Inputs, SourceView, SwitchView, assemble};
use isoledger_core::hash::Digest;
use isoledger_core::judge::{Verdict, judge_all};
use isoledger_core::lease::Slots;
use isoledger_core::model::*;
use isoledger_core::{VlanId, VlanSet};
use std::collections::{BTreeMap, BTreeSet};
use std::hint::black_box;

const LEAVES: usize = 979;
const SPINES: usize = 21;
const PORTS: usize = 48;
const NETWORKS: usize = 2000;

fn vlan(network: usize) -> VlanId {
    VlanId::new(100 + network as u16).expect("2,000 networks fit")
}

fn port(n: usize) -> String {
    format!("GigabitEthernet1/0/{}", n + 1)
}

fn main_domain() -> (Scope, Declared, BTreeMap<String, Observed>) {
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

fn bench(c: &mut Criterion) {
    let (scope, declared, observed) = main_domain();
    let mut n = 0u64;
    let mut entropy = || {
        n += 1;
        Digest::of(&n.to_be_bytes()).0
    };
    let slots = Slots::new(&mut entropy).advance(&declared, 7, &mut entropy);
    let reader = Reader { dialect: "openvswitch".into(), version: 1 };
    let source = SourceView { reader: &reader, identity: Some("a serial number"), failure: None };
    let switches =
        observed.iter().map(|(n, o)| (n.clone(), SwitchView { source, observed: Some(o) })).collect();
    let moving = BTreeSet::new();
    let inputs = Inputs {
        scope: &scope,
        scope_seq: 1,
        slots: &slots,
        declared: &declared,
        manager: source,
        switches: &switches,
        moving: &moving,
    };
    let assembly = assemble(&inputs);
    let judged = judge_all(&assembly).expect("what was assembled can be judged");
    assert_eq!(judged.len(), NETWORKS);
    assert!(judged.values().all(|j| j.verdict == Verdict::Isolated && j.findings.is_empty()));

    let mut group = c.benchmark_group("1,000 switches x 48 ports, 2,000 networks");
    group.sample_size(10);
    group.bench_function("assemble", |b| b.iter(|| assemble(black_box(&inputs))));
    group.bench_function("judge", |b| b.iter(|| judge_all(black_box(&assembly))));
    group.bench_function("both", |b| b.iter(|| judge_all(&assemble(black_box(&inputs)))));
    group.bench_function("slice bytes", |b| b.iter(|| black_box(&assembly).written().slices));
    group.finish();
}

criterion_group!(benches, bench);
criterion_main!(benches);
