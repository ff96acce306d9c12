//! The dialect `brocade-vdx`: Brocade VDX (Network OS), its running configuration read over REST in XML.
//!
//! # In scope
//! - Every physical interface and port-channel: access and trunk VLANs, native VLAN tagged or not, shutdown, bundles,
//!   port profiles; mirror sessions, VLAN interfaces, overlay gateways, and whatever else a port says that may move
//!   frames between VLANs.
//! - [`VDX`], what the rest of the program needs to know; [`normalise`], evidence in, normal form out, pure.
//!
//! # Out of scope
//! Operational state: which ports have become inter-switch links, which VLANs a port profile has put on a port.
//! Where that decides, the port is unreadable or the class is not read.
//!
//! # Trust
//! An element that is missing looks like a default. So everything is asked for twice: an interface about which the two
//! answers differ is unreadable, and what either answer shows of a bypass is there. The list of all interfaces tells
//! of those whose type is not read. The page is `docs/dialects/brocade-vdx.md`.

use crate::classes::Classes;
use crate::dialect::{Dialect, Reach, WebSettings};
use crate::net::web::{Gathering, Request, SWITCH_MANNERS, Web, refusal};
use crate::net::xml::{
    self, children, flag, is, leaf, name, no_text, only, says_something, turns_something_on,
};
use crate::{Clock, Evidence, Exchange, Pending, Reading, SourceError, SwitchReader};
use isoledger_core::model::{Anomaly, BypassClass, Observed, PortReading, PortState, Reader};
use isoledger_core::{VlanId, VlanSet};
use roxmltree::Node;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

/// The dialect's name.
pub const DIALECT: &str = "brocade-vdx";
/// The parser's version; moves when the same evidence may read differently.
pub const VERSION: u32 = 2;

/// The names of the interfaces of every type, for comparison with the lists by type.
pub const INTERFACES: &str = "/rest/config/running/interface";
/// The interfaces of one type.
pub const INTERFACES_OF: &str = "/rest/config/running/interface/{type}";
/// The mirror sessions.
pub const MONITOR: &str = "/rest/config/running/monitor";
/// VXLAN gateways.
pub const OVERLAY: &str = "/rest/config/running/overlay-gateway";
/// The VLAN interfaces that route, of one switch of the fabric.
pub const VE_OF: &str = "/rest/config/running/rbridge-id/{rbridge}/interface/Ve";
/// The port profiles; asked for when a port has any.
pub const PROFILES: &str = "/rest/config/running/port-profile";

/// Sent with every request: nested resources inline down to this depth, the deepest there is. Without it three levels
/// come, and a trunk's list of VLANs is at the seventh.
const DEPTH: (&str, &str) = ("Resource-Depth", "64");

/// The interface types that are read unless configured otherwise.
pub const TYPES: [&str; 5] = [
    "TenGigabitEthernet",
    "FortyGigabitEthernet",
    "GigabitEthernet",
    "HundredGigabitEthernet",
    "Port-channel",
];
/// Interfaces that are no ports: they carry no VLAN over a wire.
const NO_PORTS: [&str; 7] =
    ["vlan", "ve", "loopback", "management", "fcoe", "fibrechannel", "interface-vlan"];
/// Names of elements that only group interfaces.
const GROUPS: [&str; 5] = ["interface", "interface-vlan", "collection", "data", xml::ROOT];

/// The most interface types that are asked for, and the most switches of a fabric.
const MAX_TYPES: usize = 16;
const MAX_RBRIDGES: usize = 256;

/// Elements of an interface that say nothing about VLANs and move no frame into another one. What is neither here nor
/// understood makes the classes that it might belong to not read.
const HARMLESS: [&str; 24] = [
    "bpdu-drop",
    "channel-tracking",
    "cee",
    "cluster-management",
    "description",
    "edge-loop-detection",
    "lacp",
    "lldp",
    "link-error-disable",
    "load-balance",
    "long-distance-isl",
    "loop-detection",
    "mtu",
    "name",
    "pause",
    "priority-tag",
    "qos",
    "snmp",
    "spanning-tree",
    "speed",
    "storm-control",
    "switchport-basic",
    "udld",
    "minimum-links",
];

