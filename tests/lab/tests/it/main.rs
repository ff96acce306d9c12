//! The emulators against what real peers answered, and the levers against what a reader sees.

#![allow(clippy::unwrap_used)]

mod common;
mod console;
mod faults;
mod hil;
mod openflow;
mod ovsdb;
mod real_openvswitch;
mod rest;
