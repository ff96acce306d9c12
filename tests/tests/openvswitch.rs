//! The reader of Open vSwitch against real Open vSwitch and real OpenSSH, and against the lab's emulation.
//!
//! The oracle is the switch itself: `ofproto/trace` says where a frame really goes, and the reader's words about a
//! port must agree with it in both directions.

#![allow(clippy::unwrap_used)] // a test may panic wherever it is surprised

use isoledger_collectors::net::tls::ClientFiles;
use isoledger_collectors::net::{Address, SshLogin, SshTarget, TlsFiles};
use isoledger_collectors::openvswitch::{
    COLUMNS_COMMAND, FLOWS_COMMAND, FlowSource, GROUPS_COMMAND, OpenVSwitch, OvsdbSource, Settings, normalise,
};
use isoledger_collectors::{Evidence, Reading, Secret, Stopwatch, SwitchReader};
use isoledger_core::model::{BypassClass, BypassReading, Failure, Observed, PortReading, PortState};
use isoledger_core::vlan::VlanId;
use isoledger_lab::{Fault, Lab, Service, World};
use isoledger_tests::openssh::OpenSsh;
use isoledger_tests::ovs::{self, ServerTls};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType, IsCa, KeyPair,
    date_time_ymd,
};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

fn settings(ovsdb: &str, bridge: &str) -> Settings {
    Settings {
        bridge: bridge.to_owned(),
        ovsdb: ovsdb.parse::<Address>().unwrap().into(),
        tls: None,
        flows: None,
    }
}

fn over_openflow(ovs: &ovs::OpenVSwitch, bridge: &str) -> OpenVSwitch {
    let flows = Some(FlowSource::OpenFlow(ovs.mgmt(bridge).parse().unwrap()));
    OpenVSwitch::new(Settings { flows, ..settings(&ovs.db(), bridge) }).unwrap()
}

async fn read_within(reader: &mut OpenVSwitch, limit: Duration) -> Reading<Observed> {
    let clock = Stopwatch::from_system().unwrap();
    let reading = reader.read(&clock, Instant::now() + limit).await;
    assert!(reading.window.started <= reading.window.ended);
    // Whatever was recorded reads the same a second time, from its bytes.
    let again = Evidence::from_bytes(&reading.evidence.to_bytes()).unwrap();
    assert_eq!(again, reading.evidence);
    if let Ok(observed) = &reading.outcome {
        assert_eq!(normalise(&again).as_ref(), Ok(observed));
    }
    reading
}

async fn read(reader: &mut OpenVSwitch) -> Reading<Observed> {
    read_within(reader, Duration::from_secs(20)).await
}

async fn observe(reader: &mut OpenVSwitch) -> Observed {
    let reading = read(reader).await;
    let observed = reading.outcome.unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(observed.anomalies, []);
    observed
}

async fn refusal(settings: Settings) -> (Failure, String) {
    let reading = read(&mut OpenVSwitch::new(settings).unwrap()).await;
    let e = reading.outcome.expect_err("this must be refused");
    (e.kind, e.sentence)
}

fn port<'a>(observed: &'a Observed, name: &str) -> &'a PortState {
    match observed.ports.get(name) {
        Some(PortReading::Read(state)) => state,
        other => panic!("{name}: {other:?}"),
    }
}

fn is_dirty(observed: &Observed, class: BypassClass) -> bool {
    matches!(observed.bypasses[&class], BypassReading::Dirty { .. })
}

const PROBES: [u16; 9] = [1, 5, 100, 200, 300, 400, 777, 4093, 4094];

/// Compares what the reader says of port `x` with what the switch does between it and the trunk port `t`.
fn compare(ovs: &ovs::OpenVSwitch, state: &PortState, case: &str) {
    let (x, t) = (ovs.datapath_port("x"), ovs.datapath_port("t"));
    let tags_at = |out: Vec<(String, Vec<u16>)>, port: &str| {
        let found: Vec<Vec<u16>> = out.into_iter().filter(|(p, _)| p == port).map(|(_, tags)| tags).collect();
        assert!(found.len() <= 1, "{case}: {found:?}");
        found.into_iter().next()
    };
    let carries = state.carries();
    for vlan in PROBES {
        let id = VlanId::new(vlan).unwrap();
        // Out: a frame of this VLAN comes in by the trunk.
        let out = tags_at(ovs.trace("br0", "t", Some(vlan)), &x);
        let want = match (state.untagged == Some(id), state.tagged.contains(id)) {
            (true, _) => Some(vec![]),
            (_, true) => Some(vec![vlan]),
            _ => None,
        };
        assert_eq!(out, want, "{case}: VLAN {vlan} out of x");
        // In: a frame with this tag comes in by x; whatever VLAN it then is in, x must be said to carry.
        if let Some(tags) = tags_at(ovs.trace("br0", "x", Some(vlan)), &t) {
            let entered = tags.first().copied().and_then(VlanId::new);
            assert!(entered.is_none_or(|v| carries.contains(v)), "{case}: tag {vlan} enters x as {tags:?}");
        } else {
            assert!(!state.tagged.contains(id), "{case}: tag {vlan} does not enter x");
        }
    }
    if let Some(tags) = tags_at(ovs.trace("br0", "x", None), &t) {
        let entered = tags.first().copied().and_then(VlanId::new);
        assert!(
            entered.is_none_or(|v| carries.contains(v)),
            "{case}: an untagged frame enters x as {tags:?}"
        );
        if state.untagged.is_some() {
            assert_eq!(entered, state.untagged, "{case}");
        }
    } else {
        assert_eq!(state.untagged, None, "{case}: untagged frames do not enter x");
    }
}

