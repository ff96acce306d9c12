//! From pages to the normal form: pure, total, and suspicious.
//!
//! HIL has no transaction over several requests, so pages are compared with each other: what one names and another
//! does not know is a [`Doubt`] with the questions that may settle it. Doubts that remain are anomalies.

use super::answer::{Answer, Pages, quote};
use super::ask::Ask;
use super::channel;
use super::json::Json;
use isoledger_core::VlanId;
use isoledger_core::model::{
    Access, Action, Anomaly, Attachment, Cable, Channel, Declared, Network, NetworkVlan, Owner, PortId,
};
use std::collections::{BTreeMap, BTreeSet};

/// A declaration with more anomalies than this is unreadable many times over; the rest are counted.
const MAX_ANOMALIES: usize = 200;

/// Something that does not hold together, and what to ask again in case HIL was changing meanwhile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Doubt {
    pub(super) anomaly: Anomaly,
    /// Empty when asking again cannot help.
    pub(super) again: Vec<Ask>,
}

/// The declaration with its remaining doubts as anomalies.
pub(super) fn settle(mut declared: Declared, doubts: Vec<Doubt>) -> Declared {
    let more = doubts.len().saturating_sub(MAX_ANOMALIES);
    declared.anomalies = doubts.into_iter().take(MAX_ANOMALIES).map(|d| d.anomaly).collect();
    if more > 0 {
        declared
            .anomalies
            .push(Anomaly { about: "/v0".into(), what: format!("{more} more anomalies are not listed") });
    }
    declared
}

/// What the pages declare, and every doubt about it.
pub(super) fn read(pages: &Pages) -> (Declared, Vec<Doubt>) {
    let mut reader = Reader { pages, doubts: Vec::new() };
    let mut declared = Declared::default();
    let switches = reader.ports(&mut declared);
    let vlans = reader.networks();
    let nodes = reader.nodes(&mut declared, &vlans, &switches);
    reader.owners(&mut declared, &vlans, &nodes);
    reader.actions(&mut declared);
    (declared, reader.doubts)
}

/// The labels that the three lists name, as questions; `None` for a list that cannot be read.
pub(super) fn listed(pages: &Pages) -> [Option<BTreeSet<Ask>>; 3] {
    let mut reader = Reader { pages, doubts: Vec::new() };
    let switches = reader.labels(&Ask::Switches).map(|l| l.into_iter().map(Ask::Switch).collect());
    let nodes = reader.labels(&Ask::Nodes).map(|l| l.into_iter().map(Ask::Node).collect());
    let networks = match reader.open(&Ask::Networks, None) {
        Some(Json::Object(members)) => {
            Some(members.into_iter().map(|(name, _)| Ask::Network(name)).collect())
        }
        _ => None,
    };
    [switches, nodes, networks]
}

/// The switches' pages: what each switch that could be read has registered.
type Ports = BTreeMap<String, BTreeSet<String>>;
/// The networks by name; `None` when their list cannot be read.
type Vlans = Option<BTreeMap<String, (NetworkVlan, Access)>>;

/// The nodes' pages.
struct Nodes {
    /// Nodes whose pages could be read.
    read: BTreeSet<String>,
    /// Connected nics as the nodes tell them: network to (node, nic).
    connected: BTreeMap<String, BTreeSet<(String, String)>>,
}

struct Reader<'a> {
    pages: &'a Pages,
    doubts: Vec<Doubt>,
}

