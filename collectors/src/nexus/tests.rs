//! The normaliser on transcripts made here, on every cut and damage of them, and on single changes.

use super::*;
use crate::Exchange;
use crate::law::{self, Law};

const ANSWERS: [(&str, &str); 7] = [
    (SWITCHPORT, include_str!("../../fixtures/cisco-nexus/switchport.txt")),
    (BRIEF, include_str!("../../fixtures/cisco-nexus/brief.txt")),
    (TRUNK, include_str!("../../fixtures/cisco-nexus/trunk.txt")),
    (BUNDLES, include_str!("../../fixtures/cisco-nexus/bundles.txt")),
    (SESSIONS, include_str!("../../fixtures/cisco-nexus/sessions.txt")),
    (ROUTES, include_str!("../../fixtures/cisco-nexus/routes.txt")),
    (FEATURES, include_str!("../../fixtures/cisco-nexus/features.txt")),
];

fn fixture() -> Evidence {
    Evidence {
        subject: "sw1".into(),
        auth: "password".into(),
        identity: None,
        exchanges: ANSWERS
            .iter()
            .map(|(asked, text)| Exchange {
                asked: (*asked).into(),
                status: Some(0),
                // With the prompt that ended it.
                answer: format!("{text}sw1#").into_bytes(),
            })
            .collect(),
    }
}

/// The fixture with one text in the answer to `asked` replaced, which must stand there exactly once.
fn changed(asked: &str, from: &str, to: &str) -> Evidence {
    changed_again(fixture(), asked, from, to)
}

fn changed_again(mut evidence: Evidence, asked: &str, from: &str, to: &str) -> Evidence {
    let exchange = evidence.exchanges.iter_mut().find(|x| x.asked == asked).unwrap();
    let text = String::from_utf8(exchange.answer.clone()).unwrap();
    assert_eq!(text.matches(from).count(), 1, "{from:?} in the answer to {asked:?}");
    exchange.answer = text.replace(from, to).into_bytes();
    evidence
}

/// The fixture without the answer to `asked`.
fn without(asked: &str) -> Evidence {
    let mut evidence = fixture();
    evidence.exchanges.retain(|x| x.asked != asked);
    evidence
}

fn read(evidence: &Evidence) -> Observed {
    normalise(evidence).unwrap()
}

/// A port in one line: `untagged/tagged`, what else is known, or `?` and what it might carry.
fn shown(reading: Option<&PortReading>) -> String {
    match reading {
        None => "absent".into(),
        Some(PortReading::Unreadable { might_carry, .. }) => format!("? {might_carry}"),
        Some(PortReading::Read(s)) => format!(
            "{}/{}{}{}{}",
            s.untagged.map(|v| v.to_string()).unwrap_or_default(),
            s.tagged,
            match s.admin_down {
                Some(true) => " shut",
                Some(false) => "",
                None => " maybe shut",
            },
            s.aggregate.as_ref().map(|a| format!(" in {a}")).unwrap_or_default(),
            if s.members.is_empty() { String::new() } else { format!(" of {:?}", s.members) },
        ),
    }
}

fn port(evidence: &Evidence, name: &str) -> String {
    shown(read(evidence).ports.get(name))
}

fn class(evidence: &Evidence, class: BypassClass) -> String {
    match &read(evidence).bypasses[&class] {
        BypassReading::Clean => "clean".into(),
        BypassReading::Dirty { vlans, .. } => format!("dirty {vlans}"),
        BypassReading::NotRead { .. } => "not read".into(),
    }
}

#[test]
fn the_ports() {
    let observed = read(&fixture());
    assert_eq!(observed.anomalies, []);
    let got: Vec<String> =
        observed.ports.iter().map(|(name, reading)| format!("{name} {}", shown(Some(reading)))).collect();
    assert_eq!(
        got,
        [
            "ethernet1/1 30/",
            "ethernet1/10 30/70",
            "ethernet1/11 /",
            "ethernet1/2 /100,105-107",
            "ethernet1/3 100/200-203,300,310-312,400",
            "ethernet1/4 /",
            "ethernet1/5 1/50-52",
            "ethernet1/6 40/ shut",
            "ethernet1/7 /",
            "ethernet1/8 1/600-699 in port-channel24",
            "ethernet1/9 1/600-699",
            "ethernet101/1/1 40/",
            "port-channel24 1/600-699 of {\"ethernet1/8\"}",
        ]
    );
}

