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

/// Reads one count of a tunnel.
type Count = fn(&Stats) -> u64;

/// What the tunnels of all hubs have counted: a counter's name, its help text, and where it stands.
const COUNTERS: [(&str, &str, Count); 9] = [
    ("connections", "Connections carried", Stats::total_connections),
    ("encrypted_connections", "Connections encrypted from end to end", Stats::encrypted_connections),
    (
        "unopened_packets",
        "Encrypted packets that did not open: changed or left out on the way",
        Stats::unopened_packets,
    ),
    ("received_bytes", "Bytes from teammates to Services", Stats::bytes_in),
    ("sent_bytes", "Bytes from Services to teammates", Stats::bytes_out),
    ("tunnel_reconnects", "Times that a tunnel to a hub was opened again", Stats::reconnects),
    ("malformed_frames", "Frames of hubs that could not be read", Stats::malformed_frames),
    ("foreign_events", "Events of hubs about connections that are not ours", Stats::foreign_events),
    ("stalled_connections", "Connections cut because their Service did not read", Stats::stalled_connections),
];

impl Collector for TunnelCollector {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let hubs = self.hubs.all();
        let stats: Vec<Arc<Stats>> =
            hubs.iter().filter_map(|hub| hub.tunnel().map(|tunnel| tunnel.stats())).collect();
        let sum = |count: Count| stats.iter().map(|stats| count(stats)).sum::<u64>();
        let ready = hubs.iter().filter(|hub| hub.state() == HubState::Ready).count();
        let memory = self.hubs.memory();
        for (name, help, value) in [
            ("hubs", "Hubs in use", hubs.len() as u64),
            ("hubs_ready", "Hubs that are connected", ready as u64),
            ("waiting_bytes", "Bytes from hubs that wait in memory for Services", memory.used() as u64),
            ("waiting_bytes_limit", "The most that may wait", memory.bytes() as u64),
            ("connections_open", "Connections carried now", sum(Stats::open_connections)),
        ] {
            let gauge = ConstGauge::new(number(value));
            gauge.encode(encoder.encode_descriptor(name, help, None, MetricType::Gauge)?)?;
        }
        for (name, help, count) in COUNTERS {
            let counter = ConstCounter::new(sum(count));
            counter.encode(encoder.encode_descriptor(name, help, None, MetricType::Counter)?)?;
        }
        let (name, help) = ("refused_dials", "Dials refused, by reason");
        let mut refused = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
        for why in RefusedDial::ALL {
            let total: u64 = stats.iter().map(|stats| stats.refused_dials(why)).sum();
            let labels = [("reason", why.reason())];
            ConstCounter::new(total).encode(refused.encode_family(&labels)?)?;
        }
        Ok(())
    }
}
