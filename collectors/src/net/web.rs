//! Asking a switch over HTTP.

use crate::Secret;
use std::time::Duration;

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
