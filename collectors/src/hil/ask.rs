//! What is asked of HIL: every URL of the dialect, and nothing else is ever requested.
//!
//! All are GET. None of them changes anything, none names a credential, a console or a power state
//! (`/node/<n>/power_status` and `/console` answer with a token for the machine's controller), and none is
//! `/network/<n>/attachments`, which is keyed by node and so drops all but one nic of a node.

use std::fmt::Write as _;

/// Labels of all switches. Administrators only, therefore asked first: a refusal here costs one request.
pub const SWITCHES: &str = "/v0/switches";
/// All networks with VLAN id and access list. A user who is not an administrator is shown the public ones only,
/// without a word about the others.
pub const NETWORKS: &str = "/v0/networks";
/// Labels of all nodes. HIL lists all nodes for every last segment but `free`.
pub const NODES: &str = "/v0/nodes/all";
/// A node: its project, its nics, their ports and networks. The only complete source of attachments.
pub const NODE: &str = "/v0/node/<label>";
/// A switch: its registered ports.
pub const SWITCH: &str = "/v0/switch/<label>";
/// A network: its owner, which [`NETWORKS`] does not say, and the nics connected to it.
pub const NETWORK: &str = "/v0/network/<label>";
/// A networking action, found by the uuid that only its requester was told.
pub const ACTION: &str = "/v0/networking_action/<label>";
/// The loaded extensions: authentication backend, network allocator, switch drivers. Asked by `check` only.
pub const EXTENSIONS: &str = "/v0/active_extensions";
/// Labels of all projects. Asked by `check` only.
pub const PROJECTS: &str = "/v0/projects";
/// A port that does not exist on a switch that does: the refusal names the driver. Asked by `check` and
/// `scope propose` only.
pub const SWITCH_KIND: &str = "/v0/switch/<label>/port/isoledger-asks-for-no-such-port";

/// One question. Their order is the order of a crawl and of the evidence: lists first, so that what they name can
/// be asked; networks last, so that their lists of connected nics are younger than the nodes' and show a change
/// that happened between.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Ask {
    /// [`SWITCHES`]
    Switches,
    /// [`NETWORKS`]
    Networks,
    /// [`NODES`]
    Nodes,
    /// [`NODE`]
    Node(String),
    /// [`SWITCH`]
    Switch(String),
    /// [`NETWORK`]
    Network(String),
    /// [`ACTION`]
    Action(String),
    /// [`EXTENSIONS`]
    Extensions,
    /// [`PROJECTS`]
    Projects,
    /// [`SWITCH_KIND`]
    SwitchKind(String),
}

impl Ask {
    fn template(&self) -> (&'static str, &str) {
        match self {
            Ask::Switches => (SWITCHES, ""),
            Ask::Networks => (NETWORKS, ""),
            Ask::Nodes => (NODES, ""),
            Ask::Node(label) => (NODE, label),
            Ask::Switch(label) => (SWITCH, label),
            Ask::Network(label) => (NETWORK, label),
            Ask::Action(uuid) => (ACTION, uuid),
            Ask::Extensions => (EXTENSIONS, ""),
            Ask::Projects => (PROJECTS, ""),
            Ask::SwitchKind(label) => (SWITCH_KIND, label),
        }
    }

    /// The path of the request, from `/v0` on, with the label percent-encoded.
    pub fn path(&self) -> String {
        let (template, label) = self.template();
        template.replace("<label>", &encode(label))
    }

