//! Appending: what is refused, and that a refusal leaves the log as it was.

use crate::common::*;
use isoledger_core::Digest;
use isoledger_core::note::NoteSigner;
use isoledger_core::record::{Body, MAX_ENTRY};
use isoledger_ledger::batch::MAX_BATCH_ENTRIES;
use isoledger_ledger::{AppendError, Ledger, OpenError, OpenOptions, Pending, ReadLog};
use std::sync::Arc;

fn plain(ms: u64, body: Body) -> Pending {
    Pending { time: at(ms), body, opening: None, content: Vec::new() }
}

#[test]
fn refusals_change_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let mut ledger = create(dir.path());
    let batch = polls(&ledger, 3);
    ledger.append(batch).unwrap();
    let before = ledger.published().unwrap();
    let mut refuse = |what: &str, pending: Vec<Pending>, wanted: fn(&AppendError) -> bool| {
        let e = ledger.append(pending).unwrap_err();
        assert!(wanted(&e) && !e.is_fatal(), "{what}: {e:?}");
        let words = e.to_string();
        assert!(words.len() > 20 && !words.contains("Error {"), "{what}: {words}");
        assert_eq!(ledger.published().unwrap().checkpoint, before.checkpoint, "{what}");
    };
    let good = poll(4, 9000);
    refuse("nothing", vec![], |e| matches!(e, AppendError::Batch { entries: 0, .. }));
    refuse("too many", vec![good.clone(); MAX_BATCH_ENTRIES + 1], |e| matches!(e, AppendError::Batch { .. }));
    refuse("the past", vec![poll(4, 10)], |e| matches!(e, AppendError::ClockBehind { .. }));
    refuse("another place", vec![poll(5, 9000)], |e| matches!(e, AppendError::Commitment { seq: 4 }));
    refuse("no opening", vec![Pending { opening: None, ..good.clone() }], |e| {
        matches!(e, AppendError::Opening { seq: 4, needed: true, .. })
    });
    let recovered = Body::LogRecovered { reason: "torn-tail".into(), size: 4 };
    refuse("an opening of nothing", vec![Pending { opening: good.opening, ..plain(9000, recovered) }], |e| {
        matches!(e, AppendError::Opening { needed: false, .. })
    });
    refuse("no content", vec![Pending { content: vec![], ..good.clone() }], |e| {
        matches!(e, AppendError::ContentMissing { seq: 4, .. })
    });
    let lie = vec![(Digest::of(b"a"), b"b".to_vec())];
    refuse("content under another address", vec![Pending { content: lie, ..good.clone() }], |e| {
        matches!(e, AppendError::Content(_))
    });
    let word = |text: &str| plain(9000, Body::LogRecovered { reason: text.into(), size: 4 });
    refuse("no word", vec![word("two words")], |e| matches!(e, AppendError::Record { seq: 4, .. }));
    refuse("an injection", vec![word("a\",\"size\":0}")], |e| matches!(e, AppendError::Record { .. }));
    refuse("a novel", vec![word(&"x".repeat(MAX_ENTRY))], |e| matches!(e, AppendError::Record { .. }));
    let genesis = Body::Genesis { domain: "moc".into(), key: signer().verifier().to_string(), semantics: 1 };
    refuse("a second genesis", vec![plain(9000, genesis)], |e| matches!(e, AppendError::Type { .. }));
    refuse("the second of two", vec![good.clone(), poll(5, 8000)], |e| {
        matches!(e, AppendError::ClockBehind { .. })
    });
    let mut overlap = poll(4, 9000);
    if let Body::Poll(p) = &mut overlap.body {
        (p.started, p.ended) = (at(1), at(2));
    }
    refuse("polls that overlap", vec![overlap], |e| matches!(e, AppendError::Chain(_)));

    let done = ledger.append(vec![good]).unwrap();
    assert_eq!((done.len(), done[0].seq), (1, 4));
    assert_eq!(audit_both(&ledger, dir.path()).types["poll"], 4);
}

