//! Listening and connections: what all emulated services share, faults included.

use std::future::Future;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use tokio_rustls::TlsAcceptor;

use crate::cloud::{Cloud, Meter};
use crate::fault::{Fault, Service};

/// Connections served at once by one service; more wait to be accepted.
const CONNECTIONS: usize = 64;

/// How long a TLS handshake may take.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// Between two tries to listen again on an address given up for [`Fault::Refuse`].
const REBIND: Duration = Duration::from_millis(5);

pub(crate) trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

/// Where a service listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// A TCP port on loopback.
    Tcp(SocketAddr),
    /// TLS on a TCP port on loopback.
    Tls(SocketAddr),
    /// A unix socket.
    Unix(PathBuf),
}

impl Address {
    /// The address as Open vSwitch's tools spell it: `tcp:127.0.0.1:6640`, `ssl:127.0.0.1:6640`, `unix:/run/db.sock`.
    pub fn to_ovs(&self) -> String {
        match self {
            Address::Tcp(addr) => format!("tcp:{addr}"),
            Address::Tls(addr) => format!("ssl:{addr}"),
            Address::Unix(path) => format!("unix:{}", path.display()),
        }
    }

    /// The socket address, unless it is a unix socket.
    pub fn socket_addr(&self) -> Option<SocketAddr> {
        match self {
            Address::Tcp(addr) | Address::Tls(addr) => Some(*addr),
            Address::Unix(_) => None,
        }
    }

    /// The path, if it is a unix socket.
    pub fn path(&self) -> Option<&Path> {
        match self {
            Address::Unix(path) => Some(path),
            Address::Tcp(_) | Address::Tls(_) => None,
        }
    }
}

/// Where a service should listen.
#[derive(Clone, Debug, Default)]
pub enum Endpoint {
    /// A free TCP port on 127.0.0.1.
    #[default]
    Tcp,
    /// TLS on a free TCP port on 127.0.0.1.
    Tls(Arc<rustls::ServerConfig>),
    /// A unix socket at this path, which must not exist yet.
    Unix(PathBuf),
}

enum Listener {
    Tcp(TcpListener),
    Unix(UnixListener),
}

impl Listener {
    async fn bind(address: &Address) -> io::Result<Listener> {
        match address {
            Address::Tcp(addr) | Address::Tls(addr) => Ok(Listener::Tcp(TcpListener::bind(addr).await?)),
            Address::Unix(path) => UnixListener::bind(path).map(Listener::Unix),
        }
    }

    async fn accept(&self) -> io::Result<Box<dyn Stream>> {
        match self {
            Listener::Tcp(listener) => {
                let (stream, _) = listener.accept().await?;
                // Answers are written whole; waiting for an acknowledgement would only slow the tests down.
                stream.set_nodelay(true)?;
                Ok(Box::new(stream))
            }
            Listener::Unix(listener) => Ok(Box::new(listener.accept().await?.0)),
        }
    }
}

/// A running service. Dropping it closes the listener and every connection.
#[derive(Debug)]
pub(crate) struct Running {
    pub(crate) address: Address,
    task: JoinHandle<()>,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.task.abort();
        if let Address::Unix(path) = &self.address {
            // Nobody can be told if this fails, and the directory is usually about to go as well.
            let _ = std::fs::remove_file(path);
        }
    }
}

/// Listens on `endpoint` and gives each connection to `serve`. A `serial` service finishes one connection before it accepts
/// the next.
pub(crate) async fn listen<F, Fut>(
    cloud: Cloud,
    service: Service,
    endpoint: Endpoint,
    serial: bool,
    serve: F,
) -> io::Result<Running>
where
    F: Fn(Connection) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<(), Ended>> + Send + 'static,
{
    let (wanted, tls) = match endpoint {
        Endpoint::Tcp => (Address::Tcp((Ipv4Addr::LOCALHOST, 0).into()), None),
        Endpoint::Tls(config) => {
            (Address::Tls((Ipv4Addr::LOCALHOST, 0).into()), Some(TlsAcceptor::from(config)))
        }
        Endpoint::Unix(path) => (Address::Unix(path), None),
    };
    let listener = Listener::bind(&wanted).await?;
    let address = match (&listener, wanted) {
        (Listener::Tcp(l), Address::Tls(_)) => Address::Tls(l.local_addr()?),
        (Listener::Tcp(l), _) => Address::Tcp(l.local_addr()?),
        (Listener::Unix(_), wanted) => wanted,
    };
    let limit = if serial { 1 } else { CONNECTIONS };
    let task = tokio::spawn(accept(cloud, service, address.clone(), listener, tls, limit, serve));
    Ok(Running { address, task })
}

