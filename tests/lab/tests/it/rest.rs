//! The REST interfaces of hardware switches, asked byte by byte.

use std::sync::Arc;

use isoledger_lab::{
    Dynamic, DynamicBy, Fault, HardwareKind, Lab, LabOptions, Service, SpanSession, VlanList, VlanRanges,
    World,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName};
use rustls::sign::CertifiedKey;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::common::within;

const AUDITOR: &str = "auditor:lab-auditor";
const CLI: &str = "/api/running/dell/_operations/cli";

/// One answer: status line, head, body with the chunks put together.
#[derive(Debug)]
struct Answer {
    status: u16,
    head: String,
    body: String,
}

/// A kept connection.
struct Http<S> {
    stream: S,
    buffer: Vec<u8>,
}

impl Http<TcpStream> {
    async fn connect(url: &str) -> Http<TcpStream> {
        let address = url.strip_prefix("http://").unwrap();
        Http { stream: TcpStream::connect(address).await.unwrap(), buffer: Vec::new() }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Http<S> {
    async fn ask(&mut self, method: &str, path: &str, login: Option<&str>, body: &str) -> Answer {
        use base64::Engine;
        let mut request = format!("{method} {path} HTTP/1.1\r\nHost: switch\r\n");
        if let Some(login) = login {
            let encoded = base64::engine::general_purpose::STANDARD.encode(login);
            request.push_str(&format!("Authorization: Basic {encoded}\r\n"));
        }
        request.push_str(&format!("Content-Length: {}\r\n\r\n{body}", body.len()));
        within(async {
            self.stream.write_all(request.as_bytes()).await.unwrap();
            self.answer().await
        })
        .await
    }

    async fn until(&mut self, mark: &str) -> String {
        loop {
            if let Some(at) = self.buffer.windows(mark.len()).position(|w| w == mark.as_bytes()) {
                let taken: Vec<u8> = self.buffer.drain(..at + mark.len()).collect();
                return String::from_utf8(taken).unwrap();
            }
            assert_ne!(self.stream.read_buf(&mut self.buffer).await.unwrap(), 0, "closed in an answer");
        }
    }

    async fn exactly(&mut self, n: usize) -> String {
        while self.buffer.len() < n {
            assert_ne!(self.stream.read_buf(&mut self.buffer).await.unwrap(), 0, "closed in an answer");
        }
        String::from_utf8(self.buffer.drain(..n).collect()).unwrap()
    }

    async fn answer(&mut self) -> Answer {
        let head = self.until("\r\n\r\n").await;
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        if let Some(length) = head.lines().find_map(|l| l.strip_prefix("Content-Length: ")) {
            let body = self.exactly(length.parse().unwrap()).await;
            return Answer { status, head, body };
        }
        assert!(head.contains("Transfer-Encoding: chunked"), "{head}");
        let mut body = String::new();
        loop {
            let size = self.until("\r\n").await;
            let size = usize::from_str_radix(size.trim(), 16).unwrap();
            body.push_str(&self.exactly(size).await);
            assert_eq!(self.exactly(2).await, "\r\n");
            if size == 0 {
                return Answer { status, head, body };
            }
        }
    }
}

async fn lab() -> Lab {
    Lab::start(World::mixed()).await.unwrap()
}

/// Asks on a connection of its own, as the auditor.
async fn get(lab: &Lab, switch: &str, path: &str) -> Answer {
    Http::connect(&lab.rest(switch).unwrap().http).await.ask("GET", path, Some(AUDITOR), "").await
}

async fn show(lab: &Lab, command: &str) -> String {
    let body = format!("<input><show-command>{command}</show-command></input>");
    let mut http = Http::connect(&lab.rest("s3048-0").unwrap().http).await;
    let answer = http.ask("POST", CLI, Some(AUDITOR), &body).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let text = answer.body.strip_prefix("<output xmlns='http://www.dell.com/ns/dell:0.1/root'>\n  <command>");
    let text = text.unwrap_or_else(|| panic!("{answer:?}")).strip_suffix("</command>\n</output>\n").unwrap();
    let text = text.strip_prefix(&format!("show {command}\r\n")).unwrap();
    text.strip_suffix("\r\ns3048-0#").unwrap().replace("\r\n", "\n")
}

fn ten(id: &str, rest: &str) -> String {
    format!("/rest/config/running/interface/TenGigabitEthernet/%22{id}%22{rest}")
}

/// The text of a leaf, if it occurs exactly once.
fn leaf<'a>(body: &'a str, name: &str) -> Option<&'a str> {
    let (open, close) = (format!("<{name}>"), format!("</{name}>"));
    let mut found = body.match_indices(&open);
    let (at, _) = found.next()?;
    assert!(found.next().is_none(), "{name} is there twice: {body}");
    let rest = &body[at + open.len()..];
    Some(&rest[..rest.find(&close).unwrap()])
}

