//! Reads every file under `tests/vectors/{policy,evidence}` and holds the code to it.
//!
//! Policies were written by hand. Evidence vectors are whole questions: a policy, an attestation and its evidence, with
//! the outcome and the check that decides. The recorder of this crate makes them; `ISOLEDGER_WRITE_VECTORS=1` writes
//! them anew, which changes what is signed and is therefore a decision, not a habit.
#![allow(clippy::unwrap_used)]

use isoledger_core::attestation::{Predicate, Statement};
use isoledger_core::evidence::{Evidence, Packer};
use isoledger_core::hash::Digest;
use isoledger_core::judge::Verdict;
use isoledger_core::model::{Access, BypassClass, BypassReading, Exit, ExitKind, PortId, Unassessed};
use isoledger_core::note::NoteSigner;
use isoledger_core::policy::{Fault, Policy, PolicyError, Stanza, word};
use isoledger_core::record::{Body, Poll};
use isoledger_core::time::{Span, Timestamp};
use isoledger_core::vlan::VlanSet;
use isoledger_tests::recorder::{Ask, Files, Recorder, World, at, at_millis, cosign, cosigner, vlan};
use isoverify::{Options, Outcome, Why, verify};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

fn vectors(area: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("vectors").join(area)
}

struct Vector {
    name: String,
    headers: BTreeMap<String, String>,
    body: Vec<u8>,
}

impl Vector {
    fn read(path: &Path) -> Vector {
        let bytes = std::fs::read(path).unwrap();
        let split = bytes.windows(5).position(|w| w == b"\n---\n").expect("a line of three hyphens");
        let head = std::str::from_utf8(&bytes[..split]).unwrap();
        let headers = head.lines().map(|l| l.split_once(": ").expect("a colon in every header"));
        Vector {
            name: path.file_name().unwrap().to_str().unwrap().to_owned(),
            headers: headers.map(|(k, v)| (k.to_owned(), v.to_owned())).collect(),
            body: bytes[split + 5..].to_vec(),
        }
    }

    fn all(area: &str, at_least: usize) -> Vec<Vector> {
        let mut files: Vec<_> =
            std::fs::read_dir(vectors(area)).unwrap().map(|e| e.unwrap().path()).collect();
        files.sort();
        assert!(files.len() >= at_least, "only {} vectors in {area}", files.len());
        files.iter().map(|p| Vector::read(p)).collect()
    }

    fn header(&self, key: &str) -> Option<&str> {
        self.headers.get(key).map(String::as_str)
    }

    // Where the header is given, it must say this.
    fn says(&self, key: &str, found: impl ToString) {
        if let Some(wanted) = self.header(key) {
            assert_eq!(found.to_string(), wanted, "{}: {key}", self.name);
        }
    }
}

// ---------------------------------------------------------------------------------------------------------------
// Policies

fn kind(e: &PolicyError) -> String {
    let PolicyError::Line { fault, .. } = e else {
        return match e {
            PolicyError::TooLarge { .. } => "too-large".into(),
            PolicyError::NotUtf8 { .. } => "not-utf8".into(),
            PolicyError::Missing { what } => format!("missing-{what}"),
            PolicyError::Line { .. } => unreachable!(),
        };
    };
    match fault {
        Fault::Character { .. } => "character",
        Fault::Quote => "quote",
        Fault::Keyword { .. } => "keyword",
        Fault::Form { .. } => "form",
        Fault::Key(_) => "key",
        Fault::KeyKind { .. } => "key-kind",
        Fault::SameKey { .. } => "same-key",
        Fault::Name { .. } => "name",
        Fault::SameName { .. } => "same-name",
        Fault::Undefined { .. } => "undefined",
        Fault::Grouped { .. } => "grouped",
        Fault::Threshold { .. } => "threshold",
        Fault::NotAuditor { .. } => "not-auditor",
        Fault::Repeated { .. } => "repeated",
        Fault::Span { .. } => "span",
        Fault::TooMany { .. } => "too-many",
        Fault::Option { .. } => "option",
        Fault::NoName { .. } => "no-name",
        Fault::NoQualifier { .. } => "no-qualifier",
        Fault::Without { .. } => "without",
        Fault::Vlan { .. } => "vlan",
        Fault::Member { .. } => "member",
        Fault::Port { .. } => "port",
        Fault::Class { .. } => "class",
        Fault::Exception { .. } => "exception",
        Fault::Twice { .. } => "twice",
        Fault::SameStanza { .. } => "same-stanza",
        Fault::WhichLog => "which-log",
    }
    .into()
}

// A stanza in one spelling: options in the order of the page, lists sorted.
fn spelled(s: &Stanza) -> String {
    let w = |name: &str| word(name).unwrap().into_owned();
    let mut out = format!("network {} domain {} project {}", w(&s.network), w(&s.domain), w(&s.project));
    let mut list = |keyword: &str, words: Vec<String>| {
        out += &format!(" {keyword}");
        words.iter().for_each(|w| out += &format!(" {w}"));
    };
    if let Some(v) = s.vlan {
        list("vlan", vec![v.to_string()]);
    }
    if let Some(log) = &s.log {
        list("log", vec![log.clone()]);
    }
    if let Some(m) = &s.members {
        let nics = m.nics.iter().map(|(node, nic)| w(&format!("{node}/{nic}"))).collect();
        list(if m.exactly { "members exactly" } else { "members at-least" }, nics);
    }
    if let Some(e) = &s.exits {
        list("exits exactly", e.iter().map(|e| w(e)).collect());
    }
    if s.public_ok {
        list("public ok", vec![]);
    }
    for (keyword, words) in [
        ("accept-unassessed", s.accept_unassessed.iter().map(ToString::to_string).collect::<Vec<_>>()),
        ("accept-unread", s.accept_unread.iter().map(ToString::to_string).collect()),
        ("accept-exception", s.accept_exceptions.iter().map(ToString::to_string).collect()),
    ] {
        if !words.is_empty() {
            list(keyword, words);
        }
    }
    out
}

