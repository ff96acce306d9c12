//! The poll: declared state first, then all switches at once; where they newly disagree, a second look.
//!
//! One engine polls one domain, one poll at a time. It hands what it read to the recorder and the recorder's poll to
//! the ledger; judging and hashing are theirs.

use crate::disputes::{self, Dispute, Ground};
use crate::keys::entropy;
use crate::sources::Sources;
use isoledger_collectors::{Clock, Reading, Stopwatch};
use isoledger_core::checkpoint::SignedCheckpoint;
use isoledger_core::content::Opening;
use isoledger_core::json::to_canonical;
use isoledger_core::judge::Inconsistent;
use isoledger_core::model::{Declared, Failure, Observed, PortId, Scope, Window};
use isoledger_core::record::Body;
use isoledger_core::{Digest, Span, Timestamp};
use isoledger_ledger::log::Ledger;
use isoledger_ledger::read::ReadLog as _;
use isoledger_ledger::recorder::{EvidenceBytes, InForce, Look, Readings, Recorder, Source, View};
use isoledger_ledger::sequence::{AppendError, Pending};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::Semaphore;
use tokio::task::{JoinSet, block_in_place};

/// How long past its deadline a reader may take before it is given up.
const GRACE: Duration = Duration::from_secs(2);

// Switches to look at again: the ports in question, and the evidence of the first look.
type Again = BTreeMap<String, (BTreeSet<String>, isoledger_collectors::Evidence)>;

/// How an engine polls; see the configuration.
#[derive(Clone, Debug)]
pub(crate) struct Pace {
    pub(crate) deadline: Duration,
    pub(crate) settle: Duration,
    pub(crate) parallel: usize,
    pub(crate) crawl_period: Duration,
    pub(crate) crawl_deadline: Duration,
    pub(crate) duty: u32,
}

/// Polls one domain into one ledger.
pub(crate) struct Engine {
    ledger: Ledger,
    recorder: Recorder,
    sources: Sources,
    pace: Pace,
    clock: Arc<Stopwatch>,
    in_force: Option<InForce>,
    manager_identity: Option<String>,
    manager_failure: Option<(Failure, String)>,
    next_crawl: Option<Instant>,
    // What was declared when the gaps began of which switches are to tell again.
    held: BTreeMap<String, InForce>,
}

/// What a poll found.
#[derive(Clone, Debug)]
pub(crate) struct Polled {
    pub(crate) seq: u64,
    pub(crate) started: Timestamp,
    pub(crate) ended: Timestamp,
    pub(crate) view: Arc<View>,
    /// Sources without a reading: name, and what went wrong.
    pub(crate) failures: Vec<(String, String)>,
    /// From the last switch's answer to the published checkpoint.
    pub(crate) recording: Duration,
}

/// Why a poll was not recorded.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PollError {
    #[error("the poll was not recorded: {0}")]
    Append(#[from] AppendError),
    #[error(
        "the poll was not recorded, because its slices contradict themselves ({0}); please report this defect"
    )]
    Inconsistent(#[from] Inconsistent),
}

impl Engine {
    pub(crate) fn new(
        ledger: Ledger,
        recorder: Recorder,
        sources: Sources,
        pace: Pace,
        clock: Arc<Stopwatch>,
        in_force: Option<InForce>,
    ) -> Engine {
        Engine {
            ledger,
            recorder,
            sources,
            pace,
            clock,
            in_force,
            manager_identity: None,
            manager_failure: None,
            next_crawl: None,
            held: BTreeMap::new(),
        }
    }

    pub(crate) fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// Keeps a cosigned checkpoint for ever.
    pub(crate) fn archive(&mut self, note: &SignedCheckpoint) -> Result<(), AppendError> {
        block_in_place(|| self.ledger.archive_checkpoint(note))
    }

    /// The clock polls are timed by.
    pub(crate) fn clock(&self) -> &Stopwatch {
        &self.clock
    }

