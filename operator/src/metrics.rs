//! What is counted, with units in the names and labels from bounded sets only.

use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{EncodeLabelSet, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::{ConstCounter, Counter};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;

use connect_hub::tunnel::Stats;

use crate::definitions::Definitions;
use crate::tunnels::{HubState, Hubs};

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Reconciliation {
    kind: String,
    result: String,
}

/// Everything that is counted.
pub struct Metrics {
    registry: Registry,
    reconciliations: Family<Reconciliation, Counter>,
}

// === impl Metrics ===

impl Metrics {
    /// Counters at zero; what the tunnels count is read when it is asked for.
    pub fn new(hubs: Arc<Hubs>, definitions: Arc<Definitions>) -> Self {
        let mut registry = Registry::with_prefix("private_connect");
        let reconciliations = Family::default();
        registry.register("reconciliations", "Reconciliations by kind and result", reconciliations.clone());
        registry.register_collector(Box::new(TunnelCollector { hubs }));
        registry.register_collector(Box::new(DefinitionsCollector { definitions }));
        Self { registry, reconciliations }
    }

    /// Counts one reconciliation.
    pub fn reconciled(&self, kind: &str, result: &'static str) {
        let labels = Reconciliation { kind: kind.to_owned(), result: result.to_owned() };
        self.reconciliations.get_or_create(&labels).inc();
    }

    /// All metrics in the OpenMetrics text format.
    ///
    /// # Errors
    /// The text cannot be written, which memory alone could cause.
    pub fn text(&self) -> Result<String, std::fmt::Error> {
        let mut text = String::new();
        encode(&mut text, &self.registry)?;
        Ok(text)
    }
}

/// Says what the installed definitions lack.
struct DefinitionsCollector {
    definitions: Arc<Definitions>,
}

impl std::fmt::Debug for DefinitionsCollector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("DefinitionsCollector")
    }
}

impl Collector for DefinitionsCollector {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let help = "Fields that the installed CustomResourceDefinition of a kind lacks, and so drops";
        let mut family =
            encoder.encode_descriptor("definition_missing_fields", help, None, MetricType::Gauge)?;
        for kind in ["ServiceExpose", "EnvironmentShare"] {
            let missing = i64::try_from(self.definitions.lacks(kind)).unwrap_or(i64::MAX);
            ConstGauge::new(missing).encode(family.encode_family(&[("kind", kind)])?)?;
        }
        Ok(())
    }
}

/// Reads what the tunnels count, summed over all hubs.
struct TunnelCollector {
    hubs: Arc<Hubs>,
}

impl std::fmt::Debug for TunnelCollector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("TunnelCollector")
    }
}

impl Collector for TunnelCollector {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let hubs = self.hubs.all();
        let stats: Vec<Arc<Stats>> =
            hubs.iter().filter_map(|hub| hub.tunnel().map(|tunnel| tunnel.stats())).collect();
        let sum = |count: fn(&Stats) -> u64| stats.iter().map(|stats| count(stats)).sum::<u64>();
        let ready = hubs.iter().filter(|hub| hub.state() == HubState::Ready).count();
        let mut gauge = |name: &str, help: &str, value: u64| {
            let gauge = ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX));
            gauge.encode(encoder.encode_descriptor(name, help, None, MetricType::Gauge)?)
        };
        gauge("hubs", "Hubs in use", hubs.len() as u64)?;
        gauge("hubs_ready", "Hubs that are connected", ready as u64)?;
        gauge("connections_open", "Connections carried now", sum(Stats::open_connections))?;
        let mut counter = |name: &str, help: &str, value: u64| {
            ConstCounter::new(value).encode(encoder.encode_descriptor(
                name,
                help,
                None,
                MetricType::Counter,
            )?)
        };
        counter("connections", "Connections carried", sum(Stats::total_connections))?;
        counter("received_bytes", "Bytes from teammates to Services", sum(Stats::bytes_in))?;
        counter("sent_bytes", "Bytes from Services to teammates", sum(Stats::bytes_out))?;
        counter(
            "tunnel_reconnects",
            "Times that a tunnel to a hub was opened again",
            sum(Stats::reconnects),
        )?;
        counter("malformed_frames", "Frames of hubs that could not be read", sum(Stats::malformed_frames))?;
        counter(
            "foreign_events",
            "Events of hubs about connections that are not ours",
            sum(Stats::foreign_events),
        )?;
        counter(
            "stalled_connections",
            "Connections cut because their Service did not read",
            sum(Stats::stalled_connections),
        )?;
        let mut refused = encoder.encode_descriptor(
            "refused_dials",
            "Dials refused, by reason",
            None,
            MetricType::Counter,
        )?;
        for why in connect_hub::tunnel::RefusedDial::ALL {
            let total: u64 = stats.iter().map(|stats| stats.refused_dials(why)).sum();
            let labels = [("reason", why.reason())];
            ConstCounter::new(total).encode(refused.encode_family(&labels)?)?;
        }
        Ok(())
    }
}
