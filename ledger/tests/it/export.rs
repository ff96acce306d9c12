//! The public log as files: complete, checkable by a client that knows the specification, and never mixed up.

use crate::common::*;
use isoledger_core::checkpoint::SignedCheckpoint;
use isoledger_core::merkle::LeafIndex;
use isoledger_core::note::RecordNote;
use isoledger_core::tiles::{audit_tiles, check_bundle, decode_bundle, decode_tile, entry_tiles};
use isoledger_ledger::{ExportError, LogReader, ReadLog, export};
use std::fs;
use std::path::Path;

/// Reads an export as a stranger would, with the log's key and nothing else.
fn check_export(out: &Path) -> u64 {
    let checkpoint = SignedCheckpoint::parse(&fs::read(out.join("checkpoint")).unwrap()).unwrap();
    let checkpoint = checkpoint.open(signer().verifier()).unwrap();
    let read = |path: isoledger_core::tiles::TilePath| fs::read(out.join(path.to_string()));
    let mut leaves = Vec::new();
    audit_tiles(checkpoint.size(), checkpoint.root(), read, |_, hash| leaves.push(hash)).unwrap();
    for path in entry_tiles(checkpoint.size()) {
        let bundle = read(path).unwrap();
        let entries = decode_bundle(&bundle, path.width()).unwrap();
        let first = path.index() * 256;
        let hashes = &leaves[first as usize..first as usize + entries.len()];
        check_bundle(LeafIndex(first), &entries, hashes).unwrap();
        let name = path.to_string().replacen("tile/entries/", "signatures/", 1);
        let lines = fs::read(out.join(name)).unwrap();
        for (entry, line) in entries.iter().zip(decode_bundle(&lines, path.width()).unwrap()) {
            let (entry, line) = (std::str::from_utf8(entry).unwrap(), std::str::from_utf8(line).unwrap());
            RecordNote::from_parts(entry, line).unwrap().verify(signer().verifier()).unwrap();
        }
    }
    decode_tile(&fs::read(out.join("tile/0/000")).unwrap_or(vec![0; 8192]), 256).unwrap();
    checkpoint.size()
}

#[test]
fn exported_beside_the_writer_and_grown() {
    let dir = tempfile::tempdir().unwrap();
    let (log, out) = (dir.path().join("log"), dir.path().join("public"));
    closed_log(&log, 300);
    let (mut ledger, _) = open(&log).unwrap();
    let first = export(&LogReader::open(&log).unwrap(), &out).unwrap();
    assert_eq!((first.head, first.kept), (ledger.published().unwrap().head, 0));
    assert_eq!(check_export(&out), 300);
    let batch = polls(&ledger, 400);
    ledger.append(batch).unwrap();
    let second = export(&LogReader::open(&log).unwrap(), &out).unwrap();
    assert_eq!((second.head.size, second.kept), (700, 3), "one full tile, bundle and signature bundle");
    assert_eq!(check_export(&out), 700);
    // From the service the same bytes.
    let other = dir.path().join("from-view");
    export(&ledger.view(), &other).unwrap();
    assert_eq!(check_export(&other), 700);
    for name in
        ["checkpoint", "tile/0/002.p/188", "tile/1/000.p/2", "tile/entries/001", "signatures/002.p/188"]
    {
        assert_eq!(fs::read(out.join(name)).unwrap(), fs::read(other.join(name)).unwrap(), "{name}");
    }
}

#[test]
fn nothing_confidential_is_exported() {
    let dir = tempfile::tempdir().unwrap();
    let (log, out) = (dir.path().join("log"), dir.path().join("public"));
    closed_log(&log, 10);
    let reader = LogReader::open(&log).unwrap();
    export(&reader, &out).unwrap();
    let mut stack = vec![out];
    let mut public = Vec::new();
    while let Some(dir) = stack.pop() {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            match path.is_dir() {
                true => stack.push(path),
                false => public.extend(fs::read(path).unwrap()),
            }
        }
    }
    let opening = reader.opening(3).unwrap().unwrap();
    let has = |needle: &[u8]| public.windows(needle.len()).any(|w| w == needle);
    assert!(has(&reader.entry(3).unwrap()));
    assert!(
        !has(&opening.opening) && !has(opening.digest.as_bytes()) && !has(opening.digest.to_hex().as_bytes())
    );
    assert!(!has(&reader.content(&opening.digest).unwrap()));
}

#[test]
fn other_directories_are_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let (log, out) = (dir.path().join("log"), dir.path().join("public"));
    closed_log(&log, 5);
    let reader = LogReader::open(&log).unwrap();
    fs::create_dir(&out).unwrap();
    fs::write(out.join("index.html"), b"hello").unwrap();
    let e = export(&reader, &out).unwrap_err();
    assert!(matches!(e, ExportError::Occupied { .. }), "{e}");
    assert_eq!(fs::read_dir(&out).unwrap().count(), 1);
    fs::remove_file(out.join("index.html")).unwrap();
    export(&reader, &out).unwrap();

    // A log of the same name and key with another history must not be laid over it.
    let fork = dir.path().join("fork");
    let mut ledger = create(&fork);
    ledger.append((1..8).map(|n| poll(n, n * 1001)).collect()).unwrap();
    let before = fs::read(out.join("checkpoint")).unwrap();
    let e = export(&ledger.view(), &out).unwrap_err();
    assert!(matches!(e, ExportError::Fork { size: 5, .. }), "{e}");
    assert_eq!(fs::read(out.join("checkpoint")).unwrap(), before);
    assert_eq!(check_export(&out), 5);
    let names = fs::read_dir(dir.path())
        .unwrap()
        .filter(|n| n.as_ref().unwrap().file_name().to_string_lossy().contains("exporting"));
    assert_eq!(names.count(), 0);
}
