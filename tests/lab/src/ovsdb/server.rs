//! The server: JSON-RPC 1.0 documents one after another, with nothing between them (RFC 7047, section 4).

use std::io;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::database::Database;
use super::query::{self, Monitor};
use super::schema;
use crate::cloud::Cloud;
use crate::fault::Service;
use crate::serve::{self, Address, Connection, Ended, Endpoint, Running};

/// The longest request read. Readers ask in a few hundred bytes.
const LONGEST_REQUEST: usize = 1 << 20;

/// Monitors one connection may have.
const MONITORS: usize = 64;

/// How a server speaks.
#[derive(Clone, Debug, Default)]
pub struct OvsdbOptions {
    /// Sends an `echo` when the client was silent this long, and hangs up when it stays silent as long again.
    /// The real server's default is 5 seconds.
    pub probe: Option<Duration>,
}

/// The OVSDB server of one Open vSwitch host of the world.
///
/// It answers `list_dbs`, `get_schema`, `transact`, `monitor`, `monitor_cancel` and `echo`. It is read-only, as a connection
/// with `read_only=true` of the real server: writes are recorded and refused with "not allowed". (The lab's own changes go
/// through [`crate::OvsHost`].)
#[derive(Debug)]
pub struct OvsdbServer {
    running: Running,
}

impl OvsdbServer {
    /// Starts the server of `host`.
    ///
    /// # Errors
    /// The endpoint cannot be bound.
    pub async fn start(
        cloud: &Cloud,
        host: &str,
        endpoint: Endpoint,
        options: OvsdbOptions,
    ) -> io::Result<OvsdbServer> {
        let service = Service::Ovsdb(host.to_owned());
        let host = host.to_owned();
        let serve = move |connection| {
            let session = Session {
                connection,
                host: host.clone(),
                options: options.clone(),
                buffer: Vec::new(),
                monitors: Vec::new(),
                watched: None,
            };
            session.serve()
        };
        Ok(OvsdbServer { running: serve::listen(cloud.clone(), service, endpoint, false, serve).await? })
    }

    /// Where it listens.
    pub fn address(&self) -> &Address {
        &self.running.address
    }
}

struct Session {
    connection: Connection,
    host: String,
    options: OvsdbOptions,
    buffer: Vec<u8>,
    monitors: Vec<Monitor>,
    /// The state the monitors were last told, and the states to come. Set by the first monitor.
    watched: Option<(Arc<Database>, mpsc::Receiver<Arc<Database>>)>,
}

impl Session {
    async fn serve(mut self) -> Result<(), Ended> {
        let mut heard = Instant::now();
        let mut probed = false;
        loop {
            while let Some(message) = self.next_document()? {
                self.tell_all().await?;
                if let Some(reply) = self.reply(&message)? {
                    self.connection.answer(reply.to_string().as_bytes()).await?;
                }
            }
            let probe = self.options.probe.map(|idle| heard + idle * if probed { 2 } else { 1 });
            tokio::select! {
                read = self.connection.read(&mut self.buffer) => {
                    read?;
                    heard = Instant::now();
                    probed = false;
                }
                state = next_state(&mut self.watched) => {
                    // None: we fell too far behind, and the client must start over.
                    let state = state.ok_or(Ended::Deadline)?;
                    self.tell(state).await?;
                }
                () = sleep_until(probe) => {
                    if probed {
                        return Err(Ended::Deadline);
                    }
                    probed = true;
                    let echo = json!({"id": "echo", "method": "echo", "params": []});
                    self.connection.answer(echo.to_string().as_bytes()).await?;
                }
            }
        }
    }

    /// Takes one whole JSON document from the front of what was read.
    fn next_document(&mut self) -> Result<Option<Value>, Ended> {
        let mut documents = serde_json::Deserializer::from_slice(&self.buffer).into_iter::<Value>();
        match documents.next() {
            None => {
                self.buffer.clear();
                Ok(None)
            }
            Some(Ok(document)) => {
                let taken = documents.byte_offset();
                self.buffer.drain(..taken);
                Ok(Some(document))
            }
            Some(Err(error)) if error.is_eof() && self.buffer.len() <= LONGEST_REQUEST => Ok(None),
            Some(Err(error)) => Err(Ended::Protocol(error.to_string())),
        }
    }

    /// Tells the monitors what happened up to now, so that an answer never overtakes an update.
    async fn tell_all(&mut self) -> Result<(), Ended> {
        while let Some(state) = self.watched.as_mut().and_then(|(_, states)| states.try_recv().ok()) {
            self.tell(state).await?;
        }
        Ok(())
    }

    async fn tell(&mut self, state: Arc<Database>) -> Result<(), Ended> {
        let Some((shown, _)) = &mut self.watched else { return Ok(()) };
        let before = std::mem::replace(shown, Arc::clone(&state));
        let updates: Vec<Value> = self
            .monitors
            .iter()
            .filter(|m| m.database == schema::DATABASE)
            .filter_map(|m| Some((m, m.update(&before, &state)?)))
            .map(|(m, update)| json!({"id": null, "method": "update", "params": [m.id, update]}))
            .collect();
        for update in updates {
            self.connection.answer(update.to_string().as_bytes()).await?;
        }
        Ok(())
    }

