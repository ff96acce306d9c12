//! Attestations held against policies: what is verified, what is refuted, what is left open, and by which check.
#![allow(clippy::unwrap_used)]

use isoledger_core::attestation::{Predicate, Statement};
use isoledger_core::evidence::{Evidence, Packer, Version};
use isoledger_core::hash::Digest;
use isoledger_core::judge::Verdict;
use isoledger_core::merkle::{leaf_hash, root_of};
use isoledger_core::model::{
    Access, BypassClass, BypassReading, Exit, ExitKind, NetworkVlan, PortId, PortReading, Unassessed,
};
use isoledger_core::note::NoteSigner;
use isoledger_core::policy::Policy;
use isoledger_core::record::{Body, Record};
use isoledger_core::time::{Span, Timestamp};
use isoledger_core::vlan::VlanSet;
use isoledger_tests::recorder::{Ask, Files, Recorder, World, at, at_millis, cosign, cosigner, vlan};
use isoverify::{CheckName, Options, Outcome, Report, Trust, Why, verify};
use proptest::prelude::*;

const VERIFIED: (&str, Option<CheckName>) = ("verified", None);

fn violation(check: CheckName) -> (&'static str, Option<CheckName>) {
    ("violation", Some(check))
}

fn bad(check: CheckName) -> (&'static str, Option<CheckName>) {
    ("bad proof", Some(check))
}

fn open(check: CheckName) -> (&'static str, Option<CheckName>) {
    ("undecided", Some(check))
}

// A policy of red's: this log, these lines, red-net.
fn policy(recorder: &Recorder, lines: &str, options: &str) -> Policy {
    let log = recorder.vkey();
    let lines = if lines.contains("quorum") { lines.to_owned() } else { format!("quorum none\n{lines}") };
    let text = format!("log {log}\n{lines}\nnetwork red-net domain moc project red vlan 100 {options}\n");
    Policy::parse(text.as_bytes()).unwrap()
}

fn check(files: &Files, policy: &Policy, options: &Options) -> Report {
    verify(&files.attestation, &files.evidence, policy, options)
}

// The outcome, and the first check that did not pass.
fn outcome(report: &Report) -> (&'static str, Option<CheckName>) {
    let name = match report.outcome {
        Outcome::Verified(_) => "verified",
        Outcome::Refuted(Why::Violation) => "violation",
        Outcome::Refuted(Why::Proof) => "bad proof",
        Outcome::Undecided => "undecided",
    };
    assert_eq!(report.outcome.why(), report.why);
    (name, report.first_problem().map(|c| c.check))
}

fn of(files: &Files, policy: &Policy) -> (&'static str, Option<CheckName>) {
    outcome(&check(files, policy, &Options::default()))
}

// Twelve quiet polls, ten seconds apart from second 10 on.
fn quiet() -> Recorder {
    let mut r = Recorder::new();
    r.polls(10, 12, &World::two_tenants());
    r
}

fn red(from: u64, to: u64) -> Ask {
    Ask::of("red", at(from), at(to))
}

// ---------------------------------------------------------------------------------------------------------------
// What a range can be

#[test]
fn an_isolated_range_is_verified() {
    let r = quiet();
    let report = check(&r.attest(&red(15, 95)), &policy(&r, "", ""), &Options::default());
    assert_eq!(outcome(&report), VERIFIED, "{}", report.to_text());
    let made: Vec<CheckName> = report.checks.iter().map(|c| c.check).collect();
    // Every check but freshness, which was not asked for, in their order.
    assert_eq!(made, CheckName::ALL[..21]);
    let assessed = report.assessed.clone().unwrap();
    assert_eq!((assessed.verdict, assessed.polls, assessed.isolated), (Verdict::Isolated, 10, 10));
    assert_eq!(report.claim.as_ref().unwrap().network, "red-net");
    assert!(report.to_text().contains("VERIFIED"));
}

#[test]
fn ranges_may_begin_with_the_log_and_end_with_it() {
    let r = quiet();
    for (from, to) in [(0, 95), (10, 95), (15, 121), (0, 500), (15, 15), (20, 20)] {
        let max_gap = if to == 500 { Span::from_secs(600) } else { Span::from_secs(60) };
        let ask = Ask { max_gap, ..red(from, to) };
        let p = policy(&r, "max-gap 10m", "");
        assert_eq!(of(&r.attest(&ask), &p), VERIFIED, "{from} to {to}");
    }
}

#[test]
fn a_foreign_port_is_a_proven_violation_with_its_interval() {
    let mut r = Recorder::new();
    let mut world = World::two_tenants();
    r.polls(10, 4, &world);
    world.carry("p3", Some(100));
    r.polls(50, 3, &world);
    world.carry("p3", None);
    r.polls(80, 4, &world);
    let report = check(&r.attest(&red(15, 105)), &policy(&r, "", ""), &Options::default());
    assert_eq!(outcome(&report), violation(CheckName::Isolation));
    let v = report.assessed.as_ref().unwrap().violations.clone();
    assert_eq!(v.len(), 1);
    assert_eq!((v[0].after, v[0].by, v[0].polls), (at(40), at_millis(50_100), 3));
    assert_eq!(v[0].over_by, Some(at_millis(80_100)));
    let detail = &report.check(CheckName::Isolation).unwrap().detail;
    assert!(detail.contains("unregistered-port"), "{detail}");
    // Blue's network was isolated all the while.
    let blue = r.attest(&Ask::of("blue", at(15), at(105)));
    let text = format!("log {}\nquorum none\nnetwork blue-net domain moc project blue", r.vkey());
    assert_eq!(of(&blue, &Policy::parse(text.as_bytes()).unwrap()), VERIFIED);
    // And before the violation so was red's: polls outside a range do not count.
    assert_eq!(of(&r.attest(&red(15, 38)), &policy(&r, "", "")), VERIFIED);
}

#[test]
fn a_silent_switch_leaves_the_range_open_when_it_lasts() {
    let mut r = Recorder::new();
    let world = World::two_tenants();
    let mut silent = world.clone();
    silent.switches.insert("sw1".into(), None);
    r.polls(10, 3, &world);
    r.polls(40, 3, &silent);
    r.polls(70, 3, &world);
    // From the start of the poll at 30 to the end of the poll at 70: 40.1 s.
    let files = r.attest(&red(15, 85));
    assert_eq!(of(&files, &policy(&r, "max-gap 41s", "")), VERIFIED);
    let report = check(&files, &policy(&r, "max-gap 40s", ""), &Options::default());
    assert_eq!(outcome(&report), open(CheckName::Isolation));
    let detail = &report.check(CheckName::Isolation).unwrap().detail;
    assert!(detail.contains("2026-03-02T10:00:30.000Z") && detail.contains("switch"), "{detail}");
    // The policy's gap counts, not the claim's.
    let strict = r.attest(&Ask { max_gap: Span::from_secs(1), ..red(15, 85) });
    assert_eq!(of(&strict, &policy(&r, "max-gap 41s", "")), VERIFIED);
}