#[tokio::test]
async fn every_port_mode_is_read_as_the_switch_forwards_it() {
    let Some(ovs) = ovs::OpenVSwitch::start() else { return };
    ovs.vsctl("add-br br0 -- set bridge br0 datapath_type=dummy");
    ovs.vsctl("add-port br0 t -- add-port br0 x");
    let mut reader = over_openflow(&ovs, "br0");
    let mut cases = 0;
    for mode in ["", "access", "trunk", "native-tagged", "native-untagged", "dot1q-tunnel"] {
        for tag in ["", "100", "4094", "0", "4095"] {
            for trunks in ["", "200,300", "100,200", "0", "0,5", "4095", "0,4095,777"] {
                if mode == "dot1q-tunnel" && tag.is_empty() {
                    continue;
                }
                let set = |name: &str, value: &str| {
                    if value.is_empty() { String::new() } else { format!(" {name}={value}") }
                };
                let columns = set("vlan_mode", mode) + &set("tag", tag) + &set("trunks", trunks);
                let assign =
                    if columns.is_empty() { String::new() } else { format!(" -- set port x{columns}") };
                ovs.vsctl(&format!(
                    "clear port x vlan_mode -- clear port x tag -- clear port x trunks{assign}"
                ));
                let observed = observe(&mut reader).await;
                compare(&ovs, port(&observed, "x"), &format!("columns [{columns} ]"));
                cases += 1;
            }
        }
    }
    assert_eq!(cases, 6 * 5 * 7 - 7);
    // A tunnel port without a tag is not understood, and counts for every VLAN.
    ovs.vsctl("clear port x tag -- clear port x trunks -- set port x vlan_mode=dot1q-tunnel");
    let observed = observe(&mut reader).await;
    assert!(
        matches!(&observed.ports["x"], PortReading::Unreadable { might_carry, .. } if might_carry.is_all())
    );
}

#[tokio::test]
async fn what_hil_leaves_behind_is_every_vlan() {
    let Some(ovs) = ovs::OpenVSwitch::start() else { return };
    ovs.vsctl("add-br br0 -- set bridge br0 datapath_type=dummy");
    ovs.vsctl("add-port br0 t -- add-port br0 x");
    let mut reader = over_openflow(&ovs, "br0");
    for (step, leaves) in [
        ("set port x tag=100 vlan_mode=native-untagged", "a native network alone"),
        ("set port x trunks=200,300", "two more networks"),
        ("remove port x trunks 200", "one of them gone"),
        ("remove port x trunks 300", "the last of them gone"),
        ("del-port x -- add-port br0 x vlan_mode=native-untagged", "a revert"),
    ] {
        ovs.vsctl(step);
        let observed = observe(&mut reader).await;
        compare(&ovs, port(&observed, "x"), leaves);
        let all = port(&observed, "x").carries().is_all();
        assert_eq!(all, !["two more networks", "one of them gone"].contains(&leaves), "{leaves}");
    }
}

#[tokio::test]
async fn bonds_fake_bridges_patches_and_tunnels() {
    let Some(ovs) = ovs::OpenVSwitch::start() else { return };
    ovs.vsctl("add-br br0 -- set bridge br0 datapath_type=dummy");
    ovs.vsctl("add-br br1 -- set bridge br1 datapath_type=dummy");
    ovs.vsctl("add-bond br0 bond0 b1 b2 trunks=100,200");
    ovs.vsctl("add-br fake100 br0 100");
    ovs.vsctl("add-port fake100 pf");
    ovs.vsctl(
        "add-port br0 to1 trunks=7 -- set interface to1 type=patch options:peer=to0 \
         -- add-port br1 to0 tag=7 -- set interface to0 type=patch options:peer=to1",
    );
    ovs.vsctl("add-port br0 in0 tag=9 -- set interface in0 type=internal");
    let observed = observe(&mut over_openflow(&ovs, "br0")).await;
    assert_eq!(port(&observed, "bond0").tagged.to_string(), "100,200");
    assert_eq!(port(&observed, "bond0").members, ["b1".to_owned(), "b2".to_owned()].into());
    for member in ["b1", "b2"] {
        assert_eq!(port(&observed, member).aggregate.as_deref(), Some("bond0"));
        assert!(port(&observed, member).carries().is_empty());
    }
    for (name, untagged) in [("fake100", 100), ("pf", 100), ("in0", 9)] {
        assert_eq!(port(&observed, name).untagged, VlanId::new(untagged), "{name}");
    }
    assert_eq!(port(&observed, "to1").tagged.to_string(), "7");
    assert!(port(&observed, "br0").carries().is_all());
    assert!(!observed.ports.contains_key("to0"), "a port of another bridge");
    let other = observe(&mut over_openflow(&ovs, "br1")).await;
    assert_eq!(port(&other, "to0").untagged, VlanId::new(7));

    let (kind, said) = refusal(settings(&ovs.db(), "fake100")).await;
    assert_eq!(kind, Failure::Unreadable);
    assert!(said.contains("a fake bridge: VLAN 100 of the bridge br0. Configure br0"), "{said}");
    let (_, said) = refusal(settings(&ovs.db(), "br9")).await;
    assert!(said.contains("no bridge named br9; it has: br0, br1"), "{said}");
}

