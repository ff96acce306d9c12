//! Checkpoints: the newest, and the archived ones that lead to it, each signed, with the quorums they reached.

use crate::opened::{Bound, Signed};
use crate::report::CheckName::{Chain, Checkpoint};
use crate::report::{CheckName, Checks, Stop};
use isoledger_core::checkpoint::{SignedCheckpoint, VerifiedCheckpoint};
use isoledger_core::note::{Note, VerifierKey};
use isoledger_core::policy::{Policy, Quorum};
use isoledger_core::time::Timestamp;
use std::collections::BTreeSet;

/// The checkpoints of an evidence file, all of one history.
pub(crate) struct Heads {
    newest: VerifiedCheckpoint,
    cosigners: Vec<String>,
    // Ascending by size; the newest is last.
    heads: Vec<Head>,
    // For each head, the earliest quorum among it and the larger ones.
    confirmed: Vec<Option<Timestamp>>,
}

struct Head {
    size: u64,
    quorum_at: Option<Timestamp>,
    audited: bool,
}

impl Heads {
    pub(crate) fn newest(&self) -> &VerifiedCheckpoint {
        &self.newest
    }

    /// Names on the signature lines of the newest checkpoint but the log's own, sorted, each once.
    pub(crate) fn cosigners(&self) -> &[String] {
        &self.cosigners
    }

    /// The earliest moment at which the quorum had cosigned a checkpoint that covers entry `index`.
    pub(crate) fn confirmed(&self, index: u64) -> Option<Timestamp> {
        let first = self.heads.partition_point(|h| h.size <= index);
        self.confirmed.get(first).copied().flatten()
    }

    /// The latest moment at which the quorum had cosigned any of them.
    pub(crate) fn newest_quorum(&self) -> Option<Timestamp> {
        self.heads.iter().filter_map(|h| h.quorum_at).max()
    }

    /// How many of them the quorum cosigned.
    pub(crate) fn with_quorum(&self) -> usize {
        self.heads.iter().filter(|h| h.quorum_at.is_some()).count()
    }

    /// Whether the policy's auditors cosigned one that covers the first `size` entries.
    pub(crate) fn audited(&self, size: u64) -> bool {
        self.heads.iter().any(|h| h.size >= size && h.audited)
    }
}

/// Checks the newest checkpoint, then the chain of archived ones. Every signature of a key the policy knows is checked,
/// once; one that does not verify refuses the file.
pub(crate) fn check(
    signed: &Signed<'_>,
    bound: &Bound,
    policy: &Policy,
    checks: &mut Checks,
) -> Result<Heads, Stop> {
    let evidence = bound.evidence();
    let reader = Reader::new(signed, policy);
    let (newest, head) = reader.open(&evidence.checkpoint, Checkpoint)?;
    let cosigners = cosigners(&evidence.checkpoint, newest.origin())?;
    let claim = signed.claim();
    if newest.size() != claim.log.size || *newest.root() != claim.log.root {
        return Err(Stop::failed(
            Checkpoint,
            format!(
                "the checkpoint has size {} and root {}, the claim says size {} and root {}",
                newest.size(),
                newest.root(),
                claim.log.size,
                claim.log.root
            ),
        ));
    }
    checks.passed(
        Checkpoint,
        format!("size {}, root {}, signed by {}", newest.size(), newest.root(), newest.origin()),
    );

    let mut heads = Vec::with_capacity(evidence.chain.len() + 1);
    let mut before: Option<(VerifiedCheckpoint, &[isoledger_core::Hash])> = None;
    for link in &evidence.chain {
        let (checkpoint, head) = reader.open(&link.checkpoint, Chain)?;
        extends(&before, &checkpoint)?;
        heads.push(head);
        before = Some((checkpoint, &link.proof));
    }
    extends(&before, &newest)?;
    heads.push(head);
    let archived = evidence.chain.len();
    checks.passed(Chain, format!("{archived} archived checkpoints, each signed and extended by the next"));

    let mut confirmed: Vec<Option<Timestamp>> = heads.iter().map(|h| h.quorum_at).collect();
    for i in (1..confirmed.len()).rev() {
        confirmed[i - 1] = [confirmed[i - 1], confirmed[i]].into_iter().flatten().min();
    }
    Ok(Heads { newest, cosigners, heads, confirmed })
}