/// For each bypass class, when a switch is clean, dirty or not read, and why.
pub const BYPASS_TABLE: [(BypassClass, &str); 9] = [
    (
        BypassClass::Flows,
        "Dirty, for every VLAN: an interface has `openflow` configured. Not read otherwise: access lists and policies \
         that redirect frames are not asked for.",
    ),
    (BypassClass::Controller, "Not read: OpenFlow controllers and NSX are not asked for."),
    (
        BypassClass::Mirror,
        "Read from `monitor` and the interfaces. Dirty, for every VLAN: there is a session, or an interface has \
         `sflow` configured, since samples hold the beginnings of frames. Dirty, for its VLANs: a trunk carries an \
         RSPAN VLAN, or a VLAN is one. Not read: `monitor` or the list of all interfaces was not served or not \
         understood, or an interface was not read. Clean otherwise.",
    ),
    (
        BypassClass::IngressFiltering,
        "Not read: the configuration does not say whether a port drops tags of VLANs it does not carry.",
    ),
    (
        BypassClass::Routing,
        "Read from `rbridge-id/…/interface/Ve` of every switch that an interface's name begins with, and from the list \
         of interfaces. Dirty, for its VLAN: a VLAN interface that is not shut down. Not read: one of those was not \
         served or not understood, or no name tells a switch. Clean otherwise.",
    ),
    (
        BypassClass::Translation,
        "Read from `overlay-gateway` and the interfaces. Dirty, for every VLAN: there is an overlay gateway, or a port \
         classifies by C-tag. Not read: `overlay-gateway` or the list of all interfaces was not served or not \
         understood, or an interface was not read or has an element this reader does not know. Clean otherwise.",
    ),
    (
        BypassClass::Classification,
        "Read from the interfaces. Dirty, for every VLAN: a port assigns VLANs by MAC address, or has a VLAN classifier \
         group. Not read: the list of all interfaces was not served, or an interface was not read or has an element this \
         reader does not know. Clean otherwise.",
    ),
    (
        BypassClass::Dynamic,
        "Read from the interfaces. Dirty, for every VLAN: a port has `dot1x` configured. Dirty, for the VLANs of all \
         profiles: a port takes its VLANs from port profiles, by the MAC addresses it learns. Not read: a port that is \
         not shut down may become an inter-switch link (`fabric isl enable`), which carries every VLAN, and whether it \
         is one is not in the configuration; the list of all interfaces was not served; or an interface was not read or \
         has an element this reader does not know. Clean otherwise.",
    ),
    (BypassClass::DoubleTagging, "Not read: the configuration does not say what becomes of a second tag."),
];

/// The dialect.
pub const VDX: Dialect = Dialect {
    name: DIALECT,
    version: VERSION,
    title: "Brocade VDX (Network OS)",
    sends: &[
        "GET /rest/config/running/interface",
        "GET /rest/config/running/interface/{type}",
        "GET /rest/config/running/monitor",
        "GET /rest/config/running/overlay-gateway",
        "GET /rest/config/running/rbridge-id/{rbridge}/interface/Ve",
        "GET /rest/config/running/port-profile",
    ],
    bypasses: &BYPASS_TABLE,
    normalise,
    reach: Reach::Web(reader),
};

fn reader(settings: WebSettings) -> Result<Box<dyn SwitchReader>, SourceError> {
    Ok(Box::new(Vdx::new(settings)?))
}

/// Reads one switch, or one fabric that answers as one switch.
#[derive(Debug)]
pub struct Vdx {
    web: Web,
    types: Vec<String>,
}

impl Vdx {
    /// A reader with these settings, not yet connected.
    pub fn new(settings: WebSettings) -> Result<Vdx, SourceError> {
        let mut types: Vec<String> = Vec::new();
        for wanted in settings.interface_types {
            let plain = |c: char| c.is_ascii_alphanumeric() || c == '-';
            if wanted.is_empty() || wanted.len() > 32 || !wanted.chars().all(plain) {
                return Err(SourceError::unreadable(format!(
                    "found {wanted:?} as an interface type; they are written like TenGigabitEthernet or Port-channel"
                )));
            }
            // The switch's own spelling, which is also that of the ports' names.
            let known = TYPES.into_iter().find(|t| t.eq_ignore_ascii_case(&wanted));
            if !types.iter().any(|t| t.eq_ignore_ascii_case(&wanted)) {
                types.push(known.map_or(wanted, str::to_owned));
            }
        }
        if types.len() > MAX_TYPES {
            return Err(SourceError::unreadable(format!(
                "found {} interface types; at most {MAX_TYPES} are read",
                types.len()
            )));
        }
        if types.is_empty() {
            types = TYPES.map(str::to_owned).into();
        }
        Ok(Vdx { web: Web::new(&settings.web, SWITCH_MANNERS)?, types })
    }

    async fn gather(&self, deadline: Instant) -> Vec<Exchange> {
        let mut gathering = Gathering::new(&self.web, |_, answer| xml::keep(answer), deadline);
        let lists: Vec<Request> =
            self.types.iter().map(|t| get(INTERFACES_OF.replace("{type}", t))).collect();
        let once = [get(MONITOR.into()), get(OVERLAY.into())];
        let mut first = vec![get(INTERFACES.into())];
        first.extend(lists.iter().chain(&once).cloned());
        if gathering.ask(first).await {
            let (rbridges, profiles) = {
                let views = Views::of(&gathering.exchanges);
                (views.rbridges(), views.has_profiles())
            };
            let ve: Vec<Request> =
                rbridges.iter().map(|r| get(VE_OF.replace("{rbridge}", &r.to_string()))).collect();
            let profiles = profiles.then(|| get(PROFILES.into()));
            let again = ve.iter().chain(&lists).chain(&once).chain(&ve).cloned();
            gathering.ask(again.chain(profiles).collect()).await;
        }
        gathering.exchanges
    }
}

fn get(path: String) -> Request {
    Request { path, header: Some(DEPTH), show: None }
}

impl SwitchReader for Vdx {
    fn reader(&self) -> Reader {
        VDX.reader()
    }

    fn read<'a>(&'a mut self, clock: &'a dyn Clock, deadline: Instant) -> Pending<'a, Reading<Observed>> {
        Box::pin(VDX.read_web(&self.web, clock, self.gather(deadline)))
    }

    fn bypass_table(&self) -> &'static [(BypassClass, &'static str)] {
        &BYPASS_TABLE
    }
}

