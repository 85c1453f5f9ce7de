//! Ties an open connection to its route: tells when to stop and keeps the count.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio_util::sync::CancellationToken;

use super::gate::Gate;
use super::traffic::Traffic;
use crate::clock::Clock;
use crate::permission::{Pass, Permission};

/// Held by a connection for as long as it is open.
#[derive(Debug)]
pub(crate) struct Leash {
    pass: Pass,
    traffic: Arc<Traffic>,
}

/// Lets bytes pass while the route is there and its share is open.
struct WhileOpen {
    clock: Arc<dyn Clock>,
    gate: Option<Arc<Gate>>,
    cut: CancellationToken,
}

// === impl Leash ===

impl Leash {
    pub(super) fn new(
        clock: Arc<dyn Clock>,
        gate: Option<Arc<Gate>>,
        cut: CancellationToken,
        traffic: Arc<Traffic>,
    ) -> Self {
        traffic.open.fetch_add(1, Ordering::AcqRel);
        Self { pass: Pass::new(WhileOpen { clock, gate, cut }), traffic }
    }

    /// Where the route's connections are counted.
    pub(crate) fn traffic(&self) -> &Traffic {
        &self.traffic
    }

    /// Resolves when the connection must go.
    pub(crate) async fn cut(&self) {
        self.pass.token().cancelled().await;
    }

    /// What lets its bytes pass.
    pub(crate) fn pass(&self) -> &Pass {
        &self.pass
    }
}

// === impl WhileOpen ===

impl Permission for WhileOpen {
    fn holds(&self) -> bool {
        !self.cut.is_cancelled()
            && self.gate.as_ref().is_none_or(|gate| gate.refusal(self.clock.now()).is_none())
    }

    fn token(&self) -> &CancellationToken {
        &self.cut
    }
}

impl Drop for Leash {
    fn drop(&mut self) {
        self.traffic.open.fetch_sub(1, Ordering::AcqRel);
    }
}
