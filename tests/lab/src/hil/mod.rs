//! HIL's REST server: a view of the world with HIL's JSON, HIL's errors and HIL's quirks.

mod json;
mod routes;
mod server;

pub use server::HilServer;
