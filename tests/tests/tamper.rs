//! The tamper matrix of docs/THREATS.md: every way of changing a log after the fact, and the check that refutes it. The
//! page is held to these tests and they to the page.
#![allow(clippy::unwrap_used)]

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use isoledger_collectors::{Evidence, normalise, normalise_declared};
use isoledger_core::checkpoint::{Checkpoint, SignedCheckpoint};
use isoledger_core::json::to_canonical;
use isoledger_core::merkle::{leaf_hash, root_of};
use isoledger_core::model::Reader;
use isoledger_core::note::{NoteSigner, VerifierKey};
use isoledger_core::record::{Body, Record};
use isoledger_core::{Digest, Hash, Span, Timestamp};
use isoledger_lab::{Lab, World};
use isoledger_ledger::audit::{AuditOptions, POINT, SavedPoint, check_log};
use isoledger_ledger::batch::Stored;
use isoledger_ledger::export::{ExportError, export};
use isoledger_ledger::public::{Directory, PublicLog};
use isoledger_ledger::read::{Published, ReadError, ReadLog};
use isoledger_ledger::recompute::{Recomputed, Renormalise, recompute};
use isoledger_ledger::state::{PollState, Snapshots};
use isoledger_ledger::store::{Row, SledStore, Store};
use isoledger_ledger::{Damage, DamageKind, Head, LogReader};
use isoledger_tests::site::{ORIGIN, Site, copy};
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A small real log: genesis, scope, and polls before and after a port moved, in a site that is not polling now.
struct Scene {
    _runtime: tokio::runtime::Runtime,
    _lab: Lab,
    site: Site,
    key: VerifierKey,
    /// The key as a thief has it.
    stolen: NoteSigner,
}

impl Scene {
    fn new() -> Scene {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let lab = runtime.block_on(Lab::start(World::two_tenants())).unwrap();
        let site = Site::of_lab(&lab);
        site.poll();
        site.poll();
        lab.edit(|w| {
            let sw2 = w.switch_mut("sw2").unwrap();
            sw2.set_port("sw2p4", "vlan_mode", "access").unwrap();
            sw2.set_port("sw2p4", "tag", 100u16).unwrap();
        });
        site.poll();
        let seed = fs::read_to_string(site.path("log.key")).unwrap();
        let seed = seed.trim_end().rsplit(' ').next().unwrap().to_owned();
        let seed: [u8; 32] = BASE64_STANDARD.decode(seed).unwrap().try_into().unwrap();
        let stolen = NoteSigner::new(ORIGIN, &seed).unwrap();
        let key = site.vkey.parse().unwrap();
        assert_eq!(stolen.verifier(), &key);
        Scene { _runtime: runtime, _lab: lab, site, key, stolen }
    }

    fn data(&self) -> PathBuf {
        self.site.data()
    }

    fn reader(&self) -> LogReader {
        LogReader::open(&self.data()).unwrap()
    }

    /// A copy of the data directory to be harmed.
    fn copy(&self, name: &str) -> PathBuf {
        let to = self.site.path(name);
        copy(&self.data(), &to);
        to
    }

    fn audit(&self, log: &impl ReadLog) -> Result<Recomputed, Damage> {
        let options = AuditOptions { key: Some(&self.key), content: true, ..AuditOptions::default() };
        check_log(log, options).map_err(|e| Damage::from(&e))?;
        recompute(log, &mut Readers, &mut |_, _| {}).map_err(|e| Damage::from(&e))
    }

    fn audit_dir(&self, dir: &Path) -> Result<Recomputed, Damage> {
        self.audit(&LogReader::open(dir).map_err(|e| Damage::from(&e))?)
    }

    /// The audit of whoever was here before.
    fn audit_again(&self, log: &impl ReadLog, point: &SavedPoint) -> Option<DamageKind> {
        let options = AuditOptions {
            key: Some(&self.key),
            content: true,
            resume: Some(point),
            ..AuditOptions::default()
        };
        check_log(log, options).err().map(|e| Damage::from(&e).kind)
    }

