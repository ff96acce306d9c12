//! OpenFlow on the wire. Layouts are those of the OpenFlow Switch Specifications 1.3.5, 1.4.1 and 1.5.1, section 7; where
//! a specification leaves a choice, Open vSwitch 3.1 was asked and is followed.

use super::flow::{Bucket, Flow, FlowAction, Group, GroupType, Instruction, Match, Meter, port};

/// A protocol version, as its header byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Version(pub(crate) u8);

impl Version {
    pub(crate) const V1_3: Version = Version(4);
    pub(crate) const V1_4: Version = Version(5);
    pub(crate) const V1_5: Version = Version(6);
    pub(crate) const ALL: [Version; 3] = [Version::V1_3, Version::V1_4, Version::V1_5];
}

/// Message types (`enum ofp_type`).
pub(crate) mod kind {
    pub(crate) const HELLO: u8 = 0;
    pub(crate) const ERROR: u8 = 1;
    pub(crate) const ECHO_REQUEST: u8 = 2;
    pub(crate) const ECHO_REPLY: u8 = 3;
    pub(crate) const FEATURES_REQUEST: u8 = 5;
    pub(crate) const FEATURES_REPLY: u8 = 6;
    pub(crate) const GET_CONFIG_REQUEST: u8 = 7;
    pub(crate) const GET_CONFIG_REPLY: u8 = 8;
    pub(crate) const FLOW_MOD: u8 = 14;
    pub(crate) const MULTIPART_REQUEST: u8 = 18;
    pub(crate) const MULTIPART_REPLY: u8 = 19;
    pub(crate) const BARRIER_REQUEST: u8 = 20;
    pub(crate) const BARRIER_REPLY: u8 = 21;
    pub(crate) const ROLE_REQUEST: u8 = 24;
    pub(crate) const ROLE_REPLY: u8 = 25;
}

/// The name of a message type, and whether it asks the switch to change.
pub(crate) fn name(kind: u8) -> (&'static str, bool) {
    match kind {
        kind::HELLO => ("HELLO", false),
        kind::ERROR => ("ERROR", false),
        kind::ECHO_REQUEST => ("ECHO_REQUEST", false),
        kind::ECHO_REPLY => ("ECHO_REPLY", false),
        4 => ("EXPERIMENTER", true),
        kind::FEATURES_REQUEST => ("FEATURES_REQUEST", false),
        kind::GET_CONFIG_REQUEST => ("GET_CONFIG_REQUEST", false),
        9 => ("SET_CONFIG", true),
        13 => ("PACKET_OUT", true),
        kind::FLOW_MOD => ("FLOW_MOD", true),
        15 => ("GROUP_MOD", true),
        16 => ("PORT_MOD", true),
        17 => ("TABLE_MOD", true),
        kind::MULTIPART_REQUEST => ("MULTIPART_REQUEST", false),
        kind::BARRIER_REQUEST => ("BARRIER_REQUEST", false),
        22 => ("QUEUE_GET_CONFIG_REQUEST", false),
        kind::ROLE_REQUEST => ("ROLE_REQUEST", false),
        26 => ("GET_ASYNC_REQUEST", false),
        28 => ("SET_ASYNC", true),
        29 => ("METER_MOD", true),
        33 => ("BUNDLE_CONTROL", true),
        34 => ("BUNDLE_ADD_MESSAGE", true),
        _ => ("UNKNOWN", true),
    }
}

/// Multipart types (`enum ofp_multipart_type`).
pub(crate) mod part {
    pub(crate) const DESC: u16 = 0;
    pub(crate) const FLOW: u16 = 1;
    pub(crate) const AGGREGATE: u16 = 2;
    pub(crate) const TABLE: u16 = 3;
    pub(crate) const GROUP_DESC: u16 = 7;
    pub(crate) const METER_CONFIG: u16 = 10;
    pub(crate) const PORT_DESC: u16 = 13;
}

