#![cfg_attr(test, allow(clippy::unwrap_used))]
//! Read-only readers of cloud managers and switches.
//!
//! # In scope
//! - The two traits every dialect implements: [`CloudManager`] (what is declared) and [`SwitchReader`] (what
//!   switches do), and what both hand back: [`Evidence`], the verbatim answers, and the normal form of
//!   [`isoledger_core::model`].
//! - One module per dialect, each with its page in `docs/dialects`; those of switches are listed in
//!   [`dialects::SWITCHES`].
//! - [`normalise`] and [`normalise_declared`]: evidence bytes in, normal form out, nothing else looked at. What was
//!   recorded once can be parsed again for ever, by anyone.
//!
//! # Out of scope
//! Keys, storage, and whether a difference matters: what comes out is evidence and state, never a verdict.
//! Nothing here can write to a source: every command or URL that is ever sent is a `const` of its dialect.
//!
//! # Trust
//! A source may be slow, wrong or hostile. Sizes are capped before anything is kept, every wait ends at the
//! caller's deadline, and what is not understood becomes an anomaly, an unreadable port or a [`SourceError`].

mod classes;
pub mod console;
pub mod declared_file;
mod dell;
pub mod dialect;
pub mod dialects;
pub mod evidence;
pub mod hil;
pub mod hil_database;
#[cfg(test)]
mod law;
pub mod n3000;
pub mod net;
pub mod nexus;
pub mod openvswitch;
pub mod os9;
pub mod powerconnect;
pub mod secret;
pub mod source;
pub mod text;
mod unread;
pub mod vdx;

pub use evidence::{Evidence, Exchange};
pub use secret::Secret;
pub use source::{Clock, CloudManager, Part, Pending, Reading, SourceError, Stopwatch, SwitchReader};

use isoledger_core::model::{Declared, Failure, Observed, Reader};

/// What a switch did, from the evidence of one reading of it. Pure.
///
/// Fails when no reader of this dialect and version is known here, or when the evidence is not what that reader
/// records; whatever can be confined to a port or the switch is in the [`Observed`] instead.
pub fn normalise(reader: &Reader, evidence: &Evidence) -> Result<Observed, SourceError> {
    match dialects::switch_dialect(&reader.dialect) {
        Some(known) if known.version == reader.version => (known.normalise)(evidence),
        _ => Err(unknown_reader(reader)),
    }
}

/// What a cloud manager declares, from the evidence of one reading of it. Pure, and fails as [`normalise`] does.
pub fn normalise_declared(reader: &Reader, evidence: &Evidence) -> Result<Declared, SourceError> {
    match dialects::manager_dialect(&reader.dialect) {
        Some(known) if known.version == reader.version => (known.normalise)(evidence),
        _ => Err(unknown_reader(reader)),
    }
}

fn unknown_reader(reader: &Reader) -> SourceError {
    SourceError::new(
        Failure::Unreadable,
        format!(
            "the evidence was recorded by the reader {:?} version {}, which this program does not have; use a \
             release that does",
            reader.dialect, reader.version
        ),
    )
}