    fn point(&self) -> SavedPoint {
        let Head { size, root } = self.reader().published().unwrap().head;
        SavedPoint {
            v: POINT,
            origin: ORIGIN.into(),
            size,
            root,
            signatures: true,
            content: true,
            recomputed: size,
            without_content: 0,
        }
    }
}

struct Readers;

impl Renormalise for Readers {
    fn observed(&mut self, reader: &Reader, evidence: &[u8]) -> Result<Vec<u8>, String> {
        let evidence = Evidence::from_bytes(evidence).map_err(|e| e.to_string())?;
        normalise(reader, &evidence).map(|o| to_canonical(&o)).map_err(|e| e.to_string())
    }

    fn declared(&mut self, reader: &Reader, evidence: &[u8]) -> Result<Vec<u8>, String> {
        let evidence = Evidence::from_bytes(evidence).map_err(|e| e.to_string())?;
        normalise_declared(reader, &evidence).map(|d| to_canonical(&d)).map_err(|e| e.to_string())
    }
}

/// A log as a forger lays it out: frames, tiles and tree all anew, over other entries.
struct Forged<'l> {
    log: &'l LogReader,
    entries: Vec<Stored>,
    checkpoint: SignedCheckpoint,
    /// Content that is told to be at an address.
    content: Option<(Digest, Vec<u8>)>,
}

impl<'l> Forged<'l> {
    /// The entries as they are, to be changed.
    fn of(log: &'l LogReader) -> Forged<'l> {
        let entries = log.entries(0, log.size().unwrap()).map(|e| (*e.unwrap().1).clone()).collect();
        Forged { log, entries, checkpoint: log.published().unwrap().checkpoint, content: None }
    }

    fn record(&self, at: usize) -> Record {
        Record::parse(&self.entries[at].text).unwrap()
    }

    /// Writes a record anew, signed by whoever has the key.
    fn put(&mut self, at: usize, record: &Record, signer: &NoteSigner) {
        let text = record.encode();
        self.entries[at].signature = signer.sign(&text).unwrap().to_string().into_bytes();
        self.entries[at].text = text.into_bytes();
    }

    /// Makes every entry from `at` on follow from the one before, signed.
    fn rechain(&mut self, at: usize, signer: &NoteSigner) {
        for n in at..self.entries.len() {
            let mut record = self.record(n);
            record.seq = n as u64;
            record.prev = n.checked_sub(1).map_or(Digest([0; 32]), |p| Digest::of(&self.entries[p].text));
            self.put(n, &record, signer);
        }
    }

    /// A checkpoint over the entries as they are now.
    fn vouch(&mut self, signer: &NoteSigner) {
        let (size, root) = (self.entries.len() as u64, root_of(self.leaves()));
        let checkpoint = Checkpoint { origin: ORIGIN.into(), size, root };
        self.checkpoint = SignedCheckpoint::sign(checkpoint, signer).unwrap();
    }

    fn leaves(&self) -> Vec<Hash> {
        self.entries.iter().map(|e| leaf_hash(&e.text)).collect()
    }
}

impl ReadLog for Forged<'_> {
    fn origin(&self) -> &str {
        self.log.origin()
    }
    fn keys(&self) -> Vec<(u64, VerifierKey)> {
        self.log.keys()
    }
    fn published(&self) -> Result<Published, ReadError> {
        let checkpoint = self.checkpoint.clone();
        let head = Head { size: checkpoint.unverified().size, root: checkpoint.unverified().root };
        Ok(Published { head, time: Timestamp::default(), checkpoint })
    }
    fn block(&self, n: u64) -> Result<Vec<Arc<Stored>>, ReadError> {
        assert_eq!(n, 0, "a small log");
        Ok(self.entries.iter().cloned().map(Arc::new).collect())
    }
    fn tile_hashes(&self, level: u8, n: u64) -> Result<Vec<Hash>, ReadError> {
        assert_eq!((level, n), (0, 0), "a small log");
        Ok(self.leaves())
    }
    fn content(&self, digest: &Digest) -> Result<Vec<u8>, ReadError> {
        match &self.content {
            Some((at, bytes)) if at == digest => Ok(bytes.clone()),
            _ => self.log.content(digest),
        }
    }
    fn seq_at_time(&self, time: Timestamp) -> Result<Option<u64>, ReadError> {
        self.log.seq_at_time(time)
    }
    fn cosigned(&self, _: u64, _: u64, _: usize) -> Result<Vec<SignedCheckpoint>, ReadError> {
        Ok(Vec::new())
    }
    fn cosigned_sizes(&self, _: u64, _: u64) -> Result<Vec<u64>, ReadError> {
        Ok(Vec::new())
    }
}

