//! `/v1/agents`: who may hold a socket. Rows tell neither token hashes nor addresses.

use std::sync::Arc;

use axum::{Json, extract::State, http::StatusCode};
use serde_json::{Value, json};
use uuid::Uuid;

use super::{
    auth::{Caller, Key},
    body::{Body, OpenBody, Segment},
    error::ApiError,
    validation::Fields,
    views::{AgentRowView, AgentView, ServiceView, WorkspaceName},
};
use crate::{
    core::Core,
    limits::{AGENTS_PER_WORKSPACE, TOKEN_GRACE},
    secret::{SecretHash, generate_token},
    store::{AgentRow, Registered, ServiceRow, StoreError},
    timestamp::Timestamp,
};

type Created = (StatusCode, Json<Value>);

/// What the recorded hub asks of a token.
const TOKEN_MIN: usize = 32;
/// Longer ones are no secret any better.
const TOKEN_MAX: usize = 512;
/// A label or name that still fits a line.
const LABEL_MAX: usize = 255;

pub async fn register(
    State(core): State<Arc<Core>>,
    Key(workspace): Key,
    Body(body): Body,
) -> Result<Created, ApiError> {
    let mut fields = Fields::of(&body);
    let (id, token) = (fields.uuid("agentId"), fields.string("token", TOKEN_MIN, TOKEN_MAX));
    let (label, name) =
        (fields.optional_string("label", LABEL_MAX), fields.optional_string("name", LABEL_MAX));
    fields.finish()?;
    let (id, token) = both(id, token)?;
    match core.store.register_agent(&workspace.id, id, token, label, name, core.limits.token_life).await? {
        Registered::Done(agent) => Ok(created(json!({
            "success": true,
            "agent": {
                "id": agent.id,
                "name": agent.name,
                "label": agent.label,
                "workspaceId": workspace.id,
                "createdAt": agent.created_at,
            },
        }))),
        Registered::OtherWorkspace => {
            Err(ApiError::text(409, "Agent ID already exists in another workspace"))
        }
        Registered::OtherToken => Err(ApiError::text(409, "Agent ID is registered with another token")),
        Registered::TooMany => {
            Err(ApiError::text(400, format!("A workspace has at most {AGENTS_PER_WORKSPACE} agents")))
        }
    }
}

pub async fn heartbeat(State(core): State<Arc<Core>>, OpenBody(body): OpenBody) -> Result<Created, ApiError> {
    let mut fields = Fields::of(&body);
    let (id, token) = (fields.uuid("agentId"), fields.string("token", TOKEN_MIN, TOKEN_MAX));
    fields.finish()?;
    let (id, token) = both(id, token)?;
    let agent = core.store.agent(id).await?.filter(|agent| agent.is_proven_by(token));
    let grace =
        |agent: &AgentRow| if agent.workspace.is_some() { TOKEN_GRACE } else { std::time::Duration::ZERO };
    let alive = agent.filter(|agent| Timestamp::now() < agent.token_expires_at.after(grace(agent)));
    let agent = alive.ok_or_else(|| ApiError::text(401, "Invalid credentials"))?;
    core.store.agent_seen(agent.id, false).await?;
    Ok(created(json!({"success": true})))
}

