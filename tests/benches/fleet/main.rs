//! A fleet of switches of every dialect, read, judged and recorded by the built program.
//!
//! `cargo build --release -p isoledger && cargo bench -p isoledger-tests --bench fleet -- [--switches N] [--ports N]
//! [--parallel N]`
//!
//! The emulators run in this process, the auditor in one of its own, and the floor ([`floor`]) in a third: each one's
//! processor time is its own, but the two cores are everybody's. The cloud manager is a declared-state file. Nothing is
//! asserted about time; a limit stands beside each figure that has one.

#![allow(missing_docs, clippy::expect_used, clippy::unwrap_used)]

mod floor;

use floor::{Plan, Round, Talk};
use isoledger_core::Timestamp;
use isoledger_lab::{Lab, Recorded, Traffic};
use isoledger_tests::fleet;
use isoledger_tests::program::Service;
use serde_json::Value;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// The whole must be done by then, or it ends itself.
const DEADLINE: Duration = Duration::from_secs(600);
/// The period that a poll must fit into.
const PERIOD_MS: f64 = 30_000.0;
/// The most memory of the auditor.
const MEMORY_KB: u64 = 500_000;
/// Switches on which somebody opens a port for the last poll.
const OPENED: usize = 10;

fn main() {
    let words: Vec<String> = std::env::args().collect();
    let after = |name: &str| words.iter().skip_while(|w| *w != name).nth(1);
    if let Some(plan) = after("--floor") {
        let plan: Plan = serde_json::from_slice(&std::fs::read(plan).unwrap()).unwrap();
        println!("{}", serde_json::to_string(&floor::run(&plan)).unwrap());
        return;
    }
    let number = |name: &str, default: usize| after(name).map_or(default, |n| n.parse().expect("a number"));
    std::thread::spawn(|| {
        std::thread::sleep(DEADLINE);
        eprintln!("fleet: not done within {DEADLINE:?}; giving up");
        std::process::exit(1);
    });
    run(number("--switches", 1000), number("--ports", 48), number("--parallel", 64));
}

/// Processor time of a process so far, all threads, user and system.
fn cpu(pid: &str) -> Duration {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // The name before it is in parentheses and may contain anything.
    let fields: Vec<&str> = stat.rsplit(") ").next().unwrap_or_default().split(' ').collect();
    let ticks = |n: usize| fields.get(n).and_then(|f| f.parse::<u64>().ok()).unwrap_or_default();
    // Linux tells in hundredths of a second, whatever the kernel's own tick is.
    Duration::from_millis((ticks(11) + ticks(12)) * 10)
}

/// A number of /proc/PID/status.
fn status(pid: u32, name: &str) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = text.lines().find_map(|l| l.strip_prefix(name)?.strip_prefix(':'));
    line.and_then(|l| l.split_whitespace().next()?.parse().ok()).unwrap_or_default()
}

/// What was there after a poll, or what passed between two.
struct Mark {
    at: Instant,
    auditor: Duration,
    here: Duration,
    traffic: BTreeMap<String, Traffic>,
}

fn mark(pid: u32, lab: &Lab) -> Mark {
    let here = cpu("self");
    Mark { at: Instant::now(), auditor: cpu(&pid.to_string()), here, traffic: lab.cloud().traffic() }
}

struct Poll {
    name: &'static str,
    seq: u64,
    wall_ms: f64,
    recording_ms: Option<f64>,
    auditor_ms: f64,
    here_ms: f64,
    peak_kb: u64,
    now_kb: u64,
    threads: u64,
    traffic: BTreeMap<String, Traffic>,
    commands: Vec<Recorded>,
}

fn since(now: &BTreeMap<String, Traffic>, then: &BTreeMap<String, Traffic>) -> BTreeMap<String, Traffic> {
    let less = |(name, t): (&String, &Traffic)| {
        let before = then.get(name).copied().unwrap_or_default();
        let passed = Traffic {
            connections: t.connections - before.connections,
            heard: t.heard - before.heard,
            said: t.said - before.said,
        };
        (name.clone(), passed)
    };
    now.iter().map(less).collect()
}

fn ms(d: Duration) -> f64 {
    d.as_secs_f64() * 1e3
}

