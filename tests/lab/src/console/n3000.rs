//! Dell N3000, OS 6.

use std::fmt::Write as _;

use super::dialect::{self, Dialect, cut, number, port_name, wrapped};
use super::grammar::{Rule, Verb, Wrong, free, privileged};
use crate::world::{DynamicBy, Hardware, HardwareKind, HwPort, PortMode, VlanRanges};

/// The highest VLAN of this switch.
const LAST: u16 = 4093;

pub(super) static DIALECT: Dialect = Dialect {
    rules: RULES,
    hash: "#",
    more: "--More-- or (q)uit",
    login_failed: "\nLogin incorrect\n\n",
    enable_failed: "\nPassword incorrect.\n",
    not_allowed: "\nCommand not permitted for this user.\n",
    complain,
    notice: "<189> Jan  1 00:00:01 10.0.0.1-1 TRAPMGR[trapTask]: traputil.c(721) 1 %% Link Down: Gi1/0/48\n",
    takes_exec: false,
    exit_disables: true,
};

static RULES: &[Rule] = &[
    free("enable", Verb::Enable),
    free("exit", Verb::Exit),
    free("quit", Verb::Logout),
    free("logout", Verb::Logout),
    free("terminal length <number>", Verb::PageLength),
    free("no terminal length", Verb::PagerOn),
    free("show version", Verb::Show(version)),
    privileged("disable", Verb::Disable),
    privileged("show system", Verb::Show(system)),
    privileged("show interfaces switchport", Verb::Show(switchport)),
    privileged("show interfaces switchport <port>", Verb::Show(switchport)),
    privileged("show interfaces status", Verb::Show(status)),
    privileged("show interfaces configuration", Verb::Show(configuration)),
    privileged("show interfaces description", Verb::Show(description)),
    privileged("show interfaces port-channel", Verb::Show(port_channel)),
    privileged("show vlan", Verb::Show(vlan)),
    privileged("show vlan id <number>", Verb::Show(vlan)),
    privileged("show monitor session <number>", Verb::Show(monitor)),
    privileged("show sflow <number> destination", Verb::Show(sflow)),
    privileged("show ip interface", Verb::Show(ip_interface)),
    privileged("show ip interface vlan <number>", Verb::Show(ip_interface)),
    privileged("show ipv6 interface", Verb::Show(ipv6_interface)),
    privileged("show gvrp configuration", Verb::Show(gvrp)),
    privileged("show mvrp summary", Verb::Show(mvrp)),
    privileged("show dot1x", Verb::Show(dot1x)),
    privileged("configure", Verb::Configure),
    privileged("configure terminal", Verb::Configure),
    privileged("copy running-config startup-config", Verb::Save),
    privileged("write memory", Verb::Save),
    privileged("write", Verb::Save),
    privileged("copy <rest>", Verb::Write),
    privileged("reload", Verb::Write),
    privileged("clear <rest>", Verb::Write),
];

fn complain(wrong: Wrong, prompt: usize, _: &str) -> String {
    let (at, what) = match wrong {
        Wrong::Unknown(at) => (at, "Invalid input detected at `^' marker."),
        Wrong::Ambiguous(at) => (at, "Ambiguous command."),
        Wrong::Incomplete(at) => (at, "Incomplete command."),
    };
    format!("{:1$}^\n% {what}\n\n", "", prompt + at)
}

fn chosen<'a>(hardware: &'a Hardware, arguments: &[String]) -> Vec<&'a HwPort> {
    let ports = &hardware.config().ports;
    match arguments.first() {
        Some(typed) => {
            let name = port_name(HardwareKind::N3000, typed);
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
        "\nMachine Description............... Dell Networking Switch\nSystem Model ID................... N3048\n\
         Machine Type...................... Dell Networking N3048\nSerial Number..................... {}\n\
         Manufacturer...................... 0xbc00\nBurned In MAC Address............. {}\n\
         System Object ID.................. 1.3.6.1.4.1.674.10895.3060\n\n\
         unit active      backup      current-active next-active\n\
         ---- ----------- ----------- -------------- --------------\n1    {f:<11} {f:<11} {f:<14} {f}\n\n",
        hardware.serial,
        hardware.mac,
        f = hardware.firmware
    )
}

