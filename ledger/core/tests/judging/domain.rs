//! A small language for domains, so that a test of judging reads as a table: what is declared, what was observed,
//! what the scope says, and the judgement in one line.
//!
//! ```text
//! net red 100 of red with blue        network, VLAN (or "4096"), owner (admin), access list (public)
//! switch a labels x,y                 in the scope, read, every bypass class clean
//! switch b silent                     unreadable, source-changed; garbled: an anomaly; unseen: no view of it at all
//! port a 1 untagged 100 tagged 200    down, unfiltered, in po1, members 1,2
//! port a 1 unreadable 100-200         might carry these
//! attach red red/n1/eth0 a 1 native   project (- for a free node), label and port (or nowhere), native, tagged, null
//! attach red red/h1/eth0 nowhere host a machine on the manager's host
//! cable a 1 n2/eth0                   a nic without attachment
//! known a 1                           a port the manager knows
//! held n2 blue                        a node and the project that holds it
//! between a 3 100,200                 carried between two readings only; all: at one moment every VLAN
//! link a 9 b 9 100-200                exit core router a 8 all
//! unassessed a 7                      moving a 1 polls 2 for 60s
//! bypass a flows dirty 100            unread
//! manager silent                      unreadable; garbled
//! disclose
//! ```

use isoledger_core::assemble::{self, Assembly, Inputs, SourceView, SwitchView, active_moving};
use isoledger_core::content::MovingPort;
use isoledger_core::hash::Digest;
use isoledger_core::judge::{CommonIndex, Inconsistent, Judgement, NotAssessed, Subject, judge};
use isoledger_core::lease::Slots;
use isoledger_core::model::*;
use isoledger_core::slice::Peer;
use isoledger_core::{Span, Timestamp, VlanId, VlanSet};
use std::collections::{BTreeMap, BTreeSet};

/// When the poll of every test started.
pub(crate) const STARTED: u64 = 1_772_446_272_000;

/// A switch as the poll met it.
#[derive(Clone, Debug)]
pub(crate) struct View {
    pub(crate) failure: Option<Failure>,
    pub(crate) observed: Option<Observed>,
}

/// Everything one poll knows.
#[derive(Clone, Debug)]
pub(crate) struct Domain {
    pub(crate) scope: Scope,
    pub(crate) declared: Declared,
    pub(crate) manager: Option<Failure>,
    pub(crate) views: BTreeMap<String, View>,
    pub(crate) moving: Vec<MovingPort>,
    pub(crate) accept: BTreeSet<BypassClass>,
}

impl Default for Domain {
    fn default() -> Domain {
        Domain {
            scope: Scope { domain: "moc".into(), ..Scope::default() },
            declared: Declared::default(),
            manager: None,
            views: BTreeMap::new(),
            moving: Vec::new(),
            accept: BTreeSet::new(),
        }
    }
}

/// A reading in which every class of bypass is clean.
pub(crate) fn clean() -> Observed {
    let bypasses = BypassClass::ALL.map(|c| (c, BypassReading::Clean));
    Observed { bypasses: bypasses.into(), ..Observed::default() }
}

/// Random bytes that are the same every time.
pub(crate) fn entropy() -> impl FnMut() -> [u8; 32] {
    let mut n = 0u64;
    move || {
        n += 1;
        Digest::of(&n.to_be_bytes()).0
    }
}

fn failure(word: &str) -> Option<Failure> {
    match word {
        "silent" => Some(Failure::Silent),
        "unreadable" => Some(Failure::Unreadable),
        "source-changed" => Some(Failure::SourceChanged),
        _ => None,
    }
}

fn vlans(text: &str) -> VlanSet {
    VlanSet::parse(text).unwrap_or_else(|| panic!("{text:?} is no VLAN set"))
}

fn anomaly() -> Anomaly {
    Anomaly { about: "line 7".into(), what: "a word nobody knows".into() }
}

impl Domain {
    /// Reads a scenario.
    pub(crate) fn parse(text: &str) -> Domain {
        let mut d = Domain::default();
        for line in text.lines() {
            let words: Vec<&str> = line.split_whitespace().collect();
            if !words.is_empty() {
                d.line(&words);
            }
        }
        d
    }

