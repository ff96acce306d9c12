//! The dialect `cisco-nexus`: Nexus 3500 and 5500 (NX-OS), read at their command line.
//!
//! # In scope
//! Every port of `show interface switchport`, in the words of the page `docs/dialects/cisco-nexus.md`: what an access
//! or trunk port carries, which bundle it is in, whether it is shut down, and the bypass classes.
//!
//! # Out of scope
//! The running configuration, which holds secrets. Private VLANs, FabricPath and the links to fabric extenders: their
//! ports are unreadable and count for every VLAN.
//!
//! # Trust
//! One output may have lost a line and look whole. So what could take a VLAN away is believed only where it is complete
//! or a second command agrees: a port's record must have its last field, a port that only one listing knows is
//! unreadable, a trunk's list must be the same in both places it is printed, and a port counts as bundled only when
//! two tables say so.

use crate::console::{Answers, ConsoleDialect, ConsoleReader, Tidied};
use crate::dialect::{Dialect, Reach};
use crate::net::console::{ENABLE, Manner};
use crate::{Evidence, SourceError};
use isoledger_core::model::{Anomaly, BypassClass, BypassReading, Observed, PortReading, PortState};
use isoledger_core::vlan::{VlanId, VlanSet};
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

#[cfg(test)]
mod tests;

/// The dialect's name.
pub const DIALECT: &str = "cisco-nexus";
/// The parser's version; moves when the same evidence may read differently.
pub const VERSION: u32 = 1;

/// A record for every port: the VLANs.
pub const SWITCHPORT: &str = "show interface switchport";
/// A line for every port: configured mode, administrative state, bundle; and the layer 3 interfaces.
pub const BRIEF: &str = "show interface brief";
/// The lists of allowed VLANs a second time.
pub const TRUNK: &str = "show interface trunk";
/// Which ports are bundled.
pub const BUNDLES: &str = "show port-channel summary";
/// The SPAN sessions.
pub const SESSIONS: &str = "show monitor session all";
/// Layer 3 interfaces with an IPv4 address.
pub const ROUTES: &str = "show ip interface brief vrf all";
/// What is switched on at all.
pub const FEATURES: &str = "show feature";

/// Its pager can be turned off for the session, and lines made long; neither is relied upon.
const PREPARE: [&str; 2] = ["terminal length 0", "terminal width 511"];
const COMMANDS: [&str; 7] = [SWITCHPORT, BRIEF, TRUNK, BUNDLES, SESSIONS, ROUTES, FEATURES];
const MANNER: Manner = Manner { pagers: &["--More--"] };

/// The dialect.
pub const NEXUS: Dialect = Dialect {
    name: DIALECT,
    version: VERSION,
    title: "Cisco Nexus 3500 and 5500 (NX-OS)",
    sends: &[PREPARE[0], PREPARE[1], ENABLE, SWITCHPORT, BRIEF, TRUNK, BUNDLES, SESSIONS, ROUTES, FEATURES],
    bypasses: &BYPASS_TABLE,
    normalise,
    reach: Reach::Console(|settings| Box::new(ConsoleReader::new(&CONSOLE, settings))),
};

/// How it is spoken.
pub const CONSOLE: ConsoleDialect = ConsoleDialect {
    dialect: &NEXUS,
    manner: MANNER,
    prepare: &PREPARE,
    commands: &COMMANDS,
    closing: PREPARE[0],
    // A caret below the word that was not understood comes first.
    refusals: &["%", "^", "Syntax error"],
    tidy,
};

/// Leaves out for which VLANs of a trunk spanning tree forwards: a change of topology anywhere changes it, and a VLAN that
/// is blocked today is carried tomorrow. It is the last table; the one that is read stands before it.
fn tidy(command: &str, line: &str) -> Tidied {
    let mut words = line.split_whitespace();
    let heading = words.next().is_some_and(|w| w.eq_ignore_ascii_case("port"));
    if command == TRUNK && heading && is_about_spanning_tree(&words.collect::<Vec<_>>().join(" ")) {
        return Tidied::DropRest;
    }
    Tidied::Keep
}

/// Whether a heading of `show interface trunk` begins the table of what spanning tree does, in either wording.
fn is_about_spanning_tree(heading: &str) -> bool {
    let heading = heading.to_ascii_lowercase();
    heading.starts_with("stp forwarding") || heading.starts_with("vlans in spanning tree forwarding state")
}

/// More ports than any switch of this family has, extenders included.
const MAX_PORTS: usize = 4096;
/// The most fields of a record that are looked at, and the most bytes of one value.
const MAX_FIELDS: usize = 64;
const MAX_VALUE: usize = 32 << 10;

