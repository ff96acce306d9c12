//! A switch that is not there, however its bytes are cut.

use super::*;
use proptest::prelude::*;
use std::collections::VecDeque;

const MANNER: Manner =
    Manner { pagers: &["More: <space>,  Quit: q, One line: <return>", "--More--", "--More-- or (q)uit"] };

/// What a switch does with a line it is sent.
struct Switch {
    /// Questions before the prompt, with the answers that are right.
    login: VecDeque<(&'static str, &'static str)>,
    prompt: &'static str,
    /// The answers, in the order of asking.
    answers: VecDeque<Vec<u8>>,
    typed: Vec<u8>,
    out: VecDeque<u8>,
    /// Everything that was sent.
    seen: Vec<u8>,
}

impl Switch {
    fn new(
        banner: &str,
        login: &[(&'static str, &'static str)],
        prompt: &'static str,
        answers: &[&[u8]],
    ) -> Switch {
        let mut switch = Switch {
            login: login.iter().copied().collect(),
            prompt,
            answers: answers.iter().map(|a| a.to_vec()).collect(),
            typed: Vec::new(),
            out: VecDeque::new(),
            seen: Vec::new(),
        };
        switch.say(banner.as_bytes());
        switch.ask();
        switch
    }

    fn say(&mut self, bytes: &[u8]) {
        self.out.extend(bytes);
    }

    /// Prints the question or the prompt.
    fn ask(&mut self) {
        let text = self.login.front().map_or(self.prompt, |(question, _)| question);
        self.say(text.as_bytes());
    }

    fn hear(&mut self, bytes: &[u8]) {
        self.seen.extend(bytes);
        for byte in bytes {
            // A pager's space is never part of a line here: pages are scripted in the answers.
            match byte {
                b'\n' => {
                    let line = String::from_utf8(std::mem::take(&mut self.typed)).unwrap();
                    self.line(line.trim());
                }
                other => self.typed.push(*other),
            }
        }
    }

    fn line(&mut self, line: &str) {
        if let Some((question, right)) = self.login.front().copied() {
            let hidden = question.to_ascii_lowercase().contains("password");
            self.say(if hidden { b"" } else { line.as_bytes() });
            self.say(b"\r\n");
            if line == right {
                self.login.pop_front();
            }
            return self.ask();
        }
        self.say(line.as_bytes());
        self.say(b"\r\n");
        if !line.is_empty() {
            let answer = self.answers.pop_front().unwrap();
            self.say(&answer);
        }
        self.ask();
    }
}

/// Logs in and asks `commands`; `cuts` says how many bytes come at a time.
fn converse(
    switch: &mut Switch,
    commands: &[&str],
    mut cuts: impl FnMut() -> usize,
) -> Result<Vec<Vec<u8>>, ConsoleError> {
    let mut console = Console::new(MANNER);
    let (mut outputs, mut asked) = (Vec::new(), commands.iter());
    let mut silent = 0;
    loop {
        let n = cuts().clamp(1, switch.out.len().max(1)).min(switch.out.len());
        let chunk: Vec<u8> = switch.out.drain(..n).collect();
        let actions = if chunk.is_empty() {
            silent += 1;
            assert!(silent < 40, "stuck: {}", console.waiting());
            console.quiet()?
        } else {
            console.feed(&chunk)?
        };
        for action in actions {
            let next = match action {
                Action::Send(bytes) => {
                    switch.hear(&bytes);
                    continue;
                }
                Action::Type(what) => {
                    let text: &[u8] = match what {
                        Typed::User => b"alice\n",
                        Typed::Password => b"secret\n",
                        Typed::Enable => b"higher\n",
                    };
                    switch.hear(text);
                    continue;
                }
                Action::Ready => asked.next(),
                Action::Finished(output) => {
                    outputs.push(output);
                    asked.next()
                }
            };
            let Some(command) = next else { return Ok(outputs) };
            if let Action::Send(bytes) = console.ask(command, 1 << 20) {
                switch.hear(&bytes);
            }
            silent = 0;
        }
    }
}

