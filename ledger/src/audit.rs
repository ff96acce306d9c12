//! The whole log recomputed, by the functions a verifier has and no others.
//!
//! What is checked of every entry: it reads in its one spelling; it stands where it may (`prev`, `seq`, times, polls);
//! its signature, strictly, by the key in force; its leaf hash against its tile, its tile against the tiles above and
//! these against the root of the checkpoint, which the log's key signed; and with openings at hand, that its
//! commitment opens to content that is there.
//!
//! An audit can go on from a [`SavedPoint`]. Then all bytes are still read and hashed, and the tree must hold the very
//! tree of that point; what is not done again is signatures, openings and content of the entries before it.

use crate::edge::WIDTH;
use crate::facts::{Facts, FactsError};
use crate::head::Head;
use crate::read::{ReadError, ReadLog};
use isoledger_core::checkpoint::CheckpointError;
use isoledger_core::merkle::{Frontier, leaf_hash};
use isoledger_core::note::{NoteError, RecordNote, VerifierKey};
use isoledger_core::record::{Body, Chain, ChainError, Record, RecordError};
use isoledger_core::tiles::{self, audit_tiles};
use isoledger_core::{Digest, Hash, Timestamp};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// How to audit.
#[derive(Clone, Copy, Debug, Default)]
pub struct AuditOptions<'k> {
    /// A key that the log must have, known from elsewhere; without it the log's own word is taken. Keys that this one
    /// signed in, one after the other, follow from it. Those before it are believed as far as a checkpoint vouches for
    /// them that is signed by this key or a later one.
    pub key: Option<&'k VerifierKey>,
    /// Whether openings and content are at hand and to be checked.
    pub content: bool,
    /// Whether the entries' own signature lines are not at hand. Whose log it is then rests on the checkpoint alone.
    pub unsigned: bool,
    /// Where an earlier audit ended, and this one goes on.
    pub resume: Option<&'k SavedPoint>,
}

/// Version of a [`SavedPoint`].
pub const POINT: u32 = 1;

/// How far a log was audited, for the next audit to go on from. It is worth what the file it is kept in is worth: whoever
/// can write it can have entries passed over, though not other entries put in their place.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SavedPoint {
    /// [`POINT`].
    pub v: u32,
    /// The log.
    pub origin: String,
    /// Entries that were found good.
    pub size: u64,
    /// Root of their tree.
    pub root: Hash,
    /// Whether each one's own signature was checked.
    pub signatures: bool,
    /// Whether openings and content were at hand and checked.
    pub content: bool,
    /// Entries of which the polls were recomputed from their evidence; at most `size`.
    pub recomputed: u64,
    /// Polls among them that could not be, because their content is archived.
    pub without_content: u64,
}

/// What was found good.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AuditReport {
    /// The checkpoint's size and root, recomputed.
    pub head: Head,
    /// Entries by type.
    pub types: BTreeMap<String, u64>,
    /// Entries of types this program does not know: chained and signed, not understood.
    pub unknown: u64,
    /// Time of the first and of the last entry.
    pub times: (Timestamp, Timestamp),
    /// Commitments that opened to content that is there.
    pub opened: u64,
    /// Commitments whose content was archived.
    pub archived: u64,
    /// Cosigned checkpoints, each true of these entries.
    pub cosigned: u64,
    /// The log's keys, each with the first entry it signs.
    pub keys: Vec<(u64, VerifierKey)>,
    /// Entries that an earlier audit had found good: read, hashed and no more.
    pub resumed: u64,
}

