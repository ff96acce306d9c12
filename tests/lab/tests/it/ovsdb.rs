//! The OVSDB server.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use isoledger_lab::ovsdb::Datum;
use isoledger_lab::{Cloud, Endpoint, Lab, MirrorSpec, OvsHost, OvsdbOptions, OvsdbServer, PortVlans, World};
use serde_json::{Value, json};
use tokio::net::UnixStream;

use crate::common::{Rpc, fixture, shared_data, within};

/// A recorded session, one JSON document a line: `request`, `reply`, `change`, `notification`.
fn session(text: &str) -> Vec<(String, Value)> {
    let steps = text.lines().map(|line| {
        let step: BTreeMap<String, Value> = serde_json::from_str(line).unwrap();
        step.into_iter().next().unwrap()
    });
    steps.collect()
}

/// Visits every object that is a row.
fn rows<'a>(value: &'a Value, found: &mut Vec<&'a serde_json::Map<String, Value>>) {
    match value {
        Value::Array(items) => items.iter().for_each(|v| rows(v, found)),
        Value::Object(members) => {
            if members.contains_key("_uuid") {
                found.push(members);
            }
            members.values().for_each(|v| rows(v, found));
        }
        _ => {}
    }
}

/// What to call each row: its name, told apart from rows of other tables by what else it has.
fn names(steps: &[&Value]) -> BTreeMap<String, String> {
    let mut found = Vec::new();
    steps.iter().for_each(|v| rows(v, &mut found));
    let kinds = ["tag", "ofport", "mac_in_use", "ports", "select_all", "target", "bridges"];
    found
        .into_iter()
        .filter_map(|row| {
            let kind = kinds.iter().find(|k| row.contains_key(**k))?;
            let name = row.get("name").or(row.get("target")).and_then(Value::as_str).unwrap_or("");
            // An interface has both ofport and mac_in_use where both were asked for.
            let kind = if *kind == "ofport" { "mac_in_use" } else { kind };
            Some((row["_uuid"][1].as_str()?.to_owned(), format!("{kind}={name}")))
        })
        .collect()
}

fn is_uuid(text: &str) -> bool {
    text.len() == 36 && text.bytes().filter(|b| *b == b'-').count() == 4
}

/// The value with names for UUIDs, and the members of sets, and rows, in one order: neither has one.
fn canonical(value: &Value, names: &BTreeMap<String, String>) -> Value {
    let name = |text: &str| names.get(text).cloned().unwrap_or_else(|| "a row".to_owned());
    match value {
        Value::String(text) if is_uuid(text) => json!(name(text)),
        Value::Array(items) => {
            let mut items: Vec<Value> = items.iter().map(|v| canonical(v, names)).collect();
            if let [Value::String(tag), Value::Array(members)] = items.as_mut_slice()
                && tag == "set"
            {
                members.sort_by_key(Value::to_string);
            }
            if items.iter().all(Value::is_object) && items.iter().all(|v| v.get("rows").is_none()) {
                items.sort_by_key(Value::to_string);
            }
            Value::Array(items)
        }
        Value::Object(members) => members
            .iter()
            .filter(|(key, _)| *key != "_version")
            .map(|(key, v)| (if is_uuid(key) { name(key) } else { key.clone() }, canonical(v, names)))
            .collect::<serde_json::Map<_, _>>()
            .into(),
        other => other.clone(),
    }
}

fn text_of<'a>(row: &'a serde_json::Map<String, Value>, column: &str) -> Option<&'a str> {
    row.get(column).and_then(Value::as_str)
}

/// Where two values first differ.
fn difference(ours: &Value, theirs: &Value, at: &str) -> Option<String> {
    match (ours, theirs) {
        (Value::Array(a), Value::Array(b)) if a.len() == b.len() => {
            a.iter().zip(b).enumerate().find_map(|(n, (a, b))| difference(a, b, &format!("{at}[{n}]")))
        }
        (Value::Object(a), Value::Object(b)) if a.keys().eq(b.keys()) => {
            a.iter().find_map(|(k, v)| difference(v, &b[k], &format!("{at}.{k}")))
        }
        _ if ours == theirs => None,
        _ => Some(format!("{at}: ours {ours}, theirs {theirs}")),
    }
}

