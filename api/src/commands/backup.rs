//! `isoledger backup`, `isoledger restore`, `isoledger clone`: three ways to have a log twice, of which one may sign.
//!
//! | command | makes | for |
//! |---|---|---|
//! | `backup` | a directory with `data`, configuration and scope; with `--with-key` the key | being restored, by the operator |
//! | `restore` | the configured data directory, marked `restored` | going on, once nobody has seen more |
//! | `clone` | a data directory, marked `clone` | reading elsewhere: auditors, a second site |
//!
//! Copying and the marks are the ledger's; here are the files around it and the words.

use crate::cli;
use crate::config::Config;
use crate::failure::{Ending, Failure, fail};
use crate::keys;
use crate::render;
use isoledger_ledger::backup::{self, Copied, CopyMark};
use isoledger_ledger::disk::RealDisk;
use isoledger_ledger::layout;
use isoledger_ledger::lock::DirLock;
use isoledger_ledger::reader::LogReader;
use serde_json::{Value, json};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

/// The configuration in a backup, whatever it was called.
const CONFIG: &str = "isoledger.toml";
const SCOPE: &str = "scope.toml";
const KEY: &str = "log.key";

fn at(path: &Path) -> impl FnOnce(std::io::Error) -> Failure {
    let path = path.to_owned();
    move |e| Failure(format!("{}: {e}", path.display()))
}

fn make_dir(path: &Path) -> Result<(), Failure> {
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(at(path))
}

fn data_of(backup: &Path) -> PathBuf {
    backup.join("data")
}

/// Puts a file in place whole, readable by its owner only.
fn put(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    let mut new = path.as_os_str().to_owned();
    new.push(".new");
    let new = PathBuf::from(new);
    match std::fs::remove_file(&new) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(at(&new)(e)),
        _ => {}
    }
    keys::write_secret(&new, bytes).and_then(|()| std::fs::rename(&new, path)).map_err(at(path))
}

fn copied_json(copied: &Copied, to: &Path) -> Value {
    json!({
        "to": to, "origin": copied.origin, "size": copied.head.size, "root": copied.head.root,
        "kept": copied.kept, "bytes": copied.bytes,
    })
}

fn copied_words(copied: &Copied, to: &Path) -> String {
    let grown =
        if copied.kept > 0 { format!(", {} of them there before", copied.kept) } else { String::new() };
    format!("{} entries of {}{grown}: {}", copied.head.size, copied.origin, to.display())
}

pub(crate) fn backup(
    config: &Config,
    path: &Path,
    args: &cli::Backup,
    as_json: bool,
) -> Result<Ending, Failure> {
    let out = &args.out;
    // What can be wrong around the log first: a copy that lacks its key is found out when it is too late.
    let key = match args.with_key {
        true => {
            keys::load(&config.key(), &config.log.origin)?;
            Some(std::fs::read(config.key()).map_err(at(&config.key()))?)
        }
        false => None,
    };
    let text = std::fs::read(path).map_err(at(path))?;
    let scope = match std::fs::read(config.scope()) {
        Ok(text) => Some(text),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => None,
        Err(e) => return Err(at(&config.scope())(e)),
    };
    make_dir(out)?;
    let copied = backup::copy(&config.data(), &data_of(out), CopyMark::Backup)?;
    put(&out.join(CONFIG), &text)?;
    if let Some(scope) = scope {
        put(&out.join(SCOPE), &scope)?;
    }
    let with_key = key.is_some();
    if let Some(key) = key {
        put(&out.join(KEY), &key)?;
    }
    if as_json {
        let mut about = copied_json(&copied, out);
        about["withKey"] = json!(with_key);
        render::json(&about);
    } else {
        render::line(copied_words(&copied, out));
        render::line("in it: journal, high-water mark, checkpoint, configuration, scope");
        render::line(match with_key {
            true => "and the signing key: whoever reads this backup can sign as this log",
            false => {
                "not in it: the signing key (--with-key), passwords and keys to the sources; keep those elsewhere"
            }
        });
    }
    Ok(Ending::Fine)
}

pub(crate) fn clone(config: &Path, args: &cli::CloneTo, as_json: bool) -> Result<Ending, Failure> {
    let data = match &args.data {
        Some(data) => data.clone(),
        None => Config::load(config)?.data(),
    };
    let copied = backup::copy(&data, &args.out, CopyMark::Clone)?;
    if as_json {
        render::json(&copied_json(&copied, &args.out));
    } else {
        render::line(copied_words(&copied, &args.out));
        render::line(format!(
            "it is confidential, signs nothing, and grows when this is run again; isoledger audit --data {} checks it",
            args.out.display()
        ));
    }
    Ok(Ending::Fine)
}

