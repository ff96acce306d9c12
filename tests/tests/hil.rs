//! The HIL reader against the lab's HIL, over real HTTP on loopback, and against servers that are worse.
#![allow(clippy::unwrap_used)]

use isoledger_collectors::hil::{Auth, Config, Hil, normalise};
use isoledger_collectors::{CloudManager, Evidence, Part, Reading, Secret, SourceError, Stopwatch};
use isoledger_core::model::{Access, Channel, Declared, Failure, NetworkVlan, Owner};
use isoledger_core::time::Span;
use isoledger_lab::{Allocator, Cloud, Fault, HilServer, Service, When, World};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

const PASSWORD: &str = "lab-auditor";

/// A world, its HIL, and a reader of it as the auditor.
async fn lab(world: World) -> (Cloud, HilServer, Hil) {
    let cloud = Cloud::new(world);
    let server = HilServer::start(&cloud).await.unwrap();
    let hil = reader(&server.url(), auditor());
    (cloud, server, hil)
}

fn auditor() -> Auth {
    basic("auditor", PASSWORD)
}

fn basic(user: &str, password: &str) -> Auth {
    Auth::Basic { user: user.into(), password: Secret::new(password) }
}

fn reader(url: &str, auth: Auth) -> Hil {
    Hil::new(&Config::new(url, auth)).unwrap()
}

/// Far away: no test waits for it.
fn later() -> Instant {
    Instant::now() + Duration::from_secs(60)
}

async fn read_by(hil: &mut Hil, deadline: Instant) -> Reading<Declared> {
    let clock = Stopwatch::from_system().unwrap();
    let reading = hil.read(&clock, deadline).await;
    // Whatever happened, the evidence alone says the same, before and after it was stored.
    let stored = Evidence::from_bytes(&reading.evidence.to_bytes()).unwrap();
    assert_eq!(normalise(&stored), reading.outcome);
    let text = String::from_utf8(stored.to_bytes()).unwrap();
    assert!(
        !text.contains(PASSWORD) && !text.contains("bGFi"),
        "a password, or its base64, is in the evidence"
    );
    reading
}

async fn read(hil: &mut Hil) -> Reading<Declared> {
    read_by(hil, later()).await
}

async fn declared(hil: &mut Hil) -> Declared {
    let d = read(hil).await.outcome.unwrap();
    assert_eq!(d.anomalies, []);
    d
}

async fn error(hil: &mut Hil) -> SourceError {
    read(hil).await.outcome.unwrap_err()
}

/// `node nic network` of each attachment.
fn attached(d: &Declared) -> Vec<String> {
    d.attachments.iter().map(|a| format!("{} {} {}", a.node, a.nic, a.network)).collect()
}

fn asked(cloud: &Cloud) -> Vec<String> {
    cloud.commands().into_iter().map(|c| c.what).collect()
}

#[tokio::test]
async fn two_tenants_read_whole_and_read_only() {
    let (cloud, server, mut hil) = lab(World::two_tenants()).await;
    assert_eq!(hil.calls_per_crawl(), None);
    let reading = read(&mut hil).await;
    let d = reading.outcome.unwrap();
    assert_eq!(d.anomalies, []);
    assert_eq!(
        attached(&d),
        [
            "node03 eth0 blue-net",
            "node04 eth0 blue-net",
            "node01 eth0 red-net",
            "node02 eth0 red-net",
            "node05 eth0 red-net"
        ]
    );
    assert_eq!((d.networks.len(), d.cabling.len(), d.registered.len(), d.actions.len()), (2, 6, 8, 0));
    assert_eq!(d.networks["red-net"].owner, Owner::Project("red".into()));
    // Three lists, six nodes, two switches, two networks.
    assert_eq!((reading.sent, hil.calls_per_crawl()), (13, Some(13)));
    assert_eq!(asked(&cloud).len(), 13);
    cloud.assert_only_reads();
    assert_eq!(reading.evidence.subject, server.url());
    assert_eq!(reading.evidence.auth, "HTTP Basic as auditor");
    assert_eq!((reading.evidence.identity, reading.reader.dialect.as_str()), (None, "hil-rest"));
    assert!(reading.window.started <= reading.window.ended);
}

