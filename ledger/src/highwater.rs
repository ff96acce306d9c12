//! The high-water file: the largest tree this log has vouched for, kept apart from the journal.
//!
//! Two slots, written in turn and synced each time, so that one torn write always leaves the other. It answers two
//! questions the journal alone cannot: was a torn tail acknowledged (then starting would lose it), and is what we
//! are about to sign an extension of what we signed before.
//!
//! ```text
//! file  = slot 0 at offset 0 | zeros | slot 1 at offset 4096
//! slot  = "isohigh1" | generation: u64 | frames: u64 | size: u64 | root: 32 | time: u64 ms | BLAKE3 of all that: 32
//! ```

use crate::disk::{Disk, DiskFile};
use crate::head::Head;
use isoledger_core::{Hash, Timestamp};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

const MAGIC: [u8; 8] = *b"isohigh1";
const SLOT: usize = 104;
/// The slots lie in different sectors and pages, so no single torn write reaches both.
const OFFSETS: [u64; 2] = [0, 4096];

/// What was last vouched for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Mark {
    /// Size and root of the tree.
    pub head: Head,
    /// Journal frames up to there: everything before is acknowledged, at most one batch lies behind.
    pub frames: u64,
    /// Time of the last entry in it.
    pub time: Timestamp,
}

/// Why the file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum HighWaterError {
    /// There is no such file.
    #[error(
        "{path} is missing: it says how far this log was vouched for, and without it nothing may be signed. Restore it, or the whole data directory, from a copy taken together"
    )]
    Missing {
        /// The file.
        path: PathBuf,
    },
    /// Neither slot has a valid checksum.
    #[error(
        "both slots of {path} are damaged: it says how far this log was vouched for, and without it nothing may be signed. Restore it, or the whole data directory, from a copy taken together"
    )]
    Damaged {
        /// The file.
        path: PathBuf,
    },
    /// The operating system refused.
    #[error("cannot {doing} {path}: {source}")]
    Io {
        /// What was being done.
        doing: &'static str,
        /// The file.
        path: PathBuf,
        /// Its reason.
        source: io::Error,
    },
}

/// The open file, and which slot comes next.
pub struct HighWater {
    path: PathBuf,
    file: Box<dyn DiskFile>,
    generation: u64,
    mark: Mark,
}

impl HighWater {
    /// Makes the file with its first mark. Durable when it returns.
    pub fn create(disk: &Arc<dyn Disk>, path: &Path, mark: Mark) -> Result<HighWater, HighWaterError> {
        let io = |doing| move |source| HighWaterError::Io { doing, path: path.to_owned(), source };
        // Under another name first: a file with no good slot must never have the real one.
        let tmp = path.with_extension("new");
        match disk.remove(&tmp) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(io("remove the leftover of")(e)),
            _ => {}
        }
        let file = disk.create(&tmp).map_err(io("create"))?;
        let mut high = HighWater { path: path.to_owned(), file, generation: 0, mark };
        high.write(1, mark)?;
        high.write(2, mark)?;
        disk.rename(&tmp, path).map_err(io("rename"))?;
        disk.sync_dir(path.parent().unwrap_or(Path::new("."))).map_err(io("sync the directory of"))?;
        Ok(high)
    }

    /// Reads the newest good slot; writes nothing. For readers beside a running writer.
    pub fn read(disk: &Arc<dyn Disk>, path: &Path) -> Result<Mark, HighWaterError> {
        let file = disk.open_read(path).map_err(|e| missing_or(path, e))?;
        Ok(newest(&*file, path)?.1)
    }

    /// Opens for writing. Durable when it returns: the mark read is written again and synced, because after a
    /// failed sync the page cache may show what the disk does not hold.
    pub fn open(disk: &Arc<dyn Disk>, path: &Path) -> Result<HighWater, HighWaterError> {
        let file = disk.open_write(path).map_err(|e| missing_or(path, e))?;
        let (generation, mark) = newest(&*file, path)?;
        let mut high = HighWater { path: path.to_owned(), file, generation, mark };
        high.write(generation, mark)?;
        Ok(high)
    }

    /// The mark as last written.
    pub fn mark(&self) -> Mark {
        self.mark
    }

    /// Raises the mark. Durable when it returns `Ok`; after an error the handle must not be used again.
    pub fn raise(&mut self, mark: Mark) -> Result<(), HighWaterError> {
        let was = self.mark;
        assert!(
            mark.head.size >= was.head.size && mark.frames >= was.frames,
            "the high-water mark was about to be lowered"
        );
        self.write(self.generation + 1, mark)
    }

    fn write(&mut self, generation: u64, mark: Mark) -> Result<(), HighWaterError> {
        let io = |doing| {
            let path = self.path.clone();
            move |source| HighWaterError::Io { doing, path, source }
        };
        let slot = OFFSETS[(generation % 2) as usize];
        self.file.write_at(&encode(generation, mark), slot).map_err(io("write"))?;
        self.file.sync_data().map_err(io("sync"))?;
        (self.generation, self.mark) = (generation, mark);
        Ok(())
    }
}

