//! Style and rules of absence, as tests. What they forbid is listed in docs/ARCHITECTURE.md; here it is kept true.

use isoledger_collectors::dialects::SWITCHES;
use isoledger_core::model::BypassClass;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

// ---- the house -----------------------------------------------------------------------------------------------------

fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().expect("the crate of tests lies in the workspace").to_owned()
}

/// Folder and package of every crate, and which of ours it may depend on.
const HOUSE: [(&str, &str, &[&str]); 7] = [
    ("ledger/core", "isoledger-core", &[]),
    ("ledger", "isoledger-ledger", &["isoledger-core"]),
    ("collectors", "isoledger-collectors", &["isoledger-core"]),
    ("verifier", "isoverify", &["isoledger-core"]),
    // The arrows to the lab and to isoverify serve the demo; `only_the_demo_knows_lab_and_verifier` keeps them there.
    (
        "api",
        "isoledger",
        &["isoledger-collectors", "isoledger-core", "isoledger-lab", "isoledger-ledger", "isoverify"],
    ),
    ("tests/lab", "isoledger-lab", &[]),
    (
        "tests",
        "isoledger-tests",
        &["isoledger-collectors", "isoledger-core", "isoledger-lab", "isoledger-ledger", "isoverify"],
    ),
];

fn read(path: impl AsRef<Path>) -> String {
    let path = root().join(path);
    fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// Every file of the project as (path from the root, text); what is no text, built, or the version control's is left
/// out.
fn texts() -> Vec<(String, String)> {
    fn walk(dir: &Path, out: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(dir).expect("a directory of the project") {
            let path = entry.expect("an entry of it").path();
            let name = path.file_name().and_then(|n| n.to_str()).unwrap_or_default();
            match name {
                "target" | ".git" | "node_modules" | "corpus" | "artifacts" => {}
                _ if name.contains("proptest-regressions") => {}
                _ if path.is_dir() => walk(&path, out),
                _ => out.push(path),
            }
        }
    }
    let mut paths = Vec::new();
    walk(&root(), &mut paths);
    paths.sort();
    assert!(paths.len() > 200, "only {} files found; is this the whole project?", paths.len());
    let root = root();
    paths
        .into_iter()
        .filter_map(|p| {
            let text = fs::read_to_string(&p).ok()?;
            let name = p.strip_prefix(&root).expect("found below it").to_str()?.to_owned();
            Some((name, text))
        })
        .collect()
}

fn rust_files(under: &str) -> Vec<(String, String)> {
    let of = |n: &str| n.starts_with(under) && n.ends_with(".rs");
    let found: Vec<_> = texts().into_iter().filter(|(n, _)| of(n)).collect();
    assert!(!found.is_empty(), "no Rust under {under}");
    found
}

/// Fails with every line of `wrong`.
fn none(what: &str, wrong: Vec<String>) {
    assert!(wrong.is_empty(), "{what}:\n  {}", wrong.join("\n  "));
}

/// Names of the dependencies in one section of a Cargo.toml.
fn dependencies(manifest: &str, section: &str) -> BTreeSet<String> {
    let header = format!("[{section}]");
    manifest
        .lines()
        .skip_while(|l| l.trim() != header)
        .skip(1)
        .take_while(|l| !l.starts_with('['))
        .map(str::trim)
        .filter(|l| !l.is_empty() && !l.starts_with('#'))
        .filter_map(|l| l.split(['.', '=', ' ']).next())
        .map(str::to_owned)
        .collect()
}

fn cargo_tree(arguments: &[&str]) -> String {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let out = Command::new(cargo)
        .args(["tree", "--offline", "--locked"])
        .args(arguments)
        .current_dir(root())
        .output()
        .expect("cargo runs, for it runs this");
    assert!(out.status.success(), "cargo tree: {}", String::from_utf8_lossy(&out.stderr));
    String::from_utf8(out.stdout).expect("cargo prints UTF-8")
}

/// Every crate that `package` is built from, itself included.
fn tree(package: &str) -> BTreeSet<String> {
    let text = cargo_tree(&["--edges", "normal", "--prefix", "none", "--package", package]);
    text.lines().filter_map(|l| l.split(' ').next()).filter(|n| !n.is_empty()).map(str::to_owned).collect()
}

// ---- crates --------------------------------------------------------------------------------------------------------

#[test]
fn arrows_between_crates_are_those_of_the_plan() {
    let ours: BTreeSet<&str> = HOUSE.iter().map(|(_, package, _)| *package).collect();
    let members = read("Cargo.toml");
    let list = members.lines().find(|l| l.starts_with("members = ")).expect("a workspace has members");
    assert_eq!(list.matches('"').count() / 2, HOUSE.len(), "HOUSE must list every member of {list}");
    for (dir, package, may) in HOUSE {
        assert!(list.contains(&format!("\"{dir}\"")), "{dir} is no member");
        let manifest = read(Path::new(dir).join("Cargo.toml"));
        assert!(manifest.contains(&format!("name = \"{package}\"")), "{dir} is not {package}");
        for section in ["dependencies", "dev-dependencies", "build-dependencies"] {
            let found: BTreeSet<String> = dependencies(&manifest, section);
            let found: BTreeSet<&str> =
                found.iter().map(String::as_str).filter(|d| ours.contains(d)).collect();
            let allowed: BTreeSet<&str> =
                if section == "dependencies" { may.iter().copied().collect() } else { BTreeSet::new() };
            assert_eq!(
                found, allowed,
                "{package}, [{section}]: see docs/ARCHITECTURE.md before adding an arrow"
            );
        }
    }
}

#[test]
fn every_crate_takes_the_lints_and_the_licence_of_the_workspace() {
    let top = read("Cargo.toml");
    assert!(top.contains("unsafe_code = \"forbid\""), "the workspace forbids unsafe code");
    assert!(top.contains("license = \"Apache-2.0\""));
    assert!(read("LICENSE").contains("Apache License"));
    for (dir, package, _) in HOUSE {
        let manifest = read(Path::new(dir).join("Cargo.toml"));
        assert!(manifest.contains("[lints]\nworkspace = true"), "{package} has lints of its own");
        assert!(manifest.contains("license.workspace = true"), "{package} has a licence of its own");
    }
}

#[test]
fn core_and_verifier_fit_on_a_postcard() {
    // Adding one is a decision: core is what a tenant has to trust.
    let core = ["base64", "blake3", "ed25519-dalek", "hex", "serde", "serde_json", "sha2", "thiserror"];
    let verifier = ["clap", "isoledger-core", "serde", "serde_json"];
    for (dir, wanted) in [("ledger/core", &core[..]), ("verifier", &verifier[..])] {
        let found = dependencies(&read(Path::new(dir).join("Cargo.toml")), "dependencies");
        let found: Vec<&str> = found.iter().map(String::as_str).collect();
        assert_eq!(found, wanted, "{dir}");
    }
}

#[test]
fn rooms_are_free_of_what_they_must_not_know() {
    let network = [
        "hyper", "reqwest", "axum", "http", "h2", "tower", "tokio", "mio", "socket2", "ssh2", "rustls",
        "ureq",
    ];
    let storage = ["sled", "redb", "rusqlite", "fs2", "zstd"];
    let chance = ["rand", "rand_core", "getrandom", "fastrand"];
    let clocks = ["chrono", "time", "jiff", "instant"];
    let banned: [(&str, Vec<&str>); 3] = [
        ("isoledger-core", [&network[..], &storage, &chance, &clocks, &["clap", "tracing"]].concat()),
        ("isoverify", [&network[..], &storage, &chance, &clocks, &["tracing"]].concat()),
        ("isoledger-ledger", [&network[..], &chance].concat()),
    ];
    for (package, banned) in banned {
        let tree = tree(package);
        let found: Vec<&&str> = banned.iter().filter(|b| tree.contains(**b)).collect();
        assert!(found.is_empty(), "{package} is built from {found:?}");
    }
    // Sled serves the ledger and whoever uses the ledger.
    assert!(!tree("isoledger-collectors").contains("sled"), "collectors know no storage");
}

#[test]
fn the_verifiers_readme_prints_its_tree() {
    let readme = read("verifier/README.md");
    let (said, edges) = ("cargo tree -p isoverify -e ", "no-dev,no-build,no-proc-macro");
    assert!(readme.contains(&format!("{said}{edges} ")), "verifier/README.md says how its tree is made");
    let printed = readme.split("```").skip(1).step_by(2).find(|b| b.starts_with("\nisoverify\n"));
    let printed = printed.expect("verifier/README.md has a block that begins with a line isoverify").trim();
    let found = cargo_tree(&[
        "--package",
        "isoverify",
        "--edges",
        edges,
        "--target",
        "x86_64-unknown-linux-gnu",
        "--format",
        "{lib}",
    ]);
    assert_eq!(printed, found.trim(), "left is printed in verifier/README.md, right is so");
}

#[test]
fn only_the_demo_knows_lab_and_verifier() {
    let mut wrong = Vec::new();
    for (name, text) in rust_files("api/") {
        if name.starts_with("api/src/demo/") {
            continue;
        }
        for (n, line) in text.lines().enumerate() {
            if ["isoledger_lab", "isoverify::"].iter().any(|w| line.contains(w)) {
                wrong.push(format!("{name}:{}: {}", n + 1, line.trim()));
            }
        }
    }
    none("these use the lab or the verifier outside api/src/demo", wrong);
}

/// The lines of a file that are built into the program: no comments, and nothing from the first `#[cfg(test)]` on.
fn built(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines()
        .enumerate()
        .take_while(|(_, l)| *l != "#[cfg(test)]")
        .filter(|(_, l)| !l.trim_start().starts_with("//"))
        .map(|(n, l)| (n + 1, l))
}

#[test]
fn ledger_and_verifier_know_no_dialect() {
    let dialects = [
        "\"openvswitch\"",
        "\"hil-",
        "\"hil\"",
        "powerconnect",
        "n3000",
        "nexus",
        "brocade",
        "os9",
        "ovsdb",
        "openflow",
    ];
    let mut wrong = Vec::new();
    for (name, text) in [rust_files("ledger/"), rust_files("verifier/")].concat() {
        if !name.contains("/src/") || name.contains("/tests/") {
            continue;
        }
        for (n, line) in built(&text) {
            let lower = line.to_lowercase();
            if dialects.iter().any(|d| lower.contains(d)) {
                wrong.push(format!("{name}:{n}: {}", line.trim()));
            }
        }
    }
    none("a dialect is named where none may be known", wrong);
}

const SHOW_BY_POST: &str = "Some(command) => inner.client.post(url).body(input(command)),";

#[test]
fn collectors_only_read() {
    // What would write, in the words of the protocols and of the libraries that speak them.
    let writes = [
        ".post(",
        ".put(",
        ".delete(",
        ".patch(",
        "Method::POST",
        "Method::PUT",
        "Method::DELETE",
        "Method::PATCH",
        "\"insert\"",
        "\"update\"",
        "\"mutate\"",
        "\"delete\"",
        "mod-flows",
        "add-flow",
        "del-flows",
        "\"configure ",
    ];
    let mut wrong = Vec::new();
    for (name, text) in rust_files("collectors/src/") {
        if name.ends_with("/tests.rs") {
            continue;
        }
        for (n, line) in built(&text) {
            // The one POST there is: it has the switch run a show command, and its body holds nothing else.
            if name == "collectors/src/net/web.rs" && line.trim() == SHOW_BY_POST {
                continue;
            }
            // What an OVSDB server calls its telling of changes, which is heard and never said.
            if name == "collectors/src/openvswitch/ovsdb.rs"
                && line.trim() == r#"const TOLD: &str = "update";"#
            {
                continue;
            }
            if let Some(word) = writes.iter().find(|w| line.contains(*w)) {
                wrong.push(format!("{name}:{n}: {word} in {}", line.trim()));
            }
        }
    }
    none("a collector must not be able to write", wrong);
}

#[test]
fn every_crate_has_a_front_page() {
    for (dir, package, _) in HOUSE {
        let file = if package == "isoledger" { "src/main.rs" } else { "src/lib.rs" };
        let text = read(Path::new(dir).join(file));
        let page: String = text.lines().filter(|l| l.starts_with("//!")).map(|l| format!("{l}\n")).collect();
        for heading in ["//! # In scope\n", "//! # Out of scope\n"] {
            assert!(page.contains(heading), "{dir}/{file} has no {heading:?}");
        }
    }
}

// ---- words ---------------------------------------------------------------------------------------------------------

/// Whether `text` has `word` with nothing before or after it that could be part of a word or of base64.
fn has_word(text: &str, word: &str) -> bool {
    let joins = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || "_+/=".contains(c));
    text.match_indices(word).any(|(at, _)| {
        !joins(text[..at].chars().next_back()) && !joins(text[at + word.len()..].chars().next())
    })
}

