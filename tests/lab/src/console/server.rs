//! The SSH server of a switch.

use std::borrow::Cow;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use russh::keys::ssh_key::private::Ed25519Keypair;
use russh::keys::{HashAlg, PrivateKey, PublicKey};
use russh::server::{
    self, Auth, ChannelOpenHandle, Config, Handle, Msg, Response, Session, VerifiedPublicKey,
};
use russh::{Channel, ChannelMsg, MethodKind, MethodSet, Preferred, SshId, cipher, kex, mac};
use sha2::{Digest, Sha256};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::task::JoinSet;

use super::line::Line;
use super::terminal::Terminal;
use crate::cloud::Cloud;
use crate::fault::Service;
use crate::serve::{self, Connection, Ended, Endpoint, Running};
use crate::world::Console;

/// Sessions without a byte from the client end after this, as `exec-timeout` ends them.
const IDLE: Duration = Duration::from_secs(600);

/// Bytes on their way between the encryption and the socket, each way.
const PIPE: usize = 64 << 10;

/// Channels of one connection. Switches allow one or two.
const CHANNELS: usize = 8;

/// The command line of a hardware switch, served over SSH.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use isoledger_lab::{Cloud, ConsoleServer, HardwareKind, World};
///
/// let mut world = World::new();
/// world.add_hardware_switch("dell", HardwareKind::PowerConnect5500)?;
/// let console = ConsoleServer::start(&Cloud::new(world), "dell").await?;
/// assert!(console.known_hosts().starts_with("[127.0.0.1]:"));
/// # Ok(()) }
/// ```
#[derive(Debug)]
pub struct ConsoleServer {
    address: SocketAddr,
    switch: String,
    cloud: Cloud,
    logins: Arc<AtomicU64>,
    // Held to be dropped.
    _running: Running,
}

