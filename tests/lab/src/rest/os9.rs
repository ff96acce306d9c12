//! Dell OS 9: interfaces as XML resources, and show commands by POST.
//!
//! What a show command prints comes back as one text in `<command>`: the command, its output with CRLF, the prompt. HIL's driver
//! and its tests vouch for `show interfaces switchport`, the vendor's guides for the rest. By those guides an account of low
//! privilege may only GET; a list without `?deep` has keys only; `?with-defaults` shows what is as it came.

use super::server::{Answer, Asked};
use super::xml::escape;
use crate::http::{Request, decode};
use crate::world::{Account, Carries, DynamicBy, Hardware, HwPort, PortMode, VlanRanges};

const ROOT: &str = "/api/running/dell";
const NAMESPACE: &str = "http://www.dell.com/ns/dell:0.1/root";

/// The longest command that is taken.
const LONGEST_COMMAND: usize = 1000;

/// Characters of a list of VLANs before it goes on in the next line.
const LIST_WIDTH: usize = 60;

/// Interface types: of the command line, of the paths, and short.
const TYPES: [(&str, &str, &str); 6] = [
    ("GigabitEthernet", "gige", "Gi"),
    ("TenGigabitEthernet", "tengig", "Te"),
    ("TwentyFiveGigE", "twentyfivegig", "Tf"),
    ("fortyGigE", "fortygig", "Fo"),
    ("hundredGigE", "hundredgig", "Hu"),
    ("Port-channel", "portchannel", "Po"),
];

/// What an `<input>` document holds.
enum Input {
    Show(String),
    Other(String),
}

/// Reads the input of a command operation. Nothing but one element that holds text is taken.
fn input(body: &[u8]) -> Option<Input> {
    let text = std::str::from_utf8(body).ok()?.trim();
    let inside = text.strip_prefix("<input>")?.strip_suffix("</input>")?.trim();
    let (name, rest) = inside.strip_prefix('<')?.split_once('>')?;
    let command = rest.strip_suffix(&format!("</{name}>"))?;
    if command.contains('<') || command.len() > LONGEST_COMMAND {
        return None;
    }
    let plain = command.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&");
    match name {
        "show-command" => Some(Input::Show(plain.trim().to_owned())),
        "config-commands" | "exec-command" => Some(Input::Other(format!("{name}: {}", plain.trim()))),
        _ => None,
    }
}

fn is_cli(request: &Request) -> bool {
    request.method == "POST" && request.target == format!("{ROOT}/_operations/cli")
}

pub(super) fn asked(request: &Request) -> Asked {
    let mut what = format!("{} {}", request.method, request.target);
    let mut write = !matches!(request.method.as_str(), "GET" | "HEAD" | "OPTIONS");
    if is_cli(request) {
        match input(&request.body) {
            // A line break would begin another command.
            Some(Input::Show(command)) if !command.contains(['\r', '\n', '|']) => {
                what.push_str(&format!(" show {command}"));
                write = false;
            }
            Some(Input::Show(command) | Input::Other(command)) => what.push_str(&format!(" {command:?}")),
            None => what.push_str(" (input not understood)"),
        }
    }
    Asked { what, write }
}

