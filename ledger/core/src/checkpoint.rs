//! Checkpoints: what a log says of itself at one size, signed by the log and cosigned by those who watch it.
//!
//! ```text
//! audit.hil.example/moc⏎                                       origin, the name of the log's key
//! 20852⏎                                                       number of entries
//! CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=⏎                RFC 6962 root, SHA-256
//! ⏎
//! — audit.hil.example/moc Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+…⏎  the log:   key id ‖ Ed25519
//! — witness.example/w1 6rV1CRVYDGuRd7mxJhSHHxb…⏎                 a witness: key id ‖ u64 seconds ‖ Ed25519
//! ```
//!
//! # In scope
//! - [`Checkpoint`]: the three lines. [`SignedCheckpoint`]: the whole note, its bytes kept as received.
//! - [`VerifiedCheckpoint`]: one whose log signature was checked; only it can be asked about entries.
//! - [`Cosignature`]: a witness's or auditor's, with the time at which it was made.
//!
//! # Out of scope
//! How many cosignatures are enough, and how old they may be: see [`crate::policy`].
//!
//! # Trust
//! Signatures are checked over the bytes as received, never over a re-encoding; a checkpoint has one spelling.
//!
//! Specifications: <https://c2sp.org/tlog-checkpoint>, <https://c2sp.org/tlog-cosignature>; what we narrow, and the
//! limits, are in `docs/formats/checkpoint.md`.

use crate::hash::Hash;
use crate::merkle::{self, LeafIndex, ProofError, RangeVerifier};
use crate::note::{self, KeyKind, MAX_NAME, Note, NoteError, NoteSigner, SignatureLine, VerifierKey};
use crate::time::Timestamp;
use std::fmt;
use thiserror::Error;

/// The longest checkpoint text: a name, twenty digits, a hash, three newlines.
pub const MAX_TEXT: usize = MAX_NAME + 20 + 44 + 3;

/// Why a checkpoint was refused.
#[non_exhaustive]
#[derive(Clone, PartialEq, Eq, Debug, Error)]
pub enum CheckpointError {
    /// The note around it, or a signature on it.
    #[error(transparent)]
    Note(#[from] NoteError),
    /// Larger than a checkpoint can be.
    #[error("the checkpoint's text has {found} bytes, at most {max} are possible")]
    TooLong {
        /// Bytes in the text.
        found: usize,
        /// Bytes possible.
        max: usize,
    },
    /// Origin, size and root: no more, no fewer. Extension lines are not covered by every cosignature.
    #[error(
        "a checkpoint has exactly three lines (origin, size, root), this one has {found}; extension lines are refused"
    )]
    Lines {
        /// Lines found.
        found: usize,
    },
    /// The text does not end in a newline.
    #[error("the checkpoint's last line does not end in a newline")]
    NoFinalNewline,
    /// The origin is the name of the log's key, so it must be one.
    #[error(
        "{0:?} cannot be an origin: it must have 1 to 255 bytes, no space, no control character and no \"+\""
    )]
    Origin(String),
    /// Not a number below 2^64 in its one spelling.
    #[error("{0:?} is not a tree size: decimal digits without leading zeroes, below 2^64")]
    Size(String),
    /// Not 32 bytes of base64 in its one spelling.
    #[error("{0:?} is not a root: 32 bytes in 44 base64 characters")]
    Root(String),
    /// A tree without entries has one root only.
    #[error("the checkpoint has size 0 and root {found}; the root of the empty tree is {needed}")]
    EmptyRoot {
        /// Root in the checkpoint.
        found: Hash,
        /// SHA-256 of nothing.
        needed: Hash,
    },
    /// The checkpoint is of another log than the key.
    #[error("the checkpoint is of {found}, the key is of {wanted}")]
    WrongOrigin {
        /// Origin in the checkpoint.
        found: String,
        /// Name of the key, or origin of the other checkpoint.
        wanted: String,
    },
    /// A key that cannot stand where it was given.
    #[error("the key of {name} is a {found} key, this needs a {wanted} key")]
    WrongKind {
        /// Name of the key.
        name: String,
        /// What it is for.
        found: KeyKind,
        /// What is needed here.
        wanted: KeyKind,
    },
    /// The hashes do not lead to the root.
    #[error(transparent)]
    Proof(#[from] ProofError),
}

/// What a log commits to: its first `size` entries, by their root.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Checkpoint {
    /// Name of the log: of its key, and of the place where its tiles are, without `https://`.
    pub origin: String,
    /// Number of entries.
    pub size: u64,
    /// RFC 6962 root of those entries.
    pub root: Hash,
}

