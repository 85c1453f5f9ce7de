//! How long to wait before the next attempt: exponential with full jitter, so that many agents do not return at once.

use std::time::Duration;

/// Doubling stops here: 2^20 times any sensible base is beyond every cap, and the shift cannot overflow.
const MAX_DOUBLINGS: u32 = 20;

/// Between attempts to reach a hub again: half of all who lost it are back within a second of its return, for teammates
/// wait, and nobody asks it more than about once a second.
pub(crate) const RECONNECT: Backoff = Backoff::new(Duration::from_millis(500), Duration::from_secs(2));

/// A socket that lived this long proves that connecting works, so delays start over.
pub(crate) const HEALTHY: Duration = Duration::from_secs(10);

/// A schedule of delays between attempts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    base: Duration,
    cap: Duration,
}

impl Backoff {
    /// The first delay is at most `base`; no delay is longer than `cap`.
    pub const fn new(base: Duration, cap: Duration) -> Self {
        Self { base, cap }
    }

    /// The longest delay that may precede the attempt after `failures` failures.
    pub fn ceiling(&self, failures: u32) -> Duration {
        let factor = 1u32 << failures.saturating_sub(1).min(MAX_DOUBLINGS);
        self.base.saturating_mul(factor).min(self.cap)
    }

    /// A delay drawn uniformly between zero and the ceiling (full jitter).
    pub fn delay(&self, failures: u32) -> Duration {
        self.ceiling(failures).mul_f64(unit_fraction())
    }
}

/// A number in `0.0..=1.0`; the middle when the system has no randomness, which only costs the spread.
fn unit_fraction() -> f64 {
    getrandom::u32().map_or(0.5, |bits| f64::from(bits) / f64::from(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_delay_never_exceeds_its_ceiling_nor_the_cap(
            base in 1u64..10_000, cap in 1u64..600_000, failures in any::<u32>()
        ) {
            let backoff = Backoff::new(Duration::from_millis(base), Duration::from_millis(cap));
            prop_assert!(backoff.delay(failures) <= backoff.ceiling(failures));
            prop_assert!(backoff.ceiling(failures) <= Duration::from_millis(cap));
            prop_assert!(backoff.ceiling(failures) <= backoff.ceiling(failures.saturating_add(1)));
        }
    }

    #[test]
    fn the_ceiling_doubles_until_the_cap() {
        let backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(5));
        let ceilings: Vec<u64> = (1..=5).map(|failures| backoff.ceiling(failures).as_secs()).collect();
        assert_eq!(ceilings, [1, 2, 4, 5, 5]);
    }
}
