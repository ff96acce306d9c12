//! An operator's directory: configuration, key, scope and policy, and the commands that are run in it.

use crate::hardware;
use crate::program::{self, Done, Process, Service};
use isoledger_core::vlan::{VlanId, VlanSet};
use isoledger_lab::{Lab, PortAt};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;

/// The name of every site's log.
pub const ORIGIN: &str = "audit.example/site";
/// The domain of every site.
pub const DOMAIN: &str = "lab";

/// A directory with everything Isoledger needs. What is public may be changed; [`Site::write`] then writes it.
#[derive(Debug)]
pub struct Site {
    dir: TempDir,
    /// `poll.period`.
    pub period: String,
    /// `poll.deadline`.
    pub deadline: String,
    /// `poll.parallel`.
    pub parallel: usize,
    /// `poll.settle`.
    pub settle: String,
    /// `poll.max-gap`.
    pub max_gap: String,
    /// `http.listen`.
    pub listen: String,
    /// The lines of `[manager]`.
    pub manager: String,
    /// The lines of each `[switches.NAME]`.
    pub switches: BTreeMap<String, String>,
    /// The lines of each `[switches.NAME]` in the scope; a switch that is not here has its own name for label.
    pub scope_switches: BTreeMap<String, String>,
    /// `scope.toml`, below its switches.
    pub scope: String,
    /// The tables `[witness]` and below, headers included.
    pub witness: String,
    /// The log's verifier key, as `init` said it.
    pub vkey: String,
}

impl Site {
    /// A new directory, made by `isoledger init`, for the HIL at `url` and no switches yet. It polls on demand: its
    /// period is an hour.
    pub fn new(url: &str) -> Site {
        let dir = tempfile::Builder::new().prefix("site").tempdir().expect("a temporary directory");
        let mut init = program::command("isoledger");
        init.args(["init", "--json", "--origin", ORIGIN, "--domain", DOMAIN, "--hil", url, "--dir"])
            .arg(dir.path());
        let made = program::run(&mut init).expect(0).json();
        let site = Site {
            dir,
            period: "1h".into(),
            deadline: "10s".into(),
            parallel: 64,
            settle: "50ms".into(),
            max_gap: "1h".into(),
            listen: "127.0.0.1:0".into(),
            manager: format!(
                "kind = \"hil\"\nurl = \"{url}\"\nperiod = \"1ms\"\nduty = 100\ndeadline = \"20s\"\n"
            ),
            switches: BTreeMap::new(),
            scope_switches: BTreeMap::new(),
            scope: String::new(),
            witness: String::new(),
            vkey: made["vkey"].as_str().expect("init prints the key").to_owned(),
        };
        site.write();
        site
    }

    /// The directory of a lab's auditor: every switch with its flows over OpenFlow, every link and exit as the lab's
    /// world has them.
    pub fn of_lab(lab: &Lab) -> Site {
        let mut site = Site::new(&lab.hil_url());
        if let Some(who) = lab.credentials() {
            site.log_in(&who.user, &who.password);
        }
        for s in lab.switches() {
            let lines = format!(
                "kind = \"openvswitch\"\novsdb = \"{}\"\nbridge = \"{}\"\nflows = {{ openflow = \"{}\" }}\n",
                s.ovsdb.tcp.to_ovs(),
                s.bridge,
                s.openflow.tcp.to_ovs()
            );
            site.switches.insert(s.switch, lines);
        }
        let hardware = lab.hardware();
        if !hardware.is_empty() {
            std::fs::write(site.path("known_hosts"), lab.known_hosts()).expect("the directory is ours");
        }
        for at in &hardware {
            if let Some(account) = &at.credentials {
                site.secret(&format!("{}.password", at.hardware), &account.password);
            }
            site.switches.insert(at.hardware.clone(), hardware::config_lines(at));
            site.scope_switches.insert(at.hardware.clone(), hardware::scope_lines(at));
        }
        lab.read(|world| {
            let all: BTreeSet<u16> =
                world.networks.iter().filter_map(|n| n.network_id.parse().ok()).collect();
            let all = all.into_iter().filter_map(VlanId::new).collect::<VlanSet>().to_string();
            // The lab has the manager's names, a scope the switches' own.
            let own = |at: &PortAt| match world.hardware_port(&at.switch, &at.port) {
                Ok((name, native)) => {
                    let kind = world.hardware(&name).map(|h| h.kind);
                    let port = kind.map_or(native.clone(), |kind| hardware::observed_name(kind, &native));
                    (name, port)
                }
                Err(_) => (at.switch.clone(), at.port.clone()),
            };
            for l in &world.links {
                let (a, b) = (own(&l.a), own(&l.b));
                site.link((&a.0, &a.1), (&b.0, &b.1), &all);
            }
            for e in &world.exits {
                let vlans: Vec<String> = e.vlans.iter().map(u16::to_string).collect();
                let (switch, port) = own(&e.at);
                site.exit("core-router", &switch, &port, &vlans.join(","));
            }
        });
        site.write();
        site
    }

