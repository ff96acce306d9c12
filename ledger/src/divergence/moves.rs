//! Who moved, and between which reads: the rules of the [module page](super) as code.
//!
//! Everything here looks at the tracks as the poll before left them and at the facts of the poll being folded.

use super::facts::{Extent, Key, PollFacts, SourceFacts};
use super::fold::Divergences;
use super::sides::{
    Allowance, Carried, Declaration, PortView, declared_concern, observed_concern, scope_concern, together,
    two_sided,
};
use super::track::{Held, Read, SourceTrack, SwitchReads, SwitchTrack, finding_of};
use super::{Cause, Change, Claim, Divergence, Gap, Mover, Why};
use crate::state::Place;
use isoledger_core::judge::FindingKind;
use isoledger_core::model::{BypassClass, Failure, PortId, Window};
use isoledger_core::{Timestamp, VlanSet};
use std::collections::BTreeSet;

/// What a poll says of an open divergence whose finding it does not hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Absence {
    /// Everything it rests on was read.
    Agreeing,
    /// Something it rests on was not read.
    Unseen,
    /// The operator does not look there any more.
    Withdrawn,
}

/// One side of a finding, at the base and now.
#[derive(Clone, Copy, Debug)]
struct Part {
    side: Mover,
    moved: bool,
    /// The last read that showed it as at the base.
    base: Option<Window>,
    /// End of the first read, of the unbroken run, that shows it as now.
    first: Timestamp,
    /// End of its read in this poll.
    end: Timestamp,
    /// Read by another reader than at the base.
    reader: bool,
    /// Another source than at the base.
    identity: bool,
}

/// All sides of a finding.
struct Moves {
    parts: Vec<Part>,
    /// The poll of the base; `None` when there is none.
    base: Option<u64>,
    /// Set when the finding is about a reading, not about what was read.
    reading: Option<Cause>,
    before: Option<PortView>,
    now: Option<PortView>,
}

impl Moves {
    fn new(base: Option<u64>) -> Moves {
        Moves { parts: Vec::new(), base, reading: None, before: None, now: None }
    }

    fn movers(&self) -> impl Iterator<Item = &Part> {
        self.parts.iter().filter(|p| p.moved)
    }
}

const NOTHING: &Carried = &Carried {
    untagged: None,
    tagged: VlanSet::empty(),
    down: false,
    bundle: None,
    members: BTreeSet::new(),
};
const UNDECLARED: &Declaration =
    &Declaration { registered: false, nodes: BTreeSet::new(), attachments: BTreeSet::new() };
const UNMENTIONED: &Allowance = &Allowance { vlans: VlanSet::empty(), link: None, unassessed: false };

impl Divergences {
    /// What `poll` says of an open divergence whose finding it does not hold.
    pub(super) fn absence(&self, key: &Key, poll: &PollFacts) -> Absence {
        let facts = &poll.facts;
        let unseen = |unseen: bool| if unseen { Absence::Unseen } else { Absence::Agreeing };
        let manager = facts.declared.is_some();
        let read = |switch: &str| facts.switches.get(switch).is_some_and(|s| s.ports.is_some());
        if let Some(switch) = key.place.switch()
            && !facts.switches.contains_key(switch)
        {
            // Silence of a switch that nobody audits ends with the last declaration there.
            let audited = self.head.as_ref().is_some_and(|h| h.switches.contains_key(switch));
            return if audited { Absence::Withdrawn } else { unseen(!manager) };
        }
        match &key.place {
            Place::Port(id) => {
                if facts.allowance(id).is_some_and(|a| a.unassessed) {
                    return Absence::Withdrawn;
                }
                match key.finding {
                    FindingKind::InTransition => Absence::Agreeing,
                    FindingKind::Unreadable => unseen(!read(&id.switch)),
                    kind => {
                        let peer = self.peer(kind, id, poll);
                        unseen(
                            !read(&id.switch)
                                || facts.port_is_blind(id)
                                || two_sided(kind) && !manager
                                || peer.is_some_and(|p| !read(&p.switch) || facts.port_is_blind(&p)),
                        )
                    }
                }
            }
            Place::Class { switch, class } => {
                let ports = facts.switches.get(switch).and_then(|s| s.ports.as_ref());
                let unread = ports.is_none_or(|p| p.unread.contains(class));
                match key.finding {
                    FindingKind::Bypass => unseen(unread),
                    _ => unseen(ports.is_none()),
                }
            }
            Place::Switch(_) | Place::Manager => Absence::Agreeing,
            Place::Network(_) => unseen(!manager),
            Place::Nic { node, nic } => {
                let at = facts.declared.as_ref().and_then(|d| d.nics.get(&(node.clone(), nic.clone())));
                let excused = key.finding == FindingKind::ForeignMember
                    && at.is_some_and(|id| facts.port_is_moving(id));
                unseen(!manager || excused)
            }
        }
    }

