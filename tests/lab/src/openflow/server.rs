//! The agent: one connection is a HELLO in each direction, then requests.

use std::io;
use std::time::Duration;

use super::wire::{self, FlowFilter, PortDesc, Version, kind, part};
use crate::cloud::Cloud;
use crate::fault::Service;
use crate::serve::{self, Address, Connection, Ended, Endpoint, Running};
use crate::world::OvsHost;

/// `OFPET_*` and `OFPBRC_*`: what goes into ERROR messages.
mod refusal {
    pub(super) const INCOMPATIBLE: (u16, u16) = (0, 0);
    pub(super) const BAD_VERSION: (u16, u16) = (1, 0);
    pub(super) const BAD_TYPE: (u16, u16) = (1, 1);
    pub(super) const BAD_MULTIPART: (u16, u16) = (1, 2);
    pub(super) const NOT_ALLOWED: (u16, u16) = (1, 5);
    pub(super) const BAD_LENGTH: (u16, u16) = (1, 6);
    pub(super) const FLOW_MOD_NOT_ALLOWED: (u16, u16) = (5, 4);
}

/// The type and the code of an ERROR message.
type Refusal = (u16, u16);

/// The entries of a multipart reply, none of which may be split.
type Entries = Vec<Vec<u8>>;

/// Tables of a bridge. Open vSwitch has 255 and keeps the last to itself.
const TABLES: u8 = 254;

/// How an agent speaks.
#[derive(Clone, Debug)]
pub struct OpenFlowOptions {
    /// The longest multipart reply before it continues in another with the `MORE` flag; entries are never split.
    pub reply_bytes: usize,
    /// Sends an ECHO_REQUEST when the client was silent this long, and hangs up when it stays silent as long again.
    pub probe: Option<Duration>,
}

impl Default for OpenFlowOptions {
    fn default() -> OpenFlowOptions {
        OpenFlowOptions { reply_bytes: 0xfff0, probe: None }
    }
}

/// The OpenFlow agent of one bridge of the world.
///
/// It answers HELLO, ECHO, FEATURES, GET_CONFIG, BARRIER, ROLE (no change) and the multipart requests DESC, FLOW,
/// AGGREGATE, TABLE, GROUP_DESC, METER_CONFIG and PORT_DESC. Everything else gets an ERROR; whatever would change the
/// switch is refused with EPERM, and recorded as a write.
#[derive(Debug)]
pub struct OpenFlowServer {
    running: Running,
}

impl OpenFlowServer {
    /// Starts the agent of `bridge` on `host`.
    ///
    /// # Errors
    /// The endpoint cannot be bound.
    pub async fn start(
        cloud: &Cloud,
        host: &str,
        bridge: &str,
        endpoint: Endpoint,
        options: OpenFlowOptions,
    ) -> io::Result<OpenFlowServer> {
        let service = Service::OpenFlow { host: host.to_owned(), bridge: bridge.to_owned() };
        let (host, bridge) = (host.to_owned(), bridge.to_owned());
        let serve = move |connection| Agent {
            connection,
            host: host.clone(),
            bridge: bridge.clone(),
            options: options.clone(),
            buffer: Vec::new(),
            version: None,
        };
        let running =
            serve::listen(cloud.clone(), service, endpoint, false, move |c| serve(c).serve()).await?;
        Ok(OpenFlowServer { running })
    }

    /// Where it listens.
    pub fn address(&self) -> &Address {
        &self.running.address
    }
}

struct Agent {
    connection: Connection,
    host: String,
    bridge: String,
    options: OpenFlowOptions,
    buffer: Vec<u8>,
    version: Option<Version>,
}