pub(crate) fn part_name(part: u16) -> &'static str {
    match part {
        part::DESC => "DESC",
        part::FLOW => "FLOW",
        part::AGGREGATE => "AGGREGATE",
        part::TABLE => "TABLE",
        4 => "PORT_STATS",
        6 => "GROUP",
        part::GROUP_DESC => "GROUP_DESC",
        8 => "GROUP_FEATURES",
        9 => "METER",
        part::METER_CONFIG => "METER_CONFIG",
        11 => "METER_FEATURES",
        12 => "TABLE_FEATURES",
        part::PORT_DESC => "PORT_DESC",
        14 => "TABLE_DESC",
        16 => "FLOW_MONITOR",
        17 => "FLOW_STATS",
        _ => "UNKNOWN",
    }
}

/// A message: header and body. The body is never longer than the length field can say.
pub(crate) fn message(version: Version, kind: u8, xid: u32, body: &[u8]) -> Vec<u8> {
    let length = u16::try_from(body.len() + 8).expect("callers keep bodies below 64 KiB");
    let mut out = vec![version.0, kind];
    out.extend(length.to_be_bytes());
    out.extend(xid.to_be_bytes());
    out.extend(body);
    out
}

/// An ERROR message about `request`, of which it repeats the first 64 bytes.
pub(crate) fn error(version: Version, xid: u32, (kind, code): (u16, u16), request: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    body.extend(kind.to_be_bytes());
    body.extend(code.to_be_bytes());
    body.extend(&request[..request.len().min(64)]);
    message(version, kind::ERROR, xid, &body)
}

/// A HELLO with its version bitmap.
pub(crate) fn hello(versions: &[Version], xid: u32) -> Vec<u8> {
    let highest = versions.iter().copied().max().unwrap_or(Version::V1_3);
    let bitmap = versions.iter().fold(0u32, |map, v| map | (1 << v.0));
    let mut body = vec![0, 1, 0, 8];
    body.extend(bitmap.to_be_bytes());
    message(highest, kind::HELLO, xid, &body)
}

/// The version two ends speak, given the peer's HELLO (section 6.3.1): the highest common bit of the bitmaps, or without a
/// bitmap the lower of the two header versions, if we speak it.
pub(crate) fn negotiate(ours: &[Version], peer: u8, body: &[u8]) -> Option<Version> {
    match bitmap(body) {
        Some(theirs) => ours.iter().copied().filter(|v| theirs & (1 << v.0) != 0).max(),
        None => {
            let highest = ours.iter().copied().max()?;
            ours.iter().copied().find(|v| v.0 == peer.min(highest.0))
        }
    }
}

fn bitmap(mut elements: &[u8]) -> Option<u32> {
    while let [a, b, c, d, rest @ ..] = elements {
        let (kind, length) = (u16::from_be_bytes([*a, *b]), usize::from(u16::from_be_bytes([*c, *d])));
        if kind == 1
            && length >= 8
            && let [e, f, g, h, ..] = rest
        {
            return Some(u32::from_be_bytes([*e, *f, *g, *h]));
        }
        elements = elements.get(length.max(4).next_multiple_of(8)..)?;
    }
    None
}

fn pad(out: &mut Vec<u8>, from: usize) {
    let length = out.len() - from;
    out.resize(from + length.next_multiple_of(8), 0);
}

/// Writes the length of what was written since `from` at `from + 2` (or wherever its length field is).
fn set_length(out: &mut [u8], from: usize, field: usize) {
    // A single flow or group of the lab with 64 KiB of actions is a mistake of the test that made it.
    let length = u16::try_from(out.len() - from).expect("one entry is shorter than 64 KiB");
    out[field..field + 2].copy_from_slice(&length.to_be_bytes());
}

