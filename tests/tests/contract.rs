//! The two programs as others run them: what the demo leaves behind, what a tenant and a stranger can check of it,
//! and what every command line keeps to.
#![allow(clippy::unwrap_used)]

use isoledger_core::time::{Span, Timestamp};
use isoledger_lab::{Lab, World};
use isoledger_tests::program::{self, Done, LIMIT, Process};
use isoledger_tests::site::{Site, assert_unchanged, listing};
use isoledger_tests::tlog;
use serde_json::Value;
use std::collections::BTreeSet;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::{Instant, SystemTime, UNIX_EPOCH};
use tempfile::TempDir;

fn isoledger(words: &str) -> Done {
    program::run(program::command("isoledger").args(words.split_whitespace()))
}

fn isoverify(args: &[&Path]) -> Done {
    program::run(program::command("isoverify").args(args))
}

/// What `demo --once` leaves, in a directory of its own.
struct Demo {
    dir: TempDir,
    told: String,
}

impl Demo {
    fn run() -> Demo {
        let dir = tempfile::tempdir().unwrap();
        let done =
            program::run(program::command("isoledger").args(["demo", "--once", "--dir"]).arg(dir.path()));
        Demo { told: done.expect(0).out, dir }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// `isoledger --config DIR/isoledger.toml` with these words.
    fn isoledger(&self, words: &str) -> Done {
        let mut command = program::command("isoledger");
        command.arg("--config").arg(self.path("isoledger.toml")).args(words.split_whitespace());
        program::run(command.current_dir(self.dir.path()))
    }

    fn vkey(&self) -> String {
        let policy = std::fs::read_to_string(self.path("policy.txt")).unwrap();
        let mut keys = policy.lines().filter_map(|l| l.strip_prefix("log "));
        let vkey = keys.next().expect("the policy has a line `log <vkey>`").to_owned();
        assert_eq!(keys.next(), None, "one log, one key");
        vkey
    }
}

#[test]
fn the_demo_tells_its_story_and_leaves_the_files_named() {
    let demo = Demo::run();
    let files: BTreeSet<String> = std::fs::read_dir(demo.dir.path())
        .unwrap()
        .map(|e| e.unwrap().file_name().into_string().unwrap())
        .collect();
    let wanted = [
        "isoledger.toml",
        "data",
        "policy.txt",
        "red-net.attestation.json",
        "red-net.evidence.json",
        "blue-net.attestation.json",
        "blue-net.evidence.json",
        // What isoledger.toml names, and the copy with the flipped byte.
        "hil.password",
        "log.key",
        "log.begun",
        "scope.toml",
        "tampered",
        // The neighbour's, whom nothing of the operator's reads.
        "witness",
    ];
    assert_eq!(files, wanted.map(str::to_owned).into());
    let policy = std::fs::read_to_string(demo.path("policy.txt")).unwrap();
    for network in ["red-net", "blue-net"] {
        let stanzas = policy.lines().filter(|l| l.starts_with(&format!("network {network} "))).count();
        assert_eq!(stanzas, 1, "{policy}");
    }
    for said in [
        "red-net ISOLATED, blue-net ISOLATED",
        "red-net VIOLATED, blue-net ISOLATED",
        "foreign-port at port sw2 sw2p4",
        "cause: switch-moved",
        "isoverify --policy",
        "VERIFIED",
        "REFUTED",
        "AUDIT PASSED",
        "in entry 5",
    ] {
        assert!(demo.told.contains(said), "the story does not say {said:?}:\n{}", demo.told);
    }
    // The onset interval it told holds the moment of the edit it told.
    let after = |mark: &str| {
        let rest = demo.told.split_once(mark).unwrap_or_else(|| panic!("{mark}: {}", demo.told)).1;
        let word = rest.split([',', ';', ')', ' ', '\n']).next().unwrap();
        Timestamp::parse_lenient(word).unwrap_or_else(|| panic!("{word}"))
    };
    let edited = after("(the edit happened at ");
    let (from, to) = (after("  began  after "), after(", by "));
    assert!(from <= edited && edited <= to, "{from} {edited} {to}");
    // Beside the story, the copy with the flipped byte fails its audit with the entry named, the original passes.
    let data = demo.path("tampered");
    let bad =
        program::run(program::command("isoledger").args(["audit", "--json", "--data"]).arg(&data)).expect(1);
    assert_eq!(bad.json()["ok"], false);
    assert!(bad.json()["error"].as_str().unwrap().contains("entry 5"), "{bad:?}");
    let good = demo.isoledger("audit --json").expect(0).json();
    assert_eq!(good["ok"], true);
    // Secrets are their owner's alone.
    for (path, (mode, _)) in listing(demo.dir.path()) {
        if ["hil.password", "log.key", "witness/witness.key"].iter().any(|f| path == Path::new(f)) {
            assert_eq!(mode & 0o777, 0o600, "{}", path.display());
        }
    }
}

#[test]
fn the_demo_refuses_a_directory_with_somebodys_files() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("thesis.txt"), "years of work").unwrap();
    let before = listing(dir.path());
    let done = program::run(program::command("isoledger").args(["demo", "--once", "--dir"]).arg(dir.path()));
    let done = done.expect(2);
    assert!(done.err.contains("is not empty; the demo needs a new or empty directory"), "{done:?}");
    assert_unchanged(dir.path(), &before, "somebody's files");
}

