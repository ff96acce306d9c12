//! Witnesses, from both sides and as programs: `isoledger witness` as strangers ask it, the service and its commands as
//! good, odd and lying witnesses answer them, and what a tenant's policy makes of it.
#![allow(clippy::unwrap_used)]

use isoledger_core::checkpoint::{Checkpoint, SignedCheckpoint};
use isoledger_core::merkle::{NodeId, consistency_plan, leaf_hash, root_of};
use isoledger_core::note::{NoteSigner, VerifierKey};
use isoledger_core::witness::{AddCheckpoint, MAX_REQUEST, Watched, cosignatures, origin_hash};
use isoledger_core::{Hash, Timestamp};
use isoledger_lab::{Lab, World};
use isoledger_tests::program::{self, Service};
use isoledger_tests::site::{ORIGIN, Site, assert_unchanged, copy, listing};
use serde_json::Value;
use std::convert::Infallible;
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tempfile::TempDir;

// ---- a witness ---------------------------------------------------------------------------------------------------

/// `isoledger witness` in a directory of its own.
struct Witness {
    dir: TempDir,
    vkey: String,
    service: Option<Service>,
    address: String,
}

impl Witness {
    fn start(name: &str, logs: &[&str]) -> Witness {
        let dir = tempfile::tempdir().unwrap();
        let mut init = program::command("isoledger");
        init.args(["--json", "witness", "init", "--name", name, "--dir"]).arg(dir.path());
        let made = program::run(&mut init).expect(0).json();
        let vkey = made["vkey"].as_str().unwrap().to_owned();
        let mut witness = Witness { dir, vkey, service: None, address: "127.0.0.1:0".into() };
        witness.watch(logs);
        witness.serve();
        witness
    }

    fn watch(&self, logs: &[&str]) {
        let list: String = logs.iter().map(|l| format!("log {l}\n")).collect();
        fs::write(self.dir.path().join("logs.policy"), list).unwrap();
    }

    // At the same address again, so that those who ask it find it.
    fn serve(&mut self) {
        let mut run = program::command("isoledger");
        run.args(["--json", "witness", "--listen", &self.address, "--dir"]).arg(self.dir.path());
        let service = Service::start(&mut run).unwrap_or_else(|done| panic!("{done:?}"));
        self.address = service.address.clone();
        self.service = Some(service);
    }

    fn kill(&mut self) {
        self.service.take().unwrap().kill();
    }

    fn key(&self) -> VerifierKey {
        self.vkey.parse().unwrap()
    }

    /// The size that it shows for a log.
    fn shows(&self, origin: &str) -> Option<u64> {
        let path = format!("/{}/checkpoint", origin_hash(origin));
        let answer = program::request(&self.address, "GET", &path).unwrap();
        (answer.status == 200).then(|| Watched::parse(&answer.body).unwrap().head().size)
    }

    /// The table of a configuration.
    fn table(&self, name: &str, more: &str) -> String {
        format!("[witness.by.{name}]\nvkey = \"{}\"\nurl = \"http://{}\"\n{more}", self.vkey, self.address)
    }
}

struct Answer {
    status: u16,
    kind: String,
    body: String,
}

