//! The journal damaged while the log was closed: a torn tail is cut off and recorded, everything else is refused with
//! the file, the byte and the entry in the sentence.

use crate::common::{Lying, MemorySource, ORIGIN, at, audit, audit_both, closed_log, create, polls, signer};
use crate::faulty_disk::{FaultyDisk, Restart};
use isoledger_core::record::Body;
use isoledger_ledger::disk::{Disk, RealDisk};
use isoledger_ledger::journal::JournalError;
use isoledger_ledger::{
    AuditOptions, Ground, Ledger, LogReader, OpenError, OpenOptions, OpenReport, ReadError, ReadLog,
    check_log,
};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let (path, to) = (entry.path(), to.join(entry.file_name()));
        match entry.file_type().unwrap().is_dir() {
            true => copy(&path, &to),
            false => drop(fs::copy(&path, &to).unwrap()),
        }
    }
}

/// The first segment, which is the only one of a small log.
fn segment(dir: &Path) -> PathBuf {
    dir.join("journal/00000000000000000000.seg")
}

/// Opens with an index in memory: these tests are about the journal, and there are many of them.
fn open(dir: &Path) -> Result<(Ledger, OpenReport), OpenError> {
    let mut source = MemorySource::new(None);
    let ground = Ground { disk: RealDisk::shared(), dir, lock: None, source: &mut source };
    Ledger::open_on(ground, signer(), OpenOptions::at(at(0)))
}

/// A log of five entries on a disk in memory, its segment, and the same segment with a sixth entry that the
/// high-water mark does not know of.
fn five_and_six() -> (FaultyDisk, Vec<u8>, Vec<u8>) {
    let disk = FaultyDisk::new(None);
    let shared: Arc<dyn Disk> = Arc::new(disk.clone());
    shared.create_dir(Path::new(MEMORY)).unwrap();
    let mut source = MemorySource::new(None);
    let ground = Ground { disk: shared, dir: Path::new(MEMORY), lock: None, source: &mut source };
    let mut ledger = Ledger::create_on(ground, ORIGIN, "moc", signer(), OpenOptions::at(at(0))).unwrap();
    let batch = polls(&ledger, 4);
    ledger.append(batch).unwrap();
    let five = disk.restarted(Restart::Live);
    let batch = polls(&ledger, 1);
    ledger.append(batch).unwrap();
    let file = segment(Path::new(MEMORY));
    let (short, long) = (five.read(&file), disk.read(&file));
    assert!(long.starts_with(&short));
    (five, short, long)
}

const MEMORY: &str = "/data";

fn open_in_memory(disk: &FaultyDisk) -> (Ledger, OpenReport) {
    let mut source = MemorySource::new(None);
    let ground =
        Ground { disk: Arc::new(disk.clone()), dir: Path::new(MEMORY), lock: None, source: &mut source };
    let (ledger, report) = Ledger::open_on(ground, signer(), OpenOptions::at(at(0))).unwrap();
    let reader = LogReader::open_on(Arc::new(disk.clone()), Path::new(MEMORY)).unwrap();
    assert_eq!(audit(&ledger.view()), audit(&reader));
    (ledger, report)
}

#[test]
fn a_batch_torn_at_any_byte_is_cut_off_and_recorded() {
    let (five, short, long) = five_and_six();
    let file = segment(Path::new(MEMORY));
    for cut in short.len()..=long.len() {
        let disk = five.with(&file, &long[..cut]);
        let (ledger, report) = open_in_memory(&disk);
        match cut - short.len() {
            0 => assert_eq!((report.torn, report.recovered, report.unacknowledged), (None, None, 0)),
            _ if cut == long.len() => {
                assert_eq!((report.torn, report.recovered, report.unacknowledged), (None, None, 1));
            }
            bytes => {
                let kept = report.torn.unwrap();
                assert_eq!((kept.bytes, report.recovered), (bytes as u64, Some(5)));
                let body = ledger.record(5).unwrap().body;
                assert_eq!(body, Body::LogRecovered { reason: "torn-tail".into(), size: 5 });
                // What was cut off is kept, and not recorded twice.
                let name = format!("{}.5.recorded", kept.kept.file_stem().unwrap().to_string_lossy());
                assert_eq!(disk.read(&kept.kept.with_file_name(name)), long[short.len()..cut]);
            }
        }
        drop(ledger);
        let (_, again) = open_in_memory(&disk);
        assert_eq!((again.torn, again.recovered), (None, None), "cut at {cut}");
    }
}

