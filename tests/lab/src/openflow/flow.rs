//! Flows, groups and meters.

/// Reserved port numbers (OpenFlow 1.3.5, section 7.2.1).
pub mod port {
    /// Back out of the port it came in at.
    pub const IN_PORT: u32 = 0xffff_fff8;
    /// Start again at the first table.
    pub const TABLE: u32 = 0xffff_fff9;
    /// What a switch without OpenFlow would do: the VLAN columns of the database decide.
    pub const NORMAL: u32 = 0xffff_fffa;
    /// All ports of the VLAN.
    pub const FLOOD: u32 = 0xffff_fffb;
    /// All ports.
    pub const ALL: u32 = 0xffff_fffc;
    /// The controller.
    pub const CONTROLLER: u32 = 0xffff_fffd;
    /// The bridge's own port.
    pub const LOCAL: u32 = 0xffff_fffe;
    /// In filters and group buckets: no port in particular.
    pub const ANY: u32 = 0xffff_ffff;
}

/// One condition on a packet, or the field and value of a set-field action (where masks and ports make no sense).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Match {
    /// `in_port`.
    InPort(u32),
    /// `eth_dst`, with the mask if there is one.
    EthDst([u8; 6], Option<[u8; 6]>),
    /// `eth_src`, with the mask if there is one.
    EthSrc([u8; 6], Option<[u8; 6]>),
    /// `eth_type`.
    EthType(u16),
    /// `vlan_vid`: tagged with this VLAN. On the wire the bit 0x1000 says that there is a tag.
    Vlan(u16),
    /// `vlan_vid` without the bit: untagged.
    Untagged,
    /// `vlan_vid` masked to the bit alone: tagged with any VLAN.
    AnyVlan,
    /// `vlan_pcp`.
    VlanPcp(u8),
    /// `metadata`, with the mask if there is one.
    Metadata(u64, Option<u64>),
    /// `ipv4_src`, with the mask if there is one.
    Ipv4Src([u8; 4], Option<[u8; 4]>),
    /// `ipv4_dst`, with the mask if there is one.
    Ipv4Dst([u8; 4], Option<[u8; 4]>),
    /// `tunnel_id`.
    TunnelId(u64),
    /// Any other field, spelt out: class, field number, value, mask.
    Other {
        /// OXM class: 0x8000 is OpenFlow's, 0 and 1 are Nicira's.
        class: u16,
        /// Field number in the class, below 128.
        field: u8,
        /// The value.
        value: Vec<u8>,
        /// The mask, as long as the value.
        mask: Option<Vec<u8>>,
    },
}

/// One action.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FlowAction {
    /// Send to a port; [`port`] has the reserved ones.
    Output(u32),
    /// Send so many bytes to the controller.
    Controller(u16),
    /// Push a tag of this Ethernet type (0x8100 or 0x88a8).
    PushVlan(u16),
    /// Take the outer tag off.
    PopVlan,
    /// Set a field.
    SetField(Match),
    /// Send through a group.
    Group(u32),
    /// An experimenter's action. Nicira's `resubmit` and `learn` are such.
    Experimenter {
        /// The experimenter, 0x2320 for Nicira.
        id: u32,
        /// The rest; the agent pads it.
        body: Vec<u8>,
    },
}

/// One instruction.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Instruction {
    /// Do these now.
    Apply(Vec<FlowAction>),
    /// Do these at the end.
    Write(Vec<FlowAction>),
    /// Forget what was to be done at the end.
    Clear,
    /// Set metadata under a mask.
    WriteMetadata(u64, u64),
    /// Meter. An action from OpenFlow 1.5 on, which the agent knows.
    Meter(u32),
    /// Continue in a table.
    Goto(u8),
}

/// One flow.
///
/// ```
/// use isoledger_lab::openflow::{Flow, FlowAction, Match};
///
/// // Moves VLAN 100 of port 1 to port 2, past every VLAN column.
/// let bypass = Flow::new(100)
///     .matching([Match::InPort(1), Match::Vlan(100)])
///     .doing([FlowAction::PopVlan, FlowAction::Output(2)]);
/// assert_eq!(bypass.table, 0);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flow {
    /// The table.
    pub table: u8,
    /// The priority, 0 lowest.
    pub priority: u16,
    /// The controller's mark.
    pub cookie: u64,
    /// Seconds without a packet until it goes; 0 is never.
    pub idle_timeout: u16,
    /// Seconds until it goes; 0 is never.
    pub hard_timeout: u16,
    /// `OFPFF_*`.
    pub flags: u16,
    /// Packets it matched.
    pub packets: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Conditions; none is every packet.
    pub matches: Vec<Match>,
    /// Instructions; none drops the packet.
    pub instructions: Vec<Instruction>,
}

impl Flow {
    /// A flow in table 0 that matches everything and drops it.
    pub fn new(priority: u16) -> Flow {
        Flow {
            table: 0,
            priority,
            cookie: 0,
            idle_timeout: 0,
            hard_timeout: 0,
            flags: 0,
            packets: 0,
            bytes: 0,
            matches: Vec::new(),
            instructions: Vec::new(),
        }
    }

    /// `priority=0 actions=NORMAL`: the flow of a bridge that nobody programmed.
    pub fn normal() -> Flow {
        Flow::new(0).doing([FlowAction::Output(port::NORMAL)])
    }

    /// The flow, matching only this.
    #[must_use]
    pub fn matching(mut self, matches: impl IntoIterator<Item = Match>) -> Flow {
        self.matches = matches.into_iter().collect();
        self
    }

    /// The flow, doing this at once.
    #[must_use]
    pub fn doing(mut self, actions: impl IntoIterator<Item = FlowAction>) -> Flow {
        self.instructions.push(Instruction::Apply(actions.into_iter().collect()));
        self
    }

    /// The flow, with one more instruction.
    #[must_use]
    pub fn with(mut self, instruction: Instruction) -> Flow {
        self.instructions.push(instruction);
        self
    }

    /// The flow, in another table.
    #[must_use]
    pub fn in_table(mut self, table: u8) -> Flow {
        self.table = table;
        self
    }
}

/// How a group uses its buckets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GroupType {
    /// All of them: multicast.
    All,
    /// One of them: load sharing.
    Select,
    /// Its only one.
    Indirect,
    /// The first that is alive.
    FastFailover,
}

/// One bucket of a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bucket {
    /// Its share, in a select group.
    pub weight: u16,
    /// The port whose state decides, in a fast failover group.
    pub watch_port: Option<u32>,
    /// Its actions.
    pub actions: Vec<FlowAction>,
}

/// One group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// Its number.
    pub id: u32,
    /// How it uses its buckets.
    pub kind: GroupType,
    /// The buckets.
    pub buckets: Vec<Bucket>,
}

/// One meter, with drop bands only.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Meter {
    /// Its number.
    pub id: u32,
    /// Rate and burst size of each band, in kbit/s and kbit.
    pub bands: Vec<(u32, u32)>,
}
