//! What HIL holds, and the rules by which it changes it. Messages and their order are HIL's own: a client sees them.

use std::fmt;
use std::time::Duration;

use super::driver;
use super::hardware::Device;
use super::hardware_driver::Change;
use super::{World, WorldError};
use crate::ovsdb::Uuid;

/// A user of HIL's database authentication.
#[derive(Clone, PartialEq, Eq)]
pub struct User {
    /// The name.
    pub name: String,
    /// The password, which the lab keeps in the clear.
    pub password: String,
    /// Whether the user may do everything.
    pub is_admin: bool,
    /// The projects the user belongs to.
    pub projects: Vec<String>,
}

impl fmt::Debug for User {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("User")
            .field("name", &self.name)
            .field("is_admin", &self.is_admin)
            .field("projects", &self.projects)
            .finish_non_exhaustive()
    }
}

/// A node. It is free while it has no project.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// The name.
    pub label: String,
    /// The project that has it.
    pub project: Option<String>,
    /// Label and value; the value is JSON text, which HIL shows as a string.
    pub metadata: Vec<(String, String)>,
    /// Its nics.
    pub nics: Vec<Nic>,
}

/// A network interface of a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Nic {
    /// The name on the node.
    pub label: String,
    /// The MAC address as it was registered.
    pub mac: String,
    /// The switch port it is declared to be wired to.
    pub port: Option<PortAt>,
}

/// A port of a switch.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PortAt {
    /// The switch.
    pub switch: String,
    /// The port.
    pub port: String,
}

impl PortAt {
    /// The port `port` of `switch`.
    pub fn new(switch: &str, port: &str) -> PortAt {
        PortAt { switch: switch.to_owned(), port: port.to_owned() }
    }
}

impl fmt::Display for PortAt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.switch, self.port)
    }
}

/// A switch as HIL knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Switch {
    /// The name.
    pub label: String,
    /// What it is.
    pub kind: SwitchKind,
    /// The ports registered with HIL. The switch may have more.
    pub ports: Vec<String>,
    /// The hardware behind it. `None` for Open vSwitch, and for a switch that only HIL knows.
    pub device: Option<Device>,
}

/// What a switch is.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SwitchKind {
    /// An Open vSwitch bridge, which the lab emulates.
    Ovs {
        /// The host whose database it is in.
        host: String,
        /// The bridge.
        bridge: String,
    },
    /// Dell PowerConnect 5500.
    PowerConnect55xx,
    /// Dell N3000.
    DellN3000,
    /// Cisco Nexus.
    Nexus,
    /// Brocade VDX, NOS.
    Brocade,
    /// Dell S3048-ON, OS 9.
    DellNos9,
    /// HIL's own mock: it takes every command and does nothing.
    Mock,
}

impl SwitchKind {
    /// HIL's class name, which its error messages show.
    pub fn class_name(&self) -> &'static str {
        match self {
            SwitchKind::Ovs { .. } => "Ovs",
            SwitchKind::PowerConnect55xx => "PowerConnect55xx",
            SwitchKind::DellN3000 => "DellN3000",
            SwitchKind::Nexus => "Nexus",
            SwitchKind::Brocade => "Brocade",
            SwitchKind::DellNos9 => "DellNOS9",
            SwitchKind::Mock => "MockSwitch",
        }
    }

    /// HIL's capability list.
    pub(crate) fn capabilities(&self) -> &'static [&'static str] {
        match self {
            SwitchKind::Brocade | SwitchKind::DellNos9 => &[],
            _ => &["nativeless-trunk-mode"],
        }
    }
}

/// A network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Network {
    /// The name.
    pub label: String,
    /// The owning project; `None` is the administrator.
    pub owner: Option<String>,
    /// The projects that may use it, in the order they were added; none at all means everybody.
    pub access: Vec<String>,
    /// The VLAN id as HIL has it: text that nobody checked (`4096`, or a UUID with the null allocator).
    pub network_id: String,
}

/// A declared attachment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attachment {
    /// The node.
    pub node: String,
    /// The nic.
    pub nic: String,
    /// The network.
    pub network: String,
    /// `vlan/native`, `vlan/ID`, or `null` with the null allocator.
    pub channel: String,
}

