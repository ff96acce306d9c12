//! Cisco Nexus 3500 and 5500, NX-OS.

use std::fmt::Write as _;

use super::dialect::{self, Dialect, cut, number, port_name, wrapped};
use super::grammar::{Rule, Verb, Wrong, free};
use crate::world::{Hardware, HardwareKind, HwPort, PortMode, VlanRanges};

pub(super) static DIALECT: Dialect = Dialect {
    rules: RULES,
    hash: "# ",
    more: "--More--",
    login_failed: "\nLogin incorrect\n",
    enable_failed: "\nPassword incorrect\n",
    not_allowed: "% Permission denied for the role\n",
    complain,
    notice: "2000 Jan  1 00:00:01 lab %ETHPORT-5-IF_DOWN_LINK_FAILURE: Interface Ethernet1/48 is down (Link failure)\n",
    takes_exec: true,
    exit_disables: false,
};

static RULES: &[Rule] = &[
    free("enable", Verb::Enable),
    free("exit", Verb::Exit),
    free("end", Verb::Nothing),
    free("terminal length <number>", Verb::PageLength),
    free("terminal width <number>", Verb::Nothing),
    free("terminal no monitor", Verb::Nothing),
    free("show version", Verb::Show(version)),
    free("show interface switchport", Verb::Show(switchport)),
    free("show interface <port> switchport", Verb::Show(switchport)),
    free("show interface status", Verb::Show(status)),
    free("show interface brief", Verb::Show(brief)),
    free("show interface trunk", Verb::Show(trunk)),
    free("show interface description", Verb::Show(description)),
    free("show port-channel summary", Verb::Show(port_channel)),
    free("show monitor session all", Verb::Show(monitor)),
    free("show vlan brief", Verb::Show(vlan)),
    free("show vlan dot1q tag native", Verb::Show(tag_native)),
    free("show ip interface brief vrf all", Verb::Show(ip_interface)),
    free("show ip interface brief", Verb::Show(ip_interface)),
    free("show feature", Verb::Show(feature)),
    free("configure", Verb::Configure),
    free("configure terminal", Verb::Configure),
    free("copy running-config startup-config", Verb::Save),
    free("copy <rest>", Verb::Write),
    free("reload", Verb::Write),
    free("clear <rest>", Verb::Write),
];

const RULE: &str = "--------------------------------------------------------------------------------\n";

fn complain(wrong: Wrong, prompt: usize, _: &str) -> String {
    let (at, what) = match wrong {
        Wrong::Unknown(at) => (at, "Invalid command"),
        Wrong::Ambiguous(at) => (at, "Ambiguous command"),
        Wrong::Incomplete(at) => (at, "Incomplete command"),
    };
    format!("{:1$}^\n% {what} at '^' marker.\n", "", prompt + at)
}

fn chosen<'a>(hardware: &'a Hardware, arguments: &[String]) -> Vec<&'a HwPort> {
    let ports = &hardware.config().ports;
    match arguments.first() {
        Some(typed) => {
            let name = port_name(HardwareKind::Nexus, typed);
            ports.iter().filter(|p| Some(&p.name) == name.as_ref()).collect()
        }
        None => {
            let (groups, mut all): (Vec<&HwPort>, Vec<_>) = ports.iter().partition(|p| p.is_aggregate);
            all.extend(groups);
            all
        }
    }
}

/// `Eth1/1`, `Po1`.
fn short(name: &str) -> String {
    let letters = if name.starts_with("port-channel") { "Po" } else { "Eth" };
    format!("{letters}{}", number(name))
}

fn up(port: &HwPort) -> bool {
    port.link_up && !port.admin_down
}

fn version(hardware: &Hardware, _: &[String]) -> String {
    format!(
        "Cisco Nexus Operating System (NX-OS) Software\n\nSoftware\n  system:    version {}\n\nHardware\n  \
         cisco Nexus 5548 Chassis\n  Processor Board ID {}\n\n  Device name: {}\n",
        hardware.firmware,
        hardware.serial,
        hardware.config().hostname
    )
}

/// A VLAN with what the switch calls it.
fn named(hardware: &Hardware, vlan: u16) -> String {
    match hardware.config().vlans.get(&vlan) {
        None => format!("{vlan} (Vlan not created)"),
        Some(is) if !is.name.is_empty() => format!("{vlan} ({})", is.name),
        Some(_) if vlan == 1 => "1 (default)".into(),
        Some(_) => format!("{vlan} (VLAN{vlan:04})"),
    }
}