#[test]
fn content_is_stored_once() {
    let dir = tempfile::tempdir().unwrap();
    let mut ledger = create(dir.path());
    let bytes = |dir: &std::path::Path| -> u64 {
        let names = std::fs::read_dir(dir.join("journal")).unwrap();
        names.map(|f| f.unwrap().metadata().unwrap().len()).sum()
    };
    // Bytes that do not compress.
    let big: Vec<u8> = (0..4096u32).flat_map(|n| *Digest::of(&n.to_be_bytes()).as_bytes()).collect();
    let mut grown = Vec::new();
    for seq in 1..4 {
        let mut p = poll(seq, seq * 1000);
        p.content.push((Digest::of(&big), big.clone()));
        let before = bytes(dir.path());
        ledger.append(vec![p]).unwrap();
        grown.push(bytes(dir.path()) - before);
    }
    assert!(grown[0] > big.len() as u64 && grown[1] < 4096 && grown[2] < 4096, "{grown:?}");
    assert_eq!(ledger.content(&Digest::of(&big)).unwrap(), big);
    audit_both(&ledger, dir.path());
}

#[test]
fn a_key_is_rotated_by_an_entry_of_the_old_one() {
    let dir = tempfile::tempdir().unwrap();
    let mut ledger = create(dir.path());
    let old = ledger.published().unwrap().checkpoint;
    let new = Arc::new(NoteSigner::new(ORIGIN, &[8; 32]).unwrap());
    let other = Arc::new(NoteSigner::new("other.example/log", &[8; 32]).unwrap());
    assert!(matches!(ledger.rotate(other, at(1000)), Err(AppendError::NewKey { .. })));
    assert!(matches!(ledger.rotate(signer(), at(1000)), Err(AppendError::NewKey { .. })));
    ledger.rotate(new.clone(), at(1000)).unwrap();
    let at_rotation = ledger.published().unwrap().checkpoint;
    assert!(at_rotation.open(signer().verifier()).is_ok());
    let batch = polls(&ledger, 2);
    ledger.append(batch).unwrap();
    let after = ledger.published().unwrap().checkpoint;
    assert!(after.open(signer().verifier()).is_err() && after.open(new.verifier()).is_ok());
    assert!(old.open(new.verifier()).is_err());
    audit_both(&ledger, dir.path());
    drop(ledger);

    let wrong = open(dir.path()).err().unwrap();
    assert!(matches!(wrong, OpenError::WrongKey { .. }), "{wrong}");
    let (mut ledger, _) = Ledger::open(dir.path(), new, OpenOptions::at(at(0))).unwrap();
    let batch = polls(&ledger, 1);
    ledger.append(batch).unwrap();
    audit_both(&ledger, dir.path());
}

#[test]
fn one_writer_one_creation() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log");
    let missing = open(&path).err().unwrap();
    assert!(matches!(missing, OpenError::Missing { .. }), "{missing}");
    let ledger = create(&path);
    for e in
        [open(&path).err().unwrap(), Ledger::create(&path, ORIGIN, "moc", signer(), at(0)).err().unwrap()]
    {
        let words = e.to_string();
        assert!(
            words.contains("lock is locked") && words.contains(&std::process::id().to_string()),
            "{words}"
        );
    }
    drop(ledger);
    let again = Ledger::create(&path, ORIGIN, "moc", signer(), at(0)).err().unwrap();
    assert!(matches!(again, OpenError::Exists { size: 1, .. }), "{again}");
    audit_both(&open(&path).unwrap().0, &path);
}

#[test]
fn a_foreign_checkpoint_is_an_alarm() {
    let (here, there) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (mut ledger, mut fork) = (create(here.path()), create(there.path()));
    let batch = polls(&ledger, 2);
    ledger.append(batch).unwrap();
    fork.append(vec![poll(1, 1001), poll(2, 2001)]).unwrap();
    let forked = fork.published().unwrap().checkpoint;
    let e = ledger.archive_checkpoint(&forked).unwrap_err();
    assert!(matches!(e, AppendError::ForeignCheckpoint { size: 3, .. }) && !e.is_fatal(), "{e}");
    audit_both(&ledger, here.path());
}
