//! What HIL's Open vSwitch driver writes, and what a careful one would. Those of hardware switches are beside it.

use std::collections::BTreeSet;

use super::hil::ActionKind;
use super::ovs::{OvsHost, PortVlans};
use crate::ovsdb::Datum;

/// Which driver the daemon uses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Driver {
    /// Leaves every port carrying exactly its networks: access, explicit trunks, or nothing at all.
    #[default]
    Careful,
    /// Writes what HIL's driver writes: `vlan_mode=native-untagged`, and `trunks` only when there is something tagged.
    /// To Open vSwitch empty `trunks` mean all VLANs, so unused ports and ports with a native network only carry everything.
    /// On hardware it leaves a fresh port alone and then adds to what is allowed there, which on most switches is everything;
    /// and on a command line it never learns that a command was refused.
    StockHil,
}

/// The switch refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the switch refused: {0}")]
pub(crate) struct SwitchError(String);

impl SwitchError {
    pub(crate) fn new(what: impl Into<String>) -> SwitchError {
        SwitchError(what.into())
    }
}

impl Driver {
    /// The configuration of a port that belongs to nobody.
    pub(crate) fn unused_port(self) -> PortVlans {
        match self {
            Driver::Careful => PortVlans::Nothing,
            Driver::StockHil => PortVlans::HilReverted,
        }
    }

    pub(crate) fn apply(
        self,
        host: &mut OvsHost,
        bridge: &str,
        port: &str,
        kind: &ActionKind,
        network_id: Option<&str>,
    ) -> Result<(), SwitchError> {
        let refused = |e: super::WorldError| SwitchError::new(e.to_string());
        let ActionKind::ModifyPort { channel, .. } = kind else {
            host.port_in(bridge, port).map_err(refused)?;
            host.del_port(port).map_err(refused)?;
            return host.add_port(bridge, port, &self.unused_port()).map_err(refused).map(|_| ());
        };
        let row = host.port_in(bridge, port).map_err(refused)?;
        let column = |name| host.database.get("Port", row, name).map_err(|e| SwitchError::new(e.to_string()));
        let mut tag = column("tag")?.ints().next();
        let mut trunks: BTreeSet<i64> = column("trunks")?.ints().collect();
        let vlan = network_id.map(vlan_number).transpose()?;
        match (channel.strip_prefix("vlan/"), vlan) {
            (Some("native"), vlan) => tag = vlan,
            (Some(_), Some(vlan)) => {
                trunks.insert(vlan);
            }
            (Some(tagged), None) => {
                trunks.remove(&vlan_number(tagged)?);
            }
            (None, _) => return Err(SwitchError::new(format!("channel {channel:?} is not a VLAN"))),
        }
        match self {
            Driver::StockHil => {
                let set = |host: &mut OvsHost, name, value: Datum| {
                    host.set_port(port, name, value).map_err(refused)
                };
                set(host, "tag", tag.map_or(Datum::empty(), Datum::from))?;
                set(host, "trunks", Datum::set(trunks))?;
                if channel == "vlan/native" && vlan.is_some() {
                    set(host, "vlan_mode", Datum::from("native-untagged"))?;
                }
                Ok(())
            }
            Driver::Careful => {
                // Both came out of a column or through vlan_number, so they are 0..=4095.
                let small = |v: i64| u16::try_from(v).unwrap_or_default();
                let tagged: Vec<u16> = trunks.into_iter().map(small).collect();
                let vlans = match (tag.map(small), tagged.is_empty()) {
                    (None, true) => PortVlans::Nothing,
                    (None, false) => PortVlans::Trunk(tagged),
                    (Some(untagged), true) => PortVlans::Access(untagged),
                    (Some(untagged), false) => PortVlans::Native { untagged, tagged },
                };
                host.set_port_vlans(port, &vlans).map_err(refused)
            }
        }
    }
}

/// `ovs-vsctl` refuses what is not 0 to 4095, HIL does not.
fn vlan_number(text: &str) -> Result<i64, SwitchError> {
    match text.parse() {
        Ok(vlan @ 0..=4095) => Ok(vlan),
        _ => Err(SwitchError::new(format!(
            "constraint violation: {text:?} is not in the valid range 0 to 4,095"
        ))),
    }
}