fn system(hardware: &Hardware, _: &[String]) -> String {
    format!(
        "\nSystem Description: Dell Networking N3048, {}\nSystem Name: {}\nBurned In MAC Address: {}\n\n",
        hardware.firmware,
        hardware.config().hostname,
        hardware.mac
    )
}

fn list(key: &str, value: &str) -> String {
    if value.is_empty() {
        return format!("{key}:\n");
    }
    format!("{key}: {}\n", wrapped(value, 50).join(&format!("\n{:27}", "")))
}

/// What the switch shows for a set that can be everything.
fn all_or(vlans: &VlanRanges) -> String {
    let mut within = vlans.clone();
    within.remove_range(LAST + 1, u16::MAX);
    let mut everything = VlanRanges::none();
    everything.insert_range(1, LAST);
    if within == everything { "All".into() } else { within.to_string() }
}

fn named(vlan: u16) -> String {
    if vlan == 1 { "1 (default)".into() } else { vlan.to_string() }
}

/// `(untagged),tagged`.
fn member_of(hardware: &Hardware, port: &HwPort) -> String {
    let mut carries = hardware.carries(&port.name).unwrap_or_default();
    carries.tagged.remove_range(LAST + 1, u16::MAX);
    let mut parts = Vec::new();
    if !carries.untagged.is_empty() {
        parts.push(format!("({})", carries.untagged));
    }
    if !carries.tagged.is_empty() {
        parts.push(carries.tagged.to_string());
    }
    parts.join(",")
}

fn switchport(hardware: &Hardware, arguments: &[String]) -> String {
    let ports = chosen(hardware, arguments);
    if ports.is_empty() {
        return "\nInterface does not exist.\n\n".into();
    }
    let mut text = String::from("\n");
    for port in ports.into_iter().filter(|p| dialect::switches(p)) {
        text.push_str(&record(hardware, port));
    }
    text
}

fn record(hardware: &Hardware, port: &HwPort) -> String {
    let mode = match port.mode {
        PortMode::Access | PortMode::Layer3 => "Access Mode",
        PortMode::Trunk => "Trunk Mode",
        PortMode::General => "General Mode",
        PortMode::Tunnel => "Dot1q Tunnel Mode",
        PortMode::PrivateVlan => match &port.private_vlan {
            Some(p) if p.promiscuous => "Private VLAN Promiscuous Mode",
            _ => "Private VLAN Host Mode",
        },
    };
    let general = port.general.as_deref().cloned().unwrap_or_default();
    let dynamic = port.dynamic.iter().fold(VlanRanges::none(), |all, d| all.union(&d.vlans));
    let members = member_of(hardware, port);
    let mut text = format!("Port: {}\nVLAN Membership Mode: {mode}\n", port.name);
    text.push_str(&list("Member of VLANs ", &members));
    let _ = write!(
        text,
        "Access Mode VLAN: {}\nGeneral Mode PVID: {}\nGeneral Mode Ingress Filtering: {}\n\
         General Mode Acceptable Frame Type: {}\n",
        named(port.access_vlan),
        named(port.general_pvid()),
        if general.ingress_filtering { "Enabled" } else { "Disabled" },
        if general.tagged_only { "VLAN Only" } else { "Admit All" },
    );
    text.push_str(&list("General Mode Dynamically Added VLANs", &dynamic.to_string()));
    text.push_str(&list("General Mode Untagged VLANs", &general.untagged.to_string()));
    text.push_str(&list("General Mode Tagged VLANs", &general.tagged.to_string()));
    text.push_str("General Mode Forbidden VLANs:\n");
    // A native VLAN is shown whether the port is in it or not; without one, the default.
    let _ = write!(
        text,
        "Trunking Mode Native VLAN: {}\nTrunking Mode Native VLAN Tagging: {}\n",
        named(port.native.unwrap_or(1)),
        if port.native_tagged { "Enabled" } else { "Disabled" },
    );
    text.push_str(&list("Trunking Mode VLANs Enabled", &all_or(&port.allowed.ranges())));
    let private = port.private_vlan.as_deref().filter(|_| port.mode == PortMode::PrivateVlan);
    let host = match private {
        Some(p) if !p.promiscuous => format!("{} {}", p.primary, p.secondary),
        _ => "none".into(),
    };
    let mapping = match private {
        Some(p) if p.promiscuous => format!(" {} {}", p.primary, p.secondary),
        _ => String::new(),
    };
    let bindings = private.map(|p| format!(" {} {}", p.primary, p.secondary)).unwrap_or_default();
    let _ = write!(
        text,
        "Private VLAN Host Association: {host}\nPrivate VLAN Mapping:{mapping}\n\
         Private VLAN Operational Bindings:{bindings}\nDefault Priority: 0\nProtected: Disabled\n\n",
    );
    text
}

