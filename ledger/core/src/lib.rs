#![cfg_attr(test, allow(clippy::unwrap_used))]
//! The words everyone in Isoledger speaks, and the judgements that follow from them.
//!
//! # In scope
//! - The normal form of a domain ([`model`]), its assembly into slices and a common part ([`assemble`],
//!   [`mod@slice`]), findings and verdicts ([`judge`]), verdicts over a range of polls ([`range`]).
//! - What is written down: records ([`record`]), blinded content commitments ([`content`]), the RFC 6962 tree
//!   ([`merkle`]), signed notes and checkpoints ([`note`], [`checkpoint`]), what log and witness say to each other
//!   ([`witness`]), tiles ([`tiles`]), the VLAN tree ([`vlantree`]) with its leases ([`lease`]).
//! - What is handed out: attestations ([`attestation`], [`dsse`]), evidence ([`evidence`]) and what a tenant
//!   demands of them ([`policy`]).
//!
//! # Out of scope
//! Files, sockets, clocks, randomness, threads and storage. Time and random bytes arrive as arguments; bytes are
//! brought by the caller. Nothing here knows a vendor.
//!
//! # Trust
//! Every parser takes bytes from a stranger: sizes are capped first, one spelling is accepted for every value,
//! and hashes are taken over the bytes as received.

pub mod assemble;
pub mod attestation;
pub mod checkpoint;
pub mod content;
pub mod dsse;
pub mod evidence;
pub mod hash;
pub mod history;
pub mod json;
pub mod judge;
pub mod lease;
pub mod merkle;
pub mod model;
pub mod note;
pub mod policy;
pub mod range;
pub mod record;
pub mod slice;
pub mod tiles;
pub mod time;
pub mod vlan;
pub mod vlantree;
pub mod witness;

pub use hash::{Digest, Hash};
pub use time::{Span, Timestamp};
pub use vlan::{VlanId, VlanSet};

/// Version of the semantics (normal form, findings, verdicts) this code judges by, stated in every poll.
pub const SEMANTICS: u32 = 1;