#[test]
fn a_tenant_verifies_today_and_in_a_year() {
    let demo = Demo::run();
    let policy = demo.path("policy.txt");
    for (network, code, conclusion) in [("blue-net", 0, "VERIFIED"), ("red-net", 1, "REFUTED")] {
        let attestation = demo.path(&format!("{network}.attestation.json"));
        let beside = isoverify(&["--policy".as_ref(), &policy, &attestation]).expect(code);
        assert!(beside.out.contains(conclusion), "{}", beside.out);
        // Somewhere else under another name, with the evidence named.
        let (moved, evidence) = (demo.path("x.json"), demo.path("y.json"));
        std::fs::copy(&attestation, &moved).unwrap();
        std::fs::copy(demo.path(&format!("{network}.evidence.json")), &evidence).unwrap();
        let named = ["--policy".as_ref(), &*policy, "--evidence".as_ref(), &evidence, &moved];
        isoverify(&named).expect(code);
        isoverify(&["--policy".as_ref(), &policy, &moved]).expect(64);
        // The same program with a clock that shows another year.
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis();
        let now = Timestamp::from_millis(u64::try_from(now).unwrap()).unwrap();
        let later = now.plus(Span::from_secs(366 * 24 * 3600));
        let args: Vec<OsString> =
            ["isoverify".into(), "--policy".into(), policy.clone().into(), attestation.clone().into()].into();
        let (mut out, mut err) = (Vec::new(), Vec::new());
        assert_eq!(i32::from(isoverify::cli::run(args, later, &mut out, &mut err)), code);
        assert_eq!(String::from_utf8(out).unwrap(), beside.out, "a year changes nothing");
    }
    let json = isoverify(&[
        "--json".as_ref(),
        "--policy".as_ref(),
        &policy,
        &demo.path("blue-net.attestation.json"),
    ]);
    assert!(json.expect(0).json().is_object());
}

#[test]
fn the_policys_log_key_is_what_signed_the_attestation() {
    let demo = Demo::run();
    let attestation = demo.path("blue-net.attestation.json");
    let other = Demo::run();
    assert_ne!(demo.vkey(), other.vkey(), "every log has a key of its own");
    let checks = |policy: &Path| isoverify(&["--json".as_ref(), "--policy".as_ref(), policy, &attestation]);
    assert_eq!(checks(&demo.path("policy.txt")).expect(0).json()["checks"][0]["check"], "envelope");
    // The other log has the same name; only its key tells them apart.
    let said = checks(&other.path("policy.txt")).expect(1).json();
    let failed: Vec<&Value> =
        said["checks"].as_array().unwrap().iter().filter(|c| c["status"] == "failed").collect();
    assert!(!failed.is_empty() && failed[0]["check"] == "envelope", "{said:#}");
}

#[test]
fn an_export_is_read_by_a_client_that_knows_nothing_of_ours() {
    let demo = Demo::run();
    let out = demo.path("public");
    let said = demo.isoledger("--json export --out public").expect(0).json();
    let checkpoint = std::fs::read_to_string(out.join("checkpoint")).unwrap();
    let head = tlog::open_checkpoint(&checkpoint, &demo.vkey()).unwrap();
    assert_eq!(said["size"], head.size);
    let entries = tlog::entries(&head, |path| std::fs::read(out.join(path)).ok()).unwrap();
    // Each entry is a line of JSON that names its place and the hash of the one before.
    let mut prev = None;
    for (seq, entry) in entries.iter().enumerate() {
        let record: Value = serde_json::from_slice(entry).unwrap();
        assert_eq!((&record["seq"], &record["origin"]), (&seq.into(), &head.origin.as_str().into()));
        if let Some(prev) = prev {
            assert_eq!(record["prev"], blake3::Hash::to_hex(&prev).as_str(), "entry {seq}");
        }
        prev = Some(blake3::hash(entry));
    }
    // One flipped byte anywhere in the first bundle, or one lost file, and the same client refuses.
    let first = std::fs::read_dir(out.join("tile/entries")).unwrap().next().unwrap().unwrap().path();
    let flipped = |path: &str| {
        let mut bytes = std::fs::read(out.join(path)).ok()?;
        if path.starts_with("tile/entries/") {
            let middle = bytes.len() / 2;
            bytes[middle] ^= 1;
        }
        Some(bytes)
    };
    assert!(tlog::entries(&head, flipped).is_err(), "{}", first.display());
    // Again into the same directory is allowed; into somebody's is not.
    demo.isoledger("export --out public").expect(0);
    let before = listing(&demo.path("data"));
    let refused = demo.isoledger("export --out data").expect(2);
    assert!(refused.err.contains("is a log's own data directory"), "{refused:?}");
    assert_unchanged(&demo.path("data"), &before, "openings and evidence are in there");
    let refused = demo.isoledger("export --out .").expect(2);
    assert!(refused.err.contains("is not empty and holds no export"), "{refused:?}");
}

