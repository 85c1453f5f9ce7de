//! Who has guessed too often, and who has joined too often. Failed previews and joins are counted by address and by code
//! over a fixed window; the memory of it is bounded, and lost at a restart, which helps a guesser by one window at most.
//!
//! A try is counted before the code is looked up and forgiven when it was right, so that of a thousand guesses at once no
//! more are answered than of a thousand in a row. Who has used up its tries is asked all the same whether its code is
//! right: others behind the same address have a right one. What it hears for a wrong one, 429, says nothing of the code.
//!
//! So a guesser may go on, as fast as [`LOOKUPS_BEYOND`] allows to all guessers together: 1,000 a second of 31^10 = 8.2e14
//! codes. With 1,000 shares open, one is found after 8.2e14 / 1,000 / 1,000 = 8.2e8 seconds in the mean, 26 years; a
//! code ends long before.

use std::{
    collections::HashMap,
    fmt,
    hash::Hash,
    net::IpAddr,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use crate::{
    limits::{ATTEMPT_ENTRIES, ATTEMPT_WINDOW, LOOKUPS_BEYOND, Limits},
    places::household,
    secret::ShareCode,
};

/// Tries of late.
pub struct RateLimiter {
    per_address: u32,
    per_code: u32,
    joins_per_address: u32,
    failures: Mutex<Counts<Suspect>>,
    joins: Mutex<Counts<IpAddr>>,
    beyond: Mutex<Counts<()>>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Suspect {
    Address(IpAddr),
    Code(ShareCode),
}

/// Counts over a window, each from when it began.
#[derive(Debug)]
struct Counts<K> {
    window: Duration,
    by: HashMap<K, Count>,
}

#[derive(Debug, Clone, Copy)]
struct Count {
    count: u32,
    since: Instant,
}

/// A try that is being made. It counts as a failure until it is forgiven.
#[derive(Debug)]
pub struct Try<'a> {
    limiter: &'a RateLimiter,
    /// What it was counted for, and when that window began.
    counted: Vec<(Suspect, Instant)>,
    /// There was no try left: how long until there is.
    pub beyond: Option<Duration>,
}

// === impl RateLimiter ===

impl RateLimiter {
    pub fn new(limits: &Limits) -> Self {
        Self {
            per_address: limits.failures_per_address,
            per_code: limits.failures_per_code,
            joins_per_address: limits.joins_per_address,
            failures: Mutex::new(Counts::over(ATTEMPT_WINDOW)),
            joins: Mutex::new(Counts::over(ATTEMPT_WINDOW)),
            beyond: Mutex::new(Counts::over(Duration::from_secs(1))),
        }
    }

    /// Begins a try at `now`; an error says how long nothing will be looked up.
    pub fn begin(
        &self,
        address: IpAddr,
        code: Option<&ShareCode>,
        now: Instant,
    ) -> Result<Try<'_>, Duration> {
        let code = code.map(|code| (Suspect::Code(code.clone()), self.per_code));
        let suspects = [(Suspect::Address(household(address)), self.per_address)].into_iter().chain(code);
        let suspects = suspects.collect::<Vec<_>>();
        let mut failures = lock(&self.failures);
        let waits = suspects.iter().filter_map(|(suspect, limit)| failures.wait(suspect, *limit, now));
        if let Some(wait) = waits.max() {
            drop(failures);
            // Nobody is told more by this than that the hub has much to do.
            let room = lock(&self.beyond).take((), LOOKUPS_BEYOND, now);
            return room.map(|_| Try { limiter: self, counted: Vec::new(), beyond: Some(wait) });
        }
        let counted = suspects.into_iter().map(|(suspect, _)| (suspect.clone(), failures.add(suspect, now)));
        Ok(Try { limiter: self, counted: counted.collect(), beyond: None })
    }

    /// Counts somebody new from `address` who joins; an error says how long no other may.
    pub fn joins(&self, address: IpAddr, now: Instant) -> Result<(), Duration> {
        lock(&self.joins).take(household(address), self.joins_per_address, now).map(drop)
    }
}

