//! Who has guessed too often. Failed previews and joins are counted by address and by code over a fixed window; the
//! memory of it is bounded, and lost at a restart, which helps a guesser by one window at most.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv6Addr},
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use crate::{
    limits::{ATTEMPT_ENTRIES, ATTEMPT_WINDOW},
    secret::ShareCode,
};

/// Failures of late.
#[derive(Debug)]
pub struct Attempts {
    per_address: u32,
    per_code: u32,
    failures: Mutex<HashMap<Suspect, Failures>>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Suspect {
    Address(IpAddr),
    Code(ShareCode),
}

#[derive(Debug)]
struct Failures {
    count: u32,
    since: Instant,
}

// === impl Attempts ===

impl Attempts {
    pub fn new(per_address: u32, per_code: u32) -> Self {
        Self { per_address, per_code, failures: Mutex::default() }
    }

    /// Whether another attempt may be made at `now`; if not, how long to wait.
    pub fn check(&self, address: IpAddr, code: Option<&ShareCode>, now: Instant) -> Result<(), Duration> {
        let failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        let waits = self.suspects(address, code).filter_map(|(suspect, limit)| {
            let failures = failures.get(&suspect)?;
            let left = ATTEMPT_WINDOW.checked_sub(now.saturating_duration_since(failures.since))?;
            (failures.count >= limit && !left.is_zero()).then_some(left)
        });
        waits.max().map_or(Ok(()), Err)
    }

    /// Counts a failure.
    pub fn failed(&self, address: IpAddr, code: Option<&ShareCode>, now: Instant) {
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        for (suspect, _) in self.suspects(address, code) {
            make_room(&mut failures, now);
            let entry = failures.entry(suspect).or_insert(Failures { count: 0, since: now });
            if is_over(entry, now) {
                *entry = Failures { count: 0, since: now };
            }
            entry.count = entry.count.saturating_add(1);
        }
    }

    fn suspects(&self, address: IpAddr, code: Option<&ShareCode>) -> impl Iterator<Item = (Suspect, u32)> {
        let code = code.map(|code| (Suspect::Code(code.clone()), self.per_code));
        [(Suspect::Address(household(address)), self.per_address)].into_iter().chain(code)
    }
}

fn is_over(failures: &Failures, now: Instant) -> bool {
    now.saturating_duration_since(failures.since) >= ATTEMPT_WINDOW
}

fn make_room(failures: &mut HashMap<Suspect, Failures>, now: Instant) {
    if failures.len() < ATTEMPT_ENTRIES {
        return;
    }
    failures.retain(|_, entry| !is_over(entry, now));
    if failures.len() >= ATTEMPT_ENTRIES {
        let oldest = failures.iter().min_by_key(|(_, entry)| entry.since).map(|(suspect, _)| suspect.clone());
        oldest.map(|suspect| failures.remove(&suspect));
    }
}

/// One customer's addresses: an IPv6 customer has a whole /64, and an IPv4 one may come dressed as IPv6.
fn household(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
        v4 @ IpAddr::V4(_) => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn an_address_is_kept_out_for_the_window_and_no_longer() {
        let (attempts, start) = (Attempts::new(3, 100), Instant::now());
        for _ in 0..3 {
            assert_eq!(attempts.check(address("192.0.2.1"), None, start), Ok(()));
            attempts.failed(address("192.0.2.1"), None, start);
        }
        assert_eq!(attempts.check(address("::ffff:192.0.2.1"), None, start), Err(ATTEMPT_WINDOW));
        assert_eq!(attempts.check(address("192.0.2.2"), None, start), Ok(()));
        let later = start + ATTEMPT_WINDOW - Duration::from_secs(1);
        assert_eq!(attempts.check(address("192.0.2.1"), None, later), Err(Duration::from_secs(1)));
        let over = start + ATTEMPT_WINDOW;
        assert_eq!(attempts.check(address("192.0.2.1"), None, over), Ok(()));
        attempts.failed(address("192.0.2.1"), None, over);
        assert_eq!(attempts.check(address("192.0.2.1"), None, over), Ok(()), "counts anew");
    }

    #[test]
    fn a_v6_household_counts_as_one() {
        let (attempts, now) = (Attempts::new(1, 100), Instant::now());
        attempts.failed(address("2001:db8::1"), None, now);
        assert!(attempts.check(address("2001:db8::ffff:1"), None, now).is_err());
        assert!(attempts.check(address("2001:db8:0:1::1"), None, now).is_ok());
    }

    #[test]
    fn a_code_is_counted_over_all_addresses() {
        let (attempts, now) = (Attempts::new(100, 2), Instant::now());
        let code = ShareCode::parse("abcdefgh23").expect("possible");
        attempts.failed(address("192.0.2.1"), Some(&code), now);
        attempts.failed(address("192.0.2.2"), Some(&code), now);
        assert!(attempts.check(address("192.0.2.3"), Some(&code), now).is_err());
        assert!(attempts.check(address("192.0.2.3"), None, now).is_ok());
    }

    #[test]
    fn memory_is_bounded() {
        let (attempts, now) = (Attempts::new(1, 100), Instant::now());
        for number in 0..u32::try_from(ATTEMPT_ENTRIES).expect("fits") + 10 {
            attempts.failed(IpAddr::V4(number.into()), None, now + Duration::from_millis(u64::from(number)));
        }
        assert_eq!(attempts.failures.lock().expect("not poisoned").len(), ATTEMPT_ENTRIES);
        let last = IpAddr::V4((u32::try_from(ATTEMPT_ENTRIES).expect("fits") + 9).into());
        assert!(attempts.check(last, None, now).is_err(), "the newest is remembered");
    }
}
