//! The reader of HIL's database against a real PostgreSQL, and against HIL's own API where both can see.
#![allow(clippy::unwrap_used)]

use isoledger_collectors::hil::{self, Hil};
use isoledger_collectors::hil_database::{self, Excess, HilDatabase, Settings, normalise, tables};
use isoledger_collectors::net::{Address, TlsFiles};
use isoledger_collectors::{CloudManager, Evidence, Part, Reading, Secret, SourceError, Stopwatch};
use isoledger_core::model::{Access, Channel, Declared, Failure, Owner};
use isoledger_lab::{ActionStatus, Allocator, Cloud, HilServer, SwitchKind, World};
use isoledger_tests::ovs::until;
use isoledger_tests::postgres::{Headnode, PASSWORD, Pem, Postgres, SECRET};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use std::collections::BTreeSet;
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::time::{Duration, Instant};

/// Far away: no test waits for it.
fn later() -> Instant {
    Instant::now() + Duration::from_secs(60)
}

/// The role of docs/OPERATING.md, made by its own SQL.
fn grant(pg: &Postgres) {
    pg.sql(tables::ROLE);
    pg.sql(&format!("ALTER ROLE isoledger PASSWORD '{PASSWORD}'"));
}

fn settings(pg: &Postgres) -> Settings {
    Settings {
        server: Address::Unix(pg.socket()),
        tls: None,
        database: "hil".into(),
        user: "isoledger".into(),
        password: Some(Secret::new(PASSWORD)),
    }
}

fn reader(pg: &Postgres) -> HilDatabase {
    HilDatabase::new(settings(pg)).unwrap()
}

async fn read_by(db: &mut HilDatabase, deadline: Instant) -> Reading<Declared> {
    let clock = Stopwatch::from_system().unwrap();
    let reading = db.read(&clock, deadline).await;
    // Whatever happened, the evidence alone says the same, before and after it was stored.
    let stored = Evidence::from_bytes(&reading.evidence.to_bytes()).unwrap();
    assert_eq!(normalise(&stored), reading.outcome);
    let text = String::from_utf8(stored.to_bytes()).unwrap();
    assert!(!text.contains(PASSWORD) && !text.contains(SECRET), "a secret is in the evidence");
    reading
}

async fn read(db: &mut HilDatabase) -> Reading<Declared> {
    read_by(db, later()).await
}

async fn declared(db: &mut HilDatabase) -> Declared {
    let d = read(db).await.outcome.unwrap();
    assert_eq!(d.anomalies, []);
    d
}

async fn error(db: &mut HilDatabase) -> SourceError {
    read(db).await.outcome.unwrap_err()
}

/// What HIL's API shows of the same world.
async fn by_rest(world: &World) -> Declared {
    let cloud = Cloud::new(world.clone());
    let server = HilServer::start(&cloud).await.unwrap();
    let auth = hil::Auth::Basic { user: "auditor".into(), password: Secret::new("lab-auditor") };
    let mut rest = Hil::new(&hil::Config::new(server.url(), auth)).unwrap();
    let clock = Stopwatch::from_system().unwrap();
    let d = rest.read(&clock, later()).await.outcome.unwrap();
    assert_eq!(d.anomalies, []);
    d
}

/// A world with this done to it.
fn world(change: impl FnOnce(&mut World)) -> World {
    let mut world = World::two_tenants();
    change(&mut world);
    world
}

