//! Rows as no HIL writes them, and evidence as no reader records it. The real server is in `tests/tests/hil_database.rs`.

use super::tables::{IDENTITY, SYSTEM, TABLES, WANTED};
use super::*;
use isoledger_core::model::{Access, Attachment, Channel, Failure, NetworkVlan, Owner, PortId};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

type Cells = Vec<Option<String>>;

fn row(cells: &[&str]) -> Cells {
    cells.iter().map(|c| (*c != "-").then(|| (*c).to_owned())).collect()
}

/// Two projects, two networks, three nics of two nodes, a headnode, an action, one switch.
fn small() -> BTreeMap<&'static str, Vec<Cells>> {
    let rows = |rows: &[&[&str]]| rows.iter().map(|r| row(r)).collect::<Vec<_>>();
    BTreeMap::from([
        ("project", rows(&[&["1", "red"], &["2", "blue"]])),
        ("node", rows(&[&["1", "oak", "1"], &["2", "elm", "-"]])),
        ("switch", rows(&[&["7", "sw1", "http://schema.massopencloud.org/haas/v0/switches/brocade"]])),
        ("port", rows(&[&["1", "1/0/1", "7"], &["2", "1/0/2", "7"], &["3", "1/0/2", "7"]])),
        (
            "nic",
            rows(&[
                &["1", "eth0", "1", "aa", "1"],
                &["2", "eth1", "1", "-", "-"],
                &["3", "eth0", "2", "bb", "2"],
            ]),
        ),
        ("network", rows(&[&["1", "red-net", "1", "t", "100"], &["2", "lab", "-", "f", "4096"]])),
        ("network_projects", rows(&[&["1", "1"], &["2", "1"]])),
        (
            "network_attachment",
            rows(&[
                &["1", "1", "1", "vlan/native"],
                &["2", "2", "1", "vlan/100"],
                &["3", "3", "2", "vlan/4096"],
            ]),
        ),
        (
            "networking_action",
            rows(&[
                &["1", "PENDING", "modify_port", "1", "2", "vlan/4096"],
                &["2", "DONE", "modify_port", "2", "1", "vlan/100"],
                &["3", "ERROR", "revert_port", "3", "-", ""],
            ]),
        ),
        ("headnode", rows(&[&["1", "head", "2"]])),
        ("hnic", rows(&[&["1", "h0", "1", "1"], &["2", "h1", "1", "-"]])),
        ("vlan", rows(&[&["100", "f"]])),
        ("brocade", rows(&[&["7", "vdx.example", "TenGigabitEthernet"]])),
    ])
}

fn exchange(asked: &str, mut rows: Vec<Cells>) -> Exchange {
    rows.sort();
    let answer = to_canonical(&Rows { count: rows.len() as u64, rows });
    Exchange { asked: asked.to_owned(), status: None, answer }
}

fn identity_row() -> Cells {
    row(&["isoledger", "hil", "f", "t", "t", "repeatable read", "on"])
}

fn evidence(tables: &BTreeMap<&str, Vec<Cells>>) -> Evidence {
    let there = |t: &tables::Table| t.always || tables.contains_key(t.name);
    let wanted = TABLES.iter().flat_map(|t| {
        t.columns.iter().map(move |c| {
            if there(t) { row(&[t.name, c, "r", "t", "t"]) } else { row(&[t.name, c, "-", "f", "-"]) }
        })
    });
    let mut exchanges = vec![
        exchange(IDENTITY, vec![identity_row()]),
        exchange(SYSTEM, vec![row(&["77"])]),
        exchange(WANTED, wanted.collect()),
    ];
    for table in TABLES.iter().filter(|t| there(t)) {
        exchanges.push(exchange(table.select, tables.get(table.name).cloned().unwrap_or_default()));
    }
    Evidence { subject: "unix:/x hil".into(), auth: "unix socket".into(), identity: None, exchanges }
}

fn declared(tables: &BTreeMap<&str, Vec<Cells>>) -> Declared {
    normalise(&evidence(tables)).unwrap()
}

fn said(d: &Declared) -> String {
    d.anomalies.iter().map(|a| format!("{}: {}\n", a.about, a.what)).collect()
}

