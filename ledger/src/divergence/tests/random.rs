//! Thousands of histories of a true world, polled as the service polls: for every divergence the onset interval must
//! hold the true moment, and be exactly what a naive reading of the definition over the whole history gives.

use super::super::{Cause, Divergence, Divergences, FactsMaker, Mover, PollFacts};
use super::scene::{Scene, SwitchScene, names, observed, port, t, vlan, window};
use crate::projection::Projection;
use crate::state::Place;
use isoledger_core::content::{MOVING_POLLS, MovingPort};
use isoledger_core::judge::FindingKind;
use isoledger_core::model::{
    Access, Attachment, Channel, Declared, Failure, Network, NetworkVlan, Owner, PortId, PortReading, Scope,
    ScopeSwitch, Window,
};
use isoledger_core::{Digest, Span, Timestamp, VlanSet};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

const HISTORIES: u64 = 2000;
const WORKERS: u64 = 4;
const SWITCHES: [&str; 2] = ["sw0", "sw1"];
const PORTS: usize = 4;

fn switch_of(port: usize) -> &'static str {
    SWITCHES[port / 2]
}

fn id_of(port: usize) -> PortId {
    PortId::new(switch_of(port), format!("p{port}"))
}

/// splitmix64: small, and the same everywhere.
struct Rng(u64);

impl Rng {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// From `from` to `to`, both included.
    fn range(&mut self, from: u64, to: u64) -> u64 {
        from + self.next() % (to - from + 1)
    }

    fn chance(&mut self, percent: u64) -> bool {
        self.next() % 100 < percent
    }

    fn pick<T: Clone>(&mut self, list: &[T]) -> T {
        list[(self.next() % list.len() as u64) as usize].clone()
    }
}

/// What is declared on a port: VLAN, and whether untagged.
type D = BTreeMap<u16, bool>;

/// What a port carries.
#[derive(Clone, Debug, PartialEq, Eq)]
struct O {
    untagged: Option<u16>,
    tagged: Vec<u16>,
    all: bool,
}

impl O {
    fn carries(&self, v: u16) -> bool {
        self.all || self.untagged == Some(v) || self.tagged.contains(&v)
    }
}

fn os() -> Vec<O> {
    let o = |untagged, tagged: &[u16]| O { untagged, tagged: tagged.to_vec(), all: false };
    vec![
        o(None, &[]),
        o(None, &[100]),
        o(Some(100), &[]),
        o(None, &[200]),
        o(None, &[100, 200]),
        o(Some(100), &[300]),
        o(None, &[300]),
        o(Some(100), &[200]),
        O { untagged: None, tagged: Vec::new(), all: true },
    ]
}

fn ds() -> Vec<D> {
    [vec![], vec![(100, false)], vec![(100, true)], vec![(200, false)], vec![(100, false), (200, false)]]
        .into_iter()
        .map(|l| l.into_iter().collect())
        .collect()
}

/// A value over time.
#[derive(Clone)]
struct Line<T>(Vec<(u64, T)>);

impl<T: Clone> Line<T> {
    fn at(&self, time: u64) -> T {
        let i = self.0.partition_point(|(from, _)| *from <= time);
        self.0[i - 1].1.clone()
    }
}

struct World {
    declared: Vec<Line<D>>,
    observed: Vec<Line<O>>,
    /// Whether VLAN 300 is declared to a network.
    green: Line<bool>,
}

impl World {
    fn new(rng: &mut Rng, end: u64) -> World {
        let busy = rng.range(1, 12);
        let mut world = World { declared: Vec::new(), observed: Vec::new(), green: Line(Vec::new()) };
        let moments = |rng: &mut Rng| {
            let mut m: Vec<u64> = (0..rng.range(0, busy)).map(|_| rng.range(1, end)).collect();
            // Now and then two moves close together: a quick fix, or two hands at once.
            if let (Some(first), true) = (m.first().copied(), rng.chance(40)) {
                m.push((first + rng.range(1, 4000)).min(end));
            }
            m.sort_unstable();
            m.dedup();
            m
        };
        for _ in 0..PORTS {
            let agreeing = rng.chance(70);
            let (d, o) = if agreeing { (1, 1) } else { (rng.range(0, 4) as usize, rng.range(0, 8) as usize) };
            let mut declared = vec![(0, ds()[d].clone())];
            let mut observed = vec![(0, os()[o].clone())];
            for m in moments(rng) {
                match rng.range(0, 3) {
                    0 => declared.push((m, rng.pick(&ds()))),
                    1 => observed.push((m, rng.pick(&os()))),
                    // As it should be: the switch follows the declaration.
                    _ => {
                        let i = rng.range(0, 3) as usize;
                        declared.push((m, ds()[i].clone()));
                        observed.push((m + rng.range(0, 3000), os()[i].clone()));
                    }
                }
            }
            observed.sort_by_key(|(at, _)| *at);
            world.declared.push(Line(declared));
            world.observed.push(Line(observed));
        }
        let mut green = vec![(0, rng.chance(50))];
        for m in moments(rng).into_iter().take(3) {
            let last = green.last().unwrap().1;
            green.push((m, !last));
        }
        world.green = Line(green);
        world
    }

