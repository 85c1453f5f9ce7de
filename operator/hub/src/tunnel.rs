//! The exposing side: one agent socket that carries all connections of all routes.
//!
//! [`Tunnel::start`] runs until stopped: it connects, exposes what [`Routes`] hold, answers dials and reconnects. What
//! may be dialled is decided by [`routes`] alone; when a share is over, `ends` cuts its connections without asking
//! the hub or this task.

mod exposing;
mod reconnect;
mod session;

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::{broadcast, watch};
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};
use uuid::Uuid;

use self::reconnect::ReconnectDelays;
use self::session::Surroundings;
use crate::agent::{self, AgentError};
use crate::budget::Budget;
pub use crate::budget::{Limits, Memory};
use crate::client::{Join, People};
pub use crate::clock::{Clock, SystemClock};
use crate::error::chain;
use crate::identity::Identity;
pub use crate::routes::{self, Dial, EndReason, Refusal, Route, Routes, ShareEnded, ShareKey};
use crate::stats::count;
pub use crate::stats::{RefusedDial, Stats};
use crate::url::HubUrl;

/// How many events a slow listener may lag behind before it loses the oldest: joins of one busy minute.
const EVENT_QUEUE: usize = 256;

/// How long [`Tunnel::stop`] waits for the task.
const STOP_TIMEOUT: Duration = Duration::from_secs(5);

/// Where to connect and how much to spend.
#[derive(Clone, Debug)]
pub struct TunnelConfig {
    /// The hub.
    pub url: HubUrl,
    /// See [`crate::tls::client_config`].
    pub tls: Arc<rustls::ClientConfig>,
    /// Bounds of this tunnel.
    pub limits: Limits,
    /// Room for bytes that wait, which all tunnels of a process share.
    pub memory: Memory,
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
    /// Who is connected under a share.
    SharePresence {
        /// The share.
        id: Uuid,
        /// How often it has been joined.
        count: u64,
        /// How many are connected.
        connected: People,
        /// The newest joins, newest first.
        joins: Vec<Join>,
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
    events_tx: broadcast::Sender<TunnelEvent>,
    stats: Arc<Stats>,
    budget: Budget,
    task: Arc<Task>,
}

/// The task behind all handles.
#[derive(Debug)]
struct Task {
    stop: CancellationToken,
}

/// What the task works with.
struct Runner {
    config: TunnelConfig,
    identity: watch::Receiver<Identity>,
    around: Surroundings,
    /// Runner --what the socket is doing--> everyone.
    state_tx: watch::Sender<TunnelState>,
    stop: CancellationToken,
}

// === impl Tunnel ===

impl Tunnel {
    /// Starts the task. Must be called within a Tokio runtime.
    pub fn start(config: TunnelConfig, identity: watch::Receiver<Identity>, routes: Routes) -> Self {
        let (state_tx, state) =
            watch::channel(TunnelState::Connecting { last_error: None, reason: "Starting" });
        let events_tx = broadcast::channel(EVENT_QUEUE).0;
        let stats = Arc::<Stats>::default();
        let stop = CancellationToken::new();
        let budget = Budget::new(&config.memory, config.limits.link_bytes);
        let around = Surroundings {
            routes,
            limits: config.limits,
            budget: budget.clone(),
            stats: Arc::clone(&stats),
            events_tx: events_tx.clone(),
        };
        let runner = Runner { config, identity, around, state_tx, stop: stop.clone() };
        tokio::spawn(runner.run());
        Self { state, events_tx, stats, budget, task: Arc::new(Task { stop }) }
    }

    /// What the socket is doing, now and later.
    pub fn state(&self) -> watch::Receiver<TunnelState> {
        self.state.clone()
    }

    /// What happens at the hub from now on.
    pub fn events(&self) -> broadcast::Receiver<TunnelEvent> {
        self.events_tx.subscribe()
    }

