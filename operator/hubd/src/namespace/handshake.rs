//! A socket proves who it is. As recorded: the namespace is joined first, then comes `connected`, or `error` and the
//! namespace is left again; without credentials it is left without a word.

use std::{
    sync::{Arc, OnceLock, atomic::Ordering},
    time::Duration,
};

use serde::Deserialize;
use serde_json::json;
use socketioxide::{
    adapter::LocalAdapter,
    handler::{ConnectHandler, DisconnectHandler, Value},
    socket::{DisconnectReason, Socket},
};
use uuid::Uuid;

use super::events::Events;
use crate::{
    agents::{DATA_CONNECTIONS, Features, Full, Session},
    core::Core,
    limits::{ENDED_SHARES_TOLD, JOINS_PER_SOCKET, TOKEN_GRACE, TOKEN_WARNING, UNPROVEN_SOCKET},
    secret::Ticket,
    store::{AgentRow, EndReason, StoreError},
    timestamp::Timestamp,
    wire::Wire,
};

/// The session of a socket, once it is proven.
pub(super) type Slot = Arc<OnceLock<Arc<Session>>>;

/// What happens when somebody joins `/agent`.
#[derive(Debug, Clone)]
pub struct AgentNamespace(pub Arc<Core>);

/// What the join packet carries. Never logged.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Credentials {
    agent_id: Uuid,
    token: String,
    #[serde(default)]
    features: Vec<String>,
}

enum Verdict {
    Proven(AgentRow),
    Invalid,
    /// A guest whose shares are over: it is who it says, and may hear why.
    Over(Vec<(Uuid, EndReason)>),
    TokenExpired,
}

// === impl AgentNamespace ===

impl ConnectHandler<LocalAdapter, ()> for AgentNamespace {
    fn call(&self, socket: Arc<Socket>, auth: Option<Value>) {
        let slot = Slot::default();
        socket.on_fallback(Events { core: self.0.clone(), slot: slot.clone() });
        socket.on_disconnect(Departure { core: self.0.clone(), slot: slot.clone() });
        let Some(wire) = socket.req_parts().extensions.get::<Arc<Wire>>().cloned() else {
            // Only a transport other than our listener could leave it out.
            let _ = socket.disconnect();
            return;
        };
        if wire.joins.fetch_add(1, Ordering::AcqRel) >= JOINS_PER_SOCKET {
            wire.kill();
            return;
        }
        let core = self.0.clone();
        wire.proofs.fetch_add(1, Ordering::AcqRel);
        tokio::spawn(async move {
            greet(&core, socket, auth, &slot, &wire).await;
            wire.proofs.fetch_sub(1, Ordering::AcqRel);
            if slot.get().is_none() {
                tokio::time::sleep(UNPROVEN_SOCKET).await;
                if wire.sessions.load(Ordering::Acquire) == 0 {
                    wire.kill();
                }
            }
        });
    }
}

async fn greet(core: &Arc<Core>, socket: Arc<Socket>, auth: Option<Value>, slot: &Slot, wire: &Arc<Wire>) {
    let credentials = match &auth {
        Some(Value::Str(text, _)) => serde_json::from_str::<Credentials>(text).ok(),
        _ => None,
    };
    let Some(credentials) = credentials else {
        let _ = socket.disconnect();
        return;
    };
    let refusal = match verdict(core, &credentials).await {
        Ok(Verdict::Proven(agent)) => {
            match welcome(core, socket.clone(), slot, wire, agent, &credentials.features).await {
                Ok(()) => return,
                Err(Full) => full(core),
            }
        }
        Ok(Verdict::Invalid) => json!({"code": "INVALID_TOKEN", "message": "Invalid credentials"}),
        Ok(Verdict::Over(ended)) => {
            json!({"code": "INVALID_TOKEN", "message": "Invalid credentials", "ended": ended_shares(&ended)})
        }
        Ok(Verdict::TokenExpired) => {
            json!({"code": "TOKEN_EXPIRED", "message": "Token has expired. Please rotate your token."})
        }
        Err(error) => {
            tracing::error!(
                error = crate::error_chain(&error),
                "cannot tell whether an agent is who it says"
            );
            let _ = socket.disconnect(); // a bare leave means: come back later
            return;
        }
    };
    let _ = wire.hand_over(0, || socket.emit("error", &refusal));
    let _ = socket.disconnect();
}

