//! Dell PowerConnect 5500. Firmware before 4 spells the keys of trunks the other way round.

use std::fmt::Write as _;

use super::dialect::{self, Dialect, cut, port_name, wrapped};
use super::grammar::{Rule, Verb, Wrong, free, privileged};
use crate::world::{ClassifiedBy, DynamicBy, Hardware, HardwareKind, HwPort, PortMode, VlanRanges};

pub(super) static DIALECT: Dialect = Dialect {
    rules: RULES,
    hash: "#",
    more: "More: <space>,  Quit: q, One line: <return> ",
    login_failed: "\nauthentication failed\n\n",
    enable_failed: "\nbad password\n",
    not_allowed: "% Unrecognized command\n",
    complain,
    notice: "01-Jan-2000 00:00:01 %LINK-W-Down:  gi1/0/48, aggregated (1)\n",
    takes_exec: false,
    exit_disables: false,
};

static RULES: &[Rule] = &[
    free("enable", Verb::Enable),
    free("exit", Verb::Exit),
    free("terminal datadump", Verb::PagerOff),
    free("no terminal datadump", Verb::PagerOn),
    free("terminal no datadump", Verb::PagerOn),
    free("show version", Verb::Show(version)),
    free("show clock", Verb::Nothing),
    privileged("disable", Verb::Disable),
    privileged("logout", Verb::Logout),
    privileged("show system", Verb::Show(system)),
    privileged("show interfaces switchport", Verb::Show(switchport)),
    privileged("show interfaces switchport <port>", Verb::Show(switchport)),
    privileged("show interfaces configuration", Verb::Show(configuration)),
    privileged("show interfaces configuration <port>", Verb::Show(configuration)),
    privileged("show interfaces status", Verb::Show(status)),
    privileged("show interfaces status <port>", Verb::Show(status)),
    privileged("show interfaces description", Verb::Show(description)),
    privileged("show interfaces port-channel", Verb::Show(port_channel)),
    privileged("show ports monitor", Verb::Show(ports_monitor)),
    privileged("show sflow configuration", Verb::Show(sflow)),
    privileged("show ip interface", Verb::Show(ip_interface)),
    privileged("show ipv6 interface", Verb::Show(ipv6_interface)),
    privileged("show vlan", Verb::Show(vlan)),
    privileged("show vlan tag <number>", Verb::Show(vlan)),
    privileged("show gvrp configuration", Verb::Show(gvrp)),
    privileged("show dot1x", Verb::Show(dot1x)),
    privileged("configure", Verb::Configure),
    privileged("copy running-config startup-config", Verb::Save),
    privileged("copy <rest>", Verb::Write),
    privileged("reload", Verb::Write),
    privileged("clear <rest>", Verb::Write),
];

fn complain(wrong: Wrong, _: usize, _: &str) -> String {
    String::from(match wrong {
        Wrong::Unknown(_) => "% Unrecognized command\n",
        Wrong::Ambiguous(_) => "% Ambiguous command\n",
        Wrong::Incomplete(_) => "% Incomplete command\n",
    })
}

/// Ports first and then aggregates, or the one asked for.
fn chosen<'a>(hardware: &'a Hardware, arguments: &[String]) -> Vec<&'a HwPort> {
    let ports = &hardware.config().ports;
    match arguments.first() {
        Some(typed) => {
            let name = port_name(HardwareKind::PowerConnect5500, typed);
            ports.iter().filter(|p| Some(&p.name) == name.as_ref()).collect()
        }
        None => {
            let (groups, mut all): (Vec<&HwPort>, Vec<_>) = ports.iter().partition(|p| p.is_aggregate);
            all.extend(groups);
            all
        }
    }
}

fn version(hardware: &Hardware, _: &[String]) -> String {
    format!(
        "\nSW version    {} ( date  01-Jan-2014 time  00:00:00 )\nBoot version    1.0.0.14 ( date  01-Jan-2013 time  \
         00:00:00 )\nHW version    00.00.02\n\n",
        hardware.firmware
    )
}

