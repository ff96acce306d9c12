//! The OpenFlow agent.

use std::time::Duration;

use isoledger_lab::openflow::{Bucket, Flow, FlowAction, Group, GroupType, Instruction, Match, Meter, port};
use isoledger_lab::{Address, Cloud, Endpoint, OpenFlowOptions, OpenFlowServer, OvsHost, PortVlans, World};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};

use crate::common::{fixture, within};

pub(crate) const VERSIONS: [(u8, &str); 3] = [(4, "1.3"), (5, "1.4"), (6, "1.5")];

/// The bridge whose agent's answers are in `fixtures/openflow`.
pub(crate) fn programmed_host() -> OvsHost {
    let mut world = World::new();
    let host = world.add_host("real");
    host.interface_type = "dummy".to_owned();
    host.add_bridge("br0").unwrap();
    for port in ["e1", "e2", "e3", "e4"] {
        host.add_port("br0", port, &PortVlans::All).unwrap();
    }
    host.add_bond("br0", "lag1", &["l1", "l2"], &PortVlans::All).unwrap();
    host.add_patch("br0", "pat0", "pat1", &PortVlans::All).unwrap();
    let bridge = host.bridge_mut("br0").unwrap();
    let output = |to| vec![FlowAction::Output(to)];
    let bucket = |weight, watch_port, actions| Bucket { weight, watch_port, actions };
    bridge.groups = vec![
        Group {
            id: 1,
            kind: GroupType::All,
            buckets: vec![
                bucket(0, None, output(1)),
                bucket(0, None, vec![FlowAction::SetField(Match::Vlan(20)), FlowAction::Output(2)]),
            ],
        },
        Group {
            id: 2,
            kind: GroupType::Select,
            buckets: vec![bucket(3, None, output(1)), bucket(5, None, output(2))],
        },
        Group {
            id: 3,
            kind: GroupType::FastFailover,
            buckets: vec![bucket(0, Some(1), output(1)), bucket(0, Some(2), output(2))],
        },
    ];
    bridge.meters = vec![Meter { id: 1, bands: vec![(1000, 64)] }];
    let multicast = [1, 0, 0, 0, 0, 0];
    // Nicira's `resubmit(,3)`: subtype 14, to the same port, table 3.
    let resubmit = FlowAction::Experimenter { id: 0x2320, body: vec![0, 14, 0xff, 0xf8, 3, 0, 0, 0] };
    let timed = Flow { hard_timeout: 3600, ..Flow::new(4) };
    let marked = Flow { cookie: 0x1234, ..Flow::new(7) };
    bridge.flows = vec![
        Flow::normal(),
        Flow::new(100)
            .matching([Match::InPort(1), Match::EthDst([0, 0, 0, 0, 0, 2], None), Match::Vlan(10)])
            .doing([FlowAction::PopVlan, FlowAction::Output(2)]),
        Flow::new(90).matching([Match::InPort(2), Match::Untagged]).doing([
            FlowAction::PushVlan(0x8100),
            FlowAction::SetField(Match::Vlan(10)),
            FlowAction::Output(1),
        ]),
        Flow::new(80).matching([Match::InPort(3), Match::AnyVlan]).doing([FlowAction::Group(1)]),
        marked
            .in_table(3)
            .matching([
                Match::EthSrc(multicast, Some(multicast)),
                Match::EthType(0x0800),
                Match::Ipv4Src([192, 0, 2, 1], None),
                Match::Ipv4Dst([10, 0, 0, 0], Some([255, 0, 0, 0])),
            ])
            .doing([FlowAction::Controller(128)]),
        Flow::new(6)
            .matching([Match::InPort(4)])
            .with(Instruction::Meter(1))
            .with(Instruction::WriteMetadata(5, 0xff))
            .with(Instruction::Goto(3)),
        Flow::new(5).matching([Match::InPort(4)]),
        timed
            .matching([Match::Vlan(20), Match::VlanPcp(3)])
            .with(Instruction::Clear)
            .with(Instruction::Write(output(port::LOCAL))),
        Flow::new(3).matching([Match::TunnelId(42)]).doing([
            resubmit,
            FlowAction::Output(port::FLOOD),
            FlowAction::Output(port::IN_PORT),
        ]),
        Flow::new(2)
            .matching([Match::Metadata(1, None)])
            .doing([FlowAction::Output(port::ALL), FlowAction::Output(port::LOCAL)]),
    ];
    host.clone()
}

pub(crate) fn cloud_of(host: OvsHost) -> Cloud {
    let mut world = World::new();
    *world.add_host("real") = host;
    Cloud::new(world)
}

