//! Evidence files: everything a tenant needs to recompute a claim about its own network, in one file.
//!
//! ```text
//! checkpoint ─────────────── signed root over `size` entries; `chain` joins archived, cosigned ones to it
//!   └ range: left ‖ entries ‖ right ──▶ root      contiguous entries are the leaves; O(log n) hashes around them
//!        └ poll entries: version, root of the VLAN tree
//!             └ versions: leaf + 12 siblings ──▶ root, once for each distinct version
//!                  └ texts: common part, its sections, slice, the network's own section, by BLAKE3
//! ```
//!
//! The file is one canonical JSON object ([`Evidence`]); docs/formats/evidence.md. It holds slot keys and is
//! confidential to the network's projects.

use crate::hash::{Digest, Hash};
use crate::json::{self, JsonError};
use crate::record::{Body, Poll, Record, RecordError};
use crate::time::{Span, Timestamp};
use crate::vlan::VlanId;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;

/// The largest evidence file in bytes that is read unless the caller says otherwise.
pub const MAX_EVIDENCE: usize = 512 << 20;

/// An evidence file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Evidence {
    /// 1.
    pub v: u32,
    /// The log.
    pub origin: String,
    /// The network it is about.
    pub network: String,
    /// The network's VLAN.
    pub vlan: VlanId,
    /// The newest checkpoint, a signed note with its cosignatures, verbatim.
    pub checkpoint: String,
    /// Archived checkpoints, oldest first, each joined to the next (the last to `checkpoint`) by a consistency proof.
    pub chain: Vec<ChainLink>,
    /// Where the entries stand in the tree.
    pub range: RangeView,
    /// Keys of the leases in the range. Secret.
    pub leases: Vec<LeaseKey>,
    /// Texts referred to by digest: common parts, sections, slices, the network's own sections. Each once, sorted by
    /// digest.
    pub texts: Vec<String>,
    /// Every distinct version among the polls, ascending.
    pub versions: Vec<Version>,
    /// The entries, packed ([`Packer`]).
    pub entries: Vec<String>,
}

/// An archived checkpoint.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChainLink {
    /// The signed note with its cosignatures, verbatim.
    pub checkpoint: String,
    /// Consistency proof (RFC 6962 section 2.1.2) to the next checkpoint.
    pub proof: Vec<Hash>,
}

/// Where the entries stand in the tree.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RangeView {
    /// Index of the first entry.
    pub start: u64,
    /// Index after the last entry.
    pub end: u64,
    /// Hashes of the complete subtrees left of the range, left to right.
    pub left: Vec<Hash>,
    /// Hashes right of the range, left to right.
    pub right: Vec<Hash>,
}

/// The key of one lease.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LeaseKey {
    /// The lease's number.
    pub lease: u64,
    /// Its slot key.
    pub key: Digest,
}

impl std::fmt::Debug for LeaseKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "LeaseKey({}, secret)", self.lease)
    }
}

/// One version of the VLAN tree, opened at the network's VLAN.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Version {
    /// The version.
    pub version: u64,
    /// Digest of the common part's text.
    pub common: Digest,
    /// Digest of the slice's text.
    pub slice: Digest,
    /// Digest of the network's own section's text.
    pub section: Digest,
    /// The 12 siblings from the leaf up, 384 bytes in base64.
    pub proof: String,
}

impl Version {
    /// The siblings.
    pub fn siblings(&self) -> Option<[Digest; 12]> {
        let bytes = STANDARD.decode(&self.proof).ok()?;
        if bytes.len() != 384 {
            return None;
        }
        let mut out = [Digest::ZERO; 12];
        for (d, chunk) in out.iter_mut().zip(bytes.chunks_exact(32)) {
            d.0.copy_from_slice(chunk);
        }
        Some(out)
    }

    /// The form in which siblings are written.
    pub fn encode_siblings(siblings: &[Digest; 12]) -> String {
        STANDARD.encode(siblings.iter().flat_map(|d| d.0).collect::<Vec<u8>>())
    }
}

