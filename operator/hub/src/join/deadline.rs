//! The end of a share as this machine's clock sees it. The hub may move it.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use jiff::Timestamp;
use tokio::time::sleep;

use crate::clock::Clock;

/// The clock is looked at at least this often, so that a step of it or a suspended laptop ends the share in time.
const CLOCK_CHECK: Duration = Duration::from_millis(500);

/// An instant and the clock to hold it against. Clones share it.
#[derive(Clone)]
pub(super) struct Deadline {
    clock: Arc<dyn Clock>,
    /// Microseconds since the epoch: asked for every chunk, so it needs no lock.
    at: Arc<AtomicI64>,
}

// === impl Deadline ===

impl Deadline {
    pub(super) fn new(clock: Arc<dyn Clock>, at: Timestamp) -> Self {
        Self { clock, at: Arc::new(AtomicI64::new(at.as_microsecond())) }
    }

    /// The share ends at this time now, sooner or later; whether that is news.
    pub(super) fn move_to(&self, at: Timestamp) -> bool {
        let at = at.as_microsecond();
        self.at.swap(at, Ordering::AcqRel) != at
    }

    /// As [`Self::move_to`]; by how much it was moved.
    pub(super) fn is_moved_to(&self, at: Timestamp) -> Duration {
        let at = at.as_microsecond();
        Duration::from_micros(self.at.swap(at, Ordering::AcqRel).abs_diff(at))
    }

    pub(super) fn has_passed(&self) -> bool {
        self.left().is_none()
    }

    /// Resolves when the instant has come.
    pub(super) async fn passed(&self) {
        while let Some(left) = self.left() {
            sleep(left.min(CLOCK_CHECK)).await;
        }
    }

    /// What is left, if anything is.
    fn left(&self) -> Option<Duration> {
        let left = self.at.load(Ordering::Acquire).saturating_sub(self.clock.now().as_microsecond());
        u64::try_from(left).ok().filter(|left| *left > 0).map(Duration::from_micros)
    }
}
