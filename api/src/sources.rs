//! From configuration to readers.

use crate::config::{self, Config, Flows, Manager, Switch};
use crate::failure::{Failure, fail};
use crate::keys;
use isoledger_collectors::declared_file::DeclaredFile;
use isoledger_collectors::dialect::{ConsoleSettings, Reach, WebSettings};
use isoledger_collectors::hil::{self, Hil};
use isoledger_collectors::hil_database::{self, HilDatabase};
use isoledger_collectors::net::{Address, ClientFiles, SshLogin, SshTarget, TlsFiles, WebTarget};
use isoledger_collectors::openvswitch::{FlowSource, OpenVSwitch, OvsdbSource, Settings};
use isoledger_collectors::{CloudManager, Secret, SwitchReader};
use isoledger_core::time::Span;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The readers of one domain.
pub(crate) struct Sources {
    pub(crate) manager: Box<dyn CloudManager>,
    pub(crate) switches: BTreeMap<String, Box<dyn SwitchReader>>,
    config: Config,
}

impl Sources {
    /// Makes a switch's reader anew, after a defect in it took it away.
    pub(crate) fn remake(&mut self, name: &str) {
        let made = self.config.switches.get(name).map(|switch| reader(&self.config, name, switch));
        // The configuration made it once; were it to fail now, the switch is silent from here on, which is said.
        if let Some(Ok(reader)) = made {
            self.switches.insert(name.to_owned(), reader);
        }
    }
}

/// Makes the readers; connects to nobody.
pub(crate) fn sources(config: &Config) -> Result<Sources, Failure> {
    let mut switches: BTreeMap<String, Box<dyn SwitchReader>> = BTreeMap::new();
    for (name, switch) in &config.switches {
        switches.insert(name.clone(), reader(config, name, switch)?);
    }
    Ok(Sources { manager: manager(config)?, switches, config: config.clone() })
}

/// The reader of the cloud manager.
pub(crate) fn manager(config: &Config) -> Result<Box<dyn CloudManager>, Failure> {
    match &config.manager {
        Manager::Hil(keys) => Ok(Box::new(hil(config, keys)?)),
        Manager::HilDatabase(keys) => Ok(Box::new(database(config, keys)?)),
        Manager::DeclaredFile(keys) => {
            let file = DeclaredFile::new(config.at(&keys.path));
            Ok(Box::new(file.map_err(|e| Failure(format!("manager.path: {e}")))?))
        }
    }
}

/// The reader of HIL's REST interface.
pub(crate) fn hil(config: &Config, keys: &config::Hil) -> Result<Hil, Failure> {
    let auth = match account(config, "manager", &keys.user, &keys.password_file, &keys.password_env)? {
        None => hil::Auth::None,
        Some((user, password)) => hil::Auth::Basic { user, password },
    };
    let mut settings = hil::Config::new(keys.url.clone(), auth);
    settings.ca = pem(config, "manager.ca", keys.ca.as_deref())?;
    settings.allow_plain_http = keys.allow_plain_http;
    settings.request_timeout = duration(keys.request_timeout);
    Hil::new(&settings).map_err(|e| Failure(format!("manager: {e}")))
}

/// The reader of HIL's database.
pub(crate) fn database(config: &Config, keys: &config::HilDatabase) -> Result<HilDatabase, Failure> {
    let bad = |e: &dyn std::fmt::Display| Failure(format!("manager: {e}"));
    let password = match (&keys.password_file, &keys.password_env) {
        (None, None) => None,
        (Some(file), None) => Some(Secret::from_file(&config.at(file))?),
        (None, Some(name)) => Some(Secret::from_env(name)?),
        _ => return Err(bad(&"`password-file` and `password-env` exclude each other")),
    };
    let server = address(config, &keys.server).map_err(|e| bad(&e.0))?;
    let tls = keys.tls.as_ref().map(|t| tls(config, t)).transpose().map_err(|e| bad(&e.0))?;
    tls_is_used(tls.as_ref(), [&server]).map_err(|e| bad(&e.0))?;
    let settings = hil_database::Settings {
        server,
        tls,
        database: keys.database.clone(),
        user: keys.user.clone(),
        password,
    };
    HilDatabase::new(settings).map_err(|e| bad(&e))
}

fn address(config: &Config, text: &str) -> Result<Address, Failure> {
    Ok(match text.parse::<Address>().map_err(|e| Failure(e.to_string()))? {
        Address::Unix(path) => Address::Unix(config.at(&path)),
        other => other,
    })
}

