//! Questions about the log, answered the same for the command line and for `/v1`.

use crate::engine::Polled;
use crate::failure::{Failure, fail};
use crate::log::Log;
use crate::witnesses::Witnesses;
use isoledger_collectors::{Clock, Stopwatch};
use isoledger_core::judge::Verdict;
use isoledger_core::model::NetworkVlan;
use isoledger_core::note::NoteSigner;
use isoledger_core::record::Body;
use isoledger_core::{Span, Timestamp};
use isoledger_ledger::attest::{self, AttestError, Made, Opened};
use isoledger_ledger::divergence::{Divergences, FactsMaker, Query};
use isoledger_ledger::read::ReadLog;
use isoledger_ledger::state::{PollState, Snapshots, poll_at_seq, state_at_seq, state_at_time};
use serde::Deserialize;
use serde_json::{Value, json};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

/// Answers about one log.
pub(crate) struct Answers {
    log: Log,
    /// Past this age a verdict now is unknown, whatever it was.
    max_gap: Span,
    clock: Arc<Stopwatch>,
    /// Where the signing key is; read when something is to be signed.
    signer: Option<Arc<NoteSigner>>,
    key: PathBuf,
    /// Who cosigns, where the configuration is known.
    witnesses: Option<Arc<Witnesses>>,
    cache: Mutex<Snapshots>,
    divergences: Mutex<(Divergences, FactsMaker)>,
}

/// What is asked of the divergences.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct DivergenceQuery {
    pub(crate) open: bool,
    pub(crate) network: Option<String>,
    pub(crate) switch: Option<String>,
    pub(crate) since: Option<String>,
}

/// What is asked of a state.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct StateQuery {
    pub(crate) at: Option<String>,
    pub(crate) switch: Option<String>,
}

/// What is asked of an attestation.
#[derive(Debug, Default)]
pub(crate) struct Wish {
    pub(crate) network: String,
    pub(crate) project: Option<String>,
    pub(crate) from: Option<String>,
    pub(crate) to: Option<String>,
    pub(crate) nonce: Option<String>,
}

/// Whether polls are on time.
pub(crate) struct Health {
    pub(crate) ok: bool,
    size: u64,
    last_poll: Option<Timestamp>,
    age: Option<Span>,
    max_gap: Span,
    trouble: Option<String>,
    witnesses: Value,
    /// What is to be said of witnesses, good or bad.
    pub(crate) witness_words: Vec<String>,
}

impl Health {
    pub(crate) fn to_json(&self) -> Value {
        json!({
            "ok": self.ok, "size": self.size, "lastPoll": self.last_poll, "age": self.age,
            "maxGap": self.max_gap, "trouble": self.trouble, "witnesses": self.witnesses,
        })
    }
}

/// A moment as a person types it.
pub(crate) fn moment(what: &str, text: &str) -> Result<Timestamp, Failure> {
    Timestamp::parse_lenient(text).ok_or_else(|| {
        Failure(format!(
            "{what} is {text:?}; a time is written 2026-03-02T10:11:12Z or 2026-03-02, always UTC"
        ))
    })
}

impl Answers {
    pub(crate) fn new(
        log: Log,
        max_gap: Span,
        clock: Arc<Stopwatch>,
        signer: Option<Arc<NoteSigner>>,
        key: PathBuf,
    ) -> Answers {
        Answers {
            log,
            max_gap,
            clock,
            signer,
            key,
            witnesses: None,
            cache: Mutex::new(Snapshots::with_capacity(8)),
            divergences: Mutex::new((Divergences::new(), FactsMaker::default())),
        }
    }

    /// The same, knowing who cosigns.
    pub(crate) fn watched_by(mut self, witnesses: Arc<Witnesses>) -> Answers {
        self.witnesses = Some(witnesses);
        self
    }

    /// Why times and history are the operator's word whatever cosigned, if so.
    pub(crate) fn caveat(&self) -> Option<String> {
        self.witnesses.as_ref().and_then(|w| w.caveat())
    }

