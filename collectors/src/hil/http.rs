//! Asking over HTTP: one request at a time, each within its own time and the crawl's, credentials in one place.

use super::answer::Answer;
use super::ask::Ask;
use crate::Secret;
use crate::source::SourceError;
use isoledger_core::model::Failure;
use reqwest::tls::TlsInfo;
use reqwest::{Certificate, Client, Response, Url, header};
use sha2::{Digest, Sha256};
use std::error::Error as _;
use std::net::IpAddr;
use std::time::{Duration, Instant};

/// The largest body read, in bytes. The list of ten thousand networks with long access lists has about one million.
pub const MAX_BODY: usize = 4 << 20;
/// How often a request is sent whose connection failed.
const TRIES: u32 = 3;
/// Before the second try; twice that before the third. Long enough for a web server to be restarted.
const PAUSE: Duration = Duration::from_millis(250);

/// How the reader proves to HIL who it is. Everything about credentials is in this file.
#[derive(Clone, Debug, Default)]
pub enum Auth {
    /// Not at all: HIL with its `null` backend, which takes everyone for an administrator.
    #[default]
    None,
    /// HIL's `database` backend: HTTP Basic, sent with every request without being asked, since HIL never sends the
    /// `WWW-Authenticate` that clients wait for.
    Basic {
        /// The user, an administrator.
        user: String,
        /// Its password.
        password: Secret,
    },
}

impl Auth {
    /// As the evidence tells it.
    pub(super) fn told(&self) -> String {
        match self {
            Auth::None => "none".into(),
            Auth::Basic { user, .. } => format!("HTTP Basic as {user}"),
        }
    }
}

/// Where and how HIL is asked.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where HIL is, without `/v0`: `https://hil.example`, or `https://hil.example/prefix`.
    pub url: String,
    /// Who we are.
    pub auth: Auth,
    /// Certificate authorities that may vouch for HIL, PEM; none means the system's.
    pub ca: Option<Vec<u8>>,
    /// Whether plain `http://` may be used to another host than this one.
    pub allow_plain_http: bool,
    /// The longest that one request may take. HIL computes a password hash for each, 0.3 to 0.8 s of its time.
    pub request_timeout: Duration,
    /// Uuids of networking actions to ask about. HIL tells them to nobody but who requested the action.
    pub actions: Vec<String>,
}

impl Config {
    /// The least that is needed; the rest as documented in `docs/dialects/hil.md`.
    pub fn new(url: impl Into<String>, auth: Auth) -> Config {
        Config {
            url: url.into(),
            auth,
            ca: None,
            allow_plain_http: false,
            request_timeout: Duration::from_secs(15),
            actions: Vec::new(),
        }
    }
}

/// Why a configuration is no good. No credential is ever repeated.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
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
    #[error("the certificate authorities for HIL are not PEM certificates: {why}")]
    Ca {
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

/// A question that got no HTTP answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Unanswered {
    pub(super) failure: Failure,
    /// Without the address of the other side, ports, or times: it enters the evidence.
    pub(super) why: String,
}

/// The client of one HIL.
#[derive(Debug)]
pub(super) struct Http {
    client: Client,
    /// Without a slash at its end.
    base: Url,
    auth: Auth,
    request_timeout: Duration,
    /// The certificate of the last answer, e.g. `tls certificate sha256:…`.
    pub(super) identity: Option<String>,
    /// Requests sent.
    pub(super) sent: u64,
}

