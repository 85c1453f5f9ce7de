//! What the hub's HTTP API takes and gives about shares: as their creator sees them, and as those who join do.

use jiff::Timestamp;
use secrecy::{ExposeSecret, SecretString};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};
use uuid::Uuid;

use crate::identity::Identity;

/// When a share ends, in the two forms hubs understand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ShareEnd {
    /// Whole hours from now; every hub understands 1 to 168.
    Hours(u32),
    /// An instant; needs the feature `expires-at`.
    At(Timestamp),
}

/// A share to be created.
#[derive(Clone, Debug)]
pub struct NewShare {
    /// At most 100 characters.
    pub name: Option<String>,
    /// When it ends.
    pub end: ShareEnd,
    /// How many joins it takes; ignored by vendor's hubs.
    pub max_joins: Option<u32>,
    /// What it gives access to. Always sent, so that no hub makes up its own list.
    pub routes: Vec<NewRoute>,
}

/// A route to be put under a share.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewRoute {
    /// What teammates see.
    pub service_name: String,
    /// Where it leads.
    pub service_id: Option<Uuid>,
    /// Told to the hub, never believed when it comes back.
    pub target_host: String,
    /// See `target_host`.
    pub target_port: u16,
    /// The port suggested for the teammate's machine.
    pub local_port: Option<u16>,
    /// `auto`, `tcp`, `http` or `https`.
    pub protocol: String,
}

/// A share as its creator sees it.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Share {
    /// The secret that lets people in.
    #[serde(deserialize_with = "checked_code")]
    pub code: SecretString,
    /// Its id, on hubs that give one.
    #[serde(default)]
    pub id: Option<Uuid>,
    /// Its name.
    #[serde(default)]
    pub name: Option<String>,
    /// When it ends, by the hub's clock.
    pub expires_at: Timestamp,
    /// Whether it still lives.
    #[serde(default)]
    pub state: ShareState,
    /// What it gives access to.
    #[serde(default)]
    pub routes: Vec<ShareRoute>,
}

/// Whether a share lives.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub enum ShareState {
    /// People can join.
    #[default]
    Active,
    /// Its time is up.
    Expired,
    /// It was taken back.
    Revoked,
}

/// A route of a share, as its creator and its joiners see it. The target's host is not kept: nobody has a use for it.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct ShareRoute {
    /// What teammates see.
    pub service_name: String,
    /// What to ask the hub for, on hubs that tell.
    #[serde(default)]
    pub service_id: Option<Uuid>,
    /// The port it was made with.
    pub target_port: u16,
    /// The port suggested for the teammate's machine.
    #[serde(default)]
    pub local_port: Option<u16>,
    /// `auto`, `tcp`, `http` or `https`.
    #[serde(default = "default_protocol")]
    pub protocol: String,
}

/// One row of the share list.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ShareRow {
    /// The secret that lets people in.
    #[serde(deserialize_with = "checked_code")]
    pub code: SecretString,
    /// Its id, on hubs that give one.
    #[serde(default)]
    pub id: Option<Uuid>,
    /// Its name.
    #[serde(default)]
    pub name: Option<String>,
    /// The idempotency key it was made with, on hubs with the feature `share-keys`.
    #[serde(default)]
    pub idempotency_key: Option<String>,
    /// When it ends, by the hub's clock.
    pub expires_at: Timestamp,
    /// How many routes it has.
    pub route_count: u64,
    /// How often it was joined.
    pub join_count: u64,
    /// When it was made.
    pub created_at: Timestamp,
    /// The newest joins, on hubs that tell.
    #[serde(default)]
    pub joins: Vec<Join>,
    /// Who is connected now, on hubs that tell.
    #[serde(default)]
    pub connected: Option<People>,
}

impl ShareRow {
    /// Whether this is the code of the share.
    pub fn has_code(&self, code: &SecretString) -> bool {
        self.code.expose_secret() == code.expose_secret()
    }
}

/// All joins of one share.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Joins {
    /// How often the share was joined.
    pub count: u64,
    /// The newest of them.
    pub joins: Vec<Join>,
    /// Who is connected now, on hubs that tell.
    #[serde(default)]
    pub connected: Option<People>,
}

/// Joining agents and their connections: those of now, or those that an end has cut off.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
pub struct People {
    /// Agents that joined and are connected to the hub, with or without a connection open.
    pub joiners: u64,
    /// Open connections.
    pub connections: u64,
}

