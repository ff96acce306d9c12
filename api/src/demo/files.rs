//! The files of the demo's directory: configuration, password, key, scope and policy, as an operator and two tenants
//! would write them.

use crate::failure::Failure;
use crate::keys;
use crate::witness::Server;
use isoledger_core::note::VerifierKey;
use isoledger_lab::Lab;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

pub(crate) const ORIGIN: &str = "audit.example/lab";
pub(crate) const DOMAIN: &str = "lab";

/// The demo's witness, as the operator calls it and by its key's name.
const WITNESS: (&str, &str) = ("neighbour", "witness.example/neighbour");

/// A witness of somebody else's, who has put this log on its list.
pub(crate) fn witness(dir: &Path) -> Result<Server, Failure> {
    let log = keys::create(&dir.join("log.key"), ORIGIN)?;
    crate::commands::witness::for_one_log(&dir.join("witness"), WITNESS.1, log.verifier())
}

/// Writes the files and gives the configuration's path. The key is there already, for the witness had to know it.
pub(crate) fn write(
    dir: &Path,
    lab: &Lab,
    listen: SocketAddr,
    (witness, witness_at): (&VerifierKey, SocketAddr),
) -> Result<PathBuf, Failure> {
    let io = |e: std::io::Error| Failure(format!("{}: {e}", dir.display()));
    let who = lab.credentials().ok_or_else(|| Failure("the lab's HIL has no administrator".into()))?;
    keys::write_secret(&dir.join("hil.password"), format!("{}\n", who.password).as_bytes()).map_err(io)?;
    let signer = keys::load(&dir.join("log.key"), ORIGIN)?;
    let name = WITNESS.0;
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

# A neighbour's witness, asked before anything is signed. Every two seconds is for a demo only.
[witness]
period = "2s"
short-period = true

[witness.by.{name}]
vkey = "{witness}"
url = "http://{witness_at}"

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
         # A witness whom the operator does not control confirms that there is one history, and its times.\n\
         witness {name} {witness}\n\
         quorum {name}\n\
         witnessed-within 1m\n\
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
