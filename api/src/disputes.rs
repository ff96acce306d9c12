//! Where the sides disagree: what to look at twice, and whether what is seen the second time still moves.

use isoledger_collectors::Part;
use isoledger_core::assemble::may_join;
use isoledger_core::judge::{Finding, FindingClass, FindingKind, Subject};
use isoledger_core::model::{
    Attachment, Channel, Declared, NetworkVlan, Observed, PortId, PortNames, PortReading, Scope,
};
use isoledger_ledger::recorder::View;
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// Something the two sides disagree about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Dispute {
    /// What a port carries and what is declared on it.
    Port(FindingKind, PortId),
    /// What a port carried between two readings, and what is declared on it.
    Passed(FindingKind, PortId),
    /// An attachment (a free node on a network, a nic without port).
    Nic(FindingKind, String, String),
    /// A network (two on one VLAN).
    Network(FindingKind, String),
}

/// The disagreements of a poll, each with the networks it concerns. Bypasses and silences are nobody's disagreement:
/// reading again would show the same.
pub(crate) fn disputes(view: &View) -> BTreeMap<Dispute, BTreeSet<String>> {
    let mut out: BTreeMap<Dispute, BTreeSet<String>> = BTreeMap::new();
    for (network, judgement) in &view.judged {
        for Finding { finding, subject, passed } in &judgement.findings {
            let disputed = matches!(finding.class(), FindingClass::Isolation | FindingClass::Connectivity)
                && *finding != FindingKind::Bypass;
            let dispute = match subject {
                _ if !disputed => continue,
                Subject::Port(p) => match view.assembly.names.ports.get(&p.port) {
                    Some(id) if *passed => Dispute::Passed(*finding, id.clone()),
                    Some(id) => Dispute::Port(*finding, id.clone()),
                    None => continue,
                },
                Subject::Nic { node, nic } => Dispute::Nic(*finding, node.clone(), nic.clone()),
                Subject::Network => Dispute::Network(*finding, network.clone()),
                Subject::Switch(_) | Subject::Class { .. } | Subject::Manager => continue,
            };
            out.entry(dispute).or_default().insert(network.clone());
        }
    }
    out
}

/// What a declaration says of each logical port, by the switches' own names: looked up once for all disputes, since there
/// may be as many of them as there are ports.
pub(crate) struct Ground<'a> {
    declared: &'a Declared,
    observed: &'a BTreeMap<String, &'a Observed>,
    ports: HashMap<PortId, Here<'a>>,
    // The ports of each nic that is cabled.
    nics: HashMap<(&'a str, &'a str), BTreeSet<PortId>>,
}

#[derive(Default)]
struct Here<'a> {
    attachments: Vec<&'a Attachment>,
    // Machines on the manager's own host, whose networks this exit brings there.
    hosted: Vec<&'a Attachment>,
    nodes: BTreeSet<&'a str>,
}

impl<'a> Ground<'a> {
    pub(crate) fn new(
        declared: &'a Declared,
        scope: &Scope,
        observed: &'a BTreeMap<String, &'a Observed>,
    ) -> Ground<'a> {
        let names = scope.names();
        let (mut ports, mut nics) = (HashMap::<_, Here<'a>>::new(), HashMap::new());
        for c in &declared.cabling {
            let id = logical(&c.port, &names, observed);
            nics.entry((c.node.as_str(), c.nic.as_str())).or_insert_with(BTreeSet::new).insert(id.clone());
            ports.entry(id).or_default().nodes.insert(&c.node);
        }
        for a in &declared.attachments {
            match (&a.port, &a.channel) {
                (Some(port), _) => {
                    ports.entry(logical(port, &names, observed)).or_default().attachments.push(a);
                }
                // As it is assembled.
                (None, Channel::ManagerHost) => {
                    let vlan = declared.networks.get(&a.network).and_then(|n| match n.vlan {
                        NetworkVlan::Id(v) => Some(v),
                        NetworkVlan::Unassessable(_) => None,
                    });
                    if let Some(exit) = vlan.and_then(|v| scope.manager_host(v)) {
                        ports.entry(exit.port.clone()).or_default().hosted.push(a);
                    }
                }
                (None, _) => {}
            }
        }
        Ground { declared, observed, ports, nics }
    }

    /// The nodes and networks to ask the cloud manager about again.
    pub(crate) fn part(&self, disputes: &BTreeMap<Dispute, BTreeSet<String>>) -> Part {
        let mut part = Part::default();
        for (dispute, networks) in disputes {
            part.networks.extend(networks.iter().cloned());
            match dispute {
                Dispute::Port(_, id) | Dispute::Passed(_, id) => {
                    let nodes = self.ports.get(id).into_iter().flat_map(|here| &here.nodes);
                    part.nodes.extend(nodes.map(|n| (*n).to_owned()));
                }
                Dispute::Nic(_, node, _) => {
                    part.nodes.insert(node.clone());
                }
                Dispute::Network(..) => {}
            }
        }
        part
    }