/// One OXM TLV (section 7.2.3.2): class, field and mask bit, length, value, mask.
fn oxm(out: &mut Vec<u8>, field: &Match) {
    const BASIC: u16 = 0x8000;
    const VLAN_PRESENT: u16 = 0x1000;
    let mut put = |class: u16, field: u8, value: &[u8], mask: Option<&[u8]>| {
        let mask = mask.unwrap_or_default();
        out.extend(class.to_be_bytes());
        out.push(field << 1 | u8::from(!mask.is_empty()));
        out.push(u8::try_from(value.len() + mask.len()).expect("fields are at most 64 bytes"));
        out.extend(value);
        out.extend(mask);
    };
    match field {
        Match::InPort(port) => put(BASIC, 0, &port.to_be_bytes(), None),
        Match::Metadata(value, mask) => {
            put(BASIC, 2, &value.to_be_bytes(), mask.map(u64::to_be_bytes).as_ref().map(|m| &m[..]));
        }
        Match::EthDst(mac, mask) => put(BASIC, 3, mac, mask.as_ref().map(|m| &m[..])),
        Match::EthSrc(mac, mask) => put(BASIC, 4, mac, mask.as_ref().map(|m| &m[..])),
        Match::EthType(kind) => put(BASIC, 5, &kind.to_be_bytes(), None),
        Match::Vlan(vid) => put(BASIC, 6, &(vid & 0xfff | VLAN_PRESENT).to_be_bytes(), None),
        Match::Untagged => put(BASIC, 6, &[0, 0], None),
        Match::AnyVlan => {
            let present = VLAN_PRESENT.to_be_bytes();
            put(BASIC, 6, &present, Some(&present));
        }
        Match::VlanPcp(pcp) => put(BASIC, 7, &[*pcp], None),
        Match::Ipv4Src(ip, mask) => put(BASIC, 11, ip, mask.as_ref().map(|m| &m[..])),
        Match::Ipv4Dst(ip, mask) => put(BASIC, 12, ip, mask.as_ref().map(|m| &m[..])),
        Match::TunnelId(id) => put(BASIC, 38, &id.to_be_bytes(), None),
        Match::Other { class, field, value, mask } => put(*class, *field, value, mask.as_deref()),
    }
}

/// `struct ofp_match`. Its length field counts no padding, which follows.
fn put_match(out: &mut Vec<u8>, fields: &[Match]) {
    let from = out.len();
    out.extend([0, 1, 0, 0]);
    fields.iter().for_each(|f| oxm(out, f));
    set_length(out, from, from + 2);
    pad(out, from);
}

fn put_actions(out: &mut Vec<u8>, actions: &[FlowAction]) {
    for action in actions {
        let from = out.len();
        match action {
            FlowAction::Output(to) => output(out, *to, 0),
            FlowAction::Controller(max_len) => output(out, port::CONTROLLER, *max_len),
            FlowAction::PushVlan(kind) => {
                out.extend([0, 17, 0, 8]);
                out.extend(kind.to_be_bytes());
                out.extend([0; 2]);
            }
            FlowAction::PopVlan => out.extend([0, 18, 0, 8, 0, 0, 0, 0]),
            FlowAction::SetField(field) => {
                out.extend([0, 25, 0, 0]);
                oxm(out, field);
                pad(out, from);
                set_length(out, from, from + 2);
            }
            FlowAction::Group(id) => {
                out.extend([0, 22, 0, 8]);
                out.extend(id.to_be_bytes());
            }
            FlowAction::Experimenter { id, body } => {
                out.extend([0xff, 0xff, 0, 0]);
                out.extend(id.to_be_bytes());
                out.extend(body);
                pad(out, from);
                set_length(out, from, from + 2);
            }
        }
    }
}

fn output(out: &mut Vec<u8>, to: u32, max_len: u16) {
    out.extend([0, 0, 0, 16]);
    out.extend(to.to_be_bytes());
    out.extend(max_len.to_be_bytes());
    out.extend([0; 6]);
}