fn sorted(hardware: &Hardware) -> (Vec<&HwPort>, Vec<&HwPort>) {
    hardware.config().ports.iter().partition(|p| !p.is_aggregate)
}

fn status(hardware: &Hardware, _: &[String]) -> String {
    let (ports, groups) = sorted(hardware);
    let mut text = String::from(
        "\nPort      Description               Duplex Speed   Neg  Link   Flow  M  VLAN\n\
         \x20                                                       State  Ctrl\n\
         --------- ------------------------- ------ ------- ---- ------ ----- -- -------------------\n",
    );
    for port in &ports {
        let mode = match port.mode {
            PortMode::Access => "A",
            PortMode::Trunk => "T",
            PortMode::General => "G",
            _ => "P",
        };
        let up = port.link_up && !port.admin_down;
        let link = match (port.admin_down, up) {
            (true, _) => "D-Down",
            (false, true) => "Up",
            (false, false) => "Down",
        };
        let _ = writeln!(
            text,
            "{:<9} {:<25} {:<6} {:<7} Auto {link:<6} Off   {mode:<2} {}",
            port.name,
            cut(&port.description, 25),
            if up { "Full" } else { "N/A" },
            if up { "1000" } else { "Unknown" },
            cut(&member_of(hardware, port), 19),
        );
    }
    text.push_str(
        "\n\nPort    Description                    Link   M  VLAN\n\
         Channel                                State\n\
         ------- ------------------------------ ------ -- -------------------\n",
    );
    for port in &groups {
        let mode = if port.mode == PortMode::Trunk { "T" } else { "A" };
        let _ = writeln!(
            text,
            "{:<7} {:<30} {:<6} {mode:<2} {}",
            port.name,
            cut(&port.description, 30),
            if port.link_up && !port.admin_down { "Up" } else { "Down" },
            cut(&member_of(hardware, port), 19),
        );
    }
    text.push_str("\nFlow Control:Disabled\n");
    text
}

fn configuration(hardware: &Hardware, _: &[String]) -> String {
    let (ports, groups) = sorted(hardware);
    let mut text = String::from(
        "\nPort      Description                    Duplex Speed   Neg  MTU   Admin\n\
         \x20                                                                State\n\
         --------- ------------------------------ ------ ------- ---- ----- -----\n",
    );
    let state = |p: &HwPort| if p.admin_down { "Down" } else { "Up" };
    for port in &ports {
        let _ = writeln!(
            text,
            "{:<9} {:<30} {:<6} {:<7} Auto 1518  {}",
            port.name,
            cut(&port.description, 30),
            if port.link_up && !port.admin_down { "Full" } else { "N/A" },
            if port.link_up && !port.admin_down { "1000" } else { "Unknown" },
            state(port)
        );
    }
    text.push_str(
        "\nOob  Type                            Admin State\n---- ------------------------------- -----------\n\
         oob  Out-Of-Band                     Up\n\nCh   Type                            Admin State\n\
         ---- ------------------------------- -----------\n",
    );
    for port in &groups {
        let _ = writeln!(text, "{:<4} {:<31} {}", number(&port.name), "Link Aggregate", state(port));
    }
    text.push('\n');
    text
}

fn description(hardware: &Hardware, _: &[String]) -> String {
    let (ports, groups) = sorted(hardware);
    let mut text = String::new();
    for (head, ports) in [("Port", ports), ("Ch", groups)] {
        let _ = write!(
            text,
            "\n{head:<9} Description\n--------- ----------------------------------------------------------------\n"
        );
        for port in ports {
            let _ = writeln!(text, "{:<9} {}", port.name, port.description);
        }
    }
    text
}

