//! The files of the demo's directory: configuration, password, key, scope and policy, as an operator and two tenants
//! would write them.

use crate::failure::Failure;
use crate::keys;
use isoledger_lab::Lab;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

pub(crate) const ORIGIN: &str = "audit.example/lab";
pub(crate) const DOMAIN: &str = "lab";

/// Writes the files and gives the configuration's path.
pub(crate) fn write(dir: &Path, lab: &Lab, listen: SocketAddr) -> Result<PathBuf, Failure> {
    let io = |e: std::io::Error| Failure(format!("{}: {e}", dir.display()));
    let who = lab.credentials().ok_or_else(|| Failure("the lab's HIL has no administrator".into()))?;
    keys::write_secret(&dir.join("hil.password"), format!("{}\n", who.password).as_bytes()).map_err(io)?;
    let signer = keys::create(&dir.join("log.key"), ORIGIN)?;
    let mut config = format!(
        r#"# The demo's configuration; `isoledger init` writes a commented one, docs/OPERATING.md explains every key.
# The lab it names is gone when the demo ends; status, divergences, attest, audit and export go on working.

[log]
origin = "{ORIGIN}"
domain = "{DOMAIN}"

[poll]
period = "2s"
deadline = "2s"
settle = "200ms"
max-gap = "1m"

[http]
listen = "{listen}"

[manager]
kind = "hil"
url = "{}"
user = "{}"
password-file = "hil.password"
period = "1s"
duty = 100
deadline = "10s"
"#,
        lab.hil_url(),
        who.user,
    );
    let mut scope = format!(
        "# What the operator allows, reviewed by people.\ndomain = \"{DOMAIN}\"\ndisclose-ports = false\n"
    );
    for s in lab.switches() {
        // Writing to a String cannot fail.
        let _ = write!(
            config,
            "\n[switches.{}]\nkind = \"openvswitch\"\novsdb = \"{}\"\nbridge = \"{}\"\nflows = {{ openflow = \"{}\" }}\n",
            s.switch,
            s.ovsdb.tcp.to_ovs(),
            s.bridge,
            s.openflow.tcp.to_ovs(),
        );
        let _ = write!(scope, "\n[switches.{}]\n", s.switch);
    }
    lab.read(|world| {
        for l in &world.links {
            let _ = write!(
                scope,
                "\n[[link]]\na = {{ switch = \"{}\", port = \"{}\" }}\nb = {{ switch = \"{}\", port = \"{}\" }}\nvlans = \"100-101\"\n",
                l.a.switch, l.a.port, l.b.switch, l.b.port
            );
        }
        for e in &world.exits {
            let vlans: Vec<String> = e.vlans.iter().map(u16::to_string).collect();
            let _ = write!(
                scope,
                "\n[[exit]]\nname = \"core-router\"\nkind = \"router\"\nswitch = \"{}\"\nport = \"{}\"\nvlans = \"{}\"\n",
                e.at.switch,
                e.at.port,
                vlans.join(",")
            );
        }
    });
    let policy = format!(
        "# What the tenants demand. Compare the key with the operator's out of band before you believe it.\n\
         log {}\n\
         # No witness confirms times and history here, so both are the operator's word.\n\
         quorum none\n\
         max-gap 1m\n\
         network red-net domain {DOMAIN} project red vlan 100 exits exactly core-router\n\
         network blue-net domain {DOMAIN} project blue vlan 101 exits exactly core-router\n",
        signer.verifier()
    );
    let path = dir.join("isoledger.toml");
    std::fs::write(dir.join("scope.toml"), scope).map_err(io)?;
    std::fs::write(dir.join("policy.txt"), policy).map_err(io)?;
    crate::commands::init::write_config(&path, &config)?;
    Ok(path)
}
