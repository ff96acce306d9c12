//! Slices and the common part: what a poll says of one VLAN, and what it says to everybody.
//!
//! A slice holds what concerns one VLAN id; the common part is a list of digests of sections that concern all. Both
//! are canonical JSON and name other people's things by opaque handles only. A verdict is a pure function of the
//! two ([`crate::judge`]). Field tables: docs/formats/slice.md.

use crate::hash::Digest;
use crate::json::{self, JsonError};
use crate::model::{Access, BypassClass, ExitKind, Failure, Owner, PortId, Reader};
use crate::vlan::{VlanId, VlanSet};
use serde::{Deserialize, Serialize};

/// The largest slice or section in bytes.
pub const MAX_SLICE: usize = 16 << 20;
/// A port carrying more VLANs than this is listed once, in the wide section, and in no slice.
pub const WIDE: usize = 256;

fn no(b: &bool) -> bool {
    !*b
}

/// What one poll says of one VLAN.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Slice {
    /// 1.
    pub v: u32,
    /// The VLAN.
    pub vlan: VlanId,
    /// Number of the lease: the `seq` of the poll it began with; 0 when no network is declared.
    pub lease: u64,
    /// Digests of the sections of the networks declared on this VLAN, sorted. Each network is shown its own.
    pub networks: Vec<Digest>,
    /// Ports that carry the VLAN, are declared to, or are the other end of a link one end of which carries it without
    /// a tag; sorted by switch and port handle.
    pub ports: Vec<SlicePort>,
}

/// Whether and how a port carries the slice's VLAN.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Carries {
    /// Not at all.
    None,
    /// Without a tag.
    Untagged,
    /// With a tag.
    Tagged,
    /// Declared in a way that says neither (a channel that is not a VLAN's).
    Other,
}

/// One port in a slice. Members that are false or absent are left out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SlicePort {
    /// Handle of the switch.
    pub switch: Digest,
    /// Handle of the logical port.
    pub port: Digest,
    /// Names, where the scope discloses them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<PortId>,
    /// How the port carries the VLAN by its columns.
    pub carries: Carries,
    /// For each attachment declared here: index into `networks`, and how it is declared.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub declared: Vec<DeclaredAs>,
    /// The cloud manager knows the port.
    #[serde(default, skip_serializing_if = "no")]
    pub registered: bool,
    /// Nics of different nodes are cabled to this one logical port.
    #[serde(default, skip_serializing_if = "no")]
    pub mixed: bool,
    /// The port is one end of a link that may carry the VLAN: handles of the other end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub link: Option<Peer>,
    /// The port is an exit that may carry the VLAN.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit: Option<ExitView>,
    /// Read as administratively down.
    #[serde(default, skip_serializing_if = "no")]
    pub down: bool,
    /// The reading was not understood; `carries` is then what it might carry.
    #[serde(default, skip_serializing_if = "no")]
    pub unreadable: bool,
    /// The operator does not assess the port (reason in the scope section).
    #[serde(default, skip_serializing_if = "no")]
    pub unassessed: bool,
    /// The port was being changed during the poll.
    #[serde(default, skip_serializing_if = "no")]
    pub moving: bool,
    /// It carried the VLAN between the reading before and this one, and at neither; `carries` is what it does now.
    #[serde(default, skip_serializing_if = "no")]
    pub passed: bool,
    /// Of what passed: a node that is cabled here may be on a network of this VLAN, so the cloud manager may have
    /// attached and detached it.
    #[serde(default, skip_serializing_if = "no")]
    pub explained: bool,
}

/// How an attachment is declared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeclaredAs {
    /// Index into the slice's networks.
    pub network: u32,
    /// Untagged, tagged or other.
    #[serde(rename = "as")]
    pub carried: Carries,
}

/// A port by its two handles, such as the other end of a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Peer {
    /// Handle of the switch.
    pub switch: Digest,
    /// Handle of the port.
    pub port: Digest,
}

/// An exit as tenants see it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExitView {
    /// The operator's name for it.
    pub name: String,
    /// What is behind it.
    pub kind: ExitKind,
}

/// What a poll says of one network, shown to that network's projects only. Its digest stands in the slice.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NetworkSection {
    /// 1.
    pub v: u32,
    /// The network's name.
    pub name: String,
    /// Its VLAN.
    pub vlan: VlanId,
    /// Its owner.
    pub owner: Owner,
    /// Its access list.
    pub access: Access,
    /// Number of the lease.
    pub lease: u64,
    /// Keeps others on the same VLAN from guessing this section.
    pub salt: Digest,
    /// Its attachments, sorted.
    pub attachments: Vec<Member>,
}

