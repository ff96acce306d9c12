//! The fold: polls in, divergences and verdict timelines out.

use super::facts::{Facts, Key, PollFacts, SourceFacts};
use super::moves::{Absence, grows, moment};
use super::query::Run;
use super::rows::{RowName, Rows};
use super::track::{
    Blind, BlindPort, Departed, Head, Held, Left, MAX_GAPS, ManagerTrack, Read, SourceTrack, SwitchReads,
    SwitchTrack, VlanTrack, union_keys, why_of,
};
use super::{Divergence, Sides, Unconfirmed, Why};
use crate::state::Place;
use isoledger_core::{Digest, Timestamp, VlanId, json};
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// Everything derived from the polls of a log so far. See the [module page](super).
#[derive(Clone, Debug, Default)]
pub struct Divergences {
    pub(super) head: Option<Head>,
    pub(super) manager: ManagerTrack,
    pub(super) switches: BTreeMap<String, SwitchTrack>,
    /// The tracks in the order they came.
    pub(super) order: Vec<String>,
    /// Every divergence in the order they were opened.
    pub(super) divergences: Vec<Divergence>,
    /// Places of the open ones.
    pub(super) open: BTreeMap<Key, usize>,
    /// Every run of equal verdicts in the order they began.
    pub(super) runs: Vec<Run>,
    /// Places of a network's runs, in order.
    pub(super) by_network: HashMap<String, Vec<usize>>,
    /// Networks whose last run goes on.
    pub(super) current: BTreeSet<String>,
    pub(super) rows: Rows,
}

/// Why a poll cannot follow.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FoldError {
    /// Folded already, or out of order.
    #[error("poll {seq} cannot follow poll {last}: polls are folded in the order of the log")]
    Order {
        /// The poll.
        seq: u64,
        /// The last one folded.
        last: u64,
    },
    /// Two polls at once.
    #[error("poll {seq} started {started}, before the poll before it ended ({last})")]
    Overlap {
        /// The poll.
        seq: u64,
        /// Its start.
        started: Timestamp,
        /// End of the last one folded.
        last: Timestamp,
    },
}

impl Divergences {
    /// Nothing folded yet.
    pub fn new() -> Divergences {
        Divergences::default()
    }

    /// Folds the next poll.
    ///
    /// # Errors
    /// A poll that cannot follow the last one; nothing changed then.
    pub fn push(&mut self, poll: &PollFacts) -> Result<(), FoldError> {
        if let Some(h) = &self.head {
            if poll.seq <= h.seq {
                return Err(FoldError::Order { seq: poll.seq, last: h.seq });
            }
            if poll.started < h.ended {
                return Err(FoldError::Overlap { seq: poll.seq, started: poll.started, last: h.ended });
            }
        }
        if self.head.as_ref().is_none_or(|h| h.facts != poll.facts.digest) {
            self.close_gaps(poll);
            self.findings(poll);
            self.verdicts(poll);
            self.tracks(poll);
        }
        self.reads_of(poll);
        Ok(())
    }

    // Sources that were blind and are read again: their gap is known to everything that this poll shows.
    fn close_gaps(&mut self, poll: &PollFacts) {
        let (polls, facts) = (self.polls(), &poll.facts);
        for (name, now) in facts.switches.iter().filter(|(_, s)| s.ports.is_some()) {
            let end = poll.switches.get(name).map_or(poll.ended, |w| w.ended);
            if let Some(track) = self.switches.get_mut(name)
                && close_gap(
                    &mut track.source,
                    now.source.failure.is_none(),
                    Place::Switch(name.clone()),
                    end,
                    polls,
                )
            {
                self.rows.touch(RowName::Switch(name.clone()));
            }
        }
        if close_gap(
            &mut self.manager.source,
            facts.declared.is_some(),
            Place::Manager,
            poll.manager.ended,
            polls,
        ) {
            self.rows.touch(RowName::Manager);
        }
    }

