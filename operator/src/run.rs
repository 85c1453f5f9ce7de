//! A command from its start to its end: lease, hub, admin server, and what runs while this replica leads.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use connect_hub::tunnel::Memory;
use kube::Client;
use tokio::net::TcpListener;
use tokio::sync::broadcast::error::RecvError;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::admin::{self, Admin};
use crate::allowed_hubs::AllowedHubs;
use crate::args::{Command, RunArgs};
use crate::context::Common;
use crate::credentials::HubEndpoint;
use crate::definitions::Definitions;
use crate::embedded::EmbeddedHub;
use crate::lease::{self, Leadership};
use crate::metrics::Metrics;
use crate::origin::Origin;
use crate::settings::{Settings, hub_endpoint};
use crate::state::{AllStores, Reconciliations};
use crate::tunnels::{Home, HubChange, Hubs};
use crate::{cluster, drain, wiring};

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
    let name = lease::name(host.as_deref().unwrap_or("operator"));
    let namespace = args.cluster.namespace.clone();
    // Held before anything is written, and before the embedded hub is started: its state has one owner.
    let served = &args.cluster.watch_namespaces;
    let answered = &admin.answered;
    let Ok(leadership) =
        lease::acquire(&client, &namespace, &name, pod.as_deref(), served, answered, &stop).await
    else {
        return Ok(());
    };
    let lease_stop = CancellationToken::new();
    let lease =
        tokio::spawn(lease::keep(client.clone(), namespace, name, leadership.clone(), lease_stop.clone()));

    let leader = Leader {
        client: lease::fenced(&client, &leadership),
        args,
        config,
        admin,
        admin_address,
        leadership,
        stop: stop.clone(),
    };
    let led = tokio::select! {
        led = leader.lead() => led,
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

/// The replica that holds the Lease.
struct Leader {
    args: RunArgs,
    /// Writes only while the Lease is held.
    client: Client,
    config: kube::Config,
    admin: Admin,
    admin_address: SocketAddr,
    leadership: Leadership,
    stop: CancellationToken,
}

// === impl Leader ===

impl Leader {
    /// What the leader does, from its hub's start to its stop.
    async fn lead(self) -> anyhow::Result<()> {
        let args = &self.args;
        let embedded = EmbeddedHub::start(&args.hub, &self.client, &args.cluster.namespace).await?;
        let own = match &embedded {
            Some(hub) => hub.endpoint.clone(),
            None => hub_endpoint(&args.hub)?,
        };
        self.print_addresses(embedded.as_ref());
        let Some(hubs) = self.hubs(own).await else { return Ok(()) };
        let common = self.common(hubs.clone());
        let metrics = self.admin.metrics.get_or_init(|| {
            let definitions = common.definitions.clone();
            Arc::new(Metrics::new(hubs.clone(), definitions, &common.reconciliations, embedded.as_ref()))
        });
        let unfilled = self.admin.unfilled.clone();
        let mut tasks = wiring::start_tasks(args, &common, metrics, unfilled, &self.stop);
        let result = tokio::select! {
            // A signal ends everything below as well, which is then no failure.
            biased;
            () = self.stop.cancelled() => Ok(()),
            () = superseded(&hubs, &self.leadership) => Err(anyhow::anyhow!("another replica has taken our place at the hub")),
            () = self.leadership.lost() => Err(anyhow::anyhow!("the lease was lost; another replica takes over")),
            Some(ended) = tasks.join_next() => {
                ended.context("a task failed").flatten().and(Err(anyhow::anyhow!("a task ended unexpectedly")))
            }
        };
        self.stop.cancel();
        let _ = tokio::time::timeout(STOP_GRACE, hubs.stopped()).await;
        tasks.abort_all();
        if let Some(hub) = embedded {
            hub.stop().await;
        }
        result
    }

    /// The hubs, with a connection to our own; nothing when the process stops meanwhile.
    async fn hubs(&self, own: HubEndpoint) -> Option<Arc<Hubs>> {
        let (args, namespace) = (&self.args, &self.args.cluster.namespace);
        let memory = Memory::new(usize::from(args.buffer_mib) * MIB);
        let origin = tokio::select! {
            () = self.stop.cancelled() => return None,
            origin = Origin::read(&self.client, namespace) => origin,
        };
        let home = Home { client: self.client.clone(), namespace: namespace.clone(), origin };
        let allowed =
            AllowedHubs { patterns: args.allowed_hubs.clone(), loopback: args.allow_loopback_targets };
        let hubs = Arc::new(Hubs::new(home, own, allowed, memory, self.stop.clone()));
        hubs.own();
        Some(hubs)
    }

    fn common(&self, hubs: Arc<Hubs>) -> Common {
        Common {
            client: self.client.clone(),
            hubs,
            settings: Settings::of(&self.args, &self.config),
            leadership: self.leadership.clone(),
            definitions: Arc::new(Definitions::default()),
            reconciliations: Reconciliations::default(),
            all_stores: AllStores::default(),
        }
    }

    /// One line of JSON for whoever started us with port 0.
    fn print_addresses(&self, hub: Option<&EmbeddedHub>) {
        if self.args.print_addresses {
            let hub = hub.map(|hub| hub.endpoint.url.to_string());
            let admin = format!("http://{}", self.admin_address);
            println!("{}", serde_json::json!({ "hub": hub, "admin": admin }));
        }
    }
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