impl fmt::Debug for RateLimiter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RateLimiter").finish_non_exhaustive()
    }
}

// === impl Try ===

impl Try<'_> {
    /// The code was right, or it is not the guesser's fault that nobody knows.
    pub fn forgive(self) {
        let mut failures = lock(&self.limiter.failures);
        for (suspect, since) in &self.counted {
            failures.give_back(suspect, *since);
        }
    }
}

// === impl Counts ===

impl<K: Clone + Eq + Hash> Counts<K> {
    fn over(window: Duration) -> Self {
        Self { window, by: HashMap::new() }
    }

    /// How long `key` has to wait if it has used up `limit`.
    fn wait(&self, key: &K, limit: u32, now: Instant) -> Option<Duration> {
        let count = self.by.get(key).filter(|count| count.count >= limit)?;
        let left = self.window.checked_sub(now.saturating_duration_since(count.since))?;
        (!left.is_zero()).then_some(left)
    }

    /// One more, unless `key` has used up `limit`: then how long to wait. Since when is counted.
    fn take(&mut self, key: K, limit: u32, now: Instant) -> Result<Instant, Duration> {
        match self.wait(&key, limit, now) {
            Some(wait) => Err(wait),
            None => Ok(self.add(key, now)),
        }
    }

    /// One more; since when is counted.
    fn add(&mut self, key: K, now: Instant) -> Instant {
        if !self.by.contains_key(&key) {
            self.make_room(now);
        }
        let window = self.window;
        let entry = self.by.entry(key).or_insert(Count { count: 0, since: now });
        if now.saturating_duration_since(entry.since) >= window {
            *entry = Count { count: 0, since: now };
        }
        entry.count = entry.count.saturating_add(1);
        entry.since
    }

    /// One less of those since then.
    fn give_back(&mut self, key: &K, since: Instant) {
        if let Some(entry) = self.by.get_mut(key).filter(|entry| entry.since == since) {
            entry.count = entry.count.saturating_sub(1);
            if entry.count == 0 {
                self.by.remove(key);
            }
        }
    }

    fn make_room(&mut self, now: Instant) {
        if self.by.len() < ATTEMPT_ENTRIES {
            return;
        }
        let window = self.window;
        self.by.retain(|_, entry| now.saturating_duration_since(entry.since) < window);
        if self.by.len() >= ATTEMPT_ENTRIES {
            let oldest = self.by.iter().min_by_key(|(_, entry)| entry.since).map(|(key, _)| key.clone());
            oldest.map(|key| self.by.remove(&key));
        }
    }
}

