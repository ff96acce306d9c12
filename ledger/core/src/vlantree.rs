//! The VLAN tree: one blinded leaf per VLAN id, so that a tenant sees its own network and nothing else.
//!
//! ```text
//!   root                                        level 12     node   = keyed_BLAKE3(K2, left ‖ right)
//!    ├─ …                                                    K2     = BLAKE3("isoledger vlan tree node v1")
//!    │   ├─ commit(2i)                          level 0      commit = keyed_BLAKE3(K1, opening ‖ u16 v ‖ u64 version
//!    │   └─ commit(2i+1)       4,096 leaves                             ‖ origin_hash ‖ slice_digest ‖ common_digest)
//!    └─ …                      position = VLAN id            K1     = BLAKE3("isoledger vlan tree leaf v1")
//! ```
//!
//! `opening = keyed_BLAKE3(slot_key, "isoledger/open/1" ‖ u64 version)`. All openings change with every version, so
//! a neighbour sees that somebody changed and not who. Position is the VLAN id: there is one slice for a VLAN in a
//! poll. Slots 0 and 4095 are leaves like any other and stand for nothing.

use crate::hash::Digest;

/// Leaves of the tree.
pub const SLOTS: usize = 4096;
/// Hashes in a proof.
pub const DEPTH: usize = 12;

/// The key to one lease's openings. Secret: whoever holds it can recognise the slices of that lease.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct SlotKey(pub [u8; 32]);

impl std::fmt::Debug for SlotKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SlotKey(secret)")
    }
}

impl SlotKey {
    /// The opening of this slot in one version.
    pub fn opening(&self, version: u64) -> [u8; 32] {
        let mut bytes = [0; 24];
        bytes[..16].copy_from_slice(b"isoledger/open/1");
        bytes[16..].copy_from_slice(&version.to_be_bytes());
        Digest::keyed(&self.0, &bytes).0
    }
}

/// The fixed keys of leaf and node hashing.
struct Keys {
    leaf: [u8; 32],
    node: [u8; 32],
}

fn keys() -> Keys {
    Keys {
        leaf: Digest::of(b"isoledger vlan tree leaf v1").0,
        node: Digest::of(b"isoledger vlan tree node v1").0,
    }
}

/// What one leaf commits to.
#[derive(Clone, Copy, Debug)]
pub struct Leaf {
    /// VLAN id, or 0 or 4095 for the two slots that are none.
    pub slot: u16,
    /// The version of the tree.
    pub version: u64,
    /// BLAKE3 of the log's origin.
    pub origin_hash: Digest,
    /// BLAKE3 of the slice's bytes.
    pub slice: Digest,
    /// BLAKE3 of the common part's bytes.
    pub common: Digest,
}

impl Leaf {
    /// The leaf's hash under a slot key.
    pub fn commit(&self, key: &SlotKey) -> Digest {
        self.commit_with(&keys().leaf, key)
    }

    fn commit_with(&self, leaf_key: &[u8; 32], key: &SlotKey) -> Digest {
        let mut bytes = [0; 138];
        bytes[..32].copy_from_slice(&key.opening(self.version));
        bytes[32..34].copy_from_slice(&self.slot.to_be_bytes());
        bytes[34..42].copy_from_slice(&self.version.to_be_bytes());
        bytes[42..74].copy_from_slice(self.origin_hash.as_bytes());
        bytes[74..106].copy_from_slice(self.slice.as_bytes());
        bytes[106..].copy_from_slice(self.common.as_bytes());
        Digest::keyed(leaf_key, &bytes)
    }
}

fn node(node_key: &[u8; 32], left: &Digest, right: &Digest) -> Digest {
    let mut bytes = [0; 64];
    bytes[..32].copy_from_slice(left.as_bytes());
    bytes[32..].copy_from_slice(right.as_bytes());
    Digest::keyed(node_key, &bytes)
}

