//! Every operation of a short life × how it fails × whether it took effect × what the next start finds × what became
//! of the index. Enumerated, not sampled.
//!
//! What must hold in each case: opening succeeds; everything acknowledged is there, byte for byte; everything served
//! is true of the one history; the log goes on, and still stands after a power cut.

use crate::common::*;
use crate::faulty_disk::{Effect, Failure, FaultyDisk, Plan, Restart};
use isoledger_core::checkpoint::SignedCheckpoint;
use isoledger_core::note::NoteSigner;
use isoledger_ledger::disk::Disk;
use isoledger_ledger::highwater::{HighWater, Mark};
use isoledger_ledger::store::MemoryStore;
use isoledger_ledger::{
    Ground, Ledger, LogReader, OpenError, OpenOptions, OpenReport, Pending, ReadLog, Sequenced,
};
use std::path::Path;
use std::sync::Arc;

const DIR: &str = "/data";

/// What the outside world was told.
#[derive(Default)]
struct Told {
    acknowledged: Vec<Sequenced>,
    served: Vec<SignedCheckpoint>,
}

fn options() -> OpenOptions<'static> {
    // Segments of one kilobyte, so that most batches begin a new one.
    OpenOptions { segment_bytes: 1024, ..OpenOptions::at(at(0)) }
}

fn create(disk: &FaultyDisk, source: &mut MemorySource) -> Result<Ledger, OpenError> {
    let disk: Arc<dyn Disk> = Arc::new(disk.clone());
    disk.create_dir(Path::new(DIR)).map_err(|source| OpenError::Io {
        doing: "create",
        path: DIR.into(),
        source,
    })?;
    let ground = Ground { disk, dir: Path::new(DIR), lock: None, source };
    Ledger::create_on(ground, ORIGIN, "moc", signer(), options())
}

fn open(disk: &FaultyDisk, source: &mut MemorySource) -> Result<(Ledger, OpenReport), OpenError> {
    let ground = Ground { disk: Arc::new(disk.clone()), dir: Path::new(DIR), lock: None, source };
    Ledger::open_on(ground, signer(), options())
}

fn append(ledger: &mut Ledger, pending: Vec<Pending>, told: &mut Told) -> Result<(), bool> {
    match ledger.append(pending) {
        Ok(done) => {
            told.acknowledged.extend(done);
            told.served.push(ledger.published().unwrap().checkpoint);
            Ok(())
        }
        Err(e) => Err(e.is_fatal()),
    }
}

/// Creates a log and writes to it; stops at a fatal error, tries once more after one that is not.
fn life(disk: &FaultyDisk, source: &mut MemorySource, told: &mut Told) {
    let Ok(mut ledger) = create(disk, source) else { return };
    told.served.push(ledger.published().unwrap().checkpoint);
    let witness = NoteSigner::cosigner("witness.example/w", &[9; 32]).unwrap();
    for n in [1, 3, 1] {
        let pending = polls(&ledger, n);
        match append(&mut ledger, pending.clone(), told) {
            Ok(()) => {}
            Err(true) => {
                // The handle must refuse to go on, whatever the disk does next.
                assert!(ledger.append(pending).unwrap_err().is_fatal());
                return;
            }
            Err(false) => {
                if append(&mut ledger, pending, told).is_err() {
                    return;
                }
            }
        }
        if n == 3 {
            let verified = ledger.published().unwrap().checkpoint;
            let opened = verified.open(signer().verifier()).unwrap();
            let cosigned = verified.with(&opened.cosign(&witness, at(60_000)).unwrap()).unwrap();
            match ledger.archive_checkpoint(&cosigned) {
                Ok(()) => told.served.push(cosigned),
                Err(e) if e.is_fatal() => return,
                Err(_) => {}
            }
        }
    }
}

/// Checks that nothing anyone was told is wrong.
fn keep_promises(log: &impl ReadLog, told: &Told, case: &str) {
    for a in &told.acknowledged {
        assert_eq!(log.entry(a.seq).unwrap_or_default(), a.entry, "{case}: acknowledged entry {}", a.seq);
    }
    for c in &told.served {
        let (size, root) = (c.unverified().size, c.unverified().root);
        assert_eq!(log.root_at(size).ok(), Some(root), "{case}: served checkpoint of size {size}");
    }
    let cosigned = |c: &&SignedCheckpoint| c.as_str().matches('\u{2014}').count() > 1;
    for c in told.served.iter().filter(cosigned) {
        let size = c.unverified().size;
        assert_eq!(
            log.cosigned(size, size, 1).unwrap(),
            std::slice::from_ref(c),
            "{case}: archived checkpoint of size {size}"
        );
    }
}

