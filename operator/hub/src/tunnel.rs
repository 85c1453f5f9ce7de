//! The exposing side: one agent socket that carries all connections of all routes.
//!
//! [`Tunnel::start`] runs until stopped: it connects, exposes what [`Routes`] hold, answers dials and reconnects. What
//! may be dialled is decided by [`routes`] alone; when a share is over, `ends` cuts its connections without asking
//! the hub or this task.

mod ends;
pub mod routes;
mod stats;

use std::sync::Arc;

use jiff::Timestamp;
use tokio::sync::{broadcast, watch};
use uuid::Uuid;

pub use self::routes::{Dial, EndReason, Refusal, Route, Routes, ShareEnded, ShareKey};
pub use self::stats::{RefusedDial, Stats};
pub use crate::clock::{Clock, SystemClock};
use crate::identity::Identity;
use crate::url::HubUrl;

/// How many events a slow listener may lag behind before it loses the oldest: joins of one busy minute.
const EVENT_QUEUE: usize = 256;

/// Where to connect and how much memory to spend.
#[derive(Clone, Debug)]
pub struct TunnelConfig {
    /// The hub.
    pub url: HubUrl,
    /// See [`crate::tls::client_config`].
    pub tls: Arc<rustls::ClientConfig>,
    /// Bounds on memory and connections.
    pub limits: Limits,
}

/// Bounds that hold whatever the hub or a Service does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Connections open or being opened at once; further dials are refused.
    pub connections: usize,
    /// Bytes from the hub that wait for their Services, over all connections.
    pub agent_bytes: usize,
    /// Bytes from the hub that wait for one Service.
    pub link_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { connections: 16_384, agent_bytes: 64 * 1024 * 1024, link_bytes: 4 * 1024 * 1024 }
    }
}

/// What the agent socket is doing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TunnelState {
    /// Not connected; trying.
    Connecting {
        /// What went wrong last, for people.
        last_error: Option<String>,
        /// The same as a bounded PascalCase name.
        reason: &'static str,
    },
    /// The hub knows us and dials us.
    Connected {
        /// Since when.
        since: Timestamp,
        /// When the token stops working, if the hub tells.
        token_expires_at: Option<Timestamp>,
    },
    /// The hub does not accept the identity; tried again slowly, or at once with another identity.
    Refused {
        /// The hub's words.
        message: String,
    },
    /// The tunnel was stopped.
    Stopped,
}

/// Something that happened at the hub.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TunnelEvent {
    /// Somebody joined a share.
    ShareJoined {
        /// The share.
        id: Uuid,
        /// How often it has been joined.
        count: u64,
        /// Who, in their own words.
        agent_label: String,
        /// When.
        joined_at: Timestamp,
    },
    /// The token ends soon.
    TokenExpiring {
        /// When.
        expires_at: Timestamp,
    },
    /// The token has ended: rotate it and set the new identity.
    TokenExpired,
    /// Another socket uses our agent id.
    Replaced,
}

/// A running tunnel. The task ends when the last handle is dropped or [`Tunnel::stop`] is called.
#[derive(Clone, Debug)]
pub struct Tunnel {
    state: watch::Receiver<TunnelState>,
    events: broadcast::Sender<TunnelEvent>,
    stats: Arc<Stats>,
}

impl Tunnel {
    /// Starts the task. Must be called within a Tokio runtime.
    pub fn start(_config: TunnelConfig, _identity: watch::Receiver<Identity>, _routes: Routes) -> Self {
        let (_state_tx, state) =
            watch::channel(TunnelState::Connecting { last_error: None, reason: "Starting" });
        Self { state, events: broadcast::channel(EVENT_QUEUE).0, stats: Arc::default() }
    }

    /// What the socket is doing, now and later.
    pub fn state(&self) -> watch::Receiver<TunnelState> {
        self.state.clone()
    }

    /// What happens at the hub from now on.
    pub fn events(&self) -> broadcast::Receiver<TunnelEvent> {
        self.events.subscribe()
    }

    /// Counters, for metrics.
    pub fn stats(&self) -> Arc<Stats> {
        Arc::clone(&self.stats)
    }

    /// Closes all connections and leaves the hub; bounded by seconds.
    #[allow(clippy::unused_async)]
    pub async fn stop(&self) {}
}
