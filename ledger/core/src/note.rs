//! C2SP signed notes with Ed25519: a text that people can read and the lines of those who signed it.
//!
//! ```text
//! This is an example message.⏎                          the text: ends in a newline, may hold blank lines
//! ⏎                                                     the last blank line separates
//! — example.com/foo Uw2QOkn8srV1yJGh2VYRl…⏎             U+2014, space, key name, space, base64 of
//!                                                       key id (4 bytes) ‖ signature
//!
//! example.com/foo+530d903a+AekyeRrm56hApGFk…            a verifier key: name + key id + base64 of
//!                                                       type (1 byte) ‖ public key (32 bytes)
//! key id = first 4 bytes of SHA-256(name ‖ 0a ‖ type ‖ public key)
//! ```
//!
//! # In scope
//! - [`VerifierKey`], [`NoteSigner`]: Ed25519 keys of type 01 (plain note) and 04 (timestamped cosignature).
//! - [`Note`]: any note, with many signatures; [`RecordNote`]: one line of text and exactly one signature.
//!
//! # Out of scope
//! What the text says. Checkpoints are read by [`crate::checkpoint`], records by [`crate::record`].
//!
//! # Trust
//! A [`Verified`] is only made here, after `verify_strict`: signatures of weak keys, with non-canonical numbers or
//! with small-order points are refused, so that a signature is good for everyone or for no one.
//!
//! The specification is <https://c2sp.org/signed-note>; what we narrow is in `docs/formats/checkpoint.md`.

use crate::time::Timestamp;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ed25519_dalek::{Signature, Signer as _, SigningKey, VerifyingKey};
use sha2::{Digest as _, Sha256};
use std::fmt;
use thiserror::Error;

/// The longest note that is read, in bytes.
pub const MAX_NOTE: usize = 1 << 20;
/// The most signature lines of a note that is read. The specification asks for at least 16.
pub const MAX_SIGNATURES: usize = 64;
/// The longest key name, in bytes.
pub const MAX_NAME: usize = 255;
/// How a signature line begins: an em dash and a space.
const DASH: &str = "\u{2014} ";
/// Times of cosignatures are seconds; this many milliseconds each in a [`Timestamp`].
const SECOND: u64 = 1000;

/// Why a note or a signature was refused.
#[non_exhaustive]
#[derive(Clone, PartialEq, Eq, Debug, Error)]
pub enum NoteError {
    /// Larger than anything that is read.
    #[error("the note has {found} bytes, at most {max} are read")]
    TooLong {
        /// Bytes in the note.
        found: usize,
        /// Bytes allowed.
        max: usize,
    },
    /// A note is text.
    #[error("the note is not valid UTF-8 at byte {at}")]
    NotUtf8 {
        /// Offset of the first bad byte.
        at: usize,
    },
    /// Of the ASCII control characters only the newline may appear.
    #[error(
        "the note has control character {byte:#04x} at byte {at}; only newlines are allowed (was it opened in an editor that writes CR LF?)"
    )]
    ControlCharacter {
        /// The character.
        byte: u8,
        /// Its offset.
        at: usize,
    },
    /// The last byte must be a newline.
    #[error("the last line of the note does not end in a newline; it may have been cut off")]
    NoFinalNewline,
    /// There is no blank line, or nothing after it.
    #[error("the note has no signature: a blank line and at least one signature line must follow the text")]
    NoSignature,
    /// More signature lines than are read.
    #[error("the note has more than {max} signature lines")]
    TooManySignatures {
        /// Lines allowed.
        max: usize,
    },
    /// Not an em dash, a space, a key name, a space and base64 of at least five bytes.
    #[error("signature line {line} is not \"— name base64\"")]
    SignatureLine {
        /// Number of the line among the signature lines, from 1.
        line: usize,
    },
    /// A key we know, and not its signature: the note is not to be believed at all.
    #[error("the signature of {name} (key id {id:08x}) does not verify")]
    BadSignature {
        /// Name of the key.
        name: String,
        /// Its id.
        id: u32,
    },
    /// A key we know signed twice.
    #[error("{name} (key id {id:08x}) signed twice; keep one of its lines")]
    DuplicateSignature {
        /// Name of the key.
        name: String,
        /// Its id.
        id: u32,
    },
    /// A cosignature at a time that no one can mean.
    #[error("the cosignature of {name} is of second {time}, which is 0 or past the year 9999")]
    CosignatureTime {
        /// Name of the key.
        name: String,
        /// Seconds since 1970.
        time: u64,
    },
    /// Nobody we know signed.
    #[error("none of the {known} known keys signed the note (signed by: {signers})")]
    UnknownSigners {
        /// How many keys the caller knows.
        known: usize,
        /// Names on the signature lines.
        signers: String,
    },
    /// Two different keys were given under one name and id.
    #[error("two different keys called {name} with key id {id:08x} were given; remove one")]
    AmbiguousKey {
        /// Name of both.
        name: String,
        /// Id of both.
        id: u32,
    },
    /// A name that cannot be a key's.
    #[error(
        "{0:?} cannot be a key name: it must have 1 to 255 bytes, no space, no control character and no \"+\""
    )]
    KeyName(String),
    /// A log's key where a cosigner's is needed, or the reverse.
    #[error(
        "the key of {name} is a {found} key, which is for something else (a log signs, a witness cosigns)"
    )]
    WrongKind {
        /// Name of the key.
        name: String,
        /// What the key is for.
        found: KeyKind,
    },
    /// A text that cannot be signed.
    #[error("this text cannot be signed: it must end in a newline and have no other control character")]
    Unsignable,
    /// A record has exactly one signature line.
    #[error("a record note has one signature line, this one has {found}")]
    SignatureCount {
        /// Lines found.
        found: usize,
    },
    /// A record is one line.
    #[error("the text of a record note is one line that is not empty, this one has {found} lines")]
    RecordLines {
        /// Lines found.
        found: usize,
    },
}

