//! The configuration: one TOML file, every key of it documented in docs/OPERATING.md and in what `init` writes.

use crate::witnesses_config::WitnessConfig;
use isoledger_collectors::dialect::{Dialect, Reach};
use isoledger_collectors::dialects::{SWITCHES, switch_dialect};
use isoledger_core::record::{valid_origin, valid_word};
use isoledger_core::time::Span;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

/// A source that may take less never answers: that would be a configuration that silently audits nothing.
const SHORTEST_WAIT: Span = Span::from_millis(50);

/// A configuration file's content. Relative paths are relative to the file.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct Config {
    pub(crate) log: Log,
    #[serde(default)]
    pub(crate) poll: Poll,
    #[serde(default)]
    pub(crate) http: Http,
    pub(crate) manager: Manager,
    #[serde(default)]
    pub(crate) switches: BTreeMap<String, Switch>,
    #[serde(default)]
    pub(crate) witness: WitnessConfig,
    /// Where the file is; not a key.
    #[serde(skip)]
    pub(crate) dir: PathBuf,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct Log {
    /// The log's name for ever: origin of its checkpoints and name of its key.
    pub(crate) origin: String,
    /// The audited domain.
    pub(crate) domain: String,
    /// Directory of journal and index.
    #[serde(default = "data")]
    pub(crate) data: PathBuf,
    /// The signing key, made by `init`, mode 0600.
    #[serde(default = "key")]
    pub(crate) key: PathBuf,
    /// The scope, written by `scope propose`, reviewed by people.
    #[serde(default = "scope")]
    pub(crate) scope: PathBuf,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub(crate) struct Poll {
    /// From the start of one poll to the start of the next.
    pub(crate) period: Span,
    /// How long a switch may take to answer.
    pub(crate) deadline: Span,
    /// How long to wait before looking again where the sides newly disagree.
    pub(crate) settle: Span,
    /// The longest stretch without a reading that an attestation's own verdict allows, and the age past which a
    /// verdict now is unknown.
    pub(crate) max_gap: Span,
    /// How many switches are read at once.
    pub(crate) parallel: usize,
}

impl Default for Poll {
    fn default() -> Poll {
        Poll {
            period: Span::from_secs(30),
            deadline: Span::from_secs(20),
            settle: Span::from_secs(5),
            max_gap: Span::from_secs(120),
            parallel: 64,
        }
    }
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub(crate) struct Http {
    /// Where the service listens.
    pub(crate) listen: SocketAddr,
    /// File with the token that `/v1` asks for; without it the service listens on loopback only.
    pub(crate) token_file: Option<PathBuf>,
}

impl Default for Http {
    fn default() -> Http {
        Http { listen: SocketAddr::from(([127, 0, 0, 1], 7478)), token_file: None }
    }
}

/// The cloud manager, by its kind.
#[derive(Clone, Debug, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub(crate) enum Manager {
    /// HIL over its REST API.
    Hil(Hil),
    /// HIL's database.
    HilDatabase(HilDatabase),
    /// A file that declares, for sites without a manager.
    DeclaredFile(DeclaredFile),
}

/// HIL over its REST API.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct Hil {
    /// Where HIL is, without `/v0`.
    pub(crate) url: String,
    /// The administrator's name; absent for HIL's null authentication.
    pub(crate) user: Option<String>,
    /// File with the password, mode 0600.
    pub(crate) password_file: Option<PathBuf>,
    /// Environment variable with the password.
    pub(crate) password_env: Option<String>,
    /// Certificate authorities that may vouch for HIL, PEM.
    pub(crate) ca: Option<PathBuf>,
    /// Whether plain http may be used to another host than this one.
    #[serde(default)]
    pub(crate) allow_plain_http: bool,
    /// From the start of one crawl to the start of the next.
    #[serde(default = "crawl_period")]
    pub(crate) period: Span,
    /// How long a crawl may take.
    #[serde(default = "crawl_deadline")]
    pub(crate) deadline: Span,
    /// How long one request may take.
    #[serde(default = "request_timeout")]
    pub(crate) request_timeout: Span,
    /// The most of HIL's time that crawls may take, in percent; the period grows to keep to it.
    #[serde(default = "duty")]
    pub(crate) duty: u32,
}

