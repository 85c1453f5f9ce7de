//! A namespace of the list that is deleted, which takes the operator's rights in it along.
//!
//! With a list of namespaces the operator's Role and RoleBinding are in the served namespace. When that is deleted they go with
//! everything else, in no particular order, and an object that still has our finalizer then waits for ever: whoever could
//! take it off may not any more. The cluster begins to empty a namespace five seconds after it was told to
//! (`namespaceDeletionGracePeriod` of kube-controller-manager), so whoever looks in time is done before.

use std::time::Duration;

use k8s_openapi::api::core::v1::Namespace;
use kube::Api;
use tokio::time::{Instant, sleep};

use crate::cluster::call_opt;
use crate::context::Context;
use crate::controllers::letting_go::{Leaving, let_all_go};
use crate::error::chain;
use crate::faults::quick;
use crate::finalizer;

/// How often a namespace is looked at that has something to lose. With [`HUB_PATIENCE`] it leaves a second of the five.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// How long hubs may take to hear that the shares of a namespace have ended. What they do not hear is cut here all the same, and
/// the sweeper tells them later.
const HUB_PATIENCE: Duration = Duration::from_secs(2);

/// Lets everything go in time when the namespace is deleted; never ends.
pub async fn keep_watch(context: &Context, namespace: &str) {
    let namespaces: Api<Namespace> = Api::all(context.common.client.clone());
    loop {
        sleep(quick(LOOK_EVERY)).await;
        // Nothing of ours holds up an empty namespace, and nobody needs to be asked.
        if !context.common.leadership.is_held() || !holds_anything(context) {
            continue;
        }
        match call_opt("reading the namespace", namespaces.get_metadata(namespace)).await {
            Ok(Some(found)) if found.metadata.deletion_timestamp.is_some() => {
                if context.ending.begin() {
                    tracing::info!(namespace, "the namespace is being deleted: letting go of all in it");
                }
                // One for all: many objects must not wait for the same silent hub one after the other.
                let deadline = Instant::now() + HUB_PATIENCE;
                let_all_go(context, Leaving::NamespaceEnds, |_| Some(deadline)).await;
            }
            // One of the same name may be made again.
            Ok(_) => context.ending.cancel(),
            Err(error) => {
                tracing::debug!(namespace, error = chain(&error), "cannot look at the namespace");
            }
        }
    }
}

fn holds_anything(context: &Context) -> bool {
    context.stores.shares.find(finalizer::is_on).is_some()
        || context.stores.exposes.find(finalizer::is_on).is_some()
}
