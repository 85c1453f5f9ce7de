//! Ties an open connection to its route: tells when to stop and keeps the count.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio_util::sync::CancellationToken;

use super::gate::Gate;
use super::traffic::Traffic;
use crate::clock::Clock;

/// Held by a connection for as long as it is open.
#[derive(Debug)]
pub(crate) struct Leash {
    clock: ClockHandle,
    gate: Option<Arc<Gate>>,
    cut: CancellationToken,
    traffic: Arc<Traffic>,
}

#[derive(Clone)]
struct ClockHandle(Arc<dyn Clock>);

// === impl Leash ===

impl Leash {
    pub(super) fn new(
        clock: Arc<dyn Clock>,
        gate: Option<Arc<Gate>>,
        cut: CancellationToken,
        traffic: Arc<Traffic>,
    ) -> Self {
        traffic.open.fetch_add(1, Ordering::AcqRel);
        Self { clock: ClockHandle(clock), gate, cut, traffic }
    }

    /// Where the route's connections are counted.
    pub(crate) fn traffic(&self) -> &Traffic {
        &self.traffic
    }

    /// Resolves when the connection must go.
    pub(crate) async fn cut(&self) {
        self.cut.cancelled().await;
    }

    /// Cancelled when the connection must go.
    pub(crate) fn token(&self) -> &CancellationToken {
        &self.cut
    }

    /// Whether one more byte may pass now. Asked before every chunk, so that a late timer serves nothing.
    pub(crate) fn holds(&self) -> bool {
        !self.cut.is_cancelled()
            && self.gate.as_ref().is_none_or(|gate| gate.refusal(self.clock.0.now()).is_none())
    }
}

impl Drop for Leash {
    fn drop(&mut self) {
        self.traffic.open.fetch_sub(1, Ordering::AcqRel);
    }
}

impl fmt::Debug for ClockHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Clock")
    }
}
