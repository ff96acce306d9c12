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
use std::sync::LazyLock;

/// What stands between two answers in the bytes of an input: no switch prints it.
const BETWEEN: u8 = 0;

static SEEDS: LazyLock<Vec<seeds::Seed>> = LazyLock::new(seeds::seeds);

/// Reads the answers in `data`, in place of the first ones of each seed of this dialect. It may not panic, and the same
/// bytes must always mean the same.
pub fn reading(dialect: &str, data: &[u8]) {
    for seed in SEEDS.iter().filter(|seed| seed.dialect == dialect) {
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

/// Logs in and asks two commands of a switch that prints `data`, whatever is asked, once in large pieces and once byte by
/// byte. It may not panic, nor give more than it was allowed. (That both ways of cutting come to the same needs a switch
/// that answers, and is among the tests of the framing.)
pub fn console(data: &[u8]) {
    for piece in [data.len().max(1), 1] {
        drive(data, piece);
    }
}

/// The most bytes of one answer.
const LIMIT: usize = 512;

/// Goes on until the console gives up. A pause comes where `data` has [`BETWEEN`].
fn drive(data: &[u8], piece: usize) {
    let mut console =
        Console::new(Manner { pagers: &["--More--", "More: <space>,  Quit: q, One line: <return>"] });
    let mut commands = ["show interface switchport", "terminal length 0"].into_iter().peekable();
    for (n, burst) in data.split(|b| *b == BETWEEN).enumerate() {
        let mut done = Vec::new();
        if n > 0 && console.wants_quiet() {
            match console.quiet() {
                Ok(actions) => done = actions,
                Err(_) => return,
            }
        }
        for bytes in burst.chunks(piece) {
            match console.feed(bytes) {
                Ok(actions) => done.extend(actions),
                Err(_) => return,
            }
        }
        for action in &done {
            if let Action::Finished(answer) = action {
                assert!(answer.len() <= LIMIT + console.prompt().len(), "{} bytes", answer.len());
            }
        }
        let idle = done.iter().any(|a| matches!(a, Action::Ready | Action::Finished(_)));
        if let Some(command) = commands.next_if(|_| idle) {
            console.ask(command, LIMIT);
        }
    }
}
