//! A session at the command line: login, prompt, pager, commands.

use super::configure::{self, Context};
use super::dialect::{self, Dialect};
use super::grammar::{self, Verb, Wrong};
use super::line::Line;
use crate::cloud::Cloud;
use crate::fault::Service;
use crate::serve::Ended;
use crate::world::{Console, ConsoleLogin, Erase, Hardware, HardwareKind, Privilege};

/// Failed logins, and failed tries at `enable`, before it gives up.
const TRIES: usize = 3;

/// Written to the client in pieces of this size, so that a fault set in the middle of a long answer is seen.
const PIECE: usize = 64 << 10;

/// A session of one user.
pub(super) struct Terminal {
    cloud: Cloud,
    switch: String,
    service: Service,
    kind: HardwareKind,
    dialect: &'static Dialect,
    /// Whoever logged in: over SSH, and then at the console's own question.
    user: String,
    line: Line,
    rights: bool,
    page: Option<usize>,
    context: Context,
}

/// How a command ended.
enum Next {
    Prompt,
    Goodbye,
}

impl Terminal {
    /// A session that has not begun. `None` when the switch is gone or has no command line.
    pub(super) fn new(cloud: Cloud, switch: &str, user: &str, line: Line) -> Option<Terminal> {
        let kind = cloud.read(|w| w.hardware(switch).map(|h| h.kind))?;
        Some(Terminal {
            cloud,
            switch: switch.to_owned(),
            service: Service::Console(switch.to_owned()),
            kind,
            dialect: dialect::of(kind)?,
            user: user.to_owned(),
            line,
            rights: false,
            page: None,
            context: Context::None,
        })
    }

    fn console(&self) -> Result<Console, Ended> {
        self.cloud.read(|w| w.console(&self.switch)).ok_or(Ended::Closed)
    }

    fn hardware<R>(&self, look: impl FnOnce(&Hardware) -> R) -> Result<R, Ended> {
        self.cloud.read(|w| w.hardware(&self.switch).map(look)).ok_or(Ended::Closed)
    }

    /// The interactive session, from the banner to the goodbye.
    pub(super) async fn run(&mut self) -> Result<(), Ended> {
        let console = self.console()?;
        self.page = console.page;
        self.line.begin();
        if let Some(banner) = &console.banner {
            self.say(banner).await?;
        }
        if !self.log_in(&console).await? {
            self.say("\n").await?;
            self.line.close(Some(1)).await;
            return Ok(());
        }
        if let Some(greeting) = &console.greeting {
            self.say(greeting).await?;
        }
        self.rights = console.privilege == Privilege::All;
        loop {
            let prompt = self.prompt()?;
            self.line.put(prompt.as_bytes()).await?;
            self.line.end().await?;
            let typed = match self.line.line(true).await {
                Ok(typed) => typed,
                // The client has said all it wanted: a script at the end of its input.
                Err(Ended::Closed) => break,
                Err(other) => return Err(other),
            };
            match self.obey(typed.trim()).await? {
                Next::Prompt => {}
                Next::Goodbye => break,
            }
        }
        self.line.close(Some(0)).await;
        Ok(())
    }

    /// One command without a terminal around it, for `ssh switch 'show vlan'`. The exit status.
    pub(super) async fn exec(&mut self, command: &str) -> Result<(), Ended> {
        self.rights = true;
        self.line.begin();
        self.obey(command.trim()).await?;
        self.line.end().await?;
        self.line.close(Some(0)).await;
        Ok(())
    }

    /// Whether an `exec` request is served at all.
    pub(super) fn takes_exec(&self) -> bool {
        self.dialect.takes_exec
    }

    async fn log_in(&mut self, console: &Console) -> Result<bool, Ended> {
        if console.login == ConsoleLogin::Straight {
            return Ok(true);
        }
        for _ in 0..TRIES {
            let user = if console.login == ConsoleLogin::UserAndPassword {
                self.ask(&console.user_question, true).await?
            } else {
                self.user.clone()
            };
            let password = self.ask(&console.password_question, false).await?;
            if !console.refuses_logins && self.hardware(|h| h.account(&user, &password).is_some())? {
                self.user = user;
                return Ok(true);
            }
            self.say(self.dialect.login_failed).await?;
        }
        Ok(false)
    }

    async fn ask(&mut self, question: &str, echo: bool) -> Result<String, Ended> {
        self.line.put(question.as_bytes()).await?;
        self.line.end().await?;
        self.line.line(echo).await
    }

    fn prompt(&self) -> Result<String, Ended> {
        let host = self.hardware(|h| h.config().hostname.clone())?;
        let sign = if self.rights { self.dialect.hash } else { ">" };
        Ok(format!("{host}{}{sign}", self.context.in_prompt(self.kind)))
    }

    async fn obey(&mut self, typed: &str) -> Result<Next, Ended> {
        if typed.is_empty() {
            return Ok(Next::Prompt);
        }
        let configuring = self.context != Context::None;
        let found = grammar::read(self.dialect.rules, self.rights, typed);
        // Whatever is not known to be a read counts as an attempt to change something: another firmware may take it.
        let write = match &found {
            _ if configuring => true,
            Ok(found) => matches!(found.rule.verb, Verb::Configure | Verb::Save | Verb::Write),
            Err(_) => !"show".starts_with(&typed.split(' ').next().unwrap_or_default().to_ascii_lowercase()),
        };
        self.cloud.arrived(&self.service, Some(self.user.clone()), typed, write);
        let console = self.console()?;
        let here = |words: &str| !console.unknown.iter().any(|u| words.starts_with(u.as_str()));
        if let Some(answer) = console.answers.get(typed) {
            self.show(&console, answer).await?;
        } else if configuring {
            self.configure(typed).await?;
        } else {
            match found {
                Ok(found) if here(found.rule.words) && here(typed) => {
                    if let Next::Goodbye = self.carry_out(&console, &found).await? {
                        return Ok(Next::Goodbye);
                    }
                }
                Ok(_) => {
                    self.complain(Wrong::Unknown(typed.rfind(' ').map_or(0, |at| at + 1)), typed).await?
                }
                Err(wrong) => self.complain(wrong, typed).await?,
            }
        }
        self.notices(console.notices).await?;
        Ok(Next::Prompt)
    }