fn worlds() -> Vec<(&'static str, World)> {
    let mut out = vec![
        ("as it is", World::two_tenants()),
        ("nothing at all", {
            let mut w = World::new();
            w.add_user("auditor", "lab-auditor", true, &[]);
            w
        }),
        (
            "public and administrators' networks",
            world(|w| {
                w.add_network("pub-net", None, &[], "102");
                w.add_network("prov-net", None, &["red"], "500");
                w.add_network("own-public", Some("red"), &[], "501");
                w.grant("red-net", "blue").unwrap();
            }),
        ),
        (
            "two networks on one VLAN, and ids that are none",
            world(|w| {
                w.add_network("prov-net", None, &["red"], "500");
                w.add_network("prov-net2", None, &["blue"], "500");
                w.add_network("edge-net", None, &["red"], "4096");
                w.add_network("odd-net", None, &["red"], "0100");
                w.declare("node02", "eth0", "edge-net", "vlan/4096");
            }),
        ),
        (
            "free nodes with attachments",
            world(|w| {
                w.declare("node06", "eth0", "red-net", "vlan/100");
                w.move_node("node01", None).unwrap();
                w.move_node("node03", Some("red")).unwrap();
            }),
        ),
        (
            "nics without port, several nics, several on a network",
            world(|w| {
                w.declare("node01", "eth1", "red-net", "vlan/100");
                w.add_nic("node02", "eth1", "x").unwrap();
                w.add_nic("node02", "eth2", "y").unwrap();
                w.wire("node02", "eth2", "sw1", "sw1p4").unwrap();
                w.declare("node02", "eth2", "red-net", "vlan/native");
            }),
        ),
        (
            "two nics on one port",
            world(|w| {
                w.add_nic("node02", "eth9", "z").unwrap();
                w.wire("node02", "eth9", "sw1", "sw1p1").unwrap();
            }),
        ),
        (
            "quotes, spaces and other scripts in labels",
            world(|w| {
                w.add_project("o'brien \"&\" söhne");
                w.add_network(
                    "réseau 'x' \\ %41",
                    Some("o'brien \"&\" söhne"),
                    &["o'brien \"&\" söhne"],
                    "103",
                );
                w.add_node("ノード 1; DROP TABLE node", Some("o'brien \"&\" söhne"));
                w.add_nic("ノード 1; DROP TABLE node", "em 1\u{1F980}", "x").unwrap();
                w.register_port("sw1", "gi1/0/5 {a,b}").unwrap();
                w.wire("ノード 1; DROP TABLE node", "em 1\u{1F980}", "sw1", "gi1/0/5 {a,b}").unwrap();
                w.declare("ノード 1; DROP TABLE node", "em 1\u{1F980}", "réseau 'x' \\ %41", "vlan/103");
            }),
        ),
        (
            "the null allocator",
            world(|w| {
                w.hil.allocator = Allocator::Null;
                for (n, network) in w.networks.iter_mut().enumerate() {
                    network.network_id = format!("9f1c6e0a-0d5c-11ef-8d3a-0242ac12000{n}");
                }
                w.attachments.iter_mut().for_each(|a| a.channel = "null".into());
            }),
        ),
        (
            "every kind of switch, one of them twice",
            world(|w| {
                for (label, kind) in [
                    ("dell", SwitchKind::PowerConnect55xx),
                    ("n3k", SwitchKind::DellN3000),
                    ("nexus", SwitchKind::Nexus),
                    ("vdx-te", SwitchKind::Brocade),
                    ("vdx-gi", SwitchKind::Brocade),
                    ("os9", SwitchKind::DellNos9),
                    ("mock", SwitchKind::Mock),
                ] {
                    w.add_declared_switch(label, kind).unwrap();
                    w.register_port(label, "1/0/1").unwrap();
                }
            }),
        ),
    ];
    for seed in 1..=12 {
        out.push(("at random", random(seed)));
    }
    out
}