pub(crate) trait Stream: AsyncRead + AsyncWrite + Unpin {}
impl<S: AsyncRead + AsyncWrite + Unpin> Stream for S {}

pub(crate) struct Client {
    stream: Box<dyn Stream>,
}

impl Client {
    pub(crate) async fn connect(address: &Address, version: u8) -> Client {
        let mut client = Client::silent(address).await;
        client.send(&[version, 0, 0, 8, 0, 0, 0, 1]).await;
        let hello = client.receive().await.unwrap();
        assert_eq!(hello[1], 0, "HELLO");
        client
    }

    async fn silent(address: &Address) -> Client {
        let stream: Box<dyn Stream> = match address {
            Address::Unix(path) => Box::new(UnixStream::connect(path).await.unwrap()),
            tcp => Box::new(TcpStream::connect(tcp.socket_addr().unwrap()).await.unwrap()),
        };
        Client { stream }
    }

    pub(crate) async fn send(&mut self, message: &[u8]) {
        self.stream.write_all(message).await.unwrap();
    }

    /// The next message; `None` when the agent closed.
    pub(crate) async fn receive(&mut self) -> Option<Vec<u8>> {
        within(async {
            let mut message = vec![0; 8];
            self.stream.read_exact(&mut message).await.ok()?;
            let length = usize::from(u16::from_be_bytes([message[2], message[3]]));
            message.resize(length, 0);
            self.stream.read_exact(&mut message[8..]).await.unwrap();
            Some(message)
        })
        .await
    }

    /// The replies to one request: as many as its MORE flags say.
    pub(crate) async fn ask(&mut self, request: &[u8]) -> Vec<Vec<u8>> {
        self.send(request).await;
        let mut replies = Vec::new();
        loop {
            let reply = self.receive().await.expect("a reply");
            let more = reply[1] == 19 && reply[11] & 1 == 1;
            replies.push(reply);
            if !more {
                return replies;
            }
        }
    }
}

fn bytes(hex: &str) -> Vec<u8> {
    (0..hex.len() / 2).map(|n| u8::from_str_radix(&hex[2 * n..2 * n + 2], 16).unwrap()).collect()
}

/// The replies, made comparable: entries of lists in one order, and without what no two switches share (how old a flow
/// is, what its hardware is called).
fn comparable(version: u8, replies: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let first = &replies[0];
    if first[1] == 6 {
        return vec![first[16..].to_vec()];
    }
    if first[1] != 19 {
        return replies.to_vec();
    }
    let part = u16::from_be_bytes([first[8], first[9]]);
    let mut entries = Vec::new();
    for reply in replies {
        assert_eq!(reply[..2], first[..2]);
        let mut rest = &reply[16..];
        while !rest.is_empty() {
            let length = match part {
                1 | 7 | 10 => usize::from(u16::from_be_bytes([rest[0], rest[1]])),
                3 => 24,
                13 if version == 4 => 64,
                13 => usize::from(u16::from_be_bytes([rest[4], rest[5]])),
                _ => rest.len(),
            };
            let mut entry = rest[..length].to_vec();
            if part == 1 && version < 6 {
                entry[4..12].fill(0);
            }
            if part == 1 && version == 6 {
                // Behind the match: the age (and the idle time, which is an age too) of ofp_flow_desc.
                let fields = usize::from(u16::from_be_bytes([entry[26], entry[27]])).next_multiple_of(8);
                let statistics = 24 + fields + 4;
                assert_eq!(entry[statistics..statistics + 4], [0x80, 2, 0, 8]);
                entry[statistics + 4..statistics + 12].fill(0);
                entry[statistics + 16..statistics + 24].fill(0);
            }
            if part == 13 {
                entry[8..14].fill(0);
            }
            entries.push(entry);
            rest = &rest[length..];
        }
    }
    entries.sort();
    entries.insert(0, first[..2].to_vec());
    entries
}

