//! How the command line of a hardware switch is reached, and how it behaves on the terminal.
//!
//! # In scope
//! - What a switch does before it takes commands (SSH methods, banners, its own login, `enable`), and around them (pager,
//!   notices, commands it does not have): levers, each plain data, each in force at the next thing typed.
//! # Out of scope
//! - What the commands answer: that is the switch's configuration, [`super::Hardware`].
//! - Peers that fail on the wire: [`crate::Fault`], below SSH for [`crate::Service::Console`], and above it, in the text of
//!   the terminal, for [`crate::Service::Terminal`].

use std::collections::BTreeMap;

use super::hardware::HardwareKind;
use super::{World, WorldError};

/// Which ways of logging in the SSH server accepts. What it refuses here is refused whoever asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SshMethods {
    /// Anybody, without any proof: for switches that let SSH in and ask on the console instead.
    pub none: bool,
    /// The account's password.
    pub password: bool,
    /// The account's password, asked for.
    pub keyboard_interactive: bool,
    /// These public keys, as lines of OpenSSH's `authorized_keys`.
    pub public_keys: Vec<String>,
}

impl SshMethods {
    /// The password only, both ways of sending it.
    pub fn passwords() -> SshMethods {
        SshMethods { none: false, password: true, keyboard_interactive: true, public_keys: Vec::new() }
    }

    /// Anybody, and whoever insists on a password may send any.
    pub fn anybody() -> SshMethods {
        SshMethods { none: true, ..SshMethods::passwords() }
    }
}

/// What the console asks for once SSH let the client in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConsoleLogin {
    /// Nothing: SSH was enough.
    Straight,
    /// The password of whoever logged in over SSH.
    Password,
    /// Name and password.
    UserAndPassword,
}

/// Which rights the command line begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Privilege {
    /// All that the account has: the prompt ends in `#`.
    All,
    /// Few: the prompt ends in `>`, and `enable` gives the rest, for [`super::Hardware::enable_password`] where there is one.
    Few,
}

/// How a switch takes the pager's question off the screen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Erase {
    /// Backspaces, as many spaces, as many backspaces.
    Backspaces,
    /// To the beginning of the line, spaces over it, and back again.
    Spaces,
    /// To the beginning of the line, and ANSI's "erase to the end of the line".
    Ansi,
}

/// The command line of a switch.
///
/// ```
/// use isoledger_lab::{ConsoleLogin, HardwareKind, Privilege, World};
///
/// let mut world = World::new();
/// world.add_hardware_switch("dell", HardwareKind::PowerConnect5500)?;
/// let console = world.console_mut("dell")?;
/// assert_eq!(console.login, ConsoleLogin::UserAndPassword);
/// console.privilege = Privilege::Few;
/// console.banner = Some("Password: none of your business\n".into());
/// # Ok::<(), isoledger_lab::WorldError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Console {
    /// Ways in over SSH.
    pub methods: SshMethods,
    /// Only what switches of that age speak: Diffie-Hellman group 14 with SHA-1, AES in CBC mode, HMAC-SHA1.
    pub old_algorithms: bool,
    /// Counts changes of the host key. Each value is another key, the same in every run.
    pub host_key: u32,
    /// Nobody gets in, whatever they know.
    pub refuses_logins: bool,
    /// What SSH shows before it authenticates.
    pub ssh_banner: Option<String>,
    /// What the terminal shows before the console's login. May look like a prompt or a question.
    pub banner: Option<String>,
    /// What the terminal shows after it.
    pub greeting: Option<String>,
    /// What the console asks.
    pub login: ConsoleLogin,
    /// The question for the name, with the space behind it.
    pub user_question: String,
    /// The question for the password.
    pub password_question: String,
    /// Rights at the start.
    pub privilege: Privilege,
    /// Lines on a page; `None` is no pager at all.
    pub page: Option<usize>,
    /// How the pager's question goes away.
    pub erase: Erase,
    /// Commands this firmware does not have, as they are written out in the lab's grammar or as typed: `show gvrp
    /// configuration`. A command that begins with one of these is not there either.
    pub unknown: Vec<String>,
    /// Answers in place of what the switch would say, by command as typed, in lines that end in `\n`.
    pub answers: BTreeMap<String, String>,
    /// Bytes of log lines that the switch writes between the answer of each command and the prompt.
    pub notices: usize,
}

impl Console {
    /// The command line as a switch of this kind has it when it comes out of the box, more or less. Kinds without a command
    /// line over SSH get the plainest one.
    pub fn of(kind: HardwareKind) -> Console {
        let plain = Console {
            methods: SshMethods::passwords(),
            old_algorithms: false,
            host_key: 0,
            refuses_logins: false,
            ssh_banner: None,
            banner: None,
            greeting: None,
            login: ConsoleLogin::Straight,
            user_question: "User:".into(),
            password_question: "Password:".into(),
            privilege: Privilege::All,
            page: Some(24),
            erase: Erase::Spaces,
            unknown: Vec::new(),
            answers: BTreeMap::new(),
            notices: 0,
        };
        match kind {
            HardwareKind::PowerConnect5500 => Console {
                methods: SshMethods::anybody(),
                login: ConsoleLogin::UserAndPassword,
                user_question: "User Name:".into(),
                erase: Erase::Ansi,
                ..plain
            },
            HardwareKind::N3000 => Console { privilege: Privilege::Few, erase: Erase::Backspaces, ..plain },
            HardwareKind::Nexus => Console {
                greeting: Some("Nexus Operating System (emulated)\n".into()),
                user_question: "login: ".into(),
                password_question: "Password: ".into(),
                ..plain
            },
            HardwareKind::Vdx | HardwareKind::Os9 => plain,
        }
    }
}

impl World {
    /// How the command line of a hardware switch behaves; `None` when there is no such switch.
    pub fn console(&self, hardware: &str) -> Option<Console> {
        let kind = self.hardware(hardware)?.kind;
        // A thousand switches as they come need no thousand copies of that.
        Some(self.consoles.get(hardware).cloned().unwrap_or_else(|| Console::of(kind)))
    }

    /// The command line of a hardware switch, to change how it behaves.
    ///
    /// # Errors
    /// There is no such switch.
    pub fn console_mut(&mut self, hardware: &str) -> Result<&mut Console, WorldError> {
        let kind = self.find_hardware(hardware)?.kind;
        Ok(self.consoles.entry(hardware.to_owned()).or_insert_with(|| Console::of(kind)))
    }
}
