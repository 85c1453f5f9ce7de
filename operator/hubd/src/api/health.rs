//! `GET /health`: always 200, so that it can tell what is wrong.

use std::sync::Arc;

use axum::{Json, extract::State};
use serde::Serialize;

use crate::{core::Core, moment::Moment};

/// What this hub does beyond the recorded one. Clients look for these names and assume nothing.
const FEATURES: [&str; 13] = [
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
    "data-connections",
];

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Health {
    status: &'static str,
    timestamp: Moment,
    app_ready: bool,
    db_connected: bool,
    hub: &'static str,
    version: &'static str,
    features: [&'static str; FEATURES.len()],
}

pub async fn health(State(core): State<Arc<Core>>) -> Json<Health> {
    Json(Health {
        status: "ok",
        timestamp: Moment::now(),
        app_ready: true,
        db_connected: core.store.is_alive().await,
        hub: "connect-hubd",
        version: env!("CARGO_PKG_VERSION"),
        features: FEATURES,
    })
}
