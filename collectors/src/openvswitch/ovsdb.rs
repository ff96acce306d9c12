//! A JSON-RPC session with an OVSDB server (RFC 7047). Three things leave this file: `transact` with nothing but
//! `select` operations, one `monitor` of the same columns, and the answer to the server's `echo`.
//!
//! Between two readings the server tells of every change of those columns; a task keeps what it is told, with the moment
//! it came, in a [`SharedWatch`] that outlives the session. What is kept is bounded; what had to be dropped is said.

use crate::SourceError;
use crate::net::json::{JsonFramer, canonical, parse_strict};
use crate::net::stream::{Connected, Io, broken, connect};
use crate::net::{Address, TlsFiles, within};
use isoledger_core::model::Failure;
use serde_json::{Value, json};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

/// The largest document accepted. A bridge of a thousand ports makes half a megabyte.
const MAX_DOCUMENT: usize = 32 << 20;

/// The method that reads.
const METHOD: &str = "transact";
/// The method that asks to be told.
const WATCH: &str = "monitor";

/// The method by which the server tells. It is never called.
const TOLD: &str = "update";

/// The most changes, and bytes of them, that are kept of one gap between two readings.
const MAX_CHANGES: usize = 4096;
const MAX_CHANGED: usize = 8 << 20;

/// One question: everything that decides what a bridge carries, as one transaction and so of one moment. No column
/// of it counts, measures or tells the time, and none can hold a secret. The same for every bridge.
pub const SELECT: &str = concat!(
    r#"["Open_vSwitch","#,
    r#"{"op":"select","table":"Open_vSwitch","where":[],"columns":["_uuid","cur_cfg","next_cfg","external_ids"]},"#,
    r#"{"op":"select","table":"Bridge","where":[],"columns":["_uuid","name","datapath_id","ports","mirrors","#,
    r#""controller","fail_mode","sflow","auto_attach"]},"#,
    r#"{"op":"select","table":"Port","where":[],"columns":["_uuid","name","vlan_mode","tag","trunks","cvlans","#,
    r#""fake_bridge","interfaces"]},"#,
    r#"{"op":"select","table":"Interface","where":[],"columns":["_uuid","name","type","admin_state"]},"#,
    r#"{"op":"select","table":"Mirror","where":[],"columns":["_uuid","name","select_all","select_src_port","#,
    r#""select_dst_port","select_vlan","output_port","output_vlan"]},"#,
    r#"{"op":"select","table":"Controller","where":[],"columns":["_uuid","target"]},"#,
    r#"{"op":"select","table":"Manager","where":[],"columns":["_uuid","target"]}]"#,
);

/// What is asked to be told: every column of [`SELECT`] that says what a bridge does, so all but those of the root row,
/// which identify and count. What is there already is not wanted.
pub const MONITOR: &str = concat!(
    r#"["Open_vSwitch","isoledger",{"#,
    r#""Bridge":{"columns":["name","datapath_id","ports","mirrors","controller","fail_mode","sflow","auto_attach"],"#,
    r#""select":{"initial":false}},"#,
    r#""Port":{"columns":["name","vlan_mode","tag","trunks","cvlans","fake_bridge","interfaces"],"#,
    r#""select":{"initial":false}},"#,
    r#""Interface":{"columns":["name","type","admin_state"],"select":{"initial":false}},"#,
    r#""Mirror":{"columns":["name","select_all","select_src_port","select_dst_port","select_vlan","output_port","#,
    r#""output_vlan"],"select":{"initial":false}},"#,
    r#""Controller":{"columns":["target"],"select":{"initial":false}},"#,
    r#""Manager":{"columns":["target"],"select":{"initial":false}}}]"#,
);

/// The question as evidence states it.
pub(super) fn asked() -> String {
    format!("{METHOD} {SELECT}")
}

/// The request to be told, as evidence states it; beside it stands what was told since the reading before.
pub(super) fn asked_to_be_told() -> String {
    format!("{WATCH} {MONITOR}")
}

/// One change the server told of.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Told {
    /// When it came.
    pub(super) at: Instant,
    /// The table updates, as they came.
    pub(super) update: Value,
}