/// Why a verifier key was refused.
#[non_exhaustive]
#[derive(Clone, PartialEq, Eq, Debug, Error)]
pub enum KeyError {
    /// Not three parts, or a part is misspelt.
    #[error("{0:?} is not a verifier key: name+8 hex digits+base64 of a type byte and the key")]
    Malformed(String),
    /// The name cannot be a key's.
    #[error(
        "{0:?} cannot be a key name: it must have 1 to 255 bytes, no space, no control character and no \"+\""
    )]
    Name(String),
    /// Not a type we can check.
    #[error(
        "the key of {name} has type {found:#04x}; 0x01 (Ed25519) and 0x04 (Ed25519 cosignature) are supported"
    )]
    Algorithm {
        /// Name of the key.
        name: String,
        /// Its type byte.
        found: u8,
    },
    /// The id is not the hash of the rest: something was changed or mistyped.
    #[error(
        "the key of {name} says id {found:08x}, its bytes give {computed:08x}: the line was changed or mistyped"
    )]
    Id {
        /// Name of the key.
        name: String,
        /// Id in the text.
        found: u32,
        /// Id of the bytes.
        computed: u32,
    },
    /// Not a point of the curve, or one with which anyone can sign.
    #[error("the key of {name} is not a usable Ed25519 key")]
    Point {
        /// Name of the key.
        name: String,
    },
}

/// What a key signs.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum KeyKind {
    /// Type 01: the text itself.
    Note,
    /// Type 04, `cosignature/v1`: a time and the text of a checkpoint.
    Cosignature,
}

impl KeyKind {
    fn byte(self) -> u8 {
        match self {
            KeyKind::Note => 0x01,
            KeyKind::Cosignature => 0x04,
        }
    }
}

impl fmt::Display for KeyKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            KeyKind::Note => "signing (type 01)",
            KeyKind::Cosignature => "cosigning (type 04)",
        })
    }
}

/// Whether `name` can be a key name, and therefore an origin: 1 to [`MAX_NAME`] bytes, no Unicode space, no control
/// character, no `+`.
pub fn is_key_name(name: &str) -> bool {
    let fine = |c: char| !c.is_whitespace() && !c.is_control() && c != '+';
    (1..=MAX_NAME).contains(&name.len()) && name.chars().all(fine)
}

fn key_id(name: &str, kind: KeyKind, public: &[u8; 32]) -> u32 {
    let hash =
        Sha256::new().chain_update(name).chain_update([b'\n', kind.byte()]).chain_update(public).finalize();
    u32::from_be_bytes([hash[0], hash[1], hash[2], hash[3]])
}

// ---------------------------------------------------------------------------------------------------------------
// Keys