#[tokio::test]
async fn an_unchanged_hil_gives_the_same_bytes_in_whatever_order_it_answers() {
    let (cloud, _server, mut hil) = lab(World::two_tenants()).await;
    cloud.edit(|w| w.hil.shuffle_nics = true);
    let first = read(&mut hil).await.evidence.to_bytes();
    for _ in 0..3 {
        assert_eq!(read(&mut hil).await.evidence.to_bytes(), first);
    }
}

#[tokio::test]
async fn metadata_stays_in_hil() {
    let (cloud, _server, mut hil) = lab(World::two_tenants()).await;
    cloud.edit(|w| w.nodes[0].metadata.push(("EK".into(), "\"endorsement\"".into())));
    let reading = read(&mut hil).await;
    assert!(reading.outcome.is_ok());
    assert!(!String::from_utf8(reading.evidence.to_bytes()).unwrap().contains("endorsement"));
}

#[tokio::test]
async fn refusals_are_told_apart_after_one_request() {
    let (cloud, server, _) = lab(World::two_tenants()).await;
    for (auth, words) in [
        (basic("auditor", "hunter2"), "refuses the configured user's password"),
        (basic("ghost", "hunter2"), "does not know the configured user (404: User ghost does not exist.)"),
        (basic("alice", "lab-alice"), "is not an administrator"),
        (Auth::None, "none are configured"),
    ] {
        cloud.clear_commands();
        let mut hil = reader(&server.url(), auth);
        let e = error(&mut hil).await;
        assert_eq!(e.kind, Failure::Unreadable);
        assert!(e.sentence.contains(words) && !e.sentence.contains("hunter2"), "{e}");
        assert_eq!(asked(&cloud), ["GET /v0/switches"], "{words}");
        assert!(!format!("{hil:?}").contains("hunter2"));
    }
    // Anonymous users are let in, and are shown public networks only.
    cloud.edit(|w| w.hil.require_authentication = false);
    let e = error(&mut reader(&server.url(), Auth::None)).await;
    assert!(e.sentence.contains("is not an administrator"), "{e}");
}

#[tokio::test]
async fn a_password_changed_in_mid_crawl_stops_it() {
    let (cloud, _server, mut hil) = lab(World::two_tenants()).await;
    cloud.on(Service::Hil, When::Asks("/v0/node/node02".into()), |w| {
        w.users.iter_mut().for_each(|u| u.password = "another".into());
    });
    let e = error(&mut hil).await;
    assert!(e.sentence.contains("/v0/node/node02") && e.sentence.contains("password"), "{e}");
    assert_eq!(asked(&cloud).len(), 5);
}

#[tokio::test]
async fn what_hil_allows_and_others_do_not() {
    let (cloud, _server, mut hil) = lab(World::two_tenants()).await;
    cloud.edit(|w| {
        w.add_network("prov-net", None, &["red"], "500");
        w.add_network("prov-net2", None, &["blue"], "500");
        w.add_network("pub-net", None, &[], "102");
        w.add_network("edge-net", None, &["red"], "4096");
        w.add_network("rack 4/5 100%".split('/').next().unwrap(), Some("red"), &["red"], "103");
        w.add_node("spare node+%41", Some("red"));
        w.add_nic("spare node+%41", "em 1", "x").unwrap();
        // Both nics of one node on one network, a channel each.
        w.declare("node01", "eth1", "red-net", "vlan/100");
        w.declare("node02", "eth0", "edge-net", "vlan/4096");
        // A free node that was left attached.
        w.declare("node06", "eth0", "pub-net", "vlan/102");
    });
    let d = declared(&mut hil).await;
    assert_eq!(d.networks["prov-net"].vlan, d.networks["prov-net2"].vlan);
    assert_eq!(d.networks["prov-net"].owner, Owner::Admin);
    assert_eq!(d.networks["pub-net"].access, Access::Public);
    assert_eq!(d.networks["edge-net"].vlan, NetworkVlan::Unassessable("4096".into()));
    assert!(d.networks.contains_key("rack 4"));
    let of = |node: &str| -> Vec<_> {
        d.attachments
            .iter()
            .filter(|a| a.node == node)
            .map(|a| (a.nic.as_str(), a.network.as_str(), &a.channel))
            .collect()
    };
    let tagged = |id: u16| Channel::Tagged(isoledger_core::VlanId::new(id).unwrap());
    assert_eq!(of("node01"), [("eth0", "red-net", &Channel::Native), ("eth1", "red-net", &tagged(100))]);
    assert_eq!(of("node06"), [("eth0", "pub-net", &tagged(102))]);
    let node02: BTreeSet<_> =
        of("node02").into_iter().map(|(_, network, channel)| (network, channel.clone())).collect();
    assert_eq!(
        node02,
        [("edge-net", Channel::Other("vlan/4096".into())), ("red-net", Channel::Native)].into()
    );
    // Port of a nic that nobody cabled.
    assert_eq!(d.attachments.iter().find(|a| a.nic == "eth1").unwrap().port, None);
}

