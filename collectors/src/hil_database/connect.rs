//! The connection: PostgreSQL's protocol over a unix socket, loopback, or TLS with the certificate verified.

use super::{Settings, words};
use crate::net::address::Address;
use crate::net::stream::{self, Io};
use crate::net::tls::certificate_sha256;
use crate::net::within;
use crate::source::SourceError;
use isoledger_core::model::Failure;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Instant;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::task::JoinHandle;
use tokio_postgres::config::SslMode;
use tokio_postgres::tls::{ChannelBinding, TlsConnect, TlsStream};
use tokio_postgres::{Client, Config, NoTls, SimpleQueryMessage};
use tokio_rustls::TlsConnector;
use tokio_rustls::client;

/// The most bytes one reading takes from the server. A cloud of 100,000 ports needs 8 MiB. Checked at the socket: a
/// server may announce a row of a gigabyte, and the protocol's decoder would wait for all of it.
pub(super) const MAX_READ: u64 = 32 << 20;

/// Rows of one statement, as the server wrote them, and the number it says there are.
#[derive(Debug)]
pub(super) struct Answered {
    pub(super) rows: Vec<Vec<Option<String>>>,
    pub(super) count: u64,
}

/// A logged-in connection.
pub(super) struct Session {
    client: Client,
    // Moves the bytes; ends with the session.
    driver: JoinHandle<()>,
    left: Arc<AtomicU64>,
    /// How the two sides authenticated.
    pub(super) auth: String,
    /// SHA-256 of the server's certificate.
    pub(super) certificate: Option<String>,
}

impl Drop for Session {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

impl Session {
    pub(super) async fn open(settings: &Settings, deadline: Instant) -> Result<Session, SourceError> {
        let what = format!("logging in to the database at {}", settings.server);
        let (plain, ours) = match &settings.server {
            Address::Tls { host, port } => {
                let files = settings.tls.as_ref().ok_or_else(|| {
                    SourceError::unreadable(format!(
                        "{} needs a CA file to verify the server with; configure one",
                        settings.server
                    ))
                })?;
                let tls = Handshake {
                    config: Arc::new(files.client_config()?),
                    name: files.name_for(host)?,
                    seen: Arc::default(),
                };
                // PostgreSQL asks for TLS in its own words first, so the stream below is plain.
                (Address::Tcp { host: host.clone(), port: *port }, Some(tls))
            }
            plain => (plain.clone(), None),
        };
        let io = stream::connect(&plain, None, deadline).await?.io;
        let left = Arc::new(AtomicU64::new(MAX_READ));
        let io = Capped { io, left: Arc::clone(&left) };
        let mut config = Config::new();
        config.user(&settings.user).dbname(&settings.database).application_name("isoledger");
        config.ssl_mode(if ours.is_some() { SslMode::Require } else { SslMode::Disable });
        if let Some(password) = &settings.password {
            config.password(password.expose());
        }
        let failed = |e: tokio_postgres::Error| words(&what, &e);
        let seen = ours.as_ref().map(|tls| Arc::clone(&tls.seen));
        let (client, driver) = match ours {
            None => {
                let (client, connection) =
                    within(deadline, &what, async { config.connect_raw(io, NoTls).await.map_err(failed) })
                        .await?;
                // What ends the connection is told to whoever waits for an answer.
                (client, tokio::spawn(async { drop(connection.await) }))
            }
            Some(tls) => {
                let (client, connection) =
                    within(deadline, &what, async { config.connect_raw(io, tls).await.map_err(failed) })
                        .await?;
                (client, tokio::spawn(async { drop(connection.await) }))
            }
        };
        let certificate = seen.and_then(|s| s.lock().ok()?.clone());
        let way = match &settings.server {
            Address::Unix(_) => "unix socket",
            Address::Tcp { .. } => "tcp on this host",
            Address::Tls { .. } => "tls, server certificate verified",
        };
        let secret = if settings.password.is_some() { "password" } else { "no password" };
        let auth = format!("{way}, as {} with {secret}", settings.user);
        Ok(Session { client, driver, left, auth, certificate })
    }

    /// Begins a reading: what it may take is counted from here.
    pub(super) fn refill(&self) {
        self.left.store(MAX_READ, Ordering::Relaxed);
    }

    pub(super) fn is_closed(&self) -> bool {
        self.client.is_closed()
    }

