//! `isoverify`: see the library.
fn main() {}
