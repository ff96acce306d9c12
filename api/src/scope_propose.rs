//! A first scope from what the sources say: what day one needs, for people to correct.
//!
//! A port nothing is declared on that carries VLANs is either infrastructure or an intruder, and no reading can tell
//! which. The proposal lists every such port, commented out, with what it carries; only patch ports that name each
//! other are proposed as links by themselves.

use isoledger_core::model::{Declared, NetworkVlan, Observed, PortId, PortReading, Scope, ScopeSwitch};
use isoledger_core::vlan::VlanSet;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

fn quoted(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

/// How a manager's port labels become a switch's port names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Naming {
    prefix: Option<String>,
    ignore_case: bool,
}

/// The plainest way in which every one of `labels` names a port of `observed`; `None` when there is none.
fn naming(labels: &BTreeSet<&str>, observed: &Observed) -> Option<Naming> {
    let all = |own: &dyn Fn(&str) -> String| labels.iter().all(|l| observed.ports.contains_key(&own(l)));
    let first = *labels.first()?;
    if all(&|l| l.to_owned()) {
        return Some(Naming::default());
    }
    if all(&|l| l.to_ascii_lowercase()) {
        return Some(Naming { ignore_case: true, ..Naming::default() });
    }
    observed
        .ports
        .keys()
        // A prefix ends in a space, or `1/0/1` would be found in `21/0/1` as well.
        .filter_map(|port| port.strip_suffix(first).filter(|prefix| prefix.ends_with(' ')))
        .find(|prefix| all(&|l| format!("{prefix}{l}")))
        .map(|prefix| Naming { prefix: Some(prefix.to_owned()), ..Naming::default() })
}

/// The switch of the configuration, by name, and what its table says about the manager's labels.
fn switches(
    configured: &BTreeSet<String>,
    declared: &Declared,
    observed: &BTreeMap<String, Observed>,
) -> BTreeMap<String, ScopeSwitch> {
    let mut ports: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for p in &declared.registered {
        ports.entry(&p.switch).or_default().insert(&p.port);
    }
    let mut out: BTreeMap<String, ScopeSwitch> =
        configured.iter().map(|name| (name.clone(), ScopeSwitch::default())).collect();
    for (label, ports) in ports {
        // A label that is nobody's name is proposed where its ports are found on one switch and no other.
        let at = match configured.contains(label) {
            true => Some((label, observed.get(label).and_then(|o| naming(&ports, o)).unwrap_or_default())),
            false => {
                let mut found =
                    observed.iter().filter_map(|(name, o)| Some((name.as_str(), naming(&ports, o)?)));
                found.next().filter(|_| found.next().is_none())
            }
        };
        if let Some((name, naming)) = at
            && let Some(switch) = out.get_mut(name)
        {
            switch.labels.insert(label.to_owned());
            switch.ignore_case |= naming.ignore_case;
            switch.prefixes.extend(naming.prefix.map(|p| (label.to_owned(), p)));
        }
    }
    out
}

