//! The normaliser on databases made here, on mutations of them, and on what was captured from a real switch.

use super::*;
use isoledger_core::model::{BypassReading, PortReading};
use proptest::prelude::*;
use serde_json::{Value, json};

fn uuid(name: &str) -> Value {
    json!(["uuid", name])
}

fn set(items: impl IntoIterator<Item = Value>) -> Value {
    json!(["set", items.into_iter().collect::<Vec<_>>()])
}

fn none() -> Value {
    set([])
}

/// A small database: tables as lists of rows, in the order of the question.
#[derive(Clone)]
struct Database(Vec<Vec<Value>>);

const BRIDGE: usize = 1;
const PORT: usize = 2;
const INTERFACE: usize = 3;
const MIRROR: usize = 4;
const CONTROLLER: usize = 5;
const MANAGER: usize = 6;

impl Database {
    /// One bridge br0 with its LOCAL port.
    fn new() -> Database {
        let root = json!({"_uuid": uuid("root"), "cur_cfg": 3, "next_cfg": 3,
            "external_ids": ["map", [["system-id", "switch-7"]]]});
        let bridge = json!({"_uuid": uuid("br0"), "name": "br0", "datapath_id": "00000000000000aa", "ports": none(),
            "mirrors": none(), "controller": none(), "fail_mode": none(), "sflow": none(), "auto_attach": none()});
        let mut db = Database(vec![vec![root], vec![bridge], vec![], vec![], vec![], vec![], vec![]]);
        db.port("br0", json!({}), &[("br0", "up")]);
        db
    }

    fn port(&mut self, name: &str, columns: Value, interfaces: &[(&str, &str)]) {
        let mut row = json!({"_uuid": uuid(&format!("p-{name}")), "name": name, "vlan_mode": none(), "tag": none(),
            "trunks": none(), "cvlans": none(), "fake_bridge": false,
            "interfaces": set(interfaces.iter().map(|(i, _)| uuid(&format!("i-{i}"))))});
        for (column, value) in columns.as_object().unwrap() {
            row[column] = value.clone();
        }
        self.0[PORT].push(row);
        for (i, state) in interfaces {
            let state = if state.is_empty() { none() } else { json!(state) };
            self.0[INTERFACE]
                .push(json!({"_uuid": uuid(&format!("i-{i}")), "name": i, "type": "", "admin_state": state}));
        }
        self.refer("ports", &format!("p-{name}"));
    }

    fn refer(&mut self, column: &str, to: &str) {
        self.0[BRIDGE][0][column][1].as_array_mut().unwrap().push(uuid(to));
    }

    fn mirror(&mut self, columns: Value) {
        let mut row = json!({"_uuid": uuid("m1"), "name": "span", "select_all": false, "select_src_port": none(),
            "select_dst_port": none(), "select_vlan": none(), "output_port": none(), "output_vlan": none()});
        for (column, value) in columns.as_object().unwrap() {
            row[column] = value.clone();
        }
        self.0[MIRROR].push(row);
        self.refer("mirrors", "m1");
    }

    fn text(&self) -> String {
        json!(self.0.iter().map(|rows| json!({"rows": rows})).collect::<Vec<_>>()).to_string()
    }

    fn evidence(&self) -> Evidence {
        evidence("br0", self.text().into_bytes())
    }

    fn read(&self) -> Observed {
        normalise(&self.evidence()).unwrap()
    }
}

fn evidence(bridge: &str, answer: Vec<u8>) -> Evidence {
    Evidence {
        subject: bridge.to_owned(),
        exchanges: vec![Exchange { asked: ovsdb::asked(), status: None, answer }],
        ..Evidence::default()
    }
}

/// A port in one line: `untagged/tagged`, then what else there is to say.
fn line(observed: &Observed, port: &str) -> String {
    match &observed.ports[port] {
        PortReading::Unreadable { might_carry, why } => format!("unreadable {might_carry}: {why}"),
        PortReading::Read(s) => {
            assert_eq!(s.ingress_filtering, Some(true));
            let mut said = format!("{}/{}", s.untagged.map(|v| v.to_string()).unwrap_or_default(), s.tagged);
            if s.admin_down == Some(true) {
                said += " down";
            }
            if s.admin_down.is_none() {
                said += " down?";
            }
            if let Some(of) = &s.aggregate {
                said += &format!(" in {of}");
            }
            if !s.members.is_empty() {
                said += &format!(" of {}", s.members.iter().cloned().collect::<Vec<_>>().join(","));
            }
            said
        }
    }
}

