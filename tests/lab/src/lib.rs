//! A cloud in a box: an emulated HIL and switches that speak the real protocols.
//!
//! One shared [`World`] holds what the cloud manager declares and what the switches do. The emulators are views of it over
//! the real protocols: [`HilServer`] (REST), [`OvsdbServer`] (RFC 7047), [`OpenFlowServer`] (OpenFlow 1.3 to 1.5),
//! [`RestServer`] (Brocade NOS and Dell OS 9 over HTTP) and [`ConsoleServer`] (Dell PowerConnect 5500, Dell N3000 and Cisco
//! Nexus over SSH), on loopback or unix sockets. [`Lab`] starts them all.
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> std::io::Result<()> {
//! use isoledger_lab::{Fault, Lab, Service, World};
//!
//! let lab = Lab::start(World::two_tenants()).await?;
//! lab.edit(|world| {
//!     world.attach("node06", "eth0", "red-net", None).unwrap_err();        // HIL refuses: the node is free
//!     world.switch_mut("sw2").unwrap().set_port("sw2p4", "tag", 100u16).unwrap(); // the switch does not
//!     world.set_fault(Service::Ovsdb("sw1".into()), Fault::Silent);
//! });
//! # Ok(()) }
//! ```
//!
//! # In scope
//! - HIL's API with its quirks, its daemon with its races, its drivers with their faults ([`Driver::StockHil`]).
//! - The configuration of switches, and every way it can change without the manager: [`OvsHost`], [`Hardware`].
//! - Every way a peer can fail on the wire: [`Fault`].
//! - What was asked: [`Cloud::commands`], [`Cloud::assert_only_reads`], and hooks in the middle of it: [`Cloud::on`].
//! # Out of scope
//! - Forwarding packets. The lab says what a switch is configured to do; the tests against real switches say what that does.
//! - Judging. The lab shares no code with the readers it is for, so that both must read the protocols rightly.

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod cloud;
mod console;
mod fault;
mod hil;
mod http;
mod lab;
pub mod openflow;
pub mod ovsdb;
mod rest;
mod serve;
mod world;

pub use cloud::{Cloud, Recorded, Traffic, When};
pub use console::ConsoleServer;
pub use fault::{Fault, Service};
pub use hil::HilServer;
pub use lab::{
    Credentials, HardwareAddresses, Lab, LabOptions, OpenFlowAddresses, OvsdbAddresses, Registration,
    RestAddresses, SwitchAddresses,
};
pub use openflow::{OpenFlowOptions, OpenFlowServer};
pub use ovsdb::{OvsdbOptions, OvsdbServer};
pub use rest::{CertificateLever, RestServer};
pub use serve::{Address, Endpoint};
pub use world::{
    Account, Action, ActionKind, ActionStatus, Allocator, ApiError, ApiErrorKind, Attachment, Bridge,
    Carries, ClassifiedBy, Console, ConsoleLogin, Daemon, DaemonDeath, DaemonStep, Device, Driver, Dynamic,
    DynamicBy, Erase, Exit, General, Hardware, HardwareKind, HilConfig, HwConfig, HwPort, HwVlan, Link,
    MirrorSpec, Network, Nic, Node, OvsHost, PortAt, PortMode, PortProfile, PortVlans, PrivateVlan,
    Privilege, RestStyle, SpanSession, SshMethods, Switch, SwitchKind, User, VlanList, VlanRanges, VlanRule,
    VlanTranslation, World, WorldError,
};
