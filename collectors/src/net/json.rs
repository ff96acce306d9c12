//! JSON documents from a stream that puts nothing between them, as JSON-RPC over TCP does (RFC 7047 section 4
//! after JSON-RPC 1.0). A state machine without sockets, and a parser that refuses what has two meanings.

use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};
use std::fmt;

/// Deeper documents are refused. OVSDB needs seven levels.
const MAX_DEPTH: usize = 64;

/// Why a stream of JSON documents cannot go on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// A document is larger than allowed.
    #[error("a JSON document exceeds {allowed} bytes")]
    TooLarge {
        /// The limit.
        allowed: usize,
    },
    /// A document is nested deeper than allowed.
    #[error("a JSON document is nested deeper than {MAX_DEPTH} levels")]
    TooDeep,
    /// Between documents stands something else than white space and `{`.
    #[error("found the byte 0x{found:02x} where a JSON object was to begin")]
    NotAnObject {
        /// The byte.
        found: u8,
    },
    /// A closing bracket of the wrong kind, or too many.
    #[error("a JSON document closes a bracket it did not open")]
    Unbalanced,
}

/// Cuts a stream into JSON objects. It looks at strings, escapes and brackets only; what is inside is the parser's
/// matter. An error is final: the stream has lost its place.
#[derive(Debug)]
pub struct JsonFramer {
    buffer: Vec<u8>,
    /// How far `buffer` has been looked at.
    seen: usize,
    open: Vec<u8>,
    in_string: bool,
    escaped: bool,
    limit: usize,
    failed: Option<FrameError>,
}

impl JsonFramer {
    /// Documents of at most `limit` bytes.
    pub fn new(limit: usize) -> JsonFramer {
        JsonFramer {
            buffer: Vec::new(),
            seen: 0,
            open: Vec::new(),
            in_string: false,
            escaped: false,
            limit,
            failed: None,
        }
    }

    /// Takes the next bytes of the stream.
    pub fn push(&mut self, bytes: &[u8]) {
        if self.failed.is_none() {
            self.buffer.extend_from_slice(bytes);
        }
    }

    /// The next whole document; `None` until more bytes come.
    pub fn next_document(&mut self) -> Result<Option<Vec<u8>>, FrameError> {
        if let Some(e) = &self.failed {
            return Err(e.clone());
        }
        let found = self.scan();
        if let Err(e) = &found {
            self.failed = Some(e.clone());
            self.buffer = Vec::new();
        }
        found
    }

    /// Whether the stream stands between two documents.
    pub fn is_idle(&self) -> bool {
        self.open.is_empty() && self.buffer.iter().all(u8::is_ascii_whitespace)
    }

    fn scan(&mut self) -> Result<Option<Vec<u8>>, FrameError> {
        while let Some(&byte) = self.buffer.get(self.seen) {
            if self.open.is_empty() {
                if byte.is_ascii_whitespace() {
                    self.seen += 1;
                    continue;
                }
                if byte != b'{' {
                    return Err(FrameError::NotAnObject { found: byte });
                }
                // What stood before the document was white space.
                self.buffer.drain(..self.seen);
                self.seen = 0;
            }
            self.seen += 1;
            if self.seen > self.limit {
                return Err(FrameError::TooLarge { allowed: self.limit });
            }
            if self.in_string {
                match byte {
                    _ if self.escaped => self.escaped = false,
                    b'\\' => self.escaped = true,
                    b'"' => self.in_string = false,
                    _ => {}
                }
                continue;
            }
            match byte {
                b'"' => self.in_string = true,
                b'{' | b'[' => {
                    if self.open.len() == MAX_DEPTH {
                        return Err(FrameError::TooDeep);
                    }
                    self.open.push(byte);
                }
                b'}' | b']' => {
                    let opened = if byte == b'}' { b'{' } else { b'[' };
                    if self.open.pop() != Some(opened) {
                        return Err(FrameError::Unbalanced);
                    }
                    if self.open.is_empty() {
                        let rest = self.buffer.split_off(self.seen);
                        self.seen = 0;
                        return Ok(Some(std::mem::replace(&mut self.buffer, rest)));
                    }
                }
                _ => {}
            }
        }
        if self.open.is_empty() {
            self.buffer.clear();
            self.seen = 0;
        }
        Ok(None)
    }
}

/// Reads one JSON value and refuses an object that names a member twice: which of the two counts would be a guess.
pub fn parse_strict(bytes: &[u8]) -> Result<Value, serde_json::Error> {
    serde_json::from_slice::<Strict>(bytes).map(|s| s.0)
}

/// The compact text of a value with the members of every object in the order of their names, whatever order the
/// sender used.
pub fn canonical(value: &Value) -> String {
    sorted(value).to_string()
}

fn sorted(value: &Value) -> Value {
    match value {
        Value::Array(items) => Value::Array(items.iter().map(sorted).collect()),
        Value::Object(members) => {
            let mut all: Vec<_> = members.iter().collect();
            all.sort_by(|a, b| a.0.cmp(b.0));
            Value::Object(all.into_iter().map(|(k, v)| (k.clone(), sorted(v))).collect())
        }
        other => other.clone(),
    }
}

