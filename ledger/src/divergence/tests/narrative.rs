//! Stories told poll by poll, and what must come of them.
//!
//! A line is one poll: `SECONDS: DECLARED | SWITCH | SCOPE`. The cloud manager is read for one second, then switch
//! `s` (and `u`, if it has ports) for one second, then the ports named by `again:` for one second; each poll lasts
//! three. Networks `red` (VLAN 100) and `blue` (200) are always declared, ports p1 to p3 of `s` always registered.
//!
//! - declared: `p1:red` tagged, `p1:red*` native, `p1:red~` by a node that is free; `+green` declares VLAN 300, `+twin`
//!   another network on VLAN 100; `silent`; `cached`: the last reading is used again; `reader/2`.
//! - switch: `p1=100,200`, `p1=100*` untagged, `p1=all`, `p1=down:100`, `p1=?` not understood, `p3>bond` a member;
//!   `u.q9=100*`; `silent`, `garbled`, `impostor`; `reader/2`, `id/b`; `dirty:flows`, `unread:flows`; `again:p1`,
//!   `moving:p1`.
//! - scope: `exit:p3=300`, `unassessed:p2`, `link` between `s p9` and `u q9` for VLAN 100, `gone`: `s` left the scope.

use super::super::{Change, Divergence, Divergences, FactsMaker, FoldError, Gap, PollFacts, Query, Why};
use super::scene::{Scene, SwitchScene, names, observed, port, t, vlan, window};
use crate::projection::{Projection, ProjectionError};
use isoledger_core::content::MovingPort;
use isoledger_core::judge::{FindingKind, Verdict};
use isoledger_core::model::{
    Access, Attachment, BypassClass, BypassReading, Cable, Channel, Declared, Exit, ExitKind, Failure, Link,
    Network, NetworkVlan, Observed, Owner, PortId, PortReading, PortState, Scope, ScopeSwitch, Unassessed,
};
use isoledger_core::{Span, Timestamp, VlanSet};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

#[derive(Default)]
struct Teller {
    seq: u64,
    moving: Vec<MovingPort>,
    last: Option<(Arc<Declared>, isoledger_core::model::Window)>,
    maker: FactsMaker,
}

fn id(name: &str) -> PortId {
    match name.split_once('.') {
        Some((switch, port)) => PortId::new(switch, port),
        None => PortId::new("s", name),
    }
}

fn network(v: u16) -> Network {
    Network {
        vlan: NetworkVlan::Id(vlan(v)),
        owner: Owner::Admin,
        access: Access::Projects(names(&["someone"])),
    }
}

impl Teller {
    fn declared(&self, words: &[&str]) -> Declared {
        let mut d = Declared::default();
        d.networks.insert("red".into(), network(100));
        d.networks.insert("blue".into(), network(200));
        for p in ["p1", "p2", "p3"] {
            d.registered.insert(id(p));
            d.cabling.insert(Cable { port: id(p), node: format!("n-{p}"), nic: "eth0".into() });
        }
        for word in words {
            match *word {
                "+green" => drop(d.networks.insert("green".into(), network(300))),
                "+twin" => drop(d.networks.insert("twin".into(), network(100))),
                "silent" | "cached" | "reader/2" => {}
                _ => {
                    let (port, rest) = word.split_once(':').unwrap();
                    let name = rest.trim_end_matches(['*', '~']);
                    let NetworkVlan::Id(v) = d.networks[name].vlan else { panic!("{word}") };
                    d.attachments.insert(Attachment {
                        network: name.into(),
                        project: (!rest.contains('~')).then(|| "someone".into()),
                        node: format!("n-{port}"),
                        nic: "eth0".into(),
                        mac: None,
                        port: Some(id(port)),
                        channel: if rest.contains('*') { Channel::Native } else { Channel::Tagged(v) },
                    });
                }
            }
        }
        d
    }

