//! The framing of a switch's command line: bytes in, actions out. No socket, no clock, no thread, and no secret: who
//! drives it types the credentials it names.
//!
//! # In scope
//! - Logging in: a banner, the console's own `User Name:` and `Password:` after SSH has let one in, `enable`, and
//!   learning the prompt.
//! - One command at a time: its echo taken off, its pages turned, its end found.
//! - What a terminal would show: carriage returns, backspaces and the escape sequences that erase are carried out, so
//!   that a pager's prompt and whatever wipes it away leave nothing behind.
//!
//! # Out of scope
//! What a command's output means, and whether it was a refusal.
//!
//! # How the end of an output is known
//! The prompt is a text that may also stand in the output, where somebody described a port as `sw1#`, and a packet may
//! end just there. So seeing the prompt is never enough:
//!
//! 1. A prompt counts only as an unterminated last line that equals the learned prompt.
//! 2. Then an empty line is sent. The output has ended when the prompt comes again with nothing but empty lines and
//!    prompts in between. Where the first one was only a text in the output, the rest of the output comes instead, and
//!    the search goes on. An empty line is the only input that is harmless everywhere: at a pager it asks for one more
//!    line.
//! 3. The next command must be echoed behind a prompt, with nothing but prompts and empty lines before it. Anything
//!    else means that the command before it had not ended, and is [`ConsoleError::WentOn`]: that output counts for
//!    nothing. So whoever asks ends with one command whose answer does not matter.
//!
//! Lines at the end of an output that equal the prompt are taken for prompts. Everything is decided byte by byte or at
//! the end of what is there, so that however the bytes are cut into packets, the outcome is the same.

/// The most bytes of banner and login dialog.
const MAX_LOGIN: usize = 64 << 10;
/// The longest line.
const MAX_LINE: usize = 64 << 10;
/// The most pages of one output.
const MAX_PAGES: u32 = 20_000;
/// The longest prompt.
const MAX_PROMPT: usize = 128;
/// The longest escape sequence.
const MAX_ESCAPE: usize = 32;
/// How often the prompt may differ from what it was before nobody believes in it.
const MAX_CANDIDATES: u32 = 6;
/// After how many silences without a single character an empty line is sent to wake the other side.
const SILENCES: u32 = 10;

/// Sent once where the prompt ends in `>`, whatever the family.
pub const ENABLE: &str = "enable";

/// What a family of switches does differently.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Manner {
    /// The exact texts of its pager, without spaces around them: `--More--`. Of two that begin alike, list both.
    pub pagers: &'static [&'static str],
}

/// A credential, by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Typed {
    /// The account's name.
    User,
    /// The account's password.
    Password,
    /// The password of `enable`.
    Enable,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Send these bytes.
    Send(Vec<u8>),
    /// Send this credential and a line feed.
    Type(Typed),
    /// Logged in; a command may be asked.
    Ready,
    /// The command has ended, and this was its output: lines that end in a line feed.
    Finished(Vec<u8>),
}

/// Why a console cannot be used further.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConsoleError {
    /// A credential was asked for again, or did not help.
    #[error("the console refused {}; check the account and its secrets", name(*.0))]
    Refused(Typed),
    /// No prompt could be learned.
    #[error(
        "the console's prompt changes: {was:?}, then {found:?}; a prompt must stay the same to be recognised"
    )]
    NoPrompt {
        /// What it was taken for.
        was: String,
        /// What came after an empty line.
        found: String,
    },
    /// Something came where the echo of the command was due.
    #[error(
        "the console printed {found:?} where the echo of the command was due, so the answer before it had not ended; it \
         is not used"
    )]
    WentOn {
        /// The line, shortened.
        found: String,
    },
    /// More than may be kept.
    #[error("the console gave more than {limit} bytes of {what}")]
    TooMuch {
        /// The limit.
        limit: usize,
        /// Of what.
        what: &'static str,
    },
    /// The pager did not come to an end.
    #[error("the console's pager asked {MAX_PAGES} times for the next page of one answer")]
    TooManyPages,
}

