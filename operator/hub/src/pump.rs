//! Moves the bytes of one connection between a TCP stream and the hub, both ways at once, until both are done.
//!
//! Guarantees: bytes arrive whole and in order, or the TCP stream is reset. An end is passed on only after the bytes
//! before it. A stream that is dropped without an orderly end is reset, so that nobody takes a part for the whole.
//!
//! Outward, a connection first waits until it has something to read, then for its turn in the shared queue, and only
//! then reads one chunk. So a connection holds no buffer while it waits, turns are fair, and a slow hub pushes TCP back.

mod agreement;
mod events;
mod flow;

use std::fmt;
use std::io;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::timeout;

pub(crate) use self::agreement::{Agreed, NotAgreed, Peer, answer, offer};
pub(crate) use self::events::{AtEnd, ConnectionEvents, EXPOSER, JOINER};
use self::flow::{CHUNK, Sink, Source};
use crate::budget::{InboxRx, Item};
use crate::e2e::{Opener, Sealer};
use crate::permission::{Guarded, Pass};
use crate::routes::Traffic;
use crate::stats::count;

/// After the hub closed a connection, how long the stream may take to read its last bytes and close in turn.
pub(crate) const LINGER: Duration = Duration::from_secs(2);

/// How a connection went.
#[derive(Debug)]
pub(crate) enum PumpEnd {
    /// Both directions ended in order.
    Done,
    /// The TCP stream broke.
    Broken(io::Error),
    /// The route may no longer be used.
    Forbidden,
    /// It was given up because it did not take its bytes.
    GivenUp,
    /// The ends did not agree on encryption.
    NotAgreed(NotAgreed),
    /// The hub is gone.
    HubGone,
}

/// The keys of a connection that is encrypted from end to end.
pub(crate) type Keys = (Sealer, Opener);

impl fmt::Display for PumpEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Done => f.write_str("done"),
            Self::Broken(error) => write!(f, "broken: {error}"),
            Self::Forbidden => f.write_str("no longer allowed"),
            Self::GivenUp => f.write_str("given up, bytes were not taken"),
            Self::NotAgreed(error) => error.fmt(f),
            Self::HubGone => f.write_str("the hub is gone"),
        }
    }
}

/// Where bytes are counted.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Meter<'a> {
    pub(crate) from_hub: &'a AtomicU64,
    pub(crate) to_hub: &'a AtomicU64,
    /// The route's own, where there is one.
    pub(crate) route: Option<&'a Traffic>,
}

impl Meter<'_> {
    /// Bytes have arrived from the hub's side.
    pub(crate) fn received(self, bytes: usize) {
        count(self.from_hub, bytes as u64);
        if let Some(route) = self.route {
            count(&route.bytes_in, bytes as u64);
        }
    }

    /// Bytes have gone to the hub's side.
    pub(crate) fn sent(self, bytes: usize) {
        count(self.to_hub, bytes as u64);
        if let Some(route) = self.route {
            count(&route.bytes_out, bytes as u64);
        }
    }
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

/// Makes a stream that is dropped before its orderly end reset the connection.
pub(crate) fn reset_on_drop(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    stream.set_zero_linger()
}

/// Pumps until both directions ended, one broke, or the permission ran out. `detach` is dropped when nothing more can
/// come from the hub, which ends the inbox once it is empty.
pub(crate) async fn run<D>(
    mut stream: TcpStream,
    mut inbox: InboxRx,
    events: &ConnectionEvents,
    keys: Option<Keys>,
    pass: &Pass,
    meter: Meter<'_>,
    detach: D,
) -> PumpEnd {
    let given_up = inbox.given_up();
    let both = both_ways(&mut stream, &mut inbox, events, keys, pass, meter, detach);
    let outcome = tokio::select! {
        biased;
        () = pass.token().cancelled() => PumpEnd::Forbidden,
        () = given_up.cancelled() => PumpEnd::GivenUp,
        outcome = both => outcome,
    };
    if matches!(outcome, PumpEnd::Done) {
        linger(stream).await;
    }
    outcome
}

async fn both_ways<D>(
    stream: &mut TcpStream,
    inbox: &mut InboxRx,
    events: &ConnectionEvents,
    keys: Option<Keys>,
    pass: &Pass,
    meter: Meter<'_>,
    detach: D,
) -> PumpEnd {
    let (read, write) = stream.split();
    let activity = AtomicU64::new(0);
    let (sealer, opener) = keys.unzip();
    let source = Source { read, events, sealer };
    let sink = Sink { write: Guarded::new(write, pass), side: events.side(), opener };
    let mut outward = std::pin::pin!(outward(source, pass, meter));
    let mut inward = std::pin::pin!(inward(sink, inbox, pass, meter, &activity));
    tokio::select! {
        biased;
        end = &mut inward => match end {
            Inward::Closed => PumpEnd::Done,
            Inward::Broken(error) => told(events, PumpEnd::Broken(error)).await,
            Inward::Forbidden => PumpEnd::Forbidden,
            Inward::Fin => match outward.await {
                Outward::Eof => last_words(events).await,
                other => failed(events, other).await,
            },
        },
        end = &mut outward => match end {
            Outward::Eof => rest(events, inward, &activity, detach).await,
            other => failed(events, other).await,
        },
    }
}

