//! How reconciliations ended.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;

/// Labels of a reconciliation.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Reconciliation {
    kind: String,
    result: String,
}

/// Reconciliations of all kinds, counted.
#[derive(Clone, Debug, Default)]
pub struct Reconciliations(Family<Reconciliation, Counter>);

impl Reconciliations {
    /// Counts one.
    pub fn ended(&self, kind: &str, result: &'static str) {
        let labels = Reconciliation { kind: kind.to_owned(), result: result.to_owned() };
        self.0.get_or_create(&labels).inc();
    }

    /// Makes them part of what is told.
    pub fn register(&self, registry: &mut Registry) {
        registry.register("reconciliations", "Reconciliations by kind and result", self.0.clone());
    }
}