fn run(switches: usize, ports: usize, parallel: usize) {
    let rt = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let begun = Instant::now();
    let lab = rt.block_on(Lab::start(fleet::world(switches, ports))).expect("the lab's ports");
    let mut site = fleet::site(&lab, ports);
    site.parallel = parallel;
    site.deadline = "20s".into();
    site.write();
    let nodes = lab.read(|w| w.nodes.len());
    println!(
        "{switches} switches of {ports} ports, {nodes} nodes declared in a file ({} kB); {parallel} read at once; the \
         lab was ready after {:.1} s",
        std::fs::metadata(site.path("declared.json")).unwrap().len() / 1000,
        begun.elapsed().as_secs_f64()
    );

    let started = Instant::now();
    let here = cpu("self");
    let service = site.serve();
    let startup_ms = ms(started.elapsed());
    let mut last = Mark { at: Instant::now(), auditor: Duration::ZERO, here, traffic: BTreeMap::new() };
    let mut polls = Vec::new();
    // The service polls by itself when it starts.
    // The log, its scope, and then that poll. A checkpoint costs nothing to ask for.
    while entries(&service) < 3 {
        std::thread::sleep(Duration::from_millis(20));
    }
    polls.push(finish("first (new sessions)", &service, &lab, &mut last, None));
    for name in ["second (kept sessions)", "third"] {
        let answer = service.poll();
        polls.push(finish(name, &service, &lab, &mut last, Some(&answer)));
    }
    let names: Vec<String> = lab.hardware().into_iter().map(|at| at.hardware).take(OPENED).collect();
    lab.edit(|world| names.iter().for_each(|name| drop(fleet::open_free_port(world, name))));
    let answer = service.poll();
    polls.push(finish("fourth (ten ports opened)", &service, &lab, &mut last, Some(&answer)));
    let opened = &answer["verdicts"];
    println!("network t00-a, into which ten ports were opened, is {}", opened["t00-a"]);
    let mut asked = String::new();
    for path in ["/v1/networks/t00-a", "/v1/networks"] {
        let begun = Instant::now();
        let answer = service.get(path).expect("the service answers");
        let size = answer.body.len();
        asked += &format!(
            "GET {path}: {} ms, {:.1} MB, and then the peak of the auditor's memory is {} MB\n",
            begun.elapsed().as_millis(),
            size as f64 / 1e6,
            status(service.pid(), "VmHWM") / 1000
        );
    }
    let ended = service.stop();
    assert_eq!(ended.code, Some(0), "{}", ended.err);

    polls[0].seq = polls[1].seq - 1;
    let states: Vec<Value> = polls.iter().map(|p| site.json(&format!("state --at {}", p.seq))).collect();
    for (poll, state) in polls.iter_mut().zip(&states) {
        let failed: Vec<&Value> = state["switches"]
            .as_object()
            .unwrap()
            .values()
            .filter(|s| !s["failure"].is_null())
            .map(|s| &s["error"])
            .collect();
        if !failed.is_empty() {
            println!("{}: {} switches were not read, as {}", poll.name, failed.len(), failed[0]);
        }
    }
    table(&polls, switches, startup_ms);
    println!("beside polls, what the service is asked:\n{asked}");

    let plan = plan(&rt, &lab, &polls, parallel);
    let file = site.path("floor.json");
    std::fs::write(&file, serde_json::to_vec(&plan).unwrap()).unwrap();
    let here = cpu("self");
    let done = isoledger_tests::program::run(
        std::process::Command::new(std::env::current_exe().unwrap()).arg("--floor").arg(&file),
    )
    .expect(0);
    let here = cpu("self") - here;
    let rounds: [Round; 2] = serde_json::from_str(done.out.trim()).unwrap();
    compare(&plan, &rounds, &states, &polls, here);
}

/// How many entries the log has.
fn entries(service: &Service) -> u64 {
    let note = service.get("/checkpoint").map(|a| a.text()).unwrap_or_default();
    note.lines().nth(1).and_then(|n| n.parse().ok()).unwrap_or_default()
}