/// An attachment as its network's projects see it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Member {
    /// The project that holds the node; null for a free node.
    pub project: Option<String>,
    /// The node.
    pub node: String,
    /// The nic.
    pub nic: String,
    /// How it is declared.
    #[serde(rename = "as")]
    pub carried: Carries,
    /// Handles of the switch and logical port, null when the manager knows no port.
    pub at: Option<Peer>,
}

/// The common part: digests of the sections that concern everybody.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CommonPart {
    /// 1.
    pub v: u32,
    /// Digest of the [`Roster`].
    pub roster: Digest,
    /// Digest of the [`ScopeView`].
    pub scope: Digest,
    /// Digest of the [`Coverage`].
    pub coverage: Digest,
    /// Digest of the [`Bypasses`].
    pub bypasses: Digest,
    /// Digest of the [`Wide`] section.
    pub wide: Digest,
}

/// Who is audited, and by which reader.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Roster {
    /// 1.
    pub v: u32,
    /// The cloud manager's reader.
    pub manager: RosterSource,
    /// The switches of the scope, sorted by handle.
    pub switches: Vec<RosterSwitch>,
}

/// A source in the roster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RosterSource {
    /// Its reader.
    pub reader: Reader,
    /// Blinded identity; null while it has shown none.
    pub identity: Option<Digest>,
}

/// A switch in the roster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RosterSwitch {
    /// Its handle.
    pub switch: Digest,
    /// Its name, where the scope discloses names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Reader and identity.
    pub source: RosterSource,
}

/// What of the scope concerns everybody.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ScopeView {
    /// 1.
    pub v: u32,
    /// The audited domain.
    pub domain: String,
    /// The `scope-changed` entry in force.
    pub entry: u64,
    /// Ports the operator does not assess.
    pub unassessed: Vec<UnassessedView>,
}

/// A port the operator does not assess.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UnassessedView {
    /// Handle of the switch.
    pub switch: Digest,
    /// Handle of the port.
    pub port: Digest,
    /// Names, where the scope discloses them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<PortId>,
    /// The operator's reason.
    pub reason: String,
}

/// Who was *not* read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Coverage {
    /// 1.
    pub v: u32,
    /// Why the cloud manager was not read; null when it was.
    pub manager: Option<Failure>,
    /// Switches without a usable reading, sorted by handle.
    pub switches: Vec<Unread>,
    /// Ports whose reading was not understood and that might carry more than [`WIDE`] VLANs.
    pub ports: Vec<UnreadPort>,
}

/// A switch without a usable reading.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Unread {
    /// Its handle.
    pub switch: Digest,
    /// Why.
    pub failure: Failure,
}

/// A port whose reading was not understood.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UnreadPort {
    /// Handle of the switch.
    pub switch: Digest,
    /// Handle of the port.
    pub port: Digest,
    /// What it might carry.
    pub vlans: VlanSet,
    /// It is one end of a link: handles of the other end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub link: Option<Peer>,
    /// The operator does not assess it.
    #[serde(default, skip_serializing_if = "no")]
    pub unassessed: bool,
}

/// Switches on which something may bypass the VLAN columns.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bypasses {
    /// 1.
    pub v: u32,
    /// Switches with a dirty or unread class, sorted by handle; one that is not here is clean in every class.
    pub switches: Vec<BypassView>,
}

/// One switch's classes that are not clean.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BypassView {
    /// Its handle.
    pub switch: Digest,
    /// Dirty classes.
    pub dirty: Vec<DirtyClass>,
    /// Classes not read.
    pub unread: Vec<BypassClass>,
}

/// A dirty class.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DirtyClass {
    /// Which.
    pub class: BypassClass,
    /// The VLANs it may touch.
    pub vlans: VlanSet,
}

/// Ports that carry more than [`WIDE`] VLANs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Wide {
    /// 1.
    pub v: u32,
    /// The ports, sorted by switch and port handle.
    pub ports: Vec<WidePort>,
    /// Ports that carried more than [`WIDE`] VLANs between the reading before and this one, and at neither; likewise.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub passed: Vec<PassedPort>,
}

/// A port that carried many VLANs between two readings. Members that are false or absent are left out. A slice whose
/// VLAN a node cabled here may be on has a line for the port, which says so.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PassedPort {
    /// Handle of the switch.
    pub switch: Digest,
    /// Handle of the logical port.
    pub port: Digest,
    /// Names, where the scope discloses them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<PortId>,
    /// The VLANs.
    pub vlans: VlanSet,
    /// At some moment it carried every VLAN.
    #[serde(default, skip_serializing_if = "no")]
    pub all: bool,
    /// The VLANs the scope lets it carry, as link or exit.
    pub allowed: VlanSet,
    /// It is one end of a link: handles of the other end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub link: Option<Peer>,
    /// It is an exit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit: Option<ExitView>,
    /// The cloud manager knows the port.
    #[serde(default, skip_serializing_if = "no")]
    pub registered: bool,
    /// The operator does not assess it.
    #[serde(default, skip_serializing_if = "no")]
    pub unassessed: bool,
    /// It was being changed during the poll.
    #[serde(default, skip_serializing_if = "no")]
    pub moving: bool,
}

