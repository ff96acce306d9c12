//! Asking over HTTP: one client for everything that is read by it, cloud managers and switches alike.
//!
//! # In scope
//! - [`WebTarget`], where a switch is asked and as whom, and the checks of its URL and account ([`WebError`]).
//! - The client: requests within their own time and the caller's deadline, connections kept for the next poll, few
//!   requests at once per server, bodies capped, what went wrong as a [`Failure`] and a sentence.
//!
//! # Out of scope
//! What is asked: every path and body is a constant of its dialect. Nothing is followed, neither redirects nor links
//! in answers, and no proxy of the environment is used: each would carry the credentials to another place.
//!
//! # Trust
//! Certificates are always verified. Credentials are in requests only; no answer, error or `Debug` form repeats them.

use crate::source::SourceError;
use crate::{Exchange, Secret};
use isoledger_core::model::Failure;
use reqwest::tls::TlsInfo;
use reqwest::{Certificate, Client, Response, Url, header};
use sha2::{Digest, Sha256};
use std::error::Error as _;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

/// How often a request is sent whose connection failed.
const TRIES: u32 = 3;
/// Before the second try; twice that before the third. Long enough for a web server to be restarted.
const PAUSE: Duration = Duration::from_millis(250);
/// The most requests in flight to one server. The web servers of switches run on small control processors; a few at
/// once hide the way there and back, more would only queue there.
const IN_FLIGHT: usize = 4;

const SILENT: &str = "[silent] ";
const UNREADABLE: &str = "[unreadable] ";
const SOURCE_CHANGED: &str = "[source changed] ";

/// A server that is asked over HTTP, and the account it is asked as.
#[derive(Clone, Debug)]
pub struct WebTarget {
    /// Scheme, host and port, and a path prefix where there is one: `https://switch.example:8888`.
    pub url: String,
    /// The account for HTTP Basic; `None` sends no credentials.
    pub user: Option<(String, Secret)>,
    /// Certificate authorities that may vouch for the server, PEM; none means the system's.
    pub ca: Option<Vec<u8>>,
    /// Whether plain `http://` may be used to another host than this one.
    pub allow_plain_http: bool,
    /// The longest that one request may take.
    pub request_timeout: Duration,
}

/// Why a server cannot be asked as configured. No credential is ever repeated.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WebError {
    /// Not an absolute HTTP URL.
    #[error("`url` is not an http:// or https:// URL with a host: {why}")]
    Url {
        /// What is wrong with it.
        why: String,
    },
    /// `https://user:password@…`
    #[error(
        "`url` holds credentials, which would end up in evidence and logs: use `user` and `password_file`"
    )]
    CredentialsInUrl,
    /// A query or fragment.
    #[error("`url` has a query or a fragment; only a scheme, a host, a port and a path prefix are allowed")]
    NotABase,
    /// Plain HTTP to another host.
    #[error(
        "`url` is plain http to {host}, where everybody on the way could read the administrator's password and alter \
         answers: use https, or set `allow_plain_http = true` if the way is trusted"
    )]
    PlainHttp {
        /// The host.
        host: String,
    },
    /// A name that HTTP Basic cannot carry.
    #[error("`user` is empty or holds a colon or a control character, which HTTP Basic cannot carry")]
    User,
    /// Not PEM.
    #[error("the certificate authorities for {who} are not PEM certificates: {why}")]
    Ca {
        /// Whom they should vouch for.
        who: &'static str,
        /// What is wrong with them.
        why: String,
    },
    /// The TLS library found nothing to verify with.
    #[error("HTTPS cannot be set up: {why}")]
    Tls {
        /// What is missing.
        why: String,
    },
}

impl From<WebError> for SourceError {
    fn from(error: WebError) -> SourceError {
        SourceError::unreadable(error.to_string())
    }
}

/// How one kind of server is asked, beyond its address.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Manners {
    /// Who is asked, in the middle of a sentence: `HIL`, `the switch`.
    pub(crate) who: &'static str,
    /// Whose deadline ends everything: `the crawl's`, `the reading's`.
    pub(crate) whose: &'static str,
    /// What the paths begin with and the configured URL may end with.
    pub(crate) stem: &'static str,
    /// The largest body read, in bytes.
    pub(crate) max_body: usize,
    /// What every request says it accepts.
    pub(crate) accept: &'static str,
}

