//! Waiting for a state: look again and again until it is there or a deadline has passed.
//!
//! Tests never sleep for a result. They say in a sentence what they wait for, and a failure shows that sentence and what was
//! seen last.

use std::future::Future;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow};
use tokio::time::{Instant, sleep, timeout_at};

/// Pause between two looks: short beside anything waited for, long beside the cost of a look.
const PAUSE: Duration = Duration::from_millis(50);

/// How long a state that takes one or two round trips may take on a machine that is busy compiling.
pub const SOON: Duration = Duration::from_secs(30);

/// How long a state may take that starts processes or waits for another program's own period.
pub const PATIENTLY: Duration = Duration::from_secs(90);

/// Looks until `look` answers `Ok`, and returns its answer. An `Err` says what was seen instead.
///
/// # Errors
/// The deadline passed; the message holds `what` and the last observation.
pub async fn eventually<T, Look, Seen>(what: &str, deadline: Duration, mut look: Look) -> Result<T>
where
    Look: FnMut() -> Seen,
    Seen: Future<Output = Result<T>>,
{
    let end = Instant::now() + deadline;
    let mut last = anyhow!("nothing was seen yet");
    while Instant::now() < end {
        match timeout_at(end, look()).await {
            Ok(Ok(reached)) => return Ok(reached),
            Ok(Err(observation)) => last = observation,
            Err(_) => break,
        }
        sleep(PAUSE).await;
    }
    Err(last).with_context(|| format!("not within {} s: {what}", deadline.as_secs()))
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    /// Enough for one look.
    const BRIEFLY: Duration = Duration::from_millis(200);

    #[tokio::test]
    async fn the_state_is_returned_when_it_is_there() {
        let looks = Cell::new(0);
        let third = eventually("the third look", SOON, || {
            looks.set(looks.get() + 1);
            let look = looks.get();
            async move { if look == 3 { Ok(look) } else { Err(anyhow!("look {look}")) } }
        });
        assert_eq!(third.await.expect("the third look succeeds"), 3);
    }

    #[tokio::test]
    async fn a_failure_says_what_was_waited_for_and_what_was_seen() {
        let error = eventually("the sun rises", BRIEFLY, || async { Err::<(), _>(anyhow!("it is dark")) })
            .await
            .expect_err("the state never comes");
        assert_eq!(format!("{error:#}"), "not within 0 s: the sun rises: it is dark");
    }

    #[tokio::test]
    async fn a_look_that_never_answers_is_given_up() {
        let error = eventually("an answer", BRIEFLY, std::future::pending::<Result<()>>).await;
        assert!(error.is_err());
    }
}