#[test]
fn a_port_after_one_change() {
    let all = "? all";
    let rest = "\n  Switchport Block Multicast: Not enabled\n  Switchport Block Unicast: Not enabled\n  Operational Mode: ";
    let record =
        |n: &str| format!("Name: {n}\n  Switchport: Enabled\n  Switchport Monitor: Not enabled{rest}");
    let mode = |n: &str, from: &str, to: &str| {
        changed(SWITCHPORT, &format!("{}{from}", record(n)), &format!("{}{to}", record(n)))
    };
    let of = |evidence: Evidence, name: &str, want: &str| assert_eq!(port(&evidence, name), want);

    of(mode("Ethernet1/2", "trunk", "down"), "ethernet1/2", "/100,105-107");
    of(mode("Ethernet1/1", "access", "down"), "ethernet1/1", "30/");
    of(mode("Ethernet1/2", "trunk", "access"), "ethernet1/2", "? 1,100,105-107");
    of(mode("Ethernet1/1", "access", "trunk"), "ethernet1/1", all);
    for unknown in ["fex-fabric", "FabricPath", "Private-vlan host", "", "trunk access"] {
        of(mode("Ethernet1/2", "trunk", unknown), "ethernet1/2", all);
    }
    of(mode("Ethernet1/1", "access", "dot1q-tunnel"), "ethernet1/1", "30/");

    // The other table.
    let line = "Eth1/5        1       eth  trunk  down";
    let brief = |to: &str| changed(BRIEF, line, &format!("Eth1/5        1       eth  {to} down"));
    of(brief("access"), "ethernet1/5", "1/");
    for unknown in ["f-path", "fabric", "pvlan", "routed"] {
        of(brief(unknown), "ethernet1/5", all);
    }
    of(changed(BRIEF, line, "Eth1/55       1       eth  trunk  down"), "ethernet1/5", "? 1,50-52");
    of(changed(BRIEF, line, "Eth1/55       1       eth  trunk  down"), "ethernet1/55", all);
    of(
        changed(BRIEF, "Eth1/11       --      eth  routed", "Eth1/11       1       eth  access"),
        "ethernet1/11",
        all,
    );
    of(changed(BRIEF, "Eth1/1        30 ", "Eth1/1        31 "), "ethernet1/1", "? all");

    // Lists.
    let list = |to: &str| changed(SWITCHPORT, "Allowed: 100,105-107\n", &format!("Allowed: {to}\n"));
    of(list("100,105-108"), "ethernet1/2", "? 100,105-108");
    for bad in ["", "all", "100,", ",100", "100,105-107 x", "0,100", "100,4095", "107-105", "100,105-\n107"] {
        of(list(bad), "ethernet1/2", all);
    }
    // Native.
    let native = |to: &str| {
        changed(SWITCHPORT, "Native Mode VLAN: 100 (VLAN0100)", &format!("Native Mode VLAN: {to}"))
    };
    of(native("200 (VLAN0200)"), "ethernet1/3", "200/100,201-203,300,310-312,400");
    of(native("200"), "ethernet1/3", "200/100,201-203,300,310-312,400");
    of(native("199 (VLAN0199)"), "ethernet1/3", "/100,200-203,300,310-312,400");
    of(native("200 (Vlan not created)"), "ethernet1/3", "/100,200-203,300,310-312,400");
    // Another record knows VLAN 30 by name, so it is there.
    let list = changed_again(
        native("30 (Vlan not created)"),
        SWITCHPORT,
        "VLANs Allowed: 100,200",
        "VLANs Allowed: 30,200",
    );
    let list = changed_again(list, TRUNK, "Eth1/3        100,200-203,300", "Eth1/3        30,200-203,300");
    of(list, "ethernet1/3", "30/200-203,300,310-312,400");
    for bad in ["", "none", "0 (x)", "4095 (x)", "100 VLAN0100", "100 (", "100 (a b)"] {
        of(native(bad), "ethernet1/3", all);
    }
    // Access.
    let absent = changed(SWITCHPORT, "3 (Vlan not created)", "30 (Vlan not created)");
    of(changed_again(absent, BRIEF, "Eth1/4        3  ", "Eth1/4        30 "), "ethernet1/4", "30/");
    of(changed(SWITCHPORT, "3 (Vlan not created)", "3 (VLAN0003)"), "ethernet1/4", "3/");
    // Voice.
    of(changed(SWITCHPORT, "70 (phones)", "70"), "ethernet1/10", "30/70");
    of(changed(SWITCHPORT, "70 (phones)", "dot1p"), "ethernet1/10", all);
    of(changed(SWITCHPORT, "  Voice VLAN: 70 (phones)\n", ""), "ethernet1/10", all);
    // Fields that are new to this reader.
    let field = |line: &str| changed(SWITCHPORT, "  Voice VLAN: 70", &format!("  {line}\n  Voice VLAN: 70"));
    of(field("Switchport Vlan Mapping: Not enabled"), "ethernet1/10", "30/70");
    of(field("Switchport Vlan Mapping: 10 20"), "ethernet1/10", all);
    of(field("Operational private-vlan: none"), "ethernet1/10", all);
    of(field("2026 Mar 2 10:11:12 sw1 %ETHPORT-5-IF_DOWN: Interface is down"), "ethernet1/10", all);
    of(field("garbage"), "ethernet1/10", all);
}

