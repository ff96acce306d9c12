//! Evidence: what was asked of a source and what it answered, verbatim.
//!
//! Evidence is stored by the digest of its bytes, so a source that did not change must give the same bytes at every
//! poll: no times, no request numbers, no counters. A dialect chooses its questions accordingly, and its page names
//! everything it leaves out or puts in order. Evidence holds no secret either: a request is written down without
//! its credentials.
//!
//! The bytes are canonical JSON, members in the order of the structures:
//! ```text
//! {"v":1,"subject":"br0","auth":"unix socket","identity":"system-id=…","exchanges":[
//!   {"asked":"…","status":200,"answer":"text"},{"asked":"…","status":null,"answer":{"base64":"/w=="}}]}
//! ```

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use isoledger_core::json::{JsonError, from_canonical, to_canonical};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The most bytes of evidence one reading may have, encoded.
pub const MAX_EVIDENCE: usize = 64 << 20;

/// One question and its answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Exchange {
    /// The exact command, method and URL, or JSON-RPC request: one of the dialect's constants with its parameters.
    pub asked: String,
    /// HTTP status or exit status; `None` where the protocol has none.
    pub status: Option<u16>,
    /// The answer.
    #[serde(with = "answer")]
    pub answer: Vec<u8>,
}

/// Everything one reading of a source brought.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Evidence {
    /// What was asked about, in the dialect's terms: the bridge, the base URL.
    pub subject: String,
    /// How the two sides authenticated, without any secret.
    pub auth: String,
    /// Who the source proved or claimed to be: system id, certificate or host key fingerprint.
    pub identity: Option<String>,
    /// In the order of the dialect, not of time.
    pub exchanges: Vec<Exchange>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Encoded {
    v: u8,
    subject: String,
    auth: String,
    identity: Option<String>,
    exchanges: Vec<Exchange>,
}

impl Evidence {
    /// The canonical bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        let e = self.clone();
        to_canonical(&Encoded {
            v: 1,
            subject: e.subject,
            auth: e.auth,
            identity: e.identity,
            exchanges: e.exchanges,
        })
    }

    /// Reads canonical bytes; any other spelling of the same content is refused.
    pub fn from_bytes(bytes: &[u8]) -> Result<Evidence, EvidenceError> {
        let e: Encoded = from_canonical("evidence", bytes, MAX_EVIDENCE)?;
        if e.v != 1 {
            return Err(EvidenceError::Version { found: e.v });
        }
        Ok(Evidence { subject: e.subject, auth: e.auth, identity: e.identity, exchanges: e.exchanges })
    }

    /// The first exchange with this question.
    pub fn answer_to(&self, asked: &str) -> Option<&Exchange> {
        self.exchanges.iter().find(|x| x.asked == asked)
    }
}

/// Why bytes are not evidence.
#[derive(Debug, thiserror::Error)]
pub enum EvidenceError {
    /// Not the canonical JSON of evidence.
    #[error(transparent)]
    Json(#[from] JsonError),
    /// Another version of the format.
    #[error("the evidence has format version {found}; only 1 is known")]
    Version {
        /// The version found.
        found: u8,
    },
}

/// An answer is a string where it is UTF-8, else its base64; never the longer of the two by choice.
mod answer {
    use super::*;

    #[derive(Serialize, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Base64 {
        base64: String,
    }

    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Either {
        Text(String),
        Bytes(Base64),
    }

    pub(super) fn serialize<S: Serializer>(bytes: &[u8], s: S) -> Result<S::Ok, S::Error> {
        match std::str::from_utf8(bytes) {
            Ok(text) => s.serialize_str(text),
            Err(_) => Base64 { base64: STANDARD.encode(bytes) }.serialize(s),
        }
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Vec<u8>, D::Error> {
        match Either::deserialize(d)? {
            Either::Text(text) => Ok(text.into_bytes()),
            Either::Bytes(b) => STANDARD.decode(b.base64).map_err(serde::de::Error::custom),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn exchange() -> impl Strategy<Value = Exchange> {
        (".{0,20}", proptest::option::of(any::<u16>()), proptest::collection::vec(any::<u8>(), 0..40))
            .prop_map(|(asked, status, answer)| Exchange { asked, status, answer })
    }

    proptest! {
        #[test]
        fn any_answer_survives_its_bytes(
            subject in ".{0,9}",
            identity in proptest::option::of(".{0,9}"),
            exchanges in proptest::collection::vec(exchange(), 0..4),
        ) {
            let e = Evidence { subject, auth: "none".into(), identity, exchanges };
            prop_assert_eq!(Evidence::from_bytes(&e.to_bytes()).unwrap(), e);
        }

        #[test]
        fn other_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = Evidence::from_bytes(&bytes);
        }
    }

    #[test]
    fn one_spelling() {
        let text = r#"{"v":1,"subject":"br0","auth":"none","identity":null,"exchanges":[{"asked":"a","status":null,"answer":"b"}]}"#;
        let e = Evidence::from_bytes(text.as_bytes()).unwrap();
        assert_eq!(e.to_bytes(), text.as_bytes());
        // The same answer as base64 is another spelling, and so is a space.
        for other in [
            text.replace(r#""answer":"b""#, r#""answer":{"base64":"Yg=="}"#),
            text.replace(r#""v":1,"#, r#""v":1, "#),
            text.replace(r#""v":1"#, r#""v":2"#),
            text.replace(r#""identity":null,"#, ""),
        ] {
            assert!(Evidence::from_bytes(other.as_bytes()).is_err(), "{other}");
        }
    }
}
