//! How long an object that failed waits before it is tried again: exponential, per object, drawn between half and all of it.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use connect_hub::backoff::Backoff;

/// Wait after the first failure. Short, because most failures are a conflict or a restart.
const BASE: Duration = Duration::from_millis(200);

/// Longest wait. An object is looked at again at least this often once the other side has recovered.
const CAP: Duration = Duration::from_secs(30);

/// Doubles from the one to the other.
const BACKOFF: Backoff = Backoff::new(BASE, CAP);

/// Failures counted per object. One entry per failing object; a success removes it.
#[derive(Debug, Default)]
pub struct RetryDelays {
    failures: Mutex<HashMap<String, u32>>,
}

impl RetryDelays {
    /// Counts one more failure of the object and says how long to wait.
    pub fn failed(&self, object: &str) -> Duration {
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        let count = failures.entry(object.to_owned()).or_insert(0);
        *count = count.saturating_add(1);
        jittered(BACKOFF.ceiling(*count), random_fraction())
    }

    /// Forgets the object's failures: it succeeded, or is gone.
    pub fn succeeded(&self, object: &str) {
        self.failures.lock().unwrap_or_else(PoisonError::into_inner).remove(object);
    }
}

/// Between half and all of the ceiling: spread out, and never a busy loop.
fn jittered(ceiling: Duration, fraction: f64) -> Duration {
    ceiling.mul_f64(0.5 + fraction.clamp(0.0, 1.0) / 2.0)
}

/// A number between 0 and 1 from the system's random source; 1 should it fail, which only lengthens the wait.
pub fn random_fraction() -> f64 {
    getrandom::u32().map_or(1.0, |number| f64::from(number) / f64::from(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_the_cap_and_start_again_after_a_success() {
        let backoff = RetryDelays::default();
        for _ in 0..20 {
            assert!(backoff.failed("a") <= CAP);
        }
        backoff.succeeded("a");
        assert!(backoff.failed("a") <= BASE);
    }

    #[test]
    fn jitter_stays_within_half_and_all() {
        assert_eq!(jittered(CAP, 0.0), CAP / 2);
        assert_eq!(jittered(CAP, 1.0), CAP);
        assert_eq!(jittered(CAP, 7.0), CAP);
    }
}
