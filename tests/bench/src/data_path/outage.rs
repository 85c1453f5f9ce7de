//! D9: how soon a hub that has gone silent is left, and how soon everybody is back after a restart.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use jiff::Timestamp;
use tokio::net::TcpStream;
use tokio::time::sleep;

use crate::Bench;
use crate::figure::{Goal, Measure, Row, Unit};
use crate::load::round_trips;
use crate::paths::{Exposer, Ours, Protocol, Service};
use crate::roles::StateChange;
use crate::statistics::{Spread, percentile};
use connect_tests::wait::{PATIENTLY, eventually};

/// How often the hub is frozen.
const FREEZES: usize = 3;

/// Agents that come back after a restart.
const AGENTS: usize = 40;

/// How long the hub is away.
const AWAY: Duration = Duration::from_secs(3);

/// Pause between two looks at whether a hub that starts is there.
const LOOK: Duration = Duration::from_millis(2);

/// Milliseconds in which a silent hub must be noticed.
const NOTICED: f64 = 10_000.0;

pub(super) async fn measure(bench: &Bench) -> Result<Vec<Row>> {
    let service = Service::start(&bench.logs("outage")?).await?;
    let mut ours = Ours::joined(Protocol::Negotiated, 1, service.address()).await?;
    let mut noticed = Vec::new();
    for _ in 0..FREEZES {
        noticed.push(freeze(&mut ours).await?);
    }
    let spread = Spread::of(&noticed).context("some freezes")?;
    // Judged by the slowest, because the goal is a bound.
    let worst = Spread { median: spread.max, ..spread };
    let silent = Row::new(
        "D9",
        format!("a silent hub is noticed by the exposing side, slowest of {FREEZES}"),
        Measure::new(Unit::Milliseconds, worst, FREEZES),
        Goal::AtMost(NOTICED),
    );
    let mut rows = vec![silent];
    rows.extend(restart(ours).await?);
    Ok(rows)
}

/// Milliseconds from the freeze to the end of the tunnel; waits until it is up again.
async fn freeze(ours: &mut Ours) -> Result<f64> {
    ours.exposer.states().await?;
    ours.hub.process().freeze()?;
    let frozen = Timestamp::now().as_microsecond();
    let lost = change(&mut ours.exposer, |change| !change.connected).await?;
    ours.hub.process().resume()?;
    change(&mut ours.exposer, |change| change.connected).await?;
    let address = ours.address()?;
    eventually("the teammate reads again", PATIENTLY, || async { round_trips(address, 1).await }).await?;
    Ok((lost.at - frozen) as f64 / 1e3)
}

/// The first change of this kind from now on.
async fn change(exposer: &mut Exposer, wanted: impl Fn(&StateChange) -> bool) -> Result<StateChange> {
    let deadline = tokio::time::Instant::now() + PATIENTLY;
    loop {
        if let Some(found) = exposer.states().await?.into_iter().find(&wanted) {
            return Ok(found);
        }
        ensure!(tokio::time::Instant::now() < deadline, "the tunnel's state does not change");
        sleep(LOOK).await;
    }
}

/// Kills the hub with many agents connected, and starts it again.
async fn restart(mut ours: Ours) -> Result<Vec<Row>> {
    for _ in 1..AGENTS {
        ours.exposer.connect(&ours.hub).await?;
    }
    let address: SocketAddr = ours.hub.url().trim_start_matches("http://").parse().context("an odd URL")?;
    ours.exposer.states().await?;
    ours.hub.process().kill()?;
    sleep(AWAY).await;
    let up = tokio::spawn(listens(address));
    let mut ours = ours.restart_hub().await?;
    let up = up.await.context("the look was given up")??;
    let mut back: BTreeMap<usize, i64> = BTreeMap::new();
    let deadline = tokio::time::Instant::now() + PATIENTLY;
    while back.len() < AGENTS {
        for change in ours.exposer.states().await?.into_iter().filter(|change| change.connected) {
            back.entry(change.agent).or_insert(change.at);
        }
        ensure!(tokio::time::Instant::now() < deadline, "{} of {AGENTS} agents came back", back.len());
        sleep(LOOK).await;
    }
    let millis: Vec<f64> = back.values().map(|at| (at - up).max(0) as f64 / 1e3).collect();
    let spread = Spread::of(&millis).context("some agents")?;
    let row = |share: f64, name: &str, most: f64| {
        let value = percentile(&millis, share).unwrap_or(f64::NAN);
        let measure = Measure::new(Unit::Milliseconds, Spread { median: value, ..spread }, AGENTS);
        Row::new("D9", format!("{AGENTS} agents after a restart, {name}"), measure, Goal::AtMost(most))
    };
    Ok(vec![row(0.5, "p50", 1000.0), row(0.99, "p99", 5000.0)])
}

/// When the hub listens again, in microseconds since 1970.
async fn listens(address: SocketAddr) -> Result<i64> {
    let deadline = tokio::time::Instant::now() + PATIENTLY;
    while TcpStream::connect(address).await.is_err() {
        ensure!(tokio::time::Instant::now() < deadline, "the hub does not listen again");
        sleep(LOOK).await;
    }
    Ok(Timestamp::now().as_microsecond())
}