fn switchport(hardware: &Hardware, arguments: &[String]) -> String {
    let ports = chosen(hardware, arguments);
    if ports.is_empty() {
        return "Invalid interface format\n".into();
    }
    let mut text = String::new();
    for port in ports {
        if !dialect::switches(port) {
            let _ = write!(text, "Name: {}\n  Switchport: Disabled\n", port.name);
            continue;
        }
        let mode = match port.mode {
            _ if !up(port) => "down",
            PortMode::Access | PortMode::General | PortMode::Layer3 => "access",
            PortMode::Trunk => "trunk",
            PortMode::Tunnel => "dot1q-tunnel",
            PortMode::PrivateVlan => match &port.private_vlan {
                Some(p) if p.promiscuous => "Private-vlan promiscuous",
                _ => "Private-vlan host",
            },
        };
        let private = port.private_vlan.as_deref().filter(|_| port.mode == PortMode::PrivateVlan);
        let host = private.filter(|p| !p.promiscuous);
        let promiscuous = private.filter(|p| p.promiscuous);
        let none = || String::from("none");
        let allowed = port.allowed.ranges();
        let _ = write!(
            text,
            "Name: {}\n  Switchport: Enabled\n  Switchport Monitor: {}\n  \
             Switchport Isolated : Not enabled\n  Switchport Block Multicast: Not enabled\n  \
             Switchport Block Unicast: Not enabled\n  Operational Mode: {mode}\n  \
             Access Mode VLAN: {}\n  Trunking Native Mode VLAN: {}\n  Trunking VLANs Allowed: {}\n  Voice VLAN: none\n  \
             Extended Trust State : not trusted [COS = 0]\n  \
             Administrative private-vlan primary host-association: {}\n  \
             Administrative private-vlan secondary host-association: {}\n  \
             Administrative private-vlan primary mapping: {}\n  \
             Administrative private-vlan secondary mapping: {}\n  \
             Administrative private-vlan trunk native VLAN: none\n  \
             Administrative private-vlan trunk encapsulation: dot1q\n  \
             Administrative private-vlan trunk normal VLANs: none\n  \
             Administrative private-vlan trunk private VLANs: none\n  Operational private-vlan: {}\n",
            port.name,
            if hardware.config().span_destination(&port.name).is_some() { "Enabled" } else { "Not enabled" },
            named(hardware, port.access_vlan),
            // No native VLAN is one that nobody created, or that the list leaves out: there is no other way here.
            named(hardware, port.native.unwrap_or(1)),
            if allowed.is_empty() { "none".into() } else { allowed.to_string() },
            host.map_or_else(none, |p| p.primary.to_string()),
            host.map_or_else(none, |p| p.secondary.to_string()),
            promiscuous.map_or_else(none, |p| p.primary.to_string()),
            promiscuous.map_or_else(none, |p| p.secondary.to_string()),
            private.map_or_else(none, |p| format!("{} {}", p.primary, p.secondary)),
        );
    }
    text
}

fn mode_column(port: &HwPort) -> String {
    match port.mode {
        PortMode::Trunk => "trunk".into(),
        PortMode::Layer3 => "routed".into(),
        _ => port.access_vlan.to_string(),
    }
}

fn status(hardware: &Hardware, _: &[String]) -> String {
    let mut text = format!(
        "\n{RULE}Port          Name               Status    Vlan      Duplex  Speed   Type\n{RULE}mgmt0         \
         --                 connected routed    full    1000    --\n"
    );
    for port in chosen(hardware, &[]) {
        let state = match (port.admin_down, port.link_up) {
            (true, _) => "disabled",
            (false, true) => "connected",
            (false, false) => "notconnec",
        };
        let name = if port.description.is_empty() { "--".into() } else { cut(&port.description, 18) };
        let _ = writeln!(
            text,
            "{:<13} {name:<18} {state:<9} {:<9} full    10G     10Gbase-SR",
            short(&port.name),
            mode_column(port)
        );
    }
    text
}