/// The classes that any interface may make dirty.
const BY_INTERFACE: [BypassClass; 4] =
    [BypassClass::Mirror, BypassClass::Translation, BypassClass::Classification, BypassClass::Dynamic];

/// What a switch did, from the evidence of one reading of it. Pure.
///
/// Fails when the switch did not answer or refused us, or when no list of interfaces was served.
pub fn normalise(evidence: &Evidence) -> Result<Observed, SourceError> {
    let credentials = evidence.auth != "none";
    if let Some(refused) = evidence.exchanges.iter().find_map(|x| refusal(x, credentials)) {
        return Err(refused);
    }
    let views = Views::of(&evidence.exchanges);
    let lists = [Some(&views.one), Some(&views.other), views.index.as_ref()];
    if lists.into_iter().flatten().all(|v| v.ports.is_empty()) && views.anomalies.is_empty() {
        return Err(SourceError::unreadable(format!(
            "GET {INTERFACES_OF}: the switch has no interface of the types {}; check `url` and `interface-types`",
            views.types.iter().map(String::as_str).collect::<Vec<_>>().join(", ")
        )));
    }
    let mut observed = Observed { anomalies: views.anomalies.clone(), ..Observed::default() };
    let mut classes = Classes::default();
    for class in [
        BypassClass::Mirror,
        BypassClass::Routing,
        BypassClass::Translation,
        BypassClass::Classification,
        BypassClass::Dynamic,
    ] {
        classes.read(class);
    }
    let profiles = views.has_profiles().then(|| profile_vlans(answers(&evidence.exchanges, PROFILES)[0]));
    let indexed = views.index.as_ref().map(|index| &index.ports);
    let names: BTreeSet<&String> = views
        .one
        .ports
        .keys()
        .chain(views.other.ports.keys())
        .chain(indexed.into_iter().flat_map(|i| i.keys()))
        .collect();
    for port in names {
        let parsed =
            agreed(views.one.ports.get(port), views.other.ports.get(port), indexed.map(|i| i.get(port)));
        let marks = [&views.one, &views.other].into_iter().filter_map(|v| v.ports.get(port)).flatten();
        for mark in marks.flat_map(|p| &p.marks) {
            mark.judge(port, profiles.as_ref(), &mut classes);
        }
        if !views.one.ports.contains_key(port) && !views.other.ports.contains_key(port) {
            for class in BY_INTERFACE {
                classes.unread(class, format!("{port} was not read"));
            }
        }
        observed.ports.insert(port.clone(), reading(parsed, profiles.as_ref()));
    }
    bundles(&mut observed);
    // Without the list of everything nobody knows what there is besides the types that were asked for.
    for class in BY_INTERFACE.into_iter().chain([BypassClass::Routing]).filter(|_| views.index.is_none()) {
        classes.unread(class, format!("{INTERFACES} was not read: there may be interfaces of other types"));
    }
    if let Some(gathered) = &views.index {
        for (id, what) in &gathered.rspan {
            classes.dirty(BypassClass::Mirror, &VlanSet::one(*id), what);
        }
        for (id, what) in &gathered.routed {
            classes.dirty(BypassClass::Routing, &id.map_or_else(VlanSet::all, VlanSet::one), what);
        }
    }
    // What either answer shows is there; only what neither shows is not.
    for answer in answers(&evidence.exchanges, MONITOR) {
        monitor(answer, &mut classes);
    }
    for answer in answers(&evidence.exchanges, OVERLAY) {
        overlay(answer, &mut classes);
    }
    routing(&views, &evidence.exchanges, &mut classes);
    classes.unread(BypassClass::Flows, "access lists and policies that redirect frames are not asked for");
    classes.unread(BypassClass::Controller, "OpenFlow controllers and NSX are not asked for");
    observed.bypasses = classes.finish();
    Ok(observed)
}

/// Both answers to a question.
fn answers<'a>(exchanges: &'a [Exchange], path: &str) -> [Option<&'a Exchange>; 2] {
    let mut found = exchanges.iter().filter(|x| x.asked.strip_prefix("GET ") == Some(path));
    [found.next(), found.next()]
}

/// The one thing that both answers say of a port, or why there is none. `indexed` is what the list of everything has of
/// it, where there is that list.
fn agreed<'a>(
    one: Option<&'a Vec<Parsed>>,
    other: Option<&'a Vec<Parsed>>,
    indexed: Option<Option<&Vec<Parsed>>>,
) -> Result<&'a Parsed, &'static str> {
    match indexed {
        Some(None) => return Err("the list of all interfaces lacks it"),
        Some(Some(entries)) if entries.len() > 1 => return Err("the list of all interfaces has it twice"),
        _ => {}
    }
    match (one.map(Vec::as_slice), other.map(Vec::as_slice)) {
        (Some([a]), Some([b])) if a == b => Ok(a),
        (Some([_]), Some([_])) => Err("two answers of one reading differ about it"),
        (Some([_, _, ..]), _) | (_, Some([_, _, ..])) => Err("one answer lists it twice"),
        (None, None) => Err("its interface type is not read, or its list lacks it; see `interface-types`"),
        _ => Err("only one of two answers lists it"),
    }
}