impl Checkpoint {
    /// Reads the three lines, in their one spelling.
    ///
    /// # Errors
    /// [`CheckpointError`].
    pub fn parse(text: &str) -> Result<Checkpoint, CheckpointError> {
        if text.len() > MAX_TEXT {
            return Err(CheckpointError::TooLong { found: text.len(), max: MAX_TEXT });
        }
        let Some(body) = text.strip_suffix('\n') else { return Err(CheckpointError::NoFinalNewline) };
        let lines: Vec<&str> = body.split('\n').collect();
        let &[origin, size, root] = lines.as_slice() else {
            return Err(CheckpointError::Lines { found: lines.len() });
        };
        if !note::is_key_name(origin) {
            return Err(CheckpointError::Origin(origin.into()));
        }
        // Formatting it again refuses "+7", "007" and "".
        let number = size.parse::<u64>().ok().filter(|n| n.to_string() == size);
        let number = number.ok_or_else(|| CheckpointError::Size(size.into()))?;
        let root = Hash::from_base64(root).ok_or_else(|| CheckpointError::Root(root.into()))?;
        let checkpoint = Checkpoint { origin: origin.into(), size: number, root };
        checkpoint.check()?;
        Ok(checkpoint)
    }

    // What the types do not say. Checked on reading and before signing.
    fn check(&self) -> Result<(), CheckpointError> {
        if !note::is_key_name(&self.origin) {
            return Err(CheckpointError::Origin(self.origin.clone()));
        }
        let needed = merkle::empty_root();
        if self.size == 0 && self.root != needed {
            return Err(CheckpointError::EmptyRoot { found: self.root, needed });
        }
        Ok(())
    }
}

/// The three lines, each with its newline.
impl fmt::Display for Checkpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}\n{}\n{}\n", self.origin, self.size, self.root)
    }
}

/// A checkpoint as a note: well-formed, its bytes kept as received, its signatures *not* checked.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SignedCheckpoint {
    note: String,
    checkpoint: Checkpoint,
}

impl SignedCheckpoint {
    /// Reads a checkpoint note.
    ///
    /// # Errors
    /// [`CheckpointError`].
    pub fn parse(bytes: &[u8]) -> Result<SignedCheckpoint, CheckpointError> {
        let note = Note::parse(bytes)?;
        let checkpoint = Checkpoint::parse(note.text())?;
        // Note::parse has just shown that it is UTF-8; nothing is lost here.
        Ok(SignedCheckpoint { note: String::from_utf8_lossy(bytes).into_owned(), checkpoint })
    }

    /// Signs a checkpoint with the log's key.
    ///
    /// # Errors
    /// [`CheckpointError::WrongOrigin`] when the key has another name; [`CheckpointError::EmptyRoot`];
    /// [`NoteError::WrongKind`].
    pub fn sign(checkpoint: Checkpoint, signer: &NoteSigner) -> Result<SignedCheckpoint, CheckpointError> {
        checkpoint.check()?;
        if checkpoint.origin != signer.name() {
            let wanted = signer.name().into();
            return Err(CheckpointError::WrongOrigin { found: checkpoint.origin, wanted });
        }
        Ok(SignedCheckpoint { note: signer.sign_note(&checkpoint.to_string())?, checkpoint })
    }

    /// The note's bytes, as received.
    pub fn as_bytes(&self) -> &[u8] {
        self.note.as_bytes()
    }

    /// The note, as received.
    pub fn as_str(&self) -> &str {
        &self.note
    }

    /// What it says, unchecked: good for finding out *which* key to check it with, and for no more.
    pub fn unverified(&self) -> &Checkpoint {
        &self.checkpoint
    }

