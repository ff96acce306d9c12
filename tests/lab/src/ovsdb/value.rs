//! OVSDB values and their JSON spelling (RFC 7047, section 5.1).

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;

use serde_json::{Value, json};

/// A row's name: 128 bits, printed as 8-4-4-4-12 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Uuid(u128);

impl Uuid {
    /// The `n`-th UUID of a world. Worlds are reproducible, so these look random and are not; the bits that say
    /// "version 4, RFC 4122" are set because some readers check them.
    pub(crate) fn nth(n: u64) -> Uuid {
        let bits =
            (u128::from(scramble(n.wrapping_mul(2))) << 64) | u128::from(scramble(n.wrapping_mul(2) ^ 1));
        let version = bits & !(0xf << 76) | (0x4 << 76);
        Uuid(version & !(0x3 << 62) | (0x2 << 62))
    }
}

/// One step of SplitMix64: a bijection on 64 bits, so distinct counters give distinct UUIDs.
fn scramble(n: u64) -> u64 {
    let mut z = n.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

impl fmt::Display for Uuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hex = format!("{:032x}", self.0);
        write!(f, "{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
    }
}

impl fmt::Debug for Uuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Uuid {
    type Err = ();

    fn from_str(s: &str) -> Result<Uuid, ()> {
        let groups: Vec<&str> = s.split('-').collect();
        let lengths: Vec<usize> = groups.iter().map(|g| g.len()).collect();
        if lengths != [8, 4, 4, 4, 12] || !s.bytes().all(|b| b == b'-' || b.is_ascii_hexdigit()) {
            return Err(());
        }
        u128::from_str_radix(&groups.concat(), 16).map(Uuid).map_err(|_| ())
    }
}

/// One indivisible value. There are no reals here: no column of the tables we serve holds one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Atom {
    /// `true` or `false`.
    Bool(bool),
    /// A 64-bit integer.
    Int(i64),
    /// Unicode text.
    Str(String),
    /// A reference to a row.
    Uuid(Uuid),
}

impl Atom {
    /// The JSON spelling: references are `["uuid", "…"]`, everything else is itself.
    pub fn to_json(&self) -> Value {
        match self {
            Atom::Bool(b) => json!(b),
            Atom::Int(n) => json!(n),
            Atom::Str(s) => json!(s),
            Atom::Uuid(u) => json!(["uuid", u.to_string()]),
        }
    }

    pub(crate) fn from_json(value: &Value) -> Option<Atom> {
        match value {
            Value::Bool(b) => Some(Atom::Bool(*b)),
            Value::Number(n) => n.as_i64().map(Atom::Int),
            Value::String(s) => Some(Atom::Str(s.clone())),
            Value::Array(pair) => match pair.as_slice() {
                [Value::String(tag), Value::String(text)] if tag == "uuid" => {
                    text.parse().ok().map(Atom::Uuid)
                }
                _ => None,
            },
            _ => None,
        }
    }
}

impl From<bool> for Atom {
    fn from(b: bool) -> Atom {
        Atom::Bool(b)
    }
}

impl From<i64> for Atom {
    fn from(n: i64) -> Atom {
        Atom::Int(n)
    }
}

impl From<u16> for Atom {
    fn from(n: u16) -> Atom {
        Atom::Int(n.into())
    }
}

impl From<&str> for Atom {
    fn from(s: &str) -> Atom {
        Atom::Str(s.to_owned())
    }
}

impl From<Uuid> for Atom {
    fn from(u: Uuid) -> Atom {
        Atom::Uuid(u)
    }
}

/// The value of a column: a set (of exactly one atom for a scalar) or a map.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Datum {
    /// A set. A scalar is a set of one, an absent optional a set of none.
    Set(BTreeSet<Atom>),
    /// A map.
    Map(BTreeMap<Atom, Atom>),
}

impl Datum {
    /// The empty set: how an optional column says "not set".
    pub fn empty() -> Datum {
        Datum::Set(BTreeSet::new())
    }

    /// A set of anything that is an atom.
    ///
    /// ```
    /// # use isoledger_lab::ovsdb::Datum;
    /// assert_eq!(Datum::set([100u16, 200]).to_json(), serde_json::json!(["set", [100, 200]]));
    /// assert_eq!(Datum::set([100u16]).to_json(), serde_json::json!(100));
    /// ```
    pub fn set<A: Into<Atom>>(atoms: impl IntoIterator<Item = A>) -> Datum {
        Datum::Set(atoms.into_iter().map(Into::into).collect())
    }

