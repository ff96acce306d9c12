//! Logging in over SSH, and one read-only command at a time. The host key is always checked against a known_hosts file; there is no way to
//! turn that off. The work is libssh2's, which blocks, so it is done on a thread of its own.

use super::command::{MAX_STDERR, Output};
use super::{io_words, within};
use crate::{Secret, SourceError};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use sha2::{Digest, Sha256};
use ssh2::{
    CheckResult, KeyboardInteractivePrompt, KnownHostFileKind, KnownHosts, MethodType, Prompt, Session,
};
use std::io::Read;
use std::net::{TcpStream, ToSocketAddrs};
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// A known_hosts file larger than this is refused.
const MAX_KNOWN_HOSTS: u64 = 4 << 20;

/// Where to log in, as whom, and who may answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SshTarget {
    /// Name or address.
    pub host: String,
    /// Port.
    pub port: u16,
    /// User.
    pub user: String,
    /// OpenSSH's file of known host keys; plain and hashed names, no wildcards, no certificate authorities.
    pub known_hosts: PathBuf,
    /// How to log in.
    pub login: SshLogin,
    /// Whether algorithms that rest on SHA-1, MD5, 3DES or CBC may be agreed on, for switches that speak nothing newer.
    pub old_algorithms: bool,
}

/// How to log in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SshLogin {
    /// With a private key file in OpenSSH or PEM format.
    Key {
        /// The file.
        private: PathBuf,
        /// What it is encrypted with, if it is.
        passphrase: Option<Secret>,
    },
    /// With a password, by whichever of SSH's methods the other side offers, or on its console.
    Password(Secret),
}

impl SshTarget {
    pub(super) fn place(&self) -> String {
        if self.host.contains(':') {
            format!("ssh [{}]:{}", self.host, self.port)
        } else {
            format!("ssh {}:{}", self.host, self.port)
        }
    }

    /// The name under which known_hosts lists the host.
    fn listed(&self) -> String {
        if self.port == 22 { self.host.clone() } else { format!("[{}]:{}", self.host, self.port) }
    }
}

/// A login that is kept between commands.
#[derive(Debug)]
pub struct SshSession {
    target: SshTarget,
    live: Option<Live>,
}

/// A connection that is logged in.
pub(super) struct Live {
    pub(super) session: Session,
    /// The host key's fingerprint.
    pub(super) host_key: String,
    /// The method by which the account was accepted.
    method: &'static str,
}

impl Live {
    /// How the two sides authenticated, in words.
    pub(super) fn auth(&self, target: &SshTarget) -> String {
        format!("ssh user {}, {}, host key {}", target.user, self.method, self.host_key)
    }
}

impl std::fmt::Debug for Live {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Live").field("host_key", &self.host_key).finish_non_exhaustive()
    }
}

impl SshSession {
    /// A session with `target`, not yet connected.
    pub fn new(target: SshTarget) -> SshSession {
        SshSession { target, live: None }
    }

    /// How the two sides authenticated: the user, the method and the host key's fingerprint, once connected.
    pub fn auth(&self) -> String {
        match &self.live {
            Some(live) => live.auth(&self.target),
            None => format!("ssh user {}, not connected", self.target.user),
        }
    }

    /// Runs `command`, logging in first where needed. At most `limit` bytes of output are read.
    pub async fn run(
        &mut self,
        command: &str,
        limit: usize,
        deadline: Instant,
    ) -> Result<Output, SourceError> {
        if let Some(live) = self.live.take() {
            // A login kept from the last poll may have been ended by the other side since: then log in again.
            if let Ok(out) = self.on_thread(Some(live), command, limit, deadline).await {
                return Ok(out);
            }
        }
        self.on_thread(None, command, limit, deadline).await
    }

    async fn on_thread(
        &mut self,
        live: Option<Live>,
        command: &str,
        limit: usize,
        deadline: Instant,
    ) -> Result<Output, SourceError> {
        let (target, text) = (self.target.clone(), command.to_owned());
        let what = self.target.place();
        // Past the deadline the thread is left behind; it ends by its own timeouts, which the deadline also bounds.
        let work = tokio::task::spawn_blocking(move || {
            let live = match live {
                Some(live) => live,
                None => log_in(&target, deadline)?,
            };
            let out = execute(&target, &live.session, &text, limit, deadline)?;
            Ok((live, out))
        });
        let (live, out) = within(deadline, &what, async {
            work.await.map_err(|_| SourceError::unreadable(format!("{what}: the session broke off")))?
        })
        .await?;
        self.live = Some(live);
        Ok(out)
    }
}

