//! The service's HTTP face: the public log, and `/v1` behind its token.
//!
//! Handlers parse, call and render. The log endpoints follow C2SP tlog-tiles; everything confidential is under `/v1`.

use crate::answers;
use crate::engine::Polled;
use crate::failure::Failure;
use axum::extract::{Path, Query, Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use isoledger_core::Digest;
use isoledger_core::tiles::TilePath;
use isoledger_ledger::log::View as LogView;
use isoledger_ledger::read::{ReadError, ReadLog};
use serde::Deserialize;
use serde_json::{Value, json};
use std::sync::Arc;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, oneshot};

/// What handlers share.
#[derive(Clone)]
pub(crate) struct Shared(pub(crate) Arc<Inner>);

pub(crate) struct Inner {
    pub(crate) log: LogView,
    pub(crate) answers: answers::Answers,
    /// Asks the poll loop for a poll. Bounded: a full queue is an answer too.
    pub(crate) polls: mpsc::Sender<oneshot::Sender<Result<Polled, String>>>,
    /// BLAKE3 of the token, never the token.
    pub(crate) token: Option<Digest>,
}

/// The routes.
pub(crate) fn router(shared: Shared) -> Router {
    let v1 = Router::new()
        .route("/networks", get(networks))
        .route("/networks/{network}", get(network))
        .route("/networks/{network}/attestation", get(attestation))
        .route("/verdicts", get(networks))
        .route("/divergences", get(divergences))
        .route("/state", get(state))
        .route("/polls", post(poll))
        .layer(middleware::from_fn_with_state(shared.clone(), authorise));
    Router::new()
        .route("/", get(index))
        .route("/healthz", get(health))
        .route("/checkpoint", get(checkpoint))
        .route("/tile/{*path}", get(tile))
        .nest("/v1", v1)
        .with_state(shared)
}

/// RFC 9457.
fn problem(status: StatusCode, title: &str, detail: impl Into<String>) -> Response {
    let body = json!({ "title": title, "status": status.as_u16(), "detail": detail.into() });
    (status, [(header::CONTENT_TYPE, "application/problem+json")], body.to_string()).into_response()
}

async fn authorise(State(s): State<Shared>, request: Request, next: Next) -> Response {
    if let Some(wanted) = s.0.token {
        let given = request
            .headers()
            .get(header::AUTHORIZATION)
            .and_then(|v| v.to_str().ok())
            .and_then(|v| v.strip_prefix("Bearer "))
            .map(|t| Digest::of(t.as_bytes()));
        // Digests are compared: how long that takes says nothing about the token.
        if given != Some(wanted) {
            let detail = "send the token of http.token-file as: Authorization: Bearer TOKEN";
            return problem(StatusCode::UNAUTHORIZED, "no or wrong token", detail);
        }
    } else if !from_here(&request) {
        let detail =
            "without a token only programs of this host are answered, and no web page: set http.token-file";
        return problem(StatusCode::FORBIDDEN, "not from here", detail);
    }
    let mut response = next.run(request).await;
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

// Whether a request names this host as it names itself, and comes from no web page: a page of a stranger could
// otherwise ask in its reader's place, under a name that it lets point here.
fn from_here(request: &Request) -> bool {
    let host = request.headers().get(header::HOST).and_then(|h| h.to_str().ok()).unwrap_or("");
    let name = host
        .rsplit_once(':')
        .map_or(host, |(name, port)| if port.bytes().all(|b| b.is_ascii_digit()) { name } else { host });
    let name = name.trim_start_matches('[').trim_end_matches(']');
    let here = name == "localhost" || name.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback());
    here && !request.headers().contains_key(header::ORIGIN)
}

async fn index() -> Response {
    let text = "Isoledger: an independent, read-only audit of network isolation.\n\n\
        /checkpoint                            the log's signed head (C2SP tlog-checkpoint)\n\
        /tile/<L>/<N>[.p/<W>]                  its tiles (C2SP tlog-tiles)\n\
        /tile/entries/<N>[.p/<W>]              its entries\n\
        /v1/networks                           verdicts now\n\
        /v1/networks/{network}                 one network\n\
        /v1/networks/{network}/attestation     ?from=&to=&nonce=&project=\n\
        /v1/divergences                        ?open=true&network=&switch=&since=\n\
        /v1/state                              ?at=&switch=\n\
        POST /v1/polls                         a poll now\n\
        /healthz                               whether polls are on time\n";
    ([(header::CONTENT_TYPE, "text/plain; charset=utf-8")], text).into_response()
}