/// Whether an action has been carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ActionStatus {
    /// Not yet, or the daemon died on it.
    Pending,
    /// The switch and the database were changed.
    Done,
    /// The switch refused; the database was not changed.
    Error,
}

impl fmt::Display for ActionStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ActionStatus::Pending => "PENDING",
            ActionStatus::Done => "DONE",
            ActionStatus::Error => "ERROR",
        })
    }
}

/// What an action does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ActionKind {
    /// Puts a network on a channel, or (`None`) takes away the one that is there.
    ModifyPort {
        /// The new network of the channel.
        network: Option<String>,
        /// The channel.
        channel: String,
    },
    /// Takes everything away from the port.
    RevertPort,
}

/// A networking action: a promise to change a switch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Action {
    /// The `status_id` that only the requester is told.
    pub uuid: Uuid,
    /// The node.
    pub node: String,
    /// The nic.
    pub nic: String,
    /// What to do.
    pub kind: ActionKind,
    /// How far it is.
    pub status: ActionStatus,
    /// Whether the switch has been written by the daemon that is alive now.
    pub(crate) written: bool,
}

/// How HIL makes network ids and channels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Allocator {
    /// `hil.ext.network_allocators.vlan_pool`: ids are VLAN numbers.
    VlanPool,
    /// `hil.ext.network_allocators.null`: ids are UUIDs and the only channel is `null`.
    Null,
}

impl Allocator {
    pub(crate) fn channels(&self, network_id: &str) -> Vec<String> {
        match self {
            Allocator::VlanPool => vec!["vlan/native".to_owned(), format!("vlan/{network_id}")],
            Allocator::Null => vec!["null".to_owned()],
        }
    }

    pub(crate) fn default_channel(&self) -> &'static str {
        match self {
            Allocator::VlanPool => "vlan/native",
            Allocator::Null => "null",
        }
    }
}

/// How HIL's REST server behaves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HilConfig {
    /// What each check of a password costs. The real one takes 0.3 to 0.8 seconds of CPU.
    pub auth_delay: Duration,
    /// `[auth] require_authentication`.
    pub require_authentication: bool,
    /// Which allocator is loaded.
    pub allocator: Allocator,
    /// Extension modules, as `/active_extensions` lists them.
    pub extensions: Vec<String>,
    /// `[headnode] base_imgs`.
    pub headnode_images: Vec<String>,
    /// Gives the nics of a node in another order at each request. SQL without ORDER BY may do so.
    pub shuffle_nics: bool,
}

impl Default for HilConfig {
    fn default() -> HilConfig {
        HilConfig {
            auth_delay: Duration::ZERO,
            require_authentication: true,
            allocator: Allocator::VlanPool,
            extensions: ["auth.database", "network_allocators.vlan_pool", "switches.ovs"]
                .map(|e| format!("hil.ext.{e}"))
                .to_vec(),
            headnode_images: vec!["img1".to_owned(), "img2".to_owned()],
            shuffle_nics: false,
        }
    }
}

/// HIL's error classes, which decide the status code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ApiErrorKind {
    /// 400: an argument that makes no sense.
    BadArgument,
    /// 400: a request that does not have the right shape.
    Validation,
    /// 401: not authenticated, or not allowed.
    Authorization,
    /// 404: no such object.
    NotFound,
    /// 409: there is one already.
    Duplicate,
    /// 409: something is in the way.
    Blocked,
    /// 409: the node's project may not.
    ProjectMismatch,
}

impl ApiErrorKind {
    /// The HTTP status.
    pub fn status(self) -> u16 {
        match self {
            ApiErrorKind::BadArgument | ApiErrorKind::Validation => 400,
            ApiErrorKind::Authorization => 401,
            ApiErrorKind::NotFound => 404,
            ApiErrorKind::Duplicate | ApiErrorKind::Blocked | ApiErrorKind::ProjectMismatch => 409,
        }
    }

