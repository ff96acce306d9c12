//! The journal: the truth of a log, as append-only segment files of chained frames (docs/formats/journal.md).
//!
//! ```text
//! journal/00000000000000000000.seg   named by the number of its first frame
//! journal/00000000000000041922.seg   begins with the chain value at which the one before ends
//!
//! segment = header frame*
//! header  = "isojrnl1" | codec: u8 = 0 | 0: 7 | first frame: u64 | first seq: u64 | chain before: 32 | BLAKE3 of that: 32
//! ```
//! [`Journal`] writes and [`Cursor`] reads; recovery, replay, audit and readers in other processes all read through
//! the same cursor. A cursor never decides what a broken end means: [`Journal::open`] does, with the high-water
//! mark in hand, and it has three answers only: whole, a tail that nobody was told of, or a refusal to start.

use crate::batch::{Batch, Builder, Disorder};
use crate::disk::{Disk, DiskFile};
use crate::frame::{self, Chain, Fault, HEADER, Header};
use crate::head::Head;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A new segment is begun when the last has grown to this many bytes.
pub const SEGMENT_BYTES: u64 = 64 << 20;
/// Length of a segment's header.
pub const SEGMENT_HEADER: usize = 96;
const MAGIC: [u8; 8] = *b"isojrnl1";
const SUFFIX: &str = ".seg";
/// Ending of a segment that is being made; it has no frames yet and may be removed.
const UNFINISHED: &str = ".new";

/// A place between two batches, and all that is needed to go on reading or writing there.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Position {
    /// Name of the segment: the number of its first frame.
    pub segment: u64,
    /// Bytes into it.
    pub offset: u64,
    /// Frames before this place, over all segments.
    pub frame: u64,
    /// Entries before this place.
    pub seq: u64,
    /// Chain value of the frame before.
    pub chain: Chain,
}

/// Why the journal cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// The operating system refused.
    #[error("cannot {doing} {path}: {source}")]
    Io {
        /// What was being done.
        doing: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// Its reason.
        source: io::Error,
    },
    /// Bytes that were whole once are not any more.
    #[error(
        "{path} is damaged at byte {offset}, in entry {seq}: {fault}. Nothing was changed. Restore this file from a backup or a mirror; entries before {seq} are intact"
    )]
    Damaged {
        /// The segment.
        path: PathBuf,
        /// Where the frame begins.
        offset: u64,
        /// The entry the frame belongs to, or the next one.
        seq: u64,
        /// What is wrong with it.
        fault: Fault,
    },
    /// Sound frames in an order that no writer produces.
    #[error(
        "{path} is not a journal of this program at byte {offset}, in entry {seq}: {disorder}. Nothing was changed. Report this with the file"
    )]
    Disorder {
        /// The segment.
        path: PathBuf,
        /// Where the frame begins.
        offset: u64,
        /// The entry the frame belongs to, or the next one.
        seq: u64,
        /// What is wrong.
        disorder: Disorder,
    },
    /// A segment's header is not what must follow the segment before.
    #[error(
        "{path} does not continue the journal at frame {frame}, entry {seq}: {found}. Nothing was changed. A segment is missing, damaged, or from another copy; restore the journal directory"
    )]
    Segment {
        /// The segment.
        path: PathBuf,
        /// Frames before it.
        frame: u64,
        /// Entries before it.
        seq: u64,
        /// What is wrong.
        found: &'static str,
    },
    /// The journal ends before what was acknowledged.
    #[error(
        "{path} ends at entry {size}, frame {frame}, but {acknowledged} entries, {frames} frames, were acknowledged: part of the journal is missing. Nothing was changed. Restore the journal directory from a backup or a mirror"
    )]
    Truncated {
        /// The journal directory.
        path: PathBuf,
        /// Entries there are.
        size: u64,
        /// Frames there are.
        frame: u64,
        /// Entries the high-water mark vouches for.
        acknowledged: u64,
        /// Frames the high-water mark vouches for.
        frames: u64,
    },
    /// More lies behind the damage than one torn batch explains.
    #[error(
        "{path} is damaged at byte {offset}, after entry {seq}, and {commits} whole batches follow: this is no torn write. Nothing was changed. Restore this file, and the high-water file that belongs to it"
    )]
    DamagedAhead {
        /// The segment.
        path: PathBuf,
        /// Where the damage begins.
        offset: u64,
        /// Entries before it.
        seq: u64,
        /// Whole batches found behind.
        commits: usize,
    },
}

