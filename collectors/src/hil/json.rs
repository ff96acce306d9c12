//! JSON that forgets nothing: an object keeps its members in order and all of them, so that a body which names a
//! channel twice cannot hide one of two attachments.

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use std::fmt;

/// What redaction leaves in the place of a value.
const REDACTED: &[u8] = b"\"[redacted]\"";

/// A JSON value.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Json {
    Null,
    Bool(bool),
    /// A number, as it prints. HIL sends none.
    Number(String),
    Text(String),
    List(Vec<Json>),
    /// Members in order, repeated names included.
    Object(Vec<(String, Json)>),
}

impl Json {
    /// Reads one value and nothing after it. Nesting beyond 128 levels is an error.
    pub(super) fn parse(bytes: &[u8]) -> Result<Json, serde_json::Error> {
        serde_json::from_slice(bytes)
    }

    /// The first member of this name, if this is an object that has one.
    pub(super) fn member(&self, name: &str) -> Option<&Json> {
        match self {
            Json::Object(members) => members.iter().find(|(n, _)| n == name).map(|(_, v)| v),
            _ => None,
        }
    }

    /// The name of a member that some object in here repeats.
    pub(super) fn repeated(&self) -> Option<&str> {
        match self {
            Json::List(items) => items.iter().find_map(Json::repeated),
            Json::Object(members) => {
                let mut names: Vec<&str> = members.iter().map(|(n, _)| n.as_str()).collect();
                names.sort_unstable();
                let twice = names.windows(2).find(|pair| pair[0] == pair[1]).map(|pair| pair[0]);
                twice.or_else(|| members.iter().find_map(|(_, v)| v.repeated()))
            }
            _ => None,
        }
    }

    /// What this is, for a sentence.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Json::Null => "null",
            Json::Bool(_) => "a boolean",
            Json::Number(_) => "a number",
            Json::Text(_) => "a string",
            Json::List(_) => "a list",
            Json::Object(_) => "an object",
        }
    }
}

impl<'de> Deserialize<'de> for Json {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Json, D::Error> {
        d.deserialize_any(AnyValue)
    }
}

struct AnyValue;

impl<'de> Visitor<'de> for AnyValue {
    type Value = Json;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Json, E> {
        Ok(Json::Null)
    }

    fn visit_bool<E>(self, v: bool) -> Result<Json, E> {
        Ok(Json::Bool(v))
    }

    fn visit_u64<E>(self, v: u64) -> Result<Json, E> {
        Ok(Json::Number(v.to_string()))
    }

    fn visit_i64<E>(self, v: i64) -> Result<Json, E> {
        Ok(Json::Number(v.to_string()))
    }

    fn visit_f64<E>(self, v: f64) -> Result<Json, E> {
        Ok(Json::Number(v.to_string()))
    }

    fn visit_str<E>(self, v: &str) -> Result<Json, E> {
        Ok(Json::Text(v.to_owned()))
    }

