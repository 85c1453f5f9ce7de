//! The end of a share at the data plane, whether it has services of its own or has them in common with others.

use std::sync::{MutexGuard, PoisonError};

use connect_hub::tunnel::routes::{EndReason, ShareKey};
use tokio::sync::MutexGuard as AsyncMutexGuard;

use super::HubConnection;
use crate::tunnels::shared::{SharedServices, Use, service_key};

impl HubConnection {
    /// Refuses a share's dials and cuts its connections, now. Services that it has in common with others go on while one of
    /// these is left.
    pub fn end_share(&self, share: &ShareKey, why: EndReason) {
        self.routes.end(share, why);
        self.forget_secrets(share);
        let mut shared = self.shared();
        for service in shared.leaves(share) {
            self.follow_users(&shared, &service);
        }
    }

    /// As [`Self::end_share`], for a share whose object is gone; a later one of the same name begins anew.
    pub fn forget_share(&self, share: &ShareKey) {
        self.end_share(share, EndReason::Withdrawn);
        self.routes.forget(share);
        self.gives_back(share);
    }

    /// Notes which services a share has in common with others, until when, and what it asks of who connects.
    pub fn uses_in_common(&self, share: &ShareKey, used: Use) {
        let mut shared = self.shared();
        for service in shared.uses(share, used) {
            self.follow_users(&shared, &service);
        }
    }

    /// Whether any share uses this service in common with others.
    pub fn is_used(&self, service: &str) -> bool {
        self.shared().is_used(service)
    }

    /// Whether it is known what the share uses in common with others.
    pub fn knows_use_of(&self, share: &ShareKey) -> bool {
        self.shared().knows(share)
    }

    /// Held while a service in common is registered or freed, so that none is freed which another share is just taking.
    pub async fn commons(&self) -> AsyncMutexGuard<'_, ()> {
        self.commons.lock().await
    }

    fn shared(&self) -> MutexGuard<'_, SharedServices> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Opens a service until the last end of its users, or ends it when there is none.
    fn follow_users(&self, shared: &SharedServices, service: &str) {
        let key = service_key(service);
        match shared.last_end(service) {
            Some(end) => {
                if self.routes.ended_reason(&key).is_some() {
                    self.routes.forget(&key);
                }
                self.routes.set_verification(&key, shared.verification(service));
                self.routes.set_end(&key, end);
            }
            None => self.routes.end(&key, EndReason::Withdrawn),
        }
    }
}