/// One committed batch, read.
#[derive(Debug)]
pub struct ReadBatch {
    /// Where it begins.
    pub start: Position,
    /// Where it ends.
    pub end: Position,
    /// What it adds.
    pub batch: Batch,
    /// The tree after it, as its commit says. Not recomputed here.
    pub head: Head,
}

/// What a cursor found.
#[derive(Debug)]
pub enum Next {
    /// Another whole batch.
    Batch(Box<ReadBatch>),
    /// No other whole batch; reading may be tried again later.
    End(Tail),
}

/// What lies behind the last whole batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tail {
    /// End of the last whole batch.
    pub end: Position,
    /// Bytes behind it in the last segment.
    pub bytes: u64,
    /// Offset of the frame that could not be read, the entry it belongs to, and why; `None` when there is nothing.
    pub torn: Option<(u64, u64, Fault)>,
}

/// Reads batches one after the other. Holds one segment open; memory is bounded by the largest batch.
pub struct Cursor {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    at: Position,
    file: Option<Window>,
}

/// A file with a read-ahead buffer.
struct Window {
    path: PathBuf,
    file: Box<dyn DiskFile>,
    /// Offset in the file of the first byte in the buffer.
    start: u64,
    /// The buffer, of which `filled` bytes are the file's.
    buffer: Vec<u8>,
    filled: usize,
}

impl Window {
    fn new(path: PathBuf, file: Box<dyn DiskFile>) -> Window {
        Window { path, file, start: 0, buffer: Vec::new(), filled: 0 }
    }

    /// Up to `n` bytes from `offset`; fewer only at the end of the file.
    fn get(&mut self, offset: u64, n: usize) -> Result<&[u8], JournalError> {
        const AHEAD: usize = 256 << 10;
        let have = (offset >= self.start)
            .then(|| (offset - self.start) as usize)
            .filter(|skip| skip.checked_add(n).is_some_and(|end| end <= self.filled));
        let skip = match have {
            Some(skip) => skip,
            None => {
                if self.buffer.len() < n.max(AHEAD) {
                    self.buffer = vec![0; n.max(AHEAD)];
                }
                (self.start, self.filled) = (offset, 0);
                let read = self.file.read_at(&mut self.buffer, offset);
                self.filled = read.map_err(|source| JournalError::Io {
                    doing: "read",
                    path: self.path.clone(),
                    source,
                })?;
                0
            }
        };
        Ok(&self.buffer[skip..self.filled.min(skip + n)])
    }

    fn forget(&mut self) {
        self.filled = 0;
    }
}

/// Path of the segment that begins with this frame.
pub fn segment_path(dir: &Path, first_frame: u64) -> PathBuf {
    dir.join(format!("{first_frame:020}{SUFFIX}"))
}

/// The segments in `dir` by first frame, ascending.
pub fn segments(disk: &Arc<dyn Disk>, dir: &Path) -> Result<Vec<u64>, JournalError> {
    let names =
        disk.list(dir).map_err(|source| JournalError::Io { doing: "list", path: dir.to_owned(), source })?;
    let number = |name: &String| {
        let digits = name.strip_suffix(SUFFIX)?;
        (digits.len() == 20 && digits.bytes().all(|b| b.is_ascii_digit())).then(|| digits.parse().ok())?
    };
    Ok(names.iter().filter_map(number).collect())
}

impl Cursor {
    /// At the beginning of the journal in `dir`.
    pub fn begin(disk: &Arc<dyn Disk>, dir: &Path) -> Cursor {
        let at = Position { segment: 0, offset: 0, frame: 0, seq: 0, chain: Chain([0; 32]) };
        Cursor::resume(disk, dir, at)
    }

    /// At a position that a cursor on the same journal gave.
    pub fn resume(disk: &Arc<dyn Disk>, dir: &Path, at: Position) -> Cursor {
        Cursor { disk: disk.clone(), dir: dir.to_owned(), at, file: None }
    }

    /// Where the next batch begins.
    pub fn position(&self) -> Position {
        self.at
    }