fn put_instructions(out: &mut Vec<u8>, version: Version, instructions: &[Instruction]) {
    // From 1.5 on a meter is the first of the applied actions.
    let meter =
        instructions.iter().find_map(|i| if let Instruction::Meter(id) = i { Some(*id) } else { None });
    let mut metering = meter.filter(|_| version >= Version::V1_5);
    let applies = instructions.iter().any(|i| matches!(i, Instruction::Apply(_)));
    for instruction in instructions {
        let from = out.len();
        match instruction {
            Instruction::Meter(_) if version >= Version::V1_5 && applies => {}
            Instruction::Meter(_) if version >= Version::V1_5 => {
                out.extend([0, 4, 0, 0, 0, 0, 0, 0]);
                put_meter_action(out, metering.take());
                set_length(out, from, from + 2);
            }
            Instruction::Meter(id) => {
                out.extend([0, 6, 0, 8]);
                out.extend(id.to_be_bytes());
            }
            Instruction::Apply(actions) => {
                out.extend([0, 4, 0, 0, 0, 0, 0, 0]);
                put_meter_action(out, metering.take());
                put_actions(out, actions);
                set_length(out, from, from + 2);
            }
            Instruction::Write(actions) => {
                out.extend([0, 3, 0, 0, 0, 0, 0, 0]);
                put_actions(out, actions);
                set_length(out, from, from + 2);
            }
            Instruction::Clear => out.extend([0, 5, 0, 8, 0, 0, 0, 0]),
            Instruction::WriteMetadata(value, mask) => {
                out.extend([0, 2, 0, 24, 0, 0, 0, 0]);
                out.extend(value.to_be_bytes());
                out.extend(mask.to_be_bytes());
            }
            Instruction::Goto(table) => out.extend([0, 1, 0, 8, *table, 0, 0, 0]),
        }
    }
}

fn put_meter_action(out: &mut Vec<u8>, meter: Option<u32>) {
    if let Some(id) = meter {
        out.extend([0, 29, 0, 8]);
        out.extend(id.to_be_bytes());
    }
}

/// One OXS statistic of OpenFlow 1.5 (section 7.2.4.2): class 0x8002, field, length, value.
fn oxs(out: &mut Vec<u8>, field: u8, value: &[u8]) {
    out.extend([0x80, 0x02, field << 1]);
    out.push(u8::try_from(value.len()).expect("statistics are 4 or 8 bytes"));
    out.extend(value);
}

/// `struct ofp_flow_stats`, or from 1.5 on `struct ofp_flow_desc`.
pub(crate) fn flow(version: Version, flow: &Flow) -> Vec<u8> {
    let mut out = vec![0, 0];
    if version >= Version::V1_5 {
        out.extend([0, 0, flow.table, 0]);
        for field in [flow.priority, flow.idle_timeout, flow.hard_timeout, flow.flags, 0] {
            out.extend(field.to_be_bytes());
        }
        out.extend(flow.cookie.to_be_bytes());
        put_match(&mut out, &flow.matches);
        let from = out.len();
        out.extend([0; 4]);
        oxs(&mut out, 0, &[0; 8]);
        oxs(&mut out, 1, &[0; 8]);
        oxs(&mut out, 4, &flow.packets.to_be_bytes());
        oxs(&mut out, 5, &flow.bytes.to_be_bytes());
        set_length(&mut out, from, from + 2);
        pad(&mut out, from);
    } else {
        out.extend([flow.table, 0]);
        // How long it has been there: the lab has no clock, and a flow that is 0 s old is a lawful answer.
        out.extend([0; 8]);
        for field in [flow.priority, flow.idle_timeout, flow.hard_timeout, flow.flags] {
            out.extend(field.to_be_bytes());
        }
        // 1.4 keeps its `importance` here, which Open vSwitch leaves 0.
        out.extend([0; 4]);
        out.extend(flow.cookie.to_be_bytes());
        out.extend(flow.packets.to_be_bytes());
        out.extend(flow.bytes.to_be_bytes());
        put_match(&mut out, &flow.matches);
    }
    put_instructions(&mut out, version, &flow.instructions);
    set_length(&mut out, 0, 0);
    out
}

