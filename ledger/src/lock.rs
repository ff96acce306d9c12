//! One writer at a time: an exclusive lock on a file in the data directory.
//!
//! The lock belongs to the open file and goes with the process, however it ends, so a leftover file means nothing.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// The held lock; dropped with it.
#[derive(Debug)]
pub struct DirLock {
    _file: File,
}

/// Why there is no lock.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Another process writes this log.
    #[error("{path} is locked: another isoledger{} writes this log. Stop it first, or use `export` and `audit`, which run beside it", pid.map(|p| format!(" (process {p})")).unwrap_or_default())]
    Held {
        /// The lock file.
        path: PathBuf,
        /// The process that wrote its id into it, when readable.
        pid: Option<u32>,
    },
    /// The operating system refused.
    #[error("cannot lock {path}: {source}")]
    Io {
        /// The lock file.
        path: PathBuf,
        /// Its reason.
        source: io::Error,
    },
}

impl DirLock {
    /// Takes the lock `path`, without waiting.
    pub fn take(path: &Path) -> Result<DirLock, LockError> {
        let io = |source| LockError::Io { path: path.to_owned(), source };
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(path)
            .map_err(io)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut text = String::new();
                // Sixteen bytes hold any process id; more is not ours.
                let pid = (&mut file)
                    .take(16)
                    .read_to_string(&mut text)
                    .ok()
                    .and_then(|_| text.trim().parse().ok());
                return Err(LockError::Held { path: path.to_owned(), pid });
            }
            Err(TryLockError::Error(e)) => return Err(io(e)),
        }
        file.set_len(0).map_err(io)?;
        file.rewind().map_err(io)?;
        writeln!(file, "{}", std::process::id()).map_err(io)?;
        Ok(DirLock { _file: file })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_is_told_who_holds_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock");
        let first = DirLock::take(&path).unwrap();
        let err = DirLock::take(&path).unwrap_err();
        assert!(matches!(err, LockError::Held { pid: Some(p), .. } if p == std::process::id()), "{err}");
        assert!(err.to_string().contains("lock is locked"), "{err}");
        drop(first);
        DirLock::take(&path).unwrap();
    }
}
