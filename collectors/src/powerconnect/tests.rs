//! What a record means, and that a spoilt transcript never means less.

use super::*;
use crate::Exchange;
use crate::law::{Law, holds};
use isoledger_core::model::BypassReading;
use proptest::prelude::*;

macro_rules! fixture {
    ($name:literal) => {
        include_str!(concat!("../../fixtures/powerconnect-5500/", $name, ".txt"))
    };
}

fn evidence() -> Evidence {
    let answers = [
        (SWITCHPORT, fixture!("switchport")),
        (CONFIGURATION, fixture!("configuration")),
        (BUNDLES, fixture!("port-channel")),
        (VLANS, fixture!("vlan")),
        (MONITORS, fixture!("monitor")),
        (SAMPLES, fixture!("sflow")),
        (ADDRESSES, fixture!("ip")),
        (ADDRESSES6, fixture!("ip6")),
        (GVRP, fixture!("gvrp")),
        (DOT1X, fixture!("dot1x")),
    ];
    let exchange = |(asked, answer): (&str, &str)| Exchange {
        asked: asked.into(),
        status: Some(0),
        answer: answer.into(),
    };
    let exchanges = answers.into_iter().map(exchange).collect();
    Evidence { subject: "barn".into(), exchanges, ..Evidence::default() }
}

/// The evidence with one answer changed.
fn with(command: &str, change: impl Fn(&str) -> String) -> Evidence {
    let mut evidence = evidence();
    let exchange = evidence.exchanges.iter_mut().find(|x| x.asked == command).unwrap();
    let before = String::from_utf8(exchange.answer.clone()).unwrap();
    let after = change(&before);
    assert_ne!(before, after, "the change does nothing");
    exchange.answer = after.into_bytes();
    evidence
}

fn shown(reading: &PortReading) -> String {
    match reading {
        PortReading::Read(state) => {
            let mut text =
                format!("{}/{}", state.untagged.map(|v| v.to_string()).unwrap_or_default(), state.tagged);
            if state.admin_down == Some(true) {
                text += " down";
            }
            if let Some(bundle) = &state.aggregate {
                text += &format!(" in {bundle}");
            }
            text
        }
        PortReading::Unreadable { might_carry, .. } => format!("unreadable {might_carry}"),
    }
}

fn port(evidence: &Evidence, name: &str) -> String {
    shown(&normalise(evidence).unwrap().ports[name])
}

#[test]
fn every_port_of_the_fixture() {
    let observed = normalise(&evidence()).unwrap();
    let got: Vec<_> = observed.ports.iter().map(|(n, p)| (n.as_str(), shown(p))).collect();
    let want = [
        ("gi1/0/1", "1511/1512,1600"),
        ("gi1/0/10", "1700/ down"),
        ("gi1/0/11", "1512/"),
        ("gi1/0/2", "1600/"),
        ("gi1/0/3", "/1612-1614,1700"),
        ("gi1/0/4", "/1700"),
        ("gi1/0/5", "/"),
        ("gi1/0/6", "1600/1612-1613"),
        ("gi1/0/7", "/1612-1613"),
        ("gi1/0/8", "1/ in po1"),
        ("gi1/0/9", "1/"),
        ("po1", "/1600,1700"),
        ("te1/0/1", "1/2-4094"),
    ];
    assert_eq!(got, want.map(|(n, p)| (n, p.to_owned())));
    assert!(observed.anomalies.is_empty(), "{:?}", observed.anomalies);
    let unread = [BypassClass::Flows, BypassClass::Translation];
    for class in BypassClass::ALL {
        match &observed.bypasses[&class] {
            BypassReading::Clean => assert!(!unread.contains(&class), "{class}"),
            BypassReading::NotRead { .. } => assert!(unread.contains(&class), "{class}"),
            BypassReading::Dirty { detail, .. } => panic!("{class}: {detail}"),
        }
    }
    let PortReading::Read(bundle) = &observed.ports["po1"] else { panic!() };
    assert_eq!(bundle.members.iter().collect::<Vec<_>>(), ["gi1/0/8"]);
}

