//! The lab's hardware switches seen by the collectors: a reader for each, and what the lab says that it must see.

use isoledger_collectors::dialect::{ConsoleSettings, Dialect, Reach, WebSettings};
use isoledger_collectors::dialects::switch_dialect;
use isoledger_collectors::net::{SshLogin, SshTarget, WebTarget};
use isoledger_collectors::{Reading, Secret, Stopwatch, SwitchReader};
use isoledger_core::model::{Observed, PortReading};
use isoledger_core::vlan::{VlanId, VlanSet};
use isoledger_lab::{Hardware, HardwareAddresses, HardwareKind};
use std::fmt::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

/// The name of the dialect that reads this kind of switch.
pub fn dialect(kind: HardwareKind) -> &'static Dialect {
    let name = match kind {
        HardwareKind::PowerConnect5500 => "powerconnect-5500",
        HardwareKind::N3000 => "dell-n3000",
        HardwareKind::Nexus => "cisco-nexus",
        HardwareKind::Vdx => "brocade-vdx",
        HardwareKind::Os9 => "dell-os9",
    };
    switch_dialect(name).expect("every kind of the lab has a dialect")
}

/// The name under which a reader lists the port that the switch itself calls `native`.
pub fn observed_name(kind: HardwareKind, native: &str) -> String {
    if kind.is_console() { native.to_ascii_lowercase() } else { native.to_owned() }
}

/// A reader of one hardware switch of the lab, not yet connected. `known_hosts` is a file with what the lab says its host keys are.
///
/// # Panics
/// The lab has no address for it.
pub fn reader(at: &HardwareAddresses, known_hosts: &Path) -> Box<dyn SwitchReader> {
    let account = at.credentials.as_ref().expect("every switch of the lab has an account");
    match dialect(at.kind).reach {
        Reach::Console(open) => {
            let address = at.console.expect("a switch with a command line has an address");
            let ssh = SshTarget {
                host: address.ip().to_string(),
                port: address.port(),
                user: account.user.clone(),
                known_hosts: known_hosts.to_owned(),
                login: SshLogin::Password(Secret::new(account.password.as_str())),
                old_algorithms: false,
            };
            open(ConsoleSettings { ssh, enable: None })
        }
        Reach::Web(open) => {
            let web = WebTarget {
                url: at.rest.as_ref().expect("a switch that speaks REST has an address").http.clone(),
                user: Some((account.user.clone(), Secret::new(account.password.as_str()))),
                ca: None,
                allow_plain_http: false,
                request_timeout: Duration::from_secs(15),
            };
            open(WebSettings { web, interface_types: Vec::new() }).expect("these settings are good")
        }
        Reach::OpenVSwitch => unreachable!("no hardware is read as Open vSwitch"),
    }
}

/// The lines of `[switches.NAME]` for one hardware switch; the files are named as [`crate::site::Site::of_lab`] writes them.
pub fn config_lines(at: &HardwareAddresses) -> String {
    let mut text = format!("kind = \"{}\"\n", dialect(at.kind).name);
    let account = at.credentials.as_ref().expect("every switch of the lab has an account");
    // Writing to a String cannot fail, here and below.
    let _ = match (&at.console, &at.rest) {
        (Some(address), _) => writeln!(
            text,
            "ssh = {{ host = \"{}\", port = {}, user = \"{}\", known-hosts = \"known_hosts\", password-file = \"{}.password\" }}",
            address.ip(),
            address.port(),
            account.user,
            at.hardware
        ),
        (None, Some(rest)) => writeln!(
            text,
            "url = \"{}\"\nuser = \"{}\"\npassword-file = \"{}.password\"",
            rest.http, account.user, at.hardware
        ),
        (None, None) => Ok(()),
    };
    text
}

/// The lines of `[switches.NAME]` in the scope: which of HIL's labels mean this switch, and how its ports are called.
pub fn scope_lines(at: &HardwareAddresses) -> String {
    let labels: Vec<String> = at.registrations.iter().map(|r| format!("\"{}\"", r.label)).collect();
    let mut text = format!("labels = [{}]\n", labels.join(", "));
    let prefixes: Vec<String> = (at.registrations.iter())
        .filter_map(|r| Some(format!("{} = \"{} \"", r.label, r.interface_type.as_ref()?)))
        .collect();
    if !prefixes.is_empty() {
        let _ = writeln!(text, "prefixes = {{ {} }}", prefixes.join(", "));
    }
    if at.kind.is_console() {
        text.push_str("ignore-case = true\n");
    }
    text
}

/// One reading within `patience`.
pub async fn read(reader: &mut dyn SwitchReader, patience: Duration) -> Reading<Observed> {
    let clock = Stopwatch::from_system().expect("the clock of this machine is set");
    reader.read(&clock, Instant::now() + patience).await
}

/// What the lab says a port carries.
pub fn carried(hardware: &Hardware, port: &str) -> (VlanSet, VlanSet) {
    let carries = hardware.carries(port).expect("a port of this switch");
    // OS 6 has no VLAN 4094: its "all" ends at 4093.
    let last = if hardware.kind == HardwareKind::N3000 { 4093 } else { 4094 };
    let set = |vlans: &isoledger_lab::VlanRanges| {
        vlans.iter().filter(|v| *v <= last).filter_map(VlanId::new).collect()
    };
    (set(&carries.untagged), set(&carries.tagged))
}

/// Every VLAN that a reading says the port carries or might carry.
pub fn at_most(reading: &PortReading) -> VlanSet {
    match reading {
        PortReading::Read(state) => state.carries(),
        PortReading::Unreadable { might_carry, .. } => might_carry.clone(),
    }
}
