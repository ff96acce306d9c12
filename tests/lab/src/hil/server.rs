//! The server: accepts, records, waits as HIL would, answers.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::routes;
use crate::cloud::Cloud;
use crate::fault::Service;
use crate::http::Request;
use crate::serve::{self, Connection, Ended, Endpoint, Running};

/// How long a client may take to send its request. The real server waits for ever, and everybody else with it.
const REQUEST: Duration = Duration::from_secs(30);

/// How long a client may take to read the answer and close.
const GOODBYE: Duration = Duration::from_secs(1);

/// HIL's REST server, as `hil-admin run-dev-server` runs it: one request at a time, one request per connection.
///
/// All GET endpoints of HIL's API are there, with headnodes always empty, and no power or console (they redirect to another
/// service). Of the others, `connect_network`, `detach_network`, `revert`, `connect_node`, `detach_node`, network access and
/// port registration work. The remaining writes are recorded, and answered with HIL's 500 page.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> std::io::Result<()> {
/// use isoledger_lab::{Cloud, HilServer, World};
///
/// let cloud = Cloud::new(World::two_tenants());
/// let hil = HilServer::start(&cloud).await?;
/// assert!(hil.url().starts_with("http://127.0.0.1:"));
/// # Ok(()) }
/// ```
#[derive(Debug)]
pub struct HilServer {
    address: SocketAddr,
    // Held to be dropped.
    _running: Running,
}

impl HilServer {
    /// Starts the server on a free port of 127.0.0.1.
    ///
    /// # Errors
    /// No port can be bound.
    pub async fn start(cloud: &Cloud) -> io::Result<HilServer> {
        let requests = Arc::new(AtomicU64::new(0));
        let serve = move |connection| serve(connection, Arc::clone(&requests));
        let running = serve::listen(cloud.clone(), Service::Hil, Endpoint::Tcp, true, serve).await?;
        let address = running.address.socket_addr().ok_or(io::ErrorKind::AddrNotAvailable)?;
        Ok(HilServer { address, _running: running })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The base URL, without the `/v0` of the API and without a slash at the end.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

async fn serve(mut connection: Connection, requests: Arc<AtomicU64>) -> Result<(), Ended> {
    let request = tokio::time::timeout(REQUEST, Request::read(&mut connection, &mut Vec::new()))
        .await
        .map_err(|_| Ended::Deadline)??;
    let by = request.basic().map(|(user, _)| user);
    let write = !matches!(request.method.as_str(), "GET" | "HEAD" | "OPTIONS");
    let what = format!("{} {}", request.method, request.target);
    connection.cloud.arrived(&Service::Hil, by.clone(), &what, write);
    let delay = connection.cloud.read(|w| w.hil.auth_delay);
    if by.is_some() && !delay.is_zero() {
        connection.sleep(delay).await?;
    }
    let turn = requests.fetch_add(1, Ordering::Relaxed);
    let response = if write {
        connection.cloud.edit(|w| routes::write(w, &request))
    } else {
        connection.cloud.read(|w| routes::read(w, &request, turn))
    };
    connection.answer(&response.to_bytes(request.method == "HEAD")).await?;
    connection.close().await?;
    // Wait for the client to have read it: closing with unread input would reset the connection under the answer.
    let mut rest = Vec::new();
    let _ = tokio::time::timeout(GOODBYE, connection.read(&mut rest)).await;
    Ok(())
}