#[test]
fn bundles_are_believed_only_where_both_tables_agree() {
    let of = |evidence: Evidence, name: &str, want: &str| assert_eq!(port(&evidence, name), want);
    let alone = "1/600-699";
    of(
        changed(
            BRIEF,
            "Eth1/8        1       eth  trunk  up      none                       10G(D) 24",
            "Eth1/8        1       eth  trunk  up      none                       10G(D) 2",
        ),
        "ethernet1/8",
        alone,
    );
    of(without(BUNDLES), "ethernet1/8", alone);
    for flags in ["I", "M", "", "PI", "?"] {
        of(changed(BUNDLES, "Eth1/8(P)", &format!("Eth1/8({flags})")), "ethernet1/8", alone);
    }
    for flags in ["D", "s", "H", "r"] {
        of(
            changed(BUNDLES, "Eth1/8(P)", &format!("Eth1/8({flags})")),
            "ethernet1/8",
            "1/600-699 in port-channel24",
        );
    }
    of(changed(BUNDLES, "Eth1/8(P)", "Eth1/8(P) Eth1/8(P)"), "ethernet1/8", alone);
    of(
        changed(BUNDLES, "Eth1/8(P)   ", "--\n                                      Eth1/8(P)"),
        "ethernet1/8",
        "1/600-699 in port-channel24",
    );
    // A bundle that is not listed carries nothing, so its member speaks for itself.
    let gone = changed(SWITCHPORT, "Name: port-channel24", "Name: port-channel25");
    let gone = changed_again(gone, BRIEF, "Po24 ", "Po25 ");
    of(gone, "ethernet1/8", alone);
}

#[test]
fn administratively_down_only_where_read_so() {
    let words = "Administratively down     auto(D)";
    assert_eq!(port(&fixture(), "ethernet1/6"), "40/ shut");
    assert_eq!(port(&changed(BRIEF, words, "Link not connected         auto(D)"), "ethernet1/6"), "40/");
    for odd in ["Administratively           auto(D)", "Administratively down now  auto(D)"] {
        assert_eq!(port(&changed(BRIEF, words, odd), "ethernet1/6"), "40/", "{odd}");
    }
    let up = changed(BRIEF, "access down    Administratively", "access up      Administratively");
    // Without the other table the mode of a port whose link is down is not known.
    assert_eq!(port(&up, "ethernet1/6"), "? all");
    let twice = changed(
        BRIEF,
        "Eth1/10       30 ",
        "Eth1/6        40      eth  access up none auto(D) --\nEth1/10       30 ",
    );
    assert_eq!(port(&twice, "ethernet1/6"), "? all");
}