/// The time left, as libssh2 wants it: in milliseconds, and never 0, which would mean for ever.
pub(super) fn left(place: &str, deadline: Instant) -> Result<u32, SourceError> {
    let left = deadline.saturating_duration_since(Instant::now());
    if left.is_zero() {
        return Err(SourceError::silent(format!("{place}: no answer before the deadline")));
    }
    Ok(u32::try_from(left.as_millis()).unwrap_or(u32::MAX).max(1))
}

/// Connects, checks the host key and logs in.
pub(super) fn log_in(target: &SshTarget, deadline: Instant) -> Result<Live, SourceError> {
    let place = target.place();
    let known = KnownKeys::read(target)?;
    let mut session = open(target, deadline)?;
    let types = known.types_for(target, &session)?;
    if !types.is_empty() {
        // libssh2 would choose among the server's keys by its own taste, and a key we know of another type would
        // look changed.
        let _ = session.method_pref(MethodType::HostKey, &types.join(","));
    }
    if let Err(e) = session.handshake() {
        if types.is_empty() || timed_out(&e) {
            return Err(no_handshake(target, &e));
        }
        // Perhaps the server no longer has a key of the known types. Look at the one it has, to say so.
        session = open(target, deadline)?;
        session.handshake().map_err(|e| no_handshake(target, &e))?;
    }
    let host_key = check_host_key(target, &known, &session)?;
    session.set_timeout(left(&place, deadline)?);
    let method = match &target.login {
        SshLogin::Key { private, passphrase } => {
            // libssh2 cannot tell a missing file from a wrong passphrase.
            std::fs::metadata(private).map_err(|e| {
                SourceError::unreadable(format!(
                    "the SSH key file {} cannot be read: {}",
                    private.display(),
                    io_words(&e)
                ))
            })?;
            session
                .userauth_pubkey_file(&target.user, None, private, passphrase.as_ref().map(Secret::expose))
                .map_err(|e| refused(target, &format!("with the key {}", private.display()), &e))?;
            "public key"
        }
        SshLogin::Password(secret) => {
            by_password(target, secret, &session).map_err(|e| refused(target, "with the password", &e))?
        }
    };
    Ok(Live { session, host_key, method })
}

/// The two sides agree on nothing, or the other one is none that speaks SSH.
fn no_handshake(target: &SshTarget, e: &ssh2::Error) -> SourceError {
    let mut failure = failed(&target.place(), "the SSH handshake failed", e);
    // libssh2 has one number for every way not to agree.
    if !target.old_algorithms && e.code() == ssh2::ErrorCode::Session(KEX_FAILURE) {
        failure.sentence +=
            ". If this switch speaks old algorithms only, `old-algorithms = true` admits them";
    }
    failure
}

/// `LIBSSH2_ERROR_KEX_FAILURE`.
const KEX_FAILURE: i32 = -5;

/// Leaves out what nobody should agree on who need not. The host key is what proves the switch; an attacker in between
/// who could break an old algorithm's key exchange would otherwise choose it for both sides.
fn only_modern(session: &Session) -> Result<(), ssh2::Error> {
    let all = [
        MethodType::Kex,
        MethodType::HostKey,
        MethodType::CryptCs,
        MethodType::CryptSc,
        MethodType::MacCs,
        MethodType::MacSc,
    ];
    for kind in all {
        let modern: Vec<&str> =
            session.supported_algs(kind)?.into_iter().filter(|name| !is_old(name)).collect();
        session.method_pref(kind, &modern.join(","))?;
    }
    Ok(())
}

/// Whether an algorithm rests on something broken or nearly so. `ssh-rsa` is a signature with SHA-1.
fn is_old(name: &str) -> bool {
    let parts = ["sha1", "md5", "ripemd", "3des", "-cbc", "arcfour", "blowfish", "cast128", "ssh-dss"];
    parts.iter().any(|part| name.contains(part)) || name.starts_with("ssh-rsa")
}