fn port_channel(hardware: &Hardware, _: &[String]) -> String {
    let mut text = String::from(
        "\nChannel   Ports                         Ch-Type Hash Type Min-links  Local Prf\n\
         -------   ----------------------------- ------- --------- ---------  ---------\n",
    );
    for group in hardware.config().ports.iter().filter(|p| p.is_aggregate) {
        let members: Vec<&HwPort> = hardware.config().members(&group.name).collect();
        let names = |wanted: bool| -> Vec<&str> {
            let some = members.iter().filter(|p| (p.link_up && !p.admin_down) == wanted);
            some.map(|p| p.name.as_str()).collect()
        };
        let mut lines = Vec::new();
        for (word, names) in [("Active: ", names(true)), ("Inactive: ", names(false))] {
            if !names.is_empty() {
                lines.extend(wrapped(&format!("{word}{}", names.join(", ")), 29));
            }
        }
        if lines.is_empty() {
            lines.push("No Configured Ports".into());
        }
        for (n, line) in lines.iter().map(|l| l.trim()).enumerate() {
            let _ = match n {
                0 => writeln!(
                    text,
                    "{:<9} {line:<29} {:<7} {:<9} {:<10} Disabled",
                    group.name, "Dynamic", "7", "1"
                ),
                _ => writeln!(text, "{:9} {line}", ""),
            };
        }
    }
    text.push_str(
        "\nHash Algorithm Type\n1 - Source MAC, VLAN, EtherType, source module and port Id\n\
         7 - Enhanced hashing mode\n\n",
    );
    text
}

fn vlan(hardware: &Hardware, arguments: &[String]) -> String {
    let wanted: Option<u16> = arguments.first().and_then(|n| n.parse().ok());
    let mut text = String::from(
        "\nVLAN   Name                             Ports          Type\n\
         -----  ---------------                  -------------  --------------\n",
    );
    let vlans: Vec<_> =
        hardware.config().vlans.iter().filter(|(v, _)| wanted.is_none_or(|w| w == **v)).collect();
    if vlans.is_empty() {
        return "\nVLAN does not exist.\n\n".into();
    }
    for (vlan, is) in vlans {
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
        let name = match (is.name.as_str(), vlan) {
            ("", 1) => "default".to_owned(),
            ("", vlan) => format!("VLAN{vlan:04}"),
            (name, _) => cut(name, 32),
        };
        let kind = if *vlan == 1 { "Default" } else { "Static" };
        for (n, line) in wrapped(&ports.join(","), 14).iter().enumerate() {
            let _ = match n {
                0 => writeln!(text, "{vlan:<5}  {name:<32} {line:<14} {kind}"),
                _ => writeln!(text, "{:39} {line}", ""),
            };
        }
    }
    text.push('\n');
    text
}

fn monitor(hardware: &Hardware, arguments: &[String]) -> String {
    let id: u16 = arguments.first().and_then(|n| n.parse().ok()).unwrap_or_default();
    if !(1..=4).contains(&id) {
        return "\nInvalid session id.\n\n".into();
    }
    let mut text = String::from(
        "\nSession Admin    Probe      Src  Mirrored   Type  \nID      Mode     Port       VLAN Port             \n\
         ------- -------- ---------- ---- ---------- ------\n",
    );
    let Some(session) = hardware.config().sessions.iter().find(|s| s.id == id) else {
        let _ = writeln!(text, "{id:<7} Disabled");
        return text + "\n";
    };
    let admin = if session.shut { "Disabled" } else { "Enabled" };
    let probe = session.destination.as_deref().unwrap_or_default();
    let mut rows: Vec<(String, &str)> =
        session.source_ports.iter().map(|p| (String::new(), p.as_str())).collect();
    rows.extend(session.source_vlans.iter().map(|v| (v.to_string(), "")));
    if rows.is_empty() {
        rows.push((String::new(), ""));
    }
    for (n, (vlan, port)) in rows.iter().enumerate() {
        let (id, admin, probe) =
            if n == 0 { (id.to_string(), admin, probe) } else { (String::new(), "", "") };
        let direction = if vlan.is_empty() { "Rx,Tx" } else { "Rx" };
        let _ = writeln!(text, "{id:<7} {admin:<8} {probe:<10} {vlan:<4} {port:<10} {direction}");
    }
    text.push('\n');
    text
}