#[test]
fn a_pause_in_polling_is_a_gap() {
    let mut r = Recorder::new();
    let world = World::two_tenants();
    r.polls(10, 3, &world);
    r.polls(90, 3, &world);
    assert_eq!(of(&r.attest(&red(15, 105)), &policy(&r, "max-gap 61s", "")), VERIFIED);
    assert_eq!(of(&r.attest(&red(15, 105)), &policy(&r, "max-gap 60s", "")), open(CheckName::Isolation));
    // So is silence until the end of the range.
    assert_eq!(of(&r.attest(&red(15, 300)), &policy(&r, "max-gap 61s", "")), open(CheckName::Isolation));
}

#[test]
fn a_silent_manager_and_a_moving_port_are_stretches_too() {
    let mut r = Recorder::new();
    let world = World::two_tenants();
    r.polls(10, 3, &world);
    r.polls(40, 2, &World { manager: false, ..world.clone() });
    let mut moving = world.clone();
    moving.moving.insert(PortId::new("sw1", "p1"));
    r.polls(60, 2, &moving);
    r.polls(80, 2, &world);
    assert_eq!(of(&r.attest(&red(15, 85)), &policy(&r, "max-gap 51s", "")), VERIFIED);
    assert_eq!(of(&r.attest(&red(15, 85)), &policy(&r, "max-gap 29s", "")), open(CheckName::Isolation));
}

// ---------------------------------------------------------------------------------------------------------------
// Another claim than the one that was asked for

#[test]
fn another_tenants_attestation_says_nothing_to_red() {
    let r = quiet();
    let p = policy(&r, "", "");
    let blue = r.attest(&Ask::of("blue", at(15), at(95)));
    assert_eq!(of(&blue, &p), open(CheckName::Stanza));
    // Red's name over blue's evidence, and the reverse.
    let red = r.attest(&red(15, 95));
    let mixed = Files { attestation: red.attestation, evidence: blue.evidence };
    assert_eq!(of(&mixed, &p), bad(CheckName::Statement));
}

#[test]
fn the_same_vlan_of_another_domain_says_nothing_to_red() {
    let r = quiet();
    let mut other = Recorder::of("audit.example/nerc", "nerc", 9);
    other.polls(10, 12, &World::two_tenants());
    let files = other.attest(&red(15, 95));
    assert_eq!(of(&files, &policy(&r, "", "")), bad(CheckName::Envelope));
    // With both logs in the policy the domain still differs.
    let text = format!(
        "log {}\nlog {}\nquorum none\nnetwork red-net domain moc project red log audit.example/moc\n",
        r.vkey(),
        other.vkey()
    );
    assert_eq!(of(&files, &Policy::parse(text.as_bytes()).unwrap()), open(CheckName::Stanza));
    // The other log cannot call itself moc: its scope says nerc.
    let ask = red(15, 95);
    let evidence = other.evidence(&ask, &other.checkpoint());
    let claim = Predicate { domain: "moc".into(), ..other.claim(&ask, &evidence) };
    let lie = other.sign(claim, &evidence);
    let text = format!("log {}\nquorum none\nnetwork red-net domain moc project red\n", other.vkey());
    assert_eq!(of(&lie, &Policy::parse(text.as_bytes()).unwrap()), bad(CheckName::Slices));
    // And where it says moc in its scope as well, it is not the log that may speak of moc.
    let mut twin = Recorder::of("audit.example/nerc", "moc", 9);
    twin.polls(10, 12, &World::two_tenants());
    let text = format!(
        "log {}\nlog {}\nquorum none\nnetwork red-net domain moc project red log audit.example/moc\n",
        r.vkey(),
        twin.vkey()
    );
    assert_eq!(
        of(&twin.attest(&red(15, 95)), &Policy::parse(text.as_bytes()).unwrap()),
        open(CheckName::Stanza)
    );
}

#[test]
fn range_and_nonce_are_those_that_were_asked_for() {
    let r = quiet();
    let p = policy(&r, "", "");
    let files = r.attest(&Ask { nonce: Some("7f3a".into()), ..red(15, 95) });
    let asked = |from: Option<u64>, to: Option<u64>, nonce: Option<&str>| {
        let options =
            Options { from: from.map(at), to: to.map(at), nonce: nonce.map(str::to_owned), fresh: None };
        outcome(&check(&files, &p, &options))
    };
    assert_eq!(asked(Some(15), Some(95), Some("7f3a")), VERIFIED);
    assert_eq!(asked(Some(14), None, None), bad(CheckName::Request));
    assert_eq!(asked(None, Some(96), None), bad(CheckName::Request));
    assert_eq!(asked(None, None, Some("7f3b")), bad(CheckName::Request));
    let without = r.attest(&red(15, 95));
    let options = Options { nonce: Some("7f3a".into()), ..Options::default() };
    assert_eq!(outcome(&check(&without, &p, &options)), bad(CheckName::Request));
}

#[test]
fn freshness_is_of_polls_and_cosignatures_and_needs_a_nonce() {
    let r = quiet();
    let files = r.attest(&Ask { nonce: Some("n".into()), ..red(15, 121) });
    let fresh = |p: &Policy, nonce: Option<&str>, now: u64| {
        let options = Options { nonce: nonce.map(str::to_owned), fresh: Some(at(now)), ..Options::default() };
        outcome(&check(&files, p, &options))
    };
    let p = policy(&r, "fresh-within 30s", "");
    // The last poll ended at 120.1.
    assert_eq!(fresh(&p, Some("n"), 150), VERIFIED);
    assert_eq!(fresh(&p, Some("n"), 151), open(CheckName::Freshness));
    assert_eq!(fresh(&p, None, 150), open(CheckName::Freshness));
    assert_eq!(fresh(&p, Some("n"), 3), open(CheckName::Freshness));
    assert_eq!(fresh(&p, Some("n"), 365 * 86_400), open(CheckName::Freshness));
    // With witnesses, their newest cosignature ages too.
    let w1 = cosigner(1);
    let lines = format!("witness w1 {}\nquorum w1\nfresh-within 30s\nwitnessed-within 3m", w1.verifier());
    let p = policy(&r, &lines, "");
    let ask = Ask { nonce: Some("n".into()), ..red(15, 121) };
    let files = r.attest_with(&ask, &[(&w1, at(125))]);
    let options = |now| Options { nonce: Some("n".into()), fresh: Some(at(now)), ..Options::default() };
    assert_eq!(outcome(&check(&files, &p, &options(150))), VERIFIED);
    let files = r.attest_with(&ask, &[(&w1, at(100))]);
    assert_eq!(outcome(&check(&files, &p, &options(150))), open(CheckName::Freshness));
}

#[test]
fn what_the_policy_does_not_name_is_left_open() {
    let r = quiet();
    let files = r.attest(&red(15, 95));
    for stanza in [
        "network red-net domain moc project blue",
        "network red-net domain nerc project red",
        "network other domain moc project red",
        "network red-net domain moc project red vlan 101",
        "",
    ] {
        let text = format!("log {}\nquorum none\n{stanza}\n", r.vkey());
        let p = Policy::parse(text.as_bytes()).unwrap();
        assert_eq!(of(&files, &p), open(CheckName::Stanza), "{stanza}");
    }
}

// ---------------------------------------------------------------------------------------------------------------
// A recorder that lies with its own key. Each lie is signed; the check that refutes it is named.

// Takes the honest evidence and claim apart, changes them, and signs again.
fn lie(r: &Recorder, ask: &Ask, change: impl FnOnce(&mut Evidence, &mut Predicate)) -> Files {
    let mut evidence = r.evidence(ask, &r.checkpoint());
    let mut claim = r.claim(ask, &evidence);
    change(&mut evidence, &mut claim);
    r.sign(claim, &evidence)
}

