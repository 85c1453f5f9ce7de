//! The operator: reconciles ServiceExpose and EnvironmentShare into a hub's shares, and carries the bytes.
//!
//! ```text
//! control  API server -watch-> reconcile: dereference -> validate -> plan -> apply -> report -> status
//!                                                                     | HTTP  hub::Client
//!                                                                     ` routes of the tunnel
//! data     teammate -> hub -websocket-> session -> routes.authorize(serviceId) -> link -> TcpStream -> Service
//!          teammate <- hub <-websocket- session <------------------------------- link <- TcpStream <- Service
//! ```
//!
//! [`run`] wires it: lease, hub, watches, controllers, admin server; the first of them to end stops all.

pub mod admin;
pub mod allowed_hubs;
pub mod args;
pub mod clock;
pub mod cluster;
pub mod connections;
pub mod context;
pub mod controllers;
pub mod credentials;
pub mod definitions;
pub mod drain;
pub mod embedded;
pub mod error;
pub mod faults;
pub mod finalizer;
pub mod hub_users;
pub mod lease;
pub mod metrics;
pub mod namespaces;
pub mod origin;
pub mod own_writes;
pub mod process;
pub mod retry_delays;
pub mod sweeper;
pub mod target;
pub mod telemetry;
pub mod tunnels;
pub mod watches;

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use anyhow::Context as _;
use connect_hub::tunnel::Memory;
use connect_hub::url::{HubUrl, InsecureHttp};
use futures::future::Either;
use kube::Client;
use secrecy::SecretString;
use tokio::net::TcpListener;
use tokio::sync::broadcast::error::RecvError;
use tokio::task::{JoinHandle, JoinSet};
use tokio_util::sync::CancellationToken;

use crate::admin::Admin;
use crate::allowed_hubs::AllowedHubs;
use crate::args::{ClusterArgs, Command, HubArgs, RunArgs};
use crate::connections::Connections;
use crate::context::{AllStores, Context, Endpoints};
use crate::credentials::HubEndpoint;
use crate::definitions::Definitions;
use crate::embedded::EmbeddedHub;
use crate::lease::Leadership;
use crate::metrics::Metrics;
use crate::namespaces::Ending;
use crate::origin::Origin;
use crate::own_writes::OwnWrites;
use crate::retry_delays::RetryDelays;
use crate::target::Policy;
use crate::tunnels::{Home, HubChange, Hubs};
use crate::watches::Filling;

/// Bytes of a MiB.
const MIB: usize = 1024 * 1024;

/// How long reconciliations under way may take to finish once the process is asked to stop.
const STOP_GRACE: Duration = Duration::from_secs(5);

/// Runs a command to its end.
///
/// # Errors
/// Says what was wrong and what to do.
pub async fn run(command: Command) -> anyhow::Result<()> {
    match command {
        Command::Run(args) => operate(args).await,
        Command::Drain(args) => drain::run(args).await,
    }
}

/// Waits for leadership, then reconciles and carries bytes until a signal, a lost lease, or a failed part.
async fn operate(args: RunArgs) -> anyhow::Result<()> {
    let stop = stop_on_signal()?;
    let (client, config) = cluster::client(&args.cluster).await?;
    let listener = TcpListener::bind(args.admin_listen)
        .await
        .with_context(|| format!("cannot listen on {}", args.admin_listen))?;
    let admin_address = listener.local_addr().context("the admin server has no address")?;
    let admin = Admin::default();
    let serving = tokio::spawn(admin::serve(listener, admin.clone(), stop.clone()));

    let pod = args.cluster.replica.clone();
    let host = pod.clone().or_else(|| std::env::var("HOSTNAME").ok());
    let replica = lease::name(host.as_deref().unwrap_or("operator"));
    let namespace = args.cluster.namespace.clone();
    // Held before anything is written, and before the embedded hub is started: its state has one owner.
    let served = &args.cluster.watch_namespaces;
    let answered = &admin.answered;
    let Ok(leadership) =
        lease::acquire(&client, &namespace, &replica, pod.as_deref(), served, answered, &stop).await
    else {
        return Ok(());
    };
    let lease_stop = CancellationToken::new();
    let lease =
        tokio::spawn(lease::keep(client.clone(), namespace, replica, leadership.clone(), lease_stop.clone()));

    let led = tokio::select! {
        led = lead(&args, lease::fenced(&client, &leadership), &config, &admin, admin_address, leadership, stop.clone()) => led,
        error = failure(serving, &stop) => Err(error),
    };
    stop.cancel();
    lease_stop.cancel();
    let _ = tokio::time::timeout(STOP_GRACE, lease).await;
    led
}

/// Why the admin server has ended by itself. It ends at `stop`, too, which is no failure: whoever stops has things to do.
async fn failure(serving: JoinHandle<std::io::Result<()>>, stop: &CancellationToken) -> anyhow::Error {
    let ended = serving.await.map_err(anyhow::Error::from).and_then(|ended| Ok(ended?));
    if stop.is_cancelled() {
        std::future::pending::<()>().await;
    }
    ended.err().unwrap_or_else(|| anyhow::anyhow!("it ended")).context("the admin server failed")
}

