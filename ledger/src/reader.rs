//! A log read from its journal alone: beside the running service, from a copy, or when the index fails.
//!
//! Opening reads the whole journal once, checks every frame, and recomputes the root. What it keeps is small: for
//! each block of 256 entries where it lies and its tile's root, and eight bytes of each content digest. Entries and
//! content are read again, and checked again, when asked for.

use crate::batch::{Packed, Stored};
use crate::disk::{Disk, RealDisk};
use crate::edge::{WIDTH, full_tiles, is_cosigned};
use crate::facts::Facts;
use crate::head::Head;
use crate::highwater::{HighWater, Mark};
use crate::journal::{Cursor, JournalError, Next, Position, ReadBatch, segment_path};
use crate::layout;
use crate::read::{Published, ReadError, ReadLog};
use isoledger_core::checkpoint::SignedCheckpoint;
use isoledger_core::merkle::leaf_hash;
use isoledger_core::note::VerifierKey;
use isoledger_core::record::{Body, Record};
use isoledger_core::tiles::{TileBuilder, TileKind};
use isoledger_core::{Digest, Hash, Timestamp};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

/// A batch of more bytes than this is not kept for the next question.
const KEPT_BYTES: usize = 4 << 20;

/// The log in a data directory, read from its journal.
pub struct LogReader {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    cursor: Cursor,
    facts: Facts,
    tiles: TileBuilder,
    /// For each tile level above 0, the hashes of its full tiles below the right edge.
    upper: Vec<Vec<Hash>>,
    /// For each block, the batch that holds its first entry.
    blocks: Vec<Block>,
    /// First eight bytes of each digest, and the batch it came with. Sorted up to `sorted`.
    contents: Vec<(u64, Position)>,
    sorted: usize,
    /// Checkpoints by size; the newest note for that size.
    cosigned: BTreeMap<u64, Position>,
    archived: Option<Vec<u8>>,
    // The published note as it was before the journal was read. The file may be ahead of that by now.
    seen: Option<Vec<u8>>,
    head: Head,
    time: Timestamp,
    /// The block read last: tiles, signatures and entries of one are mostly asked for in a row.
    recent: Mutex<Option<(u64, Vec<Arc<Stored>>)>>,
    /// The batch in which content was found last, when it is not large: content is mostly asked for in order.
    opened: Mutex<Option<Arc<ReadBatch>>>,
}

#[derive(Clone, Copy)]
struct Block {
    at: Position,
    /// When the last poll up to the end of the block ended, and its `seq`.
    polled: Option<(Timestamp, u64)>,
}

impl LogReader {
    /// Opens the log in the data directory `dir`, beside whoever writes it.
    ///
    /// # Errors
    /// [`ReadError`]; damage names the file, the byte and the entry. A batch that is being written, or was torn and
    /// never acknowledged, is not an error and not there.
    pub fn open(dir: &Path) -> Result<LogReader, ReadError> {
        LogReader::open_on(RealDisk::shared(), dir)
    }

    /// The same on another disk.
    pub fn open_on(disk: Arc<dyn Disk>, dir: &Path) -> Result<LogReader, ReadError> {
        let cursor = Cursor::begin(&disk, &layout::journal(dir));
        let mut reader = LogReader {
            disk,
            dir: dir.to_owned(),
            cursor,
            facts: Facts::default(),
            tiles: TileBuilder::new(),
            upper: Vec::new(),
            blocks: Vec::new(),
            contents: Vec::new(),
            sorted: 0,
            cosigned: BTreeMap::new(),
            archived: None,
            seen: None,
            head: Head::EMPTY,
            time: Timestamp::default(),
            recent: Mutex::new(None),
            opened: Mutex::new(None),
        };
        reader.refresh()?;
        if reader.head.size == 0 {
            return Err(ReadError::NoLog { path: dir.to_owned() });
        }
        Ok(reader)
    }