/// A whole version of the tree.
pub struct VlanTree {
    // Heap order: node i has children 2i and 2i+1, the root is 1, leaf v is 4096+v.
    nodes: Vec<Digest>,
}

impl VlanTree {
    /// Builds a version. `slot(v)` gives the slice digest and key of slot `v`, for every v of 0..4096.
    pub fn build(
        version: u64,
        origin_hash: Digest,
        common: Digest,
        mut slot: impl FnMut(u16) -> (Digest, SlotKey),
    ) -> VlanTree {
        let keys = keys();
        let mut nodes = vec![Digest::ZERO; 2 * SLOTS];
        for v in 0..4096u16 {
            let (slice, key) = slot(v);
            let leaf = Leaf { slot: v, version, origin_hash, slice, common };
            nodes[SLOTS + usize::from(v)] = leaf.commit_with(&keys.leaf, &key);
        }
        for i in (1..SLOTS).rev() {
            nodes[i] = node(&keys.node, &nodes[2 * i], &nodes[2 * i + 1]);
        }
        VlanTree { nodes }
    }

    /// The root.
    pub fn root(&self) -> Digest {
        self.nodes[1]
    }

    /// The siblings from slot `v` up to the root.
    pub fn proof(&self, v: u16) -> [Digest; DEPTH] {
        let mut i = SLOTS + usize::from(v % 4096);
        std::array::from_fn(|_| {
            let sibling = self.nodes[i ^ 1];
            i /= 2;
            sibling
        })
    }
}

/// The root that a leaf and its siblings lead to. The slot decides left and right, so a proof for one VLAN leads
/// nowhere for another.
pub fn root_from(leaf: &Leaf, key: &SlotKey, proof: &[Digest; DEPTH]) -> Digest {
    let keys = keys();
    let mut hash = leaf.commit_with(&keys.leaf, key);
    let mut i = leaf.slot;
    for sibling in proof {
        hash = if i & 1 == 0 { node(&keys.node, &hash, sibling) } else { node(&keys.node, sibling, &hash) };
        i >>= 1;
    }
    hash
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(version: u64) -> VlanTree {
        VlanTree::build(version, Digest([1; 32]), Digest([2; 32]), |v| {
            (
                Digest::of(&v.to_be_bytes()),
                SlotKey(Digest::of(&[7, v.to_be_bytes()[0], v.to_be_bytes()[1]]).0),
            )
        })
    }

    #[test]
    fn every_slot_opens_at_its_place_only() {
        let t = tree(5);
        for v in [0u16, 1, 2, 100, 2047, 2048, 4094, 4095] {
            let leaf = Leaf {
                slot: v,
                version: 5,
                origin_hash: Digest([1; 32]),
                slice: Digest::of(&v.to_be_bytes()),
                common: Digest([2; 32]),
            };
            let key = SlotKey(Digest::of(&[7, v.to_be_bytes()[0], v.to_be_bytes()[1]]).0);
            let proof = t.proof(v);
            assert_eq!(root_from(&leaf, &key, &proof), t.root());
            assert_ne!(root_from(&Leaf { slot: v ^ 1, ..leaf }, &key, &proof), t.root());
            assert_ne!(root_from(&Leaf { version: 6, ..leaf }, &key, &proof), t.root());
            assert_ne!(root_from(&Leaf { slice: Digest::ZERO, ..leaf }, &key, &proof), t.root());
            assert_ne!(root_from(&Leaf { common: Digest::ZERO, ..leaf }, &key, &proof), t.root());
            assert_ne!(root_from(&leaf, &SlotKey([0; 32]), &proof), t.root());
            for i in 0..DEPTH {
                let mut bad = proof;
                bad[i].0[0] ^= 1;
                assert_ne!(root_from(&leaf, &key, &bad), t.root());
            }
        }
    }

    #[test]
    fn no_sibling_repeats_between_versions() {
        let (a, b) = (tree(5).proof(100), tree(6).proof(100));
        assert!(a.iter().zip(&b).all(|(x, y)| x != y));
    }
}
