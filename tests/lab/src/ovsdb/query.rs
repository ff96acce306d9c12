//! What a client may ask: `transact` with `select`, and `monitor`. Pure: a database in, JSON out.
//!
//! The words of the errors are those of ovsdb-server 3.1.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::database::Database;
use super::schema::{self, Table};
use super::value::{Datum, Uuid};

/// Answers the operations of one `transact`: a result for each, up to and including the first error; `null` for the rest.
pub(crate) fn transact(name: &str, database: &Database, operations: &[Value]) -> Value {
    let mut results = Vec::new();
    let mut failed = false;
    for (n, operation) in operations.iter().enumerate() {
        if failed {
            results.push(Value::Null);
            continue;
        }
        match operate(name, database, operation, (n + 1, operations.len())) {
            Ok(result) => results.push(result),
            Err(error) => {
                results.push(error);
                failed = true;
            }
        }
    }
    Value::Array(results)
}

/// Whether any operation asks for a change.
pub(crate) fn writes(operations: &[Value]) -> bool {
    operations
        .iter()
        .any(|o| !matches!(o["op"].as_str(), Some("select" | "wait" | "comment" | "assert" | "abort")))
}

fn operate(
    name: &str,
    database: &Database,
    operation: &Value,
    (n, of): (usize, usize),
) -> Result<Value, Value> {
    let bad = |what: String| {
        let details = format!("Parsing ovsdb operation {n} of {of} failed: {what}");
        json!({"syntax": operation.to_string(), "details": details, "error": "syntax error"})
    };
    match operation["op"].as_str() {
        Some("select") => {
            let table = operation["table"]
                .as_str()
                .ok_or_else(|| bad("Required 'table' member is missing.".into()))?;
            let table =
                schema::table_of(name, table).ok_or_else(|| bad(format!("No table named {table}.")))?;
            let wanted = operation["where"].as_array();
            let conditions = wanted.ok_or_else(|| bad("Required 'where' member is missing.".into()))?;
            select(database, table, conditions, operation.get("columns"))
        }
        Some("comment") => Ok(json!({})),
        Some("abort") => Err(json!({"error": "aborted", "details": "aborted by request"})),
        Some(op @ ("insert" | "update" | "mutate" | "delete")) => Err(json!({
            "error": "not allowed",
            "details": format!("{op} operation not allowed when database server is in read only mode"),
        })),
        Some(other) => Err(bad(format!("No operation \"{other}\""))),
        None => Err(bad("Required 'op' member is missing.".into())),
    }
}

fn select(
    database: &Database,
    table: &'static Table,
    conditions: &[Value],
    columns: Option<&Value>,
) -> Result<Value, Value> {
    let columns = match columns {
        Some(columns) => named_columns(table, columns)?,
        None => {
            let mut all = all_columns(table);
            all.push("_uuid".to_owned());
            all
        }
    };
    let conditions = conditions.iter().map(|c| Condition::parse(table, c)).collect::<Result<Vec<_>, _>>()?;
    let rows: Vec<Value> = database
        .rows(table.name)
        .filter(|(uuid, row)| {
            conditions.iter().all(|c| row.get(table, *uuid, &c.column).is_some_and(|datum| c.holds(&datum)))
        })
        .map(|(uuid, row)| {
            let pick = |c: &String| Some((c.clone(), row.get(table, uuid, c)?.to_json()));
            Value::Object(columns.iter().filter_map(pick).collect())
        })
        .collect();
    Ok(json!({ "rows": rows }))
}

/// Every column and `_version`.
fn all_columns(table: &Table) -> Vec<String> {
    table.columns.iter().map(|c| c.name).chain(["_version"]).map(str::to_owned).collect()
}