pub(super) fn respond(hardware: &Hardware, account: &Account, request: &Request) -> Answer {
    if is_cli(request) {
        if !account.may_write {
            return Answer::error(403, "this privilege level allows GET only");
        }
        let Some(Input::Show(command)) = input(&request.body) else {
            return Answer::error(400, "malformed message");
        };
        let output = show(hardware, &command);
        let prompt = format!("{}#", hardware.config().hostname);
        let text = format!("show {command}\n{output}\n{prompt}").replace('\n', "\r\n");
        return Answer::ok(format!(
            "<output xmlns='{NAMESPACE}'>\n  <command>{}</command>\n</output>\n",
            escape(&text)
        ));
    }
    if request.method != "GET" {
        return Answer::error(405, "Method Not Allowed");
    }
    let (path, query) = request.target.split_once('?').unwrap_or((&request.target, ""));
    let path = decode(path, false);
    let has = |wanted: &str| query.split('&').any(|q| q == wanted);
    let (deep, defaults) = (has("deep") || hardware.rest.deep_lists, has("with-defaults"));
    let Some(path) = path.strip_prefix(ROOT) else { return Answer::error(404, "Not Found") };
    let ports = || hardware.config().ports.iter().filter_map(|p| Some((p, path_name(&p.name)?)));
    match path.trim_matches('/') {
        "interfaces" | "interfaces/interface" => {
            let listed: String = ports()
                .map(|(port, name)| {
                    let inside = if deep { leaves(port, defaults) } else { String::new() };
                    format!("  <interface>\n    <name>{name}</name>\n{inside}  </interface>\n")
                })
                .collect();
            Answer::ok(format!("<interfaces xmlns=\"{NAMESPACE}\">\n{listed}</interfaces>\n"))
        }
        other => {
            // HIL asks for a name with a backslash at its end, and is answered.
            let wanted = other.strip_prefix("interfaces/interface/").map(|n| n.trim_end_matches('\\'));
            match ports().find(|(_, name)| Some(name.as_str()) == wanted) {
                Some((port, name)) => Answer::ok(format!(
                    "<interface xmlns=\"{NAMESPACE}\">\n  <name>{name}</name>\n{}</interface>\n",
                    leaves(port, defaults)
                )),
                None => Answer::error(404, "Not Found"),
            }
        }
    }
}

/// `GigabitEthernet 1/3` is `gige-1-3` in paths.
fn path_name(name: &str) -> Option<String> {
    let (kind, id) = name.split_once(' ')?;
    let (_, path, _) = TYPES.iter().find(|(long, ..)| long.eq_ignore_ascii_case(kind))?;
    Some(format!("{path}-{}", id.replace('/', "-")))
}

/// `GigabitEthernet 1/3` is `Gi 1/3` in tables.
fn short(name: &str) -> String {
    let found = name.split_once(' ').and_then(|(kind, id)| {
        let (.., short) = TYPES.iter().find(|(long, ..)| long.eq_ignore_ascii_case(kind))?;
        Some(format!("{short} {id}"))
    });
    found.unwrap_or_else(|| name.to_owned())
}

/// The leaves of an interface. A port is shut down as it comes, so `shutdown` true is a default.
fn leaves(port: &HwPort, defaults: bool) -> String {
    let mut out = String::new();
    if !port.description.is_empty() {
        out.push_str(&format!("  <description>{}</description>\n", escape(&port.description)));
    }
    if defaults || !port.admin_down {
        out.push_str(&format!("  <shutdown>{}</shutdown>\n", port.admin_down));
    }
    if defaults {
        out.push_str("  <mtu>1554</mtu>\n");
    }
    out
}

fn show(hardware: &Hardware, command: &str) -> String {
    let words: Vec<&str> = command.split_whitespace().collect();
    match words[..] {
        ["interfaces", "switchport"] => switchports(hardware, None),
        ["interfaces", "switchport", kind, id] => switchports(hardware, Some((kind, id))),
        ["interfaces", "port-channel", "brief"] => port_channels(hardware),
        ["interfaces", "status"] => status(hardware),
        ["vlan"] => vlans(hardware),
        ["monitor", "session"] => sessions(hardware),
        ["ip", "interface", "brief"] => addresses(hardware),
        ["ipv6", "interface", "brief"] => addresses6(hardware),
        ["sflow"] => {
            let state = if hardware.config().sflow { "enabled" } else { "disabled" };
            format!(
                "sFlow services are {state}\nEgress Management Interface sFlow services are disabled\n\
                 Global default sampling rate: 32768\nGlobal default counter polling interval: 20\n\
                 Global default extended maximum header size: 128 bytes\nGlobal extended information enabled: none\n\
                 {} collectors configured\n",
                u8::from(hardware.config().sflow)
            )
        }
        ["version"] => format!(
            "Dell Real Time Operating System Software\nDell Operating System Version:  2.0\n\
             Dell Application Software Version:  {}\nSystem Type: S3048-ON\n",
            hardware.firmware
        ),
        ["inventory"] => format!(
            "System Type     : S3048-ON\nSoftware Version: {}\n\nUnit Type          Serial Number  Part Number  Rev\n\
             * 1  S3048-ON      {}    0000000000   A00\n",
            hardware.firmware, hardware.serial
        ),
        ["gvrp", "brief"] | ["gvrp"] => {
            format!(
                "GVRP Feature is currently {}\n",
                if hardware.config().gvrp { "enabled" } else { "disabled" }
            )
        }
        ["dot1x"] => {
            format!("PAE is currently {}\n", if hardware.config().dot1x { "enabled" } else { "disabled" })
        }
        _ => "                    ^\n% Error: Invalid input at \"^\" marker.\n".to_owned(),
    }
}

