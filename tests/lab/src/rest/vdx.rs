//! Brocade NOS: the running configuration as a tree of XML resources.
//!
//! Seen on a relative (SLX-OS): `y:self` on containers, CRLF, a leaf and a container both called `switchport`, a GET that finds
//! two resources answers with both, one after the other, and `interface` itself lists names only. The names of elements beyond
//! the switchport's are taken from the vendor's data models; HIL's drivers vouch for those of the switchport.

use super::server::{Answer, Asked};
use super::xml::Element;
use crate::http::{Request, decode};
use crate::world::{ClassifiedBy, Hardware, HwConfig, HwPort, PortMode, PortProfile, VlanList};

const ROOT: &str = "/rest/config/running";
const INTERFACE: &str = "urn:brocade.com:mgmt:brocade-interface";
const SPAN: &str = "urn:brocade.com:mgmt:brocade-span";
const PROFILE: &str = "urn:brocade.com:mgmt:brocade-port-profile";
const DOT1X: &str = "urn:brocade.com:mgmt:brocade-dot1x";
const ATTRIBUTES: &str = "urn:brocade.com:mgmt:brocade-ras";
const RBRIDGE: &str = "urn:brocade.com:mgmt:brocade-rbridge";
const REST: &str = "http://brocade.com/ns/rest";

pub(super) fn asked(request: &Request) -> Asked {
    let write = !matches!(request.method.as_str(), "GET" | "HEAD" | "OPTIONS");
    Asked { what: format!("{} {}", request.method, request.target), write }
}

pub(super) fn respond(hardware: &Hardware, request: &Request) -> Answer {
    if request.method != "GET" {
        return Answer::error(405, "Method Not Allowed");
    }
    let path = request.target.split('?').next().unwrap_or_default().trim_end_matches('/');
    let Some(path) = path.strip_prefix(ROOT) else { return Answer::error(404, "Not Found") };
    let Some(segments) = segments(path) else { return Answer::error(400, "malformed uri: a quote is open") };
    let config = hardware.config();
    match segments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => {
            let mut out = format!("<data xmlns=\"{REST}\" xmlns:y=\"{REST}\" y:self=\"{ROOT}\">\r\n");
            for top in [attributes(hardware), interfaces(config), monitor(config), rbridge(config)] {
                top.write(&mut out, ROOT, 1, "");
            }
            Answer::ok(out + "</data>\r\n")
        }
        // The list of everything has names only; content is at each interface, or at the list of a type.
        ["interface"] => documents(&[interfaces(config)], ROOT, INTERFACE),
        ["interface", kind] => {
            let listed: Vec<Element> = list(config, kind, hardware.rest.defaults).collect();
            if listed.is_empty() {
                return Answer::error(404, "Not Found");
            }
            let parent = format!("{ROOT}/interface");
            if !hardware.rest.collections {
                return documents(&listed, &parent, INTERFACE);
            }
            let mut out = format!("<collection xmlns:y=\"{REST}\" y:self=\"{parent}/{kind}\">\r\n");
            for element in listed {
                element.write(&mut out, &parent, 1, &format!(" xmlns=\"{INTERFACE}\""));
            }
            Answer::ok(out + "</collection>\r\n")
        }
        ["interface", kind, id, ref rest @ ..] => {
            let Some(found) = list(config, kind, hardware.rest.defaults).find(|e| has_name(e, id)) else {
                return Answer::error(404, "Not Found");
            };
            descend(found, &format!("{ROOT}/interface"), rest, INTERFACE)
        }
        ["monitor", ref rest @ ..] => descend(monitor(config), ROOT, rest, SPAN),
        ["port-profile", ref rest @ ..] => {
            let profiles: Vec<Element> = profiles(config).collect();
            match rest {
                [] => documents(&profiles, ROOT, PROFILE),
                [name, rest @ ..] => match profiles.into_iter().find(|p| has_name(p, name)) {
                    Some(profile) => descend(profile, ROOT, rest, PROFILE),
                    None => Answer::error(404, "Not Found"),
                },
            }
        }
        ["dot1x", ref rest @ ..] => {
            let enabled = config.dot1x.then(|| Element::flag("enable", true));
            descend(Element::of("dot1x", enabled.into_iter().collect()), ROOT, rest, DOT1X)
        }
        ["switch-attributes", ..] => documents(&[attributes(hardware)], ROOT, ATTRIBUTES),
        ["rbridge-id"] | ["rbridge-id", "1"] => documents(&[rbridge(config)], ROOT, RBRIDGE),
        ["rbridge-id", "1", ref rest @ ..] => descend(rbridge(config), ROOT, rest, RBRIDGE),
        _ => Answer::error(404, "Not Found"),
    }
}