/// The TCP stream has no more bytes; deliver what still comes the other way.
async fn rest<D>(
    events: &ConnectionEvents,
    mut inward: std::pin::Pin<&mut impl Future<Output = Inward>>,
    activity: &AtomicU64,
    detach: D,
) -> PumpEnd {
    match events.at_end {
        AtEnd::Finish => {
            if events.finish().await.is_err() {
                return PumpEnd::HubGone;
            }
            ended(events, inward.await).await
        }
        AtEnd::Close => {
            if events.close().await.is_err() {
                return PumpEnd::HubGone;
            }
            drop(detach);
            let _ = timeout(LINGER, inward).await; // what was already here; the hub sends nothing after a close
            PumpEnd::Done
        }
        AtEnd::CloseAfter(grace) => loop {
            let before = activity.load(std::sync::atomic::Ordering::Relaxed);
            if let Ok(end) = timeout(grace, inward.as_mut()).await {
                return ended(events, end).await;
            }
            if activity.load(std::sync::atomic::Ordering::Relaxed) == before {
                return last_close(events).await;
            }
        },
    }
}

async fn ended(events: &ConnectionEvents, end: Inward) -> PumpEnd {
    match end {
        Inward::Fin | Inward::Closed => PumpEnd::Done,
        Inward::Broken(error) => told(events, PumpEnd::Broken(error)).await,
        Inward::Forbidden => PumpEnd::Forbidden,
    }
}

/// Our own end, when the peer's came first: with half-close both are said, otherwise a close says both.
async fn last_words(events: &ConnectionEvents) -> PumpEnd {
    match events.at_end {
        AtEnd::Finish => events.finish().await.map_or(PumpEnd::HubGone, |()| PumpEnd::Done),
        AtEnd::Close | AtEnd::CloseAfter(_) => last_close(events).await,
    }
}

async fn last_close(events: &ConnectionEvents) -> PumpEnd {
    events.close().await.map_or(PumpEnd::HubGone, |()| PumpEnd::Done)
}

async fn failed(events: &ConnectionEvents, end: Outward) -> PumpEnd {
    match end {
        Outward::Broken(error) => told(events, PumpEnd::Broken(error)).await,
        Outward::Forbidden => PumpEnd::Forbidden,
        Outward::Eof | Outward::HubGone => PumpEnd::HubGone,
    }
}

async fn told(events: &ConnectionEvents, outcome: PumpEnd) -> PumpEnd {
    let _ = events.close().await; // a hub that is gone knows
    outcome
}

async fn outward(mut source: Source<'_>, pass: &Pass, meter: Meter<'_>) -> Outward {
    loop {
        if let Err(error) = source.read.readable().await {
            return Outward::Broken(error);
        }
        let Ok(slot) = source.events.emitter.slot().await else { return Outward::HubGone };
        if !pass.holds() {
            return Outward::Forbidden;
        }
        match source.frame() {
            Ok(None) => return Outward::Eof,
            Ok(Some((text, len))) => {
                slot.put(text, pass);
                meter.sent(len);
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Outward::Broken(error),
        }
    }
}

async fn inward(
    mut sink: Sink<'_>,
    inbox: &mut InboxRx,
    pass: &Pass,
    meter: Meter<'_>,
    activity: &AtomicU64,
) -> Inward {
    loop {
        let (bytes, charge) = match inbox.next().await {
            Some(Item::Chunk(bytes, charge)) => (bytes, charge),
            Some(Item::Fin) => {
                return match sink.write.shutdown().await {
                    Ok(()) => Inward::Fin,
                    Err(_) if !pass.holds() => Inward::Forbidden,
                    Err(error) => Inward::Broken(error),
                };
            }
            Some(Item::Ready) => continue,
            Some(Item::Handshake(_)) if sink.may_ignore_a_handshake() => continue,
            Some(Item::Handshake(_)) => return Inward::Broken(io::Error::other(NotAgreed::TooLate)),
            Some(Item::Failed(reason)) => return Inward::Broken(io::Error::other(reason)),
            Some(Item::Close) | None => {
                return match sink.write.shutdown().await {
                    Err(_) if !pass.holds() => Inward::Forbidden,
                    _ => Inward::Closed, // the stream may have ended already
                };
            }
        };
        if !pass.holds() {
            return Inward::Forbidden;
        }
        match sink.take(inbox, bytes).await {
            Ok(written) => meter.received(written),
            Err(_) if !pass.holds() => return Inward::Forbidden,
            Err(error) => return Inward::Broken(error),
        }
        drop(charge);
        count(activity, 1);
    }
}

/// Lets the other end read its last bytes: closing a stream with unread bytes in it would reset it.
pub(crate) async fn linger(stream: TcpStream) {
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