impl ConsoleServer {
    /// Starts the server of a switch on a free port of 127.0.0.1.
    ///
    /// # Errors
    /// No port can be bound.
    pub async fn start(cloud: &Cloud, switch: &str) -> io::Result<ConsoleServer> {
        let logins = Arc::new(AtomicU64::new(0));
        let (name, count): (Arc<str>, _) = (switch.into(), Arc::clone(&logins));
        let serve = move |connection| serve(connection, Arc::clone(&name), Arc::clone(&count));
        let service = Service::Console(switch.to_owned());
        let running = serve::listen(cloud.clone(), service, Endpoint::Tcp, false, serve).await?;
        let address = running.address.socket_addr().ok_or(io::ErrorKind::AddrNotAvailable)?;
        Ok(ConsoleServer {
            address,
            switch: switch.to_owned(),
            cloud: cloud.clone(),
            logins,
            _running: running,
        })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// How often somebody was let in by SSH so far.
    pub fn logins(&self) -> u64 {
        self.logins.load(Ordering::Relaxed)
    }

    /// The switch's line of a known_hosts file, with its newline, for the key it has now.
    pub fn known_hosts(&self) -> String {
        let changes = self.cloud.read(|w| w.console(&self.switch)).map_or(0, |c| c.host_key);
        let key = host_key(&self.switch, changes).public_key().to_openssh().unwrap_or_default();
        format!("[{}]:{} {key}\n", self.address.ip(), self.address.port())
    }

    /// The fingerprint of that key, as OpenSSH prints it.
    pub fn fingerprint(&self) -> String {
        let changes = self.cloud.read(|w| w.console(&self.switch)).map_or(0, |c| c.host_key);
        host_key(&self.switch, changes).public_key().fingerprint(HashAlg::Sha256).to_string()
    }
}

/// The host key of a switch: the same in every run, another after each change.
fn host_key(switch: &str, changes: u32) -> PrivateKey {
    let seed: [u8; 32] = Sha256::digest(format!("lab host key {changes} {switch}")).into();
    PrivateKey::from(Ed25519Keypair::from_seed(&seed))
}

/// What the server says and can do, for one connection.
fn config(switch: &str, console: &Console) -> Config {
    let mut preferred = Preferred::default();
    if console.old_algorithms {
        preferred.kex = Cow::Borrowed(&[kex::DH_G14_SHA1]);
        preferred.cipher = Cow::Borrowed(&[cipher::AES_256_CBC, cipher::AES_128_CBC]);
        preferred.mac = Cow::Borrowed(&[mac::HMAC_SHA1]);
    }
    let mut methods = MethodSet::empty();
    for (offered, method) in [
        (console.methods.none, MethodKind::None),
        (!console.methods.public_keys.is_empty(), MethodKind::PublicKey),
        (console.methods.keyboard_interactive, MethodKind::KeyboardInteractive),
        (console.methods.password, MethodKind::Password),
    ] {
        if offered {
            methods.push(method);
        }
    }
    Config {
        server_id: SshId::Standard(Cow::Borrowed("SSH-2.0-IsoledgerLab")),
        methods,
        // The delay is there against guessing. Nobody guesses here, and every client begins with a try at nothing.
        auth_rejection_time: Duration::ZERO,
        keys: vec![host_key(switch, console.host_key)],
        preferred,
        inactivity_timeout: Some(IDLE),
        nodelay: true,
        ..Config::default()
    }
}

/// One connection: SSH on one side of a pipe, the socket with the faults of the world on the other.
async fn serve(mut connection: Connection, switch: Arc<str>, logins: Arc<AtomicU64>) -> Result<(), Ended> {
    let Some(console) = connection.cloud.read(|w| w.console(&switch)) else { return Err(Ended::Closed) };
    let config = Arc::new(config(&switch, &console));
    let handler = Login {
        cloud: connection.cloud.clone(),
        switch,
        console,
        user: String::new(),
        logins,
        channels: JoinSet::new(),
    };
    let (ours, theirs) = tokio::io::duplex(PIPE);
    let ssh = async {
        match server::run_stream(config, theirs, handler).await {
            Ok(session) => session.await,
            Err(error) => Err(error),
        }
    };
    let (piped, spoken) = tokio::join!(pump(&mut connection, ours), ssh);
    if let Err(error) = spoken {
        tracing::trace!(service = %connection.service, %error, "an SSH session ended");
    }
    piped
}

/// Moves bytes between the socket and SSH until either is done. What SSH writes is an answer to the faults.
async fn pump(connection: &mut Connection, pipe: DuplexStream) -> Result<(), Ended> {
    let (mut from_ssh, mut to_ssh) = tokio::io::split(pipe);
    let (mut heard, mut arriving) = (Vec::new(), Vec::new());
    let mut said = vec![0; 32 << 10];
    loop {
        if heard.is_empty() {
            std::mem::swap(&mut heard, &mut arriving);
        }
        tokio::select! {
            read = connection.read(&mut arriving), if arriving.len() < PIPE => read?,
            taken = to_ssh.write(&heard), if !heard.is_empty() => {
                let taken = taken?;
                if taken == 0 {
                    return Err(Ended::Closed);
                }
                heard.drain(..taken);
            }
            read = from_ssh.read(&mut said) => match read? {
                0 => return connection.close().await,
                n => connection.answer(&said[..n]).await?,
            },
        }
    }
}

/// One client, from its first try to log in.
struct Login {
    cloud: Cloud,
    switch: Arc<str>,
    console: Console,
    user: String,
    logins: Arc<AtomicU64>,
    /// Ends with the connection.
    channels: JoinSet<()>,
}

impl Login {
    fn knows(&self, user: &str, password: &str) -> bool {
        // A switch that lets anybody in does not look at the password either.
        let known =
            |w: &crate::World| w.hardware(&self.switch).is_some_and(|h| h.account(user, password).is_some());
        self.console.methods.none || self.cloud.read(known)
    }

    fn judge(&mut self, user: &str, welcome: bool) -> Auth {
        if !welcome || self.console.refuses_logins {
            return Auth::Reject { proceed_with_methods: None, partial_success: false };
        }
        user.clone_into(&mut self.user);
        Auth::Accept
    }
}

impl server::Handler for Login {
    type Error = russh::Error;

    async fn auth_none(&mut self, user: &str) -> Result<Auth, Self::Error> {
        Ok(self.judge(user, self.console.methods.none))
    }

    async fn auth_password(&mut self, user: &str, password: &str) -> Result<Auth, Self::Error> {
        let welcome = self.console.methods.password && self.knows(user, password);
        Ok(self.judge(user, welcome))
    }