async fn accept<F, Fut>(
    cloud: Cloud,
    service: Service,
    address: Address,
    listener: Listener,
    tls: Option<TlsAcceptor>,
    limit: usize,
    serve: F,
) where
    F: Fn(Connection) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<(), Ended>> + Send + 'static,
{
    let mut changes = cloud.changes();
    let mut listener = Some(listener);
    let mut connections = JoinSet::new();
    let serve = Arc::new(serve);
    loop {
        changes.mark_unchanged();
        let fault = cloud.read(|w| w.fault(&service).cloned());
        match (fault, &listener) {
            (Some(Fault::Refuse), _) => {
                if listener.take().is_some() {
                    unbind(&address);
                }
                // What is connected stays connected: a firewall rule, not a reboot. Sender gone = lab gone.
                if changes.changed().await.is_err() {
                    return;
                }
            }
            (_, None) => match Listener::bind(&address).await {
                Ok(again) => listener = Some(again),
                Err(_) => tokio::time::sleep(REBIND).await,
            },
            (Some(Fault::Unaccepted), Some(_)) => {
                if changes.changed().await.is_err() {
                    return;
                }
            }
            (_, Some(open)) => tokio::select! {
                accepted = open.accept(), if connections.len() < limit => match accepted {
                    Ok(stream) => {
                        let connection = Connection::new(cloud.clone(), service.clone(), stream);
                        let (serve, tls) = (Arc::clone(&serve), tls.clone());
                        connections.spawn(async move { serve(secure(connection, tls).await?).await });
                    }
                    // Out of descriptors, or the client went between its SYN and our accept. Neither ends a service.
                    Err(error) => {
                        tracing::debug!(%service, %error, "a connection could not be accepted");
                        tokio::time::sleep(REBIND).await;
                    }
                },
                Some(done) = connections.join_next(), if !connections.is_empty() => {
                    if let Ok(Err(ended)) = done {
                        tracing::trace!(%service, ?ended, "a connection ended");
                    }
                }
                changed = changes.changed() => if changed.is_err() { return },
            },
        }
    }
}

fn unbind(address: &Address) {
    if let Address::Unix(path) = address {
        // Gone already is what we want; anything else shows when we bind again.
        let _ = std::fs::remove_file(path);
    }
}

async fn secure(mut connection: Connection, tls: Option<TlsAcceptor>) -> Result<Connection, Ended> {
    if let Some(tls) = tls {
        let handshake = tokio::time::timeout(HANDSHAKE, tls.accept(connection.stream));
        connection.stream = Box::new(handshake.await.map_err(|_| Ended::Deadline)??);
    }
    Ok(connection)
}

/// Why a connection ended. None of these is an error of the lab.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Ended {
    /// The client closed it, or the lab did after an answer that ends it.
    #[error("closed")]
    Closed,
    /// The service was restarted.
    #[error("the service restarted")]
    Restarted,
    /// A fault of the world ended it.
    #[error("ended by a fault of the world")]
    Fault,
    /// The client sent or took nothing for too long.
    #[error("the client was idle for too long")]
    Deadline,
    /// The client broke the protocol.
    #[error("the client broke the protocol: {0}")]
    Protocol(String),
    /// The socket failed.
    #[error("the socket failed: {0}")]
    Io(#[from] io::Error),
}

/// One accepted connection. All reading and answering goes through here, so that all faults apply to all protocols.
pub(crate) struct Connection {
    pub(crate) cloud: Cloud,
    pub(crate) service: Service,
    stream: Box<dyn Stream>,
    changes: watch::Receiver<u64>,
    restarts: u64,
    counted: Counted,
}

/// What is counted of a connection, and what ends with it.
struct Counted {
    cloud: Cloud,
    service: String,
    meter: Arc<Meter>,
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.cloud.answered(&self.service);
    }
}

impl Connection {
    /// The longest a client may take to accept an answer.
    const WRITE: Duration = Duration::from_secs(30);

