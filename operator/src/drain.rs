//! Leaves a cluster: every share is ended at its hub, and no object waits for us any more.
//!
//! The chart runs it before `helm uninstall` takes the operator away. Objects stay, because they are their authors', and because
//! a tool that keeps them in Git would make them again; but none keeps a finalizer that nobody is left to take off. The whole of it
//! ends within a minute, also when no hub answers: what may be left there is then named in an Event.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use connect_crds::{FINALIZER, HubRef};
use connect_hub::tunnel::Memory;
use futures::future::BoxFuture;
use futures::{FutureExt, StreamExt, stream};
use kube::runtime::reflector::{ObjectRef, Store};
use kube::{Resource, ResourceExt};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::allowed_hubs::AllowedHubs;
use crate::args::{DrainArgs, ShareIsolation};
use crate::cluster;
use crate::connections::Connections;
use crate::context::{Context, Endpoints};
use crate::controllers::{Leaving, environment_share, service_expose};
use crate::definitions::Definitions;
use crate::error::{Error, chain};
use crate::lease::{self, Leadership};
use crate::metrics::Metrics;
use crate::namespaces::Ending;
use crate::origin::Origin;
use crate::own_writes::OwnWrites;
use crate::retry_delays::RetryDelays;
use crate::target::Policy;
use crate::tunnels::{Home, Hubs};
use crate::{hub_endpoint, insecure, scopes, watches};

/// How long hubs may take to answer, all together. With the wait for the Lease and the caches it leaves a margin below a minute.
const HUB_PATIENCE: Duration = Duration::from_secs(20);

/// The end of it all, whatever happens.
const LONGEST: Duration = Duration::from_secs(55);

/// How long the Lease holds after us, in seconds: longer than the operator's Pods need to be taken away, short for somebody who
/// installs another.
const LEASE_AFTERWARDS: i32 = 30;

/// Objects let go at once.
const CONCURRENCY: usize = 16;

/// How often an object that somebody else has changed meanwhile is tried again.
const TRIES: usize = 5;

/// Pause before that, in which the cache learns of the change.
const PAUSE: Duration = Duration::from_millis(200);

/// Lets go of everything.
///
/// # Errors
/// Says what is left and why.
pub async fn run(args: DrainArgs) -> anyhow::Result<()> {
    tokio::time::timeout(LONGEST, drain(&args)).await.with_context(|| {
        format!(
            "not done within {} s; run it again, or take the finalizer {FINALIZER} off by hand",
            LONGEST.as_secs()
        )
    })?
}

async fn drain(args: &DrainArgs) -> anyhow::Result<()> {
    let (client, _) = cluster::client(&args.cluster).await?;
    let namespace = &args.cluster.namespace;
    let replica = lease::name("drain");
    // From here on the operator, which is still there, leaves its objects alone.
    let leadership = lease::seize(&client, namespace, &replica, LEASE_AFTERWARDS)
        .await
        .context("cannot take the lease from the operator")?;
    let stop = CancellationToken::new();
    let keeping = lease::keep(client.clone(), namespace.clone(), replica, leadership.clone(), stop.clone());
    // Not given back at the end: it runs out when the operator's Pods are gone.
    let keeping = tokio::spawn(keeping);
    let origin = Origin::read(&client, namespace).await;
    let home = Home { client: client.clone(), namespace: namespace.clone(), origin };
    // Whatever is at a hub was let there by the operator, and is only taken back here.
    let anywhere = AllowedHubs { patterns: Vec::new(), loopback: true };
    let own = hub_endpoint(&args.hub)?;
    let hubs = Arc::new(Hubs::new(home, own, anywhere, Memory::default(), stop.clone()));
    let mut left = Left::default();
    // One for all scopes: many namespaces must not wait for the same silent hub again and again.
    let deadline = Instant::now() + HUB_PATIENCE;
    for scope in scopes(&args.cluster) {
        left.add(drain_scope(args, scope, deadline, &client, &hubs, &leadership).await?);
    }
    keeping.abort();
    stop.cancel();
    tracing::info!(objects = left.objects, not_told = left.untold, "let go");
    ensure!(left.failed == 0, "{} objects could not be let go; the log says why", left.failed);
    Ok(())
}

/// What was done.
#[derive(Default)]
pub(crate) struct Left {
    objects: usize,
    /// Shares and routes of which a hub could not be told.
    untold: usize,
    failed: usize,
}

impl Left {
    fn add(&mut self, Self { objects, untold, failed }: Self) {
        self.objects += objects;
        self.untold += untold;
        self.failed += failed;
    }

    fn one(outcome: &Result<bool, Error>) -> Self {
        let untold = usize::from(matches!(outcome, Ok(false)));
        Self { objects: 1, untold, failed: usize::from(outcome.is_err()) }
    }
}

async fn drain_scope(
    args: &DrainArgs,
    scope: Option<&str>,
    deadline: Instant,
    client: &kube::Client,
    hubs: &Arc<Hubs>,
    leadership: &Leadership,
) -> anyhow::Result<Left> {
    let (triggers, _triggered) = watches::triggers(false);
    let endpoints = Arc::new(Endpoints::default());
    let mut watching = JoinSet::new();
    let stores = watches::start(client, scope, &triggers, endpoints.clone(), hubs.clone(), &mut watching);
    watches::filled(&stores, watches::FILL_DEADLINE).await?;
    let definitions = Arc::new(Definitions::default());
    let context = Context {
        client: client.clone(),
        all_stores: Arc::new(Mutex::new(vec![stores.clone()])),
        stores,
        hubs: hubs.clone(),
        policy: Policy::default(),
        isolation: ShareIsolation::default(),
        insecure: insecure(&args.hub),
        backoff: RetryDelays::default(),
        hub_backoff: RetryDelays::default(),
        own_writes: OwnWrites::default(),
        metrics: Arc::new(Metrics::new(hubs.clone(), definitions.clone(), None)),
        leadership: leadership.clone(),
        definitions,
        connections: Connections::default(),
        endpoints,
        ending: Ending::default(),
    };
    // The embedded hub went with the operator, so there is nobody to be told.
    let patience = |hub_ref: Option<&HubRef>| {
        let is_gone = args.hub.embedded_hub && hub_ref.is_none();
        (!is_gone).then_some(deadline)
    };
    Ok(let_all_go(&context, Leaving::Uninstalled, patience).await)
}

/// Lets all objects of a scope go. `patience` is how long the hub of an object is tried; without an end it is gone itself.
pub(crate) async fn let_all_go(
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