    /// The reply to a message, if it wants one. Like the real server, a reply that is an error has no `result`.
    fn reply(&mut self, message: &Value) -> Result<Option<Value>, Ended> {
        let id = &message["id"];
        if message.get("method").is_none()
            && (message.get("result").is_some() || message.get("error").is_some())
        {
            return Ok(None);
        }
        let Some(method) = message["method"].as_str() else {
            return Err(Ended::Protocol("method is not a JSON string".to_owned()));
        };
        let Some(params) = message["params"].as_array() else {
            return Err(Ended::Protocol("\"params\" must be JSON array".to_owned()));
        };
        let (what, write) = describe(method, params);
        self.connection.cloud.arrived(&self.connection.service, None, &what, write);
        if id.is_null() {
            return Ok(None);
        }
        Ok(Some(match self.result(method, params) {
            Ok(result) => json!({"id": id, "result": result, "error": null}),
            Err(error) => json!({"id": id, "error": error}),
        }))
    }

    fn result(&mut self, method: &str, params: &[Value]) -> Result<Value, Value> {
        match method {
            "echo" => Ok(json!(params)),
            "list_dbs" => Ok(json!([schema::DATABASE, schema::SERVER])),
            "get_schema" => Ok(schema::to_json(database(method, params)?)),
            "transact" => {
                let name = database(method, params)?;
                let state = self.state(name)?;
                Ok(query::transact(name, &state, params.get(1..).unwrap_or_default()))
            }
            "monitor" => {
                let name = database(method, params)?;
                let [_, id, requests] = params else {
                    return Err(json!({"syntax": json!(params).to_string(), "error": "syntax error"}));
                };
                if self.monitors.iter().any(|m| m.id == *id) {
                    return Err(json!({
                        "syntax": id.to_string(), "details": "duplicate monitor ID", "error": "syntax error",
                    }));
                }
                if self.monitors.len() >= MONITORS {
                    return Err(json!({"error": "resources exhausted", "details": "too many monitors"}));
                }
                let monitor = Monitor::parse(name, id, requests)?;
                let state = if name == schema::SERVER { self.state(name)? } else { self.watch()? };
                let initial = monitor.initial(&state);
                self.monitors.push(monitor);
                Ok(initial)
            }
            "monitor_cancel" => match params.first() {
                Some(id) if self.monitors.iter().any(|m| m.id == *id) => {
                    self.monitors.retain(|m| m.id != *id);
                    Ok(json!({}))
                }
                _ => Err(json!("unknown monitor")),
            },
            "lock" | "steal" | "unlock" => Err(json!({
                "error": "not allowed",
                "details": format!("{method} not allowed when database server is in read only mode"),
            })),
            _ => Err(json!("unknown method")),
        }
    }

    fn state(&self, name: &str) -> Result<Arc<Database>, Value> {
        if name == schema::SERVER {
            return Ok(Arc::new(Database::about_server()));
        }
        let state = self.connection.cloud.read(|w| w.host(&self.host).map(|h| Arc::clone(&h.database)));
        state.ok_or_else(|| json!({"error": "unknown database", "details": "the host is gone"}))
    }

    /// The state the monitors know, from now on kept up to date.
    fn watch(&mut self) -> Result<Arc<Database>, Value> {
        if self.watched.is_none() {
            self.watched = self.connection.cloud.watch_database(&self.host);
        }
        match &self.watched {
            Some((shown, _)) => Ok(Arc::clone(shown)),
            None => Err(json!({"error": "unknown database", "details": "the host is gone"})),
        }
    }
}

async fn next_state(
    watched: &mut Option<(Arc<Database>, mpsc::Receiver<Arc<Database>>)>,
) -> Option<Arc<Database>> {
    match watched {
        Some((_, states)) => states.recv().await,
        None => std::future::pending().await,
    }
}

async fn sleep_until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

/// The database a request names first.
fn database<'a>(method: &str, params: &'a [Value]) -> Result<&'a str, Value> {
    let syntax = json!(params).to_string();
    match params.first().and_then(Value::as_str) {
        Some(name) if name == schema::DATABASE || name == schema::SERVER => Ok(name),
        Some(name) => Err(json!({
            "syntax": syntax,
            "details": format!("{method} request specifies unknown database {name}"),
            "error": "unknown database",
        })),
        None => Err(json!({
            "syntax": syntax,
            "details": format!("{method} request params must begin with <db-name>"),
            "error": "syntax error",
        })),
    }
}

fn describe(method: &str, params: &[Value]) -> (String, bool) {
    match method {
        "transact" => {
            let operations = params.get(1..).unwrap_or_default();
            let words: Vec<String> = operations
                .iter()
                .map(|o| {
                    format!("{} {}", o["op"].as_str().unwrap_or("?"), o["table"].as_str().unwrap_or("?"))
                })
                .collect();
            (format!("transact {}", words.join(", ")), query::writes(operations))
        }
        "monitor" | "monitor_cond" | "monitor_cond_since" => {
            let tables: Vec<&str> = params
                .get(2)
                .and_then(Value::as_object)
                .into_iter()
                .flat_map(|t| t.keys())
                .map(String::as_str)
                .collect();
            (format!("{method} {}", tables.join(", ")), false)
        }
        "echo"
        | "list_dbs"
        | "get_schema"
        | "get_server_id"
        | "monitor_cancel"
        | "monitor_cond_change"
        | "set_db_change_aware"
        | "cancel" => (method.to_owned(), false),
        other => (other.to_owned(), true),
    }
}
