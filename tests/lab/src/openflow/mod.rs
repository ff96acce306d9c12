//! An OpenFlow switch agent: what is behind `unix:…/br0.mgmt` or a `ptcp:` listener of Open vSwitch.
//!
//! [`Flow`], [`Group`] and [`Meter`] are the data; [`OpenFlowServer`] speaks OpenFlow 1.3.5, 1.4.1 and 1.5.1 about them.

mod flow;
mod server;
mod wire;

pub use flow::{Bucket, Flow, FlowAction, Group, GroupType, Instruction, Match, Meter, port};
pub use server::{OpenFlowOptions, OpenFlowServer};
