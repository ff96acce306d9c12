//! What a record means, and that a spoilt transcript never means less.

use super::*;
use crate::Exchange;
use crate::law::{Law, holds};
use isoledger_core::model::BypassReading;
use proptest::prelude::*;

macro_rules! fixture {
    ($name:literal) => {
        include_str!(concat!("../../fixtures/dell-n3000/", $name, ".txt"))
    };
}

fn evidence() -> Evidence {
    let answers = [
        (SWITCHPORT, fixture!("switchport")),
        (CONFIGURATION, fixture!("configuration")),
        (BUNDLES, fixture!("port-channel")),
        (VLANS, fixture!("vlan")),
        (SESSIONS[0], fixture!("session-1")),
        (SESSIONS[1], fixture!("session-2")),
        (SESSIONS[2], fixture!("session-3")),
        (SESSIONS[3], fixture!("session-4")),
        (RECEIVERS[0], fixture!("sflow-1")),
        (RECEIVERS[1], fixture!("sflow-2")),
        (RECEIVERS[2], fixture!("sflow-3")),
        (RECEIVERS[3], fixture!("sflow-4")),
        (RECEIVERS[4], fixture!("sflow-5")),
        (RECEIVERS[5], fixture!("sflow-6")),
        (RECEIVERS[6], fixture!("sflow-7")),
        (RECEIVERS[7], fixture!("sflow-8")),
        (ADDRESSES, fixture!("ip")),
        (ADDRESSES6, fixture!("ip6")),
        (GVRP, fixture!("gvrp")),
        (MVRP, fixture!("mvrp")),
        (DOT1X, fixture!("dot1x")),
    ];
    let exchange = |(asked, answer): (&str, &str)| Exchange {
        asked: asked.into(),
        status: Some(0),
        answer: answer.into(),
    };
    let exchanges = answers.into_iter().map(exchange).collect();
    Evidence { subject: "loft".into(), exchanges, ..Evidence::default() }
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
            let untagged = state.untagged.map(|v| v.to_string()).unwrap_or_default();
            let mut text = format!("{untagged}/{}", state.tagged);
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

#[test]
fn every_port_of_the_fixture() {
    let observed = normalise(&evidence()).unwrap();
    let got: Vec<_> = observed.ports.iter().map(|(n, p)| (n.as_str(), shown(p))).collect();
    let want = [
        ("gi1/0/1", "1/"),
        ("gi1/0/2", "1511/1600,1612-1614"),
        // A native VLAN that the port is not in.
        ("gi1/0/3", "/1600"),
        ("gi1/0/4", "/1511,1600"),
        ("gi1/0/5", "/"),
        ("gi1/0/6", "1600/1612-1613"),
        ("gi1/0/7", "1600/ down"),
        ("gi1/0/8", "1/ in po1"),
        ("gi1/0/9", "1/"),
        ("po1", "/1600"),
        ("te1/0/1", "1/1511,1600,1612-1614"),
    ];
    assert_eq!(got, want.map(|(n, p)| (n, p.to_owned())));
    assert!(observed.anomalies.is_empty(), "{:?}", observed.anomalies);
    let clean =
        [BypassClass::Mirror, BypassClass::IngressFiltering, BypassClass::Routing, BypassClass::Dynamic];
    for class in BypassClass::ALL {
        match &observed.bypasses[&class] {
            BypassReading::Clean => assert!(clean.contains(&class), "{class}"),
            BypassReading::NotRead { .. } => assert!(!clean.contains(&class), "{class}"),
            BypassReading::Dirty { detail, .. } => panic!("{class}: {detail}"),
        }
    }
}

#[test]
fn a_record_that_contradicts_itself_counts_for_all_that_it_says() {
    for (port, from, to, want) in [
        // The mode is another than what the port does.
        ("Gi1/0/2", "Trunk Mode", "Access Mode", "unreadable 1,1511,1600,1612-1614"),
        ("Gi1/0/1", "Access Mode\n", "Trunk Mode\n", "1/"),
        // HIL's issue 870: a native VLAN is shown that the port is not in.
        ("Gi1/0/3", "Native VLAN: 999", "Native VLAN: 1 (default)", "/1600"),
        ("Gi1/0/3", "VLANs : 1600", "VLANs : (999),1600", "unreadable 999,1600"),
        ("Gi1/0/3", "VLANs : 1600", "VLANs : 1600,1700", "unreadable 1600,1700"),
        ("Gi1/0/3", "VLANs : 1600", "VLANs :", "unreadable 1600"),
        ("Gi1/0/3", "VLANs : 1600", "VLANs : 1600 (Inactive)", "unreadable all"),
        ("Gi1/0/4", "Tagging: Enabled", "Tagging: Disabled", "unreadable 1511,1600"),
        ("Gi1/0/6", "PVID: 1600", "PVID: 1612", "unreadable 1600,1612-1613"),
        ("Gi1/0/6", "(1600),1612-1613", "(1600),(1612),1613", "unreadable 1600,1612-1613"),
        ("Gi1/0/6", "General Mode\n", "Private VLAN Host Mode\n", "unreadable all"),
        ("Gi1/0/6", "Protected: Disabled", "what is this", "unreadable all"),
        ("Te1/0/1", "VLANs Enabled: All", "VLANs Enabled: 1,1511,1600,1612-1614", "1/1511,1600,1612-1614"),
        ("Te1/0/1", "VLANs Enabled: All", "VLANs Enabled:", "unreadable 1,1511,1600,1612-1614"),
        ("Te1/0/1", "VLANs Enabled: All", "VLANs Enabled: everything", "unreadable all"),
    ] {
        let change = |text: &str| {
            let at = text.find(&format!("Port: {port}\n")).unwrap();
            format!("{}{}", &text[..at], text[at..].replacen(from, to, 1))
        };
        let observed = normalise(&with(SWITCHPORT, change)).unwrap();
        assert_eq!(shown(&observed.ports[&port.to_ascii_lowercase()]), want, "{port} {to:?}");
    }
}

#[test]
fn without_the_list_of_vlans_only_what_is_sure_is_read() {
    let mut evidence = evidence();
    evidence.exchanges.retain(|x| x.asked != VLANS);
    let observed = normalise(&evidence).unwrap();
    let got = |name: &str| shown(&observed.ports[name]);
    assert_eq!(got("gi1/0/1"), "1/");
    assert_eq!(got("gi1/0/3"), "/1600");
    assert_eq!(got("gi1/0/2"), "unreadable 1511,1600,1612-1614,2000");
    assert_eq!(got("te1/0/1"), "unreadable all");
}

#[test]
fn members_in_parentheses() {
    let read = |text: &str| match member_of(text) {
        Ok((bare, tagged)) => format!("{bare}/{tagged}"),
        Err(_) => "not understood".into(),
    };
    for (text, want) in [
        ("", "/"),
        ("none", "/"),
        ("(900),1-899,901-4093", "900/1-899,901-4093"),
        ("1-899, (900), 901", "900/1-899,901"),
        ("(1),(2),3", "1-2/3"),
        ("(1-2),3", "1-2/3"),
        ("All", "/all"),
        ("(900),", "not understood"),
        ("(900)1", "not understood"),
        ("900(1)", "not understood"),
        ("(900", "not understood"),
        ("()", "not understood"),
        ("1,,2", "not understood"),
        ("1 2", "/1-2"),
        ("none,1", "not understood"),
        ("(default)", "not understood"),
    ] {
        assert_eq!(read(text), want, "{text:?}");
    }
}

#[test]
fn each_class_that_is_read_can_be_dirty() {
    let cases: [(&str, &str, &str, BypassClass); 11] = [
        (
            SESSIONS[1],
            "2       Disabled",
            "2       Enabled  Gi1/0/9         Gi1/0/1    Rx,Tx",
            BypassClass::Mirror,
        ),
        (
            ADDRESSES,
            "\nloft#",
            "Vl1600       Up      10.2.1.6         255.255.255.0    Manual\n\nloft#",
            BypassClass::Routing,
        ),
        (
            ADDRESSES,
            "\nDefault",
            "\nRouting Mode................................... Enable\nDefault",
            BypassClass::Routing,
        ),
        // An interface with no other address than this.
        (ADDRESSES6, "\nloft#", "Vl1600     Enabled   FE80::1/128\n\nloft#", BypassClass::Routing),
        (RECEIVERS[7], "0.0.0.0", "10.1.1.9", BypassClass::Mirror),
        (GVRP, "Mode: Disabled", "Mode: Enabled", BypassClass::Dynamic),
        (
            MVRP,
            "MVRP global state.............................. Disabled",
            "MVRP global state.............................. Enabled",
            BypassClass::Dynamic,
        ),
        (
            DOT1X,
            "Administrative Mode............... Disabled",
            "Administrative Mode............... Enabled",
            BypassClass::Dynamic,
        ),
        (
            SWITCHPORT,
            "VLAN Membership Mode: Access Mode",
            "VLAN Membership Mode: Dot1q Tunnel Mode",
            BypassClass::DoubleTagging,
        ),
        (
            SWITCHPORT,
            "General Mode\nMember of VLANs : (1600),1612-1613\nAccess Mode VLAN: 1 (default)\nGeneral Mode PVID: 1600\n\
             General Mode Ingress Filtering: Enabled",
            "General Mode\nMember of VLANs : (1600),1612-1613\nAccess Mode VLAN: 1 (default)\nGeneral Mode PVID: 1600\n\
             General Mode Ingress Filtering: Disabled",
            BypassClass::IngressFiltering,
        ),
        (SESSIONS[0], "1       Disabled", "1       Enabled", BypassClass::Mirror),
    ];
    for (command, from, to, class) in cases {
        let observed = normalise(&with(command, |text| text.replacen(from, to, 1))).unwrap();
        let reading = &observed.bypasses[&class];
        assert!(matches!(reading, BypassReading::Dirty { .. }), "{class}: {reading:?}");
    }
}

#[test]
fn a_class_whose_command_failed_is_not_read() {
    for (command, class) in [
        (SESSIONS[0], BypassClass::Mirror),
        (RECEIVERS[0], BypassClass::Mirror),
        (RECEIVERS[7], BypassClass::Mirror),
        (ADDRESSES, BypassClass::Routing),
        (ADDRESSES6, BypassClass::Routing),
        (GVRP, BypassClass::Dynamic),
        (MVRP, BypassClass::Dynamic),
        (DOT1X, BypassClass::Dynamic),
    ] {
        for (status, answer) in [(Some(1), "% no\nloft#"), (None, "hung up"), (Some(0), "loft#")] {
            let mut evidence = evidence();
            let exchange = evidence.exchanges.iter_mut().find(|x| x.asked == command).unwrap();
            (exchange.status, exchange.answer) = (status, answer.into());
            let observed = normalise(&evidence).unwrap();
            assert!(matches!(observed.bypasses[&class], BypassReading::NotRead { .. }), "{class} {status:?}");
        }
    }
    // A release with fewer sessions refuses to speak of more.
    let mut evidence = evidence();
    evidence.exchanges.iter_mut().filter(|x| x.asked == SESSIONS[3]).for_each(|x| x.status = Some(1));
    assert_eq!(normalise(&evidence).unwrap().bypasses[&BypassClass::Mirror], BypassReading::Clean);
}

/// What is neither a receiver of nothing nor an address of a VLAN is no proof of either.
#[test]
fn odd_samples_and_addresses_are_not_read() {
    for (command, from, to, class) in [
        (RECEIVERS[4], "Index................................. 5", "Index....... 6", BypassClass::Mirror),
        (RECEIVERS[4], "0.0.0.0", "", BypassClass::Mirror),
        (RECEIVERS[4], "0.0.0.0", "0.0.0.0\nIP Address:... 0.0.0.0", BypassClass::Mirror),
        (RECEIVERS[4], "IP Address", "Host Address", BypassClass::Mirror),
        (ADDRESSES6, "\nloft#", "Tu1        Enabled   FE80::1/128\n\nloft#", BypassClass::Routing),
        (ADDRESSES6, "Vl1 ", "    ", BypassClass::Routing),
        (ADDRESSES6, "Address/Length", "Something", BypassClass::Routing),
    ] {
        let observed = normalise(&with(command, |text| text.replacen(from, to, 1))).unwrap();
        let reading = &observed.bypasses[&class];
        assert!(matches!(reading, BypassReading::NotRead { .. }), "{command} {to:?}: {reading:?}");
    }
    // The time that is left until sampling ends moves.
    assert_eq!(tidy(RECEIVERS[0], "Time out....................................... 1529"), Tidied::Drop);
    assert_eq!(tidy(ADDRESSES, "Time out....................................... 1529"), Tidied::Keep);
}

#[test]
fn a_spoilt_transcript_never_means_less() {
    holds(Law { pagers: MANNER.pagers, alone: &[] }, normalise, &evidence());
}

/// With every class that is read dirty: each must still be seen, or not be called clean.
#[test]
fn the_law_holds_for_the_busy_switch() {
    let mut busy = evidence();
    for (command, from, to) in [
        (SESSIONS[1], "2       Disabled", "2       Enabled  Gi1/0/9         Gi1/0/1    Rx,Tx"),
        (
            ADDRESSES,
            "\nloft#",
            "Vl1600       Up      10.2.1.6         255.255.255.0    Manual\n\
             Vl1511       Down    0.0.0.0          0.0.0.0          None\n\nloft#",
        ),
        (
            ADDRESSES6,
            "\nloft#",
            "Vl1700     Enabled   FE80::1/128\n                     2001:DB8::1/64\n\nloft#",
        ),
        (RECEIVERS[2], "0.0.0.0", "10.1.1.9"),
        (GVRP, "Mode: Disabled", "Mode: Enabled"),
        (MVRP, "global state.............................. Disabled", "global state...... Enabled"),
        (DOT1X, "Administrative Mode............... Disabled", "Administrative Mode... Enabled"),
        (SWITCHPORT, "VLAN Membership Mode: Access Mode", "VLAN Membership Mode: Dot1q Tunnel Mode"),
        (
            SWITCHPORT,
            "General Mode PVID: 1600\nGeneral Mode Ingress Filtering: Enabled",
            "General Mode PVID: 1600\nGeneral Mode Ingress Filtering: Disabled",
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
    // Rows of addresses stand in one place only.
    holds(Law { pagers: MANNER.pagers, alone: &["Vl1"] }, normalise, &busy);
}

/// What a link does changes no byte that is kept.
#[test]
fn the_state_of_links_is_left_out() {
    let kept = |command: &str, line: &str| match tidy(command, line) {
        Tidied::Keep => line.to_owned(),
        Tidied::As(other) => other,
        Tidied::Drop | Tidied::DropRest => "nothing".into(),
    };
    let row = |link: &str| kept(CONFIGURATION, &format!("Gi1/0/2   loft# Up     {link} Auto 1518  Down"));
    assert_eq!(row("Full   1000   "), row("N/A    Unknown"));
    assert_eq!(admin_states(&row("Full 1000"))["gi1/0/2"], Some(true));
    let heading = "Port      Description                    Duplex Speed   Neg  MTU   Admin";
    for line in [heading, "Gi1/0/2   Full 1000", "1    Link Aggregate                   Up"] {
        assert_eq!(kept(CONFIGURATION, line), line);
    }
    assert_eq!(kept(DOT1X, "Gi1/0/1   force-authorized   Authorized   FALSE    3600"), "nothing");
    assert_eq!(
        kept(DOT1X, "Administrative Mode............... Disabled"),
        kept(GVRP, "Administrative Mode............... Disabled")
    );
    // The whole fixture reads the same from what is kept.
    let mut spare = evidence();
    for exchange in &mut spare.exchanges {
        let text = String::from_utf8(exchange.answer.clone()).unwrap();
        let (body, prompt) = text.rsplit_once('\n').unwrap();
        let lines: String = body.lines().map(|l| kept(&exchange.asked, l) + "\n").collect();
        exchange.answer = format!("{lines}{prompt}").into_bytes();
    }
    assert_eq!(normalise(&spare).unwrap(), normalise(&evidence()).unwrap());
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
