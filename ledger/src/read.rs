//! Reading a log: the same questions, asked of the running service ([`crate::log::View`]) or of the journal alone
//! ([`crate::reader::LogReader`]).
//!
//! Whatever an answer is made of was checked against the tree first: bundles and tiles against their parents, proofs
//! by the verifier's own code against the root they are for.

use crate::batch::{ContentError, Stored};
use crate::bundle;
use crate::edge::WIDTH;
use crate::facts::FactsError;
use crate::head::Head;
use crate::highwater::HighWaterError;
use crate::journal::JournalError;
use crate::public::PublicFault;
use crate::store::StoreError;
use isoledger_core::checkpoint::SignedCheckpoint;
use isoledger_core::content::Opening;
use isoledger_core::merkle::{
    LeafIndex, NodeId, ProofError, RangeProof, RangeVerifier, check_consistency, check_inclusion,
    consistency_plan, inclusion_plan, leaf_hash, range_plan, root_plan,
};
use isoledger_core::note::VerifierKey;
use isoledger_core::record::{Record, RecordError};
use isoledger_core::tiles::{NodePlace, TileKind, TilePath, encode_tile};
use isoledger_core::{Digest, Hash, Timestamp};
use std::collections::{HashMap, hash_map};
use std::path::PathBuf;
use std::sync::Arc;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The log is not that long.
    #[error("there is no entry {seq}: the log has {size}")]
    NoEntry {
        /// Asked for.
        seq: u64,
        /// Entries there are.
        size: u64,
    },
    /// No such tile or bundle at this size.
    #[error("there is no {path} in a log of {size} entries")]
    NoTile {
        /// Asked for.
        path: String,
        /// Entries there are.
        size: u64,
    },
    /// Nothing is stored under this digest.
    #[error("no content {digest} is in this log")]
    NoContent {
        /// Asked for.
        digest: Digest,
    },
    /// Such a proof cannot exist, or what was read does not prove it.
    #[error(transparent)]
    Proof(#[from] ProofError),
    /// An entry that cannot be read.
    #[error("entry {seq} cannot be read: {cause}")]
    Record {
        /// The entry.
        seq: u64,
        /// Why.
        cause: RecordError,
    },
    /// Entries that make no log.
    #[error(transparent)]
    Facts(#[from] FactsError),
    /// Content that is not what its address says.
    #[error(transparent)]
    Content(#[from] ContentError),
    /// The journal cannot be read.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The high-water mark cannot be read.
    #[error(transparent)]
    HighWater(#[from] HighWaterError),
    /// The store refused.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The journal's root is not the one that was vouched for.
    #[error(
        "the journal in {path} has root {found} at entry {size}; the high-water mark vouches for {vouched}. One of them is from another copy; restore both together"
    )]
    Inconsistent {
        /// The journal directory.
        path: PathBuf,
        /// Entries.
        size: u64,
        /// Root of the journal.
        found: Hash,
        /// Root of the mark.
        vouched: Hash,
    },
    /// No checkpoint can be believed.
    #[error(
        "{path} holds no checkpoint signed by the log's key over the entries of its journal; start the service once, it signs one"
    )]
    NoCheckpoint {
        /// The data directory.
        path: PathBuf,
    },
    /// Entries read now are not those read before.
    #[error("entries {first} to {last} have changed on disk since they were first read")]
    Changed {
        /// First of them.
        first: u64,
        /// Last of them.
        last: u64,
    },
    /// A file of a public log is missing or none.
    #[error("{path}{}: {fault}", seq.map(|seq| format!(", entry {seq}")).unwrap_or_default())]
    Public {
        /// Its path below the log's root.
        path: String,
        /// The entry in which the damage is, or the first of the file.
        seq: Option<u64>,
        /// What is wrong.
        fault: Box<PublicFault>,
    },
    /// No log is there.
    #[error("{path} holds no log: its creation never finished, or it is another directory")]
    NoLog {
        /// The data directory.
        path: PathBuf,
    },
}

/// What was last vouched for in public.
#[derive(Clone, Debug)]
pub struct Published {
    /// Size and root.
    pub head: Head,
    /// Time of the last entry.
    pub time: Timestamp,
    /// The note, with the cosignatures known for it.
    pub checkpoint: SignedCheckpoint,
}

/// Questions to a log.
///
/// Those up to `cosigned_sizes` are the log's own; the others follow from them. Everything is as of
/// [`published`](ReadLog::published) or later: a log grows between two calls, and what is there stays.
pub trait ReadLog {
    /// Name of the log.
    fn origin(&self) -> &str;

