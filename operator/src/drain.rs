//! Leaves a cluster: every share is ended at its hub, and no object waits for us any more.
//!
//! The chart runs it before `helm uninstall` takes the operator away. Objects stay, because they are their authors', and because
//! a tool that keeps them in Git would make them again; but none keeps a finalizer that nobody is left to take off. The whole of it
//! ends within a minute, also when no hub answers: what may be left there is then named in an Event.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use connect_crds::{FINALIZER, HubRef};
use connect_hub::tunnel::Memory;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::allowed_hubs::AllowedHubs;
use crate::args::{DrainArgs, ShareIsolation};
use crate::context::Common;
use crate::controllers::letting_go::{Leaving, Left, let_all_go};
use crate::lease::{self, Leadership};
use crate::origin::Origin;
use crate::settings::{Settings, hub_endpoint, insecure, scopes};
use crate::state::{AllStores, Reconciliations};
use crate::target::Policy;
use crate::tunnels::{Home, Hubs};
use crate::wiring::Scope;
use crate::{cluster, watches};

/// How long hubs may take to answer, all together. With the wait for the Lease and the caches it leaves a margin below a minute.
const HUB_PATIENCE: Duration = Duration::from_secs(20);

/// The end of it all, whatever happens.
const LONGEST: Duration = Duration::from_secs(55);

/// How long the Lease holds after us, in seconds: longer than the operator's Pods need to be taken away, short for somebody who
/// installs another.
const LEASE_AFTERWARDS: i32 = 30;

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

async fn drain_scope(
    args: &DrainArgs,
    scope: Option<&str>,
    deadline: Instant,
    client: &kube::Client,
    hubs: &Arc<Hubs>,
    leadership: &Leadership,
) -> anyhow::Result<Left> {
    let common = Common {
        client: client.clone(),
        hubs: hubs.clone(),
        settings: Settings {
            policy: Policy::default(),
            isolation: ShareIsolation::default(),
            insecure: insecure(&args.hub),
        },
        leadership: leadership.clone(),
        definitions: Arc::default(),
        reconciliations: Reconciliations::default(),
        all_stores: AllStores::default(),
    };
    let mut watching = JoinSet::new();
    let scope = Scope::start(&common, scope, false, &mut watching);
    let stores = &scope.context.stores;
    watches::filled(stores, watches::FILL_DEADLINE).await?;
    common.all_stores.lock().unwrap_or_else(PoisonError::into_inner).push(stores.clone());
    // The embedded hub went with the operator, so there is nobody to be told.
    let patience = |hub_ref: Option<&HubRef>| {
        let is_gone = args.hub.embedded_hub && hub_ref.is_none();
        (!is_gone).then_some(deadline)
    };
    Ok(let_all_go(&scope.context, Leaving::Uninstalled, patience).await)
}
