//! The public log as plain files, which any web server can serve and any C2SP client can read.
//!
//! ```text
//! checkpoint                         the newest note
//! tile/<L>/<N>[.p/<W>]               hash tiles              \ C2SP tlog-tiles
//! tile/entries/<N>[.p/<W>]           entry bundles           /
//! signatures/<N>[.p/<W>]             the signature lines of the entries, bundled likewise
//! ```
//! Nothing confidential is in it: no opening, no content. The checkpoint is written last, so that whoever finds it
//! finds all it speaks of.

use crate::head::Head;
use crate::read::{ReadError, ReadLog};
use isoledger_core::checkpoint::SignedCheckpoint;
use isoledger_core::tiles::{TilePath, entry_tiles, hash_tiles};
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// What was written.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ExportReport {
    /// The exported checkpoint's size and root.
    pub head: Head,
    /// Files written.
    pub written: u64,
    /// Full tiles and bundles that an earlier export had written already.
    pub kept: u64,
}

/// Why there is no export.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The directory has something else in it.
    #[error("{path} is not empty and holds no export of {origin}: choose an empty or new directory")]
    Occupied {
        /// The directory.
        path: PathBuf,
        /// The log.
        origin: String,
    },
    /// The directory holds an export that this log does not extend.
    #[error(
        "{path} holds an export of {origin} at size {size} that this log does not extend: one of the two is not the log you think. Nothing was changed; compare them before you publish either"
    )]
    Fork {
        /// The directory.
        path: PathBuf,
        /// The log.
        origin: String,
        /// Size of the earlier export.
        size: u64,
    },
    /// The log cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The operating system refused.
    #[error("cannot {doing} {path}: {source}")]
    Io {
        /// What was being done.
        doing: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// Its reason.
        source: io::Error,
    },
}

/// Writes everything under the newest checkpoint to `out`: a new or empty directory, which then appears whole or not
/// at all, or an earlier export of the same log, which grows.
pub fn export<L: ReadLog>(log: &L, out: &Path) -> Result<ExportReport, ExportError> {
    let io = |doing| move |source| ExportError::Io { doing, path: out.to_owned(), source };
    let published = log.published()?;
    let occupied = match fs::read_dir(out) {
        Ok(mut names) => names.next().is_some(),
        Err(e) if e.kind() == io::ErrorKind::NotFound => false,
        Err(e) => return Err(io("read")(e)),
    };
    let mut report = ExportReport { head: published.head, written: 0, kept: 0 };
    if occupied {
        check_earlier(log, out, published.head)?;
        write_all(log, out, &mut report)?;
        write_file(out, "checkpoint", published.checkpoint.as_bytes(), true)?;
        report.written += 1;
        return Ok(report);
    }
    // Beside it, under another name, and moved there at the end.
    let name = out.file_name().unwrap_or_default().to_string_lossy();
    let building = out.with_file_name(format!(".{name}.exporting-{}", std::process::id()));
    let built = write_all(log, &building, &mut report)
        .and_then(|()| write_file(&building, "checkpoint", published.checkpoint.as_bytes(), true))
        .and_then(|()| fs::rename(&building, out).map_err(io("move the export to")));
    if let Err(e) = built {
        // The first error is the one to tell; a directory left behind has a telling name.
        let _ = fs::remove_dir_all(&building);
        return Err(e);
    }
    report.written += 1;
    Ok(report)
}

fn check_earlier<L: ReadLog>(log: &L, out: &Path, head: Head) -> Result<(), ExportError> {
    let origin = log.origin().to_owned();
    let occupied = ExportError::Occupied { path: out.to_owned(), origin: origin.clone() };
    let Ok(note) = fs::read(out.join("checkpoint")) else { return Err(occupied) };
    let Ok(earlier) = SignedCheckpoint::parse(&note) else { return Err(occupied) };
    let (size, root) = (earlier.unverified().size, earlier.unverified().root);
    if earlier.unverified().origin != origin || !log.keys().iter().any(|(_, key)| earlier.open(key).is_ok()) {
        return Err(occupied);
    }
    if size > head.size || log.root_at(size)? != root {
        return Err(ExportError::Fork { path: out.to_owned(), origin, size });
    }
    Ok(())
}

fn write_all<L: ReadLog>(log: &L, out: &Path, report: &mut ExportReport) -> Result<(), ExportError> {
    fs::create_dir_all(out).map_err(|source| ExportError::Io {
        doing: "create",
        path: out.to_owned(),
        source,
    })?;
    let size = report.head.size;
    for path in entry_tiles(size) {
        write_once(out, &path, &path.to_string(), report, || log.tile(&path))?;
        let signatures = path.to_string().replacen("tile/entries/", "signatures/", 1);
        write_once(out, &path, &signatures, report, || log.signature_bundle(path.index(), path.width()))?;
    }
    for path in hash_tiles(size) {
        write_once(out, &path, &path.to_string(), report, || log.tile(&path))?;
    }
    Ok(())
}

/// Full ones never change, and are written whole or not at all, so one that is there is right.
fn write_once(
    out: &Path,
    path: &TilePath,
    name: &str,
    report: &mut ExportReport,
    bytes: impl FnOnce() -> Result<Vec<u8>, ReadError>,
) -> Result<(), ExportError> {
    if !path.is_partial() && out.join(name).exists() {
        report.kept += 1;
        return Ok(());
    }
    write_file(out, name, &bytes()?, false)?;
    report.written += 1;
    Ok(())
}

fn write_file(out: &Path, name: &str, bytes: &[u8], sync: bool) -> Result<(), ExportError> {
    let path = out.join(name);
    let write = || {
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        let mut new = path.clone().into_os_string();
        new.push(".new");
        let mut file = File::create(&new)?;
        file.write_all(bytes)?;
        if sync {
            file.sync_all()?;
        }
        fs::rename(&new, &path)
    };
    write().map_err(|source| ExportError::Io { doing: "write", path: path.clone(), source })
}