/// For each class, when a switch is clean, dirty or not read, and why.
pub const BYPASS_TABLE: [(BypassClass, &str); 9] = [
    (
        BypassClass::Flows,
        "Dirty, for every VLAN: `show feature` says that `openflow` is enabled. Not read otherwise: VLAN access maps, \
         port access lists and policy routes that redirect frames are not asked for.",
    ),
    (
        BypassClass::Controller,
        "Dirty, for every VLAN: `show feature` says that `openflow` is enabled. Not read otherwise: an agent may run as \
         a virtual service, which has no row there.",
    ),
    (
        BypassClass::Mirror,
        "Read by `show monitor session all`, `Switchport Monitor`, the VLAN column of `show interface brief` and the \
         row `sflow` of `show feature`. Dirty, for every VLAN: a session that is not shut, a port that is a SPAN \
         destination, or sFlow. Clean: there is no session, or each is shut, and no port is a destination. Not read: a \
         command failed or was not understood.",
    ),
    (
        BypassClass::IngressFiltering,
        "Clean by construction: a port drops a tagged frame of a VLAN it does not carry, and there is no command to turn \
         that off.",
    ),
    (
        BypassClass::Routing,
        "Read by `show interface brief` and `show ip interface brief vrf all`. Dirty, for their VLANs: VLAN interfaces \
         and tagged subinterfaces that are not shut down. Clean: neither command lists any. Not read: either failed or \
         was not understood as a whole.",
    ),
    (
        BypassClass::Translation,
        "Not read: no output of `switchport vlan mapping` on these switches is known to this reader.",
    ),
    (
        BypassClass::Classification,
        "Clean by construction: these switches have no VLANs by MAC address, protocol or subnet.",
    ),
    (
        BypassClass::Dynamic,
        "Read by `show feature`. Dirty, for every VLAN: `dot1x`, `evb`, `vmfex` or `vtp` is enabled. Clean: each of the \
         four has a row and is disabled. Not read otherwise. A voice VLAN is read per port and counts as carried.",
    ),
    (
        BypassClass::DoubleTagging,
        "Read by the mode of each port. Dirty, for every VLAN: a port is in mode `dot1q-tunnel`, whose frames bring a \
         tag of their own. Not read: the mode of some port was not understood. Clean otherwise: the switch looks at the \
         outer tag only, and what lies behind an untagged port is judged as a link.",
    ),
];

/// What a switch did, from the evidence of one reading of it. Pure.
///
/// Fails when the switch did not answer [`SWITCHPORT`] or [`BRIEF`]: without both a missing port cannot be told from
/// one that is not there.
pub fn normalise(evidence: &Evidence) -> Result<Observed, SourceError> {
    let answers = Answers::of(MANNER, evidence);
    let listing = answers.text(SWITCHPORT).map_err(SourceError::unreadable)?;
    let brief = answers.text(BRIEF).map_err(SourceError::unreadable)?;
    let mut observed = Observed::default();
    let records = records(&listing, &mut observed);
    let brief = Brief::of(&brief);
    if brief.ports.is_empty() && brief.damaged.is_empty() {
        note(&mut observed, BRIEF, "it lists no port; what is missing elsewhere cannot be told".into());
    }
    let trunks = answers.text(TRUNK).ok().and_then(|text| trunk_lists(&text));
    let bundles = answers.text(BUNDLES).map(|text| bundles(&text)).unwrap_or_default();
    let features = answers.text(FEATURES).and_then(|text| features(&text));

    let created = created(&records);
    let voiced: BTreeSet<Kind> =
        records.iter().filter(|r| r.fields.contains_key(VOICE)).map(|r| r.kind).collect();
    let mut bypasses = Bypasses::default();
    for record in &records {
        let facts = Facts {
            brief: brief.ports.get(&record.name),
            allowed_again: trunks.as_ref().and_then(|lists| lists.get(&record.name)),
            created: &created,
            voice_expected: voiced.contains(&record.kind),
        };
        let reading = record.reading(&facts, &mut bypasses);
        if observed.ports.insert(record.name.clone(), reading).is_some() {
            observed.ports.insert(
                record.name.clone(),
                unreadable(VlanSet::all(), "the switch lists this port twice".into()),
            );
        }
    }
    for (name, line) in &brief.ports {
        observed.ports.entry(name.clone()).or_insert_with(|| {
            if line.routed() { PortReading::Read(line.state()) } else { bypasses.unlisted(name) }
        });
    }
    for name in &brief.damaged {
        observed.ports.entry(name.clone()).or_insert_with(|| bypasses.unlisted(name));
    }
    bundle(&mut observed, &brief, &bundles);
    let listed_by_brief = observed.ports.keys().all(|name| brief.ports.contains_key(name));
    bypasses.finish(
        &mut observed,
        answers.text(SESSIONS).and_then(|text| sessions(&text)),
        routing(&brief, listed_by_brief, answers.text(ROUTES)),
        features,
        brief.monitors,
    );
    Ok(observed)
}

fn note(observed: &mut Observed, about: &str, what: String) {
    observed.anomalies.push(Anomaly { about: about.to_owned(), what });
}

fn unreadable(might_carry: VlanSet, why: String) -> PortReading {
    PortReading::Unreadable { might_carry, why }
}

/// The beginning of what was found, fit for a sentence.
fn excerpt(text: &str) -> String {
    let text = text.trim();
    let short: String = text.chars().take(60).collect();
    if short.len() < text.len() { format!("{short:?}…") } else { format!("{short:?}") }
}

// ---- names ---------------------------------------------------------------------------------------------------------

/// The kinds of ports that have VLANs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Ethernet,
    PortChannel,
    Vethernet,
}

const KINDS: [(Kind, &str, &str); 3] = [
    (Kind::Ethernet, "ethernet", "eth"),
    (Kind::PortChannel, "port-channel", "po"),
    (Kind::Vethernet, "vethernet", "veth"),
];