    /// Reads on to the newest batch that is whole. After an error the reader must not be used again.
    pub fn refresh(&mut self) -> Result<(), ReadError> {
        // Before the journal, which has every entry that a note speaks of before that is published.
        self.seen = self.note().or(self.seen.take());
        // Then the mark: the journal is always ahead of it, so a journal that then ends before it has lost bytes.
        let mark = HighWater::read(&self.disk, &layout::high_water(&self.dir))?;
        loop {
            if self.cursor.position().frame == mark.frames {
                self.check_mark(mark)?;
            }
            match self.cursor.next_batch()? {
                Next::Batch(batch) if batch.start.frame < mark.frames && mark.frames < batch.end.frame => {
                    // The mark is always set at the end of a batch: it is not this journal's.
                    self.check_mark(mark)?;
                    return Err(ReadError::NoLog { path: self.dir.clone() });
                }
                Next::Batch(batch) => self.absorb(*batch)?,
                Next::End(tail) if tail.end.frame >= mark.frames => break,
                Next::End(tail) => return Err(lost(&self.dir, tail, mark).into()),
            }
        }
        let root = self.tiles.frontier().root();
        if root != self.head.root {
            return Err(ReadError::Inconsistent {
                path: layout::journal(&self.dir),
                size: self.head.size,
                found: root,
                vouched: self.head.root,
            });
        }
        if self.sorted < self.contents.len() {
            self.contents.sort_unstable_by_key(|(prefix, at)| (*prefix, at.frame));
            self.sorted = self.contents.len();
        }
        Ok(())
    }

    /// The published note. The writer may be at the file just now, so it counts once it is read twice alike.
    fn note(&self) -> Option<Vec<u8>> {
        let path = layout::checkpoint(&self.dir);
        let look = || layout::read_small(&self.disk, &path, crate::batch::MAX_NOTE).ok();
        let mut last = look();
        for _ in 0..3 {
            let again = look();
            if again == last {
                return again;
            }
            last = again;
        }
        last
    }

    fn check_mark(&self, mark: Mark) -> Result<(), ReadError> {
        let found = self.tiles.frontier().root();
        if self.tiles.size() != mark.head.size || found != mark.head.root {
            return Err(ReadError::Inconsistent {
                path: layout::journal(&self.dir),
                size: mark.head.size,
                found,
                vouched: mark.head.root,
            });
        }
        Ok(())
    }

    fn absorb(&mut self, read: ReadBatch) -> Result<(), ReadError> {
        let last = read.batch.entries.last().map(|(_, e)| e.clone());
        for (contents, entry) in &read.batch.entries {
            let seq = self.tiles.size();
            if seq.is_multiple_of(WIDTH) {
                let polled = self.blocks.last().and_then(|b| b.polled);
                self.blocks.push(Block { at: read.start, polled });
            }
            self.facts.absorb(seq, &entry.text)?;
            if let Ok(Record { body: Body::Poll(p), .. }) = Record::parse(&entry.text)
                && let Some(block) = self.blocks.last_mut()
            {
                block.polled = Some((p.ended, seq));
            }
            self.contents.extend(contents.iter().map(|c| (prefix(&c.digest), read.start)));
            let upper = &mut self.upper;
            self.tiles.push(leaf_hash(&entry.text), |path, hashes| {
                // Level 0 is recomputed from the entries when it is asked for.
                if let TileKind::Hashes(level @ 1..) = path.kind() {
                    let level = usize::from(level) - 1;
                    if upper.len() <= level {
                        upper.resize(level + 1, Vec::new());
                    }
                    upper[level].extend_from_slice(hashes);
                }
            });
        }
        for (size, note) in &read.batch.checkpoints {
            if is_cosigned(note) {
                self.cosigned.insert(*size, read.start);
            }
            self.archived = Some(note.clone());
        }
        self.head = read.head;
        if let Some(entry) = last {
            let seq = self.head.size - 1;
            let record = Record::parse(&entry.text).map_err(|cause| ReadError::Record { seq, cause })?;
            self.time = record.time;
        }
        Ok(())
    }

