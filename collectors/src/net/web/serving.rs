//! A web server of a few lines for tests: it answers from a function and remembers what arrived.

use std::future::Future;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// One request as it came over the wire.
#[derive(Clone, Debug)]
pub(crate) struct Arrived {
    /// Method and target: `GET /a?b`.
    pub(crate) what: String,
    /// The lines of the head, in lower case.
    pub(crate) head: String,
    pub(crate) body: String,
}

/// What has come so far.
#[derive(Clone, Debug, Default)]
pub(crate) struct Seen {
    pub(crate) requests: Arc<Mutex<Vec<Arrived>>>,
    pub(crate) connections: Arc<AtomicUsize>,
}

impl Seen {
    /// Method, target and body of every request, in order of arrival.
    pub(crate) fn asked(&self) -> Vec<String> {
        let requests = self.requests.lock().unwrap();
        requests.iter().map(|r| format!("{} {}", r.what, r.body).trim_end().to_owned()).collect()
    }

    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

/// An answer with this status and body.
pub(crate) fn answer(status: u16, body: &str) -> Vec<u8> {
    format!("HTTP/1.1 {status} -\r\ncontent-length: {}\r\n\r\n{body}", body.len()).into_bytes()
}

/// Serves on a free port of this host until the runtime ends; `act` makes the bytes of each answer.
pub(crate) async fn serve<F, A>(act: F) -> (String, Seen)
where
    F: Fn(Arrived) -> A + Clone + Send + 'static,
    A: Future<Output = Vec<u8>> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let seen = Seen::default();
    let all = seen.clone();
    tokio::spawn(async move {
        while let Ok((io, _)) = listener.accept().await {
            all.connections.fetch_add(1, Ordering::SeqCst);
            tokio::spawn(converse(io, act.clone(), all.clone()));
        }
    });
    (url, seen)
}

async fn converse<F, A>(mut io: TcpStream, act: F, seen: Seen)
where
    F: Fn(Arrived) -> A,
    A: Future<Output = Vec<u8>>,
{
    let mut got = Vec::new();
    loop {
        let head = loop {
            if let Some(at) = got.windows(4).position(|w| w == b"\r\n\r\n") {
                break at;
            }
            if io.read_buf(&mut got).await.unwrap_or(0) == 0 {
                return;
            }
        };
        let text = String::from_utf8_lossy(&got[..head]).into_owned();
        let length =
            text.lines().find_map(|l| l.to_lowercase().strip_prefix("content-length: ")?.parse().ok());
        let length: usize = length.unwrap_or(0);
        while got.len() < head + 4 + length {
            if io.read_buf(&mut got).await.unwrap_or(0) == 0 {
                return;
            }
        }
        let body = String::from_utf8_lossy(&got[head + 4..head + 4 + length]).into_owned();
        got.drain(..head + 4 + length);
        let what = text.lines().next().unwrap_or_default().trim_end_matches(" HTTP/1.1").to_owned();
        let arrived = Arrived { what, head: text.to_lowercase(), body };
        seen.requests.lock().unwrap().push(arrived.clone());
        let answer = act(arrived).await;
        if io.write_all(&answer).await.is_err() {
            return;
        }
    }
}
