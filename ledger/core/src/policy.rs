//! Policies: what a tenant demands before it believes an attestation.
//!
//! ```text
//! log audit.hil.example/moc+57fcb4fa+AXm+…                             who may sign
//! witness w1 witness.example/w1+33d1a5a2+BDk…                          who confirms times and one history
//! witness w2 witness.example/w2+8b0f1c44+BHc…
//! group two all w1 w2
//! quorum two                                                           or: quorum none
//! max-gap 2m                                                           longest time without a good reading
//! network red-net domain moc project red vlan 100 exits exactly core-router
//! ```
//!
//! # In scope
//! The text file ([`Policy::parse`]), which keys and quorums it names, its stanzas, and the policy in words
//! ([`Policy::explain`]).
//!
//! # Out of scope
//! Checking anything: the verifier does. Fetching: `<url>` words are carried and not looked at.
//!
//! # Trust
//! The file is the tenant's own and decides everything, so it is read strictly: a line that is not understood is an
//! error with its number, never ignored. A C2SP tlog-policy is a policy without stanzas.
//!
//! Grammar, defaults and limits: docs/formats/policy.md. After <https://c2sp.org/tlog-policy>.

use crate::hash::Digest;
use crate::history::KeyHistory;
use crate::model::{BypassClass, PortId};
use crate::note::{KeyError, KeyKind, VerifierKey};
use crate::time::{Span, Timestamp};
use crate::vlan::VlanId;
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt::{self, Write as _};

/// The largest policy in bytes.
pub const MAX_POLICY: usize = 1 << 20;
/// The most lines of each kind: logs, witnesses with auditors, groups.
pub const MAX_EACH: usize = 128;
/// The most stanzas.
pub const MAX_STANZAS: usize = 4096;
/// `max-gap` where the policy states none.
pub const DEFAULT_MAX_GAP: Span = Span::from_secs(5 * 60);
/// `witnessed-within` where the policy states none.
pub const DEFAULT_WITNESSED_WITHIN: Span = Span::from_secs(15 * 60);
/// `fresh-within` where the policy states none.
pub const DEFAULT_FRESH_WITHIN: Span = Span::from_secs(15 * 60);

/// What a tenant demands. Made by [`Policy::parse`] only, so that its digest is that of the bytes it came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    digest: Digest,
    logs: Vec<Log>,
    cosigners: Vec<Cosigner>,
    quorum: Option<Quorum>,
    audit: Option<Quorum>,
    max_gap: Span,
    witnessed_within: Span,
    fresh_within: Span,
    unpinned: bool,
    stanzas: Vec<Stanza>,
}

/// Why a log's keys do not follow from a policy.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FollowError {
    /// Nobody the policy knows signed any of them in.
    #[error(
        "none of the keys of {origin} in that file is on a `log` line of the policy, so none of them follows"
    )]
    Unknown {
        /// The log of the file.
        origin: String,
    },
    /// A witness's or auditor's key: a log is not its own witness.
    #[error("the log went on with {key}, which is a cosigner of the policy: a log is not its own witness")]
    Cosigner {
        /// The key.
        key: String,
    },
    /// More than a policy may have.
    #[error("the policy would have {found} log keys; at most {MAX_EACH} are allowed. Pin a newer one")]
    TooMany {
        /// How many.
        found: usize,
    },
}

/// A log whose signatures count.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Log {
    /// Its key, of type 01; the key's name is the log's origin.
    pub key: VerifierKey,
    /// Where it is served, for tools that fetch.
    pub url: Option<String>,
}

/// A witness or an auditor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cosigner {
    /// Its name in this policy.
    pub name: String,
    /// Its key, of type 04.
    pub key: VerifierKey,
    /// Where it answers, for tools that fetch.
    pub url: Option<String>,
    /// Whether it is an auditor: one that recomputes everything before it cosigns.
    pub auditor: bool,
}

/// How many of whom must have cosigned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Quorum {
    /// One cosigner, by its index in [`Policy::cosigners`].
    Cosigner(usize),
    /// Some of several.
    Group {
        /// The group's name.
        name: String,
        /// How many of the members are needed, from 1 to their number.
        needed: usize,
        /// The members.
        members: Vec<Quorum>,
    },
}

impl Quorum {
    /// When the quorum was reached, given when each cosigner signed, by its index; `None` when it was not.
    ///
    /// A group that needs k members is reached at the k-th smallest of their times.
    pub fn reached(&self, signed: &dyn Fn(usize) -> Option<Timestamp>) -> Option<Timestamp> {
        match self {
            Quorum::Cosigner(i) => signed(*i),
            Quorum::Group { needed, members, .. } => {
                let mut times: Vec<Timestamp> = members.iter().filter_map(|m| m.reached(signed)).collect();
                times.sort_unstable();
                times.get(needed.checked_sub(1)?).copied()
            }
        }
    }

    fn cosigners(&self, out: &mut Vec<usize>) {
        match self {
            Quorum::Cosigner(i) => out.push(*i),
            Quorum::Group { members, .. } => members.iter().for_each(|m| m.cosigners(out)),
        }
    }
}

/// What is demanded of one network's attestations.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stanza {
    /// Its line in the policy.
    pub line: usize,
    /// The network.
    pub network: String,
    /// The audited domain.
    pub domain: String,
    /// The project the attestation must be made for.
    pub project: String,
    /// The network's VLAN; `None` leaves it to the attestation.
    pub vlan: Option<VlanId>,
    /// The log that may speak of it; `None` where the policy knows one origin only.
    pub log: Option<String>,
    /// Who is declared on the network; `None` leaves it open.
    pub members: Option<Members>,
    /// Names of the exits that carry the network; `None` leaves it open.
    pub exits: Option<BTreeSet<String>>,
    /// Accepts a network that any project may join.
    pub public_ok: bool,
    /// Ports that may stay unassessed.
    pub accept_unassessed: BTreeSet<PortRef>,
    /// Classes of bypass that may stay unread.
    pub accept_unread: BTreeSet<BypassClass>,
    /// Exceptions the tenant has read and accepts, by the number of their entry. They change no verdict.
    pub accept_exceptions: BTreeSet<u64>,
}

/// The attachments a stanza demands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Members {
    /// Whether there may be no others.
    pub exactly: bool,
    /// Node and nic of each.
    pub nics: BTreeSet<(String, String)>,
}

/// A port as a stanza names it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum PortRef {
    /// By switch and port, where the scope discloses names.
    Named(PortId),
    /// By the port's handle.
    Handle(Digest),
}

impl fmt::Display for PortRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PortRef::Named(p) => write!(f, "{}/{}", p.switch, p.port),
            PortRef::Handle(h) => write!(f, "{h}"),
        }
    }
}

