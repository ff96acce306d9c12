//! Tests of the dialect `brocade-vdx`: tables, the law over every element, and a reading over the wire.

use super::*;
use crate::net::WebTarget;
use crate::net::web::serving::{answer as http, serve};
use crate::{Secret, Stopwatch};
use isoledger_core::model::{BypassReading, Failure};
use proptest::prelude::*;
use std::time::Duration;

const TEN: &str = include_str!("../../fixtures/brocade-vdx/TenGigabitEthernet.xml");
const CHANNELS: &str = include_str!("../../fixtures/brocade-vdx/Port-channel.xml");
const NS: &str = r#"xmlns="urn:brocade.com:mgmt:brocade-interface""#;

fn exchange(path: &str, status: u16, answer: &str) -> Exchange {
    Exchange { asked: format!("GET {path}"), status: Some(status), answer: answer.as_bytes().to_vec() }
}

fn evidence(exchanges: Vec<Exchange>) -> Evidence {
    Evidence { subject: "http://vdx".into(), auth: "HTTP Basic as auditor".into(), identity: None, exchanges }
}

/// The list of everything: names alone.
const INDEX: &str = r#"<interface xmlns="urn:brocade.com:mgmt:brocade-interface"><Vlan><name>210</name></Vlan>
<TenGigabitEthernet><name>101/0/1</name></TenGigabitEthernet><TenGigabitEthernet><name>101/0/2</name></TenGigabitEthernet>
<TenGigabitEthernet><name>101/0/3</name></TenGigabitEthernet><TenGigabitEthernet><name>101/0/4</name></TenGigabitEthernet>
<TenGigabitEthernet><name>101/0/5</name></TenGigabitEthernet><Port-channel><name>7</name></Port-channel></interface>"#;

/// A switch with everything served and nothing to hide. The second half repeats the first but for the index.
fn garden() -> Vec<Exchange> {
    let half = vec![
        exchange(&INTERFACES_OF.replace("{type}", "TenGigabitEthernet"), 200, TEN),
        exchange(&INTERFACES_OF.replace("{type}", "Port-channel"), 200, CHANNELS),
        exchange(
            MONITOR,
            200,
            r#"<monitor xmlns="urn:brocade.com:mgmt:brocade-span" y:self="m" xmlns:y="u"/>"#,
        ),
        exchange(OVERLAY, 204, ""),
        exchange(&VE_OF.replace("{rbridge}", "101"), 204, ""),
    ];
    [vec![exchange(INTERFACES, 200, INDEX)], half.clone(), half].concat()
}

/// The same from a switch that does not serve the list of everything.
fn without_index() -> Vec<Exchange> {
    let mut exchanges = garden();
    exchanges[0] = exchange(INTERFACES, 404, "");
    exchanges
}

/// The same from a switch that writes the entries of a list one after the other, without a root.
fn rootless() -> Vec<Exchange> {
    let mut exchanges = garden();
    for exchange in &mut exchanges {
        let text = String::from_utf8(exchange.answer.clone()).unwrap();
        if text.starts_with("<collection") {
            let lines: Vec<&str> = text.lines().collect();
            let inner = lines[1..lines.len() - 1].join("\n").replace(" y:self=", " self=");
            exchange.answer = inner.into_bytes();
        }
    }
    exchanges
}