/// A port's kind and its name in lower case, unabridged, from either spelling: `Ethernet1/12` or `Eth1/12`.
fn port_name(text: &str) -> Option<(Kind, String)> {
    let at = text.find(|c: char| c.is_ascii_digit())?;
    let (word, number) = text.split_at(at);
    let word = word.to_ascii_lowercase();
    let (kind, long, _) = KINDS.into_iter().find(|(_, long, short)| word == *long || word == *short)?;
    let parts: Vec<&str> = number.split('/').collect();
    let allowed = if kind == Kind::Ethernet { 2..=3 } else { 1..=1 };
    let digits = |part: &&str| (1..=5).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_digit());
    (allowed.contains(&parts.len()) && parts.iter().all(digits)).then(|| (kind, format!("{long}{number}")))
}

// ---- show interface switchport -------------------------------------------------------------------------------------

/// What the switch prints about one port, before it is understood.
struct Record {
    kind: Kind,
    name: String,
    fields: BTreeMap<String, String>,
    /// The first line that is no field.
    broken: Option<String>,
}

/// Cuts the listing into records. What stands before the first is of no port, and an anomaly.
fn records(text: &str, observed: &mut Observed) -> Vec<Record> {
    let mut records: Vec<Record> = Vec::new();
    let mut strays: Option<(usize, String)> = None;
    // The list of a trunk is the one value that goes on in the next line, and then a comma says so.
    let mut unfinished: Option<String> = None;
    for line in text.lines() {
        let trimmed = line.trim();
        if trimmed.is_empty() {
            continue;
        }
        if let Some(name) = line.strip_prefix("Name:") {
            unfinished = None;
            if records.len() == MAX_PORTS {
                note(
                    observed,
                    SWITCHPORT,
                    format!("it lists more than {MAX_PORTS} ports; the rest was not read"),
                );
                break;
            }
            match port_name(name.trim()) {
                Some((kind, name)) => {
                    records.push(Record { kind, name, fields: BTreeMap::new(), broken: None });
                    continue;
                }
                // The lines that follow would be taken for the port's before it.
                None => {
                    note(
                        observed,
                        SWITCHPORT,
                        format!(
                            "found the port name {}; known are Ethernet, port-channel and Vethernet with their numbers",
                            excerpt(name)
                        ),
                    );
                    return records;
                }
            }
        }
        let Some(record) = records.last_mut() else {
            let (count, _) = strays.get_or_insert_with(|| (0, excerpt(trimmed)));
            *count += 1;
            continue;
        };
        if let Some(key) = unfinished.take()
            && trimmed.bytes().all(|b| b.is_ascii_digit() || matches!(b, b',' | b'-' | b' '))
        {
            if let Some(value) = record.fields.get_mut(&key) {
                value.push_str(trimmed);
                unfinished = value.ends_with(',').then_some(key);
                if value.len() > MAX_VALUE {
                    record.breaks(format!("the list of VLANs is longer than {MAX_VALUE} bytes"));
                    unfinished = None;
                }
            }
            continue;
        }
        match trimmed.split_once(':').map(|(key, value)| (key.trim(), value.trim())) {
            Some((key, value))
                if is_key(key) && value.len() <= MAX_VALUE && record.fields.len() < MAX_FIELDS =>
            {
                if key == ALLOWED && value.ends_with(',') {
                    unfinished = Some(key.to_owned());
                }
                if record.fields.insert(key.to_owned(), value.to_owned()).is_some() {
                    record.breaks(format!("the field {key:?} stands there twice"));
                }
            }
            _ => record.breaks(format!("found the line {}, which is no field", excerpt(trimmed))),
        }
    }
    if let Some((count, first)) = strays {
        note(observed, SWITCHPORT, format!("{count} lines before the first port, beginning with {first}"));
    }
    if records.is_empty() {
        note(observed, SWITCHPORT, "it lists no port".into());
    }
    records
}

fn is_key(key: &str) -> bool {
    key.len() <= 80
        && key.starts_with(|c: char| c.is_ascii_alphabetic())
        && key.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b' ' | b'-' | b'/'))
}

const STATE: &str = "Switchport";
const MONITOR: &str = "Switchport Monitor";
const MODE: &str = "Operational Mode";
const ACCESS: &str = "Access Mode VLAN";
const NATIVE: &str = "Trunking Native Mode VLAN";
const ALLOWED: &str = "Trunking VLANs Allowed";
const VOICE: &str = "Voice VLAN";
/// The mode whose frames bring a tag of their own.
const TUNNEL: &str = "dot1q-tunnel";
/// The last field of a record that every release prints: a record without it was cut.
const LAST: &str = "Operational private-vlan";

/// Fields that neither add a VLAN nor move a frame to another.
const HARMLESS: [&str; 5] = [
    "Switchport Isolated",
    "Switchport Block Multicast",
    "Switchport Block Unicast",
    "Extended Trust State",
    "Virtual Ethernet Bridge Forwarding",
];
/// Values that say that a field, known or not, does nothing.
const NEUTRAL: [&str; 7] = ["none", "not enabled", "disabled", "off", "no", "n/a", "--"];

/// What else is known about a port.
struct Facts<'a> {
    brief: Option<&'a BriefLine>,
    allowed_again: Option<&'a VlanSet>,
    /// The VLANs that some record calls by a name.
    created: &'a VlanSet,
    /// Another port of this kind has the field, so this one's was lost.
    voice_expected: bool,
}

/// The two modes whose VLANs are known, and the third that adds a tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    Access,
    Trunk,
    Tunnel,
}

/// A VLAN as a record prints it: `30 (servers)`, `2222 (Vlan not created)`.
struct Printed {
    id: VlanId,
    /// Whether the VLAN exists; `None` where no name follows.
    exists: Option<bool>,
}

