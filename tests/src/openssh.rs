//! A private OpenSSH server on 127.0.0.1 that lets one key in, to run the commands of one script and nothing else.

use crate::ovs::{Process, run, skip, until};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;

/// A running `sshd`.
#[derive(Debug)]
pub struct OpenSsh {
    _server: Process,
    dir: TempDir,
    /// Its port on 127.0.0.1.
    pub port: u16,
    /// The user that may log in: the one who runs the tests.
    pub user: String,
}

impl OpenSsh {
    /// A server whose one key may run `script`, a shell script that finds the wished command in
    /// `$SSH_ORIGINAL_COMMAND`. `None`, after saying so, where OpenSSH is not installed.
    pub fn start(script: &str) -> Option<OpenSsh> {
        OpenSsh::start_with(script, "")
    }

    /// Likewise, with further lines of `sshd_config`.
    pub fn start_with(script: &str, lines: &str) -> Option<OpenSsh> {
        let sshd = Path::new("/usr/sbin/sshd");
        if !sshd.exists() || !Path::new("/usr/bin/ssh-keygen").exists() {
            skip("the OpenSSH server");
            return None;
        }
        // Where root runs it, sshd insists on its own directory.
        let _ = std::fs::create_dir_all("/run/sshd");
        let dir = tempfile::Builder::new().prefix("sshd").tempdir().expect("a temporary directory");
        let at = |name: &str| dir.path().join(name);
        for (name, kind) in [
            ("host_ed25519", "ed25519"),
            ("host_rsa", "rsa"),
            ("host_ecdsa", "ecdsa"),
            ("user", "ed25519"),
            ("stranger", "ed25519"),
        ] {
            let bits: &[&str] = if kind == "rsa" { &["-b", "2048"] } else { &[] };
            run(Command::new("ssh-keygen")
                .args(["-q", "-N", "", "-t", kind])
                .args(bits)
                .arg("-f")
                .arg(at(name)));
        }
        let write = |name: &str, text: String| std::fs::write(at(name), text).expect("the directory is ours");
        write(
            "forced.sh",
            format!(
                "#!/bin/sh\nprintf '%s\\n' \"$SSH_ORIGINAL_COMMAND\" >>{}\n{script}\n",
                at("asked").display()
            ),
        );
        std::fs::set_permissions(at("forced.sh"), std::fs::Permissions::from_mode(0o755))
            .expect("the file is ours");
        let public = std::fs::read_to_string(at("user.pub")).expect("ssh-keygen wrote it");
        write("authorized_keys", format!("restrict,command=\"{}\" {public}", at("forced.sh").display()));
        let user = run(Command::new("id").arg("-un")).trim().to_owned();
        let (server, port) = until("a free port for sshd", || {
            let port = TcpListener::bind("127.0.0.1:0").ok()?.local_addr().ok()?.port();
            let config = format!(
                "Port {port}\nListenAddress 127.0.0.1\nHostKey {d}/host_ed25519\nHostKey {d}/host_rsa\n\
                 HostKey {d}/host_ecdsa\nPidFile none\nAuthorizedKeysFile {d}/authorized_keys\nUsePAM no\n\
                 StrictModes no\nPermitRootLogin prohibit-password\nPasswordAuthentication yes\nLogLevel VERBOSE\n{lines}",
                d = dir.path().display()
            );
            write("sshd_config", config);
            let log = at("sshd.log");
            let server =
                Process::start(Command::new(sshd).args(["-D", "-e", "-f"]).arg(at("sshd_config")), &log);
            until("sshd to listen or to give up", || {
                let said = std::fs::read_to_string(&log).unwrap_or_default();
                (said.contains("listening on") || said.contains("Cannot bind")).then_some(())
            });
            TcpStream::connect(("127.0.0.1", port)).ok().map(|_| (server, port))
        });
        Some(OpenSsh { _server: server, dir, port, user })
    }

    /// A file in the server's directory: `user` and `stranger` are private keys, `host_ed25519`, `host_rsa` and
    /// `host_ecdsa` the host's.
    pub fn file(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Writes a known_hosts file that lists the public keys of these private ones for this server.
    pub fn known_hosts(&self, name: &str, keys: &[&str], hashed: bool) -> PathBuf {
        let path = self.file(name);
        let lines: String = keys
            .iter()
            .map(|key| {
                let public =
                    std::fs::read_to_string(self.file(&format!("{key}.pub"))).expect("ssh-keygen wrote it");
                format!("[127.0.0.1]:{} {public}", self.port)
            })
            .collect();
        std::fs::write(&path, lines).expect("the directory is ours");
        if hashed {
            run(Command::new("ssh-keygen").args(["-q", "-H", "-f"]).arg(&path));
        }
        path
    }

    /// The fingerprint of a key, as OpenSSH prints it.
    pub fn fingerprint(&self, key: &str) -> String {
        let said = run(Command::new("ssh-keygen").arg("-lf").arg(self.file(&format!("{key}.pub"))));
        said.split(' ').nth(1).unwrap_or_default().to_owned()
    }

    /// How often somebody was let in.
    pub fn logins(&self) -> usize {
        let log = std::fs::read_to_string(self.file("sshd.log")).unwrap_or_default();
        log.lines().filter(|l| l.contains("Accepted publickey for ")).count()
    }

    /// Every command that was asked for, one a line.
    pub fn asked(&self) -> String {
        std::fs::read_to_string(self.file("asked")).unwrap_or_default()
    }
}
