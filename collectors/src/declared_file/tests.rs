//! The file as people write it, as programs leave it half written, and as neither should.

use super::*;
use isoledger_core::model::Failure;
use proptest::prelude::*;

const TOML: &str = include_str!("../../fixtures/declared-file/site.toml");
const JSON: &str = include_str!("../../fixtures/declared-file/site.json");

fn evidence(format: Format, bytes: &[u8]) -> Evidence {
    Evidence {
        subject: "site".into(),
        auth: "file on this host".into(),
        identity: None,
        exchanges: vec![Exchange { asked: format.asked().into(), status: None, answer: bytes.to_vec() }],
    }
}

fn read(format: Format, text: &str) -> Result<Declared, SourceError> {
    normalise(&evidence(format, text.as_bytes()))
}

fn attached(d: &Declared) -> Vec<String> {
    let one = |a: &Attachment| {
        let port = a.port.as_ref().map_or("nowhere".to_owned(), PortId::to_string);
        format!(
            "{} {} {} {} {:?} at {port}",
            a.network,
            a.project.as_deref().unwrap_or("-"),
            a.node,
            a.nic,
            a.channel
        )
    };
    d.attachments.iter().map(one).collect()
}

#[test]
fn the_example_reads() {
    let d = read(Format::Toml, TOML).unwrap();
    let tag = |id| Channel::Tagged(VlanId::new(id).unwrap());
    assert_eq!(
        attached(&d),
        [
            format!("lab-net - spare01 eth0 {:?} at edge-1 gi1/0/9", Channel::Native),
            format!("lab-net red node01 eth0 {:?} at edge-1 gi1/0/1", tag(300)),
            format!("red-net red node01 eth0 {:?} at edge-1 gi1/0/1", Channel::Native),
            format!("red-net red node02 eth0 {:?} at nowhere", Channel::Native),
        ]
    );
    assert_eq!(d.networks["red-net"].owner, Owner::Project("red".into()));
    assert_eq!(d.networks["red-net"].access, Access::Projects(["blue".to_owned()].into()));
    assert_eq!(
        (&d.networks["lab-net"].owner, &d.networks["lab-net"].access),
        (&Owner::Admin, &Access::Public)
    );
    assert_eq!((d.registered.len(), d.cabling.len(), d.anomalies.len()), (4, 2, 0));
    let exits = exits(&evidence(Format::Toml, TOML.as_bytes())).unwrap();
    assert_eq!((exits.len(), exits[0].name.as_str(), exits[0].kind), (1, "core-router", ExitKind::Router));
}

#[test]
fn both_formats_say_the_same() {
    assert_eq!(read(Format::Json, JSON).unwrap(), read(Format::Toml, TOML).unwrap());
    let of = |format, text: &str| exits(&evidence(format, text.as_bytes())).unwrap();
    assert_eq!(of(Format::Json, JSON), of(Format::Toml, TOML));
}

/// Cut anywhere, a file is an error: never a shorter declaration.
#[test]
fn a_half_written_file_is_an_error() {
    for (format, text) in [(Format::Toml, TOML), (Format::Json, JSON)] {
        let whole = text.trim_end().len();
        for cut in 0..whole {
            let e = normalise(&evidence(format, &text.as_bytes()[..cut]));
            assert!(e.is_err(), "{format:?} cut at {cut} of {whole}");
        }
        assert!(normalise(&evidence(format, &text.as_bytes()[..whole])).is_ok());
    }
}

#[test]
fn mistakes_are_named() {
    for (from, to, said) in [
        ("version = 1", "version = 2", "version is 2; only 1 is known"),
        ("version = 1", "", "missing field `version`"),
        ("version = 1", "version = 1\nnetwroks = 1", "unknown field `netwroks`"),
        ("vlan = 100", "vlan = 4095", "networks.red-net.vlan is 4095; 1 to 4094"),
        ("vlan = 100", "vlan = 0", "networks.red-net.vlan is 0; 1 to 4094"),
        ("vlan = 100", "vlan = \"100\"", "line 10"),
        ("vlan = 100", "vlan = 100\nvlan = 101", "duplicate key"),
        ("[networks.lab-net]", "[networks.red-net]", "duplicate key"),
        ("access = [\"blue\"]", "access = [\"blue\", \"blue\"]", "lists \"blue\" twice"),
        ("access = [\"blue\"]", "access = \"pubilc\"", "\"public\" was expected"),
        ("owner = \"red\"", "owner = \"\"", "networks.red-net.owner is \"\""),
        ("native = \"red-net\"", "native = \"red\"", "there is no table [networks.red]"),
        ("tagged = [\"lab-net\"]", "tagged = [\"lab-net\", \"lab-net\"]", "is on \"lab-net\" twice"),
        ("tagged = [\"lab-net\"]", "tagged = [\"red-net\"]", "is on \"red-net\" twice"),
        ("switch = \"edge-1\"\nport = \"gi1/0/1\"", "port = \"gi1/0/1\"", "both or neither"),
        ("ports = [\"gi1/0/1\"", "ports = [\"gi1/0/2\", \"gi1/0/2\"", "lists \"gi1/0/2\" twice"),
        ("kind = \"router\"", "kind = \"rooter\"", "unknown variant `rooter`"),
        ("\n[end]", "\n[end]\nx = 1", "the last line is \"x = 1\"; it must be [end]"),
        ("\n[end]", "\n[end]\n# done", "the last line is \"# done\""),
        ("\n[end]", "", "it must be [end]"),
        ("\n[end]", "\n[nodes.n9]\nproject = '''\n[end]", "site: TOML parse error"),
    ] {
        assert!(TOML.contains(from), "{from}");
        let e = read(Format::Toml, &TOML.replacen(from, to, 1)).unwrap_err();
        assert!(e.sentence.contains(said) && e.sentence.starts_with("site"), "{to}: {e}");
        assert_eq!(e.kind, Failure::Unreadable);
    }
    let twice = format!("{}\n", TOML.replacen("\n[end]", &format!("{}\n[end]", EXIT), 1));
    assert!(read(Format::Toml, &twice).unwrap_err().sentence.contains("two exits are named"));
    let e = read(Format::Toml, &twice.replacen("\"core-router\"", "\"other\"", 1)).unwrap_err();
    assert!(e.sentence.contains("is two exits"), "{e}");
}

