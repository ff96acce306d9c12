//! Tests of the dialect `dell-os9`: tables, the law over every line and byte, and a reading over the wire.

use super::*;
use crate::net::WebTarget;
use crate::net::web::serving::{answer as http, serve};
use crate::{Secret, Stopwatch};
use isoledger_core::model::{BypassReading, Failure};
use proptest::prelude::*;
use std::time::Duration;

const LISTING: &str = include_str!("../../fixtures/dell-os9/switchport.txt");
const SETTINGS: &str = include_str!("../../fixtures/dell-os9/interfaces.xml");
const BRIEF: &str = include_str!("../../fixtures/dell-os9/ip-interface-brief.txt");

fn printed(command: &'static str, text: &str) -> Exchange {
    Exchange { asked: show(command).asked(), status: Some(200), answer: wrapped(text).into_bytes() }
}

fn wrapped(text: &str) -> String {
    let text = text.replace('&', "&amp;").replace('<', "&lt;").replace('\n', "\r\n");
    format!("<output xmlns='http://www.dell.com/ns/dell:0.1/root'>\n  <command>{text}</command>\n</output>\n")
}

fn evidence(exchanges: Vec<Exchange>) -> Evidence {
    Evidence { subject: "http://os9".into(), auth: "HTTP Basic as auditor".into(), identity: None, exchanges }
}

/// Two listings around everything else; nothing to hide but what the fixture's ports do.
fn garden() -> Vec<Exchange> {
    vec![
        printed(SWITCHPORT, LISTING),
        printed(ROUTES, BRIEF),
        printed(ROUTES6, "show ipv6 interface brief\nfern-sw#"),
        printed(
            SESSIONS,
            "show monitor session\n\nSessionID  Source  Destination  Direction  Mode  Type\n---------  ------  -----------  ---------  ----  ----\nfern-sw#",
        ),
        printed(SFLOW, "sFlow services are disabled\nfern-sw#"),
        Exchange { asked: format!("GET {INTERFACES}"), status: Some(200), answer: SETTINGS.into() },
        printed(SWITCHPORT, LISTING),
        printed(ROUTES, BRIEF),
        printed(ROUTES6, "show ipv6 interface brief\nfern-sw#"),
        printed(SESSIONS, "fern-sw#"),
        printed(SFLOW, "sFlow services are disabled\nfern-sw#"),
    ]
}

fn read(exchanges: Vec<Exchange>) -> Observed {
    normalise(&evidence(exchanges)).unwrap()
}

/// One port with this record, listed twice.
fn one(record: &str) -> Observed {
    let text = format!("show interfaces switchport\n\nName: GigabitEthernet 1/9\n{record}\nsw#");
    let mut exchanges = garden();
    exchanges[0] = printed(SWITCHPORT, &text);
    exchanges[6] = printed(SWITCHPORT, &text);
    read(exchanges)
}

fn shown(observed: &Observed, port: &str) -> String {
    match &observed.ports[port] {
        PortReading::Unreadable { might_carry, why } => format!("? {might_carry} {why}"),
        PortReading::Read(state) => {
            let mut text = match (state.untagged, state.tagged.is_empty()) {
                (None, true) => "nothing".into(),
                (None, false) => format!("T {}", state.tagged),
                (Some(u), true) => format!("U {u}"),
                (Some(u), false) => format!("U {u} T {}", state.tagged),
            };
            if state.admin_down == Some(true) {
                text += " down";
            }
            if let Some(bundle) = &state.aggregate {
                text += &format!(" in {bundle}");
            }
            text
        }
    }
}

fn class(observed: &Observed, class: BypassClass) -> String {
    match &observed.bypasses[&class] {
        BypassReading::Dirty { vlans, .. } => vlans.to_string(),
        BypassReading::Clean => "clean".into(),
        BypassReading::NotRead { .. } => "unread".into(),
    }
}