#[test]
fn the_classes() {
    use BypassClass::{
        Classification, Controller, DoubleTagging, Dynamic, Flows, IngressFiltering, Mirror, Routing,
        Translation,
    };
    let of = |evidence: Evidence, which: BypassClass, want: &str| {
        assert_eq!(class(&evidence, which), want, "{which}")
    };
    let quiet = [
        (Flows, "not read"),
        (Controller, "not read"),
        (Mirror, "clean"),
        (IngressFiltering, "clean"),
        (Routing, "clean"),
        (Translation, "not read"),
        (Classification, "clean"),
        (Dynamic, "clean"),
        (DoubleTagging, "clean"),
    ];
    for (which, want) in quiet {
        of(fixture(), which, want);
    }
    let feature = |name: &str| {
        changed(FEATURES, &format!("{name:<22} 1         disabled"), &format!("{name:<22} 1         enabled"))
    };
    of(feature("openflow"), Flows, "dirty all");
    of(feature("openflow"), Controller, "dirty all");
    of(feature("sflow"), Mirror, "dirty all");
    for name in ["dot1x", "evb", "vmfex", "vtp"] {
        of(feature(name), Dynamic, "dirty all");
        of(changed(FEATURES, &format!("{name:<22} 1         disabled\n"), ""), Dynamic, "not read");
    }
    of(changed(FEATURES, "bgp                    1         disabled", "garbage"), Dynamic, "not read");
    of(without(FEATURES), Dynamic, "not read");
    of(without(FEATURES), Mirror, "not read");

    // Mirrors.
    let two = include_str!("../../fixtures/cisco-nexus/sessions-two.txt");
    let sessions = |text: &str| changed(SESSIONS, "Note: No sessions configured\n", text);
    of(sessions(two), Mirror, "dirty all");
    of(sessions(&two.replace(": up", ": down (Session admin shut)")), Mirror, "clean");
    of(sessions(&two.replace(": up", ": down (No operational src/dst)")), Mirror, "dirty all");
    for odd in ["", "garbage\n", "% Permission denied for the role\n"] {
        of(sessions(odd), Mirror, "not read");
    }
    let first = "Name: Ethernet1/1\n  Switchport: Enabled\n  Switchport Monitor: ";
    of(changed(SWITCHPORT, &format!("{first}Not enabled"), &format!("{first}Enabled")), Mirror, "dirty all");
    of(changed(SWITCHPORT, &format!("{first}Not enabled"), &format!("{first}Not")), Mirror, "not read");
    of(changed(BRIEF, "Eth1/1        30     ", "Eth1/1        monitor"), Mirror, "dirty all");

    // Routing.
    let vlan = "Vlan1     --                                      down   Administratively down";
    of(
        changed(BRIEF, vlan, "Vlan30    --                                      up     --"),
        Routing,
        "dirty 30",
    );
    of(
        changed(BRIEF, vlan, "Vlan30    --                                      down   --"),
        Routing,
        "dirty 30",
    );
    of(
        changed(BRIEF, vlan, "Vlan30    --                                      down   Admin"),
        Routing,
        "clean",
    );
    of(changed(BRIEF, vlan, "%Vlan30 -- up --"), Routing, "not read");
    let address = "Vlan1                unassigned      protocol-down/link-down/admin-down";
    of(changed(ROUTES, address, "Vlan30  192.0.2.9  protocol-down/link-down/admin-up"), Routing, "dirty 30");
    of(changed(ROUTES, address, "Eth1/11.30  192.0.2.9  protocol-up/link-up/admin-up"), Routing, "dirty all");
    let sub = "Lo0           up         router id";
    of(changed(BRIEF, sub, "Eth1/11.30  30  eth  routed up none 10G(D) --"), Routing, "dirty 30");
    of(without(ROUTES), Routing, "not read");
    of(changed(BRIEF, "Eth1/2        2222    eth", "Eth1/2        2222    ?"), Routing, "not read");

    // Tunnels.
    let mode = "Block Unicast: Not enabled\n  Operational Mode: down\n  Access Mode VLAN: 40";
    of(changed(SWITCHPORT, mode, &mode.replace("down", "dot1q-tunnel")), DoubleTagging, "dirty all");
    of(changed(SWITCHPORT, mode, &mode.replace("down", "strange")), DoubleTagging, "not read");
}

#[test]
fn without_one_of_the_two_listings_there_is_no_reading() {
    for asked in [SWITCHPORT, BRIEF] {
        let error = normalise(&without(asked)).unwrap_err();
        assert!(error.sentence.contains(asked), "{error}");
    }
    assert_ne!(read(&changed(SWITCHPORT, "Name: Ethernet1/1\n", "x\nName: Ethernet1/1\n")).anomalies, []);
    assert_ne!(read(&changed(SWITCHPORT, "Name: Ethernet1/2\n", "Name: fc2/1\n")).anomalies, []);
}

#[test]
fn names_in_either_spelling() {
    for (text, want) in [
        ("Ethernet1/12", Some("ethernet1/12")),
        ("Eth1/12", Some("ethernet1/12")),
        ("ETH101/1/48", Some("ethernet101/1/48")),
        ("port-channel24", Some("port-channel24")),
        ("Po4096", Some("port-channel4096")),
        ("Vethernet7", Some("vethernet7")),
        ("Eth1", None),
        ("Eth1/", None),
        ("Eth1/1/1/1", None),
        ("Po1/1", None),
        ("Eth1/1.5", None),
        ("fc2/1", None),
        ("Vlan1", None),
        ("", None),
        ("Eth1/123456", None),
    ] {
        assert_eq!(port_name(text).map(|(_, name)| name).as_deref(), want, "{text}");
    }
}

