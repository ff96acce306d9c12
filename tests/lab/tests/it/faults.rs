//! Peers that fail on the wire, whatever they speak.

use std::io::ErrorKind;
use std::time::{Duration, Instant};

use isoledger_lab::{Fault, Lab, PortVlans, Service, SwitchAddresses, World};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::common::{Rpc, http, parse, raw, within};

const ADMIN: Option<&str> = Some("auditor:lab-auditor");
const REQUEST: &[u8] =
    b"GET /v0/headnode_images/ HTTP/1.0\r\nAuthorization: Basic YWxpY2U6bGFiLWFsaWNl\r\n\r\n";
const ANSWER: &str = "[\"img1\", \"img2\"]";

async fn lab() -> Lab {
    Lab::start(World::two_tenants()).await.unwrap()
}

fn sw1(lab: &Lab) -> SwitchAddresses {
    lab.switches().into_iter().find(|s| s.switch == "sw1").unwrap()
}

#[tokio::test]
async fn refused_connections_come_back_on_the_same_address() {
    let lab = lab().await;
    let addresses = sw1(&lab);
    for (service, address) in [
        (Service::Hil, lab.hil_url().strip_prefix("http://").unwrap().parse().unwrap()),
        (Service::Ovsdb("sw1".into()), addresses.ovsdb.tcp.socket_addr().unwrap()),
        (
            Service::OpenFlow { host: "sw1".into(), bridge: "br-sw1".into() },
            addresses.openflow.tcp.socket_addr().unwrap(),
        ),
    ] {
        let refused = async || loop {
            match TcpStream::connect(address).await {
                Err(error) if error.kind() == ErrorKind::ConnectionRefused => return,
                // The listener closes as soon as its task hears of the fault; who connected just then is reset.
                Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset),
                Ok(_) => tokio::task::yield_now().await,
            }
        };
        lab.edit(|w| w.set_fault(service.clone(), Fault::Refuse));
        within(refused()).await;
        lab.edit(|w| w.clear_fault(&service));
        within(async { while TcpStream::connect(address).await.is_err() {} }).await;
    }
}