    /// The class name in the answer.
    pub fn class_name(self) -> &'static str {
        match self {
            ApiErrorKind::BadArgument => "BadArgumentError",
            ApiErrorKind::Validation => "ValidationError",
            ApiErrorKind::Authorization => "AuthorizationError",
            ApiErrorKind::NotFound => "NotFoundError",
            ApiErrorKind::Duplicate => "DuplicateError",
            ApiErrorKind::Blocked => "BlockedError",
            ApiErrorKind::ProjectMismatch => "ProjectMismatchError",
        }
    }
}

/// HIL said no.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("HIL answers {}: {msg}", kind.class_name())]
pub struct ApiError {
    /// The class.
    pub kind: ApiErrorKind,
    /// The text.
    pub msg: String,
}

impl ApiError {
    pub(crate) fn new(kind: ApiErrorKind, msg: impl Into<String>) -> ApiError {
        ApiError { kind, msg: msg.into() }
    }

    pub(crate) fn missing(class: &str, label: &str) -> ApiError {
        ApiError::new(ApiErrorKind::NotFound, format!("{class} {label} does not exist."))
    }
}

impl World {
    // ---- building what HIL declares

    /// Adds a project.
    pub fn add_project(&mut self, label: &str) {
        self.projects.push(label.to_owned());
    }

    /// Adds a user.
    pub fn add_user(&mut self, name: &str, password: &str, is_admin: bool, projects: &[&str]) {
        self.users.push(User {
            name: name.to_owned(),
            password: password.to_owned(),
            is_admin,
            projects: projects.iter().map(|p| (*p).to_owned()).collect(),
        });
    }

    /// Adds a node without nics, free or in a project.
    pub fn add_node(&mut self, label: &str, project: Option<&str>) {
        self.nodes.push(Node {
            label: label.to_owned(),
            project: project.map(str::to_owned),
            metadata: Vec::new(),
            nics: Vec::new(),
        });
    }

    /// Adds a nic to a node, wired to nothing.
    ///
    /// # Errors
    /// There is no such node.
    pub fn add_nic(&mut self, node: &str, nic: &str, mac: &str) -> Result<(), WorldError> {
        let nic = Nic { label: nic.to_owned(), mac: mac.to_owned(), port: None };
        self.node_mut(node)?.nics.push(nic);
        Ok(())
    }

    /// Declares a nic to be wired to a port.
    ///
    /// # Errors
    /// There is no such nic.
    pub fn wire(&mut self, node: &str, nic: &str, switch: &str, port: &str) -> Result<(), WorldError> {
        self.nic_mut(node, nic)?.port = Some(PortAt::new(switch, port));
        Ok(())
    }

    /// Adds a network. No owner is the administrator; an empty access list is everybody.
    pub fn add_network(&mut self, label: &str, owner: Option<&str>, access: &[&str], network_id: &str) {
        self.networks.push(Network {
            label: label.to_owned(),
            owner: owner.map(str::to_owned),
            access: access.iter().map(|p| (*p).to_owned()).collect(),
            network_id: network_id.to_owned(),
        });
    }

    /// Adds a switch that is a bridge `br-LABEL` on an Open vSwitch host of its own, called like the switch.
    ///
    /// # Errors
    /// The bridge exists.
    pub fn add_ovs_switch(&mut self, label: &str) -> Result<(), WorldError> {
        self.add_ovs_switch_on(label, label, &format!("br-{label}"))
    }

    /// Adds a switch that is the bridge `bridge` on `host`; both are made if need be.
    ///
    /// # Errors
    /// A switch of that name exists.
    pub fn add_ovs_switch_on(&mut self, label: &str, host: &str, bridge: &str) -> Result<(), WorldError> {
        let kind = SwitchKind::Ovs { host: host.to_owned(), bridge: bridge.to_owned() };
        let made = self.add_host(host);
        if !made.bridges().any(|b| b == bridge) {
            made.add_bridge(bridge)?;
        }
        self.add_declared_switch(label, kind)
    }