#[test]
fn policies() {
    for v in Vector::all("policy", 90) {
        let policy = match Policy::parse(&v.body) {
            Ok(policy) => policy,
            Err(e) => {
                assert_eq!(kind(&e), v.headers["expect"], "{}: {e}", v.name);
                match e {
                    PolicyError::Line { line, .. } => v.says("line", line),
                    _ => assert_eq!(v.header("line"), None, "{}", v.name),
                }
                continue;
            }
        };
        assert_eq!(v.headers["expect"], "ok", "{}", v.name);
        assert_eq!(policy.digest(), Digest::of(&v.body));
        let words = |q| policy.quorum_in_words(q);
        v.says("logs", policy.logs().len());
        v.says("cosigners", policy.cosigners().len());
        v.says("quorum", policy.quorum().map_or("none".into(), words));
        v.says("audit", policy.audit().map_or("none".into(), words));
        v.says("max-gap", policy.max_gap());
        v.says("witnessed-within", policy.witnessed_within());
        v.says("fresh-within", policy.fresh_within());
        v.says("unpinned", if policy.unpinned() { "yes" } else { "no" });
        v.says("stanzas", policy.stanzas().len());
        v.says("stanza", policy.stanzas().first().map(spelled).unwrap_or_default());
        if let Some(signed) = v.header("signed") {
            let times: BTreeMap<&str, Timestamp> = signed
                .split(' ')
                .map(|s| s.split_once('=').unwrap())
                .map(|(name, t)| (name, Timestamp::from_millis(t.parse::<u64>().unwrap() * 1000).unwrap()))
                .collect();
            let at = |i: usize| times.get(policy.cosigners()[i].name.as_str()).copied();
            let reached = policy.quorum().unwrap().reached(&at);
            v.says("reached", reached.map_or("never".into(), |t| t.seconds().to_string()));
        }
        // What is written in the one spelling is read the same.
        if let Some(s) = policy.stanzas().first() {
            let text = String::from_utf8(v.body.clone()).unwrap();
            let head = text.lines().take(s.line - 1).fold(String::new(), |h, l| h + l + "\n");
            let again = Policy::parse(format!("{head}{}\n", spelled(s)).as_bytes()).unwrap();
            assert_eq!(again.stanzas()[0], Stanza { line: again.stanzas()[0].line, ..s.clone() });
        }
    }
}

// ---------------------------------------------------------------------------------------------------------------
// Evidence

#[test]
fn evidence() {
    for v in Vector::all("evidence", 60) {
        let body = String::from_utf8(v.body.clone()).unwrap();
        let parts: Vec<&str> = body.split("\n---\n").collect();
        let [policy, attestation, evidence] = parts.as_slice() else { panic!("{}: three parts", v.name) };
        let policy = Policy::parse(format!("{policy}\n").as_bytes()).unwrap();
        let time = |key: &str| v.header(key).map(|t| Timestamp::parse(t).unwrap());
        let options = Options {
            from: time("from"),
            to: time("to"),
            nonce: v.header("nonce").map(str::to_owned),
            fresh: time("now"),
        };
        let evidence = evidence.strip_suffix('\n').unwrap();
        let report = verify(format!("{attestation}\n").as_bytes(), evidence.as_bytes(), &policy, &options);
        let found = match report.outcome {
            Outcome::Verified(_) => "verified",
            Outcome::Refuted(Why::Violation) => "violation",
            Outcome::Refuted(Why::Proof) => "proof",
            Outcome::Undecided => "undecided",
        };
        let check = report.first_problem().map_or("none", |c| c.check.name());
        let wanted = (v.headers["expect"].as_str(), v.headers["check"].as_str());
        assert_eq!((found, check), wanted, "{}: {}\n{}", v.name, v.headers["comment"], report.to_text());
    }
}

#[test]
fn the_vectors_are_what_the_recorder_makes() {
    let made = Made::all();
    if std::env::var_os("ISOLEDGER_WRITE_VECTORS").is_some() {
        std::fs::create_dir_all(vectors("evidence")).unwrap();
        for (name, bytes) in &made.0 {
            std::fs::write(vectors("evidence").join(name), bytes).unwrap();
        }
    }
    let on_disk: BTreeSet<String> = Vector::all("evidence", 60).into_iter().map(|v| v.name).collect();
    assert_eq!(on_disk, made.0.keys().cloned().collect());
    for (name, bytes) in &made.0 {
        let found = std::fs::read_to_string(vectors("evidence").join(name)).unwrap();
        assert!(found == *bytes, "{name} differs from what the recorder makes today");
    }
}

