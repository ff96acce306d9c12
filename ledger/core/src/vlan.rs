//! IEEE 802.1Q VLAN ids and sets of them.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;

/// A usable VLAN id, 1 to 4094 (802.1Q-2022 table 9-2: 0 is "priority only", 4095 is reserved).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct VlanId(u16);

impl VlanId {
    /// The lowest id.
    pub const MIN: VlanId = VlanId(1);
    /// The highest id.
    pub const MAX: VlanId = VlanId(4094);

    /// `None` outside 1 to 4094.
    pub const fn new(id: u16) -> Option<VlanId> {
        if id >= 1 && id <= 4094 { Some(VlanId(id)) } else { None }
    }

    /// The number.
    pub const fn get(self) -> u16 {
        self.0
    }

    /// Reads a decimal without sign or leading zero.
    pub fn parse(text: &str) -> Option<VlanId> {
        if text.is_empty()
            || text.len() > 4
            || text.starts_with('0')
            || !text.bytes().all(|b| b.is_ascii_digit())
        {
            return None;
        }
        VlanId::new(text.parse().ok()?)
    }

    /// Every id, in order.
    pub fn all() -> impl Iterator<Item = VlanId> {
        (1..=4094).map(VlanId)
    }
}

impl fmt::Display for VlanId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

impl fmt::Debug for VlanId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "vlan {}", self.0)
    }
}

impl Serialize for VlanId {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_u16(self.0)
    }
}

impl<'de> Deserialize<'de> for VlanId {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let n = u16::deserialize(d)?;
        VlanId::new(n)
            .ok_or_else(|| serde::de::Error::custom(format!("found VLAN id {n}; allowed are 1 to 4094")))
    }
}

/// A set of VLAN ids, kept as sorted ranges that neither overlap nor touch.
/// Written `100,200-299`; every id is `all`; none is the empty string.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct VlanSet(Vec<(u16, u16)>);

impl VlanSet {
    /// No id.
    pub const fn empty() -> VlanSet {
        VlanSet(Vec::new())
    }

    /// Every id, 1 to 4094.
    pub fn all() -> VlanSet {
        VlanSet(vec![(1, 4094)])
    }

    /// One id.
    pub fn one(id: VlanId) -> VlanSet {
        VlanSet(vec![(id.0, id.0)])
    }

    /// The ids from `from` to `to`, both included; empty when `from > to`.
    pub fn range(from: VlanId, to: VlanId) -> VlanSet {
        if from <= to { VlanSet(vec![(from.0, to.0)]) } else { VlanSet::empty() }
    }

    fn from_ranges(mut ranges: Vec<(u16, u16)>) -> VlanSet {
        ranges.sort_unstable();
        let mut out: Vec<(u16, u16)> = Vec::with_capacity(ranges.len());
        for (a, b) in ranges {
            match out.last_mut() {
                Some(last) if a <= last.1 + 1 => last.1 = last.1.max(b),
                _ => out.push((a, b)),
            }
        }
        VlanSet(out)
    }

    /// Whether no id is in the set.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether every id, 1 to 4094, is in the set.
    pub fn is_all(&self) -> bool {
        self.0 == [(1, 4094)]
    }

    /// How many ids are in the set.
    pub fn len(&self) -> usize {
        self.0.iter().map(|(a, b)| usize::from(b - a) + 1).sum()
    }

    /// Whether `id` is in the set.
    pub fn contains(&self, id: VlanId) -> bool {
        let at = self.0.partition_point(|(_, b)| *b < id.0);
        self.0.get(at).is_some_and(|(a, _)| *a <= id.0)
    }

    /// Adds one id.
    pub fn insert(&mut self, id: VlanId) {
        if !self.contains(id) {
            let mut ranges = std::mem::take(&mut self.0);
            ranges.push((id.0, id.0));
            *self = VlanSet::from_ranges(ranges);
        }
    }

    /// The ids in either set.
    pub fn union(&self, other: &VlanSet) -> VlanSet {
        VlanSet::from_ranges(self.0.iter().chain(&other.0).copied().collect())
    }

    /// The ids in both sets.
    pub fn intersection(&self, other: &VlanSet) -> VlanSet {
        let (mut i, mut j, mut out) = (0, 0, Vec::new());
        while let (Some(&(a, b)), Some(&(c, d))) = (self.0.get(i), other.0.get(j)) {
            if a.max(c) <= b.min(d) {
                out.push((a.max(c), b.min(d)));
            }
            if b < d { i += 1 } else { j += 1 }
        }
        VlanSet(out)
    }

