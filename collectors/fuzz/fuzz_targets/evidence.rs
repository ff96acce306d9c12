#![no_main]
//! The bytes of evidence: what is read has one spelling, and that is what it was read from.

use isoledger_collectors::Evidence;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    if let Ok(evidence) = Evidence::from_bytes(data) {
        assert_eq!(evidence.to_bytes(), data);
    }
});