    fn true_at(&self, port: usize, kind: FindingKind, v: u16, time: u64) -> bool {
        let (d, o, green) = (self.declared[port].at(time), self.observed[port].at(time), self.green.at(time));
        found(&d, &o, green).get(&kind).is_some_and(|set| set.contains(vlan(v)))
    }

    fn events(&self, port: usize) -> BTreeSet<u64> {
        let d = self.declared[port].0.iter().map(|(at, _)| *at);
        let o = self.observed[port].0.iter().map(|(at, _)| *at);
        let g = self.green.0.iter().map(|(at, _)| *at);
        d.chain(o).chain(g).collect()
    }

    /// The stretch of true disagreement that holds the latest disagreeing moment in `from..=to`: its first moment,
    /// and the first moment after it if it ends.
    fn stretch(
        &self,
        port: usize,
        kind: FindingKind,
        v: u16,
        from: u64,
        to: u64,
    ) -> Option<(u64, Option<u64>)> {
        let events = self.events(port);
        let inside = events.range(from..=to).copied().chain([from, to]);
        let m = inside.filter(|m| self.true_at(port, kind, v, *m)).max()?;
        let mut begin = m;
        for e in events.range(..=m).rev() {
            if !self.true_at(port, kind, v, *e) {
                break;
            }
            begin = *e;
        }
        let end = events.range(m + 1..).find(|e| !self.true_at(port, kind, v, **e)).copied();
        Some((begin, end))
    }
}

fn networks(green: bool) -> Vec<u16> {
    if green { vec![100, 200, 300] } else { vec![100, 200] }
}

/// What is wrong with a port, as DESIGN's table has it; written a second time on purpose.
fn found(d: &D, o: &O, green: bool) -> BTreeMap<FindingKind, VlanSet> {
    let mut out: BTreeMap<FindingKind, VlanSet> = BTreeMap::new();
    for v in networks(green) {
        let kinds = [
            (FindingKind::AllVlans, o.all),
            (FindingKind::ForeignPort, !o.all && o.carries(v) && !d.contains_key(&v)),
            (FindingKind::MissingPort, d.contains_key(&v) && !o.carries(v)),
            (
                FindingKind::WrongTagging,
                d.get(&v).is_some_and(|untagged| o.carries(v) && *untagged != (o.untagged == Some(v))),
            ),
        ];
        for (kind, yes) in kinds {
            if yes {
                out.entry(kind).or_default().insert(vlan(v));
            }
        }
    }
    out
}

const KINDS: [FindingKind; 4] =
    [FindingKind::AllVlans, FindingKind::ForeignPort, FindingKind::MissingPort, FindingKind::WrongTagging];

/// What one poll read, kept for the reference.
struct Rec {
    started: u64,
    ended: u64,
    /// Window, declarations of each port, green.
    manager: Option<(Window, Vec<D>, bool)>,
    /// Of each port: window and value.
    observed: Vec<Option<(Window, O)>>,
    again: BTreeSet<usize>,
    moving: BTreeSet<usize>,
    found: BTreeMap<(usize, FindingKind), VlanSet>,
}

impl Rec {
    fn seen(&self, port: usize, kind: FindingKind) -> bool {
        let manager = self.manager.is_some() || kind == FindingKind::AllVlans;
        self.observed[port].is_some() && manager && !self.moving.contains(&port)
    }
}

struct History {
    recs: Vec<Rec>,
    polls: Vec<PollFacts>,
}