#[test]
fn nothing_is_left_for_later() {
    // Put together here, so that this file does not hold them.
    let marks: Vec<String> = ["TO DO", "FIX ME", "X XX", "HA CK"].map(|w| w.replace(' ', "")).to_vec();
    let calls: Vec<String> = ["todo !", "unimplemented !"].map(|w| w.replace(' ', "")).to_vec();
    let mut wrong = Vec::new();
    for (name, text) in texts() {
        for (n, line) in text.lines().enumerate() {
            let mark = marks.iter().any(|m| has_word(line, m));
            let call = name.ends_with(".rs") && calls.iter().any(|c| line.contains(c));
            if mark || call {
                wrong.push(format!("{name}:{}: {}", n + 1, line.trim()));
            }
        }
    }
    none("unfinished", wrong);
}

#[test]
fn no_machine_and_no_registry_is_named() {
    let paths = ["work", "root", "home", "Users"].map(|d| format!("/{d}/"));
    let hosts =
        ["index.crates", "static.crates", "registry.npmjs", "pypi.org", "proxy.golang", "artifactory"];
    let mut wrong = Vec::new();
    for (name, text) in texts() {
        if name == "Cargo.lock" || name == "tests/tests/tidy.rs" {
            continue;
        }
        for (n, line) in text.lines().enumerate() {
            if paths.iter().any(|p| line.contains(p)) || hosts.iter().any(|h| line.contains(h)) {
                wrong.push(format!("{name}:{}: {}", n + 1, line.trim()));
            }
        }
    }
    none("the project names a path or host of the machine it was written on", wrong);
    let lock = read("Cargo.lock");
    let sources: BTreeSet<&str> = lock.lines().filter(|l| l.starts_with("source = ")).collect();
    let only = "source = \"registry+https://github.com/rust-lang/crates.io-index\"";
    assert_eq!(sources.into_iter().collect::<Vec<_>>(), [only], "Cargo.lock");
}