pub(crate) fn restore(config: &Config, args: &cli::Restore, as_json: bool) -> Result<Ending, Failure> {
    let data = config.data();
    if args.from.is_none() && args.i_know_nobody_has_more_than.is_none() {
        return fail(
            "say what to restore: isoledger restore --from BACKUP; or, of a log that is restored already, how many \
             entries anybody has seen: isoledger restore --i-know-nobody-has-more-than ENTRIES",
        );
    }
    let mut copied = None;
    if let Some(from) = &args.from {
        let from = data_of(from);
        let found = LogReader::open(&from)?;
        let named = (isoledger_ledger::read::ReadLog::origin(&found), found.domain());
        let wanted = (config.log.origin.as_str(), config.log.domain.as_str());
        if named != wanted {
            return fail(format!(
                "{} is a backup of the log {} of the domain {}, and the configuration is of {} of {}",
                from.display(),
                named.0,
                named.1,
                wanted.0,
                wanted.1
            ));
        }
        make_dir(&data)?;
        // Nobody begins a log here while it is being put back.
        let _lock = DirLock::take(&layout::lock(&data))?;
        copied = Some(backup::copy(&from, &data, CopyMark::Restored)?);
    }
    let disk = RealDisk::shared();
    let mark = CopyMark::read(&disk, &data)?;
    if !matches!(mark, Some(CopyMark::Restored | CopyMark::Acknowledged)) {
        return fail(format!(
            "{} is not a restored log that waits to go on, so there is nothing to vouch for",
            data.display()
        ));
    }
    let size = LogReader::open(&data)?.head().size;
    if let Some(seen) = args.i_know_nobody_has_more_than {
        if seen > size {
            return fail(format!(
                "{size} entries were restored, and you say that somebody may have {seen}: going on would sign a second \
                 history beside entries {size} to {}. Restore a newer backup; without one this log has ended. \
                 docs/OPERATING.md, \"A restored log must not sign blindly\", says what to do",
                seen - 1
            ));
        }
        let _lock = DirLock::take(&layout::lock(&data))?;
        CopyMark::Acknowledged.write(&disk, &data)?;
    }
    let key = restore_key(config, args.from.as_deref())?;
    let vouched = args.i_know_nobody_has_more_than.is_some() || mark == Some(CopyMark::Acknowledged);
    if as_json {
        render::json(&json!({
            "data": data, "size": size, "bytes": copied.as_ref().map(|c| c.bytes), "key": key, "acknowledged": vouched,
        }));
        return Ok(Ending::Fine);
    }
    if let Some(copied) = &copied {
        render::line(copied_words(copied, &data));
    }
    render::line(match key {
        Key::There => format!("{} is there", config.key().display()),
        Key::Restored => format!("{} was put back from the backup", config.key().display()),
        Key::Missing => format!(
            "{} is missing, and not in the backup: bring it back from where you keep it",
            config.key().display()
        ),
    });
    render::line(match vouched {
        true => format!(
            "on your word that nobody has more than {size} entries the next poll goes on, and the log says that it was \
             restored without a witness"
        ),
        false => format!(
            "nothing is signed until every required witness has said that it has seen no more than {size} entries, which \
             the next poll or serve asks. Without one, find the largest checkpoint that anybody has, and say so: \
             isoledger restore --i-know-nobody-has-more-than ENTRIES"
        ),
    });
    Ok(Ending::Fine)
}

#[derive(Clone, Copy, serde::Serialize)]
#[serde(rename_all = "lowercase")]
enum Key {
    There,
    Restored,
    Missing,
}

/// The key of a backup goes where the configuration has it, unless there is one: that one is newer, or somebody else's to
/// decide about.
fn restore_key(config: &Config, from: Option<&Path>) -> Result<Key, Failure> {
    let key = config.key();
    if key.exists() {
        return Ok(Key::There);
    }
    let Some(kept) = from.map(|from| from.join(KEY)).filter(|kept| kept.exists()) else {
        return Ok(Key::Missing);
    };
    keys::load(&kept, &config.log.origin)?;
    let bytes = std::fs::read(&kept).map_err(at(&kept))?;
    keys::write_secret(&key, &bytes).map_err(at(&key))?;
    Ok(Key::Restored)
}