fn reading(parsed: Result<&Parsed, &'static str>, profiles: Option<&VlanSet>) -> PortReading {
    let unreadable =
        |might_carry: VlanSet, why: &str| PortReading::Unreadable { might_carry, why: why.into() };
    match parsed {
        Err(why) => unreadable(VlanSet::all(), why),
        Ok(Parsed { state: Err(why), .. }) => unreadable(VlanSet::all(), why),
        Ok(Parsed { state: Ok(state), marks }) if marks.contains(&Mark::Profiled) => unreadable(
            profiles.map_or_else(VlanSet::all, |all| all.union(&state.carries())),
            "it takes its VLANs from port profiles, by the MAC addresses it learns",
        ),
        Ok(Parsed { state: Ok(state), .. }) => PortReading::Read(state.clone()),
    }
}

/// Tells every bundle its members, and makes a member unreadable whose bundle was not read: believed without it, the
/// member's own VLANs would count no more and the bundle's nowhere.
fn bundles(observed: &mut Observed) {
    let members: Vec<(String, String)> = observed
        .ports
        .iter()
        .filter_map(|(port, reading)| match reading {
            PortReading::Read(state) => Some((port.clone(), state.aggregate.clone()?)),
            PortReading::Unreadable { .. } => None,
        })
        .collect();
    for (port, bundle) in members {
        match observed.ports.get_mut(&bundle) {
            Some(PortReading::Read(state)) => {
                state.members.insert(port);
            }
            Some(PortReading::Unreadable { .. }) => {}
            None => {
                let why = format!(
                    "it is bundled into {bundle}, which was not read; add its type to `interface-types`"
                );
                observed.ports.insert(port, PortReading::Unreadable { might_carry: VlanSet::all(), why });
            }
        }
    }
}

// ---- interfaces ----------------------------------------------------------------------------------------------------

/// Both answers about the interfaces.
struct Views {
    /// The lists by type.
    one: View,
    /// The lists by type a second time.
    other: View,
    /// The list of everything, where it is served: names, and perhaps content that is not looked at.
    index: Option<View>,
    types: BTreeSet<String>,
    anomalies: Vec<Anomaly>,
}

/// One answer about the interfaces.
#[derive(Default)]
struct View {
    /// By name; more than one entry when the answer lists it more than once.
    ports: BTreeMap<String, Vec<Parsed>>,
    /// VLANs that are for remote mirroring.
    rspan: Vec<(VlanId, String)>,
    /// VLAN interfaces that route.
    routed: Vec<(Option<VlanId>, String)>,
}

/// One interface as one answer has it.
#[derive(Debug, PartialEq, Eq)]
struct Parsed {
    state: Result<PortState, String>,
    marks: BTreeSet<Mark>,
}

/// What an interface says beyond its VLANs.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Mark {
    Openflow,
    Sflow,
    Dot1x,
    Classified,
    Ctag,
    Isl,
    Profiled,
    Rspan(String),
    Unknown(String),
}

impl Mark {
    fn judge(&self, port: &str, profiles: Option<&VlanSet>, classes: &mut Classes) {
        let all = VlanSet::all();
        let (class, what) = match self {
            Mark::Openflow => (BypassClass::Flows, "has OpenFlow configured"),
            Mark::Sflow => (BypassClass::Mirror, "sends samples of frames to an sFlow collector"),
            Mark::Dot1x => (BypassClass::Dynamic, "has 802.1X configured"),
            Mark::Classified => (BypassClass::Classification, "assigns VLANs by something else than the tag"),
            Mark::Ctag => (BypassClass::Translation, "maps tags to other VLANs"),
            Mark::Profiled => {
                let vlans = profiles.unwrap_or(&all);
                classes.dirty(
                    BypassClass::Dynamic,
                    vlans,
                    format!("{port} takes its VLANs from port profiles"),
                );
                return;
            }
            Mark::Rspan(vlans) => {
                let vlans = list(vlans).unwrap_or_else(|_| all.clone());
                classes.dirty(BypassClass::Mirror, &vlans, format!("{port} carries RSPAN VLANs"));
                return;
            }
            Mark::Isl => {
                classes.unread(
                    BypassClass::Dynamic,
                    format!(
                        "{port} may become an inter-switch link (fabric isl enable), which carries every VLAN"
                    ),
                );
                return;
            }
            Mark::Unknown(element) => {
                for class in [BypassClass::Translation, BypassClass::Classification, BypassClass::Dynamic] {
                    classes.unread(
                        class,
                        format!("interfaces have the element <{element}>, which is not known here"),
                    );
                }
                return;
            }
        };
        classes.dirty(class, &all, format!("{port} {what}"));
    }
}