fn damage(entry: u64, kind: DamageKind) -> Damage {
    Damage { entry: Some(entry), kind }
}

fn files(dir: &Path) -> Vec<PathBuf> {
    let mut out = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { out.extend(files(&path)) } else { out.push(path) }
    }
    out.sort();
    out
}

fn segments(dir: &Path) -> Vec<PathBuf> {
    files(&dir.join("journal"))
}

// ---- what lies on the disk ---------------------------------------------------------------------------------------

#[test]
fn a_byte_flipped_in_the_journal() {
    let scene = Scene::new();
    let bad = scene.copy("bad");
    let [file] = &segments(&bad)[..] else { panic!("one segment") };
    let good = fs::read(file).unwrap();
    // All bytes of a frame are under one sum, so that one in eleven falls into every frame and every field of some.
    for at in (0..good.len()).step_by(11).chain([good.len() - 1]) {
        let mut bytes = good.clone();
        bytes[at] ^= 1 << (at % 8);
        fs::write(file, bytes).unwrap();
        let found = scene.audit_dir(&bad).expect_err(&format!("byte {at} flipped, and nothing was found"));
        assert!(matches!(found.kind, DamageKind::Bytes | DamageKind::Missing), "byte {at}: {found:?}");
        assert!(found.entry.is_some(), "byte {at}: {found:?}");
    }
    fs::write(file, &good).unwrap();
    assert_eq!(scene.audit_dir(&bad), scene.audit_dir(&scene.data()));
}

#[test]
fn a_byte_flipped_beside_the_journal() {
    let scene = Scene::new();
    let good = scene.audit_dir(&scene.data()).unwrap();
    let size = scene.reader().published().unwrap().head.size;
    let bad = scene.copy("bad");
    let flip = |file: &Path, at: usize, mask: u8| {
        let mut bytes = fs::read(file).unwrap();
        bytes[at] ^= mask;
        fs::write(file, bytes).unwrap();
    };
    let mark = bad.join("high-water");
    let whole = fs::read(&mark).unwrap();
    // One slot of the mark holds for the other; a journal beyond the mark is read all the same.
    for at in (0..whole.len()).step_by(whole.len().div_ceil(200)) {
        flip(&mark, at, 4);
        match LogReader::open(&bad) {
            Ok(log) => assert_eq!(log.published().unwrap().head.size, size, "byte {at}"),
            Err(e) => assert_eq!(Damage::from(&e).kind, DamageKind::HighWater, "byte {at}"),
        }
        flip(&mark, at, 4);
    }
    fs::write(&mark, vec![0x55; whole.len()]).unwrap();
    assert_eq!(scene.audit_dir(&bad).unwrap_err().kind, DamageKind::HighWater);
    fs::write(&mark, &whole).unwrap();
    // The published checkpoint is believed when the log's key signed it over these entries, and else an older one is.
    let note = bad.join("checkpoint");
    let whole = fs::read(&note).unwrap();
    for at in 0..whole.len() {
        flip(&note, at, 1);
        match LogReader::open(&bad).unwrap().published() {
            Ok(published) => assert!(published.head.size < size, "byte {at} flipped, and it was believed"),
            Err(e) => assert_eq!(Damage::from(&e).kind, DamageKind::Checkpoint, "byte {at}"),
        }
        flip(&note, at, 1);
    }
    // Nothing of the index is believed, so an audit does not read it.
    for file in files(&bad.join("index")) {
        let len = fs::metadata(&file).unwrap().len() as usize;
        if len > 0 {
            flip(&file, len / 2, 0x10);
            assert_eq!(scene.audit_dir(&bad).unwrap(), good, "{}", file.display());
        }
    }
}

