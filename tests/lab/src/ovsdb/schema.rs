//! The tables and column types served: those of Open vSwitch's schema 8.3.1 (Open vSwitch 3.1) that a reader of VLANs,
//! mirrors and controllers has a use for. Columns that refer to tables we do not serve are plain UUIDs.

use std::sync::LazyLock;

use serde_json::{Map, Value, json};

use super::value::{Atom, Datum};

/// The switch's database.
pub(crate) const DATABASE: &str = "Open_vSwitch";

/// The database every server has about itself: one table, `Database`, one row for each database.
pub(crate) const SERVER: &str = "_Server";

/// One line per table: `column:type`. The type is `bool`, `int`, `str`, `uuid` or a table's name, followed by nothing
/// (exactly one), `?` (none or one), `*` (any number), `+` (one or more), `*N` (up to N), or `>type` (map).
const TABLES: [(&str, &str); 8] = [
    (
        "Open_vSwitch",
        "bridges:Bridge* cur_cfg:int datapath_types:str* datapaths:str>uuid db_version:str? dpdk_initialized:bool \
         dpdk_version:str? external_ids:str>str iface_types:str* manager_options:Manager* next_cfg:int \
         other_config:str>str ovs_version:str? ssl:uuid? statistics:str>str system_type:str? system_version:str?",
    ),
    (
        "Bridge",
        "auto_attach:uuid? controller:Controller* datapath_id:str? datapath_type:str datapath_version:str \
         external_ids:str>str fail_mode:str? flood_vlans:int*4096 flow_tables:int>uuid ipfix:uuid? \
         mcast_snooping_enable:bool mirrors:Mirror* name:str netflow:uuid? other_config:str>str ports:Port* \
         protocols:str* rstp_enable:bool rstp_status:str>str sflow:uuid? status:str>str stp_enable:bool",
    ),
    (
        "Port",
        "bond_active_slave:str? bond_downdelay:int bond_fake_iface:bool bond_mode:str? bond_updelay:int \
         cvlans:int*4096 external_ids:str>str fake_bridge:bool interfaces:Interface+ lacp:str? mac:str? name:str \
         other_config:str>str protected:bool qos:uuid? rstp_statistics:str>int rstp_status:str>str \
         statistics:str>int status:str>str tag:int? trunks:int*4096 vlan_mode:str?",
    ),
    (
        "Interface",
        "admin_state:str? bfd:str>str bfd_status:str>str cfm_fault:bool? cfm_fault_status:str* cfm_flap_count:int? \
         cfm_health:int? cfm_mpid:int? cfm_remote_mpids:int* cfm_remote_opstate:str? duplex:str? error:str? \
         external_ids:str>str ifindex:int? ingress_policing_burst:int ingress_policing_kpkts_burst:int \
         ingress_policing_kpkts_rate:int ingress_policing_rate:int lacp_current:bool? link_resets:int? \
         link_speed:int? link_state:str? lldp:str>str mac:str? mac_in_use:str? mtu:int? mtu_request:int? name:str \
         ofport:int? ofport_request:int? options:str>str other_config:str>str statistics:str>int status:str>str \
         type:str",
    ),
    (
        "Mirror",
        "external_ids:str>str name:str output_port:Port? output_vlan:int? select_all:bool select_dst_port:Port* \
         select_src_port:Port* select_vlan:int*4096 snaplen:int? statistics:str>int",
    ),
    (
        "Controller",
        "connection_mode:str? controller_burst_limit:int? controller_queue_size:int? controller_rate_limit:int? \
         enable_async_messages:bool? external_ids:str>str inactivity_probe:int? is_connected:bool \
         local_gateway:str? local_ip:str? local_netmask:str? max_backoff:int? other_config:str>str role:str? \
         status:str>str target:str type:str?",
    ),
    (
        "Manager",
        "connection_mode:str? external_ids:str>str inactivity_probe:int? is_connected:bool max_backoff:int? \
         other_config:str>str status:str>str target:str",
    ),
    ("Database", "cid:uuid? connected:bool index:int? leader:bool model:str name:str schema:str? sid:uuid?"),
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Base {
    Bool,
    Int,
    Str,
    /// A reference, to the named table where we serve it.
    Uuid(Option<&'static str>),
}

impl Base {
    fn parse(word: &'static str) -> Base {
        match word {
            "bool" => Base::Bool,
            "int" => Base::Int,
            "str" => Base::Str,
            "uuid" => Base::Uuid(None),
            table => Base::Uuid(Some(table)),
        }
    }

    fn default(self) -> Option<Atom> {
        match self {
            Base::Bool => Some(Atom::Bool(false)),
            Base::Int => Some(Atom::Int(0)),
            Base::Str => Some(Atom::Str(String::new())),
            Base::Uuid(_) => None,
        }
    }

    fn holds(self, atom: &Atom) -> bool {
        matches!(
            (self, atom),
            (Base::Bool, Atom::Bool(_))
                | (Base::Int, Atom::Int(_))
                | (Base::Str, Atom::Str(_))
                | (Base::Uuid(_), Atom::Uuid(_))
        )
    }

    fn to_json(self) -> Value {
        match self {
            Base::Bool => json!("boolean"),
            Base::Int => json!("integer"),
            Base::Str => json!("string"),
            Base::Uuid(None) => json!("uuid"),
            Base::Uuid(Some(table)) => json!({"type": "uuid", "refTable": table}),
        }
    }
}

/// A column: its name and what may be in it.
#[derive(Clone, Debug)]
pub(crate) struct Column {
    pub(crate) name: &'static str,
    pub(crate) key: Base,
    value: Option<Base>,
    min: usize,
    max: Option<usize>,
}

impl Column {
    fn parse(word: &'static str) -> Column {
        let (name, spec) = word.split_once(':').unwrap_or((word, "str"));
        if let Some((key, value)) = spec.split_once('>') {
            let (key, value) = (Base::parse(key), Some(Base::parse(value)));
            return Column { name, key, value, min: 0, max: None };
        }
        let end = spec.find(['?', '*', '+']).unwrap_or(spec.len());
        let (min, max) = match &spec[end..] {
            "" => (1, Some(1)),
            "?" => (0, Some(1)),
            "+" => (1, None),
            "*" => (0, None),
            bounded => (0, bounded[1..].parse().ok()),
        };
        Column { name, key: Base::parse(&spec[..end]), value: None, min, max }
    }

    /// What the column holds in a row that never set it.
    pub(crate) fn default(&self) -> Datum {
        match (self.value, self.key.default()) {
            (Some(_), _) => Datum::Map(Default::default()),
            (None, Some(atom)) if self.min == 1 => Datum::from(atom),
            _ => Datum::empty(),
        }
    }

    /// Whether the schema allows `datum` in this column.
    pub(crate) fn holds(&self, datum: &Datum) -> bool {
        match (datum, self.value) {
            (Datum::Set(set), None) => {
                set.len() >= self.min
                    && self.max.is_none_or(|max| set.len() <= max)
                    && set.iter().all(|a| self.key.holds(a))
            }
            (Datum::Map(map), Some(value)) => map.iter().all(|(k, v)| self.key.holds(k) && value.holds(v)),
            _ => false,
        }
    }

    fn to_json(&self) -> Value {
        let mut column = json!({"key": self.key.to_json()});
        if let Some(value) = self.value {
            column["value"] = value.to_json();
        }
        column["min"] = json!(self.min);
        column["max"] = self.max.map_or(json!("unlimited"), |max| json!(max));
        json!({ "type": column })
    }
}

/// A table: its name and its columns, sorted by name.
#[derive(Debug)]
pub(crate) struct Table {
    pub(crate) name: &'static str,
    pub(crate) columns: Vec<Column>,
}

impl Table {
    pub(crate) fn column(&self, name: &str) -> Option<&Column> {
        self.columns.iter().find(|c| c.name == name)
    }
}

static SCHEMA: LazyLock<Vec<Table>> = LazyLock::new(|| {
    TABLES
        .iter()
        .map(|(name, line)| Table { name, columns: line.split_whitespace().map(Column::parse).collect() })
        .collect()
});

/// The table called `name`, if it is one we serve.
pub(crate) fn table(name: &str) -> Option<&'static Table> {
    SCHEMA.iter().find(|t| t.name == name)
}

/// The table called `name`, if `database` has it.
pub(crate) fn table_of(database: &str, name: &str) -> Option<&'static Table> {
    table(name).filter(|_| (name == "Database") == (database == SERVER))
}

