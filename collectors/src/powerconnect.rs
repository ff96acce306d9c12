//! The dialect `powerconnect-5500`: Dell PowerConnect 5500, and what is built alike (Cisco Small Business 300), read at
//! its command line.
//!
//! # In scope
//! Every port of `show interfaces switchport`, in both of its layouts, in the words of the page
//! `docs/dialects/powerconnect-5500.md`: what it carries in access, trunk, general and customer mode, whether it is shut
//! down or bundled, and the bypass classes.
//!
//! # Out of scope
//! The running configuration, which holds secrets. Private VLANs: their ports are unreadable and count for every VLAN.
//!
//! # Trust
//! One output may have lost a line and look whole. So a record must have all its fields, each once; a port that only
//! one listing knows is unreadable; and a port that `show vlan` lists in a VLAN its own record does not mention is
//! unreadable too.

use crate::classes::Classes;
use crate::console::{Answers, ConsoleDialect, ConsoleReader, Tidied};
use crate::dell::{
    bundle, bundles, dynamic, is_address, is_address6, is_port, is_port_row, is_ruler, members, note, sends,
    spoil, without_untagged,
};
use crate::dialect::{ConsoleSettings, Dialect, Reach};
use crate::net::console::Manner;
use crate::text::{quoted, vlan, vlan_list};
use crate::{Evidence, SourceError, SwitchReader};
use isoledger_core::model::{BypassClass, Observed, PortReading, PortState};
use isoledger_core::vlan::{VlanId, VlanSet};
use std::collections::BTreeMap;

/// The dialect's name.
pub const DIALECT: &str = "powerconnect-5500";
/// The parser's version; moves when the same evidence may read differently.
pub const VERSION: u32 = 2;

/// Turns the pager off, for this session.
pub const NO_PAGES: &str = "terminal datadump";
/// A record for every port: the VLANs.
pub const SWITCHPORT: &str = "show interfaces switchport";
/// A line for every port: the administrative state.
pub const CONFIGURATION: &str = "show interfaces configuration";
/// Which ports are bundled.
pub const BUNDLES: &str = "show interfaces port-channel";
/// The ports of every VLAN that exists: the VLANs a second time.
pub const VLANS: &str = "show vlan";
/// Mirrored ports.
pub const MONITORS: &str = "show ports monitor";
/// Whether and where samples of frames are sent.
pub const SAMPLES: &str = "show sflow configuration";
/// Addresses of the switch in VLANs.
pub const ADDRESSES: &str = "show ip interface";
/// The same for IPv6: a VLAN may have only such an address.
pub const ADDRESSES6: &str = "show ipv6 interface";
/// Whether neighbours may add VLANs.
pub const GVRP: &str = "show gvrp configuration";
/// Whether a server may assign VLANs.
pub const DOT1X: &str = "show dot1x";

/// All of them, in this order.
const COMMANDS: [&str; 10] =
    [SWITCHPORT, CONFIGURATION, BUNDLES, VLANS, MONITORS, SAMPLES, ADDRESSES, ADDRESSES6, GVRP, DOT1X];

/// What some releases print before a long answer.
const WAITING: &str = "Gathering information...";

/// More ports than a stack of this family has.
const MAX_PORTS: usize = 1024;

/// The dialect.
pub const POWERCONNECT: Dialect = Dialect {
    name: DIALECT,
    version: VERSION,
    title: "Dell PowerConnect 5500, Cisco Small Business 300",
    sends: &sends::<{ COMMANDS.len() }, { COMMANDS.len() + 2 }>(NO_PAGES, &COMMANDS),
    bypasses: &BYPASS_TABLE,
    normalise,
    reach: Reach::Console(reader),
};

/// How it is spoken.
pub const CONSOLE: ConsoleDialect = ConsoleDialect {
    dialect: &POWERCONNECT,
    manner: MANNER,
    prepare: &[NO_PAGES],
    commands: &COMMANDS,
    closing: NO_PAGES,
    refusals: &["%"],
    tidy,
};

/// Of older and of newer releases.
const MANNER: Manner = Manner {
    pagers: &[
        "More: <space>,  Quit: q, One line: <return>",
        "More: <space>,  Quit: q or CTRL+Z, One line: <return>",
    ],
};

