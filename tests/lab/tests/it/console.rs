//! The command lines of hardware switches, by a client that knows nothing of them, and by OpenSSH's.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Command, Stdio};
use std::time::Duration;

use isoledger_lab::{
    Cloud, Console, ConsoleLogin, ConsoleServer, Erase, Fault, Hardware, HardwareKind, Lab, Privilege,
    Service, SpanSession, SshMethods, VlanList, VlanRanges, When, World,
};
use ssh2::{CheckResult, KnownHostFileKind, Session};

use crate::common::{DEADLINE, within};

const CONSOLES: [HardwareKind; 3] =
    [HardwareKind::PowerConnect5500, HardwareKind::N3000, HardwareKind::Nexus];

/// Not a wait for something to happen: for as long as this nothing may.
const QUIET: Duration = Duration::from_millis(60);

/// One switch `sw` with ports 1 to 3.
async fn started(kind: HardwareKind, change: impl FnOnce(&mut World)) -> (Cloud, ConsoleServer) {
    let mut world = World::new();
    world.add_hardware_switch("sw", kind).unwrap();
    for n in 1..=3 {
        let name = kind.native_port(None, &kind.hil_port(n));
        world.hardware_mut("sw").unwrap().add_port(&name).unwrap();
    }
    change(&mut world);
    let cloud = Cloud::new(world);
    let server = ConsoleServer::start(&cloud, "sw").await.unwrap();
    (cloud, server)
}

/// Runs a blocking client beside the emulators.
async fn client<R: Send + 'static>(run: impl FnOnce() -> R + Send + 'static) -> R {
    within(tokio::task::spawn_blocking(run)).await.unwrap()
}

fn shaken(address: SocketAddr) -> Result<Session, ssh2::Error> {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    let mut session = Session::new().unwrap();
    session.set_timeout(u32::try_from(DEADLINE.as_millis()).unwrap());
    session.set_tcp_stream(stream);
    session.handshake()?;
    Ok(session)
}

/// A terminal on a switch.
struct Shell {
    session: Session,
    channel: ssh2::Channel,
    heard: Vec<u8>,
}

impl Shell {
    fn open(address: SocketAddr, user: &str) -> Shell {
        let session = shaken(address).unwrap();
        if session.auth_methods(user).is_ok() && !session.authenticated() {
            session.userauth_password(user, &format!("lab-{user}")).unwrap();
        }
        let mut channel = session.channel_session().unwrap();
        channel.request_pty("vt100", None, Some((80, 24, 0, 0))).unwrap();
        channel.shell().unwrap();
        Shell { session, channel, heard: Vec::new() }
    }

    /// Past whatever the console asks by itself, to `#`.
    fn ready(kind: HardwareKind, address: SocketAddr, user: &str) -> Shell {
        let hash = if kind == HardwareKind::Nexus { "sw# " } else { "sw#" };
        let mut shell = Shell::open(address, user);
        loop {
            let text = shell.until(&["sw>", hash, "User Name:", "Password:"]);
            match text {
                t if t.ends_with(hash) => return shell,
                t if t.ends_with('>') => shell.send("enable\r"),
                t if t.ends_with("Name:") => shell.send(&format!("{user}\r")),
                _ => shell.send(&format!("lab-{user}\r")),
            }
        }
    }

    fn send(&mut self, text: &str) {
        self.channel.write_all(text.as_bytes()).unwrap();
        self.channel.flush().unwrap();
    }

    /// What comes up to and including the first of these texts.
    fn until(&mut self, ends: &[&str]) -> String {
        loop {
            for at in 1..=self.heard.len() {
                if ends.iter().any(|e| self.heard[..at].ends_with(e.as_bytes())) {
                    return String::from_utf8(self.heard.drain(..at).collect()).unwrap();
                }
            }
            let mut chunk = [0; 4096];
            let n = match self.channel.read(&mut chunk) {
                Ok(n) => n,
                Err(e) => panic!("{e}, after {:?}", String::from_utf8_lossy(&self.heard)),
            };
            assert!(n > 0, "the channel ended after {:?}", String::from_utf8_lossy(&self.heard));
            self.heard.extend_from_slice(&chunk[..n]);
        }
    }

