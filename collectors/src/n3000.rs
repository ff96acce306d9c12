//! The dialect `dell-n3000`: Dell N1500, N2000 and N3000 (OS6), read at their command line.
//!
//! # In scope
//! Every port of `show interfaces switchport`, in the words of the page `docs/dialects/dell-n3000.md`: the VLANs it
//! effectively is in, checked against its mode and against `show vlan`; whether it is shut down or bundled; and the
//! bypass classes.
//!
//! # Out of scope
//! The running configuration, which holds secrets. Private VLANs: their ports are unreadable and count for every VLAN.
//!
//! # Trust
//! The line `Member of VLANs` is what the switch does, and the fields of the mode are what it was told. They and `show
//! vlan` must agree, since any of them may have lost a line: where they do not, the port is unreadable and counts for
//! all that any of them says. A native VLAN that the port is not in carries nothing; HIL has such a one set on purpose.

use crate::classes::Classes;
use crate::console::{Answers, ConsoleDialect, ConsoleReader, Tidied};
use crate::dell::{
    bundle, bundles, dynamic, is_address, is_address6, is_port, is_port_row, is_ruler, members, note, sends,
    spoil, without_untagged,
};
use crate::dialect::{ConsoleSettings, Dialect, Reach};
use crate::net::console::Manner;
use crate::text::{fields, quoted, vlan, vlan_list};
use crate::{Evidence, SourceError, SwitchReader};
use isoledger_core::model::{BypassClass, Observed, PortReading, PortState};
use isoledger_core::vlan::{VlanId, VlanSet};
use std::collections::BTreeMap;

/// The dialect's name.
pub const DIALECT: &str = "dell-n3000";
/// The parser's version; moves when the same evidence may read differently.
pub const VERSION: u32 = 2;

/// Turns the pager off, for this session.
pub const NO_PAGES: &str = "terminal length 0";
/// A record for every port: the VLANs.
pub const SWITCHPORT: &str = "show interfaces switchport";
/// A line for every port: the administrative state.
pub const CONFIGURATION: &str = "show interfaces configuration";
/// Which ports are bundled.
pub const BUNDLES: &str = "show interfaces port-channel";
/// The ports of every VLAN that exists: the VLANs a second time.
pub const VLANS: &str = "show vlan";
/// The sessions that copy frames, of which there are four at most.
pub const SESSIONS: [&str; 4] =
    ["show monitor session 1", "show monitor session 2", "show monitor session 3", "show monitor session 4"];
/// Where samples of frames are sent, of which there are eight at most.
pub const RECEIVERS: [&str; 8] = [
    "show sflow 1 destination",
    "show sflow 2 destination",
    "show sflow 3 destination",
    "show sflow 4 destination",
    "show sflow 5 destination",
    "show sflow 6 destination",
    "show sflow 7 destination",
    "show sflow 8 destination",
];
/// Interfaces of layer 3.
pub const ADDRESSES: &str = "show ip interface";
/// The same for IPv6: an interface may have only such an address.
pub const ADDRESSES6: &str = "show ipv6 interface";
/// Whether neighbours may add VLANs, by the older protocol.
pub const GVRP: &str = "show gvrp configuration";
/// The same, by the newer one.
pub const MVRP: &str = "show mvrp summary";
/// Whether a server may assign VLANs.
pub const DOT1X: &str = "show dot1x";

/// All of them, in this order.
const COMMANDS: [&str; 21] = [
    SWITCHPORT,
    CONFIGURATION,
    BUNDLES,
    VLANS,
    SESSIONS[0],
    SESSIONS[1],
    SESSIONS[2],
    SESSIONS[3],
    RECEIVERS[0],
    RECEIVERS[1],
    RECEIVERS[2],
    RECEIVERS[3],
    RECEIVERS[4],
    RECEIVERS[5],
    RECEIVERS[6],
    RECEIVERS[7],
    ADDRESSES,
    ADDRESSES6,
    GVRP,
    MVRP,
    DOT1X,
];

/// More ports than a stack of this family has.
const MAX_PORTS: usize = 2048;