    fn tell(&mut self, line: &str) -> PollFacts {
        let (at, rest) = line.trim().split_once(": ").unwrap_or_else(|| panic!("{line:?}"));
        let at: u64 = at.parse::<u64>().unwrap() * 1000;
        let parts: Vec<Vec<&str>> = rest.split('|').map(|p| p.split_whitespace().collect()).collect();
        let part = |i: usize| parts.get(i).cloned().unwrap_or_default();
        let (said, did, scoped) = (part(0), part(1), part(2));
        self.seq += 1;
        let (declared, read) = match (&self.last, said.contains(&"cached") || said.contains(&"silent")) {
            (Some(last), true) => last.clone(),
            _ => (Arc::new(self.declared(&said)), window(at, at + 1000)),
        };
        self.last = Some((declared.clone(), read));

        let mut ports: BTreeMap<&str, BTreeMap<String, PortReading>> =
            BTreeMap::from([("s", BTreeMap::new())]);
        let mut bypasses: Vec<(BypassClass, BypassReading)> = Vec::new();
        let (mut rereads, mut moving) = (Vec::new(), Vec::new());
        let (mut failure, mut reader, mut identity) = (None, 1, None);
        for word in &did {
            if let Some((name, what)) = word.split_once('=') {
                let at = id(name);
                let switch = if at.switch == "u" { "u" } else { "s" };
                ports.entry(switch).or_default().insert(at.port, reading(what));
            } else if let Some((member, bundle)) = word.split_once('>') {
                let state = PortState { aggregate: Some(bundle.into()), ..PortState::default() };
                ports.entry("s").or_default().insert(member.into(), PortReading::Read(state));
            } else if let Some((what, arg)) = word.split_once([':', '/']) {
                let class = || BypassClass::from_name(arg).unwrap();
                match what {
                    "dirty" => {
                        let dirty = BypassReading::Dirty { vlans: VlanSet::all(), detail: String::new() };
                        bypasses.push((class(), dirty));
                    }
                    "unread" => bypasses.push((class(), BypassReading::NotRead { why: String::new() })),
                    "again" => rereads.push(("s".to_owned(), arg.to_owned(), window(at + 2000, at + 3000))),
                    "moving" => {
                        let before = self.moving.iter().find(|m| m.port == id(arg));
                        let polls = before.map_or(1, |m| m.polls + 1);
                        let since = before.map_or(t(at), |m| m.since);
                        moving.push(MovingPort { port: id(arg), polls, since });
                    }
                    "reader" => reader = arg.parse().unwrap(),
                    "id" => identity = Some(arg.to_owned()),
                    _ => panic!("{word:?}"),
                }
            } else {
                failure = Some(match *word {
                    "silent" => Failure::Silent,
                    "garbled" => Failure::Unreadable,
                    "impostor" => Failure::SourceChanged,
                    _ => panic!("{word:?}"),
                });
            }
        }
        self.moving = moving;
        let bundles: Vec<(String, String)> = ports["s"]
            .iter()
            .filter_map(|(m, r)| match r {
                PortReading::Read(PortState { aggregate: Some(b), .. }) => Some((b.clone(), m.clone())),
                _ => None,
            })
            .collect();
        for (bundle, member) in bundles {
            if let Some(PortReading::Read(s)) = ports.get_mut("s").unwrap().get_mut(&bundle) {
                s.members.insert(member);
            }
        }
        let scope = Arc::new(scope(&scoped, ports.contains_key("u")));
        let switches =
            ports.into_iter().filter(|(name, _)| scope.switches.contains_key(*name)).map(|(name, ports)| {
                let mut o: Observed = observed(ports);
                o.bypasses.extend(bypasses.clone());
                let scene = SwitchScene {
                    outcome: failure.filter(|_| name == "s").map_or(Ok(Arc::new(o)), Err),
                    window: window(at + 1000, at + 2000),
                    reader,
                    identity: identity.clone(),
                };
                (name.to_owned(), scene)
            });
        let scene = Scene {
            seq: self.seq,
            started: at,
            ended: at + 3000,
            declared,
            manager: read,
            manager_failure: said.contains(&"silent").then_some(Failure::Silent),
            manager_reader: if said.contains(&"reader/2") { 2 } else { 1 },
            switches: switches.collect(),
            moving: self.moving.clone(),
            rereads,
            scope,
        };
        self.maker.facts(&scene.state()).unwrap()
    }
}

fn reading(what: &str) -> PortReading {
    let down = what.starts_with("down:");
    let mut state = match what.trim_start_matches("down:") {
        "?" => return PortReading::Unreadable { might_carry: VlanSet::all(), why: "garbage".into() },
        "" => PortState::default(),
        "all" => port(None, VlanSet::all()),
        list => {
            let (untagged, tagged): (Vec<&str>, Vec<&str>) = list.split(',').partition(|v| v.ends_with('*'));
            let number = |v: &&str| v.trim_end_matches('*').parse::<u16>().unwrap();
            port(untagged.first().map(number), tagged.iter().map(|v| vlan(number(v))).collect())
        }
    };
    state.admin_down = Some(down);
    PortReading::Read(state)
}

