//! Bundles: 256 entries, signature lines or openings as one value.
//!
//! ```text
//! entries, signatures   256 × ( length: u16 | bytes )        as C2SP tlog-tiles serves them; in a store, zstd
//! openings              256 × ( 0 | 1, opening: 32, digest: 32 )
//! tail row              ( length: u16 | entry ) ( length: u16 | signature ) [ opening: 32, digest: 32 ]
//! ```

use crate::batch::{self, MAX_SIGNATURE_LINE, Stored};
use isoledger_core::content::Opening;
use isoledger_core::record::MAX_ENTRY;
use std::borrow::Borrow;

/// The longest bundle, uncompressed.
const MAX_BUNDLE: usize =
    256 * (2 + if MAX_ENTRY > MAX_SIGNATURE_LINE { MAX_ENTRY } else { MAX_SIGNATURE_LINE });

fn push(out: &mut Vec<u8>, item: &[u8]) {
    // Entries and signature lines are bounded far below 2^16 where they come in.
    let len = u16::try_from(item.len()).expect("items of a bundle are bounded below 64 KiB");
    out.extend_from_slice(&len.to_be_bytes());
    out.extend_from_slice(item);
}

/// The entry bundle of tlog-tiles, of up to 256 entries.
pub fn entries<E: Borrow<Stored>>(block: &[E]) -> Vec<u8> {
    items(block.iter().map(|e| e.borrow().text.as_slice()))
}

/// The same over anything.
pub fn items<'a>(all: impl IntoIterator<Item = &'a [u8]>) -> Vec<u8> {
    let mut out = Vec::new();
    all.into_iter().for_each(|item| push(&mut out, item));
    out
}

/// The signature bundle: the signature lines of the same entries.
pub fn signatures<E: Borrow<Stored>>(block: &[E]) -> Vec<u8> {
    items(block.iter().map(|e| e.borrow().signature.as_slice()))
}

/// The openings of a full bundle. Confidential.
pub(crate) fn openings<E: Borrow<Stored>>(block: &[E]) -> Vec<u8> {
    let mut out = Vec::with_capacity(block.len() * 65);
    for entry in block {
        let opening = entry.borrow().opening;
        out.push(u8::from(opening.is_some()));
        out.extend_from_slice(&opening.map_or([0; 64], Opening::to_bytes));
    }
    out
}

/// Splits a bundle into its items; `None` when it is not a bundle of at most 256.
pub fn split(bundle: &[u8]) -> Option<Vec<&[u8]>> {
    let mut out = Vec::new();
    let mut rest = bundle;
    while !rest.is_empty() {
        let (len, tail) = rest.split_first_chunk()?;
        let (item, tail) = tail.split_at_checked(u16::from_be_bytes(*len) as usize)?;
        if out.len() == 256 {
            return None;
        }
        out.push(item);
        rest = tail;
    }
    Some(out)
}

pub(crate) fn split_openings(bytes: &[u8]) -> Option<Vec<Option<Opening>>> {
    let (chunks, rest) = bytes.as_chunks::<65>();
    let one = |c: &[u8; 65]| match c {
        [0, zeros @ ..] => zeros.iter().all(|b| *b == 0).then_some(None),
        [1, pair @ ..] => Some(Some(Opening::from_bytes(pair))),
        _ => None,
    };
    if !rest.is_empty() {
        return None;
    }
    chunks.iter().map(one).collect()
}

pub(crate) fn compress(bundle: &[u8]) -> Vec<u8> {
    // Compression into memory fails only when memory does.
    batch::compress(bundle).expect("zstd compresses any bytes at level 3")
}

pub(crate) fn decompress(value: &[u8]) -> Option<Vec<u8>> {
    zstd::bulk::decompress(value, MAX_BUNDLE).ok()
}

/// One entry behind the last full bundle, as a row.
pub(crate) fn encode_one(entry: &Stored) -> Vec<u8> {
    let mut out = items([entry.text.as_slice(), &entry.signature]);
    if let Some(o) = &entry.opening {
        out.extend_from_slice(&o.to_bytes());
    }
    out
}

pub(crate) fn decode_one(row: &[u8]) -> Option<Stored> {
    let item = |bytes: &mut &[u8]| -> Option<Vec<u8>> {
        let (len, tail) = bytes.split_first_chunk()?;
        let (item, tail) = tail.split_at_checked(u16::from_be_bytes(*len) as usize)?;
        *bytes = tail;
        Some(item.to_vec())
    };
    let mut rest = row;
    let (text, signature) = (item(&mut rest)?, item(&mut rest)?);
    let opening = match rest.len() {
        0 => None,
        _ => Some(Opening::from_bytes(rest.try_into().ok()?)),
    };
    Some(Stored { text, signature, opening })
}

#[cfg(test)]
mod tests {
    use super::*;
    use isoledger_core::Digest;
    use proptest::prelude::*;

    fn stored() -> impl Strategy<Value = Stored> {
        let bytes = || prop::collection::vec(any::<u8>(), 0..80);
        (bytes(), bytes(), any::<Option<([u8; 32], [u8; 32])>>()).prop_map(|(text, signature, o)| Stored {
            text,
            signature,
            opening: o.map(|(opening, d)| Opening { opening, digest: Digest(d) }),
        })
    }

    proptest! {
        #[test]
        fn bundles_split_into_what_they_were_made_of(block in prop::collection::vec(stored(), 0..=256)) {
            let bundle = decompress(&compress(&entries(&block))).unwrap();
            let texts: Vec<_> = block.iter().map(|e| e.text.as_slice()).collect();
            prop_assert_eq!(split(&bundle).unwrap(), texts);
            let os: Vec<_> = block.iter().map(|e| e.opening).collect();
            prop_assert_eq!(split_openings(&openings(&block)).unwrap(), os);
            for e in &block {
                prop_assert_eq!(&decode_one(&encode_one(e)).unwrap(), e);
            }
        }

        #[test]
        fn arbitrary_bytes_do_not_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
            if let Some(items) = split(&bytes) {
                prop_assert_eq!(super::items(items), bytes.clone());
            }
            if let Some(os) = split_openings(&bytes) {
                prop_assert_eq!(os.len() * 65, bytes.len());
            }
            if let Some(one) = decode_one(&bytes) {
                prop_assert_eq!(encode_one(&one), bytes.clone());
            }
            decompress(&bytes);
        }
    }
}