const EXIT: &str = "\n[[exit]]\nname = \"core-router\"\nkind = \"router\"\nswitch = \"edge-1\"\nport = \"gi1/0/24\"\nvlans = \"100\"\n";

#[test]
fn json_is_as_strict() {
    for (from, to, said) in [
        ("\"version\": 1", "\"version\": 1, \"version\": 1", "stands twice in one object"),
        ("\"vlan\": 100", "\"vlan\": 100, \"vlan\": 101", "stands twice in one object"),
        ("\"vlan\": 100", "\"vlan\": 100, \"x\": 1", "unknown field `x`"),
        ("\"vlan\": 100", "\"vlan\": 100.5", "at line"),
        ("\"version\": 1", "\"version\": 1, \"end\": {}", "a JSON file has none"),
    ] {
        assert!(JSON.contains(from), "{from}");
        let e = read(Format::Json, &JSON.replacen(from, to, 1)).unwrap_err();
        assert!(e.sentence.contains(said), "{to}: {e}");
    }
}

#[test]
fn evidence_of_something_else_is_refused() {
    let good = evidence(Format::Toml, TOML.as_bytes());
    let mut two = good.clone();
    two.exchanges.push(two.exchanges[0].clone());
    let mut other = good.clone();
    other.exchanges[0].asked = "ls".into();
    let mut failed = good;
    failed.exchanges[0].status = Some(1);
    for e in [two, other, failed, Evidence::default()] {
        assert!(normalise(&e).is_err(), "{e:?}");
    }
}

async fn reading(path: &Path) -> Reading<Declared> {
    let clock = crate::Stopwatch::from_system().unwrap();
    let deadline = Instant::now() + std::time::Duration::from_secs(20);
    let mut file = DeclaredFile::new(path).unwrap();
    let reading = file.read(&clock, deadline).await;
    let stored = Evidence::from_bytes(&reading.evidence.to_bytes()).unwrap();
    assert_eq!(normalise(&stored), reading.outcome, "evidence alone says the same");
    reading
}

#[tokio::test]
async fn files_of_all_kinds() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("site.toml");
    let e = reading(&path).await.outcome.unwrap_err();
    assert_eq!((e.kind, e.sentence.contains("no such file")), (Failure::Silent, true), "{e}");

    std::fs::write(&path, TOML).unwrap();
    let first = reading(&path).await;
    assert!(first.outcome.is_ok());
    assert_eq!(first.evidence.exchanges[0].answer, TOML.as_bytes(), "verbatim");
    assert_eq!(first.evidence, reading(&path).await.evidence);

    let link = dir.path().join("link.toml");
    std::os::unix::fs::symlink(&path, &link).unwrap();
    assert!(reading(&link).await.outcome.is_ok());

    let folder = dir.path().join("folder.toml");
    std::fs::create_dir(&folder).unwrap();
    for bad in [&folder, &PathBuf::from("/dev/zero.toml"), &dir.path().join("no/such.toml")] {
        assert!(reading(bad).await.outcome.is_err(), "{bad:?}");
    }
    let zero = dir.path().join("zero.toml");
    std::os::unix::fs::symlink("/dev/zero", &zero).unwrap();
    let e = reading(&zero).await.outcome.unwrap_err();
    assert!(e.sentence.contains("is not a regular file"), "{e}");

    let big = File::create(&path).unwrap();
    big.set_len(MAX_FILE + 1).unwrap();
    let e = reading(&path).await.outcome.unwrap_err();
    assert!(e.sentence.contains("at most 8388608 are read"), "{e}");
    big.set_len(0).unwrap();
    assert!(reading(&path).await.outcome.is_err(), "an empty file declares nothing, and says so");
}

#[test]
fn names_say_the_format() {
    for bad in ["site", "site.yaml", "site.TOML", ".toml"] {
        assert!(
            DeclaredFile::new(bad).unwrap_err().to_string().contains("must end in .toml or .json"),
            "{bad}"
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn any_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..300), toml in any::<bool>()) {
        let _ = normalise(&evidence(if toml { Format::Toml } else { Format::Json }, &bytes));
    }

    /// One byte changed: an error, or as many attachments as the text still names.
    #[test]
    fn a_changed_byte_never_loses_an_attachment(
        index in any::<prop::sample::Index>(),
        byte in prop_oneof![any::<u8>(), prop::sample::select(b"#[]{}\"\n= ,".to_vec())],
    ) {
        let mut bytes = JSON.as_bytes().to_vec();
        let at = index.index(bytes.len());
        bytes[at] = byte;
        if let Ok(d) = normalise(&evidence(Format::Json, &bytes)) {
            prop_assert_eq!(d.attachments.len(), 4);
        }
    }
}
