//! The dialect `dell-os9`: Dell Networking OS9 (S3048-ON and its kin), read by show commands over its REST interface.
//!
//! # In scope
//! - Every layer 2 port and port-channel: its VLANs with every membership code; whether it is shut down; mirror
//!   sessions, sFlow and VLAN interfaces with an address.
//! - [`OS9`], what the rest of the program needs to know; [`normalise`], evidence in, normal form out, pure.
//!
//! # Out of scope
//! Members of port-channels, unless the record of a port names its bundle. The running configuration, which holds
//! secrets.
//!
//! # Trust
//! The text of a command comes wrapped in XML, so a cut on the way is noticed; a line that the switch's own command
//! line lost is not. So every command is sent twice: a port about which the two answers differ is unreadable, and what
//! either answer shows of a bypass is there. Each must end with the prompt. The page is `docs/dialects/dell-os9.md`.

use crate::classes::Classes;
use crate::dialect::{Dialect, Reach, WebSettings};
use crate::net::web::{Gathering, Request, SWITCH_MANNERS, Web, refusal};
use crate::net::xml::{self, children, flag, is, leaf, only, turns_something_on};
use crate::{Clock, Evidence, Exchange, Pending, Reading, SourceError, SwitchReader};
use isoledger_core::model::{Anomaly, BypassClass, Observed, PortReading, PortState, Reader};
use isoledger_core::{VlanId, VlanSet};
use roxmltree::Node;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

/// The dialect's name.
pub const DIALECT: &str = "dell-os9";
/// The parser's version; moves when the same evidence may read differently.
pub const VERSION: u32 = 2;

/// Where a show command is sent to, by POST.
pub const CLI: &str = "/api/running/dell/_operations/cli";
/// Every interface with its settings, nested ones and defaults included: which are shut down.
pub const INTERFACES: &str = "/api/running/dell/interfaces?deep&with-defaults";
/// One interface, for switches that do not serve the list. The backslash at the end of the name is the switch's own.
pub const INTERFACE: &str = "/api/running/dell/interfaces/interface/{interface}%5C?with-defaults";

/// The VLANs of every layer 2 port. The switch puts `show` before each command itself.
pub const SWITCHPORT: &str = "interfaces switchport";
/// Interfaces with an IPv4 address, and which are administratively down.
pub const ROUTES: &str = "ip interface brief";
/// Interfaces with an IPv6 address.
pub const ROUTES6: &str = "ipv6 interface brief";
/// Mirror sessions.
pub const SESSIONS: &str = "monitor session";
/// Whether samples of frames are sent away.
pub const SFLOW: &str = "sflow";

/// All of them, in the order in which they are sent, twice.
const COMMANDS: [&str; 5] = [SWITCHPORT, ROUTES, ROUTES6, SESSIONS, SFLOW];

/// More ports than any switch of this family has.
const MAX_PORTS: usize = 4096;

/// Membership codes of VLANs that leave without a tag: by configuration, 802.1X, the switch itself, VLT.
const UNTAGGED: &str = "Uxiv";
/// Membership codes of VLANs that leave with a tag: by configuration, 802.1X, GVRP, as a VLAN-stack trunk, the switch
/// itself, VLT, a hypervisor.
const TAGGED: &str = "TXGMIVH";
/// Codes of VLANs that something assigns at run time.
const AT_RUN_TIME: &str = "xXGH";
/// The code of ports that stack tags.
const STACKED: &str = "M";

/// Interface types: as commands print them, as URLs have them, as tables shorten them.
const TYPES: [(&str, &str, &str); 8] = [
    ("GigabitEthernet", "gige", "Gi"),
    ("TenGigabitEthernet", "tengig", "Te"),
    ("TwentyFiveGigabitEthernet", "twentyfivegig", "Tf"),
    ("FortyGigabitEthernet", "fortygig", "Fo"),
    ("FiftyGigabitEthernet", "fiftygig", "Fi"),
    ("HundredGigabitEthernet", "hundredgig", "Hu"),
    ("PeGigabitEthernet", "pegig", "PeGi"),
    ("Port-channel", "portchannel", "Po"),
];