/// The dialect.
pub const N3000: Dialect = Dialect {
    name: DIALECT,
    version: VERSION,
    title: "Dell N1500, N2000 and N3000 (OS6)",
    sends: &sends::<{ COMMANDS.len() }, { COMMANDS.len() + 2 }>(NO_PAGES, &COMMANDS),
    bypasses: &BYPASS_TABLE,
    normalise,
    reach: Reach::Console(reader),
};

/// How it is spoken.
pub const CONSOLE: ConsoleDialect = ConsoleDialect {
    dialect: &N3000,
    manner: MANNER,
    prepare: &[NO_PAGES],
    commands: &COMMANDS,
    closing: NO_PAGES,
    refusals: &["%", "^", "Invalid"],
    tidy,
};

const MANNER: Manner = Manner { pagers: &["--More--", "--More-- or (q)uit"] };

/// Leaves out the state of links and logins, which moves while the switch's VLANs do not, and the names of who logged in.
fn tidy(command: &str, line: &str) -> Tidied {
    let mut words: Vec<&str> = line.split_whitespace().collect();
    match (command, words.as_mut_slice()) {
        // Duplex and speed are those of the link, where they are negotiated.
        (CONFIGURATION, [name, .., duplex, speed, _, _, "Up" | "Down"]) if is_port(name) => {
            (*duplex, *speed) = ("-", "-");
            Tidied::As(words.join(" "))
        }
        (DOT1X, _) if is_port_row(line) => Tidied::Drop,
        // The seconds that are left.
        (command, _) if RECEIVERS.contains(&command) && label(line).0 == "time out" => Tidied::Drop,
        _ => Tidied::Keep,
    }
}

fn reader(settings: ConsoleSettings) -> Box<dyn SwitchReader> {
    Box::new(ConsoleReader::new(&CONSOLE, settings))
}

/// For each class, when a switch is clean, dirty or not read, and why.
pub const BYPASS_TABLE: [(BypassClass, &str); 9] = [
    (
        BypassClass::Flows,
        "Not read: OpenFlow, and access lists and policies that redirect frames, are not asked for.",
    ),
    (
        BypassClass::Controller,
        "Not read: some releases can be given an OpenFlow controller; it is not asked for.",
    ),
    (
        BypassClass::Mirror,
        "Read by `show monitor session` 1 to 4 and `show sflow` 1 to 8 `destination`. Dirty, for every VLAN: a session \
         that is enabled, or an sFlow receiver that has an address, since samples hold the beginnings of frames. Clean: \
         each session that there is has its row and is disabled, and each of the eight receivers has the address \
         0.0.0.0, to which nothing is sent. Not read: one failed or was not understood.",
    ),
    (
        BypassClass::IngressFiltering,
        "Read by the record of each port. Dirty, for every VLAN: a port in general mode with ingress filtering \
         disabled. Access and trunk mode always filter. Not read: the record of some port was not understood, or does \
         not say it. Clean otherwise.",
    ),
    (
        BypassClass::Routing,
        "Read by `show ip interface` and `show ipv6 interface`. Dirty, for their VLANs: together they list two VLAN \
         interfaces or more, or one while routing is enabled. Clean: they list none, or one while routing is not \
         enabled. Not read: either failed or was not understood.",
    ),
    (BypassClass::Translation, "Not read: no output that would show it is known to this reader."),
    (
        BypassClass::Classification,
        "Not read: VLANs by MAC address, subnet and protocol exist on these switches and are not asked for.",
    ),
    (
        BypassClass::Dynamic,
        "Read by `show gvrp configuration`, `show mvrp summary` and `show dot1x`. Dirty, for every VLAN: GVRP, MVRP or \
         802.1X is enabled. Clean: all say that they are disabled. Not read: one failed, as on releases without the \
         command, or was not understood. A voice VLAN is one the port is in and counts as carried.",
    ),
    (
        BypassClass::DoubleTagging,
        "Dirty, for every VLAN: a port whose mode is a tunnel. Not read otherwise: double VLAN tunnels set on an interface \
         show in no output that is asked for.",
    ),
];

