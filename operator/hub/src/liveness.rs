//! How long something has been quiet: marked by one side, asked by another, without a lock.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;

/// When something last happened, to the millisecond. Clones share it; a new one has just happened.
#[derive(Clone, Debug)]
pub(crate) struct LastActivity {
    started: Instant,
    /// Milliseconds after `started`.
    millis: Arc<AtomicU64>,
}

// === impl LastActivity ===

impl LastActivity {
    pub(crate) fn now() -> Self {
        Self { started: Instant::now(), millis: Arc::default() }
    }

    /// It happens now.
    pub(crate) fn touch(&self) {
        self.millis.store(self.age(), Ordering::Relaxed);
    }

    pub(crate) fn idle_for(&self) -> Duration {
        Duration::from_millis(self.age().saturating_sub(self.millis.load(Ordering::Relaxed)))
    }

    fn age(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn it_is_quiet_since_the_last_touch_of_any_clone() {
        let sign = LastActivity::now();
        tokio::time::advance(Duration::from_millis(1500)).await;
        assert_eq!(sign.idle_for(), Duration::from_millis(1500));
        sign.clone().touch();
        tokio::time::advance(Duration::from_millis(20)).await;
        assert_eq!(sign.idle_for(), Duration::from_millis(20));
    }
}
