//! From evidence to normal form. Pure: the same evidence gives the same reading, for ever.

use super::value::{IllTyped, Row};
use super::vlans::{Carried, VlanColumns, carried};
use super::{COLUMNS_COMMAND, FLOWS_COMMAND, GROUPS_COMMAND, between, flows, openflow, ovsdb, vsctl};
use crate::net::json::parse_strict;
use crate::{Evidence, Exchange, SourceError};
use isoledger_core::model::{Anomaly, BypassClass, BypassReading, Observed, PortReading, PortState};
use isoledger_core::vlan::{VlanId, VlanSet};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// What the bridge that is the evidence's subject does.
pub fn normalise(evidence: &Evidence) -> Result<Observed, SourceError> {
    let result = columns(evidence)?;
    let tables = Tables::of(&result)?;
    let bridge = tables.bridge(&evidence.subject)?;
    let mut observed = Observed::default();
    if let Some(what) = tables.unapplied() {
        note(&mut observed, "Open_vSwitch", what);
    }
    tables.columns(bridge, &mut observed);
    observed.bypasses.insert(BypassClass::Flows, flows_reading(evidence, bridge));
    if let Some(told) = evidence.answer_to(&ovsdb::asked_to_be_told()) {
        between::add(told, &evidence.subject, &mut observed)?;
    }
    Ok(observed)
}

/// What the database answered, to the transaction or to `ovs-vsctl`.
fn columns(evidence: &Evidence) -> Result<Value, SourceError> {
    if let Some(answer) = evidence.answer_to(&ovsdb::asked()) {
        return parse_strict(&answer.answer)
            .map_err(|e| SourceError::unreadable(format!("the OVSDB answer is no JSON: {e}")));
    }
    let answer = evidence.answer_to(COLUMNS_COMMAND).ok_or_else(|| {
        SourceError::unreadable(
            "the evidence holds no answer to this reader's OVSDB transaction, nor to its ovs-vsctl command",
        )
    })?;
    if answer.status != Some(0) {
        return Err(SourceError::unreadable(text(answer).trim().to_owned()));
    }
    vsctl::parse(&answer.answer)
        .map_err(|e| SourceError::unreadable(format!("the answer of ovs-vsctl is not as asked: {e}")))
}

fn note(observed: &mut Observed, about: &str, what: String) {
    observed.anomalies.push(Anomaly { about: about.to_owned(), what });
}

/// Rows by uuid.
pub(super) type Rows<'a> = BTreeMap<&'a str, Row<'a>>;

/// The rows of the transaction, by uuid.
pub(super) struct Tables<'a> {
    root: Row<'a>,
    bridges: Rows<'a>,
    ports: Rows<'a>,
    interfaces: Rows<'a>,
    mirrors: Rows<'a>,
    controllers: Rows<'a>,
    managers: Rows<'a>,
}

/// A port of the bridge as the bypass classes need it.
struct PortFacts<'a> {
    name: &'a str,
    uuid: &'a str,
    /// The VLANs whose frames may appear on the wires behind a `dot1q-tunnel` port.
    tunnel: Option<VlanSet>,
}