impl Views {
    fn of(exchanges: &[Exchange]) -> Views {
        let mut views = Views {
            one: View::default(),
            index: None,
            other: View::default(),
            types: BTreeSet::new(),
            anomalies: Vec::new(),
        };
        let prefix = INTERFACES_OF.trim_end_matches("{type}");
        let mut whole = None;
        let mut lists: BTreeMap<&str, Vec<&Exchange>> = BTreeMap::new();
        for exchange in exchanges {
            match exchange.asked.strip_prefix("GET ") {
                Some(INTERFACES) if whole.is_none() => whole = Some(exchange),
                Some(path) if path.starts_with(prefix) => {
                    lists.entry(&path[prefix.len()..]).or_default().push(exchange);
                }
                Some(MONITOR | OVERLAY | PROFILES) => {}
                Some(path) if rbridge_of(path).is_some() => {}
                _ => views
                    .note(&exchange.asked, "found a question this reader never asks, or one twice".into()),
            }
        }
        views.types = lists.keys().map(|t| (*t).to_owned()).collect();
        let types = views.types.clone();
        if let Some(whole) = whole.filter(|x| x.status == Some(200)) {
            match View::of(whole, &types, None) {
                Ok(index) => views.index = Some(index),
                Err(why) => views.note(&whole.asked, why),
            }
        }
        for (wanted, answers) in lists {
            for (at, exchange) in answers.into_iter().enumerate() {
                match (View::of(exchange, &types, Some(wanted)), at) {
                    (Ok(read), 0) => views.one.take(read),
                    (Ok(read), 1) => views.other.take(read),
                    (Ok(_), _) => views.note(&exchange.asked, "found more answers than questions".into()),
                    (Err(why), _) => views.note(&exchange.asked, why),
                }
            }
        }
        views
    }

    fn note(&mut self, about: &str, what: String) {
        self.anomalies.push(Anomaly { about: about.chars().take(200).collect(), what });
    }

    /// The switches of the fabric that interfaces are named after: the first number of three.
    fn rbridges(&self) -> BTreeSet<u32> {
        let names = self.one.ports.keys().chain(self.other.ports.keys());
        let rbridge = |name: &String| {
            let (_, number) = name.split_once(' ')?;
            let mut parts = number.split('/');
            let first = parts.next()?.parse().ok()?;
            (parts.count() == 2).then_some(first)
        };
        let mut found = BTreeSet::new();
        for rbridge in names.filter_map(rbridge) {
            // One more than the most, so that too many can be told from as many.
            if found.len() <= MAX_RBRIDGES {
                found.insert(rbridge);
            }
        }
        found
    }

    fn has_profiles(&self) -> bool {
        let ports = self.one.ports.values().chain(self.other.ports.values());
        ports.flatten().any(|p| p.marks.contains(&Mark::Profiled))
    }
}

fn rbridge_of(path: &str) -> Option<u32> {
    let (before, after) = VE_OF.split_once("{rbridge}")?;
    path.strip_prefix(before)?.strip_suffix(after)?.parse().ok()
}

impl View {
    fn take(&mut self, mut more: View) {
        for (port, mut parsed) in more.ports {
            self.ports.entry(port).or_default().append(&mut parsed);
        }
        self.rspan.append(&mut more.rspan);
        self.routed.append(&mut more.routed);
    }

    /// Reads one answer. Fails where what is wrong cannot be confined to an interface.
    fn of(exchange: &Exchange, types: &BTreeSet<String>, wanted: Option<&str>) -> Result<View, String> {
        let mut view = View::default();
        match exchange.status {
            Some(200) => {}
            // No interface of this type, or a type that this switch does not know: the other answer lists them if
            // there are any after all.
            Some(204 | 404) if wanted.is_some() => return Ok(view),
            status => return Err(format!("found the status {}; 200 was expected", status.unwrap_or(0))),
        }
        let text = xml::rooted(&exchange.answer)?;
        let tree = xml::parse(&text)?;
        let mut groups = vec![tree.root()];
        while let Some(group) = groups.pop() {
            if group.is_element() {
                no_text(group)?;
            }
            for element in children(group) {
                let kind = name(element);
                if only(element, "name")?.is_none() && GROUPS.contains(&kind.as_str()) {
                    groups.push(element);
                } else {
                    view.interface(element, types, wanted)?;
                }
            }
        }
        Ok(view)
    }

    fn interface(
        &mut self,
        element: Node<'_, '_>,
        types: &BTreeSet<String>,
        wanted: Option<&str>,
    ) -> Result<(), String> {
        let kind = name(element);
        let id = match only(element, "name")? {
            Some(id) => leaf(id)?,
            None => return Err(format!("found <{kind}> without a name among the interfaces")),
        };
        let id = id.trim_matches('"');
        if id.is_empty()
            || id.len() > 32
            || !id.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'/' | b':'))
        {
            return Err(format!(
                "found an interface of the name {id:?}; known are numbers with slashes and colons"
            ));
        }
        let known = |t: &&str| t.eq_ignore_ascii_case(&kind);
        if let Some(wanted) = wanted.filter(|w| !w.eq_ignore_ascii_case(&kind)) {
            return Err(format!("found an interface of the type {kind} in the list of {wanted}"));
        }
        if wanted.is_none() && NO_PORTS.contains(&kind.as_str()) {
            self.no_port(element, &kind, id);
            return Ok(());
        }
        let spelled =
            types.iter().map(String::as_str).find(known).or_else(|| TYPES.into_iter().find(|t| known(t)));
        // The list of everything may or may not have the content of each; only the lists by type are asked for it.
        let parsed = match wanted {
            Some(_) => interface(element),
            None => Parsed { state: Ok(PortState::default()), marks: BTreeSet::new() },
        };
        let port = format!("{} {id}", spelled.unwrap_or_else(|| element.tag_name().name()));
        self.ports.entry(port).or_default().push(parsed);
        Ok(())
    }

    fn no_port(&mut self, element: Node<'_, '_>, kind: &str, id: &str) {
        let vlan = VlanId::parse(id);
        match kind {
            "ve" if !is_shut(element) => self.routed.push((vlan, format!("Ve {id} routes"))),
            "vlan" => {
                let rspan = children(element).any(|c| is(c, "remote-span") && flag(c) != Ok(false));
                if let Some(vlan) = vlan.filter(|_| rspan) {
                    self.rspan.push((vlan, format!("VLAN {id} is an RSPAN VLAN")));
                }
            }
            _ => {}
        }
    }
}