/// A record of one port, changed, and what the port then carries.
#[test]
fn a_record_and_what_it_means() {
    for (from, to, want) in [
        (
            "gi1/0/1\nSwitchport: enable\nAdministrative Mode: trunk",
            "gi1/0/1\nSwitchport: enable\nAdministrative Mode: access",
            "unreadable 1,1511,1600",
        ),
        (
            "VLAN: 1511\nTrunking VLANs Enabled: 1511",
            "VLAN: none\nTrunking VLANs Enabled: 1511",
            "/1511-1512,1600",
        ),
        (
            "VLAN: 1511\nTrunking VLANs Enabled: 1511",
            "VLAN: 4095\nTrunking VLANs Enabled: 1511",
            "/1511-1512,1600",
        ),
        (
            "VLAN: 1511\nTrunking VLANs Enabled: 1511",
            "VLAN: 7\nTrunking VLANs Enabled: 1511",
            "/1511-1512,1600",
        ),
        ("1512 (Inactive)", "1512 (Not here)", "unreadable all"),
        ("1512 (Inactive)", "1512 (Inactive),", "unreadable all"),
        ("1512 (Inactive)", "x1512 (Inactive)", "unreadable all"),
        ("1512 (Inactive)", "All", "unreadable all"),
        (
            "Trunking VLANs Enabled: 1511,1600\n                        1512 (Inactive)",
            "Trunking VLANs Enabled: all",
            "1511/1-1510,1512-4094",
        ),
        ("Administrative Mode: trunk", "Administrative Mode: private-vlan host", "unreadable all"),
        ("Administrative Mode: trunk", "Voice VLAN: 77\nAdministrative Mode: trunk", "1511/77,1512,1600"),
        ("Administrative Mode: trunk", "Guest VLAN: 77\nAdministrative Mode: trunk", "unreadable all"),
        ("Administrative Mode: trunk", "Protected: enabled\nAdministrative Mode: trunk", "1511/1512,1600"),
        ("Administrative Mode: trunk", "what is this\nAdministrative Mode: trunk", "unreadable all"),
        ("General GVRP VLANs: none", "General GVRP VLANs: 88", "1511/88,1512,1600"),
    ] {
        let got = port(&with(SWITCHPORT, |text: &str| text.replacen(from, to, 1)), "gi1/0/1");
        assert_eq!(got, want, "{to:?}");
    }
}

#[test]
fn general_mode() {
    for (from, to, want) in [
        (
            "General Egress Tagged VLANs Enabled: 1612-1613",
            "General Egress Tagged VLANs Enabled: 1612",
            "unreadable all",
        ),
        (
            "General Egress Tagged VLANs Enabled: 1612-1613",
            "General Egress Tagged VLANs Enabled: 1600,1612-1613",
            "unreadable all",
        ),
        ("General PVID: 1600", "General PVID: 4095", "1600/1612-1613"),
        ("General PVID: 1600", "General PVID: 1612", "unreadable all"),
        ("General PVID: 1600", "General PVID: 77", "1600/1612-1613"),
    ] {
        let change = |text: &str| {
            let at = text.find("Name: gi1/0/6").unwrap();
            format!("{}{}", &text[..at], text[at..].replacen(from, to, 1))
        };
        assert_eq!(port(&with(SWITCHPORT, change), "gi1/0/6"), want, "{to:?}");
    }
}

#[test]
fn each_class_that_is_read_can_be_dirty() {
    let replaced = |from: &'static str, to: &'static str| move |text: &str| text.replacen(from, to, 1);
    for (command, change, class) in [
        (
            MONITORS,
            replaced("barn#", "gi1/0/1      gi1/0/9           RX,TX        notReady\nbarn#"),
            BypassClass::Mirror,
        ),
        (
            ADDRESSES,
            replaced("barn#", "10.9.1.5/24         vlan 1600  Static   disable     No          Valid\nbarn#"),
            BypassClass::Routing,
        ),
        // A VLAN with no other address than this.
        (
            ADDRESSES6,
            replaced("barn#", "VLAN 1600   fe80::1                linklayer\nbarn#"),
            BypassClass::Routing,
        ),
        (SAMPLES, replaced("2      0.0.0.0 ", "2      10.1.1.9"), BypassClass::Mirror),
        (SAMPLES, replaced("gi1/0/1   Disabled", "gi1/0/1   1/2048  "), BypassClass::Mirror),
        (ADDRESSES, replaced("\n\n Gateway", "\nIP routing is enabled\n Gateway"), BypassClass::Routing),
        (GVRP, replaced("Disabled", "Enabled"), BypassClass::Dynamic),
        (DOT1X, replaced("802.1x is disabled", "802.1x is enabled"), BypassClass::Dynamic),
        (SWITCHPORT, replaced("DVA: disable", "DVA: enable"), BypassClass::Dynamic),
        (
            SWITCHPORT,
            replaced(
                "Classification rules:\n",
                "Classification rules:\nClassification type Group ID VLAN ID\n--- ---\nMAC  1  1700\n",
            ),
            BypassClass::Classification,
        ),
        (
            SWITCHPORT,
            replaced(
                "1612-1613\nGeneral Forbidden VLANs: none\nGeneral Ingress Filtering: enabled",
                "1612-1613\nGeneral Forbidden VLANs: none\nGeneral Ingress Filtering: disabled",
            ),
            BypassClass::IngressFiltering,
        ),
        (
            SWITCHPORT,
            replaced(
                "Administrative Mode: access",
                "Customer Mode VLAN: 1600\nAdministrative Mode: customer",
            ),
            BypassClass::DoubleTagging,
        ),
    ] {
        let mut evidence = with(command, change);
        if class == BypassClass::DoubleTagging {
            // The field stands there once already.
            let exchange = evidence.exchanges.iter_mut().find(|x| x.asked == command).unwrap();
            let text = String::from_utf8(exchange.answer.clone()).unwrap();
            let at = text.find("customer").unwrap();
            exchange.answer =
                format!("{}{}", &text[..at], text[at..].replacen("Customer Mode VLAN: none\n", "", 1))
                    .into_bytes();
        }
        let observed = normalise(&evidence).unwrap();
        let reading = &observed.bypasses[&class];
        assert!(matches!(reading, BypassReading::Dirty { .. }), "{class}: {reading:?}");
    }
}