/// A world of any shape, the same for the same seed.
fn random(seed: u64) -> World {
    let mut state = seed;
    let mut below = |n: u64| {
        // Knuth's constants; the upper bits are the random ones.
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % n.max(1)
    };
    let mut w = World::two_tenants();
    let projects = ["red", "blue", "green"];
    w.add_project("green");
    for n in 0..below(8) {
        let owner = [None, Some("red"), Some("green")][below(3) as usize];
        let access: Vec<&str> = projects.into_iter().filter(|_| below(2) == 0).collect();
        w.add_network(&format!("net{n}"), owner, &access, &(200 + below(4)).to_string());
    }
    for n in 0..below(10) {
        let node = format!("extra{n}");
        w.add_node(&node, [None, Some("red"), Some("blue")][below(3) as usize]);
        for nic in 0..below(4) {
            let nic = format!("em{nic}");
            w.add_nic(&node, &nic, &format!("02:00:00:00:{n:02x}:01")).unwrap();
            let port = format!("p{n}-{nic}");
            if below(3) > 0 {
                w.register_port("sw2", &port).unwrap();
                w.wire(&node, &nic, "sw2", &port).unwrap();
            }
            let networks: Vec<(String, String)> =
                w.networks.iter().map(|n| (n.label.clone(), n.network_id.clone())).collect();
            let mut native = false;
            for (label, id) in networks {
                if below(3) == 0 {
                    // One network a channel, as HIL has it.
                    let tagged = native || below(2) == 0;
                    native |= !tagged;
                    let channel = if tagged { format!("vlan/{id}") } else { "vlan/native".into() };
                    if !w.attachments.iter().any(|a| a.node == node && a.nic == nic && a.channel == channel) {
                        w.declare(&node, &nic, &label, &channel);
                    }
                }
            }
        }
    }
    w
}

#[tokio::test]
async fn the_database_says_what_the_api_says() {
    let Some(pg) = Postgres::start(None) else { return };
    grant(&pg);
    let mut db = reader(&pg);
    let mut attachments = 0;
    for (name, world) in worlds() {
        pg.load(&world, &[]);
        let d = declared(&mut db).await;
        assert_eq!(d, by_rest(&world).await, "{name}");
        attachments += d.attachments.len();
    }
    assert!(attachments > 100, "only {attachments} attachments were compared");

    // What only the database knows: actions and headnodes.
    let mut w = World::two_tenants();
    w.begin_attach("node01", "eth0", "red-net", Some("vlan/100")).unwrap_err();
    w.begin_detach("node02", "eth0", "red-net").unwrap();
    w.begin_revert("sw2", "sw2p1").unwrap();
    w.begin_attach("node05", "eth0", "red-net", None).unwrap_err();
    for action in w.actions.iter_mut().filter(|a| a.node == "node04") {
        action.status = ActionStatus::Error;
    }
    let headnodes = [
        Headnode {
            label: "head".into(),
            project: "red".into(),
            nics: vec![("h0".into(), Some("red-net".into())), ("h1".into(), None)],
        },
        Headnode {
            label: "node01".into(),
            project: "blue".into(),
            nics: vec![("eth0".into(), Some("red-net".into()))],
        },
    ];
    pg.load(&w, &headnodes);
    let mut d = declared(&mut db).await;
    let actions: Vec<_> = d
        .actions
        .iter()
        .map(|a| {
            let port = a.port.as_ref().map(ToString::to_string);
            (a.node.as_str(), a.nic.as_str(), port, a.network.as_deref(), a.pending)
        })
        .collect();
    assert_eq!(
        actions,
        [
            ("node02", "eth0", Some("sw1 sw1p2".into()), None, true),
            ("node04", "eth0", Some("sw2 sw2p1".into()), None, false)
        ]
    );
    let hosted: Vec<_> = d
        .attachments
        .iter()
        .filter(|a| a.channel == Channel::ManagerHost)
        .map(|a| {
            (
                a.network.as_str(),
                a.project.as_deref().unwrap(),
                a.node.as_str(),
                a.nic.as_str(),
                a.port.is_none(),
            )
        })
        .collect();
    assert_eq!(hosted, [("red-net", "blue", "node01", "eth0", true), ("red-net", "red", "head", "h0", true)]);
    d.actions.clear();
    d.attachments.retain(|a| a.channel != Channel::ManagerHost);
    assert_eq!(d, by_rest(&w).await);

    // And the one word that HIL's API has for two things.
    let mut w = World::two_tenants();
    w.add_project("admin");
    w.add_network("theirs", Some("admin"), &["admin"], "300");
    pg.load(&w, &[]);
    assert_eq!(declared(&mut db).await.networks["theirs"].owner, Owner::Project("admin".into()));
    assert_eq!(by_rest(&w).await.networks["theirs"].owner, Owner::Admin);
}