/// For each bypass class, when a switch is clean, dirty or not read, and why.
pub const BYPASS_TABLE: [(BypassClass, &str); 9] = [
    (
        BypassClass::Flows,
        "Not read: OpenFlow instances, access lists and policies that redirect frames are not asked for.",
    ),
    (BypassClass::Controller, "Not read: OpenFlow controllers are not asked for."),
    (
        BypassClass::Mirror,
        "Read by `show monitor session` and `show sflow`. Dirty, for the VLANs of its source (every VLAN where that is \
         not a port that was read, or a VLAN): a session. Dirty, for every VLAN: sFlow is enabled, since samples hold \
         the beginnings of frames. Not read: either command failed, or its answer was not understood as a whole. Clean \
         otherwise.",
    ),
    (
        BypassClass::IngressFiltering,
        "Not read: no output of a command that tells it is known to this reader.",
    ),
    (
        BypassClass::Routing,
        "Read by `show ip interface brief` and `show ipv6 interface brief`. Dirty, for its VLAN: a VLAN interface with \
         an address. Not read: either command failed, or its answer was not understood as a whole. Clean otherwise.",
    ),
    (BypassClass::Translation, "Not read: no command that tells it is known to this reader."),
    (BypassClass::Classification, "Not read: VLANs by MAC address, protocol or subnet are not asked for."),
    (
        BypassClass::Dynamic,
        "Read by `show interfaces switchport`, whose memberships are those in effect. Dirty, for these VLANs: a port \
         carries some by 802.1X (`x`, `X`), GVRP (`G`) or a hypervisor (`H`). Not read: some port is unreadable. Clean \
         otherwise.",
    ),
    (
        BypassClass::DoubleTagging,
        "Read by `show interfaces switchport`. Dirty, for every VLAN: a port carries some as a VLAN-stack trunk (`M`). \
         Not read otherwise: how VLAN-stack access ports are listed is not known to this reader.",
    ),
];

/// The dialect.
pub const OS9: Dialect = Dialect {
    name: DIALECT,
    version: VERSION,
    title: "Dell Networking OS9 (S3048-ON)",
    sends: &[
        "GET /api/running/dell/interfaces?deep&with-defaults",
        "GET /api/running/dell/interfaces/interface/{interface}%5C?with-defaults",
        "POST /api/running/dell/_operations/cli <input><show-command>interfaces switchport</show-command></input>",
        "POST /api/running/dell/_operations/cli <input><show-command>ip interface brief</show-command></input>",
        "POST /api/running/dell/_operations/cli <input><show-command>ipv6 interface brief</show-command></input>",
        "POST /api/running/dell/_operations/cli <input><show-command>monitor session</show-command></input>",
        "POST /api/running/dell/_operations/cli <input><show-command>sflow</show-command></input>",
    ],
    bypasses: &BYPASS_TABLE,
    normalise,
    reach: Reach::Web(reader),
};

fn reader(settings: WebSettings) -> Result<Box<dyn SwitchReader>, SourceError> {
    Ok(Box::new(Os9::new(&settings)?))
}

/// Reads one switch.
#[derive(Debug)]
pub struct Os9 {
    web: Web,
}

impl Os9 {
    /// A reader with these settings, not yet connected; they may name no interface types.
    pub fn new(settings: &WebSettings) -> Result<Os9, SourceError> {
        // One answer lists the ports of every type. Whoever names some would believe the others left out.
        if !settings.interface_types.is_empty() {
            return Err(SourceError::unreadable(format!(
                "found the interface types {:?}; this dialect reads the ports of every type, so leave them out",
                settings.interface_types
            )));
        }
        Ok(Os9 { web: Web::new(&settings.web, SWITCH_MANNERS)? })
    }

    async fn gather(&self, deadline: Instant) -> Vec<Exchange> {
        let mut gathering = Gathering::new(&self.web, keep, deadline);
        let list = get(INTERFACES.into());
        if !gathering.ask(COMMANDS.map(show).into_iter().chain([list.clone()]).collect()).await {
            return gathering.exchanges;
        }
        if gathering.status(&list) != Some(200) {
            let asked = show(SWITCHPORT).asked();
            let ports =
                gathering.exchanges.iter().find(|x| x.asked == asked).map(ports_of).unwrap_or_default();
            let each = ports.iter().filter_map(|p| Some(get(INTERFACE.replace("{interface}", &in_url(p)?))));
            if !gathering.ask(each.take(MAX_PORTS).collect()).await {
                return gathering.exchanges;
            }
        }
        gathering.ask(COMMANDS.map(show).into()).await;
        gathering.exchanges
    }
}

fn get(path: String) -> Request {
    Request { path, ..Request::default() }
}

fn show(command: &'static str) -> Request {
    Request { path: CLI.into(), header: None, show: Some(command) }
}

impl SwitchReader for Os9 {
    fn reader(&self) -> Reader {
        OS9.reader()
    }

    fn read<'a>(&'a mut self, clock: &'a dyn Clock, deadline: Instant) -> Pending<'a, Reading<Observed>> {
        Box::pin(OS9.read_web(&self.web, clock, self.gather(deadline)))
    }

    fn bypass_table(&self) -> &'static [(BypassClass, &'static str)] {
        &BYPASS_TABLE
    }
}

