//! `isoledger audit` and `isoledger export`.

use crate::cli;
use crate::config::Config;
use crate::failure::{Ending, Failure, fail};
use crate::keys;
use crate::log::Log;
use crate::render;
use crate::witnesses;
use isoledger_collectors::{Clock as _, Evidence, normalise, normalise_declared};
use isoledger_core::json::to_canonical;
use isoledger_core::model::Reader;
use isoledger_core::note::VerifierKey;
use isoledger_core::witness::{AddCheckpoint, Watched, origin_hash};
use isoledger_ledger::audit::{AuditOptions, check_log};
use isoledger_ledger::layout;
use isoledger_ledger::read::{Published, ReadLog};
use isoledger_ledger::recompute::{Renormalise, recompute};
use isoledger_ledger::witness::Witness;
use serde_json::json;
use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};

struct Readers;

impl Renormalise for Readers {
    fn observed(&mut self, reader: &Reader, evidence: &[u8]) -> Result<Vec<u8>, String> {
        let evidence = Evidence::from_bytes(evidence).map_err(|e| e.to_string())?;
        normalise(reader, &evidence).map(|o| to_canonical(&o)).map_err(|e| e.to_string())
    }

    fn declared(&mut self, reader: &Reader, evidence: &[u8]) -> Result<Vec<u8>, String> {
        let evidence = Evidence::from_bytes(evidence).map_err(|e| e.to_string())?;
        normalise_declared(reader, &evidence).map(|d| to_canonical(&d)).map_err(|e| e.to_string())
    }
}

/// The audit, as JSON: `ok`, and what was found or what is wrong.
pub(crate) fn audit(log: &Log, key: Option<&VerifierKey>, quiet: bool) -> serde_json::Value {
    let options = AuditOptions { key, content: true };
    let report = match check_log(log, options) {
        Ok(report) => report,
        Err(e) => return json!({ "ok": false, "stage": "log", "error": e.to_string() }),
    };
    let show = !quiet && std::io::stderr().is_terminal();
    let mut progress = |done: u64, of: u64| {
        if show {
            eprint!("\rrecomputing {done} of {of}");
            if done == of {
                eprintln!();
            }
        }
    };
    let recomputed = match recompute(log, &mut Readers, &mut progress) {
        Ok(r) => r,
        Err(e) => return json!({ "ok": false, "stage": "content", "error": e.to_string() }),
    };
    json!({
        "ok": true,
        "origin": log.origin(),
        "size": report.head.size,
        "root": report.head.root,
        "key": log.keys().first().map(|(_, k)| k.to_string()),
        "keyPinned": key.is_some(),
        "types": report.types,
        "unknownTypes": report.unknown,
        "from": report.times.0,
        "to": report.times.1,
        "openings": report.opened,
        "cosignedCheckpoints": report.cosigned,
        "polls": recomputed.polls,
        "versions": recomputed.versions,
        "statesReadAgain": recomputed.states,
        "verdicts": recomputed.verdicts,
        "withoutContent": recomputed.without_content,
        "notChecked": [
            "that the evidence is what the sources said: trusted to the recorder at recording time",
            "that nobody was told another story: compare checkpoints with others, or require witnesses",
        ],
    })
}

pub(crate) fn run(config: &Path, args: &cli::Audit, as_json: bool) -> Result<Ending, Failure> {
    let key = args.key.as_deref().map(str::parse::<VerifierKey>).transpose();
    let mut key = key.map_err(|e| Failure(format!("--key: {e}")))?;
    let data = match &args.data {
        Some(dir) => dir.clone(),
        None => {
            let config = Config::load(config)?;
            if key.is_none() && config.key().exists() {
                key = Some(keys::load(&config.key(), &config.log.origin)?.verifier().clone());
            }
            config.data()
        }
    };
    let result = match Log::open(&data) {
        Ok(log) => {
            // Signed heads are read beside the writer, who moves on while everything is recomputed.
            let before = log.published();
            let mut result = audit(&log, key.as_ref(), as_json);
            if let (Some(file), true) = (&args.cosign, result["ok"] == true) {
                let heads = [before, log.published()].into_iter().flatten();
                let (to, size) = cosign(&log, heads, &data, file, args, key.as_ref(), &result)?;
                result["cosigned"] = json!({ "size": size, "file": to });
            }
            result
        }
        // A log so damaged that it does not open is an audit's answer, not its failure.
        Err(Failure(e)) if data.join("journal").is_dir() => {
            json!({ "ok": false, "stage": "journal", "error": e })
        }
        Err(e) => return Err(e),
    };
    let ok = result["ok"] == true;
    if as_json {
        render::json(&result);
    } else if ok {
        let n = |k: &str| result[k].to_string();
        render::line(format!("{}  {} entries", result["origin"].as_str().unwrap_or("-"), n("size")));
        render::line("chain, signatures, tiles and root   good");
        render::line(format!("commitments                         {} opened", n("openings")));
        render::line(format!(
            "slices from evidence                {} polls, {} versions, {} states read again",
            n("polls"),
            n("versions"),
            n("statesReadAgain")
        ));
        let verdicts: Vec<String> =
            result["verdicts"].as_object().into_iter().flatten().map(|(k, v)| format!("{v} {k}")).collect();
        render::line(format!("verdicts recomputed                 {}", verdicts.join(", ")));
        for (count, what) in [
            ("withoutContent", "polls could not be recomputed: their content is archived"),
            ("unknownTypes", "entries are of types this program does not know"),
        ] {
            if result[count].as_u64().is_some_and(|n| n > 0) {
                render::line(format!("{} {what}", result[count]));
            }
        }
        if result["keyPinned"] != true {
            render::line("the log's own key was taken at its word; give --key to hold it to yours");
        }
        for what in result["notChecked"].as_array().into_iter().flatten() {
            render::line(format!("not checked: {}", what.as_str().unwrap_or("-")));
        }
        if let Some(file) = result["cosigned"]["file"].as_str() {
            render::line(format!("cosigned {} entries: {file}", result["cosigned"]["size"]));
        }
        render::line("AUDIT PASSED");
    } else {
        render::line(format!("AUDIT FAILED: {}", result["error"].as_str().unwrap_or("-")));
    }
    Ok(if ok { Ending::Fine } else { Ending::Amiss })
}

