//! One TCP connection as the data plane needs it, below the Socket.IO library, which can neither stop reading nor say
//! what has left.
//!
//! - **Read backpressure**: while too many bytes that came from here wait for their receivers, nothing more is read, so TCP
//!   slows the sender down. Pings would then go unanswered, because the answers stand behind the unread bytes; for as
//!   long as *we* do not read, the answer is given here on the peer's behalf.
//! - **The window**: what is handed to the library is counted in bytes and given back when TCP has taken it. So its
//!   queue stays short (a full one would kill the session at its next ping), and a receiver that takes nothing is seen.
//! - **The pace**: a peer that takes its time is given some, and no more ([`pace`]).
//! - **The budget**: both are counted over the whole hub. While that is too much, senders are held up early and a receiver gets
//!   the next event when it has taken the last: slower for all, and bounded however many connections take nothing.

mod frames;
mod io;
mod metered;
mod pace;

pub use io::{Tcp, WireIo, patient};
pub use metered::Metered;

use std::{
    collections::VecDeque,
    net::{IpAddr, SocketAddr},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    task::Waker,
    time::Duration,
};

use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use self::pace::Stage;
use crate::{
    limits::{ANONYMOUS_REQUESTS, FEED_HIGH, FEED_LOW, FEED_UNDER_PRESSURE, HUB_QUEUE, WINDOW_BYTES},
    places::{Place, Seat},
};

/// What the handlers of one connection and its socket share.
#[derive(Debug)]
pub struct Wire {
    /// Who is at the other end of the TCP connection.
    pub peer: SocketAddr,
    /// Cancelled when the connection is to go.
    closed: CancellationToken,
    /// Its place among those who have not proven who they are.
    seat: Arc<Seat>,
    stage: Stage,
    /// Whether the present request showed a key or a ticket.
    known: AtomicBool,
    /// Requests that showed none.
    anonymous: AtomicUsize,
    /// Set when a 101 is about to be written: after its head come frames.
    upgrading: AtomicBool,
    backpressure: Mutex<ReadBackpressure>,
    /// [`ReadBackpressure::paused`], for a look without a lock.
    paused: AtomicBool,
    /// Bytes that came from here and wait for their receivers.
    queued: AtomicUsize,
    budget: Arc<BufferBudget>,
    /// What the events weigh that were handed over and not yet taken by TCP, oldest first.
    under_way: Mutex<VecDeque<u32>>,
    window: Semaphore,
    /// Bytes of the window that are taken.
    held: AtomicUsize,
    /// Events taken by TCP so far.
    taken: AtomicU64,
    /// Proven sockets on this connection: 0 or 1.
    pub sessions: AtomicUsize,
    /// How often the namespace was joined over it.
    pub joins: AtomicUsize,
    /// Proofs that are being looked at.
    pub proofs: AtomicUsize,
}

/// Bytes in the whole hub that wait for their receivers, or for TCP to take them.
#[derive(Debug, Default)]
pub struct BufferBudget(AtomicUsize);

#[derive(Debug, Default)]
struct ReadBackpressure {
    paused: bool,
    /// The hub's ping went out while reading was paused.
    owes_pong: bool,
    /// Whoever reads and found reading paused.
    reader: Option<Waker>,
}

/// Bytes that wait for a receiver, on their sender's account until dropped.
#[derive(Debug)]
pub struct Queued {
    wire: Arc<Wire>,
    bytes: usize,
}

/// Why an event cannot be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoWindow {
    /// The connection is going.
    Closed,
    /// The receiver took nothing at all for as long as we wait.
    Stalled,
}

// === impl Wire ===