    /// The log's keys, each with the first entry it signs.
    fn keys(&self) -> Vec<(u64, VerifierKey)>;

    /// The newest checkpoint and what it is about.
    fn published(&self) -> Result<Published, ReadError>;

    /// Entries `256 n ..`, up to 256 of them, checked against the tree.
    fn block(&self, n: u64) -> Result<Vec<Arc<Stored>>, ReadError>;

    /// Hashes of tile `n` of a tile level, up to 256 of them, checked against the tree.
    fn tile_hashes(&self, level: u8, n: u64) -> Result<Vec<Hash>, ReadError>;

    /// Content by its digest, checked against it. Confidential.
    fn content(&self, digest: &Digest) -> Result<Vec<u8>, ReadError>;

    /// `seq` of the last poll that ended at or before `time`.
    fn seq_at_time(&self, time: Timestamp) -> Result<Option<u64>, ReadError>;

    /// The newest cosigned checkpoint of each size in `from..=to`, ascending, at most `max` of them.
    fn cosigned(&self, from: u64, to: u64, max: usize) -> Result<Vec<SignedCheckpoint>, ReadError>;

    /// The sizes in `from..=to` of which there is a cosigned checkpoint, ascending.
    fn cosigned_sizes(&self, from: u64, to: u64) -> Result<Vec<u64>, ReadError>;

    /// Number of published entries.
    fn size(&self) -> Result<u64, ReadError> {
        Ok(self.published()?.head.size)
    }

    /// Root of the published tree.
    fn root(&self) -> Result<Hash, ReadError> {
        Ok(self.published()?.head.root)
    }

    /// One entry with signature and opening.
    fn stored(&self, seq: u64) -> Result<Arc<Stored>, ReadError> {
        let size = self.size()?;
        let none = ReadError::NoEntry { seq, size };
        if seq >= size {
            return Err(none);
        }
        self.block(seq / WIDTH)?.into_iter().nth((seq % WIDTH) as usize).ok_or(none)
    }

    /// The bytes of an entry.
    fn entry(&self, seq: u64) -> Result<Vec<u8>, ReadError> {
        Ok(self.stored(seq)?.text.clone())
    }

    /// An entry, read.
    fn record(&self, seq: u64) -> Result<Record, ReadError> {
        Record::parse(&self.stored(seq)?.text).map_err(|cause| ReadError::Record { seq, cause })
    }

    /// The signature line of an entry, with its newline.
    fn signature(&self, seq: u64) -> Result<Vec<u8>, ReadError> {
        Ok(self.stored(seq)?.signature.clone())
    }

    /// The opening of an entry's commitment; `None` for types without one. Confidential.
    fn opening(&self, seq: u64) -> Result<Option<Opening>, ReadError> {
        Ok(self.stored(seq)?.opening)
    }

    /// Bytes of a tile or entry bundle of tlog-tiles; partial ones are cut from what there is.
    fn tile(&self, path: &TilePath) -> Result<Vec<u8>, ReadError> {
        let (n, width, size) = (path.index(), u64::from(path.width()), self.size()?);
        if !path.is_within(size) {
            return Err(ReadError::NoTile { path: path.to_string(), size });
        }
        Ok(match path.kind() {
            TileKind::Hashes(level) => encode_tile(cut(&self.tile_hashes(level, n)?, n, width, size)?),
            TileKind::Entries => bundle::entries(cut(&self.block(n)?, n, width, size)?),
        })
    }

    /// Bytes of a signature bundle: the signature lines of an entry bundle, laid out likewise.
    fn signature_bundle(&self, n: u64, width: u16) -> Result<Vec<u8>, ReadError> {
        let block = self.block(n)?;
        Ok(bundle::signatures(cut(&block, n, u64::from(width), self.size()?)?))
    }

    /// Entries `start..end`, block by block.
    fn entries(&self, start: u64, end: u64) -> Entries<'_, Self>
    where
        Self: Sized,
    {
        Entries { log: self, next: start, end, block: Vec::new() }
    }

    /// Root of the tree of the first `size` entries.
    fn root_at(&self, size: u64) -> Result<Hash, ReadError> {
        let head = Head { size: self.size()?, root: self.root()? };
        root_of_first(self, size, head)
    }

    /// The audit path of entry `index` in the tree of `size`, checked against that tree's root.
    fn inclusion(&self, index: u64, size: u64) -> Result<Vec<Hash>, ReadError> {
        let root = self.root_at(size)?;
        let mut nodes = Nodes::new(self);
        let proof = inclusion_plan(LeafIndex(index), size)?.assemble(|node| nodes.get(node))?;
        let leaf = leaf_hash(&self.stored(index)?.text);
        check_inclusion(leaf, LeafIndex(index), size, &root, &proof)?;
        Ok(proof)
    }