/// Whether an interface was read as shut down, without doubt.
fn is_shut(element: Node<'_, '_>) -> bool {
    matches!(only(element, "shutdown"), Ok(Some(shutdown)) if flag(shutdown) == Ok(true))
}

fn interface(element: Node<'_, '_>) -> Parsed {
    let mut marks = BTreeSet::new();
    let mut state = port(element, &mut marks);
    if let Ok(state) = &mut state
        && let Some(untagged) = state.untagged
    {
        // A VLAN that is both is untagged: the set of tagged ones is without it.
        state.tagged = state.tagged.difference(&VlanSet::one(untagged));
    }
    // A port that is shut becomes no link.
    if is_shut(element) {
        marks.remove(&Mark::Isl);
    }
    Parsed { state, marks }
}

fn port(element: Node<'_, '_>, marks: &mut BTreeSet<Mark>) -> Result<PortState, String> {
    // Marks first and all of them, whatever becomes of the port.
    for child in children(element) {
        let kind = name(child);
        let mark = match kind.as_str() {
            "shutdown" | "switchport" | "channel-group" => continue,
            // The element alone makes it a profiled port.
            "port-profile-port" => Mark::Profiled,
            _ if !turns_something_on(child) => continue,
            "openflow" => Mark::Openflow,
            "sflow" => Mark::Sflow,
            "dot1x" => Mark::Dot1x,
            "vlan" | "mac-group" => Mark::Classified,
            "fabric" => {
                let isl = child.descendants().filter(|n| is(*n, "isl")).flat_map(|n| n.descendants());
                let mut on = isl.filter(|n| is(*n, "enable") && says_something(*n) && flag(*n) != Ok(false));
                match on.next() {
                    Some(_) => Mark::Isl,
                    None => continue,
                }
            }
            known if HARMLESS.contains(&known) => continue,
            _ => Mark::Unknown(kind.chars().take(40).collect()),
        };
        marks.insert(mark);
    }
    no_text(element)?;
    let admin_down = only(element, "shutdown")?.map(flag).transpose()?;
    let aggregate = match only(element, "channel-group")? {
        Some(group) if says_something(group) => {
            let number = only(group, "port-int")?.map(leaf).transpose()?.unwrap_or_default();
            if number.is_empty() || number.len() > 5 || !number.bytes().all(|b| b.is_ascii_digit()) {
                return Err(format!("its channel group has the number {number:?}; a number was expected"));
            }
            Some(format!("Port-channel {number}"))
        }
        _ => None,
    };
    // Without `switchport` a port is at layer 3 and carries no VLAN.
    let (untagged, tagged) = match switchport(element)? {
        Some(switchport) => vlans(switchport, marks)?,
        None => (None, VlanSet::empty()),
    };
    Ok(PortState { untagged, tagged, admin_down, aggregate, ..PortState::default() })
}

/// The `switchport` of an interface. Some releases show it twice: as a flag, and with what it holds.
fn switchport<'a, 'd>(element: Node<'a, 'd>) -> Result<Option<Node<'a, 'd>>, String> {
    let (flags, full): (Vec<_>, Vec<_>) = children(element)
        .filter(|c| is(*c, "switchport"))
        .partition(|c| leaf(*c).is_ok_and(|text| matches!(text.as_str(), "true" | "false")));
    match (flags.as_slice(), full.as_slice()) {
        ([], []) => Ok(None),
        ([], [full]) => Ok(Some(*full)),
        // What is switched off and configured is shown by no release that is known here.
        ([one], [full]) if leaf(*one)? == "true" => Ok(Some(*full)),
        ([one], []) if leaf(*one)? == "false" => Ok(None),
        _ => Err("its <switchport> elements contradict each other".into()),
    }
}