    /// The next whole batch.
    pub fn next_batch(&mut self) -> Result<Next, JournalError> {
        loop {
            if self.file.is_none() && !self.open_segment()? {
                // Not even the first segment is there.
                return Ok(Next::End(Tail { end: self.at, bytes: 0, torn: None }));
            }
            if self.at.offset == 0 {
                self.read_segment_header()?;
            }
            if let Some(batch) = self.read_batch()? {
                return Ok(Next::Batch(Box::new(batch)));
            }
            // A segment is begun only behind a whole batch, and named by the frame it begins with. So once a next
            // one is listed this one is final, and what a live writer did between our two looks is read now.
            let next = segments(&self.disk, &self.dir)?.into_iter().find(|s| *s > self.at.segment);
            let Some(next) = next else { return Ok(Next::End(self.tail()?)) };
            self.window().forget();
            if let Some(batch) = self.read_batch()? {
                return Ok(Next::Batch(Box::new(batch)));
            }
            if let Some((offset, seq, fault)) = self.tail()?.torn {
                let path = segment_path(&self.dir, self.at.segment);
                return Err(JournalError::Damaged { path, offset, seq, fault });
            }
            if next != self.at.frame {
                return Err(JournalError::Segment {
                    path: segment_path(&self.dir, next),
                    frame: self.at.frame,
                    seq: self.at.seq,
                    found: "it is named after another frame",
                });
            }
            self.at = Position { segment: next, offset: 0, ..self.at };
            self.file = None;
        }
    }

    fn window(&mut self) -> &mut Window {
        self.file.as_mut().expect("next_batch opens the segment before it reads from it")
    }

    fn open_segment(&mut self) -> Result<bool, JournalError> {
        let path = segment_path(&self.dir, self.at.segment);
        match self.disk.open_read(&path) {
            Ok(file) => {
                self.file = Some(Window::new(path, file));
                Ok(true)
            }
            Err(e) if e.kind() == io::ErrorKind::NotFound => match segments(&self.disk, &self.dir) {
                Ok(all) if all.iter().any(|s| *s > self.at.segment) => Err(JournalError::Segment {
                    path,
                    frame: self.at.frame,
                    seq: self.at.seq,
                    found: "it is missing",
                }),
                _ => Ok(false),
            },
            Err(source) => Err(JournalError::Io { doing: "open", path, source }),
        }
    }

    fn read_segment_header(&mut self) -> Result<(), JournalError> {
        let at = self.at;
        let window = self.window();
        let path = window.path.clone();
        let header = window.get(0, SEGMENT_HEADER)?;
        let wrong = |found| JournalError::Segment { path, frame: at.frame, seq: at.seq, found };
        let (Some(body), Some(sum)) = (header.get(..64), header.get(64..SEGMENT_HEADER)) else {
            return Err(wrong("its header is cut off"));
        };
        if body[..8] != MAGIC {
            return Err(wrong("it is no segment of version 1"));
        }
        let sum = Chain(sum.try_into().expect("the slice above has 32 bytes"));
        if sum != header_chain(body) {
            return Err(wrong("its header is damaged"));
        }
        if body[8..16] != [0; 8] {
            return Err(wrong("its codec is unknown: a newer isoledger wrote it"));
        }
        if body != &segment_header(at)[..64] {
            return Err(wrong("it follows another frame, entry or chain"));
        }
        self.at = Position { offset: SEGMENT_HEADER as u64, chain: sum, ..at };
        Ok(())
    }

    /// One batch from the current segment, or `None` at its end or at a fault; moves only when it returns a batch.
    fn read_batch(&mut self) -> Result<Option<ReadBatch>, JournalError> {
        let start = self.at;
        match self.walk()? {
            Walk::Batch(batch, head, end) => {
                self.at = end;
                Ok(Some(ReadBatch { start, end, batch, head }))
            }
            Walk::End | Walk::Fault(..) => Ok(None),
        }
    }

    fn tail(&mut self) -> Result<Tail, JournalError> {
        self.window().forget();
        let end = self.at;
        let torn = match self.walk()? {
            Walk::Fault(offset, seq, fault) => Some((offset, seq, fault)),
            Walk::End => None,
            // A live writer finished it between the two looks; the caller's next call reads it.
            Walk::Batch(..) => Some((end.offset, end.seq, Fault::Short { have: 0, need: 0 })),
        };
        let window = self.window();
        let size = window.file.size();
        let size =
            size.map_err(|source| JournalError::Io { doing: "measure", path: window.path.clone(), source })?;
        window.forget();
        Ok(Tail { end, bytes: size.saturating_sub(end.offset), torn })
    }

