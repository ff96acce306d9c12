//! Every statement that is ever sent to the database, and what each column is needed for.
//!
//! All of them read. The tables and columns stand once, in the list below; the statements, the rights they need and the
//! role's SQL are made from it at compile time, so they cannot drift apart. Columns that hold a secret (passwords of
//! switches and users, tokens of machines' controllers, uuids by which a requester follows an action) or free text of
//! administrators (metadata) are not in the list, and no statement has a star.

/// A table of HIL's and what is read of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Table {
    /// Its name in the schema `public`.
    pub name: &'static str,
    /// The columns read, in the order of the statement.
    pub columns: &'static [&'static str],
    /// Whether every HIL has it. The others come with an extension: an allocator, a driver.
    pub always: bool,
    /// The statement.
    pub select: &'static str,
    /// The right it needs, for the role `isoledger`.
    pub grant: &'static str,
}

macro_rules! tables {
    ($( $name:literal $always:literal [ $first:literal $(, $column:literal)* ]; )*) => {
        /// Every table that is read, in the order of reading.
        pub const TABLES: &[Table] = &[$( Table {
            name: $name,
            columns: &[$first $(, $column)*],
            always: $always,
            select: concat!("SELECT \"", $first, "\"" $(, ", \"", $column, "\"")*, " FROM public.\"", $name, "\""),
            grant: concat!(
                "GRANT SELECT (\"", $first, "\"" $(, ", \"", $column, "\"")*, ") ON public.\"", $name,
                "\" TO isoledger;"
            ),
        } ),*];

        /// Which of the tables and columns there are, of what kind they are, and whether we may read them. Asked in the
        /// same snapshot as the rows, so that "no such table" is of the same moment.
        pub const WANTED: &str = concat!(
            "SELECT w.rel, w.col, c.relkind, a.attnum IS NOT NULL, ",
            "pg_catalog.has_column_privilege(c.oid, a.attnum, 'SELECT') FROM (VALUES (NULL, NULL)",
            $( ", ('", $name, "', '", $first, "')" $(, ", ('", $name, "', '", $column, "')")*, )*
            ") AS w(rel, col) LEFT JOIN pg_catalog.pg_class c ON c.relname = w.rel AND c.relkind <> 'i' AND ",
            "c.relnamespace = (SELECT n.oid FROM pg_catalog.pg_namespace n WHERE n.nspname = 'public') ",
            "LEFT JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attname = w.col AND NOT a.attisdropped ",
            "WHERE w.rel IS NOT NULL"
        );

        /// The role that can read what is read and nothing else: run as the owner of HIL's database, in it. Lines about
        /// tables that this HIL does not have (an extension that is not installed) are to be left out. A database of
        /// another name than `hil` goes into the GRANT CONNECT.
        pub const ROLE: &str = concat!(
            "CREATE ROLE isoledger LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS CONNECTION LIMIT 5;\n",
            "ALTER ROLE isoledger SET default_transaction_read_only = on;\n",
            "GRANT CONNECT ON DATABASE hil TO isoledger;\n",
            "GRANT USAGE ON SCHEMA public TO isoledger;\n",
            $( "GRANT SELECT (\"", $first, "\"" $(, ", \"", $column, "\"")*, ") ON public.\"", $name, "\" TO isoledger;\n", )*
        );
    };
}