    async fn carry_out(&mut self, console: &Console, found: &grammar::Found) -> Result<Next, Ended> {
        match found.rule.verb {
            Verb::Show(show) => {
                let answer = self.hardware(|h| show(h, &found.arguments))?;
                self.show(console, &answer).await?;
            }
            Verb::Enable if self.rights => {}
            Verb::Enable => self.enable(console).await?,
            Verb::Disable => self.rights = false,
            Verb::Logout => return Ok(Next::Goodbye),
            // As HIL knows it: from `#` to `>` first, where there was a `>`.
            Verb::Exit
                if self.rights && console.privilege == Privilege::Few && self.dialect.exit_disables =>
            {
                self.rights = false;
            }
            Verb::Exit => return Ok(Next::Goodbye),
            Verb::PagerOff => self.page = None,
            Verb::PagerOn => self.page = console.page,
            Verb::PageLength => {
                let lines = found.arguments.first().and_then(|n| n.parse().ok());
                self.page = lines.filter(|n| *n > 0);
            }
            Verb::Nothing => {}
            Verb::Configure | Verb::Save | Verb::Write if !self.may_write()? => {
                self.say(self.dialect.not_allowed).await?;
            }
            Verb::Configure => self.context = Context::Global,
            Verb::Save => {
                self.cloud.edit(|w| w.hardware_mut(&self.switch).map(Hardware::save_startup).ok());
                self.say("\nConfiguration Saved!\n").await?;
            }
            Verb::Write => {}
        }
        Ok(Next::Prompt)
    }

    fn may_write(&self) -> Result<bool, Ended> {
        self.hardware(|h| !h.refuses_changes && h.accounts.iter().any(|a| a.user == self.user && a.may_write))
    }

    async fn enable(&mut self, console: &Console) -> Result<(), Ended> {
        let Some(password) = self.hardware(|h| h.enable_password.clone())? else {
            self.rights = true;
            return Ok(());
        };
        for _ in 0..TRIES {
            if self.ask(&console.password_question, false).await? == password {
                self.rights = true;
                return Ok(());
            }
            self.say(self.dialect.enable_failed).await?;
        }
        Ok(())
    }

    async fn configure(&mut self, typed: &str) -> Result<(), Ended> {
        let context = self.context.clone();
        let answer = self.cloud.edit(|w| match w.hardware_mut(&self.switch) {
            Ok(hardware) => configure::obey(hardware, &context, typed),
            Err(_) => Err(Wrong::Unknown(0)),
        });
        match answer {
            Ok(context) => self.context = context,
            Err(wrong) => self.complain(wrong, typed).await?,
        }
        Ok(())
    }

    async fn complain(&mut self, wrong: Wrong, typed: &str) -> Result<(), Ended> {
        let prompt = self.prompt()?.len();
        self.say(&(self.dialect.complain)(wrong, prompt, typed)).await
    }

    /// Log lines that the switch writes when it likes.
    async fn notices(&mut self, bytes: usize) -> Result<(), Ended> {
        let mut left = bytes;
        while left > 0 {
            let piece = self.dialect.notice.repeat((left.min(PIECE) / self.dialect.notice.len()).max(1));
            left = left.saturating_sub(piece.len());
            self.say(&piece).await?;
        }
        Ok(())
    }

    /// Text in lines that end in `\n`, as the terminal wants it.
    async fn say(&mut self, text: &str) -> Result<(), Ended> {
        self.line.put(text.replace('\n', "\r\n").as_bytes()).await
    }

    /// The answer of a command, page by page.
    async fn show(&mut self, console: &Console, text: &str) -> Result<(), Ended> {
        let mut room = self.page.map(|lines| lines.saturating_sub(1).max(1));
        let mut piece = String::new();
        let mut lines = text.split_inclusive('\n').peekable();
        while let Some(line) = lines.next() {
            piece.push_str(line);
            if piece.len() >= PIECE {
                self.say(&std::mem::take(&mut piece)).await?;
            }
            let Some(left) = &mut room else { continue };
            *left -= 1;
            if *left > 0 || lines.peek().is_none() {
                continue;
            }
            self.say(&std::mem::take(&mut piece)).await?;
            match self.more(console).await? {
                Some(more) => *left = more,
                None => return Ok(()),
            }
        }
        self.say(&piece).await
    }

    /// The pager's question; how many lines to go on with, if at all. Whatever was typed ahead is the answer.
    async fn more(&mut self, console: &Console) -> Result<Option<usize>, Ended> {
        let question = self.dialect.more;
        self.line.put(question.as_bytes()).await?;
        let answer = loop {
            match self.line.key().await? {
                b' ' => break self.page,
                b'\r' | b'\n' => break Some(1),
                b'q' | b'Q' | 0x03 => break None,
                _ => {}
            }
        };
        let over = " ".repeat(question.len());
        let erase = match console.erase {
            Erase::Backspaces => {
                let back = "\x08".repeat(question.len());
                format!("{back}{over}{back}")
            }
            Erase::Spaces => format!("\r{over}\r"),
            Erase::Ansi => String::from("\r\x1b[K"),
        };
        self.line.put(erase.as_bytes()).await?;
        Ok(answer)
    }
}