fn extends(
    before: &Option<(VerifiedCheckpoint, &[isoledger_core::Hash])>,
    next: &VerifiedCheckpoint,
) -> Result<(), Stop> {
    if next.size() == 0 {
        return Err(Stop::failed(Chain, "a checkpoint of no entries covers nothing"));
    }
    let Some((older, proof)) = before else { return Ok(()) };
    if older.size() >= next.size() {
        let (a, b) = (older.size(), next.size());
        return Err(Stop::failed(Chain, format!("sizes must ascend: {b} follows {a}")));
    }
    next.check_extends(older, proof).map_err(|e| {
        Stop::failed(Chain, format!("size {} does not extend size {}: {e}", next.size(), older.size()))
    })
}

struct Reader<'p> {
    // The log's keys: the one that signed the claim first, then others of the same name.
    keys: Vec<&'p VerifierKey>,
    cosigners: Vec<VerifierKey>,
    quorum: Option<&'p Quorum>,
    audit: Option<&'p Quorum>,
}

impl<'p> Reader<'p> {
    fn new(signed: &Signed<'p>, policy: &'p Policy) -> Reader<'p> {
        let mut keys = vec![signed.key()];
        let named = policy.logs().iter().map(|l| &l.key).filter(|k| k.name() == signed.key().name());
        keys.extend(named.filter(|k| *k != signed.key()));
        Reader {
            keys,
            cosigners: policy.cosigners().iter().map(|c| c.key.clone()).collect(),
            quorum: policy.quorum(),
            audit: policy.audit(),
        }
    }

    fn open(&self, note: &str, check: CheckName) -> Result<(VerifiedCheckpoint, Head), Stop> {
        let fail = |e: &dyn std::fmt::Display| Stop::failed(check, e);
        let signed = SignedCheckpoint::parse(note.as_bytes()).map_err(|e| fail(&e))?;
        let verified = signed.open(self.key(note)).map_err(|e| fail(&e))?;
        let found = match self.cosigners.as_slice() {
            [] => Vec::new(),
            known => signed.cosignatures(known).map_err(|e| fail(&e))?,
        };
        let at = |i: usize| {
            let key = self.cosigners.get(i)?;
            found.iter().find(|c| (c.name.as_str(), c.key_id) == (key.name(), key.id())).map(|c| c.time)
        };
        let head = Head {
            size: verified.size(),
            quorum_at: self.quorum.and_then(|q| q.reached(&at)),
            audited: self.audit.is_some_and(|q| q.reached(&at).is_some()),
        };
        Ok((verified, head))
    }

    // The log's key that signed a note. With none of them on its lines any will do: opening with it says so.
    fn key(&self, note: &str) -> &'p VerifierKey {
        if let ([_, _, ..], Ok(lines)) = (self.keys.as_slice(), Note::parse(note.as_bytes())) {
            let signs = |k: &&&VerifierKey| {
                lines.signatures().iter().any(|l| (l.name.as_str(), l.id) == (k.name(), k.id()))
            };
            if let Some(key) = self.keys.iter().find(signs) {
                return key;
            }
        }
        self.keys[0]
    }
}

// Names on the signature lines but the log's own, sorted, each once.
fn cosigners(note: &str, log: &str) -> Result<Vec<String>, Stop> {
    let note = Note::parse(note.as_bytes()).map_err(|e| Stop::failed(Checkpoint, e))?;
    let names: BTreeSet<&str> = note.signatures().iter().map(|l| l.name.as_str()).collect();
    Ok(names.into_iter().filter(|n| *n != log).map(str::to_owned).collect())
}
