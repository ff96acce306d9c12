//! The whole log recomputed, by the functions a verifier has and no others.
//!
//! What is checked of every entry: it reads in its one spelling; it stands where it may (`prev`, `seq`, times, polls);
//! its signature, strictly, by the key in force; its leaf hash against its tile, its tile against the tiles above and
//! these against the root of the checkpoint, which the log's key signed; and with openings at hand, that its
//! commitment opens to content that is there.

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
use std::collections::BTreeMap;

/// How to audit.
#[derive(Clone, Copy, Debug, Default)]
pub struct AuditOptions<'k> {
    /// The key the log must have begun with, known from elsewhere. Without it the log's own word is taken.
    pub key: Option<&'k VerifierKey>,
    /// Whether openings and content are at hand and to be checked.
    pub content: bool,
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
    /// The log begins with another key than the one known from elsewhere.
    #[error(
        "the log begins with the key {found}; the key known for it is {wanted}: it is another log, or a forged one"
    )]
    Key {
        /// The key in its first entry.
        found: Box<VerifierKey>,
        /// The key given.
        wanted: Box<VerifierKey>,
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
        },
    };
    for n in 0..head.size.div_ceil(WIDTH) {
        for (seq, entry) in (n * WIDTH..head.size).zip(log.block(n)?) {
            let leaf = leaf_hash(&entry.text);
            pass.frontier.append(leaf);
            pass.entry(seq, &entry).map_err(|fault| AuditError::Entry { seq, fault })?;
            if let (0, Some(wanted), Some((_, found))) = (seq, options.key, pass.facts.keys.first())
                && found != wanted
            {
                let (found, wanted) = (Box::new(found.clone()), Box::new(wanted.clone()));
                return Err(AuditError::Key { found, wanted });
            }
        }
    }
    pass.finish(head)?;
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
    // After a rotation the key of the next entry may have signed the same tree again.
    let keys = [head.size.saturating_sub(1), head.size].map(|seq| pass.facts.key_at(seq).cloned());
    let opened = keys.iter().flatten().map(|key| published.checkpoint.open(key)).reduce(|a, b| a.or(b));
    if let Some(opened) = opened {
        opened?;
    }
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
    fn entry(&mut self, seq: u64, entry: &crate::batch::Stored) -> Result<(), EntryFault> {
        let record = Record::parse(&entry.text)?;
        self.chain.push(&record, &entry.text)?;
        self.facts.absorb(seq, &entry.text)?;
        let text = std::str::from_utf8(&entry.text).map_err(|_| EntryFault::SignatureText)?;
        let line = std::str::from_utf8(&entry.signature).map_err(|_| EntryFault::SignatureText)?;
        let note = RecordNote::from_parts(text, line)?;
        // The first entry brings its own key; it was absorbed just now.
        match self.facts.key_at(seq) {
            Some(key) => note.verify(key)?,
            None => return Err(FactsError::NoGenesis { found: record.body.kind().to_owned() }.into()),
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