#[tokio::test]
async fn every_kind_of_switch_is_served_and_known_to_hil() {
    let lab = lab().await;
    let all = lab.hardware();
    assert_eq!(all.len(), 5);
    for switch in &all {
        assert_eq!(switch.rest.is_some(), !switch.kind.is_console(), "{switch:?}");
        assert_eq!(switch.console.is_some(), switch.kind.is_console(), "{switch:?}");
        assert_eq!(switch.credentials.as_ref().unwrap().user, "auditor");
        let registered: Vec<_> = switch.registrations.iter().map(|r| r.label.as_str()).collect();
        match switch.kind {
            HardwareKind::Vdx => assert_eq!(registered, ["vdx-0", "vdx-0-forty"]),
            _ => assert_eq!(registered, [switch.hardware.as_str()]),
        }
    }
    assert_eq!(lab.switches().len(), 1, "the Open vSwitch");
    assert_eq!(lab.known_hosts().lines().count(), 3);
}

#[tokio::test]
async fn a_vdx_port_is_a_tree_of_resources() {
    let lab = lab().await;
    let answer = get(&lab, "vdx-0", &ten("1/0/3", "")).await;
    assert_eq!(answer.status, 200);
    assert!(answer.head.contains("application/vnd.configuration.resource+xml"), "{}", answer.head);
    assert!(
        answer.body.starts_with(
            "<TenGigabitEthernet xmlns=\"urn:brocade.com:mgmt:brocade-interface\" \
             xmlns:y=\"http://brocade.com/ns/rest\" \
             y:self=\"/rest/config/running/interface/TenGigabitEthernet/%221/0/3%22\">\r\n  <name>1/0/3</name>"
        ),
        "{}",
        answer.body
    );
    let trunk = get(&lab, "vdx-0", &ten("1/0/3", "/switchport/trunk")).await.body;
    assert!(trunk.starts_with("<trunk xmlns="), "{trunk}");
    assert_eq!((leaf(&trunk, "add"), leaf(&trunk, "native-vlan")), (Some("100,102"), Some("100")));
    let mode = get(&lab, "vdx-0", &ten("1/0/1", "/switchport/mode")).await.body;
    assert_eq!(leaf(&mode, "vlan-mode"), Some("access"));
    let access = get(&lab, "vdx-0", &ten("1/0/2", "/switchport/access")).await.body;
    assert_eq!(leaf(&access, "vlan"), Some("101"));
    // The leaf and the container that share a name are two documents.
    let both = get(&lab, "vdx-0", &ten("1/0/1", "/switchport")).await.body;
    assert_eq!(both.matches("xmlns:y=").count(), 2, "{both}");
    assert!(both.contains("/switchport\">true</switchport>"), "{both}");
    // The quotes may come unencoded.
    let plain =
        get(&lab, "vdx-0", "/rest/config/running/interface/TenGigabitEthernet/\"1/0/4\"/shutdown").await;
    assert!(plain.body.ends_with("\">true</shutdown>\r\n"), "{plain:?}");
}