// ---- documents -----------------------------------------------------------------------------------------------------

fn pages(under: &str) -> Vec<(String, String)> {
    texts().into_iter().filter(|(n, _)| n.starts_with(under) && n.ends_with(".md")).collect()
}

/// The anchors of a page's headings, as code hosts make them.
fn anchors(text: &str) -> BTreeSet<String> {
    let mut fenced = false;
    let mut out = BTreeSet::new();
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
        }
        if fenced || !line.starts_with('#') {
            continue;
        }
        let title = line.trim_start_matches('#').trim().to_lowercase();
        let kept = title.chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c));
        out.insert(kept.map(|c| if c == ' ' { '-' } else { c }).collect());
    }
    out
}

#[test]
fn links_lead_to_files_and_headings_that_are_there() {
    let mut wrong = Vec::new();
    for (name, text) in pages("") {
        let dir = root().join(&name).parent().expect("a file lies in a directory").to_owned();
        let mut fenced = false;
        for line in text.lines() {
            if line.trim_start().starts_with("```") {
                fenced = !fenced;
            }
            if fenced {
                continue;
            }
            for link in line.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
                if link.contains("://") || link.starts_with("mailto:") {
                    continue;
                }
                let (file, anchor) = link.split_once('#').unwrap_or((link, ""));
                let path = if file.is_empty() { root().join(&name) } else { dir.join(file) };
                if !path.exists() {
                    wrong.push(format!("{name}: {link}: no such file"));
                } else if !anchor.is_empty() {
                    let there = fs::read_to_string(&path).unwrap_or_default();
                    if !anchors(&there).contains(anchor) {
                        wrong.push(format!("{name}: {link}: no such heading"));
                    }
                }
            }
        }
    }
    none("links that lead nowhere", wrong);
}

