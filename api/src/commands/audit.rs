//! `isoledger audit` and `isoledger export`.

use crate::cli;
use crate::config::Config;
use crate::failure::{Ending, Failure, fail};
use crate::keys;
use crate::log::Log;
use crate::render;
use crate::witnesses;
use isoledger_collectors::{Clock as _, Evidence, normalise, normalise_declared};
use isoledger_core::json::{from_canonical, to_canonical};
use isoledger_core::model::Reader;
use isoledger_core::note::VerifierKey;
use isoledger_core::witness::{AddCheckpoint, Watched, origin_hash};
use isoledger_ledger::audit::{AuditOptions, POINT, SavedPoint, check_log_with};
use isoledger_ledger::damage::{Damage, DamageKind};
use isoledger_ledger::layout;
use isoledger_ledger::public::{Directory, Fetch, FetchError, PublicLog};
use isoledger_ledger::read::{Published, ReadLog};
use isoledger_ledger::reader::LogReader;
use isoledger_ledger::recompute::{Recomputed, Renormalise, recompute_from};
use isoledger_ledger::witness::Witness;
use serde_json::{Value, json};
use std::io::{IsTerminal as _, Read as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

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

/// How often a long recomputation says how far it got, in entries.
const SAVED_EVERY: u64 = 1 << 14;
/// The longest file that can be a saved point.
const MAX_POINT: u64 = 4096;

/// What there is of a log, and how it is to be audited.
struct How<'k> {
    key: Option<&'k VerifierKey>,
    quiet: bool,
    /// Whether openings and content are there.
    content: bool,
    /// Whether the entries' signature lines are there.
    signed: bool,
    /// Where to go on from, and to say how far it got.
    resume: Option<(&'k Path, Option<SavedPoint>)>,
}

/// The audit of a log with its content, as JSON: `ok`, and what was found or what is wrong.
pub(crate) fn audit(log: &Log, key: Option<&VerifierKey>, quiet: bool) -> Value {
    let how = How { key, quiet, content: true, signed: true, resume: None };
    // Nothing is written without a file to go on from.
    examine(log, &how).unwrap_or_else(|Failure(e)| json!({ "ok": false, "error": e }))
}

/// What is wrong, as JSON: in words, and for programs the stage, the first entry it touches and its kind.
fn wrong(stage: &str, damage: Damage, error: &impl std::fmt::Display) -> Value {
    json!({
        "ok": false, "stage": stage, "entry": damage.entry, "damage": damage.kind, "error": error.to_string(),
    })
}

fn bar(quiet: bool, doing: &'static str) -> impl FnMut(u64, u64) {
    let show = !quiet && std::io::stderr().is_terminal();
    move |done, of| {
        if show {
            eprint!("\r{doing} {done} of {of}");
            if done == of {
                eprintln!();
            }
        }
    }
}

fn examine<L: ReadLog>(log: &L, how: &How<'_>) -> Result<Value, Failure> {
    let earlier = how.resume.as_ref().and_then(|(_, point)| point.as_ref());
    let options = AuditOptions { key: how.key, content: how.content, unsigned: !how.signed, resume: earlier };
    let report = match check_log_with(log, options, &mut bar(how.quiet, "checking")) {
        Ok(report) => report,
        // A server that does not answer has shown nothing, good or bad.
        Err(e) if !how.content && Damage::from(&e).kind == DamageKind::Unreadable => return fail(e),
        Err(e) => return Ok(wrong("log", (&e).into(), &e)),
    };
    let size = report.head.size;
    let (from, gone) = earlier.map_or((0, 0), |point| (point.recomputed, point.without_content));
    let signatures = how.signed && earlier.is_none_or(|point| point.signatures);
    let save = |recomputed: u64, without_content: u64| -> Result<(), Failure> {
        let Some((file, _)) = &how.resume else { return Ok(()) };
        let (origin, root, content) = (log.origin().to_owned(), report.head.root, how.content);
        let point =
            SavedPoint { v: POINT, origin, size, root, signatures, content, recomputed, without_content };
        let text = String::from_utf8(to_canonical(&point)).unwrap_or_default();
        witnesses::lay(file, &text).map_err(|e| Failure(format!("{}: {e}", file.display())))
    };
    save(from, gone)?;
    let recomputed = if how.content {
        let mut show = bar(how.quiet, "recomputing");
        let (mut saved, mut trouble) = (from, None);
        let mut progress = |done: u64, without: u64| {
            show(done, size);
            // `done` itself is still to come.
            if done >= saved + SAVED_EVERY && trouble.is_none() {
                trouble = save(done, gone + without).err();
                saved = done;
            }
        };
        let recomputed = match recompute_from(log, &mut Readers, (from, size), &mut progress) {
            Ok(r) => r,
            Err(e) => return Ok(wrong("content", (&e).into(), &e)),
        };
        save(size, gone + recomputed.without_content)?;
        recomputed
    } else {
        Recomputed::default()
    };
    let mut unchecked = Vec::new();
    let mut not = |when: bool, what: &'static str| unchecked.extend(when.then_some(what));
    not(
        !how.content,
        "commitments, evidence, slices and verdicts: the public log holds no content; whoever has the data directory \
         audits them",
    );
    not(
        !how.signed,
        "the signature of each entry: there are no signature bundles; the checkpoint's signature covers them all",
    );
    not(
        report.resumed > 0,
        "what an earlier audit had found good, again: its entries were read and hashed, no more",
    );
    not(true, "that the evidence is what the sources said: trusted to the recorder at recording time");
    not(true, "that nobody was told another story: compare checkpoints with others, or require witnesses");
    Ok(json!({
        "ok": true,
        "origin": log.origin(),
        "size": size,
        "root": report.head.root,
        "key": report.keys.first().map(|(_, k)| k.to_string()),
        "keyPinned": how.key.is_some(),
        "public": !how.content,
        "signatures": how.signed,
        "resumedFrom": earlier.map(|point| point.size),
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
        "withoutContent": gone + recomputed.without_content,
        "notChecked": unchecked,
    }))
}

/// The point in a file; `None` when there is no such file yet. `(content, signed)`: what this audit has at hand.
fn read_point(
    file: &Path,
    origin: &str,
    (content, signed): (bool, bool),
) -> Result<Option<SavedPoint>, Failure> {
    let about = |e: &dyn std::fmt::Display| Failure(format!("{}: {e}", file.display()));
    let mut bytes = Vec::new();
    match std::fs::File::open(file) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        opened => {
            let limited = opened.map_err(|e| about(&e))?.take(MAX_POINT + 1);
            { limited }.read_to_end(&mut bytes).map_err(|e| about(&e))?;
        }
    }
    let point: SavedPoint = from_canonical("the point of an earlier audit", &bytes, MAX_POINT as usize)
        .map_err(|e| about(&format!("{e}; remove the file to audit from the beginning")))?;
    if point.v != POINT {
        return fail(about(&format!("it has version {}; this program knows {POINT}", point.v)).0);
    }
    if point.origin != origin {
        return fail(about(&format!("it is of the log {}, and this one is {origin}", point.origin)).0);
    }
    if point.recomputed > point.size {
        return fail(about(&"it says that more was recomputed than checked: it was changed").0);
    }
    // What an earlier audit could not check, this one would pass over.
    let less = match (content && !point.content, signed && !point.signatures) {
        (true, _) => "without content",
        (false, true) => "without the entries' signatures",
        (false, false) => return Ok(Some(point)),
    };
    let what = format!("it is of an audit {less}, which this one has; use another file, or remove this one");
    fail(about(&what).0)
}