impl Printed {
    fn parse(text: &str) -> Option<Printed> {
        let (number, rest) = match text.split_once(' ') {
            Some((number, rest)) => (number, rest.trim()),
            None => (text, ""),
        };
        let id = VlanId::parse(number)?;
        if rest.is_empty() {
            return Some(Printed { id, exists: None });
        }
        let name = rest.strip_prefix('(')?.strip_suffix(')')?;
        // Names hold no spaces, so no VLAN can be named like that, and any other phrase is not understood.
        let absent = name.eq_ignore_ascii_case("vlan not created");
        (absent || !name.contains(' ')).then_some(Printed { id, exists: Some(!absent) })
    }
}

/// The VLANs that some record calls by a name. A VLAN that is created while the listing runs is "not created" in its
/// beginning only.
fn created(records: &[Record]) -> VlanSet {
    let fields = records.iter().flat_map(|r| [ACCESS, NATIVE, VOICE].map(|key| r.fields.get(key)));
    fields
        .flatten()
        .filter_map(|value| Printed::parse(value))
        .filter(|vlan| vlan.exists == Some(true))
        .map(|vlan| vlan.id)
        .collect()
}

/// A list of VLANs as the switch prints it: `none`, or numbers and ranges.
fn vlan_list(text: &str) -> Option<VlanSet> {
    if text == "none" {
        return Some(VlanSet::empty());
    }
    let text: String = text.split(' ').collect();
    text.starts_with(|c: char| c.is_ascii_digit()).then(|| VlanSet::parse(&text)).flatten()
}

impl Record {
    fn breaks(&mut self, why: String) {
        self.broken.get_or_insert(why);
    }

    fn field(&self, key: &'static str) -> Result<&str, String> {
        match self.fields.get(key) {
            Some(value) => Ok(value),
            None => Err(format!("the field {key:?} is missing; was the answer cut?")),
        }
    }

    fn vlan(&self, key: &'static str) -> Result<Printed, String> {
        let text = self.field(key)?;
        Printed::parse(text)
            .ok_or_else(|| format!("found {} as {key:?}; allowed is a VLAN from 1 to 4094", excerpt(text)))
    }

    fn enabled(&self, key: &'static str) -> Result<bool, String> {
        match self.field(key)? {
            "Enabled" => Ok(true),
            "Disabled" | "Not enabled" => Ok(false),
            other => Err(format!("found {} as {key:?}; known are Enabled and Disabled", excerpt(other))),
        }
    }

    fn reading(&self, facts: &Facts<'_>, bypasses: &mut Bypasses) -> PortReading {
        match self.enabled(MONITOR) {
            Ok(true) => bypasses.destinations.push(self.name.clone()),
            Ok(false) => {}
            // Only a switchport can be a destination, and the record of a routed port may be shorter.
            Err(_) if self.enabled(STATE) == Ok(false) => {}
            Err(why) => bypasses.monitors_unread.push(format!("{}: {why}", self.name)),
        }
        if self.field(MODE).is_ok_and(|mode| mode.eq_ignore_ascii_case(TUNNEL)) {
            bypasses.tunnels.push(self.name.clone());
        }
        match self.state(facts) {
            Ok(state) => PortReading::Read(state),
            Err((might_carry, why)) => {
                bypasses.modes_unread.push(self.name.clone());
                unreadable(might_carry, why)
            }
        }
    }

    /// What the port does, or the VLANs it might carry and why no more can be said.
    fn state(&self, facts: &Facts<'_>) -> Result<PortState, (VlanSet, String)> {
        let all = |why: String| (VlanSet::all(), why);
        if let Some(why) = &self.broken {
            return Err(all(why.clone()));
        }
        let mut state = match facts.brief {
            Some(line) => line.state(),
            None => PortState { ingress_filtering: Some(true), ..PortState::default() },
        };
        if !self.enabled(STATE).map_err(all)? {
            return match facts.brief {
                Some(line) if line.routed() => Ok(state),
                Some(line) => Err(all(format!("it is no switchport and in mode {:?} at once", line.mode))),
                None => Err(all(format!("it is no switchport, and {BRIEF:?} does not list it as routed"))),
            };
        }
        self.field(LAST).map_err(all)?;
        self.unknown_fields().map_err(all)?;
        let access = self.vlan(ACCESS).map_err(all)?;
        let native = self.vlan(NATIVE).map_err(all)?;
        let list = self.field(ALLOWED).map_err(all)?;
        let allowed = vlan_list(list).ok_or_else(|| {
            all(format!("found {} as {ALLOWED:?}; allowed are none and a list such as 1,5-9", excerpt(list)))
        })?;
        let voice = self.voice(facts.voice_expected).map_err(all)?;

        // What either mode would carry, for when it cannot be told which.
        let mut either = allowed.union(&voice);
        either.insert(access.id);
        let mode = self
            .mode(facts.brief)
            .map_err(|(some, why)| if some { (either.clone(), why) } else { all(why) })?;
        if let (Mode::Access | Mode::Tunnel, Some(line)) = (mode, facts.brief)
            && let Some(other) = VlanId::parse(&line.vlan).filter(|v| *v != access.id)
        {
            either.insert(other);
            return Err((either, format!("its access VLAN is {} here and {other} in {BRIEF:?}", access.id)));
        }
        if let (Mode::Trunk, Some(again)) = (mode, facts.allowed_again)
            && *again != allowed
        {
            let why = format!("the VLANs allowed are {allowed} here and {again} in {TRUNK:?}");
            return Err((allowed.union(again).union(&voice), shorten(&why)));
        }
        // Frames of a VLAN that is not there are dropped. It is believed to be absent unless another record names it.
        let absent = |vlan: &Printed| vlan.exists == Some(false) && !facts.created.contains(vlan.id);
        state.tagged = voice;
        match mode {
            Mode::Access | Mode::Tunnel => state.untagged = (!absent(&access)).then_some(access.id),
            Mode::Trunk => {
                // Which of the allowed VLANs exist is not asked: each is carried as soon as it does.
                state.untagged = (allowed.contains(native.id) && !absent(&native)).then_some(native.id);
                state.tagged = state.tagged.union(&allowed);
            }
        }
        if let Some(untagged) = state.untagged {
            state.tagged = state.tagged.difference(&VlanSet::one(untagged));
        }
        Ok(state)
    }

