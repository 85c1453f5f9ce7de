//! `make bench`: how fast, how exact and how frugal we are, beside others that were measured in the same minute.
//!
//! Every path runs as the processes it has for users, over loopback. Only figures of one round are compared with each other;
//! a run in which loopback itself varied too much is repeated a few times and else said to be void.
//!
//! ```text
//! bench      the order of the run: groups of rows, deadlines, tables at the end
//! statistics, figure             what measurements say together; a row, its goal and its verdict
//! service, roles, paths, load    what is measured: the Service, processes, ways to it, and what clients do
//! data_path, expiry, command_line  the rows
//! table, files                   text and JSON
//! ```

mod command_line;
mod data_path;
mod expiry;
mod figure;
mod files;
mod load;
mod machine;
mod paths;
mod peers;
mod roles;
mod service;
mod statistics;
mod table;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use connect_tests::progress::{human, say};
use connect_tests::scratch::Scratch;
use connect_tests::toolchain::product;
use tokio::time::timeout;

use self::figure::{Row, Table};
use self::paths::Route;
use self::service::Pattern;
use self::statistics::Rounds;

pub use self::files::PAIRS;
pub use self::roles::Role;

/// No run takes longer, builds not counted; groups that would begin later are left out and said to be.
const LONGEST_RUN: Duration = Duration::from_secs(14 * 60);

/// No group of rows takes longer.
const LONGEST_GROUP: Duration = Duration::from_secs(200);

/// What comes out void is measured again only if both together take no longer: on a machine that is never calm, one long
/// group must not use up the time of all others.
const LONGEST_REPEATED: Duration = Duration::from_secs(75);

/// With less time than this left, a group is not begun.
const SHORTEST_GROUP: Duration = Duration::from_secs(20);

/// How often a group is measured that comes out void.
const ATTEMPTS: usize = 3;

/// Characters of the reason why a row could not be measured.
const LONGEST_REASON: usize = 100;

/// What was asked for on the command line.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Rows to measure, such as `D4`; all when empty.
    pub only: Vec<String>,
    /// Rounds of every comparison.
    pub pairs: usize,
    /// KiB of every transfer.
    pub kib: u64,
    /// Compare with other tunnels too, which are installed when they are missing.
    pub peers: bool,
    /// Connections and shares where it is their number that counts.
    pub scale: usize,
    /// Where results are written.
    pub out: PathBuf,
}

/// What every group of rows works with.
struct Bench {
    plan: Plan,
    pattern: Pattern,
    scratch: Scratch,
    begun: Instant,
}

/// Rows that are measured together.
struct Group {
    rows: &'static [&'static str],
    what: &'static str,
}

/// Measures, prints the tables and writes the files.
///
/// # Errors
/// The plan names no row, a part cannot be built, or a group of rows could not be measured at all.
pub async fn run(plan: Plan) -> Result<()> {
    let groups: Vec<&Group> =
        data_path::GROUPS.iter().chain(expiry::GROUPS).chain(command_line::GROUPS).collect();
    for wanted in &plan.only {
        let known = groups.iter().any(|group| group.rows.iter().any(|row| row.eq_ignore_ascii_case(wanted)));
        if !known {
            bail!("there is no row {wanted}: rows are {}", rows(&groups).join(", "));
        }
    }
    product().await?;
    if plan.peers {
        peers::install().await;
    }
    machine::raise_file_limit();
    tokio::select! {
        outcome = perform(plan) => outcome,
        pressed = tokio::signal::ctrl_c() => {
            pressed.context("cannot listen for Ctrl+C")?;
            bail!("stopped by Ctrl+C");
        }
    }
}

async fn perform(plan: Plan) -> Result<()> {
    let out = plan.out.clone();
    let scratch = Scratch::new("bench")?;
    let bench = Bench { plan, pattern: Pattern::new(), scratch, begun: Instant::now() };
    let data_path = Table {
        name: "data-path",
        title: "Data path",
        rows: bench.measure(data_path::GROUPS, async |group| data_path::measure(&bench, group).await).await,
    };
    let expiry = Table {
        name: "expiry",
        title: "Expiry",
        rows: bench.measure(expiry::GROUPS, async |group| expiry::measure(&bench, group).await).await,
    };
    let command_line = Table {
        name: "command-line",
        title: "Command line",
        rows: bench.measure(command_line::GROUPS, async |_| command_line::measure(&bench).await).await,
    };
    let tables: Vec<Table> =
        [data_path, expiry, command_line].into_iter().filter(|table| !table.rows.is_empty()).collect();
    let report = files::Report::new(&bench.plan, bench.begun.elapsed(), tables);
    report.print();
    report.write(&out)?;
    let failed = report.not_measured();
    if failed > 0 {
        bail!("{failed} row(s) could not be measured; the tables say why");
    }
    Ok(())
}