/// One request. There is no body to choose: either nothing is sent along, or a command that a Dell OS9 switch puts
/// behind the word `show`. So nothing that is built on this client can write.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Request {
    /// The path and query, percent-encoded, as they go on the wire.
    pub(crate) path: String,
    /// A further header.
    pub(crate) header: Option<(&'static str, &'static str)>,
    /// The show command to send by POST, without the word; `None` sends a GET.
    pub(crate) show: Option<&'static str>,
}

impl Request {
    /// As evidence tells it: everything that varies, without the credentials.
    pub(crate) fn asked(&self) -> String {
        match self.show {
            None => format!("GET {}", self.path),
            Some(command) => format!("POST {} {}", self.path, input(command)),
        }
    }
}

/// The body that has a show command run.
fn input(show: &str) -> String {
    format!("<input><show-command>{show}</show-command></input>")
}

/// A status and a body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Answered {
    pub(crate) status: u16,
    pub(crate) body: Vec<u8>,
}

/// A question that got no HTTP answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Unanswered {
    pub(crate) failure: Failure,
    /// Without the address of the other side, ports, or times: it enters the evidence.
    pub(crate) why: String,
}

impl Unanswered {
    /// As evidence tells it, so that evidence alone says how its reading failed.
    pub(crate) fn told(&self) -> String {
        let mark = match self.failure {
            Failure::Silent => SILENT,
            Failure::SourceChanged => SOURCE_CHANGED,
            Failure::Unreadable | Failure::Unaudited => UNREADABLE,
        };
        format!("{mark}{}", self.why)
    }

    /// The inverse of [`Unanswered::told`].
    pub(crate) fn from_told(answer: &[u8]) -> Unanswered {
        let text = String::from_utf8_lossy(answer);
        let known = [
            (SILENT, Failure::Silent),
            (UNREADABLE, Failure::Unreadable),
            (SOURCE_CHANGED, Failure::SourceChanged),
        ];
        let (failure, why) = known
            .into_iter()
            .find_map(|(mark, failure)| Some((failure, text.strip_prefix(mark)?)))
            .unwrap_or((Failure::Unreadable, &text));
        Unanswered { failure, why: why.to_owned() }
    }
}

/// The client of one server. Clones share its connections and its count.
#[derive(Clone, Debug)]
pub(crate) struct Web(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    client: Client,
    /// Without a slash at its end.
    base: String,
    user: Option<(String, Secret)>,
    request_timeout: Duration,
    manners: Manners,
    slots: Semaphore,
    /// The certificate of the last answer.
    identity: Mutex<Option<String>>,
    sent: AtomicU64,
}

impl Web {
    pub(crate) fn new(target: &WebTarget, manners: Manners) -> Result<Web, WebError> {
        let base = base(target, manners.stem)?;
        if let Some((user, _)) = &target.user
            && (user.is_empty() || user.contains(|c: char| c == ':' || c.is_control()))
        {
            return Err(WebError::User);
        }
        // The binary installs it first thing; a second installation is refused and changes nothing.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut client = Client::builder()
            .user_agent(concat!("isoledger/", env!("CARGO_PKG_VERSION")))
            // A redirect or a proxy from the environment would carry the credentials to another place.
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .retry(reqwest::retry::never())
            .http1_only()
            .pool_max_idle_per_host(IN_FLIGHT)
            .tls_info(true);
        match &target.ca {
            Some(pem) => {
                let ca = |why: String| WebError::Ca { who: manners.who, why };
                let roots = Certificate::from_pem_bundle(pem).map_err(|e| ca(chain(e)))?;
                if roots.is_empty() {
                    return Err(ca("the file holds no certificate".into()));
                }
                client = client.tls_certs_only(roots);
            }
            // No roots are needed for plain HTTP, and a system that has none must not stop it.
            None if base.scheme() == "http" => client = client.tls_certs_only([]),
            None => {}
        }
        Ok(Web(Arc::new(Inner {
            client: client.build().map_err(|e| WebError::Tls { why: chain(e) })?,
            base: base.as_str().trim_end_matches('/').to_owned(),
            user: target.user.clone(),
            request_timeout: target.request_timeout,
            manners,
            slots: Semaphore::new(IN_FLIGHT),
            identity: Mutex::new(None),
            sent: AtomicU64::new(0),
        })))
    }