/// What a switch did, from the evidence of one reading of it. Pure.
///
/// Fails when the switch did not answer [`SWITCHPORT`] or [`CONFIGURATION`]: without both, a port that is missing
/// cannot be told from one that is not there.
pub fn normalise(evidence: &Evidence) -> Result<Observed, SourceError> {
    let answers = Answers::of(MANNER, evidence);
    let records = answers.text(SWITCHPORT).map_err(SourceError::unreadable)?;
    let states = answers.text(CONFIGURATION).map_err(SourceError::unreadable)?;
    let listed = answers.text(VLANS).ok().map(|text| members(&text));
    let bundles = answers.text(BUNDLES).map(|text| bundles(&text)).unwrap_or_default();
    let mut observed = Observed::default();
    let mut classes = Classes::default();
    classes.read(BypassClass::IngressFiltering);
    let records = records_of(&records, &mut observed);
    if records.len() > MAX_PORTS {
        note(
            &mut observed,
            SWITCHPORT,
            format!("it has {} ports; at most {MAX_PORTS} are read", records.len()),
        );
    }
    for record in &records {
        // A bundled port is in no list of its own.
        let bundled = bundles.values().any(|m| m.contains(&record.name));
        let listed = listed.as_ref().filter(|_| !bundled);
        let listed = listed.map(|all| all.get(&record.name).cloned().unwrap_or_default());
        let reading = match record.state(listed.as_ref(), &mut classes) {
            Ok(state) => PortReading::Read(state),
            Err(Wrong { might_carry, why }) => {
                classes.unread(BypassClass::IngressFiltering, not_understood(&record.name));
                PortReading::Unreadable { might_carry, why }
            }
        };
        if observed.ports.insert(record.name.clone(), reading).is_some() {
            spoil(&mut observed, &record.name, VlanSet::all(), "the switch lists this port twice".into());
            classes.unread(BypassClass::IngressFiltering, not_understood(&record.name));
        }
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
            None => {
                let why =
                    format!("it is in the answer to {CONFIGURATION:?} and not in that to {SWITCHPORT:?}");
                spoil(&mut observed, name, VlanSet::all(), why);
                classes.unread(BypassClass::IngressFiltering, not_understood(name));
            }
        }
    }
    // Bundles have no line with their name there.
    for name in bundles.keys().filter(|name| !states.contains_key(*name)) {
        if !observed.ports.contains_key(name) {
            spoil(
                &mut observed,
                name,
                VlanSet::all(),
                format!("it has members and no record in {SWITCHPORT:?}"),
            );
            classes.unread(BypassClass::IngressFiltering, not_understood(name));
        }
    }
    bundle(&mut observed, &bundles);
    mirror(&answers, &mut classes);
    samples(&answers, &mut classes);
    routing(&answers, &mut classes);
    let switches = [(GVRP, "global gvrp mode"), (MVRP, "mvrp global state"), (DOT1X, "administrative mode")];
    dynamic(&answers, &switches, &mut classes);
    classes.unread(BypassClass::Flows, "OpenFlow, access lists and policies are not asked for");
    classes.unread(BypassClass::Controller, "OpenFlow is not asked for");
    classes.unread(BypassClass::Translation, "no output that would show it is known to this reader");
    classes
        .unread(BypassClass::Classification, "VLANs by MAC address, subnet and protocol are not asked for");
    classes.unread(BypassClass::DoubleTagging, "double VLAN tunnels of interfaces are not asked for");
    observed.bypasses = classes.finish();
    Ok(observed)
}

fn not_understood(name: &str) -> String {
    format!("the record of {name} was not understood")
}

/// Why a port cannot be read, and what it might carry.
#[derive(Debug)]
struct Wrong {
    might_carry: VlanSet,
    why: String,
}

impl From<String> for Wrong {
    fn from(why: String) -> Wrong {
        Wrong { might_carry: VlanSet::all(), why }
    }
}

/// The lines of one port.
#[derive(Debug)]
struct Record {
    name: String,
    fields: BTreeMap<String, String>,
    wrong: Option<String>,
}