#[test]
fn every_page_that_is_named_is_there() {
    let mut wrong = BTreeSet::new();
    for (name, text) in texts() {
        if !["rs", "md", "toml", "js"].iter().any(|e| name.ends_with(&format!(".{e}"))) {
            continue;
        }
        for (at, _) in text.match_indices("docs/") {
            let before = text[..at].chars().next_back();
            if before.is_some_and(|c| c.is_alphanumeric() || "/-_.".contains(c)) {
                continue;
            }
            let path: String =
                text[at..].chars().take_while(|c| c.is_ascii_alphanumeric() || "/-_.".contains(*c)).collect();
            if path.ends_with(".md") && !root().join(&path).is_file() {
                wrong.insert(format!("{name}: {path}"));
            }
        }
    }
    none("pages that are named and not there", wrong.into_iter().collect());
}

#[test]
fn the_index_of_docs_lists_every_page() {
    let index = read("docs/README.md");
    let wrong = pages("docs/")
        .into_iter()
        .map(|(name, _)| name)
        .filter(|name| name != "docs/README.md")
        .filter(|name| !index.contains(&format!("]({})", name.trim_start_matches("docs/"))))
        .collect();
    none("docs/README.md does not list", wrong);
}

#[test]
fn every_vector_is_named_by_a_page_and_walked_by_a_test() {
    let formats: String = pages("docs/formats/").into_iter().map(|(_, text)| text).collect();
    let tests: String = texts()
        .into_iter()
        .filter(|(n, _)| n.ends_with(".rs") && n.contains("/tests/") && n != "tests/tests/tidy.rs")
        .map(|(_, text)| text)
        .collect();
    let mut areas: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for area in fs::read_dir(root().join("tests/vectors")).expect("there are vectors") {
        let area = area.expect("an entry").path();
        let files = fs::read_dir(&area).expect("vectors lie in a directory for each format");
        let names = files.map(|f| f.expect("an entry").file_name().to_string_lossy().into_owned());
        let area = area.file_name().expect("it has a name").to_string_lossy().into_owned();
        areas.entry(area).or_default().extend(names);
    }
    let mut wrong = Vec::new();
    for (area, files) in areas {
        if !formats.contains(&format!("tests/vectors/{area}")) {
            wrong.push(format!("tests/vectors/{area} is on no page of docs/formats"));
        }
        if !tests.contains(&format!("\"{area}\"")) {
            wrong.push(format!("tests/vectors/{area} is read by no test"));
        }
        for file in files {
            let stem = file.split('.').next().unwrap_or(&file);
            if !formats.contains(&format!("`{stem}`")) && !formats.contains(&format!("`{file}`")) {
                wrong.push(format!("tests/vectors/{area}/{file} is named by no page of docs/formats"));
            }
        }
    }
    none("vectors that pin no sentence", wrong);
}