    fn note(&self) -> Result<Note<'_>, CheckpointError> {
        Ok(Note::parse(self.note.as_bytes())?)
    }

    /// Checks the log's signature.
    ///
    /// # Errors
    /// [`CheckpointError::WrongKind`], [`CheckpointError::WrongOrigin`] when `log` is no key of this log;
    /// [`CheckpointError::Note`] when it did not sign, or its signature does not verify.
    pub fn open(&self, log: &VerifierKey) -> Result<VerifiedCheckpoint, CheckpointError> {
        check_kind(log, KeyKind::Note)?;
        if self.checkpoint.origin != log.name() {
            let (found, wanted) = (self.checkpoint.origin.clone(), log.name().into());
            return Err(CheckpointError::WrongOrigin { found, wanted });
        }
        self.note()?.verify(std::slice::from_ref(log))?;
        Ok(VerifiedCheckpoint { checkpoint: self.checkpoint.clone() })
    }

    /// The cosignatures of those `cosigners` that cosigned, in the order of the lines; perhaps none. Others' lines
    /// are ignored. Does not check the log's own signature: [`open`](SignedCheckpoint::open) does.
    ///
    /// # Errors
    /// [`CheckpointError::WrongKind`] when a key is not a cosigner's; [`CheckpointError::Note`] when the line of a
    /// known cosigner does not verify, or stands there twice.
    pub fn cosignatures(&self, cosigners: &[VerifierKey]) -> Result<Vec<Cosignature>, CheckpointError> {
        cosigners.iter().try_for_each(|key| check_kind(key, KeyKind::Cosignature))?;
        let verified = self.note()?.verify_any(cosigners)?;
        let cosignature = |v: note::Verified<'_>| {
            Some(Cosignature { name: v.key().name().into(), key_id: v.key().id(), time: v.time()? })
        };
        Ok(verified.into_iter().filter_map(cosignature).collect())
    }

    /// The same checkpoint with one more signature line, unchecked.
    ///
    /// # Errors
    /// [`CheckpointError::Note`] when the note would be larger than any that is read.
    pub fn with(&self, line: &SignatureLine) -> Result<SignedCheckpoint, CheckpointError> {
        SignedCheckpoint::parse(format!("{}{line}", self.note).as_bytes())
    }
}

fn check_kind(key: &VerifierKey, wanted: KeyKind) -> Result<(), CheckpointError> {
    if key.kind() != wanted {
        return Err(CheckpointError::WrongKind { name: key.name().into(), found: key.kind(), wanted });
    }
    Ok(())
}

impl fmt::Display for SignedCheckpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.note)
    }
}

/// A cosignature that was checked: at `time`, this cosigner had seen no larger tree of this log, and none that
/// contradicts it.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Cosignature {
    /// Name of the cosigner's key.
    pub name: String,
    /// Its key id.
    pub key_id: u32,
    /// When, by the cosigner's clock; whole seconds.
    pub time: Timestamp,
}

/// A checkpoint whose log signature was checked. Made by [`SignedCheckpoint::open`] only.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct VerifiedCheckpoint {
    checkpoint: Checkpoint,
}

/// An entry that is in the log, at its place. Made by [`VerifiedCheckpoint::check_inclusion`] only.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct VerifiedEntry<'a> {
    index: LeafIndex,
    bytes: &'a [u8],
}

impl<'a> VerifiedEntry<'a> {
    /// Where it is.
    pub fn index(&self) -> LeafIndex {
        self.index
    }

    /// Its bytes, as received.
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }
}

impl VerifiedCheckpoint {
    /// Name of the log.
    pub fn origin(&self) -> &str {
        &self.checkpoint.origin
    }

    /// Number of entries.
    pub fn size(&self) -> u64 {
        self.checkpoint.size
    }

    /// Root of the tree.
    pub fn root(&self) -> &Hash {
        &self.checkpoint.root
    }

    /// What was signed.
    pub fn checkpoint(&self) -> &Checkpoint {
        &self.checkpoint
    }