struct Strict(Value);

impl<'de> Deserialize<'de> for Strict {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Strict, D::Error> {
        d.deserialize_any(StrictVisitor).map(Strict)
    }
}

struct StrictVisitor;

impl<'de> Visitor<'de> for StrictVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, v: bool) -> Result<Value, E> {
        Ok(Value::Bool(v))
    }

    fn visit_i64<E>(self, v: i64) -> Result<Value, E> {
        Ok(v.into())
    }

    fn visit_u64<E>(self, v: u64) -> Result<Value, E> {
        Ok(v.into())
    }

    fn visit_f64<E: serde::de::Error>(self, v: f64) -> Result<Value, E> {
        Number::from_f64(v).map(Value::Number).ok_or_else(|| E::custom("a number that JSON cannot hold"))
    }

    fn visit_str<E>(self, v: &str) -> Result<Value, E> {
        Ok(v.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        let mut items = Vec::new();
        while let Some(Strict(item)) = seq.next_element()? {
            items.push(item);
        }
        Ok(Value::Array(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut members = Map::new();
        while let Some((name, Strict(value))) = map.next_entry::<String, Strict>()? {
            if members.insert(name.clone(), value).is_some() {
                return Err(A::Error::custom(format!("the member {name:?} stands twice in one object")));
            }
        }
        Ok(Value::Object(members))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            "[a-z\"\\\\{}\\[\\]\u{e9} ]{0,8}".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 24, 4, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                proptest::collection::btree_map("[a-z\"}]{0,4}", inner, 0..4)
                    .prop_map(|m| Value::Object(m.into_iter().collect())),
            ]
        })
    }

    fn object() -> impl Strategy<Value = Value> {
        proptest::collection::btree_map("[a-z]{1,4}", value(), 0..4)
            .prop_map(|m| Value::Object(m.into_iter().collect()))
    }

    /// Feeds `stream` in pieces of `step` bytes.
    fn frames(stream: &[u8], step: usize, limit: usize) -> (Vec<Vec<u8>>, Option<FrameError>, bool) {
        let mut framer = JsonFramer::new(limit);
        let mut out = Vec::new();
        for piece in stream.chunks(step) {
            framer.push(piece);
            loop {
                match framer.next_document() {
                    Ok(Some(doc)) => out.push(doc),
                    Ok(None) => break,
                    Err(e) => return (out, Some(e), framer.is_idle()),
                }
            }
        }
        (out, None, framer.is_idle())
    }

    proptest! {
        #[test]
        fn documents_come_out_as_they_went_in(
            docs in proptest::collection::vec((object(), "[ \n\r\t]{0,3}"), 0..6),
            step in 1usize..40,
        ) {
            let stream: Vec<u8> = docs.iter().flat_map(|(d, gap)| format!("{d}{gap}").into_bytes()).collect();
            let (out, error, idle) = frames(&stream, step, 1 << 20);
            prop_assert_eq!(error, None);
            prop_assert!(idle);
            let want: Vec<Value> = docs.into_iter().map(|(d, _)| d).collect();
            let got: Vec<Value> = out.iter().map(|d| parse_strict(d).unwrap()).collect();
            prop_assert_eq!(got, want);
        }

        #[test]
        fn a_cut_stream_gives_no_document_that_was_not_whole(doc in object(), cut in any::<prop::sample::Index>()) {
            let text = doc.to_string().into_bytes();
            let cut = cut.index(text.len());
            let (out, error, _) = frames(&text[..cut], 7, 1 << 20);
            prop_assert!(out.is_empty() && error.is_none());
        }

        #[test]
        fn any_bytes_in_any_pieces_mean_the_same(bytes in proptest::collection::vec(
            prop_oneof![Just(b'{'), Just(b'}'), Just(b'['), Just(b']'), Just(b'"'), Just(b'\\'), Just(b' '), any::<u8>()],
            0..200), step in 1usize..50)
        {
            let whole = frames(&bytes, bytes.len().max(1), 64);
            let pieces = frames(&bytes, step, 64);
            prop_assert_eq!(whole.0, pieces.0);
            prop_assert_eq!(whole.1, pieces.1);
        }
    }

    #[test]
    fn limits() {
        assert_eq!(frames(b"{\"a\":\"0123456789\"}", 3, 10).1, Some(FrameError::TooLarge { allowed: 10 }));
        assert_eq!(frames(&[b"{".as_slice(), &[b'['; 64]].concat(), 9, 1000).1, Some(FrameError::TooDeep));
        assert_eq!(frames(b"{}x", 9, 1000).1, Some(FrameError::NotAnObject { found: b'x' }));
        assert_eq!(frames(b"{]", 9, 1000).1, Some(FrameError::Unbalanced));
    }

    #[test]
    fn a_member_named_twice_is_refused() {
        assert!(parse_strict(br#"{"a":{"tag":1,"tag":2}}"#).unwrap_err().to_string().contains("tag"));
        assert_eq!(
            canonical(&parse_strict(br#"{"b":1,"a":[{"d":1,"c":2}]}"#).unwrap()),
            r#"{"a":[{"c":2,"d":1}],"b":1}"#
        );
    }
}