/// A public key with its name. Written and read as a C2SP vkey.
#[derive(Clone, PartialEq, Eq)]
pub struct VerifierKey {
    name: String,
    id: u32,
    kind: KeyKind,
    public: VerifyingKey,
}

impl VerifierKey {
    /// From raw parts.
    ///
    /// # Errors
    /// [`KeyError::Name`], [`KeyError::Point`].
    pub fn new(name: &str, kind: KeyKind, public: &[u8; 32]) -> Result<VerifierKey, KeyError> {
        if !is_key_name(name) {
            return Err(KeyError::Name(name.chars().take(MAX_NAME).collect()));
        }
        let point = VerifyingKey::from_bytes(public).ok().filter(|key| !key.is_weak());
        let Some(point) = point else { return Err(KeyError::Point { name: name.into() }) };
        Ok(VerifierKey { name: name.into(), id: key_id(name, kind, public), kind, public: point })
    }

    /// Reads `name+hex8+base64`, in its one spelling.
    ///
    /// # Errors
    /// [`KeyError`].
    pub fn parse(text: &str) -> Result<VerifierKey, KeyError> {
        let malformed = || KeyError::Malformed(text.chars().take(400).collect());
        // The base64 may contain '+', the name may not.
        let (name, rest) = text.split_once('+').ok_or_else(malformed)?;
        let (hex, key) = rest.split_once('+').ok_or_else(malformed)?;
        if !is_key_name(name) {
            return Err(KeyError::Name(name.chars().take(MAX_NAME).collect()));
        }
        let id = u32::from_str_radix(hex, 16).map_err(|_| malformed())?;
        if format!("{id:08x}") != hex || key.len() > 4096 {
            return Err(malformed());
        }
        let bytes = STANDARD.decode(key).map_err(|_| malformed())?;
        let (&byte, public) = bytes.split_first().ok_or_else(malformed)?;
        let kind = match byte {
            0x01 => KeyKind::Note,
            0x04 => KeyKind::Cosignature,
            found => return Err(KeyError::Algorithm { name: name.into(), found }),
        };
        let public = public.try_into().map_err(|_| malformed())?;
        let computed = key_id(name, kind, public);
        if computed != id {
            return Err(KeyError::Id { name: name.into(), found: id, computed });
        }
        VerifierKey::new(name, kind, public)
    }

    /// Name of the key; for a log's key, the log's origin.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Key id, which with the name selects the signature lines to check.
    pub fn id(&self) -> u32 {
        self.id
    }

    /// What the key signs.
    pub fn kind(&self) -> KeyKind {
        self.kind
    }

    /// The 32 bytes of the public key.
    pub fn public(&self) -> &[u8; 32] {
        self.public.as_bytes()
    }

    /// Fingerprint to compare out of band: SHA-256 of the vkey text, 64 lower-case hex digits.
    pub fn fingerprint(&self) -> String {
        hex::encode(Sha256::digest(self.to_string()))
    }

    /// Ed25519 with `verify_strict`, over `message` as it is; for formats other than notes.
    pub(crate) fn verify_raw(&self, message: &[u8], signature: &[u8; 64]) -> bool {
        self.public.verify_strict(message, &Signature::from_bytes(signature)).is_ok()
    }

    /// Checks what stands in a signature line after the key id, against a note's text.
    ///
    /// # Errors
    /// [`NoteError::BadSignature`], [`NoteError::CosignatureTime`].
    pub fn verify(&self, text: &str, signature: &[u8]) -> Result<Verified<'_>, NoteError> {
        let bad = || NoteError::BadSignature { name: self.name.clone(), id: self.id };
        match self.kind {
            KeyKind::Note => {
                let signature = signature.try_into().map_err(|_| bad())?;
                if !self.verify_raw(text.as_bytes(), signature) {
                    return Err(bad());
                }
                Ok(Verified { key: self, time: None })
            }
            KeyKind::Cosignature => {
                let (time, signature) = signature.split_first_chunk::<8>().ok_or_else(bad)?;
                let signature = signature.try_into().map_err(|_| bad())?;
                let time = u64::from_be_bytes(*time);
                if !self.verify_raw(cosigned_message(time, text).as_bytes(), signature) {
                    return Err(bad());
                }
                let moment = time.checked_mul(SECOND).and_then(Timestamp::from_millis).filter(|_| time > 0);
                let Some(moment) = moment else {
                    return Err(NoteError::CosignatureTime { name: self.name.clone(), time });
                };
                Ok(Verified { key: self, time: Some(moment) })
            }
        }
    }
}

