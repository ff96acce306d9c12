//! What a log and its witness say to each other: C2SP tlog-witness, the request, the decision and the answers.
//!
//! ```text
//! POST <prefix>/add-checkpoint
//!
//! old 20852⏎                                             the size the witness last cosigned; 0 when unknown
//! mOvaXlSwWTpBbVbgjlHlGyTlsYUC+z1pbQtmnZ2yGFg=⏎          consistency proof from there, at most 63 lines
//! ⏎
//! audit.hil.example/moc⏎                                 the checkpoint, a signed note, verbatim
//! 20910⏎
//! …
//!
//! 200  — witness.example/w1 6rV1CRVYDGuRd7mx…⏎           cosignatures
//! 409  20880⏎                                            the size to begin from, as text/x.tlog.size
//! ```
//!
//! # In scope
//! - [`AddCheckpoint`] and [`Watched`]: the request and the checkpoint in it, read and written. A witness watches logs
//!   that are not ours, so extension lines are taken here and cosigned, although our own [`crate::checkpoint`] refuses
//!   them.
//! - [`decide`]: what a witness does with a request, given what it cosigned last. Pure: storing is the caller's.
//! - [`Refusal`]: why it does not, with the status and the body that say so. [`Reply`]: an answer as a log reads it,
//!   also from witnesses that deviate. [`cosignatures`]: the lines of those we asked, checked.
//! - [`LogList`]: the logs a witness watches.
//!
//! # Out of scope
//! HTTP, files, and when to ask again.
//!
//! # Trust
//! Both sides are strangers to each other. Sizes are capped before anything is decoded; a cosignature counts only
//! after its key verified it over the very text that was sent.
//!
//! Specification: <https://c2sp.org/tlog-witness>; what we narrow is in `docs/formats/witness.md`.

use crate::checkpoint::Checkpoint;
use crate::hash::Hash;
use crate::merkle::{self, ProofError};
use crate::note::{KeyError, KeyKind, Note, NoteError, SignatureLine, VerifierKey};
use crate::time::Timestamp;
use sha2::{Digest as _, Sha256};
use std::collections::HashMap;
use std::fmt;
use thiserror::Error;

/// The most lines of a consistency proof.
pub const MAX_PROOF: usize = 63;
/// The longest checkpoint note that is taken, in bytes: sixteen post-quantum cosignatures and room to spare.
pub const MAX_CHECKPOINT: usize = 64 << 10;
/// The longest request: `old`, a number, the proof, a blank line and the note.
pub const MAX_REQUEST: usize = 4 + 20 + 1 + MAX_PROOF * 45 + 1 + MAX_CHECKPOINT;
/// The longest answer that is read.
pub const MAX_ANSWER: usize = 64 << 10;
/// The content type of a body that holds a size.
pub const SIZE_TYPE: &str = "text/x.tlog.size";
/// The longest list of logs, in bytes.
pub const MAX_LIST: usize = 1 << 20;
/// The most keys on a list of logs.
pub const MAX_KEYS: usize = 4096;

/// The name under which a witness shows a log: SHA-256 of the origin, 64 lower-case hex digits.
pub fn origin_hash(origin: &str) -> String {
    hex::encode(Sha256::digest(origin))
}

// ---------------------------------------------------------------------------------------------------------------
// The request

/// Why a request cannot be read.
#[non_exhaustive]
#[derive(Clone, PartialEq, Eq, Debug, Error)]
pub enum RequestError {
    /// Larger than any that is read.
    #[error("the {what} has {found} bytes, at most {max} are read")]
    TooLong {
        /// The request, or the checkpoint in it.
        what: &'static str,
        /// Bytes found.
        found: usize,
        /// Bytes allowed.
        max: usize,
    },
    /// The first line is another.
    #[error("the first line must be \"old \" and a size: decimal digits without leading zeroes, below 2^64")]
    Old,
    /// Not 32 bytes of base64 in its one spelling.
    #[error("line {line} of the proof is not a hash: 32 bytes in 44 base64 characters")]
    ProofLine {
        /// Number of the line, from 1.
        line: usize,
    },
    /// More hashes than a proof can have.
    #[error("the proof has more than {max} lines")]
    ProofTooLong {
        /// Lines allowed.
        max: usize,
    },
    /// Nothing separates the proof from the checkpoint.
    #[error("a blank line must follow the proof, and the checkpoint after it")]
    NoBlankLine,
    /// The checkpoint is no signed note.
    #[error("the checkpoint: {0}")]
    Note(#[from] NoteError),
    /// The note's text is no checkpoint.
    #[error(
        "a checkpoint has an origin, a size, a root of 32 bytes in base64, and perhaps lines that are not empty, and this one has another {what}"
    )]
    Checkpoint {
        /// The part that is not as it should be.
        what: &'static str,
    },
}

