//! The start: caches are filled before anything is done, but one namespace of many holds up no other.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use kube::Resource;
use kube::runtime::reflector::Store;

use crate::context::Stores;

/// How long the caches may take to fill before the operator gives up and is restarted.
pub const FILL_DEADLINE: Duration = Duration::from_secs(60);

/// How long one namespace of many may take to fill its caches before the others are no longer held up by it.
const ONE_OF_MANY: Duration = Duration::from_secs(10);

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
    /// Nothing can be read anywhere.
    pub async fn wait(&self, stores: &Stores, scope: Option<&str>) -> anyhow::Result<()> {
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
                Err(problem) => problem,
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
pub async fn filled(stores: &Stores, patience: Duration) -> anyhow::Result<()> {
    async fn one<K>(what: &str, store: &Store<K>, patience: Duration) -> anyhow::Result<()>
    where
        K: Resource<DynamicType = ()> + Clone + 'static,
    {
        tokio::time::timeout(patience, store.wait_until_ready())
            .await
            .map_err(|_| anyhow::anyhow!("cannot list {what} within {} s; are the CustomResourceDefinitions installed, and may the operator list them?", patience.as_secs()))?
            .map_err(|_| anyhow::anyhow!("the watch of {what} ended"))
    }
    let Stores { exposes, shares, services, codes, hub_secrets } = stores;
    one("ServiceExposes", exposes, patience).await?;
    one("EnvironmentShares", shares, patience).await?;
    one("Services", services, patience).await?;
    one("share code Secrets", codes, patience).await?;
    one("hub Secrets", hub_secrets, patience).await
}
