//! One whole reading for every dialect, as evidence: what fuzzing and mutation begin with. Made from the fixtures.

// Public for the fuzz targets, which take this file as a module of theirs.
#![allow(unreachable_pub)]

use isoledger_collectors::dialects::{MANAGERS, SWITCHES};
use isoledger_collectors::{Evidence, Exchange, SourceError};
use isoledger_collectors::{
    declared_file, hil, hil_database, n3000, nexus, openvswitch, os9, powerconnect, vdx,
};

macro_rules! fixture {
    ($path:literal) => {
        include_str!(concat!("../../fixtures/", $path))
    };
}

/// A dialect and one reading of it.
pub struct Seed {
    /// The dialect.
    pub dialect: &'static str,
    /// The reading.
    pub evidence: Evidence,
}

impl Seed {
    /// Reads `evidence` as this seed's dialect, and prints what it means.
    pub fn normalise(&self, evidence: &Evidence) -> Result<String, SourceError> {
        normalise(self.dialect, evidence)
    }
}

/// Reads `evidence` as `dialect`, and prints what it means: so the output's size is seen, and every part of it used.
pub fn normalise(dialect: &str, evidence: &Evidence) -> Result<String, SourceError> {
    let print = |out: serde_json::Result<String>| out.expect("a normal form always has a JSON form");
    if let Some(known) = SWITCHES.iter().find(|d| d.name == dialect) {
        return (known.normalise)(evidence).map(|observed| print(serde_json::to_string(&observed)));
    }
    let known = MANAGERS.iter().find(|d| d.name == dialect).expect("a dialect of one of the two lists");
    (known.normalise)(evidence).map(|declared| print(serde_json::to_string(&declared)))
}

fn exchange(asked: impl Into<String>, status: Option<u16>, answer: impl Into<Vec<u8>>) -> Exchange {
    Exchange { asked: asked.into(), status, answer: answer.into() }
}

fn console(answers: &[(&str, &str)]) -> Vec<Exchange> {
    let whole = |text: &str| if text.ends_with('#') { text.to_owned() } else { format!("{text}sw1#") };
    answers.iter().map(|(asked, text)| exchange(*asked, Some(0), whole(text))).collect()
}

/// Every seed, in the order of the two lists of dialects.
pub fn seeds() -> Vec<Seed> {
    let seed = |dialect, subject: &str, exchanges| Seed {
        dialect,
        evidence: Evidence { subject: subject.into(), auth: "test".into(), identity: None, exchanges },
    };
    vec![
        seed(openvswitch::DIALECT, "br0", openvswitch()),
        seed(vdx::DIALECT, "http://vdx", vdx()),
        seed(os9::DIALECT, "http://os9", os9()),
        seed(nexus::DIALECT, "sw1", nexus()),
        seed(powerconnect::DIALECT, "sw1", powerconnect()),
        seed(n3000::DIALECT, "sw1", n3000()),
        seed(hil::DIALECT, "https://hil.example", hil()),
        seed(hil_database::DIALECT, "unix:/run/postgresql hil", hil_database()),
        seed(
            declared_file::DIALECT,
            "site",
            vec![exchange(declared_file::Format::Toml.asked(), None, fixture!("declared-file/site.toml"))],
        ),
        seed(
            declared_file::DIALECT,
            "site",
            vec![exchange(declared_file::Format::Json.asked(), None, fixture!("declared-file/site.json"))],
        ),
    ]
}

fn openvswitch() -> Vec<Exchange> {
    let rows = r#"[
        {"rows":[{"_uuid":["uuid","root"],"cur_cfg":3,"next_cfg":3,"external_ids":["map",[["system-id","s7"]]]}]},
        {"rows":[{"_uuid":["uuid","b"],"name":"br0","datapath_id":"00000000000000aa","ports":["set",[["uuid","p0"],
          ["uuid","p1"]]],"mirrors":["uuid","m"],"controller":["set",[]],"fail_mode":["set",[]],"sflow":["set",[]],
          "auto_attach":["set",[]]}]},
        {"rows":[{"_uuid":["uuid","p0"],"name":"br0","vlan_mode":["set",[]],"tag":["set",[]],"trunks":["set",[]],
          "cvlans":["set",[]],"fake_bridge":false,"interfaces":["uuid","i0"]},
         {"_uuid":["uuid","p1"],"name":"veth1","vlan_mode":"native-untagged","tag":100,"trunks":["set",[102,500]],
          "cvlans":["set",[]],"fake_bridge":false,"interfaces":["set",[["uuid","i1"],["uuid","i2"]]]}]},
        {"rows":[{"_uuid":["uuid","i0"],"name":"br0","type":"internal","admin_state":"up"},
         {"_uuid":["uuid","i1"],"name":"eth1","type":"","admin_state":"down"},
         {"_uuid":["uuid","i2"],"name":"eth2","type":"","admin_state":["set",[]]}]},
        {"rows":[{"_uuid":["uuid","m"],"name":"tap","select_all":false,"select_src_port":["uuid","p1"],
          "select_dst_port":["set",[]],"select_vlan":["set",[100]],"output_port":["uuid","p0"],"output_vlan":["set",[]]}]},
        {"rows":[]},{"rows":[]}]"#;
    vec![
        exchange(format!("transact {}", openvswitch::SELECT), None, rows),
        exchange(format!("{}br0", openvswitch::FLOWS_COMMAND), Some(0), " priority=0 actions=NORMAL\n"),
        exchange(
            format!("{}br0", openvswitch::GROUPS_COMMAND),
            Some(0),
            "OFPST_GROUP_DESC reply (OF1.3) (xid=0x2):\n",
        ),
    ]
}