fn lied(
    r: &Recorder,
    change: impl FnOnce(&mut Evidence, &mut Predicate),
) -> (&'static str, Option<CheckName>) {
    of(&lie(r, &red(15, 95), change), &policy(r, "", ""))
}

// The range's entries in full, so that they can be moved about.
fn unpack(e: &Evidence) -> Vec<Vec<u8>> {
    let mut p = Packer::new();
    e.entries.iter().map(|packed| p.unpack(packed).unwrap().0).collect()
}

fn pack(entries: &[Vec<u8>]) -> Vec<String> {
    let mut p = Packer::new();
    entries.iter().map(|e| p.pack(e).unwrap()).collect()
}

#[test]
fn the_honest_files_pass_unchanged() {
    assert_eq!(lied(&quiet(), |_, _| ()), VERIFIED);
}

#[test]
fn ends_that_are_left_open() {
    let r = quiet();
    // The claim begins earlier or ends later than what the file reaches to.
    assert_eq!(lied(&r, |_, c| c.from = at(5)), bad(CheckName::Ends));
    assert_eq!(lied(&r, |_, c| c.to = at(118)), bad(CheckName::Ends));
    assert_eq!(lied(&r, |_, c| (c.from, c.to) = (at(95), at(15))), bad(CheckName::Ends));
    // More than reaches to the ends is refused as well: one file for one range.
    assert_eq!(lied(&r, |_, c| c.from = at(25)), bad(CheckName::Ends));
    assert_eq!(lied(&r, |_, c| c.to = at(85)), bad(CheckName::Ends));
    // A file that stops before the end, with a good proof of what is left.
    let ask = red(15, 95);
    let short = r.evidence(&red(15, 75), &r.checkpoint());
    let claim = Predicate { to: ask.to, ..r.claim(&ask, &short) };
    assert_eq!(of(&r.sign(claim, &short), &policy(&r, "", "")), bad(CheckName::Ends));
    let late = r.evidence(&red(45, 95), &r.checkpoint());
    let claim = Predicate { from: ask.from, ..r.claim(&ask, &late) };
    assert_eq!(of(&r.sign(claim, &late), &policy(&r, "", "")), bad(CheckName::Ends));
}

#[test]
fn entries_that_are_missing_moved_or_changed() {
    let r = quiet();
    let drop = |e: &mut Evidence, at: usize| {
        let mut entries = unpack(e);
        entries.remove(at);
        e.entries = pack(&entries);
    };
    assert_eq!(lied(&r, |e, _| drop(e, 4)), bad(CheckName::Range));
    // With the count made to fit, the gap itself shows.
    assert_eq!(
        lied(&r, |e, _| {
            drop(e, 4);
            e.range.end -= 1;
        }),
        bad(CheckName::Entries)
    );
    assert_eq!(
        lied(&r, |e, _| {
            let mut entries = unpack(e);
            entries.swap(4, 5);
            e.entries = pack(&entries);
        }),
        bad(CheckName::Entries)
    );
    // A poll rewritten, and the chain made to follow: the tree does not.
    assert_eq!(
        lied(&r, |e, _| {
            let mut entries = unpack(e);
            let mut prev = None;
            for (i, bytes) in entries.iter_mut().enumerate() {
                let mut record = Record::parse(bytes).unwrap();
                if i == 4 {
                    let Body::Poll(p) = &mut record.body else { unreachable!() };
                    p.content = Digest([1; 32]);
                }
                record.prev = prev.unwrap_or(record.prev);
                *bytes = record.encode().into_bytes();
                prev = Some(Digest::of(bytes));
            }
            e.entries = pack(&entries);
        }),
        bad(CheckName::Range)
    );
    assert_eq!(lied(&r, |e, _| e.entries.clear()), bad(CheckName::Range));
    assert_eq!(lied(&r, |e, _| e.entries[3] = "p 1 2 3".into()), bad(CheckName::Entries));
    assert_eq!(lied(&r, |e, _| e.range.left.clear()), bad(CheckName::Range));
    assert_eq!(lied(&r, |e, _| drop_last(&mut e.range.right)), bad(CheckName::Range));
    assert_eq!(lied(&r, |e, _| e.range.end = u64::MAX), bad(CheckName::Range));
    assert_eq!(lied(&r, |e, _| e.range.start = e.range.end), bad(CheckName::Range));
}

fn drop_last<T>(v: &mut Vec<T>) {
    v.pop();
}

#[test]
fn a_version_with_a_second_root_is_refused_by_the_chain() {
    // The log itself does it: its poll says the version before, and another root.
    let mut r = Recorder::new();
    let world = World::two_tenants();
    r.polls(10, 3, &world);
    let last = *r.polls.last().unwrap();
    r.append(
        Body::Poll(isoledger_core::record::Poll {
            semantics: 1,
            started: at(40),
            ended: at_millis(40_100),
            version: last.version,
            root: Digest([5; 32]),
            content: Digest([6; 32]),
        }),
        at(41),
    );
    r.polls(50, 3, &world);
    assert_eq!(of(&r.attest(&red(15, 65)), &policy(&r, "", "")), bad(CheckName::Entries));
}

#[test]
fn versions_that_are_not_opened_as_they_should() {
    let mut r = Recorder::new();
    let mut world = World::two_tenants();
    r.polls(10, 5, &world);
    // Somebody else changes something: a new version, and the same slice for red.
    world.carry("p2", None);
    r.polls(60, 6, &world);
    let one = |change: &dyn Fn(&mut Evidence)| lied(&r, |e, _| change(e));
    assert_eq!(one(&|_| ()), VERIFIED);
    assert_eq!(one(&|e| drop_last(&mut e.versions)), bad(CheckName::Versions));
    assert_eq!(one(&|e| e.versions.swap(0, 1)), bad(CheckName::Versions));
    assert_eq!(one(&|e| e.versions.push(e.versions[1].clone())), bad(CheckName::Versions));
    assert_eq!(
        one(&|e| e.versions.push(Version { version: 999, ..e.versions[1].clone() })),
        bad(CheckName::Versions)
    );
    // The first version's proof under the second version's number.
    assert_eq!(one(&|e| e.versions[1].proof = e.versions[0].proof.clone()), bad(CheckName::Versions));
    assert_eq!(one(&|e| e.versions[0].proof.truncate(8)), bad(CheckName::Versions));
    assert_eq!(one(&|e| e.leases[0].key = Digest([1; 32])), bad(CheckName::Versions));
    assert_eq!(one(&|e| e.leases[0].lease += 1), bad(CheckName::Versions));
    assert_eq!(one(&|e| e.leases.clear()), bad(CheckName::Versions));
    assert_eq!(
        one(&|e| {
            let mut extra = e.leases[0].clone();
            extra.lease += 1;
            e.leases.push(extra);
        }),
        bad(CheckName::Versions)
    );
    assert_eq!(one(&|e| drop_last(&mut e.texts)), bad(CheckName::Slices));
    assert_eq!(one(&|e| e.texts.swap(0, 1)), bad(CheckName::Slices));
    assert_eq!(
        one(&|e| {
            e.texts.push("unused".into());
            e.texts.sort_by_key(|t| Digest::of(t.as_bytes()));
        }),
        bad(CheckName::Slices)
    );
}

