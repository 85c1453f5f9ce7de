//! What a route has carried, counted while it is carried, for whoever watches a join.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::pump::Meter;

/// One route's counters. All its connections write to them; a reader may see them a moment apart.
#[derive(Debug, Default)]
pub(super) struct Counters {
    open: AtomicU64,
    total: AtomicU64,
    from_hub: AtomicU64,
    to_hub: AtomicU64,
}

/// What one route has carried so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Connections that are open now.
    pub open: u64,
    /// Connections that were ever opened.
    pub total: u64,
    /// Bytes that came from the share.
    pub received: u64,
    /// Bytes that went to the share.
    pub sent: u64,
}

/// An open connection in the count, until it is dropped.
pub(super) struct Counted(Arc<Counters>);

// === impl Counted ===

impl Counted {
    /// Where its bytes are counted.
    pub(super) fn meter(&self) -> Meter<'_> {
        Meter { from_hub: &self.0.from_hub, to_hub: &self.0.to_hub, route: None }
    }
}

// === impl Counters ===

impl Counters {
    /// Counts a connection that has become ready.
    pub(super) fn opened(self: &Arc<Self>) -> Counted {
        self.open.fetch_add(1, Ordering::Relaxed);
        self.total.fetch_add(1, Ordering::Relaxed);
        Counted(Arc::clone(self))
    }

    /// What was counted.
    pub(super) fn read(&self) -> Traffic {
        Traffic {
            open: self.open.load(Ordering::Relaxed),
            total: self.total.load(Ordering::Relaxed),
            received: self.from_hub.load(Ordering::Relaxed),
            sent: self.to_hub.load(Ordering::Relaxed),
        }
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_counts_as_open_until_it_is_dropped() {
        let counters = Arc::new(Counters::default());
        let (first, second) = (counters.opened(), counters.opened());
        assert_eq!(counters.read(), Traffic { open: 2, total: 2, ..Traffic::default() });
        drop((first, second));
        assert_eq!(counters.read(), Traffic { open: 0, total: 2, ..Traffic::default() });
    }
}
