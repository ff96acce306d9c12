//! Frames: the checksummed, chained units a journal segment is made of (docs/formats/journal.md#frame).
//!
//! ```text
//! offset  0        4      5      8         12         16                16+n            48+n
//!         | "iso1" | kind | 0 0 0 | n: u32 | head sum | payload: n bytes | chain: 32 bytes |
//! head sum = first 4 bytes of BLAKE3(bytes 0..12)        chain = BLAKE3(previous chain | bytes 0..16+n)
//! ```
//! The previous chain value is always the 32 bytes before the frame, so any frame can be checked on its own, and a
//! frame that was moved, repeated, or taken from another journal cannot.
//!
//! Pure: bytes in, bytes out.

use std::fmt;

/// Bytes before the payload.
pub const HEADER: usize = 16;
/// Bytes after the payload.
pub const TRAILER: usize = 32;
/// The longest payload: one piece of content of 64 MiB that would not compress, its fields, and what zstd may add.
pub const MAX_PAYLOAD: usize = (64 << 20) + (1 << 20);

pub(crate) const MAGIC: [u8; 4] = *b"iso1";

/// A value of the chain: the checksum of one frame, which goes into the checksum of the next.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Chain(pub [u8; 32]);

impl fmt::Debug for Chain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Chain({})", hex::encode(&self.0[..6]))
    }
}

/// What a frame holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Kind {
    /// One piece of content: its digest, its length, its bytes compressed.
    Content = 1,
    /// The text of one entry.
    Entry = 2,
    /// The signature line of the entry before.
    Signature = 3,
    /// The opening of the entry before.
    Opening = 4,
    /// A checkpoint note as it was served.
    Checkpoint = 5,
    /// The end of a batch: size and root after it.
    Commit = 6,
}

impl Kind {
    fn from_byte(b: u8) -> Option<Kind> {
        Some(match b {
            1 => Kind::Content,
            2 => Kind::Entry,
            3 => Kind::Signature,
            4 => Kind::Opening,
            5 => Kind::Checkpoint,
            6 => Kind::Commit,
            _ => return None,
        })
    }
}

/// Why bytes are not the next frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fault {
    /// The file ends inside the frame: `have` bytes of `need`.
    Short {
        /// Bytes there are.
        have: usize,
        /// Bytes the frame has.
        need: usize,
    },
    /// The sixteen bytes of the header are not a header.
    Header,
    /// A sound header of a kind this program does not know.
    UnknownKind(u8),
    /// A sound header that promises more than [`MAX_PAYLOAD`] bytes.
    TooLong(u32),
    /// The payload or the chain value is not what was written after the frame before.
    Checksum,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fault::Short { have, need } => write!(f, "the file ends after {have} of {need} bytes of a frame"),
            Fault::Header => f.write_str("these bytes are not a frame header"),
            Fault::UnknownKind(k) => write!(f, "frame kind {k} is unknown: a newer isoledger wrote it"),
            Fault::TooLong(n) => write!(f, "the frame claims {n} bytes; at most {MAX_PAYLOAD} are allowed"),
            Fault::Checksum => {
                f.write_str("the frame's checksum does not follow from its bytes and the frame before")
            }
        }
    }
}

/// A frame's header, read and checked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Header {
    /// What the payload is.
    pub kind: Kind,
    /// Length of the payload in bytes.
    pub len: usize,
}

impl Header {
    /// Reads the first [`HEADER`] bytes of a frame.
    pub fn parse(bytes: &[u8]) -> Result<Header, Fault> {
        let Some(head) = bytes.get(..HEADER) else {
            return Err(Fault::Short { have: bytes.len(), need: HEADER });
        };
        if head[..4] != MAGIC || head[5..8] != [0; 3] || head[12..] != head_sum(&head[..12]) {
            return Err(Fault::Header);
        }
        let kind = Kind::from_byte(head[4]).ok_or(Fault::UnknownKind(head[4]))?;
        let len = u32::from_be_bytes([head[8], head[9], head[10], head[11]]);
        if len as usize > MAX_PAYLOAD {
            return Err(Fault::TooLong(len));
        }
        Ok(Header { kind, len: len as usize })
    }

    /// Length of the whole frame in bytes.
    pub fn frame_len(&self) -> usize {
        HEADER + self.len + TRAILER
    }
}

fn head_sum(first12: &[u8]) -> [u8; 4] {
    let h = blake3::hash(first12);
    let b = h.as_bytes();
    [b[0], b[1], b[2], b[3]]
}