    // The other end of a link whose ends a finding compares.
    fn peer(&self, kind: FindingKind, id: &PortId, poll: &PollFacts) -> Option<PortId> {
        let link = |a: &Allowance| a.link.clone();
        (kind == FindingKind::NativeMismatch)
            .then(|| {
                let before = self.switches.get(&id.switch).and_then(|t| t.scope.get(&id.port));
                poll.facts.allowance(id).and_then(link).or_else(|| before.and_then(link))
            })
            .flatten()
    }

    fn reads(&self, switch: &str) -> Option<&SwitchReads> {
        self.head.as_ref().and_then(|h| h.switches.get(switch))
    }

    fn manager_read(&self) -> Option<Read> {
        self.head.as_ref().and_then(|h| h.manager)
    }

    /// Earliest start of the last poll's reads of what `key` rests on. Meant for a finding the last poll held.
    pub(super) fn confirmed_start(&self, key: &Key, poll: &PollFacts) -> Timestamp {
        let Some(head) = &self.head else { return poll.started };
        let port = |id: &PortId| self.reads(&id.switch).and_then(|r| r.port(&id.port));
        let declared = head.manager.map(|r| r.window.started);
        let start = match (&key.place, key.finding) {
            (Place::Port(_), FindingKind::InTransition) | (Place::Manager, _) => None,
            (Place::Port(id), FindingKind::Unreadable) => {
                self.reads(&id.switch).and_then(|r| r.read).map(|r| r.window.started)
            }
            (Place::Port(id), kind) => {
                let own = port(id);
                let peer = self.peer(kind, id, poll).and_then(|p| port(&p));
                // A port that was read again was compared with what was declared then.
                let again = own.is_some_and(|r| {
                    r.seq == head.seq
                        && self.reads(&id.switch).is_some_and(|s| s.ports.contains_key(&id.port))
                });
                let declared = declared.map(|d| if again { d.max(head.started) } else { d });
                // What rests on the switch alone still needs a network on the VLAN, read or believed in this poll.
                let declared = if two_sided(kind) { declared } else { Some(head.started) };
                let reads = [own, peer].map(|r| r.map(|r| r.window.started));
                reads.into_iter().chain([declared]).flatten().min()
            }
            (Place::Class { .. }, _) => None,
            (Place::Switch(switch), _) => self.reads(switch).and_then(|r| r.tried).map(|w| w.started),
            (Place::Nic { .. } | Place::Network(_), _) => declared,
        };
        start.unwrap_or(head.started)
    }

    /// How the finding `key` on `vlans`, which `poll` is the first to hold, began; with both sides of a port.
    pub(super) fn opening(
        &self,
        key: &Key,
        vlans: &VlanSet,
        poll: &PollFacts,
    ) -> (Change, Option<Claim>, Option<PortView>, Option<PortView>) {
        let moves = self.moves(key, vlans, poll);
        let (cause, movers) = self.cause(&moves, poll);
        let by = moves.parts.iter().map(|p| p.end).max().unwrap_or(poll.ended);
        // What another reader did not see may have been there; a reading that failed failed with this one.
        let unseen_by_another = cause == Cause::ReaderChanged && moves.reading.is_none();
        let known = cause != Cause::Blind && !unseen_by_another;
        let all = moves.reading.is_some() || movers.is_empty();
        let bases = moves.parts.iter().filter(|p| p.moved || all).map(|p| p.base.map(|w| w.started));
        // None sorts first: a side without earlier reading makes the interval open.
        let after = bases.min().flatten().filter(|_| known);
        let claim = claimed(key, poll);
        let change = match claim {
            None => self.change(key, poll, moves.base, (after, by), cause, movers),
            Some(claim) => {
                // Told of after the switch's last read, unless that one could not be judged and is told of again.
                let base = moves.parts.iter().find(|p| p.side == Mover::Switch).and_then(|p| p.base);
                let after = base.map(|w| w.started.min(claim.from));
                let movers = BTreeSet::from([Mover::Switch]);
                self.change(key, poll, moves.base, (after, claim.from), Cause::SwitchMoved, movers)
            }
        };
        (change, claim, moves.before, moves.now)
    }