/// Gives the emulated hardware the addresses of the real one, as far as the session shows them.
fn borrow_addresses(host: &mut OvsHost, steps: &[(String, Value)]) {
    let mut found = Vec::new();
    steps.iter().filter(|(kind, _)| kind == "reply").for_each(|(_, v)| rows(v, &mut found));
    for row in found {
        for (table, column) in [("Interface", "mac_in_use"), ("Bridge", "datapath_id")] {
            if let (Some(name), Some(value)) = (text_of(row, "name"), text_of(row, column)) {
                host.set(table, name, column, value).unwrap();
            }
        }
    }
}

fn pull(host: &mut OvsHost, change: &Value) {
    let text = |v: &Value| v.as_str().unwrap().to_owned();
    let (lever, about) = change.as_object().unwrap().iter().next().unwrap();
    match lever.as_str() {
        "set" => {
            let value = match &about[2] {
                Value::Number(n) => Datum::from(n.as_i64().unwrap()),
                Value::Array(pair) if pair[0] == "set" => {
                    Datum::set(pair[1].as_array().unwrap().iter().map(|v| v.as_i64().unwrap()))
                }
                Value::Array(pair) => Datum::map(
                    pair[1]
                        .as_array()
                        .unwrap()
                        .iter()
                        .map(|p| (p[0].as_str().unwrap(), p[1].as_str().unwrap())),
                ),
                other => panic!("{other}"),
            };
            host.set_port(&text(&about[0]), &text(&about[1]), value).unwrap();
        }
        "del-port" => host.del_port(&text(about)).unwrap(),
        "remove-mirror" => host.remove_mirror(&text(about)).unwrap(),
        "remove-controllers" => host.remove_controllers(&text(about)).unwrap(),
        other => panic!("no lever {other}"),
    }
}

/// Asks the emulator what the real server was asked, pulls the levers that were pulled then, and compares.
async fn replay(host: OvsHost, text: &str) -> (usize, Cloud) {
    let steps = session(text);
    let mut world = World::new();
    *world.add_host("real") = host;
    let host = world.host_mut("real").unwrap();
    let cfg = |column| {
        let db = host.database();
        db.get("Open_vSwitch", db.root(), column).unwrap().ints().next().unwrap()
    };
    let (cur_cfg, next_cfg) = (cfg("cur_cfg"), cfg("next_cfg"));
    borrow_addresses(host, &steps);
    host.set_cfg(cur_cfg, next_cfg).unwrap();
    let cloud = Cloud::new(world);
    let server = OvsdbServer::start(&cloud, "real", Endpoint::Tcp, OvsdbOptions::default()).await.unwrap();
    let mut rpc = Rpc::connect(server.address()).await;
    let mut ours = Vec::new();
    for (kind, value) in &steps {
        match kind.as_str() {
            "request" => rpc.send(value).await,
            "reply" | "notification" => ours.push(rpc.receive().await.expect("the server is there")),
            "change" => cloud.edit(|w| pull(w.host_mut("real").unwrap(), value)),
            other => panic!("what is {other}?"),
        }
    }
    // Nothing that the real one would not have said: this answer is the next.
    rpc.send(&json!({"id": "last", "method": "echo", "params": []})).await;
    assert_eq!(rpc.receive().await.unwrap()["id"], "last");
    let theirs: Vec<&Value> =
        steps.iter().filter(|(kind, _)| kind == "reply" || kind == "notification").map(|(_, v)| v).collect();
    let (our_names, their_names) = (names(&ours.iter().collect::<Vec<_>>()), names(&theirs));
    assert!(!their_names.is_empty(), "the session names its rows");
    for (our, their) in ours.iter().zip(&theirs) {
        let different = difference(&canonical(our, &our_names), &canonical(their, &their_names), "");
        assert_eq!(different, None, "in the reply {their}");
    }
    (theirs.len(), cloud)
}

/// A host whose bridge `br0` is on Open vSwitch's dummy datapath, as the real ones of the sessions.
fn dummy_host() -> OvsHost {
    let mut world = World::new();
    let host = world.add_host("real");
    host.interface_type = "dummy".to_owned();
    host.add_bridge("br0").unwrap();
    host.set_port_vlans("br0", &PortVlans::All).unwrap();
    host.set("Bridge", "br0", "datapath_type", "dummy").unwrap();
    host.clone()
}