fn dirty(observed: &Observed, class: BypassClass) -> (String, String) {
    match &observed.bypasses[&class] {
        BypassReading::Dirty { vlans, detail } => (vlans.to_string(), detail.clone()),
        other => panic!("{class}: {other:?}"),
    }
}

#[test]
fn ports_bonds_and_members() {
    let mut db = Database::new();
    db.port("p1", json!({"tag": 100, "vlan_mode": "access"}), &[("p1", "up")]);
    db.port("p2", json!({"trunks": set([json!(5), json!(7)])}), &[("p2", "down")]);
    db.port("p3", json!({}), &[("p3", "")]);
    db.port("bond0", json!({"tag": 9}), &[("b1", "up"), ("b2", "down")]);
    db.port("bond1", json!({"trunks": 8}), &[("c1", "down"), ("c2", "down")]);
    db.port("d1", json!({"trunks": 8}), &[("d1", "down"), ("d2", "")]);
    db.port("named", json!({"tag": 4}), &[("eth9", "up")]);
    let seen = db.read();
    assert_eq!(seen.anomalies, []);
    for (port, want) in [
        ("br0", "/all"),
        ("p1", "100/"),
        ("p2", "/5,7 down"),
        ("p3", "/all down?"),
        ("bond0", "9/ of b1,b2"),
        ("b1", "/ in bond0"),
        ("b2", "/ down in bond0"),
        ("bond1", "/8 down of c1,c2"),
        ("d1", "/8 down? of d1,d2"),
        ("d2", "/ down? in d1"),
        ("named", "4/ of eth9"),
        ("eth9", "/ in named"),
    ] {
        assert_eq!(line(&seen, port), want, "{port}");
    }
    assert_eq!(seen.ports.len(), 14);
}

#[test]
fn a_port_that_is_not_understood_counts_for_every_vlan() {
    for columns in [
        json!({"vlan_mode": "qinq"}),
        json!({"tag": 4096}),
        json!({"tag": -1}),
        json!({"tag": "100"}),
        json!({"tag": ["set", [1, 2]]}),
        json!({"trunks": {"set": []}}),
        json!({"trunks": ["set", [1, 2], 3]}),
        json!({"trunks": ["bag", [1, 2]]}),
        json!({"trunks": null}),
        json!({"vlan_mode": ["set", ["access", "trunk"]]}),
    ] {
        let mut db = Database::new();
        db.port("p1", columns.clone(), &[("p1", "up")]);
        let said = line(&db.read(), "p1");
        assert!(said.starts_with("unreadable all: "), "{columns}: {said}");
    }
    let mut db = Database::new();
    db.port("p1", json!({"tag": 1}), &[("p1", "sideways")]);
    assert!(line(&db.read(), "p1").contains("sideways"));
    db.0[PORT][1].as_object_mut().unwrap().remove("tag");
    assert!(line(&db.read(), "p1").contains("the column tag is missing"));
}

#[test]
fn what_is_missing_is_an_anomaly() {
    let whole = {
        let mut db = Database::new();
        db.port("p1", json!({"tag": 1}), &[("p1", "up")]);
        db
    };
    let said = |change: &dyn Fn(&mut Database)| {
        let mut db = whole.clone();
        change(&mut db);
        let seen = db.read();
        assert_eq!(seen.anomalies.len(), 1, "{:?}", seen.anomalies);
        seen.anomalies[0].what.clone()
    };
    assert!(said(&|db| drop(db.0[PORT].pop())).contains("p-p1 is listed and missing"));
    assert!(said(&|db| drop(db.0[INTERFACE].pop())).contains("i-p1 is listed and missing"));
    assert!(said(&|db| db.0[PORT][1]["name"] = json!(7)).contains("column name"));
    assert!(said(&|db| db.0[PORT][1]["name"] = json!("br0")).contains("two ports"));
    assert!(said(&|db| db.0[PORT][1]["interfaces"] = none()).contains("no interface"));
    assert!(said(&|db| db.refer("controller", "gone")).contains("gone"));
    assert!(said(&|db| db.refer("mirrors", "gone")).contains("gone"));
    let said = said(&|db| db.0[0][0]["next_cfg"] = json!(4));
    assert!(said.contains("carried out configuration 3 and the database holds 4"), "{said}");
}

