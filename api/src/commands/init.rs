//! `isoledger init`: a commented configuration and the log's key.

use crate::cli;
use crate::config::Config;
use crate::failure::{Ending, Failure, fail};
use crate::keys;
use crate::render;
use isoledger_core::record::{valid_origin, valid_word};
use serde_json::json;
use std::path::Path;

pub(crate) fn run(args: &cli::Init, as_json: bool) -> Result<Ending, Failure> {
    if !valid_origin(&args.origin) {
        return fail(format!(
            "--origin is {:?}; allowed is printable ASCII without space, quote, \\ or +, e.g. audit.example/moc",
            args.origin
        ));
    }
    if !valid_word(&args.domain) {
        return fail(format!("--domain is {:?}; allowed are letters, digits, '.', '_' and '-'", args.domain));
    }
    let path = args.dir.join("isoledger.toml");
    let key = args.dir.join("log.key");
    for taken in [&path, &key] {
        if taken.exists() {
            return fail(format!(
                "{} exists already and is left alone; give another --dir, or move it away yourself",
                taken.display()
            ));
        }
    }
    let text = template(args);
    // What init writes must load, or the first thing a new user meets is our mistake.
    Config::parse(&path, &text).map_err(|e| Failure(format!("{e}; check --hil and --origin")))?;
    std::fs::create_dir_all(&args.dir).map_err(|e| Failure(format!("{}: {e}", args.dir.display())))?;
    let signer = keys::create(&key, &args.origin)?;
    if let Err(e) = keys::write_secret(&path, text.as_bytes()) {
        // Nothing half-written: a key without its configuration would stand in the way of the next try.
        let _ = std::fs::remove_file(&key);
        return fail(format!("{}: {e}", path.display()));
    }
    let vkey = signer.verifier().to_string();
    if as_json {
        render::json(&json!({ "config": path, "key": key, "vkey": vkey }));
    } else {
        render::line(format!("wrote {} and {} (mode 0600)", path.display(), key.display()));
        render::line(format!("\nthe log's key, for tenants' policies:\n  log {vkey}"));
        render::line(format!(
            "its fingerprint, to compare out of band:\n  {}",
            signer.verifier().fingerprint()
        ));
        render::line(format!(
            "\nnext: name the cloud manager and the switches in {}, then\n  isoledger --config {} check",
            path.display(),
            path.display()
        ));
    }
    Ok(Ending::Fine)
}