/// Leaves out the state of links and logins, which moves while the switch's VLANs do not, and the names of who logged in.
fn tidy(command: &str, line: &str) -> Tidied {
    match (command, line.trim()) {
        (SWITCHPORT, "Operational Mode: up" | "Operational Mode: down") => {
            Tidied::As("Operational Mode: (left out)".into())
        }
        (DOT1X, line) if is_port_row(line) => Tidied::Drop,
        _ => Tidied::Keep,
    }
}

fn reader(settings: ConsoleSettings) -> Box<dyn SwitchReader> {
    Box::new(ConsoleReader::new(&CONSOLE, settings))
}

/// For each class, when a switch is clean, dirty or not read, and why.
pub const BYPASS_TABLE: [(BypassClass, &str); 9] = [
    (BypassClass::Flows, "Not read: access lists and policy maps are not asked for."),
    (
        BypassClass::Controller,
        "Clean by construction: these switches know no OpenFlow and no other controller of their forwarding.",
    ),
    (
        BypassClass::Mirror,
        "Read by `show ports monitor` and `show sflow configuration`. Dirty, for every VLAN: the one has a row of two \
         ports, whatever its status, or the other a receiver with an address or a port whose frames are sampled. Clean: \
         both have their headings and nothing of that. Not read: either failed or was not understood.",
    ),
    (
        BypassClass::IngressFiltering,
        "Read by the record of each port. Dirty, for every VLAN: a port in general mode with ingress filtering \
         disabled. Access, trunk and customer mode always filter. Not read: the record of some port was not understood. \
         Clean otherwise.",
    ),
    (
        BypassClass::Routing,
        "Read by `show ip interface` and `show ipv6 interface`. Dirty, for their VLANs: together they list addresses in \
         two VLANs or more, or the first several addresses; for every VLAN: it says that routing is enabled. Clean: \
         there is one VLAN with an address at most, by which the switch itself is managed. Not read: either failed or \
         was not understood.",
    ),
    (BypassClass::Translation, "Not read: no output that would show it is known to this reader."),
    (
        BypassClass::Classification,
        "Read by the record of each port. Dirty, for their VLANs: classification rules by MAC address, protocol or \
         subnet. Not read: the record of some port was not understood. Clean otherwise.",
    ),
    (
        BypassClass::Dynamic,
        "Read by `show gvrp configuration`, `show dot1x` and the record of each port. Dirty, for every VLAN: GVRP or \
         802.1X is enabled, or a port takes its VLAN from a server (`DVA`). Clean: both say that they are disabled. Not \
         read: either failed or was not understood. A voice VLAN that its port's record shows counts as carried; one \
         that is assigned by telephone addresses is not looked for.",
    ),
    (
        BypassClass::DoubleTagging,
        "Read by the record of each port. Dirty, for every VLAN: a port in customer mode, whose frames bring a tag of \
         their own. Not read: the record of some port was not understood. Clean otherwise: the switch looks at the outer \
         tag only, and what lies behind an untagged port is judged as a link.",
    ),
];

/// The classes that the ports' records decide.
const BY_RECORD: [BypassClass; 3] =
    [BypassClass::IngressFiltering, BypassClass::Classification, BypassClass::DoubleTagging];

