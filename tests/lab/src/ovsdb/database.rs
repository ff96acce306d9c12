//! The rows of one Open vSwitch database, and the edits that keep it a valid one.

use std::collections::BTreeMap;

use super::schema::{self, Column, Table};
use super::value::{Atom, Datum, Uuid};

/// One row: its version and the columns that differ from their default.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    version: Uuid,
    columns: BTreeMap<&'static str, Datum>,
}

impl Row {
    /// The value of a column of `table`; `None` when the table has no such column.
    pub(crate) fn get(&self, table: &Table, uuid: Uuid, column: &str) -> Option<Datum> {
        match column {
            "_uuid" => Some(Datum::from(uuid)),
            "_version" => Some(Datum::from(self.version)),
            _ => {
                let column = table.column(column)?;
                Some(self.columns.get(column.name).cloned().unwrap_or_else(|| column.default()))
            }
        }
    }
}

/// Why an edit was refused. The database is unchanged.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DatabaseError {
    /// There is no such table.
    #[error("there is no table {table:?} in an Open vSwitch database")]
    NoTable {
        /// The table asked for.
        table: String,
    },
    /// There is no such column.
    #[error("there is no column {column:?} in table {table}")]
    NoColumn {
        /// The table.
        table: String,
        /// The column asked for.
        column: String,
    },
    /// The value does not have the column's type.
    #[error("column {column} of table {table} cannot hold {value}")]
    WrongType {
        /// The table.
        table: String,
        /// The column.
        column: String,
        /// The value, in OVSDB's JSON.
        value: String,
    },
    /// There is no such row.
    #[error("there is no row {row:?} in table {table}")]
    NoRow {
        /// The table.
        table: String,
        /// The row's name or UUID.
        row: String,
    },
    /// A row of that name exists already.
    #[error("table {table} already has a row {row:?}")]
    Duplicate {
        /// The table.
        table: String,
        /// The row's name.
        row: String,
    },
}

/// One Open vSwitch database.
///
/// The edits here are the switch's own (out-of-band, from the readers' point of view). Everything they do is visible to
/// readers as the real server would show it: a changed row has a new `_version`, a monitor gets an update.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Database {
    tables: BTreeMap<&'static str, BTreeMap<Uuid, Row>>,
    next: u64,
}

impl Database {
    /// An empty database with its one `Open_vSwitch` row. `seed` keeps the UUIDs of different databases apart.
    pub fn new(seed: u64) -> Database {
        let mut db = Database { tables: BTreeMap::new(), next: seed.wrapping_shl(32) };
        let root = db.fresh();
        let version = db.fresh();
        db.tables.entry("Open_vSwitch").or_default().insert(root, Row { version, columns: BTreeMap::new() });
        db
    }

    /// What a server says of itself in its `_Server` database.
    pub(crate) fn about_server() -> Database {
        let mut db = Database { tables: BTreeMap::new(), next: u64::MAX << 32 };
        for name in [schema::DATABASE, schema::SERVER] {
            let text = schema::to_json(name).to_string();
            db.insert(
                "Database",
                [
                    ("name", Datum::from(name)),
                    ("model", Datum::from("standalone")),
                    ("connected", Datum::from(true)),
                    ("leader", Datum::from(true)),
                    ("schema", Datum::from(text.as_str())),
                ],
            )
            .expect("these are columns of table Database");
        }
        db
    }

    fn fresh(&mut self) -> Uuid {
        self.next = self.next.wrapping_add(1);
        Uuid::nth(self.next)
    }

