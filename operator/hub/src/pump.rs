//! Moves the bytes of one connection between a TCP stream and the hub, both ways at once, until both are done.
//!
//! Guarantees: bytes arrive whole and in order, or the TCP stream is reset. An end is passed on only after the bytes
//! before it. A stream that is dropped without an orderly end is reset, so that nobody takes a part for the whole.
//!
//! Outward, a connection first waits until it has something to read, then for its turn in the shared queue, and only
//! then reads one chunk. So a connection holds no buffer while it waits, turns are fair, and a slow hub pushes TCP back.

mod lane;

use std::cell::RefCell;
use std::fmt;
use std::io;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use self::lane::MAX_CHUNK_BYTES;
pub(crate) use self::lane::{AtEnd, EXPOSER, JOINER, Lane};
use crate::tunnel::budget::{InboxRx, Item};
use crate::tunnel::stats::count;

/// After the hub closed a connection, how long the stream may take to read its last bytes and close in turn.
const LINGER: Duration = Duration::from_secs(2);

/// How a connection went.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// Both directions ended in order.
    Done,
    /// The TCP stream broke.
    Broken(io::Error),
    /// The route may no longer be used.
    Forbidden,
    /// It was given up because it did not take its bytes.
    GivenUp,
    /// The hub is gone.
    HubGone,
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Done => f.write_str("done"),
            Self::Broken(error) => write!(f, "broken: {error}"),
            Self::Forbidden => f.write_str("no longer allowed"),
            Self::GivenUp => f.write_str("given up, bytes were not taken"),
            Self::HubGone => f.write_str("the hub is gone"),
        }
    }
}

/// What the pump asks before every chunk, and what stops frames that are already queued.
pub(crate) trait Permission: Sync {
    /// Whether one more byte may pass now.
    fn holds(&self) -> bool;
    /// Cancelled when nothing may pass any more.
    fn token(&self) -> &CancellationToken;
}

/// Where bytes are counted.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Meter<'a> {
    pub(crate) from_hub: &'a AtomicU64,
    pub(crate) to_hub: &'a AtomicU64,
}

/// Why the direction towards the hub ended.
enum Outward {
    Eof,
    Broken(io::Error),
    Forbidden,
    HubGone,
}

/// Why the direction from the hub ended.
enum Inward {
    Fin,
    Closed,
    Broken(io::Error),
    Forbidden,
}

thread_local! {
    /// One read buffer per thread, used between two awaits: idle connections hold none.
    static CHUNK: RefCell<Vec<u8>> = RefCell::new(vec![0; MAX_CHUNK_BYTES]);
}

/// Makes a stream that is dropped before its orderly end reset the connection.
pub(crate) fn reset_on_drop(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    stream.set_zero_linger()
}

/// Pumps until both directions ended, one broke, or `permission` ran out. `detach` is dropped when nothing more can
/// come from the hub, which ends the inbox once it is empty.
pub(crate) async fn run<P: Permission, D>(
    mut stream: TcpStream,
    mut inbox: InboxRx,
    lane: &Lane,
    permission: &P,
    meter: Meter<'_>,
    detach: D,
) -> Outcome {
    let given_up = inbox.given_up();
    let both = both_ways(&mut stream, &mut inbox, lane, permission, meter, detach);
    let outcome = tokio::select! {
        biased;
        () = permission.token().cancelled() => Outcome::Forbidden,
        () = given_up.cancelled() => Outcome::GivenUp,
        outcome = both => outcome,
    };
    if matches!(outcome, Outcome::Done) {
        linger(stream).await;
    }
    outcome
}

async fn both_ways<P: Permission, D>(
    stream: &mut TcpStream,
    inbox: &mut InboxRx,
    lane: &Lane,
    permission: &P,
    meter: Meter<'_>,
    detach: D,
) -> Outcome {
    let (read, write) = stream.split();
    let activity = AtomicU64::new(0);
    let mut outward = std::pin::pin!(outward(&read, lane, permission, meter));
    let mut inward = std::pin::pin!(inward(write, inbox, permission, meter, &activity));
    tokio::select! {
        biased;
        end = &mut inward => match end {
            Inward::Closed => Outcome::Done,
            Inward::Broken(error) => told(lane, Outcome::Broken(error)).await,
            Inward::Forbidden => Outcome::Forbidden,
            Inward::Fin => match outward.await {
                Outward::Eof => last_words(lane).await,
                other => failed(lane, other).await,
            },
        },
        end = &mut outward => match end {
            Outward::Eof => rest(lane, inward, &activity, detach).await,
            other => failed(lane, other).await,
        },
    }
}