/// Appends one frame to `out` and moves the chain. The payload is given in parts and must not exceed
/// [`MAX_PAYLOAD`]; callers bound their input before.
pub(crate) fn seal(chain: &mut Chain, kind: Kind, parts: &[&[u8]], out: &mut Vec<u8>) {
    let len: usize = parts.iter().map(|p| p.len()).sum();
    assert!(len <= MAX_PAYLOAD, "a frame of {len} bytes was let through to the journal");
    let start = out.len();
    out.extend_from_slice(&MAGIC);
    out.push(kind as u8);
    out.extend_from_slice(&[0; 3]);
    out.extend_from_slice(&(len as u32).to_be_bytes());
    let sum = head_sum(&out[start..]);
    out.extend_from_slice(&sum);
    for part in parts {
        out.extend_from_slice(part);
    }
    *chain = link(chain, &out[start..]);
    out.extend_from_slice(&chain.0);
}

/// The chain value of a frame, from the one before and the frame's header and payload.
fn link(previous: &Chain, header_and_payload: &[u8]) -> Chain {
    let mut h = blake3::Hasher::new();
    h.update(&previous.0);
    h.update(header_and_payload);
    Chain(*h.finalize().as_bytes())
}

/// Reads one frame from the start of `bytes`, which may go on behind it.
pub fn open<'a>(previous: &Chain, bytes: &'a [u8]) -> Result<(Header, &'a [u8], Chain), Fault> {
    let header = Header::parse(bytes)?;
    let Some(frame) = bytes.get(..header.frame_len()) else {
        return Err(Fault::Short { have: bytes.len(), need: header.frame_len() });
    };
    let (body, trailer) = frame.split_at(HEADER + header.len);
    let chain = link(previous, body);
    if chain.0[..] != *trailer {
        return Err(Fault::Checksum);
    }
    Ok((header, &body[HEADER..], chain))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ZERO: Chain = Chain([0; 32]);

    #[test]
    fn the_bytes_of_a_frame_are_pinned() {
        let (mut chain, mut out) = (ZERO, Vec::new());
        seal(&mut chain, Kind::Entry, &[b"ab", b"c"], &mut out);
        assert_eq!(out.len(), HEADER + 3 + TRAILER);
        assert_eq!(&out[..12], b"iso1\x02\0\0\0\0\0\0\x03");
        assert_eq!(out[12..16], blake3::hash(&out[..12]).as_bytes()[..4]);
        let mut all = vec![0; 32];
        all.extend_from_slice(&out[..19]);
        assert_eq!(out[19..], *blake3::hash(&all).as_bytes());
    }

    proptest! {
        #[test]
        fn what_was_sealed_opens_and_nothing_else_does(
            payloads in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..200), 1..6),
            at in any::<prop::sample::Index>(),
            flip in 1u8..,
        ) {
            let (mut chain, mut out) = (ZERO, Vec::new());
            for p in &payloads {
                seal(&mut chain, Kind::Content, &[p], &mut out);
            }
            let read_all = |bytes: &[u8]| {
                let (mut at, mut chain, mut seen) = (0, ZERO, Vec::new());
                while at < bytes.len() {
                    let (h, payload, next) = open(&chain, &bytes[at..])?;
                    seen.push(payload.to_vec());
                    at += h.frame_len();
                    chain = next;
                }
                Ok::<_, Fault>(seen)
            };
            prop_assert_eq!(&read_all(&out).unwrap(), &payloads);
            let mut bad = out.clone();
            *at.get_mut(&mut bad) ^= flip;
            prop_assert!(read_all(&bad).is_err());
            let cut = at.index(out.len());
            if let Ok(seen) = read_all(&out[..cut]) {
                // A cut between two frames leaves whole frames: the batch marker's job, not the frame's.
                prop_assert!(seen.len() < payloads.len());
            }
        }

        #[test]
        fn arbitrary_bytes_are_never_a_frame_and_never_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            prop_assert!(open(&ZERO, &bytes).is_err());
        }

        #[test]
        fn two_frames_cannot_change_places(a in prop::collection::vec(any::<u8>(), 0..50), b in prop::collection::vec(any::<u8>(), 0..50)) {
            prop_assume!(a != b);
            let (mut chain, mut first, mut second) = (ZERO, Vec::new(), Vec::new());
            seal(&mut chain, Kind::Entry, &[&a], &mut first);
            seal(&mut chain, Kind::Entry, &[&b], &mut second);
            prop_assert_eq!(open(&ZERO, &second), Err(Fault::Checksum));
        }
    }
}
