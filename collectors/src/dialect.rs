//! What a dialect is: a name, a version, a normaliser; for switches also what is sent and how each bypass class is decided.
//!
//! A dialect of switches is one file with one [`Dialect`], named in [`crate::dialects::SWITCHES`]. Everything else, from the
//! configuration to the page's table, is made from that value.

use crate::net::SshTarget;
use crate::net::web::{Web, WebTarget};
use crate::{Clock, Evidence, Exchange, Reading, SourceError, SwitchReader};
use isoledger_core::model::{BypassClass, Declared, Observed, Reader, Window};

/// For each bypass class, when a switch is clean, dirty or not read, and why: the table of the dialect's page.
pub type BypassTable = [(BypassClass, &'static str)];

/// One kind of switch and how it is read.
#[derive(Debug)]
pub struct Dialect {
    /// The name in configurations, rosters and evidence; also that of its page in `docs/dialects`.
    pub name: &'static str,
    /// The parser's version; moves when the same evidence may read differently.
    pub version: u32,
    /// The switches it reads, for lists.
    pub title: &'static str,
    /// Everything that is ever sent once logged in; what varies stands in braces.
    pub sends: &'static [&'static str],
    /// How each bypass class is decided.
    pub bypasses: &'static BypassTable,
    /// What a switch did, from the evidence of one reading of it. Pure.
    pub normalise: fn(&Evidence) -> Result<Observed, SourceError>,
    /// How it is reached.
    pub reach: Reach,
}

/// How a kind of switch is reached, with what its reader is made from.
#[derive(Clone, Copy, Debug)]
pub enum Reach {
    /// Over OVSDB and OpenFlow or commands, with settings of its own: [`crate::openvswitch::Settings`].
    OpenVSwitch,
    /// A command line over SSH.
    Console(fn(ConsoleSettings) -> Box<dyn SwitchReader>),
    /// HTTP.
    Web(fn(WebSettings) -> Result<Box<dyn SwitchReader>, SourceError>),
}

/// Where a command line is, and as whom it is used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConsoleSettings {
    /// Where to log in, and as whom.
    pub ssh: SshTarget,
    /// What `enable` asks for, where the account is not privileged from the start.
    pub enable: Option<crate::Secret>,
}

/// Where an HTTP interface is, and what is read there.
#[derive(Clone, Debug)]
pub struct WebSettings {
    /// The server and the account.
    pub web: WebTarget,
    /// The interface types to read, in the switch's spelling, e.g. `TenGigabitEthernet`; empty means the dialect's own
    /// list.
    pub interface_types: Vec<String>,
}

impl Dialect {
    /// The name and version that a roster records.
    pub fn reader(&self) -> Reader {
        Reader { dialect: self.name.to_owned(), version: self.version }
    }

    /// One reading over HTTP: what `gather` brings from `web`, and what that means.
    pub(crate) async fn read_web(
        &self,
        web: &Web,
        clock: &dyn Clock,
        gather: impl Future<Output = Vec<Exchange>>,
    ) -> Reading<Observed> {
        let (started, sent) = (clock.now(), web.sent());
        let exchanges = gather.await;
        let window = Window { started, ended: clock.now() };
        let evidence = Evidence {
            subject: web.base().to_owned(),
            auth: web.auth(),
            identity: web.identity(),
            exchanges,
        };
        let outcome = (self.normalise)(&evidence);
        Reading { window, reader: self.reader(), evidence, outcome, sent: web.sent() - sent }
    }
}

/// One kind of cloud manager and how what it declares is read from evidence.
#[derive(Debug)]
pub struct ManagerDialect {
    /// The name in configurations, rosters and evidence; also that of its page in `docs/dialects`.
    pub name: &'static str,
    /// The parser's version; moves when the same evidence may read differently.
    pub version: u32,
    /// What a cloud manager declares, from the evidence of one reading of it. Pure.
    pub normalise: fn(&Evidence) -> Result<Declared, SourceError>,
}

impl ManagerDialect {
    /// The name and version that a roster records.
    pub fn reader(&self) -> Reader {
        Reader { dialect: self.name.to_owned(), version: self.version }
    }
}
