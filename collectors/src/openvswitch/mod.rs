//! Open vSwitch, read over OVSDB JSON-RPC and OpenFlow.

use crate::{Evidence, SourceError};
use isoledger_core::model::Observed;

/// The dialect's name.
pub const DIALECT: &str = "openvswitch";
/// The parser's version.
pub const VERSION: u32 = 1;

/// What the bridge did, from the evidence of one reading. Pure.
pub fn normalise(_evidence: &Evidence) -> Result<Observed, SourceError> {
    Err(SourceError::unreadable("no Open vSwitch evidence"))
}
