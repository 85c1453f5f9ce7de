//! What every part of the hub shares, and the one operation that touches all of them: the end of a share.

mod presence;

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use uuid::Uuid;

use self::presence::Presence;
pub use self::presence::{Carried, Connected, JoinView};
use crate::{
    agents::{Agents, Session},
    bridges::{Bridges, Cut, tell_end, tell_new_end},
    counts::Counts,
    error_chain,
    expirations::Expirations,
    limits::{HEALTH_LIFE, Limits},
    rate_limiter::RateLimiter,
    store::{EndReason, Store, StoreError},
    timestamp::Timestamp,
};

/// The hub's parts.
#[derive(Debug)]
pub struct Core {
    pub store: Store,
    pub agents: Agents,
    pub bridges: Bridges,
    pub expirations: Expirations,
    pub rate_limiter: RateLimiter,
    pub presence: Presence,
    pub counts: Counts,
    pub limits: Limits,
    /// How people reach this hub, if somebody said.
    pub public_url: Option<String>,
    health: Mutex<Health>,
}

/// Whether the database answered when it was last asked.
#[derive(Debug)]
struct Health {
    is_alive: bool,
    asked: Option<Instant>,
}

// === impl Core ===

impl Core {
    pub fn new(store: Store, limits: Limits, public_url: Option<String>) -> Arc<Self> {
        Arc::new(Self {
            store,
            agents: Agents::new(limits.sockets_per_workspace),
            bridges: Bridges::new(limits.stall),
            expirations: Expirations::default(),
            rate_limiter: RateLimiter::new(&limits),
            presence: Presence::default(),
            counts: Counts::default(),
            limits,
            public_url,
            health: Mutex::new(Health { is_alive: true, asked: None }),
        })
    }

    /// Whether the database answers. It is asked now and then, however many want to know: they need not show who they are.
    pub async fn is_alive(&self) -> bool {
        {
            let mut health = self.health();
            if health.asked.is_some_and(|asked| asked.elapsed() < HEALTH_LIFE) {
                return health.is_alive;
            }
            health.asked = Some(Instant::now());
        }
        let is_alive = self.store.is_alive().await;
        self.health().is_alive = is_alive;
        is_alive
    }

    /// No code panics while it holds this lock, so a poisoned one is as good as any.
    fn health(&self) -> MutexGuard<'_, Health> {
        self.health.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Closes a share before its time: written down first, so that no dial is allowed any more, then cut. Says what was
    /// cut: every agent that joined and is connected, whether or not it had a connection open.
    pub async fn close(&self, share: Uuid, why: EndReason) -> Result<Cut, StoreError> {
        if !self.store.end_share(share, why).await? {
            return Ok(Cut::default());
        }
        self.expirations.forget(share);
        let ended = HashMap::from([(share, why)]);
        let (told, mut cut) = self.bridges.end_shares(&ended);
        cut.joiners.extend(self.tell_ended(&ended, &told).await);
        Ok(cut)
    }

    /// Shares whose time has come: their dials are refused by the clock already, so they are cut first. What is left
    /// needs the database and keeps no other share's end waiting.
    pub fn expire(self: &Arc<Self>, shares: &[Uuid]) {
        let ended = shares.iter().map(|share| (*share, EndReason::Expired)).collect::<HashMap<_, _>>();
        let (told, _) = self.bridges.end_shares(&ended);
        let core = self.clone();
        tokio::spawn(async move {
            if let Err(error) = core.store.end_due_shares(Timestamp::now()).await {
                // Nothing depends on it: whoever asks compares with the clock, and the next end writes this one too.
                tracing::error!(error = error_chain(&error), "cannot write down the end of shares");
            }
            core.tell_ended(&ended, &told).await;
        });
    }

    /// A share ends at another time: bridges and the timer first, then everybody who joined.
    pub async fn move_end(&self, share: Uuid, end: Timestamp) {
        self.expirations.set(share, end);
        self.bridges.move_end(share, end);
        let granted = self.store.granted_agents(share).await.unwrap_or_else(|error| {
            tracing::error!(error = error_chain(&error), "cannot tell who joined a share that changed");
            Vec::new()
        });
        for session in granted.into_iter().flat_map(|agent| self.agents.all_of(agent)) {
            tell_new_end(&session, share, end);
        }
    }

    /// Makes room in a share that has all the agents it may: the guest goes who has been away for longest. Whether there was
    /// one.
    pub async fn dismiss_absent_guest(&self, share: Uuid) -> Result<bool, StoreError> {
        let guests = self.store.guests(share).await?;
        let Some(absent) = guests.into_iter().find(|guest| !self.agents.is_online(*guest)) else {
            return Ok(false);
        };
        tracing::info!(%share, guest = %absent, "a guest who is away made room for somebody new");
        self.store.forget_guest(share, absent).await?;
        Ok(true)
    }

    /// Tells everybody who joined and has not been told, and sees guests out. Gives back who was there.
    async fn tell_ended(
        &self,
        ended: &HashMap<Uuid, EndReason>,
        told: &HashSet<(usize, Uuid)>,
    ) -> HashSet<Uuid> {
        let mut there = HashSet::new();
        for (share, reason) in ended {
            tracing::info!(%share, reason = reason.as_str(), "share ended");
            self.counts.ended(*reason);
            let granted = self.store.granted_agents(*share).await.unwrap_or_else(|error| {
                tracing::error!(error = error_chain(&error), "cannot tell who joined a share that ended");
                Vec::new()
            });
            for session in granted.into_iter().flat_map(|agent| self.agents.all_of(agent)) {
                there.insert(session.agent);
                if !told.contains(&(session.key(), *share)) {
                    tell_end(&session, *share, *reason);
                }
                self.dismiss_guest(&session).await;
            }
        }
        there
    }

    /// A guest lives by its grants: without any it leaves the namespace, after what it was told before.
    async fn dismiss_guest(&self, session: &Session) {
        if session.workspace.is_none() && matches!(self.store.has_live_grant(session.agent).await, Ok(false))
        {
            session.disconnect();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        secret::SecretHash,
        store::{Folder, JoinOutcome, Joiner, NewShare, ShareCreation},
    };

    #[tokio::test]
    async fn a_guest_who_is_away_makes_room_once() {
        let folder = tempfile::tempdir().expect("a folder");
        let store = Store::open(folder.path(), Folder::Any).await.expect("opens");
        let (key, life) = ("pc_0123456789abcdefone", std::time::Duration::from_secs(60));
        store.ensure_key("one", "test", key).await.expect("writes");
        let workspace = store.workspace_of(key).await.expect("reads").expect("is there").id;
        let agent = Uuid::new_v4();
        store.register_agent(&workspace, agent, "token", None, None, life).await.expect("writes");
        let (name, max_joins, idempotency_key, routes) = (None, None, None, Vec::new());
        let expires_at = Timestamp::now().after(life);
        let new =
            NewShare { workspace: &workspace, agent, name, expires_at, max_joins, idempotency_key, routes };
        let made = store.create_share(new).await.expect("writes");
        let ShareCreation::Done(share) = made else { panic!("{made:?}") };
        let token = SecretHash::of("guest");
        let guest = Joiner::Guest { id: Uuid::new_v4(), token: &token };
        let joined = store.join(&share.code, guest, "").await.expect("writes");
        assert!(matches!(joined, JoinOutcome::Joined(_)));
        let core = Core::new(store, Limits::default(), None);
        assert!(core.dismiss_absent_guest(share.id).await.expect("writes"));
        assert!(!core.dismiss_absent_guest(share.id).await.expect("reads"), "nobody is left who is away");
    }
}