/// One POST over a connection of its own; `None` when the answer did not come.
fn post(address: &str, body: &[u8]) -> Option<Answer> {
    let mut stream = TcpStream::connect(address).ok()?;
    stream.set_read_timeout(Some(program::LIMIT)).unwrap();
    let head = format!(
        "POST /add-checkpoint HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).ok()?;
    // Who is refused for its length is answered before it has sent everything.
    let _ = stream.write_all(body);
    let mut bytes = Vec::new();
    let _ = stream.read_to_end(&mut bytes);
    let text = String::from_utf8_lossy(&bytes).into_owned();
    let (head, body) = text.split_once("\r\n\r\n")?;
    let head = head.to_ascii_lowercase();
    let kind = head.lines().find_map(|l| l.strip_prefix("content-type: ")).unwrap_or_default();
    let status = head.split(' ').nth(1)?.parse().ok()?;
    Some(Answer { status, kind: kind.to_owned(), body: body.to_owned() })
}

// ---- a log in memory ---------------------------------------------------------------------------------------------

fn log(origin: &str) -> NoteSigner {
    NoteSigner::new(origin, &[7; 32]).unwrap()
}

/// Stories differ from the fifth entry on.
fn leaf(i: u64, story: u8) -> Hash {
    leaf_hash(format!("entry {i} of story {}", if i < 5 { 0 } else { story }).as_bytes())
}

fn request(signer: &NoteSigner, old: u64, size: u64, story: u8) -> AddCheckpoint {
    let subtree = |id: NodeId| {
        let from = id.index << id.level;
        Ok::<_, Infallible>(root_of((from..from + (1 << id.level)).map(|i| leaf(i, story))))
    };
    let root = root_of((0..size).map(|i| leaf(i, story)));
    let note =
        SignedCheckpoint::sign(Checkpoint { origin: signer.name().into(), size, root }, signer).unwrap();
    let proof = consistency_plan(old, size).map_or(Vec::new(), |plan| plan.assemble(subtree).unwrap());
    AddCheckpoint { old, proof, checkpoint: Watched::parse(note.as_bytes()).unwrap() }
}

const MEMORY: &str = "log.example/memory";

#[test]
fn strangers_get_every_status_of_the_page() {
    let ours = log(MEMORY);
    let witness = Witness::start("witness.example/w", &[&ours.verifier().to_string()]);
    let ask = |r: &AddCheckpoint| post(&witness.address, r.to_string().as_bytes()).unwrap();
    assert_eq!(witness.shows(MEMORY), None);
    let good = request(&ours, 0, 7, 0);
    let answer = ask(&good);
    assert_eq!((answer.status, answer.kind.as_str()), (200, "text/plain; charset=utf-8"));
    let lines: Vec<_> = answer
        .body
        .split_inclusive('\n')
        .map(|l| isoledger_core::note::SignatureLine::parse(l).unwrap())
        .collect();
    let found = cosignatures(good.checkpoint.text(), &lines, &[witness.key()]).unwrap();
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    assert!(found[0].time.seconds().abs_diff(now) < 60);
    assert_eq!(witness.shows(MEMORY), Some(7));

    let mut wrong_proof = request(&ours, 7, 9, 0);
    wrong_proof.proof[0].0[0] ^= 1;
    let mut forged = request(&ours, 7, 9, 0).to_string();
    let at = forged.len() - 10;
    forged.replace_range(at..=at, if &forged[at..=at] == "A" { "B" } else { "A" });
    let stranger = request(&NoteSigner::new(MEMORY, &[8; 32]).unwrap(), 7, 9, 0).to_string();
    for (what, body, status) in [
        ("another size", request(&ours, 3, 9, 0).to_string(), 409),
        ("another story", request(&ours, 7, 9, 1).to_string(), 422),
        ("another root of this size", request(&ours, 7, 7, 1).to_string(), 422),
        ("a wrong proof", wrong_proof.to_string(), 422),
        ("old above the size", request(&ours, 7, 7, 0).to_string().replacen("old 7", "old 8", 1), 400),
        ("nothing", String::new(), 400),
        ("too much", "x".repeat(MAX_REQUEST + 1), 400),
        ("a forged line", forged, 403),
        ("another key", stranger, 403),
        ("another log", request(&log("log.example/other"), 0, 9, 0).to_string(), 404),
    ] {
        let answer = post(&witness.address, body.as_bytes()).unwrap();
        assert_eq!(answer.status, status, "{what}: {}", answer.body);
        if status == 409 {
            assert_eq!((answer.kind.as_str(), answer.body.as_str()), ("text/x.tlog.size", "7\n"));
        } else {
            assert!(answer.body.len() > 10 && answer.body.ends_with('\n'), "{what}: no sentence");
        }
        assert_eq!(witness.shows(MEMORY), Some(7), "{what}");
    }
    // Refreshed, then grown.
    assert_eq!(ask(&request(&ours, 7, 7, 0)).status, 200);
    assert_eq!(ask(&request(&ours, 7, 9, 0)).status, 200);
    // A log that comes on the list is watched without a restart.
    let other = log("log.example/other");
    witness.watch(&[&NoteSigner::new(other.name(), &[7; 32]).unwrap().verifier().to_string()]);
    assert_eq!(ask(&request(&other, 0, 9, 0)).status, 200);
    assert_eq!(ask(&request(&ours, 9, 10, 0)).status, 404);
    let path = format!("/{}/checkpoint", "A".repeat(64));
    assert_eq!(program::request(&witness.address, "GET", &path).unwrap().status, 404);
    assert!(program::request(&witness.address, "GET", "/").unwrap().text().contains(&witness.vkey));
}

#[test]
fn of_many_at_once_one_wins() {
    let ours = log(MEMORY);
    let witness = Witness::start("witness.example/w", &[&ours.verifier().to_string()]);
    assert_eq!(post(&witness.address, request(&ours, 0, 5, 0).to_string().as_bytes()).unwrap().status, 200);
    let askers: Vec<_> = (0..8u64)
        .map(|n| {
            let body = request(&ours, 5, 6 + n, (n % 2) as u8).to_string();
            let address = witness.address.clone();
            std::thread::spawn(move || (6 + n, post(&address, body.as_bytes()).unwrap()))
        })
        .collect();
    let done: Vec<_> = askers.into_iter().map(|a| a.join().unwrap()).collect();
    let won: Vec<_> = done.iter().filter(|(_, a)| a.status == 200).collect();
    assert_eq!(won.len(), 1);
    let size = won[0].0;
    assert!(done.iter().filter(|(_, a)| a.status == 409).all(|(_, a)| a.body == format!("{size}\n")));
    assert_eq!(witness.shows(MEMORY), Some(size));
}

/// SIGKILL at any moment: what was answered for is remembered, and nothing else is cosigned after it.
#[test]
fn killed_at_any_moment_it_forgets_nothing_it_answered_for() {
    let ours = log(MEMORY);
    let mut witness = Witness::start("witness.example/w", &[&ours.verifier().to_string()]);
    let mut answered = 0;
    for round in 0..12u64 {
        let address = witness.address.clone();
        let signer = log(MEMORY);
        let from = witness.shows(MEMORY).unwrap_or(0);
        assert!(from >= answered, "answered for {answered}, remembers {from}");
        let newest = Arc::new(Mutex::new(from));
        let told = newest.clone();
        let asker = std::thread::spawn(move || {
            for size in from + 1.. {
                let body = request(&signer, size - 1, size, 0).to_string();
                match post(&address, body.as_bytes()) {
                    Some(a) if a.status == 200 => *told.lock().unwrap() = size,
                    // Killed.
                    None => return,
                    Some(a) => panic!("{}: {}", a.status, a.body),
                }
            }
        });
        let goal = from + 1 + round % 5;
        let deadline = Instant::now() + program::LIMIT;
        while *newest.lock().unwrap() < goal {
            assert!(Instant::now() < deadline && !asker.is_finished());
            std::thread::yield_now();
        }
        witness.kill();
        asker.join().unwrap();
        answered = *newest.lock().unwrap();
        witness.serve();
    }
    let size = witness.shows(MEMORY).unwrap();
    assert!(size >= answered && answered >= 12);
    let forked = post(&witness.address, request(&ours, size, size + 3, 1).to_string().as_bytes()).unwrap();
    assert_eq!(forked.status, 422);
}

// ---- a service and its witness -----------------------------------------------------------------------------------

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

const STANZA: &str = "red-net domain lab project red vlan 100";
const QUICK: &str = "[witness]\nperiod = \"100ms\"\nshort-period = true\ndeadline = \"5s\"\n";

/// A lab, its auditor's directory and a witness that watches its log.
struct Scene {
    _rt: tokio::runtime::Runtime,
    site: Site,
    witness: Witness,
    _lab: Lab,
}

impl Scene {
    fn new() -> Scene {
        let rt = runtime();
        let lab = rt.block_on(Lab::start(World::two_tenants())).unwrap();
        let mut site = Site::of_lab(&lab);
        let witness = Witness::start("witness.example/w", &[&site.vkey]);
        site.witness = format!("{QUICK}{}", witness.table("neighbour", ""));
        site.write();
        Scene { _rt: rt, site, witness, _lab: lab }
    }

    /// A policy with these lines before the stanza.
    fn policy(&self, lines: &str) {
        let text = format!("log {}\n{lines}max-gap 1h\nnetwork {STANZA}\n", self.site.vkey);
        fs::write(self.site.path("policy.txt"), text).unwrap();
    }

    /// Exit code and report of `isoverify` on a fresh attestation under a policy with these lines.
    fn verified(&self, lines: &str) -> (i32, Value) {
        self.policy(lines);
        let attestation = self.site.attest("red-net", "");
        let done = self.site.verify(&attestation);
        (done.code.unwrap(), done.json())
    }
}

#[test]
fn a_policy_that_requires_the_witness_is_met_and_one_that_requires_another_is_not() {
    let scene = Scene::new();
    for _ in 0..3 {
        scene.site.poll();
    }
    let size = scene.site.audit()["size"].as_u64().unwrap();
    assert_eq!(scene.witness.shows(ORIGIN), Some(size));
    let w = format!("witness w {}\n", scene.witness.vkey);
    let (code, report) = scene.verified(&format!("{w}quorum w\nwitnessed-within 1m\n"));
    assert_eq!(code, 0, "{report:#}");
    assert!(report.to_string().contains("is confirmed by w."), "{report:#}");
    let other = NoteSigner::cosigner("witness.example/v", &[9; 32]).unwrap();
    let v = format!("witness v {}\n", other.verifier());
    let (code, report) = scene.verified(&format!("{w}{v}group both all w v\nquorum both\n"));
    assert_eq!(code, 2, "{report:#}");
    let (code, _) = scene.verified(&format!("{w}{v}group one any w v\nquorum one\n"));
    assert_eq!(code, 0);
    let (code, _) = scene.verified(&format!("{v}quorum v\n"));
    assert_eq!(code, 2);
    let status = scene.site.json("status");
    let newest = &status["health"]["witnesses"]["newest"];
    assert_eq!(
        (&newest["size"], &newest["by"][0]["name"]),
        (&size.into(), &"neighbour".into()),
        "{status:#}"
    );
    assert_eq!(status["health"]["witnesses"]["caveat"], Value::Null);
}

#[test]
fn the_service_has_its_checkpoints_cosigned_at_a_period_of_its_own() {
    let mut scene = Scene::new();
    let service = scene.site.serve();
    let health = || service.get("/healthz").unwrap().json();
    let wait = |what: &str, done: &dyn Fn(&Value) -> bool| {
        let deadline = Instant::now() + program::LIMIT;
        loop {
            let now = health();
            if done(&now) {
                return now;
            }
            assert!(Instant::now() < deadline, "{what}: {now:#}");
            std::thread::sleep(Duration::from_millis(20));
        }
    };
    service.poll();
    let first = wait("cosigned", &|h| h["witnesses"]["newest"]["size"] == h["size"]);
    let note = service.get("/checkpoint").unwrap().text();
    assert!(note.contains("\u{2014} witness.example/w "), "{note}");
    // The witness goes, polls go on, and health says who is missing.
    scene.witness.kill();
    service.poll();
    let row = wait("trouble", &|h| h["witnesses"]["witnesses"][0]["trouble"].is_string());
    assert!(row["size"].as_u64() > first["size"].as_u64());
    let late = wait("overdue", &|h| h["ok"] == false);
    assert!(late["trouble"].as_str().unwrap().contains("neighbour"), "{late:#}");
    scene.witness.serve();
    let all = |h: &Value| h["witnesses"]["newest"]["size"] == h["size"];
    wait("cosigned again", &|h| h["ok"] == true && all(h));
    service.stop().expect(0);
}

#[test]
fn a_restored_backup_and_a_clone_refuse_to_sign() {
    let scene = Scene::new();
    let site = &scene.site;
    site.poll();
    let backup = site.path("backup");
    copy(&site.data(), &backup);
    site.poll();
    let newest = site.path("newest");
    fs::rename(site.data(), &newest).unwrap();
    copy(&backup, &site.data());
    for words in ["poll", "serve"] {
        let before = listing(&site.data().join("journal"));
        let done = site.run(words).expect(2);
        assert!(done.err.contains("restored backup or a clone"), "{done:?}");
        assert!(done.err.contains("another copy of this log has signed more"), "{done:?}");
        assert_unchanged(&site.data().join("journal"), &before, words);
    }
    // Both heads are kept, and theirs is signed by this log.
    let forks = site.data().join("forks");
    let kept: Vec<PathBuf> = fs::read_dir(&forks).unwrap().map(|e| e.unwrap().path()).collect();
    assert!(!kept.is_empty());
    let head = |name: &str| Watched::parse(&fs::read(kept[0].join(name)).unwrap()).unwrap();
    let key: VerifierKey = site.vkey.parse().unwrap();
    assert!(head("theirs.checkpoint").head().size > head("ours.checkpoint").head().size);
    assert_eq!(head("theirs.checkpoint").lines_of(&[key]).unwrap().len(), 1);
    // Nor without its journal: the witness knows the name.
    fs::remove_dir_all(site.data()).unwrap();
    fs::remove_file(site.path("log.begun")).unwrap();
    let done = site.run("poll").expect(2);
    assert!(done.err.contains("neighbour"), "{done:?}");
    // The newest copy goes on.
    let _ = fs::remove_dir_all(site.data());
    fs::rename(&newest, site.data()).unwrap();
    site.poll();
}

#[test]
fn a_fork_is_an_alarm_with_both_heads() {
    let mut scene = Scene::new();
    scene.site.witness = format!("{QUICK}fail-open = true\n{}", scene.witness.table("neighbour", ""));
    scene.site.write();
    scene.site.poll();
    let common = scene.witness.shows(ORIGIN).unwrap();
    // While nobody watches, two copies write histories of their own.
    scene.witness.kill();
    let other = scene.site.path("other");
    copy(&scene.site.data(), &other);
    scene.site.poll();
    let ours = scene.site.path("ours");
    fs::rename(scene.site.data(), &ours).unwrap();
    fs::rename(&other, scene.site.data()).unwrap();
    for _ in 0..3 {
        scene.site.poll();
    }
    // The first to be cosigned is the log.
    scene.witness.serve();
    let longer = scene.site.path("longer");
    fs::rename(scene.site.data(), &longer).unwrap();
    fs::rename(&ours, scene.site.data()).unwrap();
    scene.site.poll();
    let cosigned = scene.witness.shows(ORIGIN).unwrap();
    assert_eq!(cosigned, common + 2);
    fs::rename(scene.site.data(), &ours).unwrap();
    fs::rename(&longer, scene.site.data()).unwrap();
    // Longer than what was cosigned, so only the proof tells.
    let done = scene.site.run("poll");
    assert!(done.err.contains("POSSIBLE FORK"), "{done:?}");
    assert_eq!(scene.witness.shows(ORIGIN), Some(cosigned));
    let kept: Vec<PathBuf> =
        fs::read_dir(scene.site.data().join("forks")).unwrap().map(|e| e.unwrap().path()).collect();
    assert_eq!(kept.len(), 1);
    for file in ["ours.checkpoint", "theirs.checkpoint", "request.txt", "answer.txt", "about.txt"] {
        assert!(kept[0].join(file).is_file(), "{file}");
    }
    let status = scene.site.run("--json status").expect(1).json();
    assert_eq!(status["health"]["ok"], false);
    assert!(status["health"]["trouble"].as_str().unwrap().contains("ALARM"), "{status:#}");
}

#[test]
fn an_unreachable_required_witness_keeps_the_log_from_signing_unless_fail_open_is_said() {
    let mut scene = Scene::new();
    scene.site.poll();
    scene.witness.kill();
    let before = listing(&scene.site.data().join("journal"));
    let done = scene.site.run("poll").expect(2);
    assert!(done.err.contains("neighbour is required"), "{done:?}");
    assert!(done.err.contains("witness.fail-open = true"), "{done:?}");
    assert_unchanged(&scene.site.data().join("journal"), &before, "poll");
    let table = scene.witness.table("neighbour", "");
    scene.site.witness = format!("{QUICK}fail-open = true\n{table}");
    scene.site.write();
    scene.site.poll();
    let status = scene.site.json("status");
    assert_eq!(status["health"]["witnesses"]["failOpen"], true);
    let caveat = status["health"]["witnesses"]["caveat"].as_str().unwrap().to_owned();
    assert!(caveat.contains("witness.fail-open") && caveat.contains("operator's word"), "{caveat}");
    assert!(scene.site.run("status").out.contains("operator's word"));
    assert!(scene.site.run("attest red-net").expect(0).out.contains("operator's word"));
    // One that is not required keeps nobody, and says so too.
    scene.site.witness = format!("{QUICK}{}", scene.witness.table("neighbour", "required = false\n"));
    scene.site.write();
    scene.site.poll();
    let status = scene.site.json("status");
    assert!(status["health"]["witnesses"]["caveat"].as_str().unwrap().contains("no witness is required"));
}

// ---- odd witnesses -----------------------------------------------------------------------------------------------

/// Answers every POST with the same bytes, and every GET with 404, and counts the POSTs.
fn odd(answer: Vec<u8>) -> (String, Arc<Mutex<u32>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let posts = Arc::new(Mutex::new(0));
    let counted = posts.clone();
    // Ends with the test's process; nobody waits for it.
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            let mut bytes = Vec::new();
            let mut chunk = [0; 4096];
            while let Ok(n @ 1..) = stream.read(&mut chunk) {
                bytes.extend_from_slice(&chunk[..n]);
                let text = String::from_utf8_lossy(&bytes).into_owned();
                let Some((head, _)) = text.split_once("\r\n\r\n") else { continue };
                let length = head
                    .to_ascii_lowercase()
                    .lines()
                    .find_map(|l| l.strip_prefix("content-length: ").and_then(|n| n.parse::<usize>().ok()));
                if bytes.len() >= head.len() + 4 + length.unwrap_or(0) {
                    break;
                }
            }
            if bytes.starts_with(b"POST") {
                *counted.lock().unwrap() += 1;
                let _ = stream.write_all(&answer);
            } else {
                let _ = stream
                    .write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
            }
        }
    });
    (address, posts)
}