    /// Records a scope and puts it in force.
    pub(crate) fn set_scope(&mut self, scope: Arc<Scope>) -> Result<u64, AppendError> {
        let bytes = to_canonical(&*scope);
        let opening = Opening { opening: entropy(), digest: Digest::of(&bytes) };
        let seq = self.ledger.next_seq();
        let origin = Digest::of(self.ledger.origin().as_bytes());
        let pending = Pending {
            time: self.clock.now(),
            body: Body::ScopeChanged { commitment: opening.commit(&origin, seq) },
            opening: Some(opening),
            content: vec![(opening.digest, bytes)],
        };
        block_in_place(|| self.ledger.append(vec![pending]))?;
        self.recorder.set_scope(scope, seq);
        Ok(seq)
    }

    /// Polls every source once and records it. A poll in which everything failed is still a poll.
    pub(crate) async fn poll(&mut self) -> Result<Polled, PollError> {
        self.set_clock();
        let started = self.clock.now();
        let before = self.in_force.clone();
        self.crawl(started).await;
        let switches = self.read_switches(None).await;
        let mut readings = Readings {
            started,
            ended: self.clock.now(),
            manager: self.sources.manager.reader(),
            manager_identity: self.manager_identity.clone(),
            manager_failure: self.manager_failure.clone(),
            in_force: self.in_force.clone(),
            switches,
            moving: BTreeSet::new(),
            rereads: BTreeMap::new(),
        };
        let mut explained = BTreeSet::new();
        let (look, answered) = self.look_twice(&mut readings, before.as_ref(), &mut explained).await?;
        self.hold(&readings, &look, &explained, before);
        readings.ended = self.clock.now();
        let seq = self.ledger.next_seq();
        let mut prepared = self.recorder.prepare(&readings, look, seq, &mut entropy);
        let pending = Pending {
            time: self.clock.now(),
            body: prepared.body.clone(),
            opening: Some(prepared.opening),
            content: std::mem::take(&mut prepared.content),
        };
        block_in_place(|| self.ledger.append(vec![pending]))?;
        let view = prepared.view.clone();
        self.recorder.recorded(prepared);
        let manager = readings.manager_failure.iter().map(|f| ("cloud manager".to_owned(), f.1.clone()));
        let switches = readings
            .switches
            .iter()
            .filter_map(|(n, s)| s.outcome.as_ref().err().map(|e| (n.clone(), e.1.clone())));
        Ok(Polled {
            seq,
            started,
            ended: readings.ended,
            view,
            failures: manager.chain(switches).collect(),
            recording: answered.elapsed(),
        })
    }

    // Has the switches tell again of what this poll cannot judge, and remembers what was declared when that gap began.
    // What the cloud manager may have done itself stays so, however often it is told.
    fn hold(
        &mut self,
        readings: &Readings,
        look: &Look,
        explained: &BTreeSet<PortId>,
        before: Option<InForce>,
    ) {
        let moving: BTreeSet<PortId> = readings.moving.difference(explained).cloned().collect();
        // Found although the port is moving, since a change excuses nothing any more after a while, or although the cloud
        // manager is silent.
        let found: BTreeSet<PortId> = disputes::disputes(look.view())
            .into_keys()
            .filter_map(|d| if let Dispute::Passed(_, id) = d { Some(id) } else { None })
            .collect();
        let failed = readings.manager_failure.is_some();
        let mut held = BTreeMap::new();
        for name in disputes::untold(&moving, &found, failed, &observed(readings)) {
            if let Some(reader) = self.sources.switches.get_mut(&name) {
                reader.hold();
            }
            if let Some(began) = self.held.remove(&name).or_else(|| before.clone()) {
                held.insert(name, began);
            }
        }
        self.held = held;
    }

    // Within a poll time is the monotonic clock's; between polls the system's counts, or time asleep would vanish.
    fn set_clock(&mut self) {
        let Some(system) = Stopwatch::from_system() else { return };
        let (now, then) = (system.now(), self.clock.now());
        if now >= then {
            self.clock = Arc::new(system);
        } else if then.since(now) > Span::from_secs(1) {
            tracing::warn!(system = %now, ours = %then, "the system clock is behind; going on with ours");
        }
    }

    // Reads the cloud manager when its own period is over.
    async fn crawl(&mut self, started: Timestamp) {
        if self.next_crawl.is_some_and(|at| Instant::now() < at) {
            return;
        }
        let begun = Instant::now();
        let deadline = begun + self.pace.crawl_deadline;
        let reading = self.sources.manager.read(&*self.clock, deadline).await;
        self.keep(reading, None);
        // No more of its time than its share, whatever the period says. One that failed is tried again sooner, but a
        // silent one must not hold up every poll while the switches could be read.
        let wait = match self.manager_failure {
            None => self.pace.crawl_period.max(begun.elapsed() * 100 / self.pace.duty.max(1)),
            Some(_) => self.pace.crawl_period.min(begun.elapsed() * 2),
        };
        self.next_crawl = Some(begun + wait);
        tracing::debug!(%started, took = ?begun.elapsed(), "read the cloud manager");
    }

