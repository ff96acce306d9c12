//! What the readers of Dell's switches have in common: names of ports, and the tables that both families print alike.

use crate::classes::Classes;
use crate::console::Answers;
use crate::net::console::ENABLE;
use crate::text::{port_list, quoted};
use isoledger_core::model::{Anomaly, BypassClass, Observed, PortReading, PortState};
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

/// Whether a line is a table's row about a port.
pub(crate) fn is_port_row(line: &str) -> bool {
    line.split_whitespace().next().is_some_and(is_port)
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
/// continue them. One that is not active, or stands behind another label (`Non-candidate:`), stands for itself: its own
/// VLANs count. A bundle without any is left out.
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
        // Some releases put a comma in front of the next label, without a space.
        for word in words.flat_map(|w| w.split(',')) {
            match word {
                "Active:" => active = Some(true),
                "Inactive:" => active = Some(false),
                _ if word.contains(':') => active = None,
                _ => {
                    if let (Some(active), Some(list)) = (active, port_list(word)) {
                        let members = all.entry(name.clone()).or_default();
                        members.extend(list.into_iter().filter(|_| active));
                    }
                }
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

/// Whether a word is an IPv6 address, with the length of its prefix or without.
pub(crate) fn is_address6(word: &str) -> bool {
    word.split('/').next().is_some_and(|w| w.parse::<std::net::Ipv6Addr>().is_ok())
}

/// All that is sent: what turns the pager off, what asks for rights, and every command. `ALL` is two more than `N`.
pub(crate) const fn sends<const N: usize, const ALL: usize>(
    no_pages: &'static str,
    commands: &[&'static str; N],
) -> [&'static str; ALL] {
    assert!(ALL == N + 2, "one place for each command, one for the pager, one for `enable`");
    let mut all = [no_pages; ALL];
    all[1] = ENABLE;
    let mut n = 0;
    while n < N {
        all[n + 2] = commands[n];
        n += 1;
    }
    all
}

/// Whether something may change VLANs by itself. Each answer must say once, in the line that begins with the words given
/// (in lower case), that it is disabled or enabled.
pub(crate) fn dynamic(answers: &Answers<'_>, asked: &[(&str, &str)], classes: &mut Classes) {
    let class = BypassClass::Dynamic;
    classes.read(class);
    for (command, subject) in asked {
        let text = match answers.text(command) {
            Ok(text) => text.to_ascii_lowercase(),
            Err(why) => {
                classes.unread(class, why);
                continue;
            }
        };
        let lines: Vec<&str> = text.lines().map(str::trim).filter(|l| l.starts_with(subject)).collect();
        let said = |line: &str| {
            let value = line[subject.len()..].trim_start_matches(['.', ':', ' ']);
            match value.split_whitespace().next() {
                Some("enabled") => Some(true),
                Some("disabled") => Some(false),
                _ => None,
            }
        };
        match lines.as_slice() {
            [line] if said(line) == Some(false) => {}
            [line] if said(line) == Some(true) => {
                classes.dirty(class, &VlanSet::all(), format!("{command:?} says {:?}", quoted(line)));
            }
            _ => {
                classes.unread(class, format!("the answer to {command:?} does not say once whether it is on"))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_active_member_is_bundled() {
        for (text, want) in [
            ("po1  Active: gi1/0/1,gi1/0/7-8 Inactive: gi1/0/2", "gi1/0/1 gi1/0/7 gi1/0/8"),
            (
                "Po1  Active: Gi1/0/1, Gi1/0/2,   Dynamic 7 1 Disabled\n     Gi1/0/3\n",
                "gi1/0/1 gi1/0/2 gi1/0/3",
            ),
            ("po1  Active: gi1/0/1,Inactive: gi1/0/2-3", "gi1/0/1"),
            ("po1  Active: gi1/0/1 Non-candidate: gi1/0/2", "gi1/0/1"),
            ("po1  Active: gi1/0/1\n     Non-candidate: gi1/0/2,\n     gi1/0/3", "gi1/0/1"),
            ("po1  Non-candidate: gi1/0/2 Active: gi1/0/1", "gi1/0/1"),
            ("po1  Active: gi1/0/1Standby: gi1/0/2", ""),
            ("po1  gi1/0/1", ""),
        ] {
            let members: Vec<String> = bundles(text).remove("po1").into_iter().flatten().collect();
            assert_eq!(members.join(" "), want, "{text:?}");
        }
    }
}
