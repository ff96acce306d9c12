#![no_main]
//! Evidence of the dialect `powerconnect-5500`.

libfuzzer_sys::fuzz_target!(|data: &[u8]| isoledger_collectors_fuzz::reading("powerconnect-5500", data));
