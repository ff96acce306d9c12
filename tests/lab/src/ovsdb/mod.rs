//! An OVSDB server (RFC 7047) over an Open vSwitch database of the world.
//!
//! [`Database`] is the data: the tables a switch reader looks at, with the column types of the Open vSwitch 3.1 schema.
//! [`OvsdbServer`] is one way to look at it: JSON-RPC over a unix socket, TCP or TLS.

mod database;
mod query;
mod schema;
mod server;
mod value;

pub use database::{Database, DatabaseError, Row};
pub use server::{OvsdbOptions, OvsdbServer};
pub use value::{Atom, Datum, Uuid};
