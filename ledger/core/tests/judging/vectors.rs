//! Vectors of judging, `tests/vectors/judge`, and of the canonical JSON of slices, `tests/vectors/slice`.
//!
//! A judge vector is a JSON file with a member a line: what is expected, the five sections of the common part, the
//! slice, the network's section and the judgement, each exactly as it is hashed. The scenarios below say where they
//! came from; a changed byte in any of them is a changed format, so the files are compared and never silently
//! rewritten. `ISOLEDGER_WRITE_VECTORS=1` writes them anew.

use crate::domain::Domain;
use isoledger_core::json::{self, JsonError};
use isoledger_core::judge::{CommonIndex, Inconsistent, Judgement, judge};
use isoledger_core::model::BypassClass;
use isoledger_core::slice::*;
use std::collections::BTreeSet;

const VECTORS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/vectors");

// Two tenants on one switch.
const PLAIN: &str = "
    net red 100 of red
    net blue 200 of blue
    switch a
    attach red red/n1/eth0 a 1 native
    attach blue blue/n2/eth0 a 2 native
    port a 1 untagged 100
    port a 2 untagged 200
";

const LINK: &str = "switch b\nlink a 9 b 9 100-200";

// File, what the domain has besides, and what the vector is about. All judge `red`.
const SCENARIOS: &[(&str, &str, &str)] = &[
    ("isolated", "", "one attachment, carried as declared"),
    ("isolated_disclosed", "disclose", "names beside the handles"),
    ("isolated_public", "net red 100 of red public", "a null access list: any project may join"),
    ("isolated_admin", "net red 100 of admin with red", "owned by the administrators"),
    ("foreign_port", "port a 3 untagged 100\nknown a 3", "a registered port carries the VLAN undeclared"),
    ("foreign_port_mixed", "cable a 1 n9/eth0", "nics of two nodes on one port"),
    ("unregistered_port", "port a 3 tagged 100", "a port the manager does not know"),
    ("latent_port", "port a 3 tagged 100 down", "would be foreign, but is down"),
    ("latent_port_wide", "port a 3 tagged 1-300 down", "the same with 300 VLANs"),
    ("all_vlans", "port a 3 tagged all", "every VLAN on a port of nobody"),
    ("all_vlans_own", "port a 1 untagged 100 tagged all", "every VLAN on the tenant's own port"),
    ("all_vlans_exit", "port a 9 tagged all\nexit core router a 9 all", "every VLAN on an exit that may"),
    (
        "all_vlans_exit_other",
        "port a 9 tagged all\nexit core router a 9 200",
        "every VLAN on an exit that may carry others",
    ),
    ("wide_foreign", "port a 3 tagged 1-300\nknown a 3", "300 VLANs on a port of nobody"),
    ("wide_declared", "port a 1 untagged 100 tagged 101-400", "300 VLANs on the tenant's own port"),
    ("wide_threshold", "port a 3 tagged 100-355", "256 VLANs are listed in each slice"),
    (
        "foreign_member",
        "net red 100 of red\nattach red blue/n3/eth0 a 3 native\nport a 3 untagged 100",
        "a node of a project without access",
    ),
    ("foreign_member_free", "attach red -/n3/eth0 a 3 native\nport a 3 untagged 100", "a node of nobody"),
    ("shared_vlan", "net pink 100 of red", "two networks on one VLAN, of one owner"),
    ("missing_port", "port a 1", "declared and not carried"),
    (
        "missing_port_unknown",
        "attach red red/n3/eth0 nowhere native",
        "a nic whose port the manager does not know",
    ),
    ("wrong_tagging", "port a 1 tagged 100", "declared untagged and carried tagged"),
    ("in_transition", "port a 3 untagged 100\nmoving a 3", "a port that is being changed"),
    (
        "in_transition_member",
        "attach red blue/n3/eth0 a 3 native\nport a 3 untagged 100\nmoving a 3",
        "a foreign member on such a port",
    ),
    (
        "in_transition_unassessed",
        "attach red blue/n3/eth0 a 3 native\nport a 3 untagged 100\nmoving a 3\nunassessed a 3",
        "the same on a port that is not assessed",
    ),
    ("unreadable_port", "port a 3 unreadable 100-150", "a reading not understood"),
    ("unreadable_port_wide", "port a 3 unreadable all", "that might carry anything"),
    ("unreadable_switch", "switch a unreadable", "an answer not understood"),
    ("unreadable_source_changed", "switch a source-changed", "another host key"),
    (
        "unreadable_garbled",
        "switch a garbled\nport a 1 untagged 100",
        "a switch with one line not understood",
    ),
    ("silent_switch", "switch a silent", "no answer"),
    ("silent_island", "switch b silent", "a switch the network does not reach"),
    ("silent_linked", "switch b silent\nlink a 9 b 9 all\nport a 9 tagged 100", "a switch behind a link"),
    (
        "silent_behind_exit",
        "switch b silent\nport a 9 tagged 100\nexit core unaudited-switch a 9 all",
        "the VLAN goes on through an unaudited switch",
    ),
    (
        "silent_behind_router",
        "switch b silent\nport a 9 tagged 100\nexit core router a 9 all",
        "the VLAN ends at a router",
    ),
    (
        "silent_behind_unassessed",
        "switch b silent\nport a 9 tagged 100\nunassessed a 9",
        "the VLAN goes on through a port not assessed",
    ),
    ("silent_unplaced", "switch b silent\nattach red red/n3/eth0 nowhere native", "a nic may be anywhere"),
    (
        "silent_empty",
        "ALONE\nnet red 100 of red\nswitch a silent",
        "a network without attachments is nowhere in particular",
    ),
    (
        "silent_linked_wide",
        "switch b silent\nlink a 9 b 9 all\nport a 9 tagged 1-300",
        "a switch behind a link of 300 VLANs",
    ),
    (
        "silent_behind_unassessed_wide",
        "switch b silent\nport a 9 tagged 1-300\nunassessed a 9",
        "the VLAN goes on through a port not assessed, of 300 VLANs",
    ),
    (
        "bypass_behind_unassessed_wide",
        "switch b\nlink a 3 b 3 all\nport a 3 unreadable all\nunassessed a 3\nbypass b mirror dirty 100",
        "a mirror behind a link not assessed and not understood",
    ),
    ("silent_unaudited", "attach red red/n3/eth0 far 1 native", "a node on a switch nobody audits"),
    ("silent_outside", "link a 9 far 9 all\nport a 9 tagged 100", "a link into a switch outside the scope"),
    (
        "silent_manager",
        "manager silent\nport a 3 untagged 100\nport a 1 tagged 100\nnet pink 100 of pink",
        "nothing that rests on the declaration is found",
    ),
    (
        "silent_manager_all_vlans",
        "manager silent\nport a 3 tagged all",
        "what the switch says by itself stands",
    ),
    ("unreadable_manager", "manager garbled", "an anomaly in the declaration"),
    ("unassessed", "port a 3 untagged 100\nunassessed a 3", "a port the operator does not assess"),
    (
        "unassessed_unreadable_wide",
        "port a 3 unreadable all\nunassessed a 3\nswitch b silent\nlink a 3 b 3 all",
        "not understood either, and a link",
    ),
    ("exit", "port a 9 tagged 100\nexit core manager-host a 9 100", "an exit"),
    ("bypass", "bypass a mirror dirty 90-110", "a mirror of the VLAN"),
    ("bypass_other", "bypass a mirror dirty 200", "a mirror of another VLAN"),
    ("bypass_open_port", "port a 7 unfiltered", "a port that lets every tag in"),
    ("bypass_unread", "bypass a routing unread", "a class that was not read"),
    ("bypass_accepted", "bypass a routing unread\naccept routing", "and is accepted by who asks"),
    ("native_mismatch", "LINK\nport a 9 untagged 100\nport b 9 tagged 100", "untagged here, tagged there"),
    ("native_mismatch_none", "LINK\nport a 9 untagged 100\nport b 9", "untagged here, nothing there"),
    (
        "native_mismatch_wide",
        "LINK\nport a 9 untagged 100\nport b 9 tagged 100-400",
        "untagged here, one of many there",
    ),
    ("native_match", "LINK\nport a 9 untagged 100\nport b 9 untagged 100", "untagged at both ends"),
    ("native_down", "LINK\nport a 9 untagged 100\nport b 9 down", "the other end is down"),
    (
        "native_unreadable",
        "LINK\nport a 9 untagged 100\nport b 9 unreadable 150",
        "the other end was not understood",
    ),
    ("bundle", "port a po1 untagged 100 members 1\nport a 1 in po1", "an attachment on a member of a bundle"),
    ("bundle_lost", "port a 3 in po9", "a member of a bundle that is not there"),
    (
        "passed_foreign",
        "cable a 3 n9/eth0\nbetween a 3 100",
        "the port of a free node carried the VLAN between two readings",
    ),
    ("passed_unregistered", "between a 3 100", "a port the manager does not know did"),
    (
        "passed_explained",
        "cable a 3 n9/eth0\nheld n9 red\nbetween a 3 100",
        "a port did whose node may be on the network",
    ),
    ("passed_declared", "port a 1\nbetween a 1 100", "declared, and carried at neither reading"),
    ("passed_exit", "port a 9\nexit core router a 9 100\nbetween a 9 100", "an exit that may carry it did"),
    (
        "passed_down",
        "port a 3 tagged 100 down\nbetween a 3 100",
        "a port was up for a while that carries the VLAN but is down",
    ),
    ("passed_moving", "moving a 3\nknown a 3\nbetween a 3 100", "a port in transition did"),
    (
        "passed_unassessed",
        "known a 3\nbetween a 3 100\nunassessed a 3\nswitch b silent",
        "a port not assessed did, and the VLAN went on",
    ),
    ("passed_all", "between a 3 all all", "a port carried every VLAN between two readings"),
    ("passed_wide", "known a 3\nbetween a 3 100-400", "a port carried 301 VLANs"),
    (
        "passed_wide_explained",
        "cable a 3 n9/eth0\nheld n9 red\nbetween a 3 all all",
        "the same, of a node that may be on the network",
    ),
    ("passed_wide_declared", "port a 1\nbetween a 1 100-400", "the same, on the tenant's own port"),
    (
        "passed_wide_exit",
        "port a 9\nexit core router a 9 100\nbetween a 9 all all",
        "the same, of an exit that may carry the VLAN",
    ),
    (
        "order_of_precedence",
        "switch b silent\nlink a 9 b 9 all\nport a 9 tagged 100\nport a 3 tagged 100\nport a 1",
        "an isolation finding outweighs a visibility finding",
    ),
];