    /// Sends one statement of [`super::tables`] and takes all it gives.
    pub(super) async fn ask(&self, statement: &str, deadline: Instant) -> Result<Answered, SourceError> {
        let what = "the database";
        let said = within(deadline, what, async {
            self.client.simple_query(statement).await.map_err(|e| {
                if self.left.load(Ordering::Relaxed) == 0 {
                    return SourceError::unreadable(format!(
                        "the database sends more than {MAX_READ} bytes for one reading, which no HIL needs; is it HIL's \
                         database?"
                    ));
                }
                words(what, &e)
            })
        })
        .await?;
        let mut answered = Answered { rows: Vec::new(), count: 0 };
        for message in said {
            match message {
                SimpleQueryMessage::Row(row) => {
                    let cells = (0..row.len()).map(|i| {
                        row.try_get(i).map(|cell| cell.map(str::to_owned)).map_err(|_| {
                            SourceError::unreadable(
                                "the database sends text that is not UTF-8; only databases with a declared encoding can \
                                 be read",
                            )
                        })
                    });
                    answered.rows.push(cells.collect::<Result<_, _>>()?);
                }
                SimpleQueryMessage::CommandComplete(n) => answered.count = n,
                _ => {}
            }
        }
        Ok(answered)
    }
}

/// A stream that ends in an error once more bytes came than one reading may take.
struct Capped {
    io: Box<dyn Io>,
    left: Arc<AtomicU64>,
}

impl AsyncRead for Capped {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.left.load(Ordering::Relaxed) == 0 {
            return Poll::Ready(Err(io::Error::other("the server sends more than one reading may take")));
        }
        let before = buf.filled().len();
        let polled = Pin::new(&mut self.io).poll_read(cx, buf);
        let came = u64::try_from(buf.filled().len() - before).unwrap_or(u64::MAX);
        // One task reads, and the only other writer sets it while that task has nothing to read.
        self.left.store(self.left.load(Ordering::Relaxed).saturating_sub(came), Ordering::Relaxed);
        polled
    }
}

impl AsyncWrite for Capped {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

/// TLS after PostgreSQL's own request for it. Ours, because the identity of the source is the certificate it showed,
/// which the ready-made glue does not hand out.
struct Handshake {
    config: Arc<ClientConfig>,
    name: ServerName<'static>,
    // SHA-256 of the certificate that was shown and verified.
    seen: Arc<std::sync::Mutex<Option<String>>>,
}

impl TlsConnect<Capped> for Handshake {
    type Stream = Encrypted;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Encrypted>> + Send>>;

    fn connect(self, io: Capped) -> Self::Future {
        Box::pin(async move {
            let stream = TlsConnector::from(self.config).connect(self.name, io).await?;
            let shown = stream.get_ref().1.peer_certificates().and_then(|chain| chain.first());
            if let (Some(certificate), Ok(mut seen)) = (shown, self.seen.lock()) {
                *seen = Some(certificate_sha256(certificate));
            }
            Ok(Encrypted(stream))
        })
    }
}

struct Encrypted(client::TlsStream<Capped>);

impl TlsStream for Encrypted {
    /// None: the certificate was verified by name and authority, which is what binding would add.
    fn channel_binding(&self) -> ChannelBinding {
        ChannelBinding::none()
    }
}

impl AsyncRead for Encrypted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl AsyncWrite for Encrypted {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

/// How an SQLSTATE counts, and what to do about it.
pub(super) fn state(code: &str) -> (Failure, &'static str) {
    match code {
        "28P01" => (Failure::Unreadable, "the database refuses the user's password: check `password-file`"),
        "28000" => (
            Failure::Unreadable,
            "the database lets this user not in from here: check `user` and its pg_hba.conf",
        ),
        "3D000" => (Failure::Unreadable, "there is no such database: check `database`"),
        "42501" => (Failure::Unreadable, "a right is missing: `isoledger check` names the GRANT to run"),
        "42P01" | "42703" => (
            Failure::Unreadable,
            "a table or column is not there: is this HIL's database, and of a version known here?",
        ),
        "57014" => (Failure::Silent, "the statement took longer than the reading has time"),
        "55P03" => (Failure::Silent, "somebody holds a lock on the table, as a migration of HIL's does"),
        "53300" => (Failure::Silent, "the database or the role has no connection free"),
        _ if code.starts_with("57P") => (Failure::Silent, "the database is stopping or starting"),
        _ if code.starts_with("53") => (Failure::Silent, "the database is short of resources"),
        _ => (Failure::Unreadable, "this was not expected"),
    }
}
