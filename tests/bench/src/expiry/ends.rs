//! E1, E2 and E5: the exposing side alone enforces the end. The hub and the teammates believe in two hours more, so what is
//! measured is what holds with any hub.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context as _, Result};
use futures::future::{join_all, try_join_all};
use tokio::io::AsyncReadExt;
use tokio::time::{sleep, timeout};

use super::{Lateness, Watched, judged, look_at_the_machine, now};
use crate::Bench;
use crate::figure::{Goal, Measure, Row, Unit, Verdict};
use crate::paths::{Joined, Ours, Protocol, Service};
use crate::roles::{Order, ROUTES_PER_CODE};
use crate::service::Wish;
use crate::statistics::Rounds;
use connect_tests::hub::Hub;

/// Shares that end one after the other, and as many that end together.
const SHARES: usize = 100;

/// How often both are repeated.
const REPEATED: usize = 3;

/// Microseconds between two ends that come one after the other.
const APART: i64 = 15_000;

/// Microseconds until the first end, once everything is connected.
const SOON: i64 = 800_000;

/// Microseconds between two sends of a Service: fine beside a goal of ten milliseconds.
const FINE: u64 = 5_000;

/// The same where thousands of connections live.
const COARSE: u64 = 1_000_000;

/// Services of one hub: its tunnel ports.
const PER_HUB: usize = 1000;

/// Shares at one instant: as many as are made and joined within a minute or two.
const MOST_AT_ONCE: usize = 3000;

/// Shares that the goal speaks of.
const GOAL_AT_ONCE: usize = 10_000;

/// Connections opened at the same time.
const OPENED_AT_ONCE: usize = 50;

/// Dials in flight after the end, and how long they go on.
const DIALS: usize = 8;
const DIALLING: Duration = Duration::from_millis(500);

/// A dial that brought nothing by then is refused.
const REFUSED: Duration = Duration::from_secs(5);

const HOUR: i64 = 3_600;
const DAY: i64 = 24 * HOUR;

/// E1.
pub(super) async fn one_by_one(bench: &Bench) -> Result<Vec<Row>> {
    let service = Service::start(&bench.logs("ends")?).await?;
    let mut ours = Ours::joined(Protocol::Negotiated, SHARES, service.address()).await?;
    let mut calm = Rounds::default();
    let mut single = Lateness::default();
    let mut together = Lateness::default();
    for _ in 0..REPEATED {
        look_at_the_machine(&mut calm, service.address()).await?;
        end(&mut ours, APART, &mut single).await?;
        end(&mut ours, 0, &mut together).await?;
    }
    look_at_the_machine(&mut calm, service.address()).await?;
    let rows = vec![
        single.row(
            "E1",
            format!("{SHARES} shares, {} ms apart, p99", APART / 1000),
            0.99,
            Goal::AtMost(10.0),
        )?,
        together.row("E1", format!("{SHARES} shares at once, p99"), 0.99, Goal::AtMost(10.0))?,
        together.row("E1", format!("{SHARES} shares at once, last"), 1.0, Goal::AtMost(50.0))?,
    ];
    Ok(judged(rows, &calm))
}

/// Lets all shares live again, connects to each, and lets them end so many microseconds apart.
async fn end(ours: &mut Ours, every: i64, lateness: &mut Lateness) -> Result<()> {
    ours.exposer.obey(&Order::Renew { first: 0, count: SHARES }).await?;
    let watched = watch(&ours.routes(), FINE).await?;
    let first = now() + SOON;
    ours.exposer.obey(&Order::EndAt { first: 0, count: SHARES, at: first, every }).await?;
    for (turn, watched) in (0..).zip(watched) {
        lateness.add(watched.ended().await?, first + turn * every);
    }
    Ok(())
}

/// E2.
pub(super) async fn at_once(bench: &Bench) -> Result<Vec<Row>> {
    let count = bench.plan.scale.min(MOST_AT_ONCE);
    let logs = bench.logs("ends-at-once")?;
    let service = Service::start(&logs).await?;
    let first = count.min(PER_HUB);
    let mut ours = Ours::joined(Protocol::Negotiated, first, service.address()).await?;
    let mut hubs = Vec::new();
    for begin in (first..count).step_by(PER_HUB) {
        let more = PER_HUB.min(count - begin);
        hubs.push(one_more_hub(bench, &mut ours, hubs.len() + 1, more, service.address()).await?);
    }
    let mut calm = Rounds::default();
    look_at_the_machine(&mut calm, service.address()).await?;
    let routes = ours.routes();
    let watched = watch(&routes, COARSE).await?;
    look_at_the_machine(&mut calm, service.address()).await?;

    let due = now() + 3 * SOON;
    ours.exposer.obey(&Order::EndAt { first: 0, count, at: due, every: 0 }).await?;
    let dials = tokio::spawn(dial_from(due, routes));
    let mut lateness = Lateness::default();
    for ended in join_all(watched.into_iter().map(Watched::ended)).await {
        lateness.add(ended?, due);
    }
    let Dialled { dials, answered } = dials.await.context("the dials were given up")?;
    look_at_the_machine(&mut calm, service.address()).await?;
    let answered = Measure::once(Unit::Count, answered as f64);
    let at_once = lateness.row("E2", format!("{count} shares at once, p99"), 0.99, Goal::AtMost(250.0))?;
    let rows = vec![
        if count < GOAL_AT_ONCE && matches!(at_once.verdict, Verdict::Met) {
            at_once.not_judged_because(format!("the goal is for {GOAL_AT_ONCE}"))
        } else {
            at_once
        },
        Row::new("E2", format!("of {dials} dials after the end, answered"), answered, Goal::AtMost(0.0)),
    ];
    Ok(judged(rows, &calm))
}

