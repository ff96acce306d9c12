//! Assembling and judging as a table: a domain in a few lines, and what is said of each of its networks.
//!
//! docs/formats/slice.md states the rules; the case names below are those of its table.

use crate::domain::{Domain, judge_in, render};
use isoledger_core::judge::{FindingClass, FindingKind, NotAssessed, Verdict};
use std::collections::BTreeSet;

/// `domain` is judged as `expected`: a line `network: judgement` each, in any order.
#[track_caller]
fn case(name: &str, text: &str, expected: &str) {
    let d = Domain::parse(text);
    let a = d.assemble();
    let mut checked = 0;
    for line in expected.lines().map(str::trim).filter(|l| !l.is_empty()) {
        let (network, wanted) = line.split_once(' ').unwrap();
        let j = judge_in(&a, network, &d.accept).unwrap();
        assert_eq!(render(&a, &j), wanted, "{name}: {network}");
        assert!(j.not_assessed.contains(&NotAssessed::Cabling), "{name}: cabling is never assessed");
        let nonconforming = j.findings.iter().any(|f| f.finding.class() == FindingClass::Connectivity);
        assert_eq!(j.conforms, !nonconforming, "{name}: {network}");
        checked += 1;
    }
    assert!(checked > 0, "{name}: nothing expected");
}

// Two tenants, a node each, on a switch whose uplink is not used: the domain most cases start from.
const PLAIN: &str = "
    net red 100 of red
    net blue 200 of blue
    switch a
    attach red red/n1/eth0 a 1 native
    attach blue blue/n2/eth0 a 2 native
    port a 1 untagged 100
    port a 2 untagged 200
";

#[track_caller]
fn plain_and(name: &str, more: &str, expected: &str) {
    case(name, &format!("{PLAIN}\n{more}"), expected);
}

#[test]
fn as_declared() {
    plain_and("as declared", "", "red isolated\nblue isolated");
    plain_and("an empty port", "port a 3", "red isolated");
    plain_and("a port of no network", "port a 3 untagged 300", "red isolated\nblue isolated");
    plain_and("link state is not read", "port a 3 tagged 300", "red isolated");
}

#[test]
fn foreign_ports() {
    plain_and("unknown port", "port a 3 untagged 100", "red violated: unregistered-port a 3\nblue isolated");
    plain_and(
        "known port",
        "port a 3 tagged 100\nknown a 3",
        "red violated: foreign-port a 3\nblue isolated",
    );
    plain_and("cabled port", "port a 3 tagged 100\ncable a 3 n9/eth0", "red violated: foreign-port a 3");
    plain_and(
        "another tenant's node",
        "port a 2 untagged 200 tagged 100",
        "red violated: foreign-port a 2\nblue isolated",
    );
    plain_and(
        "a declared port on the wrong network",
        "port a 1 untagged 200",
        "red isolated: missing-port a 1\nblue violated: foreign-port a 1",
    );
}

#[test]
fn what_passed_between_two_readings() {
    plain_and(
        "a port nobody knows",
        "between a 3 100",
        "red violated: unregistered-port a 3 (passed)\nblue isolated",
    );
    plain_and("a port of nobody", "known a 3\nbetween a 3 100", "red violated: foreign-port a 3 (passed)");
    plain_and(
        "a free node's",
        "cable a 3 n9/eth0\nbetween a 3 100",
        "red violated: foreign-port a 3 (passed)",
    );
    plain_and(
        "another tenant's node",
        "between a 2 100\nheld n2 blue",
        "red violated: foreign-port a 2 (passed)\nblue isolated",
    );
    plain_and("on a VLAN of no network", "between a 3 300", "red isolated\nblue isolated");
    // What the cloud manager may have done and undone.
    plain_and(
        "the owner's node",
        "cable a 3 n9/eth0\nheld n9 red\nbetween a 3 100,200",
        "red unknown: in-transition a 3 (passed)\nblue violated: foreign-port a 3 (passed)",
    );
    plain_and(
        "the node of an attachment",
        "between a 1 200\nnet green 200 of red",
        "green violated: in-transition a 1 (passed), shared-vlan network",
    );
    case(
        "a node of somebody with access",
        "net red 100 of admin with blue\nswitch a\ncable a 3 n9/eth0\nheld n9 blue\nbetween a 3 100",
        "red unknown: in-transition a 3 (passed)",
    );
    case(
        "any project's node on a public network, but no free one's",
        "net red 100 of admin public\nswitch a\ncable a 3 n9/eth0\nheld n9 blue\nbetween a 3 100\ncable a 4 n8/eth0\n\
         between a 4 100",
        "red violated: foreign-port a 4 (passed), in-transition a 3 (passed); public",
    );
    plain_and(
        "one of two nodes on the port",
        "cable a 3 n9/eth0\ncable a 3 n8/eth0\nheld n8 red\nbetween a 3 100",
        "red unknown: in-transition a 3 (passed)",
    );
    // Declared, allowed, moving, not assessed, not read.
    plain_and("declared all the same", "port a 1\nbetween a 1 100", "red isolated: missing-port a 1");
    plain_and(
        "an exit that may carry it",
        "exit core router a 9 100\nbetween a 9 100,200\nport a 9",
        "red isolated; not assessed core; exits router core\nblue violated: unregistered-port a 9 (passed)",
    );
    plain_and(
        "a port in transition",
        "moving a 3\nknown a 3\nbetween a 3 100",
        "red unknown: in-transition a 3",
    );
    plain_and(
        "a port not assessed",
        "unassessed a 3\nknown a 3\nbetween a 3 100",
        "red isolated; not assessed a 3",
    );
    plain_and(
        "while the manager is silent",
        "manager silent\nbetween a 3 100",
        "red unknown: silent manager",
    );
    plain_and(
        "beside what it would carry were it up",
        "port a 3 tagged 100 down\nbetween a 3 100",
        "red violated: latent-port a 3, unregistered-port a 3 (passed)",
    );
    plain_and(
        "bundled in the meantime",
        "port a po1 members 3\nport a 3 in po1\nbetween a 3 100",
        "red violated: unregistered-port a po1 (passed)",
    );
    // Many at once.
    let wide = "red violated: all-vlans a 3 (passed)\nblue violated: all-vlans a 3 (passed)";
    plain_and("every VLAN", "known a 3\nbetween a 3 all all", wide);
    plain_and("every VLAN, and one of them at an end", "between a 3 1-299,301-4094 all", wide);
    plain_and(
        "every VLAN while the manager is silent",
        "manager silent\nbetween a 3 all all",
        "red violated: all-vlans a 3 (passed), silent manager",
    );
    plain_and(
        "many",
        "known a 3\nbetween a 3 100-600",
        "red violated: foreign-port a 3 (passed)\nblue violated: foreign-port a 3 (passed)",
    );
    plain_and(
        "many, some of them one's own",
        "cable a 3 n9/eth0\nheld n9 red\nbetween a 3 all all",
        "red unknown: in-transition a 3 (passed)\nblue violated: all-vlans a 3 (passed)",
    );
    plain_and("many, declared", "port a 1\nbetween a 1 100-600", "red isolated: missing-port a 1");
    plain_and(
        "many, in transition",
        "moving a 3\nknown a 3\nbetween a 3 all all",
        "red unknown: in-transition a 3",
    );
    plain_and(
        "many, not assessed",
        "unassessed a 3\nknown a 3\nbetween a 3 all all",
        "red isolated; not assessed a 3",
    );
    plain_and(
        "many at an exit",
        "exit core router a 9 100\nbetween a 9 all all\nport a 9",
        "red isolated; not assessed core; exits router core\nblue violated: all-vlans a 9 (passed)",
    );
}

