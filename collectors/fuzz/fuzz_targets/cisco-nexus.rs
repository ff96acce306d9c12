#![no_main]
//! Evidence of the dialect `cisco-nexus`.

libfuzzer_sys::fuzz_target!(|data: &[u8]| isoledger_collectors_fuzz::reading("cisco-nexus", data));
