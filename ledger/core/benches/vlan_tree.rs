//! A version of the VLAN tree, and the check of one path in it.

use criterion::{Criterion, criterion_group, criterion_main};
use isoledger_core::hash::Digest;
use isoledger_core::vlantree::{Leaf, SlotKey, VlanTree, root_from};
use std::hint::black_box;

fn slot(v: u16) -> (Digest, SlotKey) {
    (Digest::of(&v.to_be_bytes()), SlotKey([v.to_be_bytes()[1]; 32]))
}

fn bench(c: &mut Criterion) {
    let (origin_hash, common) = (Digest::of(b"audit.hil.example/moc"), Digest([2; 32]));
    let tree = VlanTree::build(7, origin_hash, common, slot);
    let leaf = Leaf { slot: 100, version: 7, origin_hash, slice: slot(100).0, common };
    let (key, proof) = (slot(100).1, tree.proof(100));
    assert_eq!(root_from(&leaf, &key, &proof), tree.root());

    let mut group = c.benchmark_group("vlan tree");
    group.bench_function("build a version", |b| {
        b.iter(|| VlanTree::build(black_box(7), origin_hash, common, slot));
    });
    group.bench_function("verify a path", |b| b.iter(|| root_from(black_box(&leaf), &key, &proof)));
    group.finish();
}

criterion_group!(benches, bench);
criterion_main!(benches);
