//! HIL's REST server.

use std::time::{Duration, Instant};

use isoledger_lab::{
    ActionStatus, Cloud, DaemonDeath, DaemonStep, Driver, HilServer, Lab, LabOptions, PortVlans, Service,
    SwitchKind, When, World, WorldError,
};
use serde_json::{Value, json};

use crate::common::{Rpc, fixture, http, parse, raw, shared_data, within};

const ADMIN: Option<&str> = Some("auditor:lab-auditor");

/// What is the same about two HTML pages: their title.
fn title(page: &str) -> &str {
    let from = page.find("<title>").expect("an HTML page") + "<title>".len();
    &page[from..from + page[from..].find("</title>").unwrap()]
}

/// Asks what was asked of a real HIL, and compares with what it answered.
async fn compare(url: &str, name: &str, capture: &Value, login: impl Fn(&str) -> String) {
    let request = &capture["request"];
    let text = |v: &Value| v.as_str().map(str::to_owned);
    let (method, path) = (text(&request["method"]).unwrap(), text(&request["path"]).unwrap());
    let login = text(&request["auth"]).map(|user| login(&user));
    let body = Some(&request["body"]).filter(|b| !b.is_null());
    let answer = http(url, &method, &path, login.as_deref(), body).await;
    assert_eq!(json!(answer.status), capture["status"], "{name}: {answer:?}");
    assert_eq!(json!(answer.content_type), capture["content_type"], "{name}: {answer:?}");
    if answer.content_type == "text/html" {
        assert_eq!(title(&answer.body), title(capture["raw_body"].as_str().unwrap()), "{name}");
        return;
    }
    let mut ours = answer.json();
    let mut theirs: Value = serde_json::from_str(capture["raw_body"].as_str().unwrap()).unwrap();
    // The label of a new action is anybody's guess.
    for side in [&mut ours, &mut theirs] {
        if let Some(id) = side.get_mut("status_id") {
            assert_eq!(id.as_str().map(str::len), Some(36), "{name}");
            *id = json!("");
        }
    }
    assert_eq!(ours, theirs, "{name}");
}

/// The cloud whose answers were captured: see the README there.
fn captured_world() -> World {
    let mut w = World::new();
    w.daemon.driver = Driver::StockHil;
    for project in ["red", "blue"] {
        w.add_project(project);
    }
    w.add_user("admin", "admin", true, &[]);
    w.add_user("alice", "alice", false, &["red"]);
    w.add_user("bob", "bob", false, &["blue"]);
    w.hil.extensions = [
        "auth.database",
        "network_allocators.vlan_pool",
        "switches.brocade",
        "switches.dell",
        "switches.dellnos9",
        "switches.mock",
        "switches.n3000",
        "switches.nexus",
        "switches.ovs",
    ]
    .map(|e| format!("hil.ext.{e}"))
    .to_vec();
    for switch in ["sw1", "sw2"] {
        w.add_ovs_switch_on(switch, "hil", &format!("br-{switch}")).unwrap();
        w.switch_mut(switch).unwrap().set_port_vlans(&format!("br-{switch}"), &PortVlans::All).unwrap();
        for port in 1..=4 {
            w.add_port(switch, &format!("{switch}p{port}")).unwrap();
        }
    }
    w.add_network("red-net", Some("red"), &["red", "blue"], "100");
    w.add_network("blue-net", Some("blue"), &["blue"], "101");
    w.add_network("pub-net", None, &[], "102");
    w.add_network("prov-net", None, &["red"], "500");
    let nics = [
        ("node01", Some("red"), "eth0", "de:ad:be:ef:00:01", Some(("sw1", "sw1p1"))),
        ("node01", Some("red"), "eth1", "de:ad:be:ef:01:01", Some(("sw1", "sw1p3"))),
        ("node02", Some("red"), "eth0", "de:ad:be:ef:00:02", Some(("sw1", "sw1p2"))),
        ("node02", Some("red"), "eth1", "de:ad:be:ef:01:02", None),
        ("node03", Some("blue"), "eth0", "de:ad:be:ef:00:03", Some(("sw2", "sw2p1"))),
        ("node04", None, "eth0", "de:ad:be:ef:00:04", Some(("sw2", "sw2p2"))),
    ];
    for (node, project, nic, mac, port) in nics {
        if w.node(node).is_none() {
            w.add_node(node, project);
        }
        w.add_nic(node, nic, mac).unwrap();
        if let Some((switch, port)) = port {
            w.wire(node, nic, switch, port).unwrap();
        }
    }
    w.nodes[0].metadata.push(("EK".to_owned(), "\"pk\"".to_owned()));
    for (node, nic, network, channel) in [
        ("node01", "eth0", "red-net", None),
        ("node01", "eth0", "prov-net", Some("vlan/500")),
        ("node01", "eth0", "pub-net", Some("vlan/102")),
        ("node01", "eth1", "red-net", None),
        ("node02", "eth0", "red-net", None),
        ("node03", "eth0", "blue-net", None),
        ("node03", "eth0", "red-net", Some("vlan/100")),
    ] {
        w.attach(node, nic, network, channel).unwrap();
    }
    w
}