    /// The tree of all whole batches, which may be ahead of the newest checkpoint.
    pub fn head(&self) -> Head {
        self.head
    }

    /// The audited domain.
    pub fn domain(&self) -> &str {
        &self.facts.domain
    }

    /// Every batch from the first, with its content, as it was committed. For replay in order.
    pub fn batches(&self) -> impl Iterator<Item = Result<ReadBatch, JournalError>> + use<> {
        let mut cursor = Cursor::begin(&self.disk, &layout::journal(&self.dir));
        let end = self.cursor.position().frame;
        std::iter::from_fn(move || {
            if cursor.position().frame >= end {
                return None;
            }
            match cursor.next_batch() {
                Ok(Next::Batch(batch)) => Some(Ok(*batch)),
                Ok(Next::End(tail)) => {
                    // It was there when this reader was opened.
                    let path = segment_path(&layout::journal(Path::new("")), tail.end.segment);
                    Some(Err(JournalError::Truncated {
                        path,
                        size: tail.end.seq,
                        frame: tail.end.frame,
                        acknowledged: tail.end.seq + 1,
                        frames: end,
                    }))
                }
                Err(e) => Some(Err(e)),
            }
        })
    }

    fn batch_at(&self, at: Position) -> Result<(ReadBatch, Cursor), ReadError> {
        let mut cursor = Cursor::resume(&self.disk, &layout::journal(&self.dir), at);
        match cursor.next_batch()? {
            Next::Batch(batch) => Ok((*batch, cursor)),
            Next::End(tail) => Err(JournalError::Truncated {
                path: layout::journal(&self.dir),
                size: tail.end.seq,
                frame: tail.end.frame,
                acknowledged: self.head.size,
                frames: self.cursor.position().frame,
            }
            .into()),
        }
    }

    fn read_block(&self, n: u64) -> Result<Vec<Arc<Stored>>, ReadError> {
        let size = self.tiles.size();
        let none = ReadError::NoEntry { seq: n.saturating_mul(WIDTH), size };
        let Some(block) = usize::try_from(n).ok().and_then(|n| self.blocks.get(n)) else { return Err(none) };
        let (first, end) = (n * WIDTH, size.min((n + 1) * WIDTH));
        let (mut read, mut cursor) = self.batch_at(block.at)?;
        let mut out = Vec::new();
        loop {
            let seqs = read.start.seq..;
            let wanted = seqs.zip(read.batch.entries).filter(|(seq, _)| (first..end).contains(seq));
            out.extend(wanted.map(|(_, (_, entry))| entry));
            if out.len() as u64 >= end - first {
                return Ok(out);
            }
            read = match cursor.next_batch()? {
                Next::Batch(batch) => *batch,
                Next::End(_) => return Err(none),
            };
        }
    }

    fn packed(&self, digest: &Digest) -> Result<Option<Packed>, ReadError> {
        let wanted = prefix(digest);
        let from = self.contents.partition_point(|(p, _)| *p < wanted);
        for (_, at) in self.contents[from..].iter().take_while(|(p, _)| *p == wanted) {
            let mut opened = self.opened.lock().unwrap_or_else(PoisonError::into_inner);
            let read = match opened.take() {
                Some(read) if read.start == *at => read,
                _ => Arc::new(self.batch_at(*at)?.0),
            };
            let mut all = read.batch.entries.iter().flat_map(|(contents, _)| contents);
            let found = all.find(|c| c.digest == *digest).cloned();
            *opened = Some(read).filter(|read| read.batch.bytes() <= KEPT_BYTES);
            if found.is_some() {
                return Ok(found);
            }
        }
        Ok(None)
    }

