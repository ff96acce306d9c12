//! HIL changing a port while it is polled, dying half way, and a port that never comes to rest.
#![allow(clippy::unwrap_used)]
