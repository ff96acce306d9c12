//! Configuration mode, as little of it as shows that a write arrived and what came of it. The vendors differ in much, and
//! not in these lines.

use super::dialect;
use super::grammar::{self, Rule, Verb, Wrong, free};
use crate::world::{Hardware, HardwareKind, PortMode, VlanList, VlanRanges};

/// Where in the configuration a session is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Context {
    /// Not in it.
    None,
    /// At the top.
    Global,
    /// At a port.
    Port(String),
    /// At a VLAN, or in the VLAN database.
    Vlan,
}

impl Context {
    /// What the prompt shows between the host name and its sign.
    pub(super) fn in_prompt(&self, kind: HardwareKind) -> String {
        match self {
            Context::None => String::new(),
            Context::Global => "(config)".into(),
            Context::Port(port) if kind == HardwareKind::N3000 => format!("(config-if-{port})"),
            Context::Port(_) => "(config-if)".into(),
            Context::Vlan => "(config-vlan)".into(),
        }
    }
}

const fn rule(words: &'static str) -> Rule {
    free(words, Verb::Write)
}

static RULES: &[Rule] = &[
    rule("interface <port>"),
    rule("vlan <number>"),
    rule("vlan database"),
    rule("exit"),
    rule("end"),
    rule("shutdown"),
    rule("no shutdown"),
    rule("description <rest>"),
    rule("switchport mode access"),
    rule("switchport mode trunk"),
    rule("switchport mode general"),
    rule("switchport access vlan <number>"),
    rule("switchport trunk native vlan <number>"),
    rule("switchport trunk native vlan none"),
    rule("switchport trunk allowed vlan add <rest>"),
    rule("switchport trunk allowed vlan remove <rest>"),
    rule("switchport trunk allowed vlan all"),
    rule("switchport trunk allowed vlan none"),
];

/// Carries out one line; where the session is afterwards.
pub(super) fn obey(hardware: &mut Hardware, context: &Context, typed: &str) -> Result<Context, Wrong> {
    let found = grammar::read(RULES, true, typed)?;
    let argument = found.arguments.first().map(String::as_str).unwrap_or_default();
    let bad = Wrong::Unknown(typed.rfind(' ').map_or(0, |at| at + 1));
    let vlans = || VlanRanges::parse(argument).ok_or(bad);
    let vlan = || vlans()?.iter().next().ok_or(bad);
    match (found.rule.words, context) {
        ("end", _) | ("exit", Context::Global | Context::None) => return Ok(Context::None),
        ("exit", _) => return Ok(Context::Global),
        ("interface <port>", _) => {
            let name = dialect::port_name(hardware.kind, argument).ok_or(bad)?;
            hardware.port(&name).ok_or(bad)?;
            return Ok(Context::Port(name));
        }
        ("vlan database", _) => return Ok(Context::Vlan),
        ("vlan <number>", _) => {
            let vlan = vlan()?;
            hardware.add_vlan(vlan);
            return Ok(Context::Vlan);
        }
        (words, Context::Port(name)) => {
            let port = hardware.port_mut(name).map_err(|_| bad)?;
            match words {
                "shutdown" => port.admin_down = true,
                "no shutdown" => port.admin_down = false,
                "description <rest>" => port.description = argument.to_owned(),
                "switchport mode access" => port.mode = PortMode::Access,
                "switchport mode trunk" => port.mode = PortMode::Trunk,
                "switchport mode general" => port.mode = PortMode::General,
                "switchport access vlan <number>" => port.access_vlan = vlan()?,
                "switchport trunk native vlan <number>" => port.native = Some(vlan()?),
                "switchport trunk native vlan none" => port.native = None,
                "switchport trunk allowed vlan add <rest>" => {
                    port.allowed = VlanList::from(port.allowed.ranges().union(&vlans()?));
                }
                "switchport trunk allowed vlan remove <rest>" => {
                    port.allowed = VlanList::from(port.allowed.ranges().without(&vlans()?));
                }
                "switchport trunk allowed vlan all" => port.allowed = VlanList::All,
                "switchport trunk allowed vlan none" => port.allowed = VlanList::None,
                _ => return Err(bad),
            }
        }
        _ => return Err(Wrong::Unknown(0)),
    }
    Ok(context.clone())
}