#[test]
fn administratively_down() {
    plain_and("foreign and down", "port a 3 untagged 100 down", "red isolated: latent-port a 3");
    plain_and("declared and down", "port a 1 untagged 100 down", "red isolated: missing-port a 1");
    plain_and(
        "all VLANs and down",
        "port a 3 tagged all down",
        "red isolated: latent-port a 3\nblue isolated: latent-port a 3",
    );
    plain_and("an exit that is down", "port a 9 tagged 100 down\nexit core router a 9 100", "red isolated");
    plain_and(
        "wide and down with a declaration is missing, and would not be foreign",
        "port a 1 untagged 100 tagged 101-400 down",
        "red isolated: missing-port a 1\nblue isolated: latent-port a 1",
    );
    plain_and(
        "wide and down while the manager is silent is not known to be foreign",
        "port a 3 tagged 1-300 down\nmanager silent",
        "red unknown: silent manager",
    );
    plain_and(
        "narrow and down while the manager is silent is not known to be foreign",
        "port a 3 tagged 100 down\nmanager silent",
        "red unknown: silent manager",
    );
}

#[test]
fn connectivity() {
    plain_and("missing", "port a 1", "red isolated: missing-port a 1");
    plain_and("tagged for untagged", "port a 1 tagged 100", "red isolated: wrong-tagging a 1");
    plain_and(
        "untagged for tagged",
        "net green 300 of green\nattach green green/n3/eth0 a 3 tagged\nport a 3 untagged 300",
        "green isolated: wrong-tagging a 3",
    );
    plain_and(
        "a channel that says neither",
        "net green 300 of green\nattach green green/n3/eth0 a 3 null\nport a 3 tagged 300",
        "green isolated",
    );
    plain_and(
        "a port the switch does not list carries nothing",
        "net green 300 of green\nattach green green/n3/eth0 a 30 native",
        "green isolated: missing-port a 30",
    );
    plain_and(
        "a nic whose port the manager does not know",
        "net green 300 of green\nattach green green/n3/eth0 nowhere native",
        "green isolated: missing-port n3/eth0",
    );
}

#[test]
fn every_vlan() {
    plain_and(
        "nobody's port",
        "port a 3 tagged all",
        "red violated: all-vlans a 3\nblue violated: all-vlans a 3",
    );
    plain_and(
        "untagged counts with the rest",
        "port a 3 untagged 7 tagged 1-6,8-4094",
        "red violated: all-vlans a 3",
    );
    plain_and(
        "one's own port",
        "port a 1 untagged 100 tagged all",
        "red violated: all-vlans a 1\nblue violated: all-vlans a 1",
    );
    plain_and(
        "all but one is many and not all",
        "port a 1 tagged 1-299,301-4094 untagged 100",
        "red isolated\nblue violated: foreign-port a 1",
    );
    plain_and(
        "an exit that may carry all",
        "port a 9 tagged all\nexit core router a 9 all",
        "red isolated; not assessed core; exits router core",
    );
    plain_and(
        "an exit that may carry some",
        "port a 9 tagged all\nexit core router a 9 100-150",
        "red isolated; not assessed core; exits router core\nblue violated: all-vlans a 9",
    );
    plain_and(
        "a link that may carry some",
        "switch b\nlink a 9 b 9 100\nport a 9 tagged all\nport b 9 tagged all",
        "red isolated\nblue violated: all-vlans a 9, all-vlans b 9",
    );
    plain_and(
        "whoever is declared, it stands while the manager is silent",
        "port a 1 tagged all\nmanager silent",
        "red violated: all-vlans a 1, silent manager",
    );
    plain_and(
        "a free port that is moving",
        "port a 3 tagged all\nmoving a 3",
        "red unknown: in-transition a 3",
    );
    plain_and("not assessed", "port a 3 tagged all\nunassessed a 3", "red isolated; not assessed a 3");
}