fn scope(words: &[&str], second: bool) -> Scope {
    let mut scope = Scope { domain: "moc".into(), ..Scope::default() };
    scope.switches.insert("s".into(), ScopeSwitch::default());
    if second {
        scope.switches.insert("u".into(), ScopeSwitch::default());
    }
    for word in words {
        if let Some((port, vlans)) = word.strip_prefix("exit:").and_then(|w| w.split_once('=')) {
            let vlans = VlanSet::parse(vlans).unwrap();
            scope.exits.push(Exit { name: "core".into(), kind: ExitKind::Router, port: id(port), vlans });
        } else if let Some(port) = word.strip_prefix("unassessed:") {
            scope.unassessed.push(Unassessed { port: id(port), reason: "spare".into() });
        } else if *word == "link" {
            scope.links.push(Link { a: id("p9"), b: id("u.q9"), vlans: VlanSet::one(vlan(100)) });
        } else if *word == "gone" {
            scope.switches.remove("s");
        } else {
            panic!("{word:?}");
        }
    }
    scope
}

fn fold(story: &str) -> Divergences {
    let mut teller = Teller::default();
    let mut all = Divergences::new();
    for line in story.lines().filter(|l| !l.trim().is_empty()) {
        all.push(&teller.tell(line)).unwrap();
    }
    all
}

fn seconds(time: Timestamp) -> String {
    (time.millis() / 1000).to_string()
}

fn change(c: &Change) -> String {
    let gap = |g: &Gap| {
        let why = match g.why {
            Why::Silent => "silent",
            Why::Unreadable => "unreadable",
            Why::SourceChanged => "source-changed",
            Why::InTransition => "in-transition",
            Why::OutOfScope => "out-of-scope",
        };
        format!(" [{} {why} {}..{} x{}]", g.of, g.from.map_or("-".into(), seconds), seconds(g.to), g.polls)
    };
    let gaps: String = c.gaps.iter().map(gap).collect();
    format!("({},{}] {}{gaps}", c.after.map_or("-".into(), seconds), seconds(c.by), c.cause)
}

fn describe(d: &Divergence) -> String {
    let mut text = format!("{} {} {{{}}} {}", d.finding(), d.place(), d.ever, change(&d.onset));
    if let Some(u) = d.unconfirmed {
        text +=
            &format!("; not confirmed since poll {} ({}..{})", u.seq, seconds(u.started), seconds(u.ended));
    }
    if let Some(c) = &d.closed {
        text += &format!("; closed {}", change(c));
    }
    text
}

fn expect(story: &str, expected: &[&str]) {
    let all = fold(story);
    let told: Vec<String> = all.all().iter().map(describe).collect();
    assert_eq!(told, expected, "{story}");
}

#[test]
fn one_side_moves() {
    expect(
        "10: p1:red | p1=100
         20: p1:red | p1=100 p2=100
         30: p1:red | p1=100 p2=100
         40: p1:red | p1=100",
        &["foreign-port port s p2 {100} (11,22] switch-moved; closed (30,42] switch-moved"],
    );
    expect(
        "10: p1:red | p1=100
         20: p1:red p3:red | p1=100
         30: p1:red p3:red | p1=100 p3=100",
        &["missing-port port s p3 {100} (10,22] declaration-moved; closed (20,32] switch-moved"],
    );
    // The switch dropped what the manager had declared, then the manager gave in.
    expect(
        "10: p1:red | p1=100
         20: p1:red | p1=200,100
         30: p1:red p1:blue | p1=200,100",
        &["foreign-port port s p1 {200} (11,22] switch-moved; closed (20,31] declaration-moved"],
    );
    expect(
        "10: p1:red | p1=100
         20: p1:red | p1=100*",
        &["wrong-tagging port s p1 {100} (11,22] switch-moved"],
    );
    // A change on the other side that has nothing to do with it does not count.
    expect(
        "10: p1:red | p1=100
         20: p1:red p1:blue | p1=100,200 p3=200
         30: p1:red | p1=100,200 p3=200",
        &[
            "foreign-port port s p3 {200} (11,22] switch-moved",
            "foreign-port port s p1 {200} (20,32] declaration-moved",
        ],
    );
}

#[test]
fn both_sides_move_in_one_gap() {
    expect(
        "10: p1:red | p1=
         20: | p1=100",
        &[
            "missing-port port s p1 {100} (-,12] blind; closed (10,22] both",
            "foreign-port port s p1 {100} (10,22] both",
        ],
    );
}