const MODE: &str = "VLAN Membership Mode";
const MEMBER: &str = "Member of VLANs";
const ACCESS: &str = "Access Mode VLAN";
const PVID: &str = "General Mode PVID";
const FILTERING: &str = "General Mode Ingress Filtering";
const DYNAMIC: &str = "General Mode Dynamically Added VLANs";
const UNTAGGED: &str = "General Mode Untagged VLANs";
const TAGGED: &str = "General Mode Tagged VLANs";
const FORBIDDEN: &str = "General Mode Forbidden VLANs";
const NATIVE: &str = "Trunking Mode Native VLAN";
const NATIVE_TAGGED: &str = "Trunking Mode Native VLAN Tagging";
const ALLOWED: &str = "Trunking Mode VLANs Enabled";

fn records_of(text: &str, observed: &mut Observed) -> Vec<Record> {
    let all = fields(text);
    let mut records: Vec<(usize, Record)> = Vec::new();
    for field in all.fields {
        if field.key == "Port" {
            let wrong =
                (!is_port(&field.value)).then(|| format!("{:?} is no name of a port", quoted(&field.value)));
            let name = field.value.to_ascii_lowercase();
            records.push((field.line, Record { name, fields: BTreeMap::new(), wrong }));
            continue;
        }
        let Some((_, record)) = records.last_mut() else {
            note(
                observed,
                SWITCHPORT,
                format!("the field {:?} stands before the first port", quoted(&field.key)),
            );
            continue;
        };
        let twice = format!("the field {:?} stands there twice", quoted(&field.key));
        if record.fields.insert(field.key, field.value).is_some() {
            record.wrong.get_or_insert(twice);
        }
    }
    for (line, content) in all.strays {
        if is_ruler(&content) {
            continue;
        }
        let why = format!("the line {:?} is not understood", quoted(&content));
        match records.iter_mut().rev().find(|(start, _)| *start < line) {
            Some((_, record)) => {
                record.wrong.get_or_insert(why);
            }
            None => note(observed, SWITCHPORT, why),
        }
    }
    records.into_iter().map(|(_, record)| record).collect()
}

/// What `Member of VLANs` says: the VLANs in parentheses are untagged.
fn member_of(text: &str) -> Result<(VlanSet, VlanSet), String> {
    let bad = |e: &dyn std::fmt::Display| format!("{MEMBER}: {e}");
    let (mut bare, mut tagged) = (VlanSet::empty(), VlanSet::empty());
    let mut rest = text.trim();
    while !rest.is_empty() {
        let part;
        if let Some(inside) = rest.strip_prefix('(') {
            let Some((list, after)) = inside.split_once(')') else {
                return Err(bad(&format_args!("a parenthesis is not closed in {:?}", quoted(text))));
            };
            let list = vlan_list(list).map_err(|e| bad(&e))?.vlans;
            if list.is_empty() {
                return Err(bad(&format_args!("empty parentheses in {:?}", quoted(text))));
            }
            bare = bare.union(&list);
            rest = after.trim_start();
        } else {
            (part, rest) = rest.split_at(rest.find([',', '(']).unwrap_or(rest.len()));
            let list = vlan_list(part).map_err(|e| bad(&e))?;
            if list.vlans.is_empty() || !list.notes.is_empty() {
                let none = part.trim().eq_ignore_ascii_case("none") && rest.is_empty();
                if none && tagged.is_empty() && bare.is_empty() {
                    break;
                }
                return Err(bad(&format_args!("{:?} is not understood", quoted(text))));
            }
            tagged = tagged.union(&list.vlans);
        }
        if rest.is_empty() {
            break;
        }
        rest = match rest.strip_prefix(',').map(str::trim_start) {
            Some("") => {
                return Err(bad(&format_args!("{:?} ends in a comma, so the rest is missing", quoted(text))));
            }
            Some(more) => more,
            None => return Err(bad(&format_args!("{:?} is not understood", quoted(text)))),
        };
    }
    Ok((bare, tagged))
}