#[derive(Default)]
struct Made(BTreeMap<String, String>);

const QUIET: &str = "";

impl Made {
    // Writes one vector: how it ends, by which check, the policy's lines and the stanza's options.
    fn put(
        &mut self,
        name: &str,
        ends: (&str, &str),
        comment: &str,
        headers: &str,
        policy: &str,
        files: &Files,
    ) {
        let (expect, check) = ends;
        let attestation = String::from_utf8(files.attestation.clone()).unwrap();
        let evidence = String::from_utf8(files.evidence.clone()).unwrap();
        let text = format!(
            "expect: {expect}\ncheck: {check}\ncomment: {comment}\n{headers}---\n{policy}---\n{attestation}---\n{evidence}\n"
        );
        assert!(self.0.insert(name.into(), text).is_none(), "{name} twice");
    }

    fn all() -> Made {
        let mut made = Made::default();
        made.ranges();
        made.lies();
        made.packing();
        made.demands();
        made.witnesses();
        made
    }
}

#[test]
fn every_vector_is_named_on_its_page() {
    let page = |name: &str| {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/formats").join(name);
        std::fs::read_to_string(path).unwrap()
    };
    let pages = [("policy", page("policy.md")), ("evidence", page("evidence.md") + &page("attestation.md"))];
    for (area, text) in pages {
        for v in Vector::all(area, 1) {
            assert!(text.contains(&format!("`{}`", v.name)), "{area}/{} is on no page", v.name);
        }
    }
}

fn policy(r: &Recorder, lines: &str, options: &str) -> String {
    let quorum = if lines.contains("quorum") { "" } else { "quorum none\n" };
    let options = if options.is_empty() { String::new() } else { format!(" {options}") };
    format!("log {}\n{quorum}{lines}network red-net domain moc project red vlan 100{options}\n", r.vkey())
}

fn red(from: u64, to: u64) -> Ask {
    Ask::of("red", at(from), at(to))
}

fn quiet(n: u64) -> Recorder {
    let mut r = Recorder::new();
    r.polls(10, n, &World::two_tenants());
    r
}

const VERIFIED: (&str, &str) = ("verified", "none");

impl Made {
    fn ranges(&mut self) {
        let r = quiet(4);
        let p = policy(&r, "", "");
        self.put("isolated", VERIFIED, "four quiet polls", QUIET, &p, &r.attest(&red(15, 35)));
        self.put(
            "from_the_beginning",
            VERIFIED,
            "entry 0 closes the start",
            QUIET,
            &p,
            &r.attest(&red(5, 35)),
        );
        self.put(
            "to_the_end",
            VERIFIED,
            "the log's last entry closes the end",
            QUIET,
            &p,
            &r.attest(&red(15, 45)),
        );
        self.put(
            "one_moment",
            VERIFIED,
            "a range of no length between two polls",
            QUIET,
            &p,
            &r.attest(&red(25, 25)),
        );
        let on_time = "from and to may fall on the ends of polls";
        let ask = Ask::of("red", at_millis(10_100), at(30));
        self.put("ends_on_polls", VERIFIED, on_time, QUIET, &p, &r.attest(&ask));

        let mut r = Recorder::new();
        let mut world = World::two_tenants();
        r.polls(10, 2, &world);
        world.carry("p3", Some(100));
        r.polls(30, 2, &world);
        world.carry("p3", None);
        r.polls(50, 2, &world);
        let p = policy(&r, "", "");
        let ends = ("violation", "isolation");
        self.put(
            "violated",
            ends,
            "port p3 carries VLAN 100 from 30 on, until 50",
            QUIET,
            &p,
            &r.attest(&red(15, 55)),
        );
        self.put(
            "violated_to_the_end",
            ends,
            "not over by the end of the range",
            QUIET,
            &p,
            &r.attest(&red(15, 35)),
        );
        let before = "the violation is after the range";
        self.put("isolated_before_violation", VERIFIED, before, QUIET, &p, &r.attest(&red(12, 18)));
        let boundary = "the poll that closes the end is violated and opened: it counts";
        self.put("violated_at_the_end", ends, boundary, QUIET, &p, &r.attest(&red(15, 25)));

        let mut r = Recorder::new();
        let world = World::two_tenants();
        let mut silent = world.clone();
        silent.switches.insert("sw1".into(), None);
        r.polls(10, 2, &world);
        r.polls(30, 2, &silent);
        r.polls(50, 2, &world);
        let files = r.attest(&red(15, 55));
        let allowed = "no reading from 20.000 to 50.100, and 30.1 s are allowed";
        self.put(
            "silent_within_the_gap",
            VERIFIED,
            allowed,
            QUIET,
            &policy(&r, "max-gap 30100ms\n", ""),
            &files,
        );
        let longer = "one millisecond less is allowed";
        let ends = ("undecided", "isolation");
        self.put("silent_beyond_the_gap", ends, longer, QUIET, &policy(&r, "max-gap 30099ms\n", ""), &files);
        let other = "the claim's own gap of 1 s makes its verdict unknown; the policy's 30.1 s count";
        let strict = r.attest(&Ask { max_gap: Span::from_secs(1), ..red(15, 55) });
        self.put(
            "gap_of_the_policy_counts",
            VERIFIED,
            other,
            QUIET,
            &policy(&r, "max-gap 30100ms\n", ""),
            &strict,
        );

        let mut r = Recorder::new();
        r.polls(10, 2, &world);
        r.polls(60, 2, &world);
        let pause = "nobody polled from 20.000 to 60.100";
        let files = r.attest(&red(15, 65));
        self.put("pause", ends, pause, QUIET, &policy(&r, "max-gap 40s\n", ""), &files);
        self.put(
            "pause_within_the_gap",
            VERIFIED,
            pause,
            QUIET,
            &policy(&r, "max-gap 40100ms\n", ""),
            &files,
        );
        let late = "no poll from 70 to the end of the range";
        self.put(
            "pause_at_the_end",
            ends,
            late,
            QUIET,
            &policy(&r, "max-gap 41s\n", ""),
            &r.attest(&red(65, 200)),
        );

        // Until second 30 VLAN 100 is blue's.
        let mut before = world.clone();
        before.declared.networks.remove("red-net");
        before.declared.attachments.retain(|a| a.network != "red-net");
        before.network("old-net", 100, "blue");
        before.carry("p1", None);
        let mut r = Recorder::new();
        r.polls(10, 2, &before);
        r.polls(30, 3, &world);
        let p = policy(&r, "", "");
        let closed = "the poll that closes the start is of another lease and stays closed";
        self.put("lease_begins", VERIFIED, closed, QUIET, &p, &r.attest(&red(25, 45)));
        let inside = "a poll inside the range is not opened";
        self.put(
            "lease_of_another_inside",
            ("proof", "versions"),
            inside,
            QUIET,
            &p,
            &r.attest(&red(15, 45)),
        );
        let mut shared = world.clone();
        if let Some(n) = shared.declared.networks.get_mut("red-net") {
            n.access = Access::Projects(["red".to_owned(), "green".to_owned()].into());
        }
        r.polls(60, 2, &shared);
        self.put(
            "two_leases",
            VERIFIED,
            "the access list changed in between",
            QUIET,
            &p,
            &r.attest(&red(35, 65)),
        );

        let mut r = Recorder::new();
        r.polls(10, 2, &world);
        r.append(Body::Unknown { kind: "weather-noted".into(), rest: ",\"rain\":true}".into() }, at(25));
        r.exception_granted(at(26));
        r.scope_changed(at(27));
        r.polls(30, 2, &world);
        let others = "entries that are no polls: a later type, an exception, a scope";
        self.put("other_entries", VERIFIED, others, QUIET, &policy(&r, "", ""), &r.attest(&red(15, 35)));

        let mut r = Recorder::new();
        r.polls(10, 2, &world);
        r.semantics = 2;
        r.polls(30, 2, &world);
        let later = "a poll follows semantics that no version-1 verifier knows";
        let ends = ("undecided", "semantics");
        self.put("semantics_unknown", ends, later, QUIET, &policy(&r, "", ""), &r.attest(&red(15, 35)));
    }