    /// Adds a switch to HIL only; nothing is behind it.
    ///
    /// # Errors
    /// A switch of that name exists.
    pub fn add_declared_switch(&mut self, label: &str, kind: SwitchKind) -> Result<(), WorldError> {
        if self.switches.iter().any(|s| s.label == label) {
            return Err(WorldError::Exists { kind: "switch", name: label.to_owned() });
        }
        self.switches.push(Switch { label: label.to_owned(), kind, ports: Vec::new(), device: None });
        Ok(())
    }

    /// Registers a port with HIL. The switch itself is not touched.
    ///
    /// # Errors
    /// There is no such switch.
    pub fn register_port(&mut self, switch: &str, port: &str) -> Result<(), WorldError> {
        let found = self
            .switches
            .iter_mut()
            .find(|s| s.label == switch)
            .ok_or_else(|| WorldError::Missing { kind: "switch", name: switch.to_owned() })?;
        found.ports.push(port.to_owned());
        Ok(())
    }

    /// Adds a port to a switch as the driver would leave an unused one, and registers it with HIL.
    ///
    /// # Errors
    /// There is no such switch, the lab does not emulate its kind, or it has the port.
    pub fn add_port(&mut self, switch: &str, port: &str) -> Result<(), WorldError> {
        if self.switch(switch).is_some_and(|s| s.device.is_some()) {
            let (hardware, native) = self.hardware_port(switch, port)?;
            let driver = self.daemon.driver;
            let device = self.hardware_mut(&hardware)?;
            device.add_port(&native)?;
            driver.unused_hardware_port(device, &native)?;
            return self.register_port(switch, port);
        }
        let (host, bridge) = self.bridge_of(switch)?;
        let unused = self.daemon.driver.unused_port();
        self.host_mut(&host)?.add_port(&bridge, port, &unused)?;
        self.register_port(switch, port)
    }

    // ---- looking up

    /// A node.
    pub fn node(&self, label: &str) -> Option<&Node> {
        self.nodes.iter().find(|n| n.label == label)
    }

    /// A network.
    pub fn network(&self, label: &str) -> Option<&Network> {
        self.networks.iter().find(|n| n.label == label)
    }

    /// A switch.
    pub fn switch(&self, label: &str) -> Option<&Switch> {
        self.switches.iter().find(|s| s.label == label)
    }

    /// The nic declared to be on a port.
    pub fn nic_at(&self, at: &PortAt) -> Option<(&Node, &Nic)> {
        self.nodes
            .iter()
            .flat_map(|node| node.nics.iter().map(move |nic| (node, nic)))
            .find(|(_, nic)| nic.port.as_ref() == Some(at))
    }

    /// A networking action.
    pub fn action(&self, uuid: Uuid) -> Option<&Action> {
        self.actions.iter().find(|a| a.uuid == uuid)
    }

    fn node_mut(&mut self, label: &str) -> Result<&mut Node, WorldError> {
        self.nodes
            .iter_mut()
            .find(|n| n.label == label)
            .ok_or_else(|| WorldError::Missing { kind: "node", name: label.to_owned() })
    }

    fn nic_mut(&mut self, node: &str, nic: &str) -> Result<&mut Nic, WorldError> {
        self.node_mut(node)?
            .nics
            .iter_mut()
            .find(|n| n.label == nic)
            .ok_or_else(|| WorldError::Missing { kind: "nic", name: format!("{node} {nic}") })
    }

    fn find_node(&self, label: &str) -> Result<&Node, ApiError> {
        self.node(label).ok_or_else(|| ApiError::missing("Node", label))
    }

    fn find_nic(&self, node: &str, nic: &str) -> Result<&Nic, ApiError> {
        self.find_node(node)?.nics.iter().find(|n| n.label == nic).ok_or_else(|| {
            ApiError::new(ApiErrorKind::NotFound, format!("Nic {nic} on Node {node} does not exist."))
        })
    }

    pub(crate) fn attached(&self, node: &str, nic: &str) -> impl Iterator<Item = &Attachment> {
        self.attachments.iter().filter(move |a| a.node == node && a.nic == nic)
    }

    fn pending(&self, node: &str, nic: &str) -> bool {
        self.actions.iter().any(|a| a.node == node && a.nic == nic && a.status == ActionStatus::Pending)
    }