/// HIL's PostgreSQL database.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct HilDatabase {
    /// `unix:PATH`, `tcp:HOST:PORT` (this host only) or `ssl:HOST:PORT` of the server.
    pub(crate) server: String,
    /// The database's name.
    #[serde(default = "hil_database")]
    pub(crate) database: String,
    /// The role, which needs SELECT on some columns and nothing else.
    pub(crate) user: String,
    /// File with the password, mode 0600.
    pub(crate) password_file: Option<PathBuf>,
    /// Environment variable with the password.
    pub(crate) password_env: Option<String>,
    /// For `ssl:`: authorities, our certificate and key, the name in the server's certificate.
    pub(crate) tls: Option<Tls>,
    /// From the start of one reading to the start of the next.
    #[serde(default = "database_period")]
    pub(crate) period: Span,
    /// How long a reading may take.
    #[serde(default = "database_deadline")]
    pub(crate) deadline: Span,
}

/// A file that declares.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct DeclaredFile {
    /// The file, `.toml` or `.json`. Read at every poll.
    pub(crate) path: PathBuf,
}

/// How often and how long the cloud manager is read.
pub(crate) struct ManagerPace {
    pub(crate) period: Span,
    pub(crate) deadline: Span,
    pub(crate) duty: u32,
}

impl Manager {
    pub(crate) fn pace(&self) -> ManagerPace {
        match self {
            Manager::Hil(h) => ManagerPace { period: h.period, deadline: h.deadline, duty: h.duty },
            Manager::HilDatabase(d) => ManagerPace { period: d.period, deadline: d.deadline, duty: 100 },
            // A local file costs nothing: every poll rests on what it says then.
            Manager::DeclaredFile(_) => {
                ManagerPace { period: Span::from_millis(0), deadline: Span::from_secs(5), duty: 100 }
            }
        }
    }
}

/// A switch, by how its dialect is reached.
#[derive(Clone, Debug, Deserialize)]
#[serde(try_from = "toml::Table")]
pub(crate) enum Switch {
    /// One bridge of an Open vSwitch.
    OpenVswitch(OpenVswitch),
    /// A command line over SSH.
    Console(&'static Dialect, Console),
    /// An HTTP interface.
    Web(&'static Dialect, Web),
}

impl TryFrom<toml::Table> for Switch {
    type Error = String;

    fn try_from(mut table: toml::Table) -> Result<Switch, String> {
        let known = || SWITCHES.iter().map(|d| d.name).collect::<Vec<_>>().join(", ");
        let kind = match table.remove("kind") {
            Some(toml::Value::String(kind)) => kind,
            Some(other) => return Err(format!("found kind = {other}; known are {}", known())),
            None => return Err(format!("a switch needs a kind; known are {}", known())),
        };
        let dialect =
            switch_dialect(&kind).ok_or_else(|| format!("found kind = {kind:?}; known are {}", known()))?;
        let keys = |e: toml::de::Error| format!("kind {kind:?}: {}", e.message());
        Ok(match dialect.reach {
            Reach::OpenVSwitch => Switch::OpenVswitch(table.try_into().map_err(keys)?),
            Reach::Console(_) => Switch::Console(dialect, table.try_into().map_err(keys)?),
            Reach::Web(_) => {
                let web: Web = table.try_into().map_err(keys)?;
                if web.request_timeout < SHORTEST_WAIT {
                    return Err(format!(
                        "kind {kind:?}: request-timeout is {}; at least 50ms",
                        web.request_timeout
                    ));
                }
                Switch::Web(dialect, web)
            }
        })
    }
}

/// One bridge of an Open vSwitch.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct OpenVswitch {
    /// `unix:PATH`, `tcp:HOST:PORT` or `ssl:HOST:PORT` of the OVSDB server, or `ssh`, see the table of that name.
    pub(crate) ovsdb: String,
    /// The bridge.
    pub(crate) bridge: String,
    /// For `ssl:`: authorities, our certificate and key, the name in the server's certificate.
    #[serde(default)]
    pub(crate) tls: Option<Tls>,
    /// Where flows are read; absent means not read, and the verdict unknown.
    #[serde(default)]
    pub(crate) flows: Option<Flows>,
    /// For `ovsdb` and `flows` by SSH.
    #[serde(default)]
    pub(crate) ssh: Option<Ssh>,
}

/// A switch with a command line.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct Console {
    /// Where and as whom to log in.
    pub(crate) ssh: Ssh,
    /// File with what `enable` asks for, mode 0600, where the account is not privileged from the start.
    #[serde(default)]
    pub(crate) enable_password_file: Option<PathBuf>,
}

