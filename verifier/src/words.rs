//! Sentences: findings, stretches and whole reports for people.

use crate::report::{Assessed, Outcome, Report, Status, Why};
use crate::versions::{Names, Versions};
use isoledger_core::attestation::Predicate;
use isoledger_core::judge::{Finding, FindingClass, NotAssessed, Subject, Verdict};
use isoledger_core::range::{Blind, Stretch, Violation};
use isoledger_core::time::Span;
use std::fmt::Write as _;

/// How many of a list are spelled out.
const SHOWN: usize = 6;

/// Text that came from a file, fit for one line of a terminal: control characters, and those that show nothing or turn
/// text around, are written as escapes. A name must not be able to print an outcome.
pub(crate) fn plain(text: &str) -> String {
    let hidden = |c: char| {
        c.is_control()
            || matches!(c, '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
    };
    if !text.contains(hidden) {
        return text.to_owned();
    }
    text.chars().fold(String::new(), |mut out, c| {
        if hidden(c) {
            out.extend(c.escape_unicode())
        } else {
            out.push(c)
        }
        out
    })
}

/// Names, or "none".
pub(crate) fn list<S: AsRef<str>>(items: impl IntoIterator<Item = S>) -> String {
    let all: Vec<S> = items.into_iter().collect();
    let shown: Vec<String> = all.iter().take(SHOWN).map(|s| plain(s.as_ref())).collect();
    match all.len() {
        0 => "none".into(),
        n if n > SHOWN => format!("{} and {} more", shown.join(", "), n - SHOWN),
        _ => shown.join(", "),
    }
}

/// Attachments as node/nic.
pub(crate) fn nics<'a>(members: impl IntoIterator<Item = &'a (String, String)>) -> String {
    list(members.into_iter().map(|(node, nic)| format!("{node}/{nic}")))
}

fn finding(f: &Finding, names: &Names) -> String {
    let when = if f.passed { ", between two readings" } else { "" };
    let what = match &f.subject {
        Subject::Port(p) => format!("{} at port {}", f.finding, names.port(&p.port)),
        Subject::Switch(s) => format!("{} at switch {}", f.finding, names.switch(s)),
        Subject::Class { switch, class } => {
            format!("{} ({class}) at switch {}", f.finding, names.switch(switch))
        }
        Subject::Manager => format!("{} at the cloud manager", f.finding),
        Subject::Nic { node, nic } => format!("{} at {node}/{nic}", f.finding),
        Subject::Network => f.finding.to_string(),
    };
    what + when
}

fn stretch(s: &Stretch, names: &Names) -> String {
    let whom = match &s.blind {
        Blind::Everything => "no confirmed poll".to_owned(),
        Blind::Manager => "no good reading of the cloud manager".to_owned(),
        Blind::Switch(h) => format!("no good reading of switch {}", names.switch(h)),
    };
    format!("{whom} from {} to {}", s.from, s.to)
}

fn violation(v: &Violation) -> String {
    let over = match v.over_by {
        Some(t) => format!("over by {t}"),
        None => "not over by the end of the range".into(),
    };
    format!("began after {} and by {}, {over} ({} polls)", v.after, v.by, v.polls)
}

fn seconds(span: Span) -> String {
    format!("{}.{}s", span.millis() / 1000, span.millis() % 1000 / 100)
}

/// Why a range is isolated.
pub(crate) fn isolated(a: &Assessed, max_gap: Span) -> String {
    let unconfirmed = match a.unconfirmed {
        0 => String::new(),
        n => format!("; {n} polls not confirmed in time count as missing"),
    };
    let beside = if a.conforms { "" } else { "; some attachments were not carried as declared" };
    format!(
        "isolated: {} of {} polls, longest gap {}, {max_gap} allowed{unconfirmed}{beside}",
        a.isolated,
        a.polls,
        seconds(a.longest_gap)
    )
}

/// Why a range is violated: when, and by what.
pub(crate) fn violated(a: &Assessed, versions: &Versions) -> String {
    let mut out = format!("VIOLATED: {}", list(a.violations.iter().map(violation)));
    let first = a.violations.first().map(|v| v.first);
    if let Some((_, state)) = versions.polls.iter().find(|(p, _)| Some(p.seq) == first) {
        let found = state.findings.iter().filter(|f| f.finding.class() == FindingClass::Isolation);
        let _ = write!(out, "; found: {}", list(found.map(|f| finding(f, &versions.names))));
    }
    out
}

