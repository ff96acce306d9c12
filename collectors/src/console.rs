//! What all dialects of command lines share, so that each is one file: a [`ConsoleDialect`] and a parser.
//!
//! # In scope
//! - [`ConsoleReader`]: logs in, asks the dialect's commands, keeps the answers as evidence.
//! - [`Answers`]: the evidence of such a reading, answer by answer, each known to be whole.
//!
//! # Evidence
//! One exchange for each command. Status 0: the whole answer, one line feed behind each line, and at the end, without
//! one, the prompt that followed it. So an answer that was cut off anywhere shows it. Status 1: the command was refused,
//! and this is what the switch said. No status: there was no answer, and why; then no other command follows. What is
//! asked for the session's sake only (`prepare`, `closing`, `enable`) is not kept. The identity is the host key's.
//!
//! # Out of scope
//! What an answer means.

use crate::dialect::{ConsoleSettings, Dialect};
use crate::net::console::Manner;
use crate::net::{Script, Shell};
use crate::{Clock, Evidence, Exchange, Pending, Reading, SourceError, SwitchReader};
use isoledger_core::model::{BypassClass, Observed, Reader, Window};
use std::borrow::Cow;
use std::time::Instant;

/// The most bytes of one answer.
const MAX_ANSWER: usize = 4 << 20;

/// A dialect that is spoken at a command line.
#[derive(Debug)]
pub struct ConsoleDialect {
    /// Its name, its parser and its table.
    pub dialect: &'static Dialect,
    /// What its framing does differently.
    pub manner: Manner,
    /// Asked once after logging in, for the session only, such as `terminal datadump`. A refusal is fine.
    pub prepare: &'static [&'static str],
    /// What is asked at every reading, in this order. One that is refused is evidence like any other.
    pub commands: &'static [&'static str],
    /// Asked last, and its answer not kept: that it is echoed proves that the answer before it had ended. One of
    /// `prepare`, or any short command.
    pub closing: &'static str,
    /// How the first line of a refusal begins.
    pub refusals: &'static [&'static str],
    /// What becomes of a line of an answer, by the command and the line. Lines that change by themselves (counters,
    /// times) or hold secrets must not be kept as they are.
    pub tidy: fn(&str, &str) -> Tidied,
}

/// What becomes of a line before it is evidence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Tidied {
    /// Kept as it is.
    Keep,
    /// Left out.
    Drop,
    /// Left out, and so is everything behind it.
    DropRest,
    /// Kept in these words.
    As(String),
}

/// Keeps every line.
pub fn keep_all(_command: &str, _line: &str) -> Tidied {
    Tidied::Keep
}

/// Reads a switch at its command line.
#[derive(Debug)]
pub struct ConsoleReader {
    console: &'static ConsoleDialect,
    host: String,
    shell: Shell,
}

impl ConsoleReader {
    /// A reader of this dialect, not yet connected.
    pub fn new(console: &'static ConsoleDialect, settings: ConsoleSettings) -> ConsoleReader {
        let host = settings.ssh.host.clone();
        ConsoleReader { console, host, shell: Shell::new(settings.ssh, settings.enable) }
    }

    async fn gather(&mut self, deadline: Instant) -> (Evidence, u64, Result<(), SourceError>) {
        let console = self.console;
        let script = Script {
            manner: console.manner,
            prepare: console.prepare,
            commands: console.commands,
            closing: console.closing,
            limit: MAX_ANSWER,
        };
        let said = self.shell.run(script, deadline).await;
        let mut evidence = Evidence {
            subject: self.host.clone(),
            auth: said.auth,
            identity: said.host_key.map(|key| format!("host-key={key}")),
            exchanges: Vec::new(),
        };
        for (command, answer) in console.commands.iter().zip(&said.answers) {
            evidence.exchanges.push(exchange(console, command, answer));
        }
        let Some(e) = said.failed else { return (evidence, said.sent, Ok(())) };
        if let Some(command) = console.commands.get(said.answers.len()) {
            evidence.exchanges.push(Exchange {
                asked: (*command).to_owned(),
                status: None,
                answer: e.sentence.clone().into_bytes(),
            });
        }
        (evidence, said.sent, Err(e))
    }
}

