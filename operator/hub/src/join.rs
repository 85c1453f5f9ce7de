//! The teammate's side: a port on this machine for every route of a share, until the share is over.
//!
//! One agent socket carries all connections. It comes back after an outage, with the ports kept; whatever ends the
//! share (its time, the hub's word, or the hub no longer knowing the code) closes ports and connections first and is
//! told afterwards.

mod connection;
mod deadline;
mod listening;
mod peers;
mod runner;
mod session;
mod traffic;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use thiserror::Error;
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;
use tokio_util::sync::{CancellationToken, DropGuard};
use uuid::Uuid;

use self::deadline::Deadline;
use self::runner::{Hub, Runner};
use self::session::Share;
use self::traffic::Counters;
pub use self::traffic::Traffic;
use crate::agent::{self, AgentError};
use crate::client::Client;
use crate::clock::{Clock, SystemClock};
use crate::code_key::CodeKey;
pub use crate::data::Transport;
use crate::dial::{DialError, Obstacle};
use crate::identity::Identity;
use crate::url::HubUrl;

/// Events that may wait for the owner of a join; failures of connections beyond that are not told.
const EVENT_QUEUE: usize = 64;

/// How often a hub that tells nobody about ends is asked: its limits count every address behind one gateway together.
const RECHECK_INTERVAL: Duration = Duration::from_secs(60);

/// How soon such a hub is asked again after a connection was refused and the share was still there: the other end knows of the
/// end before the hub does. Each answer doubles it, so that a service that is down costs a few questions a minute.
const ASK_AGAIN: Duration = Duration::from_secs(5);

/// How long [`Join::stop`] waits for the last words to the hub.
const STOP_TIMEOUT: Duration = Duration::from_secs(5);

/// What to join and how.
#[derive(Clone, Debug)]
pub struct JoinConfig {
    /// The hub.
    pub url: HubUrl,
    /// See [`crate::tls::client_config`].
    pub tls: Arc<rustls::ClientConfig>,
    /// The joiner's credentials.
    pub identity: Identity,
    /// The share's id, on hubs that give one.
    pub share_id: Option<Uuid>,
    /// What the code's secret gives, when it has one: connections are then with an end that knows it, or not at all.
    pub code_key: Option<CodeKey>,
    /// When the share ends.
    pub ends_at: Timestamp,
    /// What to listen for.
    pub routes: Vec<LocalRoute>,
    /// Where to listen; empty means loopback, IPv4 and where available IPv6.
    pub bind: Vec<IpAddr>,
    /// Looks after a share at a hub that tells nobody about its end.
    pub recheck: Option<Recheck>,
}

/// How to ask a hub whether the share still lives.
#[derive(Clone, Debug)]
pub struct Recheck {
    /// The hub's HTTP API.
    pub client: Client,
    /// The share's code.
    pub code: secrecy::SecretString,
}

/// By what clock a join lives. The default is right outside of tests.
#[derive(Clone)]
pub struct Timing {
    /// Says when the share has ended.
    pub clock: Arc<dyn Clock>,
    /// How often a hub is asked that tells nobody about ends.
    pub recheck_interval: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self { clock: Arc::new(SystemClock), recheck_interval: RECHECK_INTERVAL }
    }
}

/// One route of the share and the port it would like.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalRoute {
    /// What it is called.
    pub name: String,
    /// What to ask the hub for.
    pub service_id: Uuid,
    /// The port it would like on this machine; 0 means any.
    pub wanted_port: u16,
    /// `auto`, `tcp`, `http` or `https`.
    pub protocol: String,
}

/// One route and the port it got.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BoundRoute {
    /// What it is called.
    pub name: String,
    /// The port it wanted.
    pub wanted_port: u16,
    /// The port it has.
    pub port: u16,
    /// `auto`, `tcp`, `http` or `https`.
    pub protocol: String,
}

/// Why nothing was joined.
#[derive(Debug, Error)]
pub enum JoinError {
    /// The hub could not be reached.
    #[error("cannot connect to hub at {url}")]
    Unreachable {
        /// The hub.
        url: HubUrl,
        /// What went wrong.
        #[source]
        source: crate::error::Cause,
    },
    /// Something in between keeps us from the hub.
    #[error("cannot reach hub at {url}: {obstacle}")]
    Obstructed {
        /// The hub.
        url: HubUrl,
        /// What is in between, and what to do about it.
        obstacle: Obstacle,
    },
    /// The hub does not accept the credentials.
    #[error("the hub refused the credentials of this join: {message}")]
    Refused {
        /// The hub's words.
        message: String,
    },
    /// No port could be bound for any route.
    #[error("listening on a local port for {route}")]
    Bind {
        /// The route.
        route: String,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// The share was over before it began.
    #[error("the share has ended: ask for a new code")]
    Ended,
}

/// What happens to a join.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JoinEvent {
    /// The hub is away; told once per outage.
    Reconnecting {
        /// Why.
        reason: String,
    },
    /// The hub is back.
    Reconnected,
    /// The creator moved the end, to a later or an earlier time, or the other end told it more exactly than the hub.
    Moved {
        /// The new end.
        ends_at: Timestamp,
    },
    /// The share is over and everything is closed.
    Ended {
        /// Why.
        reason: JoinEnd,
    },
    /// The other end does not encrypt, so the hub can read what passes; told once for each route.
    NotEncrypted {
        /// The route.
        name: String,
    },
    /// A connection could not be made.
    RouteFailed {
        /// The route.
        name: String,
        /// Why.
        reason: String,
    },
}

