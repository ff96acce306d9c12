//! From readings to a poll record: what a poll commits to, and whether it cuts a new version.
//!
//! The recorder asks nobody and writes nothing. It is given what the sources answered, and gives back the body of a
//! poll record with the content behind it; an auditor who repeats the step from that content gets the same bytes.
//!
//! A state is a function of its reader and its evidence, so evidence that has the digest it had in the poll before is
//! not encoded, assembled or judged again: a poll in which nothing changed costs a snapshot of digests and a manifest.

use isoledger_core::assemble::{
    Assembly, Committed, Inputs, SourceView, SwitchView, active_moving, assemble,
};
use isoledger_core::content::{Manifest, MovingPort, NamedSource, Opening, Snapshot, SourceState};
use isoledger_core::json::to_canonical;
use isoledger_core::judge::{Inconsistent, Judgement, judge_since};
use isoledger_core::lease::{Entropy, Slots};
use isoledger_core::model::{Declared, Failure, Observed, PortId, Reader, Scope, Window};
use isoledger_core::record::{Body, Poll};
use isoledger_core::{Digest, SEMANTICS, Timestamp};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// A piece of content: its BLAKE3 and its bytes.
pub type Content = (Digest, Vec<u8>);

/// Evidence as a reader wrote it down, and its BLAKE3, computed when it came in and not when everybody waits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EvidenceBytes {
    digest: Digest,
    bytes: Arc<Vec<u8>>,
}

impl EvidenceBytes {
    /// Digests `bytes`.
    pub fn new(bytes: Vec<u8>) -> EvidenceBytes {
        EvidenceBytes { digest: Digest::of(&bytes), bytes: Arc::new(bytes) }
    }

    /// The bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Their BLAKE3.
    pub fn digest(&self) -> Digest {
        self.digest
    }
}

/// One source's part of a poll.
#[derive(Clone, Debug)]
pub struct Source<T> {
    /// Which reader.
    pub reader: Reader,
    /// The identity the source showed.
    pub identity: Option<String>,
    /// When it was read, or asked in vain.
    pub window: Window,
    /// The state, or why there is none and what went wrong in the reader's words. A state must follow from `reader`
    /// and `evidence` alone.
    pub outcome: Result<T, (Failure, String)>,
    /// What it answered; `None` when it said nothing.
    pub evidence: Option<EvidenceBytes>,
}

/// The declared state in force at a poll.
#[derive(Clone, Debug)]
pub struct InForce {
    /// The state; follows from the cloud manager's reader and `evidence` alone.
    pub declared: Arc<Declared>,
    /// The evidence it follows from.
    pub evidence: EvidenceBytes,
    /// When it was read.
    pub window: Window,
}

/// What a poll's sources answered.
#[derive(Clone, Debug)]
pub struct Readings {
    /// Before the first source was asked.
    pub started: Timestamp,
    /// After the last answered or was given up.
    pub ended: Timestamp,
    /// The cloud manager's reader.
    pub manager: Reader,
    /// The identity it showed.
    pub manager_identity: Option<String>,
    /// Why the cloud manager counts as not read in this poll; `None` when `in_force` is good.
    pub manager_failure: Option<(Failure, String)>,
    /// The last declared state that was read. Absent until there is one; there must then be a failure.
    pub in_force: Option<InForce>,
    /// Every switch of the scope.
    pub switches: BTreeMap<String, Source<Observed>>,
    /// Ports that were changing during this poll.
    pub moving: BTreeSet<PortId>,
    /// Ports read again because the sides disagreed, with the window of that reading.
    pub rereads: BTreeMap<PortId, Window>,
}

/// What one poll says, to those who may know everything.
#[derive(Debug)]
pub struct View {
    /// Slices, common part and names.
    pub assembly: Assembly,
    /// Every assessable network's judgement.
    pub judged: BTreeMap<String, Judgement>,
    // Equal to that of another poll when no tenant would see a difference.
    committed: Committed,
}

impl View {
    /// What an assembly says.
    ///
    /// # Errors
    /// See [`Inconsistent`]; a defect of ours.
    pub fn new(assembly: Assembly) -> Result<View, Inconsistent> {
        View::since(assembly, None)
    }