    /// Puts a HIL user and password in force.
    pub fn log_in(&mut self, user: &str, password: &str) {
        self.secret("hil.password", password);
        let _ = writeln!(self.manager, "user = \"{user}\"\npassword-file = \"hil.password\"");
    }

    /// Writes a file that only its owner can read.
    pub fn secret(&self, name: &str, content: &str) {
        let file = self.path(name);
        std::fs::write(&file, content).expect("the directory is ours");
        std::fs::set_permissions(&file, PermissionsExt::from_mode(0o600)).expect("the file is ours");
    }

    /// Adds an exit to the scope.
    pub fn exit(&mut self, name: &str, switch: &str, port: &str, vlans: &str) {
        // Writing to a String cannot fail, here and below.
        let _ = write!(
            self.scope,
            "[[exit]]\nname = \"{name}\"\nkind = \"router\"\nswitch = \"{switch}\"\nport = \"{port}\"\nvlans = \"{vlans}\"\n"
        );
    }

    /// Adds a link to the scope.
    pub fn link(&mut self, a: (&str, &str), b: (&str, &str), vlans: &str) {
        let _ = write!(
            self.scope,
            "[[link]]\na = {{ switch = \"{}\", port = \"{}\" }}\nb = {{ switch = \"{}\", port = \"{}\" }}\nvlans = \"{vlans}\"\n",
            a.0, a.1, b.0, b.1
        );
    }

    /// The configuration's text.
    pub fn config_text(&self) -> String {
        let mut text = format!(
            "[log]\norigin = \"{ORIGIN}\"\ndomain = \"{DOMAIN}\"\n\n[poll]\nperiod = \"{}\"\ndeadline = \"{}\"\nparallel = {}\n\
             settle = \"{}\"\nmax-gap = \"{}\"\n\n[http]\nlisten = \"{}\"\n\n[manager]\n{}",
            self.period, self.deadline, self.parallel, self.settle, self.max_gap, self.listen, self.manager
        );
        for (name, lines) in &self.switches {
            let _ = write!(text, "\n[switches.{name}]\n{lines}");
        }
        let _ = write!(text, "\n{}", self.witness);
        text
    }

    /// The scope's text.
    pub fn scope_text(&self) -> String {
        let mut text = format!("domain = \"{DOMAIN}\"\n");
        for name in self.switches.keys() {
            let _ = writeln!(text, "[switches.{name}]");
            text.push_str(self.scope_switches.get(name).map_or("", String::as_str));
        }
        text + &self.scope
    }

    /// Writes configuration and scope.
    pub fn write(&self) {
        std::fs::write(self.config(), self.config_text()).expect("the directory is ours");
        std::fs::write(self.path("scope.toml"), self.scope_text()).expect("the directory is ours");
    }

    /// The directory.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// A file of the directory.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// The configuration.
    pub fn config(&self) -> PathBuf {
        self.path("isoledger.toml")
    }

    /// The log's data directory.
    pub fn data(&self) -> PathBuf {
        self.path("data")
    }

    /// `isoledger --config …` with these words, split at spaces, to be run in the directory.
    pub fn command(&self, words: &str) -> Command {
        let mut command = program::command("isoledger");
        command.current_dir(self.dir()).arg("--config").arg(self.config()).args(words.split_whitespace());
        command
    }

    /// Runs `isoledger` with these words.
    #[track_caller]
    pub fn run(&self, words: &str) -> Done {
        program::run(&mut self.command(words))
    }

    /// Runs `isoledger --json` with these words and gives what it printed.
    #[track_caller]
    pub fn json(&self, words: &str) -> Value {
        self.run(&format!("--json {words}")).json()
    }

    /// One poll, by a process of its own.
    ///
    /// # Panics
    /// It was not recorded.
    #[track_caller]
    pub fn poll(&self) -> Value {
        let done = self.run("--json poll");
        assert!(matches!(done.code, Some(0 | 1)), "{done:?}");
        done.json()
    }