#[tokio::test]
async fn the_null_allocator_has_no_vlans() {
    let (cloud, _server, mut hil) = lab(World::two_tenants()).await;
    cloud.edit(|w| {
        w.hil.allocator = Allocator::Null;
        for (n, network) in w.networks.iter_mut().enumerate() {
            network.network_id = format!("9f1c6e0a-0d5c-11ef-8d3a-0242ac12000{n}");
        }
        w.attachments.iter_mut().for_each(|a| a.channel = "null".into());
    });
    let d = declared(&mut hil).await;
    assert!(d.networks.values().all(|n| matches!(n.vlan, NetworkVlan::Unassessable(_))));
    assert_eq!(d.attachments.len(), 5);
    assert!(d.attachments.iter().all(|a| a.channel == Channel::Other("null".into())));
}

#[tokio::test]
async fn labels_that_cannot_be_asked_for_are_anomalies_and_never_another_page() {
    let (cloud, _server, mut hil) = lab(World::two_tenants()).await;
    cloud.edit(|w| {
        w.add_network("red-net/attachments", Some("red"), &["red"], "104");
        w.add_network("..", Some("red"), &["red"], "105");
    });
    let d = read(&mut hil).await.outcome.unwrap();
    let said: Vec<_> = d.anomalies.iter().map(|a| a.what.as_str()).collect();
    assert_eq!(said.len(), 2, "{said:?}");
    assert!(said.iter().all(|s| s.starts_with("cannot be asked for")), "{said:?}");
    assert!(asked(&cloud).iter().all(|a| !a.contains("attachments") && !a.contains("..")));
}

#[tokio::test]
async fn a_change_between_two_pages_is_settled() {
    let (cloud, _server, mut hil) = lab(World::two_tenants()).await;
    // After node02 was read as attached, before red-net is read without it.
    cloud.on(Service::Hil, When::Asks("/v0/switch/sw1".into()), |w| {
        w.undeclare("node02", "eth0", "red-net");
    });
    let d = declared(&mut hil).await;
    assert!(!attached(&d).contains(&"node02 eth0 red-net".to_owned()));
    assert_eq!(hil.calls_per_crawl(), Some(15));
}

#[tokio::test]
async fn births_and_deaths_between_list_and_page_are_settled() {
    let (cloud, _server, mut hil) = lab(World::two_tenants()).await;
    cloud.on(Service::Hil, When::Asks("/v0/node/node01".into()), |w| {
        w.nodes.retain(|n| n.label != "node06");
        w.add_network("new-net", Some("red"), &["red"], "106");
        w.declare("node02", "eth0", "new-net", "vlan/106");
    });
    let d = declared(&mut hil).await;
    assert!(d.networks.contains_key("new-net"));
    assert!(attached(&d).contains(&"node02 eth0 new-net".to_owned()));
    assert!(d.cabling.iter().all(|c| c.node != "node06"));
}

