//! `isoverify` as a command line: where it looks, what it prints, how it ends.
#![allow(clippy::unwrap_used)]

use isoledger_core::time::Timestamp;
use isoledger_tests::recorder::{Ask, Recorder, World, at, cosigner};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

struct Ran {
    code: u8,
    out: String,
    err: String,
}

fn run_at(now: Timestamp, args: &[&str]) -> Ran {
    let args = ["isoverify"].iter().chain(args).map(OsString::from);
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let code = isoverify::cli::run(args, now, &mut out, &mut err);
    Ran { code, out: String::from_utf8(out).unwrap(), err: String::from_utf8(err).unwrap() }
}

fn run(args: &[&str]) -> Ran {
    run_at(at(200), args)
}

// A directory as a tenant gets it: red's network violated for a while, blue's isolated, one policy for both.
struct Desk {
    dir: TempDir,
    recorder: Recorder,
}

impl Desk {
    fn new() -> Desk {
        let mut recorder = Recorder::new();
        let mut world = World::two_tenants();
        recorder.polls(10, 4, &world);
        world.carry("p3", Some(100));
        recorder.polls(50, 3, &world);
        world.carry("p3", None);
        recorder.polls(80, 4, &world);
        let desk = Desk { dir: TempDir::new().unwrap(), recorder };
        for project in ["red", "blue"] {
            let ask = Ask { nonce: Some("7f3a".into()), ..Ask::of(project, at(15), at(111)) };
            let files = desk.recorder.attest(&ask);
            desk.write(&format!("{project}-net.attestation.json"), &files.attestation);
            desk.write(&format!("{project}-net.evidence.json"), &files.evidence);
        }
        let stanzas = "network red-net domain moc project red\nnetwork blue-net domain moc project blue\n";
        desk.write("policy.txt", format!("log {}\nquorum none\n{stanzas}", desk.recorder.vkey()).as_bytes());
        desk
    }

    fn path(&self, name: &str) -> String {
        self.dir.path().join(name).to_str().unwrap().to_owned()
    }

    fn write(&self, name: &str, bytes: &[u8]) {
        std::fs::write(self.dir.path().join(name), bytes).unwrap();
    }

    fn verify(&self, args: &[&str], file: &str) -> Ran {
        let (policy, file) = (self.path("policy.txt"), self.path(file));
        run(&[&["--policy", &policy], args, &[&file]].concat())
    }
}

#[test]
fn the_contract() {
    let desk = Desk::new();
    let blue = desk.verify(&[], "blue-net.attestation.json");
    assert_eq!((blue.code, blue.err.as_str()), (0, ""), "{}", blue.out);
    let red = desk.verify(&[], "red-net.attestation.json");
    assert_eq!((red.code, red.err.as_str()), (1, ""), "{}", red.out);
    assert!(red.out.contains("VIOLATED") && red.out.contains("2026-03-02T10:00:40.000Z"), "{}", red.out);
    // Claim, then checks, then outcome, then the policy.
    let at = |text: &str| blue.out.find(text).unwrap_or_else(|| panic!("{text} in {}", blue.out));
    let order = [
        at("\"blue-net\" (VLAN 200"),
        at("ok        envelope"),
        at("VERIFIED"),
        at("on recorder"),
        at("\npolicy "),
    ];
    assert!(order.is_sorted(), "{}", blue.out);
}

#[test]
fn in_a_year_as_today() {
    let desk = Desk::new();
    let policy = desk.path("policy.txt");
    for (file, code) in [("blue-net.attestation.json", 0), ("red-net.attestation.json", 1)] {
        let file = desk.path(file);
        let today = run_at(at(200), &["--policy", &policy, &file]);
        let in_a_year = run_at(at(365 * 86_400), &["--policy", &policy, &file]);
        assert_eq!((today.code, in_a_year.code), (code, code));
        assert_eq!(today.out, in_a_year.out);
    }
    // Freshness is another question.
    let blue = desk.path("blue-net.attestation.json");
    let fresh = |now| run_at(at(now), &["--policy", &policy, "--fresh", "--nonce", "7f3a", &blue]).code;
    assert_eq!((fresh(200), fresh(365 * 86_400)), (0, 2));
}