/// The proposal's text. `failed` names the sources that could not be read, with why.
pub(crate) fn propose(
    domain: &str,
    configured: &BTreeSet<String>,
    declared: Option<&Declared>,
    observed: &BTreeMap<String, Observed>,
    identities: &BTreeMap<String, String>,
    failed: &[(String, String)],
) -> String {
    let mut out = String::new();
    // Writing to a String cannot fail.
    let mut put = |text: String| {
        let _ = writeln!(out, "{text}");
    };
    put("# A proposed scope. Read every line before you use it: what stands here is allowed from then on."
        .into());
    put("# Tables that are commented out are ports that carry VLANs nobody declares. Each is a link, an exit, or an".into());
    put("# intruder; only you know which. Uncomment what is right and leave the rest to be found.".into());
    for (name, why) in failed {
        put(format!("# NOT READ: {name}: {}", why.replace('\n', " ")));
    }
    put(format!("\ndomain = {}", quoted(domain)));
    put("# Show tenants the names of ports and switches instead of opaque handles.".into());
    put("disclose-ports = false".into());
    let empty = Declared::default();
    let declared = declared.unwrap_or(&empty);
    let labels: BTreeSet<&str> = declared.registered.iter().map(|p| p.switch.as_str()).collect();
    let in_use: VlanSet = declared
        .networks
        .values()
        .filter_map(|n| match n.vlan {
            NetworkVlan::Id(v) => Some(v),
            NetworkVlan::Unassessable(_) => None,
        })
        .collect();
    let switches = switches(configured, declared, observed);
    for (name, switch) in &switches {
        put(format!("\n[switches.{}]", quoted(name)));
        if switch.labels.is_empty() {
            put("# The cloud manager knows no switch of this name; its labels for it go here.".into());
        } else if !switch.labels.contains(name) {
            put("# Proposed because the ports of these labels are found on this switch and on no other."
                .into());
        }
        let labels: Vec<String> = switch.labels.iter().map(|l| quoted(l)).collect();
        put(format!("labels = [{}]", labels.join(", ")));
        if !switch.prefixes.is_empty() {
            let all = switch.prefixes.iter().map(|(l, p)| format!("{} = {}", quoted(l), quoted(p)));
            put(format!("prefixes = {{ {} }}", all.collect::<Vec<_>>().join(", ")));
        }
        if switch.ignore_case {
            put("ignore-case = true".into());
        }
        match identities.get(name) {
            Some(id) => put(format!("identity = {}", quoted(id))),
            None => put("# identity = \"…\"    not read".into()),
        }
    }
    let known: BTreeSet<&str> = switches.values().flat_map(|s| &s.labels).map(String::as_str).collect();
    for label in labels.difference(&known) {
        put(format!(
            "\n# The cloud manager has a switch {} that no configured switch is named after. Add it to `labels` of the\n\
             # one it means; until then networks with attachments on it are unknown.",
            quoted(label)
        ));
    }
    let scope = Scope { switches, ..Scope::default() };
    let names = scope.names();
    let declared_ports: BTreeSet<PortId> = declared
        .attachments
        .iter()
        .filter_map(|a| a.port.as_ref())
        .chain(declared.cabling.iter().map(|c| &c.port))
        .map(|port| names.port(port))
        .collect();
    for (switch, o) in observed {
        for (port, reading) in &o.ports {
            let id = PortId::new(switch.as_str(), port.as_str());
            if declared_ports.contains(&id) {
                continue;
            }
            match reading {
                PortReading::Read(s) if s.aggregate.is_none() => {
                    let carried = s.carries();
                    let touched = carried.intersection(&in_use);
                    if touched.is_empty() {
                        continue;
                    }
                    let name = format!("{switch}-{port}").replace(|c: char| !c.is_ascii_alphanumeric(), "-");
                    put(format!(
                        "\n# {id} carries {carried}{}; of these, declared networks use {touched}.",
                        s.untagged.map_or(String::new(), |v| format!(" ({v} untagged)"))
                    ));
                    put(format!(
                        "# [[exit]]\n# name = {}\n# kind = \"router\"    # or manager-host, unaudited-switch, local\n\
                         # switch = {}\n# port = {}\n# vlans = {}",
                        quoted(&name),
                        quoted(switch),
                        quoted(port),
                        quoted(&touched.to_string())
                    ));
                    put(format!(
                        "# [[link]]\n# a = {{ switch = {}, port = {} }}\n# b = {{ switch = \"…\", port = \"…\" }}\n# vlans = {}",
                        quoted(switch),
                        quoted(port),
                        quoted(&touched.to_string())
                    ));
                }
                PortReading::Read(_) => {}
                PortReading::Unreadable { why, .. } => {
                    put(format!("\n# {id} could not be understood: {}", why.replace('\n', " ")));
                    put(format!(
                        "# [[unassessed]]\n# switch = {}\n# port = {}\n# reason = \"…\"",
                        quoted(switch),
                        quoted(port)
                    ));
                }
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use isoledger_core::model::PortState;

    fn observed(ports: &[&str]) -> Observed {
        let read = || PortReading::Read(PortState::default());
        Observed { ports: ports.iter().map(|p| ((*p).to_owned(), read())).collect(), ..Observed::default() }
    }

    #[test]
    fn labels_are_matched_to_the_ports_they_name() {
        let observed: BTreeMap<String, Observed> = [
            (
                "vdx",
                observed(&[
                    "TenGigabitEthernet 1/0/1",
                    "TenGigabitEthernet 21/0/1",
                    "FortyGigabitEthernet 1/0/49",
                ]),
            ),
            ("nexus", observed(&["ethernet1/1", "ethernet1/2"])),
            ("dell", observed(&["gi1/0/1", "gi1/0/2"])),
        ]
        .map(|(n, o)| (n.to_owned(), o))
        .into();
        let ports = [
            ("vdx-te", "1/0/1"),
            ("vdx-fo", "1/0/49"),
            ("nexus", "Ethernet1/2"),
            ("nexus", "ethernet1/1"),
            ("dell", "gi1/0/1"),
            ("elsewhere", "gi9/9/9"),
        ];
        let declared =
            Declared { registered: ports.map(|(s, p)| PortId::new(s, p)).into(), ..Declared::default() };
        let configured = ["vdx", "nexus", "dell"].map(str::to_owned).into();
        let found = switches(&configured, &declared, &observed);
        let labels = |name: &str| found[name].labels.iter().cloned().collect::<Vec<_>>().join(" ");
        assert_eq!(labels("vdx"), "vdx-fo vdx-te");
        assert_eq!(found["vdx"].prefixes["vdx-te"], "TenGigabitEthernet ");
        assert_eq!(found["vdx"].prefixes["vdx-fo"], "FortyGigabitEthernet ");
        assert!(found["nexus"].ignore_case && labels("nexus") == "nexus");
        assert!(!found["dell"].ignore_case && labels("dell") == "dell");
        let text = propose("lab", &configured, Some(&declared), &observed, &BTreeMap::new(), &[]);
        assert!(text.contains("a switch \"elsewhere\" that no configured switch"), "{text}");
        assert!(text.contains("ignore-case = true"), "{text}");
    }
}
