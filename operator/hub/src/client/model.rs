//! What the hub's HTTP API takes and gives about itself, agents and services.

use std::collections::BTreeSet;

use jiff::Timestamp;
use secrecy::SecretString;
use serde::Deserialize;
use uuid::Uuid;

/// What a hub says about itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Health {
    /// The hub's version, when it tells.
    pub version: Option<String>,
    /// The hub's kind, when it tells.
    pub hub: Option<String>,
    /// What it can do beyond the vendor's hub.
    pub features: Features,
}

/// A set of feature names; empty for a vendor's hub.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(transparent)]
pub struct Features(BTreeSet<String>);

impl Features {
    /// Whether the hub offers `name`.
    pub fn has(&self, name: &str) -> bool {
        self.0.contains(name)
    }

    /// Whether the hub names no feature at all, as vendor's hubs do.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl<S: Into<String>> FromIterator<S> for Features {
    fn from_iter<I: IntoIterator<Item = S>>(names: I) -> Self {
        Self(names.into_iter().map(Into::into).collect())
    }
}

/// A fresh token and its end.
#[derive(Clone, Debug)]
pub struct RotatedToken {
    /// The new token; the old one is worthless from now on.
    pub token: SecretString,
    /// When it stops working.
    pub expires_at: Timestamp,
}

/// Through what a service may be reached, on hubs that can tell the difference.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServiceReach {
    /// Every agent of the workspace.
    Workspace,
    /// Only agents that joined a live share with a route to it.
    Shared,
}

/// A service to be registered.
#[derive(Clone, Debug)]
pub struct NewService {
    /// Unique in the workspace; 1 to 100 characters.
    pub name: String,
    /// Told to the hub, never believed when it comes back.
    pub target_host: String,
    /// See `target_host`.
    pub target_port: u16,
    /// `auto`, `tcp`, `http` or `https`.
    pub protocol: &'static str,
    /// Whether the hub shall give it a public URL.
    pub is_public: bool,
    /// Sent only when set: vendor's hubs do not know it.
    pub reach: Option<ServiceReach>,
}

/// A registered service.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Service {
    /// The only thing a dial carries back.
    pub id: Uuid,
    /// Its name in the workspace.
    pub name: String,
    /// The hub's own port for it.
    #[serde(default)]
    pub tunnel_port: Option<u16>,
    /// Its public address, when it has one.
    #[serde(default)]
    pub public_url: Option<String>,
}

/// One row of the service list.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct ServiceRow {
    /// Its id.
    pub id: Uuid,
    /// Its name in the workspace.
    pub name: String,
    /// The agent that exposes it; none for an external service.
    #[serde(default)]
    pub agent_id: Option<Uuid>,
    /// The hub's own port for it.
    #[serde(default)]
    pub tunnel_port: Option<u16>,
    /// The port it was registered with.
    pub target_port: u16,
}

/// What became of a service that was to be deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deleted {
    /// It is gone.
    Done,
    /// It was gone before.
    Absent,
    /// This hub cannot delete services.
    Unsupported,
}
