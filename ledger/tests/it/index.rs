//! sled's directory, while the log was closed: removed, emptied, cut, flipped, swapped. Nothing is lost and nothing is
//! silent.

use crate::common::*;
use isoledger_ledger::store::{Row, SledStore, Store, StoreError};
use isoledger_ledger::{IndexState, OpenError, OpenReport, ReadLog};
use std::fs;
use std::path::{Path, PathBuf};

const SIZE: u64 = 301;

fn files(dir: &Path) -> Vec<PathBuf> {
    let mut out = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => out.extend(files(&path)),
            false => out.push(path),
        }
    }
    out.sort();
    out
}

/// Opens a log whose index was harmed, reads all of it, and goes on.
fn survives(dir: &Path, what: &str) -> OpenReport {
    let (mut ledger, report) = open(dir).unwrap_or_else(|e| panic!("{what}: {e}"));
    let root = ledger.root_at(SIZE).unwrap();
    let batch = polls(&ledger, 2);
    ledger.append(batch).unwrap_or_else(|e| panic!("{what}: {e}"));
    assert_eq!(ledger.root_at(SIZE).unwrap(), root, "{what}");
    audit(&ledger.view());
    report
}

fn fresh(keep: &Path, to: &Path) {
    let _ = fs::remove_dir_all(to);
    for from in files(keep) {
        let path = to.join(from.strip_prefix(keep).unwrap());
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::copy(&from, path).unwrap();
    }
}

#[test]
fn removed_emptied_and_replaced() {
    let dir = tempfile::tempdir().unwrap();
    let (keep, log) = (dir.path().join("keep"), dir.path().join("log"));
    closed_log(&keep, SIZE);
    let index = log.join("index");

    fresh(&keep, &log);
    assert_eq!(survives(&log, "untouched").index, IndexState::Whole);

    fresh(&keep, &log);
    fs::remove_dir_all(&index).unwrap();
    let report = survives(&log, "removed");
    assert!(matches!(report.index, IndexState::Rebuilt { kept: None, .. }), "{report:?}");

    fresh(&keep, &log);
    for file in files(&index) {
        fs::remove_file(file).unwrap();
    }
    assert!(matches!(survives(&log, "emptied").index, IndexState::Rebuilt { .. }));

    // The index of a shorter life of the same log is caught up; of another log it is set aside.
    fresh(&keep, &log);
    let other = dir.path().join("other");
    // Where a batch of the log ends.
    closed_log(&other, 201);
    fs::remove_dir_all(&index).unwrap();
    fresh(&other.join("index"), &index);
    assert_eq!(survives(&log, "older").index, IndexState::Replayed { entries: SIZE - 201 });

    fresh(&keep, &log);
    fs::remove_dir_all(&other).unwrap();
    let mut ledger = create(&other);
    ledger.append(vec![poll(1, 1234)]).unwrap();
    drop(ledger);
    fs::remove_dir_all(&index).unwrap();
    fresh(&other.join("index"), &index);
    let report = survives(&log, "another log's");
    let IndexState::Rebuilt { kept: Some(kept), .. } = report.index else { panic!("{report:?}") };
    assert!(kept.ends_with("index.damaged-1") && kept.is_dir());
}

#[test]
fn every_file_cut_and_flipped() {
    let dir = tempfile::tempdir().unwrap();
    let (keep, log) = (dir.path().join("keep"), dir.path().join("log"));
    closed_log(&keep, SIZE);
    let names: Vec<PathBuf> =
        files(&keep.join("index")).iter().map(|p| p.strip_prefix(&keep).unwrap().to_owned()).collect();
    assert!(names.len() >= 2, "{names:?}");
    for name in names {
        let size = fs::metadata(keep.join(&name)).unwrap().len();
        for cut in [0, 1, size / 2, size.saturating_sub(1)] {
            fresh(&keep, &log);
            fs::OpenOptions::new().write(true).open(log.join(&name)).unwrap().set_len(cut).unwrap();
            survives(&log, &format!("{} cut to {cut}", name.display()));
        }
        for part in 0..8 {
            fresh(&keep, &log);
            let mut bytes = fs::read(log.join(&name)).unwrap();
            let at = bytes.len() * part / 8 + part;
            if let Some(byte) = bytes.get_mut(at) {
                *byte ^= 0x10;
            }
            fs::write(log.join(&name), bytes).unwrap();
            survives(&log, &format!("{} flipped at {at}", name.display()));
        }
    }
}

#[test]
fn rows_that_lie_are_seen_and_repaired() {
    // Not sled's pages but its words: a row replaced by another one's bytes, sums and all.
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("log");
    closed_log(&log, 601);
    let content = {
        let (ledger, _) = open(&log).unwrap();
        ledger.opening(300).unwrap().unwrap().digest
    };
    let lie = |row: &Row| {
        let store = SledStore::open(&log.join("index")).unwrap();
        let other = store.get(&Row::Entries(1)).unwrap().unwrap();
        store.put(row, &other).unwrap();
    };
    for row in [Row::Entries(0), Row::Openings(0), Row::Content(content)] {
        lie(&row);
        let (ledger, report) = open(&log).unwrap();
        assert_eq!(
            (report.index, ledger.repairs()),
            (IndexState::Whole, 0),
            "{row:?}: the right edge is sound"
        );
        audit(&ledger.view());
        assert_eq!(ledger.repairs(), 1, "{row:?}");
        audit(&ledger.view());
        assert_eq!(ledger.repairs(), 1, "{row:?}: repaired once, right from then on");
    }
    // What the right edge rests on is seen when the log is opened.
    for row in [Row::Tile(0, 1), Row::Tail(600)] {
        lie(&row);
        let (ledger, report) = open(&log).unwrap();
        assert!(matches!(report.index, IndexState::Rebuilt { kept: Some(_), .. }), "{row:?}: {report:?}");
        audit(&ledger.view());
        assert_eq!(ledger.repairs(), 0);
    }
}

#[test]
fn a_newer_schema_is_refused_with_a_sentence() {
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("log");
    closed_log(&log, 3);
    {
        let db = sled::open(log.join("index")).unwrap();
        db.open_tree("meta").unwrap().insert(b"schema", &7u32.to_be_bytes()).unwrap();
    }
    let e = open(&log).err().unwrap();
    assert!(matches!(e, OpenError::Store(StoreError::Newer { found: 7, .. })), "{e}");
    assert!(e.to_string().contains("newer isoledger"), "{e}");
    {
        let db = sled::open(log.join("index")).unwrap();
        db.open_tree("meta").unwrap().insert(b"schema", &0u32.to_be_bytes()).unwrap();
    }
    let (ledger, report) = open(&log).unwrap();
    assert!(matches!(report.index, IndexState::Rebuilt { kept: Some(_), .. }), "{report:?}");
    audit_both(&ledger, &log);
}