impl<'a> Tables<'a> {
    pub(super) fn of(result: &'a Value) -> Result<Tables<'a>, SourceError> {
        let bad = |what: String| SourceError::unreadable(format!("the OVSDB answer is not as asked: {what}"));
        let operations = result.as_array().ok_or_else(|| bad("it is no list of results".into()))?;
        // A failed operation ends the transaction, and its error stands wherever the list stops being rows.
        for operation in operations {
            if let Some(error) = operation.get("error").filter(|e| !e.is_null()) {
                let details = operation.get("details").and_then(Value::as_str).unwrap_or_default();
                return Err(bad(format!(
                    "the server says {error} {details}; this reader needs the schema of Open vSwitch 2.8 or later"
                )));
            }
        }
        if operations.len() != ovsdb::TABLES.len() {
            return Err(bad(format!("{} results to {} selects", operations.len(), ovsdb::TABLES.len())));
        }
        let mut tables = Vec::with_capacity(operations.len());
        for (table, operation) in ovsdb::TABLES.iter().zip(operations) {
            let rows = operation
                .get("rows")
                .and_then(Value::as_array)
                .ok_or_else(|| bad(format!("no rows of the table {table}")))?;
            let mut by_uuid = Rows::new();
            for row in rows {
                let row = Row(row
                    .as_object()
                    .ok_or_else(|| bad(format!("a row of the table {table} is no object")))?);
                let uuid = row.uuid().map_err(|e| bad(format!("a row of the table {table}: {e}")))?;
                if by_uuid.insert(uuid, row).is_some() {
                    return Err(bad(format!("two rows of the table {table} have the uuid {uuid}")));
                }
            }
            tables.push(by_uuid);
        }
        let tables = <[Rows<'a>; 7]>::try_from(tables).map_err(|_| bad("a table is missing".into()))?;
        Tables::with(tables).map_err(bad)
    }

    fn with(tables: [Rows<'a>; 7]) -> Result<Tables<'a>, String> {
        let [root, bridges, ports, interfaces, mirrors, controllers, managers] = tables;
        let mut roots = root.into_values();
        let (Some(root), None) = (roots.next(), roots.next()) else {
            return Err("the table Open_vSwitch does not have exactly one row; is ovs-vsctl init due?".into());
        };
        Ok(Tables { root, bridges, ports, interfaces, mirrors, controllers, managers })
    }

    /// From rows by table and uuid, each an object that names itself.
    pub(super) fn of_rows(rows: &'a [BTreeMap<String, Value>; 7]) -> Result<Tables<'a>, String> {
        Tables::with(rows.each_ref().map(|table| {
            table.iter().filter_map(|(uuid, row)| Some((uuid.as_str(), Row(row.as_object()?)))).collect()
        }))
    }

    /// The rows, as [`Tables::of_rows`] takes them.
    pub(super) fn copy(&self) -> [BTreeMap<String, Value>; 7] {
        let root: Rows<'_> = self.root.uuid().into_iter().map(|uuid| (uuid, self.root)).collect();
        let tables = [
            &root,
            &self.bridges,
            &self.ports,
            &self.interfaces,
            &self.mirrors,
            &self.controllers,
            &self.managers,
        ];
        tables.map(|rows| {
            rows.iter().map(|(uuid, row)| ((*uuid).to_owned(), Value::Object(row.0.clone()))).collect()
        })
    }

    /// What the columns say of a bridge: everything but its rules.
    pub(super) fn columns(&self, bridge: Row<'a>, observed: &mut Observed) {
        let ports = self.ports(bridge, observed);
        let mut bypasses = Bypasses::default();
        self.mirrors(bridge, &ports, &mut bypasses, observed);
        self.controllers(bridge, &mut bypasses, observed);
        bypasses.tunnels(&ports);
        if !matches!(bridge.references("auto_attach"), Ok(list) if list.is_empty()) {
            bypasses.dirty(
                BypassClass::Dynamic,
                VlanSet::all(),
                "the bridge takes VLAN assignments from its neighbours (column auto_attach)".into(),
            );
        }
        observed.bypasses = bypasses.finish();
    }

    /// The bridges of this name; there should be one.
    pub(super) fn bridges(&self, name: &str) -> Vec<Row<'a>> {
        self.bridges.values().filter(|b| b.text("name") == Ok(name)).copied().collect()
    }

    /// A port's row and name, if it has them.
    pub(super) fn port(&self, uuid: &str) -> Option<(Row<'a>, &'a str)> {
        let row = *self.ports.get(uuid)?;
        Some((row, row.text("name").ok()?))
    }

    /// Who the server says it is: its `system-id`, or where none was set the uuid of the database's root row, which
    /// lives as long as the database.
    pub(super) fn identity(&self) -> Option<String> {
        match self.root.entry("external_ids", "system-id") {
            Some(id) => Some(format!("system-id={id}")),
            None => self.root.uuid().ok().map(|id| format!("open-vswitch={id}")),
        }
    }

    /// Says so when vswitchd has not carried out the configuration that the database holds.
    pub(super) fn unapplied(&self) -> Option<String> {
        match (self.root.integer("cur_cfg"), self.root.integer("next_cfg")) {
            (Ok(cur), Ok(next)) if cur == next => None,
            (Ok(cur), Ok(next)) => Some(format!(
                "vswitchd has carried out configuration {cur} and the database holds {next}; what the columns say is \
                 not yet what the switch does. Is ovs-vswitchd running?"
            )),
            (cur, next) => Some([cur.err(), next.err()].into_iter().flatten().collect::<Vec<_>>().join("; ")),
        }
    }

    fn bridge(&self, name: &str) -> Result<Row<'a>, SourceError> {
        match self.bridges(name)[..] {
            [one] => return Ok(one),
            [] => {}
            _ => return Err(SourceError::unreadable(format!("the server lists two bridges named {name}"))),
        }
        let fake = |port: &Row<'_>| port.text("name") == Ok(name) && port.boolean("fake_bridge") == Ok(true);
        if let Some((uuid, port)) = self.ports.iter().find(|(_, p)| fake(p)) {
            let parent = self
                .bridges
                .values()
                .find(|b| b.references("ports").is_ok_and(|list| list.contains(uuid)))
                .and_then(|b| b.text("name").ok())
                .unwrap_or("an unknown bridge");
            let vlan = port.optional_vlan("tag").ok().flatten().map(|v| v.to_string()).unwrap_or_default();
            return Err(SourceError::unreadable(format!(
                "{name} is a fake bridge: VLAN {vlan} of the bridge {parent}. Configure {parent}; {name} is one of its \
                 ports"
            )));
        }
        let mut names: Vec<&str> = self.bridges.values().filter_map(|b| b.text("name").ok()).collect();
        names.sort_unstable();
        Err(SourceError::unreadable(format!(
            "the server has no bridge named {name}; it has: {}",
            if names.is_empty() { "none".to_owned() } else { names.join(", ") }
        )))
    }

    fn ports(&self, bridge: Row<'a>, observed: &mut Observed) -> Vec<PortFacts<'a>> {
        let mut facts = Vec::new();
        let listed = match bridge.references("ports") {
            Ok(listed) => listed,
            Err(e) => {
                note(observed, "Bridge", e);
                Vec::new()
            }
        };
        let mut members: Vec<(&str, PortReading)> = Vec::new();
        for uuid in listed {
            let Some(row) = self.ports.get(uuid).copied() else {
                note(observed, "Bridge", format!("the port row {uuid} is listed and missing"));
                continue;
            };
            let name = match row.text("name") {
                Ok(name) => name,
                Err(e) => {
                    note(observed, "Port", e);
                    continue;
                }
            };
            let interfaces = self.interfaces(row, name, observed);
            let reading = match port_state(row, name, &interfaces) {
                Ok(state) => PortReading::Read(state),
                Err(why) => PortReading::Unreadable { might_carry: VlanSet::all(), why },
            };
            if interfaces.len() != 1 || interfaces[0].name != name {
                members.extend(interfaces.iter().map(|i| (i.name, i.as_member(name))));
            }
            if observed.ports.insert(name.to_owned(), reading).is_some() {
                note(observed, name, "two ports of the bridge have this name".into());
            }
            facts.push(PortFacts { name, uuid, tunnel: tunnel(row) });
        }
        for (name, reading) in members {
            // A bond may be named after one of its members; then the bond's line stands for both.
            observed.ports.entry(name.to_owned()).or_insert(reading);
        }
        facts
    }

    fn interfaces(&self, port: Row<'a>, name: &str, observed: &mut Observed) -> Vec<Interface<'a>> {
        let mut all = Vec::new();
        match port.references("interfaces") {
            Ok(list) if list.is_empty() => note(observed, name, "the port has no interface".into()),
            Ok(list) => {
                for uuid in list {
                    match self.interfaces.get(uuid).map(|row| Interface::of(*row)) {
                        Some(Ok(interface)) => all.push(interface),
                        Some(Err(e)) => note(observed, name, e),
                        None => {
                            note(observed, name, format!("the interface row {uuid} is listed and missing"))
                        }
                    }
                }
            }
            Err(e) => note(observed, name, e),
        }
        all
    }

    fn mirrors(
        &self,
        bridge: Row<'a>,
        ports: &[PortFacts<'a>],
        bypasses: &mut Bypasses,
        observed: &mut Observed,
    ) {
        match bridge.references("mirrors") {
            Ok(list) => {
                for uuid in list {
                    let read =
                        self.mirrors.get(uuid).ok_or_else(|| format!("the mirror row {uuid} is missing"));
                    match read.and_then(|row| mirror(*row, ports, &observed.ports)) {
                        Ok(None) => {}
                        Ok(Some((vlans, detail))) => bypasses.dirty(BypassClass::Mirror, vlans, detail),
                        Err(why) => {
                            note(observed, "Mirror", why.clone());
                            bypasses.dirty(BypassClass::Mirror, VlanSet::all(), why);
                        }
                    }
                }
            }
            Err(why) => {
                note(observed, "Bridge", why.clone());
                bypasses.dirty(BypassClass::Mirror, VlanSet::all(), why);
            }
        }
        if !matches!(bridge.references("sflow"), Ok(list) if list.is_empty()) {
            bypasses.dirty(
                BypassClass::Mirror,
                VlanSet::all(),
                "sFlow sends the beginnings of sampled frames to a collector".into(),
            );
        }
    }

    fn controllers(&self, bridge: Row<'a>, bypasses: &mut Bypasses, observed: &mut Observed) {
        let mut found = Vec::new();
        match bridge.references("controller") {
            Ok(list) => {
                for uuid in list {
                    match self.controllers.get(uuid).map(|row| row.text("target")) {
                        Some(Ok(target)) => found.push(format!("controller {target}")),
                        _ => {
                            note(observed, "Bridge", format!("the controller row {uuid} cannot be read"));
                            found.push("a controller that cannot be read".to_owned());
                        }
                    }
                }
            }
            Err(why) => {
                note(observed, "Bridge", why.clone());
                found.push(why);
            }
        }
        match bridge.optional_text("fail_mode") {
            Ok(None | Some("standalone")) => {}
            Ok(Some(mode)) => {
                found.push(format!("fail_mode {mode}: the bridge leaves its rules to a controller"))
            }
            Err(why) => found.push(why),
        }
        if !found.is_empty() {
            found.sort();
            let mut managers: Vec<&str> =
                self.managers.values().filter_map(|m| m.text("target").ok()).collect();
            managers.sort_unstable();
            if !managers.is_empty() {
                found.push(format!("managers of the database: {}", managers.join(", ")));
            }
            bypasses.dirty(BypassClass::Controller, VlanSet::all(), found.join("; "));
        }
    }
}

struct Interface<'a> {
    name: &'a str,
    /// `admin_state`; empty where vswitchd could not tell.
    down: Result<Option<bool>, IllTyped>,
}

impl<'a> Interface<'a> {
    fn of(row: Row<'a>) -> Result<Interface<'a>, IllTyped> {
        let down = row.optional_text("admin_state").and_then(|state| match state {
            None => Ok(None),
            Some("up") => Ok(Some(false)),
            Some("down") => Ok(Some(true)),
            Some(other) => Err(format!("admin_state is {other:?}; known are up and down")),
        });
        Ok(Interface { name: row.text("name")?, down })
    }

    fn as_member(&self, of: &str) -> PortReading {
        match &self.down {
            Ok(admin_down) => PortReading::Read(PortState {
                admin_down: *admin_down,
                ingress_filtering: Some(true),
                aggregate: Some(of.to_owned()),
                ..PortState::default()
            }),
            Err(why) => PortReading::Unreadable { might_carry: VlanSet::all(), why: why.clone() },
        }
    }
}

/// What one port does, by its own row and those of its interfaces.
pub(super) fn port_reading<'a>(
    port: Row<'a>,
    name: &str,
    interface: impl Fn(&str) -> Option<Row<'a>>,
) -> PortReading {
    let read = || {
        let mut all = Vec::new();
        for uuid in port.references("interfaces")? {
            let row =
                interface(uuid).ok_or_else(|| format!("the interface row {uuid} is listed and missing"))?;
            all.push(Interface::of(row)?);
        }
        port_state(port, name, &all)
    };
    match read() {
        Ok(state) => PortReading::Read(state),
        Err(why) => PortReading::Unreadable { might_carry: VlanSet::all(), why },
    }
}

fn port_state(row: Row<'_>, name: &str, interfaces: &[Interface<'_>]) -> Result<PortState, IllTyped> {
    let Carried { untagged, tagged } = carried(&VlanColumns {
        mode: row.optional_text("vlan_mode")?.map(str::to_owned),
        tag: row.optional_vlan("tag")?,
        trunks: row.vlans("trunks")?,
    })?;
    let mut downs = Vec::new();
    for interface in interfaces {
        downs.push(interface.down.clone()?);
    }
    // The port as a whole is down only when every wire of it was read as down.
    let admin_down = match downs.as_slice() {
        all if all.contains(&Some(false)) => Some(false),
        [] => None,
        all if all.iter().all(|d| *d == Some(true)) => Some(true),
        _ => None,
    };
    let members: BTreeSet<String> = match interfaces {
        [one] if one.name == name => BTreeSet::new(),
        many => many.iter().map(|i| i.name.to_owned()).collect(),
    };
    // The action NORMAL drops frames of a VLAN that the port they came in by does not carry, always.
    Ok(PortState { untagged, tagged, admin_down, ingress_filtering: Some(true), aggregate: None, members })
}

/// For a `dot1q-tunnel` port: its outer VLAN and those its inner tags may name.
fn tunnel(row: Row<'_>) -> Option<VlanSet> {
    if row.optional_text("vlan_mode") != Ok(Some("dot1q-tunnel")) {
        return None;
    }
    let (Ok(tag), Ok(inner)) = (row.optional_vlan("tag"), row.vlans("cvlans")) else {
        return Some(VlanSet::all());
    };
    if inner.is_empty() {
        return Some(VlanSet::all());
    }
    Some(inner.into_iter().chain(tag).filter_map(VlanId::new).collect())
}

/// The VLANs a mirror copies from or into, and what it does in words; `None` when it copies nothing of any VLAN.
fn mirror(
    row: Row<'_>,
    ports: &[PortFacts<'_>],
    readings: &BTreeMap<String, PortReading>,
) -> Result<Option<(VlanSet, String)>, IllTyped> {
    let name = row.text("name")?;
    let (to_ports, to_vlan) = (row.references("output_port")?, row.optional_vlan("output_vlan")?);
    if to_ports.is_empty() && to_vlan.is_none() {
        return Ok(None);
    }
    let all = row.boolean("select_all")?;
    let mut selected = row.references("select_src_port")?;
    selected.extend(row.references("select_dst_port")?);
    if !all && selected.is_empty() {
        // "A given packet must enter or leave the bridge through a selected port": without one, none does.
        return Ok(None);
    }
    let named = |uuid: &str| ports.iter().find(|p| p.uuid == uuid).map(|p| p.name);
    let filter = row.vlans("select_vlan")?;
    let carried_by = |uuid: &str| match named(uuid).and_then(|name| readings.get(name)) {
        Some(PortReading::Read(state)) => state.carries(),
        Some(PortReading::Unreadable { might_carry, .. }) => might_carry.clone(),
        None => VlanSet::all(),
    };
    let from = if all {
        VlanSet::all()
    } else {
        selected.iter().fold(VlanSet::empty(), |set, uuid| set.union(&carried_by(uuid)))
    };
    let from = match filter.as_slice() {
        [] => from,
        some => from.intersection(&some.iter().filter_map(|v| VlanId::new(*v)).collect()),
    };
    let (destination, vlans) = match to_vlan {
        Some(vlan) => {
            let into = VlanId::new(vlan).map_or_else(VlanSet::empty, VlanSet::one);
            (format!("into VLAN {vlan}"), from.union(&into))
        }
        None => (
            format!(
                "to port {}",
                to_ports.first().and_then(|uuid| named(uuid)).unwrap_or("of another bridge")
            ),
            from.clone(),
        ),
    };
    let mut from_ports: Vec<&str> =
        selected.iter().map(|uuid| named(uuid).unwrap_or("another bridge")).collect();
    from_ports.sort_unstable();
    from_ports.dedup();
    let source = if all { "every port".to_owned() } else { from_ports.join(", ") };
    let detail = format!("mirror {name} copies the VLANs {from} of {source} {destination}");
    Ok((!vlans.is_empty()).then_some((vlans, detail)))
}

/// What is dirty, gathered; the rest is clean.
#[derive(Default)]
struct Bypasses(BTreeMap<BypassClass, (VlanSet, Vec<String>)>);

impl Bypasses {
    fn dirty(&mut self, class: BypassClass, vlans: VlanSet, detail: String) {
        let (all, details) = self.0.entry(class).or_default();
        *all = all.union(&vlans);
        details.push(detail);
    }

    fn tunnels(&mut self, ports: &[PortFacts<'_>]) {
        for port in ports {
            if let Some(vlans) = &port.tunnel {
                let detail =
                    format!("the dot1q-tunnel port {} accepts frames that bring their own tag", port.name);
                self.dirty(BypassClass::DoubleTagging, vlans.clone(), detail);
            }
        }
    }

    /// Every class but the rules, which no column tells of.
    fn finish(mut self) -> BTreeMap<BypassClass, BypassReading> {
        BypassClass::ALL
            .into_iter()
            .filter(|class| *class != BypassClass::Flows)
            .map(|class| {
                let reading = match self.0.remove(&class) {
                    Some((vlans, mut details)) => {
                        details.sort();
                        BypassReading::Dirty { vlans, detail: details.join("; ") }
                    }
                    None => BypassReading::Clean,
                };
                (class, reading)
            })
            .collect()
    }
}

/// The class `flows`, from whichever way the rules were read.
fn flows_reading(evidence: &Evidence, bridge: Row<'_>) -> BypassReading {
    let command = |start: &str| evidence.exchanges.iter().find(|x| x.asked.starts_with(start));
    let over_openflow = evidence.answer_to(openflow::ASK_FLOWS).zip(evidence.answer_to(openflow::ASK_GROUPS));
    let by_command = command(FLOWS_COMMAND).zip(command(GROUPS_COMMAND));
    let Some((rules, groups)) = over_openflow.or(by_command) else {
        let why = match command("OpenFlow ").or_else(|| command(FLOWS_COMMAND)) {
            Some(failed) => text(failed).trim().to_owned(),
            None => "no way to read the OpenFlow rules is configured".to_owned(),
        };
        return BypassReading::NotRead { why };
    };
    for exchange in [rules, groups] {
        if exchange.status != Some(0) {
            return BypassReading::NotRead { why: text(exchange).trim().to_owned() };
        }
    }
    let mut rules = text(rules);
    if over_openflow.is_some() {
        // The first line says which bridge answered.
        let id = bridge.optional_text("datapath_id").ok().flatten();
        let (first, rest) = rules.split_once('\n').unwrap_or((&rules, ""));
        if id.is_none() || first.strip_prefix("datapath_id=") != id {
            return BypassReading::NotRead {
                why: format!(
                    "the OpenFlow answer comes from the bridge with {first}, and this bridge has datapath_id={}; \
                     configure this bridge's own OpenFlow address",
                    id.unwrap_or("none")
                ),
            };
        }
        rules = rest.to_owned();
    }
    flows::judge(&rules, &text(groups))
}

fn text(exchange: &Exchange) -> String {
    String::from_utf8_lossy(&exchange.answer).into_owned()
}