fn steady(n: usize) -> impl FnMut() -> usize {
    move || n
}

const LOGINS: [(&str, &[(&str, &str)]); 7] = [
    ("", &[]),
    ("\r\nWelcome to sw1#\r\nno Password: here\r\n\r\n", &[]),
    ("", &[("User Name:", "alice"), ("Password:", "secret")]),
    ("\r\n\r\n", &[("User Name: ", "alice"), ("Password: ", "secret"), ("sw1>", "enable")]),
    ("########\r\n# mind #\r\n########\r\n", &[("login: ", "alice"), ("password:", "secret")]),
    ("", &[("sw1>", "enable"), ("Password:", "higher")]),
    ("", &[("Username:", "alice"), ("Password:", "secret"), ("sw1>", "enable"), ("Password:", "higher")]),
];

#[test]
fn every_login_at_every_pace() {
    for (banner, login) in LOGINS {
        for pace in [1, 2, 3, 7, 1000] {
            let mut switch = Switch::new(banner, login, "sw1#", &[b"one\r\n"]);
            let got = converse(&mut switch, &["show"], steady(pace)).unwrap();
            assert_eq!(got, [b"one\n"], "{banner:?} {login:?} at {pace}");
        }
    }
}

#[test]
fn what_is_refused_is_said_and_never_typed_twice() {
    for (login, want) in [
        (&[("User Name:", "bob")][..], Typed::User),
        (&[("Password:", "other")][..], Typed::Password),
        (&[("sw1>", "enable"), ("Password:", "other")][..], Typed::Enable),
    ] {
        let mut switch = Switch::new("", login, "sw1#", &[]);
        assert_eq!(converse(&mut switch, &["show"], steady(9)), Err(ConsoleError::Refused(want)));
    }
    // One that is not admitted to enable reads as what it is.
    let mut switch = Switch::new("", &[("sw1>", "enable")], "sw1>", &[b"one\r\n"]);
    assert_eq!(converse(&mut switch, &["show"], steady(9)).unwrap(), [b"one\n"]);
}

/// Answers with what must come out of them.
const ANSWERS: [(&[u8], &[u8]); 14] = [
    (b"", b""),
    (b"a\r\nb\r\n", b"a\nb\n"),
    (b"a\r\n\r\n\r\n", b"a\n"),
    (b"a\r\nDescription: sw1#\r\nb\r\n", b"a\nDescription: sw1#\nb\n"),
    (b"a\r\nsw1#\r\nb\r\n", b"a\nsw1#\nb\n"),
    (b"sw1#\r\nb\r\n", b"sw1#\nb\n"),
    (b"sw1# is down\r\nb\r\n", b"sw1# is down\nb\n"),
    (b"a\r\n  sw1#\r\n\r\nb\r\nsw1#\r\nc\r\n", b"a\n  sw1#\n\nb\nsw1#\nc\n"),
    // Lines that equal the prompt at the end are taken for prompts.
    (b"a\r\nsw1#\r\n", b"a\n"),
    (b"a\r\n--More--\x08\x08\x08\x08\x08\x08\x08\x08        \x08\x08\x08\x08\x08\x08\x08\x08b\r\n", b"a\nb\n"),
    (b"a\r\n\x1b[7m--More--\x1b[m\r\x1b[Kb\r\n", b"a\nb\n"),
    (b"a\r\nMore: <space>,  Quit: q, One line: <return> \r                                              \rb\r\n", b"a\nb\n"),
    (b"a\r\n--More-- or (q)uit\r                     \r   1512 (Inactive)\r\n", b"a\n   1512 (Inactive)\n"),
    (b"a\x00\x07b\r\nc\x01d\r\n\xff\xfe\r\n\tx\r\n", b"ab\nc?d\n\xff\xfe\n\tx\n"),
];

