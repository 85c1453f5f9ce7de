//! The rows of expiry: how soon after its end a share is really over, and never before it.

mod cluster;
mod ends;

use std::net::SocketAddr;

use anyhow::{Context as _, Result};
use jiff::Timestamp;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::time::{Duration, timeout};

use super::figure::{Goal, Measure, Row, Unit};
use super::load::round_trips;
use super::service::Wish;
use super::statistics::{Rounds, Spread, percentile};
use super::{Bench, Group};

/// What is measured together.
pub(super) const GROUPS: &[Group] = &[
    Group { rows: &["E1"], what: "from the end of a share to the end of its connections" },
    Group { rows: &["E2"], what: "many shares that end in the same instant" },
    Group { rows: &["E5"], what: "a wall clock that steps" },
    Group { rows: &["E3", "E4", "E6"], what: "ends as an operator makes them" },
];

/// An end that is not seen by then is none.
const NO_END: Duration = Duration::from_secs(40);

/// Round trips over plain loopback that tell how busy the machine is.
const CALM_ROUND_TRIPS: usize = 500;

/// The rows of one group.
pub(super) async fn measure(bench: &Bench, group: &Group) -> Result<Vec<Row>> {
    match group.rows.first().copied() {
        Some("E1") => ends::one_by_one(bench).await,
        Some("E2") => ends::at_once(bench).await,
        Some("E5") => ends::clock_steps(bench).await,
        _ => cluster::measure(bench).await,
    }
}

/// A live connection whose end is written down when it comes.
struct Watched {
    task: JoinHandle<i64>,
}

/// How late connections ended, in milliseconds, and how many of them were early.
#[derive(Clone, Debug, Default)]
struct Lateness {
    millis: Vec<f64>,
}

// === impl Watched ===

impl Watched {
    /// Opens a connection on which the Service sends something every so many microseconds, and waits for the first of it.
    async fn open(address: SocketAddr, every: u64) -> Result<Self> {
        let mut stream = Wish::Tick(every).connect(address).await?;
        timeout(NO_END, super::load::hello(&mut stream)).await.context("the Service does not answer")??;
        Ok(Self { task: tokio::spawn(end_of(stream)) })
    }

    /// When it ended, in microseconds since 1970.
    async fn ended(mut self) -> Result<i64> {
        let ended = timeout(NO_END, &mut self.task).await;
        ended.context("a connection outlived its share")?.context("a connection was not watched")
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Reads until there is nothing more to come. A reset is an end too.
async fn end_of(mut stream: TcpStream) -> i64 {
    let mut buffer = [0; 4096];
    while let Ok(1..) = stream.read(&mut buffer).await {}
    now()
}

/// The machine's clock, in microseconds since 1970.
fn now() -> i64 {
    Timestamp::now().as_microsecond()
}

// === impl Lateness ===

impl Lateness {
    fn add(&mut self, ended: i64, due: i64) {
        self.millis.push((ended - due) as f64 / 1e3);
    }

    /// Connections that ended before they were due.
    fn early(&self) -> usize {
        self.millis.iter().filter(|late| **late < 0.0).count()
    }

    /// A row of what `share` of all connections do not exceed. One that was early misses every goal.
    fn row(&self, id: &'static str, what: String, share: f64, goal: Goal) -> Result<Row> {
        let spread = Spread::of(&self.millis).context("no connection was measured")?;
        let value = percentile(&self.millis, share).context("no connection was measured")?;
        let measure = Measure::new(Unit::Milliseconds, Spread { median: value, ..spread }, self.millis.len());
        let row = Row::new(id, what, measure, goal);
        Ok(match self.early() {
            0 => row,
            early => row.missed_because(format!("{early} ended early")),
        })
    }
}

/// Adds to `rounds` how busy the machine is at the moment.
async fn look_at_the_machine(rounds: &mut Rounds, service: SocketAddr) -> Result<()> {
    rounds.raw(round_trips(service, CALM_ROUND_TRIPS).await?.p50());
    Ok(())
}

/// The rows, void when the machine was not calm.
fn judged(rows: Vec<Row>, calm: &Rounds) -> Vec<Row> {
    rows.into_iter().map(|row| row.void_if(calm.is_void(), calm.variation())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::figure::Verdict;

    #[test]
    fn one_early_end_misses_every_goal() {
        let mut lateness = Lateness::default();
        lateness.add(1_004_000, 1_000_000);
        lateness.add(1_002_000, 1_000_000);
        let judge = |lateness: &Lateness| {
            lateness
                .row("E1", "lateness".to_owned(), 0.99, Goal::AtMost(10.0))
                .expect("there are some")
                .verdict
        };
        assert_eq!(judge(&lateness), Verdict::Met);
        lateness.add(999_999, 1_000_000);
        assert_eq!(judge(&lateness), Verdict::Missed("1 ended early".to_owned()));
    }
}
