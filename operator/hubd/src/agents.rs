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

use crate::limits::SOCKETS_PER_AGENT;

/// The sockets of all agents.
#[derive(Debug, Default)]
pub struct Agents {
    sockets: Mutex<HashMap<Uuid, Vec<Arc<Session>>>>,
}

// === impl Agents ===

impl Agents {
    /// Makes `session` its agent's newest socket. An agent with too many loses the oldest, which is returned.
    pub fn add(&self, session: Arc<Session>) -> Option<Arc<Session>> {
        let mut agents = self.lock();
        let sockets = agents.entry(session.agent).or_default();
        sockets.push(session);
        (sockets.len() > SOCKETS_PER_AGENT).then(|| sockets.remove(0))
    }

    /// Forgets this socket, and no other of its agent. Whether the agent is still connected.
    pub fn remove(&self, session: &Arc<Session>) -> bool {
        let mut agents = self.lock();
        let Some(sockets) = agents.get_mut(&session.agent) else { return false };
        sockets.retain(|socket| !Arc::ptr_eq(socket, session));
        let connected = !sockets.is_empty();
        if !connected {
            agents.remove(&session.agent);
        }
        connected
    }

    /// The socket that speaks for the agent.
    pub fn newest(&self, agent: Uuid) -> Option<Arc<Session>> {
        self.lock().get(&agent).and_then(|sockets| sockets.last()).cloned()
    }

    /// The socket to dial for a service.
    pub fn exposing(&self, agent: Uuid, service: Uuid) -> Option<Arc<Session>> {
        let agents = self.lock();
        let sockets = agents.get(&agent)?;
        let exposing =
            sockets.iter().filter_map(|socket| socket.exposed_since(service).map(|since| (since, socket)));
        exposing.max_by_key(|(since, _)| *since).map(|(_, socket)| socket).or(sockets.last()).cloned()
    }

    /// All sockets of an agent.
    pub fn all_of(&self, agent: Uuid) -> Vec<Arc<Session>> {
        self.lock().get(&agent).cloned().unwrap_or_default()
    }

    /// All sockets of all agents.
    pub fn all(&self) -> Vec<Arc<Session>> {
        self.lock().values().flatten().cloned().collect()
    }

    /// Whether this is the socket that speaks for its agent.
    pub fn is_newest(&self, session: &Arc<Session>) -> bool {
        self.newest(session.agent).is_some_and(|newest| Arc::ptr_eq(&newest, session))
    }

    pub fn is_online(&self, agent: Uuid) -> bool {
        self.lock().contains_key(&agent)
    }

    /// No code panics while it holds this lock, so a poisoned one is as good as any.
    fn lock(&self) -> MutexGuard<'_, HashMap<Uuid, Vec<Arc<Session>>>> {
        self.sockets.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
