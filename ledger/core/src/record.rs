//! Records: the facts a ledger holds, one line of compact JSON each, chained by BLAKE3.
//!
//! ```text
//! {"v":1,"origin":"audit.example/moc","seq":7389,"time":"2026-03-02T10:11:12.345Z","prev":"<64 hex>","type":"poll",…}⏎
//!  └──────────────────────────────── head, the same for every type ───────────────────────────────┘└ body ┘
//! ```
//!
//! The bytes above, newline included, are the *entry*: the leaf of the RFC 6962 tree and what the next entry's
//! `prev` digests. Stored with one signature line they are a C2SP signed note. See docs/formats/entry.md.
//!
//! Members stand in this order, without spaces, and every value has one spelling, so the scanner below reads a
//! record front to back without building a tree, and nothing it accepts could have been written in another way.

use crate::hash::Digest;
use crate::time::Timestamp;
use std::fmt;

/// The longest entry in bytes, newline included. Entries are stored in bundles with a 16-bit length.
pub const MAX_ENTRY: usize = 4096;
/// The longest origin in bytes.
pub const MAX_ORIGIN: usize = 200;

/// A fact in the ledger.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// The log's name: its key name and checkpoint origin.
    pub origin: String,
    /// Position in the log, from 0.
    pub seq: u64,
    /// When it was sequenced, by the recorder's clock; never earlier than the entry before.
    pub time: Timestamp,
    /// BLAKE3 of the entry before; zero for the first.
    pub prev: Digest,
    /// What happened.
    pub body: Body,
}

/// What happened. Past tense, closed; a type this code does not know is chain-checked, counted and skipped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Body {
    /// The first entry.
    Genesis {
        /// The audited domain.
        domain: String,
        /// The log's verifier key (C2SP vkey).
        key: String,
        /// Semantics in force ([`crate::SEMANTICS`]).
        semantics: u32,
    },
    /// One poll of every source.
    Poll(Poll),
    /// The scope changed; its text is content.
    ScopeChanged {
        /// Commitment to the scope's text.
        commitment: Digest,
    },
    /// The log will sign with another key from the next entry on; this entry is signed by the old one.
    KeyRotated {
        /// The new verifier key.
        key: String,
    },
    /// An admin has seen a divergence; the text is content.
    DivergenceAcknowledged {
        /// Commitment to the text.
        commitment: Digest,
    },
    /// An admin excused something for a time; the text is content.
    ExceptionGranted {
        /// Commitment to the text.
        commitment: Digest,
    },
    /// Content of entries before `upto` was moved to an archive or destroyed.
    ContentArchived {
        /// Entries `0..upto` are concerned.
        upto: u64,
        /// Commitment to the archive's description.
        commitment: Digest,
    },
    /// The log was reopened with a doubtful tail and continued.
    LogRecovered {
        /// A word for why, e.g. `torn-tail`.
        reason: String,
        /// Entries found intact.
        size: u64,
    },
    /// A type of a later version.
    Unknown {
        /// Its name.
        kind: String,
        /// The body's bytes after the type, verbatim.
        rest: String,
    },
}

/// The body of a `poll` record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Poll {
    /// Semantics the verdicts of this poll follow.
    pub semantics: u32,
    /// Before the first source was asked in this poll.
    pub started: Timestamp,
    /// After the last source answered or was given up.
    pub ended: Timestamp,
    /// The `seq` of the poll that cut this state: this one, or the previous poll's version.
    pub version: u64,
    /// Root of the VLAN tree of that version.
    pub root: Digest,
    /// Blinded commitment to the poll's manifest.
    pub content: Digest,
}

impl Body {
    /// The `type` member.
    pub fn kind(&self) -> &str {
        match self {
            Body::Genesis { .. } => "genesis",
            Body::Poll(_) => "poll",
            Body::ScopeChanged { .. } => "scope-changed",
            Body::KeyRotated { .. } => "key-rotated",
            Body::DivergenceAcknowledged { .. } => "divergence-acknowledged",
            Body::ExceptionGranted { .. } => "exception-granted",
            Body::ContentArchived { .. } => "content-archived",
            Body::LogRecovered { .. } => "log-recovered",
            Body::Unknown { kind, .. } => kind,
        }
    }