/// One port of this content, asked for twice.
fn one(content: &str) -> Observed {
    let list = format!(
        r#"<collection><TenGigabitEthernet {NS}><name>1/0/1</name>{content}</TenGigabitEthernet></collection>"#
    );
    let half = [
        exchange(&INTERFACES_OF.replace("{type}", "TenGigabitEthernet"), 200, &list),
        exchange(MONITOR, 204, ""),
        exchange(OVERLAY, 204, ""),
        exchange(&VE_OF.replace("{rbridge}", "1"), 204, ""),
    ];
    let index = "<interface><TenGigabitEthernet><name>1/0/1</name></TenGigabitEthernet></interface>";
    normalise(&evidence([vec![exchange(INTERFACES, 200, index)], half.to_vec(), half.to_vec()].concat()))
        .unwrap()
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

#[test]
fn the_garden() {
    for exchanges in [garden(), without_index(), rootless()] {
        let indexed = exchanges[0].status == Some(200);
        let observed = normalise(&evidence(exchanges)).unwrap();
        assert_eq!(observed.anomalies, []);
        for (port, expected) in [
            ("TenGigabitEthernet 101/0/1", "U 210"),
            ("TenGigabitEthernet 101/0/2", "U 210 T 211,3001-3004,3025"),
            ("TenGigabitEthernet 101/0/3", "T 212 down"),
            ("TenGigabitEthernet 101/0/4", "nothing in Port-channel 7"),
            ("TenGigabitEthernet 101/0/5", "nothing"),
            ("Port-channel 7", "T 2-3999"),
        ] {
            assert_eq!(shown(&observed, port), expected, "{port}");
        }
        assert_eq!(observed.ports.len(), 6);
        let PortReading::Read(bundle) = &observed.ports["Port-channel 7"] else { panic!() };
        assert_eq!(bundle.members, ["TenGigabitEthernet 101/0/4".to_owned()].into());
        for class in [
            BypassClass::Mirror,
            BypassClass::Routing,
            BypassClass::Translation,
            BypassClass::Classification,
            BypassClass::Dynamic,
        ] {
            // Without the list of everything there may be interfaces that nobody asked for.
            let reading = &observed.bypasses[&class];
            assert_eq!(*reading == BypassReading::Clean, indexed, "{class}: {reading:?}");
        }
        for class in [
            BypassClass::Flows,
            BypassClass::Controller,
            BypassClass::IngressFiltering,
            BypassClass::DoubleTagging,
        ] {
            assert!(matches!(observed.bypasses[&class], BypassReading::NotRead { .. }), "{class}");
        }
    }
}

#[test]
fn what_a_switchport_carries() {
    let trunk = |list: &str, more: &str| {
        format!(
            "<switchport><mode><vlan-mode>trunk</vlan-mode></mode><trunk><allowed><vlan>{list}</vlan></allowed>{more}\
             </trunk></switchport>"
        )
    };
    let no_native = |list: &str, more: &str| {
        trunk(list, more).replace("<vlan-mode>trunk<", "<vlan-mode>trunk-no-default-native<")
    };
    let access = |vlan: &str| {
        format!("<switchport><mode><vlan-mode>access</vlan-mode></mode><access>{vlan}</access></switchport>")
    };
    for (content, expected) in [
        (String::new(), "nothing"),
        ("<shutdown/>".into(), "nothing down"),
        // No mode and no VLAN: the defaults.
        ("<switchport></switchport>".into(), "U 1"),
        (r#"<switchport><basic/></switchport>"#.into(), "U 1"),
        // Settings of a trunk, whose mode is lost.
        (trunk("<add>5</add>", "").replace("<mode><vlan-mode>trunk</vlan-mode></mode>", ""), "?"),
        (access(""), "U 1"),
        (access("<vlan>10</vlan>"), "U 10"),
        (access("<accessvlan>10</accessvlan>"), "U 10"),
        (access("<vlan>10</vlan><accessvlan>10</accessvlan>"), "?"),
        (access("<vlan>0</vlan>"), "?"),
        (access("<vlan>4095</vlan>"), "?"),
        (access("<vlan>6000</vlan>"), "?"),
        (access("<vlan>10</vlan><vlan>11</vlan>"), "?"),
        (access("<vlan>10<x/></vlan>"), "?"),
        (access("10"), "?"),
        (access("<guest>10</guest>"), "?"),
        (access(r#"<access-mac-vlan-classification><access><vlan><vid>5</vid></vlan></access></access-mac-vlan-classification>"#), "?"),
        // An access port's trunk columns say nothing.
        (access("<vlan>10</vlan>").replace("</switchport>", "<trunk><native-vlan>9</native-vlan></trunk></switchport>"), "U 10"),
        (trunk("<add>5,7-9</add>", ""), "U 1 T 5,7-9"),
        (trunk("<add> 5, 7-9 </add>", ""), "U 1 T 5,7-9"),
        (trunk("<add>5</add>", "<native-vlan>9</native-vlan>"), "U 9 T 5"),
        (trunk("<add>5,9</add>", "<native-vlan>9</native-vlan>"), "U 9 T 5"),
        (trunk("<add>5</add>", "<tag><native-vlan>true</native-vlan></tag><native-vlan>9</native-vlan>"), "T 5,9"),
        (trunk("<add>5</add>", "<tag><native-vlan/></tag>"), "T 1,5"),
        (trunk("<add>5</add>", "<tag><native-vlan>false</native-vlan></tag>"), "U 1 T 5"),
        (trunk("<add>5</add>", "<tag><native-vlan>maybe</native-vlan></tag>"), "?"),
        (trunk("<add>5</add>", "<native-vlan>9</native-vlan><native-vlan>9</native-vlan>"), "?"),
        (trunk("<all>true</all>", ""), "U 1 T 2-4094"),
        (trunk("<all/>", ""), "U 1 T 2-4094"),
        (trunk("<none>true</none>", ""), "U 1"),
        (trunk("<none/>", ""), "U 1"),
        (trunk("<except>2-4000</except>", ""), "U 1 T 4001-4094"),
        (trunk("<all/><remove>2-4000</remove>", ""), "U 1 T 4001-4094"),
        (trunk("<none/><add>5</add>", ""), "U 1 T 5"),
        (trunk("<remove>5</remove>", ""), "?"),
        (trunk("<add>5</add><remove>5</remove>", ""), "?"),
        (trunk("<all/><none/>", ""), "?"),
        (trunk("<all/><add>5</add>", ""), "?"),
        (trunk("<all>false</all>", ""), "?"),
        (trunk("", ""), "?"),
        (trunk("<some>5</some>", ""), "?"),
        (trunk("<add>5</add><add>6</add>", ""), "?"),
        (trunk("<add>all</add>", ""), "?"),
        (trunk("<add></add>", ""), "?"),
        (trunk("<add>5,</add>", ""), "?"),
        (trunk("<add>9-5</add>", ""), "?"),
        (trunk("<add>5-6000</add>", ""), "?"),
        (trunk("<add>5</add>", "<trunk-vlan-classification><allowed><vlan><add><trunk-vlan-id>6</trunk-vlan-id></add></vlan></allowed></trunk-vlan-classification>"), "?"),
        (trunk("<add>5</add>", "<allowed/>"), "?"),
        (trunk("<add>5</add>", "").replace("<vlan><add>", "<rspan-vlan><add>77</add></rspan-vlan><vlan><add>"), "U 1 T 5,77"),
        (trunk("<add>5</add>", "").replace("<vlan><add>", "<rspan-vlan/><vlan><add>"), "U 1 T 5"),
        (no_native("<add>5</add>", ""), "T 5"),
        (no_native("<add>5</add>", "<native-vlan-untagged>9</native-vlan-untagged>"), "U 9 T 5"),
        (no_native("<add>5</add>", "<native-vlan-xtagged><vid>9</vid></native-vlan-xtagged>"), "?"),
        (no_native("<add>5</add>", "<native-vlan>8</native-vlan><native-vlan-untagged>9</native-vlan-untagged>"), "?"),
        ("<switchport><mode><vlan-mode>trunk</vlan-mode></mode></switchport>".into(), "?"),
        ("<switchport><mode><vlan-mode>hybrid</vlan-mode></mode></switchport>".into(), "?"),
        ("<switchport><mode><vlan-mode>access</vlan-mode><private-vlan>host</private-vlan></mode></switchport>".into(), "?"),
        ("<switchport><voice><vlan>9</vlan></voice></switchport>".into(), "?"),
        ("<switchport/><switchport/>".into(), "?"),
        ("<switchport>true</switchport><switchport><access><vlan>9</vlan></access></switchport>".into(), "U 9"),
        ("<switchport>false</switchport>".into(), "nothing"),
        ("<switchport>true</switchport>".into(), "?"),
        ("<switchport>false</switchport><switchport><access><vlan>9</vlan></access></switchport>".into(), "?"),
        ("<switchport>true</switchport><switchport>true</switchport><switchport/>".into(), "?"),
        ("<switchport><classification><vlan>9</vlan><mac>0</mac></classification></switchport>".into(), "?"),
        (trunk("<add>5</add><all>false</all><none>false</none>", ""), "U 1 T 5"),
        (trunk("<all>false</all><none>true</none>", ""), "U 1"),
        ("<shutdown>true</shutdown><shutdown>false</shutdown>".into(), "?"),
        ("<shutdown>perhaps</shutdown>".into(), "?"),
        ("stray".into(), "?"),
        ("<channel-group><mode>active</mode></channel-group>".into(), "?"),
        ("<channel-group><port-int>9</port-int></channel-group>".into(), "?"),
    ] {
        let observed = one(&content);
        let found = shown(&observed, "TenGigabitEthernet 1/0/1");
        let as_expected = if expected == "?" { found.starts_with("? all ") } else { found == expected };
        assert!(as_expected, "{content}: found {found}, expected {expected}");
        assert_eq!(observed.anomalies, [], "{content}");
    }
}

#[test]
fn what_makes_a_class_dirty_or_unread() {
    let dirty = |o: &Observed, class| match &o.bypasses[&class] {
        BypassReading::Dirty { vlans, .. } => vlans.to_string(),
        BypassReading::Clean => "clean".into(),
        BypassReading::NotRead { .. } => "unread".into(),
    };
    use BypassClass::{Classification, Dynamic, Flows, Mirror, Translation};
    for (content, class, expected) in [
        ("<openflow><enable>true</enable></openflow>", Flows, "all"),
        ("<sflow><enable>true</enable></sflow>", Mirror, "all"),
        ("<dot1x><authentication>true</authentication></dot1x>", Dynamic, "all"),
        (
            "<vlan><classifier><activate><group>1</group></activate></classifier></vlan>",
            Classification,
            "all",
        ),
        ("<fabric><isl><enable>true</enable></isl></fabric>", Dynamic, "unread"),
        ("<fabric><isl><enable>true</enable></isl></fabric><shutdown>true</shutdown>", Dynamic, "clean"),
        ("<fabric><isl><enable>false</enable></isl></fabric>", Dynamic, "clean"),
        ("<novelty><on/></novelty>", Dynamic, "unread"),
        ("<novelty><on/></novelty>", Classification, "unread"),
        ("<novelty><on/></novelty>", Translation, "unread"),
        (r#"<novelty self="x"/>"#, Translation, "clean"),
        ("<lldp><disable/></lldp>", Dynamic, "clean"),
        ("<ip><arp><trust>false</trust></arp></ip>", Dynamic, "clean"),
        ("<sflow><enable>false</enable></sflow>", Mirror, "clean"),
        ("<switchport><classification><vlan>9</vlan></classification></switchport>", Classification, "all"),
        (
            "<switchport><mode><vlan-mode>trunk</vlan-mode></mode><trunk><allowed><rspan-vlan><add>77</add></rspan-vlan>\
             <vlan><none/></vlan></allowed></trunk></switchport>",
            Mirror,
            "77",
        ),
        (
            "<switchport><mode><vlan-mode>trunk</vlan-mode></mode><trunk><trunk-vlan-classification><x>1</x>\
             </trunk-vlan-classification></trunk></switchport>",
            Translation,
            "all",
        ),
        ("<port-profile-port/>", Dynamic, "all"),
    ] {
        assert_eq!(dirty(&one(content), class), expected, "{content}: {class}");
    }
    for (at, status, body, class, expected) in [
        (3, 200, "<monitor><session><session-number>1</session-number></session></monitor>", Mirror, "all"),
        (3, 200, "<session><session-number>1</session-number></session>", Mirror, "all"),
        (3, 200, "<monitor><news>1</news></monitor>", Mirror, "unread"),
        (3, 200, "<monitor>text</monitor>", Mirror, "unread"),
        (3, 200, "<errors><error>no</error></errors>", Mirror, "unread"),
        (3, 404, "", Mirror, "unread"),
        (3, 500, "", Mirror, "unread"),
        (3, 204, "", Mirror, "clean"),
        (4, 200, "<overlay-gateway><name>g</name></overlay-gateway>", Translation, "all"),
        (
            4,
            200,
            "<collection><overlay-gateway><name>g</name></overlay-gateway></collection>",
            Translation,
            "all",
        ),
        (4, 200, "<overlay-gateway/>", Translation, "clean"),
        (4, 404, "", Translation, "unread"),
        (5, 200, "<collection><Ve><name>210</name></Ve></collection>", BypassClass::Routing, "210"),
        (5, 200, "<Ve><name>210</name><shutdown>true</shutdown></Ve>", BypassClass::Routing, "clean"),
        (5, 404, "", BypassClass::Routing, "unread"),
        (5, 200, "<Ve><name>210</name>", BypassClass::Routing, "unread"),
    ] {
        // Either answer is enough to find something, and one alone is not enough to find nothing.
        for at in [at, at + 5] {
            let mut exchanges = garden();
            exchanges[at].status = Some(status);
            exchanges[at].answer = body.as_bytes().to_vec();
            let observed = normalise(&evidence(exchanges)).unwrap();
            assert_eq!(dirty(&observed, class), expected, "{body} {status}: {class}");
        }
    }
    let mut exchanges = garden();
    exchanges[0].answer = INDEX
        .replace("<Vlan><name>210</name>", "<Ve><name>9</name></Ve><Vlan><name>210</name><remote-span/>")
        .into_bytes();
    let observed = normalise(&evidence(exchanges)).unwrap();
    assert_eq!(
        (dirty(&observed, Mirror), dirty(&observed, BypassClass::Routing)),
        ("210".into(), "9".into())
    );
    let mut exchanges = garden();
    exchanges.pop();
    assert_eq!(dirty(&normalise(&evidence(exchanges)).unwrap(), BypassClass::Routing), "unread");
}

#[test]
fn port_profiles() {
    let profile = |name: &str, switchport: &str| {
        format!("<port-profile><name>{name}</name><vlan-profile>{switchport}</vlan-profile></port-profile>")
    };
    let trunk = |list: &str| {
        format!(
            "<switchport><mode><vlan-mode>trunk</vlan-mode></mode><trunk><allowed><vlan>{list}</vlan></allowed></trunk>\
             </switchport>"
        )
    };
    for (profiles, expected) in [
        (profile("a", &trunk("<add>5</add>")) + &profile("b", &trunk("<add>9</add>")), "? 1,5,9 it takes"),
        (profile("default", &trunk("<all/>")), "? all it takes"),
        (profile("odd", "<switchport><mode><vlan-mode>x</vlan-mode></mode></switchport>"), "? all it takes"),
        (String::new(), "? all it takes"),
    ] {
        let mut exchanges = garden();
        for exchange in &mut exchanges {
            let text = String::from_utf8(exchange.answer.clone()).unwrap();
            exchange.answer =
                text.replace("<mtu>9216</mtu>", r#"<port-profile-port y:self="p"/>"#).into_bytes();
        }
        exchanges.push(exchange(PROFILES, 200, &format!("<collection>{profiles}</collection>")));
        let observed = normalise(&evidence(exchanges)).unwrap();
        let found = shown(&observed, "TenGigabitEthernet 101/0/5");
        assert!(found.starts_with(expected), "{profiles}: {found}");
        assert!(matches!(observed.bypasses[&BypassClass::Dynamic], BypassReading::Dirty { .. }));
    }
}

#[test]
fn interfaces_that_are_not_read_are_not_passed_over() {
    let with = |added: &str| {
        let mut exchanges = garden();
        let text = String::from_utf8(exchanges[0].answer.clone()).unwrap();
        exchanges[0].answer = text.replace("<Vlan>", &format!("{added}<Vlan>")).into_bytes();
        normalise(&evidence(exchanges)).unwrap()
    };
    for (added, port) in [
        (
            "<FortyGigabitEthernet><name>101/0/49</name></FortyGigabitEthernet>",
            "FortyGigabitEthernet 101/0/49",
        ),
        ("<NovelEthernet><name>1/2</name></NovelEthernet>", "NovelEthernet 1/2"),
        ("<Tunnel><name>1</name></Tunnel>", "Tunnel 1"),
    ] {
        let observed = with(added);
        assert!(shown(&observed, port).starts_with("? all "), "{added}");
        // It may have anything configured.
        for class in BY_INTERFACE {
            assert!(matches!(observed.bypasses[&class], BypassReading::NotRead { .. }), "{added}: {class}");
        }
    }
    for added in [
        "<FortyGigabitEthernet></FortyGigabitEthernet>",
        "<FortyGigabitEthernet><name>a b</name></FortyGigabitEthernet>",
        "<FortyGigabitEthernet><name>1</name><name>2</name></FortyGigabitEthernet>",
        "stray",
    ] {
        assert!(!with(added).anomalies.is_empty(), "{added}");
    }
}

#[test]
fn readings_that_fail() {
    let mut silent = garden();
    silent[2] =
        Exchange { asked: silent[2].asked.clone(), status: None, answer: b"[silent] no connection".to_vec() };
    assert_eq!(normalise(&evidence(silent)).unwrap_err().kind, Failure::Silent);
    for (status, words) in [(401, "refuses the configured user"), (403, "may not read"), (301, "redirect")] {
        let mut refused = garden();
        refused[3].status = Some(status);
        let error = normalise(&evidence(refused)).unwrap_err();
        assert!(error.kind == Failure::Unreadable && error.sentence.contains(words), "{error}");
    }
    let empty =
        garden().into_iter().map(|x| Exchange { status: Some(404), answer: Vec::new(), ..x }).collect();
    assert!(normalise(&evidence(empty)).unwrap_err().sentence.contains("no interface of the types"));
    let mut strange = garden();
    strange.push(exchange("/rest/config/running/interface/TenGigabitEthernet/%221/0/1%22", 200, "<a/>"));
    strange.push(exchange("/rest/config/startup", 200, "<a/>"));
    assert!(!normalise(&evidence(strange)).unwrap().anomalies.is_empty());
}

/// The law: whatever one answer lost or mixed up, no port carries less without being marked, or the whole switch.
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

/// Where the elements of a document stand.
fn spans(text: &str) -> Vec<std::ops::Range<usize>> {
    let rooted = xml::rooted(text.as_bytes()).unwrap();
    let around = if rooted == text { 0 } else { xml::ROOT.len() + 2 };
    let tree = xml::parse(&rooted).unwrap();
    let below = tree.descendants().filter(|n| n.is_element() && n.parent_element().is_some());
    below.map(|n| n.range().start - around..n.range().end - around).collect()
}

#[test]
fn the_law_over_every_element() {
    for exchanges in [garden(), without_index(), rootless()] {
        let before = normalise(&evidence(exchanges.clone())).unwrap();
        for at in 0..exchanges.len() {
            let text = String::from_utf8(exchanges[at].answer.clone()).unwrap();
            let with = |answer: String| {
                let mut changed = exchanges.clone();
                changed[at].answer = answer.into_bytes();
                changed
            };
            if text.is_empty() {
                continue;
            }
            let spans = spans(&text);
            for (i, a) in spans.iter().enumerate() {
                let what = |did: &str| format!("{} {did} {}", exchanges[at].asked, &text[a.clone()]);
                lawful(&before, with(format!("{}{}", &text[..a.start], &text[a.end..])), &what("without"));
                lawful(&before, with(format!("{}{}", &text[..a.end], &text[a.start..])), &what("twice"));
                for b in spans[i + 1..].iter().filter(|b| b.start >= a.end) {
                    let swapped = [
                        &text[..a.start],
                        &text[b.clone()],
                        &text[a.end..b.start],
                        &text[a.clone()],
                        &text[b.end..],
                    ];
                    lawful(&before, with(swapped.concat()), &what("swapped"));
                }
            }
            for cut in 0..text.len() {
                lawful(
                    &before,
                    with(text[..cut].to_owned()),
                    &format!("{} cut at {cut}", exchanges[at].asked),
                );
            }
            let mut gone = exchanges.clone();
            gone.remove(at);
            lawful(&before, gone, &format!("without {}", exchanges[at].asked));
            let mut gone = exchanges.clone();
            gone[at] = Exchange { status: Some(404), answer: Vec::new(), ..gone[at].clone() };
            lawful(&before, gone, &format!("404 for {}", exchanges[at].asked));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn any_bytes_end_in_a_reading(
        at in 0..11usize,
        bytes in proptest::collection::vec(any::<u8>(), 0..300),
    ) {
        let mut exchanges = garden();
        let before = normalise(&evidence(exchanges.clone())).unwrap();
        exchanges[at].answer = bytes;
        lawful(&before, exchanges, "other bytes");
    }

    #[test]
    fn bytes_changed_within_an_answer(
        at in 0..4usize,
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let mut exchanges = garden();
        let before = normalise(&evidence(exchanges.clone())).unwrap();
        for (index, byte) in changes {
            let i = index.index(exchanges[at].answer.len());
            exchanges[at].answer[i] = byte;
        }
        lawful(&before, exchanges, "changed bytes");
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
        interface_types: vec!["TenGigabitEthernet".into(), "port-channel".into(), "Port-channel".into()],
    }
}

#[tokio::test]
async fn over_the_wire() {
    for table in [garden(), without_index(), rootless()] {
        let (url, seen) = serve(move |request| {
            let found = table.iter().find(|x| x.asked.eq_ignore_ascii_case(&request.what)).cloned();
            async move {
                match found {
                    Some(x) => http(x.status.unwrap(), std::str::from_utf8(&x.answer).unwrap()),
                    None => http(404, "<html>no</html>"),
                }
            }
        })
        .await;
        let mut vdx = Vdx::new(settings(&url)).unwrap();
        let clock = Stopwatch::from_system().unwrap();
        let deadline = Instant::now() + Duration::from_secs(30);
        let first = vdx.read(&clock, deadline).await;
        let observed = first.outcome.unwrap();
        assert_eq!(observed.anomalies, []);
        assert_eq!(shown(&observed, "TenGigabitEthernet 101/0/2"), "U 210 T 211,3001-3004,3025");
        assert_eq!(shown(&observed, "Port-channel 7"), "T 2-3999");
        assert_eq!(normalise(&first.evidence).unwrap(), observed, "the evidence alone says the same");
        let connections = seen.connections();
        let second = vdx.read(&clock, deadline).await;
        assert_eq!(second.evidence, first.evidence, "an unchanged switch gives unchanged evidence");
        assert_eq!(seen.connections(), connections, "the second poll opens no connection");
        assert_eq!(second.sent as usize * 2, seen.asked().len());
        let said = String::from_utf8(first.evidence.to_bytes()).unwrap();
        assert!(!said.contains("hunter2") && !said.contains("YXVkaXRvcjpodW50ZXIy"));
        for asked in seen.asked() {
            let declared = VDX.sends.iter().any(|s| match s.split_once('{') {
                None => asked == *s,
                Some((before, rest)) => {
                    let after = rest.split_once('}').unwrap().1;
                    asked.starts_with(before) && asked.ends_with(after)
                }
            });
            assert!(declared && asked.starts_with("GET "), "{asked}");
        }
    }
}

#[test]
fn interface_types_are_plain_words() {
    for bad in ["", "Ten Gig", "../../../startup", "Ten%22", "Ten?x"] {
        let mut settings = settings("http://127.0.0.1:1");
        settings.interface_types = vec![bad.into()];
        assert!(Vdx::new(settings).unwrap_err().sentence.contains("as an interface type"), "{bad:?}");
    }
}

#[test]
fn the_page_has_the_table_of_the_code() {
    let page = include_str!("../../../docs/dialects/brocade-vdx.md");
    for (class, text) in BYPASS_TABLE {
        assert!(page.contains(&format!("| `{class}` | {text} |")), "{class}");
    }
    for sent in VDX.sends {
        assert!(page.contains(&format!("`{sent}`")), "{sent}");
    }
}