impl Agent {
    async fn serve(mut self) -> Result<(), Ended> {
        let ours = self.versions();
        self.connection.answer(&wire::hello(&ours, 1)).await?;
        loop {
            let message = self.message().await?;
            let (what, write) = describe(&message);
            self.connection.cloud.arrived(&self.connection.service, None, &what, write);
            for reply in self.replies(&message, &ours)? {
                self.connection.answer(&reply).await?;
            }
            if message[1] == kind::HELLO && self.version.is_none() {
                return self.connection.close().await;
            }
        }
    }

    /// The versions the bridge's `protocols` column allows; all that we speak when it is empty.
    fn versions(&self) -> Vec<Version> {
        let protocols = self.connection.cloud.read(|w| {
            let database = w.host(&self.host)?.database();
            let bridge = database.find("Bridge", &self.bridge)?;
            database.get("Bridge", bridge, "protocols").ok()
        });
        let allowed: Vec<Version> = protocols
            .iter()
            .flat_map(|set| set.atoms())
            .filter_map(|p| match p {
                crate::ovsdb::Atom::Str(p) if p == "OpenFlow13" => Some(Version::V1_3),
                crate::ovsdb::Atom::Str(p) if p == "OpenFlow14" => Some(Version::V1_4),
                crate::ovsdb::Atom::Str(p) if p == "OpenFlow15" => Some(Version::V1_5),
                _ => None,
            })
            .collect();
        if allowed.is_empty() { Version::ALL.to_vec() } else { allowed }
    }

    /// The next whole message. With probes on, an idle client is asked for an echo first and then left.
    async fn message(&mut self) -> Result<Vec<u8>, Ended> {
        let mut probed = false;
        loop {
            if let [_, _, high, low, ..] = self.buffer[..] {
                let length = usize::from(u16::from_be_bytes([high, low]));
                if length < 8 {
                    return Err(Ended::Protocol(format!(
                        "a message of {length} bytes has no room for its header"
                    )));
                }
                if self.buffer.len() >= length {
                    return Ok(self.buffer.drain(..length).collect());
                }
            }
            match self.options.probe {
                None => self.connection.read(&mut self.buffer).await?,
                Some(idle) => {
                    match tokio::time::timeout(idle, self.connection.read(&mut self.buffer)).await {
                        Ok(read) => read?,
                        Err(_) if probed => return Err(Ended::Deadline),
                        Err(_) => {
                            probed = true;
                            let version = self.version.unwrap_or(Version::V1_3);
                            self.connection
                                .answer(&wire::message(version, kind::ECHO_REQUEST, 0, &[]))
                                .await?;
                        }
                    }
                }
            }
        }
    }

    fn replies(&mut self, message: &[u8], ours: &[Version]) -> Result<Vec<Vec<u8>>, Ended> {
        let [spoken, kind, _, _, x0, x1, x2, x3, ref body @ ..] = *message else {
            return Err(Ended::Protocol("a message without a header".to_owned()));
        };
        let xid = u32::from_be_bytes([x0, x1, x2, x3]);
        if kind == kind::HELLO {
            self.version = wire::negotiate(ours, spoken, body);
            let highest = ours.iter().copied().max().unwrap_or(Version::V1_3);
            return Ok(match self.version {
                Some(_) => vec![],
                None => vec![wire::error(highest, xid, refusal::INCOMPATIBLE, message)],
            });
        }
        let Some(version) = self.version else {
            return Err(Ended::Protocol("the first message is not HELLO".to_owned()));
        };
        let error = |refusal| vec![wire::error(version, xid, refusal, message)];
        if spoken != version.0 {
            return Ok(error(refusal::BAD_VERSION));
        }
        let reply = |kind, body: &[u8]| vec![wire::message(version, kind, xid, body)];
        Ok(match kind {
            kind::ECHO_REQUEST => reply(kind::ECHO_REPLY, body),
            kind::ECHO_REPLY | kind::ERROR => vec![],
            kind::FEATURES_REQUEST => reply(kind::FEATURES_REPLY, &self.features(version)),
            kind::GET_CONFIG_REQUEST => reply(kind::GET_CONFIG_REPLY, &[0; 4]),
            kind::BARRIER_REQUEST => reply(kind::BARRIER_REPLY, &[]),
            kind::ROLE_REQUEST if role_is_kept(body) => {
                let mut role = vec![0, 0, 0, 1, 0, 0, 0, 0];
                role.extend([0xff; 8]);
                reply(kind::ROLE_REPLY, &role)
            }
            kind::MULTIPART_REQUEST => match self.multipart(version, body) {
                Ok((part, entries)) => pages(self.options.reply_bytes, &entries)
                    .into_iter()
                    .map(|(more, page)| {
                        let mut body = part.to_be_bytes().to_vec();
                        body.extend([0, u8::from(more), 0, 0, 0, 0]);
                        body.extend(page);
                        wire::message(version, kind::MULTIPART_REPLY, xid, &body)
                    })
                    .collect(),
                Err(refusal) => error(refusal),
            },
            kind::FLOW_MOD => error(refusal::FLOW_MOD_NOT_ALLOWED),
            other => match wire::name(other) {
                ("UNKNOWN", _) | (_, false) => error(refusal::BAD_TYPE),
                (_, true) => error(refusal::NOT_ALLOWED),
            },
        })
    }