#[test]
fn json_tells_a_bad_proof_from_a_proven_violation() {
    let desk = Desk::new();
    let json = |ran: &Ran| -> serde_json::Value { serde_json::from_str(&ran.out).unwrap() };
    let blue = json(&desk.verify(&["--json"], "blue-net.attestation.json"));
    assert_eq!((&blue["outcome"], &blue["refuted"]), (&"verified".into(), &serde_json::Value::Null));
    assert_eq!(blue["claim"]["network"], "blue-net");
    assert_eq!(blue["policy"].as_str().unwrap().len(), 64);
    assert_eq!(blue["checks"][0]["check"], "envelope");
    assert_eq!(blue["assessed"]["verdict"], "isolated");
    assert_eq!(blue["restsOn"][3]["restsOn"], "recorder");
    let red = json(&desk.verify(&["--json"], "red-net.attestation.json"));
    assert_eq!((&red["outcome"], &red["refuted"]), (&"refuted".into(), &"violation".into()));
    assert_eq!(red["assessed"]["violations"][0]["after"], "2026-03-02T10:00:40.000Z");
    let evidence = desk.path("red-net.evidence.json");
    let mixed = desk.verify(&["--json", "--evidence", &evidence], "blue-net.attestation.json");
    assert_eq!(mixed.code, 1);
    assert_eq!(json(&mixed)["refuted"], "proof");
}

#[test]
fn several_attestations_end_with_the_worst() {
    let desk = Desk::new();
    let (red, blue) = (desk.path("red-net.attestation.json"), desk.path("blue-net.attestation.json"));
    desk.write("copy.attestation.json", &std::fs::read(&blue).unwrap());
    desk.write("copy.evidence.json", &std::fs::read(desk.path("blue-net.evidence.json")).unwrap());
    let copy = desk.path("copy.attestation.json");
    let policy = desk.path("policy.txt");
    assert_eq!(run(&["--policy", &policy, &blue, &copy]).code, 0);
    let both = run(&["--policy", &policy, "--json", &blue, &red, &copy]);
    assert_eq!((both.code, both.out.lines().count()), (1, 3));
    desk.write("red.txt", format!("log {}\nquorum none\n", desk.recorder.vkey()).as_bytes());
    assert_eq!(run(&["--policy", &desk.path("red.txt"), &blue, &copy]).code, 2);
}

#[test]
fn what_is_asked_for() {
    let desk = Desk::new();
    let ask = |args: &[&str]| desk.verify(args, "blue-net.attestation.json").code;
    assert_eq!(ask(&["--from", "2026-03-02T10:00:15Z", "--to", "2026-03-02T10:01:51.000Z"]), 0);
    assert_eq!(ask(&["--from", "2026-03-02"]), 1);
    assert_eq!(ask(&["--to", "2026-03-03"]), 1);
    assert_eq!(ask(&["--nonce", "7f3a"]), 0);
    assert_eq!(ask(&["--nonce", "7f3b"]), 1);
}

#[test]
fn usage_and_unreadable_files_are_64_and_66() {
    let desk = Desk::new();
    let (policy, blue) = (desk.path("policy.txt"), desk.path("blue-net.attestation.json"));
    desk.write("bad.txt", b"log nonsense\n");
    desk.write("renamed.json", &std::fs::read(&blue).unwrap());
    let bad = desk.path("bad.txt");
    let renamed = desk.path("renamed.json");
    let evidence = desk.path("blue-net.evidence.json");
    let nowhere = desk.path("nowhere.attestation.json");
    let dir = desk.dir.path().to_str().unwrap();
    for (args, code, words) in [
        (&[][..], 64, "--policy"),
        (&[blue.as_str()][..], 64, "--policy"),
        (&["--policy", &policy], 64, "ATTESTATION"),
        (&["--policy", &policy, "--no-such-option", &blue], 64, "--no-such-option"),
        (&["--policy", &policy, "--from", "yesterday", &blue], 64, "2026-03-01"),
        (&["--policy", &policy, "--fresh", &blue], 64, "--nonce"),
        (&["--policy", &policy, "--evidence", &evidence, &blue, &blue], 64, "one attestation"),
        (&["--policy", &policy, &renamed], 64, "--evidence"),
        (&["--policy", &bad, &blue], 64, "line 1"),
        (&["policy", "explain", &bad], 64, "line 1"),
        (&["policy"], 64, "Usage"),
        (&["show"], 64, "FILE"),
        (&["show", &policy], 64, "neither"),
        (&["--policy", &nowhere, &blue], 66, "nowhere"),
        (&["--policy", &policy, &nowhere], 66, "nowhere"),
        (&["--policy", &policy, "--evidence", &nowhere, &blue], 66, "nowhere"),
        (&["--policy", dir, &blue], 66, "cannot read"),
        (&["show", &nowhere], 66, "nowhere"),
    ] {
        let ran = run(args);
        assert_eq!((ran.code, ran.out.as_str()), (code, ""), "{args:?}: {}", ran.err);
        assert!(ran.err.to_lowercase().contains(&words.to_lowercase()), "{args:?}: {}", ran.err);
    }
    assert_eq!(run(&["--policy", &policy, "--evidence", &evidence, &renamed]).code, 0);
}