#[test]
fn the_tail_cut_off_and_segments_taken_away() {
    let scene = Scene::new();
    let size = scene.reader().size().unwrap();
    let bad = scene.copy("bad");
    let [file] = &segments(&bad)[..] else { panic!("one segment") };
    let good = fs::read(file).unwrap();
    for cut in [good.len() - 1, good.len() / 2, 200, 0] {
        fs::write(file, &good[..cut]).unwrap();
        let found = scene.audit_dir(&bad).unwrap_err();
        assert!(matches!(found.kind, DamageKind::Missing | DamageKind::Bytes), "cut at {cut}: {found:?}");
        assert!(found.entry.is_some_and(|seq| seq < size), "cut at {cut}: {found:?}");
    }
    fs::remove_file(file).unwrap();
    assert_eq!(scene.audit_dir(&bad).unwrap_err().kind, DamageKind::Missing);
    // Whoever has not even a journal has an export or nothing.
    let done = scene.site.run("audit --data bad/index");
    assert_eq!(done.code, Some(2), "{done:?}");
}

#[test]
fn only_the_index_edited() {
    let scene = Scene::new();
    let site = &scene.site;
    let reader = scene.reader();
    let size = reader.size().unwrap();
    let opening = reader.opening(size - 1).unwrap().unwrap();
    let replay = |code| site.run("--json replay --to 2100-01-01").expect(code).json();
    let good = replay(0);
    assert_eq!((&good["ok"], &good["size"], &good["differences"]), (&true.into(), &size.into(), &0.into()));
    assert_eq!(good["notCompared"].as_array().unwrap().len(), 0, "{good:#}");
    // A row with another one's words, sums and all: an entry, and content under an address it does not have.
    for (row, other) in [
        (Row::Tail(size - 2), Row::Tail(size - 1)),
        (Row::Content(opening.digest), Row::Content(reader.opening(size - 2).unwrap().unwrap().digest)),
    ] {
        let honest = {
            let store = SledStore::open(&scene.data().join("index")).unwrap();
            let (honest, lie) = (store.get(&row).unwrap().unwrap(), store.get(&other).unwrap().unwrap());
            assert_ne!(honest, lie, "{row:?}");
            store.put(&row, &lie).unwrap();
            honest
        };
        let found = replay(1);
        assert!(found["differences"].as_u64() > Some(0), "{found:#}");
        assert_eq!((&found["index"], &found["divergences"]), (&good["index"], &good["divergences"]));
        assert_eq!(scene.audit_dir(&scene.data()), scene.audit(&reader));
        SledStore::open(&scene.data().join("index")).unwrap().put(&row, &honest).unwrap();
        assert_eq!(replay(0), good);
    }
}

#[test]
fn content_changed_under_its_address() {
    let scene = Scene::new();
    let reader = scene.reader();
    let size = reader.size().unwrap();
    let digest = reader.opening(size - 1).unwrap().unwrap().digest;
    let mut bytes = reader.content(&digest).unwrap();
    bytes[20] ^= 1;
    let mut forged = Forged::of(&reader);
    forged.content = Some((digest, bytes));
    assert_eq!(scene.audit(&forged), Err(damage(size - 1, DamageKind::Content)));
}

// ---- entries, by somebody who lays frames, tree and tiles anew ----------------------------------------------------

#[test]
fn entries_dropped_repeated_and_exchanged() {
    let scene = Scene::new();
    let reader = scene.reader();
    let size = reader.size().unwrap() as usize;
    for at in 1..size - 1 {
        let mut dropped = Forged::of(&reader);
        dropped.entries.remove(at);
        let mut repeated = Forged::of(&reader);
        let again = repeated.entries[at].clone();
        repeated.entries.insert(at + 1, again);
        let mut exchanged = Forged::of(&reader);
        exchanged.entries.swap(at, at + 1);
        for (what, mut forged, entry) in
            [("dropped", dropped, at), ("repeated", repeated, at + 1), ("exchanged", exchanged, at)]
        {
            // Even when the log's key vouches for the result.
            forged.vouch(&scene.stolen);
            let found = scene.audit(&forged).expect_err(what);
            assert_eq!(found, damage(entry as u64, DamageKind::Chain), "{what} at {at}");
        }
    }
    // The last one dropped, under the checkpoint that covered it.
    let mut short = Forged::of(&reader);
    short.entries.pop();
    assert_eq!(scene.audit(&short).unwrap_err().kind, DamageKind::Root);
}

