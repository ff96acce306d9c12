//! A log's keys, as its own records tell: which key began it, and which each one signed in after it.
//!
//! ```text
//! genesis      names k0, signed by k0
//! key-rotated  names k1, signed by k0
//! key-rotated  names k2, signed by k1
//! ```
//!
//! The file is those records and nothing else, as signed notes one after the other (docs/formats/checkpoint.md). Whoever
//! pins one of the keys can follow it forward: each later key was signed in by the one before. Never backward: a key says
//! nothing for those that came before it, and whoever stole one of these could sign with it today.

use crate::note::{KeyError, KeyKind, NoteError, RecordNote, VerifierKey};
use crate::record::{Body, Record, RecordError};

/// The largest file of keys in bytes.
pub const MAX_HISTORY: usize = 1 << 20;

/// The keys of a log, in the order in which they signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyHistory {
    keys: Vec<(u64, VerifierKey)>,
}

impl KeyHistory {
    /// Reads a file of keys and checks every signature in it.
    ///
    /// # Errors
    /// [`HistoryError`], with the number of the record, from 0.
    pub fn parse(bytes: &[u8]) -> Result<KeyHistory, HistoryError> {
        if bytes.len() > MAX_HISTORY {
            return Err(HistoryError::TooLarge { found: bytes.len() });
        }
        let text = std::str::from_utf8(bytes).map_err(|e| HistoryError::NotUtf8 { at: e.valid_up_to() })?;
        let mut keys: Vec<(u64, VerifierKey)> = Vec::new();
        let mut origin: Option<String> = None;
        let mut last = None;
        let mut rest = text;
        for at in 0.. {
            if rest.is_empty() {
                break;
            }
            let (entry, line, behind) = split(rest).ok_or(HistoryError::Form { at })?;
            rest = behind;
            let note =
                RecordNote::from_parts(entry, line).map_err(|cause| HistoryError::Note { at, cause })?;
            let record =
                Record::parse(entry.as_bytes()).map_err(|cause| HistoryError::Record { at, cause })?;
            let (text, first) = match (&record.body, last) {
                (Body::Genesis { key, .. }, None) if record.seq == 0 => (key, 0),
                (Body::KeyRotated { key }, Some(last)) if record.seq > last => (key, record.seq + 1),
                _ => return Err(HistoryError::Order { at, kind: record.body.kind().to_owned() }),
            };
            let key = VerifierKey::parse(text).map_err(|cause| HistoryError::Key { at, cause })?;
            let named = key.name() == record.origin && key.kind() == KeyKind::Note;
            if !named || origin.get_or_insert_with(|| record.origin.clone()) != &record.origin {
                return Err(HistoryError::Origin { at, key: key.to_string() });
            }
            if keys.iter().any(|(_, known)| known.public() == key.public()) {
                return Err(HistoryError::Again { at, key: key.to_string() });
            }
            // The first brings its own key; every other is signed by the one before.
            let signer = keys.last().map_or(&key, |(_, before)| before);
            note.verify(signer).map_err(|cause| HistoryError::Note { at, cause })?;
            last = Some(record.seq);
            keys.push((first, key));
        }
        if keys.is_empty() {
            return Err(HistoryError::Form { at: 0 });
        }
        Ok(KeyHistory { keys })
    }

    /// The keys, each with the first entry it signs.
    pub fn keys(&self) -> &[(u64, VerifierKey)] {
        &self.keys
    }

    /// The keys that follow from those that are known, oldest first: what the first known one signed in, and so on.
    /// `None` when none of the keys is known.
    pub fn after<'k>(
        &self,
        known: impl Iterator<Item = &'k VerifierKey> + Clone,
    ) -> Option<&[(u64, VerifierKey)]> {
        let is_known = |key: &VerifierKey| known.clone().any(|k| k == key);
        let first = self.keys.iter().position(|(_, key)| is_known(key))?;
        self.keys.get(first + 1..)
    }
}