    /// `d`, which passed before the last poll, as `poll` leaves it: over.
    pub(super) fn over(&self, d: &Divergence, poll: &PollFacts) -> Divergence {
        let mut d = d.clone();
        let (after, by) = d.claim.map_or((d.onset.after, d.onset.by), |c| (Some(c.from), c.to));
        let base = self.head.as_ref().map(|h| h.seq);
        let movers = BTreeSet::from([Mover::Switch]);
        d.closed = Some(self.change(&d.key, poll, base, (after, by), Cause::SwitchMoved, movers));
        d.unconfirmed = None;
        d
    }

    /// How `d`, which `poll` is the first not to hold, ended.
    pub(super) fn closing(
        &self,
        d: &Divergence,
        absence: Absence,
        poll: &PollFacts,
    ) -> (Change, Option<PortView>) {
        let after = d.unconfirmed.map_or_else(|| self.confirmed_start(&d.key, poll), |u| u.started);
        let after = d.onset.after.map_or(after, |onset| onset.max(after));
        // The last poll that found it.
        let base = d.unconfirmed.map(|u| u.seq).or(self.head.as_ref().map(|h| h.seq));
        if absence == Absence::Withdrawn {
            let interval = (Some(after), poll.started.max(after));
            let movers = BTreeSet::from([Mover::Scope]);
            return (self.change(&d.key, poll, base, interval, Cause::ScopeChanged, movers), None);
        }
        let moves = self.moves(&d.key, &d.vlans, poll);
        let (cause, movers) = self.cause(&moves, poll);
        let last = moves.parts.iter().map(|p| p.end).max();
        let by = match moves.reading {
            None => moves.movers().map(|p| p.first).max().or(last),
            Some(_) => last,
        };
        let by = by.unwrap_or(poll.ended).max(after);
        (self.change(&d.key, poll, base, (Some(after), by), cause, movers), moves.now)
    }

    fn cause(&self, moves: &Moves, poll: &PollFacts) -> (Cause, BTreeSet<Mover>) {
        if let Some(cause) = moves.reading {
            return (cause, BTreeSet::new());
        }
        let movers: BTreeSet<Mover> = moves.movers().map(|p| p.side).collect();
        let base = moves.base.filter(|_| moves.movers().all(|p| p.base.is_some()));
        let Some(base) = base else { return (Cause::Blind, BTreeSet::new()) };
        let semantics =
            self.head.as_ref().is_some_and(|h| h.semantics != poll.semantics || h.semantics_since > base);
        let cause = if semantics || moves.movers().any(|p| p.reader) {
            Cause::ReaderChanged
        } else if moves.movers().any(|p| p.identity) {
            Cause::SourceChanged
        } else {
            match movers.iter().collect::<Vec<_>>()[..] {
                [] => Cause::Unclear,
                [Mover::Switch] => Cause::SwitchMoved,
                [Mover::Declaration] => Cause::DeclarationMoved,
                [Mover::Scope] => Cause::ScopeChanged,
                _ => Cause::Both,
            }
        };
        (cause, movers)
    }

    fn change(
        &self,
        key: &Key,
        poll: &PollFacts,
        base: Option<u64>,
        (after, by): (Option<Timestamp>, Timestamp),
        cause: Cause,
        movers: BTreeSet<Mover>,
    ) -> Change {
        Change { seq: poll.seq, after, by, cause, movers, gaps: self.gaps(key, poll, base) }
    }

