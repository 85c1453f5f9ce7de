//! What the hub answers: one type for each kind of answer, with the fields that the recorded hub has (contract A) and ours beside them.

use serde::Serialize;
use serde_json::Value;
use uuid::Uuid;

use crate::core::{Connected, JoinView};
use crate::store::{AgentRow, EndReason, RouteRow, ServiceRow, ShareRow, ShareState};
use crate::timestamp::Timestamp;

/// A service, as rows tell it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ServiceView<'a> {
    id: Uuid,
    workspace_id: &'a str,
    agent_id: Option<Uuid>,
    name: &'a str,
    target_host: &'a str,
    target_port: u16,
    tunnel_port: Option<u16>,
    protocol: &'a str,
    status: &'a str,
    is_external: bool,
    is_public: bool,
    public_subdomain: Option<&'a str>,
    last_checked_at: Option<Timestamp>,
    created_at: Timestamp,
}

/// A service with who exposes it and what was found out about it.
#[derive(Debug, Serialize)]
pub struct ServiceRowView<'a> {
    #[serde(flatten)]
    pub service: ServiceView<'a>,
    pub agent: Option<AgentView<'a>>,
    pub diagnostics: Vec<Value>,
}

/// A service that an agent has registered.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RegisteredService<'a> {
    id: Uuid,
    name: &'a str,
    tunnel_port: Option<u16>,
    status: &'a str,
    protocol: &'a str,
    is_public: bool,
    public_url: Option<&'a str>,
}

/// A service that was registered without an agent.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ExternalService<'a> {
    id: Uuid,
    name: &'a str,
    target_host: &'a str,
    target_port: u16,
    protocol: &'a str,
    is_external: bool,
}

/// What one look at a service came to. Nothing is said about TLS or HTTP, because nothing was tried.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Diagnostic<'a> {
    pub id: Uuid,
    pub service_id: Uuid,
    pub perspective: &'static str,
    pub source_agent_id: Option<Uuid>,
    pub source_label: Option<&'a str>,
    pub dns_status: &'static str,
    pub tcp_status: &'static str,
    pub tls_status: Option<&'static str>,
    pub tls_details: Option<&'static str>,
    pub http_status: Option<&'static str>,
    pub http_details: Option<&'static str>,
    /// In milliseconds.
    pub latency_ms: Option<u64>,
    pub message: String,
    pub raw: Option<&'static str>,
    pub created_at: Timestamp,
}

/// An agent, as rows tell it; neither its token nor its address.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AgentView<'a> {
    id: Uuid,
    workspace_id: Option<&'a str>,
    name: Option<&'a str>,
    label: &'a str,
    token_expires_at: Timestamp,
    last_seen_at: Timestamp,
    connected_at: Timestamp,
    /// Whether it has a socket now.
    is_online: bool,
    created_at: Timestamp,
}

/// An agent with what it exposes, and its workspace where it is asked for alone.
#[derive(Debug, Serialize)]
pub struct AgentRowView<'a> {
    #[serde(flatten)]
    pub agent: AgentView<'a>,
    pub services: Vec<ServiceView<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub workspace: Option<WorkspaceName<'a>>,
}

/// How a workspace is called.
#[derive(Debug, Serialize)]
pub struct WorkspaceName<'a> {
    pub id: &'a str,
    pub name: &'a str,
}

/// A share, for whoever made it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ShareView<'a> {
    code: &'a str,
    name: Option<&'a str>,
    expires_at: Timestamp,
    routes: Vec<MadeRoute<'a>>,
    id: Uuid,
    state: &'static str,
    end_reason: Option<EndReason>,
}

/// A share in the list of whoever made it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ListedShare<'a> {
    pub code: &'a str,
    pub name: Option<&'a str>,
    pub expires_at: Timestamp,
    pub route_count: i64,
    pub join_count: i64,
    pub created_at: Timestamp,
    pub id: Uuid,
    pub idempotency_key: Option<&'a str>,
    pub joins: Vec<JoinView<'a>>,
    pub connected: Connected,
    pub last_joined_at: Option<Timestamp>,
}

/// A route, for whoever made the share.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct MadeRoute<'a> {
    service_name: &'a str,
    target_host: &'a str,
    target_port: u16,
    local_port: Option<u16>,
    protocol: &'a str,
}

/// A share, for whoever joined it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct JoinedShare<'a> {
    code: &'a str,
    name: Option<&'a str>,
    expires_at: Timestamp,
    routes: Vec<JoinedRoute<'a>>,
    id: Uuid,
}

