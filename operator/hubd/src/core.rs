//! What every part of the hub shares, and the one operation that touches all of them: the end of a share.

use std::{collections::HashMap, sync::Arc};

use uuid::Uuid;

use crate::{
    agents::{Agents, Session},
    attempts::Attempts,
    bridges::{Bridges, tell_end},
    ends::Ends,
    error_chain,
    limits::Limits,
    moment::Moment,
    store::{EndReason, Store, StoreError},
};

/// The hub's parts.
#[derive(Debug)]
pub struct Core {
    pub store: Store,
    pub agents: Agents,
    pub bridges: Bridges,
    pub ends: Ends,
    pub attempts: Attempts,
    pub limits: Limits,
}

// === impl Core ===

impl Core {
    pub fn new(store: Store, limits: Limits) -> Arc<Self> {
        Arc::new(Self {
            store,
            agents: Agents::default(),
            bridges: Bridges::new(limits.stall),
            ends: Ends::default(),
            attempts: Attempts::new(limits.failures_per_address, limits.failures_per_code),
            limits,
        })
    }

    /// Revokes a share: written down first, so that no dial is allowed any more, then cut.
    pub async fn revoke(&self, share: Uuid) -> Result<(), StoreError> {
        if self.store.end_share(share, EndReason::Revoked).await? {
            self.ends.forget(share);
            self.cut(&HashMap::from([(share, EndReason::Revoked)])).await;
        }
        Ok(())
    }

    /// Shares whose time has come: their dials are refused by the clock already, so they are cut first, then written
    /// down.
    pub async fn expire(&self, shares: &[Uuid]) {
        let ended = shares.iter().map(|share| (*share, EndReason::Expired)).collect();
        self.cut(&ended).await;
        if let Err(error) = self.store.end_due_shares(Moment::now()).await {
            // Nothing depends on it: whoever asks compares with the clock, and the next end writes this one too.
            tracing::error!(error = error_chain(&error), "cannot write down the end of shares");
        }
    }

    async fn cut(&self, ended: &HashMap<Uuid, EndReason>) {
        let told = self.bridges.end_shares(ended);
        for (share, reason) in ended {
            tracing::info!(%share, reason = reason.as_str(), "share ended");
            let granted = self.store.granted_agents(*share).await.unwrap_or_else(|error| {
                tracing::error!(error = error_chain(&error), "cannot tell who joined a share that ended");
                Vec::new()
            });
            for session in granted.into_iter().flat_map(|agent| self.agents.all_of(agent)) {
                if !told.contains(&(session.key(), *share)) {
                    tell_end(&session, *share, *reason);
                }
                self.dismiss_guest(&session).await;
            }
        }
    }

    /// A guest lives by its grants: without any it leaves the namespace, after what it was told before.
    async fn dismiss_guest(&self, session: &Session) {
        if session.workspace.is_none() && matches!(self.store.has_live_grant(session.agent).await, Ok(false))
        {
            session.disconnect();
        }
    }
}