    // Failed readings of whatever `key` rests on since the base.
    fn gaps(&self, key: &Key, poll: &PollFacts, base: Option<u64>) -> Vec<Gap> {
        let mut all: Vec<Gap> = Vec::new();
        let mut switches: BTreeSet<String> = key.place.switch().map(str::to_owned).into_iter().collect();
        let mut manager = matches!(key.place, Place::Nic { .. } | Place::Network(_) | Place::Manager);
        if let Place::Port(id) = &key.place {
            manager |= two_sided(key.finding);
            switches.extend(self.peer(key.finding, id, poll).map(|p| p.switch));
            let blind = self.switches.get(&id.switch).and_then(|t| t.blind_ports.get(&id.port));
            if let Some(b) = blind.filter(|_| !poll.facts.port_is_blind(id)) {
                let read = poll.rereads.get(&id.switch).and_then(|r| r.get(&id.port));
                let end = read.or(poll.switches.get(&id.switch)).map_or(poll.ended, |w| w.ended);
                let polls = self.head.as_ref().map_or(0, |h| h.polls);
                all.push(b.blind.gap(key.place.clone(), end, polls));
            }
        }
        let sources = switches.iter().filter_map(|s| self.switches.get(s)).map(|t| &t.source);
        for source in sources.chain(manager.then_some(&self.manager.source)) {
            all.extend(source.gaps.iter().cloned());
        }
        all.retain(|g| base.is_none_or(|base| g.first > base));
        all.sort();
        all.dedup();
        all
    }

    fn moves(&self, key: &Key, vlans: &VlanSet, poll: &PollFacts) -> Moves {
        match (&key.place, key.finding) {
            (Place::Port(id), FindingKind::Unreadable) => self.unreadable_port(id, poll),
            (Place::Port(id), FindingKind::InTransition) => {
                let mut moves = self.port(id, FindingKind::InTransition, vlans, poll);
                moves.reading = Some(Cause::Reading);
                moves
            }
            (Place::Port(id), kind) => {
                let mut moves = self.port(id, kind, vlans, poll);
                if let Some(peer) = self.peer(kind, id, poll) {
                    let other = self.port(&peer, kind, vlans, poll);
                    moves.base = moves.base.zip(other.base).map(|(a, b)| a.min(b));
                    moves.parts.extend(other.parts);
                }
                moves
            }
            (Place::Switch(switch), finding) => self.switch(switch, finding, vlans, poll),
            (Place::Class { switch, class }, finding) => self.class(switch, *class, finding, vlans, poll),
            (Place::Manager, _) => self.manager_moves(poll),
            (Place::Nic { node, nic }, _) => {
                let excused = self.manager.excused.get(node).and_then(|n| n.get(nic)).copied();
                self.declaration(excused.unwrap_or(self.manager_read()), poll)
            }
            (Place::Network(_), _) => self.declaration(self.manager_read(), poll),
        }
    }

    // A finding that rests on the cloud manager alone.
    fn declaration(&self, base: Option<Read>, poll: &PollFacts) -> Moves {
        let mut moves = Moves::new(base.map(|r| r.seq));
        moves.parts.push(self.declaration_part(base, poll));
        moves
    }

    fn declaration_part(&self, base: Option<Read>, poll: &PollFacts) -> Part {
        let facts = &poll.facts;
        let end = if facts.declared.is_some() { poll.manager.ended } else { poll.ended };
        let (reader, identity) =
            changed(&self.manager.source, facts.declared.is_some().then_some(&facts.manager), base);
        Part {
            side: Mover::Declaration,
            moved: true,
            base: base.map(|r| r.window),
            first: end,
            end,
            reader,
            identity,
        }
    }