/// One letter for each way to be in a VLAN.
fn code(by: DynamicBy, tagged: bool) -> char {
    match (by, tagged) {
        (DynamicBy::Gvrp, _) => 'G',
        (DynamicBy::Trunk, _) => 'M',
        (DynamicBy::Dot1x, false) => 'x',
        (DynamicBy::Dot1x, true) => 'X',
        (DynamicBy::Internal, false) => 'i',
        (DynamicBy::Internal, true) => 'I',
        (DynamicBy::Vlt, false) => 'v',
        (DynamicBy::Vlt, true) => 'V',
    }
}

/// What a port is in by its own lines: the answer of [`Hardware::carries`] without what came by itself.
fn configured(hardware: &Hardware, port: &HwPort) -> Carries {
    let mut all = hardware.carries(&port.name).unwrap_or_default();
    for dynamic in &port.dynamic {
        let set = if dynamic.tagged { &mut all.tagged } else { &mut all.untagged };
        *set = set.without(&dynamic.vlans);
    }
    all
}

fn switchports(hardware: &Hardware, only: Option<(&str, &str)>) -> String {
    let mut out =
        "\nCodes:  U - Untagged, T - Tagged\n        x - Dot1x untagged, X - Dot1x tagged\n        \
                   G - GVRP tagged, M - Trunk\n        i - Internal untagged, I - Internal tagged, \
                   v - VLT untagged, V - VLT tagged\n\n"
            .to_owned();
    let wanted = only.map(|(kind, id)| format!("{kind} {id}"));
    let mut found = false;
    for port in &hardware.config().ports {
        if wanted.as_ref().is_some_and(|w| !w.eq_ignore_ascii_case(&port.name)) {
            continue;
        }
        found = true;
        // Routed ports and members of a bundle are in no layer 2 mode, and not listed.
        if port.mode == PortMode::Layer3 || port.aggregate.is_some() {
            continue;
        }
        let Carries { untagged, tagged } = configured(hardware, port);
        let mode = match (untagged.is_empty(), tagged.is_empty()) {
            (false, false) => "Hybrid",
            (true, false) => "True",
            _ => "False",
        };
        out.push_str(&format!("Name: {}\n", port.name));
        if !port.description.is_empty() {
            out.push_str(&format!("Description: {}\n", port.description));
        }
        out.push_str(&format!("802.1QTagged: {mode}\nVlan membership:\nQ       Vlans\n"));
        let mut lines = vec![('U', untagged.clone()), ('T', tagged)];
        lines.extend(port.dynamic.iter().map(|d| (code(d.by, d.tagged), d.vlans.clone())));
        for (code, vlans) in lines.into_iter().filter(|(_, v)| !v.is_empty()) {
            out.push_str(&membership(code, &vlans));
        }
        if mode == "Hybrid" {
            let native = untagged.iter().next().unwrap_or(1);
            out.push_str(&format!("\nNative VlanId:    {native}.\n"));
        }
        out.push('\n');
    }
    if only.is_some() && !found {
        return "% Error: No such interface.\n".to_owned();
    }
    out
}

/// `T       1511,1612-1614,1700`; a long list goes on under its beginning.
fn membership(code: char, vlans: &VlanRanges) -> String {
    let mut out = String::new();
    let mut line = format!("{code}       ");
    let mut used = 0;
    for (n, part) in vlans.to_string().split(',').enumerate() {
        if used + part.len() > LIST_WIDTH {
            out.push_str(&format!("{line},\n"));
            (line, used) = (" ".repeat(8), 0);
        } else if n > 0 {
            line.push(',');
        }
        line.push_str(part);
        used += part.len() + 1;
    }
    out + &line + "\n"
}

