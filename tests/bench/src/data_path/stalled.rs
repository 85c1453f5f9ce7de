//! D1 and D2: what readers that have stopped do to others, and what they cost.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context as _, Result};
use futures::future::join_all;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::{Instant, sleep, timeout};

use super::taken;
use crate::Bench;
use crate::figure::{Goal, Measure, Row, Unit};
use crate::load::{SMALL, open, round_trip, round_trips};
use crate::machine::{resident_kib, ticks};
use crate::paths::{FAST, Ours, Protocol, RECORDED, Route, Service};
use crate::service::{BLOCK, Wish};

/// Round trips in each situation.
const ROUND_TRIPS: usize = 1000;

/// Round trips that are not over by then count as blocked for this long.
const BLOCKED: Duration = Duration::from_secs(8);

/// So many readers that stop, and what round trips beside them are called.
struct Readers {
    count: usize,
    stopping: &'static str,
    stopped: &'static str,
}

const STALLED: &[Readers] = &[
    Readers { count: 1, stopping: "stopping-1", stopped: "stopped-1" },
    Readers { count: 10, stopping: "stopping-10", stopped: "stopped-10" },
    Readers { count: 100, stopping: "stopping-100", stopped: "stopped-100" },
];

/// Without any.
const ALONE: &str = "alone";

/// How long queues and buffers may fill before it counts in any case.
const FILLING: Duration = Duration::from_secs(15);

/// Our processes have come to rest when they computed hardly anything for so long.
const QUIET: Duration = Duration::from_millis(500);

/// Hardly anything, between two looks: heartbeats and a round trip.
const IDLE_TICKS: u64 = 2;

/// A reader that has stopped leaves the kernel this much to fill, so that it is stopped soon.
const RECEIVE_BUFFER: u32 = 64 * 1024;

/// Readers that have stopped where memory counts.
const READERS: usize = 100;

/// How long memory is watched for its highest, and how often it is looked at.
const WATCHED: Duration = Duration::from_secs(3);
const LOOK: Duration = Duration::from_millis(50);

/// A connection that has taken nothing for this long takes nothing more for now.
const FULL: Duration = Duration::from_millis(300);

/// What one connection is given at most, where the Service does not read.
const POURED: usize = 32 * 1024 * 1024;

/// KiB per stalled reader where there is flow control.
const READER_KIB: f64 = 256.0;

/// MiB that a process takes more for all connections of one agent.
const AGENT_MIB: f64 = 64.0;

/// Round trips beside readers that come to a stop, and beside them when they have stopped.
struct Beside {
    /// The slowest while queues and buffers filled, in milliseconds.
    stopping: f64,
    /// The 99th percentile afterwards, in milliseconds.
    stopped: f64,
}

async fn round_trips_beside(ours: &Ours, readers: usize) -> Result<Beside> {
    let address = ours.address()?;
    let mut neighbour = Wish::Echo(SMALL as u64).connect(address).await?;
    round_trip(&mut neighbour).await?;
    let _stalled = stall(address, readers).await?;
    let stopping = {
        let trips = async {
            let mut slowest: f64 = 0.0;
            let begun = Instant::now();
            let mut quiet = Quiet::default();
            while begun.elapsed() < FILLING && !quiet.is_lasting(ours)? {
                slowest = slowest.max(round_trip(&mut neighbour).await?);
                sleep(LOOK).await;
            }
            anyhow::Ok(slowest)
        };
        timeout(FILLING + BLOCKED, trips).await.unwrap_or(Ok(millis(FILLING + BLOCKED)))?
    };
    let stopped = match timeout(BLOCKED, round_trips(address, ROUND_TRIPS)).await {
        Ok(taken) => taken?.p99(),
        Err(_) => millis(BLOCKED),
    };
    Ok(Beside { stopping, stopped })
}

fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

/// Whether our processes have had nothing to do for a while.
#[derive(Default)]
struct Quiet {
    ticks: u64,
    since: Option<Instant>,
}

impl Quiet {
    /// Looks; the round trips between two looks cost less than [`IDLE_TICKS`].
    fn is_lasting(&mut self, ours: &Ours) -> Result<bool> {
        let processes = [ours.hub.id(), ours.exposer.process.id(), ours.first()?.process.id()];
        let ticks: Option<u64> = processes.into_iter().map(ticks).sum();
        let ticks = ticks.context("this system does not tell how much a process computes")?;
        let since = *self.since.get_or_insert_with(Instant::now);
        if ticks - self.ticks > IDLE_TICKS {
            (self.ticks, self.since) = (ticks, Some(Instant::now()));
            return Ok(false);
        }
        Ok(since.elapsed() >= QUIET)
    }
}

