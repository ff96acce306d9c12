//! HIL's channels, as its API and its database write them.

use super::answer::quote;
use isoledger_core::VlanId;
use isoledger_core::model::{Channel, NetworkVlan};

/// A channel, and whether it fits the network: a tagged one must name its network's own id, since which of two different
/// ids the switch was given cannot be known from here. `vlan` is `None` where the network's is not known.
pub(crate) fn read(channel: &str, vlan: Option<&NetworkVlan>) -> (Channel, bool) {
    if channel == "vlan/native" {
        return (Channel::Native, true);
    }
    let tag = channel.strip_prefix("vlan/");
    match (tag.and_then(VlanId::parse), vlan) {
        (Some(tag), None) => (Channel::Tagged(tag), true),
        (Some(tag), Some(NetworkVlan::Id(id))) => (Channel::Tagged(tag), tag == *id),
        (Some(tag), Some(NetworkVlan::Unassessable(_))) => (Channel::Tagged(tag), false),
        // The null allocator's channel, and a tag that is no VLAN id of a network that has none either.
        (None, Some(NetworkVlan::Unassessable(id))) => {
            (Channel::Other(channel.into()), channel == "null" || tag == Some(id.as_str()))
        }
        (None, _) => (Channel::Other(channel.into()), false),
    }
}

/// The anomaly of a channel that does not fit its network.
pub(crate) fn misfit(network: &str, channel: &str) -> String {
    format!(
        "is on network \"{}\" by channel \"{}\"; `vlan/native` or `vlan/` and the network's own id was expected",
        quote(network.as_bytes()),
        quote(channel.as_bytes())
    )
}
