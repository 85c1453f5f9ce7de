//! What waits for one connection, from the reader of the socket to the connection's pump.

#[cfg(test)]
mod tests;

use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use thiserror::Error;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use super::memory::Taken;
use super::{Budget, MIN_CHARGE, STILL, charge};
use crate::liveness::LastActivity;
use crate::sentences;

/// For how long one connection may hold up all others, what was forgiven since taken off. A service that takes 1 MB/s and more
/// never comes near it; one that takes 100 KB/s of a faster sender has reached it within seconds.
const HELD_LIMIT: Duration = Duration::from_secs(2);

/// A wait for room that is not longer than this holds nobody up that anybody would notice: a chunk at 1 MB/s.
const BRIEF: Duration = Duration::from_millis(50);

/// Of the time that passes, one part in so many is forgiven of what a connection has held the others up.
const FORGIVEN: u32 = 5;

/// Items beside the chunks, each once: readiness, a handshake, a failure, the end of the bytes and of the connection.
const MARKS: usize = 5;

/// The way into a connection.
#[derive(Clone, Debug)]
pub(crate) struct InboxTx {
    /// Socket reader --bytes for one connection--> its pump.
    items_tx: mpsc::Sender<Item>,
    room: Arc<Semaphore>,
    link_bytes: usize,
    /// When the connection last took bytes.
    progress: LastActivity,
    /// Which marks were handed over, by their bits.
    marked: Arc<AtomicU8>,
    /// How long others have waited for this connection.
    held: Arc<Mutex<Held>>,
    /// Cancelled when the connection is given up.
    give_up: CancellationToken,
}

/// The end where the connection takes its bytes out.
#[derive(Debug)]
pub(crate) struct InboxRx {
    items_rx: mpsc::Receiver<Item>,
    /// Taken out before its time and put back: comes first.
    unread: Option<Item>,
    progress: LastActivity,
    give_up: CancellationToken,
}

/// What waits for a connection. Chunks and ends share one queue: an end never overtakes bytes.
#[derive(Debug)]
pub(crate) enum Item {
    /// Bytes; what they cost is given back when they are dropped.
    Chunk(Bytes, Charge),
    /// The connection can be used.
    Ready,
    /// The other end's word on encryption.
    Handshake(String),
    /// The peer sends no more.
    Fin,
    /// The hub gave the connection up, for this reason.
    Failed(String),
    /// The connection is over.
    Close,
}

/// What is said of a connection at most once, as a bit.
#[derive(Clone, Copy, Debug)]
#[repr(u8)]
enum Notice {
    Ready = 1,
    Handshake = 2,
    Failed = 4,
    Fin = 8,
    Close = 16,
}

/// For how long others were held up, as of when.
#[derive(Debug)]
struct Held {
    time: Duration,
    as_of: Instant,
}

/// Room taken by a chunk.
#[derive(Debug)]
pub(crate) struct Charge {
    _all: Taken,
    _link: OwnedSemaphorePermit,
}

/// Why a chunk was not accepted.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub(crate) enum NotAccepted {
    /// The connection does not take its bytes.
    #[error("the service stopped reading")]
    Stalled,
    /// The chunk is larger than anything that may wait.
    #[error("the chunk is larger than the limit")]
    OverLimit,
    /// All connections together have no room at the moment: give one up and try again.
    #[error("too many bytes are waiting")]
    Crowded,
    /// The connection has just ended.
    #[error("the connection has ended")]
    Gone,
}

/// The inbox of a new connection.
pub(crate) fn inbox(budget: &Budget) -> (InboxTx, InboxRx) {
    let Budget { link_bytes, .. } = *budget;
    let (items_tx, items_rx) = mpsc::channel(link_bytes / MIN_CHARGE + MARKS);
    let progress = LastActivity::now();
    let give_up = CancellationToken::new();
    let room = Arc::new(Semaphore::new(link_bytes));
    let rx = InboxRx { items_rx, unread: None, progress: progress.clone(), give_up: give_up.clone() };
    let held = Arc::new(Mutex::new(Held { time: Duration::ZERO, as_of: Instant::now() }));
    (InboxTx { items_tx, room, link_bytes, progress, marked: Arc::default(), held, give_up }, rx)
}

// === impl InboxTx ===

impl InboxTx {
    /// Hands a chunk over, waiting for room of the connection's own as long as it moves. Cancel safe: nothing is half
    /// handed over.
    pub(crate) async fn push(&self, budget: &Budget, bytes: Bytes) -> Result<(), NotAccepted> {
        let cost = charge(bytes.len());
        if cost > self.link_bytes {
            return Err(NotAccepted::OverLimit);
        }
        if self.waiting() == 0 {
            self.progress.touch();
        }
        let permits = u32::try_from(cost).map_err(|_| NotAccepted::OverLimit)?;
        let link = self.room_here(permits).await?;
        let all = budget.all.take(cost).ok_or(NotAccepted::Crowded)?;
        let item = Item::Chunk(bytes, Charge { _all: all, _link: link });
        // There is a place for every chunk that found room.
        self.items_tx.try_send(item).map_err(|error| match error {
            TrySendError::Full(_) => NotAccepted::Stalled,
            TrySendError::Closed(_) => NotAccepted::Gone,
        })
    }

