//! Whether a share is open: asked for every chunk, so it needs no lock.

use std::sync::atomic::{AtomicI64, AtomicU8, Ordering};

use jiff::Timestamp;

use super::{EndReason, Refusal};

/// No end was set yet.
const NO_END: i64 = i64::MIN;

/// Not closed yet.
const LIVE: u8 = 0;

/// Whether a share is open, readable without a lock for every chunk.
#[derive(Debug)]
pub(super) struct ShareState {
    /// Microseconds since the epoch; `NO_END` before an end is set.
    ends_at: AtomicI64,
    /// `LIVE` or one more than an `EndReason`.
    ended: AtomicU8,
}

// === impl ShareState ===

impl Default for ShareState {
    fn default() -> Self {
        Self { ends_at: AtomicI64::new(NO_END), ended: AtomicU8::new(LIVE) }
    }
}

impl ShareState {
    /// Sets or moves the end.
    pub(super) fn open_until(&self, ends_at: Timestamp) {
        self.ends_at.store(ends_at.as_microsecond(), Ordering::Release);
    }

    /// Closes for good; whether it was open before.
    pub(super) fn close(&self, why: EndReason) -> bool {
        self.ended.compare_exchange(LIVE, why.code(), Ordering::AcqRel, Ordering::Acquire).is_ok()
    }

    pub(super) fn ended(&self) -> Option<EndReason> {
        EndReason::from_code(self.ended.load(Ordering::Acquire))
    }

    /// When it ends; `None` before an end is set.
    pub(super) fn ends_at(&self) -> Option<Timestamp> {
        match self.ends_at.load(Ordering::Acquire) {
            NO_END => None,
            end => Timestamp::from_microsecond(end).ok(),
        }
    }

    pub(super) fn refusal(&self, now: Timestamp) -> Option<Refusal> {
        if let Some(why) = self.ended() {
            return Some(Refusal::ShareEnded(why));
        }
        match self.ends_at.load(Ordering::Acquire) {
            NO_END => Some(Refusal::EndNotSet),
            end if now.as_microsecond() >= end => Some(Refusal::ShareEnded(EndReason::Expired)),
            _ => None,
        }
    }
}
