//! What the verifier is made of: its README prints the tree of its dependencies, and this keeps it true.
#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::process::Command;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

fn tree() -> String {
    let out = Command::new(env!("CARGO"))
        .args(["tree", "--offline", "--package", "isoverify", "--edges", "no-dev,no-build,no-proc-macro"])
        .args(["--target", "x86_64-unknown-linux-gnu", "--format", "{lib}"])
        .current_dir(root())
        .output()
        .unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    String::from_utf8(out.stdout).unwrap()
}

#[test]
fn the_readme_prints_what_is_linked_in() {
    let readme = std::fs::read_to_string(root().join("verifier/README.md")).unwrap();
    let tree = tree();
    assert!(readme.contains(&format!("```\n{tree}```\n")), "verifier/README.md should print:\n{tree}");
}

#[test]
fn neither_network_nor_storage_nor_runtime() {
    let tree = tree();
    let names: Vec<&str> = tree.lines().map(|l| l.trim_start_matches(['│', ' ', '├', '└', '─'])).collect();
    for banned in
        ["tokio", "sled", "reqwest", "hyper", "rustls", "ssh2", "isoledger_ledger", "isoledger_collectors"]
    {
        assert!(
            !names.iter().any(|n| n.split(' ').next() == Some(banned)),
            "isoverify must not know {banned}"
        );
    }
    assert!(names.iter().filter(|n| n.starts_with("isoledger")).all(|n| n.starts_with("isoledger_core")));
}

#[test]
fn the_clock_is_read_in_main_alone() {
    for file in std::fs::read_dir(root().join("verifier/src")).unwrap() {
        let path = file.unwrap().path();
        let text = std::fs::read_to_string(&path).unwrap();
        let reads = text.contains("SystemTime::now") || text.contains("Instant::now");
        assert_eq!(reads, path.ends_with("main.rs"), "{}", path.display());
    }
}
