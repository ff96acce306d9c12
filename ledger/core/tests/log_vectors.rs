//! Reads every file under `tests/vectors/{note,checkpoint,witness,merkle,tiles,dsse}` and holds the code to it.
//!
//! A vector is one scenario: header lines `name: value`, a line `---`, then the bytes to the end of the file (with
//! `form: hex`, hex digits and white space instead). `expect` is `ok` or the kind of refusal: the name of the error's
//! variant, in lower case with hyphens. Every vector is named on the format page whose sentence it pins. The vectors were made by another program, not by the code under test.

#![allow(clippy::unwrap_used)]

use isoledger_core::checkpoint::{Checkpoint, SignedCheckpoint};
use isoledger_core::dsse::{self, Envelope};
use isoledger_core::hash::Hash;
use isoledger_core::merkle::{self, LeafIndex, RangeVerifier};
use isoledger_core::note::{Note, RecordNote, VerifierKey};
use isoledger_core::tiles::{self, TileKind, TilePath};
use isoledger_core::witness::{self, AddCheckpoint, Refusal, Reply};
use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fmt::Debug;
use std::path::Path;

const VECTORS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/vectors");
const PAGES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/formats");

struct Vector {
    name: String,
    headers: Vec<(String, String)>,
    used: RefCell<BTreeSet<String>>,
    body: Vec<u8>,
}

impl Vector {
    fn read(path: &Path) -> Vector {
        let name = path.display().to_string();
        let bytes = std::fs::read(path).unwrap();
        let split = bytes.windows(5).position(|w| w == b"\n---\n").expect("a line of three hyphens");
        let headers: Vec<(String, String)> = std::str::from_utf8(&bytes[..split])
            .unwrap()
            .lines()
            .map(|line| {
                let (key, value) = line.split_once(':').expect("a colon in every header");
                (key.to_owned(), value.trim().to_owned())
            })
            .collect();
        let mut body = bytes[split + 5..].to_vec();
        if headers.iter().any(|(k, v)| k == "form" && v == "hex") {
            body.retain(|b| !b.is_ascii_whitespace());
            body = hex::decode(body).unwrap();
        }
        let used = RefCell::new(["expect", "comment", "form"].map(String::from).into());
        Vector { name, headers, used, body }
    }

    fn all(&self, key: &str) -> impl Iterator<Item = &str> {
        self.used.borrow_mut().insert(key.into());
        self.headers.iter().filter(move |(k, _)| k == key).map(|(_, v)| v.as_str())
    }

    fn opt(&self, key: &str) -> Option<&str> {
        self.all(key).next()
    }

    fn get(&self, key: &str) -> &str {
        self.opt(key).unwrap_or_else(|| panic!("{}: header {key} is missing", self.name))
    }

    fn num(&self, key: &str) -> u64 {
        self.get(key).parse().unwrap()
    }

    fn hash(&self, key: &str) -> Hash {
        Hash::from_base64(self.get(key)).unwrap()
    }

    fn keys(&self, key: &str) -> Vec<VerifierKey> {
        self.all(key).map(|text| VerifierKey::parse(text).unwrap()).collect()
    }

    fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    fn lines_after(&self, word: &str) -> Vec<&str> {
        self.text().lines().filter_map(|line| line.strip_prefix(word)?.strip_prefix(' ')).collect()
    }

    fn hashes_after(&self, word: &str) -> Vec<Hash> {
        self.lines_after(word).into_iter().map(|text| Hash::from_base64(text).unwrap()).collect()
    }

    fn judge<E: Debug>(&self, result: Result<(), E>) {
        let found = result.map_or_else(|error| kind(&error), |()| "ok".into());
        assert_eq!(found, self.get("expect"), "{}: {}", self.name, self.get("comment"));
    }
}

// `Note(BadSignature { … })` is a `bad-signature`.
fn kind(error: &impl Debug) -> String {
    let text = format!("{error:?}");
    let inner = ["Note(", "Proof("].iter().find_map(|outer| text.strip_prefix(outer)).unwrap_or(&text);
    let mut out = String::new();
    for c in inner.chars().take_while(char::is_ascii_alphanumeric) {
        if c.is_ascii_uppercase() && !out.is_empty() {
            out.push('-');
        }
        out.push(c.to_ascii_lowercase());
    }
    out
}

