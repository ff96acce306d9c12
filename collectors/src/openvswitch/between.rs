//! What came and went between two readings, from what the server told of it. Pure.
//!
//! The evidence of a reading before which something was told holds one exchange more: the state at the reading before,
//! and every change since with the moment it came. [`add`] walks through the states in between. A VLAN that a port
//! carried in one of them, and neither at the beginning nor at the end, is [`Between`]; a class of bypass that was dirty
//! in one of them is dirty. What of them is not understood is an anomaly, since it may hide either.

use super::normal::{Tables, port_reading};
use super::ovsdb::{Gap, TABLES, asked_to_be_told};
use super::value::Row;
use crate::net::json::{canonical, parse_strict};
use crate::{Exchange, SourceError};
use isoledger_core::model::{Anomaly, Between, BypassClass, BypassReading, Observed, PortReading};
use isoledger_core::time::Timestamp;
use isoledger_core::vlan::VlanSet;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

/// The most ports that are looked at on the way, all states together: what a hostile server can make us do.
const MAX_WORK: usize = 1 << 19;
/// The most things that are told one by one in a sentence.
const MAX_SAID: usize = 4;

/// The exchange that tells of a gap; `None` when nothing happened in it. `since` is the answer of the reading before.
pub(super) fn exchange(since: &str, gap: &Gap, time: impl Fn(Instant) -> Timestamp) -> Option<Exchange> {
    if gap.told.is_empty() && gap.lost.is_none() && !gap.overflowed {
        return None;
    }
    let changes: Vec<Value> =
        gap.told.iter().map(|t| json!({"at": time(t.at).to_string(), "tables": t.update})).collect();
    // Where nothing was told the state says nothing, and leaving it out keeps the bytes the same.
    let since = match changes.is_empty() {
        true => Value::Null,
        false => parse_strict(since.as_bytes()).unwrap_or(Value::Null),
    };
    let answer = json!({"changes": changes, "lost": gap.lost, "overflowed": gap.overflowed, "since": since});
    Some(Exchange { asked: asked_to_be_told(), status: None, answer: canonical(&answer).into_bytes() })
}

/// Adds to a reading what the exchange says of the time before it.
pub(super) fn add(exchange: &Exchange, bridge: &str, observed: &mut Observed) -> Result<(), SourceError> {
    let bad = |what: &str| SourceError::unreadable(format!("the evidence of what changed in between {what}"));
    let told = parse_strict(&exchange.answer).map_err(|e| bad(&format!("is no JSON: {e}")))?;
    let changes = told.get("changes").and_then(Value::as_array).ok_or_else(|| bad("lists no changes"))?;
    let mut walk = Walk { bridge, ..Walk::default() };
    match told.get("overflowed").and_then(Value::as_bool) {
        Some(false) => {}
        Some(true) => {
            walk.doubt("more changed than is kept; what came and went after that is not known".into())
        }
        None => return Err(bad("does not say whether it is all")),
    }
    if !changes.is_empty() {
        let since = told.get("since").ok_or_else(|| bad("holds no state to begin with"))?;
        walk.begin(&Tables::of(since)?);
        for change in changes {
            let at = change.get("at").and_then(Value::as_str).and_then(Timestamp::parse);
            let at = at.ok_or_else(|| bad("holds a change without a time"))?;
            walk.step(at, change.get("tables").unwrap_or(&Value::Null));
        }
        walk.end(observed);
    }
    observed.anomalies.append(&mut walk.doubts);
    Ok(())
}

/// One stretch of time in which a port carried the same.
struct Stretch {
    vlans: VlanSet,
    /// `None`: since the reading before.
    from: Option<Timestamp>,
    to: Timestamp,
}

/// A stretch that is not over.
struct Current {
    vlans: VlanSet,
    from: Option<Timestamp>,
}

/// One dirty class in a state in between.
struct Dirt {
    vlans: VlanSet,
    detail: String,
    from: Option<Timestamp>,
    to: Timestamp,
}