/// Logs in with the password by the first method that works. A switch may let anybody in and ask on its console.
fn by_password(target: &SshTarget, secret: &Secret, session: &Session) -> Result<&'static str, ssh2::Error> {
    // Asking for the methods is itself the attempt to log in with none.
    let offered = match session.auth_methods(&target.user) {
        Ok(list) => list.to_owned(),
        Err(_) if session.authenticated() => String::new(),
        Err(e) => return Err(e),
    };
    if session.authenticated() {
        return Ok("no authentication by ssh");
    }
    let offers = |method: &str| offered.split(',').any(|m| m == method);
    if !offers("keyboard-interactive") || offers("password") {
        match session.userauth_password(&target.user, secret.expose()) {
            Ok(()) => return Ok("password"),
            Err(e) if timed_out(&e) || !offers("keyboard-interactive") => return Err(e),
            Err(_) => {}
        }
    }
    session.userauth_keyboard_interactive(&target.user, &mut Answerer { target, secret })?;
    Ok("keyboard-interactive")
}

/// Answers the questions of keyboard-interactive: the password where it will not be shown, else the user.
struct Answerer<'a> {
    target: &'a SshTarget,
    secret: &'a Secret,
}

impl KeyboardInteractivePrompt for Answerer<'_> {
    fn prompt<'a>(&mut self, _user: &str, _instructions: &str, prompts: &[Prompt<'a>]) -> Vec<String> {
        prompts
            .iter()
            .map(|p| if p.echo { self.target.user.clone() } else { self.secret.expose().to_owned() })
            .collect()
    }
}

fn open(target: &SshTarget, deadline: Instant) -> Result<Session, SourceError> {
    let place = target.place();
    let silent =
        |e: std::io::Error| SourceError::silent(format!("connecting to {place} failed: {}", io_words(&e)));
    let mut last = None;
    for address in (target.host.as_str(), target.port).to_socket_addrs().map_err(silent)? {
        let wait = Duration::from_millis(u64::from(left(&place, deadline)?));
        match TcpStream::connect_timeout(&address, wait) {
            Ok(stream) => {
                // A command is a dozen small packets each way; without this each waits for an acknowledgement.
                let _ = stream.set_nodelay(true);
                let mut session = Session::new().map_err(|e| failed(&place, "libssh2 cannot start", &e))?;
                if !target.old_algorithms {
                    only_modern(&session).map_err(|e| failed(&place, "libssh2 cannot start", &e))?;
                }
                session.set_timeout(left(&place, deadline)?);
                session.set_tcp_stream(stream);
                return Ok(session);
            }
            Err(e) => last = Some(silent(e)),
        }
    }
    Err(last
        .unwrap_or_else(|| SourceError::silent(format!("connecting to {place} failed: no address is known"))))
}

/// The content of a known_hosts file.
struct KnownKeys {
    path: PathBuf,
    /// Lines that libssh2 can read, with their key's type and bytes.
    lines: Vec<(String, String, Vec<u8>)>,
    /// Keys that no host may have.
    revoked: Vec<Vec<u8>>,
}

impl KnownKeys {
    fn read(target: &SshTarget) -> Result<KnownKeys, SourceError> {
        let path = &target.known_hosts;
        let bad = |why: String| {
            SourceError::unreadable(format!("the known_hosts file {} cannot be used: {why}", path.display()))
        };
        let size = std::fs::metadata(path).map_err(|e| bad(io_words(&e)))?.len();
        if size > MAX_KNOWN_HOSTS {
            return Err(bad(format!("it has {size} bytes; at most {MAX_KNOWN_HOSTS} are read")));
        }
        let text = std::fs::read_to_string(path).map_err(|e| bad(io_words(&e)))?;
        let mut known = KnownKeys { path: path.clone(), lines: Vec::new(), revoked: Vec::new() };
        for line in text.lines().map(str::trim).filter(|l| !l.is_empty() && !l.starts_with('#')) {
            let (marker, entry) = match line.split_once(char::is_whitespace) {
                Some((marker, entry)) if marker.starts_with('@') => (Some(marker), entry),
                _ => (None, line),
            };
            let mut words = entry.split_whitespace();
            let (Some(names), Some(kind), Some(key)) = (words.next(), words.next(), words.next()) else {
                continue;
            };
            // One file lists all switches, and each login reads it: a thousand keys of others cost more than the login.
            if marker.is_none() && !may_name(names, target) {
                continue;
            }
            let Ok(key) = STANDARD.decode(key) else { continue };
            match marker {
                None => known.lines.push((line.to_owned(), kind.to_owned(), key)),
                Some("@revoked") => known.revoked.push(key),
                Some(_) => {}
            }
        }
        Ok(known)
    }

