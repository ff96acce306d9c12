//! Sets of VLANs, as the world needs them. Nothing here is shared with the readers.

use std::fmt;

/// The highest VLAN a port can be in.
pub(crate) const LAST: u16 = 4094;

/// A set of VLAN ids, kept as ranges: sorted, apart from each other.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VlanRanges(Vec<(u16, u16)>);

impl VlanRanges {
    /// No VLAN.
    pub const fn none() -> VlanRanges {
        VlanRanges(Vec::new())
    }

    /// 1 to 4094.
    pub fn all() -> VlanRanges {
        VlanRanges(vec![(1, LAST)])
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether it is in.
    pub fn contains(&self, vlan: u16) -> bool {
        self.0.iter().any(|(from, to)| (*from..=*to).contains(&vlan))
    }

    /// Adds one VLAN.
    pub fn insert(&mut self, vlan: u16) {
        self.insert_range(vlan, vlan);
    }

    /// Adds `from` to `to`, both included. Nothing when `from` is above `to`.
    pub fn insert_range(&mut self, from: u16, to: u16) {
        if from > to {
            return;
        }
        let (mut low, mut high) = (from, to);
        let mut apart = Vec::with_capacity(self.0.len() + 1);
        for &(a, b) in &self.0 {
            // Neighbours count as touching, so that 1-2 and 3 print as 1-3.
            if b.saturating_add(1) < low || a > high.saturating_add(1) {
                apart.push((a, b));
            } else {
                (low, high) = (low.min(a), high.max(b));
            }
        }
        apart.push((low, high));
        apart.sort_unstable();
        self.0 = apart;
    }

    /// Takes one VLAN out.
    pub fn remove(&mut self, vlan: u16) {
        self.remove_range(vlan, vlan);
    }

    /// Takes `from` to `to` out.
    pub fn remove_range(&mut self, from: u16, to: u16) {
        let mut left = Vec::with_capacity(self.0.len() + 1);
        for &(a, b) in &self.0 {
            if a < from {
                left.push((a, b.min(from - 1)));
            }
            if b > to {
                left.push((a.max(to + 1), b));
            }
        }
        self.0 = left;
    }

    /// What is in either.
    #[must_use]
    pub fn union(&self, other: &VlanRanges) -> VlanRanges {
        let mut both = self.clone();
        other.0.iter().for_each(|(from, to)| both.insert_range(*from, *to));
        both
    }

    /// What is in this one and not in the other.
    #[must_use]
    pub fn without(&self, other: &VlanRanges) -> VlanRanges {
        let mut left = self.clone();
        other.0.iter().for_each(|(from, to)| left.remove_range(*from, *to));
        left
    }

    /// The ranges, first and last VLAN of each, in order.
    pub fn ranges(&self) -> impl Iterator<Item = (u16, u16)> + '_ {
        self.0.iter().copied()
    }

    /// The VLANs, in order.
    pub fn iter(&self) -> impl Iterator<Item = u16> + '_ {
        self.0.iter().flat_map(|(from, to)| *from..=*to)
    }

    /// Reads `1,4001-4004`; `None` for anything else, an id above 4094 included.
    pub fn parse(text: &str) -> Option<VlanRanges> {
        let mut read = VlanRanges::none();
        for part in text.split(',') {
            let (from, to) = part.split_once('-').unwrap_or((part, part));
            let number = |t: &str| t.trim().parse::<u16>().ok().filter(|v| (1..=LAST).contains(v));
            let (from, to) = (number(from)?, number(to)?);
            if from > to {
                return None;
            }
            read.insert_range(from, to);
        }
        Some(read)
    }
}

/// `1,4001-4004,4025`; nothing at all for the empty set.
impl fmt::Display for VlanRanges {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, (from, to)) in self.ranges().enumerate() {
            if n > 0 {
                f.write_str(",")?;
            }
            if from == to { write!(f, "{from}")? } else { write!(f, "{from}-{to}")? }
        }
        Ok(())
    }
}

impl FromIterator<u16> for VlanRanges {
    fn from_iter<I: IntoIterator<Item = u16>>(vlans: I) -> VlanRanges {
        let mut set = VlanRanges::none();
        vlans.into_iter().for_each(|v| set.insert(v));
        set
    }
}

