//! `isoledger replay --to TIME`: what follows from the log, made again from the journal alone and compared.
//!
//! # In scope
//! Where the kept index comes from: a copy, made while nobody writes it, in a scratch directory that is removed again.
//! sled writes to what it opens, and what is looked at must stay as it is.

use crate::answers;
use crate::config::Config;
use crate::failure::{Ending, Failure, fail};
use crate::keys;
use crate::render;
use isoledger_ledger::layout;
use isoledger_ledger::lock::{DirLock, LockError};
use isoledger_ledger::read::ReadLog as _;
use isoledger_ledger::reader::LogReader;
use isoledger_ledger::replay::{Fingerprint, replay};
use isoledger_ledger::store::{SledStore, Store};
use serde_json::json;
use std::fs;
use std::io::{self, IsTerminal as _};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

/// A directory of our own that goes when we do.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Result<Scratch, Failure> {
        let name = format!("isoledger-replay-{}", hex::encode(&keys::entropy()[..8]));
        let dir = std::env::temp_dir().join(name);
        // An index holds openings and evidence, as the data directory does.
        match fs::DirBuilder::new().mode(0o700).create(&dir) {
            Ok(()) => Ok(Scratch(dir)),
            Err(e) => fail(format!("cannot make {}: {e}; TMPDIR says where scratch files go", dir.display())),
        }
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // Best effort; the name says whose it is.
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn copy(from: &Path, to: &Path) -> io::Result<()> {
    fs::DirBuilder::new().mode(0o700).create(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let (kind, to) = (entry.file_type()?, to.join(entry.file_name()));
        if kind.is_dir() {
            copy(&entry.path(), &to)?;
        } else if kind.is_file() {
            fs::copy(entry.path(), to)?;
        }
    }
    Ok(())
}

/// The kept index, or why there is none to compare with.
enum Index {
    Copy(SledStore),
    /// Nothing is wrong.
    None(String),
    /// The next start finds it damaged too.
    Damaged(String),
}

fn index(data: &Path, scratch: &Scratch) -> Result<Index, Failure> {
    let from = layout::index(data);
    if !from.exists() {
        return Ok(Index::None("there is none; the next start builds it".to_owned()));
    }
    let to = scratch.0.join("index");
    {
        let _lock = match DirLock::take(&layout::lock(data)) {
            Ok(lock) => lock,
            Err(LockError::Held { .. }) => {
                return Ok(Index::None("the service is using it; stop it, or ask a copy".to_owned()));
            }
            Err(e @ LockError::Io { .. }) => return Ok(Index::None(e.to_string())),
        };
        if let Err(e) = copy(&from, &to) {
            return fail(format!("cannot copy {} to {}: {e}", from.display(), to.display()));
        }
    }
    match SledStore::open(&to) {
        Ok(store) => Ok(Index::Copy(store)),
        Err(e) => Ok(Index::Damaged(e.to_string())),
    }
}

pub(super) fn run(config: &Config, to: &str, as_json: bool) -> Result<Ending, Failure> {
    let to = answers::moment("--to", to)?;
    let data = config.data();
    let scratch = Scratch::new()?;
    // The index first: what the journal gains meanwhile is behind it, never missing from it.
    let index = index(&data, &scratch)?;
    let log = LogReader::open(&data)?;
    let show = !as_json && io::stderr().is_terminal();
    let mut progress = |done: u64, of: u64| {
        if show {
            eprint!("\rreplaying {done} of {of}");
            if done == of {
                eprintln!();
            }
        }
    };
    let store: Option<&dyn Store> = match &index {
        Index::Copy(store) => Some(store),
        Index::None(_) | Index::Damaged(_) => None,
    };
    let found = replay(&log, to, store, &mut progress)?;
    let (mut differences, mut told) = (found.differences, found.told.clone());
    let without = match &index {
        Index::Copy(_) => None,
        Index::None(why) => Some(why.clone()),
        Index::Damaged(why) => {
            differences += 1;
            told.push(why.clone());
            Some(why.clone())
        }
    };
    let mut compared =
        vec!["divergences and timelines: folded at one go, and put away and restored half-way".to_owned()];
    let mut not_compared = Vec::new();
    match (&without, found.kept) {
        (None, Some(kept)) if kept < found.head.size => {
            compared.push(format!("the index: {} rows, up to entry {kept}", found.compared));
            not_compared.push(format!(
                "the index from entry {kept} on, and divergences folded from it: it is behind, and is caught up at the next start"
            ));
        }
        (None, Some(_)) => {
            compared.push(format!("the index: {} rows", found.compared));
            compared.push("divergences and timelines folded from the index's entries and content".to_owned());
        }
        (why, _) => not_compared.push(format!("the index: {}", why.as_deref().unwrap_or("it says nothing"))),
    }
    if found.without_content > 0 {
        not_compared.push(format!(
            "{} polls whose content is archived, in divergences and timelines",
            found.without_content
        ));
    }
    let same = differences == 0;
    if as_json {
        let print = |f: Fingerprint| json!({ "rows": f.rows, "digest": f.digest });
        render::json(&json!({
            "ok": same,
            "origin": log.origin(),
            "to": to,
            "size": found.head.size,
            "root": found.head.root,
            "last": found.time,
            "polls": found.polls,
            "withoutContent": found.without_content,
            "index": print(found.index),
            "divergences": print(found.divergences),
            "compared": compared,
            "notCompared": not_compared,
            "differences": differences,
            "told": told,
        }));
        return Ok(if same { Ending::Fine } else { Ending::Amiss });
    }
    render::line(format!("{}  {} entries, the last at {}", log.origin(), found.head.size, found.time));
    render::line(format!("root         {}", found.head.root));
    render::line(format!("index        {}  {} rows", found.index.digest, found.index.rows));
    render::line(format!("divergences  {}  {} rows", found.divergences.digest, found.divergences.rows));
    for what in &compared {
        render::line(format!("compared: {what}"));
    }
    for what in &not_compared {
        render::line(format!("not compared: {what}"));
    }
    for what in &told {
        render::line(format!("differs: {what}"));
    }
    let more = differences - told.len() as u64;
    if more > 0 {
        render::line(format!("and {more} more"));
    }
    render::line(if same { "THE SAME BYTES" } else { "REPLAY DIFFERS" });
    Ok(if same { Ending::Fine } else { Ending::Amiss })
}