fn system(hardware: &Hardware, _: &[String]) -> String {
    format!(
        "System Description:                       Powerconnect 5548\nSystem Name:                              {}\n\
         System MAC Address:                       {}\nSerial Number:                            {}\n",
        hardware.config().hostname,
        hardware.mac,
        hardware.serial
    )
}

/// A list as this switch writes it: those that are there, and on lines of their own those that are not.
fn list(hardware: &Hardware, key: &str, vlans: &VlanRanges) -> String {
    let there: VlanRanges = vlans.iter().filter(|v| hardware.config().vlans.contains_key(v)).collect();
    let missing = vlans.without(&there);
    let mut lines = Vec::new();
    if !there.is_empty() {
        lines.extend(wrapped(&there.to_string(), 48));
    }
    if !missing.is_empty() {
        let mut more = wrapped(&missing.to_string(), 48);
        if let Some(last) = more.last_mut() {
            last.push_str(" (Inactive)");
        }
        lines.extend(more);
    }
    if lines.is_empty() {
        lines.push("none".into());
    }
    format!("{key}: {}\n", lines.join(&format!("\n{:24}", "")))
}

fn one(vlan: Option<u16>, hardware: &Hardware) -> String {
    match vlan {
        None => "none".into(),
        Some(vlan) if hardware.config().vlans.contains_key(&vlan) => vlan.to_string(),
        Some(vlan) => format!("{vlan} (Inactive)"),
    }
}

fn switchport(hardware: &Hardware, arguments: &[String]) -> String {
    let ports = chosen(hardware, arguments);
    if ports.is_empty() {
        return "% bad parameter value\n".into();
    }
    ports.into_iter().map(|p| record(hardware, p)).collect()
}

fn record(hardware: &Hardware, port: &HwPort) -> String {
    let (native_key, list_key) = match hardware.firmware.split('.').next().and_then(|n| n.parse::<u32>().ok())
    {
        Some(major) if major < 4 => ("Trunking Mode Native VLAN", "Trunking Mode VLANs Enabled"),
        _ => ("Trunking Native Mode VLAN", "Trunking VLANs Enabled"),
    };
    let mode = match port.mode {
        PortMode::Access | PortMode::Layer3 => "access",
        PortMode::Trunk => "trunk",
        PortMode::General => "general",
        PortMode::Tunnel => "customer",
        PortMode::PrivateVlan => match &port.private_vlan {
            Some(p) if p.promiscuous => "private-vlan promiscuous",
            _ => "private-vlan host",
        },
    };
    let up = port.link_up && !port.admin_down;
    let general = port.general.as_deref().cloned().unwrap_or_default();
    let gvrp: Vec<_> = port.dynamic.iter().filter(|d| d.by == DynamicBy::Gvrp).collect();
    let gvrp_vlans = gvrp.iter().fold(VlanRanges::none(), |all, d| all.union(&d.vlans));
    let customer = (port.mode == PortMode::Tunnel).then_some(port.access_vlan);
    let private = port.private_vlan.as_deref().filter(|_| port.mode == PortMode::PrivateVlan);
    let promiscuous = private.filter(|p| p.promiscuous);
    let host = private.filter(|p| !p.promiscuous);
    let none = VlanRanges::none();
    let mut text = String::new();
    // Writing to a String cannot fail.
    let _ = write!(
        text,
        "Name: {}\nSwitchport: {}\nAdministrative Mode: {mode}\nOperational Mode: {}\nAccess Mode VLAN: {}\n\
         Access Multicast TV VLAN: none\n{native_key}: {}\n",
        port.name,
        if dialect::switches(port) { "enable" } else { "disable" },
        if up { "up" } else { "down" },
        one(Some(port.access_vlan), hardware),
        one(port.native, hardware),
    );
    text.push_str(&list(hardware, list_key, &port.allowed.ranges()));
    let _ = writeln!(text, "General PVID: {}", port.general_pvid());
    text.push_str(&list(hardware, "General VLANs Enabled", &general.untagged.union(&general.tagged)));
    text.push_str(&list(hardware, "General Egress Tagged VLANs Enabled", &general.tagged));
    let _ = write!(
        text,
        "General Forbidden VLANs: none\nGeneral Ingress Filtering: {}\nGeneral Acceptable Frame Type: {}\n\
         General GVRP status: {}\n",
        if general.ingress_filtering { "enabled" } else { "disabled" },
        if general.tagged_only { "tagged-only" } else { "all" },
        if hardware.config().gvrp { "enabled" } else { "disabled" },
    );
    text.push_str(&list(hardware, "General GVRP VLANs", &gvrp_vlans));
    let _ = writeln!(text, "Customer Mode VLAN: {}", one(customer, hardware));
    for (side, is) in [("promiscuous", promiscuous), ("host", host)] {
        let primary = one(is.map(|p| p.primary), hardware);
        let _ = writeln!(text, "Private-vlan {side}-association primary VLAN: {primary}");
        let several = if side == "host" { "VLAN" } else { "VLANs" };
        let key = format!("Private-vlan {side}-association Secondary {several} Enabled");
        text.push_str(&list(hardware, &key, is.map_or(&none, |p| &p.secondary)));
    }
    text.push_str("DVA: disable\n\nClassification rules:\n");
    let rules = &hardware.config().rules;
    let mine = rules.iter().enumerate().filter(|(_, r)| r.port.as_ref().is_none_or(|p| *p == port.name));
    let mut head = "Classification type Group ID VLAN ID\n------------------- -------- -------\n";
    for (n, rule) in mine {
        text.push_str(std::mem::take(&mut head));
        let by = match rule.by {
            ClassifiedBy::Mac => "MAC",
            ClassifiedBy::Protocol => "Protocol",
            ClassifiedBy::Subnet => "Subnet",
        };
        let _ = writeln!(text, "{by:<19} {:<8} {}", n + 1, rule.vlan);
    }
    text.push_str("\n\n");
    text
}

