//! Tables as text: one row in one line, columns as wide as they need to be.

use super::figure::{Row, Table};

/// Heads of the columns.
const HEADS: [&str; 7] = ["", "what", "ours", "beside", "figure: median (range)", "goal", "verdict"];

/// Between two columns.
const GAP: &str = "  ";

/// All rows under a title.
pub(super) fn draw(table: &Table) -> String {
    let rows: Vec<[String; 7]> = table.rows.iter().map(cells).collect();
    let width = |column: usize| {
        let cells = rows.iter().map(|row| row[column].chars().count());
        cells.chain([HEADS[column].len()]).max().unwrap_or_default()
    };
    let widths: Vec<usize> = (0..HEADS.len()).map(width).collect();
    let drawn = |cells: Vec<&str>| {
        let padded = cells.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
        padded.collect::<Vec<_>>().join(GAP).trim_end().to_owned()
    };
    let rule: usize = widths.iter().sum::<usize>() + GAP.len() * (widths.len() - 1);
    let mut lines = vec![table.title.to_owned(), drawn(HEADS.to_vec()), "-".repeat(rule)];
    lines.extend(rows.iter().map(|row| drawn(row.iter().map(String::as_str).collect())));
    lines.join("\n") + "\n"
}

/// One row by itself.
pub(super) fn line(row: &Row) -> String {
    let [id, what, _, beside, figure, goal, verdict] = cells(row);
    format!("{id} {what}: {figure}, beside {beside}, goal {goal}: {verdict}")
}

fn cells(row: &Row) -> [String; 7] {
    let Row { id, what, ours, peer, figure, goal, verdict } = row;
    let dash = || "-".to_owned();
    [
        (*id).to_owned(),
        what.clone(),
        ours.map_or_else(dash, |ours| ours.unit.show(ours.median)),
        peer.as_ref().map_or_else(dash, |peer| {
            format!("{} {}", peer.name, peer.measure.unit.show(peer.measure.median))
        }),
        figure.map_or_else(dash, |figure| figure.show()),
        figure.map_or_else(dash, |figure| goal.show(figure.unit)),
        verdict.show(),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::figure::{Goal, Measure, Unit};
    use crate::statistics::Spread;

    #[test]
    fn a_table_reads_well() {
        let figure = Measure::new(Unit::Ratio, Spread { median: 0.831, min: 0.79, max: 0.9 }, 7);
        let met = Row::new("D4", "download", figure, Goal::AtLeast(0.8))
            .ours(Some(Measure::once(Unit::MegabytesPerSecond, 654.0)))
            .beside("R2", Some(Measure::once(Unit::MegabytesPerSecond, 787.0)));
        let missed =
            Row::new("D9", "silent hub", Measure::once(Unit::Milliseconds, 15_000.0), Goal::AtMost(10_000.0));
        let missing = Row::missing("D7", "idle connections", "time was up");
        let table = Table { name: "data-path", title: "Data path", rows: vec![met, missed, missing] };
        let expected = "\
Data path
    what              ours      beside       figure: median (range)  goal         verdict
-----------------------------------------------------------------------------------------------------------
D4  download          654 MB/s  R2 787 MB/s  0.83x (0.79-0.90)       >= 0.80x     met
D9  silent hub        -         -            15000 ms                <= 10000 ms  MISSED by 50 %
D7  idle connections  -         -            -                       -            not measured: time was up
";
        assert_eq!(draw(&table), expected);
    }
}