/// A checkpoint of any log, as a note: well-formed, its bytes kept as received, its signatures *not* checked.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Watched {
    note: String,
    text: usize,
    head: Checkpoint,
}

impl Watched {
    /// Reads a checkpoint note. The text may have extension lines, and the root of size 0 may be wrong: that a
    /// witness has to answer in other words than "malformed".
    ///
    /// # Errors
    /// [`RequestError`].
    pub fn parse(bytes: &[u8]) -> Result<Watched, RequestError> {
        if bytes.len() > MAX_CHECKPOINT {
            return Err(RequestError::TooLong {
                what: "checkpoint",
                found: bytes.len(),
                max: MAX_CHECKPOINT,
            });
        }
        let note = Note::parse(bytes)?;
        let wrong = |what| RequestError::Checkpoint { what };
        let text = note.text();
        let mut lines = text.strip_suffix('\n').unwrap_or(text).split('\n');
        let origin = lines.next().filter(|l| !l.is_empty()).ok_or(wrong("origin"))?;
        let size = lines.next().and_then(number).ok_or(wrong("size"))?;
        let root = lines.next().and_then(Hash::from_base64).ok_or(wrong("root"))?;
        if lines.any(str::is_empty) {
            return Err(wrong("extension"));
        }
        let head = Checkpoint { origin: origin.into(), size, root };
        // Note::parse has just shown that it is UTF-8; nothing is lost here.
        Ok(Watched { note: String::from_utf8_lossy(bytes).into_owned(), text: text.len(), head })
    }

    /// Origin, size and root, unchecked.
    pub fn head(&self) -> &Checkpoint {
        &self.head
    }

    /// What is signed, with its final newline.
    pub fn text(&self) -> &str {
        &self.note[..self.text]
    }

    /// The note, as received.
    pub fn as_str(&self) -> &str {
        &self.note
    }

    // Read before, so it reads again.
    fn note(&self) -> Result<Note<'_>, NoteError> {
        Note::parse(self.note.as_bytes())
    }

    /// The lines of these keys, checked, in the order of the lines; perhaps none.
    ///
    /// # Errors
    /// [`NoteError::BadSignature`] when the line of one of them does not verify; [`NoteError::DuplicateSignature`].
    pub fn lines_of(&self, keys: &[VerifierKey]) -> Result<Vec<SignatureLine>, NoteError> {
        let note = self.note()?;
        let verified = note.verify_any(keys)?;
        let known = |l: &&SignatureLine| verified.iter().any(|v| is_of(l, v.key()));
        Ok(note.signatures().iter().filter(known).cloned().collect())
    }

    /// The same text with these lines under it and no others.
    ///
    /// # Errors
    /// [`RequestError`] when that is no note: without a line, or too long.
    pub fn with_lines(&self, lines: &[SignatureLine]) -> Result<Watched, RequestError> {
        let lines: String = lines.iter().map(SignatureLine::to_string).collect();
        Watched::parse(format!("{}\n{lines}", self.text()).as_bytes())
    }
}

fn is_of(line: &SignatureLine, key: &VerifierKey) -> bool {
    (line.name.as_str(), line.id) == (key.name(), key.id())
}

// Formatting it again refuses "+7", "007" and "".
fn number(text: &str) -> Option<u64> {
    text.parse::<u64>().ok().filter(|n| n.to_string() == text)
}

fn line(bytes: &[u8]) -> Option<(&str, &[u8])> {
    let end = bytes.iter().position(|b| *b == b'\n')?;
    Some((std::str::from_utf8(&bytes[..end]).ok()?, &bytes[end + 1..]))
}

/// A request to cosign.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AddCheckpoint {
    /// The size the proof begins at: what the witness last cosigned, as the client believes.
    pub old: u64,
    /// That the checkpoint's tree begins with the tree of `old` entries; the lowest hash first.
    pub proof: Vec<Hash>,
    /// The checkpoint.
    pub checkpoint: Watched,
}

