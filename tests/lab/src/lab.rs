//! Everything at once.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use tempfile::TempDir;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::cloud::{Cloud, Recorded};
use crate::console::ConsoleServer;
use crate::hil::HilServer;
use crate::openflow::{OpenFlowOptions, OpenFlowServer};
use crate::ovsdb::{OvsdbOptions, OvsdbServer};
use crate::rest::{CertificateLever, RestServer, url_of};
use crate::serve::{Address, Endpoint};
use crate::world::{AUDITOR, HardwareKind, SwitchKind, World};

/// How a lab is started.
#[derive(Clone, Debug, Default)]
pub struct LabOptions {
    /// Serves OVSDB over TLS as well, on further ports.
    pub tls: Option<std::sync::Arc<rustls::ServerConfig>>,
    /// Serves the REST interfaces of hardware switches over TLS as well, on further ports, beginning with this certificate.
    pub rest_tls: Option<std::sync::Arc<rustls::sign::CertifiedKey>>,
    /// How the OVSDB servers speak.
    pub ovsdb: OvsdbOptions,
    /// How the OpenFlow agents speak.
    pub openflow: OpenFlowOptions,
}

/// Name and password of a HIL user.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// The name.
    pub user: String,
    /// The password.
    pub password: String,
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Credentials").field("user", &self.user).finish_non_exhaustive()
    }
}

/// Where the database of an Open vSwitch host is served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OvsdbAddresses {
    /// Over TCP.
    pub tcp: Address,
    /// On a unix socket.
    pub unix: Address,
    /// Over TLS, if the lab was given a certificate.
    pub tls: Option<Address>,
}

/// Where the OpenFlow agent of a bridge is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenFlowAddresses {
    /// Over TCP.
    pub tcp: Address,
    /// On a unix socket.
    pub unix: Address,
}

/// What a reader needs to know to reach a switch of the lab.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SwitchAddresses {
    /// The switch's name in HIL.
    pub switch: String,
    /// The Open vSwitch host.
    pub host: String,
    /// The bridge.
    pub bridge: String,
    /// Its database.
    pub ovsdb: OvsdbAddresses,
    /// Its flows.
    pub openflow: OpenFlowAddresses,
}

/// Where the REST interface of a hardware switch is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RestAddresses {
    /// `http://127.0.0.1:PORT`.
    pub http: String,
    /// `https://127.0.0.1:PORT`, if the lab was given a certificate.
    pub https: Option<String>,
}

/// What HIL calls a hardware switch, or a part of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registration {
    /// The switch's name in HIL.
    pub label: String,
    /// Brocade and OS 9: the type of the interfaces it stands for.
    pub interface_type: Option<String>,
}

/// What a reader needs to know to reach a hardware switch of the lab.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HardwareAddresses {
    /// The physical switch.
    pub hardware: String,
    /// What it is.
    pub kind: HardwareKind,
    /// What HIL calls it: nothing, one name, or one for each interface type.
    pub registrations: Vec<Registration>,
    /// Its REST interface, where it has one.
    pub rest: Option<RestAddresses>,
    /// Its command line over SSH, where it has one. See also [`Lab::console`].
    pub console: Option<SocketAddr>,
    /// The account of whoever audits: `auditor`, or else the first there is.
    pub credentials: Option<Credentials>,
}

