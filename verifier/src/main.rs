//! `isoverify`: reads the clock and runs [`isoverify::cli`].

use isoledger_core::time::Timestamp;
use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

fn main() -> ExitCode {
    #[allow(clippy::disallowed_methods)]
    // the one place that reads the clock; everything below takes it as `now`
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let now = u64::try_from(since.as_millis()).ok().and_then(Timestamp::from_millis).unwrap_or_default();
    let (mut out, mut err) = (std::io::stdout().lock(), std::io::stderr().lock());
    ExitCode::from(isoverify::cli::run(std::env::args_os(), now, &mut out, &mut err))
}
