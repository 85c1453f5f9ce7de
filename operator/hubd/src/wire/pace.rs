//! How long a peer may take. Every wait on it has its clock: the head of a request from its first byte, the next request,
//! a proof after an upgrade, and whatever is written to it while it reads nothing.
//!
//! Once a websocket's agent is proven the clocks rest: pings and [`Wire::reserve`] find a peer that is gone, and one that
//! reads slowly is slow on purpose.
//!
//! [`Wire::reserve`]: super::Wire::reserve

use std::{
    pin::Pin,
    sync::atomic::{AtomicI64, AtomicU8, AtomicU64, Ordering},
    task::Context,
};

use tokio::time::{Instant, Sleep, sleep_until};

use crate::limits::{HEAD_TIMEOUT, KEEP_ALIVE, UNPROVEN_SOCKET, WRITE_STEP, WRITE_TIMEOUT};

const HEAD: u8 = 0;
const ANSWERING: u8 = 1;
const ANSWERED: u8 = 2;
const RESTING: u8 = 3;

/// Where a connection is between two requests: told by whoever answers them, asked by its clocks.
#[derive(Debug, Default)]
pub struct Stage {
    at: AtomicU8,
    /// Requests so far.
    requests: AtomicU64,
    /// Bytes read that belong to no request so far; below zero for a body that is announced and has not come.
    ahead: AtomicI64,
}

/// What is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wait {
    /// The head of the request of this number, of which something has come.
    Head(u64),
    /// Anything of the request of this number.
    Request(u64),
    Proof,
    /// That the peer reads.
    Room,
}

/// The clocks of one connection.
#[derive(Debug)]
pub struct Pace {
    accepted: Instant,
    reading: Clock,
    writing: Clock,
    /// Bytes that the peer took since the clock of writing was set.
    taken: usize,
}

#[derive(Debug, Default)]
struct Clock {
    waits_for: Option<Wait>,
    alarm: Option<Pin<Box<Sleep>>>,
}

// === impl Stage ===

impl Stage {
    /// A request has come whose head and body have so many bytes.
    pub fn asked(&self, bytes: u64) {
        self.requests.fetch_add(1, Ordering::AcqRel);
        self.ahead.fetch_sub(i64::try_from(bytes).unwrap_or(i64::MAX), Ordering::AcqRel);
        self.at.store(ANSWERING, Ordering::Release);
    }

    /// Its answer is about to be written.
    pub fn answered(&self) {
        self.at.store(ANSWERED, Ordering::Release);
    }

    /// Everything has been written; whether that is the end of an answer.
    pub fn flushed(&self) -> bool {
        let ended = self.at.compare_exchange(ANSWERED, RESTING, Ordering::AcqRel, Ordering::Acquire).is_ok();
        if ended {
            self.ahead.fetch_max(0, Ordering::AcqRel); // what did not come will not come, or the connection ends
        }
        ended
    }

    /// So many bytes of requests have come.
    pub fn came(&self, bytes: usize) {
        self.ahead.fetch_add(i64::try_from(bytes).unwrap_or(i64::MAX), Ordering::AcqRel);
    }

    fn awaits(&self) -> Option<Wait> {
        let number = self.requests.load(Ordering::Acquire);
        match self.at.load(Ordering::Acquire) {
            HEAD => Some(Wait::Head(number)),
            RESTING if self.ahead.load(Ordering::Acquire) > 0 => Some(Wait::Head(number)),
            RESTING => Some(Wait::Request(number)),
            _ => None,
        }
    }
}

// === impl Pace ===

impl Pace {
    /// The clocks of a connection that was accepted then.
    pub fn new(accepted: Instant) -> Self {
        Self { accepted, reading: Clock::default(), writing: Clock::default(), taken: 0 }
    }

    /// Whether the next request, or the rest of it, takes too long.
    pub fn request_is_late(&mut self, stage: &Stage, context: &mut Context<'_>) -> bool {
        let Some(wait) = stage.awaits() else {
            self.reading.stop();
            return false;
        };
        let accepted = self.accepted;
        self.reading.is_over(wait, context, || match wait {
            Wait::Head(0) => accepted + HEAD_TIMEOUT,
            Wait::Head(_) => Instant::now() + HEAD_TIMEOUT,
            _ => Instant::now() + KEEP_ALIVE,
        })
    }

    /// Whether nobody has proven who it is in time; `excused` while somebody has, or it is our turn.
    pub fn proof_is_late(&mut self, excused: bool, context: &mut Context<'_>) -> bool {
        if excused {
            (self.reading, self.writing) = (Clock::default(), Clock::default());
            return false;
        }
        self.reading.is_over(Wait::Proof, context, || Instant::now() + UNPROVEN_SOCKET)
    }

    /// Whether the peer, which has no room now, has had none for too long.
    pub fn reader_is_late(&mut self, context: &mut Context<'_>) -> bool {
        if self.writing.waits_for.is_none() {
            self.taken = 0;
        }
        self.writing.is_over(Wait::Room, context, || Instant::now() + WRITE_TIMEOUT)
    }

    /// The peer took so many bytes. A few now and then are none.
    pub fn took(&mut self, bytes: usize) {
        self.taken = self.taken.saturating_add(bytes);
        if self.taken >= WRITE_STEP {
            self.writing.stop();
        }
    }

    /// The peer took everything.
    pub fn took_all(&mut self) {
        self.writing.stop();
    }
}

// === impl Clock ===

impl Clock {
    /// Whether `wait`, which begins now unless it has begun, is over.
    fn is_over(&mut self, wait: Wait, context: &mut Context<'_>, until: impl FnOnce() -> Instant) -> bool {
        if self.waits_for != Some(wait) {
            self.waits_for = Some(wait);
            match &mut self.alarm {
                Some(alarm) => alarm.as_mut().reset(until()),
                None => self.alarm = Some(Box::pin(sleep_until(until()))),
            }
        }
        self.alarm.as_mut().is_some_and(|alarm| alarm.as_mut().poll(context).is_ready())
    }

    fn stop(&mut self) {
        self.waits_for = None;
    }
}