/// A running cloud: HIL, an OVSDB server for each Open vSwitch host, an OpenFlow agent for each bridge, the REST interface
/// or the command line of each hardware switch, and HIL's daemon.
/// Dropping it stops everything.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> std::io::Result<()> {
/// use isoledger_lab::{Lab, PortVlans, World};
///
/// let lab = Lab::start(World::two_tenants()).await?;
/// // … point a collector at lab.hil_url() and lab.switches() …
///
/// // Somebody moves a blue port into red's VLAN, behind HIL's back.
/// lab.edit(|world| world.switch_mut("sw1")?.set_port_vlans("sw1p3", &PortVlans::Access(100))).unwrap();
///
/// // … and afterwards: lab.assert_only_reads();
/// # Ok(()) }
/// ```
#[derive(Debug)]
pub struct Lab {
    cloud: Cloud,
    hil: HilServer,
    ovsdb: BTreeMap<String, OvsdbAddresses>,
    openflow: BTreeMap<(String, String), OpenFlowAddresses>,
    rest: BTreeMap<String, RestAddresses>,
    certificates: BTreeMap<String, CertificateLever>,
    consoles: BTreeMap<String, ConsoleServer>,
    daemon: JoinHandle<()>,
    // Held to be dropped: each closes its listener and its connections.
    ovsdb_servers: Vec<OvsdbServer>,
    openflow_servers: Vec<OpenFlowServer>,
    rest_servers: Vec<RestServer>,
    // Last: the sockets are in it.
    sockets: TempDir,
}

impl Lab {
    /// Starts everything in `world`, with the defaults.
    ///
    /// # Errors
    /// A port or socket cannot be bound.
    pub async fn start(world: World) -> io::Result<Lab> {
        Lab::start_with(Cloud::new(world), LabOptions::default()).await
    }

    /// Starts everything in a world that is shared already.
    ///
    /// # Errors
    /// A port or socket cannot be bound.
    pub async fn start_with(cloud: Cloud, options: LabOptions) -> io::Result<Lab> {
        let sockets = tempfile::Builder::new().prefix("isoledger-lab-").tempdir()?;
        let hil = HilServer::start(&cloud).await?;
        let hosts: Vec<(String, Vec<String>)> = cloud.read(|w| {
            let bridges =
                |h: &str| w.host(h).into_iter().flat_map(|h| h.bridges()).map(str::to_owned).collect();
            w.hosts().map(|h| (h.to_owned(), bridges(h))).collect()
        });
        let hardware: Vec<(String, HardwareKind)> =
            cloud.read(|w| w.all_hardware().map(|(name, h)| (name.to_owned(), h.kind)).collect());
        let mut lab = Lab {
            daemon: tokio::spawn(daemon(cloud.clone())),
            cloud,
            hil,
            ovsdb: BTreeMap::new(),
            openflow: BTreeMap::new(),
            consoles: BTreeMap::new(),
            rest: BTreeMap::new(),
            certificates: BTreeMap::new(),
            ovsdb_servers: Vec::new(),
            openflow_servers: Vec::new(),
            rest_servers: Vec::new(),
            sockets,
        };
        for (n, (host, bridges)) in hosts.into_iter().enumerate() {
            lab.start_host(&format!("h{n}"), &host, bridges, &options).await?;
        }
        let consoles: Vec<String> = lab.cloud.read(|w| {
            w.all_hardware().filter(|(_, h)| h.kind.is_console()).map(|(name, _)| name.to_owned()).collect()
        });
        for switch in consoles {
            let server = ConsoleServer::start(&lab.cloud, &switch).await?;
            lab.consoles.insert(switch, server);
        }
        for (name, _) in hardware.iter().filter(|(_, kind)| !kind.is_console()) {
            lab.start_rest(name, &options).await?;
        }
        Ok(lab)
    }

    async fn start_rest(&mut self, name: &str, options: &LabOptions) -> io::Result<()> {
        let mut serve = async |endpoint| -> io::Result<String> {
            let server = RestServer::start(&self.cloud, name, endpoint).await?;
            let url = url_of(server.address()).ok_or(io::ErrorKind::AddrNotAvailable)?;
            self.rest_servers.push(server);
            Ok(url)
        };
        let http = serve(Endpoint::Tcp).await?;
        let https = match &options.rest_tls {
            Some(key) => {
                let lever = CertificateLever::new(key.clone());
                let url = serve(Endpoint::Tls(lever.server_config().map_err(io::Error::other)?)).await?;
                self.certificates.insert(name.to_owned(), lever);
                Some(url)
            }
            None => None,
        };
        self.rest.insert(name.to_owned(), RestAddresses { http, https });
        Ok(())
    }

