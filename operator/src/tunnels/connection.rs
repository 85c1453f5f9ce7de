//! One hub: entered once, kept connected, its lists read again every minute.
//!
//! The task here does all the talking that no single object asks for: identity, registration, tunnel, lists, token. What
//! objects ask for (a share, its end) is asked by their reconcilers through [`HubConnection::client`].

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock};
use std::time::Duration;

use connect_hub::client::{Client, ClientOptions, Deleted, Features, Join};
use connect_hub::clock::SystemClock;
use connect_hub::tls::client_config;
use connect_hub::tunnel::routes::Routes;
use connect_hub::tunnel::{Limits, Tunnel, TunnelConfig, TunnelEvent, TunnelState};
use connect_hub::url::HubUrl;
use tokio::sync::{broadcast, watch};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::backoff::Backoff;
use crate::credentials::{HubEndpoint, IdentityStore};
use crate::error::{Error, chain};
use crate::tunnels::HubChange;
use crate::tunnels::directory::{Directory, KnownService};
use crate::tunnels::token::AgentToken;

/// What hubs show for us as an agent.
const AGENT_LABEL: &str = "kubernetes";

/// How often the lists are read: hubs limit calls per address, and one cluster is one address (contract A.0).
const REFRESH_EVERY: Duration = Duration::from_secs(60);

/// How long a tunnel may be down before its objects say so: a hub's restart is not news.
const TUNNEL_GRACE: Duration = Duration::from_secs(5);

/// Key of the only entry in this connection's backoff.
const THIS: &str = "hub";

/// What can be said of a hub now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HubState {
    /// Nothing is known yet.
    Starting,
    /// Entered, listed, tunnel up.
    Ready,
    /// No answer; the sentence names the hub.
    Unreachable(String),
    /// It answered no.
    Rejected {
        /// Bounded name of the refusal.
        reason: &'static str,
        /// The sentence for people.
        message: String,
    },
}

/// A hub, its tunnel, and what it said it has.
pub struct HubConnection {
    endpoint: HubEndpoint,
    client: OnceLock<Client>,
    routes: Routes,
    state_tx: watch::Sender<HubState>,
    entered: RwLock<Option<Entered>>,
    directory: Mutex<Directory>,
    tunnel: OnceLock<Tunnel>,
    /// HubConnection --changes--> controllers
    changes_tx: broadcast::Sender<HubChange>,
    backoff: Backoff,
    /// Turned off when the hub turns out to have no way to delete a service.
    deletes_services: AtomicBool,
}

/// What is known once the hub has been entered.
#[derive(Clone, Debug)]
struct Entered {
    agent: Uuid,
    features: Features,
}

// === impl HubConnection ===

impl HubConnection {
    /// Not connected yet; [`Self::run`] does that.
    pub fn new(endpoint: HubEndpoint, changes_tx: broadcast::Sender<HubChange>) -> Self {
        Self {
            endpoint,
            client: OnceLock::new(),
            routes: Routes::new(Arc::new(SystemClock)),
            state_tx: watch::Sender::new(HubState::Starting),
            entered: RwLock::default(),
            directory: Mutex::default(),
            tunnel: OnceLock::new(),
            changes_tx,
            backoff: Backoff::default(),
            deletes_services: AtomicBool::new(true),
        }
    }

    /// What can be said of the hub now.
    pub fn state(&self) -> HubState {
        self.state_tx.borrow().clone()
    }

    /// The hub's URL, as this process reaches it.
    pub fn url(&self) -> &HubUrl {
        &self.endpoint.url
    }

    /// The hub's URL, as teammates reach it.
    pub fn public_url(&self) -> &HubUrl {
        &self.endpoint.public_url
    }

    fn agent(&self) -> Option<Uuid> {
        self.entered.read().unwrap_or_else(PoisonError::into_inner).as_ref().map(|entered| entered.agent)
    }

    /// The HTTP API and who we are there; `None` until the hub was entered.
    pub fn entered(&self) -> Option<(&Client, Uuid)> {
        Some((self.client.get()?, self.agent()?))
    }

    /// Whether the hub can do this.
    pub fn has(&self, feature: &str) -> bool {
        self.entered
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .as_ref()
            .is_some_and(|entered| entered.features.has(feature))
    }

    /// What may be dialled.
    pub fn routes(&self) -> &Routes {
        &self.routes
    }

    /// The tunnel, once there is one.
    pub fn tunnel(&self) -> Option<&Tunnel> {
        self.tunnel.get()
    }