/// An entry and its signature line, each with its newline, and what is behind them.
fn split(text: &str) -> Option<(&str, &str, &str)> {
    let entry = text.find('\n')? + 1;
    let (entry, rest) = text.split_at(entry);
    let rest = rest.strip_prefix('\n')?;
    let (line, rest) = rest.split_at(rest.find('\n')? + 1);
    Some((entry, line, rest))
}

/// A record as it stands in a file of keys, from the entry and its signature line, each with its newline.
pub fn record_text(entry: &str, line: &str) -> String {
    format!("{entry}\n{line}")
}

/// Why a file says nothing about a log's keys.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HistoryError {
    /// Larger than allowed.
    #[error("the file of keys has {found} bytes; at most {MAX_HISTORY} are read")]
    TooLarge {
        /// Its length, or what was read of it.
        found: usize,
    },
    /// Not UTF-8.
    #[error("the file of keys is no UTF-8 at byte {at}")]
    NotUtf8 {
        /// The first byte that is not.
        at: usize,
    },
    /// Not signed records, one after the other.
    #[error("record {at} of the file of keys is not an entry, an empty line and one signature line")]
    Form {
        /// Which.
        at: usize,
    },
    /// Not a record note, or not signed by the key before.
    #[error("record {at} of the file of keys is not signed by the key before it: {cause}")]
    Note {
        /// Which.
        at: usize,
        /// Why not.
        cause: NoteError,
    },
    /// Not an entry.
    #[error("record {at} of the file of keys: {cause}")]
    Record {
        /// Which.
        at: usize,
        /// Why not.
        cause: RecordError,
    },
    /// A genesis that is not the first, another entry, or one that is out of order.
    #[error(
        "record {at} of the file of keys is of type {kind}: the first is the genesis, and then rotations follow in order"
    )]
    Order {
        /// Which.
        at: usize,
        /// Its type.
        kind: String,
    },
    /// A key that is none.
    #[error("record {at} of the file of keys: {cause}")]
    Key {
        /// Which.
        at: usize,
        /// Why not.
        cause: KeyError,
    },
    /// Another log's record, or a key of another name or kind.
    #[error("record {at} of the file of keys names {key}, which is no key of this log")]
    Origin {
        /// Which.
        at: usize,
        /// The key.
        key: String,
    },
    /// A key that came back.
    #[error("record {at} of the file of keys brings {key} back: a key that was retired signs no more")]
    Again {
        /// Which.
        at: usize,
        /// The key.
        key: String,
    },
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hash::Digest;
    use crate::note::NoteSigner;
    use crate::time::Timestamp;

    const ORIGIN: &str = "audit.example/moc";

    fn signer(n: u8) -> NoteSigner {
        NoteSigner::new(ORIGIN, &[n; 32]).unwrap()
    }

    fn record(seq: u64, body: Body, by: &NoteSigner) -> String {
        let time = Timestamp::from_millis(1_772_446_272_000 + seq).unwrap();
        let prev = if seq == 0 { Digest::ZERO } else { Digest([1; 32]) };
        let text = Record { origin: by.name().into(), seq, time, prev, body }.encode();
        record_text(&text, &by.sign(&text).unwrap().to_string())
    }

    fn genesis(key: &NoteSigner, by: &NoteSigner) -> String {
        let key = key.verifier().to_string();
        record(0, Body::Genesis { domain: "moc".into(), key, semantics: 1 }, by)
    }

    fn rotated(seq: u64, key: &NoteSigner, by: &NoteSigner) -> String {
        record(seq, Body::KeyRotated { key: key.verifier().to_string() }, by)
    }

    fn two() -> String {
        genesis(&signer(1), &signer(1))
            + &rotated(5, &signer(2), &signer(1))
            + &rotated(9, &signer(3), &signer(2))
    }

    #[test]
    fn every_known_key_leads_to_those_after_it_and_to_none_before() {
        let history = KeyHistory::parse(two().as_bytes()).unwrap();
        let firsts: Vec<u64> = history.keys().iter().map(|(first, _)| *first).collect();
        assert_eq!(firsts, [0, 6, 10]);
        for (pin, follow) in [(1, &[2, 3][..]), (2, &[3]), (3, &[])] {
            let known = signer(pin).verifier().clone();
            let after = history.after([&known].into_iter()).unwrap();
            let wanted: Vec<VerifierKey> = follow.iter().map(|n| signer(*n).verifier().clone()).collect();
            assert_eq!(after.iter().map(|(_, k)| k.clone()).collect::<Vec<_>>(), wanted, "{pin}");
        }
        assert_eq!(history.after([signer(4).verifier()].into_iter()), None);
    }

    #[test]
    fn what_no_key_signed_in_is_refused() {
        type Is = fn(&HistoryError) -> bool;
        let (a, b, c) = (signer(1), signer(2), signer(3));
        let other = NoteSigner::new("audit.example/other", &[2; 32]).unwrap();
        let begin = genesis(&a, &a);
        let cosigner = NoteSigner::cosigner(ORIGIN, &[2; 32]).unwrap();
        let table: Vec<(&str, String, Is)> = vec![
            ("the new key by itself", begin.clone() + &rotated(5, &b, &b), |e| {
                matches!(e, HistoryError::Note { at: 1, .. })
            }),
            ("a retired key signs on", begin.clone() + &rotated(5, &b, &a) + &rotated(9, &c, &a), |e| {
                matches!(e, HistoryError::Note { at: 2, .. })
            }),
            ("a genesis by another", genesis(&a, &b), |e| matches!(e, HistoryError::Note { at: 0, .. })),
            ("no genesis", rotated(5, &b, &a), |e| matches!(e, HistoryError::Order { at: 0, .. })),
            ("two of them", begin.clone() + &begin, |e| matches!(e, HistoryError::Order { at: 1, .. })),
            ("out of order", begin.clone() + &rotated(5, &b, &a) + &rotated(5, &c, &b), |e| {
                matches!(e, HistoryError::Order { at: 2, .. })
            }),
            ("another name", begin.clone() + &rotated(5, &other, &a), |e| {
                matches!(e, HistoryError::Origin { at: 1, .. })
            }),
            ("a cosigner's", begin.clone() + &rotated(5, &cosigner, &a), |e| {
                matches!(e, HistoryError::Origin { at: 1, .. })
            }),
            ("one that comes back", begin.clone() + &rotated(5, &b, &a) + &rotated(9, &a, &b), |e| {
                matches!(e, HistoryError::Again { at: 2, .. })
            }),
            ("nothing", String::new(), |e| matches!(e, HistoryError::Form { at: 0 })),
            ("half of one", begin[..begin.len() - 1].to_owned(), |e| {
                matches!(e, HistoryError::Form { at: 0 })
            }),
            ("too much", "x".repeat(MAX_HISTORY + 1), |e| matches!(e, HistoryError::TooLarge { .. })),
        ];
        for (what, text, is) in table {
            let e = KeyHistory::parse(text.as_bytes()).unwrap_err();
            assert!(is(&e), "{what}: {e}");
        }
    }

    #[test]
    fn no_byte_can_be_changed_or_cut_unseen() {
        let good = two();
        let keys = KeyHistory::parse(good.as_bytes()).unwrap();
        for at in 0..good.len() {
            let mut bytes = good.clone().into_bytes();
            bytes[at] ^= 1;
            assert!(KeyHistory::parse(&bytes).is_err(), "byte {at}");
            // Cut between two records it is an older file of the same log, and nothing else.
            if let Ok(cut) = KeyHistory::parse(&good.as_bytes()[..at]) {
                assert!(keys.keys().starts_with(cut.keys()), "cut at {at}");
            }
        }
    }
}