tables! {
    // Who owns, who may join, who has a node.
    "project" true ["id", "label"];
    "node" true ["id", "label", "project_id"];
    "nic" true ["id", "label", "owner_id", "mac_addr", "port_id"];
    "port" true ["id", "label", "owner_id"];
    "switch" true ["id", "label", "type"];
    // `network_id` is the VLAN here, and a reference to `network.id` everywhere else.
    "network" true ["id", "label", "owner_id", "allocated", "network_id"];
    // A network without a row is public.
    "network_projects" true ["project_id", "network_id"];
    // The id is a serial: a nic detached and attached again between two readings has another one.
    "network_attachment" true ["id", "nic_id", "network_id", "channel"];
    "networking_action" true ["id", "status", "type", "nic_id", "new_network_id", "channel"];
    "headnode" true ["id", "label", "project_id"];
    "hnic" true ["id", "label", "owner_id", "network_id"];
    // The pool, for whoever reads the evidence: nothing that is judged depends on it.
    "vlan" false ["vlan_no", "available"];
    // Where a switch is, for whoever writes the scope.
    "ovs" false ["id", "ovs_bridge"];
    "mock_switch" false ["id", "hostname"];
    "power_connect55xx" false ["id", "hostname"];
    "dell_n3000" false ["id", "hostname", "dummy_vlan"];
    "nexus" false ["id", "hostname", "dummy_vlan"];
    "brocade" false ["id", "hostname", "interface_type"];
    "dell_no_s9" false ["id", "hostname", "interface_type"];
}

/// The transaction: one snapshot for every statement in it, and the server itself refuses to write.
pub const BEGIN: &str = "BEGIN TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY";
/// Its end. There is nothing to commit.
pub const END: &str = "ROLLBACK";
/// What holds within the transaction, one by one. `SET LOCAL` ends with the transaction, so a connection pool between us
/// and the server hands nothing of it on. In this order:
/// - a second lock against writing, for whatever the statements call;
/// - a row filter (row level security) on a table is an error instead of rows that are silently missing;
/// - no schema but the server's own is searched for functions and operators;
/// - a lock held by a migration of HIL's is told after five seconds instead of waited for.
pub const SETTINGS: [&str; 4] = [
    "SET LOCAL default_transaction_read_only = on",
    "SET LOCAL row_security = off",
    "SET LOCAL search_path = ''",
    "SET LOCAL lock_timeout = '5s'",
];
/// The server gives a statement up when nobody would wait for it any more: the number is what is left to the deadline.
pub const TIMEOUT: &str = "SET LOCAL statement_timeout = {milliseconds}";
/// Who answers, and under which conditions: user, database, a standby, the right to ask for [`SYSTEM`], the use of the
/// schema, isolation, read only.
pub const IDENTITY: &str = "SELECT current_user, pg_catalog.current_database(), pg_catalog.pg_is_in_recovery(), \
     pg_catalog.has_function_privilege('pg_catalog.pg_control_system()', 'EXECUTE'), \
     pg_catalog.has_schema_privilege('public', 'USAGE'), \
     pg_catalog.current_setting('transaction_isolation'), pg_catalog.current_setting('transaction_read_only')";
/// The number that a database cluster is given when it is made; a copy made by dump and restore has another one.
pub const SYSTEM: &str = "SELECT system_identifier FROM pg_catalog.pg_control_system()";

/// Attributes of our role. For [`super::HilDatabase::rights`] only, as all below.
pub const ATTRIBUTES: &str = "SELECT rolname, rolsuper, rolcreatedb, rolcreaterole, rolreplication, rolbypassrls, \
     pg_catalog.has_database_privilege(pg_catalog.current_database(), 'CREATE'), \
     pg_catalog.has_schema_privilege('public', 'CREATE') FROM pg_catalog.pg_roles WHERE rolname = current_user";
/// Roles whose rights ours has or can take on.
pub const ROLES: &str = "SELECT rolname FROM pg_catalog.pg_roles WHERE rolname <> current_user AND \
     pg_catalog.pg_has_role(current_user, oid, 'MEMBER')";
