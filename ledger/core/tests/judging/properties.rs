//! What holds for every domain: an `isolated` verdict is sound against what the switches truly do, however much of
//! it was read, and no tenant reads another's names.

use crate::domain::{Domain, View, clean, judge_in};
use isoledger_core::judge::{CommonIndex, Verdict, judge};
use isoledger_core::model::*;
use isoledger_core::slice::{NetworkSection, Slice};
use isoledger_core::{VlanId, VlanSet, json};
use proptest::prelude::*;
use proptest::sample::{Index, select};
use std::collections::{BTreeMap, BTreeSet};

const NETWORKS: [(&str, u16, &str); 3] =
    [("red-net", 100, "crimson"), ("blue-net", 200, "azure"), ("pub-net", 300, "emerald")];
const SWITCHES: [&str; 4] = ["sw-a", "sw-b", "sw-c", "sw-d"];
const PORTS: [&str; 6] = ["1", "2", "3", "4", "8", "9"];

fn v(id: u16) -> VlanId {
    VlanId::new(id).unwrap()
}

// VLANs as ports in the wild carry them: few, none, many, nearly all, all; mostly those that are declared.
fn vlans() -> impl Strategy<Value = VlanSet> {
    prop_oneof![
        4 => Just(VlanSet::empty()),
        4 => select(vec![100u16, 200, 300]).prop_map(|id| VlanSet::one(v(id))),
        2 => Just(VlanSet::parse("100,200").unwrap()),
        1 => Just(VlanSet::parse("100-355").unwrap()),
        1 => Just(VlanSet::parse("100-356").unwrap()),
        1 => Just(VlanSet::parse("1-4093").unwrap()),
        1 => Just(VlanSet::all()),
    ]
}

fn state() -> impl Strategy<Value = PortState> {
    let untagged = prop_oneof![3 => Just(None), 2 => select(vec![100u16, 200, 300, 400]).prop_map(Some)];
    (untagged, vlans(), prop::bool::weighted(0.15)).prop_map(|(untagged, tagged, down)| {
        let untagged = untagged.map(v);
        let tagged = untagged.map_or(tagged.clone(), |u| tagged.difference(&VlanSet::one(u)));
        PortState {
            untagged,
            tagged,
            admin_down: down.then_some(true),
            ingress_filtering: Some(true),
            ..PortState::default()
        }
    })
}

fn attachment() -> impl Strategy<Value = Attachment> {
    let place = prop::option::weighted(0.9, (select(&SWITCHES[..]), select(&PORTS[..4])));
    let who = (prop::option::weighted(0.9, 0usize..3), 0u8..6, 0u8..2);
    (0usize..3, place, who, any::<bool>()).prop_map(|(net, place, (project, node, nic), native)| {
        let (network, vlan, owner) = NETWORKS[net];
        Attachment {
            network: network.into(),
            // Mostly the owner's nodes, or nothing would ever be isolated.
            project: project.map(|p| if p == 2 { NETWORKS[(net + 1) % 3].2 } else { owner }.to_owned()),
            node: format!("node-{node}"),
            nic: format!("nic-{nic}"),
            mac: None,
            port: place.map(|(s, p)| PortId::new(s, p)),
            channel: if native { Channel::Native } else { Channel::Tagged(v(vlan)) },
        }
    })
}

