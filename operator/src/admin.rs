//! What a cluster asks the process itself: /healthz, /readyz, /metrics.
//!
//! Served from the start, also while another replica leads: a waiting replica is ready to take over, and must not be
//! restarted for waiting.

use std::sync::atomic::{AtomicUsize, Ordering};
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
    if admin.unfilled.load(Ordering::Acquire) == 0 {
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
