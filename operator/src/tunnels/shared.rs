//! Services at a hub that several shares have in common: who uses which, and until when.
//!
//! A connection to such a service cannot be told from another share's. So a service is open until the latest end among the
//! shares that use it, and ends when none of them is left. Whoever connects knows the secret of one of them, or of none
//! while one of them takes such joiners.

use std::collections::{BTreeSet, HashMap};

use connect_hub::code_key::Verification;
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
pub struct Use {
    /// The share's end.
    pub ends_at: Option<Timestamp>,
    /// Names of the services at the hub.
    pub services: BTreeSet<String>,
    /// What the share asks of who connects.
    pub verification: Verification,
}

/// The name of a service at the data plane, as if it were a share of its own.
pub fn service_key(service: &str) -> ShareKey {
    ShareKey(service.to_owned())
}

// === impl SharedServices ===

impl SharedServices {
    /// Notes what a share uses from now on. Returns the services whose users are others than before.
    pub fn uses(&mut self, share: &ShareKey, new: Use) -> BTreeSet<String> {
        if self.shares.get(share) == Some(&new) {
            return BTreeSet::new();
        }
        let mut touched = self.leaves(share);
        for service in &new.services {
            self.services.entry(service.clone()).or_default().insert(share.clone(), new.ends_at);
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

    /// What is asked of who connects to the service: to know the secret of one of the shares that use it, or nothing, when one of
    /// them asks for nothing.
    pub fn verification(&self, service: &str) -> Verification {
        let users = self.services.get(service).into_iter().flatten().filter(|(_, end)| end.is_some());
        let asked: Vec<&Verification> =
            users.filter_map(|(share, _)| self.shares.get(share).map(|used| &used.verification)).collect();
        Verification {
            keys: asked.iter().flat_map(|asked| asked.keys.iter().cloned()).collect(),
            required: !asked.is_empty() && asked.iter().all(|asked| asked.required),
        }
    }

    /// When the last share that uses the service ends.
    pub fn last_end(&self, service: &str) -> Option<Timestamp> {
        self.services.get(service)?.values().flatten().max().copied()
    }
}

#[cfg(test)]
mod tests {
    use connect_hub::code_key::CodeKey;

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

    fn used(ends_at: Option<Timestamp>, services: &[&str]) -> Use {
        Use { ends_at, services: names(services), verification: Verification::default() }
    }

    #[test]
    fn who_connects_knows_the_secret_of_one_share_unless_one_asks_for_none() {
        let asks = |secret: &str, required| Verification {
            keys: vec![CodeKey::new("handle", &secret.into())],
            required,
        };
        let mut shared = SharedServices::default();
        assert_eq!(shared.verification("api"), Verification::default());
        let mut uses = |name: &str, end: Option<Timestamp>, verification: Verification| {
            shared.uses(&key(name), Use { verification, ..used(end, &["api"]) });
            let Verification { keys, required } = shared.verification("api");
            (keys.len(), required)
        };
        assert_eq!(uses("one", at(10), asks("a", true)), (1, true));
        assert_eq!(uses("two", at(10), asks("b", true)), (2, true));
        assert_eq!(uses("ended", None, Verification::default()), (2, true), "it opens nothing");
        assert_eq!(uses("old", at(10), Verification::default()), (2, false));
        assert_eq!(uses("old", at(10), asks("c", true)), (3, true));
    }

    #[test]
    fn a_service_ends_with_the_last_share_that_uses_it() {
        let mut shared = SharedServices::default();
        assert_eq!(shared.uses(&key("one"), used(at(10), &["api", "db"])), names(&["api", "db"]));
        assert_eq!(shared.uses(&key("two"), used(at(30), &["api"])), names(&["api"]));
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
        shared.uses(&key("one"), used(at(10), &["api", "db"]));
        assert_eq!(shared.uses(&key("one"), used(at(10), &["api", "db"])), names(&[]));
        assert_eq!(shared.uses(&key("one"), used(at(10), &["db", "web"])), names(&["api", "db", "web"]));
        assert!(!shared.is_used("api"));
        assert_eq!(shared.uses(&key("one"), used(at(20), &["db", "web"])), names(&["db", "web"]));
        assert_eq!(shared.last_end("web"), at(20));
    }

    #[test]
    fn a_share_without_an_end_holds_a_service_and_does_not_open_it() {
        let mut shared = SharedServices::default();
        shared.uses(&key("one"), used(None, &["api"]));
        assert!(shared.is_used("api") && shared.knows(&key("one")));
        assert_eq!(shared.last_end("api"), None);
        assert!(!shared.knows(&key("two")));
    }
}