fn finish(name: &'static str, service: &Service, lab: &Lab, last: &mut Mark, answer: Option<&Value>) -> Poll {
    let pid = service.pid();
    let now = mark(pid, lab);
    if let Some(failures) = answer.map(|a| a["failures"].as_array().unwrap().len()).filter(|n| *n > 0) {
        println!("{name}: {failures} sources were not read");
    }
    let commands = lab.commands();
    lab.cloud().clear_commands();
    let poll = Poll {
        name,
        seq: answer.and_then(|a| a["poll"].as_u64()).unwrap_or_default(),
        wall_ms: ms(now.at - last.at),
        recording_ms: answer.and_then(|a| a["recordingMs"].as_f64()),
        auditor_ms: ms(now.auditor - last.auditor),
        here_ms: ms(now.here - last.here),
        peak_kb: status(pid, "VmHWM"),
        now_kb: status(pid, "VmRSS"),
        threads: status(pid, "Threads"),
        traffic: since(&now.traffic, &last.traffic),
        commands,
    };
    *last = mark(pid, lab);
    poll
}

fn table(polls: &[Poll], switches: usize, startup_ms: f64) {
    println!(
        "the program was serving after {startup_ms:.0} ms; its processor time until then counts for the first poll"
    );
    println!(
        "{:<27}{:>9}{:>9}{:>10}{:>10}{:>10}{:>9}{:>9}{:>8}{:>9}{:>9}",
        "poll",
        "wall s",
        "reads/s",
        "record ms",
        "its CPU s",
        "lab CPU s",
        "peak MB",
        "now MB",
        "threads",
        "conns",
        "MB read"
    );
    for p in polls {
        let connections: u64 = p.traffic.values().map(|t| t.connections).sum();
        let said: u64 = p.traffic.values().map(|t| t.said).sum();
        println!(
            "{:<27}{:>9.2}{:>9.0}{:>10}{:>10.2}{:>10.2}{:>9.0}{:>9.0}{:>8}{:>9}{:>9.1}",
            p.name,
            p.wall_ms / 1e3,
            switches as f64 / (p.wall_ms / 1e3),
            p.recording_ms.map_or("-".into(), |r| format!("{r:.0}")),
            p.auditor_ms / 1e3,
            p.here_ms / 1e3,
            p.peak_kb as f64 / 1e3,
            p.now_kb as f64 / 1e3,
            p.threads,
            connections,
            said as f64 / 1e6
        );
    }
    let slowest = polls.iter().map(|p| p.wall_ms).fold(0.0, f64::max);
    let peak = polls.iter().map(|p| p.peak_kb).max().unwrap_or_default();
    println!(
        "limits: a poll within {:.0} s: {} (slowest {:.2} s); memory under {} MB: {} (peak {} MB)\n",
        PERIOD_MS / 1e3,
        if slowest <= PERIOD_MS { "kept" } else { "MISSED" },
        slowest / 1e3,
        MEMORY_KB / 1000,
        if peak < MEMORY_KB { "kept" } else { "MISSED" },
        peak / 1000
    );
}

/// The bare exchanges of the first two polls.
fn plan(rt: &tokio::runtime::Runtime, lab: &Lab, polls: &[Poll], parallel: usize) -> Plan {
    let listener = rt.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
    let counting = listener.local_addr().unwrap();
    rt.spawn(floor::serve_bytes(listener));
    let both = [&polls[0], &polls[1]];
    let mut said: [BTreeMap<&str, Vec<&str>>; 2] = Default::default();
    for (n, poll) in both.iter().enumerate() {
        for c in &poll.commands {
            said[n].entry(&c.source).or_default().push(&c.what);
        }
    }
    let mut switches = Vec::new();
    for at in lab.hardware() {
        let account = at.credentials.as_ref().unwrap();
        let of = |n: usize, source: &str| said[n].get(source).cloned().unwrap_or_default();
        let talk = match (&at.console, &at.rest) {
            (Some(address), _) => {
                let source = format!("console:{}", at.hardware);
                let lines = |n| {
                    let all = of(n, &source).into_iter();
                    all.filter(|c| !c.is_empty() && *c != "enable").map(str::to_owned).collect()
                };
                let (user, password) = (account.user.clone(), account.password.clone());
                Talk::Ssh { at: *address, user, password, commands: [lines(0), lines(1)] }
            }
            (None, rest) => {
                let source = format!("rest:{}", at.hardware);
                let address = rest.as_ref().unwrap().http.trim_start_matches("http://").to_owned();
                let whole = |what: &str| request(what, &address, &account.user, &account.password);
                let requests = [0, 1].map(|n| of(n, &source).into_iter().map(whole).collect());
                Talk::Http { at: address.parse::<SocketAddr>().unwrap(), requests }
            }
        };
        switches.push(floor::Switch { name: at.hardware, talk });
    }
    for at in lab.switches() {
        let services = [format!("ovsdb:{}", at.host), format!("openflow:{}/{}", at.host, at.bridge)];
        let exchanges = both.map(|poll| {
            services.iter().filter_map(|s| poll.traffic.get(s)).map(|t| (t.heard, t.said)).collect()
        });
        switches.push(floor::Switch { name: at.switch, talk: Talk::Tcp { at: counting, exchanges } });
    }
    Plan { parallel, switches }
}

