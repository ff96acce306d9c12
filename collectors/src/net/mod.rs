//! Framing and transports that dialects share. Every wait ends at the caller's deadline; every peer is
//! authenticated where its protocol can; every failure is a sentence.

pub mod address;
pub mod command;
pub mod console;
pub mod json;
pub mod shell;
pub mod ssh;
pub mod stream;
pub mod tls;
pub mod web;
pub(crate) mod xml;

pub use address::Address;
pub use command::Output;
pub use shell::{Said, Script, Shell};
pub use ssh::{SshLogin, SshSession, SshTarget};
pub use tls::{ClientFiles, TlsFiles};
pub use web::WebTarget;

use crate::SourceError;
use std::future::Future;
use std::time::Instant;

/// What `work` gives, or `Silent` with a sentence that begins with `what` when `deadline` comes first.
pub async fn within<T>(
    deadline: Instant,
    what: &str,
    work: impl Future<Output = Result<T, SourceError>>,
) -> Result<T, SourceError> {
    match tokio::time::timeout_at(deadline.into(), work).await {
        Ok(done) => done,
        Err(_) => Err(SourceError::silent(format!(
            "{what}: no answer before the deadline. Raise the source's deadline if it is merely slow"
        ))),
    }
}

/// An I/O error in words: what the system said, and what that usually means.
pub(crate) fn io_words(e: &std::io::Error) -> String {
    use std::io::ErrorKind;
    let hint = match e.kind() {
        ErrorKind::ConnectionRefused => "nobody listens there",
        ErrorKind::NotFound => "there is no such file or socket",
        ErrorKind::PermissionDenied => "this user may not open it",
        ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset | ErrorKind::BrokenPipe => {
            "the other side closed the connection"
        }
        _ => return e.to_string(),
    };
    format!("{e} ({hint})")
}
