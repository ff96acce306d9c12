//! A private Open vSwitch: the real daemons with the dummy datapath, which needs no kernel module and no rights.
//! Its files live in a temporary directory and its processes end when it is dropped.

use serde_json::{Value, json};
use std::io::Write;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

const SCHEMA: &str = "/usr/share/openvswitch/vswitch.ovsschema";

/// Whether a peer that is not installed may be passed over. On the build servers it may not.
pub fn skip(what: &str) {
    assert!(std::env::var_os("CI").is_none(), "{what} is not installed, and CI must have it");
    println!("skip: {what} is not installed");
}

/// A process that ends with its owner.
#[derive(Debug)]
pub struct Process(Child);

impl Process {
    /// Starts a daemon in the foreground, its words going to a file.
    pub fn start(command: &mut Command, log: &Path) -> Process {
        let log = std::fs::File::create(log).expect("the temporary directory is ours");
        let err = log.try_clone().expect("a file handle can be cloned");
        let child = command.stdin(Stdio::null()).stdout(log).stderr(err).spawn();
        Process(child.unwrap_or_else(|e| panic!("{command:?} does not start: {e}")))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Waits until `ready` gives something; panics after twenty seconds.
pub fn until<T>(what: &str, mut ready: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        if let Some(found) = ready() {
            return found;
        }
        assert!(Instant::now() < deadline, "{what} did not happen within 20 s");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Runs a command to its end and gives its standard output; panics when it fails.
pub fn run(command: &mut Command) -> String {
    let out = command.stdin(Stdio::null()).output().unwrap_or_else(|e| panic!("{command:?}: {e}"));
    assert!(out.status.success(), "{command:?}: {}", String::from_utf8_lossy(&out.stderr));
    String::from_utf8(out.stdout).expect("Open vSwitch prints UTF-8")
}

/// Certificate, key and authority for a database server, as files.
#[derive(Clone, Debug)]
pub struct ServerTls {
    /// The server's certificate.
    pub certificate: PathBuf,
    /// Its key.
    pub key: PathBuf,
    /// Who may vouch for clients; without it, clients need no certificate.
    pub ca: Option<PathBuf>,
}

/// A running `ovsdb-server`, and with [`OpenVSwitch::start`] `ovs-vswitchd` beside it.
#[derive(Debug)]
pub struct OpenVSwitch {
    // The switch ends before the database, both before their directory.
    _switch: Option<Process>,
    _server: Process,
    dir: TempDir,
}

impl OpenVSwitch {
    /// Both daemons; `None`, after saying so, where Open vSwitch is not installed.
    pub fn start() -> Option<OpenVSwitch> {
        let mut all = OpenVSwitch::database(None)?;
        let dir = all.dir.path();
        all._switch = Some(Process::start(
            Command::new("ovs-vswitchd")
                .arg(format!("unix:{}", dir.join("db.sock").display()))
                .args(["--enable-dummy=override", "--disable-system", "--no-chdir"])
                .arg(format!("--pidfile={}", dir.join("ovs-vswitchd.pid").display()))
                .arg(format!("--unixctl={}", dir.join("ovs-vswitchd.ctl").display()))
                .envs(all.environment()),
            &dir.join("ovs-vswitchd.log"),
        ));
        let socket = dir.join("ovs-vswitchd.ctl");
        until("the control socket of ovs-vswitchd", || socket.exists().then_some(()));
        Some(all)
    }

    /// The database server alone.
    pub fn database(tls: Option<&ServerTls>) -> Option<OpenVSwitch> {
        let installed = |name: &str| {
            ["/usr/sbin", "/usr/bin", "/usr/local/sbin", "/usr/local/bin"]
                .iter()
                .any(|d| Path::new(d).join(name).exists())
        };
        if !Path::new(SCHEMA).exists() || !installed("ovsdb-server") || !installed("ovs-vswitchd") {
            skip("Open vSwitch");
            return None;
        }
        let dir = tempfile::Builder::new().prefix("ovs").tempdir().expect("a temporary directory");
        let at = |name: &str| dir.path().join(name);
        run(Command::new("ovsdb-tool").arg("create").arg(at("conf.db")).arg(SCHEMA));
        let mut command = Command::new("ovsdb-server");
        command
            .arg(at("conf.db"))
            .arg(format!("--remote=punix:{}", at("db.sock").display()))
            .arg("--no-chdir")
            .arg(format!("--pidfile={}", at("ovsdb-server.pid").display()))
            .arg(format!("--unixctl={}", at("ovsdb-server.ctl").display()))
            .env("OVS_RUNDIR", dir.path());
        if let Some(tls) = tls {
            command
                .arg("--remote=pssl:0:127.0.0.1")
                .arg(format!("--certificate={}", tls.certificate.display()))
                .arg(format!("--private-key={}", tls.key.display()))
                .arg(match &tls.ca {
                    Some(ca) => format!("--ca-cert={}", ca.display()),
                    None => "--ca-cert=none".to_owned(),
                });
        }
        let server = Process::start(&mut command, &at("ovsdb-server.log"));
        let (socket, control) = (at("db.sock"), at("ovsdb-server.ctl"));
        until("the sockets of ovsdb-server", || (socket.exists() && control.exists()).then_some(()));
        let all = OpenVSwitch { _switch: None, _server: server, dir };
        run(all.vsctl_command().args(["--no-wait", "init"]));
        Some(all)
    }

    /// The run directory.
    pub fn rundir(&self) -> &Path {
        self.dir.path()
    }

    /// Where the database listens, in Open vSwitch's notation.
    pub fn db(&self) -> String {
        format!("unix:{}", self.dir.path().join("db.sock").display())
    }

    /// The management socket of a bridge.
    pub fn mgmt(&self, bridge: &str) -> String {
        format!("unix:{}", self.dir.path().join(format!("{bridge}.mgmt")).display())
    }

    /// Opens a TCP port on the database and gives its number.
    pub fn listen_tcp(&self) -> u16 {
        run(Command::new("ovs-appctl")
            .arg("-t")
            .arg(self.dir.path().join("ovsdb-server.ctl"))
            .args(["ovsdb-server/add-remote", "ptcp:0:127.0.0.1"]));
        self.listening_port()
    }

    /// The TCP or TLS port that the database server chose.
    pub fn listening_port(&self) -> u16 {
        let log = self.dir.path().join("ovsdb-server.log");
        until("a listening port", || {
            let text = std::fs::read_to_string(&log).unwrap_or_default();
            let after = text.rsplit_once("listening on port ")?.1;
            after.split_whitespace().next()?.parse().ok()
        })
    }

    fn environment(&self) -> [(&'static str, PathBuf); 1] {
        [("OVS_RUNDIR", self.dir.path().to_owned())]
    }

    fn vsctl_command(&self) -> Command {
        let mut command = Command::new("ovs-vsctl");
        command.arg(format!("--db={}", self.db())).arg("--timeout=20").envs(self.environment());
        command
    }

    /// `ovs-vsctl` with these words, split at spaces.
    pub fn vsctl(&self, words: &str) -> String {
        run(self.vsctl_command().args(words.split_whitespace()))
    }

    /// `ovs-ofctl` with these words, split at spaces; `~` stands for a space inside a word.
    pub fn ofctl(&self, words: &str) -> String {
        run(Command::new("ovs-ofctl")
            .args(words.split_whitespace().map(|w| w.replace('~', " ")))
            .envs(self.environment()))
    }

    /// A command to `ovs-vswitchd`, over its control socket (JSON-RPC): a process for each of thousands of traces
    /// would take a minute.
    pub fn appctl(&self, words: &[&str]) -> String {
        let (method, params) = words.split_first().expect("a command");
        let mut socket =
            UnixStream::connect(self.dir.path().join("ovs-vswitchd.ctl")).expect("ovs-vswitchd is running");
        socket.set_read_timeout(Some(Duration::from_secs(20))).expect("20 s is a timeout");
        let request = json!({"method": method, "params": params, "id": 0}).to_string();
        socket.write_all(request.as_bytes()).expect("ovs-vswitchd listens");
        let reply = serde_json::Deserializer::from_reader(socket).into_iter::<Value>().next();
        let reply = reply.expect("a reply").expect("JSON");
        let text = reply["result"].as_str().unwrap_or_else(|| panic!("{words:?}: {reply}"));
        text.to_owned()
    }

    /// The datapath's number of a port.
    pub fn datapath_port(&self, port: &str) -> String {
        let shown = self.appctl(&["dpif/show"]);
        let line = shown.lines().map(str::trim).find(|l| l.split(' ').next() == Some(port));
        let numbers =
            line.and_then(|l| l.split(' ').nth(1)).unwrap_or_else(|| panic!("{port} is not in\n{shown}"));
        numbers.trim_end_matches(':').rsplit('/').next().unwrap_or_default().to_owned()
    }

    /// What becomes of a broadcast frame that enters `bridge` at `port`, with this tag or none: for every datapath
    /// port it leaves by, the VLAN ids of its tags, outermost first.
    pub fn trace(&self, bridge: &str, port: &str, tag: Option<u16>) -> Vec<(String, Vec<u16>)> {
        let vlan = tag.map(|v| format!(",dl_vlan={v}")).unwrap_or_default();
        let frame =
            format!("in_port={port}{vlan},dl_src=02:00:00:00:00:01,dl_dst=ff:ff:ff:ff:ff:ff,dl_type=0x88b5");
        let said = self.appctl(&["ofproto/trace", bridge, &frame]);
        let actions = said.lines().rev().find_map(|l| l.strip_prefix("Datapath actions: "));
        let actions = actions.unwrap_or_else(|| panic!("no actions in\n{said}"));
        let mut tags: Vec<u16> = tag.into_iter().collect();
        let mut out = Vec::new();
        for action in split_actions(actions) {
            let vid = |a: &str| {
                let (_, rest) = a.split_once("vid=").unwrap_or_else(|| panic!("{a}"));
                rest.split([',', ')']).next().and_then(|n| n.parse().ok()).unwrap_or_else(|| panic!("{a}"))
            };
            match action {
                "drop" => {}
                "pop_vlan" => drop(tags.remove(0)),
                a if a.starts_with("push_vlan(") => tags.insert(0, vid(a)),
                a if a.starts_with("set(vlan(") => tags[0] = vid(a),
                a if a.bytes().all(|b| b.is_ascii_digit()) => out.push((a.to_owned(), tags.clone())),
                a => panic!("an action this harness does not know: {a} in {actions}"),
            }
        }
        out
    }
}

/// Splits at the commas outside parentheses.
fn split_actions(actions: &str) -> Vec<&str> {
    let (mut depth, mut start, mut out) = (0, 0, Vec::new());
    for (at, c) in actions.char_indices() {
        match c {
            '(' => depth += 1,
            ')' => depth -= 1,
            ',' if depth == 0 => {
                out.push(&actions[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    out.push(&actions[start..]);
    out
}
