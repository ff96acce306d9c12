//! The dialect `openvswitch`: one bridge of an Open vSwitch, its VLAN columns read over OVSDB JSON-RPC (RFC 7047) or
//! by `ovs-vsctl` over SSH, and its rules over OpenFlow or by `ovs-ofctl`.
//!
//! Over OVSDB the server also tells of what changes between two readings, so that what came and went is seen.
//!
//! Everything that is ever sent: [`SELECT`], [`MONITOR`], the answer to the server's `echo`, the OpenFlow messages of
//! [`openflow`], and the commands [`COLUMNS_COMMAND`], [`FLOWS_COMMAND`] and [`GROUPS_COMMAND`]. The page is
//! `docs/dialects/openvswitch.md`.

mod between;
mod bypass;
mod flows;
mod normal;
pub mod openflow;
mod ovsdb;
mod value;
pub mod vlans;
mod vsctl;

pub use bypass::BYPASS_TABLE;
pub use normal::normalise;
pub use ovsdb::{MONITOR, SELECT};
pub use vsctl::COLUMNS_COMMAND;

use crate::dialect::{Dialect, Reach};
use crate::net::{Address, Output, SshSession, SshTarget, TlsFiles, command, ssh, stream, within};
use crate::{Clock, Evidence, Exchange, Pending, Reading, SourceError, SwitchReader};
use isoledger_core::Span;
use isoledger_core::model::{BypassClass, Failure, Observed, Reader, Window};
use normal::Tables;
use ovsdb::{Selected, Session, SharedWatch};
use std::collections::BTreeSet;
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
        "OVSDB monitor of the same columns",
        "OpenFlow HELLO, FEATURES_REQUEST, MULTIPART FLOW, MULTIPART GROUP_DESC",
        COLUMNS_COMMAND,
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

/// The most bytes of columns that `ovs-vsctl` may print.
const MAX_COLUMNS: usize = 32 << 20;
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
    pub ovsdb: OvsdbSource,
    /// Files for `ssl:` addresses, of OVSDB and of OpenFlow.
    pub tls: Option<TlsFiles>,
    /// How to read the rules; without it the class `flows` is not read.
    pub flows: Option<FlowSource>,
}

/// A way to read the columns of the bridge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OvsdbSource {
    /// The server's JSON-RPC, which also tells of changes between readings.
    Address(Address),
    /// `ovs-vsctl` on the switch, over SSH, for a server that listens on its own host only.
    Ssh(SshTarget),
}