/// Polls the world: declared state first, then all switches, then once more what disagrees.
fn poll(world: &World, rng: &mut Rng, end: u64) -> History {
    let scope = Arc::new(Scope {
        domain: "moc".into(),
        switches: SWITCHES.map(|s| (s.to_owned(), ScopeSwitch::default())).into(),
        ..Scope::default()
    });
    let (silence, cached_chance) = (rng.range(0, 30), rng.range(0, 60));
    let mut history = History { recs: Vec::new(), polls: Vec::new() };
    let mut maker = FactsMaker::default();
    // The declared state in force, with the window it was read in.
    let mut in_force: Option<(Window, Vec<D>, bool)> = None;
    let mut moving: Vec<MovingPort> = Vec::new();
    let mut now = rng.range(1000, 20_000);
    let mut seq = 0;
    while now < end {
        seq += rng.range(1, 2);
        let started = now;
        let mut clock = started;
        let manager_silent = rng.chance(silence);
        let cached = in_force.is_some() && rng.chance(cached_chance);
        if !manager_silent && !cached {
            let to = started + rng.range(1, 3000);
            let declared = (0..PORTS).map(|p| world.declared[p].at(rng.range(started, to))).collect();
            in_force = Some((window(started, to), declared, world.green.at(rng.range(started, to))));
            clock = to;
        }
        let mut reads: Vec<Option<(Window, O)>> = vec![None; PORTS];
        let mut windows: BTreeMap<&str, Window> = BTreeMap::new();
        let mut answered: BTreeSet<&str> = BTreeSet::new();
        let mut last = clock;
        for (i, name) in SWITCHES.iter().enumerate() {
            let from = clock + rng.range(0, 200);
            let to = from + rng.range(1, 2000);
            last = last.max(to);
            windows.insert(name, window(from, to));
            if !rng.chance(silence) {
                answered.insert(name);
                for p in [2 * i, 2 * i + 1] {
                    reads[p] = Some((window(from, to), world.observed[p].at(rng.range(from, to))));
                }
            }
        }
        clock = last;
        // Where the sides disagree, both are read again.
        let mut again = BTreeSet::new();
        let mut unsteady = BTreeSet::new();
        if let (Some((read, declared, green)), false) = (&mut in_force, manager_silent) {
            for p in 0..PORTS {
                let Some((_, o)) = &reads[p] else { continue };
                if found(&declared[p], o, *green).is_empty() {
                    continue;
                }
                clock += rng.range(0, 100);
                let d2 = world.declared[p].at(clock);
                read.ended = read.ended.max(t(clock));
                clock += rng.range(0, 300);
                let to = clock + rng.range(1, 300);
                let o2 = world.observed[p].at(rng.range(clock, to));
                if d2 != declared[p] || o2 != *o {
                    unsteady.insert(p);
                }
                declared[p] = d2;
                reads[p] = Some((window(clock, to), o2));
                again.insert(p);
                clock = to;
            }
        }
        moving = unsteady
            .iter()
            .map(|p| {
                let before = moving.iter().find(|m| m.port == id_of(*p));
                let polls = before.map_or(1, |m| m.polls + 1);
                let since = before.map_or(t(started), |m| m.since);
                MovingPort { port: id_of(*p), polls, since }
            })
            .collect();
        let ended = clock + rng.range(0, 50);
        let active =
            |m: &&MovingPort| m.polls <= MOVING_POLLS && t(started).since(m.since) < Span::from_secs(300);
        let excused: BTreeSet<usize> =
            (0..PORTS).filter(|p| moving.iter().filter(active).any(|m| m.port == id_of(*p))).collect();
        let manager = in_force.clone().filter(|_| !manager_silent);
        let mut all = BTreeMap::new();
        for (p, read) in reads.iter().enumerate().filter(|(p, _)| !excused.contains(p)) {
            let (Some((_, o)), Some((_, declared, green))) = (read, &in_force) else { continue };
            for (kind, set) in found(&declared[p], o, *green) {
                if kind == FindingKind::AllVlans || manager.is_some() {
                    all.insert((p, kind), set);
                }
            }
        }
        let switches = SWITCHES.iter().enumerate().map(|(i, name)| {
            let outcome = match answered.contains(name) {
                false => Err(Failure::Silent),
                true => Ok(Arc::new(observed([2 * i, 2 * i + 1].map(|p| {
                    let (_, o) = reads[p].clone().unwrap();
                    let tagged: VlanSet =
                        if o.all { VlanSet::all() } else { o.tagged.iter().map(|v| vlan(*v)).collect() };
                    (id_of(p).port, PortReading::Read(port(o.untagged, tagged)))
                })))),
            };
            let scene = SwitchScene { outcome, window: windows[name], reader: 1, identity: None };
            ((*name).to_owned(), scene)
        });
        let scene = Scene {
            seq,
            started,
            ended,
            scope: scope.clone(),
            declared: Arc::new(in_force.as_ref().map_or_else(Declared::default, |(_, d, g)| declared(d, *g))),
            manager: in_force.as_ref().map_or(window(started, ended), |f| f.0),
            manager_failure: (manager_silent || in_force.is_none()).then_some(Failure::Silent),
            manager_reader: 1,
            switches: switches.collect(),
            moving: moving.clone(),
            rereads: again
                .iter()
                .map(|p| (switch_of(*p).to_owned(), id_of(*p).port, reads[*p].clone().unwrap().0))
                .collect(),
        };
        history.polls.push(maker.facts(&scene.state()).unwrap());
        history.recs.push(Rec {
            started,
            ended,
            manager,
            observed: reads,
            again,
            moving: excused,
            found: all,
        });
        now = ended + if rng.chance(10) { rng.range(60_000, 400_000) } else { rng.range(500, 40_000) };
    }
    history
}