    async fn start_host(
        &mut self,
        socket: &str,
        host: &str,
        bridges: Vec<String>,
        options: &LabOptions,
    ) -> io::Result<()> {
        let mut serve = async |endpoint| -> io::Result<Address> {
            let server = OvsdbServer::start(&self.cloud, host, endpoint, options.ovsdb.clone()).await?;
            let address = server.address().clone();
            self.ovsdb_servers.push(server);
            Ok(address)
        };
        let at = |name: String| -> PathBuf { self.sockets.path().join(name) };
        let addresses = OvsdbAddresses {
            tcp: serve(Endpoint::Tcp).await?,
            unix: serve(Endpoint::Unix(at(format!("{socket}.db")))).await?,
            tls: match &options.tls {
                Some(config) => Some(serve(Endpoint::Tls(config.clone())).await?),
                None => None,
            },
        };
        self.ovsdb.insert(host.to_owned(), addresses);
        for (n, bridge) in bridges.into_iter().enumerate() {
            let mut serve = async |endpoint| -> io::Result<Address> {
                let options = options.openflow.clone();
                let server = OpenFlowServer::start(&self.cloud, host, &bridge, endpoint, options).await?;
                let address = server.address().clone();
                self.openflow_servers.push(server);
                Ok(address)
            };
            let addresses = OpenFlowAddresses {
                tcp: serve(Endpoint::Tcp).await?,
                unix: serve(Endpoint::Unix(at(format!("{socket}.b{n}")))).await?,
            };
            self.openflow.insert((host.to_owned(), bridge), addresses);
        }
        Ok(())
    }

    /// The shared world.
    pub fn cloud(&self) -> &Cloud {
        &self.cloud
    }

    /// Changes the world: shorthand for [`Cloud::edit`].
    pub fn edit<R>(&self, change: impl FnOnce(&mut World) -> R) -> R {
        self.cloud.edit(change)
    }

    /// Looks at the world: shorthand for [`Cloud::read`].
    pub fn read<R>(&self, look: impl FnOnce(&World) -> R) -> R {
        self.cloud.read(look)
    }

    /// HIL's base URL, `http://127.0.0.1:PORT`, to which `/v0/…` is added.
    pub fn hil_url(&self) -> String {
        self.hil.url()
    }

    /// Where the database of an Open vSwitch host is served.
    pub fn ovsdb(&self, host: &str) -> Option<&OvsdbAddresses> {
        self.ovsdb.get(host)
    }

    /// Where the OpenFlow agent of a bridge is.
    pub fn openflow(&self, host: &str, bridge: &str) -> Option<&OpenFlowAddresses> {
        self.openflow.get(&(host.to_owned(), bridge.to_owned()))
    }

    /// Every hardware switch, with the addresses of its services, whether or not HIL knows it.
    pub fn hardware(&self) -> Vec<HardwareAddresses> {
        self.cloud.read(|w| {
            let registered = |name: &str| -> Vec<Registration> {
                let of = w.switches.iter().filter_map(|s| Some((s, s.device.as_ref()?)));
                of.filter(|(_, device)| device.hardware == name)
                    .map(|(switch, device)| Registration {
                        label: switch.label.clone(),
                        interface_type: device.interface_type.clone(),
                    })
                    .collect()
            };
            let addresses = |(name, switch): (&str, &crate::world::Hardware)| {
                let auditor = switch.accounts.iter().find(|a| a.user == AUDITOR);
                let account = auditor.or(switch.accounts.first());
                HardwareAddresses {
                    hardware: name.to_owned(),
                    kind: switch.kind,
                    registrations: registered(name),
                    rest: self.rest.get(name).cloned(),
                    console: self.consoles.get(name).map(ConsoleServer::address),
                    credentials: account
                        .map(|a| Credentials { user: a.user.clone(), password: a.password.clone() }),
                }
            };
            w.all_hardware().map(addresses).collect()
        })
    }