    /// Says that the connection can be used.
    pub(crate) fn ready(&self) {
        self.notify_once(Notice::Ready, Item::Ready);
    }

    /// Hands over the other end's word on encryption. Each end has one; a second one ends the connection.
    pub(crate) fn handshake(&self, payload: &str) {
        if !self.notify_once(Notice::Handshake, Item::Handshake(payload.to_owned())) {
            self.give_up();
        }
    }

    /// Says that the hub gave the connection up.
    pub(crate) fn failed(&self, reason: &str) {
        let shown = sentences::known(reason).unwrap_or("the connection failed");
        self.notify_once(Notice::Failed, Item::Failed(shown.to_owned()));
    }

    /// Says that the peer sends no more, after all bytes before it.
    pub(crate) fn finish(&self) {
        self.notify_once(Notice::Fin, Item::Fin);
    }

    /// Says that the connection is over, after all bytes before it.
    pub(crate) fn close(&self) {
        self.notify_once(Notice::Close, Item::Close);
    }

    /// Hands a mark over, for which there is a place; a repeated one changes nothing. Whether it was the first.
    fn notify_once(&self, notice: Notice, item: Item) -> bool {
        let bit = notice as u8;
        if self.marked.fetch_or(bit, Ordering::Relaxed) & bit != 0 {
            return false;
        }
        let _ = self.items_tx.try_send(item); // a connection that is gone needs no marks
        true
    }

    /// Ends the connection now, whatever waits.
    pub(crate) fn give_up(&self) {
        self.give_up.cancel();
    }

    /// Bytes that wait for this connection.
    pub(crate) fn waiting(&self) -> usize {
        self.link_bytes.saturating_sub(self.room.available_permits())
    }

    /// Whether bytes wait and the connection has not taken any for a while.
    pub(crate) fn is_still(&self) -> bool {
        self.waiting() > 0 && self.progress.idle_for() >= STILL
    }

    /// Room for one chunk of this connection: at once, or when the connection has moved on.
    async fn room_here(&self, permits: u32) -> Result<OwnedSemaphorePermit, NotAccepted> {
        if let Ok(permit) = Arc::clone(&self.room).try_acquire_many_owned(permits) {
            return Ok(permit);
        }
        let began = Instant::now();
        let found = timeout(self.allowance(), self.room_while_moving(permits)).await;
        self.hold(began.elapsed());
        found.unwrap_or(Err(NotAccepted::Stalled))
    }

    /// Waits for room for as long as the connection moves.
    async fn room_while_moving(&self, permits: u32) -> Result<OwnedSemaphorePermit, NotAccepted> {
        loop {
            let patience = STILL.saturating_sub(self.progress.idle_for());
            if patience.is_zero() {
                return Err(NotAccepted::Stalled);
            }
            let room = Arc::clone(&self.room).acquire_many_owned(permits);
            tokio::select! {
                found = timeout(patience, room) => match found {
                    Ok(Ok(permit)) => return Ok(permit),
                    Ok(Err(_)) => return Err(NotAccepted::Gone),
                    Err(_) => {}
                },
                () = self.items_tx.closed() => return Err(NotAccepted::Gone),
            }
        }
    }

    /// For how long this connection may hold up the others now.
    fn allowance(&self) -> Duration {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        held.time = held.time.saturating_sub((now - held.as_of) / FORGIVEN);
        held.as_of = now;
        HELD_LIMIT.saturating_sub(held.time)
    }

    /// The others were held up for so long.
    fn hold(&self, waited: Duration) {
        if waited > BRIEF {
            self.held.lock().unwrap_or_else(PoisonError::into_inner).time += waited;
        }
    }
}

// === impl InboxRx ===

impl InboxRx {
    /// The next item; `None` when nobody can send any more. Cancel safe.
    pub(crate) async fn next(&mut self) -> Option<Item> {
        match self.unread.take() {
            Some(item) => Some(item),
            None => self.items_rx.recv().await,
        }
    }

    /// Puts back the item that was taken last.
    pub(crate) fn unread(&mut self, item: Item) {
        self.unread = Some(item);
    }

    /// Tells the other side that bytes were taken.
    pub(crate) fn moved(&self) {
        self.progress.touch();
    }

    /// When the connection last took bytes.
    pub(crate) fn progress(&self) -> LastActivity {
        self.progress.clone()
    }

    /// Cancelled when the connection must end now.
    pub(crate) fn given_up(&self) -> CancellationToken {
        self.give_up.clone()
    }
}