#[test]
fn an_isolated_slice_instead_of_the_violated_one() {
    let mut r = Recorder::new();
    let mut world = World::two_tenants();
    r.polls(10, 3, &world);
    world.carry("p3", Some(100));
    r.polls(40, 3, &world);
    world.carry("p3", None);
    r.polls(70, 3, &world);
    assert_eq!(of(&r.attest(&red(15, 85)), &policy(&r, "", "")), violation(CheckName::Isolation));
    // The violated version is opened with the slice of the quiet one.
    let swapped = lied_of(&r, &red(15, 85), |e, c| {
        let quiet = e.versions[0].clone();
        let v = &mut e.versions[1];
        (v.slice, v.common, v.section) = (quiet.slice, quiet.common, quiet.section);
        retain_used_texts(e);
        c.verdict = Verdict::Isolated;
        c.violations.clear();
        c.isolated = c.polls;
    });
    assert_eq!(swapped, bad(CheckName::Versions));
    // The claim alone is made friendlier.
    for change in [
        (|c: &mut Predicate| c.verdict = Verdict::Isolated) as fn(&mut Predicate),
        |c| c.violations.clear(),
        |c| c.violations[0].after = at(41),
        |c| c.isolated += 3,
        |c| c.polls -= 1,
        |c| c.max_gap = Span::from_secs(1),
        |c| c.leases.push(99),
        |c| c.scope_changes.push(99),
        |c| c.exceptions.push(99),
        |c| c.not_assessed.clear(),
        |c| c.cosignatures.push("witness.example/w1".into()),
        |c| c.audited_to = Some(c.log.size + 1),
        |c| c.exits.push(isoledger_core::slice::ExitView { name: "x".into(), kind: ExitKind::Router }),
        |c| {
            c.blind.push(isoledger_core::range::Stretch {
                blind: isoledger_core::range::Blind::Manager,
                from: at(1),
                to: at(2),
            });
        },
    ] {
        assert_eq!(lied_of(&r, &red(15, 85), |_, c| change(c)), bad(CheckName::Claim));
    }
}

fn lied_of(
    r: &Recorder,
    ask: &Ask,
    change: impl FnOnce(&mut Evidence, &mut Predicate),
) -> (&'static str, Option<CheckName>) {
    of(&lie(r, ask, change), &policy(r, "", ""))
}

fn retain_used_texts(e: &mut Evidence) {
    let mut used = std::collections::BTreeSet::new();
    let texts: std::collections::HashMap<Digest, String> =
        e.texts.iter().map(|t| (Digest::of(t.as_bytes()), t.clone())).collect();
    for v in &e.versions {
        used.extend([v.slice, v.common, v.section]);
        let part: isoledger_core::slice::CommonPart =
            isoledger_core::json::from_canonical("common", texts[&v.common].as_bytes(), 1 << 20).unwrap();
        used.extend([part.roster, part.scope, part.coverage, part.bypasses, part.wide]);
    }
    e.texts.retain(|t| used.contains(&Digest::of(t.as_bytes())));
}

#[test]
fn network_log_and_checkpoint_are_the_claims() {
    let r = quiet();
    assert_eq!(lied(&r, |e, _| e.network = "blue-net".into()), bad(CheckName::Evidence));
    assert_eq!(lied(&r, |e, _| e.vlan = vlan(200)), bad(CheckName::Evidence));
    assert_eq!(lied(&r, |e, _| e.origin = "elsewhere.example".into()), bad(CheckName::Evidence));
    assert_eq!(lied(&r, |_, c| c.log.origin = "elsewhere.example".into()), bad(CheckName::Evidence));
    assert_eq!(lied(&r, |_, c| c.log.size += 1), bad(CheckName::Checkpoint));
    assert_eq!(lied(&r, |_, c| c.log.root.0[0] ^= 1), bad(CheckName::Checkpoint));
    // A checkpoint of another log, or of another key of the same name.
    let mut other = Recorder::of("audit.example/nerc", "moc", 9);
    other.polls(10, 12, &World::two_tenants());
    let foreign = other.checkpoint().as_str().to_owned();
    assert_eq!(lied(&r, |e, _| e.checkpoint = foreign), bad(CheckName::Checkpoint));
    let mut other = Recorder::of("audit.example/moc", "moc", 9);
    other.polls(10, 12, &World::two_tenants());
    let foreign = other.checkpoint().as_str().to_owned();
    assert_eq!(lied(&r, |e, _| e.checkpoint = foreign), bad(CheckName::Checkpoint));
    // Blue's slice under red's name: the proof leads from VLAN 200 only.
    let blue = r.evidence(&Ask::of("blue", at(15), at(95)), &r.checkpoint());
    let swapped = lied(&r, |e, _| {
        e.versions.clone_from(&blue.versions);
        e.texts.clone_from(&blue.texts);
        e.leases.clone_from(&blue.leases);
    });
    assert_eq!(swapped, bad(CheckName::Slices));
    let renamed = lied(&r, |e, c| {
        *e = Evidence { network: "red-net".into(), ..blue.clone() };
        c.vlan = vlan(200);
    });
    assert_eq!(renamed, bad(CheckName::Slices));
}

#[test]
fn two_stories_for_two_tenants_have_one_root() {
    // The log commits to a slice of red-net that hides the intruder, while a neighbour moves.
    let mut r = Recorder::new();
    let mut world = World::two_tenants();
    r.polls(10, 2, &world);
    world.carry("p2", None);
    world.carry("p3", Some(100));
    let mut honest = None;
    for second in [30, 40, 50] {
        r.poll_as(at(second), &world, |assembly| {
            let slice = assembly.slices.get_mut(&100).unwrap();
            honest = Some(isoledger_core::json::to_canonical(slice));
            slice.ports.retain(|p| !p.declared.is_empty());
        });
    }
    // From the file alone nobody can tell: that slices follow from the evidence is an auditor's word or the recorder's.
    let ask = red(15, 45);
    let report = check(&r.attest(&ask), &policy(&r, "", ""), &Options::default());
    assert_eq!(outcome(&report), VERIFIED);
    let words = "the slices follow from the recorded evidence is the operator's word";
    assert!(report.rests_on.iter().any(|s| s.rests_on == Trust::Recorder && s.sentence.contains(words)));
    // But there is one story for this VLAN in a poll: the true slice does not open beside it.
    let other = lied_of(&r, &ask, |e, _| {
        let text = String::from_utf8(honest.unwrap()).unwrap();
        e.versions[1].slice = Digest::of(text.as_bytes());
        e.texts.push(text);
        e.texts.sort_by_key(|t| Digest::of(t.as_bytes()));
        retain_used_texts(e);
    });
    assert_eq!(other, bad(CheckName::Versions));
}

