//! DSSE version 1 envelopes with one Ed25519 signature, in one spelling.
//!
//! ```text
//! {"payloadType":"application/vnd.in-toto+json","payload":"eyJfdHlw…","signatures":[{"keyid":"59f1…","sig":"7Gx2…"}]}⏎
//!                 │                                        │                                  │             │
//!                 what the payload is                      base64 of its bytes                │             base64, 64 bytes
//!                                                          SHA-256 of the key's canonical JSON, hex
//!
//! signed: "DSSEv1" SP length(payloadType) SP payloadType SP length(payload) SP payload
//! ```
//!
//! # In scope
//! The envelope: [`sign`], [`Envelope::parse`], [`Envelope::open`].
//!
//! # Out of scope
//! What the payload says: see [`crate::attestation`].
//!
//! # Trust
//! The JSON around a DSSE payload is not signed, so it is read in one spelling only: no white space, no other order,
//! no unknown or repeated member, one newline at the end. Every changed byte of a file is therefore refused. Any
//! other DSSE tool reads what we write.
//!
//! Specification: <https://github.com/secure-systems-lab/dsse>; the keyid is securesystemslib's.

use crate::hash::parse_hex32;
use crate::note::{KeyKind, NoteSigner, VerifierKey};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest as _, Sha256};
use thiserror::Error;

/// The longest payload type, in bytes.
pub const MAX_PAYLOAD_TYPE: usize = 255;

/// Why an envelope was refused.
#[non_exhaustive]
#[derive(Clone, PartialEq, Eq, Debug, Error)]
pub enum EnvelopeError {
    /// Larger than the caller reads.
    #[error("the envelope has {found} bytes, at most {max} are read")]
    TooLong {
        /// Bytes in the envelope.
        found: usize,
        /// Bytes allowed.
        max: usize,
    },
    /// Not the one spelling.
    #[error(
        "the envelope is malformed at byte {at}: {wanted} is needed here (docs/formats/envelope.md; files must be kept byte for byte, without re-formatting)"
    )]
    Malformed {
        /// Offset.
        at: usize,
        /// What should stand there.
        wanted: &'static str,
    },
    /// Two signatures would leave open whose word counts.
    #[error("the envelope has more than one signature; exactly one is read")]
    SignatureCount,
    /// Cannot be written without escapes.
    #[error(
        "{0:?} is not a payload type: 1 to 255 printable ASCII characters without space, quote and backslash"
    )]
    PayloadType(String),
    /// Signed with another key.
    #[error("the envelope is signed with key {found}, the key of {name} is {wanted}")]
    WrongKey {
        /// keyid in the envelope.
        found: String,
        /// keyid of the key that was given.
        wanted: String,
        /// Its name.
        name: String,
    },
    /// A cosigner's key does not sign envelopes.
    #[error("the key of {name} is for cosigning; envelopes are signed with a key of type 01")]
    WrongKind {
        /// Name of the key.
        name: String,
    },
    /// The right key, and not its signature.
    #[error("the signature of {name} on the envelope does not verify")]
    BadSignature {
        /// Name of the key.
        name: String,
    },
    /// Signed, but something else.
    #[error("the envelope holds {found}, not {wanted}")]
    WrongPayloadType {
        /// payloadType in the envelope.
        found: String,
        /// What was asked for.
        wanted: String,
    },
}

/// What DSSE signs (its "pre-authentication encoding"): version, type and payload, each with its length in bytes.
pub fn pae(payload_type: &str, payload: &[u8]) -> Vec<u8> {
    let mut out = format!("DSSEv1 {} {payload_type} {} ", payload_type.len(), payload.len()).into_bytes();
    out.extend_from_slice(payload);
    out
}