/// A log that somebody serves: C2SP tlog-tiles below a URL.
struct Server {
    runtime: tokio::runtime::Runtime,
    client: reqwest::Client,
    base: String,
}

impl Server {
    /// The longest one file may take. Generous: it bounds a server that trickles.
    const DEADLINE: Duration = Duration::from_secs(60);

    fn new(url: &str) -> Result<Server, Failure> {
        if !url.starts_with("http://") && !url.starts_with("https://") {
            return fail(format!("--url is {url:?}; a log's URL begins with http:// or https://"));
        }
        let runtime = super::runtime()?;
        let client = runtime.block_on(async {
            reqwest::Client::builder()
                .redirect(reqwest::redirect::Policy::none())
                .connect_timeout(Duration::from_secs(10))
                .timeout(Server::DEADLINE)
                .user_agent(concat!("isoledger/", env!("CARGO_PKG_VERSION")))
                .build()
        })?;
        Ok(Server { runtime, client, base: url.trim_end_matches('/').to_owned() })
    }
}

impl Fetch for Server {
    fn fetch(&self, path: &str, max: usize) -> Result<Option<Vec<u8>>, FetchError> {
        let trouble = |e: reqwest::Error| {
            let mut said = e.to_string();
            let mut source = std::error::Error::source(&e);
            while let Some(cause) = source {
                said = format!("{said}: {cause}");
                source = cause.source();
            }
            FetchError::Server { said }
        };
        self.runtime.block_on(async {
            let request = self.client.get(format!("{}/{path}", self.base));
            let mut answer = request.send().await.map_err(trouble)?;
            match answer.status().as_u16() {
                200 => {}
                404 => return Ok(None),
                other => return Err(FetchError::Server { said: format!("it answered with status {other}") }),
            }
            let mut bytes = Vec::new();
            while let Some(chunk) = answer.chunk().await.map_err(trouble)? {
                if bytes.len() + chunk.len() > max {
                    return Err(FetchError::TooLong { max });
                }
                bytes.extend_from_slice(&chunk);
            }
            Ok(Some(bytes))
        })
    }
}