    /// The answer of a command, without echo and prompt.
    fn ask(&mut self, command: &str, prompt: &str) -> String {
        self.send(&format!("{command}\r"));
        let text = self.until(&[prompt]);
        let text =
            text.strip_prefix(&format!("{command}\r\n")).unwrap_or_else(|| panic!("no echo in {text:?}"));
        text.strip_suffix(prompt).unwrap().to_owned()
    }

    /// Everything until the channel ends.
    fn rest(&mut self) -> String {
        let mut rest = std::mem::take(&mut self.heard);
        let mut chunk = [0; 4096];
        while let Ok(n) = self.channel.read(&mut chunk) {
            if n == 0 {
                break;
            }
            rest.extend_from_slice(&chunk[..n]);
        }
        String::from_utf8_lossy(&rest).into_owned()
    }

    /// Nothing comes for a while.
    fn is_quiet(&mut self) {
        self.session.set_timeout(u32::try_from(QUIET.as_millis()).unwrap());
        let error = self.channel.read(&mut [0]).expect_err("nothing may come");
        assert!(matches!(error.kind(), ErrorKind::TimedOut | ErrorKind::WouldBlock), "{error}");
        self.session.set_timeout(u32::try_from(DEADLINE.as_millis()).unwrap());
    }
}

fn configured(world: &mut World) -> &mut Hardware {
    world.hardware_mut("sw").unwrap()
}

// ---- logging in

#[tokio::test]
async fn every_way_in_from_the_banner_to_the_prompt() {
    use ConsoleLogin::{Password, Straight, UserAndPassword};
    // What the console does, and the whole of the dialogue: what it says, what we type.
    type Way = (ConsoleLogin, Privilege, Option<&'static str>, &'static [(&'static str, &'static str)]);
    let ways: &[Way] = &[
        (Straight, Privilege::All, None, &[("hello\r\nsw#", "")]),
        (Straight, Privilege::Few, None, &[("hello\r\nsw>", "enable\r"), ("enable\r\nsw#", "")]),
        (
            Straight,
            Privilege::Few,
            Some("sesame"),
            &[
                ("hello\r\nsw>", "enable\r"),
                ("enable\r\nPassword:", "wrong\r"),
                ("\r\n\r\nPassword incorrect.\r\nPassword:", "sesame\r"),
                ("\r\nsw#", ""),
            ],
        ),
        (Password, Privilege::All, None, &[("hello\r\nPassword:", "lab-auditor\r"), ("\r\nsw#", "")]),
        (
            UserAndPassword,
            Privilege::All,
            None,
            &[
                ("hello\r\nUser:", "auditor\r"),
                ("auditor\r\nPassword:", "nonsense\r"),
                ("\r\n\r\nLogin incorrect\r\n\r\nUser:", "auditor\n"),
                ("auditor\r\nPassword:", "lab-auditor\r\n"),
                ("\r\nsw#", ""),
            ],
        ),
    ];
    for (login, privilege, enable, dialogue) in ways {
        let (_cloud, server) = started(HardwareKind::N3000, |world| {
            configured(world).enable_password = enable.map(str::to_owned);
            let console = world.console_mut("sw").unwrap();
            (console.login, console.privilege) = (*login, *privilege);
            console.banner = Some("hello\n".into());
        })
        .await;
        let address = server.address();
        client(move || {
            let mut shell = Shell::open(address, "auditor");
            for (said, typed) in *dialogue {
                assert_eq!(shell.until(&[said]), *said, "{login:?} {privilege:?}");
                shell.send(typed);
            }
        })
        .await;
        assert_eq!(server.logins(), 1);
    }
}

#[tokio::test]
async fn a_banner_may_look_like_anything() {
    let banner = "Password: ask at the desk\nsw#\nUser Name:\n--More--\n";
    let (_cloud, server) = started(HardwareKind::PowerConnect5500, |world| {
        world.console_mut("sw").unwrap().banner = Some(banner.into());
    })
    .await;
    let address = server.address();
    let heard = client(move || Shell::open(address, "x").until(&["--More--\r\nUser Name:"])).await;
    assert_eq!(heard, format!("{}User Name:", banner.replace('\n', "\r\n")));
}

