//! The one world behind every emulator: what the cloud manager declares, and what the switches do.
//!
//! A world is plain data. Levers change it at once; nothing here waits, listens or knows the time.

mod console;
mod daemon;
mod driver;
mod hardware;
mod hardware_driver;
mod hil;
mod mixed;
mod ovs;
mod two_tenants;
mod vlans;

use std::collections::BTreeMap;
use std::fmt;

pub use console::{Console, ConsoleLogin, Erase, Privilege, SshMethods};
pub use daemon::{Daemon, DaemonDeath, DaemonStep};
pub use driver::Driver;
pub use hardware::{
    Account, Carries, ClassifiedBy, Device, Dynamic, DynamicBy, General, Hardware, HardwareKind, HwConfig,
    HwPort, HwVlan, PortMode, PortProfile, PrivateVlan, RestStyle, SpanSession, VlanRule, VlanTranslation,
};
pub use hil::{
    Action, ActionKind, ActionStatus, Allocator, ApiError, ApiErrorKind, Attachment, HilConfig, Network, Nic,
    Node, PortAt, Switch, SwitchKind, User,
};
pub use ovs::{Bridge, MirrorSpec, OvsHost, PortVlans};
pub(crate) use two_tenants::AUDITOR;
pub use vlans::{VlanList, VlanRanges};

use crate::fault::{Fault, Service};
use crate::ovsdb::DatabaseError;

/// Two ports joined by a cable (or a patch), one on each of two switches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// One end.
    pub a: PortAt,
    /// The other end.
    pub b: PortAt,
}

/// A port that leaves the audited switches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exit {
    /// The port.
    pub at: PortAt,
    /// What is behind it, in words.
    pub to: String,
    /// The VLANs it is meant to carry.
    pub vlans: Vec<u16>,
}

