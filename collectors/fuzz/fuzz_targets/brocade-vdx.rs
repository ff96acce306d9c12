#![no_main]
//! Evidence of the dialect `brocade-vdx`.

libfuzzer_sys::fuzz_target!(|data: &[u8]| isoledger_collectors_fuzz::reading("brocade-vdx", data));