#[test]
fn the_garden() {
    let observed = read(garden());
    assert_eq!(observed.anomalies, []);
    for (port, expected) in [
        ("GigabitEthernet 1/1", "U 210"),
        ("GigabitEthernet 1/2", "U 210 T 211,3001-3004,3010,3012,3014,3016-3025,3040"),
        ("GigabitEthernet 1/3", "T 212 down"),
        ("GigabitEthernet 1/4", "U 213 T 214-216"),
        ("GigabitEthernet 1/5", "nothing down"),
        ("TenGigabitEthernet 1/49", "T 210 in Port-channel 1"),
        ("Port-channel 1", "T 210-216,3900-3901"),
    ] {
        assert_eq!(shown(&observed, port), expected, "{port}");
    }
    assert_eq!(observed.ports.len(), 7);
    let PortReading::Read(bundle) = &observed.ports["Port-channel 1"] else { panic!() };
    assert_eq!(bundle.members, ["TenGigabitEthernet 1/49".to_owned()].into());
    let expected = ["unread", "unread", "clean", "unread", "clean", "unread", "unread", "213-216", "unread"];
    let found: Vec<String> = BypassClass::ALL.into_iter().map(|c| class(&observed, c)).collect();
    assert_eq!(found, expected);
}

#[test]
fn what_a_record_carries() {
    let rows =
        |tagged: &str, rows: &str| format!("802.1QTagged: {tagged}\nVlan membership:\nQ       Vlans\n{rows}");
    for (record, expected) in [
        (rows("False", "U       10\n"), "U 10"),
        (rows("True", "T       10,20-22\n"), "T 10,20-22"),
        (rows("Hybrid", "U       10\nT       20\nNative VlanId:    10.\n"), "U 10 T 20"),
        (rows("Hybrid", " U 10 \n T 20\n\nNative Vlan Id: 10.\n"), "U 10 T 20"),
        (rows("Hybrid", "U       10\nT       10,20\n"), "U 10 T 20"),
        // Every code.
        (rows("Hybrid", "x       10\n"), "U 10"),
        (rows("Hybrid", "i       10\n"), "U 10"),
        (rows("Hybrid", "v       10\n"), "U 10"),
        (
            rows("Hybrid", "X       10\nG       11\nM       12\nI       13\nV       14\nH       15\n"),
            "T 10-15",
        ),
        (rows("True", "T       10\nT       12\n"), "T 10,12"),
        // Wrapped, as often as it likes, after a comma.
        (rows("True", "T       10,\n        12-13,\n        20\n"), "T 10,12-13,20"),
        ("Description: U 4000\n".to_owned() + &rows("False", "U       10\n"), "U 10"),
        (rows("True", ""), "nothing"),
        // A code nobody knows.
        (rows("Hybrid", "U       10\nZ       20\n"), "?"),
        (rows("Hybrid", "U       10\nu       20\n"), "?"),
        (rows("Hybrid", "U       10\no       20\n"), "?"),
        // Broken elsewhere than after a comma, or broken off.
        (rows("True", "T       10,12\n        13\n"), "?"),
        (rows("True", "T       10,\n"), "?"),
        (rows("True", "T       10-\n"), "?"),
        (rows("True", "T       ,10\n"), "?"),
        (rows("True", "T\n"), "?"),
        (rows("True", "        10\n"), "?"),
        (rows("True", "T       10,\n        12\n--More--\n"), "?"),
        (rows("True", "T       none\n"), "?"),
        (rows("True", "T       0\n"), "?"),
        (rows("True", "T       4095\n"), "?"),
        (rows("True", "T       20-10\n"), "?"),
        (rows("True", "Vlan 10, Vlan 20\n"), "?"),
        // What contradicts itself.
        (rows("True", "U       10\n"), "?"),
        (rows("False", "U       10\nT       11\n"), "?"),
        (rows("Perhaps", "U       10\n"), "?"),
        (rows("Hybrid", "U       10-11\n"), "?"),
        (rows("Hybrid", "U       10\nv       11\n"), "?"),
        (rows("Hybrid", "U       10\nNative VlanId:    11.\n"), "?"),
        (rows("Hybrid", "T       10\nNative VlanId:    11.\n"), "?"),
        // What is not in order, or not whole.
        ("Vlan membership:\nQ       Vlans\nU       10\n".into(), "?"),
        ("802.1QTagged: False\nQ       Vlans\nU       10\n".into(), "?"),
        ("802.1QTagged: False\nVlan membership:\nU       10\n".into(), "?"),
        ("802.1QTagged: False\nVlan membership:\n".into(), "?"),
        ("802.1QTagged: False\n".into(), "?"),
        (String::new(), "?"),
        (rows("Hybrid", "Native VlanId:    10.\nU       10\n"), "?"),
        (rows("False", "U       10\nfern-sw#\n"), "?"),
        (rows("False", "U       10\nDescription: late\n"), "?"),
        (rows("False", "U       10\n        T - Tagged\n"), "?"),
        (rows("False", "U       10\nSomething: new\n"), "?"),
    ] {
        let observed = one(&record);
        let found = shown(&observed, "GigabitEthernet 1/9");
        let as_expected = if expected == "?" { found.starts_with("? all ") } else { found == expected };
        assert!(as_expected, "{record}: found {found}, expected {expected}");
        assert_eq!(observed.anomalies, [], "{record}");
    }
}

