//! From readings to a poll record: what a poll commits to, and whether it cuts a new version.
//!
//! The recorder asks nobody and writes nothing. It is given what the sources answered, and gives back the body of a
//! poll record with the content behind it; an auditor who repeats the step from that content gets the same bytes.

use isoledger_core::assemble::{Assembly, Inputs, SourceView, SwitchView, active_moving, assemble};
use isoledger_core::content::{Manifest, MovingPort, NamedSource, Opening, Snapshot, SourceState};
use isoledger_core::judge::{Inconsistent, Judgement, judge_all};
use isoledger_core::json::to_canonical;
use isoledger_core::lease::{Entropy, Slots};
use isoledger_core::model::{Declared, Failure, Observed, PortId, Reader, Scope, Window};
use isoledger_core::record::{Body, Poll};
use isoledger_core::{Digest, SEMANTICS, Timestamp};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// A piece of content: its BLAKE3 and its bytes.
pub type Content = (Digest, Vec<u8>);

/// One source's part of a poll.
#[derive(Clone, Debug)]
pub struct Source<T> {
    /// Which reader.
    pub reader: Reader,
    /// The identity the source showed.
    pub identity: Option<String>,
    /// When it was read, or asked in vain.
    pub window: Window,
    /// The state, or why there is none and what went wrong in the reader's words.
    pub outcome: Result<T, (Failure, String)>,
    /// What it answered, as its reader wrote it down. Empty when it said nothing.
    pub evidence: Vec<u8>,
}