/// The body of an AGGREGATE reply.
pub(crate) fn aggregate(version: Version, flows: &[&Flow]) -> Vec<u8> {
    let packets = flows.iter().fold(0u64, |sum, f| sum.saturating_add(f.packets));
    let bytes = flows.iter().fold(0u64, |sum, f| sum.saturating_add(f.bytes));
    let count = u32::try_from(flows.len()).unwrap_or(u32::MAX);
    let mut out = Vec::new();
    if version >= Version::V1_5 {
        out.extend([0; 4]);
        oxs(&mut out, 4, &packets.to_be_bytes());
        oxs(&mut out, 5, &bytes.to_be_bytes());
        oxs(&mut out, 3, &count.to_be_bytes());
        set_length(&mut out, 0, 2);
        pad(&mut out, 0);
    } else {
        out.extend(packets.to_be_bytes());
        out.extend(bytes.to_be_bytes());
        out.extend(count.to_be_bytes());
        out.extend([0; 4]);
    }
    out
}

/// `struct ofp_group_desc`.
pub(crate) fn group(version: Version, group: &Group) -> Vec<u8> {
    let kind = match group.kind {
        GroupType::All => 0,
        GroupType::Select => 1,
        GroupType::Indirect => 2,
        GroupType::FastFailover => 3,
    };
    let mut out = vec![0, 0, kind, 0];
    out.extend(group.id.to_be_bytes());
    if version >= Version::V1_5 {
        let from = out.len();
        out.extend([0; 8]);
        for (id, bucket) in (0u32..).zip(&group.buckets) {
            put_bucket_1_5(&mut out, id, bucket, group.kind);
        }
        let length = u16::try_from(out.len() - from - 8).expect("one group is shorter than 64 KiB");
        out[from..from + 2].copy_from_slice(&length.to_be_bytes());
    } else {
        for bucket in &group.buckets {
            let from = out.len();
            out.extend([0; 2]);
            out.extend(bucket.weight.to_be_bytes());
            out.extend(bucket.watch_port.unwrap_or(port::ANY).to_be_bytes());
            out.extend(port::ANY.to_be_bytes());
            out.extend([0; 4]);
            put_actions(&mut out, &bucket.actions);
            set_length(&mut out, from, from);
        }
    }
    set_length(&mut out, 0, 0);
    out
}

/// 1.5's bucket: weight and watched port became properties.
fn put_bucket_1_5(out: &mut Vec<u8>, id: u32, bucket: &Bucket, kind: GroupType) {
    let from = out.len();
    out.extend([0; 4]);
    out.extend(id.to_be_bytes());
    let actions = out.len();
    put_actions(out, &bucket.actions);
    set_length(out, actions, from + 2);
    if kind == GroupType::Select {
        out.extend([0, 0, 0, 8]);
        out.extend(bucket.weight.to_be_bytes());
        out.extend([0; 2]);
    }
    if let Some(watch) = bucket.watch_port {
        out.extend([0, 1, 0, 8]);
        out.extend(watch.to_be_bytes());
    }
    set_length(out, from, from);
}

/// `struct ofp_meter_config`, in kbit/s and with burst sizes.
pub(crate) fn meter(meter: &Meter) -> Vec<u8> {
    const KBPS: u16 = 1 << 0;
    const BURST: u16 = 1 << 2;
    let bursts = meter.bands.iter().any(|(_, burst)| *burst != 0);
    let mut out = vec![0, 0];
    out.extend((KBPS | if bursts { BURST } else { 0 }).to_be_bytes());
    out.extend(meter.id.to_be_bytes());
    for (rate, burst) in &meter.bands {
        out.extend([0, 1, 0, 16]);
        out.extend(rate.to_be_bytes());
        out.extend(burst.to_be_bytes());
        out.extend([0; 4]);
    }
    set_length(&mut out, 0, 0);
    out
}

/// `struct ofp_desc`, with what Open vSwitch says of itself.
pub(crate) fn desc() -> Vec<u8> {
    let mut out = Vec::new();
    for (text, size) in
        [("Nicira, Inc.", 256), ("Open vSwitch", 256), ("3.1.0", 256), ("None", 32), ("None", 256)]
    {
        put_text(&mut out, text, size);
    }
    out
}