fn quoted(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

/// The commented configuration.
pub(crate) fn template(args: &cli::Init) -> String {
    TEMPLATE
        .replace("@ORIGIN@", &quoted(&args.origin))
        .replace("@DOMAIN@", &quoted(&args.domain))
        .replace("@HIL@", &quoted(&args.hil))
}

const TEMPLATE: &str = r##"# Isoledger. Relative paths are relative to this file; docs/OPERATING.md explains every key.
# Lengths of time are a whole number and ms, s, m, h or d.

[log]
# The log's name, for ever: origin of its checkpoints and name of its key.
origin = @ORIGIN@
# The audited domain: switches that share one VLAN space. One log, one domain.
domain = @DOMAIN@
# Journal and index. Back up the journal; the index is rebuilt from it.
data = "data"
# The signing key, 0600. Whoever has it can sign as this log; whoever loses it starts a new one.
key = "log.key"
# Switches, links and exits as you reviewed them: `isoledger scope propose --out scope.toml`.
scope = "scope.toml"

[poll]
# From the start of one poll to the start of the next.
period = "30s"
# How long a switch may take to answer; past it the switch is silent and its networks unknown.
deadline = "20s"
# How long to wait before looking again where the sides newly disagree. At least as long as the cloud manager takes
# from writing a switch to committing its database, or its own changes will look like violations.
settle = "5s"
# The longest stretch without a reading that still counts as watched, here and in attestations' own verdicts.
max-gap = "2m"
# Switches read at once.
parallel = 64

[http]
# /checkpoint and /tile are public; /v1 needs the token once there is one. Without a token only loopback is allowed.
listen = "127.0.0.1:7478"
# token-file = "http.token"

# Who cosigns the log's checkpoints, so that it cannot tell two stories: whoever is independent of you, run
# `isoledger witness`, and has this log's key on the list. Asked before anything is signed.
# [witness]
# period = "1m"
# deadline = "10s"
# fail-open = false      # true: sign although a required witness is silent; everybody will see it
# short-period = false   # true: a period below a minute is meant
# auditors = { carol = "auditor.example/carol+..." }
# [witness.by.boston]
# vkey = "witness.example/w1+..."
# url = "https://witness.example/w1"
# required = true

[manager]
kind = "hil"
# Where HIL is, without /v0. Plain http to another host needs allow-plain-http = true.
url = @HIL@
# An administrator's name and password file (0600); leave both out for HIL's null authentication.
# user = "auditor"
# password-file = "hil.password"      # or password-env = "HIL_PASSWORD"
# ca = "hil-ca.pem"
# allow-plain-http = false
# From the start of one crawl to the next; grows by itself to keep HIL's load below `duty` percent of its time.
period = "60s"
duty = 20
deadline = "2m"
request-timeout = "15s"

# Or HIL's database, with a role that can read some columns and nothing else (docs/OPERATING.md has its SQL): everything
# in one snapshot at every poll, pending changes included.
# [manager]
# kind = "hil-database"
# server = "ssl:hil.example:5432"     # or unix:PATH of the socket, or tcp:127.0.0.1:5432
# tls = { ca = "postgres-ca.pem" }
# database = "hil"
# user = "isoledger"
# password-file = "postgres.password"

# Or a file, for a site without a manager.
# [manager]
# kind = "declared-file"
# path = "declared.toml"

# One table for each switch. The name is yours; scope.toml maps the cloud manager's labels to it.
# [switches.sw1]
# kind = "openvswitch"
# ovsdb = "ssl:sw1.example:6640"      # or tcp:HOST:PORT, or unix:PATH, or "ssh" with the table below
# bridge = "br0"
# tls = { ca = "ca.pem", certificate = "audit.pem", key = "audit.key", server-name = "sw1" }
# Flows can bypass every VLAN column. Not read means the verdict is unknown.
# flows = { openflow = "ssl:sw1.example:6653" }   # or "ssh" with the table below, or "local"
# ssh = { host = "sw1.example", port = 22, user = "audit", known-hosts = "known_hosts", key = "audit_ed25519" }
#
# [switches.dell-1]
# kind = "powerconnect-5500"          # or dell-n3000, cisco-nexus
# ssh = { host = "dell-1.example", user = "audit", known-hosts = "known_hosts", password-file = "dell-1.password", old-algorithms = false }
# enable-password-file = "dell-1.enable"
# A switch that speaks SHA-1, CBC or 3DES only needs `old-algorithms = true` in its ssh table.
#
# [switches.vdx-1]
# kind = "brocade-vdx"                # or dell-os9
# url = "https://vdx-1.example"
# user = "audit"
# password-file = "vdx-1.password"    # or password-env = "VDX_1_PASSWORD"
# ca = "switches-ca.pem"
# allow-plain-http = false
# request-timeout = "15s"
# interface-types = ["TenGigabitEthernet", "Port-channel"]
"##;

/// Writes a configuration for somebody who already has all of it, e.g. the demo.
pub(crate) fn write_config(path: &Path, text: &str) -> Result<(), Failure> {
    Config::parse(path, text)?;
    keys::write_secret(path, text.as_bytes()).map_err(|e| Failure(format!("{}: {e}", path.display())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Manager, Switch};

    /// `block` with what is commented out in it: tables and keys, not sentences.
    fn uncommented(block: &str) -> String {
        let key = |k: &str| k.bytes().all(|b| b.is_ascii_lowercase() || b == b'-');
        let is_toml = |l: &str| l.starts_with('[') || l.split_once(" = ").is_some_and(|(k, _)| key(k));
        let lines = block.lines().map(|l| l.strip_prefix("# ").filter(|rest| is_toml(rest)).unwrap_or(l));
        lines.collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn what_is_commented_out_loads_too() {
        let args = cli::Init {
            dir: ".".into(),
            origin: "audit.example/moc".into(),
            domain: "moc".into(),
            hil: "https://hil.example".into(),
        };
        let text = template(&args);
        let blocks: Vec<String> = text.split("\n\n").map(uncommented).collect();
        let of = |header: &str| -> Vec<&String> {
            blocks.iter().filter(|b| b.lines().any(|l| l.starts_with(header))).collect()
        };
        let common: String =
            ["[log]", "[poll]", "[http]"].iter().flat_map(|h| of(h)).map(|b| format!("{b}\n")).collect();
        let [switches] = of("[switches.")[..] else { panic!("one block of switches") };
        let mut kinds = Vec::new();
        for manager in of("[manager]") {
            let text = format!("{common}{manager}\n{switches}");
            let config = Config::parse(Path::new("x"), &text).unwrap_or_else(|e| panic!("{e}\n{text}"));
            kinds.push(match config.manager {
                Manager::Hil(keys) => format!("{:?}", keys.user),
                Manager::HilDatabase(keys) => keys.server,
                Manager::DeclaredFile(keys) => keys.path.display().to_string(),
            });
            assert!(matches!(&config.switches["sw1"], Switch::OpenVswitch(keys) if keys.ssh.is_some()));
            assert!(matches!(&config.switches["dell-1"], Switch::Console(..)));
            assert!(matches!(&config.switches["vdx-1"], Switch::Web(..)));
        }
        assert_eq!(kinds, [r#"Some("auditor")"#, "ssl:hil.example:5432", "declared.toml"]);
    }
}
