//! D10: one person at a terminal, and a hundred transfers beside them.

use std::time::Duration;

use anyhow::{Result, ensure};
use tokio::time::sleep;

use super::taken;
use crate::Bench;
use crate::figure::{Goal, Measure, Row, Unit};
use crate::load::{Bulk, round_trips, round_trips_for};
use crate::paths::{FAST, Ours, Protocol, R2, RAW, RECORDED, Relays, Route, Service};

/// Transfers beside.
const TRANSFERS: usize = 100;

/// Round trips in each situation.
const ROUND_TRIPS: usize = 100;

/// How long they may take together: a path that is not fair needs most of a second for one.
const LONGEST_SERIES: Duration = Duration::from_secs(4);

/// How long the path may take to empty, so that the next one is measured alone.
const SETTLING: Duration = Duration::from_secs(2);

/// How long the transfers may fill what there is to fill.
const FILLING: Duration = Duration::from_millis(500);

const ALONE: &str = "alone";
const BESIDE: &str = "beside";

pub(super) async fn measure(bench: &Bench) -> Result<Vec<Row>> {
    let logs = bench.logs("crowd")?;
    let service = Service::start(&logs).await?;
    let relays = Relays::start(service.address(), &logs).await?;
    let ours = Ours::joined(Protocol::Negotiated, 1, service.address()).await?;
    let recorded = Ours::joined(Protocol::Recorded, 1, service.address()).await?;
    let routes = [
        service.route(),
        relays.route(),
        Route { name: FAST, address: ours.address()? },
        Route { name: RECORDED, address: recorded.address()? },
    ];
    let rounds = bench
        .interleaved(&routes, ALONE, async |route| {
            let alone = round_trips(route.address, ROUND_TRIPS).await?;
            if route.name == RAW {
                return Ok(vec![(ALONE, alone.p50())]);
            }
            let bulk = Bulk::start(route.address, TRANSFERS).await?;
            sleep(FILLING).await;
            let before = bulk.received();
            let beside = round_trips_for(route.address, ROUND_TRIPS, LONGEST_SERIES).await?;
            ensure!(bulk.received() > before, "the transfers stood still, so this shows nothing");
            drop(bulk);
            sleep(SETTLING).await;
            Ok(vec![(ALONE, alone.p99()), (BESIDE, beside.p99())])
        })
        .await?;
    let judged = [
        (FAST, "negotiated path", Goal::AtMost(5.0)),
        (RECORDED, "recorded protocol", Goal::None),
        (R2, "R2", Goal::None),
    ];
    let rows = judged.into_iter().filter_map(|(path, words, goal)| {
        let ratio = rounds.ratio((path, BESIDE), (path, ALONE))?;
        let what = format!("{words}, p99 beside {TRANSFERS} transfers / without");
        let row = Row::new("D10", what, Measure::new(Unit::Ratio, ratio, rounds.count()), goal)
            .ours(taken(&rounds, Unit::Milliseconds, path, BESIDE))
            .beside(ALONE, taken(&rounds, Unit::Milliseconds, path, ALONE))
            .void_if(rounds.is_void(), rounds.variation());
        Some(row)
    });
    Ok(rows.collect())
}