/// What a switch did, from the evidence of one reading of it. Pure.
///
/// Fails when the switch did not answer or refused us, or did not run [`SWITCHPORT`].
pub fn normalise(evidence: &Evidence) -> Result<Observed, SourceError> {
    let credentials = evidence.auth != "none";
    if let Some(refused) = evidence.exchanges.iter().find_map(|x| refusal(x, credentials)) {
        return Err(refused);
    }
    let answers = Answers { exchanges: &evidence.exchanges };
    let mut observed = Observed::default();
    let mut classes = Classes::default();
    answers.strangers(&mut observed);

    let mut listings = Vec::new();
    for answer in answers.all(SWITCHPORT) {
        let text = output(answer).map_err(|why| {
            SourceError::unreadable(format!(
                "show {SWITCHPORT}: {why}; check that `url` is the switch's REST interface and what the user may run"
            ))
        })?;
        let listing = Listing::of(&text);
        observed.anomalies.extend(listing.strange.iter().map(|what| note(SWITCHPORT, what)));
        listings.push(listing);
    }
    let (one, other) = match listings.as_slice() {
        [one, other] => (one, other),
        _ => {
            return Err(SourceError::unreadable(format!(
                "show {SWITCHPORT}: found {} answers; two were expected",
                listings.len()
            )));
        }
    };
    classes.read(BypassClass::Dynamic);
    let names: BTreeSet<&String> = one.ports.keys().chain(other.ports.keys()).collect();
    for port in names {
        let reading = match agreed(one.ports.get(port), other.ports.get(port)) {
            Ok(record) => match &record.state {
                Ok(state) => PortReading::Read(state.clone()),
                Err(why) => PortReading::Unreadable { might_carry: VlanSet::all(), why: why.clone() },
            },
            Err(why) => PortReading::Unreadable { might_carry: VlanSet::all(), why: why.into() },
        };
        if matches!(reading, PortReading::Unreadable { .. }) {
            classes.unread(BypassClass::Dynamic, format!("{port} is unreadable"));
        }
        observed.ports.insert(port.clone(), reading);
    }
    for record in
        [one, other].into_iter().flat_map(|l| l.ports.iter().flat_map(|(p, r)| r.iter().map(move |r| (p, r))))
    {
        record.1.judge(record.0, &mut classes);
    }
    let routes = answers.texts(ROUTES);
    settings(&answers, &routes, &mut observed, &mut classes);
    bundles(&mut observed);
    // What either answer shows is there; only what neither shows is not.
    classes.read(BypassClass::Routing);
    classes.read(BypassClass::Mirror);
    for (routes, routes6) in routes.into_iter().zip(answers.texts(ROUTES6)) {
        routing(routes, routes6, &mut classes);
    }
    for (sessions, sflow) in answers.texts(SESSIONS).into_iter().zip(answers.texts(SFLOW)) {
        mirrors(sessions, sflow, &observed, &mut classes);
    }
    for (class, why) in [
        (BypassClass::Flows, "OpenFlow instances, access lists and policies are not asked for"),
        (BypassClass::Controller, "OpenFlow controllers are not asked for"),
        (BypassClass::DoubleTagging, "how VLAN-stack access ports are listed is not known"),
    ] {
        classes.unread(class, why);
    }
    observed.bypasses = classes.finish();
    Ok(observed)
}

fn note(about: &str, what: &str) -> Anomaly {
    Anomaly { about: about.chars().take(200).collect(), what: what.into() }
}

fn agreed<'a>(
    one: Option<&'a Vec<Record>>,
    other: Option<&'a Vec<Record>>,
) -> Result<&'a Record, &'static str> {
    match (one.map(Vec::as_slice), other.map(Vec::as_slice)) {
        (Some([a]), Some([b])) if a == b => Ok(a),
        (Some([_]), Some([_])) => Err("two answers of one reading differ about it"),
        (Some([_, _, ..]), _) | (_, Some([_, _, ..])) => Err("one answer lists it twice"),
        _ => Err("only one of two answers lists it"),
    }
}

struct Answers<'a> {
    exchanges: &'a [Exchange],
}

