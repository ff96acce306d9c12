//! How a command ends: with an answer, with something amiss, or not at all.

use std::fmt::Display;

/// A sentence for whoever typed the command. Commands end here; nobody branches on it.
#[derive(Debug)]
pub(crate) struct Failure(pub(crate) String);

impl<E: std::error::Error> From<E> for Failure {
    fn from(e: E) -> Failure {
        // Causes are part of our errors' own sentences where they add something.
        Failure(e.to_string())
    }
}

/// A sentence as a failure.
pub(crate) fn fail<T>(sentence: impl Display) -> Result<T, Failure> {
    Err(Failure(sentence.to_string()))
}

/// Whether what was asked for is as it should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// It is.
    Fine,
    /// It is not; the answer says what.
    Amiss,
}