#[tokio::test]
async fn who_does_not_know_the_password_stays_out() {
    let (cloud, server) = started(HardwareKind::Nexus, |_| {}).await;
    let address = server.address();
    client(move || {
        let session = shaken(address).unwrap();
        assert_eq!(session.auth_methods("auditor").unwrap(), "keyboard-interactive,password");
        session.userauth_password("auditor", "wrong").unwrap_err();
        session.userauth_password("nobody", "lab-auditor").unwrap_err();
        session.userauth_password("auditor", "lab-auditor").unwrap();
        let mut prompts = Answering("lab-hil");
        shaken(address).unwrap().userauth_keyboard_interactive("hil", &mut prompts).unwrap();
        let mut prompts = Answering("wrong");
        shaken(address).unwrap().userauth_keyboard_interactive("hil", &mut prompts).unwrap_err();
    })
    .await;
    cloud.edit(|w| w.console_mut("sw").unwrap().refuses_logins = true);
    client(move || {
        shaken(address).unwrap().userauth_password("auditor", "lab-auditor").unwrap_err();
    })
    .await;
    assert_eq!(server.logins(), 2);
}

struct Answering(&'static str);

impl ssh2::KeyboardInteractivePrompt for Answering {
    fn prompt<'a>(&mut self, _: &str, _: &str, prompts: &[ssh2::Prompt<'a>]) -> Vec<String> {
        prompts.iter().map(|_| self.0.to_owned()).collect()
    }
}

#[tokio::test]
async fn the_console_gives_up_after_three_tries() {
    let (_cloud, server) = started(HardwareKind::PowerConnect5500, |_| {}).await;
    let address = server.address();
    client(move || {
        let mut shell = Shell::open(address, "anybody");
        for _ in 0..3 {
            shell.until(&["User Name:"]);
            shell.send("auditor\r");
            shell.until(&["Password:"]);
            shell.send("wrong\r");
        }
        assert!(shell.rest().contains("authentication failed"));
    })
    .await;
}

#[tokio::test]
async fn a_host_key_lasts_until_it_is_changed() {
    let (cloud, server) = started(HardwareKind::N3000, |_| {}).await;
    let address = server.address();
    let check = async |line: String| {
        client(move || {
            let session = shaken(address).unwrap();
            let mut known = session.known_hosts().unwrap();
            known.read_str(line.trim_end(), KnownHostFileKind::OpenSSH).unwrap();
            let (key, _) = session.host_key().unwrap();
            known.check_port("127.0.0.1", address.port(), key)
        })
        .await
    };
    let (line, print) = (server.known_hosts(), server.fingerprint());
    assert!(matches!(check(line.clone()).await, CheckResult::Match));
    cloud.edit(|w| w.console_mut("sw").unwrap().host_key += 1);
    assert!(matches!(check(line.clone()).await, CheckResult::Mismatch));
    assert_ne!(server.fingerprint(), print);
    assert!(matches!(check(server.known_hosts()).await, CheckResult::Match));
    // The same names give the same keys in every run.
    let (_cloud, again) = started(HardwareKind::N3000, |_| {}).await;
    assert_eq!(again.fingerprint(), print);
}

