//! What is counted, with units in the names and labels from bounded sets only.
//!
//! | module | reads |
//! |---|---|
//! | [`objects`] | what the objects say: shares by state, ends, joins, who waits for a human, what waits in queues |
//! | [`tunnels`] | what was carried, by hub and by share |
//! | [`crate::state::HubCalls`] | how long hubs take to answer, and how they fail |
//! | the embedded hub | who is connected to it, joins, refused codes, ends |

mod objects;
mod tunnels;

use std::sync::Arc;

use prometheus_client::encoding::text::encode;
use prometheus_client::registry::Registry;

use self::objects::{ObjectCollector, Scopes};
use self::tunnels::TunnelCollector;
use crate::definitions::Definitions;
use crate::embedded::EmbeddedHub;
use crate::state::{Reconciliations, Stores};
use crate::triggers::Triggers;
use crate::tunnels::Hubs;

/// Everything that is counted.
pub struct Metrics {
    registry: Registry,
    scopes: Arc<Scopes>,
}

// === impl Metrics ===

impl Metrics {
    /// Counters at zero; everything else is read when it is asked for.
    pub fn new(
        hubs: Arc<Hubs>,
        definitions: Arc<Definitions>,
        reconciliations: &Reconciliations,
        embedded: Option<&EmbeddedHub>,
    ) -> Self {
        let mut registry = Registry::with_prefix("private_connect");
        reconciliations.register(&mut registry);
        hubs.calls().register(&mut registry);
        if let Some(hub) = embedded {
            hub.register(registry.sub_registry_with_prefix("embedded_hub"));
        }
        let scopes = Arc::new(Scopes::default());
        registry.register_collector(Box::new(TunnelCollector { hubs: hubs.clone() }));
        registry.register_collector(Box::new(ObjectCollector { scopes: scopes.clone(), hubs, definitions }));
        Self { registry, scopes }
    }

    /// Reads these caches from now on.
    pub fn read(&self, stores: Stores, triggers: Triggers) {
        self.scopes.add(stores, triggers);
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

/// A count as metrics have it.
fn number(count: impl TryInto<i64>) -> i64 {
    count.try_into().unwrap_or(i64::MAX)
}
