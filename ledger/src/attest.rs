//! Attestations and their evidence files, built from a log for one network over a range of time.
//!
//! What is built here proves nothing by itself: the verifier recomputes all of it from the bytes. So every step takes
//! the shortest way through code the verifier also runs.

use crate::read::{ReadError, ReadLog};
use isoledger_core::assemble::Assembly;
use isoledger_core::attestation::{LogHead, Predicate, Statement};
use isoledger_core::checkpoint::SignedCheckpoint;
use isoledger_core::dsse::EnvelopeError;
use isoledger_core::evidence::{ChainLink, Evidence, LeaseKey, Packer, RangeView, Version};
use isoledger_core::json::to_canonical;
use isoledger_core::judge::{CommonIndex, Inconsistent, Judgement, judge};
use isoledger_core::lease::Slots;
use isoledger_core::model::Owner;
use isoledger_core::note::{NoteError, NoteSigner, VerifierKey};
use isoledger_core::range::{PollVerdict, RangeFold};
use isoledger_core::record::{Body, Poll, Record, RecordError};
use isoledger_core::slice::{ExitView, NetworkSection};
use isoledger_core::{Digest, Span, Timestamp, VlanId};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// The most archived checkpoints that one evidence file carries.
const MAX_CHAIN: usize = 4096;
/// Of those behind the range the first few: one of them is the first that a quorum cosigned over the last poll.
const BEHIND: usize = 64;
/// How many archived checkpoints are looked at, from the newest, for an auditor's cosignature.
const MAX_LOOK: usize = 4096;

/// What is asked for.
#[derive(Clone, Debug)]
pub struct Request {
    /// The network.
    pub network: String,
    /// The project it is for; the owner's (or `admin`) unless given.
    pub project: Option<String>,
    /// Start of the range; the start of the network's first poll unless given.
    pub from: Option<Timestamp>,
    /// End of the range; the end of the last poll unless given.
    pub to: Option<Timestamp>,
    /// The tenant's nonce.
    pub nonce: Option<String>,
    /// The longest stretch without a reading that the attestation's own verdict allows.
    pub max_gap: Span,
    /// The auditors whose cosignatures say how far the log was recomputed.
    pub auditors: Vec<VerifierKey>,
    /// The time now.
    pub issued: Timestamp,
}

/// An attestation and the evidence it is about.
#[derive(Clone, Debug)]
pub struct Made {
    /// The DSSE envelope's bytes.
    pub attestation: String,
    /// The evidence file's bytes. Confidential to the network's projects.
    pub evidence: String,
    /// What the attestation says.
    pub statement: Statement,
}

