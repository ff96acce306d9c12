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
        ovsdb: ovsdb.parse::<Address>().unwrap().into(),
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

/// What the server would tell of the change from one database to the next.
fn update(from: &Database, to: &Database) -> Value {
    let mut tables = serde_json::Map::new();
    for (table, (old, new)) in ovsdb::TABLES.iter().zip(from.0.iter().zip(&to.0)).skip(1) {
        let mut rows = serde_json::Map::new();
        let by_uuid = |all: &[Value]| {
            all.iter()
                .map(|row| {
                    let mut row = row.clone();
                    let uuid = row.as_object_mut().unwrap().remove("_uuid").unwrap();
                    (uuid[1].as_str().unwrap().to_owned(), row)
                })
                .collect::<std::collections::BTreeMap<_, _>>()
        };
        let (old, new) = (by_uuid(old), by_uuid(new));
        for (uuid, row) in &new {
            match old.get(uuid) {
                None => drop(rows.insert(uuid.clone(), json!({"new": row}))),
                Some(was) if was != row => drop(rows.insert(uuid.clone(), json!({"old": {}, "new": row}))),
                Some(_) => {}
            }
        }
        for (uuid, row) in old.iter().filter(|(uuid, _)| !new.contains_key(*uuid)) {
            rows.insert(uuid.clone(), json!({"old": row}));
        }
        if !rows.is_empty() {
            tables.insert((*table).to_owned(), Value::Object(rows));
        }
    }
    Value::Object(tables)
}

fn moment(n: usize) -> isoledger_core::Timestamp {
    isoledger_core::Timestamp::from_millis(1_000_000 + n as u64).unwrap()
}

/// The evidence of a reading before which the database went through these states, the last of which it finds.
fn through(states: &[Database]) -> Evidence {
    let changes: Vec<Value> = (states.windows(2).enumerate())
        .map(|(n, pair)| json!({"at": moment(n + 1).to_string(), "tables": update(&pair[0], &pair[1])}))
        .collect();
    with_told(
        states.last().unwrap(),
        &json!({"changes": changes, "lost": null, "overflowed": false,
            "since": serde_json::from_str::<Value>(&states[0].text()).unwrap()}),
    )
}

fn with_told(end: &Database, answer: &Value) -> Evidence {
    let mut evidence = end.evidence();
    evidence.exchanges.push(Exchange {
        asked: ovsdb::asked_to_be_told(),
        status: None,
        answer: answer.to_string().into_bytes(),
    });
    evidence
}

/// What passed, port by port: `VLANs from-to`, by the numbers of the changes.
fn passed(observed: &Observed) -> Vec<String> {
    let number = |t: isoledger_core::Timestamp| t.millis() - 1_000_000;
    (observed.between.iter())
        .map(|(port, b)| {
            let all = if b.all { " all" } else { "" };
            format!("{port} {}{all} {}-{}", b.vlans, number(b.from), number(b.to))
        })
        .collect()
}

fn with(db: &Database, change: impl FnOnce(&mut Database)) -> Database {
    let mut db = db.clone();
    change(&mut db);
    db
}

/// A bridge with the access port p1 on VLAN 100 and the closed trunk port p2.
fn two_ports() -> Database {
    let mut db = Database::new();
    db.port("p1", json!({"tag": 100}), &[("p1", "up")]);
    db.port("p2", json!({"trunks": 4095}), &[("p2", "up")]);
    db
}

fn tag(db: &Database, row: usize, vlan: Value) -> Database {
    with(db, |db| db.0[PORT][row]["tag"] = vlan)
}