fn physical(hardware: &Hardware, arguments: &[String]) -> (Vec<HwPort>, Vec<HwPort>) {
    chosen(hardware, arguments).into_iter().cloned().partition(|p| !p.is_aggregate)
}

fn configuration(hardware: &Hardware, arguments: &[String]) -> String {
    let (ports, groups) = physical(hardware, arguments);
    let mut text = String::from(
        "                                               Flow    Admin     Back   Mdix\n\
         Port     Type         Duplex  Speed  Neg      control  State   Pressure Mode\n\
         -------- ------------ ------  -----  -------- -------  -----   -------- ----\n",
    );
    let state = |p: &HwPort| if p.admin_down { "Down" } else { "Up" };
    for port in &ports {
        let _ = writeln!(
            text,
            "{:<8} {:<12} Full    1000   Enabled  Off      {:<5}   Disabled Auto",
            port.name,
            "1G-Copper",
            state(port)
        );
    }
    text.push_str(
        "\n                                 Flow    Admin \nCh       Type   Speed  Neg      Control  State \n\
         -------- ------ -----  -------- -------  ----- \n",
    );
    for port in &groups {
        let _ = writeln!(text, "{:<8}   --     --   Enabled  Off      {:<5} ", port.name, state(port));
    }
    text
}

fn status(hardware: &Hardware, arguments: &[String]) -> String {
    let (ports, groups) = physical(hardware, arguments);
    let mut text = String::from(
        "                                             Flow Link          Back   Mdix\n\
         Port     Type         Duplex  Speed Neg      ctrl State       Pressure Mode\n\
         -------- ------------ ------  ----- -------- ---- ----------- -------- -------\n",
    );
    for port in &ports {
        let _ = if port.link_up && !port.admin_down {
            writeln!(
                text,
                "{:<8} {:<12} Full    1000  Enabled  Off  Up          Disabled Off    ",
                port.name, "1G-Copper"
            )
        } else {
            writeln!(
                text,
                "{:<8} {:<12}   --      --     --     --  Down           --     --    ",
                port.name, "1G-Copper"
            )
        };
    }
    text.push_str(
        "\n                                          Flow    Link        \n\
         Ch       Type    Duplex  Speed  Neg      control  State       \n\
         -------- ------- ------  -----  -------- -------  ----------- \n",
    );
    for port in &groups {
        let _ = if port.link_up && !port.admin_down {
            writeln!(text, "{:<8} 1G      Full    1000   Enabled  Off      Up          ", port.name)
        } else {
            writeln!(text, "{:<8}    --     --      --      --       --    Down        ", port.name)
        };
    }
    text
}

