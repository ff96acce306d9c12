//! The floor: the same exchanges without a reader. A program of its own, so that its processor time is its own: the bench
//! starts itself with `--floor PLAN`, and reads what it prints.
//!
//! - TCP, for OVSDB and OpenFlow: connect, send as many bytes as the reader sent, read as many as it was sent. Against a
//!   server that only counts, so it is the strictest floor of the three.
//! - SSH: log in, open the shell, get past the console's login, send the reader's commands, read up to the prompt.
//! - HTTP: the reader's requests over one connection, one after another, each answer read to its end.
//!
//! Nothing is checked, parsed, kept or capped.

use serde::{Deserialize, Serialize};
use ssh2::{Channel, Session};
use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// No read of a socket takes longer.
const PATIENCE: Duration = Duration::from_secs(60);

/// Everything that is to be exchanged.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Plan {
    /// How many switches at once.
    pub(crate) parallel: usize,
    pub(crate) switches: Vec<Switch>,
}

/// One switch.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Switch {
    pub(crate) name: String,
    pub(crate) talk: Talk,
}

/// How it is spoken to; of each pair of lists the first is for a new connection, the second for one that is kept.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Talk {
    /// Exchanges, each of so many bytes there and back. The first connection is kept.
    Tcp { at: SocketAddr, exchanges: [Vec<(u64, u64)>; 2] },
    /// Commands.
    Ssh { at: SocketAddr, user: String, password: String, commands: [Vec<String>; 2] },
    /// Requests, whole.
    Http { at: SocketAddr, requests: [Vec<String>; 2] },
}

/// What one round over all switches took.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Round {
    pub(crate) wall_ms: f64,
    pub(crate) cpu_ms: f64,
    /// For each switch of the plan, in its order.
    pub(crate) each_ms: Vec<f64>,
    pub(crate) failed: Vec<String>,
}

/// Carries a plan out: once over new connections and once over those that were kept.
pub(crate) fn run(plan: &Plan) -> [Round; 2] {
    let kept: Vec<Mutex<Option<Kept>>> = plan.switches.iter().map(|_| Mutex::new(None)).collect();
    [round(plan, &kept), round(plan, &kept)]
}

fn round(plan: &Plan, kept: &[Mutex<Option<Kept>>]) -> Round {
    let queue: Mutex<VecDeque<usize>> = Mutex::new((0..plan.switches.len()).collect());
    let results: Mutex<Vec<(usize, f64, Option<String>)>> = Mutex::new(Vec::new());
    let (begun, cpu) = (Instant::now(), super::cpu("self"));
    std::thread::scope(|scope| {
        for _ in 0..plan.parallel {
            scope.spawn(|| {
                loop {
                    let next = queue.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
                    let Some(n) = next else { return };
                    let switch = &plan.switches[n];
                    let mut slot = kept[n].lock().unwrap_or_else(PoisonError::into_inner);
                    let begun = Instant::now();
                    let failed = match talk(&switch.talk, slot.take()) {
                        Ok(open) => {
                            *slot = Some(open);
                            None
                        }
                        Err(e) => Some(format!("{}: {e}", switch.name)),
                    };
                    let took = begun.elapsed().as_secs_f64() * 1e3;
                    results.lock().unwrap_or_else(PoisonError::into_inner).push((n, took, failed));
                }
            });
        }
    });
    let (wall, spent) = (begun.elapsed(), super::cpu("self") - cpu);
    let mut results = results.into_inner().unwrap_or_else(PoisonError::into_inner);
    results.sort_by_key(|r| r.0);
    Round {
        wall_ms: wall.as_secs_f64() * 1e3,
        cpu_ms: spent.as_secs_f64() * 1e3,
        each_ms: results.iter().map(|r| r.1).collect(),
        failed: results.into_iter().filter_map(|r| r.2).collect(),
    }
}

enum Kept {
    Plain(TcpStream),
    // The channel before its session.
    Shell { channel: Channel, prompt: Vec<u8>, _session: Session },
}

fn connect(at: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&at, PATIENCE)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    Ok(stream)
}

fn talk(talk: &Talk, kept: Option<Kept>) -> io::Result<Kept> {
    let turn = usize::from(kept.is_some());
    match talk {
        Talk::Tcp { at, exchanges } => {
            let mut first = match kept {
                Some(Kept::Plain(stream)) => stream,
                _ => connect(*at)?,
            };
            for (n, (there, back)) in exchanges[turn].iter().enumerate() {
                if n == 0 {
                    count(&mut first, *there, *back)?;
                } else {
                    count(&mut connect(*at)?, *there, *back)?;
                }
            }
            Ok(Kept::Plain(first))
        }
        Talk::Http { at, requests } => {
            let mut stream = match kept {
                Some(Kept::Plain(stream)) => stream,
                _ => connect(*at)?,
            };
            for request in &requests[turn] {
                stream.write_all(request.as_bytes())?;
                answer(&mut stream)?;
            }
            Ok(Kept::Plain(stream))
        }
        Talk::Ssh { at, user, password, commands } => {
            let mut open = match kept {
                Some(open @ Kept::Shell { .. }) => open,
                _ => shell(*at, user, password)?,
            };
            if let Kept::Shell { channel, prompt, .. } = &mut open {
                for command in &commands[turn] {
                    channel.write_all(format!("{command}\n").as_bytes())?;
                    until(channel, |text| {
                        text.ends_with(prompt) && text.len() > command.len() + prompt.len()
                    })?;
                }
            }
            Ok(open)
        }
    }
}