    fn since(assembly: Assembly, last: Option<&View>) -> Result<View, Inconsistent> {
        let judged = judge_since(&assembly, last.map(|l| (&l.assembly, &l.judged)))?;
        let committed = assembly.committed(last.map(|l| (&l.assembly, &l.committed)));
        Ok(View { assembly, judged, committed })
    }
}

/// Readings looked at: what a poll made of them would say. Nothing is decided yet.
pub struct Look {
    slots: Arc<Slots>,
    snapshot: Digest,
    moving: Vec<MovingPort>,
    memo: Memo,
    content: Vec<Content>,
    // The new root, were this poll to cut a version; `None` when it keeps the last poll's.
    root: Option<Digest>,
    view: Arc<View>,
}

impl Look {
    /// What the poll would say.
    pub fn view(&self) -> &Arc<View> {
        &self.view
    }
}

/// A poll ready to be appended.
pub struct Prepared {
    /// The record's body.
    pub body: Body,
    /// The opening of its commitment.
    pub opening: Opening,
    /// Content the entry refers to and the poll before did not.
    pub content: Vec<Content>,
    /// What the poll says.
    pub view: Arc<View>,
    next: Last,
}

/// Digests of the poll before, by which unchanged sources are known.
#[derive(Clone, Debug, Default)]
struct Memo {
    scope: Option<(u64, Digest)>,
    slots: Option<Digest>,
    manager: Option<Known>,
    switches: BTreeMap<String, Known>,
}

#[derive(Clone, Debug)]
struct Known {
    reader: Reader,
    evidence: Digest,
    state: Digest,
}

impl Known {
    fn of(source: &SourceState) -> Option<Known> {
        Some(Known { reader: source.reader.clone(), evidence: source.evidence?, state: source.state? })
    }
}

/// What the poll before leaves behind.
#[derive(Clone, Debug)]
struct Last {
    version: u64,
    root: Digest,
    snapshot: Digest,
    slots: Arc<Slots>,
    moving: Vec<MovingPort>,
    memo: Memo,
    view: Arc<View>,
}

/// Prepares poll after poll.
pub struct Recorder {
    origin_hash: Digest,
    scope: Arc<Scope>,
    scope_seq: u64,
    // Made once for a log, whether or not its first poll was recorded yet.
    slots: Arc<Slots>,
    last: Option<Last>,
}

/// What of the last poll a recorder continues from after a restart.
#[derive(Clone, Debug)]
pub struct Resume {
    /// The poll's version.
    pub version: u64,
    /// Its root.
    pub root: Digest,
    /// Its snapshot's digest.
    pub snapshot_digest: Digest,
    /// Its snapshot.
    pub snapshot: Snapshot,
    /// Its leases and keys.
    pub slots: Arc<Slots>,
    /// What it said.
    pub view: Arc<View>,
}

impl Recorder {
    /// A recorder for the log with this origin, under the scope of entry `scope_seq`, that continues `resume`.
    pub fn new(
        origin: &str,
        scope: Arc<Scope>,
        scope_seq: u64,
        resume: Option<Resume>,
        entropy: Entropy<'_>,
    ) -> Recorder {
        let last = resume.map(|r| Last {
            version: r.version,
            root: r.root,
            snapshot: r.snapshot_digest,
            slots: r.slots,
            moving: r.snapshot.moving,
            memo: Memo {
                scope: Some((r.snapshot.scope_seq, r.snapshot.scope)),
                slots: Some(r.snapshot.slots),
                manager: Known::of(&r.snapshot.manager),
                switches: r
                    .snapshot
                    .switches
                    .iter()
                    .filter_map(|s| Some((s.name.clone(), Known::of(&s.source)?)))
                    .collect(),
            },
            view: r.view,
        });
        let slots = last.as_ref().map_or_else(|| Arc::new(Slots::new(entropy)), |l| l.slots.clone());
        Recorder { origin_hash: Digest::of(origin.as_bytes()), scope, scope_seq, slots, last }
    }

    /// The scope in force from the next poll on.
    pub fn set_scope(&mut self, scope: Arc<Scope>, scope_seq: u64) {
        self.scope = scope;
        self.scope_seq = scope_seq;
    }

    /// The scope in force.
    pub fn scope(&self) -> &Arc<Scope> {
        &self.scope
    }

    /// What the last poll said.
    pub fn view(&self) -> Option<&Arc<View>> {
        self.last.as_ref().map(|l| &l.view)
    }

