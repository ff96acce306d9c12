//! The dialects there are. Whoever adds one adds a line here, and nothing else outside its own file.

use crate::dialect::{Dialect, ManagerDialect};
use crate::{declared_file, hil, hil_database, n3000, nexus, openvswitch, os9, powerconnect, vdx};

/// Every dialect of cloud managers.
pub const MANAGERS: &[&ManagerDialect] = &[
    &ManagerDialect { name: hil::DIALECT, version: hil::VERSION, normalise: hil::normalise },
    &ManagerDialect {
        name: hil_database::DIALECT,
        version: hil_database::VERSION,
        normalise: hil_database::normalise,
    },
    &ManagerDialect {
        name: declared_file::DIALECT,
        version: declared_file::VERSION,
        normalise: declared_file::normalise,
    },
];

/// The dialect of cloud managers with this name.
pub fn manager_dialect(name: &str) -> Option<&'static ManagerDialect> {
    MANAGERS.iter().copied().find(|d| d.name == name)
}

/// Every dialect of switches.
pub const SWITCHES: &[&Dialect] = &[
    &openvswitch::OPENVSWITCH,
    &vdx::VDX,
    &os9::OS9,
    &nexus::NEXUS,
    &powerconnect::POWERCONNECT,
    &n3000::N3000,
];

/// The dialect of switches with this name.
pub fn switch_dialect(name: &str) -> Option<&'static Dialect> {
    SWITCHES.iter().copied().find(|d| d.name == name)
}