#[test]
fn what_came_and_went_between_two_readings_is_told_with_its_times() {
    let base = two_ports();
    let case = |states: &[&Database], want: &[&str]| {
        let states: Vec<Database> = states.iter().map(|s| (*s).clone()).collect();
        let seen = normalise(&through(&states)).unwrap();
        assert_eq!(seen.anomalies, []);
        assert_eq!(passed(&seen), want);
        // The ends are as without.
        let plain = states.last().unwrap().read();
        assert_eq!((&seen.ports, &seen.bypasses), (&plain.ports, &plain.bypasses));
    };
    let red = tag(&base, 2, json!(100));
    let blue = tag(&base, 2, json!(200));
    case(&[&base, &base], &[]);
    case(&[&base, &red, &base], &["p2 100 1-2"]);
    case(&[&base, &red, &blue, &base], &["p2 100,200 1-3"]);
    case(&[&base, &red, &base, &blue, &base], &["p2 100,200 1-4"]);
    // What it carried at either end came or went, and is seen there.
    case(&[&base, &red], &[]);
    case(&[&red, &base], &[]);
    case(&[&red, &blue], &[]);
    case(&[&red, &base, &red], &[]);
    case(&[&red, &blue, &red], &["p2 200 1-2"]);
    case(&[&red, &base, &blue, &base], &["p2 200 2-3"]);
    // Every VLAN.
    let open = with(&base, |db| db.0[PORT][2]["trunks"] = none());
    case(&[&base, &open, &base], &["p2 all all 1-2"]);
    case(&[&red, &open, &base], &["p2 1-99,101-4094 all 1-2"]);
    case(&[&base, &open], &[]);
    // A port that was not there before and is not now; and the bridge itself gone and back.
    let third = with(&base, |db| db.port("p3", json!({"tag": 300}), &[("p3", "up")]));
    case(&[&base, &third, &base], &["p3 300 1-2"]);
    let gone = with(&base, |db| db.0[BRIDGE].clear());
    case(&[&base, &gone, &base], &[]);
    case(&[&base, &gone, &third, &gone, &base], &["p3 300 2-3"]);
    // A bond: the members carry nothing of their own.
    let bond = with(&base, |db| db.port("bond0", json!({"tag": 7}), &[("b1", "up"), ("b2", "up")]));
    case(&[&base, &bond, &base], &["bond0 7 1-2"]);
}

#[test]
fn a_port_that_is_down_carries_nothing_in_between_either() {
    let admin = |db: &Database, state: Value| with(db, |db| db.0[INTERFACE][2]["admin_state"] = state);
    let down = admin(&tag(&two_ports(), 2, json!(100)), json!("down"));
    let up = admin(&down, json!("up"));
    let unknown = admin(&down, none());
    let told = |states: &[Database]| passed(&normalise(&through(states)).unwrap());
    assert_eq!(told(&[down.clone(), up.clone(), down.clone()]), ["p2 100 1-2"]);
    // vswitchd starts anew and does not say for a moment; it was not up.
    assert_eq!(told(&[down.clone(), unknown.clone(), down.clone()]), [""; 0]);
    // Down with another VLAN for a while.
    assert_eq!(told(&[down.clone(), tag(&down, 2, json!(200)), down.clone()]), [""; 0]);
    // A port of which nobody ever knew counts as carrying, as at a reading.
    let new = with(&two_ports(), |db| db.port("p3", json!({"tag": 300}), &[("p3", "")]));
    assert_eq!(told(&[two_ports(), new, two_ports()]), ["p3 300 1-2"]);
}

#[test]
fn a_bypass_that_came_and_went_is_dirty() {
    let base = two_ports();
    let mirror = with(&base, |db| {
        db.mirror(json!({"select_src_port": uuid("p-p1"), "output_port": uuid("p-p2")}));
    });
    let seen = normalise(&through(&[base.clone(), mirror.clone(), base.clone()])).unwrap();
    let (vlans, detail) = dirty(&seen, BypassClass::Mirror);
    assert_eq!(vlans, "100");
    let times = format!("from {} to {}, before this reading: ", moment(1), moment(2));
    assert!(detail.starts_with(&times) && detail.contains("mirror span copies"), "{detail}");
    // What is mirrored at an end is said there, once.
    for states in [[base.clone(), mirror.clone()], [mirror.clone(), base.clone()]] {
        let seen = normalise(&through(&states)).unwrap();
        assert_eq!(seen.bypasses, states[1].read().bypasses);
    }
    // A port that a mirror copies carries another VLAN for a while.
    let other = tag(&mirror, 1, json!(200));
    let seen = normalise(&through(&[mirror.clone(), other, mirror.clone()])).unwrap();
    assert_eq!(dirty(&seen, BypassClass::Mirror).0, "100,200");
    assert_eq!(passed(&seen), ["p1 200 1-2"]);
    let controller = with(&base, |db| {
        db.0[CONTROLLER].push(json!({"_uuid": uuid("c"), "target": "tcp:192.0.2.1:6653"}));
        db.refer("controller", "c");
    });
    let mut states = vec![base.clone()];
    for _ in 0..6 {
        states.extend([controller.clone(), base.clone()]);
    }
    let (vlans, detail) = dirty(&normalise(&through(&states)).unwrap(), BypassClass::Controller);
    assert!(vlans == "all" && detail.ends_with("and 2 times more"), "{detail}");
}