impl Evidence {
    /// Reads an evidence file of at most `limit` bytes.
    ///
    /// # Errors
    /// Too large, or not canonical JSON of this shape.
    pub fn parse(bytes: &[u8], limit: usize) -> Result<Evidence, JsonError> {
        json::from_canonical("the evidence file", bytes, limit)
    }

    /// The file's bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        json::to_canonical(self)
    }

    /// The texts by their digests.
    pub fn texts(&self) -> HashMap<Digest, &str> {
        self.texts.iter().map(|t| (Digest::of(t.as_bytes()), t.as_str())).collect()
    }
}

/// Packs and unpacks entries.
///
/// Most entries of a range are polls that found nothing new: everything in them but three times and a commitment
/// follows from the entries before. An entry is therefore written as one of
///
/// ```text
/// {"v":1,…}⏎                          the entry's text, newline included
/// p DT DE DS CONTENT                  a poll of the version and root of the last poll before
/// v DT DE DS CONTENT ROOT             a poll that cut its own version
/// ```
///
/// `time` = time of the entry before + DT, `ended` = `time` − DE, `started` = `ended` − DS, in milliseconds, decimal
/// without leading zero; CONTENT and ROOT are 32 bytes in base64 (RFC 4648 section 4). Origin, `seq`, `prev` and
/// semantics follow from the entries before. The first entry, the first poll, and whatever is no poll stand as text.
#[derive(Clone, Debug, Default)]
pub struct Packer {
    last: Option<(Record, Digest)>,
    poll: Option<Poll>,
}

impl Packer {
    /// A packer at the beginning of a range.
    pub fn new() -> Packer {
        Packer::default()
    }

    /// The packed form of the next entry, given its bytes.
    ///
    /// # Errors
    /// Bytes that are not an entry.
    pub fn pack(&mut self, bytes: &[u8]) -> Result<String, RecordError> {
        let record = Record::parse(bytes)?;
        let short = self.short(&record);
        // What is short must unpack to the same bytes; an entry that would not stands as text.
        let packed = short.filter(|s| self.clone().unpack(s).is_ok_and(|(b, _)| b == bytes));
        self.note(record, bytes);
        Ok(packed.unwrap_or_else(|| String::from_utf8_lossy(bytes).into_owned()))
    }

    fn short(&self, record: &Record) -> Option<String> {
        let ((last, _), Body::Poll(p), Some(poll)) = (self.last.as_ref()?, &record.body, &self.poll) else {
            return None;
        };
        let (dt, de, ds) =
            (record.time.since(last.time), record.time.since(p.ended), p.ended.since(p.started));
        let times = format!("{} {} {}", dt.millis(), de.millis(), ds.millis());
        let content = STANDARD.encode(p.content.0);
        if (p.version, p.root) == (poll.version, poll.root) {
            Some(format!("p {times} {content}"))
        } else if p.version == record.seq {
            Some(format!("v {times} {content} {}", STANDARD.encode(p.root.0)))
        } else {
            None
        }
    }

    fn note(&mut self, record: Record, bytes: &[u8]) {
        if let Body::Poll(p) = &record.body {
            self.poll = Some(p.clone());
        }
        self.last = Some((record, Digest::of(bytes)));
    }