#[test]
fn an_older_log_of_other_entries_is_a_fork_in_the_chain() {
    let mut r = quiet();
    r.archive(&[]);
    r.polls(130, 3, &World::two_tenants());
    assert_eq!(lied(&r, |_, _| ()), VERIFIED);
    assert_eq!(lied(&r, |e, _| e.chain[0].proof.clear()), bad(CheckName::Chain));
    assert_eq!(lied(&r, |e, _| e.chain.push(e.chain[0].clone())), bad(CheckName::Chain));
    assert_eq!(lied(&r, |e, _| e.chain[0].checkpoint = e.checkpoint.clone()), bad(CheckName::Chain));
    let mut fork = Recorder::new();
    let mut world = World::two_tenants();
    world.carry("p3", Some(100));
    fork.polls(10, 12, &world);
    let forked = fork.checkpoint().as_str().to_owned();
    assert_eq!(lied(&r, |e, _| e.chain[0].checkpoint = forked.clone()), bad(CheckName::Chain));
    assert_eq!(lied(&r, |e, _| e.chain[0].checkpoint.push('x')), bad(CheckName::Chain));
}

#[test]
fn a_key_that_the_policy_does_not_know_signs_nothing() {
    let r = quiet();
    let mut rotated = Recorder::of("audit.example/moc", "moc", 8);
    rotated.polls(10, 12, &World::two_tenants());
    assert_eq!(of(&rotated.attest(&red(15, 95)), &policy(&r, "", "")), bad(CheckName::Envelope));
    // A policy may know both keys of one log.
    let both = format!("log {}\n", rotated.vkey());
    assert_eq!(of(&rotated.attest(&red(15, 95)), &policy(&r, &both, "")), VERIFIED);
    // Claim and checkpoint may then be signed by different ones, as after a rotation.
    let evidence = r.evidence(&red(15, 95), &r.checkpoint());
    let claim = r.claim(&red(15, 95), &evidence);
    let statement = Statement::new("red-net.evidence.json", &evidence.to_bytes(), claim);
    let files = Files {
        attestation: statement.sign(rotated.signer()).unwrap().into_bytes(),
        evidence: evidence.to_bytes(),
    };
    assert_eq!(of(&files, &policy(&r, &both, "")), VERIFIED);
    assert_eq!(of(&files, &policy(&r, "", "")), bad(CheckName::Envelope));
}

#[test]
fn unknown_semantics_and_later_versions_are_left_open() {
    let mut r = Recorder::new();
    r.polls(10, 3, &World::two_tenants());
    r.semantics = 2;
    r.polls(40, 3, &World::two_tenants());
    let report = check(&r.attest(&red(15, 55)), &policy(&r, "", ""), &Options::default());
    assert_eq!(outcome(&report), open(CheckName::Semantics));
    assert!(report.check(CheckName::Semantics).unwrap().detail.contains("newer"));
    // Before the change nothing is unknown.
    assert_eq!(of(&r.attest(&red(15, 25)), &policy(&r, "", "")), VERIFIED);

    let r = quiet();
    let ask = red(15, 95);
    let evidence = r.evidence(&ask, &r.checkpoint());
    let claim = r.claim(&ask, &evidence);
    let later = String::from_utf8(evidence.to_bytes()).unwrap().replacen("{\"v\":1,", "{\"v\":2,", 1);
    let files =
        Files { attestation: r.sign_bytes(claim.clone(), later.as_bytes()), evidence: later.into_bytes() };
    assert_eq!(of(&files, &policy(&r, "", "")), open(CheckName::Evidence));
    let mut statement = Statement::new("e", &evidence.to_bytes(), claim);
    statement.predicate_type = "https://isoledger.dev/vlan-isolation/v2".into();
    let files = Files {
        attestation: statement.sign(r.signer()).unwrap().into_bytes(),
        evidence: evidence.to_bytes(),
    };
    assert_eq!(of(&files, &policy(&r, "", "")), open(CheckName::Statement));
}

#[test]
fn an_unknown_type_of_entry_is_counted_and_skipped() {
    let mut r = Recorder::new();
    r.polls(10, 3, &World::two_tenants());
    r.append(Body::Unknown { kind: "weather-noted".into(), rest: ",\"rain\":true}".into() }, at(35));
    r.append(Body::DivergenceAcknowledged { commitment: Digest([3; 32]) }, at(36));
    let exception = r.exception_granted(at(37));
    r.polls(40, 3, &World::two_tenants());
    let report = check(&r.attest(&red(15, 55)), &policy(&r, "", ""), &Options::default());
    assert_eq!(outcome(&report), VERIFIED);
    assert!(report.check(CheckName::Entries).unwrap().detail.contains("1 of types"));
    assert_eq!(report.claim.unwrap().exceptions, [exception]);
}

// ---------------------------------------------------------------------------------------------------------------
// Leases

#[test]
fn a_lease_of_somebody_else_stays_closed_and_ends_the_range() {
    let mut r = Recorder::new();
    let mut world = World::two_tenants();
    // Until second 40 VLAN 100 is blue's.
    let mut before = world.clone();
    before.declared.networks.remove("red-net");
    before.declared.attachments.retain(|a| a.network != "red-net");
    before.network("old-net", 100, "blue");
    before.carry("p1", None);
    r.polls(10, 3, &before);
    r.polls(40, 5, &world);
    // The poll that closes the start is of blue's lease and stays unopened; the range is good from the next one on.
    let files = r.attest(&red(35, 75));
    let report = check(&files, &policy(&r, "", ""), &Options::default());
    assert_eq!(outcome(&report), VERIFIED, "{}", report.to_text());
    assert_eq!(report.claim.unwrap().polls, 5);
    // A range that reaches into blue's lease has polls inside that red cannot open.
    assert_eq!(of(&r.attest(&red(15, 75)), &policy(&r, "", "")), bad(CheckName::Versions));
    // Shared for a while: a lease of its own, red's all the same.
    if let Some(n) = world.declared.networks.get_mut("red-net") {
        n.access = Access::Projects(["red".to_owned(), "green".to_owned()].into());
    }
    r.polls(90, 4, &world);
    let report = check(&r.attest(&red(45, 115)), &policy(&r, "", ""), &Options::default());
    assert_eq!(outcome(&report), VERIFIED);
    assert_eq!(report.claim.unwrap().leases.len(), 2);
    // Green may ask for its part only.
    let green = Ask { project: "green".into(), ..red(95, 115) };
    let text = format!("log {}\nquorum none\nnetwork red-net domain moc project green\n", r.vkey());
    let p = Policy::parse(text.as_bytes()).unwrap();
    assert_eq!(of(&r.attest(&green), &p), VERIFIED);
    // With red's keys in green's hands the file says so: the network was not open to green.
    let stolen = r.evidence(&red(45, 115), &r.checkpoint());
    let claim = Predicate { project: "green".into(), ..r.claim(&red(45, 115), &stolen) };
    assert_eq!(of(&r.sign(claim, &stolen), &p), bad(CheckName::Slices));
}

// ---------------------------------------------------------------------------------------------------------------
// What the policy demands besides

#[test]
fn members_of_the_network() {
    let mut r = Recorder::new();
    let mut world = World::two_tenants();
    world.attach("red-net", "red", "n4", "p4");
    world.carry("p4", Some(100));
    r.polls(10, 12, &world);
    let files = r.attest(&red(15, 95));
    let with = |options: &str| of(&files, &policy(&r, "", options));
    assert_eq!(with("members exactly n1/eth0 n4/eth0"), VERIFIED);
    assert_eq!(with("members at-least n4/eth0"), VERIFIED);
    // The intruder that was added to the cloud manager.
    assert_eq!(with("members exactly n1/eth0"), violation(CheckName::Members));
    assert_eq!(with("members exactly"), violation(CheckName::Members));
    assert_eq!(with("members at-least n5/eth0"), open(CheckName::Members));
    assert_eq!(with("members exactly n1/eth0 n4/eth0 n5/eth0"), open(CheckName::Members));
}

