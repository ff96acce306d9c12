//! The normaliser on whole declarations: our own fixture, responses captured from a real HIL where they are at hand,
//! one row per quirk, and properties.

use super::*;
use isoledger_core::VlanId;
use isoledger_core::model::{Access, Channel, NetworkVlan, Owner, PortId};
use proptest::prelude::*;
use std::collections::BTreeSet;

/// The fixture's exchanges: `GET path -> status`, the body in one line, an empty line.
fn greenhouse() -> Vec<Exchange> {
    let text = include_str!("../../fixtures/hil/greenhouse.txt");
    let mut out = Vec::new();
    let mut lines = text.lines().filter(|l| !l.starts_with('#') && !l.is_empty());
    while let Some(head) = lines.next() {
        let (asked, status) = head.split_once(" -> ").unwrap();
        let body = lines.next().unwrap().as_bytes().to_vec();
        out.push(kept(asked, status.parse().unwrap(), body));
    }
    out
}

/// An exchange as it enters the evidence.
fn kept(asked: &str, status: u16, body: Vec<u8>) -> Exchange {
    let ask = Ask::from_path(asked.strip_prefix(GET).unwrap()).unwrap();
    let answer = Answer::kept(&ask, status, body);
    Exchange { asked: asked.into(), status: Some(answer.status), answer: answer.body }
}

fn evidence(exchanges: Vec<Exchange>) -> Evidence {
    Evidence {
        subject: "https://hil.example".into(),
        auth: "HTTP Basic as admin".into(),
        identity: None,
        exchanges,
    }
}

fn declared(exchanges: Vec<Exchange>) -> Declared {
    normalise(&evidence(exchanges)).unwrap()
}

fn said(declared: &Declared) -> String {
    declared.anomalies.iter().map(|a| format!("{}: {}\n", a.about, a.what)).collect()
}

fn vlan(id: u16) -> NetworkVlan {
    NetworkVlan::Id(VlanId::new(id).unwrap())
}

fn projects(names: &[&str]) -> Access {
    Access::Projects(names.iter().map(|n| (*n).to_owned()).collect())
}

#[test]
fn greenhouse_reads_whole() {
    let d = declared(greenhouse());
    assert_eq!(said(&d), "");
    let networks: Vec<_> = d
        .networks
        .iter()
        .map(|(n, w)| (n.as_str(), w.vlan.clone(), w.owner.clone(), w.access.clone()))
        .collect();
    let owner = |name: &str| Owner::Project(name.into());
    assert_eq!(
        networks,
        [
            ("attic", NetworkVlan::Unassessable("4096".into()), Owner::Admin, projects(&["ferns"])),
            ("mist", vlan(210), owner("palms"), projects(&["ferns", "palms"])),
            ("rain", vlan(300), Owner::Admin, projects(&[])),
            ("seed bank 100%", vlan(211), owner("ferns"), projects(&["ferns"])),
            ("sun", vlan(300), Owner::Admin, Access::Public),
        ]
    );
    let attachments: Vec<_> = d
        .attachments
        .iter()
        .map(|a| {
            let port = a.port.as_ref().map(PortId::to_string).unwrap_or_default();
            (
                a.network.as_str(),
                a.project.as_deref(),
                a.node.as_str(),
                a.nic.as_str(),
                port,
                a.channel.clone(),
            )
        })
        .collect();
    let tagged = |id| Channel::Tagged(VlanId::new(id).unwrap());
    let bench = || "bench 1 gi1/0/1".to_owned();
    assert_eq!(
        attachments,
        [
            ("attic", Some("ferns"), "fern-1", "em1", bench(), Channel::Other("vlan/4096".into())),
            ("mist", Some("ferns"), "fern-1", "em1", bench(), Channel::Native),
            ("seed bank 100%", Some("ferns"), "fern-1", "em1", bench(), tagged(211)),
            ("sun", None, "fern-2", "em1", "aisle 7".to_owned(), tagged(300)),
        ]
    );
    let cabling: Vec<_> = d.cabling.iter().map(|c| format!("{} {} {}", c.port, c.node, c.nic)).collect();
    assert_eq!(cabling, ["aisle 7 fern-2 em1", "bench 1 gi1/0/1 fern-1 em1"]);
    let registered: Vec<_> = d.registered.iter().map(PortId::to_string).collect();
    assert_eq!(registered, ["aisle 7", "bench 1 gi1/0/1", "bench 1 gi1/0/2"]);
    assert!(d.actions.is_empty());
}

