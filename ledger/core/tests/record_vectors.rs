//! Reads every file under `tests/vectors/{entry,chain,content,vlan-tree}` and holds the code to it.
//!
//! A vector is one scenario: header lines `name: value`, a line `---`, then the bytes to the end of the file (with
//! `form: hex`, hex digits instead). `expect` is `ok` or the kind of refusal. The vectors were made by a program that
//! shares nothing with the code under test, its BLAKE3 included.

#![allow(clippy::unwrap_used)]

use isoledger_core::content::{Manifest, Opening, Snapshot};
use isoledger_core::hash::Digest;
use isoledger_core::json::{self, JsonError};
use isoledger_core::lease::Slots;
use isoledger_core::record::{Chain, ChainError, Record, RecordError};
use isoledger_core::vlantree::{DEPTH, Leaf, SlotKey, VlanTree, root_from};
use std::collections::BTreeMap;
use std::path::Path;

const VECTORS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/vectors");

struct Vector {
    name: String,
    headers: BTreeMap<String, String>,
    body: Vec<u8>,
}

impl Vector {
    fn read(path: &Path) -> Vector {
        let bytes = std::fs::read(path).unwrap();
        let split = bytes.windows(5).position(|w| w == b"\n---\n").expect("a line of three hyphens");
        let header = |line: &str| {
            let (key, value) = line.split_once(": ").expect("a colon in every header");
            (key.to_owned(), value.to_owned())
        };
        let headers: BTreeMap<_, _> =
            std::str::from_utf8(&bytes[..split]).unwrap().lines().map(header).collect();
        let mut body = bytes[split + 5..].to_vec();
        if headers.get("form").is_some_and(|f| f == "hex") {
            body = hex::decode(body).unwrap();
        }
        Vector { name: path.display().to_string(), headers, body }
    }

    fn get(&self, key: &str) -> &str {
        self.headers.get(key).unwrap_or_else(|| panic!("{}: header {key} is missing", self.name))
    }

    fn num(&self, key: &str) -> u64 {
        self.get(key).parse().unwrap()
    }

    fn digest(&self, key: &str) -> Digest {
        Digest::from_hex(self.get(key)).unwrap()
    }

    fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    fn expect(&self, found: &str) {
        assert_eq!(found, self.get("expect"), "{}: {}", self.name, self.get("comment"));
    }
}

fn walk(area: &str, at_least: usize, check: impl Fn(&Vector)) {
    let files: Vec<_> = std::fs::read_dir(format!("{VECTORS}/{area}")).unwrap().collect();
    assert!(files.len() >= at_least, "only {} vectors in {area}", files.len());
    for file in files {
        check(&Vector::read(&file.unwrap().path()));
    }
}

#[test]
fn entries() {
    walk("entry", 60, |v| match Record::parse(&v.body) {
        Ok(record) => {
            v.expect("ok");
            assert_eq!(record.encode().as_bytes(), v.body, "{}", v.name);
            assert_eq!(record.body.kind(), v.get("type"), "{}", v.name);
            assert_eq!(record.seq, v.num("seq"), "{}", v.name);
            assert_eq!(Digest::of(&v.body), v.digest("digest"), "{}", v.name);
        }
        Err(RecordError::TooLong { .. }) => v.expect("too-long"),
        Err(RecordError::Version { .. }) => v.expect("version"),
        Err(RecordError::Malformed { .. }) => v.expect("malformed"),
    });
}

#[test]
fn chains() {
    walk("chain", 25, |v| {
        let mut chain = Chain::new();
        for (i, line) in v.body.split_inclusive(|b| *b == b'\n').enumerate() {
            let record = Record::parse(line).unwrap_or_else(|e| panic!("{} line {i}: {e}", v.name));
            let before = chain.head();
            let Err(error) = chain.push(&record, line) else { continue };
            v.expect(match error {
                ChainError::Origin { .. } => "origin",
                ChainError::Seq { .. } => "seq",
                ChainError::Prev { .. } => "prev",
                ChainError::Backwards { .. } => "backwards",
                ChainError::Genesis { .. } => "genesis",
                ChainError::Window { .. } => "window",
                ChainError::Overlap { .. } => "overlap",
                ChainError::Stale { .. } => "stale",
            });
            let from = Record::parse(v.body.split_inclusive(|b| *b == b'\n').next().unwrap()).unwrap().seq;
            assert_eq!(from + i as u64, v.num("at"), "{}: another entry was refused", v.name);
            assert_eq!(chain.head(), before, "{}: a refused entry moved the chain", v.name);
            return;
        }
        v.expect("ok");
        assert_eq!(chain.head().unwrap().0, v.digest("head"), "{}", v.name);
    });
}