fn port_channels(hardware: &Hardware) -> String {
    let config = hardware.config();
    let mut out = "Codes: L - LACP Port-channel\n       O - OpenFlow Controller Port-channel\n\n    \
                   LAG  Mode  Status       Uptime      Ports\n"
        .to_owned();
    for port in config.ports.iter().filter(|p| p.is_aggregate) {
        let number = port.name.split_once(' ').map_or("", |(_, n)| n);
        let mode = if port.mode == PortMode::Layer3 { "L3" } else { "L2" };
        let state = if port.link_up && !port.admin_down { "up" } else { "down" };
        let mut lead = format!("L   {number:<4} {mode:<5} {state:<12} 00:00:00    ");
        for member in config.members(&port.name) {
            let state = if member.link_up && !member.admin_down { "(Up)" } else { "(Down)" };
            out.push_str(&format!("{lead}{:<10} {state}\n", short(&member.name)));
            lead = " ".repeat(lead.len());
        }
        if config.members(&port.name).next().is_none() {
            out.push_str(&format!("{}\n", lead.trim_end()));
        }
    }
    out
}

fn status(hardware: &Hardware) -> String {
    let mut out = "Port                 Description  Status Speed        Duplex Vlan\n".to_owned();
    for port in hardware.config().ports.iter().filter(|p| !p.is_aggregate) {
        let state = if port.link_up && !port.admin_down { "Up" } else { "Down" };
        let description: String = port.description.chars().take(12).collect();
        let Carries { untagged, tagged } = hardware.carries(&port.name).unwrap_or_default();
        let vlans = untagged.union(&tagged).to_string();
        let vlans = if vlans.is_empty() { "--" } else { &vlans };
        out.push_str(&format!(
            "{:<20} {description:<12} {state:<6} 1000 Mbit    Full   {vlans}\n",
            short(&port.name)
        ));
    }
    out
}

fn vlans(hardware: &Hardware) -> String {
    let config = hardware.config();
    let mut out = "\nCodes: * - Default VLAN, G - GVRP VLANs, R - Remote Port Mirroring VLANs, P - Primary, \
                   C - Community, I - Isolated\n       O - Openflow, Vx - Vxlan\nQ: U - Untagged, T - Tagged\n   \
                   x - Dot1x untagged, X - Dot1x tagged\n   o - OpenFlow untagged, O - OpenFlow tagged\n   \
                   G - GVRP tagged, M - Vlan-stack\n   i - Internal untagged, I - Internal tagged, \
                   v - VLT untagged, V - VLT tagged\n\n    NUM    Status    Description                     Q Ports\n"
        .to_owned();
    for (id, vlan) in &config.vlans {
        let mut members: Vec<(char, &str)> = Vec::new();
        for port in config.ports.iter().filter(|p| p.aggregate.is_none() && p.mode != PortMode::Layer3) {
            let Carries { untagged, tagged } = configured(hardware, port);
            members.extend(untagged.contains(*id).then_some(('U', port.name.as_str())));
            members.extend(tagged.contains(*id).then_some(('T', port.name.as_str())));
            let dynamic = port.dynamic.iter().filter(|d| d.vlans.contains(*id));
            members.extend(dynamic.map(|d| (code(d.by, d.tagged), port.name.as_str())));
        }
        let mark = if *id == 1 {
            '*'
        } else if vlan.remote_span {
            'R'
        } else {
            ' '
        };
        let status = if vlan.inactive || members.is_empty() { "Inactive" } else { "Active" };
        let lead = format!("{mark}   {id:<6} {status:<9} {:<31}", vlan.name);
        if members.is_empty() {
            out.push_str(&format!("{}\n", lead.trim_end()));
        }
        for (n, (code, port)) in members.into_iter().enumerate() {
            let lead = if n == 0 { lead.clone() } else { " ".repeat(lead.len()) };
            out.push_str(&format!("{lead} {code} {}\n", short(port)));
        }
    }
    out
}

