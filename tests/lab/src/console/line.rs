//! The two ends of a terminal: keys from the client, text to it, and the faults above the encryption.

use std::collections::VecDeque;
use std::time::Duration;

use russh::server::Msg;
use russh::{ChannelMsg, ChannelReadHalf, ChannelWriteHalf};
use tokio::sync::watch;

use crate::cloud::Cloud;
use crate::fault::{Fault, Service};
use crate::serve::Ended;

/// The longest a client may take to accept what is written to it.
const WRITE: Duration = Duration::from_secs(30);

/// A line longer than this is cut, as real line editors do.
const LINE: usize = 4096;

/// A terminal. All of its text goes through here, so that every fault of [`Service::Terminal`] applies to all of it.
pub(super) struct Line {
    cloud: Cloud,
    service: Service,
    changes: watch::Receiver<u64>,
    keys: ChannelReadHalf,
    screen: ChannelWriteHalf<Msg>,
    typed: VecDeque<u8>,
    after_return: bool,
    /// Bytes of the present answer that were sent.
    sent: usize,
    garbled: bool,
}

impl Line {
    pub(super) fn new(
        cloud: Cloud,
        service: Service,
        keys: ChannelReadHalf,
        screen: ChannelWriteHalf<Msg>,
    ) -> Line {
        let changes = cloud.changes();
        let typed = VecDeque::new();
        Line { cloud, service, changes, keys, screen, typed, after_return: false, sent: 0, garbled: false }
    }

    /// The next byte typed.
    pub(super) async fn key(&mut self) -> Result<u8, Ended> {
        loop {
            if let Some(key) = self.typed.pop_front() {
                return Ok(key);
            }
            match self.keys.wait().await {
                Some(ChannelMsg::Data { data }) => self.typed.extend(data.iter()),
                Some(ChannelMsg::Eof | ChannelMsg::Close) | None => return Err(Ended::Closed),
                Some(_) => {}
            }
        }
    }

    /// A line, with the usual editing keys. `echo` shows what is typed; without it only the end of the line shows.
    pub(super) async fn line(&mut self, echo: bool) -> Result<String, Ended> {
        let mut line = Vec::new();
        loop {
            let key = self.key().await?;
            let after_return = std::mem::replace(&mut self.after_return, key == b'\r');
            match key {
                // A client that ends lines with both.
                b'\n' if after_return => {}
                b'\r' | b'\n' => {
                    self.echo(b"\r\n").await?;
                    self.begin();
                    return Ok(String::from_utf8_lossy(&line).into_owned());
                }
                0 => {}
                0x7f | 0x08 => {
                    let rubbed_out = line.pop().is_some();
                    if rubbed_out && echo {
                        self.echo(b"\x08 \x08").await?;
                    }
                }
                // Ctrl-C and Ctrl-U.
                0x03 | 0x15 => {
                    if echo {
                        self.echo(&b"\x08 \x08".repeat(line.len())).await?;
                    }
                    line.clear();
                }
                // Ctrl-D.
                0x04 if line.is_empty() => return Err(Ended::Closed),
                key if key >= b' ' && line.len() < LINE => {
                    line.push(key);
                    if echo {
                        // What came in one piece is echoed in one piece; a hundred packets a line would be a waste.
                        let mut echoed = vec![key];
                        while let Some(next) =
                            self.typed.front().copied().filter(|k| (b' '..0x7f).contains(k))
                        {
                            self.typed.pop_front();
                            if line.len() < LINE {
                                line.push(next);
                                echoed.push(next);
                            }
                        }
                        self.echo(&echoed).await?;
                    }
                }
                _ => {}
            }
        }
    }

    /// Shows what was typed. That is no answer, so only the faults that have no beginning and no end apply.
    async fn echo(&mut self, bytes: &[u8]) -> Result<(), Ended> {
        match self.fault() {
            Some(Fault::Silent | Fault::Trickle(_)) => self.put(bytes).await,
            _ => self.send(bytes).await,
        }
    }

