//! The wall clock behind a trait, because the end of a share is a wall-clock instant and tests must be able to step it.

use jiff::Timestamp;

/// Tells the wall-clock time. Never used for timeouts on peers: those use the monotonic clock of the runtime.
pub trait Clock: Send + Sync + 'static {
    /// The present instant.
    fn now(&self) -> Timestamp;
}

/// The machine's own clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }
}