    /// The commitment to content, for the types that have one.
    pub fn commitment(&self) -> Option<Digest> {
        match self {
            Body::Poll(p) => Some(p.content),
            Body::ScopeChanged { commitment }
            | Body::DivergenceAcknowledged { commitment }
            | Body::ExceptionGranted { commitment }
            | Body::ContentArchived { commitment, .. } => Some(*commitment),
            _ => None,
        }
    }
}

/// Whether `text` can be an origin: printable ASCII without space, `"`, `\` or `+`.
pub fn valid_origin(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= MAX_ORIGIN
        && text.bytes().all(|b| b.is_ascii_graphic() && !matches!(b, b'"' | b'\\' | b'+'))
}

/// Whether `text` can be a domain or a type: letters, digits, `.`, `_`, `-`, at most 64.
pub fn valid_word(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= 64
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
}

// A verifier key may hold the `+` and `/` of base64.
fn valid_key(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= 2 * MAX_ORIGIN
        && text.bytes().all(|b| b.is_ascii_graphic() && !matches!(b, b'"' | b'\\'))
}

impl Record {
    /// The entry's bytes, newline included.
    pub fn encode(&self) -> String {
        let mut out = format!(
            "{{\"v\":1,\"origin\":\"{}\",\"seq\":{},\"time\":\"{}\",\"prev\":\"{}\",\"type\":\"{}\"",
            self.origin,
            self.seq,
            self.time,
            self.prev,
            self.body.kind()
        );
        use fmt::Write as _;
        // Writing to a String cannot fail.
        let _ = match &self.body {
            Body::Genesis { domain, key, semantics } => {
                write!(out, ",\"domain\":\"{domain}\",\"key\":\"{key}\",\"semantics\":{semantics}}}")
            }
            Body::Poll(p) => write!(
                out,
                ",\"semantics\":{},\"started\":\"{}\",\"ended\":\"{}\",\"version\":{},\"root\":\"{}\",\"content\":\"{}\"}}",
                p.semantics, p.started, p.ended, p.version, p.root, p.content
            ),
            Body::ScopeChanged { commitment }
            | Body::DivergenceAcknowledged { commitment }
            | Body::ExceptionGranted { commitment } => write!(out, ",\"commitment\":\"{commitment}\"}}"),
            Body::KeyRotated { key } => write!(out, ",\"key\":\"{key}\"}}"),
            Body::ContentArchived { upto, commitment } => {
                write!(out, ",\"upto\":{upto},\"commitment\":\"{commitment}\"}}")
            }
            Body::LogRecovered { reason, size } => write!(out, ",\"reason\":\"{reason}\",\"size\":{size}}}"),
            Body::Unknown { rest, .. } => write!(out, "{rest}"),
        };
        out.push('\n');
        out
    }