fn ip_interface(hardware: &Hardware, arguments: &[String]) -> String {
    let wanted: Option<u16> = arguments.first().and_then(|n| n.parse().ok());
    let mut text = format!(
        "\nDefault Gateway................................ 0.0.0.0\n\
         L3 MAC Address................................. {}\n\nRouting Interfaces:\n\n\
         Interface    State   IP Address       IP Mask          Method\n\
         ----------   -----   ---------------  ---------------  -------\n",
        hardware.mac.to_ascii_uppercase().replace(':', "")
    );
    if hardware.config().ip_routing {
        text = text.replacen(
            "\nDefault",
            "\nRouting Mode................................... Enable\nDefault",
            1,
        );
    }
    for (vlan, is) in hardware.config().vlans.iter().filter(|(v, _)| wanted.is_none_or(|w| w == **v)) {
        let Some(ip) = is.ip.as_ref().filter(|ip| !ip.contains(':')) else { continue };
        let (address, length) = ip.split_once('/').unwrap_or((ip, "24"));
        let bits: u32 = length.parse().unwrap_or(24);
        let mask = std::net::Ipv4Addr::from_bits(u32::MAX.checked_shl(32 - bits.min(32)).unwrap_or(0));
        let _ = writeln!(
            text,
            "{:<12} Up      {address:<15}  {:<15}  Manual",
            format!("Vl{vlan}"),
            mask.to_string()
        );
    }
    text.push('\n');
    text
}

fn ipv6_interface(hardware: &Hardware, _: &[String]) -> String {
    let mut text = String::from(
        "\n           Oper.\nInterface  Mode      IPv6 Address/Length\n\
         ---------- --------  ---------------------------------\n",
    );
    for (vlan, is) in &hardware.config().vlans {
        let Some(ip) = is.ip.as_ref().filter(|ip| ip.contains(':')) else { continue };
        let _ = writeln!(text, "{:<10} Enabled   FE80::{vlan}/128", format!("Vl{vlan}"));
        let _ = writeln!(text, "{:21}{}", "", ip.to_ascii_uppercase());
    }
    text.push('\n');
    text
}

/// The first of the eight receivers is used where samples are sent.
fn sflow(hardware: &Hardware, arguments: &[String]) -> String {
    let index: u16 = arguments.first().and_then(|n| n.parse().ok()).unwrap_or_default();
    if !(1..=8).contains(&index) {
        return "\nInvalid receiver index.\n\n".into();
    }
    let on = index == 1 && hardware.config().sflow;
    let (owner, address) = if on { ("lab", "192.0.2.9") } else { ("", "0.0.0.0") };
    format!(
        "\nReceiver Index................................. {index}\n\
         Owner String................................... {owner}\n\
         Time out....................................... 0\n\
         IP Address:.................................... {address}\n\
         Address Type................................... 1\n\
         Port........................................... 6343\n\
         Datagram Version............................... 5\n\
         Maximum Datagram Size.......................... 1400\n\n"
    )
}

fn gvrp(hardware: &Hardware, _: &[String]) -> String {
    let on = if hardware.config().gvrp { "Enabled" } else { "Disabled" };
    let mut text = format!(
        "\nGlobal GVRP Mode: {on}\n\n            Join     Leave    LeaveAll     Port     VLAN\nInterface   Timer    Timer      \
         Timer      GVRP   Create  Register\n            (centisecs) (centisecs) (centisecs)  Mode  Forbid   Forbid\n\
         ----------- ----------- ----------- ----------- -------- ------- --------\n"
    );
    for port in chosen(hardware, &[]) {
        let _ = writeln!(text, "{:<11} 20          60          1000        {on}", port.name);
    }
    text.push('\n');
    text
}

fn mvrp(_: &Hardware, _: &[String]) -> String {
    "\nMVRP global state.............................. Disabled\n\
     MVRP Periodic State Machine state.............. Disabled\n\
     VLANs created via MVRP.........................\n\n"
        .into()
}

fn dot1x(hardware: &Hardware, _: &[String]) -> String {
    let mut text = format!(
        "\nAdministrative Mode............... {}\nDynamic VLAN Creation Mode........ Disabled\n\
         Monitor Mode...................... Disabled\n\n\
         Port      Admin Mode         Oper Mode    Reauth   Reauth\n\
         \x20                                         Control  Period\n\
         --------- ------------------ ------------ -------- ----------\n",
        if hardware.config().dot1x { "Enabled" } else { "Disabled" }
    );
    for port in hardware.config().ports.iter().filter(|p| !p.is_aggregate) {
        let auto = port.dynamic.iter().any(|d| d.by == DynamicBy::Dot1x);
        let _ = writeln!(
            text,
            "{:<9} {:<18} Authorized   FALSE    3600",
            port.name,
            if auto { "auto" } else { "force-authorized" }
        );
    }
    text.push('\n');
    text
}
