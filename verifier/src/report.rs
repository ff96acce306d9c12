//! Reports: what was claimed, what was checked, what came out, and on whose word each part rests.

use crate::words::plain;
use isoledger_core::attestation::Predicate;
use isoledger_core::hash::Digest;
use isoledger_core::judge::Verdict;
use isoledger_core::policy::Policy;
use isoledger_core::range::{RangeVerdict, Stretch, Violation};
use isoledger_core::time::{Span, Timestamp};
use serde::{Serialize, Serializer};

/// A step of docs/formats/evidence.md, by the name it has there, in the order in which they are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum CheckName {
    /// The envelope is well-formed and signed by a log of the policy.
    Envelope,
    /// The statement is one about isolation, and about this evidence file.
    Statement,
    /// The evidence is well-formed and of the claim's network and log.
    Evidence,
    /// The newest checkpoint is signed, and is the one the claim names.
    Checkpoint,
    /// The archived checkpoints are signed and extend each other.
    Chain,
    /// The entries are the log's.
    Range,
    /// The entries follow from each other.
    Entries,
    /// The entries reach to both ends of the range.
    Ends,
    /// Every distinct version is opened once and leads to the root its polls state.
    Versions,
    /// The texts are canonical, used, and of this network, project and domain.
    Slices,
    /// The polls follow semantics this program knows.
    Semantics,
    /// What the claim says is what follows from the evidence.
    Claim,
    /// The policy speaks of this network.
    Stanza,
    /// The claim is the one that was asked for.
    Request,
    /// The policy's quorum confirms the times of the polls.
    Witnesses,
    /// The policy's auditors have recomputed the log.
    Auditors,
    /// The range is isolated by the policy's own measure.
    Isolation,
    /// Who is declared on the network is who the policy says.
    Members,
    /// The network is carried by the exits the policy names.
    Exits,
    /// The network is not open to any project.
    Public,
    /// The policy accepts every port that nobody assesses.
    NotAssessed,
    /// The answer is recent.
    Freshness,
}

impl CheckName {
    /// Every check, in order.
    pub const ALL: [CheckName; 22] = [
        CheckName::Envelope,
        CheckName::Statement,
        CheckName::Evidence,
        CheckName::Checkpoint,
        CheckName::Chain,
        CheckName::Range,
        CheckName::Entries,
        CheckName::Ends,
        CheckName::Versions,
        CheckName::Slices,
        CheckName::Semantics,
        CheckName::Claim,
        CheckName::Stanza,
        CheckName::Request,
        CheckName::Witnesses,
        CheckName::Auditors,
        CheckName::Isolation,
        CheckName::Members,
        CheckName::Exits,
        CheckName::Public,
        CheckName::NotAssessed,
        CheckName::Freshness,
    ];

    /// Its name in reports and pages.
    pub fn name(self) -> &'static str {
        match self {
            CheckName::Envelope => "envelope",
            CheckName::Statement => "statement",
            CheckName::Evidence => "evidence",
            CheckName::Checkpoint => "checkpoint",
            CheckName::Chain => "chain",
            CheckName::Range => "range",
            CheckName::Entries => "entries",
            CheckName::Ends => "ends",
            CheckName::Versions => "versions",
            CheckName::Slices => "slices",
            CheckName::Semantics => "semantics",
            CheckName::Claim => "claim",
            CheckName::Stanza => "stanza",
            CheckName::Request => "request",
            CheckName::Witnesses => "witnesses",
            CheckName::Auditors => "auditors",
            CheckName::Isolation => "isolation",
            CheckName::Members => "members",
            CheckName::Exits => "exits",
            CheckName::Public => "public",
            CheckName::NotAssessed => "not-assessed",
            CheckName::Freshness => "freshness",
        }
    }
}

/// How a check ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Status {
    /// It holds.
    Passed,
    /// It does not.
    Failed,
    /// It cannot be told, or the policy leaves it open.
    Undecided,
}

/// A check that was made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Check {
    /// Which.
    pub check: CheckName,
    /// How it ended.
    pub status: Status,
    /// A sentence: what was found.
    pub detail: String,
}

/// On whose word a sentence rests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Trust {
    /// Anyone can check it from the files and the policy alone.
    Anyone,
    /// On those who replayed the log and cosigned it.
    Auditor,
    /// On the recorder, at the time of recording.
    Recorder,
}

impl Trust {
    /// Its name in reports.
    pub fn name(self) -> &'static str {
        match self {
            Trust::Anyone => "anyone",
            Trust::Auditor => "auditor",
            Trust::Recorder => "recorder",
        }
    }
}

/// A sentence, and on whose word it rests.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Sentence {
    /// Whose word.
    pub rests_on: Trust,
    /// What it says.
    pub sentence: String,
}

/// Why a claim is refuted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Why {
    /// The proof is bad: this is no proof of what was asked, whatever the network was.
    Proof,
    /// The proof is good, and proves a violation of isolation or of the policy's bounds.
    Violation,
}

/// What came out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The network was isolated over the whole range, by the policy's measure.
    Verified(Isolated),
    /// It was not, or this does not show it.
    Refuted(Why),
    /// It could not be told.
    Undecided,
}

impl Outcome {
    /// 0 verified, 1 refuted, 2 undecided.
    pub fn exit_code(self) -> u8 {
        match self {
            Outcome::Verified(_) => 0,
            Outcome::Refuted(_) => 1,
            Outcome::Undecided => 2,
        }
    }