#[derive(Debug)]
enum Event {
    Told {
        told: Told,
        bytes: usize,
    },
    /// From here on changes may have been missed.
    Lost(String),
    /// From here on changes came and were not kept.
    Overflowed,
}

/// What became of the changes between two readings.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Gap {
    /// Those that came, up to the first that may be missing.
    pub(super) told: Vec<Told>,
    /// Why nobody knows of others.
    pub(super) lost: Option<String>,
    /// More came than is kept.
    pub(super) overflowed: bool,
}

#[derive(Debug, Default)]
struct Watch {
    events: Vec<Event>,
    changes: usize,
    bytes: usize,
}

/// What a server told since the last reading, shared with the task that hears it. It outlives sessions, so that a
/// broken one is known of.
#[derive(Clone, Debug, Default)]
pub(super) struct SharedWatch(Arc<Mutex<Watch>>);

impl SharedWatch {
    fn open(&self) -> MutexGuard<'_, Watch> {
        // A watch is whole between its statements, so a panic elsewhere left nothing half done.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn keep(&self, update: Value, bytes: usize) {
        let mut watch = self.open();
        if watch.changes < MAX_CHANGES && watch.bytes + bytes <= MAX_CHANGED {
            watch.changes += 1;
            watch.bytes += bytes;
            watch.events.push(Event::Told { told: Told { at: Instant::now(), update }, bytes });
        } else if !matches!(watch.events.last(), Some(Event::Overflowed)) {
            watch.events.push(Event::Overflowed);
        }
    }

    /// Says that changes may have been missed.
    fn lose(&self, why: &str) {
        let mut watch = self.open();
        if !matches!(watch.events.last(), Some(Event::Lost(_))) {
            watch.events.push(Event::Lost(why.to_owned()));
        }
    }

    fn mark(&self) -> usize {
        self.open().events.len()
    }

    /// What happened up to `mark`. After a loss nothing is taken: it would be laid upon a state that nobody knows.
    pub(super) fn gap(&self, mark: usize) -> Gap {
        let watch = self.open();
        let mut gap = Gap::default();
        for event in watch.events.iter().take(mark) {
            match event {
                Event::Told { told, .. } => gap.told.push(told.clone()),
                Event::Lost(why) => {
                    gap.lost = Some(why.clone());
                    break;
                }
                Event::Overflowed => {
                    gap.overflowed = true;
                    break;
                }
            }
        }
        gap
    }

    /// Forgets what a finished reading has evidence of.
    pub(super) fn forget(&self, mark: usize) {
        let watch = &mut *self.open();
        for event in watch.events.drain(..mark.min(watch.events.len())) {
            if let Event::Told { bytes, .. } = event {
                watch.changes -= 1;
                watch.bytes -= bytes;
            }
        }
    }
}

/// An answer to [`SELECT`], and how much of the watch came before it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Selected {
    pub(super) answer: String,
    pub(super) mark: usize,
}

/// The tables of [`SELECT`], in order.
pub(super) const TABLES: [&str; 7] =
    ["Open_vSwitch", "Bridge", "Port", "Interface", "Mirror", "Controller", "Manager"];

struct Call {
    id: u64,
    text: Vec<u8>,
    reply: oneshot::Sender<Result<(Value, usize), SourceError>>,
}

/// An open session. A task of its own keeps answering the server's echoes between polls, or the server would hang
/// up after ten seconds. Dropping the session ends the task and the connection.
#[derive(Debug)]
pub(super) struct Session {
    calls: mpsc::Sender<Call>,
    task: JoinHandle<()>,
    next_id: u64,
    place: String,
    watch: SharedWatch,
    /// How the two sides authenticated.
    pub(super) auth: String,
    /// SHA-256 of the server's certificate.
    pub(super) certificate: Option<String>,
    /// Why the server does not tell of changes, if it does not.
    pub(super) refused: Option<String>,
}

impl Drop for Session {
    fn drop(&mut self) {
        self.task.abort();
        // Harmless at the end of a reader; elsewhere nobody listens from now on.
        self.watch.lose("the session ended between the readings");
    }
}