#[tokio::test]
async fn one_rule_one_mirror_one_controller_each_show() {
    let Some(ovs) = ovs::OpenVSwitch::start() else { return };
    ovs.vsctl("add-br br0 -- set bridge br0 datapath_type=dummy");
    for port in ["p1 tag=100", "p2 tag=200", "p3 tag=300"] {
        ovs.vsctl(&format!("add-port br0 {port}"));
    }
    let mut reader = over_openflow(&ovs, "br0");
    let clean = read(&mut reader).await;
    let observed = clean.outcome.unwrap();
    for (class, reading) in &observed.bypasses {
        assert_eq!(*reading, BypassReading::Clean, "{class}");
    }
    assert_eq!(observed.bypasses.len(), BypassClass::ALL.len());
    let ports = observed.ports;
    // What did not change gives the same bytes, even where somebody committed an empty change.
    ovs.vsctl("set port p1 tag=100");
    assert_eq!(read(&mut reader).await.evidence.to_bytes(), clean.evidence.to_bytes());

    let mut expect = async |class: BypassClass, vlans: &str, said: &str| {
        let observed = observe(&mut reader).await;
        assert_eq!(observed.ports, ports, "{class}: no port row changed");
        for (other, reading) in &observed.bypasses {
            match reading {
                BypassReading::Dirty { vlans: v, detail } if *other == class => {
                    assert_eq!(v.to_string(), vlans);
                    assert!(detail.contains(said), "{detail}");
                }
                reading => assert_eq!((*other == class, reading), (false, &BypassReading::Clean), "{other}"),
            }
        }
    };
    ovs.ofctl("add-flow br0 priority=100,in_port=p1,dl_dst=00:00:00:00:00:02,actions=output:p2");
    expect(BypassClass::Flows, "all", "priority=100,in_port=1,dl_dst=00:00:00:00:00:02 actions=output:2")
        .await;
    ovs.ofctl("--strict del-flows br0 priority=100,in_port=p1,dl_dst=00:00:00:00:00:02");
    ovs.ofctl("-O OpenFlow13 add-group br0 group_id=7,type=all,bucket=output:1");
    expect(BypassClass::Flows, "all", "1 group(s): 7").await;
    ovs.ofctl("-O OpenFlow13 del-groups br0");
    ovs.ofctl("add-flow br0 table=9,priority=0,actions=drop");
    expect(BypassClass::Flows, "all", "table=9,priority=0 actions=drop").await;
    ovs.ofctl("del-flows br0 table=9");

    ovs.vsctl(
        "-- --id=@p get port p1 -- --id=@o get port p3 -- --id=@m create mirror name=span select-src-port=@p \
         output-port=@o -- set bridge br0 mirrors=@m",
    );
    expect(BypassClass::Mirror, "100", "mirror span copies the VLANs 100 of p1 to port p3").await;
    ovs.vsctl("clear bridge br0 mirrors");
    ovs.vsctl(
        "-- --id=@m create mirror name=rspan select-all=true output-vlan=300 -- set bridge br0 mirrors=@m",
    );
    expect(BypassClass::Mirror, "all", "into VLAN 300").await;
    ovs.vsctl("clear bridge br0 mirrors");

    // Standalone, so that the plain rule stays while nobody answers.
    ovs.vsctl("set-fail-mode br0 standalone -- set-controller br0 tcp:127.0.0.1:1");
    let observed = observe(&mut over_openflow(&ovs, "br0")).await;
    assert!(is_dirty(&observed, BypassClass::Controller));
    ovs.vsctl("del-controller br0 -- set-fail-mode br0 secure");
    let observed = observe(&mut over_openflow(&ovs, "br0")).await;
    assert!(is_dirty(&observed, BypassClass::Controller));
}

#[tokio::test]
async fn a_mirror_copies_exactly_when_the_reader_says_so() {
    let Some(ovs) = ovs::OpenVSwitch::start() else { return };
    ovs.vsctl("add-br br0 -- set bridge br0 datapath_type=dummy");
    ovs.vsctl("add-port br0 a tag=100 -- add-port br0 b trunks=100,200 -- add-port br0 o tag=900");
    let mut reader = over_openflow(&ovs, "br0");
    let o = ovs.datapath_port("o");
    for (mirror, vlans) in [
        ("select-all=true output-port=@o", "all"),
        ("select-src-port=@a output-port=@o", "100"),
        ("select-dst-port=@b output-port=@o", "100,200"),
        ("select-all=true select-vlan=200 output-port=@o", "200"),
        ("select-src-port=@a select-vlan=200 output-port=@o", ""),
        ("select-vlan=100 output-port=@o", ""),
        ("output-port=@o", ""),
        ("select-src-port=@a output-vlan=900", "100,900"),
    ] {
        ovs.vsctl(&format!(
            "clear bridge br0 mirrors -- --id=@a get port a -- --id=@b get port b -- --id=@o get port o \
             -- --id=@m create mirror name=m {mirror} -- set bridge br0 mirrors=@m"
        ));
        let said = match &observe(&mut reader).await.bypasses[&BypassClass::Mirror] {
            BypassReading::Dirty { vlans, .. } => vlans.to_string(),
            BypassReading::Clean => String::new(),
            other => panic!("{other:?}"),
        };
        assert_eq!(said, vlans, "{mirror}");
        // Frames of VLAN 100 and 200 that reach the output port, which carries neither, were copied there.
        let copied = |port: &str, tag| ovs.trace("br0", port, tag).iter().any(|(to, _)| *to == o);
        let all = vlans == "all";
        assert_eq!(copied("a", None) || copied("b", Some(100)), all || vlans.contains("100"), "{mirror}");
        assert_eq!(copied("b", Some(200)), all || vlans.starts_with("200") && !vlans.is_empty(), "{mirror}");
    }
}

/// A script that lets the reader's three commands through and nothing else.
fn forced(ovs: &ovs::OpenVSwitch) -> String {
    format!(
        "case \"$SSH_ORIGINAL_COMMAND\" in\n\
         '{COLUMNS_COMMAND}'|'{FLOWS_COMMAND}br0'|'{GROUPS_COMMAND}br0') OVS_RUNDIR={} exec $SSH_ORIGINAL_COMMAND;;\n\
         *) echo refused >&2; exit 126;;\nesac",
        ovs.rundir().display()
    )
}

fn target(ssh: &OpenSsh, known_hosts: PathBuf) -> SshTarget {
    SshTarget {
        host: "127.0.0.1".into(),
        port: ssh.port,
        user: ssh.user.clone(),
        known_hosts,
        login: SshLogin::Key { private: ssh.file("user"), passphrase: None },
        old_algorithms: false,
    }
}