    /// The proof that the tree of `newer` extends the one of `older`, checked against both roots.
    fn consistency(&self, older: u64, newer: u64) -> Result<Vec<Hash>, ReadError> {
        let (older_root, newer_root) = (self.root_at(older)?, self.root_at(newer)?);
        let mut nodes = Nodes::new(self);
        let proof = consistency_plan(older, newer)?.assemble(|node| nodes.get(node))?;
        check_consistency(older, &older_root, newer, &newer_root, &proof)?;
        Ok(proof)
    }

    /// The hashes around entries `start..end` in the tree of `size`, checked against that tree's root.
    fn range(&self, start: u64, end: u64, size: u64) -> Result<RangeProof, ReadError> {
        let root = self.root_at(size)?;
        let mut nodes = Nodes::new(self);
        let proof = range_plan(start, end, size)?.assemble(|node| nodes.get(node))?;
        let mut verifier = RangeVerifier::new(start, &proof.left)?;
        for n in start / WIDTH..end.div_ceil(WIDTH) {
            let hashes = self.tile_hashes(0, n)?;
            let from = start.saturating_sub(n * WIDTH) as usize;
            let to = (end - n * WIDTH).min(hashes.len() as u64) as usize;
            hashes.get(from..to).unwrap_or_default().iter().for_each(|h| verifier.push(*h));
        }
        let found = verifier.finish(end, size, &proof.right)?;
        if found != root {
            return Err(ProofError::RootMismatch { computed: found, signed: root }.into());
        }
        Ok(proof)
    }
}

/// Root of the first `size` entries of a log that is at `head` or later.
pub(crate) fn root_of_first<L: ReadLog + ?Sized>(log: &L, size: u64, head: Head) -> Result<Hash, ReadError> {
    if size == head.size {
        return Ok(head.root);
    }
    if size > head.size {
        return Err(ReadError::NoEntry { seq: size, size: head.size });
    }
    if size == 0 {
        return Ok(Head::EMPTY.root);
    }
    let mut nodes = Nodes::new(log);
    let hashes = root_plan(size).assemble(|node| nodes.get(node))?;
    // One fold over the whole tree, so one hash.
    hashes.first().copied().ok_or(ReadError::NoEntry { seq: size, size: head.size })
}

fn cut<T>(all: &[T], n: u64, width: u64, size: u64) -> Result<&[T], ReadError> {
    let none = || ReadError::NoTile { path: format!("tile {n} of width {width}"), size };
    all.get(..width as usize).filter(|part| !part.is_empty()).ok_or_else(none)
}

/// Hashes of complete subtrees, with the tiles they came from kept for the next.
struct Nodes<'l, L: ?Sized> {
    log: &'l L,
    tiles: HashMap<(u8, u64), Vec<Hash>>,
}

impl<'l, L: ReadLog + ?Sized> Nodes<'l, L> {
    fn new(log: &'l L) -> Nodes<'l, L> {
        Nodes { log, tiles: HashMap::new() }
    }

    fn get(&mut self, node: NodeId) -> Result<Hash, ReadError> {
        let place = NodePlace::of(node);
        if let hash_map::Entry::Vacant(slot) = self.tiles.entry((place.level, place.index)) {
            slot.insert(self.log.tile_hashes(place.level, place.index)?);
        }
        match place.hash(&self.tiles[&(place.level, place.index)]) {
            Some(hash) => Ok(hash),
            None => Err(ReadError::NoTile { path: format!("subtree {node}"), size: self.log.size()? }),
        }
    }
}

/// Entries in order, with their numbers.
pub struct Entries<'l, L> {
    log: &'l L,
    next: u64,
    end: u64,
    block: Vec<Arc<Stored>>,
}

impl<L: ReadLog> Iterator for Entries<'_, L> {
    type Item = Result<(u64, Arc<Stored>), ReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.next >= self.end {
            return None;
        }
        let seq = self.next;
        let at = (seq % WIDTH) as usize;
        if at == 0 || self.block.get(at).is_none() {
            match self.log.block(seq / WIDTH) {
                Ok(block) => self.block = block,
                Err(e) => {
                    self.end = seq;
                    return Some(Err(e));
                }
            }
        }
        let Some(entry) = self.block.get(at) else {
            self.end = seq;
            return Some(Err(ReadError::NoEntry { seq, size: seq }));
        };
        self.next += 1;
        Some(Ok((seq, entry.clone())))
    }
}