#[tokio::test]
async fn a_real_hils_answers_and_ours_are_interchangeable() {
    let Some(folder) = shared_data("hil") else { return };
    let capture = |name: &str| -> Value {
        serde_json::from_str(&std::fs::read_to_string(folder.join(name)).unwrap()).unwrap()
    };
    let login = |user: &str, name: &str| match name {
        "err_bad_password.json" => format!("{user}:wrong"),
        _ => format!("{user}:{user}"),
    };
    // The lab's daemon runs as well, so that what bob asks for below is DONE by itself.
    let lab = Lab::start(captured_world()).await.unwrap();
    let url = lab.hil_url();

    let mut names: Vec<String> = std::fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.ends_with(".json") && capture(name).get("request").is_some())
        .collect();
    names.sort();
    let mut compared = 0;
    let later = |name: &str| {
        let vendor = ["brocade1", "dell1", "mock1", "n3k1", "nexus1", "nos9", "switches_all"];
        vendor.iter().any(|v| name.contains(v)) || name.contains("networking_action")
    };
    let is_write =
        |name: &str| ["PUT", "POST"].map(Value::from).contains(&capture(name)["request"]["method"]);
    for name in names.iter().filter(|n| !later(n) && !is_write(n)) {
        compare(&url, name, &capture(name), |user| login(user, name)).await;
        compared += 1;
    }
    for name in ["err_wrong_method.json", "connect_network_202__bob.json"] {
        compare(&url, name, &capture(name), |user| login(user, name)).await;
        compared += 1;
    }
    // Same action, our UUID; and the revert that the capture shows on the free node.
    let connected = lab.read(|w| w.actions.iter().rfind(|a| a.node == "node03").unwrap().uuid);
    let reverted = lab.edit(|w| w.begin_revert("sw2", "sw2p2").unwrap());
    for (name, uuid) in [
        ("networking_action_DONE__bob.json", connected),
        ("networking_action_revert_DONE__admin.json", reverted),
    ] {
        done(&lab, uuid).await;
        let mut capture = capture(name);
        capture["request"]["path"] = json!(format!("/v0/networking_action/{uuid}"));
        compare(&url, name, &capture, |user| login(user, name)).await;
        compared += 1;
    }
    // What the driver did is what ovs-vsctl then showed. sw2p2 had been edited by hand.
    lab.edit(|w| w.switch_mut("sw2").unwrap().set_port("sw2p2", "tag", 101u16)).unwrap();
    let list = capture("ovs_list_port.json");
    let columns: Vec<&str> =
        list["headings"].as_array().unwrap().iter().map(|h| h.as_str().unwrap()).collect();
    let mut ours: Vec<String> = Rpc::connect(&lab.ovsdb("hil").unwrap().tcp)
        .await
        .rows("Port", &columns)
        .await
        .iter()
        .map(|row| json!(columns.iter().map(|c| row[c].clone()).collect::<Vec<_>>()).to_string())
        .collect();
    let mut theirs: Vec<String> = list["data"].as_array().unwrap().iter().map(Value::to_string).collect();
    ours.sort();
    theirs.sort();
    assert_eq!(ours, theirs);

    lab.edit(|w| {
        for (switch, kind, port) in [
            ("dell1", SwitchKind::PowerConnect55xx, "gi1/0/5"),
            ("n3k1", SwitchKind::DellN3000, "gi1/0/6"),
            ("nexus1", SwitchKind::Nexus, "Ethernet1/12"),
            ("brocade1", SwitchKind::Brocade, "101/0/10"),
            ("nos9", SwitchKind::DellNos9, "1/3"),
            ("mock1", SwitchKind::Mock, "gi1/0/1"),
        ] {
            w.add_declared_switch(switch, kind).unwrap();
            w.register_port(switch, port).unwrap();
        }
    });
    for name in names.iter().filter(|n| later(n) && !n.contains("networking_action")) {
        compare(&url, name, &capture(name), |user| login(user, name)).await;
        compared += 1;
    }
    let name = "err_bad_port_name.json";
    compare(&url, name, &capture(name), |user| login(user, name)).await;
    compared += 1;
    // All that were captured but the registration of a switch of an unknown type, which the lab does not carry out.
    assert_eq!(compared, names.len() - 1, "of {names:?}");
}

