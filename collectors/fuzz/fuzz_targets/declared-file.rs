#![no_main]
//! Evidence of the dialect `declared-file`.

libfuzzer_sys::fuzz_target!(|data: &[u8]| isoledger_collectors_fuzz::reading("declared-file", data));
