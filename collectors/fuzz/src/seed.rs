//! Writes what fuzzing begins with, one file for each seed, into `corpus/TARGET` below the current folder or below the
//! one given.

use isoledger_collectors_fuzz::{input, seeds::seeds};
use std::path::Path;

fn main() -> std::io::Result<()> {
    let folder =
        std::env::args().nth(1).unwrap_or_else(|| concat!(env!("CARGO_MANIFEST_DIR"), "/corpus").to_owned());
    let write = |target: &str, name: &str, bytes: &[u8]| {
        let folder = Path::new(&folder).join(target);
        std::fs::create_dir_all(&folder)?;
        std::fs::write(folder.join(name), bytes)
    };
    for (n, seed) in seeds().iter().enumerate() {
        write(seed.dialect, &format!("seed-{n}"), &input(seed))?;
        write("evidence", &format!("seed-{n}"), &seed.evidence.to_bytes())?;
    }
    for (name, session) in [
        ("plain", "banner\r\nUser Name:\0carol\r\nPassword:\0\r\nsw1>\0\r\nsw1#\0\r\nsw1#\0"),
        (
            "pager",
            "sw1#\0\r\nsw1#\0show interface switchport\r\na\r\n--More--\0\r        \rb\r\nsw1#\0\r\nsw1#\0",
        ),
        (
            "prompt-inside",
            "sw1#\0\r\nsw1#\0show interface switchport\r\nsw1#\0\r\nmore\r\nsw1#\0\r\nsw1#\0terminal length 0\r\nsw1#\0\r\nsw1#\0",
        ),
    ] {
        write("console", name, session.as_bytes())?;
    }
    Ok(())
}
