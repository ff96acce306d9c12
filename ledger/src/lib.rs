//! The log: sequencing, signing, journal and sled, proofs, export.
//!
//! ```text
//! Pending ──stage──▶ journal ──fdatasync──▶ sled ──▶ high-water ──▶ checkpoint ──▶ Sequenced
//!                       │ the truth          │ follows from the journal, by one function
//!                       ▼                    ▼
//!                  LogReader              View              the same questions to both: ReadLog
//! ```
//!
//! # In scope
//! - [`Ledger`]: one log, its one writer. [`Ledger::append`] is the commit; [`sequence`] has it on one page.
//! - [`View`]: reading an open log from any thread. [`LogReader`]: reading a log from its journal, beside the service
//!   or from a copy. Both answer [`ReadLog`]: entries, content, tiles, inclusion, consistency and range proofs.
//! - [`backup`]: copies of a log, made beside its writer, that sign nothing until it is known that nobody has seen more.
//! - [`witness`]: the memory of a witness, which watches logs that need not be ours.
//! - [`mod@audit`]: the whole log recomputed by the verifier's own functions. [`mod@export`]: the public log as plain files;
//!   [`public`] reads them again, as a stranger would, for the same audit.
//!
//! # Out of scope
//! Vendors, the cloud manager's JSON, HTTP, verdicts, and the clock: time arrives as an argument.
//!
//! # Trust
//! The journal is trusted after every frame's checksum, the chain through all of them, and the root at the high-water
//! mark were checked. sled is trusted with nothing: what it returns is checked before it is served, and made again
//! from the journal when it is wrong.
#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod attest;
pub mod audit;
pub mod backup;
pub mod batch;
pub mod bundle;
pub mod damage;
pub mod disk;
pub mod divergence;
pub mod edge;
pub mod export;
pub mod facts;
pub mod frame;
pub mod head;
pub mod highwater;
pub mod journal;
pub mod layout;
pub mod lock;
pub mod log;
pub mod projection;
pub mod public;
pub mod read;
pub mod reader;
pub mod recompute;
pub mod recorder;
pub mod renormalise;
pub mod replay;
pub mod sequence;
pub mod state;
pub mod store;
pub mod witness;

pub use audit::{AuditError, AuditOptions, AuditReport, SavedPoint, check_log};
pub use damage::{Damage, DamageKind};
pub use export::{ExportError, ExportReport, export};
pub use head::Head;
pub use log::{Ground, IndexState, Ledger, OpenError, OpenOptions, OpenReport, Progress, StoreSource, View};
pub use read::{Published, ReadError, ReadLog};
pub use reader::LogReader;
pub use sequence::{AppendError, Pending, Sequenced};
