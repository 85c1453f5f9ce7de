//! `/v1/services`: what can be dialled, and whether it answers.

use std::{collections::HashMap, sync::Arc};

use axum::{
    Json,
    extract::{Query, State},
    http::StatusCode,
};
use serde_json::{Value, json};
use uuid::Uuid;

use super::{
    auth::Key,
    body::{Body, Segment},
    error::ApiError,
    shares,
    validation::Fields,
    views::{AgentView, Diagnostic, ExternalService, RegisteredService, ServiceRowView, ServiceView},
};
use crate::{
    core::Core,
    limits::DIAGNOSTICS_PER_SERVICE,
    reach::{self, CheckOutcome},
    store::{AgentRow, NewService, Reach, Saved, ServiceRow, Workspace},
    timestamp::Timestamp,
};

type Created = (StatusCode, Json<Value>);

const PROTOCOLS: &[&str] = &["auto", "tcp", "http", "https"];
const REACHES: &[&str] = &["workspace", "shared"];
const MODES: &[&str] = &["tcp", "tls", "http"];
/// Recorded: a service's name has 1 to 100 characters ...
const NAME_MAX: usize = 100;
/// ... though names made of a namespace, a share and a route need more: 63 + 63 + 63 and their separators.
const LONG_NAME_MAX: usize = 253;
/// The longest DNS name.
const HOST_MAX: usize = 253;

pub async fn register(
    State(core): State<Arc<Core>>,
    Key(workspace): Key,
    Body(body): Body,
) -> Result<Created, ApiError> {
    let mut fields = Fields::of(&body);
    let agent = fields.uuid("agentId");
    let new = read(&mut fields, agent);
    let _ = fields.optional_bool("isPublic"); // understood, and not served: see `publicUrl`
    fields.finish()?;
    let service = save(&core, &workspace, new).await?;
    Ok(created(json!({"success": true, "service": RegisteredService::from(&service)})))
}

pub async fn register_external(
    State(core): State<Arc<Core>>,
    Key(workspace): Key,
    Body(body): Body,
) -> Result<Created, ApiError> {
    let mut fields = Fields::of(&body);
    let new = read(&mut fields, None);
    fields.finish()?;
    let service = save(&core, &workspace, new).await?;
    Ok(created(json!({"success": true, "service": ExternalService::from(&service)})))
}

fn read(fields: &mut Fields<'_>, agent: Option<Uuid>) -> Option<NewService> {
    let reach = fields.choice("reach", REACHES);
    // Names of shared services are made by programs and seen by nobody.
    let name = fields.string("name", 1, if reach == "shared" { LONG_NAME_MAX } else { NAME_MAX });
    let (target_host, target_port) = (fields.string("targetHost", 1, HOST_MAX), fields.port("targetPort"));
    let protocol = fields.choice("protocol", PROTOCOLS);
    Some(NewService {
        agent,
        name: name?.to_owned(),
        target_host: target_host?.to_owned(),
        target_port: target_port?,
        protocol: protocol.to_owned(),
        reach: Reach::parse(reach)?,
    })
}

/// Writes a service down. What it stood for before is cut when it changes hands or closes itself off.
async fn save(core: &Core, workspace: &Workspace, new: Option<NewService>) -> Result<ServiceRow, ApiError> {
    let new = new.ok_or_else(|| ApiError::text(400, "Invalid request"))?;
    match core.store.save_service(&workspace.id, &new, core.limits.services_per_workspace).await? {
        Saved::Done { service, before } => {
            let changed = before.is_some_and(|b| b.agent != service.agent || b.reach != service.reach);
            if changed {
                core.bridges.cut_service(service.id);
            }
            Ok(*service)
        }
        Saved::UnknownAgent => Err(ApiError::text(400, "Agent not found. Register the agent first.")),
        Saved::OtherAgent => {
            Err(ApiError::text(409, "Service name belongs to another agent of the workspace"))
        }
        Saved::TooMany => {
            let limit = core.limits.services_per_workspace;
            let message = format!(
                "Service limit reached: a workspace has at most {limit} services here. Delete services that are no \
                 longer needed, or let the hub allow more."
            );
            Err(ApiError::text(402, message))
        }
    }
}

pub async fn list(State(core): State<Arc<Core>>, Key(workspace): Key) -> Result<Json<Value>, ApiError> {
    let agents = core.store.agents(&workspace.id).await?;
    let agents = agents.iter().map(|agent| (agent.id, agent)).collect::<HashMap<_, _>>();
    let mut rows = Vec::new();
    for service in core.store.services(&workspace.id).await? {
        let agent = service.agent.and_then(|id| agents.get(&id).copied());
        rows.push(json!(row(&core, &service, agent, 1).await?));
    }
    Ok(Json(Value::Array(rows)))
}

pub async fn one(
    State(core): State<Arc<Core>>,
    Key(workspace): Key,
    Segment(id): Segment,
) -> Result<Json<Value>, ApiError> {
    let service = find(&core, &workspace, &id).await?;
    let agent = match service.agent {
        Some(agent) => core.store.agent(agent).await?,
        None => None,
    };
    Ok(Json(json!(row(&core, &service, agent.as_ref(), DIAGNOSTICS_PER_SERVICE).await?)))
}