// A port is narrow up to 256 VLANs and wide above: another place in the format, the same judgement.
#[test]
fn narrow_and_wide_are_judged_alike() {
    let narrow = "1-100,200-355";
    let wide = "1-100,200-356";
    assert_eq!(isoledger_core::VlanSet::parse(narrow).unwrap().len(), isoledger_core::slice::WIDE);
    let cases = [
        ("port a 3 tagged SET", "red violated: unregistered-port a 3"),
        ("port a 3 tagged SET\nknown a 3", "red violated: foreign-port a 3"),
        ("port a 3 tagged SET down", "red isolated: latent-port a 3"),
        ("port a 3 tagged SET\nmoving a 3", "red unknown: in-transition a 3"),
        ("port a 3 tagged SET down\nmoving a 3", "red unknown: in-transition a 3"),
        ("port a 3 tagged SET\nunassessed a 3", "red isolated; not assessed a 3"),
        ("port a 3 tagged SET\nunassessed a 3\nswitch b silent", "red unknown: silent b; not assessed a 3"),
        ("port a 3 tagged SET down\nunassessed a 3\nswitch b silent", "red isolated; not assessed a 3"),
        ("port a 3 unreadable SET", "red unknown: unreadable a 3"),
        ("port a 3 unreadable SET\nunassessed a 3", "red isolated; not assessed a 3"),
        (
            "port a 3 unreadable SET\nunassessed a 3\nswitch b silent\nlink a 3 b 3 all",
            "red unknown: silent b; not assessed a 3",
        ),
        (
            "port a 3 unreadable SET\nunassessed a 3\nswitch b\nlink a 3 b 3 all\nbypass b mirror dirty 100",
            "red violated: bypass b mirror; not assessed a 3",
        ),
        ("port a 1 untagged 100 tagged SET", "red isolated"),
        ("port a 1 tagged SET", "red isolated: wrong-tagging a 1"),
        ("port a 1 unreadable SET", "red unknown: unreadable a 1"),
        (
            "port a 9 tagged SET\nexit core router a 9 all",
            "red isolated; not assessed core; exits router core",
        ),
        ("port a 9 tagged SET down\nexit core router a 9 all", "red isolated"),
        ("port a 9 tagged SET\nmoving a 9\nexit core router a 9 all", "red unknown: in-transition a 9"),
        ("port a 9 tagged SET\nexit core router a 9 7", "red violated: unregistered-port a 9"),
        ("switch b\nlink a 9 b 9 all\nport a 9 tagged SET\nport b 9 tagged SET", "red isolated"),
        ("switch b silent\nlink a 9 b 9 all\nport a 9 tagged SET", "red unknown: silent b"),
        ("switch b silent\nlink a 9 b 9 all\nport a 9 tagged SET down", "red isolated"),
        (
            "switch b\nlink a 9 b 9 all\nport a 9 untagged 100 tagged SET\nport b 9 tagged SET",
            "red violated: native-mismatch a 9, native-mismatch b 9",
        ),
        (
            "switch b\nlink a 9 b 9 all\nport a 9 untagged 100 tagged SET\nport b 9 tagged SET down",
            "red isolated",
        ),
        (
            "switch b\nlink a 9 b 9 all\nport a 9 untagged 100 tagged SET\nport b 9 unreadable SET",
            "red unknown: unreadable b 9",
        ),
        ("port a 3 tagged SET\nmanager silent", "red unknown: silent manager"),
        (
            "attach red red/n4/eth0 a 3 tagged\ncable a 3 n9/eth0\nport a 3 tagged SET",
            "red violated: foreign-port a 3",
        ),
    ];
    for (text, expected) in cases {
        plain_and("narrow", &text.replace("SET", narrow), expected);
        plain_and("wide", &text.replace("SET", wide), expected);
    }
}

#[test]
fn membership() {
    let attached = |access: &str, who: &str| {
        format!("net red 100 of red {access}\nswitch a\nattach red {who} a 1 native\nport a 1 untagged 100")
    };
    case("the owner's node", &attached("", "red/n1/eth0"), "red isolated");
    case("a guest's node", &attached("with blue", "blue/n1/eth0"), "red isolated");
    case(
        "a stranger's node",
        &attached("with blue", "green/n1/eth0"),
        "red violated: foreign-member n1/eth0",
    );
    case("a free node", &attached("with blue", "-/n1/eth0"), "red violated: foreign-member n1/eth0");
    case("public: any project", &attached("public", "green/n1/eth0"), "red isolated; public");
    case(
        "public: no free node",
        &attached("public", "-/n1/eth0"),
        "red violated: foreign-member n1/eth0; public",
    );
    let admin = attached("", "red/n1/eth0").replace("of red", "of admin with red");
    case("an administrators' network lets in whom it lists", &admin, "red isolated");
    let admin = attached("", "red/n1/eth0").replace("of red", "of admin");
    case("and nobody else", &admin, "red violated: foreign-member n1/eth0");
    case(
        "a project called admin is not the administrators",
        "net red 100 of admin\nswitch a\nattach red admin/n1/eth0 a 1 native\nport a 1 untagged 100",
        "red violated: foreign-member n1/eth0",
    );
    case(
        "a foreign member is foreign even where nothing is carried",
        "net red 100 of red\nswitch a\nattach red blue/n1/eth0 a 1 native",
        "red violated: foreign-member n1/eth0, missing-port a 1",
    );
    case(
        "a foreign member on a port that is not assessed is a foreign member",
        &format!("{}\nunassessed a 1", attached("", "blue/n1/eth0")),
        "red violated: foreign-member n1/eth0; not assessed a 1",
    );
    case(
        "excused while its port is moving",
        &format!("{}\nmoving a 1", attached("", "blue/n1/eth0")),
        "red unknown: in-transition a 1",
    );
    case(
        "and not forgotten when that port is not assessed",
        &format!("{}\nmoving a 1\nunassessed a 1", attached("", "blue/n1/eth0")),
        "red unknown: in-transition a 1; not assessed a 1",
    );
}

