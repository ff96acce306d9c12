//! What HIL's drivers write to hardware switches, and what careful ones would.
//!
//! Stock console drivers look at no answer: what the switch refuses is recorded as done. Stock drivers leave a fresh port as
//! it is and add to its list of allowed VLANs, which on most switches allows everything already.

use super::WorldError;
use super::driver::{Driver, SwitchError};
use super::hardware::{Device, Hardware, HardwareKind, HwPort, PortMode};
use super::hil::ActionKind;
use super::vlans::{LAST, VlanList, VlanRanges};

/// One change of a port, as HIL's daemon asks for it.
pub(super) struct Change<'a> {
    /// The registration it came by.
    pub(super) device: &'a Device,
    /// The port, in the switch's words.
    pub(super) port: &'a str,
    /// What to do.
    pub(super) kind: &'a ActionKind,
    /// The new network's id, as HIL has it.
    pub(super) network_id: Option<&'a str>,
    /// The id of the network that has been native so far.
    pub(super) old_native: Option<&'a str>,
}

impl Driver {
    /// Leaves a port as the driver leaves one that belongs to nobody. The stock drivers do not touch it.
    pub(crate) fn unused_hardware_port(self, hardware: &mut Hardware, port: &str) -> Result<(), WorldError> {
        match self {
            Driver::StockHil => Ok(()),
            Driver::Careful => set_exactly(hardware, port, None, VlanRanges::none()),
        }
    }

    pub(super) fn apply_to_hardware(
        self,
        hardware: &mut Hardware,
        change: &Change<'_>,
    ) -> Result<(), SwitchError> {
        let asked = Asked::of(change);
        if self == Driver::StockHil && hardware.kind.is_console() {
            // The real one waits for a prompt and not for what comes before it.
            if let (Ok(asked), false) = (asked, hardware.refuses_changes) {
                let dummy = change.device.dummy_vlan;
                if hardware.kind == HardwareKind::N3000
                    && let Some(dummy) = dummy
                {
                    hardware.add_vlan(dummy);
                }
                if let Ok(port) = hardware.port_mut(change.port) {
                    stock_console(port, &asked, dummy);
                }
            }
            return Ok(());
        }
        if hardware.refuses_changes {
            return Err(SwitchError::new("the switch refuses every change"));
        }
        let asked = asked?;
        let refused = |e: WorldError| SwitchError::new(e.to_string());
        match self {
            Driver::StockHil => {
                if hardware.kind == HardwareKind::Os9
                    && let Asked::Native { new: Some(vlan), .. } | Asked::Add(vlan) = asked
                {
                    hardware.add_vlan(vlan);
                }
                let kind = hardware.kind;
                let port = hardware.port_mut(change.port).map_err(refused)?;
                if kind == HardwareKind::Os9 {
                    stock_os9(port, &asked)
                } else {
                    stock_vdx(port, &asked)
                }
                Ok(())
            }
            Driver::Careful => {
                let port = hardware.port(change.port).ok_or_else(|| {
                    refused(WorldError::Missing { kind: "port", name: change.port.to_owned() })
                })?;
                let (mut native, mut tagged) = written(port, change.device.dummy_vlan);
                match asked {
                    Asked::Native { new, .. } => native = new,
                    Asked::Add(vlan) => tagged.insert(vlan),
                    Asked::Remove(vlan) => tagged.remove(vlan),
                    Asked::Revert => (native, tagged) = (None, VlanRanges::none()),
                }
                set_exactly(hardware, change.port, native, tagged).map_err(refused)
            }
        }
    }
}

/// A change, its numbers checked.
enum Asked {
    Native { old: Option<u16>, new: Option<u16> },
    Add(u16),
    Remove(u16),
    Revert,
}

impl Asked {
    fn of(change: &Change<'_>) -> Result<Asked, SwitchError> {
        let ActionKind::ModifyPort { channel, .. } = change.kind else { return Ok(Asked::Revert) };
        let new = change.network_id.map(number).transpose()?;
        match (channel.strip_prefix("vlan/"), new) {
            (Some("native"), new) => {
                Ok(Asked::Native { old: change.old_native.and_then(|v| number(v).ok()), new })
            }
            (Some(_), Some(vlan)) => Ok(Asked::Add(vlan)),
            (Some(tagged), None) => Ok(Asked::Remove(number(tagged)?)),
            (None, _) => Err(SwitchError::new(format!("channel {channel:?} is not a VLAN"))),
        }
    }
}

/// Every switch refuses what is not 1 to 4094; HIL does not.
fn number(text: &str) -> Result<u16, SwitchError> {
    match text.parse() {
        Ok(vlan @ 1..=LAST) => Ok(vlan),
        _ => Err(SwitchError::new(format!("{text:?} is no VLAN id: 1 to {LAST} are"))),
    }
}