/// The files that a format page describes, from its line ``Code: `a.rs`, `b.rs` in `ledger/core`.``
fn described(page: &str, text: &str) -> Vec<PathBuf> {
    let line = text.lines().find(|l| l.starts_with("Code: ")).unwrap_or_else(|| {
        panic!("{page} has no line that begins with \"Code: \" and names the files it describes")
    });
    let sentence = line.split(". ").next().unwrap_or(line);
    let quoted: Vec<&str> = sentence.split('`').skip(1).step_by(2).collect();
    let mut files = Vec::new();
    let mut waiting: Vec<&str> = Vec::new();
    for word in quoted {
        match (word.ends_with(".rs"), word.contains('/')) {
            (true, true) => files.push(PathBuf::from(word)),
            (true, false) => waiting.push(word),
            (false, _) if word.ends_with("/src") => {
                files.extend(rust_files(&format!("{word}/")).into_iter().map(|(n, _)| PathBuf::from(n)));
            }
            (false, _) => files.extend(waiting.drain(..).map(|f| Path::new(word).join("src").join(f))),
        }
    }
    assert!(
        waiting.is_empty() && !files.is_empty(),
        "{page}: no folder is named for {waiting:?} in {line:?}"
    );
    files
}

/// A format page ends with the BLAKE3 of the code it describes, without comments and unit tests, so that whoever
/// changes the code reads the page again. Having done that, run this test with `UPDATE_DOC_HASHES=1`.
#[test]
fn format_pages_describe_the_code_as_it_is() {
    const LABEL: &str = "described code: ";
    let update = std::env::var_os("UPDATE_DOC_HASHES").is_some();
    let mut wrong = Vec::new();
    let pages = pages("docs/formats/");
    assert!(pages.len() >= 9, "only {} format pages", pages.len());
    for (name, text) in pages {
        let mut hasher = blake3::Hasher::new();
        for file in described(&name, &text) {
            for (_, line) in built(&read(&file)) {
                hasher.update(line.trim_end().as_bytes());
                hasher.update(b"\n");
            }
        }
        let wanted = format!("{LABEL}{}", hasher.finalize().to_hex());
        let last = text.trim_end().lines().next_back().unwrap_or_default();
        if last == wanted {
            continue;
        }
        if update {
            let body = text.trim_end();
            let body =
                if last.starts_with(LABEL) { body[..body.len() - last.len()].trim_end() } else { body };
            fs::write(root().join(&name), format!("{body}\n\n{wanted}\n")).expect("the page can be written");
        } else {
            wrong.push(format!("{name} ends with {last:?}, its code is {wanted:?}"));
        }
    }
    none(
        "the code changed after the page was last read against it. Read the page again, correct it, then run \
         UPDATE_DOC_HASHES=1 cargo test -p isoledger-tests --test tidy",
        wrong,
    );
}