/// The TCP stream has no more bytes; deliver what still comes the other way.
async fn rest<D>(
    lane: &Lane,
    mut inward: std::pin::Pin<&mut impl Future<Output = Inward>>,
    activity: &AtomicU64,
    detach: D,
) -> Outcome {
    match lane.at_end {
        AtEnd::Finish => {
            if lane.finish().await.is_err() {
                return Outcome::HubGone;
            }
            ended(lane, inward.await).await
        }
        AtEnd::Close => {
            if lane.close().await.is_err() {
                return Outcome::HubGone;
            }
            drop(detach);
            let _ = timeout(LINGER, inward).await; // what was already here; the hub sends nothing after a close
            Outcome::Done
        }
        AtEnd::CloseAfter(grace) => loop {
            let before = activity.load(std::sync::atomic::Ordering::Relaxed);
            if let Ok(end) = timeout(grace, inward.as_mut()).await {
                return ended(lane, end).await;
            }
            if activity.load(std::sync::atomic::Ordering::Relaxed) == before {
                return last_close(lane).await;
            }
        },
    }
}

async fn ended(lane: &Lane, end: Inward) -> Outcome {
    match end {
        Inward::Fin | Inward::Closed => Outcome::Done,
        Inward::Broken(error) => told(lane, Outcome::Broken(error)).await,
        Inward::Forbidden => Outcome::Forbidden,
    }
}

/// Our own end, when the peer's came first: with half-close both are said, otherwise a close says both.
async fn last_words(lane: &Lane) -> Outcome {
    match lane.at_end {
        AtEnd::Finish => lane.finish().await.map_or(Outcome::HubGone, |()| Outcome::Done),
        AtEnd::Close | AtEnd::CloseAfter(_) => last_close(lane).await,
    }
}

async fn last_close(lane: &Lane) -> Outcome {
    lane.close().await.map_or(Outcome::HubGone, |()| Outcome::Done)
}

async fn failed(lane: &Lane, end: Outward) -> Outcome {
    match end {
        Outward::Broken(error) => told(lane, Outcome::Broken(error)).await,
        Outward::Forbidden => Outcome::Forbidden,
        Outward::Eof | Outward::HubGone => Outcome::HubGone,
    }
}

async fn told(lane: &Lane, outcome: Outcome) -> Outcome {
    let _ = lane.close().await; // a hub that is gone knows
    outcome
}

async fn outward<P: Permission>(
    read: &ReadHalf<'_>,
    lane: &Lane,
    permission: &P,
    meter: Meter<'_>,
) -> Outward {
    loop {
        if let Err(error) = read.readable().await {
            return Outward::Broken(error);
        }
        let Ok(slot) = lane.emitter.slot().await else { return Outward::HubGone };
        if !permission.holds() {
            return Outward::Forbidden;
        }
        match read_frame(read, lane) {
            Ok(None) => return Outward::Eof,
            Ok(Some((text, len))) => {
                slot.put(text, permission.token());
                count(meter.to_hub, len as u64);
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Outward::Broken(error),
        }
    }
}

/// Reads one chunk into its frame; `None` at the end of the stream.
fn read_frame(read: &ReadHalf<'_>, lane: &Lane) -> io::Result<Option<(crate::socketio::Utf8Bytes, usize)>> {
    CHUNK.with_borrow_mut(|buffer| {
        let len = read.try_read(&mut buffer[..lane.chunk_bytes])?;
        Ok((len > 0).then(|| (lane.frames.frame(&buffer[..len]), len)))
    })
}

async fn inward<P: Permission>(
    mut write: WriteHalf<'_>,
    inbox: &mut InboxRx,
    permission: &P,
    meter: Meter<'_>,
    activity: &AtomicU64,
) -> Inward {
    loop {
        let (bytes, charge) = match inbox.next().await {
            Some(Item::Chunk(bytes, charge)) => (bytes, charge),
            Some(Item::Fin) => {
                return match write.shutdown().await {
                    Ok(()) => Inward::Fin,
                    Err(error) => Inward::Broken(error),
                };
            }
            Some(Item::Ready) => continue,
            Some(Item::Failed(reason)) => return Inward::Broken(io::Error::other(reason)),
            Some(Item::Close) | None => {
                let _ = write.shutdown().await; // the stream may have ended already
                return Inward::Closed;
            }
        };
        if !permission.holds() {
            return Inward::Forbidden;
        }
        if let Err(error) = write_all(&mut write, inbox, &bytes).await {
            return Inward::Broken(error);
        }
        drop(charge);
        count(meter.from_hub, bytes.len() as u64);
        count(activity, 1);
    }
}

/// Writes everything and reports each part, so that a slow reader is told from one that does not read.
async fn write_all(write: &mut WriteHalf<'_>, inbox: &InboxRx, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        let written = write.write(bytes).await?;
        if written == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        bytes = &bytes[written..];
        inbox.moved();
    }
    Ok(())
}

/// Lets the other end read its last bytes: closing a stream with unread bytes in it would reset it.
async fn linger(stream: TcpStream) {
    #[expect(
        deprecated,
        reason = "only the form that blocks on close is dangerous; None restores the orderly close"
    )]
    let orderly = stream.set_linger(None);
    if orderly.is_err() {
        return;
    }
    let drained = async {
        loop {
            stream.readable().await?;
            let read = CHUNK.with_borrow_mut(|buffer| stream.try_read(buffer));
            match read {
                Ok(0) => return Ok::<(), io::Error>(()),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
    };
    let _ = timeout(LINGER, drained).await; // whoever does not close in time is reset
}