#[test]
fn an_entry_changed_without_the_key() {
    let scene = Scene::new();
    let reader = scene.reader();
    let size = reader.size().unwrap() as usize;
    let thief = NoteSigner::new(ORIGIN, &[9; 32]).unwrap();
    for at in 1..size {
        let mut forged = Forged::of(&reader);
        let mut record = forged.record(at);
        record.time = record.time.plus(Span::from_millis(1));
        forged.entries[at].text = record.encode().into_bytes();
        assert_eq!(scene.audit(&forged), Err(damage(at as u64, DamageKind::Signature)), "{at}");
        // Nor with a key of the same name.
        forged.rechain(at, &thief);
        forged.vouch(&thief);
        assert_eq!(scene.audit(&forged), Err(damage(at as u64, DamageKind::Signature)), "{at}");
    }
    // All of it, from the first entry on, under a key of the thief's: a log, and not this one.
    let mut forged = Forged::of(&reader);
    let mut genesis = forged.record(0);
    if let Body::Genesis { key, .. } = &mut genesis.body {
        *key = thief.verifier().to_string();
    }
    forged.put(0, &genesis, &thief);
    forged.rechain(1, &thief);
    forged.vouch(&thief);
    assert_eq!(scene.audit(&forged), Err(damage(0, DamageKind::Key)));
    let unpinned = AuditOptions { content: true, ..AuditOptions::default() };
    assert!(check_log(&forged, unpinned).is_ok(), "by its own word it is good");
}

#[test]
fn two_logs_spliced() {
    let scene = Scene::new();
    let reader = scene.reader();
    // Another history under the same name and key.
    let mut other = Forged::of(&reader);
    let mut scope = other.record(1);
    scope.time = scope.time.plus(Span::from_millis(1));
    other.put(1, &scope, &scene.stolen);
    other.rechain(2, &scene.stolen);
    for at in 2..other.entries.len() {
        let mut spliced = Forged::of(&reader);
        spliced.entries.truncate(at);
        spliced.entries.extend_from_slice(&other.entries[at..]);
        spliced.vouch(&scene.stolen);
        assert_eq!(scene.audit(&spliced), Err(damage(at as u64, DamageKind::Chain)), "{at}");
    }
}

#[test]
fn everything_written_anew_with_the_stolen_key() {
    let scene = Scene::new();
    let reader = scene.reader();
    let point = scene.point();
    let published = scene.site.path("published");
    export(&reader, &published).unwrap();
    let mut forged = Forged::of(&reader);
    let mut scope = forged.record(1);
    scope.time = scope.time.plus(Span::from_millis(1));
    forged.put(1, &scope, &scene.stolen);
    forged.rechain(2, &scene.stolen);
    forged.vouch(&scene.stolen);
    // From the log alone nobody can tell. Whoever kept anything of the other history can.
    assert!(scene.audit(&forged).is_ok(), "a thief of the key writes what the log could have written");
    assert_eq!(scene.audit_again(&forged, &point), Some(DamageKind::History));
    let e = export(&forged, &published).unwrap_err();
    assert!(matches!(e, ExportError::Fork { .. }), "{e}");
    assert_eq!(scene.audit_again(&reader, &point), None);
}

#[test]
fn an_old_checkpoint_and_an_old_copy() {
    let scene = Scene::new();
    let backup = scene.copy("backup");
    let old = fs::read(scene.data().join("checkpoint")).unwrap();
    scene.site.poll();
    let point = scene.point();
    // The older checkpoint is one of this log; what it covers is all that is vouched for.
    fs::write(scene.data().join("checkpoint"), &old).unwrap();
    let reader = scene.reader();
    assert_eq!(reader.published().unwrap().head.size + 1, point.size);
    assert_eq!(scene.audit_again(&reader, &point), Some(DamageKind::Older));
    let backup = LogReader::open(&backup).unwrap();
    assert!(scene.audit(&backup).is_ok(), "a backup is an honest, older log");
    assert_eq!(scene.audit_again(&backup, &point), Some(DamageKind::Older));
}