#[tokio::test]
async fn openssh_agrees() {
    let mut world = World::new();
    world.add_hardware_switch("sw", HardwareKind::Nexus).unwrap();
    world.add_port("sw", "Ethernet1/1").unwrap();
    world.console_mut("sw").unwrap().methods = SshMethods::anybody();
    let lab = Lab::start(world).await.unwrap();
    let directory = tempfile::tempdir().unwrap();
    let known = directory.path().join("known_hosts");
    std::fs::write(&known, lab.known_hosts()).unwrap();
    let port = lab.console("sw").unwrap().address().port().to_string();
    let ssh = move |options: &[&str], command: Option<&str>, typed: &str| {
        let mut ssh = Command::new("ssh");
        ssh.args(["-F", "none", "-p", &port, "-o", "StrictHostKeyChecking=yes", "-o", "BatchMode=yes"])
            .arg("-o")
            .arg(format!("UserKnownHostsFile={}", known.display()))
            .args(options)
            .arg("auditor@127.0.0.1")
            .args(command);
        let spawned = ssh.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
        let mut child = match spawned {
            Err(e) if e.kind() == ErrorKind::NotFound => {
                assert!(std::env::var_os("CI").is_none(), "OpenSSH's client must be there in CI");
                return None;
            }
            spawned => spawned.unwrap(),
        };
        child.stdin.take().unwrap().write_all(typed.as_bytes()).unwrap();
        Some(child.wait_with_output().unwrap())
    };
    let ssh = std::sync::Arc::new(ssh);
    let run = async |options: &'static [&'static str], command: Option<&'static str>, typed: &'static str| {
        let ssh = std::sync::Arc::clone(&ssh);
        client(move || ssh(options, command, typed)).await
    };
    let Some(out) = run(&[], Some("show interface switchport"), "").await else {
        println!("skip: ssh is not installed");
        return;
    };
    let text = String::from_utf8(out.stdout).unwrap();
    assert!(text.starts_with("Name: Ethernet1/1\r\n  Switchport: Enabled\r\n"), "{text}{:?}", out.stderr);
    assert!(out.status.success());
    // As `ssh switch < commands` has it: everything typed at once, then the end of input.
    let out = run(&["-tt"], None, "terminal length 0\nshow vlan brief\nexit\n").await.unwrap();
    let text = String::from_utf8(out.stdout).unwrap();
    assert!(text.contains("sw# show vlan brief\r\n\r\nVLAN Name"), "{text:?}");
    lab.assert_only_reads();
    // Only what switches of that age speak: refused, unless asked for.
    lab.edit(|w| w.console_mut("sw").unwrap().old_algorithms = true);
    let out = run(&[], Some("show feature"), "").await.unwrap();
    assert!(String::from_utf8_lossy(&out.stderr).contains("no matching"), "{:?}", out.stderr);
    const OLD: &[&str] =
        &["-oKexAlgorithms=diffie-hellman-group14-sha1", "-oCiphers=aes256-cbc", "-oMACs=hmac-sha1"];
    let out = run(OLD, Some("show feature"), "").await.unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    lab.edit(|w| {
        let console = w.console_mut("sw").unwrap();
        (console.old_algorithms, console.host_key) = (false, 1);
    });
    let out = run(&[], Some("show feature"), "").await.unwrap();
    assert!(!out.status.success() && out.stdout.is_empty());
    assert!(String::from_utf8_lossy(&out.stderr).contains("HOST IDENTIFICATION HAS CHANGED"));
}

// ---- the command line

#[tokio::test]
async fn long_answers_come_in_pages() {
    for (kind, hash, question) in [
        (HardwareKind::PowerConnect5500, "sw#", "More: <space>,  Quit: q, One line: <return> "),
        (HardwareKind::N3000, "sw#", "--More-- or (q)uit"),
        (HardwareKind::Nexus, "sw# ", "--More--"),
    ] {
        for erase in [Erase::Backspaces, Erase::Spaces, Erase::Ansi] {
            let lines: Vec<String> = (0..10).map(|n| format!("line {n}\n")).collect();
            let text = lines.concat();
            let (_cloud, server) = started(kind, |world| {
                let console = world.console_mut("sw").unwrap();
                (console.page, console.erase) = (Some(4), erase);
                console.answers.insert("show long".into(), text.clone());
            })
            .await;
            let address = server.address();
            client(move || {
                let mut shell = Shell::ready(kind, address, "auditor");
                let line = |n: usize| lines[n].replace('\n', "\r\n");
                let n = question.len();
                let gone = match erase {
                    Erase::Backspaces => {
                        format!("{}{}{}", "\x08".repeat(n), " ".repeat(n), "\x08".repeat(n))
                    }
                    Erase::Spaces => format!("\r{}\r", " ".repeat(n)),
                    Erase::Ansi => "\r\x1b[K".to_owned(),
                };
                // Three lines, the question; one line more; a page more; no more.
                shell.send("show long\r");
                let first: String = (0..3).map(line).collect();
                assert!(shell.until(&[question]).ends_with(&format!("show long\r\n{first}{question}")));
                shell.send("\r");
                assert_eq!(shell.until(&[question]), format!("{gone}{}{question}", line(3)));
                shell.send(" ");
                let page: String = (4..8).map(line).collect();
                assert_eq!(shell.until(&[question]), format!("{gone}{page}{question}"));
                shell.send("q");
                assert_eq!(shell.until(&[hash]), format!("{gone}{hash}"));
                // Off: all of it at once.
                let off = if kind == HardwareKind::PowerConnect5500 {
                    "terminal datadump"
                } else {
                    "terminal length 0"
                };
                shell.ask(off, hash);
                assert_eq!(shell.ask("show long", hash), text.replace('\n', "\r\n"));
            })
            .await;
        }
    }
}