#[test]
fn the_first_poll_disagrees() {
    expect("10: | p1=100", &["foreign-port port s p1 {100} (-,12] blind"]);
    // So does the first one that reads the switch; and the first that reads the manager.
    expect(
        "10: | silent
         20: | p1=100",
        &[
            "silent switch s {100,200} (-,12] blind; closed (11,22] blind",
            "foreign-port port s p1 {100} (-,22] blind [switch s silent -..22 x1]",
        ],
    );
}

#[test]
fn reads_that_failed_widen_the_interval_and_are_named() {
    expect(
        "10: p1:red | p1=100
         20: p1:red | silent
         30: p1:red | silent
         40: p1:red | p1=100 p2=100",
        &[
            "silent switch s {100,200} (11,22] reading; closed (31,42] reading",
            "foreign-port port s p2 {100} (11,42] switch-moved [switch s silent 11..42 x2]",
        ],
    );
    // Only reads of the side that moved count: the declaration was read all the time.
    expect(
        "10: p1:red | p1=100
         20: p1:red | silent
         30: p1:red p3:red | p1=100",
        &[
            "silent switch s {100,200} (11,22] reading; closed (21,32] reading",
            "missing-port port s p3 {100} (20,32] declaration-moved [switch s silent 11..32 x1]",
        ],
    );
    expect(
        "10: p1:red | p1=100
         20: p1:red p3:red | silent
         30: p1:red p3:red | p1=100",
        &[
            "silent switch s {100,200} (11,22] reading; closed (21,32] reading",
            "missing-port port s p3 {100} (10,32] declaration-moved [switch s silent 11..32 x1]",
        ],
    );
    // The switch moves while the manager is silent.
    expect(
        "10: p1:red | p1=100
         20: silent | p1=100 p2=100
         30: silent | p1=100 p2=100
         40: p1:red | p1=100 p2=100",
        &[
            "silent the cloud manager {100,200} (10,23] reading; closed (30,41] reading",
            "foreign-port port s p2 {100} (11,42] switch-moved [the cloud manager silent 10..41 x2]",
        ],
    );
    // Understood one by one: a port.
    expect(
        "10: p1:red | p1=100
         20: p1:red | p1=100 p2=?
         30: p1:red | p1=100 p2=100",
        &[
            "unreadable port s p2 {100,200} (11,22] reading; closed (21,32] reading",
            "foreign-port port s p2 {100} (11,32] switch-moved [port s p2 unreadable 10..32 x1]",
        ],
    );
    // No polls for a while leave no gap, only a wide interval.
    expect(
        "10: p1:red | p1=100
         900: p1:red | p1=100 p2=100",
        &["foreign-port port s p2 {100} (11,902] switch-moved"],
    );
}

#[test]
fn the_sides_show_when_each_moved() {
    let all = fold(
        "10: p1:red | p1=100
         20: silent | p1=100 p2=100
         30: silent | p1=100 p2=100
         40: p1:red | p1=100 p2=100
         50: p1:red | p1=100",
    );
    let d = all.find(Query { port: Some("p2".into()), ..Query::default() }).next().unwrap();
    let sides = d.sides.as_ref().unwrap();
    let before = sides.before.as_ref().unwrap();
    assert_eq!(before.carried.vlans(), VlanSet::empty());
    assert_eq!(before.carried_read, Some(window(11_000, 12_000)));
    assert_eq!(sides.opened.carried.vlans(), VlanSet::one(vlan(100)));
    // First seen by the poll at 20, although nobody could tell what it meant until 40.
    assert_eq!(sides.opened.carried_read, Some(window(21_000, 22_000)));
    assert_eq!(sides.opened.declared_read, Some(window(40_000, 41_000)));
    assert!(sides.opened.declared.registered && sides.opened.declared.attachments.is_empty());
    assert_eq!(sides.closed.as_ref().unwrap().carried.vlans(), VlanSet::empty());
}

