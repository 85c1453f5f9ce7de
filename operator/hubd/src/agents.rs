//! Who is connected: for every agent its sockets, the newest last.
//!
//! The vendor's CLI opens one socket for each of its commands, all with the same agent id. So a newer socket does not
//! take away what an older one carries: existing bridges stay where they are, and a new dial goes to the newest socket
//! that has exposed the service (or, when none has, to the newest). An older socket that goes unregisters only itself.

mod session;

pub use session::{DATA_CONNECTIONS, Features, Gone, Session};

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use uuid::Uuid;

use crate::limits::{SOCKETS_PER_AGENT, SOCKETS_PER_GUEST};

/// The sockets of all agents.
#[derive(Debug)]
pub struct Agents {
    sockets: Mutex<Sockets>,
    /// How many one workspace may have.
    per_workspace: usize,
}

#[derive(Debug, Default)]
struct Sockets {
    of_agents: HashMap<Uuid, Vec<Arc<Session>>>,
    /// How many each workspace has.
    counts: HashMap<String, usize>,
}

/// The workspace has as many sockets as it may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Full;

// === impl Agents ===

impl Agents {
    pub fn new(per_workspace: usize) -> Self {
        Self { sockets: Mutex::default(), per_workspace }
    }

    /// Makes `session` its agent's newest socket. An agent with too many loses the oldest, which is returned; so does one that comes
    /// again to a full workspace, for it may be the one that has not noticed yet that its last socket is dead.
    pub fn add(&self, session: Arc<Session>) -> Result<Option<Arc<Session>>, Full> {
        let mut guard = self.lock();
        let Sockets { of_agents, counts } = &mut *guard;
        let has = of_agents.get(&session.agent).map_or(0, Vec::len);
        let most = if session.workspace.is_some() { SOCKETS_PER_AGENT } else { SOCKETS_PER_GUEST };
        let count = session.workspace.clone().map(|workspace| counts.entry(workspace).or_default());
        let is_full = count.as_ref().is_some_and(|count| **count >= self.per_workspace);
        if is_full && has == 0 {
            return Err(Full);
        }
        let sockets = of_agents.entry(session.agent).or_default();
        sockets.push(session);
        let evicts = is_full || has >= most;
        if let (Some(count), false) = (count, evicts) {
            *count += 1;
        }
        Ok(evicts.then(|| sockets.remove(0)))
    }

    /// Forgets this socket, and no other of its agent. Whether the agent is still connected.
    pub fn remove(&self, session: &Arc<Session>) -> bool {
        let mut guard = self.lock();
        let Sockets { of_agents, counts } = &mut *guard;
        let Some(sockets) = of_agents.get_mut(&session.agent) else { return false };
        let before = sockets.len();
        sockets.retain(|socket| !Arc::ptr_eq(socket, session));
        let (gone, connected) = (before - sockets.len(), !sockets.is_empty());
        if !connected {
            of_agents.remove(&session.agent);
        }
        if let Some(workspace) = &session.workspace
            && let Some(count) = counts.get_mut(workspace)
        {
            *count -= gone;
            if *count == 0 {
                counts.remove(workspace);
            }
        }
        connected
    }

    /// The socket that speaks for the agent.
    pub fn newest(&self, agent: Uuid) -> Option<Arc<Session>> {
        self.lock().of_agents.get(&agent).and_then(|sockets| sockets.last()).cloned()
    }

    /// The socket to dial for a service.
    pub fn exposing(&self, agent: Uuid, service: Uuid) -> Option<Arc<Session>> {
        let guard = self.lock();
        let sockets = guard.of_agents.get(&agent)?;
        let exposing =
            sockets.iter().filter_map(|socket| socket.exposed_since(service).map(|since| (since, socket)));
        exposing.max_by_key(|(since, _)| *since).map(|(_, socket)| socket).or(sockets.last()).cloned()
    }

    /// All sockets of an agent.
    pub fn all_of(&self, agent: Uuid) -> Vec<Arc<Session>> {
        self.lock().of_agents.get(&agent).cloned().unwrap_or_default()
    }

    /// All sockets of all agents.
    pub fn all(&self) -> Vec<Arc<Session>> {
        self.lock().of_agents.values().flatten().cloned().collect()
    }

    /// Whether this is the socket that speaks for its agent.
    pub fn is_newest(&self, session: &Arc<Session>) -> bool {
        self.newest(session.agent).is_some_and(|newest| Arc::ptr_eq(&newest, session))
    }

    pub fn is_online(&self, agent: Uuid) -> bool {
        self.lock().of_agents.contains_key(&agent)
    }

    /// No code panics while it holds this lock, so a poisoned one is as good as any.
    fn lock(&self) -> MutexGuard<'_, Sockets> {
        self.sockets.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