impl Record {
    fn field(&self, name: &str) -> Result<&str, String> {
        self.fields.get(name).map(String::as_str).ok_or_else(|| format!("the field {name:?} is missing"))
    }

    fn list(&self, name: &str) -> Result<VlanSet, String> {
        let list = vlan_list(self.field(name)?).map_err(|e| format!("{name}: {e}"))?;
        match list.notes.iter().find(|n| !n.eq_ignore_ascii_case("default")) {
            None => Ok(list.vlans),
            Some(note) => Err(format!("{name}: ({note}) is not understood")),
        }
    }

    fn optional_list(&self, name: &str) -> Result<VlanSet, String> {
        if self.fields.contains_key(name) { self.list(name) } else { Ok(VlanSet::empty()) }
    }

    fn one(&self, name: &str) -> Result<Option<VlanId>, String> {
        vlan(self.field(name)?).map_err(|e| format!("{name}: {e}"))
    }

    fn switch(&self, name: &str) -> Result<Option<bool>, String> {
        match self.fields.get(name).map(|v| v.to_ascii_lowercase()).as_deref() {
            None => Ok(None),
            Some("enabled" | "enable") => Ok(Some(true)),
            Some("disabled" | "disable") => Ok(Some(false)),
            Some(other) => Err(format!("{name}: found {:?}; known are Enabled and Disabled", quoted(other))),
        }
    }

    /// What the port does. `listed` is what `show vlan` says of it, where that was read.
    fn state(&self, listed: Option<&VlanSet>, classes: &mut Classes) -> Result<PortState, Wrong> {
        if let Some(why) = &self.wrong {
            return Err(why.clone().into());
        }
        let (bare, tagged) = member_of(self.field(MEMBER)?)?;
        let member = bare.union(&tagged);
        // All fields are read in every mode, so that a line that strayed into another field is noticed.
        let access = self.one(ACCESS)?;
        let pvid = self.one(PVID)?;
        let filters = self.switch(FILTERING)?;
        let (general_bare, general_tagged) = (self.list(UNTAGGED)?, self.list(TAGGED)?);
        let dynamic = self.optional_list(DYNAMIC)?;
        self.optional_list(FORBIDDEN)?;
        let native = self.one(NATIVE)?;
        let native_tagged = self.switch(NATIVE_TAGGED)? == Some(true);
        let allowed = self.list(ALLOWED)?;
        let mut state = PortState {
            untagged: bare.iter().next(),
            tagged: tagged.clone(),
            ingress_filtering: Some(true),
            ..PortState::default()
        };
        let mode = self.field(MODE)?;
        // What it was told, as far as this mode looks at it, and whether what it does agrees.
        let (told, agrees) = match mode.to_ascii_lowercase().as_str() {
            "access mode" | "access" => {
                let told = access.map(VlanSet::one).unwrap_or_default();
                let agrees = bare == told && tagged.is_empty();
                (told, agrees)
            }
            "trunk mode" | "trunk" => {
                let bare_told = native.filter(|v| !native_tagged && member.contains(*v));
                let agrees = bare == bare_told.map(VlanSet::one).unwrap_or_default();
                (allowed, agrees)
            }
            "general mode" | "general" => {
                state.ingress_filtering = filters;
                if filters == Some(false) {
                    let what = format!("{} takes frames of VLANs it is not in", self.name);
                    classes.dirty(BypassClass::IngressFiltering, &VlanSet::all(), what);
                    // Untagged frames come in even where nothing goes out.
                    state.untagged = state.untagged.or(pvid);
                } else if filters.is_none() {
                    let why = format!("the record of {} does not say whether it filters", self.name);
                    classes.unread(BypassClass::IngressFiltering, why);
                }
                let told_bare = general_bare.intersection(&member);
                let same_pvid =
                    pvid.is_none_or(|v| bare.contains(v) || !member.contains(v)) && bare.len() <= 1;
                let pvid_out = bare.is_empty() || pvid.is_some_and(|v| bare.contains(v));
                let agrees = bare == told_bare && same_pvid && pvid_out;
                (general_bare.union(&general_tagged).union(&dynamic), agrees)
            }
            other if other.contains("tunnel") => {
                let what = format!("{} is a tunnel: its frames bring a tag of their own", self.name);
                classes.dirty(BypassClass::DoubleTagging, &VlanSet::all(), what);
                (member.clone(), true)
            }
            _ => {
                let why = format!(
                    "the mode is {:?}; known are Access Mode, Trunk Mode and General Mode",
                    quoted(mode)
                );
                return Err(why.into());
            }
        };
        let more = member.difference(&told);
        let union = |also: &VlanSet| member.union(also);
        if !more.is_empty() {
            let might_carry = union(&told);
            return Err(Wrong {
                might_carry,
                why: format!("it is in {more}, which its mode does not allow"),
            });
        }
        if !agrees || bare.len() > 1 {
            let why =
                format!("{MEMBER} is {:?}, which does not agree with {mode}", quoted(self.field(MEMBER)?));
            return Err(Wrong { might_carry: union(&told), why });
        }
        match listed {
            // VLANs it may carry and that do not exist are in neither.
            Some(listed) if *listed == member => {}
            Some(listed) => {
                let why = format!("{MEMBER} says {member}, and {VLANS:?} says {listed}");
                return Err(Wrong { might_carry: union(listed), why });
            }
            // The last VLAN is reserved on these switches, so that All is all but one.
            None if told.difference(&member).iter().all(|v| v == VlanId::MAX) => {}
            None => {
                let why = format!(
                    "{MEMBER} says {member}, its mode allows {told}, and {VLANS:?} was not read to tell which exist"
                );
                return Err(Wrong { might_carry: union(&told), why });
            }
        }
        Ok(without_untagged(state))
    }
}

