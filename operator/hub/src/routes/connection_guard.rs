//! Ties an open connection to its route: tells when to stop and keeps the count.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use jiff::Timestamp;
use tokio_util::sync::CancellationToken;

use super::mismatches::Alarm;
use super::share_state::ShareState;
use super::traffic::Traffic;
use crate::clock::Clock;
use crate::code_key::Verification;
use crate::e2e::E2eError;
use crate::permission::{Pass, Permission};
use crate::stats::{RefusedDial, Stats, count};

/// Held by a connection for as long as it is open.
#[derive(Debug)]
pub(crate) struct ConnectionGuard {
    pass: Pass,
    state: Option<Arc<ShareState>>,
    traffic: Arc<Traffic>,
    verification: Arc<Verification>,
    alarm: Option<Alarm>,
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
        (verification, alarm): (Arc<Verification>, Option<Alarm>),
    ) -> Self {
        traffic.open.fetch_add(1, Ordering::AcqRel);
        Self {
            pass: Pass::new(WhileOpen { clock, state: state.clone(), cut }),
            state,
            traffic,
            verification,
            alarm,
        }
    }

    /// When its share ends, as it stands now.
    pub(crate) fn ends_at(&self) -> Option<Timestamp> {
        self.state.as_ref()?.ends_at()
    }

    /// What the joiner has to prove.
    pub(crate) fn verification(&self) -> &Verification {
        &self.verification
    }

    /// Counts what was wrong with the connection's encryption, and tells the share where its secret was not known.
    pub(crate) fn judge(&self, error: E2eError, stats: &Stats) {
        match error {
            E2eError::Unverified => stats.count_refused(RefusedDial::Unverified),
            E2eError::Mismatch => stats.count_refused(RefusedDial::SecretMismatch),
            E2eError::Tampered | E2eError::OutOfOrder => count(&stats.unopened, 1),
            E2eError::Handshake | E2eError::PublicKey | E2eError::Unbound => {}
        }
        let is_alarming = matches!(error, E2eError::Mismatch | E2eError::Tampered | E2eError::OutOfOrder);
        if let Some(alarm) = self.alarm.as_ref().filter(|_| is_alarming) {
            alarm.ring();
        }
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