    /// The ports a dispute is about. A machine on the manager's host has none of its own: the exit that its network takes
    /// is not excused for its sake.
    pub(crate) fn ports_of(&self, dispute: &Dispute) -> BTreeSet<PortId> {
        match dispute {
            Dispute::Port(_, id) | Dispute::Passed(_, id) => BTreeSet::from([id.clone()]),
            Dispute::Nic(_, node, nic) => {
                self.nics.get(&(node.as_str(), nic.as_str())).cloned().unwrap_or_default()
            }
            Dispute::Network(..) => BTreeSet::new(),
        }
    }

    /// The sides of `id`, with what is declared of `networks`.
    pub(crate) fn sides(&self, id: &PortId, networks: &BTreeSet<String>) -> Sides {
        let nothing = Here::default();
        let here = self.ports.get(id).unwrap_or(&nothing);
        // An exit brings many networks to the manager's host; machines on others say nothing of these.
        let hosted = here.hosted.iter().filter(|a| networks.contains(&a.network));
        let declared = here.attachments.iter().chain(hosted);
        Sides {
            declared: declared
                .map(|a| {
                    (a.network.clone(), a.project.clone(), a.node.clone(), a.nic.clone(), a.channel.clone())
                })
                .collect(),
            networks: networks
                .iter()
                .filter_map(|n| self.declared.networks.get(n).map(|net| (n.clone(), net.clone())))
                .collect(),
            nodes: here
                .nodes
                .iter()
                .map(|n| ((*n).to_owned(), self.declared.holders.get(*n).cloned()))
                .collect(),
            observed: self.observed.get(id.switch.as_str()).and_then(|o| o.ports.get(&id.port)).cloned(),
        }
    }

    // Whoever holds a node that is cabled or attached here.
    fn projects(&self, id: &PortId) -> impl Iterator<Item = &'a str> {
        let here = self.ports.get(id);
        let holders = here
            .into_iter()
            .flat_map(|here| &here.nodes)
            .filter_map(|n| self.declared.holders.get(*n).map(String::as_str));
        holders
            .chain(here.into_iter().flat_map(|here| &here.attachments).filter_map(|a| a.project.as_deref()))
    }
}

// The scope's name of the logical port that a declared port is.
fn logical(port: &PortId, names: &PortNames<'_>, observed: &BTreeMap<String, &Observed>) -> PortId {
    let port = names.port(port);
    let bundle = observed.get(&port.switch).and_then(|o| o.ports.get(&port.port)).and_then(|r| match r {
        PortReading::Read(s) => s.aggregate.clone(),
        PortReading::Unreadable { .. } => None,
    });
    PortId::new(port.switch, bundle.unwrap_or(port.port))
}

/// The two sides of one port, for telling whether either moved between two readings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Sides {
    declared: BTreeSet<(String, Option<String>, String, String, Channel)>,
    networks: BTreeMap<String, isoledger_core::model::Network>,
    // The nodes cabled here, with whoever holds them.
    nodes: BTreeMap<String, Option<String>>,
    observed: Option<PortReading>,
}

impl Sides {
    /// Whether, since `then`, the switch's side changed and the cloud manager's did not.
    pub(crate) fn only_switch_moved(&self, then: &Sides) -> bool {
        !self.declaration_moved(then) && self.observed != then.observed
    }

    /// Whether, since `then`, the cloud manager's side changed.
    pub(crate) fn declaration_moved(&self, then: &Sides) -> bool {
        self.declared != then.declared || self.networks != then.networks || self.nodes != then.nodes
    }
}

/// Whether `observed` tells that the port carried the VLANs of all `networks` between its readings.
pub(crate) fn told(
    id: &PortId,
    networks: &BTreeSet<String>,
    declared: &Declared,
    observed: &BTreeMap<String, &Observed>,
) -> bool {
    let between = observed.get(id.switch.as_str()).and_then(|o| o.between.get(&id.port));
    between.is_some_and(|b| {
        networks.iter().all(|n| match declared.networks.get(n).map(|n| &n.vlan) {
            Some(NetworkVlan::Id(v)) => b.vlans.contains(*v),
            Some(NetworkVlan::Unassessable(_)) | None => false,
        })
    })
}