/// `sw mode trunk`, then `sw trunk allowed vlan add|remove V` and `sw trunk native vlan V|none`.
fn stock_console(port: &mut HwPort, asked: &Asked, dummy: Option<u16>) {
    port.mode = PortMode::Trunk;
    match *asked {
        Asked::Native { old, new } => {
            if let Some(old) = old {
                port.allowed.remove(old);
            }
            if let Some(new) = new {
                port.allowed.add(new);
            }
            port.native = new.or(dummy);
        }
        Asked::Add(vlan) => port.allowed.add(vlan),
        Asked::Remove(vlan) => port.allowed.remove(vlan),
        Asked::Revert => (port.allowed, port.native) = (VlanList::None, dummy),
    }
}

/// The tag of the native VLAN is deleted, the native VLAN deleted is VLAN 1 again, and a port without one is shut down.
fn stock_vdx(port: &mut HwPort, asked: &Asked) {
    port.mode = PortMode::Trunk;
    match *asked {
        Asked::Native { new: Some(new), .. } => {
            (port.native, port.native_tagged, port.admin_down) = (Some(new), false, false);
        }
        Asked::Native { new: None, .. } => (port.native, port.admin_down) = (Some(1), true),
        Asked::Add(vlan) => port.allowed.add(vlan),
        Asked::Remove(vlan) => port.allowed.remove(vlan),
        Asked::Revert => (port.allowed, port.native, port.admin_down) = (VlanList::None, Some(1), true),
    }
}

/// `portmode hybrid` and membership VLAN by VLAN; without a native network the port is shut down.
fn stock_os9(port: &mut HwPort, asked: &Asked) {
    if port.mode != PortMode::General {
        port.set_general(Some(1), VlanRanges::none());
    }
    let native = match *asked {
        Asked::Native { new, .. } => Some(new),
        Asked::Add(vlan) => {
            port.general_mut().tagged.insert(vlan);
            None
        }
        Asked::Remove(vlan) => {
            port.general_mut().tagged.remove(vlan);
            None
        }
        Asked::Revert => {
            port.general_mut().tagged = VlanRanges::none();
            Some(None)
        }
    };
    if let Some(native) = native {
        port.admin_down = native.is_none();
        let general = port.general_mut();
        // What is in no VLAN untagged is in the default VLAN.
        general.pvid = native.or(Some(1));
        general.untagged = VlanRanges::from([native.unwrap_or(1)]);
    }
}

/// The native network and the tagged ones that a careful driver has written.
fn written(port: &HwPort, dummy: Option<u16>) -> (Option<u16>, VlanRanges) {
    match port.mode {
        PortMode::Access => (Some(port.access_vlan), VlanRanges::none()),
        PortMode::Trunk => {
            let mut tagged = port.allowed.ranges();
            let native =
                port.native.filter(|n| !port.native_tagged && Some(*n) != dummy && tagged.contains(*n));
            native.into_iter().for_each(|n| tagged.remove(n));
            (native, tagged)
        }
        PortMode::General => port
            .general
            .as_ref()
            .map(|g| (g.pvid.filter(|_| !port.admin_down || g.pvid != Some(1)), g.tagged.clone()))
            .unwrap_or_default(),
        PortMode::Tunnel | PortMode::PrivateVlan | PortMode::Layer3 => (None, VlanRanges::none()),
    }
}

