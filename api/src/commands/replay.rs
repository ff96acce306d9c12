//! `isoledger replay`: the recorded evidence, read by today's readers.

use crate::answers;
use crate::cli;
use crate::config::Config;
use crate::failure::{Ending, Failure, fail};
use crate::log::Log;
use crate::render;
use isoledger_collectors::Evidence;
use isoledger_collectors::dialects;
use isoledger_core::json::to_canonical;
use isoledger_core::model::{Between, Declared, Observed, PortReading, PortState, Reader};
use isoledger_ledger::renormalise::{Difference, Rereading, TodaysReaders, renormalise};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::io::IsTerminal as _;

/// Ports shown of one difference; the rest is counted.
const SHOWN: usize = 20;

struct Today;

impl TodaysReaders for Today {
    fn observed(&mut self, name: &str, evidence: &[u8]) -> Rereading {
        let Some(known) = dialects::switch_dialect(name) else { return none_for(name) };
        let state = Evidence::from_bytes(evidence).map_err(|e| e.to_string()).and_then(|evidence| {
            (known.normalise)(&evidence).map(|o| to_canonical(&o)).map_err(|e| e.to_string())
        });
        Rereading { reader: Some(known.reader()), state }
    }

    fn declared(&mut self, name: &str, evidence: &[u8]) -> Rereading {
        let Some(known) = dialects::manager_dialect(name) else { return none_for(name) };
        let state = Evidence::from_bytes(evidence).map_err(|e| e.to_string()).and_then(|evidence| {
            (known.normalise)(&evidence).map(|d| to_canonical(&d)).map_err(|e| e.to_string())
        });
        Rereading { reader: Some(known.reader()), state }
    }
}

fn none_for(dialect: &str) -> Rereading {
    Rereading { reader: None, state: Err(format!("this release has no reader of the dialect {dialect:?}")) }
}

/// One difference in words: what each side makes of the evidence, part by part.
fn parts(d: &Difference) -> Vec<(String, String, String)> {
    let none = || "not understood".to_owned();
    let (then, now) = match (&d.recorded, &d.today.state) {
        (Some(then), Ok(now)) => (then, now),
        (then, now) => {
            let then = if then.is_some() { "a reading".to_owned() } else { none() };
            let now = match now {
                Ok(_) => "a reading".to_owned(),
                Err(why) => format!("{}: {why}", none()),
            };
            return vec![("the whole".to_owned(), then, now)];
        }
    };
    match &d.switch {
        Some(_) => match (serde_json::from_slice(then), serde_json::from_slice(now)) {
            (Ok(then), Ok(now)) => of_observed(&then, &now),
            _ => Vec::new(),
        },
        None => match (serde_json::from_slice::<Declared>(then), serde_json::from_slice::<Declared>(now)) {
            (Ok(then), Ok(now)) => of_declared(&then, &now),
            _ => Vec::new(),
        },
    }
}

fn of_observed(then: &Observed, now: &Observed) -> Vec<(String, String, String)> {
    // Named one by one: what a later release adds must be shown as well.
    let Observed { ports: _, bypasses: _, between: _, anomalies: _ } = then;
    let mut out = Vec::new();
    let ports: BTreeSet<&String> = then.ports.keys().chain(now.ports.keys()).collect();
    for port in ports {
        let (a, b) = (then.ports.get(port), now.ports.get(port));
        if a != b {
            out.push((format!("port {port}"), port_words(a), port_words(b)));
        }
    }
    let classes: BTreeSet<_> = then.bypasses.keys().chain(now.bypasses.keys()).collect();
    for class in classes {
        let (a, b) = (then.bypasses.get(class), now.bypasses.get(class));
        if a != b {
            let words = |r| super::check::bypass_word(r);
            out.push((format!("class {class}"), words(a), words(b)));
        }
    }
    let ports: BTreeSet<&String> = then.between.keys().chain(now.between.keys()).collect();
    for port in ports {
        let (a, b) = (then.between.get(port), now.between.get(port));
        if a != b {
            out.push((format!("port {port}, before the reading"), passed_words(a), passed_words(b)));
        }
    }
    if then.anomalies != now.anomalies {
        let words = |o: &Observed| format!("{} anomalies", o.anomalies.len());
        out.push(("what is not understood".to_owned(), words(then), words(now)));
    }
    out
}