impl<'a> Answers<'a> {
    fn all(&self, command: &'static str) -> impl Iterator<Item = &'a Exchange> {
        let asked = show(command).asked();
        self.exchanges.iter().filter(move |x| x.asked == asked)
    }

    /// What a command printed both times, or why that is not known.
    fn texts(&self, command: &'static str) -> [Result<String, String>; 2] {
        let mut answers = self.all(command);
        [answers.next(), answers.next()].map(|answer| {
            let answer = answer.ok_or_else(|| format!("show {command} was not answered twice"))?;
            output(answer).map_err(|why| format!("show {command}: {why}"))
        })
    }

    /// Exchanges that this reader never makes.
    fn strangers(&self, observed: &mut Observed) {
        let known: Vec<String> =
            COMMANDS.map(|c| show(c).asked()).into_iter().chain([get(INTERFACES.into()).asked()]).collect();
        for exchange in self.exchanges {
            if !known.contains(&exchange.asked) && interface_asked(&exchange.asked).is_none() {
                observed.anomalies.push(note(&exchange.asked, "found a question this reader never asks"));
            }
        }
    }
}

/// What a command printed: the text of the one `command` in the `output`.
fn output(answer: &Exchange) -> Result<String, String> {
    if answer.status != Some(200) {
        return Err(format!("found the status {}; 200 was expected", answer.status.unwrap_or(0)));
    }
    let text = xml::rooted(&answer.answer)?;
    let tree = xml::parse(&text)?;
    let root = tree.root_element();
    if !is(root, "output") {
        return Err(format!("found <{}>; <output> was expected", xml::name(root)));
    }
    let text = leaf(only(root, "command")?.ok_or("<output> has no <command>")?)?;
    if text.lines().any(|l| l.trim_start().starts_with("% ")) {
        let said = text.lines().find(|l| l.trim_start().starts_with("% ")).unwrap_or_default();
        return Err(format!("the switch refused it: {}", said.trim().chars().take(80).collect::<String>()));
    }
    Ok(text)
}

/// What of an answer is kept as evidence: as [`xml::keep`], and of [`SFLOW`], which counts samples, only the lines that
/// say whether it is enabled, and the prompt.
fn keep(request: &Request, answer: Vec<u8>) -> Vec<u8> {
    let answer = xml::keep(answer);
    if request.show != Some(SFLOW) {
        return answer;
    }
    let exchange = Exchange { asked: String::new(), status: Some(200), answer };
    match output(&exchange) {
        Ok(text) => {
            let last = text.trim_end().lines().last().unwrap_or_default().trim();
            let told = text.lines().map(str::trim).filter(|l| says_sflow(l).is_some());
            let kept: Vec<&str> =
                told.chain(Some(last).filter(|l| is_prompt(l) && !l.contains('<'))).collect();
            format!("<output><command>{}</command></output>", kept.join("\n").replace('>', "&gt;"))
                .into_bytes()
        }
        Err(_) => exchange.answer,
    }
}

/// Whether a line says that sFlow is enabled or not.
fn says_sflow(line: &str) -> Option<bool> {
    match squeezed(line).to_ascii_lowercase().as_str() {
        "sflowservicesareenabled" => Some(true),
        "sflowservicesaredisabled" => Some(false),
        _ => None,
    }
}

/// The prompt that an answer ends with.
fn is_prompt(line: &str) -> bool {
    line.len() > 1 && line.ends_with(['#', '>']) && !line.contains(char::is_whitespace)
}

/// The lines of an answer without the prompt at its end; `None` when there is none, for then it may be cut off.
fn complete(text: &str) -> Option<Vec<&str>> {
    let mut lines: Vec<&str> = text.trim_end().lines().map(str::trim_end).collect();
    lines.pop().filter(|last| is_prompt(last))?;
    Some(lines)
}

// ---- show interfaces switchport ------------------------------------------------------------------------------------

/// One answer to [`SWITCHPORT`].
#[derive(Debug, Default)]
struct Listing {
    /// More than one record where the answer lists a port more than once.
    ports: BTreeMap<String, Vec<Record>>,
    strange: Vec<String>,
}

/// One port.
#[derive(Debug, PartialEq, Eq)]
struct Record {
    state: Result<PortState, String>,
    /// VLANs by membership code.
    codes: BTreeMap<char, VlanSet>,
}

impl Record {
    fn judge(&self, port: &str, classes: &mut Classes) {
        for (code, vlans) in &self.codes {
            if AT_RUN_TIME.contains(*code) {
                classes.dirty(
                    BypassClass::Dynamic,
                    vlans,
                    format!("{port} carries VLANs by the code {code}"),
                );
            }
            if STACKED.contains(*code) {
                classes.dirty(BypassClass::DoubleTagging, vlans, format!("{port} is a VLAN-stack trunk"));
            }
        }
    }
}

/// Where in a record a line stands. A line that does not belong there makes the record unreadable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum At {
    Name,
    Description,
    Tagged,
    Membership,
    Rows,
    Native,
}

#[derive(Debug)]
struct Draft {
    at: At,
    aggregate: Option<String>,
    tagged: String,
    /// Code and list, as printed.
    rows: Vec<(char, String)>,
    native: Option<String>,
    wrong: Option<String>,
}

impl Listing {
    fn of(text: &str) -> Listing {
        let mut listing = Listing::default();
        let lines = match complete(text) {
            Some(lines) => lines,
            None => {
                listing.strange.push("the answer does not end with the prompt, so it may be cut off".into());
                text.lines().collect()
            }
        };
        let mut draft: Option<(String, Draft)> = None;
        let mut echo = false;
        for line in lines {
            let line = line.trim_end();
            if let Some(named) = line.trim_start().strip_prefix("Name:") {
                listing.add(draft.take());
                match port_name(named) {
                    Some((port, aggregate)) => draft = Some((port, Draft::new(aggregate))),
                    None => listing.odd("found a record of the name", named),
                }
            } else if line.trim().is_empty() {
            } else if let Some((_, draft)) = &mut draft {
                draft.line(line);
            } else if !echo && squeezed(line).ends_with("interfacesswitchport") {
                echo = true;
            } else if !is_legend(line) {
                listing.odd("found outside of any record", line);
            }
        }
        listing.add(draft);
        if listing.ports.len() > MAX_PORTS {
            listing
                .strange
                .push(format!("found {} ports; at most {MAX_PORTS} are read", listing.ports.len()));
        }
        if listing.ports.is_empty() && listing.strange.is_empty() {
            listing.strange.push("found no port at all".into());
        }
        listing
    }