#[test]
fn shared_vlans() {
    plain_and(
        "two networks, two owners",
        "net pink 100 of pink",
        "red violated: shared-vlan network\npink violated: shared-vlan network",
    );
    plain_and(
        "two networks, one owner",
        "net red-too 100 of red",
        "red violated: shared-vlan network\nred-too violated: shared-vlan network\nblue isolated",
    );
    plain_and(
        "not while the manager is silent",
        "net pink 100 of pink\nmanager silent",
        "red unknown: silent manager",
    );
}

#[test]
fn ids_that_cannot_be_judged() {
    let d = Domain::parse(&format!("{PLAIN}\nnet odd \"4096\" of red\nattach odd red/n5/eth0 a 5 native"));
    let a = d.assemble();
    assert_eq!(a.unassessable.get("odd").map(String::as_str), Some("4096"));
    assert!(!a.networks.contains_key("odd"));
    plain_and(
        "a port declared on such a network only is foreign elsewhere",
        "net odd \"4096\" of red\nattach odd red/n5/eth0 a 5 native\nport a 5 untagged 100",
        "red violated: foreign-port a 5",
    );
    plain_and(
        "so is one declared on a network nobody knows",
        "attach ghost red/n5/eth0 a 5 native\nport a 5 untagged 100",
        "red violated: foreign-port a 5",
    );
}

const LINKED: &str = "
    net red 100 of red
    switch a
    switch b
    link a 9 b 9 100-200
    attach red red/n1/eth0 a 1 native
    attach red red/n2/eth0 b 1 native
    port a 1 untagged 100
    port b 1 untagged 100
";

#[track_caller]
fn linked_and(name: &str, more: &str, expected: &str) {
    case(name, &format!("{LINKED}\n{more}"), expected);
}

#[test]
fn links() {
    linked_and("both ends tagged", "port a 9 tagged 100\nport b 9 tagged 100", "red isolated");
    linked_and("a VLAN it may not carry", "port a 9 tagged 99,100\nport b 9 tagged 100", "red isolated");
    linked_and(
        "the network is not one it may carry",
        "net low 99 of red\nport a 9 tagged 99\nport b 9 tagged 99",
        "low violated: unregistered-port a 9, unregistered-port b 9\nred isolated",
    );
    linked_and("native at both ends", "port a 9 untagged 100\nport b 9 untagged 100", "red isolated");
    linked_and(
        "native here and tagged there",
        "port a 9 untagged 100\nport b 9 tagged 100",
        "red violated: native-mismatch a 9, native-mismatch b 9",
    );
    linked_and(
        "native here and nothing there",
        "port a 9 untagged 100\nport b 9",
        "red violated: native-mismatch a 9, native-mismatch b 9",
    );
    linked_and(
        "native here and not even a port there",
        "port a 9 untagged 100",
        "red violated: native-mismatch a 9, native-mismatch b 9",
    );
    linked_and(
        "another native VLAN there: both networks say so",
        "net pink 150 of pink\nport a 9 untagged 100\nport b 9 untagged 150",
        "red violated: native-mismatch a 9, native-mismatch b 9\n\
         pink violated: native-mismatch a 9, native-mismatch b 9",
    );
    linked_and(
        "the other native VLAN is not even allowed",
        "net pink 300 of pink\nport a 9 untagged 100\nport b 9 untagged 300",
        "red violated: native-mismatch a 9, native-mismatch b 9\npink violated: unregistered-port b 9",
    );
    linked_and(
        "the other end is wide",
        "port a 9 untagged 100\nport b 9 tagged 1-99,101-400",
        "red violated: native-mismatch a 9, native-mismatch b 9",
    );
    linked_and(
        "the other end is wide and agrees",
        "port a 9 untagged 100\nport b 9 untagged 100 tagged 1-99,101-400",
        "red isolated",
    );
    linked_and("the other end is down", "port a 9 untagged 100\nport b 9 down", "red isolated");
    linked_and(
        "the other end is not understood",
        "port a 9 untagged 100\nport b 9 unreadable 150",
        "red unknown: unreadable b 9",
    );
    linked_and(
        "the other end might be anything",
        "port a 9 untagged 100\nport b 9 unreadable all",
        "red unknown: unreadable b 9",
    );
    linked_and(
        "the other end is not assessed",
        "port a 9 untagged 100\nport b 9\nunassessed b 9",
        "red isolated; not assessed b 9",
    );
    linked_and(
        "the other end is being changed",
        "port a 9 untagged 100\nport b 9\nmoving b 9",
        "red unknown: in-transition b 9",
    );
    case(
        "a port that two links claim is a link of neither",
        &format!("{LINKED}\nswitch c silent\nlink a 9 c 1 100-200\nport a 9 tagged 100\nport b 9 tagged 100"),
        "red violated: unregistered-port a 9",
    );
    linked_and(
        "one link written twice may carry both sets",
        "net high 250 of red\nlink b 9 a 9 250\nport a 9 tagged 100,250\nport b 9 tagged 100,250",
        "red isolated\nhigh isolated",
    );
    case(
        "a link from a port to itself is none",
        "net red 100 of red\nswitch a\nlink a 9 a 9 100\nattach red red/n1/eth0 a 1 native\n\
         port a 1 untagged 100\nport a 9 untagged 100",
        "red violated: unregistered-port a 9",
    );
}