// === impl Bench ===

impl Bench {
    /// The rows of all groups that were asked for.
    async fn measure(
        &self,
        groups: &'static [Group],
        rows_of: impl AsyncFn(&'static Group) -> Result<Vec<Row>>,
    ) -> Vec<Row> {
        let mut rows = Vec::new();
        for group in groups.iter().filter(|group| self.wants(group)) {
            let missing = |why: &str| -> Vec<Row> {
                group.rows.iter().map(|&row| Row::missing(row, group.what, why)).collect()
            };
            let longest = LONGEST_GROUP.min(LONGEST_RUN.saturating_sub(self.begun.elapsed()));
            if longest < SHORTEST_GROUP {
                rows.extend(missing("time was up"));
                continue;
            }
            let begun = Instant::now();
            say(format_args!("{}: {} ...", group.rows.join(", "), group.what));
            let measured = match timeout(longest, rows_of(group)).await {
                Ok(Ok(measured)) => measured,
                Ok(Err(error)) => {
                    say(format_args!("  not measured: {error:#}"));
                    missing(&first_line(&error))
                }
                Err(_) => missing(&format!("not within {}", human(longest))),
            };
            for row in &measured {
                say(format_args!("  {}", table::line(row)));
            }
            say(format_args!("  done in {}", human(begun.elapsed())));
            rows.extend(measured);
        }
        rows
    }

    fn wants(&self, group: &Group) -> bool {
        let only = &self.plan.only;
        only.is_empty() || group.rows.iter().any(|row| only.iter().any(|it| it.eq_ignore_ascii_case(row)))
    }

    /// A folder for the logs of one group.
    fn logs(&self, group: &str) -> Result<PathBuf> {
        self.scratch.folder(group)
    }

    /// Bytes of every transfer.
    fn transfer_bytes(&self) -> u64 {
        self.plan.kib * 1024
    }

    /// Measures all routes once per round, every other round in reverse, so that no route always comes first. The first of
    /// them is plain loopback, and `raw` names its quantity by which the run is judged. A run that is void is repeated.
    async fn interleaved(
        &self,
        routes: &[Route],
        raw: &'static str,
        measure: impl AsyncFn(Route) -> Result<Vec<(&'static str, f64)>>,
    ) -> Result<Rounds> {
        let mut steadiest: Option<Rounds> = None;
        let first = Instant::now();
        for _ in 0..ATTEMPTS {
            let begun = Instant::now();
            let rounds = self.one_run(routes, raw, &measure).await?;
            if steadiest.as_ref().is_none_or(|best| rounds.variation() < best.variation()) {
                steadiest = Some(rounds);
            }
            if steadiest.as_ref().is_some_and(|best| !best.is_void()) {
                break;
            }
            if first.elapsed() + begun.elapsed() > LONGEST_REPEATED {
                break;
            }
            say("  void: loopback itself varied too much; once more");
        }
        steadiest.context("at least one run")
    }

    async fn one_run(
        &self,
        routes: &[Route],
        raw: &'static str,
        measure: &impl AsyncFn(Route) -> Result<Vec<(&'static str, f64)>>,
    ) -> Result<Rounds> {
        let mut rounds = Rounds::default();
        for round in 0..self.plan.pairs {
            let mut order: Vec<Route> = routes.to_vec();
            if round % 2 == 1 {
                order.reverse();
            }
            for route in order {
                let figures = measure(route).await.with_context(|| format!("on the path {}", route.name))?;
                for (what, value) in figures {
                    if route.name == paths::RAW && what == raw {
                        rounds.raw(value);
                    }
                    rounds.took(route.name, what, value);
                }
            }
        }
        Ok(rounds)
    }
}

/// The beginning of an error, which may hold the end of a log: a table has lines.
fn first_line(error: &anyhow::Error) -> String {
    format!("{error:#}").lines().next().unwrap_or_default().chars().take(LONGEST_REASON).collect()
}

fn rows<'a>(groups: &[&'a Group]) -> Vec<&'a str> {
    groups.iter().flat_map(|group| group.rows.iter().copied()).collect()
}

/// Where results go unless another folder is named: beside what cargo builds.
pub fn default_folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap_or(Path::new(".")).join("target/bench")
}