/// A public log: what its checkpoint is over, without content.
fn public<F: Fetch>(
    fetch: F,
    args: &cli::Audit,
    key: Option<&VerifierKey>,
    quiet: bool,
) -> Result<Value, Failure> {
    if args.cosign.is_some() {
        return fail(
            "an auditor cosigns what was recomputed from its evidence, and the public log holds none; audit the data \
             directory or a copy of it",
        );
    }
    let log = match PublicLog::open(fetch) {
        Ok(log) => log,
        Err(e) if Damage::from(&e).kind == DamageKind::Unreadable => return fail(e),
        Err(e) => return Ok(wrong("public", (&e).into(), &e)),
    };
    let signed = log.has_signatures()?;
    let log = if signed { log } else { log.without_signatures() };
    let resume = point_of(args, log.origin(), (false, signed))?;
    examine(&log, &How { key, quiet, content: false, signed, resume })
}

fn point_of<'a>(
    args: &'a cli::Audit,
    origin: &str,
    has: (bool, bool),
) -> Result<Option<(&'a Path, Option<SavedPoint>)>, Failure> {
    let Some(file) = &args.resume else { return Ok(None) };
    Ok(Some((file, read_point(file, origin, has)?)))
}

pub(crate) fn run(config: &Path, args: &cli::Audit, as_json: bool) -> Result<Ending, Failure> {
    let key = args.key.as_deref().map(str::parse::<VerifierKey>).transpose();
    let mut key = key.map_err(|e| Failure(format!("--key: {e}")))?;
    let result = if let Some(url) = &args.url {
        public(Server::new(url)?, args, key.as_ref(), as_json)?
    } else if let Some(dir) = args.data.as_ref().filter(|dir| Directory::is_export(dir)) {
        public(Directory(dir.clone()), args, key.as_ref(), as_json)?
    } else {
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
        whole(&data, args, key.as_ref(), as_json)?
    };
    let ok = result["ok"] == true;
    if as_json {
        render::json(&result);
    } else if ok {
        let n = |k: &str| result[k].to_string();
        render::line(format!("{}  {} entries", result["origin"].as_str().unwrap_or("-"), n("size")));
        if let Some(from) = result["resumedFrom"].as_u64() {
            render::line(format!("gone on from                        entry {from}, audited before"));
        }
        match result["signatures"] == true {
            true => render::line("chain, signatures, tiles and root   good"),
            false => render::line("chain, tiles and signed root        good"),
        }
        if result["public"] != true {
            render::line(format!("commitments                         {} opened", n("openings")));
            render::line(format!(
                "slices from evidence                {} polls, {} versions, {} states read again",
                n("polls"),
                n("versions"),
                n("statesReadAgain")
            ));
            let verdicts = result["verdicts"].as_object().into_iter().flatten();
            let verdicts: Vec<String> = verdicts.map(|(k, v)| format!("{v} {k}")).collect();
            if !verdicts.is_empty() {
                render::line(format!("verdicts recomputed                 {}", verdicts.join(", ")));
            }
        }
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
        let at = result["entry"].as_u64().map_or("no single entry".to_owned(), |seq| format!("entry {seq}"));
        render::line(format!("damage: {}, {at}", result["damage"].as_str().unwrap_or("-")));
    }
    Ok(if ok { Ending::Fine } else { Ending::Amiss })
}

/// A data directory or a copy of one, with content.
fn whole(data: &Path, args: &cli::Audit, key: Option<&VerifierKey>, quiet: bool) -> Result<Value, Failure> {
    let log = match LogReader::open(data) {
        Ok(log) => Log::File(Box::new(log)),
        // A log so damaged that it does not open is an audit's answer, not its failure.
        Err(e) if data.join("journal").is_dir() => return Ok(wrong("journal", (&e).into(), &e)),
        Err(_) => Log::open(data)?,
    };
    // Signed heads are read beside the writer, who moves on while everything is recomputed.
    let before = log.published();
    let resume = point_of(args, log.origin(), (true, true))?;
    let mut result = examine(&log, &How { key, quiet, content: true, signed: true, resume })?;
    if let (Some(file), true) = (&args.cosign, result["ok"] == true) {
        let heads = [before, log.published()].into_iter().flatten();
        let (to, size) = cosign(&log, heads, data, file, args, key, &result)?;
        result["cosigned"] = json!({ "size": size, "file": to });
    }
    Ok(result)
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
    result: &Value,
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
