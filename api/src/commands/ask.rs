//! Questions: status, divergences, state, attest.

use crate::answers::{DivergenceQuery, StateQuery, Wish};
use crate::app;
use crate::cli;
use crate::config::Config;
use crate::failure::{Ending, Failure};
use crate::render::{self, table};
use isoledger_core::Digest;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

// A JSON string as it is, anything else as JSON.
pub(crate) fn text(v: &Value) -> String {
    match v {
        Value::String(s) => s.clone(),
        Value::Null => "-".into(),
        other => other.to_string(),
    }
}

pub(crate) fn owner(v: &Value) -> String {
    match v {
        Value::Object(o) => o.get("project").map_or("-".into(), text),
        other => text(other),
    }
}

/// Rows of networks as a table, with each finding below.
pub(crate) fn networks(rows: &[Value]) -> String {
    let cells: Vec<Vec<String>> = rows
        .iter()
        .map(|r| {
            vec![
                text(&r["network"]),
                text(&r["vlanId"]),
                owner(&r["owner"]),
                text(&r["verdict"]).to_uppercase(),
                text(&r["age"]),
                text(&r["reason"]),
            ]
        })
        .collect();
    let mut out = table(&["NETWORK", "VLAN", "OWNER", "VERDICT", "AGE", "REASON"], &cells);
    for r in rows {
        for f in r["findings"].as_array().into_iter().flatten() {
            out.push_str(&format!(
                "  {}: {} at {}{}\n",
                text(&r["network"]),
                text(&f["finding"]),
                text(&f["at"]),
                passed(f)
            ));
        }
    }
    out
}

pub(crate) fn status(config: &Config, as_json: bool) -> Result<Ending, Failure> {
    let answers = app::answers(config)?;
    let rows = answers.network_rows()?;
    let health = answers.health();
    if as_json {
        render::json(&json!({ "health": health.to_json(), "networks": rows }));
    } else {
        let h = health.to_json();
        if let Some(trouble) = h["trouble"].as_str() {
            render::line(format!("ATTENTION: {trouble}\n"));
        }
        for words in &health.witness_words {
            render::line(format!("witnesses: {words}"));
        }
        render::print(&networks(&rows));
        render::line(format!("\n{} entries, last poll {}", h["size"], text(&h["lastPoll"])));
        let newest = &h["witnesses"]["newest"];
        for by in newest["by"].as_array().into_iter().flatten() {
            let (name, time) = (text(&by["name"]), text(&by["time"]));
            render::line(format!("{} entries cosigned by {name} at {time}", newest["size"]));
        }
    }
    let good = health.ok && !rows.is_empty() && rows.iter().all(|r| r["verdict"] == "isolated");
    Ok(if good { Ending::Fine } else { Ending::Amiss })
}

pub(crate) fn divergences(config: &Config, args: cli::Divergences, as_json: bool) -> Result<Ending, Failure> {
    let q =
        DivergenceQuery { open: args.open, network: args.network, switch: args.switch, since: args.since };
    let found = app::answers(config)?.divergences(&q)?;
    let rows = found["divergences"].as_array().cloned().unwrap_or_default();
    let open = rows.iter().any(|d| d["open"] == true);
    if as_json {
        render::json(&found);
    } else if rows.is_empty() {
        render::line("no divergence matches");
    } else {
        render::print(&divergence_lines(&rows));
    }
    Ok(if open { Ending::Amiss } else { Ending::Fine })
}

/// Divergences, a paragraph each.
pub(crate) fn divergence_lines(rows: &[Value]) -> String {
    let mut out = String::new();
    for d in rows {
        let networks: Vec<String> = d["touches"].as_array().into_iter().flatten().map(text).collect();
        let state = if d["open"] == true { "OPEN" } else { "closed" };
        out.push_str(&format!(
            "{state}  {} at {}{}, VLANs {}, touching {}\n",
            text(&d["finding"]),
            text(&d["at"]),
            passed(d),
            text(&d["vlans"]),
            if networks.is_empty() { "no network".to_owned() } else { networks.join(", ") }
        ));
        if let Some(claim) = d["claim"].as_object() {
            let moment = |name| claim.get(name).map_or("-".into(), text);
            out.push_str(&format!(
                "  there  from {} to {}, as the switch told\n",
                moment("from"),
                moment("to")
            ));
        }
        out.push_str(&format!("  began  {}\n", interval(&d["onset"])));
        if !d["closed"].is_null() {
            out.push_str(&format!("  ended  {}\n", interval(&d["closed"])));
        }
        if let Some(u) = d["unconfirmed"].as_object() {
            out.push_str(&format!("  not confirmed since {}\n", u.get("started").map_or("-".into(), text)));
        }
    }
    out
}

// Said of what was there between two readings and at neither.
fn passed(finding: &Value) -> &'static str {
    if finding["passed"] == true { " between two readings" } else { "" }
}