/// Why a join is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JoinEnd {
    /// Its time was up.
    Expired,
    /// The creator took it back.
    Revoked,
    /// The creator removed it.
    ClosedByOwner,
    /// The hub no longer knows its code, and does not tell why: it has expired, was revoked, or has a new code.
    Over,
    /// It goes on under a new code.
    Rotated,
    /// The hub no longer accepts us.
    LostAccess,
}

/// A running join. Dropping it closes listeners and connections.
#[derive(Debug)]
pub struct Join {
    routes: Vec<BoundRoute>,
    /// One for each of `routes`.
    counters: Vec<Arc<Counters>>,
    /// Runner, connections --what happens--> the owner of this join.
    events_rx: mpsc::Receiver<JoinEvent>,
    ended: watch::Receiver<Option<JoinEnd>>,
    stop: DropGuard,
}

// === impl Join ===

impl Join {
    /// Connects to the hub, then binds a port for every route. A taken or privileged port is replaced by a free one.
    pub async fn start(config: JoinConfig) -> Result<Self, JoinError> {
        Self::start_with(config, Timing::default()).await
    }

    /// The same with another sense of time.
    pub async fn start_with(config: JoinConfig, timing: Timing) -> Result<Self, JoinError> {
        Self::start_over(config, timing, Transport::default()).await
    }

    /// The same over a chosen transport.
    pub async fn start_over(
        config: JoinConfig,
        timing: Timing,
        transport: Transport,
    ) -> Result<Self, JoinError> {
        let Timing { clock, recheck_interval } = timing;
        let JoinConfig { url, tls, identity, share_id, code_key, ends_at, routes, bind, recheck } = config;
        let deadline = Deadline::new(Arc::clone(&clock), ends_at);
        let told_end = Deadline::new(clock, ends_at);
        if deadline.has_passed() {
            return Err(JoinError::Ended);
        }
        let socket =
            agent::open(&url, Arc::clone(&tls), &identity).await.map_err(|error| refusal(&url, error))?;
        let listeners = listening::bind_all(&routes, &bind).await?;
        let bound = listeners.iter().map(|(route, _)| route.clone()).collect();

        let (events_tx, events_rx) = mpsc::channel(EVENT_QUEUE);
        let (ended_tx, ended) = watch::channel(None);
        let stop = CancellationToken::new();
        let hub = Hub { url, tls, identity, transport };
        let runner = Runner::new(
            hub,
            Share {
                id: share_id,
                code_key,
                deadline,
                told_end,
                peers: Arc::default(),
                events_tx: events_tx.clone(),
            },
            recheck.map(|recheck| (recheck, recheck_interval)),
            events_tx,
            stop.clone(),
        );
        let counters = runner.listen(&routes, listeners);
        tokio::spawn(runner.run(socket, ended_tx));
        Ok(Self { routes: bound, counters, events_rx, ended, stop: stop.drop_guard() })
    }

    /// The routes and their ports.
    pub fn routes(&self) -> &[BoundRoute] {
        &self.routes
    }

    /// What each route has carried so far, in the order of [`Self::routes`].
    pub fn traffic(&self) -> Vec<Traffic> {
        self.counters.iter().map(|counters| counters.read()).collect()
    }

    /// The next event. After `Ended` it gives `Ended` again. Cancel safe.
    pub async fn next_event(&mut self) -> JoinEvent {
        if let Some(event) = self.events_rx.recv().await {
            return event;
        }
        // The runner lets go of its queue last of all, with the reason in place.
        let reason = self.ended.borrow().unwrap_or(JoinEnd::LostAccess);
        JoinEvent::Ended { reason }
    }

    /// Closes listeners and connections at once, and leaves the hub.
    pub async fn stop(self) {
        let Self { routes: _, counters: _, events_rx: _, mut ended, stop } = self;
        drop(stop);
        let over = ended.wait_for(Option::is_some);
        let _ = timeout(STOP_TIMEOUT, over).await; // everything was told to stop; whoever waits has waited enough
    }
}

fn refusal(url: &HubUrl, error: AgentError) -> JoinError {
    match error {
        AgentError::InvalidToken { message, ended: _ } | AgentError::TokenExpired { message } => {
            JoinError::Refused { message }
        }
        error => match DialError::obstacle(&error) {
            Some(obstacle) => JoinError::Obstructed { url: url.clone(), obstacle: obstacle.clone() },
            None => JoinError::Unreachable { url: url.clone(), source: error.into() },
        },
    }
}
