//! From rows to the normal form: pure, total, and suspicious.
//!
//! A snapshot cannot mix two moments, so what does not hold together here is the database's own state: a reference that
//! leads nowhere, a label that stands twice. HIL's own code rules that out; a hand in the database does not. Each is an
//! anomaly, and makes the declaration as a whole unreadable, since it may hide an attachment.

use super::tables::{IDENTITY, SYSTEM, TABLES, Table, WANTED};
use super::{Rows, open, quote};
use crate::evidence::{Evidence, Exchange, MAX_EVIDENCE};
use crate::hil::channel;
use crate::source::SourceError;
use crate::unread::Unread;
use isoledger_core::VlanId;
use isoledger_core::json::from_canonical;
use isoledger_core::model::{
    Access, Action, Anomaly, Attachment, Cable, Channel, Declared, Network, NetworkVlan, Owner, PortId,
};
use std::collections::{BTreeMap, BTreeSet};

/// A declaration with more anomalies than this is unreadable many times over; the rest are counted.
const MAX_ANOMALIES: usize = 200;

type Row = Vec<Option<String>>;

/// Why the rows cannot be read, or not relied on, by what the server says of itself; `None` when they can.
pub(super) fn obstacle(identity: &[Row], wanted: &[Row]) -> Option<SourceError> {
    conditions(identity).or_else(|| rights(wanted)).map(SourceError::unreadable)
}

/// Whether the database has this table.
pub(super) fn has_table(wanted: &[Row], table: &Table) -> bool {
    wanted.iter().any(|row| cell(row, 0) == Some(table.name) && cell(row, 2).is_some())
}

fn cell(row: &[Option<String>], at: usize) -> Option<&str> {
    row.get(at)?.as_deref()
}

fn conditions(identity: &[Row]) -> Option<String> {
    let [row] = identity else {
        return Some(format!("the database tells who it is in {} rows; one was expected", identity.len()));
    };
    let (standby, usage, isolation, read_only) = (cell(row, 2), cell(row, 4), cell(row, 5), cell(row, 6));
    if standby != Some("f") {
        return Some(
            "the database is a standby, which may be behind HIL's by any length of time: name the primary in `server`"
                .into(),
        );
    }
    if (isolation, read_only) != (Some("repeatable read"), Some("on")) {
        return Some(format!(
            "the statements do not run in one transaction (found isolation {isolation:?}, read only {read_only:?}): a \
             connection pool that hands out single statements cannot be used"
        ));
    }
    if usage != Some("t") {
        return Some("a right is missing: GRANT USAGE ON SCHEMA public TO isoledger;".into());
    }
    None
}

// The first obstacle among the tables; missing rights are told all at once, as the statements to run.
fn rights(wanted: &[Row]) -> Option<String> {
    let mut missing = Vec::new();
    for table in TABLES {
        let name = table.name;
        let rows: Vec<&Row> = wanted.iter().filter(|row| cell(row, 0) == Some(name)).collect();
        let told: BTreeSet<&str> = rows.iter().filter_map(|row| cell(row, 1)).collect();
        if told.len() != table.columns.len() || rows.len() != table.columns.len() {
            return Some(format!(
                "the database does not tell of every column of {name}; one row for each was expected"
            ));
        }
        match cell(rows.first()?, 2) {
            None if table.always => {
                return Some(format!(
                    "there is no table public.{name}, which every HIL has: is `database` HIL's?"
                ));
            }
            None => continue,
            Some("r" | "p") => {}
            Some(kind) => {
                return Some(format!(
                    "public.{name} is no table (kind {:?}); a view may leave rows out, which nobody could see here: give \
                     the role the columns of HIL's own table",
                    quote(kind.as_bytes())
                ));
            }
        }
        for row in rows {
            match (cell(row, 3), cell(row, 4)) {
                (Some("t"), Some("t")) => {}
                (Some("t"), Some("f")) => {
                    missing.push(table.grant);
                    break;
                }
                _ => {
                    return Some(format!(
                        "public.{name} has no column {:?}: HIL's database is of a version not known here",
                        cell(row, 1).unwrap_or_default()
                    ));
                }
            }
        }
    }
    (!missing.is_empty()).then(|| format!("rights are missing; run in HIL's database: {}", missing.join(" ")))
}