    fn findings(&mut self, poll: &PollFacts) {
        let facts: &Facts = &poll.facts;
        // Where it stands, or None for a new one.
        let mut changed: Vec<(Option<usize>, Divergence)> = Vec::new();
        for (key, extent) in &facts.findings {
            let known = self.open.get(key).and_then(|at| Some((*at, self.divergences.get(*at)?)));
            // What passed before the last poll was over then; this is another.
            let known = match known {
                Some((at, d)) if key.passed => {
                    changed.push((Some(at), self.over(d, poll)));
                    None
                }
                known => known,
            };
            match known {
                Some((at, d)) if d.unconfirmed.is_some() || grows(d, extent) => {
                    let mut d = d.clone();
                    d.ever = d.ever.union(&extent.vlans);
                    d.vlans = extent.vlans.clone();
                    d.networks.extend(extent.networks.iter().cloned());
                    d.unconfirmed = None;
                    changed.push((Some(at), d));
                }
                Some(_) => {}
                None => {
                    let (onset, claim, before, opened) = self.opening(key, &extent.vlans, poll);
                    let d = Divergence {
                        id: id_of(poll.seq, key),
                        key: key.clone(),
                        vlans: extent.vlans.clone(),
                        ever: extent.vlans.clone(),
                        networks: extent.networks.clone(),
                        onset,
                        claim,
                        unconfirmed: None,
                        closed: None,
                        sides: opened.map(|opened| Sides { before, opened, closed: None }),
                    };
                    changed.push((None, d));
                }
            }
        }
        for (key, at) in self.open.iter().filter(|(key, _)| !facts.findings.contains_key(key)) {
            let Some(d) = self.divergences.get(*at) else { continue };
            if key.passed {
                changed.push((Some(*at), self.over(d, poll)));
                continue;
            }
            let mut d = d.clone();
            let absence = self.absence(key, poll);
            if absence == Absence::Unseen {
                if let (None, Some(h)) = (d.unconfirmed, &self.head) {
                    let started = self.confirmed_start(key, poll);
                    d.unconfirmed = Some(Unconfirmed { seq: h.seq, started, ended: h.ended });
                    changed.push((Some(*at), d));
                }
                continue;
            }
            let (closed, view) = self.closing(&d, absence, poll);
            d.closed = Some(closed);
            d.unconfirmed = None;
            if let Some(sides) = &mut d.sides {
                sides.closed = view;
            }
            changed.push((Some(*at), d));
        }
        for (at, d) in changed {
            let at = at.unwrap_or(self.divergences.len());
            self.rows.touch(RowName::Divergence(at));
            match d.is_open() {
                true => self.open.insert(d.key.clone(), at),
                false => self.open.remove(&d.key),
            };
            match self.divergences.get_mut(at) {
                Some(known) => *known = d,
                None => self.divergences.push(d),
            }
        }
    }

    fn verdicts(&mut self, poll: &PollFacts) {
        let facts = &poll.facts;
        let polls = self.polls();
        let mut ended: Vec<String> = Vec::new();
        for name in &self.current {
            let run = self.last_run(name).and_then(|at| self.runs.get(at));
            if !facts.networks.get(name).is_some_and(|n| run.is_some_and(|run| run.says(n))) {
                ended.push(name.clone());
            }
        }
        for name in ended {
            self.current.remove(&name);
            let at = self.last_run(&name);
            if let (Some(at), Some(h)) = (at, &self.head)
                && let Some(run) = self.runs.get_mut(at)
            {
                run.last = Some(h.mark());
                run.polls = polls - run.before;
                self.rows.touch(RowName::Run(at));
            }
        }
        for (name, n) in &facts.networks {
            if self.current.insert(name.clone()) {
                let at = self.runs.len();
                self.runs.push(Run::begin(name, n, poll, polls));
                self.by_network.entry(name.clone()).or_default().push(at);
                self.rows.touch(RowName::Run(at));
            }
        }
    }

    pub(super) fn last_run(&self, network: &str) -> Option<usize> {
        self.by_network.get(network)?.last().copied()
    }