impl<const N: usize> From<[u16; N]> for VlanRanges {
    fn from(vlans: [u16; N]) -> VlanRanges {
        vlans.into_iter().collect()
    }
}

impl From<&[u16]> for VlanRanges {
    fn from(vlans: &[u16]) -> VlanRanges {
        vlans.iter().copied().collect()
    }
}

/// A list of allowed VLANs as a switch is told it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum VlanList {
    /// Every VLAN, those not made yet included. What a fresh trunk allows on most switches.
    #[default]
    All,
    /// No VLAN.
    None,
    /// These.
    List(VlanRanges),
    /// Every VLAN but these.
    Except(VlanRanges),
}

impl VlanList {
    /// The VLANs it stands for.
    pub fn ranges(&self) -> VlanRanges {
        match self {
            VlanList::All => VlanRanges::all(),
            VlanList::None => VlanRanges::none(),
            VlanList::List(list) => list.clone(),
            VlanList::Except(list) => VlanRanges::all().without(list),
        }
    }

    /// What `allowed vlan add V` does. To a list that allows everything it adds nothing, and takes nothing away either.
    pub fn add(&mut self, vlan: u16) {
        match self {
            VlanList::All => {}
            VlanList::None => *self = VlanList::List(VlanRanges::from([vlan])),
            VlanList::List(list) => list.insert(vlan),
            VlanList::Except(list) => list.remove(vlan),
        }
    }

    /// What `allowed vlan remove V` does.
    pub fn remove(&mut self, vlan: u16) {
        let mut left = self.ranges();
        left.remove(vlan);
        *self = VlanList::from(left);
    }
}

/// Everything is [`VlanList::All`], nothing is [`VlanList::None`].
impl From<VlanRanges> for VlanList {
    fn from(ranges: VlanRanges) -> VlanList {
        if ranges.is_empty() {
            VlanList::None
        } else if ranges == VlanRanges::all() {
            VlanList::All
        } else {
            VlanList::List(ranges)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_against_a_plain_set() {
        // Every sequence of four edits over a small space, against a set of booleans.
        let edits: Vec<(bool, u16, u16)> = [(1, 1), (2, 3), (3, 5), (5, 6)]
            .iter()
            .flat_map(|&(a, b)| [(true, a, b), (false, a, b)])
            .collect();
        let n = edits.len();
        for code in 0..n.pow(4) {
            let (mut ranges, mut plain) = (VlanRanges::none(), [false; 8]);
            for place in 0..4 {
                let (add, from, to) = edits[code / n.pow(place) % n];
                if add {
                    ranges.insert_range(from, to)
                } else {
                    ranges.remove_range(from, to)
                }
                (from..=to).for_each(|v| plain[usize::from(v)] = add);
            }
            let expected: Vec<u16> = (0..8u16).filter(|v| plain[usize::from(*v)]).collect();
            assert_eq!(ranges.iter().collect::<Vec<_>>(), expected);
            let parts: Vec<_> = ranges.ranges().collect();
            assert!(parts.windows(2).all(|w| w[0].1 + 1 < w[1].0), "{parts:?} is not in its shortest form");
        }
    }

    #[test]
    fn lists_print_and_parse() {
        let set = VlanRanges::parse("4025,1,4001-4004").unwrap();
        assert_eq!(set.to_string(), "1,4001-4004,4025");
        assert_eq!(VlanRanges::all().to_string(), "1-4094");
        assert_eq!(VlanRanges::none().to_string(), "");
        for bad in ["", "0", "4095", "5-4", "1,,2", "x", "1-"] {
            assert_eq!(VlanRanges::parse(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn adding_to_everything_leaves_everything() {
        let mut list = VlanList::All;
        list.add(100);
        assert_eq!(list, VlanList::All);
        list.remove(100);
        assert_eq!(list, VlanList::List(VlanRanges::parse("1-99,101-4094").unwrap()));
        let mut but = VlanList::Except([5, 6].into());
        but.add(5);
        assert!(but.ranges().contains(5) && !but.ranges().contains(6));
    }
}