    fn odd(&mut self, what: &str, line: &str) {
        // One is enough to make the switch unreadable, and a hostile answer has as many as it likes.
        if self.strange.len() < 8 {
            self.strange.push(format!("{what} {:?}", line.trim().chars().take(60).collect::<String>()));
        }
    }

    fn add(&mut self, draft: Option<(String, Draft)>) {
        if let Some((port, draft)) = draft {
            self.ports.entry(port).or_default().push(draft.finish());
        }
    }
}

/// `GigabitEthernet 1/3`, or `GigabitEthernet 1/3 (Port-channel 5)` for one that is bundled.
fn port_name(text: &str) -> Option<(String, Option<String>)> {
    let (own, bundle) = match text.trim().split_once('(') {
        Some((own, rest)) => (own, Some(rest.strip_suffix(')')?)),
        None => (text.trim(), None),
    };
    Some((interface_name(own)?, bundle.map(interface_name).map(|b| b.ok_or(())).transpose().ok()?))
}

/// A type and a number, with one space between.
fn interface_name(text: &str) -> Option<String> {
    let text = text.trim();
    let at = text.find(|c: char| c.is_ascii_digit())?;
    let (kind, number) = (text[..at].trim_end(), &text[at..]);
    let plain = |c: char| c.is_ascii_alphabetic() || c == '-';
    let digits = |p: &str| !p.is_empty() && p.len() <= 4 && p.bytes().all(|b| b.is_ascii_digit());
    let fits = !kind.is_empty() && kind.len() <= 32 && kind.chars().all(plain);
    (fits && number.split(['/', ':']).all(digits)).then(|| format!("{kind} {number}"))
}

fn squeezed(line: &str) -> String {
    line.chars().filter(|c| !c.is_whitespace()).collect()
}

/// A line of the legend: `Codes:`, or a letter, a dash and a word. A row of VLANs has digits there.
fn is_legend(line: &str) -> bool {
    let line = line.trim_start();
    let line = line.strip_prefix("Codes:").unwrap_or(line);
    let packed = squeezed(line);
    let mut chars = packed.chars();
    let (letter, dash, word) = (chars.next(), chars.next(), chars.next());
    letter.is_some_and(|c| c.is_ascii_alphabetic())
        && dash == Some('-')
        && word.is_some_and(|c| c.is_ascii_alphabetic())
        && !packed.contains(|c: char| c.is_ascii_digit() && c != '1')
}

impl Draft {
    fn new(aggregate: Option<String>) -> Draft {
        Draft { at: At::Name, aggregate, tagged: String::new(), rows: Vec::new(), native: None, wrong: None }
    }

    fn line(&mut self, line: &str) {
        let text = line.trim();
        let packed = squeezed(text);
        let mut words = text.split_whitespace();
        let (first, second) = (words.next().unwrap_or_default(), words.next());
        let one_char = first.chars().count() == 1;
        let wrong = if let Some(value) = packed.strip_prefix("802.1QTagged:") {
            self.tagged = value.to_owned();
            self.go(&[At::Name, At::Description], At::Tagged)
        } else if text.starts_with("Description:") {
            self.go(&[At::Name], At::Description)
        } else if packed.eq_ignore_ascii_case("vlanmembership:") {
            self.go(&[At::Tagged], At::Membership)
        } else if packed == "QVlans" {
            self.go(&[At::Membership], At::Rows)
        } else if let Some(value) = packed.strip_prefix("NativeVlanId:") {
            self.native = Some(value.to_owned());
            self.go(&[At::Rows], At::Native)
        } else if one_char && first.starts_with(|c: char| c.is_ascii_alphabetic()) && second.is_some() {
            let code = first.chars().next().unwrap_or_default();
            self.rows.push((code, packed[1..].to_owned()));
            self.go(&[At::Rows], At::Rows)
        } else if first.starts_with(|c: char| c.is_ascii_digit()) {
            match self.rows.last_mut() {
                // A list is only ever broken after a comma; broken within a number it would be two others.
                Some((_, list)) if self.at == At::Rows && list.ends_with(',') => {
                    list.push_str(&packed);
                    None
                }
                _ => Some(format!("found {:?}, which continues no list", cut(text))),
            }
        } else {
            Some(format!("found {:?} in its record, which is not known here", cut(text)))
        };
        if self.wrong.is_none() {
            self.wrong = wrong;
        }
    }

    fn go(&mut self, from: &[At], to: At) -> Option<String> {
        let here = self.at;
        self.at = to;
        (!from.contains(&here))
            .then(|| format!("the lines of its record are not in order: {to:?} after {here:?}"))
    }