    // Remembers what this poll read, for dating what comes.
    fn tracks(&mut self, poll: &PollFacts) {
        let facts: &Facts = &poll.facts;
        let mut switches = std::mem::take(&mut self.switches);
        let empty = BTreeMap::new();
        let declared_on = facts.declared.as_ref().map_or(&empty, |d| &d.ports);
        let names: BTreeSet<String> = union_keys(&switches, &facts.switches)
            .into_iter()
            .chain(declared_on.keys().map(String::as_str))
            .map(str::to_owned)
            .collect();
        for name in names {
            let known = switches.get(&name);
            if known.is_some_and(|t| settled(t, &name, facts)) {
                continue;
            }
            let mut track = known.cloned().unwrap_or_default();
            self.track_switch(&name, &mut track, poll);
            if known == Some(&track) {
                continue;
            }
            if known.is_none() {
                self.order.push(name.clone());
            }
            self.rows.touch(RowName::Switch(name.clone()));
            switches.insert(name, track);
        }
        self.switches = switches;
        self.track_manager(poll);
    }

    fn track_switch(&self, name: &str, track: &mut SwitchTrack, poll: &PollFacts) {
        let facts: &Facts = &poll.facts;
        let no_reads = SwitchReads::default();
        let reads = self.head.as_ref().and_then(|h| h.switches.get(name)).unwrap_or(&no_reads);
        let manager_base = self.head.as_ref().and_then(|h| h.manager);
        let now = facts.switches.get(name);
        let ports = now.and_then(|s| s.ports.as_ref());
        let both = ports.is_some() && facts.declared.is_some();
        let window = |port: &str| {
            let again = poll.rereads.get(name).and_then(|r| r.get(port));
            again.or(poll.switches.get(name)).copied().unwrap_or(moment(poll.ended))
        };
        let blind_now: BTreeMap<&str, Why> = blind_ports(facts, name);

        // Ports that begin to say nothing; what they did is what was read before this poll.
        for (port, why) in &blind_now {
            let read = reads.port(port);
            let before = track.observed.get(*port).cloned().unwrap_or_default();
            let held = read.map_or(Held::Nothing, |r| Held::At(before, r));
            if let Some(known) = track.blind_ports.get_mut(*port) {
                if known.held == Held::Free {
                    known.held = held;
                }
                continue;
            }
            let starts = [read, manager_base].map(|r| r.map(|r| r.window.started));
            let from = starts.iter().min().copied().flatten();
            let blind = Blind { why: *why, from, first: poll.seq, polls: self.polls() };
            track.blind_ports.insert((*port).to_owned(), BlindPort { blind, seen: reads.seen, held });
        }

        // Both sides and the scope, port by port, where something changed.
        let base = |track: &SwitchTrack, port: &str| match track.blind_ports.get(port) {
            Some(b) => b.seen.is_some(),
            None => reads.seen.is_some(),
        };
        let unseen = |port: &str| !both || blind_now.contains_key(port);
        if let Some(p) = ports
            && (p.state.is_none() || p.state != track.state)
        {
            let names: BTreeSet<String> =
                union_keys(&track.observed, &p.carried).into_iter().map(str::to_owned).collect();
            for port in names.iter().filter(|port| !p.unreadable.contains(*port)) {
                let old = track.observed.get(port).cloned().unwrap_or_default();
                let new = p.carried.get(port).cloned().unwrap_or_default();
                if old != new && unseen(port) && base(track, port) {
                    let read = reads.port(port).map(|r| r.window);
                    let side = &mut track.departed.entry(port.clone()).or_default().observed;
                    Left::step(side, &old, read, &new, window(port));
                }
                match p.carried.get(port) {
                    Some(c) => track.observed.insert(port.clone(), c.clone()),
                    None => track.observed.remove(port),
                };
            }
            track.state = p.state;
        }
        if let Some(d) = &facts.declared {
            let none = BTreeMap::new();
            let now = d.ports.get(name).unwrap_or(&none);
            if *now != track.declared {
                let names: BTreeSet<String> =
                    union_keys(&track.declared, now).into_iter().map(str::to_owned).collect();
                for port in &names {
                    let old = track.declared.get(port).cloned().unwrap_or_default();
                    let new = now.get(port).cloned().unwrap_or_default();
                    if old != new && unseen(port) && base(track, port) {
                        let side = &mut track.departed.entry(port.clone()).or_default().declared;
                        Left::step(side, &old, manager_base.map(|r| r.window), &new, poll.manager);
                    }
                }
                track.declared = now.clone();
            }
        }
        let none = BTreeMap::new();
        let allowed = facts.scope.get(name).unwrap_or(&none);
        if *allowed != track.scope {
            let names: BTreeSet<String> =
                union_keys(&track.scope, allowed).into_iter().map(str::to_owned).collect();
            for port in &names {
                let old = track.scope.get(port).cloned().unwrap_or_default();
                let new = allowed.get(port).cloned().unwrap_or_default();
                if old != new && unseen(port) && base(track, port) {
                    let read = self.head.as_ref().map(|h| moment(h.started));
                    let side = &mut track.departed.entry(port.clone()).or_default().scope;
                    Left::step(side, &old, read, &new, moment(poll.started));
                }
            }
            track.scope = allowed.clone();
        }

        // Ports seen in this poll have it as their base.
        if both {
            track.departed.retain(|port, _| blind_now.contains_key(port.as_str()));
            track.blind_ports.retain(|port, _| blind_now.contains_key(port.as_str()));
        } else if ports.is_some() {
            for (port, b) in &mut track.blind_ports {
                if !blind_now.contains_key(port.as_str()) {
                    b.held = Held::Free;
                }
            }
        }
        track.departed.retain(|_, d: &mut Departed| !d.is_empty());

        if let Some(p) = ports {
            for class in &p.unread {
                track.stale.entry(*class).or_insert(reads.read);
            }
            track.stale.retain(|class, _| p.unread.contains(class));
            let kept = track.dirty.iter().filter(|(class, _)| p.unread.contains(class));
            let kept: Vec<_> = kept.map(|(class, vlans)| (*class, vlans.clone())).collect();
            track.dirty = p.dirty.clone();
            track.dirty.extend(kept);
        }
        let failing = match now {
            None => Some(Why::OutOfScope),
            Some(s) if s.ports.is_none() => Some(s.source.failure.map_or(Why::Silent, why_of)),
            Some(_) => None,
        };
        let from = reads.read.map(|r| r.window.started);
        track_source(&mut track.source, now.map(|s| &s.source), failing, from, poll.seq, self.polls());
    }