/// A request as the lab records it, put on the wire again.
fn request(what: &str, host: &str, user: &str, password: &str) -> String {
    use base64::Engine as _;
    let mut words = what.splitn(3, ' ');
    let (method, path) = (words.next().unwrap(), words.next().unwrap());
    let body = match words.next().and_then(|rest| rest.strip_prefix("show ")) {
        Some(command) => format!("<input><show-command>{command}</show-command></input>"),
        None => String::new(),
    };
    let login = base64::engine::general_purpose::STANDARD.encode(format!("{user}:{password}"));
    format!(
        "{method} {path} HTTP/1.1\r\nHost: {host}\r\nAuthorization: Basic {login}\r\nAccept: */*\r\n\
         Resource-Depth: 64\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

/// How long each switch was read, by dialect and name.
fn read_ms(state: &Value) -> BTreeMap<String, BTreeMap<String, f64>> {
    let mut all: BTreeMap<String, BTreeMap<String, f64>> = BTreeMap::new();
    for (name, s) in state["switches"].as_object().unwrap() {
        let time = |which: &str| Timestamp::parse(s["read"][which].as_str().unwrap()).unwrap();
        let took = time("ended").since(time("started")).millis() as f64;
        let dialect = s["reader"]["dialect"].as_str().unwrap().to_owned();
        all.entry(dialect).or_default().insert(name.clone(), took);
    }
    all
}

fn quantile(values: &mut [f64], q: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    let at = ((values.len() as f64 - 1.0) * q).round() as usize;
    values.get(at).copied().unwrap_or_default()
}

fn compare(plan: &Plan, rounds: &[Round; 2], states: &[Value], polls: &[Poll], lab_cpu: Duration) {
    for round in rounds {
        if let Some(first) = round.failed.first() {
            println!("floor: {} exchanges failed, as {first}", round.failed.len());
        }
    }
    println!(
        "one switch, milliseconds: the reader's window (whole ms), then the bare exchange of the same bytes"
    );
    println!(
        "{:<18}{:>5}  {:<7}{:>9}{:>9}{:>11}{:>11}{:>9}",
        "dialect", "n", "session", "p50", "p99", "floor p50", "floor p99", "p50 ×"
    );
    for (dialect, first) in &read_ms(&states[0]) {
        let second = read_ms(&states[1]).remove(dialect).unwrap_or_default();
        for (n, (name, reader)) in [("new", first), ("kept", &second)].into_iter().enumerate() {
            let mut reader_ms: Vec<f64> = reader.values().copied().collect();
            let mut bare: Vec<f64> = plan
                .switches
                .iter()
                .zip(&rounds[n].each_ms)
                .filter(|(s, _)| reader.contains_key(&s.name))
                .map(|(_, ms)| *ms)
                .collect();
            let (p50, floor) = (quantile(&mut reader_ms, 0.5), quantile(&mut bare, 0.5));
            println!(
                "{:<18}{:>5}  {:<7}{:>9.0}{:>9.0}{:>11.2}{:>11.2}{:>9.1}",
                dialect,
                reader_ms.len(),
                name,
                p50,
                quantile(&mut reader_ms, 0.99),
                floor,
                quantile(&mut bare, 0.99),
                p50 / floor
            );
        }
    }
    for (n, name) in ["new sessions", "kept sessions"].into_iter().enumerate() {
        let round = &rounds[n];
        println!(
            "floor, all switches, {name}: {:.2} s wall, {:.2} s CPU; the poll is {:.1} × its wall time and {:.1} × its CPU",
            round.wall_ms / 1e3,
            round.cpu_ms / 1e3,
            polls[n].wall_ms / round.wall_ms,
            polls[n].auditor_ms / round.cpu_ms
        );
    }
    println!("the emulators took {:.2} s CPU for both rounds of the floor", lab_cpu.as_secs_f64());
}