#[tokio::test]
async fn nonsense_is_answered_in_the_vendors_words() {
    for (kind, hash, answers) in [
        (
            HardwareKind::PowerConnect5500,
            "sw#",
            [
                ("show bogus", "% Unrecognized command\r\n"),
                ("show interfaces", "% Incomplete command\r\n"),
                ("show v", "% Ambiguous command\r\n"),
            ],
        ),
        (
            HardwareKind::N3000,
            "sw#",
            [
                ("show bogus", "        ^\r\n% Invalid input detected at `^' marker.\r\n\r\n"),
                ("show interfaces", "                  ^\r\n% Incomplete command.\r\n\r\n"),
                ("show v", "        ^\r\n% Ambiguous command.\r\n\r\n"),
            ],
        ),
        (
            HardwareKind::Nexus,
            "sw# ",
            [
                ("show bogus", "         ^\r\n% Invalid command at '^' marker.\r\n"),
                ("show interface", "                  ^\r\n% Incomplete command at '^' marker.\r\n"),
                ("show v", "         ^\r\n% Ambiguous command at '^' marker.\r\n"),
            ],
        ),
    ] {
        let (cloud, server) = started(kind, |world| {
            world.console_mut("sw").unwrap().unknown = vec!["show vlan".into()];
        })
        .await;
        let address = server.address();
        client(move || {
            let mut shell = Shell::ready(kind, address, "auditor");
            for (typed, answer) in answers {
                assert_eq!(shell.ask(typed, hash), answer, "{typed}");
            }
            // A firmware without the command, and a line that was corrected before it was sent.
            assert!(shell.ask("show vlan", hash).contains('%'));
            shell.send("show bogux\x7fs\r");
            assert!(shell.until(&[hash]).starts_with("show bogux\x08 \x08s\r\n"));
        })
        .await;
        assert_eq!(cloud.commands().last().unwrap().what, "show bogus");
        cloud.assert_only_reads();
    }
}

#[tokio::test]
async fn what_writes_is_recorded_and_carried_out_for_those_who_may() {
    for kind in CONSOLES {
        let (cloud, server) = started(kind, |_| {}).await;
        let address = server.address();
        let port = kind.native_port(None, &kind.hil_port(2));
        for user in ["auditor", "hil"] {
            let name = port.clone();
            client(move || {
                let mut shell = Shell::ready(kind, address, user);
                shell.send("conf\r");
                shell.until(if user == "hil" { &["(config)#"] } else { &["sw#"] });
                for line in [&format!("int {name}"), "sw mode trunk", "sw trunk allowed vlan add 9"] {
                    shell.send(&format!("{line}\r"));
                    shell.until(&["#"]);
                }
                if user == "hil" {
                    for line in ["exit", "exit", "copy running-config startup-config"] {
                        shell.send(&format!("{line}\r"));
                        shell.until(&["#"]);
                    }
                }
            })
            .await;
            let written: Vec<String> =
                cloud.commands().into_iter().filter(|c| c.write).map(|c| c.what).collect();
            assert_eq!(written[0], "conf");
            assert!(written.contains(&"sw mode trunk".to_owned()));
            let mode = cloud.read(|w| w.hardware("sw").unwrap().port(&port).unwrap().mode);
            assert_eq!(mode == isoledger_lab::PortMode::Trunk, user == "hil", "{kind:?} {user}");
            cloud.clear_commands();
        }
        assert!(cloud.read(|w| w.hardware("sw").unwrap().startup().is_some()), "{kind:?}");
    }
}

#[tokio::test]
async fn a_power_cut_ends_every_session() {
    let (cloud, server) = started(HardwareKind::Nexus, |_| {}).await;
    let address = server.address();
    let mut shell = client(move || Shell::ready(HardwareKind::Nexus, address, "auditor")).await;
    cloud.edit(|w| w.restart(Service::Console("sw".into())));
    client(move || assert_eq!(shell.rest().trim(), "")).await;
}

// ---- what the switch is configured to do

