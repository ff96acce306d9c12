//! What the fuzz targets share.
//!
//! # In scope
//! - [`reading`]: bytes in place of a seed's answers, given to a dialect's parser.
//! - [`console`]: bytes as what a switch prints at its command line.
//!
//! # Out of scope
//! Whether damage hides a VLAN: the law of transcripts is among the tests of each dialect.
//!
//! # How
//! With a nightly compiler and `cargo install cargo-fuzz`, in this folder's parent: `cargo run --manifest-path
//! fuzz/Cargo.toml --bin seed`, then `cargo +nightly fuzz run cisco-nexus`. A target has the name of its dialect.

#[path = "../../tests/seeds/mod.rs"]
pub mod seeds;

use isoledger_collectors::net::console::{Action, Console, Manner};

/// What stands between two answers in the bytes of an input: no switch prints it.
const BETWEEN: u8 = 0;

/// Reads the answers in `data`, in place of the first ones of each seed of this dialect. It may not panic, and the same
/// bytes must always mean the same.
pub fn reading(dialect: &str, data: &[u8]) {
    for seed in seeds::seeds().iter().filter(|seed| seed.dialect == dialect) {
        let mut evidence = seed.evidence.clone();
        for (exchange, answer) in evidence.exchanges.iter_mut().zip(data.split(|b| *b == BETWEEN)) {
            exchange.answer = answer.to_vec();
        }
        let first = seed.normalise(&evidence);
        assert_eq!(first, seed.normalise(&evidence));
    }
}

/// The bytes of an input that stand for this seed.
pub fn input(seed: &seeds::Seed) -> Vec<u8> {
    let answers: Vec<&[u8]> = seed.evidence.exchanges.iter().map(|x| x.answer.as_slice()).collect();
    answers.join(&BETWEEN)
}

/// Logs in and asks two commands of a switch that prints `data`, once in one piece and once byte by byte: what is done
/// must be the same.
pub fn console(data: &[u8]) {
    assert_eq!(drive(data, data.len().max(1)), drive(data, 1));
}

/// What the console had done by the end, or until it gave up. A pause comes where `data` has [`BETWEEN`].
fn drive(data: &[u8], piece: usize) -> Result<Vec<Action>, String> {
    let mut console =
        Console::new(Manner { pagers: &["--More--", "More: <space>,  Quit: q, One line: <return>"] });
    let mut commands = ["show interface switchport", "terminal length 0"].into_iter();
    let mut done = Vec::new();
    for (n, burst) in data.split(|b| *b == BETWEEN).enumerate() {
        if n > 0 && console.wants_quiet() {
            done.extend(console.quiet().map_err(|e| e.to_string())?);
        }
        for bytes in burst.chunks(piece) {
            let actions = console.feed(bytes).map_err(|e| e.to_string())?;
            done.extend(actions);
        }
        // The next command is asked in a pause, so that it does not depend on how the bytes were cut.
        if matches!(done.last(), Some(Action::Ready | Action::Finished(_))) {
            if let Some(command) = commands.next() {
                done.push(console.ask(command, 1 << 20));
            }
        }
    }
    Ok(done)
}