// What is laid over a truth: how much of it is read.
#[derive(Clone, Debug)]
enum Veil {
    Fails(&'static str, Failure),
    Unseen(&'static str),
    Garbled(&'static str),
    Unreadable(&'static str, &'static str),
    Unassessed(&'static str, &'static str),
    Moving(&'static str, &'static str),
    Unread(&'static str, BypassClass),
    Manager(Failure),
}

fn veil() -> impl Strategy<Value = Veil> {
    let failure = select(vec![Failure::Silent, Failure::Unreadable, Failure::SourceChanged]);
    let (switch, port) = (|| select(&SWITCHES[..]), || select(&PORTS[..]));
    prop_oneof![
        5 => (switch(), failure.clone()).prop_map(|(s, f)| Veil::Fails(s, f)),
        1 => switch().prop_map(Veil::Unseen),
        1 => switch().prop_map(Veil::Garbled),
        2 => (switch(), port()).prop_map(|(s, p)| Veil::Unreadable(s, p)),
        2 => (switch(), port()).prop_map(|(s, p)| Veil::Unassessed(s, p)),
        1 => (switch(), port()).prop_map(|(s, p)| Veil::Moving(s, p)),
        1 => (switch(), select(&BypassClass::ALL[..])).prop_map(|(s, c)| Veil::Unread(s, c)),
        1 => failure.prop_map(Veil::Manager),
    ]
}

// The true state of a small domain, all of it read.
fn truth() -> impl Strategy<Value = Domain> {
    let ports = prop::collection::btree_map((select(&SWITCHES[..]), select(&PORTS[..])), state(), 0..8);
    let links = prop::collection::vec(
        (select(&SWITCHES[..]), select(&SWITCHES[..]), select(&PORTS[3..]), select(&PORTS[3..]), vlans()),
        0..3,
    );
    let kind = select(vec![ExitKind::Router, ExitKind::UnauditedSwitch, ExitKind::Local]);
    let exits = prop::collection::vec((kind, select(&SWITCHES[..]), select(&PORTS[3..]), vlans()), 0..2);
    let bypass = prop::option::weighted(0.1, (select(&SWITCHES[..]), select(&BypassClass::ALL[..]), vlans()));
    let attachments = prop::collection::vec(attachment(), 0..6);
    // Most attachments are carried as declared, and most links at both ends.
    let faithful = prop::bool::weighted(0.85);
    (attachments, ports, links, exits, bypass, prop::collection::vec(faithful, 6), prop::bool::weighted(0.1))
        .prop_map(|(attachments, ports, links, exits, bypass, faithful, shared)| {
            let mut d = Domain::default();
            for (name, vlan, owner) in NETWORKS {
                let access =
                    if name == "pub-net" { Access::Public } else { Access::Projects([owner.into()].into()) };
                let vlan = NetworkVlan::Id(v(if shared && name == "blue-net" { 100 } else { vlan }));
                d.declared
                    .networks
                    .insert(name.into(), Network { vlan, owner: Owner::Project(owner.into()), access });
            }
            for s in SWITCHES {
                d.scope.switches.insert(s.into(), ScopeSwitch::default());
                d.views.insert(s.into(), View { failure: None, observed: Some(clean()) });
            }
            let mut carry = |at: &PortId, untagged: Option<VlanId>, tagged: &VlanSet| {
                let o = d.views.get_mut(&at.switch).unwrap().observed.as_mut().unwrap();
                let empty =
                    PortReading::Read(PortState { ingress_filtering: Some(true), ..PortState::default() });
                let PortReading::Read(s) = o.ports.entry(at.port.clone()).or_insert(empty) else { return };
                s.tagged = s.tagged.union(tagged);
                s.untagged = s.untagged.or(untagged);
                if let Some(u) = s.untagged {
                    s.tagged = s.tagged.difference(&VlanSet::one(u));
                }
            };
            for ((switch, port), s) in ports {
                carry(&PortId::new(switch, port), s.untagged, &s.tagged);
                if s.admin_down == Some(true) {
                    carry(&PortId::new(switch, port), None, &VlanSet::empty());
                }
            }
            for (a, faithful) in attachments.iter().zip(&faithful) {
                if let (Some(port), true) = (&a.port, faithful) {
                    let NetworkVlan::Id(vlan) = d.declared.networks[&a.network].vlan else { continue };
                    match a.channel {
                        Channel::Native => carry(port, Some(vlan), &VlanSet::empty()),
                        _ => carry(port, None, &VlanSet::one(vlan)),
                    }
                }
            }
            for ((a, b, pa, pb, vlans), faithful) in links.into_iter().zip(faithful.iter().rev()) {
                let (a, b) = (PortId::new(a, pa), PortId::new(b, pb));
                if *faithful {
                    carry(&a, None, &vlans);
                    carry(&b, None, &vlans);
                }
                d.scope.links.push(Link { a, b, vlans });
            }
            for (i, (kind, s, p, vlans)) in exits.into_iter().enumerate() {
                d.scope.exits.push(Exit { name: format!("exit-{i}"), kind, port: PortId::new(s, p), vlans });
            }
            if let Some((s, class, vlans)) = bypass {
                let o = d.views.get_mut(s).unwrap().observed.as_mut().unwrap();
                o.bypasses.insert(class, BypassReading::Dirty { vlans, detail: "secret-detail".into() });
            }
            d.declared.registered.extend(attachments.iter().filter_map(|a| a.port.clone()));
            d.declared.attachments.extend(attachments);
            d
        })
}

fn observed<'a>(d: &'a mut Domain, s: &str) -> Option<&'a mut Observed> {
    d.views.get_mut(s).and_then(|v| v.observed.as_mut())
}

fn lay(d: &mut Domain, veil: &Veil) {
    match veil {
        Veil::Fails(s, f) => drop(d.views.insert((*s).into(), View { failure: Some(*f), observed: None })),
        Veil::Unseen(s) => drop(d.views.remove(*s)),
        Veil::Garbled(s) => observed(d, s).into_iter().for_each(|o| {
            o.anomalies.push(Anomaly { about: "line 7".into(), what: "unknown".into() });
        }),
        Veil::Unreadable(s, p) => observed(d, s).into_iter().for_each(|o| {
            let might_carry = VlanSet::all();
            o.ports.insert((*p).into(), PortReading::Unreadable { might_carry, why: "unknown mode".into() });
        }),
        Veil::Unassessed(s, p) => {
            d.scope.unassessed.push(Unassessed { port: PortId::new(*s, *p), reason: "lab".into() });
        }
        Veil::Moving(s, p) => d.moving.push(isoledger_core::content::MovingPort {
            port: PortId::new(*s, *p),
            polls: 1,
            since: isoledger_core::Timestamp::from_millis(crate::domain::STARTED).unwrap(),
        }),
        Veil::Unread(s, c) => observed(d, s).into_iter().for_each(|o| {
            o.bypasses.remove(c);
        }),
        Veil::Manager(f) => d.manager = Some(*f),
    }
}

fn verdict(d: &Domain, network: &str) -> Verdict {
    d.judge(network).verdict
}

// A second opinion, by flooding: from each of the network's attachments, frames go wherever a port that carries the
// VLAN lets them, over links and through what is behind unaudited switches and unassessed ports. Returns the ports
// reached that nothing allows.
fn reached(d: &Domain, network: &str) -> BTreeSet<PortId> {
    let n = &d.declared.networks[network];
    let NetworkVlan::Id(vlan) = n.vlan else { return BTreeSet::new() };
    let mine: Vec<&Attachment> = d.declared.attachments.iter().filter(|a| a.network == network).collect();
    let declared: BTreeSet<&PortId> = mine.iter().filter_map(|a| a.port.as_ref()).collect();
    let states: BTreeMap<&str, &Observed> =
        d.views.iter().filter_map(|(n, v)| Some((n.as_str(), v.observed.as_ref()?))).collect();
    let carries = |s: &str, p: &str| match states.get(s).and_then(|o| o.ports.get(p)) {
        Some(PortReading::Read(s)) => s.admin_down != Some(true) && s.carries().contains(vlan),
        _ => false,
    };
    let lost = mine.is_empty() || mine.iter().any(|a| a.port.is_none());
    let mut todo: Vec<String> = declared.iter().map(|p| p.switch.clone()).collect();
    if lost {
        todo.extend(SWITCHES.map(String::from));
    }
    let (mut seen, mut foreign, mut outside) = (BTreeSet::new(), BTreeSet::new(), false);
    while let Some(switch) = todo.pop() {
        if !seen.insert(switch.clone()) {
            continue;
        }
        for port in PORTS.iter().filter(|p| carries(&switch, p)) {
            let at = PortId::new(switch.as_str(), *port);
            let other = |l: &Link| {
                let end = if l.a == at { &l.b } else { &l.a };
                ((l.a == at || l.b == at) && l.a != l.b && l.vlans.contains(vlan)).then(|| end.clone())
            };
            let links: BTreeSet<PortId> = d.scope.links.iter().filter_map(other).collect();
            let exit = d.scope.exits.iter().find(|e| e.port == at && e.vlans.contains(vlan));
            let unassessed = d.scope.unassessed.iter().any(|u| u.port == at);
            outside |= unassessed || exit.is_some_and(|e| e.kind == ExitKind::UnauditedSwitch);
            if links.is_empty() && exit.is_none() && !unassessed && !declared.contains(&at) {
                foreign.insert(at);
            }
            todo.extend(links.into_iter().map(|p| p.switch));
        }
        if outside {
            todo.extend(SWITCHES.map(String::from));
        }
    }
    foreign
}

fn domain_and_veils() -> impl Strategy<Value = (Domain, Vec<Veil>)> {
    (truth(), prop::collection::vec(veil(), 0..4))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1500, ..ProptestConfig::default() })]

    // The property all others serve. Whatever is hidden, who is told `isolated` is not reached by a foreign port.
    #[test]
    fn isolated_is_sound_whatever_was_not_read((mut d, veils) in domain_and_veils()) {
        let mut truth = d.clone();
        for veil in &veils {
            lay(&mut d, veil);
            if let Veil::Unassessed(..) = veil {
                lay(&mut truth, veil);
            }
        }
        for (network, ..) in NETWORKS {
            if verdict(&d, network) == Verdict::Isolated {
                let foreign = reached(&truth, network);
                prop_assert!(foreign.is_empty(), "{network} is called isolated and reaches {foreign:?}");
                prop_assert_eq!(d.manager, None);
            }
        }
    }

    // Not reading something makes no verdict better. A switch that does not answer is an exception only where it is an
    // island: where a foreign port there was not on the network in the first place.
    #[test]
    fn reading_less_never_isolates((mut d, veils) in domain_and_veils(), last in veil()) {
        veils.iter().for_each(|veil| lay(&mut d, veil));
        let before: Vec<Verdict> = NETWORKS.iter().map(|(n, ..)| verdict(&d, n)).collect();
        let mut after = d.clone();
        lay(&mut after, &last);
        // What the operator does not assess is said beside the verdict, and is no reading.
        prop_assume!(!matches!(last, Veil::Unassessed(..)));
        for ((network, ..), before) in NETWORKS.iter().zip(before) {
            if before == Verdict::Isolated || verdict(&after, network) != Verdict::Isolated {
                continue;
            }
            let switch = match last {
                Veil::Fails(s, _) | Veil::Unseen(s) => s,
                _ => return Err(TestCaseError::fail(format!("{last:?} isolates {network}"))),
            };
            let mine = d.declared.attachments.iter().filter(|a| a.network == *network);
            let places: Vec<&PortId> = mine.clone().filter_map(|a| a.port.as_ref()).collect();
            prop_assert!(!places.is_empty() && places.len() == mine.count(), "{network} may be anywhere");
            prop_assert!(places.iter().all(|p| p.switch != switch), "{network} has a node on {switch}");
            prop_assert!(reached(&d, network).iter().all(|p| p.switch != switch));
        }
    }

    // On a network with a node on every switch there are no islands: then it holds without exception.
    #[test]
    fn a_silent_switch_never_isolates_whom_it_serves((mut d, veils) in domain_and_veils(), s in select(&SWITCHES[..])) {
        for (i, s) in SWITCHES.iter().enumerate() {
            d.declared.attachments.insert(Attachment {
                network: "red-net".into(), project: Some("crimson".into()), node: format!("own-{i}"), nic: "nic-0".into(),
                mac: None, port: Some(PortId::new(*s, "1")), channel: Channel::Native,
            });
        }
        veils.iter().for_each(|veil| lay(&mut d, veil));
        lay(&mut d, &Veil::Fails(s, Failure::Silent));
        prop_assert_ne!(verdict(&d, "red-net"), Verdict::Isolated);
    }

    // Whatever a switch carries more than before makes no verdict better, whatever was read of it.
    #[test]
    fn carrying_more_never_isolates(
        (mut d, veils) in domain_and_veils(), s in select(&SWITCHES[..]), p in select(&PORTS[..]), more in vlans()
    ) {
        veils.iter().for_each(|veil| lay(&mut d, veil));
        let before: Vec<Verdict> = NETWORKS.iter().map(|(n, ..)| verdict(&d, n)).collect();
        let Some(o) = observed(&mut d, s) else { return Ok(()) };
        let empty = PortReading::Read(PortState { ingress_filtering: Some(true), ..PortState::default() });
        let PortReading::Read(state) = o.ports.entry(p.into()).or_insert(empty) else { return Ok(()) };
        let more = state.untagged.map_or(more.clone(), |u| more.difference(&VlanSet::one(u)));
        state.tagged = state.tagged.union(&more);
        for ((network, ..), before) in NETWORKS.iter().zip(before) {
            let after = verdict(&d, network);
            prop_assert!(before == Verdict::Isolated || after != Verdict::Isolated, "{network} was {before}");
        }
    }

    // A bypass, a foreign attachment, a port that opens its filter: the same.
    #[test]
    fn more_trouble_never_isolates(
        (mut d, veils) in domain_and_veils(), s in select(&SWITCHES[..]), class in select(&BypassClass::ALL[..]),
        set in vlans(), stray in attachment()
    ) {
        veils.iter().for_each(|veil| lay(&mut d, veil));
        let before: Vec<Verdict> = NETWORKS.iter().map(|(n, ..)| verdict(&d, n)).collect();
        if let Some(o) = observed(&mut d, s) {
            let detail = "a rule".to_owned();
            let clean = o.bypasses.get(&class) == Some(&BypassReading::Clean);
            if clean {
                o.bypasses.insert(class, BypassReading::Dirty { vlans: set, detail });
            }
        }
        let stray = Attachment { project: None, node: "stray".into(), ..stray };
        d.declared.attachments.insert(stray.clone());
        for ((network, ..), before) in NETWORKS.iter().zip(before) {
            let after = verdict(&d, network);
            if stray.network == *network {
                prop_assert_ne!(after, Verdict::Isolated, "a free node is on {}", network);
            } else if stray.port.is_none() {
                prop_assert!(before == Verdict::Isolated || after != Verdict::Isolated, "{network} was {before}");
            }
        }
    }

    // Order of reading, of writing the scope, and repetition change no byte.
    #[test]
    fn assembling_is_a_function_of_what_is_known((mut d, veils) in domain_and_veils(), turn in any::<Index>()) {
        veils.iter().for_each(|veil| lay(&mut d, veil));
        let a = d.assemble();
        prop_assert_eq!(&a, &d.assemble());
        let mut e = d.clone();
        for list in [e.scope.links.len(), e.scope.exits.len(), e.scope.unassessed.len()] {
            let by = if list == 0 { 0 } else { turn.index(list) };
            if list == e.scope.links.len() { e.scope.links.rotate_left(by); }
            if list == e.scope.exits.len() { e.scope.exits.rotate_left(by); }
            if list == e.scope.unassessed.len() { e.scope.unassessed.rotate_left(by); }
        }
        for l in &mut e.scope.links {
            std::mem::swap(&mut l.a, &mut l.b);
        }
        let b = e.assemble();
        prop_assert_eq!(a.common.sections(), b.common.sections());
        prop_assert_eq!(a.written().slices, b.written().slices);
    }

    // What is handed to red names nothing of anybody else: no network, project, node, nic, switch or port.
    #[test]
    fn handles_reveal_no_names((mut d, veils) in domain_and_veils(), disclose in any::<bool>()) {
        veils.iter().for_each(|veil| lay(&mut d, veil));
        d.scope.disclose_ports = disclose;
        let a = d.assemble();
        let mut handed: Vec<Vec<u8>> = a.common.sections().into();
        handed.push(json::to_canonical(&a.common.part()));
        handed.push(a.written().slices.remove(&100).unwrap_or_default());
        let mut secrets = vec!["azure", "emerald", "crimson", "-net", "node-", "nic-", "secret-detail", "serial-of-it"];
        if !disclose {
            secrets.extend(SWITCHES);
        }
        for bytes in &handed {
            let text = String::from_utf8(bytes.clone()).unwrap();
            for secret in &secrets {
                prop_assert!(!text.contains(secret), "{secret} stands in {text}");
            }
        }
        let section = String::from_utf8(json::to_canonical(&a.networks["red-net"])).unwrap();
        for a in d.declared.attachments.iter().filter(|a| a.network != "red-net") {
            let own = d.declared.attachments.iter().any(|b| b.network == "red-net" && b.node == a.node);
            prop_assert!(own || !section.contains(&a.node), "{} stands in {section}", a.node);
        }
    }

    // A liar's slices: any byte of any part changed. The judge refuses, or judges; it never panics.
    #[test]
    fn changed_slices_never_panic(
        (mut d, veils) in domain_and_veils(), which in 0usize..7, at in any::<Index>(), byte in any::<u8>()
    ) {
        veils.iter().for_each(|veil| lay(&mut d, veil));
        let mut a = d.assemble();
        let slice = json::to_canonical(&a.slices[&100]);
        let section = json::to_canonical(&a.networks["red-net"]);
        let mut parts: Vec<Vec<u8>> = a.common.sections().into();
        parts.extend([slice, section]);
        let i = at.index(parts[which].len());
        parts[which][i] = byte;
        let read = || -> Result<(Slice, NetworkSection), json::JsonError> {
            a.common.roster = json::from_canonical("a roster", &parts[0], 1 << 20)?;
            a.common.scope = json::from_canonical("a scope", &parts[1], 1 << 20)?;
            a.common.coverage = json::from_canonical("a coverage", &parts[2], 1 << 20)?;
            a.common.bypasses = json::from_canonical("bypasses", &parts[3], 1 << 20)?;
            a.common.wide = json::from_canonical("wide", &parts[4], 1 << 20)?;
            let slice = json::from_canonical("a slice", &parts[5], 1 << 20)?;
            Ok((slice, json::from_canonical("a section", &parts[6], 1 << 20)?))
        };
        if let Ok((slice, section)) = { read } () {
            let _ = judge(&CommonIndex::new(&a.common), &slice, &section, &BTreeSet::new());
        }
    }

    // The same with whole members: lines, switches and attachments dropped, doubled and moved.
    #[test]
    fn shuffled_slices_never_panic(
        (mut d, veils) in domain_and_veils(), edits in prop::collection::vec((0usize..9, any::<Index>(), any::<Index>()), 1..4)
    ) {
        veils.iter().for_each(|veil| lay(&mut d, veil));
        let mut a = d.assemble();
        let mut slice = a.slices[&100].clone();
        let mut section = a.networks["red-net"].clone();
        fn edit<T: Clone>(list: &mut Vec<T>, i: &Index, j: &Index) {
            if !list.is_empty() {
                let (i, j) = (i.index(list.len()), j.index(3));
                match j {
                    0 => drop(list.remove(i)),
                    1 => list.push(list[i].clone()),
                    _ => list.swap(0, i),
                }
            }
        }
        for (which, i, j) in &edits {
            match which {
                0 => edit(&mut slice.ports, i, j),
                1 => edit(&mut slice.networks, i, j),
                2 => edit(&mut section.attachments, i, j),
                3 => edit(&mut a.common.roster.switches, i, j),
                4 => edit(&mut a.common.coverage.switches, i, j),
                5 => edit(&mut a.common.coverage.ports, i, j),
                6 => edit(&mut a.common.bypasses.switches, i, j),
                7 => edit(&mut a.common.wide.ports, i, j),
                _ => slice.ports.iter_mut().for_each(|p| p.declared.iter_mut().for_each(|d| d.network += 1)),
            }
        }
        let honest = judge_in(&d.assemble(), "red-net", &BTreeSet::new()).unwrap();
        if let Ok(j) = judge(&CommonIndex::new(&a.common), &slice, &section, &BTreeSet::new())
            && honest.verdict != Verdict::Isolated
            && edits.iter().all(|(which, ..)| *which == 3)
        {
            // A switch that the roster leaves out was not read by anybody.
            prop_assert_ne!(j.verdict, Verdict::Isolated);
        }
    }
}
