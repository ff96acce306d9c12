//! A witness over HTTP: cosigns checkpoints of the logs on its list, as C2SP tlog-witness says.
//!
//! # In scope
//! - `POST /add-checkpoint`; `GET /<hex SHA-256 of the origin>/checkpoint`, what it cosigned last, for monitors; `GET /`,
//!   its key.
//! - The list of logs, read again whenever the file changes.
//!
//! # Out of scope
//! The rules, which are core's, and the memory, which is the ledger's. TLS and slow senders in numbers: a proxy's.
//!
//! # Trust
//! Everybody may ask. What costs anything is bounded: bytes before they are kept, requests at once, the time a body may
//! take. A log that is not on the list leaves no trace.

use crate::failure::Failure;
use axum::Router;
use axum::body::to_bytes;
use axum::extract::{Path, Request, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use isoledger_collectors::{Clock as _, Stopwatch};
use isoledger_core::hash::parse_hex32;
use isoledger_core::note::VerifierKey;
use isoledger_core::witness::{AddCheckpoint, ListError, LogList, MAX_LIST, MAX_REQUEST, Refusal};
use isoledger_ledger::witness::{AddError, Witness};
use std::io::Read as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

/// Requests to cosign that may be under way; one more is told to come later.
const AT_ONCE: usize = 64;
/// How long a request's body may take.
const BODY: Duration = Duration::from_secs(10);

/// Why the list cannot be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ListFileError {
    #[error("{}: {source}; it holds a line `log <vkey>` for each log to watch", path.display())]
    Io { path: PathBuf, source: std::io::Error },
    #[error("{}: {source}", path.display())]
    List { path: PathBuf, source: ListError },
}

/// What tells one state of a file from another: when it changed, its size, and which file it is.
type Stamp = (i64, i64, u64, u64);

/// The list of logs, as its file says now.
struct ListFile {
    path: PathBuf,
    now: Mutex<(Option<Stamp>, Arc<LogList>)>,
}

impl ListFile {
    fn open(path: PathBuf) -> Result<ListFile, ListFileError> {
        let (stamp, list) = read(&path)?;
        Ok(ListFile { path, now: Mutex::new((Some(stamp), Arc::new(list))) })
    }

    /// The list, read again if the file has changed. One that cannot be read leaves the last good one in force: a
    /// mistyped line must not take every log off.
    fn list(&self) -> Arc<LogList> {
        let mut now = self.now.lock().unwrap_or_else(PoisonError::into_inner);
        let stamp = std::fs::metadata(&self.path).ok().map(|m| stamp(&m));
        if stamp != now.0 {
            match read(&self.path) {
                Ok((stamp, list)) => {
                    tracing::info!(logs = list.len(), "the list of logs was read again");
                    *now = (Some(stamp), Arc::new(list));
                }
                Err(e) => {
                    tracing::error!(error = %e, "the list of logs has changed and cannot be read; the one before stays in force");
                    now.0 = stamp;
                }
            }
        }
        now.1.clone()
    }
}

fn stamp(m: &std::fs::Metadata) -> Stamp {
    (m.mtime(), m.mtime_nsec(), m.len(), m.ino())
}

fn read(path: &std::path::Path) -> Result<(Stamp, LogList), ListFileError> {
    let io = |source| ListFileError::Io { path: path.to_owned(), source };
    let file = std::fs::File::open(path).map_err(io)?;
    let stamp = stamp(&file.metadata().map_err(io)?);
    let mut bytes = Vec::new();
    file.take(MAX_LIST as u64 + 1).read_to_end(&mut bytes).map_err(io)?;
    let list =
        LogList::parse(&bytes).map_err(|source| ListFileError::List { path: path.to_owned(), source })?;
    Ok((stamp, list))
}

/// What handlers share.
#[derive(Clone)]
struct Shared(Arc<Inner>);

struct Inner {
    witness: Witness,
    list: ListFile,
    gate: Arc<Semaphore>,
}

/// A witness that can be served.
pub(crate) struct Server(Shared);

impl Server {
    /// With its memory and the file of its list.
    pub(crate) fn new(witness: Witness, list: PathBuf) -> Result<Server, ListFileError> {
        let list = ListFile::open(list)?;
        let gate = Arc::new(Semaphore::new(AT_ONCE));
        Ok(Server(Shared(Arc::new(Inner { witness, list, gate }))))
    }

    /// How many logs are on the list.
    pub(crate) fn logs(&self) -> usize {
        self.0.0.list.list().len()
    }

    /// The witness's key.
    pub(crate) fn key(&self) -> &VerifierKey {
        self.0.0.witness.key()
    }

    /// Serves until `stop`.
    pub(crate) async fn serve(
        self,
        listener: TcpListener,
        stop: impl Future<Output = ()> + Send + 'static,
    ) -> Result<(), Failure> {
        let router = Router::new()
            .route("/", get(index))
            .route("/add-checkpoint", post(add))
            .route("/{origin}/checkpoint", get(latest))
            .with_state(self.0);
        Ok(axum::serve(listener, router).with_graceful_shutdown(stop).await?)
    }
}