    /// A map of strings to strings, such as `other_config`.
    pub fn map<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> Datum {
        Datum::Map(pairs.into_iter().map(|(k, v)| (k.into(), v.into())).collect())
    }

    /// The atoms of a set; none for a map.
    pub fn atoms(&self) -> impl Iterator<Item = &Atom> {
        match self {
            Datum::Set(set) => Some(set),
            Datum::Map(_) => None,
        }
        .into_iter()
        .flatten()
    }

    /// The row references in a set.
    pub fn uuids(&self) -> impl Iterator<Item = Uuid> {
        self.atoms().filter_map(|a| if let Atom::Uuid(u) = a { Some(*u) } else { None })
    }

    /// The integers in a set.
    pub fn ints(&self) -> impl Iterator<Item = i64> {
        self.atoms().filter_map(|a| if let Atom::Int(n) = a { Some(*n) } else { None })
    }

    /// The text of a set that is exactly one string.
    pub fn as_str(&self) -> Option<&str> {
        let mut atoms = self.atoms();
        match (atoms.next(), atoms.next()) {
            (Some(Atom::Str(s)), None) => Some(s),
            _ => None,
        }
    }

    /// The JSON spelling. A set of one is the bare atom: clients meet both spellings in one column.
    pub fn to_json(&self) -> Value {
        match self {
            Datum::Set(set) => match set.first() {
                Some(only) if set.len() == 1 => only.to_json(),
                _ => json!(["set", set.iter().map(Atom::to_json).collect::<Vec<_>>()]),
            },
            Datum::Map(map) => {
                json!(["map", map.iter().map(|(k, v)| json!([k.to_json(), v.to_json()])).collect::<Vec<_>>()])
            }
        }
    }

    pub(crate) fn from_json(value: &Value) -> Option<Datum> {
        if let Some(atom) = Atom::from_json(value) {
            return Some(Datum::Set(BTreeSet::from([atom])));
        }
        let [Value::String(tag), Value::Array(items)] = value.as_array()?.as_slice() else { return None };
        match tag.as_str() {
            "set" => items.iter().map(Atom::from_json).collect::<Option<_>>().map(Datum::Set),
            "map" => items
                .iter()
                .map(|pair| match pair.as_array()?.as_slice() {
                    [k, v] => Some((Atom::from_json(k)?, Atom::from_json(v)?)),
                    _ => None,
                })
                .collect::<Option<_>>()
                .map(Datum::Map),
            _ => None,
        }
    }
}

impl<A: Into<Atom>> From<A> for Datum {
    fn from(atom: A) -> Datum {
        Datum::Set(BTreeSet::from([atom.into()]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uuids_print_and_parse() {
        let uuid = Uuid::nth(7);
        assert_eq!(uuid.to_string().parse(), Ok(uuid));
        assert_eq!(uuid.to_string().as_bytes()[14], b'4', "version 4: {uuid}");
        assert!(b"89ab".contains(&uuid.to_string().as_bytes()[19]), "RFC 4122 variant: {uuid}");
        assert_eq!("not-a-uuid".parse::<Uuid>(), Err(()));
        assert_eq!("+2345678-1234-4234-8234-123456789abc".parse::<Uuid>(), Err(()));
    }

    #[test]
    fn counters_never_collide() {
        let all: BTreeSet<Uuid> = (0..10_000).map(Uuid::nth).collect();
        assert_eq!(all.len(), 10_000);
    }

    #[test]
    fn every_spelling_reads_back() {
        for datum in [
            Datum::empty(),
            Datum::from(5i64),
            Datum::set([1u16, 2]),
            Datum::from(true),
            Datum::from(Uuid::nth(1)),
            Datum::set([Uuid::nth(1), Uuid::nth(2)]),
            Datum::map([("a", "b")]),
            Datum::map([]),
        ] {
            assert_eq!(Datum::from_json(&datum.to_json()), Some(datum));
        }
        assert_eq!(Datum::from_json(&json!(["set", 5])), None);
        assert_eq!(Datum::from_json(&json!(["bag", []])), None);
        assert_eq!(Datum::from_json(&json!(1.5)), None);
    }
}
