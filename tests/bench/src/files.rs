//! The report of a run: printed as tables and written as JSON.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result};
use jiff::Timestamp;
use serde::Serialize;

use super::Plan;
use super::figure::{Table, Verdict};
use super::machine::Machine;
use super::table;
use connect_tests::progress::{human, say};

/// Counts up when the JSON changes in a way that readers notice.
const FORMAT: u32 = 1;

/// Rounds after which a median is held against a goal.
pub const PAIRS: usize = 7;

/// Everything that a run found.
#[derive(Serialize)]
pub(super) struct Report {
    format: u32,
    at: Timestamp,
    took_seconds: f64,
    profile: &'static str,
    pairs: usize,
    transfer_bytes: u64,
    machine: Machine,
    tables: Vec<Table>,
}

/// How the rows came out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Score {
    met: usize,
    missed: usize,
    void: usize,
    not_measured: usize,
}

// === impl Report ===

impl Report {
    pub(super) fn new(plan: &Plan, took: Duration, tables: Vec<Table>) -> Self {
        Self {
            format: FORMAT,
            at: Timestamp::now(),
            took_seconds: took.as_secs_f64(),
            profile: if cfg!(debug_assertions) { "debug" } else { "release" },
            pairs: plan.pairs,
            transfer_bytes: plan.kib * 1024,
            machine: Machine::this(),
            tables,
        }
    }

    /// Prints all tables to stdout, and how they came out.
    pub(super) fn print(&self) {
        let Self { took_seconds, profile, pairs, machine, tables, .. } = self;
        println!("\n{}; {profile} build; {pairs} pairs", machine.show());
        println!("raw: plain loopback. R2: two plain TCP relays, the ceiling of every path of two hops.");
        for table in tables {
            println!("\n{}", table::draw(table));
        }
        if *pairs < PAIRS {
            println!("{pairs} pairs are for a look: goals are for the median of {PAIRS}.");
        }
        let Score { met, missed, void, not_measured } = self.score();
        println!(
            "{met} met, {missed} missed, {void} void, {not_measured} not measured; {}",
            human(Duration::from_secs_f64(*took_seconds))
        );
    }

    /// Writes `bench.json`.
    pub(super) fn write(&self, folder: &Path) -> Result<()> {
        fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
        let json = serde_json::to_string_pretty(self).context("a report is JSON")? + "\n";
        let path = folder.join("bench.json");
        fs::write(&path, json).with_context(|| format!("cannot write {}", path.display()))?;
        say(format_args!("Written: {}", path.display()));
        Ok(())
    }

    /// How many rows have no figure.
    pub(super) fn not_measured(&self) -> usize {
        self.score().not_measured
    }

    fn score(&self) -> Score {
        let mut score = Score::default();
        for row in self.tables.iter().flat_map(|table| &table.rows) {
            match row.verdict {
                Verdict::Met => score.met += 1,
                Verdict::Missed(_) => score.missed += 1,
                Verdict::Void(_) => score.void += 1,
                Verdict::NotMeasured(_) => score.not_measured += 1,
                Verdict::Information | Verdict::NotJudged(_) => {}
            }
        }
        score
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::figure::{Goal, Measure, Row, Unit};
    use connect_tests::scratch::Scratch;

    fn report() -> Report {
        let plan =
            Plan { only: Vec::new(), pairs: 7, kib: 4, peers: false, scale: 10, out: Path::new("").into() };
        let rows = vec![
            Row::new("D4", "download", Measure::once(Unit::Ratio, 0.9), Goal::AtLeast(0.8))
                .beside("R2", Some(Measure::once(Unit::MegabytesPerSecond, 700.0))),
            Row::new("D5", "p99", Measure::once(Unit::Ratio, 3.0), Goal::AtMost(2.0)),
            Row::missing("D7", "idle", "time was up"),
        ];
        Report::new(
            &plan,
            Duration::from_secs(61),
            vec![Table { name: "data-path", title: "Data path", rows }],
        )
    }

    #[test]
    fn the_json_has_a_stable_shape() {
        let json = serde_json::to_value(report()).expect("it is JSON");
        assert_eq!(
            (&json["format"], &json["pairs"], &json["transfer_bytes"]),
            (&1.into(), &7.into(), &4096.into())
        );
        let rows = &json["tables"][0]["rows"];
        assert_eq!(rows[0]["id"], "D4");
        assert_eq!(rows[0]["verdict"], "met");
        assert_eq!(rows[0]["figure"]["unit"], "ratio");
        assert_eq!(rows[0]["goal"]["at-least"], 0.8);
        assert_eq!(rows[0]["peer"]["name"], "R2");
        assert_eq!(rows[0]["peer"]["unit"], "megabytes-per-second");
        assert_eq!((&rows[1]["verdict"], &rows[1]["why"]), (&"missed".into(), &"by 50 %".into()));
        assert_eq!(
            (&rows[2]["verdict"], &rows[2]["figure"]),
            (&"not-measured".into(), &serde_json::Value::Null)
        );
    }

    #[test]
    fn a_report_is_written_and_scored() {
        let scratch = Scratch::new("report").expect("a folder");
        let report = report();
        report.write(scratch.path()).expect("written");
        assert!(scratch.path().join("bench.json").is_file());
        assert_eq!(report.score(), Score { met: 1, missed: 1, void: 0, not_measured: 1 });
    }
}
