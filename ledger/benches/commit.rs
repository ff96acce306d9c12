//! What a commit costs, beside the least it could cost, in the same run on the same disk.
//!
//! - `one/append`: a poll with a manifest of 1 KiB, from facts to the published checkpoint;
//!   `one/bare`: the same number of journal bytes appended to a file, and `fdatasync`.
//! - `group/append`: 256 polls in one call; `group/sign`: 256 Ed25519 signatures, the part that cannot be shared.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use isoledger_core::content::Opening;
use isoledger_core::note::NoteSigner;
use isoledger_core::record::{Body, Poll};
use isoledger_core::{Digest, Timestamp};
use isoledger_ledger::{Ledger, Pending};
use std::fs::{self, File};
use std::hint::black_box;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

const ORIGIN: &str = "audit.example/bench";
const GROUP: u64 = 256;

fn at(ms: u64) -> Timestamp {
    Timestamp::from_millis(1_772_446_272_000 + ms).expect("a time of this century")
}

fn poll(seq: u64) -> Pending {
    let manifest: Vec<u8> =
        (0..32u64).flat_map(|n| *Digest::of(&[seq, n].map(u64::to_be_bytes).concat()).as_bytes()).collect();
    let digest = Digest::of(&manifest);
    let opening = Opening { opening: *Digest::of(&seq.to_be_bytes()).as_bytes(), digest };
    let body = Body::Poll(Poll {
        semantics: 1,
        started: at(seq * 1000),
        ended: at(seq * 1000 + 500),
        version: seq,
        root: Digest::of(&seq.to_be_bytes()),
        content: opening.commit(&Digest::of(ORIGIN.as_bytes()), seq),
    });
    Pending { time: at(seq * 1000 + 500), body, opening: Some(opening), content: vec![(digest, manifest)] }
}

fn journal_bytes(dir: &Path) -> u64 {
    let names = fs::read_dir(dir.join("journal")).expect("the journal was made");
    names.map(|f| f.and_then(|f| f.metadata()).map_or(0, |m| m.len())).sum()
}

fn commit(c: &mut Criterion) {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let log = dir.path().join("log");
    let signer = Arc::new(NoteSigner::new(ORIGIN, &[7; 32]).expect("a key"));
    let mut ledger = Ledger::create(&log, ORIGIN, "bench", signer.clone(), at(0)).expect("a log");
    let mut append = |rounds: u64, size: u64| {
        let mut spent = Duration::ZERO;
        for _ in 0..rounds {
            let first = ledger.next_seq();
            let pending: Vec<Pending> = (first..first + size).map(poll).collect();
            let begin = Instant::now();
            black_box(ledger.append(pending).expect("an append"));
            spent += begin.elapsed();
        }
        spent
    };

    let before = journal_bytes(&log);
    append(1, 1);
    let bytes = vec![0xa5; (journal_bytes(&log) - before) as usize];

    let mut one = c.benchmark_group("one");
    one.throughput(Throughput::Elements(1));
    one.bench_function("append", |b| b.iter_custom(|n| append(n, 1)));
    let file = File::create(dir.path().join("bare")).expect("a file");
    let mut end = 0;
    one.bench_function(format!("bare {} bytes", bytes.len()), |b| {
        b.iter(|| {
            file.write_all_at(&bytes, end).expect("a write");
            file.sync_data().expect("a sync");
            end += bytes.len() as u64;
        });
    });
    one.finish();

    let mut group = c.benchmark_group("group");
    group.throughput(Throughput::Elements(GROUP)).sample_size(20);
    group.bench_function("append", |b| b.iter_custom(|n| append(n, GROUP)));
    let text = "x".repeat(500) + "\n";
    group.bench_function("sign", |b| {
        b.iter(|| (0..GROUP).for_each(|_| drop(black_box(signer.sign(&text)))));
    });
    group.finish();
}

criterion_group!(benches, commit);
criterion_main!(benches);
