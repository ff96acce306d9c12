//! What the VLAN columns of a port really carry.
//!
//! The table follows vswitchd, not the names of the columns; every line is checked against `ofproto/trace` of a
//! real switch in the project's tests.
//!
//! | `vlan_mode` | `tag` | `trunks` | untagged | tagged |
//! |---|---|---|---|---|
//! | empty | N | ignored | N | none |
//! | empty | empty | S | none | S, or **all** when S is empty |
//! | `trunk` | ignored | S | none | S, or **all** when S is empty |
//! | `access` | N | ignored | N | none |
//! | `access` | empty | ignored | none (VLAN 0 only) | none |
//! | `native-untagged` | N | S | N | S without N, or **all** but N when S is empty |
//! | `native-tagged` | N | S | none | S with N, or **all** when S is empty |
//! | `native-untagged`, `native-tagged` | empty | S | none | S, or **all** when S is empty |
//! | `dot1q-tunnel` | N | ignored | N | none (inner tags are payload) |
//! | `dot1q-tunnel` | empty | ignored | not understood | all |
//!
//! VLAN 0 (no VLAN) and 4095 (reserved) are no VLANs of the domain: in `tag` they are carried by nobody else's
//! port as 1 to 4094, and in `trunks` they make the set non-empty without adding to it.

use isoledger_core::vlan::{VlanId, VlanSet};

/// The VLAN columns of one Port row.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VlanColumns {
    /// `vlan_mode`.
    pub mode: Option<String>,
    /// `tag`, 0 to 4095.
    pub tag: Option<u16>,
    /// `trunks`, 0 to 4095.
    pub trunks: Vec<u16>,
}

/// What a port carries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Carried {
    /// The VLAN whose frames leave without a tag.
    pub untagged: Option<VlanId>,
    /// The VLANs whose frames leave with one.
    pub tagged: VlanSet,
}

/// What a port with these columns carries, or why that cannot be said.
pub fn carried(columns: &VlanColumns) -> Result<Carried, String> {
    let native = columns.tag.and_then(VlanId::new);
    let trunks = || match columns.trunks.as_slice() {
        [] => VlanSet::all(),
        some => some.iter().filter_map(|v| VlanId::new(*v)).collect(),
    };
    let with_native = |set: VlanSet| native.map_or(set.clone(), |n| set.union(&VlanSet::one(n)));
    let (untagged, tagged) = match (columns.mode.as_deref(), columns.tag) {
        (Some("access"), _) | (None, Some(_)) | (Some("dot1q-tunnel"), Some(_)) => (native, VlanSet::empty()),
        (Some("trunk") | None, _) => (None, trunks()),
        (Some("native-tagged"), _) => (None, with_native(trunks())),
        (Some("native-untagged"), _) => {
            (native, native.map_or_else(trunks, |n| trunks().difference(&VlanSet::one(n))))
        }
        (Some("dot1q-tunnel"), None) => {
            return Err("vlan_mode is dot1q-tunnel and tag is empty: set the tag to the outer VLAN".into());
        }
        (Some(other), _) => {
            return Err(format!(
                "vlan_mode is {other:?}; known are access, trunk, native-tagged, native-untagged and dot1q-tunnel"
            ));
        }
    };
    Ok(Carried { untagged, tagged })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(mode: &str, tag: Option<u16>, trunks: &[u16], want: &str) {
        let mode = (!mode.is_empty()).then(|| mode.to_owned());
        let got = match carried(&VlanColumns { mode: mode.clone(), tag, trunks: trunks.to_vec() }) {
            Ok(c) => format!("{}/{}", c.untagged.map(|v| v.to_string()).unwrap_or_default(), c.tagged),
            Err(_) => "not understood".into(),
        };
        assert_eq!(got, want, "vlan_mode {mode:?} tag {tag:?} trunks {trunks:?}");
    }

    #[test]
    fn the_table() {
        check("", Some(100), &[], "100/");
        check("", Some(100), &[200, 300], "100/");
        check("", None, &[], "/all");
        check("", None, &[200, 300], "/200,300");
        check("trunk", None, &[], "/all");
        check("trunk", Some(100), &[], "/all");
        check("trunk", Some(100), &[200], "/200");
        check("access", Some(100), &[200], "100/");
        check("access", None, &[], "/");
        check("access", None, &[200], "/");
        check("native-untagged", Some(100), &[200, 300], "100/200,300");
        check("native-untagged", Some(100), &[100, 200], "100/200");
        check("native-untagged", Some(100), &[], "100/1-99,101-4094");
        check("native-untagged", None, &[], "/all");
        check("native-untagged", None, &[200], "/200");
        check("native-tagged", Some(100), &[200], "/100,200");
        check("native-tagged", Some(100), &[], "/all");
        check("native-tagged", None, &[], "/all");
        check("dot1q-tunnel", Some(500), &[], "500/");
        check("dot1q-tunnel", Some(500), &[7], "500/");
        check("dot1q-tunnel", None, &[], "not understood");
        check("QinQ", Some(1), &[], "not understood");
    }

    #[test]
    fn numbers_that_are_no_vlans() {
        check("", Some(0), &[], "/");
        check("access", Some(4095), &[], "/");
        check("trunk", None, &[0], "/");
        check("trunk", None, &[0, 5, 4095], "/5");
        check("native-untagged", Some(0), &[5], "/5");
        check("native-untagged", Some(4095), &[], "/all");
        check("native-tagged", Some(0), &[], "/all");
    }
}