    pub(crate) fn has_pending(&self, node: &str) -> bool {
        self.actions.iter().any(|a| a.node == node && a.status == ActionStatus::Pending)
    }

    // ---- asking HIL for a change: a PENDING action, or its refusal. The order of the checks is HIL's.

    /// What `connect_network` does for a user for whom `allowed(project)` holds.
    pub(crate) fn queue_connect(
        &mut self,
        (node, nic): (&str, &str),
        network: &str,
        channel: Option<&str>,
        allowed: impl Fn(&str) -> bool,
    ) -> Result<Uuid, ApiError> {
        use ApiErrorKind::{BadArgument, Blocked, NotFound, ProjectMismatch};
        let found = self.find_node(node)?;
        let wired = self.find_nic(node, nic)?;
        let net = self.network(network).ok_or_else(|| ApiError::missing("Network", network))?;
        let project = project_of(found, &allowed)?;
        let Some(port) = &wired.port else {
            return Err(ApiError::new(NotFound, "No port is connected to given nic."));
        };
        if self.pending(node, nic) {
            return Err(ApiError::new(Blocked, "A networking operation is already active on the nic."));
        }
        if !net.access.is_empty() && !net.access.iter().any(|p| p == project) {
            return Err(ApiError::new(ProjectMismatch, "Project does not have access to given network."));
        }
        if self.attached(node, nic).any(|a| a.network == network) {
            return Err(ApiError::new(Blocked, "The network is already attached to the nic."));
        }
        let channel = channel.unwrap_or(self.hil.allocator.default_channel());
        if self.attached(node, nic).any(|a| a.channel == channel) {
            return Err(ApiError::new(Blocked, "The channel is already in use on the nic."));
        }
        if !self.hil.allocator.channels(&net.network_id).iter().any(|c| c == channel) {
            let msg = format!("Channel u'{channel}', is not legal for this network.");
            return Err(ApiError::new(BadArgument, msg));
        }
        let nativeless = self.switch(&port.switch).is_some_and(|s| !s.kind.capabilities().is_empty());
        let has_native = self.attached(node, nic).any(|a| a.channel == "vlan/native");
        if !nativeless && channel != "vlan/native" && !has_native {
            return Err(ApiError::new(Blocked, "Please attach a native network first"));
        }
        let kind = ActionKind::ModifyPort { network: Some(network.to_owned()), channel: channel.to_owned() };
        Ok(self.queue(node, nic, kind))
    }

    /// What `detach_network` does.
    pub(crate) fn queue_detach(
        &mut self,
        (node, nic): (&str, &str),
        network: &str,
        allowed: impl Fn(&str) -> bool,
    ) -> Result<Uuid, ApiError> {
        let found = self.find_node(node)?;
        self.network(network).ok_or_else(|| ApiError::missing("Network", network))?;
        self.find_nic(node, nic)?;
        project_of(found, &allowed)?;
        if self.pending(node, nic) {
            let msg = "A networking operation is already active on the nic.";
            return Err(ApiError::new(ApiErrorKind::Blocked, msg));
        }
        let Some(attachment) = self.attached(node, nic).find(|a| a.network == network) else {
            return Err(ApiError::new(ApiErrorKind::BadArgument, "The network is not attached to the nic."));
        };
        let kind = ActionKind::ModifyPort { network: None, channel: attachment.channel.clone() };
        Ok(self.queue(node, nic, kind))
    }

    /// What `revert` does, for an administrator.
    pub(crate) fn queue_revert(&mut self, at: &PortAt) -> Result<Uuid, ApiError> {
        let Some((node, nic)) = self.nic_at(at) else {
            return Err(ApiError::new(ApiErrorKind::NotFound, format!("{} not attached", at.port)));
        };
        let (node, nic) = (node.label.clone(), nic.label.clone());
        if self.pending(&node, &nic) {
            return Err(ApiError::new(ApiErrorKind::Blocked, "Port already has a pending action."));
        }
        Ok(self.queue(&node, &nic, ActionKind::RevertPort))
    }