/// Somebody joined.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Join {
    /// Who, in their own words.
    pub agent_label: String,
    /// When.
    pub joined_at: Timestamp,
    /// Whether this agent is connected now, said once for each agent; `false` on hubs that do not tell.
    #[serde(default)]
    pub connected: bool,
}

/// A change to a live share; what is `None` stays.
#[derive(Clone, Debug, Default)]
pub struct ShareChange {
    /// A new end.
    pub expires_at: Option<Timestamp>,
    /// A new limit of joins.
    pub max_joins: Option<u32>,
    /// A new set of routes; those left out are cut.
    pub routes: Option<Vec<NewRoute>>,
}

/// Why a share is closed before its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Closing {
    /// It was taken back.
    Revoked,
    /// What it shared, or the wish to share it, is gone.
    Removed,
    /// It goes on under a new code.
    Rotated,
}

/// What became of a share that was to be revoked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Revoked {
    /// It is revoked (or was before). Whom that cut off, on hubs that tell.
    Done(Option<People>),
    /// The hub does not know the code.
    Absent,
}

/// A share as anyone who knows its code sees it.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Preview {
    /// Its name.
    #[serde(default)]
    pub name: Option<String>,
    /// When it ends, by the hub's clock.
    pub expires_at: Timestamp,
    /// How many routes it has.
    pub route_count: u64,
    /// How often it was joined; some hubs stop counting at ten.
    pub join_count: u64,
    /// Names and protocols, never targets.
    #[serde(default)]
    pub routes: Vec<PreviewRoute>,
}

/// A route as a preview shows it.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct PreviewRoute {
    /// What teammates see.
    pub service_name: String,
    /// `auto`, `tcp`, `http` or `https`.
    #[serde(default = "default_protocol")]
    pub protocol: String,
}

/// The answer to a join.
#[derive(Clone, Debug)]
pub struct Joined {
    /// What was joined.
    pub share: JoinedShare,
    /// The identity the hub made for an anonymous joiner.
    pub agent: Option<JoinedAgent>,
}

/// A share as a joiner sees it.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct JoinedShare {
    /// Its id, on hubs that give one.
    #[serde(default)]
    pub id: Option<Uuid>,
    /// Its name.
    #[serde(default)]
    pub name: Option<String>,
    /// When it ends, by the hub's clock.
    pub expires_at: Timestamp,
    /// What it gives access to.
    #[serde(default)]
    pub routes: Vec<ShareRoute>,
}

/// An identity that the hub made for a joiner, and its end.
#[derive(Clone, Debug)]
pub struct JoinedAgent {
    /// The credentials for the socket.
    pub identity: Identity,
    /// When they stop working.
    pub expires_at: Timestamp,
}

/// Longest code that a hub may make: it is typed, pasted and put into command lines.
const MAX_CODE_LENGTH: usize = 64;

/// Whether this looks like a code: letters and digits. What a hub makes ends up in command lines that people paste into shells,
/// so nothing else is ever believed to be one.
#[must_use]
pub fn is_code(text: &str) -> bool {
    !text.is_empty() && text.len() <= MAX_CODE_LENGTH && text.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

/// A code that a hub has made. What is wrong is said without the text.
fn checked_code<'de, D: Deserializer<'de>>(deserializer: D) -> Result<SecretString, D::Error> {
    let code = SecretString::deserialize(deserializer)?;
    if is_code(code.expose_secret()) {
        return Ok(code);
    }
    Err(D::Error::custom(format!("a share code is not made of at most {MAX_CODE_LENGTH} letters and digits")))
}

fn default_protocol() -> String {
    "auto".to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_letters_and_digits_are_a_code() {
        let read = |code: &str| {
            let text = serde_json::json!({"code": code, "expiresAt": "2026-12-01T18:00:00Z"}).to_string();
            serde_json::from_str::<Share>(&text)
        };
        for good in ["k7mwx2pq9d", "ABC234", "a", &"x".repeat(MAX_CODE_LENGTH)] {
            assert_eq!(read(good).expect("a code").code.expose_secret(), good);
        }
        for bad in [
            "",
            " ",
            "a b",
            "a;reboot",
            "$(reboot)",
            "`id`",
            "a'b",
            "a\"b",
            "a\nb",
            "--hub=x",
            "a/b",
            "ä",
            "a\u{200b}b",
            &"x".repeat(MAX_CODE_LENGTH + 1),
        ] {
            let error = read(bad).expect_err(bad).to_string();
            assert!(error.contains("letters and digits"), "{error}");
            assert!(bad.len() < 3 || !error.contains(bad), "{error}");
        }
    }
}