/// Who answered: the cluster's number where it may be asked for, the database, the certificate.
pub(super) fn identity(evidence: &Evidence, certificate: Option<&str>) -> Option<String> {
    let rows = |asked| {
        let answer = &evidence.answer_to(asked)?.answer;
        from_canonical::<Rows>("rows of the database", answer, MAX_EVIDENCE).ok()
    };
    let who = rows(IDENTITY)?;
    let database = cell(who.rows.first()?, 1)?.to_owned();
    let system = rows(SYSTEM).and_then(|r| cell(r.rows.first()?, 0).map(str::to_owned));
    let mut parts = Vec::new();
    parts.extend(system.map(|s| format!("postgresql={s}")));
    parts.push(format!("database={database}"));
    parts.extend(certificate.map(|c| format!("certificate-sha256={c}")));
    Some(parts.join(" "))
}

/// The rows of every table, checked for completeness: what was asked, how often, how many rows, how wide.
struct Tables(BTreeMap<&'static str, Vec<Row>>);

impl Tables {
    fn open(evidence: &Evidence) -> Result<Tables, SourceError> {
        let mut answers: BTreeMap<&str, Rows> = BTreeMap::new();
        for exchange in &evidence.exchanges {
            let rows = open(exchange)?;
            if u64::try_from(rows.rows.len()) != Ok(rows.count) {
                return Err(SourceError::unreadable(format!(
                    "{}: {} rows came and the database says it sent {}",
                    quote(exchange.asked.as_bytes()),
                    rows.rows.len(),
                    rows.count
                )));
            }
            if answers.insert(&exchange.asked, rows).is_some() {
                return Err(strange(exchange, "two answers to one statement; one was expected"));
            }
        }
        let mut take = |asked: &str| {
            answers.remove(asked).map(|a| a.rows).ok_or_else(|| {
                SourceError::unreadable(format!("{}: there is no answer to it", quote(asked.as_bytes())))
            })
        };
        let identity = take(IDENTITY)?;
        if identity.first().and_then(|row| cell(row, 3)) == Some("t") {
            take(SYSTEM)?;
        }
        let wanted = take(WANTED)?;
        if let Some(e) = obstacle(&identity, &wanted) {
            return Err(e);
        }
        let mut tables = BTreeMap::new();
        for table in TABLES {
            let rows = if has_table(&wanted, table) { take(table.select)? } else { Vec::new() };
            if let Some(row) = rows.iter().find(|row| row.len() != table.columns.len()) {
                return Err(SourceError::unreadable(format!(
                    "a row of {} has {} cells; {} were asked for",
                    table.name,
                    row.len(),
                    table.columns.len()
                )));
            }
            tables.insert(table.name, rows);
        }
        match evidence.exchanges.iter().find(|x| answers.contains_key(x.asked.as_str())) {
            Some(exchange) => {
                Err(strange(exchange, "an answer to a statement this reader never sends, or not then"))
            }
            None => Ok(Tables(tables)),
        }
    }

    fn rows(&self, table: &'static str) -> &[Row] {
        self.0.get(table).map_or(&[], Vec::as_slice)
    }
}

fn strange(exchange: &Exchange, what: &str) -> SourceError {
    SourceError::unreadable(format!("{}: found {what}", quote(exchange.asked.as_bytes())))
}

/// What the evidence declares.
pub(super) fn read(evidence: &Evidence) -> Result<Declared, SourceError> {
    // The statement that failed is why there is no reading, wherever it stands.
    for exchange in &evidence.exchanges {
        if let Some(e) = Unread::error(&exchange.answer) {
            return Err(e);
        }
    }
    let tables = Tables::open(evidence)?;
    let mut reader = Reader { tables: &tables, anomalies: Vec::new(), more: 0 };
    let mut declared = Declared::default();
    reader.read(&mut declared);
    declared.anomalies = reader.anomalies;
    if reader.more > 0 {
        let what = format!("{} more anomalies are not listed", reader.more);
        declared.anomalies.push(Anomaly { about: "database".into(), what });
    }
    Ok(declared)
}

/// A nic and what it belongs to.
struct Nic<'a> {
    node: &'a str,
    project: Option<&'a str>,
    label: &'a str,
    mac: Option<&'a str>,
    port: Option<PortId>,
}