#[test]
fn what_makes_a_class_dirty_or_unread() {
    let with = |command: &'static str, text: &str| {
        // Either answer is enough to find something, and one alone is not enough to find nothing.
        let both = [0, 1].map(|nth| {
            let mut exchanges = garden();
            let mut places = (0..exchanges.len()).filter(|i| exchanges[*i].asked == show(command).asked());
            let place = places.nth(nth).unwrap();
            exchanges[place] = printed(command, text);
            read(exchanges)
        });
        assert_eq!(both[0].bypasses, both[1].bypasses);
        let [one, _] = both;
        one
    };
    let head = "Interface IP-Address OK Method Status Protocol\n";
    let sessions = "SessionID Source Destination\n--------- ------ ------\n";
    for (command, text, what, expected) in [
        (ROUTES, format!("{head}Vlan 210 10.0.0.1 YES Manual up up\nsw#"), BypassClass::Routing, "210"),
        (ROUTES, format!("{head}Vlan 210 unassigned YES Manual up up\nsw#"), BypassClass::Routing, "clean"),
        (ROUTES, format!("{head}Vlan 210 10.0.0.1 YES Manual up up\n"), BypassClass::Routing, "unread"),
        (ROUTES, "Vlan 210 10.0.0.1 YES Manual up up\nsw#".into(), BypassClass::Routing, "unread"),
        (ROUTES, format!("{head}--More--\nsw#"), BypassClass::Routing, "unread"),
        (ROUTES, "% Error: Invalid input\nsw#".into(), BypassClass::Routing, "unread"),
        (ROUTES6, "Vlan 7  [up/up]\n  fe80::1\nsw#".into(), BypassClass::Routing, "7"),
        (ROUTES6, "Vl 7  [up/up]\nsw#".into(), BypassClass::Routing, "7"),
        (ROUTES6, "Vlan7  [up/up]\nsw#".into(), BypassClass::Routing, "7"),
        (
            ROUTES6,
            "Loopback 0 [up/up]\n 2001:db8::1/64\nGigabitEthernet 1/3 [up/up]\nsw#".into(),
            BypassClass::Routing,
            "clean",
        ),
        (ROUTES6, "V-lan 7 [up/up]\nsw#".into(), BypassClass::Routing, "unread"),
        (ROUTES6, "--More--\nsw#".into(), BypassClass::Routing, "unread"),
        (ROUTES6, "% Error\nsw#".into(), BypassClass::Routing, "unread"),
        (ROUTES6, String::new(), BypassClass::Routing, "unread"),
        (
            SESSIONS,
            format!("{sessions}0 Gi 1/1 Gi 1/9 rx interface Port-based\nsw#"),
            BypassClass::Mirror,
            "210",
        ),
        (SESSIONS, format!("{sessions}0 Vl 40 Gi 1/9 rx\nsw#"), BypassClass::Mirror, "40"),
        (SESSIONS, format!("{sessions}0 Gi 1/5 Gi 1/9 rx\nsw#"), BypassClass::Mirror, "all"),
        (SESSIONS, format!("{sessions}0 remote-ip\nsw#"), BypassClass::Mirror, "all"),
        (SESSIONS, format!("{sessions}what is this\nsw#"), BypassClass::Mirror, "unread"),
        (SESSIONS, sessions.into(), BypassClass::Mirror, "unread"),
        (SESSIONS, "sw#".into(), BypassClass::Mirror, "clean"),
        (SFLOW, "sFlow services are enabled\nsw#".into(), BypassClass::Mirror, "all"),
        (
            SFLOW,
            "sFlow services are disabled\nsFlow services are enabled\nsw#".into(),
            BypassClass::Mirror,
            "all",
        ),
        (SFLOW, "nothing\nsw#".into(), BypassClass::Mirror, "unread"),
        (SFLOW, "sFlow services are disabled".into(), BypassClass::Mirror, "unread"),
    ] {
        assert_eq!(class(&with(command, &text), what), expected, "{text}");
    }
    let stacked = one("802.1QTagged: True\nVlan membership:\nQ       Vlans\nM       60-61\n");
    // How access ports of a stack are listed is not known, so it may be any VLAN.
    assert_eq!(class(&stacked, BypassClass::DoubleTagging), "all");
    let plain = one("802.1QTagged: True\nVlan membership:\nQ       Vlans\nT       60-61\n");
    assert_eq!(
        (class(&plain, BypassClass::Dynamic), class(&plain, BypassClass::DoubleTagging)),
        ("clean".into(), "unread".into())
    );
    let odd = one("802.1QTagged: True\nVlan membership:\nQ       Vlans\nZ       60-61\n");
    assert_eq!(class(&odd, BypassClass::Dynamic), "unread");
}