fn description(hardware: &Hardware, _: &[String]) -> String {
    let (ports, groups) = physical(hardware, &[]);
    let mut text = String::new();
    for (head, ports) in [("Port", &ports), ("Ch", &groups)] {
        let _ = write!(text, "{head:<9} Descriptions\n--------- --------------\n");
        for port in ports {
            // The whole of it, even where it looks like something else.
            let _ = writeln!(text, "{:<9} {}", port.name, port.description);
        }
        text.push('\n');
    }
    text
}

fn port_channel(hardware: &Hardware, _: &[String]) -> String {
    let mut text = String::from(
        "Load balancing: src-dst-mac.\n\nGathering information...\n\nChannel  Ports\n-------  -----\n",
    );
    for group in hardware.config().ports.iter().filter(|p| p.is_aggregate) {
        let members: Vec<&HwPort> = hardware.config().members(&group.name).collect();
        let up = |wanted: bool| -> String {
            let some = members.iter().filter(|p| (p.link_up && !p.admin_down) == wanted);
            some.map(|p| p.name.as_str()).collect::<Vec<_>>().join(",")
        };
        let mut ports = Vec::new();
        for (word, names) in [("Active: ", up(true)), ("Inactive: ", up(false))] {
            if !names.is_empty() {
                ports.push(format!("{word}{names}"));
            }
        }
        let _ = writeln!(text, "{:<8} {}", group.name, ports.join(" "));
    }
    text
}

fn ports_monitor(hardware: &Hardware, _: &[String]) -> String {
    let mut text = String::from(
        "Source port  Destination Port  Type         Status\n\
         -----------  ----------------  -----------  --------\n",
    );
    for session in &hardware.config().sessions {
        let to = session.destination.as_deref().unwrap_or("-");
        let state = if session.shut { "notReady" } else { "active" };
        for from in &session.source_ports {
            let _ = writeln!(text, "{from:<11}  {to:<16}  {:<11}  {state}", "RX,TX");
        }
        for vlan in session.source_vlans.iter() {
            let _ = writeln!(text, "{:<11}  {to:<16}  {:<11}  {state}", format!("VLAN {vlan}"), "RX");
        }
    }
    text
}

fn ip_interface(hardware: &Hardware, _: &[String]) -> String {
    let mut text = String::from(
        "\n\n Gateway IP Address     Type       Activity status \n------------------------ ---------- ---------------\n",
    );
    text.push_str(if hardware.config().ip_routing { "IP routing is enabled\n" } else { "" });
    text.push_str(
        "\n\n    IP Address         I/F       Type     Directed    Precedence   Status  \n\
         \x20                                         Broadcast                          \n\
         ------------------- ---------- -------- ----------- ----------- ----------- \n",
    );
    for (vlan, is) in &hardware.config().vlans {
        if let Some(ip) = is.ip.as_ref().filter(|ip| !ip.contains(':')) {
            let _ = writeln!(
                text,
                "{ip:<19} {:<10} Static   disable     No          Valid       ",
                format!("vlan {vlan}")
            );
        }
    }
    text
}

fn ipv6_interface(hardware: &Hardware, _: &[String]) -> String {
    let mut text = String::from(
        "\nInterface   IP addresses                                Type\n\
         ----------- ------------------------------------------- ------------\n",
    );
    for (vlan, is) in &hardware.config().vlans {
        let Some(ip) = is.ip.as_ref().filter(|ip| ip.contains(':')) else { continue };
        let name = format!("VLAN {vlan}");
        let _ = writeln!(text, "{name:<11} {ip:<43} manual");
        let _ = writeln!(text, "{name:<11} {:<43} linklayer", format!("fe80::{vlan}"));
    }
    text.push_str(
        "\nDefault Gateway IP address               Type       Interface   State\n\
         ---------------------------------------- ---------- ----------- -----------\n",
    );
    text
}

