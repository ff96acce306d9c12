//! `isoledger check` and `isoledger scope propose`: read every source once, write nothing into the log.

use crate::app;
use crate::config::{self, Config, Manager};
use crate::failure::{Ending, Failure};
use crate::keys;
use crate::render;
use crate::scope_propose;
use crate::sources::{self, Sources};
use isoledger_collectors::dialect::BypassTable;
use isoledger_collectors::{Reading, Stopwatch};
use isoledger_core::model::{BypassReading, Declared, Observed};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

struct Read {
    declared: Option<Reading<Declared>>,
    switches: BTreeMap<String, (Reading<Observed>, &'static BypassTable)>,
}

async fn read(config: &Config, with_manager: bool) -> Result<Read, Failure> {
    let clock: Arc<Stopwatch> = app::clock()?;
    let Sources { mut manager, switches, .. } = sources::sources(config)?;
    let mut declared = None;
    if with_manager {
        let patience = Duration::from_millis(config.manager.pace().deadline.millis());
        declared = Some(manager.read(&*clock, Instant::now() + patience).await);
    }
    let patience = Duration::from_millis(config.poll.deadline.millis());
    let gate = Arc::new(Semaphore::new(config.poll.parallel));
    let mut tasks = JoinSet::new();
    for (name, mut reader) in switches {
        let (gate, clock) = (gate.clone(), clock.clone());
        tasks.spawn(async move {
            // Never closed, so acquiring cannot fail.
            let _turn = gate.acquire_owned().await;
            let reading = reader.read(&*clock, Instant::now() + patience).await;
            (name, (reading, reader.bypass_table()))
        });
    }
    let mut out = BTreeMap::new();
    while let Some(done) = tasks.join_next().await {
        let (name, read) = done.map_err(|e| {
            Failure(format!("a reader failed ({e}); please report this defect with the switch's kind"))
        })?;
        out.insert(name, read);
    }
    Ok(Read { declared, switches: out })
}

pub(crate) fn bypass_word(r: Option<&BypassReading>) -> String {
    match r {
        Some(BypassReading::Clean) => "clean".into(),
        Some(BypassReading::Dirty { vlans, detail }) => format!("DIRTY on {vlans}: {detail}"),
        Some(BypassReading::NotRead { why }) => format!("not read: {why}"),
        None => "not read".into(),
    }
}

/// What there is to say of the cloud manager: what it is called, and whether it is well.
async fn manager(config: &Config) -> Vec<(String, Result<String, String>)> {
    let checked = match &config.manager {
        Manager::Hil(keys) => hil(config, keys).await,
        Manager::HilDatabase(keys) => database(config, keys).await,
        Manager::DeclaredFile(_) => reading(config).await.map(|r| vec![("cloud manager".to_owned(), r)]),
    };
    checked.unwrap_or_else(|e| vec![("cloud manager".to_owned(), Err(e.0))])
}

/// What one reading of the cloud manager brought, in a sentence.
async fn reading(config: &Config) -> Result<Result<String, String>, Failure> {
    let clock = app::clock()?;
    let patience = Instant::now() + Duration::from_millis(config.manager.pace().deadline.millis());
    let reading = sources::manager(config)?.read(&*clock, patience).await;
    let declared = match reading.outcome {
        Ok(declared) => declared,
        Err(e) => return Ok(Err(e.to_string())),
    };
    if !declared.anomalies.is_empty() {
        let all = declared.anomalies.iter().map(|a| format!("{}: {}", a.about, a.what));
        return Ok(Err(all.collect::<Vec<_>>().join("; ")));
    }
    Ok(Ok(format!(
        "{} {} ({}): {} networks, {} attachments, {} ports, {} actions; {} requests in {}",
        reading.reader.dialect,
        reading.evidence.subject,
        reading.evidence.auth,
        declared.networks.len(),
        declared.attachments.len(),
        declared.registered.len(),
        declared.actions.len(),
        reading.sent,
        reading.window.ended.since(reading.window.started)
    )))
}

async fn database(
    config: &Config,
    keys: &config::HilDatabase,
) -> Result<Vec<(String, Result<String, String>)>, Failure> {
    let patience = Instant::now() + Duration::from_millis(keys.deadline.millis());
    let mut items = vec![("cloud manager".to_owned(), reading(config).await?)];
    let rights = sources::database(config, keys)?.rights(patience).await?;
    let what = format!("rights of {} in {}", rights.user, rights.database);
    items.push((what.clone(), Ok(format!("reads {}", rights.reads.join(", ")))));
    // More than is needed is no reason not to audit, but nobody should have to look for it.
    let missing = rights.missing.clone();
    items.extend(rights.advice().into_iter().map(|advice| {
        let fatal = missing.as_ref() == Some(&advice);
        (
            format!("{what}, {}", if fatal { "missing" } else { "warning" }),
            if fatal { Err(advice) } else { Ok(advice) },
        )
    }));
    Ok(items)
}

async fn hil(config: &Config, keys: &config::Hil) -> Result<Vec<(String, Result<String, String>)>, Failure> {
    let clock = app::clock()?;
    let patience = Instant::now() + Duration::from_millis(keys.deadline.millis());
    let r = sources::hil(config, keys)?.check(&*clock, patience, keys.period, keys.duty).await?;
    let text = format!(
        "HIL at {} as {}, extensions {}: {} networks, {} attachments, {} ports; {} calls in {} ms",
        r.url,
        r.user.as_deref().unwrap_or("nobody"),
        r.extensions.join(" "),
        r.networks,
        r.attachments,
        r.ports,
        r.calls,
        r.took_ms
    );
    let well = if r.anomalies.is_empty() { Ok(text) } else { Err(r.anomalies.join("; ")) };
    let mut items = vec![("cloud manager".to_owned(), well)];
    items.extend(r.advice.into_iter().map(|advice| ("cloud manager, advice".to_owned(), Ok(advice))));
    Ok(items)
}

pub(crate) async fn run(config: &Config, as_json: bool) -> Result<Ending, Failure> {
    let mut good = true;
    let mut items: Vec<Value> = Vec::new();
    let mut item = |what: String, result: Result<String, String>| {
        good &= result.is_ok();
        let (ok, text) = match result {
            Ok(t) => (true, t),
            Err(t) => (false, t),
        };
        if !as_json {
            render::line(format!("{}  {what}: {text}", if ok { "ok  " } else { "FAIL" }));
        }
        items.push(json!({ "check": what, "ok": ok, "detail": text }));
    };
    let key = keys::load(&config.key(), &config.log.origin);
    item("key".into(), key.map(|k| k.verifier().to_string()).map_err(|e| e.to_string()));
    // Whoever else may read one of these can log in as us, so nothing is read with them until that is mended.
    let open: Vec<(String, String)> = sources::secret_files(config)
        .into_iter()
        .filter(|(key, _)| key != "log.key")
        .filter_map(|(key, path)| match keys::private(&path) {
            Err(e @ keys::KeyFileError::Mode { .. }) => Some((key, e.to_string())),
            _ => None,
        })
        .collect();
    if !open.is_empty() {
        for (key, why) in open {
            item(key, Err(why));
        }
        if as_json {
            render::json(&json!({ "ok": good, "checks": items }));
        }
        return Ok(Ending::Amiss);
    }
    let scope = app::scope(config);
    item(
        "scope".into(),
        scope
            .map(|s| {
                format!("{} switches, {} links, {} exits", s.switches.len(), s.links.len(), s.exits.len())
            })
            .map_err(|e| e.0),
    );
    for (what, result) in manager(config).await {
        item(what, result);
    }
    let read = read(config, false).await?;
    for (name, (reading, table)) in &read.switches {
        let what = format!("switch {name}");
        match &reading.outcome {
            Ok(o) if o.anomalies.is_empty() => {
                let identity = reading.evidence.identity.as_deref().unwrap_or("none shown");
                item(
                    what,
                    Ok(format!("{} ports, identity {identity}, {}", o.ports.len(), reading.evidence.auth)),
                );
                for (class, how) in *table {
                    let reading = o.bypasses.get(class);
                    let text = format!("{} ({how})", bypass_word(reading));
                    let clean = matches!(reading, Some(BypassReading::Clean));
                    item(format!("switch {name}, {class}"), if clean { Ok(text) } else { Err(text) });
                }
            }
            Ok(o) => {
                let list: Vec<String> =
                    o.anomalies.iter().map(|a| format!("{}: {}", a.about, a.what)).collect();
                item(what, Err(list.join("; ")));
            }
            Err(e) => item(what, Err(e.to_string())),
        }
    }
    if as_json {
        render::json(&json!({ "ok": good, "checks": items }));
    }
    Ok(if good { Ending::Fine } else { Ending::Amiss })
}

pub(crate) async fn propose(config: &Config, out: &Path, as_json: bool) -> Result<Ending, Failure> {
    let read = read(config, true).await?;
    let declared = read.declared.map(|r| r.outcome);
    let mut failed = Vec::new();
    if let Some(Err(e)) = &declared {
        failed.push(("the cloud manager".to_owned(), e.to_string()));
    }
    let mut observed = BTreeMap::new();
    let mut identities = BTreeMap::new();
    for (name, (reading, _)) in read.switches {
        match reading.outcome {
            Ok(o) => {
                identities.extend(reading.evidence.identity.map(|i| (name.clone(), i)));
                observed.insert(name, o);
            }
            Err(e) => failed.push((format!("switch {name}"), e.to_string())),
        }
    }
    let configured: BTreeSet<String> = config.switches.keys().cloned().collect();
    let text = scope_propose::propose(
        &config.log.domain,
        &configured,
        declared.as_ref().and_then(|d| d.as_ref().ok()),
        &observed,
        &identities,
        &failed,
    );
    if out == Path::new("-") {
        if as_json {
            render::json(&json!({ "scope": text }));
        } else {
            render::print(&text);
        }
    } else {
        use std::io::Write as _;
        let written = std::fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .open(out)
            .and_then(|mut f| f.write_all(text.as_bytes()));
        written.map_err(|e| Failure(format!("{}: {e}", out.display())))?;
        if as_json {
            render::json(&json!({ "out": out }));
        } else {
            render::line(format!("wrote {}; read every line before you use it", out.display()));
        }
    }
    Ok(if failed.is_empty() { Ending::Fine } else { Ending::Amiss })
}