impl Policy {
    /// Reads a policy.
    ///
    /// # Errors
    /// [`PolicyError`], with the line where there is one.
    pub fn parse(bytes: &[u8]) -> Result<Policy, PolicyError> {
        if bytes.len() > MAX_POLICY {
            return Err(PolicyError::TooLarge { found: bytes.len() });
        }
        let text = std::str::from_utf8(bytes).map_err(|e| PolicyError::NotUtf8 { at: e.valid_up_to() })?;
        let mut reader = Reader::default();
        for (line, text) in (1..).zip(text.split('\n')) {
            reader.line(line, text).map_err(|fault| PolicyError::Line { line, fault })?;
        }
        reader.finish(Digest::of(bytes))
    }

    /// Counts the keys that a log signed in after one of this policy's, as if each had a `log` line; how many there are.
    ///
    /// # Errors
    /// None of the history's keys is on a `log` line; one of the new ones stands on another kind of line; too many.
    pub fn follow(&mut self, history: &KeyHistory) -> Result<usize, FollowError> {
        let origin = history.keys().first().map(|(_, key)| key.name().to_owned()).unwrap_or_default();
        let after = history.after(self.logs.iter().map(|l| &l.key)).ok_or(FollowError::Unknown { origin })?;
        let mut new = Vec::new();
        for (_, key) in after.iter().filter(|(_, key)| !self.logs.iter().any(|l| l.key == *key)) {
            if self.cosigners.iter().any(|c| c.key.public() == key.public()) {
                return Err(FollowError::Cosigner { key: key.to_string() });
            }
            new.push(Log { key: key.clone(), url: None });
        }
        if self.logs.len() + new.len() > MAX_EACH {
            return Err(FollowError::TooMany { found: self.logs.len() + new.len() });
        }
        let count = new.len();
        self.logs.extend(new);
        Ok(count)
    }

    /// BLAKE3 of the file: two policies with one digest are the same file.
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// The logs, in the order of the lines; at least one. Several keys may have one name: a log that changed its key.
    pub fn logs(&self) -> &[Log] {
        &self.logs
    }

    /// Witnesses and auditors, in the order of the lines.
    pub fn cosigners(&self) -> &[Cosigner] {
        &self.cosigners
    }

    /// Who must have cosigned for a time to be believed; `None` for `quorum none`.
    pub fn quorum(&self) -> Option<&Quorum> {
        self.quorum.as_ref()
    }

    /// Which auditors must have cosigned a checkpoint that covers the range; `None` for `audit none`.
    pub fn audit(&self) -> Option<&Quorum> {
        self.audit.as_ref()
    }

    /// The longest stretch without a good reading that a verified range may have.
    pub fn max_gap(&self) -> Span {
        self.max_gap
    }

    /// How long after a poll's end the quorum must have cosigned it.
    pub fn witnessed_within(&self) -> Span {
        self.witnessed_within
    }

    /// How old the last poll and the newest cosignature of a fresh answer may be.
    pub fn fresh_within(&self) -> Span {
        self.fresh_within
    }

    /// Whether a tool fetched the policy from the operator, so that nobody has compared its keys.
    pub fn unpinned(&self) -> bool {
        self.unpinned
    }

    /// What is demanded of each network, in the order of the lines.
    pub fn stanzas(&self) -> &[Stanza] {
        &self.stanzas
    }

    /// The stanza for an attestation of this network, domain, project, VLAN and log; at most one matches.
    pub fn stanza(
        &self,
        network: &str,
        domain: &str,
        project: &str,
        vlan: VlanId,
        origin: &str,
    ) -> Option<&Stanza> {
        self.stanzas.iter().find(|s| {
            (s.network.as_str(), s.domain.as_str(), s.project.as_str()) == (network, domain, project)
                && s.vlan.is_none_or(|v| v == vlan)
                && s.log.as_ref().is_none_or(|l| l == origin)
        })
    }

    /// The policy in words, for its owner to read. Ends in a newline.
    pub fn explain(&self) -> String {
        let mut out = String::new();
        // Writing to a String cannot fail.
        let _ = self.explain_to(&mut out);
        out
    }

    fn explain_to(&self, out: &mut String) -> fmt::Result {
        writeln!(out, "Policy {} (BLAKE3 of the file).", self.digest)?;
        if self.unpinned {
            writeln!(
                out,
                "UNPINNED: its keys came from the operator and nobody has compared them. Compare the fingerprints below\n\
                 with the operator by another road, then remove the line \"unpinned\"."
            )?;
        }
        writeln!(out, "\nIt believes what these keys sign:")?;
        for log in &self.logs {
            writeln!(out, "  log {}\n      fingerprint {}", log.key.name(), log.key.fingerprint())?;
        }
        if !self.cosigners.is_empty() {
            writeln!(out, "\nIt knows these cosigners:")?;
        }
        for c in &self.cosigners {
            let kind = if c.auditor { "auditor" } else { "witness" };
            writeln!(
                out,
                "  {kind} {} ({})\n      fingerprint {}",
                c.name,
                c.key.name(),
                c.key.fingerprint()
            )?;
        }
        writeln!(out)?;
        match &self.quorum {
            Some(q) => writeln!(
                out,
                "A poll's time is believed when {} cosigned a checkpoint that covers it at most {} after the poll\n\
                 ended. A poll that was not is as good as no poll.",
                self.quorum_in_words(q),
                self.witnessed_within
            )?,
            None => writeln!(
                out,
                "No witness is asked for (quorum none): times, and that there is one history for all, are the\n\
                 operator's word."
            )?,
        }
        match &self.audit {
            Some(q) => writeln!(
                out,
                "The range must be covered by a checkpoint that {} cosigned after recomputing the log.",
                self.quorum_in_words(q)
            )?,
            None => writeln!(
                out,
                "No auditor is asked for: that slices follow from the recorded evidence is the operator's word."
            )?,
        }
        writeln!(out, "A range may have no stretch longer than {} without a good reading.", self.max_gap)?;
        writeln!(
            out,
            "An answer about now (--fresh) must carry the tenant's nonce, and its last poll may be {} old.",
            self.fresh_within
        )?;
        if self.stanzas.is_empty() {
            writeln!(out, "\nIt names no network: every attestation is undecided.")?;
        }
        for s in &self.stanzas {
            writeln!(
                out,
                "\nNetwork {:?} of domain {:?}, attested for project {:?} (line {}):",
                s.network, s.domain, s.project, s.line
            )?;
            self.explain_stanza(s, out)?;
        }
        Ok(())
    }