#[test]
fn a_hole_in_an_unacknowledged_batch_is_a_torn_tail_too() {
    let (five, short, long) = five_and_six();
    // One byte of the sixth batch is zero: whatever frame it hits, the commit behind it may well be whole.
    for at in (short.len()..long.len()).filter(|at| long[*at] != 0) {
        let mut bytes = long.clone();
        bytes[at] = 0;
        let (_, report) = open_in_memory(&five.with(&segment(Path::new(MEMORY)), &bytes));
        assert_eq!(report.torn.unwrap().bytes, (long.len() - short.len()) as u64);
        assert_eq!(report.recovered, Some(5));
    }
}

#[test]
fn whole_batches_behind_a_hole_are_no_torn_tail() {
    // Two batches beyond the mark, the first damaged: the mark is not this journal's, or the disk lost what it had
    // promised. Either way cutting would lose what may have been acknowledged.
    let (five, _, long) = five_and_six();
    let file = segment(Path::new(MEMORY));
    let disk = five.with(&file, &long);
    let (mut ledger, _) = open_in_memory(&disk);
    let batch = polls(&ledger, 1);
    ledger.append(batch).unwrap();
    let mut bytes = disk.read(&file);
    bytes[five.read(&file).len() + 40] ^= 1;
    let disk = five.with(&file, &bytes);
    let mut source = MemorySource::new(None);
    let ground =
        Ground { disk: Arc::new(disk.clone()), dir: Path::new(MEMORY), lock: None, source: &mut source };
    let e = Ledger::open_on(ground, signer(), OpenOptions::at(at(0))).err().unwrap();
    assert!(matches!(e, OpenError::Journal(JournalError::DamagedAhead { commits: 2, .. })), "{e}");
    assert_eq!(disk.read(&file), bytes, "a refusal changes nothing");
}

/// The sentence of a refusal to open, checked to say where and what to do, and that nothing was changed.
fn refusal(dir: &Path) -> OpenError {
    let before = fs::read(segment(dir)).ok();
    let e = open(dir).err().expect("damage must be refused");
    assert_eq!(fs::read(segment(dir)).ok(), before, "a refusal changes nothing");
    let reader = LogReader::open(dir).err().expect("readers refuse too");
    assert!(e.to_string().contains("estore") && reader.to_string().contains("estore"), "{e}\n{reader}");
    e
}

#[test]
fn every_flipped_byte_of_acknowledged_batches_is_refused_and_named() {
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("log");
    closed_log(&log, 4);
    let good = fs::read(segment(&log)).unwrap();
    let file = segment(&log);
    let starts = |text: &str| good.windows(text.len()).position(|w| w == text.as_bytes()).unwrap();
    let entries = [0, 1, 2, 3].map(|n| starts(&format!("{{\"v\":1,\"origin\":\"{ORIGIN}\",\"seq\":{n},")));
    for at in 0..good.len() {
        let mut bytes = good.clone();
        bytes[at] ^= 1 << (at % 8);
        fs::write(&file, &bytes).unwrap();
        let reader = LogReader::open(&log).err().unwrap_or_else(|| panic!("byte {at} flipped and read"));
        if at % 16 == 0 {
            refusal(&log);
        }
        let seq = match reader {
            ReadError::Journal(JournalError::Damaged { offset, seq, .. }) => {
                assert!(offset <= at as u64, "byte {at} flipped, {offset} named");
                seq
            }
            ReadError::Journal(JournalError::Segment { .. }) if at < 96 => continue,
            e => panic!("byte {at}: {e}"),
        };
        // A byte inside an entry's text is named as that entry.
        for (n, start) in (0..).zip(entries) {
            let end = start + good[start..].iter().position(|b| *b == b'\n').unwrap();
            if (start..=end).contains(&at) {
                assert_eq!(seq, n, "byte {at}");
            }
        }
    }
    fs::write(&file, &good).unwrap();
    audit_both(&open(&log).unwrap().0, &log);
}

