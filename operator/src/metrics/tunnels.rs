//! What the tunnels carried, summed over all hubs.

use std::sync::Arc;

use connect_hub::tunnel::{RefusedDial, Stats};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;

use super::number;
use crate::tunnels::{HubState, Hubs};

/// Reads what the tunnels count, summed over all hubs.
pub(super) struct TunnelCollector {
    pub(super) hubs: Arc<Hubs>,
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
            let gauge = ConstGauge::new(number(value));
            gauge.encode(encoder.encode_descriptor(name, help, None, MetricType::Gauge)?)
        };
        gauge("hubs", "Hubs in use", hubs.len() as u64)?;
        gauge("hubs_ready", "Hubs that are connected", ready as u64)?;
        gauge(
            "waiting_bytes",
            "Bytes from hubs that wait in memory for Services",
            self.hubs.memory().used() as u64,
        )?;
        gauge("waiting_bytes_limit", "The most that may wait", self.hubs.memory().bytes() as u64)?;
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
        counter(
            "encrypted_connections",
            "Connections encrypted from end to end",
            sum(Stats::encrypted_connections),
        )?;
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
        for why in RefusedDial::ALL {
            let total: u64 = stats.iter().map(|stats| stats.refused_dials(why)).sum();
            let labels = [("reason", why.reason())];
            ConstCounter::new(total).encode(refused.encode_family(&labels)?)?;
        }
        Ok(())
    }
}