/// No code of ours panics while it holds one of these locks, so a poisoned one is as good as any.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limiter(failures_per_address: u32, failures_per_code: u32) -> RateLimiter {
        RateLimiter::new(&Limits { failures_per_address, failures_per_code, ..Limits::default() })
    }

    fn address(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    /// Tries and fails; how long the address or the code has to wait, if it has.
    fn fail(limiter: &RateLimiter, from: &str, code: Option<&ShareCode>, now: Instant) -> Option<Duration> {
        limiter.begin(address(from), code, now).expect("not too many at once").beyond
    }

    #[test]
    fn an_address_is_kept_out_for_the_window_and_no_longer() {
        let (limiter, start) = (limiter(3, 100), Instant::now());
        for _ in 0..3 {
            assert_eq!(fail(&limiter, "192.0.2.1", None, start), None);
        }
        assert_eq!(fail(&limiter, "::ffff:192.0.2.1", None, start), Some(ATTEMPT_WINDOW));
        assert_eq!(fail(&limiter, "192.0.2.2", None, start), None);
        let later = start + ATTEMPT_WINDOW - Duration::from_secs(1);
        assert_eq!(fail(&limiter, "192.0.2.1", None, later), Some(Duration::from_secs(1)));
        let over = start + ATTEMPT_WINDOW;
        for _ in 0..3 {
            assert_eq!(fail(&limiter, "192.0.2.1", None, over), None, "counts anew");
        }
        assert_eq!(fail(&limiter, "192.0.2.1", None, over), Some(ATTEMPT_WINDOW));
    }

    #[test]
    fn a_v6_household_counts_as_one() {
        let (limiter, now) = (limiter(1, 100), Instant::now());
        assert_eq!(fail(&limiter, "2001:db8::1", None, now), None);
        assert!(fail(&limiter, "2001:db8::ffff:1", None, now).is_some());
        assert_eq!(fail(&limiter, "2001:db8:0:1::1", None, now), None);
    }

    #[test]
    fn a_code_is_counted_over_all_addresses() {
        let (limiter, now) = (limiter(100, 2), Instant::now());
        let code = ShareCode::parse("abcdefgh23").expect("possible");
        assert_eq!(fail(&limiter, "192.0.2.1", Some(&code), now), None);
        assert_eq!(fail(&limiter, "192.0.2.2", Some(&code), now), None);
        assert!(fail(&limiter, "192.0.2.3", Some(&code), now).is_some());
        assert_eq!(fail(&limiter, "192.0.2.3", None, now), None);
    }

    #[test]
    fn a_right_code_costs_nothing_and_a_try_under_way_counts() {
        let (limiter, now) = (limiter(2, 100), Instant::now());
        for _ in 0..10 {
            limiter.begin(address("192.0.2.1"), None, now).expect("room").forgive();
        }
        let first = limiter.begin(address("192.0.2.1"), None, now).expect("room");
        let second = limiter.begin(address("192.0.2.1"), None, now).expect("room");
        let third = limiter.begin(address("192.0.2.1"), None, now).expect("room");
        assert_eq!((first.beyond, second.beyond), (None, None));
        assert_eq!(third.beyond, Some(ATTEMPT_WINDOW));
        third.forgive();
        assert!(fail(&limiter, "192.0.2.1", None, now).is_some(), "what was not counted is not given back");
        first.forgive();
        assert_eq!(fail(&limiter, "192.0.2.1", None, now), None);
        let over = now + ATTEMPT_WINDOW;
        assert_eq!(fail(&limiter, "192.0.2.1", None, over), None);
        second.forgive();
        assert_eq!(fail(&limiter, "192.0.2.1", None, over), None);
        assert!(
            fail(&limiter, "192.0.2.1", None, over).is_some(),
            "a try of the last window is not one of this"
        );
    }

    #[test]
    fn those_who_have_no_try_left_are_slow_together() {
        let (limiter, now) = (limiter(1, 100), Instant::now());
        assert_eq!(fail(&limiter, "192.0.2.1", None, now), None);
        for _ in 0..LOOKUPS_BEYOND {
            assert!(fail(&limiter, "192.0.2.1", None, now).is_some());
        }
        let wait = limiter.begin(address("192.0.2.1"), None, now).expect_err("no more in this second");
        assert!(wait <= Duration::from_secs(1));
        assert!(limiter.begin(address("192.0.2.1"), None, now + wait).is_ok());
    }

    #[test]
    fn memory_is_bounded() {
        let (limiter, now) = (limiter(1, 100), Instant::now());
        let many = u32::try_from(ATTEMPT_ENTRIES).expect("fits") + 10;
        for number in 0..many {
            let then = now + Duration::from_millis(u64::from(number));
            let _ = limiter.begin(IpAddr::V4(number.into()), None, then);
        }
        assert_eq!(limiter.failures.lock().expect("not poisoned").by.len(), ATTEMPT_ENTRIES);
        let last = limiter.begin(IpAddr::V4((many - 1).into()), None, now).expect("room");
        assert!(last.beyond.is_some(), "the newest is remembered");
    }
}
