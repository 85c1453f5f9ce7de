//! A hub that keeps its promises: the HTTP API, the agents' sockets, the bridges between them and the end of every
//! share, with its state in SQLite. [`Hub::start`] is the whole of it; the binary only reads flags.
//!
//! ```text
//! control  request -> api -> store                      -> ends (timer) -> core.expire -> bridges cut, agents told
//! in       connection -> places (who makes room) -> wire (pace) -> request
//! data     socket -> wire (backpressure) -> namespace::events -> bridges (queue) -> wire (window) -> socket
//! fast     upgrade (open: the same rights) -> reach -> bridge -> relay, both sides beside their sockets
//! ```

mod agents;
mod api;
mod bridges;
mod config;
mod core;
mod counts;
mod data;
mod expirations;
mod limits;
mod log_filter;
mod metrics;
mod namespace;
mod places;
mod rate_limiter;
mod reach;
mod secret;
mod serve;
mod store;
mod timer;
mod timestamp;
mod upgrade;
mod wire;

pub use config::HubConfig;
pub use limits::Limits;
pub use log_filter::log_filter;
pub use secret::NoRandomness;
pub use serve::{TlsError, TlsFiles};
pub use store::{KeyRow, NoHub, StoreError};

use std::{net::SocketAddr, path::Path, sync::Arc};

use prometheus_client::registry::Registry;
use socketioxide::{SocketIo, TransportType};
use tokio::net::TcpListener;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    core::Core,
    limits::{
        MAX_PAYLOAD, PING_INTERVAL, PING_TIMEOUT, SOCKET_PACKETS, STOP_TIMEOUT, UNPROVEN_SOCKET,
        WEBSOCKET_READ_BUFFER,
    },
    namespace::AgentNamespace,
    places::Places,
    serve::Server,
    store::{Folder, Store},
};

/// The namespace of agents.
const NAMESPACE: &str = "/agent";

/// A running hub. Dropping it leaves it running until the runtime ends; [`Hub::stop`] ends it in order.
#[derive(Debug)]
pub struct Hub {
    address: SocketAddr,
    core: Arc<Core>,
    sockets: SocketIo,
    stop: CancellationToken,
    kill: CancellationToken,
    tasks: TaskTracker,
}

/// The API keys of a data folder, also while a hub runs on it.
#[derive(Debug)]
pub struct Keys(Store);

