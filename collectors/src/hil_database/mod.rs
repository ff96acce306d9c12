//! HIL's database: the whole declared state in one snapshot, by a role that can read some columns and nothing else.
//!
//! # In scope
//! - [`HilDatabase`], the reader: one transaction, REPEATABLE READ and READ ONLY, a handful of statements.
//!   [`HilDatabase::rights`], which rights the role has and which of them exceed the need.
//! - [`normalise`]: evidence in, [`Declared`] out, pure; and [`switches`], what the database says of the switches
//!   themselves, for whoever writes a scope.
//!
//! # Out of scope
//! Any statement that is not in [`tables`]; every column that holds a secret. HIL over its API is the dialect
//! `hil-rest`; where both can see, both give the same declaration.
//!
//! # Trust
//! The server may be slow, wrong, or another one: its certificate is verified wherever the way to it is not this host's
//! own, what it sends is capped at the socket, its words never carry the password back. References that lead nowhere,
//! labels that stand twice and words that HIL does not use are anomalies. Rows that somebody filters away before they
//! reach us cannot be seen, so a row filter is an error, a view is none of HIL's tables, and a standby, which may be
//! behind by any length of time, is not read.
//!
//! # Where to start reading
//! [`tables`] has every statement, `connect` the connection, `normal` what rows mean, [`rights`] the check. The page is
//! `docs/dialects/hil-database.md`.

mod connect;
mod normal;
pub mod rights;
pub mod tables;

#[cfg(test)]
mod tests;

pub use normal::{SwitchRow, switches};
pub use rights::{Excess, Rights};
pub use tables::ROLE;

use crate::evidence::{Evidence, Exchange, MAX_EVIDENCE};
use crate::net::{Address, TlsFiles};
use crate::source::{Clock, CloudManager, Pending, Reading, SourceError};
use crate::unread::Unread;
use crate::{Secret, hil::answer::quote};
use connect::{Answered, Session};
use isoledger_core::json::{from_canonical, to_canonical};
use isoledger_core::model::{Declared, Reader, Window};
use serde::{Deserialize, Serialize};
use std::net::IpAddr;
use std::time::{Duration, Instant};
use tables::{BEGIN, END, IDENTITY, SETTINGS, SYSTEM, TABLES, TIMEOUT, WANTED};

/// The dialect's name.
pub const DIALECT: &str = "hil-database";
/// The version of its normaliser; moves when the same evidence may read differently.
pub const VERSION: u32 = 1;
/// What stands for the statement where there was no connection to send one over.
const CONNECT: &str = "CONNECT";

/// Where the database is, and who reads it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// `unix:/var/run/postgresql/.s.PGSQL.5432`, `tcp:127.0.0.1:5432` (loopback only), or `ssl:HOST:PORT` (PostgreSQL's
    /// own way to begin TLS, on its usual port).
    pub server: Address,
    /// For `ssl:`: who may vouch for the server, and our certificate where it asks for one.
    pub tls: Option<TlsFiles>,
    /// HIL's database, `hil` unless it was named otherwise.
    pub database: String,
    /// The role, `isoledger` in [`ROLE`].
    pub user: String,
    /// Its password; none where the server knows us otherwise (peer authentication, a client certificate).
    pub password: Option<Secret>,
}

/// Settings that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SettingsError {
    /// Plain TCP to another host.
    #[error(
        "found the plain address tcp:{host}:{port}; only a loopback address may be plain, since everybody on the way could \
         write the answers: use ssl:{host}:{port} with the CA file of the server"
    )]
    Plain {
        /// The host.
        host: String,
        /// The port.
        port: u16,
    },
    /// TLS without anybody to vouch for the server.
    #[error(
        "found the address {server} and no CA file; name the authority that issued the server's certificate"
    )]
    NoCa {
        /// The address.
        server: Address,
    },
    /// No name where one is needed.
    #[error("found an empty {what}; it must name one")]
    Empty {
        /// `user` or `database`.
        what: &'static str,
    },
}

/// Reads HIL's database.
pub struct HilDatabase {
    settings: Settings,
    session: Option<Session>,
    calls: Option<u64>,
}

impl std::fmt::Debug for HilDatabase {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HilDatabase").field("settings", &self.settings).finish_non_exhaustive()
    }
}