    /// A note as a checkpoint of this log: signed by its key, and true of the entries read.
    fn believed(&self, note: &[u8]) -> Option<SignedCheckpoint> {
        let signed = SignedCheckpoint::parse(note).ok()?;
        let size = signed.unverified().size;
        if size == 0 || size > self.head.size {
            return None;
        }
        // The key in force at the last entry it covers; after a rotation the next key may have signed it again.
        let at = |seq| self.facts.key_at(seq).and_then(|key| signed.open(key).ok());
        let opened = at(size - 1).or_else(|| at(size))?;
        (self.root_of_first(size).ok()? == *opened.root()).then_some(signed)
    }

    fn root_of_first(&self, size: u64) -> Result<Hash, ReadError> {
        crate::read::root_of_first(self, size, self.head)
    }
}

fn prefix(digest: &Digest) -> u64 {
    let mut first = [0; 8];
    first.copy_from_slice(&digest.0[..8]);
    u64::from_be_bytes(first)
}

/// The error for a journal that ends before the acknowledged end.
pub(crate) fn lost(dir: &Path, tail: crate::journal::Tail, mark: Mark) -> JournalError {
    let dir = layout::journal(dir);
    match tail.torn {
        Some((offset, seq, fault)) => {
            JournalError::Damaged { path: segment_path(&dir, tail.end.segment), offset, seq, fault }
        }
        None => JournalError::Truncated {
            path: dir,
            size: tail.end.seq,
            frame: tail.end.frame,
            acknowledged: mark.head.size,
            frames: mark.frames,
        },
    }
}

impl ReadLog for LogReader {
    fn origin(&self) -> &str {
        &self.facts.origin
    }

    fn keys(&self) -> Vec<(u64, VerifierKey)> {
        self.facts.keys.clone()
    }

    /// The newest of the published file and the archived notes that this log's key signed over these very entries.
    fn published(&self) -> Result<Published, ReadError> {
        // The writer may be at the file just now, and a mixture of two notes is signed by nobody: look again.
        let path = layout::checkpoint(&self.dir);
        let look = || layout::read_small(&self.disk, &path, crate::batch::MAX_NOTE).ok();
        let file = (0..3).find_map(|_| look().and_then(|note| self.believed(&note)));
        let archived = self.archived.as_ref().and_then(|note| self.believed(note));
        let seen = self.seen.as_ref().and_then(|note| self.believed(note));
        // Of one size, the one that the key in force has signed, which at a rotation only the later one has; then the one
        // that more have signed.
        let weight = |c: &SignedCheckpoint| {
            let size = c.unverified().size;
            let in_force = self.facts.key_at(size).is_some_and(|key| c.open(key).is_ok());
            (size, in_force, c.as_bytes().iter().filter(|b| **b == b'\n').count())
        };
        let newest = [archived, file].into_iter().flatten();
        let Some(checkpoint) = newest.max_by_key(weight).or(seen) else {
            return Err(ReadError::NoCheckpoint { path: self.dir.clone() });
        };
        let head = Head { size: checkpoint.unverified().size, root: checkpoint.unverified().root };
        let time = match head.size == self.head.size {
            true => self.time,
            false => {
                let seq = head.size - 1;
                let text = self.read_block(seq / WIDTH)?.into_iter().nth((seq % WIDTH) as usize);
                let text = text.map(|e| e.text.clone()).unwrap_or_default();
                Record::parse(&text).map_err(|cause| ReadError::Record { seq, cause })?.time
            }
        };
        Ok(Published { head, time, checkpoint })
    }

    fn size(&self) -> Result<u64, ReadError> {
        Ok(self.head.size)
    }

    fn root(&self) -> Result<Hash, ReadError> {
        Ok(self.head.root)
    }

