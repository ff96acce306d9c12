//! Every dialect of hardware switches against the lab's emulator of it, which was written from the specifications and
//! shares no code with the reader.
#![allow(clippy::unwrap_used)]

use isoledger_collectors::dialect::Dialect;
use isoledger_collectors::net::{SshLogin, SshSession, SshTarget};
use isoledger_collectors::{Reading, SwitchReader};
use isoledger_core::model::{Failure, Observed, PortReading};
use isoledger_core::vlan::VlanSet;
use isoledger_lab::{
    Fault, HardwareAddresses, HardwareKind, HwPort, Lab, PortMode, Privilege, Recorded, Service, VlanList,
    VlanRanges, World,
};
use isoledger_tests::hardware::{at_most, carried, dialect, observed_name, read, reader};
use isoledger_tests::openssh::OpenSsh;
use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::{Config, RngSeed, TestRunner};
use std::time::{Duration, Instant};
use tempfile::TempDir;

const PATIENCE: Duration = Duration::from_secs(30);

/// A lab with one switch of each kind, and a reader for each.
struct Bench {
    lab: Lab,
    files: TempDir,
}

impl Bench {
    async fn new() -> Bench {
        Bench::of(World::mixed()).await
    }

    async fn of(world: World) -> Bench {
        let lab = Lab::start(world).await.unwrap();
        let files = tempfile::tempdir().unwrap();
        std::fs::write(files.path().join("known_hosts"), lab.known_hosts()).unwrap();
        Bench { lab, files }
    }

    fn at(&self, kind: HardwareKind) -> HardwareAddresses {
        self.lab.hardware().into_iter().find(|h| h.kind == kind).unwrap()
    }

    fn reader(&self, kind: HardwareKind) -> Box<dyn SwitchReader> {
        reader(&self.at(kind), &self.files.path().join("known_hosts"))
    }

    async fn reading(&self, kind: HardwareKind) -> Reading<Observed> {
        read(&mut *self.reader(kind), PATIENCE).await
    }
}

fn whole(kind: HardwareKind, reading: Reading<Observed>) -> Observed {
    let observed = reading.outcome.unwrap_or_else(|e| panic!("{kind:?}: {e}"));
    assert!(observed.anomalies.is_empty(), "{kind:?}: {:?}", observed.anomalies);
    observed
}

/// Whether a command of the lab's list is one that the dialect says it sends.
fn is_declared(dialect: &Dialect, what: &str) -> bool {
    // The lab lists the body of an OS 9 command without its tags.
    let what = match what.split_once(" show ") {
        Some((post, show)) if post.starts_with("POST ") => {
            &format!("{post} <input><show-command>{show}</show-command></input>")
        }
        _ => what,
    };
    dialect.sends.iter().any(|sends| {
        let parts: Vec<&str> = sends.split(['{', '}']).step_by(2).collect();
        let [first, middle @ .., last] = parts.as_slice() else { return *sends == what };
        let Some(rest) = what.strip_prefix(first).and_then(|rest| rest.strip_suffix(last)) else {
            return false;
        };
        let mut rest = rest;
        middle.iter().all(|part| match rest.split_once(part) {
            Some((_, behind)) => {
                rest = behind;
                true
            }
            None => false,
        })
    })
}