/// securesystemslib's id of an Ed25519 key: SHA-256, in hex, of its canonical JSON.
pub fn key_id(public: &[u8; 32]) -> String {
    let public = hex::encode(public);
    let canonical = format!(r#"{{"keytype":"ed25519","keyval":{{"public":"{public}"}},"scheme":"ed25519"}}"#);
    hex::encode(Sha256::digest(canonical))
}

fn is_payload_type(text: &str) -> bool {
    let plain = |b: u8| b.is_ascii_graphic() && b != b'"' && b != b'\\';
    (1..=MAX_PAYLOAD_TYPE).contains(&text.len()) && text.bytes().all(plain)
}

/// An envelope: well-formed, its signature *not* checked.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Envelope {
    payload_type: String,
    payload: Vec<u8>,
    key_id: String,
    signature: [u8; 64],
}

/// Signs a payload.
///
/// # Errors
/// [`EnvelopeError::PayloadType`], [`EnvelopeError::WrongKind`].
pub fn sign(payload_type: &str, payload: &[u8], signer: &NoteSigner) -> Result<Envelope, EnvelopeError> {
    if !is_payload_type(payload_type) {
        return Err(EnvelopeError::PayloadType(payload_type.into()));
    }
    check_kind(signer.verifier())?;
    Ok(Envelope {
        payload_type: payload_type.into(),
        payload: payload.into(),
        key_id: key_id(signer.verifier().public()),
        // "DSSEv1 29 …" is no note text of ours: those begin with "{" or with an origin, which has no space.
        signature: signer.sign_raw(&pae(payload_type, payload)),
    })
}

fn check_kind(key: &VerifierKey) -> Result<(), EnvelopeError> {
    if key.kind() != KeyKind::Note {
        return Err(EnvelopeError::WrongKind { name: key.name().into() });
    }
    Ok(())
}

impl Envelope {
    /// Reads an envelope of at most `max` bytes, in its one spelling.
    ///
    /// # Errors
    /// [`EnvelopeError::TooLong`], [`EnvelopeError::Malformed`], [`EnvelopeError::SignatureCount`],
    /// [`EnvelopeError::PayloadType`].
    pub fn parse(bytes: &[u8], max: usize) -> Result<Envelope, EnvelopeError> {
        if bytes.len() > max {
            return Err(EnvelopeError::TooLong { found: bytes.len(), max });
        }
        let mut c = Cursor { bytes, at: 0 };
        c.literal(b"{\"payloadType\":\"", "{\"payloadType\":\"")?;
        let payload_type = c.until_quote("a payload type and a quote")?;
        let payload_type = String::from_utf8_lossy(payload_type).into_owned();
        if !is_payload_type(&payload_type) {
            return Err(EnvelopeError::PayloadType(payload_type));
        }
        c.literal(b",\"payload\":\"", ",\"payload\":\"")?;
        let payload = c.base64("standard base64 with padding")?;
        c.literal(b",\"signatures\":[{\"keyid\":\"", ",\"signatures\":[{\"keyid\":\"")?;
        let at = c.at;
        let key_id = String::from_utf8_lossy(c.until_quote("a keyid and a quote")?).into_owned();
        if parse_hex32(&key_id).is_none() {
            return Err(EnvelopeError::Malformed { at, wanted: "a keyid of 64 lower-case hex digits" });
        }
        c.literal(b",\"sig\":\"", ",\"sig\":\"")?;
        let at = c.at;
        let signature = c.base64("standard base64 with padding")?;
        let Ok(signature) = signature.try_into() else {
            return Err(EnvelopeError::Malformed { at, wanted: "a signature of 64 bytes" });
        };
        if c.rest().starts_with(b"},{") {
            return Err(EnvelopeError::SignatureCount);
        }
        c.literal(b"}]}\n", "}]} and a newline")?;
        if !c.rest().is_empty() {
            return Err(EnvelopeError::Malformed { at: c.at, wanted: "the end" });
        }
        Ok(Envelope { payload_type, payload, key_id, signature })
    }