    /// Where the REST interface of a hardware switch is.
    pub fn rest(&self, hardware: &str) -> Option<&RestAddresses> {
        self.rest.get(hardware)
    }

    /// The command line of a hardware switch: its address, its host key, who logged in.
    pub fn console(&self, hardware: &str) -> Option<&ConsoleServer> {
        self.consoles.get(hardware)
    }

    /// A known_hosts file with the host keys that all command lines have now.
    pub fn known_hosts(&self) -> String {
        self.consoles.values().map(ConsoleServer::known_hosts).collect()
    }

    /// The lever that exchanges the certificate of a hardware switch, if the lab was given one.
    pub fn certificate(&self, hardware: &str) -> Option<&CertificateLever> {
        self.certificates.get(hardware)
    }

    /// Every Open vSwitch that HIL knows, with the addresses of its services.
    pub fn switches(&self) -> Vec<SwitchAddresses> {
        let known = self.cloud.read(|w| w.switches.clone());
        known
            .into_iter()
            .filter_map(|switch| {
                let SwitchKind::Ovs { host, bridge } = switch.kind else { return None };
                let ovsdb = self.ovsdb(&host)?.clone();
                let openflow = self.openflow(&host, &bridge)?.clone();
                Some(SwitchAddresses { switch: switch.label, host, bridge, ovsdb, openflow })
            })
            .collect()
    }

    /// The first administrator that is called `auditor`, or else the first administrator, or else nobody.
    pub fn credentials(&self) -> Option<Credentials> {
        self.cloud.read(|w| {
            let mut admins: Vec<_> = w.users.iter().filter(|u| u.is_admin).collect();
            admins.sort_by_key(|u| u.name != "auditor");
            admins.first().map(|u| Credentials { user: u.name.clone(), password: u.password.clone() })
        })
    }

    /// The credentials of a user.
    pub fn credentials_of(&self, user: &str) -> Option<Credentials> {
        self.cloud.read(|w| {
            let found = w.users.iter().find(|u| u.name == user)?;
            Some(Credentials { user: found.name.clone(), password: found.password.clone() })
        })
    }

    /// Every request received so far: shorthand for [`Cloud::commands`].
    pub fn commands(&self) -> Vec<Recorded> {
        self.cloud.commands()
    }

    /// Asserts that nothing but reads arrived: shorthand for [`Cloud::assert_only_reads`].
    ///
    /// # Panics
    /// Something else arrived, or nothing did.
    pub fn assert_only_reads(&self) {
        self.cloud.assert_only_reads();
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        self.daemon.abort();
    }
}

/// HIL's daemon, at the pace the world sets. It sleeps until there is an action, not for two seconds as the real one.
async fn daemon(cloud: Cloud) {
    let mut changes = cloud.changes();
    let mut began = None;
    loop {
        changes.mark_unchanged();
        let next =
            cloud.read(|w| w.next_action().filter(|_| !w.daemon.by_hand).map(|a| (a, w.daemon.clone())));
        let Some((action, pace)) = next else {
            began = None;
            if changes.changed().await.is_err() {
                return;
            }
            continue;
        };
        let since = match began {
            Some((earlier, since)) if earlier == action => since,
            _ => Instant::now(),
        };
        began = Some((action, since));
        let (_, written) = action;
        let due = since + if written { pace.commit_after } else { pace.write_after };
        if Instant::now() < due {
            // The pace may be changed, or the daemon killed, while it waits.
            tokio::select! {
                () = tokio::time::sleep_until(due) => {}
                changed = changes.changed() => match changed {
                    Ok(()) => continue,
                    Err(_) => return,
                },
            }
        }
        // Somebody may have stepped the daemon by hand meanwhile; then this was their step.
        cloud.edit(|w| {
            if w.next_action() == Some(action) && !w.daemon.by_hand {
                w.daemon_step();
            }
        });
    }
}