#[test]
fn every_cut_of_every_answer() {
    for (answer, want) in ANSWERS {
        for first in 0..answer.len() + 12 {
            for then in [1, 4, 1000] {
                let mut switch = Switch::new("", &[], "sw1#", &[answer, b"last\r\n"]);
                let mut n = 0;
                // The login in one piece, then a piece of every length.
                let cuts = || {
                    n += 1;
                    match n {
                        1..=4 => 1000,
                        5 => first.max(1),
                        _ => then,
                    }
                };
                let got = converse(&mut switch, &["show it", "show last"], cuts);
                assert_eq!(got, Ok(vec![want.to_vec(), b"last\n".to_vec()]), "{answer:?} {first} {then}");
            }
        }
    }
}

#[test]
fn an_output_that_goes_on_is_never_taken_for_whole() {
    // Two lines that equal the prompt, and a packet that ends at each of them.
    let answer = b"a\r\nsw1#\r\nsw1#\r\nport 7 carries everything\r\n";
    let mut switch = Switch::new("", &[], "sw1#", &[answer, b"last\r\n"]);
    let got = converse(&mut switch, &["show it", "show last"], steady(1));
    assert_eq!(got, Err(ConsoleError::WentOn { found: "port 7 carries everything".into() }));
    let mut switch = Switch::new("", &[], "sw1#", &[answer, b"last\r\n"]);
    let got = converse(&mut switch, &["show it", "show last"], steady(1000)).unwrap();
    assert_eq!(got[0], b"a\nsw1#\nsw1#\nport 7 carries everything\n");
}

#[test]
fn caps() {
    let mut console = Console::new(MANNER);
    assert!(matches!(console.feed(&vec![b'x'; MAX_LOGIN + 1]), Err(ConsoleError::TooMuch { .. })));
    let long = vec![b'x'; MAX_LINE + 1];
    let mut switch = Switch::new("", &[], "sw1#", &[&long]);
    assert!(matches!(converse(&mut switch, &["show"], steady(5000)), Err(ConsoleError::TooMuch { .. })));
    let much = b"0123456789\r\n".repeat(100_000);
    let mut switch = Switch::new("", &[], "sw1#", &[&much]);
    assert!(matches!(converse(&mut switch, &["show"], steady(5000)), Err(ConsoleError::TooMuch { .. })));
}

/// Pieces of which nasty answers are made.
fn piece() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec![
        "sw1#",
        "sw1#\r\n",
        "\r\n",
        "\n",
        "--More--",
        " or (q)uit",
        "Vlan 1511",
        " 1512 (Inactive)",
        "\x08",
        "\r",
        "\x1b[K",
        "Password:",
        "x",
        "#",
        " ",
        "\x00",
    ])
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    /// However the bytes come, the answer is the same, or it is known not to be whole.
    #[test]
    fn the_same_answer_however_it_is_cut(
        pieces in prop::collection::vec(piece(), 0..14),
        cuts in prop::collection::vec(1usize..9, 1..30),
    ) {
        let answer = pieces.concat() + "\r\n";
        let run = |cuts: Vec<usize>| {
            let mut switch = Switch::new("", &[], "sw1#", &[answer.as_bytes(), b"last\r\n"]);
            let mut n = 0;
            converse(&mut switch, &["show it", "show last"], || { n += 1; cuts[n % cuts.len()] })
        };
        let (whole, cut) = (run(vec![100_000]), run(cuts));
        let whole = whole.unwrap();
        match cut {
            Ok(cut) => prop_assert_eq!(cut, whole),
            Err(ConsoleError::WentOn { .. }) => {}
            Err(e) => prop_assert!(false, "{e}"),
        }
    }

    #[test]
    fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..400), quiet in any::<u8>()) {
        let mut console = Console::new(MANNER);
        for chunk in bytes.chunks(usize::from(quiet % 17) + 1) {
            if console.feed(chunk).is_err() || console.quiet().is_err() {
                return Ok(());
            }
            if console.phase == Phase::Idle {
                console.ask("show", 1000);
            }
        }
    }
}
