//! The end of a share as this machine's clock sees it.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::time::sleep;

use crate::clock::Clock;

/// The clock is looked at at least this often, so that a step of it or a suspended laptop ends the share in time.
const CLOCK_CHECK: Duration = Duration::from_millis(500);

/// An instant and the clock to hold it against.
#[derive(Clone)]
pub(super) struct Deadline {
    clock: Arc<dyn Clock>,
    at: Timestamp,
}

// === impl Deadline ===

impl Deadline {
    pub(super) fn new(clock: Arc<dyn Clock>, at: Timestamp) -> Self {
        Self { clock, at }
    }

    pub(super) fn has_passed(&self) -> bool {
        self.clock.now() >= self.at
    }

    /// Resolves when the instant has come.
    pub(super) async fn passed(&self) {
        while !self.has_passed() {
            let left = self.at.duration_since(self.clock.now());
            let left = Duration::try_from(left).unwrap_or(Duration::ZERO);
            sleep(left.min(CLOCK_CHECK)).await;
        }
    }
}