/// What the leader does, from its hub's start to its stop.
async fn lead(
    args: &RunArgs,
    client: Client,
    config: &kube::Config,
    admin: &Admin,
    admin_address: SocketAddr,
    leadership: Leadership,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let embedded = EmbeddedHub::start(&args.hub, &client, &args.cluster.namespace).await?;
    let own = match &embedded {
        Some(hub) => hub.endpoint.clone(),
        None => hub_endpoint(&args.hub)?,
    };
    print_addresses(args, embedded.as_ref(), admin_address);
    let memory = Memory::new(usize::from(args.buffer_mib) * MIB);
    let origin = tokio::select! {
        () = stop.cancelled() => return Ok(()),
        origin = Origin::read(&client, &args.cluster.namespace) => origin,
    };
    let home = Home { client: client.clone(), namespace: args.cluster.namespace.clone(), origin };
    let allowed = AllowedHubs { patterns: args.allowed_hubs.clone(), loopback: args.allow_loopback_targets };
    let hubs = Arc::new(Hubs::new(home, own, allowed, memory, stop.clone()));
    hubs.own();
    let definitions = Arc::new(Definitions::default());
    let metrics = admin
        .metrics
        .get_or_init(|| Arc::new(Metrics::new(hubs.clone(), definitions.clone(), embedded.as_ref())))
        .clone();
    let base = Base {
        client,
        hubs: hubs.clone(),
        metrics,
        definitions,
        leadership: leadership.clone(),
        policy: policy(args, config),
    };

    let mut tasks = start_tasks(args, &base, admin, &stop);
    let result = tokio::select! {
        // A signal ends everything below as well, which is then no failure.
        biased;
        () = stop.cancelled() => Ok(()),
        () = superseded(&hubs, &leadership) => Err(anyhow::anyhow!("another replica has taken our place at the hub")),
        () = leadership.lost() => Err(anyhow::anyhow!("the lease was lost; another replica takes over")),
        Some(ended) = tasks.join_next() => {
            ended.context("a task failed").flatten().and(Err(anyhow::anyhow!("a task ended unexpectedly")))
        }
    };
    stop.cancel();
    let _ = tokio::time::timeout(STOP_GRACE, hubs.stopped()).await;
    tasks.abort_all();
    if let Some(hub) = embedded {
        hub.stop().await;
    }
    result
}

/// Completes when somebody else uses our identity at a hub while our Lease has run out: then it is the one who leads now.
async fn superseded(hubs: &Hubs, leadership: &Leadership) {
    let mut changes = hubs.changes();
    loop {
        match changes.recv().await {
            Ok(HubChange::Replaced) if !leadership.is_held() => return leadership.lose(),
            Err(RecvError::Closed) => return std::future::pending().await,
            // A lagging ear hears the next one: two sockets of one identity replace each other again and again.
            Ok(_) | Err(RecvError::Lagged(_)) => {}
        }
    }
}

/// What all scopes share.
struct Base {
    client: Client,
    hubs: Arc<Hubs>,
    metrics: Arc<Metrics>,
    definitions: Arc<Definitions>,
    leadership: Leadership,
    policy: Policy,
}

/// Everything that runs while this replica leads; none of it ends by itself.
fn start_tasks(
    args: &RunArgs,
    base: &Base,
    admin: &Admin,
    stop: &CancellationToken,
) -> JoinSet<anyhow::Result<()>> {
    let mut tasks = JoinSet::new();
    let namespaces = &args.cluster.watch_namespaces;
    let scopes = scopes(&args.cluster);
    let all_stores = AllStores::default();
    let count = scopes.len();
    let filling = Filling::new(admin.unfilled.clone(), count);
    for scope in scopes {
        let (triggers, triggered) = watches::triggers(args.labelled_services);
        let endpoints = Arc::new(Endpoints::default());
        let stores =
            watches::start(&base.client, scope, &triggers, endpoints.clone(), base.hubs.clone(), &mut tasks);
        base.metrics.read(stores.clone(), triggers.clone());
        let context = Arc::new(Context {
            client: base.client.clone(),
            stores,
            all_stores: all_stores.clone(),
            hubs: base.hubs.clone(),
            policy: base.policy.clone(),
            isolation: args.share_isolation,
            insecure: insecure(&args.hub),
            backoff: RetryDelays::default(),
            hub_backoff: RetryDelays::default(),
            own_writes: OwnWrites::default(),
            metrics: base.metrics.clone(),
            leadership: base.leadership.clone(),
            definitions: base.definitions.clone(),
            connections: Connections::default(),
            endpoints,
            ending: Ending::default(),
        });
        let scope = scope.map(str::to_owned);
        tasks.spawn(one_scope(context, scope, triggers, triggered, filling.clone(), stop.clone()));
    }
    let (definitions, client) = (base.definitions.clone(), base.client.clone());
    tasks.spawn(async move {
        definitions.keep(&client).await;
        Ok(())
    });
    let users = hub_users::run(
        base.hubs.clone(),
        hub_users::Scopes { stores: all_stores, of: count },
        insecure(&args.hub),
        base.leadership.clone(),
    );
    tasks.spawn(async move {
        users.await;
        Ok(())
    });
    let sweeper =
        sweeper::run(base.hubs.clone(), base.client.clone(), namespaces.clone(), base.leadership.clone());
    tasks.spawn(async move {
        sweeper.await;
        Ok(())
    });
    tasks
}

