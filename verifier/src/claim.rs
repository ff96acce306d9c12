//! The claim, recomputed: everything the predicate says of the range, from the entries and the judged versions.

use crate::entries::Entries;
use crate::heads::Heads;
use crate::opened::Signed;
use crate::report::CheckName::Claim as ClaimCheck;
use crate::report::{Checks, Stop};
use crate::versions::Versions;
use isoledger_core::attestation::Predicate;
use isoledger_core::judge::NotAssessed;
use isoledger_core::range::{PollVerdict, RangeFold};
use isoledger_core::slice::ExitView;
use std::collections::BTreeSet;

/// A claim that follows from its evidence.
pub(crate) struct Proven<'a> {
    pub(crate) claim: &'a Predicate,
    pub(crate) entries: &'a Entries,
    pub(crate) versions: &'a Versions,
    pub(crate) heads: &'a Heads,
}

pub(crate) fn check<'a>(
    signed: &'a Signed<'_>,
    entries: &'a Entries,
    versions: &'a Versions,
    heads: &'a Heads,
    checks: &mut Checks,
) -> Result<Proven<'a>, Stop> {
    let claim = signed.claim();
    let mut fold = RangeFold::new(claim.from, claim.max_gap);
    for (p, state) in &versions.polls {
        fold.push(&PollVerdict {
            seq: p.seq,
            started: p.started,
            ended: p.ended,
            verdict: state.plain.verdict,
            blind: state.plain.blind.clone(),
        });
    }
    let range = fold.finish(claim.to);
    let exits: BTreeSet<&ExitView> = versions.states.iter().flat_map(|s| &s.exits).collect();
    let not_assessed: BTreeSet<&NotAssessed> = versions.states.iter().flat_map(|s| &s.not_assessed).collect();
    let leases: BTreeSet<u64> = versions.states.iter().map(|s| s.lease).collect();

    equal("verdict", &claim.verdict, &range.verdict)?;
    equal("polls", &claim.polls, &range.polls)?;
    equal("isolated", &claim.isolated, &range.isolated)?;
    equal("violations", &claim.violations, &range.violations)?;
    equal("blind", &claim.blind, &range.too_long)?;
    equal("leases", &claim.leases, &leases.into_iter().collect())?;
    equal("scopeChanges", &claim.scope_changes, &entries.scope_changes)?;
    equal("exits", &claim.exits, &exits.into_iter().cloned().collect())?;
    equal("notAssessed", &claim.not_assessed, &not_assessed.into_iter().cloned().collect())?;
    equal("exceptions", &claim.exceptions, &entries.exceptions)?;
    equal("cosignatures", &claim.cosignatures, &heads.cosigners().to_vec())?;
    if claim.audited_to.is_some_and(|n| n > claim.log.size) {
        let words = format!("it says {:?} entries are audited, of {}", claim.audited_to, claim.log.size);
        return Err(Stop::failed(ClaimCheck, words));
    }
    checks.passed(
        ClaimCheck,
        format!(
            "recomputed and equal: {}, {} of {} polls isolated, {} violations",
            claim.verdict,
            claim.isolated,
            claim.polls,
            claim.violations.len()
        ),
    );
    Ok(Proven { claim, entries, versions, heads })
}

fn equal<T: PartialEq + serde::Serialize>(member: &str, claimed: &T, found: &T) -> Result<(), Stop> {
    if claimed == found {
        return Ok(());
    }
    let text = |v: &T| -> String {
        let json = serde_json::to_string(v).unwrap_or_default();
        if json.chars().count() <= 200 { json } else { json.chars().take(199).chain(['…']).collect() }
    };
    Err(Stop::failed(
        ClaimCheck,
        format!("it says {member} {}, the evidence gives {}", text(claimed), text(found)),
    ))
}