    fn port(&self, id: &PortId, kind: FindingKind, vlans: &VlanSet, poll: &PollFacts) -> Moves {
        let empty = SwitchTrack::default();
        let no_reads = SwitchReads::default();
        let track = self.switches.get(&id.switch).unwrap_or(&empty);
        let reads = self.reads(&id.switch).unwrap_or(&no_reads);
        let (facts, name) = (&poll.facts, id.port.as_str());
        let switch = facts.switches.get(&id.switch);
        let ports = switch.and_then(|s| s.ports.as_ref());
        let two_sided = two_sided(kind);
        let blind = track.blind_ports.get(name);
        let departed = track.departed.get(name);

        // The switch's side.
        let last = track.observed.get(name).unwrap_or(NOTHING);
        let last_read = reads.port(name);
        let left = departed.and_then(|d| d.observed.as_ref());
        let held = blind.map_or(&Held::Free, |b| &b.held);
        let (was, was_read) = match (two_sided, left, held) {
            (true, Some(left), _) => (&left.base, left.read),
            (false, _, Held::At(held, read)) => (held, Some(read.window)),
            (false, _, Held::Nothing) => (NOTHING, None),
            _ => (last, last_read.map(|r| r.window)),
        };
        // Where it was read in this poll at all; a port the switch does not list carries nothing.
        let understood = ports.filter(|p| !p.unreadable.contains(name));
        let is = understood.map_or(last, |p| p.carried.get(name).unwrap_or(NOTHING));
        let again = poll.rereads.get(&id.switch).and_then(|r| r.get(name));
        let read = again.or(poll.switches.get(&id.switch)).copied().filter(|_| understood.is_some());
        // What rests on the switch alone was seen in every read but those of a port in transition, which count for
        // nothing.
        let first = left.filter(|_| two_sided && last == is).map(|l| l.since).or(read);

        let base = match (two_sided, blind) {
            (true, Some(b)) => b.seen,
            (true, None) => reads.seen,
            (false, _) => match held {
                Held::At(_, read) => Some(read.seq),
                Held::Nothing => None,
                Held::Free => last_read.map(|r| r.seq),
            },
        };
        let mut moves = Moves::new(base);
        let by_base = base.map(|seq| Read { seq, window: poll_window(poll) });
        let ended = |w: Option<Window>| w.map_or(poll.ended, |w| w.ended);
        let (reader, identity) =
            changed(&track.source, switch.filter(|_| read.is_some()).map(|s| &s.source), by_base);
        moves.parts.push(Part {
            side: Mover::Switch,
            moved: observed_concern(kind, was, vlans) != observed_concern(kind, is, vlans),
            base: was_read,
            first: ended(first),
            end: ended(read),
            reader,
            identity,
        });

        // The cloud manager's side: what is declared on the port and on the ports bundled into it.
        let group: BTreeSet<&str> = ports.map_or_else(|| [name].into(), |p| p.group(name));
        let declared = facts.declared.as_ref();
        let now = declared.and_then(|d| d.ports.get(&id.switch));
        let manager_base = self.manager_read().map(|r| r.window);
        let manager_now = declared.is_some().then_some(poll.manager);
        let (mut was_all, mut is_all, mut since, mut until) = (Vec::new(), Vec::new(), None, None);
        for g in &group {
            let last = track.declared.get(*g).unwrap_or(UNDECLARED);
            let left = track.departed.get(*g).and_then(|d| d.declared.as_ref());
            let was = left.map_or(last, |l| &l.base);
            let is =
                if declared.is_some() { now.and_then(|n| n.get(*g)).unwrap_or(UNDECLARED) } else { last };
            if was != is {
                let (from, to) = match left {
                    Some(l) if last == is => (l.read, Some(l.since)),
                    Some(l) => (l.read, manager_now),
                    None => (manager_base, manager_now),
                };
                since = earlier(since, Some(from));
                until = later(until, to);
            }
            was_all.push(was);
            is_all.push(is);
        }
        let (was_all, is_all) = (together(was_all.into_iter()), together(is_all.into_iter()));
        if two_sided {
            let (reader, identity) =
                changed(&self.manager.source, declared.is_some().then_some(&facts.manager), by_base);
            let end = ended(manager_now);
            moves.parts.push(Part {
                side: Mover::Declaration,
                moved: declared_concern(kind, &was_all, vlans) != declared_concern(kind, &is_all, vlans),
                base: since.unwrap_or(manager_base),
                first: until.map_or(end, |w: Window| w.ended),
                end,
                reader,
                identity,
            });
        }
        moves.parts.push(self.vlans_part(vlans, base, poll));

        // The scope's.
        let last = track.scope.get(name).unwrap_or(UNMENTIONED);
        let left = departed.and_then(|d| d.scope.as_ref()).filter(|_| two_sided);
        let was_allowed = left.map_or(last, |l| &l.base);
        let is_allowed = facts.allowance(id).unwrap_or(UNMENTIONED);
        let head = self.head.as_ref().map(|h| moment(h.started));
        // Looked at again, after the operator had it looked away from.
        let back = blind.is_some_and(|b| b.blind.why == Why::OutOfScope)
            || track
                .source
                .gaps
                .iter()
                .any(|g| g.why == Why::OutOfScope && base.is_some_and(|b| g.first > b));
        let differs = scope_concern(kind, was_allowed, vlans) != scope_concern(kind, is_allowed, vlans);
        moves.parts.push(Part {
            side: Mover::Scope,
            moved: differs || back,
            base: left.filter(|_| differs).map_or(head, |l| l.read),
            first: left.filter(|_| last == is_allowed).map_or(poll.started, |l| l.since.ended),
            end: poll.started,
            reader: false,
            identity: false,
        });

        let declared_since = since.unwrap_or(manager_base);
        moves.before =
            base.map(|_| PortView::new(was, was_read, was_all, declared_since.filter(|_| two_sided)));
        let declared_first = until.or(manager_now).filter(|_| two_sided);
        moves.now = Some(PortView::new(is, first, is_all, declared_first));
        moves
    }

