//! Checks isolation attestations offline, trusting neither operator nor database.
//!
//! ```text
//! attestation ──signature──▶ claim ──sha256──▶ evidence ──▶ checkpoint ──▶ entries ──▶ versions ──▶ slices ──▶ verdicts
//!                              └───────────────────────── must equal ◀──────────────────────────────────────────┘
//! policy ──▶ demands on all of it ──▶ verified · refuted · undecided
//! ```
//!
//! # In scope
//! - [`verify`]: attestation, evidence and policy in, [`Report`] out. Its steps are those of docs/formats/evidence.md.
//! - [`cli`]: the command line, as a function, so that another program can run the very same one.
//!
//! # Out of scope
//! Networks, databases, the clock: `now` is an argument. Fetching and remembering.
//!
//! # Trust
//! Nobody's but the policy's. A passed check is a value that the next step takes, and [`Isolated`] is made in one place
//! from one value of every demand: an outcome cannot be `Verified` because a check did not happen.
//!
//! Semantics, formats and cryptography are those of `isoledger-core`; what can be trusted in it, and how little code
//! there is besides, is in the README.

mod claim;
pub mod cli;
mod demand;
mod entries;
mod heads;
mod opened;
mod report;
mod show;
mod versions;
mod words;

pub use report::{Assessed, Check, CheckName, Isolated, Outcome, Report, Sentence, Status, Trust, Why};

use isoledger_core::policy::Policy;
use isoledger_core::time::Timestamp;
use report::{Checks, Stop};

/// What the caller asked for, beside what the policy demands always.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// The range must begin here.
    pub from: Option<Timestamp>,
    /// The range must end here.
    pub to: Option<Timestamp>,
    /// The attestation must answer this nonce.
    pub nonce: Option<String>,
    /// The answer must be fresh at this moment; needs a nonce.
    pub fresh: Option<Timestamp>,
}

/// Checks an attestation and its evidence against a policy.
///
/// Takes any bytes, never fails and never panics: what is wrong stands in the report. Needs memory in proportion to the
/// two files.
pub fn verify(attestation: &[u8], evidence: &[u8], policy: &Policy, options: &Options) -> Report {
    let mut report = Report::new(policy);
    let mut checks = Checks::default();
    report.outcome = match examine(attestation, evidence, policy, options, &mut report, &mut checks) {
        Ok(outcome) => outcome,
        Err(stop) => checks.stop(stop),
    };
    report.why = report.outcome.why();
    report.checks = checks.into_list();
    report
}

fn examine(
    attestation: &[u8],
    evidence: &[u8],
    policy: &Policy,
    options: &Options,
    report: &mut Report,
    checks: &mut Checks,
) -> Result<Outcome, Stop> {
    let signed = opened::open_attestation(attestation, policy, checks)?;
    report.claim = Some(signed.claim().clone());
    let bound = opened::open_evidence(&signed, evidence, checks)?;
    let stanza = demand::find_stanza(&signed, policy);
    let heads = heads::check(&signed, &bound, policy, checks)?;
    let entries = entries::check(&signed, &bound, &heads, checks)?;
    let versions = versions::check(&signed, &bound, &entries, stanza, checks)?;
    let claim = claim::check(&signed, &entries, &versions, &heads, checks)?;
    Ok(demand::decide(&claim, policy, stanza, options, report, checks))
}
