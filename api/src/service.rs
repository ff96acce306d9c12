//! The service: polls at its period and when asked, and serves what is known.

use crate::answers::Answers;
use crate::app;
use crate::config::Config;
use crate::engine::{Engine, PollError, Polled};
use crate::failure::{Ending, Failure, fail};
use crate::http::{self, Inner, Shared};
use crate::log::Log;
use crate::render;
use crate::witnesses::{Cosigned, Stop, Witnesses};
use isoledger_collectors::Stopwatch;
use isoledger_core::note::NoteSigner;
use isoledger_core::{Digest, Span};
use isoledger_ledger::layout;
use isoledger_ledger::lock::{DirLock, LockError};
use isoledger_ledger::log::View;
use isoledger_ledger::read::ReadLog as _;
use isoledger_ledger::sequence::AppendError;
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot, watch};

/// Polls on demand that may wait; one more is refused.
const WAITING_POLLS: usize = 8;
/// Cosigned checkpoints that may wait for a poll to end.
const WAITING_CHECKPOINTS: usize = 4;
/// How long requests under way may take once the service was told to stop.
const DRAIN: Duration = Duration::from_secs(5);

/// Polls and serves until Ctrl-C or SIGTERM.
pub(crate) async fn run(config: &Config, as_json: bool) -> Result<Ending, Failure> {
    let token = token(config)?;
    // The port first: a service that cannot be asked has no business writing.
    let listener = listen(config.http.listen).await?;
    let clock = app::clock()?;
    let witnesses = Witnesses::new(config)?;
    let (engine, signer) = app::engine(config, clock.clone(), &witnesses).await?;
    let key = config.key();
    let service = Service { engine, signer, clock, max_gap: config.poll.max_gap, key, token, witnesses };
    let at = listener.local_addr()?;
    let stop = stop_signal();
    if as_json {
        let about = json!({ "serving": format!("http://{at}"), "period": config.poll.period, "pid": std::process::id() });
        render::line(about.to_string());
    } else {
        render::line(format!("isoledger: polling every {}, serving on http://{at}", config.poll.period));
    }
    let period = Duration::from_millis(config.poll.period.millis());
    service.serve(listener, Some(period), stop).await?;
    render::line(if as_json { r#"{"stopped":true}"# } else { "isoledger: stopped" });
    Ok(Ending::Fine)
}

/// Binds where the service serves, or says who should let go.
pub(crate) async fn listen(at: SocketAddr) -> Result<TcpListener, Failure> {
    bind("http.listen", at).await
}

/// Binds, or says who should let go; `what` is the key or option that says where.
pub(crate) async fn bind(what: &str, at: SocketAddr) -> Result<TcpListener, Failure> {
    TcpListener::bind(at).await.map_err(|e| match e.kind() {
        std::io::ErrorKind::AddrInUse => Failure(format!(
            "{what} is {at}, and another program listens there; stop it or choose another port"
        )),
        _ => Failure(format!("{what} is {at}: {e}")),
    })
}

fn token(config: &Config) -> Result<Option<Digest>, Failure> {
    let Some(file) = &config.http.token_file else { return Ok(None) };
    let secret = isoledger_collectors::Secret::from_file(&config.at(file))?;
    if secret.expose().len() < 16 {
        return fail(
            "http.token-file holds a token shorter than 16 characters; make one with: openssl rand -hex 32",
        );
    }
    Ok(Some(Digest::of(secret.expose().as_bytes())))
}

/// Resolves when the process is told to stop. From this call on a signal is remembered, so it is made before anybody is
/// told that the service runs.
pub(crate) fn stop_signal() -> impl Future<Output = ()> + Send + 'static {
    use tokio::signal::unix::{SignalKind, signal};
    // Without a handler the signal ends the process at once, which the journal survives.
    let signals = [SignalKind::interrupt(), SignalKind::terminate()].map(|kind| signal(kind).ok());
    async move {
        let [interrupt, terminate] = signals.map(|signal| async move {
            match signal {
                Some(mut signal) => drop(signal.recv().await),
                None => std::future::pending().await,
            }
        });
        tokio::select! {
            () = interrupt => {}
            () = terminate => {}
        }
    }
}

/// What serves.
pub(crate) struct Service {
    pub(crate) engine: Engine,
    pub(crate) signer: Arc<NoteSigner>,
    pub(crate) clock: Arc<Stopwatch>,
    pub(crate) max_gap: Span,
    pub(crate) key: PathBuf,
    pub(crate) token: Option<Digest>,
    pub(crate) witnesses: Arc<Witnesses>,
}

impl Service {
    /// Polls every `period` (or only on demand) and serves on `listener` until `stop`. A poll under way is finished.
    pub(crate) async fn serve(
        self,
        listener: TcpListener,
        period: Option<Duration>,
        stop: impl Future<Output = ()> + Send + 'static,
    ) -> Result<Engine, Failure> {
        let (asks, asked) = mpsc::channel(WAITING_POLLS);
        let view = self.engine.ledger().view();
        let answers = Answers::new(
            Log::Live(view.clone()),
            self.max_gap,
            self.clock.clone(),
            Some(self.signer),
            self.key,
        )
        .watched_by(self.witnesses.clone());
        let shared = Shared(Arc::new(Inner { log: view.clone(), answers, polls: asks, token: self.token }));
        let (tell, told) = watch::channel(false);
        let mut drained = told.clone();
        let server = tokio::spawn(async move {
            axum::serve(listener, http::router(shared))
                .with_graceful_shutdown(async move {
                    let _ = drained.wait_for(|stop| *stop).await;
                })
                .await
        });
        let (hand, handed) = mpsc::channel(WAITING_CHECKPOINTS);
        let mut watching = tokio::spawn(watch_loop(self.witnesses, view, hand, told.clone()));
        let mut polling = tokio::spawn(poll_loop(self.engine, period, asked, handed, told));
        let mut stopped = None;
        let ended = tokio::select! {
            () = stop => None,
            ended = &mut polling => Some(ended),
            // Another copy of this log has signed more: the poll under way is the last thing that is recorded.
            end = &mut watching => {
                stopped = Some(end);
                None
            }
        };
        // Receivers live until both tasks are done, so this reaches them.
        let _ = tell.send(true);
        let ended = match ended {
            Some(e) => e,
            None => polling.await,
        };
        let stopped = match stopped {
            Some(end) => end,
            None => watching.await,
        };
        match tokio::time::timeout(DRAIN, server).await {
            Ok(Ok(served)) => served?,
            Ok(Err(e)) => return fail(format!("the HTTP server stopped: {e}")),
            Err(_) => tracing::warn!("requests were still under way and were cut off"),
        }
        match stopped {
            Ok(Ok(())) => {}
            Ok(Err(e)) => return Err(e.into()),
            Err(e) => return fail(format!("the witness loop stopped: {e}")),
        }
        match ended {
            Ok(Ok(engine)) => Ok(engine),
            Ok(Err(e)) => Err(e.into()),
            Err(e) => fail(format!("the poll loop stopped: {e}")),
        }
    }
}

// Has the newest checkpoint cosigned at its own period, and takes in what auditors brought.
async fn watch_loop(
    witnesses: Arc<Witnesses>,
    log: View,
    hand: mpsc::Sender<Cosigned>,
    mut stop: watch::Receiver<bool>,
) -> Result<(), Stop> {
    let mut ticks = tokio::time::interval(witnesses.period());
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let rounds = async {
        loop {
            ticks.tick().await;
            let brought = witnesses.inbox(&log.keys());
            for note in brought.into_iter().chain(witnesses.round(&log).await?) {
                // The poll loop is gone only when this is about to be told to stop.
                if hand.send(note).await.is_err() {
                    return std::future::pending().await;
                }
            }
        }
    };
    tokio::select! {
        _ = stop.wait_for(|stop| *stop) => Ok(()),
        end = rounds => end,
    }
}

async fn poll_loop(
    mut engine: Engine,
    period: Option<Duration>,
    mut asked: mpsc::Receiver<oneshot::Sender<Result<Polled, String>>>,
    mut handed: mpsc::Receiver<Cosigned>,
    mut stop: watch::Receiver<bool>,
) -> Result<Engine, PollError> {
    let mut ticks = tokio::time::interval(period.unwrap_or(Duration::from_secs(3600)));
    // A poll that took longer than its period delays the next one; polls never pile up.
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    if period.is_none() {
        ticks.tick().await;
    }
    loop {
        let ask = tokio::select! {
            biased;
            _ = stop.wait_for(|stop| *stop) => return Ok(engine),
            Some(note) = handed.recv() => {
                archive(&mut engine, &note)?;
                continue;
            }
            Some(ask) = asked.recv() => Some(ask),
            _ = ticks.tick(), if period.is_some() => None,
        };
        let asked_for = ask.is_some();
        let polled = engine.poll().await;
        if asked_for {
            // The period runs from the last poll, whoever wanted it.
            ticks.reset();
        }
        match polled {
            Ok(polled) => {
                report(&polled);
                if let Some(ask) = ask {
                    // Whoever asked may have gone.
                    let _ = ask.send(Ok(polled));
                }
            }
            Err(e) => {
                tracing::error!(error = %e, "poll failed");
                let fatal = matches!(&e, PollError::Append(a) if a.is_fatal());
                if let Some(ask) = ask {
                    let _ = ask.send(Err(e.to_string()));
                }
                if fatal {
                    return Err(e);
                }
            }
        }
    }
}

/// Keeps a cosigned checkpoint. One that is not of this log is refused and changes nothing.
pub(crate) fn archive(engine: &mut Engine, note: &Cosigned) -> Result<(), AppendError> {
    match engine.archive(&note.note) {
        Err(e) if e.is_fatal() => Err(e),
        done => {
            if let Err(e) = &done {
                tracing::error!(error = %e, "a cosigned checkpoint was not kept");
            }
            note.done(done.map_err(|e| e.to_string()));
            Ok(())
        }
    }
}

fn report(polled: &Polled) {
    for (source, error) in &polled.failures {
        tracing::warn!(%source, %error, "not read");
    }
    let violated =
        polled.view.judged.iter().filter(|(_, j)| j.verdict == isoledger_core::judge::Verdict::Violated);
    for (network, _) in violated {
        tracing::warn!(%network, poll = polled.seq, "violated");
    }
    tracing::info!(poll = polled.seq, recording = ?polled.recording, "recorded");
}

/// Whether another process writes the configured log.
pub(crate) fn is_running(config: &Config) -> bool {
    let path = layout::lock(&config.data());
    path.exists() && matches!(DirLock::take(&path), Err(LockError::Held { .. }))
}

/// Asks the running service for a poll.
pub(crate) async fn ask_poll(config: &Config) -> Result<Value, Failure> {
    let url = format!("http://{}/v1/polls", config.http.listen);
    let client = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(600)).build()?;
    let mut request = client.post(&url);
    if let Some(file) = &config.http.token_file {
        request = request.bearer_auth(isoledger_collectors::Secret::from_file(&config.at(file))?.expose());
    }
    let unreachable = |e: reqwest::Error| {
        Failure(format!(
            "another isoledger writes this log, and asking it at {url} failed: {e}. Is http.listen what it was started with?"
        ))
    };
    let response = request.send().await.map_err(unreachable)?;
    let status = response.status();
    let body: Value = response.json().await.map_err(unreachable)?;
    if !status.is_success() {
        let detail = body["detail"].as_str().unwrap_or("no reason given");
        return fail(format!("the service at {url} refused the poll ({status}): {detail}"));
    }
    Ok(body)
}
