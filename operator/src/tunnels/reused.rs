//! Which share uses a service that was made for another.

use std::collections::HashMap;

use connect_hub::tunnel::routes::ShareKey;

/// Services by their names at the hub, each with the share that uses it and the route that it is used for.
#[derive(Debug, Default)]
pub struct ReusedServices(HashMap<String, (ShareKey, String)>);

// === impl ReusedServices ===

impl ReusedServices {
    /// Notes that a share uses the service for this route; false when another share does.
    pub fn take(&mut self, share: &ShareKey, service: &str, route: &str) -> bool {
        if self.user(service).is_some_and(|user| user != share) {
            return false;
        }
        self.0.insert(service.to_owned(), (share.clone(), route.to_owned()));
        true
    }

    /// Who uses the service.
    pub fn user(&self, service: &str) -> Option<&ShareKey> {
        self.0.get(service).map(|(share, _)| share)
    }

    /// Routes of the share, each with the service that it uses.
    pub fn of(&self, share: &ShareKey) -> Vec<(String, String)> {
        let theirs = self.0.iter().filter(|(_, (user, _))| user == share);
        theirs.map(|(service, (_, route))| (route.clone(), service.clone())).collect()
    }

    /// Notes that the service is not used any more.
    pub fn give_back(&mut self, service: &str) {
        self.0.remove(service);
    }

    /// Notes that the share uses none any more.
    pub fn leaves(&mut self, share: &ShareKey) {
        self.0.retain(|_, (user, _)| user != share);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_has_one_user_until_it_is_given_back() {
        let (one, other) = (ShareKey("shop/one/u".to_owned()), ShareKey("shop/other/u".to_owned()));
        let mut reused = ReusedServices::default();
        assert!(reused.take(&one, "shop/old/db@m", "db") && reused.take(&one, "shop/old/db@m", "db"));
        assert!(!reused.take(&other, "shop/old/db@m", "db"));
        assert_eq!(reused.of(&one), [("db".to_owned(), "shop/old/db@m".to_owned())]);
        assert!(reused.of(&other).is_empty());
        reused.leaves(&one);
        assert!(reused.take(&other, "shop/old/db@m", "db"));
        reused.give_back("shop/old/db@m");
        assert_eq!(reused.user("shop/old/db@m"), None);
    }
}