fn vdx() -> Vec<Exchange> {
    let get = |path: &str, status, answer: &str| exchange(format!("GET {path}"), Some(status), answer);
    let half = vec![
        get(
            &vdx::INTERFACES_OF.replace("{type}", "TenGigabitEthernet"),
            200,
            fixture!("brocade-vdx/TenGigabitEthernet.xml"),
        ),
        get(
            &vdx::INTERFACES_OF.replace("{type}", "Port-channel"),
            200,
            fixture!("brocade-vdx/Port-channel.xml"),
        ),
        get(vdx::MONITOR, 200, r#"<monitor xmlns="urn:brocade.com:mgmt:brocade-span"/>"#),
        get(vdx::OVERLAY, 204, ""),
        get(&vdx::VE_OF.replace("{rbridge}", "101"), 204, ""),
    ];
    // All but the index is asked twice.
    let ports: String =
        (1..=5).map(|n| format!("<TenGigabitEthernet><name>101/0/{n}</name></TenGigabitEthernet>")).collect();
    let index = format!(
        r#"<interface xmlns="urn:brocade.com:mgmt:brocade-interface">{ports}<Port-channel><name>7</name></Port-channel></interface>"#
    );
    let index = get(vdx::INTERFACES, 200, &index);
    [vec![index], half.clone(), half].concat()
}

fn os9() -> Vec<Exchange> {
    let printed = |command: &str, text: &str| {
        let text = text.replace('&', "&amp;").replace('<', "&lt;").replace('\n', "\r\n");
        exchange(
            format!("POST {} <input><show-command>{command}</show-command></input>", os9::CLI),
            Some(200),
            format!(
                "<output xmlns='http://www.dell.com/ns/dell:0.1/root'><command>{text}</command></output>"
            ),
        )
    };
    let half = vec![
        printed(os9::SWITCHPORT, fixture!("dell-os9/switchport.txt")),
        printed(os9::ROUTES, fixture!("dell-os9/ip-interface-brief.txt")),
        printed(os9::ROUTES6, "show ipv6 interface brief\nfern-sw#"),
        printed(os9::SESSIONS, "fern-sw#"),
        printed(os9::SFLOW, "sFlow services are disabled\nfern-sw#"),
    ];
    // All but the settings is asked twice.
    let settings =
        exchange(format!("GET {}", os9::INTERFACES), Some(200), fixture!("dell-os9/interfaces.xml"));
    [half.clone(), vec![settings], half].concat()
}

fn nexus() -> Vec<Exchange> {
    console(&[
        (nexus::SWITCHPORT, fixture!("cisco-nexus/switchport.txt")),
        (nexus::BRIEF, fixture!("cisco-nexus/brief.txt")),
        (nexus::TRUNK, fixture!("cisco-nexus/trunk.txt")),
        (nexus::BUNDLES, fixture!("cisco-nexus/bundles.txt")),
        (nexus::SESSIONS, fixture!("cisco-nexus/sessions-two.txt")),
        (nexus::ROUTES, fixture!("cisco-nexus/routes.txt")),
        (nexus::FEATURES, fixture!("cisco-nexus/features.txt")),
    ])
}

fn powerconnect() -> Vec<Exchange> {
    console(&[
        (powerconnect::SWITCHPORT, fixture!("powerconnect-5500/switchport.txt")),
        (powerconnect::CONFIGURATION, fixture!("powerconnect-5500/configuration.txt")),
        (powerconnect::BUNDLES, fixture!("powerconnect-5500/port-channel.txt")),
        (powerconnect::VLANS, fixture!("powerconnect-5500/vlan.txt")),
        (powerconnect::MONITORS, fixture!("powerconnect-5500/monitor.txt")),
        (powerconnect::SAMPLES, fixture!("powerconnect-5500/sflow.txt")),
        (powerconnect::ADDRESSES, fixture!("powerconnect-5500/ip.txt")),
        (powerconnect::ADDRESSES6, fixture!("powerconnect-5500/ip6.txt")),
        (powerconnect::GVRP, fixture!("powerconnect-5500/gvrp.txt")),
        (powerconnect::DOT1X, fixture!("powerconnect-5500/dot1x.txt")),
    ])
}

fn n3000() -> Vec<Exchange> {
    console(&[
        (n3000::SWITCHPORT, fixture!("dell-n3000/switchport.txt")),
        (n3000::CONFIGURATION, fixture!("dell-n3000/configuration.txt")),
        (n3000::BUNDLES, fixture!("dell-n3000/port-channel.txt")),
        (n3000::VLANS, fixture!("dell-n3000/vlan.txt")),
        (n3000::SESSIONS[0], fixture!("dell-n3000/session-1.txt")),
        (n3000::SESSIONS[1], fixture!("dell-n3000/session-2.txt")),
        (n3000::SESSIONS[2], fixture!("dell-n3000/session-3.txt")),
        (n3000::SESSIONS[3], fixture!("dell-n3000/session-4.txt")),
        (n3000::RECEIVERS[0], fixture!("dell-n3000/sflow-1.txt")),
        (n3000::RECEIVERS[1], fixture!("dell-n3000/sflow-2.txt")),
        (n3000::RECEIVERS[2], fixture!("dell-n3000/sflow-3.txt")),
        (n3000::RECEIVERS[3], fixture!("dell-n3000/sflow-4.txt")),
        (n3000::RECEIVERS[4], fixture!("dell-n3000/sflow-5.txt")),
        (n3000::RECEIVERS[5], fixture!("dell-n3000/sflow-6.txt")),
        (n3000::RECEIVERS[6], fixture!("dell-n3000/sflow-7.txt")),
        (n3000::RECEIVERS[7], fixture!("dell-n3000/sflow-8.txt")),
        (n3000::ADDRESSES, fixture!("dell-n3000/ip.txt")),
        (n3000::ADDRESSES6, fixture!("dell-n3000/ip6.txt")),
        (n3000::GVRP, fixture!("dell-n3000/gvrp.txt")),
        (n3000::MVRP, fixture!("dell-n3000/mvrp.txt")),
        (n3000::DOT1X, fixture!("dell-n3000/dot1x.txt")),
    ])
}

/// A line `GET path -> status`, then the body in one line.
fn hil() -> Vec<Exchange> {
    let mut lines = fixture!("hil/greenhouse.txt").lines().filter(|l| !l.starts_with('#') && !l.is_empty());
    let mut exchanges = Vec::new();
    while let (Some(head), Some(body)) = (lines.next(), lines.next()) {
        let (asked, status) = head.split_once(" -> ").expect("a request and a status");
        exchanges.push(exchange(asked, status.parse().ok(), body));
    }
    exchanges
}

/// Every table there, most of them empty.
fn hil_database() -> Vec<Exchange> {
    use hil_database::tables::{IDENTITY, SYSTEM, TABLES, WANTED};
    let rows = |asked: &str, mut rows: Vec<String>| {
        rows.sort();
        exchange(asked, None, format!(r#"{{"count":{},"rows":[{}]}}"#, rows.len(), rows.join(",")))
    };
    let wanted =
        TABLES.iter().flat_map(|t| t.columns.iter().map(|c| format!(r#"["{}","{c}","r","t","t"]"#, t.name)));
    let mut exchanges = vec![
        rows(IDENTITY, vec![r#"["isoledger","hil","f","t","t","repeatable read","on"]"#.into()]),
        rows(SYSTEM, vec![r#"["77"]"#.into()]),
        rows(WANTED, wanted.collect()),
    ];
    for table in TABLES {
        let filled: &[&str] = match table.name {
            "project" => &[r#"["1","red"]"#],
            "node" => &[r#"["1","oak","1"]"#],
            "network" => &[r#"["1","red-net","1","t","100"]"#, r#"["2","lab",null,"f","4096"]"#],
            "network_attachment" => &[r#"["1","1","1","vlan/native"]"#],
            "nic" => &[r#"["1","eth0","1","aa","1"]"#],
            "port" => &[r#"["1","1/0/1","7"]"#],
            "switch" => &[r#"["7","sw1","http://schema.massopencloud.org/haas/v0/switches/brocade"]"#],
            _ => &[],
        };
        exchanges.push(rows(table.select, filled.iter().map(|row| (*row).to_owned()).collect()));
    }
    exchanges
}