/// D1.
pub(super) async fn round_trips_rows(bench: &Bench) -> Result<Vec<Row>> {
    let service = Service::start(&bench.logs("stalled")?).await?;
    let ours = Ours::joined(Protocol::Negotiated, 1, service.address()).await?;
    let recorded = Ours::joined(Protocol::Recorded, 1, service.address()).await?;
    let routes = [
        service.route(),
        Route { name: FAST, address: ours.address()? },
        Route { name: RECORDED, address: recorded.address()? },
    ];
    let rounds = bench
        .interleaved(&routes, ALONE, async |route| {
            let alone = round_trips(route.address, ROUND_TRIPS).await?;
            let ours = match route.name {
                FAST => &ours,
                RECORDED => &recorded,
                // The 99th percentile of loopback varies by itself; its middle tells whether the machine was busy.
                _ => return Ok(vec![(ALONE, alone.p50())]),
            };
            let mut figures = vec![(ALONE, alone.p99())];
            for Readers { count, stopping, stopped } in STALLED {
                let beside = round_trips_beside(ours, *count).await?;
                figures.extend([(*stopping, beside.stopping), (*stopped, beside.stopped)]);
            }
            Ok(figures)
        })
        .await?;
    let mut rows = Vec::new();
    for (path, words) in [(FAST, "negotiated path"), (RECORDED, "recorded protocol")] {
        for Readers { count, stopping, stopped } in STALLED {
            let Some(ratio) = rounds.ratio((path, stopped), (path, ALONE)) else { continue };
            let what = format!("{words}, p99 beside {count} stalled reader(s) / without");
            let row =
                Row::new("D1", what, Measure::new(Unit::Ratio, ratio, rounds.count()), Goal::AtMost(1.5))
                    .ours(taken(&rounds, Unit::Milliseconds, path, stopped))
                    .beside(ALONE, taken(&rounds, Unit::Milliseconds, path, ALONE))
                    .void_if(rounds.is_void(), rounds.variation());
            rows.push(row);
            let Some(slowest) = taken(&rounds, Unit::Milliseconds, path, stopping) else { continue };
            let what = format!("{words}, slowest while {count} reader(s) come to a stop");
            rows.push(
                Row::new("D1", what, slowest, Goal::None).void_if(rounds.is_void(), rounds.variation()),
            );
        }
    }
    Ok(rows)
}

/// D2.
pub(super) async fn memory_rows(bench: &Bench) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for (protocol, words) in
        [(Protocol::Negotiated, "negotiated path"), (Protocol::Recorded, "recorded protocol")]
    {
        let service = Service::start(&bench.logs("stalled-memory")?).await?;
        let ours = Ours::joined(protocol, 1, service.address()).await?;
        let address = ours.address()?;

        let before = memory(&ours)?;
        let teammates = stall(address, READERS).await?;
        let reading = highest(&ours).await?.more_than(before);
        drop(teammates);
        let services = pour(address, READERS).await?;
        let writing = highest(&ours).await?.more_than(before);
        drop(services);

        for (what, more) in [("teammate", reading), ("Service", writing)] {
            rows.push(row(protocol, words, what, more));
        }
    }
    Ok(rows)
}

fn row(protocol: Protocol, words: &str, who: &str, more: Memory) -> Row {
    let what = format!("{words}, {READERS} {who}s that do not read");
    match protocol {
        Protocol::Negotiated => {
            let figure = Measure::once(Unit::Kibibytes, more.most() / READERS as f64);
            Row::new("D2", format!("{what}, worst process, each"), figure, Goal::AtMost(READER_KIB))
        }
        Protocol::Recorded => {
            let figure = Measure::once(Unit::Mebibytes, more.exposer.max(more.joiner) / 1024.0);
            Row::new("D2", format!("{what}, worst agent"), figure, Goal::AtMost(AGENT_MIB))
        }
    }
}

/// KiB of our three processes.
#[derive(Clone, Copy, Debug, Default)]
struct Memory {
    hub: f64,
    exposer: f64,
    joiner: f64,
}

impl Memory {
    fn more_than(self, before: Self) -> Self {
        let more = |now: f64, before: f64| (now - before).max(0.0);
        Self {
            hub: more(self.hub, before.hub),
            exposer: more(self.exposer, before.exposer),
            joiner: more(self.joiner, before.joiner),
        }
    }

    fn highest(self, other: Self) -> Self {
        Self {
            hub: self.hub.max(other.hub),
            exposer: self.exposer.max(other.exposer),
            joiner: self.joiner.max(other.joiner),
        }
    }

    fn most(self) -> f64 {
        self.hub.max(self.exposer).max(self.joiner)
    }
}

fn memory(ours: &Ours) -> Result<Memory> {
    let kib = |pid| resident_kib(pid).context("this system does not tell how much memory a process has");
    Ok(Memory {
        hub: kib(ours.hub.id())?,
        exposer: kib(ours.exposer.process.id())?,
        joiner: kib(ours.first()?.process.id())?,
    })
}

/// The most that each process held over a while.
async fn highest(ours: &Ours) -> Result<Memory> {
    let mut highest = Memory::default();
    for _ in 0..WATCHED.as_millis() / LOOK.as_millis() {
        highest = highest.highest(memory(ours)?);
        sleep(LOOK).await;
    }
    Ok(highest)
}

/// Connections over which the Service sends without end, and nobody reads.
async fn stall(address: SocketAddr, count: usize) -> Result<Vec<TcpStream>> {
    let mut streams = Vec::with_capacity(count);
    for _ in 0..count {
        let socket = TcpSocket::new_v4().context("no socket")?;
        socket.set_recv_buffer_size(RECEIVE_BUFFER).context("a socket without options")?;
        let mut stream = socket.connect(address).await.context("cannot connect")?;
        Wish::Send(u64::MAX).say(&mut stream).await?;
        streams.push(stream);
    }
    Ok(streams)
}

/// Connections to a Service that does not read, given as much as they take.
async fn pour(address: SocketAddr, count: usize) -> Result<Vec<TcpStream>> {
    let mut streams = open(&[address], count, Wish::Stall).await?;
    let block = vec![0; BLOCK];
    let fill = async |stream: &mut TcpStream| {
        for _ in 0..POURED / block.len() {
            // A connection that is reset takes no more either.
            let Ok(Ok(())) = timeout(FULL, stream.write_all(&block)).await else { return };
        }
    };
    join_all(streams.iter_mut().map(fill)).await;
    Ok(streams)
}