/// A port that carries many VLANs. Members that are false or absent are left out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WidePort {
    /// Handle of the switch.
    pub switch: Digest,
    /// Handle of the logical port.
    pub port: Digest,
    /// Names, where the scope discloses them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<PortId>,
    /// The VLAN it carries without a tag.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub untagged: Option<VlanId>,
    /// The VLANs it carries with a tag.
    pub tagged: VlanSet,
    /// The VLANs the scope lets it carry, as link or exit.
    pub allowed: VlanSet,
    /// It is one end of a link: handles of the other end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub link: Option<Peer>,
    /// It is an exit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit: Option<ExitView>,
    /// The cloud manager knows the port.
    #[serde(default, skip_serializing_if = "no")]
    pub registered: bool,
    /// Read as administratively down.
    #[serde(default, skip_serializing_if = "no")]
    pub down: bool,
    /// The operator does not assess it.
    #[serde(default, skip_serializing_if = "no")]
    pub unassessed: bool,
    /// It was being changed during the poll.
    #[serde(default, skip_serializing_if = "no")]
    pub moving: bool,
}

impl WidePort {
    /// How it carries `vlan`.
    pub fn carries(&self, vlan: VlanId) -> Carries {
        if self.untagged == Some(vlan) {
            Carries::Untagged
        } else if self.tagged.contains(vlan) {
            Carries::Tagged
        } else {
            Carries::None
        }
    }

    /// Whether it carries every VLAN.
    pub fn carries_all(&self) -> bool {
        let mut set = self.tagged.clone();
        if let Some(v) = self.untagged {
            set.insert(v);
        }
        set.is_all()
    }
}

/// The common part with its sections at hand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Common {
    /// Who is audited.
    pub roster: Roster,
    /// What of the scope concerns everybody.
    pub scope: ScopeView,
    /// Who was not read.
    pub coverage: Coverage,
    /// What may bypass the columns.
    pub bypasses: Bypasses,
    /// Ports with many VLANs.
    pub wide: Wide,
}

impl Common {
    /// The canonical bytes of the five sections, in the order of [`CommonPart`].
    pub fn sections(&self) -> [Vec<u8>; 5] {
        [
            json::to_canonical(&self.roster),
            json::to_canonical(&self.scope),
            json::to_canonical(&self.coverage),
            json::to_canonical(&self.bypasses),
            json::to_canonical(&self.wide),
        ]
    }

    /// The list of digests that stands for the sections.
    pub fn part(&self) -> CommonPart {
        let [roster, scope, coverage, bypasses, wide] = self.sections().map(|s| Digest::of(&s));
        CommonPart { v: 1, roster, scope, coverage, bypasses, wide }
    }

    /// Reads the sections from bytes, which must be those that `part` lists. `section(digest)` gives the bytes.
    ///
    /// # Errors
    /// A section that is missing, has another digest or is not canonical.
    pub fn open<'a>(
        part: &CommonPart,
        section: impl Fn(&Digest) -> Option<&'a [u8]>,
    ) -> Result<Common, SectionError> {
        fn read<'a, T: Serialize + serde::de::DeserializeOwned>(
            what: &'static str,
            digest: &Digest,
            section: &impl Fn(&Digest) -> Option<&'a [u8]>,
        ) -> Result<T, SectionError> {
            let bytes = section(digest).ok_or(SectionError::Missing { what, digest: *digest })?;
            if Digest::of(bytes) != *digest {
                return Err(SectionError::Digest { what, digest: *digest });
            }
            Ok(json::from_canonical(what, bytes, MAX_SLICE)?)
        }
        Ok(Common {
            roster: read("the roster section", &part.roster, &section)?,
            scope: read("the scope section", &part.scope, &section)?,
            coverage: read("the coverage section", &part.coverage, &section)?,
            bypasses: read("the bypass section", &part.bypasses, &section)?,
            wide: read("the wide section", &part.wide, &section)?,
        })
    }
}

/// Why a section cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum SectionError {
    /// Not among the bytes that were brought.
    #[error("{what} with digest {digest} is missing")]
    Missing {
        /// Which.
        what: &'static str,
        /// Its digest.
        digest: Digest,
    },
    /// Other bytes than the common part commits to.
    #[error("{what} does not have the digest {digest} it is listed under")]
    Digest {
        /// Which.
        what: &'static str,
        /// The digest it is listed under.
        digest: Digest,
    },
    /// Not canonical.
    #[error(transparent)]
    Json(#[from] JsonError),
}