/// What a switch did, from the evidence of one reading of it. Pure.
///
/// Fails when the switch did not answer [`SWITCHPORT`] or [`CONFIGURATION`]: without both, a port that is missing
/// cannot be told from one that is not there.
pub fn normalise(evidence: &Evidence) -> Result<Observed, SourceError> {
    let answers = Answers::of(MANNER, evidence);
    let records = answers.text(SWITCHPORT).map_err(SourceError::unreadable)?;
    let states = answers.text(CONFIGURATION).map_err(SourceError::unreadable)?;
    let mut observed = Observed::default();
    let mut classes = Classes::default();
    for class in BY_RECORD {
        classes.read(class);
    }
    let records = records_of(&records, &mut observed);
    for record in &records {
        let reading = record.reading(&mut classes);
        if observed.ports.insert(record.name.clone(), reading).is_some() {
            spoil(&mut observed, &record.name, VlanSet::all(), "the switch lists this port twice".into());
            unread(&mut classes, &record.name);
        }
    }
    if records.len() > MAX_PORTS {
        note(
            &mut observed,
            SWITCHPORT,
            format!("it has {} ports; at most {MAX_PORTS} are read", records.len()),
        );
    }
    let states = admin_states(&states);
    if states.is_empty() {
        note(
            &mut observed,
            CONFIGURATION,
            "it lists no port; what is missing elsewhere cannot be told".into(),
        );
    }
    for (name, down) in &states {
        match observed.ports.get_mut(name) {
            Some(PortReading::Read(state)) => state.admin_down = *down,
            Some(PortReading::Unreadable { .. }) => {}
            // Should a release leave out the record of a bundle without members, this says so; nothing shows that it
            // has none.
            None => {
                let why =
                    format!("it is in the answer to {CONFIGURATION:?} and not in that to {SWITCHPORT:?}");
                spoil(&mut observed, name, VlanSet::all(), why);
                unread(&mut classes, name);
            }
        }
    }
    if let Ok(text) = answers.text(VLANS) {
        for (name, vlans) in members(&text) {
            let Some(reading) = observed.ports.get(&name) else { continue };
            let known = match reading {
                PortReading::Read(state) => state.carries(),
                PortReading::Unreadable { might_carry, .. } => might_carry.clone(),
            };
            let more = vlans.difference(&known);
            if !more.is_empty() {
                let why = format!("{VLANS:?} lists it in {more}, which its record does not mention");
                spoil(&mut observed, &name, known.union(&vlans), why);
            }
        }
    }
    if let Ok(text) = answers.text(BUNDLES) {
        bundle(&mut observed, &bundles(&text));
    }
    mirror(answers.text(MONITORS).as_deref().map_err(Clone::clone), &mut classes);
    samples(answers.text(SAMPLES).as_deref().map_err(Clone::clone), &mut classes);
    routing(&answers, &mut classes);
    dynamic(&answers, &[(GVRP, "gvrp feature is currently"), (DOT1X, "802.1x is")], &mut classes);
    classes.read(BypassClass::Controller);
    classes.unread(BypassClass::Flows, "access lists and policy maps are not asked for");
    classes.unread(BypassClass::Translation, "no output that would show it is known to this reader");
    observed.bypasses = classes.finish();
    Ok(observed)
}

/// The classes that a record would have decided.
fn unread(classes: &mut Classes, name: &str) {
    for class in BY_RECORD.into_iter().chain([BypassClass::Dynamic]) {
        classes.unread(class, format!("the record of {name} was not understood"));
    }
}

/// The lines of one port.
#[derive(Debug)]
struct Record {
    name: String,
    /// The second layout, with a table of the VLANs the port is in.
    table: bool,
    fields: BTreeMap<String, String>,
    /// Rows of the table of VLANs.
    member_rows: Vec<String>,
    /// Rows of the classification rules.
    rules: Vec<String>,
    /// What was not understood.
    wrong: Option<String>,
}

/// Where in a record a line stands.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Section {
    Fields,
    Members,
    Forbidden,
    Rules,
}

fn records_of(text: &str, observed: &mut Observed) -> Vec<Record> {
    let mut all: Vec<Record> = Vec::new();
    let (mut section, mut last_key) = (Section::Fields, None::<String>);
    for line in text.lines() {
        let content = line.trim();
        let indented = line.starts_with([' ', '\t']);
        let split = content.split_once(':').map(|(k, v)| (k.trim(), v.trim()));
        if content.is_empty() || is_ruler(content) {
            continue;
        }
        if let (false, Some((start @ ("Name" | "Port"), name))) = (indented, split) {
            all.push(Record {
                name: name.to_ascii_lowercase(),
                table: start == "Port",
                fields: BTreeMap::new(),
                member_rows: Vec::new(),
                rules: Vec::new(),
                wrong: (!is_port(name)).then(|| format!("{:?} is no name of a port", quoted(name))),
            });
            (section, last_key) = (Section::Fields, None);
            continue;
        }
        let Some(record) = all.last_mut() else {
            if content == WAITING {
                continue;
            }
            note(
                observed,
                SWITCHPORT,
                format!("the line {:?} stands before the first port", quoted(content)),
            );
            continue;
        };
        let mut wrong = |why: String| {
            record.wrong.get_or_insert(why);
        };
        match (section, split) {
            (_, Some((key @ ("Port is member in" | "Forbidden VLANS" | "Classification rules"), ""))) => {
                section = match key {
                    "Port is member in" => Section::Members,
                    "Forbidden VLANS" => Section::Forbidden,
                    _ => Section::Rules,
                };
                if record.fields.insert(key.to_owned(), String::new()).is_some() {
                    wrong(format!("the field {key:?} stands there twice"));
                }
            }
            (Section::Fields, Some((key, value))) if !indented => {
                if record.fields.insert(key.to_owned(), value.to_owned()).is_some() {
                    wrong(format!("the field {key:?} stands there twice"));
                }
                last_key = Some(key.to_owned());
            }
            (Section::Fields, _) => match last_key.as_ref().and_then(|k| record.fields.get_mut(k)) {
                Some(value) if indented => {
                    value.push(' ');
                    value.push_str(content);
                }
                _ => wrong(format!("the line {:?} is not understood", quoted(content))),
            },
            (Section::Members, None) if content.starts_with("Vlan ") => {}
            (Section::Members, None) => record.member_rows.push(content.to_owned()),
            (Section::Forbidden, None) => {}
            (Section::Rules, None) if content.contains("Group ID") => {}
            (Section::Rules, Some((kind, ""))) if kind.ends_with("based VLANs") => {}
            (Section::Rules, None) => record.rules.push(content.to_owned()),
            (_, Some(_)) => wrong(format!("the line {:?} is not understood", quoted(content))),
        }
    }
    all
}