    fn finish(self) -> Record {
        let mut codes: BTreeMap<char, VlanSet> = BTreeMap::new();
        let mut wrong = self.wrong.clone();
        for (code, list) in &self.rows {
            // The list must be one, to its last digit: `1511,` is where something was cut off.
            match VlanSet::parse(list).filter(|_| list.starts_with(|c: char| c.is_ascii_digit())) {
                Some(vlans) if UNTAGGED.contains(*code) || TAGGED.contains(*code) => {
                    let all = codes.entry(*code).or_default();
                    *all = all.union(&vlans);
                }
                Some(_) => {
                    wrong.get_or_insert(format!("the membership code {code} is not known here"));
                }
                None => {
                    wrong.get_or_insert(format!(
                        "found {:?}; a list of VLANs from 1 to 4094 was expected",
                        cut(list)
                    ));
                }
            }
        }
        let state = match wrong {
            Some(why) => Err(why),
            None => self.state(&codes),
        };
        Record { state, codes }
    }

    fn state(&self, codes: &BTreeMap<char, VlanSet>) -> Result<PortState, String> {
        if self.at < At::Rows {
            return Err(format!("its record ends after {:?}", self.at));
        }
        let of = |wanted: &str| {
            codes
                .iter()
                .filter(|(c, _)| wanted.contains(**c))
                .fold(VlanSet::empty(), |all, (_, v)| all.union(v))
        };
        let (untagged, tagged) = (of(UNTAGGED), of(TAGGED));
        match self.tagged.as_str() {
            "Hybrid" => {}
            "True" if !codes.contains_key(&'U') => {}
            "False" if !codes.contains_key(&'T') => {}
            "True" | "False" => {
                return Err(format!("802.1QTagged is {} and its list of VLANs says otherwise", self.tagged));
            }
            other => {
                return Err(format!("802.1QTagged is {:?}; known are True, False and Hybrid", cut(other)));
            }
        }
        if untagged.len() > 1 {
            return Err(format!("it has several untagged VLANs: {untagged}"));
        }
        let untagged = untagged.iter().next();
        if let Some(native) = &self.native {
            let native = native.strip_suffix('.').unwrap_or(native);
            if !native.is_empty() && VlanId::parse(native) != untagged {
                return Err(format!("its native VLAN {:?} is not the untagged one of its list", cut(native)));
            }
        }
        let tagged = untagged.map_or_else(|| tagged.clone(), |v| tagged.difference(&VlanSet::one(v)));
        Ok(PortState { untagged, tagged, aggregate: self.aggregate.clone(), ..PortState::default() })
    }
}

fn cut(text: &str) -> String {
    text.chars().take(60).collect()
}

fn ports_of(answer: &Exchange) -> Vec<String> {
    output(answer).map(|text| Listing::of(&text).ports.into_keys().collect()).unwrap_or_default()
}

// ---- administrative state ------------------------------------------------------------------------------------------

/// The name of a physical interface as its URL has it: `gige-1-3`.
fn in_url(port: &str) -> Option<String> {
    let (kind, number) = port.split_once(' ')?;
    let (_, prefix, short) = TYPES.iter().find(|(printed, ..)| *printed == kind)?;
    (*short != "Po").then(|| format!("{prefix}-{}", number.replace(['/', ':'], "-")))
}

/// The inverse: from `gige-1-3`, `gige-1/3` or either with the backslash at its end.
fn from_url(text: &str) -> Option<String> {
    let (prefix, number) = text.strip_suffix('\\').unwrap_or(text).split_once('-')?;
    let (printed, ..) = TYPES.iter().find(|(_, p, _)| *p == prefix)?;
    interface_name(&format!("{printed} {}", number.replace('-', "/")))
}

/// The port that a question for one interface is about.
fn interface_asked(asked: &str) -> Option<String> {
    let (before, after) = INTERFACE.split_once("{interface}")?;
    from_url(asked.strip_prefix("GET ")?.strip_prefix(before)?.strip_suffix(after)?)
}