    fn explain_stanza(&self, s: &Stanza, out: &mut String) -> fmt::Result {
        match s.vlan {
            Some(v) => writeln!(out, "  Its VLAN is {v}.")?,
            None => writeln!(out, "  Its VLAN is whatever the attestation says and proves.")?,
        }
        if let Some(log) = &s.log {
            writeln!(out, "  Only the log {log} may speak of it.")?;
        }
        match &s.members {
            None => {
                writeln!(out, "  Anyone the cloud manager declares and the access list allows may be on it.")?
            }
            Some(m) => {
                let names: Vec<String> = m.nics.iter().map(|(n, i)| format!("{n}/{i}")).collect();
                let rest = if m.exactly { "and nobody else" } else { "perhaps among others" };
                let names = if names.is_empty() { "nobody".into() } else { names.join(", ") };
                writeln!(out, "  Declared on it, at every poll: {names}, {rest}.")?;
            }
        }
        match &s.exits {
            None => writeln!(out, "  Any exit the operator's scope names may carry it.")?,
            Some(e) if e.is_empty() => writeln!(out, "  No exit may carry it.")?,
            Some(e) => {
                let names: Vec<&str> = e.iter().map(String::as_str).collect();
                writeln!(out, "  Exactly these exits carry it: {}.", names.join(", "))?;
            }
        }
        writeln!(
            out,
            "  {}",
            if s.public_ok {
                "It may be public: any project may join."
            } else {
                "It must not be public (open to any project)."
            }
        )?;
        if !s.accept_unassessed.is_empty() {
            let ports: Vec<String> = s.accept_unassessed.iter().map(PortRef::to_string).collect();
            writeln!(out, "  Accepted though nobody assesses them: ports {}.", ports.join(", "))?;
        }
        if !s.accept_unread.is_empty() {
            let classes: Vec<&str> = s.accept_unread.iter().map(|c| c.name()).collect();
            writeln!(out, "  Accepted though not read: {}.", classes.join(", "))?;
        }
        if !s.accept_exceptions.is_empty() {
            let ids: Vec<String> = s.accept_exceptions.iter().map(u64::to_string).collect();
            writeln!(out, "  Exceptions read and accepted (they change no verdict): {}.", ids.join(", "))?;
        }
        Ok(())
    }

    /// A quorum in words, such as `2 of (w1, w2, w3)`.
    pub fn quorum_in_words(&self, quorum: &Quorum) -> String {
        match quorum {
            Quorum::Cosigner(i) => self.cosigners.get(*i).map_or(String::new(), |c| c.name.clone()),
            Quorum::Group { needed, members, .. } => {
                let names: Vec<String> = members.iter().map(|m| self.quorum_in_words(m)).collect();
                match (*needed, names.len()) {
                    (1, 1) => names.concat(),
                    (n, all) if n == all => format!("all of ({})", names.join(", ")),
                    (n, _) => format!("{n} of ({})", names.join(", ")),
                }
            }
        }
    }
}

/// `name` as a word of a policy: in quotes where it would not be read as it is. `None` when it holds a character that
/// no policy may hold.
pub fn word(name: &str) -> Option<Cow<'_, str>> {
    if name.chars().any(is_forbidden) || name.contains(['\n', '\t']) {
        return None;
    }
    let plain = !name.is_empty()
        && !name.contains([' ', '"'])
        && !name.starts_with('#')
        && !OPTIONS.contains(&name)
        && name != "none";
    if plain {
        return Some(Cow::Borrowed(name));
    }
    Some(Cow::Owned(format!("\"{}\"", name.replace('\\', "\\\\").replace('"', "\\\""))))
}

/// The words that begin an option of a stanza.
const OPTIONS: [&str; 10] = [
    "domain",
    "project",
    "vlan",
    "log",
    "members",
    "exits",
    "public",
    "accept-unassessed",
    "accept-unread",
    "accept-exception",
];