/// A port that both listings lost carries something all the same where its settings say that it switches.
#[test]
fn a_switchport_without_a_record_is_unreadable() {
    for (more, expected) in [
        ("<switchport>true</switchport>", "?"),
        ("<portmode><hybrid>true</hybrid></portmode>", "?"),
        ("<switchport>false</switchport>", "nothing"),
        ("", "nothing"),
    ] {
        let mut exchanges = garden();
        let settings = exchanges.iter_mut().find(|x| x.asked.starts_with("GET")).unwrap();
        settings.answer = format!(
            "<interfaces><interface><name>gige-1-40</name><shutdown>false</shutdown>{more}</interface></interfaces>"
        )
        .into_bytes();
        let observed = read(exchanges);
        let found = shown(&observed, "GigabitEthernet 1/40");
        assert!(found.starts_with(expected), "{more}: {found}");
        let dynamic = class(&observed, BypassClass::Dynamic);
        assert_eq!(dynamic, if expected == "?" { "all" } else { "213-216" }, "{more}");
    }
}

#[test]
fn a_port_is_down_only_when_nothing_speaks_against_it() {
    let down = |settings: &str, brief: &str| {
        let mut exchanges = garden();
        exchanges[1] = printed(ROUTES, brief);
        exchanges[7] = printed(ROUTES, brief);
        exchanges[5].answer = settings.into();
        match &read(exchanges).ports["GigabitEthernet 1/3"] {
            PortReading::Read(state) => state.admin_down,
            PortReading::Unreadable { .. } => panic!(),
        }
    };
    assert_eq!(down(SETTINGS, BRIEF), Some(true));
    assert_eq!(down(SETTINGS, "% Error\nsw#"), Some(true));
    let up = BRIEF.replace(
        "1/3   unassigned      NO  Manual administratively down down",
        "1/3 unassigned YES Manual up up",
    );
    assert_eq!(down(SETTINGS, &up), None);
    for (from, to, expected) in [
        ("gige-1-3", "gige-1/3\\", Some(true)),
        ("gige-1-3", "tengig-1-3", None),
        ("<name>gige-1-3</name><shutdown>true", "<name>gige-1-3</name><shutdown>false", Some(false)),
        ("<name>gige-1-3</name><shutdown>true</shutdown>", "<name>gige-1-3</name>", None),
        ("<name>gige-1-3</name>", "<name>gige-1-3</name><shutdown>false</shutdown>", None),
        ("<name>gige-1-4</name>", "<name>gige-1-3</name>", None),
        ("</interfaces>", "", None),
        ("</interfaces>", "</interfaces><x/>", Some(true)),
    ] {
        assert_eq!(down(&SETTINGS.replace(from, to), BRIEF), expected, "{to}");
    }
}

