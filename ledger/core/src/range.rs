//! Verdicts over a range of polls (DESIGN 2.2).
//!
//! A range is *violated* if any poll is; *isolated* if at least one poll is isolated and, for every source, each
//! stretch without a good reading is short enough; else *unknown*. A stretch runs from the start of the last poll
//! with a good reading to the end of the next: within a poll nobody but the recorder knows the moment of a reading,
//! so the widest that can be is what counts.

use crate::hash::Digest;
use crate::judge::{FindingClass, Judgement, Subject, Verdict};
use crate::time::{Span, Timestamp};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// Whose readings a stretch is missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Blind {
    /// Nobody was polled at all, or no cosignature confirms the polls in time.
    Everything,
    /// The cloud manager.
    Manager,
    /// A switch, by handle: silent, not understood, a class of bypass not read, a port unreadable or in transition.
    Switch(Digest),
}

/// A time without a good reading.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Stretch {
    /// Whose reading is missing.
    pub blind: Blind,
    /// Start of the last poll with a good reading, or of the range.
    pub from: Timestamp,
    /// End of the next poll with a good reading, or of the range.
    pub to: Timestamp,
}

impl Stretch {
    /// Its length.
    pub fn span(&self) -> Span {
        self.to.since(self.from)
    }
}

/// A time in which polls were violated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Violation {
    /// The violation began after this: the start of the last poll before that was not violated, or of the range.
    pub after: Timestamp,
    /// And not after this: the end of the first violated poll.
    pub by: Timestamp,
    /// It was over by the end of this poll, the first that is not violated; null if it lasts to the end of the range.
    pub over_by: Option<Timestamp>,
    /// `seq` of the first violated poll.
    pub first: u64,
    /// Violated polls in a row.
    pub polls: u64,
}

/// What one poll contributes to a range.
#[derive(Clone, Debug)]
pub struct PollVerdict {
    /// The poll's number.
    pub seq: u64,
    /// Its start.
    pub started: Timestamp,
    /// Its end.
    pub ended: Timestamp,
    /// The verdict.
    pub verdict: Verdict,
    /// The sources without a good reading.
    pub blind: BTreeSet<Blind>,
}

impl PollVerdict {
    /// What a judgement contributes. `switch_of_port` is not needed: a port's subject names its switch.
    pub fn new(seq: u64, started: Timestamp, ended: Timestamp, j: &Judgement) -> PollVerdict {
        PollVerdict { seq, started, ended, verdict: j.verdict, blind: blind_sources(j) }
    }
}

/// The sources whose readings a judgement misses.
pub fn blind_sources(j: &Judgement) -> BTreeSet<Blind> {
    j.findings
        .iter()
        .filter(|f| f.finding.class() == FindingClass::Visibility)
        .map(|f| match &f.subject {
            Subject::Port(p) => Blind::Switch(p.switch),
            Subject::Switch(switch) | Subject::Class { switch, .. } => Blind::Switch(*switch),
            Subject::Manager => Blind::Manager,
            Subject::Nic { .. } | Subject::Network => Blind::Everything,
        })
        .collect()
}

/// The verdict over a range, and what it rests on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RangeVerdict {
    /// Violated, isolated, or unknown.
    pub verdict: Verdict,
    /// Polls inside the range.
    pub polls: u64,
    /// Of these, isolated.
    pub isolated: u64,
    /// Times of violation, in order.
    pub violations: Vec<Violation>,
    /// Stretches longer than allowed, sorted by start.
    pub too_long: Vec<Stretch>,
    /// The longest stretch without any poll, whatever is allowed.
    pub longest_gap: Span,
}

/// Folds polls, in order, into a verdict over `[from, to]`.
#[derive(Clone, Debug)]
pub struct RangeFold {
    from: Timestamp,
    max_gap: Span,
    previous: Option<(Timestamp, Verdict)>,
    // End of the newest poll; the range's start before the first.
    ended: Timestamp,
    blind: BTreeMap<Blind, Timestamp>,
    polls: u64,
    isolated: u64,
    violations: Vec<Violation>,
    too_long: Vec<Stretch>,
    longest_gap: Span,
}

impl RangeFold {
    /// Begins a range at `from`; a stretch may be as long as `max_gap`.
    pub fn new(from: Timestamp, max_gap: Span) -> RangeFold {
        RangeFold {
            from,
            max_gap,
            previous: None,
            ended: from,
            blind: BTreeMap::new(),
            polls: 0,
            isolated: 0,
            violations: Vec::new(),
            too_long: Vec::new(),
            longest_gap: Span::default(),
        }
    }