    /// `struct ofp_switch_features`, without the fields before it.
    fn features(&self, version: Version) -> Vec<u8> {
        let datapath_id = self.connection.cloud.read(|w| {
            let database = w.host(&self.host)?.database();
            let bridge = database.find("Bridge", &self.bridge)?;
            u64::from_str_radix(database.get("Bridge", bridge, "datapath_id").ok()?.as_str()?, 16).ok()
        });
        let mut body = datapath_id.unwrap_or_default().to_be_bytes().to_vec();
        body.extend([0, 0, 0, 0, TABLES, 0, 0, 0]);
        // Statistics of flows, tables, ports, groups and queues; from 1.4 on bundles too, as Open vSwitch 3.1 claims.
        body.extend([0, 0, if version >= Version::V1_4 { 0x02 } else { 0 }, 0x4f]);
        body.extend([0; 4]);
        body
    }

    /// The type and the entries of a multipart reply; a body that is no list is one entry.
    fn multipart(&self, version: Version, body: &[u8]) -> Result<(u16, Entries), Refusal> {
        let [high, low, _, _, _, _, _, _, ref rest @ ..] = *body else { return Err(refusal::BAD_LENGTH) };
        let part = u16::from_be_bytes([high, low]);
        let known = [
            part::DESC,
            part::FLOW,
            part::AGGREGATE,
            part::TABLE,
            part::GROUP_DESC,
            part::METER_CONFIG,
            part::PORT_DESC,
        ];
        if !known.contains(&part) {
            return Err(refusal::BAD_MULTIPART);
        }
        // 1.5 lets GROUP_DESC name one group; before it, and for METER_CONFIG always, see the specifications.
        let wanted = |any: u32| match rest.first_chunk() {
            Some(id) => u32::from_be_bytes(*id),
            None => any,
        };
        let filter = match part {
            part::FLOW | part::AGGREGATE => Some(FlowFilter::parse(rest).ok_or(refusal::BAD_LENGTH)?),
            _ => None,
        };
        let entries = self.connection.cloud.read(|w| {
            let host = w.host(&self.host)?;
            let bridge = host.bridge(&self.bridge)?;
            let flows = bridge.flows.iter().filter(|f| filter.as_ref().is_none_or(|filter| filter.wants(f)));
            Some(match part {
                part::DESC => vec![wire::desc()],
                part::FLOW => flows.map(|f| wire::flow(version, f)).collect(),
                part::AGGREGATE => vec![wire::aggregate(version, &flows.collect::<Vec<_>>())],
                part::TABLE => (0..TABLES)
                    .map(|id| {
                        let active = bridge.flows.iter().filter(|f| f.table == id).count();
                        wire::table(id, u32::try_from(active).unwrap_or(u32::MAX))
                    })
                    .collect(),
                part::GROUP_DESC => {
                    const ALL_GROUPS: u32 = 0xffff_fffc;
                    let id = if version >= Version::V1_5 { wanted(ALL_GROUPS) } else { ALL_GROUPS };
                    let groups = bridge.groups.iter().filter(|g| id == ALL_GROUPS || g.id == id);
                    groups.map(|g| wire::group(version, g)).collect()
                }
                part::METER_CONFIG => {
                    const ALL_METERS: u32 = 0xffff_ffff;
                    let id = wanted(ALL_METERS);
                    let meters = bridge.meters.iter().filter(|m| id == ALL_METERS || m.id == id);
                    meters.map(wire::meter).collect()
                }
                _ => ports(host, &self.bridge).iter().map(|p| wire::port_desc(version, p)).collect(),
            })
        });
        // A bridge that was removed under the agent has nothing to say; the real agent would be gone with it.
        Ok((part, entries.unwrap_or_default()))
    }
}

