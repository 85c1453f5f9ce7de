//! `GET /health`: always 200, so that it can tell what is wrong.

use std::sync::Arc;

use axum::{Json, extract::State};
use serde::Serialize;

use crate::{
    agents::DATA_CONNECTIONS,
    core::Core,
    limits::{AGENTS_PER_SHARE, AGENTS_PER_WORKSPACE, ROUTES_PER_SHARE, SHARES_PER_WORKSPACE},
    timestamp::Timestamp,
};

/// What every hub of ours does beyond the recorded one. Clients look for these names and assume nothing.
const FEATURES: [&str; 15] = [
    "expires-at",
    "idempotency-key",
    "share-keys",
    "grants",
    "joins",
    "anonymous-join",
    "empty-share",
    "update-share",
    "delete-service",
    "delete-agent",
    "half-close",
    "e2e",
    "e2e-handshake-relay",
    "end-reasons",
    "presence",
];

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Health {
    status: &'static str,
    timestamp: Timestamp,
    app_ready: bool,
    db_connected: bool,
    hub: &'static str,
    version: &'static str,
    features: Vec<&'static str>,
    limits: Told,
}

/// What a workspace or a share may have here, for whoever plans.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Told {
    services_per_workspace: u32,
    agents_per_workspace: i64,
    shares_per_workspace: i64,
    routes_per_share: usize,
    agents_per_share: i64,
}

pub async fn health(State(core): State<Arc<Core>>) -> Json<Health> {
    let data = core.limits.data_connections.then_some(DATA_CONNECTIONS);
    Json(Health {
        status: "ok",
        timestamp: Timestamp::now(),
        app_ready: true,
        db_connected: core.is_alive().await,
        hub: "connect-hubd",
        version: env!("CARGO_PKG_VERSION"),
        features: FEATURES.into_iter().chain(data).collect(),
        limits: Told {
            services_per_workspace: core.limits.services_per_workspace,
            agents_per_workspace: AGENTS_PER_WORKSPACE,
            shares_per_workspace: SHARES_PER_WORKSPACE,
            routes_per_share: ROUTES_PER_SHARE,
            agents_per_share: AGENTS_PER_SHARE,
        },
    })
}