#[tokio::test]
async fn a_hil_that_never_holds_still_is_an_anomaly_not_a_declaration() {
    let (cloud, _server, mut hil) = lab(World::two_tenants()).await;
    // The nic is connected whenever its network is read (requests 12 and 15), and is not whenever its node is.
    for (n, connected) in [(12, true), (14, false), (15, true)] {
        cloud.on(Service::Hil, When::Nth(n), move |w| {
            w.undeclare("node06", "eth0", "blue-net");
            if connected {
                w.declare("node06", "eth0", "blue-net", "vlan/native");
            }
        });
    }
    let reading = read(&mut hil).await;
    let d = reading.outcome.unwrap();
    assert_eq!(asked(&cloud)[13..], ["GET /v0/node/node06", "GET /v0/network/blue-net"]);
    let [only] = &d.anomalies[..] else { panic!("{:?}", d.anomalies) };
    assert_eq!(
        only.what,
        "/v0/network/blue-net says that nic \"eth0\" is connected, /v0/node/node06 does not"
    );
}

#[tokio::test]
async fn actions_are_seen_by_uuid_only_and_the_old_state_is_shown_meanwhile() {
    let (cloud, server, mut hil) = lab(World::two_tenants()).await;
    let uuid = cloud.edit(|w| w.begin_detach("node02", "eth0", "red-net")).unwrap();
    let d = declared(&mut hil).await;
    assert!(d.actions.is_empty() && attached(&d).contains(&"node02 eth0 red-net".to_owned()));

    let mut config = Config::new(server.url(), auditor());
    config.actions = vec![uuid.to_string(), "00000000-0000-0000-0000-000000000000".into()];
    let mut hil = Hil::new(&config).unwrap();
    let d = declared(&mut hil).await;
    let [action] = &d.actions.iter().collect::<Vec<_>>()[..] else { panic!("{:?}", d.actions) };
    assert_eq!((action.node.as_str(), action.nic.as_str(), action.pending), ("node02", "eth0", true));
    assert_eq!(action.port.as_ref().unwrap().to_string(), "sw1 sw1p2");

    cloud.edit(World::run_daemon);
    let d = declared(&mut hil).await;
    assert!(d.actions.is_empty() && !attached(&d).contains(&"node02 eth0 red-net".to_owned()));
}

#[tokio::test]
async fn rereading_asks_about_the_part_alone_and_is_as_good_as_reading() {
    let (cloud, _server, mut hil) = lab(World::two_tenants()).await;
    let clock = Stopwatch::from_system().unwrap();
    let before = read(&mut hil).await.evidence;

    // Nothing changed: two pages, the same bytes.
    cloud.clear_commands();
    let part = Part { nodes: ["node05".to_owned()].into(), networks: ["red-net".to_owned()].into() };
    let again = hil.reread(&part, &before, &clock, later()).await;
    assert_eq!(asked(&cloud), ["GET /v0/networks", "GET /v0/node/node05", "GET /v0/network/red-net"]);
    assert_eq!((again.sent, again.evidence.to_bytes()), (3, before.to_bytes()));

    // Changed: what a full crawl would see.
    cloud.edit(|w| {
        w.undeclare("node05", "eth0", "red-net");
        w.networks[0].network_id = "107".into();
    });
    let again = hil.reread(&part, &before, &clock, later()).await;
    assert_eq!(again.outcome, normalise(&again.evidence));
    assert_eq!(again.evidence.to_bytes(), read(&mut hil).await.evidence.to_bytes());
    assert_eq!(hil.calls_per_crawl(), Some(13));

    // Evidence of somebody else is not merged.
    cloud.clear_commands();
    let mut foreign = before.clone();
    foreign.subject = "https://other.example".into();
    hil.reread(&part, &foreign, &clock, later()).await;
    assert_eq!(asked(&cloud).len(), 13);
}

#[tokio::test]
async fn a_broken_reread_keeps_nothing_it_was_to_replace() {
    let (cloud, server, mut hil) = lab(World::two_tenants()).await;
    let clock = Stopwatch::from_system().unwrap();
    let before = read(&mut hil).await.evidence;
    drop(server);
    let part = Part { nodes: ["node05".to_owned()].into(), networks: BTreeSet::new() };
    let again = hil.reread(&part, &before, &clock, later()).await;
    assert_eq!(again.outcome.as_ref().unwrap_err().kind, Failure::Silent);
    assert_eq!(normalise(&again.evidence), again.outcome);
    let kept: Vec<_> = again.evidence.exchanges.iter().filter(|x| x.asked.contains("node05")).collect();
    assert_eq!((kept.len(), kept[0].status), (1, None));
    drop(cloud);
}