    fn new(cloud: Cloud, service: Service, stream: Box<dyn Stream>) -> Connection {
        let changes = cloud.changes();
        let restarts = cloud.read(|w| w.restarts(&service));
        let name = service.to_string();
        let counted = Counted { cloud: cloud.clone(), meter: cloud.meter(&name), service: name };
        counted.meter.connected();
        Connection { cloud, service, stream, changes, restarts, counted }
    }

    fn fault(&self) -> Option<Fault> {
        self.cloud.read(|w| w.fault(&self.service).cloned())
    }

    fn check_restart(&self) -> Result<(), Ended> {
        if self.cloud.read(|w| w.restarts(&self.service)) == self.restarts {
            Ok(())
        } else {
            Err(Ended::Restarted)
        }
    }

    /// Appends what arrives to `buffer`. May be cancelled without losing bytes.
    pub(crate) async fn read(&mut self, buffer: &mut Vec<u8>) -> Result<(), Ended> {
        let mut chunk = [0; 4096];
        loop {
            self.changes.mark_unchanged();
            self.check_restart()?;
            tokio::select! {
                read = self.stream.read(&mut chunk) => {
                    let n = read?;
                    if n == 0 {
                        return Err(Ended::Closed);
                    }
                    self.counted.meter.heard(n);
                    buffer.extend_from_slice(&chunk[..n]);
                    return Ok(());
                }
                changed = self.changes.changed() => changed.map_err(|_| Ended::Closed)?,
            }
        }
    }

    /// Sends one answer, as well or badly as the world's faults allow.
    pub(crate) async fn answer(&mut self, bytes: &[u8]) -> Result<(), Ended> {
        self.check_restart()?;
        match self.fault() {
            None | Some(Fault::Refuse | Fault::Unaccepted) => self.write(bytes).await,
            Some(Fault::Silent) => {
                self.outlast(|f| matches!(f, Fault::Silent)).await?;
                Err(Ended::Fault)
            }
            Some(Fault::Delay(delay)) => {
                self.sleep(delay).await?;
                self.write(bytes).await
            }
            Some(Fault::Trickle(pause)) => {
                for byte in bytes {
                    self.sleep(pause).await?;
                    self.write(&[*byte]).await?;
                }
                Ok(())
            }
            Some(Fault::Garbage(garbage)) => self.write(&garbage).await,
            Some(Fault::HalfClose { after }) => {
                self.write(&bytes[..after.min(bytes.len())]).await?;
                self.stream.shutdown().await?;
                self.outlast(|f| matches!(f, Fault::HalfClose { .. })).await?;
                Err(Ended::Fault)
            }
            Some(Fault::Cut { after }) => {
                self.write(&bytes[..after.min(bytes.len())]).await?;
                self.stream.shutdown().await?;
                Err(Ended::Fault)
            }
        }
    }

    /// Closes the sending half after the last answer and lets the client read it.
    pub(crate) async fn close(&mut self) -> Result<(), Ended> {
        self.stream.shutdown().await?;
        Ok(())
    }

    async fn write(&mut self, bytes: &[u8]) -> Result<(), Ended> {
        self.counted.meter.said(bytes.len());
        // Before the client can act on it.
        self.cloud.answered(&self.counted.service);
        let write = async {
            self.stream.write_all(bytes).await?;
            self.stream.flush().await
        };
        tokio::time::timeout(Self::WRITE, write).await.map_err(|_| Ended::Deadline)??;
        Ok(())
    }

    /// Waits, but not past a restart of the service.
    pub(crate) async fn sleep(&mut self, how_long: Duration) -> Result<(), Ended> {
        let until = tokio::time::Instant::now() + how_long;
        loop {
            self.changes.mark_unchanged();
            self.check_restart()?;
            tokio::select! {
                () = tokio::time::sleep_until(until) => return Ok(()),
                changed = self.changes.changed() => changed.map_err(|_| Ended::Closed)?,
            }
        }
    }

    /// Reads and throws away until the fault is another or the client goes.
    async fn outlast(&mut self, same: impl Fn(&Fault) -> bool) -> Result<(), Ended> {
        let mut ignored = [0; 4096];
        loop {
            self.changes.mark_unchanged();
            self.check_restart()?;
            if !self.fault().is_some_and(|f| same(&f)) {
                return Ok(());
            }
            tokio::select! {
                read = self.stream.read(&mut ignored) => if read? == 0 { return Err(Ended::Closed) },
                changed = self.changes.changed() => changed.map_err(|_| Ended::Closed)?,
            }
        }
    }
}