#[tokio::test]
async fn a_captured_session_and_ours_are_interchangeable() {
    let Some(folder) = shared_data("ovsdb") else { return };
    let mut host = dummy_host();
    for (port, vlans) in [
        ("p1", PortVlans::Access(100)),
        ("p2", PortVlans::Access(200)),
        ("p3", PortVlans::HilReverted),
        ("p4", PortVlans::Native { untagged: 100, tagged: vec![200, 300] }),
        ("p5", PortVlans::Tunnel { outer: 500, inner: vec![10, 20] }),
        ("p6", PortVlans::All),
        ("p7", PortVlans::All),
    ] {
        host.add_port("br0", port, &vlans).unwrap();
    }
    host.add_bond("br0", "bond0", &["b1", "b2"], &PortVlans::Trunk(vec![100, 200])).unwrap();
    host.set_port("bond0", "vlan_mode", Datum::empty()).unwrap();
    host.set_port("bond0", "bond_mode", "active-backup").unwrap();
    host.add_fake_bridge("br0", "fake100", 100).unwrap();
    host.add_port("br0", "pf", &PortVlans::All).unwrap();
    host.set_port("pf", "tag", 100u16).unwrap();
    let span = MirrorSpec { select_all: true, output_vlan: Some(900), ..MirrorSpec::default() };
    host.add_mirror("br0", "span", &span).unwrap();
    host.set_cfg(17, 17).unwrap();
    let text = std::fs::read_to_string(folder.join("session.jsonl")).unwrap();
    let (replies, cloud) = replay(host, &text).await;
    assert_eq!(replies, 3);
    cloud.assert_only_reads();
}

#[tokio::test]
async fn our_own_session_with_a_real_server_is_repeated_word_for_word() {
    let mut host = dummy_host();
    host.set("Bridge", "br0", "fail_mode", "secure").unwrap();
    host.set("Bridge", "br0", "protocols", Datum::set(["OpenFlow13", "OpenFlow14", "OpenFlow15"])).unwrap();
    host.set("Bridge", "br0", "flood_vlans", 30u16).unwrap();
    for (port, vlans) in [
        ("e1", PortVlans::Access(10)),
        ("e2", PortVlans::Trunk(vec![10, 20])),
        ("e3", PortVlans::NativeTagged { native: 20, tagged: vec![30] }),
        ("e4", PortVlans::All),
    ] {
        host.add_port("br0", port, &vlans).unwrap();
    }
    host.set_port("e3", "other_config", Datum::map([("priority-tags", "true")])).unwrap();
    host.set_port("e3", "external_ids", Datum::map([("a", "b"), ("c", "d")])).unwrap();
    host.add_bond("br0", "lag1", &["l1", "l2"], &PortVlans::All).unwrap();
    host.add_patch("br0", "pat0", "pat1", &PortVlans::All).unwrap();
    let span = MirrorSpec {
        select_src_ports: vec!["e1".to_owned(), "e2".to_owned()],
        select_dst_ports: vec!["e1".to_owned()],
        select_vlans: vec![10, 20],
        output_port: Some("e4".to_owned()),
        ..MirrorSpec::default()
    };
    host.add_mirror("br0", "span1", &span).unwrap();
    host.add_controller("br0", "tcp:127.0.0.1:1").unwrap();
    let text = fixture("ovsdb/openvswitch-3.1.0-session.jsonl");
    let (replies, cloud) = replay(host, &text).await;
    assert!(replies > 40, "{replies}");
    // Two requests nobody knows. What is not known to be a read is not called one.
    let unknown: Vec<String> = cloud.commands().into_iter().filter(|c| c.write).map(|c| c.what).collect();
    assert_eq!(unknown, ["transact nosuch Port, select Port", "nosuch"]);
}

#[tokio::test]
async fn every_write_is_refused_and_recorded() {
    let lab = Lab::start(World::two_tenants()).await.unwrap();
    let mut rpc = Rpc::connect(&lab.ovsdb("sw1").unwrap().tcp).await;
    for op in ["insert", "update", "mutate", "delete"] {
        let operation = json!({"op": op, "table": "Port", "where": [], "row": {}, "mutations": []});
        let select = json!({"op": "select", "table": "Bridge", "where": [], "columns": ["name"]});
        let reply = rpc.ask("transact", json!(["Open_vSwitch", select, operation, select])).await;
        assert_eq!(reply["result"][0]["rows"], json!([{"name": "br-sw1"}]));
        assert_eq!(reply["result"][1]["error"], "not allowed");
        let words = format!("{op} operation not allowed when database server is in read only mode");
        assert_eq!(reply["result"][1]["details"], json!(words));
        assert_eq!(reply["result"][2], Value::Null);
    }
    assert_eq!(rpc.ask("lock", json!(["x"])).await["error"]["error"], "not allowed");
    let writes: Vec<bool> = lab.commands().iter().map(|c| c.write).collect();
    assert_eq!(writes, [true; 5]);
    assert_eq!(lab.commands()[1].what, "transact select Bridge, update Port, select Bridge");
}

