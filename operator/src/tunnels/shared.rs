//! Services at a hub that several shares have in common: who uses which, and until when.
//!
//! A connection to such a service cannot be told from another share's. So a service is open until the latest end among the
//! shares that use it, and ends when none of them is left.

use std::collections::{BTreeSet, HashMap};

use connect_hub::tunnel::routes::ShareKey;
use jiff::Timestamp;

/// Who uses which services.
#[derive(Debug, Default)]
pub struct SharedServices {
    services: HashMap<String, HashMap<ShareKey, Option<Timestamp>>>,
    shares: HashMap<ShareKey, Use>,
}

/// What one share uses, and until when: without an end it holds the services and opens none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Use {
    ends_at: Option<Timestamp>,
    services: BTreeSet<String>,
}

/// The name of a service at the data plane, as if it were a share of its own.
pub fn service_key(service: &str) -> ShareKey {
    ShareKey(service.to_owned())
}

// === impl SharedServices ===

impl SharedServices {
    /// Notes what a share uses from now on. Returns the services whose users are others than before.
    pub fn uses(
        &mut self,
        share: &ShareKey,
        ends_at: Option<Timestamp>,
        services: BTreeSet<String>,
    ) -> BTreeSet<String> {
        let new = Use { ends_at, services };
        if self.shares.get(share) == Some(&new) {
            return BTreeSet::new();
        }
        let mut touched = self.leaves(share);
        for service in &new.services {
            self.services.entry(service.clone()).or_default().insert(share.clone(), ends_at);
        }
        touched.extend(new.services.iter().cloned());
        self.shares.insert(share.clone(), new);
        touched
    }

    /// Notes that a share uses nothing any more. Returns the services that it used.
    pub fn leaves(&mut self, share: &ShareKey) -> BTreeSet<String> {
        let Use { services, .. } = self.shares.remove(share).unwrap_or_default();
        for service in &services {
            if let Some(users) = self.services.get_mut(service) {
                users.remove(share);
                if users.is_empty() {
                    self.services.remove(service);
                }
            }
        }
        services
    }

    /// Whether it is known what this share uses, be it nothing.
    pub fn knows(&self, share: &ShareKey) -> bool {
        self.shares.contains_key(share)
    }

    /// Whether any share uses the service.
    pub fn is_used(&self, service: &str) -> bool {
        self.services.contains_key(service)
    }

    /// When the last share that uses the service ends.
    pub fn last_end(&self, service: &str) -> Option<Timestamp> {
        self.services.get(service)?.values().flatten().max().copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(name: &str) -> ShareKey {
        ShareKey(format!("shop/{name}/uid"))
    }

    fn names(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(|&name| name.to_owned()).collect()
    }

    fn at(second: i64) -> Option<Timestamp> {
        Timestamp::from_second(second).ok()
    }

    #[test]
    fn a_service_ends_with_the_last_share_that_uses_it() {
        let mut shared = SharedServices::default();
        assert_eq!(shared.uses(&key("one"), at(10), names(&["api", "db"])), names(&["api", "db"]));
        assert_eq!(shared.uses(&key("two"), at(30), names(&["api"])), names(&["api"]));
        assert_eq!(shared.last_end("api"), at(30));
        assert_eq!(shared.last_end("db"), at(10));

        assert_eq!(shared.leaves(&key("two")), names(&["api"]));
        assert_eq!(shared.last_end("api"), at(10));
        assert_eq!(shared.leaves(&key("one")), names(&["api", "db"]));
        assert_eq!(shared.last_end("api"), None);
        assert!(!shared.is_used("api"));
    }

    #[test]
    fn what_has_not_changed_touches_nothing_and_what_has_touches_both_sides() {
        let mut shared = SharedServices::default();
        shared.uses(&key("one"), at(10), names(&["api", "db"]));
        assert_eq!(shared.uses(&key("one"), at(10), names(&["api", "db"])), names(&[]));
        assert_eq!(shared.uses(&key("one"), at(10), names(&["db", "web"])), names(&["api", "db", "web"]));
        assert!(!shared.is_used("api"));
        assert_eq!(shared.uses(&key("one"), at(20), names(&["db", "web"])), names(&["db", "web"]));
        assert_eq!(shared.last_end("web"), at(20));
    }

    #[test]
    fn a_share_without_an_end_holds_a_service_and_does_not_open_it() {
        let mut shared = SharedServices::default();
        shared.uses(&key("one"), None, names(&["api"]));
        assert!(shared.is_used("api") && shared.knows(&key("one")));
        assert_eq!(shared.last_end("api"), None);
        assert!(!shared.knows(&key("two")));
    }
}
