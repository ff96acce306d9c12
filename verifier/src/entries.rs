//! The entries of the range: in the log at their places, following from each other, reaching to both ends.

use crate::heads::Heads;
use crate::opened::{Bound, Signed};
use crate::report::CheckName::{Ends, Entries as EntriesCheck, Range};
use crate::report::{Checks, Stop};
use isoledger_core::evidence::{PackError, Packer};
use isoledger_core::hash::Digest;
use isoledger_core::merkle::{RangeVerifier, leaf_hash};
use isoledger_core::record::{Body, Chain, RecordError};
use isoledger_core::time::Timestamp;

/// A poll of the range.
#[derive(Clone, Copy)]
pub(crate) struct PollAt {
    pub(crate) seq: u64,
    pub(crate) started: Timestamp,
    pub(crate) ended: Timestamp,
    pub(crate) semantics: u32,
    pub(crate) version: u64,
    pub(crate) root: Digest,
    /// It closes an end, so another lease may hold it.
    pub(crate) closing: bool,
}

/// The entries, checked.
pub(crate) struct Entries {
    pub(crate) start: u64,
    pub(crate) end: u64,
    pub(crate) polls: Vec<PollAt>,
    pub(crate) scope_changes: Vec<u64>,
    pub(crate) exceptions: Vec<u64>,
}

pub(crate) fn check(
    signed: &Signed<'_>,
    bound: &Bound,
    heads: &Heads,
    checks: &mut Checks,
) -> Result<Entries, Stop> {
    let (evidence, claim) = (bound.evidence(), signed.claim());
    let view = &evidence.range;
    let newest = heads.newest();
    // Before anything is unpacked: as many as the range says, and the range inside the tree.
    if view.start >= view.end || view.end > newest.size() {
        let words = format!("entries {} to {} of a log of {}", view.start, view.end, newest.size());
        return Err(Stop::failed(Range, words));
    }
    if u64::try_from(evidence.entries.len()) != Ok(view.end - view.start) {
        let words = format!("{} entries where {} should be", evidence.entries.len(), view.end - view.start);
        return Err(Stop::failed(Range, words));
    }
    let mut range = RangeVerifier::new(view.start, &view.left).map_err(|e| Stop::failed(Range, e))?;
    let (mut chain, mut packer) = (Chain::new(), Packer::new());
    let mut out = Entries {
        start: view.start,
        end: view.end,
        polls: Vec::new(),
        scope_changes: Vec::new(),
        exceptions: Vec::new(),
    };
    let mut unknown = 0u64;
    for (seq, packed) in (view.start..).zip(&evidence.entries) {
        let (bytes, record) = packer.unpack(packed).map_err(|e| match e {
            PackError::Record(RecordError::Version { .. }) => Stop::undecided(EntriesCheck, e),
            e => Stop::failed(EntriesCheck, format!("entry {seq}: {e}")),
        })?;
        if record.seq != seq {
            let words = format!("entry {} stands where entry {seq} belongs", record.seq);
            return Err(Stop::failed(EntriesCheck, words));
        }
        if record.origin != evidence.origin {
            let words =
                format!("entry {seq} is of log {:?}, the evidence of {:?}", record.origin, evidence.origin);
            return Err(Stop::failed(EntriesCheck, words));
        }
        chain.push(&record, &bytes).map_err(|e| Stop::failed(EntriesCheck, e))?;
        range.push(leaf_hash(&bytes));
        match record.body {
            Body::Genesis { domain, .. } if domain != claim.domain => {
                let words = format!("the log is of domain {domain:?}, the claim of {:?}", claim.domain);
                return Err(Stop::failed(EntriesCheck, words));
            }
            Body::Poll(p) => out.polls.push(PollAt {
                seq,
                started: p.started,
                ended: p.ended,
                semantics: p.semantics,
                version: p.version,
                root: p.root,
                closing: p.ended <= claim.from || p.started >= claim.to,
            }),
            Body::ScopeChanged { .. } => out.scope_changes.push(seq),
            Body::ExceptionGranted { .. } => out.exceptions.push(seq),
            Body::Unknown { .. } => unknown += 1,
            Body::Genesis { .. }
            | Body::KeyRotated { .. }
            | Body::DivergenceAcknowledged { .. }
            | Body::ContentArchived { .. }
            | Body::LogRecovered { .. } => {}
        }
    }
    newest.check_range(range, view.end, &view.right).map_err(|e| Stop::failed(Range, e))?;
    checks.passed(
        Range,
        format!("entries {} to {} are in the log of {} entries", view.start, view.end - 1, newest.size()),
    );
    let skipped =
        if unknown > 0 { format!("; {unknown} of types this program does not know") } else { String::new() };
    checks.passed(
        EntriesCheck,
        format!("none missing, each following from the one before; {} polls{skipped}", out.polls.len()),
    );
    check_ends(&out, signed, newest.size(), checks)?;
    Ok(out)
}

// The first entry is the last poll that ended at or before `from`, or the log's first entry if there is none; the last
// is the first poll that started at or after `to`, or the log's last entry if there is none.
fn check_ends(entries: &Entries, signed: &Signed<'_>, size: u64, checks: &mut Checks) -> Result<(), Stop> {
    let claim = signed.claim();
    if claim.from > claim.to {
        return Err(Stop::failed(
            Ends,
            format!("the range begins at {} and ends at {}", claim.from, claim.to),
        ));
    }
    let (first, last) = (entries.start, entries.end - 1);
    for p in &entries.polls {
        if p.ended <= claim.from && p.seq != first {
            let words = format!("poll {} ended before the range and is not its first entry", p.seq);
            return Err(Stop::failed(Ends, words));
        }
        if p.started >= claim.to && p.ended > claim.from && p.seq != last {
            let words = format!("poll {} started after the range and is not its last entry", p.seq);
            return Err(Stop::failed(Ends, words));
        }
    }
    let opens = entries.polls.first().is_some_and(|p| p.seq == first && p.ended <= claim.from);
    if first != 0 && !opens {
        return Err(Stop::failed(
            Ends,
            format!(
                "open at the start: entry {first} is neither the log's first nor a poll that ended by {}",
                claim.from
            ),
        ));
    }
    let closes = entries.polls.last().is_some_and(|p| p.seq == last && p.started >= claim.to);
    if entries.end != size && !closes {
        return Err(Stop::failed(
            Ends,
            format!(
                "open at the end: entry {last} of {size} is neither the log's last nor a poll that started after {}",
                claim.to
            ),
        ));
    }
    let word = |closed, otherwise: &str| if closed { "a poll".to_owned() } else { otherwise.to_owned() };
    checks.passed(
        Ends,
        format!(
            "closed: {} before the range, {} after it",
            word(opens, "the log's beginning"),
            word(closes, "the log's end")
        ),
    );
    Ok(())
}