async fn verdict(core: &Core, credentials: &Credentials) -> Result<Verdict, StoreError> {
    let Some(agent) = core.store.agent(credentials.agent_id).await? else { return Ok(Verdict::Invalid) };
    if !agent.is_proven_by(&credentials.token) {
        return Ok(Verdict::Invalid);
    }
    if agent.previous.is_some() && agent.token.matches(&credentials.token) {
        core.store.forget_previous_token(&agent).await?;
    }
    let now = Timestamp::now();
    let verdict = match agent.workspace {
        None if core.store.has_live_grant(agent.id).await? => Verdict::Proven(agent),
        None => Verdict::Over(core.store.ended_shares(agent.id, ENDED_SHARES_TOLD).await?),
        Some(_) if agent.token_expires_at.after(TOKEN_GRACE) <= now => Verdict::TokenExpired,
        Some(_) => Verdict::Proven(agent),
    };
    Ok(verdict)
}

/// What an agent hears whose workspace has no room for its socket: like everything but a verdict it is tried again.
fn full(core: &Core) -> serde_json::Value {
    let most = core.limits.sockets_per_workspace;
    let message = format!(
        "This workspace has {most} sockets connected, as many as it may have: end some of its agents, or use another workspace"
    );
    json!({"code": "TOO_MANY_SOCKETS", "message": message})
}

/// Registers the socket, then says so: whoever hears `connected` can be dialled.
async fn welcome(
    core: &Arc<Core>,
    socket: Arc<Socket>,
    slot: &Slot,
    wire: &Arc<Wire>,
    agent: AgentRow,
    features: &[String],
) -> Result<(), Full> {
    let mut features = Features::from_names(features.iter().map(String::as_str));
    features.data_connections &= core.limits.data_connections;
    let ticket = match Ticket::generate() {
        Ok(ticket) => ticket,
        Err(error) => {
            tracing::error!(%error, "cannot give a socket its ticket");
            let _ = socket.disconnect(); // a bare leave means: come back later
            return Ok(());
        }
    };
    let workspace = agent.workspace.clone();
    let session = Arc::new(Session::new(agent.id, workspace, features, socket.clone(), wire.clone(), ticket));
    let evicted = core.agents.add(session.clone()).inspect_err(|Full| {
        session.close();
    })?;
    if let Err(error) = core.store.agent_seen(agent.id, true).await {
        tracing::warn!(error = crate::error_chain(&error), agent = %agent.id, "cannot note that an agent connected");
    }
    let _ = slot.set(session.clone()); // set only here, once for each socket
    if !socket.connected() {
        depart(core, slot);
        return Ok(());
    }
    if let Some(evicted) = evicted {
        evicted.disconnect();
    }
    let expires_at = agent.token_expires_at;
    if agent.workspace.is_some() && expires_at <= Timestamp::now().after(TOKEN_WARNING) {
        let warning = json!({"message": "Token expiring soon", "expiresAt": expires_at});
        let _ = session.emit("token_warning", &warning, 0);
    }
    let _ = session.emit("connected", &connected(core, &session, expires_at).await, 0);
    tracing::debug!(agent = %agent.id, guest = agent.workspace.is_none(), "agent connected");
    core.presence_changed(agent.id).await;
    Ok(())
}

