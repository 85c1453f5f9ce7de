//! What runs while this replica leads, and how it hangs together.

use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, PoisonError};

use futures::future::Either;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::args::RunArgs;
use crate::context::{Common, Context};
use crate::metrics::Metrics;
use crate::settings::scopes;
use crate::state::Endpoints;
use crate::triggers::{Triggered, Triggers, triggers};
use crate::watches::Filling;
use crate::{connections, controllers, hub_users, namespaces, sweeper, watches};

/// One scope: its caches, which its watches fill, and what they say is to be looked at.
pub struct Scope {
    /// What reconciliations get.
    pub context: Arc<Context>,
    /// The sending ends of the triggers.
    pub triggers: Triggers,
    /// Their receiving ends.
    pub triggered: Triggered,
}

impl Scope {
    /// Starts the watches of a namespace, or (`None`) of the whole cluster.
    pub fn start(
        common: &Common,
        namespace: Option<&str>,
        labelled_services: bool,
        watching: &mut JoinSet<anyhow::Result<()>>,
    ) -> Self {
        let (triggers, triggered) = triggers(labelled_services);
        let endpoints = Arc::new(Endpoints::default());
        let hubs = common.hubs.clone();
        let stores = watches::start(&common.client, namespace, &triggers, endpoints.clone(), hubs, watching);
        let context = Arc::new(Context::new(common.clone(), stores, endpoints));
        Self { context, triggers, triggered }
    }
}

/// Everything that runs while this replica leads; none of it ends by itself. `unfilled` is how many scopes are still waited for.
pub fn start_tasks(
    args: &RunArgs,
    common: &Common,
    metrics: &Metrics,
    unfilled: Arc<AtomicUsize>,
    stop: &CancellationToken,
) -> JoinSet<anyhow::Result<()>> {
    let mut tasks = JoinSet::new();
    let scopes = scopes(&args.cluster);
    let count = scopes.len();
    let filling = Filling::new(unfilled, count);
    for namespace in scopes {
        let scope = Scope::start(common, namespace, args.labelled_services, &mut tasks);
        metrics.read(scope.context.stores.clone(), scope.triggers.clone());
        tasks.spawn(one_scope(scope, namespace.map(str::to_owned), filling.clone(), stop.clone()));
    }
    let Common { client, hubs, leadership, definitions, settings, all_stores, .. } = common.clone();
    let of_hubs = hub_users::Scopes { stores: all_stores, of: count };
    let users = hub_users::run(hubs.clone(), of_hubs, settings.insecure, leadership.clone());
    let namespaces = args.cluster.watch_namespaces.clone();
    let sweeper = sweeper::run(hubs, client.clone(), namespaces, leadership);
    start(&mut tasks, async move { definitions.keep(&client).await });
    start(&mut tasks, users);
    start(&mut tasks, sweeper);
    tasks
}

/// Starts a task that cannot fail.
fn start(tasks: &mut JoinSet<anyhow::Result<()>>, task: impl Future<Output = ()> + Send + 'static) {
    tasks.spawn(async move {
        task.await;
        Ok(())
    });
}

/// The controllers of one scope, once its caches are filled.
async fn one_scope(
    Scope { context, triggers, triggered }: Scope,
    scope: Option<String>,
    filling: Filling,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let stores = context.stores.clone();
    filling.wait(&stores, scope.as_deref()).await?;
    context.common.all_stores.lock().unwrap_or_else(PoisonError::into_inner).push(stores.clone());
    let Triggered { exposes_rx, shares_rx, services_rx } = triggered;
    let exposes = controllers::run(
        stores.exposes.clone(),
        exposes_rx,
        context.clone(),
        stop.clone(),
        controllers::service_expose::reconcile,
    );
    let shares = controllers::run(
        stores.shares.clone(),
        shares_rx,
        context.clone(),
        stop.clone(),
        controllers::environment_share::reconcile,
    );
    let services = match services_rx {
        Some(services_rx) => {
            let reconcile = controllers::labelled_service::reconcile;
            let (services, context) = (stores.services.clone(), context.clone());
            Either::Left(controllers::run(services, services_rx, context, stop.clone(), reconcile))
        }
        None => Either::Right(stop.clone().cancelled_owned()),
    };
    let hubs = watches::follow_hubs(context.common.hubs.clone(), triggers.clone(), stores);
    let definitions = watches::follow_definitions(context.common.definitions.clone(), triggers.clone());
    let counting = connections::keep_counting(context.clone(), triggers.clone());
    let ending = async {
        match &scope {
            Some(namespace) => namespaces::keep_watch(&context, namespace).await,
            None => std::future::pending().await,
        }
    };
    let opened = async {
        triggers.open().await;
        std::future::pending::<()>().await;
    };
    tokio::select! {
        ((), (), ()) = futures::future::join3(exposes, shares, services) => {}
        () = hubs => {}
        () = definitions => {}
        () = counting => {}
        () = ending => {}
        () = opened => {}
    }
    Ok(())
}