fn missing_or(path: &Path, source: io::Error) -> HighWaterError {
    let path = path.to_owned();
    match source.kind() {
        io::ErrorKind::NotFound => HighWaterError::Missing { path },
        _ => HighWaterError::Io { doing: "open", path, source },
    }
}

fn encode(generation: u64, mark: Mark) -> [u8; SLOT] {
    let mut out = [0; SLOT];
    out[..8].copy_from_slice(&MAGIC);
    out[8..16].copy_from_slice(&generation.to_be_bytes());
    out[16..24].copy_from_slice(&mark.frames.to_be_bytes());
    out[24..32].copy_from_slice(&mark.head.size.to_be_bytes());
    out[32..64].copy_from_slice(&mark.head.root.0);
    out[64..72].copy_from_slice(&mark.time.millis().to_be_bytes());
    let sum = blake3::hash(&out[..72]);
    out[72..].copy_from_slice(sum.as_bytes());
    out
}

fn decode(slot: &[u8]) -> Option<(u64, Mark)> {
    if slot.len() != SLOT || slot[..8] != MAGIC || slot[72..] != *blake3::hash(&slot[..72]).as_bytes() {
        return None;
    }
    let num = |at: usize| Some(u64::from_be_bytes(slot[at..at + 8].try_into().ok()?));
    let head = Head { size: num(24)?, root: Hash(slot[32..64].try_into().ok()?) };
    Some((num(8)?, Mark { head, frames: num(16)?, time: Timestamp::from_millis(num(64)?)? }))
}

fn newest(file: &dyn DiskFile, path: &Path) -> Result<(u64, Mark), HighWaterError> {
    let mut best: Option<(u64, Mark)> = None;
    for at in OFFSETS {
        let mut slot = [0; SLOT];
        let n = file.read_at(&mut slot, at).map_err(|source| HighWaterError::Io {
            doing: "read",
            path: path.to_owned(),
            source,
        })?;
        if let Some(found) = decode(&slot[..n])
            && best.is_none_or(|b| found.0 > b.0)
        {
            best = Some(found);
        }
    }
    best.ok_or_else(|| HighWaterError::Damaged { path: path.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::RealDisk;

    fn mark(n: u64) -> Mark {
        Mark {
            head: Head { size: n, root: Hash([n as u8; 32]) },
            frames: 3 * n,
            time: Timestamp::from_millis(n).unwrap(),
        }
    }

    #[test]
    fn the_newest_good_slot_counts_whichever_byte_is_torn() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("high-water");
        let disk = RealDisk::shared();
        assert!(matches!(HighWater::read(&disk, &path), Err(HighWaterError::Missing { .. })));
        let mut high = HighWater::create(&disk, &path, mark(0)).unwrap();
        high.raise(mark(1)).unwrap();
        high.raise(mark(2)).unwrap();
        drop(high);
        assert_eq!(HighWater::read(&disk, &path).unwrap(), mark(2));
        let good = std::fs::read(&path).unwrap();
        let (new, old) = if good[15] > good[4096 + 15] { (0, 4096) } else { (4096, 0) };
        for at in 0..SLOT {
            let mut torn = good.clone();
            torn[new + at] ^= 0x20;
            std::fs::write(&path, &torn).unwrap();
            assert_eq!(HighWater::read(&disk, &path).unwrap(), mark(1), "byte {at}");
            torn[old + at] ^= 0x20;
            std::fs::write(&path, &torn).unwrap();
            assert!(matches!(HighWater::open(&disk, &path), Err(HighWaterError::Damaged { .. })));
        }
    }

    #[test]
    fn opening_continues_in_the_other_slot() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("high-water");
        let disk = RealDisk::shared();
        drop(HighWater::create(&disk, &path, mark(0)).unwrap());
        for n in 1..6 {
            let mut high = HighWater::open(&disk, &path).unwrap();
            assert_eq!(high.mark(), mark(n - 1));
            high.raise(mark(n)).unwrap();
        }
    }
}
