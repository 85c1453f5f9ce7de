//! The ends of shares to come, in order. [`crate::timer`] waits for them, and looks at the wall clock again at least twice a
//! second, so that a stepped clock or a resumed process is noticed.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::sync::{Notify, futures::Notified};
use uuid::Uuid;

use crate::timestamp::Timestamp;

/// How often the wall clock is looked at, whatever the next end is.
const CLOCK_CHECK: Duration = Duration::from_millis(500);

/// The ends to come.
#[derive(Debug, Default)]
pub struct Expirations {
    coming: Mutex<Coming>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct Coming {
    in_order: BTreeSet<(Timestamp, Uuid)>,
    of_share: HashMap<Uuid, Timestamp>,
}

// === impl Expirations ===

impl Expirations {
    /// Sets when a share ends, in place of what was set.
    pub fn set(&self, share: Uuid, end: Timestamp) {
        let mut coming = self.lock();
        if let Some(before) = coming.of_share.insert(share, end) {
            coming.in_order.remove(&(before, share));
        }
        coming.in_order.insert((end, share));
        drop(coming);
        self.changed.notify_one();
    }

    /// The share has ended otherwise.
    pub fn forget(&self, share: Uuid) {
        let mut coming = self.lock();
        if let Some(end) = coming.of_share.remove(&share) {
            coming.in_order.remove(&(end, share));
        }
    }

    /// Takes out what is due at `now`.
    pub fn take_due(&self, now: Timestamp) -> Vec<Uuid> {
        let mut coming = self.lock();
        let mut due = Vec::new();
        while let Some((end, share)) = coming.in_order.first().copied().filter(|(end, _)| *end <= now) {
            coming.in_order.remove(&(end, share));
            coming.of_share.remove(&share);
            due.push(share);
        }
        due
    }

    /// How long nothing is due, looked at from `now`.
    pub fn idle_for(&self, now: Timestamp) -> Duration {
        self.lock().in_order.first().map_or(CLOCK_CHECK, |(end, _)| now.until(*end)).min(CLOCK_CHECK)
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
    use proptest::prelude::*;

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

    /// What may happen to the timer, with times in milliseconds.
    #[derive(Clone, Debug)]
    enum Step {
        Set(u8, i64),
        Forget(u8),
        /// The timer looks at a clock that has gone on, or was stepped back or forth.
        Look(i64),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            4 => (0..6_u8, 0..20_000_i64).prop_map(|(share, end)| Step::Set(share, end)),
            1 => (0..6_u8).prop_map(Step::Forget),
            4 => (-10_000..10_000_i64).prop_map(Step::Look),
        ]
    }

    proptest! {
        #[test]
        fn every_end_comes_out_once_when_the_clock_shows_it_and_never_before(
            steps in prop::collection::vec(step(), 1..100)
        ) {
            let (expirations, mut armed, mut now) = (Expirations::default(), HashMap::new(), 10_000_i64);
            for step in steps {
                match step {
                    Step::Set(share, end) => {
                        expirations.set(Uuid::from_u128(share.into()), Timestamp::from_millis(end));
                        armed.insert(share, end);
                    }
                    Step::Forget(share) => {
                        expirations.forget(Uuid::from_u128(share.into()));
                        armed.remove(&share);
                    }
                    Step::Look(by) => {
                        now += by;
                        let mut due: Vec<_> = expirations.take_due(Timestamp::from_millis(now));
                        let mut expected: Vec<_> = armed
                            .extract_if(|_, end| *end <= now)
                            .map(|(share, _)| Uuid::from_u128(share.into()))
                            .collect();
                        due.sort();
                        expected.sort();
                        prop_assert_eq!(due, expected);
                    }
                }
                let next = armed.values().min().map_or(CLOCK_CHECK, |end| {
                    Duration::from_millis(u64::try_from(end - now).unwrap_or(0))
                });
                prop_assert_eq!(expirations.idle_for(Timestamp::from_millis(now)), next.min(CLOCK_CHECK));
            }
        }
    }

    #[test]
    fn the_clock_is_looked_at_again_before_a_far_end() {
        let expirations = Expirations::default();
        expirations.set(Uuid::new_v4(), Timestamp::from_millis(1_000_000));
        assert_eq!(expirations.idle_for(Timestamp::from_millis(0)), CLOCK_CHECK);
    }
}