#[tokio::test]
async fn check_tells_what_hil_is_and_costs() {
    let (cloud, server, mut hil) = lab(World::two_tenants()).await;
    let clock = Stopwatch::from_system().unwrap();
    cloud.edit(|w| w.hil.auth_delay = Duration::from_millis(5));
    let report = hil.check(&clock, later(), Span::from_millis(100), 20).await.unwrap();
    assert_eq!((&report.url, report.user.as_deref(), report.calls), (&server.url(), Some("auditor"), 13));
    assert_eq!((report.networks, report.cabled, report.attachments, report.ports), (2, 6, 5, 8));
    assert_eq!(report.extensions.len(), 3);
    // Thirteen requests of at least 5 ms are more than a fifth of 100 ms.
    assert!(report.took_ms >= 65 && report.shortest_period_ms >= 325, "{report:?}");
    assert!(
        report.advice.iter().any(|a| a.contains("13 requests") && a.contains("database reader")),
        "{:?}",
        report.advice
    );
    cloud.assert_only_reads();

    let mut alice = reader(&server.url(), basic("alice", "lab-alice"));
    let refused = alice.check(&clock, later(), Span::from_millis(60_000), 20).await.unwrap_err();
    assert!(refused.sentence.contains("not an administrator"), "{refused}");
}

#[tokio::test]
async fn the_kind_of_a_switch_is_read_off_a_refusal() {
    let (cloud, _server, mut hil) = lab(World::two_tenants()).await;
    assert_eq!(hil.switch_kind("sw1", later()).await.unwrap().as_deref(), Some("Ovs"));
    assert_eq!(hil.switch_kind("nope", later()).await.unwrap(), None);
    assert_eq!(hil.switch_kind("../switches", later()).await.unwrap(), None);
    assert_eq!(asked(&cloud).len(), 2);
    cloud.assert_only_reads();
}

/// Each way to misbehave on the wire, at every answer: what the failure is called, and that the reader comes back.
#[tokio::test]
async fn faults_on_the_wire() {
    let html =
        b"HTTP/1.0 500 INTERNAL SERVER ERROR\r\nContent-Type: text/html\r\n\r\n<title>500</title>SECRET"
            .to_vec();
    let empty = b"HTTP/1.0 200 OK\r\nContent-Type: text/html\r\nContent-Length: 0\r\n\r\n".to_vec();
    let huge = b"HTTP/1.0 200 OK\r\nContent-Length: 99999999999\r\n\r\n[".to_vec();
    for (fault, kind, words) in [
        (Fault::Refuse, Failure::Silent, "no connection"),
        (Fault::Unaccepted, Failure::Silent, "no answer within 0.3 s"),
        (Fault::Silent, Failure::Silent, "no answer within 0.3 s"),
        (Fault::Delay(Duration::from_secs(5)), Failure::Silent, "no answer within 0.3 s"),
        (Fault::Trickle(Duration::from_millis(50)), Failure::Silent, "no answer within 0.3 s"),
        (Fault::Garbage(b"\x15\x03\x01\0\x02\x02\x46".to_vec()), Failure::Unreadable, "not HTTP"),
        (Fault::Garbage(b"SSH-2.0-OpenSSH_9.2\r\n".to_vec()), Failure::Unreadable, "not HTTP"),
        (Fault::Garbage(html), Failure::Unreadable, "HIL answered 500 \"[html: 500]\""),
        (Fault::Garbage(empty), Failure::Unreadable, "found an empty body"),
        (Fault::Garbage(huge), Failure::Unreadable, "cut off"),
        (Fault::Cut { after: 0 }, Failure::Silent, "GET /v0/switches"),
        (Fault::Cut { after: 10 }, Failure::Silent, "GET /v0/switches"),
        (Fault::HalfClose { after: 0 }, Failure::Silent, "GET /v0/switches"),
    ] {
        let (cloud, server, _) = lab(World::two_tenants()).await;
        let mut config = Config::new(server.url(), auditor());
        config.request_timeout = Duration::from_millis(300);
        let mut hil = Hil::new(&config).unwrap();
        cloud.edit(|w| w.set_fault(Service::Hil, fault.clone()));
        let e = error(&mut hil).await;
        assert!(e.kind == kind && e.sentence.contains(words), "{fault:?}: found {:?} {e}", e.kind);
        assert!(!e.sentence.contains(PASSWORD) && !e.sentence.contains("127.0.0.1"), "{e}");
        assert_eq!(hil.cost(), None);

        cloud.edit(|w| w.clear_fault(&Service::Hil));
        let mut hil = reader(&server.url(), auditor());
        assert_eq!(declared(&mut hil).await.attachments.len(), 5, "{fault:?}");
    }
}

