//! The law of every parser of transcripts, for tests: **a truncated, reordered or littered transcript never yields fewer
//! VLANs on a port, nor a cleaner bypass class, without an anomaly or an unreadable port.**
//!
//! [`holds`] spoils evidence in every way it knows, one at a time, and compares what comes out with what the whole
//! evidence said.

use crate::{Evidence, SourceError};
use isoledger_core::model::{BypassReading, Observed, PortReading, PortState};
use isoledger_core::vlan::VlanSet;

/// How a family's evidence is spoiled.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Law<'a> {
    /// Texts that a pager may leave behind.
    pub(crate) pagers: &'a [&'a str],
    /// Lines, by a part of them, that nothing else in the evidence speaks of: without one, nobody can know that it was
    /// there. Keep this list short, and say on the dialect's page what follows from it.
    pub(crate) alone: &'a [&'a str],
}

/// Fails with the first way of spoiling `evidence` after which `normalise` says less than before.
pub(crate) fn holds(
    law: Law<'_>,
    normalise: impl Fn(&Evidence) -> Result<Observed, SourceError>,
    evidence: &Evidence,
) {
    let whole = normalise(evidence).unwrap();
    assert!(!whole.ports.is_empty(), "the evidence has no port, so it proves nothing");
    let check = |what: String, spoilt: &Evidence| {
        if let Some(less) = less(&whole, &normalise(spoilt)) {
            panic!("{what}: {less}");
        }
    };
    for (at, exchange) in evidence.exchanges.iter().enumerate() {
        let asked = &exchange.asked;
        let with = |answer: Vec<u8>| {
            let mut spoilt = evidence.clone();
            spoilt.exchanges[at].answer = answer;
            spoilt
        };
        let mut spoilt = evidence.clone();
        spoilt.exchanges.remove(at);
        check(format!("without {asked:?}"), &spoilt);
        let mut spoilt = evidence.clone();
        spoilt.exchanges[at].status = None;
        check(format!("{asked:?} not answered"), &spoilt);
        for other in at + 1..evidence.exchanges.len() {
            let mut spoilt = evidence.clone();
            spoilt.exchanges[at].answer = evidence.exchanges[other].answer.clone();
            spoilt.exchanges[other].answer = exchange.answer.clone();
            check(format!("{asked:?} and {:?} exchanged", evidence.exchanges[other].asked), &spoilt);
        }
        for n in 0..exchange.answer.len() {
            let tail = String::from_utf8_lossy(&exchange.answer[n.saturating_sub(40)..n]).into_owned();
            check(format!("{asked:?} cut off after {tail:?}"), &with(exchange.answer[..n].to_vec()));
        }
        let lines: Vec<&[u8]> = exchange.answer.split_inclusive(|b| *b == b'\n').collect();
        for (n, line) in lines.iter().enumerate() {
            let text = String::from_utf8_lossy(line).into_owned();
            let around = |between: &[&[u8]]| {
                with([lines[..n].concat(), between.concat(), lines[n + 1..].concat()].concat())
            };
            if !law.alone.iter().any(|a| text.contains(a)) {
                check(format!("{asked:?} without the line {text:?}"), &around(&[]));
            }
            check(format!("{asked:?} with the line {text:?} twice"), &around(&[line, line]));
            check(format!("{asked:?} with an empty line before {text:?}"), &around(&[b"\n", line]));
            if let Some(next) = lines.get(n + 1) {
                let swapped = with([&lines[..n], &[*next, *line], &lines[n + 2..]].concat().concat());
                check(format!("{asked:?} with {text:?} behind the line after it"), &swapped);
            }
            for pager in law.pagers {
                let pager = pager.as_bytes();
                check(format!("a pager before {text:?}"), &around(&[pager, b"\n", line]));
                check(format!("a pager in front of {text:?}"), &around(&[pager, line]));
                check(format!("a pager instead of {text:?}"), &around(&[pager, b"\n"]));
                let middle = line.len() / 2;
                check(
                    format!("a pager within {text:?}"),
                    &around(&[&line[..middle], pager, &line[middle..]]),
                );
            }
        }
    }
}

/// In which way `spoilt` says less than `whole` without admitting it.
pub(crate) fn less(whole: &Observed, spoilt: &Result<Observed, SourceError>) -> Option<String> {
    let Ok(spoilt) = spoilt else { return None };
    if spoilt.anomalies.len() > whole.anomalies.len() {
        return None;
    }
    for (name, before) in &whole.ports {
        let Some(after) = spoilt.ports.get(name) else {
            return Some(format!("{name} is not there any more"));
        };
        let (carried, after) = (carried(before), after);
        let missing = carried.difference(&self::carried(after));
        if !missing.is_empty() {
            return Some(format!("{name} no longer carries {missing}: {after:?}"));
        }
        if let PortReading::Read(after) = after {
            let before = match before {
                PortReading::Read(before) => before.clone(),
                PortReading::Unreadable { .. } => PortState::default(),
            };
            if after.admin_down == Some(true) && before.admin_down != Some(true) {
                return Some(format!("{name} is down now"));
            }
            if after.aggregate.is_some() && before.aggregate.is_none() {
                return Some(format!("{name} is bundled now, so that its own VLANs do not count"));
            }
            if after.ingress_filtering == Some(true) && before.ingress_filtering != Some(true) {
                return Some(format!("{name} filters now"));
            }
        }
    }
    for (class, after) in &spoilt.bypasses {
        let less = match (whole.bypasses.get(class), after) {
            (Some(BypassReading::Clean), _) | (_, BypassReading::NotRead { .. }) => false,
            (_, BypassReading::Clean) => true,
            (Some(BypassReading::Dirty { vlans, .. }), BypassReading::Dirty { vlans: now, .. }) => {
                !vlans.difference(now).is_empty()
            }
            (_, BypassReading::Dirty { .. }) => false,
        };
        if less {
            return Some(format!("the class {class} is {after:?}, and was {:?}", whole.bypasses.get(class)));
        }
    }
    None
}

/// Everything a reading counts for.
fn carried(reading: &PortReading) -> VlanSet {
    match reading {
        PortReading::Read(state) => state.carries(),
        PortReading::Unreadable { might_carry, .. } => might_carry.clone(),
    }
}