impl Wire {
    pub fn new(peer: SocketAddr, place: &Place, budget: Arc<BufferBudget>) -> Self {
        Self {
            peer,
            closed: place.closed(),
            seat: place.seat.clone(),
            stage: Stage::default(),
            known: AtomicBool::new(false),
            anonymous: AtomicUsize::new(0),
            upgrading: AtomicBool::new(false),
            backpressure: Mutex::default(),
            paused: AtomicBool::new(false),
            budget,
            queued: AtomicUsize::new(0),
            under_way: Mutex::default(),
            window: Semaphore::new(WINDOW_BYTES),
            held: AtomicUsize::new(0),
            taken: AtomicU64::new(0),
            sessions: AtomicUsize::new(0),
            joins: AtomicUsize::new(0),
            proofs: AtomicUsize::new(0),
        }
    }

    /// Ends the connection now, whatever is in its buffers.
    pub fn kill(&self) {
        self.closed.cancel();
        self.window.close();
    }

    /// Cancelled when the connection is to go.
    pub fn closed(&self) -> CancellationToken {
        self.closed.clone()
    }

    /// A request of so many bytes has come, from `address` as far as is known.
    pub fn asked(&self, bytes: u64, address: IpAddr) {
        self.known.store(false, Ordering::Release);
        self.seat.ask(address);
        self.stage.asked(bytes);
    }

    /// The answer to it is about to be written; whether it must be the last one over this connection, because whoever
    /// says nothing of itself does not get to ask for ever and read nothing.
    pub fn answered(&self) -> bool {
        self.stage.answered();
        !self.known.load(Ordering::Acquire)
            && self.anonymous.fetch_add(1, Ordering::AcqRel) + 1 >= ANONYMOUS_REQUESTS
    }

    /// The present request, or the socket, has shown who it is of.
    pub fn prove(&self) {
        self.known.store(true, Ordering::Release);
        self.seat.prove();
    }

    fn is_proven(&self) -> bool {
        self.sessions.load(Ordering::Acquire) > 0
    }

    /// Whether it is our turn to say who the peer is: what that takes is not its fault.
    fn is_being_proven(&self) -> bool {
        self.proofs.load(Ordering::Acquire) > 0
    }

    /// Says that the next response is a 101.
    pub fn expect_frames(&self) {
        self.upgrading.store(true, Ordering::Release);
    }

    /// Puts `bytes` that came from here on its account, and pauses reading when that is too much.
    pub fn queue(self: &Arc<Self>, bytes: usize) -> Queued {
        let queued = self.queued.fetch_add(bytes, Ordering::AcqRel) + bytes;
        self.budget.0.fetch_add(bytes, Ordering::AcqRel);
        if queued > self.budget.limits().0 {
            let mut backpressure = lock(&self.backpressure);
            backpressure.paused = true;
            self.paused.store(true, Ordering::SeqCst);
            drop(backpressure);
            // A receiver may have taken everything meanwhile, and found reading resumed.
            self.resume_if_low();
        }
        Queued { wire: self.clone(), bytes }
    }

    /// Whether this sender is being held up.
    pub fn is_paused(&self) -> bool {
        self.paused.load(Ordering::SeqCst)
    }

    fn release(&self, bytes: usize) {
        self.queued.fetch_sub(bytes, Ordering::SeqCst);
        self.budget.0.fetch_sub(bytes, Ordering::SeqCst);
        if self.is_paused() {
            self.resume_if_low();
        }
    }

    fn resume_if_low(&self) {
        let mut backpressure = lock(&self.backpressure);
        if self.queued.load(Ordering::SeqCst) <= self.budget.limits().1 {
            backpressure.paused = false;
            backpressure.owes_pong = false; // the peer's own answer will be read
            self.paused.store(false, Ordering::SeqCst);
            if let Some(reader) = backpressure.reader.take() {
                reader.wake();
            }
        }
    }

