//! Two digests that must never be confused: BLAKE3 for what is ours, SHA-256 for the RFC 6962 tree.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;

/// A BLAKE3-256 digest: the chain, content addresses, slices, the VLAN tree. Written as 64 lower-case hex digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest(pub [u8; 32]);

impl Digest {
    /// Thirty-two zero bytes: the `prev` of the first entry.
    pub const ZERO: Digest = Digest([0; 32]);

    /// BLAKE3-256 of `bytes`.
    pub fn of(bytes: &[u8]) -> Digest {
        Digest(*blake3::hash(bytes).as_bytes())
    }

    /// Keyed BLAKE3-256 of `bytes`.
    pub fn keyed(key: &[u8; 32], bytes: &[u8]) -> Digest {
        Digest(*blake3::keyed_hash(key, bytes).as_bytes())
    }

    /// The 64 lower-case hex digits.
    pub fn to_hex(self) -> String {
        hex64(&self.0, &mut [0; 64]).to_owned()
    }

    /// Reads exactly 64 lower-case hex digits.
    pub fn from_hex(text: &str) -> Option<Digest> {
        parse_hex32(text).map(Digest)
    }

    /// The raw bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

// A large domain writes hundreds of thousands of digests a poll: into a buffer, sixty-four characters at once.
fn hex64<'b>(bytes: &[u8; 32], buffer: &'b mut [u8; 64]) -> &'b str {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    for (two, b) in buffer.chunks_exact_mut(2).zip(bytes) {
        two[0] = DIGITS[usize::from(b >> 4)];
        two[1] = DIGITS[usize::from(b & 15)];
    }
    std::str::from_utf8(buffer).expect("hex digits are ASCII")
}

/// Reads exactly 64 lower-case hex digits; upper case is another spelling and refused.
pub fn parse_hex32(text: &str) -> Option<[u8; 32]> {
    if text.len() != 64 || text.bytes().any(|b| b.is_ascii_uppercase()) {
        return None;
    }
    let mut out = [0; 32];
    hex::decode_to_slice(text, &mut out).ok()?;
    Some(out)
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(hex64(&self.0, &mut [0; 64]))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Digest({})", &self.to_hex()[..12])
    }
}

impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(hex64(&self.0, &mut [0; 64]))
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(d)?;
        Digest::from_hex(&text)
            .ok_or_else(|| serde::de::Error::custom("a digest is 64 lower-case hex digits"))
    }
}

/// A SHA-256 hash of the RFC 6962 tree: a leaf, a node or a root. Written in base64 (RFC 4648 section 4).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Hash(pub [u8; 32]);

impl Hash {
    /// The 44 base64 characters.
    pub fn to_base64(self) -> String {
        STANDARD.encode(self.0)
    }

    /// Reads exactly 32 bytes of canonical base64.
    pub fn from_base64(text: &str) -> Option<Hash> {
        if text.len() != 44 {
            return None;
        }
        let bytes: [u8; 32] = STANDARD.decode(text).ok()?.try_into().ok()?;
        Some(Hash(bytes))
    }

    /// The raw bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_base64())
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Hash({})", &self.to_base64()[..12])
    }
}

impl Serialize for Hash {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(&self.to_base64())
    }
}

impl<'de> Deserialize<'de> for Hash {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(d)?;
        Hash::from_base64(&text)
            .ok_or_else(|| serde::de::Error::custom("a tree hash is 32 bytes in 44 base64 characters"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_spelling() {
        let d = Digest::of(b"x");
        assert_eq!(Digest::from_hex(&d.to_hex()), Some(d));
        assert_eq!(Digest::from_hex(&d.to_hex().to_uppercase()), None);
        assert_eq!(Digest::from_hex(&d.to_hex()[1..]), None);
        let h = Hash([7; 32]);
        assert_eq!(Hash::from_base64(&h.to_base64()), Some(h));
        // Non-zero padding bits would be a second spelling of the same bytes.
        let mut other = h.to_base64();
        other.replace_range(42..43, "d");
        assert_eq!(Hash::from_base64(&other), None);
    }
}
