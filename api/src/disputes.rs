//! Where the sides disagree: what to look at twice, and whether what is seen the second time still moves.

use isoledger_collectors::Part;
use isoledger_core::judge::{Finding, FindingClass, FindingKind, Subject};
use isoledger_core::model::{Channel, Declared, Observed, PortId, PortNames, PortReading, Scope};
use isoledger_ledger::recorder::View;
use std::collections::{BTreeMap, BTreeSet};

/// Something the two sides disagree about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Dispute {
    /// What a port carries and what is declared on it.
    Port(FindingKind, PortId),
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
        for Finding { finding, subject } in &judgement.findings {
            let disputed = matches!(finding.class(), FindingClass::Isolation | FindingClass::Connectivity)
                && *finding != FindingKind::Bypass;
            let dispute = match subject {
                _ if !disputed => continue,
                Subject::Port(p) => match view.assembly.names.ports.get(&p.port) {
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

/// The nodes and networks to ask the cloud manager about again.
pub(crate) fn part(
    disputes: &BTreeMap<Dispute, BTreeSet<String>>,
    declared: &Declared,
    scope: &Scope,
    observed: &BTreeMap<String, &Observed>,
) -> Part {
    let names = scope.names();
    let mut part = Part::default();
    for (dispute, networks) in disputes {
        part.networks.extend(networks.iter().cloned());
        match dispute {
            Dispute::Port(_, id) => {
                let cables = declared.cabling.iter().filter(|c| logical(&c.port, &names, observed) == *id);
                part.nodes.extend(cables.map(|c| c.node.clone()));
            }
            Dispute::Nic(_, node, _) => {
                part.nodes.insert(node.clone());
            }
            Dispute::Network(..) => {}
        }
    }
    part
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
    observed: Option<PortReading>,
}

impl Sides {
    /// Whether, since `then`, the switch's side changed and the cloud manager's did not.
    pub(crate) fn only_switch_moved(&self, then: &Sides) -> bool {
        self.declared == then.declared && self.networks == then.networks && self.observed != then.observed
    }
}

/// The sides of `id`, with what is declared of `networks`.
pub(crate) fn sides(
    id: &PortId,
    networks: &BTreeSet<String>,
    declared: &Declared,
    scope: &Scope,
    observed: &BTreeMap<String, &Observed>,
) -> Sides {
    let names = scope.names();
    let here = |p: &PortId| logical(p, &names, observed) == *id;
    Sides {
        declared: declared
            .attachments
            .iter()
            .filter(|a| a.port.as_ref().is_some_and(here))
            .map(|a| (a.network.clone(), a.project.clone(), a.node.clone(), a.nic.clone(), a.channel.clone()))
            .collect(),
        networks: networks
            .iter()
            .filter_map(|n| declared.networks.get(n).map(|net| (n.clone(), net.clone())))
            .collect(),
        observed: observed.get(id.switch.as_str()).and_then(|o| o.ports.get(&id.port)).cloned(),
    }
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

/// The ports an attachment's dispute is about.
pub(crate) fn ports_of(
    dispute: &Dispute,
    declared: &Declared,
    scope: &Scope,
    observed: &BTreeMap<String, &Observed>,
) -> BTreeSet<PortId> {
    let names = scope.names();
    match dispute {
        Dispute::Port(_, id) => BTreeSet::from([id.clone()]),
        Dispute::Nic(_, node, nic) => {
            let cables = declared.cabling.iter().filter(|c| c.node == *node && c.nic == *nic);
            cables.map(|c| logical(&c.port, &names, observed)).collect()
        }
        Dispute::Network(..) => BTreeSet::new(),
    }
}
