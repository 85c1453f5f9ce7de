//! `/v1/workspace`: what a key opens. There is one plan, and nothing to buy.

use std::sync::Arc;

use axum::{Json, extract::State, http::StatusCode};
use serde_json::{Value, json};

use super::{auth::Key, error::ApiError};
use crate::{core::Core, limits::DIAGNOSTICS_PER_SERVICE};

/// The recorded hub's name for the plan without the small limits.
const PLAN: &str = "PRO";

pub async fn show(State(core): State<Arc<Core>>, Key(workspace): Key) -> Result<Json<Value>, ApiError> {
    let services = core.store.count_services(&workspace.id).await?;
    let agents = core.store.count_agents(&workspace.id).await?;
    let limit = core.limits.services_per_workspace;
    Ok(Json(json!({
        "workspace": {"id": workspace.id, "name": workspace.name, "plan": PLAN},
        "usage": {"services": services, "agents": agents},
        "limits": {"maxServices": limit, "diagnosticHistoryLimit": DIAGNOSTICS_PER_SERVICE},
        "canAddService": services < i64::from(limit),
    })))
}

pub async fn upgrade(Key(_): Key) -> (StatusCode, Json<Value>) {
    let done = json!({"success": true, "message": "Upgraded to PRO plan", "plan": PLAN});
    std::future::ready((StatusCode::CREATED, Json(done))).await
}
