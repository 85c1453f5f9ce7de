//! The timer that ends shares on time: one task for all of them, by the wall clock, which it looks at again at least
//! twice a second, so that a stepped clock or a resumed process is noticed.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{sync::Notify, time::Instant};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::{
    core::Core,
    error_chain,
    limits::{ENDED_GUEST_LIFE, ENDED_SHARE_LIFE},
    store::StoreError,
    timestamp::Timestamp,
};

/// How often the wall clock is looked at, whatever the next end is.
const CLOCK_CHECK: Duration = Duration::from_millis(500);
/// How often what ended long ago is forgotten.
const CLEANING: Duration = Duration::from_secs(3600);

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
    fn take_due(&self, now: Timestamp) -> Vec<Uuid> {
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
    fn idle_for(&self, now: Timestamp) -> Duration {
        self.lock().in_order.first().map_or(CLOCK_CHECK, |(end, _)| now.until(*end)).min(CLOCK_CHECK)
    }

    /// No code panics while it holds this lock, so a poisoned one is as good as any.
    fn lock(&self) -> MutexGuard<'_, Coming> {
        self.coming.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Ends what became due while the hub was away and learns the ends to come. To be called before anything is served.
pub async fn catch_up(core: &Core) -> Result<(), StoreError> {
    let ended = core.store.end_due_shares(Timestamp::now()).await?;
    if ended > 0 {
        tracing::info!(ended, "shares ended while the hub was away");
    }
    for (share, end) in core.store.coming_ends().await? {
        core.expirations.set(share, end);
    }
    Ok(())
}

/// Ends shares on time until cancelled.
pub async fn run(core: Arc<Core>, stop: CancellationToken) {
    let mut cleaned: Option<Instant> = None;
    loop {
        let due = core.expirations.take_due(Timestamp::now());
        if !due.is_empty() {
            core.expire(&due);
        }
        if cleaned.is_none_or(|at| at.elapsed() >= CLEANING) {
            cleaned = Some(Instant::now());
            tokio::spawn(clean(core.clone()));
        }
        let idle = core.expirations.idle_for(Timestamp::now());
        tokio::select! {
            () = tokio::time::sleep(idle) => {}
            () = core.expirations.changed.notified() => {}
            () = stop.cancelled() => return,
        }
    }
}

async fn clean(core: Arc<Core>) {
    let now = Timestamp::now();
    match core.store.forget_ended_shares(now.before(ENDED_SHARE_LIFE)).await {
        Ok(0) => {}
        Ok(forgotten) => tracing::info!(forgotten, "forgot shares that ended long ago"),
        Err(error) => {
            tracing::error!(error = error_chain(&error), "cannot forget shares that ended long ago");
        }
    }
    if let Err(error) = core.store.forget_guests(now.before(ENDED_GUEST_LIFE)).await {
        tracing::error!(error = error_chain(&error), "cannot forget guests whose shares have ended");
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