    /// Reads an entry's bytes.
    ///
    /// # Errors
    /// Anything that [`Record::encode`] would not have written, a version other than 1, or more than [`MAX_ENTRY`]
    /// bytes.
    pub fn parse(bytes: &[u8]) -> Result<Record, RecordError> {
        if bytes.len() > MAX_ENTRY {
            return Err(RecordError::TooLong { found: bytes.len() });
        }
        let text = std::str::from_utf8(bytes)
            .map_err(|e| RecordError::Malformed { at: e.valid_up_to(), wanted: "UTF-8" })?;
        let mut s = Scan { text, at: 0 };
        s.lit("{\"v\":")?;
        let v = s.uint()?;
        if v != 1 {
            return Err(RecordError::Version { found: v });
        }
        s.lit(",\"origin\":\"")?;
        let origin = s.string("an origin", valid_origin)?;
        s.lit(",\"seq\":")?;
        let seq = s.uint()?;
        s.lit(",\"time\":")?;
        let time = s.time()?;
        s.lit(",\"prev\":")?;
        let prev = s.digest()?;
        s.lit(",\"type\":\"")?;
        let kind = s.string("a type", valid_word)?;
        let body = match kind.as_str() {
            "genesis" => {
                s.lit(",\"domain\":\"")?;
                let domain = s.string("a domain", valid_word)?;
                s.lit(",\"key\":\"")?;
                let key = s.string("a verifier key", valid_key)?;
                s.lit(",\"semantics\":")?;
                Body::Genesis { domain, key, semantics: s.uint32()? }
            }
            "poll" => {
                s.lit(",\"semantics\":")?;
                let semantics = s.uint32()?;
                s.lit(",\"started\":")?;
                let started = s.time()?;
                s.lit(",\"ended\":")?;
                let ended = s.time()?;
                s.lit(",\"version\":")?;
                let version = s.uint()?;
                s.lit(",\"root\":")?;
                let root = s.digest()?;
                s.lit(",\"content\":")?;
                Body::Poll(Poll { semantics, started, ended, version, root, content: s.digest()? })
            }
            "scope-changed" | "divergence-acknowledged" | "exception-granted" => {
                s.lit(",\"commitment\":")?;
                let commitment = s.digest()?;
                match kind.as_str() {
                    "scope-changed" => Body::ScopeChanged { commitment },
                    "divergence-acknowledged" => Body::DivergenceAcknowledged { commitment },
                    _ => Body::ExceptionGranted { commitment },
                }
            }
            "key-rotated" => {
                s.lit(",\"key\":\"")?;
                Body::KeyRotated { key: s.string("a verifier key", valid_key)? }
            }
            "content-archived" => {
                s.lit(",\"upto\":")?;
                let upto = s.uint()?;
                s.lit(",\"commitment\":")?;
                Body::ContentArchived { upto, commitment: s.digest()? }
            }
            "log-recovered" => {
                s.lit(",\"reason\":\"")?;
                let reason = s.string("a word", valid_word)?;
                s.lit(",\"size\":")?;
                Body::LogRecovered { reason, size: s.uint()? }
            }
            _ => {
                // A later version's body: any JSON, so long as the whole line is one object.
                let rest = text[s.at..].strip_suffix('\n').unwrap_or("");
                let ok = (rest == "}" || rest.starts_with(",\""))
                    && !rest.bytes().any(|b| b < 0x20)
                    && serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok();
                if !ok {
                    return Err(RecordError::Malformed {
                        at: s.at,
                        wanted: "the rest of one JSON object and a newline",
                    });
                }
                return Ok(Record {
                    origin,
                    seq,
                    time,
                    prev,
                    body: Body::Unknown { kind, rest: rest.to_owned() },
                });
            }
        };
        s.lit("}\n")?;
        if s.at != text.len() {
            return Err(RecordError::Malformed { at: s.at, wanted: "the end" });
        }
        Ok(Record { origin, seq, time, prev, body })
    }
}

struct Scan<'a> {
    text: &'a str,
    at: usize,
}