#[derive(Default)]
struct Walk<'a> {
    bridge: &'a str,
    /// By table and uuid.
    rows: [BTreeMap<String, Value>; 7],
    /// The ports of the bridge by uuid, and the port of each interface; of the last whole look.
    ports: BTreeMap<String, String>,
    owners: BTreeMap<String, String>,
    /// Something needs a whole look at every change: mirrors copy what ports carry.
    entangled: bool,
    start: Observed,
    now: BTreeMap<String, Current>,
    /// The last known administrative state of each port.
    down: BTreeMap<String, bool>,
    past: BTreeMap<String, Vec<Stretch>>,
    dirty_now: BTreeMap<BypassClass, (VlanSet, String, Option<Timestamp>)>,
    dirty_past: BTreeMap<BypassClass, Vec<Dirt>>,
    /// Ports that a state in between did not make understandable, with why.
    puzzles: BTreeMap<String, String>,
    doubts: Vec<Anomaly>,
    work: usize,
    last: Option<Timestamp>,
}

impl Walk<'_> {
    fn doubt(&mut self, what: String) {
        if self.doubts.len() < MAX_SAID {
            self.doubts.push(Anomaly { about: "between the readings".into(), what });
        }
    }

    fn begin(&mut self, since: &Tables<'_>) {
        self.rows = since.copy();
        self.start = self.look(since);
        let start = std::mem::take(&mut self.start);
        self.take_up(&start, None);
        self.start = start;
    }

    /// The whole bridge in one state. A state without it carries nothing.
    fn look(&mut self, tables: &Tables<'_>) -> Observed {
        let mut observed = Observed::default();
        (self.ports, self.owners) = (BTreeMap::new(), BTreeMap::new());
        let bridge = match tables.bridges(self.bridge)[..] {
            [] => return observed,
            [one] => one,
            _ => {
                self.doubt(format!("there were two bridges named {}", self.bridge));
                return observed;
            }
        };
        for uuid in bridge.references("ports").unwrap_or_default() {
            let Some((row, name)) = tables.port(uuid) else { continue };
            self.ports.insert(uuid.to_owned(), name.to_owned());
            for interface in row.references("interfaces").unwrap_or_default() {
                self.owners.insert(interface.to_owned(), uuid.to_owned());
            }
        }
        self.work += self.ports.len() + 1;
        tables.columns(bridge, &mut observed);
        self.entangled = !bridge.references("mirrors").is_ok_and(|m| m.is_empty());
        observed
    }

    fn step(&mut self, at: Timestamp, update: &Value) {
        if self.work > MAX_WORK {
            return;
        }
        self.last = Some(at);
        let Some(tables) = update.as_object() else {
            return self.doubt(format!("a change told at {at} is no table updates"));
        };
        let (mut whole, mut touched) = (false, BTreeSet::new());
        for (table, rows) in tables {
            let Some(index) = TABLES.iter().position(|t| t == table) else {
                self.doubt(format!(
                    "a change told at {at} is of the table {table:?}, which was not asked for"
                ));
                continue;
            };
            let Some(rows) = rows.as_object() else {
                self.doubt(format!("a change told at {at} of the table {table} is no rows"));
                continue;
            };
            for (uuid, change) in rows {
                let new = change.get("new");
                let old = match new.map(|new| new.as_object().cloned()) {
                    Some(Some(mut new)) => {
                        new.insert("_uuid".into(), json!(["uuid", uuid]));
                        self.rows[index].insert(uuid.clone(), Value::Object(new))
                    }
                    None if change.get("old").is_some() => {
                        whole = true;
                        self.rows[index].remove(uuid)
                    }
                    _ => {
                        self.doubt(format!(
                            "a change told at {at} of a row of the table {table} is neither new nor gone"
                        ));
                        continue;
                    }
                };
                let same = |column: &str| {
                    old.as_ref().is_some_and(|old| new.and_then(|n| n.get(column)) == old.get(column))
                };
                match *table == TABLES[2] || *table == TABLES[3] {
                    false => whole = true,
                    true if *table == TABLES[2] => {
                        let tunnel = |row: Option<&Value>| {
                            row.and_then(|r| r.get("vlan_mode")).and_then(Value::as_str)
                                == Some("dot1q-tunnel")
                        };
                        whole |= !["name", "interfaces", "fake_bridge"].into_iter().all(same)
                            || tunnel(new)
                            || tunnel(old.as_ref());
                        touched.insert(uuid.clone());
                    }
                    true => {
                        whole |= !same("name");
                        touched.extend(self.owners.get(uuid).cloned());
                    }
                }
            }
        }
        if whole || self.entangled {
            let rows = std::mem::take(&mut self.rows);
            match Tables::of_rows(&rows) {
                Ok(tables) => {
                    let observed = self.look(&tables);
                    self.take_up(&observed, Some(at));
                }
                Err(e) => self.doubt(format!("after the change told at {at}: {e}")),
            }
            self.rows = rows;
        } else {
            self.look_at(&touched, at);
        }
        if self.work > MAX_WORK {
            self.doubt(format!("so much changed that what came and went after {at} was not looked at"));
        }
    }

    /// Single ports, where nothing but their own columns changed.
    fn look_at(&mut self, touched: &BTreeSet<String>, at: Timestamp) {
        for uuid in touched {
            let Some(name) = self.ports.get(uuid).cloned() else { continue };
            self.work += 1;
            let row =
                |table: usize, uuid: &str| self.rows[table].get(uuid).and_then(Value::as_object).map(Row);
            let reading = row(2, uuid).map(|port| port_reading(port, &name, |i| row(3, i)));
            match reading {
                Some(reading) => self.port(&name, &reading, Some(at)),
                None => self.doubt(format!("after the change told at {at} the port {name} has no row")),
            }
        }
    }

    fn take_up(&mut self, observed: &Observed, at: Option<Timestamp>) {
        for (name, reading) in &observed.ports {
            self.port(name, reading, at);
        }
        let gone: Vec<String> =
            self.now.keys().filter(|name| !observed.ports.contains_key(*name)).cloned().collect();
        for name in gone {
            self.carry(&name, VlanSet::empty(), at);
        }
        for anomaly in observed.anomalies.iter().filter(|_| at.is_some()) {
            if !self.start.anomalies.contains(anomaly) {
                self.doubt(format!("{}: {}", anomaly.about, anomaly.what));
            }
        }
        for class in BypassClass::ALL {
            let is = match observed.bypasses.get(&class) {
                Some(BypassReading::Dirty { vlans, detail }) => Some((vlans, detail)),
                _ => None,
            };
            let was = self.dirty_now.get(&class);
            if was.map(|(v, d, _)| (v, d)) == is {
                continue;
            }
            let is = is.map(|(vlans, detail)| (vlans.clone(), detail.clone(), at));
            if let (Some((vlans, detail, from)), Some(to)) = (self.dirty_now.remove(&class), at) {
                self.dirty_past.entry(class).or_default().push(Dirt { vlans, detail, from, to });
            }
            if let Some(is) = is {
                self.dirty_now.insert(class, is);
            }
        }
    }

    fn port(&mut self, name: &str, reading: &PortReading, at: Option<Timestamp>) {
        let vlans = match reading {
            // The bundle is what carries.
            PortReading::Read(s) if s.aggregate.is_some() => VlanSet::empty(),
            PortReading::Read(s) => {
                if let Some(down) = s.admin_down {
                    self.down.insert(name.to_owned(), down);
                }
                // A switch that starts anew forgets for a moment what it will say again.
                let down = s.admin_down.or(self.down.get(name).copied());
                if down == Some(true) { VlanSet::empty() } else { s.carries() }
            }
            PortReading::Unreadable { why, .. } => {
                if at.is_some() {
                    self.puzzles.entry(name.to_owned()).or_insert_with(|| why.clone());
                }
                return;
            }
        };
        self.carry(name, vlans, at);
    }

    fn carry(&mut self, name: &str, vlans: VlanSet, at: Option<Timestamp>) {
        let now = self.now.get_mut(name);
        if now.as_ref().map_or(vlans.is_empty(), |now| now.vlans == vlans) {
            return;
        }
        let new = Current { vlans, from: at };
        let old = match now {
            Some(now) => std::mem::replace(now, new),
            None => {
                self.now.insert(name.to_owned(), new);
                return;
            }
        };
        if let Some(to) = at {
            let past = Stretch { vlans: old.vlans, from: old.from, to };
            self.past.entry(name.to_owned()).or_default().push(past);
        }
    }

    fn end(&mut self, observed: &mut Observed) {
        let Some(last) = self.last else { return };
        // What the last change left is as the reading found it, unless the reading overtook what told of it.
        for (name, now) in std::mem::take(&mut self.now) {
            let past = Stretch { vlans: now.vlans, from: now.from, to: last };
            self.past.entry(name).or_default().push(past);
        }
        for (class, (vlans, detail, from)) in std::mem::take(&mut self.dirty_now) {
            self.dirty_past.entry(class).or_default().push(Dirt { vlans, detail, from, to: last });
        }
        for (name, stretches) in std::mem::take(&mut self.past) {
            let known = ends(self.start.ports.get(&name)).union(&ends(observed.ports.get(&name)));
            let mut between: Option<Between> = None;
            for s in &stretches {
                let vlans = s.vlans.difference(&known);
                let (Some(from), false) = (s.from, vlans.is_empty()) else { continue };
                let all = s.vlans.is_all() && !ends(observed.ports.get(&name)).is_all();
                between = Some(match between {
                    None => Between { vlans, all, from, to: s.to },
                    Some(b) => {
                        Between { vlans: b.vlans.union(&vlans), all: b.all | all, from: b.from, to: s.to }
                    }
                });
            }
            if let Some(between) = between {
                observed.between.insert(name, between);
            }
        }
        for (name, why) in std::mem::take(&mut self.puzzles) {
            let unread = |o: &Observed| matches!(o.ports.get(&name), Some(PortReading::Unreadable { .. }));
            if !unread(&self.start) && !unread(observed) {
                self.doubt(format!("{name}: {why}"));
            }
        }
        for (class, stretches) in std::mem::take(&mut self.dirty_past) {
            let known = dirty(&self.start, class).union(&dirty(observed, class));
            let (mut vlans, mut said, mut more) = (VlanSet::empty(), Vec::new(), 0_usize);
            for d in &stretches {
                let new = d.vlans.difference(&known);
                let (Some(from), false) = (d.from, new.is_empty()) else { continue };
                vlans = vlans.union(&new);
                match said.len() < MAX_SAID {
                    true => said.push(format!("from {from} to {}, before this reading: {}", d.to, d.detail)),
                    false => more += 1,
                }
            }
            if said.is_empty() {
                continue;
            }
            if more > 0 {
                said.push(format!("and {more} times more"));
            }
            let (known, mut details) = match observed.bypasses.remove(&class) {
                Some(BypassReading::Dirty { vlans, detail }) => (vlans, vec![detail]),
                _ => (VlanSet::empty(), Vec::new()),
            };
            details.append(&mut said);
            let dirty = BypassReading::Dirty { vlans: known.union(&vlans), detail: details.join("; ") };
            observed.bypasses.insert(class, dirty);
        }
    }
}

/// What a port carried, or might have, in one of the two readings.
fn ends(reading: Option<&PortReading>) -> VlanSet {
    match reading {
        Some(PortReading::Read(s)) if s.aggregate.is_none() && s.admin_down != Some(true) => s.carries(),
        Some(PortReading::Unreadable { might_carry, .. }) => might_carry.clone(),
        Some(PortReading::Read(_)) | None => VlanSet::empty(),
    }
}

fn dirty(observed: &Observed, class: BypassClass) -> VlanSet {
    match observed.bypasses.get(&class) {
        Some(BypassReading::Dirty { vlans, .. }) => vlans.clone(),
        _ => VlanSet::empty(),
    }
}
