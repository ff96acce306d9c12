//! Every parser under bytes that nobody should send: it must not panic, must end, and must say no more than a switch can
//! be. That damage never hides a VLAN is each dialect's own test; this one is about every dialect there is.

#![allow(clippy::unwrap_used)]

mod seeds;

use isoledger_collectors::dialects::{MANAGERS, SWITCHES};
use isoledger_collectors::{Evidence, Exchange};
use proptest::prelude::*;
use proptest::sample::Index;
use seeds::{Seed, seeds};
use std::time::{Duration, Instant};

/// The most time one reading may take to be understood. Unoptimised, beside other tests, on a busy machine.
const MOST_TIME: Duration = Duration::from_secs(30);
/// What 10 MB of answers may become, and what any input may.
const MOST_OUTPUT: usize = 64 << 20;

/// Reads, and holds what comes out to the bounds.
fn bounded(seed: &Seed, evidence: &Evidence, about: &str) {
    let begun = Instant::now();
    let said = match seed.normalise(evidence) {
        Ok(text) => text,
        Err(e) => e.sentence,
    };
    let took = begun.elapsed();
    assert!(took <= MOST_TIME, "{}: {about}: {took:?}", seed.dialect);
    let given: usize = evidence.exchanges.iter().map(|x| x.answer.len()).sum();
    let most = (1 << 20) + 16 * given.min(MOST_OUTPUT / 16);
    assert!(said.len() <= most, "{}: {about}: {} bytes from {given}", seed.dialect, said.len());
}

#[test]
fn every_dialect_has_a_seed_that_is_understood() {
    let seeds = seeds();
    for name in SWITCHES.iter().map(|d| d.name).chain(MANAGERS.iter().map(|d| d.name)) {
        assert!(seeds.iter().any(|s| s.dialect == name), "{name} has no seed");
    }
    for seed in &seeds {
        let text = seed.normalise(&seed.evidence).unwrap_or_else(|e| panic!("{}: {e}", seed.dialect));
        assert!(text.contains(r#""anomalies":[]"#), "{}: {text}", seed.dialect);
        let understood = if text.contains(r#""bypasses":"#) { r#":{"read":{"# } else { r#""networks":{""# };
        assert!(text.contains(understood), "{}: {text}", seed.dialect);
    }
}

/// One thing that happens to the bytes of an answer.
#[derive(Clone, Debug)]
enum Change {
    Flip(Index, u8),
    Delete(Index, Index),
    Duplicate(Index, Index),
    Insert(Index, Vec<u8>),
    Truncate(Index),
    /// A piece of another seed's answer.
    Splice(Index, Index, Index, Index),
}

/// Words that mean something to one parser or another.
const KNOWN: &[&[u8]] = &[
    b"\n",
    b"\r\n",
    b" ",
    b",",
    b"-",
    b":",
    b"/",
    b"1-4094",
    b"4095",
    b"0",
    b"none",
    b"all",
    b"--More--",
    b"sw1#",
    b"Name: ",
    b"(Inactive)",
    b"<a>",
    b"</a>",
    b"&#x41;",
    b"\"",
    b"}",
    b"[",
    b"\x1b[2K\r",
    b"\xff\xfe\0",
];

fn words() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        proptest::sample::select(KNOWN).prop_map(<[u8]>::to_vec),
        proptest::collection::vec(any::<u8>(), 0..12),
    ]
}

fn change() -> impl Strategy<Value = Change> {
    let at = any::<Index>;
    prop_oneof![
        (at(), 0u8..8).prop_map(|(at, bit)| Change::Flip(at, bit)),
        (at(), at()).prop_map(|(from, to)| Change::Delete(from, to)),
        (at(), at()).prop_map(|(from, to)| Change::Duplicate(from, to)),
        (at(), words()).prop_map(|(at, what)| Change::Insert(at, what)),
        at().prop_map(Change::Truncate),
        (at(), at(), at(), at()).prop_map(|(at, seed, from, to)| Change::Splice(at, seed, from, to)),
    ]
}

/// A piece of at most this many bytes is deleted, doubled or spliced, so that much of the answer stays as it was.
const PIECE: usize = 200;

fn piece<'a>(bytes: &'a [u8], from: &Index, to: &Index) -> (usize, &'a [u8]) {
    let from = from.index(bytes.len() + 1);
    let to = (from + to.index(PIECE)).min(bytes.len());
    (from, &bytes[from..to])
}

