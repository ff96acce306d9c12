//! What the command lines of the vendors have in common: a grammar, and words for when it is broken.

use super::grammar::{Rule, Wrong};
use super::{n3000, nexus, powerconnect};
use crate::world::{HardwareKind, HwPort, PortMode};

/// A command line.
pub(super) struct Dialect {
    pub(super) rules: &'static [Rule],
    /// The end of the prompt of those with rights.
    pub(super) hash: &'static str,
    /// The pager's question.
    pub(super) more: &'static str,
    pub(super) login_failed: &'static str,
    pub(super) enable_failed: &'static str,
    /// To those who may not change anything.
    pub(super) not_allowed: &'static str,
    /// What is wrong with a line, given the length of the prompt before it.
    pub(super) complain: fn(Wrong, usize, &str) -> String,
    /// A log line.
    pub(super) notice: &'static str,
    /// Whether commands may be given in an `exec` request.
    pub(super) takes_exec: bool,
    /// Whether `exit` at `#` goes back to `>` before it ends the session.
    pub(super) exit_disables: bool,
}

/// The command line of a kind of switch, if it has one.
pub(super) fn of(kind: HardwareKind) -> Option<&'static Dialect> {
    match kind {
        HardwareKind::PowerConnect5500 => Some(&powerconnect::DIALECT),
        HardwareKind::N3000 => Some(&n3000::DIALECT),
        HardwareKind::Nexus => Some(&nexus::DIALECT),
        HardwareKind::Vdx | HardwareKind::Os9 => None,
    }
}

/// The switch's own name for a port, however it was typed: `gigabitethernet1/0/5`, `Gi1/0/5`, `e1/5`, `po1`.
pub(super) fn port_name(kind: HardwareKind, typed: &str) -> Option<String> {
    let at = typed.find(|c: char| c.is_ascii_digit())?;
    let (letters, numbers) = typed.split_at(at);
    let letters = letters.trim().to_ascii_lowercase();
    if letters.is_empty() || !numbers.bytes().all(|b| b.is_ascii_digit() || b == b'/') {
        return None;
    }
    let types: &[(&str, &str)] = match kind {
        HardwareKind::PowerConnect5500 => {
            &[("gigabitethernet", "gi"), ("tengigabitethernet", "te"), ("port-channel", "Po")]
        }
        HardwareKind::N3000 => {
            &[("gigabitethernet", "Gi"), ("tengigabitethernet", "Te"), ("port-channel", "Po")]
        }
        HardwareKind::Nexus => &[("ethernet", "Ethernet"), ("port-channel", "port-channel")],
        HardwareKind::Vdx | HardwareKind::Os9 => &[],
    };
    let (_, short) = types.iter().find(|(long, _)| long.starts_with(&letters))?;
    Some(format!("{short}{numbers}"))
}

/// Nexus and Dell write long lists in their own ways; both cut between entries. Breaks `list` (`1,3-5,9`) into lines of
/// at most `width` characters.
pub(super) fn wrapped(list: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for entry in list.split_inclusive(',') {
        let last = lines.len() - 1;
        if !lines[last].is_empty() && lines[last].len() + entry.len() > width {
            lines.push(entry.to_owned());
        } else {
            lines[last].push_str(entry);
        }
    }
    lines
}

/// The number after the letters: the `n` of `Po1`.
pub(super) fn number(name: &str) -> &str {
    name.find(|c: char| c.is_ascii_digit()).map_or("", |at| &name[at..])
}

/// Whether the port is an aggregate or stands by itself; members of aggregates do not.
pub(super) fn stands_alone(port: &HwPort) -> bool {
    port.aggregate.is_none()
}

/// Whether the port switches at all.
pub(super) fn switches(port: &HwPort) -> bool {
    port.mode != PortMode::Layer3
}

/// Cuts text for a column.
pub(super) fn cut(text: &str, width: usize) -> String {
    text.chars().take(width).collect()
}