#[tokio::test]
async fn openflow_ssh_and_the_local_command_read_one_switch_alike() {
    let Some(ovs) = ovs::OpenVSwitch::start() else { return };
    let Some(ssh) = OpenSsh::start(&forced(&ovs)) else { return };
    ovs.vsctl("add-br br0 -- set bridge br0 datapath_type=dummy");
    ovs.vsctl("add-port br0 p1 tag=100 -- add-port br0 p2 tag=200");
    let known = ssh.known_hosts("known", &["host_ed25519"], false);
    let ways = [
        FlowSource::OpenFlow(ovs.mgmt("br0").parse().unwrap()),
        FlowSource::Ssh(target(&ssh, known)),
        FlowSource::Local { rundir: Some(ovs.rundir().to_owned()) },
    ];
    let mut readers: Vec<OpenVSwitch> = ways
        .into_iter()
        .map(|way| OpenVSwitch::new(Settings { flows: Some(way), ..settings(&ovs.db(), "br0") }).unwrap())
        .collect();
    for (step, clean) in [
        ("", true),
        ("add-flow br0 priority=100,in_port=1,dl_dst=00:00:00:00:00:02,actions=output:2", false),
        (
            "add-flow br0 cookie=7,table=3,priority=5,dl_src=00:00:00:00:00:09,dl_vlan=12,actions=LOCAL,FLOOD",
            false,
        ),
        ("add-flow br0 priority=100,in_port=2,ip,actions=drop", false),
        (
            "-O OpenFlow13 add-flow br0 priority=9,arp,actions=push_vlan:0x8100,set_field:4196->vlan_vid,output:1",
            false,
        ),
        (
            "-O OpenFlow13 add-flow br0 priority=8,in_port=LOCAL,dl_vlan=4,actions=pop_vlan,goto_table:7",
            false,
        ),
        ("-O OpenFlow13 add-group br0 group_id=7,type=all,bucket=output:1", false),
        ("del-flows br0", false),
        ("-O OpenFlow13 del-groups br0", false),
        ("add-flow br0 priority=0,actions=NORMAL", true),
    ] {
        if !step.is_empty() {
            ovs.ofctl(step);
        }
        let mut seen = Vec::new();
        for reader in &mut readers {
            let first = read(reader).await;
            assert_eq!(read(reader).await.evidence.to_bytes(), first.evidence.to_bytes(), "{step}");
            seen.push(first.outcome.unwrap());
        }
        assert_eq!(seen[0], seen[1], "{step}: OpenFlow and SSH");
        assert_eq!(seen[1], seen[2], "{step}: SSH and the local command");
        assert_eq!(seen[0].bypasses[&BypassClass::Flows] == BypassReading::Clean, clean, "{step}");
    }
    for line in ssh.asked().lines() {
        assert!(
            [format!("{FLOWS_COMMAND}br0"), format!("{GROUPS_COMMAND}br0")].contains(&line.to_owned()),
            "{line}"
        );
    }
    assert_eq!(ssh.logins(), 1, "one login serves every poll");
    // Counters move with traffic; evidence does not.
    let before = read(&mut readers[0]).await.evidence.to_bytes();
    ovs.appctl(&[
        "netdev-dummy/receive",
        "p1",
        "in_port(1),eth(src=02:00:00:00:00:01,dst=ff:ff:ff:ff:ff:ff),eth_type(0x88b5)",
    ]);
    for (reader, name) in readers.iter_mut().zip(["OpenFlow", "SSH", "local"]) {
        let bytes = read(reader).await.evidence.to_bytes();
        assert!(name != "OpenFlow" || bytes == before);
    }
}

/// Every configuration of ports at once, then one of each bypass after the other: what is read over OVSDB is what is read
/// over SSH.
#[tokio::test]
async fn ovsdb_and_ssh_read_one_switch_alike() {
    let Some(ovs) = ovs::OpenVSwitch::start() else { return };
    let Some(ssh) = OpenSsh::start(&forced(&ovs)) else { return };
    ovs.vsctl("add-br br0 -- set bridge br0 datapath_type=dummy");
    let (mut add, mut ports) = (Vec::new(), 0);
    for mode in ["", "access", "trunk", "native-tagged", "native-untagged", "dot1q-tunnel"] {
        for tag in ["", "100", "4094", "0", "4095"] {
            for trunks in ["", "200,300", "100,200", "0", "0,5", "4095", "0,4095,777"] {
                let mut words = format!("add-port br0 x{ports}");
                for (name, value) in [("vlan_mode", mode), ("tag", tag), ("trunks", trunks)] {
                    if !value.is_empty() {
                        words += &format!(" {name}={value}");
                    }
                }
                add.push(words);
                ports += 1;
            }
        }
    }
    assert_eq!(ports, 6 * 5 * 7);
    ovs.vsctl(&add.join(" -- "));
    let at = target(&ssh, ssh.known_hosts("known", &["host_ed25519"], false));
    let flows = Some(FlowSource::Ssh(at.clone()));
    let mut over_ovsdb =
        OpenVSwitch::new(Settings { flows: flows.clone(), ..settings(&ovs.db(), "br0") }).unwrap();
    let by_ssh = Settings { flows, ovsdb: OvsdbSource::Ssh(at), ..settings(&ovs.db(), "br0") };
    let mut over_ssh = OpenVSwitch::new(by_ssh.clone()).unwrap();
    let mut logins = 0;
    for step in [
        "",
        "add-bond br0 bond0 b1 b2 trunks=100,200",
        "add-br fake100 br0 100 -- add-port fake100 pf",
        "add-br br1 -- add-port br0 to1 trunks=7 -- set interface to1 type=patch options:peer=to0 \
         -- add-port br1 to0 tag=7 -- set interface to0 type=patch options:peer=to1",
        "set port x0 vlan_mode=dot1q-tunnel tag=9 cvlans=10,11",
        "-- --id=@p get port x1 -- --id=@o get port x3 -- --id=@m create mirror name=span select-src-port=@p \
         output-port=@o -- set bridge br0 mirrors=@m",
        "clear bridge br0 mirrors",
        "set-fail-mode br0 standalone -- set-controller br0 tcp:127.0.0.1:1",
        "set-manager ptcp:0:127.0.0.1",
        "del-controller br0 -- set-fail-mode br0 secure",
        "del-fail-mode br0 -- del-manager",
        "-- --id=@s create sflow targets=\"127.0.0.1:1\" agent=lo -- set bridge br0 sflow=@s",
        "clear bridge br0 sflow -- set open . external_ids:system-id=switch-7 external_ids:note=mine",
    ] {
        if !step.is_empty() {
            ovs.vsctl(step);
        }
        let (a, b) = (read(&mut over_ovsdb).await, read(&mut over_ssh).await);
        let (mut plain, seen) = (a.outcome.unwrap(), b.outcome.unwrap_or_else(|e| panic!("{step}: {e}")));
        // Only a server that tells of its changes knows of the time before.
        plain.between.clear();
        assert_eq!(seen, plain, "{step}");
        assert_eq!(b.evidence.identity, a.evidence.identity, "{step}");
        assert!(b.evidence.auth.starts_with("ovsdb: ovs-vsctl, ssh user "), "{}", b.evidence.auth);
        let again = read(&mut over_ssh).await;
        assert_eq!(again.evidence.to_bytes(), b.evidence.to_bytes(), "{step}: nothing changed");
        assert!(seen.ports.len() > ports, "{step}");
        logins = ssh.logins();
    }
    assert_eq!(logins, 2, "one login of each reader, for columns and rules and every poll");
    for line in ssh.asked().lines() {
        let known =
            [COLUMNS_COMMAND.to_owned(), format!("{FLOWS_COMMAND}br0"), format!("{GROUPS_COMMAND}br0")];
        assert!(known.contains(&line.to_owned()), "{line}");
    }
    // What is refused, and by whom.
    let (_, said) = refusal(Settings { bridge: "fake100".into(), flows: None, ..by_ssh.clone() }).await;
    assert!(said.contains("a fake bridge: VLAN 100 of the bridge br0. Configure br0"), "{said}");
    let Some(closed) = OpenSsh::start("echo not for you >&2; exit 7") else { return };
    let at = target(&closed, closed.known_hosts("known", &["host_ed25519"], false));
    let (kind, said) = refusal(Settings { ovsdb: OvsdbSource::Ssh(at), flows: None, ..by_ssh }).await;
    assert_eq!(kind, Failure::Unreadable);
    assert!(said.contains("ovs-vsctl ended with status 7: not for you. May this user read"), "{said}");
}