fn named_columns(table: &Table, columns: &Value) -> Result<Vec<String>, Value> {
    let bad =
        |details: String| json!({"syntax": columns.to_string(), "details": details, "error": "syntax error"});
    let names = columns.as_array().ok_or_else(|| bad("array of distinct column names expected".into()))?;
    let mut wanted = Vec::new();
    for name in names {
        let name = name.as_str().ok_or_else(|| bad("array of distinct column names expected".into()))?;
        if table.column(name).is_none() && name != "_uuid" && name != "_version" {
            return Err(bad(format!("{name} is not a valid column name")));
        }
        wanted.push(name.to_owned());
    }
    Ok(wanted)
}

#[derive(Clone, Copy)]
enum Function {
    Equals,
    Differs,
    Includes,
    Excludes,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

/// One `[column, function, value]` (RFC 7047, section 5.1).
struct Condition {
    column: String,
    function: Function,
    value: Datum,
}

impl Condition {
    fn parse(table: &Table, condition: &Value) -> Result<Condition, Value> {
        let error = |kind: &str, details: String| json!({"syntax": condition.to_string(), "details": details, "error": kind});
        let parts = condition.as_array().map(Vec::as_slice).unwrap_or_default();
        let [Value::String(column), Value::String(function), value] = parts else {
            return Err(error("syntax error", "Parse error in condition.".into()));
        };
        if table.column(column).is_none() && column != "_uuid" && column != "_version" {
            return Err(error("unknown column", format!("No column {column} in table {}.", table.name)));
        }
        let function = match function.as_str() {
            "==" => Function::Equals,
            "!=" => Function::Differs,
            "includes" => Function::Includes,
            "excludes" => Function::Excludes,
            "<" => Function::Less,
            "<=" => Function::LessOrEqual,
            ">" => Function::Greater,
            ">=" => Function::GreaterOrEqual,
            other => {
                let details = format!("No function named {other}.");
                return Err(json!({"details": details, "error": "unknown function"}));
            }
        };
        let value = Datum::from_json(value)
            .ok_or_else(|| error("syntax error", format!("{value} is no OVSDB value.")))?;
        Ok(Condition { column: column.clone(), function, value })
    }

    fn holds(&self, datum: &Datum) -> bool {
        let compare = || match (datum.ints().next(), self.value.ints().next()) {
            (Some(a), Some(b)) => Some(a.cmp(&b)),
            _ => None,
        };
        match self.function {
            Function::Equals => *datum == self.value,
            Function::Differs => *datum != self.value,
            Function::Includes => match (datum, &self.value) {
                (Datum::Set(all), Datum::Set(some)) => some.is_subset(all),
                (Datum::Map(all), Datum::Map(some)) => some.iter().all(|(k, v)| all.get(k) == Some(v)),
                _ => false,
            },
            Function::Excludes => match (datum, &self.value) {
                (Datum::Set(all), Datum::Set(some)) => some.is_disjoint(all),
                (Datum::Map(all), Datum::Map(some)) => some.iter().all(|(k, v)| all.get(k) != Some(v)),
                _ => false,
            },
            Function::Less => compare().is_some_and(|o| o.is_lt()),
            Function::LessOrEqual => compare().is_some_and(|o| o.is_le()),
            Function::Greater => compare().is_some_and(|o| o.is_gt()),
            Function::GreaterOrEqual => compare().is_some_and(|o| o.is_ge()),
        }
    }
}

/// What a monitor watches of one table.
struct Watch {
    table: &'static Table,
    columns: Vec<String>,
    initial: bool,
    insert: bool,
    delete: bool,
    modify: bool,
}

/// A monitor (RFC 7047, section 4.1.5).
pub(crate) struct Monitor {
    /// The client's name for it, any JSON.
    pub(crate) id: Value,
    pub(crate) database: String,
    watches: Vec<Watch>,
}

impl Monitor {
    /// Reads `[database, id, {table: request or [request…]}]`. The error is the reply's.
    pub(crate) fn parse(database: &str, id: &Value, requests: &Value) -> Result<Monitor, Value> {
        let syntax = |details: String| json!({"details": details, "error": "syntax error"});
        let tables =
            requests.as_object().ok_or_else(|| syntax("monitor requests must be an object".into()))?;
        let mut watches = Vec::new();
        for (name, requests) in tables {
            let table =
                schema::table_of(database, name).ok_or_else(|| syntax(format!("no table named {name}")))?;
            for request in requests.as_array().map_or(std::slice::from_ref(requests), Vec::as_slice) {
                let columns = match request.get("columns") {
                    Some(columns) => named_columns(table, columns)?,
                    None => all_columns(table),
                };
                let flag = |name: &str| request["select"].get(name).and_then(Value::as_bool).unwrap_or(true);
                watches.push(Watch {
                    table,
                    columns,
                    initial: flag("initial"),
                    insert: flag("insert"),
                    delete: flag("delete"),
                    modify: flag("modify"),
                });
            }
        }
        Ok(Monitor { id: id.clone(), database: database.to_owned(), watches })
    }