    fn line(&mut self, words: &[&str]) {
        let project = |p: &str| (p != "-").then(|| p.to_owned());
        match words {
            ["net", name, vlan, "of", owner, rest @ ..] => {
                let vlan = match vlan.parse().ok().and_then(VlanId::new) {
                    Some(v) => NetworkVlan::Id(v),
                    None => NetworkVlan::Unassessable(vlan.trim_matches('"').into()),
                };
                let owner = if *owner == "admin" { Owner::Admin } else { Owner::Project((*owner).into()) };
                let access = match rest {
                    [] => Access::Projects(BTreeSet::new()),
                    ["public"] => Access::Public,
                    ["with", list] => Access::Projects(list.split(',').map(String::from).collect()),
                    other => panic!("{other:?}"),
                };
                self.declared.networks.insert((*name).into(), Network { vlan, owner, access });
            }
            ["switch", name, rest @ ..] => {
                let mut view = Some(View { failure: None, observed: Some(clean()) });
                let mut s = ScopeSwitch::default();
                let mut rest = rest.iter();
                while let Some(word) = rest.next() {
                    match *word {
                        "labels" => s.labels = rest.next().unwrap().split(',').map(String::from).collect(),
                        "unseen" => view = None,
                        "garbled" => {
                            let o = Observed { anomalies: vec![anomaly()], ..clean() };
                            view = Some(View { failure: None, observed: Some(o) });
                        }
                        word => view = Some(View { failure: Some(failure(word).unwrap()), observed: None }),
                    }
                }
                self.scope.switches.insert((*name).into(), s);
                self.views.extend(view.map(|v| ((*name).into(), v)));
            }
            ["port", switch, port, "unreadable", might_carry] => {
                let reading =
                    PortReading::Unreadable { might_carry: vlans(might_carry), why: "private-vlan".into() };
                self.observed(switch).ports.insert((*port).into(), reading);
            }
            ["port", switch, port, rest @ ..] => {
                let mut state = PortState { ingress_filtering: Some(true), ..PortState::default() };
                let mut rest = rest.iter();
                while let Some(word) = rest.next() {
                    match *word {
                        "untagged" => state.untagged = rest.next().and_then(|v| VlanId::parse(v)),
                        "tagged" => state.tagged = vlans(rest.next().unwrap()),
                        "down" => state.admin_down = Some(true),
                        "unfiltered" => state.ingress_filtering = Some(false),
                        "in" => state.aggregate = rest.next().map(|s| (*s).into()),
                        "members" => {
                            state.members = rest.next().unwrap().split(',').map(String::from).collect();
                        }
                        other => panic!("{other}"),
                    }
                }
                self.observed(switch).ports.insert((*port).into(), PortReading::Read(state));
            }
            ["attach", network, who, rest @ ..] => {
                let who: Vec<&str> = who.split('/').collect();
                let (port, channel) = match rest {
                    ["nowhere", channel] => (None, *channel),
                    [switch, port, channel] => (Some(PortId::new(*switch, *port)), *channel),
                    other => panic!("{other:?}"),
                };
                let channel = match (channel, self.declared.networks.get(*network).map(|n| &n.vlan)) {
                    ("native", _) => Channel::Native,
                    ("host", _) => Channel::ManagerHost,
                    ("tagged", Some(NetworkVlan::Id(v))) => Channel::Tagged(*v),
                    _ => Channel::Other(channel.into()),
                };
                self.declared.registered.extend(port.clone());
                self.declared.attachments.insert(Attachment {
                    network: (*network).into(),
                    project: project(who[0]),
                    node: who[1].into(),
                    nic: who[2].into(),
                    mac: None,
                    port,
                    channel,
                });
            }
            ["cable", switch, port, who] => {
                let (node, nic) = who.split_once('/').unwrap();
                let port = PortId::new(*switch, *port);
                self.declared.cabling.insert(Cable { port, node: node.into(), nic: nic.into() });
            }
            ["known", switch, port] => {
                self.declared.registered.insert(PortId::new(*switch, *port));
            }
            ["held", node, project] => {
                self.declared.holders.insert((*node).into(), (*project).into());
            }
            ["between", switch, port, set, rest @ ..] => {
                let (from, to) = (STARTED - 20_000, STARTED - 10_000);
                let at = |ms| Timestamp::from_millis(ms).unwrap();
                let between =
                    Between { vlans: vlans(set), all: *rest == ["all"], from: at(from), to: at(to) };
                self.observed(switch).between.insert((*port).into(), between);
            }
            ["link", a, pa, b, pb, set] => self.scope.links.push(Link {
                a: PortId::new(*a, *pa),
                b: PortId::new(*b, *pb),
                vlans: vlans(set),
            }),
            ["exit", name, kind, switch, port, set] => self.scope.exits.push(Exit {
                name: (*name).into(),
                kind: serde_json::from_str(&format!("{kind:?}")).unwrap(),
                port: PortId::new(*switch, *port),
                vlans: vlans(set),
            }),
            ["unassessed", switch, port] => self
                .scope
                .unassessed
                .push(Unassessed { port: PortId::new(*switch, *port), reason: "lab bench".into() }),
            ["moving", switch, port, "polls", polls, "for", span] => {
                let started = Timestamp::from_millis(STARTED).unwrap();
                self.moving.push(MovingPort {
                    port: PortId::new(*switch, *port),
                    polls: polls.parse().unwrap(),
                    since: started.minus(Span::parse(span).unwrap()),
                });
            }
            ["moving", switch, port] => self.line(&["moving", switch, port, "polls", "1", "for", "0s"]),
            ["bypass", switch, class, rest @ ..] => {
                let class = BypassClass::from_name(class).unwrap();
                let reading = match rest {
                    ["dirty", set] => BypassReading::Dirty { vlans: vlans(set), detail: "a rule".into() },
                    ["unread"] => BypassReading::NotRead { why: "no answer".into() },
                    other => panic!("{other:?}"),
                };
                self.observed(switch).bypasses.insert(class, reading);
            }
            ["manager", "garbled"] => self.declared.anomalies.push(anomaly()),
            ["manager", word] => self.manager = failure(word),
            ["accept", class] => {
                self.accept.insert(BypassClass::from_name(class).unwrap());
            }
            ["disclose"] => self.scope.disclose_ports = true,
            other => panic!("what is {other:?}?"),
        }
    }