    // Whether networks of the VLANs came or went since the base. In a poll that did not read the cloud manager, what
    // was declared last holds.
    fn vlans_part(&self, vlans: &VlanSet, base: Option<u64>, poll: &PollFacts) -> Part {
        let declared = poll.facts.declared.as_ref();
        let last = self.manager_read().map(|r| r.window);
        let (mut since, mut until) = (None, None);
        for v in vlans.iter() {
            let known = self.manager.vlans.get(&v);
            let was = known.is_some_and(|k| k.declared);
            let (from, to) = match (declared, known) {
                (Some(d), _) if d.vlans.contains_key(&v) != was => (last, poll.manager),
                (_, Some(k)) if base.is_some_and(|seq| k.since > seq) => (k.before, k.read),
                _ => continue,
            };
            since = earlier(since, Some(from));
            until = later(until, Some(to));
        }
        let by_base = base.map(|seq| Read { seq, window: poll_window(poll) });
        let now = declared.map(|_| &poll.facts.manager);
        let (reader, identity) = changed(&self.manager.source, now, by_base);
        // Not read, it adds nothing to the reads of this poll.
        let end = now.map_or(poll.started, |_| poll.manager.ended);
        Part {
            side: Mover::Declaration,
            moved: since.is_some(),
            base: since.unwrap_or(last),
            first: until.map_or(end, |w: Window| w.ended),
            end,
            reader,
            identity,
        }
    }

    fn unreadable_port(&self, id: &PortId, poll: &PollFacts) -> Moves {
        let read = self.reads(&id.switch).and_then(|r| r.port(&id.port));
        self.own_reading(&id.switch, read, poll)
    }

    // A finding about the reading of a switch, or of a part of it that was last read in `base`.
    fn own_reading(&self, switch: &str, base: Option<Read>, poll: &PollFacts) -> Moves {
        let now = poll.facts.switches.get(switch);
        let source = self.switches.get(switch).map(|t| &t.source);
        let end = poll.switches.get(switch).map_or(poll.ended, |w| w.ended);
        let (reader, _) = source.map_or((false, false), |s| changed(s, now.map(|n| &n.source), base));
        let failure = now.and_then(|n| n.source.failure);
        let back =
            source.and_then(|s| s.gaps.last()).is_some_and(|g| g.why == Why::OutOfScope && g.to == end);
        let mut moves = Moves::new(base.map(|r| r.seq));
        moves.reading = Some(match failure {
            None if back => Cause::ScopeChanged,
            _ if base.is_none() => Cause::Blind,
            Some(Failure::SourceChanged) => Cause::SourceChanged,
            _ if reader => Cause::ReaderChanged,
            _ => Cause::Reading,
        });
        moves.parts.push(Part {
            side: Mover::Switch,
            moved: false,
            base: base.map(|r| r.window),
            first: end,
            end,
            reader,
            identity: false,
        });
        moves
    }