    /// From the operational mode and the configured one. With an error: whether it is one of access and trunk, at least.
    fn mode(&self, brief: Option<&BriefLine>) -> Result<Mode, (bool, String)> {
        let known = |word: &str| match word.to_ascii_lowercase().as_str() {
            "access" => Some(Mode::Access),
            "trunk" => Some(Mode::Trunk),
            TUNNEL => Some(Mode::Tunnel),
            _ => None,
        };
        let now = self.field(MODE).map_err(|why| (false, why))?;
        let configured = brief.map(|line| line.mode.as_str());
        match (known(now), configured.map(|word| (word, known(word)))) {
            (Some(mode), None) => Ok(mode),
            // The brief has one word for access ports and tunnels.
            (Some(Mode::Tunnel), Some((_, Some(Mode::Access)))) => Ok(Mode::Tunnel),
            (Some(mode), Some((_, Some(same)))) if mode == same => Ok(mode),
            // Link down: the mode it will come up in is the configured one.
            (None, Some((_, Some(mode)))) if now.eq_ignore_ascii_case("down") => Ok(mode),
            (None, None) if now.eq_ignore_ascii_case("down") => Err((
                true,
                format!("its link is down and {BRIEF:?} does not list it, so its mode is not known"),
            )),
            (Some(_), Some((word, Some(_)))) => {
                Err((true, format!("it is in mode {now} here and {word:?} in {BRIEF:?}")))
            }
            (Some(_), Some((word, None))) => Err((
                false,
                format!("found {} as its mode in {BRIEF:?}; understood are access and trunk", excerpt(word)),
            )),
            (None, _) => Err((
                false,
                format!(
                    "found {} as {MODE:?}; understood are access, trunk, dot1q-tunnel and down",
                    excerpt(now)
                ),
            )),
        }
    }

    fn voice(&self, expected: bool) -> Result<VlanSet, String> {
        match self.fields.get(VOICE) {
            None if expected => Err(format!("the field {VOICE:?} is missing; was a line lost?")),
            None => Ok(VlanSet::empty()),
            Some(text) if text == "none" => Ok(VlanSet::empty()),
            Some(_) => self.vlan(VOICE).map(|vlan| VlanSet::one(vlan.id)),
        }
    }

    /// A field that is not known may add VLANs, unless its value says that it does nothing.
    fn unknown_fields(&self) -> Result<(), String> {
        for (key, value) in &self.fields {
            let known = [STATE, MONITOR, MODE, ACCESS, NATIVE, ALLOWED, VOICE].contains(&key.as_str())
                || HARMLESS.contains(&key.as_str());
            let neutral = NEUTRAL.contains(&value.to_ascii_lowercase().as_str());
            let encapsulation = key == "Administrative private-vlan trunk encapsulation" && value == "dot1q";
            if !(known || neutral || encapsulation) {
                return Err(format!(
                    "found {} as {key:?}, which this reader does not understand",
                    excerpt(value)
                ));
            }
        }
        Ok(())
    }
}

/// Lists of VLANs can be long; a sentence need not be.
fn shorten(text: &str) -> String {
    if text.len() <= 300 {
        text.to_owned()
    } else {
        format!("{}…", text.chars().take(300).collect::<String>())
    }
}

// ---- show interface brief ------------------------------------------------------------------------------------------

/// One port in `show interface brief`.
#[derive(Clone, Debug, PartialEq, Eq)]
struct BriefLine {
    /// The VLAN column: a number, `--`, `trunk` or `monitor`.
    vlan: String,
    /// The configured mode.
    mode: String,
    /// Administratively down.
    shut: bool,
    /// The bundle it is configured into.
    bundle: Option<String>,
}

impl BriefLine {
    /// A routed port has no VLANs, and in some releases no record.
    fn routed(&self) -> bool {
        self.mode == "routed"
    }

    /// What a port does of which nothing else is known.
    fn state(&self) -> PortState {
        // Filtering always: see the class in the table.
        PortState { admin_down: Some(self.shut), ingress_filtering: Some(true), ..PortState::default() }
    }