/// What is wrong with the log. The first thing found.
#[derive(Debug, thiserror::Error)]
pub enum AuditError {
    /// Something about one entry.
    #[error("entry {seq}: {fault}")]
    Entry {
        /// The entry.
        seq: u64,
        /// What is wrong.
        fault: EntryFault,
    },
    /// A tile is missing or wrong.
    #[error(transparent)]
    Tiles(#[from] Box<tiles::AuditError<ReadError>>),
    /// The checkpoint is not one of the log's key.
    #[error("the checkpoint: {0}")]
    Checkpoint(#[from] CheckpointError),
    /// The entries lead to another root than the checkpoint's.
    #[error("the entries have root {computed}, the checkpoint of size {size} says {signed}")]
    Root {
        /// Size of the checkpoint.
        size: u64,
        /// Root of the entries.
        computed: Hash,
        /// Root in the checkpoint.
        signed: Hash,
    },
    /// The key known from elsewhere is none of the log's.
    #[error(
        "the log begins with the key {found}, and no entry signs in the key known for it, {wanted}: it is another log, or a forged one"
    )]
    Key {
        /// The key in its first entry.
        found: Box<VerifierKey>,
        /// The key given.
        wanted: Box<VerifierKey>,
    },
    /// What was audited is longer than the log.
    #[error(
        "{saved} entries of this log were audited before, and here are {size}: it is an older copy, or was cut"
    )]
    Older {
        /// Entries there are.
        size: u64,
        /// Entries there were.
        saved: u64,
    },
    /// What was audited is no part of the log.
    #[error(
        "the first {size} entries have root {computed}; when they were audited before it was {saved}: they were changed since, or this is another history of the same log"
    )]
    History {
        /// Entries that were audited.
        size: u64,
        /// Their root now.
        computed: Hash,
        /// Their root then.
        saved: Hash,
    },
    /// The log cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
}