    fn track_manager(&mut self, poll: &PollFacts) {
        let facts: &Facts = &poll.facts;
        let before = self.manager.clone();
        let base = self.head.as_ref().and_then(|h| h.manager);
        let polls = self.polls();
        let m = &mut self.manager;
        if let Some(d) = &facts.declared {
            let same = d.digest.is_some() && d.digest == m.declarations;
            if !same {
                let known: BTreeSet<VlanId> = m.vlans.keys().chain(d.vlans.keys()).copied().collect();
                for v in known {
                    let declared = d.vlans.contains_key(&v);
                    if m.vlans.get(&v).is_none_or(|known| known.declared != declared) {
                        let before = base.map(|r| r.window);
                        let read = poll.manager;
                        m.vlans.insert(v, VlanTrack { declared, since: poll.seq, before, read });
                    }
                }
                m.declarations = d.digest;
            }
            let mut excused: BTreeMap<String, BTreeMap<String, Option<Read>>> = BTreeMap::new();
            for ((node, nic), _) in d.nics.iter().filter(|(_, at)| facts.port_is_moving(at)) {
                let known = m.excused.get(node).and_then(|n| n.get(nic)).copied();
                excused.entry(node.clone()).or_default().insert(nic.clone(), known.unwrap_or(base));
            }
            m.excused = excused;
        }
        let failing = facts.declared.is_none().then(|| facts.manager.failure.map_or(Why::Silent, why_of));
        let from = base.map(|r| r.window.started);
        track_source(&mut m.source, Some(&facts.manager), failing, from, poll.seq, polls);
        if *m != before {
            self.rows.touch(RowName::Manager);
        }
    }

