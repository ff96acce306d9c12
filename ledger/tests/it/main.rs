//! The log from outside: crashes, damage, proofs, export. Every test ends by auditing the whole log with the
//! verifier's own functions.
#![allow(clippy::unwrap_used)]

mod audit;
mod common;
mod crash_table;
mod damage;
mod export;
mod faulty_disk;
mod index;
mod reading;
mod witness;
mod writing;