/// Fields without which a record is not whole; of two spellings either.
const REQUIRED: [&[&str]; 8] = [
    &["Administrative Mode"],
    &["Access Mode VLAN"],
    &["Trunking Native Mode VLAN", "Trunking Mode Native VLAN"],
    &["Trunking VLANs Enabled", "Trunking Mode VLANs Enabled"],
    &["General PVID"],
    &["General VLANs Enabled"],
    &["General Ingress Filtering"],
    &["Classification rules"],
];
/// The same of the second layout.
const REQUIRED_TABLE: [&[&str]; 6] = [
    &["Port Mode"],
    &["Ingress Filtering"],
    &["Ingress UnTagged VLAN ( NATIVE )"],
    &["Port is member in"],
    &["Forbidden VLANS"],
    &["Classification rules"],
];
/// Fields with VLANs in them that say nothing about what is carried, or are read elsewhere.
const OTHER_VLANS: [&str; 5] = [
    "General Forbidden VLANs",
    "Forbidden VLANS",
    "Access Multicast TV VLAN",
    "General Egress Tagged VLANs Enabled",
    "General GVRP VLANs",
];

impl Record {
    fn reading(&self, classes: &mut Classes) -> PortReading {
        let read = match &self.wrong {
            Some(why) => Err(why.clone()),
            None if self.table => self.by_table(classes),
            None => self.by_mode(classes),
        };
        let read = read.and_then(|state| self.rules(classes).map(|()| state));
        match read {
            Ok(state) => PortReading::Read(state),
            Err(why) => {
                unread(classes, &self.name);
                PortReading::Unreadable { might_carry: VlanSet::all(), why }
            }
        }
    }

    fn field(&self, names: &[&str]) -> Result<&str, String> {
        let mut found = names.iter().filter_map(|n| self.fields.get(*n));
        match (found.next(), found.next()) {
            (Some(value), None) => Ok(value),
            (None, _) => Err(format!("the field {:?} is missing", names[0])),
            (Some(_), Some(_)) => Err(format!("the fields {} stand there both", names.join(" and "))),
        }
    }

    fn list(&self, names: &[&str]) -> Result<VlanSet, String> {
        let text = self.field(names)?;
        let list = vlan_list(text).map_err(|e| format!("{}: {e}", names[0]))?;
        match list.notes.iter().find(|n| !n.eq_ignore_ascii_case("inactive")) {
            // Inactive means that the VLAN does not exist yet; the port carries it the moment it does.
            None => Ok(list.vlans),
            Some(note) => Err(format!("{}: ({note}) is not understood", names[0])),
        }
    }

    /// One VLAN; 4095 stands for none, since no frame can be in it.
    fn one(&self, names: &[&str]) -> Result<Option<VlanId>, String> {
        let text = self.field(names)?;
        if text == "4095" || text.starts_with("4095 (") {
            return Ok(None);
        }
        vlan(text).map_err(|e| format!("{}: {e}", names[0]))
    }

    fn optional(&self, name: &str) -> Result<VlanSet, String> {
        if self.fields.contains_key(name) { self.list(&[name]) } else { Ok(VlanSet::empty()) }
    }

    /// Whether a field is on; `None` where it is not there.
    fn switch(&self, name: &str) -> Result<Option<bool>, String> {
        match self.fields.get(name).map(|v| v.to_ascii_lowercase()).as_deref() {
            None => Ok(None),
            Some("enabled" | "enable" | "true") => Ok(Some(true)),
            Some("disabled" | "disable" | "false") => Ok(Some(false)),
            Some(other) => Err(format!("{name}: found {:?}; known are enabled and disabled", quoted(other))),
        }
    }