fn declared(ports: &[D], green: bool) -> Declared {
    let mut d = Declared::default();
    for v in networks(green) {
        d.networks.insert(
            format!("net{v}"),
            Network {
                vlan: NetworkVlan::Id(vlan(v)),
                owner: Owner::Project("red".into()),
                access: Access::Projects(names(&["red"])),
            },
        );
    }
    for (p, attached) in ports.iter().enumerate() {
        d.registered.insert(id_of(p));
        for (v, untagged) in attached {
            d.attachments.insert(Attachment {
                network: format!("net{v}"),
                project: Some("red".into()),
                node: format!("node{p}"),
                nic: "eth0".into(),
                mac: None,
                port: Some(id_of(p)),
                channel: if *untagged { Channel::Native } else { Channel::Tagged(vlan(*v)) },
            });
        }
    }
    d
}

/// What a naive reading of the definition says of a change.
#[derive(Debug, PartialEq, Eq)]
struct Expected {
    poll: usize,
    after: Option<Timestamp>,
    by: Timestamp,
    cause: Cause,
    movers: BTreeSet<Mover>,
}

/// What of a port's sides a finding looks at, one VLAN at a time.
fn concern_o(kind: FindingKind, o: &O, v: u16) -> (bool, bool, bool) {
    let tagging = kind == FindingKind::WrongTagging && o.untagged == Some(v);
    let all = o.all && matches!(kind, FindingKind::ForeignPort | FindingKind::AllVlans);
    (o.carries(v), tagging, all)
}

fn concern_d(kind: FindingKind, d: &D, v: u16) -> (bool, Option<bool>) {
    let how = (kind == FindingKind::WrongTagging).then(|| d.get(&v).copied()).flatten();
    (d.contains_key(&v), how)
}