fn text(status: StatusCode, body: impl Into<String>) -> Response {
    (status, [(header::CONTENT_TYPE, "text/plain; charset=utf-8")], body.into()).into_response()
}

fn refused(refusal: &Refusal) -> Response {
    let status = StatusCode::from_u16(refusal.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    (status, [(header::CONTENT_TYPE, refusal.content_type())], refusal.body()).into_response()
}

async fn index(State(s): State<Shared>) -> Response {
    let key = s.0.witness.key();
    let page = format!(
        "A witness of transparency logs (C2SP tlog-witness).\n\n\
         {key}\n\n\
         POST /add-checkpoint                                cosigns, for the logs on its list\n\
         GET  /<hex SHA-256 of the origin>/checkpoint        what it cosigned last\n"
    );
    text(StatusCode::OK, page)
}

async fn latest(State(s): State<Shared>, Path(origin): Path<String>) -> Response {
    let found = parse_hex32(&origin).and_then(|_| s.0.witness.latest(&origin));
    match found {
        Some(note) => {
            ([(header::CONTENT_TYPE, "text/plain; charset=utf-8"), (header::CACHE_CONTROL, "no-cache")], note)
                .into_response()
        }
        None => text(StatusCode::NOT_FOUND, "nothing was cosigned for a log of this origin\n"),
    }
}

async fn add(State(s): State<Shared>, request: Request) -> Response {
    let Ok(turn) = s.0.gate.clone().try_acquire_owned() else {
        return text(
            StatusCode::TOO_MANY_REQUESTS,
            "as many requests as are allowed are under way; come later\n",
        );
    };
    let body = match tokio::time::timeout(BODY, to_bytes(request.into_body(), MAX_REQUEST)).await {
        Ok(Ok(body)) => body,
        // The reader's own words: a request may have so many bytes, and a stream may end before its length.
        Ok(Err(e)) => return text(StatusCode::BAD_REQUEST, format!("the request cannot be read: {e}\n")),
        Err(_) => return text(StatusCode::REQUEST_TIMEOUT, "the request took too long\n"),
    };
    let done = tokio::task::spawn_blocking(move || {
        let _turn = turn;
        let request = AddCheckpoint::parse(&body).map_err(Refusal::Malformed)?;
        let list = s.0.list.list();
        let keys = list.keys(&request.checkpoint.head().origin);
        let Some(clock) = Stopwatch::from_system() else { return Ok(None) };
        let line = s.0.witness.add(&request, keys, clock.now())?;
        tracing::info!(
            origin = request.checkpoint.head().origin,
            size = request.checkpoint.head().size,
            "cosigned"
        );
        Ok::<_, AddError>(Some(line.to_string()))
    });
    match done.await {
        Ok(Ok(Some(line))) => text(StatusCode::OK, line),
        Ok(Err(AddError::Refused(refusal))) => {
            tracing::debug!(%refusal, "refused");
            refused(&refusal)
        }
        Ok(Err(e @ AddError::ClockBehind { .. })) => {
            tracing::error!(error = %e, "nothing was cosigned");
            text(StatusCode::SERVICE_UNAVAILABLE, "this witness's clock is not right; come later\n")
        }
        // What is wrong inside is for the operator's log, not for strangers.
        Ok(Err(e)) => {
            tracing::error!(error = %e, "nothing was cosigned");
            text(StatusCode::INTERNAL_SERVER_ERROR, "this witness is in trouble; its log says why\n")
        }
        Ok(Ok(None)) => text(StatusCode::SERVICE_UNAVAILABLE, "this witness has no clock; come later\n"),
        Err(e) => {
            tracing::error!(error = %e, "a request failed; please report this defect");
            text(StatusCode::INTERNAL_SERVER_ERROR, "this witness is in trouble; its log says why\n")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use isoledger_core::note::NoteSigner;

    #[test]
    fn the_list_is_read_again_when_it_changes_and_a_bad_one_is_not_taken() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("logs");
        assert!(matches!(ListFile::open(path.clone()), Err(ListFileError::Io { .. })));
        std::fs::write(&path, "log nobody\n").unwrap();
        assert!(matches!(ListFile::open(path.clone()), Err(ListFileError::List { .. })));
        std::fs::write(&path, "# none yet\n").unwrap();
        let file = ListFile::open(path.clone()).unwrap();
        assert!(file.list().is_empty());
        let key = NoteSigner::new("a.example", &[1; 32]).unwrap().verifier().to_string();
        std::fs::write(&path, format!("log {key}\n")).unwrap();
        assert_eq!(file.list().keys("a.example").len(), 1);
        std::fs::write(&path, "log nobody\n").unwrap();
        assert_eq!(file.list().keys("a.example").len(), 1);
        std::fs::remove_file(&path).unwrap();
        assert_eq!(file.list().keys("a.example").len(), 1);
        std::fs::write(&path, "").unwrap();
        assert!(file.list().is_empty());
    }
}