#[test]
fn cut_emptied_missing_and_swapped() {
    let dir = tempfile::tempdir().unwrap();
    let good = dir.path().join("good");
    closed_log(&good, 6);
    let bytes = fs::read(segment(&good)).unwrap();
    for (name, harm) in [
        (
            "cut",
            Box::new(|d: &Path| fs::write(segment(d), &bytes[..bytes.len() - 1]).unwrap())
                as Box<dyn Fn(&Path)>,
        ),
        ("halved", Box::new(|d| fs::write(segment(d), &bytes[..bytes.len() / 2]).unwrap())),
        ("emptied", Box::new(|d| fs::write(segment(d), b"").unwrap())),
        ("removed", Box::new(|d| fs::remove_file(segment(d)).unwrap())),
        ("mark removed", Box::new(|d| fs::remove_file(d.join("high-water")).unwrap())),
        ("mark emptied", Box::new(|d| fs::write(d.join("high-water"), b"").unwrap())),
    ] {
        let bad = dir.path().join(name);
        copy(&good, &bad);
        harm(&bad);
        refusal(&bad);
    }
    // The mark of another log.
    let (other, bad) = (dir.path().join("other"), dir.path().join("foreign mark"));
    closed_log(&other, 3);
    copy(&good, &bad);
    fs::copy(other.join("high-water"), bad.join("high-water")).unwrap();
    let e = refusal(&bad);
    assert!(matches!(e, OpenError::Inconsistent { .. }), "{e}");
}

#[test]
fn a_journal_older_than_its_mark_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("log");
    closed_log(&log, 5);
    let backup = dir.path().join("backup");
    copy(&log, &backup);
    {
        let (mut ledger, _) = open(&log).unwrap();
        let batch = polls(&ledger, 3);
        ledger.append(batch).unwrap();
    }
    fs::copy(segment(&backup), segment(&log)).unwrap();
    let e = refusal(&log);
    assert!(matches!(e, OpenError::Journal(JournalError::Truncated { size: 5, acknowledged: 8, .. })), "{e}");
}

#[test]
fn segments_that_are_missing_or_exchanged_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("log");
    drop(create(&log));
    for _ in 0..3 {
        let options = OpenOptions { segment_bytes: 100, ..OpenOptions::at(at(0)) };
        let (mut ledger, _) = Ledger::open(&log, signer(), options).unwrap();
        let batch = polls(&ledger, 2);
        ledger.append(batch).unwrap();
    }
    let mut names: Vec<PathBuf> =
        fs::read_dir(log.join("journal")).unwrap().map(|f| f.unwrap().path()).collect();
    names.sort();
    assert_eq!(names.len(), 4);
    audit_both(&open(&log).unwrap().0, &log);
    for (at, name) in names.iter().enumerate() {
        let hidden = name.with_extension("hidden");
        fs::rename(name, &hidden).unwrap();
        let e = open(&log).err().unwrap_or_else(|| panic!("segment {at} missing and opened"));
        assert!(matches!(e, OpenError::Journal(_)), "{e}");
        assert!(LogReader::open(&log).is_err());
        fs::rename(&hidden, name).unwrap();
    }
    let (a, b) = (fs::read(&names[1]).unwrap(), fs::read(&names[2]).unwrap());
    fs::write(&names[1], &b).unwrap();
    fs::write(&names[2], &a).unwrap();
    let e = open(&log).err().unwrap();
    assert!(matches!(e, OpenError::Journal(JournalError::Segment { .. })), "{e}");
}

#[test]
fn an_audit_names_the_entry_that_was_changed() {
    // Not by a flipped bit, which the frames see, but by someone who writes the journal anew, frames, tree and all,
    // with one record changed: its signature does not follow.
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("log");
    closed_log(&log, 300);
    let reader = LogReader::open(&log).unwrap();
    let lying = Lying { log: &reader, seq: 42 };
    let key = signer().verifier().clone();
    let e = check_log(&lying, AuditOptions { key: Some(&key), content: true, ..AuditOptions::default() })
        .unwrap_err();
    assert!(e.to_string().starts_with("entry 42: "), "{e}");
}