#[tokio::test]
async fn a_vdx_says_each_kind_of_list() {
    let lab = lab().await;
    let tagged = "<native-vlan>true</native-vlan>";
    for (allowed, native, expected) in [
        (VlanList::All, Some(1), vec!["<all>true</all>", tagged]),
        (VlanList::None, Some(1), vec!["<none>true</none>", tagged]),
        (
            VlanList::Except([5, 6].into()),
            Some(10),
            vec!["<except>5-6</except>", tagged, "<native-vlan>10</native-vlan>"],
        ),
        (VlanList::List([7].into()), Some(1), vec!["<add>7</add>", tagged]),
    ] {
        lab.edit(|w| {
            let port = w.hardware_mut("vdx-0").unwrap().port_mut("TenGigabitEthernet 1/0/4").unwrap();
            port.set_trunk(native, allowed).native_tagged = true;
        });
        let body = get(&lab, "vdx-0", &ten("1/0/4", "/switchport/trunk")).await.body;
        assert!(expected.iter().all(|e| body.contains(e)), "{expected:?}: {body}");
        assert_eq!(body.matches("<native-vlan>").count(), expected.len() - 1, "{body}");
    }
    lab.edit(|w| w.hardware_mut("vdx-0").unwrap().rest.defaults = true);
    let body = get(&lab, "vdx-0", &ten("1/0/4", "/switchport/trunk")).await.body;
    assert!(body.contains("<all>false</all>") && body.contains("<none>false</none>"), "{body}");
}

#[tokio::test]
async fn a_list_of_a_type_has_every_port_of_it_and_no_other() {
    let lab = lab().await;
    for collections in [false, true] {
        lab.edit(|w| w.hardware_mut("vdx-0").unwrap().rest.collections = collections);
        let body = get(&lab, "vdx-0", "/rest/config/running/interface/TenGigabitEthernet").await.body;
        let names: Vec<_> =
            ["1/0/1", "1/0/2", "1/0/3", "1/0/4", "1/0/24"].map(|n| format!("<name>{n}</name>")).into();
        assert!(names.iter().all(|n| body.contains(n.as_str())) && !body.contains("1/0/49"), "{body}");
        assert_eq!(body.matches("</TenGigabitEthernet>").count(), 5);
        assert_eq!(body.starts_with("<collection "), collections);
    }
    let forty = get(&lab, "vdx-0", "/rest/config/running/interface/FortyGigabitEthernet").await.body;
    assert_eq!(leaf(&forty, "name"), Some("1/0/49"));
    let names = get(&lab, "vdx-0", "/rest/config/running/interface").await.body;
    assert!(names.contains("<name>1/0/49</name>") && !names.contains("switchport"), "{names}");
    for missing in
        ["/rest/config/running/interface/HundredGigabitEthernet", "/rest/nothing", &ten("1/0/9", "")]
    {
        assert_eq!(get(&lab, "vdx-0", missing).await.status, 404, "{missing}");
    }
}

#[tokio::test]
async fn a_vdx_shows_sessions_routes_and_profiles() {
    let lab = lab().await;
    let root = "/rest/config/running";
    let empty = get(&lab, "vdx-0", &format!("{root}/monitor")).await.body;
    assert!(
        empty.starts_with("<monitor xmlns=\"urn:brocade.com:mgmt:brocade-span\"")
            && !empty.contains("session")
    );
    assert_eq!(get(&lab, "vdx-0", &format!("{root}/rbridge-id/1/interface/Ve")).await.status, 404);
    let profiles = get(&lab, "vdx-0", &format!("{root}/port-profile")).await.body;
    assert_eq!((leaf(&profiles, "name"), leaf(&profiles, "all")), (Some("default"), Some("true")));
    lab.edit(|w| {
        let switch = w.hardware_mut("vdx-0").unwrap();
        switch.add_span(SpanSession {
            id: 1,
            source_ports: vec!["TenGigabitEthernet 1/0/1".into()],
            destination: Some("TenGigabitEthernet 1/0/4".into()),
            ..SpanSession::default()
        });
        switch.add_vlan(100).ip = Some("10.0.0.1/24".into());
        switch.port_mut("TenGigabitEthernet 1/0/2").unwrap().profile_port = true;
    });
    let session = get(&lab, "vdx-0", &format!("{root}/monitor/session/1")).await.body;
    assert_eq!(leaf(&session, "src-tengigabitethernet-val"), Some("1/0/1"));
    assert_eq!(leaf(&session, "dest-tengigabitethernet-val"), Some("1/0/4"));
    let routed = get(&lab, "vdx-0", &format!("{root}/rbridge-id/1/interface/Ve")).await.body;
    assert_eq!((leaf(&routed, "name"), leaf(&routed, "shutdown")), (Some("100"), Some("false")));
    let port = get(&lab, "vdx-0", &ten("1/0/2", "")).await.body;
    assert!(
        port.contains("<port-profile-port xmlns=\"urn:brocade.com:mgmt:brocade-port-profile\">true<"),
        "{port}"
    );
}

