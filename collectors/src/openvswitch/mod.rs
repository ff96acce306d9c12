//! The dialect `openvswitch`: one bridge of an Open vSwitch, its VLAN columns read over OVSDB JSON-RPC (RFC 7047)
//! and its rules over OpenFlow or by `ovs-ofctl`.
//!
//! Everything that is ever sent: [`SELECT`], the answer to the server's `echo`, the OpenFlow messages of
//! [`openflow`], and the commands [`FLOWS_COMMAND`] and [`GROUPS_COMMAND`]. The page is
//! `docs/dialects/openvswitch.md`.

mod bypass;
mod flows;
mod normal;
pub mod openflow;
mod ovsdb;
mod value;
pub mod vlans;

pub use bypass::BYPASS_TABLE;
pub use normal::normalise;
pub use ovsdb::SELECT;

use crate::net::{Address, Output, SshSession, SshTarget, TlsFiles, command, ssh, stream, within};
use crate::dialect::{Dialect, Reach};
use crate::{Clock, Evidence, Exchange, Pending, Reading, SourceError, SwitchReader};
use isoledger_core::model::{BypassClass, Failure, Observed, Reader, Window};
use normal::Tables;
use ovsdb::Session;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// The dialect's name.
pub const DIALECT: &str = "openvswitch";
/// The parser's version; moves when the same evidence may read differently.
pub const VERSION: u32 = 1;

/// The dialect.
pub const OPENVSWITCH: Dialect = Dialect {
    name: DIALECT,
    version: VERSION,
    title: "Open vSwitch, one bridge",
    sends: &[
        "OVSDB transact of seven selects",
        "OpenFlow HELLO, FEATURES_REQUEST, MULTIPART FLOW, MULTIPART GROUP_DESC",
        "ovs-ofctl -O OpenFlow13,OpenFlow14,OpenFlow15 --no-stats --sort dump-flows {bridge}",
        "ovs-ofctl -O OpenFlow13,OpenFlow14,OpenFlow15 dump-groups {bridge}",
    ],
    bypasses: &BYPASS_TABLE,
    normalise,
    reach: Reach::OpenVSwitch,
};

/// Prints the rules; the bridge's name follows. The versions are named because `ovs-ofctl` alone offers only
/// OpenFlow 1.0, which a bridge may have turned off.
pub const FLOWS_COMMAND: &str = "ovs-ofctl -O OpenFlow13,OpenFlow14,OpenFlow15 --no-stats --sort dump-flows ";
/// Prints the groups; the bridge's name follows.
pub const GROUPS_COMMAND: &str = "ovs-ofctl -O OpenFlow13,OpenFlow14,OpenFlow15 dump-groups ";

/// The most bytes of rules, and of groups, that are read.
const MAX_RULES: usize = 8 << 20;
/// How often, and after how long, the database is read again when vswitchd has not carried it out.
const SETTLING: (u32, Duration) = (4, Duration::from_millis(250));

/// Where and how to read one bridge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The bridge's name.
    pub bridge: String,
    /// The OVSDB server.
    pub ovsdb: Address,
    /// Files for `ssl:` addresses, of OVSDB and of OpenFlow.
    pub tls: Option<TlsFiles>,
    /// How to read the rules; without it the class `flows` is not read.
    pub flows: Option<FlowSource>,
}

/// A way to read the rules of the bridge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FlowSource {
    /// OpenFlow: the bridge's management socket `unix:<rundir>/<bridge>.mgmt`, or a listener.
    OpenFlow(Address),
    /// `ovs-ofctl` on the switch, over SSH.
    Ssh(SshTarget),
    /// `ovs-ofctl` on this host.
    Local {
        /// Open vSwitch's run directory, where it is not the usual one.
        rundir: Option<PathBuf>,
    },
}

/// Settings that cannot work.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SettingsError {
    /// The bridge's name would not survive a command line.
    #[error(
        "found {found:?} as a bridge's name; allowed are letters, digits, dot, dash and underscore, not beginning with \
         a dash"
    )]
    BridgeName {
        /// The name.
        found: String,
    },
    /// An address with TLS, and no files for it.
    #[error("the address {address} uses TLS; configure the CA file that vouches for the switch")]
    NoTlsFiles {
        /// The address.
        address: Address,
    },
}