/// Which sides moved between polls `p` and `q`; of each, start of the last read that showed it as in `p`, and end of
/// the first of the unbroken run that shows it as in `q`.
fn moved(
    recs: &[Rec],
    port: usize,
    kind: FindingKind,
    set: &VlanSet,
    p: usize,
    q: usize,
) -> Vec<(Mover, Option<Timestamp>, Timestamp)> {
    let mut out = Vec::new();
    let vs: Vec<u16> = set.iter().map(|v| v.get()).collect();
    let o = |j: usize| recs[j].observed[port].as_ref();
    let (op, oq) = (&o(p).unwrap().1, &o(q).unwrap().1);
    if vs.iter().any(|v| concern_o(kind, op, *v) != concern_o(kind, oq, *v)) {
        let reads: Vec<&(Window, O)> = (p..=q).filter_map(o).collect();
        let last = reads[..reads.len() - 1].iter().rev().find(|r| r.1 == *op).unwrap();
        let first = reads.iter().rev().take_while(|r| r.1 == *oq).last().unwrap();
        // Reads between are of a port in transition then, and count for nothing.
        let (last, first) =
            if kind == FindingKind::AllVlans { (reads[0], reads[reads.len() - 1]) } else { (*last, *first) };
        out.push((Mover::Switch, Some(last.0.started), first.0.ended));
    }
    let m = |j: usize| recs[j].manager.as_ref();
    if kind != FindingKind::AllVlans {
        let d = |j: usize| m(j).map(|(w, d, _)| (*w, &d[port]));
        let (dp, dq) = (d(p).unwrap().1, d(q).unwrap().1);
        if vs.iter().any(|v| concern_d(kind, dp, *v) != concern_d(kind, dq, *v)) {
            let reads: Vec<(Window, &D)> = (p..=q).filter_map(d).collect();
            let last = reads[..reads.len() - 1].iter().rev().find(|r| r.1 == dp).unwrap();
            let first = reads.iter().rev().take_while(|r| r.1 == dq).last().unwrap();
            out.push((Mover::Declaration, Some(last.0.started), first.0.ended));
        }
    }
    // A VLAN moved when it was not declared, or not undeclared, all the time since.
    for v in &vs {
        let reads: Vec<(usize, Window, bool)> =
            (0..=q).filter_map(|j| m(j).map(|(w, _, g)| (j, *w, networks(*g).contains(v)))).collect();
        // Before the first read no VLAN is known.
        let flip = (0..reads.len()).rev().find(|i| {
            let before = i.checked_sub(1).map(|b| reads[b].2);
            before.unwrap_or(false) != reads[*i].2
        });
        if let Some(i) = flip.filter(|i| reads[*i].0 > p) {
            let before = i.checked_sub(1).map(|b| reads[b].1.started);
            out.push((Mover::Declaration, before, reads[i].1.ended));
        }
    }
    out
}

fn cause_of(moves: &[(Mover, Option<Timestamp>, Timestamp)]) -> (Cause, BTreeSet<Mover>) {
    let movers: BTreeSet<Mover> = moves.iter().map(|m| m.0).collect();
    if moves.iter().any(|m| m.1.is_none()) {
        return (Cause::Blind, BTreeSet::new());
    }
    let cause = match movers.iter().collect::<Vec<_>>()[..] {
        [Mover::Switch] => Cause::SwitchMoved,
        [Mover::Declaration] => Cause::DeclarationMoved,
        [_, _] => Cause::Both,
        _ => Cause::Unclear,
    };
    (cause, movers)
}

fn read_end(rec: &Rec, port: usize) -> Timestamp {
    let o = rec.observed[port].as_ref().unwrap().0.ended;
    rec.manager.as_ref().map_or(o, |(w, ..)| o.max(w.ended))
}

/// Every divergence of one port and finding, from the whole history.
fn expected(recs: &[Rec], port: usize, kind: FindingKind) -> Vec<(VlanSet, Expected, Option<Expected>)> {
    let mut out: Vec<(VlanSet, Expected, Option<Expected>)> = Vec::new();
    // The last poll that found it, while it is open.
    let mut open: Option<usize> = None;
    for q in 0..recs.len() {
        let found = recs[q].found.get(&(port, kind));
        match (found, open) {
            (Some(set), None) => {
                let base = (0..q).rev().find(|j| recs[*j].seen(port, kind));
                let moves = base.map(|p| moved(recs, port, kind, set, p, q)).unwrap_or_default();
                let (cause, movers) = match base {
                    None => (Cause::Blind, BTreeSet::new()),
                    Some(_) => cause_of(&moves),
                };
                let after =
                    if cause == Cause::Blind { None } else { moves.iter().map(|m| m.1).min().flatten() };
                let by = read_end(&recs[q], port);
                out.push((set.clone(), Expected { poll: q, after, by, cause, movers }, None));
                open = Some(q);
            }
            (Some(_), Some(_)) => open = Some(q),
            (None, Some(last)) if recs[q].seen(port, kind) => {
                let set = &recs[last].found[&(port, kind)];
                let moves = moved(recs, port, kind, set, last, q);
                let (cause, movers) = cause_of(&moves);
                let entry = out.last_mut().unwrap();
                let mut after = recs[last].observed[port].as_ref().unwrap().0.started;
                match &recs[last].manager {
                    Some((w, ..)) if kind != FindingKind::AllVlans => {
                        let again = recs[last].again.contains(&port);
                        let read = if again { w.started.max(t(recs[last].started)) } else { w.started };
                        after = after.min(read);
                    }
                    _ => after = after.min(t(recs[last].started)),
                }
                let after = after.max(entry.1.after.unwrap_or(after));
                let by = moves.iter().map(|m| m.2).max().unwrap().max(after);
                entry.2 = Some(Expected { poll: q, after: Some(after), by, cause, movers });
                open = None;
            }
            _ => {}
        }
    }
    out
}