/// Makes the VLANs, and the port carry exactly them.
pub(super) fn set_exactly(
    hardware: &mut Hardware,
    port: &str,
    native: Option<u16>,
    tagged: VlanRanges,
) -> Result<(), WorldError> {
    let kind = hardware.kind;
    let dummy =
        matches!(kind, HardwareKind::N3000 | HardwareKind::Nexus).then_some(super::hardware::DUMMY_VLAN);
    for vlan in native.into_iter().chain(tagged.iter()) {
        hardware.add_vlan(vlan);
    }
    if kind == HardwareKind::N3000
        && let Some(dummy) = dummy
    {
        hardware.add_vlan(dummy);
    }
    let unused = native.is_none() && tagged.is_empty();
    let port = hardware.port_mut(port)?;
    match (kind, native) {
        (HardwareKind::Os9, native) => {
            port.set_general(native, tagged);
            port.admin_down = unused;
        }
        (_, Some(vlan)) if tagged.is_empty() => {
            port.set_access(vlan);
            port.admin_down = false;
        }
        (HardwareKind::Vdx, native) => {
            let mut allowed = tagged;
            native.into_iter().for_each(|n| allowed.insert(n));
            port.set_trunk(native.or(Some(1)), VlanList::from(allowed));
            // VLAN 1 is native where nothing else is; tagged it is in nobody's way.
            port.native_tagged = native.is_none();
            port.admin_down = unused;
        }
        (_, native) => {
            let mut allowed = tagged;
            native.into_iter().for_each(|n| allowed.insert(n));
            port.set_trunk(native.or(dummy), VlanList::from(allowed));
            port.admin_down = false;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::World;
    use crate::world::hardware::Carries;

    fn world(kind: HardwareKind, driver: Driver) -> World {
        let mut w = World::new();
        w.daemon.driver = driver;
        w.add_project("red");
        for (network, vlan) in [("a", "100"), ("b", "101"), ("silly", "4096")] {
            w.add_network(network, Some("red"), &["red"], vlan);
        }
        w.add_hardware_switch("s", kind).unwrap();
        w.add_node("n", Some("red"));
        w.add_nic("n", "eth0", "de:ad:be:ef:00:01").unwrap();
        w.add_port("s", &kind.hil_port(1)).unwrap();
        w.wire("n", "eth0", "s", &kind.hil_port(1)).unwrap();
        w
    }

    fn carries(w: &World, kind: HardwareKind) -> (String, String) {
        let (hardware, port) = w.hardware_port("s", &kind.hil_port(1)).unwrap();
        let Carries { untagged, tagged } = w.hardware(&hardware).unwrap().carries(&port).unwrap();
        // VLAN 1 is nobody's network, and some switches cannot be without it.
        let but_one = |mut set: VlanRanges| {
            set.remove(1);
            set.to_string()
        };
        (but_one(untagged), but_one(tagged))
    }

    #[test]
    fn the_careful_driver_leaves_exactly_what_is_declared() {
        for kind in HardwareKind::ALL {
            let mut w = world(kind, Driver::Careful);
            let of = |a: &str, b: &str| (a.to_owned(), b.to_owned());
            assert_eq!(carries(&w, kind), of("", ""), "{kind:?} fresh");
            w.attach("n", "eth0", "a", None).unwrap();
            assert_eq!(carries(&w, kind), of("100", ""), "{kind:?} native");
            w.attach("n", "eth0", "b", Some("vlan/101")).unwrap();
            assert_eq!(carries(&w, kind), of("100", "101"), "{kind:?} both");
            w.detach("n", "eth0", "a").unwrap();
            assert_eq!(carries(&w, kind), of("", "101"), "{kind:?} tagged");
            w.attach("n", "eth0", "a", None).unwrap();
            w.detach("n", "eth0", "b").unwrap();
            assert_eq!(carries(&w, kind), of("100", ""), "{kind:?} native again");
            w.revert("s", &kind.hil_port(1)).unwrap();
            assert_eq!(carries(&w, kind), of("", ""), "{kind:?} reverted");
            assert!(w.attach("n", "eth0", "silly", None).is_err(), "{kind:?} takes no VLAN 4096");
        }
    }

    #[test]
    fn the_stock_console_drivers_leave_a_fresh_port_on_every_vlan() {
        for kind in HardwareKind::ALL.into_iter().filter(|k| k.is_console()) {
            let mut w = world(kind, Driver::StockHil);
            w.attach("n", "eth0", "a", None).unwrap();
            assert_eq!(carries(&w, kind), ("100".to_owned(), "2-99,101-4094".to_owned()), "{kind:?}");
            w.revert("s", &kind.hil_port(1)).unwrap();
            assert_eq!(carries(&w, kind), (String::new(), String::new()), "{kind:?}");
            w.attach("n", "eth0", "a", None).unwrap();
            assert_eq!(carries(&w, kind), ("100".to_owned(), String::new()), "{kind:?}");
        }
    }

    #[test]
    fn a_refused_change_is_done_for_console_drivers_and_an_error_for_rest_ones() {
        for kind in HardwareKind::ALL {
            for (network, refuses) in [("a", true), ("silly", false)] {
                let mut w = world(kind, Driver::StockHil);
                let before = w.hardware("s").unwrap().config().clone();
                w.hardware_mut("s").unwrap().refuses_changes = refuses;
                assert_eq!(w.attach("n", "eth0", network, None).is_ok(), kind.is_console(), "{kind:?}");
                assert_eq!(w.attachments.len(), usize::from(kind.is_console()), "{kind:?}");
                assert_eq!(*w.hardware("s").unwrap().config(), before, "{kind:?}");
            }
        }
    }

    #[test]
    fn console_drivers_save_what_they_wrote_unless_told_not_to() {
        for saves in [true, false] {
            let mut w = world(HardwareKind::PowerConnect5500, Driver::StockHil);
            w.hardware_mut("s").unwrap().save_startup();
            w.daemon.saves = saves;
            w.attach("n", "eth0", "a", None).unwrap();
            let written = w.hardware("s").unwrap().config().clone();
            w.power_cut("s").unwrap();
            assert_eq!(*w.hardware("s").unwrap().config() == written, saves);
        }
    }

    #[test]
    fn a_vdx_port_without_a_native_network_is_shut_down_on_vlan_1() {
        let mut w = world(HardwareKind::Vdx, Driver::StockHil);
        w.attach("n", "eth0", "a", None).unwrap();
        w.attach("n", "eth0", "b", Some("vlan/101")).unwrap();
        assert_eq!(carries(&w, HardwareKind::Vdx), ("100".to_owned(), "101".to_owned()));
        w.detach("n", "eth0", "a").unwrap();
        let port = w.hardware("s").unwrap().port("TenGigabitEthernet 1/0/1").unwrap();
        assert!(port.admin_down && port.native == Some(1));
    }
}
