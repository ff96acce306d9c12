//! What a poll commits to: a manifest of read times over a snapshot of digests, behind a blinded commitment.
//!
//! ```text
//! entry ──content (blinded)──▶ manifest: when each source was read        one a poll, some 10 bytes a source
//!                                 └──▶ snapshot: digests of everything     one a change
//!                                         ├──▶ scope, slots (leases and keys)
//!                                         ├──▶ manager: evidence, declared state
//!                                         └──▶ each switch: evidence, observed state
//! ```
//!
//! Manifests and snapshots are content: confidential, stored once by BLAKE3, given to auditors. An unchanged poll
//! costs a manifest and its opening.

use crate::hash::Digest;
use crate::model::{Failure, PortId, Reader, Window};
use crate::time::{Span, Timestamp};
use serde::{Deserialize, Serialize};

/// The largest manifest or snapshot in bytes.
pub const MAX_CONTENT: usize = 64 << 20;

/// The secret that opens an entry's content commitment: a random opening, and the digest it hides.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Opening {
    /// 32 random bytes, never used twice.
    pub opening: [u8; 32],
    /// BLAKE3 of the content.
    pub digest: Digest,
}

impl std::fmt::Debug for Opening {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Opening(secret, {:?})", self.digest)
    }
}

impl Opening {
    /// The commitment that stands in the entry:
    /// `keyed_BLAKE3(K, opening ‖ origin_hash ‖ u64 seq ‖ digest)` with `K = BLAKE3("isoledger content commit v1")`
    /// and `origin_hash = BLAKE3(origin)`. Bound to log and position, so that it cannot be moved.
    pub fn commit(&self, origin_hash: &Digest, seq: u64) -> Digest {
        let key = Digest::of(b"isoledger content commit v1");
        let mut bytes = Vec::with_capacity(104);
        bytes.extend_from_slice(&self.opening);
        bytes.extend_from_slice(origin_hash.as_bytes());
        bytes.extend_from_slice(&seq.to_be_bytes());
        bytes.extend_from_slice(self.digest.as_bytes());
        Digest::keyed(key.as_bytes(), &bytes)
    }

    /// 64 bytes: opening, digest.
    pub fn to_bytes(self) -> [u8; 64] {
        let mut out = [0; 64];
        out[..32].copy_from_slice(&self.opening);
        out[32..].copy_from_slice(self.digest.as_bytes());
        out
    }

    /// From the 64 bytes.
    pub fn from_bytes(bytes: &[u8; 64]) -> Opening {
        let (mut opening, mut digest) = ([0; 32], [0; 32]);
        opening.copy_from_slice(&bytes[..32]);
        digest.copy_from_slice(&bytes[32..]);
        Opening { opening, digest: Digest(digest) }
    }
}

/// Everything a poll knew, by digest. Unchanged between polls when nothing changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Snapshot {
    /// 1.
    pub v: u32,
    /// The `scope-changed` entry in force.
    pub scope_seq: u64,
    /// Digest of the scope's canonical JSON.
    pub scope: Digest,
    /// Digest of the leases and keys ([`crate::lease::Slots`]).
    pub slots: Digest,
    /// The cloud manager.
    pub manager: SourceState,
    /// The switches, in the order of their names.
    pub switches: Vec<NamedSource>,
    /// Ports the cloud manager or a person was changing during the poll, with how long already.
    pub moving: Vec<MovingPort>,
}

/// One source's part of a snapshot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SourceState {
    /// Which reader.
    pub reader: Reader,
    /// The source's identity as its reader prints it, if it showed one.
    pub identity: Option<String>,
    /// Why there is no reading this time; `None` when there is one.
    pub failure: Option<Failure>,
    /// What went wrong, for the admin.
    pub error: Option<String>,
    /// Digest of the state (normal form, canonical JSON). For a failed cloud manager the last state read, by which
    /// ports are still named but nothing is judged; `None` for a failed switch.
    pub state: Option<Digest>,
    /// Digest of the evidence the state follows from, or of what a failed source did answer.
    pub evidence: Option<Digest>,
}

/// A switch's part of a snapshot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NamedSource {
    /// The switch's name in the scope.
    pub name: String,
    /// Its reading.
    pub source: SourceState,
}

/// A port in transition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MovingPort {
    /// The port, by the scope's names.
    pub port: PortId,
    /// For how many polls in a row, this one included.
    pub polls: u32,
    /// Start of the first of them.
    pub since: Timestamp,
}

/// How long a change may excuse a disagreement (DESIGN 2.2): polls in a row, and time.
pub const MOVING_POLLS: u32 = 3;
/// See [`MOVING_POLLS`].
pub const MOVING_SPAN: Span = Span::from_secs(300);

/// One poll's read times over a snapshot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// 1.
    pub v: u32,
    /// Digest of the snapshot.
    pub snapshot: Digest,
    /// When the state of the cloud manager in force was read: milliseconds from the poll's start, negative for a
    /// reading made before it.
    pub manager: (i64, i64),
    /// When each switch was read, in the snapshot's order: milliseconds from the poll's start.
    pub switches: Vec<(i64, i64)>,
    /// Ports read again because the sides disagreed: index of the switch, port, start and end of the last reading.
    pub rereads: Vec<(u32, String, i64, i64)>,
}

impl Manifest {
    /// The moments `offsets` stand for in a poll that started at `started`.
    pub fn window(started: Timestamp, offsets: (i64, i64)) -> Window {
        let at = |ms: i64| match u64::try_from(ms) {
            Ok(later) => started.plus(Span::from_millis(later)),
            Err(_) => started.minus(Span::from_millis(ms.unsigned_abs())),
        };
        Window { started: at(offsets.0), ended: at(offsets.1) }
    }

    /// The offsets that stand for `window` in a poll that started at `started`.
    pub fn offsets(started: Timestamp, window: Window) -> (i64, i64) {
        let off = |t: Timestamp| {
            let (a, b) = (i64::try_from(t.millis()), i64::try_from(started.millis()));
            // Both are below the year 9999 in milliseconds, far inside i64.
            a.unwrap_or(i64::MAX).saturating_sub(b.unwrap_or(i64::MAX))
        };
        (off(window.started), off(window.ended))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commitment_is_bound_to_place_and_content() {
        let o = Opening { opening: [1; 32], digest: Digest([2; 32]) };
        let at = |o: &Opening, origin: &str, seq| o.commit(&Digest::of(origin.as_bytes()), seq);
        let c = at(&o, "a", 7);
        assert_ne!(c, at(&o, "b", 7));
        assert_ne!(c, at(&o, "a", 8));
        assert_ne!(c, at(&Opening { opening: [3; 32], ..o }, "a", 7));
        assert_ne!(c, at(&Opening { digest: Digest([3; 32]), ..o }, "a", 7));
        assert_eq!(Opening::from_bytes(&o.to_bytes()), o);
    }

    #[test]
    fn windows_survive_offsets() {
        let t = |ms: u64| Timestamp::from_millis(1_000_000 + ms).unwrap();
        for (a, b) in [(0, 5), (500, 700)] {
            let w = Window { started: t(a), ended: t(b) };
            assert_eq!(Manifest::window(t(300), Manifest::offsets(t(300), w)), w);
        }
    }
}