#[test]
fn interfaces_one_by_one() {
    for (port, url) in [
        ("GigabitEthernet 1/3", "gige-1-3"),
        ("TenGigabitEthernet 1/49", "tengig-1-49"),
        ("FortyGigabitEthernet 1/52/1", "fortygig-1-52-1"),
    ] {
        assert_eq!(in_url(port).as_deref(), Some(url));
        assert_eq!(from_url(url).as_deref(), Some(port));
        let asked = get(INTERFACE.replace("{interface}", url)).asked();
        assert!(asked.ends_with("%5C?with-defaults"));
        assert_eq!(interface_asked(&asked).as_deref(), Some(port));
    }
    assert_eq!((in_url("Port-channel 1"), in_url("Vlan 7"), from_url("loopback-0")), (None, None, None));
    let mut exchanges = garden();
    exchanges[5].status = Some(404);
    for (url, name) in [("gige-1-3", "gige-1-3"), ("gige-1-1", "gige-1-2"), ("gige-1-2", "")] {
        let name = if name.is_empty() { String::new() } else { format!("<name>{name}</name>") };
        exchanges.push(Exchange {
            asked: get(INTERFACE.replace("{interface}", url)).asked(),
            status: Some(200),
            answer: format!("<interface>{name}<shutdown>true</shutdown></interface>").into_bytes(),
        });
    }
    let observed = read(exchanges);
    assert_eq!(observed.anomalies, []);
    assert!(shown(&observed, "GigabitEthernet 1/3").ends_with(" down"));
    assert!(!shown(&observed, "GigabitEthernet 1/1").ends_with(" down"), "another name than was asked for");
    assert!(
        !shown(&observed, "GigabitEthernet 1/2").ends_with(" down"),
        "`show ip interface brief` says it is up"
    );
}

#[test]
fn answers_that_are_none() {
    let with = |at: usize, status: Option<u16>, answer: &str| {
        let mut exchanges = garden();
        exchanges[at].status = status;
        exchanges[at].answer = answer.into();
        normalise(&evidence(exchanges))
    };
    for (status, answer, words) in [
        (Some(404), "", "found the status 404"),
        (Some(200), "", "not the XML expected"),
        (Some(200), "<output><command/></output><output><command/></output>", "<output> was expected"),
        (Some(200), "<html></html>", "<output> was expected"),
        (Some(200), "<output></output>", "no <command>"),
        (Some(200), "<output><command/><command/></output>", "<command> twice"),
        (
            Some(200),
            "<output><command>% Error: Invalid input at \"^\"</command></output>",
            "the switch refused it",
        ),
        (Some(401), "", "refuses the configured user"),
    ] {
        for at in [0, 6] {
            let error = with(at, status, answer).unwrap_err();
            assert!(error.kind == Failure::Unreadable && error.sentence.contains(words), "{error}");
        }
    }
    assert_eq!(with(3, None, "[silent] no connection").unwrap_err().kind, Failure::Silent);
    let once = garden().into_iter().take(6).collect();
    assert!(normalise(&evidence(once)).unwrap_err().sentence.contains("two were expected"));
    let empty = with(0, Some(200), &wrapped("sw#")).unwrap();
    assert!(empty.anomalies.iter().any(|a| a.what.contains("no port at all")));
    let mut strange = garden();
    strange.push(Exchange {
        asked: "DELETE /api/running/dell".into(),
        status: Some(200),
        answer: Vec::new(),
    });
    assert!(read(strange).anomalies[0].what.contains("never asks"));
}

#[test]
fn one_listing_is_not_believed_alone() {
    for (from, to, port) in [
        ("T       212", "T       213", "GigabitEthernet 1/3"),
        ("        3016-3025,3040", "        3016-3025", "GigabitEthernet 1/2"),
        ("Name: GigabitEthernet 1/1", "Name: GigabitEthernet 1/7", "GigabitEthernet 1/1"),
        ("Name: GigabitEthernet 1/1", "Name: GigabitEthernet 1/3", "GigabitEthernet 1/3"),
    ] {
        let mut exchanges = garden();
        exchanges[6] = printed(SWITCHPORT, &LISTING.replace(from, to));
        let observed = read(exchanges);
        assert!(shown(&observed, port).starts_with("? all "), "{to}");
        assert_eq!(observed.anomalies, []);
    }
}