    /// Its name in reports.
    pub fn name(self) -> &'static str {
        match self {
            Outcome::Verified(_) => "verified",
            Outcome::Refuted(_) => "refuted",
            Outcome::Undecided => "undecided",
        }
    }

    /// Why it is refuted, if it is.
    pub fn why(self) -> Option<Why> {
        match self {
            Outcome::Refuted(why) => Some(why),
            _ => None,
        }
    }

    /// Whether it is verified.
    pub fn is_verified(self) -> bool {
        matches!(self, Outcome::Verified(_))
    }
}

impl Serialize for Outcome {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(self.name())
    }
}

/// Every demand is met. Made in one place, from one value for each of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Isolated(());

impl Isolated {
    /// Takes one value for each demand; each is made where that demand was met, and nowhere else.
    pub(crate) fn of(_: crate::demand::AllMet) -> Isolated {
        Isolated(())
    }
}

/// The range by the policy's measure: its gaps, its acceptances, and only the times its quorum confirms.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Assessed {
    /// The verdict.
    pub verdict: Verdict,
    /// Polls that were judged.
    pub polls: u64,
    /// Of these, isolated and confirmed in time.
    pub isolated: u64,
    /// Polls that the quorum does not confirm in time.
    pub unconfirmed: u64,
    /// Times of violation.
    pub violations: Vec<Violation>,
    /// Stretches without a good reading that are longer than the policy allows.
    pub too_long: Vec<Stretch>,
    /// The longest stretch without any poll.
    pub longest_gap: Span,
    /// Whether every attachment was carried as declared at every poll. No part of the verdict.
    pub conforms: bool,
}

impl Assessed {
    pub(crate) fn new(range: RangeVerdict, unconfirmed: u64, conforms: bool) -> Assessed {
        Assessed {
            conforms,
            verdict: range.verdict,
            polls: range.polls,
            isolated: range.isolated,
            unconfirmed,
            violations: range.violations,
            too_long: range.too_long,
            longest_gap: range.longest_gap,
        }
    }
}

/// What a verification found.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// What came out.
    pub outcome: Outcome,
    /// Why, if refuted.
    #[serde(rename = "refuted")]
    pub why: Option<Why>,
    /// BLAKE3 of the policy.
    pub policy: Digest,
    /// Whether nobody has compared the policy's keys.
    pub unpinned: bool,
    /// The claim, once its signature is checked. Not yet true for that: see `checks`.
    pub claim: Option<Predicate>,
    /// The checks that were made, in order. The last failed one ends them where nothing further can be told.
    pub checks: Vec<Check>,
    /// The range by the policy's measure, where it got so far.
    pub assessed: Option<Assessed>,
    /// What is shown, and on whose word.
    pub rests_on: Vec<Sentence>,
    /// The moment freshness was checked at.
    pub now: Option<Timestamp>,
}

impl Report {
    pub(crate) fn new(policy: &Policy) -> Report {
        Report {
            outcome: Outcome::Undecided,
            why: None,
            policy: policy.digest(),
            unpinned: policy.unpinned(),
            claim: None,
            checks: Vec::new(),
            assessed: None,
            rests_on: Vec::new(),
            now: None,
        }
    }

    /// The check of this name, if it was made.
    pub fn check(&self, name: CheckName) -> Option<&Check> {
        self.checks.iter().find(|c| c.check == name)
    }

    /// The first check that did not pass.
    pub fn first_problem(&self) -> Option<&Check> {
        self.checks.iter().find(|c| c.status != Status::Passed)
    }
}

/// Ends a verification: nothing further can be told.
pub(crate) struct Stop {
    check: CheckName,
    status: Status,
    detail: String,
}

impl Stop {
    /// The proof is bad.
    pub(crate) fn failed(check: CheckName, detail: impl ToString) -> Stop {
        Stop { check, status: Status::Failed, detail: detail.to_string() }
    }

    /// Not ours to tell.
    pub(crate) fn undecided(check: CheckName, detail: impl ToString) -> Stop {
        Stop { check, status: Status::Undecided, detail: detail.to_string() }
    }
}

/// The checks made so far.
#[derive(Default)]
pub(crate) struct Checks(Vec<Check>);

impl Checks {
    pub(crate) fn passed(&mut self, check: CheckName, detail: impl AsRef<str>) {
        self.push(check, Status::Passed, detail.as_ref());
    }

    pub(crate) fn failed(&mut self, check: CheckName, detail: impl AsRef<str>) {
        self.push(check, Status::Failed, detail.as_ref());
    }

    pub(crate) fn undecided(&mut self, check: CheckName, detail: impl AsRef<str>) {
        self.push(check, Status::Undecided, detail.as_ref());
    }

    pub(crate) fn stop(&mut self, stop: Stop) -> Outcome {
        self.push(stop.check, stop.status, &stop.detail);
        match stop.status {
            Status::Failed => Outcome::Refuted(Why::Proof),
            Status::Passed | Status::Undecided => Outcome::Undecided,
        }
    }

    // Details quote the files: whatever they hold, a detail is one line.
    fn push(&mut self, check: CheckName, status: Status, detail: &str) {
        self.0.push(Check { check, status, detail: plain(detail) });
    }

    pub(crate) fn into_list(self) -> Vec<Check> {
        self.0
    }
}