/// A route, for whoever joins: hosts and ports within the maker's network are none of their business.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct JoinedRoute<'a> {
    service_name: &'a str,
    service_id: Option<Uuid>,
    target_host: &'a str,
    target_port: u16,
    local_port: Option<u16>,
    protocol: &'a str,
}

/// A share, for somebody who has its code and has not joined it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Preview<'a> {
    code: &'a str,
    name: Option<&'a str>,
    expires_at: Timestamp,
    route_count: usize,
    join_count: usize,
    routes: Vec<PreviewedRoute<'a>>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct PreviewedRoute<'a> {
    service_name: &'a str,
    protocol: &'a str,
}

// === impl ServiceView ===

impl<'a> From<&'a ServiceRow> for ServiceView<'a> {
    fn from(row: &'a ServiceRow) -> Self {
        Self {
            id: row.id,
            workspace_id: &row.workspace,
            agent_id: row.agent,
            name: &row.name,
            target_host: &row.target_host,
            target_port: row.target_port,
            tunnel_port: row.tunnel_port,
            protocol: &row.protocol,
            status: &row.status,
            is_external: row.agent.is_none(),
            is_public: false,
            public_subdomain: None,
            last_checked_at: row.last_checked_at,
            created_at: row.created_at,
        }
    }
}

impl<'a> From<&'a ServiceRow> for RegisteredService<'a> {
    fn from(row: &'a ServiceRow) -> Self {
        Self {
            id: row.id,
            name: &row.name,
            tunnel_port: row.tunnel_port,
            status: &row.status,
            protocol: &row.protocol,
            is_public: false,
            public_url: None,
        }
    }
}

impl<'a> From<&'a ServiceRow> for ExternalService<'a> {
    fn from(row: &'a ServiceRow) -> Self {
        Self {
            id: row.id,
            name: &row.name,
            target_host: &row.target_host,
            target_port: row.target_port,
            protocol: &row.protocol,
            is_external: true,
        }
    }
}

// === impl AgentView ===

impl<'a> AgentView<'a> {
    /// An agent, and whether it has a socket now.
    pub fn new(row: &'a AgentRow, is_online: bool) -> Self {
        Self {
            id: row.id,
            workspace_id: row.workspace.as_deref(),
            name: row.name.as_deref(),
            label: &row.label,
            token_expires_at: row.token_expires_at,
            last_seen_at: row.last_seen_at,
            connected_at: row.connected_at,
            is_online,
            created_at: row.created_at,
        }
    }
}

// === impl ShareView ===

impl<'a> From<&'a ShareRow> for ShareView<'a> {
    fn from(row: &'a ShareRow) -> Self {
        let state = row.state(Timestamp::now());
        let made = |route: &'a RouteRow| MadeRoute {
            service_name: &route.service_name,
            target_host: &route.target_host,
            target_port: route.target_port,
            local_port: route.local_port,
            protocol: &route.protocol,
        };
        Self {
            code: row.code.reveal(),
            name: row.name.as_deref(),
            expires_at: row.expires_at,
            routes: row.routes.iter().map(made).collect(),
            id: row.id,
            state: match state {
                ShareState::Active => "active",
                ShareState::Expired => "expired",
                ShareState::Revoked => "revoked",
            },
            end_reason: (state != ShareState::Active).then(|| row.end.unwrap_or(EndReason::Expired)),
        }
    }
}

impl<'a> From<&'a ShareRow> for JoinedShare<'a> {
    fn from(row: &'a ShareRow) -> Self {
        let joined = |route: &'a RouteRow| JoinedRoute {
            service_name: &route.service_name,
            service_id: route.service,
            target_host: &route.service_name,
            target_port: route.local_port.unwrap_or(route.target_port),
            local_port: route.local_port,
            protocol: &route.protocol,
        };
        Self {
            code: row.code.reveal(),
            name: row.name.as_deref(),
            expires_at: row.expires_at,
            routes: row.routes.iter().map(joined).collect(),
            id: row.id,
        }
    }
}

impl<'a> Preview<'a> {
    /// A share that so many have joined lately.
    pub fn new(row: &'a ShareRow, join_count: usize) -> Self {
        let previewed = |route: &'a RouteRow| PreviewedRoute {
            service_name: &route.service_name,
            protocol: &route.protocol,
        };
        Self {
            code: row.code.reveal(),
            name: row.name.as_deref(),
            expires_at: row.expires_at,
            route_count: row.routes.len(),
            join_count,
            routes: row.routes.iter().map(previewed).collect(),
        }
    }
}