impl Scan<'_> {
    fn lit(&mut self, wanted: &'static str) -> Result<(), RecordError> {
        if self.text.as_bytes()[self.at..].starts_with(wanted.as_bytes()) {
            self.at += wanted.len();
            Ok(())
        } else {
            Err(RecordError::Malformed { at: self.at, wanted })
        }
    }

    fn uint(&mut self) -> Result<u64, RecordError> {
        let wanted = "a number without sign or leading zero";
        let digits = &self.text.as_bytes()[self.at..];
        let n = digits.iter().take_while(|b| b.is_ascii_digit()).count();
        let digits = &self.text[self.at..self.at + n];
        if digits.is_empty() || (n > 1 && digits.starts_with('0')) {
            return Err(RecordError::Malformed { at: self.at, wanted });
        }
        let value = digits.parse().map_err(|_| RecordError::Malformed { at: self.at, wanted })?;
        // JSON numbers past 2^53 do not survive other readers.
        if value > 1 << 53 {
            return Err(RecordError::Malformed { at: self.at, wanted: "a number up to 2^53" });
        }
        self.at += n;
        Ok(value)
    }

    fn uint32(&mut self) -> Result<u32, RecordError> {
        let at = self.at;
        u32::try_from(self.uint()?)
            .map_err(|_| RecordError::Malformed { at, wanted: "a number up to 2^32-1" })
    }

    // Everything up to the next quote, which is consumed.
    fn string(&mut self, wanted: &'static str, valid: fn(&str) -> bool) -> Result<String, RecordError> {
        let err = RecordError::Malformed { at: self.at, wanted };
        let Some(end) = self.text.as_bytes()[self.at..].iter().position(|b| *b == b'"') else {
            return Err(err);
        };
        let value = &self.text[self.at..self.at + end];
        if !valid(value) {
            return Err(err);
        }
        self.at += end + 1;
        Ok(value.to_owned())
    }

    fn quoted(&mut self, len: usize, wanted: &'static str) -> Result<&str, RecordError> {
        let at = self.at;
        let bytes = self.text.as_bytes();
        let end = at + 1 + len;
        let whole = bytes.get(at) == Some(&b'"') && bytes.get(end) == Some(&b'"');
        match self.text.get(at + 1..end) {
            Some(inner) if whole => {
                self.at = end + 1;
                Ok(inner)
            }
            _ => Err(RecordError::Malformed { at, wanted }),
        }
    }

    fn time(&mut self) -> Result<Timestamp, RecordError> {
        let (at, wanted) = (self.at, "a time like \"2026-03-02T10:11:12.345Z\"");
        Timestamp::parse(self.quoted(24, wanted)?).ok_or(RecordError::Malformed { at, wanted })
    }

    fn digest(&mut self) -> Result<Digest, RecordError> {
        let (at, wanted) = (self.at, "64 lower-case hex digits in quotes");
        Digest::from_hex(self.quoted(64, wanted)?).ok_or(RecordError::Malformed { at, wanted })
    }
}

/// Why bytes are not an entry.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// Longer than the format allows.
    #[error("the entry has {found} bytes; at most {MAX_ENTRY} are allowed")]
    TooLong {
        /// Its length.
        found: usize,
    },
    /// A version this code does not know.
    #[error("the entry has version {found}; this program knows version 1: use a newer one")]
    Version {
        /// What it says.
        found: u64,
    },
    /// Not the one spelling.
    #[error("the entry is malformed at byte {at}: wanted {wanted:?}")]
    Malformed {
        /// Offset of the first byte that is wrong.
        at: usize,
        /// What should stand there.
        wanted: &'static str,
    },
}

/// What one entry leaves behind for the next to follow.
///
/// Fed every entry in order, from genesis or from any later point of a log, it refuses what could not have been
/// sequenced there.
#[derive(Clone, Debug, Default)]
pub struct Chain {
    last: Option<Last>,
    // Version, root and end of the newest poll seen.
    poll: Option<(u64, Digest, Timestamp)>,
    whole: bool,
}

#[derive(Clone, Debug)]
struct Last {
    origin: String,
    seq: u64,
    time: Timestamp,
    digest: Digest,
}

impl Chain {
    /// A chain whose first entry is still to come; it may be any entry of a log.
    pub fn new() -> Chain {
        Chain::default()
    }

    /// Checks that `record`, read from `bytes`, may stand next, and moves on.
    ///
    /// # Errors
    /// The rule that is broken. The chain is unchanged then.
    pub fn push(&mut self, record: &Record, bytes: &[u8]) -> Result<(), ChainError> {
        let seq = record.seq;
        match &self.last {
            Some(last) => {
                if record.origin != last.origin {
                    return Err(ChainError::Origin {
                        seq,
                        found: record.origin.clone(),
                        wanted: last.origin.clone(),
                    });
                }
                if Some(seq) != last.seq.checked_add(1) {
                    return Err(ChainError::Seq { found: seq, after: last.seq });
                }
                if record.prev != last.digest {
                    return Err(ChainError::Prev { seq });
                }
                if record.time < last.time {
                    return Err(ChainError::Backwards { seq, time: record.time, last: last.time });
                }
            }
            None if seq == 0 && record.prev != Digest::ZERO => return Err(ChainError::Prev { seq }),
            None => {}
        }
        if (seq == 0) != matches!(record.body, Body::Genesis { .. }) {
            return Err(ChainError::Genesis { seq });
        }
        if let Body::Poll(p) = &record.body {
            if p.started > p.ended || p.ended > record.time {
                return Err(ChainError::Window { seq });
            }
            match &self.poll {
                Some((version, root, ended)) => {
                    if p.started < *ended {
                        return Err(ChainError::Overlap { seq, started: p.started, last: *ended });
                    }
                    if p.version != seq && (p.version != *version || p.root != *root) {
                        return Err(ChainError::Stale { seq, version: p.version });
                    }
                }
                // The first poll after genesis cuts a version; in the middle of a log its version may be older.
                None if p.version > seq || (self.whole && p.version != seq) => {
                    return Err(ChainError::Stale { seq, version: p.version });
                }
                None => {}
            }
            self.poll = Some((p.version, p.root, p.ended));
        }
        self.whole |= seq == 0;
        self.last =
            Some(Last { origin: record.origin.clone(), seq, time: record.time, digest: Digest::of(bytes) });
        Ok(())
    }

