//! The ways a service can misbehave on the wire, whatever its protocol.

use std::fmt;
use std::time::Duration;

/// A service of the lab.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Service {
    /// The cloud manager's REST API.
    Hil,
    /// The database of an Open vSwitch host.
    Ovsdb(String),
    /// The OpenFlow agent of a bridge.
    OpenFlow {
        /// The Open vSwitch host.
        host: String,
        /// The bridge.
        bridge: String,
    },
    /// The REST interface of a hardware switch, by the name of the physical switch.
    Rest(String),
    /// The command line of a hardware switch, by the name of the physical switch.
    Console(String),
    /// What that command line says, inside SSH: its faults are in the text of the terminal, those of
    /// [`Service::Console`] are in the bytes of the connection.
    Terminal(String),
}

impl fmt::Display for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Service::Hil => f.write_str("hil"),
            Service::Ovsdb(host) => write!(f, "ovsdb:{host}"),
            Service::OpenFlow { host, bridge } => write!(f, "openflow:{host}/{bridge}"),
            Service::Rest(switch) => write!(f, "rest:{switch}"),
            Service::Console(switch) => write!(f, "console:{switch}"),
            Service::Terminal(switch) => write!(f, "terminal:{switch}"),
        }
    }
}

/// One way to misbehave. It lasts until it is cleared, and applies to every answer of the service.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// Nobody listens: connections are refused.
    Refuse,
    /// The listener is there and accepts nothing: clients connect (the kernel answers) and hear nothing.
    Unaccepted,
    /// Connections are accepted, requests are read, no answer ever comes. Clearing the fault closes such connections.
    Silent,
    /// Each answer waits this long.
    Delay(Duration),
    /// Each byte of an answer waits this long.
    Trickle(Duration),
    /// These bytes are sent in place of each answer.
    Garbage(Vec<u8>),
    /// Only this many bytes of the answer are sent, then the sending half is closed; the connection stays half open
    /// until the client goes or the fault is cleared.
    HalfClose {
        /// Bytes sent first.
        after: usize,
    },
    /// Only this many bytes of the answer are sent, then the connection is closed.
    Cut {
        /// Bytes sent first.
        after: usize,
    },
}