#[test]
fn exits_of_the_network() {
    let mut r = Recorder::new();
    r.scope.exits.push(Exit {
        name: "core router".into(),
        kind: ExitKind::Router,
        port: PortId::new("sw1", "p9"),
        vlans: VlanSet::one(vlan(100)),
    });
    let mut world = World::two_tenants();
    world.carry("p9", Some(100));
    r.polls(10, 12, &world);
    let files = r.attest(&red(15, 95));
    let with = |options: &str| of(&files, &policy(&r, "", options));
    assert_eq!(with(""), VERIFIED);
    assert_eq!(with("exits exactly \"core router\""), VERIFIED);
    // The attacker's port, called an exit.
    assert_eq!(with("exits exactly"), violation(CheckName::Exits));
    assert_eq!(with("exits exactly gateway"), violation(CheckName::Exits));
    assert_eq!(with("exits exactly \"core router\" gateway"), open(CheckName::Exits));
}

#[test]
fn a_public_network_needs_the_policys_word() {
    let mut r = Recorder::new();
    let mut world = World::two_tenants();
    if let Some(n) = world.declared.networks.get_mut("red-net") {
        n.access = Access::Public;
    }
    r.polls(10, 12, &world);
    let files = r.attest(&red(15, 95));
    assert_eq!(of(&files, &policy(&r, "", "")), open(CheckName::Public));
    assert_eq!(of(&files, &policy(&r, "", "public ok")), VERIFIED);
}

#[test]
fn a_class_of_bypass_that_is_not_read() {
    let mut r = Recorder::new();
    let mut world = World::two_tenants();
    world.switch().bypasses.insert(BypassClass::Flows, BypassReading::NotRead { why: "no reader".into() });
    r.polls(10, 12, &world);
    let files = r.attest(&red(15, 95));
    assert_eq!(of(&files, &policy(&r, "", "")), open(CheckName::Isolation));
    assert_eq!(of(&files, &policy(&r, "", "accept-unread mirror")), open(CheckName::Isolation));
    let report = check(&files, &policy(&r, "", "accept-unread flows"), &Options::default());
    assert_eq!(outcome(&report), VERIFIED);
    assert!(report.check(CheckName::NotAssessed).unwrap().detail.contains("flows"));
    // A dirty class is no matter of acceptance.
    let dirty = BypassReading::Dirty { vlans: VlanSet::all(), detail: "a rule".into() };
    world.switch().bypasses.insert(BypassClass::Flows, dirty);
    r.polls(130, 3, &world);
    let files = r.attest(&red(15, 145));
    assert_eq!(of(&files, &policy(&r, "", "accept-unread flows")), violation(CheckName::Isolation));
}

#[test]
fn a_port_that_nobody_assesses() {
    for disclose in [false, true] {
        let mut r = Recorder::new();
        r.scope.disclose_ports = disclose;
        r.scope.unassessed.push(Unassessed { port: PortId::new("sw1", "p8"), reason: "lab bench".into() });
        let mut world = World::two_tenants();
        world.carry("p8", Some(100));
        r.polls(10, 12, &world);
        let files = r.attest(&red(15, 95));
        let report = check(&files, &policy(&r, "", ""), &Options::default());
        assert_eq!(outcome(&report), open(CheckName::NotAssessed));
        let detail = report.check(CheckName::NotAssessed).unwrap().detail.clone();
        assert!(detail.contains("lab bench"), "{detail}");
        let handle = detail.split('(').nth(1).unwrap().split(')').next().unwrap().to_owned();
        assert_eq!(of(&files, &policy(&r, "", &format!("accept-unassessed {handle}"))), VERIFIED);
        let named = of(&files, &policy(&r, "", "accept-unassessed sw1/p8"));
        assert_eq!(named, if disclose { VERIFIED } else { open(CheckName::NotAssessed) });
        let other = format!("accept-unassessed sw1/p7 {}", "00".repeat(32));
        assert_eq!(of(&files, &policy(&r, "", &other)), open(CheckName::NotAssessed));
    }
}

#[test]
fn several_problems_at_once_have_an_order() {
    // A violation is a violation although the policy also leaves something open.
    let mut r = Recorder::new();
    let mut world = World::two_tenants();
    world.carry("p3", Some(100));
    if let Some(n) = world.declared.networks.get_mut("red-net") {
        n.access = Access::Public;
    }
    r.polls(10, 12, &world);
    let files = r.attest(&red(15, 95));
    assert_eq!(of(&files, &policy(&r, "", "")).0, "violation");
    // A claim that was not asked for is no answer, whatever it proves.
    let options = Options { nonce: Some("x".into()), ..Options::default() };
    assert_eq!(outcome(&check(&files, &policy(&r, "", ""), &options)), bad(CheckName::Request));
    // And of a network the policy does not know, not even a violation is news.
    let text = format!("log {}\nquorum none\n", r.vkey());
    assert_eq!(of(&files, &Policy::parse(text.as_bytes()).unwrap()), open(CheckName::Stanza));
}

// ---------------------------------------------------------------------------------------------------------------
// Witnesses and auditors

fn witnesses(n: u8) -> Vec<NoteSigner> {
    (1..=n).map(cosigner).collect()
}

fn witness_lines(w: &[NoteSigner], rest: &str) -> String {
    let mut lines = String::new();
    for (i, w) in w.iter().enumerate() {
        lines += &format!("witness w{} {}\n", i + 1, w.verifier());
    }
    lines + rest
}

// A log whose checkpoints are archived every 30 seconds, `lag` seconds after the poll, with these cosigners.
fn witnessed(w: &[NoteSigner], lag: u64) -> (Recorder, Files) {
    let mut r = Recorder::new();
    let world = World::two_tenants();
    for i in 0..12 {
        r.poll(at(10 + 10 * i), &world);
        if i % 3 == 2 {
            let now = 10 + 10 * i + lag;
            let lines: Vec<(&NoteSigner, Timestamp)> = w.iter().zip(now..).map(|(w, t)| (w, at(t))).collect();
            r.archive(&lines);
        }
    }
    let newest = r.archive.last().unwrap().clone();
    let evidence = r.evidence(&red(15, 95), &newest);
    let files = r.sign(r.claim(&red(15, 95), &evidence), &evidence);
    (r, files)
}