/// An answer as evidence.
fn exchange(console: &ConsoleDialect, command: &str, answer: &[u8]) -> Exchange {
    let (body, prompt) = match answer.iter().rposition(|b| *b == b'\n') {
        Some(at) => answer.split_at(at + 1),
        None => answer.split_at(0),
    };
    let mut kept = Vec::with_capacity(answer.len());
    for line in body.split_inclusive(|b| *b == b'\n') {
        let text = String::from_utf8_lossy(line);
        match (console.tidy)(command, text.trim_end_matches('\n')) {
            Tidied::Keep => kept.extend_from_slice(line),
            Tidied::Drop => {}
            Tidied::DropRest => break,
            Tidied::As(other) => {
                kept.extend_from_slice(other.as_bytes());
                kept.push(b'\n');
            }
        }
    }
    let refused = body
        .split(|b| *b == b'\n')
        .map(|line| String::from_utf8_lossy(line).trim().to_owned())
        .find(|line| !line.is_empty())
        .is_some_and(|line| console.refusals.iter().any(|r| line.starts_with(r)));
    kept.extend_from_slice(prompt);
    Exchange { asked: command.to_owned(), status: Some(u16::from(refused)), answer: kept }
}

impl SwitchReader for ConsoleReader {
    fn reader(&self) -> Reader {
        self.console.dialect.reader()
    }

    fn read<'a>(&'a mut self, clock: &'a dyn Clock, deadline: Instant) -> Pending<'a, Reading<Observed>> {
        Box::pin(async move {
            let started = clock.now();
            let (evidence, sent, gathered) = self.gather(deadline).await;
            let outcome = gathered.and_then(|()| (self.console.dialect.normalise)(&evidence));
            let window = Window { started, ended: clock.now() };
            Reading { window, reader: self.reader(), evidence, outcome, sent }
        })
    }

    fn bypass_table(&self) -> &'static [(BypassClass, &'static str)] {
        self.console.dialect.bypasses
    }
}

/// The answers in the evidence of one reading.
#[derive(Clone, Copy, Debug)]
pub struct Answers<'a> {
    evidence: &'a Evidence,
    pagers: &'static [&'static str],
}

impl<'a> Answers<'a> {
    /// Those in `evidence`, from a console with this manner.
    pub fn of(manner: Manner, evidence: &'a Evidence) -> Answers<'a> {
        Answers { evidence, pagers: manner.pagers }
    }

    /// Whether the switch refused `command`.
    pub fn refused(&self, command: &str) -> bool {
        let mut all = self.evidence.exchanges.iter().filter(|x| x.asked == command);
        matches!((all.next(), all.next()), (Some(Exchange { status: Some(1..), .. }), None))
    }

    /// The lines of the answer to `command`, or why there is none that can be trusted: it was not asked, not answered,
    /// refused, cut off, or has a pager's text in it, behind which something may be missing.
    pub fn text(&self, command: &str) -> Result<Cow<'a, str>, String> {
        let mut all = self.evidence.exchanges.iter().filter(|x| x.asked == command);
        let (Some(exchange), None) = (all.next(), all.next()) else {
            return Err(format!("{command:?} does not stand in the evidence exactly once"));
        };
        let said = || String::from_utf8_lossy(&exchange.answer).trim().chars().take(200).collect::<String>();
        match exchange.status {
            Some(0) => {}
            Some(_) => return Err(format!("the switch refused {command:?}: {}", said())),
            None => return Err(format!("{command:?} was not answered: {}", said())),
        }
        let Some(prompt) = prompt(exchange) else {
            return Err(format!("the answer to {command:?} does not end in a prompt, so it was cut off"));
        };
        let other = self.evidence.exchanges.iter().filter(|x| x.status == Some(0)).find_map(|x| {
            let differs = self::prompt(x).is_some_and(|p| p != prompt);
            differs.then_some(&x.asked)
        });
        if let Some(other) = other {
            return Err(format!("the answers to {command:?} and {other:?} end in different prompts"));
        }
        let body = &exchange.answer[..exchange.answer.len() - prompt.len()];
        let text = String::from_utf8_lossy(body);
        if let Some(line) = text.lines().find(|line| self.pagers.iter().any(|p| line.contains(p))) {
            return Err(format!("the answer to {command:?} has a pager's text in it: {:?}", line.trim()));
        }
        Ok(text)
    }
}