/// The administrative state of each port that has a line: its last column; `None` where the line does not say it.
fn admin_states(text: &str) -> BTreeMap<String, Option<bool>> {
    let mut all: BTreeMap<String, Option<bool>> = BTreeMap::new();
    for line in text.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        let Some(name) = words.first().filter(|w| is_port(w)) else { continue };
        let down = match words.last() {
            // Name, duplex, speed, negotiation, MTU and state at least.
            Some(&"Up") if words.len() >= 6 => Some(false),
            Some(&"Down") if words.len() >= 6 => Some(true),
            _ => None,
        };
        let name = name.to_ascii_lowercase();
        let twice = all.contains_key(&name);
        all.insert(name, if twice { None } else { down });
    }
    all
}

fn mirror(answers: &Answers<'_>, classes: &mut Classes) {
    let class = BypassClass::Mirror;
    classes.read(class);
    for (n, command) in SESSIONS.iter().enumerate() {
        let text = match answers.text(command) {
            Ok(text) => text,
            // Releases differ in how many there may be. The first there always is.
            Err(_) if n > 0 && answers.refused(command) => continue,
            Err(why) => {
                classes.unread(class, why);
                continue;
            }
        };
        let (mut said, mut heading) = (None, false);
        for line in text.lines() {
            let words: Vec<&str> = line.split_whitespace().collect();
            match words.as_slice() {
                [] => {}
                [first, second, ..] if *first == (n + 1).to_string() => {
                    let twice = said.replace(second.to_ascii_lowercase()).is_some();
                    if twice {
                        classes.unread(class, format!("the answer to {command:?} has two rows"));
                    }
                }
                ["Session", ..] => heading = true,
                _ => {}
            }
        }
        match said.as_deref() {
            Some("disabled") if heading => {}
            Some("enabled") => {
                classes.dirty(class, &VlanSet::all(), format!("monitor session {} is enabled", n + 1))
            }
            _ => classes.unread(class, format!("the answer to {command:?} is not understood")),
        }
    }
}

/// A line such as `IP Address:..... 0.0.0.0`: what it is about, in lower case, and what it says.
fn label(line: &str) -> (String, &str) {
    let line = line.trim();
    let (name, value) = line.split_at(line.find(['.', ':']).unwrap_or(line.len()));
    (name.trim().to_ascii_lowercase(), value.trim_start_matches(['.', ':', ' ']))
}