#[test]
fn the_demo_serves_until_it_is_told_to_stop() {
    let dir = tempfile::tempdir().unwrap();
    let mut command = program::command("isoledger");
    let demo = Process::start(command.args(["demo", "--port", "0", "--dir"]).arg(dir.path()));
    let deadline = Instant::now() + LIMIT;
    let address = loop {
        let out = demo.out();
        if let Some((_, rest)) = out.split_once("serving until Ctrl-C:\n  http://")
            && let Some((address, _)) = rest.split_once('\n')
        {
            break address.to_owned();
        }
        assert!(Instant::now() < deadline, "{out}");
        std::thread::sleep(std::time::Duration::from_millis(5));
    };
    let get = |path: &str| program::request(&address, "GET", path).unwrap();
    let policy = std::fs::read_to_string(dir.path().join("policy.txt")).unwrap();
    let vkey = policy.lines().find_map(|l| l.strip_prefix("log ")).unwrap();
    let head = tlog::open_checkpoint(&get("/checkpoint").text(), vkey).unwrap();
    tlog::entries(&head, |path| Some(get(&format!("/{path}"))).filter(|a| a.status == 200).map(|a| a.body))
        .unwrap();
    let networks = get("/v1/networks").json();
    assert_eq!(networks["networks"].as_array().unwrap().len(), 2);
    for network in networks["networks"].as_array().unwrap() {
        assert_eq!(network["verdict"], "isolated", "{network:#}");
    }
    assert_eq!(get("/healthz").status, 200);
    assert_eq!(get("/v1/networks/no-such-net").status, 404);
    assert_eq!(program::request(&address, "POST", "/v1/polls").unwrap().status, 200);
    demo.terminate();
    demo.wait(LIMIT).expect(0);
}

