//! `isoledger`: the auditing service and its command line.
fn main() {}