#[test]
fn evidence_never_holds_metadata() {
    let bytes = evidence(greenhouse()).to_bytes();
    let text = String::from_utf8(bytes).unwrap();
    assert!(text.contains(r#"\"metadata\": \"[redacted]\""#) && !text.contains("never to be seen"));
}

#[test]
fn redaction_changes_nothing_that_is_read() {
    let raw: Vec<Exchange> = include_str!("../../fixtures/hil/greenhouse.txt")
        .split("\n\n")
        .skip(1)
        .map(|entry| {
            let (head, body) = entry.split_once('\n').unwrap();
            let (asked, _) = head.split_once(" -> ").unwrap();
            Exchange { asked: asked.into(), status: Some(200), answer: body.trim_end().into() }
        })
        .collect();
    assert_eq!(declared(raw), declared(greenhouse()));
}

#[test]
fn order_of_exchanges_and_nics_does_not_matter() {
    let expected = declared(greenhouse());
    let mut exchanges = greenhouse();
    exchanges.reverse();
    assert_eq!(declared(exchanges), expected);
}

/// One thing about the greenhouse is changed, and one anomaly, or none, tells of it.
#[test]
fn quirks() {
    /// What is expected of the changed greenhouse.
    enum Expect {
        /// Understood.
        Clean,
        /// These words, among the anomalies.
        Anomaly(&'static str),
        /// These words, and no declaration.
        Error(&'static str),
    }
    use Expect::*;
    let node1 = "/v0/node/fern-1";
    let node2 = "/v0/node/fern-2";
    let sun = "/v0/network/sun";
    let html = "<!DOCTYPE HTML>\n<title>500 Internal Server Error</title><p>SECRET";
    let denied = r#"{"type":"AuthorizationError","msg":"This operation is administrator-only."}"#;
    let failed = r#"{"type":"AuthorizationError","msg":"Authentication failed. Authentication is required to use this service."}"#;
    let ghost = r#"{"msg": "User admin does not exist.", "type": "NotFoundError"}"#;
    let gone = r#"{"msg": "Node fern-2 does not exist.", "type": "NotFoundError"}"#;
    // What happens, where; the status; (text, its replacement) or (nothing, the whole body); what is expected.
    type Row = (&'static str, &'static str, u16, (&'static str, &'static str), Expect);
    let table: &[Row] = &[
        // Whole answers.
        (
            "html 500",
            node1,
            500,
            ("", html),
            Anomaly("HIL answered 500 \"[html: 500 Internal Server Error]\""),
        ),
        (
            "html 404 of the router",
            node1,
            404,
            ("", "<title>404 Not Found</title>"),
            Anomaly("answered 404 \"[html: 404 Not Found]\""),
        ),
        ("html 405", sun, 405, ("", "<title>405 Method Not Allowed</title>"), Anomaly("answered 405")),
        ("html 200 of some proxy", sun, 200, ("", "<html><title>Log in</title>"), Anomaly("found no JSON")),
        ("empty 200", node1, 200, ("", ""), Anomaly("found an empty body")),
        ("cut off", sun, 200, ("}, \"name\"", ""), Anomaly("found no JSON")),
        (
            "json error 400",
            sun,
            400,
            ("", r#"{"msg":"x","type":"ValidationError"}"#),
            Anomaly("answered 400 ValidationError: x"),
        ),
        ("another type of page", node1, 200, ("", "[]"), Anomaly("`name` is nothing; a string was expected")),
        ("another type of page", sun, 200, ("", "[]"), Anomaly("`owner` is nothing; a string was expected")),
        (
            "deleted between list and page",
            node2,
            404,
            ("", gone),
            Anomaly("HIL listed it and then did not know it"),
        ),
        ("unknown members", node2, 200, (r#""name""#, r#""colour": [1, {"a": null}], "name""#), Clean),
        (
            "a member twice",
            node2,
            200,
            (r#""name""#, r#""name": "x", "name""#),
            Anomaly("two members \"name\""),
        ),
        // Refusals.
        ("unknown user", "/v0/switches", 404, ("", ghost), Error("does not know the configured user")),
        ("unknown user on a page", node2, 404, ("", ghost), Error("does not know the configured user")),
        (
            "wrong password",
            "/v0/switches",
            401,
            ("", failed),
            Error("refuses the configured user's password"),
        ),
        ("not an administrator", "/v0/switches", 401, ("", denied), Error("not an administrator")),
        ("redirect", "/v0/switches", 302, ("", ""), Error("redirect")),
        // Lists.
        (
            "a list that is html",
            "/v0/nodes/all",
            500,
            ("", html),
            Error("GET /v0/nodes/all: HIL answered 500"),
        ),
        (
            "a list that is an object",
            "/v0/nodes/all",
            200,
            ("", "{}"),
            Error("is an object; a list was expected"),
        ),
        (
            "networks that are a list",
            "/v0/networks",
            200,
            ("", "[]"),
            Error("is a list; an object was expected"),
        ),
        ("a label that is a number", "/v0/nodes/all", 200, ("[", "[7, "), Anomaly("the list has a number")),
        ("a label twice", "/v0/nodes/all", 200, ("[", r#"["fern-1", "#), Anomaly("lists \"fern-1\" twice")),
        (
            "a node that was never read",
            "/v0/nodes/all",
            200,
            ("[", r#"["oak", "#),
            Anomaly("/v0/node/oak: was not read"),
        ),
        (
            "a page that is not listed",
            "/v0/nodes/all",
            200,
            (r#""fern-1", "#, ""),
            Anomaly("does not list \"fern-1\""),
        ),
        (
            "a label with a slash",
            "/v0/nodes/all",
            200,
            ("[", r#"["a/b", "#),
            Anomaly("cannot be asked for: its label has a slash"),
        ),
        (
            "an empty label",
            "/v0/switches",
            200,
            ("[", r#"["", "#),
            Anomaly("cannot be asked for: its label is empty"),
        ),
        // Networks.
        ("a uuid for an id", "/v0/networks", 200, (r#""210""#, r#""5d3c-x""#), Clean),
        ("vlan 0", "/v0/networks", 200, (r#""210""#, r#""0""#), Clean),
        ("an id in another spelling", "/v0/networks", 200, (r#""210""#, r#""0210""#), Clean),
        (
            "an id that is a number",
            "/v0/networks",
            200,
            (r#""210""#, "210"),
            Anomaly("`network_id` is a number"),
        ),
        ("no id", "/v0/networks", 200, (r#""network_id": "210", "#, ""), Anomaly("`network_id` is nothing")),
        (
            "a network twice",
            "/v0/networks",
            200,
            (r#", "mist""#, r#", "mist": {"network_id": "9", "projects": null}, "mist""#),
            Anomaly("two members \"mist\""),
        ),
        (
            "another access list",
            "/v0/networks",
            200,
            (r#""ferns", "palms""#, r#""ferns""#),
            Anomaly("another access list"),
        ),
        (
            "public on one page only",
            sun,
            200,
            (r#""access": null"#, r#""access": []"#),
            Anomaly("another access list"),
        ),
        (
            "access that is text",
            sun,
            200,
            (r#""access": null"#, r#""access": "ferns""#),
            Anomaly("`access` is a string"),
        ),
        ("owner null", sun, 200, (r#""owner": "admin""#, r#""owner": null"#), Anomaly("`owner` is null")),
        (
            "another network's page",
            sun,
            200,
            (r#""name": "sun""#, r#""name": "moon""#),
            Anomaly("is the page of \"moon\""),
        ),
        (
            "a network nobody lists",
            "/v0/networks",
            200,
            (r#""attic": {"network_id": "4096", "projects": ["ferns"]}, "#, ""),
            Anomaly("is on network \"attic\", which /v0/networks does not list"),
        ),
        // Connected nics, the second opinion.
        (
            "a nic only the network knows",
            sun,
            200,
            (r#""fern-2": ["em1"]"#, r#""fern-2": ["em1", "em9"]"#),
            Anomaly("nic \"em9\" is connected, /v0/node/fern-2 does not"),
        ),
        (
            "a node only the network knows",
            sun,
            200,
            (r#""fern-2": ["em1"]"#, r#""fern-2": ["em1"], "oak": ["em1"]"#),
            Anomaly("nic \"em1\" is connected, /v0/node/oak does not"),
        ),
        (
            "a nic only the node knows",
            sun,
            200,
            (r#""fern-2": ["em1"]"#, ""),
            Anomaly("/v0/node/fern-2 says that nic \"em1\" is connected, /v0/network/sun does not"),
        ),
        (
            "connected nodes that are a list",
            sun,
            200,
            (r#"{"fern-2": ["em1"]}"#, "[]"),
            Anomaly("`connected-nodes` is a list"),
        ),
        (
            "connected nics that are text",
            sun,
            200,
            (r#"["em1"]"#, r#""em1""#),
            Anomaly("`fern-2` is a string"),
        ),
        // Nodes.
        (
            "another node's page",
            node2,
            200,
            (r#""name": "fern-2""#, r#""name": "fern-3""#),
            Anomaly("is the page of \"fern-3\""),
        ),
        ("metadata of any type", node2, 200, (r#""metadata": {}"#, r#""metadata": [1]"#), Clean),
        ("no metadata", node2, 200, (r#""metadata": {}, "#, ""), Clean),
        ("no project", node2, 200, (r#", "project": null"#, ""), Anomaly("`project` is nothing")),
        (
            "a project that is a number",
            node2,
            200,
            (r#""project": null"#, r#""project": 1"#),
            Anomaly("`project` is a number"),
        ),
        (
            "nics that are an object",
            node2,
            200,
            ("", r#"{"name":"fern-2","project":null,"nics":{}}"#),
            Anomaly("`nics` is an object"),
        ),
        ("a nic without label", node2, 200, (r#""label": "em1", "#, ""), Anomaly("`label` is nothing")),
        (
            "a nic twice",
            node1,
            200,
            (r#""label": "em2""#, r#""label": "em1""#),
            Anomaly("two nics of this label"),
        ),
        (
            "a mac that is a list",
            node2,
            200,
            (r#""0a:00:00:00:00:21""#, "[]"),
            Anomaly("`macaddr` is a list"),
        ),
        ("a mac that is null", node2, 200, (r#""0a:00:00:00:00:21""#, "null"), Clean),
        (
            "no port, as for other users",
            node2,
            200,
            (r#", "port": "7", "switch": "aisle""#, ""),
            Anomaly("administrators only"),
        ),
        (
            "half a port",
            node2,
            200,
            (r#""switch": "aisle""#, r#""switch": null"#),
            Anomaly("`switch` is null and `port` is a string"),
        ),
        (
            "an unregistered port",
            node2,
            200,
            (r#""port": "7""#, r#""port": "8""#),
            Anomaly("is cabled to aisle 8, which /v0/switch/aisle does not list"),
        ),
        (
            "an unknown switch",
            node2,
            200,
            (r#""switch": "aisle""#, r#""switch": "attic""#),
            Anomaly("which /v0/switch/attic does not list"),
        ),
        (
            "networks that are a list",
            node2,
            200,
            (r#"{"vlan/300": "sun"}"#, "[]"),
            Anomaly("`networks` is a list"),
        ),
        (
            "a network that is null",
            node2,
            200,
            (r#""vlan/300": "sun""#, r#""vlan/300": null"#),
            Anomaly("`vlan/300` is null"),
        ),
        (
            "a channel twice",
            node2,
            200,
            (r#"{"vlan/300""#, r#"{"vlan/300": "mist", "vlan/300""#),
            Anomaly("two members \"vlan/300\""),
        ),
        // Channels.
        ("another network's id", node2, 200, ("vlan/300", "vlan/301"), Anomaly("by channel \"vlan/301\"")),
        (
            "an id in another spelling",
            node2,
            200,
            ("vlan/300", "vlan/0300"),
            Anomaly("by channel \"vlan/0300\""),
        ),
        ("no such channel", node2, 200, ("vlan/300", "vxlan/300"), Anomaly("by channel \"vxlan/300\"")),
        ("null on a network with a vlan", node2, 200, ("vlan/300", "null"), Anomaly("by channel \"null\"")),
        ("null on a network without", node1, 200, ("vlan/4096", "null"), Clean),
        (
            "a vlan on a network without",
            node1,
            200,
            ("vlan/4096", "vlan/96"),
            Anomaly("by channel \"vlan/96\""),
        ),
        ("another case", node2, 200, ("vlan/300", "VLAN/300"), Anomaly("by channel \"VLAN/300\"")),
        // Switches.
        (
            "another switch's page",
            "/v0/switch/aisle",
            200,
            (r#""name": "aisle""#, r#""name": "x""#),
            Anomaly("is the page of \"x\""),
        ),
        (
            "no ports",
            "/v0/switch/aisle",
            200,
            (r#", "ports": [{"label": "7"}, {"label": "7"}]"#, ""),
            Anomaly("`ports` is nothing"),
        ),
        (
            "a port that is text",
            "/v0/switch/aisle",
            200,
            (r#"{"label": "7"}, "#, r#""7", "#),
            Anomaly("`label` is nothing"),
        ),
    ];
    for (what, path, status, (old, new), expected) in table {
        let mut exchanges = greenhouse();
        let at = exchanges.iter().position(|x| x.asked == format!("{GET}{path}")).unwrap();
        let mut body = (*new).to_owned();
        if !old.is_empty() {
            let text = String::from_utf8(exchanges[at].answer.clone()).unwrap();
            // The fixture's metadata is redacted already.
            let old = old.replace(r#""metadata": {}"#, r#""metadata": "[redacted]""#);
            assert!(text.contains(&old), "{what}: the fixture has no {old}");
            body = text.replacen(&old, new, 1);
        }
        exchanges[at] = kept(&format!("{GET}{path}"), *status, body.into_bytes());
        let before = declared(greenhouse());
        match (normalise(&evidence(exchanges)), expected) {
            (Ok(d), Clean) => {
                assert_eq!(said(&d), "", "{what}");
                assert_eq!(d.attachments.len(), before.attachments.len(), "{what}");
            }
            (Ok(d), Anomaly(words)) => assert!(said(&d).contains(words), "{what}: found\n{}", said(&d)),
            (Err(e), Error(words)) => {
                assert!(e.sentence.contains(words) && e.kind == Failure::Unreadable, "{what}: found {e}");
            }
            (Ok(d), Error(_)) => panic!("{what}: no error but\n{}", said(&d)),
            (Err(e), _) => panic!("{what}: {e}"),
        }
    }
}

#[test]
fn ids_that_are_no_vlan_are_told_verbatim() {
    for id in ["0", "4095", "4096", "0210", "+210", " 210", "", "9f1c6e0a-0d5c-11ef-8d3a-0242ac120002"] {
        let mut exchanges = greenhouse();
        let text = String::from_utf8(exchanges[1].answer.clone()).unwrap();
        exchanges[1].answer = text.replacen(r#""210""#, &format!("{id:?}"), 1).into_bytes();
        let d = declared(exchanges);
        assert_eq!(d.networks["mist"].vlan, NetworkVlan::Unassessable(id.into()), "{id}");
    }
}

#[test]
fn missing_answers_say_how_the_reading_failed() {
    for (failure, why) in [
        (Failure::Silent, "no answer within 15 s (`request_timeout`)"),
        (Failure::Unreadable, "the answer is not HTTP"),
        (Failure::SourceChanged, "the certificate of HIL is refused: expired"),
    ] {
        let mut exchanges = greenhouse();
        let answer = Unanswered { failure, why: why.into() }.told().into_bytes();
        exchanges.push(Exchange { asked: "GET /v0/node/oak".into(), status: None, answer });
        let error = normalise(&evidence(exchanges)).unwrap_err();
        assert_eq!(error.kind, failure);
        assert!(error.sentence.starts_with(&format!("GET /v0/node/oak: {why}; ")), "{error}");
    }
}

#[test]
fn exchanges_that_are_not_ours_are_anomalies() {
    for (asked, words) in [
        ("GET /v0/networks?all", "a question this reader never asks"),
        ("PUT /v0/network/sun", "a question this reader never asks"),
        ("GET /v0/network/sun/attachments", "a question this reader never asks"),
        ("GET /v0/network/sun", "two answers to one question"),
    ] {
        let mut exchanges = greenhouse();
        let sun = exchanges.last().unwrap().answer.clone();
        exchanges.push(Exchange { asked: asked.into(), status: Some(200), answer: sun });
        assert!(said(&declared(exchanges)).contains(words), "{asked}");
    }
}

#[test]
fn anomalies_are_bounded() {
    let mut exchanges = greenhouse();
    let nodes: Vec<String> = (0..100_000).map(|n| format!("\"n{n}\"")).collect();
    exchanges[2].answer = format!("[{}]", nodes.join(",")).into_bytes();
    let d = declared(exchanges);
    assert_eq!(d.anomalies.len(), 201);
    assert!(said(&d).contains("more anomalies are not listed"));
}

#[test]
fn actions() {
    let uuid = "f58aa398-128c-4cfb-93f5-2833f2eb4b0a";
    let action = |status: u16, body: &str| {
        let mut exchanges = greenhouse();
        exchanges.push(kept(&format!("{GET}/v0/networking_action/{uuid}"), status, body.into()));
        declared(exchanges)
    };
    let body = |status: &str, network: &str| {
        format!(
            r#"{{"status": "{status}", "node": "fern-2", "nic": "em1", "new_network": {network}, "type": "modify_port",
            "channel": "vlan/300"}}"#
        )
    };
    let seen = |d: &Declared| -> Vec<(String, Option<String>, bool)> {
        let port = |p: &Option<PortId>| p.as_ref().map(PortId::to_string).unwrap_or_default();
        d.actions.iter().map(|a| (port(&a.port), a.network.clone(), a.pending)).collect()
    };
    for (status, network, expected) in [
        ("PENDING", "\"sun\"", vec![("aisle 7".to_owned(), Some("sun".to_owned()), true)]),
        ("PENDING", "null", vec![("aisle 7".to_owned(), None, true)]),
        ("ERROR", "\"sun\"", vec![("aisle 7".to_owned(), Some("sun".to_owned()), false)]),
        ("DONE", "\"sun\"", vec![]),
    ] {
        let d = action(200, &body(status, network));
        assert_eq!((seen(&d), said(&d)), (expected, String::new()), "{status} {network}");
    }
    // The next action on the nic deletes the row of this one.
    let d = action(404, r#"{"msg": "status_id not found", "type": "NotFoundError"}"#);
    assert_eq!((seen(&d), said(&d)), (vec![], String::new()));
    let d = action(200, &body("DANCING", "null"));
    assert!(said(&d).contains("`status` is \"DANCING\"") && seen(&d).len() == 1);
    assert!(said(&action(500, "<title>500</title>")).contains("answered 500"));
}

/// Every answer captured from a real HIL, if the captures are beside the project.
mod captured {
    use super::*;
    use std::path::Path;

    const DIR: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/data/hil");

    /// (asked, who, status, body) of each GET; `None` when there are no captures, which is told.
    fn captures() -> Option<Vec<(String, String, u16, String)>> {
        if !Path::new(DIR).is_dir() {
            eprintln!("skipped: no captured responses at {DIR}");
            return None;
        }
        let mut out = Vec::new();
        for entry in std::fs::read_dir(DIR).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_none_or(|e| e != "json") {
                continue;
            }
            let capture: serde_json::Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
            let request = &capture["request"];
            if request["method"] != "GET" {
                continue;
            }
            out.push((
                request["path"].as_str().unwrap().to_owned(),
                format!(
                    "{} {}",
                    path.file_stem().unwrap().display(),
                    request["auth"].as_str().unwrap_or("nobody")
                ),
                u16::try_from(capture["status"].as_u64().unwrap()).unwrap(),
                capture["raw_body"].as_str().unwrap().to_owned(),
            ));
        }
        assert!(out.len() > 50, "found {} captures only", out.len());
        Some(out)
    }

    /// The pages of a crawl by this user.
    fn crawl(user: &str) -> Option<Vec<Exchange>> {
        let ends = format!(" {user}");
        let pages = captures()?.into_iter().filter(|(path, who, _, _)| {
            who.ends_with(&ends)
                && !who.starts_with("err_")
                && !who.starts_with("switches_all")
                && !path.contains("/port/")
                && ["brocade1", "dell1", "mock1", "n3k1", "nexus1", "nos9"].iter().all(|s| !path.ends_with(s))
                && matches!(
                    Ask::from_path(path),
                    Some(
                        Ask::Switches
                            | Ask::Networks
                            | Ask::Nodes
                            | Ask::Node(_)
                            | Ask::Switch(_)
                            | Ask::Network(_)
                    )
                )
        });
        let mut pages: Vec<Exchange> = pages
            .map(|(path, _, status, body)| kept(&format!("{GET}{path}"), status, body.into_bytes()))
            .collect();
        pages.sort_by_key(|x| Ask::from_path(x.asked.strip_prefix(GET).unwrap()));
        Some(pages)
    }

    #[test]
    fn an_administrators_crawl_reads_clean() {
        let Some(exchanges) = crawl("admin") else { return };
        let d = declared(exchanges);
        assert_eq!(said(&d), "");
        assert_eq!(d.networks.len(), 4);
        assert_eq!(d.networks["pub-net"].access, Access::Public);
        assert_eq!(d.networks["prov-net"].owner, Owner::Admin);
        assert_eq!(d.networks["red-net"].vlan, vlan(100));
        // Both nics of node01 are on red-net: the page of attachments, which we never ask for, shows one.
        let red: BTreeSet<String> = d
            .attachments
            .iter()
            .filter(|a| a.network == "red-net")
            .map(|a| format!("{} {}", a.node, a.nic))
            .collect();
        assert_eq!(
            red.into_iter().collect::<Vec<_>>(),
            ["node01 eth0", "node01 eth1", "node02 eth0", "node03 eth0"]
        );
        assert_eq!((d.attachments.len(), d.cabling.len(), d.registered.len()), (7, 5, 8));
    }

    #[test]
    fn other_users_crawls_are_refused() {
        for user in ["alice", "bob"] {
            let Some(exchanges) = crawl(user) else { return };
            let error = normalise(&evidence(exchanges)).unwrap_err();
            assert!(error.sentence.contains("not an administrator"), "{user}: {error}");
        }
    }

    #[test]
    fn refusals_are_recognised() {
        let Some(captures) = captures() else { return };
        let mut seen = 0;
        for (path, who, status, body) in captures {
            let answer = Answer::kept(&Ask::Nodes, status, body.into_bytes());
            let name = who.split(' ').next().unwrap_or_default();
            let refusal = answer.refusal(!who.ends_with("nobody"));
            let expected = match name {
                "err_no_auth" => "none are configured",
                "err_bad_password" => "refuses the configured user's password",
                "err_unknown_user" => "does not know the configured user",
                _ if status == 401 => "not an administrator",
                _ => {
                    assert_eq!(refusal, None, "{name} {path}");
                    continue;
                }
            };
            assert!(refusal.is_some_and(|r| r.to_string().contains(expected)), "{name} {path}");
            seen += 1;
        }
        assert!(seen > 10, "{seen}");
    }

    #[test]
    fn kinds_of_switches() {
        let Some(captures) = captures() else { return };
        let (_, _, status, body) =
            captures.into_iter().find(|(_, who, _, _)| who.starts_with("err_no_such_port")).unwrap();
        let body = body.replace("gi1/0/99", "isoledger-asks-for-no-such-port").into_bytes();
        assert_eq!(check::switch_kind("sw1", &Answer { status, body }).as_deref(), Some("Ovs"));
    }

    #[test]
    fn networking_actions() {
        let (Some(captures), Some(crawl)) = (captures(), crawl("admin")) else { return };
        let mut seen = 0;
        for (path, who, status, body) in captures {
            if matches!(Ask::from_path(&path), Some(Ask::Action(_))) {
                let mut exchanges = crawl.clone();
                exchanges.push(kept(&format!("{GET}{path}"), status, body.into_bytes()));
                let d = declared(exchanges);
                // Done, or superseded: neither is in flight.
                assert_eq!((said(&d), d.actions.len()), (String::new(), 0), "{who}");
                seen += 1;
            }
        }
        assert_eq!(seen, 3);
    }
}

/// Every (network, node, nic, channel) that a body names, found without the normaliser: the walk takes any object
/// below `nics` for what it could be.
fn named(body: &[u8]) -> BTreeSet<(String, String)> {
    let Ok(json) = json::Json::parse(body) else { return BTreeSet::new() };
    let mut out = BTreeSet::new();
    if let Some(json::Json::List(nics)) = json.member("nics") {
        for nic in nics {
            if let Some(json::Json::Object(networks)) = nic.member("networks") {
                for (channel, network) in networks {
                    if let json::Json::Text(network) = network {
                        out.insert((channel.clone(), network.clone()));
                    }
                }
            }
        }
    }
    out
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn arbitrary_exchanges_never_panic(
        exchanges in prop::collection::vec(("GET /v0/(switches|networks|nodes/all|node/[a-c/%]{0,4})|.{0,12}", any::<Option<u16>>(), any::<Vec<u8>>()), 0..6)
    ) {
        let exchanges = exchanges.into_iter().map(|(asked, status, answer)| Exchange { asked, status, answer }).collect();
        let _ = normalise(&evidence(exchanges));
    }

    /// Bytes of one answer change: no panic, and either the same is declared, or an anomaly or error says why not.
    #[test]
    fn a_changed_body_never_loses_an_attachment_silently(
        at in 0..12usize,
        edits in prop::collection::vec((any::<prop::sample::Index>(), prop_oneof![any::<u8>(), prop::sample::select(b"{}[]\",:0 /".to_vec())], 0..3u8), 1..4),
    ) {
        let mut exchanges = greenhouse();
        let body = &mut exchanges[at].answer;
        for (index, byte, how) in &edits {
            let i = index.index(body.len().max(1)).min(body.len().saturating_sub(1));
            match how {
                0 if !body.is_empty() => body[i] = *byte,
                1 => body.insert(i, *byte),
                _ => body.truncate(i),
            }
        }
        let node = Ask::from_path(exchanges[at].asked.strip_prefix(GET).unwrap());
        let names = if matches!(node, Some(Ask::Node(_))) { named(&exchanges[at].answer) } else { BTreeSet::new() };
        let before = declared(greenhouse());
        if let Ok(after) = normalise(&evidence(exchanges)) && after.anomalies.is_empty() {
            let key = |d: &Declared| -> BTreeSet<_> {
                d.attachments.iter().map(|a| (a.network.clone(), a.node.clone(), a.nic.clone(), a.port.clone())).collect()
            };
            // The networks' pages still confirm the nodes' pages, so nothing can have gone.
            prop_assert_eq!(key(&after), key(&before));
            for (_, network) in names {
                prop_assert!(after.attachments.iter().any(|a| a.network == network));
            }
        }
    }

    /// Any node page, well-formed as JSON: whatever it connects is declared or an anomaly.
    #[test]
    fn whatever_a_node_names_is_declared_or_told(
        nics in prop::collection::vec((
            "em[12]",
            prop::collection::vec(("vlan/native|vlan/[0-9]{1,4}|null|.{0,3}", "mist|sun|rain|[a-z]{2}"), 0..4),
            prop::option::of("gi1/0/[1-3]"),
        ), 0..4)
    ) {
        let text = serde_json::to_string;
        let nics: Vec<String> = nics.iter().map(|(label, networks, port)| {
            let networks: Vec<String> = networks.iter()
                .map(|(c, n)| format!("{}:{}", text(c).unwrap(), text(n).unwrap())).collect();
            let port = match port {
                Some(port) => format!(r#""bench 1","port":"{port}""#),
                None => r#"null,"port":null"#.into(),
            };
            format!(r#"{{"label":"{label}","macaddr":null,"networks":{{{}}},"switch":{port}}}"#, networks.join(","))
        }).collect();
        let body = format!(r#"{{"name":"fern-1","project":"ferns","nics":[{}]}}"#, nics.join(","));
        let names = named(body.as_bytes());
        let mut exchanges = greenhouse();
        exchanges[3].answer = body.into_bytes();
        let d = declared(exchanges);
        for (channel, network) in names {
            let spelled = |c: &Channel| match c {
                Channel::Native => "vlan/native".to_owned(),
                Channel::Tagged(id) => format!("vlan/{id}"),
                Channel::Other(text) => text.clone(),
                Channel::ManagerHost => "a headnode".to_owned(),
            };
            prop_assert!(
                d.attachments.iter().any(|a| a.network == network && a.node == "fern-1" && spelled(&a.channel) == channel),
                "{} {}", channel, network
            );
        }
        // The fixture's networks do not agree with a node that is on fewer or other networks.
        let on = |d: &Declared| -> BTreeSet<_> {
            d.attachments.iter().map(|a| (a.network.clone(), a.node.clone(), a.nic.clone())).collect()
        };
        prop_assert!(!d.anomalies.is_empty() || on(&d) == on(&declared(greenhouse())));
    }
}