/// The law: whatever an answer lost or mixed up, no port carries less without being marked, or the whole switch.
fn lawful(before: &Observed, exchanges: Vec<Exchange>, what: &str) {
    let Ok(after) = normalise(&evidence(exchanges)) else { return };
    if !after.anomalies.is_empty() {
        return;
    }
    for (port, reading) in &before.ports {
        let PortReading::Read(before) = reading else { continue };
        match after.ports.get(port) {
            Some(PortReading::Read(after)) => {
                let lost = before.carries().difference(&after.carries());
                assert!(lost.is_empty(), "{what}: {port} lost {lost}");
                let (was, is) = (before.admin_down == Some(true), after.admin_down == Some(true));
                assert!(was || !is, "{what}: {port} went down");
                assert_eq!(before.aggregate, after.aggregate, "{what}: {port}");
            }
            Some(PortReading::Unreadable { might_carry, .. }) => {
                assert!(might_carry.is_all(), "{what}: {port}")
            }
            None => assert!(before.carries().is_empty(), "{what}: {port} is gone"),
        }
    }
}

#[test]
fn the_law_over_every_line() {
    let before = read(garden());
    let lines: Vec<&str> = LISTING.lines().collect();
    for at in [0, 6] {
        let check = |lines: &[&str], what: String| {
            let mut exchanges = garden();
            exchanges[at] = printed(SWITCHPORT, &lines.join("\n"));
            lawful(&before, exchanges, &what);
        };
        for i in 0..lines.len() {
            let mut changed = lines.clone();
            changed.remove(i);
            check(&changed, format!("without line {i}"));
            for litter in [
                "--More--",
                " --More-- \u{8}\u{8}\u{8}",
                "-- MORE --",
                "fern-sw#",
                "^C",
                "% Error: timed out",
            ] {
                let mut changed = lines.clone();
                changed.insert(i, litter);
                check(&changed, format!("{litter} before line {i}"));
                let glued = format!("{litter}{}", lines[i]);
                changed[i] = &glued;
                changed.remove(i + 1);
                check(&changed, format!("{litter} in line {i}"));
            }
            for j in i + 1..lines.len() {
                let mut changed = lines.clone();
                changed.swap(i, j);
                check(&changed, format!("lines {i} and {j} swapped"));
            }
            check(&lines[..i], format!("only {i} lines"));
            check(&lines[i..], format!("from line {i}"));
        }
        for cut in 0..LISTING.len() {
            let mut exchanges = garden();
            exchanges[at] = printed(SWITCHPORT, &LISTING[..cut]);
            lawful(&before, exchanges, &format!("cut at {cut}"));
        }
    }
}