#[test]
fn exits() {
    let one = |kind: &str| format!("port a 9 tagged 100\nexit core {kind} a 9 100-199");
    for kind in ["router", "manager-host", "unaudited-switch", "local"] {
        let expected = format!("red isolated; not assessed core; exits {kind} core\nblue isolated");
        plain_and("an exit", &one(kind), &expected);
    }
    plain_and(
        "an exit that carries more than it may",
        "port a 9 tagged 100,200\nexit core router a 9 100",
        "red isolated; not assessed core; exits router core\nblue violated: unregistered-port a 9",
    );
    plain_and(
        "two exits",
        "port a 9 tagged 100\nport a 8 untagged 100\nexit core router a 9 100\nexit br local a 8 100",
        "red isolated; not assessed br, core; exits local br, router core",
    );
    plain_and(
        "an exit that is being changed",
        "port a 9 tagged 100\nexit core router a 9 100\nmoving a 9",
        "red unknown: in-transition a 9",
    );
    plain_and(
        "an exit that is not understood",
        "port a 9 unreadable 100\nexit core router a 9 100",
        "red unknown: unreadable a 9",
    );
    plain_and(
        "two exits on one port: the first by name counts",
        "port a 9 tagged 100,200\nexit z router a 9 200\nexit b local a 9 100",
        "red isolated; not assessed b; exits local b\nblue violated: unregistered-port a 9",
    );
    let twice = "port a 9 tagged 100,200\nexit b local a 9 100\nexit z router a 9 200";
    plain_and("in whatever order they are written", twice, "blue violated: unregistered-port a 9");
}

#[test]
fn machines_on_the_managers_host() {
    let host = |more: &str| format!("attach red red/h1/eth0 nowhere host\n{more}");
    let exits = "not assessed hil; exits manager-host hil";
    plain_and(
        "at the host's exit",
        &host("port a 9 tagged 100\nexit hil manager-host a 9 all"),
        &format!("red isolated; {exits}\nblue isolated"),
    );
    plain_and(
        "an exit whose trunk carries every VLAN",
        &host("port a 9 tagged all\nexit hil manager-host a 9 all"),
        &format!("red isolated; {exits}\nblue isolated; {exits}"),
    );
    plain_and(
        "several machines of several nodes share the exit",
        &host("attach red red/h2/eth0 nowhere host\nport a 9 tagged 100\nexit hil manager-host a 9 all"),
        &format!("red isolated; {exits}"),
    );
    plain_and(
        "the host's exit does not carry it",
        &host("port a 9 tagged 200\nexit hil manager-host a 9 all"),
        &format!("red isolated: missing-port a 9\nblue isolated; {exits}"),
    );
    plain_and(
        "no exit that may carry it: nobody knows where the machine is",
        &host("exit hil manager-host a 9 200\nport a 9 tagged 200"),
        &format!("red isolated: missing-port h1/eth0\nblue isolated; {exits}"),
    );
    plain_and(
        "an exit that may not carry it and does is foreign, whatever is on the host",
        &host("exit hil manager-host a 9 200\nport a 9 tagged 100,200"),
        &format!("red violated: missing-port h1/eth0, unregistered-port a 9\nblue isolated; {exits}"),
    );
    plain_and(
        "the host is behind a switch that is not audited",
        &host(
            "port a 9 tagged 100\nexit far unaudited-switch a 9 all\nexit core router a 8 all\nport a 8 tagged 100",
        ),
        "red isolated; not assessed core, far; exits router core, unaudited-switch far\nblue isolated",
    );
    plain_and(
        "the host's own exit comes before an unaudited switch",
        &host("exit a unaudited-switch a 8 all\nexit hil manager-host a 9 all\nport a 9 tagged 100"),
        &format!("red isolated; {exits}"),
    );
    plain_and(
        "of a project that may not join",
        "attach red blue/h1/eth0 nowhere host\nport a 9 tagged 100\nexit hil manager-host a 9 all",
        &format!("red violated: foreign-member h1/eth0; {exits}"),
    );
    plain_and(
        "on a network without a VLAN",
        &host(
            "net odd 4096 of red\nattach odd red/h1/eth1 nowhere host\nport a 9 tagged 100\nexit hil manager-host a 9 all",
        ),
        &format!("red isolated; {exits}"),
    );
    plain_and(
        "a node of the same name is another",
        "attach red red/n1/eth0 nowhere host\nport a 9 tagged 100\nexit hil manager-host a 9 all",
        &format!("red isolated; {exits}"),
    );
}

#[test]
fn labels() {
    let two = "
        net red 100 of red
        switch tor labels dell,dell-te
        attach red red/n1/eth0 dell 1 native
        attach red red/n2/eth0 dell-te 2 native
        port tor 1 untagged 100
        port tor 2 untagged 100
    ";
    case("two labels, one switch", two, "red isolated");
    case(
        "its own name is not a label once it has others",
        &two.replace("dell-te 2", "tor 2"),
        "red unknown: silent tor",
    );
    case(
        "a label that two switches claim is audited by neither",
        &format!("{two}\nswitch other labels dell"),
        "red violated: silent dell, unregistered-port tor 1",
    );
}