fn http(status: &str, kind: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    format!("HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}")
        .into_bytes()
}

/// Every odd answer keeps a log that requires the witness from signing, in words that fit, and is never taken for a
/// cosignature.
#[test]
fn odd_and_lying_witnesses() {
    let rt = runtime();
    let lab = rt.block_on(Lab::start(World::two_tenants())).unwrap();
    let mut site = Site::of_lab(&lab);
    site.poll();
    let size = site.audit()["size"].as_u64().unwrap();
    let witness = NoteSigner::cosigner("witness.example/odd", &[9; 32]).unwrap();
    let now = Timestamp::parse("2026-03-02T10:00:00.000Z").unwrap();
    let elsewhere = witness.cosign("some other text\n", now).unwrap().to_string();
    let nobody = NoteSigner::cosigner("witness.example/nobody", &[10; 32]).unwrap();
    let nobody = nobody.cosign("some other text\n", now).unwrap().to_string();
    let size_type = "text/x.tlog.size";
    // Words that a required one is refused with at the start; whether it is an alarm; POSTs at most.
    let table: Vec<(Vec<u8>, Option<&str>, u32)> = vec![
        (http("409 Conflict", "text/plain", ""), Some("POSSIBLE FORK"), 1),
        (http("409 Conflict", size_type, "many\n"), Some("POSSIBLE FORK"), 1),
        (http("422 Unprocessable", "text/plain", "no\n"), Some("POSSIBLE FORK"), 1),
        (http("409 Conflict", size_type, "1000000\n"), Some("its word only"), 1),
        // It says "not from here, from here" for ever.
        (http("409 Conflict", size_type, &format!("{size}\n")), Some("named another size"), 2),
        (http("403 Forbidden", "text/plain", ""), Some("does not watch this log"), 1),
        (http("404 Not Found", "text/plain", ""), Some("does not watch this log"), 1),
        (http("429 Too Many Requests", "text/plain", ""), Some("overloaded"), 1),
        (http("503 Unavailable", "text/plain", ""), Some("overloaded"), 1),
        (http("400 Bad Request", "text/plain", "bad old\n"), Some("bad old"), 1),
        (http("302 Found", "text/plain", ""), Some("nothing that a witness says"), 1),
        (http("200 OK", "text/plain", ""), Some("nothing that a witness says"), 1),
        (http("200 OK", "text/html", "<p>Welcome\n"), Some("nothing that a witness says"), 1),
        (http("200 OK", "text/plain", &"x".repeat(200_000)), Some("nothing that a witness says"), 1),
        (http("200 OK", "text/plain", &elsewhere), Some("does not count"), 1),
        (http("200 OK", "text/plain", &nobody), Some("does not count"), 1),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n".to_vec(), Some("cannot be reached"), 1),
        (b"SSH-2.0-OpenSSH\r\n".to_vec(), Some("cannot be reached"), 1),
    ];
    for (answer, words, most) in table {
        let (address, posts) = odd(answer.clone());
        let shown = String::from_utf8_lossy(&answer[..answer.len().min(80)]).into_owned();
        let at = format!("[witness.by.odd]\nvkey = \"{}\"\nurl = \"http://{address}\"\n", witness.verifier());
        site.witness = format!("{QUICK}{at}");
        site.write();
        let done = site.run("poll").expect(2);
        let words = words.unwrap();
        assert!(done.err.contains(words), "{shown}: {}", done.err);
        let asked = *posts.lock().unwrap();
        assert!((1..=most).contains(&asked), "{shown}: asked {asked} times");
    }
    assert_eq!(site.audit()["cosignedCheckpoints"], 0);
    assert_eq!(site.audit()["size"], size, "nothing was signed");
}

