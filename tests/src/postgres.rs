//! A private PostgreSQL server with a database that has HIL's tables, loaded from a world of the lab. Its files live in a
//! temporary directory, it listens on a unix socket there (and on 127.0.0.1 where asked to), and it ends when dropped.

use crate::ovs::{Process, run, skip, until};
use isoledger_lab::{ActionKind, SwitchKind, World};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Read as _, Write};
use std::net::TcpListener;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use tempfile::TempDir;

/// The password of the role `isoledger`.
pub const PASSWORD: &str = "lab-reader";
/// What stands in every column that holds a secret: it must never be read.
pub const SECRET: &str = "hunter2";

/// HIL's tables, as far as anything of them matters: columns, references, and the ones that hold secrets. Written from
/// what is known of HIL's data model.
const SCHEMA: &str = r#"
CREATE TABLE project (id bigserial PRIMARY KEY, label varchar NOT NULL UNIQUE);
CREATE TABLE node (id bigserial PRIMARY KEY, label varchar NOT NULL UNIQUE, project_id bigint REFERENCES project,
    obmd_uri varchar NOT NULL, obmd_admin_token varchar NOT NULL, obmd_node_token varchar);
CREATE TABLE switch (id bigserial PRIMARY KEY, label varchar NOT NULL UNIQUE, type varchar NOT NULL);
CREATE TABLE port (id bigserial PRIMARY KEY, label varchar NOT NULL, owner_id bigint NOT NULL REFERENCES switch);
CREATE TABLE nic (id bigserial PRIMARY KEY, label varchar NOT NULL, owner_id bigint NOT NULL REFERENCES node,
    mac_addr varchar, port_id bigint REFERENCES port);
CREATE TABLE network (id bigserial PRIMARY KEY, label varchar NOT NULL UNIQUE, owner_id bigint REFERENCES project,
    allocated boolean, network_id varchar NOT NULL);
CREATE TABLE network_projects (project_id bigint REFERENCES project, network_id bigint REFERENCES network);
CREATE TABLE network_attachment (id bigserial PRIMARY KEY, nic_id bigint NOT NULL REFERENCES nic,
    network_id bigint NOT NULL REFERENCES network, channel varchar NOT NULL);
CREATE TABLE networking_action (id bigserial PRIMARY KEY, uuid varchar NOT NULL, status varchar NOT NULL,
    type varchar NOT NULL, nic_id bigint NOT NULL REFERENCES nic, new_network_id bigint REFERENCES network,
    channel varchar NOT NULL);
CREATE TABLE headnode (id bigserial PRIMARY KEY, label varchar NOT NULL UNIQUE, project_id bigint NOT NULL REFERENCES project,
    dirty boolean NOT NULL, base_img varchar NOT NULL, uuid varchar NOT NULL);
CREATE TABLE hnic (id bigserial PRIMARY KEY, label varchar NOT NULL, owner_id bigint NOT NULL REFERENCES headnode,
    network_id bigint REFERENCES network);
CREATE TABLE metadata (id bigserial PRIMARY KEY, label varchar NOT NULL, value varchar, owner_id bigint REFERENCES node);
CREATE TABLE "user" (id bigserial PRIMARY KEY, label varchar NOT NULL UNIQUE, is_admin boolean NOT NULL,
    hashed_password varchar);
CREATE TABLE user_projects (user_id bigint REFERENCES "user", project_id bigint REFERENCES project);
CREATE TABLE vlan (id bigserial PRIMARY KEY, vlan_no integer NOT NULL UNIQUE, available boolean NOT NULL);
CREATE TABLE ovs (id bigint PRIMARY KEY REFERENCES switch, ovs_bridge varchar NOT NULL);
CREATE TABLE mock_switch (id bigint PRIMARY KEY REFERENCES switch, hostname varchar NOT NULL, username varchar NOT NULL,
    password varchar NOT NULL);
CREATE TABLE power_connect55xx (LIKE mock_switch INCLUDING ALL);
CREATE TABLE dell_n3000 (LIKE mock_switch INCLUDING ALL, dummy_vlan varchar NOT NULL);
CREATE TABLE nexus (LIKE dell_n3000 INCLUDING ALL);
CREATE TABLE brocade (LIKE mock_switch INCLUDING ALL, interface_type varchar NOT NULL);
CREATE TABLE dell_no_s9 (LIKE brocade INCLUDING ALL);
CREATE TABLE alembic_version (version_num varchar NOT NULL);
"#;

/// A headnode, which the lab's worlds do not have: a machine on HIL's own host.
#[derive(Clone, Debug)]
pub struct Headnode {
    /// Its label.
    pub label: String,
    /// Its project.
    pub project: String,
    /// Labels of its nics, and the network of each.
    pub nics: Vec<(String, Option<String>)>,
}