/// Starts again until the log stands, and goes on with it.
fn afterlife(mut disk: FaultyDisk, kept: Option<MemoryStore>, told: &mut Told, case: &str) -> FaultyDisk {
    let mut source = MemorySource::new(kept);
    let mut ledger = match open(&disk, &mut source) {
        Ok((ledger, _)) => ledger,
        // Creation was not through: nothing was acknowledged, and creating again must work.
        Err(OpenError::Unfinished { .. } | OpenError::HighWater(_)) if told.served.is_empty() => {
            let mut source = MemorySource::new(None);
            create(&disk, &mut source).unwrap_or_else(|e| panic!("{case}: creating again: {e}"))
        }
        Err(e) => panic!("{case}: opening: {e}"),
    };
    keep_promises(&ledger.view(), told, case);
    let pending = polls(&ledger, 2);
    append(&mut ledger, pending, told).unwrap_or_else(|_| panic!("{case}: going on"));
    audit(&ledger.view());
    drop(ledger);

    // The power goes right after the acknowledgement, and the index with it.
    disk = disk.restarted(Restart::Durable);
    let reader =
        LogReader::open_on(Arc::new(disk.clone()), Path::new(DIR)).unwrap_or_else(|e| panic!("{case}: {e}"));
    keep_promises(&reader, told, case);
    let (ledger, report) = open(&disk, &mut MemorySource::new(None))
        .unwrap_or_else(|e| panic!("{case}: after the power cut: {e}"));
    assert_eq!((report.torn, report.unacknowledged), (None, 0), "{case}: a clean log needs no recovery");
    keep_promises(&ledger.view(), told, case);
    let reader = LogReader::open_on(Arc::new(disk.clone()), Path::new(DIR)).unwrap();
    assert_eq!(audit(&ledger.view()), audit(&reader));
    disk
}

#[test]
fn every_operation_in_every_way() {
    let clean = FaultyDisk::new(None);
    let mut told = Told::default();
    life(&clean, &mut MemorySource::new(None), &mut told);
    assert_eq!((told.acknowledged.len(), told.served.len()), (5, 5));
    let names = clean.names();
    for kind in ["create", "write", "sync ", "sync directory", "rename to"] {
        assert!(names.iter().any(|n| n.starts_with(kind)), "{kind} never happens: {names:?}");
    }

    let mut cases = 0;
    for (at, name) in (0..).zip(&names) {
        for failure in [Failure::Killed, Failure::Io, Failure::Full] {
            let fills = ["write", "create", "mkdir"].iter().any(|k| name.starts_with(k));
            if failure == Failure::Full && !fills {
                continue;
            }
            for effect in [Effect::Lost, Effect::Persisted] {
                for restart in [Restart::Live, Restart::Durable, Restart::Holes] {
                    for index_survives in [true, false] {
                        let plan = Plan { at, failure, effect };
                        let case = format!("{name} (operation {at}): {failure:?}, {effect:?}, {restart:?}");
                        let disk = FaultyDisk::new(Some(plan));
                        let (mut source, mut told) = (MemorySource::new(None), Told::default());
                        life(&disk, &mut source, &mut told);
                        assert!(disk.struck(), "{case} was never reached");
                        let kept = source.survivor().filter(|_| index_survives);
                        afterlife(disk.restarted(restart), kept, &mut told, &case);
                        cases += 1;
                    }
                }
            }
        }
    }
    assert!(cases > 1000, "only {cases} cases");
}

#[test]
fn an_index_that_fails_stops_the_log_and_is_caught_up_later() {
    for budget in 0..5 {
        let disk = FaultyDisk::new(None);
        let (mut source, mut told) = (MemorySource::new(None), Told::default());
        source.budget = Some(budget);
        life(&disk, &mut source, &mut told);
        let survivor = source.survivor().unwrap();
        assert!(!survivor.failed(), "a reopened store starts anew");
        for kept in [Some(survivor), None] {
            let case = format!("apply {budget} fails");
            afterlife(disk.restarted(Restart::Live), kept, &mut clone(&told), &case);
        }
    }
}

fn clone(told: &Told) -> Told {
    Told { acknowledged: told.acknowledged.clone(), served: told.served.clone() }
}

#[test]
fn a_crash_during_recovery_is_recovered_from() {
    // The power goes before the last batch is synced and half of its pages are there: a torn tail. Then the program
    // is killed, or the disk fails, at every operation of the start that deals with it.
    let run = |plan| {
        let disk = FaultyDisk::new(plan);
        let mut told = Told::default();
        let mut ledger = create(&disk, &mut MemorySource::new(None)).unwrap();
        for n in [1, 3, 1] {
            let pending = polls(&ledger, n);
            // The last one fails when there is a plan.
            let _ = append(&mut ledger, pending, &mut told);
        }
        (disk, told)
    };
    let names = run(None).0.names();
    let sync = names.iter().rposition(|n| n.starts_with("sync 0")).unwrap();
    let (disk, told) = run(Some(Plan { at: sync as u64, failure: Failure::Killed, effect: Effect::Lost }));
    assert_eq!(told.acknowledged.len(), 4);
    let image = disk.restarted(Restart::Holes);
    let torn_dir = Path::new(DIR).join("journal/torn");
    let (steps, tail) = {
        let disk = image.restarted(Restart::Live);
        let (ledger, report) = open(&disk, &mut MemorySource::new(None)).unwrap();
        assert!(report.torn.is_some() && report.recovered == Some(5), "{report:?}");
        assert_eq!(ledger.record(5).unwrap().body.kind(), "log-recovered");
        let kept = disk.list(&torn_dir).unwrap();
        assert_eq!(kept.len(), 1);
        (disk.names(), disk.read(&torn_dir.join(&kept[0])))
    };
    for (at, name) in (0..).zip(&steps) {
        for failure in [Failure::Killed, Failure::Io] {
            for effect in [Effect::Lost, Effect::Persisted] {
                for restart in [Restart::Live, Restart::Durable, Restart::Holes] {
                    let case =
                        format!("recovery, {name} (operation {at}): {failure:?}, {effect:?}, {restart:?}");
                    let disk = image.planned(Plan { at, failure, effect });
                    let _ = open(&disk, &mut MemorySource::new(None));
                    let disk = afterlife(disk.restarted(restart), None, &mut clone(&told), &case);
                    // What was cut off is kept, and the power cut did not take it.
                    let kept = disk.list(&torn_dir).unwrap();
                    let mut kept = kept.iter().map(|name| disk.read(&torn_dir.join(name)));
                    assert!(kept.any(|bytes| bytes == tail), "{case}: the tail is gone");
                }
            }
        }
    }
}

