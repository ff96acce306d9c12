//! End-to-end, crash, tamper, conformance tests.

pub mod openssh;
pub mod ovs;
pub mod recorder;
