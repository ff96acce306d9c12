#![no_main]
//! Evidence of the dialect `hil-rest`.

libfuzzer_sys::fuzz_target!(|data: &[u8]| isoledger_collectors_fuzz::reading("hil-rest", data));