#[test]
fn bundles() {
    let bundle = |more: &str| {
        format!(
            "net red 100 of red\nswitch a\nattach red red/n1/eth0 a 1 native\ncable a 2 n1/eth1\n\
             port a po1 untagged 100 members 1,2\nport a 1 untagged 1 in po1\nport a 2 untagged 1 in po1\n{more}"
        )
    };
    case("an attachment on a member", &bundle(""), "red isolated");
    case(
        "what a member would carry by itself does not count",
        &bundle("port a 2 untagged 1 tagged 100 in po1"),
        "red isolated",
    );
    case(
        "outside of the bundle it does",
        &bundle("port a 2 untagged 1 tagged 100"),
        "red violated: foreign-port a 2",
    );
    case("nics of different nodes", &bundle("cable a 2 n2/eth0"), "red violated: foreign-port a po1");
    case(
        "the declared member has left the bundle",
        &bundle("port a 1 untagged 1"),
        "red violated: foreign-port a po1, missing-port a 1",
    );
    case(
        "a bundle that is not there: nobody knows what its members carry",
        &bundle("port a 3 in po7"),
        "red unknown: unreadable a 3",
    );
    case("a bundle of itself", &bundle("port a 3 in 3"), "red unknown: unreadable a 3");
    case(
        "two bundles of each other",
        &bundle("port a 3 in 4\nport a 4 in 3"),
        "red unknown: unreadable a 3, unreadable a 4",
    );
    case(
        "a bundle in a bundle",
        &bundle("port a 3 untagged 100 in po2\nport a po2 in po1"),
        "red unknown: unreadable a 3",
    );
    case(
        "a bundle that is not understood",
        &bundle("port a po1 unreadable all"),
        "red unknown: unreadable a po1",
    );
    case(
        "a member that is not understood still belongs to its bundle",
        &bundle("port a 1 unreadable 100"),
        "red unknown: unreadable a 1",
    );
    case(
        "a member that is being changed moves its bundle",
        &bundle("port a po1 members 1,2\nmoving a 1"),
        "red unknown: in-transition a po1",
    );
    case(
        "a member that the switch lists in the bundle only",
        "net red 100 of red\nswitch a\nattach red red/n1/eth0 a 1 native\nport a bond0 untagged 100 members 1,2",
        "red isolated",
    );
    case("two nics of one node on one port", &bundle("attach red red/n1/eth1 a 2 native"), "red isolated");
}

#[test]
fn ports_not_understood() {
    plain_and("narrow", "port a 3 unreadable 100-150", "red unknown: unreadable a 3\nblue isolated");
    plain_and("wide", "port a 3 unreadable all", "red unknown: unreadable a 3\nblue unknown: unreadable a 3");
    plain_and("one's own", "port a 1 unreadable 1", "red unknown: unreadable a 1");
    plain_and("one's own, wide", "port a 1 unreadable all", "red unknown: unreadable a 1");
    plain_and(
        "beside a violation",
        "port a 3 unreadable 100\nport a 4 untagged 100",
        "red violated: unreadable a 3, unregistered-port a 4",
    );
    plain_and(
        "no excuse for being moved",
        "port a 3 unreadable 100\nmoving a 3",
        "red unknown: unreadable a 3",
    );
}

#[test]
fn ports_not_assessed() {
    plain_and(
        "it carries",
        "port a 3 untagged 100\nunassessed a 3",
        "red isolated; not assessed a 3\nblue isolated",
    );
    plain_and("it does not carry", "port a 3 untagged 300\nunassessed a 3", "red isolated\nblue isolated");
    plain_and(
        "not understood either",
        "port a 3 unreadable 100\nunassessed a 3",
        "red isolated; not assessed a 3",
    );
    plain_and("one's own", "unassessed a 1", "red isolated; not assessed a 1");
    plain_and(
        "an exit behind it is not named",
        "port a 9 tagged 100\nexit core router a 9 100\nunassessed a 9",
        "red isolated; not assessed a 9",
    );
    plain_and(
        "listed twice",
        "port a 3 untagged 100\nunassessed a 3\nunassessed a 3",
        "red isolated; not assessed a 3",
    );
}

#[test]
fn switches_not_read() {
    for (word, finding) in [
        ("silent", "silent"),
        ("unreadable", "unreadable"),
        ("source-changed", "unreadable"),
        ("unseen", "silent"),
    ] {
        case(
            word,
            &format!("net red 100 of red\nswitch a {word}\nattach red red/n1/eth0 a 1 native"),
            &format!("red unknown: {finding} a"),
        );
    }
    case(
        "an answer with something in it that nobody understood",
        "net red 100 of red\nswitch a garbled\nattach red red/n1/eth0 a 1 native\nport a 1 untagged 100",
        "red unknown: unreadable a",
    );
    case(
        "what was understood of it can still violate, and is not known to be missing",
        "net red 100 of red\nswitch a garbled\nattach red red/n1/eth0 a 1 native\nport a 2 untagged 100",
        "red violated: unreadable a, unregistered-port a 2",
    );
    plain_and(
        "attachments on a switch that nobody audits",
        "attach red red/n3/eth0 far 1 native",
        "red unknown: silent far\nblue isolated",
    );
    plain_and("a port the manager knows on such a switch", "known far 1", "red isolated");
}