    /// Counters, for metrics.
    pub fn stats(&self) -> Arc<Stats> {
        Arc::clone(&self.stats)
    }

    /// Bytes from the hub that wait for their Services now; never more than half of [`TunnelConfig::memory`].
    pub fn waiting_bytes(&self) -> usize {
        self.budget.used()
    }

    /// Closes all connections and leaves the hub; bounded by seconds.
    pub async fn stop(&self) {
        self.task.stop.cancel();
        let mut state = self.state();
        let stopped = state.wait_for(|state| *state == TunnelState::Stopped);
        let _ = timeout(STOP_TIMEOUT, stopped).await; // the task is on its way; whoever waits has waited enough
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

// === impl Runner ===

impl Runner {
    /// Retries and nothing else: what a connection does is up to the session.
    async fn run(mut self) {
        let mut delays = ReconnectDelays::default();
        while !self.stop.is_cancelled() {
            let identity = self.identity.borrow_and_update().clone();
            let began = Instant::now();
            let Some(error) = self.connect_once(&identity).await else { break };
            self.report(&error);
            self.pause(delays.pause_after(&error, began.elapsed())).await;
            count(&self.around.stats.reconnects, 1);
        }
        let _ = self.state_tx.send(TunnelState::Stopped); // nobody may be looking
    }

    /// One socket from opening to end; `None` when asked to stop.
    async fn connect_once(&mut self, identity: &Identity) -> Option<AgentError> {
        let TunnelConfig { url, tls, .. } = &self.config;
        let opened = tokio::select! {
            () = self.stop.cancelled() => return None,
            opened = agent::open(url, Arc::clone(tls), identity) => opened,
        };
        let socket = match opened {
            Ok(socket) => socket,
            Err(error) => return Some(error),
        };
        info!(hub = %url, "connected to the hub");
        let token_expires_at = socket.welcome.token_expires_at;
        let _ = self.state_tx.send(TunnelState::Connected { since: Timestamp::now(), token_expires_at });
        if let Some(expires_at) = socket.token_warning {
            let _ = self.around.events_tx.send(TunnelEvent::TokenExpiring { expires_at });
        }
        let stop = self.stop.clone();
        tokio::select! {
            ended = session::run(socket, self.around.clone(), &stop) => ended,
            () = another_agent(&mut self.identity, identity.agent_id) => Some(AgentError::NewIdentity),
        }
    }

    /// Says in state, events and log why there is no connection.
    fn report(&self, error: &AgentError) {
        let text = chain(error);
        warn!(hub = %self.config.url, error = text, "not connected to the hub");
        let state = match error {
            AgentError::InvalidToken { message, ended: _ } => {
                TunnelState::Refused { message: message.clone() }
            }
            error => TunnelState::Connecting { last_error: Some(text), reason: error.reason() },
        };
        let _ = self.state_tx.send(state); // nobody may be looking
        let event = match error {
            AgentError::TokenExpired { .. } => TunnelEvent::TokenExpired,
            AgentError::Forgotten => TunnelEvent::Replaced,
            _ => return,
        };
        let _ = self.around.events_tx.send(event); // nobody may be listening
    }

    /// Waits before the next attempt, but not with credentials that have been replaced.
    async fn pause(&mut self, delay: Duration) {
        tokio::select! {
            () = self.stop.cancelled() => {}
            () = sleep(delay) => {}
            () = changed(&mut self.identity) => {}
        }
    }
}

/// Resolves when there is another identity than the one last looked at.
async fn changed(identity: &mut watch::Receiver<Identity>) {
    if identity.changed().await.is_err() {
        std::future::pending::<()>().await; // it can never change again
    }
}

/// Resolves when the identity is another agent's; a new token of the same agent leaves the socket alone.
async fn another_agent(identity: &mut watch::Receiver<Identity>, agent_id: Uuid) {
    loop {
        changed(identity).await;
        if identity.borrow().agent_id != agent_id {
            return;
        }
    }
}
