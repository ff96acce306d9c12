//! The real program killed with SIGKILL in the middle of its work, and its index damaged while it is stopped: the log
//! goes on consistently, nothing it acknowledged is missing, and the audit passes.
//!
//! Acknowledged is a poll that the service answered for. What was published is judged by a reader of tlog-tiles that
//! shares no code with the product (`isoledger_tests::tlog`).

#![allow(clippy::unwrap_used)]

use isoledger_lab::{Lab, World};
use isoledger_tests::site::{Site, copy};
use isoledger_tests::tlog;
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

/// Every entry of the site's log, as an export gives it to strangers; checked against checkpoint, tiles and key.
fn exported(site: &Site, name: &str) -> Vec<Vec<u8>> {
    let out = site.path(name);
    site.run(&format!("export --out {name}")).expect(0);
    let note = fs::read_to_string(out.join("checkpoint")).unwrap();
    let head = tlog::open_checkpoint(&note, &site.vkey).unwrap();
    let entries = tlog::entries(&head, |path| fs::read(out.join(path)).ok()).unwrap();
    assert_eq!(entries.len() as u64, head.size);
    entries
}

fn is_poll(entry: &[u8]) -> bool {
    let v: Value = serde_json::from_slice(entry).unwrap();
    v["type"] == "poll"
}

/// Asserts that `now` begins with everything in `then`.
fn assert_continues(now: &[Vec<u8>], then: &[Vec<u8>]) {
    assert!(now.len() >= then.len(), "the log shrank from {} entries to {}", then.len(), now.len());
    for (seq, (a, b)) in now.iter().zip(then).enumerate() {
        assert_eq!(a, b, "entry {seq} changed");
    }
}

#[test]
fn killed_at_any_moment_of_two_hundred_polls_it_loses_nothing_acknowledged() {
    let rt = runtime();
    let lab = rt.block_on(Lab::start(World::two_tenants())).unwrap();
    let mut site = Site::of_lab(&lab);
    site.settle = "50ms".into();
    site.write();
    let mut acknowledged: Vec<u64> = Vec::new();
    let mut seen: Vec<Vec<u8>> = Vec::new();
    let mut heads: Vec<tlog::Head> = Vec::new();
    let mut rounds = 0u32;
    let mut turn = 0u16;
    while acknowledged.len() < 200 {
        rounds += 1;
        assert!(rounds <= 60, "{} polls in {rounds} rounds", acknowledged.len());
        let service = site.serve();
        let pid = service.pid();
        // The killer strikes while polls are asked for one after the other: each round a little later, so that over the
        // rounds every part of a poll is hit.
        let after = Duration::from_micros(150_000 + u64::from(rounds) * 3_713);
        let killer = std::thread::spawn(move || {
            std::thread::sleep(after);
            let _ = std::process::Command::new("kill").args(["-9", &pid.to_string()]).status();
        });
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_secs(20) {
            // Something changes now and then, so that versions are cut and content is written.
            turn += 1;
            if turn.is_multiple_of(3) {
                lab.edit(|w| w.switch_mut("sw2").unwrap().set_port("sw2p4", "tag", 900 + turn % 50).unwrap());
            }
            match service.try_poll() {
                Ok(answer) => {
                    assert_eq!(answer.status, 200, "{}", answer.text());
                    acknowledged.push(answer.json()["poll"].as_u64().unwrap());
                }
                Err(_) => break,
            }
            // What a stranger could have fetched a moment before the kill must hold for ever.
            let Ok(answer) = service.get("/checkpoint") else { break };
            heads.push(tlog::open_checkpoint(&answer.text(), &site.vkey).unwrap());
        }
        killer.join().unwrap();
        service.kill();
        if rounds.is_multiple_of(5) {
            let now = exported(&site, &format!("export-{rounds}"));
            assert_continues(&now, &seen);
            seen = now;
        }
    }
    site.poll();
    let now = exported(&site, "export-last");
    assert_continues(&now, &seen);
    for seq in &acknowledged {
        let entry = now.get(usize::try_from(*seq).unwrap()).unwrap_or_else(|| panic!("poll {seq} was lost"));
        assert!(is_poll(entry), "entry {seq} is no poll");
    }
    let leaves: Vec<tlog::Hash> = now.iter().map(|e| tlog::leaf(e)).collect();
    for head in &heads {
        let prefix = &leaves[..usize::try_from(head.size).unwrap()];
        assert_eq!(
            tlog::root(prefix),
            head.root,
            "the log is not the one whose {} entries were published",
            head.size
        );
    }
    let mut distinct = acknowledged.clone();
    distinct.dedup();
    assert_eq!(distinct, acknowledged, "two polls were acknowledged under one number");
    let audit = site.audit();
    assert_eq!(audit["size"].as_u64(), Some(now.len() as u64));
    lab.assert_only_reads();
    println!("{} polls acknowledged in {rounds} rounds, each ended by SIGKILL", acknowledged.len());
}