/// The segments of a path, decoded. A slash between quotes is part of a segment, whether or not the quotes are encoded.
fn segments(path: &str) -> Option<Vec<String>> {
    let mut found = Vec::new();
    let (mut one, mut quoted) = (String::new(), false);
    for c in decode(path, false).chars() {
        match c {
            '"' => quoted = !quoted,
            '/' if !quoted => {
                found.push(std::mem::take(&mut one));
            }
            c => one.push(c),
        }
    }
    found.push(one);
    // The path began with a slash.
    found.remove(0);
    (!quoted).then_some(found)
}

fn has_name(element: &Element, name: &str) -> bool {
    element.key.as_deref().is_some_and(|k| k.trim_start_matches("%22").trim_end_matches("%22") == name)
}

/// Follows the rest of a path and answers with every resource it leads to.
fn descend(from: Element, parent: &str, path: &[&str], namespace: &str) -> Answer {
    let (mut here, mut parent) = (vec![from], parent.to_owned());
    // After the name of a list comes a key: `session/1`.
    let mut listed = false;
    for segment in path {
        if listed && let Some(one) = here.iter().find(|e| has_name(e, segment)) {
            here = vec![one.clone()];
            listed = false;
            continue;
        }
        // Of two resources that share a name, the one that goes on.
        let Some(step) = here.iter().find(|e| !e.children().is_empty()).or(here.first()).cloned() else {
            break;
        };
        parent = step.path(&parent);
        here = step.children().iter().filter(|c| c.name == *segment).cloned().collect();
        listed = here.iter().any(|e| e.key.is_some());
    }
    if here.is_empty() { Answer::error(404, "Not Found") } else { documents(&here, &parent, namespace) }
}

fn documents(elements: &[Element], parent: &str, namespace: &str) -> Answer {
    let mut out = String::new();
    for element in elements {
        element.write(&mut out, parent, 0, &format!(" xmlns=\"{namespace}\" xmlns:y=\"{REST}\""));
    }
    Answer::ok(out)
}

/// `interface`, with names only.
fn interfaces(config: &HwConfig) -> Element {
    let named = |kind: &str, id: &str| Element::of(kind, vec![Element::text("name", id)]).keyed(id);
    let mut all: Vec<Element> = config.vlans.keys().map(|v| named("Vlan", &v.to_string())).collect();
    all.extend(config.ports.iter().filter_map(|p| p.name.split_once(' ')).map(|(kind, id)| named(kind, id)));
    Element::of("interface", all).within(INTERFACE)
}

/// The interfaces of one type, with all their content.
fn list<'a>(config: &'a HwConfig, kind: &'a str, defaults: bool) -> Box<dyn Iterator<Item = Element> + 'a> {
    if kind == "Vlan" {
        return Box::new(config.vlans.iter().map(|(id, vlan)| {
            let id = id.to_string();
            let mut inside = vec![Element::text("name", id.clone())];
            inside.extend((!vlan.name.is_empty()).then(|| Element::text("vlan-name", vlan.name.clone())));
            inside.extend(vlan.remote_span.then(|| Element::flag("remote-span", true)));
            inside.push(Element::flag("shutdown", vlan.inactive));
            Element::of("Vlan", inside).keyed(&id)
        }));
    }
    let of_kind = config.ports.iter().filter(move |p| p.name.split_once(' ').is_some_and(|(k, _)| k == kind));
    Box::new(of_kind.map(move |port| interface(config, port, defaults)))
}