/// Reads one bridge.
#[derive(Debug)]
pub struct OpenVSwitch {
    settings: Settings,
    session: Option<Session>,
    ssh: Option<SshSession>,
}

/// What a reading gathers before it is judged.
#[derive(Default)]
struct Gathered {
    evidence: Evidence,
    sent: u64,
}

impl OpenVSwitch {
    /// A reader with these settings, not yet connected.
    pub fn new(settings: Settings) -> Result<OpenVSwitch, SettingsError> {
        if !ssh::is_plain_word(&settings.bridge) {
            return Err(SettingsError::BridgeName { found: settings.bridge });
        }
        let openflow = match &settings.flows {
            Some(FlowSource::OpenFlow(address)) => Some(address),
            _ => None,
        };
        for address in [Some(&settings.ovsdb), openflow].into_iter().flatten() {
            if matches!(address, Address::Tls { .. }) && settings.tls.is_none() {
                return Err(SettingsError::NoTlsFiles { address: address.clone() });
            }
        }
        let ssh = match &settings.flows {
            Some(FlowSource::Ssh(target)) => Some(SshSession::new(target.clone())),
            _ => None,
        };
        Ok(OpenVSwitch { settings, session: None, ssh })
    }

    async fn gather(&mut self, all: &mut Gathered, deadline: Instant) -> Result<(), SourceError> {
        all.evidence.subject = self.settings.bridge.clone();
        let mut answer = self.select(all, deadline).await?;
        for _ in 0..SETTLING.0 {
            if !is_unsettled(&answer) || Instant::now() + SETTLING.1 >= deadline {
                break;
            }
            tokio::time::sleep(SETTLING.1).await;
            answer = self.select(all, deadline).await?;
        }
        let mut identity = identity(&answer).unwrap_or_default();
        if let Some(session) = &self.session {
            all.evidence.auth = format!("ovsdb: {}", session.auth);
            if let Some(sha256) = &session.certificate {
                identity = [identity, format!("certificate-sha256={sha256}")]
                    .into_iter()
                    .filter(|part| !part.is_empty())
                    .collect::<Vec<_>>()
                    .join(" ");
            }
        }
        all.evidence.identity = (!identity.is_empty()).then_some(identity);
        all.evidence.exchanges.push(Exchange {
            asked: ovsdb::asked(),
            status: None,
            answer: answer.into_bytes(),
        });
        self.flows(all, deadline).await;
        Ok(())
    }

    /// One OVSDB transaction, over the session of the last poll if it still lives.
    async fn select(&mut self, all: &mut Gathered, deadline: Instant) -> Result<String, SourceError> {
        if let Some(mut session) = self.session.take().filter(|s| !s.is_closed()) {
            all.sent += 1;
            match session.select(deadline).await {
                Ok(answer) => {
                    self.session = Some(session);
                    return Ok(answer);
                }
                // Hung up on since the last poll: worth one new session.
                Err(e) if e.kind == Failure::Silent && Instant::now() < deadline => {}
                Err(e) => return Err(e),
            }
        }
        let mut session = Session::open(&self.settings.ovsdb, self.settings.tls.as_ref(), deadline).await?;
        all.sent += 1;
        let answer = session.select(deadline).await?;
        self.session = Some(session);
        Ok(answer)
    }