impl fmt::Display for VerifierKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut key = [self.kind.byte(); 33];
        key[1..].copy_from_slice(self.public());
        write!(f, "{}+{:08x}+{}", self.name, self.id, STANDARD.encode(key))
    }
}

impl fmt::Debug for VerifierKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "VerifierKey({self})")
    }
}

impl std::str::FromStr for VerifierKey {
    type Err = KeyError;
    fn from_str(text: &str) -> Result<Self, KeyError> {
        VerifierKey::parse(text)
    }
}

/// What a cosignature signs: `cosignature/v1`, `time <seconds>` and the text, as lines.
fn cosigned_message(time: u64, text: &str) -> String {
    format!("cosignature/v1\ntime {time}\n{text}")
}

/// A signature that was checked. Made by [`VerifierKey::verify`] only.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Verified<'k> {
    key: &'k VerifierKey,
    time: Option<Timestamp>,
}

impl<'k> Verified<'k> {
    /// The key that signed.
    pub fn key(&self) -> &'k VerifierKey {
        self.key
    }

    /// For a cosignature, when it was made, as its maker says.
    pub fn time(&self) -> Option<Timestamp> {
        self.time
    }
}

/// A private key with its name. Its bytes never appear in `Debug` and are wiped when it is dropped.
pub struct NoteSigner {
    key: SigningKey,
    verifier: VerifierKey,
}

impl NoteSigner {
    /// A key that signs notes (type 01), from a 32-byte secret seed.
    ///
    /// # Errors
    /// [`KeyError::Name`].
    pub fn new(name: &str, seed: &[u8; 32]) -> Result<NoteSigner, KeyError> {
        NoteSigner::of_kind(name, KeyKind::Note, seed)
    }

    /// A key that cosigns checkpoints (type 04), from a 32-byte secret seed. One seed, one cosigner: a cosignature
    /// does not say whose it is.
    ///
    /// # Errors
    /// [`KeyError::Name`].
    pub fn cosigner(name: &str, seed: &[u8; 32]) -> Result<NoteSigner, KeyError> {
        NoteSigner::of_kind(name, KeyKind::Cosignature, seed)
    }

    fn of_kind(name: &str, kind: KeyKind, seed: &[u8; 32]) -> Result<NoteSigner, KeyError> {
        let key = SigningKey::from_bytes(seed);
        let verifier = VerifierKey::new(name, kind, key.verifying_key().as_bytes())?;
        Ok(NoteSigner { key, verifier })
    }

    /// The public key.
    pub fn verifier(&self) -> &VerifierKey {
        &self.verifier
    }

    /// Name of the key.
    pub fn name(&self) -> &str {
        &self.verifier.name
    }

    /// Signs a text with a key of type 01.
    ///
    /// # Errors
    /// [`NoteError::WrongKind`] for a cosigner's key; [`NoteError::Unsignable`] when the text does not end in a
    /// newline or has another control character.
    pub fn sign(&self, text: &str) -> Result<SignatureLine, NoteError> {
        self.check_signable(KeyKind::Note, text)?;
        Ok(self.line(self.sign_raw(text.as_bytes()).to_vec()))
    }

    /// The whole note: text, blank line, this key's signature line.
    ///
    /// # Errors
    /// As [`sign`](NoteSigner::sign).
    pub fn sign_note(&self, text: &str) -> Result<String, NoteError> {
        let line = self.sign(text)?;
        Ok(format!("{text}\n{line}"))
    }

    /// Cosigns a text at `time`, of which the whole seconds count, with a key of type 04. The text must be that of
    /// a checkpoint; [`crate::checkpoint::VerifiedCheckpoint::cosign`] sees to that.
    ///
    /// # Errors
    /// [`NoteError::WrongKind`] for a key of type 01; [`NoteError::Unsignable`]; [`NoteError::CosignatureTime`] in
    /// the first second of 1970, which the format reserves.
    pub fn cosign(&self, text: &str, time: Timestamp) -> Result<SignatureLine, NoteError> {
        self.check_signable(KeyKind::Cosignature, text)?;
        let time = time.seconds();
        if time == 0 {
            return Err(NoteError::CosignatureTime { name: self.name().into(), time });
        }
        let mut bytes = time.to_be_bytes().to_vec();
        bytes.extend(self.sign_raw(cosigned_message(time, text).as_bytes()));
        Ok(self.line(bytes))
    }