#[test]
fn a_small_database_reads() {
    let d = declared(&small());
    assert_eq!(said(&d), "");
    assert_eq!(d.networks["red-net"].owner, Owner::Project("red".into()));
    assert_eq!(d.networks["red-net"].access, Access::Projects(["red".to_owned(), "blue".to_owned()].into()));
    assert_eq!(d.networks["lab"].vlan, NetworkVlan::Unassessable("4096".into()));
    assert_eq!((&d.networks["lab"].owner, &d.networks["lab"].access), (&Owner::Admin, &Access::Public));
    let attached: Vec<String> = d
        .attachments
        .iter()
        .map(|a| {
            let project = a.project.as_deref().unwrap_or("-");
            format!("{} {project} {} {} {:?} {:?}", a.network, a.node, a.nic, a.port, a.channel)
        })
        .collect();
    let port = |p: &str| Some(PortId::new("sw1", p));
    let none: Option<PortId> = None;
    assert_eq!(
        attached,
        [
            format!("lab - elm eth0 {:?} {:?}", port("1/0/2"), Channel::Other("vlan/4096".into())),
            format!("red-net blue head h0 {none:?} {:?}", Channel::ManagerHost),
            format!("red-net red oak eth0 {:?} {:?}", port("1/0/1"), Channel::Native),
            format!(
                "red-net red oak eth1 {none:?} {:?}",
                Channel::Tagged(isoledger_core::VlanId::new(100).unwrap())
            ),
        ]
    );
    let actions: Vec<_> = d
        .actions
        .iter()
        .map(|a| (a.node.as_str(), a.nic.as_str(), a.network.as_deref(), a.pending, a.port.is_some()))
        .collect();
    assert_eq!(actions, [("elm", "eth0", None, false, true), ("oak", "eth0", Some("lab"), true, true)]);
    assert_eq!((d.registered.len(), d.cabling.len()), (2, 2));
}

#[test]
fn switches_are_listed() {
    let [only] = &switches(&evidence(&small())).unwrap()[..] else { panic!() };
    assert_eq!((only.label.as_str(), only.kind.as_str()), ("sw1", "brocade"));
    let more = [("hostname", "vdx.example".to_owned()), ("interface_type", "TenGigabitEthernet".to_owned())];
    assert_eq!(only.more, more.into());
}

#[test]
fn what_does_not_hold_together_is_an_anomaly() {
    for (table, cells, words) in [
        ("network_attachment", &["9", "1", "1", "vlan/101"][..], "network's own id was expected"),
        ("network_attachment", &["9", "1", "1", "trunk"], "network's own id was expected"),
        ("network_attachment", &["9", "99", "1", "vlan/native"], "`nic_id` is 99, and there is no such row"),
        ("network_attachment", &["9", "1", "99", "vlan/native"], "`network_id` is 99"),
        ("network_attachment", &["9", "1", "-", "vlan/native"], "`network_id` is null"),
        ("network_attachment", &["9", "1", "1", "-"], "`channel` is null"),
        ("network_projects", &["99", "2"], "`project_id` is 99"),
        ("network_projects", &["1", "99"], "`network_id` is 99"),
        ("project", &["3", "red"], "the label \"red\" as well"),
        ("project", &["1", "green"], "two rows have this id"),
        ("project", &["3", "-"], "`label` is null"),
        ("node", &["3", "oak", "1"], "the label \"oak\" as well"),
        ("node", &["3", "ash", "99"], "`project_id` is 99"),
        ("nic", &["9", "eth0", "1", "-", "-"], "two nics of this label"),
        ("nic", &["9", "eth9", "99", "-", "-"], "`owner_id` is 99"),
        ("nic", &["9", "eth9", "1", "-", "99"], "`port_id` is 99"),
        ("nic", &["1", "eth9", "1", "-", "-"], "two rows have this id"),
        ("port", &["9", "-", "7"], "`label` is null"),
        ("port", &["9", "x", "8"], "`owner_id` is 8"),
        ("port", &["1", "x", "7"], "two rows have this id"),
        ("network", &["3", "red-net", "1", "t", "101"], "the label \"red-net\" as well"),
        ("network", &["3", "x", "99", "t", "101"], "`owner_id` is 99"),
        ("network", &["3", "x", "1", "t", "-"], "`network_id` is null"),
        ("networking_action", &["9", "DANCING", "modify_port", "1", "1", "x"], "`status` is \"DANCING\""),
        ("networking_action", &["9", "PENDING", "modify_port", "99", "1", "x"], "`nic_id` is 99"),
        ("networking_action", &["9", "PENDING", "modify_port", "1", "99", "x"], "`new_network_id` is 99"),
        ("headnode", &["9", "other", "99"], "`project_id` is 99"),
        ("hnic", &["9", "h9", "99", "1"], "`owner_id` is 99"),
        ("hnic", &["9", "h9", "1", "99"], "`network_id` is 99"),
        ("hnic", &["9", "h0", "1", "-"], "two nics of this label"),
    ] {
        let mut tables = small();
        tables.get_mut(table).unwrap().push(row(cells));
        let before = declared(&small());
        let d = declared(&tables);
        assert!(said(&d).contains(words), "{table} {cells:?}: {}", said(&d));
        for a in &before.attachments {
            assert!(
                d.attachments.iter().any(|b| (&b.network, &b.node, &b.nic) == (&a.network, &a.node, &a.nic))
            );
        }
    }
}