#[tokio::test]
async fn readings_are_cheap_stable_and_read_only() {
    let Some(pg) = Postgres::start(None) else { return };
    grant(&pg);
    pg.load(&World::two_tenants(), &[]);
    let mut db = reader(&pg);
    assert_eq!(db.calls_per_crawl(), None);
    let before = pg.statements().len();
    let first = read(&mut db).await;
    let said: Vec<String> = pg.statements()[before..].to_vec();
    assert_eq!(u64::try_from(said.len()), Ok(first.sent), "{said:?}");
    assert_eq!(db.calls_per_crawl(), Some(first.sent));
    // Nothing but the constants, the number of milliseconds aside.
    let known: BTreeSet<&str> = tables::sends().collect();
    for statement in &said {
        let constant =
            statement.strip_prefix("SET LOCAL statement_timeout = ").map_or(statement.as_str(), |n| {
                assert!(n.parse::<u32>().is_ok_and(|ms| (1..=60_000).contains(&ms)), "{n}");
                tables::TIMEOUT
            });
        assert!(known.contains(constant), "{statement}");
    }
    let identity = first.evidence.identity.clone().unwrap();
    let system = pg.sql("SELECT system_identifier FROM pg_control_system()");
    assert_eq!(identity, format!("postgresql={} database=hil", system.trim()));
    assert_eq!(first.evidence.auth, "unix socket, as isoledger with password");
    // The same bytes, over the same connection, whatever order the server gives rows in.
    pg.sql("UPDATE node SET label = label WHERE id < 4; UPDATE nic SET label = label WHERE id % 2 = 0");
    let clock = Stopwatch::from_system().unwrap();
    let part = Part::default();
    let again = db.reread(&part, &first.evidence, &clock, later()).await;
    assert_eq!(again.evidence, first.evidence);
    assert_eq!(pg.sql("SELECT count(*) FROM pg_stat_activity WHERE usename = 'isoledger'").trim(), "1");
    // A nic detached and attached again shows in the evidence, though nothing is declared otherwise.
    pg.sql("UPDATE network_attachment SET id = 99 WHERE id = 1");
    let moved = read(&mut db).await;
    assert_ne!(moved.evidence, first.evidence);
    assert_eq!(moved.outcome, first.outcome);
    // A connection that the server ended is made anew.
    pg.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'isoledger'");
    assert_eq!(read(&mut db).await.outcome, first.outcome);
    let switches = hil_database::switches(&first.evidence).unwrap();
    let told = switches.iter().map(|s| (s.label.as_str(), s.kind.as_str(), s.more["ovs_bridge"].as_str()));
    assert_eq!(told.collect::<Vec<_>>(), [("sw1", "ovs", "br-sw1"), ("sw2", "ovs", "br-sw2")]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_during_a_reading_is_seen_whole_or_not_at_all() {
    let Some(pg) = Postgres::start(None) else { return };
    grant(&pg);
    pg.load(&World::two_tenants(), &[]);
    let mut db = reader(&pg);
    let before = declared(&mut db).await;

    // The reader has begun and waits for the table of attachments; meanwhile everything changes and is committed.
    let held = pg.hold("LOCK TABLE network_attachment IN ACCESS EXCLUSIVE MODE");
    let reading = tokio::spawn(async move {
        let reading = read(&mut db).await;
        (db, reading)
    });
    tokio::task::block_in_place(|| {
        until("the reader to wait", || {
            let waiting = pg.sql("SELECT count(*) FROM pg_locks WHERE NOT granted");
            (waiting.trim() == "1").then_some(())
        });
        held.commit(
            "DELETE FROM networking_action; DELETE FROM network_attachment; DELETE FROM nic; DELETE FROM network_projects",
        );
    });
    let (mut db, reading) = reading.await.unwrap();
    assert_eq!(reading.outcome.unwrap(), before, "the state when it began");
    let after = declared(&mut db).await;
    assert!(after.attachments.is_empty() && after.cabling.is_empty());
    assert_eq!(after.networks["red-net"].access, Access::Public);

    // A node that changes its network all the time is always on exactly one, and never between two.
    pg.load(&World::two_tenants(), &[]);
    let stop = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    std::thread::scope(|scope| {
        let until_told = std::sync::Arc::clone(&stop);
        let pg = &pg;
        scope.spawn(move || {
            let swap = "BEGIN; DELETE FROM network_attachment WHERE nic_id = 1; INSERT INTO network_attachment \
                        VALUES (1, 1, 2, 'vlan/native'); COMMIT; BEGIN; DELETE FROM network_attachment WHERE nic_id = 1; \
                        INSERT INTO network_attachment VALUES (1, 1, 1, 'vlan/native'); COMMIT;"
                .repeat(20);
            while !until_told.load(std::sync::atomic::Ordering::Relaxed) {
                pg.sql(&swap);
            }
        });
        tokio::task::block_in_place(|| {
            tokio::runtime::Handle::current().block_on(async {
                let mut seen = BTreeSet::new();
                for _ in 0..60 {
                    let d = declared(&mut db).await;
                    let on: Vec<_> = d
                        .attachments
                        .iter()
                        .filter(|a| a.node == "node01")
                        .map(|a| a.network.clone())
                        .collect();
                    assert_eq!(on.len(), 1, "{on:?}");
                    seen.extend(on);
                }
                println!("seen: {seen:?}");
            });
        });
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
    });
}

#[tokio::test]
async fn rights_are_told_and_their_lack_names_the_grant() {
    let Some(pg) = Postgres::start(None) else { return };
    grant(&pg);
    pg.load(&World::two_tenants(), &[]);
    let mut db = reader(&pg);
    let rights = db.rights(later()).await.unwrap();
    assert_eq!((&*rights.user, &*rights.database, &rights.missing), ("isoledger", "hil", &None));
    assert_eq!((rights.excess.clone(), rights.advice()), (vec![], Vec::<String>::new()));
    assert_eq!(rights.reads.len(), tables::TABLES.len());
    assert!(rights.reads.contains(&"public.nexus(dummy_vlan, hostname, id)".to_owned()));

    // The role itself cannot do more, asked by the server's own means.
    for forbidden in
        ["SELECT password FROM nexus", "SELECT * FROM \"user\"", "SELECT * FROM node", "DELETE FROM nic"]
    {
        let tried = pg.sql(&format!(
            "CREATE OR REPLACE FUNCTION pg_temp.tried() RETURNS text LANGUAGE plpgsql AS $$ BEGIN SET LOCAL ROLE isoledger; \
             EXECUTE {}; RETURN 'done'; EXCEPTION WHEN insufficient_privilege THEN RETURN 'refused'; END $$; \
             SELECT pg_temp.tried()",
            isoledger_tests::postgres::literal(forbidden)
        ));
        assert!(tried.contains("refused"), "{forbidden}: {tried}");
    }

    // Every right too many is named.
    for (sql, expected) in [
        ("ALTER ROLE isoledger CREATEDB", Excess::Attribute("createdb".into())),
        ("ALTER ROLE isoledger CREATEROLE", Excess::Attribute("createrole".into())),
        ("ALTER ROLE isoledger BYPASSRLS", Excess::Attribute("bypassrls".into())),
        ("GRANT pg_monitor TO isoledger", Excess::Member("pg_monitor".into())),
        ("GRANT SELECT ON nexus TO isoledger", Excess::ReadsSecret("public.nexus.password".into())),
        ("GRANT SELECT ON \"user\" TO isoledger", Excess::ReadsSecret("public.user.hashed_password".into())),
        ("GRANT SELECT (obmd_uri) ON node TO isoledger", Excess::Reads("public.node(obmd_uri)".into())),
        ("GRANT UPDATE (label) ON node TO isoledger", Excess::Write("public.node UPDATE".into())),
        ("GRANT TRUNCATE ON nic TO isoledger", Excess::Write("public.nic TRUNCATE".into())),
        (
            "GRANT USAGE ON SEQUENCE node_id_seq TO isoledger",
            Excess::Write("public.node_id_seq USAGE".into()),
        ),
        ("GRANT CREATE ON SCHEMA public TO isoledger", Excess::Create("schema public".into())),
        ("GRANT CREATE ON DATABASE hil TO isoledger", Excess::Create("database hil".into())),
        ("ALTER TABLE metadata OWNER TO isoledger", Excess::Owns("relation public.metadata".into())),
    ] {
        pg.sql(sql);
        let rights = db.rights(later()).await.unwrap();
        assert!(rights.excess.contains(&expected), "{sql}: {:?}", rights.excess);
        assert!(!rights.advice().is_empty());
        // More rights than needed are no reason not to read.
        declared(&mut db).await;
    }
    let owner = Settings { user: "admin".into(), password: None, ..settings(&pg) };
    let rights = HilDatabase::new(owner).unwrap().rights(later()).await.unwrap();
    assert!(rights.excess.contains(&Excess::Attribute("superuser".into())));
    assert!(rights.advice()[0].contains("The role admin has"), "{:?}", rights.advice());

    // A right too few is an error with the statement to run, and running it is enough.
    pg.sql("REVOKE ALL ON hnic, brocade FROM isoledger; REVOKE ALL (id, label) ON hnic FROM isoledger");
    pg.sql("REVOKE ALL (id, hostname, interface_type) ON brocade FROM isoledger");
    let e = error(&mut db).await;
    assert_eq!(e.kind, Failure::Unreadable);
    let statements: Vec<&str> =
        e.sentence.split("run in HIL's database: ").nth(1).unwrap().split_inclusive(';').collect();
    assert_eq!(statements.len(), 2, "{e}");
    assert_eq!(db.rights(later()).await.unwrap().missing.as_ref(), Some(&e.sentence));
    pg.sql(&statements.concat());
    declared(&mut db).await;
    pg.sql("REVOKE USAGE ON SCHEMA public FROM isoledger, PUBLIC");
    assert!(error(&mut db).await.sentence.contains("GRANT USAGE ON SCHEMA public TO isoledger"));
    pg.sql("GRANT USAGE ON SCHEMA public TO isoledger");

    // An extension that is not installed has no table; a table of the core that is not there is another database.
    pg.sql("DROP TABLE ovs, brocade");
    declared(&mut db).await;
    pg.sql("ALTER TABLE hnic RENAME TO hnic_old");
    assert!(error(&mut db).await.sentence.contains("there is no table public.hnic"));
    pg.sql("CREATE VIEW hnic AS SELECT * FROM hnic_old WHERE false; GRANT SELECT ON hnic TO isoledger");
    assert!(error(&mut db).await.sentence.contains("public.hnic is no table"));
    pg.sql("DROP VIEW hnic; ALTER TABLE hnic_old RENAME TO hnic; ALTER TABLE hnic RENAME network_id TO net");
    assert!(error(&mut db).await.sentence.contains("public.hnic has no column \"network_id\""));
    pg.sql("ALTER TABLE hnic RENAME net TO network_id");
    declared(&mut db).await;

    // Rows that a policy would hide are an error, not a shorter list.
    pg.sql("ALTER ROLE isoledger NOBYPASSRLS; ALTER TABLE nic ENABLE ROW LEVEL SECURITY");
    let e = error(&mut db).await;
    assert!(e.sentence.contains("row-level security"), "{e}");
}

#[tokio::test]
async fn failures_are_told_apart() {
    let Some(mut pg) = Postgres::start(None) else { return };
    grant(&pg);
    pg.load(&World::two_tenants(), &[]);
    for (settings, kind, words) in [
        (
            Settings { password: Some(Secret::new("wrong")), ..settings(&pg) },
            Failure::Unreadable,
            "refuses the user's password",
        ),
        (Settings { user: "ghost".into(), ..settings(&pg) }, Failure::Unreadable, "password"),
        (Settings { password: None, ..settings(&pg) }, Failure::Unreadable, "password"),
        (
            Settings { database: "lih".into(), ..settings(&pg) },
            Failure::Unreadable,
            "there is no such database",
        ),
        (
            Settings { database: "postgres".into(), ..settings(&pg) },
            Failure::Unreadable,
            "is `database` HIL's?",
        ),
        (
            Settings { server: Address::Unix(pg.dir().join("nothing")), ..settings(&pg) },
            Failure::Silent,
            "no such file or socket",
        ),
    ] {
        let e = error(&mut HilDatabase::new(settings).unwrap()).await;
        assert_eq!((e.kind, e.sentence.contains(words)), (kind, true), "{words}: {e}");
        assert!(!e.sentence.contains("wrong\"") && !e.sentence.contains(PASSWORD), "{e}");
    }
    // Plain TCP on this host.
    let tcp = Address::Tcp { host: "127.0.0.1".into(), port: pg.port };
    let mut db = HilDatabase::new(Settings { server: tcp, ..settings(&pg) }).unwrap();
    assert!(read(&mut db).await.evidence.auth.starts_with("tcp on this host"));

    // A table that somebody holds: told before the deadline, and the next reading works.
    let mut db = reader(&pg);
    declared(&mut db).await;
    let held = pg.hold("LOCK TABLE node IN ACCESS EXCLUSIVE MODE");
    let begun = Instant::now();
    let reading = read_by(&mut db, begun + Duration::from_millis(300)).await;
    let e = reading.outcome.unwrap_err();
    assert_eq!(e.kind, Failure::Silent, "{e}");
    assert!(begun.elapsed() < Duration::from_secs(10));
    assert!(!reading.evidence.exchanges.is_empty(), "what had arrived is kept");
    held.commit("SELECT 1");
    declared(&mut db).await;
    // The server gave the statement up as well.
    until("no statement to be left", || {
        let busy = pg.sql("SELECT count(*) FROM pg_locks WHERE NOT granted");
        (busy.trim() == "0").then_some(())
    });
    pg.stop();
    let e = error(&mut db).await;
    assert_eq!(e.kind, Failure::Silent, "{e}");
}

/// Servers that are none, or lie about sizes: told in words, in time, in bounded memory.
#[tokio::test]
async fn strange_servers() {
    type Serve = fn(std::net::TcpStream);
    let silent: Serve = |mut s| drop(s.read(&mut [0; 1]).and_then(|_| s.read_to_end(&mut Vec::new())));
    let gone: Serve = |s| drop(s);
    let garbage: Serve = |mut s| drop(s.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n"));
    // Lets us in, then begins a row of a gigabyte.
    let endless: Serve = |mut s| {
        let mut asked = [0; 1024];
        let _ = s.read(&mut asked);
        let _ = s.write_all(b"R\0\0\0\x08\0\0\0\0Z\0\0\0\x05I");
        let _ = s.read(&mut asked);
        let _ = s.write_all(b"D\x40\0\0\0\0\x01\x3f\xff\xff\xf0");
        while s.write_all(&[b'x'; 1 << 16]).is_ok() {}
    };
    for (name, serve, kinds, words) in [
        ("silent", silent, &[Failure::Silent][..], "no answer before the deadline"),
        ("gone", gone, &[Failure::Silent], ""),
        ("garbage", garbage, &[Failure::Silent, Failure::Unreadable], ""),
        ("endless", endless, &[Failure::Unreadable], "more than 33554432 bytes"),
    ] {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        std::thread::spawn(move || {
            for stream in listener.incoming().take(3).flatten() {
                serve(stream);
            }
        });
        let mut db = HilDatabase::new(Settings {
            server: Address::Tcp { host: "127.0.0.1".into(), port },
            tls: None,
            database: "hil".into(),
            user: "isoledger".into(),
            password: Some(Secret::new(PASSWORD)),
        })
        .unwrap();
        let patience = Duration::from_millis(if name == "silent" { 200 } else { 20_000 });
        let e = read_by(&mut db, Instant::now() + patience).await.outcome.unwrap_err();
        assert!(kinds.contains(&e.kind) && e.sentence.contains(words), "{name}: {:?} {e}", e.kind);
    }
}

#[tokio::test]
async fn tls_is_verified() {
    let ca = |name: &str| {
        let mut params = CertificateParams::new(vec![name.into()]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
    };
    let (ours, other) = (ca("ours"), ca("other"));
    let key = KeyPair::generate().unwrap();
    let certificate =
        CertificateParams::new(vec!["localhost".into()]).unwrap().signed_by(&key, &ours).unwrap();
    let pem = Pem { certificate: certificate.pem(), key: key.serialize_pem() };
    let Some(pg) = Postgres::start(Some(&pem)) else { return };
    grant(&pg);
    pg.load(&World::two_tenants(), &[]);
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str, text: String| {
        let path = dir.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    let (ours, other) = (file("ours.pem", ours.pem()), file("other.pem", other.pem()));
    let over = |ca: &std::path::Path, host: &str, name: Option<&str>| {
        let tls = TlsFiles { ca: ca.to_owned(), client: None, server_name: name.map(str::to_owned) };
        let server = Address::Tls { host: host.into(), port: pg.port };
        HilDatabase::new(Settings { server, tls: Some(tls), ..settings(&pg) }).unwrap()
    };
    let reading = read(&mut over(&ours, "127.0.0.1", Some("localhost"))).await;
    assert!(reading.outcome.is_ok(), "{:?}", reading.outcome);
    assert_eq!(reading.evidence.auth, "tls, server certificate verified, as isoledger with password");
    let identity = reading.evidence.identity.unwrap();
    assert!(identity.contains("postgresql=") && identity.contains(" certificate-sha256="), "{identity}");
    for (mut db, words) in [
        (over(&other, "127.0.0.1", Some("localhost")), "not issued by an authority"),
        (over(&ours, "127.0.0.1", None), "bears another name"),
    ] {
        let e = error(&mut db).await;
        assert!(e.sentence.contains(words), "{words}: {e}");
    }
    let Some(plain) = Postgres::start(None) else { return };
    let server = Address::Tls { host: "127.0.0.1".into(), port: plain.port };
    let tls = TlsFiles { ca: ours, client: None, server_name: Some("localhost".into()) };
    let e =
        error(&mut HilDatabase::new(Settings { server, tls: Some(tls), ..settings(&plain) }).unwrap()).await;
    assert!(e.sentence.contains("does not offer TLS"), "{e}");
}

/// The page shows the role as the code has it.
#[test]
fn the_roles_sql_is_in_the_manual() {
    let manual =
        std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/OPERATING.md")).unwrap();
    assert!(manual.contains(tables::ROLE), "docs/OPERATING.md must hold:\n{}", tables::ROLE);
    let page =
        std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/dialects/declared-file.md"));
    let example = include_str!("../../collectors/fixtures/declared-file/site.toml");
    assert!(page.unwrap().contains(example), "docs/dialects/declared-file.md must hold the example");
}