/// The prompt at the end of a whole answer.
fn prompt(exchange: &Exchange) -> Option<&[u8]> {
    let last = exchange.answer.rsplit(|b| *b == b'\n').next()?;
    matches!(last.last(), Some(b'#' | b'>')).then_some(last)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dialect::Reach;
    use crate::dialects::SWITCHES;
    use crate::net::console::ENABLE;

    #[test]
    fn every_console_dialect_says_all_that_it_sends() {
        for console in CONSOLES {
            let all = console.prepare.iter().chain(console.commands).chain([&console.closing, &ENABLE]);
            for command in all {
                assert!(console.dialect.sends.contains(command), "{}: {command}", console.dialect.name);
                assert!(!command.contains(['\n', '\r']) && command.trim() == *command, "{command:?}");
            }
            let listed = SWITCHES.iter().any(|d| d.name == console.dialect.name);
            assert!(listed && matches!(console.dialect.reach, Reach::Console(_)), "{}", console.dialect.name);
        }
    }

    /// Those of this crate.
    const CONSOLES: &[&ConsoleDialect] =
        &[&crate::nexus::CONSOLE, &crate::powerconnect::CONSOLE, &crate::n3000::CONSOLE];

    #[test]
    fn an_answer_is_tidied_and_a_refusal_seen() {
        let console = ConsoleDialect {
            dialect: SWITCHES[0],
            manner: Manner { pagers: &["--More--"] },
            prepare: &[],
            commands: &["show it"],
            closing: "show it",
            refusals: &["% "],
            tidy: |_, line| match line.split_once(' ') {
                Some(("secret", _)) => Tidied::As("secret (left out)".into()),
                Some(("uptime", _)) => Tidied::Drop,
                Some(("counters", _)) => Tidied::DropRest,
                _ => Tidied::Keep,
            },
        };
        let got = exchange(&console, "show it", b"a\nuptime 5\nsecret x\n\xff\nsw1#");
        assert_eq!((got.status, got.answer.as_slice()), (Some(0), &b"a\nsecret (left out)\n\xff\nsw1#"[..]));
        let got = exchange(&console, "show it", b"a\ncounters of all\n1 2 3\nsw1#");
        assert_eq!(got.answer, b"a\nsw1#");
        let got = exchange(&console, "show it", b"\n  % no such command\nsw1#");
        assert_eq!(got.status, Some(1));
    }

    #[test]
    fn an_answer_that_cannot_be_trusted_is_none() {
        let manner = Manner { pagers: &["--More--"] };
        let ask = |exchanges: &[(&str, Option<u16>, &str)]| {
            let exchanges = exchanges
                .iter()
                .map(|(asked, status, answer)| Exchange {
                    asked: (*asked).into(),
                    status: *status,
                    answer: (*answer).into(),
                })
                .collect();
            let evidence = Evidence { exchanges, ..Evidence::default() };
            Answers::of(manner, &evidence).text("a").map(Cow::into_owned)
        };
        assert_eq!(ask(&[("a", Some(0), "x\ny\nsw1#"), ("b", Some(0), "sw1#")]), Ok("x\ny\n".into()));
        for (bad, why) in [
            (&[("b", Some(0), "sw1#")][..], "exactly once"),
            (&[("a", Some(0), "sw1#"), ("a", Some(0), "sw1#")], "exactly once"),
            (&[("a", Some(1), "% no\nsw1#")], "refused"),
            (&[("a", None, "hung up")], "hung up"),
            (&[("a", Some(0), "x\ny\n")], "cut off"),
            (&[("a", Some(0), "x\ny")], "cut off"),
            (&[("a", Some(0), "x\nsw1#"), ("b", Some(0), "sw2#")], "different prompts"),
            (&[("a", Some(0), "x\n--More--y\nsw1#")], "pager"),
        ] {
            let said = ask(bad).unwrap_err();
            assert!(said.contains(why), "{said}");
        }
    }
}
