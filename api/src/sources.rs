//! From configuration to readers.

use crate::config::{Config, Flows, Manager, Switch};
use crate::failure::Failure;
use isoledger_collectors::hil::{self, Hil};
use isoledger_collectors::net::{Address, ClientFiles, SshLogin, SshTarget, TlsFiles};
use isoledger_collectors::openvswitch::{FlowSource, OpenVSwitch, Settings};
use isoledger_collectors::{CloudManager, Secret, SwitchReader};
use std::collections::BTreeMap;
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
    Ok(Sources { manager: Box::new(manager(config)?), switches, config: config.clone() })
}

/// The reader of the cloud manager.
pub(crate) fn manager(config: &Config) -> Result<Hil, Failure> {
    let Manager::Hil {
        url, user, password_file, password_env, ca, allow_plain_http, request_timeout, ..
    } = &config.manager;
    let auth = match (user, password_file, password_env) {
        (None, None, None) => hil::Auth::None,
        (Some(user), Some(file), None) => {
            hil::Auth::Basic { user: user.clone(), password: Secret::from_file(&config.at(file))? }
        }
        (Some(user), None, Some(name)) => {
            hil::Auth::Basic { user: user.clone(), password: Secret::from_env(name)? }
        }
        _ => {
            return Err(Failure(
                "manager: `user` needs `password-file` or `password-env`, one of them, and neither goes without \
                 `user`; leave out all three only where HIL asks for no password"
                    .into(),
            ));
        }
    };
    let ca = ca.as_ref().map(|p| {
        let path = config.at(p);
        std::fs::read(&path).map_err(|e| Failure(format!("manager.ca: {}: {e}", path.display())))
    });
    let mut settings = hil::Config::new(url.clone(), auth);
    settings.ca = ca.transpose()?;
    settings.allow_plain_http = *allow_plain_http;
    settings.request_timeout = Duration::from_millis(request_timeout.millis());
    Hil::new(&settings).map_err(|e| Failure(format!("manager: {e}")))
}

fn reader(config: &Config, name: &str, switch: &Switch) -> Result<Box<dyn SwitchReader>, Failure> {
    let bad = |e: &dyn std::fmt::Display| Failure(format!("switches.{name}: {e}"));
    match switch {
        Switch::OpenVswitch { ovsdb, bridge, tls, flows, ssh } => {
            let address = |text: &str| -> Result<Address, Failure> {
                Ok(match text.parse::<Address>().map_err(|e| bad(&e))? {
                    Address::Unix(path) => Address::Unix(config.at(&path)),
                    other => other,
                })
            };
            let tls = match tls {
                None => None,
                Some(t) => Some(TlsFiles {
                    ca: config.at(&t.ca),
                    client: match (&t.certificate, &t.key) {
                        (None, None) => None,
                        (Some(c), Some(k)) => {
                            Some(ClientFiles { certificate: config.at(c), key: config.at(k) })
                        }
                        _ => return Err(bad(&"tls.certificate and tls.key go together")),
                    },
                    server_name: t.server_name.clone(),
                }),
            };
            let flows = match (flows, ssh) {
                (None, None) => None,
                (Some(Flows::Openflow(at)), None) => Some(FlowSource::OpenFlow(address(at)?)),
                (Some(Flows::Local), None) => Some(FlowSource::Local { rundir: None }),
                (Some(Flows::Ssh), Some(s)) => {
                    let login = match (&s.key, &s.password_file) {
                        (Some(key), None) => SshLogin::Key { private: config.at(key), passphrase: None },
                        (None, Some(file)) => SshLogin::Password(Secret::from_file(&config.at(file))?),
                        _ => return Err(bad(&"ssh needs `key` or `password-file`, one of them")),
                    };
                    Some(FlowSource::Ssh(SshTarget {
                        host: s.host.clone(),
                        port: s.port,
                        user: s.user.clone(),
                        known_hosts: config.at(&s.known_hosts),
                        login,
                    }))
                }
                (Some(Flows::Ssh), None) => return Err(bad(&"flows = \"ssh\" needs a table `ssh`")),
                (_, Some(_)) => return Err(bad(&"a table `ssh` goes with flows = \"ssh\"")),
            };
            let settings = Settings { bridge: bridge.clone(), ovsdb: address(ovsdb)?, tls, flows };
            Ok(Box::new(OpenVSwitch::new(settings).map_err(|e| bad(&e))?))
        }
    }
}