    fn visit_string<E>(self, v: String) -> Result<Json, E> {
        Ok(Json::Text(v))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Json, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = seq.next_element()? {
            items.push(item);
        }
        Ok(Json::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Json, A::Error> {
        let mut members = Vec::new();
        while let Some(member) = map.next_entry()? {
            members.push(member);
        }
        Ok(Json::Object(members))
    }
}

/// `body` with the elements of every list and the members of every object in the order of their bytes, and with the
/// values of the top-level members called one of `secret` replaced by `"[redacted]"`. No other byte is touched and
/// none is lost. `None` when `body` is not JSON.
pub(super) fn tidy(body: &[u8], secret: &[&str]) -> Option<Vec<u8>> {
    // The scanner below relies on valid syntax, and on the parser's limit of nesting.
    Json::parse(body).ok()?;
    let start = skip_space(body, 0);
    let mut out = body.get(..start)?.to_vec();
    let end = tidy_value(body, start, secret, &mut out)?;
    out.extend_from_slice(body.get(end..)?);
    Some(out)
}

/// Writes the value at `start` tidily; gives where it ends.
fn tidy_value(body: &[u8], start: usize, secret: &[&str], out: &mut Vec<u8>) -> Option<usize> {
    let object = match body.get(start)? {
        b'{' => true,
        b'[' => false,
        _ => {
            let end = skip_value(body, start);
            out.extend_from_slice(body.get(start..end)?);
            return Some(end);
        }
    };
    // Elements move, what stands between them (space, commas) stays where it is.
    let (mut elements, mut gaps) = (Vec::new(), Vec::new());
    let mut at = start + 1;
    loop {
        let from = skip_space(body, at);
        gaps.push(body.get(at..from)?);
        if matches!(body.get(from)?, b']' | b'}') {
            at = from;
            break;
        }
        let mut element = Vec::new();
        let mut value = from;
        if object {
            let name_end = skip_string(body, from);
            value = skip_space(body, skip_space(body, name_end) + 1);
            element.extend_from_slice(body.get(from..value)?);
            // The name may be spelled with escapes: compare what it means.
            let name: String = serde_json::from_slice(body.get(from..name_end)?).ok()?;
            if secret.contains(&name.as_str()) {
                element.extend_from_slice(REDACTED);
                at = skip_value(body, value);
            } else {
                at = tidy_value(body, value, &[], &mut element)?;
            }
        } else {
            at = tidy_value(body, value, &[], &mut element)?;
        }
        elements.push(element);
        let after = skip_space(body, at);
        if body.get(after)? == &b',' {
            gaps.push(body.get(at..=after)?);
            at = after + 1;
        }
    }
    elements.sort_unstable();
    out.push(*body.get(start)?);
    let (mut elements, mut gaps) = (elements.into_iter(), gaps.into_iter());
    out.extend_from_slice(gaps.next()?);
    for element in elements.by_ref() {
        out.extend_from_slice(&element);
        out.extend(gaps.by_ref().take(2).flatten());
    }
    out.push(*body.get(at)?);
    Some(at + 1)
}

fn skip_space(body: &[u8], mut at: usize) -> usize {
    while body.get(at).is_some_and(|b| b" \t\r\n".contains(b)) {
        at += 1;
    }
    at
}

/// Past the string that opens at `at`.
fn skip_string(body: &[u8], mut at: usize) -> usize {
    at += 1;
    while let Some(byte) = body.get(at) {
        at += 1;
        match byte {
            b'\\' => at += 1,
            b'"' => break,
            _ => {}
        }
    }
    at
}

/// Past the value that starts at `at`.
fn skip_value(body: &[u8], mut at: usize) -> usize {
    let mut depth = 0usize;
    while let Some(byte) = body.get(at) {
        match byte {
            b'"' => at = skip_string(body, at),
            b'{' | b'[' => {
                depth += 1;
                at += 1;
            }
            b'}' | b']' if depth == 0 => return at,
            b'}' | b']' => {
                depth -= 1;
                at += 1;
            }
            b',' | b' ' | b'\t' | b'\r' | b'\n' if depth == 0 => return at,
            _ => at += 1,
        }
        if depth == 0 && matches!(byte, b'"' | b'}' | b']') {
            return at;
        }
    }
    at
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn tidied(body: &str) -> Option<String> {
        tidy(body.as_bytes(), &["metadata"]).map(|b| String::from_utf8(b).unwrap())
    }

    #[test]
    fn redaction_touches_the_named_members_only() {
        for (body, expected) in [
            (r#"{"metadata": {"EK": "\"pk\""}, "name": "n"}"#, r#"{"metadata": "[redacted]", "name": "n"}"#),
            (r#"{"metadata":{},"name":"n"}"#, r#"{"metadata":"[redacted]","name":"n"}"#),
            (r#" { "metadata" : [1,[2]] } "#, r#" { "metadata" : "[redacted]" } "#),
            (r#"{"a":1,"metadata":12}"#, r#"{"a":1,"metadata":"[redacted]"}"#),
            (r#"{"a":"}","metadata":"x\\\"}"}"#, r#"{"a":"}","metadata":"[redacted]"}"#),
            (r#"{"a":{"metadata":1},"b":"metadata"}"#, r#"{"a":{"metadata":1},"b":"metadata"}"#),
            (r#"{"metadata":1,"metadata":2}"#, r#"{"metadata":"[redacted]","metadata":"[redacted]"}"#),
            (r#"{"\u006detadata":1}"#, r#"{"\u006detadata":"[redacted]"}"#),
            ("{}", "{}"),
            ("[]", "[]"),
            (" null ", " null "),
        ] {
            assert_eq!(tidied(body).as_deref(), Some(expected), "{body}");
        }
        for body in ["", r#"{"metadata":"x"#, r#"{"metadata":{}} x"#, "[1,]"] {
            assert_eq!(tidied(body), None, "{body}");
        }
    }

    #[test]
    fn order_is_that_of_bytes_and_space_stays() {
        for (body, expected) in [
            (r#"["b", "a"]"#, r#"["a", "b"]"#),
            (r#"[ 2,1 , 3]"#, r#"[ 1,2 , 3]"#),
            (r#"{"b": [2, 1], "a": {"d": 1, "c": []}}"#, r#"{"a": {"c": [], "d": 1}, "b": [1, 2]}"#),
            (
                r#"[{"l": "y", "n": {"b": 1, "a": 2}}, {"l": "x"}]"#,
                r#"[{"l": "x"}, {"l": "y", "n": {"a": 2, "b": 1}}]"#,
            ),
            (r#"["a", "a"]"#, r#"["a", "a"]"#),
            ("[ ]", "[ ]"),
            ("[1 ]", "[1 ]"),
        ] {
            assert_eq!(tidied(body).as_deref(), Some(expected), "{body}");
            assert_eq!(tidied(expected).as_deref(), Some(expected), "{body}");
        }
    }

    #[test]
    fn repeated_members_are_kept_and_told() {
        let json = Json::parse(br#"{"a":[{"x":1,"y":2,"x":3}]}"#).unwrap();
        assert_eq!(json.repeated(), Some("x"));
        assert_eq!(Json::parse(br#"{"a":{"b":1},"b":{"a":1}}"#).unwrap().repeated(), None);
    }

    #[test]
    fn deep_nesting_is_an_error() {
        assert!(Json::parse("[".repeat(100_000).as_bytes()).is_err());
    }

    fn any_json() -> impl Strategy<Value = serde_json::Value> {
        let leaf = prop_oneof![
            Just(serde_json::Value::Null),
            any::<bool>().prop_map(Into::into),
            any::<i64>().prop_map(Into::into),
            any::<String>().prop_map(Into::into),
        ];
        leaf.prop_recursive(4, 32, 6, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..6).prop_map(Into::into),
                prop::collection::btree_map("metadata|[a-c\"\\\\]{0,3}", inner, 0..6)
                    .prop_map(|m| serde_json::Value::Object(m.into_iter().collect())),
            ]
        })
    }

    /// The same with every list in order, and the secret gone.
    fn sorted(value: serde_json::Value, top: bool) -> serde_json::Value {
        use serde_json::Value;
        match value {
            Value::Array(items) => {
                let mut items: Vec<Value> = items.into_iter().map(|v| sorted(v, false)).collect();
                items.sort_by_key(Value::to_string);
                items.into()
            }
            Value::Object(members) => {
                let tidy = |(name, value)| {
                    let value =
                        if top && name == "metadata" { "[redacted]".into() } else { sorted(value, false) };
                    (name, value)
                };
                Value::Object(members.into_iter().map(tidy).collect())
            }
            other => other,
        }
    }

    /// Turns every list around.
    fn reversed(value: serde_json::Value) -> serde_json::Value {
        use serde_json::Value;
        match value {
            Value::Array(items) => items.into_iter().rev().map(reversed).collect::<Vec<_>>().into(),
            Value::Object(members) => {
                Value::Object(members.into_iter().map(|(n, v)| (n, reversed(v))).collect())
            }
            other => other,
        }
    }

    proptest! {
        #[test]
        fn tidying_agrees_with_a_parser(value in any_json(), pretty: bool) {
            let text = if pretty { serde_json::to_string_pretty(&value) } else { serde_json::to_string(&value) }.unwrap();
            let out = tidied(&text).unwrap();
            let read: serde_json::Value = serde_json::from_str(&out).unwrap();
            prop_assert_eq!(sorted(read, false), sorted(value, true));
            prop_assert_eq!(tidied(&out), Some(out));
        }

        #[test]
        fn order_in_does_not_matter(value in any_json()) {
            let text = |v| serde_json::to_string(v).unwrap();
            prop_assert_eq!(tidied(&text(&value)), tidied(&text(&reversed(value.clone()))));
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes: Vec<u8>) {
            let _ = tidy(&bytes, &["metadata"]);
        }
    }
}
