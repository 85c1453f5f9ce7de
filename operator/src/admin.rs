//! What a cluster asks the process itself: /healthz, /readyz, /metrics.
//!
//! Served from the start, also while another replica leads: a waiting replica is ready to take over, and must not be
//! restarted for waiting.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::metrics::Metrics;

/// What the probes look at.
#[derive(Clone, Default)]
pub struct Admin {
    /// Scopes whose caches are not filled yet. Ready at none: caches filled, or waiting for another replica's end.
    pub unfilled: Arc<AtomicUsize>,
    /// Whether the API server has ever let us look at the Lease: without it, a replica that waits is ready for nothing.
    pub answered: Arc<AtomicBool>,
    /// Everything that is counted, once this replica leads.
    pub metrics: Arc<OnceLock<Arc<Metrics>>>,
}

/// Serves until `stop`.
///
/// # Errors
/// The listener failed.
pub async fn serve(listener: TcpListener, admin: Admin, stop: CancellationToken) -> std::io::Result<()> {
    let app = Router::new()
        .route("/healthz", get(async || "ok\n"))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .with_state(admin);
    axum::serve(listener, app).with_graceful_shutdown(stop.cancelled_owned()).await
}

async fn readyz(State(admin): State<Admin>) -> (StatusCode, &'static str) {
    if !admin.answered.load(Ordering::Acquire) {
        (
            StatusCode::SERVICE_UNAVAILABLE,
            "the API server does not answer, or does not let this operator in\n",
        )
    } else if admin.unfilled.load(Ordering::Acquire) == 0 {
        (StatusCode::OK, "ok\n")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "starting\n")
    }
}

async fn metrics(State(admin): State<Admin>) -> impl IntoResponse {
    let text = admin.metrics.get().map_or(Ok("# EOF\n".to_owned()), |metrics| metrics.text());
    match text {
        Ok(text) => {
            let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
            (StatusCode::OK, [(header::CONTENT_TYPE, kind)], text)
        }
        Err(_) => (StatusCode::INTERNAL_SERVER_ERROR, [(header::CONTENT_TYPE, "text/plain")], String::new()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn nobody_is_ready_whom_the_api_server_has_not_answered() {
        let admin = Admin::default();
        let status = async || readyz(State(admin.clone())).await.0;
        assert_eq!(status().await, StatusCode::SERVICE_UNAVAILABLE);
        admin.answered.store(true, Ordering::Release);
        assert_eq!(status().await, StatusCode::OK, "waiting for another replica's end");
        admin.unfilled.store(1, Ordering::Release);
        assert_eq!(status().await, StatusCode::SERVICE_UNAVAILABLE);
    }
}
