//! The rules and groups of a bridge over OpenFlow 1.3, 1.4 or 1.5 (ONF TS-006, TS-012, TS-025), read with five
//! kinds of message: HELLO, ECHO, FEATURES_REQUEST and two MULTIPART_REQUESTs. None of them changes anything.
//!
//! What comes back is written down in the notation of `ovs-ofctl`, so that one normaliser serves both ways of
//! reading. Counters and durations are left out. Match fields, actions and instructions without a notation here
//! are written as their numbers and bytes: nothing is dropped.

use crate::SourceError;
use crate::net::stream::{Io, broken};
use std::fmt::Write as _;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// What is asked, as evidence states it.
pub const ASK_FLOWS: &str = "OpenFlow OFPMP_FLOW of all tables";
/// What is asked, as evidence states it.
pub const ASK_GROUPS: &str = "OpenFlow OFPMP_GROUP_DESC of all groups";

const HELLO: u8 = 0;
const ERROR: u8 = 1;
const ECHO_REQUEST: u8 = 2;
const ECHO_REPLY: u8 = 3;
const FEATURES_REQUEST: u8 = 5;
const FEATURES_REPLY: u8 = 6;
const MULTIPART_REQUEST: u8 = 18;
const MULTIPART_REPLY: u8 = 19;
/// OFPT_CONTROLLER_STATUS of OpenFlow 1.5.
const HIGHEST_TYPE: u8 = 35;

const OFPMP_FLOW: u16 = 1;
const OFPMP_GROUP_DESC: u16 = 7;
const OFPMPF_MORE: u16 = 1;

/// Wire versions 4, 5, 6 are OpenFlow 1.3, 1.4, 1.5.
const VERSIONS: [u8; 3] = [6, 5, 4];
const XID: u32 = 1;

/// What a bridge answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answers {
    /// The bridge's datapath id, 16 hex digits as in the column `datapath_id`.
    pub datapath_id: String,
    /// One rule a line, sorted.
    pub flows: String,
    /// A header and one group a line, sorted.
    pub groups: String,
}

/// Asks the bridge at the other end of `io`. At most `limit` bytes are kept of each answer. The caller bounds the
/// time.
pub async fn read(io: &mut dyn Io, place: &str, limit: usize) -> Result<Answers, SourceError> {
    let mut peer = Peer { io, place, version: VERSIONS[0] };
    peer.agree().await?;
    peer.send(FEATURES_REQUEST, XID, &[]).await?;
    let features = peer.receive(FEATURES_REPLY, XID).await?;
    let datapath_id = features.get(..8).ok_or_else(|| peer.malformed("the features reply is cut short"))?;
    let datapath_id = datapath_id.iter().map(|b| format!("{b:02x}")).collect();
    let flows = peer.multipart(XID + 1, OFPMP_FLOW, &all_flows(), limit).await?;
    let groups = peer.multipart(XID + 2, OFPMP_GROUP_DESC, &all_groups(peer.version), limit).await?;
    let bad = |why: Malformed| peer.malformed(why.0);
    Ok(Answers {
        datapath_id,
        flows: sorted_lines("", flow_lines(peer.version, &flows).map_err(bad)?),
        groups: sorted_lines("OpenFlow GROUP_DESC reply\n", group_lines(&groups).map_err(bad)?),
    })
}

/// `ofp_flow_stats_request`: all tables, any output port, any group, no cookie mask, an empty match.
fn all_flows() -> Vec<u8> {
    let mut body = vec![0xff, 0, 0, 0];
    body.extend([0xff; 8]);
    body.extend([0; 4 + 8 + 8]);
    body.extend([0, 1, 0, 4, 0, 0, 0, 0]);
    body
}

/// OpenFlow 1.5 asks for one group or all (OFPG_ALL); before, the request has no body.
fn all_groups(version: u8) -> Vec<u8> {
    if version >= 6 { vec![0xff, 0xff, 0xff, 0xfc, 0, 0, 0, 0] } else { Vec::new() }
}

