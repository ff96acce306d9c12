//! Audits that go on where another ended, and audits of what is public.

use crate::common::*;
use isoledger_ledger::audit::{POINT, SavedPoint};
use isoledger_ledger::public::{Directory, PublicLog};
use isoledger_ledger::{
    AuditError, AuditOptions, AuditReport, Damage, DamageKind, LogReader, ReadLog, check_log, export,
};
use std::fs;

const SIZE: u64 = 600;

fn point(log: &LogReader, size: u64) -> SavedPoint {
    SavedPoint {
        v: POINT,
        origin: ORIGIN.into(),
        size,
        root: log.root_at(size).unwrap(),
        signatures: true,
        content: true,
        recomputed: size,
        without_content: 0,
    }
}

fn resumed(log: &impl ReadLog, point: &SavedPoint) -> Result<AuditReport, AuditError> {
    let key = signer().verifier().clone();
    check_log(log, AuditOptions { key: Some(&key), content: true, resume: Some(point), ..Default::default() })
}

#[test]
fn from_any_point_the_rest_is_audited_as_from_the_beginning() {
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("log");
    closed_log(&log, SIZE);
    let reader = LogReader::open(&log).unwrap();
    let whole = audit(&reader);
    assert_eq!((whole.resumed, whole.opened), (0, SIZE - 1));
    for size in [0, 1, 2, 255, 256, 257, 511, 512, 599, 600] {
        let report = resumed(&reader, &point(&reader, size)).unwrap_or_else(|e| panic!("{size}: {e}"));
        assert_eq!(report.head, whole.head, "{size}");
        assert_eq!((report.resumed, report.types.values().sum::<u64>()), (size, SIZE - size));
        assert_eq!(
            (report.opened, report.times, &report.keys),
            (SIZE - size.max(1), whole.times, &whole.keys)
        );
        // Entries on either side of the point, changed with frames and tree: the one by the root, the other as ever.
        for seq in [3, 256, 590] {
            let e = resumed(&Lying { log: &reader, seq }, &point(&reader, size)).unwrap_err();
            let wanted = match seq < size {
                true => Damage { entry: None, kind: DamageKind::History },
                false => Damage { entry: Some(seq), kind: DamageKind::Signature },
            };
            assert_eq!(Damage::from(&e), wanted, "{seq} changed, audited to {size}: {e}");
        }
    }
    let mut other = point(&reader, 300);
    other.root = reader.root_at(299).unwrap();
    assert_eq!(Damage::from(&resumed(&reader, &other).unwrap_err()).kind, DamageKind::History);
    other.size = SIZE + 1;
    assert_eq!(Damage::from(&resumed(&reader, &other).unwrap_err()).kind, DamageKind::Older);
}

#[test]
fn an_export_is_audited_as_the_log_is_but_for_its_content() {
    let dir = tempfile::tempdir().unwrap();
    let (log, out) = (dir.path().join("log"), dir.path().join("public"));
    closed_log(&log, 300);
    export(&LogReader::open(&log).unwrap(), &out).unwrap();
    {
        let (mut ledger, _) = open(&log).unwrap();
        let batch = polls(&ledger, SIZE - 300);
        ledger.append(batch).unwrap();
    }
    let reader = LogReader::open(&log).unwrap();
    export(&reader, &out).unwrap();
    assert!(Directory::is_export(&out) && !Directory::is_export(&log));
    let key = signer().verifier().clone();
    let options = AuditOptions { key: Some(&key), ..AuditOptions::default() };
    let public = PublicLog::open(Directory(out.clone())).unwrap();
    assert!(public.has_signatures().unwrap());
    let report = check_log(&public, options).unwrap();
    assert_eq!(report, AuditReport { opened: 0, ..audit(&reader) });
    assert_eq!((public.keys(), public.published().unwrap().time), (reader.keys(), at((SIZE - 1) * 1000)));
    for time in [0, 1000, 299_500, 700_000] {
        assert_eq!(public.seq_at_time(at(time)).unwrap(), reader.seq_at_time(at(time)).unwrap());
    }
    // Proofs made from files are those made from the journal.
    assert_eq!(public.inclusion(257, SIZE).unwrap(), reader.inclusion(257, SIZE).unwrap());
    assert_eq!(public.consistency(300, SIZE).unwrap(), reader.consistency(300, SIZE).unwrap());
    // Without signature bundles the tree is all there is, and it is enough to see a changed entry.
    fs::remove_dir_all(out.join("signatures")).unwrap();
    let public = PublicLog::open(Directory(out.clone())).unwrap();
    assert!(!public.has_signatures().unwrap());
    let missing = check_log(&public, options).unwrap_err();
    assert_eq!(Damage::from(&missing), Damage { entry: Some(0), kind: DamageKind::Missing });
    let unsigned = AuditOptions { unsigned: true, ..options };
    let public = public.without_signatures();
    assert_eq!(check_log(&public, unsigned).unwrap(), report);
    let lying = Lying { log: &public, seq: 270 };
    // The next one does not follow from it.
    let e = Damage::from(&check_log(&lying, unsigned).unwrap_err());
    assert_eq!(e, Damage { entry: Some(271), kind: DamageKind::Chain });
    // A file that no log has is not read to its end.
    fs::write(out.join("tile/entries/000"), vec![0; 64 << 20]).unwrap();
    let public = PublicLog::open(Directory(out)).unwrap().without_signatures();
    let e = check_log(&public, unsigned).unwrap_err();
    assert!(e.to_string().contains("longer than"), "{e}");
}