    /// Looks at readings as if they were those of poll `seq`, without recording anything.
    ///
    /// # Errors
    /// See [`Inconsistent`]; a defect of ours.
    pub fn look(&self, readings: &Readings, seq: u64, entropy: Entropy<'_>) -> Result<Look, Inconsistent> {
        let mut content = Vec::new();
        let mut keep = |bytes: Vec<u8>| {
            let digest = Digest::of(&bytes);
            content.push((digest, bytes));
            digest
        };
        let nothing = Memo::default();
        let before = self.last.as_ref().map_or(&nothing, |l| &l.memo);
        let mut memo = Memo::default();

        let manager = self.manager(readings, before, &mut keep);
        memo.manager = Known::of(&manager);
        // Leases follow from the declared state: the same state, the same leases.
        let same_declared = match (&manager.state, &before.manager) {
            (Some(now), Some(then)) => *now == then.state,
            (None, None) => self.last.is_some(),
            _ => false,
        };
        let slots = match (&readings.in_force, same_declared) {
            (Some(f), false) => Arc::new(self.slots.advance(&f.declared, seq, entropy)),
            _ => self.slots.clone(),
        };
        let same_slots = self.last.as_ref().is_some_and(|l| Arc::ptr_eq(&l.slots, &slots));
        let slots_digest = match before.slots {
            Some(digest) if same_slots => digest,
            _ => keep(to_canonical(&*slots)),
        };
        memo.slots = Some(slots_digest);
        let scope_digest = match before.scope {
            Some((seq, digest)) if seq == self.scope_seq => digest,
            _ => keep(to_canonical(&*self.scope)),
        };
        memo.scope = Some((self.scope_seq, scope_digest));

        let mut switches = Vec::with_capacity(readings.switches.len());
        for (name, source) in &readings.switches {
            let state = source_state(source, before.switches.get(name), &mut keep);
            memo.switches.extend(Known::of(&state).map(|k| (name.clone(), k)));
            switches.push(NamedSource { name: name.clone(), source: state });
        }
        let moving = self.moving_at(readings);
        let snapshot = Snapshot {
            v: 1,
            scope_seq: self.scope_seq,
            scope: scope_digest,
            slots: slots_digest,
            manager,
            switches,
            moving: moving.clone(),
        };
        let digest = keep(to_canonical(&snapshot));
        if let Some(last) = self.last.as_ref().filter(|l| l.snapshot == digest) {
            return Ok(Look {
                slots,
                snapshot: digest,
                moving,
                memo,
                content: Vec::new(),
                root: None,
                view: last.view.clone(),
            });
        }
        let view = Arc::new(self.see(readings, &slots, &moving)?);
        // What changed may show in no slice: tenants need no new version for it.
        let kept = self.last.as_ref().is_some_and(|l| l.view.committed == view.committed);
        let root = (!kept).then(|| view.committed.tree(seq, self.origin_hash, &slots).root());
        Ok(Look { slots, snapshot: digest, moving, memo, content, root, view })
    }

    /// Prepares the poll that will be entry `seq`. `look` must be of these readings, but for their end, and of this
    /// `seq`.
    pub fn prepare(&self, readings: &Readings, look: Look, seq: u64, entropy: Entropy<'_>) -> Prepared {
        let Look { slots, snapshot, moving, memo, mut content, root, view } = look;
        let (version, root) = match (&self.last, root) {
            (_, Some(root)) => (seq, root),
            (Some(l), None) => (l.version, l.root),
            // A first poll always cuts: there is nothing it could keep.
            (None, None) => (seq, view.committed.tree(seq, self.origin_hash, &slots).root()),
        };
        let place = |id: &PortId| readings.switches.keys().position(|name| *name == id.switch);
        let offsets = |w| Manifest::offsets(readings.started, w);
        let whole = Window { started: readings.started, ended: readings.ended };
        let manifest = Manifest {
            v: 1,
            snapshot,
            manager: offsets(readings.in_force.as_ref().map_or(whole, |f| f.window)),
            switches: readings.switches.values().map(|s| offsets(s.window)).collect(),
            rereads: readings
                .rereads
                .iter()
                .filter_map(|(id, w)| {
                    let (a, b) = offsets(*w);
                    Some((u32::try_from(place(id)?).ok()?, id.port.clone(), a, b))
                })
                .collect(),
        };
        let bytes = to_canonical(&manifest);
        let opening = Opening { opening: entropy(), digest: Digest::of(&bytes) };
        content.push((opening.digest, bytes));
        let body = Body::Poll(Poll {
            semantics: SEMANTICS,
            started: readings.started,
            ended: readings.ended,
            version,
            root,
            content: opening.commit(&self.origin_hash, seq),
        });
        let next = Last { version, root, snapshot, slots, moving, memo, view: view.clone() };
        Prepared { body, opening, content, view, next }
    }