    /// `Eth1/3 100 eth trunk down Administratively down auto(D) 24`; the last column of a bundle is its protocol.
    fn parse(words: &[&str]) -> Option<BriefLine> {
        let [_, vlan, kind, mode, status, reason @ .., _, last] = words else { return None };
        let lower = |w: &str| w.bytes().all(|b| b.is_ascii_lowercase() || b == b'-');
        let is_vlan = *vlan == "--" || lower(vlan) || VlanId::parse(vlan).is_some();
        let last_fits = *last == "--" || lower(last) || last.parse::<u16>().is_ok();
        if !is_vlan || !lower(kind) || !lower(mode) || !last_fits || reason.is_empty() || reason.len() > 6 {
            return None;
        }
        let shut = match (*status, reason == ["Administratively", "down"]) {
            ("up", false) | ("down", false) => false,
            ("down", true) => true,
            _ => return None,
        };
        let bundle = last.parse::<u16>().ok().map(|n| format!("port-channel{n}"));
        Some(BriefLine { vlan: (*vlan).to_owned(), mode: (*mode).to_owned(), shut, bundle })
    }
}

/// `show interface brief`, by what its lines begin with: sections come in another order in every release.
#[derive(Default)]
struct Brief {
    ports: BTreeMap<String, BriefLine>,
    /// Ports whose line was not understood.
    damaged: BTreeSet<String>,
    /// Layer 3 interfaces of VLANs that are not shut down.
    routed: BTreeMap<String, VlanSet>,
    /// A port's VLAN is `monitor`.
    monitors: bool,
    /// The first line that was not understood.
    stray: Option<String>,
}

/// Beginnings of lines that are no ports with VLANs: headings, and interfaces of other kinds.
const OTHER: [&str; 20] = [
    "port",
    "interface",
    "ethernet",
    "port-channel",
    "vethernet",
    "mode",
    "(gbps)",
    "mgmt",
    "lo",
    "loopback",
    "tunnel",
    "nve",
    "mti",
    "fc",
    "vfc",
    "sup-eth",
    "san-port-channel",
    "null",
    "vlan",
    "ch",
];

impl Brief {
    fn of(text: &str) -> Brief {
        let mut brief = Brief::default();
        for line in text.lines() {
            let words: Vec<&str> = line.split_whitespace().take(16).collect();
            let Some(first) = words.first() else { continue };
            if first.bytes().all(|b| b == b'-') {
                continue;
            }
            let (name, sub) = first.split_once('.').unwrap_or((first, ""));
            if let Some((_, name)) = port_name(name) {
                let line = BriefLine::parse(&words);
                if sub.is_empty() {
                    brief.port(name, line)
                } else {
                    brief.subinterface(first, line)
                }
                continue;
            }
            let digits = first.trim_start_matches(|c: char| c.is_ascii_alphabetic());
            if let Some(vlan) =
                VlanId::parse(digits).filter(|_| first.to_ascii_lowercase().starts_with("vlan"))
            {
                // Release by release: `Administratively down`, `Admin`.
                let shut = words.iter().any(|w| w.starts_with("Admin")) && words.contains(&"down");
                if !shut {
                    brief.routed.insert(format!("Vlan{vlan}"), VlanSet::one(vlan));
                }
                continue;
            }
            let word = first.trim_end_matches(|c: char| c.is_ascii_digit() || c == '/').to_ascii_lowercase();
            if !OTHER.contains(&word.as_str()) {
                brief.stray.get_or_insert_with(|| excerpt(line));
            }
        }
        brief
    }

    fn port(&mut self, name: String, line: Option<BriefLine>) {
        match line {
            _ if self.damaged.contains(&name) => {}
            Some(line) if self.ports.get(&name).is_none_or(|before| *before == line) => {
                self.monitors |= line.vlan == "monitor";
                self.ports.insert(name, line);
            }
            // Not understood, or two lines that differ.
            _ => {
                self.stray.get_or_insert_with(|| format!("the line of {name}"));
                self.ports.remove(&name);
                self.damaged.insert(name);
            }
        }
    }

    fn subinterface(&mut self, name: &str, line: Option<BriefLine>) {
        let vlans = match line {
            Some(line) if line.shut => return,
            Some(line) => VlanId::parse(&line.vlan).map_or_else(VlanSet::all, VlanSet::one),
            None => VlanSet::all(),
        };
        self.routed.insert(excerpt(name), vlans);
    }
}

// ---- the smaller tables --------------------------------------------------------------------------------------------

/// The lists under `Vlans Allowed on Trunk`; nothing when a line there is not understood.
fn trunk_lists(text: &str) -> Option<BTreeMap<String, VlanSet>> {
    let mut lists: BTreeMap<String, String> = BTreeMap::new();
    let mut current: Option<String> = None;
    let mut inside = false;
    for line in text.lines() {
        if line.len() > MAX_VALUE {
            return None;
        }
        let words: Vec<&str> = line.split_whitespace().collect();
        let Some(first) = words.first() else { continue };
        if first.eq_ignore_ascii_case("port") {
            inside = words[1..].join(" ").eq_ignore_ascii_case("vlans allowed on trunk");
            continue;
        }
        if !inside || first.bytes().all(|b| b == b'-') {
            continue;
        }
        if let Some((_, name)) = port_name(first) {
            if lists.len() == MAX_PORTS || lists.insert(name.clone(), words[1..].concat()).is_some() {
                return None;
            }
            current = Some(name);
        } else {
            let list = lists.get_mut(current.as_ref()?)?;
            if !list.ends_with(',') || list.len() > MAX_VALUE {
                return None;
            }
            list.push_str(&words.concat());
        }
    }
    lists.into_iter().map(|(name, list)| Some((name, vlan_list(&list)?))).collect()
}