/// A running server.
#[derive(Debug)]
pub struct Postgres {
    server: Option<Process>,
    dir: TempDir,
    bin: PathBuf,
    /// Its port on 127.0.0.1; also in the name of its socket.
    pub port: u16,
}

/// A certificate and its key, for TLS.
#[derive(Clone, Debug)]
pub struct Pem {
    /// The certificate in PEM.
    pub certificate: String,
    /// The key in PEM.
    pub key: String,
}

// The newest installed version that has a server.
fn installed() -> Option<PathBuf> {
    let versions = std::fs::read_dir("/usr/lib/postgresql").ok()?.flatten().map(|e| e.path().join("bin"));
    versions.filter(|bin| ["initdb", "postgres", "psql"].iter().all(|p| bin.join(p).exists())).max()
}

// The unprivileged user that the server needs where root runs the tests.
fn servant() -> Option<(u32, u32)> {
    let number = |args: &[&str]| -> Option<u32> {
        let out = Command::new("id").args(args).output().ok()?;
        String::from_utf8(out.stdout).ok()?.trim().parse().ok()
    };
    if number(&["-u"]) != Some(0) {
        return None;
    }
    let ids = |who| Some((number(&["-u", who])?, number(&["-g", who])?));
    ids("postgres").or_else(|| ids("nobody"))
}

fn command(program: &Path) -> Command {
    let Some((user, group)) = servant() else { return Command::new(program) };
    let mut command = Command::new("setpriv");
    command
        .args([format!("--reuid={user}"), format!("--regid={group}"), "--clear-groups".into()])
        .arg(program);
    command
}

impl Postgres {
    /// A server with a database `hil` that has HIL's tables, all empty, and no role but the owner `admin`. `None`, after
    /// saying so, where PostgreSQL is not installed.
    pub fn start(tls: Option<&Pem>) -> Option<Postgres> {
        let Some(bin) = installed() else {
            skip("PostgreSQL");
            return None;
        };
        let dir = tempfile::Builder::new().prefix("pg").tempdir().expect("a temporary directory");
        let give = |path: &Path| {
            if let Some((user, group)) = servant() {
                chown(path, Some(user), Some(group)).expect("root gives files away");
            }
        };
        give(dir.path());
        let data = dir.path().join("data");
        run(command(&bin.join("initdb"))
            .arg("-D")
            .arg(&data)
            .args(["-U", "admin", "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8", "--no-sync"])
            .current_dir(dir.path()));
        let write = |name: &str, text: &str| {
            let path = data.join(name);
            std::fs::write(&path, text).expect("the directory is ours");
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).expect("and the file");
            give(&path);
        };
        write(
            "pg_hba.conf",
            "local all admin trust\nlocal all all scram-sha-256\nhost all all 127.0.0.1/32 scram-sha-256\n",
        );
        if let Some(pem) = tls {
            write("server.crt", &pem.certificate);
            write("server.key", &pem.key);
        }
        let mut all = Postgres { server: None, dir, bin, port: 0 };
        until("a free port for PostgreSQL", || {
            all.port = TcpListener::bind("127.0.0.1:0").ok()?.local_addr().ok()?.port();
            all.run_server(tls.is_some());
            let socket = all.socket();
            let log = all.dir.path().join("postgres.log");
            let said = until("PostgreSQL to listen or to give up", || {
                let said = std::fs::read_to_string(&log).unwrap_or_default();
                (said.contains("ready to accept connections") || said.contains("FATAL")).then_some(said)
            });
            (socket.exists() && said.contains("ready to accept")).then_some(())
        });
        all.sql_in("postgres", "CREATE DATABASE hil");
        all.sql(SCHEMA);
        Some(all)
    }

    fn run_server(&mut self, tls: bool) {
        let data = self.dir.path().join("data");
        let mut server = command(&self.bin.join("postgres"));
        server.arg("-D").arg(&data).current_dir(self.dir.path());
        let sockets = format!("unix_socket_directories={}", self.dir.path().display());
        let port = format!("port={}", self.port);
        let ssl = format!("ssl={}", if tls { "on" } else { "off" });
        for setting in [
            &*sockets,
            &*port,
            &*ssl,
            "listen_addresses=127.0.0.1",
            "fsync=off",
            "synchronous_commit=off",
            "full_page_writes=off",
            "max_connections=20",
            "shared_buffers=8MB",
            "logging_collector=off",
            "log_statement=all",
            "lc_messages=C",
        ] {
            server.args(["-c", setting]);
        }
        self.server = Some(Process::start(&mut server, &self.dir.path().join("postgres.log")));
    }

    /// The path of its socket.
    pub fn socket(&self) -> PathBuf {
        self.dir.path().join(format!(".s.PGSQL.{}", self.port))
    }

    /// The server's directory, for files of a test.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Stops the server at once.
    pub fn stop(&mut self) {
        if self.server.is_some() {
            let file = self.dir.path().join("data/postmaster.pid");
            let pid = std::fs::read_to_string(&file).unwrap_or_default();
            if let Some(pid) = pid.lines().next() {
                // Killed outright its children would outlive it by a moment.
                let _ = Command::new("kill").args(["-QUIT", pid]).status();
                until("the end of PostgreSQL", || (!file.exists()).then_some(()));
            }
            self.server = None;
        }
    }

    fn psql(&self, database: &str) -> Command {
        let mut psql = Command::new(self.bin.join("psql"));
        psql.args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-U", "admin", "-h"]);
        psql.arg(self.dir.path()).args(["-p", &self.port.to_string(), "-d", database]);
        psql
    }

    fn sql_in(&self, database: &str, sql: &str) -> String {
        let mut psql = self.psql(database);
        let mut child = psql
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("psql is installed with the server");
        child.stdin.take().expect("piped").write_all(sql.as_bytes()).expect("psql reads");
        let out = child.wait_with_output().expect("psql ends");
        assert!(out.status.success(), "{}\n{sql}", String::from_utf8_lossy(&out.stderr));
        String::from_utf8(out.stdout).expect("the database is UTF-8")
    }

    /// Runs statements as the owner and gives what they print.
    pub fn sql(&self, sql: &str) -> String {
        self.sql_in("hil", sql)
    }

    /// Begins a transaction as the owner, runs `sql` in it, and holds it open.
    pub fn hold(&self, sql: &str) -> Held {
        let mut child = self
            .psql("hil")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("psql is installed with the server");
        let mut stdin = child.stdin.take().expect("piped");
        writeln!(stdin, "BEGIN;\n{sql};\nSELECT 'held';").expect("psql reads");
        let mut line = String::new();
        let mut out = BufReader::new(child.stdout.take().expect("piped"));
        while !line.contains("held") {
            line.clear();
            assert_ne!(out.read_line(&mut line).expect("psql prints"), 0, "psql ended: {sql}");
        }
        Held { child, stdin: Some(stdin), out }
    }

    /// Every statement that the role ran, from the server's own log.
    pub fn statements(&self) -> Vec<String> {
        let log = std::fs::read_to_string(self.dir.path().join("postgres.log")).unwrap_or_default();
        log.lines().filter_map(|l| l.split_once("LOG:  statement: ")).map(|(_, s)| s.to_owned()).collect()
    }

    /// Replaces everything in the database by what HIL would hold of this world.
    pub fn load(&self, world: &World, headnodes: &[Headnode]) {
        self.sql(&rows(world, headnodes));
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        self.stop();
    }
}