struct Parts {
    accept: BTreeSet<BypassClass>,
    common: Common,
    slice: Slice,
    section: NetworkSection,
}

type Edit = fn(&mut Parts);

// Slices that contradict themselves: refused, whatever they would be judged as (or judged by what nobody read).
const LIES: &[(&str, &str, Edit, &str)] = &[
    (
        "lie_no_section",
        "no-section",
        |p| p.section.name = "red-net".into(),
        "the section is not the one the slice lists",
    ),
    (
        "lie_other_vlan",
        "other-slice",
        |p| p.slice.vlan = isoledger_core::VlanId::new(101).unwrap(),
        "slice and section of different VLANs",
    ),
    ("lie_other_lease", "other-slice", |p| p.slice.lease += 1, "slice and section of different leases"),
    ("lie_port_twice", "order", |p| p.slice.ports.push(p.slice.ports[0].clone()), "a port listed twice"),
    ("lie_ports_swapped", "order", |p| p.slice.ports.reverse(), "ports not in order"),
    ("lie_networks_swapped", "order", |p| p.slice.networks.reverse(), "networks not in order"),
    (
        "lie_roster_twice",
        "order",
        |p| p.common.roster.switches.push(p.common.roster.switches[0].clone()),
        "a switch in the roster twice",
    ),
    (
        "lie_roster_lacks_switch",
        "violated",
        |p| p.common.roster.switches.clear(),
        "not refused: a switch on no list was read by nobody",
    ),
    (
        "lie_passed_twice",
        "order",
        |p| {
            let of = &p.slice.ports[0];
            let passed = PassedPort {
                switch: of.switch,
                port: of.port,
                name: None,
                vlans: isoledger_core::VlanSet::all(),
                all: true,
                allowed: isoledger_core::VlanSet::empty(),
                link: None,
                exit: None,
                registered: false,
                unassessed: false,
                moving: false,
            };
            p.common.wide.passed = vec![passed.clone(), passed];
        },
        "a port listed twice among those that passed",
    ),
    (
        "lie_coverage_twice",
        "order",
        |p| {
            let u = Unread {
                switch: p.common.roster.switches[0].switch,
                failure: isoledger_core::model::Failure::Silent,
            };
            p.common.coverage.switches = vec![u.clone(), u];
        },
        "a switch not read twice",
    ),
    (
        "lie_declared_by_nobody",
        "attachments",
        |p| p.slice.ports.iter_mut().for_each(|p| p.declared.clear()),
        "an attachment that no port declares",
    ),
    (
        "lie_declared_twice",
        "attachments",
        |p| {
            let d = &mut p.slice.ports.iter_mut().find(|p| !p.declared.is_empty()).unwrap().declared;
            d.push(d[0]);
        },
        "a declaration without attachment",
    ),
    (
        "lie_declared_otherwise",
        "attachments",
        |p| {
            let d = &mut p.slice.ports.iter_mut().find(|p| !p.declared.is_empty()).unwrap().declared;
            d[0].carried = Carries::Tagged;
        },
        "attached untagged, declared tagged",
    ),
    (
        "lie_declared_for_no_network",
        "attachments",
        |p| {
            let d = &mut p.slice.ports.iter_mut().find(|p| !p.declared.is_empty()).unwrap().declared;
            d.push(DeclaredAs { network: 2, carried: Carries::Tagged });
        },
        "declared for a network that is not listed",
    ),
];

