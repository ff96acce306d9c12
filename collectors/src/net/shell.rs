//! A console over SSH: an interactive shell on a terminal, driving the framing of [`super::console`]. The login is kept
//! between readings. libssh2 blocks, so the work is done on a thread of its own.
//!
//! # Trust
//! The host key is checked as for single commands. What is typed into the shell is the account's credentials, `enable`,
//! empty lines, a pager's space and the [`Script`]; nothing else can be.

use super::console::{Action, Console, ConsoleError, Manner, Typed};
use super::io_words;
use super::ssh::{Live, SshLogin, SshTarget, left, log_in};
use crate::{Secret, SourceError};
use isoledger_core::model::Failure;
use ssh2::Channel;
use std::io::{ErrorKind, Read, Write};
use std::time::{Duration, Instant};
use tokio::sync::mpsc;

/// How long nothing must arrive before a line without an end is taken for a question. Only while logging in.
const PAUSE: Duration = Duration::from_millis(100);
/// The terminal: wide enough that no line of an answer is broken, and without pages where that is believed.
const TERMINAL: (u32, u32, u32, u32) = (511, 0, 0, 0);
/// Kept free before the deadline, so that the thread ends before those who wait for it.
const MARGIN: Duration = Duration::from_millis(20);

/// How long, in milliseconds, the other side may take to agree that a console is closed.
const PARTING: u32 = 100;

/// Everything that is typed during one reading. Constants of a dialect.
#[derive(Clone, Copy, Debug)]
pub struct Script {
    /// What the family does differently.
    pub manner: Manner,
    /// Asked once after logging in; what comes back does not matter. They concern the session only.
    pub prepare: &'static [&'static str],
    /// What is read.
    pub commands: &'static [&'static str],
    /// Asked last. Its echo is the proof that the answer before it had ended; its own answer does not matter.
    pub closing: &'static str,
    /// The most bytes of one answer.
    pub limit: usize,
}

/// What one reading brought.
#[derive(Clone, Debug, Default)]
pub struct Said {
    /// The answers to the first commands, each known to be whole, with the prompt that followed it.
    pub answers: Vec<Vec<u8>>,
    /// Why there are no more.
    pub failed: Option<SourceError>,
    /// How many lines were sent, without credentials and pages.
    pub sent: u64,
    /// How the two sides authenticated.
    pub auth: String,
    /// The host key's fingerprint, once connected.
    pub host_key: Option<String>,
}

/// A console that stays logged in between readings.
#[derive(Debug)]
pub struct Shell {
    target: SshTarget,
    enable: Option<Secret>,
    kept: Option<Kept>,
}

struct Kept {
    // Before the session: closing it needs the session.
    channel: Channel,
    live: Live,
    console: Console,
}

impl Drop for Kept {
    /// libssh2 waits for the other side when a channel is freed, as long as it was last told to wait: for a silent switch
    /// the whole deadline once more, and again when the session is freed. Meanwhile its thread would be missing.
    fn drop(&mut self) {
        self.live.session.set_timeout(PARTING);
    }
}

impl std::fmt::Debug for Kept {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Kept").field("live", &self.live).finish_non_exhaustive()
    }
}

/// What the thread reports as it goes, so that a reading cut off by its deadline keeps what it had.
enum Report {
    LoggedIn { auth: String, host_key: String },
    Sent,
    Answer(Vec<u8>),
    Done(Result<Box<Kept>, SourceError>),
}

impl Shell {
    /// A console at `target`, not yet connected.
    pub fn new(target: SshTarget, enable: Option<Secret>) -> Shell {
        Shell { target, enable, kept: None }
    }

    /// Runs `script`, logging in first where needed.
    pub async fn run(&mut self, script: Script, deadline: Instant) -> Said {
        if let Some(kept) = self.kept.take() {
            let said = self.on_thread(Some(kept), script, deadline).await;
            // A login kept from the last reading may have been ended by the other side, or written to, since.
            if said.failed.is_none() || Instant::now() + MARGIN >= deadline {
                return said;
            }
            let sent = said.sent;
            let mut said = self.on_thread(None, script, deadline).await;
            said.sent += sent;
            return said;
        }
        self.on_thread(None, script, deadline).await
    }