    fn whole(&self, required: &[&[&str]]) -> Result<(), String> {
        for names in required {
            self.field(names)?;
        }
        let known = |key: &str| required.iter().any(|n| n.contains(&key)) || OTHER_VLANS.contains(&key);
        for (key, value) in &self.fields {
            let lower = value.to_ascii_lowercase();
            let says_nothing = matches!(lower.as_str(), "" | "none" | "disabled" | "disable");
            if key.to_ascii_lowercase().contains("vlan") && !known(key) && !says_nothing {
                let is_read = key == "Customer Mode VLAN" || key == "Voice VLAN";
                if !is_read {
                    return Err(format!(
                        "the field {key:?} is not known to this reader and says {:?}",
                        quoted(value)
                    ));
                }
            }
        }
        Ok(())
    }

    fn by_mode(&self, classes: &mut Classes) -> Result<PortState, String> {
        self.whole(&REQUIRED)?;
        let access = self.one(REQUIRED[1])?;
        let native = self.one(REQUIRED[2])?;
        let allowed = self.list(REQUIRED[3])?;
        let pvid = self.one(REQUIRED[4])?;
        let general = self.list(REQUIRED[5])?;
        let general_tagged = self.optional("General Egress Tagged VLANs Enabled")?;
        let dynamic = self.optional("General GVRP VLANs")?;
        let voice = self.optional("Voice VLAN")?;
        let television = self.optional("Access Multicast TV VLAN")?;
        let filters = self.switch("General Ingress Filtering")?;
        let mut state = PortState { ingress_filtering: Some(true), ..PortState::default() };
        match self.field(REQUIRED[0])?.to_ascii_lowercase().as_str() {
            "access" => {
                state.untagged = Some(access.ok_or("an access port without an access VLAN")?);
                state.tagged = television;
            }
            "trunk" => {
                // Untagged frames of a native VLAN that is not allowed go nowhere.
                state.untagged = native.filter(|v| allowed.contains(*v));
                state.tagged = allowed;
            }
            "general" => {
                let bare = general.difference(&general_tagged);
                if general_tagged.difference(&general).is_empty() && bare.len() <= 1 {
                    state.untagged = bare.iter().next();
                    state.tagged = general_tagged;
                } else {
                    return Err(format!(
                        "it sends {bare} without a tag and {general_tagged} with one, out of {general}; one VLAN at most \
                         can be without"
                    ));
                }
                state.ingress_filtering = filters;
                if state.untagged != pvid && pvid.is_some_and(|v| general.contains(v)) {
                    return Err(format!(
                        "untagged frames come in as {pvid:?} and go out as {:?}",
                        state.untagged
                    ));
                }
                if filters != Some(true) {
                    let what = format!("{} takes frames of VLANs it is not in", self.name);
                    classes.dirty(BypassClass::IngressFiltering, &VlanSet::all(), what);
                    // Untagged frames come in even where nothing goes out.
                    if let (None, Some(v)) = (state.untagged, pvid) {
                        state.untagged = Some(v);
                    }
                }
            }
            "customer" => {
                state.untagged =
                    Some(self.one(&["Customer Mode VLAN"])?.ok_or("customer mode without a VLAN")?);
                let what = format!("{} is in customer mode: its frames bring a tag of their own", self.name);
                classes.dirty(BypassClass::DoubleTagging, &VlanSet::all(), what);
            }
            other => {
                return Err(format!(
                    "the mode is {:?}; known are access, trunk, general and customer",
                    quoted(other)
                ));
            }
        }
        state.tagged = state.tagged.union(&dynamic).union(&voice);
        if self.switch("DVA")? == Some(true) {
            classes.dirty(
                BypassClass::Dynamic,
                &VlanSet::all(),
                format!("{} takes its VLAN from a server", self.name),
            );
        }
        Ok(without_untagged(state))
    }

