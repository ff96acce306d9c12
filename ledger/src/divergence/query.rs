//! Questions: what differs now, what differed then, and how a network fared.

use super::facts::{NetworkFacts, PollFacts};
use super::fold::Divergences;
use super::{Divergence, Place};
use isoledger_core::judge::{FindingKind, Verdict};
use isoledger_core::{Span, Timestamp, VlanId};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// A poll, for dating.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mark {
    /// The entry.
    pub seq: u64,
    /// Its start.
    pub started: Timestamp,
    /// Its end.
    pub ended: Timestamp,
}

/// Polls in a row that said the same of a network.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Run {
    /// The network.
    pub network: String,
    /// Its VLAN; `None` when its id cannot be judged.
    pub vlan: Option<VlanId>,
    /// The verdict.
    pub verdict: Verdict,
    /// Whether every attachment was carried as declared.
    pub conforms: bool,
    /// Why nothing could be said, for a network that cannot be judged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The first of the polls.
    pub first: Mark,
    /// The last of them. A run that goes on is kept without; [`Divergences::timeline`] gives the last poll so far.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last: Option<Mark>,
    /// Polls of the log before the first of them.
    pub before: u64,
    /// How many they are; kept as 0 while the run goes on.
    pub polls: u64,
}

impl Run {
    pub(super) fn begin(network: &str, n: &NetworkFacts, poll: &PollFacts, before: u64) -> Run {
        Run {
            network: network.to_owned(),
            vlan: n.vlan,
            verdict: n.verdict,
            conforms: n.conforms,
            reason: n.reason.clone(),
            first: Mark { seq: poll.seq, started: poll.started, ended: poll.ended },
            last: None,
            before,
            polls: 0,
        }
    }

    pub(super) fn says(&self, n: &NetworkFacts) -> bool {
        self.vlan == n.vlan
            && self.verdict == n.verdict
            && self.conforms == n.conforms
            && self.reason == n.reason
    }
}

/// Which divergences to find. Members that are `None` exclude nothing.
#[derive(Clone, Debug, Default)]
pub struct Query {
    /// Open ones, or closed ones.
    pub open: Option<bool>,
    /// Those that covered this network.
    pub network: Option<String>,
    /// Those on this switch.
    pub switch: Option<String>,
    /// Those on ports of this name.
    pub port: Option<String>,
    /// Those of this finding.
    pub finding: Option<FindingKind>,
    /// Those that may still have lasted after this.
    pub from: Option<Timestamp>,
    /// Those that may have begun before this.
    pub to: Option<Timestamp>,
}

/// What can be said of a network at a moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerdictNow {
    /// The last poll's verdict, or unknown when that poll is too old.
    pub verdict: Verdict,
    /// The last poll's verdict.
    pub last: Verdict,
    /// The last poll.
    pub poll: Mark,
    /// How long ago it started.
    pub age: Span,
    /// Whether that is longer than allowed.
    pub stale: bool,
    /// Why nothing can be said, for a network that cannot be judged.
    pub reason: Option<String>,
}

impl Divergences {
    /// The last poll folded.
    pub fn last(&self) -> Option<Mark> {
        self.head.as_ref().map(|h| h.mark())
    }

    /// How many polls were folded.
    pub fn polls(&self) -> u64 {
        self.head.as_ref().map_or(0, |h| h.polls)
    }

    /// Every divergence, open or closed, in the order they were opened.
    pub fn all(&self) -> &[Divergence] {
        &self.divergences
    }

    /// The open divergences, by place and finding.
    pub fn open(&self) -> impl Iterator<Item = &Divergence> {
        self.open.values().filter_map(|at| self.divergences.get(*at))
    }

    /// A divergence by its id.
    pub fn get(&self, id: &str) -> Option<&Divergence> {
        let seq: u64 = id.split_once('-')?.0.parse().ok()?;
        // Opened in the order of their polls.
        let from = self.divergences.partition_point(|d| d.onset.seq < seq);
        self.divergences[from..].iter().take_while(|d| d.onset.seq == seq).find(|d| d.id == id)
    }

    /// The divergences that match, in the order they were opened.
    pub fn find(&self, query: Query) -> impl Iterator<Item = &Divergence> {
        self.divergences.iter().filter(move |d| self.matches(d, &query))
    }

    fn matches(&self, d: &Divergence, q: &Query) -> bool {
        let (place, closed) = (d.place(), d.closed.as_ref());
        q.open.is_none_or(|open| open == d.is_open())
            && q.finding.is_none_or(|f| f == d.finding())
            && q.switch.as_ref().is_none_or(|s| place.switch() == Some(s))
            && q.port.as_ref().is_none_or(|p| place.port().is_some_and(|id| id.port == *p))
            && q.from.is_none_or(|from| closed.is_none_or(|c| c.by > from))
            && q.to.is_none_or(|to| d.onset.after.is_none_or(|after| after < to))
            && q.network.as_ref().is_none_or(|n| self.covers(d, n))
    }

    /// The networks a divergence has covered.
    pub fn networks_of(&self, d: &Divergence) -> BTreeSet<String> {
        match d.place() {
            Place::Nic { .. } | Place::Network(_) => d.networks.clone(),
            _ => self.by_network.keys().filter(|name| self.covers(d, name)).cloned().collect(),
        }
    }

    fn covers(&self, d: &Divergence, network: &str) -> bool {
        if let Place::Nic { .. } | Place::Network(_) = d.place() {
            return d.networks.contains(network);
        }
        let Some(last) = self.last() else { return false };
        // The last poll that may have found it.
        let until = d.closed.as_ref().map_or(last.seq, |c| c.seq.saturating_sub(1));
        self.runs_of(network).any(|run| {
            run.vlan.is_some_and(|v| d.ever.contains(v))
                && run.first.seq <= until
                && run.last.unwrap_or(last).seq >= d.onset.seq
        })
    }

    fn runs_of(&self, network: &str) -> impl Iterator<Item = &Run> {
        let places = self.by_network.get(network).into_iter().flatten();
        places.filter_map(|at| self.runs.get(*at))
    }

    /// The networks of the last poll.
    pub fn networks(&self) -> impl Iterator<Item = &str> {
        self.current.iter().map(String::as_str)
    }

    /// How a network fared: runs of equal verdicts in order, the last of them up to the last poll. Between two runs
    /// that do not follow each other the network was not declared.
    pub fn timeline(&self, network: &str) -> Vec<Run> {
        let polls = self.polls();
        let whole = |run: &Run| match run.last {
            Some(_) => run.clone(),
            None => Run { last: self.last(), polls: polls - run.before, ..run.clone() },
        };
        self.runs_of(network).map(whole).collect()
    }

    /// What can be said of a network now: what the last poll said, unless that poll started longer than `max_age`
    /// ago. `None` for a network the last poll did not know.
    pub fn verdict_now(&self, network: &str, now: Timestamp, max_age: Span) -> Option<VerdictNow> {
        let poll = self.last()?;
        let run = self.current.contains(network).then(|| self.last_run(network)).flatten()?;
        let run = self.runs.get(run)?;
        let age = now.since(poll.started);
        let stale = age > max_age;
        Some(VerdictNow {
            verdict: if stale { Verdict::Unknown } else { run.verdict },
            last: run.verdict,
            poll,
            age,
            stale,
            reason: run.reason.clone(),
        })
    }
}