/// Why a lever could not be pulled. The world is unchanged.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WorldError {
    /// The world has no such thing.
    #[error("the world has no {kind} {name:?}")]
    Missing {
        /// What was looked for: `node`, `switch`, `bridge` …
        kind: &'static str,
        /// Its name.
        name: String,
    },
    /// The world has one already.
    #[error("the world already has a {kind} {name:?}")]
    Exists {
        /// What was to be added.
        kind: &'static str,
        /// Its name.
        name: String,
    },
    /// The switch is of a kind the lab does not emulate; only the cloud manager knows it.
    #[error("switch {switch:?} is only declared: the lab emulates no {kind} switch")]
    NotEmulated {
        /// The switch.
        switch: String,
        /// Its kind.
        kind: String,
    },
    /// The switch is hardware, which has levers of its own.
    #[error(
        "switch {switch:?} is a {kind} and no Open vSwitch: change it through World::hardware_mut({hardware:?})"
    )]
    IsHardware {
        /// The switch.
        switch: String,
        /// Its kind.
        kind: String,
        /// The physical switch behind it.
        hardware: String,
    },
    /// The switch's database refused the edit.
    #[error(transparent)]
    Database(#[from] DatabaseError),
    /// The cloud manager refused the request.
    #[error(transparent)]
    Refused(#[from] ApiError),
    /// The cloud manager accepted the request and its action has not ended well.
    #[error("the networking action on {node} {nic} is {status}")]
    NotDone {
        /// The node.
        node: String,
        /// The nic.
        nic: String,
        /// `PENDING` or `ERROR`.
        status: ActionStatus,
    },
}

/// Everything there is in the cloud.
///
/// The lists are in the manager's database order, which its answers show.
#[derive(Clone, Debug, Default)]
pub struct World {
    /// Projects (tenants), by label.
    pub projects: Vec<String>,
    /// The manager's users.
    pub users: Vec<User>,
    /// Nodes with their nics.
    pub nodes: Vec<Node>,
    /// Networks.
    pub networks: Vec<Network>,
    /// Switches and ports the manager knows.
    pub switches: Vec<Switch>,
    /// Which nic is declared on which network.
    pub attachments: Vec<Attachment>,
    /// Networking actions, oldest first; at most one per nic.
    pub actions: Vec<Action>,
    /// How the manager's REST server behaves.
    pub hil: HilConfig,
    /// The process that turns actions into switch commands.
    pub daemon: Daemon,
    /// Cables between switches. The manager does not know them.
    pub links: Vec<Link>,
    /// Ports that lead out of the audited switches. The manager does not know them either.
    pub exits: Vec<Exit>,
    hosts: BTreeMap<String, OvsHost>,
    hardware: BTreeMap<String, Hardware>,
    consoles: BTreeMap<String, Console>,
    faults: BTreeMap<Service, Fault>,
    restarts: BTreeMap<Service, u64>,
    uuids: u64,
}

impl World {
    /// An empty world.
    pub fn new() -> World {
        World::default()
    }

    // ---- Open vSwitch hosts

    /// Adds an Open vSwitch host (one database, any number of bridges). Does nothing if it exists.
    pub fn add_host(&mut self, host: &str) -> &mut OvsHost {
        let seed = self.hosts.len() as u64 + 1;
        self.hosts.entry(host.to_owned()).or_insert_with(|| OvsHost::new(seed))
    }

    /// An Open vSwitch host.
    pub fn host(&self, host: &str) -> Option<&OvsHost> {
        self.hosts.get(host)
    }

    /// An Open vSwitch host, to edit it out of band.
    ///
    /// # Errors
    /// There is no such host.
    pub fn host_mut(&mut self, host: &str) -> Result<&mut OvsHost, WorldError> {
        self.hosts.get_mut(host).ok_or_else(|| WorldError::Missing { kind: "host", name: host.to_owned() })
    }

    /// The names of the Open vSwitch hosts.
    pub fn hosts(&self) -> impl Iterator<Item = &str> {
        self.hosts.keys().map(String::as_str)
    }

    /// The Open vSwitch host a switch is on, to edit it out of band.
    ///
    /// # Errors
    /// There is no such switch, or the lab does not emulate its kind.
    pub fn switch_mut(&mut self, switch: &str) -> Result<&mut OvsHost, WorldError> {
        let (host, _) = self.bridge_of(switch)?;
        self.host_mut(&host)
    }

    /// The host and bridge behind a switch.
    ///
    /// # Errors
    /// There is no such switch, or the lab does not emulate its kind.
    pub fn bridge_of(&self, switch: &str) -> Result<(String, String), WorldError> {
        let found = self
            .switches
            .iter()
            .find(|s| s.label == switch)
            .ok_or_else(|| WorldError::Missing { kind: "switch", name: switch.to_owned() })?;
        match &found.kind {
            SwitchKind::Ovs { host, bridge } => Ok((host.clone(), bridge.clone())),
            other => {
                let (switch, kind) = (switch.to_owned(), other.class_name().to_owned());
                Err(match &found.device {
                    Some(device) => {
                        WorldError::IsHardware { switch, kind, hardware: device.hardware.clone() }
                    }
                    None => WorldError::NotEmulated { switch, kind },
                })
            }
        }
    }

    /// Cuts the power of an Open vSwitch host or a hardware switch and restores it. Of a host: connections drop, flows, groups and meters are gone, and the
    /// database is what was saved at the last [`OvsHost::save_startup`] (if it was ever called; the real one is written
    /// to disk at every change). Of a hardware switch: connections drop, and it comes back with its startup configuration.
    ///
    /// # Errors
    /// There is no such host and no such hardware switch.
    pub fn power_cut(&mut self, host: &str) -> Result<(), WorldError> {
        if let Some(switch) = self.hardware.get_mut(host) {
            switch.boot();
            self.restart(Service::Rest(host.to_owned()));
            self.restart(Service::Console(host.to_owned()));
            return Ok(());
        }
        let found = self.host_mut(host)?;
        found.boot();
        let agents: Vec<Service> = found
            .bridges()
            .map(|bridge| Service::OpenFlow { host: host.to_owned(), bridge: bridge.to_owned() })
            .collect();
        self.restart(Service::Ovsdb(host.to_owned()));
        for agent in agents {
            self.restart(agent);
        }
        Ok(())
    }

    // ---- the wire

    /// Makes a service misbehave until [`World::clear_fault`].
    pub fn set_fault(&mut self, service: Service, fault: Fault) {
        self.faults.insert(service, fault);
    }

    /// Makes a service behave again.
    pub fn clear_fault(&mut self, service: &Service) {
        self.faults.remove(service);
    }

    /// How a service misbehaves now.
    pub fn fault(&self, service: &Service) -> Option<&Fault> {
        self.faults.get(service)
    }

    /// Drops every connection of a service, as a restart of its process does.
    pub fn restart(&mut self, service: Service) {
        *self.restarts.entry(service).or_default() += 1;
    }

    pub(crate) fn restarts(&self, service: &Service) -> u64 {
        self.restarts.get(service).copied().unwrap_or_default()
    }
}

impl fmt::Display for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} - {}", self.a, self.b)
    }
}