    async fn auth_publickey(&mut self, user: &str, key: VerifiedPublicKey<'_>) -> Result<Auth, Self::Error> {
        let account = self
            .cloud
            .read(|w| w.hardware(&self.switch).is_some_and(|h| h.accounts.iter().any(|a| a.user == user)));
        let listed = self.console.methods.public_keys.iter().any(|line| {
            PublicKey::from_openssh(line).is_ok_and(|k| k.key_data() == key.public_key.key_data())
        });
        Ok(self.judge(user, account && listed))
    }

    async fn auth_keyboard_interactive<'a>(
        &'a mut self,
        user: &str,
        _: &str,
        response: Option<Response<'a>>,
    ) -> Result<Auth, Self::Error> {
        if !self.console.methods.keyboard_interactive {
            return Ok(self.judge(user, false));
        }
        let Some(mut answers) = response else {
            return Ok(Auth::Partial {
                name: Cow::Borrowed(""),
                instructions: Cow::Borrowed(""),
                prompts: Cow::Borrowed(&[(Cow::Borrowed("Password: "), false)]),
            });
        };
        let answer = answers.next().unwrap_or_default();
        let welcome = self.knows(user, &String::from_utf8_lossy(&answer));
        Ok(self.judge(user, welcome))
    }

    async fn authentication_banner(&mut self) -> Result<Option<String>, Self::Error> {
        Ok(self.console.ssh_banner.clone())
    }

    async fn auth_succeeded(&mut self, _: &mut Session) -> Result<(), Self::Error> {
        self.logins.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    async fn channel_open_session(
        &mut self,
        channel: Channel<Msg>,
        reply: ChannelOpenHandle,
        session: &mut Session,
    ) -> Result<(), Self::Error> {
        while self.channels.try_join_next().is_some() {}
        if self.channels.len() >= CHANNELS {
            reply.reject(russh::ChannelOpenFailure::ResourceShortage).await;
            return Ok(());
        }
        reply.accept().await;
        let (cloud, switch, user) = (self.cloud.clone(), Arc::clone(&self.switch), self.user.clone());
        let handle = session.handle();
        self.channels.spawn(async move {
            if let Err(ended) = converse(cloud, &switch, &user, channel, handle).await {
                tracing::trace!(%switch, ?ended, "a terminal ended");
            }
        });
        Ok(())
    }
}

/// One channel: a shell, or a command.
async fn converse(
    cloud: Cloud,
    switch: &str,
    user: &str,
    channel: Channel<Msg>,
    handle: Handle,
) -> Result<(), Ended> {
    let id = channel.id();
    let (mut keys, screen) = channel.split();
    let gone = |()| Ended::Closed;
    let (command, keys) = loop {
        match keys.wait().await {
            Some(ChannelMsg::RequestPty { want_reply: true, .. }) => {
                handle.channel_success(id).await.map_err(gone)?;
            }
            Some(ChannelMsg::RequestShell { .. }) => break (None, keys),
            Some(ChannelMsg::Exec { command, .. }) => break (Some(command), keys),
            Some(
                ChannelMsg::SetEnv { want_reply: true, .. }
                | ChannelMsg::RequestSubsystem { want_reply: true, .. },
            ) => {
                handle.channel_failure(id).await.map_err(gone)?;
            }
            Some(ChannelMsg::Close) | None => return Err(Ended::Closed),
            Some(_) => {}
        }
    };
    let line = Line::new(cloud.clone(), Service::Terminal(switch.to_owned()), keys, screen);
    let Some(mut terminal) = Terminal::new(cloud, switch, user, line) else {
        return handle.channel_failure(id).await.map_err(gone);
    };
    let ended = match command {
        None => {
            handle.channel_success(id).await.map_err(gone)?;
            terminal.run().await
        }
        Some(command) if terminal.takes_exec() => {
            handle.channel_success(id).await.map_err(gone)?;
            terminal.exec(&String::from_utf8_lossy(&command)).await
        }
        Some(_) => {
            handle.channel_failure(id).await.map_err(gone)?;
            handle.close(id).await.map_err(gone)
        }
    };
    if let Err(Ended::Fault) = ended {
        // The fault is over, and so is the session; closed twice does no harm.
        let _ = handle.close(id).await;
    }
    ended
}