/// Cosigns what was just audited, as a witness does: with a memory, so that no two histories are ever cosigned. Gives
/// the file and the size.
fn cosign(
    log: &Log,
    heads: impl Iterator<Item = Published>,
    data: &Path,
    key_file: &Path,
    args: &cli::Audit,
    pinned: Option<&VerifierKey>,
    result: &serde_json::Value,
) -> Result<(PathBuf, u64), Failure> {
    if pinned.is_none() {
        return fail("--cosign needs --key: whoever cosigns a log must know from elsewhere which log it is");
    }
    if result["withoutContent"].as_u64() != Some(0) {
        return fail(format!(
            "{} polls could not be recomputed, because their content is archived; an auditor cosigns what was \
             recomputed wholly",
            result["withoutContent"]
        ));
    }
    let signer = keys::load_cosigner(key_file)?;
    let name = signer.name().to_owned();
    let mut seen = key_file.as_os_str().to_owned();
    seen.push(".seen");
    let memory = Witness::open(Path::new(&seen), signer)?;
    // Both heads are roots of what was read; the largest that was recomputed to its end is cosigned.
    let recomputed = result["size"].as_u64().unwrap_or_default();
    let Some(published) = heads.filter(|p| p.head.size <= recomputed).max_by_key(|p| p.head.size) else {
        return fail(
            "no checkpoint of what was recomputed is there any more; audit again, or a copy of the log",
        );
    };
    let size = published.head.size;
    let (origin, old) = (log.origin().to_owned(), memory.size(log.origin()));
    if old > size {
        return fail(format!(
            "{} has cosigned {old} entries of {origin}, and this copy has {size}: it is an older one",
            key_file.display()
        ));
    }
    let keys: Vec<VerifierKey> = log.keys().into_iter().map(|(_, key)| key).collect();
    let request = AddCheckpoint {
        old,
        proof: if old == 0 { Vec::new() } else { log.consistency(old, size)? },
        checkpoint: Watched::parse(published.checkpoint.as_bytes())?,
    };
    let now = crate::app::clock()?.now();
    memory.add(&request, &keys, now)?;
    let note = memory.latest(&origin_hash(&origin)).unwrap_or_default();
    let to = match &args.cosigned {
        Some(file) => file.clone(),
        None => {
            let plain = |c: char| if c.is_ascii_alphanumeric() || "-_.".contains(c) { c } else { '_' };
            let name: String = name.chars().map(plain).collect();
            witnesses::inbox(data).join(format!("{size}-{name}.checkpoint"))
        }
    };
    witnesses::lay(&to, &note).map_err(|e| Failure(format!("{}: {e}", to.display())))?;
    Ok((to, size))
}

pub(crate) fn export(config: &Config, args: &cli::Export, as_json: bool) -> Result<Ending, Failure> {
    // A data directory has a checkpoint too, and would pass for an earlier export. Whoever then serves it serves the
    // openings and the evidence as well.
    if layout::high_water(&args.out).exists() || layout::journal(&args.out).exists() {
        return fail(format!(
            "{} is a log's own data directory, which holds what must not be published; choose another",
            args.out.display()
        ));
    }
    let log = Log::open(&config.data())?;
    let report = isoledger_ledger::export::export(&log, &args.out)?;
    if as_json {
        render::json(
            &json!({ "out": args.out, "origin": log.origin(), "size": report.head.size, "written": report.written, "kept": report.kept }),
        );
    } else {
        render::line(format!(
            "wrote {} entries of {} to {}",
            report.head.size,
            log.origin(),
            args.out.display()
        ));
    }
    Ok(Ending::Fine)
}
