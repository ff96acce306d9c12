#![no_main]
//! Evidence of the dialect `dell-os9`.

libfuzzer_sys::fuzz_target!(|data: &[u8]| isoledger_collectors_fuzz::reading("dell-os9", data));