/// Whether what the port carried of `networks` between two readings may have been the cloud manager's doing, by what it
/// declared at any of these moments: a project that held a node there, and a network on that VLAN it may join. Nodes and
/// networks may have changed hands in between.
pub(crate) fn may_have_joined(id: &PortId, networks: &BTreeSet<String>, moments: &[&Ground<'_>]) -> bool {
    let projects: BTreeSet<&str> = moments.iter().flat_map(|m| m.projects(id)).collect();
    let declared = || moments.iter().map(|m| m.declared);
    let vlans: BTreeSet<&NetworkVlan> =
        declared().flat_map(|d| networks.iter().filter_map(|n| d.networks.get(n)).map(|n| &n.vlan)).collect();
    declared()
        .flat_map(|d| d.networks.values())
        .any(|n| vlans.contains(&n.vlan) && projects.iter().any(|by| may_join(&n.owner, &n.access, by)))
}

/// Switches that told of what came and went in a way that this poll cannot judge: on a port that is in transition for a
/// reason that will pass, or while the cloud manager is silent. They are to tell again. What was `found` all the same is
/// not to be found again: a port that carried every VLAN once, while the manager was silent, did so once.
pub(crate) fn untold(
    moving: &BTreeSet<PortId>,
    found: &BTreeSet<PortId>,
    manager_failed: bool,
    observed: &BTreeMap<String, &Observed>,
) -> BTreeSet<String> {
    let untold = observed.iter().filter(|(switch, o)| {
        o.between.keys().any(|port| {
            let bundle = match o.ports.get(port) {
                Some(PortReading::Read(s)) => s.aggregate.as_ref(),
                _ => None,
            };
            let here = [Some(port), bundle].into_iter().flatten();
            let mut here = here.map(|port| PortId::new(switch.as_str(), port.as_str()));
            let known = here.clone().any(|id| found.contains(&id));
            !known && (manager_failed || here.any(|id| moving.contains(&id)))
        })
    });
    untold.map(|(switch, _)| switch.clone()).collect()
}

/// Ports that the cloud manager is changing by its own account.
pub(crate) fn in_flight(
    declared: &Declared,
    scope: &Scope,
    observed: &BTreeMap<String, &Observed>,
) -> BTreeSet<PortId> {
    let names = scope.names();
    let ports = declared.actions.iter().filter(|a| a.pending).filter_map(|a| a.port.as_ref());
    ports.map(|p| logical(p, &names, observed)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use isoledger_core::VlanSet;
    use isoledger_core::model::{Access, Between, Cable, Exit, ExitKind, Network, Owner, PortState};

    fn network(vlan: u16) -> Network {
        let vlan = NetworkVlan::Id(isoledger_core::VlanId::new(vlan).unwrap());
        Network { vlan, owner: Owner::Admin, access: Access::Public }
    }

    fn machine(network: &str) -> Attachment {
        Attachment {
            network: network.to_owned(),
            project: Some("red".into()),
            node: format!("head-{network}"),
            nic: "h0".into(),
            mac: None,
            port: None,
            channel: Channel::ManagerHost,
        }
    }

    #[test]
    fn what_was_found_is_not_told_again() {
        let at = isoledger_core::Timestamp::from_millis(0).unwrap();
        let between = Between { vlans: VlanSet::all(), all: true, from: at, to: at };
        let member = PortState { aggregate: Some("bond".into()), ..PortState::default() };
        let o = Observed {
            ports: [("m".to_owned(), PortReading::Read(member))].into(),
            between: [("m".to_owned(), between)].into(),
            ..Observed::default()
        };
        let seen: BTreeMap<String, &Observed> = [("sw".to_owned(), &o)].into();
        let ports = |names: &[&str]| names.iter().map(|p| PortId::new("sw", *p)).collect::<BTreeSet<_>>();
        for (moving, found, failed, again) in [
            (&[][..], &[][..], false, false),
            (&[], &[], true, true),
            (&[], &["bond"], true, false),
            (&["bond"], &[], false, true),
            (&["m"], &[], false, true),
            (&["bond"], &["bond"], false, false),
            (&["other"], &["other"], true, true),
        ] {
            let told = untold(&ports(moving), &ports(found), failed, &seen);
            assert_eq!(told.contains("sw"), again, "{moving:?} {found:?} {failed}");
        }
    }

    #[test]
    fn machines_on_the_managers_host_are_at_its_exit_for_their_own_networks() {
        let up = PortId::new("sw1", "up");
        let scope = Scope {
            exits: vec![Exit {
                name: "host".into(),
                kind: ExitKind::ManagerHost,
                port: up.clone(),
                vlans: VlanSet::all(),
            }],
            ..Scope::default()
        };
        let networks = [("red-net".to_owned(), network(100)), ("blue-net".to_owned(), network(101))];
        let with = |machines: &[&str]| Declared {
            networks: networks.clone().into(),
            attachments: machines.iter().map(|n| machine(n)).collect(),
            cabling: [Cable { port: PortId::new("sw1", "p1"), node: "n1".into(), nic: "e0".into() }].into(),
            ..Declared::default()
        };
        let seen = BTreeMap::new();
        let red = BTreeSet::from(["red-net".to_owned()]);
        let sides = |d: &Declared| Ground::new(d, &scope, &seen).sides(&up, &red);
        let none = sides(&with(&[]));
        assert!(sides(&with(&["red-net"])).declaration_moved(&none));
        assert!(!sides(&with(&["blue-net"])).declaration_moved(&none), "another network's machine");
        // Its own dispute is about no port: a trunk of many networks is not excused for one machine.
        let d = with(&["red-net"]);
        let ground = Ground::new(&d, &scope, &seen);
        let nic = |node: &str, nic: &str| Dispute::Nic(FindingKind::ForeignMember, node.into(), nic.into());
        assert!(ground.ports_of(&nic("head-red-net", "h0")).is_empty());
        assert_eq!(ground.ports_of(&nic("n1", "e0")), [PortId::new("sw1", "p1")].into());
        let asked = ground.part(&[(Dispute::Port(FindingKind::MissingPort, up.clone()), red.clone())].into());
        assert!(asked.nodes.is_empty() && asked.networks == red);
    }
}