impl From<Address> for OvsdbSource {
    fn from(address: Address) -> OvsdbSource {
        OvsdbSource::Address(address)
    }
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
    /// For the columns, and for the rules too where both are at the same place.
    vsctl: Option<SshSession>,
    ssh: Option<SshSession>,
    watch: SharedWatch,
    /// The answer of the reading before, with which the gap begins.
    since: Option<String>,
    /// The last good reading; it becomes the one before when another begins.
    last: Option<Selected>,
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
        let ovsdb = match &settings.ovsdb {
            OvsdbSource::Address(address) => Some(address),
            OvsdbSource::Ssh(_) => None,
        };
        for address in [ovsdb, openflow].into_iter().flatten() {
            if matches!(address, Address::Tls { .. }) && settings.tls.is_none() {
                return Err(SettingsError::NoTlsFiles { address: address.clone() });
            }
        }
        let vsctl = match &settings.ovsdb {
            OvsdbSource::Address(_) => None,
            OvsdbSource::Ssh(target) => Some(SshSession::new(target.clone())),
        };
        let ssh = match (&settings.flows, &settings.ovsdb) {
            // One login serves both.
            (Some(FlowSource::Ssh(target)), OvsdbSource::Ssh(same)) if target == same => None,
            (Some(FlowSource::Ssh(target)), _) => Some(SshSession::new(target.clone())),
            _ => None,
        };
        let watch = SharedWatch::default();
        Ok(OpenVSwitch { settings, session: None, vsctl, ssh, watch, since: None, last: None })
    }

    /// Reads within `deadline`. `again` is a second look within one poll: its gap is still the one since the poll before.
    async fn read_at(&mut self, clock: &dyn Clock, deadline: Instant, again: bool) -> Reading<Observed> {
        let started = clock.now();
        // A reading whose second look fails tells nothing; the next one then tells it.
        if let Some(last) = self.last.take().filter(|_| !again) {
            self.watch.forget(last.mark);
            self.since = Some(last.answer);
        }
        let mut all = Gathered::default();
        let (outcome, selected) = match self.gather(&mut all, clock, deadline).await {
            Ok(selected) => (normalise(&all.evidence), selected),
            Err(e) => (Err(e), None),
        };
        if outcome.is_ok() && selected.is_some() {
            self.last = selected;
        }
        let window = Window { started, ended: clock.now() };
        Reading { window, reader: self.reader(), evidence: all.evidence, outcome, sent: all.sent }
    }

    /// What was read over OVSDB, for telling later what changed since; nothing over SSH.
    async fn gather(
        &mut self,
        all: &mut Gathered,
        clock: &dyn Clock,
        deadline: Instant,
    ) -> Result<Option<Selected>, SourceError> {
        all.evidence.subject = self.settings.bridge.clone();
        let mut columns = self.columns(all, deadline).await?;
        for _ in 0..SETTLING.0 {
            if !columns.is_unsettled() || Instant::now() + SETTLING.1 >= deadline {
                break;
            }
            tokio::time::sleep(SETTLING.1).await;
            columns = self.columns(all, deadline).await?;
        }
        let mut identity = columns.identity().unwrap_or_default();
        if let Some(ssh) = &self.vsctl {
            all.evidence.auth = format!("ovsdb: ovs-vsctl, {}", ssh.auth());
        }
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
        let selected = match columns {
            Columns::Selected(selected) => {
                all.evidence.exchanges.push(Exchange {
                    asked: ovsdb::asked(),
                    status: None,
                    answer: selected.answer.clone().into_bytes(),
                });
                Some(selected)
            }
            Columns::Printed(answer) => {
                let asked = COLUMNS_COMMAND.to_owned();
                all.evidence.exchanges.push(Exchange { asked, status: Some(0), answer });
                None
            }
        };
        self.flows(all, deadline).await;
        if let (Some(selected), Some(since)) = (&selected, &self.since) {
            let mut gap = self.watch.gap(selected.mark);
            let refused = self.session.as_ref().and_then(|s| s.refused.clone());
            gap.lost = gap.lost.or(refused);
            // The clocks side by side, so that what came a while ago is dated by ours.
            let (now, instant) = (clock.now(), Instant::now());
            let ago = |at: Instant| {
                let passed = instant.saturating_duration_since(at).as_millis();
                now.minus(Span::from_millis(u64::try_from(passed).unwrap_or(u64::MAX)))
            };
            all.evidence.exchanges.extend(between::exchange(since, &gap, ago));
        }
        Ok(selected)
    }

    async fn columns(&mut self, all: &mut Gathered, deadline: Instant) -> Result<Columns, SourceError> {
        let Some(ssh) = self.vsctl.as_mut() else {
            return self.select(all, deadline).await.map(Columns::Selected);
        };
        all.sent += 1;
        let out = ssh.run(COLUMNS_COMMAND, MAX_COLUMNS, deadline).await?;
        if out.status != 0 {
            let said = String::from_utf8_lossy(&out.stderr);
            return Err(SourceError::unreadable(format!(
                "ovs-vsctl ended with status {}: {}. May this user read the database?",
                out.status,
                said.trim()
            )));
        }
        Ok(Columns::Printed(vsctl::in_order(&out.stdout)))
    }

    /// One OVSDB transaction, over the session of the last poll if it still lives.
    async fn select(&mut self, all: &mut Gathered, deadline: Instant) -> Result<Selected, SourceError> {
        let OvsdbSource::Address(address) = &self.settings.ovsdb else {
            return Err(SourceError::unreadable("this bridge is configured without an OVSDB address"));
        };
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
        let tls = self.settings.tls.as_ref();
        let mut session = Session::open(address, tls, &self.watch, deadline).await?;
        all.sent += 2;
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
                let Some(ssh) = self.ssh.as_mut().or(self.vsctl.as_mut()) else { return };
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

/// An answer about the columns.
enum Columns {
    Selected(Selected),
    /// What `ovs-vsctl` printed.
    Printed(Vec<u8>),
}

impl Columns {
    fn is_unsettled(&self) -> bool {
        self.ask(|tables| tables.unapplied().is_some()).unwrap_or(false)
    }

    fn identity(&self) -> Option<String> {
        self.ask(|tables| tables.identity()).flatten()
    }

    fn ask<T>(&self, ask: impl Fn(&Tables<'_>) -> T) -> Option<T> {
        let value = match self {
            Columns::Selected(selected) => crate::net::json::parse_strict(selected.answer.as_bytes()).ok()?,
            Columns::Printed(answer) => vsctl::parse(answer).ok()?,
        };
        Tables::of(&value).ok().map(|tables| ask(&tables))
    }
}

impl SwitchReader for OpenVSwitch {
    fn reader(&self) -> Reader {
        Reader { dialect: DIALECT.to_owned(), version: VERSION }
    }

    fn read<'a>(&'a mut self, clock: &'a dyn Clock, deadline: Instant) -> Pending<'a, Reading<Observed>> {
        Box::pin(self.read_at(clock, deadline, false))
    }

    fn reread<'a>(
        &'a mut self,
        _ports: &'a BTreeSet<String>,
        _previous: &'a Evidence,
        clock: &'a dyn Clock,
        deadline: Instant,
    ) -> Pending<'a, Reading<Observed>> {
        // One transaction reads every port, so there is nothing to merge.
        Box::pin(self.read_at(clock, deadline, true))
    }

    fn hold(&mut self) {
        self.last = None;
    }

    fn bypass_table(&self) -> &'static [(BypassClass, &'static str)] {
        &BYPASS_TABLE
    }
}

#[cfg(test)]
mod tests;
