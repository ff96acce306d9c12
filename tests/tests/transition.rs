//! HIL changing a port while it is polled, HIL's daemon dying half way, and a port that never comes to rest.
//!
//! HIL writes the switch first and its database second, and a poll reads neither in one moment. Every order of those
//! two steps and the poll's requests is tried: the steps hang on requests, so nothing here depends on how fast anything
//! is. HIL's REST shows no pending actions (only who began one knows its number), so none of this relies on seeing one;
//! the second look alone has to tell a change from a violation.
#![allow(clippy::unwrap_used)]

use isoledger_lab::{DaemonDeath, DaemonStep, Lab, PortVlans, Recorded, Service, When, World};
use isoledger_tests::program;
use isoledger_tests::site::{Site, findings};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

const NETWORKS: [&str; 2] = ["red-net", "blue-net"];
/// Where the node that is moved is wired.
const PORT: &str = "port sw2 sw2p3";

/// A request of a poll: the `n`-th that `service` gets.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Position {
    service: Service,
    n: u64,
}

/// What HIL's daemon does in one step.
#[derive(Clone, Copy, Debug)]
enum Step {
    /// Begins to attach node06 to a network, and writes its switch.
    WriteAttach(&'static str),
    /// Begins to detach node06, and writes its switch.
    WriteDetach(&'static str),
    /// Commits to the database what the switch was written for.
    Commit,
}

impl Step {
    fn run(self, world: &mut World) {
        match self {
            Step::WriteAttach(network) => drop(world.begin_attach("node06", "eth0", network, None).unwrap()),
            Step::WriteDetach(network) => drop(world.begin_detach("node06", "eth0", network).unwrap()),
            Step::Commit => {
                assert!(matches!(world.daemon_step(), Some(DaemonStep::Committed(_))));
                return;
            }
        }
        assert!(matches!(world.daemon_step(), Some(DaemonStep::Wrote(_))));
    }
}

const ATTACH: &[Step] = &[Step::WriteAttach("red-net"), Step::Commit];
const DETACH: &[Step] = &[Step::WriteDetach("red-net"), Step::Commit];
const TO_BLUE: &[Step] =
    &[Step::WriteDetach("red-net"), Step::Commit, Step::WriteAttach("blue-net"), Step::Commit];
const TO_RED: &[Step] =
    &[Step::WriteDetach("blue-net"), Step::Commit, Step::WriteAttach("red-net"), Step::Commit];

/// A change and how much of it is done.
struct Change {
    steps: &'static [Step],
    done: usize,
}

impl Change {
    /// Runs the steps before `until` that did not run yet.
    fn advance(&mut self, until: usize, world: &mut World) {
        while self.done < until {
            self.steps[self.done].run(world);
            self.done += 1;
        }
    }
}

/// A lab whose red project has node06, wired to sw2, attached to nothing; and a service that polls it on demand.
struct Bench {
    lab: Lab,
    _site: Site,
    service: program::Service,
    /// The requests of a poll that agrees at once.
    quiet: Vec<Position>,
    /// And those that a second look at node06's port adds.
    again: Vec<Position>,
    /// How often each verdict was found during a change.
    told: Mutex<BTreeMap<String, usize>>,
}

impl Bench {
    async fn new() -> Bench {
        let mut world = World::two_tenants();
        world.move_node("node06", Some("red")).unwrap();
        world.grant("blue-net", "red").unwrap();
        world.daemon.by_hand = true;
        let lab = Lab::start(world).await.unwrap();
        let mut site = Site::of_lab(&lab);
        site.settle = "5ms".into();
        site.write();
        let service = site.serve();
        service.poll();
        let mut bench =
            Bench { lab, _site: site, service, quiet: Vec::new(), again: Vec::new(), told: Mutex::default() };
        bench.rest();
        bench.quiet = bench.positions();
        // HIL declares what the switch does not carry: a missing port, which is looked at twice.
        bench.lab.edit(|w| w.declare("node06", "eth0", "red-net", "vlan/native"));
        bench.lab.cloud().clear_commands();
        bench.service.poll();
        bench.again = bench.positions().split_off(bench.quiet.len());
        bench.lab.edit(|w| w.undeclare("node06", "eth0", "red-net"));
        bench.rest();
        let asked = |p: &[Position], s: Service| p.iter().filter(|q| q.service == s).count();
        for (positions, hil) in [(&bench.quiet, 13), (&bench.again, 3)] {
            assert_eq!(asked(positions, Service::Hil), hil, "{positions:?}");
            assert_eq!(asked(positions, ovsdb()), 1, "{positions:?}");
        }
        bench
    }

    /// Polls while nothing moves: everything is isolated and as declared.
    #[track_caller]
    fn rest(&self) {
        self.lab.cloud().clear_commands();
        let polled = self.service.poll();
        for name in NETWORKS {
            let row = self.service.network(name);
            assert_eq!(polled["verdicts"][name], "isolated", "{row:#}");
            assert_eq!((&row["conforms"], findings(&row)), (&true.into(), vec![]), "{row:#}");
        }
    }

    /// The requests since they were last cleared, in order, the other switch's apart: they run beside.
    fn positions(&self) -> Vec<Position> {
        let mut out: Vec<Position> = Vec::new();
        for c in self.lab.commands() {
            let service = [Service::Hil, ovsdb(), openflow(), ovsdb_of("sw1"), openflow_of("sw1")]
                .into_iter()
                .find(|s| s.to_string() == c.source)
                .unwrap();
            let n = out.iter().filter(|p| p.service == service).count() as u64 + 1;
            out.push(Position { service, n });
        }
        out
    }

    /// Those that have an order: HIL, then the port's own switch, then both again.
    fn ordered(&self) -> Vec<Position> {
        let ours = |p: &&Position| [Service::Hil, ovsdb(), openflow()].contains(&p.service);
        self.quiet.iter().chain(&self.again).filter(ours).cloned().collect()
    }

    /// Polls while `change` happens: its steps before `.1` are run when the request `.0` comes, for each of `at`.
    /// `before` of them are run ahead of the poll. What no request caused is run after it, and a second poll follows.
    fn run(&self, steps: &'static [Step], before: usize, at: &[(Position, usize)]) {
        let change = Arc::new(Mutex::new(Change { steps, done: 0 }));
        self.lab.edit(|w| change.lock().unwrap().advance(before, w));
        self.lab.cloud().clear_commands();
        for (position, until) in at {
            let (change, until) = (Arc::clone(&change), *until);
            self.lab.cloud().on(position.service.clone(), When::Nth(position.n), move |w| {
                change.lock().unwrap().advance(until, w);
            });
        }
        let polled = self.service.poll();
        let told = format!("{steps:?}, {before} before, {at:?}: {polled}");
        let commands = self.lab.commands();
        // How many steps were done when a service got a request of the first look, or the last of all.
        let seen = |service: Service, first: bool| {
            let mut asked = commands.iter().enumerate().filter(|(_, c)| c.source == service.to_string());
            let (i, _) = if first { asked.next() } else { asked.next_back() }.unwrap();
            let due = at.iter().filter(|(p, _)| index(&commands, p).is_some_and(|at| at <= i));
            due.map(|d| d.1).max().unwrap_or(0).max(before)
        };
        // Steps alternate, so this many actions were in the database and this many on the switch.
        let committed = seen(Service::Hil, false) / 2;
        let [written_then, written] = [true, false].map(|first| seen(ovsdb(), first).div_ceil(2));
        let torn = &steps[committed * 2..(written * 2).max(committed * 2)];
        for name in NETWORKS {
            let row = self.service.network(name);
            let found = findings(&row);
            let told = format!("{name}: {told}\n{commands:#?}\n{row:#}");
            let mut verdict = row["verdict"].as_str().unwrap().to_owned();
            match verdict.as_str() {
                "isolated" => {
                    let attached = torn.iter().any(|s| matches!(s, Step::WriteAttach(n) if *n == name));
                    assert!(!attached, "a false isolation: {told}");
                    let detached = torn.iter().any(|s| matches!(s, Step::WriteDetach(n) if *n == name));
                    assert_eq!(row["conforms"], !detached, "{told}");
                }
                // A move between two of HIL's answers: the node is on a network whose page was read before it came.
                // HIL contradicts itself, and a declaration that does is not used.
                "unknown" if found == [("unreadable".into(), "the cloud manager".into())] => {
                    let torn = at.iter().any(|(p, _)| p.service == Service::Hil && p.n > 1);
                    assert!(steps.len() > 2 && torn, "{told}");
                    verdict = "unreadable".into();
                }
                "unknown" => assert_eq!(found, [("in-transition".into(), PORT.into())], "{told}"),
                // A port that both looks saw in the same state, which HIL, last asked in between, knew nothing of.
                "violated" => {
                    assert!(written > committed && written == written_then, "a false violation: {told}");
                    assert_eq!(found, [("foreign-port".into(), PORT.into())], "{told}");
                }
                other => panic!("{other}: {told}"),
            }
            *self.told.lock().unwrap().entry(verdict).or_default() += 1;
        }
        // What waits for a request that did not come must not surprise the next poll.
        self.lab.edit(|w| change.lock().unwrap().advance(steps.len(), w));
        self.rest();
    }
}

fn ovsdb_of(host: &str) -> Service {
    Service::Ovsdb(host.into())
}

fn openflow_of(host: &str) -> Service {
    Service::OpenFlow { host: host.into(), bridge: format!("br-{host}") }
}

fn ovsdb() -> Service {
    ovsdb_of("sw2")
}

fn openflow() -> Service {
    openflow_of("sw2")
}

/// Where in `commands` a position is.
fn index(commands: &[Recorded], position: &Position) -> Option<usize> {
    let source = position.service.to_string();
    let mut of_service = commands.iter().enumerate().filter(|(_, c)| c.source == source);
    of_service.nth(usize::try_from(position.n).unwrap() - 1).map(|(i, _)| i)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_attach_or_detach_at_any_request_is_no_false_violation_and_no_false_isolation() {
    let bench = Bench::new().await;
    let both = |before: usize, at: &[(Position, usize)]| {
        bench.run(ATTACH, before, at);
        bench.run(DETACH, before, at);
    };
    let mut runs = 0;
    // Written and committed at once, at every request of both switches and HIL.
    for p in bench.quiet.iter().chain(&bench.again) {
        both(0, &[(p.clone(), 2)]);
        runs += 2;
    }
    // Written at one request (or before all of them) and committed at a later one. Requests of one OpenFlow reading
    // read nothing of the port: the first of them stands for all.
    let mut ordered = bench.ordered();
    let mut openflow_seen = false;
    ordered.retain(|p| {
        let keep = p.service != openflow() || !openflow_seen;
        openflow_seen = p.service == openflow();
        keep
    });
    for (i, write) in ordered.iter().enumerate() {
        both(1, &[(write.clone(), 2)]);
        runs += 2;
        for commit in &ordered[i + 1..] {
            both(0, &[(write.clone(), 1), (commit.clone(), 2)]);
            runs += 2;
        }
    }
    println!("{runs} changes during as many polls: {:?}", bench.told.lock().unwrap());
    bench.lab.assert_only_reads();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_move_between_networks_at_any_request_is_no_false_violation_and_no_false_isolation() {
    let bench = Bench::new().await;
    bench.lab.edit(|w| ATTACH.iter().for_each(|s| s.run(w)));
    bench.rest();
    let ordered = bench.ordered();
    let second = ordered.len() - bench.again.len();
    for (i, p) in ordered.iter().enumerate() {
        let later = [i + 1, i + 4, second, second + 2];
        let later: BTreeSet<usize> = later.into_iter().filter(|l| *l > i && *l < ordered.len()).collect();
        let mut runs = vec![vec![(p.clone(), 4)]];
        for l in later.into_iter().map(|l| ordered[l].clone()) {
            // Off one network here and on the other there; or half off here.
            runs.push(vec![(p.clone(), 2), (l.clone(), 4)]);
            runs.push(vec![(p.clone(), 1), (l.clone(), 4)]);
            runs.push(vec![(p.clone(), 3), (l, 4)]);
        }
        for at in runs {
            bench.run(TO_BLUE, 0, &at);
            bench.run(TO_RED, 0, &at);
        }
    }
    let told = bench.told.lock().unwrap().clone();
    assert!(told.contains_key("unknown"), "no port was ever in transition: {told:?}");
    println!("verdicts during a move: {told:?}");
    bench.lab.assert_only_reads();
}

/// The divergences that match a query.
fn divergences(service: &program::Service, query: &str) -> Vec<Value> {
    let all = service.get(&format!("/v1/divergences{query}")).unwrap().json();
    all["divergences"].as_array().unwrap().clone()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_daemon_that_dies_before_its_commit_leaves_a_divergence_by_the_switch() {
    let bench = Bench::new().await;
    for (turn, p) in bench.quiet.iter().enumerate() {
        bench.lab.cloud().on(p.service.clone(), When::Nth(p.n), |w| {
            w.daemon.dies = Some(DaemonDeath::BeforeCommit);
            Step::WriteAttach("red-net").run(w);
            assert!(matches!(w.daemon_step(), Some(DaemonStep::Died(_))));
        });
        let first = bench.service.poll()["verdicts"]["red-net"].clone();
        if first != "violated" {
            assert_eq!(bench.service.poll()["verdicts"]["red-net"], "violated", "{p:?}, after {first}");
        }
        assert_eq!(findings(&bench.service.network("red-net")), [("foreign-port".into(), PORT.into())]);
        let open = divergences(&bench.service, "?open=true");
        assert_eq!(open.len(), 1, "{p:?}: {open:#?}");
        assert_eq!((&open[0]["finding"], &open[0]["at"]), (&"foreign-port".into(), &PORT.into()));
        assert_eq!(open[0]["onset"]["cause"], "switch-moved", "{p:?}: {:#}", open[0]);
        // HIL's administrator starts a new daemon, which begins the action anew; or clears the port by hand first.
        let by_hand = turn % 2 == 1;
        if by_hand {
            bench.lab.edit(|w| {
                w.switch_mut("sw2").unwrap().set_port_vlans("sw2p3", &PortVlans::Nothing).unwrap();
            });
        } else {
            bench.lab.edit(|w| {
                w.restart_daemon();
                w.run_daemon();
            });
        }
        bench.rest();
        let closed: Vec<Value> = divergences(&bench.service, "?network=red-net")
            .into_iter()
            .filter(|d| d["id"] == open[0]["id"])
            .collect();
        assert_eq!((closed.len(), &closed[0]["open"]), (1, &false.into()), "{closed:#?}");
        let cause = if by_hand { "switch-moved" } else { "declaration-moved" };
        assert_eq!(closed[0]["closed"]["cause"], cause, "{p:?}: {:#}", closed[0]);
        bench.lab.edit(|w| {
            w.restart_daemon();
            w.run_daemon();
            DETACH.iter().for_each(|s| s.run(w));
        });
        bench.rest();
    }
    bench.lab.assert_only_reads();
}

/// Lets something flip at a request of each look, poll after poll: three polls may call it a change, no more.
fn expires(bench: &Bench, port: &str, at: &[Position], flip: fn(&mut World, bool)) {
    let asks = Arc::new(Mutex::new(0u64));
    for poll in 1..=6 {
        // In a poll that looks only once the second hook waits on; its poll is over when that comes.
        let now = Arc::new(Mutex::new((true, 0usize)));
        for p in at {
            let (now, asks) = (Arc::clone(&now), Arc::clone(&asks));
            bench.lab.cloud().on(p.service.clone(), When::Nth(p.n), move |w| {
                let mut now = now.lock().unwrap();
                if now.0 {
                    now.1 += 1;
                    let mut asks = asks.lock().unwrap();
                    *asks += 1;
                    flip(w, *asks % 2 == 1);
                }
            });
        }
        let polled = bench.service.poll();
        let looks = std::mem::take(&mut *now.lock().unwrap()).1;
        let rows = NETWORKS.map(|n| bench.service.network(n));
        let told = format!("{port} in poll {poll}: {polled}\n{:#}\n{:#}", rows[0], rows[1]);
        let verdicts: Vec<&str> = rows.iter().map(|r| r["verdict"].as_str().unwrap()).collect();
        let found: Vec<(String, String)> = rows.iter().flat_map(findings).collect();
        if poll <= 3 {
            assert_eq!(looks, 2, "{told}");
            assert!(verdicts.contains(&"unknown") && !verdicts.contains(&"violated"), "{told}");
            assert!(found.iter().all(|f| *f == ("in-transition".into(), port.into())), "{told}");
        } else {
            assert!(verdicts.contains(&"violated"), "{told}");
            assert!(found.contains(&("foreign-port".into(), port.into())), "{told}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_port_that_moves_at_every_poll_is_in_transition_for_three_of_them() {
    let bench = Bench::new().await;
    let carries = |w: &mut World, port: &str, vlans: PortVlans| {
        w.switch_mut("sw2").unwrap().set_port_vlans(port, &vlans).unwrap();
    };
    // A second time it has three polls again, since it came to rest in between.
    for _ in 0..2 {
        // An unused port, in one foreign VLAN at one look and in another at the next.
        let looks = [Position { service: ovsdb(), n: 1 }, Position { service: ovsdb(), n: 2 }];
        expires(&bench, "port sw2 sw2p4", &looks, |w, on| {
            let vlans = PortVlans::Access(if on { 100 } else { 101 });
            w.switch_mut("sw2").unwrap().set_port_vlans("sw2p4", &vlans).unwrap();
        });
        bench.lab.edit(|w| carries(w, "sw2p4", PortVlans::Nothing));
        bench.rest();
        // A port in blue's VLAN, while HIL says red at one look and nothing at the next.
        bench.lab.edit(|w| carries(w, "sw2p3", PortVlans::Access(101)));
        let first = |of: &[Position]| of.iter().find(|p| p.service == Service::Hil).unwrap().clone();
        expires(&bench, PORT, &[first(&bench.quiet), first(&bench.again)], |w, on| {
            if on {
                w.declare("node06", "eth0", "red-net", "vlan/native");
            } else {
                w.undeclare("node06", "eth0", "red-net");
            }
        });
        bench.lab.edit(|w| {
            w.undeclare("node06", "eth0", "red-net");
            carries(w, "sw2p3", PortVlans::Nothing);
        });
        bench.rest();
    }
    bench.lab.assert_only_reads();
}

/// An intruder's port of red's turned to blue: one port, two networks, and two findings that do not move.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_port_that_two_networks_differ_about_is_found_in_the_first_poll() {
    let bench = Bench::new().await;
    bench.lab.edit(|w| {
        w.declare("node06", "eth0", "red-net", "vlan/native");
        w.switch_mut("sw2").unwrap().set_port_vlans("sw2p3", &PortVlans::Access(100)).unwrap();
        w.revoke("blue-net", "red").unwrap();
    });
    bench.rest();
    bench.lab.edit(|w| {
        w.switch_mut("sw2").unwrap().set_port_vlans("sw2p3", &PortVlans::Access(101)).unwrap();
    });
    let polled = bench.service.poll();
    assert_eq!(polled["verdicts"]["blue-net"], "violated", "{polled}");
    let on = |network| findings(&bench.service.network(network));
    assert_eq!(on("blue-net"), [("foreign-port".into(), PORT.into())]);
    assert_eq!(on("red-net"), [("missing-port".into(), PORT.into())]);
    bench.lab.assert_only_reads();
}