    fn walk(&mut self) -> Result<Walk, JournalError> {
        let start = self.at;
        let mut at = start;
        let mut builder = Builder::new(at.seq);
        let window = self.window();
        loop {
            let begin = at.offset;
            let fault = |builder: &Builder, f| Ok(Walk::Fault(begin, builder.seq(), f));
            let head = window.get(begin, HEADER)?;
            if head.is_empty() && at.frame == start.frame {
                return Ok(Walk::End);
            }
            let header = match Header::parse(head) {
                Ok(h) => h,
                Err(f) => return fault(&builder, f),
            };
            let bytes = window.get(begin, header.frame_len())?;
            let (_, payload, chain) = match frame::open(&at.chain, bytes) {
                Ok(f) => f,
                Err(f) => return fault(&builder, f),
            };
            at = Position { offset: begin + header.frame_len() as u64, frame: at.frame + 1, chain, ..at };
            match builder.push(header.kind, payload) {
                Ok(None) => {}
                Ok(Some((batch, head))) => {
                    at.seq = head.size;
                    return Ok(Walk::Batch(batch, head, at));
                }
                Err(disorder) => {
                    let (path, seq) = (window.path.clone(), builder.seq());
                    return Err(JournalError::Disorder { path, offset: begin, seq, disorder });
                }
            }
        }
    }

    /// Counts the whole batches that can be found behind a fault at `from` in the current segment: frames are
    /// self-checking against the 32 bytes before them, so a commit can be recognised anywhere.
    fn commits_behind(&mut self, from: u64) -> Result<usize, JournalError> {
        let window = self.window();
        let mut commits = 0;
        let mut at = from + 1;
        loop {
            const STEP: usize = 64 << 10;
            let (found, read) = {
                let bytes = window.get(at, STEP)?;
                (bytes.windows(4).position(|w| w == frame::MAGIC), bytes.len())
            };
            let Some(skip) = found else {
                if read < STEP {
                    return Ok(commits);
                }
                at += (STEP - 3) as u64;
                continue;
            };
            at += skip as u64;
            let before = window.get(at.saturating_sub(32), 32)?;
            let Ok(before) = <[u8; 32]>::try_from(before) else { return Ok(commits) };
            let length = match Header::parse(window.get(at, HEADER)?) {
                Ok(h) => h.frame_len(),
                Err(_) => {
                    at += 1;
                    continue;
                }
            };
            match frame::open(&Chain(before), window.get(at, length)?) {
                Ok((h, ..)) => {
                    commits += usize::from(h.kind == frame::Kind::Commit);
                    at += length as u64;
                }
                Err(_) => at += 1,
            }
        }
    }
}

enum Walk {
    Batch(Batch, Head, Position),
    End,
    Fault(u64, u64, Fault),
}

fn segment_header(at: Position) -> [u8; SEGMENT_HEADER] {
    let mut out = [0; SEGMENT_HEADER];
    out[..8].copy_from_slice(&MAGIC);
    out[16..24].copy_from_slice(&at.frame.to_be_bytes());
    out[24..32].copy_from_slice(&at.seq.to_be_bytes());
    out[32..64].copy_from_slice(&at.chain.0);
    let sum = header_chain(&out[..64]);
    out[64..].copy_from_slice(&sum.0);
    out
}

fn header_chain(body: &[u8]) -> Chain {
    Chain(*blake3::hash(body).as_bytes())
}

/// What recovery did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TornTail {
    /// Bytes behind the last whole batch that nobody was told of.
    pub bytes: u64,
    /// Where they were put.
    pub kept: PathBuf,
}

/// The writer's end of the journal.
pub struct Journal {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    file: Box<dyn DiskFile>,
    path: PathBuf,
    /// End of the last batch that was synced.
    end: Position,
    /// End of the batch that was written and not synced.
    written: Option<Position>,
    segment_bytes: u64,
}

impl Journal {
    /// Makes the journal directory with an empty first segment. Durable when it returns.
    pub fn create(disk: &Arc<dyn Disk>, dir: &Path, segment_bytes: u64) -> Result<Journal, JournalError> {
        disk.create_dir(dir).map_err(|source| JournalError::Io {
            doing: "create",
            path: dir.to_owned(),
            source,
        })?;
        let at = Cursor::begin(disk, dir).position();
        let (file, path, end) = new_segment(disk, dir, at)?;
        Ok(Journal { disk: disk.clone(), dir: dir.to_owned(), file, path, end, written: None, segment_bytes })
    }

