//! D3 and D4: one large transfer, in each direction, every byte compared.

use anyhow::Result;

use super::{Paths, left_out, taken};
use crate::Bench;
use crate::figure::{Goal, Measure, Row, Unit};
use crate::load::{Direction, transfer};
use crate::paths::{FAST, R2, RECORDED};
use crate::peers::{BORE, RATHOLE};
use crate::statistics::Rounds;

const DOWN: &str = "down";
const UP: &str = "up";

/// What is held against what, in each direction.
const COMPARED: [(&str, &str, &str, &str, Goal); 4] = [
    ("D3", "recorded protocol", RECORDED, R2, Goal::AtLeast(0.50)),
    ("D4", "negotiated path", FAST, R2, Goal::AtLeast(0.80)),
    ("D4", "negotiated path", FAST, BORE, Goal::AtLeast(1.2)),
    ("D4", "negotiated path", FAST, RATHOLE, Goal::AtLeast(1.5)),
];

pub(super) async fn measure(bench: &Bench) -> Result<Vec<Row>> {
    let paths = Paths::start(bench, "transfers").await?;
    let bytes = bench.transfer_bytes();
    let rounds = bench
        .interleaved(&paths.routes()?, DOWN, async |route| {
            let down = transfer(route.address, Direction::Down, bytes, &bench.pattern).await?;
            let up = transfer(route.address, Direction::Up, bytes, &bench.pattern).await?;
            Ok(vec![(DOWN, down), (UP, up)])
        })
        .await?;
    Ok(rows(&rounds))
}

fn rows(rounds: &Rounds) -> Vec<Row> {
    let mut rows = Vec::new();
    for (id, what, ours, peer, goal) in COMPARED {
        for (direction, words) in [(DOWN, "download"), (UP, "upload")] {
            let Some(ratio) = rounds.ratio((ours, direction), (peer, direction)) else {
                rows.push(left_out(id, &format!("{what}, {words}"), peer));
                continue;
            };
            let figure = Measure::new(Unit::Ratio, ratio, rounds.count());
            let row = Row::new(id, format!("{what}, {words}, beside {peer}"), figure, goal)
                .ours(taken(rounds, Unit::MegabytesPerSecond, ours, direction))
                .beside(peer, taken(rounds, Unit::MegabytesPerSecond, peer, direction))
                .void_if(rounds.is_void(), rounds.variation());
            rows.push(row);
        }
    }
    rows.extend(scale(rounds));
    rows
}

/// How R2 itself stands to plain loopback, so that all other rows can be read in bytes.
fn scale(rounds: &Rounds) -> Option<Row> {
    let raw = crate::paths::RAW;
    let ratio = rounds.ratio((R2, DOWN), (raw, DOWN))?;
    let row = Row::new(
        "D4",
        "R2 itself, download, beside raw",
        Measure::new(Unit::Ratio, ratio, rounds.count()),
        Goal::None,
    )
    .ours(taken(rounds, Unit::MegabytesPerSecond, R2, DOWN))
    .beside(raw, taken(rounds, Unit::MegabytesPerSecond, raw, DOWN))
    .void_if(rounds.is_void(), rounds.variation());
    Some(row)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::figure::Verdict;

    #[test]
    fn who_took_no_part_is_said_to_be_left_out() {
        let mut rounds = Rounds::default();
        rounds.raw(2000.0);
        for (path, rate) in [(R2, 1000.0), (RECORDED, 450.0), (FAST, 900.0)] {
            rounds.took(path, DOWN, rate);
            rounds.took(path, UP, rate);
        }
        let verdicts: Vec<_> = rows(&rounds).into_iter().map(|row| (row.id, row.verdict)).collect();
        let missed = Verdict::Missed("by 10 %".to_owned());
        let left_out = |peer| Verdict::NotJudged(format!("{peer} takes part with PEERS=1"));
        let of_d4 = [
            Verdict::Met,
            Verdict::Met,
            left_out(BORE),
            left_out(BORE),
            left_out(RATHOLE),
            left_out(RATHOLE),
        ];
        let expected = [("D3", missed.clone()), ("D3", missed)].into_iter();
        assert_eq!(verdicts, expected.chain(of_d4.map(|verdict| ("D4", verdict))).collect::<Vec<_>>());
    }
}