/// A switch with an HTTP interface.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct Web {
    /// Scheme, host and port: `https://switch.example:8888`.
    pub(crate) url: String,
    /// The account.
    pub(crate) user: Option<String>,
    /// File with its password, mode 0600.
    pub(crate) password_file: Option<PathBuf>,
    /// Environment variable with its password.
    pub(crate) password_env: Option<String>,
    /// Certificate authorities that may vouch for the switch, PEM.
    pub(crate) ca: Option<PathBuf>,
    /// Whether plain http may be used to another host than this one.
    #[serde(default)]
    pub(crate) allow_plain_http: bool,
    /// How long one request may take.
    #[serde(default = "request_timeout")]
    pub(crate) request_timeout: Span,
    /// The interface types to read; empty means the dialect's own list.
    #[serde(default)]
    pub(crate) interface_types: Vec<String>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct Tls {
    pub(crate) ca: PathBuf,
    #[serde(default)]
    pub(crate) certificate: Option<PathBuf>,
    #[serde(default)]
    pub(crate) key: Option<PathBuf>,
    #[serde(default)]
    pub(crate) server_name: Option<String>,
}

/// How an Open vSwitch's flows are read.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) enum Flows {
    /// OpenFlow at this address.
    Openflow(String),
    /// `ovs-ofctl` over SSH, see `ssh`.
    Ssh,
    /// `ovs-ofctl` on this host.
    Local,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct Ssh {
    pub(crate) host: String,
    #[serde(default = "ssh_port")]
    pub(crate) port: u16,
    pub(crate) user: String,
    pub(crate) known_hosts: PathBuf,
    #[serde(default)]
    pub(crate) key: Option<PathBuf>,
    #[serde(default)]
    pub(crate) password_file: Option<PathBuf>,
    /// Whether algorithms of ten years ago may be agreed on.
    #[serde(default)]
    pub(crate) old_algorithms: bool,
}

fn data() -> PathBuf {
    "data".into()
}
fn key() -> PathBuf {
    "log.key".into()
}
fn scope() -> PathBuf {
    "scope.toml".into()
}
fn crawl_period() -> Span {
    Span::from_secs(60)
}
fn crawl_deadline() -> Span {
    Span::from_secs(120)
}
fn request_timeout() -> Span {
    Span::from_secs(15)
}
fn duty() -> u32 {
    20
}
fn ssh_port() -> u16 {
    22
}
fn hil_database() -> String {
    "hil".into()
}
fn database_period() -> Span {
    Span::from_secs(10)
}
fn database_deadline() -> Span {
    Span::from_secs(20)
}

/// Why a configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConfigError {
    #[error("{}: {source}; `isoledger init` writes a configuration to begin with", path.display())]
    Read { path: PathBuf, source: std::io::Error },
    #[error("{}: {message}", path.display())]
    Toml { path: PathBuf, message: String },
    #[error("{}: {key} is {found:?}; {allowed}", path.display())]
    Value { path: PathBuf, key: &'static str, found: String, allowed: &'static str },
}

impl Config {
    pub(crate) fn load(path: &Path) -> Result<Config, ConfigError> {
        let text = std::fs::read_to_string(path)
            .map_err(|source| ConfigError::Read { path: path.to_owned(), source })?;
        Config::parse(path, &text)
    }

    pub(crate) fn parse(path: &Path, text: &str) -> Result<Config, ConfigError> {
        let mut config: Config = toml::from_str(text).map_err(|e| ConfigError::Toml {
            path: path.to_owned(),
            message: e.to_string().trim_end().to_owned(),
        })?;
        let bad = |key, found: &dyn ToString, allowed| {
            Err(ConfigError::Value { path: path.to_owned(), key, found: found.to_string(), allowed })
        };
        if !valid_origin(&config.log.origin) {
            return bad("log.origin", &config.log.origin, "printable ASCII without space, quote, \\ or +");
        }
        if !valid_word(&config.log.domain) {
            return bad("log.domain", &config.log.domain, "letters, digits, '.', '_' and '-', at most 64");
        }
        let p = &config.poll;
        if p.period < Span::from_millis(100) {
            return bad("poll.period", &p.period, "at least 100ms");
        }
        if p.deadline < SHORTEST_WAIT {
            return bad("poll.deadline", &p.deadline, "at least 50ms");
        }
        if p.parallel == 0 || p.parallel > 4096 {
            return bad("poll.parallel", &p.parallel, "1 to 4096");
        }
        if p.max_gap < p.period {
            return bad("poll.max-gap", &p.max_gap, "at least poll.period, or no range is ever isolated");
        }
        let pace = config.manager.pace();
        if !(1..=100).contains(&pace.duty) {
            return bad("manager.duty", &pace.duty, "1 to 100 percent");
        }
        if pace.deadline < SHORTEST_WAIT {
            return bad("manager.deadline", &pace.deadline, "at least 50ms");
        }
        if let Manager::Hil(hil) = &config.manager
            && hil.request_timeout < SHORTEST_WAIT
        {
            return bad("manager.request-timeout", &hil.request_timeout, "at least 50ms");
        }
        if config.http.token_file.is_none() && !config.http.listen.ip().is_loopback() {
            return bad(
                "http.listen",
                &config.http.listen,
                "without http.token-file only a loopback address, for /v1 would be open to the network",
            );
        }
        if let Err((key, found, allowed)) = config.witness.check() {
            return bad(key, &found, allowed);
        }
        config.dir = match path.parent() {
            Some(dir) if dir != Path::new("") => dir.to_owned(),
            _ => PathBuf::from("."),
        };
        Ok(config)
    }

