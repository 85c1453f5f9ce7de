//! Our agent's token at a hub: used, and rotated before it ends.
//!
//! Only a hub makes tokens, and a new one voids the old at once. So the new one is stored before anything else happens, and
//! storing it is tried until it is done: a token that only this process knows would lock us out at its next start.

use connect_hub::client::Client;
use connect_hub::identity::Identity;
use connect_hub::tunnel::TunnelState;
use jiff::{SignedDuration, Timestamp};
use tokio::sync::watch;

use crate::backoff::Backoff;
use crate::clock;
use crate::credentials::{IdentityStore, Stored};
use crate::error::chain;
use crate::faults::point;

/// How long before its end a token is rotated: a week, within which a hub that is down comes back.
const ROTATE_BEFORE_END: SignedDuration = SignedDuration::from_hours(7 * 24);

/// Rotations are at least so far apart, for hubs whose tokens live for less than a week.
const ROTATE_AT_MOST_EVERY: SignedDuration = SignedDuration::from_hours(1);

/// Key of the only entry in the backoff.
const THIS: &str = "token";

/// An agent's identity, where it is stored, and who uses it.
pub struct AgentToken {
    identities: IdentityStore,
    stored: Stored,
    /// AgentToken --the token to use--> tunnel
    identity_tx: watch::Sender<Identity>,
    rotated_at: Option<Timestamp>,
    backoff: Backoff,
}

// === impl AgentToken ===

impl AgentToken {
    /// What was stored, and where the tunnel learns of changes.
    pub fn new(identities: IdentityStore, stored: Stored) -> (Self, watch::Receiver<Identity>) {
        let (identity_tx, identity_rx) = watch::channel(stored.identity.clone());
        let token = Self { identities, stored, identity_tx, rotated_at: None, backoff: Backoff::default() };
        (token, identity_rx)
    }

    /// Rotates the token when the tunnel says, or we know, that it ends soon.
    pub async fn rotate_when_due(&mut self, state: &TunnelState, client: &Client) {
        let TunnelState::Connected { token_expires_at: Some(told), .. } = state else { return };
        let end = self.stored.token_expires_at.unwrap_or(*told).max(*told);
        if is_due(end, self.rotated_at, clock::now()) {
            self.rotate(client).await;
        }
    }

    /// Rotates the token although nothing is known of its end but that it is near.
    pub async fn rotate_when_rested(&mut self, client: &Client) {
        if is_rested(self.rotated_at, clock::now()) {
            self.rotate(client).await;
        }
    }

    /// Rotates the token: at the hub, into the Secret, into the tunnel. What fails at the hub is tried again when next asked.
    pub async fn rotate(&mut self, client: &Client) {
        let hub = client.url();
        let rotated = match point("rotating the token", client.rotate_token(&self.stored.identity)).await {
            Ok(rotated) => rotated,
            Err(error) => {
                tracing::warn!(%hub, error = chain(&error), "cannot rotate the agent's token; trying again later");
                return;
            }
        };
        self.stored.identity.token = rotated.token;
        self.stored.token_expires_at = Some(rotated.expires_at);
        while let Err(error) = self.identities.save(&self.stored).await {
            tracing::error!(error = chain(&error), "cannot store the rotated token; trying again");
            tokio::time::sleep(self.backoff.failed(THIS)).await;
        }
        self.backoff.succeeded(THIS);
        self.rotated_at = Some(clock::now());
        self.identity_tx.send_replace(self.stored.identity.clone());
        tracing::info!(%hub, "rotated the agent's token");
    }
}

fn is_due(end: Timestamp, rotated_at: Option<Timestamp>, now: Timestamp) -> bool {
    is_rested(rotated_at, now) && end.duration_since(now) < ROTATE_BEFORE_END
}

fn is_rested(rotated_at: Option<Timestamp>, now: Timestamp) -> bool {
    rotated_at.is_none_or(|then| now.duration_since(then) >= ROTATE_AT_MOST_EVERY)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_rotated_a_week_before_its_end_and_not_all_the_time() {
        let now = Timestamp::from_second(1_800_000_000).expect("a date");
        let hours = |count| now + SignedDuration::from_hours(count);
        assert!(!is_due(hours(30 * 24), None, now));
        assert!(is_due(hours(6 * 24), None, now));
        assert!(is_due(hours(-1), None, now));
        // A hub whose tokens live for two days.
        assert!(!is_due(hours(48), Some(now), now));
        assert!(is_due(hours(47), Some(now), hours(1)));
    }
}