/// The bundle each port is in by `show port-channel summary`. What is not understood there bundles nothing.
fn bundles(text: &str) -> BTreeMap<String, String> {
    let mut members: BTreeMap<String, Option<String>> = BTreeMap::new();
    let mut current: Option<String> = None;
    for line in text.lines() {
        let mut words = line.split_whitespace().peekable();
        // A row begins with the group's number, and further members stand below the first ones.
        if words.peek().is_some_and(|w| w.bytes().all(|b| b.is_ascii_digit())) {
            words.next();
            current = words
                .next()
                .and_then(|w| port_name(w.split('(').next().unwrap_or_default()))
                .filter(|(kind, _)| *kind == Kind::PortChannel)
                .map(|(_, name)| name);
        }
        for word in words {
            let Some((port, flags)) = word.strip_suffix(')').and_then(|w| w.split_once('(')) else {
                continue;
            };
            let Some((Kind::Ethernet, port)) = port_name(port) else { continue };
            // Up, down, hot standby, suspended, removed or waiting: in the bundle. An individual port acts alone.
            let bundled = flags.len() == 1 && "PDHsrpb".contains(flags);
            let bundle = current.clone().filter(|_| bundled);
            if members.len() < MAX_PORTS || members.contains_key(&port) {
                // In two bundles, it is in none that can be believed.
                members.entry(port).and_modify(|m| *m = None).or_insert(bundle);
            }
        }
    }
    members.into_iter().filter_map(|(port, bundle)| Some((port, bundle?))).collect()
}

/// Bundles ports where both tables agree and the bundle itself was listed: a bundled port's own VLANs do not count.
fn bundle(observed: &mut Observed, brief: &Brief, bundles: &BTreeMap<String, String>) {
    for (port, bundle) in bundles {
        let agreed = brief.ports.get(port).is_some_and(|line| line.bundle.as_ref() == Some(bundle));
        if !agreed || !observed.ports.contains_key(bundle) {
            continue;
        }
        if let Some(PortReading::Read(state)) = observed.ports.get_mut(port) {
            state.aggregate = Some(bundle.clone());
        }
        if let Some(PortReading::Read(state)) = observed.ports.get_mut(bundle) {
            state.members.insert(port.clone());
        }
    }
}

/// Whether each feature is enabled, in any of its instances.
fn features(text: &str) -> Result<BTreeMap<String, bool>, String> {
    let mut features = BTreeMap::new();
    for line in text.lines() {
        let words: Vec<&str> = line.split_whitespace().take(8).collect();
        match words.as_slice() {
            [] => {}
            [first, ..] if first.bytes().all(|b| b == b'-') => {}
            ["Feature", "Name", ..] => {}
            [name, instance, state, ..] if instance.bytes().all(|b| b.is_ascii_digit()) => {
                let enabled = match *state {
                    "disabled" => false,
                    s if s.starts_with("enabled") => true,
                    _ => return Err(format!("{FEATURES:?} says {}", excerpt(line))),
                };
                if features.len() < MAX_PORTS {
                    *features.entry((*name).to_owned()).or_insert(false) |= enabled;
                }
            }
            _ => return Err(format!("{FEATURES:?} says {}", excerpt(line))),
        }
    }
    Ok(features)
}

/// The SPAN sessions that are not shut down, by number.
fn sessions(text: &str) -> Result<Vec<String>, String> {
    let mut active: Vec<String> = Vec::new();
    let (mut none, mut seen) = (false, false);
    let mut current: Option<String> = None;
    for line in text.lines().map(str::trim) {
        let lower = line.to_ascii_lowercase();
        let words: Vec<&str> = lower.split_whitespace().take(6).collect();
        match words.as_slice() {
            [] => {}
            ["session", number] if number.bytes().all(|b| b.is_ascii_digit()) => {
                active.extend(current.take());
                current = Some(excerpt(number));
                seen = true;
            }
            // A session counts as active until it says that it is shut.
            ["state", ":", "down", "(session", "admin", "shut)"] => current = None,
            // Of a session whose first line was lost, perhaps.
            ["state", ..] => active.push(current.take().unwrap_or_else(|| "unnumbered".into())),
            _ if lower.ends_with("configured") || lower.ends_with("configured.") => {
                let said = lower
                    .trim_start_matches("note:")
                    .trim_start_matches("error:")
                    .trim()
                    .trim_end_matches('.');
                none |= [
                    "no session configured",
                    "no sessions configured",
                    "no monitor sessions configured",
                    "there are no sessions configured",
                ]
                .contains(&said);
            }
            _ => {}
        }
    }
    active.extend(current);
    match (none, seen) {
        (true, false) | (false, true) => Ok(active),
        _ => Err(format!("{SESSIONS:?} says {}, which is not understood", excerpt(text))),
    }
}

