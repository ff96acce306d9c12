//! Every verdict recomputed from what the sources said: the part of an audit that only somebody with the content can
//! do.
//!
//! For each distinct snapshot: evidence read again gives the recorded state; states, scope and leases give slices and
//! common part; these and the version give the root that the entry states. An auditor whose run ends without a finding
//! has seen that every slice of the log follows from its evidence.

use crate::read::{ReadError, ReadLog};
use crate::state::{PollState, Snapshots, StateError};
use isoledger_core::Digest;
use isoledger_core::content::MovingPort;
use isoledger_core::json::to_canonical;
use isoledger_core::lease::Slots;
use isoledger_core::model::{Declared, PortId, Reader};
use isoledger_core::record::{Body, Record};
use std::collections::{BTreeMap, BTreeSet};

/// Reads recorded evidence again: the reader's name and version and the evidence's bytes in, the state's canonical
/// bytes out, or why not. The caller's, since the ledger knows no vendor.
pub trait Renormalise {
    /// A switch's evidence.
    fn observed(&mut self, reader: &Reader, evidence: &[u8]) -> Result<Vec<u8>, String>;
    /// A cloud manager's evidence.
    fn declared(&mut self, reader: &Reader, evidence: &[u8]) -> Result<Vec<u8>, String>;
}

/// What was recomputed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recomputed {
    /// Polls.
    pub polls: u64,
    /// Distinct snapshots among them.
    pub snapshots: u64,
    /// Versions of the VLAN tree built again.
    pub versions: u64,
    /// States read again from their evidence.
    pub states: u64,
    /// Verdicts by name.
    pub verdicts: BTreeMap<String, u64>,
    /// Polls whose content is archived or missing, and which could therefore not be recomputed.
    pub without_content: u64,
}

/// What does not follow. The first found.
#[derive(Debug, thiserror::Error)]
pub enum RecomputeError {
    /// The log cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// An entry does not parse.
    #[error("entry {seq}: {source}")]
    Record {
        /// The entry.
        seq: u64,
        /// Why.
        source: isoledger_core::record::RecordError,
    },
    /// The poll's content cannot be read.
    #[error("entry {seq}: {source}")]
    State {
        /// The entry.
        seq: u64,
        /// Why.
        source: Box<StateError<ReadError>>,
    },
    /// The recorded state of a source is not what its evidence says.
    #[error("entry {seq}: the recorded state of {source_name} does not follow from its evidence: {reason}")]
    Evidence {
        /// The entry.
        seq: u64,
        /// The source.
        source_name: String,
        /// In what way.
        reason: String,
    },
    /// The slices do not lead to the root.
    #[error(
        "entry {seq}: slices and common part lead to VLAN tree root {computed}, the entry states {stated}"
    )]
    Root {
        /// The entry.
        seq: u64,
        /// The root recomputed.
        computed: Digest,
        /// The root stated.
        stated: Digest,
    },
    /// Leases or keys changed that should not have, or stayed that should have changed.
    #[error("entry {seq}: the lease of VLAN {vlan} is not the one that follows from the poll before")]
    Lease {
        /// The entry.
        seq: u64,
        /// The VLAN.
        vlan: u16,
    },
    /// A port's time in transition does not continue from the poll before.
    #[error(
        "entry {seq}: port {port} is said to be in transition, and for how long does not follow from the poll before"
    )]
    Moving {
        /// The entry.
        seq: u64,
        /// The port.
        port: PortId,
    },
    /// The scope in force is not the one recorded last.
    #[error("entry {seq}: the poll follows scope entry {found}; the newest before it is {newest:?}")]
    Scope {
        /// The entry.
        seq: u64,
        /// The scope entry it claims.
        found: u64,
        /// The newest scope entry.
        newest: Option<u64>,
    },
}

