//! D5: what a path adds to a question of 64 bytes and its answer.

use anyhow::Result;

use super::{Paths, taken};
use crate::Bench;
use crate::figure::{Goal, Measure, Row, Unit};
use crate::load::round_trips;
use crate::paths::{FAST, R2, RECORDED};

/// Round trips of one path in one round: enough for a 99th percentile that means something.
const ROUND_TRIPS: usize = 3000;

const P50: &str = "p50";
const P99: &str = "p99";

pub(super) async fn measure(bench: &Bench) -> Result<Vec<Row>> {
    let paths = Paths::start(bench, "round-trips").await?;
    let rounds = bench
        .interleaved(&paths.routes()?, P50, async |route| {
            let taken = round_trips(route.address, ROUND_TRIPS).await?;
            Ok(vec![(P50, taken.p50()), (P99, taken.p99())])
        })
        .await?;
    let compared = [
        (FAST, "negotiated path", P50, Goal::AtMost(1.2)),
        (FAST, "negotiated path", P99, Goal::AtMost(2.0)),
        (RECORDED, "recorded protocol", P50, Goal::None),
        (RECORDED, "recorded protocol", P99, Goal::None),
    ];
    let rows = compared.into_iter().filter_map(|(path, what, percentile, goal)| {
        let ratio = rounds.ratio((path, percentile), (R2, percentile))?;
        let figure = Measure::new(Unit::Ratio, ratio, rounds.count());
        let row = Row::new("D5", format!("{what}, 64 bytes and back, {percentile}"), figure, goal)
            .ours(taken(&rounds, Unit::Milliseconds, path, percentile))
            .beside(R2, taken(&rounds, Unit::Milliseconds, R2, percentile))
            .void_if(rounds.is_void(), rounds.variation());
        Some(row)
    });
    Ok(rows.collect())
}