    /// Opens for writing behind `tail`, which a cursor found, given where the batches end that were acknowledged.
    /// Everything up to the end of the journal is durable when it returns.
    ///
    /// A torn tail that lies wholly behind `acknowledged` is first copied to `torn/`, then cut off.
    pub fn open(
        disk: &Arc<dyn Disk>,
        dir: &Path,
        tail: Tail,
        acknowledged: Position,
        segment_bytes: u64,
    ) -> Result<(Journal, Option<TornTail>), JournalError> {
        let path = segment_path(dir, tail.end.segment);
        let file = disk.open_write(&path).map_err(|source| JournalError::Io {
            doing: "open",
            path: path.clone(),
            source,
        })?;
        let mut journal = Journal {
            disk: disk.clone(),
            dir: dir.to_owned(),
            file,
            path,
            end: tail.end,
            written: None,
            segment_bytes,
        };
        journal.remove_unfinished()?;
        let torn = match tail.torn {
            None => None,
            Some((offset, seq, fault)) => Some(journal.cut(tail, offset, seq, fault)?),
        };
        journal.harden(acknowledged)?;
        Ok((journal, torn))
    }

    /// End of the last synced batch.
    pub fn end(&self) -> Position {
        self.end
    }

    /// Writes a batch behind the last; `head` is the tree after it. Not durable, not visible as committed to us until
    /// [`sync`](Journal::sync).
    ///
    /// # Errors
    /// The journal is as before when `retract` succeeds afterwards; otherwise the handle must not be used again.
    pub fn write(&mut self, batch: &Batch, head: Head) -> Result<(), JournalError> {
        assert!(self.written.is_none(), "a batch was written before the one before it was synced");
        if self.end.offset >= self.segment_bytes.max(SEGMENT_HEADER as u64 + 1) {
            let (file, path, end) = new_segment(&self.disk, &self.dir, Position { offset: 0, ..self.end })?;
            (self.file, self.path, self.end) = (file, path, end);
        }
        let mut chain = self.end.chain;
        let bytes = batch.seal(&mut chain, self.end.seq, head);
        self.written = Some(Position {
            segment: self.end.segment,
            offset: self.end.offset + bytes.len() as u64,
            frame: self.end.frame + batch.frames(),
            seq: head.size,
            chain,
        });
        self.file.write_at(&bytes, self.end.offset).map_err(self.io("write"))
    }

    /// Makes the written batch durable: the commit point. After an error nothing is known about it, and the handle
    /// must not be used again.
    pub fn sync(&mut self) -> Result<Position, JournalError> {
        self.file.sync_data().map_err(self.io("sync"))?;
        if let Some(end) = self.written.take() {
            self.end = end;
        }
        Ok(self.end)
    }

    /// After a failed [`write`](Journal::write): cuts the file back to the last synced batch. When this fails too,
    /// the handle must not be used again.
    pub fn retract(&mut self) -> Result<(), JournalError> {
        self.file.set_size(self.end.offset).map_err(self.io("cut"))?;
        self.file.sync_data().map_err(self.io("sync"))?;
        self.written = None;
        Ok(())
    }

    fn io(&self, doing: &'static str) -> impl FnOnce(io::Error) -> JournalError + use<> {
        let path = self.path.clone();
        move |source| JournalError::Io { doing, path, source }
    }