    async fn on_thread(&mut self, kept: Option<Kept>, script: Script, deadline: Instant) -> Said {
        let (target, enable) = (self.target.clone(), self.enable.clone());
        let place = target.place();
        let (report, mut reports) = mpsc::unbounded_channel();
        let ends = deadline.checked_sub(MARGIN).unwrap_or(deadline);
        // Past the deadline the thread is left behind; it ends by its own timeouts, which the deadline also bounds.
        tokio::task::spawn_blocking(move || {
            let mut talk = Talk { target: &target, enable, script, deadline: ends, report: &report };
            let done = talk.all(kept).map(Box::new);
            let _ = report.send(Report::Done(done));
        });
        let mut said = Said::default();
        loop {
            match tokio::time::timeout_at(deadline.into(), reports.recv()).await {
                Ok(Some(Report::LoggedIn { auth, host_key })) => {
                    said.auth = auth;
                    said.host_key = Some(host_key);
                }
                Ok(Some(Report::Sent)) => said.sent += 1,
                Ok(Some(Report::Answer(answer))) => said.answers.push(answer),
                Ok(Some(Report::Done(Ok(kept)))) => {
                    self.kept = Some(*kept);
                    return said;
                }
                Ok(Some(Report::Done(Err(e)))) => {
                    said.failed = Some(e);
                    break;
                }
                Ok(None) => {
                    said.failed = Some(SourceError::unreadable(format!("{place}: the session broke off")));
                    break;
                }
                Err(_) => {
                    said.failed = Some(late(&place, "the console"));
                    break;
                }
            }
        }
        // An answer is known to be whole once the next command was echoed, which for the last one may not have been.
        said.answers.pop();
        said
    }
}

fn late(place: &str, what: &str) -> SourceError {
    SourceError::silent(format!(
        "{place}: no answer before the deadline; waited for {what}. Raise the source's deadline if it is merely slow"
    ))
}

/// One reading, on its thread.
struct Talk<'a> {
    target: &'a SshTarget,
    enable: Option<Secret>,
    script: Script,
    deadline: Instant,
    report: &'a mpsc::UnboundedSender<Report>,
}