#[tokio::test]
async fn documents_need_nothing_between_them_and_may_come_in_pieces() {
    let lab = Lab::start(World::two_tenants()).await.unwrap();
    let path = lab.ovsdb("sw2").unwrap().unix.path().unwrap().to_owned();
    let mut rpc = Rpc::over(UnixStream::connect(path).await.unwrap());
    let text =
        r#"{"method":"echo","params":[1],"id":1}{"method":"echo","params":["}{\""],"id":2} {"method":"li"#;
    tokio::io::AsyncWriteExt::write_all(&mut rpc.stream, text.as_bytes()).await.unwrap();
    assert_eq!(rpc.receive().await.unwrap()["result"], json!([1]));
    assert_eq!(rpc.receive().await.unwrap()["result"], json!(["}{\""]));
    tokio::io::AsyncWriteExt::write_all(&mut rpc.stream, br#"st_dbs","params":[],"id":3}"#).await.unwrap();
    assert_eq!(rpc.receive().await.unwrap()["result"], json!(["Open_vSwitch", "_Server"]));
    // What is no JSON, or no JSON-RPC, ends the connection.
    tokio::io::AsyncWriteExt::write_all(&mut rpc.stream, b"}").await.unwrap();
    assert_eq!(rpc.receive().await, None);
}

#[tokio::test]
async fn an_idle_client_is_probed_and_a_dead_one_left() {
    let cloud = Cloud::new(World::two_tenants());
    let options = OvsdbOptions { probe: Some(Duration::from_millis(20)) };
    let server = OvsdbServer::start(&cloud, "sw1", Endpoint::Tcp, options).await.unwrap();
    let mut rpc = Rpc::connect(server.address()).await;
    for _ in 0..2 {
        let echo = rpc.receive().await.unwrap();
        assert_eq!((&echo["method"], &echo["params"]), (&json!("echo"), &json!([])));
        rpc.send(&json!({"id": echo["id"], "result": [], "error": null})).await;
    }
    let echo = rpc.receive().await.unwrap();
    assert_eq!(echo["method"], "echo");
    assert_eq!(rpc.receive().await, None, "it was not answered");
}

#[tokio::test]
async fn monitors_see_changes_shorter_than_any_poll() {
    let lab = Lab::start(World::two_tenants()).await.unwrap();
    let mut rpc = Rpc::connect(&lab.ovsdb("sw1").unwrap().tcp).await;
    rpc.ask("monitor", json!(["Open_vSwitch", "m", {"Port": {"columns": ["name", "tag"]}}])).await;
    for tag in [200u16, 101] {
        lab.edit(|w| w.switch_mut("sw1").unwrap().set_port("sw1p3", "tag", tag)).unwrap();
    }
    for (old, new) in [(101, 200), (200, 101)] {
        let update = rpc.receive().await.unwrap();
        let rows = update["params"][1]["Port"].as_object().unwrap();
        let row = rows.values().next().unwrap();
        assert_eq!((&row["old"]["tag"], &row["new"]["tag"]), (&json!(old), &json!(new)));
    }
}

#[tokio::test]
async fn tls_is_spoken_with_the_certificate_given() {
    let certified = rcgen::generate_simple_self_signed(vec!["switch.test".to_owned()]).unwrap();
    let certificate = certified.cert.der().clone();
    let key = rustls::pki_types::PrivatePkcs8KeyDer::from(certified.signing_key.serialize_der());
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let server_config = rustls::ServerConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.clone()], key.into())
        .unwrap();
    let cloud = Cloud::new(World::two_tenants());
    let endpoint = Endpoint::Tls(Arc::new(server_config));
    let server = OvsdbServer::start(&cloud, "sw1", endpoint, OvsdbOptions::default()).await.unwrap();
    assert!(server.address().to_ovs().starts_with("ssl:127.0.0.1:"));

    let mut roots = rustls::RootCertStore::empty();
    roots.add(certificate).unwrap();
    let client_config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let tcp = tokio::net::TcpStream::connect(server.address().socket_addr().unwrap()).await.unwrap();
    let connector = tokio_rustls::TlsConnector::from(Arc::new(client_config));
    let tls = within(connector.connect("switch.test".try_into().unwrap(), tcp)).await.unwrap();
    let rows = Rpc::over(tls).rows("Bridge", &["name"]).await;
    assert_eq!(rows, [json!({"name": "br-sw1"})]);
}