fn apply(change: &Change, bytes: &mut Vec<u8>, others: &[Seed]) {
    match change {
        Change::Flip(at, bit) if !bytes.is_empty() => {
            let at = at.index(bytes.len());
            bytes[at] ^= 1 << bit;
        }
        Change::Flip(..) => {}
        Change::Delete(from, to) => {
            let (at, len) = (piece(bytes, from, to).0, piece(bytes, from, to).1.len());
            bytes.drain(at..at + len);
        }
        Change::Duplicate(from, to) => {
            let (at, what) = piece(bytes, from, to);
            let what = what.to_vec();
            bytes.splice(at..at, what);
        }
        Change::Insert(at, what) => {
            let at = at.index(bytes.len() + 1);
            bytes.splice(at..at, what.iter().copied());
        }
        Change::Truncate(at) => bytes.truncate(at.index(bytes.len() + 1)),
        Change::Splice(at, seed, from, to) => {
            let exchanges: Vec<&Exchange> = others.iter().flat_map(|s| &s.evidence.exchanges).collect();
            let what = piece(&exchanges[seed.index(exchanges.len())].answer, from, to).1.to_vec();
            let at = at.index(bytes.len() + 1);
            bytes.splice(at..at, what);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn changed_answers(changes in proptest::collection::vec((any::<Index>(), change()), 1..6)) {
        let seeds = seeds();
        for seed in &seeds {
            let mut evidence = seed.evidence.clone();
            for (at, change) in &changes {
                let at = at.index(evidence.exchanges.len());
                apply(change, &mut evidence.exchanges[at].answer, &seeds);
            }
            bounded(seed, &evidence, "changed");
            // What is recorded is judged again years later: the same bytes must mean the same.
            prop_assert_eq!(seed.normalise(&evidence), seed.normalise(&evidence));
        }
    }

    #[test]
    fn any_bytes(answers in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..300), 1..8)) {
        for seed in &seeds() {
            let mut evidence = seed.evidence.clone();
            for (exchange, answer) in evidence.exchanges.iter_mut().zip(answers.iter().cycle()) {
                exchange.answer.clone_from(answer);
            }
            bounded(seed, &evidence, "any bytes");
        }
    }

    #[test]
    fn exchanges_that_were_not_asked_for(
        order in proptest::collection::vec(any::<Index>(), 0..14),
        status in proptest::option::of(any::<u16>()),
        at in any::<Index>(),
    ) {
        let seeds = seeds();
        for seed in &seeds {
            let all: Vec<&Exchange> = seeds.iter().flat_map(|s| &s.evidence.exchanges).collect();
            let mut evidence = seed.evidence.clone();
            evidence.exchanges.extend(order.iter().map(|i| all[i.index(all.len())].clone()));
            let at = at.index(evidence.exchanges.len());
            evidence.exchanges[at].status = status;
            evidence.exchanges.rotate_left(at);
            bounded(seed, &evidence, "exchanges");
        }
    }
}

const HUGE: usize = 10 << 20;

/// 10 MB of what a dialect knows, or thinks it knows, in every answer of its in turn.
#[test]
fn ten_megabytes() {
    for seed in &seeds() {
        for (at, exchange) in seed.evidence.exchanges.iter().enumerate() {
            let text = &exchange.answer;
            let line =
                text.split_inclusive(|b| *b == b'\n').find(|l| l.len() > 4).unwrap_or(b"a, 1-2: <b>\n");
            let fill = |unit: &[u8]| unit.repeat(HUGE / unit.len().max(1));
            let with_end = |mut bytes: Vec<u8>| {
                bytes.extend_from_slice(b"\nsw1#");
                bytes
            };
            let whole = if text.is_empty() { Vec::new() } else { fill(text) };
            for (what, bytes) in [("whole answers", whole), ("a line", with_end(fill(line)))] {
                let mut evidence = seed.evidence.clone();
                evidence.exchanges[at].answer = bytes;
                bounded(seed, &evidence, &format!("10 MB of {what} to {:?}", evidence.exchanges[at].asked));
            }
        }
    }
}

/// 10 MB that are one line, one number, one list, one nesting.
#[test]
fn ten_megabytes_without_an_end() {
    for seed in &seeds() {
        for unit in [
            "a",
            "1,",
            "0",
            "\n",
            "[",
            "<a>",
            "{\"a\":",
            "--More--",
            "Name: Ethernet1/1\n",
            "1-2,4,",
            "\u{fffd}",
        ] {
            let mut evidence = seed.evidence.clone();
            evidence.exchanges[0].answer = unit.repeat(HUGE / unit.len()).into_bytes();
            evidence.exchanges[0].answer.extend_from_slice(b"\nsw1#");
            bounded(seed, &evidence, &format!("10 MB of {unit:?}"));
        }
    }
}