    /// The URL that was configured, without the stem and a slash at its end.
    pub(crate) fn base(&self) -> &str {
        &self.0.base
    }

    /// How we say who we are, as evidence tells it.
    pub(crate) fn auth(&self) -> String {
        match &self.0.user {
            None => "none".into(),
            Some((user, _)) => format!("HTTP Basic as {user}"),
        }
    }

    /// Whether credentials are sent.
    pub(crate) fn has_credentials(&self) -> bool {
        self.0.user.is_some()
    }

    /// The certificate of the last answer, e.g. `tls certificate sha256:…`; `None` over plain HTTP.
    pub(crate) fn identity(&self) -> Option<String> {
        self.0.identity.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// How many requests were sent since the client was made.
    pub(crate) fn sent(&self) -> u64 {
        self.0.sent.load(Ordering::Relaxed)
    }

    /// Asks all, a few at once; the answers come in the order of the questions. Ends before `deadline`. Dropped
    /// midway, it drops its requests.
    pub(crate) async fn ask_all(
        &self,
        requests: Vec<Request>,
        deadline: Instant,
    ) -> Vec<(Request, Result<Answered, Unanswered>)> {
        let mut waiting = JoinSet::new();
        for (place, request) in requests.iter().cloned().enumerate() {
            let web = self.clone();
            waiting.spawn(async move {
                let queued = tokio::time::timeout_at(deadline.into(), web.0.slots.acquire()).await;
                // The semaphore is never closed, so a missing slot means that time ran out in the queue.
                let Ok(Ok(_slot)) = queued else { return (place, Err(web.too_late())) };
                (place, web.ask(&request, deadline).await)
            });
        }
        let mut answers: Vec<_> = requests.iter().map(|_| None).collect();
        while let Some(done) = waiting.join_next().await {
            if let Ok((place, answer)) = done {
                answers[place] = Some(answer);
            }
        }
        let lost = || Err(silent("the request was given up"));
        requests.into_iter().zip(answers).map(|(r, a)| (r, a.unwrap_or_else(lost))).collect()
    }

    /// Asks once, or again after a connection that failed. Ends before `deadline`.
    pub(crate) async fn ask(&self, request: &Request, deadline: Instant) -> Result<Answered, Unanswered> {
        let mut pause = PAUSE;
        for attempt in 1.. {
            let until = deadline.min(Instant::now() + self.0.request_timeout);
            let failed = match tokio::time::timeout_at(until.into(), self.once(request)).await {
                Ok(Ok(answer)) => return Ok(answer),
                Ok(Err(failed)) => failed,
                // Not sent again: a server works off what it was sent even when nobody waits, and HIL does so one
                // request after another.
                Err(_) if until == deadline => return Err(self.too_late()),
                Err(_) => {
                    let limit = self.0.request_timeout.as_secs_f32();
                    return Err(silent(format!("no answer within {limit} s (`request_timeout`)")));
                }
            };
            if !failed.again || attempt == TRIES || Instant::now() + pause >= deadline {
                return Err(failed.unanswered);
            }
            tokio::time::sleep(pause).await;
            pause *= 2;
        }
        // The loop above has no end but its returns.
        Err(silent("no answer"))
    }

    fn too_late(&self) -> Unanswered {
        silent(format!("no answer before {} deadline", self.0.manners.whose))
    }

    async fn once(&self, request: &Request) -> Result<Answered, Failed> {
        let inner = &*self.0;
        let (path, query) = match request.path.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (request.path.as_str(), None),
        };
        // A URL library folds dots and turns backslashes; what it would ask for must be what was meant.
        let url = Url::parse(&format!("{}{}", inner.base, request.path))
            .ok()
            .filter(|url| url.path().ends_with(path) && url.query() == query && url.fragment().is_none());
        let Some(url) = url else {
            return Err(Failed::for_good(Failure::Unreadable, "no URL can name this label"));
        };
        #[allow(clippy::disallowed_methods, reason = "the one POST there is has a switch run a show command")]
        let mut asking = match request.show {
            None => inner.client.get(url),
            Some(command) => inner.client.post(url).body(input(command)),
        };
        asking = asking.header(header::ACCEPT, inner.manners.accept);
        if let Some((name, value)) = request.header {
            asking = asking.header(name, value);
        }
        if let Some((user, password)) = &inner.user {
            asking = asking.basic_auth(user, Some(password.expose()));
        }
        inner.sent.fetch_add(1, Ordering::Relaxed);
        let failed = |e| Failed::of(e, inner.manners.who);
        let response = asking.send().await.map_err(failed)?;
        let status = response.status().as_u16();
        if let Some(certificate) = response.extensions().get::<TlsInfo>().and_then(TlsInfo::peer_certificate)
        {
            let identity = format!("tls certificate sha256:{}", hex(&Sha256::digest(certificate)));
            *inner.identity.lock().unwrap_or_else(PoisonError::into_inner) = Some(identity);
        }
        Ok(Answered { status, body: body(response, inner.manners).await? })
    }
}

