//! Canonical JSON: compact, members in the order the format page lists them, one spelling for every value.
//!
//! What is hashed is always the bytes as received. Requiring that they equal our own encoding of what they mean
//! leaves a liar no second spelling to hide in: no duplicate members, no `1e2`, no escapes of plain letters.

use serde::Serialize;
use serde::de::DeserializeOwned;

/// Why bytes are not the canonical JSON of a type.
#[derive(Debug, thiserror::Error)]
pub enum JsonError {
    /// Larger than the format allows.
    #[error("{what} has {found} bytes; at most {allowed} are allowed")]
    TooLarge {
        /// What was being read.
        what: &'static str,
        /// Its size.
        found: usize,
        /// The format's limit.
        allowed: usize,
    },
    /// Not JSON of this shape.
    #[error("{what} is malformed: {source}")]
    Malformed {
        /// What was being read.
        what: &'static str,
        /// Where and why.
        source: serde_json::Error,
    },
    /// JSON of this shape, in another spelling.
    #[error("{what} is not canonical: its bytes differ from the one compact spelling of its content")]
    NotCanonical {
        /// What was being read.
        what: &'static str,
    },
}

/// The canonical bytes of a value.
pub fn to_canonical<T: Serialize>(value: &T) -> Vec<u8> {
    // Our types hold strings, integers, lists and string-keyed maps only: serde_json cannot refuse them.
    serde_json::to_vec(value).expect("plain data always encodes")
}

/// Reads a value from bytes that must be its canonical encoding. `limit` is the format's limit in bytes.
pub fn from_canonical<T: Serialize + DeserializeOwned>(
    what: &'static str,
    bytes: &[u8],
    limit: usize,
) -> Result<T, JsonError> {
    if bytes.len() > limit {
        return Err(JsonError::TooLarge { what, found: bytes.len(), allowed: limit });
    }
    let value: T = serde_json::from_slice(bytes).map_err(|source| JsonError::Malformed { what, source })?;
    let mut same = Same { rest: bytes };
    if serde_json::to_writer(&mut same, &value).is_err() || !same.rest.is_empty() {
        return Err(JsonError::NotCanonical { what });
    }
    Ok(value)
}

// Takes what is written only as long as it is what was read: no second copy of a large file is made to compare it.
struct Same<'a> {
    rest: &'a [u8],
}

impl std::io::Write for Same<'_> {
    fn write(&mut self, written: &[u8]) -> std::io::Result<usize> {
        match self.rest.strip_prefix(written) {
            Some(rest) => {
                self.rest = rest;
                Ok(written.len())
            }
            None => Err(std::io::ErrorKind::InvalidData.into()),
        }
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
