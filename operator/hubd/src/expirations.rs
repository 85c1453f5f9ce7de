//! The ends of shares to come, in order. [`crate::timer`] waits for them, and looks at the wall clock again at least twice a
//! second, so that a stepped clock or a resumed process is noticed.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use connect_frames::expirations::{self, CLOCK_CHECK};
use tokio::sync::{Notify, futures::Notified};
use uuid::Uuid;

use crate::timestamp::Timestamp;

/// The ends to come, for everybody who sets one and for the timer.
#[derive(Debug, Default)]
pub struct Expirations {
    coming: Mutex<Coming>,
    changed: Notify,
}

type Coming = expirations::Expirations<Uuid, Timestamp>;

// === impl Expirations ===

impl Expirations {
    /// Sets when a share ends, in place of what was set.
    pub fn set(&self, share: Uuid, end: Timestamp) {
        self.lock().arm(&share, end);
        self.changed.notify_one();
    }

    /// The share has ended otherwise.
    pub fn forget(&self, share: Uuid) {
        self.lock().disarm(&share);
    }

    /// Takes out what is due at `now`.
    pub fn take_due(&self, now: Timestamp) -> Vec<Uuid> {
        self.lock().take_due(now)
    }

    /// How long nothing is due, looked at from `now`.
    pub fn idle_for(&self, now: Timestamp) -> Duration {
        self.lock().next().map_or(CLOCK_CHECK, |end| now.until(end)).min(CLOCK_CHECK)
    }

    /// Ends when an end was set.
    pub fn changed(&self) -> Notified<'_> {
        self.changed.notified()
    }

    /// No code panics while it holds this lock, so a poisoned one is as good as any.
    fn lock(&self) -> MutexGuard<'_, Coming> {
        self.coming.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_due_comes_out_once_and_in_order() {
        let (expirations, [a, b, c]) =
            (Expirations::default(), [Uuid::new_v4(), Uuid::new_v4(), Uuid::new_v4()]);
        let at = Timestamp::from_millis;
        expirations.set(a, at(300));
        expirations.set(b, at(100));
        expirations.set(c, at(200));
        expirations.set(a, at(150));
        assert!(expirations.take_due(at(99)).is_empty());
        assert_eq!(expirations.idle_for(at(99)), Duration::from_millis(1));
        assert_eq!(expirations.take_due(at(150)), [b, a]);
        expirations.forget(c);
        assert!(expirations.take_due(at(1000)).is_empty());
        assert_eq!(expirations.idle_for(at(1000)), CLOCK_CHECK);
    }

    #[test]
    fn the_clock_is_looked_at_again_before_a_far_end() {
        let expirations = Expirations::default();
        expirations.set(Uuid::new_v4(), Timestamp::from_millis(1_000_000));
        assert_eq!(expirations.idle_for(Timestamp::from_millis(0)), CLOCK_CHECK);
    }
}