/// The answer of one command to one configuration.
async fn answer(kind: HardwareKind, command: &'static str, change: impl FnOnce(&mut Hardware)) -> String {
    let (cloud, server) = started(kind, |world| {
        world.console_mut("sw").unwrap().page = None;
        change(configured(world));
    })
    .await;
    let address = server.address();
    let hash = if kind == HardwareKind::Nexus { "sw# " } else { "sw#" };
    let text = client(move || Shell::ready(kind, address, "auditor").ask(command, hash)).await;
    cloud.assert_only_reads();
    text.replace("\r\n", "\n")
}

fn mixed(hardware: &mut Hardware) {
    let [one, two, three] = [1, 2, 3].map(|n| hardware.kind.native_port(None, &hardware.kind.hil_port(n)));
    for vlan in [10, 1511, 1600] {
        hardware.add_vlan(vlan);
    }
    hardware.port_mut(&one).unwrap().set_access(10);
    let list = VlanList::List(VlanRanges::parse("1511-1512,1600").unwrap());
    hardware.port_mut(&two).unwrap().set_trunk(Some(1511), list);
    hardware.port_mut(&three).unwrap().set_trunk(None, VlanList::None).admin_down = true;
    hardware.add_span(SpanSession {
        id: 1,
        source_ports: vec![one],
        destination: Some(three),
        ..SpanSession::default()
    });
}

#[tokio::test]
async fn powerconnect_shows_inactive_vlans_and_no_native() {
    let kind = HardwareKind::PowerConnect5500;
    let text = answer(kind, "show interfaces switchport", mixed).await;
    let records: Vec<&str> = text.split("Name: ").skip(1).collect();
    assert_eq!(records.len(), 3);
    assert!(records[0].starts_with(
        "gi1/0/1\nSwitchport: enable\nAdministrative Mode: access\nOperational Mode: up\nAccess Mode VLAN: 10\n"
    ));
    assert!(records[1].contains(&format!(
        "\nTrunking Native Mode VLAN: 1511\nTrunking VLANs Enabled: 1511,1600\n{:24}1512 (Inactive)\n",
        ""
    )));
    assert!(records[2].contains("\nTrunking Native Mode VLAN: none\nTrunking VLANs Enabled: none\n"));
    assert!(records[2].contains("\nOperational Mode: down\n"));
    assert!(records.iter().all(|r| r.trim_end().ends_with("Classification rules:")));
    // What HIL sends, and the keys of older firmware.
    let text = answer(kind, "show int sw gi1/0/2", |h| {
        mixed(h);
        h.firmware = "3.0.0.1".into();
    })
    .await;
    assert!(text.starts_with("Name: gi1/0/2\n"));
    assert!(text.contains("\nTrunking Mode Native VLAN: 1511\nTrunking Mode VLANs Enabled: 1511,1600\n"));
    let text = answer(kind, "show interfaces configuration", mixed).await;
    let state = |n: usize| text.lines().nth(2 + n).unwrap().split_whitespace().nth(6).unwrap();
    assert_eq!([state(1), state(2), state(3)], ["Up", "Up", "Down"]);
    let text = answer(kind, "show ports monitor", mixed).await;
    assert!(text.ends_with("gi1/0/1      gi1/0/3           RX,TX        active\n"), "{text}");
}

#[tokio::test]
async fn n3000_shows_membership_untagged_first() {
    let kind = HardwareKind::N3000;
    let text = answer(kind, "show interfaces switchport", |h| {
        mixed(h);
        let scattered: VlanRanges = (1..60).map(|n| n * 2).collect();
        let general = h.port_mut("Gi1/0/3").unwrap().set_general(Some(7), scattered).general_mut();
        general.ingress_filtering = false;
    })
    .await;
    let records: Vec<&str> = text.split("Port: ").skip(1).collect();
    assert!(records[0].starts_with("Gi1/0/1\nVLAN Membership Mode: Access Mode\nMember of VLANs : (10)\n"));
    assert!(records[0].contains("\nTrunking Mode Native VLAN: 1 (default)\n"));
    assert!(records[0].contains("\nTrunking Mode VLANs Enabled: All\n"));
    assert!(records[1].contains("\nMember of VLANs : (1511),1512,1600\n"), "{}", records[1]);
    assert!(records[2].contains("\nGeneral Mode Ingress Filtering: Disabled\n"));
    assert!(records[2].contains("\nMember of VLANs : (7),2,4,6,8,"), "{}", records[2]);
    let wrapped: String = records[2]
        .split("General Mode Tagged VLANs: ")
        .nth(1)
        .unwrap()
        .split("General Mode Forbidden")
        .next()
        .unwrap()
        .split('\n')
        .map(str::trim)
        .collect();
    assert_eq!(VlanRanges::parse(&wrapped).unwrap().iter().count(), 59);
    let text = answer(kind, "show monitor session 1", mixed).await;
    assert!(text.contains("1       Enabled  Gi1/0/3         Gi1/0/1    Rx,Tx\n"), "{text}");
}

