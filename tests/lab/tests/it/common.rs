//! Clients as plain as can be, so that the emulators are tested on bytes and not on somebody's idea of them.

use std::path::{Path, PathBuf};
use std::time::Duration;

use base64::Engine;
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;

/// No wait of these tests may be longer.
pub(crate) const DEADLINE: Duration = Duration::from_secs(20);

pub(crate) async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(DEADLINE, future).await.expect("the test's deadline")
}

/// Real answers that are not part of the project: `None`, and a line that says so, where they are not there.
pub(crate) fn shared_data(folder: &str) -> Option<PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data").join(folder);
    if path.is_dir() {
        return Some(path);
    }
    println!("skipped: there are no captured answers in {}", path.display());
    None
}

pub(crate) fn fixture(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures").join(name);
    std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) content_type: String,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|e| panic!("{e}: {self:?}"))
    }
}

/// One HTTP request as `user:password` (or nobody), the way the captures were made.
pub(crate) async fn http(
    url: &str,
    method: &str,
    path: &str,
    login: Option<&str>,
    body: Option<&Value>,
) -> Answer {
    let body = body.map(Value::to_string).unwrap_or_default();
    let mut request = format!("{method} {path} HTTP/1.1\r\nHost: hil\r\nConnection: close\r\n");
    if let Some(login) = login {
        let encoded = base64::engine::general_purpose::STANDARD.encode(login);
        request.push_str(&format!("Authorization: Basic {encoded}\r\n"));
    }
    if !body.is_empty() {
        request.push_str(&format!("Content-Type: application/json\r\nContent-Length: {}\r\n", body.len()));
    }
    request.push_str("\r\n");
    request.push_str(&body);
    parse(&within(raw(url, request.as_bytes())).await)
}

/// Sends bytes to the server at `url` and reads until it closes.
pub(crate) async fn raw(url: &str, request: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(url.strip_prefix("http://").unwrap()).await.unwrap();
    stream.write_all(request).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    answer
}

pub(crate) fn parse(answer: &[u8]) -> Answer {
    let text = String::from_utf8(answer.to_vec()).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no HTTP answer: {text:?}"));
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    let content_type = head.lines().find_map(|l| l.strip_prefix("Content-Type: ")).unwrap_or_default();
    let length = head.lines().find_map(|l| l.strip_prefix("Content-Length: ")).unwrap();
    assert!(body.is_empty() || length.parse() == Ok(body.len()), "{head}");
    Answer { status, content_type: content_type.to_owned(), head: head.to_owned(), body: body.to_owned() }
}

/// A JSON-RPC client.
pub(crate) struct Rpc<S> {
    pub(crate) stream: S,
    buffer: Vec<u8>,
    next: u64,
}

impl Rpc<TcpStream> {
    pub(crate) async fn connect(address: &isoledger_lab::Address) -> Rpc<TcpStream> {
        Rpc::over(TcpStream::connect(address.socket_addr().unwrap()).await.unwrap())
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Rpc<S> {
    pub(crate) fn over(stream: S) -> Rpc<S> {
        Rpc { stream, buffer: Vec::new(), next: 0 }
    }

    pub(crate) async fn send(&mut self, message: &Value) {
        self.stream.write_all(message.to_string().as_bytes()).await.unwrap();
    }

    /// The next document; `None` when the server closed.
    pub(crate) async fn receive(&mut self) -> Option<Value> {
        within(async {
            loop {
                let mut documents = serde_json::Deserializer::from_slice(&self.buffer).into_iter::<Value>();
                match documents.next() {
                    Some(Ok(document)) => {
                        let taken = documents.byte_offset();
                        self.buffer.drain(..taken);
                        return Some(document);
                    }
                    Some(Err(e)) => assert!(e.is_eof(), "{e}: {:?}", String::from_utf8_lossy(&self.buffer)),
                    None => {}
                }
                if self.stream.read_buf(&mut self.buffer).await.unwrap() == 0 {
                    return None;
                }
            }
        })
        .await
    }

    pub(crate) async fn ask(&mut self, method: &str, params: Value) -> Value {
        let id = self.next;
        self.next += 1;
        self.send(&json!({"method": method, "params": params, "id": id})).await;
        let reply = self.receive().await.expect("a reply");
        assert_eq!(reply["id"], json!(id), "{reply}");
        reply
    }

    /// The rows of one `select` of everything.
    pub(crate) async fn rows(&mut self, table: &str, columns: &[&str]) -> Vec<Value> {
        let select = json!({"op": "select", "table": table, "where": [], "columns": columns});
        let reply = self.ask("transact", json!(["Open_vSwitch", select])).await;
        reply["result"][0]["rows"].as_array().unwrap_or_else(|| panic!("{reply}")).clone()
    }
}