    /// The sequence number the next entry must have; `None` before the first.
    pub fn next_seq(&self) -> Option<u64> {
        self.last.as_ref().map(|l| l.seq + 1)
    }

    /// The digest the next entry must carry as `prev`, and the earliest time it may carry.
    pub fn head(&self) -> Option<(Digest, Timestamp)> {
        self.last.as_ref().map(|l| (l.digest, l.time))
    }

    /// Version, root and end of the newest poll.
    pub fn last_poll(&self) -> Option<(u64, Digest, Timestamp)> {
        self.poll
    }
}

/// Why an entry may not stand where it stands.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChainError {
    /// Another log's entry.
    #[error("entry {seq} has origin {found:?}; the entries before have {wanted:?}")]
    Origin {
        /// The entry.
        seq: u64,
        /// Its origin.
        found: String,
        /// The log's.
        wanted: String,
    },
    /// A gap or a repetition.
    #[error("entry {found} follows entry {after}: an entry is missing or repeated")]
    Seq {
        /// The entry's number.
        found: u64,
        /// The number of the one before.
        after: u64,
    },
    /// The chain is broken.
    #[error("entry {seq} does not follow from the entry before: its prev is another digest")]
    Prev {
        /// The entry.
        seq: u64,
    },
    /// Time ran backwards.
    #[error("entry {seq} is dated {time}, before the entry before it ({last})")]
    Backwards {
        /// The entry.
        seq: u64,
        /// Its time.
        time: Timestamp,
        /// The time of the one before.
        last: Timestamp,
    },
    /// A genesis that is not first, or a first that is not genesis.
    #[error("entry {seq}: the first entry and only the first is a genesis")]
    Genesis {
        /// The entry.
        seq: u64,
    },
    /// started, ended and time out of order.
    #[error("poll {seq} must start before it ends and end before it is sequenced")]
    Window {
        /// The entry.
        seq: u64,
    },
    /// Two polls at once.
    #[error("poll {seq} started {started}, before the poll before it ended ({last})")]
    Overlap {
        /// The entry.
        seq: u64,
        /// Its start.
        started: Timestamp,
        /// The end of the one before.
        last: Timestamp,
    },
    /// A version that is neither new nor the previous poll's.
    #[error(
        "poll {seq} claims version {version}, which is neither its own number nor the version and root of the poll before"
    )]
    Stale {
        /// The entry.
        seq: u64,
        /// Its version.
        version: u64,
    },
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn t(ms: u64) -> Timestamp {
        Timestamp::from_millis(1_772_446_272_000 + ms).unwrap()
    }

    fn genesis() -> Record {
        Record {
            origin: "audit.example/moc".into(),
            seq: 0,
            time: t(0),
            prev: Digest::ZERO,
            body: Body::Genesis {
                domain: "moc".into(),
                key: "audit.example/moc+00000000+AAAA".into(),
                semantics: 1,
            },
        }
    }

    fn poll(seq: u64, prev: &Record, version: u64, root: u8) -> Record {
        Record {
            origin: prev.origin.clone(),
            seq,
            time: t(seq * 1000),
            prev: Digest::of(prev.encode().as_bytes()),
            body: Body::Poll(Poll {
                semantics: 1,
                started: t(seq * 1000 - 500),
                ended: t(seq * 1000 - 100),
                version,
                root: Digest([root; 32]),
                content: Digest([9; 32]),
            }),
        }
    }

    #[test]
    fn every_type_survives() {
        let bodies = [
            genesis().body,
            poll(1, &genesis(), 1, 1).body,
            Body::ScopeChanged { commitment: Digest([3; 32]) },
            Body::KeyRotated { key: "a+01234567+AbC/+=".into() },
            Body::DivergenceAcknowledged { commitment: Digest([4; 32]) },
            Body::ExceptionGranted { commitment: Digest([5; 32]) },
            Body::ContentArchived { upto: 12, commitment: Digest([6; 32]) },
            Body::LogRecovered { reason: "torn-tail".into(), size: 3 },
            Body::Unknown { kind: "weather-noted".into(), rest: ",\"rain\":true}".into() },
        ];
        for body in bodies {
            let r = Record { body, ..genesis() };
            assert_eq!(Record::parse(r.encode().as_bytes()), Ok(r));
        }
    }

    #[test]
    fn one_spelling_only() {
        let good = poll(7, &genesis(), 7, 1).encode();
        for (from, to) in [
            ("\"seq\":7", "\"seq\":07"),
            ("\"seq\":7", "\"seq\":+7"),
            ("\"seq\":7", "\"seq\": 7"),
            ("\"seq\":7", "\"seq\":9007199254740993"),
            ("{\"v\":1", "{\"v\":2"),
            ("}\n", "}"),
            ("}\n", "}\n\n"),
            ("}\n", ",\"x\":1}\n"),
            (".000Z", "Z"),
            ("\"poll\"", "\"pol\\u006c\""),
        ] {
            assert!(good.contains(from), "{from}");
            assert!(Record::parse(good.replacen(from, to, 1).as_bytes()).is_err(), "{to}");
        }
    }

    #[test]
    fn chain_accepts_a_log_and_refuses_each_break() {
        let g = genesis();
        let p1 = poll(1, &g, 1, 1);
        let p2 = poll(2, &p1, 1, 1);
        let mut chain = Chain::new();
        for r in [&g, &p1, &p2] {
            chain.push(r, r.encode().as_bytes()).unwrap();
        }
        let next = |edit: fn(&mut Record)| {
            let mut r = poll(3, &p2, 3, 2);
            edit(&mut r);
            chain.clone().push(&r, r.encode().as_bytes())
        };
        fn p(r: &mut Record) -> &mut Poll {
            match &mut r.body {
                Body::Poll(p) => p,
                _ => unreachable!(),
            }
        }
        assert_eq!(next(|_| ()), Ok(()));
        assert!(matches!(next(|r| r.origin = "other".into()), Err(ChainError::Origin { .. })));
        assert!(matches!(next(|r| r.seq = 4), Err(ChainError::Seq { .. })));
        assert!(matches!(next(|r| r.prev = Digest::ZERO), Err(ChainError::Prev { .. })));
        assert!(matches!(next(|r| r.time = t(1)), Err(ChainError::Backwards { .. })));
        assert!(matches!(next(|r| r.body = genesis().body), Err(ChainError::Genesis { .. })));
        assert!(matches!(next(|r| p(r).ended = t(9000)), Err(ChainError::Window { .. })));
        assert!(matches!(next(|r| p(r).started = t(10)), Err(ChainError::Overlap { .. })));
        assert!(matches!(next(|r| p(r).version = 2), Err(ChainError::Stale { .. })));
        // The old version with another root is a second story for one version.
        assert!(matches!(next(|r| p(r).version = 1), Err(ChainError::Stale { .. })));
    }

    proptest! {
        #[test]
        fn what_parses_has_one_spelling(
            cut in 0usize..400, byte in any::<u8>(), seq in 0u64..1 << 53
        ) {
            let mut bytes = poll(7, &genesis(), 7, 1).encode().replace("\"seq\":7", &format!("\"seq\":{seq}")).into_bytes();
            let at = cut % bytes.len();
            bytes[at] = byte;
            if let Ok(r) = Record::parse(&bytes) {
                prop_assert_eq!(r.encode().into_bytes(), bytes);
            }
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = Record::parse(&bytes);
        }
    }
}
