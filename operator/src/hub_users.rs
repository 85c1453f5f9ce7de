//! Leaves the hubs that no object names any more.
//!
//! A hub Secret that is rewritten names another hub, or the same with another key: its objects have another connection from then on,
//! and another identity. The one before is left: its shares are closed there, its agent is removed where the hub can
//! do that, and the Secret of its identity is deleted.

use std::collections::HashSet;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use connect_crds::HubRef;
use connect_hub::url::InsecureHttp;
use kube::ResourceExt;
use kube::runtime::reflector::ObjectRef;

use crate::credentials::hub_endpoint;
use crate::error::chain;
use crate::faults::quick;
use crate::lease::Leadership;
use crate::state::{AllStores, Stores};
use crate::tunnels::Hubs;

/// How often it is looked who uses what. A connection is left at the second look without a user, so that a Secret which is deleted
/// and made again, as some tools do, ends nothing.
const LOOK_EVERY: Duration = Duration::from_secs(20);

/// How often it is looked at the start whether every scope is known.
const START_EVERY: Duration = Duration::from_secs(1);

/// The caches of scopes that are filled, and how many scopes there are.
pub struct Scopes {
    /// Those that are filled.
    pub stores: AllStores,
    /// All of them.
    pub of: usize,
}

impl Scopes {
    fn are_filled(&self) -> bool {
        self.stores.lock().unwrap_or_else(PoisonError::into_inner).len() == self.of
    }
}

/// Looks for ever.
pub async fn run(hubs: Arc<Hubs>, scopes: Scopes, insecure: InsecureHttp, leadership: Leadership) {
    // Who uses what is known only when all objects are.
    while !scopes.are_filled() {
        tokio::time::sleep(START_EVERY).await;
    }
    if let Err(error) = hubs.forget_identities(&used(&scopes.stores, insecure)).await {
        tracing::warn!(
            error = chain(&error),
            "cannot look for identity Secrets that nobody uses; looking again at the next start"
        );
    }
    let mut every = tokio::time::interval(quick(LOOK_EVERY));
    every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut unused_before = HashSet::new();
    loop {
        every.tick().await;
        if !leadership.is_held() {
            continue;
        }
        let used = used(&scopes.stores, insecure);
        let unused: HashSet<String> =
            hubs.others().into_iter().filter(|fingerprint| !used.contains(fingerprint)).collect();
        for fingerprint in unused.intersection(&unused_before) {
            hubs.leave(fingerprint).await;
        }
        unused_before = unused;
    }
}

/// The fingerprints of all hubs that an object names.
fn used(stores: &AllStores, insecure: InsecureHttp) -> HashSet<String> {
    let scopes = stores.lock().unwrap_or_else(PoisonError::into_inner).clone();
    scopes.iter().flat_map(|stores| used_in(stores, insecure)).collect()
}

fn used_in(stores: &Stores, insecure: InsecureHttp) -> HashSet<String> {
    let mut named: HashSet<(Option<String>, String)> = HashSet::new();
    let mut note = |namespace: Option<String>, hub_ref: &Option<HubRef>| {
        if let Some(HubRef { name }) = hub_ref {
            named.insert((namespace, name.clone()));
        }
    };
    stores.shares.state().iter().for_each(|share| note(share.namespace(), &share.spec.hub_ref));
    stores.exposes.state().iter().for_each(|expose| note(expose.namespace(), &expose.spec.hub_ref));
    let fingerprint = |(namespace, name): (Option<String>, String)| {
        let secret = stores.hub_secrets.get(&ObjectRef::new(&name).within(&namespace.unwrap_or_default()))?;
        Some(hub_endpoint(&secret, insecure).ok()?.fingerprint())
    };
    named.into_iter().filter_map(fingerprint).collect()
}