// ---- the pages of dialects -----------------------------------------------------------------------------------------

const BYPASSES: &str = "| class | decided by |\n|---|---|\n";

/// The table of a page is the one that `isoledger check` prints. Run with `UPDATE_DIALECT_PAGES=1` to have it written.
#[test]
fn every_dialect_has_a_page_with_what_it_sends_and_how_it_decides_bypasses() {
    let update = std::env::var_os("UPDATE_DIALECT_PAGES").is_some();
    let shelf = read("docs/README.md");
    let mut wrong = Vec::new();
    assert!(SWITCHES.len() >= 6, "only {} dialects", SWITCHES.len());
    for dialect in SWITCHES {
        let name = format!("docs/dialects/{}.md", dialect.name);
        if !root().join(&name).exists() {
            wrong.push(format!("{name} does not exist"));
            continue;
        }
        let page = read(&name);
        if !shelf.contains(&format!("dialects/{}.md", dialect.name)) {
            wrong.push(format!("docs/README.md does not list {name}"));
        }
        let squeezed = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
        for sent in dialect.sends {
            if !squeezed(&page).contains(&squeezed(sent)) && dialect.name != "openvswitch" {
                wrong.push(format!("{name} does not say that {sent:?} is sent"));
            }
        }
        let classes: Vec<_> = dialect.bypasses.iter().map(|(class, _)| *class).collect();
        assert_eq!(classes, BypassClass::ALL, "{}: every class once, in order", dialect.name);
        let rows: String =
            dialect.bypasses.iter().map(|(class, how)| format!("| `{class}` | {how} |\n")).collect();
        let table = format!("{BYPASSES}{rows}");
        if page.contains(&table) {
            continue;
        }
        let old = page.split(BYPASSES).nth(1).map(|rest| rest.split("\n\n").next().unwrap_or(rest));
        match old {
            Some(old) if update => {
                let new = page.replace(&format!("{BYPASSES}{}", old.trim_end()), table.trim_end());
                fs::write(root().join(&name), new).expect("the page can be written");
            }
            Some(_) => wrong.push(format!("the table of bypass classes in {name} is not that of the code")),
            None => wrong.push(format!("{name} has no table that begins with {BYPASSES:?}")),
        }
    }
    none(
        "pages of dialects that are not as their code; UPDATE_DIALECT_PAGES=1 cargo test -p isoledger-tests --test tidy \
         writes the tables",
        wrong,
    );
}

