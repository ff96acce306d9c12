//! Leases and the secrets that go with them: which key opens which slot of the VLAN tree, and since when.
//!
//! A lease is a longest run of polls in which a VLAN is declared to the same networks with the same owners and
//! access lists. A new lease has a new random key: a project may fetch the keys of its own leases and learns nothing
//! of the VLAN's life before or after.

use crate::hash::Digest;
use crate::model::{Access, Declared, NetworkVlan, Owner};
use crate::vlan::VlanId;
use crate::vlantree::SlotKey;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The secrets of a log in force at a poll. Content; given to auditors, never to tenants as a whole.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Slots {
    /// 1.
    pub v: u32,
    /// Key of the handles that stand for switches and ports; lives as long as the log.
    pub handles: Digest,
    /// Key of the slots nobody leases; lives as long as the log.
    pub unused: Digest,
    /// Every VLAN that is declared to a network.
    pub leases: BTreeMap<u16, Lease>,
}

impl std::fmt::Debug for Slots {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Slots({} leases, secret)", self.leases.len())
    }
}

/// One VLAN's lease.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Lease {
    /// The `seq` of the poll it began with: its number.
    pub since: u64,
    /// The slot key.
    pub key: Digest,
    /// The networks of the VLAN, by name.
    pub networks: BTreeMap<String, LeasedNetwork>,
}

/// A network in a lease.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LeasedNetwork {
    /// Its owner.
    pub owner: Owner,
    /// Its access list.
    pub access: Access,
    /// Hides this network's section from the other networks of the VLAN, if there are any.
    pub salt: Digest,
}

/// A source of 32 random bytes a call. The caller's, so that core stays pure and tests repeat.
pub type Entropy<'a> = &'a mut dyn FnMut() -> [u8; 32];

impl Slots {
    /// The secrets of a new log.
    pub fn new(entropy: Entropy<'_>) -> Slots {
        Slots { v: 1, handles: Digest(entropy()), unused: Digest(entropy()), leases: BTreeMap::new() }
    }

    /// The leases at poll `seq`, where `declared` is in force: unchanged ones keep their keys, changed ones begin.
    pub fn advance(&self, declared: &Declared, seq: u64, entropy: Entropy<'_>) -> Slots {
        let mut now: BTreeMap<u16, BTreeMap<&String, (&Owner, &Access)>> = BTreeMap::new();
        for (name, n) in &declared.networks {
            if let NetworkVlan::Id(v) = n.vlan {
                now.entry(v.get()).or_default().insert(name, (&n.owner, &n.access));
            }
        }
        let same = |lease: &Lease, nets: &BTreeMap<&String, (&Owner, &Access)>| {
            lease.networks.len() == nets.len()
                && nets.iter().all(|(name, (owner, access))| {
                    lease.networks.get(*name).is_some_and(|l| l.owner == **owner && l.access == **access)
                })
        };
        let mut leases = BTreeMap::new();
        for (v, nets) in now {
            let kept = self.leases.get(&v).filter(|lease| same(lease, &nets)).cloned();
            leases.insert(
                v,
                kept.unwrap_or_else(|| Lease {
                    since: seq,
                    key: Digest(entropy()),
                    networks: nets
                        .into_iter()
                        .map(|(name, (owner, access))| {
                            let l = LeasedNetwork {
                                owner: owner.clone(),
                                access: access.clone(),
                                salt: Digest(entropy()),
                            };
                            (name.clone(), l)
                        })
                        .collect(),
                }),
            );
        }
        Slots { leases, ..self.clone() }
    }

    /// The key of a slot: the lease's, or one derived for a slot without lease, which looks no different.
    pub fn key(&self, slot: u16) -> SlotKey {
        match self.leases.get(&slot) {
            Some(lease) => SlotKey(lease.key.0),
            None => SlotKey(Digest::keyed(&self.unused.0, &slot.to_be_bytes()).0),
        }
    }

    /// The lease of a VLAN.
    pub fn lease(&self, vlan: VlanId) -> Option<&Lease> {
        self.leases.get(&vlan.get())
    }

    /// The opaque handle of a switch: `keyed_BLAKE3(handles, "isoledger/switch/1" ‖ 0 ‖ name)`.
    pub fn switch_handle(&self, switch: &str) -> Digest {
        Digest::keyed(&self.handles.0, &[b"isoledger/switch/1\0", switch.as_bytes()].concat())
    }

    /// The opaque handle of a port: `keyed_BLAKE3(handles, "isoledger/port/1" ‖ 0 ‖ switch ‖ 0 ‖ port)`.
    pub fn port_handle(&self, switch: &str, port: &str) -> Digest {
        let bytes = [b"isoledger/port/1\0", switch.as_bytes(), b"\0", port.as_bytes()].concat();
        Digest::keyed(&self.handles.0, &bytes)
    }

    /// The blinded identity of a source: equal while the source stays the same, and nothing else.
    pub fn identity_handle(&self, identity: &str) -> Digest {
        Digest::keyed(&self.handles.0, &[b"isoledger/identity/1\0", identity.as_bytes()].concat())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Network;

    fn entropy() -> impl FnMut() -> [u8; 32] {
        let mut n = 0u64;
        move || {
            n += 1;
            Digest::of(&n.to_be_bytes()).0
        }
    }

    fn net(v: u16, owner: &str) -> Network {
        Network {
            vlan: NetworkVlan::Id(VlanId::new(v).unwrap()),
            owner: Owner::Project(owner.into()),
            access: Access::Projects([owner.to_owned()].into()),
        }
    }

    #[test]
    fn a_lease_lives_as_long_as_owner_and_access() {
        let mut e = entropy();
        let mut d = Declared::default();
        d.networks.insert("red-net".into(), net(100, "red"));
        let a = Slots::new(&mut e).advance(&d, 3, &mut e);
        let b = a.advance(&d, 9, &mut e);
        assert_eq!(a, b);
        d.networks.insert("other".into(), net(101, "blue"));
        let c = b.advance(&d, 10, &mut e);
        assert_eq!(c.lease(VlanId::new(100).unwrap()).unwrap().since, 3);
        assert_eq!(c.lease(VlanId::new(101).unwrap()).unwrap().since, 10);
        d.networks.insert("red-net".into(), net(100, "blue"));
        let f = c.advance(&d, 11, &mut e);
        assert_eq!(f.lease(VlanId::new(100).unwrap()).unwrap().since, 11);
        assert_ne!(f.key(100), c.key(100));
        assert_eq!(f.key(101), c.key(101));
        d.networks.remove("red-net");
        assert_eq!(f.advance(&d, 12, &mut e).lease(VlanId::new(100).unwrap()).map(|l| l.since), None);
    }
}