impl AddCheckpoint {
    /// Reads the body of a request.
    ///
    /// # Errors
    /// [`RequestError`].
    pub fn parse(bytes: &[u8]) -> Result<AddCheckpoint, RequestError> {
        if bytes.len() > MAX_REQUEST {
            return Err(RequestError::TooLong { what: "request", found: bytes.len(), max: MAX_REQUEST });
        }
        let (first, mut rest) = line(bytes).ok_or(RequestError::Old)?;
        let old = first.strip_prefix("old ").and_then(number).ok_or(RequestError::Old)?;
        let mut proof = Vec::new();
        loop {
            let at = proof.len() + 1;
            if !rest.contains(&b'\n') {
                return Err(RequestError::NoBlankLine);
            }
            let (hash, next) = line(rest).ok_or(RequestError::ProofLine { line: at })?;
            rest = next;
            if hash.is_empty() {
                break;
            }
            if at > MAX_PROOF {
                return Err(RequestError::ProofTooLong { max: MAX_PROOF });
            }
            proof.push(Hash::from_base64(hash).ok_or(RequestError::ProofLine { line: at })?);
        }
        Ok(AddCheckpoint { old, proof, checkpoint: Watched::parse(rest)? })
    }
}

/// The body of the request.
impl fmt::Display for AddCheckpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "old {}", self.old)?;
        self.proof.iter().try_for_each(|hash| writeln!(f, "{hash}"))?;
        write!(f, "\n{}", self.checkpoint.as_str())
    }
}

// ---------------------------------------------------------------------------------------------------------------
// The decision

/// Why a witness does not cosign.
#[non_exhaustive]
#[derive(Clone, PartialEq, Eq, Debug, Error)]
pub enum Refusal {
    /// 400: the request cannot be read.
    #[error(transparent)]
    Malformed(#[from] RequestError),
    /// 400: the proof would begin behind the checkpoint.
    #[error("the proof begins at {old}, the checkpoint has {size} entries: old must not be larger")]
    OldAboveSize {
        /// Where the proof begins.
        old: u64,
        /// Size of the checkpoint.
        size: u64,
    },
    /// 403: no known key of the log signed, or one did and its signature does not verify.
    #[error("{0}")]
    Signature(NoteError),
    /// 404: this log is not watched.
    #[error("no log of this origin is on this witness's list")]
    UnknownLog,
    /// 409: the proof does not begin where the witness stands.
    #[error("the largest checkpoint cosigned here has {size} entries; send a proof from there")]
    Conflict {
        /// Where it stands.
        size: u64,
    },
    /// 422: what the witness cosigned and this checkpoint are not of one history, or the proof is wrong.
    #[error(
        "the proof does not show that this checkpoint extends the one cosigned here: {0}. If it is the log's own, its history has changed"
    )]
    Inconsistent(ProofError),
    /// 422: a tree without entries has one root only.
    #[error("the checkpoint has size 0 and not the root of the empty tree")]
    EmptyRoot,
}

impl Refusal {
    /// The HTTP status.
    pub fn status(&self) -> u16 {
        match self {
            Refusal::Malformed(_) | Refusal::OldAboveSize { .. } => 400,
            Refusal::Signature(_) => 403,
            Refusal::UnknownLog => 404,
            Refusal::Conflict { .. } => 409,
            Refusal::Inconsistent(_) | Refusal::EmptyRoot => 422,
        }
    }

    /// The content type of the body.
    pub fn content_type(&self) -> &'static str {
        match self {
            Refusal::Conflict { .. } => SIZE_TYPE,
            _ => "text/plain; charset=utf-8",
        }
    }

    /// The body: the size to begin from, or a sentence for people.
    pub fn body(&self) -> String {
        match self {
            Refusal::Conflict { size } => format!("{size}\n"),
            other => format!("{other}\n"),
        }
    }
}

/// Decides whether to cosign: `keys` are those known for the checkpoint's origin, `latest` is what was cosigned last
/// for it. Gives the log's own lines that verified, which are worth keeping with the cosignature.
///
/// Whoever gets `Ok` stores the checkpoint durably before a cosignature leaves its hands, and lets nobody decide on the
/// same log in between.
///
/// # Errors
/// [`Refusal`]; the first that applies in this order: unknown log, signature, `old` too large, conflict, proof.
pub fn decide(
    request: &AddCheckpoint,
    keys: &[VerifierKey],
    latest: Option<&Checkpoint>,
) -> Result<Vec<SignatureLine>, Refusal> {
    let AddCheckpoint { old, proof, checkpoint } = request;
    let Checkpoint { origin, size, root } = checkpoint.head();
    if keys.is_empty() {
        return Err(Refusal::UnknownLog);
    }
    let lines = checkpoint.lines_of(keys).map_err(Refusal::Signature)?;
    if lines.is_empty() {
        let signers = checkpoint.note().map_err(Refusal::Signature)?;
        let signers: Vec<&str> = signers.signatures().iter().map(|s| s.name.as_str()).collect();
        let signers = signers.join(", ");
        return Err(Refusal::Signature(NoteError::UnknownSigners { known: keys.len(), signers }));
    }
    if old > size {
        return Err(Refusal::OldAboveSize { old: *old, size: *size });
    }
    let nothing = Checkpoint { origin: origin.clone(), size: 0, root: merkle::empty_root() };
    let latest = latest.unwrap_or(&nothing);
    if *old != latest.size {
        return Err(Refusal::Conflict { size: latest.size });
    }
    if *size == 0 && *root != merkle::empty_root() {
        return Err(Refusal::EmptyRoot);
    }
    merkle::check_consistency(*old, &latest.root, *size, root, proof).map_err(Refusal::Inconsistent)?;
    Ok(lines)
}