#[test]
fn the_law_over_every_element_of_the_settings() {
    let before = read(garden());
    let tree = xml::parse(SETTINGS).unwrap();
    let spans: Vec<_> = tree
        .descendants()
        .filter(|n| n.is_element() && n.parent_element().is_some())
        .map(|n| n.range())
        .collect();
    let check = |text: String, what: &str| {
        let mut exchanges = garden();
        exchanges[5].answer = text.into_bytes();
        lawful(&before, exchanges, what);
    };
    for (i, a) in spans.iter().enumerate() {
        check(format!("{}{}", &SETTINGS[..a.start], &SETTINGS[a.end..]), "without");
        check(format!("{}{}", &SETTINGS[..a.end], &SETTINGS[a.start..]), "twice");
        for b in spans[i + 1..].iter().filter(|b| b.start >= a.end) {
            let parts = [
                &SETTINGS[..a.start],
                &SETTINGS[b.clone()],
                &SETTINGS[a.end..b.start],
                &SETTINGS[a.clone()],
                &SETTINGS[b.end..],
            ];
            check(parts.concat(), "swapped");
        }
    }
    for cut in 0..SETTINGS.len() {
        check(SETTINGS[..cut].to_owned(), "cut");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn any_bytes_end_in_a_reading(at in 0..11usize, bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let before = read(garden());
        let mut exchanges = garden();
        exchanges[at].answer = bytes;
        lawful(&before, exchanges, "other bytes");
    }

    #[test]
    fn any_text_ends_in_a_listing(text in "(Name: GigabitEthernet 1/[1-3]|U|T| |[0-9]{1,4}|,|-|\n|Q Vlans|Vlan membership:|802.1QTagged: (True|Hybrid)|#){0,60}") {
        let before = read(garden());
        let mut exchanges = garden();
        exchanges[6] = printed(SWITCHPORT, &text);
        lawful(&before, exchanges, "other text");
    }
}

fn settings(url: &str) -> WebSettings {
    WebSettings {
        web: WebTarget {
            url: url.into(),
            user: Some(("auditor".into(), Secret::new("hunter2"))),
            ca: None,
            allow_plain_http: false,
            request_timeout: Duration::from_secs(20),
        },
        interface_types: Vec::new(),
    }
}

#[tokio::test]
async fn over_the_wire() {
    for list_is_served in [true, false] {
        let count = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
        let (url, seen) = serve(move |request| {
            let asked = format!("{} {}", request.what, request.body);
            let found = garden().into_iter().find(|x| x.asked == asked.trim_end());
            let found = found.filter(|x| list_is_served || !x.asked.starts_with("GET"));
            // Counters go on; evidence must not.
            let samples = count.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
            let body = match found {
                Some(x) if x.asked == show(SFLOW).asked() => Some(wrapped(&format!(
                    "show sflow\nsFlow services are disabled\n{samples} UDP packets exported\nfern-sw#"
                ))),
                Some(x) => Some(String::from_utf8(x.answer).unwrap()),
                None if request.what
                    == "GET /api/running/dell/interfaces/interface/gige-1-3%5C?with-defaults" =>
                {
                    Some("<interface><name>gige-1-3</name><shutdown>true</shutdown></interface>".into())
                }
                None => None,
            };
            async move {
                match body {
                    Some(body) => http(200, &body),
                    None => http(404, "<html>no</html>"),
                }
            }
        })
        .await;
        let mut os9 = Os9::new(&settings(&url)).unwrap();
        let clock = Stopwatch::from_system().unwrap();
        let deadline = Instant::now() + Duration::from_secs(30);
        let first = os9.read(&clock, deadline).await;
        let observed = first.outcome.unwrap();
        assert_eq!(observed.anomalies, []);
        assert_eq!(shown(&observed, "GigabitEthernet 1/3"), "T 212 down");
        assert_eq!(class(&observed, BypassClass::Mirror), "clean");
        assert_eq!(normalise(&first.evidence).unwrap(), observed, "the evidence alone says the same");
        let connections = seen.connections();
        let second = os9.read(&clock, deadline).await;
        assert_eq!(second.evidence, first.evidence, "an unchanged switch gives unchanged evidence");
        assert_eq!(seen.connections(), connections, "the second poll opens no connection");
        let said = String::from_utf8(first.evidence.to_bytes()).unwrap();
        assert!(!said.contains("hunter2") && !said.contains(">secret<"), "{said}");
        for asked in seen.asked() {
            let single = asked.starts_with("GET ") && interface_asked(&asked).is_some();
            assert!(single || OS9.sends.contains(&asked.as_str()), "{asked}");
        }
    }
}

#[test]
fn nothing_but_show_commands() {
    for sent in OS9.sends {
        let (before, after) = ("<input><show-command>", "</show-command></input>");
        match sent.strip_prefix("POST ") {
            Some(rest) => {
                let command =
                    rest.strip_prefix(CLI).and_then(|r| r.trim_start().strip_prefix(before)).unwrap();
                let command = command.strip_suffix(after).unwrap();
                assert!([SWITCHPORT, ROUTES, ROUTES6, SESSIONS, SFLOW].contains(&command), "{sent}");
                // The switch puts `show` before it; nothing in it may end that command.
                assert!(command.chars().all(|c| c.is_ascii_alphanumeric() || c == ' '), "{sent}");
            }
            None => assert!(sent.starts_with("GET "), "{sent}"),
        }
    }
}

#[test]
fn the_page_has_the_table_of_the_code() {
    let page = include_str!("../../../docs/dialects/dell-os9.md");
    for (class, text) in BYPASS_TABLE {
        assert!(page.contains(&format!("| `{class}` | {text} |")), "{class}");
    }
    for sent in OS9.sends {
        assert!(page.contains(&format!("`{sent}`")), "{sent}");
    }
}

#[test]
fn interface_types_are_refused_where_all_are_read() {
    let types = vec!["GigabitEthernet".to_owned()];
    let some = WebSettings { interface_types: types, ..settings("http://127.0.0.1:8008") };
    let said = Os9::new(&some).unwrap_err().sentence;
    assert!(said.contains("GigabitEthernet") && said.contains("every type"), "{said}");
}