    // `since` is the start of the reading that a partial one completes.
    fn keep(&mut self, reading: Reading<Declared>, since: Option<Timestamp>) {
        let Reading { window, evidence, outcome, .. } = reading;
        self.manager_identity = evidence.identity.clone().or(self.manager_identity.take());
        match outcome {
            Ok(declared) => {
                self.manager_failure = None;
                let started = since.unwrap_or(window.started).min(window.started);
                self.in_force = Some(InForce {
                    declared: Arc::new(declared),
                    evidence: EvidenceBytes::new(evidence.to_bytes()),
                    window: Window { started, ended: window.ended },
                });
            }
            Err(e) => self.manager_failure = Some((e.kind, e.sentence)),
        }
    }

    // Reads the switches, so many at once, each within the deadline: all, or again those named for the sake of their
    // ports, with the evidence of the first reading.
    async fn read_switches(&mut self, again: Option<&mut Again>) -> BTreeMap<String, Source<Observed>> {
        let gate = Arc::new(Semaphore::new(self.pace.parallel));
        let mut tasks = JoinSet::new();
        let mut asked = HashMap::new();
        let names: Vec<String> = match &again {
            None => self.sources.switches.keys().cloned().collect(),
            Some(again) => again.keys().cloned().collect(),
        };
        let mut again = again;
        for name in names {
            let again = again.as_mut().and_then(|again| again.remove(&name));
            let Some(mut reader) = self.sources.switches.remove(&name) else { continue };
            let (gate, clock, patience) = (gate.clone(), self.clock.clone(), self.pace.deadline);
            let known = (name.clone(), reader.reader(), self.clock.now());
            let task = tasks.spawn(async move {
                // Never closed, so acquiring cannot fail; were it, reading unbounded is the lesser harm.
                let _turn = gate.acquire_owned().await;
                let begun = clock.now();
                let deadline = Instant::now() + patience;
                let reading = match &again {
                    None => reader.read(&*clock, deadline),
                    Some((ports, previous)) => reader.reread(ports, previous, &*clock, deadline),
                };
                // Readers keep their deadline; one that does not must not stop everybody else's polls.
                let reading = tokio::time::timeout(patience + GRACE, reading).await.ok();
                (name, reader, begun, reading)
            });
            asked.insert(task.id(), known);
        }
        let mut out = BTreeMap::new();
        while let Some(done) = tasks.join_next().await {
            let (name, reader, reading) = match done {
                Ok((name, reader, _, Some(reading))) => (name, reader, reading),
                Ok((name, reader, started, None)) => {
                    self.sources.remake(&name);
                    let window = Window { started, ended: self.clock.now() };
                    let outcome = Err((Failure::Silent, "the reader did not keep its deadline".into()));
                    let reader = reader.reader();
                    out.insert(name, Source { reader, identity: None, window, outcome, evidence: None });
                    continue;
                }
                // A defect in a reader is that switch's failure and nobody else's.
                Err(e) => {
                    let Some((name, reader, started)) = asked.remove(&e.id()) else { continue };
                    tracing::error!(switch = %name, error = %e, "the reader failed; please report this defect");
                    self.sources.remake(&name);
                    let window = Window { started, ended: self.clock.now() };
                    let outcome = Err((Failure::Unreadable, format!("the reader failed: {e}")));
                    out.insert(name, Source { reader, identity: None, window, outcome, evidence: None });
                    continue;
                }
            };
            self.sources.switches.insert(name.clone(), reader);
            let admitted = self.recorder.scope().switches.get(&name).and_then(|s| s.identity.clone());
            out.insert(name, source(reading, admitted.as_deref()));
        }
        out
    }