// ---------------------------------------------------------------------------------------------------------------
// The answer, as the log reads it

/// An answer to [`AddCheckpoint`], whoever gave it. What each asks of the log is its one meaning here: witnesses in the
/// wild deviate from the specification, and an answer of unknown meaning must not pass for a harmless one.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Reply {
    /// Signature lines, unchecked: [`cosignatures`] says whose count.
    Cosigned(Vec<SignatureLine>),
    /// The witness stands at another size: send a proof from there. Larger than the checkpoint, it has seen a longer log.
    Stands(u64),
    /// What was sent contradicts what the witness holds: perhaps a fork. Never to be tried again blindly.
    Contradicts,
    /// The witness does not know this log, or this key of it (403, 404): somebody has to configure it.
    NotWatched,
    /// Overloaded or in trouble (429, 5xx): later.
    Busy,
    /// It says that the request is malformed (400), which is a defect here or there.
    Malformed,
    /// Nothing that the specification knows.
    Odd,
}

impl Reply {
    /// Reads an answer.
    pub fn read(status: u16, content_type: Option<&str>, body: &[u8]) -> Reply {
        let kind = content_type.and_then(|t| t.split(';').next()).map(|t| t.trim().to_ascii_lowercase());
        match status {
            200 => read_lines(body).map_or(Reply::Odd, Reply::Cosigned),
            400 => Reply::Malformed,
            403 | 404 => Reply::NotWatched,
            // Without a size it is the answer that some witnesses give to another root of the same size.
            409 => match std::str::from_utf8(body).ok().and_then(|t| number(t.strip_suffix('\n')?)) {
                Some(size) if kind.as_deref() == Some(SIZE_TYPE) => Reply::Stands(size),
                _ => Reply::Contradicts,
            },
            422 => Reply::Contradicts,
            429 | 500..=599 => Reply::Busy,
            _ => Reply::Odd,
        }
    }
}

fn read_lines(body: &[u8]) -> Option<Vec<SignatureLine>> {
    let text = std::str::from_utf8(body).ok().filter(|t| t.len() <= MAX_ANSWER && !t.is_empty())?;
    text.split_inclusive('\n').map(SignatureLine::parse).collect()
}

/// A cosignature that was checked, and its line.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Line {
    /// The line.
    pub line: SignatureLine,
    /// When it was made, by the cosigner's clock.
    pub time: Timestamp,
}

/// The lines of all these cosigners among `lines`, checked over the text of a checkpoint, in the order of the keys.
/// Lines of others are dropped: nobody can say what they are worth.
///
/// # Errors
/// [`NoteError`]: a cosigner did not sign, signed twice, or its signature does not verify.
pub fn cosignatures(
    text: &str,
    lines: &[SignatureLine],
    cosigners: &[VerifierKey],
) -> Result<Vec<Line>, NoteError> {
    let one = |key: &VerifierKey| {
        let mut of = lines.iter().filter(|l| is_of(l, key));
        let line = of.next().ok_or_else(|| NoteError::UnknownSigners {
            known: 1,
            signers: lines.iter().map(|l| l.name.as_str()).collect::<Vec<_>>().join(", "),
        })?;
        if of.next().is_some() {
            return Err(NoteError::DuplicateSignature { name: line.name.clone(), id: line.id });
        }
        let verified = key.verify(text, &line.signature)?;
        let wrong = || NoteError::WrongKind { name: key.name().into(), found: key.kind() };
        Ok(Line { line: line.clone(), time: verified.time().ok_or_else(wrong)? })
    };
    cosigners.iter().map(one).collect()
}

// ---------------------------------------------------------------------------------------------------------------
// The list of logs