    /// The bytes and the record of the next entry, given its packed form.
    ///
    /// # Errors
    /// A form that is none of the three, or that needs an entry before and has none.
    pub fn unpack(&mut self, packed: &str) -> Result<(Vec<u8>, Record), PackError> {
        if packed.starts_with('{') {
            let bytes = packed.as_bytes().to_vec();
            let record = Record::parse(&bytes)?;
            self.note(record.clone(), &bytes);
            return Ok((bytes, record));
        }
        let (Some((last, digest)), Some(poll)) = (&self.last, &self.poll) else {
            return Err(PackError::First);
        };
        let mut parts = packed.split(' ');
        let kind = parts.next();
        let mut number = || -> Option<Span> {
            let text = parts.next()?;
            let plain = text == "0" || !text.starts_with('0');
            let digits = !text.is_empty() && text.len() <= 15 && text.bytes().all(|b| b.is_ascii_digit());
            if plain && digits { text.parse().ok().map(Span::from_millis) } else { None }
        };
        let (dt, de, ds) = (number(), number(), number());
        let (Some(dt), Some(de), Some(ds)) = (dt, de, ds) else { return Err(PackError::Form) };
        let content = parts.next().and_then(Hash::from_base64).ok_or(PackError::Form)?;
        let seq = last.seq + 1;
        let (version, root) = match kind {
            Some("p") => (poll.version, poll.root),
            Some("v") => (seq, Digest(parts.next().and_then(Hash::from_base64).ok_or(PackError::Form)?.0)),
            _ => return Err(PackError::Form),
        };
        if parts.next().is_some() {
            return Err(PackError::Form);
        }
        let back = |t: Timestamp, by: Span| {
            if t.millis() < by.millis() { Err(PackError::Form) } else { Ok(t.minus(by)) }
        };
        let time = last.time.plus(dt);
        let ended = back(time, de)?;
        let record = Record {
            origin: last.origin.clone(),
            seq,
            time,
            prev: *digest,
            body: Body::Poll(Poll {
                semantics: poll.semantics,
                started: back(ended, ds)?,
                ended,
                version,
                root,
                content: Digest(content.0),
            }),
        };
        let bytes = record.encode().into_bytes();
        self.note(record.clone(), &bytes);
        Ok((bytes, record))
    }
}

/// Why a packed entry cannot be unpacked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PackError {
    /// Short forms need the entries before them.
    #[error("a short entry needs an entry and a poll before it in the range")]
    First,
    /// None of the three forms.
    #[error("a packed entry is an entry's text, or \"p DT DE DS CONTENT\", or \"v DT DE DS CONTENT ROOT\"")]
    Form,
    /// A text that is no entry.
    #[error(transparent)]
    Record(#[from] RecordError),
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn log(steps: &[(u16, bool, u16)]) -> Vec<Vec<u8>> {
        let t0 = Timestamp::from_millis(1_772_446_272_000).unwrap();
        let mut out: Vec<Vec<u8>> = Vec::new();
        let mut time = t0;
        let mut state = (0, Digest::ZERO);
        for (i, (dt, cut, de)) in (0u64..).zip(steps) {
            time = time.plus(Span::from_millis(u64::from(*dt) + u64::from(*de) + 1));
            if *cut || i == 0 {
                state = (i, Digest::of(&i.to_be_bytes()));
            }
            let ended = time.minus(Span::from_millis(u64::from(*de)));
            let body = if i % 7 == 3 {
                Body::ScopeChanged { commitment: Digest([1; 32]) }
            } else {
                Body::Poll(Poll {
                    semantics: 1,
                    started: ended.minus(Span::from_millis(1)),
                    ended,
                    version: state.0,
                    root: state.1,
                    content: Digest::of(&[9, i.to_be_bytes()[7]]),
                })
            };
            let prev = out.last().map_or(Digest::ZERO, |b| Digest::of(b));
            out.push(Record { origin: "a.example/x".into(), seq: i, time, prev, body }.encode().into_bytes());
        }
        out
    }

    proptest! {
        #[test]
        fn every_entry_survives(steps in proptest::collection::vec((any::<u16>(), any::<bool>(), 0u16..1000), 1..40)) {
            let entries = log(&steps);
            let (mut packer, mut unpacker) = (Packer::new(), Packer::new());
            for e in &entries {
                let packed = packer.pack(e).unwrap();
                prop_assert_eq!(&unpacker.unpack(&packed).unwrap().0, e);
            }
        }

        #[test]
        fn arbitrary_forms_never_panic(form in "[pv{ ]?[0-9 ]{0,40}[a-zA-Z0-9+/= ]{0,100}") {
            let entries = log(&[(1, true, 1), (1, false, 1)]);
            let mut p = Packer::new();
            p.pack(&entries[0]).unwrap();
            let _ = p.unpack(&form);
        }
    }

    #[test]
    fn an_unchanged_poll_is_short() {
        let entries = log(&[(1, true, 1), (10_000, false, 12)]);
        let mut p = Packer::new();
        p.pack(&entries[0]).unwrap();
        let short = p.pack(&entries[1]).unwrap();
        assert!(short.starts_with("p 10013 12 1 ") && short.len() < 64, "{short}");
    }
}