    fn lies(&mut self) {
        let r = quiet(4);
        let ask = red(15, 35);
        let honest = r.evidence(&ask, &r.checkpoint());
        let claim = r.claim(&ask, &honest);
        let p = policy(&r, "", "");
        let mut lie =
            |name: &str, check: &str, comment: &str, change: &dyn Fn(&mut Evidence, &mut Predicate)| {
                let (mut e, mut c) = (honest.clone(), claim.clone());
                change(&mut e, &mut c);
                self.put(name, ("proof", check), comment, QUIET, &p, &r.sign(c, &e));
            };
        lie("network_differs", "evidence", "the evidence is of another network", &|e, _| {
            e.network = "blue-net".into()
        });
        lie("vlan_differs", "evidence", "the evidence is of another VLAN", &|e, _| e.vlan = vlan(200));
        lie("origin_differs", "evidence", "the evidence is of another log", &|e, _| {
            e.origin = "other.example".into()
        });
        lie("log_size_differs", "checkpoint", "the claim names another size", &|_, c| c.log.size += 1);
        lie("log_root_differs", "checkpoint", "the claim names another root", &|_, c| c.log.root.0[0] ^= 1);
        lie("open_at_the_start", "ends", "the range begins before the first entry", &|_, c| c.from = at(5));
        lie(
            "open_at_the_end",
            "ends",
            "the range ends after the last entry, and the log goes on",
            &|e, c| {
                c.to = at(38);
                // The last entry is cut off, so that the log's end does not close the range.
                let shorter = r.evidence(&red(15, 25), &r.checkpoint());
                (e.range, e.entries) = (shorter.range, shorter.entries);
            },
        );
        lie("more_than_the_range_at_the_start", "ends", "two polls before the range", &|_, c| {
            c.from = at(25)
        });
        lie("more_than_the_range_at_the_end", "ends", "two polls after the range", &|_, c| c.to = at(25));
        lie("range_backwards", "ends", "the range ends before it begins", &|_, c| {
            (c.from, c.to) = (c.to, c.from)
        });
        lie("entry_missing", "range", "fewer entries than the range says", &|e, _| {
            e.entries.pop();
        });
        lie("entry_missing_inside", "entries", "a poll is left out and the range made to fit", &|e, _| {
            let mut all = unpack(e);
            all.remove(1);
            (e.entries, e.range.end) = (pack(&all), e.range.end - 1);
        });
        lie("entries_reordered", "entries", "two polls have changed places", &|e, _| {
            let mut all = unpack(e);
            all.swap(1, 2);
            e.entries = pack(&all);
        });
        lie("left_hash_changed", "range", "the hashes before the range lead to another root", &|e, _| {
            e.range.left[0].0[0] ^= 1;
        });
        lie("right_hash_too_many", "range", "a hash more than the range needs", &|e, _| {
            e.range.right.push(e.range.left[0]);
        });
        lie("range_empty", "range", "no entry at all", &|e, _| {
            e.entries.clear();
            e.range.end = e.range.start;
        });
        lie("range_beyond_the_log", "range", "more entries than the log has", &|e, _| e.range.end += 9);
        lie("version_missing", "versions", "a poll inside the range is not opened", &|e, _| {
            e.versions.clear()
        });
        lie("version_of_no_poll", "versions", "a version that no poll of the range states", &|e, _| {
            let mut v = e.versions[0].clone();
            v.version += 1;
            e.versions.push(v);
        });
        lie("version_proof_changed", "versions", "a sibling is another", &|e, _| {
            let mut siblings = e.versions[0].siblings().unwrap();
            siblings[5].0[0] ^= 1;
            e.versions[0].proof = isoledger_core::evidence::Version::encode_siblings(&siblings);
        });
        lie("version_proof_short", "versions", "eleven siblings", &|e, _| {
            let keep = e.versions[0].proof.len() - 44;
            e.versions[0].proof.truncate(keep);
        });
        lie("lease_key_changed", "versions", "another slot key", &|e, _| e.leases[0].key.0[0] ^= 1);
        lie("lease_key_missing", "versions", "no key for the slice's lease", &|e, _| e.leases.clear());
        lie("lease_key_unused", "versions", "a key that opens nothing", &|e, _| {
            let mut extra = e.leases[0].clone();
            extra.lease += 1;
            e.leases.push(extra);
        });
        lie("text_missing", "slices", "a text is not there", &|e, _| {
            e.texts.pop();
        });
        lie("text_unused", "slices", "a text that belongs to no version", &|e, _| {
            e.texts.push("{}".into());
            e.texts.sort_by_key(|t| Digest::of(t.as_bytes()));
        });
        lie("texts_unsorted", "slices", "texts stand in the order of their digests", &|e, _| {
            e.texts.swap(0, 1)
        });
        lie("text_changed", "slices", "a text with another digest", &|e, _| {
            e.texts[0] = e.texts[0].replacen("\"v\":1", "\"v\":2", 1);
            e.texts.sort_by_key(|t| Digest::of(t.as_bytes()));
        });
        lie("domain_differs", "slices", "the claim is of another domain than the scope", &|_, c| {
            c.domain = "nerc".into();
        });
        lie("project_differs", "slices", "the claim is for a project that may not join", &|_, c| {
            c.project = "blue".into();
        });
        lie("claim_verdict", "claim", "the verdict does not follow", &|_, c| c.verdict = Verdict::Unknown);
        lie("claim_polls", "claim", "a poll too many", &|_, c| c.polls += 1);
        lie("claim_isolated", "claim", "an isolated poll too many", &|_, c| c.isolated += 1);
        lie("claim_max_gap", "claim", "with this gap the verdict would be unknown", &|_, c| {
            c.max_gap = Span::from_secs(1);
        });
        lie("claim_leases", "claim", "a lease too many", &|_, c| c.leases.push(99));
        lie("claim_scope_changes", "claim", "a change of scope that is not there", &|_, c| {
            c.scope_changes.push(99)
        });
        lie("claim_exceptions", "claim", "an exception that is not there", &|_, c| c.exceptions.push(99));
        lie("claim_not_assessed", "claim", "what is not assessed is left out", &|_, c| {
            c.not_assessed.clear()
        });
        lie("claim_cosignatures", "claim", "a cosignature that is not there", &|_, c| {
            c.cosignatures.push("witness.example/w1".into());
        });
        lie("claim_audited_to", "claim", "more audited than there is", &|_, c| {
            c.audited_to = Some(c.log.size + 1)
        });

        // Blue's files, and files of two questions mixed.
        let blue = r.attest(&Ask::of("blue", at(15), at(35)));
        let mine = r.attest(&ask);
        let ends = ("undecided", "stanza");
        self.put("another_tenant", ends, "blue's attestation, held against red's policy", QUIET, &p, &blue);
        let mixed = Files { attestation: mine.attestation.clone(), evidence: blue.evidence };
        let ends = ("proof", "statement");
        self.put("another_evidence_file", ends, "red's attestation with blue's evidence", QUIET, &p, &mixed);
        let mut other = Recorder::of("audit.example/nerc", "nerc", 9);
        other.polls(10, 4, &World::two_tenants());
        let files = other.attest(&ask);
        let ends = ("proof", "envelope");
        self.put("another_log", ends, "a log the policy does not know", QUIET, &p, &files);
        let both = format!(
            "log {}\nlog {}\nquorum none\nnetwork red-net domain moc project red log {}\n",
            r.vkey(),
            other.vkey(),
            r.signer().name()
        );
        let ends = ("undecided", "stanza");
        self.put(
            "another_domain",
            ends,
            "the same VLAN of another domain, by a log that is known",
            QUIET,
            &both,
            &files,
        );
        let text = String::from_utf8(mine.attestation.clone()).unwrap();
        let broken = text.replace("\"sig\":\"", "\"sig\": \"");
        let files = Files { attestation: broken.into_bytes(), ..mine.clone() };
        let ends = ("proof", "envelope");
        self.put("envelope_white_space", ends, "an envelope has one spelling", QUIET, &p, &files);
        let mut statement = Statement::new("red-net.evidence.json", &mine.evidence, claim.clone());
        statement.predicate_type = "https://isoledger.dev/vlan-isolation/v2".into();
        let sign = |s: &Statement| s.sign(r.signer()).unwrap().into_bytes();
        let files = Files { attestation: sign(&statement), ..mine.clone() };
        let ends = ("undecided", "statement");
        self.put("predicate_type_unknown", ends, "signed, and of a later kind", QUIET, &p, &files);
        let mut statement = Statement::new("red-net.evidence.json", &mine.evidence, claim.clone());
        statement.subject.push(statement.subject[0].clone());
        let files = Files { attestation: sign(&statement), ..mine.clone() };
        self.put(
            "two_subjects",
            ("proof", "statement"),
            "one statement, one evidence file",
            QUIET,
            &p,
            &files,
        );
        let evidence = String::from_utf8(mine.evidence.clone()).unwrap();
        for (name, ends, comment, from, to) in [
            ("evidence_version_2", ("undecided", "evidence"), "a later version", "{\"v\":1,", "{\"v\":2,"),
            ("evidence_space", ("proof", "evidence"), "evidence has one spelling", "{\"v\":1,", "{\"v\": 1,"),
            (
                "evidence_unknown_member",
                ("proof", "evidence"),
                "no other members",
                "{\"v\":1,",
                "{\"v\":1,\"x\":0,",
            ),
        ] {
            let changed = evidence.replacen(from, to, 1).into_bytes();
            let files = Files { attestation: r.sign_bytes(claim.clone(), &changed), evidence: changed };
            self.put(name, ends, comment, QUIET, &p, &files);
        }

        let mut r = quiet(2);
        let last = *r.polls.last().unwrap();
        let poll = Poll {
            semantics: 1,
            started: at(30),
            ended: at_millis(30_100),
            version: last.version,
            root: Digest([5; 32]),
            content: Digest([6; 32]),
        };
        r.append(Body::Poll(poll), at(31));
        r.polls(40, 1, &World::two_tenants());
        let reused = "a poll states the version before with another root";
        let ends = ("proof", "entries");
        self.put("version_reused", ends, reused, QUIET, &policy(&r, "", ""), &r.attest(&red(15, 35)));
    }