/// The files of the index, wherever below the data directory it is.
fn index_files(data: &Path) -> Vec<PathBuf> {
    fn walk(dir: &Path, out: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() { walk(&path, out) } else { out.push(path) }
        }
    }
    let mut out = Vec::new();
    walk(&data.join("index"), &mut out);
    out.sort();
    out
}

/// Recovers from what `damage` does to the stopped log's index: same entries, one poll more, audited.
fn survives(lab: &Lab, whole: &Path, before: &[Vec<u8>], what: &str, damage: impl FnOnce(&Path)) {
    let site = Site::of_lab(lab);
    fs::remove_file(site.path("log.key")).unwrap();
    fs::copy(whole.join("log.key"), site.path("log.key")).unwrap();
    copy(&whole.join("data"), &site.data());
    damage(&site.data());
    let polled = site.poll();
    assert_eq!(polled["poll"].as_u64(), Some(before.len() as u64), "{what}");
    let out = site.path("after");
    site.run("export --out after").expect(0);
    let size = fs::read_to_string(out.join("checkpoint")).unwrap().lines().nth(1).unwrap().to_owned();
    assert_eq!(size, (before.len() + 1).to_string(), "{what}");
    let entries = fs::read(out.join(format!("tile/entries/000.p/{size}"))).unwrap();
    let old: Vec<u8> = before
        .iter()
        .flat_map(|e| u16::try_from(e.len()).unwrap().to_be_bytes().into_iter().chain(e.iter().copied()))
        .collect();
    assert!(entries.starts_with(&old), "{what}: the entries changed");
    site.audit();
}

#[test]
fn an_index_emptied_truncated_or_flipped_while_stopped_is_built_again_to_the_same_root() {
    let rt = runtime();
    let lab = rt.block_on(Lab::start(World::two_tenants())).unwrap();
    let site = Site::of_lab(&lab);
    for _ in 0..3 {
        site.poll();
    }
    let before = exported(&site, "before");
    let files = index_files(&site.data());
    assert!(!files.is_empty(), "the index has files");
    let below = |path: &Path| path.strip_prefix(site.data()).unwrap().to_owned();
    survives(&lab, site.dir(), &before, "deleted", |data| fs::remove_dir_all(data.join("index")).unwrap());
    survives(&lab, site.dir(), &before, "emptied", |data| {
        fs::remove_dir_all(data.join("index")).unwrap();
        fs::create_dir(data.join("index")).unwrap();
    });
    for file in files.iter().map(|f| below(f)) {
        let name = file.display().to_string();
        survives(&lab, site.dir(), &before, &format!("{name} emptied"), |data| {
            fs::write(data.join(&file), b"").unwrap();
        });
        survives(&lab, site.dir(), &before, &format!("{name} cut in half"), |data| {
            let bytes = fs::read(data.join(&file)).unwrap();
            fs::write(data.join(&file), &bytes[..bytes.len() / 2]).unwrap();
        });
        // One bit in each of three places: the head, the middle, the end.
        for part in [0usize, 1, 2] {
            survives(&lab, site.dir(), &before, &format!("{name} with a bit flipped, part {part}"), |data| {
                let mut bytes = fs::read(data.join(&file)).unwrap();
                let at = (bytes.len() / 2) * part;
                let last = bytes.len().saturating_sub(1);
                if let Some(byte) = bytes.get_mut(at.min(last)) {
                    *byte ^= 0x10;
                }
                fs::write(data.join(&file), bytes).unwrap();
            });
        }
    }
}

#[test]
fn a_damaged_journal_is_refused_with_the_entry_named_and_left_alone() {
    let rt = runtime();
    let lab = rt.block_on(Lab::start(World::two_tenants())).unwrap();
    let site = Site::of_lab(&lab);
    for _ in 0..3 {
        site.poll();
    }
    let segment = fs::read_dir(site.data().join("journal")).unwrap().next().unwrap().unwrap().path();
    let whole = fs::read(&segment).unwrap();
    let needle = b"\"seq\":2,";
    let at = whole.windows(needle.len()).position(|w| w == needle).unwrap() + needle.len() + 12;
    let mut bytes = whole.clone();
    bytes[at] ^= 1;
    fs::write(&segment, &bytes).unwrap();
    for words in ["poll", "audit", "status"] {
        let done = site.run(words);
        assert!(matches!(done.code, Some(1 | 2)), "{words}: {done:?}");
        let said = format!("{}{}", done.out, done.err);
        assert!(said.contains("entry 2") && said.contains("byte"), "{words}: {said}");
    }
    assert_eq!(fs::read(&segment).unwrap(), bytes, "nobody repairs a journal by guessing");
    fs::write(&segment, &whole).unwrap();
    site.audit();
}