    /// A path of the configuration, from where the program runs.
    pub(crate) fn at(&self, path: &Path) -> PathBuf {
        self.dir.join(path)
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.at(&self.log.data)
    }

    pub(crate) fn key(&self) -> PathBuf {
        self.at(&self.log.key)
    }

    pub(crate) fn scope(&self) -> PathBuf {
        self.at(&self.log.scope)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEAST: &str = r#"
        [log]
        origin = "audit.example/moc"
        domain = "moc"
        [manager]
        kind = "hil"
        url = "http://127.0.0.1:5000"
        [switches.sw1]
        kind = "openvswitch"
        ovsdb = "tcp:127.0.0.1:6641"
        bridge = "br0"
        flows = { openflow = "tcp:127.0.0.1:6653" }
    "#;

    fn parse(text: &str) -> Result<Config, ConfigError> {
        Config::parse(Path::new("etc/isoledger.toml"), text)
    }

    #[test]
    fn the_least_is_enough() {
        let c = parse(LEAST).unwrap();
        assert_eq!(c.key(), Path::new("etc/log.key"));
        assert_eq!(c.poll.period, Span::from_secs(30));
    }

    #[test]
    fn mistakes_are_named() {
        for (from, to, said) in [
            ("domain = \"moc\"", "domain = \"m oc\"", "log.domain is \"m oc\""),
            ("origin = \"audit.example/moc\"", "origin = \"a+b\"", "log.origin is \"a+b\""),
            ("bridge = \"br0\"", "bridge = \"br0\"\nbrigde = 1", "unknown field `brigde`"),
            ("kind = \"hil\"", "kind = \"hall\"", "unknown variant `hall`"),
            ("kind = \"openvswitch\"", "kind = \"ovs\"", "found kind = \"ovs\"; known are openvswitch"),
            ("kind = \"openvswitch\"", "", "a switch needs a kind"),
            ("kind = \"openvswitch\"", "kind = 7", "found kind = 7"),
            ("[switches.sw1]", "[poll]\nperiod = \"10\"\n[switches.sw1]", "a length of time is"),
            ("[switches.sw1]", "[poll]\nperiod = \"1h\"\n[switches.sw1]", "poll.max-gap"),
            ("[switches.sw1]", "[http]\nlisten = \"0.0.0.0:80\"\n[switches.sw1]", "http.listen is"),
            ("[switches.sw1]", "duty = 0\n[switches.sw1]", "manager.duty is \"0\""),
            ("[switches.sw1]", "deadline = \"0s\"\n[switches.sw1]", "manager.deadline is"),
            ("[switches.sw1]", "request-timeout = \"1ms\"\n[switches.sw1]", "manager.request-timeout is"),
            ("[switches.sw1]", "pasword-file = \"x\"\n[switches.sw1]", "unknown field `pasword-file`"),
            (
                "[switches.sw1]",
                "[switches.v]\nkind = \"brocade-vdx\"\nurl = \"https://v\"\nrequest-timeout = \"0s\"\n[switches.sw1]",
                "request-timeout is 0",
            ),
        ] {
            assert!(LEAST.contains(from), "{from}");
            let e = parse(&LEAST.replacen(from, to, 1)).unwrap_err().to_string();
            assert!(e.contains(said) && e.contains("isoledger.toml"), "{to}: {e}");
        }
    }
}