fn sessions(hardware: &Hardware) -> String {
    let mut out = "   SessID  Source          Destination        Dir  Mode    Source IP       Dest IP\n   \
                   ------  ------          -----------        ---  ----    ---------       -------\n"
        .to_owned();
    for session in &hardware.config().sessions {
        let destination = session.destination.as_deref().map_or_else(|| "--".to_owned(), short);
        let ports = session.source_ports.iter().map(|p| (short(p), "Port"));
        let vlans = session.source_vlans.iter().map(|v| (format!("Vl {v}"), "Flow"));
        for (source, mode) in ports.chain(vlans) {
            out.push_str(&format!(
                "   {:>6}  {source:<15} {destination:<18} both {mode:<7} N/A             N/A\n",
                session.id
            ));
        }
    }
    out
}

/// Only interfaces with an IPv6 address are listed.
fn addresses6(hardware: &Hardware) -> String {
    let config = hardware.config();
    let mut out = String::new();
    let ports = config.ports.iter().map(|p| (p.name.clone(), p.ip.as_deref(), p.admin_down));
    let vlans = config.vlans.iter().map(|(id, v)| (format!("Vlan {id}"), v.ip.as_deref(), v.inactive));
    for (name, ip, down) in ports.chain(vlans) {
        if let Some(ip) = ip.filter(|ip| ip.contains(':')) {
            let state = if down { "administratively down/down" } else { "up/up" };
            out.push_str(&format!("{name:<25} [{state}]\n          {ip}\n"));
        }
    }
    out
}

fn addresses(hardware: &Hardware) -> String {
    let config = hardware.config();
    let mut out =
        "Interface                 IP-Address       OK  Method Status                Protocol\n".to_owned();
    let mut line = |name: &str, ip: Option<&str>, down: bool, up: bool| {
        let ip = ip.filter(|ip| !ip.contains(':'));
        let address = ip.map_or("unassigned", |ip| ip.split('/').next().unwrap_or(ip));
        let (ok, state, protocol) = match (down, up) {
            (true, _) => ("NO", "administratively down", "down"),
            (false, true) => ("YES", "up", "up"),
            (false, false) => ("NO", "down", "down"),
        };
        out.push_str(&format!("{name:<25} {address:<16} {ok:<3} Manual {state:<21} {protocol}\n"));
    };
    for port in &config.ports {
        line(&port.name, port.ip.as_deref(), port.admin_down, port.link_up);
    }
    for (id, vlan) in config.vlans.iter().filter(|(id, _)| **id != 1) {
        line(&format!("Vlan {id}"), vlan.ip.as_deref(), vlan.inactive, true);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inputs_are_one_command_and_nothing_else() {
        let show = |body: &str| match input(body.as_bytes()) {
            Some(Input::Show(command)) => Some(command),
            _ => None,
        };
        let good = "<input><show-command>interfaces switchport GigabitEthernet 1/3</show-command></input>";
        assert_eq!(show(good).as_deref(), Some("interfaces switchport GigabitEthernet 1/3"));
        assert_eq!(
            show(&format!("\n{good}\n")).as_deref(),
            Some("interfaces switchport GigabitEthernet 1/3")
        );
        for bad in [
            "",
            "<input></input>",
            "<input><show-command>a</show-command><config-commands>b</config-commands></input>",
            "<input><show-command>vlan</input>",
            "<input><config-commands>no vlan 1</config-commands></input>",
        ] {
            assert_eq!(show(bad), None, "{bad}");
        }
    }

    #[test]
    fn long_lists_go_on_in_the_next_line_and_lose_nothing() {
        let vlans: VlanRanges = (1..=400).map(|n| n * 10).collect();
        let text = membership('T', &vlans);
        assert!(text.lines().count() > 20 && text.lines().all(|l| l.len() <= 8 + LIST_WIDTH + 1), "{text}");
        assert!(text.lines().skip(1).all(|l| l.starts_with("        ") && !l.contains('T')), "{text}");
        let joined: String = text.strip_prefix('T').unwrap().split_whitespace().collect();
        assert_eq!(VlanRanges::parse(&joined), Some(vlans));
    }
}
