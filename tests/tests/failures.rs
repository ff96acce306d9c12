//! What happens when something is missing, wrong or gone: silence is never taken for isolation, and whoever typed a
//! command is told in a sentence what was found and what to do, with nothing left half-written.
#![allow(clippy::unwrap_used)]

use isoledger_lab::{Cloud, Fault, Lab, LabOptions, Service as Peer, World};
use isoledger_tests::openssh::OpenSsh;
use isoledger_tests::program::{Done, LIMIT};
use isoledger_tests::site::{Site, assert_unchanged, findings, listing};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, date_time_ymd};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use serde_json::Value;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;
use std::time::{Duration, Instant};

async fn lab() -> Lab {
    Lab::start(World::two_tenants()).await.unwrap()
}

fn verdicts(polled: &Value) -> [&str; 2] {
    ["red-net", "blue-net"].map(|n| polled["verdicts"][n].as_str().unwrap_or_else(|| panic!("{polled:#}")))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_silent_switch_is_unknown_at_the_next_poll_and_undecided_past_the_allowed_gap() {
    let lab = lab().await;
    let mut site = Site::of_lab(&lab);
    site.deadline = "300ms".into();
    site.write();
    // The tenant is told names in this domain, so that the sentence can name the switch.
    let scope = site.scope_text().replacen("[switches", "disclose-ports = true\n[switches", 1);
    std::fs::write(site.path("scope.toml"), scope).unwrap();
    let service = site.serve();
    assert_eq!(verdicts(&service.poll()), ["isolated"; 2]);
    for fault in [Fault::Silent, Fault::Refuse, Fault::Unaccepted, Fault::Garbage(b"{]".to_vec())] {
        lab.edit(|w| {
            w.set_fault(Peer::Ovsdb("sw2".into()), fault.clone());
            // A session that is up goes on without accepting anything.
            w.restart(Peer::Ovsdb("sw2".into()));
        });
        let polled = service.poll();
        assert_eq!(verdicts(&polled), ["unknown"; 2], "{fault:?}");
        assert_eq!(polled["failures"][0]["source"], "sw2", "{polled:#}");
        let found = findings(&service.network("red-net"));
        assert!(
            found.iter().any(|(f, at)| (f == "silent" || f == "unreadable") && at.contains("sw2")),
            "{fault:?}: {found:?}"
        );
        lab.edit(|w| w.clear_fault(&Peer::Ovsdb("sw2".into())));
        assert_eq!(verdicts(&service.poll()), ["isolated"; 2], "{fault:?} is over");
    }
    // So far every stretch was short; the range is isolated by a patient policy and by none that is stricter than
    // what the silence lasts.
    lab.edit(|w| w.set_fault(Peer::Ovsdb("sw2".into()), Fault::Silent));
    let silent = Instant::now();
    while silent.elapsed() < Duration::from_millis(2500) {
        assert_eq!(verdicts(&service.poll()), ["unknown"; 2]);
    }
    lab.edit(|w| w.clear_fault(&Peer::Ovsdb("sw2".into())));
    assert_eq!(verdicts(&service.poll()), ["isolated"; 2]);
    assert_eq!(verdicts(&service.poll()), ["isolated"; 2]);
    drop(service.stop().expect(0));
    let attestation = site.attest("red-net", "");
    site.policy("max-gap 1h\n", "red-net domain lab project red");
    site.verify(&attestation).expect(0);
    site.policy("max-gap 2s\n", "red-net domain lab project red");
    let done = site.verify(&attestation).expect(2);
    let said = done.json();
    assert_eq!(said["outcome"], "undecided", "{said:#}");
    let check = said["checks"].as_array().unwrap().iter().find(|c| c["check"] == "isolation").unwrap();
    let detail = check["detail"].as_str().unwrap();
    assert!(detail.contains("no good reading of switch sw2 from 20"), "{detail}");
    assert_eq!(detail.matches("no good reading").count(), 1, "only the long stretch is too long: {detail}");
    site.audit();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_silent_cloud_manager_is_unknown_too() {
    let lab = lab().await;
    let mut site = Site::of_lab(&lab);
    site.manager =
        site.manager.replace("deadline = \"20s\"", "deadline = \"500ms\"\nrequest-timeout = \"300ms\"");
    site.write();
    let service = site.serve();
    assert_eq!(verdicts(&service.poll()), ["isolated"; 2]);
    lab.edit(|w| w.set_fault(Peer::Hil, Fault::Silent));
    let polled = service.poll();
    assert_eq!(polled["failures"][0]["source"], "cloud manager", "{polled:#}");
    // What it declared is not yet old; whatever the verdict is, a port that nobody declared is never isolated.
    lab.edit(|w| w.switch_mut("sw2").unwrap().set_port("sw2p4", "tag", 100u16).unwrap());
    assert_ne!(verdicts(&service.poll())[0], "isolated");
    lab.edit(|w| w.clear_fault(&Peer::Hil));
    assert_eq!(verdicts(&service.poll()), ["violated", "isolated"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_verdict_now_ages_to_unknown_when_polling_itself_has_died() {
    let lab = lab().await;
    let mut site = Site::of_lab(&lab);
    (site.period, site.max_gap) = ("200ms".into(), "2s".into());
    site.write();
    let service = site.serve();
    service.poll();
    let status = site.run("--json status").expect(0).json();
    assert_eq!(
        (&status["health"]["ok"], &status["networks"][0]["verdict"]),
        (&true.into(), &"isolated".into())
    );
    service.kill();
    let deadline = Instant::now() + LIMIT;
    let (status, code) = loop {
        let done = site.run("--json status");
        let status = done.json();
        if status["networks"][0]["verdict"] != "isolated" {
            break (status, done.code);
        }
        assert!(Instant::now() < deadline, "{status:#}");
        std::thread::sleep(Duration::from_millis(50));
    };
    assert_eq!(code, Some(1));
    assert_eq!(status["health"]["ok"], false);
    for network in status["networks"].as_array().unwrap() {
        assert_eq!((&network["verdict"], &network["recorded"]), (&"unknown".into(), &"isolated".into()));
        let reason = network["reason"].as_str().unwrap();
        assert!(reason.contains("the last poll is") && reason.contains("at most 2s is allowed"), "{reason}");
    }
    // What was attested stands; freshness is the tenant's to demand.
    site.policy("max-gap 1h\nfresh-within 1s\n", "red-net domain lab project red");
    let attestation = site.attest("red-net", "--nonce abc");
    site.verify(&attestation).expect(0);
    let mut fresh = isoledger_tests::program::command("isoverify");
    fresh.args(["--fresh", "--nonce", "abc", "--policy"]).arg(site.path("policy.txt")).arg(&attestation);
    isoledger_tests::program::run(&mut fresh).expect(2);
}

/// Asserts that a command ends with 2 and says all of this, and that nothing in the site's directory changed.
#[track_caller]
fn refused(site: &Site, words: &str, said: &[&str]) -> Done {
    let before = listing(site.dir());
    let done = site.run(words).expect(2);
    for part in said {
        assert!(done.err.contains(part), "`{words}` does not say {part:?}: {}", done.err);
    }
    assert!(done.err.starts_with("isoledger: ") && done.out.is_empty(), "{done:?}");
    for jargon in ["panicked", "Os {", "Some(", "RUST_BACKTRACE"] {
        assert!(!done.err.contains(jargon), "{}", done.err);
    }
    assert_unchanged(site.dir(), &before, words);
    done
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bad_configuration_is_named_with_what_is_allowed() {
    let lab = lab().await;
    let mut site = Site::of_lab(&lab);
    let good = site.config_text();
    let first = site.switches["sw1"].clone();
    for (from, to, said) in [
        ("[poll]", "[pool]", &["isoledger.toml", "unknown field `pool`"][..]),
        ("domain = \"lab\"", "domain = \"a lab\"", &["log.domain is \"a lab\"", "letters, digits"]),
        ("period = \"1h\"", "period = \"soon\"", &["soon", "a whole number and ms, s, m, h or d"]),
        ("period = \"1h\"", "period = \"2h\"", &["poll.max-gap is", "at least poll.period"]),
        ("listen = \"127.0.0.1:0\"", "listen = \"0.0.0.0:0\"", &["http.listen", "loopback"]),
        ("[log]", "[log", &["isoledger.toml", "line 1"]),
        (
            "origin = \"audit.example/site\"",
            "origin = \"audit.example/other\"",
            &["is the key of audit.example/site"],
        ),
        ("user = \"auditor\"\n", "", &["`user`", "password-file"]),
        ("hil.password", "no-such-file", &["no-such-file", "cannot be read"]),
        (first.lines().nth(1).unwrap(), "ovsdb = \"here\"", &["switches.sw1", "here"]),
        ("duty = 100", "duty = 0", &["manager.duty", "1 to 100"]),
    ] {
        assert!(good.contains(from), "{from}");
        std::fs::write(site.config(), good.replacen(from, to, 1)).unwrap();
        for words in ["poll", "serve"] {
            refused(&site, words, said);
        }
    }
    std::fs::remove_file(site.config()).unwrap();
    refused(&site, "status", &["isoledger.toml", "isoledger init"]);
    site.write();
    // What is right does run, so the refusals above were about what was changed.
    assert_eq!(verdicts(&site.poll()), ["isolated"; 2]);
    // A file of the key with another's origin, cut off, or open to others.
    site.period = "1h".into();
    let key = site.path("log.key");
    let text = std::fs::read_to_string(&key).unwrap();
    for (content, mode, said) in [
        (text.as_str(), 0o644, &["mode 0644", "others may read it", "chmod 600"][..]),
        (text.as_str(), 0o640, &["mode 0640", "chmod 600"]),
        (&text[..text.len() / 2], 0o600, &["is not a key file"]),
        ("", 0o600, &["is not a key file"]),
    ] {
        std::fs::write(&key, content).unwrap();
        std::fs::set_permissions(&key, PermissionsExt::from_mode(mode)).unwrap();
        for words in ["poll", "serve", "attest red-net"] {
            let done = refused(&site, words, said);
            assert!(!done.err.contains(text.split(' ').nth(2).unwrap().trim()), "the seed is secret");
        }
    }
    std::fs::remove_file(&key).unwrap();
    refused(&site, "poll", &["log.key"]);
    // Another key of the right form is not the log's.
    let other = Site::new("http://127.0.0.1:1");
    std::fs::copy(other.path("log.key"), &key).unwrap();
    refused(&site, "poll", &["the log is signed by", "the key given is"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_scope_that_is_missing_or_of_other_switches_is_refused() {
    let lab = lab().await;
    let site = Site::of_lab(&lab);
    let good = site.scope_text();
    std::fs::remove_file(site.path("scope.toml")).unwrap();
    refused(&site, "poll", &["scope.toml", "isoledger scope propose --out"]);
    refused(&site, "serve", &["scope.toml", "isoledger scope propose --out"]);
    for (from, to, said) in [
        (
            "[switches.sw2]",
            "[switches.sw3]",
            &["switch \"sw3\" is not in the configuration", "[switches.sw3]"][..],
        ),
        ("[switches.sw2]\n", "", &["switch \"sw2\" of the configuration is missing"]),
        ("port = \"sw1-uplink\"", "port = \"sw1-trunk\"", &["sw1-trunk", "listed as"]),
        ("switch = \"sw1\", port = \"sw1-trunk\"", "switch = \"sw9\", port = \"t\"", &["no switch \"sw9\""]),
        ("domain = \"lab\"", "domain = \"moc\"", &["domain is \"moc\"", "\"lab\""]),
        ("vlans = \"100-101\"", "vlans = \"100-9999\"", &["scope.toml", "VLAN"]),
        ("domain = \"lab\"\n", "domain = \"lab\"\nswitch = 1\n", &["unknown field `switch`"]),
    ] {
        assert!(good.contains(from), "{from}: {good}");
        std::fs::write(site.path("scope.toml"), good.replacen(from, to, 1)).unwrap();
        for words in ["poll", "serve"] {
            refused(&site, words, said);
        }
    }
    // An existing scope is not overwritten.
    refused(&site, "scope propose --out scope.toml", &["scope.toml", "exists"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_port_in_use_and_a_data_directory_already_open_are_refused() {
    let lab = lab().await;
    let mut site = Site::of_lab(&lab);
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    site.listen = taken.local_addr().unwrap().to_string();
    site.write();
    refused(&site, "serve", &[&site.listen, "another program listens there", "choose another port"]);
    assert!(!site.data().exists(), "no log was begun");
    drop(taken);
    let running = site.serve();
    // Whichever was first, this poll or the one a service begins with: the next is due an hour after the last, and from
    // now on nothing moves by itself. Where this one was first, there is no other.
    running.poll();
    // A second service on another port must not write the same log.
    site.listen = "127.0.0.1:0".into();
    site.write();
    let pid = running.pid().to_string();
    refused(&site, "serve", &["is locked: another isoledger", &pid, "Stop it first"]);
    // Nor a poll, which asks the running one and cannot find it at the address the file says now.
    refused(&site, "poll", &["another isoledger writes this log", "http.listen"]);
    // Reading goes on beside it.
    site.audit();
    site.run("export --out public").expect(0);
    site.listen = running.address.clone();
    site.write();
    let before = running.poll()["poll"].as_u64().unwrap();
    assert_eq!(site.poll()["poll"].as_u64(), Some(before + 1), "a poll by the running service");
    running.stop().expect(0);
    assert_eq!(site.poll()["poll"].as_u64(), Some(before + 2), "and one by itself, once it has stopped");
}

/// What `check` says that is not well, one line each; it reads everything and writes nothing.
#[track_caller]
fn complaints(site: &Site) -> Vec<String> {
    let before = listing(site.dir());
    let done = site.run("--json check").expect(1);
    assert_unchanged(site.dir(), &before, "check");
    let said = done.json();
    assert_eq!(said["ok"], false);
    let bad = said["checks"].as_array().unwrap().iter().filter(|c| c["ok"] == false);
    bad.map(|c| format!("{}: {}", c["check"].as_str().unwrap(), c["detail"].as_str().unwrap())).collect()
}

#[track_caller]
fn complains(site: &Site, what: &str, said: &[&str]) {
    let all = complaints(site);
    let found = all.iter().any(|c| c.starts_with(what) && said.iter().all(|s| c.contains(s)));
    assert!(found, "{what}: {said:?} is not in {all:#?}");
    // A poll is recorded all the same, says the same, and calls nothing isolated.
    let done = site.run("poll").expect(1);
    assert!(!done.out.contains("ISOLATED"), "{done:?}");
    assert!(done.out.contains("NOT READ") || done.out.contains("UNKNOWN"), "{done:?}");
    site.audit();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_password_says_so_and_never_what_it_was() {
    let lab = lab().await;
    for (user, password, said) in [
        ("auditor", "correct-horse", &["refuses the configured user's password (401)", "password_file"][..]),
        ("alice", "lab-alice", &["is not an administrator of HIL"]),
        ("nobody", "correct-horse", &["HIL"]),
    ] {
        let mut site = Site::of_lab(&lab);
        site.manager = site.manager.lines().take(5).map(|l| format!("{l}\n")).collect();
        site.log_in(user, password);
        site.write();
        complains(&site, "cloud manager", said);
        for (path, (_, content)) in listing(site.dir()) {
            let content = content.unwrap_or_default();
            let secret = password.as_bytes();
            let leaked = content.windows(secret.len()).any(|w| w == secret);
            assert!(!leaked || path.ends_with("hil.password"), "{} holds the password", path.display());
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_expired_certificate_is_named() {
    let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    for (expired, ending) in [(true, Some("has expired")), (false, None)] {
        let mut params = CertificateParams::new(vec!["switches.example".to_owned()]).unwrap();
        if expired {
            (params.not_before, params.not_after) = (date_time_ymd(2019, 1, 1), date_time_ymd(2020, 1, 1));
        }
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &authority).unwrap();
        let der = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let tls = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], der)
            .unwrap();
        let options = LabOptions { tls: Some(Arc::new(tls)), ..LabOptions::default() };
        let lab = Lab::start_with(Cloud::new(World::two_tenants()), options).await.unwrap();
        let mut site = Site::of_lab(&lab);
        std::fs::write(site.path("ca.pem"), authority.pem()).unwrap();
        for s in lab.switches() {
            let lines = site.switches.get_mut(&s.switch).unwrap();
            *lines = lines.replace(&s.ovsdb.tcp.to_ovs(), &s.ovsdb.tls.as_ref().unwrap().to_ovs());
            lines.push_str("tls = { ca = \"ca.pem\", server-name = \"switches.example\" }\n");
        }
        site.write();
        match ending {
            Some(said) => complains(&site, "switch sw1", &["certificate", said, "renew it"]),
            // The same with one that is good, so that it was the date and nothing else.
            None => assert_eq!(verdicts(&site.poll()), ["isolated"; 2]),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unknown_host_key_is_named_by_its_fingerprint() {
    let Some(ssh) = OpenSsh::start("echo never reached") else { return };
    let lab = lab().await;
    for (listed, said) in [(&[][..], "lists none for"), (&["stranger"][..], "is not the one listed")] {
        let known = ssh.known_hosts("known", listed, false);
        let mut site = Site::of_lab(&lab);
        let lines = site.switches.get_mut("sw1").unwrap();
        let keep: String =
            lines.lines().filter(|l| !l.starts_with("flows")).map(|l| format!("{l}\n")).collect();
        *lines = format!(
            "{keep}flows = \"ssh\"\nssh = {{ host = \"127.0.0.1\", port = {}, user = \"{}\", known-hosts = \"{}\", key = \"{}\" }}\n",
            ssh.port,
            ssh.user,
            known.display(),
            ssh.file("user").display()
        );
        site.write();
        complains(
            &site,
            "switch sw1, flows",
            &["presented the host key SHA256:", said, "compare the fingerprint"],
        );
    }
    assert_eq!(ssh.logins(), 0, "nobody logged in to a host that is not known");
    assert_eq!(ssh.asked(), "");
}