// Control characters, and characters that show nothing or turn text around: with them a policy could read otherwise
// than it is.
fn is_forbidden(c: char) -> bool {
    (c.is_control() && c != '\n' && c != '\t')
        || matches!(c, '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

#[derive(Clone, Debug)]
struct Word {
    text: String,
    quoted: bool,
}

impl Word {
    fn is(&self, keyword: &str) -> bool {
        !self.quoted && self.text == keyword
    }

    fn is_option(&self) -> bool {
        !self.quoted && OPTIONS.contains(&self.text.as_str())
    }
}

fn words(line: &str) -> Result<Vec<Word>, Fault> {
    if let Some(found) = line.chars().find(|c| is_forbidden(*c)) {
        return Err(Fault::Character { found });
    }
    let mut out = Vec::new();
    let mut rest = line.trim_matches([' ', '\t']);
    while !rest.is_empty() {
        let end = if let Some(quoted) = rest.strip_prefix('"') {
            let mut text = String::new();
            let mut chars = quoted.char_indices();
            let end = loop {
                match chars.next() {
                    Some((i, '"')) => break i + 2,
                    Some((_, '\\')) => match chars.next() {
                        Some((_, c @ ('"' | '\\'))) => text.push(c),
                        _ => return Err(Fault::Quote),
                    },
                    Some((_, c)) => text.push(c),
                    None => return Err(Fault::Quote),
                }
            };
            out.push(Word { text, quoted: true });
            end
        } else {
            let end = rest.find([' ', '\t']).unwrap_or(rest.len());
            if rest[..end].contains('"') {
                return Err(Fault::Quote);
            }
            out.push(Word { text: rest[..end].into(), quoted: false });
            end
        };
        let after = &rest[end..];
        if !after.is_empty() && !after.starts_with([' ', '\t']) {
            return Err(Fault::Quote);
        }
        rest = after.trim_start_matches([' ', '\t']);
    }
    Ok(out)
}

#[derive(Default)]
struct Reader {
    logs: Vec<Log>,
    cosigners: Vec<Cosigner>,
    groups: usize,
    // Witnesses, auditors and groups share one name space.
    names: HashMap<String, Named>,
    quorum: Option<Option<Quorum>>,
    audit: Option<Option<Quorum>>,
    spans: BTreeMap<&'static str, Span>,
    unpinned: bool,
    stanzas: Vec<Stanza>,
}

struct Named {
    quorum: Quorum,
    grouped: bool,
}

impl Reader {
    fn line(&mut self, number: usize, text: &str) -> Result<(), Fault> {
        let blank = text.trim_matches([' ', '\t']);
        if blank.is_empty() || blank.starts_with('#') {
            // A comment, too, holds no character that could hide something.
            return text
                .chars()
                .find(|c| is_forbidden(*c))
                .map_or(Ok(()), |found| Err(Fault::Character { found }));
        }
        let words = words(text)?;
        let Some((first, rest)) = words.split_first() else { return Ok(()) };
        if first.quoted {
            return Err(Fault::Keyword { found: first.text.clone() });
        }
        match first.text.as_str() {
            "log" => self.log(rest),
            "witness" => self.cosigner(rest, false),
            "auditor" => self.cosigner(rest, true),
            "group" => self.group(rest),
            "quorum" => {
                let quorum = self.named_or_none("quorum", "quorum <name>|none", rest)?;
                once(&mut self.quorum, quorum, "quorum")
            }
            "audit" => {
                let audit = self.named_or_none("audit", "audit <name>|none", rest)?;
                if let Some(q) = &audit {
                    let mut of = Vec::new();
                    q.cosigners(&mut of);
                    let witness = of.into_iter().filter_map(|i| self.cosigners.get(i)).find(|c| !c.auditor);
                    if let Some(c) = witness {
                        return Err(Fault::NotAuditor { name: c.name.clone() });
                    }
                }
                once(&mut self.audit, audit, "audit")
            }
            "max-gap" => self.span("max-gap", rest),
            "witnessed-within" => self.span("witnessed-within", rest),
            "fresh-within" => self.span("fresh-within", rest),
            "unpinned" => {
                if !rest.is_empty() {
                    return Err(Fault::Form { wanted: "unpinned" });
                }
                if std::mem::replace(&mut self.unpinned, true) {
                    return Err(Fault::Repeated { what: "unpinned" });
                }
                Ok(())
            }
            "network" => self.stanza(number, rest),
            _ => Err(Fault::Keyword { found: first.text.clone() }),
        }
    }

    fn log(&mut self, rest: &[Word]) -> Result<(), Fault> {
        let (key, url) = match rest {
            [key] => (key, None),
            [key, url] => (key, Some(url.text.clone())),
            _ => return Err(Fault::Form { wanted: "log <vkey> [<url>]" }),
        };
        let key = self.key(key, KeyKind::Note)?;
        limit("log", self.logs.len(), MAX_EACH)?;
        self.logs.push(Log { key, url });
        Ok(())
    }

    // One key, one line: a key that counts under two names would be two of a quorum.
    fn key(&self, word: &Word, kind: KeyKind) -> Result<VerifierKey, Fault> {
        let key = VerifierKey::parse(&word.text)?;
        if key.kind() != kind {
            return Err(Fault::KeyKind { name: key.name().into(), found: key.kind(), wanted: kind });
        }
        let known = self.logs.iter().map(|l| &l.key).chain(self.cosigners.iter().map(|c| &c.key));
        for k in known {
            if k.public() == key.public() || (k.name(), k.id()) == (key.name(), key.id()) {
                return Err(Fault::SameKey { name: key.name().into() });
            }
        }
        Ok(key)
    }

    fn cosigner(&mut self, rest: &[Word], auditor: bool) -> Result<(), Fault> {
        let (name, key, url) = match rest {
            [name, key] => (name, key, None),
            [name, key, url] => (name, key, Some(url.text.clone())),
            _ if auditor => return Err(Fault::Form { wanted: "auditor <name> <vkey> [<url>]" }),
            _ => return Err(Fault::Form { wanted: "witness <name> <vkey> [<url>]" }),
        };
        let key = self.key(key, KeyKind::Cosignature)?;
        limit("witness or auditor", self.cosigners.len(), MAX_EACH)?;
        self.define(&name.text, Quorum::Cosigner(self.cosigners.len()))?;
        self.cosigners.push(Cosigner { name: name.text.clone(), key, url, auditor });
        Ok(())
    }

    fn define(&mut self, name: &str, quorum: Quorum) -> Result<(), Fault> {
        if name == "none" || name.is_empty() {
            return Err(Fault::Name { name: name.into() });
        }
        if self.names.contains_key(name) {
            return Err(Fault::SameName { name: name.into() });
        }
        self.names.insert(name.into(), Named { quorum, grouped: false });
        Ok(())
    }

    fn group(&mut self, rest: &[Word]) -> Result<(), Fault> {
        let [name, needed, members @ ..] = rest else {
            return Err(Fault::Form { wanted: "group <name> all|any|<k> <member>…" });
        };
        limit("group", self.groups, MAX_EACH)?;
        let n = members.len();
        let needed = match needed.text.as_str() {
            "all" => n,
            "any" => 1,
            k => k.parse().ok().filter(|v: &usize| v.to_string() == k).unwrap_or(0),
        };
        if !(1..=n).contains(&needed) {
            return Err(Fault::Threshold { members: n });
        }
        let mut of = Vec::with_capacity(n);
        for m in members {
            let Some(named) = self.names.get_mut(&m.text) else {
                return Err(Fault::Undefined { name: m.text.clone() });
            };
            if std::mem::replace(&mut named.grouped, true) {
                return Err(Fault::Grouped { name: m.text.clone() });
            }
            of.push(named.quorum.clone());
        }
        self.groups += 1;
        self.define(&name.text, Quorum::Group { name: name.text.clone(), needed, members: of })
    }

    fn named_or_none(
        &self,
        what: &'static str,
        wanted: &'static str,
        rest: &[Word],
    ) -> Result<Option<Quorum>, Fault> {
        let [name] = rest else { return Err(Fault::Form { wanted }) };
        let again = if what == "quorum" { self.quorum.is_some() } else { self.audit.is_some() };
        if again {
            return Err(Fault::Repeated { what });
        }
        if name.is("none") {
            return Ok(None);
        }
        let named = self.names.get(&name.text).ok_or_else(|| Fault::Undefined { name: name.text.clone() })?;
        Ok(Some(named.quorum.clone()))
    }

    fn span(&mut self, what: &'static str, rest: &[Word]) -> Result<(), Fault> {
        let [word] = rest else { return Err(Fault::Form { wanted: "<keyword> <span>, such as max-gap 5m" }) };
        let span = Span::parse(&word.text).ok_or_else(|| Fault::Span { found: word.text.clone() })?;
        if self.spans.insert(what, span).is_some() {
            return Err(Fault::Repeated { what });
        }
        Ok(())
    }

    fn stanza(&mut self, line: usize, rest: &[Word]) -> Result<(), Fault> {
        limit("network", self.stanzas.len(), MAX_STANZAS)?;
        let mut cursor = Cursor { words: rest, at: 0 };
        let network = cursor.name("network")?;
        let mut domain = None;
        let mut project = None;
        let mut vlan = None;
        let mut log = None;
        let mut members = None;
        let mut exits = None;
        let mut public = None;
        let mut unassessed = None;
        let mut unread = None;
        let mut exceptions = None;
        while let Some(option) = cursor.option()? {
            match option {
                "domain" => once(&mut domain, cursor.name("domain")?, "domain")?,
                "project" => once(&mut project, cursor.name("project")?, "project")?,
                "vlan" => {
                    let text = cursor.name("vlan")?;
                    let id = VlanId::parse(&text).ok_or(Fault::Vlan { found: text })?;
                    once(&mut vlan, id, "vlan")?;
                }
                "log" => once(&mut log, cursor.name("log")?, "log")?,
                "members" => {
                    let exactly = cursor.one_of("members", &["exactly", "at-least"])? == "exactly";
                    let nics = cursor.list("members", exactly, member)?;
                    once(&mut members, Members { exactly, nics }, "members")?;
                }
                "exits" => {
                    cursor.one_of("exits", &["exactly"])?;
                    let names = cursor.list("exits", true, |w| Ok(w.text.clone()))?;
                    once(&mut exits, names, "exits")?;
                }
                "public" => {
                    cursor.one_of("public", &["ok"])?;
                    once(&mut public, (), "public")?;
                }
                "accept-unassessed" => {
                    once(&mut unassessed, cursor.list(option, false, port)?, option)?;
                }
                "accept-unread" => {
                    let classes = cursor.list(option, false, |w| {
                        BypassClass::from_name(&w.text).ok_or_else(|| Fault::Class { found: w.text.clone() })
                    })?;
                    once(&mut unread, classes, option)?;
                }
                _ => {
                    let ids = cursor.list(option, false, |w| {
                        let id = w.text.parse().ok().filter(|n: &u64| n.to_string() == w.text);
                        id.ok_or_else(|| Fault::Exception { found: w.text.clone() })
                    })?;
                    once(&mut exceptions, ids, "accept-exception")?;
                }
            }
        }
        let domain = domain.ok_or(Fault::Without { option: "domain" })?;
        let project = project.ok_or(Fault::Without { option: "project" })?;
        let stanza = Stanza {
            line,
            network,
            domain,
            project,
            vlan,
            log,
            members,
            exits,
            public_ok: public.is_some(),
            accept_unassessed: unassessed.unwrap_or_default(),
            accept_unread: unread.unwrap_or_default(),
            accept_exceptions: exceptions.unwrap_or_default(),
        };
        let overlaps = |s: &&Stanza| {
            (&s.network, &s.domain, &s.project) == (&stanza.network, &stanza.domain, &stanza.project)
                && (s.vlan.is_none() || stanza.vlan.is_none() || s.vlan == stanza.vlan)
                && (s.log.is_none() || stanza.log.is_none() || s.log == stanza.log)
        };
        if let Some(s) = self.stanzas.iter().find(overlaps) {
            return Err(Fault::SameStanza { line: s.line });
        }
        self.stanzas.push(stanza);
        Ok(())
    }

    fn finish(self, digest: Digest) -> Result<Policy, PolicyError> {
        let Some(first) = self.logs.first() else { return Err(PolicyError::Missing { what: "log" }) };
        let Some(quorum) = self.quorum else { return Err(PolicyError::Missing { what: "quorum" }) };
        let several = self.logs.iter().any(|l| l.key.name() != first.key.name());
        for s in &self.stanzas {
            let fault = match &s.log {
                None if several => Fault::WhichLog,
                Some(log) if !self.logs.iter().any(|l| l.key.name() == log) => {
                    Fault::Undefined { name: log.clone() }
                }
                _ => continue,
            };
            return Err(PolicyError::Line { line: s.line, fault });
        }
        let span = |what, default| self.spans.get(what).copied().unwrap_or(default);
        Ok(Policy {
            digest,
            quorum,
            audit: self.audit.flatten(),
            max_gap: span("max-gap", DEFAULT_MAX_GAP),
            witnessed_within: span("witnessed-within", DEFAULT_WITNESSED_WITHIN),
            fresh_within: span("fresh-within", DEFAULT_FRESH_WITHIN),
            unpinned: self.unpinned,
            logs: self.logs,
            cosigners: self.cosigners,
            stanzas: self.stanzas,
        })
    }
}

fn once<T>(slot: &mut Option<T>, value: T, what: &'static str) -> Result<(), Fault> {
    if slot.replace(value).is_some() { Err(Fault::Repeated { what }) } else { Ok(()) }
}

fn limit(what: &'static str, found: usize, allowed: usize) -> Result<(), Fault> {
    if found >= allowed { Err(Fault::TooMany { what, allowed }) } else { Ok(()) }
}

fn member(word: &Word) -> Result<(String, String), Fault> {
    match word.text.split_once('/') {
        Some((node, nic)) if !node.is_empty() && !nic.is_empty() && !nic.contains('/') => {
            Ok((node.into(), nic.into()))
        }
        _ => Err(Fault::Member { found: word.text.clone() }),
    }
}

fn port(word: &Word) -> Result<PortRef, Fault> {
    if let Some(handle) = Digest::from_hex(&word.text) {
        return Ok(PortRef::Handle(handle));
    }
    match word.text.split_once('/') {
        Some((switch, port)) if !switch.is_empty() && !port.is_empty() => {
            Ok(PortRef::Named(PortId::new(switch, port)))
        }
        _ => Err(Fault::Port { found: word.text.clone() }),
    }
}

// Where we are in a stanza.
struct Cursor<'a> {
    words: &'a [Word],
    at: usize,
}

impl<'a> Cursor<'a> {
    fn next(&mut self) -> Option<&'a Word> {
        let word = self.words.get(self.at)?;
        self.at += 1;
        Some(word)
    }

    fn option(&mut self) -> Result<Option<&'static str>, Fault> {
        let Some(word) = self.next() else { return Ok(None) };
        let option = OPTIONS.into_iter().find(|o| word.is(o));
        option.map(Some).ok_or_else(|| Fault::Option { found: word.text.clone() })
    }

    fn name(&mut self, after: &'static str) -> Result<String, Fault> {
        match self.next() {
            Some(word) if !word.is_option() && !word.text.is_empty() => Ok(word.text.clone()),
            _ => Err(Fault::NoName { after }),
        }
    }

    fn one_of(
        &mut self,
        after: &'static str,
        wanted: &'static [&'static str],
    ) -> Result<&'static str, Fault> {
        let word = self.next();
        let found = wanted.iter().find(|w| word.is_some_and(|word| word.is(w)));
        found.copied().ok_or(Fault::NoQualifier { after, wanted: wanted[0] })
    }

    // The words up to the next option.
    fn list<T: Ord>(
        &mut self,
        after: &'static str,
        may_be_empty: bool,
        read: impl Fn(&Word) -> Result<T, Fault>,
    ) -> Result<BTreeSet<T>, Fault> {
        let mut out = BTreeSet::new();
        while let Some(word) = self.words.get(self.at).filter(|w| !w.is_option()) {
            self.at += 1;
            if !out.insert(read(word)?) {
                return Err(Fault::Twice { found: word.text.clone() });
            }
        }
        if out.is_empty() && !may_be_empty {
            return Err(Fault::NoName { after });
        }
        Ok(out)
    }
}