/// Why a hub could not be started or asked.
#[derive(Debug, thiserror::Error)]
pub enum HubError {
    /// The address is taken or not ours.
    #[error("listening on {address}")]
    Listen {
        /// What we tried to bind.
        address: SocketAddr,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// The data could not be opened, read or written.
    #[error("using the hub's data")]
    Store(#[from] StoreError),
    /// The certificate or its key could not be used.
    #[error("preparing TLS")]
    Tls(#[from] TlsError),
    /// The namespace of agents could not be opened.
    #[error("opening the namespace of agents")]
    Namespace(#[from] socketioxide::NsInsertError),
    /// A key that could be guessed, or does not fit a header.
    #[error("importing an API key: it must be 16 to 256 visible ASCII characters")]
    UnfitKey,
}

// === impl Hub ===

impl Hub {
    /// Opens the data, ends what is due, then serves.
    pub async fn start(config: HubConfig) -> Result<Self, HubError> {
        Self::start_with_tls(config, None).await
    }

    /// As [`Hub::start`], over TLS when files are given.
    pub async fn start_with_tls(config: HubConfig, tls: Option<TlsFiles>) -> Result<Self, HubError> {
        let HubConfig { listen, public_url, data, limits } = config;
        let tls = tls.as_ref().map(serve::acceptor).transpose()?;
        let core = Core::new(Store::open(&data, Folder::OfHubOrEmpty).await?, limits, public_url);
        timer::catch_up(&core).await?;

        let (layer, sockets) = socket_io();
        sockets.ns(NAMESPACE, AgentNamespace(core.clone()));
        let router = api::router(core.clone(), axum::routing::get(upgrade::upgrade)).layer(layer);

        let listen_failed = |source| HubError::Listen { address: listen, source };
        let listener = TcpListener::bind(listen).await.map_err(listen_failed)?;
        let address = listener.local_addr().map_err(listen_failed)?;

        let (stop, kill, tasks) = (CancellationToken::new(), CancellationToken::new(), TaskTracker::new());
        tasks.spawn(timer::run(core.clone(), stop.clone()));
        tasks.spawn(upgrade::keep(core.clone(), stop.clone()));
        let server = Server {
            router,
            tls,
            stop: stop.clone(),
            kill: kill.clone(),
            tasks: tasks.clone(),
            budget: Arc::default(),
            places: Places::new(core.limits.trusted_proxies > 0),
            trusted_proxies: core.limits.trusted_proxies,
        };
        tasks.spawn(server.run(listener));
        tracing::info!(%address, data = %data.display(), "hub is listening");
        Ok(Self { address, core, sockets, stop, kill, tasks })
    }

    /// Where this hub listens; the real port also when port 0 was asked for.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Makes sure that `key` opens `workspace`; the workspace is made when missing. Idempotent. A key that was revoked
    /// stays revoked.
    pub async fn ensure_api_key(&self, workspace: &str, label: &str, key: &str) -> Result<(), HubError> {
        ensure_key(&self.core.store, workspace, label, key).await
    }

    /// Adds what this hub counts to somebody's registry.
    pub fn register(&self, registry: &mut Registry) {
        metrics::register(&self.core, registry);
    }

    /// Serves `/metrics` on an address of its own, until the hub stops; on which.
    pub async fn serve_metrics(&self, address: SocketAddr) -> Result<SocketAddr, HubError> {
        let failed = |source| HubError::Listen { address, source };
        let listener = TcpListener::bind(address).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        self.tasks.spawn(metrics::serve(self.core.clone(), listener, self.stop.clone()));
        tracing::info!(%address, "metrics are served");
        Ok(address)
    }

    /// How many bridges carry bytes or are being dialled now.
    pub fn open_bridges(&self) -> usize {
        self.core.bridges.count()
    }

    /// How many events named a bridge of somebody else; each was ignored.
    pub fn foreign_events(&self) -> u64 {
        self.core.bridges.foreign_events()
    }

    /// Stops serving: no new connections, sockets closed, requests answered or, after some seconds, dropped.
    pub async fn stop(self) {
        let Self { address, core, sockets, stop, kill, tasks } = self;
        stop.cancel();
        tasks.close();
        let in_order = async {
            sockets.close().await;
            tasks.wait().await;
        };
        if tokio::time::timeout(STOP_TIMEOUT, in_order).await.is_err() {
            tracing::warn!(%address, "dropping connections that did not end in time");
        }
        kill.cancel();
        core.store.close().await;
        tracing::info!(%address, "hub stopped");
    }
}

/// The Socket.IO library, with everything that the recorded hub announces. WebSocket only: every client uses it, and
/// over polling no sender could be slowed down.
fn socket_io() -> (socketioxide::layer::SocketIoLayer, SocketIo) {
    SocketIo::builder()
        .transports([TransportType::Websocket])
        .ping_interval(PING_INTERVAL)
        .ping_timeout(PING_TIMEOUT)
        .max_payload(MAX_PAYLOAD as u64)
        .ws_max_message_size(MAX_PAYLOAD)
        .ws_max_frame_size(MAX_PAYLOAD)
        .ws_read_buffer_size(WEBSOCKET_READ_BUFFER)
        .max_buffer_size(SOCKET_PACKETS)
        .connect_timeout(UNPROVEN_SOCKET)
        .build_layer()
}

// === impl Keys ===

impl Keys {
    /// Opens the keys of a hub's data folder.
    pub async fn open(data: &Path) -> Result<Self, HubError> {
        Ok(Self(Store::open(data, Folder::OfHub).await?))
    }

    /// As [`Keys::open`]; an empty folder begins a hub.
    pub async fn open_or_begin(data: &Path) -> Result<Self, HubError> {
        Ok(Self(Store::open(data, Folder::OfHubOrEmpty).await?))
    }

    /// Makes a new key for a workspace, which is made when missing. This is the only time the key is seen.
    pub async fn create(&self, workspace: &str, label: &str) -> Result<String, HubError> {
        let key = secret::generate_key().map_err(StoreError::from)?;
        ensure_key(&self.0, workspace, label, &key).await?;
        Ok(key)
    }

    /// All keys, oldest first.
    pub async fn list(&self) -> Result<Vec<KeyRow>, HubError> {
        Ok(self.0.keys().await?)
    }

    /// Revokes the keys with this prefix, as [`KeyRow::prefix`] shows it; how many that were.
    pub async fn revoke(&self, prefix: &str) -> Result<u64, HubError> {
        Ok(self.0.revoke_keys(prefix).await?)
    }

    /// Finishes what is being written.
    pub async fn close(self) {
        self.0.close().await;
    }
}

/// Makes a hub's data folder, or leaves the one that is there as it is. Whether there was none.
pub async fn init(data: &Path) -> Result<bool, HubError> {
    let is_new = !store::holds_hub(data);
    Store::open(data, Folder::Any).await?.close().await;
    Ok(is_new)
}

async fn ensure_key(store: &Store, workspace: &str, label: &str, key: &str) -> Result<(), HubError> {
    if !secret::is_importable_key(key) {
        return Err(HubError::UnfitKey);
    }
    Ok(store.ensure_key(workspace, label, key).await?)
}

/// An error and everything that caused it, on one line.
fn error_chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |error| error.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}