#[test]
fn a_clone_that_went_on() {
    let scene = Scene::new();
    let clone = scene.copy("clone");
    scene.site.poll();
    let point = scene.point();
    let ours = scene.site.path("ours");
    fs::rename(scene.data(), &ours).unwrap();
    fs::rename(&clone, scene.data()).unwrap();
    scene.site.poll();
    scene.site.poll();
    let theirs = scene.reader();
    assert!(scene.audit(&theirs).is_ok(), "each is good alone");
    assert_eq!(scene.audit_again(&theirs, &point), Some(DamageKind::History));
}

#[test]
fn two_tenants_slices_exchanged() {
    let scene = Scene::new();
    let reader = scene.reader();
    let size = reader.size().unwrap();
    let origin_hash = Digest::of(ORIGIN.as_bytes());
    let mut forged = Forged::of(&reader);
    // In every version, as somebody would who lies from the beginning.
    let mut first = None;
    for seq in 0..size {
        let mut record = forged.record(seq as usize);
        if let Body::Poll(poll) = &mut record.body {
            first.get_or_insert(seq);
            let state = PollState::of(&reader, seq, &mut Snapshots::default()).unwrap();
            let mut assembly = state.assembly();
            let vlans: Vec<u16> = assembly.slices.keys().copied().take(2).collect();
            let [a, b] = vlans[..] else { panic!("two tenants, two slices: {vlans:?}") };
            let (x, y) = (assembly.slices[&a].clone(), assembly.slices[&b].clone());
            assert_ne!(x, y);
            assembly.slices.extend([(a, y), (b, x)]);
            poll.root = assembly.cut(poll.version, origin_hash, &state.parsed.slots).tree.root();
            forged.put(seq as usize, &record, &scene.stolen);
        }
    }
    forged.rechain(1, &scene.stolen);
    forged.vouch(&scene.stolen);
    assert_eq!(scene.audit(&forged), Err(damage(first.unwrap(), DamageKind::Slices)));
}

#[test]
fn the_clock_rolled_back() {
    let scene = Scene::new();
    let reader = scene.reader();
    let size = reader.size().unwrap() as usize;
    let mut forged = Forged::of(&reader);
    let mut last = forged.record(size - 1);
    last.time = Timestamp::from_millis(forged.record(size - 2).time.millis() - 1).unwrap();
    forged.put(size - 1, &last, &scene.stolen);
    forged.vouch(&scene.stolen);
    assert_eq!(scene.audit(&forged), Err(damage(size as u64 - 1, DamageKind::Chain)));
}

// ---- the public log -----------------------------------------------------------------------------------------------