/// Why a list of logs cannot be read.
#[non_exhaustive]
#[derive(Clone, PartialEq, Eq, Debug, Error)]
pub enum ListError {
    /// Larger than any that is read.
    #[error("the list has {found} bytes, at most {MAX_LIST} are read")]
    TooLong {
        /// Bytes found.
        found: usize,
    },
    /// The list is text.
    #[error("the list is not valid UTF-8")]
    NotUtf8,
    /// A line that is not understood is never skipped.
    #[error("line {line}: {fault}")]
    Line {
        /// Number of the line, from 1.
        line: usize,
        /// What is wrong with it.
        fault: ListFault,
    },
}

/// What is wrong with a line of a list.
#[non_exhaustive]
#[derive(Clone, PartialEq, Eq, Debug, Error)]
pub enum ListFault {
    /// Not a `log` line.
    #[error("a line is \"log <vkey> [<url>]\", a comment that begins with #, or blank")]
    Form,
    /// A control character.
    #[error("control character {found:?}; of those only tab and newline are allowed")]
    Character {
        /// The character.
        found: char,
    },
    /// The key cannot be read.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// A cosigner's key where a log's is needed.
    #[error("the key of {name} is a {found} key; a log's key is for signing (type 01)")]
    Kind {
        /// Name of the key.
        name: String,
        /// What it is for.
        found: KeyKind,
    },
    /// The key stands on two lines.
    #[error("the key of {name} stands on an earlier line")]
    Again {
        /// Name of the key.
        name: String,
    },
    /// More keys than a list may have.
    #[error("a list has at most {MAX_KEYS} keys")]
    TooMany,
}

/// The logs a witness watches, by origin: the `log` lines of C2SP tlog-policy. A key's name is its log's origin; a log
/// that changed its key has several lines.
#[derive(Clone, Default, Debug)]
pub struct LogList {
    keys: HashMap<String, Vec<VerifierKey>>,
}

impl LogList {
    /// Reads a list. An empty one watches nothing.
    ///
    /// # Errors
    /// [`ListError`] at the first line that is not understood.
    pub fn parse(bytes: &[u8]) -> Result<LogList, ListError> {
        if bytes.len() > MAX_LIST {
            return Err(ListError::TooLong { found: bytes.len() });
        }
        let text = std::str::from_utf8(bytes).map_err(|_| ListError::NotUtf8)?;
        let mut list = LogList::default();
        for (i, line) in text.split('\n').enumerate() {
            list.line(line).map_err(|fault| ListError::Line { line: i + 1, fault })?;
        }
        Ok(list)
    }

    fn line(&mut self, line: &str) -> Result<(), ListFault> {
        if let Some(found) = line.chars().find(|c| c.is_control() && *c != '\t') {
            return Err(ListFault::Character { found });
        }
        let words: Vec<&str> = line.split([' ', '\t']).filter(|w| !w.is_empty()).collect();
        let vkey = match words[..] {
            [] => return Ok(()),
            [first, ..] if first.starts_with('#') => return Ok(()),
            ["log", vkey] | ["log", vkey, _] => vkey,
            _ => return Err(ListFault::Form),
        };
        let key = VerifierKey::parse(vkey)?;
        let name = key.name().to_owned();
        if key.kind() != KeyKind::Note {
            return Err(ListFault::Kind { name, found: key.kind() });
        }
        if self.keys.values().flatten().any(|k| k.public() == key.public()) {
            return Err(ListFault::Again { name });
        }
        if self.keys.values().map(Vec::len).sum::<usize>() == MAX_KEYS {
            return Err(ListFault::TooMany);
        }
        self.keys.entry(name).or_default().push(key);
        Ok(())
    }

    /// The keys of the log with this origin; none when it is not watched.
    pub fn keys(&self, origin: &str) -> &[VerifierKey] {
        self.keys.get(origin).map_or(&[], Vec::as_slice)
    }

    /// How many logs are watched.
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// Whether no log is watched.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkpoint::SignedCheckpoint;
    use crate::merkle::{NodeId, consistency_plan, leaf_hash, root_of};
    use crate::note::NoteSigner;
    use proptest::prelude::*;
    use std::convert::Infallible;

    const ORIGIN: &str = "audit.hil.example/moc";

    fn log() -> NoteSigner {
        NoteSigner::new(ORIGIN, &[7; 32]).unwrap()
    }

    fn leaf(i: u64, story: u8) -> Hash {
        leaf_hash(format!("entry {i} of story {}", if i < 5 { 0 } else { story }).as_bytes())
    }

    fn root(size: u64, story: u8) -> Hash {
        root_of((0..size).map(|i| leaf(i, story)))
    }

    fn checkpoint(size: u64, story: u8) -> Checkpoint {
        Checkpoint { origin: ORIGIN.into(), size, root: root(size, story) }
    }