#[test]
fn fake_bridges() {
    let mut db = Database::new();
    db.port("fake100", json!({"tag": 100, "fake_bridge": true}), &[("fake100", "up")]);
    assert_eq!(line(&db.read(), "fake100"), "100/");
    let said = normalise(&evidence("fake100", db.text().into_bytes())).unwrap_err().sentence;
    assert!(said.contains("a fake bridge: VLAN 100 of the bridge br0. Configure br0"), "{said}");
    let said = normalise(&evidence("br7", db.text().into_bytes())).unwrap_err().sentence;
    assert!(said.contains("no bridge named br7; it has: br0"), "{said}");
}

#[test]
fn a_plain_bridge_is_clean_but_for_rules_nobody_read() {
    let seen = Database::new().read();
    assert_eq!(seen.bypasses.len(), BypassClass::ALL.len());
    for (class, reading) in &seen.bypasses {
        match class {
            BypassClass::Flows => assert!(matches!(reading, BypassReading::NotRead { .. })),
            _ => assert_eq!(*reading, BypassReading::Clean, "{class}"),
        }
    }
}

#[test]
fn mirrors() {
    let base = || {
        let mut db = Database::new();
        db.port("p1", json!({"tag": 100}), &[("p1", "up")]);
        db.port("p2", json!({"trunks": set([json!(5), json!(7)])}), &[("p2", "up")]);
        db.port("out", json!({"tag": 99}), &[("out", "up")]);
        db
    };
    for (columns, want) in [
        (json!({"select_all": true, "output_port": uuid("p-out")}), Some("all")),
        (json!({"select_all": true, "output_vlan": 900}), Some("all")),
        (json!({"select_src_port": uuid("p-p1"), "output_port": uuid("p-out")}), Some("100")),
        (json!({"select_src_port": uuid("p-p1"), "output_vlan": 900}), Some("100,900")),
        (
            json!({"select_src_port": uuid("p-p1"), "select_dst_port": uuid("p-p2"), "output_port": uuid("p-out")}),
            Some("5,7,100"),
        ),
        (
            json!({"select_all": true, "select_vlan": set([json!(7), json!(8)]), "output_port": uuid("p-out")}),
            Some("7-8"),
        ),
        (json!({"select_dst_port": uuid("p-p2"), "select_vlan": 7, "output_port": uuid("p-out")}), Some("7")),
        (json!({"select_dst_port": uuid("elsewhere"), "output_port": uuid("p-out")}), Some("all")),
        // No selected port, no destination, no VLAN in common, VLAN 0 only: nothing is copied.
        (json!({"select_vlan": 7, "output_port": uuid("p-out")}), None),
        (json!({"select_all": true}), None),
        (json!({"select_src_port": uuid("p-p1"), "select_vlan": 7, "output_port": uuid("p-out")}), None),
        (json!({"select_all": true, "select_vlan": 0, "output_port": uuid("p-out")}), None),
        // What is not understood counts for everything.
        (json!({"select_all": "yes", "output_port": uuid("p-out")}), Some("all")),
    ] {
        let mut db = base();
        db.mirror(columns.clone());
        let seen = db.read();
        match want {
            Some(want) => assert_eq!(dirty(&seen, BypassClass::Mirror).0, want, "{columns}"),
            None => assert_eq!(seen.bypasses[&BypassClass::Mirror], BypassReading::Clean, "{columns}"),
        }
    }
    let mut db = base();
    db.mirror(json!({"select_src_port": uuid("p-p1"), "output_port": uuid("p-out")}));
    assert_eq!(
        dirty(&db.read(), BypassClass::Mirror).1,
        "mirror span copies the VLANs 100 of p1 to port out"
    );
    let mut db = base();
    db.refer("sflow", "s1");
    assert_eq!(dirty(&db.read(), BypassClass::Mirror).0, "all");
}

