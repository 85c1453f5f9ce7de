//! D7: what connections cost on which nothing happens.

use anyhow::{Context as _, Result};
use tokio::net::TcpStream;

use crate::Bench;
use crate::figure::{Goal, Measure, Row, Unit};
use crate::load::open;
use crate::machine::{file_limit, resident_kib};
use crate::paths::{Ours, Protocol, Service};
use crate::service::Wish;
use connect_tests::progress::say;

/// Connections of one teammate.
const PER_TEAMMATE: usize = 1000;

/// Open files that one process needs for one connection, on the most demanding path.
const FILES_PER_CONNECTION: u64 = 2;

/// Open files that a process has besides.
const OTHER_FILES: u64 = 512;

/// Opened between two looks at whether it still works.
const STEP: usize = 500;

/// KiB for one connection in any one process.
const CONNECTION_KIB: f64 = 8.0;

/// MiB for ten thousand.
const TEN_THOUSAND_MIB: f64 = 100.0;

pub(super) async fn measure(bench: &Bench) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for (protocol, words) in
        [(Protocol::Negotiated, "negotiated path"), (Protocol::Recorded, "recorded protocol")]
    {
        let most = usize::try_from(file_limit().saturating_sub(OTHER_FILES) / FILES_PER_CONNECTION)?;
        let wanted = bench.plan.scale.min(most);
        let service = Service::start(&bench.logs("idle")?).await?;
        let (mut ours, codes) = Ours::start(protocol, 1, service.address()).await?;
        let code = codes.first().context("a code")?;
        for _ in 0..wanted.div_ceil(PER_TEAMMATE) {
            ours.join(code, 1).await?;
        }
        // What is needed once, such as buffers of the allocator, is not what a connection costs.
        drop(open(&ours.routes(), 1, Wish::Idle).await?);
        let before = resident(&ours)?;
        let streams = as_many(&ours, wanted).await;
        let after = resident(&ours)?;
        let count = streams.len();
        drop(streams);

        let more = after
            .into_iter()
            .zip(before)
            .map(|((role, after), (_, before))| (role, (after - before).max(0.0)));
        let more: Vec<(&str, f64)> = more.collect();
        let what = |what: &str| format!("{words}, {count} idle connections, {what}");
        for (role, kib) in &more {
            let each = Measure::once(Unit::Kibibytes, kib / count.max(1) as f64);
            rows.push(Row::new("D7", what(&format!("{role}, each")), each, Goal::AtMost(CONNECTION_KIB)));
        }
        let all = Measure::once(Unit::Mebibytes, more.iter().map(|(_, kib)| kib).sum::<f64>() / 1024.0);
        let share = TEN_THOUSAND_MIB * count as f64 / 10_000.0;
        rows.push(Row::new("D7", what("all processes"), all, Goal::AtMost(share)));
    }
    Ok(rows)
}

/// As many connections as open, up to this many.
async fn as_many(ours: &Ours, wanted: usize) -> Vec<TcpStream> {
    let routes = ours.routes();
    let mut streams = Vec::with_capacity(wanted);
    while streams.len() < wanted {
        match open(&routes, STEP.min(wanted - streams.len()), Wish::Idle).await {
            Ok(more) => streams.extend(more),
            Err(error) => {
                say(format_args!("  no more than {} connections: {error:#}", streams.len()));
                break;
            }
        }
    }
    streams
}

/// KiB of our processes, by what they do.
fn resident(ours: &Ours) -> Result<[(&'static str, f64); 3]> {
    let kib = |pid| resident_kib(pid).context("this system does not tell how much memory a process has");
    let joiners: f64 = ours.joins.iter().map(|joined| kib(joined.process.id())).sum::<Result<f64>>()?;
    Ok([("joiner", joiners), ("hub", kib(ours.hub.id())?), ("exposer", kib(ours.exposer.process.id())?)])
}
