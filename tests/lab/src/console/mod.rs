//! The command lines of hardware switches, over SSH.
//!
//! # In scope
//! - An SSH server for each switch with a command line: password, keyboard-interactive, public key or nothing; a pty with a
//!   shell, and `exec` where the switch takes it.
//! - The command line: banners, the console's own login, `enable`, echo and editing, abbreviations, the pager, what each
//!   vendor says to nonsense; configuration mode, recorded as the write that it is.
//! - What the `show` commands answer, in each vendor's layout, from the world's [`crate::Hardware`].
//! # Out of scope
//! - What a switch is configured to do: that is the world's.
//! - Everything a reader does not ask for: help, completion, history, most of the configuration.
//! # Trust
//! Written from what the switches print, and from nothing of the readers'.

mod configure;
mod dialect;
mod grammar;
mod line;
mod n3000;
mod nexus;
mod powerconnect;
mod server;
mod terminal;

pub use server::ConsoleServer;