async fn checkpoint(State(s): State<Shared>) -> Response {
    match s.0.log.published() {
        Ok(p) => (
            [(header::CONTENT_TYPE, "text/plain; charset=utf-8"), (header::CACHE_CONTROL, "no-cache")],
            p.checkpoint.as_bytes().to_vec(),
        )
            .into_response(),
        Err(e) => broken(&e),
    }
}

async fn tile(State(s): State<Shared>, Path(path): Path<String>) -> Response {
    let gone = || problem(StatusCode::NOT_FOUND, "no such tile", "the log has no tile at this path");
    let Ok(path) = TilePath::parse(&format!("tile/{path}")) else { return gone() };
    let log = s.0.log.clone();
    match blocking(move || log.tile(&path)).await {
        Ok(Ok(bytes)) => (
            [
                (header::CONTENT_TYPE, "application/octet-stream"),
                (header::CACHE_CONTROL, "public, max-age=31536000, immutable"),
            ],
            bytes,
        )
            .into_response(),
        Ok(Err(ReadError::NoTile { .. })) => gone(),
        Ok(Err(e)) => broken(&e),
        Err(e) => broken(&e),
    }
}

fn broken(e: &dyn std::fmt::Display) -> Response {
    // What is wrong inside is for the operator's log, not for strangers.
    tracing::error!(error = %e, "a request could not be answered");
    let detail = "the service could not answer; its log says why";
    problem(StatusCode::INTERNAL_SERVER_ERROR, "the service is in trouble", detail)
}

async fn blocking<T: Send + 'static>(
    f: impl FnOnce() -> T + Send + 'static,
) -> Result<T, tokio::task::JoinError> {
    tokio::task::spawn_blocking(f).await
}

async fn health(State(s): State<Shared>) -> Response {
    let health = s.0.answers.health();
    let status = if health.ok { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(health.to_json())).into_response()
}

async fn networks(State(s): State<Shared>) -> Response {
    match blocking(move || s.0.answers.network_rows()).await {
        Ok(Ok(rows)) => Json(json!({ "networks": rows })).into_response(),
        Ok(Err(Failure(e))) => broken(&e),
        Err(e) => broken(&e),
    }
}

async fn network(State(s): State<Shared>, Path(name): Path<String>) -> Response {
    match blocking(move || s.0.answers.network(&name)).await {
        Err(e) => broken(&e),
        Ok(Err(Failure(e))) => broken(&e),
        Ok(Ok(Some(v))) => Json(v).into_response(),
        Ok(Ok(None)) => {
            problem(StatusCode::NOT_FOUND, "no such network", "no poll knows a network of this name")
        }
    }
}

fn answer(result: Result<Result<Value, Failure>, tokio::task::JoinError>) -> Response {
    match result {
        Ok(Ok(v)) => Json(v).into_response(),
        Ok(Err(Failure(e))) => problem(StatusCode::BAD_REQUEST, "the question cannot be answered", e),
        Err(e) => broken(&e),
    }
}

async fn divergences(State(s): State<Shared>, Query(q): Query<answers::DivergenceQuery>) -> Response {
    answer(blocking(move || s.0.answers.divergences(&q)).await)
}

async fn state(State(s): State<Shared>, Query(q): Query<answers::StateQuery>) -> Response {
    answer(blocking(move || s.0.answers.state(&q)).await)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AttestationQuery {
    from: Option<String>,
    to: Option<String>,
    nonce: Option<String>,
    project: Option<String>,
}

async fn attestation(
    State(s): State<Shared>,
    Path(network): Path<String>,
    Query(q): Query<AttestationQuery>,
) -> Response {
    let wish = answers::Wish { network, project: q.project, from: q.from, to: q.to, nonce: q.nonce };
    let made = blocking(move || {
        let made = s.0.answers.attest(&wish)?;
        let caveat = s.0.answers.caveat();
        Ok(json!({ "attestation": made.attestation, "evidence": made.evidence, "caveat": caveat }))
    });
    answer(made.await)
}

async fn poll(State(s): State<Shared>) -> Response {
    let (done, result) = oneshot::channel();
    match s.0.polls.try_send(done) {
        Ok(()) => {}
        Err(TrySendError::Full(_)) => {
            let detail =
                "as many polls on demand as are allowed are waiting already; ask again when they are done";
            return problem(StatusCode::TOO_MANY_REQUESTS, "too many polls", detail);
        }
        Err(TrySendError::Closed(_)) => {
            let detail = "the service no longer polls; its log says why";
            return problem(StatusCode::SERVICE_UNAVAILABLE, "no polls any more", detail);
        }
    }
    match result.await {
        Ok(Ok(polled)) => Json(answers::polled(&polled)).into_response(),
        Ok(Err(e)) => broken(&e),
        Err(_) => broken(&"the poll loop is gone"),
    }
}