#[tokio::test]
async fn text_from_people_stays_text() {
    let lab = lab().await;
    let evil = "</description><switchport>&vdx-0# \"";
    lab.edit(|w| {
        for (switch, port) in [("vdx-0", "TenGigabitEthernet 1/0/1"), ("s3048-0", "GigabitEthernet 1/1")] {
            w.hardware_mut(switch).unwrap().port_mut(port).unwrap().description = evil.to_owned();
        }
    });
    let escaped = "&lt;/description&gt;&lt;switchport&gt;&amp;vdx-0# &quot;";
    let body = get(&lab, "vdx-0", &ten("1/0/1", "")).await.body;
    assert_eq!(leaf(&body, "description"), Some(escaped));
    let text = show(&lab, "interfaces switchport").await;
    assert!(text.contains(&format!("Description: {escaped}\n")), "{text}");
}

#[tokio::test]
async fn passwords_are_checked_and_connections_kept() {
    let lab = lab().await;
    let mut http = Http::connect(&lab.rest("vdx-0").unwrap().http).await;
    let path = ten("1/0/1", "/shutdown");
    for (login, status) in
        [(None, 401), (Some("auditor:wrong"), 401), (Some("nobody:lab-auditor"), 401), (Some(AUDITOR), 200)]
    {
        let answer = http.ask("GET", &path, login, "").await;
        assert_eq!(answer.status, status, "{answer:?}");
        assert_eq!(answer.head.contains("WWW-Authenticate: Basic"), status == 401);
    }
    let by: Vec<_> = lab.commands().into_iter().map(|c| (c.source, c.by)).collect();
    let of = |user: Option<&str>| ("rest:vdx-0".to_owned(), user.map(str::to_owned));
    assert_eq!(by, [of(None), of(Some("auditor")), of(Some("nobody")), of(Some("auditor"))]);
    lab.assert_only_reads();
}

#[tokio::test]
async fn writes_are_recorded_and_refused() {
    let config = "<input><config-commands>no vlan 100</config-commands></input>";
    let smuggled = "<input><show-command>vlan\nconfigure</show-command></input>";
    for (switch, method, path, body) in [
        ("vdx-0", "PUT", ten("1/0/1", "/switchport/trunk/allowed/vlan"), "<vlan><add>102</add></vlan>"),
        ("vdx-0", "DELETE", ten("1/0/1", "/switchport/trunk/tag/native-vlan"), ""),
        ("vdx-0", "PATCH", ten("1/0/1", ""), ""),
        ("vdx-0", "POST", ten("1/0/1", ""), "<switchport></switchport>"),
        ("s3048-0", "POST", CLI.to_owned(), config),
        ("s3048-0", "POST", CLI.to_owned(), smuggled),
        ("s3048-0", "POST", CLI.to_owned(), "<input><exec-command>reload</exec-command></input>"),
        ("s3048-0", "PATCH", "/api/running/dell/interfaces".to_owned(), ""),
        ("s3048-0", "POST", "/api/running/dell/interfaces".to_owned(), "<interface/>"),
    ] {
        let lab = lab().await;
        let before = lab.read(|w| w.hardware(switch).unwrap().config().clone());
        let mut http = Http::connect(&lab.rest(switch).unwrap().http).await;
        let answer = http.ask(method, &path, Some("hil:lab-hil"), body).await;
        assert_eq!(answer.status, 403, "{method} {path}");
        let commands = lab.commands();
        assert!(commands[0].write, "{:?}", commands[0]);
        assert!(lab.read(|w| *w.hardware(switch).unwrap().config() == before));
    }
}