/// What one reading has so far.
#[derive(Default)]
struct Taken {
    exchanges: Vec<Exchange>,
    auth: String,
    certificate: Option<String>,
    sent: u64,
}

impl HilDatabase {
    /// A reader of this database. Nothing is sent yet.
    pub fn new(settings: Settings) -> Result<HilDatabase, SettingsError> {
        for (what, text) in [("user", &settings.user), ("database", &settings.database)] {
            if text.is_empty() {
                return Err(SettingsError::Empty { what });
            }
        }
        match &settings.server {
            Address::Tcp { host, port } if !is_loopback(host) => {
                return Err(SettingsError::Plain { host: host.clone(), port: *port });
            }
            server @ Address::Tls { .. } if settings.tls.is_none() => {
                return Err(SettingsError::NoCa { server: server.clone() });
            }
            _ => {}
        }
        Ok(HilDatabase { settings, session: None, calls: None })
    }

    /// Which rights our role has, and which of them exceed the need. For `check`: nothing that is judged depends on it.
    pub async fn rights(&mut self, deadline: Instant) -> Result<Rights, SourceError> {
        let mut taken = Taken::default();
        let session = self.begin(&mut taken, deadline).await?;
        let found = rights::ask(&session, deadline).await;
        session.ask(END, deadline).await?;
        self.session = Some(session);
        found
    }

    /// A session in a transaction of ours, the old one if it still lives.
    async fn begin(&mut self, taken: &mut Taken, deadline: Instant) -> Result<Session, SourceError> {
        let old = self.session.take().filter(|s| !s.is_closed());
        if let Some(session) = old {
            // A server restarted since the last reading is noticed at the first statement only.
            match start(&session, taken, deadline).await {
                Ok(()) => return Ok(session),
                Err(e) if !session.is_closed() => return Err(e),
                Err(_) => {}
            }
        }
        let session = Session::open(&self.settings, deadline).await?;
        start(&session, taken, deadline).await?;
        Ok(session)
    }

    /// Everything, in one transaction. What fails comes back as the statement that failed and why.
    async fn take(
        &mut self,
        taken: &mut Taken,
        deadline: Instant,
    ) -> Result<(), (&'static str, SourceError)> {
        let session = self.begin(taken, deadline).await.map_err(|e| (CONNECT, e))?;
        let identity = keep(&session, IDENTITY, taken, deadline).await?;
        if identity.rows.first().and_then(|row| row.get(3)?.as_deref()) == Some("t") {
            keep(&session, SYSTEM, taken, deadline).await?;
        }
        let wanted = keep(&session, WANTED, taken, deadline).await?;
        // What the conditions are worth is the normaliser's to say; that a statement cannot work is known before it is
        // sent, and is told by the normaliser too.
        if normal::obstacle(&identity.rows, &wanted.rows).is_none() {
            for table in TABLES {
                if normal::has_table(&wanted.rows, table) {
                    keep(&session, table.select, taken, deadline).await?;
                }
            }
        }
        taken.sent += 1;
        session.ask(END, deadline).await.map_err(|e| (END, e))?;
        self.session = Some(session);
        Ok(())
    }

    async fn reading(&mut self, clock: &dyn Clock, deadline: Instant) -> Reading<Declared> {
        let started = clock.now();
        let mut taken = Taken::default();
        let done = self.take(&mut taken, deadline).await;
        let ended = clock.now();
        if let Err((statement, e)) = &done {
            tracing::debug!(statement, why = %e, "HIL's database did not answer");
            let asked = (*statement).to_owned();
            taken.exchanges.push(Exchange { asked, status: None, answer: Unread::bytes(e) });
        }
        let mut evidence = Evidence {
            subject: format!("{} {}", self.settings.server, self.settings.database),
            auth: taken.auth,
            identity: None,
            exchanges: taken.exchanges,
        };
        evidence.identity = normal::identity(&evidence, taken.certificate.as_deref());
        let outcome = if evidence.to_bytes().len() > MAX_EVIDENCE {
            evidence.exchanges.clear();
            Err(SourceError::unreadable(format!(
                "the database's answers need more than {MAX_EVIDENCE} bytes of evidence"
            )))
        } else {
            normalise(&evidence)
        };
        if outcome.is_ok() {
            self.calls = Some(taken.sent);
        }
        Reading { window: Window { started, ended }, reader: reader(), evidence, outcome, sent: taken.sent }
    }
}