    fn table(name: &str) -> Result<&'static Table, DatabaseError> {
        schema::table(name).ok_or_else(|| DatabaseError::NoTable { table: name.to_owned() })
    }

    fn column(table: &'static Table, name: &str) -> Result<&'static Column, DatabaseError> {
        table
            .column(name)
            .ok_or_else(|| DatabaseError::NoColumn { table: table.name.to_owned(), column: name.to_owned() })
    }

    /// The rows of a table, in UUID order; none for a table that is not served.
    pub fn rows(&self, table: &str) -> impl Iterator<Item = (Uuid, &Row)> {
        self.tables.get(table).into_iter().flatten().map(|(uuid, row)| (*uuid, row))
    }

    /// The UUID of the one `Open_vSwitch` row.
    pub fn root(&self) -> Uuid {
        self.rows("Open_vSwitch").map(|(uuid, _)| uuid).next().expect("a database is made with its root row")
    }

    /// The first row of `table` whose `name` column is `name`.
    pub fn find(&self, table: &str, name: &str) -> Option<Uuid> {
        let t = schema::table(table)?;
        self.rows(table)
            .find(|(uuid, row)| row.get(t, *uuid, "name").is_some_and(|d| d.as_str() == Some(name)))
            .map(|(uuid, _)| uuid)
    }

    /// The value of one column of one row.
    ///
    /// # Errors
    /// The table, column or row does not exist.
    pub fn get(&self, table: &str, row: Uuid, column: &str) -> Result<Datum, DatabaseError> {
        let t = Database::table(table)?;
        let found = self
            .tables
            .get(t.name)
            .and_then(|rows| rows.get(&row))
            .ok_or_else(|| DatabaseError::NoRow { table: table.to_owned(), row: row.to_string() })?;
        found
            .get(t, row, column)
            .ok_or_else(|| DatabaseError::NoColumn { table: table.to_owned(), column: column.to_owned() })
    }

    /// Sets one column of one row.
    ///
    /// # Errors
    /// The table, column or row does not exist, or the value has the wrong type.
    pub fn set(
        &mut self,
        table: &str,
        row: Uuid,
        column: &str,
        value: impl Into<Datum>,
    ) -> Result<(), DatabaseError> {
        let value = value.into();
        let t = Database::table(table)?;
        let c = Database::column(t, column)?;
        if !c.holds(&value) {
            let (table, column) = (table.to_owned(), column.to_owned());
            return Err(DatabaseError::WrongType { table, column, value: value.to_json().to_string() });
        }
        if self.get(table, row, column)? == value {
            return Ok(());
        }
        let version = self.fresh();
        if let Some(row) = self.tables.get_mut(t.name).and_then(|rows| rows.get_mut(&row)) {
            row.version = version;
            row.columns.insert(c.name, value);
        }
        Ok(())
    }

    /// Adds a row with these columns, the others at their defaults.
    ///
    /// # Errors
    /// The table or a column does not exist, a value has the wrong type, or the name is taken where the schema wants it
    /// to be unique (bridges, ports and interfaces).
    pub fn insert<'a>(
        &mut self,
        table: &str,
        columns: impl IntoIterator<Item = (&'a str, Datum)>,
    ) -> Result<Uuid, DatabaseError> {
        let t = Database::table(table)?;
        let mut row = BTreeMap::new();
        for (name, value) in columns {
            let column = Database::column(t, name)?;
            if !column.holds(&value) {
                let (table, column) = (table.to_owned(), name.to_owned());
                return Err(DatabaseError::WrongType { table, column, value: value.to_json().to_string() });
            }
            row.insert(column.name, value);
        }
        if matches!(t.name, "Bridge" | "Port" | "Interface")
            && let Some(name) = row.get("name").and_then(Datum::as_str)
            && self.find(table, name).is_some()
        {
            return Err(DatabaseError::Duplicate { table: table.to_owned(), row: name.to_owned() });
        }
        let (uuid, version) = (self.fresh(), self.fresh());
        self.tables.entry(t.name).or_default().insert(uuid, Row { version, columns: row });
        Ok(uuid)
    }

    /// Removes a row, every reference to it, and every row that nothing refers to any more, as the real server's garbage
    /// collection does.
    ///
    /// # Errors
    /// The table or row does not exist.
    pub fn remove(&mut self, table: &str, row: Uuid) -> Result<(), DatabaseError> {
        let t = Database::table(table)?;
        if self.tables.get_mut(t.name).and_then(|rows| rows.remove(&row)).is_none() {
            return Err(DatabaseError::NoRow { table: table.to_owned(), row: row.to_string() });
        }
        let referring: Vec<(&'static str, Uuid, &'static str, Datum)> = self
            .tables
            .iter()
            .flat_map(|(name, rows)| rows.iter().map(move |(uuid, row)| (*name, *uuid, row)))
            .flat_map(|(name, uuid, found)| {
                found.columns.iter().filter_map(move |(column, datum)| match datum {
                    Datum::Set(set) if set.contains(&Atom::Uuid(row)) => {
                        let rest = set.iter().filter(|a| **a != Atom::Uuid(row)).cloned().collect();
                        Some((name, uuid, *column, Datum::Set(rest)))
                    }
                    _ => None,
                })
            })
            .collect();
        for (table, uuid, column, rest) in referring {
            let version = self.fresh();
            if let Some(row) = self.tables.get_mut(table).and_then(|rows| rows.get_mut(&uuid)) {
                row.version = version;
                row.columns.insert(column, rest);
            }
        }
        self.collect_garbage();
        Ok(())
    }

    /// Only the `Open_vSwitch` table is a root; any other row lives while something refers to it.
    fn collect_garbage(&mut self) {
        loop {
            let referred: std::collections::BTreeSet<Uuid> = self
                .tables
                .values()
                .flat_map(|rows| rows.values())
                .flat_map(|row| row.columns.values())
                .flat_map(Datum::uuids)
                .collect();
            let mut dropped = false;
            for (name, rows) in &mut self.tables {
                if *name != "Open_vSwitch" {
                    let before = rows.len();
                    rows.retain(|uuid, _| referred.contains(uuid));
                    dropped |= rows.len() != before;
                }
            }
            if !dropped {
                return;
            }
        }
    }

    /// Adds a reference to a set-of-rows column.
    pub(crate) fn refer(
        &mut self,
        table: &str,
        row: Uuid,
        column: &str,
        target: Uuid,
    ) -> Result<(), DatabaseError> {
        let mut set = match self.get(table, row, column)? {
            Datum::Set(set) => set,
            Datum::Map(_) => Default::default(),
        };
        set.insert(Atom::Uuid(target));
        self.set(table, row, column, Datum::Set(set))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bridge_with_port(db: &mut Database) -> (Uuid, Uuid) {
        let interface = db.insert("Interface", [("name", Datum::from("p1"))]).unwrap();
        let port =
            db.insert("Port", [("name", Datum::from("p1")), ("interfaces", Datum::from(interface))]).unwrap();
        let bridge =
            db.insert("Bridge", [("name", Datum::from("br0")), ("ports", Datum::from(port))]).unwrap();
        db.refer("Open_vSwitch", db.root(), "bridges", bridge).unwrap();
        (bridge, port)
    }

    #[test]
    fn a_changed_row_has_a_new_version() {
        let mut db = Database::new(1);
        let (_, port) = bridge_with_port(&mut db);
        let before = db.get("Port", port, "_version").unwrap();
        db.set("Port", port, "tag", 100u16).unwrap();
        let after = db.get("Port", port, "_version").unwrap();
        assert_ne!(before, after);
        db.set("Port", port, "tag", 100u16).unwrap();
        assert_eq!(db.get("Port", port, "_version").unwrap(), after, "the same value is no change");
    }

    #[test]
    fn a_removed_port_takes_its_interface_along() {
        let mut db = Database::new(1);
        let (bridge, port) = bridge_with_port(&mut db);
        db.remove("Port", port).unwrap();
        assert_eq!(db.rows("Interface").count(), 0);
        assert_eq!(db.get("Bridge", bridge, "ports").unwrap(), Datum::empty());
    }

    #[test]
    fn wrong_edits_are_refused_in_words() {
        let mut db = Database::new(1);
        let (_, port) = bridge_with_port(&mut db);
        let refusals = [
            db.set("Port", port, "tag", "x").unwrap_err(),
            db.set("Port", port, "tags", 1u16).unwrap_err(),
            db.set("Ports", port, "tag", 1u16).unwrap_err(),
            db.set("Port", db.root(), "tag", 1u16).unwrap_err(),
            db.insert("Port", [("name", Datum::from("p1"))]).unwrap_err(),
        ];
        let words: Vec<String> = refusals.iter().map(ToString::to_string).collect();
        assert_eq!(words[0], r#"column tag of table Port cannot hold "x""#);
        assert_eq!(words[1], r#"there is no column "tags" in table Port"#);
        assert_eq!(words[2], r#"there is no table "Ports" in an Open vSwitch database"#);
        assert!(words[3].starts_with("there is no row"), "{}", words[3]);
        assert_eq!(words[4], r#"table Port already has a row "p1""#);
    }
}
