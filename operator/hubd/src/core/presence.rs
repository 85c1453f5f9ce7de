//! Who is connected under a share now: agents that joined it and have a socket, each with its connections.
//!
//! Whoever made the share is told of changes, but not of each: a crowd that comes and goes is told of in one event.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, PoisonError},
};

use serde::Serialize;
use serde_json::json;
use uuid::Uuid;

use super::Core;
use crate::{
    error_chain,
    limits::PRESENCE_PAUSE,
    store::{JoinRow, StoreError},
    timestamp::Timestamp,
};

/// The newest joins that are told of a share.
const JOINS_TOLD: i64 = 20;

/// Shares of which a change will be told.
#[derive(Debug, Default)]
pub struct Presence {
    pending: Mutex<HashSet<Uuid>>,
}

/// The connections of every agent under every share, as of now.
#[derive(Debug)]
pub struct Carried(HashMap<(Uuid, Uuid), usize>);

/// Who is connected under one share.
#[derive(Debug, Default)]
pub struct Present(HashMap<Uuid, usize>);

/// So many agents with so many connections.
#[derive(Debug, Serialize)]
pub struct Connected {
    pub joiners: usize,
    pub connections: usize,
}

/// A join as answers and events tell it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct JoinView<'a> {
    agent_label: &'a str,
    joined_at: Timestamp,
    /// Whether its agent is connected now, said once for each agent.
    connected: bool,
    connections: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    agent_id: Option<Uuid>,
}

// === impl Presence ===

impl Presence {
    /// Notes that there is something to be told of a share; false when that is known.
    fn note(&self, share: Uuid) -> bool {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner).insert(share)
    }

    fn take(&self, share: Uuid) {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner).remove(&share);
    }
}

// === impl Carried ===

impl Carried {
    pub fn now(core: &Core) -> Self {
        Self(core.bridges.by_share())
    }

    /// Who is connected under this share.
    pub async fn under(&self, core: &Core, share: Uuid) -> Result<Present, StoreError> {
        Ok(self.of(core, share, core.store.granted_agents(share).await?))
    }

    /// As [`Self::under`], of the agents that have joined it.
    pub fn of(&self, core: &Core, share: Uuid, granted: Vec<Uuid>) -> Present {
        let online = granted.into_iter().filter(|agent| core.agents.is_online(*agent));
        let connections = |agent: &Uuid| self.0.get(&(share, *agent)).copied().unwrap_or_default();
        Present(online.map(|agent| (agent, connections(&agent))).collect())
    }
}

// === impl Present ===

impl Present {
    /// How many agents and connections, as answers tell them.
    pub fn sums(&self) -> Connected {
        Connected { joiners: self.0.len(), connections: self.0.values().sum() }
    }

    /// Joins, newest first, each with what its agent has open now. An agent that joined more than once has it at its newest.
    pub fn join_rows<'a>(&self, joins: &'a [JoinRow], with_agent: bool) -> Vec<JoinView<'a>> {
        let mut seen = HashSet::new();
        let row = |join: &'a JoinRow| {
            let connections = self.0.get(&join.agent).filter(|_| seen.insert(join.agent));
            JoinView {
                agent_label: &join.label,
                joined_at: join.at,
                connected: connections.is_some(),
                connections: connections.copied().unwrap_or_default(),
                agent_id: with_agent.then_some(join.agent),
            }
        };
        joins.iter().map(row).collect()
    }
}

// === impl Core ===

impl Core {
    /// A socket of an agent has come or gone: whoever made the shares that it joined will hear who is connected.
    pub async fn presence_changed(self: &Arc<Self>, agent: Uuid) {
        match self.store.granted_shares(agent).await {
            Ok(shares) => shares.into_iter().for_each(|(share, _)| self.will_tell_presence(share)),
            Err(error) => {
                tracing::error!(error = error_chain(&error), %agent, "cannot tell which shares an agent joined");
            }
        }
    }

    fn will_tell_presence(self: &Arc<Self>, share: Uuid) {
        if !self.presence.note(share) {
            return;
        }
        let core = self.clone();
        tokio::spawn(async move {
            tokio::time::sleep(PRESENCE_PAUSE).await;
            core.presence.take(share); // what changes from now on is told again
            if let Err(error) = core.tell_presence(share).await {
                tracing::error!(error = error_chain(&error), %share, "cannot tell who is connected");
            }
        });
    }

    async fn tell_presence(&self, share: Uuid) -> Result<(), StoreError> {
        let maker = self.store.maker(share).await?.and_then(|maker| self.agents.newest(maker));
        let Some(maker) = maker.filter(|maker| maker.features.presence) else { return Ok(()) };
        let present = Carried::now(self).under(self, share).await?;
        let (count, joins) = self.store.joins(share, JOINS_TOLD).await?;
        let joins = present.join_rows(&joins, false);
        let event = json!({"id": share, "count": count, "connected": present.sums(), "joins": joins});
        let _ = maker.emit("share_presence", &event, 0); // a socket that has gone needs no telling
        Ok(())
    }
}