    /// The row of a network in `status`.
    ///
    /// # Panics
    /// There is none.
    #[track_caller]
    pub fn network(&self, name: &str) -> Value {
        let status = self.json("status");
        let row = status["networks"].as_array().into_iter().flatten().find(|r| r["network"] == name).cloned();
        row.unwrap_or_else(|| panic!("{name} is not in {status:#}"))
    }

    /// Starts the service.
    ///
    /// # Errors
    /// It ended instead.
    pub fn try_serve(&self) -> Result<Service, Done> {
        Service::start(&mut self.command("serve"))
    }

    /// Starts the service.
    ///
    /// # Panics
    /// It ended instead.
    #[track_caller]
    pub fn serve(&self) -> Service {
        self.try_serve().unwrap_or_else(|done| panic!("the service does not start: {done:?}"))
    }

    /// Starts the service and does not wait for it.
    pub fn begin(&self, words: &str) -> Process {
        Process::start(&mut self.command(words))
    }

    /// Audits; the answer.
    ///
    /// # Panics
    /// The audit failed.
    #[track_caller]
    pub fn audit(&self) -> Value {
        let found = self.run("--json audit").expect(0).json();
        assert_eq!((&found["ok"], &found["keyPinned"]), (&true.into(), &true.into()), "{found:#}");
        found
    }

    /// Writes a policy whose stanza for a network is `stanza` after its name, with other lines before it.
    pub fn policy(&self, lines: &str, stanza: &str) -> PathBuf {
        let path = self.path("policy.txt");
        let text = format!("log {}\nquorum none\n{lines}network {stanza}\n", self.vkey);
        std::fs::write(&path, text).expect("the directory is ours");
        path
    }

    /// Attests a network and gives the attestation's path; `words` are further options.
    #[track_caller]
    pub fn attest(&self, network: &str, words: &str) -> PathBuf {
        self.run(&format!("--json attest {network} {words}")).expect(0);
        self.path(&format!("{network}.attestation.json"))
    }

    /// Runs `isoverify --json` on an attestation against the site's policy.
    #[track_caller]
    pub fn verify(&self, attestation: &Path) -> Done {
        let mut command = program::command("isoverify");
        command.arg("--json").arg("--policy").arg(self.path("policy.txt")).arg(attestation);
        program::run(&mut command)
    }
}

/// The findings of a network's row: finding and place.
pub fn findings(row: &Value) -> Vec<(String, String)> {
    let text = |v: &Value| v.as_str().unwrap_or_default().to_owned();
    row["findings"].as_array().into_iter().flatten().map(|f| (text(&f["finding"]), text(&f["at"]))).collect()
}

/// Asserts that a directory is still as it was listed.
///
/// # Panics
/// It is not; the files are named.
#[track_caller]
pub fn assert_unchanged(dir: &Path, before: &Listing, what: &str) {
    let now = listing(dir);
    let names: BTreeSet<&PathBuf> = now.keys().chain(before.keys()).collect();
    let changed: Vec<_> = names.into_iter().filter(|n| now.get(*n) != before.get(*n)).collect();
    assert!(changed.is_empty(), "{what}: changed, new or gone: {changed:?}");
}

/// Files and directories by path, each with its mode and, for files, content.
pub type Listing = BTreeMap<PathBuf, (u32, Option<Vec<u8>>)>;

/// Everything below a directory but the index: for each file and directory its mode and content.
pub fn listing(dir: &Path) -> Listing {
    let mut all = BTreeMap::new();
    let mut stack = vec![dir.to_owned()];
    while let Some(next) = stack.pop() {
        for entry in std::fs::read_dir(&next).expect("a directory of the test") {
            let path = entry.expect("a directory of the test").path();
            let about = std::fs::symlink_metadata(&path).expect("it was listed");
            // A lock holds the number of the process that took it last, and says nothing when none has it.
            let is_plain = about.is_file() && path.file_name() != Some("lock".as_ref());
            let content = is_plain.then(|| std::fs::read(&path).expect("a file of the test"));
            // sled writes its files in its own time, and tidies up what it opens.
            if path.ends_with("data/index") {
                continue;
            }
            if about.is_dir() {
                stack.push(path.clone());
            }
            all.insert(path.strip_prefix(dir).expect("it is below").to_owned(), (about.mode(), content));
        }
    }
    all
}

/// Copies a directory and all below it to a new place.
pub fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("a directory of the test");
    for entry in std::fs::read_dir(from).expect("a directory of the test") {
        let path = entry.expect("a directory of the test").path();
        let target = to.join(path.file_name().expect("it was listed"));
        if path.is_dir() {
            copy(&path, &target);
        } else {
            std::fs::copy(&path, &target).expect("a file of the test");
        }
    }
}
