//! The log: sequencing, signing, journal and sled, proofs, projections, export.
