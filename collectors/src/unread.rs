//! What stands in evidence in place of an answer that did not come: why, so that evidence alone tells how its reading
//! failed.

use crate::evidence::MAX_EVIDENCE;
use crate::source::SourceError;
use isoledger_core::json::{from_canonical, to_canonical};
use isoledger_core::model::Failure;
use serde::{Deserialize, Serialize};

/// A failure as the bytes of an answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Unread {
    failure: Failure,
    why: String,
}

impl Unread {
    pub(crate) fn bytes(e: &SourceError) -> Vec<u8> {
        to_canonical(&Unread { failure: e.kind, why: e.sentence.clone() })
    }

    /// The failure that these bytes are, if they are one.
    pub(crate) fn error(bytes: &[u8]) -> Option<SourceError> {
        let unread: Unread = from_canonical("a failure", bytes, MAX_EVIDENCE).ok()?;
        Some(SourceError::new(unread.failure, unread.why))
    }
}