fn walk(area: &str, page: &str, check: impl Fn(&Vector)) {
    let page = std::fs::read_to_string(format!("{PAGES}/{page}.md")).unwrap();
    let mut count = 0;
    for file in std::fs::read_dir(format!("{VECTORS}/{area}")).unwrap() {
        let file = file.unwrap();
        let vector = Vector::read(&file.path());
        let named = page.contains(&format!("`{}`", file.file_name().display()));
        assert!(named, "{}: its page names no sentence that it pins", vector.name);
        check(&vector);
        let used = vector.used.borrow();
        for (key, _) in &vector.headers {
            // A wrong expectation may leave the headers of success unread, never the others.
            assert!(used.contains(key), "{}: nobody reads header {key}", vector.name);
        }
        count += 1;
    }
    assert!(count > 20, "only {count} vectors in {area}");
}

#[test]
fn notes() {
    walk("note", "checkpoint", |v| match v.get("as") {
        "note" => {
            let keys = v.keys("key");
            v.judge(Note::parse(&v.body).and_then(|note| {
                let verified = note.verify(&keys)?;
                let names: Vec<_> = verified.iter().map(|v| v.key().name()).collect();
                assert_eq!(names.join(", "), v.get("verified"), "{}", v.name);
                let time = v.opt("time").map(|t| t.parse::<u64>().unwrap());
                assert_eq!(verified[0].time().map(|t| t.seconds()), time, "{}", v.name);
                Ok(())
            }));
        }
        "record" => {
            let key = &v.keys("key")[0];
            v.judge(RecordNote::parse(&v.body).and_then(|record| {
                record.verify(key)?;
                assert_eq!(record.signer(), v.get("verified"));
                Ok(())
            }));
        }
        "vkey" => v.judge(VerifierKey::parse(v.text()).map(|key| assert_eq!(key.to_string(), v.text()))),
        other => panic!("{}: {other}", v.name),
    });
}

#[test]
fn checkpoints() {
    walk("checkpoint", "checkpoint", |v| {
        let (log, cosigners) = (&v.keys("log")[0], v.keys("cosigner"));
        v.judge(SignedCheckpoint::parse(&v.body).and_then(|note| {
            let checkpoint = note.open(log)?;
            let cosigned = note.cosignatures(&cosigners)?;
            assert_eq!(note.as_bytes(), v.body);
            assert_eq!(checkpoint.size(), v.num("size"), "{}", v.name);
            let cosigned: Vec<_> =
                cosigned.iter().map(|c| format!("{}@{}", c.name, c.time.seconds())).collect();
            assert_eq!(cosigned.join(" "), v.opt("cosigned").unwrap_or_default(), "{}", v.name);
            Ok(())
        }));
    });
}

#[test]
fn witnesses() {
    walk("witness", "witness", |v| {
        let status = v.num("status") as u16;
        match v.get("kind") {
            "request" => {
                let latest = v.opt("latest-size").map(|size| Checkpoint {
                    origin: String::new(),
                    size: size.parse().unwrap(),
                    root: v.hash("latest-root"),
                });
                let keys = v.keys("log");
                let decided = AddCheckpoint::parse(&v.body).map_err(Refusal::from).and_then(|request| {
                    assert_eq!(request.to_string().as_bytes(), v.body, "{}", v.name);
                    let origin = &request.checkpoint.head().origin;
                    let keys: Vec<_> = keys.into_iter().filter(|k| k.name() == origin).collect();
                    witness::decide(&request, &keys, latest.as_ref()).map(|lines| assert_eq!(lines.len(), 1))
                });
                assert_eq!(decided.as_ref().map_or_else(Refusal::status, |()| 200), status, "{}", v.name);
                if let (Some(size), Err(refusal)) = (v.opt("conflict"), &decided) {
                    assert_eq!(
                        (refusal.content_type(), refusal.body()),
                        (witness::SIZE_TYPE, format!("{size}\n"))
                    );
                }
                v.judge(decided);
            }
            "answer" => {
                let reply = Reply::read(status, v.opt("type"), &v.body);
                assert_eq!(kind(&reply), v.get("expect"), "{}", v.name);
            }
            other => panic!("{}: {other}", v.name),
        }
    });
}

