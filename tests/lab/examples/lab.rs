//! Runs a cloud until interrupted, and says where everything is: the two tenants' by default, `mixed` for one switch of each
//! kind, or a number for a datacentre of that many hardware switches with 48 ports each.
//!
//! ```text
//! cargo run -p isoledger-lab --example lab -- mixed
//! ovsdb-client dump tcp:127.0.0.1:PORT        ovs-ofctl -O OpenFlow13 dump-flows tcp:127.0.0.1:PORT
//! curl -u auditor:lab-auditor http://127.0.0.1:PORT/v0/networks
//! curl -u auditor:lab-auditor http://127.0.0.1:PORT/rest/config/running/interface/TenGigabitEthernet
//! ssh -p PORT auditor@127.0.0.1
//! ```

use isoledger_lab::{HardwareKind, Lab, World};

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let world = match std::env::args().nth(1).as_deref() {
        None => World::two_tenants(),
        Some("mixed") => World::mixed(),
        Some(number) => {
            let switches = number.parse().map_err(|_| {
                std::io::Error::other(format!(
                    "{number:?} is no world: mixed, a number of switches, or nothing"
                ))
            })?;
            World::datacentre(&HardwareKind::ALL, switches, 48)
        }
    };
    let lab = Lab::start(world).await?;
    println!("hil {}", lab.hil_url());
    for switch in lab.switches() {
        let (ovsdb, openflow) = (&switch.ovsdb, &switch.openflow);
        println!("{} ovsdb {} {}", switch.switch, ovsdb.tcp.to_ovs(), ovsdb.unix.to_ovs());
        println!("{} openflow {} {}", switch.switch, openflow.tcp.to_ovs(), openflow.unix.to_ovs());
    }
    for switch in lab.hardware() {
        match (switch.rest, switch.console) {
            (Some(rest), _) => println!("{} {:?} {}", switch.hardware, switch.kind, rest.http),
            (None, Some(ssh)) => println!("{} {:?} ssh://{ssh}", switch.hardware, switch.kind),
            (None, None) => {}
        }
    }
    tokio::signal::ctrl_c().await?;
    for command in lab.commands() {
        println!("{command}");
    }
    Ok(())
}