fn put_text(out: &mut Vec<u8>, text: &str, size: usize) {
    let from = out.len();
    // One byte less than fits: the field ends with a zero.
    out.extend(text.bytes().take(size - 1));
    out.resize(from + size, 0);
}

/// `struct ofp_table_stats`.
pub(crate) fn table(id: u8, active: u32) -> Vec<u8> {
    let mut out = vec![id, 0, 0, 0];
    out.extend(active.to_be_bytes());
    out.extend([0; 16]);
    out
}

/// One port of a PORT_DESC reply.
pub(crate) struct PortDesc {
    pub(crate) number: u32,
    pub(crate) mac: [u8; 6],
    pub(crate) name: String,
    pub(crate) down: bool,
}

/// `struct ofp_port`.
pub(crate) fn port_desc(version: Version, port: &PortDesc) -> Vec<u8> {
    const PORT_DOWN: u32 = 1 << 0;
    const LINK_DOWN: u32 = 1 << 0;
    const LIVE: u32 = 1 << 2;
    let mut out = Vec::new();
    out.extend(port.number.to_be_bytes());
    out.extend([0; 4]);
    out.extend(port.mac);
    out.extend([0; 2]);
    put_text(&mut out, &port.name, 16);
    out.extend(if port.down { PORT_DOWN } else { 0 }.to_be_bytes());
    out.extend(if port.down { LINK_DOWN } else { LIVE }.to_be_bytes());
    if version >= Version::V1_4 {
        out.extend([0, 0, 0, 32, 0, 0, 0, 0]);
    }
    out.extend([0; 24]);
    if version >= Version::V1_4 {
        set_length(&mut out, 0, 4);
    }
    out
}

/// What a FLOW or AGGREGATE request asks for.
pub(crate) struct FlowFilter {
    table: u8,
    out_port: u32,
    cookie: u64,
    cookie_mask: u64,
    fields: Vec<Vec<u8>>,
}

impl FlowFilter {
    /// Reads `struct ofp_flow_stats_request`; `None` when it is too short.
    pub(crate) fn parse(body: &[u8]) -> Option<FlowFilter> {
        let long = |at: usize| Some(u64::from_be_bytes(body.get(at..at + 8)?.try_into().ok()?));
        let out_port = u32::from_be_bytes(body.get(4..8)?.try_into().ok()?);
        let length = usize::from(u16::from_be_bytes(body.get(34..36)?.try_into().ok()?));
        let mut tlvs = body.get(36..32 + length.max(4))?;
        let mut fields = Vec::new();
        while !tlvs.is_empty() {
            let end = 4 + usize::from(*tlvs.get(3)?);
            fields.push(tlvs.get(..end)?.to_vec());
            tlvs = &tlvs[end..];
        }
        Some(FlowFilter {
            table: *body.first()?,
            out_port,
            cookie: long(16)?,
            cookie_mask: long(24)?,
            fields,
        })
    }

    pub(crate) fn wants(&self, flow: &Flow) -> bool {
        let mut conditions = Vec::new();
        for field in &flow.matches {
            let mut tlv = Vec::new();
            oxm(&mut tlv, field);
            conditions.push(tlv);
        }
        (self.table == 0xff || self.table == flow.table)
            && (self.out_port == port::ANY || outputs(flow).any(|p| p == self.out_port))
            && (flow.cookie ^ self.cookie) & self.cookie_mask == 0
            && self.fields.iter().all(|f| conditions.contains(f))
    }
}

fn outputs(flow: &Flow) -> impl Iterator<Item = u32> {
    flow.instructions
        .iter()
        .flat_map(|i| match i {
            Instruction::Apply(actions) | Instruction::Write(actions) => actions.as_slice(),
            _ => &[],
        })
        .filter_map(|a| match a {
            FlowAction::Output(to) => Some(*to),
            FlowAction::Controller(_) => Some(port::CONTROLLER),
            _ => None,
        })
}
