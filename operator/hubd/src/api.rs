//! The HTTP API, in the recorded shapes: 201 for POST, dates in ISO-8601, three kinds of error body.

mod absent;
mod agents;
mod auth;
mod body;
mod error;
mod front;
mod health;
mod joins;
mod routes;
mod services;
mod shares;
mod validation;
mod views;
mod workspace;

use std::sync::Arc;

use axum::{
    Router,
    routing::{MethodRouter, get, post},
};

use crate::{core::Core, limits::REQUEST_TIMEOUT};
pub use auth::client_address;
pub use error::ApiError;

/// Everything that is answered over HTTP; `data` answers what asks for a data connection.
pub fn router(core: Arc<Core>, data: MethodRouter<Arc<Core>>) -> Router {
    Router::new()
        .route("/", get(front::front))
        .route("/health", get(health::health))
        .route("/v1/agents", get(agents::list))
        .route("/v1/agents/register", post(agents::register))
        .route("/v1/agents/heartbeat", post(agents::heartbeat))
        .route("/v1/agents/rotate-token", post(agents::rotate_token))
        .route("/v1/agents/online", get(agents::online))
        .route("/v1/agents/{id}", get(agents::one).delete(agents::delete))
        .route("/v1/services", get(services::list))
        .route("/v1/services/register", post(services::register))
        .route("/v1/services/external", post(services::register_external))
        .route("/v1/services/{id}", get(services::one).delete(services::delete))
        .route("/v1/services/{id}/diagnostics", get(services::diagnostics))
        .route("/v1/services/{id}/check", post(services::check))
        .route("/v1/services/{id}/reach", post(services::reach))
        .route("/v1/env-shares", post(shares::create).get(shares::list))
        .route("/v1/env-shares/{code}", get(joins::preview).patch(shares::change).delete(shares::revoke))
        .route("/v1/env-shares/{code}/join", post(joins::join))
        .route("/v1/env-shares/{code}/joins", get(joins::list))
        .route("/v1/data", data)
        .route("/v1/workspace", get(workspace::show))
        .route("/v1/workspace/upgrade", post(workspace::upgrade))
        .fallback(absent::no_such_route)
        .method_not_allowed_fallback(absent::no_such_route)
        .layer(axum::middleware::from_fn(in_time))
        .with_state(core)
}

/// No request, however slowly it comes, holds its connection for ever.
async fn in_time(request: axum::extract::Request, next: axum::middleware::Next) -> axum::response::Response {
    use axum::response::IntoResponse as _;
    match tokio::time::timeout(REQUEST_TIMEOUT, next.run(request)).await {
        Ok(response) => response,
        Err(_) => ApiError::text(408, "Request took too long").into_response(),
    }
}