fn sorted_lines(header: &str, mut lines: Vec<String>) -> String {
    lines.sort_unstable();
    lines.iter().fold(header.to_owned(), |all, line| all + " " + line + "\n")
}

struct Peer<'a> {
    io: &'a mut dyn Io,
    place: &'a str,
    version: u8,
}

impl Peer<'_> {
    async fn agree(&mut self) -> Result<(), SourceError> {
        // One OFPHET_VERSIONBITMAP element with bits 4, 5 and 6.
        self.send(HELLO, XID, &[0, 1, 0, 8, 0, 0, 0, 0b111_0000]).await?;
        let (version, kind, _, body) = self.message().await?;
        if kind != HELLO {
            return Err(self.malformed("the first message is no HELLO; is this an OpenFlow port?"));
        }
        self.version = agreed_version(version, &body).ok_or_else(|| {
            SourceError::unreadable(format!(
                "{} speaks none of OpenFlow 1.3, 1.4 and 1.5; add one to the bridge's protocols",
                self.place
            ))
        })?;
        Ok(())
    }

    async fn send(&mut self, kind: u8, xid: u32, body: &[u8]) -> Result<(), SourceError> {
        // Echoes give back what came in one message, and our own requests are some fifty bytes.
        let length = u16::try_from(8 + body.len()).map_err(|_| self.malformed("an echo is too large"))?;
        let mut message = vec![self.version, kind];
        message.extend(length.to_be_bytes());
        message.extend(xid.to_be_bytes());
        message.extend(body);
        let sent = async {
            self.io.write_all(&message).await?;
            self.io.flush().await
        };
        sent.await.map_err(|e| broken(self.place, &e))
    }

    /// The next message: version, type, xid, body.
    async fn message(&mut self) -> Result<(u8, u8, u32, Vec<u8>), SourceError> {
        let mut header = [0; 8];
        self.io.read_exact(&mut header).await.map_err(|e| broken(self.place, &e))?;
        let [version, kind, l0, l1, xid @ ..] = header;
        let length = usize::from(u16::from_be_bytes([l0, l1]));
        // Noise would announce up to 64 KiB that never come, and be found out at the deadline only.
        if kind > HIGHEST_TYPE {
            return Err(self.malformed("a message is of no known type"));
        }
        let mut body =
            vec![
                0;
                length.checked_sub(8).ok_or_else(|| self.malformed("a message is shorter than its header"))?
            ];
        self.io.read_exact(&mut body).await.map_err(|e| broken(self.place, &e))?;
        Ok((version, kind, u32::from_be_bytes(xid), body))
    }

    /// The body of the reply `kind` to `xid`, answering echoes meanwhile and passing over what was not asked for.
    async fn receive(&mut self, kind: u8, xid: u32) -> Result<Vec<u8>, SourceError> {
        loop {
            let (version, got, got_xid, body) = self.message().await?;
            match got {
                ECHO_REQUEST => self.send(ECHO_REPLY, got_xid, &body).await?,
                ERROR if got_xid == xid || got_xid == 0 => {
                    let code = body.get(..4).unwrap_or_default();
                    return Err(SourceError::unreadable(format!(
                        "{} answered with the OpenFlow error {code:?} (type, code)",
                        self.place
                    )));
                }
                _ if got == kind && got_xid == xid => {
                    if version != self.version {
                        return Err(self.malformed("an answer has another version than was agreed"));
                    }
                    return Ok(body);
                }
                _ => {}
            }
        }
    }

    async fn multipart(
        &mut self,
        xid: u32,
        part: u16,
        body: &[u8],
        limit: usize,
    ) -> Result<Vec<u8>, SourceError> {
        let mut request = part.to_be_bytes().to_vec();
        request.extend([0; 6]);
        request.extend(body);
        self.send(MULTIPART_REQUEST, xid, &request).await?;
        let mut whole = Vec::new();
        loop {
            let reply = self.receive(MULTIPART_REPLY, xid).await?;
            let [p0, p1, f0, f1, _, _, _, _, rest @ ..] = reply.as_slice() else {
                return Err(self.malformed("a multipart reply is cut short"));
            };
            if u16::from_be_bytes([*p0, *p1]) != part {
                return Err(self.malformed("a multipart reply is of another type than the request"));
            }
            whole.extend_from_slice(rest);
            if whole.len() > limit {
                return Err(SourceError::unreadable(format!(
                    "{} holds more than {limit} bytes of rules",
                    self.place
                )));
            }
            if u16::from_be_bytes([*f0, *f1]) & OFPMPF_MORE == 0 {
                return Ok(whole);
            }
        }
    }

    fn malformed(&self, why: &str) -> SourceError {
        SourceError::unreadable(format!(
            "{} answered something that is not OpenFlow as expected: {why}",
            self.place
        ))
    }
}

