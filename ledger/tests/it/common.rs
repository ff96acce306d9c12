//! What the tests share: a key, polls with content, and the audit at the end of everything.

use isoledger_core::content::Opening;
use isoledger_core::note::NoteSigner;
use isoledger_core::record::{Body, Poll};
use isoledger_core::{Digest, Timestamp};
use isoledger_ledger::store::{MemoryStore, Store, StoreError};
use isoledger_ledger::{
    AuditOptions, AuditReport, Ledger, LogReader, OpenError, OpenOptions, OpenReport, Pending, ReadLog,
    StoreSource, check_log,
};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

pub(crate) const ORIGIN: &str = "audit.example/moc";

pub(crate) fn signer() -> Arc<NoteSigner> {
    Arc::new(NoteSigner::new(ORIGIN, &[7; 32]).unwrap())
}

pub(crate) fn at(ms: u64) -> Timestamp {
    Timestamp::from_millis(1_772_446_272_000 + ms).unwrap()
}

/// A poll for place `seq`, ended at `ms`, that commits to content of its own and shares a piece with every fourth.
pub(crate) fn poll(seq: u64, ms: u64) -> Pending {
    let manifest = format!("manifest of poll {seq} at {ms}").into_bytes();
    let shared = format!("evidence of switch {}", seq % 4).repeat(20).into_bytes();
    let digest = Digest::of(&manifest);
    let opening = Opening { opening: *Digest::of(&[seq as u8, ms as u8, 1]).as_bytes(), digest };
    let body = Body::Poll(Poll {
        semantics: 1,
        started: at(ms),
        ended: at(ms),
        version: seq,
        root: Digest::of(&seq.to_be_bytes()),
        content: opening.commit(&Digest::of(ORIGIN.as_bytes()), seq),
    });
    let content = vec![(digest, manifest), (Digest::of(&shared), shared)];
    Pending { time: at(ms), body, opening: Some(opening), content }
}

/// `n` polls for the next places, a second apart.
pub(crate) fn polls(ledger: &Ledger, n: u64) -> Vec<Pending> {
    let first = ledger.next_seq();
    (first..first + n).map(|seq| poll(seq, seq * 1000)).collect()
}

pub(crate) fn create(dir: &Path) -> Ledger {
    Ledger::create(dir, ORIGIN, "moc", signer(), at(0)).unwrap()
}

/// A log of `size` entries in `dir`, closed.
pub(crate) fn closed_log(dir: &Path, size: u64) {
    let mut ledger = create(dir);
    while ledger.next_seq() < size {
        let n = (size - ledger.next_seq()).min(100);
        let batch = polls(&ledger, n);
        ledger.append(batch).unwrap();
    }
}

pub(crate) fn open(dir: &Path) -> Result<(Ledger, OpenReport), OpenError> {
    Ledger::open(dir, signer(), OpenOptions::at(at(0)))
}

/// Audits a log, content and all, against the key that the test knows.
pub(crate) fn audit(log: &impl ReadLog) -> AuditReport {
    let key = signer().verifier().clone();
    check_log(log, AuditOptions { key: Some(&key), content: true, ..AuditOptions::default() }).unwrap()
}

/// Audits a log as the service sees it and as its journal has it, and compares the two.
pub(crate) fn audit_both(ledger: &Ledger, dir: &Path) -> AuditReport {
    let seen = audit(&ledger.view());
    let kept = audit(&LogReader::open(dir).unwrap());
    assert_eq!(seen, kept);
    assert_eq!(seen.head, ledger.published().unwrap().head);
    seen
}

/// A store in memory that survives as a process's files do.
pub(crate) struct MemorySource {
    /// What the next `open` finds.
    pub(crate) kept: Option<MemoryStore>,
    /// The store that was opened last.
    pub(crate) opened: Arc<Mutex<Option<Arc<MemoryStore>>>>,
    /// Applies that succeed before one fails.
    pub(crate) budget: Option<u64>,
}

impl MemorySource {
    pub(crate) fn new(kept: Option<MemoryStore>) -> MemorySource {
        MemorySource { kept, opened: Arc::default(), budget: None }
    }

    /// What a program that is started again finds of the store opened last.
    pub(crate) fn survivor(&self) -> Option<MemoryStore> {
        self.opened.lock().unwrap().as_ref().map(|s| s.reopened())
    }
}

/// The store, still reachable by the test.
struct Watched(Arc<MemoryStore>);

impl StoreSource for MemorySource {
    fn open(&mut self) -> Result<Box<dyn Store>, StoreError> {
        let store = Arc::new(self.kept.take().unwrap_or_default());
        if let Some(n) = self.budget {
            store.fail_after(n);
        }
        *self.opened.lock().unwrap() = Some(store.clone());
        Ok(Box::new(Watched(store)))
    }

    fn distrusted(&self) -> Option<String> {
        None
    }

    fn set_aside(&mut self) -> Result<Option<PathBuf>, OpenError> {
        self.kept = None;
        Ok(None)
    }
}

impl Store for Watched {
    fn applied(&self) -> Result<isoledger_ledger::store::Applied, StoreError> {
        self.0.applied()
    }
    fn apply(&self, changes: &isoledger_ledger::store::Changes) -> Result<(), StoreError> {
        self.0.apply(changes)
    }
    fn get(&self, row: &isoledger_ledger::store::Row) -> Result<Option<Vec<u8>>, StoreError> {
        self.0.get(row)
    }
    fn has(&self, row: &isoledger_ledger::store::Row) -> Result<bool, StoreError> {
        self.0.has(row)
    }
    fn put(&self, row: &isoledger_ledger::store::Row, value: &[u8]) -> Result<(), StoreError> {
        self.0.put(row, value)
    }
    fn last_poll_ended_by(&self, time: Timestamp) -> Result<Option<u64>, StoreError> {
        self.0.last_poll_ended_by(time)
    }
}

/// A log that tells another time in one entry.
pub(crate) struct Lying<'l, L> {
    pub(crate) log: &'l L,
    pub(crate) seq: u64,
}

impl<L: ReadLog> ReadLog for Lying<'_, L> {
    fn origin(&self) -> &str {
        self.log.origin()
    }
    fn keys(&self) -> Vec<(u64, isoledger_core::note::VerifierKey)> {
        self.log.keys()
    }
    fn published(&self) -> Result<isoledger_ledger::Published, isoledger_ledger::ReadError> {
        self.log.published()
    }
    fn block(
        &self,
        n: u64,
    ) -> Result<Vec<Arc<isoledger_ledger::batch::Stored>>, isoledger_ledger::ReadError> {
        let mut block = self.log.block(n)?;
        if n == self.seq / 256 {
            let entry = Arc::make_mut(&mut block[(self.seq % 256) as usize]);
            let text = String::from_utf8(entry.text.clone()).unwrap();
            entry.text = text.replacen(".000Z\",\"prev\"", ".001Z\",\"prev\"", 1).into_bytes();
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
    ) -> Result<Vec<isoledger_core::checkpoint::SignedCheckpoint>, isoledger_ledger::ReadError> {
        self.log.cosigned(from, to, max)
    }
    fn cosigned_sizes(&self, from: u64, to: u64) -> Result<Vec<u64>, isoledger_ledger::ReadError> {
        self.log.cosigned_sizes(from, to)
    }
}