    fn packing(&mut self) {
        let r = quiet(4);
        let ask = red(15, 35);
        let honest = r.evidence(&ask, &r.checkpoint());
        let claim = r.claim(&ask, &honest);
        let p = policy(&r, "", "");
        let ends = ("proof", "entries");
        for (name, comment, entry) in [
            (
                "packed_leading_zero",
                "numbers have one spelling",
                "p 010000 50 100 AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",
            ),
            (
                "packed_two_spaces",
                "one space between words",
                "p 10000  50 100 AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",
            ),
            (
                "packed_extra_word",
                "nothing after the content",
                "p 10000 50 100 AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA= x",
            ),
            ("packed_without_content", "all four words", "p 10000 50 100"),
            (
                "packed_unknown_form",
                "p, v or {",
                "q 10000 50 100 AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",
            ),
            (
                "packed_version_without_root",
                "v has a root",
                "v 10000 50 100 AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",
            ),
        ] {
            let mut e = honest.clone();
            e.entries[1] = entry.into();
            self.put(name, ends, comment, QUIET, &p, &r.sign(claim.clone(), &e));
        }
        let mut e = honest.clone();
        e.entries = unpack(&e).into_iter().map(|b| String::from_utf8(b).unwrap()).collect();
        let whole = "every entry stands as text, which is allowed where a short form would do";
        self.put("packed_not_at_all", VERIFIED, whole, QUIET, &p, &r.sign(claim.clone(), &e));
        let mut e = honest;
        e.entries[0] = e.entries[1].clone();
        self.put("packed_first_entry", ends, "the first entry stands as text", QUIET, &p, &r.sign(claim, &e));
    }

