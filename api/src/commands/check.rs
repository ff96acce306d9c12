//! `isoledger check` and `isoledger scope propose`: read every source once, write nothing into the log.

use crate::app;
use crate::config::{Config, Manager};
use crate::failure::{Ending, Failure};
use crate::keys;
use crate::render;
use crate::scope_propose;
use crate::sources::{self, Sources};
use isoledger_collectors::{Reading, Stopwatch};
use isoledger_core::model::{BypassReading, Declared, Observed};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

struct Read {
    declared: Option<Reading<Declared>>,
    switches: BTreeMap<String, Reading<Observed>>,
    bypasses: BTreeMap<String, Vec<(String, String)>>,
}

async fn read(config: &Config, with_manager: bool) -> Result<Read, Failure> {
    let clock: Arc<Stopwatch> = app::clock()?;
    let Sources { mut manager, switches, .. } = sources::sources(config)?;
    let Manager::Hil { deadline, .. } = &config.manager;
    let mut declared = None;
    if with_manager {
        let patience = Duration::from_millis(deadline.millis());
        declared = Some(manager.read(&*clock, Instant::now() + patience).await);
    }
    let mut out = BTreeMap::new();
    let mut bypasses = BTreeMap::new();
    for (name, mut reader) in switches {
        let patience = Duration::from_millis(config.poll.deadline.millis());
        let reading = reader.read(&*clock, Instant::now() + patience).await;
        let table = reader.bypass_table();
        bypasses.insert(name.clone(), table.iter().map(|(c, t)| (c.to_string(), (*t).to_owned())).collect());
        out.insert(name, reading);
    }
    Ok(Read { declared, switches: out, bypasses })
}

fn bypass_word(r: Option<&BypassReading>) -> String {
    match r {
        Some(BypassReading::Clean) => "clean".into(),
        Some(BypassReading::Dirty { vlans, detail }) => format!("DIRTY on {vlans}: {detail}"),
        Some(BypassReading::NotRead { why }) => format!("not read: {why}"),
        None => "not read".into(),
    }
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
    let scope = app::scope(config);
    item(
        "scope".into(),
        scope
            .map(|s| {
                format!("{} switches, {} links, {} exits", s.switches.len(), s.links.len(), s.exits.len())
            })
            .map_err(|e| e.0),
    );
    let Manager::Hil { period, duty, deadline, .. } = &config.manager;
    let clock = app::clock()?;
    let patience = Instant::now() + Duration::from_millis(deadline.millis());
    match sources::manager(config)?.check(&*clock, patience, *period, *duty).await {
        Ok(r) => {
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
            item(
                "cloud manager".into(),
                if r.anomalies.is_empty() { Ok(text) } else { Err(r.anomalies.join("; ")) },
            );
            for advice in r.advice {
                item("cloud manager, advice".into(), Ok(advice));
            }
        }
        Err(e) => item("cloud manager".into(), Err(e.to_string())),
    }
    let read = read(config, false).await?;
    for (name, reading) in &read.switches {
        let what = format!("switch {name}");
        match &reading.outcome {
            Ok(o) if o.anomalies.is_empty() => {
                let identity = reading.evidence.identity.as_deref().unwrap_or("none shown");
                item(
                    what,
                    Ok(format!("{} ports, identity {identity}, {}", o.ports.len(), reading.evidence.auth)),
                );
                for (class, how) in read.bypasses.get(name).into_iter().flatten() {
                    let class_reading =
                        isoledger_core::model::BypassClass::from_name(class).and_then(|c| o.bypasses.get(&c));
                    let word = bypass_word(class_reading);
                    let text = format!("{word} ({how})");
                    let clean = matches!(class_reading, Some(BypassReading::Clean));
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
    for (name, reading) in read.switches {
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