/// What the server of [`serve_bytes`] expects: two numbers, then as many bytes as the first says, both included.
fn count(stream: &mut TcpStream, there: u64, back: u64) -> io::Result<()> {
    let there = there.max(16);
    let mut ask = vec![0; usize::try_from(there).unwrap_or_default()];
    ask[..8].copy_from_slice(&there.to_be_bytes());
    ask[8..16].copy_from_slice(&back.to_be_bytes());
    stream.write_all(&ask)?;
    let mut rest = back;
    let mut buffer = [0; 64 << 10];
    while rest > 0 {
        match stream.read(&mut buffer)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            n => rest = rest.saturating_sub(n as u64),
        }
    }
    Ok(())
}

/// Answers [`count`]: reads as many bytes as it is told and sends as many.
pub(crate) async fn serve_bytes(listener: tokio::net::TcpListener) {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    while let Ok((mut stream, _)) = listener.accept().await {
        let _ = stream.set_nodelay(true);
        tokio::spawn(async move {
            let mut buffer = vec![0; 1 << 20];
            loop {
                let there = stream.read_u64().await?;
                let mut back = stream.read_u64().await?;
                let mut rest = there.saturating_sub(16);
                while rest > 0 {
                    let most = usize::try_from(rest).unwrap_or(usize::MAX).min(buffer.len());
                    let read = stream.read(&mut buffer[..most]).await?;
                    if read == 0 {
                        return Err(io::ErrorKind::UnexpectedEof.into());
                    }
                    rest -= read as u64;
                }
                while back > 0 {
                    let most = usize::try_from(back).unwrap_or(usize::MAX).min(buffer.len());
                    stream.write_all(&buffer[..most]).await?;
                    back -= most as u64;
                }
            }
            #[expect(unreachable_code, reason = "it tells the type of the errors")]
            io::Result::Ok(())
        });
    }
}

/// Reads one HTTP answer: its length, or chunks, or nothing.
fn answer(stream: &mut TcpStream) -> io::Result<()> {
    let mut got = Vec::new();
    let mut buffer = [0; 64 << 10];
    loop {
        if let Some(end) = got.windows(4).position(|w| w == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&got[..end]).to_ascii_lowercase();
            let body = got.len() - end - 4;
            let length = head.lines().find_map(|l| l.strip_prefix("content-length:")?.trim().parse().ok());
            let whole = match length {
                Some(length) => body >= length,
                None if head.contains("chunked") => got.ends_with(b"\r\n0\r\n\r\n"),
                None => true,
            };
            if whole {
                return Ok(());
            }
        }
        match stream.read(&mut buffer)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            n => got.extend_from_slice(&buffer[..n]),
        }
    }
}

fn shell(at: SocketAddr, user: &str, password: &str) -> io::Result<Kept> {
    let mut session = Session::new()?;
    session.set_tcp_stream(connect(at)?);
    session.set_timeout(u32::try_from(PATIENCE.as_millis()).unwrap_or(u32::MAX));
    session.handshake()?;
    let offered = session.auth_methods(user).map(str::to_owned);
    if !session.authenticated() {
        offered?;
        session.userauth_password(user, password)?;
    }
    let mut channel = session.channel_session()?;
    channel.request_pty("vt100", None, Some((511, 0, 0, 0)))?;
    channel.shell()?;
    loop {
        let asked = until(&mut channel, |text| {
            let lower = text.to_ascii_lowercase();
            [&b"name:"[..], b"login:", b"password:", b">", b"#"].iter().any(|end| lower.ends_with(end))
        })?;
        match asked.last() {
            Some(b'#') => {
                let begins = asked.iter().rposition(|b| matches!(b, b'\n' | b'\r')).map_or(0, |at| at + 1);
                let prompt = asked[begins..].to_vec();
                return Ok(Kept::Shell { channel, prompt, _session: session });
            }
            Some(b'>') => channel.write_all(b"enable\n")?,
            _ if asked.to_ascii_lowercase().ends_with(b"password:") => {
                channel.write_all(format!("{password}\n").as_bytes())?;
            }
            _ => channel.write_all(format!("{user}\n").as_bytes())?,
        }
    }
}

/// Reads until the text, without the spaces at its end, is what is waited for; turns pages.
fn until(channel: &mut Channel, done: impl Fn(&[u8]) -> bool) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    let mut buffer = [0; 16 << 10];
    loop {
        match channel.read(&mut buffer)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            n => text.extend_from_slice(&buffer[..n]),
        }
        let shown = text.trim_ascii_end();
        if done(shown) {
            return Ok(shown.to_vec());
        }
        let begins = shown.iter().rposition(|b| *b == b'\n').map_or(0, |at| at + 1);
        if shown[begins..].windows(4).any(|w| w == b"More") {
            channel.write_all(b" ")?;
        }
    }
}
