//! Runs the two tenants' cloud until interrupted, and says where everything is:
//!
//! ```text
//! cargo run -p isoledger-lab --example lab
//! ovsdb-client dump tcp:127.0.0.1:PORT        ovs-ofctl -O OpenFlow13 dump-flows tcp:127.0.0.1:PORT
//! curl -u auditor:lab-auditor http://127.0.0.1:PORT/v0/networks
//! ```

use isoledger_lab::{Lab, World};

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let lab = Lab::start(World::two_tenants()).await?;
    println!("hil {}", lab.hil_url());
    for switch in lab.switches() {
        let (ovsdb, openflow) = (&switch.ovsdb, &switch.openflow);
        println!("{} ovsdb {} {}", switch.switch, ovsdb.tcp.to_ovs(), ovsdb.unix.to_ovs());
        println!("{} openflow {} {}", switch.switch, openflow.tcp.to_ovs(), openflow.unix.to_ovs());
    }
    tokio::signal::ctrl_c().await?;
    for command in lab.commands() {
        println!("{command}");
    }
    Ok(())
}