/// `ovs-vsctl` makes the root row of a new database when it is asked for anything; the reader's must not.
#[tokio::test]
async fn a_database_that_nobody_uses_yet_is_not_touched() {
    let Some(ovs) = ovs::OpenVSwitch::database(None) else { return };
    let Some(ssh) = OpenSsh::start(&forced(&ovs)) else { return };
    let delete = r#"["Open_vSwitch",{"op":"delete","table":"Open_vSwitch","where":[]}]"#;
    let select = r#"["Open_vSwitch",{"op":"select","table":"Open_vSwitch","where":[]}]"#;
    let ask =
        |what: &str| ovs::run(std::process::Command::new("ovsdb-client").args(["transact", &ovs.db(), what]));
    ask(delete);
    assert!(ask(select).contains("\"rows\":[]"));
    let at = target(&ssh, ssh.known_hosts("known", &["host_ed25519"], false));
    let (kind, said) = refusal(Settings { ovsdb: OvsdbSource::Ssh(at), ..settings(&ovs.db(), "br0") }).await;
    assert_eq!(kind, Failure::Unreadable);
    assert!(said.contains("no bridge named br0; it has: none"), "{said}");
    assert!(ask(select).contains("\"rows\":[]"), "reading wrote nothing");
}

/// What a real server tells of, change by change, and what becomes of it.
#[tokio::test]
async fn what_came_and_went_on_a_real_switch_is_told() {
    let Some(ovs) = ovs::OpenVSwitch::start() else { return };
    ovs.vsctl("add-br br0 -- set bridge br0 datapath_type=dummy");
    ovs.vsctl("add-port br0 p1 tag=100 -- add-port br0 p2 vlan_mode=access");
    let mut reader = over_openflow(&ovs, "br0");
    let first = read(&mut reader).await;
    assert_eq!(read(&mut reader).await.evidence.to_bytes(), first.evidence.to_bytes());
    let told = async |reader: &mut OpenVSwitch| {
        let observed = observe(reader).await;
        let all = observed.between.iter().map(|(port, b)| format!("{port} {}", b.vlans));
        (all.collect::<Vec<_>>(), observed)
    };
    for _ in 0..10 {
        ovs.vsctl("set port p2 tag=200");
        ovs.vsctl("clear port p2 tag");
        assert_eq!(told(&mut reader).await.0, ["p2 200"]);
        assert_eq!(read(&mut reader).await.evidence.to_bytes(), first.evidence.to_bytes());
    }
    // A second look within one poll tells the same again, with what came since; a reading that is held, too.
    ovs.vsctl("set port p2 tag=200");
    ovs.vsctl("clear port p2 tag");
    assert_eq!(told(&mut reader).await.0, ["p2 200"]);
    ovs.vsctl("set port p2 tag=300");
    ovs.vsctl("clear port p2 tag");
    let clock = Stopwatch::from_system().unwrap();
    let deadline = Instant::now() + Duration::from_secs(20);
    let again = reader.reread(&["p2".to_owned()].into(), &first.evidence, &clock, deadline).await;
    assert_eq!(again.outcome.unwrap().between["p2"].vlans.to_string(), "200,300");
    reader.hold();
    assert_eq!(told(&mut reader).await.0, ["p2 200,300"]);
    assert_eq!(told(&mut reader).await.0, [""; 0]);
    // A port that comes and goes, one that HIL's driver reverts twice, and a mirror.
    ovs.vsctl("add-port br0 p3 tag=300");
    ovs.vsctl("del-port br0 p3");
    assert_eq!(told(&mut reader).await.0, ["p3 300"]);
    ovs.vsctl("del-port p2 -- add-port br0 p2 vlan_mode=native-untagged");
    ovs.vsctl("del-port p2 -- add-port br0 p2 vlan_mode=access");
    let (between, observed) = told(&mut reader).await;
    assert_eq!(between, ["p2 all"]);
    assert!(observed.between["p2"].all);
    ovs.vsctl(
        "-- --id=@p get port p1 -- --id=@o get port p2 -- --id=@m create mirror name=span select-src-port=@p \
         output-port=@o -- set bridge br0 mirrors=@m",
    );
    ovs.vsctl("clear bridge br0 mirrors");
    let (between, observed) = told(&mut reader).await;
    assert_eq!(between, [""; 0]);
    match &observed.bypasses[&BypassClass::Mirror] {
        BypassReading::Dirty { vlans, detail } => {
            assert!(vlans.to_string() == "100" && detail.contains("before this reading"), "{detail}");
        }
        other => panic!("{other:?}"),
    }
    assert!(!is_dirty(&told(&mut reader).await.1, BypassClass::Mirror));
}