    /// The question that has this path; `None` for a path this dialect never asks, or in another spelling.
    pub fn from_path(path: &str) -> Option<Ask> {
        let fixed = [Ask::Switches, Ask::Networks, Ask::Nodes, Ask::Extensions, Ask::Projects];
        if let Some(ask) = fixed.into_iter().find(|a| a.template().0 == path) {
            return Some(ask);
        }
        type Labelled = (&'static str, fn(String) -> Ask);
        let labelled: [Labelled; 5] = [
            (NODE, Ask::Node),
            (SWITCH, Ask::Switch),
            (NETWORK, Ask::Network),
            (ACTION, Ask::Action),
            (SWITCH_KIND, Ask::SwitchKind),
        ];
        labelled.into_iter().find_map(|(template, make)| {
            let (before, after) = template.split_once("<label>")?;
            let label = path.strip_prefix(before)?.strip_suffix(after)?;
            let ask = make(decode(label)?);
            (ask.path() == path).then_some(ask)
        })
    }

    /// Why HIL's router could not serve this question, if it could not. `.` and `..` are folded away by every
    /// HTTP client, and a slash, although encoded, is a slash to HIL: such a label would be answered with some
    /// other page (`x/attachments`) or with a redirect to a machine's controller (`x/power_status`).
    pub fn unaskable(&self) -> Option<&'static str> {
        let (template, label) = self.template();
        match label {
            _ if !template.contains("<label>") => None,
            "" => Some("its label is empty"),
            "." | ".." => Some("its label is a relative path, which no URL can name"),
            _ if label.contains('/') => Some("its label has a slash, which HIL's router takes for a path"),
            _ => None,
        }
    }
}

/// Percent-encodes all but the unreserved characters of RFC 3986 section 2.3. HIL's server takes any label, whatever
/// HIL's own client would refuse.
fn encode(label: &str) -> String {
    let mut out = String::with_capacity(label.len());
    for byte in label.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            // Writing to a String cannot fail.
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}

fn decode(text: &str) -> Option<String> {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        out.push(match byte {
            b'%' => {
                let high = char::from(bytes.next()?).to_digit(16)?;
                let low = char::from(bytes.next()?).to_digit(16)?;
                u8::try_from(high * 16 + low).ok()?
            }
            other => other,
        });
    }
    String::from_utf8(out).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn paths() {
        for (ask, path) in [
            (Ask::Nodes, "/v0/nodes/all"),
            (Ask::Node("node01".into()), "/v0/node/node01"),
            (Ask::Node("rack 4 100%".into()), "/v0/node/rack%204%20100%25"),
            (Ask::Switch("a/b?c#d".into()), "/v0/switch/a%2Fb%3Fc%23d"),
            (Ask::Network("größe".into()), "/v0/network/gr%C3%B6%C3%9Fe"),
            (Ask::Network("a+b&c=d".into()), "/v0/network/a%2Bb%26c%3Dd"),
            (Ask::SwitchKind("sw1".into()), "/v0/switch/sw1/port/isoledger-asks-for-no-such-port"),
        ] {
            assert_eq!(ask.path(), path);
            assert_eq!(Ask::from_path(path), Some(ask));
        }
    }

    #[test]
    fn other_paths_and_spellings_are_not_ours() {
        for path in [
            "",
            "/v0/networks/",
            "/v0/nodes/free",
            "/v0/node/%6eode01",
            "/v0/node/a%2fb",
            "/v0/node/a b",
            "/v0/node/%",
            "/v0/node/%ff",
            "/v0/node/node01/power_status",
            "/v0/network/red-net/attachments",
        ] {
            assert_eq!(Ask::from_path(path), None, "{path}");
        }
    }

    #[test]
    fn unaskable_labels() {
        for label in ["", ".", "..", "x/attachments", "/"] {
            assert!(Ask::Network(label.into()).unaskable().is_some(), "{label}");
        }
        for label in ["...", "%2e", "free", "a b", "node01"] {
            assert_eq!(Ask::Node(label.into()).unaskable(), None, "{label}");
        }
        assert_eq!(Ask::Nodes.unaskable(), None);
    }

    #[test]
    fn nothing_but_reads() {
        for template in
            [SWITCHES, NETWORKS, NODES, NODE, SWITCH, NETWORK, ACTION, EXTENSIONS, PROJECTS, SWITCH_KIND]
        {
            assert!(template.starts_with("/v0/") && !template.contains('?'), "{template}");
            for forbidden in ["attachments", "power", "console", "obm", "users", "revert", "connect"] {
                assert!(!template.contains(forbidden), "{template}");
            }
        }
    }

    proptest! {
        #[test]
        fn every_label_comes_back(label in any::<String>()) {
            for ask in [Ask::Node(label.clone()), Ask::Network(label.clone()), Ask::Switch(label.clone())] {
                let path = ask.path();
                prop_assert!(path.bytes().all(|b| b.is_ascii_graphic()));
                if ask.unaskable().is_none() {
                    prop_assert_eq!(Ask::from_path(&path), Some(ask));
                }
            }
        }
    }
}