#[tokio::test]
async fn os9_shows_ports_by_post_and_their_state_by_get() {
    let lab = lab().await;
    let text = show(&lab, "interfaces switchport GigabitEthernet 1/3").await;
    let port = text.split_once("Name: ").unwrap().1;
    assert_eq!(
        port,
        "GigabitEthernet 1/3\n802.1QTagged: Hybrid\nVlan membership:\nQ       Vlans\nU       100\nT       102\n\n\
         Native VlanId:    100.\n\n"
    );
    let all = show(&lab, "interfaces switchport").await;
    assert_eq!(all.matches("Name: ").count(), 5, "{all}");
    assert_eq!(all.matches("Codes:").count(), 1);
    assert!(all.contains("Name: GigabitEthernet 1/24\n802.1QTagged: True\nVlan membership:\nQ       Vlans\nT       100-102\n"), "{all}");
    for (path, expected) in [
        ("/api/running/dell/interfaces/interface/gige-1-4%5C?with-defaults", Some("true")),
        ("/api/running/dell/interfaces/interface/gige-1-4?with-defaults", Some("true")),
        ("/api/running/dell/interfaces/interface/gige-1-3?with-defaults", Some("false")),
        ("/api/running/dell/interfaces/interface/gige-1-4", None),
    ] {
        let answer = get(&lab, "s3048-0", path).await;
        assert_eq!(answer.status, 200, "{path}");
        assert!(answer.body.contains("xmlns=\"http://www.dell.com/ns/dell:0.1/root\""), "{answer:?}");
        assert_eq!(leaf(&answer.body, "shutdown"), expected, "{path}");
    }
    let keys = get(&lab, "s3048-0", "/api/running/dell/interfaces?with-defaults").await.body;
    assert!(keys.contains("<name>gige-1-24</name>") && !keys.contains("shutdown"), "{keys}");
    let deep = get(&lab, "s3048-0", "/api/running/dell/interfaces?deep&with-defaults").await.body;
    assert_eq!(deep.matches("<shutdown>").count(), 5, "{deep}");
    assert_eq!(get(&lab, "s3048-0", "/api/running/dell/interfaces/interface/gige-1-9").await.status, 404);
    lab.assert_only_reads();
}

#[tokio::test]
async fn os9_says_every_way_into_a_vlan() {
    let lab = lab().await;
    let codes = [
        (DynamicBy::Dot1x, false, 'x'),
        (DynamicBy::Dot1x, true, 'X'),
        (DynamicBy::Gvrp, true, 'G'),
        (DynamicBy::Trunk, true, 'M'),
        (DynamicBy::Internal, false, 'i'),
        (DynamicBy::Internal, true, 'I'),
        (DynamicBy::Vlt, false, 'v'),
        (DynamicBy::Vlt, true, 'V'),
    ];
    lab.edit(|w| {
        let port = w.hardware_mut("s3048-0").unwrap().port_mut("GigabitEthernet 1/1").unwrap();
        port.dynamic = (300..)
            .zip(codes)
            .map(|(vlan, (by, tagged, _))| Dynamic { by, tagged, vlans: VlanRanges::from([vlan]) })
            .collect();
    });
    let text = show(&lab, "interfaces switchport GigabitEthernet 1/1").await;
    for (vlan, (.., code)) in (300..).zip(codes) {
        assert!(text.contains(&format!("\n{code}       {vlan}\n")), "{code}: {text}");
    }
    assert!(text.contains("\nU       100\n"), "{text}");
}

