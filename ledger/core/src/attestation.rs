//! Attestations: an in-toto Statement v1 about the isolation of one network over a range of time, in a DSSE envelope
//! signed with the log's key.
//!
//! The statement's one subject is the evidence file, by SHA-256. Everything else it says can be recomputed from that
//! file, and a verifier that finds a difference refuses the attestation. docs/formats/attestation.md.

use crate::dsse::{self, Envelope, EnvelopeError};
use crate::hash::Hash;
use crate::json::{self, JsonError};
use crate::judge::{NotAssessed, Verdict};
use crate::note::{NoteSigner, VerifierKey};
use crate::range::{Stretch, Violation};
use crate::slice::ExitView;
use crate::time::{Span, Timestamp};
use crate::vlan::VlanId;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

/// The envelope's payload type.
pub const PAYLOAD_TYPE: &str = "application/vnd.in-toto+json";
/// The statement's type.
pub const STATEMENT_TYPE: &str = "https://in-toto.io/Statement/v1";
/// The predicate's type.
pub const PREDICATE_TYPE: &str = "https://isoledger.dev/vlan-isolation/v1";
/// The largest attestation in bytes.
pub const MAX_ATTESTATION: usize = 4 << 20;

/// The signed statement.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Statement {
    /// [`STATEMENT_TYPE`].
    #[serde(rename = "_type")]
    pub kind: String,
    /// Exactly one: the evidence file.
    pub subject: Vec<ResourceDescriptor>,
    /// [`PREDICATE_TYPE`].
    #[serde(rename = "predicateType")]
    pub predicate_type: String,
    /// The claim.
    pub predicate: Predicate,
}

/// A file by name and digest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ResourceDescriptor {
    /// The file's name.
    pub name: String,
    /// Its digest.
    pub digest: DigestSet,
}

/// Digests of a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DigestSet {
    /// SHA-256 in lower-case hex.
    pub sha256: String,
}

/// The claim.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Predicate {
    /// The network.
    pub network: String,
    /// The audited domain.
    pub domain: String,
    /// The network's VLAN.
    pub vlan: VlanId,
    /// The project the attestation was made for.
    pub project: String,
    /// The verdict over the range, by `maxGap`, accepting nothing.
    pub verdict: Verdict,
    /// Start of the range.
    pub from: Timestamp,
    /// End of the range.
    pub to: Timestamp,
    /// Polls of the network in the evidence, those that close the ends included.
    pub polls: u64,
    /// Of these, isolated.
    pub isolated: u64,
    /// Times of violation, each with the interval its beginning lies in.
    pub violations: Vec<Violation>,
    /// The longest stretch without a good reading that `verdict` allows.
    pub max_gap: Span,
    /// Stretches longer than that.
    pub blind: Vec<Stretch>,
    /// Numbers of the leases in the range, ascending.
    pub leases: Vec<u64>,
    /// `scope-changed` entries in the evidence, ascending.
    pub scope_changes: Vec<u64>,
    /// Exits that carried the network, sorted.
    pub exits: Vec<ExitView>,
    /// What was not assessed, sorted.
    pub not_assessed: Vec<NotAssessed>,
    /// `exception-granted` entries in the evidence, ascending. They change no verdict.
    pub exceptions: Vec<u64>,
    /// The tenant's nonce, if it gave one.
    pub nonce: Option<String>,
    /// When the attestation was made, by the recorder's clock.
    pub issued: Timestamp,
    /// The log and the checkpoint the evidence leads to.
    pub log: LogHead,
    /// Names of the cosigners on that checkpoint, sorted.
    pub cosignatures: Vec<String>,
    /// Entries an auditor's cosignature covers, as far as the recorder knows.
    pub audited_to: Option<u64>,
}

/// A log's head.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LogHead {
    /// Its origin.
    pub origin: String,
    /// Its size.
    pub size: u64,
    /// Its root.
    pub root: Hash,
}

impl Statement {
    /// A statement about the evidence file `name` with these bytes.
    pub fn new(name: &str, evidence: &[u8], predicate: Predicate) -> Statement {
        Statement {
            kind: STATEMENT_TYPE.into(),
            subject: vec![ResourceDescriptor {
                name: name.into(),
                digest: DigestSet { sha256: hex::encode(Sha256::digest(evidence)) },
            }],
            predicate_type: PREDICATE_TYPE.into(),
            predicate,
        }
    }