    /// Adds the next poll.
    pub fn push(&mut self, poll: &PollVerdict) {
        // Before the first poll nothing is known since the beginning of the range. A first poll that ended before
        // it closes that end: stretches then run from that poll, or two ranges could hide a gap between them.
        let since = self.previous.map_or(self.from.min(poll.started), |(started, _)| started);
        self.polls += 1;
        self.isolated += u64::from(poll.verdict == Verdict::Isolated);
        self.longest_gap = self.longest_gap.max(poll.ended.since(since));
        self.stretch(Blind::Everything, since, poll.ended, &poll.blind);
        let healed: Vec<Blind> = self.blind.keys().filter(|b| !poll.blind.contains(b)).copied().collect();
        for b in healed {
            if let Some(from) = self.blind.remove(&b) {
                self.close(b, from, poll.ended);
            }
        }
        for b in &poll.blind {
            self.blind.entry(*b).or_insert(since);
        }
        let was = self.previous.is_some_and(|(_, v)| v == Verdict::Violated);
        match (was, poll.verdict == Verdict::Violated) {
            (false, true) => self.violations.push(Violation {
                after: since,
                by: poll.ended,
                over_by: None,
                first: poll.seq,
                polls: 1,
            }),
            (true, true) => {
                if let Some(v) = self.violations.last_mut() {
                    v.polls += 1;
                }
            }
            (true, false) => {
                if let Some(v) = self.violations.last_mut() {
                    v.over_by = Some(poll.ended);
                }
            }
            (false, false) => {}
        }
        self.previous = Some((poll.started, poll.verdict));
        self.ended = poll.ended;
    }

    // A stretch without any poll; where a poll is blind for everything, its stretch is counted as that.
    fn stretch(&mut self, blind: Blind, from: Timestamp, to: Timestamp, of: &BTreeSet<Blind>) {
        if !of.contains(&blind) && !self.blind.contains_key(&blind) {
            self.close(blind, from, to);
        }
    }

    fn close(&mut self, blind: Blind, from: Timestamp, to: Timestamp) {
        let s = Stretch { blind, from, to };
        if s.span() > self.max_gap {
            self.too_long.push(s);
        }
    }

    /// Ends the range at `to`.
    pub fn finish(mut self, to: Timestamp) -> RangeVerdict {
        let since = self.previous.map_or(self.from, |(started, _)| started);
        if self.ended < to {
            self.longest_gap = self.longest_gap.max(to.since(since));
        }
        for (b, from) in std::mem::take(&mut self.blind) {
            self.close(b, from, to.max(from));
        }
        if self.ended < to {
            self.close(Blind::Everything, since, to);
        }
        self.too_long.sort_by_key(|s| (s.from, s.to, s.blind));
        self.too_long.dedup();
        let verdict = if !self.violations.is_empty() {
            Verdict::Violated
        } else if self.isolated > 0 && self.too_long.is_empty() {
            Verdict::Isolated
        } else {
            Verdict::Unknown
        };
        RangeVerdict {
            verdict,
            polls: self.polls,
            isolated: self.isolated,
            violations: self.violations,
            too_long: self.too_long,
            longest_gap: self.longest_gap,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SW: Blind = Blind::Switch(Digest([1; 32]));

    fn t(s: u64) -> Timestamp {
        Timestamp::from_millis(s * 1000).unwrap()
    }

    // One letter a poll, ten seconds apart and one second long: i isolated, v violated, s one switch silent.
    fn fold(polls: &str, from: u64, to: u64, max_gap: u64) -> RangeVerdict {
        let mut f = RangeFold::new(t(from), Span::from_secs(max_gap));
        for (i, c) in (0u64..).zip(polls.chars()) {
            let (verdict, blind) = match c {
                'i' => (Verdict::Isolated, BTreeSet::new()),
                'v' => (Verdict::Violated, BTreeSet::new()),
                's' => (Verdict::Unknown, BTreeSet::from([SW])),
                '.' => continue,
                _ => unreachable!(),
            };
            f.push(&PollVerdict { seq: i, started: t(100 + i * 10), ended: t(101 + i * 10), verdict, blind });
        }
        f.finish(t(to))
    }

    #[test]
    fn table() {
        for (polls, to, gap, verdict) in [
            ("iiii", 131, 11, Verdict::Isolated),
            ("iiii", 131, 10, Verdict::Unknown),
            ("", 131, 60, Verdict::Unknown),
            ("isii", 131, 21, Verdict::Isolated),
            ("isii", 131, 20, Verdict::Unknown),
            ("issi", 131, 31, Verdict::Isolated),
            ("issi", 131, 30, Verdict::Unknown),
            ("iiis", 131, 30, Verdict::Isolated),
            ("iiis", 160, 30, Verdict::Unknown),
            ("siii", 131, 12, Verdict::Isolated),
            ("ssss", 131, 999, Verdict::Unknown),
            ("i..i", 131, 31, Verdict::Isolated),
            ("i..i", 131, 30, Verdict::Unknown),
            ("iiii", 200, 70, Verdict::Isolated),
            ("iiii", 201, 70, Verdict::Unknown),
            ("iivi", 131, 999, Verdict::Violated),
            ("ssvs", 131, 1, Verdict::Violated),
        ] {
            assert_eq!(fold(polls, 100, to, gap).verdict, verdict, "{polls} to {to} with gaps up to {gap}");
        }
    }

    #[test]
    fn violations_have_intervals() {
        let r = fold("iivvi", 100, 141, 60);
        let v = Violation { after: t(110), by: t(121), over_by: Some(t(141)), first: 2, polls: 2 };
        assert_eq!(r.violations, [v]);
        let r = fold("vv", 95, 111, 60);
        assert_eq!(r.violations, [Violation { after: t(95), by: t(101), over_by: None, first: 0, polls: 2 }]);
    }

    #[test]
    fn too_long_names_switch_and_stretch() {
        let r = fold("issi", 100, 131, 30);
        assert_eq!(r.too_long, [Stretch { blind: SW, from: t(100), to: t(131) }]);
    }
}
