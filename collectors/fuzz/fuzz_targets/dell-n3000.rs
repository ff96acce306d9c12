#![no_main]
//! Evidence of the dialect `dell-n3000`.

libfuzzer_sys::fuzz_target!(|data: &[u8]| isoledger_collectors_fuzz::reading("dell-n3000", data));