/// An answer that is cut off somewhere in its body is never taken for a whole one.
#[tokio::test]
async fn cuts_anywhere_are_noticed() {
    let (cloud, server, mut hil) = lab(World::two_tenants()).await;
    let whole = declared(&mut hil).await;
    let mut noticed = 0;
    for (n, after) in (0..400).step_by(29).enumerate() {
        let fault = if n % 2 == 0 { Fault::Cut { after } } else { Fault::HalfClose { after } };
        cloud.edit(|w| w.set_fault(Service::Hil, fault.clone()));
        let mut hil = reader(&server.url(), auditor());
        match read(&mut hil).await.outcome {
            Ok(d) => assert!(d == whole || !d.anomalies.is_empty(), "{fault:?}"),
            Err(_) => noticed += 1,
        }
        cloud.edit(|w| w.clear_fault(&Service::Hil));
    }
    assert!(noticed > 4, "{noticed}");
}

#[tokio::test]
async fn one_lost_connection_is_not_a_lost_crawl() {
    let (cloud, _server, mut hil) = lab(World::two_tenants()).await;
    cloud.on(Service::Hil, When::Asks("/v0/node/node03".into()), |w| {
        w.set_fault(Service::Hil, Fault::Cut { after: 0 });
    });
    // The third node is the sixth request; the seventh asks for it again.
    cloud.on(Service::Hil, When::Nth(7), |w| w.clear_fault(&Service::Hil));
    let d = declared(&mut hil).await;
    assert_eq!(d.attachments.len(), 5);
    assert_eq!(hil.calls_per_crawl(), Some(14));
}

#[tokio::test]
async fn one_deadline_for_the_whole_crawl() {
    let (cloud, _server, mut hil) = lab(World::two_tenants()).await;
    // Each answer is in time, all of them are not.
    cloud.edit(|w| w.hil.auth_delay = Duration::from_millis(100));
    let reading = read_by(&mut hil, Instant::now() + Duration::from_millis(450)).await;
    let e = reading.outcome.unwrap_err();
    assert!(e.kind == Failure::Silent && e.sentence.contains("the crawl's deadline"), "{e}");
    assert!(reading.sent < 13, "{}", reading.sent);
}

/// Serves each connection with these bytes, and counts connections.
fn canned(answer: Vec<u8>) -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let count = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&count);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            counted.fetch_add(1, Ordering::SeqCst);
            let Ok(mut stream) = stream else { return };
            let _ = request(&mut stream);
            let _ = stream.write_all(&answer);
        }
    });
    (url, count)
}

/// The head of a request.
fn request(stream: &mut impl Read) -> std::io::Result<String> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte)? == 1 {
        head.push(byte[0]);
    }
    Ok(String::from_utf8_lossy(&head).into_owned())
}