/// The highest version both sides speak, from the peer's HELLO.
fn agreed_version(version: u8, mut elements: &[u8]) -> Option<u8> {
    while let [t0, t1, l0, l1, rest @ ..] = elements {
        let length = usize::from(u16::from_be_bytes([*l0, *l1]));
        if [*t0, *t1] == [0, 1] {
            // Bit n of the first word is wire version n.
            let bitmap = u32::from_be_bytes(rest.get(..4)?.try_into().ok()?);
            return VERSIONS.into_iter().find(|v| bitmap & (1 << v) != 0);
        }
        elements = elements.get(length.max(4).next_multiple_of(8)..).unwrap_or_default();
    }
    // Without a bitmap, each side's version is the highest it speaks, and all below are implied.
    let lower = version.min(VERSIONS[0]);
    VERSIONS.contains(&lower).then_some(lower)
}

#[derive(Debug, PartialEq, Eq)]
struct Malformed(&'static str);

fn be16(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

fn be32(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_be_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

fn be64(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_be_bytes(bytes.get(at..at + 8)?.try_into().ok()?))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut all, b| {
        // Writing to a string cannot fail.
        let _ = write!(all, "{b:02x}");
        all
    })
}

/// Cuts a list of records, each beginning with its 16-bit length at `at`, all of at least `least` bytes.
fn records(mut bytes: &[u8], at: usize, least: usize) -> Result<Vec<&[u8]>, Malformed> {
    let mut all = Vec::new();
    while !bytes.is_empty() {
        let length = be16(bytes, at).map(usize::from).ok_or(Malformed("a record is cut short"))?;
        if length < least || length > bytes.len() {
            return Err(Malformed("a record's length does not fit"));
        }
        let (record, rest) = bytes.split_at(length);
        all.push(record);
        bytes = rest;
    }
    Ok(all)
}

/// A structure with its length at 2, padded to a multiple of 8 behind it: `ofp_match`, `ofp_stats`.
fn padded(bytes: &[u8]) -> Result<(&[u8], &[u8]), Malformed> {
    let length =
        be16(bytes, 2).map(usize::from).filter(|l| *l >= 4).ok_or(Malformed("a match is cut short"))?;
    let inner = bytes.get(4..length).ok_or(Malformed("a match is cut short"))?;
    let rest = bytes.get(length.next_multiple_of(8)..).ok_or(Malformed("a match is cut short"))?;
    Ok((inner, rest))
}

fn flow_lines(version: u8, body: &[u8]) -> Result<Vec<String>, Malformed> {
    records(body, 0, 32)?.into_iter().map(|r| flow_line(version, r)).collect()
}

/// One `ofp_flow_stats` (1.3, 1.4) or `ofp_flow_desc` (1.5).
fn flow_line(version: u8, record: &[u8]) -> Result<String, Malformed> {
    let cut = Malformed("a rule is cut short");
    // Where the table, the priority, the cookie and the match stand.
    let (table, priority, cookie, matched) = if version >= 6 { (4, 6, 16, 24) } else { (2, 12, 24, 48) };
    let fields = (
        record.get(table),
        be16(record, priority),
        be16(record, priority + 2),
        be16(record, priority + 4),
        be16(record, priority + 6),
        be16(record, priority + 8),
        be64(record, cookie),
        record.get(matched..),
    );
    let (
        Some(table),
        Some(priority),
        Some(idle),
        Some(hard),
        Some(flags),
        Some(importance),
        Some(cookie),
        Some(rest),
    ) = fields
    else {
        return Err(cut);
    };
    if be16(rest, 0) != Some(1) {
        return Err(Malformed("a rule's match is not of type OXM"));
    }
    let (oxm, mut rest) = padded(rest)?;
    if version >= 6 {
        rest = padded(rest)?.1;
    }
    let mut line = String::new();
    if cookie != 0 {
        let _ = write!(line, "cookie={cookie:#x}, ");
    }
    if *table != 0 {
        let _ = write!(line, "table={table}, ");
    }
    // Before 1.4 the place of the importance is padding.
    let importance = if version >= 5 { importance } else { 0 };
    for (name, value) in [("idle_timeout", idle), ("hard_timeout", hard)] {
        if value != 0 {
            let _ = write!(line, "{name}={value}, ");
        }
    }
    for (bit, name) in
        ["send_flow_rem", "check_overlap", "reset_counts", "no_packet_counts", "no_byte_counts"]
            .iter()
            .enumerate()
    {
        if flags & (1 << bit) != 0 {
            let _ = write!(line, "{name} ");
        }
    }
    if flags >> 5 != 0 {
        let _ = write!(line, "flags={flags:#x} ");
    }
    if importance != 0 {
        let _ = write!(line, "importance={importance}, ");
    }
    let _ = write!(line, "priority={priority}");
    for field in match_fields(oxm)? {
        let _ = write!(line, ",{field}");
    }
    let _ = write!(line, " actions={}", instructions(rest)?);
    Ok(line)
}

/// The fields of a match, in the order in which `ovs-ofctl` prints those it abbreviates.
fn match_fields(mut oxm: &[u8]) -> Result<Vec<String>, Malformed> {
    let mut fields: Vec<(u8, String)> = Vec::new();
    while !oxm.is_empty() {
        let [c0, c1, field, length, rest @ ..] = oxm else {
            return Err(Malformed("a match field is cut short"));
        };
        let value = rest.get(..usize::from(*length)).ok_or(Malformed("a match field is cut short"))?;
        oxm = &rest[value.len()..];
        let masked = field & 1 != 0;
        // OFPXMC_OPENFLOW_BASIC, unmasked, has the abbreviations; all else is written as it came.
        let basic = [*c0, *c1] == [0x80, 0x00] && !masked;
        fields.push(match (basic, field >> 1, value) {
            (true, 5, [0x08, 0x00]) => (0, "ip".into()),
            (true, 5, [0x08, 0x06]) => (0, "arp".into()),
            (true, 5, [0x86, 0xdd]) => (0, "ipv6".into()),
            (true, 0, [a, b, c, d]) => (1, format!("in_port={}", port(u32::from_be_bytes([*a, *b, *c, *d])))),
            (true, 6, [a, b]) if a & 0x10 != 0 => {
                (2, format!("dl_vlan={}", u16::from_be_bytes([a & 0x0f, *b])))
            }
            (true, 4, mac) if mac.len() == 6 => (3, format!("dl_src={}", mac_text(mac))),
            (true, 3, mac) if mac.len() == 6 => (4, format!("dl_dst={}", mac_text(mac))),
            (true, 5, [a, b]) => (5, format!("dl_type={:#06x}", u16::from_be_bytes([*a, *b]))),
            _ => (
                6,
                format!(
                    "oxm:{c0:02x}{c1:02x}:{}{}={}",
                    field >> 1,
                    if masked { "/m" } else { "" },
                    hex(value)
                ),
            ),
        });
    }
    fields.sort();
    Ok(fields.into_iter().map(|(_, text)| text).collect())
}

fn mac_text(mac: &[u8]) -> String {
    mac.iter().map(|b| format!("{b:02x}")).collect::<Vec<_>>().join(":")
}

fn port(number: u32) -> String {
    match number {
        0xffff_fff8 => "IN_PORT".into(),
        0xffff_fff9 => "TABLE".into(),
        0xffff_fffa => "NORMAL".into(),
        0xffff_fffb => "FLOOD".into(),
        0xffff_fffc => "ALL".into(),
        0xffff_fffd => "CONTROLLER".into(),
        0xffff_fffe => "LOCAL".into(),
        n => n.to_string(),
    }
}

fn instructions(bytes: &[u8]) -> Result<String, Malformed> {
    let mut said = Vec::new();
    for record in records(bytes, 2, 4)? {
        let kind = be16(record, 0).unwrap_or_default();
        match (kind, record.get(4..).unwrap_or_default()) {
            (1, [table, ..]) => said.push(format!("goto_table:{table}")),
            (3, [_, _, _, _, list @ ..]) => said.push(format!("write_actions({})", actions(list)?.join(","))),
            (4, [_, _, _, _, list @ ..]) => said.extend(actions(list)?),
            (5, _) => said.push("clear_actions".into()),
            (kind, body) => said.push(format!("instruction:{kind}({})", hex(body))),
        }
    }
    Ok(if said.is_empty() { "drop".into() } else { said.join(",") })
}

fn actions(bytes: &[u8]) -> Result<Vec<String>, Malformed> {
    Ok(records(bytes, 2, 8)?
        .into_iter()
        .map(|record| {
            let kind = be16(record, 0).unwrap_or_default();
            let body = &record[4..];
            match (kind, be32(body, 0), body) {
                (0, Some(to), _) => match port(to) {
                    to if to.bytes().all(|b| b.is_ascii_digit()) => format!("output:{to}"),
                    to if to == "CONTROLLER" => format!("CONTROLLER:{}", be16(body, 4).unwrap_or_default()),
                    to => to,
                },
                (17, Some(n), _) => format!("push_vlan:{:#06x}", n >> 16),
                (18, _, _) => "pop_vlan".into(),
                (22, Some(group), _) => format!("group:{group}"),
                // OXM_OF_VLAN_VID, OXM_OF_ETH_DST, OXM_OF_ETH_SRC, without mask.
                (25, Some(0x8000_0c02), [_, _, _, _, a, b, ..]) => {
                    format!("set_field:{}->vlan_vid", u16::from_be_bytes([*a, *b]))
                }
                (25, Some(0x8000_0606), [_, _, _, _, mac @ ..]) if mac.len() >= 6 => {
                    format!("set_field:{}->eth_dst", mac_text(&mac[..6]))
                }
                (25, Some(0x8000_0806), [_, _, _, _, mac @ ..]) if mac.len() >= 6 => {
                    format!("set_field:{}->eth_src", mac_text(&mac[..6]))
                }
                _ => format!("action:{kind}({})", hex(body)),
            }
        })
        .collect())
}

/// `ofp_group_desc`: the id and type, and the buckets as their bytes.
fn group_lines(body: &[u8]) -> Result<Vec<String>, Malformed> {
    records(body, 0, 8)?
        .into_iter()
        .map(|record| {
            let id = be32(record, 4).ok_or(Malformed("a group is cut short"))?;
            let kind = match record[2] {
                0 => "all".to_owned(),
                1 => "select".to_owned(),
                2 => "indirect".to_owned(),
                3 => "ff".to_owned(),
                n => n.to_string(),
            };
            Ok(format!("group_id={id},type={kind},buckets={}", hex(&record[8..])))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// An `ofp_flow_stats` as OpenFlow 1.3 and 1.4 send it.
    fn stats(table: u8, priority: u16, oxm: &[u8], instructions: &[u8]) -> Vec<u8> {
        let mut matched = vec![0, 1];
        matched.extend(u16::try_from(4 + oxm.len()).unwrap().to_be_bytes());
        matched.extend(oxm);
        matched.resize(matched.len().next_multiple_of(8), 0);
        let length = u16::try_from(48 + matched.len() + instructions.len()).unwrap();
        let mut out = length.to_be_bytes().to_vec();
        out.extend([table, 0]);
        out.extend([9; 8]); // durations
        out.extend(priority.to_be_bytes());
        out.extend([0; 10]);
        out.extend([0; 8]); // cookie
        out.extend([7; 16]); // counters
        out.extend(matched);
        out.extend(instructions);
        out
    }

    const NORMAL: [u8; 24] =
        [0, 4, 0, 24, 0, 0, 0, 0, 0, 0, 0, 16, 0xff, 0xff, 0xff, 0xfa, 0, 0, 0, 0, 0, 0, 0, 0];

    #[test]
    fn rules_read_as_ovs_ofctl_prints_them() {
        assert_eq!(flow_lines(4, &stats(0, 0, &[], &NORMAL)).unwrap(), ["priority=0 actions=NORMAL"]);
        let oxm = [0x80, 0, 0x06, 6, 0, 0, 0, 0, 0, 2, 0x80, 0, 0x00, 4, 0, 0, 0, 1];
        let mut output = NORMAL;
        output[12..16].copy_from_slice(&[0, 0, 0, 2]);
        assert_eq!(
            flow_lines(5, &stats(3, 100, &oxm, &output)).unwrap(),
            ["table=3, priority=100,in_port=1,dl_dst=00:00:00:00:00:02 actions=output:2"]
        );
        assert_eq!(flow_lines(4, &stats(0, 1, &[], &[])).unwrap(), ["priority=1 actions=drop"]);
        // A masked field and an experimenter's action have no notation here and are kept as bytes.
        let masked = [0x80, 0, 0x0d, 4, 0x10, 0, 0x10, 0];
        assert_eq!(
            flow_lines(
                4,
                &stats(0, 1, &masked, &[0, 4, 0, 16, 0, 0, 0, 0, 0xff, 0xff, 0, 8, 0, 0, 0x23, 0x20])
            )
            .unwrap(),
            ["priority=1,oxm:8000:6/m=10001000 actions=action:65535(00002320)"]
        );
    }

    #[test]
    fn versions_are_agreed_by_bitmap_or_by_number() {
        assert_eq!(agreed_version(6, &[0, 1, 0, 8, 0, 0, 0, 0b0111_0010]), Some(6));
        assert_eq!(agreed_version(6, &[0, 1, 0, 8, 0, 0, 0, 0b0001_0010]), Some(4));
        assert_eq!(agreed_version(6, &[0, 1, 0, 8, 0, 0, 0, 0b10]), None);
        assert_eq!(agreed_version(5, &[]), Some(5));
        assert_eq!(agreed_version(1, &[]), None);
        assert_eq!(agreed_version(9, &[]), Some(6));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(version in 4u8..=6, body in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = (flow_lines(version, &body), group_lines(&body), agreed_version(version, &body));
        }

        #[test]
        fn a_cut_list_is_refused(cut in 1usize..80) {
            let whole = [stats(0, 0, &[], &NORMAL), stats(1, 5, &[], &NORMAL)].concat();
            // At 80 the first rule ends; a shorter list would have to be announced as whole.
            prop_assert!(flow_lines(4, &whole[..cut]).is_err());
            prop_assert!(flow_lines(4, &whole[..80 + cut - 1]).is_err() || cut == 1);
        }

        #[test]
        fn a_mutated_rule_never_panics(at in any::<prop::sample::Index>(), byte in any::<u8>(), version in 4u8..=6) {
            let mut rule = stats(0, 100, &[0x80, 0, 0, 4, 0, 0, 0, 1], &NORMAL);
            let at = at.index(rule.len());
            rule[at] = byte;
            let _ = flow_lines(version, &rule);
        }
    }
}