    fn block(&self, n: u64) -> Result<Vec<Arc<Stored>>, ReadError> {
        let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, block)) = recent.as_ref().filter(|(m, b)| *m == n && b.len() as u64 == WIDTH) {
            return Ok(block.clone());
        }
        // Frames are checked on the way; the leaves once more against the tree computed when they were first read.
        let block = self.read_block(n)?;
        let leaves: Vec<Hash> = block.iter().map(|e| leaf_hash(&e.text)).collect();
        let same = match n < full_tiles(self.tiles.size(), 0) {
            true => {
                self.tile_hashes(1, n / WIDTH)?.get((n % WIDTH) as usize)
                    == Some(&isoledger_core::tiles::tile_root(&leaves))
            }
            false => self.partial(0, n) == Some(leaves.as_slice()),
        };
        match same {
            true => {
                *recent = Some((n, block.clone()));
                Ok(block)
            }
            false => Err(ReadError::Changed { first: n * WIDTH, last: n * WIDTH + block.len() as u64 - 1 }),
        }
    }

    fn tile_hashes(&self, level: u8, n: u64) -> Result<Vec<Hash>, ReadError> {
        let size = self.tiles.size();
        let none = || ReadError::NoTile { path: format!("tile {n} at level {level}"), size };
        if let Some(partial) = self.partial(level, n) {
            return Ok(partial.to_vec());
        }
        if n >= full_tiles(size, level) {
            return Err(none());
        }
        match level.checked_sub(1) {
            None => Ok(self.block(n)?.iter().map(|e| leaf_hash(&e.text)).collect()),
            Some(upper) => {
                let from = (n * WIDTH) as usize;
                let tile =
                    self.upper.get(usize::from(upper)).and_then(|l| l.get(from..from + WIDTH as usize));
                tile.map(<[Hash]>::to_vec).ok_or_else(none)
            }
        }
    }

    fn content(&self, digest: &Digest) -> Result<Vec<u8>, ReadError> {
        let packed = self.packed(digest)?.ok_or(ReadError::NoContent { digest: *digest })?;
        Ok(packed.unpack()?)
    }

    fn seq_at_time(&self, time: Timestamp) -> Result<Option<u64>, ReadError> {
        // Polls follow each other, so their ends never run backwards: the last block before which one had ended by
        // then holds the answer, or the state before it is the answer.
        let n = self.blocks.partition_point(|b| b.polled.is_none_or(|(ended, _)| ended <= time));
        let before = n.checked_sub(1).and_then(|n| self.blocks.get(n)).and_then(|b| b.polled);
        if n == self.blocks.len() {
            return Ok(before.map(|(_, seq)| seq));
        }
        let mut found = before.map(|(_, seq)| seq);
        for (seq, entry) in (n as u64 * WIDTH..).zip(self.block(n as u64)?) {
            if let Ok(Record { body: Body::Poll(p), .. }) = Record::parse(&entry.text)
                && p.ended <= time
            {
                found = Some(seq);
            }
        }
        Ok(found)
    }

    fn cosigned(&self, from: u64, to: u64, max: usize) -> Result<Vec<SignedCheckpoint>, ReadError> {
        let mut out = Vec::new();
        for (size, at) in self.cosigned.range(from..=to.max(from)).take(max) {
            let (read, _) = self.batch_at(*at)?;
            let notes = read.batch.checkpoints.iter().rev();
            let note =
                notes.filter(|(s, note)| s == size && is_cosigned(note)).find_map(|(_, n)| self.believed(n));
            out.push(note.ok_or(ReadError::NoCheckpoint { path: self.dir.clone() })?);
        }
        Ok(out)
    }

    fn cosigned_sizes(&self, from: u64, to: u64) -> Result<Vec<u64>, ReadError> {
        Ok(self.cosigned.range(from..=to.max(from)).map(|(size, _)| *size).collect())
    }
}

impl LogReader {
    fn partial(&self, level: u8, n: u64) -> Option<&[Hash]> {
        let mut partial = self.tiles.partial();
        partial.find(|(p, _)| p.kind() == TileKind::Hashes(level) && p.index() == n).map(|(_, hashes)| hashes)
    }
}
