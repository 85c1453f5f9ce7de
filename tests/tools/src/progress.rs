//! Lines for the person who waits: what is being installed, built or started, and why.
//!
//! They go straight to stderr, so that the test runner does not hold them back until a test has failed.

use std::fmt::Display;
use std::io::Write;
use std::time::{Duration, Instant};

/// Prints one line.
pub fn say(line: impl Display) {
    // Nobody is there to be told that stderr is closed.
    let _ = writeln!(std::io::stderr().lock(), "{line}");
}

/// Says what begins, runs it, and says how long it took.
///
/// # Errors
/// Those of `work`.
pub fn timed<T>(what: impl Display, work: impl FnOnce() -> anyhow::Result<T>) -> anyhow::Result<T> {
    say(format_args!("{what} ..."));
    let begun = Instant::now();
    let done = work()?;
    say(format_args!("  done in {}", human(begun.elapsed())));
    Ok(done)
}

/// A duration as people say it: tenths of a second below a minute, then minutes and seconds.
pub fn human(duration: Duration) -> String {
    let seconds = duration.as_secs();
    if seconds < 60 {
        format!("{:.1} s", duration.as_secs_f64())
    } else {
        format!("{} min {} s", seconds / 60, seconds % 60)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_well() {
        assert_eq!(human(Duration::from_millis(1_240)), "1.2 s");
        assert_eq!(human(Duration::from_secs(131)), "2 min 11 s");
    }
}