    fn demands(&mut self) {
        let r = quiet(4);
        let p = policy(&r, "", "");
        let files = r.attest(&Ask { nonce: Some("7f3a".into()), ..red(15, 45) });
        let asked = "from: 2026-03-02T10:00:15.000Z\nto: 2026-03-02T10:00:45.000Z\nnonce: 7f3a\n";
        self.put("asked_for", VERIFIED, "range and nonce as asked for", asked, &p, &files);
        let ends = ("proof", "request");
        let from = "from: 2026-03-02T10:00:14.999Z\n";
        self.put(
            "asked_for_another_start",
            ends,
            "a range that begins later than asked for",
            from,
            &p,
            &files,
        );
        let to = "to: 2026-04-02T10:00:45.000Z\n";
        self.put("asked_for_another_end", ends, "last month's attestation", to, &p, &files);
        self.put("nonce_replayed", ends, "an answer to somebody else's nonce", "nonce: 7f3b\n", &p, &files);
        let without = r.attest(&red(15, 45));
        self.put("nonce_missing", ends, "an answer to no nonce", "nonce: 7f3a\n", &p, &without);
        let fresh = policy(&r, "fresh-within 30s\n", "");
        let now = "nonce: 7f3a\nnow: 2026-03-02T10:01:10.100Z\n";
        self.put("fresh", VERIFIED, "the last poll ended 30 s ago", now, &fresh, &files);
        let now = "nonce: 7f3a\nnow: 2026-03-02T10:01:10.101Z\n";
        self.put("stale", ("undecided", "freshness"), "a millisecond more", now, &fresh, &files);
        let now = "nonce: 7f3a\nnow: 2026-03-02T09:00:00.000Z\n";
        self.put(
            "from_the_future",
            ("undecided", "freshness"),
            "the last poll is later than now",
            now,
            &fresh,
            &files,
        );

        let mut r = Recorder::new();
        let mut world = World::two_tenants();
        world.attach("red-net", "red", "n4", "p4");
        world.carry("p4", Some(100));
        r.scope.exits.push(Exit {
            name: "core router".into(),
            kind: ExitKind::Router,
            port: PortId::new("sw1", "p9"),
            vlans: VlanSet::one(vlan(100)),
        });
        world.carry("p9", Some(100));
        r.polls(10, 4, &world);
        let files = r.attest(&red(15, 35));
        for (name, ends, comment, options) in [
            ("members_exactly", VERIFIED, "these and nobody else", "members exactly n1/eth0 n4/eth0"),
            ("members_extra", ("violation", "members"), "n4/eth0 is one too many", "members exactly n1/eth0"),
            (
                "members_missing",
                ("undecided", "members"),
                "n5/eth0 is not declared",
                "members at-least n1/eth0 n5/eth0",
            ),
            ("members_at_least", VERIFIED, "others may be there", "members at-least n1/eth0"),
            ("exits_exactly", VERIFIED, "this one", "exits exactly \"core router\""),
            ("exits_extra", ("violation", "exits"), "no exit may carry the network", "exits exactly"),
            (
                "exits_missing",
                ("undecided", "exits"),
                "gateway never carried it",
                "exits exactly \"core router\" gateway",
            ),
        ] {
            self.put(name, ends, comment, QUIET, &policy(&r, "", options), &files);
        }

        let mut r = Recorder::new();
        let mut world = World::two_tenants();
        if let Some(n) = world.declared.networks.get_mut("red-net") {
            n.access = Access::Public;
        }
        let unread = BypassReading::NotRead { why: "no reader".into() };
        world.switch().bypasses.insert(BypassClass::Flows, unread);
        r.scope.disclose_ports = true;
        r.scope.unassessed.push(Unassessed { port: PortId::new("sw1", "p8"), reason: "lab bench".into() });
        world.carry("p8", Some(100));
        r.polls(10, 4, &world);
        let files = r.attest(&red(15, 35));
        let all = "public ok accept-unread flows accept-unassessed sw1/p8";
        self.put(
            "accepted",
            VERIFIED,
            "public, a class not read, a port not assessed: all accepted",
            QUIET,
            &policy(&r, "", all),
            &files,
        );
        let ends = ("undecided", "public");
        let options = "accept-unread flows accept-unassessed sw1/p8";
        self.put("public", ends, "any project may join", QUIET, &policy(&r, "", options), &files);
        let ends = ("undecided", "isolation");
        let options = "public ok accept-unread mirror accept-unassessed sw1/p8";
        self.put("class_not_read", ends, "nobody read the flows", QUIET, &policy(&r, "", options), &files);
        let ends = ("undecided", "not-assessed");
        let options = "public ok accept-unread flows accept-unassessed sw1/p7";
        self.put(
            "port_not_assessed",
            ends,
            "nobody assesses port p8",
            QUIET,
            &policy(&r, "", options),
            &files,
        );
    }