#[tokio::test]
async fn nexus_says_when_a_vlan_was_never_created() {
    let kind = HardwareKind::Nexus;
    let text = answer(kind, "show interface switchport", |h| {
        mixed(h);
        h.port_mut("Ethernet1/2").unwrap().native = Some(2222);
    })
    .await;
    let records: Vec<&str> = text.split("Name: ").skip(1).collect();
    assert!(records[0].contains("\n  Operational Mode: access\n  Access Mode VLAN: 10 (VLAN0010)\n"));
    assert!(records[0].contains("\n  Trunking VLANs Allowed: 1-4094\n"));
    assert!(records[1].contains(
        "\n  Trunking Native Mode VLAN: 2222 (Vlan not created)\n  Trunking VLANs Allowed: 1511-1512,1600\n"
    ));
    assert!(records[2].contains("\n  Switchport Monitor: Enabled\n"));
    assert!(records[2].contains("\n  Operational Mode: down\n"));
    assert!(records[2].contains("\n  Trunking VLANs Allowed: none\n"));
    let text = answer(kind, "show monitor session all", |_| {}).await;
    assert_eq!(text, "Note: No sessions configured\n");
    let text = answer(kind, "show port-channel summary", |h| {
        h.add_aggregate(7, &["Ethernet1/1", "Ethernet1/2"]).unwrap();
    })
    .await;
    assert!(text.contains("7     Po7(SU)     Eth      LACP      Eth1/1(P)    Eth1/2(P)\n"), "{text}");
}

#[tokio::test]
async fn a_description_may_look_like_the_prompt() {
    for (kind, command, prompt) in [
        (HardwareKind::PowerConnect5500, "show interfaces description", "sw#"),
        (HardwareKind::N3000, "show interfaces description", "sw#"),
        (HardwareKind::Nexus, "show interface description", "sw# "),
    ] {
        let (_cloud, server) = started(kind, |world| {
            let port = kind.native_port(None, &kind.hil_port(2));
            // No switch takes a line feed; a terminal that wraps its lines makes the same of a long one.
            configured(world).port_mut(&port).unwrap().description = format!("\n{prompt}");
        })
        .await;
        let address = server.address();
        let (first, second) = client(move || {
            let mut shell = Shell::ready(kind, address, "auditor");
            (shell.ask(command, prompt), shell.until(&[prompt]))
        })
        .await;
        assert!(!first.contains("/3 ") && second.contains("/3 "), "{kind:?}: {first:?} {second:?}");
    }
}

// ---- failing on the wire