#[test]
fn every_byte_of_an_export() {
    let scene = Scene::new();
    let reader = scene.reader();
    let out = scene.site.path("public");
    export(&reader, &out).unwrap();
    let audit = || -> Result<u64, Damage> {
        let log = PublicLog::open(Directory(out.clone())).map_err(|e| Damage::from(&e))?;
        let options = AuditOptions { key: Some(&scene.key), ..AuditOptions::default() };
        check_log(&log, options).map(|r| r.head.size).map_err(|e| Damage::from(&e))
    };
    let size = reader.size().unwrap();
    assert_eq!(audit(), Ok(size));
    let names = files(&out);
    assert_eq!(names.len(), 4, "checkpoint, tile, entries, signatures: {names:?}");
    for file in names {
        let name = file.strip_prefix(&out).unwrap().to_string_lossy().into_owned();
        let good = fs::read(&file).unwrap();
        for at in 0..good.len() {
            let mut bytes = good.clone();
            bytes[at] ^= 1 << (at % 7);
            fs::write(&file, bytes).unwrap();
            let found = audit().expect_err(&format!("byte {at} of {name} flipped, and nothing was found"));
            let wanted = match name.split('/').next().unwrap() {
                "checkpoint" => {
                    [DamageKind::Checkpoint, DamageKind::Root, DamageKind::Chain, DamageKind::Missing]
                        .as_slice()
                }
                "signatures" => &[DamageKind::Signature, DamageKind::Bytes],
                _ if name.starts_with("tile/0") => &[DamageKind::Tile],
                _ => &[DamageKind::Bytes, DamageKind::Format, DamageKind::Chain, DamageKind::Signature],
            };
            assert!(wanted.contains(&found.kind), "byte {at} of {name}: {found:?}");
            // A changed entry, or its signature, is the entry named.
            if name.starts_with("tile/entries") || name.starts_with("signatures") {
                let (mut end, mut entry) = (0, 0);
                while end <= at {
                    end += 2 + usize::from(u16::from_be_bytes([good[end], good[end + 1]]));
                    entry += 1;
                }
                let named = found.entry.unwrap_or_else(|| panic!("byte {at} of {name}: {found:?}"));
                let of = entry as u64 - 1;
                // A length that was changed tears the entries behind it out of the bundle as well.
                assert!(
                    named == of || found.kind == DamageKind::Bytes,
                    "byte {at} of {name}: {found:?}, not {of}"
                );
            }
        }
        for cut in [0, good.len() / 2, good.len() - 1] {
            fs::write(&file, &good[..cut]).unwrap();
            assert!(audit().is_err(), "{name} cut to {cut}");
        }
        fs::remove_file(&file).unwrap();
        let kind = audit().unwrap_err().kind;
        assert!(matches!(kind, DamageKind::Missing), "{name}: {kind}");
        fs::write(&file, good).unwrap();
    }
    assert_eq!(audit(), Ok(size));
}

#[test]
fn an_audit_goes_on_where_the_last_one_ended_and_reads_what_is_public() {
    let scene = Scene::new();
    let site = &scene.site;
    let key = format!("--key {}", site.vkey);
    let first = site.run("--json audit --resume point").expect(0).json();
    assert_eq!(first["resumedFrom"], serde_json::Value::Null);
    let size = first["size"].as_u64().unwrap();
    let backup = scene.copy("backup");
    site.poll();
    let second = site.run("--json audit --resume point").expect(0).json();
    assert_eq!((&second["resumedFrom"], &second["size"]), (&size.into(), &(size + 1).into()), "{second:#}");
    assert_eq!((&second["polls"], &second["types"]["poll"]), (&1.into(), &1.into()), "{second:#}");
    assert_eq!(second["withoutContent"], 0);
    assert!(site.run("audit --resume point").expect(0).out.contains("audited before"));
    // An older copy is told from this log; a point that is another log's, or none, is refused.
    let older = format!("--json audit --data {} {key} --resume point", backup.display());
    let found = site.run(&older).expect(1).json();
    assert_eq!((&found["damage"], &found["ok"]), (&"older".into(), &false.into()), "{found:#}");
    let point = fs::read_to_string(site.path("point")).unwrap();
    fs::write(site.path("point"), point.replace(ORIGIN, "audit.example/another")).unwrap();
    assert!(
        site.run("audit --resume point").expect(2).err.contains("it is of the log audit.example/another")
    );
    fs::write(site.path("point"), "{}").unwrap();
    assert!(site.run("audit --resume point").expect(2).err.contains("remove the file"));
    // What is public: as files, and as the service shows it, which has no signature bundles.
    site.run("export --out public").expect(0);
    let public =
        site.run(&format!("--json audit --data public {key} --resume public-point")).expect(0).json();
    assert_eq!((&public["public"], &public["signatures"]), (&true.into(), &true.into()), "{public:#}");
    assert!(public["notChecked"][0].as_str().unwrap().contains("evidence"), "{public:#}");
    let service = site.serve();
    let url = format!("--json audit --url http://{} {key} --resume public-point", service.address);
    let served = site.run(&url).expect(0).json();
    assert_eq!(
        (&served["signatures"], &served["resumedFrom"]),
        (&false.into(), &public["size"]),
        "{served:#}"
    );
    // The index is in use, so replay says that it compared nothing of it.
    let replay = site.run("--json replay --to 2100-01-01").expect(0).json();
    assert!(replay["notCompared"][0].as_str().unwrap().contains("the service is using it"), "{replay:#}");
    service.stop().expect(0);
    assert_eq!(site.run("audit --url ftp://a.example").code, Some(2));
    assert_eq!(site.run(&format!("audit --url http://127.0.0.1:1 {key}")).code, Some(2));
    // What was audited without signatures is not taken for more than that, nor the public log for the whole.
    let less = site.run(&format!("audit --data public {key} --resume public-point")).expect(2);
    assert!(less.err.contains("without the entries' signatures"), "{less:?}");
    assert!(site.run("audit --resume public-point").expect(2).err.contains("without content"));
}