    // What every poll changes, and an unchanged one alone.
    fn reads_of(&mut self, poll: &PollFacts) {
        let facts: &Facts = &poll.facts;
        let mut before = self.head.take();
        let manager_read = facts.declared.is_some();
        let mut switches = before.as_mut().map(|h| std::mem::take(&mut h.switches)).unwrap_or_default();
        for (name, reads) in &mut switches {
            if !facts.switches.contains_key(name) {
                // A switch that left the scope keeps its last read: it may come back.
                reads.tried = None;
            }
        }
        for (name, now) in &facts.switches {
            let window = poll.switches.get(name).copied().unwrap_or(moment(poll.ended));
            let reads = switches.entry(name.clone()).or_default();
            let Some(ports) = &now.ports else {
                reads.tried = Some(window);
                continue;
            };
            let mut kept: BTreeMap<String, Option<Read>> =
                ports.unreadable.iter().map(|port| (port.clone(), reads.port(port))).collect();
            for (port, window) in poll.rereads.get(name).into_iter().flatten() {
                if !ports.unreadable.contains(port) {
                    kept.insert(port.clone(), Some(Read { seq: poll.seq, window: *window }));
                }
            }
            reads.ports = kept;
            reads.read = Some(Read { seq: poll.seq, window });
            reads.tried = None;
            if manager_read {
                reads.seen = Some(poll.seq);
            }
        }
        let read = manager_read.then_some(Read { seq: poll.seq, window: poll.manager });
        let same = before.as_ref().filter(|h| h.semantics == poll.semantics);
        self.head = Some(Head {
            v: 1,
            seq: poll.seq,
            polls: before.as_ref().map_or(0, |h| h.polls) + 1,
            started: poll.started,
            ended: poll.ended,
            semantics: poll.semantics,
            semantics_since: same.map_or(poll.seq, |h| h.semantics_since),
            facts: facts.digest,
            manager: read.or(before.as_ref().and_then(|h| h.manager)),
            switches,
        });
        self.rows.touch(RowName::Head);
    }
}

// Whether a switch is as it was, so that there is nothing to remember.
fn settled(track: &SwitchTrack, name: &str, facts: &Facts) -> bool {
    let Some(now) = facts.switches.get(name) else { return false };
    let Some(ports) = &now.ports else { return false };
    let declared = facts.declared.as_ref().map(|d| d.ports.get(name));
    let allowed = facts.scope.get(name);
    let source = &track.source;
    ports.state.is_some()
        && ports.state == track.state
        && declared.is_some_and(|d| d.map_or(track.declared.is_empty(), |d| *d == track.declared))
        && allowed.map_or(track.scope.is_empty(), |a| *a == track.scope)
        && track.departed.is_empty()
        && track.blind_ports.is_empty()
        && (now.moving.is_empty() && now.unassessed.is_empty() && ports.unreadable.is_empty())
        && (source.blind.is_none() && source.reader == now.source.reader)
        && source.identity == now.source.identity
}

// Which ports of a switch say nothing in this poll, and why.
fn blind_ports<'a>(facts: &'a Facts, switch: &str) -> BTreeMap<&'a str, Why> {
    let Some(s) = facts.switches.get(switch) else { return BTreeMap::new() };
    let unreadable = s.ports.iter().flat_map(|p| &p.unreadable).map(|p| (p.as_str(), Why::Unreadable));
    let moving = s.moving.iter().map(|p| (p.as_str(), Why::InTransition));
    let unassessed = s.unassessed.iter().map(|p| (p.as_str(), Why::OutOfScope));
    // The strongest reason last: a map keeps the last.
    moving.chain(unreadable).chain(unassessed).collect()
}

fn close_gap(source: &mut SourceTrack, read: bool, of: Place, end: Timestamp, polls: u64) -> bool {
    match source.blind.take_if(|_| read) {
        None => false,
        Some(blind) => {
            source.gaps.push(blind.gap(of, end, polls));
            let over = source.gaps.len().saturating_sub(MAX_GAPS);
            source.gaps.drain(..over);
            true
        }
    }
}

fn track_source(
    track: &mut SourceTrack,
    now: Option<&SourceFacts>,
    failing: Option<Why>,
    from: Option<Timestamp>,
    seq: u64,
    polls: u64,
) {
    match failing {
        Some(why) => {
            let begun = track.blind.unwrap_or(Blind { why, from, first: seq, polls });
            track.blind = Some(Blind { why, ..begun });
        }
        None => {
            let Some(now) = now else { return };
            if track.reader != now.reader {
                track.reader = now.reader.clone();
                track.reader_since = seq;
            }
            if track.identity != now.identity {
                track.identity = now.identity.clone();
                track.identity_since = seq;
            }
        }
    }
}

/// The id of the divergence that poll `seq` opens for `key`.
fn id_of(seq: u64, key: &Key) -> String {
    let digest = Digest::of(&json::to_canonical(key)).to_hex();
    format!("{seq}-{}", &digest[..16])
}
