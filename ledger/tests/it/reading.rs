//! Reading: the service and the journal give the same answers, and the verifier accepts every proof.

use crate::common::*;
use isoledger_core::merkle::{LeafIndex, RangeVerifier, check_consistency, check_inclusion, leaf_hash};
use isoledger_core::note::NoteSigner;
use isoledger_core::tiles::{TileKind, TilePath};
use isoledger_core::{Digest, Timestamp};
use isoledger_ledger::disk::RealDisk;
use isoledger_ledger::{Ground, Head, Ledger, LogReader, OpenOptions, ReadError, ReadLog};
use std::sync::atomic::{AtomicBool, Ordering};

#[test]
fn the_empty_root_is_the_specification_s() {
    assert_eq!(Head::EMPTY.root, isoledger_core::merkle::empty_root());
}

#[test]
fn both_readers_agree_and_prove_what_they_say() {
    let dir = tempfile::tempdir().unwrap();
    closed_log(dir.path(), 700);
    let (ledger, _) = open(dir.path()).unwrap();
    let reader = LogReader::open(dir.path()).unwrap();
    audit_both(&ledger, dir.path());
    check_answers(&ledger.view(), 700);
    check_answers(&reader, 700);
    for seq in [0, 1, 255, 256, 511, 512, 699] {
        assert_eq!(ledger.stored(seq).unwrap(), reader.stored(seq).unwrap());
    }
    for ms in [0, 1, 999, 1000, 255_999, 256_000, 300_500, 512_000, 699_000, u32::MAX.into()] {
        let wanted = (1..700).rev().find(|seq| seq * 1000 <= ms);
        assert_eq!(ledger.seq_at_time(at(ms)).unwrap(), wanted, "{ms} ms");
        assert_eq!(reader.seq_at_time(at(ms)).unwrap(), wanted, "{ms} ms");
    }
    assert_eq!(ledger.seq_at_time(Timestamp::default()).unwrap(), None);
}

fn check_answers(log: &impl ReadLog, size: u64) {
    let root = log.root().unwrap();
    for index in [0, 1, 255, 256, 257, 511, 512, 698, 699] {
        for of in [index + 1, (index + 200).min(size), size] {
            let proof = log.inclusion(index, of).unwrap();
            let leaf = leaf_hash(&log.entry(index).unwrap());
            check_inclusion(leaf, LeafIndex(index), of, &log.root_at(of).unwrap(), &proof).unwrap();
        }
    }
    for older in [0, 1, 2, 255, 256, 257, 512, 699, 700] {
        let proof = log.consistency(older, size).unwrap();
        check_consistency(older, &log.root_at(older).unwrap(), size, &root, &proof).unwrap();
    }
    for (start, end) in
        [(0, 1), (0, 700), (1, 700), (255, 257), (256, 512), (511, 513), (600, 650), (699, 700)]
    {
        let proof = log.range(start, end, size).unwrap();
        let mut verifier = RangeVerifier::new(start, &proof.left).unwrap();
        for entry in log.entries(start, end) {
            verifier.push(leaf_hash(&entry.unwrap().1.text));
        }
        assert_eq!(verifier.finish(end, size, &proof.right).unwrap(), root);
    }
    let path = |kind, n, width| TilePath::new(kind, n, width).unwrap();
    for (p, bytes) in [
        (path(TileKind::Hashes(0), 0, 256), Some(8192)),
        (path(TileKind::Hashes(0), 1, 17), Some(17 * 32)),
        (path(TileKind::Hashes(0), 2, 188), Some(188 * 32)),
        (path(TileKind::Hashes(0), 2, 189), None),
        (path(TileKind::Hashes(1), 0, 2), Some(64)),
        (path(TileKind::Hashes(1), 0, 3), None),
        (path(TileKind::Hashes(2), 0, 1), None),
        (path(TileKind::Entries, 3, 1), None),
        (path(TileKind::Hashes(63), u64::MAX, 256), None),
    ] {
        assert_eq!(log.tile(&p).ok().map(|b| b.len()), bytes, "{p}");
    }
    assert!(matches!(log.entry(size), Err(ReadError::NoEntry { .. })));
    assert!(matches!(log.content(&Digest::of(b"never seen")), Err(ReadError::NoContent { .. })));
    assert!(log.inclusion(size, size).is_err() && log.inclusion(0, size + 1).is_err());
    assert!(
        log.consistency(5, 4).is_err() && log.range(5, 5, size).is_err() && log.range(5, 4, size).is_err()
    );
}