    /// The new action replaces the nic's old one, whose UUID is unknown from then on.
    fn queue(&mut self, node: &str, nic: &str, kind: ActionKind) -> Uuid {
        self.actions.retain(|a| a.node != node || a.nic != nic);
        self.uuids += 1;
        let uuid = Uuid::nth(self.uuids);
        let (node, nic) = (node.to_owned(), nic.to_owned());
        self.actions.push(Action { uuid, node, nic, kind, status: ActionStatus::Pending, written: false });
        uuid
    }

    // ---- levers: the whole way through HIL

    /// Attaches a network as an administrator would through HIL, and lets the daemon do its work.
    /// No channel is HIL's default, `vlan/native`.
    ///
    /// # Errors
    /// HIL refuses, the switch refuses, or the daemon is dead.
    pub fn attach(
        &mut self,
        node: &str,
        nic: &str,
        network: &str,
        channel: Option<&str>,
    ) -> Result<(), WorldError> {
        let uuid = self.queue_connect((node, nic), network, channel, |_| true)?;
        self.finish(uuid)
    }

    /// Detaches a network through HIL, and lets the daemon do its work.
    ///
    /// # Errors
    /// As [`World::attach`].
    pub fn detach(&mut self, node: &str, nic: &str, network: &str) -> Result<(), WorldError> {
        let uuid = self.queue_detach((node, nic), network, |_| true)?;
        self.finish(uuid)
    }

    /// Reverts a port through HIL, and lets the daemon do its work.
    ///
    /// # Errors
    /// As [`World::attach`].
    pub fn revert(&mut self, switch: &str, port: &str) -> Result<(), WorldError> {
        let uuid = self.queue_revert(&PortAt::new(switch, port))?;
        self.finish(uuid)
    }

    /// Attaches a network in HIL and leaves the action PENDING, to be driven by [`World::daemon_step`].
    ///
    /// # Errors
    /// HIL refuses.
    pub fn begin_attach(
        &mut self,
        node: &str,
        nic: &str,
        network: &str,
        channel: Option<&str>,
    ) -> Result<Uuid, WorldError> {
        Ok(self.queue_connect((node, nic), network, channel, |_| true)?)
    }

    /// Detaches a network in HIL and leaves the action PENDING.
    ///
    /// # Errors
    /// HIL refuses.
    pub fn begin_detach(&mut self, node: &str, nic: &str, network: &str) -> Result<Uuid, WorldError> {
        Ok(self.queue_detach((node, nic), network, |_| true)?)
    }

    /// Reverts a port in HIL and leaves the action PENDING.
    ///
    /// # Errors
    /// HIL refuses.
    pub fn begin_revert(&mut self, switch: &str, port: &str) -> Result<Uuid, WorldError> {
        Ok(self.queue_revert(&PortAt::new(switch, port))?)
    }

    fn finish(&mut self, uuid: Uuid) -> Result<(), WorldError> {
        self.run_daemon();
        match self.action(uuid) {
            Some(action) if action.status != ActionStatus::Done => {
                let (node, nic) = (action.node.clone(), action.nic.clone());
                Err(WorldError::NotDone { node, nic, status: action.status })
            }
            _ => Ok(()),
        }
    }

    // ---- levers: HIL's database alone

    /// Declares an attachment without touching the switch: what a console driver leaves when the switch refused.
    pub fn declare(&mut self, node: &str, nic: &str, network: &str, channel: &str) {
        let [node, nic, network, channel] = [node, nic, network, channel].map(str::to_owned);
        self.attachments.push(Attachment { node, nic, network, channel });
    }

    /// Removes a declared attachment without touching the switch.
    pub fn undeclare(&mut self, node: &str, nic: &str, network: &str) {
        self.attachments.retain(|a| a.node != node || a.nic != nic || a.network != network);
    }

    /// Gives a node to a project, or frees it, whatever is attached.
    ///
    /// # Errors
    /// There is no such node.
    pub fn move_node(&mut self, node: &str, project: Option<&str>) -> Result<(), WorldError> {
        self.node_mut(node)?.project = project.map(str::to_owned);
        Ok(())
    }

