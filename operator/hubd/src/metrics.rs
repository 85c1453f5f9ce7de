//! What is counted, for Prometheus: on an address of its own, because it is for whoever runs the hub and nobody else. No
//! label names a workspace, an agent or a share.

use std::sync::Arc;

use axum::{
    Router,
    http::{StatusCode, header},
    response::{IntoResponse as _, Response},
    routing::get,
};
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric as _, text::encode},
    metrics::{MetricType, counter::ConstCounter, gauge::ConstGauge},
    registry::Registry,
};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::{core::Core, counts::Counts};

/// What the names of metrics begin with at a hub that is a process of its own.
const PREFIX: &str = "connect_hub";
const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// What there is now.
#[derive(Debug)]
struct Now(Arc<Core>);

// === impl Now ===

impl Collector for Now {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let Self(core) = self;
        let sockets = core.agents.all();
        let mut online = sockets.iter().map(|session| session.agent).collect::<Vec<_>>();
        online.sort_unstable();
        online.dedup();
        let mut gauge = |name: &str, help: &str, value: usize| {
            let gauge = ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX));
            gauge.encode(encoder.encode_descriptor(name, help, None, MetricType::Gauge)?)
        };
        gauge("agents_connected", "Agents with at least one socket", online.len())?;
        gauge("sockets_open", "Sockets of agents", sockets.len())?;
        gauge("connections_open", "Connections from joining to exposing agents", core.bridges.count())?;
        let foreign = ConstCounter::new(core.bridges.foreign_events());
        let help = "Events about a connection of somebody else, each ignored";
        foreign.encode(encoder.encode_descriptor("foreign_events", help, None, MetricType::Counter)?)
    }
}

/// Adds what this hub counts.
pub fn register(core: &Arc<Core>, registry: &mut Registry) {
    let Counts { joins, refused_codes, ended } = &core.counts;
    registry.register("joins", "Joins that were allowed", joins.clone());
    registry.register(
        "refused_codes",
        "Previews and joins that were refused: unknown or ended codes, and too many attempts",
        refused_codes.clone(),
    );
    registry.register("shares_ended", "Shares that ended, by reason", ended.clone());
    registry.register_collector(Box::new(Now(core.clone())));
}

/// Serves `/metrics` until stopped.
pub async fn serve(core: Arc<Core>, listener: TcpListener, stop: CancellationToken) {
    let mut registry = Registry::with_prefix(PREFIX);
    register(&core, &mut registry);
    let registry = Arc::new(registry);
    let app = Router::new().route("/metrics", get(move || std::future::ready(answer(&registry))));
    let serving = axum::serve(listener, app).with_graceful_shutdown(stop.clone().cancelled_owned());
    tokio::select! {
        ended = async { serving.await } => if let Err(error) = ended {
            tracing::error!(%error, "metrics are not served any more");
        },
        () = stop.cancelled() => {} // whoever reads slowly does not keep the hub from stopping
    }
}

fn answer(registry: &Registry) -> Response {
    let mut text = String::new();
    match encode(&mut text, registry) {
        Ok(()) => ([(header::CONTENT_TYPE, CONTENT_TYPE)], text).into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}