fn interface(config: &HwConfig, port: &HwPort, defaults: bool) -> Element {
    let (kind, id) = port.name.split_once(' ').unwrap_or_default();
    let mut inside = vec![Element::text("name", id)];
    if !port.description.is_empty() {
        inside.push(Element::text("description", port.description.clone()));
    }
    if let Some((_, number)) = port.aggregate.as_deref().and_then(|a| a.split_once(' ')) {
        inside.push(Element::of(
            "channel-group",
            vec![
                Element::text("port-int", number),
                Element::text("mode", "active"),
                Element::text("type", "standard"),
            ],
        ));
    }
    if port.profile_port {
        inside.push(Element::flag("port-profile-port", true).within(PROFILE));
    }
    match port.mode {
        PortMode::Layer3 => {
            let address = port
                .ip
                .iter()
                .map(|ip| Element::of("address", vec![Element::text("address", ip.clone())]).keyed(ip));
            let address = Element::of("ip-config", address.collect());
            inside.push(Element::of("ip", vec![address.within("urn:brocade.com:mgmt:brocade-ip-config")]));
        }
        _ => {
            inside.push(Element::flag("switchport", true));
            inside.push(switchport(config, port, defaults));
        }
    }
    inside.push(Element::flag("shutdown", port.admin_down));
    Element::of(kind, inside).keyed(id)
}

fn switchport(config: &HwConfig, port: &HwPort, defaults: bool) -> Element {
    let mut private = vec![Element::of("trunk", Vec::new())];
    let mode = match port.mode {
        PortMode::Trunk => Some("trunk"),
        PortMode::General => Some("hybrid"),
        PortMode::Tunnel => Some("dot1q-tunnel"),
        PortMode::PrivateVlan => {
            let promiscuous = port.private_vlan.as_ref().is_some_and(|p| p.promiscuous);
            private.push(Element::flag(if promiscuous { "promiscuous" } else { "host" }, true));
            None
        }
        _ => Some("access"),
    };
    let mut inside: Vec<Element> = mode.map(|m| Element::text("vlan-mode", m)).into_iter().collect();
    inside.push(Element::of("private-vlan", private));
    let mode = Element::of("mode", inside);

    let has_access = matches!(port.mode, PortMode::Access | PortMode::Tunnel);
    let vlan = has_access.then(|| Element::text("vlan", port.access_vlan.to_string()));
    let access = Element::of("access", vlan.into_iter().collect());

    let (mut allowed, mut tag, mut native) = (Vec::new(), Vec::new(), None);
    if port.mode == PortMode::Trunk {
        let (mut all, mut none) = (false, false);
        match &port.allowed {
            VlanList::All => all = true,
            VlanList::None => none = true,
            VlanList::List(list) => allowed.push(Element::text("add", list.to_string())),
            VlanList::Except(list) => allowed.push(Element::text("except", list.to_string())),
        }
        for (name, value) in [("all", all), ("none", none)] {
            if value || defaults {
                allowed.push(Element::flag(name, value));
            }
        }
        if port.native_tagged || defaults {
            tag.push(Element::flag("native-vlan", port.native_tagged));
        }
        // VLAN 1 is the default, and defaults of this kind are not shown.
        native = port.native.filter(|n| *n != 1).map(|n| Element::text("native-vlan", n.to_string()));
    }
    let allowed =
        Element::of("allowed", vec![Element::of("rspan-vlan", Vec::new()), Element::of("vlan", allowed)]);
    let mut trunk = vec![allowed, Element::of("tag", tag)];
    trunk.extend(native);
    let translations = config.translations.iter().filter(|t| t.port == port.name).map(|t| {
        let inside = vec![
            Element::text("trunk-vlan-id", t.to.to_string()),
            Element::text("trunk-ctag-range", t.from.to_string()),
        ];
        Element::of("add", inside).keyed(&t.to.to_string())
    });
    let translations: Vec<Element> = translations.collect();
    if !translations.is_empty() {
        let vlan = Element::of("vlan", translations);
        trunk.push(Element::of("trunk-vlan-classification", vec![Element::of("allowed", vec![vlan])]));
    }
    let rules = config.rules.iter().filter(|r| r.port.as_deref().is_none_or(|p| p == port.name)).map(|r| {
        let name = match r.by {
            ClassifiedBy::Mac => "mac",
            ClassifiedBy::Protocol => "proto",
            ClassifiedBy::Subnet => "subnet",
        };
        Element::of(
            "classification",
            vec![Element::text("vlan", r.vlan.to_string()), Element::text(name, r.what.clone())],
        )
    });
    let mut inside = vec![mode, access, Element::of("trunk", trunk)];
    inside.extend(rules);
    Element::of("switchport", inside)
}