    fn switch(&self, switch: &str, finding: FindingKind, vlans: &VlanSet, poll: &PollFacts) -> Moves {
        let Some(now) = poll.facts.switches.get(switch) else {
            let track = self.switches.get(switch);
            let dropped = track.is_some_and(|t| t.source.blind.is_none_or(|b| b.why != Why::OutOfScope));
            return match &self.head {
                Some(head) if dropped && head.switches.contains_key(switch) => {
                    let mut moves = Moves::new(Some(head.seq));
                    moves.parts.push(Part {
                        side: Mover::Scope,
                        moved: true,
                        base: Some(moment(head.started)),
                        first: poll.started,
                        end: poll.started,
                        reader: false,
                        identity: false,
                    });
                    moves
                }
                // Nobody audits it; attachments there come and go with the declaration.
                _ => self.declaration(self.manager_read(), poll),
            };
        };
        let is = now.source.failure.map(finding_of);
        // How it was met before, where it was met in vain then and now.
        let blind = self.switches.get(switch).and_then(|t| t.source.blind);
        let was = blind.map(|b| match b.why {
            Why::Silent | Why::OutOfScope => FindingKind::Silent,
            Why::Unreadable | Why::SourceChanged | Why::InTransition => FindingKind::Unreadable,
        });
        if is == Some(finding) && was == is {
            // Found or gone although the switch is met as before: other networks are concerned.
            return self.concern(switch, vlans, poll);
        }
        let base = self.reads(switch).and_then(|r| {
            let tried = r.tried.zip(self.head.as_ref()).map(|(window, h)| Read { seq: h.seq, window });
            // Silent after having been misunderstood: until then it answered.
            if was.is_some() && is == Some(finding) { tried.or(r.read) } else { r.read }
        });
        self.own_reading(switch, base, poll)
    }

    fn class(
        &self,
        switch: &str,
        class: BypassClass,
        finding: FindingKind,
        vlans: &VlanSet,
        poll: &PollFacts,
    ) -> Moves {
        let empty = SwitchTrack::default();
        let track = self.switches.get(switch).unwrap_or(&empty);
        let stale = track.stale.get(&class);
        let last = match stale {
            Some(read) => *read,
            None => self.reads(switch).and_then(|r| r.read),
        };
        let ports = poll.facts.switches.get(switch).and_then(|s| s.ports.as_ref());
        if finding != FindingKind::Bypass {
            let unread = ports.is_some_and(|p| p.unread.contains(&class));
            return match stale.is_some() == unread && last.is_some() {
                true => self.concern(switch, vlans, poll),
                false => self.own_reading(switch, last, poll),
            };
        }
        let clean = VlanSet::empty();
        let was = track.dirty.get(&class).unwrap_or(&clean).intersection(vlans);
        let is = ports.and_then(|p| p.dirty.get(&class)).unwrap_or(&clean).intersection(vlans);
        if was == is && last.is_some() {
            return self.concern(switch, vlans, poll);
        }
        let mut moves = Moves::new(last.map(|r| r.seq));
        let end = poll.switches.get(switch).map_or(poll.ended, |w| w.ended);
        let now = poll.facts.switches.get(switch).map(|s| &s.source);
        let (reader, identity) = changed(&track.source, now, last);
        moves.parts.push(Part {
            side: Mover::Switch,
            moved: true,
            base: last.map(|r| r.window),
            first: end,
            end,
            reader,
            identity,
        });
        moves
    }

