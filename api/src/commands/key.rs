//! `isoledger key`: the log's keys, and the change of one.
//!
//! A rotation is one entry, signed by the old key and naming the new one, and an exchange of two files. The entry decides:
//!
//! | step | a crash right after it leaves |
//! |---|---|
//! | the next key is made, durable | a key that signs nothing; the next rotation uses it |
//! | `key-rotated` is committed | a log that wants the next key. Whoever opens it exchanges the files first |
//! | the old key is put away under another name | the same |
//! | the next key takes its place | a rotation that is done |

use crate::app;
use crate::cli::Key;
use crate::config::Config;
use crate::failure::{Ending, Failure, fail};
use crate::keys;
use crate::log::Log;
use crate::render;
use crate::witnesses::Witnesses;
use isoledger_collectors::Clock as _;
use isoledger_core::history::{KeyHistory, record_text};
use isoledger_core::note::{NoteSigner, VerifierKey};
use isoledger_ledger::edge::WIDTH;
use isoledger_ledger::layout;
use isoledger_ledger::read::ReadLog as _;
use serde_json::{Value, json};
use std::path::Path;
use std::sync::Arc;

pub(crate) async fn run(config: &Config, what: Key, as_json: bool) -> Result<Ending, Failure> {
    match what {
        Key::Show => show(config, as_json),
        Key::History => history(config, as_json),
        Key::Prepare => prepare(config, as_json),
        Key::Rotate => rotate(config, as_json).await,
    }
}

fn has_log(config: &Config) -> bool {
    layout::journal(&config.data()).exists() || layout::high_water(&config.data()).exists()
}

/// The next key: the one that was made, or one made now.
fn next(key: &Path, origin: &str) -> Result<NoteSigner, Failure> {
    let path = keys::next(key);
    Ok(if path.exists() { keys::load(&path, origin)? } else { keys::create(&path, origin)? })
}

fn key_json(key: &VerifierKey) -> Value {
    json!({ "vkey": key.to_string(), "fingerprint": key.fingerprint() })
}

fn show(config: &Config, as_json: bool) -> Result<Ending, Failure> {
    let key = config.key();
    let file = keys::load(&key, &config.log.origin)?;
    let prepared = keys::next(&key).exists().then(|| keys::load(&keys::next(&key), &config.log.origin));
    let prepared = prepared.transpose()?;
    let all = if has_log(config) { Log::open(&config.data())?.keys() } else { Vec::new() };
    let in_force = all.last().is_none_or(|(_, k)| k == file.verifier());
    if as_json {
        let rows: Vec<Value> =
            all.iter().map(|(first, k)| json!({ "from": first, "key": key_json(k) })).collect();
        render::json(&json!({
            "ok": in_force,
            "file": { "path": key, "key": key_json(file.verifier()) },
            "log": rows,
            "next": prepared.as_ref().map(|k| key_json(k.verifier())),
        }));
    } else {
        for (first, k) in &all {
            render::line(format!("from entry {first:>8}  {k}"));
        }
        render::line(format!("{} holds  {}", key.display(), file.verifier()));
        render::line(format!("  fingerprint {}", file.verifier().fingerprint()));
        if let Some(k) = &prepared {
            render::line(format!("next, signing nothing yet: {}", k.verifier()));
            render::line(format!("  fingerprint {}", k.verifier().fingerprint()));
        }
        if !in_force {
            render::line(
                "THE FILE DOES NOT HOLD THE KEY IN FORCE: a rotation was interrupted; `isoledger key rotate` finishes it",
            );
        }
    }
    Ok(if in_force { Ending::Fine } else { Ending::Amiss })
}

/// The records that name the log's keys, as they stand in the log.
fn history(config: &Config, as_json: bool) -> Result<Ending, Failure> {
    let log = Log::open(&config.data())?;
    let mut text = String::new();
    for (first, _) in log.keys() {
        let seq = first.saturating_sub(1);
        let (block, at) = (log.block(seq / WIDTH)?, usize::try_from(seq % WIDTH).unwrap_or_default());
        let Some(entry) = block.get(at) else { return fail(format!("entry {seq} cannot be read")) };
        text += &record_text(std::str::from_utf8(&entry.text)?, std::str::from_utf8(&entry.signature)?);
    }
    // What is handed out is what a tenant will read.
    KeyHistory::parse(text.as_bytes())?;
    if as_json {
        render::json(&json!({ "keys": text }));
    } else {
        render::print(&text);
    }
    Ok(Ending::Fine)
}