// "after A, not after B; cause: C", with what was blind in between.
fn interval(change: &Value) -> String {
    let after = match &change["after"] {
        Value::Null => "at an unknown time".to_owned(),
        t => format!("after {}", text(t)),
    };
    let mut out = format!("{after}, by {}; cause: {}", text(&change["by"]), text(&change["cause"]));
    for g in change["gaps"].as_array().into_iter().flatten() {
        out.push_str(&format!(
            "; blind for {} from {} to {}",
            text(&g["why"]),
            text(&g["from"]),
            text(&g["to"])
        ));
    }
    out
}

pub(crate) fn state(config: &Config, args: cli::State, as_json: bool) -> Result<Ending, Failure> {
    let state = app::answers(config)?.state(&StateQuery { at: args.at, switch: args.switch })?;
    if as_json {
        render::json(&state);
        return Ok(Ending::Fine);
    }
    render::line(format!(
        "poll {} from {} to {}",
        state["poll"],
        text(&state["started"]),
        text(&state["ended"])
    ));
    let mut rows = Vec::new();
    for (name, s) in state["switches"].as_object().into_iter().flatten() {
        if !s["failure"].is_null() {
            rows.push(vec![name.clone(), "-".into(), text(&s["failure"]).to_uppercase(), text(&s["error"])]);
        }
        for (port, reading) in s["state"]["ports"].as_object().into_iter().flatten() {
            let read = &reading["read"];
            let (untagged, tagged) = match read {
                Value::Null => ("?".into(), format!("UNREADABLE: {}", text(&reading["unreadable"]["why"]))),
                r => (text(&r["untagged"]), text(&r["tagged"])),
            };
            rows.push(vec![name.clone(), port.clone(), untagged, tagged]);
        }
    }
    render::print(&table(&["SWITCH", "PORT", "UNTAGGED", "TAGGED"], &rows));
    let rows: Vec<Vec<String>> = state["declared"]["attachments"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|a| {
            let port = &a["port"];
            vec![
                text(&a["network"]),
                text(&a["project"]),
                format!("{} {}", text(&a["node"]), text(&a["nic"])),
                format!("{} {}", text(&port["switch"]), text(&port["port"])),
                match &a["channel"] {
                    Value::Object(o) => format!("tagged {}", o.values().next().map_or("-".into(), text)),
                    v => text(v),
                },
            ]
        })
        .collect();
    render::line("");
    render::print(&table(&["NETWORK", "PROJECT", "NIC", "PORT", "CHANNEL"], &rows));
    render::line("");
    for (name, verdict) in state["verdicts"].as_object().into_iter().flatten() {
        render::line(format!("{name}: {}", text(verdict).to_uppercase()));
    }
    Ok(Ending::Fine)
}

pub(crate) fn attest(config: &Config, args: cli::Attest, as_json: bool) -> Result<Ending, Failure> {
    let network = args.network.clone();
    let wish = Wish {
        network: args.network,
        project: args.project,
        from: args.from,
        to: args.to,
        nonce: args.nonce,
    };
    let answers = app::answers(config)?;
    let made = answers.attest(&wish)?;
    let (attestation, evidence) = write(&args.out, &network, &made)?;
    let p = &made.statement.predicate;
    if as_json {
        render::json(&json!({
            "attestation": attestation, "evidence": evidence, "predicate": p, "caveat": answers.caveat(),
        }));
    } else {
        render::line(format!(
            "{network}: {} from {} to {}, {} polls",
            p.verdict.name().to_uppercase(),
            p.from,
            p.to,
            p.polls
        ));
        render::line(format!("wrote {} and {}", attestation.display(), evidence.display()));
        render::line("the evidence holds the network's slot keys: hand it to the network's projects only");
        if let Some(to) = p.audited_to {
            render::line(format!("an auditor has cosigned {to} entries of the log"));
        }
        if let Some(caveat) = answers.caveat() {
            render::line(caveat);
        }
    }
    Ok(Ending::Fine)
}

/// Writes both files, each whole or not at all, readable by their owner only: the evidence holds slot keys.
pub(crate) fn write(
    dir: &Path,
    network: &str,
    made: &isoledger_ledger::attest::Made,
) -> Result<(PathBuf, PathBuf), Failure> {
    // A network's name is the cloud manager's and may hold anything; a file's may not. What is replaced is told apart by
    // the name's digest, or one network's files could overwrite another's.
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    let mut stem: String = network.chars().map(|c| if plain(c) { c } else { '_' }).collect();
    if stem != network || stem.starts_with('.') {
        stem = format!("_{stem}-{}", &Digest::of(network.as_bytes()).to_hex()[..16]);
    }
    let put = |suffix: &str, text: &str| {
        let path = dir.join(format!("{stem}.{suffix}.json"));
        let temporary = dir.join(format!(".{stem}.{suffix}.{}", hex::encode(&crate::keys::entropy()[..8])));
        let done = crate::keys::write_secret(&temporary, text.as_bytes());
        let done = done.and_then(|()| std::fs::rename(&temporary, &path));
        if done.is_err() {
            let _ = std::fs::remove_file(&temporary);
        }
        done.map(|()| path.clone()).map_err(|e| Failure(format!("{}: {e}", path.display())))
    };
    let evidence = put("evidence", &made.evidence)?;
    let attestation = put("attestation", &made.attestation)?;
    Ok((attestation, evidence))
}