#[tokio::test]
async fn os9_shows_sessions_addresses_and_bundles() {
    let lab = lab().await;
    lab.edit(|w| {
        let switch = w.hardware_mut("s3048-0").unwrap();
        switch.add_span(SpanSession {
            id: 1,
            source_ports: vec!["GigabitEthernet 1/1".into()],
            destination: Some("GigabitEthernet 1/4".into()),
            ..SpanSession::default()
        });
        switch.add_vlan(100).ip = Some("10.0.0.1/24".into());
        switch.add_vlan(101).ip = Some("2001:db8::1/64".into());
        switch.config_mut().sflow = true;
        switch.add_aggregate(7, &["GigabitEthernet 1/2"]).unwrap();
    });
    let sessions = show(&lab, "monitor session").await;
    assert!(sessions.contains("1  Gi 1/1          Gi 1/4 "), "{sessions}");
    let addresses = show(&lab, "ip interface brief").await;
    assert!(addresses.contains("Vlan 100                  10.0.0.1 "), "{addresses}");
    assert!(addresses.contains("Vlan 101                  unassigned "), "{addresses}");
    let six = show(&lab, "ipv6 interface brief").await;
    assert!(
        six.contains("Vlan 101 ") && six.contains("2001:db8::1/64") && !six.contains("Vlan 100"),
        "{six}"
    );
    assert!(show(&lab, "sflow").await.starts_with("sFlow services are enabled\n"));
    let bundles = show(&lab, "interfaces port-channel brief").await;
    assert!(bundles.contains("L   7 ") && bundles.contains("Gi 1/2     (Up)"), "{bundles}");
    let ports = show(&lab, "interfaces switchport").await;
    assert!(!ports.contains("Name: GigabitEthernet 1/2\n"), "a member of a bundle is not listed: {ports}");
    assert!(show(&lab, "running-config interface").await.contains("% Error: Invalid input"));
}

#[tokio::test]
async fn an_account_that_may_only_read_cannot_post_to_os9() {
    let lab = lab().await;
    lab.edit(|w| w.hardware_mut("s3048-0").unwrap().accounts[1].may_write = false);
    let mut http = Http::connect(&lab.rest("s3048-0").unwrap().http).await;
    let body = "<input><show-command>vlan</show-command></input>";
    assert_eq!(http.ask("POST", CLI, Some(AUDITOR), body).await.status, 403);
    let path = "/api/running/dell/interfaces";
    assert_eq!(http.ask("GET", path, Some(AUDITOR), "").await.status, 200);
}

#[tokio::test]
async fn faults_apply_to_rest_as_to_everything() {
    let lab = lab().await;
    let service = Service::Rest("vdx-0".into());
    let url = lab.rest("vdx-0").unwrap().http.clone();
    let request = format!("GET {} HTTP/1.1\r\nHost: s\r\nConnection: close\r\n\r\n", ten("1/0/1", ""));
    let ask = async || within(crate::common::raw(&url, request.as_bytes())).await;
    let whole = ask().await;
    assert!(whole.starts_with(b"HTTP/1.1 401"));
    lab.edit(|w| w.set_fault(service.clone(), Fault::Cut { after: 20 }));
    assert_eq!(ask().await, &whole[..20]);
    lab.edit(|w| w.set_fault(service.clone(), Fault::Garbage(b"\0\xff".repeat(9))));
    assert_eq!(ask().await, b"\0\xff".repeat(9));
    lab.edit(|w| w.set_fault(service.clone(), Fault::Trickle(std::time::Duration::from_micros(1))));
    assert_eq!(ask().await, whole);
    lab.edit(|w| w.clear_fault(&service));
    assert_eq!(ask().await, whole);
    // The other switch never noticed.
    assert_eq!(get(&lab, "s3048-0", "/api/running/dell/interfaces").await.status, 200);
}

#[tokio::test]
async fn a_power_cut_drops_connections_and_brings_the_startup_configuration_back() {
    let lab = lab().await;
    let mut http = Http::connect(&lab.rest("vdx-0").unwrap().http).await;
    let path = ten("1/0/1", "/switchport/access");
    assert_eq!(leaf(&http.ask("GET", &path, Some(AUDITOR), "").await.body, "vlan"), Some("100"));
    lab.edit(|w| {
        w.hardware_mut("vdx-0").unwrap().port_mut("TenGigabitEthernet 1/0/1").unwrap().set_access(101);
    });
    assert_eq!(leaf(&http.ask("GET", &path, Some(AUDITOR), "").await.body, "vlan"), Some("101"));
    lab.edit(|w| w.power_cut("vdx-0")).unwrap();
    assert_eq!(within(http.stream.read(&mut [0; 8])).await.unwrap(), 0, "closed");
    assert_eq!(leaf(&get(&lab, "vdx-0", &path).await.body, "vlan"), Some("100"));
}

