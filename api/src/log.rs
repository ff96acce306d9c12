//! The log as a command or the service reads it: the open one, or its journal beside a running service.

use crate::failure::Failure;
use isoledger_core::checkpoint::SignedCheckpoint;
use isoledger_core::note::VerifierKey;
use isoledger_core::{Digest, Hash, Timestamp};
use isoledger_ledger::batch::Stored;
use isoledger_ledger::log::View;
use isoledger_ledger::read::{Published, ReadError, ReadLog};
use isoledger_ledger::reader::LogReader;
use std::path::Path;
use std::sync::Arc;

/// A log to read.
pub(crate) enum Log {
    /// The one this process writes.
    Live(View),
    /// One on disk, whoever writes it.
    File(Box<LogReader>),
}

impl Log {
    /// The log in a data directory.
    pub(crate) fn open(dir: &Path) -> Result<Log, Failure> {
        match LogReader::open(dir) {
            Ok(reader) => Ok(Log::File(Box::new(reader))),
            Err(e @ ReadError::NoLog { .. }) => {
                Err(Failure(format!("{e}. `isoledger poll` or `isoledger serve` begins a log there")))
            }
            Err(e) => Err(e.into()),
        }
    }
}

impl ReadLog for Log {
    fn origin(&self) -> &str {
        match self {
            Log::Live(l) => l.origin(),
            Log::File(l) => l.origin(),
        }
    }

    fn keys(&self) -> Vec<(u64, VerifierKey)> {
        match self {
            Log::Live(l) => l.keys(),
            Log::File(l) => l.keys(),
        }
    }

    fn published(&self) -> Result<Published, ReadError> {
        match self {
            Log::Live(l) => l.published(),
            Log::File(l) => l.published(),
        }
    }

    fn block(&self, n: u64) -> Result<Vec<Arc<Stored>>, ReadError> {
        match self {
            Log::Live(l) => l.block(n),
            Log::File(l) => l.block(n),
        }
    }

    fn tile_hashes(&self, level: u8, n: u64) -> Result<Vec<Hash>, ReadError> {
        match self {
            Log::Live(l) => l.tile_hashes(level, n),
            Log::File(l) => l.tile_hashes(level, n),
        }
    }

    fn content(&self, digest: &Digest) -> Result<Vec<u8>, ReadError> {
        match self {
            Log::Live(l) => l.content(digest),
            Log::File(l) => l.content(digest),
        }
    }

    fn seq_at_time(&self, time: Timestamp) -> Result<Option<u64>, ReadError> {
        match self {
            Log::Live(l) => l.seq_at_time(time),
            Log::File(l) => l.seq_at_time(time),
        }
    }

    fn cosigned(&self, from: u64, to: u64, max: usize) -> Result<Vec<SignedCheckpoint>, ReadError> {
        match self {
            Log::Live(l) => l.cosigned(from, to, max),
            Log::File(l) => l.cosigned(from, to, max),
        }
    }

    fn cosigned_sizes(&self, from: u64, to: u64) -> Result<Vec<u64>, ReadError> {
        match self {
            Log::Live(l) => l.cosigned_sizes(from, to),
            Log::File(l) => l.cosigned_sizes(from, to),
        }
    }
}