/// The class `routing`, from both commands: each lists what the other may have lost.
fn routing(brief: &Brief, listed_by_brief: bool, addresses: Result<Cow<'_, str>, String>) -> BypassReading {
    let mut routed = brief.routed.clone();
    let mut unread =
        brief.stray.as_ref().map(|found| format!("{BRIEF:?} says {found}, which is not understood"));
    if !listed_by_brief {
        unread.get_or_insert_with(|| format!("{BRIEF:?} does not list every port; was it cut?"));
    }
    match addresses {
        Err(why) => unread = unread.or(Some(why)),
        Ok(text) => {
            let mut headed = false;
            for line in text.lines() {
                let words: Vec<&str> = line.split_whitespace().take(8).collect();
                headed |= line.trim_start().starts_with("IP Interface Status for VRF");
                let [name, .., status] = words.as_slice() else { continue };
                if !status.starts_with("protocol-") || status.ends_with("/admin-down") {
                    continue;
                }
                let digits = name.trim_start_matches(|c: char| c.is_ascii_alphabetic());
                if let Some(vlan) = VlanId::parse(digits).filter(|_| name.starts_with("Vlan")) {
                    routed.insert(format!("Vlan{vlan}"), VlanSet::one(vlan));
                } else if name.contains('.') && routed.len() < MAX_PORTS {
                    // A subinterface, whose tag only the other command prints.
                    routed.entry(excerpt(name)).or_insert_with(VlanSet::all);
                }
            }
            if !headed {
                unread.get_or_insert_with(|| format!("{ROUTES:?} says {}", excerpt(&text)));
            }
        }
    }
    match (routed.is_empty(), unread) {
        (true, None) => BypassReading::Clean,
        (true, Some(why)) => BypassReading::NotRead { why },
        (false, _) => {
            let vlans = routed.values().fold(VlanSet::empty(), |all, some| all.union(some));
            let names: Vec<&str> = routed.keys().take(32).map(String::as_str).collect();
            BypassReading::Dirty { vlans, detail: format!("layer 3 interfaces: {}", names.join(", ")) }
        }
    }
}

// ---- bypass classes ------------------------------------------------------------------------------------------------

/// What the ports say about the classes.
#[derive(Default)]
struct Bypasses {
    destinations: Vec<String>,
    monitors_unread: Vec<String>,
    tunnels: Vec<String>,
    modes_unread: Vec<String>,
}

fn dirty(detail: String) -> BypassReading {
    BypassReading::Dirty { vlans: VlanSet::all(), detail }
}

fn not_read(why: impl Into<String>) -> BypassReading {
    BypassReading::NotRead { why: why.into() }
}

fn some_of(names: &[String]) -> String {
    let shown = names.iter().take(8).map(String::as_str).collect::<Vec<_>>().join(", ");
    if names.len() > 8 { format!("{shown} and {} more", names.len() - 8) } else { shown }
}

impl Bypasses {
    /// A port without a record.
    fn unlisted(&mut self, name: &str) -> PortReading {
        self.modes_unread.push(name.to_owned());
        self.monitors_unread.push(format!("{name} has no record"));
        unreadable(
            VlanSet::all(),
            format!("it is in the answer to {BRIEF:?} and not in that to {SWITCHPORT:?}"),
        )
    }

    fn finish(
        self,
        observed: &mut Observed,
        sessions: Result<Vec<String>, String>,
        routing: BypassReading,
        features: Result<BTreeMap<String, bool>, String>,
        monitors: bool,
    ) {
        let enabled = |name: &str| features.as_ref().ok().and_then(|f| f.get(name)).copied();
        let mut mirrors = Vec::new();
        if let Ok(active) = sessions.as_ref() {
            mirrors.extend((!active.is_empty()).then(|| format!("monitor sessions {}", some_of(active))));
        }
        if !self.destinations.is_empty() {
            mirrors.push(format!("SPAN destinations {}", some_of(&self.destinations)));
        } else if monitors {
            mirrors.push(format!("SPAN destinations by {BRIEF:?}"));
        }
        mirrors
            .extend((enabled("sflow") == Some(true)).then(|| "sFlow, whose samples hold frames".to_owned()));
        let unread = self.monitors_unread.first().or(sessions.as_ref().err()).or(features.as_ref().err());
        let mirror = match (mirrors.is_empty(), unread) {
            (false, _) => dirty(mirrors.join("; ")),
            (true, Some(why)) => not_read(why.clone()),
            (true, None) => BypassReading::Clean,
        };
        const DYNAMIC: [&str; 4] = ["dot1x", "evb", "vmfex", "vtp"];
        let on: Vec<String> =
            DYNAMIC.into_iter().filter(|f| enabled(f) == Some(true)).map(str::to_owned).collect();
        let dynamic = match (&features, DYNAMIC.into_iter().find(|f| enabled(f).is_none())) {
            _ if !on.is_empty() => dirty(format!("enabled: {}", on.join(", "))),
            (Err(why), _) => not_read(why.clone()),
            (Ok(_), Some(missing)) => not_read(format!("{FEATURES:?} has no row {missing}")),
            (Ok(_), None) => BypassReading::Clean,
        };
        let openflow = enabled("openflow") == Some(true);
        let by_openflow = |why: &str| {
            if openflow { dirty("the feature openflow is enabled".into()) } else { not_read(why) }
        };
        let double_tagging = match (self.tunnels.is_empty(), self.modes_unread.is_empty()) {
            (false, _) => dirty(format!("dot1q-tunnel ports {}", some_of(&self.tunnels))),
            (true, false) => not_read(format!("modes not understood: {}", some_of(&self.modes_unread))),
            (true, true) => BypassReading::Clean,
        };
        observed.bypasses = BTreeMap::from([
            (
                BypassClass::Flows,
                by_openflow("VLAN access maps and access lists that redirect are not asked for"),
            ),
            (BypassClass::Controller, by_openflow("virtual services are not asked for")),
            (BypassClass::Mirror, mirror),
            (BypassClass::IngressFiltering, BypassReading::Clean),
            (BypassClass::Routing, routing),
            (BypassClass::Translation, not_read("VLAN mappings are not asked for")),
            (BypassClass::Classification, BypassReading::Clean),
            (BypassClass::Dynamic, dynamic),
            (BypassClass::DoubleTagging, double_tagging),
        ]);
    }
}