    fn observed(&mut self, switch: &str) -> &mut Observed {
        let view = self.views.get_mut(switch).unwrap_or_else(|| panic!("no switch {switch}"));
        view.observed.as_mut().unwrap_or_else(|| panic!("{switch} was not read"))
    }

    /// Leases and keys in force.
    pub(crate) fn slots(&self) -> Slots {
        let mut e = entropy();
        Slots::new(&mut e).advance(&self.declared, 3, &mut e)
    }

    /// Cuts the domain into slices and common part.
    pub(crate) fn assemble(&self) -> Assembly {
        let reader = |dialect: &str| Reader { dialect: dialect.into(), version: 1 };
        let (hil, ovs) = (reader("hil"), reader("openvswitch"));
        let view = |v: &View| (v.failure, v.observed.clone());
        let views: BTreeMap<String, (Option<Failure>, Option<Observed>)> =
            self.views.iter().map(|(n, v)| (n.clone(), view(v))).collect();
        let switches = views
            .iter()
            .map(|(name, (failure, observed))| {
                let identity = failure.is_none().then_some("SHA256:serial-of-it");
                let source = SourceView { reader: &ovs, identity, failure: *failure };
                (name.clone(), SwitchView { source, observed: observed.as_ref() })
            })
            .collect();
        let slots = self.slots();
        let moving = active_moving(&self.moving, Timestamp::from_millis(STARTED).unwrap());
        assemble::assemble(&Inputs {
            scope: &self.scope,
            scope_seq: 1,
            slots: &slots,
            declared: &self.declared,
            manager: SourceView { reader: &hil, identity: None, failure: self.manager },
            switches: &switches,
            moving: &moving,
        })
    }

    /// Judges one network.
    pub(crate) fn judge(&self, network: &str) -> Judgement {
        judge_in(&self.assemble(), network, &self.accept).unwrap()
    }
}

/// Judges one network of an assembly.
pub(crate) fn judge_in(
    a: &Assembly,
    network: &str,
    accept: &BTreeSet<BypassClass>,
) -> Result<Judgement, Inconsistent> {
    let section = &a.networks[network];
    judge(&CommonIndex::new(&a.common), &a.slices[&section.vlan.get()], section, accept)
}

/// A judgement in one line: `verdict: finding subject, …; not assessed …; exits …; public`. Cabling, which is never
/// assessed, is left out.
pub(crate) fn render(a: &Assembly, j: &Judgement) -> String {
    let port = |p: &Digest| a.names.ports.get(p).map_or("?".into(), ToString::to_string);
    let switch = |s: &Digest| a.names.switches.get(s).cloned().unwrap_or("?".into());
    let subject = |s: &Subject| match s {
        Subject::Port(Peer { port: p, .. }) => port(p),
        Subject::Switch(s) => switch(s),
        Subject::Class { switch: s, class } => format!("{} {class}", switch(s)),
        Subject::Manager => "manager".into(),
        Subject::Nic { node, nic } => format!("{node}/{nic}"),
        Subject::Network => "network".into(),
    };
    let mut findings: Vec<String> = j
        .findings
        .iter()
        .map(|f| {
            let passed = if f.passed { " (passed)" } else { "" };
            format!("{} {}{passed}", f.finding, subject(&f.subject))
        })
        .collect();
    // By name, not by handle.
    findings.sort();
    let mut except: Vec<String> = j
        .not_assessed
        .iter()
        .filter_map(|n| match n {
            NotAssessed::Cabling => None,
            NotAssessed::Class { switch: s, class } => Some(format!("{} {class}", switch(s))),
            NotAssessed::Port { port: p, .. } => Some(port(p)),
            NotAssessed::Exit { name } => Some(name.clone()),
        })
        .collect();
    except.sort();
    let exits: Vec<String> = j.exits.iter().map(|e| format!("{} {}", e.kind.name(), e.name)).collect();
    let mut out = j.verdict.to_string();
    for (before, list) in [(": ", findings), ("; not assessed ", except), ("; exits ", exits)] {
        if !list.is_empty() {
            out += before;
            out += &list.join(", ");
        }
    }
    if j.public {
        out += "; public";
    }
    out
}