#[test]
fn silence_neither_confirms_nor_closes() {
    expect(
        "10: p1:red | p1=100
         20: p1:red | p1=100 p2=100
         30: p1:red | silent",
        &[
            "foreign-port port s p2 {100} (11,22] switch-moved; not confirmed since poll 2 (20..23)",
            "silent switch s {100,200} (21,32] reading",
        ],
    );
    expect(
        "10: p1:red | p1=100
         20: p1:red | p1=100 p2=100
         30: p1:red | silent
         40: p1:red | p1=100 p2=100
         50: p1:red | p1=100",
        &[
            "foreign-port port s p2 {100} (11,22] switch-moved; closed (40,52] switch-moved",
            "silent switch s {100,200} (21,32] reading; closed (31,42] reading",
        ],
    );
    expect(
        "10: p1:red | p1=100
         20: p1:red | p1=100 p2=100
         30: p1:red | silent
         40: p1:red | p1=100",
        &[
            "foreign-port port s p2 {100} (11,22] switch-moved; closed (20,42] switch-moved \
             [switch s silent 21..42 x1]",
            "silent switch s {100,200} (21,32] reading; closed (31,42] reading",
        ],
    );
    expect(
        "10: p1:red | p1=100
         20: p1:red | garbled
         30: p1:red | silent
         40: p1:red | impostor",
        &[
            "unreadable switch s {100,200} (11,22] reading; closed (21,32] reading",
            "silent switch s {100,200} (21,32] reading; closed (31,42] source-changed",
            "unreadable switch s {100,200} (31,42] source-changed",
        ],
    );
}

#[test]
fn a_declaration_read_long_ago_counts_from_then() {
    expect(
        "10: p1:red | p1=100
         20: cached | p1=100 p2=100
         30: p1:red p2:red | p1=100 p2=100",
        &["foreign-port port s p2 {100} (11,22] switch-moved; closed (11,31] declaration-moved"],
    );
    // Read again in that poll, it was confirmed then.
    expect(
        "10: p1:red | p1=100
         20: cached | p1=100 p2=100 again:p2
         30: p1:red p2:red | p1=100 p2=100",
        &["foreign-port port s p2 {100} (11,23] switch-moved; closed (20,31] declaration-moved"],
    );
    expect(
        "10: p1:red | p1=100
         20: cached | p1=100
         30: cached | p1=100
         40: p1:red p3:red | p1=100",
        &["missing-port port s p3 {100} (10,42] declaration-moved"],
    );
}

#[test]
fn another_reader_is_no_witness() {
    expect(
        "10: p1:red | p1=100
         20: p1:red | reader/2 p1=100 p2=100
         30: p1:red | reader/2 p1=100 p2=100,200",
        &["foreign-port port s p2 {100,200} (-,22] reader-changed"],
    );
    // It changed while the switch agreed: later moves are moves.
    expect(
        "10: p1:red | p1=100
         20: p1:red | reader/2 p1=100
         30: p1:red | reader/2 p1=100 p2=100",
        &["foreign-port port s p2 {100} (21,32] switch-moved"],
    );
    // And the other side's moves are not ours.
    expect(
        "10: p1:red | p1=100
         20: p1:red p3:red | reader/2 p1=100",
        &["missing-port port s p3 {100} (10,22] declaration-moved"],
    );
    expect(
        "10: p1:red | p1=100
         20: reader/2 p1:red p3:red | p1=100",
        &["missing-port port s p3 {100} (-,22] reader-changed"],
    );
    expect(
        "10: p1:red | id/a p1=100
         20: p1:red | id/b p1=100 p2=100",
        &["foreign-port port s p2 {100} (11,22] source-changed"],
    );
    // Not read with the new one before.
    expect(
        "10: p1:red | id/a p1=100
         20: p1:red | id/b p1=100
         30: p1:red | id/b p1=100 p2=100",
        &["foreign-port port s p2 {100} (21,32] switch-moved"],
    );
}

#[test]
fn the_operator_moves() {
    expect(
        "10: p1:red | p1=100 p3=100 | exit:p3=100
         20: p1:red | p1=100 p3=100
         30: p1:red | p1=100 p3=100 | exit:p3=100",
        &["foreign-port port s p3 {100} (10,22] scope-changed; closed (20,30] scope-changed"],
    );
    expect(
        "10: p1:red | p1=100
         20: p1:red | p1=100 p2=100
         30: p1:red | p1=100 p2=100 | unassessed:p2
         40: p1:red | p1=100 p2=100",
        &[
            "foreign-port port s p2 {100} (11,22] switch-moved; closed (20,30] scope-changed",
            "foreign-port port s p2 {100} (30,42] scope-changed [port s p2 out-of-scope 20..42 x1]",
        ],
    );
    // Both the operator and the switch moved.
    expect(
        "10: p1:red | p1=100
         20: p1:red | p1=100 p2=200 | unassessed:p2
         30: p1:red | p1=100 p2=200",
        &["foreign-port port s p2 {200} (11,32] both [port s p2 out-of-scope 10..32 x1]"],
    );
    expect(
        "10: p1:red | p1=100 p2=100
         20: p1:red | | gone
         30: p1:red | p1=100 p2=100",
        &[
            "foreign-port port s p2 {100} (-,12] blind; closed (10,20] scope-changed",
            "silent switch s {100} (10,20] scope-changed; closed (20,32] scope-changed",
            "foreign-port port s p2 {100} (20,32] scope-changed [switch s out-of-scope 11..32 x1]",
        ],
    );
    expect(
        "10: p1:red | p1=100
         20: p1:red | p1=100 p2=100
         30: p1:red | | gone",
        &[
            "foreign-port port s p2 {100} (11,22] switch-moved; closed (20,30] scope-changed",
            "silent switch s {100} (20,30] scope-changed",
        ],
    );
}

