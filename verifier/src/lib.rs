//! Checks isolation attestations offline, trusting neither operator nor database.