#[tokio::test]
async fn redirects_are_not_followed() {
    let (elsewhere, visits) = canned(b"HTTP/1.0 200 OK\r\n\r\n[]".to_vec());
    for status in [301, 302, 303, 307, 308] {
        let answer = format!(
            "HTTP/1.0 {status} Moved\r\nLocation: {elsewhere}/v0/switches\r\nContent-Length: 0\r\n\r\n"
        );
        let (url, asked) = canned(answer.into_bytes());
        let e = error(&mut reader(&url, auditor())).await;
        assert!(e.kind == Failure::Unreadable && e.sentence.contains(&format!("redirect ({status})")), "{e}");
        assert_eq!(asked.load(Ordering::SeqCst), 1);
    }
    assert_eq!(visits.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn bodies_are_bounded() {
    let mut endless = b"HTTP/1.0 200 OK\r\n\r\n[".to_vec();
    endless.resize(5 << 20, b' ');
    let (url, _) = canned(endless);
    let e = error(&mut reader(&url, auditor())).await;
    assert!(e.kind == Failure::Unreadable && e.sentence.contains("more than 4194304 bytes"), "{e}");
}

#[tokio::test]
async fn another_service_is_not_hil() {
    let (url, _) =
        canned(b"HTTP/1.0 404 NOT FOUND\r\n\r\n<!DOCTYPE HTML>\n<title>404 Not Found</title>".to_vec());
    let e = error(&mut reader(&url, auditor())).await;
    assert!(
        e.sentence.contains("[html: 404 Not Found]") && e.sentence.contains("check that `url` is HIL's API"),
        "{e}"
    );
}

/// An empty HIL over TLS with this certificate.
fn tls(chain: &rcgen::Certificate, key: &KeyPair) -> u16 {
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![chain.der().clone()], key)
        .unwrap();
    let config = Arc::new(config);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(stream) = stream else { return };
            let config = Arc::clone(&config);
            std::thread::spawn(move || serve_tls(stream, config));
        }
    });
    port
}

fn serve_tls(stream: TcpStream, config: Arc<rustls::ServerConfig>) -> Option<()> {
    let mut stream = rustls::StreamOwned::new(rustls::ServerConnection::new(config).ok()?, stream);
    // Keeps the connection, as HIL behind a real web server does.
    loop {
        let head = request(&mut stream).ok().filter(|h| !h.is_empty())?;
        let body = if head.starts_with("GET /v0/networks ") { "{}" } else { "[]" };
        let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Type: text/html\r\n\r\n{body}");
        stream.write_all(answer.as_bytes()).and_then(|()| stream.flush()).ok()?;
    }
}

#[tokio::test]
async fn certificates_are_verified_and_told() {
    let mut ca = CertificateParams::new(Vec::<String>::new()).unwrap();
    ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca = CertifiedIssuer::self_signed(ca, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let issue = |name: &str, until: i32| {
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        params.not_after = rcgen::date_time_ymd(until, 1, 1);
        params.signed_by(&key, &ca).unwrap()
    };
    let strict = |port: u16, pem: Option<String>| {
        let mut config = Config::new(format!("https://localhost:{port}"), Auth::None);
        config.ca = pem.map(String::into_bytes);
        config.request_timeout = Duration::from_secs(1);
        Hil::new(&config)
    };

    let good = tls(&issue("localhost", 4000), &key);
    let reading = read(&mut strict(good, Some(ca.pem())).unwrap()).await;
    assert_eq!(reading.outcome.unwrap(), Declared::default());
    let identity = reading.evidence.identity.unwrap();
    assert!(identity.starts_with("tls certificate sha256:") && identity.len() == 23 + 64, "{identity}");

    let mut other = CertificateParams::new(Vec::<String>::new()).unwrap();
    other.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let other = CertifiedIssuer::self_signed(other, KeyPair::generate().unwrap()).unwrap();
    for (port, pem, words) in [
        (good, other.pem(), "certificate"),
        (tls(&issue("localhost", 2001), &key), ca.pem(), "expired"),
        (tls(&issue("hil.example", 4000), &key), ca.pem(), "not valid for name"),
    ] {
        let e = error(&mut strict(port, Some(pem)).unwrap()).await;
        assert!(e.kind == Failure::SourceChanged && e.sentence.contains(words), "{words}: {:?} {e}", e.kind);
    }
    // Plain HTTP to a TLS port, and the reverse.
    let e = error(&mut reader(&format!("http://127.0.0.1:{good}"), Auth::None)).await;
    assert_ne!(e.kind, Failure::SourceChanged, "{e}");
    let (_cloud, server, _) = lab(World::two_tenants()).await;
    let e = error(&mut strict(server.address().port(), Some(ca.pem())).unwrap()).await;
    assert_ne!(e.kind, Failure::SourceChanged, "{e}");
}