#[test]
fn a_class_whose_command_failed_is_not_read() {
    for (command, class) in [
        (MONITORS, BypassClass::Mirror),
        (SAMPLES, BypassClass::Mirror),
        (ADDRESSES, BypassClass::Routing),
        (ADDRESSES6, BypassClass::Routing),
        (GVRP, BypassClass::Dynamic),
        (DOT1X, BypassClass::Dynamic),
    ] {
        let mut evidence = evidence();
        evidence.exchanges.iter_mut().find(|x| x.asked == command).unwrap().status = Some(1);
        let observed = normalise(&evidence).unwrap();
        assert!(matches!(observed.bypasses[&class], BypassReading::NotRead { .. }), "{class}");
        let mut silent = evidence.clone();
        silent.exchanges.iter_mut().find(|x| x.asked == command).unwrap().answer = b"barn#".to_vec();
        silent.exchanges.iter_mut().for_each(|x| x.status = Some(0));
        let observed = normalise(&silent).unwrap();
        assert!(matches!(observed.bypasses[&class], BypassReading::NotRead { .. }), "{class}");
    }
}

/// The second layout, with its lists of ports.
fn table() -> Evidence {
    let mut evidence = evidence();
    let states = "Port     Type\ngi1      1G-Copper    Full    1000   Enabled  Off      Up      Disabled Auto\n\
                  gi2      1G-Copper    Full    1000   Enabled  Off      Up      Disabled Auto\nbarn#";
    let vlans = "Vlan Name Tagged Ports UnTagged Ports Type Authorization\n---- ---- ----\n\
                 1511  greenhouse                  gi1      static  Required\n\
                 1600  meadow           gi1        gi2      static  Required\nbarn#";
    for (command, answer) in [(SWITCHPORT, fixture!("table")), (CONFIGURATION, states), (VLANS, vlans)] {
        evidence.exchanges.iter_mut().find(|x| x.asked == command).unwrap().answer = answer.into();
    }
    evidence
}

#[test]
fn the_second_layout() {
    assert_eq!(port(&table(), "gi1"), "1511/1600");
    assert_eq!(port(&table(), "gi2"), "1600/");
}

#[test]
fn a_spoilt_transcript_never_means_less() {
    // Nothing else speaks of a VLAN that does not exist yet.
    let law = Law { pagers: MANNER.pagers, alone: &["1512 (Inactive)"] };
    holds(law, normalise, &evidence());
    holds(Law { pagers: MANNER.pagers, alone: &[] }, normalise, &table());
}

/// With every class that is read dirty: each must still be seen, or not be called clean.
#[test]
fn the_law_holds_for_the_busy_switch() {
    let mut busy = evidence();
    for (command, from, to) in [
        (MONITORS, "barn#", "gi1/0/1      gi1/0/9           RX,TX        notReady\nbarn#"),
        (ADDRESSES, "barn#", "10.9.1.5/24         vlan 1600  Static   disable     No          Valid\nbarn#"),
        (
            SAMPLES,
            "gi1/0/1   Disabled   60 sec     128         0",
            "gi1/0/1   1/2048     60 sec     128         2",
        ),
        (SAMPLES, "2      0.0.0.0 ", "2      10.1.1.9"),
        (ADDRESSES6, "\nDefault", "VLAN 1700   fe80::1                linklayer\n\nDefault"),
        (GVRP, "Disabled", "Enabled"),
        (DOT1X, "802.1x is disabled", "802.1x is enabled"),
        (
            SWITCHPORT,
            "Classification rules:\n",
            "Classification rules:\nMac based VLANs:\n  Group ID   Vlan ID\n--------- ------\n    1         1700\n",
        ),
        (
            SWITCHPORT,
            "1612-1613\nGeneral Forbidden VLANs: none\nGeneral Ingress Filtering: enabled",
            "1612-1613\nGeneral Forbidden VLANs: none\nGeneral Ingress Filtering: disabled",
        ),
    ] {
        let exchange = busy.exchanges.iter_mut().find(|x| x.asked == command).unwrap();
        let text = String::from_utf8(exchange.answer.clone()).unwrap();
        assert!(text.contains(from), "{from:?}");
        exchange.answer = text.replacen(from, to, 1).into_bytes();
    }
    let read = normalise(&busy).unwrap().bypasses;
    let dirty = read.values().filter(|reading| matches!(reading, BypassReading::Dirty { .. })).count();
    assert_eq!(dirty, 5, "{read:?}");
    // Rows that stand in one place only.
    let alone = ["1512 (Inactive)", "notReady", "10.9.1.5", "10.1.1.5", "VLAN 1700", "    1         1700"];
    holds(Law { pagers: MANNER.pagers, alone: &alone }, normalise, &busy);
}

