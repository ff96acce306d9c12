//! Assembling and judging a large domain: 1,000 switches of 48 ports, 2,000 networks, every VLAN on every uplink.
//!
//! This is the hard case: each network may reach each switch. `assemble` cuts one poll into slices and common part,
//! `judge` judges all networks, `both` is what a poll costs between the last answer and the verdicts.

mod domain;

use criterion::{Criterion, criterion_group, criterion_main};
use domain::{NETWORKS, main_domain};
use isoledger_core::assemble::{Inputs, SourceView, SwitchView, assemble};
use isoledger_core::hash::Digest;
use isoledger_core::judge::{Verdict, judge_all};
use isoledger_core::lease::Slots;
use isoledger_core::model::*;
use std::collections::BTreeSet;
use std::hint::black_box;

fn bench(c: &mut Criterion) {
    let (scope, declared, observed) = main_domain();
    let mut n = 0u64;
    let mut entropy = || {
        n += 1;
        Digest::of(&n.to_be_bytes()).0
    };
    let slots = Slots::new(&mut entropy).advance(&declared, 7, &mut entropy);
    let reader = Reader { dialect: "openvswitch".into(), version: 1 };
    let source = SourceView { reader: &reader, identity: Some("a serial number"), failure: None };
    let switches =
        observed.iter().map(|(n, o)| (n.clone(), SwitchView { source, observed: Some(o) })).collect();
    let moving = BTreeSet::new();
    let inputs = Inputs {
        scope: &scope,
        scope_seq: 1,
        slots: &slots,
        declared: &declared,
        manager: source,
        switches: &switches,
        moving: &moving,
    };
    let assembly = assemble(&inputs);
    let judged = judge_all(&assembly).expect("what was assembled can be judged");
    assert_eq!(judged.len(), NETWORKS);
    assert!(judged.values().all(|j| j.verdict == Verdict::Isolated && j.findings.is_empty()));

    let mut group = c.benchmark_group("1,000 switches x 48 ports, 2,000 networks");
    group.sample_size(10);
    group.bench_function("assemble", |b| b.iter(|| assemble(black_box(&inputs))));
    group.bench_function("judge", |b| b.iter(|| judge_all(black_box(&assembly))));
    group.bench_function("both", |b| b.iter(|| judge_all(&assemble(black_box(&inputs)))));
    group.bench_function("slice bytes", |b| b.iter(|| black_box(&assembly).written().slices));
    group.finish();
}

criterion_group!(benches, bench);
criterion_main!(benches);
