//! Where things lie in a data directory.
//!
//! ```text
//! lock            one writer at a time
//! high-water      how far this log was vouched for
//! journal/        the truth                      0700: it holds evidence and openings
//! checkpoint      the newest checkpoint note, for readers beside the service; signed anew when lost
//! copy            in a backup, a clone or a restored log: what it is, and so whether anything may be signed here
//! cosignatures/   checkpoints that auditors cosigned, laid here for the service; renamed when taken or refused
//! forks/          what a witness and this log said when they contradicted each other, until a person moves it away
//! index/          sled; may be deleted while the service is stopped
//! index.damaged-N what was found where the index should be, kept for whoever wants to know why
//! index.suspect   present when reading found damage in the index: the next start rebuilds it
//! ```

use crate::disk::Disk;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The lock file.
pub fn lock(dir: &Path) -> PathBuf {
    dir.join("lock")
}

/// The high-water file.
pub fn high_water(dir: &Path) -> PathBuf {
    dir.join("high-water")
}

/// The journal directory.
pub fn journal(dir: &Path) -> PathBuf {
    dir.join("journal")
}

/// The published checkpoint.
pub fn checkpoint(dir: &Path) -> PathBuf {
    dir.join("checkpoint")
}

/// What kind of copy this is, if it is one.
pub fn copy(dir: &Path) -> PathBuf {
    dir.join("copy")
}

/// The index directory.
pub fn index(dir: &Path) -> PathBuf {
    dir.join("index")
}

/// The mark that the index is not to be trusted.
pub fn suspect(dir: &Path) -> PathBuf {
    dir.join("index.suspect")
}

/// Reads a file of at most `max` bytes; a longer one is an error.
pub(crate) fn read_small(disk: &Arc<dyn Disk>, path: &Path, max: usize) -> io::Result<Vec<u8>> {
    let file = disk.open_read(path)?;
    let mut bytes = vec![0; max + 1];
    let n = file.read_at(&mut bytes, 0)?;
    if n > max {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, "the file is longer than it can be"));
    }
    bytes.truncate(n);
    Ok(bytes)
}

/// Gives `path` new contents, in place: a reader at the same moment, or after a crash, may see a mixture. For files
/// whose readers can tell, and that can be made again. Replacing by rename would have the file system write the data
/// out first, which costs a commit more than its own syncs.
pub(crate) fn overwrite(disk: &Arc<dyn Disk>, path: &Path, bytes: &[u8]) -> io::Result<()> {
    let file = match disk.open_write(path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => disk.create(path)?,
        other => other?,
    };
    file.write_at(bytes, 0)?;
    match file.size()? > bytes.len() as u64 {
        true => file.set_size(bytes.len() as u64),
        false => Ok(()),
    }
}