impl Talk<'_> {
    fn all(&mut self, kept: Option<Kept>) -> Result<Kept, SourceError> {
        let fresh = kept.is_none();
        let mut kept = match kept {
            Some(kept) => kept,
            None => self.open()?,
        };
        self.tell(Report::LoggedIn {
            auth: kept.live.auth(self.target),
            host_key: kept.live.host_key.clone(),
        });
        if fresh {
            self.until(&mut kept, |action| matches!(action, Action::Ready).then_some(()))?;
            for command in self.script.prepare {
                self.ask(&mut kept, command)?;
            }
        }
        for command in self.script.commands {
            let mut answer = self.ask(&mut kept, command)?;
            answer.extend_from_slice(kept.console.prompt());
            self.tell(Report::Answer(answer));
        }
        self.ask(&mut kept, self.script.closing)?;
        Ok(kept)
    }

    fn tell(&self, report: Report) {
        // Nobody listens any more: the deadline has passed, and this thread will notice by itself.
        let _ = self.report.send(report);
    }

    fn open(&self) -> Result<Kept, SourceError> {
        let place = self.target.place();
        let live = log_in(self.target, self.deadline)?;
        let words = |e: ssh2::Error| {
            SourceError::unreadable(format!("{place}: the console cannot be opened: {}", e.message()))
        };
        live.session.set_timeout(left(&place, self.deadline)?);
        let mut channel = live.session.channel_session().map_err(words)?;
        channel.request_pty("vt100", None, Some(TERMINAL)).map_err(words)?;
        shell(&mut channel).map_err(words)?;
        Ok(Kept { channel, live, console: Console::new(self.script.manner) })
    }

    fn ask(&mut self, kept: &mut Kept, command: &str) -> Result<Vec<u8>, SourceError> {
        let action = kept.console.ask(command, self.script.limit);
        self.tell(Report::Sent);
        self.carry_out(kept, &action)?;
        self.until(kept, |action| match action {
            Action::Finished(output) => Some(output),
            _ => None,
        })
    }

    /// Drives the console until an action is the one wanted.
    fn until<T>(&mut self, kept: &mut Kept, wanted: impl Fn(Action) -> Option<T>) -> Result<T, SourceError> {
        let place = self.target.place();
        let mut buffer = [0; 16384];
        loop {
            let quiet = kept.console.wants_quiet();
            let rest = left(&place, self.deadline).map_err(|_| self.late(kept))?;
            let pause = u32::try_from(PAUSE.as_millis()).unwrap_or(u32::MAX);
            kept.live.session.set_timeout(if quiet { rest.min(pause) } else { rest });
            let stepped = match kept.channel.read(&mut buffer) {
                Ok(0) => {
                    return Err(SourceError::silent(self.censored(format!(
                        "{place}: the other side closed the console; waited for {}",
                        kept.console.waiting()
                    ))));
                }
                Ok(n) => kept.console.feed(&buffer[..n]),
                Err(e) if matches!(e.kind(), ErrorKind::TimedOut | ErrorKind::WouldBlock) => {
                    if !quiet || rest <= pause {
                        return Err(self.late(kept));
                    }
                    kept.console.quiet()
                }
                Err(e) => {
                    return Err(SourceError::silent(format!(
                        "{place}: the console broke off: {}",
                        io_words(&e)
                    )));
                }
            };
            let actions = stepped.map_err(|e| self.failed(&e))?;
            let mut found = None;
            for action in actions {
                self.carry_out(kept, &action)?;
                found = found.or(wanted(action));
            }
            if let Some(found) = found {
                return Ok(found);
            }
        }
    }

    fn carry_out(&self, kept: &mut Kept, action: &Action) -> Result<(), SourceError> {
        let place = self.target.place();
        let typed;
        let bytes: &[u8] = match action {
            Action::Send(bytes) => bytes,
            Action::Type(what) => {
                typed = format!("{}\n", self.credential(*what)?);
                typed.as_bytes()
            }
            Action::Ready | Action::Finished(_) => return Ok(()),
        };
        kept.live.session.set_timeout(left(&place, self.deadline)?);
        kept.channel.write_all(bytes).and_then(|()| kept.channel.flush()).map_err(|e| {
            SourceError::silent(format!("{place}: nothing can be sent to the console: {}", io_words(&e)))
        })
    }

    fn credential(&self, what: Typed) -> Result<&str, SourceError> {
        let place = self.target.place();
        match (what, &self.target.login, &self.enable) {
            (Typed::User, ..) => Ok(&self.target.user),
            (Typed::Password, SshLogin::Password(secret), _) => Ok(secret.expose()),
            (Typed::Enable, _, Some(secret)) => Ok(secret.expose()),
            (Typed::Password, SshLogin::Key { .. }, _) => Err(SourceError::unreadable(format!(
                "{place}: the console asks for a password although the key was accepted; configure a password instead \
                 of the key"
            ))),
            (Typed::Enable, _, None) => Err(SourceError::unreadable(format!(
                "{place}: the console asks for the password of enable; configure it, or give the account a level that \
                 needs none"
            ))),
        }
    }

    fn late(&self, kept: &Kept) -> SourceError {
        let mut e = late(&self.target.place(), &kept.console.waiting());
        e.sentence = self.censored(e.sentence);
        e
    }

    fn failed(&self, e: &ConsoleError) -> SourceError {
        let sentence = self.censored(format!("{}: {e}", self.target.place()));
        SourceError::new(Failure::Unreadable, sentence)
    }

    /// A sentence that may quote what the console printed, without a secret that the console may have echoed.
    fn censored(&self, sentence: String) -> String {
        let password = match &self.target.login {
            SshLogin::Password(secret) => Some(secret),
            SshLogin::Key { .. } => None,
        };
        [password, self.enable.as_ref()].into_iter().flatten().fold(sentence, without)
    }
}

/// The shortest beginning of a secret that is looked for where a quotation ends.
const TELLING: usize = 3;

/// The sentence without the secret: as it is, as a quotation spells it, and the part of it that is left where a
/// quotation was cut off.
fn without(sentence: String, secret: &Secret) -> String {
    let plain = secret.expose();
    if plain.is_empty() {
        return sentence;
    }
    let quoted = plain.escape_debug().to_string();
    let mut sentence = sentence.replace(&quoted, "(secret)").replace(plain, "(secret)");
    for text in [quoted.as_str(), plain] {
        for (end, _) in text.char_indices().skip(TELLING).collect::<Vec<_>>().into_iter().rev() {
            sentence = sentence.replace(&format!("{}…", &text[..end]), "(secret)…");
        }
    }
    sentence
}

#[expect(clippy::disallowed_methods, reason = "the only shell: it types what a script of constants says")]
fn shell(channel: &mut Channel) -> Result<(), ssh2::Error> {
    channel.shell()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_quoted_in_no_spelling() {
        let secret = Secret::new("pa\"ss\\wörd\t1");
        for (said, want) in [
            (r#"found "x pa\"ss\\wörd\t1 y""#, r#"found "x (secret) y""#),
            ("plain pa\"ss\\wörd\t1 here", "plain (secret) here"),
            (r#"found "x pa\"ss\\w…""#, r#"found "x (secret)…""#),
            (r#"found "x pa\"…""#, r#"found "x (secret)…""#),
            (r#"found "x pa…""#, r#"found "x pa…""#),
            ("nothing of it", "nothing of it"),
        ] {
            assert_eq!(without(said.to_owned(), &secret), want);
        }
    }
}
