//! The scope file: TOML for people, the scope of core for the ledger.

use crate::failure::Failure;
use isoledger_core::model::{Exit, ExitKind, Link, PortId, Scope, ScopeSwitch, Unassessed};
use isoledger_core::vlan::VlanSet;
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct File {
    domain: String,
    #[serde(default)]
    disclose_ports: bool,
    #[serde(default)]
    switches: BTreeMap<String, FileSwitch>,
    #[serde(default, rename = "link")]
    links: Vec<FileLink>,
    #[serde(default, rename = "exit")]
    exits: Vec<FileExit>,
    #[serde(default)]
    unassessed: Vec<FileUnassessed>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct FileSwitch {
    #[serde(default)]
    labels: BTreeSet<String>,
    #[serde(default)]
    prefixes: BTreeMap<String, String>,
    #[serde(default)]
    ignore_case: bool,
    #[serde(default)]
    identity: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FilePort {
    switch: String,
    port: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FileLink {
    a: FilePort,
    b: FilePort,
    vlans: VlanSet,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FileExit {
    name: String,
    kind: ExitKind,
    switch: String,
    port: String,
    vlans: VlanSet,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FileUnassessed {
    switch: String,
    port: String,
    reason: String,
}

/// Reads a scope file and checks it against the configured switches. `declared` are the exits that a declared-state
/// file has, with its path.
pub(crate) fn load(
    path: &Path,
    domain: &str,
    configured: &BTreeSet<String>,
    declared: Option<(&Path, Vec<Exit>)>,
) -> Result<Scope, Failure> {
    let text = std::fs::read_to_string(path).map_err(|e| {
        Failure(format!(
            "{}: {e}; write one with: isoledger scope propose --out {}, and read it before you use it",
            path.display(),
            path.display()
        ))
    })?;
    let mut scope = parse(path, &text, domain, configured)?;
    if let Some((from, exits)) = declared {
        add_exits(&mut scope, exits).map_err(|e| Failure(format!("{}: {e}", from.display())))?;
    }
    Ok(scope)
}

/// Adds exits that another file has to those of the scope.
fn add_exits(scope: &mut Scope, exits: Vec<Exit>) -> Result<(), String> {
    for exit in exits {
        let Exit { name, port, .. } = &exit;
        if !scope.switches.contains_key(&port.switch) {
            return Err(format!(
                "exit {name:?} is on the switch {:?}, which the scope does not have",
                port.switch
            ));
        }
        if scope.exits.iter().any(|known| known.name == *name) {
            return Err(format!("exit {name:?} is in the scope file as well; keep one of the two"));
        }
        let taken = scope.exits.iter().any(|known| known.port == *port)
            || scope.links.iter().any(|l| l.a == *port || l.b == *port);
        if taken {
            return Err(format!(
                "the port of exit {name:?}, {port}, is a link or an exit already; once is allowed"
            ));
        }
        scope.exits.push(exit);
    }
    Ok(())
}

fn parse(path: &Path, text: &str, domain: &str, configured: &BTreeSet<String>) -> Result<Scope, Failure> {
    let bad = |what: String| Failure(format!("{}: {what}", path.display()));
    let file: File = toml::from_str(text).map_err(|e| bad(e.to_string().trim_end().to_owned()))?;
    if file.domain != domain {
        return Err(bad(format!("domain is {:?}; the configuration says {domain:?}", file.domain)));
    }
    let named: BTreeSet<String> = file.switches.keys().cloned().collect();
    if let Some(extra) = named.difference(configured).next() {
        return Err(bad(format!(
            "switch {extra:?} is not in the configuration; give it a table [switches.{extra}] there, or take it out here"
        )));
    }
    if let Some(missing) = configured.difference(&named).next() {
        return Err(bad(format!(
            "switch {missing:?} of the configuration is missing; add [switches.{missing}] here, or take it out there"
        )));
    }
    let mut labels: BTreeMap<&str, &str> = BTreeMap::new();
    for (name, s) in &file.switches {
        let own: Vec<&str> =
            if s.labels.is_empty() { vec![name] } else { s.labels.iter().map(String::as_str).collect() };
        if let Some(stray) = s.prefixes.keys().find(|label| !own.contains(&label.as_str())) {
            return Err(bad(format!(
                "switch {name:?} has a prefix for the label {stray:?}, which is none of its labels; they are {own:?}"
            )));
        }
        for label in own {
            if let Some(other) = labels.insert(label, name) {
                return Err(bad(format!(
                    "label {label:?} stands for both {other:?} and {name:?}; it must mean one switch"
                )));
            }
        }
    }
    let mut seen: BTreeMap<PortId, &'static str> = BTreeMap::new();
    let mut port = |switch: &str, port: &str, what: &'static str| -> Result<PortId, Failure> {
        if !named.contains(switch) {
            return Err(bad(format!(
                "{what} {switch:?} {port:?}: there is no switch {switch:?} in this scope"
            )));
        }
        // Such a switch names its ports in lower case, so this one would never be found.
        if file.switches.get(switch).is_some_and(|s| s.ignore_case)
            && port.contains(|c: char| c.is_ascii_uppercase())
        {
            return Err(bad(format!(
                "{what} {switch:?} {port:?}: the ports of a switch with ignore-case are written in lower case, {:?}",
                port.to_ascii_lowercase()
            )));
        }
        let id = PortId::new(switch, port);
        if let Some(other) = seen.insert(id.clone(), what) {
            return Err(bad(format!("port {id} is listed as {other} and again as {what}; once is allowed")));
        }
        Ok(id)
    };
    let mut scope =
        Scope { domain: file.domain.clone(), disclose_ports: file.disclose_ports, ..Scope::default() };
    for l in &file.links {
        let (a, b) =
            (port(&l.a.switch, &l.a.port, "a link end")?, port(&l.b.switch, &l.b.port, "a link end")?);
        scope.links.push(Link { a, b, vlans: l.vlans.clone() });
    }
    let mut names = BTreeSet::new();
    for e in &file.exits {
        if !names.insert(&e.name) {
            return Err(bad(format!("two exits are named {:?}; tenants tell them apart by name", e.name)));
        }
        let id = port(&e.switch, &e.port, "an exit")?;
        scope.exits.push(Exit { name: e.name.clone(), kind: e.kind, port: id, vlans: e.vlans.clone() });
    }
    for u in &file.unassessed {
        let id = PortId::new(u.switch.as_str(), u.port.as_str());
        if !named.contains(&u.switch) {
            return Err(bad(format!(
                "unassessed port {id}: there is no switch {:?} in this scope",
                u.switch
            )));
        }
        scope.unassessed.push(Unassessed { port: id, reason: u.reason.clone() });
    }
    scope.switches = file
        .switches
        .into_iter()
        .map(|(name, s)| {
            let FileSwitch { labels, prefixes, ignore_case, identity } = s;
            (name, ScopeSwitch { labels, prefixes, ignore_case, identity })
        })
        .collect();
    Ok(scope)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = r#"
        domain = "lab"
        [switches.sw1]
        labels = ["hil-sw1"]
        prefixes = { hil-sw1 = "Te " }
        [switches.sw2]
        ignore-case = true
        [[link]]
        a = { switch = "sw1", port = "t0" }
        b = { switch = "sw2", port = "t0" }
        vlans = "100-101"
        [[exit]]
        name = "core-router"
        kind = "router"
        switch = "sw1"
        port = "up"
        vlans = "100"
        [[unassessed]]
        switch = "sw1"
        port = "odd"
        reason = "being replaced"
    "#;

    fn read(text: &str) -> Result<Scope, Failure> {
        let configured = ["sw1".to_owned(), "sw2".to_owned()].into();
        parse(Path::new("scope.toml"), text, "lab", &configured)
    }

    #[test]
    fn a_scope_reads() {
        let s = read(GOOD).unwrap();
        assert_eq!(s.names().port(&PortId::new("hil-sw1", "1/0/1")), PortId::new("sw1", "Te 1/0/1"));
        assert_eq!(s.names().port(&PortId::new("sw2", "Ethernet1/1")), PortId::new("sw2", "ethernet1/1"));
        assert_eq!((s.links.len(), s.exits.len(), s.unassessed.len()), (1, 1, 1));
    }

    #[test]
    fn exits_of_a_declared_state_file_are_taken_in() {
        let exit = |name: &str, switch: &str, port: &str| Exit {
            name: name.to_owned(),
            kind: ExitKind::Router,
            port: PortId::new(switch, port),
            vlans: VlanSet::all(),
        };
        let mut scope = read(GOOD).unwrap();
        add_exits(&mut scope, vec![exit("second", "sw2", "up")]).unwrap();
        assert_eq!(scope.exits.len(), 2);
        for (wrong, said) in [
            (exit("third", "sw9", "up"), "which the scope does not have"),
            (exit("core-router", "sw2", "x"), "in the scope file as well"),
            (exit("third", "sw2", "up"), "once is allowed"),
            (exit("third", "sw2", "t0"), "once is allowed"),
        ] {
            let e = add_exits(&mut scope, vec![wrong]).unwrap_err();
            assert!(e.contains(said), "{e}");
        }
    }

    #[test]
    fn mistakes_are_named() {
        for (from, to, said) in [
            ("domain = \"lab\"", "domain = \"x\"", "domain is \"x\""),
            ("[switches.sw2]", "[switches.sw3]", "\"sw3\" is not in the configuration"),
            ("[switches.sw2]\n        ignore-case = true", "", "\"sw2\" of the configuration is missing"),
            ("prefixes = { hil-sw1", "prefixes = { hil-sw2", "a prefix for the label \"hil-sw2\""),
            ("vlans = \"100-101\"", "vlans = \"0-101\"", "a set of VLANs"),
            ("port = \"up\"", "port = \"t0\"", "listed as a link end and again as an exit"),
            (
                "switch = \"sw1\"\n        port = \"up\"",
                "switch = \"sw9\"\n port = \"up\"",
                "no switch \"sw9\"",
            ),
            (
                "labels = [\"hil-sw1\"]\n        prefixes = { hil-sw1 = \"Te \" }",
                "labels = [\"sw2\"]",
                "stands for both",
            ),
            ("kind = \"router\"", "kind = \"rooter\"", "unknown variant"),
            (
                "b = { switch = \"sw2\", port = \"t0\" }",
                "b = { switch = \"sw2\", port = \"T0\" }",
                "written in lower case, \"t0\"",
            ),
        ] {
            assert!(GOOD.contains(from), "{from}");
            let Failure(e) = read(&GOOD.replacen(from, to, 1)).unwrap_err();
            assert!(e.contains(said), "{to}: {e}");
        }
    }
}