#[tokio::test]
async fn a_refusing_unix_socket_comes_back_too() {
    let lab = lab().await;
    let path = sw1(&lab).ovsdb.unix.path().unwrap().to_owned();
    lab.edit(|w| w.set_fault(Service::Ovsdb("sw1".into()), Fault::Refuse));
    within(async {
        while tokio::net::UnixStream::connect(&path).await.is_ok() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    lab.edit(|w| w.clear_fault(&Service::Ovsdb("sw1".into())));
    let stream = within(async {
        loop {
            match tokio::net::UnixStream::connect(&path).await {
                Ok(stream) => return stream,
                Err(_) => tokio::task::yield_now().await,
            }
        }
    })
    .await;
    assert_eq!(Rpc::over(stream).rows("Bridge", &["name"]).await, [json!({"name": "br-sw1"})]);
}

#[tokio::test]
async fn a_silent_service_reads_and_never_answers() {
    let lab = lab().await;
    for fault in [Fault::Silent, Fault::Unaccepted] {
        lab.edit(|w| w.set_fault(Service::Hil, fault.clone()));
        let mut stream = TcpStream::connect(lab.hil_url().strip_prefix("http://").unwrap()).await.unwrap();
        stream.write_all(REQUEST).await.unwrap();
        let mut byte = [0];
        let heard = tokio::time::timeout(Duration::from_millis(60), stream.read(&mut byte)).await;
        heard.expect_err("nothing may come");
        lab.edit(|w| w.clear_fault(&Service::Hil));
        let mut rest = String::new();
        within(stream.read_to_string(&mut rest)).await.unwrap();
        // Silence ends with the connection; what was never accepted is served late.
        assert_eq!(rest.ends_with(ANSWER), fault == Fault::Unaccepted, "{fault:?}: {rest:?}");
    }
    assert_eq!(lab.commands().len(), 2, "the request was read all the same");
}

#[tokio::test]
async fn answers_are_late_slow_cut_or_garbage() {
    let lab = lab().await;
    let url = lab.hil_url();
    let whole = within(raw(&url, REQUEST)).await;
    assert!(parse(&whole).body == ANSWER);
    let with = async |fault: Fault| {
        lab.edit(|w| w.set_fault(Service::Hil, fault));
        let start = Instant::now();
        let answer = within(raw(&url, REQUEST)).await;
        (answer, start.elapsed())
    };
    let (answer, took) = with(Fault::Delay(Duration::from_millis(50))).await;
    assert!(answer == whole && took >= Duration::from_millis(50));
    let (answer, took) = with(Fault::Trickle(Duration::from_millis(1))).await;
    assert!(answer == whole && took >= Duration::from_millis(whole.len() as u64));
    let (answer, _) = with(Fault::Garbage(b"\0\xffnot HTTP".to_vec())).await;
    assert_eq!(answer, b"\0\xffnot HTTP");
    let (answer, _) = with(Fault::Cut { after: 30 }).await;
    assert_eq!(answer, whole[..30]);
}

#[tokio::test]
async fn a_half_closed_connection_stays_open_until_the_fault_goes() {
    let lab = lab().await;
    let service = Service::Ovsdb("sw1".into());
    lab.edit(|w| w.set_fault(service.clone(), Fault::HalfClose { after: 5 }));
    let mut rpc = Rpc::connect(&sw1(&lab).ovsdb.tcp).await;
    rpc.send(&json!({"id": 1, "method": "list_dbs", "params": []})).await;
    let mut heard = Vec::new();
    within(rpc.stream.read_to_end(&mut heard)).await.unwrap();
    assert_eq!(heard.len(), 5);
    // Our half still works: the other end reads on.
    rpc.send(&json!({"id": 2, "method": "list_dbs", "params": []})).await;
    lab.edit(|w| w.clear_fault(&service));
    let rows = Rpc::connect(&sw1(&lab).ovsdb.tcp).await.rows("Bridge", &["name"]).await;
    assert_eq!(rows.len(), 1);
}

#[tokio::test]
async fn one_silent_switch_does_not_silence_the_other() {
    let lab = lab().await;
    lab.edit(|w| w.set_fault(Service::Ovsdb("sw1".into()), Fault::Silent));
    let mut silent = Rpc::connect(&lab.ovsdb("sw1").unwrap().tcp).await;
    silent.send(&json!({"id": 1, "method": "list_dbs", "params": []})).await;
    let rows = Rpc::connect(&lab.ovsdb("sw2").unwrap().tcp).await.rows("Bridge", &["name"]).await;
    assert_eq!(rows, [json!({"name": "br-sw2"})]);
    assert_eq!(http(&lab.hil_url(), "GET", "/v0/switches", ADMIN, None).await.json(), json!(["sw1", "sw2"]));
}

#[tokio::test]
async fn a_power_cut_brings_back_the_startup_configuration() {
    let lab = lab().await;
    let mut rpc = Rpc::connect(&lab.ovsdb("sw1").unwrap().tcp).await;
    let before = rpc.rows("Port", &["name", "tag"]).await;
    lab.edit(|w| {
        w.attach("node01", "eth0", "blue-net", Some("vlan/101")).unwrap_err();
        w.detach("node01", "eth0", "red-net").unwrap();
        let sw1 = w.switch_mut("sw1").unwrap();
        sw1.add_port("br-sw1", "rogue", &PortVlans::All).unwrap();
    });
    assert_ne!(rpc.rows("Port", &["name", "tag"]).await, before);
    lab.edit(|w| w.power_cut("sw1").unwrap());
    assert_eq!(rpc.receive().await, None, "the power took the connection");
    let mut rpc = Rpc::connect(&lab.ovsdb("sw1").unwrap().tcp).await;
    assert_eq!(rpc.rows("Port", &["name", "tag"]).await, before);
    assert!(!lab.read(|w| w.attachments.iter().any(|a| a.node == "node01")), "HIL was not there to see it");
}

#[tokio::test]
async fn dropping_the_lab_closes_everything() {
    let lab = lab().await;
    let addresses = sw1(&lab);
    let mut rpc = Rpc::connect(&addresses.ovsdb.tcp).await;
    assert_eq!(rpc.rows("Bridge", &["name"]).await.len(), 1);
    let socket = addresses.ovsdb.unix.path().unwrap().to_owned();
    drop(lab);
    assert_eq!(rpc.receive().await, None);
    assert!(!socket.exists());
    within(async { while TcpStream::connect(addresses.ovsdb.tcp.socket_addr().unwrap()).await.is_ok() {} })
        .await;
}
