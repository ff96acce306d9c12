//! A witness under crashes, failing disks and callers that race: it never forgets what it cosigned, and never signs
//! two histories.

use crate::common::{audit_both, create, open, polls, signer};
use crate::faulty_disk::{Effect, Failure, FaultyDisk, Plan, Restart};
use isoledger_core::checkpoint::{Checkpoint, SignedCheckpoint};
use isoledger_core::merkle::{NodeId, consistency_plan, leaf_hash, root_of};
use isoledger_core::note::{NoteSigner, VerifierKey};
use isoledger_core::witness::{AddCheckpoint, Refusal, Watched, cosignatures, origin_hash};
use isoledger_core::{Hash, Timestamp};
use isoledger_ledger::disk::RealDisk;
use isoledger_ledger::witness::{AddError, Witness, WitnessError};
use isoledger_ledger::{LogReader, ReadLog as _};
use std::convert::Infallible;
use std::path::Path;
use std::sync::{Arc, Barrier};

fn log(origin: &str) -> NoteSigner {
    NoteSigner::new(origin, &[7; 32]).unwrap()
}

fn key() -> NoteSigner {
    NoteSigner::cosigner("witness.example/w", &[9; 32]).unwrap()
}

fn at(seconds: u64) -> Timestamp {
    Timestamp::from_millis(1_700_000_000_000 + seconds * 1000).unwrap()
}

/// Stories differ from the fifth entry on.
fn leaf(i: u64, story: u8) -> Hash {
    leaf_hash(format!("entry {i} of story {}", if i < 5 { 0 } else { story }).as_bytes())
}

fn request(origin: &str, old: u64, size: u64, story: u8) -> AddCheckpoint {
    let subtree = |id: NodeId| {
        let from = id.index << id.level;
        Ok::<_, Infallible>(root_of((from..from + (1 << id.level)).map(|i| leaf(i, story))))
    };
    let root = root_of((0..size).map(|i| leaf(i, story)));
    let head = Checkpoint { origin: origin.into(), size, root };
    let note = SignedCheckpoint::sign(head, &log(origin)).unwrap();
    AddCheckpoint {
        old,
        proof: consistency_plan(old, size).unwrap().assemble(subtree).unwrap(),
        checkpoint: Watched::parse(note.as_bytes()).unwrap(),
    }
}

const LOG: &str = "audit.example/moc";

fn keys() -> Vec<VerifierKey> {
    vec![log(LOG).verifier().clone()]
}

#[test]
fn it_remembers_across_restarts_and_shows_what_it_cosigned() {
    let dir = tempfile::tempdir().unwrap();
    for (n, (old, size)) in [(0, 3), (3, 3), (3, 7), (7, 900)].into_iter().enumerate() {
        let witness = Witness::open(dir.path(), key()).unwrap();
        assert_eq!(witness.size(LOG), old);
        let line = witness.add(&request(LOG, old, size, 0), &keys(), at(n as u64)).unwrap();
        let kept = Watched::parse(witness.latest(&origin_hash(LOG)).unwrap().as_bytes()).unwrap();
        assert_eq!(kept.head().size, size);
        assert_eq!(kept.lines_of(&keys()).unwrap().len(), 1, "the log's own line is kept");
        let found = cosignatures(kept.text(), &[line], &[key().verifier().clone()]).unwrap();
        assert_eq!(found[0].time, at(n as u64));
    }
    let witness = Witness::open(dir.path(), key()).unwrap();
    assert!(witness.latest(&origin_hash("audit.example/other")).is_none());
    assert!(matches!(Witness::open(dir.path(), key()), Err(WitnessError::Held { .. })));
}

#[test]
fn a_clock_that_runs_backwards_cosigns_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let witness = Witness::open(dir.path(), key()).unwrap();
    witness.add(&request(LOG, 0, 3, 0), &keys(), at(100)).unwrap();
    let e = witness.add(&request(LOG, 3, 4, 0), &keys(), at(99)).unwrap_err();
    assert!(matches!(e, AddError::ClockBehind { .. }), "{e}");
    assert_eq!(witness.size(LOG), 3);
    witness.add(&request(LOG, 3, 4, 0), &keys(), at(100)).unwrap();
}

