//! Ties an open connection to its route: tells when to stop and keeps the count.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use jiff::Timestamp;
use tokio_util::sync::CancellationToken;

use super::share_state::ShareState;
use super::traffic::Traffic;
use crate::clock::Clock;
use crate::permission::{Pass, Permission};

/// Held by a connection for as long as it is open.
#[derive(Debug)]
pub(crate) struct ConnectionGuard {
    pass: Pass,
    state: Option<Arc<ShareState>>,
    traffic: Arc<Traffic>,
}

/// Lets bytes pass while the route is there and its share is open.
struct WhileOpen {
    clock: Arc<dyn Clock>,
    state: Option<Arc<ShareState>>,
    cut: CancellationToken,
}

// === impl ConnectionGuard ===

impl ConnectionGuard {
    pub(super) fn new(
        clock: Arc<dyn Clock>,
        state: Option<Arc<ShareState>>,
        cut: CancellationToken,
        traffic: Arc<Traffic>,
    ) -> Self {
        traffic.open.fetch_add(1, Ordering::AcqRel);
        Self { pass: Pass::new(WhileOpen { clock, state: state.clone(), cut }), state, traffic }
    }

    /// When its share ends, as it stands now.
    pub(crate) fn ends_at(&self) -> Option<Timestamp> {
        self.state.as_ref()?.ends_at()
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
            && self.state.as_ref().is_none_or(|state| state.refusal(self.clock.now()).is_none())
    }

    fn token(&self) -> &CancellationToken {
        &self.cut
    }
}

impl Drop for ConnectionGuard {
    fn drop(&mut self) {
        self.traffic.open.fetch_sub(1, Ordering::AcqRel);
    }
}
