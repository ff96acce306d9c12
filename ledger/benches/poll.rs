//! From the last switch's answer to the published checkpoint, in a domain of 1,000 switches and 2,000 networks.
//!
//! Everything a poll costs once its sources have answered: looking, judging, cutting a version, signing, and the commit
//! with its `fdatasync`. Printed beside it, from the same run: the commit of a scope entry of a few bytes, which is what
//! the disk and the index take alone.

#![allow(missing_docs, clippy::expect_used, clippy::unwrap_used)]

#[path = "../core/benches/domain/mod.rs"]
mod domain;

use criterion::{Criterion, criterion_group, criterion_main};
use domain::main_domain;
use isoledger_core::content::Opening;
use isoledger_core::model::*;
use isoledger_core::note::NoteSigner;
use isoledger_core::record::Body;
use isoledger_core::{Digest, Span, Timestamp, VlanId};
use isoledger_ledger::log::Ledger;
use isoledger_ledger::recorder::{EvidenceBytes, InForce, Readings, Recorder, Source};
use isoledger_ledger::sequence::Pending;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

const ORIGIN: &str = "audit.example/bench";

struct Bench {
    ledger: Ledger,
    recorder: Recorder,
    readings: Readings,
    now: Timestamp,
    n: u64,
}

fn evidence(name: &str, o: &Observed, turn: u64) -> EvidenceBytes {
    // About what an Open vSwitch of 48 ports answers.
    let filler = "x".repeat(450 * o.ports.len());
    EvidenceBytes::new(format!("{name} {turn} {filler}").into_bytes())
}

impl Bench {
    fn new(dir: &std::path::Path) -> Bench {
        let (scope, declared, observed) = main_domain();
        let now = Timestamp::parse("2026-03-02T10:00:00.000Z").expect("a time");
        let signer = Arc::new(NoteSigner::new(ORIGIN, &[7; 32]).expect("a name"));
        let ledger = Ledger::create(&dir.join("data"), ORIGIN, "bench", signer, now).expect("a log");
        let reader = Reader { dialect: "openvswitch".into(), version: 1 };
        let window = Window { started: now, ended: now };
        let switches = observed
            .into_iter()
            .map(|(name, o)| {
                let evidence = Some(evidence(&name, &o, 0));
                let identity = Some(format!("serial {name}"));
                (name, Source { reader: reader.clone(), identity, window, outcome: Ok(o), evidence })
            })
            .collect::<BTreeMap<_, _>>();
        let readings = Readings {
            started: now,
            ended: now,
            manager: Reader { dialect: "hil-rest".into(), version: 1 },
            manager_identity: None,
            manager_failure: None,
            in_force: Some(InForce {
                declared: Arc::new(declared),
                evidence: EvidenceBytes::new(vec![b'h'; 8 << 20]),
                window,
            }),
            switches,
            moving: BTreeSet::new(),
            rereads: BTreeMap::new(),
        };
        let mut n = 0u64;
        let recorder = Recorder::new(ORIGIN, Arc::new(scope), 1, None, &mut || {
            n += 1;
            Digest::of(&n.to_be_bytes()).0
        });
        Bench { ledger, recorder, readings, now, n: 1 << 32 }
    }

    fn entropy(&mut self) -> [u8; 32] {
        self.n += 1;
        Digest::of(&self.n.to_be_bytes()).0
    }

    // New answers: `changed` switches put one of their ports on another VLAN.
    fn answers(&mut self, changed: usize) {
        self.now = self.now.plus(Span::from_secs(10));
        self.readings.started = self.now;
        self.readings.ended = self.now;
        let turn = self.n;
        for (i, (name, source)) in self.readings.switches.iter_mut().enumerate() {
            source.window = Window { started: self.now, ended: self.now };
            if i >= changed {
                continue;
            }
            let Ok(o) = &mut source.outcome else { continue };
            if let Some(PortReading::Read(p)) = o.ports.values_mut().nth(3) {
                p.untagged = VlanId::new(100 + (turn % 2000) as u16);
            }
            source.evidence = Some(evidence(name, o, turn));
        }
    }

    // What follows the last answer.
    fn record(&mut self) {
        let seq = self.ledger.next_seq();
        let mut n = self.n;
        let mut entropy = || {
            n += 1;
            Digest::of(&n.to_be_bytes()).0
        };
        let look = self.recorder.look(&self.readings, seq, &mut entropy).expect("consistent");
        let mut prepared = self.recorder.prepare(&self.readings, look, seq, &mut entropy);
        self.n = n;
        let pending = Pending {
            time: self.now,
            body: prepared.body.clone(),
            opening: Some(prepared.opening),
            content: std::mem::take(&mut prepared.content),
        };
        self.ledger.append(vec![pending]).expect("appended");
        self.recorder.recorded(prepared);
    }

    fn small(&mut self) {
        let opening = Opening { opening: self.entropy(), digest: Digest::of(b"a scope") };
        let origin = Digest::of(ORIGIN.as_bytes());
        let seq = self.ledger.next_seq();
        let pending = Pending {
            time: self.now,
            body: Body::ScopeChanged { commitment: opening.commit(&origin, seq) },
            opening: Some(opening),
            content: vec![(opening.digest, b"a scope".to_vec())],
        };
        self.ledger.append(vec![pending]).expect("appended");
    }
}

fn bench(c: &mut Criterion) {
    let dir = tempfile::tempdir().expect("a directory");
    let mut b = Bench::new(dir.path());
    b.answers(0);
    b.record();
    let mut group = c.benchmark_group("last answer to checkpoint");
    group.sample_size(20);
    group.bench_function("floor: one small entry", |bench| bench.iter(|| b.small()));
    for (name, changed) in [("unchanged", 0), ("ten changed switches", 10)] {
        group.bench_function(name, |bench| {
            bench.iter_custom(|times| {
                let mut spent = std::time::Duration::ZERO;
                for _ in 0..times {
                    b.answers(changed);
                    let begun = std::time::Instant::now();
                    b.record();
                    spent += begun.elapsed();
                }
                spent
            });
        });
    }
    group.finish();
}

criterion_group!(benches, bench);
criterion_main!(benches);