fn port_words(reading: Option<&PortReading>) -> String {
    match reading {
        None => "not there".to_owned(),
        Some(PortReading::Unreadable { might_carry, why }) => {
            format!("not understood, might carry {might_carry}: {why}")
        }
        Some(PortReading::Read(s)) => state_words(s),
    }
}

fn passed_words(b: Option<&Between>) -> String {
    b.map_or("nothing passed".to_owned(), |b| {
        let all = if b.all { ", once every one" } else { "" };
        format!("{} from {} to {}{all}", b.vlans, b.from, b.to)
    })
}

fn state_words(s: &PortState) -> String {
    let mut words = match (s.untagged, s.tagged.is_empty()) {
        (None, true) => "carries nothing".to_owned(),
        (Some(v), true) => format!("{v} untagged"),
        (None, false) => format!("{} tagged", s.tagged),
        (Some(v), false) => format!("{v} untagged, {} tagged", s.tagged),
    };
    for (value, yes, no) in
        [(s.admin_down, "down", "up"), (s.ingress_filtering, "filters ingress", "does not filter ingress")]
    {
        words += match value {
            Some(true) => format!(", {yes}"),
            Some(false) => format!(", {no}"),
            None => String::new(),
        }
        .as_str();
    }
    if let Some(bundle) = &s.aggregate {
        words += &format!(", in {bundle}");
    }
    if !s.members.is_empty() {
        words += &format!(", of {}", s.members.iter().map(String::as_str).collect::<Vec<_>>().join(" "));
    }
    words
}

fn of_declared(then: &Declared, now: &Declared) -> Vec<(String, String, String)> {
    let Declared {
        networks: _,
        attachments: _,
        cabling: _,
        registered: _,
        actions: _,
        holders: _,
        anomalies: _,
    } = then;
    let mut out = Vec::new();
    let names: BTreeSet<&String> = then.networks.keys().chain(now.networks.keys()).collect();
    for name in names {
        let (a, b) = (then.networks.get(name), now.networks.get(name));
        if a != b {
            out.push((format!("network {name}"), text(a), text(b)));
        }
    }
    let counts = [
        ("attachments", then.attachments.difference(&now.attachments).count(), {
            now.attachments.difference(&then.attachments).count()
        }),
        ("cables", then.cabling.difference(&now.cabling).count(), {
            now.cabling.difference(&then.cabling).count()
        }),
        ("registered ports", then.registered.difference(&now.registered).count(), {
            now.registered.difference(&then.registered).count()
        }),
        ("actions", then.actions.difference(&now.actions).count(), {
            now.actions.difference(&then.actions).count()
        }),
    ];
    for (what, gone, new) in counts {
        if gone + new > 0 {
            out.push((what.to_owned(), format!("{gone} only then"), format!("{new} only now")));
        }
    }
    let nodes: BTreeSet<&String> = then.holders.keys().chain(now.holders.keys()).collect();
    let moved = nodes.into_iter().filter(|n| then.holders.get(*n) != now.holders.get(*n)).count();
    if moved > 0 {
        let of = |d: &Declared| format!("{} nodes held", d.holders.len());
        out.push((format!("who holds {moved} nodes"), of(then), of(now)));
    }
    if then.anomalies != now.anomalies {
        let words = |d: &Declared| format!("{} anomalies", d.anomalies.len());
        out.push(("what is not understood".to_owned(), words(then), words(now)));
    }
    out
}

/// A part of a declaration in one line.
fn text<T: serde::Serialize>(part: Option<&T>) -> String {
    // Every type here has text keys and no floats, so it always serialises.
    part.map_or("not there".to_owned(), |v| serde_json::to_string(v).unwrap_or_default())
}

fn reader_words(reader: &Reader) -> String {
    format!("{} version {}", reader.dialect, reader.version)
}