    /// The one spelling, with its final newline.
    pub fn to_json(&self) -> String {
        format!(
            "{{\"payloadType\":\"{}\",\"payload\":\"{}\",\"signatures\":[{{\"keyid\":\"{}\",\"sig\":\"{}\"}}]}}\n",
            self.payload_type,
            STANDARD.encode(&self.payload),
            self.key_id,
            STANDARD.encode(self.signature)
        )
    }

    /// The payload, *not* checked: good for finding out which key to check it with, and for showing.
    pub fn unverified_payload(&self) -> &[u8] {
        &self.payload
    }

    /// What the payload is said to be, not checked.
    pub fn payload_type(&self) -> &str {
        &self.payload_type
    }

    /// The keyid in the envelope, not checked: 64 lower-case hex digits.
    pub fn key_id(&self) -> &str {
        &self.key_id
    }

    /// Checks the signature and the type, and hands out the payload.
    ///
    /// # Errors
    /// [`EnvelopeError::WrongKind`], [`EnvelopeError::WrongKey`], [`EnvelopeError::BadSignature`],
    /// [`EnvelopeError::WrongPayloadType`].
    pub fn open(&self, key: &VerifierKey, payload_type: &str) -> Result<&[u8], EnvelopeError> {
        check_kind(key)?;
        let wanted = key_id(key.public());
        if wanted != self.key_id {
            return Err(EnvelopeError::WrongKey {
                found: self.key_id.clone(),
                wanted,
                name: key.name().into(),
            });
        }
        if !key.verify_raw(&pae(&self.payload_type, &self.payload), &self.signature) {
            return Err(EnvelopeError::BadSignature { name: key.name().into() });
        }
        if self.payload_type != payload_type {
            let (found, wanted) = (self.payload_type.clone(), payload_type.into());
            return Err(EnvelopeError::WrongPayloadType { found, wanted });
        }
        Ok(&self.payload)
    }
}