fn parts(more: &str) -> Parts {
    let text = more.replace("LINK", LINK);
    let d = match text.strip_prefix("ALONE") {
        Some(alone) => Domain::parse(alone),
        None => Domain::parse(&format!("{PLAIN}\n{text}")),
    };
    let a = d.assemble();
    let section = a.networks["red"].clone();
    Parts { accept: d.accept, slice: a.slices[&section.vlan.get()].clone(), section, common: a.common }
}

fn kind(e: &Inconsistent) -> &'static str {
    match e {
        Inconsistent::NoSection { .. } => "no-section",
        Inconsistent::OtherSlice { .. } => "other-slice",
        Inconsistent::Order => "order",
        Inconsistent::Attachments { .. } => "attachments",
    }
}

fn file(comment: &str, p: &Parts, judged: &Result<Judgement, Inconsistent>) -> String {
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    let [roster, scope, coverage, bypasses, wide] = p.common.sections().map(text);
    let (expect, judgement) = match judged {
        Ok(j) => (j.verdict.name(), Some(text(json::to_canonical(j)))),
        Err(e) => (kind(e), None),
    };
    let mut members = vec![
        ("expect", text(json::to_canonical(&expect))),
        ("comment", text(json::to_canonical(&comment))),
        ("accept", text(json::to_canonical(&p.accept))),
        ("roster", roster),
        ("scope", scope),
        ("coverage", coverage),
        ("bypasses", bypasses),
        ("wide", wide),
        ("common", text(json::to_canonical(&p.common.part()))),
        ("slice", text(json::to_canonical(&p.slice))),
        ("section", text(json::to_canonical(&p.section))),
    ];
    members.extend(judgement.map(|j| ("judgement", j)));
    let lines: Vec<String> = members.iter().map(|(name, value)| format!("{name:?}: {value}")).collect();
    format!("{{\n{}\n}}\n", lines.join(",\n"))
}