    /// Signs the statement: the attestation file's bytes.
    ///
    /// # Errors
    /// A payload the envelope does not take.
    pub fn sign(&self, signer: &NoteSigner) -> Result<String, EnvelopeError> {
        Ok(dsse::sign(PAYLOAD_TYPE, &json::to_canonical(self), signer)?.to_json())
    }

    /// Opens an attestation file: its signature by `log`, then its statement.
    ///
    /// # Errors
    /// What is wrong, in the order in which a verifier looks.
    pub fn open(bytes: &[u8], log: &VerifierKey) -> Result<Statement, AttestationError> {
        let envelope = Envelope::parse(bytes, MAX_ATTESTATION)?;
        let payload = envelope.open(log, PAYLOAD_TYPE)?;
        Statement::parse(payload)
    }

    /// Reads a statement whose signature the caller checks or does not need.
    ///
    /// # Errors
    /// Not a statement of these types about one evidence file.
    pub fn parse(payload: &[u8]) -> Result<Statement, AttestationError> {
        let s: Statement = match json::from_canonical("the statement", payload, MAX_ATTESTATION) {
            Ok(s) => s,
            Err(e) => {
                // One of a later kind need not have today's shape. It is no forgery for that.
                if payload.len() <= MAX_ATTESTATION
                    && let Ok(types) = serde_json::from_slice::<Types>(payload)
                {
                    types.check()?;
                }
                return Err(e.into());
            }
        };
        let Statement { kind, predicate_type, .. } = &s;
        Types { kind: kind.clone(), predicate_type: predicate_type.clone() }.check()?;
        if s.subject.len() != 1 {
            return Err(AttestationError::Subjects { found: s.subject.len() });
        }
        Ok(s)
    }

    /// Whether `evidence` is the file the statement is about.
    pub fn is_about(&self, evidence: &[u8]) -> bool {
        let digest = hex::encode(Sha256::digest(evidence));
        matches!(self.subject.as_slice(), [s] if s.digest.sha256 == digest)
    }
}

/// What a statement says it is, whatever else it holds.
#[derive(Deserialize)]
struct Types {
    #[serde(rename = "_type")]
    kind: String,
    #[serde(rename = "predicateType")]
    predicate_type: String,
}

impl Types {
    fn check(self) -> Result<(), AttestationError> {
        let pairs =
            [("statement", self.kind, STATEMENT_TYPE), ("predicate", self.predicate_type, PREDICATE_TYPE)];
        match pairs.into_iter().find(|(_, found, wanted)| found != wanted) {
            Some((what, found, wanted)) => Err(AttestationError::Type { what, found, wanted }),
            None => Ok(()),
        }
    }
}

/// Why an attestation cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum AttestationError {
    /// The envelope or its signature.
    #[error(transparent)]
    Envelope(#[from] EnvelopeError),
    /// The statement's bytes.
    #[error(transparent)]
    Json(#[from] JsonError),
    /// Another kind of statement.
    #[error("the {what} has type {found:?}; this program knows {wanted:?}")]
    Type {
        /// Statement or predicate.
        what: &'static str,
        /// Its type.
        found: String,
        /// The known type.
        wanted: &'static str,
    },
    /// More or fewer than one subject.
    #[error("the statement has {found} subjects; an isolation statement has one, the evidence file")]
    Subjects {
        /// How many.
        found: usize,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_later_predicate_is_of_another_type_whatever_its_shape() {
        let of = |kind: &str, predicate: &str| {
            format!(r#"{{"_type":"{kind}","predicateType":"{predicate}","predicate":{{"v":2,"new":[]}}}}"#)
        };
        let later = Statement::parse(of(STATEMENT_TYPE, "https://isoledger.example/later/v2").as_bytes());
        assert!(matches!(later, Err(AttestationError::Type { what: "predicate", .. })), "{later:?}");
        let other = Statement::parse(of("https://in-toto.io/Statement/v2", PREDICATE_TYPE).as_bytes());
        assert!(matches!(other, Err(AttestationError::Type { what: "statement", .. })), "{other:?}");
        // Of today's types, and of no shape of today's.
        let bad = Statement::parse(of(STATEMENT_TYPE, PREDICATE_TYPE).as_bytes());
        assert!(matches!(bad, Err(AttestationError::Json(_))), "{bad:?}");
    }
}