/// Recomputes every poll of a log, in order; `progress` is told how many entries are done, and of how many.
///
/// # Errors
/// The first thing that does not follow.
pub fn recompute(
    log: &impl ReadLog,
    reader: &mut dyn Renormalise,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<Recomputed, RecomputeError> {
    let size = log.size()?;
    recompute_from(log, reader, (0, size), &mut |done, _| progress(done, size))
}

/// Recomputes the polls among entries `range.0..range.1`, where those before are known to be good; `progress` is told
/// how many entries are done, and of how many polls before them the content was gone.
///
/// # Errors
/// The first thing that does not follow.
pub fn recompute_from(
    log: &impl ReadLog,
    reader: &mut dyn Renormalise,
    (first, size): (u64, u64),
    progress: &mut dyn FnMut(u64, u64),
) -> Result<Recomputed, RecomputeError> {
    let origin_hash = Digest::of(log.origin().as_bytes());
    let mut out = Recomputed::default();
    let mut cache = Snapshots::with_capacity(2);
    let mut seen: BTreeSet<Digest> = BTreeSet::new();
    let mut last: Option<(Digest, u64, Slots)> = None;
    let mut verdicts: Vec<&'static str> = Vec::new();
    let mut moving: Option<Vec<MovingPort>> = None;
    let mut scope: Option<(u64, Digest)> = None;
    let mut archived = 0;
    // What was archived is said by later entries, so it is looked for first.
    let mut before = None;
    for entry in log.entries(0, size) {
        let (seq, stored) = entry?;
        let record = Record::parse(&stored.text).map_err(|source| RecomputeError::Record { seq, source })?;
        match record.body {
            Body::ContentArchived { upto, .. } => archived = archived.max(upto),
            Body::ScopeChanged { .. } if seq < first => scope = stored.opening.map(|o| (seq, o.digest)),
            Body::Poll(_) if seq < first => before = Some(seq),
            _ => {}
        }
    }
    // What the first poll must follow from is what the last one before it knew, which was recomputed then.
    if let Some(seq) = before {
        match PollState::of(log, seq, &mut cache) {
            Ok(state) => {
                moving = Some(state.parsed.snapshot.moving.clone());
                verdicts = state.judge_all().values().map(|n| n.verdict.name()).collect();
                last = Some((state.parsed.digest, state.poll.version, (*state.parsed.slots).clone()));
            }
            Err(StateError::Missing { .. }) if seq < archived => {}
            Err(e) => return Err(RecomputeError::State { seq, source: Box::new(e) }),
        }
    }
    for entry in log.entries(first, size) {
        let (seq, stored) = entry?;
        if seq % 256 == 0 {
            progress(seq, out.without_content);
        }
        let record = Record::parse(&stored.text).map_err(|source| RecomputeError::Record { seq, source })?;
        match &record.body {
            Body::ScopeChanged { .. } => scope = stored.opening.map(|o| (seq, o.digest)),
            Body::Poll(_) => {}
            _ => continue,
        }
        let Body::Poll(poll) = &record.body else { continue };
        out.polls += 1;
        let state = match PollState::of(log, seq, &mut cache) {
            Ok(state) => state,
            Err(StateError::Missing { .. }) if seq < archived => {
                out.without_content += 1;
                last = None;
                moving = None;
                continue;
            }
            Err(e) => return Err(RecomputeError::State { seq, source: Box::new(e) }),
        };
        let digest = state.parsed.digest;
        check_moving(moving.as_deref(), &state)?;
        moving = Some(state.parsed.snapshot.moving.clone());
        let same = last.as_ref().is_some_and(|(d, version, _)| *d == digest && *version == poll.version);
        if !same {
            let snapshot = &state.parsed.snapshot;
            if scope != Some((snapshot.scope_seq, snapshot.scope)) {
                let newest = scope.map(|s| s.0);
                return Err(RecomputeError::Scope { seq, found: snapshot.scope_seq, newest });
            }
            check_evidence(log, reader, &state, &mut seen, &mut out)?;
            check_leases(last.as_ref().map(|l| &l.2), &state)?;
            let assembly = state.assembly();
            let cut = assembly.cut(poll.version, origin_hash, &state.parsed.slots);
            let computed = cut.tree.root();
            if computed != poll.root {
                return Err(RecomputeError::Root { seq, computed, stated: poll.root });
            }
            out.snapshots += 1;
            out.versions += u64::from(poll.version == seq);
            verdicts = state.judge_all().values().map(|n| n.verdict.name()).collect();
        }
        for name in &verdicts {
            *out.verdicts.entry((*name).to_owned()).or_default() += 1;
        }
        last = Some((digest, poll.version, (*state.parsed.slots).clone()));
    }
    progress(size, out.without_content);
    Ok(out)
}

fn check_evidence(
    log: &impl ReadLog,
    reader: &mut dyn Renormalise,
    state: &PollState,
    seen: &mut BTreeSet<Digest>,
    out: &mut Recomputed,
) -> Result<(), RecomputeError> {
    let seq = state.seq;
    let fault =
        |name: &str, reason: String| RecomputeError::Evidence { seq, source_name: name.to_owned(), reason };
    let switches = state.switches().map(|(name, source, observed)| {
        (name.to_owned(), source, observed.map(|o| to_canonical(&**o)), false)
    });
    let manager = state.manager();
    let declared = manager.state.map(|_| to_canonical(state.declared()));
    for (name, source, recorded, is_manager) in
        switches.chain([("the cloud manager".to_owned(), manager, declared, true)])
    {
        let (Some(recorded), Some(recorded_digest)) = (recorded, source.state) else { continue };
        let Some(evidence) = source.evidence else {
            return Err(fault(&name, "there is a state and no evidence for it".into()));
        };
        // A pair that was good once is good again: both are named by their digests.
        let pair = [evidence.0, recorded_digest.0].concat();
        if !seen.insert(Digest::of(&pair)) {
            continue;
        }
        let bytes = log.content(&evidence)?;
        let again = if is_manager {
            reader.declared(&source.reader, &bytes)
        } else {
            reader.observed(&source.reader, &bytes)
        };
        let again = again.map_err(|e| fault(&name, e))?;
        if again != recorded {
            return Err(fault(&name, "reading the evidence again gives another state".into()));
        }
        out.states += 1;
    }
    Ok(())
}

// A port in transition is excused for a while, so nobody may begin to count anew.
fn check_moving(before: Option<&[MovingPort]>, state: &PollState) -> Result<(), RecomputeError> {
    let Some(before) = before else { return Ok(()) };
    for m in &state.parsed.snapshot.moving {
        let good = match before.iter().find(|b| b.port == m.port) {
            Some(b) => m.polls == b.polls.saturating_add(1) && m.since == b.since,
            None => m.polls == 1 && m.since == state.poll.started,
        };
        if !good {
            return Err(RecomputeError::Moving { seq: state.seq, port: m.port.clone() });
        }
    }
    Ok(())
}

// Leases are what `Slots::advance` makes of those before, but for the random keys.
fn check_leases(before: Option<&Slots>, state: &PollState) -> Result<(), RecomputeError> {
    let seq = state.seq;
    let now = &*state.parsed.slots;
    let Some(before) = before else { return Ok(()) };
    let mut zero = || [0; 32];
    let empty = Declared::default();
    let declared = if state.manager().state.is_some() { state.declared() } else { &empty };
    let expected = match state.manager().state {
        Some(_) => before.advance(declared, seq, &mut zero),
        None => before.clone(),
    };
    let vlans: BTreeSet<u16> = expected.leases.keys().chain(now.leases.keys()).copied().collect();
    for vlan in vlans {
        let good = match (expected.leases.get(&vlan), now.leases.get(&vlan)) {
            (Some(want), Some(have)) if want.since == seq => {
                have.since == seq
                    && have.networks.len() == want.networks.len()
                    && want.networks.iter().all(|(name, w)| {
                        have.networks.get(name).is_some_and(|h| h.owner == w.owner && h.access == w.access)
                    })
                    && before.leases.get(&vlan).is_none_or(|old| old.key != have.key)
            }
            (want, have) => want == have,
        };
        if !good {
            return Err(RecomputeError::Lease { seq, vlan });
        }
    }
    if (before.handles, before.unused) != (now.handles, now.unused) {
        return Err(RecomputeError::Lease { seq, vlan: 0 });
    }
    Ok(())
}
