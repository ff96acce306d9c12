//! Tests of assembling and judging: a table of domains and their judgements, properties over random domains, and the
//! vectors under `tests/vectors`.

#![allow(clippy::unwrap_used)]

mod domain;
mod properties;
mod table;
mod vectors;