    /// Waits for room for `weight` bytes; `stalled_for_good` decides whether a receiver that took nothing for `stall`
    /// is given up. Cancel safe: no room is lost.
    pub async fn reserve(
        &self,
        weight: usize,
        stall: Duration,
        stalled_for_good: impl Fn() -> bool,
    ) -> Result<(), NoWindow> {
        // Under pressure the whole window: what was sent before has left then.
        let weight = clamp(weight);
        let wanted = if self.budget.is_under_pressure() { WINDOW_PERMITS } else { weight };
        let mut room = std::pin::pin!(self.window.acquire_many(wanted));
        loop {
            let taken = self.taken.load(Ordering::Acquire);
            match tokio::time::timeout(stall, &mut room).await {
                Ok(Ok(mut permits)) => {
                    drop(permits.split((wanted - weight) as usize));
                    permits.forget();
                    self.hold(weight as usize);
                    return Ok(());
                }
                Ok(Err(_)) => return Err(NoWindow::Closed),
                Err(_) if taken == self.taken.load(Ordering::Acquire) && stalled_for_good() => {
                    return Err(NoWindow::Stalled);
                }
                Err(_) => {}
            }
        }
    }

    /// Takes room for `weight` bytes if there is some at once.
    pub fn try_reserve(&self, weight: usize) -> bool {
        let weight = clamp(weight);
        if self.budget.is_under_pressure() {
            return false;
        }
        let Ok(permits) = self.window.try_acquire_many(weight) else { return false };
        permits.forget();
        self.hold(weight as usize);
        true
    }

    /// Gives back room that was reserved and not used.
    pub fn give_back(&self, weight: usize) {
        let weight = clamp(weight) as usize;
        self.held.fetch_sub(weight, Ordering::AcqRel);
        self.budget.0.fetch_sub(weight, Ordering::AcqRel);
        self.window.add_permits(weight);
    }

    fn hold(&self, weight: usize) {
        self.held.fetch_add(weight, Ordering::AcqRel);
        self.budget.0.fetch_add(weight, Ordering::AcqRel);
    }

    /// Hands one event over by `send`, in step with the account of what is under way. `weight` is what was reserved for
    /// it; 0 for the few that go without.
    pub fn hand_over<E>(&self, weight: usize, send: impl FnOnce() -> Result<(), E>) -> Result<(), E> {
        let mut under_way = lock(&self.under_way);
        let sent = send();
        match &sent {
            Ok(()) => under_way.push_back(clamp(weight)),
            Err(_) => self.give_back(weight),
        }
        sent
    }

    /// TCP has taken one event.
    fn event_taken(&self) {
        self.taken.fetch_add(1, Ordering::AcqRel);
        if let Some(weight) = lock(&self.under_way).pop_front() {
            self.give_back(weight as usize);
        }
    }

    /// TCP has taken one ping of ours.
    fn ping_taken(&self) {
        let mut backpressure = lock(&self.backpressure);
        if backpressure.paused {
            backpressure.owes_pong = true;
            if let Some(reader) = backpressure.reader.take() {
                reader.wake();
            }
        }
    }
}

// === impl BufferBudget ===

impl BufferBudget {
    fn is_under_pressure(&self) -> bool {
        self.0.load(Ordering::Acquire) > HUB_QUEUE
    }

    /// Above and below what a sender is paused and resumed, as things are.
    fn limits(&self) -> (usize, usize) {
        if self.is_under_pressure() {
            (FEED_UNDER_PRESSURE, FEED_UNDER_PRESSURE / 2)
        } else {
            (FEED_HIGH, FEED_LOW)
        }
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        // What TCP has not taken goes with the connection.
        self.budget.0.fetch_sub(*self.held.get_mut(), Ordering::AcqRel);
    }
}

impl Drop for Queued {
    fn drop(&mut self) {
        self.wire.release(self.bytes);
    }
}

/// All of a window.
const WINDOW_PERMITS: u32 = WINDOW_BYTES as u32;

/// A weight as permits: one event never needs more than there are.
fn clamp(weight: usize) -> u32 {
    u32::try_from(weight).unwrap_or(WINDOW_PERMITS).min(WINDOW_PERMITS)
}

/// No code of ours panics while it holds one of these locks, so a poisoned one is as good as any.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
