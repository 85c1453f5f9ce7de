//! Our agent's token at a hub: used, and rotated before it ends.
//!
//! Only a hub makes tokens, and a new one voids the old at once. So the new one is stored before anything else happens, and
//! storing it is tried until it is done: a token that only this process knows would lock us out at its next start.

use connect_crds::Maker;
use connect_hub::client::{Client, RotatedToken};
use connect_hub::identity::Identity;
use connect_hub::tunnel::TunnelState;
use jiff::{SignedDuration, Timestamp};
use tokio::sync::watch;
use uuid::Uuid;

use crate::clock;
use crate::credentials::{IdentityStore, Stored};
use crate::error::{Error, chain};
use crate::faults::point;
use crate::retry_delays::RetryDelays;

/// How long before its end a token is rotated: a week, within which a hub that is down comes back.
const ROTATE_BEFORE_END: SignedDuration = SignedDuration::from_hours(7 * 24);

/// Rotations are at least so far apart, for hubs whose tokens live for less than a week.
const ROTATE_AT_MOST_EVERY: SignedDuration = SignedDuration::from_hours(1);

/// What hubs show for us as an agent.
const AGENT_LABEL: &str = "kubernetes";

/// Key of the only entry in the backoff.
const THIS: &str = "token";

/// An agent's identity, where it is stored, and who uses it.
pub struct AgentToken {
    identities: IdentityStore,
    stored: Stored,
    /// AgentToken --the token to use--> tunnel
    identity_tx: watch::Sender<Identity>,
    rotated_at: Option<Timestamp>,
    backoff: RetryDelays,
}

// === impl AgentToken ===

impl AgentToken {
    /// What was stored, and where the tunnel learns of changes.
    pub fn new(identities: IdentityStore, stored: Stored) -> (Self, watch::Receiver<Identity>) {
        let (identity_tx, identity_rx) = watch::channel(stored.identity.clone());
        let token =
            Self { identities, stored, identity_tx, rotated_at: None, backoff: RetryDelays::default() };
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
        self.adopt(rotated).await;
        tracing::info!(%hub, "rotated the agent's token");
    }

    /// Who this is in names at the hub.
    pub fn maker(&self) -> Maker {
        self.stored.maker()
    }

    /// The agent's id.
    pub fn agent(&self) -> Uuid {
        self.stored.identity.agent_id
    }

    /// Makes the agent known at the hub. One whose token the hub does not know is helped as by [`Self::make_known_again`].
    ///
    /// # Errors
    /// The hub refused or did not answer, or the API server did not when something had to be stored.
    pub async fn make_known(&mut self, client: &Client) -> Result<(), Error> {
        let registering = client.register_agent(&self.stored.identity, AGENT_LABEL, None);
        match point("registering the agent", registering).await {
            Err(error) if is_other_token(&error) => self.take_what_the_hub_knows(client).await,
            answer => answer.map_err(entering),
        }
    }

    /// Makes the agent known at a hub that has forgotten it, or its token: one that was set back to an older copy of its data, or
    /// whose table was cleaned. First as the same agent with the same token, then with a token that the hub may still know, and
    /// when it knows none as another agent: the hub has forgotten who we were.
    ///
    /// # Errors
    /// As [`Self::make_known`]. A key that the hub does not take is among them, and nothing is changed then.
    pub async fn make_known_again(&mut self, client: &Client) -> Result<(), Error> {
        self.make_known(client).await?;
        // Some hubs take a registration and keep the token that they had.
        match point("checking the agent", client.heartbeat(&self.stored.identity)).await {
            Err(error) if is_unknown(&error) => self.take_what_the_hub_knows(client).await?,
            answer => answer.map_err(entering)?,
        }
        // Also when it is as before: whoever was refused waits for a reason to try again.
        self.identity_tx.send_replace(self.stored.identity.clone());
        Ok(())
    }

    /// Another token of the same agent if the hub knows one, else another agent.
    async fn take_what_the_hub_knows(&mut self, client: &Client) -> Result<(), Error> {
        let now = self.stored.identity.clone();
        let before = self.stored.previous_tokens.iter();
        let before = before.map(|token| Identity { token: token.clone(), ..now.clone() });
        for candidate in std::iter::once(now.clone()).chain(before).collect::<Vec<_>>() {
            match point("rotating the token", client.rotate_token(&candidate)).await {
                Ok(rotated) => {
                    self.adopt(rotated).await;
                    tracing::info!(hub = %client.url(), "the hub knew an older token of the agent, and has given it a new one");
                    return Ok(());
                }
                Err(error) if is_unknown(&error) => {}
                Err(error) => return Err(entering(error)),
            }
        }
        let fresh = Stored::new(self.identities.origin());
        // Before the hub is told: an agent that only the hub knows would be left there.
        self.identities.save(&fresh).await?;
        tracing::warn!(
            hub = %client.url(), before = %now.agent_id, now = %fresh.identity.agent_id,
            "the hub knows none of the agent's tokens; this operator becomes another agent there, and its shares get new codes"
        );
        self.stored = fresh;
        let registering = client.register_agent(&self.stored.identity, AGENT_LABEL, None);
        point("registering the agent", registering).await.map_err(entering)?;
        self.identity_tx.send_replace(self.stored.identity.clone());
        Ok(())
    }

    /// Stores a new token, then uses it.
    async fn adopt(&mut self, rotated: RotatedToken) {
        self.stored.replace_token(rotated.token, rotated.expires_at);
        while let Err(error) = self.identities.save(&self.stored).await {
            tracing::error!(error = chain(&error), "cannot store the rotated token; trying again");
            tokio::time::sleep(self.backoff.failed(THIS)).await;
        }
        self.backoff.succeeded(THIS);
        self.rotated_at = Some(clock::now());
        self.identity_tx.send_replace(self.stored.identity.clone());
    }
}

fn entering(source: connect_hub::Error) -> Error {
    Error::Hub { doing: "entering the hub", source }
}

/// Whether the hub has the agent with a token that is not ours: what our own hub says of that. That the id is in use in another
/// workspace is something else, and only a person can say which of the two keys was meant.
fn is_other_token(error: &connect_hub::Error) -> bool {
    matches!(error, connect_hub::Error::Rejected(refused)
        if refused.status == 409 && refused.message.contains("registered with another token"))
}

/// Whether the hub has answered that it does not know these credentials, as opposed to not answering.
fn is_unknown(error: &connect_hub::Error) -> bool {
    matches!(error.status(), Some(400 | 401 | 403 | 404))
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