/// Refuses a table `tls` that no address asks for: whoever wrote it would take a plain connection for a verified one.
fn tls_is_used<'a>(
    tls: Option<&TlsFiles>,
    addresses: impl IntoIterator<Item = &'a Address>,
) -> Result<(), Failure> {
    match tls.is_none() || addresses.into_iter().any(|at| matches!(at, Address::Tls { .. })) {
        true => Ok(()),
        false => fail("a table `tls` goes with an address that begins with ssl:, and there is none"),
    }
}

fn tls(config: &Config, keys: &config::Tls) -> Result<TlsFiles, Failure> {
    Ok(TlsFiles {
        ca: config.at(&keys.ca),
        client: match (&keys.certificate, &keys.key) {
            (None, None) => None,
            (Some(c), Some(k)) => {
                Some(ClientFiles { certificate: config.at(c), key: private(config, "tls.key", k)? })
            }
            _ => return fail("tls.certificate and tls.key go together"),
        },
        server_name: keys.server_name.clone(),
    })
}

/// A user and a password from their keys: all absent, or a user with one source of its password.
fn account(
    config: &Config,
    table: &str,
    user: &Option<String>,
    file: &Option<PathBuf>,
    env: &Option<String>,
) -> Result<Option<(String, Secret)>, Failure> {
    match (user, file, env) {
        (None, None, None) => Ok(None),
        (Some(user), Some(file), None) => Ok(Some((user.clone(), Secret::from_file(&config.at(file))?))),
        (Some(user), None, Some(name)) => Ok(Some((user.clone(), Secret::from_env(name)?))),
        _ => Err(Failure(format!(
            "{table}: `user` needs `password-file` or `password-env`, one of them, and neither goes without `user`; \
             leave out all three only where no password is asked for"
        ))),
    }
}

fn pem(config: &Config, key: &str, path: Option<&Path>) -> Result<Option<Vec<u8>>, Failure> {
    let Some(path) = path.map(|p| config.at(p)) else { return Ok(None) };
    let read = std::fs::read(&path);
    read.map(Some).map_err(|e| Failure(format!("{key}: {}: {e}", path.display())))
}

/// A private key's file, which only its owner may read. One that is not there is the reader's to name.
fn private(config: &Config, key: &str, path: &Path) -> Result<PathBuf, Failure> {
    let path = config.at(path);
    match keys::private(&path) {
        Err(e @ keys::KeyFileError::Mode { .. }) => Err(Failure(format!("{key}: {e}"))),
        _ => Ok(path),
    }
}

/// Every file that the configuration names and that holds a secret, by its key.
pub(crate) fn secret_files(config: &Config) -> Vec<(String, PathBuf)> {
    let mut out = vec![("log.key".to_owned(), Some(&config.log.key))];
    out.push(("http.token-file".into(), config.http.token_file.as_ref()));
    let of_tls = |tls: &'_ Option<config::Tls>| tls.as_ref().and_then(|t| t.key.clone());
    let mut keys: Vec<(String, Option<PathBuf>)> = Vec::new();
    match &config.manager {
        Manager::Hil(hil) => out.push(("manager.password-file".into(), hil.password_file.as_ref())),
        Manager::HilDatabase(database) => {
            out.push(("manager.password-file".into(), database.password_file.as_ref()));
            keys.push(("manager.tls.key".into(), of_tls(&database.tls)));
        }
        Manager::DeclaredFile(_) => {}
    }
    for (name, switch) in &config.switches {
        let at = |key: &str| format!("switches.{name}.{key}");
        let ssh = match switch {
            Switch::OpenVswitch(keys_of) => {
                keys.push((at("tls.key"), of_tls(&keys_of.tls)));
                keys_of.ssh.as_ref()
            }
            Switch::Console(_, keys_of) => {
                out.push((at("enable-password-file"), keys_of.enable_password_file.as_ref()));
                Some(&keys_of.ssh)
            }
            Switch::Web(_, keys_of) => {
                out.push((at("password-file"), keys_of.password_file.as_ref()));
                None
            }
        };
        if let Some(ssh) = ssh {
            out.push((at("ssh.key"), ssh.key.as_ref()));
            out.push((at("ssh.password-file"), ssh.password_file.as_ref()));
        }
    }
    let named = out.into_iter().map(|(key, path)| (key, path.cloned())).chain(keys);
    named.filter_map(|(key, path)| Some((key, config.at(&path?)))).collect()
}

fn duration(span: Span) -> Duration {
    Duration::from_millis(span.millis())
}

