#![no_main]
//! The framing of a command line, fed the same bytes in two ways of cutting them.

libfuzzer_sys::fuzz_target!(|data: &[u8]| isoledger_collectors_fuzz::console(data));