    fn by_table(&self, classes: &mut Classes) -> Result<PortState, String> {
        self.whole(&REQUIRED_TABLE)?;
        let native = self.one(REQUIRED_TABLE[2])?;
        let mode = self.field(REQUIRED_TABLE[0])?.to_ascii_lowercase();
        if mode == "customer" {
            let what = format!("{} is in customer mode: its frames bring a tag of their own", self.name);
            classes.dirty(BypassClass::DoubleTagging, &VlanSet::all(), what);
        } else if !matches!(mode.as_str(), "access" | "trunk" | "general") {
            let found = quoted(&mode);
            return Err(format!("the mode is {found:?}; known are access, trunk, general and customer"));
        }
        let (mut bare, mut tagged) = (VlanSet::empty(), VlanSet::empty());
        for row in &self.member_rows {
            let words: Vec<&str> = row.split_whitespace().collect();
            let of = || format!("the row {:?} of its VLANs is not understood", quoted(row));
            let id = words.first().and_then(|w| VlanId::parse(w)).ok_or_else(of)?;
            // The name, which may hold anything, stands between.
            match words.iter().rev().nth(1) {
                Some(&"Untagged") if words.len() > 2 => bare.insert(id),
                Some(&"Tagged") if words.len() > 2 => tagged.insert(id),
                _ => return Err(of()),
            }
        }
        if bare.len() > 1 {
            return Err(format!("it sends {bare} without a tag; one VLAN at most can be without"));
        }
        let mut state = PortState { untagged: bare.iter().next(), tagged, ..PortState::default() };
        if state.untagged != native
            && (state.untagged.is_some() || native.is_some_and(|v| state.tagged.contains(v)))
        {
            return Err(format!("untagged frames come in as {native:?} and go out as {:?}", state.untagged));
        }
        state.ingress_filtering = self.switch("Ingress Filtering")?;
        if state.ingress_filtering != Some(true) {
            let what = format!("{} takes frames of VLANs it is not in", self.name);
            classes.dirty(BypassClass::IngressFiltering, &VlanSet::all(), what);
            state.untagged = state.untagged.or(native);
        }
        Ok(without_untagged(state))
    }

    fn rules(&self, classes: &mut Classes) -> Result<(), String> {
        for row in &self.rules {
            let id = row.split_whitespace().last().and_then(VlanId::parse);
            let Some(id) = id else {
                return Err(format!("the classification rule {:?} is not understood", quoted(row)));
            };
            let what = format!("{} puts frames into VLAN {id} by a rule: {}", self.name, quoted(row));
            classes.dirty(BypassClass::Classification, &VlanSet::one(id), what);
        }
        Ok(())
    }
}

/// The administrative state of each port that has a line; `None` where the line does not say it.
fn admin_states(text: &str) -> BTreeMap<String, Option<bool>> {
    let mut all: BTreeMap<String, Option<bool>> = BTreeMap::new();
    for line in text.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        let Some(name) = words.first().filter(|w| is_port(w)) else { continue };
        let states: Vec<bool> = words
            .iter()
            .filter_map(|w| match *w {
                "Up" => Some(false),
                "Down" => Some(true),
                _ => None,
            })
            .collect();
        let down = match states.as_slice() {
            [one] => Some(*one),
            _ => None,
        };
        let twice = all.contains_key(&name.to_ascii_lowercase());
        all.insert(name.to_ascii_lowercase(), if twice { None } else { down });
    }
    all
}

fn mirror(text: Result<&str, String>, classes: &mut Classes) {
    let class = BypassClass::Mirror;
    let text = match text {
        Ok(text) => text,
        Err(why) => return classes.unread(class, why),
    };
    let mut heading = false;
    for line in text.lines().map(str::trim).filter(|l| !l.is_empty() && !is_ruler(l)) {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words.as_slice() {
            // Without the status, which follows the link.
            [from, to, ..] if is_port(from) && is_port(to) => {
                classes.dirty(class, &VlanSet::all(), format!("{MONITORS:?}: {from} is copied to {to}"));
            }
            _ if line.to_ascii_lowercase().starts_with("source port") => heading = true,
            _ => classes
                .unread(class, format!("{MONITORS:?} says {:?}, which is not understood", quoted(line))),
        }
    }
    if heading {
        classes.read(class);
    } else {
        classes.unread(class, format!("the answer to {MONITORS:?} has no heading"));
    }
}