    fn witnesses(&mut self) {
        let w: Vec<NoteSigner> = (1..=3).map(cosigner).collect();
        let lines = |rest: &str| {
            let keys: String =
                w.iter().zip(1..).map(|(w, n)| format!("witness w{n} {}\n", w.verifier())).collect();
            keys + rest
        };
        let two = "group g 2 w1 w2 w3\nquorum g\n";
        // Every second poll is archived; w1 signs 2 s after the poll's end, w2 4 s, w3 never.
        let world = World::two_tenants();
        let mut r = Recorder::new();
        for i in 0..6 {
            r.poll(at(10 + 10 * i), &world);
            if i % 2 == 1 {
                let now = 10 + 10 * i;
                r.archive(&[(&w[0], at(now + 2)), (&w[1], at(now + 4))]);
            }
        }
        let ask = red(15, 45);
        let newest = r.archive.last().unwrap().clone();
        let honest = r.evidence(&ask, &newest);
        let claim = r.claim(&ask, &honest);
        let files = r.sign(claim.clone(), &honest);
        let put = &mut |name: &str, ends, comment: &str, rest: &str, files: &Files| {
            self.put(name, ends, comment, QUIET, &policy(&r, &lines(rest), ""), files);
        };
        let within = |t: &str| format!("{two}witnessed-within {t}\nmax-gap 11s\n");
        // The poll at 10 ended at 10.1 and two of three had cosigned it at 24.
        put("witnessed", VERIFIED, "two of three within 13.9 s", &within("13900ms"), &files);
        let ends = ("undecided", "isolation");
        put(
            "witnessed_too_late",
            ends,
            "a millisecond more than allowed for every other poll",
            &within("13899ms"),
            &files,
        );
        let all = "group g all w1 w2 w3\nquorum g\n";
        put("witness_missing", ("undecided", "witnesses"), "w3 never cosigned", all, &files);
        put("witnesses_not_asked_for", VERIFIED, "the operator's word then", "quorum none\n", &files);
        let wide = format!("{two}witnessed-within 5s\nmax-gap 40s\n");
        put(
            "witnessed_in_part",
            VERIFIED,
            "late polls count as missing, and the gap allows for it",
            &wide,
            &files,
        );

        let forged = |note: &str, name: &str| {
            let at = note.find(&format!("{name} ")).unwrap() + name.len() + 30;
            let new = if note.as_bytes()[at] == b'A' { "B" } else { "A" };
            format!("{}{new}{}", &note[..at], &note[at + 1..])
        };
        let mut e = honest.clone();
        e.checkpoint = forged(&e.checkpoint, "witness.example/w2");
        let ends = ("proof", "checkpoint");
        put(
            "cosignature_bad",
            ends,
            "the line of a known witness does not verify",
            two,
            &r.sign(claim.clone(), &e),
        );
        let mut e = honest.clone();
        e.chain[0].checkpoint = forged(&e.chain[0].checkpoint, "witness.example/w1");
        put(
            "cosignature_bad_in_chain",
            ("proof", "chain"),
            "the same in the archive",
            two,
            &r.sign(claim.clone(), &e),
        );
        let mut e = honest.clone();
        e.checkpoint = forged(&e.checkpoint, "audit.example/moc");
        put("log_signature_bad", ends, "the log's own line does not verify", two, &r.sign(claim.clone(), &e));
        let mut e = honest.clone();
        e.chain[0].proof[0].0[0] ^= 1;
        let ends = ("proof", "chain");
        put(
            "chain_proof_changed",
            ends,
            "the archive does not lead to the checkpoint",
            two,
            &r.sign(claim.clone(), &e),
        );
        let mut e = honest.clone();
        e.chain.swap(0, 1);
        put("chain_order", ends, "sizes ascend", two, &r.sign(claim.clone(), &e));
        let mut fork = Recorder::new();
        let mut other = world.clone();
        other.carry("p3", Some(100));
        fork.polls(10, 2, &other);
        let mut e = honest.clone();
        e.chain[0].checkpoint = cosign(fork.checkpoint(), fork.signer(), &[(&w[0], at(22))]).as_str().into();
        put(
            "fork",
            ends,
            "an archived checkpoint of the same size and another history",
            two,
            &r.sign(claim, &e),
        );

        let mut late = Recorder::new();
        late.polls(10, 4, &world);
        let day = 86_400;
        let newest = cosign(late.checkpoint(), late.signer(), &[(&w[0], at(day)), (&w[1], at(day))]);
        let evidence = late.evidence(&red(15, 35), &newest);
        let files = late.sign(late.claim(&red(15, 35), &evidence), &evidence);
        let ends = ("undecided", "witnesses");
        put("written_in_an_evening", ends, "cosigned a day after the polls say", two, &files);
        let newest = cosign(late.checkpoint(), late.signer(), &[(&w[0], at(1)), (&w[1], at(1))]);
        let evidence = late.evidence(&red(15, 35), &newest);
        let early = late.sign(late.claim(&red(15, 35), &evidence), &evidence);
        put("cosigned_early_within_a_minute", VERIFIED, "clocks may differ by 60 s", two, &early);
        let mut ahead = Recorder::new();
        ahead.polls(100, 4, &world);
        let newest = cosign(ahead.checkpoint(), ahead.signer(), &[(&w[0], at(39)), (&w[1], at(39))]);
        let evidence = ahead.evidence(&red(105, 125), &newest);
        let files = ahead.sign(ahead.claim(&red(105, 125), &evidence), &evidence);
        let ends = ("undecided", "witnesses");
        put("dated_ahead", ends, "polls end more than 60 s after a witness had seen them", two, &files);

        let auditor = cosigner(50);
        let mut r = Recorder::new();
        r.polls(10, 4, &world);
        r.archive(&[(&auditor, at(1000))]);
        r.polls(50, 2, &world);
        let lines = format!("auditor a1 {}\nquorum none\naudit a1\n", auditor.verifier());
        let p = policy(&r, &lines, "");
        self.put(
            "audited",
            VERIFIED,
            "the auditor's checkpoint covers the range",
            QUIET,
            &p,
            &r.attest(&red(15, 35)),
        );
        let ends = ("undecided", "auditors");
        self.put("not_audited_yet", ends, "the range reaches beyond it", QUIET, &p, &r.attest(&red(15, 55)));
    }
}

fn unpack(e: &Evidence) -> Vec<Vec<u8>> {
    let mut p = Packer::new();
    e.entries.iter().map(|packed| p.unpack(packed).unwrap().0).collect()
}

fn pack(entries: &[Vec<u8>]) -> Vec<String> {
    let mut p = Packer::new();
    entries.iter().map(|e| p.pack(e).unwrap()).collect()
}