#[test]
fn contents() {
    fn read<T: serde::Serialize + serde::de::DeserializeOwned>(v: &Vector) {
        match json::from_canonical::<T>("a vector", &v.body, 1 << 20) {
            Ok(value) => {
                v.expect("ok");
                assert_eq!(json::to_canonical(&value), v.body);
            }
            Err(JsonError::TooLarge { .. }) => v.expect("too-large"),
            Err(JsonError::Malformed { .. }) => v.expect("malformed"),
            Err(JsonError::NotCanonical { .. }) => v.expect("not-canonical"),
        }
    }
    walk("content", 12, |v| match v.get("kind") {
        "commitment" => {
            let opening = Opening { opening: v.digest("opening").0, digest: Digest::of(&v.body) };
            let found = opening.commit(&Digest::of(v.get("origin").as_bytes()), v.num("seq"));
            v.expect(if found == v.digest("commitment") { "ok" } else { "mismatch" });
        }
        "manifest" => read::<Manifest>(v),
        "snapshot" => read::<Snapshot>(v),
        other => panic!("{}: {other}", v.name),
    });
}

#[test]
fn vlan_trees() {
    let slots = |handles: Digest, unused: Digest| Slots { v: 1, handles, unused, leases: BTreeMap::new() };
    walk("vlan-tree", 20, |v| {
        let key = || SlotKey(v.digest("slot-key").0);
        let leaf = |slice: Digest| Leaf {
            slot: v.num("slot").try_into().unwrap(),
            version: v.num("version"),
            origin_hash: Digest::of(v.get("origin").as_bytes()),
            slice,
            common: v.digest("common"),
        };
        let lines = |word: &str| -> Vec<Vec<String>> {
            let rest = |l: &str| Some(l.strip_prefix(word)?.split_whitespace().map(String::from).collect());
            v.text().lines().filter_map(rest).collect()
        };
        let digest = |text: &String| Digest::from_hex(text).unwrap();
        match v.get("kind") {
            "opening" => {
                assert_eq!(Digest(key().opening(v.num("version"))), v.digest("opening"), "{}", v.name)
            }
            "unused" => {
                let found = slots(Digest::ZERO, v.digest("unused")).key(v.num("slot").try_into().unwrap());
                assert!(found == key(), "{}", v.name);
            }
            "commit" => {
                assert_eq!(leaf(Digest::of(&v.body)).commit(&key()), v.digest("commit"), "{}", v.name);
            }
            "node" => {
                // A node is checked through a tree path of one step: the root over two leaves is what `root_from`
                // computes first, so here the formula of the page stands by itself.
                let k2 = Digest::of(b"isoledger vlan tree node v1");
                let both = [v.digest("left").0, v.digest("right").0].concat();
                assert_eq!(Digest::keyed(k2.as_bytes(), &both), v.digest("node"), "{}", v.name);
            }
            "root" => {
                let unused = slots(Digest::ZERO, v.digest("unused"));
                let leased: BTreeMap<u16, (Digest, SlotKey)> = lines("leased ")
                    .iter()
                    .map(|l| (l[0].parse().unwrap(), (digest(&l[2]), SlotKey(digest(&l[1]).0))))
                    .collect();
                let origin = Digest::of(v.get("origin").as_bytes());
                let tree = VlanTree::build(v.num("version"), origin, v.digest("common"), |s| {
                    leased.get(&s).copied().unwrap_or((Digest::of(b""), unused.key(s)))
                });
                assert_eq!(tree.root(), v.digest("root"), "{}", v.name);
            }
            "proof" => {
                let siblings: Vec<Digest> = lines("sibling ").iter().map(|l| digest(&l[0])).collect();
                let Ok(proof) = <[Digest; DEPTH]>::try_from(siblings) else { return v.expect("length") };
                let slice = digest(&lines("slice ")[0][0]);
                let found = root_from(&leaf(slice), &key(), &proof);
                v.expect(if found == v.digest("root") { "ok" } else { "mismatch" });
            }
            "switch-handle" => {
                let found = slots(v.digest("handles"), Digest::ZERO).switch_handle(v.get("switch"));
                assert_eq!(found, v.digest("handle"), "{}", v.name);
            }
            "port-handle" => {
                let slots = slots(v.digest("handles"), Digest::ZERO);
                assert_eq!(
                    slots.port_handle(v.get("switch"), v.get("port")),
                    v.digest("handle"),
                    "{}",
                    v.name
                );
            }
            "identity" => {
                let found = slots(v.digest("handles"), Digest::ZERO).identity_handle(v.get("identity"));
                assert_eq!(found, v.digest("handle"), "{}", v.name);
            }
            other => panic!("{}: {other}", v.name),
        }
    });
}

// A vector that no sentence names pins nothing; a page is where a stranger starts.
#[test]
fn pages_name_every_vector() {
    let pages = [
        ("entry", "entry.md"),
        ("chain", "entry.md"),
        ("content", "content.md"),
        ("vlan-tree", "vlan-tree.md"),
        ("slice", "slice.md"),
        ("judge", "slice.md"),
    ];
    for (area, page) in pages {
        let read =
            |page: &str| std::fs::read_to_string(format!("{VECTORS}/../../docs/formats/{page}")).unwrap();
        let text = read(page) + &read("lease.md");
        for file in std::fs::read_dir(format!("{VECTORS}/{area}")).unwrap() {
            let file = file.unwrap().file_name().into_string().unwrap();
            let name = file.trim_end_matches(".json");
            assert!(text.contains(&format!("`{name}`")), "{page} does not name the vector {area}/{file}");
        }
    }
}