impl Reader<'_> {
    fn doubt(&mut self, about: impl Into<String>, what: impl Into<String>, again: &[&Ask]) {
        let again = again.iter().filter(|a| a.unaskable().is_none()).map(|&a| a.clone()).collect();
        self.doubts.push(Doubt { anomaly: Anomaly { about: about.into(), what: what.into() }, again });
    }

    /// The JSON of a page that answered 200; otherwise a doubt. `list` is asked again when the page is gone.
    fn open(&mut self, ask: &Ask, list: Option<&Ask>) -> Option<Json> {
        let path = ask.path();
        let Some(answer) = self.pages.get(ask) else {
            match ask.unaskable() {
                Some(why) => self.doubt(path, format!("cannot be asked for: {why}; rename it in HIL"), &[]),
                None => self.doubt(path, "was not read; an answer was expected", &[ask]),
            }
            return None;
        };
        let mut again = vec![ask];
        let what = match (answer.status, Json::parse(&answer.body)) {
            (200, Ok(json)) => {
                if let Some(name) = json.repeated() {
                    let name = quote(name.as_bytes());
                    self.doubt(path, format!("an object has two members \"{name}\"; names must differ"), &[]);
                }
                return Some(json);
            }
            (200, Err(_)) if answer.body.is_empty() => "found an empty body; JSON was expected".into(),
            (200, Err(why)) => {
                format!("found no JSON ({why}) but \"{}\"", quote(&answer.body))
            }
            (status, _) if answer.not_found() => {
                again.extend(list);
                format!(
                    "HIL listed it and then did not know it ({status}: {}): it was removed during the crawl, or the \
                     database is inconsistent",
                    quote(answer.error().unwrap_or_default().1.as_bytes())
                )
            }
            (status, _) => match answer.error() {
                Some((class, text)) => {
                    format!("HIL answered {status} {}: {}", quote(class.as_bytes()), quote(text.as_bytes()))
                }
                None => format!("HIL answered {status} \"{}\"; 200 was expected", quote(&answer.body)),
            },
        };
        self.doubt(path, what, &again);
        None
    }

    /// A member that must be there and of this type.
    fn member<'j, T>(
        &mut self,
        about: &str,
        object: &'j Json,
        name: &str,
        expected: &str,
        take: impl FnOnce(&'j Json) -> Option<T>,
    ) -> Option<T> {
        let found = match object.member(name) {
            Some(value) => match take(value) {
                Some(taken) => return Some(taken),
                None => value.kind(),
            },
            None => "nothing",
        };
        self.doubt(about, format!("`{name}` is {found}; {expected} was expected"), &[]);
        None
    }

    /// The strings of a list; a doubt for each element that is none.
    fn texts(&mut self, about: &str, items: &[Json]) -> Vec<String> {
        let mut out = Vec::with_capacity(items.len());
        for item in items {
            match item {
                Json::Text(text) => out.push(text.clone()),
                other => {
                    self.doubt(
                        about,
                        format!("the list has {}; only strings were expected", other.kind()),
                        &[],
                    );
                }
            }
        }
        out
    }

    /// A page that is a list of labels.
    fn labels(&mut self, ask: &Ask) -> Option<BTreeSet<String>> {
        let about = ask.path();
        match self.open(ask, None)? {
            Json::List(items) => {
                let texts = self.texts(&about, &items);
                let mut labels = BTreeSet::new();
                for text in texts {
                    if !labels.insert(text.clone()) {
                        self.doubt(&about, format!("lists \"{}\" twice", quote(text.as_bytes())), &[ask]);
                    }
                }
                Some(labels)
            }
            other => {
                self.doubt(about, format!("is {}; a list was expected", other.kind()), &[ask]);
                None
            }
        }
    }

    /// The labels whose pages are to be read: those listed, and those that were read without being listed.
    fn pages_of(
        &mut self,
        list: &Ask,
        listed: Option<BTreeSet<String>>,
        have: BTreeSet<String>,
    ) -> BTreeSet<String> {
        let Some(mut listed) = listed else { return have };
        for label in have {
            if !listed.contains(&label) {
                let shown = quote(label.as_bytes());
                self.doubt(list.path(), format!("does not list \"{shown}\", whose page was read"), &[list]);
                listed.insert(label);
            }
        }
        listed
    }

    fn check_name(&mut self, about: &str, page: &Json, label: &str, ask: &Ask) {
        if let Some(name) = self.member(about, page, "name", "a string", text)
            && name != label
        {
            let what = format!(
                "is the page of \"{}\"; \"{}\" was asked for",
                quote(name.as_bytes()),
                quote(label.as_bytes())
            );
            self.doubt(about, what, &[ask]);
        }
    }

    /// Registered ports.
    fn ports(&mut self, declared: &mut Declared) -> Ports {
        let mut ports = Ports::new();
        let listed = self.labels(&Ask::Switches);
        let have =
            self.pages.keys().filter_map(|a| if let Ask::Switch(l) = a { Some(l.clone()) } else { None });
        for switch in self.pages_of(&Ask::Switches, listed, have.collect()) {
            let ask = Ask::Switch(switch.clone());
            let about = ask.path();
            let Some(page) = self.open(&ask, Some(&Ask::Switches)) else { continue };
            self.check_name(&about, &page, &switch, &ask);
            let Some(items) = self.member(&about, &page, "ports", "a list", list) else { continue };
            let mut known = BTreeSet::new();
            for item in items {
                // HIL does not keep port labels unique, even on one switch. Rows that share one mean one port.
                if let Some(port) = self.member(&about, item, "label", "a string", text) {
                    declared.registered.insert(PortId::new(&switch, port));
                    known.insert(port.to_owned());
                }
            }
            ports.insert(switch, known);
        }
        ports
    }

    /// VLANs and access lists.
    fn networks(&mut self) -> Vlans {
        let ask = Ask::Networks;
        let about = ask.path();
        let members = match self.open(&ask, None)? {
            Json::Object(members) => members,
            other => {
                self.doubt(about, format!("is {}; an object was expected", other.kind()), &[&ask]);
                return None;
            }
        };
        let mut networks = BTreeMap::new();
        for (name, entry) in members {
            let about = format!("{about} {}", quote(name.as_bytes()));
            let vlan = match entry.member("network_id") {
                Some(Json::Text(id)) => {
                    VlanId::parse(id).map_or_else(|| NetworkVlan::Unassessable(id.clone()), NetworkVlan::Id)
                }
                found => {
                    let kind = found.map_or("nothing", Json::kind);
                    self.doubt(&about, format!("`network_id` is {kind}; a string was expected"), &[]);
                    NetworkVlan::Unassessable(String::new())
                }
            };
            let access = self.access(&about, &entry, "projects");
            // Two entries of one name are a doubt already; the first stands.
            networks.entry(name).or_insert((vlan, access));
        }
        Some(networks)
    }

    /// An access list; null means public. One that cannot be read lets nobody in.
    fn access(&mut self, about: &str, object: &Json, name: &str) -> Access {
        match object.member(name) {
            Some(Json::Null) => Access::Public,
            Some(Json::List(items)) => Access::Projects(self.texts(about, items).into_iter().collect()),
            found => {
                let kind = found.map_or("nothing", Json::kind);
                self.doubt(
                    about,
                    format!("`{name}` is {kind}; a list of projects or null was expected"),
                    &[],
                );
                Access::Projects(BTreeSet::new())
            }
        }
    }

    /// Attachments and cabling.
    fn nodes(&mut self, declared: &mut Declared, vlans: &Vlans, ports: &Ports) -> Nodes {
        let mut nodes = Nodes { read: BTreeSet::new(), connected: BTreeMap::new() };
        let listed = self.labels(&Ask::Nodes);
        let have =
            self.pages.keys().filter_map(|a| if let Ask::Node(l) = a { Some(l.clone()) } else { None });
        for node in self.pages_of(&Ask::Nodes, listed, have.collect()) {
            let ask = Ask::Node(node.clone());
            let about = ask.path();
            let Some(page) = self.open(&ask, Some(&Ask::Nodes)) else { continue };
            self.check_name(&about, &page, &node, &ask);
            let project = self.member(&about, &page, "project", "a string or null", text_or_null).flatten();
            if let Some(project) = project {
                declared.holders.insert(node.clone(), project.to_owned());
            }
            let Some(nics) = self.member(&about, &page, "nics", "a list", list) else { continue };
            let mut seen = BTreeSet::new();
            for nic in nics {
                let Some(label) = self.member(&about, nic, "label", "a string", text) else { continue };
                let about = format!("{about} nic {}", quote(label.as_bytes()));
                if !seen.insert(label) {
                    self.doubt(&about, "the node has two nics of this label; one was expected", &[]);
                }
                let mac = self.member(&about, nic, "macaddr", "a string or null", text_or_null).flatten();
                let port = self.port(&about, nic);
                if let Some(port) = &port {
                    declared.cabling.insert(Cable {
                        port: port.clone(),
                        node: node.clone(),
                        nic: label.into(),
                    });
                    self.check_registered(&about, &ask, port, ports);
                    declared.registered.insert(port.clone());
                }
                let Some(networks) = self.member(&about, nic, "networks", "an object", object) else {
                    continue;
                };
                for (channel, network) in networks {
                    let Json::Text(network) = network else {
                        let channel = quote(channel.as_bytes());
                        self.doubt(
                            &about,
                            format!("`{channel}` is {}; a network's name was expected", network.kind()),
                            &[],
                        );
                        continue;
                    };
                    let known = vlans.as_ref().map(|v| v.get(network));
                    if known == Some(None) {
                        let theirs = Ask::Network(network.clone());
                        let network = quote(network.as_bytes());
                        self.doubt(
                            &about,
                            format!(
                                "is on network \"{network}\", which {} does not list",
                                Ask::Networks.path()
                            ),
                            &[&Ask::Networks, &ask, &theirs],
                        );
                    }
                    let vlan = known.flatten().map(|(vlan, _)| vlan);
                    let channel = self.channel(&about, channel, network, vlan, &ask);
                    nodes
                        .connected
                        .entry(network.clone())
                        .or_default()
                        .insert((node.clone(), label.to_owned()));
                    declared.attachments.insert(Attachment {
                        network: network.clone(),
                        project: project.map(str::to_owned),
                        node: node.clone(),
                        nic: label.to_owned(),
                        mac: mac.map(str::to_owned),
                        port: port.clone(),
                        channel,
                    });
                }
            }
            nodes.read.insert(node);
        }
        nodes
    }

    /// The port of a nic. Both members are null when there is none; HIL leaves both out for all but administrators.
    fn port(&mut self, about: &str, nic: &Json) -> Option<PortId> {
        match (nic.member("switch"), nic.member("port")) {
            (Some(Json::Text(switch)), Some(Json::Text(port))) => Some(PortId::new(switch, port)),
            (Some(Json::Null), Some(Json::Null)) => None,
            (None, None) => {
                let what = "has no `switch` and no `port`: HIL shows them to administrators only";
                self.doubt(about, what, &[]);
                None
            }
            (switch, port) => {
                let [switch, port] = [switch, port].map(|found| found.map_or("nothing", Json::kind));
                self.doubt(
                    about,
                    format!(
                        "`switch` is {switch} and `port` is {port}; two strings or two nulls were expected"
                    ),
                    &[],
                );
                None
            }
        }
    }

    fn check_registered(&mut self, about: &str, node: &Ask, port: &PortId, ports: &Ports) {
        let page = Ask::Switch(port.switch.clone());
        let missing = match ports.get(&port.switch) {
            Some(known) => !known.contains(&port.port),
            // A page that was there but could not be read is a doubt of its own.
            None => !self.pages.contains_key(&page),
        };
        if missing {
            let what = format!(
                "is cabled to {}, which {} does not list",
                quote(port.to_string().as_bytes()),
                page.path()
            );
            self.doubt(about, what, &[node, &page, &Ask::Switches]);
        }
    }

    /// A channel. A tagged one must name its network's own id: which of two different ids the switch was given
    /// cannot be known from here.
    fn channel(
        &mut self,
        about: &str,
        channel: &str,
        network: &str,
        vlan: Option<&NetworkVlan>,
        node: &Ask,
    ) -> Channel {
        let (read, fits) = channel::read(channel, vlan);
        if !fits {
            let what = channel::misfit(network, channel);
            self.doubt(about, what, &[&Ask::Networks, node]);
        }
        read
    }

    /// Owners, and the second opinion on who is connected.
    fn owners(&mut self, declared: &mut Declared, vlans: &Vlans, nodes: &Nodes) {
        let have =
            self.pages.keys().filter_map(|a| if let Ask::Network(l) = a { Some(l.clone()) } else { None });
        let listed = vlans.as_ref().map(|v| v.keys().cloned().collect());
        for name in self.pages_of(&Ask::Networks, listed, have.collect()) {
            let ask = Ask::Network(name.clone());
            let about = ask.path();
            // An owner that cannot be read gives nobody a right. The doubt makes the declaration unreadable.
            let mut owner = Owner::Admin;
            let mut second = None;
            if let Some(page) = self.open(&ask, Some(&Ask::Networks)) {
                self.check_name(&about, &page, &name, &ask);
                match self.member(&about, &page, "owner", "a string", text) {
                    // HIL writes "admin" for "no project". A project labelled `admin` looks the same, and has its
                    // right through the access list, from which HIL never removes an owner.
                    None | Some("admin") => {}
                    Some(project) => owner = Owner::Project(project.to_owned()),
                }
                second = Some(self.access(&about, &page, "access"));
                self.check_connected(&about, &page, &name, nodes);
            }
            let Some((vlan, access)) = vlans.as_ref().and_then(|v| v.get(&name)) else { continue };
            if second.as_ref().is_some_and(|second| second != access) {
                let what = format!("has another access list than {}", Ask::Networks.path());
                self.doubt(&about, what, &[&Ask::Networks, &ask]);
            }
            declared.networks.insert(name, Network { vlan: vlan.clone(), owner, access: access.clone() });
        }
    }

    /// Compares a network's connected nics with what the nodes' pages say: both are whole for an administrator.
    fn check_connected(&mut self, about: &str, page: &Json, network: &str, nodes: &Nodes) {
        let Some(connected) = self.member(about, page, "connected-nodes", "an object", object) else {
            return;
        };
        let mut here = BTreeSet::new();
        for (node, nics) in connected {
            let Json::List(nics) = nics else {
                let node = quote(node.as_bytes());
                self.doubt(about, format!("`{node}` is {}; a list of nics was expected", nics.kind()), &[]);
                continue;
            };
            let nics = self.texts(about, nics);
            here.extend(nics.into_iter().map(|nic| (node.clone(), nic)));
        }
        let none = BTreeSet::new();
        let there = nodes.connected.get(network).unwrap_or(&none);
        for (node, nic) in here.symmetric_difference(there) {
            let page = Ask::Node(node.clone());
            // A node whose page was there but could not be read is a doubt of its own.
            if !nodes.read.contains(node) && self.pages.contains_key(&page) {
                continue;
            }
            let (says, denies) = if there.contains(&(node.clone(), nic.clone())) {
                (page.path(), about.to_owned())
            } else {
                (about.to_owned(), page.path())
            };
            let nic = quote(nic.as_bytes());
            let what = format!("{says} says that nic \"{nic}\" is connected, {denies} does not");
            let this = Ask::Network(network.to_owned());
            let mut again = vec![&this, &page];
            if !nodes.read.contains(node) {
                again.push(&Ask::Nodes);
            }
            self.doubt(about, what, &again);
        }
    }

    /// The actions whose uuids the operator gave.
    fn actions(&mut self, declared: &mut Declared) {
        let asks: Vec<Ask> = self.pages.keys().filter(|a| matches!(a, Ask::Action(_))).cloned().collect();
        for ask in asks {
            // The next action on the nic deletes this one's row: unknown is over.
            if self.pages.get(&ask).is_some_and(Answer::not_found) {
                continue;
            }
            let about = ask.path();
            let Some(page) = self.open(&ask, None) else { continue };
            let status = self.member(&about, &page, "status", "a string", text);
            let node = self.member(&about, &page, "node", "a string", text);
            let nic = self.member(&about, &page, "nic", "a string", text);
            let network = self.member(&about, &page, "new_network", "a string or null", text_or_null);
            let (Some(status), Some(node), Some(nic), Some(network)) = (status, node, nic, network) else {
                continue;
            };
            let pending = match status {
                "DONE" => continue,
                "PENDING" => true,
                "ERROR" => false,
                other => {
                    let other = quote(other.as_bytes());
                    self.doubt(
                        &about,
                        format!("`status` is \"{other}\"; PENDING, DONE or ERROR was expected"),
                        &[],
                    );
                    true
                }
            };
            let port =
                declared.cabling.iter().find(|c| c.node == node && c.nic == nic).map(|c| c.port.clone());
            declared.actions.insert(Action {
                node: node.to_owned(),
                nic: nic.to_owned(),
                port,
                network: network.map(str::to_owned),
                pending,
            });
        }
    }
}

fn text(json: &Json) -> Option<&str> {
    if let Json::Text(text) = json { Some(text) } else { None }
}

fn text_or_null(json: &Json) -> Option<Option<&str>> {
    match json {
        Json::Text(text) => Some(Some(text)),
        Json::Null => Some(None),
        _ => None,
    }
}

fn list(json: &Json) -> Option<&[Json]> {
    if let Json::List(items) = json { Some(items) } else { None }
}

fn object(json: &Json) -> Option<&[(String, Json)]> {
    if let Json::Object(members) = json { Some(members) } else { None }
}