#[test]
fn a_replay_gives_the_same_bytes_at_every_time() {
    let scene = Scene::new();
    let site = &scene.site;
    let reader = scene.reader();
    let mut before = None;
    for seq in 0..reader.size().unwrap() {
        let time = reader.record(seq).unwrap().time;
        let found = site.run(&format!("--json replay --to {time}")).expect(0).json();
        let size = found["size"].as_u64().unwrap();
        assert!(size > seq, "{found:#}");
        assert_eq!(found["root"], serde_json::json!(reader.root_at(size).unwrap()));
        assert_eq!(site.run(&format!("--json replay --to {time}")).expect(0).json(), found, "again");
        if size > seq + 1 {
            continue;
        }
        assert_ne!(before.replace(found["index"].clone()), Some(found["index"].clone()), "{found:#}");
    }
    assert!(site.run("replay --to 2001-01-01").expect(2).err.contains("the log begins at"));
    assert!(site.run("replay --to 2100-01-01").expect(0).out.contains("THE SAME BYTES"));
    assert_eq!(site.run("replay --to 2100-01-01 --from 2001-01-01").code, Some(2));
}

// ---- the page -----------------------------------------------------------------------------------------------------

/// Test functions of a file.
fn tests_of(text: &str) -> BTreeSet<String> {
    text.split("#[test]\n")
        .skip(1)
        .filter_map(|t| Some(t.split_once("fn ")?.1.split_once('(')?.0.to_owned()))
        .collect()
}

#[test]
fn the_page_names_every_test_and_every_row_has_one() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let page = fs::read_to_string(root.join("docs/THREATS.md")).unwrap();
    let (_, matrix) = page.split_once("## The tamper matrix").expect("docs/THREATS.md has the matrix");
    let matrix = matrix.split("\n## ").next().unwrap();
    let mut named: BTreeSet<String> = BTreeSet::new();
    let mut rows = 0;
    for line in matrix.lines().filter(|l| l.starts_with("| ") && !l.starts_with("| lie ")) {
        let cells: Vec<&str> = line.trim_matches('|').split(" | ").map(str::trim).collect();
        let [_, refuted, case] = cells[..] else { panic!("three cells: {line}") };
        rows += 1;
        // Names in the middle column are kinds of damage, or checks of the verifier.
        let checks = isoverify::CheckName::ALL.map(isoverify::CheckName::name);
        for word in refuted.split('`').skip(1).step_by(2) {
            let known = DamageKind::ALL.iter().any(|k| k.name() == word) || checks.contains(&word);
            assert!(known || word.contains(' '), "`{word}` is no kind of damage and no check: {line}");
        }
        let (file, test) = case.trim_matches('`').split_once(' ').unwrap_or_else(|| panic!("{line}"));
        let text = fs::read_to_string(root.join(file)).unwrap_or_else(|e| panic!("{file}: {e}"));
        assert!(tests_of(&text).contains(test), "{file} has no test {test}");
        if file.ends_with("/tamper.rs") {
            named.insert(test.to_owned());
        }
    }
    let mut here = tests_of(include_str!("tamper.rs"));
    here.retain(|t| {
        !t.starts_with("the_page") && !t.starts_with("an_audit_goes_on") && !t.starts_with("a_replay")
    });
    assert_eq!(named, here, "left is named in docs/THREATS.md, right is tested");
    assert!(rows >= 15, "{rows}");
}
