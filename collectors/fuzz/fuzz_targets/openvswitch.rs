#![no_main]
//! Evidence of the dialect `openvswitch`.

libfuzzer_sys::fuzz_target!(|data: &[u8]| isoledger_collectors_fuzz::reading("openvswitch", data));
