//! The same questions to a real Open vSwitch, wherever one is installed: the fixtures, made anew and compared; and its own
//! tools, reading ours.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use isoledger_lab::{Address, Endpoint, Lab, OpenFlowOptions, OpenFlowServer, World};

use crate::common::{DEADLINE, fixture};
use crate::openflow::{VERSIONS, cloud_of, compare, programmed_host};

const FLOWS: [&str; 10] = [
    "priority=0 actions=NORMAL",
    "priority=100,in_port=1,dl_vlan=10,dl_dst=00:00:00:00:00:02 actions=strip_vlan,output:2",
    "priority=90,in_port=2,vlan_tci=0x0000/0x1fff actions=push_vlan:0x8100,set_field:4106->vlan_vid,output:1",
    "priority=80,in_port=3,vlan_tci=0x1000/0x1000 actions=group:1",
    "cookie=0x1234,table=3,priority=7,dl_src=01:00:00:00:00:00/01:00:00:00:00:00,ip,nw_dst=10.0.0.0/8,\
     nw_src=192.0.2.1 actions=controller:128",
    "priority=6,in_port=4 actions=meter:1,write_metadata:0x5/0xff,goto_table:3",
    "priority=5,in_port=4 actions=drop",
    "priority=4,dl_vlan_pcp=3,dl_vlan=20,hard_timeout=3600 actions=clear_actions,write_actions(output:LOCAL)",
    "priority=3,tun_id=0x2a actions=resubmit(,3),output:FLOOD,output:IN_PORT",
    "priority=2,metadata=0x1 actions=output:ALL,LOCAL",
];
const GROUPS: [&str; 3] = [
    "group_id=1,type=all,bucket=output:1,bucket=set_field:4116->vlan_vid,output:2",
    "group_id=2,type=select,bucket=weight:3,output:1,bucket=weight:5,output:2",
    "group_id=3,type=ff,bucket=watch_port:1,output:1,bucket=watch_port:2,output:2",
];
const METER: &str = "meter=1,kbps,burst,band=type=drop,rate=1000,burst_size=64";

/// A tool of Open vSwitch; `None`, with a line that says so, when it is not installed.
fn tool(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut folders: Vec<PathBuf> = std::env::split_paths(&path).collect();
    folders.extend(["/usr/sbin", "/usr/bin", "/sbin"].map(PathBuf::from));
    let found = folders.into_iter().map(|f| f.join(name)).find(|p| p.is_file());
    if found.is_none() {
        println!("skipped: {name} is not installed");
    }
    found
}

fn run(command: &mut Command) -> String {
    let Output { status, stdout, stderr } = command.output().unwrap();
    let (out, err) = (String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr));
    assert!(status.success(), "{command:?}: {out}{err}");
    out.into_owned()
}

/// A private Open vSwitch on the dummy datapath: it needs no privilege and touches no interface.
struct RealSwitch {
    folder: tempfile::TempDir,
}

impl RealSwitch {
    fn start() -> Option<RealSwitch> {
        let (server, daemon, maker) = (tool("ovsdb-server")?, tool("ovs-vswitchd")?, tool("ovsdb-tool")?);
        let schema = Path::new("/usr/share/openvswitch/vswitch.ovsschema");
        if !schema.is_file() {
            println!("skipped: {} is not there", schema.display());
            return None;
        }
        let real = RealSwitch { folder: tempfile::tempdir().unwrap() };
        let at = |name: &str| real.folder.path().join(name).display().to_string();
        run(real.command(&maker).arg("create").arg(at("conf.db")).arg(schema));
        let detach = |command: &mut Command, name: &str| {
            command.args(["--detach", "--no-chdir"]);
            command.arg(format!("--pidfile={}", at(&format!("{name}.pid"))));
            command.arg(format!("--unixctl={}", at(&format!("{name}.ctl"))));
            command.arg(format!("--log-file={}", at(&format!("{name}.log"))));
            run(command);
        };
        let remote = format!("--remote=punix:{}", at("db.sock"));
        detach(real.command(&server).arg(at("conf.db")).arg(remote), "server");
        real.vsctl("--no-wait init");
        let database = format!("unix:{}", at("db.sock"));
        let flags = ["--enable-dummy=override", "--disable-system"];
        detach(real.command(&daemon).args(flags).arg(database), "daemon");
        Some(real)
    }

    fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        for variable in ["OVS_RUNDIR", "OVS_LOGDIR", "OVS_DBDIR"] {
            command.env(variable, self.folder.path());
        }
        command
    }

    fn vsctl(&self, arguments: &str) {
        let program = tool("ovs-vsctl").expect("it comes with the others");
        let database = format!("--db=unix:{}/db.sock", self.folder.path().display());
        run(self.command(&program).arg(database).arg("--timeout=20").args(arguments.split(' ')));
    }

    /// The socket of the bridge's OpenFlow agent.
    fn agent(&self) -> Address {
        Address::Unix(self.folder.path().join("br0.mgmt"))
    }

    fn ofctl(&self, arguments: &[&str]) {
        let program = tool("ovs-ofctl").expect("it comes with the others");
        let (first, rest) = arguments.split_first().unwrap();
        run(self.command(&program).args(["-O", "OpenFlow15", first, &self.agent().to_ovs()]).args(rest));
    }
}