/// Adds what was read of `shutdown`. A port counts as down only when nothing speaks against it. One that is at layer 2 by
/// its settings and has no record is unreadable.
fn settings(
    answers: &Answers<'_>,
    routes: &[Result<String, String>; 2],
    observed: &mut Observed,
    classes: &mut Classes,
) {
    let mut switched = BTreeSet::new();
    let mut down: BTreeMap<String, Option<bool>> = BTreeMap::new();
    for exchange in answers.exchanges.iter().filter(|x| x.status == Some(200)) {
        let one = interface_asked(&exchange.asked);
        if one.is_none() && exchange.asked.strip_prefix("GET ") != Some(INTERFACES) {
            continue;
        }
        let Ok(text) = xml::rooted(&exchange.answer) else { continue };
        let Ok(tree) = xml::parse(&text) else { continue };
        for interface in tree.descendants().filter(|n| is(*n, "interface")) {
            let named = only(interface, "name").ok().flatten().and_then(|n| leaf(n).ok());
            let port = match (&one, named.as_deref().map(from_url)) {
                (Some(one), None) => one.clone(),
                (Some(one), Some(named)) if named.as_ref() == Some(one) => one.clone(),
                (None, Some(Some(named))) => named,
                _ => continue,
            };
            let layer2 = |c: Node<'_, '_>| is(c, "switchport") || is(c, "portmode");
            if children(interface).any(|c| layer2(c) && turns_something_on(c)) {
                switched.insert(port.clone());
            }
            let said =
                children(interface).filter(|c| is(*c, "shutdown")).map(|c| flag(c).ok()).collect::<Vec<_>>();
            let said = match said.as_slice() {
                [one] => *one,
                _ => None,
            };
            // Said twice, it counts only when both agree.
            down.entry(port).and_modify(|d| *d = d.filter(|_| *d == said)).or_insert(said);
        }
    }
    let briefs: Vec<BTreeMap<String, bool>> =
        routes.iter().filter_map(|r| brief(r.as_deref().ok()?)).collect();
    for (port, said) in down {
        let said = said.filter(|down| !down || briefs.iter().all(|b| b.get(&port) == Some(&true)));
        match observed.ports.get_mut(&port) {
            Some(PortReading::Read(state)) => state.admin_down = said,
            Some(PortReading::Unreadable { .. }) => {}
            None if switched.contains(&port) => {
                let why =
                    format!("it is a switchport by its settings and has no record in show {SWITCHPORT}");
                classes.unread(BypassClass::Dynamic, format!("{port} is unreadable"));
                observed.ports.insert(port, PortReading::Unreadable { might_carry: VlanSet::all(), why });
            }
            // Configured and in no VLAN: at layer 3, or a member of a bundle.
            None => {
                let state = PortState { admin_down: said, ..PortState::default() };
                observed.ports.insert(port, PortReading::Read(state));
            }
        }
    }
}

/// Which interfaces `show ip interface brief` says are administratively down; `None` for an answer without its head or
/// its end, which says nothing by what it lacks.
fn brief(text: &str) -> Option<BTreeMap<String, bool>> {
    let lines = complete(text).filter(|lines| lines.iter().any(|l| is_brief_head(l)))?;
    let line = |line| {
        let (name, _, rest) = brief_line(line)?;
        Some((name, rest.contains("administratively down")))
    };
    Some(lines.into_iter().filter_map(line).collect())
}

/// Tells every bundle its members, and makes a member unreadable whose bundle was not read.
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
                let why = format!("it is bundled into {bundle}, which has no record");
                observed.ports.insert(port, PortReading::Unreadable { might_carry: VlanSet::all(), why });
            }
        }
    }
}

// ---- bypass classes ------------------------------------------------------------------------------------------------

fn is_brief_head(line: &str) -> bool {
    squeezed(line).starts_with("InterfaceIP-Address")
}

/// Name, address and the rest of a line of `show ip interface brief`.
fn brief_line(line: &str) -> Option<(String, &str, &str)> {
    let line = line.trim_start();
    let end = line.find(char::is_whitespace)?;
    let after = line[end..].trim_start();
    let number_end = after.find(char::is_whitespace)?;
    let name = interface_name(&format!("{} {}", &line[..end], &after[..number_end]))?;
    let rest = after[number_end..].trim_start();
    let address_end = rest.find(char::is_whitespace)?;
    Some((name, &rest[..address_end], &rest[address_end..]))
}

fn routing(routes: Result<String, String>, routes6: Result<String, String>, classes: &mut Classes) {
    let class = BypassClass::Routing;
    match routes.as_deref().map(complete) {
        Err(why) => classes.unread(class, why),
        Ok(None) => classes.unread(class, format!("show {ROUTES}: the answer may be cut off")),
        Ok(Some(lines)) => {
            let mut header = false;
            for line in lines.iter().filter(|l| !l.trim().is_empty()) {
                let packed = squeezed(line);
                match brief_line(line) {
                    Some((name, address, _)) if header => {
                        if let Some(id) = name.strip_prefix("Vlan ").filter(|_| address != "unassigned") {
                            let vlans = VlanId::parse(id).map_or_else(VlanSet::all, VlanSet::one);
                            classes.dirty(class, &vlans, format!("{name} has the address {}", cut(address)));
                        }
                    }
                    _ if is_brief_head(line) => header = true,
                    _ if !header && packed.ends_with(&squeezed(ROUTES)) => {}
                    _ => classes.unread(class, format!("show {ROUTES}: found {:?}", cut(line))),
                }
            }
            if !header {
                classes.unread(class, format!("show {ROUTES}: the answer has no head"));
            }
        }
    }
    match routes6.as_deref().map(complete) {
        Err(why) => classes.unread(class, why),
        Ok(None) => classes.unread(class, format!("show {ROUTES6}: the answer may be cut off")),
        Ok(Some(lines)) => {
            for line in lines.iter().filter(|l| !l.trim().is_empty()) {
                let lower = line.trim().to_ascii_lowercase();
                if let Some(id) = vlan_row(&lower) {
                    let vlans = VlanId::parse(id).map_or_else(VlanSet::all, VlanSet::one);
                    classes.dirty(class, &vlans, format!("{} has an IPv6 address", cut(line.trim())));
                } else if !is_no_vlan(&lower) && !squeezed(&lower).ends_with(&squeezed(ROUTES6)) {
                    classes.unread(class, format!("show {ROUTES6}: found {:?}", cut(line)));
                }
            }
        }
    }
}