impl Session {
    /// Connects.
    pub(super) async fn open(
        address: &Address,
        tls: Option<&TlsFiles>,
        watch: &SharedWatch,
        deadline: Instant,
    ) -> Result<Session, SourceError> {
        let Connected { io, auth, certificate } = connect(address, tls, deadline).await?;
        let place = address.to_string();
        let (calls, incoming) = mpsc::channel(1);
        let task = tokio::spawn(serve(io, incoming, place.clone(), watch.clone()));
        let watch = watch.clone();
        let mut session = Session { calls, task, next_id: 1, place, watch, auth, certificate, refused: None };
        // A server that refuses is read all the same, and nothing is claimed of what it does in between. One that is no
        // server of OVSDB, or will not have us, ends the session.
        if let Err(e) = session.call(WATCH, MONITOR, deadline).await {
            if e.kind == Failure::Silent || session.is_closed() {
                return Err(e);
            }
            session.refused = Some(e.sentence);
        }
        Ok(session)
    }

    /// Whether the server hung up since.
    pub(super) fn is_closed(&self) -> bool {
        self.calls.is_closed()
    }

    /// The result of [`SELECT`], in canonical JSON.
    pub(super) async fn select(&mut self, deadline: Instant) -> Result<Selected, SourceError> {
        let (result, mark) = self.call(METHOD, SELECT, deadline).await?;
        Ok(Selected { answer: canonical(&orderly(result)), mark })
    }

