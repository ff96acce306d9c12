//! Sources: whoever is read, through the two traits that every dialect implements.

use crate::evidence::Evidence;
use isoledger_core::model::{BypassClass, Declared, Failure, Observed, Reader, Window};
use isoledger_core::time::{Span, Timestamp};
use std::collections::BTreeSet;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// A boxed future, so that readers of different dialects fit in one list.
pub type Pending<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Tells the time of a reading. Passed in, so that tests and replays bring their own.
pub trait Clock: Send + Sync {
    /// The present moment; never earlier than what the same clock said before.
    fn now(&self) -> Timestamp;
}

/// A monotonic clock mapped to wall time once, so that a window has the length that passed even when the wall
/// clock is stepped while it is open.
#[derive(Clone, Copy, Debug)]
pub struct Stopwatch {
    wall: Timestamp,
    since: Instant,
}

impl Stopwatch {
    /// Starts at `wall`, which is `since` on the monotonic clock.
    pub fn start(wall: Timestamp, since: Instant) -> Stopwatch {
        Stopwatch { wall, since }
    }

    /// Starts at the system's wall clock; `None` when that stands before 1970 or past the year 9999.
    pub fn from_system() -> Option<Stopwatch> {
        let since = Instant::now();
        let ms = SystemTime::now().duration_since(UNIX_EPOCH).ok()?.as_millis();
        Some(Stopwatch { wall: Timestamp::from_millis(u64::try_from(ms).ok()?)?, since })
    }
}

impl Clock for Stopwatch {
    fn now(&self) -> Timestamp {
        let passed = u64::try_from(self.since.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.wall.plus(Span::from_millis(passed))
    }
}

/// Why a source gave no usable reading: the class that semantics know, and a sentence for the admin with what was
/// found and what to do. The sentence holds no secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceError {
    /// How the failure counts.
    pub kind: Failure,
    /// What was found and what to do.
    pub sentence: String,
}

impl SourceError {
    /// An error of this kind.
    pub fn new(kind: Failure, sentence: impl Into<String>) -> SourceError {
        SourceError { kind, sentence: sentence.into() }
    }

    /// No answer, or none in time.
    pub fn silent(sentence: impl Into<String>) -> SourceError {
        SourceError::new(Failure::Silent, sentence)
    }

    /// An answer that was not understood, or access refused.
    pub fn unreadable(sentence: impl Into<String>) -> SourceError {
        SourceError::new(Failure::Unreadable, sentence)
    }

    /// Another identity than the one admitted.
    pub fn source_changed(sentence: impl Into<String>) -> SourceError {
        SourceError::new(Failure::SourceChanged, sentence)
    }
}

impl fmt::Display for SourceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.sentence)
    }
}

impl std::error::Error for SourceError {}

/// One reading of one source, failed or not. A failed one still says when it was tried, and keeps the evidence that
/// had arrived.
#[derive(Clone, Debug)]
pub struct Reading<T> {
    /// From before the first byte was asked for to after the last was received.
    pub window: Window,
    /// Who read.
    pub reader: Reader,
    /// What the source said.
    pub evidence: Evidence,
    /// What it means: exactly what the dialect's normaliser makes of `evidence`, or why there is nothing.
    pub outcome: Result<T, SourceError>,
    /// How many requests were sent to the source, for rate budgets.
    pub sent: u64,
}

/// Reads what one switch does.
pub trait SwitchReader: Send {
    /// The dialect and the version of its parser.
    fn reader(&self) -> Reader;

    /// Reads everything, ending before `deadline`. Transport failures are retried as long as the deadline allows.
    fn read<'a>(&'a mut self, clock: &'a dyn Clock, deadline: Instant) -> Pending<'a, Reading<Observed>>;

    /// Reads again where the first reading disagreed with the declaration, in the same poll. A dialect that can ask about
    /// single ports may ask about `ports` only and merge that into `previous`; by default everything is read again.
    /// A dialect that is told of changes tells of all since the poll before, not only since the first reading.
    fn reread<'a>(
        &'a mut self,
        _ports: &'a BTreeSet<String>,
        _previous: &'a Evidence,
        clock: &'a dyn Clock,
        deadline: Instant,
    ) -> Pending<'a, Reading<Observed>> {
        self.read(clock, deadline)
    }

    /// Keeps what the last reading told of the time before it ([`Observed::between`]), so that the next one tells it
    /// again: for when it could not be judged. A dialect that is not told of changes has nothing to keep.
    fn hold(&mut self) {}

    /// For each bypass class, how this dialect decides it: the table of its page.
    fn bypass_table(&self) -> &'static [(BypassClass, &'static str)];
}

/// A part of a declaration: what concerns these nodes and networks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Part {
    /// Nodes by name.
    pub nodes: BTreeSet<String>,
    /// Networks by name.
    pub networks: BTreeSet<String>,
}

/// Reads what one cloud manager declares.
pub trait CloudManager: Send {
    /// The dialect and the version of its parser.
    fn reader(&self) -> Reader;

    /// Reads everything, ending before `deadline`.
    fn read<'a>(&'a mut self, clock: &'a dyn Clock, deadline: Instant) -> Pending<'a, Reading<Declared>>;

    /// Reads `part` again and takes the rest from `previous`, the evidence of an earlier reading. The evidence that
    /// comes back is whole: it normalises without `previous`. By default everything is read again, which is better
    /// wherever it is cheap: one moment instead of two.
    fn reread<'a>(
        &'a mut self,
        _part: &'a Part,
        _previous: &'a Evidence,
        clock: &'a dyn Clock,
        deadline: Instant,
    ) -> Pending<'a, Reading<Declared>> {
        self.read(clock, deadline)
    }

    /// How many requests a full reading takes, as far as is known (from the last one); `None` before the first.
    fn calls_per_crawl(&self) -> Option<u64>;
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_stopwatch_adds_what_passed_to_where_it_started() {
        let wall = Timestamp::parse("2026-03-02T10:11:12.345Z").unwrap();
        let since = Instant::now().checked_sub(Duration::from_secs(5)).unwrap();
        let passed = Stopwatch::start(wall, since).now().since(wall);
        assert!(passed.millis() >= 5000, "{passed}");
    }
}