#[test]
fn a_change_in_progress_is_excused_for_a_while() {
    expect(
        "10: p1:red | p1=100
         20: p1:red p3:red | p1=100 moving:p3
         30: p1:red p3:red | p1=100 p3=100",
        &["in-transition port s p3 {100} (10,22] reading; closed (20,32] reading"],
    );
    expect(
        "10: p1:red | p1=100
         20: p1:red p3:red | p1=100 moving:p3
         30: p1:red p3:red | p1=100 moving:p3
         40: p1:red p3:red | p1=100 moving:p3
         50: p1:red p3:red | p1=100 moving:p3",
        &[
            "in-transition port s p3 {100} (10,22] reading; closed (40,52] reading",
            "missing-port port s p3 {100} (10,52] declaration-moved [port s p3 in-transition 10..52 x3]",
        ],
    );
}

#[test]
fn networks_come_and_go() {
    expect(
        "10: p1:red | p1=100 p3=300
         20: p1:red +green | p1=100 p3=300
         30: p1:red | p1=100 p3=300",
        &["foreign-port port s p3 {300} (10,22] declaration-moved; closed (20,31] declaration-moved"],
    );
    // Gone while the switch was silent.
    expect(
        "10: p1:red +green | p1=100
         20: p1:red +green | p1=100 p3=300
         30: p1:red | silent
         40: p1:red | p1=100 p3=300",
        &[
            "foreign-port port s p3 {300} (11,22] switch-moved; closed (20,31] declaration-moved \
             [switch s silent 21..42 x1]",
            "silent switch s {100,200} (21,32] reading; closed (31,42] reading",
        ],
    );
    expect(
        "10: p1:red | p1=100
         20: p1:red +twin | p1=100
         30: p1:red | p1=100",
        &[
            "shared-vlan network red {100} (10,21] declaration-moved; closed (20,31] declaration-moved",
            "shared-vlan network twin {100} (10,21] declaration-moved; closed (20,31] declaration-moved",
        ],
    );
    expect(
        "10: p1:red | p1=100
         20: p1:red~ | p1=100
         30: p1:red | p1=100",
        &[
            "foreign-member nic eth0 of node n-p1 {100} (10,21] declaration-moved; closed (20,31] declaration-moved",
        ],
    );
}

#[test]
fn a_switch_is_silent_for_a_network_that_came_to_it() {
    // Red ends at p1 of `s` and has nothing to do with `u`, until nobody knows where it ends.
    expect(
        "10: p1:red p2:blue | p1=100 p2=200 u.q9=
         20: p1:red p2:blue | silent p1=100 p2=200 u.q9=
         30: p1:red p2:blue p3:blue | silent u.q9=
         40: p1:red p2:blue p3:blue +green | silent u.q9=",
        &["silent switch s {100,200,300} (11,22] reading"],
    );
    expect(
        "10: u.q1:red u.q2:blue | u.q1=100 u.q2=200
         20: u.q1:red u.q2:blue | silent u.q1=100 u.q2=200
         30: u.q1:red u.q2:blue p1:red | silent u.q1=100 u.q2=200",
        &["silent switch s {100} (20,32] declaration-moved"],
    );
    expect(
        "10: u.q1:red u.q2:blue | u.q1=100 u.q2=200
         20: u.q1:red u.q2:blue | silent u.q1=100 u.q2=200
         30: u.q1:red | silent u.q1=100",
        &["silent switch s {200} (20,32] declaration-moved"],
    );
}