fn brief(hardware: &Hardware, _: &[String]) -> String {
    let (ports, groups): (Vec<&HwPort>, Vec<_>) =
        chosen(hardware, &[]).into_iter().partition(|p| !p.is_aggregate);
    let mut text = format!(
        "\n{RULE}Ethernet      VLAN    Type Mode   Status  Reason                   Speed     Port\nInterface        \
         \x20                                                                Ch #\n{RULE}"
    );
    let line = |port: &HwPort, group: &str| {
        let (state, why) = match (port.admin_down, port.link_up) {
            (true, _) => ("down", "Administratively down"),
            (false, true) => ("up", "none"),
            (false, false) => ("down", "Link not connected"),
        };
        let (vlan, mode) = match port.mode {
            PortMode::Trunk => (port.native.unwrap_or(1).to_string(), "trunk"),
            PortMode::Layer3 => ("--".into(), "routed"),
            PortMode::PrivateVlan => (port.access_vlan.to_string(), "pvlan"),
            PortMode::Tunnel => (port.access_vlan.to_string(), "tunnel"),
            _ => (port.access_vlan.to_string(), "access"),
        };
        let name = short(&port.name);
        format!("{name:<13} {vlan:<7} eth  {mode:<6} {state:<7} {why:<26} 10G(D) {group}\n")
    };
    for port in ports {
        text.push_str(&line(port, port.aggregate.as_deref().map_or("--", number)));
    }
    if !groups.is_empty() {
        let _ = write!(
            text,
            "\n{RULE}Port-channel VLAN    Type Mode   Status  Reason                    Speed   Protocol\n\
             Interface                                                                    \n{RULE}"
        );
        for port in groups {
            text.push_str(&line(port, "lacp"));
        }
    }
    let _ = write!(
        text,
        "\n{RULE}Port   VRF          Status IP Address                              Speed    MTU\n{RULE}mgmt0  --           \
         up     10.0.0.1                                1000     1500\n"
    );
    text
}

fn trunk(hardware: &Hardware, _: &[String]) -> String {
    let all = chosen(hardware, &[]);
    let ports: Vec<&HwPort> = all.into_iter().filter(|p| p.mode == PortMode::Trunk).collect();
    let mut text = format!(
        "\n{RULE}Port          Native  Status        Port\n              Vlan                  Channel\n{RULE}"
    );
    for port in &ports {
        let state = match (&port.aggregate, up(port)) {
            (Some(_), true) => "trnk-bndl",
            (None, true) => "trunking",
            (_, false) => "not-trunking",
        };
        let group = port.aggregate.as_deref().map_or("--".into(), short);
        let _ =
            writeln!(text, "{:<13} {:<7} {state:<13} {group}", short(&port.name), port.native.unwrap_or(1));
    }
    let mut part = |head: &str, list: &dyn Fn(&HwPort) -> String| {
        let _ = write!(text, "\n{RULE}Port          {head}\n{RULE}");
        for port in &ports {
            let _ = writeln!(text, "{:<13} {}", short(&port.name), list(port));
        }
    };
    let or_none = |list: String| if list.is_empty() { "none".into() } else { list };
    part("Vlans Allowed on Trunk", &|p| or_none(p.allowed.ranges().to_string()));
    part("Vlans Err-disabled on Trunk", &|_| "none".into());
    part("STP Forwarding", &|p| {
        let live: VlanRanges = hardware.config().vlans.keys().copied().collect();
        let dead = p.allowed.ranges().without(&live);
        or_none(if up(p) { p.allowed.ranges().without(&dead).to_string() } else { String::new() })
    });
    text
}

fn description(hardware: &Hardware, _: &[String]) -> String {
    let mut text = format!("\n{RULE}Port          Type   Speed   Description\n{RULE}");
    for port in chosen(hardware, &[]) {
        let what = if port.description.is_empty() { "--" } else { &port.description };
        let _ = writeln!(text, "{:<13} eth    10G     {what}", short(&port.name));
    }
    text
}

fn port_channel(hardware: &Hardware, _: &[String]) -> String {
    let mut text = format!(
        "Flags:  D - Down        P - Up in port-channel (members)\n        I - Individual  H - Hot-standby (LACP only)\n\
         \x20       s - Suspended   r - Module-removed\n        S - Switched    R - Routed\n        \
         U - Up (port-channel)\n        M - Not in use. Min-links not met\n{RULE}\
         Group Port-       Type     Protocol  Member Ports\n      Channel\n{RULE}"
    );
    for group in hardware.config().ports.iter().filter(|p| p.is_aggregate) {
        let members: Vec<String> = hardware
            .config()
            .members(&group.name)
            .map(|p| format!("{}({})", short(&p.name), if up(p) { 'P' } else { 'D' }))
            .collect();
        let layer = if group.mode == PortMode::Layer3 { 'R' } else { 'S' };
        let name = format!("{}({layer}{})", short(&group.name), if up(group) { 'U' } else { 'D' });
        for (n, some) in members.chunks(3).enumerate() {
            let ports: String = some.iter().map(|m| format!("{m:<13}")).collect();
            let _ = match n {
                0 => writeln!(
                    text,
                    "{:<5} {name:<11} Eth      LACP      {}",
                    number(&group.name),
                    ports.trim_end()
                ),
                _ => writeln!(text, "{:36}{}", "", ports.trim_end()),
            };
        }
        if members.is_empty() {
            let _ = writeln!(text, "{:<5} {name:<11} Eth      NONE      --", number(&group.name));
        }
    }
    text
}