#[test]
fn what_is_told_and_not_understood_is_an_anomaly() {
    let base = two_ports();
    let since: Value = serde_json::from_str(&base.text()).unwrap();
    let told = |update: Value| {
        let changes = json!([{"at": moment(1).to_string(), "tables": update}]);
        let answer = json!({"changes": changes, "lost": null, "overflowed": false, "since": since});
        normalise(&with_told(&base, &answer)).unwrap()
    };
    let mut bad = base.0[PORT][2].clone();
    bad["vlan_mode"] = json!("sideways");
    let mut lonely = base.0[PORT][2].clone();
    lonely["interfaces"] = uuid("nowhere");
    for update in [
        json!(null),
        json!([]),
        json!({"Queue": {}}),
        json!({"Port": []}),
        json!({"Port": {"p-p2": {}}}),
        json!({"Port": {"p-p2": {"new": 7}}}),
        json!({"Port": {"p-p2": {"new": bad}}}),
        json!({"Port": {"p-p2": {"new": {}}}}),
        json!({"Port": {"p-p2": {"new": lonely}}}),
        json!({"Port": {"p-p2": {"old": {}}}}),
        json!({"Interface": {"i-p2": {"old": {}}}}),
        json!({"Interface": {"i-p2": {"new": {"name": "p2", "admin_state": "sideways"}}}}),
        json!({"Open_vSwitch": {"root": {"old": {}}}}),
        json!({"Bridge": {"second": {"new": base.0[BRIDGE][0]}}}),
    ] {
        let seen = told(update.clone());
        assert_ne!(seen.anomalies, [], "{update}");
        assert_eq!(seen.ports, base.read().ports);
    }
    // Nothing that concerns the bridge.
    for update in [json!({}), json!({"Manager": {"m": {"new": {"target": "ptcp:6640"}}}})] {
        assert_eq!(told(update), base.read());
    }
    // A loss is said and claims nothing; what was dropped may have been anything.
    let seen = |lost: Value, overflowed: bool| {
        let answer = json!({"changes": [], "lost": lost, "overflowed": overflowed, "since": null});
        normalise(&with_told(&base, &answer)).unwrap()
    };
    assert_eq!(seen(json!("hung up"), false), base.read());
    assert!(seen(Value::Null, true).anomalies[0].what.contains("more changed than is kept"));
    for answer in [
        json!({}),
        json!([]),
        json!({"changes": [], "since": null}),
        json!({"changes": [{}], "overflowed": false}),
    ] {
        assert!(normalise(&with_told(&base, &answer)).is_err(), "{answer}");
    }
}

#[test]
fn a_flood_of_changes_is_judged_within_bounds() {
    let mut base = Database::new();
    for n in 0..200 {
        base.port(&format!("p{n}"), json!({"tag": 100}), &[(&format!("p{n}"), "up")]);
    }
    let open = tag(&base, 100, json!(200));
    let mirrored = with(&base, |db| {
        db.mirror(json!({"select_src_port": uuid("p-p1"), "output_port": uuid("p-p2")}));
    });
    let flood = |with: &Database, n: usize| {
        let pair = [update(&base, with), update(with, &base)];
        let change = |i: usize| json!({"at": moment(i).to_string(), "tables": pair[i % 2]});
        let answer = json!({"changes": (0..n).map(change).collect::<Vec<_>>(), "lost": null, "overflowed": false,
            "since": serde_json::from_str::<Value>(&base.text()).unwrap()});
        normalise(&with_told(&base, &answer)).unwrap()
    };
    let seen = flood(&open, 4096);
    assert_eq!((passed(&seen), seen.anomalies), (vec!["p99 200 0-4095".to_owned()], vec![]));
    let seen = flood(&mirrored, 4096);
    assert_eq!(dirty(&seen, BypassClass::Mirror).0, "100");
    assert!(seen.anomalies[0].what.contains("was not looked at"), "{:?}", seen.anomalies);
}