pub(crate) fn run(config: &Config, args: &cli::Replay, as_json: bool) -> Result<Ending, Failure> {
    if !args.renormalise {
        return match (&args.to, &args.from) {
            (Some(to), None) => super::rebuild::run(config, to, as_json),
            (Some(_), Some(_)) => {
                fail("--from goes with --renormalise; what follows from the log follows from its beginning")
            }
            (None, _) => {
                fail("say what to replay: isoledger replay --to TIME, or isoledger replay --renormalise")
            }
        };
    }
    let log = Log::open(&config.data())?;
    let at = |what, text: &Option<String>| text.as_deref().map(|t| answers::moment(what, t)).transpose();
    let (from, to) = (at("--from", &args.from)?, at("--to", &args.to)?);
    if let (Some(from), Some(to)) = (from, to)
        && from > to
    {
        return fail(format!("--from is {from}, which is after --to, {to}"));
    }
    let mut all: Vec<Value> = Vec::new();
    let mut found = |d: Difference| {
        let source = d.switch.as_ref().map_or("the cloud manager".to_owned(), |s| format!("switch {s}"));
        let parts = parts(&d);
        if as_json {
            let parts: Vec<Value> = (parts.iter())
                .map(|(what, then, now)| json!({ "what": what, "then": then, "now": now }))
                .collect();
            all.push(json!({
                "poll": d.seq, "started": d.started, "switch": d.switch, "evidence": d.evidence,
                "recordedBy": d.recorded_by, "readBy": d.today.reader, "differences": parts,
            }));
            return;
        }
        let today = d.today.reader.as_ref().map_or("no reader".to_owned(), reader_words);
        render::line(format!(
            "poll {} ({}), {source}: {} then, {today} now",
            d.seq,
            d.started,
            reader_words(&d.recorded_by)
        ));
        for (what, then, now) in parts.iter().take(SHOWN) {
            render::line(format!("  {what}\n    then  {then}\n    now   {now}"));
        }
        if parts.len() > SHOWN {
            render::line(format!("  and {} more; --json lists all", parts.len() - SHOWN));
        }
    };
    let show = !as_json && std::io::stderr().is_terminal();
    let mut progress = |done: u64, of: u64| {
        if show {
            eprint!("\rreading again {done} of {of}");
            if done == of {
                eprintln!();
            }
        }
    };
    let summary = renormalise(&log, (from, to), &mut Today, &mut found, &mut progress)?;
    let same = summary.differences == 0;
    if as_json {
        render::json(&json!({
            "ok": same,
            "polls": summary.polls,
            "readAgain": summary.read_again,
            "otherVersion": summary.other_version,
            "withoutContent": summary.without_content,
            "differences": all,
        }));
    } else {
        render::line(format!(
            "{} polls; {} pieces of evidence read again, {} of them recorded by another version; {} read otherwise today",
            summary.polls, summary.read_again, summary.other_version, summary.differences
        ));
        if summary.without_content > 0 {
            render::line(format!("{} polls have no content left to read", summary.without_content));
        }
    }
    Ok(if same { Ending::Fine } else { Ending::Amiss })
}

#[cfg(test)]
mod tests {
    use super::*;
    use isoledger_core::VlanSet;
    use isoledger_core::model::Anomaly;
    use isoledger_core::time::Timestamp;

    fn what(parts: &[(String, String, String)]) -> Vec<&str> {
        parts.iter().map(|(what, ..)| what.as_str()).collect()
    }

    #[test]
    fn no_difference_hides_behind_another() {
        let at = |text| Timestamp::parse(text).unwrap();
        let passed = Between {
            vlans: VlanSet::all(),
            all: true,
            from: at("2026-03-02T10:11:12.345Z"),
            to: at("2026-03-02T10:11:13.345Z"),
        };
        let anomaly = Anomaly { about: "a".into(), what: "b".into() };
        let now = Observed {
            ports: [("p".to_owned(), PortReading::Read(PortState::default()))].into(),
            between: [("p".to_owned(), passed)].into(),
            anomalies: vec![anomaly],
            ..Observed::default()
        };
        let parts = of_observed(&Observed::default(), &now);
        assert_eq!(what(&parts), ["port p", "port p, before the reading", "what is not understood"]);
        let words = "all from 2026-03-02T10:11:12.345Z to 2026-03-02T10:11:13.345Z, once every one";
        assert_eq!((parts[1].1.as_str(), parts[1].2.as_str()), ("nothing passed", words));
        let now = Declared {
            registered: [isoledger_core::model::PortId::new("sw", "p")].into(),
            holders: [("n".to_owned(), "red".to_owned())].into(),
            ..Declared::default()
        };
        let parts = of_declared(&Declared::default(), &now);
        assert_eq!(what(&parts), ["registered ports", "who holds 1 nodes"]);
    }
}