#[tokio::test]
async fn many_rules_come_in_several_messages() {
    let Some(ovs) = ovs::OpenVSwitch::start() else { return };
    ovs.vsctl("add-br br0 -- set bridge br0 datapath_type=dummy");
    let file = ovs.rundir().join("rules");
    let rules: String = (1..=3000)
        .map(|n| format!("priority={n},dl_vlan={},dl_dst=02:00:00:00:00:01 actions=drop\n", n % 4094))
        .collect();
    std::fs::write(&file, rules).unwrap();
    ovs.ofctl(&format!("add-flows br0 {}", file.display()));
    for protocol in ["OpenFlow13", "OpenFlow14", "OpenFlow15"] {
        ovs.vsctl(&format!("set bridge br0 protocols=OpenFlow10,{protocol}"));
        let reading = read(&mut over_openflow(&ovs, "br0")).await;
        let rules = reading.evidence.exchanges.iter().find(|x| x.asked.contains("OFPMP_FLOW")).unwrap();
        assert_eq!(String::from_utf8_lossy(&rules.answer).lines().count(), 1 + 3001, "{protocol}");
        match &reading.outcome.unwrap().bypasses[&BypassClass::Flows] {
            BypassReading::Dirty { detail, .. } => assert!(detail.contains("3000 rule(s)"), "{detail}"),
            other => panic!("{other:?}"),
        }
    }
    ovs.vsctl("set bridge br0 protocols=OpenFlow10");
    match &observe(&mut over_openflow(&ovs, "br0")).await.bypasses[&BypassClass::Flows] {
        BypassReading::NotRead { why } => assert!(why.contains("none of OpenFlow 1.3"), "{why}"),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn rules_of_another_bridge_do_not_count() {
    let Some(ovs) = ovs::OpenVSwitch::start() else { return };
    ovs.vsctl("add-br br0 -- set bridge br0 datapath_type=dummy");
    ovs.vsctl("add-br br1 -- set bridge br1 datapath_type=dummy");
    let flows = Some(FlowSource::OpenFlow(ovs.mgmt("br1").parse().unwrap()));
    let mut reader = OpenVSwitch::new(Settings { flows, ..settings(&ovs.db(), "br0") }).unwrap();
    match &observe(&mut reader).await.bypasses[&BypassClass::Flows] {
        BypassReading::NotRead { why } => assert!(why.contains("comes from the bridge with"), "{why}"),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn configuration_that_is_not_carried_out_is_no_reading() {
    let Some(ovs) = ovs::OpenVSwitch::database(None) else { return };
    ovs.vsctl("--no-wait add-br br0");
    let mut reader = OpenVSwitch::new(settings(&ovs.db(), "br0")).unwrap();
    observe(&mut reader).await;
    ovs.vsctl("--no-wait set open_vswitch . next_cfg=5");
    let reading = read(&mut reader).await;
    let anomalies = reading.outcome.unwrap().anomalies;
    assert_eq!(anomalies.len(), 1);
    assert!(
        anomalies[0].what.contains("carried out configuration 0 and the database holds 5"),
        "{anomalies:?}"
    );
    assert!(reading.sent > 1, "it was read again");
}

#[tokio::test]
async fn tcp_identity_and_a_server_that_comes_back() {
    let Some(ovs) = ovs::OpenVSwitch::database(None) else { return };
    ovs.vsctl("--no-wait add-br br0");
    let port = ovs.listen_tcp();
    let mut reader = OpenVSwitch::new(settings(&format!("tcp:127.0.0.1:{port}"), "br0")).unwrap();
    let first = read(&mut reader).await;
    assert!(first.evidence.identity.unwrap().starts_with("open-vswitch="));
    ovs.vsctl("--no-wait set open_vswitch . external_ids:system-id=switch-7 external_ids:hostname=somewhere");
    let second = read(&mut reader).await;
    assert_eq!(second.evidence.identity.as_deref(), Some("system-id=switch-7"));
    assert_eq!(second.evidence.auth, "ovsdb: tcp, not authenticated");
    assert!(!String::from_utf8(second.evidence.to_bytes()).unwrap().contains("somewhere"));
    drop(ovs);
    let gone = read(&mut reader).await;
    let e = gone.outcome.unwrap_err();
    assert_eq!(e.kind, Failure::Silent);
    assert!(e.sentence.contains("nobody listens there"), "{e}");
}

fn called(name: &str) -> DistinguishedName {
    let mut all = DistinguishedName::new();
    all.push(DnType::CommonName, name);
    all
}

/// An authority that can issue certificates to files.
struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    dir: tempfile::TempDir,
}

impl Authority {
    fn new(name: &str) -> Authority {
        let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
        params.distinguished_name = called(name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("ca.pem"), issuer.pem()).unwrap();
        Authority { issuer, dir }
    }

    fn ca(&self) -> PathBuf {
        self.dir.path().join("ca.pem")
    }

    /// A certificate for `name` and its key, expired or not.
    fn issue(&self, name: &str, expired: bool) -> (PathBuf, PathBuf) {
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        // OpenSSL takes a certificate with its issuer's name for a self-signed one.
        params.distinguished_name = called(name);
        if expired {
            params.not_before = date_time_ymd(2019, 1, 1);
            params.not_after = date_time_ymd(2020, 1, 1);
        }
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let at = |kind: &str| self.dir.path().join(format!("{name}-{expired}.{kind}"));
        std::fs::write(at("pem"), certificate.pem()).unwrap();
        std::fs::write(at("key"), key.serialize_pem()).unwrap();
        (at("pem"), at("key"))
    }
}

fn over_tls(port: u16, ca: &Path, client: Option<ClientFiles>, server_name: Option<&str>) -> Settings {
    let tls = TlsFiles { ca: ca.to_owned(), client, server_name: server_name.map(str::to_owned) };
    Settings { tls: Some(tls), ..settings(&format!("ssl:127.0.0.1:{port}"), "br0") }
}

#[tokio::test]
async fn tls_says_what_is_wrong_with_whose_certificate() {
    let ours = Authority::new("ours");
    let (certificate, key) = ours.issue("srv", false);
    let server = ServerTls { certificate, key, ca: Some(ours.ca()) };
    let Some(ovs) = ovs::OpenVSwitch::database(Some(&server)) else { return };
    ovs.vsctl("--no-wait add-br br0");
    let port = ovs.listening_port();
    let client = |authority: &Authority, expired| {
        let (certificate, key) = authority.issue("auditor", expired);
        Some(ClientFiles { certificate, key })
    };

    let (another, same_name) = (Authority::new("another"), Authority::new("ours"));
    let mut reader = OpenVSwitch::new(over_tls(port, &ours.ca(), client(&ours, false), Some("srv"))).unwrap();
    observe(&mut reader).await;
    let reading = read(&mut reader).await;
    assert_eq!(reading.evidence.auth, "ovsdb: tls, server certificate verified, client certificate");
    assert!(reading.evidence.identity.unwrap().contains("certificate-sha256="));

    for (settings, said) in [
        (over_tls(port, &ours.ca(), None, Some("srv")), "demands a client certificate"),
        (over_tls(port, &ours.ca(), client(&another, false), Some("srv")), "refused the client certificate"),
        (over_tls(port, &ours.ca(), client(&ours, true), Some("srv")), "refused the client certificate"),
        (over_tls(port, &another.ca(), client(&ours, false), Some("srv")), "not issued by an authority"),
        (over_tls(port, &same_name.ca(), client(&ours, false), Some("srv")), "not issued by an authority"),
        (over_tls(port, &ours.ca(), client(&ours, false), None), "bears another name"),
        (over_tls(port, Path::new("/nonexistent/ca.pem"), None, None), "cannot be used"),
    ] {
        let (kind, sentence) = refusal(settings).await;
        assert!(sentence.contains(said), "{said}: {sentence}");
        assert_eq!(kind, Failure::Unreadable, "{sentence}");
    }
}

#[tokio::test]
async fn an_expired_server_certificate_is_refused() {
    let ours = Authority::new("ours");
    let (certificate, key) = ours.issue("srv", true);
    let server = ServerTls { certificate, key, ca: None };
    let Some(ovs) = ovs::OpenVSwitch::database(Some(&server)) else { return };
    let (kind, said) = refusal(over_tls(ovs.listening_port(), &ours.ca(), None, Some("srv"))).await;
    assert_eq!(kind, Failure::Unreadable);
    assert!(said.contains("has expired"), "{said}");
}

async fn flows_over(ovs: &ovs::OpenVSwitch, target: SshTarget) -> BypassReading {
    let settings = Settings { flows: Some(FlowSource::Ssh(target)), ..settings(&ovs.db(), "br0") };
    observe(&mut OpenVSwitch::new(settings).unwrap()).await.bypasses[&BypassClass::Flows].clone()
}

#[tokio::test]
async fn ssh_talks_to_known_hosts_only() {
    let Some(ovs) = ovs::OpenVSwitch::start() else { return };
    let Some(ssh) = OpenSsh::start(&forced(&ovs)) else { return };
    ovs.vsctl("add-br br0 -- set bridge br0 datapath_type=dummy");

    // Whichever of the host's keys is listed, in plain or hashed, it is the one asked for.
    for keys in [&["host_ed25519"][..], &["host_rsa"], &["host_ecdsa"], &["host_rsa", "host_ecdsa"]] {
        for hashed in [false, true] {
            let known = ssh.known_hosts("known", keys, hashed);
            assert_eq!(
                flows_over(&ovs, target(&ssh, known)).await,
                BypassReading::Clean,
                "{keys:?} {hashed}"
            );
        }
    }
    let why = async |target: SshTarget| match flows_over(&ovs, target).await {
        BypassReading::NotRead { why } => why,
        other => panic!("{other:?}"),
    };
    let commands = ssh.asked();
    let unknown = why(target(&ssh, ssh.known_hosts("known", &[], false))).await;
    assert!(unknown.contains("SHA256:") && unknown.contains("lists none for [127.0.0.1]"), "{unknown}");
    let presented = ["host_ed25519", "host_ecdsa", "host_rsa"].map(|key| ssh.fingerprint(key));
    assert!(presented.iter().any(|fingerprint| unknown.contains(fingerprint)), "{unknown}");
    // Another key of the type that is listed.
    let changed = why(target(&ssh, ssh.known_hosts("known", &["stranger"], false))).await;
    assert!(
        changed.contains("is not the one listed") && changed.contains(&ssh.fingerprint("host_ed25519")),
        "{changed}"
    );

    let good = ssh.known_hosts("good", &["host_ed25519"], false);
    let mut text = std::fs::read_to_string(&good).unwrap();
    text += &format!("@revoked * {}", std::fs::read_to_string(ssh.file("host_ed25519.pub")).unwrap());
    let revoked = ssh.file("revoked");
    std::fs::write(&revoked, text).unwrap();
    let said = why(target(&ssh, revoked)).await;
    assert!(said.contains("revoked"), "{said}");

    let said = why(target(&ssh, ssh.file("no-such-file"))).await;
    assert!(said.contains("known_hosts file") && said.contains("no such file"), "{said}");
    let with = |login| SshTarget { login, ..target(&ssh, good.clone()) };
    let said = why(with(SshLogin::Key { private: ssh.file("stranger"), passphrase: None })).await;
    assert!(said.contains("refused the user"), "{said}");
    let said = why(with(SshLogin::Key { private: ssh.file("nothing"), passphrase: None })).await;
    assert!(said.contains("key file") && said.contains("cannot be read"), "{said}");
    let said = why(with(SshLogin::Password(Secret::new("correct horse battery")))).await;
    assert!(said.contains("refused the user") && !said.contains("horse"), "{said}");
    // None of these got as far as a command.
    assert_eq!(ssh.asked(), commands);

    let nobody = SshTarget { port: 1, ..target(&ssh, good.clone()) };
    let said = why(nobody).await;
    assert!(said.contains("nobody listens there"), "{said}");
}

#[tokio::test]
async fn an_ssh_account_that_answers_something_else_is_not_read() {
    let Some(ovs) = ovs::OpenVSwitch::start() else { return };
    ovs.vsctl("add-br br0 -- set bridge br0 datapath_type=dummy");
    for (script, said) in [
        ("echo 'Welcome to the switch'", "not a rule"),
        ("echo ' priority=0 actions=NORMAL'", "not with the header of a group description"),
        ("echo broken >&2; exit 3", "the command ended with status 3: broken"),
        ("kill -9 $$", "the command ended with status"),
        ("exit 0", "not with the header"),
        ("head -c 9000000 /dev/zero", "more than"),
        // Waits for input that never comes, and so ends with the connection.
        ("cat >/dev/null", "no answer before the deadline"),
    ] {
        let Some(ssh) = OpenSsh::start(script) else { return };
        let known = ssh.known_hosts("known", &["host_ed25519"], false);
        let flows = Some(FlowSource::Ssh(target(&ssh, known)));
        let mut reader = OpenVSwitch::new(Settings { flows, ..settings(&ovs.db(), "br0") }).unwrap();
        let limit = Duration::from_secs(if script.starts_with("cat") { 2 } else { 20 });
        let observed = read_within(&mut reader, limit).await.outcome.unwrap();
        match &observed.bypasses[&BypassClass::Flows] {
            // Whose clock runs out first, ours or libssh2's, is chance; both end the wait.
            BypassReading::NotRead { why } => assert!(
                why.contains(said) || script.starts_with("cat") && why.contains("Timed out"),
                "{script}: {why}"
            ),
            other => panic!("{script}: {other:?}"),
        }
    }
}

#[tokio::test]
async fn the_lab_is_read_like_a_real_switch() {
    let lab = Lab::start(World::two_tenants()).await.unwrap();
    for switch in lab.switches() {
        for (ovsdb, openflow) in [
            (switch.ovsdb.unix.to_ovs(), switch.openflow.unix.to_ovs()),
            (switch.ovsdb.tcp.to_ovs(), switch.openflow.tcp.to_ovs()),
        ] {
            let flows = Some(FlowSource::OpenFlow(openflow.parse().unwrap()));
            let mut reader =
                OpenVSwitch::new(Settings { flows, ..settings(&ovsdb, &switch.bridge) }).unwrap();
            let first = read(&mut reader).await;
            let observed = first.outcome.unwrap_or_else(|e| panic!("{e}"));
            assert_eq!(observed.anomalies, []);
            assert!(observed.ports.len() > 1);
            assert!(
                observed.bypasses.values().all(|b| *b == BypassReading::Clean),
                "{:?}",
                observed.bypasses
            );
            assert_eq!(read(&mut reader).await.evidence.to_bytes(), first.evidence.to_bytes());
        }
    }
    lab.assert_only_reads();
}

#[tokio::test]
async fn every_fault_of_a_peer_ends_in_a_sentence_before_the_deadline() {
    let lab = Lab::start(World::two_tenants()).await.unwrap();
    let switch = lab.switches().remove(0);
    let whole = Duration::from_secs(20);
    let short = Duration::from_millis(300);
    let faults = [
        (Fault::Silent, short, Failure::Silent, "no answer before the deadline"),
        (Fault::Unaccepted, short, Failure::Silent, "no answer before the deadline"),
        (Fault::Trickle(Duration::from_millis(50)), short, Failure::Silent, "no answer before the deadline"),
        (Fault::Refuse, whole, Failure::Silent, "connecting to"),
        (Fault::Cut { after: 100 }, whole, Failure::Silent, "closed the connection"),
        (Fault::HalfClose { after: 100 }, whole, Failure::Silent, "closed the connection"),
        (
            Fault::Garbage(b"HTTP/1.1 400 Bad Request\r\n".to_vec()),
            whole,
            Failure::Unreadable,
            "not OVSDB's JSON-RPC",
        ),
        (Fault::Garbage(b"{]".to_vec()), whole, Failure::Unreadable, "did not open"),
    ];
    for (fault, limit, kind, said) in faults {
        let service = Service::Ovsdb(switch.host.clone());
        lab.edit(|w| w.set_fault(service.clone(), fault.clone()));
        let mut reader = OpenVSwitch::new(settings(&switch.ovsdb.tcp.to_ovs(), &switch.bridge)).unwrap();
        let e = read_within(&mut reader, limit).await.outcome.expect_err(&format!("{fault:?}"));
        assert!(e.sentence.contains(said), "{fault:?}: {e}");
        assert_eq!(e.kind, kind, "{fault:?}: {e}");
        // The same reader recovers by itself.
        lab.edit(|w| w.clear_fault(&service));
        observe(&mut reader).await;
    }
    for fault in [Fault::Silent, Fault::Refuse, Fault::Cut { after: 20 }, Fault::Garbage(vec![0xff; 64])] {
        let service = Service::OpenFlow { host: switch.host.clone(), bridge: switch.bridge.clone() };
        lab.edit(|w| w.set_fault(service.clone(), fault.clone()));
        let flows = Some(FlowSource::OpenFlow(switch.openflow.tcp.to_ovs().parse().unwrap()));
        let settings = Settings { flows, ..settings(&switch.ovsdb.tcp.to_ovs(), &switch.bridge) };
        let mut reader = OpenVSwitch::new(settings).unwrap();
        let limit = if fault == Fault::Silent { Duration::from_secs(1) } else { whole };
        let observed = read_within(&mut reader, limit).await.outcome.unwrap();
        assert!(matches!(observed.bypasses[&BypassClass::Flows], BypassReading::NotRead { .. }), "{fault:?}");
        lab.edit(|w| w.clear_fault(&service));
        assert_eq!(observe(&mut reader).await.bypasses[&BypassClass::Flows], BypassReading::Clean);
    }
}