    /// Lets a project use a network.
    ///
    /// # Errors
    /// There is no such network.
    pub fn grant(&mut self, network: &str, project: &str) -> Result<(), WorldError> {
        let access = self.access_mut(network)?;
        if !access.iter().any(|p| p == project) {
            access.push(project.to_owned());
        }
        Ok(())
    }

    /// No longer lets a project use a network, whatever is attached.
    /// Beware that a network without any project is open to all.
    ///
    /// # Errors
    /// There is no such network.
    pub fn revoke(&mut self, network: &str, project: &str) -> Result<(), WorldError> {
        self.access_mut(network)?.retain(|p| p != project);
        Ok(())
    }

    fn access_mut(&mut self, network: &str) -> Result<&mut Vec<String>, WorldError> {
        self.networks
            .iter_mut()
            .find(|n| n.label == network)
            .map(|n| &mut n.access)
            .ok_or_else(|| WorldError::Missing { kind: "network", name: network.to_owned() })
    }

    /// Writes an action to its switch. The error is the driver's words.
    pub(super) fn drive(&mut self, action: &Action) -> Result<(), driver::SwitchError> {
        let port = self
            .find_nic(&action.node, &action.nic)
            .ok()
            .and_then(|nic| nic.port.clone())
            .ok_or_else(|| driver::SwitchError::new("the nic is on no port"))?;
        let (kind, device) = match self.switch(&port.switch) {
            Some(switch) => (switch.kind.clone(), switch.device.clone()),
            None => return Err(driver::SwitchError::new("the switch is not registered")),
        };
        let id_of = |network: &str| self.network(network).map(|n| n.network_id.clone());
        let network_id = match &action.kind {
            ActionKind::ModifyPort { network: Some(network), .. } => id_of(network),
            _ => None,
        };
        let driver = self.daemon.driver;
        let failed = |e: WorldError| driver::SwitchError::new(e.to_string());
        match (kind, device) {
            (SwitchKind::Ovs { host, bridge }, _) => {
                let host = self.host_mut(&host).map_err(failed)?;
                driver.apply(host, &bridge, &port.port, &action.kind, network_id.as_deref())
            }
            (SwitchKind::Mock, _) => Ok(()),
            (_, Some(device)) => {
                let old_native = self
                    .attached(&action.node, &action.nic)
                    .find(|a| a.channel == "vlan/native")
                    .and_then(|a| id_of(&a.network));
                let (name, native_port) = self.hardware_port(&port.switch, &port.port).map_err(failed)?;
                let saves = self.daemon.saves;
                let hardware = self.hardware_mut(&name).map_err(failed)?;
                driver.apply_to_hardware(
                    hardware,
                    &Change {
                        device: &device,
                        port: &native_port,
                        kind: &action.kind,
                        network_id: network_id.as_deref(),
                        old_native: old_native.as_deref(),
                    },
                )?;
                if hardware.kind.is_console() && saves {
                    hardware.save_startup();
                }
                Ok(())
            }
            (other, None) => Err(driver::SwitchError::new(format!(
                "nothing is behind this {}: only HIL knows it",
                other.class_name()
            ))),
        }
    }

    /// Records an action that was written to the switch.
    pub(super) fn record(&mut self, action: &Action) {
        match &action.kind {
            ActionKind::ModifyPort { network: Some(network), channel } => {
                self.declare(&action.node, &action.nic, network, channel);
            }
            ActionKind::ModifyPort { network: None, channel } => self
                .attachments
                .retain(|a| a.node != action.node || a.nic != action.nic || a.channel != *channel),
            ActionKind::RevertPort => {
                self.attachments.retain(|a| a.node != action.node || a.nic != action.nic);
            }
        }
    }
}

/// The node's project, if the user may act for it.
fn project_of(node: &Node, allowed: impl Fn(&str) -> bool) -> Result<&str, ApiError> {
    let Some(project) = &node.project else {
        return Err(ApiError::new(ApiErrorKind::ProjectMismatch, "Node not in project"));
    };
    if !allowed(project) {
        let msg = "You do not have access to the required project.";
        return Err(ApiError::new(ApiErrorKind::Authorization, msg));
    }
    Ok(project)
}