    fn check_signable(&self, kind: KeyKind, text: &str) -> Result<(), NoteError> {
        if self.verifier.kind != kind {
            return Err(NoteError::WrongKind { name: self.name().into(), found: self.verifier.kind });
        }
        if !text.ends_with('\n') || find_control(text.as_bytes()).is_some() {
            return Err(NoteError::Unsignable);
        }
        Ok(())
    }

    fn line(&self, signature: Vec<u8>) -> SignatureLine {
        SignatureLine { name: self.verifier.name.clone(), id: self.verifier.id, signature }
    }

    /// Ed25519 over `message` as it is; for formats other than notes. Their messages must not be note texts.
    pub(crate) fn sign_raw(&self, message: &[u8]) -> [u8; 64] {
        self.key.sign(message).to_bytes()
    }
}

impl fmt::Debug for NoteSigner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "NoteSigner({})", self.verifier)
    }
}

// ---------------------------------------------------------------------------------------------------------------
// Notes

/// One signature line. Displayed with its final newline.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SignatureLine {
    /// Name of the key.
    pub name: String,
    /// Id of the key.
    pub id: u32,
    /// What follows the key id: 64 bytes of type 01, 72 of type 04, anything of types unknown to us.
    pub signature: Vec<u8>,
}

impl SignatureLine {
    /// Reads a line with its final newline; `None` when it is anything else.
    pub fn parse(line: &str) -> Option<SignatureLine> {
        let (name, bytes) = split_line(line.strip_suffix('\n')?)?;
        let bytes = STANDARD.decode(bytes).ok()?;
        let (id, signature) = bytes.split_first_chunk::<4>()?;
        if signature.is_empty() {
            return None;
        }
        Some(SignatureLine { name: name.into(), id: u32::from_be_bytes(*id), signature: signature.into() })
    }
}

impl fmt::Display for SignatureLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut bytes = self.id.to_be_bytes().to_vec();
        bytes.extend(&self.signature);
        writeln!(f, "{DASH}{} {}", self.name, STANDARD.encode(bytes))
    }
}

/// Key name and base64 of a signature line without its newline.
fn split_line(line: &str) -> Option<(&str, &str)> {
    line.strip_prefix(DASH)?.split_once(' ').filter(|(name, _)| is_key_name(name))
}

fn find_control(bytes: &[u8]) -> Option<(usize, u8)> {
    bytes.iter().copied().enumerate().find(|&(_, b)| b < 0x20 && b != b'\n')
}

/// Size, UTF-8, control characters and the final newline; then the text and what follows the blank line.
fn split_note(bytes: &[u8]) -> Result<(&str, &str), NoteError> {
    if bytes.len() > MAX_NOTE {
        return Err(NoteError::TooLong { found: bytes.len(), max: MAX_NOTE });
    }
    let note = std::str::from_utf8(bytes).map_err(|e| NoteError::NotUtf8 { at: e.valid_up_to() })?;
    if let Some((at, byte)) = find_control(bytes) {
        return Err(NoteError::ControlCharacter { byte, at });
    }
    if !note.ends_with('\n') {
        return Err(NoteError::NoFinalNewline);
    }
    let split = note.rfind("\n\n").ok_or(NoteError::NoSignature)?;
    let (text, signatures) = (&note[..=split], &note[split + 2..]);
    if signatures.is_empty() {
        return Err(NoteError::NoSignature);
    }
    Ok((text, signatures))
}

/// A note as it was read. Nothing in it is to be believed before [`verify`](Note::verify).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Note<'a> {
    text: &'a str,
    signatures: Vec<SignatureLine>,
}