/// Opens the transaction and sets what holds in it.
async fn start(session: &Session, taken: &mut Taken, deadline: Instant) -> Result<(), SourceError> {
    session.refill();
    taken.auth = session.auth.clone();
    taken.certificate = session.certificate.clone();
    let left = deadline.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
    let timeout = TIMEOUT.replace("{milliseconds}", &left.as_millis().min(3_600_000).to_string());
    for statement in [BEGIN].into_iter().chain(SETTINGS).chain([timeout.as_str()]) {
        taken.sent += 1;
        session.ask(statement, deadline).await?;
    }
    Ok(())
}

/// Sends a statement and keeps what it gives as evidence.
async fn keep(
    session: &Session,
    statement: &'static str,
    taken: &mut Taken,
    deadline: Instant,
) -> Result<Answered, (&'static str, SourceError)> {
    taken.sent += 1;
    let mut answered = session.ask(statement, deadline).await.map_err(|e| (statement, e))?;
    // The server gives rows in any order.
    answered.rows.sort();
    let answer = to_canonical(&Rows { count: answered.count, rows: answered.rows.clone() });
    taken.exchanges.push(Exchange { asked: statement.to_owned(), status: None, answer });
    Ok(answered)
}

/// An answer in evidence: how many rows the server says it gave, and the rows, sorted, each cell as the server writes it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Rows {
    count: u64,
    rows: Vec<Vec<Option<String>>>,
}

/// What HIL declared, from the evidence of one reading of its database. Pure.
///
/// Fails when the database did not answer, refused us, or is not one that can be relied on; whatever its rows leave in
/// doubt is among [`Declared::anomalies`].
pub fn normalise(evidence: &Evidence) -> Result<Declared, SourceError> {
    normal::read(evidence)
}

/// What the server said, in a sentence that begins with `what`.
fn words(what: &str, e: &tokio_postgres::Error) -> SourceError {
    if let Some(db) = e.as_db_error() {
        let (kind, advice) = connect::state(db.code().code());
        let said = quote(db.message().as_bytes());
        return SourceError::new(kind, format!("{what} says \"{said}\" ({}): {advice}", db.code().code()));
    }
    let mut source: Option<&dyn std::error::Error> = std::error::Error::source(e);
    while let Some(inner) = source {
        if let Some(io) = inner.downcast_ref::<std::io::Error>() {
            return crate::net::stream::broken(what, io);
        }
        if inner.to_string() == "server does not support TLS" {
            return SourceError::unreadable(format!(
                "{what}: the server does not offer TLS; turn `ssl` on there, with a certificate of the configured authority"
            ));
        }
        source = inner.source();
    }
    if e.to_string() == "invalid configuration" {
        // The library's word for a server that asks for what we were not given.
        return SourceError::unreadable(format!(
            "{what}: the server wants a password and none is configured"
        ));
    }
    if e.is_closed() {
        return SourceError::silent(format!("{what}: the server closed the connection"));
    }
    SourceError::unreadable(format!("{what}: {}", quote(e.to_string().as_bytes())))
}

fn is_loopback(host: &str) -> bool {
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

fn reader() -> Reader {
    Reader { dialect: DIALECT.into(), version: VERSION }
}

impl CloudManager for HilDatabase {
    fn reader(&self) -> Reader {
        reader()
    }

    fn read<'a>(&'a mut self, clock: &'a dyn Clock, deadline: Instant) -> Pending<'a, Reading<Declared>> {
        Box::pin(self.reading(clock, deadline))
    }

    fn calls_per_crawl(&self) -> Option<u64> {
        self.calls
    }
}

/// Reads the answer of one statement out of evidence.
fn open(exchange: &Exchange) -> Result<Rows, SourceError> {
    if let Some(e) = Unread::error(&exchange.answer) {
        return Err(e);
    }
    from_canonical::<Rows>("rows of the database", &exchange.answer, MAX_EVIDENCE).map_err(|e| {
        SourceError::unreadable(format!("the answer to {}: {e}", quote(exchange.asked.as_bytes())))
    })
}