    // A switch is met as before, but other networks reach it: a port there began or ceased to carry them, or to be
    // declared to.
    fn concern(&self, switch: &str, vlans: &VlanSet, poll: &PollFacts) -> Moves {
        let mut names: BTreeSet<&str> = BTreeSet::new();
        if let Some(t) = self.switches.get(switch) {
            names.extend(t.observed.keys().chain(t.declared.keys()).map(String::as_str));
        }
        let facts = &poll.facts;
        if let Some(p) = facts.switches.get(switch).and_then(|s| s.ports.as_ref()) {
            names.extend(p.carried.keys().map(String::as_str));
        }
        if let Some(d) = facts.declared.as_ref().and_then(|d| d.ports.get(switch)) {
            names.extend(d.keys().map(String::as_str));
        }
        let base = self.manager_read().map(|r| r.seq);
        let mut moves = Moves::new(base);
        moves.parts.extend(Some(self.vlans_part(vlans, base, poll)).filter(|p| p.moved));
        for name in names {
            let port = self.port(&PortId::new(switch, name), FindingKind::InTransition, vlans, poll);
            moves.parts.extend(port.parts.into_iter().filter(|p| p.moved));
        }
        if moves.parts.is_empty() {
            // Or nobody knows any more where the network ends, or somebody does again: a move elsewhere.
            let mut part = self.declaration_part(self.manager_read(), poll);
            part.moved = facts.declared.as_ref().is_some_and(|d| d.digest != self.manager.declarations);
            moves.parts.push(part);
        }
        // The switch, met as before.
        let end = poll.switches.get(switch).map_or(poll.ended, |w| w.ended);
        let base = self.reads(switch).and_then(|r| r.read).map(|r| r.window);
        moves.parts.push(Part {
            side: Mover::Switch,
            moved: false,
            base,
            first: end,
            end,
            reader: false,
            identity: false,
        });
        moves
    }

    fn manager_moves(&self, poll: &PollFacts) -> Moves {
        let base = self.manager_read();
        let mut moves = Moves::new(base.map(|r| r.seq));
        let mut part = self.declaration_part(base, poll);
        part.moved = false;
        moves.reading = Some(match poll.facts.manager.failure {
            _ if base.is_none() => Cause::Blind,
            Some(Failure::SourceChanged) => Cause::SourceChanged,
            _ if part.reader => Cause::ReaderChanged,
            _ => Cause::Reading,
        });
        moves.parts.push(part);
        moves
    }
}

/// When what passed at a place was there, as its switch claims.
fn claimed(key: &Key, poll: &PollFacts) -> Option<Claim> {
    let id = key.place.port().filter(|_| key.passed)?;
    poll.facts.switches.get(&id.switch)?.ports.as_ref()?.between.get(&id.port).copied()
}

/// Whether reader and identity of a source changed since the poll of `base`. `now` is `None` when it was not read.
fn changed(track: &SourceTrack, now: Option<&SourceFacts>, base: Option<Read>) -> (bool, bool) {
    let Some(base) = base else { return (false, false) };
    let reader = now.is_some_and(|n| n.reader != track.reader) || track.reader_since > base.seq;
    let identity = now.is_some_and(|n| n.identity != track.identity) || track.identity_since > base.seq;
    (reader, identity)
}

/// The scope's window in a poll: it is known without reading, when the poll starts.
pub(super) fn moment(started: Timestamp) -> Window {
    Window { started, ended: started }
}

fn poll_window(poll: &PollFacts) -> Window {
    Window { started: poll.started, ended: poll.ended }
}

// The read that started earlier; no read at all is earliest.
fn earlier(a: Option<Option<Window>>, b: Option<Option<Window>>) -> Option<Option<Window>> {
    match (a, b) {
        (Some(a), Some(b)) => Some(match (a, b) {
            (Some(a), Some(b)) => Some(if a.started <= b.started { a } else { b }),
            _ => None,
        }),
        (a, b) => a.or(b),
    }
}

// The read that ended later.
fn later(a: Option<Window>, b: Option<Window>) -> Option<Window> {
    a.into_iter().chain(b).max_by_key(|w| w.ended)
}

/// Whether two extents cover the same.
pub(super) fn grows(d: &Divergence, extent: &Extent) -> bool {
    d.vlans != extent.vlans || !extent.networks.is_subset(&d.networks)
}