impl<'a> Note<'a> {
    /// Reads a note.
    ///
    /// # Errors
    /// [`NoteError`].
    pub fn parse(bytes: &'a [u8]) -> Result<Note<'a>, NoteError> {
        let (text, lines) = split_note(bytes)?;
        // Counted before anything is decoded or kept.
        if lines.bytes().filter(|&b| b == b'\n').count() > MAX_SIGNATURES {
            return Err(NoteError::TooManySignatures { max: MAX_SIGNATURES });
        }
        let signatures = lines
            .split_inclusive('\n')
            .enumerate()
            .map(|(i, line)| SignatureLine::parse(line).ok_or(NoteError::SignatureLine { line: i + 1 }))
            .collect::<Result<_, _>>()?;
        Ok(Note { text, signatures })
    }

    /// The text, with its final newline: what was signed.
    pub fn text(&self) -> &'a str {
        self.text
    }

    /// The signature lines, in their order.
    pub fn signatures(&self) -> &[SignatureLine] {
        &self.signatures
    }

    /// Checks the lines of all `keys` and returns those that signed, in the order of the lines; at least one.
    /// Lines of other keys are ignored, as the specification demands.
    ///
    /// # Errors
    /// [`NoteError::BadSignature`] as soon as one line of a known key does not verify, whoever else signed;
    /// [`NoteError::UnknownSigners`] when none of the keys signed; [`NoteError::DuplicateSignature`];
    /// [`NoteError::AmbiguousKey`].
    pub fn verify<'k>(&self, keys: &'k [VerifierKey]) -> Result<Vec<Verified<'k>>, NoteError> {
        let verified = self.verify_any(keys)?;
        if verified.is_empty() {
            let names: Vec<_> = self.signatures.iter().map(|s| s.name.as_str()).collect();
            return Err(NoteError::UnknownSigners { known: keys.len(), signers: names.join(", ") });
        }
        Ok(verified)
    }

    /// As [`verify`](Note::verify), but it is fine when none of the keys signed.
    ///
    /// # Errors
    /// Those of `verify` but [`NoteError::UnknownSigners`].
    pub fn verify_any<'k>(&self, keys: &'k [VerifierKey]) -> Result<Vec<Verified<'k>>, NoteError> {
        let mut verified: Vec<Verified<'k>> = Vec::new();
        for line in &self.signatures {
            let mut known = keys.iter().filter(|k| k.id == line.id && k.name == line.name);
            let Some(key) = known.next() else { continue };
            if known.any(|other| other != key) {
                return Err(NoteError::AmbiguousKey { name: line.name.clone(), id: line.id });
            }
            if verified.iter().any(|v| v.key == key) {
                return Err(NoteError::DuplicateSignature { name: line.name.clone(), id: line.id });
            }
            verified.push(key.verify(self.text, &line.signature)?);
        }
        Ok(verified)
    }
}

/// A record as a note: one line of text and exactly one signature line of type 01. Borrows the bytes as received.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RecordNote<'a> {
    text: &'a str,
    line: &'a str,
    name: &'a str,
    id: u32,
    signature: [u8; 64],
}

impl<'a> RecordNote<'a> {
    /// Reads a record note.
    ///
    /// # Errors
    /// Those of [`Note::parse`], [`NoteError::SignatureCount`], [`NoteError::RecordLines`].
    pub fn parse(bytes: &'a [u8]) -> Result<RecordNote<'a>, NoteError> {
        let (text, lines) = split_note(bytes)?;
        RecordNote::checked(text, lines)
    }

    /// From the entry and the signature line that is stored beside it, each with its final newline.
    ///
    /// # Errors
    /// As [`RecordNote::parse`].
    pub fn from_parts(text: &'a str, line: &'a str) -> Result<RecordNote<'a>, NoteError> {
        for part in [text, line] {
            if part.len() > MAX_NOTE {
                return Err(NoteError::TooLong { found: part.len(), max: MAX_NOTE });
            }
            if let Some((at, byte)) = find_control(part.as_bytes()) {
                return Err(NoteError::ControlCharacter { byte, at });
            }
            if !part.ends_with('\n') {
                return Err(NoteError::NoFinalNewline);
            }
        }
        RecordNote::checked(text, line)
    }