#[test]
fn the_worked_example_is_the_code_that_is_tested() {
    let code = read("collectors/tests/worked_example.rs");
    let shown = code
        .split("// ---- shown on the page from here\n")
        .nth(1)
        .and_then(|s| s.split("// ---- to here").next());
    let shown = shown.expect("the example has its marks");
    let page = read("docs/CONTRIBUTING.md");
    let indented: String =
        shown.lines().map(|l| if l.is_empty() { "\n".to_owned() } else { format!("   {l}\n") }).collect();
    assert!(
        page.contains(&indented),
        "docs/CONTRIBUTING.md does not show collectors/tests/worked_example.rs as it is; copy it, indented by three spaces"
    );
}

// ---- the operator's page -------------------------------------------------------------------------------------------

/// The fields of the structs and struct-like variants of a file, by the name of whoever has them.
fn fields(source: &str) -> BTreeMap<String, BTreeSet<String>> {
    let mut out: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let mut holder: Option<(String, usize)> = None;
    for line in source.lines().take_while(|l| *l != "#[cfg(test)]") {
        let indent = line.len() - line.trim_start().len();
        let bare = line.trim().trim_start_matches("pub(crate) ");
        if let Some((name, at)) = &holder {
            if bare.starts_with('}') && indent == *at {
                holder = None;
            } else if indent == at + 4
                && let Some((field, _)) = bare.split_once(": ")
                && field.chars().all(|c| c.is_ascii_lowercase() || c == '_')
            {
                out.entry(name.clone()).or_default().insert(field.replace('_', "-"));
            }
            continue;
        }
        let opened = bare.strip_suffix(" {");
        let name = match opened {
            Some(s) if s.starts_with("struct ") => s.strip_prefix("struct "),
            Some(s) if indent == 4 && s.chars().all(char::is_alphanumeric) => Some(s),
            _ => None,
        };
        holder = name.map(|n| (n.to_owned(), indent));
    }
    out
}

/// Every key of the configuration, as the operator's page writes it.
fn configuration_keys() -> BTreeSet<String> {
    let mut keys: BTreeSet<String> = ["manager.kind", "switches.NAME.kind"].map(str::to_owned).into();
    for (holder, fields) in fields(&read("api/src/config.rs")) {
        let prefix = match holder.as_str() {
            "Config" => continue,
            "Log" => "log.",
            "Poll" => "poll.",
            "Http" => "http.",
            "Hil" | "HilDatabase" | "DeclaredFile" => "manager.",
            "ManagerPace" => continue,
            "OpenVswitch" | "Console" | "Web" => "switches.NAME.",
            "Tls" => "switches.NAME.tls.",
            "Ssh" => "switches.NAME.ssh.",
            // Errors have fields too; what is new is a table that this test and the page must learn.
            "Read" | "Toml" | "Value" => continue,
            other => panic!(
                "api/src/config.rs has a new table {other}: name its keys here and in docs/OPERATING.md"
            ),
        };
        keys.extend(fields.into_iter().map(|f| format!("{prefix}{f}")));
    }
    for (holder, fields) in fields(&read("api/src/witnesses_config.rs")) {
        let prefix = match holder.as_str() {
            "WitnessConfig" => "witness.",
            "Cosigner" => "witness.by.NAME.",
            other => panic!("api/src/witnesses_config.rs has a new table {other}: name its keys here"),
        };
        keys.extend(fields.into_iter().map(|f| format!("{prefix}{f}")));
    }
    assert!(keys.len() > 25, "only {keys:?}");
    keys
}