fn made() -> Vec<(String, String)> {
    let judged = |p: &Parts| judge(&CommonIndex::new(&p.common), &p.slice, &p.section, &p.accept);
    let mut files = Vec::new();
    for (name, more, comment) in SCENARIOS {
        let p = parts(more);
        files.push(((*name).to_owned(), file(comment, &p, &judged(&p))));
    }
    for (name, _, edit, comment) in LIES {
        // Several networks and ports, so that there is an order to break.
        let mut p = parts("net pink 100 of pink\nattach red red/n3/eth0 a 3 native\nport a 3 untagged 100");
        edit(&mut p);
        files.push(((*name).to_owned(), file(comment, &p, &judged(&p))));
    }
    files
}

#[test]
fn judge_vectors_follow_from_their_scenarios() {
    let dir = format!("{VECTORS}/judge");
    if std::env::var_os("ISOLEDGER_WRITE_VECTORS").is_some() {
        std::fs::create_dir_all(&dir).unwrap();
        for (name, text) in made() {
            std::fs::write(format!("{dir}/{name}.json"), text).unwrap();
        }
    }
    for (name, text) in made() {
        let found = std::fs::read_to_string(format!("{dir}/{name}.json")).unwrap();
        assert_eq!(found, text, "{name}");
    }
    assert_eq!(
        std::fs::read_dir(dir).unwrap().count(),
        SCENARIOS.len() + LIES.len(),
        "a vector without scenario"
    );
    for (name, wanted, ..) in LIES {
        let text = std::fs::read_to_string(format!("{VECTORS}/judge/{name}.json")).unwrap();
        assert!(text.contains(&format!("\"expect\": \"{wanted}\"")), "{name}");
    }
}

