//! The configuration: one TOML file, every key of it documented in docs/OPERATING.md and in what `init` writes.

use isoledger_core::record::{valid_origin, valid_word};
use isoledger_core::time::Span;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

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

#[derive(Clone, Debug, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) enum Manager {
    /// HIL over its REST API.
    #[serde(rename_all = "kebab-case")]
    Hil {
        /// Where HIL is, without `/v0`.
        url: String,
        /// The administrator's name; absent for HIL's null authentication.
        user: Option<String>,
        /// File with the password, mode 0600.
        password_file: Option<PathBuf>,
        /// Environment variable with the password.
        password_env: Option<String>,
        /// Certificate authorities that may vouch for HIL, PEM.
        ca: Option<PathBuf>,
        /// Whether plain http may be used to another host than this one.
        #[serde(default)]
        allow_plain_http: bool,
        /// From the start of one crawl to the start of the next.
        #[serde(default = "crawl_period")]
        period: Span,
        /// How long a crawl may take.
        #[serde(default = "crawl_deadline")]
        deadline: Span,
        /// How long one request may take.
        #[serde(default = "request_timeout")]
        request_timeout: Span,
        /// The most of HIL's time that crawls may take, in percent; the period grows to keep to it.
        #[serde(default = "duty")]
        duty: u32,
    },
}

#[derive(Clone, Debug, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) enum Switch {
    /// One bridge of an Open vSwitch.
    #[serde(rename = "openvswitch", rename_all = "kebab-case")]
    OpenVswitch {
        /// `unix:PATH`, `tcp:HOST:PORT` or `ssl:HOST:PORT` of the OVSDB server.
        ovsdb: String,
        /// The bridge.
        bridge: String,
        /// For `ssl:`: authorities, our certificate and key, the name in the server's certificate.
        #[serde(default)]
        tls: Option<Tls>,
        /// Where flows are read; absent means not read, and the verdict unknown.
        #[serde(default)]
        flows: Option<Flows>,
        /// For `flows` by SSH.
        #[serde(default)]
        ssh: Option<Ssh>,
    },
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
        if p.deadline < Span::from_millis(50) {
            return bad("poll.deadline", &p.deadline, "at least 50ms");
        }
        if p.parallel == 0 || p.parallel > 4096 {
            return bad("poll.parallel", &p.parallel, "1 to 4096");
        }
        if p.max_gap < p.period {
            return bad("poll.max-gap", &p.max_gap, "at least poll.period, or no range is ever isolated");
        }
        let Manager::Hil { duty, .. } = &config.manager;
        if !(1..=100).contains(duty) {
            return bad("manager.duty", duty, "1 to 100 percent");
        }
        if config.http.token_file.is_none() && !config.http.listen.ip().is_loopback() {
            return bad(
                "http.listen",
                &config.http.listen,
                "without http.token-file only a loopback address, for /v1 would be open to the network",
            );
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
            ("[switches.sw1]", "[poll]\nperiod = \"10\"\n[switches.sw1]", "a length of time is"),
            ("[switches.sw1]", "[poll]\nperiod = \"1h\"\n[switches.sw1]", "poll.max-gap"),
            ("[switches.sw1]", "[http]\nlisten = \"0.0.0.0:80\"\n[switches.sw1]", "http.listen is"),
        ] {
            assert!(LEAST.contains(from), "{from}");
            let e = parse(&LEAST.replacen(from, to, 1)).unwrap_err().to_string();
            assert!(e.contains(said) && e.contains("isoledger.toml"), "{to}: {e}");
        }
    }
}
