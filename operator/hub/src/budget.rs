//! Bytes that came from the hub and wait for a TCP stream: bounded per connection and over all connections.
//!
//! The recorded protocol has no flow control, so the reader of the socket decides. It hands a chunk over at once while
//! there is room. When there is none it waits for a connection that still moves, because then the hub is pushed back
//! and nothing is lost. Everybody waits with it, so a connection that does not move at all is given up, and so is one that
//! moves so slowly that it has held everybody up for [`HELD_LIMIT`]: it loses itself only.

mod memory;

use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use thiserror::Error;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

pub use self::memory::Memory;
use self::memory::{Portion, Taken};
use crate::liveness::LastActivity;

/// A connection with bytes waiting that took none for this long does not move.
const STILL: Duration = Duration::from_secs(1);

/// For how long one connection may hold up all others, what was forgiven since taken off. A service that takes 1 MB/s and more
/// never comes near it; one that takes 100 KB/s of a faster sender has reached it within seconds.
const HELD_LIMIT: Duration = Duration::from_secs(2);

/// A wait for room that is not longer than this holds nobody up that anybody would notice: a chunk at 1 MB/s.
const BRIEF: Duration = Duration::from_millis(50);

/// Of the time that passes, one part in so many is forgiven of what a connection has held the others up.
const FORGIVEN: u32 = 5;

/// What a chunk costs at least, so that a flood of single bytes is bounded too.
const MIN_CHARGE: usize = 256;

/// Items beside the chunks, each once: readiness, a handshake, a failure, the end of the bytes and of the connection.
const MARKS: usize = 5;

/// Characters that we keep of a hub's reason why a connection failed: it is one line for a person.
const MAX_REASON_CHARS: usize = 200;

/// Bounds that hold whatever the hub or a Service does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Connections open or being opened at once; further dials are refused.
    pub connections: usize,
    /// Bytes from the hub that wait for one Service.
    pub link_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { connections: 16_384, link_bytes: 4 * 1024 * 1024 }
    }
}

/// The bytes that may wait over all connections of one tunnel.
#[derive(Clone, Debug)]
pub(crate) struct Budget {
    all: Portion,
    link_bytes: usize,
}

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

// === impl Budget ===

impl Budget {
    /// At most `link_bytes` for one connection, and for all what the memory allows.
    pub(crate) fn new(memory: &Memory, link_bytes: usize) -> Self {
        let all = memory.portion();
        let most = all.most().clamp(MIN_CHARGE, Semaphore::MAX_PERMITS);
        Self { link_bytes: link_bytes.clamp(MIN_CHARGE, most), all }
    }

    /// Waits until there is room for a chunk of so many bytes, or nobody has made any for as long as it takes a connection to
    /// be still.
    pub(crate) async fn room_for(&self, bytes: usize) {
        let _ = timeout(STILL, self.all.room_for(charge(bytes))).await; // the next push finds out which it was
    }

    /// Bytes waiting now.
    pub(crate) fn used(&self) -> usize {
        self.all.used()
    }
}

