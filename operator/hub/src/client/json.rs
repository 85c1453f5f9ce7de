//! The JSON that only this client sees: request bodies and the envelopes around answers.

use jiff::Timestamp;
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{
    Features, JoinedAgent, JoinedShare, Service, ServiceReach, Share, ShareEnd, ShareRow, model, shares,
};
use crate::identity::Identity;

#[derive(Deserialize)]
pub(super) struct Health {
    version: Option<String>,
    hub: Option<String>,
    #[serde(default)]
    features: Features,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct RegisterAgent<'a> {
    pub agent_id: Uuid,
    pub token: &'a str,
    pub label: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<&'a str>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Credentials<'a> {
    pub agent_id: Uuid,
    pub token: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct RotateToken<'a> {
    pub agent_id: Uuid,
    pub current_token: &'a str,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct RotatedToken {
    pub new_token: SecretString,
    pub expires_at: Timestamp,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct RegisterService<'a> {
    agent_id: Uuid,
    name: &'a str,
    target_host: &'a str,
    target_port: u16,
    protocol: &'a str,
    is_public: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    reach: Option<&'static str>,
}

#[derive(Deserialize)]
pub(super) struct ServiceAnswer {
    pub service: Service,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct CreateShare<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_in_hours: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_joins: Option<u32>,
    routes: Vec<Route<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct UpdateShare<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_joins: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    routes: Option<Vec<Route<'a>>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Route<'a> {
    service_name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    service_id: Option<Uuid>,
    target_host: &'a str,
    target_port: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    local_port: Option<u16>,
    protocol: &'a str,
}

#[derive(Deserialize)]
pub(super) struct ShareAnswer {
    pub share: Share,
}

/// The answer to an end. Hubs that do not tell whom they cut off answer anything.
#[derive(Default, Deserialize)]
pub(super) struct Ended {
    #[serde(default)]
    pub cut: Option<shares::People>,
}

#[derive(Deserialize)]
pub(super) struct Shares {
    pub shares: Vec<ShareRow>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct JoinBody<'a> {
    pub agent_label: &'a str,
}

#[derive(Deserialize)]
pub(super) struct JoinAnswer {
    share: JoinedShare,
    #[serde(default)]
    agent: Option<MadeAgent>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct MadeAgent {
    agent_id: Uuid,
    token: SecretString,
    expires_at: Timestamp,
}

// === impl RegisterService ===

impl<'a> RegisterService<'a> {
    pub(super) fn new(agent: Uuid, service: &'a model::NewService) -> Self {
        let model::NewService { name, target_host, target_port, protocol, is_public, reach } = service;
        Self {
            agent_id: agent,
            name,
            target_host,
            target_port: *target_port,
            protocol,
            is_public: *is_public,
            reach: reach.map(|reach| match reach {
                ServiceReach::Workspace => "workspace",
                ServiceReach::Shared => "shared",
            }),
        }
    }
}

// === impl CreateShare ===

impl<'a> CreateShare<'a> {
    pub(super) fn new(share: &'a shares::NewShare) -> Self {
        let shares::NewShare { name, end, max_joins, routes } = share;
        let (expires_in_hours, expires_at) = match end {
            ShareEnd::Hours(hours) => (Some(*hours), None),
            ShareEnd::At(instant) => (None, Some(iso(*instant))),
        };
        Self {
            name: name.as_deref(),
            expires_in_hours,
            expires_at,
            max_joins: *max_joins,
            routes: routes.iter().map(Route::new).collect(),
        }
    }
}

// === impl UpdateShare ===

impl<'a> UpdateShare<'a> {
    pub(super) fn new(change: &'a shares::ShareChange) -> Self {
        let shares::ShareChange { expires_at, max_joins, routes } = change;
        Self {
            expires_at: expires_at.map(iso),
            max_joins: *max_joins,
            routes: routes.as_ref().map(|routes| routes.iter().map(Route::new).collect()),
        }
    }
}

// === impl Route ===

impl<'a> Route<'a> {
    fn new(route: &'a shares::NewRoute) -> Self {
        let shares::NewRoute { service_name, service_id, target_host, target_port, local_port, protocol } =
            route;
        Self {
            service_name,
            service_id: *service_id,
            target_host,
            target_port: *target_port,
            local_port: *local_port,
            protocol,
        }
    }
}

impl From<Health> for model::Health {
    fn from(answer: Health) -> Self {
        let Health { version, hub, features } = answer;
        Self { version, hub, features }
    }
}

impl From<JoinAnswer> for shares::Joined {
    fn from(answer: JoinAnswer) -> Self {
        let JoinAnswer { share, agent } = answer;
        let agent = agent.map(|MadeAgent { agent_id, token, expires_at }| JoinedAgent {
            identity: Identity { agent_id, token },
            expires_at,
        });
        Self { share, agent }
    }
}

/// ISO-8601 in UTC with exactly three decimals, the only form hubs write themselves.
fn iso(instant: Timestamp) -> String {
    format!("{instant:.3}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instants_are_written_with_milliseconds() {
        let instant: Timestamp = "2026-12-01T18:00:00Z".parse().expect("valid");
        assert_eq!(iso(instant), "2026-12-01T18:00:00.000Z");
    }

    #[test]
    fn an_empty_list_of_routes_is_sent_and_never_left_out() {
        let share =
            shares::NewShare { name: None, end: ShareEnd::Hours(4), max_joins: None, routes: Vec::new() };
        let body = serde_json::to_string(&CreateShare::new(&share)).expect("serialisable");
        assert_eq!(body, r#"{"expiresInHours":4,"routes":[]}"#);
    }
}