    /// Looks into, or changes, what the hub said it has.
    pub fn with_directory<T>(&self, look: impl FnOnce(&mut Directory) -> T) -> T {
        look(&mut self.directory.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Whether the hub can delete services, as far as known.
    pub fn deletes_services(&self) -> bool {
        self.deletes_services.load(Ordering::Relaxed)
    }

    /// Cuts a service's connections and frees its row at the hub, where the hub can.
    ///
    /// # Errors
    /// The hub refused or did not answer; the connections are cut all the same.
    pub async fn free_service(&self, name: &str, known: KnownService) -> Result<(), connect_hub::Error> {
        self.routes.remove(known.id);
        if let Some(client) = self.client.get().filter(|_| self.deletes_services()) {
            match client.delete_service(known.id).await? {
                Deleted::Done | Deleted::Absent => {
                    self.with_directory(|directory| directory.forget_service(name));
                }
                Deleted::Unsupported => self.deletes_services.store(false, Ordering::Relaxed),
            }
        }
        Ok(())
    }

    /// Enters the hub and stays until `stop`, then leaves it.
    pub async fn run(self: Arc<Self>, identities: IdentityStore, stop: CancellationToken) {
        tokio::select! {
            () = self.stay(identities) => {}
            () = stop.cancelled() => {}
        }
        if let Some(tunnel) = self.tunnel.get() {
            tunnel.stop().await;
        }
    }

    /// Enters, with backoff, and keeps up what was entered. Never ends by itself.
    async fn stay(&self, identities: IdentityStore) {
        let token = loop {
            match self.enter(&identities).await {
                Ok(token) => break token,
                Err(error) => {
                    let wait = error.retry_after().unwrap_or_else(|| self.backoff.failed(THIS));
                    self.say(self.verdict(&error));
                    tokio::time::sleep(wait).await;
                }
            }
        };
        self.backoff.succeeded(THIS);
        self.keep_up(token).await;
    }

    /// Identity, features, registration, then the tunnel.
    async fn enter(&self, identities: &IdentityStore) -> Result<AgentToken, Error> {
        let hub = |source| Error::Hub { doing: "entering the hub", source };
        let client = self.make_client().map_err(hub)?;
        let stored = identities.load_or_create().await?;
        let features = client.health().await.map_err(hub)?.features;
        client.register_agent(&stored.identity, AGENT_LABEL, None).await.map_err(hub)?;
        *self.entered.write().unwrap_or_else(PoisonError::into_inner) =
            Some(Entered { agent: stored.identity.agent_id, features });
        let (token, identity_rx) = AgentToken::new(identities.clone(), stored);
        self.tunnel.get_or_init(|| {
            let tls = self.endpoint_tls();
            let config = TunnelConfig { url: self.endpoint.url.clone(), tls, limits: Limits::default() };
            Tunnel::start(config, identity_rx, self.routes.clone())
        });
        Ok(token)
    }

    fn make_client(&self) -> Result<&Client, connect_hub::Error> {
        if let Some(client) = self.client.get() {
            return Ok(client);
        }
        let options = ClientOptions { api_key: self.endpoint.api_key.clone(), tls: self.endpoint_tls() };
        let client = Client::new(self.endpoint.url.clone(), options)?;
        Ok(self.client.get_or_init(|| client))
    }

    /// TLS with the hub's private CA, or without it when its certificates cannot be read: connecting then fails and says why.
    fn endpoint_tls(&self) -> Arc<rustls::ClientConfig> {
        client_config(self.endpoint.ca.as_deref()).unwrap_or_else(|error| {
            tracing::error!(hub = %self.endpoint.url, error = chain(&error), "the CA certificates for the hub cannot be used");
            Arc::new(
                rustls::ClientConfig::builder().with_root_certificates(rustls::RootCertStore::empty()).with_no_client_auth(),
            )
        })
    }

    /// Follows the tunnel, takes the hub's events, reads the lists, rotates the token.
    async fn keep_up(&self, mut token: AgentToken) {
        let (Some(tunnel), Some(client)) = (self.tunnel.get(), self.client.get()) else { return };
        let mut tunnel_state = tunnel.state();
        let mut events = tunnel.events();
        let mut ended = self.routes.ended();
        let mut refresh = tokio::time::interval(REFRESH_EVERY);
        refresh.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut down_since = Some(tokio::time::Instant::now());
        loop {
            let grace_over = async {
                match down_since {
                    Some(since) => tokio::time::sleep_until(since + TUNNEL_GRACE).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                changed = tunnel_state.changed() => {
                    if changed.is_err() { return; }
                    let state = tunnel_state.borrow_and_update().clone();
                    down_since = self.follow(&state, down_since).await;
                    token.rotate_when_due(&state, client).await;
                }
                () = grace_over => {
                    let state = tunnel_state.borrow().clone();
                    self.say(self.tunnel_verdict(&state));
                    down_since = None;
                }
                event = events.recv() => self.take(event, &mut token, client).await,
                end = ended.recv() => match end {
                    Ok(end) => { let _ = self.changes_tx.send(HubChange::Ended(end.share, end.why)); }
                    Err(_) => { let _ = self.changes_tx.send(HubChange::Hub); }
                },
                _ = refresh.tick() => {
                    let state = tunnel_state.borrow().clone();
                    if matches!(state, TunnelState::Connected { .. }) {
                        down_since = self.follow(&state, down_since).await;
                        token.rotate_when_due(&state, client).await;
                    }
                }
            }
        }
    }

    /// Says what a tunnel state means for the hub; returns since when the tunnel has been down.
    async fn follow(
        &self,
        state: &TunnelState,
        down_since: Option<tokio::time::Instant>,
    ) -> Option<tokio::time::Instant> {
        match state {
            TunnelState::Connected { .. } => {
                match self.read_lists().await {
                    Ok(()) => {
                        self.say(HubState::Ready);
                        let _ = self.changes_tx.send(HubChange::Hub);
                    }
                    Err(source) => {
                        self.say(self.verdict(&Error::Hub { doing: "reading the hub's lists", source }));
                    }
                }
                None
            }
            TunnelState::Refused { .. } => {
                self.say(self.tunnel_verdict(state));
                None
            }
            TunnelState::Connecting { .. } | TunnelState::Stopped => match self.state() {
                HubState::Ready | HubState::Starting => {
                    down_since.or_else(|| Some(tokio::time::Instant::now()))
                }
                _ => None,
            },
        }
    }

    async fn read_lists(&self) -> Result<(), connect_hub::Error> {
        let Some((client, agent)) = self.entered() else { return Ok(()) };
        let services = client.services().await?;
        let shares = client.shares(agent).await?;
        let ours = services
            .into_iter()
            .filter(|row| row.agent_id == Some(agent))
            .map(|row| (row.name, KnownService { id: row.id, tunnel_port: row.tunnel_port }));
        let fresh = Directory::new(ours, shares);
        self.with_directory(|directory| *directory = fresh);
        Ok(())
    }

    async fn take(
        &self,
        event: Result<TunnelEvent, broadcast::error::RecvError>,
        token: &mut AgentToken,
        client: &Client,
    ) {
        match event {
            Ok(TunnelEvent::ShareJoined { id, count, agent_label, joined_at }) => {
                let join = Join { agent_label, joined_at };
                if let Some(mark) = self.with_directory(|directory| directory.joined(id, count, join)) {
                    let _ = self.changes_tx.send(HubChange::Joined(mark));
                }
            }
            Ok(TunnelEvent::TokenExpired | TunnelEvent::TokenExpiring { .. }) => {
                token.rotate(client).await;
            }
            Ok(TunnelEvent::Replaced) => {
                tracing::warn!(hub = %self.endpoint.url, "another process uses our agent id at the hub; only one may");
            }
            // Missed events are in the lists, which are read every minute.
            Err(_) => {}
        }
    }

    fn say(&self, state: HubState) {
        if self.state() == state {
            return;
        }
        let hub = &self.endpoint.url;
        match &state {
            HubState::Ready => tracing::info!(%hub, "the hub is connected"),
            HubState::Starting => {}
            HubState::Unreachable(message) => tracing::warn!(%hub, message, "the hub is unreachable"),
            HubState::Rejected { reason, message } => {
                tracing::warn!(%hub, reason, message, "the hub refuses");
            }
        }
        self.state_tx.send_replace(state);
        let _ = self.changes_tx.send(HubChange::Hub);
    }

    fn verdict(&self, error: &Error) -> HubState {
        match error {
            Error::Hub { source, .. } => hub_verdict(&self.endpoint.url, source),
            other => HubState::Unreachable(format!(
                "the operator cannot enter the hub at {}: {}",
                self.endpoint.url,
                chain(other)
            )),
        }
    }

    fn tunnel_verdict(&self, state: &TunnelState) -> HubState {
        match state {
            TunnelState::Refused { message } => HubState::Rejected {
                reason: connect_crds::condition::reason::INVALID_CREDENTIALS,
                message: format!(
                    "the hub at {} refuses the operator's agent token: {message}",
                    self.endpoint.url
                ),
            },
            TunnelState::Connecting { last_error, .. } => {
                let why = last_error.as_deref().unwrap_or("the connection was lost");
                HubState::Unreachable(format!("cannot reach the hub at {}: {why}", self.endpoint.url))
            }
            TunnelState::Connected { .. } => HubState::Ready,
            TunnelState::Stopped => {
                HubState::Unreachable(format!("the tunnel to the hub at {} has stopped", self.endpoint.url))
            }
        }
    }
}

/// What an error of a hub means for the objects that use it.
pub fn hub_verdict(url: &HubUrl, error: &connect_hub::Error) -> HubState {
    match error.status() {
        Some(status) if status < 500 && status != 429 => HubState::Rejected {
            reason: error.reason(),
            message: format!("the hub at {url} refuses: {}", chain(error)),
        },
        _ => HubState::Unreachable(format!("cannot reach the hub at {url}: {}", chain(error))),
    }
}
