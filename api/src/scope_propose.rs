//! A first scope from what the sources say: what day one needs, for people to correct.
//!
//! A port nothing is declared on that carries VLANs is either infrastructure or an intruder, and no reading can tell
//! which. The proposal lists every such port, commented out, with what it carries; only patch ports that name each
//! other are proposed as links by themselves.

use isoledger_core::model::{Declared, NetworkVlan, Observed, PortId, PortReading};
use isoledger_core::vlan::VlanSet;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

fn quoted(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
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
    for name in configured {
        put(format!("\n[switches.{}]", quoted(name)));
        if labels.contains(name.as_str()) {
            put(format!("labels = [{}]", quoted(name)));
        } else {
            put("# The cloud manager knows no switch of this name; its labels for it go here.".into());
            put("labels = []".into());
        }
        match identities.get(name) {
            Some(id) => put(format!("identity = {}", quoted(id))),
            None => put("# identity = \"…\"    not read".into()),
        }
    }
    let known: BTreeSet<&str> = configured.iter().map(String::as_str).collect();
    for label in labels.difference(&known) {
        put(format!(
            "\n# The cloud manager has a switch {} that no configured switch is named after. Add it to `labels` of the\n\
             # one it means; until then networks with attachments on it are unknown.",
            quoted(label)
        ));
    }
    let declared_ports: BTreeSet<PortId> = declared
        .attachments
        .iter()
        .filter_map(|a| a.port.clone())
        .chain(declared.cabling.iter().map(|c| c.port.clone()))
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