async fn body(mut response: Response, manners: Manners) -> Result<Vec<u8>, Failed> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|e| Failed::of(e, manners.who))? {
        if body.len() + chunk.len() > manners.max_body {
            return Err(Failed::for_good(
                Failure::Unreadable,
                format!("the answer has more than {} bytes", manners.max_body),
            ));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

struct Failed {
    unanswered: Unanswered,
    /// Whether sending again may help and does no harm.
    again: bool,
}

impl Failed {
    fn for_good(failure: Failure, why: impl Into<String>) -> Failed {
        Failed { unanswered: Unanswered { failure, why: why.into() }, again: false }
    }

    fn of(error: reqwest::Error, who: &str) -> Failed {
        let tls = certificate_error(&error);
        let connecting = error.is_connect();
        let cut = error.is_body() || error.is_decode();
        let text = chain(error);
        if let Some(tls) = tls {
            let why = format!("the certificate of {who} is refused: {tls}");
            return Failed::for_good(Failure::SourceChanged, why);
        }
        if connecting {
            let why = format!("no connection: {text}");
            return Failed { unanswered: Unanswered { failure: Failure::Silent, why }, again: true };
        }
        // The HTTP library has no kind for this that we could ask for.
        if text.contains("invalid HTTP") {
            return Failed::for_good(Failure::Unreadable, format!("the answer is not HTTP: {text}"));
        }
        let failure = if cut { Failure::Unreadable } else { Failure::Silent };
        let why = if cut { format!("the answer was cut off: {text}") } else { text };
        Failed { unanswered: Unanswered { failure, why }, again: true }
    }
}

/// What the TLS library holds against the certificate, if that is what failed.
fn certificate_error(error: &reqwest::Error) -> Option<String> {
    let mut next: Option<&(dyn std::error::Error + 'static)> = error.source();
    while let Some(cause) = next {
        if let Some(rustls::Error::InvalidCertificate(why)) = cause.downcast_ref() {
            return Some(why.to_string());
        }
        // An I/O error skips the error it carries in its `source()`, and is carried by another one here.
        next = match cause.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref) {
            Some(carried) => Some(carried),
            None => cause.source(),
        };
    }
    None
}

fn silent(why: impl Into<String>) -> Unanswered {
    Unanswered { failure: Failure::Silent, why: why.into() }
}

/// An error and its causes in one line, without the URL.
fn chain(error: reqwest::Error) -> String {
    let error = error.without_url();
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

/// Checks the configured URL.
fn base(target: &WebTarget, stem: &str) -> Result<Url, WebError> {
    let mut url = Url::parse(target.url.trim()).map_err(|e| WebError::Url { why: e.to_string() })?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err(WebError::CredentialsInUrl);
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(WebError::NotABase);
    }
    let host = url.host_str().unwrap_or_default().to_owned();
    match url.scheme() {
        "https" => {}
        "http" if target.allow_plain_http || is_loopback(&host) => {}
        "http" => return Err(WebError::PlainHttp { host }),
        other => return Err(WebError::Url { why: format!("its scheme is {other}") }),
    }
    let path = url.path().trim_end_matches('/');
    let path = path.strip_suffix(stem).unwrap_or(path).to_owned();
    url.set_path(&path);
    Ok(url)
}

/// Whether no other host is on the way. Names are not resolved: an answer of the resolver is no promise.
fn is_loopback(host: &str) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    host == "localhost" || address.is_ok_and(|a| a.is_loopback())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

/// The most bytes of bodies that one reading of a switch keeps. Encoded as evidence, a byte takes six at the worst.
const MAX_KEPT: usize = 10 << 20;

/// How switches are asked.
pub(crate) const SWITCH_MANNERS: Manners = Manners {
    who: "the switch",
    whose: "the reading's",
    stem: "",
    // A chassis of a thousand interfaces configures about a kilobyte for each.
    max_body: 4 << 20,
    accept: "application/vnd.configuration.resource+xml, application/xml, */*",
};

/// Makes an answer fit to be evidence: without secrets, and the same bytes as long as nothing changed.
pub(crate) type Keep = fn(&Request, Vec<u8>) -> Vec<u8>;

/// What one reading of a switch gathers: the exchanges in order, each body as `keep` makes it fit to be kept.
#[derive(Debug)]
pub(crate) struct Gathering<'a> {
    web: &'a Web,
    keep: Keep,
    deadline: Instant,
    kept: usize,
    /// What was asked and answered so far.
    pub(crate) exchanges: Vec<Exchange>,
}

impl<'a> Gathering<'a> {
    pub(crate) fn new(web: &'a Web, keep: Keep, deadline: Instant) -> Gathering<'a> {
        Gathering { web, keep, deadline, kept: 0, exchanges: Vec::new() }
    }

    /// Asks all; `false` when the reading cannot go on: a question unanswered, access refused, too many bytes. The
    /// exchanges then say why.
    pub(crate) async fn ask(&mut self, requests: Vec<Request>) -> bool {
        let mut on = true;
        for (request, answer) in self.web.ask_all(requests, self.deadline).await {
            let (status, answer) = match answer {
                Ok(answered) => (Some(answered.status), (self.keep)(&request, answered.body)),
                Err(unanswered) => (None, unanswered.told().into_bytes()),
            };
            self.kept += answer.len();
            let exchange = Exchange { asked: request.asked(), status, answer };
            let exchange = if self.kept > MAX_KEPT {
                let why = format!("the answers of one reading have more than {MAX_KEPT} bytes");
                let too_much = Unanswered { failure: Failure::Unreadable, why };
                Exchange { asked: exchange.asked, status: None, answer: too_much.told().into_bytes() }
            } else {
                exchange
            };
            on &= refusal(&exchange, self.web.has_credentials()).is_none();
            self.exchanges.push(exchange);
        }
        on
    }

    /// The status of the last answer to this request.
    pub(crate) fn status(&self, request: &Request) -> Option<u16> {
        let asked = request.asked();
        self.exchanges.iter().rev().find(|x| x.asked == asked).and_then(|x| x.status)
    }
}

/// Why an exchange ends the reading of a switch, if it does: no answer, or one that refuses us whatever is asked.
/// `credentials` tells whether we sent any.
pub(crate) fn refusal(exchange: &Exchange, credentials: bool) -> Option<SourceError> {
    let asked = exchange.asked.as_str();
    let refused = |what: &str| Some(SourceError::unreadable(format!("{asked}: {what}")));
    match (exchange.status, credentials) {
        (None, _) => {
            let Unanswered { failure, why } = Unanswered::from_told(&exchange.answer);
            let hint = match failure {
                Failure::Silent => {
                    "check that the switch's web server is on, that `url` is right and that this host may reach it"
                }
                Failure::SourceChanged => {
                    "check `ca_file` and the name in `url`; renew the certificate if it expired"
                }
                Failure::Unreadable | Failure::Unaudited => "check that `url` is the switch's REST interface",
            };
            Some(SourceError::new(failure, format!("{asked}: {why}; {hint}")))
        }
        (Some(401), true) => {
            refused("the switch refuses the configured user or its password (401): check both there and here")
        }
        (Some(401), false) => refused(
            "the switch wants credentials (401) and none are configured: set `user` and `password_file`",
        ),
        (Some(403 | 407), _) => refused(
            "the configured user may not read this (403 or 407): give it a role on the switch that may read the \
             configuration",
        ),
        (Some(status @ 300..=399), _) => refused(&format!(
            "the answer is a redirect ({status}), which is never followed since it would send the credentials to \
             another place: set `url` to where the switch itself answers"
        )),
        _ => None,
    }
}

#[cfg(test)]
pub(crate) mod serving;
#[cfg(test)]
mod tests;
