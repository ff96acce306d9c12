//! The worked example of docs/CONTRIBUTING.md: a dialect, whole. The part between the marks is shown on that page, and a
//! test keeps the two the same.

#![allow(clippy::unwrap_used)]

use isoledger_collectors::Exchange;

// ---- shown on the page from here
use isoledger_collectors::console::{Answers, ConsoleDialect, ConsoleReader, keep_all};
use isoledger_collectors::dialect::{BypassTable, Dialect, Reach};
use isoledger_collectors::net::console::{ENABLE, Manner};
use isoledger_collectors::text::{quoted, vlan, vlan_list};
use isoledger_collectors::{Evidence, SourceError};
use isoledger_core::model::{Anomaly, BypassClass, BypassReading, Observed, PortReading, PortState};
use isoledger_core::vlan::VlanSet;

/// A line for every port, and a last line that counts them.
const SHOW: &str = "show vlan port all";
/// For the session only; a refusal is fine, since the pager is answered as well.
const PREPARE: [&str; 1] = ["terminal length 0"];
const MANNER: Manner = Manner { pagers: &["--More--"] };

/// The dialect: the one value that is listed in `dialects::SWITCHES`.
const FANCYSWITCH: Dialect = Dialect {
    name: "fancyswitch",
    // Moves when the same evidence may read differently.
    version: 1,
    title: "Fancyswitch 9",
    // Everything that is ever sent. A test asserts that nothing else arrives.
    sends: &[PREPARE[0], ENABLE, SHOW],
    bypasses: BYPASSES,
    normalise,
    reach: Reach::Console(|settings| Box::new(ConsoleReader::new(&CONSOLE, settings))),
};

/// How it is spoken. Logging in, paging, prompts, deadlines and evidence are the reader's business.
const CONSOLE: ConsoleDialect = ConsoleDialect {
    dialect: &FANCYSWITCH,
    manner: MANNER,
    prepare: &PREPARE,
    commands: &[SHOW],
    closing: PREPARE[0],
    refusals: &["% "],
    // Counters and secrets would be left out here, so that an unchanged switch gives unchanged bytes.
    tidy: keep_all,
};

const NOT_READ: &str = "Not read.";
const BYPASSES: &BypassTable = &[
    (BypassClass::Flows, "Clean by construction: this switch forwards by VLAN and address only."),
    (BypassClass::Controller, "Clean by construction: nobody has such power over this switch."),
    (BypassClass::Mirror, NOT_READ),
    (BypassClass::IngressFiltering, "Clean by construction: the filter cannot be turned off."),
    (BypassClass::Routing, NOT_READ),
    (BypassClass::Translation, NOT_READ),
    (BypassClass::Classification, NOT_READ),
    (BypassClass::Dynamic, NOT_READ),
    (BypassClass::DoubleTagging, NOT_READ),
];

/// ```text
/// gi1  access  10
/// gi2  trunk   10  20,30-39
/// 2 ports
/// ```
fn normalise(evidence: &Evidence) -> Result<Observed, SourceError> {
    // `text` gives nothing that was refused, cut off, or in which a pager left its mark.
    let text = Answers::of(MANNER, evidence).text(SHOW).map_err(SourceError::unreadable)?;
    let mut observed = Observed::default();
    let mut lines: Vec<&str> = text.lines().collect();
    // Without the count a list that lost a line would look whole, and the port on it would carry nothing.
    let counted = lines.pop().and_then(|l| l.strip_suffix(" ports")).and_then(|n| n.parse().ok());
    if counted != Some(lines.len()) {
        let what = format!("{} ports are listed and {counted:?} are counted", lines.len());
        observed.anomalies.push(Anomaly { about: SHOW.to_owned(), what });
    }
    for line in lines {
        let words: Vec<&str> = line.split_whitespace().collect();
        let [name, vlans @ ..] = words.as_slice() else {
            let what = format!("{} names no port", quoted(line));
            observed.anomalies.push(Anomaly { about: SHOW.to_owned(), what });
            continue;
        };
        let reading = match port(vlans) {
            Ok(state) => PortReading::Read(state),
            // What is not understood counts for every VLAN it might carry. Never a default, never a guess.
            Err(why) => PortReading::Unreadable { might_carry: VlanSet::all(), why },
        };
        if observed.ports.insert((*name).to_owned(), reading).is_some() {
            let what = format!("port {} is listed twice", quoted(name));
            observed.anomalies.push(Anomaly { about: SHOW.to_owned(), what });
        }
    }
    observed.bypasses = [BypassClass::Flows, BypassClass::Controller, BypassClass::IngressFiltering]
        .map(|class| (class, BypassReading::Clean))
        .into();
    Ok(observed)
}

fn port(words: &[&str]) -> Result<PortState, String> {
    let (native, tagged) = match words {
        ["access", native] => (native, VlanSet::empty()),
        ["trunk", native, list] => (native, vlan_list(list).map_err(|e| e.to_string())?.vlans),
        other => return Err(format!("found {other:?}; known are \"access N\" and \"trunk N LIST\"")),
    };
    let untagged = vlan(native).map_err(|e| e.to_string())?;
    Ok(PortState { untagged, tagged, ingress_filtering: Some(true), ..PortState::default() })
}
// ---- to here

fn evidence(answer: &str) -> Evidence {
    let exchange = Exchange { asked: SHOW.to_owned(), status: Some(0), answer: answer.into() };
    Evidence { subject: "fancy-1".into(), exchanges: vec![exchange], ..Evidence::default() }
}

const WHOLE: &str = "gi1  access  10\ngi2  trunk   10  20,30-39\n2 ports\nfancy-1#";

#[test]
fn the_example_reads_its_ports() {
    let observed = (FANCYSWITCH.normalise)(&evidence(WHOLE)).unwrap();
    assert!(observed.anomalies.is_empty(), "{:?}", observed.anomalies);
    let carried = |port: &str| match &observed.ports[port] {
        PortReading::Read(s) => format!("{:?} {}", s.untagged.map(|v| v.get()), s.tagged),
        PortReading::Unreadable { why, .. } => why.clone(),
    };
    assert_eq!(carried("gi1"), "Some(10) ");
    assert_eq!(carried("gi2"), "Some(10) 20,30-39");
    assert!(!observed.bypasses.contains_key(&BypassClass::Mirror), "what is not read is not clean");
}

#[test]
fn the_example_keeps_the_law() {
    for cut in 0..WHOLE.len() {
        assert!((FANCYSWITCH.normalise)(&evidence(&WHOLE[..cut])).is_err(), "cut at {cut}");
    }
    let lines: Vec<&str> = WHOLE.split_inclusive('\n').collect();
    for gone in 0..lines.len() - 1 {
        let rest: String = lines.iter().enumerate().filter(|(n, _)| *n != gone).map(|(_, l)| *l).collect();
        let observed = (FANCYSWITCH.normalise)(&evidence(&rest)).unwrap();
        assert!(!observed.anomalies.is_empty(), "without line {gone} nothing seems to be missing");
    }
    let odd = (FANCYSWITCH.normalise)(&evidence("gi1  hybrid  10\n1 ports\nfancy-1#")).unwrap();
    assert!(matches!(odd.ports["gi1"], PortReading::Unreadable { .. }));
}