/// Labels by row id. A row without a label is an anomaly and known by id no more.
type Labels<'a> = BTreeMap<&'a str, &'a str>;

struct Reader<'a> {
    tables: &'a Tables,
    anomalies: Vec<Anomaly>,
    more: usize,
}

impl<'a> Reader<'a> {
    fn note(&mut self, table: &str, row: &[Option<String>], what: impl Into<String>) {
        if self.anomalies.len() >= MAX_ANOMALIES {
            self.more += 1;
            return;
        }
        let about = match cell(row, 0) {
            Some(id) => format!("{table} {}", quote(id.as_bytes())),
            None => table.to_owned(),
        };
        self.anomalies.push(Anomaly { about, what: what.into() });
    }

    fn rows(&self, table: &'static str) -> &'a [Row] {
        self.tables.rows(table)
    }

    /// A cell that HIL's schema never leaves empty.
    fn text(&mut self, table: &str, row: &'a Row, at: usize, column: &str) -> Option<&'a str> {
        let found = cell(row, at);
        if found.is_none() {
            self.note(table, row, format!("`{column}` is null; a value was expected"));
        }
        found
    }

    /// What a reference leads to. Null is an anomaly unless `nullable`.
    fn follow<T: Copy>(
        &mut self,
        table: &str,
        row: &'a Row,
        (at, column): (usize, &str),
        nullable: bool,
        to: impl Fn(&str) -> Option<T>,
    ) -> Option<T> {
        let id = match cell(row, at) {
            None if nullable => return None,
            _ => self.text(table, row, at, column)?,
        };
        let found = to(id);
        if found.is_none() {
            let id = quote(id.as_bytes());
            self.note(table, row, format!("`{column}` is {id}, and there is no such row that could be read"));
        }
        found
    }

    /// Ids and labels of a table whose labels HIL keeps unique.
    fn labels(&mut self, table: &'static str) -> Labels<'a> {
        let mut labels = Labels::new();
        let mut seen = BTreeSet::new();
        for row in self.rows(table) {
            let (id, label) = (self.text(table, row, 0, "id"), self.text(table, row, 1, "label"));
            let (Some(id), Some(label)) = (id, label) else { continue };
            if *labels.entry(id).or_insert(label) != label {
                self.note(table, row, "two rows have this id; ids must differ");
            }
            if !seen.insert(label) {
                let label = quote(label.as_bytes());
                self.note(
                    table,
                    row,
                    format!("another row has the label \"{label}\" as well; labels must differ"),
                );
            }
        }
        labels
    }

    fn read(&mut self, declared: &mut Declared) {
        let projects = self.labels("project");
        let networks = self.networks(declared, &projects);
        let nics = self.nics(declared, &projects);
        self.attachments(declared, &networks, &nics);
        self.actions(declared, &networks, &nics);
        self.headnodes(declared, &projects, &networks);
    }

    /// Networks by id, and in the declaration.
    fn networks(&mut self, declared: &mut Declared, projects: &Labels<'a>) -> Labels<'a> {
        let networks = self.labels("network");
        let mut access: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
        for row in self.rows("network_projects") {
            let table = "network_projects";
            let project = self.follow(table, row, (0, "project_id"), false, |id| projects.get(id).copied());
            let network = self.follow(table, row, (1, "network_id"), false, |id| networks.get_key_value(id));
            if let Some((id, _)) = network {
                // A row that cannot be read lets nobody in, and still makes the network one that is not public.
                access.entry(id).or_default().extend(project.map(str::to_owned));
            }
        }
        for row in self.rows("network") {
            let Some((id, label)) = cell(row, 0).and_then(|id| networks.get_key_value(id)) else { continue };
            // No owner is the administrators, and so is one that cannot be read: it gives nobody a right.
            let owner = self.follow("network", row, (2, "owner_id"), true, |id| projects.get(id).copied());
            let vlan = match self.text("network", row, 4, "network_id") {
                Some(text) => VlanId::parse(text)
                    .map_or_else(|| NetworkVlan::Unassessable(text.to_owned()), NetworkVlan::Id),
                None => NetworkVlan::Unassessable(String::new()),
            };
            let owner = owner.map_or(Owner::Admin, |project| Owner::Project(project.to_owned()));
            let access = access.remove(id).map_or(Access::Public, Access::Projects);
            declared.networks.entry((*label).to_owned()).or_insert(Network { vlan, owner, access });
        }
        networks
    }

    /// Nics by id; cabling and registered ports.
    fn nics(&mut self, declared: &mut Declared, projects: &Labels<'a>) -> BTreeMap<&'a str, Nic<'a>> {
        let switches = self.labels("switch");
        let mut ports: BTreeMap<&str, (&str, &str)> = BTreeMap::new();
        for row in self.rows("port") {
            let (id, label) = (self.text("port", row, 0, "id"), self.text("port", row, 1, "label"));
            let switch = self.follow("port", row, (2, "owner_id"), false, |id| switches.get(id).copied());
            let (Some(id), Some(label), Some(switch)) = (id, label, switch) else { continue };
            if *ports.entry(id).or_insert((switch, label)) != (switch, label) {
                self.note("port", row, "two rows have this id; ids must differ");
            }
            // HIL keeps port labels unique nowhere. Rows of one switch that share one mean one port.
            declared.registered.insert(PortId::new(switch, label));
        }
        let labels = self.labels("node");
        let mut nodes: BTreeMap<&str, (&str, Option<&str>)> = BTreeMap::new();
        for row in self.rows("node") {
            let Some((id, label)) = cell(row, 0).and_then(|id| labels.get_key_value(id)) else { continue };
            let project = self.follow("node", row, (2, "project_id"), true, |id| projects.get(id).copied());
            if let Some(project) = project {
                declared.holders.insert((*label).to_owned(), project.to_owned());
            }
            nodes.insert(id, (label, project));
        }
        let mut nics = BTreeMap::new();
        let mut seen = BTreeSet::new();
        for row in self.rows("nic") {
            let (id, label) = (self.text("nic", row, 0, "id"), self.text("nic", row, 1, "label"));
            let node = self.follow("nic", row, (2, "owner_id"), false, |id| nodes.get(id).copied());
            let port = self.follow("nic", row, (4, "port_id"), true, |id| ports.get(id).copied());
            let (Some(id), Some(label), Some((node, project))) = (id, label, node) else { continue };
            if !seen.insert((node, label)) {
                self.note("nic", row, "the node has two nics of this label; one was expected");
            }
            let port = port.map(|(switch, port)| PortId::new(switch, port));
            if let Some(port) = &port {
                let cable = Cable { port: port.clone(), node: node.to_owned(), nic: label.to_owned() };
                declared.cabling.insert(cable);
            }
            let nic = Nic { node, project, label, mac: cell(row, 3), port };
            // The first stands: which of the two is meant nobody knows, and the anomaly says so.
            if nics.contains_key(id) {
                self.note("nic", row, "two rows have this id; ids must differ");
                continue;
            }
            nics.insert(id, nic);
        }
        nics
    }

    fn attachments(
        &mut self,
        declared: &mut Declared,
        networks: &Labels<'a>,
        nics: &BTreeMap<&'a str, Nic<'a>>,
    ) {
        let table = "network_attachment";
        for row in self.rows(table) {
            let nic = self.follow(table, row, (1, "nic_id"), false, |id| nics.get(id));
            let network = self.follow(table, row, (2, "network_id"), false, |id| networks.get(id).copied());
            let channel = self.text(table, row, 3, "channel");
            let (Some(nic), Some(network), Some(text)) = (nic, network, channel) else { continue };
            let (channel, fits) = channel::read(text, declared.networks.get(network).map(|n| &n.vlan));
            if !fits {
                self.note(table, row, channel::misfit(network, text));
            }
            declared.attachments.insert(Attachment {
                network: network.to_owned(),
                project: nic.project.map(str::to_owned),
                node: nic.node.to_owned(),
                nic: nic.label.to_owned(),
                mac: nic.mac.map(str::to_owned),
                port: nic.port.clone(),
                channel,
            });
        }
    }

    fn actions(&mut self, declared: &mut Declared, networks: &Labels<'a>, nics: &BTreeMap<&'a str, Nic<'a>>) {
        let table = "networking_action";
        for row in self.rows(table) {
            let pending = match self.text(table, row, 1, "status") {
                Some("DONE") => continue,
                Some("ERROR") => false,
                Some("PENDING") | None => true,
                Some(other) => {
                    let other = quote(other.as_bytes());
                    self.note(
                        table,
                        row,
                        format!("`status` is \"{other}\"; PENDING, DONE or ERROR was expected"),
                    );
                    true
                }
            };
            let nic = self.follow(table, row, (3, "nic_id"), false, |id| nics.get(id));
            let network =
                self.follow(table, row, (4, "new_network_id"), true, |id| networks.get(id).copied());
            let Some(nic) = nic else { continue };
            declared.actions.insert(Action {
                node: nic.node.to_owned(),
                nic: nic.label.to_owned(),
                port: nic.port.clone(),
                network: network.map(str::to_owned),
                pending,
            });
        }
    }

    /// Virtual machines on HIL's own host. Their networks reach them through that host's port, which HIL does not know.
    fn headnodes(&mut self, declared: &mut Declared, projects: &Labels<'a>, networks: &Labels<'a>) {
        let labels = self.labels("headnode");
        let mut headnodes: BTreeMap<&str, (&str, Option<&str>)> = BTreeMap::new();
        for row in self.rows("headnode") {
            let Some((id, label)) = cell(row, 0).and_then(|id| labels.get_key_value(id)) else { continue };
            let project =
                self.follow("headnode", row, (2, "project_id"), false, |id| projects.get(id).copied());
            headnodes.insert(id, (label, project));
        }
        let mut seen = BTreeSet::new();
        for row in self.rows("hnic") {
            let label = self.text("hnic", row, 1, "label");
            let headnode = self.follow("hnic", row, (2, "owner_id"), false, |id| headnodes.get(id).copied());
            let network = self.follow("hnic", row, (3, "network_id"), true, |id| networks.get(id).copied());
            let (Some(label), Some((headnode, project))) = (label, headnode) else { continue };
            if !seen.insert((headnode, label)) {
                self.note("hnic", row, "the headnode has two nics of this label; one was expected");
            }
            let Some(network) = network else { continue };
            declared.attachments.insert(Attachment {
                network: network.to_owned(),
                project: project.map(str::to_owned),
                node: headnode.to_owned(),
                nic: label.to_owned(),
                mac: None,
                port: None,
                channel: Channel::ManagerHost,
            });
        }
    }
}

/// What the database says of one switch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SwitchRow {
    /// HIL's label for it.
    pub label: String,
    /// The last part of its type: `ovs`, `powerconnect55xx`, `delln3000`, `nexus`, `brocade`, `dellnos9`, `mock`.
    pub kind: String,
    /// What more there is, by column: `hostname`, `ovs_bridge`, `interface_type`, `dummy_vlan`.
    pub more: BTreeMap<&'static str, String>,
}

/// The switches as HIL's database has them: for whoever writes the scope, which maps several labels to one switch where
/// HIL registers one for each interface type. Nothing that is judged depends on it.
pub fn switches(evidence: &Evidence) -> Result<Vec<SwitchRow>, SourceError> {
    let tables = Tables::open(evidence)?;
    let mut more: BTreeMap<&str, BTreeMap<&'static str, String>> = BTreeMap::new();
    for table in TABLES.iter().filter(|t| !t.always && t.columns.first() == Some(&"id")) {
        for row in tables.rows(table.name) {
            let Some(id) = cell(row, 0) else { continue };
            for (at, column) in table.columns.iter().enumerate().skip(1) {
                if let Some(found) = cell(row, at) {
                    more.entry(id).or_default().insert(column, found.to_owned());
                }
            }
        }
    }
    let mut out = Vec::new();
    for row in tables.rows("switch") {
        let (Some(id), Some(label)) = (cell(row, 0), cell(row, 1)) else { continue };
        let kind = cell(row, 2).unwrap_or_default();
        let kind = kind.rsplit('/').next().unwrap_or(kind).to_owned();
        out.push(SwitchRow { label: label.to_owned(), kind, more: more.remove(id).unwrap_or_default() });
    }
    out.sort_by(|a, b| a.label.cmp(&b.label));
    Ok(out)
}
