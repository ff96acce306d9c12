//! From a configuration to an engine: key, ledger, scope, and what the last poll left.

use crate::config::{Config, Manager};
use crate::engine::{Engine, Pace};
use crate::failure::{Failure, fail};
use crate::scopefile;
use crate::sources::{self, Sources};
use crate::witnesses::{Floor, Witnesses};
use crate::{answers, keys, log};
use isoledger_collectors::{Clock, Stopwatch, declared_file};
use isoledger_core::Digest;
use isoledger_core::model::Scope;
use isoledger_core::note::NoteSigner;
use isoledger_core::record::Body;
use isoledger_ledger::log::{IndexState, Ledger, OpenError, OpenOptions, OpenReport};
use isoledger_ledger::read::ReadLog;
use isoledger_ledger::recorder::{EvidenceBytes, InForce, Recorder, Resume, View};
use isoledger_ledger::state::{PollState, Snapshots, poll_at_seq};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// The clock of this process: the system's, followed by the monotonic one.
pub(crate) fn clock() -> Result<Arc<Stopwatch>, Failure> {
    match Stopwatch::from_system() {
        Some(clock) => Ok(Arc::new(clock)),
        None => fail("the system clock shows a time before 1970 or after 9999; set it"),
    }
}

fn duration(span: isoledger_core::Span) -> Duration {
    Duration::from_millis(span.millis())
}

/// The pace the configuration asks for.
fn pace(config: &Config) -> Pace {
    let manager = config.manager.pace();
    Pace {
        deadline: duration(config.poll.deadline),
        settle: duration(config.poll.settle),
        parallel: config.poll.parallel,
        crawl_period: duration(manager.period),
        crawl_deadline: duration(manager.deadline),
        duty: manager.duty,
    }
}

/// The scope file, checked against the configured switches.
pub(crate) fn scope(config: &Config) -> Result<Scope, Failure> {
    let declared = match &config.manager {
        Manager::DeclaredFile(keys) => {
            let path = config.at(&keys.path);
            let exits = declared_file::exits_of(&path).map_err(|e| Failure(format!("manager.path: {e}")))?;
            Some((path, exits))
        }
        Manager::Hil(_) | Manager::HilDatabase(_) => None,
    };
    let declared = declared.as_ref().map(|(path, exits)| (path.as_path(), exits.clone()));
    let configured = config.switches.keys().cloned().collect();
    scopefile::load(&config.scope(), &config.log.domain, &configured, declared)
}

/// Opens the log for writing, or begins it.
///
/// `floor` is what witnesses have seen, from [`Witnesses::floor`]; a shorter log is an older copy.
pub(crate) fn ledger(
    config: &Config,
    clock: &Stopwatch,
    floor: Floor,
) -> Result<(Ledger, Arc<NoteSigner>), Failure> {
    let mut signer = Arc::new(keys::load(&config.key(), &config.log.origin)?);
    let dir = config.data();
    let open = |signer: &Arc<NoteSigner>| {
        let mut progress = |p| tracing::info!("opening the log: {p:?}");
        let Floor { size: at_least, agreed } = floor;
        let usual = OpenOptions::at(clock.now());
        let options = OpenOptions { at_least, agreed, progress: Some(&mut progress), ..usual };
        Ledger::open(&dir, signer.clone(), options)
    };
    let mut opened = open(&signer);
    if let Err(OpenError::WrongKey { wanted, .. }) = &opened
        && let Some(next) = keys::take_over(&config.key(), &config.log.origin, wanted)?
    {
        tracing::warn!(key = %wanted, "the log was given another key and its file had not taken its place; it has now");
        signer = Arc::new(next);
        opened = open(&signer);
    }
    let begun = config.key().with_extension("begun");
    match opened {
        Ok((ledger, report)) => {
            tell(&report);
            mark(&begun, &ledger)?;
            Ok((ledger, signer))
        }
        // A disk that is not mounted looks like a log that never was. One key must not sign two beginnings.
        Err(OpenError::Missing { .. }) if begun.exists() => fail(format!(
            "{} says that this key has begun a log, and {} holds none: mount its disk or restore a copy. A new log \
             needs a new origin and a new key",
            begun.display(),
            dir.display()
        )),
        Err(OpenError::Missing { .. } | OpenError::Unfinished { .. }) => {
            let ledger =
                Ledger::create(&dir, &config.log.origin, &config.log.domain, signer.clone(), clock.now())?;
            mark(&begun, &ledger)?;
            tracing::info!(dir = %dir.display(), "began a new log");
            Ok((ledger, signer))
        }
        Err(e) => Err(e.into()),
    }
}