fn samples(text: Result<&str, String>, classes: &mut Classes) {
    let class = BypassClass::Mirror;
    let text = match text {
        Ok(text) => text,
        Err(why) => return classes.unread(class, why),
    };
    let (mut receivers, mut interfaces) = (false, false);
    for line in text.lines().map(str::trim).filter(|l| !l.is_empty() && !is_ruler(l)) {
        let lower = line.to_ascii_lowercase();
        let words: Vec<&str> = lower.split_whitespace().collect();
        match words.as_slice() {
            ["receivers"] => receivers = true,
            ["interfaces"] => interfaces = true,
            [index, address, ..] if index.bytes().all(|b| b.is_ascii_digit()) && is_address(address) => {
                if *address != "0.0.0.0" {
                    let what = format!("sFlow has a receiver of samples at {address}");
                    classes.dirty(class, &VlanSet::all(), what);
                }
            }
            [port, flow, ..] if is_port(port) => {
                if *flow != "disabled" {
                    let what = format!("sFlow samples frames of {port}: {}", quoted(flow));
                    classes.dirty(class, &VlanSet::all(), what);
                }
            }
            // The names of columns, over several lines.
            _ if !lower.bytes().any(|b| b.is_ascii_digit()) && !lower.contains("enable") => {}
            _ => {
                classes.unread(class, format!("{SAMPLES:?} says {:?}, which is not understood", quoted(line)))
            }
        }
    }
    if !receivers || !interfaces {
        classes.unread(class, format!("the answer to {SAMPLES:?} lacks a heading"));
    }
}

fn routing(answers: &Answers<'_>, classes: &mut Classes) {
    let class = BypassClass::Routing;
    classes.read(class);
    let mut vlans = VlanSet::empty();
    let rows = addresses(answers, &mut vlans, classes);
    addresses6(answers, &mut vlans, classes);
    if rows > 1 || vlans.len() > 1 {
        classes.dirty(
            class,
            &vlans,
            format!("the switch has addresses in {vlans} and may route between them"),
        );
    }
}

/// The VLAN that a row names, wherever in it.
fn vlan_in(words: &[&str]) -> Option<VlanId> {
    let at = words.iter().position(|w| *w == "vlan")?;
    VlanId::parse(words.get(at + 1)?)
}

/// Adds the VLANs of [`ADDRESSES`]; tells how many addresses there are.
fn addresses(answers: &Answers<'_>, vlans: &mut VlanSet, classes: &mut Classes) -> usize {
    let class = BypassClass::Routing;
    let text = match answers.text(ADDRESSES) {
        Ok(text) => text,
        Err(why) => {
            classes.unread(class, why);
            return 0;
        }
    };
    let (mut rows, mut heading) = (0, false);
    for line in text.lines() {
        let lower = line.trim().to_ascii_lowercase();
        let words: Vec<&str> = lower.split_whitespace().collect();
        heading |= words.contains(&"i/f");
        if lower.contains("routing is enabled") {
            classes.dirty(class, &VlanSet::all(), format!("{ADDRESSES:?}: {}", quoted(&lower)));
        }
        let has_address = words.first().is_some_and(|w| w.split('/').next().is_some_and(is_address));
        if !heading || !has_address {
            continue;
        }
        rows += 1;
        match vlan_in(&words) {
            Some(id) => vlans.insert(id),
            None => classes.unread(class, format!("the address {:?} is not in a VLAN", quoted(&lower))),
        }
    }
    if !heading {
        classes.unread(class, format!("the answer to {ADDRESSES:?} has no heading"));
    }
    rows
}

/// Adds the VLANs of [`ADDRESSES6`], in a row for each address and, in another table, for each gateway.
fn addresses6(answers: &Answers<'_>, vlans: &mut VlanSet, classes: &mut Classes) {
    let class = BypassClass::Routing;
    let text = match answers.text(ADDRESSES6) {
        Ok(text) => text,
        Err(why) => return classes.unread(class, why),
    };
    let mut heading = false;
    for line in text.lines().filter(|l| !is_ruler(l.trim())) {
        let lower = line.trim().to_ascii_lowercase();
        let words: Vec<&str> = lower.split_whitespace().collect();
        match (words.as_slice(), vlan_in(&words)) {
            (["interface", "ip", "addresses", ..], _) => heading = true,
            (["default", "gateway", ..], None) => {}
            (_, Some(id)) if words.iter().any(|w| is_address6(w)) => vlans.insert(id),
            _ => {
                classes.unread(class, format!("{ADDRESSES6:?} says {:?}, which is no VLAN's", quoted(&lower)))
            }
        }
    }
    if !heading {
        classes.unread(class, format!("the answer to {ADDRESSES6:?} has no heading"));
    }
}

#[cfg(test)]
mod tests;