    /// Adds what was read of the rules, or why nothing was: an exchange without status 0 says so in its answer.
    async fn flows(&mut self, all: &mut Gathered, deadline: Instant) {
        let bridge = self.settings.bridge.clone();
        let (flows, groups) = (format!("{FLOWS_COMMAND}{bridge}"), format!("{GROUPS_COMMAND}{bridge}"));
        let failed = |asked: &str, e: SourceError| Exchange {
            asked: asked.to_owned(),
            status: None,
            answer: e.sentence.into_bytes(),
        };
        match self.settings.flows.clone() {
            None => {}
            Some(FlowSource::OpenFlow(address)) => {
                all.sent += 3;
                let place = address.to_string();
                let work = async {
                    let mut open = stream::connect(&address, self.settings.tls.as_ref(), deadline).await?;
                    let auth = open.auth.clone();
                    openflow::read(&mut *open.io, &place, MAX_RULES).await.map(|answers| (answers, auth))
                };
                match within(deadline, &place, work).await {
                    Ok((answers, auth)) => {
                        all.evidence.auth += &format!("; flows: OpenFlow, {auth}");
                        let text = format!("datapath_id={}\n{}", answers.datapath_id, answers.flows);
                        for (asked, text) in
                            [(openflow::ASK_FLOWS, text), (openflow::ASK_GROUPS, answers.groups)]
                        {
                            all.evidence.exchanges.push(Exchange {
                                asked: asked.to_owned(),
                                status: Some(0),
                                answer: text.into_bytes(),
                            });
                        }
                    }
                    Err(e) => all.evidence.exchanges.push(failed(openflow::ASK_FLOWS, e)),
                }
            }
            Some(FlowSource::Ssh(_)) => {
                let Some(ssh) = self.ssh.as_mut() else { return };
                for asked in [flows, groups] {
                    all.sent += 1;
                    match ssh.run(&asked, MAX_RULES, deadline).await {
                        Ok(out) => all.evidence.exchanges.push(exchange(asked, &out)),
                        Err(e) => {
                            all.evidence.exchanges.push(failed(&asked, e));
                            return;
                        }
                    }
                }
                all.evidence.auth += &format!("; flows: {}", ssh.auth());
            }
            Some(FlowSource::Local { rundir }) => {
                let environment: Vec<_> = rundir.into_iter().map(|dir| ("OVS_RUNDIR", dir)).collect();
                for asked in [flows, groups] {
                    all.sent += 1;
                    match command::run(&asked, &environment, MAX_RULES, deadline).await {
                        Ok(out) => all.evidence.exchanges.push(exchange(asked, &out)),
                        Err(e) => {
                            all.evidence.exchanges.push(failed(&asked, e));
                            return;
                        }
                    }
                }
                all.evidence.auth += "; flows: command on this host";
            }
        }
    }
}

/// A command's output as evidence: its lines in order, or when it failed the status and what it complained of.
fn exchange(asked: String, out: &Output) -> Exchange {
    let status = u16::try_from(out.status).unwrap_or(u16::MAX);
    let answer = match std::str::from_utf8(&out.stdout) {
        Ok(text) if status == 0 => flows::in_order(text).into_bytes(),
        _ if status == 0 => out.stdout.clone(),
        _ => {
            let said = String::from_utf8_lossy(&out.stderr);
            format!("the command ended with status {}: {}", out.status, said.trim()).into_bytes()
        }
    };
    Exchange { asked, status: Some(status), answer }
}

fn is_unsettled(answer: &str) -> bool {
    with_tables(answer, |tables| tables.unapplied().is_some()).unwrap_or(false)
}

fn identity(answer: &str) -> Option<String> {
    with_tables(answer, |tables| tables.identity()).flatten()
}

fn with_tables<T>(answer: &str, ask: impl Fn(&Tables<'_>) -> T) -> Option<T> {
    let value = crate::net::json::parse_strict(answer.as_bytes()).ok()?;
    Tables::of(&value).ok().map(|tables| ask(&tables))
}

impl SwitchReader for OpenVSwitch {
    fn reader(&self) -> Reader {
        Reader { dialect: DIALECT.to_owned(), version: VERSION }
    }

    fn read<'a>(&'a mut self, clock: &'a dyn Clock, deadline: Instant) -> Pending<'a, Reading<Observed>> {
        Box::pin(async move {
            let started = clock.now();
            let mut all = Gathered::default();
            let outcome = match self.gather(&mut all, deadline).await {
                Ok(()) => normalise(&all.evidence),
                Err(e) => Err(e),
            };
            let window = Window { started, ended: clock.now() };
            Reading { window, reader: self.reader(), evidence: all.evidence, outcome, sent: all.sent }
        })
    }

    fn bypass_table(&self) -> &'static [(BypassClass, &'static str)] {
        &BYPASS_TABLE
    }
}

#[cfg(test)]
mod tests;