#[test]
fn findings_of_one_port_are_one_divergence_each() {
    expect(
        "10: p1:red | p1=100
         20: p1:red | p1=100 p2=100
         30: p1:red | p1=100 p2=200
         40: p1:red | p1=100 p2=all
         50: p1:red | p1=100 p2=down:all",
        &[
            "foreign-port port s p2 {100,200} (11,22] switch-moved; closed (30,42] switch-moved",
            "all-vlans port s p2 {100,200} (31,42] switch-moved; closed (40,52] switch-moved",
            "latent-port port s p2 {100,200} (41,52] switch-moved",
        ],
    );
    // Every VLAN is too many whatever is declared: the manager's silence changes nothing.
    expect(
        "10: p1:red | p1=100
         20: silent | p1=100 p2=all
         30: p1:red | p1=100 p2=all
         40: p1:red | p1=100",
        &[
            "all-vlans port s p2 {100,200} (11,22] switch-moved; closed (30,42] switch-moved",
            "silent the cloud manager {100,200} (10,23] reading; closed (20,31] reading",
        ],
    );
}

#[test]
fn bypasses() {
    expect(
        "10: p1:red | p1=100
         20: p1:red | p1=100 dirty:flows
         30: p1:red | p1=100",
        &["bypass flows on switch s {100} (11,22] switch-moved; closed (20,32] switch-moved"],
    );
    expect(
        "10: p1:red | p1=100
         20: p1:red | p1=100 unread:flows
         30: p1:red | p1=100 dirty:flows",
        &[
            "unreadable flows on switch s {100} (11,22] reading; closed (20,32] reading",
            "bypass flows on switch s {100} (11,32] switch-moved",
        ],
    );
    // The flows were there; the network is what came.
    expect(
        "10: | dirty:flows
         20: p1:red | p1=100 dirty:flows",
        &["bypass flows on switch s {100} (10,22] both"],
    );
}

#[test]
fn links_and_bundles() {
    expect(
        "10: p1:red | p1=100 p9=100* u.q9=100* | link
         20: p1:red | p1=100 p9=100* u.q9=200* | link",
        &[
            "native-mismatch port s p9 {100} (11,22] switch-moved",
            "unregistered-port port u q9 {200} (11,22] switch-moved",
            "native-mismatch port u q9 {100} (11,22] switch-moved",
        ],
    );
    expect(
        "10: p3:red | p3>bond bond=100
         20: p3:red | p3>bond bond=
         30: p3:red | p3=100 bond=",
        &["missing-port port s bond {100} (11,22] switch-moved; closed (20,32] switch-moved"],
    );
}

#[test]
fn timelines_and_the_verdict_now() {
    let all = fold(
        "10: p1:red | p1=100
         20: p1:red | p1=100
         30: p1:red | p1=100 p2=100
         40: p1:red | silent
         50: p1:red +green | p1=100
         60: p1:red | p1=100
         70: p1:red +green | p1=100",
    );
    let told = |network: &str| -> Vec<(String, u64, u64, u64)> {
        let runs = all.timeline(network);
        runs.iter().map(|r| (r.verdict.to_string(), r.first.seq, r.last.unwrap().seq, r.polls)).collect()
    };
    let run = |verdict: &str, from, to, polls| (verdict.to_owned(), from, to, polls);
    assert_eq!(
        told("red"),
        [
            run("isolated", 1, 2, 2),
            run("violated", 3, 3, 1),
            run("unknown", 4, 4, 1),
            run("isolated", 5, 7, 3)
        ]
    );
    assert_eq!(told("green"), [run("isolated", 5, 5, 1), run("isolated", 7, 7, 1)]);
    assert_eq!(all.networks().collect::<Vec<_>>(), ["blue", "green", "red"]);
    let at = |s: u64, age: u64| all.verdict_now("red", t(s * 1000), Span::from_secs(age)).unwrap();
    assert_eq!(at(73, 60).verdict, Verdict::Isolated);
    assert_eq!(at(130, 60).verdict, Verdict::Isolated);
    let late = at(131, 60);
    assert_eq!((late.verdict, late.last, late.stale), (Verdict::Unknown, Verdict::Isolated, true));
    assert_eq!(late.age, Span::from_secs(61));
    assert!(all.verdict_now("nobody", t(73_000), Span::from_secs(60)).is_none());
    assert!(Divergences::new().verdict_now("red", t(0), Span::from_secs(60)).is_none());
}