// Notes beside the key that it has begun a log, and which.
fn mark(path: &Path, ledger: &Ledger) -> Result<(), Failure> {
    let line = format!("{} {}\n", ledger.origin(), Digest::of(&ledger.entry(0)?));
    match std::fs::read_to_string(path) {
        Ok(text) if text == line => Ok(()),
        Ok(text) => fail(format!(
            "{} says that this key has begun the log {:?}, and the one found is {:?}; restore the right one",
            path.display(),
            text.trim_end(),
            line.trim_end()
        )),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
            keys::write_secret(path, line.as_bytes()).map_err(|e| Failure(format!("{}: {e}", path.display())))
        }
        Err(e) => fail(format!("{}: {e}", path.display())),
    }
}

fn tell(report: &OpenReport) {
    match &report.index {
        IndexState::Whole => {}
        IndexState::Replayed { entries } => {
            tracing::info!(entries, "the index was behind the journal; caught up")
        }
        other => tracing::warn!(?other, "the index was not usable and was built again from the journal"),
    }
    if report.unacknowledged > 0 {
        tracing::warn!(entries = report.unacknowledged, "found entries nobody was told of; they are kept");
    }
    if let Some(seq) = report.recovered {
        tracing::warn!(seq, "the journal had a torn tail; it was cut off and that is recorded");
    }
    if let Some(seq) = report.restored {
        tracing::warn!(seq, "the log was restored and goes on; that is recorded");
    }
}

/// An engine that continues where the log ends, with the scope file in force. The witnesses are asked first.
pub(crate) async fn engine(
    config: &Config,
    clock: Arc<Stopwatch>,
    witnesses: &Arc<Witnesses>,
) -> Result<(Engine, Arc<NoteSigner>), Failure> {
    // Everything that can be wrong is looked at before the log is touched: nothing half-written.
    let scope = Arc::new(scope(config)?);
    let sources: Sources = sources::sources(config)?;
    let floor = witnesses.floor().await?;
    let (ledger, signer) = ledger(config, &clock, floor)?;
    let view = ledger.view();
    let size = view.size()?;
    let mut cache = Snapshots::with_capacity(1);
    let state = match poll_at_seq(&view, size.saturating_sub(1))? {
        Some(seq) => Some(PollState::of(&view, seq, &mut cache)?),
        None => None,
    };
    // The scope in force: a newer one than the last poll's, or the last poll's.
    let mut recorded = state.as_ref().map(|s| (s.parsed.snapshot.scope_seq, s.parsed.scope.clone()));
    for seq in (state.as_ref().map_or(0, |s| s.seq + 1)..size).rev() {
        if let (Body::ScopeChanged { .. }, Some(opening)) = (view.record(seq)?.body, view.opening(seq)?) {
            let bytes = view.content(&opening.digest)?;
            recorded = Some((seq, Arc::new(serde_json::from_slice(&bytes)?)));
            break;
        }
    }
    let mut in_force = None;
    let resume = match &state {
        None => None,
        Some(state) => {
            // What another reader made of the evidence is not what this one would.
            let same = state.manager().reader == sources.manager.reader();
            if let (Some(digest), true) = (state.manager().evidence, same) {
                in_force = Some(InForce {
                    declared: state.parsed.declared.clone(),
                    evidence: EvidenceBytes::new(ledger.content(&digest)?),
                    window: state.manager_window(),
                });
            }
            Some(Resume {
                version: state.poll.version,
                root: state.poll.root,
                snapshot_digest: state.parsed.digest,
                snapshot: state.parsed.snapshot.clone(),
                slots: state.parsed.slots.clone(),
                view: Arc::new(View::new(state.assembly())?),
            })
        }
    };
    let (scope_seq, known) = recorded.clone().unwrap_or_default();
    let recorder = Recorder::new(&config.log.origin, known, scope_seq, resume, &mut keys::entropy);
    let mut engine = Engine::new(ledger, recorder, sources, pace(config), clock, in_force);
    if recorded.is_none_or(|(_, s)| *s != *scope) {
        let seq = engine.set_scope(scope)?;
        tracing::info!(seq, "recorded the scope");
    }
    Ok((engine, signer))
}

/// Answers from the log's journal, beside whoever writes it.
pub(crate) fn answers(config: &Config) -> Result<answers::Answers, Failure> {
    let log = log::Log::open(&config.data())?;
    let answers = answers::Answers::new(log, config.poll.max_gap, clock()?, None, config.key());
    Ok(answers.watched_by(Witnesses::new(config)?))
}
