//! End-to-end, crash, tamper, conformance tests.