/// What spanning tree does changes no byte that is kept, and the table that is read is kept.
#[test]
fn what_spanning_tree_does_is_left_out() {
    let text = include_str!("../../fixtures/cisco-nexus/trunk.txt");
    let until = |text: &str| text.lines().take_while(|l| tidy(TRUNK, l) == Tidied::Keep).count();
    let whole = until(text);
    assert_eq!(text.lines().nth(whole), Some("Port          STP Forwarding"));
    let other = "Port          Vlans in spanning tree forwarding state and not pruned";
    assert_eq!(until(&text.replace("Port          STP Forwarding", other)), whole);
    let kept: String = text.lines().take(whole).map(|l| format!("{l}\n")).collect();
    assert_eq!(trunk_lists(&kept), trunk_lists(text));
    assert_eq!(trunk_lists(&kept).unwrap().len(), 7);
    assert_eq!(tidy(BRIEF, "Port          STP Forwarding"), Tidied::Keep);
}

// ---- the law -------------------------------------------------------------------------------------------------------

const LAW: Law<'_> =
    Law { pagers: &["--More--", "--More--\r        \r", "\u{1b}[7m--More--\u{1b}[27m"], alone: &[] };

#[test]
fn the_law_holds_for_the_quiet_switch() {
    law::holds(LAW, normalise, &fixture());
}

/// With mirrors, layer 3 interfaces, a tunnel and features: each must still be seen, or not be called clean.
#[test]
fn the_law_holds_for_the_busy_switch() {
    law::holds(LAW, normalise, &busy());
}

fn busy() -> Evidence {
    let two = include_str!("../../fixtures/cisco-nexus/sessions-two.txt");
    let mut busy = changed(SESSIONS, "Note: No sessions configured\n", two);
    let down = "Block Unicast: Not enabled\n  Operational Mode: down\n  Access Mode VLAN: 40";
    let vlan = "Vlan1     --                                      down   Administratively down\n";
    let address = "Vlan1                unassigned      protocol-down/link-down/admin-down\n";
    let enabled = |name: &str| {
        (FEATURES, format!("{name:<22} 1         disabled"), format!("{name:<22} 1         enabled"))
    };
    for (asked, from, to) in [
        (SWITCHPORT, down.to_owned(), down.replace("down", "dot1q-tunnel")),
        (BRIEF, vlan.to_owned(), format!("{vlan}Vlan30 -- up --\nVlan40 -- up --\n")),
        (
            BRIEF,
            "Eth1/11 ".to_owned(),
            "Eth1/11.50    50      eth  routed up none 10G(D) --\nEth1/11 ".to_owned(),
        ),
        (
            ROUTES,
            address.to_owned(),
            format!(
                "{address}Vlan30 192.0.2.9 protocol-up/link-up/admin-up\nVlan40 192.0.2.19 protocol-up/link-up/admin-up\n\
                 Eth1/11.50 192.0.2.29 protocol-up/link-up/admin-up\n"
            ),
        ),
        enabled("vtp"),
        enabled("openflow"),
    ] {
        busy = changed_again(busy, asked, &from, &to);
    }
    for which in [BypassClass::Mirror, BypassClass::Routing, BypassClass::Dynamic, BypassClass::DoubleTagging]
    {
        assert!(class(&busy, which).starts_with("dirty"), "{which}");
    }
    busy
}

/// Two lines that became one, and a prompt in front of one.
#[test]
fn lines_that_ran_together() {
    for whole in [fixture(), busy()] {
        let before = read(&whole);
        for (i, exchange) in whole.exchanges.iter().enumerate() {
            let text = std::str::from_utf8(&exchange.answer).unwrap();
            for (at, _) in text.match_indices('\n') {
                for between in ["", " ", "\nsw1# "] {
                    let mut spoilt = whole.clone();
                    spoilt.exchanges[i].answer =
                        format!("{}{between}{}", &text[..at], &text[at + 1..]).into_bytes();
                    let less = law::less(&before, &normalise(&spoilt));
                    let line = text[..at].lines().last();
                    assert_eq!(less, None, "{between:?} instead of the line's end behind {line:?}");
                }
            }
        }
    }
}
