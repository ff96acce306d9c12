//! Batches: what one commit adds to the journal, and its frames.
//!
//! ```text
//! batch = *checkpoint *( *content entry signature [opening] ) commit
//! ```
//! A batch is whole or nothing: a reader believes its frames only once it has seen the `commit` behind them.

use crate::frame::{self, Chain, Kind};
use crate::head::Head;
use isoledger_core::content::{MAX_CONTENT, Opening};
use isoledger_core::record::MAX_ENTRY;
use isoledger_core::{Digest, Hash};
use std::cell::RefCell;
use std::fmt;
use std::sync::Arc;

/// The longest checkpoint note, with cosignatures.
pub const MAX_NOTE: usize = 64 << 10;
/// The longest signature line.
pub const MAX_SIGNATURE_LINE: usize = 1024;
/// The most entries in one batch.
pub const MAX_BATCH_ENTRIES: usize = 4096;
/// The most bytes of one batch in the journal.
pub const MAX_BATCH_BYTES: usize = 256 << 20;

thread_local! {
    // Making a compressor costs more than compressing a kilobyte with it.
    static COMPRESSOR: RefCell<Option<zstd::bulk::Compressor<'static>>> = const { RefCell::new(None) };
}

/// Compresses with zstd; `None` only when there is no memory for it.
pub(crate) fn compress(bytes: &[u8]) -> Option<Vec<u8>> {
    COMPRESSOR.with_borrow_mut(|compressor| {
        if compressor.is_none() {
            *compressor = zstd::bulk::Compressor::new(3).ok();
        }
        compressor.as_mut()?.compress(bytes).ok()
    })
}

/// One piece of content as it is stored.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Packed {
    /// BLAKE3 of the bytes.
    pub digest: Digest,
    /// Their number.
    pub len: u32,
    /// The bytes, zstd-compressed.
    pub zstd: Vec<u8>,
}

/// Why stored content is not what its address says.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ContentError {
    /// Longer than allowed.
    #[error("content of {found} bytes; at most {MAX_CONTENT} are allowed")]
    TooLong {
        /// Its length.
        found: usize,
    },
    /// The bytes do not have the digest they were given under.
    #[error("content given as {claimed} has digest {found}")]
    Digest {
        /// The address.
        claimed: Digest,
        /// BLAKE3 of the bytes.
        found: Digest,
    },
    /// Not a zstd frame of the stated length.
    #[error("content {digest} does not decompress to {len} bytes")]
    Compression {
        /// The address.
        digest: Digest,
        /// The stated length.
        len: u32,
    },
}

impl Packed {
    /// Compresses `bytes`, which must have this digest.
    pub fn pack(digest: Digest, bytes: &[u8]) -> Result<Packed, ContentError> {
        if bytes.len() > MAX_CONTENT {
            return Err(ContentError::TooLong { found: bytes.len() });
        }
        let found = Digest::of(bytes);
        if found != digest {
            return Err(ContentError::Digest { claimed: digest, found });
        }
        let len = bytes.len() as u32;
        let zstd = compress(bytes).ok_or(ContentError::Compression { digest, len })?;
        Ok(Packed { digest, len, zstd })
    }

    /// The bytes, checked against the digest.
    pub fn unpack(&self) -> Result<Vec<u8>, ContentError> {
        let (digest, len) = (self.digest, self.len);
        if len as usize > MAX_CONTENT {
            return Err(ContentError::TooLong { found: len as usize });
        }
        let bytes = zstd::bulk::decompress(&self.zstd, len as usize)
            .ok()
            .filter(|b| b.len() == len as usize)
            .ok_or(ContentError::Compression { digest, len })?;
        let found = Digest::of(&bytes);
        if found != digest {
            return Err(ContentError::Digest { claimed: digest, found });
        }
        Ok(bytes)
    }

    /// As one value of a store: length, compressed bytes.
    pub(crate) fn to_value(&self) -> Vec<u8> {
        [&self.len.to_be_bytes()[..], &self.zstd].concat()
    }

    pub(crate) fn from_value(digest: Digest, value: &[u8]) -> Option<Packed> {
        let (len, zstd) = value.split_first_chunk()?;
        Some(Packed { digest, len: u32::from_be_bytes(*len), zstd: zstd.to_vec() })
    }
}