    fn checked(text: &'a str, lines: &'a str) -> Result<RecordNote<'a>, NoteError> {
        let count = |s: &str| s.bytes().filter(|&b| b == b'\n').count();
        if count(text) != 1 || text.len() == 1 {
            return Err(NoteError::RecordLines { found: count(text) });
        }
        if count(lines) != 1 {
            return Err(NoteError::SignatureCount { found: count(lines) });
        }
        let malformed = NoteError::SignatureLine { line: 1 };
        let Some((name, base64)) = split_line(&lines[..lines.len() - 1]) else { return Err(malformed) };
        let mut bytes = [0; 68];
        // Padding would be the only way for base64 of this length to decode to another number of bytes.
        if base64.len() != 92 || STANDARD.decode_slice(base64, &mut bytes) != Ok(68) {
            return Err(malformed);
        }
        let (id, signature) = bytes.split_at(4);
        let (Ok(id), Ok(signature)) = (id.try_into(), signature.try_into()) else { return Err(malformed) };
        Ok(RecordNote { text, line: lines, name, id: u32::from_be_bytes(id), signature })
    }

    /// The text with its final newline: the entry of the log.
    pub fn text(&self) -> &'a str {
        self.text
    }

    /// The signature line with its final newline, as received.
    pub fn line(&self) -> &'a str {
        self.line
    }

    /// Name of the signing key, not yet checked.
    pub fn signer(&self) -> &'a str {
        self.name
    }

    /// Id of the signing key, not yet checked.
    pub fn key_id(&self) -> u32 {
        self.id
    }

    /// Checks the one signature.
    ///
    /// # Errors
    /// [`NoteError::UnknownSigners`] when the line is not of this key, or the key is a cosigner's;
    /// [`NoteError::BadSignature`].
    pub fn verify(&self, key: &VerifierKey) -> Result<(), NoteError> {
        if key.id != self.id || key.name != self.name || key.kind != KeyKind::Note {
            return Err(NoteError::UnknownSigners { known: 1, signers: self.name.into() });
        }
        key.verify(self.text, &self.signature).map(|_| ())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const VKEY: &str = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k";
    const NOTE: &str = "This is an example message.\n\n\u{2014} example.com/foo Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM=\n";

    fn at(seconds: u64) -> Timestamp {
        Timestamp::from_millis(seconds * 1000).unwrap()
    }

    #[test]
    fn the_specification_s_example_verifies() {
        let key = VerifierKey::parse(VKEY).unwrap();
        assert_eq!(key.to_string(), VKEY);
        assert_eq!((key.name(), key.id(), key.kind()), ("example.com/foo", 0x530d_903a, KeyKind::Note));
        let keys = [key];
        let note = Note::parse(NOTE.as_bytes()).unwrap();
        assert_eq!(note.text(), "This is an example message.\n");
        assert_eq!(note.verify(&keys).unwrap()[0].key(), &keys[0]);
        assert_eq!(note.verify(&keys).unwrap()[0].time(), None);
        let record = RecordNote::parse(NOTE.as_bytes()).unwrap();
        record.verify(&keys[0]).unwrap();
        assert_eq!(RecordNote::from_parts(record.text(), record.line()), Ok(record));
    }

    #[test]
    fn every_flipped_bit_of_a_note_is_refused() {
        let keys = [VerifierKey::parse(VKEY).unwrap()];
        for i in 0..NOTE.len() * 8 {
            let mut bad = NOTE.as_bytes().to_vec();
            bad[i / 8] ^= 1 << (i % 8);
            assert!(Note::parse(&bad).and_then(|n| n.verify(&keys).map(|_| ())).is_err(), "bit {i}");
            assert!(RecordNote::parse(&bad).and_then(|n| n.verify(&keys[0])).is_err(), "bit {i}");
        }
    }

    #[test]
    fn every_changed_byte_of_a_key_is_refused() {
        for i in 0..VKEY.len() {
            for new in [b'A', b'b', b'+', b'0', b'/', b'=', b' '] {
                let mut bad = VKEY.as_bytes().to_vec();
                if bad[i] != new {
                    bad[i] = new;
                    assert!(VerifierKey::parse(std::str::from_utf8(&bad).unwrap()).is_err(), "byte {i}");
                }
            }
        }
    }

    #[test]
    fn signs_and_verifies_both_kinds() {
        let log = NoteSigner::new("log.example/moc", &[7; 32]).unwrap();
        let witness = NoteSigner::cosigner("witness.example/w1", &[8; 32]).unwrap();
        let text = "one\n\ntwo\n";
        let time = at(1_700_000_000);
        let mut bytes = log.sign_note(text).unwrap();
        bytes += &witness.cosign(text, time).unwrap().to_string();
        let note = Note::parse(bytes.as_bytes()).unwrap();
        let keys = [witness.verifier().clone(), log.verifier().clone()];
        let verified = note.verify(&keys).unwrap();
        assert_eq!(verified.iter().map(|v| v.time()).collect::<Vec<_>>(), [None, Some(time)]);
        assert_eq!(note.signatures()[1].signature.len(), 72);
        assert_eq!(VerifierKey::parse(&keys[0].to_string()).unwrap(), keys[0]);
        // A key of one kind never speaks for the other: the ids differ.
        let twin = NoteSigner::new("witness.example/w1", &[8; 32]).unwrap();
        assert_ne!(twin.verifier().id(), witness.verifier().id());
        assert!(twin.sign("no newline").is_err() && twin.sign("tab\t\n").is_err());
        assert!(matches!(witness.sign_note(text), Err(NoteError::WrongKind { .. })));
        assert!(matches!(log.cosign(text, time), Err(NoteError::WrongKind { .. })));
        assert!(matches!(witness.cosign(text, at(0)), Err(NoteError::CosignatureTime { .. })));
    }

    #[test]
    fn two_keys_of_one_name_and_id_are_not_chosen_between() {
        let key = VerifierKey::parse(VKEY).unwrap();
        let mut other = NoteSigner::new("example.com/foo", &[1; 32]).unwrap().verifier().clone();
        other.id = key.id;
        let note = Note::parse(NOTE.as_bytes()).unwrap();
        assert!(matches!(note.verify(&[key.clone(), other]), Err(NoteError::AmbiguousKey { .. })));
        assert!(note.verify(&[key.clone(), key]).is_ok());
    }

    #[test]
    fn weak_keys_are_no_keys() {
        // The neutral element: with plain verification anybody can sign for it.
        let mut neutral = [0; 32];
        neutral[0] = 1;
        assert!(matches!(VerifierKey::new("a", KeyKind::Note, &neutral), Err(KeyError::Point { .. })));
    }

    #[test]
    fn caps() {
        let signer = NoteSigner::new("a", &[1; 32]).unwrap();
        let mut note = signer.sign_note("text\n").unwrap();
        for i in 1..MAX_SIGNATURES {
            note += &SignatureLine { name: format!("g{i}"), id: 1, signature: vec![i as u8; 64] }.to_string();
        }
        let keys = [signer.verifier().clone()];
        assert_eq!(Note::parse(note.as_bytes()).unwrap().verify(&keys).unwrap().len(), 1);
        note += &SignatureLine { name: "more".into(), id: 1, signature: vec![0; 64] }.to_string();
        assert_eq!(Note::parse(note.as_bytes()), Err(NoteError::TooManySignatures { max: MAX_SIGNATURES }));
        let long = signer.sign_note(&format!("{}\n", "x".repeat(MAX_NOTE))).unwrap();
        assert!(matches!(Note::parse(long.as_bytes()), Err(NoteError::TooLong { .. })));
        assert!(NoteSigner::new(&"n".repeat(MAX_NAME), &[1; 32]).is_ok());
        assert!(NoteSigner::new(&"n".repeat(MAX_NAME + 1), &[1; 32]).is_err());
    }

    #[test]
    fn secrets_stay_out_of_debug() {
        let signer = NoteSigner::new("a", &[0xab; 32]).unwrap();
        assert_eq!(format!("{signer:?}"), format!("NoteSigner({})", signer.verifier()));
    }

    proptest! {
        #[test]
        fn parsers_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = Note::parse(&bytes).map(|n| n.verify(&[]).is_ok());
            let _ = RecordNote::parse(&bytes);
            let _ = VerifierKey::parse(&String::from_utf8_lossy(&bytes));
        }

        #[test]
        fn notes_of_pieces_read_back(text in "[a-z\n\u{2014} ]{0,40}", cut: usize) {
            let signer = NoteSigner::new("a", &[1; 32]).unwrap();
            let text = text + "\n";
            let bytes = signer.sign_note(&text).unwrap();
            let keys = [signer.verifier().clone()];
            let note = Note::parse(bytes.as_bytes()).unwrap();
            prop_assert_eq!(note.text(), &text);
            prop_assert!(note.verify(&keys).is_ok());
            let part = &bytes.as_bytes()[..cut % bytes.len()];
            prop_assert!(Note::parse(part).and_then(|n| n.verify(&keys).map(|_| ())).is_err());
        }
    }
}