/// What a `switchport` carries. Strict: anything in it that is not known might be another way to carry a VLAN.
fn vlans(switchport: Node<'_, '_>, marks: &mut BTreeSet<Mark>) -> Result<(Option<VlanId>, VlanSet), String> {
    if children(switchport).any(|c| name(c).contains("classification") && says_something(c)) {
        marks.insert(Mark::Classified);
        return Err("it assigns VLANs by MAC address, protocol or subnet".into());
    }
    known_only(switchport, &["basic", "mode", "access", "trunk", "port-security"])?;
    let mode = match only(switchport, "mode")? {
        None => None,
        Some(mode) => {
            known_only(mode, &["vlan-mode"])?;
            only(mode, "vlan-mode")?.map(leaf).transpose()?
        }
    };
    let access = only(switchport, "access")?;
    let trunk = only(switchport, "trunk")?;
    if mode.is_none() && trunk.is_some_and(says_something) {
        return Err("it has settings of a trunk and no mode".into());
    }
    match mode.as_deref() {
        // A switchport of which nothing else is said is an access port of VLAN 1.
        None | Some("access") => {
            let Some(access) = access else { return Ok((Some(DEFAULT), VlanSet::empty())) };
            if children(access).any(|c| name(c).starts_with("access-mac") && says_something(c)) {
                marks.insert(Mark::Classified);
                return Err("it assigns VLANs by MAC address".into());
            }
            known_only(access, &["vlan", "accessvlan"])?;
            let vlan = match (only(access, "vlan")?, only(access, "accessvlan")?) {
                (Some(_), Some(_)) => return Err("<access> names its VLAN in two ways".into()),
                (one, other) => one.or(other),
            };
            Ok((Some(vlan.map(vlan_leaf).transpose()?.unwrap_or(DEFAULT)), VlanSet::empty()))
        }
        Some("trunk") => {
            let mut tagged = trunk_vlans(trunk, marks)?;
            let native = trunk.map(|t| only(t, "native-vlan")).transpose()?.flatten();
            let native = native.map(vlan_leaf).transpose()?.unwrap_or(DEFAULT);
            let tag = trunk.map(|t| only(t, "tag")).transpose()?.flatten();
            let tag = match tag {
                None => false,
                Some(tag) => {
                    known_only(tag, &["native-vlan"])?;
                    only(tag, "native-vlan")?.map(flag).transpose()?.unwrap_or(false)
                }
            };
            if tag {
                // The native VLAN is always forwarded, listed or not.
                tagged.insert(native);
                return Ok((None, tagged));
            }
            Ok((Some(native), tagged))
        }
        Some("trunk-no-default-native") => {
            let tagged = trunk_vlans(trunk, marks)?;
            let Some(trunk) = trunk else { return Ok((None, tagged)) };
            let natives: Vec<Node<'_, '_>> = ["native-vlan", "native-vlan-untagged"]
                .into_iter()
                .map(|n| only(trunk, n))
                .collect::<Result<Vec<_>, _>>()?
                .into_iter()
                .flatten()
                .collect();
            match natives.as_slice() {
                [] => Ok((None, tagged)),
                [one] => Ok((Some(vlan_leaf(*one)?), tagged)),
                _ => Err("<trunk> names its native VLAN in two ways".into()),
            }
        }
        Some(other) => {
            Err(format!("its vlan-mode is {other:?}; known are access, trunk and trunk-no-default-native"))
        }
    }
}

const DEFAULT: VlanId = match VlanId::new(1) {
    Some(id) => id,
    None => panic!("1 is a VLAN id"),
};

/// The VLANs that a trunk carries by its list.
fn trunk_vlans(trunk: Option<Node<'_, '_>>, marks: &mut BTreeSet<Mark>) -> Result<VlanSet, String> {
    // What a trunk without any list carries differs between releases.
    let unsaid = || "it is a trunk without a list of allowed VLANs".to_owned();
    let trunk = trunk.ok_or_else(unsaid)?;
    if children(trunk).any(|c| name(c).contains("classification") && says_something(c)) {
        marks.insert(Mark::Ctag);
        return Err("it maps tags to other VLANs".into());
    }
    known_only(trunk, &["allowed", "tag", "native-vlan", "native-vlan-untagged"])?;
    let allowed = only(trunk, "allowed")?.ok_or_else(unsaid)?;
    let mut carried = VlanSet::empty();
    if let Some(rspan) = only(allowed, "rspan-vlan")?
        && rspan.descendants().any(|n| n.is_text() && !n.text().unwrap_or_default().trim().is_empty())
    {
        known_only(rspan, &["add"])?;
        let vlans = only(rspan, "add")?.map(leaf).transpose()?.unwrap_or_default();
        marks.insert(Mark::Rspan(vlans.clone()));
        carried = list(&vlans)?;
    }
    for child in children(allowed) {
        if !is(child, "vlan") && !is(child, "rspan-vlan") && says_something(child) {
            return Err(unknown(child, allowed));
        }
    }
    no_text(allowed)?;
    let vlan = only(allowed, "vlan")?.ok_or_else(unsaid)?;
    known_only(vlan, &["add", "all", "none", "except", "remove"])?;
    let get = |what: &str| only(vlan, what);
    let all = get("all")?.map(flag).transpose()?.unwrap_or(false);
    let none = get("none")?.map(flag).transpose()?.unwrap_or(false);
    let lists = |what: &str| get(what)?.map(|n| leaf(n).and_then(|t| list(&t))).transpose();
    let (add, except, remove) = (lists("add")?, lists("except")?, lists("remove")?);
    let by_list = match (all, none, add, except, remove) {
        (false, _, Some(add), None, None) => add,
        (true, false, None, None, None) => VlanSet::all(),
        (true, false, None, None, Some(less)) | (false, false, None, Some(less), None) => less.complement(),
        (false, true, None, None, None) => VlanSet::empty(),
        (false, false, None, None, None) => return Err(unsaid()),
        _ => return Err("its list of allowed VLANs is given in ways that contradict each other".into()),
    };
    Ok(carried.union(&by_list))
}

/// Fails when an element holds anything that says something and is not among these.
fn known_only(element: Node<'_, '_>, known: &[&str]) -> Result<(), String> {
    no_text(element)?;
    match children(element).find(|c| !known.iter().any(|k| is(*c, k)) && says_something(*c)) {
        Some(found) => Err(unknown(found, element)),
        None => Ok(()),
    }
}