proptest! {
    /// Whatever a bridge goes through, what is told is what whole readings of every state would have seen.
    #[test]
    fn what_is_told_is_what_readings_in_between_would_have_seen(
        steps in proptest::collection::vec((1usize..4, 0u16..5, 0u8..5, any::<bool>()), 0..12)
    ) {
        let mut states = vec![two_ports()];
        for (row, vlan, what, there) in steps {
            let next = with(states.last().unwrap(), |db| {
            let row = row.min(db.0[PORT].len() - 1);
            match what {
                0 => db.0[PORT][row]["tag"] = json!(vlan),
                1 => db.0[PORT][row]["trunks"] = set((1..vlan).map(|v| json!(v))),
                2 => db.0[INTERFACE][row]["admin_state"] = json!(if there { "up" } else { "down" }),
                3 if there && db.0[PORT].len() < 4 => {
                    db.port("p3", json!({"tag": vlan}), &[("p3", "up")]);
                }
                3 => {
                    db.0[PORT].truncate(3);
                    db.0[INTERFACE].truncate(3);
                    db.0[BRIDGE][0]["ports"][1].as_array_mut().unwrap().truncate(3);
                }
                _ if there && db.0[MIRROR].is_empty() => {
                    db.mirror(json!({"select_src_port": uuid("p-p1"), "output_port": uuid("p-p2")}));
                }
                _ => {
                    db.0[MIRROR].clear();
                    db.0[BRIDGE][0]["mirrors"] = none();
                }
            }});
            states.push(next);
        }
        let seen = normalise(&through(&states)).unwrap();
        prop_assert_eq!(&seen.anomalies, &[]);
        let carried = |o: &Observed, port: &str| match o.ports.get(port) {
            Some(PortReading::Read(s)) if s.admin_down != Some(true) => s.carries(),
            _ => isoledger_core::VlanSet::empty(),
        };
        let readings: Vec<Observed> = states.iter().map(Database::read).collect();
        let (first, last) = (&readings[0], &readings[readings.len() - 1]);
        for port in ["br0", "p1", "p2", "p3"] {
            let ends = carried(first, port).union(&carried(last, port));
            let all = readings.iter().fold(isoledger_core::VlanSet::empty(), |all, o| all.union(&carried(o, port)));
            let want = all.difference(&ends);
            let found = seen.between.get(port).map(|b| b.vlans.clone()).unwrap_or_default();
            prop_assert_eq!(found, want.clone(), "{}", port);
            if let Some(b) = seen.between.get(port) {
                let there = |n: usize| !carried(&readings[n], port).intersection(&want).is_empty();
                let from = (0..readings.len()).find(|n| there(*n)).unwrap();
                let to = (0..readings.len()).rfind(|n| there(*n)).unwrap() + 1;
                prop_assert_eq!((b.from, b.to), (moment(from), moment(to)));
            }
        }
        let mirrors = |o: &Observed| match &o.bypasses[&BypassClass::Mirror] {
            BypassReading::Dirty { vlans, .. } => vlans.clone(),
            _ => isoledger_core::VlanSet::empty(),
        };
        let all = readings.iter().fold(isoledger_core::VlanSet::empty(), |all, o| all.union(&mirrors(o)));
        let ends = mirrors(first).union(&mirrors(last));
        prop_assert_eq!(mirrors(&seen), mirrors(last).union(&all.difference(&ends)));
    }

    #[test]
    fn mutated_tellings_never_panic_nor_lose_a_port(
        at in any::<prop::sample::Index>(), byte in any::<u8>(), cut in any::<bool>()
    ) {
        let base = two_ports();
        let mut evidence = through(&[base.clone(), tag(&base, 2, json!(100)), base.clone()]);
        let answer = &mut evidence.exchanges[1].answer;
        let at = at.index(answer.len());
        if cut {
            answer.truncate(at);
        } else {
            answer[at] = byte;
        }
        if let Ok(seen) = normalise(&evidence) {
            prop_assert_eq!(seen.ports, base.read().ports);
        }
    }
}
