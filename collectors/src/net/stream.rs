//! Byte streams to sources: unix socket, TCP, TLS.

use super::tls::{TlsFiles, certificate_sha256, tls_words};
use super::{Address, io_words, within};
use crate::SourceError;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsConnector;

/// Anything that reads and writes.
pub trait Io: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

/// An open connection.
pub struct Connected {
    /// The bytes.
    pub io: Box<dyn Io>,
    /// How the two sides authenticated.
    pub auth: String,
    /// SHA-256 of the server's certificate, in hex.
    pub certificate: Option<String>,
}

impl std::fmt::Debug for Connected {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connected").field("auth", &self.auth).field("certificate", &self.certificate).finish()
    }
}

/// Pauses between attempts to connect. A daemon that restarts is back within half a second; longer outages belong
/// to the next poll.
const PAUSES: [Duration; 2] = [Duration::from_millis(100), Duration::from_millis(400)];

/// Connects, trying again after a refused connection as long as `deadline` allows.
pub async fn connect(
    address: &Address,
    tls: Option<&TlsFiles>,
    deadline: Instant,
) -> Result<Connected, SourceError> {
    let mut pauses = PAUSES.iter();
    loop {
        let what = format!("connecting to {address}");
        let failed = match within(deadline, &what, attempt(address, tls)).await {
            Ok(open) => return Ok(open),
            Err(e) => e,
        };
        // A refused certificate will not be better in half a second; a refused connection may be.
        let pause = match pauses.next() {
            Some(p) if failed.kind == isoledger_core::model::Failure::Silent => *p,
            _ => return Err(failed),
        };
        if Instant::now() + pause >= deadline {
            return Err(failed);
        }
        tokio::time::sleep(pause).await;
    }
}

async fn attempt(address: &Address, tls: Option<&TlsFiles>) -> Result<Connected, SourceError> {
    match address {
        Address::Unix(path) => {
            let io = UnixStream::connect(path).await.map_err(|e| refused(address, &e))?;
            Ok(Connected { io: Box::new(io), auth: "unix socket".into(), certificate: None })
        }
        Address::Tcp { host, port } => {
            let io = tcp(address, host, *port).await?;
            Ok(Connected { io: Box::new(io), auth: "tcp, not authenticated".into(), certificate: None })
        }
        Address::Tls { host, port } => {
            let files = tls.ok_or_else(|| {
                SourceError::unreadable(format!(
                    "{address} needs a CA file to verify the server with; configure one"
                ))
            })?;
            let connector = TlsConnector::from(Arc::new(files.client_config()?));
            let name = files.name_for(host)?;
            let io = tcp(address, host, *port).await?;
            let io = connector.connect(name, io).await.map_err(|e| broken(&address.to_string(), &e))?;
            let certificate =
                io.get_ref().1.peer_certificates().and_then(|chain| chain.first()).map(certificate_sha256);
            let client = if files.client.is_some() { "client certificate" } else { "no client certificate" };
            let auth = format!("tls, server certificate verified, {client}");
            Ok(Connected { io: Box::new(io), auth, certificate })
        }
    }
}

async fn tcp(address: &Address, host: &str, port: u16) -> Result<TcpStream, SourceError> {
    let io = TcpStream::connect((host, port)).await.map_err(|e| refused(address, &e))?;
    // Requests are small and answered at once; a failure to say so costs milliseconds only.
    let _ = io.set_nodelay(true);
    Ok(io)
}

fn refused(address: &Address, e: &std::io::Error) -> SourceError {
    let kind = match e.kind() {
        std::io::ErrorKind::PermissionDenied => isoledger_core::model::Failure::Unreadable,
        _ => isoledger_core::model::Failure::Silent,
    };
    SourceError::new(kind, format!("connecting to {address} failed: {}", io_words(e)))
}

/// An error on an open connection, in words.
pub(crate) fn broken(where_: &str, e: &std::io::Error) -> SourceError {
    tls_words(where_, e)
        .unwrap_or_else(|| SourceError::silent(format!("the connection to {where_} broke: {}", io_words(e))))
}