/// The answer to `get_schema`: `<database-schema>` of RFC 7047, section 3.2.
pub(crate) fn to_json(database: &str) -> Value {
    let tables: Map<String, Value> = SCHEMA
        .iter()
        .filter(|t| table_of(database, t.name).is_some())
        .map(|t| {
            let columns: Map<String, Value> =
                t.columns.iter().map(|c| (c.name.to_owned(), c.to_json())).collect();
            let mut table = json!({ "columns": columns });
            match t.name {
                "Open_vSwitch" => {
                    table["maxRows"] = json!(1);
                    table["isRoot"] = json!(true);
                }
                "Bridge" | "Port" | "Interface" => table["indexes"] = json!([["name"]]),
                "Manager" => table["indexes"] = json!([["target"]]),
                _ => {}
            }
            (t.name.to_owned(), table)
        })
        .collect();
    let version = if database == SERVER { "1.2.0" } else { "8.3.1" };
    json!({"name": database, "version": version, "tables": tables})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_are_read_from_the_compact_lines() {
        let port = table("Port").unwrap();
        assert_eq!(port.column("tag").unwrap().default(), Datum::empty());
        assert_eq!(port.column("protected").unwrap().default(), Datum::from(false));
        assert_eq!(port.column("other_config").unwrap().default(), Datum::map([]));
        assert_eq!(port.column("interfaces").unwrap().key, Base::Uuid(Some("Interface")));
        assert!(port.column("trunks").unwrap().holds(&Datum::set(0..4096i64)));
        assert!(!port.column("trunks").unwrap().holds(&Datum::set(0..4097i64)));
        assert!(!port.column("tag").unwrap().holds(&Datum::from("100")), "a string is no VLAN");
        assert!(table("NAT").is_none());
    }

    #[test]
    fn every_reference_names_a_table_we_serve() {
        for t in SCHEMA.iter() {
            for c in &t.columns {
                if let Base::Uuid(Some(target)) = c.key {
                    assert!(table(target).is_some(), "{}.{} refers to {target}", t.name, c.name);
                }
            }
        }
    }
}