    /// What the client is told at once.
    pub(crate) fn initial(&self, database: &Database) -> Value {
        let mut updates = Updates::default();
        for watch in self.watches.iter().filter(|w| w.initial) {
            for (uuid, _) in database.rows(watch.table.name) {
                updates.put(watch.table.name, uuid, "new", shown(watch, database, uuid, |_| true));
            }
        }
        updates.into_json()
    }

    /// What the client is told of a change; `None` when it is nothing to it.
    pub(crate) fn update(&self, before: &Database, after: &Database) -> Option<Value> {
        let mut updates = Updates::default();
        for watch in &self.watches {
            let name = watch.table.name;
            let old: BTreeMap<Uuid, _> = before.rows(name).collect();
            let new: BTreeMap<Uuid, _> = after.rows(name).collect();
            for uuid in new.keys().filter(|u| watch.insert && !old.contains_key(u)) {
                updates.put(name, *uuid, "new", shown(watch, after, *uuid, |_| true));
            }
            for uuid in old.keys().filter(|u| watch.delete && !new.contains_key(u)) {
                updates.put(name, *uuid, "old", shown(watch, before, *uuid, |_| true));
            }
            for (uuid, row) in old.iter().filter(|_| watch.modify) {
                let Some(now) = new.get(uuid) else { continue };
                let changed = shown(watch, before, *uuid, |c| {
                    row.get(watch.table, *uuid, c) != now.get(watch.table, *uuid, c)
                });
                if !changed.is_empty() {
                    updates.put(name, *uuid, "old", changed);
                    updates.put(name, *uuid, "new", shown(watch, after, *uuid, |_| true));
                }
            }
        }
        (!updates.tables.is_empty()).then(|| updates.into_json())
    }
}

fn shown(
    watch: &Watch,
    database: &Database,
    uuid: Uuid,
    wanted: impl Fn(&str) -> bool,
) -> Map<String, Value> {
    let pick = |c: &String| Some((c.clone(), database.get(watch.table.name, uuid, c).ok()?.to_json()));
    watch.columns.iter().filter(|c| wanted(c)).filter_map(pick).collect()
}

/// `<row-update>`: columns under `old`, `new`, or both.
type Sides = BTreeMap<&'static str, Map<String, Value>>;

/// `<table-updates>`, put together.
#[derive(Default)]
struct Updates {
    tables: BTreeMap<&'static str, BTreeMap<Uuid, Sides>>,
}

impl Updates {
    fn put(&mut self, table: &'static str, row: Uuid, side: &'static str, columns: Map<String, Value>) {
        let row = self.tables.entry(table).or_default().entry(row).or_default();
        row.entry(side).or_default().extend(columns);
    }

    fn into_json(self) -> Value {
        let row = |sides: BTreeMap<&str, Map<String, Value>>| {
            Value::Object(sides.into_iter().map(|(s, c)| (s.to_owned(), Value::Object(c))).collect())
        };
        let table = |rows: BTreeMap<Uuid, _>| {
            Value::Object(rows.into_iter().map(|(u, sides)| (u.to_string(), row(sides))).collect())
        };
        Value::Object(self.tables.into_iter().map(|(name, rows)| (name.to_owned(), table(rows))).collect())
    }
}