/// Why there is no attestation.
#[derive(Debug, thiserror::Error)]
pub enum AttestError {
    /// The log cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// A poll's content cannot be read.
    #[error("poll {seq}: {reason}")]
    State {
        /// The poll.
        seq: u64,
        /// Why.
        reason: String,
    },
    /// No poll in the range knows the network.
    #[error(
        "no poll between {from} and {to} knows a network {network:?}; `isoledger status` lists the networks there are"
    )]
    NoNetwork {
        /// The network.
        network: String,
        /// Start of the range.
        from: String,
        /// End of the range.
        to: String,
    },
    /// The network is not there, or not on the same VLAN, all the time.
    #[error(
        "network {network:?} was not on VLAN {vlan} in poll {seq} of {at}; ask for a range in which it was, {hint}"
    )]
    Broken {
        /// The network.
        network: String,
        /// Its VLAN at the range's beginning.
        vlan: VlanId,
        /// The poll.
        seq: u64,
        /// When it started.
        at: Timestamp,
        /// Where such a range could lie.
        hint: String,
    },
    /// The project is neither owner nor on the access list.
    #[error(
        "project {project:?} is neither owner of network {network:?} nor on its access list in poll {seq}"
    )]
    Project {
        /// The project.
        project: String,
        /// The network.
        network: String,
        /// The poll.
        seq: u64,
    },
    /// The range is empty or backwards.
    #[error("the range from {from} to {to} is empty; --from must be before --to")]
    Range {
        /// Start.
        from: Timestamp,
        /// End.
        to: Timestamp,
    },
    /// Entries could not be packed.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// The slice contradicts itself.
    #[error("poll {seq}: {source}")]
    Inconsistent {
        /// The poll.
        seq: u64,
        /// How.
        source: Inconsistent,
    },
    /// A stored checkpoint cannot be read.
    #[error(transparent)]
    Note(#[from] NoteError),
    /// The envelope was not taken.
    #[error(transparent)]
    Envelope(#[from] EnvelopeError),
}

/// What a poll knew, as far as an attestation needs it.
#[derive(Clone)]
pub struct Opened {
    /// Leases and keys.
    pub slots: Arc<Slots>,
    /// Slices, common part, sections.
    pub assembly: Arc<Assembly>,
}

/// Makes an attestation. `open(seq, record)` gives what a poll knew; it is asked once for each distinct version.
///
/// # Errors
/// [`AttestError`]; nothing is signed then.
pub fn attest(
    log: &impl ReadLog,
    signer: &NoteSigner,
    request: &Request,
    mut open: impl FnMut(u64) -> Result<Opened, AttestError>,
) -> Result<Made, AttestError> {
    let published = log.published()?;
    let size = published.head.size;
    let plan = Plan::new(log, size, request, &mut open)?;
    let mut build = Build::new(log.origin(), plan.vlan, &plan.project);
    let mut packer = Packer::new();
    let mut entries = Vec::new();
    let mut fold = RangeFold::new(plan.from, request.max_gap);
    let mut claims = Claims::default();
    for entry in log.entries(plan.start, plan.end) {
        let (seq, stored) = entry?;
        entries.push(packer.pack(&stored.text)?);
        let record = Record::parse(&stored.text)?;
        match &record.body {
            Body::ScopeChanged { .. } => claims.scope_changes.push(seq),
            Body::ExceptionGranted { .. } => claims.exceptions.push(seq),
            Body::Poll(p) => {
                // Beyond the ends a poll may belong to somebody else's lease; it then only closes the end.
                let outside = p.ended <= plan.from || p.started >= plan.to;
                let (judgement, lease) = match build.judged(p, request, seq, &mut open) {
                    Ok(j) => j,
                    Err(AttestError::Broken { .. } | AttestError::Project { .. }) if outside => continue,
                    Err(e) => return Err(e),
                };
                claims.add(&judgement, lease);
                fold.push(&PollVerdict::new(seq, p.started, p.ended, &judgement));
            }
            _ => {}
        }
    }
    let verdict = fold.finish(plan.to);
    let proof = log.range(plan.start, plan.end, size)?;
    let audited = audited(log, size, &request.auditors)?;
    let evidence = Evidence {
        v: 1,
        origin: log.origin().to_owned(),
        network: request.network.clone(),
        vlan: plan.vlan,
        checkpoint: vouched(published.checkpoint.clone(), signer)?.as_str().to_owned(),
        chain: chain(log, &plan, size, audited, signer)?,
        range: RangeView { start: plan.start, end: plan.end, left: proof.left, right: proof.right },
        leases: build.leases.iter().map(|(lease, key)| LeaseKey { lease: *lease, key: *key }).collect(),
        texts: build.texts.into_values().collect(),
        versions: build.versions.into_values().map(|v| v.0).collect(),
        entries,
    };
    let evidence = String::from_utf8_lossy(&evidence.to_bytes()).into_owned();
    let cosigners = cosigners(&published.checkpoint, log.origin());
    let predicate = Predicate {
        network: request.network.clone(),
        domain: plan.domain,
        vlan: plan.vlan,
        project: plan.project,
        verdict: verdict.verdict,
        from: plan.from,
        to: plan.to,
        polls: verdict.polls,
        isolated: verdict.isolated,
        violations: verdict.violations,
        max_gap: request.max_gap,
        blind: verdict.too_long,
        leases: claims.leases.into_iter().collect(),
        scope_changes: claims.scope_changes,
        exits: claims.exits.into_iter().collect(),
        not_assessed: claims.not_assessed.into_iter().collect(),
        exceptions: claims.exceptions,
        nonce: request.nonce.clone(),
        issued: request.issued,
        log: LogHead { origin: log.origin().to_owned(), size, root: published.head.root },
        cosignatures: cosigners,
        audited_to: audited,
    };
    let name = format!("{}.evidence.json", request.network);
    let statement = Statement::new(&name, evidence.as_bytes(), predicate);
    Ok(Made { attestation: statement.sign(signer)?, evidence, statement })
}

// Which entries, for whom.
struct Plan {
    start: u64,
    end: u64,
    from: Timestamp,
    to: Timestamp,
    vlan: VlanId,
    domain: String,
    project: String,
}

impl Plan {
    fn new(
        log: &impl ReadLog,
        size: u64,
        request: &Request,
        open: &mut impl FnMut(u64) -> Result<Opened, AttestError>,
    ) -> Result<Plan, AttestError> {
        if let (Some(from), Some(to)) = (request.from, request.to)
            && from >= to
        {
            return Err(AttestError::Range { from, to });
        }
        // From the newest poll of the range back to where the network began, or the range does.
        let mut polls: Vec<(u64, Poll)> = Vec::new();
        let mut last_end = None;
        // The poll that closes the range's beginning, or the log's.
        let before = match request.from {
            Some(from) => log.seq_at_time(from)?.unwrap_or(0),
            None => 0,
        };
        for entry in log.entries(before, size) {
            let (seq, stored) = entry?;
            if let Body::Poll(p) = Record::parse(&stored.text)?.body {
                if request.to.is_some_and(|to| p.started >= to) {
                    break;
                }
                last_end = Some(p.ended);
                if request.from.is_none_or(|from| p.ended > from) {
                    polls.push((seq, p));
                }
            }
        }
        let none = || AttestError::NoNetwork {
            network: request.network.clone(),
            from: request.from.map_or("the beginning".into(), |t| t.to_string()),
            to: request.to.map_or("now".into(), |t| t.to_string()),
        };
        let mut to = request.to.or(last_end).ok_or_else(none)?;
        // Without a start the range is the longest run up to its end in which the network is on one VLAN and the
        // project's to see: who had the name before is nobody's business.
        let mut first: Option<(u64, Poll, Opened, VlanId)> = None;
        let mut project = request.project.clone();
        let mut opened: BTreeMap<u64, Opened> = BTreeMap::new();
        for (seq, p) in polls.iter().rev() {
            let o = match opened.get(&p.version) {
                Some(o) => o.clone(),
                None => {
                    let o = open(*seq)?;
                    opened.insert(p.version, o.clone());
                    // Versions come in runs: the one before is all that will be asked for again.
                    while opened.len() > 2 {
                        opened.pop_last();
                    }
                    o
                }
            };
            let section = o.assembly.networks.get(&request.network);
            match (section, &first) {
                // Gone since: the range ends with the last poll that knew it.
                (None, None) if request.from.is_none() && request.to.is_none() => continue,
                (None, _) => break,
                (Some(s), Some((.., known))) if s.vlan != *known => break,
                (Some(s), _) => {
                    let asked = project.get_or_insert_with(|| match &s.owner {
                        Owner::Project(p) => p.clone(),
                        Owner::Admin => "admin".into(),
                    });
                    if !is_theirs(s, asked) {
                        break;
                    }
                    if first.is_none() && request.to.is_none() {
                        to = p.ended;
                    }
                    let vlan = s.vlan;
                    first = Some((*seq, p.clone(), o, vlan));
                }
            }
            if request.from.is_some() && first.is_some() {
                break;
            }
        }
        let (first_seq, first_poll, first_opened, vlan) = first.ok_or_else(none)?;
        let from = request.from.unwrap_or(first_poll.started);
        let to = to.max(from);
        // Closed ends: the last poll that ended at or before `from`, the first that started at or after `to`.
        let start = log.seq_at_time(from)?.unwrap_or(0);
        let mut end = size;
        for entry in log.entries(start, size) {
            let (seq, stored) = entry?;
            if let Body::Poll(p) = Record::parse(&stored.text)?.body
                && p.started >= to
                && p.ended > from
                && seq > first_seq
            {
                end = seq + 1;
                break;
            }
        }
        let project = project.ok_or_else(none)?;
        let domain = first_opened.assembly.common.scope.domain.clone();
        Ok(Plan { start, end, from, to, vlan, domain, project })
    }
}

// Whether a network's section may be shown to a project.
fn is_theirs(section: &NetworkSection, project: &str) -> bool {
    let admin = section.owner == Owner::Admin && project == "admin";
    admin || isoledger_core::assemble::may_join(&section.owner, &section.access, project)
}

// Versions and texts, as they are met.
struct Build {
    origin_hash: Digest,
    vlan: VlanId,
    project: String,
    versions: BTreeMap<u64, (Version, Judgement, u64)>,
    texts: BTreeMap<Digest, String>,
    leases: BTreeMap<u64, Digest>,
}

impl Build {
    fn new(origin: &str, vlan: VlanId, project: &str) -> Build {
        Build {
            origin_hash: Digest::of(origin.as_bytes()),
            vlan,
            project: project.to_owned(),
            versions: BTreeMap::new(),
            texts: BTreeMap::new(),
            leases: BTreeMap::new(),
        }
    }

    // The judgement of the poll's version and its lease; the version is opened when first met.
    fn judged(
        &mut self,
        poll: &Poll,
        request: &Request,
        seq: u64,
        open: &mut impl FnMut(u64) -> Result<Opened, AttestError>,
    ) -> Result<(Judgement, u64), AttestError> {
        if let Some((_, j, lease)) = self.versions.get(&poll.version) {
            return Ok((j.clone(), *lease));
        }
        let Opened { slots, assembly } = open(seq)?;
        let a = &*assembly;
        let broken = || AttestError::Broken {
            network: request.network.clone(),
            vlan: self.vlan,
            seq,
            at: poll.started,
            hint: format!("ending before {} or beginning after {}", poll.started, poll.ended),
        };
        let section = a.networks.get(&request.network).filter(|s| s.vlan == self.vlan).ok_or_else(broken)?;
        let slice = a.slices.get(&self.vlan.get()).ok_or_else(broken)?;
        let lease = slots.lease(self.vlan).ok_or_else(broken)?;
        // Every lease's key is handed out below, so every lease is asked whose it is.
        if !is_theirs(section, &self.project) {
            let (project, network) = (self.project.clone(), request.network.clone());
            return Err(AttestError::Project { project, network, seq });
        }
        let judgement = judge(&CommonIndex::new(&a.common), slice, section, &BTreeSet::new())
            .map_err(|source| AttestError::Inconsistent { seq, source })?;
        let cut = a.cut(poll.version, self.origin_hash, &slots);
        if cut.tree.root() != poll.root {
            return Err(AttestError::State {
                seq,
                reason:
                    "the stored state does not lead to the root that the entry states; run `isoledger audit`"
                        .into(),
            });
        }
        let mut text = |bytes: Vec<u8>| {
            let digest = Digest::of(&bytes);
            self.texts.entry(digest).or_insert_with(|| String::from_utf8_lossy(&bytes).into_owned());
            digest
        };
        for bytes in a.common.sections() {
            text(bytes);
        }
        let version = Version {
            version: poll.version,
            common: text(cut.common),
            slice: text(to_canonical(slice)),
            section: text(to_canonical(section)),
            proof: Version::encode_siblings(&cut.tree.proof(self.vlan.get())),
        };
        self.leases.insert(slice.lease, lease.key);
        self.versions.insert(poll.version, (version, judgement.clone(), slice.lease));
        Ok((judgement, slice.lease))
    }
}

// What the predicate says besides the verdict.
#[derive(Default)]
struct Claims {
    leases: BTreeSet<u64>,
    scope_changes: Vec<u64>,
    exceptions: Vec<u64>,
    exits: BTreeSet<ExitView>,
    not_assessed: BTreeSet<isoledger_core::judge::NotAssessed>,
}

impl Claims {
    fn add(&mut self, judgement: &Judgement, lease: u64) {
        self.leases.insert(lease);
        self.exits.extend(judgement.exits.iter().cloned());
        self.not_assessed.extend(judgement.not_assessed.iter().cloned());
    }
}

// Archived, cosigned checkpoints over the range, each joined to the next and the last to the tree of `size`.
fn chain(
    log: &impl ReadLog,
    plan: &Plan,
    size: u64,
    audited: Option<u64>,
    signer: &NoteSigner,
) -> Result<Vec<ChainLink>, AttestError> {
    let sizes = log.cosigned_sizes(plan.start + 1, size)?;
    let sizes = chosen(&sizes, plan.end, size, audited);
    let mut links = Vec::with_capacity(sizes.len());
    for (i, of) in sizes.iter().enumerate() {
        let next = sizes.get(i + 1).copied().unwrap_or(size);
        for note in log.cosigned(*of, *of, 1)? {
            let proof = log.consistency(*of, next)?;
            let note = vouched(note, signer)?;
            links.push(ChainLink { checkpoint: note.as_str().to_owned(), proof });
        }
    }
    Ok(links)
}

/// A checkpoint of this log with a line of the key that signs now: what was archived before a rotation has one of an older
/// key, which whoever pins the new one does not know. It says nothing new, since every root was checked against the log's.
fn vouched(note: SignedCheckpoint, signer: &NoteSigner) -> Result<SignedCheckpoint, AttestError> {
    let key = signer.verifier();
    let signed = isoledger_core::note::Note::parse(note.as_bytes())?;
    if signed.signatures().iter().any(|l| (l.name.as_str(), l.id) == (key.name(), key.id())) {
        return Ok(note);
    }
    let line = signer.sign(signed.text())?;
    // A note that is full of cosignatures stays as it was.
    Ok(note.with(&line).unwrap_or(note))
}

/// Which of the archived checkpoints a verifier has use for. Inside the range each can be the first that covers a poll:
/// all, or evenly spread, since a long range has more than a file carries. Behind it the first few, the newest, which
/// says how fresh the answer is, and the newest that an auditor cosigned.
fn chosen(sizes: &[u64], end: u64, size: u64, audited: Option<u64>) -> Vec<u64> {
    let sizes = &sizes[..sizes.partition_point(|s| *s < size)];
    let (inside, behind) = sizes.split_at(sizes.partition_point(|s| *s < end));
    let room = MAX_CHAIN - BEHIND - 2;
    let kept = inside.len().min(room);
    let mut out: BTreeSet<u64> = (1..=kept).map(|k| inside[k * inside.len() / kept - 1]).collect();
    out.extend(behind.iter().take(BEHIND));
    out.extend(behind.last());
    out.extend(audited.filter(|a| sizes.binary_search(a).is_ok()));
    out.into_iter().collect()
}

/// The largest size that one of the auditors cosigned.
fn audited(log: &impl ReadLog, size: u64, auditors: &[VerifierKey]) -> Result<Option<u64>, AttestError> {
    if auditors.is_empty() {
        return Ok(None);
    }
    for of in log.cosigned_sizes(1, size)?.into_iter().rev().take(MAX_LOOK) {
        for note in log.cosigned(of, of, 1)? {
            // A line that does not verify counts for nothing here; whoever checks the evidence will say so.
            if note.cosignatures(auditors).is_ok_and(|found| !found.is_empty()) {
                return Ok(Some(of));
            }
        }
    }
    Ok(None)
}

fn cosigners(checkpoint: &SignedCheckpoint, origin: &str) -> Vec<String> {
    let note = isoledger_core::note::Note::parse(checkpoint.as_bytes());
    let names: BTreeSet<String> =
        note.iter().flat_map(|n| n.signatures()).map(|s| s.name.clone()).filter(|n| n != origin).collect();
    names.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_too_many_checkpoints_those_of_use_are_chosen() {
        let all: Vec<u64> = (1..=100_000).collect();
        let (end, size) = (60_000, 100_000);
        let got = chosen(&all, end, size, Some(90_000));
        assert!(got.len() <= MAX_CHAIN && got.is_sorted());
        // The last before the end, the first behind it, the newest, the audited; never the newest checkpoint itself.
        for wanted in [59_999, 60_000, 99_999, 90_000] {
            assert!(got.contains(&wanted), "{wanted}");
        }
        assert!(!got.contains(&size));
        // Evenly: no stretch without one is much longer than another.
        let inside: Vec<u64> = got.iter().copied().filter(|s| *s < end).collect();
        let widest = inside.windows(2).map(|w| w[1] - w[0]).max();
        assert_eq!(widest, Some(15));
        assert!(inside[0] <= 15);
        // Few are all taken.
        assert_eq!(chosen(&[3, 7, 9, 12], 8, 12, None), [3, 7, 9]);
        assert_eq!(chosen(&[], 8, 12, Some(5)), Vec::<u64>::new());
        let behind: Vec<u64> = (8..=1000).collect();
        assert_eq!(chosen(&behind, 8, 1001, None).len(), BEHIND + 1);
    }
}