/// One more hub for services of the same exposing side, with teammates.
async fn one_more_hub(
    bench: &Bench,
    ours: &mut Ours,
    number: usize,
    services: usize,
    target: SocketAddr,
) -> Result<Hub> {
    let folder = bench.scratch.folder(&format!("hub-{number}"))?;
    let hub = Hub::start(&folder, &folder).await?;
    ours.exposer.connect(&hub).await?;
    let codes = ours.exposer.expose(number, services, target).await?;
    for (turn, code) in codes.iter().enumerate() {
        let routes = ROUTES_PER_CODE.min(services - turn * ROUTES_PER_CODE);
        let name = format!("teammate-{number}-{turn}");
        ours.joins.push(Joined::start(&name, code, hub.url(), routes, &folder).await?);
    }
    Ok(hub)
}

/// What became of dials after the end.
#[derive(Clone, Copy, Debug, Default)]
struct Dialled {
    dials: usize,
    answered: usize,
}

/// Dials from the end on, for a while, and counts where the Service answered.
async fn dial_from(due: i64, routes: Vec<SocketAddr>) -> Dialled {
    sleep(Duration::from_micros(u64::try_from(due - now()).unwrap_or_default())).await;
    let answered = |address: SocketAddr| async move {
        let Ok(mut stream) = Wish::Idle.connect(address).await else { return false };
        matches!(timeout(REFUSED, stream.read_u8()).await, Ok(Ok(_)))
    };
    let mut dialled = Dialled::default();
    let mut waves = routes.chunks(DIALS).cycle();
    let stop = due + i64::try_from(DIALLING.as_micros()).unwrap_or(i64::MAX);
    while now() < stop {
        let Some(wave) = waves.next() else { break };
        let answers = join_all(wave.iter().map(|address| answered(*address))).await;
        dialled.dials += answers.len();
        dialled.answered += answers.into_iter().filter(|answered| *answered).count();
    }
    dialled
}

/// E5.
pub(super) async fn clock_steps(bench: &Bench) -> Result<Vec<Row>> {
    // The clock of the exposing side is stepped; ours is not, so that it can tell how late an end is.
    const STEPS: [(&str, i64); 4] =
        [("an hour on", HOUR), ("a day on", DAY), ("a day back, and on", DAY), ("an hour on again", HOUR)];
    let service = Service::start(&bench.logs("clock")?).await?;
    let mut ours = Ours::joined(Protocol::Negotiated, STEPS.len(), service.address()).await?;
    let mut calm = Rounds::default();
    let mut lateness = Lateness::default();
    let mut ahead = 0;
    for (number, (what, seconds)) in STEPS.into_iter().enumerate() {
        look_at_the_machine(&mut calm, service.address()).await?;
        if what.contains("back") {
            ours.exposer.obey(&Order::StepClock { seconds: -seconds }).await?;
            ahead -= seconds;
        }
        ours.exposer.obey(&Order::Renew { first: number, count: 1 }).await?;
        let route = *ours.routes().get(number).context("a route for each step")?;
        let watched = Watched::open(route, FINE).await?;
        // By its own clock the share ends when the clock has stepped; without the step it would live for as long.
        let at = now() + (ahead + seconds) * 1_000_000;
        ours.exposer.obey(&Order::EndAt { first: number, count: 1, at, every: 0 }).await?;
        let stepped = now();
        ours.exposer.obey(&Order::StepClock { seconds }).await?;
        ahead += seconds;
        lateness.add(watched.ended().await?, stepped);
    }
    let rows = vec![lateness.row(
        "E5",
        "the clock steps by an hour or a day, worst".to_owned(),
        1.0,
        Goal::AtMost(1000.0),
    )?];
    Ok(judged(rows, &calm))
}

/// A live connection on every route.
async fn watch(routes: &[SocketAddr], every: u64) -> Result<Vec<Watched>> {
    let mut watched = Vec::with_capacity(routes.len());
    for some in routes.chunks(OPENED_AT_ONCE) {
        watched.extend(try_join_all(some.iter().map(|route| Watched::open(*route, every))).await?);
    }
    Ok(watched)
}
