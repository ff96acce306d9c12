//! What a check costs, beside what one strict signature check costs in the same run.
//!
//! The aim: an attestation of one poll takes no longer than its signatures and one more.
// The recorder reads back what it wrote itself.
#![allow(missing_docs, clippy::unwrap_used, clippy::disallowed_methods)]

use criterion::{Criterion, criterion_group, criterion_main};
use isoledger_core::note::Note;
use isoledger_core::policy::Policy;
use isoverify::{Options, verify};
use recorder::{Ask, Files, Recorder, World, at, cosigner};
use std::hint::black_box;

#[path = "../../tests/src/recorder.rs"]
#[allow(dead_code, unreachable_pub)]
mod recorder;

fn policy(r: &Recorder, witnesses: u8) -> Policy {
    let mut text = format!("log {}\n", r.vkey());
    let names: Vec<String> = (1..=witnesses).map(|n| format!("w{n}")).collect();
    for (n, name) in (1..=witnesses).zip(&names) {
        text += &format!("witness {name} {}\n", cosigner(n).verifier());
    }
    text += &match witnesses {
        0 => "quorum none\n".to_owned(),
        _ => format!("group all-of-them all {}\nquorum all-of-them\nwitnessed-within 1d\n", names.join(" ")),
    };
    text += "network red-net domain moc project red vlan 100\n";
    Policy::parse(text.as_bytes()).unwrap()
}

fn one_signature(c: &mut Criterion) {
    let r = Recorder::new();
    let checkpoint = r.checkpoint();
    let note = Note::parse(checkpoint.as_bytes()).unwrap();
    let (text, line) = (note.text(), &note.signatures()[0]);
    let key = r.signer().verifier();
    c.bench_function("one verify_strict", |b| {
        b.iter(|| black_box(key.verify(black_box(text), &line.signature).is_ok()));
    });
}

fn attestations(c: &mut Criterion) {
    let world = World::two_tenants();
    let mut r = Recorder::new();
    r.polls(10, 2000, &world);
    for witnesses in [0u8, 3] {
        let keys: Vec<_> = (1..=witnesses).map(cosigner).collect();
        let now = at(20_020);
        let lines: Vec<_> = keys.iter().map(|k| (k, now)).collect();
        // From one poll's end to the next one's start: two polls, both closing an end.
        let files = r.attest_with(&Ask::of("red", at(10_015), at(10_015)), &lines);
        let name = format!("one moment, {} signatures, {} bytes", 2 + witnesses, files.evidence.len());
        measure(c, &name, &files, &policy(&r, witnesses));
    }
    // One day of polls every ten seconds, in which others change something fifty times.
    let mut r = Recorder::new();
    let mut moved = world.clone();
    for i in 0..8640u64 {
        if i % 173 == 0 {
            moved.carry("p2", (i % 346 == 0).then_some(200));
        }
        r.poll(at(10 + 10 * i), &moved);
    }
    let files = r.attest(&Ask::of("red", at(0), at(86_400)));
    let name = format!("one day, 8,640 polls, {} bytes", files.evidence.len());
    measure(c, &name, &files, &policy(&r, 0));
}

fn measure(c: &mut Criterion, name: &str, files: &Files, policy: &Policy) {
    let check = || verify(&files.attestation, &files.evidence, policy, &Options::default());
    let report = check();
    assert!(report.outcome.is_verified(), "{}", report.to_text());
    c.bench_function(name, |b| b.iter(|| black_box(check())));
}

criterion_group!(benches, one_signature, attestations);
criterion_main!(benches);
