#![no_main]
//! Evidence of the dialect `hil-database`.

libfuzzer_sys::fuzz_target!(|data: &[u8]| isoledger_collectors_fuzz::reading("hil-database", data));