fn unknown(found: Node<'_, '_>, within: Node<'_, '_>) -> String {
    let found: String = name(found).chars().take(40).collect();
    format!("<{}> holds <{found}>, which is not known here", name(within))
}

fn vlan_leaf(element: Node<'_, '_>) -> Result<VlanId, String> {
    let text = leaf(element)?;
    VlanId::parse(&text)
        .ok_or_else(|| format!("<{}> is {:?}; a VLAN from 1 to 4094 was expected", name(element), cut(&text)))
}

/// A list such as `1,4001-4004`.
fn list(text: &str) -> Result<VlanSet, String> {
    let packed: String = text.chars().filter(|c| !c.is_ascii_whitespace()).collect();
    // `all` and the empty list have elements of their own here.
    match VlanSet::parse(&packed).filter(|_| packed.starts_with(|c: char| c.is_ascii_digit())) {
        Some(vlans) => Ok(vlans),
        None => Err(format!("found {:?}; a list of VLANs from 1 to 4094 was expected", cut(text))),
    }
}

fn cut(text: &str) -> String {
    text.chars().take(60).collect()
}

// ---- the rest ------------------------------------------------------------------------------------------------------

/// The VLANs of all port profiles together; all there are where they cannot be read.
fn profile_vlans(answer: Option<&Exchange>) -> VlanSet {
    let read = || -> Option<VlanSet> {
        let answer = answer.filter(|x| x.status == Some(200))?;
        let text = xml::rooted(&answer.answer).ok()?;
        let tree = xml::parse(&text).ok()?;
        let mut all = VlanSet::empty();
        let mut profiles = 0;
        for profile in tree.descendants().filter(|n| is(*n, "vlan-profile")) {
            profiles += 1;
            if let Some(switchport) = only(profile, "switchport").ok()? {
                let (untagged, tagged) = vlans(switchport, &mut BTreeSet::new()).ok()?;
                all = all.union(&tagged).union(&untagged.map_or_else(VlanSet::empty, VlanSet::one));
            }
        }
        (profiles > 0).then_some(all)
    };
    read().unwrap_or_else(VlanSet::all)
}

/// The elements of this name in an answer of this kind; `Err` with the reason where they cannot be told.
fn listed(answer: Option<&Exchange>, path: &str, wanted: &str) -> Result<Vec<String>, String> {
    let answer = answer.ok_or_else(|| format!("{path} was not answered twice"))?;
    match answer.status {
        Some(200) => {}
        Some(204) => return Ok(Vec::new()),
        status => return Err(format!("{path} answered with the status {}", status.unwrap_or(0))),
    }
    let text = xml::rooted(&answer.answer).map_err(|why| format!("{path}: {why}"))?;
    let tree = xml::parse(&text).map_err(|why| format!("{path}: {why}"))?;
    let own = path.rsplit('/').next().unwrap_or_default().to_ascii_lowercase();
    let mut found = Vec::new();
    let mut groups = vec![tree.root()];
    while let Some(group) = groups.pop() {
        if group.is_element() {
            no_text(group).map_err(|why| format!("{path}: {why}"))?;
        }
        for element in children(group) {
            let kind = name(element);
            let key = children(element).filter_map(|c| leaf(c).ok()).find(|text| !text.is_empty());
            // A list is named as its entries are; what has no key is the list.
            if kind == wanted && (kind != own || key.is_some()) {
                if !is_shut(element) {
                    found.push(key.unwrap_or_default());
                }
            } else if GROUPS.contains(&kind.as_str()) || kind == own {
                groups.push(element);
            } else if says_something(element) {
                return Err(format!("{path} holds <{}>, which is not known here", cut(&kind)));
            }
        }
    }
    Ok(found)
}

fn monitor(answer: Option<&Exchange>, classes: &mut Classes) {
    match listed(answer, MONITOR, "session") {
        Err(why) => classes.unread(BypassClass::Mirror, why),
        Ok(found) => {
            for session in found {
                classes.dirty(
                    BypassClass::Mirror,
                    &VlanSet::all(),
                    format!("monitor session {}", cut(&session)),
                );
            }
        }
    }
}

fn overlay(answer: Option<&Exchange>, classes: &mut Classes) {
    match listed(answer, OVERLAY, "overlay-gateway") {
        Err(why) => classes.unread(BypassClass::Translation, why),
        Ok(found) => {
            for gateway in found {
                let what = format!("the overlay gateway {} carries VLANs elsewhere", cut(&gateway));
                classes.dirty(BypassClass::Translation, &VlanSet::all(), what);
            }
        }
    }
}

fn routing(views: &Views, exchanges: &[Exchange], classes: &mut Classes) {
    let rbridges = views.rbridges();
    if rbridges.is_empty() || rbridges.len() > MAX_RBRIDGES {
        classes.unread(BypassClass::Routing, "the names of the interfaces do not tell which switches to ask");
    }
    for rbridge in rbridges {
        let path = VE_OF.replace("{rbridge}", &rbridge.to_string());
        for answer in answers(exchanges, &path) {
            match listed(answer, &path, "ve") {
                Err(why) => classes.unread(BypassClass::Routing, why),
                Ok(found) => {
                    for id in found {
                        let vlans = VlanId::parse(&id).map_or_else(VlanSet::all, VlanSet::one);
                        classes.dirty(BypassClass::Routing, &vlans, format!("Ve {} routes", cut(&id)));
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