#[test]
fn memory_that_cannot_be_believed_stops_the_start() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("logs").join(origin_hash(LOG));
    Witness::open(dir.path(), key()).unwrap().add(&request(LOG, 0, 3, 0), &keys(), at(1)).unwrap();
    let good = std::fs::read(&path).unwrap();
    let opens = |bytes: &[u8]| {
        std::fs::write(&path, bytes).unwrap();
        match Witness::open(dir.path(), key()) {
            Ok(witness) => Some(witness.size(LOG)),
            Err(WitnessError::Damaged { .. }) => None,
            Err(e) => panic!("{e}"),
        }
    };
    assert_eq!(opens(&good), Some(3));
    for at in 0..good.len() {
        assert_eq!(opens(&good[..at]), None, "cut at {at}");
        let mut bad = good.clone();
        bad[at] ^= 1;
        // A changed byte in the log's own line changes nothing that was cosigned.
        assert!(matches!(opens(&bad), None | Some(3)), "byte {at}");
    }
    std::fs::write(&path, &good).unwrap();
    let other = NoteSigner::cosigner("witness.example/w", &[10; 32]).unwrap();
    assert!(matches!(Witness::open(dir.path(), other), Err(WitnessError::Damaged { .. })));
    std::fs::rename(&path, path.with_file_name(origin_hash("audit.example/other"))).unwrap();
    assert!(matches!(Witness::open(dir.path(), key()), Err(WitnessError::Damaged { .. })));
}

#[test]
fn strangers_leave_no_trace() {
    let dir = tempfile::tempdir().unwrap();
    let witness = Witness::open(dir.path(), key()).unwrap();
    let e = witness.add(&request("stranger.example", 0, 3, 0), &[], at(1)).unwrap_err();
    assert!(matches!(e, AddError::Refused(Refusal::UnknownLog)));
    let e = witness.add(&request(LOG, 0, 3, 0), &[log("x.example").verifier().clone()], at(1)).unwrap_err();
    assert!(matches!(e, AddError::Refused(Refusal::Signature(_))));
    assert_eq!(std::fs::read_dir(dir.path().join("logs")).unwrap().count(), 0);
}

#[test]
fn of_two_at_once_exactly_one_wins_and_sizes_only_grow() {
    let dir = tempfile::tempdir().unwrap();
    let witness = Arc::new(Witness::open(dir.path(), key()).unwrap());
    witness.add(&request(LOG, 0, 3, 0), &keys(), at(0)).unwrap();
    for round in 0..20u64 {
        let old = witness.size(LOG);
        // Eight callers, of whom half tell another story: all send a good proof from where the witness stands.
        let barrier = Arc::new(Barrier::new(8));
        let callers: Vec<_> = (0..8u64)
            .map(|n| {
                let (witness, barrier) = (witness.clone(), barrier.clone());
                let story = if old > 5 { 0 } else { (n % 2) as u8 };
                let r = request(LOG, old, old + 1 + n, story);
                std::thread::spawn(move || {
                    barrier.wait();
                    (n, story, witness.add(&r, &keys(), at(round)))
                })
            })
            .collect();
        let done: Vec<_> = callers.into_iter().map(|c| c.join().unwrap()).collect();
        let won: Vec<_> = done.iter().filter(|(.., r)| r.is_ok()).collect();
        assert_eq!(won.len(), 1);
        let (n, story, _) = won[0];
        assert_eq!(witness.size(LOG), old + 1 + n);
        for (.., r) in &done {
            if let Err(e) = r {
                assert!(matches!(e, AddError::Refused(Refusal::Conflict { size }) if *size == old + 1 + n));
            }
        }
        if *story == 1 {
            // From here on story 1 is the log's; the rest of the test goes on with another log.
            return;
        }
    }
}

#[test]
fn hundreds_of_logs_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let witness = Arc::new(Witness::open(dir.path(), key()).unwrap());
    let threads: Vec<_> = (0..8)
        .map(|t| {
            let witness = witness.clone();
            std::thread::spawn(move || {
                for n in 0..40 {
                    let origin = format!("log.example/{t}/{n}");
                    let keys = [log(&origin).verifier().clone()];
                    witness.add(&request(&origin, 0, 3, 0), &keys, at(1)).unwrap();
                    witness.add(&request(&origin, 3, 6, 0), &keys, at(2)).unwrap();
                }
            })
        })
        .collect();
    threads.into_iter().for_each(|t| t.join().unwrap());
    drop(witness);
    let witness = Witness::open(dir.path(), key()).unwrap();
    for n in 0..320 {
        assert_eq!(witness.size(&format!("log.example/{}/{}", n / 40, n % 40)), 6);
    }
}

/// Cosigns 3, then 7 of one story on a disk that fails as planned; gives what was answered for.
fn story(disk: &FaultyDisk, dir: &Path) -> u64 {
    let mut answered = 0;
    let Ok(witness) = Witness::open_on(Arc::new(disk.clone()), dir, None, key()) else { return 0 };
    for (n, (old, size)) in [(0, 3), (3, 7)].into_iter().enumerate() {
        let n = if n == 1 { 9 } else { n };
        match witness.add(&request(LOG, old, size, 0), &keys(), at(n as u64)) {
            Ok(_) => answered = size,
            // Before anything was synced a failure is a refusal: the same is good when there is room again.
            Err(AddError::Io { doing: "remove" | "create" | "write", .. }) => {
                match witness.add(&request(LOG, old, size, 0), &keys(), at(9)) {
                    Ok(_) => answered = size,
                    Err(AddError::Io { .. }) => break,
                    Err(e) => panic!("{e}"),
                }
            }
            Err(AddError::Io { .. }) => {
                // From then on the same handle signs nothing more for this log.
                let again = witness.add(&request(LOG, old, size, 0), &keys(), at(9));
                assert!(matches!(again, Err(AddError::Doubtful { .. })), "{again:?}");
                break;
            }
            Err(e) => panic!("{e}"),
        }
    }
    answered
}

