//! What a reading says of each bypass class, gathered piece by piece.

use isoledger_core::VlanSet;
use isoledger_core::model::{BypassClass, BypassReading};
use std::collections::{BTreeMap, BTreeSet};

/// The most findings told of one class; the VLANs of all are counted in any case.
const MAX_TOLD: usize = 8;

/// The classes of one reading. A class is clean only when somebody said that it was read, nobody that it was not,
/// and nothing was found: a wrong "clean" is the one mistake that no later poll corrects.
#[derive(Debug, Default)]
pub(crate) struct Classes {
    read: BTreeSet<BypassClass>,
    unread: BTreeMap<BypassClass, BTreeSet<String>>,
    dirty: BTreeMap<BypassClass, (VlanSet, BTreeSet<String>)>,
}

impl Classes {
    /// Everything that decides the class was asked for; it is clean unless something is found or missing.
    pub(crate) fn read(&mut self, class: BypassClass) {
        self.read.insert(class);
    }

    /// Something that decides the class was not read or not understood.
    pub(crate) fn unread(&mut self, class: BypassClass, why: impl Into<String>) {
        self.unread.entry(class).or_default().insert(why.into());
    }

    /// Something bypasses the columns of these VLANs.
    pub(crate) fn dirty(&mut self, class: BypassClass, vlans: &VlanSet, what: impl Into<String>) {
        let (all, told) = self.dirty.entry(class).or_default();
        *all = all.union(vlans);
        told.insert(what.into());
    }

    pub(crate) fn finish(mut self) -> BTreeMap<BypassClass, BypassReading> {
        BypassClass::ALL
            .into_iter()
            .map(|class| {
                let reading = match (self.dirty.remove(&class), self.unread.remove(&class)) {
                    (Some((vlans, told)), None) => BypassReading::Dirty { vlans, detail: sentence(&told) },
                    // What was not read may concern any other VLAN, and a class that is dirty for some is clean for
                    // the rest.
                    (Some((_, told)), Some(why)) => BypassReading::Dirty {
                        vlans: VlanSet::all(),
                        detail: format!("{}; besides, not read: {}", sentence(&told), sentence(&why)),
                    },
                    (None, Some(why)) => BypassReading::NotRead { why: sentence(&why) },
                    (None, None) if self.read.contains(&class) => BypassReading::Clean,
                    (None, None) => BypassReading::NotRead { why: "this reader does not read it".into() },
                };
                (class, reading)
            })
            .collect()
    }
}

fn sentence(told: &BTreeSet<String>) -> String {
    let mut text = told.iter().take(MAX_TOLD).cloned().collect::<Vec<_>>().join("; ");
    if told.len() > MAX_TOLD {
        text += &format!("; and {} more", told.len() - MAX_TOLD);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use isoledger_core::VlanId;

    #[test]
    fn what_was_not_read_is_not_clean_beside_what_was_found() {
        let one = VlanId::new(7).map(VlanSet::one).unwrap();
        for (unread, expected) in [(false, one.clone()), (true, VlanSet::all())] {
            let mut classes = Classes::default();
            classes.read(BypassClass::Routing);
            classes.dirty(BypassClass::Routing, &one, "Vlan 7 routes");
            if unread {
                classes.unread(BypassClass::Routing, "the rest was refused");
            }
            let reading = classes.finish().remove(&BypassClass::Routing);
            let Some(BypassReading::Dirty { vlans, detail }) = reading else { panic!("{reading:?}") };
            assert_eq!(vlans, expected);
            assert_eq!(detail.contains("refused"), unread, "{detail}");
        }
    }
}
