//! The story: isolated, violated from outside, repaired, proved, tampered with.

use crate::answers::{Answers, DivergenceQuery, Wish};
use crate::app;
use crate::commands::ask;
use crate::commands::audit;
use crate::config::Config;
use crate::engine::{Engine, Polled};
use crate::failure::{Failure, fail};
use crate::log::Log;
use crate::render;
use crate::service;
use crate::witnesses::Witnesses;
use isoledger_collectors::Clock;
use isoledger_core::judge::Verdict;
use isoledger_lab::Lab;
use serde_json::{Value, json};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

pub(crate) struct Story<'a> {
    config: &'a Config,
    lab: &'a Lab,
    engine: Engine,
    witnesses: Arc<Witnesses>,
    as_json: bool,
    chapters: Vec<Value>,
}

impl<'a> Story<'a> {
    pub(crate) fn new(
        config: &'a Config,
        lab: &'a Lab,
        engine: Engine,
        witnesses: Arc<Witnesses>,
        as_json: bool,
    ) -> Story<'a> {
        Story { config, lab, engine, witnesses, as_json, chapters: Vec::new() }
    }

    pub(crate) fn end(self) -> (Engine, Vec<Value>) {
        (self.engine, self.chapters)
    }

    fn say(&self, text: impl AsRef<str>) {
        if !self.as_json {
            render::line(text);
        }
    }

    fn chapter(&mut self, title: &str) {
        self.say(format!("\n{}. {title}", self.chapters.len() + 1));
        self.chapters.push(json!({ "title": title }));
    }

    fn note(&mut self, key: &str, value: Value) {
        if let Some(Value::Object(chapter)) = self.chapters.last_mut() {
            chapter.insert(key.into(), value);
        }
    }

    // A poll a moment after the last, which must say what the story says.
    async fn poll(&mut self, red: Verdict, blue: Verdict) -> Result<Polled, Failure> {
        tokio::time::sleep(Duration::from_millis(150)).await;
        let polled = self.engine.poll().await?;
        // The service does this at a period of its own; a story has not the time.
        let Some(cosigned) = self.witnesses.round(&self.engine.ledger().view()).await? else {
            return fail(format!("the witness did not cosign after poll {}", polled.seq));
        };
        service::archive(&mut self.engine, &cosigned)?;
        let verdict = |n: &str| polled.view.judged.get(n).map(|j| j.verdict);
        self.say(format!(
            "   poll {}: red-net {}, blue-net {}",
            polled.seq,
            verdict("red-net").map_or("-".into(), |v| v.name().to_uppercase()),
            verdict("blue-net").map_or("-".into(), |v| v.name().to_uppercase()),
        ));
        for (source, error) in &polled.failures {
            self.say(format!("   not read: {source}: {error}"));
        }
        if (verdict("red-net"), verdict("blue-net")) != (Some(red), Some(blue)) {
            return fail(format!(
                "the story went another way: expected red-net {red} and blue-net {blue} in poll {}",
                polled.seq
            ));
        }
        Ok(polled)
    }

    fn answers(&self) -> Result<Answers, Failure> {
        app::answers(self.config)
    }

    pub(crate) async fn tell(&mut self) -> Result<(), Failure> {
        use Verdict::{Isolated, Violated};
        let dir = self.config.dir.clone();
        self.say("A cloud in a box: HIL and two Open vSwitch switches, emulated over their real protocols on loopback.");
        self.say("Projects red (red-net, VLAN 100) and blue (blue-net, VLAN 101). Isoledger reads, and changes nothing.");
        self.say("A neighbour's witness cosigns the log, and the tenants believe no time and no history without it.");
        self.say(format!("Everything it makes is in {}.", dir.display()));

        self.chapter("Two tenants, isolated");
        for _ in 0..3 {
            self.poll(Isolated, Isolated).await?;
        }

        self.chapter(
            "Somebody edits switch sw2 behind HIL's back: free port sw2p4 becomes a member of VLAN 100",
        );
        let before = self.now();
        self.lab.edit(|w| -> Result<(), isoledger_lab::WorldError> {
            let sw2 = w.switch_mut("sw2")?;
            sw2.set_port("sw2p4", "vlan_mode", "access")?;
            sw2.set_port("sw2p4", "tag", 100u16)
        })?;
        let after = self.now();
        self.say(format!("   (the edit happened at {after})"));
        self.poll(Violated, Isolated).await?;
        self.poll(Violated, Isolated).await?;
        let rows = self.answers()?.network_rows()?;
        self.say(indent(&ask::networks(&rows)));
        let open = self.open_divergences()?;
        self.say(indent(&ask::divergence_lines(&open)));
        self.note("edited", json!({ "from": before, "to": after }));
        self.note("divergences", Value::Array(open));

        self.chapter("The port is taken off VLAN 100 again");
        self.lab.edit(|w| -> Result<(), isoledger_lab::WorldError> {
            w.switch_mut("sw2")?.set_port("sw2p4", "tag", 999u16)
        })?;
        self.poll(Isolated, Isolated).await?;
        self.poll(Isolated, Isolated).await?;
        let left = self.open_divergences()?;
        if !left.is_empty() {
            return fail(format!("a divergence is still open: {}", json!(left)));
        }
        self.say("   no divergence is open any more; what was, stays in the ledger");

        self.chapter(
            "Each tenant asks for proof over the whole range, and checks it without trusting anybody here",
        );
        self.attest("red-net", 1)?;
        self.attest("blue-net", 0)?;

        self.chapter("The ledger is recomputed by an auditor");
        let log = Log::open(&self.config.data())?;
        let good = audit::audit(&log, None, true);
        if good["ok"] != true {
            return fail(format!("the audit failed: {}", good["error"]));
        }
        self.say(format!(
            "   $ isoledger --config {} audit\n   {} entries, {} polls, {} states read again from evidence: AUDIT PASSED",
            dir.join("isoledger.toml").display(),
            good["size"],
            good["polls"],
            good["statesReadAgain"]
        ));
        self.note("audit", good);

        self.chapter("One byte of a copy of the ledger is flipped");
        self.tamper(&dir)?;

        self.lab.assert_only_reads();
        let asked = self.lab.commands().len();
        self.say(format!("\nThe cloud received {asked} requests from Isoledger. All of them were reads."));
        Ok(())
    }

    fn now(&self) -> isoledger_core::Timestamp {
        self.engine.clock().now()
    }

    fn open_divergences(&self) -> Result<Vec<Value>, Failure> {
        let found =
            self.answers()?.divergences(&DivergenceQuery { open: true, ..DivergenceQuery::default() })?;
        Ok(found["divergences"].as_array().cloned().unwrap_or_default())
    }

    // Makes an attestation and checks it as the tenant would, with the tenant's own program.
    fn attest(&mut self, network: &str, expected: u8) -> Result<(), Failure> {
        let dir = self.config.dir.clone();
        let made = self.answers()?.attest(&Wish { network: network.into(), ..Wish::default() })?;
        let (attestation, _) = ask::write(&dir, network, &made)?;
        let args: Vec<OsString> = [
            "isoverify".into(),
            "--policy".into(),
            dir.join("policy.txt").into_os_string(),
            attestation.clone().into_os_string(),
        ]
        .into();
        let words: Vec<String> = args.iter().map(|a| a.to_string_lossy().into_owned()).collect();
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let code = isoverify::cli::run(args, self.now(), &mut out, &mut err);
        self.say(format!("   $ {}", words.join(" ")));
        self.say(indent(&String::from_utf8_lossy(&out)));
        self.say(indent(&String::from_utf8_lossy(&err)));
        self.say(format!("   exit code {code}\n"));
        self.note(network, json!({ "exit": code, "predicate": made.statement.predicate }));
        if code != expected {
            return fail(format!("isoverify ended with {code} for {network}; the story expects {expected}"));
        }
        Ok(())
    }

    fn tamper(&mut self, dir: &Path) -> Result<(), Failure> {
        let copy = dir.join("tampered");
        copy_dir(&self.config.data(), &copy)?;
        let (path, at, seq) = flip(&copy)?;
        self.say(format!("   byte {at} of {} changed, in what entry {seq} says", path.display()));
        self.say(format!("   $ isoledger audit --data {}", copy.display()));
        let result = match Log::open(&copy) {
            Ok(log) => audit::audit(&log, None, true),
            Err(Failure(e)) => json!({ "ok": false, "stage": "journal", "error": e }),
        };
        let error = result["error"].as_str().unwrap_or("-").to_owned();
        self.say(format!("   AUDIT FAILED: {error}"));
        self.note("tampered", json!({ "entry": seq, "error": error }));
        if result["ok"] != false || !error.contains(&seq.to_string()) {
            return fail(format!("the audit of the tampered copy does not name entry {seq}: {result}"));
        }
        Ok(())
    }
}