#[test]
fn queries() {
    let all = fold(
        "10: p1:red | p1=100
         20: p1:red | p1=100 p2=100
         30: p1:red | p1=100 p3=200
         40: p1:red | p1=100 p3=200
         50: p1:red~ | p1=100 p3=200",
    );
    let find = |query: Query| -> Vec<String> {
        all.find(query).map(|d| format!("{} {}", d.finding(), d.place())).collect()
    };
    let (p2, p3) = ("foreign-port port s p2", "foreign-port port s p3");
    let nic = "foreign-member nic eth0 of node n-p1";
    assert_eq!(find(Query::default()), [p2, p3, nic]);
    assert_eq!(find(Query { open: Some(true), ..Query::default() }), [p3, nic]);
    assert_eq!(find(Query { open: Some(false), ..Query::default() }), [p2]);
    assert_eq!(find(Query { network: Some("red".into()), ..Query::default() }), [p2, nic]);
    assert_eq!(find(Query { network: Some("blue".into()), ..Query::default() }), [p3]);
    assert_eq!(find(Query { port: Some("p3".into()), ..Query::default() }), [p3]);
    assert_eq!(find(Query { switch: Some("s".into()), ..Query::default() }), [p2, p3]);
    assert_eq!(find(Query { finding: Some(FindingKind::ForeignMember), ..Query::default() }), [nic]);
    assert_eq!(find(Query { to: Some(t(20_000)), ..Query::default() }), [p2]);
    assert_eq!(find(Query { from: Some(t(32_000)), ..Query::default() }), [p3, nic]);
    assert_eq!(all.open().count(), 2);
    for d in all.all() {
        assert_eq!(all.get(&d.id), Some(d));
    }
    assert_eq!(all.get("2-0000000000000000"), None);
    assert_eq!(all.networks_of(&all.all()[0]), names(&["red"]));
    let ids: BTreeSet<&str> = all.all().iter().map(|d| d.id.as_str()).collect();
    assert_eq!(ids.len(), 3);
}

#[test]
fn polls_are_folded_once_and_in_order() {
    let mut teller = Teller::default();
    let (first, second) = (teller.tell("10: | p1="), teller.tell("20: | p1="));
    let mut all = Divergences::new();
    all.push(&second).unwrap();
    let rows = all.rows();
    assert_eq!(all.push(&second), Err(FoldError::Order { seq: 2, last: 2 }));
    assert_eq!(all.push(&first), Err(FoldError::Order { seq: 1, last: 2 }));
    let early = PollFacts { seq: 3, ..first };
    assert!(matches!(all.push(&early), Err(FoldError::Overlap { seq: 3, .. })));
    assert_eq!(all.rows(), rows);
}

#[test]
fn an_unchanged_poll_changes_one_row() {
    let mut teller = Teller::default();
    let mut all = Divergences::new();
    all.push(&teller.tell("10: p1:red | p1=100 p2=100")).unwrap();
    assert!(all.take_changes().len() > 5);
    all.push(&teller.tell("20: p1:red | p1=100 p2=100")).unwrap();
    let changed: Vec<String> = all.take_changes().into_iter().map(|(name, _)| name).collect();
    assert_eq!(changed, ["divergences/head"]);
    assert!(all.take_changes().is_empty());
}

#[test]
fn rows_of_different_moments_are_refused() {
    let mut teller = Teller::default();
    let mut all = Divergences::new();
    all.push(&teller.tell("10: p1:red | p1=100 p2=100")).unwrap();
    let mut map: BTreeMap<String, Vec<u8>> = all.take_changes().into_iter().collect();
    let restore = |map: &BTreeMap<String, Vec<u8>>| {
        Divergences::restore(&mut |name: &str| Ok::<_, std::convert::Infallible>(map.get(name).cloned()))
    };
    assert_eq!(restore(&map).unwrap().unwrap().folded(), Some(1));
    assert!(restore(&BTreeMap::new()).unwrap().is_none());
    all.push(&teller.tell("20: p1:red | p1=100")).unwrap();
    let changes = all.take_changes();
    // A crash after any number of puts but all.
    for n in 1..changes.len() {
        let mut torn = map.clone();
        torn.extend(changes[..n].iter().cloned());
        assert!(matches!(restore(&torn), Err(ProjectionError::Torn)), "after {n} of {}", changes.len());
    }
    map.extend(changes);
    assert_eq!(restore(&map).unwrap().unwrap().rows(), all.rows());
    map.insert("divergences/manager".into(), b"{}".to_vec());
    assert!(matches!(restore(&map), Err(ProjectionError::Row { .. })));
    map.remove("divergences/manager");
    assert!(matches!(restore(&map), Err(ProjectionError::Torn)));
}