/// A transaction that is held open.
#[derive(Debug)]
pub struct Held {
    child: Child,
    stdin: Option<std::process::ChildStdin>,
    // Kept, for psql fails when nobody takes what it prints.
    out: BufReader<std::process::ChildStdout>,
}

impl Held {
    /// Runs more in it, and commits.
    pub fn commit(mut self, sql: &str) {
        let mut stdin = self.stdin.take().expect("held once");
        writeln!(stdin, "{sql};\nCOMMIT;").expect("psql reads");
        drop(stdin);
        let mut said = String::new();
        self.out.read_to_string(&mut said).expect("psql prints UTF-8");
        assert!(self.child.wait().expect("psql ends").success(), "{sql}");
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.stdin = None;
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A text as a literal of SQL.
pub fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

fn rows(world: &World, headnodes: &[Headnode]) -> String {
    let mut out = String::from(
        "BEGIN; TRUNCATE project, node, switch, port, nic, network, network_projects, network_attachment, \
         networking_action, headnode, hnic, metadata, \"user\", user_projects, vlan, ovs, mock_switch, power_connect55xx, \
         dell_n3000, nexus, brocade, dell_no_s9;\n",
    );
    let null = |id: Option<usize>| id.map_or_else(|| "NULL".to_owned(), |id| id.to_string());
    let mut insert = |table: &str, values: &[String]| {
        writeln!(out, "INSERT INTO {table} VALUES ({});", values.join(", ")).expect("a string takes all");
    };
    let id = |n: usize| (n + 1).to_string();
    let place = |labels: Vec<&str>, label: &str| labels.iter().position(|l| *l == label).map(|n| n + 1);
    let project = |label: &str| place(world.projects.iter().map(String::as_str).collect(), label);
    let network = |label: &str| place(world.networks.iter().map(|n| n.label.as_str()).collect(), label);
    for (n, label) in world.projects.iter().enumerate() {
        insert("project", &[id(n), literal(label)]);
    }
    for (n, u) in world.users.iter().enumerate() {
        insert("\"user\"", &[id(n), literal(&u.name), u.is_admin.to_string(), literal(SECRET)]);
        for p in u.projects.iter().filter_map(|p| project(p)) {
            insert("user_projects", &[id(n), p.to_string()]);
        }
    }
    let mut ports: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    for (n, s) in world.switches.iter().enumerate() {
        let [host, secret] = [literal("switch.example"), literal(SECRET)];
        let login = vec![id(n), host, literal("hil"), secret];
        let with = |more: &str| [login.clone(), vec![literal(more)]].concat();
        let (kind, table, row) = match &s.kind {
            SwitchKind::Ovs { bridge, .. } => ("ovs", "ovs", vec![id(n), literal(bridge)]),
            SwitchKind::PowerConnect55xx => ("powerconnect55xx", "power_connect55xx", login.clone()),
            SwitchKind::DellN3000 => ("delln3000", "dell_n3000", with("4000")),
            SwitchKind::Nexus => ("nexus", "nexus", with("4001")),
            SwitchKind::Brocade => ("brocade", "brocade", with("TenGigabitEthernet")),
            SwitchKind::DellNos9 => ("dellnos9", "dell_no_s9", with("GigabitEthernet")),
            _ => ("mock", "mock_switch", login.clone()),
        };
        let kind = format!("http://schema.massopencloud.org/haas/v0/switches/{kind}");
        insert("switch", &[id(n), literal(&s.label), literal(&kind)]);
        insert(table, &row);
        for port in &s.ports {
            let n = ports.len();
            ports.entry((&s.label, port)).or_insert(n + 1);
        }
    }
    for ((switch, port), n) in &ports {
        let owner = place(world.switches.iter().map(|s| s.label.as_str()).collect(), switch);
        insert("port", &[n.to_string(), literal(port), null(owner)]);
    }
    let mut nics: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    let mut metadata = 0;
    for (n, node) in world.nodes.iter().enumerate() {
        let project = node.project.as_deref().and_then(project);
        let secret = literal(SECRET);
        insert(
            "node",
            &[id(n), literal(&node.label), null(project), literal("https://obmd"), secret.clone(), secret],
        );
        for (label, value) in &node.metadata {
            insert("metadata", &[id(metadata), literal(label), literal(value), id(n)]);
            metadata += 1;
        }
        for nic in &node.nics {
            let this = nics.len() + 1;
            nics.insert((&node.label, &nic.label), this);
            let port =
                nic.port.as_ref().and_then(|p| ports.get(&(p.switch.as_str(), p.port.as_str())).copied());
            insert("nic", &[this.to_string(), literal(&nic.label), id(n), literal(&nic.mac), null(port)]);
        }
    }
    for (n, net) in world.networks.iter().enumerate() {
        let owner = net.owner.as_deref().and_then(project);
        insert(
            "network",
            &[id(n), literal(&net.label), null(owner), "true".into(), literal(&net.network_id)],
        );
        for p in net.access.iter().filter_map(|p| project(p)) {
            insert("network_projects", &[p.to_string(), id(n)]);
        }
    }
    for (n, a) in world.attachments.iter().enumerate() {
        let nic = nics.get(&(a.node.as_str(), a.nic.as_str())).copied();
        insert("network_attachment", &[id(n), null(nic), null(network(&a.network)), literal(&a.channel)]);
    }
    for (n, a) in world.actions.iter().enumerate() {
        let nic = nics.get(&(a.node.as_str(), a.nic.as_str())).copied();
        let (kind, to, channel) = match &a.kind {
            ActionKind::ModifyPort { network, channel } => {
                ("modify_port", network.as_deref(), channel.as_str())
            }
            ActionKind::RevertPort => ("revert_port", None, ""),
        };
        let [uuid, status, kind, channel] =
            [&a.uuid.to_string(), &a.status.to_string(), kind, channel].map(literal);
        insert(
            "networking_action",
            &[id(n), uuid, status, kind, null(nic), null(to.and_then(network)), channel],
        );
    }
    let mut hnics = 0;
    for (n, h) in headnodes.iter().enumerate() {
        let [label, image, uuid] = [&h.label, "img1", SECRET].map(literal);
        insert("headnode", &[id(n), label, null(project(&h.project)), "false".into(), image, uuid]);
        for (label, on) in &h.nics {
            insert("hnic", &[id(hnics), literal(label), id(n), null(on.as_deref().and_then(network))]);
            hnics += 1;
        }
    }
    for (n, v) in (100..110).enumerate() {
        insert("vlan", &[id(n), v.to_string(), "true".into()]);
    }
    out.push_str("COMMIT;");
    out
}