pub async fn delete(
    State(core): State<Arc<Core>>,
    Key(workspace): Key,
    Segment(id): Segment,
) -> Result<Json<Value>, ApiError> {
    let service = find(&core, &workspace, &id).await?;
    if !core.store.delete_service(service.id).await? {
        return Err(not_found());
    }
    let cut = core.bridges.cut_service(service.id);
    for session in service.agent.map(|agent| core.agents.all_of(agent)).unwrap_or_default() {
        session.unexpose(service.id);
    }
    Ok(Json(json!({"success": true, "cut": shares::cut_off(&cut)})))
}

pub async fn diagnostics(
    State(core): State<Arc<Core>>,
    Key(workspace): Key,
    Segment(id): Segment,
    Query(query): Query<HashMap<String, String>>,
) -> Result<Json<Value>, ApiError> {
    let service = find(&core, &workspace, &id).await?;
    let limit = query.get("limit").and_then(|text| text.parse().ok()).unwrap_or(DIAGNOSTICS_PER_SERVICE);
    Ok(Json(Value::Array(told(&core, service.id, limit).await?)))
}

pub async fn check(
    State(core): State<Arc<Core>>,
    Key(workspace): Key,
    Segment(id): Segment,
) -> Result<Created, ApiError> {
    let service = find(&core, &workspace, &id).await?;
    let (diagnostic, _) = diagnose(&core, &service, None).await?;
    let service = core.store.service(service.id).await?.ok_or_else(not_found)?;
    Ok(created(json!({"success": true, "diagnostic": diagnostic, "service": ServiceView::from(&service)})))
}

pub async fn reach(
    State(core): State<Arc<Core>>,
    Key(workspace): Key,
    Segment(id): Segment,
    Body(body): Body,
) -> Result<Created, ApiError> {
    let mut fields = Fields::of(&body);
    let source = fields.uuid("sourceAgentId");
    let _ = (fields.choice("mode", MODES), fields.optional_integer("timeoutMs", 1000, 30_000)); // recorded: ignored
    fields.finish()?;
    let service = find(&core, &workspace, &id).await?;
    let source = match source {
        Some(id) => {
            core.store.agent(id).await?.filter(|agent| agent.workspace.as_ref() == Some(&workspace.id))
        }
        None => None,
    };
    let source = source.ok_or_else(|| ApiError::text(404, "Source agent not found"))?;
    let (diagnostic, reached) = diagnose(&core, &service, Some(&source)).await?;
    let outcome = if reached { "success" } else { "failure" };
    let session = json!({"id": Uuid::new_v4(), "outcome": outcome});
    Ok(created(json!({"success": true, "diagnostic": diagnostic, "session": session})))
}

/// Dials the service through its agent, and keeps what came of it. Nothing is said about TLS or HTTP, because nothing
/// was tried: a raw hello to a database would only report a failure that is none.
async fn diagnose(
    core: &Core,
    service: &ServiceRow,
    source: Option<&AgentRow>,
) -> Result<(Value, bool), ApiError> {
    if service.agent.is_none() {
        return Err(ApiError::text(400, "Tunnel not established"));
    }
    let (reached, latency, message) = match reach::check(core, service).await {
        CheckOutcome::Reached(latency) => (true, Some(latency), "The agent reached the service".to_owned()),
        CheckOutcome::Refused(why) => (false, None, format!("The agent did not reach the service: {why}")),
        CheckOutcome::Offline => (false, None, "The service's agent is not connected".to_owned()),
        CheckOutcome::TimedOut => (false, None, "The agent did not answer in time".to_owned()),
    };
    let (id, status) = (Uuid::new_v4(), if reached { "OK" } else { "FAIL" });
    let diagnostic = json!(Diagnostic {
        id,
        service_id: service.id,
        perspective: if source.is_some() { "agent" } else { "hub" },
        source_agent_id: source.map(|agent| agent.id),
        source_label: source.map(|agent| agent.label.as_str()),
        dns_status: "OK (through the agent)",
        tcp_status: status,
        tls_status: None,
        tls_details: None,
        http_status: None,
        http_details: None,
        latency_ms: latency.map(|latency| latency.as_millis() as u64),
        message,
        raw: None,
        created_at: Timestamp::now(),
    });
    core.store.save_diagnostic(service.id, id, &diagnostic.to_string(), status).await?;
    Ok((diagnostic, reached))
}

async fn find(core: &Core, workspace: &Workspace, id: &str) -> Result<ServiceRow, ApiError> {
    let id = Uuid::parse_str(id).map_err(|_| not_found())?;
    let service = core.store.service(id).await?.ok_or_else(not_found)?;
    if service.workspace != workspace.id {
        return Err(ApiError::text(403, "Forbidden"));
    }
    Ok(service)
}

async fn row<'a>(
    core: &Core,
    service: &'a ServiceRow,
    agent: Option<&'a AgentRow>,
    limit: i64,
) -> Result<ServiceRowView<'a>, ApiError> {
    let agent = agent.map(|agent| AgentView::new(agent, core.agents.is_online(agent.id)));
    Ok(ServiceRowView { service: service.into(), agent, diagnostics: told(core, service.id, limit).await? })
}

async fn told(core: &Core, service: Uuid, limit: i64) -> Result<Vec<Value>, ApiError> {
    let bodies = core.store.diagnostics(service, limit).await?;
    Ok(bodies.iter().filter_map(|body| serde_json::from_str::<Value>(body).ok()).collect())
}

fn created(body: Value) -> Created {
    (StatusCode::CREATED, Json(body))
}

fn not_found() -> ApiError {
    ApiError::text(404, "Service not found")
}