    fn proof(old: u64, size: u64, story: u8) -> Vec<Hash> {
        let subtree = |id: NodeId| {
            let from = id.index << id.level;
            Ok::<_, Infallible>(root_of((from..from + (1 << id.level)).map(|i| leaf(i, story))))
        };
        consistency_plan(old, size).map_or(Vec::new(), |plan| plan.assemble(subtree).unwrap())
    }

    fn watched(size: u64, story: u8) -> Watched {
        Watched::parse(SignedCheckpoint::sign(checkpoint(size, story), &log()).unwrap().as_bytes()).unwrap()
    }

    fn request(old: u64, size: u64, story: u8) -> AddCheckpoint {
        AddCheckpoint { old, proof: proof(old, size, story), checkpoint: watched(size, story) }
    }

    fn status(request: &AddCheckpoint, latest: Option<u64>) -> u16 {
        let keys = [log().verifier().clone()];
        let latest = latest.map(|size| checkpoint(size, 0));
        decide(request, &keys, latest.as_ref()).map_or_else(|r| r.status(), |_| 200)
    }

    #[test]
    fn every_status_of_the_table() {
        for (old, size, story, latest, wanted) in [
            (0, 7, 0, None, 200),
            (0, 7, 0, Some(0), 200),
            (3, 7, 0, Some(3), 200),
            // The same size again refreshes the time.
            (7, 7, 0, Some(7), 200),
            (0, 0, 0, None, 200),
            (8, 7, 0, Some(8), 400),
            (0, 7, 0, Some(3), 409),
            (3, 7, 0, None, 409),
            (3, 7, 0, Some(9), 409),
            // Story 1 differs from entry 5 on.
            (4, 7, 1, Some(4), 200),
            (6, 7, 1, Some(6), 422),
            (7, 7, 1, Some(7), 422),
        ] {
            let found = status(&request(old, size, story), latest);
            assert_eq!(found, wanted, "old {old}, size {size}, story {story}, latest {latest:?}");
        }
    }

    #[test]
    fn proofs_that_are_not_the_one_needed() {
        let good = request(3, 7, 0);
        assert_eq!(status(&good, Some(3)), 200);
        for cut in 0..good.proof.len() {
            let mut bad = good.clone();
            bad.proof.remove(cut);
            assert_eq!(status(&bad, Some(3)), 422, "without line {cut}");
            bad = good.clone();
            bad.proof[cut].0[31] ^= 1;
            assert_eq!(status(&bad, Some(3)), 422, "line {cut} changed");
        }
        let mut longer = request(0, 7, 0);
        longer.proof.push(Hash([1; 32]));
        assert_eq!(status(&longer, None), 422, "old is 0 and the proof is not empty");
        let empty = Checkpoint { origin: ORIGIN.into(), size: 0, root: Hash([1; 32]) };
        let note = log().sign_note(&empty.to_string()).unwrap();
        let empty =
            AddCheckpoint { old: 0, proof: Vec::new(), checkpoint: Watched::parse(note.as_bytes()).unwrap() };
        assert_eq!(status(&empty, None), 422, "size 0 with another root");
    }

    #[test]
    fn who_must_have_signed() {
        let ours = [log().verifier().clone()];
        assert_eq!(decide(&request(0, 7, 0), &[], None).unwrap_err().status(), 404);
        let other = NoteSigner::new(ORIGIN, &[8; 32]).unwrap();
        let refused = decide(&request(0, 7, 0), &[other.verifier().clone()], None).unwrap_err();
        assert!(matches!(refused, Refusal::Signature(NoteError::UnknownSigners { .. })));
        assert_eq!(refused.status(), 403);
        // A known key that does not verify rejects the note, whoever else signed.
        let mut bad = log().sign(watched(7, 0).text()).unwrap();
        bad.signature[9] ^= 1;
        let both = [ours[0].clone(), other.verifier().clone()];
        let good = other.sign(watched(7, 0).text()).unwrap();
        let note = watched(7, 0).with_lines(&[bad, good]).unwrap();
        let mixed = AddCheckpoint { checkpoint: note, ..request(0, 7, 0) };
        let refused = decide(&mixed, &both, None).unwrap_err();
        assert!(matches!(refused, Refusal::Signature(NoteError::BadSignature { .. })));
        // Lines of others are dropped from what is kept.
        let grease = SignatureLine { name: "grease.example".into(), id: 7, signature: vec![9; 3309] };
        let line = log().sign(watched(7, 0).text()).unwrap();
        let note = watched(7, 0).with_lines(&[grease, line.clone()]).unwrap();
        let greased = AddCheckpoint { checkpoint: note, ..request(0, 7, 0) };
        assert_eq!(decide(&greased, &ours, None).unwrap(), [line]);
    }