/// Compares the agent's answers with those of the file: name, request, replies, all in hexadecimal.
pub(crate) async fn compare(address: &Address, version: u8, exchanges: &str) {
    let mut client = Client::connect(address, version).await;
    for line in exchanges.lines() {
        let mut words = line.split(' ');
        let (name, request) = (words.next().unwrap(), bytes(words.next().unwrap()));
        let theirs: Vec<Vec<u8>> = words.map(bytes).collect();
        let ours = client.ask(&request).await;
        let (ours, theirs) = (comparable(version, &ours), comparable(version, &theirs));
        for (n, (a, b)) in ours.iter().zip(&theirs).enumerate() {
            assert_eq!(hex(a), hex(b), "{name} in version {version}, entry {n}");
        }
        assert_eq!(ours.len(), theirs.len(), "{name} in version {version}");
    }
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

#[tokio::test]
async fn a_real_agents_answers_and_ours_are_the_same_bytes() {
    let cloud = cloud_of(programmed_host());
    for reply_bytes in [0xfff0, 200] {
        let options = OpenFlowOptions { reply_bytes, probe: None };
        let server = OpenFlowServer::start(&cloud, "real", "br0", Endpoint::Tcp, options).await.unwrap();
        for (version, name) in VERSIONS {
            let exchanges = fixture(&format!("openflow/openvswitch-3.1.0-openflow-{name}.txt"));
            assert_eq!(exchanges.lines().count(), 19);
            compare(server.address(), version, &exchanges).await;
        }
    }
}

fn flow_request(version: u8, table: u8) -> Vec<u8> {
    let mut request = vec![version, 18, 0, 56, 0, 0, 0, 9, 0, 1, 0, 0, 0, 0, 0, 0];
    request.extend([table, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0]);
    request.extend([0; 16]);
    request.extend([0, 1, 0, 4, 0, 0, 0, 0]);
    request
}

#[tokio::test]
async fn a_long_answer_is_split_between_entries() {
    let cloud = cloud_of(programmed_host());
    cloud.edit(|w| {
        let host = w.host_mut("real").unwrap();
        for vlan in 1..=2000 {
            host.add_flow("br0", Flow::new(50).matching([Match::Vlan(vlan)]).doing([FlowAction::PopVlan]))
                .unwrap();
        }
    });
    let options = OpenFlowOptions::default();
    let server = OpenFlowServer::start(&cloud, "real", "br0", Endpoint::Tcp, options).await.unwrap();
    let replies = Client::connect(server.address(), 4).await.ask(&flow_request(4, 0xff)).await;
    assert!(replies.len() > 2, "{}", replies.len());
    assert_eq!(comparable(4, &replies).len(), 1 + 2010);
    let flags: Vec<u8> = replies.iter().map(|r| r[11]).collect();
    let (last, before) = flags.split_last().unwrap();
    assert!(*last == 0 && before.iter().all(|f| *f == 1), "{flags:?}");
}

#[tokio::test]
async fn versions_are_negotiated() {
    let cloud = cloud_of(programmed_host());
    let options = OpenFlowOptions::default();
    let server = OpenFlowServer::start(&cloud, "real", "br0", Endpoint::Tcp, options).await.unwrap();
    let echo = |version| [version, 2, 0, 8, 0, 0, 0, 5];
    let talk = async |hello: &[u8], version: u8| {
        let mut client = Client::silent(server.address()).await;
        client.receive().await.unwrap();
        client.send(hello).await;
        client.send(&echo(version)).await;
        let reply = client.receive().await.unwrap();
        let closed = reply[1] == 1 && client.receive().await.is_none();
        (reply[0], reply[1], reply.get(8..12).map(<[u8]>::to_vec), closed)
    };
    // A bitmap that says 1.0 and 1.4: 1.4 it is, whatever the header says.
    let with_bitmap = |map: u8| [6, 0, 0, 16, 0, 0, 0, 1, 0, 1, 0, 8, 0, 0, 0, map];
    assert_eq!(talk(&with_bitmap(1 << 1 | 1 << 5), 5).await, (5, 3, None, false));
    // No bitmap: the lower of the two. A later version than all of ours is no hindrance.
    assert_eq!(talk(&[9, 0, 0, 8, 0, 0, 0, 1], 6).await, (6, 3, None, false));
    assert_eq!(talk(&[4, 0, 0, 8, 0, 0, 0, 1], 4).await, (4, 3, None, false));
    // Only versions we do not speak: HELLO_FAILED, INCOMPATIBLE, and the end.
    let failed = Some(vec![0, 0, 0, 0]);
    assert_eq!(talk(&[1, 0, 0, 8, 0, 0, 0, 1], 1).await, (6, 1, failed.clone(), true));
    assert_eq!(talk(&with_bitmap(1 << 1), 1).await, (6, 1, failed, true));
}

#[tokio::test]
async fn the_protocols_column_limits_the_versions() {
    let mut host = programmed_host();
    host.set("Bridge", "br0", "protocols", "OpenFlow13").unwrap();
    let cloud = cloud_of(host);
    let options = OpenFlowOptions::default();
    let server = OpenFlowServer::start(&cloud, "real", "br0", Endpoint::Tcp, options).await.unwrap();
    let mut client = Client::silent(server.address()).await;
    assert_eq!(hex(&client.receive().await.unwrap()), "04000010000000010001000800000010");
    client.send(&[6, 0, 0, 8, 0, 0, 0, 1]).await;
    // 1.5 after 1.3 was agreed on: BAD_REQUEST, BAD_VERSION.
    let reply = client.ask(&flow_request(6, 0xff)).await.remove(0);
    assert_eq!((reply[0], reply[1], &reply[8..12]), (4, 1, &[0, 1, 0, 0][..]));
}

#[tokio::test]
async fn writes_are_refused_and_recorded() {
    let cloud = cloud_of(programmed_host());
    let options = OpenFlowOptions::default();
    let server = OpenFlowServer::start(&cloud, "real", "br0", Endpoint::Tcp, options).await.unwrap();
    let mut client = Client::connect(server.address(), 4).await;
    client.ask(&flow_request(4, 0)).await;
    cloud.assert_only_reads();
    for (kind, error) in [(14u8, [0, 5, 0, 4]), (9, [0, 1, 0, 5]), (15, [0, 1, 0, 5]), (29, [0, 1, 0, 5])] {
        let reply = client.ask(&[4, kind, 0, 8, 0, 0, 0, 7]).await.remove(0);
        assert_eq!((reply[1], &reply[8..12]), (1, &error[..]), "message type {kind}");
    }
    let writes: Vec<String> = cloud.commands().into_iter().filter(|c| c.write).map(|c| c.what).collect();
    assert_eq!(writes, ["FLOW_MOD", "SET_CONFIG", "GROUP_MOD", "METER_MOD"]);
}

#[tokio::test]
async fn a_power_cut_takes_the_flows_and_the_connections() {
    let cloud = cloud_of(programmed_host());
    let options = OpenFlowOptions::default();
    let server = OpenFlowServer::start(&cloud, "real", "br0", Endpoint::Tcp, options).await.unwrap();
    let mut client = Client::connect(server.address(), 4).await;
    assert_eq!(comparable(4, &client.ask(&flow_request(4, 0xff)).await).len(), 11);
    cloud.edit(|w| w.power_cut("real").unwrap());
    assert_eq!(client.receive().await, None);
    let mut client = Client::connect(server.address(), 4).await;
    let flows = comparable(4, &client.ask(&flow_request(4, 0xff)).await);
    assert_eq!(flows.len(), 2, "the first is the header");
    let normal = [[0, 0, 0, 16], port::NORMAL.to_be_bytes(), [0; 4], [0; 4]].concat();
    assert!(flows[1].ends_with(&normal), "{}", hex(&flows[1]));
}

#[tokio::test]
async fn an_idle_client_is_probed() {
    let cloud = cloud_of(programmed_host());
    let options = OpenFlowOptions { probe: Some(Duration::from_millis(20)), ..OpenFlowOptions::default() };
    let server = OpenFlowServer::start(&cloud, "real", "br0", Endpoint::Tcp, options).await.unwrap();
    let mut client = Client::connect(server.address(), 4).await;
    let echo = client.receive().await.unwrap();
    assert_eq!(echo[1], 2, "ECHO_REQUEST");
    assert_eq!(client.receive().await, None, "it was not answered");
}

#[tokio::test]
async fn nonsense_ends_the_connection_and_nothing_else() {
    let cloud = cloud_of(programmed_host());
    let options = OpenFlowOptions::default();
    let server = OpenFlowServer::start(&cloud, "real", "br0", Endpoint::Tcp, options).await.unwrap();
    // No HELLO first; a length shorter than a header; text.
    for nonsense in [&flow_request(4, 0)[..], &[4, 0, 0, 7, 0, 0, 0, 1], b"GET / HTTP/1.1\r\n\r\n"] {
        let mut client = Client::silent(server.address()).await;
        client.receive().await.unwrap();
        client.send(nonsense).await;
        client.stream.shutdown().await.unwrap();
        assert_eq!(client.receive().await, None);
    }
    // Flow requests with every possible wrong length are answered, each with something.
    let mut client = Client::connect(server.address(), 4).await;
    let whole = flow_request(4, 0xff);
    for length in 8..whole.len() {
        let mut cut = whole[..length].to_vec();
        cut[3] = u8::try_from(length).unwrap();
        let reply = client.ask(&cut).await.remove(0);
        assert!(matches!(reply[1], 1 | 19), "length {length}");
    }
    assert!(cloud.commands().iter().all(|c| c.source == "openflow:real/br0"));
}