fn prepare(config: &Config, as_json: bool) -> Result<Ending, Failure> {
    let key = config.key();
    let old = keys::load(&key, &config.log.origin)?;
    let new = next(&key, &config.log.origin)?;
    if as_json {
        render::json(&json!({ "next": key_json(new.verifier()), "path": keys::next(&key) }));
    } else {
        render::line(format!("{} holds the next key; it signs nothing yet", keys::next(&key).display()));
        hand_out(old.verifier(), new.verifier());
        render::line("\nwhen every witness that is required has it: isoledger key rotate");
    }
    Ok(Ending::Fine)
}

fn hand_out(old: &VerifierKey, new: &VerifierKey) {
    render::line(format!("\nits fingerprint, to compare out of band:\n  {}", new.fingerprint()));
    render::line(format!(
        "\nfor the lists of witnesses, beside the line of the old key until the rotation is cosigned:\n  log {new}"
    ));
    render::line(format!(
        "\nfor tenants' policies, in the place of the old key ({:08x}) once they have compared it:\n  log {new}",
        old.id()
    ));
}

async fn rotate(config: &Config, as_json: bool) -> Result<Ending, Failure> {
    if !has_log(config) {
        return fail(format!(
            "{} holds no log yet, so there is nothing to sign a key in with; a key that has signed nothing is simply \
             made again: move {} away, and use `isoledger init`",
            config.data().display(),
            config.key().display()
        ));
    }
    let key = config.key();
    let old = keys::load(&key, &config.log.origin)?;
    let new = Arc::new(next(&key, &config.log.origin)?);
    let clock = app::clock()?;
    let witnesses = Witnesses::new(config)?;
    let floor = witnesses.floor().await?;
    // Takes the lock, so a running service is named and nothing happens; and finishes a rotation that was begun.
    let (mut ledger, signer) = app::ledger(config, &clock, floor)?;
    let finished = signer.verifier() == new.verifier();
    if !finished {
        ledger.rotate(new.clone(), clock.now().max(ledger.last_time()))?;
        keys::exchange(&key, old.verifier()).map_err(|e| {
            Failure(format!(
                "the log has signed the new key in, and its file has not taken its place: {e}. The next start, or \
                 `isoledger key rotate`, finishes it"
            ))
        })?;
    }
    let first = ledger.keys().last().map_or(0, |(first, _)| *first);
    // The checkpoint that covers the entry has the lines of both keys: witnesses that know one of them can follow.
    let view = ledger.view();
    let mut cosigned = false;
    if let Some(note) = witnesses.round(&view).await? {
        match ledger.archive_checkpoint(&note.note) {
            Ok(()) => cosigned = true,
            Err(e) if e.is_fatal() => return Err(e.into()),
            Err(e) => tracing::error!(error = %e, "a cosigned checkpoint was not kept"),
        }
    }
    let entry = first.saturating_sub(1);
    if as_json {
        render::json(&json!({
            "entry": entry, "from": first, "old": key_json(old.verifier()), "new": key_json(new.verifier()),
            "finished": finished, "cosigned": cosigned,
        }));
    } else {
        let words = if finished { "finished a rotation that was begun" } else { "rotated" };
        render::line(format!(
            "{words}: entry {entry} signs in the new key, which signs from entry {first} on"
        ));
        if cosigned {
            render::line("a witness has cosigned the log with that entry");
        }
        hand_out(old.verifier(), new.verifier());
        render::line(format!(
            "\nwhat the old key signs from now on is not this log's. Have witnesses take its line off their lists, and \
             destroy {}.*.retired",
            key.display()
        ));
    }
    Ok(Ending::Fine)
}