fn monitor(hardware: &Hardware, _: &[String]) -> String {
    if hardware.config().sessions.is_empty() {
        return "Note: No sessions configured\n".into();
    }
    let mut text = String::new();
    for session in &hardware.config().sessions {
        let ports: String = session.source_ports.iter().map(|p| format!("{:<14}", short(p))).collect();
        let vlans = session.source_vlans.to_string();
        let _ = write!(
            text,
            "   session {}\n---------------\ntype              : local\nstate             : {}\nsource intf       : \n    \
             rx            : {ports}\n    tx            : {ports}\n    both          : {ports}\nsource VLANs      : \n    \
             rx            : {vlans}\n    tx            : \n    both          : \n\
             filter VLANs      : filter not specified\ndestination ports : {}\n\n",
            session.id,
            if session.shut { "down (Session admin shut)" } else { "up" },
            session.destination.as_deref().map(short).unwrap_or_default(),
        );
    }
    text.push_str("Legend: f = forwarding enabled, l = learning enabled\n\n");
    text
}

fn vlan(hardware: &Hardware, _: &[String]) -> String {
    let mut text = String::from(
        "\nVLAN Name                             Status    Ports\n\
         ---- -------------------------------- --------- -------------------------------\n",
    );
    for (vlan, is) in &hardware.config().vlans {
        let ports: Vec<String> = chosen(hardware, &[])
            .into_iter()
            .filter(|p| dialect::stands_alone(p))
            .filter(|p| {
                let carries = hardware.carries(&p.name).unwrap_or_default();
                carries.untagged.contains(*vlan) || carries.tagged.contains(*vlan)
            })
            .map(|p| short(&p.name))
            .collect();
        let name = match (is.name.as_str(), vlan) {
            ("", 1) => "default".to_owned(),
            ("", vlan) => format!("VLAN{vlan:04}"),
            (name, _) => cut(name, 32),
        };
        let state = if is.inactive { "act/lshut" } else { "active" };
        for (n, line) in wrapped(&ports.join(", "), 31).iter().map(|l| l.trim()).enumerate() {
            let _ = match n {
                0 => writeln!(text, "{vlan:<4} {name:<32} {state:<9} {line}"),
                _ => writeln!(text, "{:48}{line}", ""),
            };
        }
    }
    text
}

fn tag_native(hardware: &Hardware, _: &[String]) -> String {
    let on = if hardware.config().tag_native { "Enabled" } else { "Disabled" };
    format!("vlan dot1q native tag is {}\n", on.to_ascii_lowercase())
}

fn ip_interface(hardware: &Hardware, arguments: &[String]) -> String {
    let _ = arguments;
    let mut text = String::from(
        "\nIP Interface Status for VRF \"default\"(1)\nInterface            IP Address      Interface Status\n",
    );
    for (vlan, is) in &hardware.config().vlans {
        if let Some(ip) = &is.ip {
            let address = ip.split('/').next().unwrap_or_default();
            let _ =
                writeln!(text, "{:<20} {address:<15} protocol-up/link-up/admin-up", format!("Vlan{vlan}"));
        }
    }
    for port in hardware.config().ports.iter().filter(|p| p.mode == PortMode::Layer3) {
        if let Some(ip) = &port.ip {
            let address = ip.split('/').next().unwrap_or_default();
            let _ = writeln!(text, "{:<20} {address:<15} protocol-up/link-up/admin-up", short(&port.name));
        }
    }
    text.push_str(
        "\nIP Interface Status for VRF \"management\"(2)\nInterface            IP Address      Interface Status\n\
         mgmt0                10.0.0.1        protocol-up/link-up/admin-up\n",
    );
    text
}

fn feature(hardware: &Hardware, _: &[String]) -> String {
    let config = hardware.config();
    let mut text =
        String::from("Feature Name          Instance  State\n--------------------  --------  --------\n");
    let routed = config.vlans.values().any(|v| v.ip.is_some());
    let private = config.ports.iter().any(|p| p.mode == PortMode::PrivateVlan);
    for (name, on) in [
        ("dot1x", config.dot1x),
        ("interface-vlan", routed),
        ("lacp", config.ports.iter().any(|p| p.is_aggregate)),
        ("openflow", config.openflow),
        ("private-vlan", private),
        ("sshServer", true),
        ("vtp", false),
    ] {
        let _ = writeln!(text, "{name:<20}  1         {}", if on { "enabled " } else { "disabled" });
    }
    text
}