    #[test]
    fn extension_lines_are_taken_and_signed() {
        let text = format!("{}timestamp 7\n", checkpoint(7, 0));
        let note = log().sign_note(&text).unwrap();
        let request = format!("old 0\n\n{note}");
        let read = AddCheckpoint::parse(request.as_bytes()).unwrap();
        assert_eq!((read.checkpoint.text(), read.checkpoint.head().size), (text.as_str(), 7));
        decide(&read, &[log().verifier().clone()], None).unwrap();
    }

    #[test]
    fn requests_that_cannot_be_read() {
        let good = request(3, 7, 0).to_string();
        let hash = Hash([1; 32]);
        let note = watched(7, 0);
        let note = note.as_str();
        let lines = |n| format!("old 3\n{}\n{note}", format!("{hash}\n").repeat(n));
        assert!(AddCheckpoint::parse(lines(MAX_PROOF).as_bytes()).is_ok());
        use RequestError as E;
        type Is = fn(&E) -> bool;
        let table: [(String, Is); 14] = [
            (String::new(), |e| matches!(e, E::Old)),
            ("old 3".into(), |e| matches!(e, E::Old)),
            (good.replace("old 3", "old 03"), |e| matches!(e, E::Old)),
            (good.replace("old 3", "old +3"), |e| matches!(e, E::Old)),
            (good.replace("old 3", "old 18446744073709551616"), |e| matches!(e, E::Old)),
            (good.replace("old 3", "new 3"), |e| matches!(e, E::Old)),
            (good.replace("old 3\n", "old 3\r\n"), |e| matches!(e, E::Old)),
            ("old 3\n".into(), |e| matches!(e, E::NoBlankLine)),
            (format!("old 3\n{hash}\n"), |e| matches!(e, E::NoBlankLine)),
            (format!("old 3\n{}\n\n{note}", &hash.to_base64()[1..]), |e| {
                matches!(e, E::ProofLine { line: 1 })
            }),
            (lines(MAX_PROOF + 1), |e| matches!(e, E::ProofTooLong { max: 63 })),
            (format!("old 3\n\n{}", &note[..note.len() - 1]), |e| matches!(e, E::Note(_))),
            (format!("old 0\n\n{}", "x".repeat(MAX_CHECKPOINT + 1)), |e| {
                matches!(e, E::TooLong { what: "checkpoint", .. })
            }),
            ("x".repeat(MAX_REQUEST + 1), |e| matches!(e, E::TooLong { what: "request", .. })),
        ];
        for (text, is) in table {
            let e = AddCheckpoint::parse(text.as_bytes()).unwrap_err();
            assert!(is(&e), "{:?} gives {e:?}", text.chars().take(80).collect::<String>());
        }
        for (what, text) in [
            ("origin", "\n7\nAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n"),
            ("size", "a\n07\nAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n"),
            ("size", "a\n"),
            ("root", "a\n7\nAAAA\n"),
            ("root", "a\n7\n"),
            ("extension", "a\n7\nAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n\nx\n"),
        ] {
            let note = log().sign_note(text).unwrap();
            assert_eq!(Watched::parse(note.as_bytes()).unwrap_err(), E::Checkpoint { what });
        }
    }