/// Why a file is no policy.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PolicyError {
    /// Larger than any policy.
    #[error("the policy has {found} bytes; at most {MAX_POLICY} are read")]
    TooLarge {
        /// Its size.
        found: usize,
    },
    /// A policy is text.
    #[error("the policy is not valid UTF-8 at byte {at}")]
    NotUtf8 {
        /// Offset of the first bad byte.
        at: usize,
    },
    /// A line that every policy has is not there.
    #[error("the policy has no {what:?} line; {}", if *.what == "log" {
        "it needs one for each log whose signature counts"
    } else {
        "write \"quorum none\" if no witness is asked for"
    })]
    Missing {
        /// The line's keyword.
        what: &'static str,
    },
    /// A line is wrong.
    #[error("line {line} of the policy: {fault}")]
    Line {
        /// Its number, from 1.
        line: usize,
        /// What is wrong.
        fault: Fault,
    },
}

/// What is wrong with a line.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// A character that no policy may hold.
    #[error(
        "it holds the character {found:?}; control and invisible characters are refused (was it saved with CR LF?)"
    )]
    Character {
        /// The character.
        found: char,
    },
    /// Quotes that do not match.
    #[error("a quoted word is \"…\" with \\\" and \\\\ inside, and stands by itself")]
    Quote,
    /// A keyword that is none.
    #[error(
        "it begins with {found:?}; known are log, witness, auditor, group, quorum, audit, max-gap, witnessed-within, fresh-within, unpinned, network and #"
    )]
    Keyword {
        /// The first word.
        found: String,
    },
    /// Too few or too many words.
    #[error("it should read: {wanted}")]
    Form {
        /// The form.
        wanted: &'static str,
    },
    /// Not a key.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// A key for something else.
    #[error("the key of {name} is a {found} key; here stands a {wanted} key")]
    KeyKind {
        /// Name of the key.
        name: String,
        /// What it is for.
        found: KeyKind,
        /// What is needed.
        wanted: KeyKind,
    },
    /// A key that stands on another line already.
    #[error("the key of {name} stands on an earlier line, perhaps under another name; keep one")]
    SameKey {
        /// Name of the key.
        name: String,
    },
    /// A name that cannot be given.
    #[error("{name:?} cannot be a name here")]
    Name {
        /// The name.
        name: String,
    },
    /// A name that is taken.
    #[error("the name {name:?} is given on an earlier line")]
    SameName {
        /// The name.
        name: String,
    },
    /// A name that no earlier line gives.
    #[error("no earlier line defines {name:?}")]
    Undefined {
        /// The name.
        name: String,
    },
    /// A name in two groups.
    #[error("{name:?} is a member of a group already; a name is in one group, once")]
    Grouped {
        /// The name.
        name: String,
    },
    /// A group that can never be reached, or always.
    #[error("of {members} members, \"all\", \"any\" or a number from 1 to {members} can be needed")]
    Threshold {
        /// Members.
        members: usize,
    },
    /// A witness in an audit quorum.
    #[error(
        "{name:?} is a witness; only auditors recompute the log, and only they can be asked for an audit"
    )]
    NotAuditor {
        /// The witness.
        name: String,
    },
    /// A line or option that may stand once.
    #[error("{what:?} stands there a second time")]
    Repeated {
        /// Which.
        what: &'static str,
    },
    /// Not a length of time.
    #[error("{found:?} is not a length of time: a whole number and ms, s, m, h or d, such as 90s")]
    Span {
        /// What stands there.
        found: String,
    },
    /// Too many lines of a kind.
    #[error("there are more than {allowed} {what:?} lines")]
    TooMany {
        /// Which.
        what: &'static str,
        /// The most there may be.
        allowed: usize,
    },
    /// A word where an option should begin.
    #[error(
        "{found:?} stands where an option should begin: {}; quote names that have spaces",
        OPTIONS.join(", ")
    )]
    Option {
        /// The word.
        found: String,
    },
    /// A missing name or list.
    #[error(
        "a name must follow {after:?}; a name that is itself a word of this grammar is written in quotes"
    )]
    NoName {
        /// The word before.
        after: &'static str,
    },
    /// A missing qualifier.
    #[error("{wanted:?} must follow {after:?}{}", if *.after == "members" { ", or \"at-least\"" } else { "" })]
    NoQualifier {
        /// The word before.
        after: &'static str,
        /// What may follow.
        wanted: &'static str,
    },
    /// A stanza without what it must say.
    #[error("the stanza does not say its {option:?}")]
    Without {
        /// The option.
        option: &'static str,
    },
    /// Not a VLAN id.
    #[error("{found:?} is not a VLAN id, 1 to 4094")]
    Vlan {
        /// What stands there.
        found: String,
    },
    /// Not a node and a nic.
    #[error("{found:?} is not node/nic, with exactly one slash")]
    Member {
        /// What stands there.
        found: String,
    },
    /// Not a port.
    #[error("{found:?} is neither switch/port nor a port's handle of 64 lower-case hex digits")]
    Port {
        /// What stands there.
        found: String,
    },
    /// Not a class of bypass.
    #[error("{found:?} is no class of bypass; known are {}", BypassClass::ALL.map(BypassClass::name).join(", "))]
    Class {
        /// What stands there.
        found: String,
    },
    /// Not the number of an entry.
    #[error("{found:?} is not the number of an exception's entry")]
    Exception {
        /// What stands there.
        found: String,
    },
    /// An element twice in a list.
    #[error("{found:?} stands twice in its list")]
    Twice {
        /// The element.
        found: String,
    },
    /// Two stanzas for one claim.
    #[error(
        "line {line} speaks of the same network, domain and project; give each its own vlan, or merge them"
    )]
    SameStanza {
        /// The earlier line.
        line: usize,
    },
    /// Several logs, and a stanza that does not say which.
    #[error(
        "the policy knows logs of several origins; say which one may speak of this network: log <origin>"
    )]
    WhichLog,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::note::NoteSigner;
    use proptest::prelude::*;

    fn log(n: u8) -> String {
        NoteSigner::new(&format!("audit.example/{n}"), &[n; 32]).unwrap().verifier().to_string()
    }

    fn witness(n: u8) -> String {
        NoteSigner::cosigner(&format!("witness.example/{n}"), &[100 + n; 32]).unwrap().verifier().to_string()
    }

    fn parse(text: &str) -> Result<Policy, PolicyError> {
        Policy::parse(text.as_bytes())
    }

    fn fault(text: &str) -> (usize, Fault) {
        match parse(text) {
            Err(PolicyError::Line { line, fault }) => (line, fault),
            other => panic!("{text}: {other:?}"),
        }
    }

    fn base() -> String {
        format!("log {}\nquorum none\n", log(1))
    }

    fn with(stanza: &str) -> Result<Stanza, PolicyError> {
        parse(&format!("{}{stanza}\n", base())).map(|p| p.stanzas()[0].clone())
    }

    fn t(s: u64) -> Timestamp {
        Timestamp::from_millis(s * 1000).unwrap()
    }

    #[test]
    fn the_smallest_policy_has_stated_defaults() {
        let p = parse(&base()).unwrap();
        assert_eq!((p.quorum(), p.audit(), p.unpinned()), (None, None, false));
        assert_eq!(p.max_gap(), Span::parse("5m").unwrap());
        assert_eq!(p.witnessed_within(), Span::parse("15m").unwrap());
        assert_eq!(p.fresh_within(), Span::parse("15m").unwrap());
        assert_eq!(p.digest(), Digest::of(base().as_bytes()));
        assert!(p.stanzas().is_empty());
        assert_eq!(parse(""), Err(PolicyError::Missing { what: "log" }));
        assert_eq!(parse(&format!("log {}", log(1))), Err(PolicyError::Missing { what: "quorum" }));
    }

    #[test]
    fn spaces_tabs_comments_and_blank_lines() {
        let text =
            format!("  # a comment\n\n\tlog\t{}   https://x.example/#frag  \n\t\n quorum \t none", log(1));
        let p = parse(&text).unwrap();
        assert_eq!(p.logs()[0].url.as_deref(), Some("https://x.example/#frag"));
        // A comment stands on a line of its own, as in tlog-policy.
        assert_eq!(
            fault(&format!("log {}\nquorum none # why", log(1))).1,
            Fault::Form { wanted: "quorum <name>|none" }
        );
    }

    #[test]
    fn quorums_are_reached_at_the_kth_time() {
        let mut text = format!("log {}\n", log(1));
        for n in 1..=5 {
            text += &format!("witness w{n} {}\n", witness(n));
        }
        text += "group g 2 w1 w2 w3\ngroup h any w4 w5\ngroup both all g h\nquorum both\n";
        let p = parse(&text).unwrap();
        let q = p.quorum().unwrap();
        assert_eq!(p.quorum_in_words(q), "all of (2 of (w1, w2, w3), 1 of (w4, w5))");
        let reached = |times: [Option<u64>; 5]| q.reached(&|i| times[i].map(t));
        assert_eq!(reached([Some(9), Some(3), Some(7), None, Some(5)]), Some(t(7)));
        assert_eq!(reached([Some(9), Some(3), None, Some(1), Some(50)]), Some(t(9)));
        assert_eq!(reached([Some(9), None, None, Some(1), Some(1)]), None);
        assert_eq!(reached([Some(1), Some(1), Some(1), None, None]), None);
    }

    #[test]
    fn lines_that_are_refused() {
        let (l, w1, w2) = (log(1), witness(1), witness(2));
        let twin = NoteSigner::cosigner("another.example", &[101; 32]).unwrap().verifier().to_string();
        let own = NoteSigner::cosigner("audit.example/1", &[1; 32]).unwrap().verifier().to_string();
        for (text, line, want) in [
            (format!("log {l}\r\nquorum none\n"), 1, "character"),
            (format!("log {l}\nquorum none\n# \u{202e}hidden\n"), 3, "character"),
            (format!("log {l}\nquorum \"none"), 2, "quoted"),
            (format!("log {l}\nlog {l}\nquorum none"), 2, "keep one"),
            (format!("log {w1}\nquorum none"), 1, "signing"),
            (format!("log {l}x\nquorum none"), 1, "verifier key"),
            (format!("log {l}\nwitness w {l}\nquorum none"), 2, "cosigning"),
            (format!("log {l}\nwitness w {own}\nquorum none"), 2, "keep one"),
            (format!("log {l}\nwitness a {w1}\nwitness b {twin}\nquorum none"), 3, "keep one"),
            (format!("log {l}\nwitness a {w1}\nauditor a {w2}\nquorum none"), 3, "earlier line"),
            (format!("log {l}\nwitness none {w1}\nquorum none"), 2, "cannot be a name"),
            (format!("log {l}\nwitness a\nquorum none"), 2, "witness <name>"),
            (format!("log {l}\nquorum a\nwitness a {w1}"), 2, "defines"),
            (format!("log {l}\nquorum none\nquorum none"), 3, "second time"),
            (format!("log {l}\ngroup g any a\nquorum none"), 2, "defines"),
            (format!("log {l}\ngroup g any\nquorum none"), 2, "needed"),
            (format!("log {l}\nwitness a {w1}\ngroup g 2 a\nquorum none"), 3, "needed"),
            (format!("log {l}\nwitness a {w1}\ngroup g 0 a\nquorum none"), 3, "needed"),
            (format!("log {l}\nwitness a {w1}\ngroup g 01 a\nquorum none"), 3, "needed"),
            (format!("log {l}\nwitness a {w1}\ngroup g 1 a a\nquorum none"), 3, "one group"),
            (format!("log {l}\nwitness a {w1}\ngroup g any a\ngroup h any a\nquorum none"), 4, "one group"),
            (format!("log {l}\nwitness a {w1}\ngroup g any g\nquorum none"), 3, "defines"),
            (format!("log {l}\nwitness a {w1}\naudit a\nquorum none"), 3, "auditors"),
            (format!("log {l}\nquorum none\nmax-gap 5"), 3, "length of time"),
            (format!("log {l}\nquorum none\nmax-gap 5m\nmax-gap 5m"), 4, "second time"),
            (format!("log {l}\nquorum none\nunpinned yes"), 3, "unpinned"),
            (format!("log {l}\nquorum none\nunpinned\nunpinned"), 4, "second time"),
            (format!("log {l}\nquorum none\nmagic on"), 3, "begins with"),
            (format!("log {l}\nquorum none\n\"log\" {l}"), 3, "begins with"),
        ] {
            let (at, f) = fault(&text);
            assert!(at == line && f.to_string().contains(want), "{text}\nline {at}: {f}");
        }
        assert_eq!(Policy::parse(b"log \xff"), Err(PolicyError::NotUtf8 { at: 4 }));
        assert!(matches!(Policy::parse(&vec![b'#'; MAX_POLICY + 1]), Err(PolicyError::TooLarge { .. })));
    }

    #[test]
    fn stanzas_in_full() {
        let handle = "ab".repeat(32);
        let s = with(&format!(
            "network red-net domain moc project red vlan 100 members exactly n1/eth0 n2/eth0 exits exactly \
             core-router \"my exit\" public ok accept-unassessed sw1/gi1/0/5 {handle} accept-unread flows mirror \
             accept-exception 17 9"
        ))
        .unwrap();
        assert_eq!(
            (s.line, s.network.as_str(), s.domain.as_str(), s.project.as_str()),
            (3, "red-net", "moc", "red")
        );
        assert_eq!(s.vlan, VlanId::new(100));
        let nic = |n: &str| (n.to_owned(), "eth0".to_owned());
        assert_eq!(s.members, Some(Members { exactly: true, nics: [nic("n1"), nic("n2")].into() }));
        assert_eq!(s.exits, Some(["core-router".to_owned(), "my exit".to_owned()].into()));
        assert!(s.public_ok);
        assert!(s.accept_unassessed.contains(&PortRef::Named(PortId::new("sw1", "gi1/0/5"))));
        assert!(s.accept_unassessed.contains(&PortRef::Handle(Digest([0xab; 32]))));
        assert_eq!(s.accept_unread, [BypassClass::Flows, BypassClass::Mirror].into());
        assert_eq!(s.accept_exceptions, [9, 17].into());
        // Options may stand in any order; a quoted word is never one.
        let s = with("network \"domain\" project \"vlan\" exits exactly domain moc").unwrap();
        assert_eq!((s.network.as_str(), s.project.as_str(), s.domain.as_str()), ("domain", "vlan", "moc"));
        assert_eq!(s.exits, Some(BTreeSet::new()));
        let s = with("network x domain moc project \"a \\\"b\\\" \\\\c\"").unwrap();
        assert_eq!(s.project, "a \"b\" \\c");
    }

    #[test]
    fn stanzas_that_are_refused() {
        for (stanza, want) in [
            ("network", "must follow"),
            ("network domain moc project red", "must follow"),
            ("network x project red", "\"domain\""),
            ("network x domain moc", "\"project\""),
            ("network x domain moc project", "must follow"),
            ("network x domain moc project red vlan 4095", "VLAN id"),
            ("network x domain moc project red vlan 0100", "VLAN id"),
            ("network x domain moc project red green", "option should begin"),
            ("network x domain moc project red members n1/eth0", "at-least"),
            ("network x domain moc project red members at-least", "must follow"),
            ("network x domain moc project red members exactly n1", "one slash"),
            ("network x domain moc project red members exactly n1/a/b", "one slash"),
            ("network x domain moc project red members exactly n1/a n1/a", "twice"),
            ("network x domain moc project red exits core", "exactly"),
            ("network x domain moc project red public", "ok"),
            ("network x domain moc project red public maybe", "ok"),
            ("network x domain moc project red public ok public ok", "second time"),
            ("network x domain moc project red accept-unread", "must follow"),
            ("network x domain moc project red accept-unread cabling", "known are"),
            ("network x domain moc project red accept-unassessed sw1", "handle"),
            ("network x domain moc project red accept-exception 01", "number"),
            ("network x domain moc project red vlan 1 vlan 1", "second time"),
            ("network x domain moc project red log elsewhere.example", "defines"),
            ("network x domain moc project red\nnetwork x domain moc project red vlan 7", "line 3"),
            ("network x domain moc project red vlan 7\nnetwork x domain moc project red vlan 7", "line 3"),
            ("network x domain moc project \"re\"d", "by itself"),
            ("network x domain moc project re\"d", "by itself"),
            ("network x domain moc project \"re\\d\"", "by itself"),
            ("network x domain moc project \"\"", "must follow"),
        ] {
            let e = with(stanza).unwrap_err().to_string();
            assert!(e.contains(want), "{stanza}\n{e}");
        }
    }

    #[test]
    fn with_two_logs_a_stanza_says_which() {
        let two = format!("log {}\nlog {}\nquorum none\n", log(1), log(2));
        let stanza = "network x domain moc project red";
        assert_eq!(fault(&format!("{two}{stanza}")), (4, Fault::WhichLog));
        let p = parse(&format!("{two}{stanza} log audit.example/2")).unwrap();
        let v = VlanId::new(7).unwrap();
        assert!(p.stanza("x", "moc", "red", v, "audit.example/2").is_some());
        assert!(p.stanza("x", "moc", "red", v, "audit.example/1").is_none());
        // Two keys of one log are one origin.
        let rotated = NoteSigner::new("audit.example/1", &[9; 32]).unwrap().verifier().to_string();
        assert!(parse(&format!("log {}\nlog {rotated}\nquorum none\n{stanza}", log(1))).is_ok());
    }

    #[test]
    fn a_stanza_matches_all_it_says() {
        let p = parse(&format!("{}network x domain moc project red vlan 7", base())).unwrap();
        let m = |n, d, q, v| p.stanza(n, d, q, VlanId::new(v).unwrap(), "audit.example/1").is_some();
        assert!(m("x", "moc", "red", 7));
        assert!(!m("y", "moc", "red", 7) && !m("x", "nerc", "red", 7));
        assert!(!m("x", "moc", "blue", 7) && !m("x", "moc", "red", 8));
    }

    #[test]
    fn at_least_32_of_each_are_read() {
        let mut text = String::new();
        let key = |n: u8, kind: u8| {
            let seed = [n, kind].repeat(16).try_into().unwrap();
            let name = format!("k{kind}.example/{n}");
            let s =
                if kind == 0 { NoteSigner::new(&name, &seed) } else { NoteSigner::cosigner(&name, &seed) };
            s.unwrap().verifier().to_string()
        };
        for n in 0..32 {
            text += &format!("log {}\nwitness w{n} {}\nauditor a{n} {}\n", key(n, 0), key(n, 1), key(n, 2));
            text += &format!(
                "group g{n} any w{n} {}\n",
                if n == 0 { "a0".into() } else { format!("g{}", n - 1) }
            );
        }
        text += "quorum g31\n";
        let p = parse(&text).unwrap();
        assert_eq!((p.logs().len(), p.cosigners().len()), (32, 64));
        assert_eq!(p.quorum().unwrap().reached(&|i| (i == 0).then(|| t(5))), Some(t(5)));
        for n in 32..=128 {
            text += &format!("log {}\n", key(n, 0));
        }
        assert_eq!(fault(&text).1, Fault::TooMany { what: "log", allowed: MAX_EACH });
    }

    #[test]
    fn in_words() {
        let text = format!(
            "unpinned\nlog {}\nwitness w1 {}\nauditor a1 {}\nquorum w1\naudit a1\nmax-gap 90s\n\
             network red-net domain moc project red members exactly exits exactly\n",
            log(1),
            witness(1),
            witness(2)
        );
        let p = parse(&text).unwrap();
        let words = p.explain();
        for part in [
            "UNPINNED",
            p.digest().to_hex().as_str(),
            p.logs()[0].key.fingerprint().as_str(),
            "witness w1 (witness.example/1)",
            "auditor a1",
            "when w1 cosigned",
            "longer than 90s",
            "\"red-net\" of domain \"moc\", attested for project \"red\"",
            "nobody, and nobody else",
            "No exit may carry it",
            "must not be public",
        ] {
            assert!(words.contains(part), "{part}\n{words}");
        }
    }

    proptest! {
        #[test]
        fn every_name_survives_as_a_word(name in "[ -~äß]{1,20}") {
            let text = format!("network {} domain moc project red", word(&name).unwrap());
            prop_assert_eq!(with(&text).unwrap().network, name);
        }

        #[test]
        fn a_changed_byte_is_an_error_or_another_policy(at: usize, byte: u8) {
            let text = format!("{}max-gap 90s\nnetwork x domain moc project red vlan 7 public ok\n", base());
            let good = parse(&text).unwrap();
            let mut bytes = text.into_bytes();
            let at = at % bytes.len();
            prop_assume!(bytes[at] != byte);
            bytes[at] = byte;
            if let Ok(other) = Policy::parse(&bytes) {
                prop_assert_ne!(other.digest(), good.digest());
            }
        }

        #[test]
        fn arbitrary_text_never_panics(text in "((log|witness|auditor|group|quorum|audit|network|max-gap) ?)?[ -~\t\n\"\\\\é]{0,80}") {
            let _ = parse(&text);
            let _ = parse(&format!("{}{text}", base()));
        }
    }
}
