//! The start: caches are filled before anything is done, but one namespace of many holds up no other.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use kube::Resource;
use kube::runtime::reflector::Store;
use thiserror::Error;
use tokio::time::Instant;

use crate::state::Stores;

/// How long the caches may take to fill before the operator gives up and is restarted.
pub const FILL_DEADLINE: Duration = Duration::from_secs(60);

/// How long one namespace of many may take to fill its caches before the others are no longer held up by it.
const ONE_OF_MANY: Duration = Duration::from_secs(10);

/// Why a cache is not filled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum NotFilled {
    /// Its watch tries in vain.
    #[error("cannot list {what} within {} s; are the CustomResourceDefinitions installed, and may the operator list them?", patience.as_secs())]
    Late {
        /// What is listed.
        what: &'static str,
        /// For how long it was waited for.
        patience: Duration,
    },
    /// There is no watch any more, and waiting is in vain: the operator is stopping.
    #[error("the watch of {what} ended")]
    Ended {
        /// What was watched.
        what: &'static str,
    },
}

/// How far the caches of all scopes are.
#[derive(Clone, Debug)]
pub struct Filling {
    /// Scopes that are waited for.
    left: Arc<AtomicUsize>,
    /// How many there are.
    of: usize,
    /// Whether any is filled.
    any: Arc<AtomicBool>,
}

impl Filling {
    /// Of so many scopes; `left` is how many are still waited for.
    pub fn new(left: Arc<AtomicUsize>, of: usize) -> Self {
        left.store(of, Ordering::Release);
        Self { left, of, any: Arc::default() }
    }

    /// Waits until the caches of one scope are filled. One namespace of many that cannot be read, because it is gone or does not
    /// let us, holds up no other: it is waited for in the background.
    ///
    /// # Errors
    /// Nothing can be read anywhere, or the watches have ended.
    pub async fn wait(&self, stores: &Stores, scope: Option<&str>) -> Result<(), NotFilled> {
        let begun = Instant::now();
        let mut is_waited_for = true;
        loop {
            let patience = if self.of > 1 && is_waited_for { ONE_OF_MANY } else { FILL_DEADLINE };
            // Waited for here and nowhere else: of two that wait for one cache, the library wakes only one.
            let filled = filled(stores, patience).await;
            let problem = match filled {
                Ok(()) => {
                    self.any.store(true, Ordering::Release);
                    if is_waited_for {
                        self.left.fetch_sub(1, Ordering::AcqRel);
                    }
                    return Ok(());
                }
                Err(ended @ NotFilled::Ended { .. }) => return Err(ended),
                Err(late) => late,
            };
            if self.any.load(Ordering::Acquire) {
                tracing::error!(namespace = scope, error = %problem, "this namespace is not served; the others are");
                if std::mem::take(&mut is_waited_for) {
                    self.left.fetch_sub(1, Ordering::AcqRel);
                }
            } else if begun.elapsed() >= FILL_DEADLINE {
                return Err(problem);
            }
        }
    }
}

/// Waits until every cache is filled, for each of them as long.
///
/// # Errors
/// Says which cache is not.
pub async fn filled(stores: &Stores, patience: Duration) -> Result<(), NotFilled> {
    async fn one<K>(what: &'static str, store: &Store<K>, patience: Duration) -> Result<(), NotFilled>
    where
        K: Resource<DynamicType = ()> + Clone + 'static,
    {
        let ready = tokio::time::timeout(patience, store.wait_until_ready()).await;
        ready.map_err(|_| NotFilled::Late { what, patience })?.map_err(|_| NotFilled::Ended { what })
    }
    let Stores { exposes, shares, services, codes, hub_secrets } = stores;
    one("ServiceExposes", exposes, patience).await?;
    one("EnvironmentShares", shares, patience).await?;
    one("Services", services, patience).await?;
    one("share code Secrets", codes, patience).await?;
    one("hub Secrets", hub_secrets, patience).await
}

#[cfg(test)]
mod tests {
    use kube::runtime::reflector;

    use super::*;

    /// Caches that are empty, and those who would fill them.
    fn unfilled() -> (Stores, impl Sized) {
        let (exposes, exposes_writer) = reflector::store();
        let (shares, shares_writer) = reflector::store();
        let (services, services_writer) = reflector::store();
        let (codes, codes_writer) = reflector::store();
        let (hub_secrets, hub_secrets_writer) = reflector::store();
        let writers = (exposes_writer, shares_writer, services_writer, codes_writer, hub_secrets_writer);
        (Stores { exposes, shares, services, codes, hub_secrets }, writers)
    }

    #[tokio::test(start_paused = true)]
    async fn a_namespace_that_cannot_be_read_holds_up_no_other_and_ends_with_its_watches() {
        let left = Arc::<AtomicUsize>::default();
        let filling = Filling::new(Arc::clone(&left), 2);
        let (stores, watches) = unfilled();
        let waiting = async {
            filling.any.store(true, Ordering::Release); // as the other one has done
            filling.wait(&stores, Some("gone")).await
        };
        let others = async {
            while left.load(Ordering::Acquire) > 1 {
                tokio::time::sleep(ONE_OF_MANY).await;
            }
            drop(watches);
        };
        let (waited, ()) = tokio::join!(waiting, others);
        assert_eq!(waited, Err(NotFilled::Ended { what: "ServiceExposes" }));
    }

    #[tokio::test(start_paused = true)]
    async fn where_nothing_can_be_read_the_operator_says_what_it_lacks() {
        let filling = Filling::new(Arc::default(), 2);
        let (stores, _watches) = unfilled();
        let waited = filling.wait(&stores, Some("gone")).await;
        assert!(matches!(waited, Err(NotFilled::Late { what: "ServiceExposes", .. })), "{waited:?}");
    }
}
