//! Asking HIL: one request at a time, by the client that all readers over HTTP share.

use super::answer::Answer;
use super::ask::Ask;
use crate::Secret;
use crate::net::web::{Manners, Request, Unanswered, Web, WebError, WebTarget};
use crate::source::SourceError;
use isoledger_core::model::Failure;
use std::time::{Duration, Instant};

/// Why a configuration is no good. No credential is ever repeated.
pub type ConfigError = WebError;

/// The largest body read, in bytes. The list of ten thousand networks with long access lists has about one million.
pub const MAX_BODY: usize = 4 << 20;

const MANNERS: Manners = Manners {
    who: "HIL",
    whose: "the crawl's",
    stem: "/v0",
    max_body: MAX_BODY,
    accept: "application/json, */*",
};

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

/// The client of one HIL.
#[derive(Debug)]
pub(super) struct Http {
    web: Web,
    auth: Auth,
}

impl Http {
    pub(super) fn new(config: &Config) -> Result<Http, ConfigError> {
        let user = match &config.auth {
            Auth::None => None,
            Auth::Basic { user, password } => Some((user.clone(), password.clone())),
        };
        let target = WebTarget {
            url: config.url.clone(),
            user,
            ca: config.ca.clone(),
            allow_plain_http: config.allow_plain_http,
            request_timeout: config.request_timeout,
        };
        Ok(Http { web: Web::new(&target, MANNERS)?, auth: config.auth.clone() })
    }

    /// The URL that was configured, without a slash at its end.
    pub(super) fn base(&self) -> &str {
        self.web.base()
    }

    pub(super) fn auth(&self) -> &Auth {
        &self.auth
    }

    /// The certificate of the last answer, e.g. `tls certificate sha256:…`.
    pub(super) fn identity(&self) -> Option<String> {
        self.web.identity()
    }

    /// Requests sent.
    pub(super) fn sent(&self) -> u64 {
        self.web.sent()
    }

    /// Asks, and keeps what may be kept of the answer. Ends before `deadline`.
    pub(super) async fn ask(&mut self, ask: &Ask, deadline: Instant) -> Result<Answer, Unanswered> {
        let request = Request { path: ask.path(), ..Request::default() };
        let answered = self.web.ask(&request, deadline).await?;
        Ok(Answer::kept(ask, answered.status, answered.body))
    }
}

/// A failure as an error about the question.
pub(super) fn error(failed: &Unanswered, path: &str) -> SourceError {
    let hint = match failed.failure {
        Failure::Silent => "check that HIL runs, that `url` is right and that this host may reach it",
        Failure::SourceChanged => {
            "check `ca_file` and the name in `url`; renew the certificate if it expired"
        }
        Failure::Unreadable | Failure::Unaudited => "check that `url` is HIL's API and no other service",
    };
    SourceError::new(failed.failure, format!("GET {path}: {}; {hint}", failed.why))
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