fn ssh(config: &Config, keys: &config::Ssh) -> Result<SshTarget, Failure> {
    let login = match (&keys.key, &keys.password_file) {
        (Some(key), None) => SshLogin::Key { private: private(config, "ssh.key", key)?, passphrase: None },
        (None, Some(file)) => SshLogin::Password(Secret::from_file(&config.at(file))?),
        _ => return Err(Failure("ssh needs `key` or `password-file`, one of them".into())),
    };
    Ok(SshTarget {
        host: keys.host.clone(),
        port: keys.port,
        user: keys.user.clone(),
        known_hosts: config.at(&keys.known_hosts),
        login,
        old_algorithms: keys.old_algorithms,
    })
}

fn reader(config: &Config, name: &str, switch: &Switch) -> Result<Box<dyn SwitchReader>, Failure> {
    let bad = |e: &dyn std::fmt::Display| Failure(format!("switches.{name}: {e}"));
    match switch {
        Switch::OpenVswitch(keys) => openvswitch(config, keys).map_err(|e| bad(&e.0)),
        Switch::Console(dialect, keys) => {
            let Reach::Console(open) = dialect.reach else { return Err(bad(&"not read over a console")) };
            let enable = keys.enable_password_file.as_ref().map(|f| Secret::from_file(&config.at(f)));
            let enable = enable.transpose().map_err(|e| bad(&e))?;
            Ok(open(ConsoleSettings { ssh: ssh(config, &keys.ssh).map_err(|e| bad(&e.0))?, enable }))
        }
        Switch::Web(dialect, keys) => {
            let Reach::Web(open) = dialect.reach else { return Err(bad(&"not read over HTTP")) };
            let table = format!("switches.{name}");
            let web = WebTarget {
                url: keys.url.clone(),
                user: account(config, &table, &keys.user, &keys.password_file, &keys.password_env)?,
                ca: pem(config, &format!("{table}.ca"), keys.ca.as_deref())?,
                allow_plain_http: keys.allow_plain_http,
                request_timeout: duration(keys.request_timeout),
            };
            open(WebSettings { web, interface_types: keys.interface_types.clone() }).map_err(|e| bad(&e))
        }
    }
}

fn openvswitch(config: &Config, keys: &config::OpenVswitch) -> Result<Box<dyn SwitchReader>, Failure> {
    let tls = keys.tls.as_ref().map(|t| tls(config, t)).transpose()?;
    let target = keys.ssh.as_ref().map(|keys| ssh(config, keys)).transpose()?;
    let by_ssh =
        |key: &str| target.clone().ok_or_else(|| Failure(format!("{key} = \"ssh\" needs a table `ssh`")));
    let flows = match &keys.flows {
        None => None,
        Some(Flows::Openflow(at)) => Some(FlowSource::OpenFlow(address(config, at)?)),
        Some(Flows::Local) => Some(FlowSource::Local { rundir: None }),
        Some(Flows::Ssh) => Some(FlowSource::Ssh(by_ssh("flows")?)),
    };
    let ovsdb = match keys.ovsdb.as_str() {
        "ssh" => OvsdbSource::Ssh(by_ssh("ovsdb")?),
        at => OvsdbSource::Address(address(config, at)?),
    };
    let used = matches!(ovsdb, OvsdbSource::Ssh(_)) || matches!(flows, Some(FlowSource::Ssh(_)));
    if target.is_some() && !used {
        return fail("a table `ssh` goes with ovsdb = \"ssh\" or flows = \"ssh\"");
    }
    let addresses = [
        if let OvsdbSource::Address(at) = &ovsdb { Some(at) } else { None },
        if let Some(FlowSource::OpenFlow(at)) = &flows { Some(at) } else { None },
    ];
    tls_is_used(tls.as_ref(), addresses.into_iter().flatten())?;
    let settings = Settings { bridge: keys.bridge.clone(), ovsdb, tls, flows };
    Ok(Box::new(OpenVSwitch::new(settings).map_err(|e| Failure(e.to_string()))?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tls_files_that_nothing_uses_are_refused() {
        let files = TlsFiles { ca: "ca.pem".into(), client: None, server_name: None };
        let at = |text: &str| text.parse::<Address>().unwrap();
        for (tls, addresses, good) in [
            (Some(&files), &["ssl:sw1:6641"][..], true),
            (Some(&files), &["tcp:sw1:6641", "ssl:sw1:6653"], true),
            (Some(&files), &["tcp:sw1:6641", "unix:/run/br0.mgmt"], false),
            (Some(&files), &[], false),
            (None, &["tcp:sw1:6641"], true),
        ] {
            let all: Vec<Address> = addresses.iter().map(|a| at(a)).collect();
            assert_eq!(tls_is_used(tls, &all).is_ok(), good, "{addresses:?}");
        }
    }
}
