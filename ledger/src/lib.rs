//! The log: sequencing, signing, journal and sled, proofs, projections, export.
#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod batch;
pub mod bundle;
pub mod disk;
pub mod edge;
pub mod frame;
pub mod head;
pub mod highwater;
pub mod journal;
pub mod lock;
pub mod store;