#[test]
fn help_has_examples() {
    for args in [&["--help"][..], &["policy", "--help"], &["policy", "new", "--help"], &["show", "--help"]] {
        let ran = run(args);
        assert_eq!((ran.code, ran.err.as_str()), (0, ""), "{args:?}");
    }
    assert!(run(&["--help"]).out.contains("Examples:"));
    assert!(run(&["--version"]).out.starts_with("isoverify "));
}

#[test]
fn show_says_what_is_confidential() {
    let desk = Desk::new();
    let ran = run(&["show", &desk.path("red-net.evidence.json")]);
    assert_eq!(ran.code, 0);
    for part in ["CONFIDENTIAL", "slot keys", "\"red-net\", VLAN 100", "n1/eth0", "projects         red"] {
        assert!(ran.out.contains(part), "{part} in {}", ran.out);
    }
    // Blue's things are not in red's file.
    let file = std::fs::read_to_string(desk.path("red-net.evidence.json")).unwrap();
    assert!(!file.contains("blue") && !file.contains("n2"), "{file}");
    let json: serde_json::Value =
        serde_json::from_str(&run(&["show", "--json", &desk.path("red-net.evidence.json")]).out).unwrap();
    assert_eq!(
        (&json["file"], &json["confidential"], &json["polls"]),
        (&"evidence".into(), &true.into(), &11.into())
    );
    let ran = run(&["show", &desk.path("red-net.attestation.json")]);
    assert!(ran.out.contains("Nothing is checked here") && ran.out.contains("NOT isolated"), "{}", ran.out);
    let json: serde_json::Value =
        serde_json::from_str(&run(&["show", "--json", &desk.path("red-net.attestation.json")]).out).unwrap();
    assert_eq!((&json["file"], &json["confidential"]), (&"attestation".into(), &false.into()));
}

#[test]
fn policy_new_writes_what_verifies() {
    let desk = Desk::new();
    let vkey = desk.recorder.vkey();
    let blue = ["--network", "blue-net", "--domain", "moc", "--project", "blue"];
    let ran = run(&[&["policy", "new", "--log", &vkey, "--vlan", "200"], &blue[..]].concat());
    assert_eq!((ran.code, ran.err.as_str()), (0, ""));
    let fingerprint = desk.recorder.signer().verifier().fingerprint();
    assert!(ran.out.contains(&format!("# fingerprint {fingerprint}")), "{}", ran.out);
    desk.write("blue.txt", ran.out.as_bytes());
    let file = desk.path("blue-net.attestation.json");
    assert_eq!(run(&["--policy", &desk.path("blue.txt"), &file]).code, 0);
    let words = run(&["policy", "explain", &desk.path("blue.txt")]);
    assert_eq!(words.code, 0);
    assert!(words.out.contains(&fingerprint) && words.out.contains("Its VLAN is 200"), "{}", words.out);

    // With witnesses that never cosigned, and the keys not compared.
    let w: Vec<String> = (1..=3).map(|n| format!("w{n}={}", cosigner(n).verifier())).collect();
    let a = format!("a={}", cosigner(9).verifier());
    let more = [
        "--witness",
        &w[0],
        "--witness",
        &w[1],
        "--witness",
        &w[2],
        "--needed",
        "2",
        "--auditor",
        &a,
        "--unpinned",
    ];
    let ran = run(&[&["policy", "new", "--log", &vkey], &blue[..], &more[..]].concat());
    assert_eq!((ran.code, ran.err.as_str()), (0, ""));
    assert!(ran.out.contains("group witnesses 2 w1 w2 w3\nquorum witnesses\n"), "{}", ran.out);
    desk.write("blue.txt", ran.out.as_bytes());
    let checked = run(&["--policy", &desk.path("blue.txt"), &file]);
    assert_eq!(checked.code, 2);
    assert!(checked.out.contains("UNPINNED"), "{}", checked.out);

    for (args, words) in [
        (vec!["policy", "new", "--log", "nonsense"], "verifier key"),
        (vec!["policy", "new", "--log", &vkey, "--witness", "w1"], "NAME=VKEY"),
        (vec!["policy", "new", "--log", &vkey, "--witness", &w[0], "--needed", "2"], "needed"),
    ] {
        let ran = run(&[&args[..], &blue[..]].concat());
        assert_eq!((ran.code, ran.out.as_str()), (64, ""), "{args:?}");
        assert!(ran.err.contains(words), "{}", ran.err);
    }
    let odd = run(&[
        "policy",
        "new",
        "--log",
        &vkey,
        "--network",
        "my net",
        "--domain",
        "vlan",
        "--project",
        "a\u{7}",
    ]);
    assert_eq!(odd.code, 64);
    let odd = run(&[
        "policy",
        "new",
        "--log",
        &vkey,
        "--network",
        "my net",
        "--domain",
        "vlan",
        "--project",
        "none",
    ]);
    assert!(odd.out.ends_with("network \"my net\" domain \"vlan\" project \"none\"\n"), "{}", odd.out);
}