#[test]
fn a_full_disk_leaves_nothing_behind() {
    // A large batch is written by half and refused; a smaller one follows. Nothing of the first may stand behind it.
    let write = {
        let disk = FaultyDisk::new(None);
        let mut ledger = create(&disk, &mut MemorySource::new(None)).unwrap();
        let before = disk.names().len();
        let pending = polls(&ledger, 5);
        ledger.append(pending).unwrap();
        before + disk.names()[before..].iter().position(|n| n.starts_with("write 0")).unwrap()
    };
    let disk = FaultyDisk::new(Some(Plan { at: write as u64, failure: Failure::Full, effect: Effect::Lost }));
    let mut ledger = create(&disk, &mut MemorySource::new(None)).unwrap();
    let pending = polls(&ledger, 5);
    let e = ledger.append(pending).unwrap_err();
    assert!(!e.is_fatal() && e.to_string().starts_with("nothing was appended"), "{e}");
    let pending = polls(&ledger, 1);
    ledger.append(pending).unwrap();
    drop(ledger);
    for restart in [Restart::Live, Restart::Durable] {
        let (ledger, report) = open(&disk.restarted(restart), &mut MemorySource::new(None)).unwrap();
        assert_eq!((report.size, report.torn), (2, None), "{restart:?}");
        audit(&ledger.view());
    }
}

#[test]
fn every_served_checkpoint_is_archived() {
    let (disk, mut told) = (FaultyDisk::new(None), Told::default());
    life(&disk, &mut MemorySource::new(None), &mut told);
    let archived = |disk: &FaultyDisk| -> Vec<Vec<u8>> {
        let reader = LogReader::open_on(Arc::new(disk.clone()), Path::new(DIR)).unwrap();
        reader.batches().flat_map(|b| b.unwrap().batch.checkpoints).map(|(_, note)| note).collect()
    };
    let served: Vec<_> = told.served.iter().map(|c| c.as_bytes().to_vec()).collect();
    assert_eq!(archived(&disk), served[..served.len() - 1], "the newest comes with the next batch");
    // The power goes; the newest is signed again, the same, and archived with what comes next.
    let disk = disk.restarted(Restart::Durable);
    let (mut ledger, _) = open(&disk, &mut MemorySource::new(None)).unwrap();
    let pending = polls(&ledger, 1);
    append(&mut ledger, pending, &mut told).unwrap();
    assert_eq!(archived(&disk), served);
}

#[test]
fn a_mark_that_was_read_is_durable() {
    // The sync of mark 2 fails and drops its pages; the next program reads mark 2 from the page cache, raises it to 3,
    // and the power goes within that write.
    let path = Path::new("/mark");
    let head = |size| isoledger_ledger::Head { size, ..isoledger_ledger::Head::EMPTY };
    let mark = |size| Mark { head: head(size), frames: size, time: at(0) };
    let disk = FaultyDisk::new(None);
    let shared: Arc<dyn Disk> = Arc::new(disk.clone());
    let mut high = HighWater::create(&shared, path, mark(0)).unwrap();
    high.raise(mark(1)).unwrap();
    // Opening writes and syncs, raising writes and syncs: the fourth operation is the sync that matters.
    let fails = disk.planned(Plan { at: 3, failure: Failure::Io, effect: Effect::Lost });
    let shared: Arc<dyn Disk> = Arc::new(fails.clone());
    HighWater::open(&shared, path).and_then(|mut high| high.raise(mark(2))).unwrap_err();
    let again = fails.planned(Plan { at: 3, failure: Failure::Killed, effect: Effect::Lost });
    let shared: Arc<dyn Disk> = Arc::new(again.clone());
    let mut high = HighWater::open(&shared, path).unwrap();
    assert_eq!(high.mark(), mark(2));
    high.raise(mark(3)).unwrap_err();
    let shared: Arc<dyn Disk> = Arc::new(again.restarted(Restart::Holes));
    assert_eq!(HighWater::read(&shared, path).unwrap(), mark(2));
}