    /// Moves on after `prepared` was appended.
    pub fn recorded(&mut self, prepared: Prepared) {
        self.slots = prepared.next.slots.clone();
        self.last = Some(prepared.next);
    }

    fn manager(
        &self,
        readings: &Readings,
        before: &Memo,
        keep: &mut impl FnMut(Vec<u8>) -> Digest,
    ) -> SourceState {
        let mut state = SourceState {
            reader: readings.manager.clone(),
            identity: readings.manager_identity.clone(),
            failure: readings.manager_failure.as_ref().map(|f| f.0),
            error: readings.manager_failure.as_ref().map(|f| f.1.clone()),
            state: None,
            evidence: None,
        };
        if let Some(f) = &readings.in_force {
            let known = before
                .manager
                .as_ref()
                .filter(|k| k.reader == readings.manager && k.evidence == f.evidence.digest);
            state.evidence = Some(match known {
                Some(k) => k.evidence,
                None => keep(f.evidence.bytes.to_vec()),
            });
            state.state = Some(known.map_or_else(|| keep(to_canonical(&*f.declared)), |k| k.state));
        }
        state
    }

    // Ports still moving, counted on from the poll before.
    fn moving_at(&self, readings: &Readings) -> Vec<MovingPort> {
        let before =
            |port: &PortId| self.last.as_ref().and_then(|l| l.moving.iter().find(|m| m.port == *port));
        readings
            .moving
            .iter()
            .map(|port| match before(port) {
                Some(m) => MovingPort { polls: m.polls.saturating_add(1), ..m.clone() },
                None => MovingPort { port: port.clone(), polls: 1, since: readings.started },
            })
            .collect()
    }

    fn see(&self, readings: &Readings, slots: &Slots, moving: &[MovingPort]) -> Result<View, Inconsistent> {
        let empty = Declared::default();
        let switches: BTreeMap<String, SwitchView<'_>> = readings
            .switches
            .iter()
            .map(|(name, s)| {
                let source = SourceView {
                    reader: &s.reader,
                    identity: s.identity.as_deref(),
                    failure: s.outcome.as_ref().err().map(|e| e.0),
                };
                (name.clone(), SwitchView { source, observed: s.outcome.as_ref().ok() })
            })
            .collect();
        let assembly = assemble(&Inputs {
            scope: &self.scope,
            scope_seq: self.scope_seq,
            slots,
            declared: readings.in_force.as_ref().map_or(&empty, |f| &*f.declared),
            manager: SourceView {
                reader: &readings.manager,
                identity: readings.manager_identity.as_deref(),
                failure: readings.manager_failure.as_ref().map(|f| f.0),
            },
            switches: &switches,
            moving: &active_moving(moving, readings.started),
        });
        View::since(assembly, self.view().map(|v| &**v))
    }
}

fn source_state(
    source: &Source<Observed>,
    before: Option<&Known>,
    keep: &mut impl FnMut(Vec<u8>) -> Digest,
) -> SourceState {
    let evidence = source.evidence.as_ref();
    let known =
        before.filter(|k| k.reader == source.reader && evidence.is_some_and(|e| e.digest == k.evidence));
    let failure = source.outcome.as_ref().err();
    SourceState {
        reader: source.reader.clone(),
        identity: source.identity.clone(),
        failure: failure.map(|e| e.0),
        error: failure.map(|e| e.1.clone()),
        state: match (&source.outcome, known) {
            (Ok(_), Some(k)) => Some(k.state),
            (Ok(o), None) => Some(keep(to_canonical(o))),
            (Err(_), _) => None,
        },
        evidence: match (evidence, known) {
            (Some(_), Some(k)) => Some(k.evidence),
            (Some(e), None) => Some(keep(e.bytes.to_vec())),
            (None, _) => None,
        },
    }
}
