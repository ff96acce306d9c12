//! The server: accepts, records, checks the password, answers. Connections are kept, as the switches keep them.

use std::io;
use std::time::Duration;

use super::{os9, vdx};
use crate::cloud::Cloud;
use crate::fault::Service;
use crate::http::Request;
use crate::serve::{self, Address, Connection, Ended, Endpoint, Running};
use crate::world::{Account, Hardware, HardwareKind};

/// How long a kept connection may be idle. What NOS announces.
const IDLE: Duration = Duration::from_secs(180);

/// Bytes of one chunk of an answer that is sent in chunks.
const CHUNK: usize = 4096;

/// The REST interface of a Brocade VDX or a Dell OS 9 switch.
///
/// Reads are answered from the world. Whatever would change the switch is recorded as a write and refused: HIL's own changes
/// go through [`World::attach`](crate::World::attach) and the like.
#[derive(Debug)]
pub struct RestServer {
    // Held to be dropped.
    running: Running,
}

impl RestServer {
    /// Serves the switch `hardware`, which need not be there yet.
    ///
    /// # Errors
    /// No port or socket can be bound.
    pub async fn start(cloud: &Cloud, hardware: &str, endpoint: Endpoint) -> io::Result<RestServer> {
        let service = Service::Rest(hardware.to_owned());
        let name = hardware.to_owned();
        let serve = move |connection| serve(connection, name.clone());
        let running = serve::listen(cloud.clone(), service, endpoint, false, serve).await?;
        Ok(RestServer { running })
    }

    /// Where it listens.
    pub fn address(&self) -> &Address {
        &self.running.address
    }

    /// The base URL, without a slash at the end; `None` on a unix socket.
    pub fn url(&self) -> Option<String> {
        url_of(self.address())
    }
}

/// The URL of what listens there.
pub(crate) fn url_of(address: &Address) -> Option<String> {
    match address {
        Address::Tcp(addr) => Some(format!("http://{addr}")),
        Address::Tls(addr) => Some(format!("https://{addr}")),
        Address::Unix(_) => None,
    }
}

/// What a switch answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) body: String,
}

impl Answer {
    pub(super) fn ok(body: String) -> Answer {
        Answer { status: 200, body }
    }

    pub(super) fn error(status: u16, text: &str) -> Answer {
        let text = super::xml::escape(text);
        Answer {
            status,
            body: format!(
                "<errors>\r\n  <error>\r\n    <error-message>{text}</error-message>\r\n  </error>\r\n</errors>\r\n"
            ),
        }
    }
}

/// What a request comes to.
pub(super) struct Asked {
    /// How it is recorded.
    pub(super) what: String,
    /// Whether it would change something.
    pub(super) write: bool,
}

async fn serve(mut connection: Connection, name: String) -> Result<(), Ended> {
    let mut buffer = Vec::new();
    loop {
        let request = tokio::time::timeout(IDLE, Request::read(&mut connection, &mut buffer))
            .await
            .map_err(|_| Ended::Deadline)??;
        let last = request.header("connection").is_some_and(|c| c.eq_ignore_ascii_case("close"));
        let login = request.basic();
        let by = login.as_ref().map(|(user, _)| user.clone());
        let Some(kind) = connection.cloud.read(|w| w.hardware(&name).map(|h| h.kind)) else {
            return Err(Ended::Closed);
        };
        let asked = match kind {
            HardwareKind::Os9 => os9::asked(&request),
            _ => vdx::asked(&request),
        };
        let service = connection.service.clone();
        connection.cloud.arrived(&service, by, &asked.what, asked.write);
        // A hook may have changed the switch just now. The copy shares the configuration: rendering needs no lock.
        let Some(hardware) = connection.cloud.read(|w| w.hardware(&name).cloned()) else {
            return Err(Ended::Closed);
        };
        let account = login.and_then(|(user, password)| hardware.account(&user, &password));
        let answer = respond(&hardware, account, &request, &asked);
        connection.answer(&to_bytes(&answer, kind, last)).await?;
        if last {
            return connection.close().await;
        }
    }
}

fn respond(hardware: &Hardware, account: Option<&Account>, request: &Request, asked: &Asked) -> Answer {
    let Some(account) = account else {
        return Answer::error(401, "Unauthorized");
    };
    if asked.write {
        return Answer::error(403, "access denied");
    }
    match hardware.kind {
        HardwareKind::Os9 => os9::respond(hardware, account, request),
        HardwareKind::Vdx => vdx::respond(hardware, request),
        // A command-line switch has no such interface.
        _ => Answer::error(404, "Not Found"),
    }
}

/// NOS sends chunks, OS 9 a length.
fn to_bytes(answer: &Answer, kind: HardwareKind, last: bool) -> Vec<u8> {
    let status = answer.status;
    let reason = match status {
        200 => "OK",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        _ => "Bad Request",
    };
    let (content_type, server) = match kind {
        HardwareKind::Os9 => ("application/vnd.yang.data+xml", "Dell"),
        _ => ("application/vnd.configuration.resource+xml", "Wave WWW"),
    };
    let connection = if last { "close" } else { "Keep-Alive" };
    let mut head = format!(
        "HTTP/1.1 {status} {reason}\r\nServer: {server}\r\nCache-control: private, no-cache\r\n\
         Content-Type: {content_type}\r\nConnection: {connection}\r\n"
    );
    if status == 401 {
        head.push_str("WWW-Authenticate: Basic realm=\"switch\"\r\n");
    }
    let body = answer.body.as_bytes();
    if kind == HardwareKind::Os9 {
        head.push_str(&format!("Content-Length: {}\r\n\r\n", body.len()));
        return [head.as_bytes(), body].concat();
    }
    head.push_str("Transfer-Encoding: chunked\r\n\r\n");
    let mut out = head.into_bytes();
    for chunk in body.chunks(CHUNK) {
        out.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
        out.extend_from_slice(chunk);
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(b"0\r\n\r\n");
    out
}