// ---- auditors ----------------------------------------------------------------------------------------------------

#[test]
fn an_auditor_cosigns_what_it_recomputed_and_a_policy_can_require_it() {
    let mut scene = Scene::new();
    let auditor = tempfile::tempdir().unwrap();
    let mut init = program::command("isoledger");
    init.args(["--json", "witness", "init", "--name", "auditor.example/a", "--dir"]).arg(auditor.path());
    let vkey = program::run(&mut init).expect(0).json()["vkey"].as_str().unwrap().to_owned();
    let key = auditor.path().join("witness.key");
    let config = format!("[witness.auditors]\nboston = \"{vkey}\"\n");
    scene.site.witness = format!("{QUICK}{config}{}", scene.witness.table("neighbour", ""));
    scene.site.write();
    scene.site.poll();
    scene.site.poll();
    let lines = format!("witness w {}\nauditor a {vkey}\nquorum w\naudit a\n", scene.witness.vkey);
    let (code, report) = scene.verified(&lines);
    assert_eq!(code, 2, "{report:#}");
    let audit =
        |site: &Site, more: &str| site.run(&format!("--json audit --cosign {} {more}", key.display()));
    let audited = audit(&scene.site, "").expect(0).json();
    let size = audited["size"].as_u64().unwrap();
    assert_eq!(audited["cosigned"]["size"], size);
    let laid = PathBuf::from(audited["cosigned"]["file"].as_str().unwrap());
    assert!(laid.is_file());
    let backup = scene.site.path("backup");
    copy(&scene.site.data(), &backup);
    scene.site.poll();
    assert!(!laid.exists() && Path::new(&format!("{}.taken", laid.display())).is_file());
    // The witness's line about that size is still there.
    scene.policy(&lines);
    let attestation = scene.site.json("attest red-net");
    assert_eq!(attestation["predicate"]["auditedTo"], size, "{attestation:#}");
    // The range now ends behind what was audited.
    assert_eq!(scene.verified(&lines).0, 2);
    audit(&scene.site, "").expect(0);
    scene.site.poll();
    let to = scene.site.json("state --at 3")["ended"].as_str().unwrap().to_owned();
    scene.policy(&lines);
    let attestation = scene.site.attest("red-net", &format!("--to {to}"));
    scene.site.verify(&attestation).expect(0);
    // An auditor has a memory too.
    let older = scene.site.run(&format!(
        "audit --data {} --key {} --cosign {}",
        backup.display(),
        scene.site.vkey,
        key.display()
    ));
    assert!(older.expect(2).err.contains("it is an older one"));
    let unpinned = scene.site.run(&format!("audit --data {} --cosign {}", backup.display(), key.display()));
    assert!(unpinned.expect(2).err.contains("--cosign needs --key"));
    // What nobody we know has cosigned is not taken.
    let strange = scene.site.data().join("cosignatures/1-x.checkpoint");
    fs::write(&strange, "hello\n").unwrap();
    scene.site.poll();
    assert!(scene.site.data().join("cosignatures/1-x.checkpoint.refused").is_file());
}