/// A site of the lab's two tenants that has polled once.
async fn polled_site() -> (Lab, Site) {
    let lab = Lab::start(World::two_tenants()).await.unwrap();
    let site = Site::of_lab(&lab);
    site.poll();
    (lab, site)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_command_speaks_json() {
    let (_lab, site) = polled_site().await;
    for (words, code) in [
        ("poll", 0),
        ("status", 0),
        ("divergences", 0),
        ("state", 0),
        ("attest red-net", 0),
        ("audit", 0),
        ("export --out public", 0),
        ("scope propose", 0),
        ("scope propose --out proposed.toml", 0),
        ("demo --once --dir demo", 0),
        ("init --origin a.example/x --dir another", 0),
        ("witness init --name w.example/w --dir witness", 0),
        // What went wrong is JSON too.
        ("state --at 2001-01-01", 2),
        ("attest no-such-net", 2),
        ("audit --data nowhere", 2),
        ("init --origin a.example/x --dir another", 2),
        ("witness init --name w.example/w --dir witness", 2),
        ("witness --dir nowhere", 2),
        ("export --out data", 2),
    ] {
        for line in [format!("--json {words}"), format!("{words} --json")] {
            let line = if line.ends_with("--json") && code == 0 && words.contains("--dir") {
                line.replacen("--dir ", "--dir again-", 1)
            } else if line.ends_with("--json") && words.contains("proposed") {
                line.replacen("proposed", "proposed-again", 1)
            } else {
                line
            };
            let done = site.run(&line).expect(code);
            let said = done.json();
            assert!(said.is_object(), "{line}: {said}");
            assert_eq!(said.get("error").is_some(), code == 2, "{line}: {said:#}");
            assert_eq!(done.err.is_empty(), code == 0, "{line}: {}", done.err);
        }
    }
    // Whether a check is content depends on the cloud; that it speaks JSON does not.
    let check = site.json("check");
    assert_eq!(check["checks"][0]["check"], "key", "{check:#}");
    let mut service = program::command("isoledger");
    service.arg("--json").arg("--config").arg(site.config()).arg("serve");
    let service = program::Service::start(&mut service).unwrap();
    let done = service.stop().expect(0);
    for line in done.out.lines() {
        assert!(serde_json::from_str::<Value>(line).is_ok_and(|v| v.is_object()), "{line:?} in {}", done.out);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn config_goes_before_and_after_the_subcommand_and_in_the_environment() {
    let (_lab, site) = polled_site().await;
    let config = site.config();
    let run = |build: &dyn Fn(&mut std::process::Command)| {
        let mut command = program::command("isoledger");
        // From a directory that has no isoledger.toml.
        command.current_dir("/");
        build(&mut command);
        program::run(&mut command)
    };
    for words in [&["status"][..], &["divergences", "--open"], &["audit"], &["state", "--switch", "sw1"]] {
        let before = run(&|c| {
            c.arg("--config").arg(&config).args(words);
        })
        .expect(0);
        let after = run(&|c| {
            c.args(words).arg("--config").arg(&config);
        })
        .expect(0);
        let environment = run(&|c| {
            c.env("ISOLEDGER_CONFIG", &config).args(words);
        })
        .expect(0);
        // Ages differ by milliseconds, and with them the columns' width; everything else is the same.
        let first = |d: &Done| {
            let line = d.out.lines().next().unwrap();
            line.split_whitespace().map(str::to_owned).collect::<Vec<_>>()
        };
        assert_eq!(first(&before), first(&after));
        assert_eq!(first(&before), first(&environment));
        let none = run(&|c| {
            c.args(words);
        })
        .expect(2);
        assert!(none.err.contains("isoledger.toml") && none.err.contains("isoledger init"), "{}", none.err);
    }
}

/// The subcommands a help text lists, but for clap's own.
fn subcommands(help: &str) -> Vec<String> {
    let (_, list) = help.split_once("\nCommands:\n").unwrap_or(("", ""));
    let names = list.lines().take_while(|l| !l.trim().is_empty());
    // Continuation lines of a description are indented further.
    let names = names.filter(|l| l.starts_with("  ") && !l.starts_with("   "));
    names.filter_map(|l| l.split_whitespace().next()).filter(|n| *n != "help").map(str::to_owned).collect()
}

#[test]
fn every_help_has_an_example_that_the_program_understands() {
    let mut todo = vec![Vec::<String>::new()];
    let mut seen = 0;
    while let Some(path) = todo.pop() {
        let help = isoledger(&[path.clone(), vec!["--help".into()]].concat().join(" ")).expect(0).out;
        for name in subcommands(&help) {
            todo.push([path.clone(), vec![name]].concat());
        }
        let (_, examples) = help.split_once("Example").unwrap_or_else(|| panic!("no example:\n{help}"));
        let examples: Vec<&str> =
            examples.lines().map(str::trim).filter_map(|l| l.strip_prefix("isoledger ")).collect();
        assert!(!examples.is_empty(), "{help}");
        for example in examples {
            assert!(path.iter().all(|word| example.contains(word.as_str())), "{path:?}: {example}");
            // Everything before --help is parsed, so a flag that is gone or misspelt shows.
            isoledger(&format!("{example} --help")).expect(0);
        }
        seen += 1;
    }
    assert!(seen >= 13, "only {seen} helps were found");
}

#[test]
fn a_command_line_that_is_not_understood_ends_with_64() {
    for words in [
        "",
        "--no-such-flag",
        "status --no-such-flag",
        "no-such-command",
        "attest",
        "export",
        "scope",
        "demo --port 70000",
    ] {
        let done = isoledger(words).expect(64);
        assert!(done.out.is_empty() && done.err.contains("--help"), "{words}: {done:?}");
    }
    for words in ["--help", "--version", "help", "status --help"] {
        let done = isoledger(words).expect(0);
        assert!(!done.out.is_empty() && done.err.is_empty(), "{words}: {done:?}");
    }
    let wrong = [&["--no-such-flag"][..], &[], &["x.attestation.json"]];
    for args in wrong {
        program::run(program::command("isoverify").args(args)).expect(64);
    }
    let policy = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(policy.path(), "quorum none\n").unwrap();
    let missing = Path::new("no-such.attestation.json");
    let code = isoverify(&["--policy".as_ref(), policy.path(), missing]).code;
    assert!(matches!(code, Some(64 | 66)), "{code:?}");
}