    /// Decides about a tail that cannot be read, and cuts it off when nobody was told of it.
    fn cut(&mut self, tail: Tail, offset: u64, seq: u64, fault: Fault) -> Result<TornTail, JournalError> {
        if matches!(fault, Fault::UnknownKind(_)) {
            // A sound header: this is a newer program's batch, not a torn one of ours.
            return Err(JournalError::Damaged { path: self.path.clone(), offset, seq, fault });
        }
        // There is never more than one batch behind the acknowledged ones. Its pages may have reached the disk in
        // any order, so its own commit may be sound behind the hole; a second commit cannot be explained.
        let mut cursor = Cursor::resume(&self.disk, &self.dir, tail.end);
        if cursor.open_segment()? {
            let commits = cursor.commits_behind(offset)?;
            if commits > 1 {
                return Err(JournalError::DamagedAhead { path: self.path.clone(), offset, seq, commits });
            }
        }
        // Always under a new name: another tail may have been cut off at this very place, when the entry that was to
        // record it was torn in its turn. A crash before the cut finds the same tail again and keeps it twice.
        let dir = self.dir.join("torn");
        self.disk.create_dir(&dir).map_err(self.io("create the directory for the tail of"))?;
        let names = self.disk.list(&dir).map_err(self.io("list the directory for the tail of"))?;
        let place = format!("{:020}.{}", tail.end.segment, tail.end.offset);
        let n = names.iter().filter(|name| name.starts_with(&place)).count();
        let kept = dir.join(format!("{place}.{n}.pending"));
        let copy = self.disk.create(&kept).map_err(self.io("keep the tail of"))?;
        let mut at = 0;
        while at < tail.bytes {
            let mut chunk = vec![0; (tail.bytes - at).min(1 << 20) as usize];
            let n =
                self.file.read_at(&mut chunk, tail.end.offset + at).map_err(self.io("read the tail of"))?;
            if n == 0 {
                break;
            }
            copy.write_at(&chunk[..n], at).map_err(self.io("keep the tail of"))?;
            at += n as u64;
        }
        copy.sync_data().map_err(self.io("keep the tail of"))?;
        self.disk.sync_dir(&dir).map_err(self.io("keep the tail of"))?;
        self.disk.sync_dir(&self.dir).map_err(self.io("keep the tail of"))?;
        // Synced with what is written again next.
        self.file.set_size(tail.end.offset).map_err(self.io("cut"))?;
        Ok(TornTail { bytes: tail.bytes, kept })
    }

    /// Writes again, byte for byte, what lies behind the acknowledged batches, and syncs it. After a failed sync the
    /// page cache shows what the disk may not hold and the next sync has nothing to do; writing makes it dirty again.
    fn harden(&mut self, acknowledged: Position) -> Result<(), JournalError> {
        for segment in segments(&self.disk, &self.dir)?.into_iter().filter(|s| *s >= acknowledged.segment) {
            let path = segment_path(&self.dir, segment);
            let io = |source| JournalError::Io { doing: "write again", path: path.clone(), source };
            let file = self.disk.open_write(&path).map_err(io)?;
            let mut at = if segment == acknowledged.segment { acknowledged.offset } else { 0 };
            loop {
                let mut chunk = vec![0; 1 << 20];
                let n = file.read_at(&mut chunk, at).map_err(io)?;
                if n == 0 {
                    break;
                }
                file.write_at(&chunk[..n], at).map_err(io)?;
                at += n as u64;
            }
            file.sync_data().map_err(io)?;
        }
        self.disk.sync_dir(&self.dir).map_err(self.io("sync the directory of"))
    }

    /// Removes a segment that was being made when the program ended: it has no frames and never had its name.
    fn remove_unfinished(&self) -> Result<(), JournalError> {
        for name in self.disk.list(&self.dir).map_err(self.io("list the directory of"))? {
            if name.ends_with(UNFINISHED) {
                self.disk
                    .remove(&self.dir.join(name))
                    .map_err(self.io("remove the unfinished neighbour of"))?;
            }
        }
        Ok(())
    }
}

/// Makes an empty segment that continues at `at`. Durable, name and all, when it returns; a crash before leaves at
/// most a file ending in `.new`.
fn new_segment(
    disk: &Arc<dyn Disk>,
    dir: &Path,
    at: Position,
) -> Result<(Box<dyn DiskFile>, PathBuf, Position), JournalError> {
    let path = segment_path(dir, at.frame);
    let io = |doing| {
        let path = path.clone();
        move |source| JournalError::Io { doing, path, source }
    };
    let unfinished = path.with_extension(&UNFINISHED[1..]);
    match disk.remove(&unfinished) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(io("replace the unfinished")(e)),
        _ => {}
    }
    let file = disk.create(&unfinished).map_err(io("create"))?;
    let header = segment_header(at);
    file.write_at(&header, 0).map_err(io("write"))?;
    file.sync_data().map_err(io("sync"))?;
    disk.rename(&unfinished, &path).map_err(io("name"))?;
    disk.sync_dir(dir).map_err(io("sync the directory of"))?;
    let chain = header_chain(&header[..64]);
    Ok((file, path, Position { segment: at.frame, offset: SEGMENT_HEADER as u64, chain, ..at }))
}