/// Packs entries into replies of at most `limit` bytes each, or one entry if that is longer; each with its `MORE` flag.
fn pages(limit: usize, entries: &[Vec<u8>]) -> Vec<(bool, Vec<u8>)> {
    let limit = limit.clamp(64, 0xfff0) - 16;
    let mut pages = vec![Vec::new()];
    for entry in entries {
        match pages.last_mut() {
            Some(last) if last.is_empty() || last.len() + entry.len() <= limit => last.extend(entry),
            _ => pages.push(entry.clone()),
        }
    }
    let count = pages.len();
    pages.into_iter().enumerate().map(|(n, page)| (n + 1 < count, page)).collect()
}

fn role_is_kept(body: &[u8]) -> bool {
    body.len() == 16 && body[..4] == [0; 4]
}

fn describe(message: &[u8]) -> (String, bool) {
    let (name, write) = wire::name(message[1]);
    match message {
        [_, kind::MULTIPART_REQUEST, _, _, _, _, _, _, high, low, ..] => {
            let part = u16::from_be_bytes([*high, *low]);
            (format!("{name} {}", wire::part_name(part)), part == 0xffff)
        }
        [_, kind::ROLE_REQUEST, _, _, _, _, _, _, body @ ..] => (name.to_owned(), !role_is_kept(body)),
        [_, kind, ..] if name == "UNKNOWN" => (format!("UNKNOWN {kind}"), write),
        _ => (name.to_owned(), write),
    }
}

fn ports(host: &OvsHost, bridge: &str) -> Vec<PortDesc> {
    let database = host.database();
    let interfaces = database
        .find("Bridge", bridge)
        .and_then(|row| database.get("Bridge", row, "ports").ok())
        .into_iter()
        .flat_map(|ports| ports.uuids().collect::<Vec<_>>())
        .filter_map(|port| database.get("Port", port, "interfaces").ok())
        .flat_map(|interfaces| interfaces.uuids().collect::<Vec<_>>());
    let mut ports: Vec<PortDesc> = interfaces
        .filter_map(|row| {
            let get = |column| database.get("Interface", row, column).ok();
            let number = match get("ofport")?.ints().next()? {
                0xfffe => super::port::LOCAL,
                n => u32::try_from(n).ok()?,
            };
            let mut mac = [0; 6];
            if let Some(text) = get("mac_in_use").as_ref().and_then(|d| d.as_str()) {
                for (byte, hex) in mac.iter_mut().zip(text.split(':')) {
                    *byte = u8::from_str_radix(hex, 16).ok()?;
                }
            }
            let down = get("admin_state").as_ref().and_then(|d| d.as_str()) == Some("down");
            Some(PortDesc { number, mac, name: get("name")?.as_str()?.to_owned(), down })
        })
        .collect();
    ports.sort_by_key(|p| p.number.wrapping_add(2));
    ports
}