#[test]
fn anomalies_are_bounded() {
    let mut tables = small();
    let strays = (0..100_000).map(|n| row(&[&format!("9{n}"), "99", "1", "vlan/native"]));
    tables.get_mut("network_attachment").unwrap().extend(strays);
    let d = declared(&tables);
    assert_eq!(d.anomalies.len(), 201);
    assert!(said(&d).contains("99800 more anomalies are not listed"));
}

#[test]
fn databases_that_cannot_be_relied_on() {
    let with_identity = |cells: &[&str]| {
        let mut e = evidence(&small());
        e.exchanges[0] = exchange(IDENTITY, vec![row(cells)]);
        normalise(&e).unwrap_err().sentence
    };
    for (cells, words) in [
        (["r", "hil", "t", "t", "t", "repeatable read", "on"], "is a standby"),
        (["r", "hil", "f", "t", "f", "repeatable read", "on"], "GRANT USAGE ON SCHEMA public"),
        (["r", "hil", "f", "t", "t", "read committed", "on"], "do not run in one transaction"),
        (["r", "hil", "f", "t", "t", "repeatable read", "off"], "do not run in one transaction"),
    ] {
        let e = with_identity(&cells);
        assert!(e.contains(words), "{cells:?}: {e}");
    }
    let with_wanted = |name: &str, column: &str, cells: &[&str]| {
        let mut e = evidence(&small());
        let mut rows = open(&e.exchanges[2]).unwrap().rows;
        let at = rows.iter().position(|r| r[0].as_deref() == Some(name) && r[1].as_deref() == Some(column));
        rows[at.unwrap()] = row(&[&[name, column], cells].concat());
        e.exchanges[2] = exchange(WANTED, rows);
        normalise(&e).unwrap_err().sentence
    };
    for (name, column, cells, words) in [
        ("node", "id", ["-", "f", "-"], "there is no table public.node"),
        ("node", "id", ["v", "t", "t"], "public.node is no table (kind \"v\")"),
        ("node", "label", ["r", "f", "-"], "public.node has no column \"label\""),
        (
            "hnic",
            "label",
            ["r", "t", "f"],
            r#"run in HIL's database: GRANT SELECT ("id", "label", "owner_id", "network_id") ON public."hnic" TO isoledger;"#,
        ),
        ("brocade", "hostname", ["r", "t", "f"], r#"ON public."brocade" TO isoledger;"#),
    ] {
        let e = with_wanted(name, column, &cells);
        assert!(e.contains(words), "{name} {cells:?}: {e}");
    }
}

/// Whatever is taken away from the evidence is missed, and whatever is added is strange.
#[test]
fn evidence_is_whole_or_an_error() {
    let whole = evidence(&small());
    assert!(normalise(&whole).is_ok());
    for n in 0..whole.exchanges.len() {
        let mut less = whole.clone();
        less.exchanges.remove(n);
        assert!(normalise(&less).is_err(), "without {}", whole.exchanges[n].asked);
        let mut twice = whole.clone();
        twice.exchanges.push(whole.exchanges[n].clone());
        assert!(normalise(&twice).is_err(), "twice {}", whole.exchanges[n].asked);
        // Order means nothing.
        let mut turned = whole.clone();
        turned.exchanges.rotate_left(n);
        assert_eq!(normalise(&turned), normalise(&whole));
        // An answer cut anywhere.
        let answer = &whole.exchanges[n].answer;
        for cut in 0..answer.len() {
            let mut less = whole.clone();
            less.exchanges[n].answer = answer[..cut].to_vec();
            assert!(normalise(&less).is_err(), "{} cut at {cut}", whole.exchanges[n].asked);
        }
        // A row that vanished on the way: the server's own number tells.
        let rows = open(&whole.exchanges[n]).unwrap();
        for gone in 0..rows.rows.len() {
            let mut less = rows.clone();
            less.rows.remove(gone);
            let mut e = whole.clone();
            e.exchanges[n].answer = to_canonical(&less);
            assert!(normalise(&e).is_err(), "{} without row {gone}", whole.exchanges[n].asked);
        }
    }
    let mut more = whole;
    more.exchanges.push(exchange("SELECT 1", vec![]));
    assert!(normalise(&more).unwrap_err().sentence.contains("never sends"));
}

#[test]
fn a_failed_statement_is_why_there_is_no_reading() {
    let mut e = evidence(&small());
    let failed = SourceError::silent("the database is stopping");
    e.exchanges.truncate(4);
    e.exchanges.push(Exchange { asked: "x".into(), status: None, answer: Unread::bytes(&failed) });
    assert_eq!(normalise(&e), Err(failed));
}

#[test]
fn settings() {
    let settings = |server: &str| Settings {
        server: server.parse().unwrap(),
        tls: None,
        database: "hil".into(),
        user: "isoledger".into(),
        password: Some(Secret::new("hunter2")),
    };
    for good in ["unix:/run/x", "tcp:127.0.0.1:5432", "tcp:[::1]:5432", "tcp:localhost:5432"] {
        let made = HilDatabase::new(settings(good)).unwrap();
        assert!(!format!("{made:?}").contains("hunter2"));
    }
    for (bad, words) in [
        ("tcp:db.example:5432", "use ssl:db.example:5432"),
        ("tcp:10.0.0.1:5432", "only a loopback address may be plain"),
        ("ssl:db.example:5432", "no CA file"),
    ] {
        let e = HilDatabase::new(settings(bad)).unwrap_err().to_string();
        assert!(e.contains(words), "{bad}: {e}");
    }
    let e = HilDatabase::new(Settings { user: String::new(), ..settings("unix:/x") }).unwrap_err();
    assert_eq!(e, SettingsError::Empty { what: "user" });
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn arbitrary_answers_never_panic(answers in prop::collection::vec((0..TABLES.len() + 3, any::<Vec<u8>>()), 0..4)) {
        let mut e = evidence(&small());
        for (n, answer) in answers {
            if let Some(x) = e.exchanges.get_mut(n) {
                x.answer = answer;
            }
        }
        let _ = normalise(&e);
        let _ = switches(&e);
    }

    /// Cells of any row become anything: every attachment row that names a nic and a network is declared, or an anomaly
    /// says why not.
    #[test]
    fn whatever_the_rows_say_is_declared_or_told(
        edits in prop::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>(), 0..5usize, prop::option::of("[1-3]|99|vlan/100|red|")), 1..4),
    ) {
        let mut tables = small();
        let names: Vec<&str> = tables.keys().copied().collect();
        for (table, at, column, cell) in edits {
            let rows = tables.get_mut(names[table.index(names.len())]).unwrap();
            let n = at.index(rows.len());
            if let Some(found) = rows[n].get_mut(column) {
                *found = cell;
            }
        }
        let rows = tables["network_attachment"].clone();
        if let Ok(d) = normalise(&evidence(&tables)) && d.anomalies.is_empty() {
            let distinct: BTreeSet<_> = rows.iter().map(|r| r[1..].to_vec()).collect();
            let nodes: Vec<&Attachment> = d.attachments.iter().filter(|a| a.channel != Channel::ManagerHost).collect();
            prop_assert_eq!(nodes.len(), distinct.len());
        }
    }
}

#[test]
fn states_of_the_server() {
    for (code, kind) in [
        ("28P01", Failure::Unreadable),
        ("42501", Failure::Unreadable),
        ("57014", Failure::Silent),
        ("57P03", Failure::Silent),
        ("53300", Failure::Silent),
        ("55P03", Failure::Silent),
        ("XX000", Failure::Unreadable),
    ] {
        assert_eq!(connect::state(code).0, kind, "{code}");
    }
}