fn check(history: &History, all: &Divergences, world: &World, seed: u64) -> (u64, u64) {
    let recs = &history.recs;
    let (mut checked, mut phantoms) = (0, 0);
    for port in 0..PORTS {
        for kind in KINDS {
            let place = Place::Port(id_of(port));
            let ours: Vec<&Divergence> =
                all.all().iter().filter(|d| d.key.place == place && d.key.finding == kind).collect();
            let wanted = expected(recs, port, kind);
            assert_eq!(ours.len(), wanted.len(), "seed {seed}: {kind} on {place}: {ours:#?} {wanted:#?}");
            for (d, (set, onset, closed)) in ours.iter().zip(&wanted) {
                let what = format!("seed {seed}: {kind} on {place}: {d:#?}");
                let given = |c: &super::super::Change| Expected {
                    poll: history.polls.iter().position(|p| p.seq == c.seq).unwrap(),
                    after: c.after,
                    by: c.by,
                    cause: c.cause,
                    movers: c.movers.clone(),
                };
                assert_eq!(given(&d.onset), *onset, "{what}");
                assert_eq!(d.closed.as_ref().map(given), *closed, "{what}");
                let (n, ghosts) = check_truth(recs, world, port, kind, set, d, onset, closed.as_ref(), &what);
                checked += n;
                phantoms += ghosts;
            }
        }
    }
    (checked, phantoms)
}

/// The true moments lie in the intervals. What was found but never true at one moment, because both sides moved
/// while they were read, has none: such phantoms are counted.
#[allow(clippy::too_many_arguments)]
fn check_truth(
    recs: &[Rec],
    world: &World,
    port: usize,
    kind: FindingKind,
    set: &VlanSet,
    d: &Divergence,
    onset: &Expected,
    closed: Option<&Expected>,
    what: &str,
) -> (u64, u64) {
    let (mut checked, mut phantoms) = (0, 0);
    let rec = &recs[onset.poll];
    for v in set.iter() {
        let until = rec.ended.min(onset.by.millis());
        let Some((begin, _)) = world.stretch(port, kind, v.get(), rec.started, until) else {
            phantoms += 1;
            continue;
        };
        checked += 1;
        assert!(onset.after.is_none_or(|after| t(begin) > after), "{what}\nbegan at {begin}");
        assert!(t(begin) <= onset.by, "{what}\nbegan at {begin}");
        // When only one side moved at all, it is the cause.
        if let (Some(base), false) =
            ((0..onset.poll).rev().find(|j| recs[*j].seen(port, kind)), matches!(onset.cause, Cause::Blind))
        {
            // The declared state may have been read long before the base.
            let read = recs[..=base].iter().rev().find_map(|r| r.manager.as_ref());
            let from = read.map_or(0, |m| m.0.started.millis());
            let between = |at: u64| at > from.min(recs[base].started) && at <= rec.ended;
            let o = world.observed[port].0.iter().any(|(at, _)| between(*at));
            let declared = world.declared[port].0.iter().any(|(at, _)| between(*at));
            let green = world.green.0.iter().any(|(at, _)| between(*at));
            match (o, declared || green) {
                (true, false) => assert_eq!(onset.cause, Cause::SwitchMoved, "{what}"),
                (false, true) => assert_eq!(onset.cause, Cause::DeclarationMoved, "{what}"),
                _ => {}
            }
        }
    }
    if let Some(closed) = closed {
        let last =
            (onset.poll..closed.poll).rev().find(|j| recs[*j].found.contains_key(&(port, kind))).unwrap();
        let rec = &recs[last];
        for v in d.vlans.iter() {
            let Some((_, end)) = world.stretch(port, kind, v.get(), rec.started, rec.ended) else {
                phantoms += 1;
                continue;
            };
            checked += 1;
            let end = end.expect("it ended, for a later poll agrees");
            assert!(closed.after.is_some_and(|after| t(end) > after), "{what}\nended at {end}");
            assert!(t(end) <= closed.by, "{what}\nended at {end}");
        }
    }
    (checked, phantoms)
}