/// The declared state in force at a poll.
#[derive(Clone, Debug)]
pub struct InForce {
    /// The state.
    pub declared: Arc<Declared>,
    /// The evidence it follows from.
    pub evidence: Arc<Vec<u8>>,
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

/// A poll ready to be appended.
pub struct Prepared {
    /// The record's body.
    pub body: Body,
    /// The opening of its commitment.
    pub opening: Opening,
    /// Content the entry refers to; what is stored already is stored once.
    pub content: Vec<Content>,
    /// What the poll says.
    pub view: Arc<View>,
    next: Last,
}

/// What one poll says, to those who may know everything.
#[derive(Debug)]
pub struct View {
    /// Slices, common part and names.
    pub assembly: Assembly,
    /// Every assessable network's judgement.
    pub judged: BTreeMap<String, Judgement>,
}

/// What the poll before leaves behind.
#[derive(Clone, Debug)]
struct Last {
    version: u64,
    root: Digest,
    snapshot: Digest,
    visible: Digest,
    slots: Slots,
    moving: Vec<MovingPort>,
    view: Arc<View>,
}

/// Prepares poll after poll.
pub struct Recorder {
    origin_hash: Digest,
    scope: Arc<Scope>,
    scope_seq: u64,
    slots: Option<Slots>,
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
    pub slots: Slots,
    /// What it said.
    pub view: Arc<View>,
}

impl Recorder {
    /// A recorder for the log with this origin, under the scope of entry `scope_seq`, that continues `resume`.
    pub fn new(origin: &str, scope: Arc<Scope>, scope_seq: u64, resume: Option<Resume>) -> Recorder {
        let last = resume.map(|r| Last {
            version: r.version,
            root: r.root,
            snapshot: r.snapshot_digest,
            visible: visible(&r.view.assembly),
            slots: r.slots,
            moving: r.snapshot.moving,
            view: r.view,
        });
        let origin_hash = Digest::of(origin.as_bytes());
        Recorder { origin_hash, scope, scope_seq, slots: last.as_ref().map(|l| l.slots.clone()), last }
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

    /// What a poll with these readings would say, without recording it. For finding out where to look twice.
    ///
    /// # Errors
    /// See [`Inconsistent`]; a defect of ours.
    pub fn preview(&self, readings: &Readings, seq: u64, entropy: Entropy<'_>) -> Result<View, Inconsistent> {
        let slots = self.slots_at(readings, seq, entropy);
        let moving = self.moving_at(readings);
        self.see(readings, &slots, &moving)
    }

    /// Prepares the poll that will be entry `seq`.
    ///
    /// # Errors
    /// See [`Inconsistent`]; a defect of ours.
    pub fn prepare(&self, readings: &Readings, seq: u64, entropy: Entropy<'_>) -> Result<Prepared, Inconsistent> {
        let slots = self.slots_at(readings, seq, entropy);
        let moving = self.moving_at(readings);
        let mut content = Vec::new();
        let mut keep = |bytes: Vec<u8>| {
            let digest = Digest::of(&bytes);
            content.push((digest, bytes));
            digest
        };
        let empty = Declared::default();
        let declared = readings.in_force.as_ref().map_or(&empty, |f| &*f.declared);
        let manager = SourceState {
            reader: readings.manager.clone(),
            identity: readings.manager_identity.clone(),
            failure: readings.manager_failure.as_ref().map(|f| f.0),
            error: readings.manager_failure.as_ref().map(|f| f.1.clone()),
            state: readings.in_force.as_ref().map(|_| keep(to_canonical(declared))),
            evidence: readings.in_force.as_ref().map(|f| keep(f.evidence.to_vec())),
        };
        let switches: Vec<NamedSource> = readings
            .switches
            .iter()
            .map(|(name, s)| NamedSource {
                name: name.clone(),
                source: SourceState {
                    reader: s.reader.clone(),
                    identity: s.identity.clone(),
                    failure: s.outcome.as_ref().err().map(|e| e.0),
                    error: s.outcome.as_ref().err().map(|e| e.1.clone()),
                    state: s.outcome.as_ref().ok().map(|o| keep(to_canonical(o))),
                    evidence: (!s.evidence.is_empty()).then(|| keep(s.evidence.clone())),
                },
            })
            .collect();
        let snapshot = Snapshot {
            v: 1,
            scope_seq: self.scope_seq,
            scope: keep(to_canonical(&*self.scope)),
            slots: keep(to_canonical(&slots)),
            manager,
            switches,
            moving: moving.clone(),
        };
        let snapshot_digest = keep(to_canonical(&snapshot));
        let unchanged = self.last.as_ref().filter(|l| l.snapshot == snapshot_digest);
        let (version, root, seen, view) = match unchanged {
            Some(l) => (l.version, l.root, l.visible, l.view.clone()),
            None => {
                let view = Arc::new(self.see(readings, &slots, &moving)?);
                let seen = visible(&view.assembly);
                match self.last.as_ref().filter(|l| l.visible == seen) {
                    // Something changed that no slice shows: tenants need no new version for it.
                    Some(l) => (l.version, l.root, seen, view),
                    None => (seq, view.assembly.cut(seq, self.origin_hash, &slots).tree.root(), seen, view),
                }
            }
        };
        let place = |id: &PortId| readings.switches.keys().position(|name| *name == id.switch);
        let offsets = |w| Manifest::offsets(readings.started, w);
        let nothing = Window { started: readings.started, ended: readings.ended };
        let manifest = Manifest {
            v: 1,
            snapshot: snapshot_digest,
            manager: offsets(readings.in_force.as_ref().map_or(nothing, |f| f.window)),
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
        let digest = keep(to_canonical(&manifest));
        let opening = Opening { opening: entropy(), digest };
        let body = Body::Poll(Poll {
            semantics: SEMANTICS,
            started: readings.started,
            ended: readings.ended,
            version,
            root,
            content: opening.commit(&self.origin_hash, seq),
        });
        if unchanged.is_some() {
            // Everything but the manifest is in the store since the poll before.
            content.retain(|(d, _)| *d == digest);
        }
        let next = Last {
            version,
            root,
            snapshot: snapshot_digest,
            visible: seen,
            slots,
            moving,
            view: view.clone(),
        };
        Ok(Prepared { body, opening, content, view, next })
    }

    /// Moves on after `prepared` was appended.
    pub fn recorded(&mut self, prepared: Prepared) {
        self.slots = Some(prepared.next.slots.clone());
        self.last = Some(prepared.next);
    }

    fn slots_at(&self, readings: &Readings, seq: u64, entropy: Entropy<'_>) -> Slots {
        let slots = self.slots.clone().unwrap_or_else(|| Slots::new(entropy));
        match &readings.in_force {
            Some(f) => slots.advance(&f.declared, seq, entropy),
            None => slots,
        }
    }

    // Ports still moving, counted on from the poll before.
    fn moving_at(&self, readings: &Readings) -> Vec<MovingPort> {
        let before = |port: &PortId| {
            self.last.as_ref().and_then(|l| l.moving.iter().find(|m| m.port == *port))
        };
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
        let judged = judge_all(&assembly)?;
        Ok(View { assembly, judged })
    }
}

// All that a version of the VLAN tree commits to, but for keys that change with a lease, which slices number.
fn visible(assembly: &Assembly) -> Digest {
    let mut bytes = to_canonical(&assembly.common.part());
    for slice in assembly.slices.values() {
        bytes.extend_from_slice(Digest::of(&to_canonical(slice)).as_bytes());
    }
    Digest::of(&bytes)
}
