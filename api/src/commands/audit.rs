//! `isoledger audit` and `isoledger export`.

use crate::cli;
use crate::config::Config;
use crate::failure::{Ending, Failure, fail};
use crate::log::Log;
use crate::render;
use isoledger_collectors::{Evidence, normalise, normalise_declared};
use isoledger_core::json::to_canonical;
use isoledger_core::model::Reader;
use isoledger_core::note::VerifierKey;
use isoledger_ledger::audit::{AuditOptions, check_log};
use isoledger_ledger::layout;
use isoledger_ledger::read::ReadLog;
use isoledger_ledger::recompute::{Renormalise, recompute};
use serde_json::json;
use std::io::IsTerminal as _;
use std::path::Path;

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
                key = Some(crate::keys::load(&config.key(), &config.log.origin)?.verifier().clone());
            }
            config.data()
        }
    };
    let result = match Log::open(&data) {
        Ok(log) => audit(&log, key.as_ref(), as_json),
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
        render::line("AUDIT PASSED");
    } else {
        render::line(format!("AUDIT FAILED: {}", result["error"].as_str().unwrap_or("-")));
    }
    Ok(if ok { Ending::Fine } else { Ending::Amiss })
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