#[test]
fn trees_and_proofs() {
    walk("merkle", "proof", |v| match v.get("kind") {
        "leaf" => {
            assert_eq!(merkle::leaf_hash(&v.body), v.hash("hash"), "{}", v.name);
        }
        "root" => {
            let leaf = |text: &str| merkle::leaf_hash(&hex::decode(text).unwrap());
            let leaves = v.text().lines().map(|line| leaf(line.strip_prefix("entry ").unwrap()));
            assert_eq!(merkle::root_of(leaves), v.hash("root"), "{}", v.name);
        }
        "inclusion" => {
            let (index, size) = (LeafIndex(v.num("index")), v.num("size"));
            let proof = merkle::proof_from_text(v.text()).unwrap();
            v.judge(merkle::check_inclusion(v.hash("leaf"), index, size, &v.hash("root"), &proof));
        }
        "consistency" => {
            let (older, newer) = (v.num("older"), v.num("newer"));
            let proof = merkle::proof_from_text(v.text()).unwrap();
            let (old_root, new_root) = (v.hash("older-root"), v.hash("newer-root"));
            v.judge(merkle::check_consistency(older, &old_root, newer, &new_root, &proof));
        }
        "range" => {
            let (start, end, size, root) = (v.num("start"), v.num("end"), v.num("size"), v.hash("root"));
            v.judge(RangeVerifier::new(start, &v.hashes_after("left")).and_then(|mut range| {
                v.hashes_after("leaf").into_iter().for_each(|leaf| range.push(leaf));
                range.finish_at(end, size, &v.hashes_after("right"), &root)
            }));
        }
        other => panic!("{}: {other}", v.name),
    });
}

#[test]
fn tiles_and_bundles() {
    walk("tiles", "tiles", |v| match v.get("kind") {
        "path" => v.judge(TilePath::parse(v.text()).map(|path| {
            let kind = match path.kind() {
                TileKind::Hashes(level) => format!("level {level}"),
                TileKind::Entries => "entries".into(),
            };
            assert_eq!(format!("{kind} index {} width {}", path.index(), path.width()), v.get("is"));
            assert_eq!(path.to_string(), v.text());
        })),
        "list" => {
            let size = v.num("size");
            let paths: String = tiles::hash_tiles(size)
                .chain(tiles::entry_tiles(size))
                .map(|path| format!("{path}\n"))
                .collect();
            assert_eq!(paths, v.text(), "{}", v.name);
        }
        "within" => {
            let (path, size) = (TilePath::parse(v.text()).unwrap(), v.num("size"));
            if v.get("expect") == "ok" {
                assert!(path.is_within(size), "{}", v.name);
                assert_eq!(path.is_of(size), v.get("current") == "yes", "{}", v.name);
            } else {
                assert_eq!(v.get("expect"), "not-within");
                assert!(!path.is_within(size) && !path.is_of(size), "{}", v.name);
            }
        }
        "bundle" => v.judge(tiles::decode_bundle(&v.body, v.num("width") as u16).map(|entries| {
            let text = |e: &&[u8]| if e.is_empty() { "-".into() } else { hex::encode(e) };
            assert_eq!(entries.iter().map(text).collect::<Vec<_>>().join(" "), v.get("entries"));
            assert_eq!(tiles::encode_bundle(entries).unwrap(), v.body);
        })),
        "tile" => v.judge(tiles::decode_tile(&v.body, v.num("width") as u16).map(|hashes| {
            let text: Vec<_> = hashes.iter().map(|h| h.to_base64()).collect();
            assert_eq!(text.join(" "), v.get("hashes"));
            assert_eq!(tiles::tile_root(&hashes), v.hash("root"));
            assert_eq!(tiles::encode_tile(&hashes), v.body);
        })),
        "parent" => {
            let hashes = tiles::decode_tile(&v.body, 256).unwrap();
            let path = TilePath::parse("tile/0/000").unwrap();
            v.judge(tiles::check_tile(path, &hashes, &v.hash("parent")));
        }
        other => panic!("{}: {other}", v.name),
    });
}

#[test]
fn envelopes() {
    walk("dsse", "envelope", |v| match v.get("kind") {
        "pae" => {
            assert_eq!(
                dsse::pae(v.get("type"), &hex::decode(v.get("payload")).unwrap()),
                v.body,
                "{}",
                v.name
            );
        }
        "keyid" => assert_eq!(dsse::key_id(v.keys("key")[0].public()), v.text()),
        "envelope" => {
            let (key, payload_type, max) = (&v.keys("key")[0], v.get("type"), v.num("max") as usize);
            v.judge(Envelope::parse(&v.body, max).and_then(|envelope| {
                envelope.open(key, payload_type)?;
                assert_eq!(envelope.to_json().as_bytes(), v.body, "{}", v.name);
                Ok(())
            }));
        }
        other => panic!("{}: {other}", v.name),
    });
}
