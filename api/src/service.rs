//! The service: polls at its period and when asked, and serves what is known.

use crate::answers::Answers;
use crate::app;
use crate::config::Config;
use crate::engine::{Engine, PollError, Polled};
use crate::failure::{Ending, Failure, fail};
use crate::http::{self, Inner, Shared};
use crate::log::Log;
use crate::render;
use isoledger_collectors::Stopwatch;
use isoledger_core::note::NoteSigner;
use isoledger_core::{Digest, Span};
use isoledger_ledger::layout;
use isoledger_ledger::lock::{DirLock, LockError};
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot, watch};

/// Polls on demand that may wait; one more is refused.
const WAITING_POLLS: usize = 8;
/// How long requests under way may take once the service was told to stop.
const DRAIN: Duration = Duration::from_secs(5);

/// Polls and serves until Ctrl-C or SIGTERM.
pub(crate) async fn run(config: &Config, as_json: bool) -> Result<Ending, Failure> {
    let token = token(config)?;
    // The port first: a service that cannot be asked has no business writing.
    let listener = listen(config.http.listen).await?;
    let clock = app::clock()?;
    let (engine, signer) = app::engine(config, clock.clone())?;
    let service = Service { engine, signer, clock, max_gap: config.poll.max_gap, key: config.key(), token };
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

/// Binds, or says who should let go.
pub(crate) async fn listen(at: SocketAddr) -> Result<TcpListener, Failure> {
    TcpListener::bind(at).await.map_err(|e| match e.kind() {
        std::io::ErrorKind::AddrInUse => Failure(format!(
            "http.listen is {at}, and another program listens there; stop it or choose another port"
        )),
        _ => Failure(format!("http.listen is {at}: {e}")),
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
        );
        let shared = Shared(Arc::new(Inner { log: view, answers, polls: asks, token: self.token }));
        let (tell, told) = watch::channel(false);
        let mut drained = told.clone();
        let server = tokio::spawn(async move {
            axum::serve(listener, http::router(shared))
                .with_graceful_shutdown(async move {
                    let _ = drained.wait_for(|stop| *stop).await;
                })
                .await
        });
        let mut polling = tokio::spawn(poll_loop(self.engine, period, asked, told));
        let ended = tokio::select! {
            () = stop => None,
            ended = &mut polling => Some(ended),
        };
        // Receivers live until both tasks are done, so this reaches them.
        let _ = tell.send(true);
        let ended = match ended {
            Some(e) => e,
            None => polling.await,
        };
        match tokio::time::timeout(DRAIN, server).await {
            Ok(Ok(served)) => served?,
            Ok(Err(e)) => return fail(format!("the HTTP server stopped: {e}")),
            Err(_) => tracing::warn!("requests were still under way and were cut off"),
        }
        match ended {
            Ok(Ok(engine)) => Ok(engine),
            Ok(Err(e)) => Err(e.into()),
            Err(e) => fail(format!("the poll loop stopped: {e}")),
        }
    }
}

async fn poll_loop(
    mut engine: Engine,
    period: Option<Duration>,
    mut asked: mpsc::Receiver<oneshot::Sender<Result<Polled, String>>>,
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