/// Where samples are sent, they are those of the first port.
fn sflow(hardware: &Hardware, _: &[String]) -> String {
    let on = hardware.config().sflow;
    let mut text = String::from(
        "\nReceivers\n\nIndex  IP Address                               Port   Max Datagram Size\n\
         -----  ---------------------------------------- -----  -----------------\n",
    );
    for index in 1..=8 {
        let address = if on && index == 1 { "192.0.2.9" } else { "0.0.0.0" };
        let _ = writeln!(text, "{index:<6} {address:<40} 6343   1400");
    }
    text.push_str(
        "\nInterfaces\n\nInter-    Flow       Counters   Max Header  Flow Collector  Counters Collector\n\
         face      Sampling   Sampling   Size        Index           Index\n\
         --------- ---------- ---------- ----------- --------------- ------------------\n",
    );
    for (n, port) in hardware.config().ports.iter().filter(|p| !p.is_aggregate).enumerate() {
        let (rate, index) = if on && n == 0 { ("1/2048", 1) } else { ("Disabled", 0) };
        let _ = writeln!(text, "{:<9} {rate:<10} Disabled   128         {index:<15} 0", port.name);
    }
    text
}

fn vlan(hardware: &Hardware, arguments: &[String]) -> String {
    let wanted: Option<u16> = arguments.first().and_then(|n| n.parse().ok());
    let mut text = String::from(
        "Vlan       Name                   Ports                Type     Authorization \n\
         ---- ----------------- --------------------------- ------------ ------------- \n",
    );
    for (vlan, is) in hardware.config().vlans.iter().filter(|(v, _)| wanted.is_none_or(|w| w == **v)) {
        let ports: Vec<&str> = hardware
            .config()
            .ports
            .iter()
            .filter(|p| dialect::stands_alone(p))
            .filter(|p| {
                let carries = hardware.carries(&p.name).unwrap_or_default();
                carries.untagged.contains(*vlan) || carries.tagged.contains(*vlan)
            })
            .map(|p| p.name.as_str())
            .collect();
        let name = if is.name.is_empty() { vlan.to_string() } else { is.name.clone() };
        let kind = if *vlan == 1 { "Default" } else { "permanent" };
        for (n, line) in wrapped(&ports.join(","), 27).iter().enumerate() {
            let _ = match n {
                0 => writeln!(
                    text,
                    "{vlan:>3}  {:^17} {line:^27} {kind:^12} {:^13} ",
                    cut(&name, 17),
                    "Required"
                ),
                _ => writeln!(text, "{:22} {line:^27} {:26} ", "", ""),
            };
        }
    }
    text
}

fn gvrp(hardware: &Hardware, _: &[String]) -> String {
    let on = hardware.config().gvrp;
    let mut text = format!(
        "\nGVRP Feature is currently {} on the device.\nMaximum VLANs: 4094\n\n\
         \x20 Port(s)    Status   Regist-    Dynamic    Timers(ms)\n\
         \x20                     ration  VLAN creation  Join   Leave  Leave All\n\
         ---------- -------- --------- ------------- ------ ------ ---------\n",
        if on { "Enabled" } else { "Disabled" }
    );
    for port in chosen(hardware, &[]) {
        let _ = writeln!(
            text,
            "{:<10} {:<8} Normal    Enabled       200    600    10000",
            port.name,
            if on { "Enabled" } else { "Disabled" }
        );
    }
    text
}

fn dot1x(hardware: &Hardware, _: &[String]) -> String {
    let on = hardware.config().dot1x;
    let mut text = format!(
        "\n802.1x is {}\n\n\
         \x20 Port       Admin Mode         Oper Mode        Reauth   Reauth        Username         \n\
         \x20                                               Control   Period                         \n\
         -------- ------------------ ------------------- -------- -------- ---------------------- \n",
        if on { "enabled" } else { "disabled" }
    );
    for port in chosen(hardware, &[]).into_iter().filter(|p| !p.is_aggregate) {
        let by_server = port.dynamic.iter().any(|d| d.by == DynamicBy::Dot1x);
        let admin = if by_server { "Auto" } else { "Force Authorized" };
        let _ = writeln!(
            text,
            "{:<8} {admin:<18} {:<19} {:<8} {:<8} {:<22} ",
            port.name, "Authorized", "Disabled", "3600", "n/a"
        );
    }
    text
}