#[tokio::test]
async fn the_text_of_the_terminal_may_fail_in_every_way() {
    let whole = answer(HardwareKind::Nexus, "show vlan brief", |_| {}).await.replace('\n', "\r\n");
    // From the moment the command has arrived: the echo is whole, the answer is not.
    let with = async |fault: Fault| {
        let (cloud, server) = started(HardwareKind::Nexus, |_| {}).await;
        let (address, terminal) = (server.address(), Service::Terminal("sw".into()));
        cloud.on(Service::Console("sw".into()), When::Asks("show vlan".into()), move |w| {
            w.set_fault(terminal, fault);
        });
        let shell = client(move || {
            let mut shell = Shell::ready(HardwareKind::Nexus, address, "auditor");
            shell.send("show vlan brief\r");
            shell.until(&["show vlan brief\r\n"]);
            shell
        })
        .await;
        (cloud, server, shell)
    };
    let (_c, _s, mut shell) = with(Fault::Trickle(Duration::ZERO)).await;
    assert_eq!(client(move || shell.until(&["sw# "])).await, format!("{whole}sw# "));
    let (_c, _s, mut shell) = with(Fault::Delay(Duration::from_millis(20))).await;
    assert_eq!(client(move || shell.until(&["sw# "])).await, format!("{whole}sw# "));
    let (_c, _s, mut shell) = with(Fault::Cut { after: 40 }).await;
    assert_eq!(client(move || shell.rest()).await, whole[..40]);
    let (cloud, _s, mut shell) = with(Fault::HalfClose { after: 40 }).await;
    let mut shell = client(move || {
        assert_eq!(shell.rest(), whole[..40]);
        assert!(shell.channel.eof());
        // The other half still takes what we type.
        shell.send("exit\r");
        shell
    })
    .await;
    cloud.edit(|w| w.clear_fault(&Service::Terminal("sw".into())));
    client(move || shell.channel.wait_close().unwrap()).await;
    let garbage = b"\x00\xff\x1b[2Jsw".to_vec();
    let (_c, _s, mut shell) = with(Fault::Garbage(garbage.clone())).await;
    client(move || {
        while shell.heard.len() < garbage.len() {
            let mut chunk = [0; 64];
            let n = shell.channel.read(&mut chunk).unwrap();
            assert!(n > 0, "the channel ended");
            shell.heard.extend_from_slice(&chunk[..n]);
        }
        assert_eq!(shell.heard, garbage);
        shell.is_quiet();
    })
    .await;
    let (cloud, _s, mut shell) = with(Fault::Silent).await;
    let mut shell = client(move || {
        shell.is_quiet();
        shell
    })
    .await;
    cloud.edit(|w| w.clear_fault(&Service::Terminal("sw".into())));
    client(move || assert_eq!(shell.rest(), "")).await;
}

#[tokio::test]
async fn ten_megabytes_before_the_prompt() {
    let (_cloud, server) = started(HardwareKind::N3000, |world| {
        world.console_mut("sw").unwrap().notices = 10 << 20;
    })
    .await;
    let address = server.address();
    let heard = client(move || {
        let mut shell = Shell::open(address, "auditor");
        shell.until(&["sw>"]);
        shell.send("show version\rexit\r");
        shell.rest().len()
    })
    .await;
    assert!(heard >= 10 << 20, "{heard}");
}

#[tokio::test]
async fn the_bytes_of_the_connection_may_fail_too() {
    let (cloud, server) = started(HardwareKind::Nexus, |_| {}).await;
    let (address, service) = (server.address(), Service::Console("sw".into()));
    for fault in [Fault::Garbage(b"\x00\xffnot SSH\n".repeat(64)), Fault::Cut { after: 12 }] {
        cloud.edit(|w| w.set_fault(service.clone(), fault.clone()));
        let failed = client(move || shaken(address).is_err()).await;
        assert!(failed, "{fault:?}");
    }
    cloud.edit(|w| w.set_fault(service.clone(), Fault::Silent));
    let heard = client(move || {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(QUIET)).unwrap();
        stream.read(&mut [0])
    })
    .await;
    assert!(heard.is_err(), "{heard:?}");
    cloud.edit(|w| w.set_fault(service.clone(), Fault::Trickle(Duration::ZERO)));
    client(move || {
        Shell::ready(HardwareKind::Nexus, address, "auditor");
    })
    .await;
    cloud.edit(|w| w.set_fault(service.clone(), Fault::Refuse));
    client(move || while TcpStream::connect(address).is_ok() {}).await;
    cloud.edit(|w| w.clear_fault(&service));
    client(move || while TcpStream::connect(address).is_err() {}).await;
    client(move || {
        Shell::ready(HardwareKind::Nexus, address, "auditor");
    })
    .await;
}

#[tokio::test]
async fn many_switches_each_with_its_own_key() {
    let mut world = World::new();
    for n in 0..100 {
        world.add_hardware_switch(&format!("sw{n}"), CONSOLES[n % 3]).unwrap();
    }
    let lab = Lab::start(world).await.unwrap();
    let keys: std::collections::BTreeSet<String> =
        (0..100).map(|n| lab.console(&format!("sw{n}")).unwrap().fingerprint()).collect();
    assert_eq!(keys.len(), 100);
    assert_eq!(lab.known_hosts().lines().count(), 100);
    assert_eq!(Console::of(HardwareKind::Vdx).page, Some(24));
}