    /// The ids in this set but not in `other`.
    pub fn difference(&self, other: &VlanSet) -> VlanSet {
        self.intersection(&other.complement())
    }

    /// The ids of 1 to 4094 that are not in the set.
    pub fn complement(&self) -> VlanSet {
        let (mut next, mut out) = (1, Vec::new());
        for &(a, b) in &self.0 {
            if next < a {
                out.push((next, a - 1));
            }
            next = b + 1;
        }
        if next <= 4094 {
            out.push((next, 4094));
        }
        VlanSet(out)
    }

    /// The ids, ascending.
    pub fn iter(&self) -> impl Iterator<Item = VlanId> + '_ {
        self.0.iter().flat_map(|&(a, b)| (a..=b).map(VlanId))
    }

    /// The ranges, ascending, both ends included.
    pub fn ranges(&self) -> impl Iterator<Item = (VlanId, VlanId)> + '_ {
        self.0.iter().map(|&(a, b)| (VlanId(a), VlanId(b)))
    }

    /// Reads any list such as `100,200-299`, in any order, overlapping or not, `all`, or the empty string.
    pub fn parse(text: &str) -> Option<VlanSet> {
        match text {
            "" => return Some(VlanSet::empty()),
            "all" => return Some(VlanSet::all()),
            _ => {}
        }
        let mut ranges = Vec::new();
        for part in text.split(',') {
            let (a, b) = part.split_once('-').unwrap_or((part, part));
            let (a, b) = (VlanId::parse(a)?, VlanId::parse(b)?);
            if a > b {
                return None;
            }
            ranges.push((a.0, b.0));
        }
        Some(VlanSet::from_ranges(ranges))
    }
}

impl FromIterator<VlanId> for VlanSet {
    fn from_iter<I: IntoIterator<Item = VlanId>>(ids: I) -> Self {
        VlanSet::from_ranges(ids.into_iter().map(|v| (v.0, v.0)).collect())
    }
}

impl fmt::Display for VlanSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_all() {
            return f.write_str("all");
        }
        for (i, (a, b)) in self.0.iter().enumerate() {
            if i > 0 {
                f.write_str(",")?;
            }
            if a == b { write!(f, "{a}")? } else { write!(f, "{a}-{b}")? }
        }
        Ok(())
    }
}

impl fmt::Debug for VlanSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "vlans {{{self}}}")
    }
}

impl Serialize for VlanSet {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for VlanSet {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(d)?;
        VlanSet::parse(&text).ok_or_else(|| {
            serde::de::Error::custom(format!(
                "found {text:?}; a set of VLANs is written \"100,200-299\" (ids 1 to 4094), \"all\" or \"\""
            ))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn set() -> impl Strategy<Value = (VlanSet, BTreeSet<u16>)> {
        proptest::collection::vec((1u16..=4094, 0u16..40), 0..12).prop_map(|parts| {
            let ids: BTreeSet<u16> = parts.iter().flat_map(|(a, n)| *a..=(a + n).min(4094)).collect();
            (ids.iter().filter_map(|v| VlanId::new(*v)).collect(), ids)
        })
    }

    fn ids(s: &VlanSet) -> BTreeSet<u16> {
        s.iter().map(VlanId::get).collect()
    }

    proptest! {
        #[test]
        fn algebra_is_that_of_sets((a, sa) in set(), (b, sb) in set(), probe in 1u16..=4094) {
            prop_assert_eq!(ids(&a.union(&b)), sa.union(&sb).copied().collect::<BTreeSet<_>>());
            prop_assert_eq!(ids(&a.intersection(&b)), sa.intersection(&sb).copied().collect::<BTreeSet<_>>());
            prop_assert_eq!(ids(&a.difference(&b)), sa.difference(&sb).copied().collect::<BTreeSet<_>>());
            prop_assert_eq!(a.len(), sa.len());
            prop_assert_eq!(a.contains(VlanId::new(probe).unwrap()), sa.contains(&probe));
            prop_assert_eq!(VlanSet::parse(&a.to_string()), Some(a.clone()));
            prop_assert_eq!(a.complement().complement(), a);
        }
    }

    #[test]
    fn spellings() {
        assert_eq!(VlanSet::parse("300,100-200,150-250").unwrap().to_string(), "100-250,300");
        assert_eq!(VlanSet::parse("1-4094").unwrap().to_string(), "all");
        assert_eq!(VlanSet::all().complement().to_string(), "");
        for bad in ["0", "4095", "5-3", "1,", "1-", "+1", "01", "a", " 1"] {
            assert_eq!(VlanSet::parse(bad), None, "{bad}");
        }
    }
}