#[test]
fn a_reading_beside_a_failure_is_not_used() {
    let mut d = Domain::parse(&format!("{PLAIN}\nport a 3 untagged 100\nbypass a mirror dirty all"));
    d.views.get_mut("a").unwrap().failure = Some(isoledger_core::model::Failure::SourceChanged);
    let a = d.assemble();
    assert_eq!(render(&a, &d.judge("red")), "unknown: unreadable a");
}

#[test]
fn a_switch_outside_the_scope_is_not_looked_at() {
    let mut d = Domain::parse(PLAIN);
    d.views.insert("b".into(), crate::domain::View { failure: None, observed: Some(crate::domain::clean()) });
    assert_eq!(d.assemble(), Domain::parse(PLAIN).assemble());
}

// Who is involved: the switches the network's frames may reach.
#[test]
fn involved_switches() {
    plain_and("an island", "switch b silent", "red isolated\nblue isolated");
    plain_and("an island's bypasses", "switch b\nbypass b mirror dirty all", "red isolated");
    plain_and(
        "a link that does not carry it",
        "switch b silent\nlink a 9 b 9 all\nport a 9 tagged 300",
        "red isolated",
    );
    plain_and(
        "a link that does",
        "switch b silent\nlink a 9 b 9 all\nport a 9 tagged 100",
        "red unknown: silent b\nblue isolated",
    );
    plain_and(
        "a link that is down",
        "switch b silent\nlink a 9 b 9 all\nport a 9 tagged 100 down",
        "red isolated",
    );
    plain_and(
        "a link that may not carry it is a foreign port",
        "switch b silent\nlink a 9 b 9 200\nport a 9 tagged 100",
        "red violated: unregistered-port a 9",
    );
    plain_and(
        "two links on",
        "switch b\nswitch c source-changed\nlink a 9 b 9 all\nlink b 8 c 8 all\n\
         port a 9 tagged 100\nport b 9 tagged 100\nport b 8 tagged 100",
        "red unknown: unreadable c",
    );
    plain_and(
        "the other end does not carry it: its bypasses count all the same",
        "switch b\nlink a 9 b 9 all\nport a 9 tagged 100\nport b 9\nbypass b flows dirty 100",
        "red violated: bypass b flows",
    );
    plain_and(
        "a link into a switch that nobody audits",
        "link a 9 far 9 all\nport a 9 tagged 100",
        "red unknown: silent far\nblue isolated",
    );
    plain_and("the same, native", "link a 9 far 9 all\nport a 9 untagged 100", "red unknown: silent far");
    plain_and(
        "out through an unaudited switch it may come back anywhere",
        "switch b silent\nport a 9 tagged 100\nexit core unaudited-switch a 9 all",
        "red unknown: silent b; not assessed core; exits unaudited-switch core\nblue isolated",
    );
    plain_and(
        "behind a router the VLAN ends",
        "switch b silent\nport a 9 tagged 100\nexit core router a 9 all",
        "red isolated; not assessed core; exits router core",
    );
    plain_and(
        "through a port that is not assessed it may come back anywhere",
        "switch b unreadable\nport a 9 tagged 100\nunassessed a 9",
        "red unknown: unreadable b; not assessed a 9",
    );
    plain_and(
        "what is behind an exit is not assessed, an unaudited switch of others included",
        "net far 300 of far\nattach far far/n3/eth0 x 1 native\nport a 9 tagged 100\nexit core unaudited-switch a 9 all",
        "red isolated; not assessed core; exits unaudited-switch core\nfar unknown: silent x",
    );
    plain_and(
        "a nic without a port may be anywhere",
        "switch b silent\nattach red red/n3/eth0 nowhere native",
        "red unknown: missing-port n3/eth0, silent b\nblue isolated",
    );
    plain_and(
        "a network without attachments is nowhere in particular",
        "switch b silent\nnet empty 300 of red",
        "empty unknown: silent b",
    );
    plain_and(
        "not even when a link carries it",
        "switch b silent\nnet empty 300 of red\nswitch c\nlink a 9 c 9 all\nport a 9 tagged 300\nport c 9 tagged 300",
        "empty unknown: silent b",
    );
    plain_and("with everything read it is empty", "net empty 300 of red", "empty isolated");
    case("with nothing read it is not", "net empty 300 of red\nswitch a silent", "empty unknown: silent a");
}

#[test]
fn a_manager_not_read() {
    for (line, finding) in [
        ("manager silent", "silent manager"),
        ("manager unreadable", "unreadable manager"),
        ("manager source-changed", "unreadable manager"),
        ("manager garbled", "unreadable manager"),
    ] {
        plain_and(line, line, &format!("red unknown: {finding}"));
        for more in [
            "port a 3 untagged 100",
            "port a 3 untagged 100\nknown a 3",
            "port a 3 untagged 100 down",
            "port a 3 tagged 1-300",
            "port a 1",
            "port a 1 tagged 100",
            "cable a 1 n9/eth0",
            "attach red blue/n7/eth0 a 1 native",
            "attach red -/n7/eth0 nowhere native",
            "net pink 100 of pink",
        ] {
            plain_and(
                "nothing that depends on the declaration is found",
                &format!("{line}\n{more}"),
                &format!("red unknown: {finding}"),
            );
        }
        plain_and(
            "what the switches say by themselves stands",
            &format!("{line}\nport a 3 tagged all\nbypass a mirror dirty 100"),
            &format!("red violated: all-vlans a 3, bypass a mirror, {finding}"),
        );
        linked_and(
            "native VLANs too",
            &format!("{line}\nport a 9 untagged 100\nport b 9 tagged 100"),
            &format!("red violated: native-mismatch a 9, native-mismatch b 9, {finding}"),
        );
    }
}