/// What stands behind `vlan` or `vl` in a row about a VLAN interface, with a space between or without.
fn vlan_row(lower: &str) -> Option<&str> {
    let rest = lower.strip_prefix("vlan").or_else(|| lower.strip_prefix("vl"))?;
    let apart = rest.starts_with(|c: char| c.is_whitespace() || c.is_ascii_digit());
    apart.then(|| rest.split_whitespace().next().unwrap_or_default())
}

/// Whether a row of [`ROUTES6`] is about an interface that is no VLAN's, or an address of the interface above it.
fn is_no_vlan(lower: &str) -> bool {
    let first = lower.split_whitespace().next().unwrap_or_default();
    let address = first.split('/').next().unwrap_or_default();
    if address.parse::<std::net::Ipv6Addr>().is_ok() {
        return true;
    }
    let (kind, rest) = lower.split_at(lower.find(|c: char| c.is_ascii_digit()).unwrap_or(lower.len()));
    let kind = kind.trim_end();
    let known = TYPES.iter().flat_map(|(printed, _, short)| [*printed, *short]);
    !rest.is_empty() && known.chain(OTHERS).any(|k| k.eq_ignore_ascii_case(kind))
}

/// Interfaces that are neither ports nor VLANs'.
const OTHERS: [&str; 6] = ["ManagementEthernet", "Ma", "Loopback", "Lo", "Tunnel", "Tu"];

fn mirrors(
    sessions: Result<String, String>,
    sflow: Result<String, String>,
    observed: &Observed,
    classes: &mut Classes,
) {
    let class = BypassClass::Mirror;
    match sessions.as_deref().map(complete) {
        Err(why) => classes.unread(class, why),
        Ok(None) => classes.unread(class, format!("show {SESSIONS}: the answer may be cut off")),
        Ok(Some(lines)) => {
            for line in lines.iter().filter(|l| !l.trim().is_empty()) {
                let packed = squeezed(line);
                let words: Vec<&str> = line.split_whitespace().collect();
                let session = words.first().filter(|w| w.bytes().all(|b| b.is_ascii_digit()));
                if let Some(session) = session {
                    let from = words.get(1..3).map(|source| source.join(" "));
                    let vlans = from.as_deref().map_or_else(VlanSet::all, |source| copied(source, observed));
                    let what =
                        format!("monitor session {} copies {}", cut(session), cut(&from.unwrap_or_default()));
                    classes.dirty(class, &vlans, what);
                } else if !((packed.starts_with("SessionID") || packed.starts_with("SessID"))
                    || packed.chars().all(|c| c == '-')
                    || packed.ends_with(&squeezed(SESSIONS)))
                {
                    classes.unread(class, format!("show {SESSIONS}: found {:?}", cut(line)));
                }
            }
        }
    }
    match sflow.as_deref() {
        Err(why) => classes.unread(class, why),
        Ok(text) if complete(text).is_none() => {
            classes.unread(class, format!("show {SFLOW}: the answer may be cut off"));
        }
        Ok(text) => {
            let said: BTreeSet<bool> = text.lines().filter_map(says_sflow).collect();
            if said.contains(&true) {
                classes.dirty(class, &VlanSet::all(), "sFlow sends samples of frames to a collector");
            } else if said.is_empty() {
                classes.unread(class, format!("show {SFLOW}: the answer does not say whether it is enabled"));
            }
        }
    }
}

/// The VLANs of a mirror's source, `Gi 1/3` or `Vl 40`.
fn copied(source: &str, observed: &Observed) -> VlanSet {
    let Some((kind, number)) = source.split_once(' ') else { return VlanSet::all() };
    if kind.eq_ignore_ascii_case("vl") {
        return VlanId::parse(number).map_or_else(VlanSet::all, VlanSet::one);
    }
    let full =
        TYPES.iter().find(|(.., short)| *short == kind).map(|(printed, ..)| format!("{printed} {number}"));
    match full.and_then(|port| observed.ports.get(&port)) {
        Some(PortReading::Read(state)) if !state.carries().is_empty() => state.carries(),
        // A port that carries nothing by itself may be a member of a bundle.
        _ => VlanSet::all(),
    }
}

#[cfg(test)]
mod tests;
