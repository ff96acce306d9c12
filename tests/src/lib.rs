//! End-to-end, crash, tamper, conformance tests.
//!
//! # In scope
//! - What several tests need: real peers started in private (Open vSwitch, OpenSSH), the programs as built, logs and
//!   recorders made in memory.
//!
//! # Out of scope
//! The tests themselves, which are in `tests/tests`; emulated peers, which are the crate `isoledger-lab`.

pub mod fleet;
pub mod hardware;
pub mod openssh;
pub mod ovs;
pub mod postgres;
pub mod program;
pub mod recorder;
pub mod site;
pub mod tlog;