/// Why nothing can be said of a range.
pub(crate) fn unknown(a: &Assessed, max_gap: Span, names: &Names) -> String {
    let mut out = format!("cannot be told: {} of {} polls isolated", a.isolated, a.polls);
    if !a.too_long.is_empty() {
        let _ =
            write!(out, "; longer than {max_gap}: {}", list(a.too_long.iter().map(|s| stretch(s, names))));
    }
    if a.unconfirmed > 0 {
        let _ = write!(out, "; {} polls are not confirmed in time", a.unconfirmed);
    }
    out
}

/// What nobody assesses.
pub(crate) fn not_assessed(all: &[NotAssessed], names: &Names) -> String {
    list(all.iter().map(|n| match n {
        NotAssessed::Cabling => "cabling".to_owned(),
        NotAssessed::Class { switch, class } => format!("{class} at switch {}", names.switch(switch)),
        NotAssessed::Port { port, .. } => format!("port {}", names.port(port)),
        NotAssessed::Exit { name } => format!("what is behind exit {name}"),
    }))
}

/// The whole claim in words; a few lines, each ending in a newline.
pub(crate) fn claim(c: &Predicate) -> String {
    let mut out = String::new();
    let what = match c.verdict {
        Verdict::Isolated => "was isolated",
        Verdict::Violated => "was NOT isolated",
        Verdict::Unknown => "cannot be said to have been isolated",
    };
    // Writing to a String cannot fail.
    let _ = writeln!(
        out,
        "{} says: network {:?} (VLAN {}, domain {:?}) {what},\n  for project {:?}, from {} to {}.",
        plain(&c.log.origin),
        c.network,
        c.vlan,
        c.domain,
        c.project,
        c.from,
        c.to
    );
    let blind = match c.blind.len() {
        0 => "no stretch".to_owned(),
        n => format!("{n} stretches"),
    };
    let _ = writeln!(
        out,
        "  {} of {} polls isolated; {blind} longer than {} without a good reading.",
        c.isolated, c.polls, c.max_gap
    );
    for v in &c.violations {
        let _ = writeln!(out, "  violation: {}", violation(v));
    }
    let exits: Vec<String> = c.exits.iter().map(|e| format!("{} ({})", e.name, e.kind.name())).collect();
    let _ = writeln!(out, "  Exits that carried it: {}.", list(exits));
    if !c.exceptions.is_empty() {
        let ids = c.exceptions.iter().map(u64::to_string);
        let _ =
            writeln!(out, "  Exceptions granted meanwhile (they change no verdict): entries {}.", list(ids));
    }
    let _ = writeln!(
        out,
        "  Issued {}{}; log of {} entries, root {}.",
        c.issued,
        c.nonce.as_ref().map_or(String::new(), |n| format!(" in answer to nonce {n:?}")),
        c.log.size,
        c.log.root
    );
    out
}

impl Report {
    /// The report for people: the claim, each check, the outcome, what it rests on, the policy. Ends in a newline.
    pub fn to_text(&self) -> String {
        let mut out = String::new();
        match &self.claim {
            Some(c) => out += &claim(c),
            None => out += "No claim: the file is not signed by a log of the policy.\n",
        }
        out.push('\n');
        for c in &self.checks {
            let mark = match c.status {
                Status::Passed => "ok       ",
                Status::Failed => "FAILED   ",
                Status::Undecided => "undecided",
            };
            let _ = writeln!(out, "{mark} {:<13} {}", c.check.name(), c.detail);
        }
        out.push('\n');
        out += match self.outcome {
            Outcome::Verified(_) => "VERIFIED   the network was isolated over the whole range.\n",
            Outcome::Refuted(Why::Violation) => {
                "REFUTED    the proof is good, and it proves that the network was not isolated as the policy demands.\n"
            }
            Outcome::Refuted(Why::Proof) => {
                "REFUTED    the proof is bad: these files do not show what was asked, whatever the network was.\n"
            }
            Outcome::Undecided => {
                "UNDECIDED  neither isolation nor a violation is shown by the policy's measure.\n"
            }
        };
        for s in &self.rests_on {
            let _ = writeln!(out, "  on {:<9} {}", s.rests_on.name(), s.sentence);
        }
        let _ = writeln!(out, "policy {} (BLAKE3)", self.policy);
        if self.unpinned {
            out += "  UNPINNED: this policy was fetched from the operator. Compare its keys by another road (isoverify policy \
                    explain) and remove the line \"unpinned\".\n";
        }
        out
    }
}