#[derive(Default)]
struct Tally {
    /// True moments found in their intervals.
    checked: u64,
    phantoms: u64,
    causes: BTreeMap<Cause, u64>,
}

fn history(seed: u64, tally: &mut Tally) {
    let mut rng = Rng(seed);
    let end = rng.range(60_000, 500_000);
    let world = World::new(&mut rng, end);
    let history = poll(&world, &mut rng, end);
    let mut all = Divergences::new();
    for (p, rec) in history.polls.iter().zip(&history.recs) {
        let ours: BTreeMap<(usize, FindingKind), VlanSet> = p
            .facts
            .findings()
            .iter()
            .filter(|(key, _)| KINDS.contains(&key.finding))
            .map(|(key, extent)| {
                let at = (0..PORTS).find(|i| key.place == Place::Port(id_of(*i))).unwrap();
                ((at, key.finding), extent.vlans.clone())
            })
            .collect();
        assert_eq!(ours, rec.found, "seed {seed}: what is found");
        all.push(p).unwrap();
    }
    let (checked, phantoms) = check(&history, &all, &world, seed);
    tally.checked += checked;
    tally.phantoms += phantoms;
    for d in all.all() {
        *tally.causes.entry(d.onset.cause).or_insert(0) += 1;
    }
    if seed.is_multiple_of(4) {
        replay(&history, &all, seed);
    }
}

#[test]
fn onset_and_end_hold_the_true_moment_and_nothing_more() {
    let mut tally = Tally::default();
    std::thread::scope(|threads| {
        let parts: Vec<_> = (0..WORKERS)
            .map(|w| {
                threads.spawn(move || {
                    let mut tally = Tally::default();
                    (0..HISTORIES)
                        .filter(|seed| seed % WORKERS == w)
                        .for_each(|seed| history(seed, &mut tally));
                    tally
                })
            })
            .collect();
        for part in parts {
            let part = part.join().unwrap();
            tally.checked += part.checked;
            tally.phantoms += part.phantoms;
            part.causes.into_iter().for_each(|(c, n)| *tally.causes.entry(c).or_insert(0) += n);
        }
    });
    let Tally { checked, phantoms, causes } = tally;
    assert!(checked > 5 * HISTORIES, "{checked} true moments");
    assert!(phantoms * 50 < checked, "{phantoms} phantoms beside {checked} true moments");
    for cause in [Cause::SwitchMoved, Cause::DeclarationMoved, Cause::Both, Cause::Blind, Cause::Reading] {
        assert!(causes.get(&cause).is_some_and(|n| *n > 50), "{cause}: {causes:?}");
    }
    assert_eq!(causes.get(&Cause::Unclear), None);
}

/// Folding again, in one go, from rows kept in between, or without any short cut, gives the same bytes.
fn replay(history: &History, all: &Divergences, seed: u64) {
    let rows = all.rows();
    let mut map: BTreeMap<String, Vec<u8>> = BTreeMap::new();
    let mut again = Divergences::new();
    for (i, p) in history.polls.iter().enumerate() {
        again.push(p).unwrap();
        if (i as u64 + seed).is_multiple_of(4) {
            map.extend(again.take_changes());
            if i as u64 % 3 == seed % 3 {
                let mut get = |name: &str| Ok::<_, std::convert::Infallible>(map.get(name).cloned());
                again = Divergences::restore(&mut get).unwrap().unwrap();
            }
        }
    }
    map.extend(again.take_changes());
    assert_eq!(map, rows, "seed {seed}: rows kept bit by bit");
    let mut slow = Divergences::new();
    for (p, i) in history.polls.iter().zip(0u64..) {
        let mut facts = (*p.facts).clone();
        facts.digest = Digest::of(&i.to_be_bytes());
        slow.push(&PollFacts { facts: Arc::new(facts), ..p.clone() }).unwrap();
    }
    let plain = |mut rows: BTreeMap<String, Vec<u8>>| {
        rows.remove("divergences/head");
        rows
    };
    assert_eq!(plain(slow.rows()), plain(rows), "seed {seed}: without the short cut for unchanged polls");
}