/// What an agent hears when it is registered.
async fn connected(core: &Arc<Core>, session: &Session, expires_at: Timestamp) -> serde_json::Value {
    let mut connected =
        json!({"message": "Connected to hub", "tokenExpiresAt": expires_at, "features": hub_features(core)});
    if session.features.share_events {
        // Their ends may have moved, or come, while the agent was away.
        connected["shares"] = granted_shares(core, session.agent).await;
        connected["ended"] = ended_shares(&ended_meanwhile(core, session.agent).await);
    }
    if session.features.data_connections {
        connected["dataTicket"] = json!(session.data.ticket().as_str());
    }
    connected
}

/// What this hub understands, as `connected` says it.
fn hub_features(core: &Core) -> Vec<&'static str> {
    let data = core.limits.data_connections.then_some(DATA_CONNECTIONS);
    Features::OURS.into_iter().chain(data).collect()
}

/// The shares that an agent has joined and that are over, as `share_ended` tells them.
fn ended_shares(ended: &[(Uuid, EndReason)]) -> serde_json::Value {
    ended.iter().map(|(share, reason)| json!({"id": share, "reason": reason})).collect()
}

async fn ended_meanwhile(core: &Core, agent: Uuid) -> Vec<(Uuid, EndReason)> {
    core.store.ended_shares(agent, ENDED_SHARES_TOLD).await.unwrap_or_else(|error| {
        tracing::error!(error = crate::error_chain(&error), %agent, "cannot tell which shares of an agent ended");
        Vec::new()
    })
}

/// The live shares that an agent has joined, as `share_changed` tells them.
async fn granted_shares(core: &Core, agent: Uuid) -> serde_json::Value {
    let granted = core.store.granted_shares(agent).await.unwrap_or_else(|error| {
        tracing::error!(error = crate::error_chain(&error), %agent, "cannot tell which shares an agent joined");
        Vec::new()
    });
    granted.into_iter().map(|(share, end)| json!({"id": share, "expiresAt": end})).collect()
}

/// What happens when a socket leaves, however it does.
struct Departure {
    core: Arc<Core>,
    slot: Slot,
}

impl DisconnectHandler<LocalAdapter, ()> for Departure {
    fn call_with_defer(&self, socket: Arc<Socket>, reason: DisconnectReason, defer: fn(Arc<Socket>)) {
        let wire = socket.req_parts().extensions.get::<Arc<Wire>>().cloned();
        depart(&self.core, &self.slot);
        defer(socket);
        let namespace_only =
            matches!(reason, DisconnectReason::ClientNSDisconnect | DisconnectReason::ServerNSDisconnect);
        let Some(wire) = wire else { return };
        if namespace_only {
            // The websocket stays and may join again, but nobody parks it.
            tokio::spawn(close_unless_proven(wire, UNPROVEN_SOCKET));
        } else {
            // The library's writer may hang on a peer that takes nothing; what is left is not worth waiting for long.
            tokio::spawn(close_unless_proven(wire, LAST_WORDS));
        }
    }
}

/// What the last frames of a closed socket may take.
const LAST_WORDS: Duration = Duration::from_secs(2);

async fn close_unless_proven(wire: Arc<Wire>, after: Duration) {
    tokio::time::sleep(after).await;
    if wire.sessions.load(Ordering::Acquire) == 0 {
        wire.kill();
    }
}

/// Unregisters a socket, and no other; ends its bridges.
fn depart(core: &Arc<Core>, slot: &Slot) {
    let Some(session) = slot.get() else { return };
    if !session.close() {
        return;
    }
    let still_connected = core.agents.remove(session);
    core.bridges.leave(session);
    tracing::debug!(agent = %session.agent, still_connected, "a socket of an agent closed");
    let (core, agent) = (core.clone(), session.agent);
    tokio::spawn(async move {
        if let Err(error) = core.store.agent_seen(agent, false).await {
            tracing::warn!(error = crate::error_chain(&error), %agent, "cannot note when an agent was last seen");
        }
        if !still_connected {
            core.presence_changed(agent).await;
        }
    });
}