    /// Checks that `entry` is the log's entry at `index`.
    ///
    /// # Errors
    /// [`ProofError`].
    pub fn check_inclusion<'a>(
        &self,
        entry: &'a [u8],
        index: LeafIndex,
        proof: &[Hash],
    ) -> Result<VerifiedEntry<'a>, ProofError> {
        merkle::check_inclusion(merkle::leaf_hash(entry), index, self.size(), self.root(), proof)?;
        Ok(VerifiedEntry { index, bytes: entry })
    }

    /// Checks that the leaves pushed into `range`, which end before `end`, are in the log.
    ///
    /// # Errors
    /// [`ProofError`].
    pub fn check_range(&self, range: RangeVerifier, end: u64, right: &[Hash]) -> Result<(), ProofError> {
        range.finish_at(end, self.size(), right, self.root())
    }

    /// Checks that this log began with the entries of `older`.
    ///
    /// # Errors
    /// [`CheckpointError::WrongOrigin`], [`CheckpointError::Proof`].
    pub fn check_extends(&self, older: &VerifiedCheckpoint, proof: &[Hash]) -> Result<(), CheckpointError> {
        if older.origin() != self.origin() {
            let (found, wanted) = (self.origin().into(), older.origin().into());
            return Err(CheckpointError::WrongOrigin { found, wanted });
        }
        merkle::check_consistency(older.size(), older.root(), self.size(), self.root(), proof)?;
        Ok(())
    }

    /// Cosigns: says that at `time` this is the largest tree the cosigner has seen of this log, and consistent with
    /// all before. Only the caller can know that; it must have stored the size before the line leaves its hands.
    ///
    /// # Errors
    /// [`NoteError::WrongKind`] for a key of type 01; [`NoteError::CosignatureTime`].
    pub fn cosign(&self, cosigner: &NoteSigner, time: Timestamp) -> Result<SignatureLine, NoteError> {
        cosigner.cosign(&self.checkpoint.to_string(), time)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::merkle::{consistency_plan, inclusion_plan, leaf_hash, range_plan, root_of};
    use proptest::prelude::*;
    use std::convert::Infallible;

    const ORIGIN: &str = "audit.hil.example/moc";

    fn log() -> NoteSigner {
        NoteSigner::new(ORIGIN, &[7; 32]).unwrap()
    }

    fn witness(n: u8) -> NoteSigner {
        NoteSigner::cosigner(&format!("witness.example/w{n}"), &[100 + n; 32]).unwrap()
    }

    fn at(seconds: u64) -> Timestamp {
        Timestamp::from_millis(seconds * 1000).unwrap()
    }

    fn entry(i: u64) -> Vec<u8> {
        format!("entry {i}\n").into_bytes()
    }

    fn signed(size: u64) -> SignedCheckpoint {
        let root = root_of((0..size).map(|i| leaf_hash(&entry(i))));
        SignedCheckpoint::sign(Checkpoint { origin: ORIGIN.into(), size, root }, &log()).unwrap()
    }

    fn subtree(id: merkle::NodeId) -> Result<Hash, Infallible> {
        let from = id.index << id.level;
        Ok(root_of((from..from + (1 << id.level)).map(|i| leaf_hash(&entry(i)))))
    }

    #[test]
    fn signs_opens_and_answers() {
        let key = log().verifier().clone();
        let new = signed(29).open(&key).unwrap();
        let old = signed(11).open(&key).unwrap();
        let proof = consistency_plan(11, 29).unwrap().assemble(subtree).unwrap();
        new.check_extends(&old, &proof).unwrap();
        assert!(old.check_extends(&new, &proof).is_err());
        assert!(new.check_extends(&old, &proof[1..]).is_err());

        let index = LeafIndex(17);
        let proof = inclusion_plan(index, 29).unwrap().assemble(subtree).unwrap();
        let bytes = entry(17);
        let verified = new.check_inclusion(&bytes, index, &proof).unwrap();
        assert_eq!((verified.index(), verified.bytes()), (index, bytes.as_slice()));
        assert!(new.check_inclusion(b"entry 18\n", index, &proof).is_err());
        assert!(old.check_inclusion(&bytes, index, &proof).is_err());

        let proof = range_plan(3, 20, 29).unwrap().assemble(subtree).unwrap();
        let mut range = RangeVerifier::new(3, &proof.left).unwrap();
        (3..20).for_each(|i| range.push(leaf_hash(&entry(i))));
        new.check_range(range, 20, &proof.right).unwrap();
    }

    #[test]
    fn bytes_are_kept_as_received() {
        let grease = SignatureLine { name: "grease.example".into(), id: 7, signature: vec![9; 3309] };
        let with = signed(3).with(&grease).unwrap();
        let again = SignedCheckpoint::parse(with.as_bytes()).unwrap();
        assert_eq!(again, with);
        assert_eq!(again.as_str(), format!("{}{grease}", signed(3).as_str()));
        again.open(log().verifier()).unwrap();
    }

    #[test]
    fn another_log_s_key_or_a_cosigner_s_opens_nothing() {
        let other = NoteSigner::new("audit.hil.example/nerc", &[7; 32]).unwrap();
        assert!(matches!(signed(3).open(other.verifier()), Err(CheckpointError::WrongOrigin { .. })));
        let same_name = NoteSigner::new(ORIGIN, &[8; 32]).unwrap();
        assert!(matches!(
            signed(3).open(same_name.verifier()),
            Err(CheckpointError::Note(NoteError::UnknownSigners { .. }))
        ));
        let cosigner = NoteSigner::cosigner(ORIGIN, &[7; 32]).unwrap();
        assert!(matches!(signed(3).open(cosigner.verifier()), Err(CheckpointError::WrongKind { .. })));
        let ours = signed(3).unverified().clone();
        assert!(matches!(SignedCheckpoint::sign(ours, &other), Err(CheckpointError::WrongOrigin { .. })));
        let wrong = Checkpoint { origin: ORIGIN.into(), size: 0, root: Hash([0; 32]) };
        assert!(matches!(SignedCheckpoint::sign(wrong, &log()), Err(CheckpointError::EmptyRoot { .. })));
    }

    #[test]
    fn logs_of_two_origins_do_not_extend_each_other() {
        let other = NoteSigner::new("audit.hil.example/nerc", &[9; 32]).unwrap();
        let twin = Checkpoint { origin: other.name().into(), ..signed(5).unverified().clone() };
        let twin = SignedCheckpoint::sign(twin, &other).unwrap().open(other.verifier()).unwrap();
        let ours = signed(5).open(log().verifier()).unwrap();
        assert!(matches!(ours.check_extends(&twin, &[]), Err(CheckpointError::WrongOrigin { .. })));
        ours.check_extends(&ours, &[]).unwrap();
    }

    #[test]
    fn cosignatures_of_those_we_know() {
        let opened = signed(5).open(log().verifier()).unwrap();
        let mut note = signed(5);
        for n in 1..=3 {
            note = note.with(&opened.cosign(&witness(n), at(1_000_000 + u64::from(n))).unwrap()).unwrap();
        }
        let keys: Vec<_> = [3, 1, 4].iter().map(|n| witness(*n).verifier().clone()).collect();
        let found = note.cosignatures(&keys).unwrap();
        // In the order of the lines; witness 2 is unknown to us, witness 4 did not cosign.
        assert_eq!(
            found.iter().map(|c| c.name.as_str()).collect::<Vec<_>>(),
            ["witness.example/w1", "witness.example/w3"]
        );
        assert_eq!(found[0].time, at(1_000_001));
        assert_eq!(found[0].key_id, witness(1).verifier().id());
        assert!(signed(5).cosignatures(&keys).unwrap().is_empty());
        assert!(matches!(
            note.cosignatures(&[log().verifier().clone()]),
            Err(CheckpointError::WrongKind { .. })
        ));

        // A known cosigner whose line does not verify is an error, an unknown one's is nobody's business.
        let mut bad = opened.cosign(&witness(4), at(5)).unwrap();
        bad.signature[7] ^= 1;
        let note = note.with(&bad).unwrap();
        assert!(matches!(
            note.cosignatures(&keys),
            Err(CheckpointError::Note(NoteError::BadSignature { .. }))
        ));
        assert_eq!(note.cosignatures(&keys[..2]).unwrap().len(), 2);
        let twice = note.with(&opened.cosign(&witness(1), at(9)).unwrap()).unwrap();
        assert!(matches!(
            twice.cosignatures(&keys[..2]),
            Err(CheckpointError::Note(NoteError::DuplicateSignature { .. }))
        ));
    }

    #[test]
    fn a_cosignature_is_of_one_checkpoint() {
        let five = signed(5).open(log().verifier()).unwrap();
        let line = five.cosign(&witness(1), at(77)).unwrap();
        let keys = [witness(1).verifier().clone()];
        assert_eq!(signed(5).with(&line).unwrap().cosignatures(&keys).unwrap().len(), 1);
        assert!(signed(6).with(&line).unwrap().cosignatures(&keys).is_err());
    }

    #[test]
    fn every_flipped_bit_is_refused() {
        let key = log().verifier().clone();
        let witnesses = [witness(1).verifier().clone()];
        let opened = signed(5).open(&key).unwrap();
        let good = signed(5).with(&opened.cosign(&witness(1), at(77)).unwrap()).unwrap();
        let check = |bytes: &[u8]| {
            let note = SignedCheckpoint::parse(bytes)?;
            note.open(&key)?;
            note.cosignatures(&witnesses)
        };
        assert_eq!(check(good.as_bytes()).unwrap().len(), 1);
        for i in 0..good.as_bytes().len() * 8 {
            let mut bad = good.as_bytes().to_vec();
            bad[i / 8] ^= 1 << (i % 8);
            // A changed name or id makes the witness an unknown one: its cosignature is then not counted.
            assert!(check(&bad).map_or(true, |found| found.is_empty()), "bit {i}");
        }
    }

    proptest! {
        #[test]
        fn text_reads_back(size in 1u64.., root: [u8; 32], origin in "[a-z./-]{1,40}") {
            let c = Checkpoint { origin, size, root: Hash(root) };
            prop_assert_eq!(Checkpoint::parse(&c.to_string()).unwrap(), c);
        }

        #[test]
        fn what_is_read_is_written_the_same(size: u64, at: usize, new in "[0-9A-Za-z+=./ \n-]{0,2}") {
            let mut text = Checkpoint { origin: ORIGIN.into(), size, root: Hash([3; 32]) }.to_string();
            let at = at % text.len();
            text.replace_range(at..=at, &new);
            if let Ok(c) = Checkpoint::parse(&text) {
                prop_assert_eq!(c.to_string(), text);
            }
        }
    }
}
