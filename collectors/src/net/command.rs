//! A read-only command on this host.

use super::{io_words, within};
use crate::SourceError;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Instant;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::Command;

/// What a command said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Output {
    /// Its standard output.
    pub stdout: Vec<u8>,
    /// The beginning of its standard error.
    pub stderr: Vec<u8>,
    /// Its exit status; -1 when a signal ended it.
    pub status: i32,
}

/// How much of the standard error is kept.
pub(crate) const MAX_STDERR: usize = 4096;

/// Runs `command`, split at its spaces and never given to a shell, with `environment` added. Ends it at `deadline`.
pub async fn run(
    command: &str,
    environment: &[(&str, PathBuf)],
    limit: usize,
    deadline: Instant,
) -> Result<Output, SourceError> {
    let mut words = command.split(' ');
    let program = words.next().unwrap_or_default();
    let mut child = Command::new(program)
        .args(words)
        .envs(environment.iter().map(|(k, v)| (*k, v)))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(|e| {
            SourceError::unreadable(format!("the command {program} cannot be started: {}", io_words(&e)))
        })?;
    let (Some(stdout), Some(stderr)) = (child.stdout.take(), child.stderr.take()) else {
        return Err(SourceError::unreadable(format!("the command {program} has no output to read")));
    };
    let what = format!("the command {command:?}");
    within(deadline, &what, async {
        // Both at once: a command that fills one pipe while only the other is read would wait for ever.
        let (out, err) = tokio::join!(keep_first(stdout, limit), keep_first(stderr, MAX_STDERR));
        let broken = |e: std::io::Error| SourceError::unreadable(format!("{what} cannot be read: {e}"));
        let ((stdout, whole), (stderr, _)) = (out.map_err(broken)?, err.map_err(broken)?);
        if !whole {
            return Err(SourceError::unreadable(format!("{what} gave more than {limit} bytes")));
        }
        let status = child.wait().await.map_err(broken)?;
        Ok(Output { stdout, stderr, status: status.code().unwrap_or(-1) })
    })
    .await
}

/// The first `limit` bytes of a stream that is read to its end, and whether they were all.
async fn keep_first(mut from: impl AsyncRead + Unpin, limit: usize) -> std::io::Result<(Vec<u8>, bool)> {
    let (mut kept, mut whole, mut buffer) = (Vec::new(), true, [0; 8192]);
    loop {
        let n = from.read(&mut buffer).await?;
        if n == 0 {
            return Ok((kept, whole));
        }
        let room = n.min(limit - kept.len());
        kept.extend_from_slice(&buffer[..room]);
        whole &= room == n;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn soon() -> Instant {
        Instant::now() + Duration::from_secs(20)
    }

    #[tokio::test]
    async fn output_status_and_environment_come_back() {
        let out = run("env", &[("ISOLEDGER_TEST", "here".into())], 1 << 16, soon()).await.unwrap();
        assert!(String::from_utf8(out.stdout).unwrap().lines().any(|l| l == "ISOLEDGER_TEST=here"));
        assert_eq!(out.status, 0);
        // A word with shell characters stays one word.
        let out = run("echo $HOME;false", &[], 100, soon()).await.unwrap();
        assert_eq!(out.stdout, b"$HOME;false\n");
        assert_eq!(run("false", &[], 100, soon()).await.unwrap().status, 1);
    }

    #[tokio::test]
    async fn too_much_too_late_and_not_there_are_errors() {
        let said = run("echo 12345", &[], 3, soon()).await.unwrap_err().sentence;
        assert!(said.contains("more than 3 bytes"), "{said}");
        let said = run("no-such-command-here", &[], 3, soon()).await.unwrap_err().sentence;
        assert!(said.contains("cannot be started"), "{said}");
        let late = run("sleep 60", &[], 3, Instant::now() + Duration::from_millis(50)).await.unwrap_err();
        assert_eq!(late.kind, isoledger_core::model::Failure::Silent);
    }
}