/// What is served: each of some namespaces, or (`None`) the whole cluster.
fn scopes(args: &ClusterArgs) -> Vec<Option<&str>> {
    match &args.watch_namespaces[..] {
        [] => vec![None],
        namespaces => namespaces.iter().map(|name| Some(name.as_str())).collect(),
    }
}

/// The controllers of one scope, once its caches are filled.
async fn one_scope(
    context: Arc<Context>,
    scope: Option<String>,
    triggers: watches::Triggers,
    triggered: watches::Triggered,
    filling: Filling,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let stores = context.stores.clone();
    filling.wait(&stores, scope.as_deref()).await?;
    context.all_stores.lock().unwrap_or_else(PoisonError::into_inner).push(stores.clone());
    let watches::Triggered { exposes_rx, shares_rx, services_rx } = triggered;
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
        Some(services_rx) => Either::Left(controllers::run(
            stores.services.clone(),
            services_rx,
            context.clone(),
            stop.clone(),
            controllers::labelled_service::reconcile,
        )),
        None => Either::Right(stop.clone().cancelled_owned()),
    };
    let hubs = watches::follow_hubs(context.hubs.clone(), triggers.clone(), stores);
    let definitions = watches::follow_definitions(context.definitions.clone(), triggers.clone());
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

/// A token that is cancelled by SIGTERM or SIGINT.
fn stop_on_signal() -> anyhow::Result<CancellationToken> {
    use tokio::signal::unix::{SignalKind, signal};
    let stop = CancellationToken::new();
    let mut terminate = signal(SignalKind::terminate()).context("cannot wait for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot wait for SIGINT")?;
    let stopper = stop.clone();
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        tracing::info!("stopping");
        stopper.cancel();
    });
    Ok(stop)
}

fn insecure(hub: &HubArgs) -> InsecureHttp {
    if hub.allow_insecure_hub { InsecureHttp::Allowed } else { InsecureHttp::Refused }
}

/// The operator's own hub, when it is not the embedded one.
fn hub_endpoint(args: &HubArgs) -> anyhow::Result<HubEndpoint> {
    let url = HubUrl::parse(&args.hub_url, insecure(args))
        .with_context(|| format!("--hub-url {:?} cannot be used", args.hub_url))?;
    let api_key = match &args.hub_api_key_file {
        Some(path) => {
            let text = std::fs::read_to_string(path)
                .with_context(|| format!("cannot read --hub-api-key-file {}", path.display()))?;
            Some(text.trim().to_owned())
        }
        None => std::env::var("CONNECT_HUB_API_KEY").ok(),
    };
    let ca = match &args.hub_ca_file {
        Some(path) => Some(
            std::fs::read(path).with_context(|| format!("cannot read --hub-ca-file {}", path.display()))?,
        ),
        None => None,
    };
    let api_key = api_key.filter(|key| !key.is_empty()).map(SecretString::from);
    if api_key.is_none() {
        tracing::warn!(hub = %url, "no API key for the hub: give --hub-api-key-file or CONNECT_HUB_API_KEY, or use --embedded-hub");
    }
    Ok(HubEndpoint { public_url: url.clone(), url, api_key, ca })
}

fn policy(args: &RunArgs, config: &kube::Config) -> Policy {
    let api_server =
        config.cluster_url.host().and_then(|host| host.trim_matches(['[', ']']).parse::<IpAddr>().ok());
    let in_cluster =
        std::env::var("KUBERNETES_SERVICE_HOST").ok().and_then(|host| host.parse::<IpAddr>().ok());
    Policy {
        allow_loopback: args.allow_loopback_targets,
        allow_selectorless: args.allow_selectorless_targets,
        forbidden: api_server
            .into_iter()
            .chain(in_cluster)
            .chain(args.cluster.pod_ip)
            .map(|ip| ip.to_canonical())
            .collect(),
        own_namespace: args.cluster.namespace.clone(),
        required_labels: args.require_service_label.clone(),
    }
}

/// One line of JSON for whoever started us with port 0.
fn print_addresses(args: &RunArgs, hub: Option<&EmbeddedHub>, admin: SocketAddr) {
    if args.print_addresses {
        let hub = hub.map(|hub| hub.endpoint.url.to_string());
        println!("{}", serde_json::json!({ "hub": hub, "admin": format!("http://{admin}") }));
    }
}
