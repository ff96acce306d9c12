//! Appending: what is refused, and that a refusal leaves the log as it was.

use crate::common::*;
use isoledger_core::checkpoint::SignedCheckpoint;
use isoledger_core::note::NoteSigner;
use isoledger_core::record::{Body, MAX_ENTRY};
use isoledger_core::{Digest, Timestamp};
use isoledger_ledger::audit::EntryFault;
use isoledger_ledger::backup::{self, CopyMark};
use isoledger_ledger::batch::MAX_BATCH_ENTRIES;
use isoledger_ledger::disk::RealDisk;
use isoledger_ledger::{
    AppendError, AuditError, AuditOptions, Ledger, LogReader, OpenError, OpenOptions, Pending, ReadLog, View,
    check_log,
};
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
fn a_log_with_two_rotations_audits_from_any_of_its_keys() {
    let dir = tempfile::tempdir().unwrap();
    let mut ledger = create(dir.path());
    let keys = [7, 8, 9].map(|n| Arc::new(NoteSigner::new(ORIGIN, &[n; 32]).unwrap()));
    for key in &keys[1..] {
        let batch = polls(&ledger, 2);
        ledger.append(batch).unwrap();
        let time = ledger.last_time();
        ledger.rotate(key.clone(), time).unwrap();
        // Both have signed the tree that ends in the rotation, and nobody else.
        let both = ledger.published().unwrap().checkpoint;
        assert_eq!(keys.iter().filter(|k| both.open(k.verifier()).is_ok()).count(), 2);
        assert!(ledger.cosigned_sizes(0, ledger.next_seq()).unwrap().is_empty());
        // A key does not come back.
        assert!(matches!(ledger.rotate(signer(), time), Err(AppendError::NewKey { .. })));
        for pin in ledger.keys().iter().map(|(_, key)| key) {
            let options = AuditOptions { key: Some(pin), content: true, ..AuditOptions::default() };
            check_log(&ledger.view(), options).unwrap();
            check_log(&LogReader::open(dir.path()).unwrap(), options).unwrap();
        }
    }
    let stranger = NoteSigner::new(ORIGIN, &[10; 32]).unwrap();
    let options = AuditOptions { key: Some(stranger.verifier()), ..AuditOptions::default() };
    assert!(matches!(check_log(&ledger.view(), options), Err(AuditError::Key { .. })));
}

/// A log in which somebody changed what stands beside one entry, or who signed the newest checkpoint.
struct Forged<'l> {
    log: &'l View,
    /// Who signed which entry instead.
    entry: Option<(u64, &'l NoteSigner)>,
    /// Who signed the newest checkpoint instead.
    head: Option<&'l NoteSigner>,
}

impl ReadLog for Forged<'_> {
    fn origin(&self) -> &str {
        self.log.origin()
    }
    fn keys(&self) -> Vec<(u64, isoledger_core::note::VerifierKey)> {
        self.log.keys()
    }
    fn published(&self) -> Result<isoledger_ledger::Published, isoledger_ledger::ReadError> {
        let mut published = self.log.published()?;
        if let Some(signer) = self.head {
            let checkpoint = published.checkpoint.unverified().clone();
            published.checkpoint = SignedCheckpoint::sign(checkpoint, signer).unwrap();
        }
        Ok(published)
    }
    fn block(
        &self,
        n: u64,
    ) -> Result<Vec<Arc<isoledger_ledger::batch::Stored>>, isoledger_ledger::ReadError> {
        let mut block = self.log.block(n)?;
        if let Some((seq, signer)) = self.entry.filter(|(seq, _)| seq / 256 == n) {
            let entry = Arc::make_mut(&mut block[(seq % 256) as usize]);
            let text = std::str::from_utf8(&entry.text).unwrap();
            entry.signature = signer.sign(text).unwrap().to_string().into_bytes();
        }
        Ok(block)
    }
    fn tile_hashes(
        &self,
        level: u8,
        n: u64,
    ) -> Result<Vec<isoledger_core::Hash>, isoledger_ledger::ReadError> {
        self.log.tile_hashes(level, n)
    }
    fn content(&self, digest: &Digest) -> Result<Vec<u8>, isoledger_ledger::ReadError> {
        self.log.content(digest)
    }
    fn seq_at_time(&self, time: Timestamp) -> Result<Option<u64>, isoledger_ledger::ReadError> {
        self.log.seq_at_time(time)
    }
    fn cosigned(
        &self,
        from: u64,
        to: u64,
        max: usize,
    ) -> Result<Vec<SignedCheckpoint>, isoledger_ledger::ReadError> {
        self.log.cosigned(from, to, max)
    }
    fn cosigned_sizes(&self, from: u64, to: u64) -> Result<Vec<u64>, isoledger_ledger::ReadError> {
        self.log.cosigned_sizes(from, to)
    }
}