#[test]
fn a_quorum_confirms_times() {
    let w = witnesses(3);
    let (r, files) = witnessed(&w, 2);
    let with = |rest: &str| check(&files, &policy(&r, &witness_lines(&w, rest), ""), &Options::default());
    let report = with("group g 2 w1 w2 w3\nquorum g\nwitnessed-within 30s");
    assert_eq!(outcome(&report), VERIFIED, "{}", report.to_text());
    assert!(report.check(CheckName::Witnesses).unwrap().detail.contains("10 of 10"));
    assert!(
        report
            .rests_on
            .iter()
            .any(|s| s.rests_on == Trust::Anyone && s.sentence.contains("2 of (w1, w2, w3)"))
    );
    assert_eq!(report.claim.as_ref().unwrap().cosignatures.len(), 3);
    // The poll at 20 is first covered at 32 by w1, at 33 by w2, at 34 by w3: 12.9 s for two, 13.9 s for all.
    assert_eq!(outcome(&with("group g 2 w1 w2 w3\nquorum g\nwitnessed-within 23s\nmax-gap 12s")), VERIFIED);
    assert_eq!(
        outcome(&with("group g 2 w1 w2 w3\nquorum g\nwitnessed-within 22s\nmax-gap 12s")),
        open(CheckName::Isolation)
    );
    // Blind polls are no worse than missing ones: a wider gap allows for them.
    let report = with("group g 2 w1 w2 w3\nquorum g\nwitnessed-within 5s\nmax-gap 31s");
    assert_eq!(outcome(&report), VERIFIED, "{}", report.to_text());
    assert!(report.assessed.unwrap().unconfirmed > 0);
    // None within a second.
    assert_eq!(
        outcome(&with("group g all w1 w2 w3\nquorum g\nwitnessed-within 1s")),
        open(CheckName::Witnesses)
    );
}

#[test]
fn without_enough_witnesses_nothing_is_confirmed() {
    let w = witnesses(3);
    let (r, files) = witnessed(&w[..1], 2);
    let with = |rest: &str| of(&files, &policy(&r, &witness_lines(&w, rest), ""));
    assert_eq!(with("quorum w1\nwitnessed-within 30s"), VERIFIED);
    assert_eq!(with("quorum w2\nwitnessed-within 30s"), open(CheckName::Witnesses));
    assert_eq!(with("group g 2 w1 w2 w3\nquorum g\nwitnessed-within 30s"), open(CheckName::Witnesses));
    assert_eq!(with("group g any w1 w2 w3\nquorum g\nwitnessed-within 30s"), VERIFIED);
    // Not asked for: the outcome says on whose word it then rests.
    let report = check(&files, &policy(&r, &witness_lines(&w, "quorum none"), ""), &Options::default());
    assert_eq!(outcome(&report), VERIFIED);
    let words = "Times and history are the operator's word";
    assert!(report.rests_on.iter().any(|s| s.rests_on == Trust::Recorder && s.sentence.contains(words)));
    assert!(report.to_text().contains(words));
}

#[test]
fn a_month_written_in_an_evening_is_not_confirmed() {
    // Cosigned a day later than the polls say.
    let w = witnesses(1);
    let (r, files) = witnessed(&w, 86_400);
    let p = policy(&r, &witness_lines(&w, "quorum w1\nwitnessed-within 1h"), "");
    assert_eq!(of(&files, &p), open(CheckName::Witnesses));
    // Polls dated after the witness had already seen them: the recorder's clock runs ahead.
    let mut r = Recorder::new();
    let world = World::two_tenants();
    r.polls(10_000, 12, &world);
    r.archive(&[(&w[0], at(5000))]);
    r.polls(10_120, 1, &world);
    let ask = red(10_015, 10_095);
    let newest = cosign(r.checkpoint(), r.signer(), &[(&w[0], at(5001))]);
    let evidence = r.evidence(&ask, &newest);
    let files = r.sign(r.claim(&ask, &evidence), &evidence);
    let p = policy(&r, &witness_lines(&w, "quorum w1\nwitnessed-within 1h"), "");
    assert_eq!(of(&files, &p), open(CheckName::Witnesses));
}

#[test]
fn a_bad_cosignature_of_a_known_witness_refuses_the_file() {
    let w = witnesses(2);
    let (r, files) = witnessed(&w, 2);
    let p = policy(&r, &witness_lines(&w, "quorum w1\nwitnessed-within 30s"), "");
    assert_eq!(of(&files, &p), VERIFIED);
    let newest = r.archive.last().unwrap().clone();
    let mut evidence = r.evidence(&red(15, 95), &newest);
    let claim = r.claim(&red(15, 95), &evidence);
    let line_start = evidence.checkpoint.find("witness.example/w2 ").unwrap() + 40;
    let old = evidence.checkpoint.as_bytes()[line_start];
    let new = if old == b'A' { "B" } else { "A" };
    evidence.checkpoint.replace_range(line_start..=line_start, new);
    assert_eq!(of(&r.sign(claim.clone(), &evidence), &p), bad(CheckName::Checkpoint));
    // In a policy that does not know w2, its line is nobody's business.
    let only = policy(&r, &witness_lines(&w[..1], "quorum w1\nwitnessed-within 30s"), "");
    assert_eq!(of(&r.sign(claim, &evidence), &only), VERIFIED);
    // The same in the archive.
    let mut evidence = r.evidence(&red(15, 95), &newest);
    let claim = r.claim(&red(15, 95), &evidence);
    let note = &mut evidence.chain[1].checkpoint;
    let at = note.find("witness.example/w1 ").unwrap() + 50;
    let new = if note.as_bytes()[at] == b'A' { "B" } else { "A" };
    note.replace_range(at..=at, new);
    assert_eq!(of(&r.sign(claim, &evidence), &p), bad(CheckName::Chain));
}

#[test]
fn an_auditor_covers_the_range_or_not() {
    let auditor = cosigner(50);
    let mut r = Recorder::new();
    let world = World::two_tenants();
    r.polls(10, 6, &world);
    r.archive(&[(&auditor, at(1000))]);
    r.polls(70, 6, &world);
    let lines = format!("auditor a1 {}\nquorum none\naudit a1", auditor.verifier());
    let p = policy(&r, &lines, "");
    let report = check(&r.attest(&red(15, 55)), &p, &Options::default());
    assert_eq!(outcome(&report), VERIFIED, "{}", report.to_text());
    assert!(report.rests_on.iter().any(|s| s.rests_on == Trust::Auditor && s.sentence.contains("a1")));
    // The rest of the log nobody has recomputed yet.
    assert_eq!(of(&r.attest(&red(15, 95)), &p), open(CheckName::Auditors));
    let newest: [(&NoteSigner, Timestamp); 1] = [(&auditor, at(2000))];
    assert_eq!(of(&r.attest_with(&red(15, 95), &newest), &p), VERIFIED);
}

// ---------------------------------------------------------------------------------------------------------------
// Every byte

// A file as small as it gets: two polls, one of them inside.
fn small() -> (Recorder, Files, Policy) {
    let mut r = Recorder::new();
    r.polls(10, 2, &World::two_tenants());
    let files = r.attest(&red(15, 18));
    let p = policy(&r, "", "");
    assert_eq!(of(&files, &p), VERIFIED);
    (r, files, p)
}

fn variants(old: u8) -> impl Iterator<Item = u8> {
    [old ^ 1, old ^ 0x20, old ^ 0x80, b'0', b' ', b'"', 0].into_iter().filter(move |b| *b != old)
}

#[test]
fn every_changed_byte_of_an_attestation_is_refused() {
    let (_, files, p) = small();
    for i in 0..files.attestation.len() {
        for new in variants(files.attestation[i]) {
            let mut bad = files.clone();
            bad.attestation[i] = new;
            let (what, check) = of(&bad, &p);
            // All of it is under the signature, or in the envelope's one spelling.
            assert_eq!((what, check), ("bad proof", Some(CheckName::Envelope)), "byte {i} as {new:#x}");
        }
        let mut bad = files.clone();
        bad.attestation.truncate(i);
        assert_eq!(of(&bad, &p), ("bad proof", Some(CheckName::Envelope)), "cut at {i}");
    }
}