#[test]
fn controllers_tunnels_and_auto_attach() {
    let mut db = Database::new();
    db.0[CONTROLLER].push(json!({"_uuid": uuid("c1"), "target": "tcp:192.0.2.1:6653"}));
    db.0[MANAGER].push(json!({"_uuid": uuid("m1"), "target": "ptcp:6640"}));
    // A controller of another bridge is not this bridge's.
    assert_eq!(db.read().bypasses[&BypassClass::Controller], BypassReading::Clean);
    db.refer("controller", "c1");
    let (vlans, detail) = dirty(&db.read(), BypassClass::Controller);
    assert_eq!(vlans, "all");
    assert_eq!(detail, "controller tcp:192.0.2.1:6653; managers of the database: ptcp:6640");

    let mut db = Database::new();
    db.0[BRIDGE][0]["fail_mode"] = json!("secure");
    assert!(dirty(&db.read(), BypassClass::Controller).1.contains("fail_mode secure"));
    db.0[BRIDGE][0]["fail_mode"] = json!("standalone");
    assert_eq!(db.read().bypasses[&BypassClass::Controller], BypassReading::Clean);
    db.refer("auto_attach", "a1");
    assert_eq!(dirty(&db.read(), BypassClass::Dynamic).0, "all");

    for (columns, want) in [
        (
            json!({"vlan_mode": "dot1q-tunnel", "tag": 500, "cvlans": set([json!(10), json!(20)])}),
            "10,20,500",
        ),
        (json!({"vlan_mode": "dot1q-tunnel", "tag": 500}), "all"),
        (json!({"vlan_mode": "dot1q-tunnel", "tag": 500, "cvlans": "x"}), "all"),
    ] {
        let mut db = Database::new();
        db.port("q", columns, &[("q", "up")]);
        assert_eq!(dirty(&db.read(), BypassClass::DoubleTagging).0, want);
    }
}

fn with_flows(exchanges: &[(&str, Option<u16>, &str)]) -> BypassReading {
    let mut evidence = Database::new().evidence();
    evidence.exchanges.extend(exchanges.iter().map(|(asked, status, answer)| Exchange {
        asked: (*asked).to_owned(),
        status: *status,
        answer: answer.as_bytes().to_vec(),
    }));
    normalise(&evidence).unwrap().bypasses[&BypassClass::Flows].clone()
}

#[test]
fn rules_by_either_way() {
    const GROUPS: &str = "OFPST_GROUP_DESC reply (OF1.5) (xid=0x2):\n";
    let (f, g) = (format!("{FLOWS_COMMAND}br0"), format!("{GROUPS_COMMAND}br0"));
    let plain = " priority=0 actions=NORMAL\n";
    assert_eq!(with_flows(&[(&f, Some(0), plain), (&g, Some(0), GROUPS)]), BypassReading::Clean);
    let own = format!("datapath_id=00000000000000aa\n{plain}");
    let over = |id: &str| {
        with_flows(&[
            (openflow::ASK_FLOWS, Some(0), id),
            (openflow::ASK_GROUPS, Some(0), "x GROUP_DESC reply\n"),
        ])
    };
    assert_eq!(over(&own), BypassReading::Clean);
    let why = |reading| match reading {
        BypassReading::NotRead { why } => why,
        other => panic!("{other:?}"),
    };
    assert!(why(over(&format!("datapath_id=00000000000000bb\n{plain}"))).contains("00000000000000bb"));
    assert!(why(over(plain)).contains("comes from the bridge with"));
    assert_eq!(why(with_flows(&[(&f, None, "the key changed")])), "the key changed");
    assert_eq!(why(with_flows(&[(openflow::ASK_FLOWS, None, "nobody listens")])), "nobody listens");
    assert_eq!(why(with_flows(&[(&f, Some(1), "no such bridge"), (&g, Some(0), GROUPS)])), "no such bridge");
    assert_eq!(why(with_flows(&[(&f, Some(0), plain), (&g, None, "broke off")])), "broke off");
    // Only half of it was read.
    assert!(matches!(with_flows(&[(&f, Some(0), plain)]), BypassReading::NotRead { .. }));
    assert!(matches!(with_flows(&[(openflow::ASK_FLOWS, Some(0), &own)]), BypassReading::NotRead { .. }));
}