    fn load(&self, session: &Session) -> Result<KnownHosts, SourceError> {
        let bad = |e: &ssh2::Error| {
            SourceError::unreadable(format!(
                "the known_hosts file {} cannot be used: {e}",
                self.path.display()
            ))
        };
        let mut all = session.known_hosts().map_err(|e| bad(&e))?;
        for (line, _, _) in &self.lines {
            // A line of a kind that libssh2 does not know can vouch for nobody; the others still can.
            let _ = all.read_str(line, KnownHostFileKind::OpenSSH);
        }
        Ok(all)
    }

    /// The host key algorithms for which a key of this host is listed, in libssh2's names. Asking libssh2 about
    /// each listed key also finds hashed names.
    fn types_for(&self, target: &SshTarget, session: &Session) -> Result<Vec<&'static str>, SourceError> {
        let all = self.load(session)?;
        let mut types = Vec::new();
        for (_, kind, key) in &self.lines {
            let names: &[&str] = match kind.as_str() {
                "ssh-ed25519" => &["ssh-ed25519"],
                "ecdsa-sha2-nistp256" => &["ecdsa-sha2-nistp256"],
                "ecdsa-sha2-nistp384" => &["ecdsa-sha2-nistp384"],
                "ecdsa-sha2-nistp521" => &["ecdsa-sha2-nistp521"],
                "ssh-rsa" if target.old_algorithms => &["rsa-sha2-512", "rsa-sha2-256", "ssh-rsa"],
                "ssh-rsa" => &["rsa-sha2-512", "rsa-sha2-256"],
                _ => continue,
            };
            if !types.contains(&names[0])
                && matches!(all.check_port(&target.host, target.port, key), CheckResult::Match)
            {
                types.extend_from_slice(names);
            }
        }
        Ok(types)
    }
}

/// Whether the names of a known_hosts line can mean this host: a hashed one may mean anybody, an IPv6 address can be
/// spelled in many ways, and libssh2 takes the host without its port as well. It decides; this only spares it the others.
fn may_name(names: &str, target: &SshTarget) -> bool {
    if target.host.contains(':') {
        return true;
    }
    let with_port = format!("[{}]:{}", target.host, target.port);
    names.split(',').any(|name| name.starts_with('|') || name == target.host || name == with_port)
}

/// The fingerprint of the host key, if known_hosts lists it for this host.
fn check_host_key(target: &SshTarget, known: &KnownKeys, session: &Session) -> Result<String, SourceError> {
    let place = target.place();
    let (key, _) = session.host_key().ok_or_else(|| {
        SourceError::unreadable(format!("{place} presented no host key; it cannot be trusted"))
    })?;
    let fingerprint = fingerprint(key);
    let file = known.path.display();
    if known.revoked.iter().any(|r| r == key) {
        return Err(SourceError::source_changed(format!(
            "{place} presented the host key {fingerprint}, which {file} marks as revoked; the switch needs a new one"
        )));
    }
    match known.load(session)?.check_port(&target.host, target.port, key) {
        CheckResult::Match => Ok(fingerprint),
        CheckResult::Mismatch => Err(SourceError::source_changed(format!(
            "{place} presented the host key {fingerprint}, which is not the one listed for {} in {file}. Either the \
             switch was replaced or somebody stands in between: compare the fingerprint at the switch's console \
             before changing the file",
            target.listed()
        ))),
        CheckResult::NotFound | CheckResult::Failure => Err(SourceError::unreadable(format!(
            "{place} presented the host key {fingerprint}, and {file} lists none for {}; compare the fingerprint at \
             the switch's console, then add the key to the file",
            target.listed()
        ))),
    }
}

/// A host key's fingerprint as OpenSSH prints it.
fn fingerprint(key: &[u8]) -> String {
    format!("SHA256:{}", STANDARD_NO_PAD.encode(Sha256::digest(key)))
}