/// A line of `show ports monitor` that is no row of two ports is no mirror, and no proof that there is none.
#[test]
fn a_mirror_is_a_row_of_two_ports() {
    let with = |line: &str| {
        let evidence = with(MONITORS, |text| text.replacen("barn#", &format!("{line}\nbarn#"), 1));
        normalise(&evidence).unwrap().bypasses[&BypassClass::Mirror].clone()
    };
    for unknown in ["Port monitoring is disabled", "vlan 7   gi1/0/9   RX", "gi1/0/1"] {
        assert!(matches!(with(unknown), BypassReading::NotRead { .. }), "{unknown}");
    }
    // Whatever the state of its link.
    assert_eq!(with("gi1/0/1  gi1/0/9  RX  active"), with("gi1/0/1  gi1/0/9  RX  notReady"));
}

/// What is neither sampled nor disabled, and an address that is in no VLAN, are no proof.
#[test]
fn odd_samples_and_addresses_are_not_read() {
    for (command, from, to, class) in [
        (SAMPLES, "Receivers", "Receivers (8)", BypassClass::Mirror),
        (SAMPLES, "Interfaces", "", BypassClass::Mirror),
        (SAMPLES, "2      0.0.0.0", "2      collector", BypassClass::Mirror),
        (SAMPLES, "gi1/0/1   Disabled", "ch1       1/2048  ", BypassClass::Mirror),
        (SAMPLES, "Receivers", "sFlow is enabled\nReceivers", BypassClass::Mirror),
        (ADDRESSES6, "VLAN 1 ", "tunnel1", BypassClass::Routing),
        (ADDRESSES6, "Interface   IP addresses", "Port        IP addresses", BypassClass::Routing),
        (ADDRESSES6, "Interface ", "IPv6 is on\nInterface ", BypassClass::Routing),
    ] {
        let observed = normalise(&with(command, |text| text.replacen(from, to, 1))).unwrap();
        let reading = &observed.bypasses[&class];
        assert!(matches!(reading, BypassReading::NotRead { .. }), "{command} {to:?}: {reading:?}");
    }
}

#[test]
fn a_release_that_says_it_is_busy_is_read() {
    let evidence = with(SWITCHPORT, |text| format!("Gathering information...\n\n{text}"));
    assert_eq!(normalise(&evidence).unwrap(), normalise(&self::evidence()).unwrap());
    let other = with(SWITCHPORT, |text| format!("Gathering something else\n{text}"));
    assert_eq!(normalise(&other).unwrap().anomalies.len(), 1);
}

/// What a link does changes no byte that is kept.
#[test]
fn the_state_of_links_is_left_out() {
    assert_eq!(tidy(SWITCHPORT, "Operational Mode: up"), tidy(SWITCHPORT, "Operational Mode: down"));
    assert_eq!(tidy(DOT1X, "gi1/0/1  Force Authorized  Authorized  Disabled 3600  n/a"), Tidied::Drop);
    for (command, line) in [
        (SWITCHPORT, "Operational Mode: odd"),
        (SWITCHPORT, "Name: gi1/0/1"),
        (CONFIGURATION, "Operational Mode: up"),
        (CONFIGURATION, "gi1/0/1  1G-Copper    Full    1000   Enabled  Off      Up      Disabled Auto"),
        (DOT1X, "802.1x is disabled"),
    ] {
        assert_eq!(tidy(command, line), Tidied::Keep, "{line}");
    }
    let tidied = with(SWITCHPORT, |t| t.replace("Operational Mode: up", "Operational Mode: (left out)"));
    assert_eq!(normalise(&tidied).unwrap(), normalise(&evidence()).unwrap());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn no_bytes_make_it_panic(
        at in 0usize..COMMANDS.len(),
        cut in 0usize..8000,
        noise in prop::collection::vec(any::<u8>(), 0..60),
    ) {
        let mut evidence = evidence();
        let answer = &mut evidence.exchanges[at].answer;
        let cut = cut % answer.len();
        answer.splice(cut..cut, noise);
        let _ = normalise(&evidence);
    }
}