    /// Looks again where the sides disagree in a way they did not in the poll before: the nodes and networks
    /// concerned, then the switches. What moved between the two looks and still disagrees is in transition.
    ///
    /// Gives the last look, and when the last source had answered.
    async fn look_twice(
        &mut self,
        readings: &mut Readings,
        at_last_poll: Option<&InForce>,
        explained: &mut BTreeSet<PortId>,
    ) -> Result<(Look, Instant), PollError> {
        let answered = Instant::now();
        let seq = self.ledger.next_seq();
        let scope = self.recorder.scope().clone();
        if let Some(f) = &readings.in_force {
            readings.moving = disputes::in_flight(&f.declared, &scope, &observed(readings));
        }
        let first = block_in_place(|| self.recorder.look(readings, seq, &mut entropy))?;
        let Some(before) = readings.in_force.clone() else { return Ok((first, answered)) };
        let unchanged = self.recorder.view().is_some_and(|v| Arc::ptr_eq(v, first.view()));
        if unchanged || readings.manager_failure.is_some() {
            return Ok((first, answered));
        }
        let standing = self.recorder.view().map(|v| disputes::disputes(v)).unwrap_or_default();
        let fresh: BTreeMap<Dispute, BTreeSet<String>> =
            disputes::disputes(first.view()).into_iter().filter(|(d, _)| is_fresh(d, &standing)).collect();
        if fresh.is_empty() {
            return Ok((first, answered));
        }
        let mut concerned: BTreeMap<PortId, BTreeSet<String>> = BTreeMap::new();
        let seen = observed(readings);
        let ground = Ground::new(&before.declared, &scope, &seen);
        let part = ground.part(&fresh);
        for (dispute, networks) in &fresh {
            for id in ground.ports_of(dispute) {
                concerned.entry(id).or_default().extend(networks.iter().cloned());
            }
        }
        let looked: BTreeMap<PortId, (BTreeSet<String>, disputes::Sides)> = concerned
            .into_iter()
            .map(|(id, networks)| {
                let sides = ground.sides(&id, &networks);
                (id, (networks, sides))
            })
            .collect();
        tracing::info!(
            disputes = fresh.len(),
            ports = looked.len(),
            "the sides newly disagree; looking again"
        );
        // What a look says of a large domain is the most that a poll keeps in memory: one at a time.
        drop(first);
        tokio::time::sleep(self.pace.settle).await;
        let previous = isoledger_collectors::Evidence::from_bytes(before.evidence.bytes());
        let reading = match previous {
            Ok(previous) => {
                let deadline = Instant::now() + self.pace.crawl_deadline;
                self.sources.manager.reread(&part, &previous, &*self.clock, deadline).await
            }
            // Our own evidence always reads; if not, a whole crawl is the honest way on.
            Err(_) => {
                self.sources.manager.read(&*self.clock, Instant::now() + self.pace.crawl_deadline).await
            }
        };
        self.keep(reading, Some(before.window.started));
        readings.manager_failure = self.manager_failure.clone();
        readings.in_force = self.in_force.clone();
        readings.manager_identity = self.manager_identity.clone();
        let mut again: Again = BTreeMap::new();
        for id in looked.keys() {
            let (ports, previous) = again.entry(id.switch.clone()).or_default();
            if ports.is_empty() {
                let first = readings.switches.get(&id.switch).and_then(|s| s.evidence.as_ref());
                let first = first.map(|e| isoledger_collectors::Evidence::from_bytes(e.bytes()));
                *previous = first.and_then(Result::ok).unwrap_or_default();
            }
            ports.insert(id.port.clone());
        }
        for (name, source) in self.read_switches(Some(&mut again)).await {
            for id in looked.keys().filter(|id| id.switch == name) {
                readings.rereads.insert(id.clone(), source.window);
            }
            readings.switches.insert(name, source);
        }
        let answered = Instant::now();
        let after = readings.in_force.clone().unwrap_or_else(|| before.clone());
        readings.moving = disputes::in_flight(&after.declared, &scope, &observed(readings));
        let second = block_in_place(|| self.recorder.look(readings, seq, &mut entropy))?;
        let known = readings.moving.len();
        let seen = observed(readings);
        // What was declared at each moment in question, the present one first; the others are rarely needed.
        let mut grounds = Grounds { scope: &scope, observed: &seen, made: Vec::new() };
        let now = grounds.place(&after.declared);
        let mut moving = BTreeSet::new();
        for (dispute, networks) in disputes::disputes(second.view()) {
            for id in grounds.at(now).ports_of(&dispute) {
                let moved = match (looked.get(&id), &dispute) {
                    // What passed is over, whatever the port did since. But it may have been the cloud manager's doing
                    // by what it declared when the gap began, or at the first look.
                    (Some(_), Dispute::Passed(..)) => {
                        let began = self.held.get(&id.switch).or(at_last_poll);
                        let moments: Vec<usize> = [began, Some(&before), Some(&after)]
                            .into_iter()
                            .flatten()
                            .map(|f| grounds.place(&f.declared))
                            .collect();
                        let moments: Vec<&Ground<'_>> = moments.into_iter().map(|i| grounds.at(i)).collect();
                        let own = disputes::may_have_joined(&id, &networks, &moments);
                        if own {
                            explained.insert(id.clone());
                        }
                        own
                    }
                    (Some((networks, then)), _) => grounds.at(now).sides(&id, networks) != *then,
                    // It agreed at the first look, so it moved in between; one look is no confirmation. What the
                    // poll before already found stands on its own.
                    (None, _) => is_fresh(&dispute, &standing),
                };
                if moved {
                    tracing::info!(port = %id, ?networks, "still moving");
                    moving.insert(id);
                }
            }
        }
        // What the first look saw and the second does not, with nothing declared in between, was there and went without
        // the cloud manager: that is no agreement, and the port is not known to have been alone.
        for (id, (networks, then)) in &looked {
            let sides = grounds.at(now).sides(id, networks);
            // Where the switch told of it, it is judged as what passed.
            let told = disputes::told(id, networks, &after.declared, &seen);
            if sides.only_switch_moved(then) && !told {
                tracing::warn!(port = %id, ?networks, "the switch moved and the cloud manager did not");
                moving.insert(id.clone());
            }
        }
        readings.moving.append(&mut moving);
        let last = match readings.moving.len() == known {
            true => second,
            false => {
                drop(second);
                block_in_place(|| self.recorder.look(readings, seq, &mut entropy))?
            }
        };
        Ok((last, answered))
    }
}