fn assert_only_declared(lab: &Lab) {
    lab.assert_only_reads();
    let all = lab.hardware();
    let mut seen = 0;
    for Recorded { source, what, .. } in lab.commands() {
        let Some((_, name)) =
            source.split_once(':').filter(|(s, _)| ["rest", "console", "terminal"].contains(s))
        else {
            continue;
        };
        let kind = all.iter().find(|h| h.hardware == name).unwrap().kind;
        assert!(
            is_declared(dialect(kind), &what),
            "{source} was sent {what:?}, which {kind:?} does not declare"
        );
        seen += 1;
    }
    assert!(seen > 0, "nothing reached a switch");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mixed_world_is_read_as_it_is() {
    let bench = Bench::new().await;
    for kind in HardwareKind::ALL {
        let observed = whole(kind, bench.reading(kind).await);
        let name = bench.at(kind).hardware;
        bench.lab.read(|world| {
            let hardware = world.hardware(&name).unwrap();
            assert!(!hardware.config().ports.is_empty());
            for port in &hardware.config().ports {
                let own = observed_name(kind, &port.name);
                let Some(PortReading::Read(state)) = observed.ports.get(&own) else {
                    panic!("{kind:?} {own}: {:?} of {:?}", observed.ports.get(&own), observed.ports.keys());
                };
                let (untagged, tagged) = carried(hardware, &port.name);
                assert_eq!(state.admin_down, Some(port.admin_down), "{kind:?} {own}");
                if port.admin_down {
                    continue;
                }
                let found = state.untagged.map(VlanSet::one).unwrap_or_default();
                assert_eq!((found, state.tagged.clone()), (untagged, tagged), "{kind:?} {own}");
            }
        });
        // An unchanged switch gives unchanged evidence.
        let (a, b) = (bench.reading(kind).await, bench.reading(kind).await);
        assert_eq!(a.evidence.to_bytes(), b.evidence.to_bytes(), "{kind:?}");
        assert!(a.evidence.identity.is_some() || !kind.is_console(), "{kind:?} shows no identity");
    }
    assert_only_declared(&bench.lab);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_is_kept_between_readings() {
    let bench = Bench::new().await;
    for kind in HardwareKind::ALL.into_iter().filter(|k| k.is_console()) {
        let name = bench.at(kind).hardware;
        let mut reader = bench.reader(kind);
        for _ in 0..3 {
            whole(kind, read(&mut *reader, PATIENCE).await);
        }
        assert_eq!(bench.lab.console(&name).unwrap().logins(), 1, "{kind:?}");
        // Hung up on in between: worth one new login.
        bench.lab.edit(|world| world.restart(Service::Console(name.clone())));
        whole(kind, read(&mut *reader, PATIENCE).await);
        assert_eq!(bench.lab.console(&name).unwrap().logins(), 2, "{kind:?}");
    }
}

// ---- whatever a port is configured to do ----------------------------------------------------------------------------

const CREATED: [u16; 7] = [1, 100, 101, 102, 1511, 1512, 1600];

fn a_vlan() -> impl Strategy<Value = u16> {
    prop::sample::select(CREATED.to_vec())
}

fn some_vlans() -> impl Strategy<Value = VlanRanges> {
    prop::sample::subsequence(CREATED.to_vec(), 0..=CREATED.len()).prop_map(VlanRanges::from_iter)
}

fn a_list() -> impl Strategy<Value = VlanList> {
    prop_oneof![
        1 => Just(VlanList::All),
        1 => Just(VlanList::None),
        4 => some_vlans().prop_map(VlanList::List),
        1 => some_vlans().prop_map(VlanList::Except),
    ]
}

/// Changes to one port that an administrator may type.
fn a_change() -> impl Strategy<Value = HwPort> {
    (
        prop::sample::select(vec![PortMode::Access, PortMode::Trunk, PortMode::General]),
        a_vlan(),
        prop::option::weighted(0.8, a_vlan()),
        a_list(),
        (prop::option::weighted(0.8, a_vlan()), some_vlans()),
        prop::bool::weighted(0.2),
        prop::bool::weighted(0.3),
        prop::sample::select(vec!["", "uplink: core#1", "dell-0#", "Name: gi1/0/9"]),
    )
        .prop_map(|(mode, access, native, allowed, (untagged, tagged), down, link_down, text)| {
            let mut port = HwPort::default();
            port.set_general(untagged, tagged);
            (port.mode, port.access_vlan, port.native, port.allowed) = (mode, access, native, allowed);
            (port.admin_down, port.link_up, port.description) = (down, !link_down, text.to_owned());
            port
        })
}

fn apply(kind: HardwareKind, port: &mut HwPort, change: &HwPort) {
    let HwPort { admin_down, link_up, description, mode, access_vlan, native, allowed, general, .. } =
        change.clone();
    // The VDX has no such mode, and the OS 9 box no other.
    let mode = match (kind, mode) {
        (HardwareKind::Vdx | HardwareKind::Nexus, PortMode::General) => PortMode::Trunk,
        (HardwareKind::Os9, _) => PortMode::General,
        (_, mode) => mode,
    };
    (port.admin_down, port.link_up, port.description, port.mode) = (admin_down, link_up, description, mode);
    (port.access_vlan, port.native, port.allowed, port.general) = (access_vlan, native, allowed, general);
    // These always have one; VLAN 1 stands for none.
    if matches!(kind, HardwareKind::Vdx | HardwareKind::Nexus) && native.is_none() {
        port.native = Some(1);
    }
}

/// For every configuration the reader names all VLANs that the port carries, and names no others unless it says that it
/// does not understand the port.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_a_port_is_configured_to_do_is_read() {
    const ROUNDS: usize = 40;
    let bench = Bench::new().await;
    let seed = RngSeed::Fixed(20_260_302);
    let mut runner = TestRunner::new(Config { rng_seed: seed, ..Config::default() });
    for kind in HardwareKind::ALL {
        let name = bench.at(kind).hardware;
        bench.lab.edit(|world| {
            let hardware = world.hardware_mut(&name).unwrap();
            for vlan in CREATED {
                hardware.add_vlan(vlan);
            }
        });
        let ports: Vec<String> = bench.lab.read(|world| {
            world.hardware(&name).unwrap().config().ports.iter().map(|p| p.name.clone()).collect()
        });
        let mut reader = bench.reader(kind);
        let (mut understood, mut of) = (0, 0);
        for round in 0..ROUNDS {
            bench.lab.edit(|world| {
                let hardware = world.hardware_mut(&name).unwrap();
                for port in &ports {
                    let change = a_change().new_tree(&mut runner).unwrap().current();
                    apply(kind, hardware.port_mut(port).unwrap(), &change);
                }
            });
            let reading = read(&mut *reader, PATIENCE).await;
            let observed = reading.outcome.unwrap_or_else(|e| panic!("{kind:?} round {round}: {e}"));
            bench.lab.read(|world| {
                let hardware = world.hardware(&name).unwrap();
                for port in &ports {
                    let own = observed_name(kind, port);
                    let what = format!("{kind:?} round {round} {:?}", hardware.port(port).unwrap());
                    let found = observed.ports.get(&own).unwrap_or_else(|| panic!("{what}: not listed"));
                    let (untagged, tagged) = carried(hardware, port);
                    let all = untagged.union(&tagged);
                    of += 1;
                    match found {
                        PortReading::Read(s) if s.admin_down == Some(true) => {
                            assert!(hardware.port(port).unwrap().admin_down, "{what}: not down");
                            understood += 1;
                        }
                        PortReading::Read(s) => {
                            let own = s.untagged.map(VlanSet::one).unwrap_or_default();
                            assert_eq!((own, &s.tagged), (untagged, &tagged), "{what}");
                            understood += 1;
                        }
                        PortReading::Unreadable { might_carry, why } => {
                            let lost = all.difference(might_carry);
                            assert!(lost.is_empty(), "{what}: {lost} is lost, {why}");
                        }
                    }
                }
            });
        }
        assert!(understood * 10 >= of * 6, "{kind:?}: only {understood} of {of} ports were understood");
    }
    assert_only_declared(&bench.lab);
}

// ---- ways to misbehave ----------------------------------------------------------------------------------------------

/// The service of a switch in whose answers faults can be put.
fn services(kind: HardwareKind, name: &str) -> Vec<Service> {
    match kind.is_console() {
        true => vec![Service::Console(name.to_owned()), Service::Terminal(name.to_owned())],
        false => vec![Service::Rest(name.to_owned())],
    }
}

/// What a fault makes of a reading: the same as without it, or a failure in time; never something less.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_source_that_misbehaves_fails_alone_and_in_time() {
    let bench = Bench::new().await;
    let patience = Duration::from_millis(1500);
    for kind in HardwareKind::ALL {
        let name = bench.at(kind).hardware;
        let good = whole(kind, bench.reading(kind).await);
        // Somebody else, who must not notice.
        let other = HardwareKind::ALL.into_iter().find(|k| *k != kind).unwrap();
        for service in services(kind, &name) {
            let mut faults = vec![
                Fault::Refuse,
                Fault::Unaccepted,
                Fault::Silent,
                Fault::Delay(Duration::from_secs(60)),
                Fault::Trickle(Duration::from_secs(1)),
                Fault::Garbage(b"\x00\xff\xfeHTTP/9.9 everything is fine\r\n# > login:\n".to_vec()),
                Fault::Garbage(vec![b'A'; 1 << 20]),
            ];
            for after in [0, 1, 7, 40, 150, 700, 2500] {
                faults.push(Fault::HalfClose { after });
                faults.push(Fault::Cut { after });
            }
            for fault in faults {
                bench.lab.edit(|world| world.set_fault(service.clone(), fault.clone()));
                let begun = Instant::now();
                let (mut reader, mut neighbour) = (bench.reader(kind), bench.reader(other));
                let (reading, beside) =
                    tokio::join!(read(&mut *reader, patience), read(&mut *neighbour, PATIENCE));
                let what = format!("{kind:?} {service} {fault:?}");
                assert!(begun.elapsed() < PATIENCE, "{what}: {:?}", begun.elapsed());
                whole(other, beside);
                match reading.outcome {
                    Err(e) => {
                        let known = matches!(e.kind, Failure::Silent | Failure::Unreadable);
                        assert!(known && e.sentence.len() > 20, "{what}: {e:?}");
                    }
                    Ok(observed) => {
                        let less = good.ports.iter().find(|(name, was)| {
                            let now = observed.ports.get(*name).map(at_most).unwrap_or_default();
                            !at_most(was).difference(&now).is_empty()
                        });
                        let said = !observed.anomalies.is_empty();
                        assert!(said || less.is_none(), "{what}: {less:?} carries less, and nothing says so");
                    }
                }
                bench.lab.edit(|world| world.clear_fault(&service));
            }
            assert_eq!(whole(kind, bench.reading(kind).await), good, "{kind:?}: well again");
        }
    }
    assert_only_declared(&bench.lab);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slow_output_reads_the_same_as_fast() {
    let bench = Bench::new().await;
    for kind in HardwareKind::ALL {
        let name = bench.at(kind).hardware;
        let fast = bench.reading(kind).await;
        for service in services(kind, &name) {
            bench
                .lab
                .edit(|world| world.set_fault(service.clone(), Fault::Trickle(Duration::from_micros(1))));
            let slow = read(&mut *bench.reader(kind), Duration::from_secs(120)).await;
            assert_eq!(slow.evidence, fast.evidence, "{kind:?} {service}");
            bench.lab.edit(|world| world.clear_fault(&service));
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn command_lines_of_every_manner_read_the_same() {
    let bench = Bench::new().await;
    for kind in HardwareKind::ALL.into_iter().filter(|k| k.is_console()) {
        let name = bench.at(kind).hardware;
        let good = whole(kind, bench.reading(kind).await);
        let usual = bench.lab.read(|world| world.console(&name).unwrap());
        type Change = fn(&mut isoledger_lab::Console);
        let manners: [(&str, Change); 8] = [
            ("no pager", |c| c.page = None),
            ("a page of five lines", |c| c.page = Some(5)),
            ("a pager that cannot be turned off", |c| {
                c.page = Some(7);
                c.unknown.push("terminal".into());
            }),
            ("a banner that looks like a prompt", |c| c.banner = Some("switch# \nswitch>\n".into())),
            ("a banner that looks like a question", |c| c.banner = Some("Password:\nUser Name:\n".into())),
            ("a banner before SSH", |c| c.ssh_banner = Some("Authorised use only\nPassword: \n".into())),
            ("a greeting", |c| c.greeting = Some("Welcome to sw1#\n".into())),
            ("rights from the start", |c| c.privilege = Privilege::All),
        ];
        for (what, change) in manners {
            bench.lab.edit(|world| change(world.console_mut(&name).unwrap()));
            let found = whole(kind, bench.reading(kind).await);
            assert_eq!(found, good, "{kind:?}: {what}");
            bench.lab.edit(|world| *world.console_mut(&name).unwrap() = usual.clone());
        }
    }
    assert_only_declared(&bench.lab);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn descriptions_that_look_like_prompts_change_nothing() {
    let bench = Bench::new().await;
    for kind in HardwareKind::ALL {
        let name = bench.at(kind).hardware;
        let good = whole(kind, bench.reading(kind).await);
        let hostname = bench.lab.read(|world| world.hardware(&name).unwrap().config().hostname.clone());
        for text in [
            format!("{hostname}#"),
            format!("{hostname}>"),
            "More: <space>,  Quit: q, One line: <return>".to_owned(),
            "--More-- or (q)uit".to_owned(),
            "Password:".to_owned(),
            "<shutdown>true</shutdown>".to_owned(),
            "Name: gi1/0/99".to_owned(),
        ] {
            bench.lab.edit(|world| {
                for port in &mut world.hardware_mut(&name).unwrap().config_mut().ports {
                    port.description.clone_from(&text);
                }
            });
            // A description that holds a pager's text may make an answer doubtful; it must not make it less.
            match bench.reading(kind).await.outcome {
                Ok(observed) => {
                    for (port, was) in &good.ports {
                        let now = observed.ports.get(port).map(at_most).unwrap_or_default();
                        let lost = at_most(was).difference(&now);
                        assert!(
                            lost.is_empty() || !observed.anomalies.is_empty(),
                            "{kind:?} {text:?} {port}: {lost}"
                        );
                    }
                    assert!(observed.ports.len() >= good.ports.len(), "{kind:?} {text:?}");
                }
                Err(e) => assert_eq!(e.kind, Failure::Unreadable, "{kind:?} {text:?}: {e}"),
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_host_key_refused_logins_and_endless_output_are_told_apart() {
    let bench = Bench::new().await;
    for kind in HardwareKind::ALL.into_iter().filter(|k| k.is_console()) {
        let name = bench.at(kind).hardware;
        let usual = bench.lab.read(|world| world.console(&name).unwrap());
        let with = |change: fn(&mut isoledger_lab::Console)| {
            bench.lab.edit(|world| change(world.console_mut(&name).unwrap()));
        };
        with(|c| c.host_key += 1);
        let e = bench.reading(kind).await.outcome.unwrap_err();
        assert_eq!(e.kind, Failure::SourceChanged, "{kind:?}: {e}");
        assert!(e.sentence.contains("SHA256:"), "{kind:?}: {e}");
        bench.lab.edit(|world| *world.console_mut(&name).unwrap() = usual.clone());

        with(|c| c.refuses_logins = true);
        let e = bench.reading(kind).await.outcome.unwrap_err();
        let secret = bench.at(kind).credentials.unwrap().password;
        assert!(e.kind == Failure::Unreadable && !e.sentence.contains(&secret), "{kind:?}: {e:?}");
        bench.lab.edit(|world| *world.console_mut(&name).unwrap() = usual.clone());

        with(|c| c.notices = 10 << 20);
        let e = bench.reading(kind).await.outcome.unwrap_err();
        assert_eq!(e.kind, Failure::Unreadable, "{kind:?}: {e}");
        bench.lab.edit(|world| *world.console_mut(&name).unwrap() = usual.clone());
        whole(kind, bench.reading(kind).await);
    }
    assert_only_declared(&bench.lab);
}

/// Each command that a firmware does not have may cost classes or ports, and is never taken for "nothing there".
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_command_that_is_not_there_makes_nothing_cleaner() {
    let bench = Bench::new().await;
    for kind in HardwareKind::ALL.into_iter().filter(|k| k.is_console()) {
        let name = bench.at(kind).hardware;
        let good = whole(kind, bench.reading(kind).await);
        for command in dialect(kind).sends.iter().filter(|c| c.starts_with("show")) {
            bench.lab.edit(|w| w.console_mut(&name).unwrap().unknown = vec![(*command).to_owned()]);
            if let Ok(observed) = bench.reading(kind).await.outcome {
                let said = !observed.anomalies.is_empty();
                for (port, was) in &good.ports {
                    let now = observed.ports.get(port).map(at_most).unwrap_or_default();
                    let lost = at_most(was).difference(&now);
                    assert!(said || lost.is_empty(), "{kind:?} without {command:?}, {port}: {lost}");
                }
                for (class, now) in &observed.bypasses {
                    use isoledger_core::model::BypassReading::Clean;
                    let cleaner = *now == Clean && good.bypasses.get(class) != Some(&Clean);
                    assert!(!cleaner, "{kind:?} without {command:?}: {class} became clean");
                }
            }
        }
        bench.lab.edit(|w| w.console_mut(&name).unwrap().unknown.clear());
    }
}

/// Switches of ten years ago speak nothing newer; OpenSSH, told to speak nothing newer either, stands for them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn old_algorithms_are_spoken_where_they_are_admitted() {
    for old in [
        "KexAlgorithms diffie-hellman-group14-sha1\nCiphers aes256-cbc,aes128-cbc\nMACs hmac-sha1\n\
         HostKeyAlgorithms ssh-rsa\n",
        "KexAlgorithms diffie-hellman-group1-sha1\nCiphers 3des-cbc\nMACs hmac-sha1\n",
        "KexAlgorithms diffie-hellman-group-exchange-sha1\n",
        "Ciphers aes128-cbc\n",
        "MACs hmac-sha1\n",
    ] {
        let Some(ssh) = OpenSsh::start_with("echo here", old) else { return };
        let target = SshTarget {
            host: "127.0.0.1".into(),
            port: ssh.port,
            user: ssh.user.clone(),
            known_hosts: ssh.known_hosts("known", &["host_rsa"], false),
            login: SshLogin::Key { private: ssh.file("user"), passphrase: None },
            old_algorithms: true,
        };
        let out = SshSession::new(target.clone()).run("hello", 100, Instant::now() + PATIENCE).await;
        assert_eq!(out.unwrap_or_else(|e| panic!("{old}: {e}")).stdout, b"here\n");
        let modern = SshTarget { old_algorithms: false, ..target };
        let e = SshSession::new(modern).run("hello", 100, Instant::now() + PATIENCE).await.unwrap_err();
        assert!(e.sentence.contains("`old-algorithms = true` admits them"), "{old}: {e}");
    }
}