    #[test]
    fn answers_whoever_gives_them() {
        let witness = NoteSigner::cosigner("w.example", &[9; 32]).unwrap();
        let time = Timestamp::from_millis(1_700_000_000_000).unwrap();
        let line = witness.cosign(watched(7, 0).text(), time).unwrap();
        let body = line.to_string();
        let size = Some(SIZE_TYPE);
        for (status, kind, body, wanted) in [
            (200, None, body.as_bytes(), Reply::Cosigned(vec![line.clone()])),
            (200, None, b"".as_slice(), Reply::Odd),
            (200, None, b"cosigned\n", Reply::Odd),
            (200, None, &body.as_bytes()[..body.len() - 1], Reply::Odd),
            (202, None, body.as_bytes(), Reply::Odd),
            (301, None, b"", Reply::Odd),
            (400, None, b"", Reply::Malformed),
            (401, None, b"", Reply::Odd),
            // Older litewitness says 403 for a log it does not know.
            (403, None, b"", Reply::NotWatched),
            (404, None, b"", Reply::NotWatched),
            (409, size, b"12\n", Reply::Stands(12)),
            (409, Some("Text/X.Tlog.Size; charset=utf-8"), b"12\n", Reply::Stands(12)),
            // Transparency-dev's witness says so when the root differs.
            (409, None, b"", Reply::Contradicts),
            (409, size, b"", Reply::Contradicts),
            (409, size, b"12", Reply::Contradicts),
            (409, size, b"012\n", Reply::Contradicts),
            (409, Some("text/plain"), b"12\n", Reply::Contradicts),
            (422, None, b"", Reply::Contradicts),
            (429, None, b"", Reply::Busy),
            (500, None, b"", Reply::Busy),
            (503, size, b"12\n", Reply::Busy),
        ] {
            assert_eq!(Reply::read(status, kind, body), wanted, "{status} {kind:?}");
        }
        let text = watched(7, 0).text().to_owned();
        let key = [witness.verifier().clone()];
        let other = NoteSigner::cosigner("v.example", &[10; 32]).unwrap();
        let stranger = other.cosign(&text, time).unwrap();
        let found = cosignatures(&text, &[stranger.clone(), line.clone()], &key).unwrap();
        assert_eq!(found, [Line { line: line.clone(), time }]);
        assert!(matches!(cosignatures(&text, &[stranger], &key), Err(NoteError::UnknownSigners { .. })));
        assert!(matches!(
            cosignatures(&text, &[line.clone(), line.clone()], &key),
            Err(NoteError::DuplicateSignature { .. })
        ));
        // A good signature over another checkpoint is none over this one.
        let eight = watched(8, 0).text().to_owned();
        assert!(matches!(cosignatures(&eight, &[line], &key), Err(NoteError::BadSignature { .. })));
    }

    #[test]
    fn lists_of_logs() {
        let (a, b) = (log(), NoteSigner::new(ORIGIN, &[8; 32]).unwrap());
        let c = NoteSigner::new("other.example/x", &[6; 32]).unwrap();
        let text = format!(
            "# ours\n\nlog {}\n\tlog  {} https://audit.hil.example/moc\nlog {}",
            a.verifier(),
            b.verifier(),
            c.verifier()
        );
        let list = LogList::parse(text.as_bytes()).unwrap();
        assert_eq!((list.len(), list.keys(ORIGIN).len(), list.keys("other.example/x").len()), (2, 2, 1));
        assert!(list.keys("other.example").is_empty());
        assert!(LogList::parse(b"").unwrap().is_empty());
        let cosigner = NoteSigner::cosigner("w.example", &[9; 32]).unwrap();
        let vkey = a.verifier();
        for bad in [
            format!("logs {vkey}"),
            "log".into(),
            format!("log {vkey} a b"),
            "quorum none".into(),
            format!("log {}", cosigner.verifier()),
            format!("log {vkey}\nlog {vkey}"),
            format!("log {vkey}\r\n"),
            "log nobody".into(),
        ] {
            assert!(matches!(LogList::parse(bad.as_bytes()), Err(ListError::Line { .. })), "{bad:?}");
        }
        assert_eq!(LogList::parse(b"\xff").unwrap_err(), ListError::NotUtf8);
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back(old: u64, proof in prop::collection::vec(any::<[u8; 32]>(), 0..=MAX_PROOF)) {
            let proof = proof.into_iter().map(Hash).collect();
            let request = AddCheckpoint { old, proof, checkpoint: watched(7, 0) };
            prop_assert_eq!(AddCheckpoint::parse(request.to_string().as_bytes()).unwrap(), request);
        }

        #[test]
        fn what_is_read_is_written_the_same(at: usize, new in "[0-9A-Za-z+=./ \n-]{0,3}") {
            let mut text = request(3, 7, 0).to_string();
            let at = at % text.len();
            if text.is_char_boundary(at) && text.is_char_boundary(at + 1) {
                text.replace_range(at..=at, &new);
                if let Ok(read) = AddCheckpoint::parse(text.as_bytes()) {
                    prop_assert_eq!(read.to_string(), text);
                }
            }
        }

        /// Whatever comes, what is cosigned next always extends what was cosigned last.
        #[test]
        fn no_order_of_requests_forks(
            requests in prop::collection::vec((0..10u64, 0..10u64, 0..3u8), 0..24)
        ) {
            let keys = [log().verifier().clone()];
            let mut latest: Option<Checkpoint> = None;
            let mut stories: Vec<u8> = vec![0, 1, 2];
            for (old, size, story) in requests {
                let r = request(old, size, story);
                if decide(&r, &keys, latest.as_ref()).is_ok() {
                    let new = r.checkpoint.head().clone();
                    prop_assert!(latest.as_ref().is_none_or(|l| l.size <= new.size));
                    stories.retain(|s| root(new.size, *s) == new.root);
                    prop_assert!(!stories.is_empty());
                    latest = Some(new);
                }
            }
        }
    }
}