    // What a panicking request leaves in these caches is whole: they are only ever added to.
    fn snapshots(&self) -> std::sync::MutexGuard<'_, Snapshots> {
        self.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }

    // The system's time, whatever this process slept through.
    fn now(&self) -> Timestamp {
        Stopwatch::from_system().map_or_else(|| self.clock.now(), |system| system.now())
    }

    // Why what was said at `ended` is not said of now.
    fn stale(&self, ended: Timestamp) -> Option<String> {
        let (now, second) = (self.now(), Span::from_secs(1));
        if ended > now.plus(second) {
            let ahead = ended.since(now);
            return Some(format!("the last poll is dated {ahead} in the future; set the clock right"));
        }
        let age = now.since(ended);
        (age > self.max_gap)
            .then(|| format!("the last poll is {age} old; at most {} is allowed", self.max_gap))
    }

    fn newest(&self) -> Result<Option<PollState>, Failure> {
        let last = self.log.size()?.saturating_sub(1);
        Ok(state_at_seq(&self.log, last, &mut self.snapshots())?)
    }

    /// Whether polls are on time.
    pub(crate) fn health(&self) -> Health {
        let mut h = Health {
            ok: false,
            size: 0,
            last_poll: None,
            age: None,
            max_gap: self.max_gap,
            trouble: None,
            witnesses: Value::Null,
            witness_words: Vec::new(),
        };
        let found = || -> Result<(u64, Option<Timestamp>), Failure> {
            let size = self.log.size()?;
            let Some(seq) = poll_at_seq(&self.log, size.saturating_sub(1))? else { return Ok((size, None)) };
            let record = self.log.record(seq)?;
            let ended = match record.body {
                Body::Poll(p) => Some(p.ended),
                _ => None,
            };
            Ok((size, ended))
        };
        match found() {
            Ok((size, last)) => {
                h.size = size;
                h.last_poll = last;
                h.age = last.map(|t| self.clock.now().since(t));
                h.ok = h.age.is_some_and(|age| age <= self.max_gap);
                if !h.ok {
                    h.trouble = Some(match h.age {
                        None => "there is no poll yet".into(),
                        Some(age) => {
                            format!("the last poll is {age} old; at most {} is allowed", self.max_gap)
                        }
                    });
                }
            }
            Err(Failure(e)) => h.trouble = Some(e),
        }
        if let Some(witnesses) = &self.witnesses {
            let report = witnesses.report(&self.log);
            if !report.ok {
                h.ok = false;
                h.trouble = h.trouble.take().or_else(|| report.words.last().cloned());
            }
            h.witnesses = report.value;
            h.witness_words = report.words;
        }
        h
    }

    /// One network's verdict now; `None` when the newest poll does not know it.
    pub(crate) fn network(&self, name: &str) -> Result<Option<Value>, Failure> {
        Ok(self.rows(Some(name))?.pop())
    }

    /// The networks of the newest poll, a row each. A verdict older than allowed is unknown.
    pub(crate) fn network_rows(&self) -> Result<Vec<Value>, Failure> {
        self.rows(None)
    }

    // A row tells of every switch what is not read there: with a thousand of them, rows that nobody asked for cost more
    // memory than a poll.
    fn rows(&self, only: Option<&str>) -> Result<Vec<Value>, Failure> {
        let Some(state) = self.newest()? else { return Ok(Vec::new()) };
        let age = self.now().since(state.ended());
        let stale = self.stale(state.ended());
        let declared_age = self.now().since(state.manager_window().started);
        let wanted = state.judge_all().into_iter().filter(|(name, _)| only.is_none_or(|o| o == name));
        let rows = wanted.map(|(name, n)| {
            let declared = state.declared().networks.get(&name);
            let now = if stale.is_some() { Verdict::Unknown } else { n.verdict };
            let reason = stale.clone().or_else(|| n.reason.clone());
            json!({
                "network": name,
                "vlan": n.vlan,
                "vlanId": declared.map(|d| match &d.vlan {
                    NetworkVlan::Id(v) => v.to_string(),
                    NetworkVlan::Unassessable(raw) => raw.clone(),
                }),
                "owner": declared.map(|d| &d.owner),
                "access": declared.map(|d| &d.access),
                "verdict": now,
                "recorded": n.verdict,
                "reason": reason,
                "conforms": n.conforms,
                "public": n.public,
                "findings": n.findings.iter().map(|f| json!({
                    "finding": f.finding, "at": f.place.to_string(), "class": f.finding.class(), "passed": f.passed,
                })).collect::<Vec<_>>(),
                "exits": n.exits,
                "notAssessed": n.not_assessed,
                "poll": state.seq,
                "polled": state.ended(),
                "age": age,
                "declaredAge": declared_age,
            })
        });
        Ok(rows.collect())
    }

    /// The divergences that match.
    pub(crate) fn divergences(&self, q: &DivergenceQuery) -> Result<Value, Failure> {
        let since = q.since.as_deref().map(|t| moment("since", t)).transpose()?;
        let query = Query {
            open: q.open.then_some(true),
            network: q.network.clone(),
            switch: q.switch.clone(),
            from: since,
            ..Query::default()
        };
        let mut folded = self.divergences.lock().unwrap_or_else(PoisonError::into_inner);
        self.catch_up(&mut folded)?;
        let all = &folded.0;
        if all.last().is_none() {
            return fail("there is no poll yet, so nothing is known to differ or not to");
        }
        if let Some(state) = self.newest()? {
            // A misspelt name must not read like good news.
            if let Some(n) = &q.network
                && !state.declared().networks.contains_key(n)
                && all.find(query.clone()).next().is_none()
            {
                return fail(format!("no poll knows a network {n:?}; `isoledger status` lists them"));
            }
            if let Some(name) = &q.switch
                && state.switch(name).is_none()
                && all.find(query.clone()).next().is_none()
            {
                return fail(format!("no switch of the scope is named {name:?}"));
            }
        }
        let rows: Vec<Value> = all
            .find(query)
            .map(|d| {
                let mut v = json!(d);
                if let Value::Object(o) = &mut v {
                    o.insert("open".into(), json!(d.is_open()));
                    o.insert("finding".into(), json!(d.finding()));
                    o.insert("at".into(), json!(d.place().to_string()));
                    o.insert("class".into(), json!(d.class()));
                    o.insert("passed".into(), json!(d.key.passed));
                    o.insert("touches".into(), json!(all.networks_of(d)));
                }
                v
            })
            .collect();
        Ok(json!({ "divergences": rows }))
    }

    // Folds the polls since the last question.
    fn catch_up(&self, folded: &mut (Divergences, FactsMaker)) -> Result<(), Failure> {
        let next = folded.0.last().map_or(0, |mark| mark.seq + 1);
        for seq in next..self.log.size()? {
            if let Body::Poll(_) = self.log.record(seq)?.body {
                let state = PollState::of(&self.log, seq, &mut self.snapshots())?;
                let facts = folded.1.facts(&state)?;
                folded.0.push(&facts)?;
            }
        }
        Ok(())
    }

    /// What was declared and observed at a time.
    pub(crate) fn state(&self, q: &StateQuery) -> Result<Value, Failure> {
        let state = match q.at.as_deref() {
            None => self.newest()?,
            Some(text) => match text.parse::<u64>() {
                Ok(seq) => state_at_seq(&self.log, seq, &mut self.snapshots())?,
                Err(_) => state_at_time(&self.log, moment("at", text)?, &mut self.snapshots())?,
            },
        };
        let Some(state) = state else {
            return fail(format!(
                "there is no poll at or before {}; the log begins later",
                q.at.as_deref().unwrap_or("now")
            ));
        };
        if let Some(name) = &q.switch
            && state.switch(name).is_none()
        {
            let known: Vec<&str> = state.switches().map(|s| s.0).collect();
            return fail(format!(
                "switch {name:?} is not in the scope of poll {}; it has {known:?}",
                state.seq
            ));
        }
        let switches: serde_json::Map<String, Value> = state
            .switches()
            .filter(|(name, ..)| q.switch.as_deref().is_none_or(|s| s == *name))
            .map(|(name, source, observed)| {
                let v = json!({
                    "reader": source.reader,
                    "identity": source.identity,
                    "failure": source.failure,
                    "error": source.error,
                    "read": state.switch_window(name),
                    "state": observed.map(|o| &**o),
                });
                (name.to_owned(), v)
            })
            .collect();
        let manager = state.manager();
        Ok(json!({
            "poll": state.seq,
            "started": state.started(),
            "ended": state.ended(),
            "version": state.poll.version,
            "scope": state.parsed.snapshot.scope_seq,
            "manager": {
                "reader": manager.reader, "failure": manager.failure, "error": manager.error,
                "read": state.manager_window(),
            },
            "declared": state.declared(),
            "switches": switches,
            "moving": state.moving(),
            "verdicts": state.judge_all().into_iter().map(|(n, s)| (n, json!(s.verdict))).collect::<serde_json::Map<_, _>>(),
        }))
    }

    /// An attestation with its evidence.
    pub(crate) fn attest(&self, wish: &Wish) -> Result<Made, Failure> {
        let signer = match &self.signer {
            Some(s) => s.clone(),
            None => Arc::new(crate::keys::load(&self.key, self.log.origin())?),
        };
        // What a retired key signs is nobody's word any more; whoever checks it would say so, and call it forged.
        if self.log.keys().last().is_some_and(|(_, key)| key != signer.verifier()) {
            return fail(format!(
                "{} holds the key {}, which does not sign this log any more: a rotation was interrupted, or this is \
                 another copy of the key. `isoledger key rotate` finishes what was begun",
                self.key.display(),
                signer.verifier()
            ));
        }
        let request = attest::Request {
            network: wish.network.clone(),
            project: wish.project.clone(),
            from: wish.from.as_deref().map(|t| moment("from", t)).transpose()?,
            to: wish.to.as_deref().map(|t| moment("to", t)).transpose()?,
            nonce: wish.nonce.clone(),
            max_gap: self.max_gap,
            auditors: self.witnesses.as_ref().map(|w| w.auditors()).unwrap_or_default(),
            issued: self.now(),
        };
        let open = |seq| {
            let state = PollState::of(&self.log, seq, &mut self.snapshots())
                .map_err(|e| AttestError::State { seq, reason: e.to_string() })?;
            Ok(Opened { slots: state.parsed.slots.clone(), assembly: Arc::new(state.assembly()) })
        };
        Ok(attest::attest(&self.log, &signer, &request, open)?)
    }
}

/// A poll, for whoever asked for it.
pub(crate) fn polled(p: &Polled) -> Value {
    let verdicts: serde_json::Map<String, Value> =
        p.view.judged.iter().map(|(n, j)| (n.clone(), json!(j.verdict))).collect();
    json!({
        "poll": p.seq,
        "started": p.started,
        "ended": p.ended,
        "verdicts": verdicts,
        "failures": p.failures.iter().map(|(s, e)| json!({ "source": s, "error": e })).collect::<Vec<_>>(),
        "recordingMs": p.recording.as_secs_f64() * 1000.0,
    })
}