    fn fault(&self) -> Option<Fault> {
        self.cloud.read(|w| w.fault(&self.service).cloned())
    }

    /// A new answer begins: faults that count bytes count from here.
    pub(super) fn begin(&mut self) {
        self.sent = 0;
        self.garbled = false;
    }

    /// The answer is complete: a fault that ends connections after an answer does so now, however short it was.
    pub(super) async fn end(&mut self) -> Result<(), Ended> {
        match self.fault() {
            Some(Fault::HalfClose { .. }) => self.half_close().await,
            Some(Fault::Cut { .. }) => self.cut().await,
            _ => Ok(()),
        }
    }

    /// Writes a part of an answer, as well or badly as the world's faults allow.
    pub(super) async fn put(&mut self, bytes: &[u8]) -> Result<(), Ended> {
        match self.fault() {
            None | Some(Fault::Refuse | Fault::Unaccepted) => self.send(bytes).await,
            Some(Fault::Silent) => {
                self.outlast(|f| matches!(f, Fault::Silent)).await?;
                Err(Ended::Fault)
            }
            Some(Fault::Delay(delay)) => {
                if self.sent == 0 {
                    tokio::time::sleep(delay).await;
                }
                self.send(bytes).await
            }
            Some(Fault::Trickle(pause)) => {
                for byte in bytes {
                    if pause.is_zero() {
                        // Each byte in a packet of its own, as fast as they go.
                        tokio::task::yield_now().await;
                    } else {
                        tokio::time::sleep(pause).await;
                    }
                    self.send(&[*byte]).await?;
                }
                Ok(())
            }
            Some(Fault::Garbage(garbage)) => {
                if std::mem::replace(&mut self.garbled, true) {
                    Ok(())
                } else {
                    self.send(&garbage).await
                }
            }
            Some(Fault::HalfClose { after }) => {
                self.send(&bytes[..after.saturating_sub(self.sent).min(bytes.len())]).await?;
                if self.sent < after { Ok(()) } else { self.half_close().await }
            }
            Some(Fault::Cut { after }) => {
                self.send(&bytes[..after.saturating_sub(self.sent).min(bytes.len())]).await?;
                if self.sent < after { Ok(()) } else { self.cut().await }
            }
        }
    }

    async fn send(&mut self, bytes: &[u8]) -> Result<(), Ended> {
        self.sent += bytes.len();
        if bytes.is_empty() {
            return Ok(());
        }
        let sending = self.screen.data_bytes(bytes.to_vec());
        tokio::time::timeout(WRITE, sending).await.map_err(|_| Ended::Deadline)?.map_err(|_| Ended::Closed)
    }

    async fn half_close(&mut self) -> Result<(), Ended> {
        self.screen.eof().await.map_err(|_| Ended::Closed)?;
        self.outlast(|f| matches!(f, Fault::HalfClose { .. })).await?;
        Err(Ended::Fault)
    }

    async fn cut(&mut self) -> Result<(), Ended> {
        // The channel only: a client that hears of the connection's end may throw away what it has not read yet.
        self.close(None).await;
        Err(Ended::Fault)
    }

    /// Reads and throws away until the fault is another or the client goes.
    async fn outlast(&mut self, same: impl Fn(&Fault) -> bool) -> Result<(), Ended> {
        loop {
            self.changes.mark_unchanged();
            if !self.fault().is_some_and(|f| same(&f)) {
                return Ok(());
            }
            tokio::select! {
                heard = self.keys.wait() => match heard {
                    Some(ChannelMsg::Close) | None => return Err(Ended::Closed),
                    Some(_) => {}
                },
                changed = self.changes.changed() => changed.map_err(|_| Ended::Closed)?,
            }
        }
    }

    /// Closes the channel, with an exit status if there is one to tell.
    pub(super) async fn close(&self, status: Option<u32>) {
        // None of these can fail but by the client's being gone.
        if let Some(status) = status {
            let _ = self.screen.exit_status(status).await;
        }
        let _ = self.screen.eof().await;
        let _ = self.screen.close().await;
    }
}
