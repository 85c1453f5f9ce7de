//! What is counted as it happens. How it is told is in [`crate::metrics`].

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family},
};

use crate::store::EndReason;

/// What has happened since the start.
#[derive(Debug, Default)]
pub struct Counts {
    /// Joins that were allowed.
    pub joins: Counter,
    /// Previews and joins of codes that open nothing, or that came too often.
    pub refused_codes: Counter,
    /// Shares that ended.
    pub ended: Family<Ended, Counter>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Ended {
    reason: &'static str,
}

// === impl Counts ===

impl Counts {
    /// Counts a share's end.
    pub fn ended(&self, reason: EndReason) {
        self.ended.get_or_create(&Ended { reason: reason.as_str() }).inc();
    }
}