#[test]
fn every_changed_byte_of_an_evidence_file_is_refused() {
    let (_, files, p) = small();
    for i in 0..files.evidence.len() {
        for new in variants(files.evidence[i]) {
            let mut bad = files.clone();
            bad.evidence[i] = new;
            assert_eq!(of(&bad, &p), ("bad proof", Some(CheckName::Statement)), "byte {i} as {new:#x}");
        }
    }
    for change in [&b""[..], b" ", b"\n"] {
        let mut bad = files.clone();
        bad.evidence.extend_from_slice(change);
        assert_eq!(of(&bad, &p).0 == "verified", change.is_empty());
    }
}

#[test]
fn every_changed_byte_of_an_evidence_file_is_refused_even_if_the_recorder_signs_it() {
    // With the digest out of the way, each other check has to hold its part of the file.
    let (r, files, p) = small();
    let evidence = Evidence::parse(&files.evidence, 1 << 20).unwrap();
    let claim = r.claim(&red(15, 18), &evidence);
    let mut by = std::collections::BTreeMap::new();
    for i in 0..files.evidence.len() {
        for new in [files.evidence[i] ^ 1, if files.evidence[i] == b'7' { b'8' } else { b'7' }] {
            let mut bytes = files.evidence.clone();
            bytes[i] = new;
            let signed = Files { attestation: r.sign_bytes(claim.clone(), &bytes), evidence: bytes };
            let (what, check) = of(&signed, &p);
            assert!(matches!(what, "bad proof" | "undecided"), "byte {i} as {new:#x}: {what}");
            *by.entry(check.unwrap()).or_insert(0) += 1;
        }
    }
    // Each of these holds some part.
    for check in [
        CheckName::Evidence,
        CheckName::Checkpoint,
        CheckName::Range,
        CheckName::Entries,
        CheckName::Versions,
        CheckName::Slices,
    ] {
        assert!(by.contains_key(&check), "{check:?} refused nothing: {by:?}");
    }
}

#[test]
fn any_bytes_at_all_are_refused() {
    let (_, files, p) = small();
    for junk in [&b""[..], b"{}", b"null", &[0xff; 100], &files.evidence, &files.attestation] {
        let a = verify(junk, &files.evidence, &p, &Options::default());
        assert!(!a.outcome.is_verified() || junk == files.attestation);
        let e = verify(&files.attestation, junk, &p, &Options::default());
        assert!(!e.outcome.is_verified() || junk == files.evidence);
    }
}

#[test]
fn a_changed_policy_is_another_policy() {
    let (r, files, _) = small();
    let text = format!("log {}\nquorum none\nnetwork red-net domain moc project red vlan 100\n", r.vkey());
    let good = Policy::parse(text.as_bytes()).unwrap();
    for i in 0..text.len() {
        for new in variants(text.as_bytes()[i]) {
            let mut bytes = text.clone().into_bytes();
            bytes[i] = new;
            let Ok(p) = Policy::parse(&bytes) else { continue };
            let report = check(&files, &p, &Options::default());
            assert_ne!(report.policy, good.digest());
        }
    }
}

// ---------------------------------------------------------------------------------------------------------------
// Any history

#[derive(Clone, Debug)]
enum Step {
    Poll { after: u64 },
    Silent(bool),
    Intruder(bool),
    Neighbour,
    Scope,
    Archive,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        6 => (1u64..40).prop_map(|after| Step::Poll { after }),
        1 => any::<bool>().prop_map(Step::Silent),
        1 => any::<bool>().prop_map(Step::Intruder),
        1 => Just(Step::Neighbour),
        1 => Just(Step::Scope),
        1 => Just(Step::Archive),
    ];
    proptest::collection::vec(step, 1..60)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    // What the recorder claims, the verifier recomputes, whatever happened; and the outcome is the claim's verdict when
    // the policy's measure is the claim's.
    #[test]
    fn any_history_is_recomputed(steps in steps(), from in 0u64..600, length in 0u64..600, gap in 1u64..200) {
        let mut r = Recorder::new();
        let mut world = World::two_tenants();
        let (mut now, mut quiet_switch, mut moves) = (5, false, 0);
        for s in steps {
            match s {
                Step::Poll { after } => {
                    now += after;
                    let mut seen = world.clone();
                    if quiet_switch {
                        seen.switches.insert("sw1".into(), None);
                    }
                    r.poll(at(now), &seen);
                }
                Step::Silent(silent) => quiet_switch = silent,
                Step::Intruder(there) => world.carry("p3", there.then_some(100)),
                Step::Neighbour => {
                    moves += 1;
                    world.carry("p2", Some(200 + moves % 2));
                }
                Step::Scope => r.scope_changed(at(now)),
                Step::Archive if r.archive.last().is_none_or(|c| c.unverified().size < r.size()) => {
                    r.archive(&[]);
                }
                Step::Archive => {}
            }
        }
        let ask = Ask { max_gap: Span::from_secs(gap), ..red(from, from + length) };
        let files = r.attest(&ask);
        let evidence = Evidence::parse(&files.evidence, 1 << 24).unwrap();
        prop_assume!(evidence.vlan == vlan(100));
        let claim = r.claim(&ask, &evidence);
        let p = policy(&r, &format!("max-gap {gap}s"), "");
        let report = check(&files, &p, &Options::default());
        let wanted = match claim.verdict {
            Verdict::Isolated => VERIFIED,
            Verdict::Violated => violation(CheckName::Isolation),
            Verdict::Unknown => open(CheckName::Isolation),
        };
        prop_assert_eq!(outcome(&report), wanted, "{}", report.to_text());
        prop_assert!(serde_json::to_string(&report).is_ok());
    }

    #[test]
    fn signed_nonsense_never_panics(at: usize, cut: usize, insert in "[ -~]{0,12}") {
        let (r, files, p) = small();
        let evidence = Evidence::parse(&files.evidence, 1 << 20).unwrap();
        let claim = r.claim(&red(15, 18), &evidence);
        let mut bytes = files.evidence.clone();
        let at = at % bytes.len();
        let end = (at + cut % 40).min(bytes.len());
        bytes.splice(at..end, insert.into_bytes());
        let signed = Files { attestation: r.sign_bytes(claim, &bytes), evidence: bytes.clone() };
        let verified = check(&signed, &p, &Options::default()).outcome.is_verified();
        prop_assert_eq!(verified, bytes == files.evidence);
    }
}

#[test]
fn the_recorder_and_this_file_agree_on_roots() {
    // The tests' own tree is not the one under test: the root of the entries, by RFC 6962's definition.
    let r = quiet();
    let evidence = r.evidence(&red(0, 500), &r.checkpoint());
    let leaves = unpack(&evidence).iter().map(|e| leaf_hash(e)).collect::<Vec<_>>();
    assert_eq!(root_of(leaves), r.root(r.size()));
    let NetworkVlan::Id(id) = World::two_tenants().declared.networks["red-net"].vlan else { unreachable!() };
    assert_eq!(id, evidence.vlan);
    assert!(matches!(World::two_tenants().switch().ports["p1"], PortReading::Read(_)));
}
