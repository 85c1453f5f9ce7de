//! How long hubs take to answer, and how they fail.

use std::time::Duration;

use connect_hub::client::Observer;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

/// Upper bounds of the buckets, in seconds: from a hub in the same process to the deadline of a call.
const BUCKETS: [f64; 8] = [0.005, 0.02, 0.05, 0.1, 0.5, 1.0, 2.5, 10.0];

/// Reasons that are there from the start, so that the first failure is an increase.
const REASONS: [&str; 6] =
    ["HubUnreachable", "HubRejected", "InvalidCredentials", "NotFound", "RateLimited", "ServiceLimitReached"];

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Call {
    call: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Failure {
    reason: &'static str,
}

/// Calls to all hubs.
#[derive(Clone, Debug)]
pub struct HubCalls {
    durations: Family<Call, Histogram, fn() -> Histogram>,
    errors: Family<Failure, Counter>,
}

// === impl HubCalls ===

impl Default for HubCalls {
    fn default() -> Self {
        let errors = Family::<Failure, Counter>::default();
        for reason in REASONS {
            drop(errors.get_or_create(&Failure { reason }));
        }
        Self { durations: Family::new_with_constructor(|| Histogram::new(BUCKETS)), errors }
    }
}

impl HubCalls {
    /// Makes them part of what is told.
    pub fn register(&self, registry: &mut Registry) {
        let help = "How long calls to hubs took, by call";
        registry.register_with_unit("hub_request_duration", help, Unit::Seconds, self.durations.clone());
        registry.register("hub_request_errors", "Calls to hubs that failed, by reason", self.errors.clone());
    }
}

impl Observer for HubCalls {
    fn ended(&self, call: &'static str, took: Duration, failed: Option<&'static str>) {
        self.durations.get_or_create(&Call { call }).observe(took.as_secs_f64());
        if let Some(reason) = failed {
            self.errors.get_or_create(&Failure { reason }).inc();
        }
    }
}