fn name(typed: Typed) -> &'static str {
    match typed {
        Typed::User => "the user name",
        Typed::Password => "the password",
        Typed::Enable => "the password of enable",
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Phase {
    /// Until the prompt is learned.
    Login,
    /// Between commands.
    Idle,
    /// A command was sent; its echo is due.
    Echo,
    /// Its output is coming.
    Output,
}

/// Where the credentials stand.
#[derive(Clone, Debug, Default)]
struct Login {
    user: bool,
    password: bool,
    enable: bool,
    enable_password: bool,
    /// What was taken for the prompt, and how many lines had ended by then.
    candidate: Option<(Vec<u8>, u64)>,
    candidates: u32,
    silences: u32,
    bytes: usize,
}

/// One console.
#[derive(Clone, Debug)]
pub struct Console {
    manner: Manner,
    line: Line,
    phase: Phase,
    login: Login,
    prompt: Vec<u8>,
    /// Lines ended so far.
    lines: u64,
    command: Vec<u8>,
    limit: usize,
    output: Vec<u8>,
    /// The length of the output without the prompts and empty lines at its end.
    tail: usize,
    /// How many prompts have ended as lines behind `tail`.
    prompts: u32,
    /// How many prompts were there when an empty line was sent.
    probed: Option<u32>,
    pages: u32,
    /// What came behind a pager's text that may belong to a longer one.
    after_pager: Option<Vec<u8>>,
}

impl Console {
    /// A console that has not said anything yet.
    pub fn new(manner: Manner) -> Console {
        Console {
            manner,
            line: Line::default(),
            phase: Phase::Login,
            login: Login::default(),
            prompt: Vec::new(),
            lines: 0,
            command: Vec::new(),
            limit: 0,
            output: Vec::new(),
            tail: 0,
            prompts: 0,
            probed: None,
            pages: 0,
            after_pager: None,
        }
    }

    /// The prompt, once learned.
    pub fn prompt(&self) -> &[u8] {
        &self.prompt
    }

    /// Whether silence means something: only while logging in, where nothing but a pause tells a question from a line
    /// that is still coming.
    pub fn wants_quiet(&self) -> bool {
        self.phase == Phase::Login
    }

    /// What is being waited for, to say so when it does not come.
    pub fn waiting(&self) -> String {
        match self.phase {
            Phase::Login => {
                format!("the console's prompt; its last line is {:?}", words(trim(&self.line.cells)))
            }
            Phase::Idle => "nothing".into(),
            Phase::Echo => format!("the echo of {:?}", words(&self.command)),
            Phase::Output => format!(
                "the end of the answer to {:?}; the last line of {} bytes is {:?}",
                words(&self.command),
                self.output.len() + self.line.cells.len(),
                words(trim(&self.line.cells))
            ),
        }
    }

    /// Asks one command. Only between commands; its output may have at most `limit` bytes.
    pub fn ask(&mut self, command: &str, limit: usize) -> Action {
        self.command = command.as_bytes().to_vec();
        self.limit = limit;
        self.output = Vec::new();
        (self.tail, self.prompts, self.probed, self.pages) = (0, 0, None, 0);
        self.after_pager = None;
        self.phase = Phase::Echo;
        Action::Send([command.as_bytes(), b"\n"].concat())
    }

    /// Takes what arrived.
    pub fn feed(&mut self, bytes: &[u8]) -> Result<Vec<Action>, ConsoleError> {
        let mut actions = Vec::new();
        self.login.silences = 0;
        for byte in bytes {
            if self.phase == Phase::Login {
                self.login.bytes += 1;
                if self.login.bytes > MAX_LOGIN {
                    return Err(ConsoleError::TooMuch { limit: MAX_LOGIN, what: "banner and login dialog" });
                }
            }
            self.byte(*byte, &mut actions)?;
        }
        if self.phase == Phase::Output && trim(&self.line.cells) == self.prompt {
            let seen = self.prompts + 1;
            match self.probed {
                None => {
                    self.probed = Some(seen);
                    actions.push(Action::Send(b"\n".to_vec()));
                }
                Some(before) if seen > before => {
                    self.phase = Phase::Idle;
                    let mut output = std::mem::take(&mut self.output);
                    output.truncate(self.tail);
                    actions.push(Action::Finished(output));
                }
                Some(_) => {}
            }
        }
        Ok(actions)
    }

    /// Nothing has arrived for a while. Says what to do about the line that stands there.
    pub fn quiet(&mut self) -> Result<Vec<Action>, ConsoleError> {
        if self.phase != Phase::Login {
            return Ok(Vec::new());
        }
        let line = trim(&self.line.cells).to_vec();
        if line.is_empty() {
            self.login.silences += 1;
            let wake = self.login.silences == SILENCES;
            return Ok(if wake { vec![Action::Send(b"\n".to_vec())] } else { Vec::new() });
        }
        if let Some(asked) = self.asks_for(&line) {
            let given = match asked {
                Typed::User => &mut self.login.user,
                Typed::Password => &mut self.login.password,
                Typed::Enable => &mut self.login.enable_password,
            };
            if std::mem::replace(given, true) {
                return Err(ConsoleError::Refused(asked));
            }
            // What is typed is shown behind the question, or a new line begins; either way this line is done with.
            self.line = Line::default();
            return Ok(vec![Action::Type(asked)]);
        }
        match line.last() {
            Some(b'>') if !self.login.enable => {
                self.login.enable = true;
                self.line = Line::default();
                return Ok(vec![Action::Send([ENABLE.as_bytes(), b"\n"].concat())]);
            }
            // Back where it was: what was typed was not it.
            Some(b'>') if self.login.enable_password => return Err(ConsoleError::Refused(Typed::Enable)),
            Some(b'#' | b'>') if line.len() <= MAX_PROMPT => {}
            _ => return Ok(Vec::new()),
        }
        match &self.login.candidate {
            Some((before, lines)) if *before == line && *lines < self.lines => {
                self.prompt = line;
                self.phase = Phase::Idle;
                return Ok(vec![Action::Ready]);
            }
            // The empty line has not been answered yet.
            Some((before, lines)) if *before == line && *lines == self.lines => return Ok(Vec::new()),
            Some((before, _)) if self.login.candidates >= MAX_CANDIDATES => {
                return Err(ConsoleError::NoPrompt { was: words(before), found: words(&line) });
            }
            _ => {}
        }
        self.login.candidates += 1;
        self.login.candidate = Some((line, self.lines));
        Ok(vec![Action::Send(b"\n".to_vec())])
    }

    /// The credential that a line asks for.
    fn asks_for(&self, line: &[u8]) -> Option<Typed> {
        let line = String::from_utf8_lossy(line).to_ascii_lowercase();
        if line.len() > MAX_PROMPT {
            return None;
        }
        if line.ends_with("password:") {
            return Some(if self.login.enable { Typed::Enable } else { Typed::Password });
        }
        let user = ["user name:", "username:", "user:", "login:"].iter().any(|end| line.ends_with(end));
        user.then_some(Typed::User)
    }

    fn byte(&mut self, byte: u8, actions: &mut Vec<Action>) -> Result<(), ConsoleError> {
        if let Some(eaten) = &mut self.after_pager {
            eaten.push(byte);
            let goes_on = |pager: &&str| is_longer(pager, eaten);
            if self.manner.pagers.iter().any(goes_on) {
                return Ok(());
            }
            let eaten = self.after_pager.take().unwrap_or_default();
            let whole = self.manner.pagers.iter().any(|p| p.as_bytes() == eaten);
            if whole {
                return Ok(());
            }
            // The beginning of a longer pager that did not become one: the text behind the shorter one is output.
            let short = self.manner.pagers.iter().map(|p| p.len()).filter(|n| {
                eaten.get(..*n).is_some_and(|b| self.manner.pagers.iter().any(|p| p.as_bytes() == b))
            });
            let from = short.max().unwrap_or_default();
            for byte in &eaten[from..] {
                self.plain(*byte, actions)?;
            }
            return Ok(());
        }
        self.plain(byte, actions)
    }

    fn plain(&mut self, byte: u8, actions: &mut Vec<Action>) -> Result<(), ConsoleError> {
        if self.line.take(byte)? {
            let line = std::mem::take(&mut self.line);
            return self.ended(line.cells);
        }
        self.pager(byte, actions)
    }

    /// Turns the page when the line has become a pager's text.
    fn pager(&mut self, byte: u8, actions: &mut Vec<Action>) -> Result<(), ConsoleError> {
        if !matches!(self.phase, Phase::Login | Phase::Output) || self.line.cells.len() > MAX_PROMPT {
            return Ok(());
        }
        let shown = trim(&self.line.cells);
        let Some(pager) =
            self.manner.pagers.iter().find(|p| p.as_bytes().last() == Some(&byte) && p.as_bytes() == shown)
        else {
            return Ok(());
        };
        self.pages += 1;
        if self.pages > MAX_PAGES {
            return Err(ConsoleError::TooManyPages);
        }
        if self.manner.pagers.iter().any(|p| is_longer(p, pager.as_bytes())) {
            self.after_pager = Some(pager.as_bytes().to_vec());
        }
        // Gone before it is wiped away: some switches overwrite it, some go on behind it.
        self.line = Line::default();
        actions.push(Action::Send(b" ".to_vec()));
        Ok(())
    }

    /// A line has ended.
    fn ended(&mut self, mut cells: Vec<u8>) -> Result<(), ConsoleError> {
        self.lines += 1;
        cells.truncate(trim_end(&cells).len());
        let text = trim(&cells);
        match self.phase {
            Phase::Login => {}
            Phase::Idle | Phase::Echo if text.is_empty() || text == self.prompt => {}
            Phase::Idle => return Err(ConsoleError::WentOn { found: words(text) }),
            Phase::Echo => {
                let echoed = text.strip_prefix(self.prompt.as_slice()).map(trim);
                if echoed != Some(self.command.as_slice()) {
                    return Err(ConsoleError::WentOn { found: words(text) });
                }
                self.phase = Phase::Output;
            }
            Phase::Output => {
                if self.output.len() + cells.len() + 1 > self.limit {
                    return Err(ConsoleError::TooMuch { limit: self.limit, what: "output" });
                }
                let (is_prompt, is_empty) = (text == self.prompt, text.is_empty());
                self.output.extend_from_slice(&cells);
                self.output.push(b'\n');
                if is_prompt {
                    self.prompts += 1;
                } else if !is_empty {
                    (self.tail, self.prompts, self.probed) = (self.output.len(), 0, None);
                }
            }
        }
        Ok(())
    }
}

fn is_longer(pager: &str, than: &[u8]) -> bool {
    pager.len() > than.len() && pager.as_bytes().starts_with(than)
}

/// Bytes of a line for a sentence: short, and printable.
fn words(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(&bytes[..bytes.len().min(80)]);
    if bytes.len() > 80 { format!("{text}…") } else { text.into_owned() }
}

fn trim(bytes: &[u8]) -> &[u8] {
    let from = bytes.iter().position(|b| !matches!(b, b' ' | b'\t')).unwrap_or(bytes.len());
    trim_end(&bytes[from..])
}

fn trim_end(bytes: &[u8]) -> &[u8] {
    let to = bytes.iter().rposition(|b| !matches!(b, b' ' | b'\t')).map_or(0, |at| at + 1);
    &bytes[..to]
}

/// The line that is being written, as a terminal of endless width shows it.
#[derive(Clone, Debug, Default)]
struct Line {
    cells: Vec<u8>,
    cursor: usize,
    escape: Option<Vec<u8>>,
}

impl Line {
    /// Takes one byte; true when it ended the line.
    fn take(&mut self, byte: u8) -> Result<bool, ConsoleError> {
        if let Some(mut sequence) = self.escape.take() {
            sequence.push(byte);
            if !escape_ended(&sequence) {
                if sequence.len() > MAX_ESCAPE {
                    return Err(ConsoleError::TooMuch { limit: MAX_ESCAPE, what: "one escape sequence" });
                }
                self.escape = Some(sequence);
            } else {
                self.carry_out(&sequence)?;
            }
            return Ok(false);
        }
        match byte {
            b'\n' => return Ok(true),
            b'\r' => self.cursor = 0,
            0x08 => self.cursor = self.cursor.saturating_sub(1),
            0x1b => self.escape = Some(Vec::new()),
            // Padding, and the bell.
            0x00 | 0x07 => {}
            // Anything else a terminal would not print has no business in an answer: it stays visible, so that no
            // parser takes what it stands in for a number.
            0x01..=0x06 | 0x0b..=0x1f | 0x7f => self.keep(b'?')?,
            _ => self.keep(byte)?,
        }
        Ok(false)
    }

    fn keep(&mut self, byte: u8) -> Result<(), ConsoleError> {
        if self.cursor >= MAX_LINE {
            return Err(ConsoleError::TooMuch { limit: MAX_LINE, what: "one line" });
        }
        if self.cursor >= self.cells.len() {
            self.cells.resize(self.cursor, b' ');
            self.cells.push(byte);
        } else {
            self.cells[self.cursor] = byte;
        }
        self.cursor += 1;
        Ok(())
    }

    /// Carries out what concerns this line. What moves elsewhere cannot be followed and leaves a mark.
    fn carry_out(&mut self, sequence: &[u8]) -> Result<(), ConsoleError> {
        let [b'[', parameters @ .., last] = sequence else { return Ok(()) };
        let number = std::str::from_utf8(parameters).ok().and_then(|t| t.parse::<usize>().ok());
        match last {
            b'K' | b'J' => match number.unwrap_or(0) {
                0 => self.cells.truncate(self.cursor),
                1 => {
                    let to = self.cursor.min(self.cells.len());
                    self.cells[..to].fill(b' ');
                }
                _ => self.cells.clear(),
            },
            b'C' => self.cursor = (self.cursor + number.unwrap_or(1)).min(MAX_LINE),
            b'D' => self.cursor = self.cursor.saturating_sub(number.unwrap_or(1)),
            b'G' => self.cursor = number.unwrap_or(1).saturating_sub(1).min(MAX_LINE),
            // Colours, modes, questions to the terminal.
            b'm' | b'h' | b'l' | b'n' | b'c' | b'r' => {}
            _ => self.keep(b'?')?,
        }
        Ok(())
    }
}

/// Whether an escape sequence, without its escape, is whole.
fn escape_ended(sequence: &[u8]) -> bool {
    match sequence {
        [b'[', rest @ ..] => rest.last().is_some_and(|b| (0x40..=0x7e).contains(b)),
        [b'(' | b')' | b'*' | b'+' | b'#' | b' ', rest @ ..] => !rest.is_empty(),
        _ => true,
    }
}

#[cfg(test)]
#[path = "console_tests.rs"]
mod tests;