async fn done(lab: &Lab, uuid: isoledger_lab::ovsdb::Uuid) {
    within(async {
        while lab.read(|w| w.action(uuid).unwrap().status) != ActionStatus::Done {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    })
    .await;
}

#[tokio::test]
async fn every_written_down_exchange_is_answered_so() {
    let mut world = World::two_tenants();
    world.add_network("pub-net", None, &[], "102");
    world.add_network("odd-net", None, &["red"], "4096");
    world.grant("blue-net", "red").unwrap();
    world.attach("node01", "eth0", "blue-net", Some("vlan/101")).unwrap();
    world.wire("node01", "eth1", "sw1", "sw1p4").unwrap();
    world.attach("node01", "eth1", "red-net", None).unwrap();
    world.nodes[5].metadata.push(("rack".to_owned(), "\"r\\u00fc1\"".to_owned()));
    let cloud = Cloud::new(world);
    let hil = HilServer::start(&cloud).await.unwrap();
    let exchanges: Vec<Value> = serde_json::from_str(&fixture("hil/exchanges.json")).unwrap();
    for exchange in &exchanges {
        let capture = json!({
            "request": {
                "method": exchange["ask"].as_str().unwrap().split(' ').next(),
                "path": exchange["ask"].as_str().unwrap().split(' ').nth(1),
                "auth": exchange["as"],
                "body": exchange["body"],
            },
            "status": exchange["status"],
            "content_type": exchange.get("page").map_or("text/html; charset=utf-8", |_| "text/html"),
            "raw_body": match exchange.get("page") {
                Some(page) => format!("<title>{}</title>", page.as_str().unwrap()),
                None => exchange["json"].to_string(),
            },
        });
        let login = |user: &str| user.to_owned();
        compare(&hil.url(), exchange["ask"].as_str().unwrap(), &capture, login).await;
    }
    assert!(exchanges.len() > 50, "{}", exchanges.len());
}

#[tokio::test]
async fn switch_moves_before_the_database_and_the_api_shows_the_old_state() {
    let mut world = World::two_tenants();
    world.daemon.alive = false;
    let cloud = Cloud::new(world);
    let hil = HilServer::start(&cloud).await.unwrap();
    let ask = async |method, path: &str, body: Option<Value>| {
        http(&hil.url(), method, path, ADMIN, body.as_ref()).await
    };
    let path = "/v0/node/node02/nic/eth0/detach_network";
    let body = Some(json!({"network": "red-net"}));
    let answer = ask("POST", path, body.clone()).await;
    assert_eq!(answer.status, 202);
    let status = format!("/v0/networking_action/{}", answer.json()["status_id"].as_str().unwrap());
    let blocked = ask("POST", path, body).await;
    assert_eq!((blocked.status, blocked.json()["type"].clone()), (409, json!("BlockedError")));

    let tag = || {
        cloud.read(|w| {
            let db = w.host("sw1").unwrap().database();
            db.get("Port", db.find("Port", "sw1p2").unwrap(), "tag").unwrap().ints().next()
        })
    };
    let networks = async || ask("GET", "/v0/node/node02", None).await.json()["nics"][0]["networks"].clone();
    assert_eq!((tag(), networks().await), (Some(100), json!({"vlan/native": "red-net"})));

    cloud.edit(|w| {
        w.restart_daemon();
        w.daemon.dies = Some(DaemonDeath::BeforeCommit);
        assert!(matches!(w.daemon_step(), Some(DaemonStep::Wrote(_))));
        assert!(matches!(w.daemon_step(), Some(DaemonStep::Died(_))));
        assert_eq!(w.daemon_step(), None);
    });
    assert_eq!(
        (tag(), networks().await),
        (None, json!({"vlan/native": "red-net"})),
        "the switch has moved alone"
    );
    assert_eq!(ask("GET", &status, None).await.json()["status"], "PENDING");

    cloud.edit(|w| {
        w.restart_daemon();
        w.run_daemon();
    });
    assert_eq!(networks().await, json!({}));
    assert_eq!(ask("GET", &status, None).await.json()["status"], "DONE");

    // A newer action on the nic replaces the old one, whose id is unknown from then on.
    cloud.edit(|w| w.attach("node02", "eth0", "red-net", None)).unwrap();
    assert_eq!(ask("GET", &status, None).await.status, 404);
}

#[tokio::test]
async fn a_switch_that_refuses_leaves_the_database_alone() {
    let mut world = World::two_tenants();
    world.daemon.fail_next = true;
    let refused = world.attach("node03", "eth0", "blue-net", None).unwrap_err();
    assert!(matches!(refused, WorldError::Refused(_)), "already attached: {refused}");
    let refused = world.detach("node03", "eth0", "blue-net").unwrap_err();
    assert_eq!(refused.to_string(), "the networking action on node03 eth0 is ERROR");
    assert!(world.attachments.iter().any(|a| a.node == "node03"));
    // A port that somebody deleted is refused by the switch itself.
    world.switch_mut("sw1").unwrap().del_port("sw1p3").unwrap();
    let refused = world.detach("node03", "eth0", "blue-net").unwrap_err();
    assert!(matches!(refused, WorldError::NotDone { status: ActionStatus::Error, .. }), "{refused}");
    // HIL takes 4096 for a VLAN, ovs-vsctl does not.
    world.add_network("odd-net", None, &[], "4096");
    let refused = world.attach("node04", "eth0", "odd-net", Some("vlan/4096")).unwrap_err();
    assert!(matches!(refused, WorldError::NotDone { status: ActionStatus::Error, .. }), "{refused}");
}

#[tokio::test]
async fn one_label_on_two_switches_kills_the_daemon() {
    let mut world = World::two_tenants();
    world.register_port("sw2", "sw1p1").unwrap();
    let refused = world.detach("node01", "eth0", "red-net").unwrap_err();
    assert!(matches!(refused, WorldError::NotDone { status: ActionStatus::Pending, .. }), "{refused}");
    assert!(!world.daemon.alive);
}

#[tokio::test]
async fn the_daemon_of_a_lab_works_by_itself_at_its_pace() {
    let cloud = Cloud::new(World::two_tenants());
    cloud.edit(|w| w.daemon.commit_after = Duration::from_secs(3600));
    let lab = Lab::start_with(cloud, LabOptions::default()).await.unwrap();
    let mut rpc = Rpc::connect(&lab.ovsdb("sw1").unwrap().tcp).await;
    rpc.ask("monitor", json!(["Open_vSwitch", null, {"Port": {"columns": ["tag"]}}])).await;
    let body = json!({"network": "red-net"});
    let path = "/v0/node/node02/nic/eth0/detach_network";
    assert_eq!(http(&lab.hil_url(), "POST", path, ADMIN, Some(&body)).await.status, 202);
    // The switch is written without anybody asking; the database will be in an hour.
    let update = rpc.receive().await.unwrap();
    assert_eq!(update["method"], "update");
    assert!(lab.read(|w| w.attachments.iter().any(|a| a.node == "node02")));
    // … or at once, when somebody is impatient.
    let action = lab.edit(|w| {
        w.daemon.commit_after = Duration::ZERO;
        w.actions.iter().find(|a| a.node == "node02").unwrap().uuid
    });
    done(&lab, action).await;
    // By hand, nothing happens by itself: the daemon is asked twice for a step, and takes both.
    let action = lab.edit(|w| {
        w.daemon.by_hand = true;
        w.begin_attach("node02", "eth0", "red-net", None).unwrap()
    });
    assert_eq!(lab.edit(|w| w.daemon_step()), Some(DaemonStep::Wrote(action)));
    assert_eq!(lab.edit(|w| w.daemon_step()), Some(DaemonStep::Committed(action)));
}

#[tokio::test]
async fn one_request_at_a_time() {
    let cloud = Cloud::new(World::two_tenants());
    cloud.edit(|w| w.hil.auth_delay = Duration::from_millis(30));
    let hil = HilServer::start(&cloud).await.unwrap();
    let url = hil.url();
    let start = Instant::now();
    let ask = || http(&url, "GET", "/v0/nodes/all", ADMIN, None);
    let answers = tokio::join!(ask(), ask(), ask(), ask());
    for answer in [answers.0, answers.1, answers.2, answers.3] {
        assert_eq!(answer.status, 200);
    }
    // Sleeping is at least as long as asked, so four in a row cannot be faster than this on any machine.
    assert!(start.elapsed() >= Duration::from_millis(120), "{:?}", start.elapsed());
    // Without credentials there is no password to check, and no wait.
    assert_eq!(http(&url, "GET", "/v0/nodes/all", None, None).await.status, 401);
}

#[tokio::test]
async fn hooks_change_the_world_in_the_middle_of_a_poll() {
    let cloud = Cloud::new(World::two_tenants());
    let hil = HilServer::start(&cloud).await.unwrap();
    cloud.on(Service::Hil, When::Asks("/v0/node/node02".into()), |w| {
        w.detach("node02", "eth0", "red-net").unwrap();
    });
    cloud.on(Service::Hil, When::Nth(3), |w| w.add_project("third"));
    let ask = async |path: &str| http(&hil.url(), "GET", path, ADMIN, None).await.json();
    assert_eq!(ask("/v0/network/red-net").await["connected-nodes"]["node02"], json!(["eth0"]));
    assert_eq!(ask("/v0/node/node02").await["nics"][0]["networks"], json!({}), "it moved as we asked");
    assert_eq!(ask("/v0/projects").await, json!(["blue", "red", "third"]));
    cloud.assert_only_reads();
}

#[tokio::test]
async fn commands_are_recorded_with_who_and_what() {
    let cloud = Cloud::new(World::two_tenants());
    let hil = HilServer::start(&cloud).await.unwrap();
    http(&hil.url(), "GET", "/v0/networks", ADMIN, None).await;
    http(&hil.url(), "GET", "/v0/nodes/free", None, None).await;
    let lines: Vec<String> = cloud.commands().iter().map(ToString::to_string).collect();
    assert_eq!(lines, ["hil <- GET /v0/networks (by auditor)", "hil <- GET /v0/nodes/free"]);
    cloud.assert_only_reads();
    http(&hil.url(), "DELETE", "/v0/network/red-net", None, None).await;
    let writes = std::panic::catch_unwind(|| cloud.assert_only_reads()).unwrap_err();
    assert!(writes.downcast_ref::<String>().unwrap().contains("DELETE /v0/network/red-net"));
    cloud.clear_commands();
    std::panic::catch_unwind(|| cloud.assert_only_reads())
        .expect_err("nothing was asked, so nothing is shown");
}

#[tokio::test]
async fn odd_requests_get_odd_answers() {
    let cloud = Cloud::new(World::two_tenants());
    let hil = HilServer::start(&cloud).await.unwrap();
    let url = hil.url();
    // A redirect to the spelling with the slash.
    let answer = http(&url, "GET", "/v0/headnode_images", ADMIN, None).await;
    assert_eq!((answer.status, answer.head.contains("Location: /v0/headnode_images/")), (301, true));
    // HEAD is GET without the body, OPTIONS says what is allowed.
    let answer = http(&url, "HEAD", "/v0/nodes/all", ADMIN, None).await;
    assert_eq!((answer.status, answer.body.as_str()), (200, ""));
    let answer = http(&url, "OPTIONS", "/v0/node/node01", None, None).await;
    assert!(answer.head.contains("Allow: GET, HEAD, OPTIONS, PUT, DELETE"), "{}", answer.head);
    // Something that is no HTTP is not answered, and does no harm.
    assert_eq!(within(raw(&url, b"\x16\x03\x01\r\n\r\n")).await, b"");
    let request = b"GET /v0/nodes/all HTTP/1.0\r\nAuthorization: Basic !!!\r\n\r\n";
    assert_eq!(parse(&within(raw(&url, request)).await).status, 401);
    // A form is eaten by the framework, and then the arguments are missing.
    let form = b"POST /v0/node/node01/nic/eth0/detach_network HTTP/1.0\r\n\
        Content-Type: application/x-www-form-urlencoded\r\nContent-Length: 21\r\n\r\n{\"network\":\"red-net\"}";
    let answer = parse(&within(raw(&url, form)).await);
    assert_eq!(answer.json()["msg"], "Request arguments are not valid for this request");
    // No authentication required: the calls that need no privilege work.
    cloud.edit(|w| w.hil.require_authentication = false);
    assert_eq!(http(&url, "GET", "/v0/nodes/free", None, None).await.json(), json!(["node06"]));
    assert_eq!(http(&url, "GET", "/v0/projects", None, None).await.status, 401);
}

#[tokio::test]
async fn nics_come_in_any_order_when_told_so() {
    let cloud = Cloud::new(World::two_tenants());
    cloud.edit(|w| w.hil.shuffle_nics = true);
    let hil = HilServer::start(&cloud).await.unwrap();
    let mut orders = std::collections::BTreeSet::new();
    for _ in 0..2 {
        let node = http(&hil.url(), "GET", "/v0/node/node01", ADMIN, None).await.json();
        orders.insert(node["nics"][0]["label"].as_str().unwrap().to_owned());
    }
    assert_eq!(orders.into_iter().collect::<Vec<_>>(), ["eth0", "eth1"]);
}

#[tokio::test]
async fn an_attachment_of_a_free_node_breaks_the_attachments_call() {
    let mut world = World::two_tenants();
    world.move_node("node02", None).unwrap();
    let cloud = Cloud::new(world);
    let hil = HilServer::start(&cloud).await.unwrap();
    let answer = http(&hil.url(), "GET", "/v0/network/red-net/attachments", ADMIN, None).await;
    assert_eq!((answer.status, title(&answer.body)), (500, "500 Internal Server Error"));
    let answer = http(&hil.url(), "GET", "/v0/network/red-net", ADMIN, None).await;
    assert_eq!(answer.json()["connected-nodes"]["node02"], json!(["eth0"]), "and this one tells");
}