/// One entry with what is stored beside it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Stored {
    /// The entry's bytes, newline included.
    pub text: Vec<u8>,
    /// Its one signature line, newline included.
    pub signature: Vec<u8>,
    /// The opening of its commitment, for the types that have one. Confidential.
    pub opening: Option<Opening>,
}

/// What one commit adds.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Batch {
    /// Checkpoint notes served since the batch before, with the size each is about.
    pub checkpoints: Vec<(u64, Vec<u8>)>,
    /// The entries, and with each the content that is new with it. The first has the `seq` at which the batch
    /// begins.
    pub entries: Vec<(Vec<Packed>, Arc<Stored>)>,
}

impl Batch {
    /// Frames in the journal, the commit included.
    pub fn frames(&self) -> u64 {
        let entries = self.entries.iter().map(|(c, e)| c.len() + 2 + usize::from(e.opening.is_some()));
        (self.checkpoints.len() + entries.sum::<usize>() + 1) as u64
    }

    /// About how many bytes the batch has in the journal.
    pub fn bytes(&self) -> usize {
        let frame = frame::HEADER + frame::TRAILER;
        let notes = self.checkpoints.iter().map(|(_, n)| n.len() + 8);
        let entries = self.entries.iter().map(|(contents, e)| {
            contents.iter().map(|c| c.zstd.len() + 36 + frame).sum::<usize>()
                + e.text.len()
                + e.signature.len()
                + 88
        });
        notes.chain(entries).sum::<usize>() + self.frames() as usize * frame
    }

    /// Writes the frames behind `chain` and moves it. `first` is the `seq` of the first entry, `head` the tree after
    /// the last.
    pub(crate) fn seal(&self, chain: &mut Chain, first: u64, head: Head) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.bytes());
        for (size, note) in &self.checkpoints {
            frame::seal(chain, Kind::Checkpoint, &[&size.to_be_bytes(), note], &mut out);
        }
        for (seq, (contents, entry)) in (first..).zip(&self.entries) {
            for c in contents {
                frame::seal(chain, Kind::Content, &[&c.digest.0, &c.len.to_be_bytes(), &c.zstd], &mut out);
            }
            let seq = seq.to_be_bytes();
            frame::seal(chain, Kind::Entry, &[&seq, &entry.text], &mut out);
            frame::seal(chain, Kind::Signature, &[&seq, &entry.signature], &mut out);
            if let Some(o) = &entry.opening {
                frame::seal(chain, Kind::Opening, &[&seq, &o.to_bytes()], &mut out);
            }
        }
        let frames = (self.frames() - 1) as u32;
        frame::seal(
            chain,
            Kind::Commit,
            &[&head.size.to_be_bytes(), &head.root.0, &frames.to_be_bytes()],
            &mut out,
        );
        out
    }
}

/// Why sound frames are not a batch. Never the disk's doing: whoever wrote them was wrong.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Disorder {
    /// A frame of this kind may not stand here.
    Kind(Kind),
    /// The payload of this kind has this length, which it cannot have.
    Length(Kind, usize),
    /// A frame of this kind is about entry `found`; here it must be about `wanted`.
    Seq {
        /// The kind.
        kind: Kind,
        /// What it says.
        found: u64,
        /// What must stand here.
        wanted: u64,
    },
    /// The commit counts another number of frames.
    Count {
        /// What it says.
        found: u32,
        /// Frames there are.
        wanted: u32,
    },
    /// More entries or bytes than a batch may have.
    TooLarge,
}

impl fmt::Display for Disorder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Disorder::Kind(k) => write!(f, "a frame of kind {k:?} may not stand here"),
            Disorder::Length(k, n) => write!(f, "a frame of kind {k:?} cannot have {n} bytes"),
            Disorder::Seq { kind, found, wanted } => {
                write!(f, "a frame of kind {kind:?} is about entry {found}; here it must be {wanted}")
            }
            Disorder::Count { found, wanted } => {
                write!(f, "the commit counts {found} frames; there are {wanted}")
            }
            Disorder::TooLarge => {
                write!(f, "the batch exceeds {MAX_BATCH_ENTRIES} entries or {MAX_BATCH_BYTES} bytes")
            }
        }
    }
}

/// Puts a batch together from its frames.
pub(crate) struct Builder {
    batch: Batch,
    contents: Vec<Packed>,
    /// The entry whose signature or opening may come next.
    open: Option<Stored>,
    next_seq: u64,
    frames: u32,
    bytes: usize,
}