/// A certificate of its own for 127.0.0.1.
fn certificate() -> (Arc<CertifiedKey>, CertificateDer<'static>) {
    let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    let der = made.cert.der().clone();
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()));
    let key = rustls::crypto::ring::sign::any_supported_type(&key).unwrap();
    (Arc::new(CertifiedKey::new(vec![der.clone()], key)), der)
}

#[tokio::test]
async fn a_certificate_can_be_exchanged() {
    let (first, first_der) = certificate();
    let (second, second_der) = certificate();
    let options = LabOptions { rest_tls: Some(first), ..LabOptions::default() };
    let lab = Lab::start_with(isoledger_lab::Cloud::new(World::mixed()), options).await.unwrap();
    let url = lab.rest("vdx-0").unwrap().https.clone().unwrap();
    let mut roots = rustls::RootCertStore::empty();
    roots.add(first_der.clone()).unwrap();
    roots.add(second_der.clone()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    // One client for all, which would resume sessions if it could.
    let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
    for (der, exchange) in
        [(&first_der, false), (&first_der, false), (&second_der, true), (&second_der, false)]
    {
        if exchange {
            lab.certificate("vdx-0").unwrap().exchange(second.clone());
        }
        let stream = TcpStream::connect(url.strip_prefix("https://").unwrap()).await.unwrap();
        let name = ServerName::try_from("127.0.0.1").unwrap();
        let stream = within(connector.connect(name, stream)).await.unwrap();
        assert_eq!(stream.get_ref().1.peer_certificates().unwrap(), std::slice::from_ref(der));
        let mut http = Http { stream, buffer: Vec::new() };
        assert_eq!(http.ask("GET", &ten("1/0/1", ""), Some(AUDITOR), "").await.status, 200);
    }
}

#[tokio::test]
async fn hils_daemon_moves_a_port_of_each_kind() {
    let lab = lab().await;
    let switches = ["dell-0", "n3000-0", "nexus-0", "vdx-0", "s3048-0"];
    for switch in switches {
        lab.edit(|w| {
            let node = format!("{switch}-1");
            w.detach(&node, "eth0", "red-net").unwrap();
            w.move_node(&node, Some("blue")).unwrap();
            w.attach(&node, "eth0", "blue-net", None).unwrap();
        });
    }
    let access = get(&lab, "vdx-0", &ten("1/0/1", "/switchport/access")).await.body;
    assert_eq!(leaf(&access, "vlan"), Some("101"));
    let text = show(&lab, "interfaces switchport GigabitEthernet 1/1").await;
    assert!(text.contains("\nU       101\n") && !text.contains("100"), "{text}");
    for (switch, kind) in switches.into_iter().zip(HardwareKind::ALL) {
        let port = kind.native_port(None, &kind.hil_port(1));
        let carries = lab.read(|w| w.hardware(switch).unwrap().carries(&port).unwrap());
        assert!(carries.untagged.contains(101) && !carries.untagged.contains(100), "{switch}");
    }
}

#[tokio::test]
async fn a_thousand_switches_start_and_answer() {
    let world = World::datacentre(&HardwareKind::ALL, 1000, 4);
    let began = std::time::Instant::now();
    let lab = Lab::start(world).await.unwrap();
    println!("1,000 switches listen after {:?}", began.elapsed());
    let all = lab.hardware();
    assert_eq!(all.len(), 1000);
    for switch in all.iter().filter(|s| s.rest.is_some()).step_by(50) {
        let path = match switch.kind {
            HardwareKind::Os9 => "/api/running/dell/interfaces",
            _ => "/rest/config/running/interface/TenGigabitEthernet",
        };
        assert_eq!(get(&lab, &switch.hardware, path).await.status, 200, "{}", switch.hardware);
    }
}