fn indent(text: &str) -> String {
    text.trim_end().lines().map(|l| format!("   {l}\n")).collect::<String>().trim_end().to_owned()
}

fn copy_dir(from: &Path, to: &Path) -> Result<(), Failure> {
    let io = |e: std::io::Error| Failure(format!("copying {}: {e}", from.display()));
    std::fs::create_dir(to).map_err(io)?;
    for entry in std::fs::read_dir(from).map_err(io)? {
        let entry = entry.map_err(io)?;
        let target = to.join(entry.file_name());
        if entry.file_type().map_err(io)?.is_dir() {
            copy_dir(&entry.path(), &target)?;
        } else {
            std::fs::copy(entry.path(), &target).map_err(io)?;
        }
    }
    Ok(())
}

// Flips one bit inside the text of the sixth entry, where the journal holds it.
fn flip(copy: &Path) -> Result<(PathBuf, usize, u64), Failure> {
    let seq = 5;
    let needle = format!("\"seq\":{seq},");
    let journal = copy.join("journal");
    let io = |e: std::io::Error| Failure(format!("{}: {e}", journal.display()));
    let mut segments: Vec<PathBuf> = std::fs::read_dir(&journal)
        .map_err(io)?
        .map(|e| e.map(|e| e.path()))
        .collect::<Result<_, _>>()
        .map_err(io)?;
    segments.sort();
    for path in segments {
        let mut bytes = std::fs::read(&path).map_err(io)?;
        let found = bytes.windows(needle.len()).position(|w| w == needle.as_bytes());
        if let Some(found) = found {
            // Past the number, in the entry's time: the entry still says which it is.
            let at = found + needle.len() + 12;
            if let Some(byte) = bytes.get_mut(at) {
                *byte ^= 1;
                std::fs::write(&path, bytes).map_err(io)?;
                return Ok((path, at, seq));
            }
        }
    }
    fail("the copy's journal holds no entry 5")
}