fn monitor(config: &HwConfig) -> Element {
    let sessions = config.sessions.iter().map(|session| {
        let number = session.id.to_string();
        let mut inside = vec![Element::text("session-number", number.clone())];
        let end = |which: &str, port: &str| -> Vec<Element> {
            let (kind, id) = port.split_once(' ').unwrap_or((port, ""));
            let kind = kind.to_lowercase();
            vec![
                Element::text(&format!("{which}-{kind}"), kind.clone()),
                Element::text(&format!("{which}-{kind}-val"), id),
            ]
        };
        for source in &session.source_ports {
            let mut command = vec![Element::text("source", "source")];
            command.extend(end("src", source));
            if let Some(destination) = &session.destination {
                command.push(Element::text("destination", "destination"));
                command.extend(end("dest", destination));
            }
            command.push(Element::text("direction", "both"));
            inside.push(Element::of("span-command", command));
        }
        Element::of("session", inside).keyed(&number)
    });
    Element::of("monitor", sessions.collect()).within(SPAN)
}

/// The profiles, and first the one that every switch has. It lets every VLAN in, on ports to which it is applied.
fn profiles(config: &HwConfig) -> impl Iterator<Item = Element> + '_ {
    let default =
        PortProfile { name: "default".to_owned(), active: false, allowed: VlanList::All, macs: Vec::new() };
    let always = (!config.profiles.iter().any(|p| p.name == "default")).then_some(default);
    always.into_iter().chain(config.profiles.iter().cloned()).map(|profile| {
        let vlan = match &profile.allowed {
            VlanList::All => Element::flag("all", true),
            VlanList::None => Element::flag("none", true),
            VlanList::List(list) => Element::text("add", list.to_string()),
            VlanList::Except(list) => Element::text("except", list.to_string()),
        };
        let trunk = Element::of("trunk", vec![Element::of("allowed", vec![Element::of("vlan", vec![vlan])])]);
        let mode = Element::of("mode", vec![Element::text("vlan-mode", "trunk")]);
        let switchport = Element::of("switchport", vec![mode, trunk]);
        let mut inside =
            vec![Element::text("name", profile.name.clone()), Element::of("vlan-profile", vec![switchport])];
        inside.extend(profile.active.then(|| Element::flag("activate", true)));
        inside.extend(
            profile
                .macs
                .iter()
                .map(|mac| Element::of("static", vec![Element::text("mac-address", mac.clone())]).keyed(mac)),
        );
        Element::of("port-profile", inside).keyed(&profile.name)
    })
}

fn attributes(hardware: &Hardware) -> Element {
    Element::of(
        "switch-attributes",
        vec![
            Element::text("rbridge-id", "1"),
            Element::text("chassis-name", "VDX6740"),
            Element::text("host-name", hardware.config().hostname.clone()),
        ],
    )
    .keyed("1")
    .within(ATTRIBUTES)
}

/// Routed interfaces of VLANs, which belong to the one rbridge there is.
fn rbridge(config: &HwConfig) -> Element {
    let routed = config.vlans.iter().filter_map(|(id, vlan)| {
        let address = Element::of("address", vec![Element::text("address", vlan.ip.clone()?)]);
        let address =
            Element::of("ip-config", vec![address]).within("urn:brocade.com:mgmt:brocade-ip-config");
        let (id, shut) = (id.to_string(), Element::flag("shutdown", vlan.inactive));
        let inside = vec![Element::text("name", id.clone()), Element::of("ip", vec![address]), shut];
        Some(Element::of("Ve", inside).keyed(&id))
    });
    let interface = Element::of("interface", routed.collect()).within(INTERFACE);
    Element::of("rbridge-id", vec![Element::text("rbridge-id", "1"), interface]).keyed("1").within(RBRIDGE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_split_outside_quotes() {
        let split = |p: &str| segments(p);
        let of = |s: &[&str]| Some(s.iter().map(|s| (*s).to_owned()).collect::<Vec<_>>());
        assert_eq!(
            split("/interface/T/%22101/0/10%22/switchport"),
            of(&["interface", "T", "101/0/10", "switchport"])
        );
        assert_eq!(split("/interface/T/\"1/0/1\""), of(&["interface", "T", "1/0/1"]));
        assert_eq!(split("/interface/Port-channel/30"), of(&["interface", "Port-channel", "30"]));
        assert_eq!(split("/interface/T/%221/0/1"), None);
        assert_eq!(split(""), of(&[]));
    }
}