// As a stranger would: bytes in, judgement out.
#[test]
fn judge_vectors() {
    for entry in std::fs::read_dir(format!("{VECTORS}/judge")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.display();
        let text = std::fs::read_to_string(&path).unwrap();
        serde_json::from_str::<serde::de::IgnoredAny>(&text).unwrap();
        let find = |member: &str| {
            let start = format!("{member:?}: ");
            text.lines().find_map(|l| l.strip_prefix(&start)).map(|v| v.strip_suffix(',').unwrap_or(v))
        };
        let part = |member: &str| find(member).unwrap_or_else(|| panic!("{name}: {member} is missing"));
        fn read<T: serde::Serialize + serde::de::DeserializeOwned>(text: &str) -> T {
            json::from_canonical("a vector", text.as_bytes(), MAX_SLICE).unwrap()
        }
        let listed: CommonPart = read(part("common"));
        let sections = ["roster", "scope", "coverage", "bypasses", "wide"].map(|m| part(m).as_bytes());
        let common = Common::open(&listed, |digest| {
            sections.into_iter().find(|s| isoledger_core::Digest::of(s) == *digest)
        })
        .unwrap();
        let accept: BTreeSet<BypassClass> = read(part("accept"));
        let expect: String = read(part("expect"));
        match judge(&CommonIndex::new(&common), &read(part("slice")), &read(part("section")), &accept) {
            Ok(j) => {
                assert_eq!(j.verdict.name(), expect, "{name}");
                assert_eq!(String::from_utf8(json::to_canonical(&j)).unwrap(), part("judgement"), "{name}");
            }
            Err(e) => {
                assert_eq!(kind(&e), expect, "{name}");
                assert_eq!(find("judgement"), None, "{name}");
            }
        }
    }
}

#[test]
fn slice_vectors() {
    fn read<T: serde::Serialize + serde::de::DeserializeOwned>(bytes: &[u8]) -> &'static str {
        match json::from_canonical::<T>("a vector", bytes, MAX_SLICE) {
            Ok(value) => {
                assert_eq!(json::to_canonical(&value), bytes);
                "ok"
            }
            Err(JsonError::TooLarge { .. }) => "too-large",
            Err(JsonError::Malformed { .. }) => "malformed",
            Err(JsonError::NotCanonical { .. }) => "not-canonical",
        }
    }
    let mut count = 0;
    for entry in std::fs::read_dir(format!("{VECTORS}/slice")).unwrap() {
        let path = entry.unwrap().path();
        let bytes = std::fs::read(&path).unwrap();
        let split = bytes.windows(5).position(|w| w == b"\n---\n").unwrap();
        let head = std::str::from_utf8(&bytes[..split]).unwrap();
        let header =
            |name: &str| head.lines().find_map(|l| l.strip_prefix(name)?.strip_prefix(": ")).unwrap();
        let body = &bytes[split + 5..];
        let found = match header("kind") {
            "slice" => read::<Slice>(body),
            "section" => read::<NetworkSection>(body),
            "common" => read::<CommonPart>(body),
            "roster" => read::<Roster>(body),
            "scope" => read::<ScopeView>(body),
            "coverage" => read::<Coverage>(body),
            "bypasses" => read::<Bypasses>(body),
            "wide" => read::<Wide>(body),
            other => panic!("{}: {other}", path.display()),
        };
        assert_eq!(found, header("expect"), "{}: {}", path.display(), header("comment"));
        count += 1;
    }
    assert!(count >= 25, "only {count} vectors of slices");
}