/// What each of several declarations says, worked out when it is first asked for.
struct Grounds<'a> {
    scope: &'a Scope,
    observed: &'a BTreeMap<String, &'a Observed>,
    made: Vec<(&'a Arc<Declared>, Ground<'a>)>,
}

impl<'a> Grounds<'a> {
    fn place(&mut self, declared: &'a Arc<Declared>) -> usize {
        self.made.iter().position(|(known, _)| Arc::ptr_eq(known, declared)).unwrap_or_else(|| {
            self.made.push((declared, Ground::new(declared, self.scope, self.observed)));
            self.made.len() - 1
        })
    }

    fn at(&self, place: usize) -> &Ground<'a> {
        &self.made[place].1
    }
}

// What passed is news every time; another disagreement is while the last poll did not find it.
fn is_fresh(dispute: &Dispute, standing: &BTreeMap<Dispute, BTreeSet<String>>) -> bool {
    matches!(dispute, Dispute::Passed(..)) || !standing.contains_key(dispute)
}

fn observed(readings: &Readings) -> BTreeMap<String, &Observed> {
    readings.switches.iter().filter_map(|(n, s)| Some((n.clone(), s.outcome.as_ref().ok()?))).collect()
}

// A switch that shows another identity than the scope admits is not the switch that was agreed on.
fn source(reading: Reading<Observed>, admitted: Option<&str>) -> Source<Observed> {
    let Reading { window, reader, evidence, outcome, .. } = reading;
    let identity = evidence.identity.clone();
    let outcome = match (outcome, admitted, &identity) {
        (Ok(_), Some(wanted), found) if found.as_deref() != Some(wanted) => Err((
            Failure::SourceChanged,
            format!(
                "the switch shows the identity {}; the scope admits {wanted:?}. If this is right, change the scope",
                found.as_ref().map_or("none".to_owned(), |f| format!("{f:?}"))
            ),
        )),
        (Ok(o), ..) => Ok(o),
        (Err(e), ..) => Err((e.kind, e.sentence)),
    };
    let evidence = (!evidence.exchanges.is_empty()).then(|| EvidenceBytes::new(evidence.to_bytes()));
    Source { reader, identity, window, outcome, evidence }
}
