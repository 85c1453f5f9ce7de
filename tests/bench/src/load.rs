//! What clients do on a path: transfers, round trips, connections one after the other.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use futures::future::try_join_all;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::service::{HELLO, Pattern, Wish};
use super::statistics::percentile;

/// Bytes that a person at a terminal, or a query, sends at once.
pub(super) const SMALL: usize = 64;

/// Nothing that is measured takes longer; what does is broken.
const TOO_LONG: Duration = Duration::from_secs(60);

/// Connections opened at once where connections per second are counted: a small pool of clients.
const CLIENTS: usize = 4;

/// Which way a transfer goes, as a teammate sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Direction {
    /// From the Service.
    Down,
    /// To the Service.
    Up,
}

/// Round trips of one connection, each in milliseconds.
#[derive(Clone, Debug, Default)]
pub(super) struct RoundTrips {
    pub(super) millis: Vec<f64>,
}

// === impl RoundTrips ===

impl RoundTrips {
    /// What half of them do not exceed.
    pub(super) fn p50(&self) -> f64 {
        percentile(&self.millis, 0.50).unwrap_or(f64::NAN)
    }

    /// What all but one in a hundred do not exceed.
    pub(super) fn p99(&self) -> f64 {
        percentile(&self.millis, 0.99).unwrap_or(f64::NAN)
    }
}

/// MB/s of one transfer in which every byte was right.
pub(super) async fn transfer(
    address: SocketAddr,
    direction: Direction,
    bytes: u64,
    pattern: &Pattern,
) -> Result<f64> {
    let work = async {
        let begun = Instant::now();
        match direction {
            Direction::Down => {
                let mut stream = Wish::Send(bytes).connect(address).await?;
                pattern.receive(&mut stream, bytes).await?;
            }
            Direction::Up => {
                let mut stream = Wish::Receive(bytes).connect(address).await?;
                pattern.send(&mut stream, bytes).await?;
                hello(&mut stream).await?;
            }
        }
        Ok(bytes as f64 / 1e6 / begun.elapsed().as_secs_f64())
    };
    bounded(work).await
}

/// Round trips of some bytes, one after the other on one connection, after a few that do not count.
pub(super) async fn round_trips(address: SocketAddr, count: usize) -> Result<RoundTrips> {
    round_trips_for(address, count, TOO_LONG).await
}

/// As [`round_trips`], and no more of them when so much time has passed: on a path that is crowded each may take long.
pub(super) async fn round_trips_for(
    address: SocketAddr,
    count: usize,
    longest: Duration,
) -> Result<RoundTrips> {
    let warm_up = (count / 10).max(1);
    let begun = Instant::now();
    let work = async {
        let mut stream = Wish::Echo(SMALL as u64).connect(address).await?;
        let mut millis = Vec::with_capacity(count);
        for number in 0..warm_up + count {
            let took = round_trip(&mut stream).await?;
            let is_late = begun.elapsed() >= longest;
            if number >= warm_up || is_late {
                millis.push(took);
            }
            if is_late {
                break;
            }
        }
        Ok(RoundTrips { millis })
    };
    bounded(work).await
}

/// Connections per second, each opened, used for one round trip and closed.
pub(super) async fn connections(address: SocketAddr, count: usize) -> Result<f64> {
    let left = AtomicU64::new(count as u64);
    let client = || async {
        while left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok() {
            let mut stream = Wish::Echo(SMALL as u64).connect(address).await?;
            round_trip(&mut stream).await?;
        }
        anyhow::Ok(())
    };
    let begun = Instant::now();
    bounded(try_join_all((0..CLIENTS).map(|_| client()))).await?;
    Ok(count as f64 / begun.elapsed().as_secs_f64())
}

/// Connections that have asked for this and were answered.
pub(super) async fn open(addresses: &[SocketAddr], count: usize, wish: Wish) -> Result<Vec<TcpStream>> {
    let one = |number: usize| async move {
        let mut stream = wish.connect(addresses[number % addresses.len()]).await?;
        hello(&mut stream).await?;
        anyhow::Ok(stream)
    };
    let mut streams = Vec::with_capacity(count);
    for begin in (0..count).step_by(OPENED_AT_ONCE) {
        let end = count.min(begin + OPENED_AT_ONCE);
        streams.extend(bounded(try_join_all((begin..end).map(one))).await?);
    }
    Ok(streams)
}

/// Connections opened at once where only their number matters: below the backlog of every listener on the way.
const OPENED_AT_ONCE: usize = 64;

/// Downloads that go on until this is dropped, and how many bytes came.
pub(super) struct Bulk {
    tasks: Vec<tokio::task::JoinHandle<()>>,
    received: Arc<AtomicU64>,
}

impl Bulk {
    /// Starts this many and waits until each of them flows.
    pub(super) async fn start(address: SocketAddr, count: usize) -> Result<Self> {
        let received = Arc::<AtomicU64>::default();
        let connect = |_| async {
            let mut stream = Wish::Send(u64::MAX).connect(address).await?;
            hello_or_byte(&mut stream).await?;
            anyhow::Ok(stream)
        };
        let streams = bounded(try_join_all((0..count).map(connect))).await?;
        let read = |mut stream: TcpStream| {
            let received = Arc::clone(&received);
            tokio::spawn(async move {
                let mut buffer = vec![0; super::service::BLOCK / 4];
                while let Ok(length @ 1..) = stream.read(&mut buffer).await {
                    received.fetch_add(length as u64, Ordering::Relaxed);
                    tokio::task::yield_now().await; // whoever measures beside them is in this process
                }
            })
        };
        Ok(Self { tasks: streams.into_iter().map(read).collect(), received })
    }

    /// Bytes that came so far, over all.
    pub(super) fn received(&self) -> u64 {
        self.received.load(Ordering::Relaxed)
    }
}

impl Drop for Bulk {
    fn drop(&mut self) {
        self.tasks.iter().for_each(tokio::task::JoinHandle::abort);
    }
}

/// One round trip on a connection that echoes; milliseconds.
pub(super) async fn round_trip(stream: &mut TcpStream) -> Result<f64> {
    let mut block = [b'-'; SMALL];
    let begun = Instant::now();
    stream.write_all(&block).await.context("cannot send")?;
    stream.read_exact(&mut block).await.context("no echo")?;
    Ok(begun.elapsed().as_secs_f64() * 1e3)
}

/// Waits for the Service's first byte.
pub(super) async fn hello(stream: &mut TcpStream) -> Result<()> {
    let answer = stream.read_u8().await.context("the Service does not answer")?;
    ensure!(answer == HELLO, "the Service answers {answer:#x}");
    Ok(())
}

async fn hello_or_byte(stream: &mut TcpStream) -> Result<()> {
    stream.read_u8().await.context("the Service does not answer").map(drop)
}

async fn bounded<T>(work: impl Future<Output = Result<T>>) -> Result<T> {
    timeout(TOO_LONG, work).await.context("a measurement did not come to its end")?
}
