//! A log that changes its key, whatever a crash leaves in between; and a log that is there twice, of which one may sign.
//! With the built programs.
#![allow(clippy::unwrap_used)]

use isoledger_lab::{Lab, World};
use isoledger_tests::program;
use isoledger_tests::site::{ORIGIN, Site, assert_unchanged, copy, listing};
use serde_json::Value;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// A lab and its auditor's directory, with a poll in its log.
struct Scene {
    _rt: tokio::runtime::Runtime,
    _lab: Lab,
    site: Site,
}

impl Scene {
    fn new() -> Scene {
        let rt = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let lab = rt.block_on(Lab::start(World::two_tenants())).unwrap();
        let site = Site::of_lab(&lab);
        site.poll();
        Scene { _rt: rt, _lab: lab, site }
    }
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

fn retired(site: &Site) -> Vec<PathBuf> {
    let all = fs::read_dir(site.dir()).unwrap().map(|e| e.unwrap().path());
    all.filter(|p| p.extension().is_some_and(|e| e == "retired")).collect()
}

/// The last entry's kind and number, by the audit's count of types and size.
fn counts(site: &Site, kind: &str) -> u64 {
    site.audit()["types"][kind].as_u64().unwrap_or(0)
}

// ---- keys --------------------------------------------------------------------------------------------------------

#[test]
fn a_key_is_prepared_rotated_twice_and_the_log_audits_from_each() {
    let scene = Scene::new();
    let site = &scene.site;
    let prepared = site.json("key prepare");
    let next = site.path("log.key.next");
    assert_eq!(mode(&next), 0o600);
    let second = prepared["next"]["vkey"].as_str().unwrap().to_owned();
    // Preparing again changes nothing, and the log does not know of it.
    assert_eq!(site.json("key prepare")["next"]["vkey"], second.as_str());
    assert_eq!(site.json("key show")["log"].as_array().unwrap().len(), 1);
    let before = site.audit()["size"].as_u64().unwrap();

    let done = site.run("--json key rotate").expect(0).json();
    assert_eq!(
        (&done["entry"], &done["from"], &done["finished"]),
        (&before.into(), &(before + 1).into(), &false.into())
    );
    assert_eq!(
        (&done["old"]["vkey"], &done["new"]["vkey"]),
        (&site.vkey.as_str().into(), &second.as_str().into())
    );
    assert!(!next.exists());
    assert_eq!(retired(site).len(), 1);
    assert_eq!(retired(site).iter().map(|p| mode(p)).collect::<Vec<_>>(), [0o600]);
    assert_eq!(mode(&site.path("log.key")), 0o600);
    // The name stays, and so does the file that says that this key's log was begun.
    assert!(second.starts_with(&format!("{ORIGIN}+")));
    site.poll();
    // Without a key that was prepared, one is made.
    let third = site.run("--json key rotate").expect(0).json()["new"]["vkey"].as_str().unwrap().to_owned();
    assert!(third != second && third != site.vkey);
    site.poll();
    let shown = site.run("--json key show").expect(0).json();
    let keys: Vec<&str> =
        shown["log"].as_array().unwrap().iter().map(|k| k["key"]["vkey"].as_str().unwrap()).collect();
    assert_eq!(keys, [site.vkey.as_str(), &second, &third]);
    for pin in &keys {
        let found = site.run(&format!("--json audit --data data --key {pin}")).expect(0).json();
        assert_eq!((&found["ok"], &found["types"]["key-rotated"]), (&true.into(), &2.into()), "{found:#}");
    }
    // Another log's key of this name is none of them.
    let other = Site::new("http://127.0.0.1:1");
    let found = site.run(&format!("--json audit --data data --key {}", other.vkey)).expect(1).json();
    assert!(found["error"].as_str().unwrap().contains("no entry signs in the key"), "{found:#}");
    // A tenant who pinned any of them verifies: the newest alone, the older ones with the log's own records of its keys.
    let attestation = site.attest("red-net", "");
    let history = site.path("moc.keys");
    fs::write(&history, site.run("key history").expect(0).out).unwrap();
    let verify = |pin: &str, with_keys: bool| {
        let text = format!("log {pin}\nquorum none\nmax-gap 1h\nnetwork red-net domain lab project red\n");
        fs::write(site.path("policy.txt"), text).unwrap();
        let mut command = program::command("isoverify");
        command.arg("--json").arg("--policy").arg(site.path("policy.txt"));
        if with_keys {
            command.arg("--keys").arg(&history);
        }
        program::run(command.arg(&attestation)).code
    };
    for (n, pin) in keys.iter().enumerate() {
        assert_eq!(verify(pin, true), Some(0), "{n}");
        assert_eq!(verify(pin, false), Some(if n == 2 { 0 } else { 1 }), "{n}");
    }
    assert_eq!(
        verify(&Site::new("http://127.0.0.1:1").vkey, true),
        Some(64),
        "nobody it knows signed them in"
    );
    // The public log carries on over what was exported before.
    site.run("export --out public").expect(0);
    site.poll();
    site.run("export --out public").expect(0);
}

#[test]
fn a_rotation_that_was_cut_off_anywhere_is_finished_by_whoever_opens_the_log() {
    let scene = Scene::new();
    let site = &scene.site;
    site.run("key prepare").expect(0);
    let (old, new) = (fs::read(site.path("log.key")).unwrap(), fs::read(site.path("log.key.next")).unwrap());
    // The key was made and nothing more: the log goes on with the old one.
    site.poll();
    site.run("key rotate").expect(0);
    let kept = retired(site).remove(0);
    let name = |p: &Path| p.file_name().unwrap().to_owned();
    // Before the old one was put away, and after.
    for put_away in [false, true] {
        fs::write(site.path("log.key"), &old).unwrap();
        let next = site.path("log.key.next");
        fs::write(&next, &new).unwrap();
        fs::set_permissions(&next, PermissionsExt::from_mode(0o600)).unwrap();
        if !put_away {
            fs::remove_file(site.path("").join(name(&kept))).unwrap();
        }
        // Whoever only reads says so; nothing is signed by a key that has no say any more.
        assert_eq!(site.run("--json key show").expect(1).json()["ok"], false);
        let refused = site.run("attest red-net").expect(2);
        assert!(refused.err.contains("does not sign this log any more"), "{refused:?}");
        site.poll();
        assert_eq!(fs::read(site.path("log.key")).unwrap(), new);
        assert_eq!(fs::read(&kept).unwrap(), old);
        assert!(!next.exists());
        site.run("key show").expect(0);
        assert_eq!(counts(site, "key-rotated"), 1);
    }
    // The command finishes it as well, and does not rotate once more.
    fs::write(site.path("log.key"), &old).unwrap();
    let next = site.path("log.key.next");
    fs::write(&next, &new).unwrap();
    fs::set_permissions(&next, PermissionsExt::from_mode(0o600)).unwrap();
    assert_eq!(site.run("--json key rotate").expect(0).json()["finished"], true);
    assert_eq!(counts(site, "key-rotated"), 1);
    // An old key alone is refused, and nothing is written.
    fs::write(site.path("log.key"), &old).unwrap();
    let before = listing(&site.data().join("journal"));
    let refused = site.run("poll").expect(2);
    assert!(refused.err.contains("the log is signed by"), "{refused:?}");
    assert_unchanged(&site.data().join("journal"), &before, "a poll with a retired key");
}

#[test]
fn a_running_service_keeps_its_key() {
    let scene = Scene::new();
    let service = scene.site.serve();
    let refused = scene.site.run("key rotate").expect(2);
    assert!(refused.err.contains("is locked") && refused.err.contains("Stop it first"), "{refused:?}");
    service.poll();
    service.stop().expect(0);
    assert_eq!(counts(&scene.site, "key-rotated"), 0);
}

#[test]
fn a_secret_that_others_may_read_is_refused_and_check_names_it() {
    let scene = Scene::new();
    let site = &scene.site;
    let secret = site.path("http.token");
    site.secret("http.token", "a token of more than sixteen characters\n");
    let config = fs::read_to_string(site.config()).unwrap();
    let with = config.replacen("[http]\n", "[http]\ntoken-file = \"http.token\"\n", 1);
    fs::write(site.config(), with).unwrap();
    assert!(!site.run("check").out.contains("http.token"));
    fs::set_permissions(&secret, PermissionsExt::from_mode(0o644)).unwrap();
    for words in ["check", "serve"] {
        let done = site.run(words);
        let said = format!("{}{}", done.out, done.err);
        assert!(matches!(done.code, Some(1 | 2)), "{done:?}");
        assert!(
            said.contains("http.token") && said.contains("mode 0644") && said.contains("chmod 600"),
            "{said}"
        );
    }
    let named = site.run("--json check").expect(1).json();
    let rows: Vec<&Value> = named["checks"].as_array().unwrap().iter().filter(|c| c["ok"] == false).collect();
    assert_eq!(rows.len(), 1, "{named:#}");
    assert_eq!(rows[0]["check"], "http.token-file");
}

// ---- copies ------------------------------------------------------------------------------------------------------

#[test]
fn a_backup_beside_the_service_is_restored_and_signs_when_somebody_vouched() {
    let scene = Scene::new();
    let site = &scene.site;
    let service = site.serve();
    service.poll();
    let first = site.run("--json backup --out backup").expect(0).json();
    assert_eq!(first["withKey"], false);
    service.poll();
    // It grows, and what was there is not written again.
    let size = site.audit()["size"].as_u64().unwrap();
    let second = site.run("--json backup --out backup").expect(0).json();
    assert_eq!((&second["size"], &second["kept"]), (&size.into(), &first["size"]));
    service.stop().expect(0);
    let backup = site.path("backup");
    assert!(!backup.join("log.key").exists());
    for (file, _) in listing(&backup) {
        let wanted = if backup.join(&file).is_dir() { 0o700 } else { 0o600 };
        assert_eq!(mode(&backup.join(&file)), wanted, "{}", file.display());
    }
    let audited = site.run(&format!("--json audit --data backup/data --key {}", site.vkey)).expect(0).json();
    assert_eq!(audited["size"], size);

    // A log that is there is not written over.
    let refused = site.run("restore --from backup").expect(2);
    assert!(refused.err.contains("holds a log that is no copy"), "{refused:?}");
    let lost = site.path("lost");
    fs::rename(site.data(), &lost).unwrap();
    let restored = site.run("--json restore --from backup").expect(0).json();
    assert_eq!((&restored["size"], &restored["key"]), (&size.into(), &"there".into()));
    // Nothing is signed, by anything that would, until somebody vouched for the size.
    let before = listing(&site.data().join("journal"));
    for words in ["poll", "serve", "key rotate"] {
        let refused = site.run(words).expect(2);
        assert!(refused.err.contains("was restored from a backup"), "{words}: {refused:?}");
        assert!(refused.err.contains("--i-know-nobody-has-more-than"), "{words}: {refused:?}");
    }
    let more = site.run(&format!("restore --i-know-nobody-has-more-than {}", size + 1)).expect(2);
    assert!(more.err.contains("second history"), "{more:?}");
    assert_unchanged(&site.data().join("journal"), &before, "before anybody vouched");
    site.run("status").expect(0);
    site.run(&format!("restore --i-know-nobody-has-more-than {size}")).expect(0);
    let polled = site.poll();
    assert_eq!(polled["poll"], size + 1, "the entry before says that it was restored");
    assert_eq!(counts(site, "log-recovered"), 1);
    site.poll();
    assert_eq!(counts(site, "log-recovered"), 1);
    // What was copied is a beginning of it: the backup grows on.
    site.run("backup --out backup").expect(0);
    // And of what was lost it is not: two histories of one log are told apart.
    let refused = site.run("restore --i-know-nobody-has-more-than 1").expect(2);
    assert!(refused.err.contains("not a restored log"), "{refused:?}");
    fs::rename(site.data(), site.path("second")).unwrap();
    fs::rename(&lost, site.data()).unwrap();
    site.poll();
    site.poll();
    site.poll();
    let refused = site.run("backup --out backup").expect(2);
    assert!(refused.err.contains("one of the two is not the log you think"), "{refused:?}");
}

#[test]
fn a_key_is_in_a_backup_only_when_asked_for_and_comes_back() {
    let scene = Scene::new();
    let site = &scene.site;
    assert_eq!(site.run("--json backup --out backup --with-key").expect(0).json()["withKey"], true);
    assert_eq!(mode(&site.path("backup/log.key")), 0o600);
    let elsewhere = Site::new("http://127.0.0.1:1");
    fs::remove_file(elsewhere.path("log.key")).unwrap();
    copy(&site.path("backup"), &elsewhere.path("backup"));
    let restored = elsewhere.run("--json restore --from backup").expect(0).json();
    assert_eq!(restored["key"], "restored");
    assert_eq!(fs::read(elsewhere.path("log.key")).unwrap(), fs::read(site.path("log.key")).unwrap());
    // An open copy of the key is no key.
    fs::set_permissions(site.path("log.key"), PermissionsExt::from_mode(0o640)).unwrap();
    assert!(site.run("backup --out open --with-key").expect(2).err.contains("mode 0640"));
    assert!(!site.path("open").exists());
}

#[test]
fn a_clone_is_read_and_grown_and_never_signs() {
    let scene = Scene::new();
    let site = &scene.site;
    site.run("clone --out clone").expect(0);
    site.poll();
    let grown = site.run("--json clone --out clone").expect(0).json();
    let size = site.audit()["size"].as_u64().unwrap();
    assert_eq!(grown["size"], size);
    assert!(grown["kept"].as_u64().unwrap() < size);
    assert_eq!(site.run("--json clone --out clone").expect(0).json()["bytes"], 0);
    let audited = site.run(&format!("--json audit --data clone --key {}", site.vkey)).expect(0).json();
    assert_eq!(audited["size"], size);
    // In the place of the log it is refused, as is a backup.
    site.run("backup --out backup").expect(0);
    fs::rename(site.data(), site.path("log")).unwrap();
    for (copied, word) in [("clone", "clone"), ("backup/data", "backup")] {
        copy(&site.path(copied), &site.data());
        let before = listing(&site.data().join("journal"));
        for words in ["poll", "serve", "key rotate"] {
            let refused = site.run(words).expect(2);
            assert!(refused.err.contains(&format!("marked {word:?}")), "{words}: {refused:?}");
        }
        assert_unchanged(&site.data().join("journal"), &before, copied);
        fs::remove_dir_all(site.data()).unwrap();
    }
    // A copy is not written over a copy of another kind.
    let refused = site.run("clone --data log --out backup/data").expect(2);
    assert!(refused.err.contains("holds a backup"), "{refused:?}");
}

/// A copy that was cut off anywhere signs nothing, and the same command goes on with it.
#[test]
fn an_interrupted_copy_is_gone_on_with() {
    let scene = Scene::new();
    let site = &scene.site;
    site.run("clone --out whole").expect(0);
    let segment = "journal/00000000000000000000.seg";
    let bytes = fs::read(site.path("whole").join(segment)).unwrap();
    for cut in [0, 1, 95, 96, 97, bytes.len() / 2, bytes.len() - 1] {
        let part = site.path(&format!("part-{cut}"));
        fs::create_dir_all(part.join("journal")).unwrap();
        fs::write(part.join("copy"), "clone\n").unwrap();
        fs::write(part.join(segment), &bytes[..cut]).unwrap();
        let done = site.run(&format!("--json clone --out {}", part.display())).expect(0).json();
        assert_eq!(done["bytes"], bytes.len() - cut, "{cut}");
        assert_eq!(fs::read(part.join(segment)).unwrap(), bytes, "{cut}");
    }
    // What is there and is no beginning of it is found out.
    let part = site.path("other");
    fs::create_dir_all(part.join("journal")).unwrap();
    fs::write(part.join("copy"), "clone\n").unwrap();
    fs::write(part.join(segment), vec![0; 200]).unwrap();
    let refused = site.run("clone --out other").expect(2);
    assert!(refused.err.contains("does not read back"), "{refused:?}");
}

/// With a witness that is required nobody has to vouch: it says how much it has seen.
#[test]
fn a_witness_that_agrees_lets_a_restored_log_go_on_and_one_that_has_seen_more_does_not() {
    let mut scene = Scene::new();
    let dir = tempfile::tempdir().unwrap();
    let mut init = program::command("isoledger");
    init.args(["--json", "witness", "init", "--name", "witness.example/w", "--dir"]).arg(dir.path());
    let vkey = program::run(&mut init).expect(0).json()["vkey"].as_str().unwrap().to_owned();
    let site = &mut scene.site;
    fs::write(dir.path().join("logs.policy"), format!("log {}\n", site.vkey)).unwrap();
    let mut run = program::command("isoledger");
    run.args(["--json", "witness", "--listen", "127.0.0.1:0", "--dir"]).arg(dir.path());
    let witness = program::Service::start(&mut run).unwrap_or_else(|done| panic!("{done:?}"));
    site.witness = format!(
        "[witness]\nperiod = \"100ms\"\nshort-period = true\n[witness.by.w]\nvkey = \"{vkey}\"\nurl = \"http://{}\"\n",
        witness.address
    );
    site.write();
    site.poll();
    site.run("backup --out old").expect(0);
    site.poll();
    site.run("backup --out new").expect(0);
    let size = site.audit()["size"].as_u64().unwrap();
    fs::rename(site.data(), site.path("lost")).unwrap();
    // Restored and short: the witness has seen more, whatever anybody vouches for.
    site.run("restore --from old").expect(0);
    let refused = site.run("poll").expect(2);
    assert!(refused.err.contains("another copy of this log has signed more"), "{refused:?}");
    let short = site.json("restore --i-know-nobody-has-more-than 1")["size"].as_u64().unwrap();
    assert!(short < size);
    let refused = site.run("poll").expect(2);
    assert!(refused.err.contains("another copy of this log has signed more"), "{refused:?}");
    fs::rename(site.data(), site.path("short")).unwrap();
    // Restored and whole: it agrees.
    site.run("restore --from new").expect(0);
    assert_eq!(site.poll()["poll"], size + 1);
    assert_eq!(counts(site, "log-recovered"), 1);
    // A rotation is cosigned under the old key; under the new one the witness has to know it.
    let rotated = site.run("--json key rotate").expect(0).json();
    assert_eq!(rotated["cosigned"], true, "{rotated:#}");
    site.poll();
    let refused = site.run("poll").expect(2);
    assert!(refused.err.contains("it does not watch this log, or not with this key"), "{refused:?}");
    let new = rotated["new"]["vkey"].as_str().unwrap();
    fs::write(dir.path().join("logs.policy"), format!("log {new}\n")).unwrap();
    site.poll();
    site.audit();
    // Cosigned under the old key, and verified by whoever pins the new one only: it vouches for what was before it.
    let attestation = site.attest("red-net", "");
    let text = format!(
        "log {new}\nwitness w {vkey}\nquorum w\nwitnessed-within 1m\nmax-gap 1h\nnetwork red-net domain lab project red\n"
    );
    fs::write(site.path("policy.txt"), text).unwrap();
    let verified = site.verify(&attestation);
    assert!(verified.code == Some(0), "{:#}", verified.json());
}