impl Builder {
    /// A batch whose first entry has this `seq`.
    pub(crate) fn new(next_seq: u64) -> Builder {
        Builder { batch: Batch::default(), contents: Vec::new(), open: None, next_seq, frames: 0, bytes: 0 }
    }

    /// The entry that the frames at hand belong to, or that comes next.
    pub(crate) fn seq(&self) -> u64 {
        self.next_seq - u64::from(self.open.is_some())
    }

    /// Takes the next frame; the finished batch at its commit.
    pub(crate) fn push(&mut self, kind: Kind, payload: &[u8]) -> Result<Option<(Batch, Head)>, Disorder> {
        let length = Disorder::Length(kind, payload.len());
        self.bytes += payload.len();
        if self.bytes > MAX_BATCH_BYTES + frame::MAX_PAYLOAD || self.batch.entries.len() > MAX_BATCH_ENTRIES {
            return Err(Disorder::TooLarge);
        }
        let numbered = || -> Result<(u64, &[u8]), Disorder> {
            let (seq, rest) = payload.split_first_chunk().ok_or(length)?;
            Ok((u64::from_be_bytes(*seq), rest))
        };
        let at = |found, wanted| match found == wanted {
            true => Ok(()),
            false => Err(Disorder::Seq { kind, found, wanted }),
        };
        match kind {
            Kind::Checkpoint => {
                if !self.batch.entries.is_empty() || self.open.is_some() || !self.contents.is_empty() {
                    return Err(Disorder::Kind(kind));
                }
                let (size, note) = numbered()?;
                if note.len() > MAX_NOTE {
                    return Err(length);
                }
                self.batch.checkpoints.push((size, note.to_vec()));
            }
            Kind::Content => {
                self.close_entry(kind)?;
                let (digest, rest) = payload.split_first_chunk::<32>().ok_or(length)?;
                let packed = Packed::from_value(Digest(*digest), rest).ok_or(length)?;
                if packed.len as usize > MAX_CONTENT {
                    return Err(length);
                }
                self.contents.push(packed);
            }
            Kind::Entry => {
                self.close_entry(kind)?;
                let (seq, text) = numbered()?;
                at(seq, self.next_seq)?;
                if text.is_empty() || text.len() > MAX_ENTRY {
                    return Err(length);
                }
                self.next_seq = self.next_seq.checked_add(1).ok_or(Disorder::TooLarge)?;
                self.open = Some(Stored { text: text.to_vec(), signature: Vec::new(), opening: None });
            }
            Kind::Signature => {
                let (seq, line) = numbered()?;
                at(seq, self.seq())?;
                let entry =
                    self.open.as_mut().filter(|e| e.signature.is_empty()).ok_or(Disorder::Kind(kind))?;
                if line.is_empty() || line.len() > MAX_SIGNATURE_LINE {
                    return Err(length);
                }
                entry.signature = line.to_vec();
            }
            Kind::Opening => {
                let (seq, pair) = numbered()?;
                at(seq, self.seq())?;
                let signed = |e: &&mut Stored| !e.signature.is_empty() && e.opening.is_none();
                let entry = self.open.as_mut().filter(signed).ok_or(Disorder::Kind(kind))?;
                entry.opening = Some(Opening::from_bytes(pair.try_into().map_err(|_| length)?));
            }
            Kind::Commit => {
                self.close_entry(kind)?;
                if !self.contents.is_empty() {
                    return Err(Disorder::Kind(kind));
                }
                let (size, rest) = numbered()?;
                at(size, self.next_seq)?;
                let (root, count) = rest.split_first_chunk::<32>().ok_or(length)?;
                let found = u32::from_be_bytes(count.try_into().map_err(|_| length)?);
                if found != self.frames {
                    return Err(Disorder::Count { found, wanted: self.frames });
                }
                let head = Head { size, root: Hash(*root) };
                return Ok(Some((std::mem::take(&mut self.batch), head)));
            }
        }
        self.frames += 1;
        Ok(None)
    }

    fn close_entry(&mut self, kind: Kind) -> Result<(), Disorder> {
        if let Some(entry) = self.open.take() {
            if entry.signature.is_empty() {
                return Err(Disorder::Kind(kind));
            }
            self.batch.entries.push((std::mem::take(&mut self.contents), Arc::new(entry)));
        }
        Ok(())
    }
}