    async fn call(
        &mut self,
        method: &str,
        params: &str,
        deadline: Instant,
    ) -> Result<(Value, usize), SourceError> {
        let id = self.next_id;
        self.next_id += 1;
        let text = format!(r#"{{"method":"{method}","params":{params},"id":{id}}}"#).into_bytes();
        let (reply, answer) = oneshot::channel();
        let gone = || SourceError::silent(format!("{} closed the connection", self.place));
        within(deadline, &self.place, async {
            self.calls.send(Call { id, text, reply }).await.map_err(|_| gone())?;
            answer.await.map_err(|_| gone())?
        })
        .await
    }
}

/// Writes calls, reads replies, keeps what is told, answers echoes, until either side is gone.
async fn serve(mut io: Box<dyn Io>, mut calls: mpsc::Receiver<Call>, place: String, watch: SharedWatch) {
    let mut framer = JsonFramer::new(MAX_DOCUMENT);
    let mut waiting: Option<Call> = None;
    let mut buffer = vec![0; 64 << 10];
    let failed = loop {
        tokio::select! {
            call = calls.recv(), if waiting.is_none() => {
                let Some(call) = call else { return };
                if let Err(e) = write(&mut io, &call.text).await {
                    waiting = Some(call);
                    break broken(&place, &e);
                }
                waiting = Some(call);
            }
            read = io.read(&mut buffer) => {
                match read {
                    Ok(0) => break SourceError::silent(format!("{place} closed the connection")),
                    Ok(n) => framer.push(&buffer[..n]),
                    Err(e) => break broken(&place, &e),
                }
                if let Err(e) = documents(&mut io, &mut framer, &mut waiting, &place, &watch).await {
                    break e;
                }
            }
        }
    };
    // Before anybody can see that the session is over.
    watch.lose(&failed.sentence);
    // A call may have been queued, but not taken, when the connection broke.
    calls.close();
    if let Some(call) = waiting {
        let _ = call.reply.send(Err(failed));
    } else if let Some(call) = calls.recv().await {
        let _ = call.reply.send(Err(failed));
    }
}

async fn write(io: &mut Box<dyn Io>, bytes: &[u8]) -> std::io::Result<()> {
    io.write_all(bytes).await?;
    io.flush().await
}

async fn documents(
    io: &mut Box<dyn Io>,
    framer: &mut JsonFramer,
    waiting: &mut Option<Call>,
    place: &str,
    watch: &SharedWatch,
) -> Result<(), SourceError> {
    let malformed = |why: &dyn std::fmt::Display| {
        SourceError::unreadable(format!("{place} sent something that is not OVSDB's JSON-RPC: {why}"))
    };
    while let Some(document) = framer.next_document().map_err(|e| malformed(&e))? {
        match understand(&document).map_err(|e| malformed(&e))? {
            Incoming::Echo(answer) => write(io, answer.as_bytes()).await.map_err(|e| broken(place, &e))?,
            Incoming::Reply { id, result } => {
                if let Some(call) = waiting.take_if(|call| call.id == id) {
                    // What stood in the stream before the reply came before it. The caller may have given up at its
                    // deadline.
                    let result = result.map(|value| (value, watch.mark()));
                    let _ =
                        call.reply.send(result.map_err(|e| {
                            SourceError::unreadable(format!("{place} refused the request: {e}"))
                        }));
                }
            }
            Incoming::Update(update) => watch.keep(update, document.len()),
            Incoming::Other => {}
        }
    }
    Ok(())
}

enum Incoming {
    /// The server's echo request, with what to answer.
    Echo(String),
    Reply {
        id: u64,
        result: Result<Value, String>,
    },
    /// A change of what was asked to be told.
    Update(Value),
    /// Another notification, or a reply to a call that nobody waits for any more.
    Other,
}

fn understand(document: &[u8]) -> Result<Incoming, String> {
    let value = parse_strict(document).map_err(|e| e.to_string())?;
    if let Some(method) = value.get("method") {
        return Ok(if method == "echo" {
            let (params, id) =
                (value.get("params").unwrap_or(&Value::Null), value.get("id").unwrap_or(&Value::Null));
            Incoming::Echo(json!({"id": id, "result": params, "error": null}).to_string())
        } else if method == TOLD && value.pointer("/params/0").is_some_and(|id| id == "isoledger") {
            match value.pointer("/params/1") {
                Some(update) => Incoming::Update(update.clone()),
                None => return Err("an update says nothing".into()),
            }
        } else {
            Incoming::Other
        });
    }
    let Some(id) = value.get("id").and_then(Value::as_u64) else { return Ok(Incoming::Other) };
    let result = match (value.get("error"), value.get("result")) {
        (None | Some(Value::Null), Some(result)) => Ok(result.clone()),
        (error, _) => Err(error.unwrap_or(&Value::Null).to_string()),
    };
    Ok(Incoming::Reply { id, result })
}

/// Puts a result into the one order that an unchanged database always gives: rows, sets and maps are unordered in
/// OVSDB, and the server lists rows as its hash table has them. Of `external_ids` only `system-id` is kept, since
/// the rest is anybody's scratch pad; `cur_cfg` and `next_cfg`, which count changes, become 0 while they are equal.
pub(super) fn orderly(mut result: Value) -> Value {
    if let Some(root) = result.pointer_mut("/0/rows/0").and_then(Value::as_object_mut) {
        if root.get("cur_cfg").is_some_and(|cur| cur.is_number() && Some(cur) == root.get("next_cfg")) {
            root.insert("cur_cfg".into(), 0.into());
            root.insert("next_cfg".into(), 0.into());
        }
        if let Some(pairs) =
            root.get_mut("external_ids").and_then(|m| m.get_mut(1)).and_then(Value::as_array_mut)
        {
            pairs.retain(|pair| pair.get(0).is_some_and(|key| key == "system-id"));
        }
    }
    if let Some(operations) = result.as_array_mut() {
        for operation in operations {
            sort_sets(operation);
            if let Some(rows) = operation.get_mut("rows").and_then(Value::as_array_mut) {
                rows.sort_by_cached_key(canonical);
            }
        }
    }
    result
}

fn sort_sets(value: &mut Value) {
    match value {
        Value::Array(items) => {
            items.iter_mut().for_each(sort_sets);
            if let [tag, Value::Array(inner)] = items.as_mut_slice()
                && (tag == "set" || tag == "map")
            {
                // Numbers by value: their text would put 10 before 9.
                inner.sort_by_cached_key(|v| (v.as_u64(), canonical(v)));
            }
        }
        Value::Object(members) => members.values_mut().for_each(sort_sets),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_question_reads_and_nothing_else() {
        let params = parse_strict(SELECT.as_bytes()).unwrap();
        let (database, operations) = params.as_array().unwrap().split_first().unwrap();
        assert_eq!(database, "Open_vSwitch");
        let tables: Vec<_> = operations.iter().map(|o| o["table"].as_str().unwrap()).collect();
        assert_eq!(tables, TABLES);
        let told = parse_strict(MONITOR.as_bytes()).unwrap();
        let told = told[2].as_object().unwrap();
        // All but the root row, whose columns identify and count.
        assert_eq!(told.len(), TABLES.len() - 1);
        for operation in &operations[1..] {
            let of = &told[operation["table"].as_str().unwrap()];
            assert_eq!(of["columns"].as_array().unwrap(), &operation["columns"].as_array().unwrap()[1..]);
            assert_eq!(of["select"], json!({"initial": false}));
        }
        for operation in operations {
            assert_eq!(operation["op"], "select");
            for column in operation["columns"].as_array().unwrap() {
                let column = column.as_str().unwrap();
                let allowed_to_change = ["cur_cfg", "next_cfg"].contains(&column);
                assert!(
                    allowed_to_change
                        || !["statistics", "status", "is_connected", "options"].contains(&column)
                );
            }
        }
    }

    #[test]
    fn order_and_counters_do_not_show() {
        let one = json!([{"rows": [{"cur_cfg": 7, "next_cfg": 7, "external_ids":
            ["map", [["hostname", "h"], ["system-id", "s"]]]}]}, {"rows": [{"a": ["set", [10, 9]]}, {"a": 1}]}]);
        let two = json!([{"rows": [{"cur_cfg": 9, "next_cfg": 9, "external_ids":
            ["map", [["system-id", "s"], ["hostname", "other"]]]}]}, {"rows": [{"a": 1}, {"a": ["set", [9, 10]]}]}]);
        assert_eq!(canonical(&orderly(one)), canonical(&orderly(two)));
        let behind = json!([{"rows": [{"cur_cfg": 7, "next_cfg": 8}]}]);
        assert_eq!(orderly(behind.clone()), behind);
    }

    #[test]
    fn what_the_server_sends_is_told_apart() {
        let echo = understand(br#"{"method":"echo","params":["x"],"id":"echo"}"#).unwrap();
        assert!(
            matches!(echo, Incoming::Echo(text) if text == r#"{"error":null,"id":"echo","result":["x"]}"#)
        );
        let refused = understand(br#"{"id":3,"result":null,"error":"unknown database"}"#).unwrap();
        assert!(
            matches!(refused, Incoming::Reply { id: 3, result: Err(e) } if e.contains("unknown database"))
        );
        assert!(matches!(understand(br#"{"method":"update","params":[],"id":null}"#), Ok(Incoming::Other)));
    }

    /// A server that echoes before, between and after answering, sends what was not asked for, and cuts its bytes
    /// at odd places.
    #[tokio::test]
    async fn echoes_are_answered_between_and_during_calls() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("db.sock");
        let listener = tokio::net::UnixListener::bind(&path).unwrap();
        let server = tokio::spawn(async move {
            let (mut io, _) = listener.accept().await.unwrap();
            let (mut framer, mut buffer, mut got) = (JsonFramer::new(1 << 20), [0; 4096], Vec::new());
            io.write_all(br#"{"method":"echo","params":["a"],"id":"e1"}{"method":"upd"#).await.unwrap();
            io.write_all(br#"ate","params":[],"id":null} {"id":99,"result":[],"error":null}"#).await.unwrap();
            // Two echo answers and three calls, in some order.
            while got.len() < 5 {
                let n = io.read(&mut buffer).await.unwrap();
                assert_ne!(n, 0, "the client hung up after {got:?}");
                framer.push(&buffer[..n]);
                while let Some(document) = framer.next_document().unwrap() {
                    let value = parse_strict(&document).unwrap();
                    if value["method"] == WATCH {
                        let told =
                            json!({"method": "update", "id": null, "params": ["isoledger", {"Port": {}}]});
                        io.write_all(told.to_string().as_bytes()).await.unwrap();
                        let reply = json!({"id": value["id"], "result": {}, "error": null}).to_string();
                        io.write_all(reply.as_bytes()).await.unwrap();
                    }
                    if value["method"] == METHOD {
                        let reply =
                            json!({"id": value["id"], "result": [{"rows": []}], "error": null}).to_string();
                        let (head, tail) = reply.split_at(9);
                        io.write_all(head.as_bytes()).await.unwrap();
                        io.write_all(tail.as_bytes()).await.unwrap();
                        if value["id"] == 2 {
                            io.write_all(br#"{"id":"e2","params":[],"method":"echo"}"#).await.unwrap();
                        }
                    }
                    got.push(value);
                }
            }
            got
        });
        let deadline = Instant::now() + std::time::Duration::from_secs(20);
        let watch = SharedWatch::default();
        let mut session = Session::open(&Address::Unix(path), None, &watch, deadline).await.unwrap();
        for _ in 0..2 {
            let selected = session.select(deadline).await.unwrap();
            assert_eq!(selected, Selected { answer: r#"[{"rows":[]}]"#.into(), mark: 1 });
        }
        let gap = watch.gap(1);
        assert_eq!((gap.told.len(), &gap.told[0].update), (1, &json!({"Port": {}})));
        assert_eq!((gap.lost, gap.overflowed, session.refused.as_ref()), (None, false, None));
        let got = server.await.unwrap();
        let echoes: Vec<_> = got.iter().filter(|v| v.get("result").is_some()).map(|v| &v["id"]).collect();
        assert_eq!(echoes, ["e1", "e2"]);
        let calls: Vec<_> = got.iter().filter(|v| v.get("method").is_some()).collect();
        for (call, (method, params)) in
            calls.iter().zip([(WATCH, MONITOR), (METHOD, SELECT), (METHOD, SELECT)])
        {
            assert_eq!(call["method"], method);
            assert_eq!(canonical(&call["params"]), canonical(&parse_strict(params.as_bytes()).unwrap()));
        }
        assert_eq!(calls.len(), 3);
        // The server has gone, which is known before anybody asks.
        while !session.is_closed() {
            tokio::task::yield_now().await;
        }
        assert!(watch.gap(2).lost.is_some_and(|why| why.contains("closed the connection")));
    }

    #[test]
    fn what_is_kept_between_readings_is_bounded_and_what_is_dropped_is_said() {
        let watch = SharedWatch::default();
        for n in 0..100_000 {
            watch.keep(json!({"Port": {"u": n}}), 100);
        }
        let gap = watch.gap(usize::MAX);
        assert_eq!((gap.told.len(), gap.lost, gap.overflowed), (MAX_CHANGES, None, true));
        assert_eq!(watch.mark(), MAX_CHANGES + 1);
        watch.forget(watch.mark());
        assert_eq!(watch.gap(usize::MAX), Gap::default());
        // By bytes, too; and forgetting gives the room back.
        for _ in 0..2 {
            watch.keep(json!({}), MAX_CHANGED);
            watch.keep(json!({}), 1);
            let gap = watch.gap(usize::MAX);
            assert_eq!((gap.told.len(), gap.overflowed), (1, true));
            watch.forget(2);
        }
        // A loss ends what is known of its gap, and of no other.
        watch.keep(json!(1), 1);
        let first = watch.mark();
        watch.lose("hung up");
        watch.lose("and dropped");
        watch.keep(json!(2), 1);
        let second = watch.mark();
        watch.keep(json!(3), 1);
        assert_eq!(watch.gap(first).lost, None);
        let gap = watch.gap(second);
        assert_eq!((gap.told.len(), gap.lost.as_deref()), (1, Some("hung up")));
        watch.forget(second);
        let gap = watch.gap(usize::MAX);
        assert_eq!((gap.told[0].update.clone(), gap.lost), (json!(3), None));
    }

    proptest! {
        #[test]
        fn any_document_is_understood_or_refused(text in "[{}\\[\\]\":,a-z0-9]{0,60}") {
            let _ = understand(text.as_bytes());
        }
    }
}
