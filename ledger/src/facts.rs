//! What must be known of a log before it can be continued: its name, its keys, its last entries. Gathered from the
//! entries in order, parsing only those that matter.

use isoledger_core::note::VerifierKey;
use isoledger_core::record::{Body, Chain, ChainError, Record, RecordError};

/// Why entries do not make a log.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FactsError {
    /// An entry that cannot be read.
    #[error("entry {seq} cannot be read: {cause}")]
    Record {
        /// The entry.
        seq: u64,
        /// Why.
        cause: RecordError,
    },
    /// An entry that may not stand where it stands.
    #[error(transparent)]
    Chain(#[from] ChainError),
    /// The first entry is not a genesis.
    #[error("entry 0 is of type {found}, not genesis: this is no log")]
    NoGenesis {
        /// Its type.
        found: String,
    },
    /// A key in an entry that is none.
    #[error("entry {seq} names the key {key:?}, which cannot be read: {cause}")]
    Key {
        /// The entry.
        seq: u64,
        /// What it says.
        key: String,
        /// Why not.
        cause: String,
    },
}

/// The gathered facts.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// Origin of the log; empty before the first entry.
    pub origin: String,
    /// The audited domain.
    pub domain: String,
    /// The keys, each with the first entry it signs.
    pub keys: Vec<(u64, VerifierKey)>,
    /// The entries from the last poll on (from the first entry, without a poll): what [`Chain`] must see to go on.
    recent: Vec<Vec<u8>>,
}

impl Facts {
    /// Takes in the next entry.
    pub fn absorb(&mut self, seq: u64, text: &[u8]) -> Result<(), FactsError> {
        let kind = kind_of(text);
        if kind == Some("poll") {
            self.recent.clear();
        }
        self.recent.push(text.to_vec());
        if seq == 0 || kind == Some("key-rotated") {
            let record = Record::parse(text).map_err(|cause| FactsError::Record { seq, cause })?;
            let (key, first) = match record.body {
                Body::Genesis { key, domain, .. } if seq == 0 => {
                    (self.origin, self.domain) = (record.origin, domain);
                    (key, 0)
                }
                Body::KeyRotated { key } if seq > 0 => (key, seq + 1),
                other => return Err(FactsError::NoGenesis { found: other.kind().to_owned() }),
            };
            match VerifierKey::parse(&key) {
                Ok(parsed) => self.keys.push((first, parsed)),
                Err(e) => return Err(FactsError::Key { seq, key, cause: e.to_string() }),
            }
        }
        Ok(())
    }

    /// The chain behind the last entry, ready for the next.
    pub fn chain(&self) -> Result<Chain, FactsError> {
        let mut chain = Chain::new();
        for text in &self.recent {
            let record = Record::parse(text)
                .map_err(|cause| FactsError::Record { seq: chain.next_seq().unwrap_or_default(), cause })?;
            chain.push(&record, text)?;
        }
        Ok(chain)
    }

    /// The key that signs entry `seq`.
    pub fn key_at(&self, seq: u64) -> Option<&VerifierKey> {
        key_at(&self.keys, seq)
    }
}

/// The key in force at entry `seq`, of keys given with the first entry each signs.
pub fn key_at(keys: &[(u64, VerifierKey)], seq: u64) -> Option<&VerifierKey> {
    keys.iter().rev().find(|(first, _)| *first <= seq).map(|(_, key)| key)
}

/// The `type` of an entry, without reading the rest: the first `,"type":"` of a record is the member itself, since no
/// value before it may hold a quote.
fn kind_of(text: &[u8]) -> Option<&str> {
    const MEMBER: &[u8] = b",\"type\":\"";
    let at = text.windows(MEMBER.len()).position(|w| w == MEMBER)? + MEMBER.len();
    let len = text[at..].iter().position(|b| *b == b'"')?;
    std::str::from_utf8(&text[at..at + len]).ok()
}