/// The first cells of the tables below a heading, without their backticks.
fn first_cells(page: &str, heading: &str) -> BTreeSet<String> {
    let level = format!("{} ", heading.split(' ').next().unwrap_or("##"));
    page.lines()
        .skip_while(|l| *l != heading)
        .skip(1)
        .take_while(|l| !l.starts_with(&level))
        .filter_map(|l| l.strip_prefix("| `")?.split('`').next())
        .map(str::to_owned)
        .collect()
}

#[test]
fn every_key_of_the_configuration_is_documented() {
    let page = first_cells(&read("docs/OPERATING.md"), "## Every key of isoledger.toml");
    let keys = configuration_keys();
    let missing: Vec<_> = keys.difference(&page).collect();
    let extra: Vec<_> = page.difference(&keys).collect();
    assert!(
        missing.is_empty() && extra.is_empty(),
        "not on the page: {missing:?}; on it and no key: {extra:?}"
    );
}

#[test]
fn init_mentions_every_key() {
    let source = read("api/src/commands/init.rs");
    let template = source.split("const TEMPLATE").nth(1).expect("init has a template");
    let wrong = configuration_keys()
        .into_iter()
        .filter(|key| {
            let last = key.rsplit('.').next().unwrap_or(key);
            !template.contains(&format!("{last} = ")) && !template.contains(&format!(" {last} "))
        })
        .collect();
    none("what `isoledger init` writes does not mention", wrong);
}

#[test]
fn every_key_of_the_scope_is_documented() {
    let page = first_cells(&read("docs/OPERATING.md"), "## Every key of scope.toml");
    let mut keys = BTreeSet::new();
    for (holder, fields) in fields(&read("api/src/scopefile.rs")) {
        let prefix = match holder.as_str() {
            "File" => "",
            "FileSwitch" => "switches.NAME.",
            "FileLink" => "link.",
            "FileExit" => "exit.",
            "FileUnassessed" => "unassessed.",
            // A port is written in line: { switch = …, port = … }.
            "FilePort" => continue,
            other => {
                panic!("api/src/scopefile.rs has a new table {other}: name its keys here and on the page")
            }
        };
        let tables = ["switches", "links", "exits", "unassessed"];
        let own = fields.into_iter().filter(|f| holder != "File" || !tables.contains(&f.as_str()));
        keys.extend(own.map(|f| format!("{prefix}{f}")));
    }
    assert_eq!(page, keys);
}

#[test]
fn every_command_and_route_is_documented() {
    let page = read("docs/OPERATING.md");
    let commands = first_cells(&page, "## Commands");
    let cli = read("api/src/cli.rs");
    let listed =
        cli.split("enum Command {").nth(1).and_then(|s| s.split("\n}").next()).expect("cli.rs has commands");
    let wanted: BTreeSet<String> = listed
        .lines()
        .map(str::trim)
        .filter(|l| l.starts_with(char::is_uppercase))
        .filter_map(|l| l.split(['(', ',']).next())
        .map(|v| if v == "Scope" { "scope propose".to_owned() } else { v.to_lowercase() })
        .collect();
    assert!(wanted.len() >= 12, "{wanted:?}");
    assert_eq!(commands, wanted, "the table below \"## Commands\"");

    let routes = first_cells(&page, "## HTTP");
    let http = read("api/src/http.rs");
    let (v1, public) =
        http.split_once("Router::new()\n        .route(\"/\"").expect("http.rs makes two routers");
    let paths = |source: &str, prefix: &str| -> BTreeSet<String> {
        let found = source.split(".route(\"").skip(1).filter_map(|r| r.split('"').next());
        found.map(|p| format!("{prefix}{p}").replace("{*path}", "…")).collect()
    };
    let mut wanted = paths(v1, "/v1");
    wanted.extend(paths(public, ""));
    wanted.insert("/".to_owned());
    let bare = |r: &String| r.trim_start_matches("GET ").trim_start_matches("POST ").to_owned();
    assert_eq!(routes.iter().map(bare).collect::<BTreeSet<_>>(), wanted, "the table below \"## HTTP\"");
}