impl Http {
    pub(super) fn new(config: &Config) -> Result<Http, ConfigError> {
        let base = base(config)?;
        if let Auth::Basic { user, .. } = &config.auth
            && (user.is_empty() || user.contains(|c: char| c == ':' || c.is_control()))
        {
            return Err(ConfigError::User);
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
            .pool_max_idle_per_host(1)
            .tls_info(true);
        match &config.ca {
            Some(pem) => {
                let ca = |why: String| ConfigError::Ca { why };
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
        let client = client.build().map_err(|e| ConfigError::Tls { why: chain(e) })?;
        let request_timeout = config.request_timeout;
        Ok(Http { client, base, auth: config.auth.clone(), request_timeout, identity: None, sent: 0 })
    }

    /// The URL that was configured, without a slash at its end.
    pub(super) fn base(&self) -> &str {
        self.base.as_str().trim_end_matches('/')
    }

    pub(super) fn auth(&self) -> &Auth {
        &self.auth
    }

    /// Asks, and keeps what may be kept of the answer. Ends before `deadline`.
    pub(super) async fn ask(&mut self, ask: &Ask, deadline: Instant) -> Result<Answer, Unanswered> {
        let mut pause = PAUSE;
        for attempt in 1.. {
            let until = deadline.min(Instant::now() + self.request_timeout);
            let failed = match tokio::time::timeout_at(until.into(), self.once(ask)).await {
                Ok(Ok(answer)) => return Ok(answer),
                Ok(Err(failed)) => failed,
                // Not sent again: HIL works off what it was sent even when nobody waits, one request after another.
                Err(_) if until == deadline => return Err(silent("no answer before the crawl's deadline")),
                Err(_) => {
                    let limit = self.request_timeout.as_secs_f32();
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

    async fn once(&mut self, ask: &Ask) -> Result<Answer, Failed> {
        let path = ask.path();
        let url =
            Url::parse(&format!("{}{path}", self.base())).ok().filter(|url| url.path().ends_with(&path));
        let Some(url) = url else {
            return Err(Failed::for_good(Failure::Unreadable, "no URL can name this label"));
        };
        let mut request = self.client.get(url).header(header::ACCEPT, "application/json, */*");
        if let Auth::Basic { user, password } = &self.auth {
            request = request.basic_auth(user, Some(password.expose()));
        }
        self.sent += 1;
        let response = request.send().await.map_err(Failed::from)?;
        let status = response.status().as_u16();
        if let Some(certificate) = response.extensions().get::<TlsInfo>().and_then(TlsInfo::peer_certificate)
        {
            self.identity = Some(format!("tls certificate sha256:{}", hex(&Sha256::digest(certificate))));
        }
        Ok(Answer::kept(ask, status, body(response).await?))
    }
}

async fn body(mut response: Response) -> Result<Vec<u8>, Failed> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(Failed::from)? {
        if body.len() + chunk.len() > MAX_BODY {
            return Err(Failed::for_good(
                Failure::Unreadable,
                format!("the answer has more than {MAX_BODY} bytes"),
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
}

impl From<reqwest::Error> for Failed {
    fn from(error: reqwest::Error) -> Failed {
        let tls = certificate_error(&error);
        let connecting = error.is_connect();
        let cut = error.is_body() || error.is_decode();
        let text = chain(error);
        if let Some(tls) = tls {
            let why = format!("the certificate of HIL is refused: {tls}");
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
fn base(config: &Config) -> Result<Url, ConfigError> {
    let mut url = Url::parse(config.url.trim()).map_err(|e| ConfigError::Url { why: e.to_string() })?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err(ConfigError::CredentialsInUrl);
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(ConfigError::NotABase);
    }
    let host = url.host_str().unwrap_or_default().to_owned();
    match url.scheme() {
        "https" => {}
        "http" if config.allow_plain_http || is_loopback(&host) => {}
        "http" => return Err(ConfigError::PlainHttp { host }),
        other => return Err(ConfigError::Url { why: format!("its scheme is {other}") }),
    }
    let path = url.path().trim_end_matches('/');
    let path = path.strip_suffix("/v0").unwrap_or(path).to_owned();
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

impl Unanswered {
    /// As an error about the question.
    pub(super) fn error(&self, path: &str) -> SourceError {
        let hint = match self.failure {
            Failure::Silent => "check that HIL runs, that `url` is right and that this host may reach it",
            Failure::SourceChanged => {
                "check `ca_file` and the name in `url`; renew the certificate if it expired"
            }
            Failure::Unreadable | Failure::Unaudited => "check that `url` is HIL's API and no other service",
        };
        SourceError::new(self.failure, format!("GET {path}: {}; {hint}", self.why))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn base_of(url: &str, plain: bool) -> Result<String, ConfigError> {
        let mut config = Config::new(url, Auth::None);
        config.allow_plain_http = plain;
        Http::new(&config).map(|http| http.base().to_owned())
    }

    #[test]
    fn urls() {
        for (url, plain, expected) in [
            ("http://127.0.0.1:5000", false, "http://127.0.0.1:5000"),
            ("http://127.0.0.1:5000/", false, "http://127.0.0.1:5000"),
            ("http://127.0.0.1:5000/v0", false, "http://127.0.0.1:5000"),
            ("http://[::1]:5000/hil/v0/", false, "http://[::1]:5000/hil"),
            ("http://localhost/hil", false, "http://localhost/hil"),
            ("http://hil.example", true, "http://hil.example"),
        ] {
            assert_eq!(base_of(url, plain).unwrap(), expected, "{url}");
        }
        for (url, expected) in [
            ("hil.example", "`url` is not an http"),
            ("ftp://hil.example", "its scheme is ftp"),
            ("http://admin:hunter2@127.0.0.1", "`url` holds credentials"),
            ("http://127.0.0.1/?a=b", "query or a fragment"),
            ("http://hil.example", "plain http to hil.example"),
            ("http://127.0.0.1.example", "plain http to 127.0.0.1.example"),
            ("http://10.0.0.1", "plain http to 10.0.0.1"),
        ] {
            let said = base_of(url, false).unwrap_err().to_string();
            assert!(said.contains(expected) && !said.contains("hunter2"), "{url}: {said}");
        }
    }

    #[test]
    fn users_that_basic_cannot_carry() {
        for user in ["", "a:b", "a\nb"] {
            let auth = Auth::Basic { user: user.into(), password: Secret::new("hunter2") };
            assert!(
                matches!(Http::new(&Config::new("http://127.0.0.1", auth)), Err(ConfigError::User)),
                "{user:?}"
            );
        }
    }

    #[test]
    fn authorities_must_be_certificates() {
        for pem in ["", "hello", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"] {
            let mut config = Config::new("https://hil.example", Auth::None);
            config.ca = Some(pem.as_bytes().to_vec());
            assert!(Http::new(&config).is_err(), "{pem:?}");
        }
    }

    #[test]
    fn passwords_are_not_printed() {
        let auth = Auth::Basic { user: "admin".into(), password: Secret::new("hunter2") };
        let http = Http::new(&Config::new("http://127.0.0.1", auth)).unwrap();
        let printed = format!("{http:?} {}", http.auth().told());
        assert!(printed.contains("admin") && !printed.contains("hunter2"), "{printed}");
    }
}