/// What is wrong with an entry.
#[derive(Debug, thiserror::Error)]
pub enum EntryFault {
    /// It is not in the one spelling.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// It may not stand there.
    #[error(transparent)]
    Chain(#[from] ChainError),
    /// It names a key that is none, or there is no genesis.
    #[error(transparent)]
    Facts(#[from] FactsError),
    /// It is not signed by the key in force.
    #[error(transparent)]
    Signature(#[from] NoteError),
    /// Its signature line is not text.
    #[error("its signature line is not text")]
    SignatureText,
    /// It commits to something and the opening is missing, or the reverse.
    #[error("it {}", if *.0 { "commits to content and there is no opening" } else { "has an opening and commits to nothing" })]
    Opening(bool),
    /// The opening is not of this commitment.
    #[error("its commitment is not what its opening gives")]
    Commitment,
    /// What it commits to is not there, or not what it was.
    #[error("what it commits to ({digest}) cannot be had: {cause}")]
    Content {
        /// The content.
        digest: Digest,
        /// Why.
        cause: Box<ReadError>,
    },
    /// Its tile holds another hash.
    #[error("it has the leaf hash {computed}, its tile says {tile}")]
    Leaf {
        /// Hash of its bytes.
        computed: Hash,
        /// Hash in the tile.
        tile: Hash,
    },
}

/// Audits everything under the newest checkpoint.
///
/// # Errors
/// [`AuditError`], naming the entry wherever one is to blame.
pub fn check_log<L: ReadLog>(log: &L, options: AuditOptions<'_>) -> Result<AuditReport, AuditError> {
    check_log_with(log, options, &mut |_, _| {})
}

/// The same; `progress` is told how many entries are done, and of how many.
///
/// # Errors
/// [`AuditError`], naming the entry wherever one is to blame.
pub fn check_log_with<L: ReadLog>(
    log: &L,
    options: AuditOptions<'_>,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<AuditReport, AuditError> {
    let published = log.published()?;
    let head = published.head;
    let mut pass = Pass {
        log,
        options,
        facts: Facts::default(),
        chain: Chain::new(),
        frontier: Frontier::new(),
        waiting: Vec::new(),
        origin_hash: Digest::of(log.origin().as_bytes()),
        report: AuditReport {
            head,
            types: BTreeMap::new(),
            unknown: 0,
            times: (published.time, published.time),
            opened: 0,
            archived: 0,
            cosigned: 0,
            keys: Vec::new(),
            resumed: 0,
        },
    };
    let audited = options.resume.map_or(0, |point| point.size);
    if audited > head.size {
        return Err(AuditError::Older { size: head.size, saved: audited });
    }
    for n in 0..head.size.div_ceil(WIDTH) {
        progress(n * WIDTH, head.size);
        for (seq, entry) in (n * WIDTH..head.size).zip(log.block(n)?) {
            if let Some(point) = options.resume.filter(|point| point.size == seq) {
                pass.go_on(point)?;
            }
            let leaf = leaf_hash(&entry.text);
            pass.frontier.append(leaf);
            let checked = if seq < audited { pass.known(seq, &entry) } else { pass.entry(seq, &entry) };
            checked.map_err(|fault| AuditError::Entry { seq, fault })?;
        }
    }
    if let Some(point) = options.resume.filter(|point| point.size == head.size) {
        pass.go_on(point)?;
    }
    pass.finish(head)?;
    progress(head.size, head.size);
    let known = options.key.map(|wanted| (wanted, pass.facts.keys.iter().position(|(_, key)| key == wanted)));
    let pinned = match (known, pass.facts.keys.first()) {
        (Some((wanted, None)), Some((_, found))) => {
            let (found, wanted) = (Box::new(found.clone()), Box::new(wanted.clone()));
            return Err(AuditError::Key { found, wanted });
        }
        (Some((_, Some(at))), _) => at,
        _ => 0,
    };
    // The tiles once more as any client sees them, against the root that the entries themselves led to.
    let mut wrong = None;
    let mut entries = log.entries(0, head.size);
    let fetch = |path: tiles::TilePath| log.tile(&path);
    audit_tiles(head.size, &head.root, fetch, |index, tile| {
        if wrong.is_some() {
            return;
        }
        match entries.next() {
            Some(Ok((seq, entry))) if seq == index.0 => {
                let computed = leaf_hash(&entry.text);
                if computed != tile {
                    wrong = Some(AuditError::Entry { seq, fault: EntryFault::Leaf { computed, tile } });
                }
            }
            Some(Err(e)) => wrong = Some(e.into()),
            _ => wrong = Some(ReadError::NoEntry { seq: index.0, size: head.size }.into()),
        }
    })
    .map_err(Box::new)?;
    if let Some(e) = wrong {
        return Err(e);
    }
    // The key in force at the last entry; after a rotation that of the next entry has signed the same tree too. Never one
    // from before the key that is known: whoever stole a retired key could write a history that ends in the known one.
    let in_force = |first: &u64| *first <= head.size;
    let last = pass.facts.keys.iter().filter(|(first, _)| in_force(first)).count();
    let at_last = pass.facts.keys.iter().filter(|(first, _)| *first < head.size).count();
    let from = at_last.saturating_sub(1).max(pinned);
    // Without the entries' signatures nobody has seen that the known key signed in those after it.
    let upto = if options.unsigned && options.key.is_some() { last.min(pinned + 1) } else { last };
    let of = pass.facts.keys.get(from..upto).filter(|keys| !keys.is_empty());
    let keys = of.or_else(|| pass.facts.keys.get(pinned..=pinned)).unwrap_or_default();
    let opened = keys.iter().map(|(_, key)| published.checkpoint.open(key)).reduce(|a, b| a.or(b));
    if let Some(opened) = opened {
        opened?;
    }
    pass.report.keys.clone_from(&pass.facts.keys);
    let mut from = 0;
    loop {
        let page = log.cosigned(from, head.size, 256)?;
        let Some(last) = page.last() else { return Ok(pass.report) };
        from = last.unverified().size + 1;
        for checkpoint in &page {
            let (size, signed) = (checkpoint.unverified().size, checkpoint.unverified().root);
            let computed = log.root_at(size)?;
            if computed != signed {
                return Err(AuditError::Root { size, computed, signed });
            }
            pass.report.cosigned += 1;
        }
    }
}

struct Pass<'a, L> {
    log: &'a L,
    options: AuditOptions<'a>,
    facts: Facts,
    chain: Chain,
    frontier: Frontier,
    /// Content that could not be had, until an entry says that it was archived.
    waiting: Vec<(u64, EntryFault)>,
    origin_hash: Digest,
    report: AuditReport,
}

impl<L: ReadLog> Pass<'_, L> {
    // An entry that an earlier audit found good: its hash is in the root that is compared at the point.
    fn known(&mut self, seq: u64, entry: &crate::batch::Stored) -> Result<(), EntryFault> {
        self.facts.absorb(seq, &entry.text)?;
        self.report.resumed += 1;
        if seq == 0 {
            self.report.times.0 = Record::parse(&entry.text)?.time;
        }
        Ok(())
    }

    fn go_on(&mut self, point: &SavedPoint) -> Result<(), AuditError> {
        let computed = self.frontier.root();
        if computed != point.root {
            return Err(AuditError::History { size: point.size, computed, saved: point.root });
        }
        let seq = point.size;
        self.chain = self.facts.chain().map_err(|e| AuditError::Entry { seq, fault: e.into() })?;
        if let Some((_, time)) = self.chain.head() {
            self.report.times.1 = time;
        }
        Ok(())
    }

    fn entry(&mut self, seq: u64, entry: &crate::batch::Stored) -> Result<(), EntryFault> {
        let record = Record::parse(&entry.text)?;
        self.chain.push(&record, &entry.text)?;
        self.facts.absorb(seq, &entry.text)?;
        let text = std::str::from_utf8(&entry.text).map_err(|_| EntryFault::SignatureText)?;
        // The first entry brings its own key; it was absorbed just now.
        let Some(key) = self.facts.key_at(seq) else {
            return Err(FactsError::NoGenesis { found: record.body.kind().to_owned() }.into());
        };
        if !self.options.unsigned {
            let line = std::str::from_utf8(&entry.signature).map_err(|_| EntryFault::SignatureText)?;
            RecordNote::from_parts(text, line)?.verify(key)?;
        }
        *self.report.types.entry(record.body.kind().to_owned()).or_default() += 1;
        if seq == 0 {
            self.report.times.0 = record.time;
        }
        self.report.times.1 = record.time;
        match &record.body {
            Body::Unknown { .. } => self.report.unknown += 1,
            Body::ContentArchived { upto, .. } => {
                let before = self.waiting.len();
                self.waiting.retain(|(seq, _)| seq >= upto);
                self.report.archived += (before - self.waiting.len()) as u64;
            }
            _ => {}
        }
        if self.options.content {
            self.content(seq, &record.body, entry)?;
        }
        Ok(())
    }

    fn content(&mut self, seq: u64, body: &Body, entry: &crate::batch::Stored) -> Result<(), EntryFault> {
        let (commitment, opening) = match (body.commitment(), &entry.opening) {
            (Some(commitment), Some(opening)) => (commitment, opening),
            (None, None) => return Ok(()),
            (commitment, _) => return Err(EntryFault::Opening(commitment.is_some())),
        };
        if opening.commit(&self.origin_hash, seq) != commitment {
            return Err(EntryFault::Commitment);
        }
        match self.log.content(&opening.digest) {
            Ok(_) => self.report.opened += 1,
            Err(cause) => {
                let fault = EntryFault::Content { digest: opening.digest, cause: Box::new(cause) };
                self.waiting.push((seq, fault));
            }
        }
        Ok(())
    }

    fn finish(&mut self, head: Head) -> Result<(), AuditError> {
        let computed = self.frontier.root();
        if self.frontier.size() != head.size || computed != head.root {
            return Err(AuditError::Root { size: head.size, computed, signed: head.root });
        }
        match std::mem::take(&mut self.waiting).into_iter().next() {
            Some((seq, fault)) => Err(AuditError::Entry { seq, fault }),
            None => Ok(()),
        }
    }
}
