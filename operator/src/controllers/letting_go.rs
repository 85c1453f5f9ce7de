//! Lets all objects of a scope go: the operator leaves the cluster, or their namespace ends.

use std::sync::Arc;
use std::time::Duration;

use connect_crds::HubRef;
use futures::future::BoxFuture;
use futures::{FutureExt, StreamExt, stream};
use kube::runtime::reflector::{ObjectRef, Store};
use kube::{Resource, ResourceExt};
use tokio::time::Instant;

use super::{environment_share, service_expose};
use crate::context::Context;
use crate::error::{Error, chain};

/// Objects let go at once.
const CONCURRENCY: usize = 16;

/// How often an object that somebody else has changed meanwhile is tried again.
const TRIES: usize = 5;

/// Pause before that, in which the cache learns of the change.
const PAUSE: Duration = Duration::from_millis(200);

/// Why objects are let go that stay, or whose namespace goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leaving {
    /// The operator is uninstalled: the object says so from now on.
    Uninstalled,
    /// The namespace is deleted, and the object with it.
    NamespaceEnds,
}

/// What was let go.
#[derive(Default)]
pub struct Left {
    /// Shares and routes.
    pub objects: usize,
    /// Shares and routes of which a hub could not be told.
    pub untold: usize,
    /// Those that still have our finalizer.
    pub failed: usize,
}

impl Left {
    /// Adds what was let go elsewhere.
    pub fn add(&mut self, Self { objects, untold, failed }: Self) {
        self.objects += objects;
        self.untold += untold;
        self.failed += failed;
    }

    fn one(outcome: &Result<bool, Error>) -> Self {
        let untold = usize::from(matches!(outcome, Ok(false)));
        Self { objects: 1, untold, failed: usize::from(outcome.is_err()) }
    }
}

/// Lets all objects of a scope go. `patience` is how long the hub of an object is tried; without an end it is gone itself.
pub async fn let_all_go(
    context: &Context,
    leaving: Leaving,
    patience: impl Fn(Option<&HubRef>) -> Option<Instant>,
) -> Left {
    let shares = stream::iter(context.stores.shares.state()).map(|share| {
        let deadline = patience(share.spec.hub_ref.as_ref());
        again(&context.stores.shares, share, move |share| {
            async move { environment_share::let_go(&share, context, deadline, leaving).await }.boxed()
        })
    });
    let exposes = stream::iter(context.stores.exposes.state()).map(|expose| {
        let deadline = patience(expose.spec.hub_ref.as_ref());
        again(&context.stores.exposes, expose, move |expose| {
            async move { service_expose::let_go(&expose, context, deadline, leaving).await }.boxed()
        })
    });
    let mut left = Left::default();
    let mut outcomes = shares.buffer_unordered(CONCURRENCY);
    while let Some(outcome) = outcomes.next().await {
        left.add(Left::one(&outcome));
    }
    let mut outcomes = exposes.buffer_unordered(CONCURRENCY);
    while let Some(outcome) = outcomes.next().await {
        left.add(Left::one(&outcome));
    }
    left
}

/// Lets one object go; what failed, be it that somebody else has changed the object meanwhile, is tried again with what the
/// cache has then.
async fn again<'a, K>(
    store: &'a Store<K>,
    mut object: Arc<K>,
    let_go: impl Fn(Arc<K>) -> BoxFuture<'a, Result<bool, Error>>,
) -> Result<bool, Error>
where
    K: Resource<DynamicType = ()> + Clone + 'static,
{
    let mut tries = 1;
    loop {
        match let_go(object.clone()).await {
            Err(error) if tries == TRIES => {
                let (namespace, name) = (object.namespace(), object.name_any());
                tracing::error!(kind = %K::kind(&()), namespace, name, error = chain(&error), "cannot let go");
                return Err(error);
            }
            Err(_) => tries += 1,
            done => return done,
        }
        tokio::time::sleep(PAUSE).await;
        let Some(now) = store.get(&ObjectRef::from_obj(&*object)) else { return Ok(true) };
        object = now;
    }
}