#[test]
fn bypasses() {
    plain_and(
        "every VLAN",
        "bypass a flows dirty all",
        "red violated: bypass a flows\nblue violated: bypass a flows",
    );
    plain_and("one VLAN", "bypass a mirror dirty 200", "red isolated\nblue violated: bypass a mirror");
    plain_and("no VLAN", "bypass a mirror dirty 300", "red isolated\nblue isolated");
    plain_and(
        "not read",
        "bypass a routing unread",
        "red unknown: unreadable a routing; not assessed a routing",
    );
    plain_and(
        "not read and accepted",
        "bypass a routing unread\naccept routing",
        "red isolated; not assessed a routing",
    );
    plain_and(
        "accepting one class accepts no other",
        "bypass a routing unread\nbypass a dynamic unread\naccept routing",
        "red unknown: unreadable a dynamic; not assessed a dynamic, a routing",
    );
    plain_and(
        "dirty is not accepted",
        "bypass a routing dirty 100\naccept routing",
        "red violated: bypass a routing",
    );
    plain_and(
        "an open port",
        "port a 7 unfiltered",
        "red violated: bypass a ingress-filtering\nblue violated: bypass a ingress-filtering",
    );
    plain_and("an open port that is down", "port a 7 unfiltered down", "red isolated");
    plain_and(
        "an open port beside a narrower reading of the switch",
        "port a 7 unfiltered\nbypass a ingress-filtering dirty 300",
        "red violated: bypass a ingress-filtering",
    );
    plain_and(
        "an open member of a bundle",
        "port a po1\nport a 7 unfiltered in po1",
        "red violated: bypass a ingress-filtering",
    );
    let mut d = Domain::parse(PLAIN);
    d.views.get_mut("a").unwrap().observed.as_mut().unwrap().bypasses.clear();
    let unread = d.judge("red").findings.len();
    assert_eq!(
        unread,
        isoledger_core::model::BypassClass::ALL.len(),
        "a class that is not mentioned is not read"
    );
}

#[test]
fn in_transition() {
    let moving = |polls: u32, span: &str, more: &str| {
        format!("port a 3 untagged 100\nmoving a 3 polls {polls} for {span}\n{more}")
    };
    for (polls, span, excused) in [
        (1, "0s", true),
        (3, "299999ms", true),
        (4, "40s", false),
        (1, "5m", false),
        (3, "300s", false),
        (4, "1h", false),
    ] {
        let expected =
            if excused { "red unknown: in-transition a 3" } else { "red violated: unregistered-port a 3" };
        plain_and(&format!("{polls} polls, {span}"), &moving(polls, span, ""), expected);
    }
    plain_and(
        "another port's violation stands",
        &moving(1, "0s", "port a 4 tagged 100"),
        "red violated: in-transition a 3, unregistered-port a 4",
    );
    plain_and("other networks are not concerned", &moving(1, "0s", ""), "blue isolated");
    plain_and("a missing port", "port a 1\nmoving a 1", "red unknown: in-transition a 1");
    plain_and(
        "a shared VLAN is not a matter of one port",
        "net pink 100 of pink\nmoving a 1",
        "red violated: in-transition a 1, shared-vlan network",
    );
}

#[test]
fn networks_of_one_vlan_do_not_see_each_other() {
    let d = Domain::parse(&format!(
        "{PLAIN}\nnet pink-secret 100 of pink\nattach pink-secret pink/n8/eth7 a 8 native\nport a 8 untagged 100"
    ));
    let a = d.assemble();
    let slice = String::from_utf8(a.written().slices[&100].clone()).unwrap();
    for name in ["pink", "n8", "eth7", "red", "n1", "eth0"] {
        assert!(!slice.contains(&format!("\"{name}")), "{name} stands in {slice}");
    }
    assert_eq!(a.slices[&100].networks.len(), 2);
    let j = judge_in(&a, "pink-secret", &BTreeSet::new()).unwrap();
    assert_eq!(render(&a, &j), "violated: shared-vlan network");
}

// Every word of the vocabulary is found somewhere above; this keeps the list of them closed.
#[test]
fn the_vocabulary() {
    use FindingClass::*;
    let all = [
        (FindingKind::ForeignPort, "foreign-port", Isolation),
        (FindingKind::UnregisteredPort, "unregistered-port", Isolation),
        (FindingKind::AllVlans, "all-vlans", Isolation),
        (FindingKind::ForeignMember, "foreign-member", Isolation),
        (FindingKind::SharedVlan, "shared-vlan", Isolation),
        (FindingKind::NativeMismatch, "native-mismatch", Isolation),
        (FindingKind::Bypass, "bypass", Isolation),
        (FindingKind::MissingPort, "missing-port", Connectivity),
        (FindingKind::WrongTagging, "wrong-tagging", Connectivity),
        (FindingKind::InTransition, "in-transition", Visibility),
        (FindingKind::Unreadable, "unreadable", Visibility),
        (FindingKind::Silent, "silent", Visibility),
        (FindingKind::LatentPort, "latent-port", Hygiene),
    ];
    let source = include_str!("table.rs");
    for (kind, name, class) in all {
        assert_eq!((kind.name(), kind.class()), (name, class));
        assert!(source.matches(&format!(": {name} ")).count() > 0, "no case expects {name}");
    }
    for (verdict, name) in
        [(Verdict::Isolated, "isolated"), (Verdict::Unknown, "unknown"), (Verdict::Violated, "violated")]
    {
        assert_eq!(verdict.name(), name);
    }
}