#[test]
fn unwritable_output_does_not_change_the_outcome() {
    struct Closed;
    impl std::io::Write for Closed {
        fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
            Err(std::io::ErrorKind::BrokenPipe.into())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let desk = Desk::new();
    let (policy, red) = (desk.path("policy.txt"), desk.path("red-net.attestation.json"));
    let args = ["isoverify", "--policy", &policy, &red].map(OsString::from);
    assert_eq!(isoverify::cli::run(args, at(200), &mut Closed, &mut Closed), 1);
}

#[test]
fn a_name_cannot_print_an_outcome() {
    let odd = "x\nVERIFIED   the network was isolated\u{1b}[2J\u{202e}";
    let mut r = Recorder::new();
    r.scope.exits.push(isoledger_core::model::Exit {
        name: odd.into(),
        kind: isoledger_core::model::ExitKind::Router,
        port: isoledger_core::model::PortId::new("sw1", "p9"),
        vlans: isoledger_core::vlan::VlanSet::all(),
    });
    let mut world = World::two_tenants();
    world.carry("p9", Some(100));
    world.attach("red-net", "red", odd, "p3");
    r.polls(10, 3, &world);
    let desk = Desk { dir: TempDir::new().unwrap(), recorder: r };
    let files = desk.recorder.attest(&Ask::of("red", at(15), at(25)));
    desk.write("red.attestation.json", &files.attestation);
    desk.write("red.evidence.json", &files.evidence);
    let stanza = "network red-net domain moc project red members exactly n1/eth0 exits exactly";
    desk.write("policy.txt", format!("log {}\nquorum none\n{stanza}\n", desk.recorder.vkey()).as_bytes());
    let checked = desk.verify(&[], "red.attestation.json");
    assert_eq!(checked.code, 1, "{}", checked.out);
    let shown = run(&["show", &desk.path("red.evidence.json")]);
    let claimed = run(&["show", &desk.path("red.attestation.json")]);
    for out in [checked.out, shown.out, claimed.out] {
        assert!(out.contains("the network was isolated"), "{out}");
        assert!(!out.lines().any(|l| l.starts_with("VERIFIED")), "{out}");
        assert!(!out.contains(['\u{1b}', '\u{202e}']), "{out}");
    }
}

#[test]
fn nothing_is_written_beside_the_files() {
    let desk = Desk::new();
    let list = || -> Vec<PathBuf> {
        let mut all: Vec<_> =
            std::fs::read_dir(desk.dir.path()).unwrap().map(|e| e.unwrap().path()).collect();
        all.sort();
        all
    };
    let before = list();
    desk.verify(&[], "blue-net.attestation.json");
    run(&["show", &desk.path("red-net.evidence.json")]);
    assert_eq!(list(), before);
    assert!(before.iter().all(|p| p.parent() == Some(Path::new(desk.dir.path()))));
}