fn samples(answers: &Answers<'_>, classes: &mut Classes) {
    let class = BypassClass::Mirror;
    for (n, command) in RECEIVERS.iter().enumerate() {
        let text = match answers.text(command) {
            Ok(text) => text,
            Err(why) => {
                classes.unread(class, why);
                continue;
            }
        };
        let of = |wanted: &str| -> Vec<&str> {
            text.lines().map(label).filter(|(name, _)| name == wanted).map(|(_, value)| value).collect()
        };
        let indices = of("receiver index");
        match of("ip address").as_slice() {
            ["0.0.0.0"] if indices == [(n + 1).to_string()] => {}
            [address] if *address != "0.0.0.0" && is_address(address) => {
                let what = format!("sFlow sends samples of frames to {address}");
                classes.dirty(class, &VlanSet::all(), what);
            }
            _ => classes.unread(class, format!("the answer to {command:?} is not understood")),
        }
    }
}

/// The VLAN whose interface a row begins with, `Vl7` or `Vlan 7`. In lower case.
fn vlan_of(words: &[&str]) -> Option<VlanId> {
    match words {
        ["vlan", id, ..] => VlanId::parse(id),
        [name, ..] => name.strip_prefix("vl").and_then(VlanId::parse),
        [] => None,
    }
}

fn routing(answers: &Answers<'_>, classes: &mut Classes) {
    let class = BypassClass::Routing;
    classes.read(class);
    let mut vlans = VlanSet::empty();
    let enabled = addresses(answers, &mut vlans, classes);
    addresses6(answers, &mut vlans, classes);
    if vlans.len() > 1 || (enabled && !vlans.is_empty()) {
        classes.dirty(
            class,
            &vlans,
            format!("the switch has addresses in {vlans} and may route between them"),
        );
    }
}

/// Adds the VLANs of [`ADDRESSES`]; tells whether routing is enabled.
fn addresses(answers: &Answers<'_>, vlans: &mut VlanSet, classes: &mut Classes) -> bool {
    let class = BypassClass::Routing;
    let text = match answers.text(ADDRESSES) {
        Ok(text) => text,
        Err(why) => {
            classes.unread(class, why);
            return false;
        }
    };
    let (mut heading, mut enabled) = (false, false);
    for line in text.lines() {
        let lower = line.trim().to_ascii_lowercase();
        let words: Vec<&str> = lower.split_whitespace().collect();
        heading |= words.first() == Some(&"interface") && words.contains(&"state");
        enabled |= lower.starts_with("routing mode") && lower.ends_with("enable");
        match vlan_of(&words) {
            Some(id) => vlans.insert(id),
            None if heading && words.iter().any(|w| is_address(w)) => {
                classes.unread(class, format!("the interface {:?} is not a VLAN's", quoted(&lower)));
            }
            None => {}
        }
    }
    if !heading {
        classes.unread(class, format!("the answer to {ADDRESSES:?} has no heading"));
    }
    enabled
}

/// Adds the VLANs of [`ADDRESSES6`]: a row for each interface, further addresses of it below.
fn addresses6(answers: &Answers<'_>, vlans: &mut VlanSet, classes: &mut Classes) {
    let class = BypassClass::Routing;
    let text = match answers.text(ADDRESSES6) {
        Ok(text) => text,
        Err(why) => return classes.unread(class, why),
    };
    let (mut heading, mut rows) = (false, false);
    for line in text.lines().filter(|l| !is_ruler(l.trim())) {
        let lower = line.trim().to_ascii_lowercase();
        let words: Vec<&str> = lower.split_whitespace().collect();
        match (words.as_slice(), vlan_of(&words)) {
            // The heading has two lines.
            (["oper.", ..], _) if !heading => {}
            (["interface", .., "address/length"], _) => heading = true,
            (_, Some(id)) => {
                vlans.insert(id);
                rows = true;
            }
            ([address, ..], None) if heading && rows && is_address6(address) => {}
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