/// Relations, schemas and databases that our role owns: an owner may do everything, and grant itself what it lacks.
pub const OWNED: &str = "SELECT 'relation', n.nspname || '.' || c.relname FROM pg_catalog.pg_class c \
     JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace JOIN pg_catalog.pg_roles r ON r.oid = c.relowner \
     WHERE r.rolname = current_user AND c.relkind NOT IN ('i', 'I', 't', 'c') AND n.nspname NOT LIKE 'pg\\_%' \
     AND n.nspname <> 'information_schema' \
     UNION ALL SELECT 'schema', n.nspname FROM pg_catalog.pg_namespace n \
     JOIN pg_catalog.pg_roles r ON r.oid = n.nspowner WHERE r.rolname = current_user AND n.nspname NOT LIKE 'pg\\_%' \
     UNION ALL SELECT 'database', d.datname FROM pg_catalog.pg_database d \
     JOIN pg_catalog.pg_roles r ON r.oid = d.datdba WHERE r.rolname = current_user";
/// Rights to change relations outside the server's own schemas, one row for each. A sequence is changed by whoever may
/// use it.
pub const WRITES: &str = "SELECT n.nspname || '.' || c.relname, p.name FROM pg_catalog.pg_class c \
     JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
     CROSS JOIN (VALUES ('INSERT'), ('UPDATE'), ('DELETE'), ('TRUNCATE'), ('REFERENCES'), ('TRIGGER'), ('USAGE')) AS p(name) \
     WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S') AND n.nspname NOT LIKE 'pg\\_%' AND \
     n.nspname <> 'information_schema' AND CASE WHEN c.relkind = 'S' THEN p.name IN ('UPDATE', 'USAGE') AND \
     pg_catalog.has_sequence_privilege(c.oid, p.name) WHEN p.name = 'USAGE' THEN false \
     WHEN p.name IN ('INSERT', 'UPDATE', 'REFERENCES') THEN pg_catalog.has_any_column_privilege(c.oid, p.name) \
     ELSE pg_catalog.has_table_privilege(c.oid, p.name) END";
/// Columns outside the server's own schemas that our role may read.
pub const READS: &str = "SELECT n.nspname, c.relname, a.attname FROM pg_catalog.pg_class c \
     JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
     JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped \
     WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') AND n.nspname NOT LIKE 'pg\\_%' AND n.nspname <> 'information_schema' \
     AND pg_catalog.has_column_privilege(c.oid, a.attnum, 'SELECT')";

/// Everything that is ever sent once logged in; what varies stands in braces.
pub fn sends() -> impl Iterator<Item = &'static str> {
    let frame = [BEGIN, END, TIMEOUT, IDENTITY, SYSTEM, WANTED, ATTRIBUTES, ROLES, OWNED, WRITES, READS];
    frame.into_iter().chain(SETTINGS).chain(TABLES.iter().map(|t| t.select))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statements_read_and_nothing_else() {
        for statement in sends() {
            let first = statement.split(' ').next().unwrap_or_default();
            assert!(["BEGIN", "ROLLBACK", "SET", "SELECT"].contains(&first), "{statement}");
            assert!(!statement.contains(';') && !statement.contains('*'), "{statement}");
            assert!(first != "SET" || statement.starts_with("SET LOCAL "), "{statement}");
            assert!(!statement.contains("FOR UPDATE") && !statement.contains("FOR SHARE"), "{statement}");
        }
    }

    #[test]
    fn no_statement_asks_for_a_secret() {
        for table in TABLES {
            assert_ne!(table.name, "user");
            for column in table.columns {
                for secret in ["password", "token", "uuid", "value", "obmd", "username"] {
                    assert!(!column.contains(secret), "{} {column}", table.name);
                }
            }
        }
    }

    #[test]
    fn the_list_makes_the_sql() {
        let node = TABLES.iter().find(|t| t.name == "node").unwrap();
        assert_eq!(node.select, r#"SELECT "id", "label", "project_id" FROM public."node""#);
        assert_eq!(
            node.grant,
            r#"GRANT SELECT ("id", "label", "project_id") ON public."node" TO isoledger;"#
        );
        for table in TABLES {
            assert!(ROLE.contains(table.grant), "{}", table.name);
            for column in table.columns {
                assert!(WANTED.contains(&format!("('{}', '{column}')", table.name)));
            }
        }
    }
}