#[test]
fn a_rotation_that_the_old_key_never_signed_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let mut ledger = create(dir.path());
    let (old, new) = (signer(), Arc::new(NoteSigner::new(ORIGIN, &[8; 32]).unwrap()));
    let batch = polls(&ledger, 2);
    ledger.append(batch).unwrap();
    let rotation = ledger.rotate(new.clone(), at(2500)).unwrap().seq;
    let view = ledger.view();
    let audit = |log: &Forged<'_>, key: &NoteSigner| {
        let options = AuditOptions { key: Some(key.verifier()), content: true, ..AuditOptions::default() };
        check_log(log, options)
    };
    let good = Forged { log: &view, entry: None, head: None };
    for pin in [&old, &new] {
        audit(&good, pin).unwrap();
        // Whoever has the new key alone cannot bring it in.
        let own = Forged { log: &view, entry: Some((rotation, &new)), head: None };
        let e = audit(&own, pin).unwrap_err();
        assert!(
            matches!(e, AuditError::Entry { seq, fault: EntryFault::Signature(_) } if seq == rotation),
            "{e}"
        );
    }
    // Whoever has the old key alone can write a history that ends in the new one, and cannot have the new one vouch.
    let stolen = Forged { log: &view, entry: None, head: Some(&old) };
    audit(&stolen, &old).unwrap();
    let e = audit(&stolen, &new).unwrap_err();
    assert!(matches!(e, AuditError::Checkpoint(_)), "{e}");
    // And after the rotation the old key has no say over more.
    let batch = polls(&ledger, 1);
    ledger.append(batch).unwrap();
    let view = ledger.view();
    let late = Forged { log: &view, entry: None, head: Some(&old) };
    let e = audit(&late, &old).unwrap_err();
    assert!(matches!(e, AuditError::Checkpoint(_)), "{e}");
    let last = ledger.next_seq() - 1;
    let late = Forged { log: &view, entry: Some((last, &old)), head: None };
    let e = audit(&late, &old).unwrap_err();
    assert!(matches!(e, AuditError::Entry { seq, .. } if seq == last), "{e}");
}

#[test]
fn a_copy_signs_nothing_and_a_restored_log_only_when_it_is_agreed() {
    let (from, dir) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let mut ledger = create(from.path());
    let batch = polls(&ledger, 3);
    ledger.append(batch).unwrap();
    let size = ledger.next_seq();
    let options = |agreed| OpenOptions { agreed, ..OpenOptions::at(at(9000)) };
    for kind in [CopyMark::Backup, CopyMark::Clone] {
        let to = dir.path().join(kind.word());
        let copied = backup::copy(from.path(), &to, kind).unwrap();
        assert_eq!((copied.head.size, copied.kept), (size, 0));
        let e = Ledger::open(&to, signer(), options(true)).err().unwrap();
        assert!(matches!(e, OpenError::Copy { mark, .. } if mark == kind), "{e}");
    }
    // A word that is not known, or half of one, is no leave to sign.
    let to = dir.path().join("clone");
    for word in ["", "cl", "clone", "later-kind\n", &"x".repeat(100)] {
        std::fs::write(to.join("copy"), word).unwrap();
        let e = Ledger::open(&to, signer(), options(true)).err().unwrap();
        assert!(matches!(e, OpenError::Copy { mark: CopyMark::Unknown, .. }), "{word:?}: {e}");
    }
    for (n, (agreed, vouched)) in [(true, false), (true, true), (false, true)].into_iter().enumerate() {
        let to = dir.path().join(format!("restored-{n}"));
        backup::copy(&dir.path().join("backup"), &to, CopyMark::Restored).unwrap();
        let e = Ledger::open(&to, signer(), options(false)).err().unwrap();
        assert!(matches!(e, OpenError::Restored { size: found, .. } if found == size), "{e}");
        if vouched {
            CopyMark::Acknowledged.write(&RealDisk::shared(), &to).unwrap();
        }
        let (mut restored, report) = Ledger::open(&to, signer(), options(agreed)).unwrap();
        assert_eq!(report.restored, Some(size));
        let reason = match restored.record(size).unwrap().body {
            Body::LogRecovered { reason, size: whole } if whole == size => reason,
            other => panic!("{other:?}"),
        };
        assert_eq!(reason, if agreed { "restored" } else { "restored-unwitnessed" });
        let batch = vec![poll(size + 1, 10_000)];
        restored.append(batch).unwrap();
        audit_both(&restored, &to);
        drop(restored);
        assert_eq!(Ledger::open(&to, signer(), options(false)).unwrap().1.restored, None);
    }
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
