//! OVSDB values in JSON (RFC 7047 section 5.1): atoms, `["uuid",…]`, `["set",[…]]`, `["map",[…]]`.

use serde_json::{Map, Value};

/// A column that is missing or holds something else than the schema says, in words.
pub(super) type IllTyped = String;

/// One row of a `select`.
#[derive(Clone, Copy)]
pub(super) struct Row<'a>(pub(super) &'a Map<String, Value>);

impl<'a> Row<'a> {
    fn column(self, name: &str) -> Result<&'a Value, IllTyped> {
        self.0.get(name).ok_or_else(|| format!("the column {name} is missing"))
    }

    fn each<T>(
        self,
        name: &str,
        what: &str,
        read: impl Fn(&'a Value) -> Option<T>,
    ) -> Result<Vec<T>, IllTyped> {
        let value = self.column(name)?;
        elements(value)
            .and_then(|all| all.into_iter().map(read).collect())
            .ok_or_else(|| format!("the column {name} holds {}; {what} was expected", brief(value)))
    }

    fn at_most_one<T>(
        self,
        name: &str,
        what: &str,
        read: impl Fn(&'a Value) -> Option<T>,
    ) -> Result<Option<T>, IllTyped> {
        let mut all = self.each(name, what, read)?;
        match all.len() {
            0 | 1 => Ok(all.pop()),
            n => Err(format!("the column {name} holds {n} values; at most one was expected")),
        }
    }

    /// A string.
    pub(super) fn text(self, name: &str) -> Result<&'a str, IllTyped> {
        self.column(name)?.as_str().ok_or_else(|| format!("the column {name} does not hold a string"))
    }

    /// A string or nothing.
    pub(super) fn optional_text(self, name: &str) -> Result<Option<&'a str>, IllTyped> {
        self.at_most_one(name, "a string", Value::as_str)
    }

    /// A boolean.
    pub(super) fn boolean(self, name: &str) -> Result<bool, IllTyped> {
        self.column(name)?.as_bool().ok_or_else(|| format!("the column {name} does not hold true or false"))
    }

    /// An integer.
    pub(super) fn integer(self, name: &str) -> Result<i64, IllTyped> {
        self.column(name)?.as_i64().ok_or_else(|| format!("the column {name} does not hold an integer"))
    }

    /// VLAN numbers, 0 to 4095.
    pub(super) fn vlans(self, name: &str) -> Result<Vec<u16>, IllTyped> {
        self.each(name, "VLAN numbers from 0 to 4095", vlan)
    }

    /// A VLAN number, 0 to 4095, or nothing.
    pub(super) fn optional_vlan(self, name: &str) -> Result<Option<u16>, IllTyped> {
        self.at_most_one(name, "a VLAN number from 0 to 4095", vlan)
    }

    /// References to rows.
    pub(super) fn references(self, name: &str) -> Result<Vec<&'a str>, IllTyped> {
        self.each(name, "references to rows", reference)
    }

    /// The row's own name among rows.
    pub(super) fn uuid(self) -> Result<&'a str, IllTyped> {
        reference(self.column("_uuid")?).ok_or_else(|| "the column _uuid does not hold a uuid".to_owned())
    }

    /// The value of a key in a map of strings.
    pub(super) fn entry(self, name: &str, key: &str) -> Option<&'a str> {
        let pairs = tagged(self.0.get(name)?, "map")?;
        pairs.iter().filter_map(Value::as_array).find_map(|pair| match pair.as_slice() {
            [k, v] if k.as_str() == Some(key) => v.as_str(),
            _ => None,
        })
    }
}

fn vlan(value: &Value) -> Option<u16> {
    value.as_u64().filter(|v| *v <= 4095).and_then(|v| u16::try_from(v).ok())
}

fn reference(value: &Value) -> Option<&str> {
    match value.as_array()?.as_slice() {
        [tag, uuid] if tag.as_str() == Some("uuid") => uuid.as_str(),
        _ => None,
    }
}

/// What is inside `["set",[…]]` or `["map",[…]]`.
pub(super) fn tagged<'a>(value: &'a Value, tag: &str) -> Option<&'a Vec<Value>> {
    match value.as_array()?.as_slice() {
        [t, inner] if t.as_str() == Some(tag) => inner.as_array(),
        _ => None,
    }
}

/// A set's elements; a set of one is written as the bare value.
fn elements(value: &Value) -> Option<Vec<&Value>> {
    match tagged(value, "set") {
        Some(inner) => Some(inner.iter().collect()),
        None if value.is_array() && reference(value).is_none() => None,
        None => Some(vec![value]),
    }
}

/// The beginning of a value, for a sentence.
fn brief(value: &Value) -> String {
    let text = value.to_string();
    if text.chars().count() <= 60 { text } else { text.chars().take(60).chain(['…']).collect() }
}