#[test]
fn answers_that_are_no_answer() {
    for (answer, said) in [
        (r#"[]"#, "0 results to 7 selects"),
        (r#"{}"#, "no list"),
        (r#"[{"rows":[{"#, "no JSON"),
        (r#"[{"error":"syntax error","details":"No column sflow"},null]"#, "No column sflow"),
        (
            r#"[{"rows":[]},{"rows":[]},{"rows":[]},{"rows":[]},{"rows":[]},{"rows":[]},{"rows":[]}]"#,
            "exactly one row",
        ),
        (
            r#"[{"rows":[7]},{"rows":[]},{"rows":[]},{"rows":[]},{"rows":[]},{"rows":[]},{"rows":[]}]"#,
            "no object",
        ),
    ] {
        let e = normalise(&evidence("br0", answer.into())).unwrap_err();
        assert!(e.sentence.contains(said), "{}", e.sentence);
        assert_eq!(e.kind, Failure::Unreadable);
    }
    assert!(normalise(&Evidence::default()).is_err());
    let mut db = Database::new();
    let twice = db.0[BRIDGE][0].clone();
    db.0[BRIDGE].push(twice);
    assert!(normalise(&db.evidence()).unwrap_err().sentence.contains("two rows"));
}

/// What is carried by a port that was read, or might be by one that was not.
fn carries(observed: &Observed, port: &str) -> isoledger_core::VlanSet {
    match observed.ports.get(port) {
        Some(PortReading::Read(state)) => state.carries(),
        Some(PortReading::Unreadable { might_carry, .. }) => might_carry.clone(),
        None => isoledger_core::VlanSet::empty(),
    }
}

fn rich() -> Database {
    let mut db = Database::new();
    db.port(
        "p1",
        json!({"tag": 100, "vlan_mode": "native-untagged", "trunks": set([json!(5), json!(7)])}),
        &[("p1", "up")],
    );
    db.port("bond0", json!({"trunks": 9}), &[("b1", "up"), ("b2", "down")]);
    db.mirror(json!({"select_all": true, "output_port": uuid("p-p1")}));
    db
}

proptest! {
    #[test]
    fn truncated_evidence_is_refused(cut in any::<prop::sample::Index>()) {
        let text = rich().text().into_bytes();
        let cut = cut.index(text.len());
        prop_assert!(normalise(&evidence("br0", text[..cut].to_vec())).is_err());
    }

    #[test]
    fn mutated_evidence_never_panics(edits in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6)) {
        let mut text = rich().text().into_bytes();
        for (at, byte) in edits {
            let at = at.index(text.len());
            text[at] = byte;
        }
        let _ = normalise(&evidence("br0", text));
    }

    /// Whatever one column of one port row is replaced by, the port carries what vswitchd would make of it or it is
    /// unreadable for every VLAN; and a row that is dropped is missed.
    #[test]
    fn a_replaced_column_hides_nothing(
        column in prop_oneof![Just("vlan_mode"), Just("tag"), Just("trunks"), Just("interfaces")],
        value in prop_oneof![
            Just(json!(null)), Just(json!(true)), Just(json!("")), Just(json!("trunk ")), Just(json!([])),
            Just(json!(["set"])), Just(json!(["set", 5])), Just(json!(["set", [[]]])), Just(json!(["uuid", "x"])),
            Just(json!(4096)), Just(json!(1.5)), Just(json!(-7)), Just(json!({})),
        ],
    ) {
        let mut db = rich();
        db.0[PORT][1][column] = value;
        let seen = db.read();
        let all = carries(&seen, "p1").is_all();
        prop_assert!(all || !seen.anomalies.is_empty(), "{:?}", seen.ports["p1"]);
    }

    #[test]
    fn a_dropped_row_is_missed(table in prop_oneof![Just(PORT), Just(INTERFACE), Just(MIRROR)], row in any::<prop::sample::Index>()) {
        let mut db = rich();
        let row = row.index(db.0[table].len());
        db.0[table].remove(row);
        prop_assert!(!db.read().anomalies.is_empty());
    }
}

#[test]
fn settings_that_cannot_work_are_refused() {
    let settings = |bridge: &str, ovsdb: &str| Settings {
        bridge: bridge.to_owned(),
        ovsdb: ovsdb.parse().unwrap(),
        tls: None,
        flows: None,
    };
    assert!(OpenVSwitch::new(settings("br-int.1_a", "unix:/run/db.sock")).is_ok());
    for bridge in ["", "-x", "br0; reboot", "br0 br1", "br0\n", "$(x)"] {
        let e = OpenVSwitch::new(settings(bridge, "unix:/run/db.sock")).unwrap_err();
        assert!(matches!(e, SettingsError::BridgeName { .. }), "{bridge}");
    }
    let e = OpenVSwitch::new(settings("br0", "ssl:h:1")).unwrap_err();
    assert!(matches!(e, SettingsError::NoTlsFiles { .. }));
}

#[test]
fn the_page_holds_the_tables() {
    let page = include_str!("../../../docs/dialects/openvswitch.md");
    for (class, decided) in BYPASS_TABLE {
        let row = format!("| `{class}` | {decided} |");
        assert!(page.contains(&row), "the page lacks the row\n{row}");
    }
    assert_eq!(BYPASS_TABLE.map(|(class, _)| class), BypassClass::ALL);
    for line in include_str!("vlans.rs").lines().filter_map(|l| l.strip_prefix("//! |")) {
        assert!(page.contains(&format!("|{line}")), "the page lacks the row\n|{line}");
    }
    for sent in [FLOWS_COMMAND.trim_end(), GROUPS_COMMAND.trim_end()] {
        assert!(page.contains(sent), "{sent}");
    }
    for column in SELECT.split('"').filter(|word| word.chars().all(|c| c.is_ascii_alphanumeric() || c == '_'))
    {
        assert!(column.is_empty() || page.contains(column), "the page does not name {column}");
    }
}

/// A recording of a real switch, made with other columns than this reader asks for: those it lacks are added empty.
#[test]
fn a_recording_of_a_real_switch() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/data/ovsdb/session.jsonl");
    let Ok(text) = std::fs::read_to_string(path) else {
        println!("skip: the recording is not here");
        return;
    };
    let reply = text
        .lines()
        .filter_map(|l| serde_json::from_str::<Value>(l).ok())
        .find_map(|l| l.pointer("/reply/result/0/rows").is_some().then(|| l["reply"]["result"].clone()))
        .unwrap();
    let mut tables = reply.as_array().unwrap().clone();
    let root = tables.remove(5);
    tables.insert(0, root);
    tables[0]["rows"][0]["_uuid"] = uuid("root");
    tables.push(json!({"rows": []}));
    for column in ["sflow", "auto_attach"] {
        tables[BRIDGE]["rows"][0][column] = none();
    }
    let seen = normalise(&evidence("br0", json!(tables).to_string().into_bytes())).unwrap();
    assert_eq!(seen.anomalies, []);
    let carried = |port: &str| line(&seen, port).replace(" down?", "").replace(" down", "");
    for (port, want) in [
        ("br0", "/all"),
        ("p1", "100/"),
        ("p2", "200/"),
        ("p3", "/all"),
        ("p4", "100/200,300"),
        ("p5", "500/"),
        ("p6", "/all"),
        ("bond0", "/100,200 of b1,b2"),
        ("b1", "/ in bond0"),
        ("fake100", "100/"),
        ("pf", "100/"),
    ] {
        assert_eq!(carried(port), want, "{port}");
    }
    assert_eq!(dirty(&seen, BypassClass::Mirror).0, "all");
    assert_eq!(dirty(&seen, BypassClass::DoubleTagging).0, "10,20,500");
    let said = normalise(&evidence("fake100", json!(tables).to_string().into_bytes())).unwrap_err().sentence;
    assert!(said.contains("Configure br0"), "{said}");
}