/// Where we are in the envelope.
struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    fn rest(&self) -> &'a [u8] {
        &self.bytes[self.at..] // at never passes the end: it moves over bytes that were seen
    }

    fn literal(&mut self, text: &[u8], wanted: &'static str) -> Result<(), EnvelopeError> {
        if !self.rest().starts_with(text) {
            return Err(EnvelopeError::Malformed { at: self.at, wanted });
        }
        self.at += text.len();
        Ok(())
    }

    /// The bytes up to the next quote, and past it.
    fn until_quote(&mut self, wanted: &'static str) -> Result<&'a [u8], EnvelopeError> {
        let rest = self.rest();
        let Some(len) = rest.iter().position(|&b| b == b'"') else {
            return Err(EnvelopeError::Malformed { at: self.at, wanted });
        };
        self.at += len + 1;
        Ok(&rest[..len])
    }

    fn base64(&mut self, wanted: &'static str) -> Result<Vec<u8>, EnvelopeError> {
        let at = self.at;
        let text = self.until_quote(wanted)?;
        STANDARD.decode(text).map_err(|_| EnvelopeError::Malformed { at, wanted })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const TYPE: &str = "application/vnd.in-toto+json";

    fn signer() -> NoteSigner {
        NoteSigner::new("audit.hil.example/moc", &[7; 32]).unwrap()
    }

    #[test]
    fn the_specification_s_pae() {
        assert_eq!(
            pae("http://example.com/HelloWorld", b"hello world"),
            b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"
        );
        assert_eq!(pae("", b""), b"DSSEv1 0  0 ");
    }

    #[test]
    fn signs_and_opens() {
        let envelope = sign(TYPE, b"{\"a\":1}", &signer()).unwrap();
        let json = envelope.to_json();
        let again = Envelope::parse(json.as_bytes(), json.len()).unwrap();
        assert_eq!(again, envelope);
        assert_eq!(again.open(signer().verifier(), TYPE).unwrap(), b"{\"a\":1}");
        assert_eq!(again.unverified_payload(), b"{\"a\":1}");
        assert_eq!(
            (again.payload_type(), again.key_id()),
            (TYPE, key_id(signer().verifier().public()).as_str())
        );
        assert!(matches!(
            Envelope::parse(json.as_bytes(), json.len() - 1),
            Err(EnvelopeError::TooLong { .. })
        ));
        // Any JSON reader sees the same members.
        let value: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert_eq!(value["payload"], "eyJhIjoxfQ==");
        assert_eq!(value["signatures"].as_array().unwrap().len(), 1);
    }

    #[test]
    fn every_changed_byte_is_refused() {
        let json = sign(TYPE, b"{\"a\":1}", &signer()).unwrap().to_json();
        let check = |bytes: &[u8]| {
            Envelope::parse(bytes, 10_000).and_then(|e| e.open(signer().verifier(), TYPE).map(<[u8]>::to_vec))
        };
        check(json.as_bytes()).unwrap();
        for at in 0..json.len() {
            for byte in 0..=255 {
                let mut bad = json.clone().into_bytes();
                if bad[at] != byte {
                    bad[at] = byte;
                    assert!(check(&bad).is_err(), "byte {at} as {byte}");
                }
            }
            let mut bad = json.clone().into_bytes();
            bad.remove(at);
            assert!(check(&bad).is_err(), "byte {at} removed");
            bad.insert(at, b' ');
            bad.insert(at, json.as_bytes()[at]);
            assert!(check(&bad).is_err(), "space at {at}");
        }
    }

    #[test]
    fn the_wrong_key_type_or_kind() {
        let envelope = sign(TYPE, b"x", &signer()).unwrap();
        let other = NoteSigner::new("audit.hil.example/moc", &[8; 32]).unwrap();
        assert!(matches!(envelope.open(other.verifier(), TYPE), Err(EnvelopeError::WrongKey { .. })));
        assert!(matches!(
            envelope.open(signer().verifier(), "text/plain"),
            Err(EnvelopeError::WrongPayloadType { .. })
        ));
        let cosigner = NoteSigner::cosigner("w", &[7; 32]).unwrap();
        assert!(matches!(envelope.open(cosigner.verifier(), TYPE), Err(EnvelopeError::WrongKind { .. })));
        assert!(matches!(sign(TYPE, b"x", &cosigner), Err(EnvelopeError::WrongKind { .. })));
        for bad in ["", "a b", "a\"b", "a\\b", "é"] {
            assert!(matches!(sign(bad, b"x", &signer()), Err(EnvelopeError::PayloadType(_))), "{bad:?}");
        }
        assert!(sign(&"t".repeat(256), b"x", &signer()).is_err());
        // An envelope relabelled with another type or payload has no valid signature.
        let forged = Envelope { payload_type: "text/plain".into(), ..envelope.clone() };
        assert!(matches!(
            forged.open(signer().verifier(), "text/plain"),
            Err(EnvelopeError::BadSignature { .. })
        ));
    }

    proptest! {
        #[test]
        fn reads_back(payload in proptest::collection::vec(any::<u8>(), 0..200)) {
            let envelope = sign(TYPE, &payload, &signer()).unwrap();
            let again = Envelope::parse(envelope.to_json().as_bytes(), 1000).unwrap();
            prop_assert_eq!(again.open(signer().verifier(), TYPE).unwrap(), payload);
        }

        #[test]
        fn never_panics(cut: usize, tail in proptest::collection::vec(any::<u8>(), 0..40)) {
            let mut bytes = sign(TYPE, b"abc", &signer()).unwrap().to_json().into_bytes();
            bytes.truncate(cut % bytes.len());
            bytes.extend(tail);
            prop_assert!(Envelope::parse(&bytes, 1000).and_then(|e| e.open(signer().verifier(), TYPE).map(|_| ())).is_err());
        }
    }
}