/// An expired token may still be rotated: its agent was away, and nobody else has it. A guest's may not, for it ends
/// with what it was made for.
pub async fn rotate_token(
    State(core): State<Arc<Core>>,
    OpenBody(body): OpenBody,
) -> Result<Created, ApiError> {
    let mut fields = Fields::of(&body);
    let (id, token) = (fields.uuid("agentId"), fields.string("currentToken", TOKEN_MIN, TOKEN_MAX));
    fields.finish()?;
    let (id, token) = both(id, token)?;
    let agent = core.store.agent(id).await?.ok_or_else(|| ApiError::text(401, "Agent not found"))?;
    let now = Timestamp::now();
    let expired_guest = agent.workspace.is_none() && agent.token_expires_at <= now;
    if !agent.is_proven_by(token) || expired_guest {
        return Err(ApiError::text(401, "Invalid current token"));
    }
    let expires_at =
        if agent.workspace.is_some() { now.after(core.limits.token_life) } else { agent.token_expires_at };
    let new = generate_token().map_err(StoreError::from)?;
    let (shown, new_hash) = (SecretHash::of(token), SecretHash::of(&new));
    if !core.store.replace_token(id, &agent.token, &shown, &new_hash, expires_at).await? {
        return Err(ApiError::text(401, "Invalid current token")); // somebody rotated it a moment before
    }
    Ok(created(json!({"success": true, "newToken": new, "expiresAt": expires_at})))
}

pub async fn list(State(core): State<Arc<Core>>, Key(workspace): Key) -> Result<Json<Value>, ApiError> {
    let services = core.store.services(&workspace.id).await?;
    let agents = core.store.agents(&workspace.id).await?;
    Ok(Json(agents.iter().map(|agent| json!(row(&core, agent, &services, None))).collect()))
}

pub async fn online(State(core): State<Arc<Core>>, Key(workspace): Key) -> Result<Json<Value>, ApiError> {
    let agents = core.store.agents(&workspace.id).await?;
    let rows = agents.iter().filter(|agent| core.agents.is_online(agent.id)).map(|agent| {
        json!({
            "id": agent.id,
            "label": agent.label,
            "name": agent.name,
            "lastSeenAt": agent.last_seen_at,
            "connectedAt": agent.connected_at,
            "tokenExpiresAt": agent.token_expires_at,
        })
    });
    Ok(Json(rows.collect()))
}

pub async fn one(
    State(core): State<Arc<Core>>,
    Key(workspace): Key,
    Segment(id): Segment,
) -> Result<Json<Value>, ApiError> {
    let not_found = || ApiError::text(404, "Agent not found");
    let id = Uuid::parse_str(&id).map_err(|_| not_found())?;
    let agent = core.store.agent(id).await?.filter(|agent| agent.workspace.as_ref() == Some(&workspace.id));
    let agent = agent.ok_or_else(not_found)?;
    let services = core.store.services(&workspace.id).await?;
    let named = WorkspaceName { id: &workspace.id, name: &workspace.name };
    Ok(Json(json!(row(&core, &agent, &services, Some(named)))))
}

/// An agent takes itself away, with its services and what is left of its ended shares.
pub async fn delete(
    State(core): State<Arc<Core>>,
    caller: Caller,
    Segment(id): Segment,
) -> Result<Json<Value>, ApiError> {
    let agent = caller.agent;
    if Uuid::parse_str(&id) != Ok(agent.id) {
        return Err(ApiError::text(403, "An agent can be removed only as itself"));
    }
    let Some(services) = core.store.delete_agent(agent.id).await? else {
        return Err(ApiError::text(409, "Agent has active shares"));
    };
    for service in services {
        core.bridges.cut_service(service);
    }
    Ok(Json(json!({"success": true})))
}

/// An agent with those of the services that it exposes.
fn row<'a>(
    core: &Core,
    agent: &'a AgentRow,
    services: &'a [ServiceRow],
    workspace: Option<WorkspaceName<'a>>,
) -> AgentRowView<'a> {
    let own = services.iter().filter(|service| service.agent == Some(agent.id));
    AgentRowView {
        agent: AgentView::new(agent, core.agents.is_online(agent.id)),
        services: own.map(ServiceView::from).collect(),
        workspace,
    }
}

fn created(body: Value) -> Created {
    (StatusCode::CREATED, Json(body))
}

/// What was examined is there once the examination has found no issue.
fn both<A, B>(a: Option<A>, b: Option<B>) -> Result<(A, B), ApiError> {
    a.zip(b).ok_or_else(|| ApiError::text(400, "Invalid request"))
}