fn charge(bytes: usize) -> usize {
    bytes.max(MIN_CHARGE)
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
        self.notify_once(Notice::Failed, Item::Failed(reason.chars().take(MAX_REASON_CHARS).collect()));
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

#[cfg(test)]
mod tests {
    use super::*;

    const KIB: usize = 1024;

    /// For a tunnel that is alone.
    fn budget(all_bytes: usize, link_bytes: usize) -> Budget {
        Budget::new(&Memory::new(2 * all_bytes), link_bytes)
    }

    fn chunk(len: usize) -> Bytes {
        Bytes::from(vec![1; len])
    }

    #[tokio::test]
    async fn an_end_stays_behind_the_bytes_and_room_comes_back() {
        let budget = budget(64 * KIB, 16 * KIB);
        let (tx, mut rx) = inbox(&budget);
        tx.push(&budget, chunk(10)).await.expect("room");
        tx.push(&budget, chunk(KIB)).await.expect("room");
        tx.finish();
        tx.close();
        assert_eq!((tx.waiting(), budget.used()), (MIN_CHARGE + KIB, MIN_CHARGE + KIB));
        assert!(matches!(rx.next().await, Some(Item::Chunk(bytes, _)) if bytes.len() == 10));
        assert!(matches!(rx.next().await, Some(Item::Chunk(bytes, _)) if bytes.len() == KIB));
        assert!(matches!(rx.next().await, Some(Item::Fin)));
        assert!(matches!(rx.next().await, Some(Item::Close)));
        assert_eq!((tx.waiting(), budget.used()), (0, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_that_does_not_move_is_given_up_and_one_that_moves_is_waited_for() {
        let budget = budget(64 * KIB, 4 * KIB);
        let (tx, mut rx) = inbox(&budget);
        tx.push(&budget, chunk(4 * KIB)).await.expect("room");
        assert_eq!(tx.push(&budget, chunk(1)).await, Err(NotAccepted::Stalled));
        assert!(tx.is_still());

        rx.moved();
        let reader = async {
            tokio::time::sleep(STILL / 2).await;
            rx.next().await
        };
        let (pushed, taken) = tokio::join!(tx.push(&budget, chunk(1)), async { reader.await.map(drop) });
        assert_eq!((pushed, taken), (Ok(()), Some(())));
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_that_crawls_holds_the_others_up_for_a_bounded_time() {
        let (crawls, fine) = (Duration::from_millis(400), Duration::from_millis(40));
        for (every, is_given_up) in [(crawls, true), (fine, false)] {
            let budget = budget(64 * KIB, 4 * KIB);
            let (tx, mut rx) = inbox(&budget);
            let reader = async {
                loop {
                    tokio::time::sleep(every).await;
                    let Some(item) = rx.next().await else { return };
                    rx.moved();
                    drop(item);
                }
            };
            let sender = async {
                let began = Instant::now();
                for _ in 0..200 {
                    if tx.push(&budget, chunk(KIB)).await == Err(NotAccepted::Stalled) {
                        return Some(began.elapsed());
                    }
                }
                None
            };
            let held = tokio::select! {
                held = sender => held,
                () = reader => unreachable!("the sender is there"),
            };
            assert_eq!(held.is_some(), is_given_up, "every {every:?}");
            assert!(
                held.is_none_or(|held| held <= 2 * HELD_LIMIT),
                "{held:?} by its clock, which is not real"
            );
        }
    }

    #[tokio::test]
    async fn marks_that_a_hub_repeats_take_no_places() {
        let budget = budget(64 * KIB, MIN_CHARGE * 4);
        let (tx, mut rx) = inbox(&budget);
        for _ in 0..100 {
            tx.ready();
            tx.finish();
            tx.failed(&"why ".repeat(10_000));
            tx.close();
        }
        assert!(!rx_given_up(&tx));
        for _ in 0..4 {
            tx.push(&budget, chunk(1)).await.expect("a place for every chunk that has room");
        }
        tx.handshake("one");
        assert!(!rx_given_up(&tx));
        tx.handshake("two");
        assert!(rx_given_up(&tx), "a second word on encryption ends the connection");
        let mut items = Vec::new();
        drop(tx);
        while let Some(item) = rx.next().await {
            items.push(item);
        }
        assert_eq!(items.len(), 9, "{items:?}");
        assert!(
            matches!(&items[2], Item::Failed(reason) if reason.chars().count() == MAX_REASON_CHARS),
            "{items:?}"
        );
    }

    #[tokio::test]
    async fn a_chunk_that_can_never_fit_and_a_connection_that_is_gone_are_told_apart() {
        let budget = budget(64 * KIB, 4 * KIB);
        let (tx, rx) = inbox(&budget);
        assert_eq!(tx.push(&budget, chunk(5 * KIB)).await, Err(NotAccepted::OverLimit));
        drop(rx);
        assert_eq!(tx.push(&budget, chunk(1)).await, Err(NotAccepted::Gone));
        assert_eq!(budget.used(), 0);
    }

    #[tokio::test]
    async fn a_flood_of_single_bytes_is_bounded_by_the_same_limit() {
        let budget = budget(64 * KIB, 4 * KIB);
        let (tx, _rx) = inbox(&budget);
        for _ in 0..(4 * KIB / MIN_CHARGE) {
            tx.push(&budget, chunk(1)).await.expect("room");
        }
        assert_eq!(tx.room.available_permits(), 0);
        tx.finish();
        tx.close();
        assert!(!rx_given_up(&tx));
    }

    fn rx_given_up(tx: &InboxTx) -> bool {
        tx.give_up.is_cancelled()
    }
}
