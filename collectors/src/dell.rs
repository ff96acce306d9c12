//! What the readers of Dell's switches have in common: names of ports, and the tables that both families print alike.

use crate::text::port_list;
use isoledger_core::model::{Anomaly, Observed, PortReading, PortState};
use isoledger_core::vlan::{VlanId, VlanSet};
use std::collections::{BTreeMap, BTreeSet};

pub(crate) fn note(observed: &mut Observed, about: &str, what: String) {
    observed.anomalies.push(Anomaly { about: about.to_owned(), what });
}

pub(crate) fn spoil(observed: &mut Observed, name: &str, might_carry: VlanSet, why: String) {
    observed.ports.insert(name.to_owned(), PortReading::Unreadable { might_carry, why });
}

/// A VLAN that is both is untagged only.
pub(crate) fn without_untagged(mut state: PortState) -> PortState {
    if let Some(v) = state.untagged {
        state.tagged = state.tagged.difference(&VlanSet::one(v));
    }
    state
}

pub(crate) fn is_ruler(line: &str) -> bool {
    line.bytes().all(|b| matches!(b, b'-' | b' '))
}

pub(crate) fn is_port(name: &str) -> bool {
    port_list(name).is_some_and(|list| list.len() == 1)
}

/// The VLANs that `show vlan` lists each port in. Lists of ports are wrapped.
pub(crate) fn members(text: &str) -> BTreeMap<String, VlanSet> {
    let mut all: BTreeMap<String, VlanSet> = BTreeMap::new();
    let mut current = None;
    for line in text.lines() {
        let mut words = line.split_whitespace().peekable();
        if let Some(id) = words.peek().and_then(|w| VlanId::parse(w)) {
            current = Some(id);
        }
        let Some(id) = current else { continue };
        for name in words.filter_map(|w| port_list(w.trim_end_matches(','))).flatten() {
            all.entry(name).or_default().insert(id);
        }
    }
    all
}

/// The active members of each bundle, from lines such as `po1  Active: gi1/0/1,gi1/0/2 Inactive: gi1/0/3` and those that
/// continue them. One that is not active
/// stands for itself. A bundle without any is left out.
pub(crate) fn bundles(text: &str) -> BTreeMap<String, BTreeSet<String>> {
    let mut all: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let (mut current, mut active) = (None::<String>, None);
    for line in text.lines().filter(|l| !l.trim().is_empty()) {
        let mut words = line.split_whitespace();
        if !line.starts_with([' ', '\t']) {
            let name = words.next().unwrap_or_default().to_ascii_lowercase();
            current = (name.starts_with("po") && is_port(&name)).then_some(name);
            active = None;
        }
        let Some(name) = &current else { continue };
        for word in words {
            match (word, port_list(word.trim_end_matches(','))) {
                ("Active:", _) => active = Some(true),
                ("Inactive:", _) => active = Some(false),
                (_, Some(list)) if active.is_some() => {
                    let members = all.entry(name.clone()).or_default();
                    members.extend(list.into_iter().filter(|_| active == Some(true)));
                }
                _ => {}
            }
        }
    }
    all
}

pub(crate) fn bundle(observed: &mut Observed, bundles: &BTreeMap<String, BTreeSet<String>>) {
    for (bundle, members) in bundles {
        if !matches!(observed.ports.get(bundle), Some(PortReading::Read(_))) {
            continue;
        }
        let mut found = BTreeSet::new();
        for name in members {
            let elsewhere = bundles.iter().any(|(other, m)| other != bundle && m.contains(name));
            if let Some(PortReading::Read(state)) = observed.ports.get_mut(name).filter(|_| !elsewhere) {
                state.aggregate = Some(bundle.clone());
                found.insert(name.clone());
            }
        }
        if let Some(PortReading::Read(state)) = observed.ports.get_mut(bundle) {
            state.members = found;
        }
    }
}

pub(crate) fn is_address(word: &str) -> bool {
    word.parse::<std::net::IpAddr>().is_ok()
}