/// Every operation × {killed, error, disk full} × {lost, done anyway} × what the next start finds: what was answered for
/// is remembered, and another story is never cosigned after it.
#[test]
fn what_was_answered_for_is_never_forgotten() {
    let dir = Path::new("/w");
    let clean = FaultyDisk::new(None);
    assert_eq!(story(&clean, dir), 7);
    let operations = clean.names().len() as u64;
    assert!(operations > 10, "{:?}", clean.names());
    let mut struck = 0;
    for at_op in 0..operations {
        for failure in [Failure::Killed, Failure::Io, Failure::Full] {
            for effect in [Effect::Lost, Effect::Persisted] {
                for restart in [Restart::Live, Restart::Durable, Restart::Holes] {
                    let plan = Plan { at: at_op, failure, effect };
                    let disk = FaultyDisk::new(Some(plan));
                    let answered = story(&disk, dir);
                    struck += u32::from(disk.struck());
                    let what = format!("{plan:?} {restart:?} {:?}", clean.names().get(at_op as usize));
                    let disk = disk.restarted(restart);
                    let again = Witness::open_on(Arc::new(disk), dir, None, key());
                    let witness = again.unwrap_or_else(|e| panic!("{what}: {e}"));
                    let size = witness.size(LOG);
                    assert!(size >= answered, "{what}: answered for {answered}, remembers {size}");
                    if answered == 7 {
                        let other = witness.add(&request(LOG, size, 9, 1), &keys(), at(20));
                        assert!(
                            matches!(other, Err(AddError::Refused(Refusal::Inconsistent(_)))),
                            "{what}: {other:?}"
                        );
                    }
                    witness
                        .add(&request(LOG, size, 9, 0), &keys(), at(21))
                        .unwrap_or_else(|e| panic!("{what}: {e}"));
                }
            }
        }
    }
    assert_eq!(u64::from(struck), operations * 18);
}

#[test]
fn a_leftover_of_a_crash_is_removed() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("logs")).unwrap();
    let left = dir.path().join("logs").join(format!("{}.new", origin_hash(LOG)));
    std::fs::write(&left, "half a no").unwrap();
    let witness = Witness::open_on(RealDisk::shared(), dir.path(), None, key()).unwrap();
    assert!(!left.exists());
    assert_eq!(witness.size(LOG), 0);
}

/// Cosignatures over one size are joined, whoever comes when; a newer one of the same key replaces the older.
#[test]
fn cosignatures_of_one_size_are_joined() {
    let dir = tempfile::tempdir().unwrap();
    let mut ledger = create(dir.path());
    let batch = polls(&ledger, 4);
    ledger.append(batch).unwrap();
    let note = ledger.published().unwrap().checkpoint;
    let opened = note.open(signer().verifier()).unwrap();
    let auditor = NoteSigner::cosigner("auditor.example/a", &[11; 32]).unwrap();
    let first = note.with(&opened.cosign(&key(), at(1)).unwrap()).unwrap();
    ledger.archive_checkpoint(&first).unwrap();
    let more = polls(&ledger, 300);
    ledger.append(more).unwrap();
    ledger.archive_checkpoint(&note.with(&opened.cosign(&auditor, at(2)).unwrap()).unwrap()).unwrap();
    ledger.archive_checkpoint(&note.with(&opened.cosign(&key(), at(3)).unwrap()).unwrap()).unwrap();
    let known = [key().verifier().clone(), auditor.verifier().clone()];
    let size = opened.size();
    let check = |log: &dyn Fn() -> Vec<SignedCheckpoint>| {
        let kept = log();
        assert_eq!(kept.len(), 1);
        let mut found: Vec<_> = kept[0].cosignatures(&known).unwrap().iter().map(|c| c.time).collect();
        found.sort();
        assert_eq!(found, [at(2), at(3)]);
    };
    check(&|| ledger.view().cosigned(size, size, 9).unwrap());
    check(&|| LogReader::open(dir.path()).unwrap().cosigned(size, size, 9).unwrap());
    assert_eq!(ledger.view().cosigned_sizes(0, 1000).unwrap(), [size]);
    assert_eq!(LogReader::open(dir.path()).unwrap().cosigned_sizes(0, 1000).unwrap(), [size]);
    assert!(ledger.view().cosigned_sizes(size + 1, 1000).unwrap().is_empty());
    drop(ledger);
    let (ledger, _) = open(dir.path()).unwrap();
    check(&|| ledger.view().cosigned(size, size, 9).unwrap());
    audit_both(&ledger, dir.path());
}
