//! What events of the namespace `/agent` carry, field by field.

use std::borrow::Cow;

use bytes::Bytes;
use jiff::Timestamp;
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{DATA_CONNECTIONS, E2E, HALF_CLOSE, PRESENCE, SHARE_EVENTS, Unreadable};
use crate::client::{Features, Join, People};
use crate::identity::Identity;

/// Hubs use UUIDs, some with a prefix of a few letters; anything longer is refused.
const MAX_CONNECTION_ID_BYTES: usize = 128;

/// The largest handshake that is looked at: a public key in base64 and a few words around it take 90 bytes.
const MAX_HANDSHAKE_BYTES: usize = 1024;

/// What we tell a hub that we can do.
const OUR_FEATURES: [&str; 5] = [HALF_CLOSE, SHARE_EVENTS, E2E, PRESENCE, DATA_CONNECTIONS];

/// The connection an event is about.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Id<'a> {
    /// Chosen by the hub or the joiner, opaque to us.
    #[serde(borrow)]
    pub connection_id: Cow<'a, str>,
}

/// A chunk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Data<'a> {
    /// The connection.
    pub connection_id: Cow<'a, str>,
    /// Its bytes.
    pub bytes: Bytes,
}

/// The hub's welcome.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Connected {
    /// When the token ends.
    #[serde(default)]
    pub token_expires_at: Option<Timestamp>,
    /// What the hub can do beyond the vendor's.
    #[serde(default)]
    pub features: Features,
    /// The live shares that this agent has joined.
    #[serde(default)]
    pub shares: Vec<ShareChanged>,
    /// Those that are over.
    #[serde(default)]
    pub ended: Vec<ShareEnded>,
    /// Ties data connections to this socket, on a hub that has them.
    #[serde(default)]
    pub data_ticket: Option<Ticket>,
}

/// Proves that a data connection is this socket's. `Debug` does not show it.
#[derive(Clone, Debug, Deserialize)]
#[serde(transparent)]
pub struct Ticket(pub(crate) SecretString);

/// Credentials were not accepted.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
pub struct Rejected {
    /// `INVALID_TOKEN` or `TOKEN_EXPIRED`.
    #[serde(default)]
    pub code: String,
    /// For people.
    #[serde(default)]
    pub message: String,
    /// The shares that these credentials were for and that are over, on hubs that tell.
    #[serde(default)]
    pub ended: Vec<ShareEnded>,
}

/// The token ends soon.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct TokenWarning {
    /// When.
    pub expires_at: Timestamp,
}

/// A connection is wanted. Host and port that hubs add are not even read.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Dial<'a> {
    /// The connection.
    #[serde(borrow)]
    pub connection_id: Cow<'a, str>,
    /// The service.
    #[serde(borrow)]
    pub service_id: Cow<'a, str>,
    /// Whether a terminal is wanted, which nobody gets.
    #[serde(default)]
    pub pty: bool,
    /// Whether the joiner encrypts; absent where the hub does not know.
    #[serde(default)]
    pub e2e: Option<bool>,
}

/// A word on encrypting a connection, from end to end.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Shake<'a> {
    /// The connection.
    #[serde(borrow)]
    pub connection_id: Cow<'a, str>,
    /// JSON text of its own.
    #[serde(borrow)]
    pub payload: Cow<'a, str>,
}

/// A connection cannot be had.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Failed<'a> {
    /// The connection.
    #[serde(borrow)]
    pub connection_id: Cow<'a, str>,
    /// For people.
    #[serde(borrow, default)]
    pub error: Cow<'a, str>,
}

/// Somebody joined.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct ShareJoined {
    /// The share.
    pub id: Uuid,
    /// How often it has been joined.
    pub count: u64,
    /// Who.
    pub agent_label: String,
    /// When.
    pub joined_at: Timestamp,
}

/// Who is connected under a share.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
pub struct SharePresence {
    /// The share.
    pub id: Uuid,
    /// How often it has been joined.
    pub count: u64,
    /// How many are connected.
    pub connected: People,
    /// The newest joins, newest first.
    pub joins: Vec<Join>,
}

/// When a share ends now.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct ShareChanged {
    /// The share.
    pub id: Uuid,
    /// Its end, sooner or later than it was.
    pub expires_at: Timestamp,
}

/// A share is over.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
pub struct ShareEnded {
    /// The share.
    pub id: Uuid,
    /// Why.
    #[serde(default)]
    pub reason: EndedReason,
}

/// Why a share is over, as hubs say it.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub enum EndedReason {
    /// Its time was up.
    Expired,
    /// It was taken back.
    Revoked,
    /// It goes on under a new code.
    Rotated,
    /// It was removed, or something we do not know yet.
    #[default]
    #[serde(other)]
    Deleted,
}

/// The answer to most questions.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
pub struct Answer {
    /// Whether it worked.
    pub success: bool,
    /// Why not.
    #[serde(default)]
    pub error: Option<String>,
}

/// The answer to a wish for a connection.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
pub struct Reached {
    /// Whether the other end was asked.
    pub success: bool,
    /// Why not.
    #[serde(default)]
    pub error: Option<String>,
    /// Whether the exposer encrypts; absent where the hub does not know.
    #[serde(default)]
    pub e2e: Option<bool>,
}

/// What is said about one service that is to be exposed.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Expose<'a> {
    /// The service.
    pub service_id: Uuid,
    /// Its name.
    pub service_name: &'a str,
    /// The hub's own port for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tunnel_port: Option<u16>,
    /// Never an address of the cluster: what comes back in a dial is ignored.
    pub target_host: &'a str,
    /// See `target_host`.
    pub target_port: u16,
    /// `auto`, `tcp`, `http` or `https`.
    pub protocol: &'a str,
}

/// A connection to a service is wanted (joining side).
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ReachConnect<'a> {
    /// The connection, chosen by us.
    pub connection_id: &'a str,
    /// The service.
    pub service_id: Uuid,
}

/// An event about a connection and nothing else.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct About<'a> {
    /// The connection.
    pub connection_id: &'a str,
}

/// A connection that could not be made (exposing side).
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DialError<'a> {
    /// The connection.
    pub connection_id: &'a str,
    /// For people.
    pub error: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Auth<'a> {
    agent_id: Uuid,
    token: &'a str,
    features: [&'static str; OUR_FEATURES.len()],
}

/// What goes with the join of the namespace. Holds the token: never log it.
pub(crate) fn auth(identity: &Identity) -> String {
    let auth =
        Auth { agent_id: identity.agent_id, token: identity.token.expose_secret(), features: OUR_FEATURES };
    serde_json::to_string(&auth).expect("a struct of strings is always JSON")
}

// === impl Id ===

impl Id<'_> {
    pub(super) fn checked(self) -> Result<Self, Unreadable> {
        is_acceptable(&self.connection_id).then_some(self).ok_or(Unreadable)
    }
}

// === impl Dial ===

impl Dial<'_> {
    pub(super) fn checked(self) -> Result<Self, Unreadable> {
        is_acceptable(&self.connection_id).then_some(self).ok_or(Unreadable)
    }
}

// === impl Shake ===

impl Shake<'_> {
    pub(super) fn checked(self) -> Result<Self, Unreadable> {
        let acceptable = is_acceptable(&self.connection_id) && self.payload.len() <= MAX_HANDSHAKE_BYTES;
        acceptable.then_some(self).ok_or(Unreadable)
    }
}

fn is_acceptable(connection_id: &str) -> bool {
    (1..=MAX_CONNECTION_ID_BYTES).contains(&connection_id.len())
}