impl Drop for RealSwitch {
    fn drop(&mut self) {
        for name in ["daemon", "server"] {
            let control = self.folder.path().join(format!("{name}.ctl"));
            let exit = |program: &Path| self.command(program).arg("-t").arg(&control).arg("exit").output();
            // A daemon that never came up has nothing to be told.
            let _ = tool("ovs-appctl").map(|program| exit(&program));
            let pid = self.folder.path().join(format!("{name}.pid"));
            let start = Instant::now();
            while pid.exists() && start.elapsed() < DEADLINE {
                std::thread::sleep(Duration::from_millis(5));
            }
        }
    }
}

/// What `ovs-ofctl --no-stats` prints, a thing a line, in one order.
fn lines(text: &str) -> Vec<&str> {
    let mut lines: Vec<&str> = text.lines().filter(|l| !l.contains("xid=")).map(str::trim).collect();
    lines.sort_unstable();
    lines
}

/// A switch with the ports, groups, meter and flows of [`programmed_host`].
fn programmed_switch() -> Option<RealSwitch> {
    let real = RealSwitch::start()?;
    real.vsctl("add-br br0 -- set bridge br0 datapath_type=dummy fail_mode=secure");
    for port in ["e1", "e2", "e3", "e4"] {
        real.vsctl(&format!("add-port br0 {port} -- set interface {port} type=dummy"));
    }
    // The members are numbered in no order of their own.
    let [l1, l2] =
        [("l1", 5), ("l2", 6)].map(|(m, n)| format!("set interface {m} type=dummy ofport_request={n}"));
    real.vsctl(&format!("add-bond br0 lag1 l1 l2 -- {l1} -- {l2}"));
    real.vsctl("add-port br0 pat0 -- set interface pat0 type=patch options:peer=pat1");
    for group in GROUPS {
        real.ofctl(&["add-group", group]);
    }
    real.ofctl(&["add-meter", METER]);
    for flow in FLOWS {
        real.ofctl(&["add-flow", flow]);
    }
    Some(real)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn its_tools_print_the_same_of_ours_as_of_the_real_one() {
    let Some(real) = programmed_switch() else { return };
    let program = tool("ovs-ofctl").expect("it comes with the others");
    let cloud = cloud_of(programmed_host());
    let options = OpenFlowOptions::default();
    let ours = OpenFlowServer::start(&cloud, "real", "br0", Endpoint::Tcp, options).await.unwrap();
    for version in ["OpenFlow13", "OpenFlow14", "OpenFlow15"] {
        for (command, things) in
            [("dump-flows", 10), ("dump-groups", 3), ("dump-meters", 2), ("dump-desc", 5)]
        {
            let print = |address: &Address| {
                run(Command::new(&program).args(["-O", version, "--no-stats", command, &address.to_ovs()]))
            };
            let (theirs, printed) = (print(&real.agent()), print(ours.address()));
            assert_eq!(lines(&printed), lines(&theirs), "{command} in {version}");
            assert_eq!(lines(&printed).len(), things, "{command} in {version}");
        }
    }
    cloud.assert_only_reads();
}

#[tokio::test]
async fn its_agent_still_says_the_bytes_of_the_fixtures() {
    let Some(real) = programmed_switch() else { return };
    for (version, name) in VERSIONS {
        let exchanges = fixture(&format!("openflow/openvswitch-3.1.0-openflow-{name}.txt"));
        // What it says of itself has its own version number in it.
        let kept: Vec<&str> = exchanges.lines().filter(|l| !l.starts_with("desc ")).collect();
        compare(&real.agent(), version, &kept.join("\n")).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn its_database_client_reads_ours() {
    let Some(client) = tool("ovsdb-client") else { return };
    let lab = Lab::start(World::two_tenants()).await.unwrap();
    let addresses = lab.ovsdb("sw1").unwrap();
    for address in [addresses.tcp.to_ovs(), addresses.unix.to_ovs()] {
        let ask = |arguments: &[&str]| {
            run(Command::new(&client)
                .arg("--timeout=20")
                .arg(arguments[0])
                .arg(&address)
                .args(&arguments[1..]))
        };
        assert_eq!(ask(&["list-dbs"]), "Open_vSwitch\n_Server\n");
        let dump = ask(&["dump", "Open_vSwitch", "Port", "name", "tag", "trunks", "vlan_mode"]);
        assert!(dump.contains("sw1p1      100 []         access"), "{dump}");
        assert!(ask(&["list-columns", "Open_vSwitch", "Mirror"]).contains("select_src_port"));
    }
    let Some(vsctl) = tool("ovs-vsctl") else { return };
    let database = format!("--db={}", addresses.tcp.to_ovs());
    let ports = run(Command::new(&vsctl).args([&database, "--timeout=20", "list-ports", "br-sw1"]));
    assert_eq!(ports, "sw1-trunk\nsw1-uplink\nsw1p1\nsw1p2\nsw1p3\nsw1p4\n");
    lab.assert_only_reads();
    let set = Command::new(&vsctl)
        .args([&database, "--timeout=20", "set", "port", "sw1p1", "tag=5"])
        .output()
        .unwrap();
    assert!(!set.status.success());
    assert!(lab.commands().iter().any(|c| c.write));
}