fn execute(
    target: &SshTarget,
    session: &Session,
    command: &str,
    limit: usize,
    deadline: Instant,
) -> Result<Output, SourceError> {
    let place = target.place();
    let words = |e: &ssh2::Error| failed(&place, &format!("the command {command:?} cannot be run"), e);
    session.set_timeout(left(&place, deadline)?);
    let mut channel = session.channel_session().map_err(|e| words(&e))?;
    channel.exec(command).map_err(|e| words(&e))?;
    let stdout = drain(&mut channel.stream(0), limit, session, &place, deadline)?;
    let stderr = drain(&mut channel.stderr(), MAX_STDERR, session, &place, deadline)?.unwrap_or_default();
    let stdout = stdout.ok_or_else(|| {
        SourceError::unreadable(format!("{place}: the command {command:?} gave more than {limit} bytes"))
    })?;
    session.set_timeout(left(&place, deadline)?);
    channel.wait_close().map_err(|e| words(&e))?;
    let signal = channel.exit_signal().map_err(|e| words(&e))?.exit_signal;
    let status = if signal.is_some() { -1 } else { channel.exit_status().map_err(|e| words(&e))? };
    Ok(Output { stdout, stderr, status })
}

/// Reads a stream to its end; `None` when it has more than `limit` bytes.
fn drain(
    from: &mut impl Read,
    limit: usize,
    session: &Session,
    place: &str,
    deadline: Instant,
) -> Result<Option<Vec<u8>>, SourceError> {
    let (mut kept, mut buffer) = (Vec::new(), [0; 8192]);
    loop {
        // Renewed at every read, so that a peer that sends a byte now and then cannot outlast the deadline.
        session.set_timeout(left(place, deadline)?);
        match from.read(&mut buffer) {
            Ok(0) => return Ok(Some(kept)),
            Ok(n) if kept.len() + n > limit => return Ok(None),
            Ok(n) => kept.extend_from_slice(&buffer[..n]),
            Err(e) => {
                return Err(SourceError::silent(format!("{place}: the answer broke off: {}", io_words(&e))));
            }
        }
    }
}

fn timed_out(e: &ssh2::Error) -> bool {
    // LIBSSH2_ERROR_TIMEOUT, LIBSSH2_ERROR_SOCKET_TIMEOUT
    matches!(e.code(), ssh2::ErrorCode::Session(-9 | -30))
}

fn failed(place: &str, what: &str, e: &ssh2::Error) -> SourceError {
    let sentence = format!("{place}: {what}: {}", e.message());
    match e.code() {
        // Socket errors: send, disconnect, timeout, receive, banner.
        ssh2::ErrorCode::Session(-7 | -13 | -9 | -30 | -43 | -2 | -45) => SourceError::silent(sentence),
        _ => SourceError::unreadable(sentence),
    }
}

fn refused(target: &SshTarget, how: &str, e: &ssh2::Error) -> SourceError {
    let place = target.place();
    if timed_out(e) {
        return failed(&place, "logging in", e);
    }
    SourceError::unreadable(format!(
        "{place} refused the user {} {how} ({}); check the user, the credential and what the switch admits",
        target.user,
        e.message()
    ))
}

/// Whether a text may stand in a remote command line as one word without meaning anything to a shell.
pub fn is_plain_word(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= 64
        && !text.starts_with('-')
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_passed_over_only_when_it_names_others() {
        let target = |host: &str, port| SshTarget {
            host: host.into(),
            port,
            user: "auditor".into(),
            known_hosts: PathBuf::new(),
            login: SshLogin::Password(Secret::new("secret")),
            old_algorithms: false,
        };
        for (names, host, port, may) in [
            ("sw1", "sw1", 22, true),
            ("sw1", "sw1", 2222, true),
            ("[sw1]:2222", "sw1", 2222, true),
            ("[sw1]:22", "sw1", 22, true),
            ("sw0,[sw1]:2222,10.0.0.1", "sw1", 2222, true),
            ("|1|c2FsdA==|aGFzaA==", "sw1", 22, true),
            ("[FE80::1]:22", "fe80:0::1", 22, true),
            ("sw2", "sw1", 22, false),
            ("sw11", "sw1", 22, false),
            ("[sw1]:2223", "sw1", 2222, false),
        ] {
            assert_eq!(may_name(names, &target(host, port)), may, "{names} for {host}:{port}");
        }
    }
}