#[test]
fn a_reader_runs_beside_the_writer_and_catches_up() {
    let dir = tempfile::tempdir().unwrap();
    let mut ledger = create(dir.path());
    let mut reader = LogReader::open(dir.path()).unwrap();
    for n in [1, 250, 10, 300] {
        let batch = polls(&ledger, n);
        ledger.append(batch).unwrap();
        reader.refresh().unwrap();
        assert_eq!(reader.published().unwrap().head, ledger.published().unwrap().head);
        audit(&reader);
    }
    // Without the published file the newest archived note counts: the one before.
    std::fs::remove_file(dir.path().join("checkpoint")).unwrap();
    assert_eq!(reader.published().unwrap().head.size, 262);
    // A note that someone else put there is not believed.
    let other = tempfile::tempdir().unwrap();
    drop(create(other.path()));
    std::fs::copy(other.path().join("checkpoint"), dir.path().join("checkpoint")).unwrap();
    assert_eq!(reader.published().unwrap().head.size, 262);
}

#[test]
fn a_reader_in_the_middle_of_writes_sees_whole_batches_only() {
    // The writer rolls to a new segment every few batches; the reader looks as often as it can, from a fresh start and
    // by catching up, and must never see damage, nor a size that no batch ended at.
    const BATCHES: u64 = 150;
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("log");
    drop(create(&log));
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut source = MemorySource::new(None);
            let ground = Ground { disk: RealDisk::shared(), dir: &log, lock: None, source: &mut source };
            let options = OpenOptions { segment_bytes: 8192, ..OpenOptions::at(at(0)) };
            let (mut ledger, _) = Ledger::open_on(ground, signer(), options).unwrap();
            for _ in 0..BATCHES {
                let batch = polls(&ledger, 3);
                ledger.append(batch).unwrap();
            }
            done.store(true, Ordering::Release);
        });
        let mut kept = LogReader::open(&log).unwrap();
        let mut looks = 0;
        loop {
            let last = done.load(Ordering::Acquire);
            kept.refresh().unwrap();
            let fresh = LogReader::open(&log).unwrap();
            for reader in [&kept, &fresh] {
                assert_eq!((reader.head().size - 1) % 3, 0, "batches have three entries");
                let published = reader.published().unwrap().head;
                assert_eq!(reader.root_at(published.size).unwrap(), published.root);
            }
            assert!(fresh.head().size >= kept.head().size);
            looks += 1;
            if last {
                break;
            }
        }
        assert!(looks > 3, "the reader looked {looks} times only");
        assert_eq!(kept.head().size, 1 + 3 * BATCHES);
        audit(&kept);
    });
}

#[test]
fn cosigned_checkpoints_are_kept_by_size() {
    let dir = tempfile::tempdir().unwrap();
    let mut ledger = create(dir.path());
    let witness = NoteSigner::cosigner("witness.example/w", &[9; 32]).unwrap();
    let mut kept = Vec::new();
    for n in 1..6u64 {
        let batch = polls(&ledger, n);
        ledger.append(batch).unwrap();
        if n % 2 == 1 {
            let checkpoint = ledger.published().unwrap().checkpoint;
            let verified = checkpoint.open(signer().verifier()).unwrap();
            let cosigned = checkpoint.with(&verified.cosign(&witness, at(n * 60_000)).unwrap()).unwrap();
            ledger.archive_checkpoint(&cosigned).unwrap();
            assert_eq!(ledger.published().unwrap().checkpoint, cosigned);
            kept.push(cosigned);
        }
    }
    let sizes: Vec<u64> = kept.iter().map(|c| c.unverified().size).collect();
    assert_eq!(sizes, [2, 7, 16]);
    assert_eq!(audit_both(&ledger, dir.path()).cosigned, 3);
    drop(ledger);
    let (ledger, _) = open(dir.path()).unwrap();
    assert_eq!(ledger.cosigned(0, 100, 10).unwrap(), kept);
    assert_eq!(ledger.cosigned(3, 15, 10).unwrap(), kept[1..2]);
    assert_eq!(ledger.cosigned(0, 100, 2).unwrap(), kept[..2]);
    assert_eq!(LogReader::open(dir.path()).unwrap().cosigned(0, 100, 10).unwrap(), kept);
}
