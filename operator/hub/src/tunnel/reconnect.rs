//! How long a tunnel waits before its next socket, by how the last ones ended.

use std::time::Duration;

use crate::agent::AgentError;
use crate::backoff::{Backoff, HEALTHY, RECONNECT};

/// Delay after the hub refused the credentials: only a person or a rotation can change its mind.
const VERDICT_RETRY: Duration = Duration::from_secs(60);

/// Delays after the hub let another socket take our place. Two processes with one identity would take turns for ever,
/// so each time the pause is twice as long; one that was only forgotten is back at once.
const RIVAL: Backoff = Backoff::new(Duration::from_millis(500), Duration::from_secs(60));

/// A socket that was left alone for this long has no rival any more: several turns of the longest pause.
const NO_RIVAL: Duration = Duration::from_secs(300);

/// What is remembered of earlier sockets.
#[derive(Debug, Default)]
pub(super) struct ReconnectDelays {
    failures: u32,
    /// Times in a row that another socket took our place.
    losses: u32,
}

// === impl ReconnectDelays ===

impl ReconnectDelays {
    /// The pause after a socket that lived this long and ended with this error.
    pub(super) fn pause_after(&mut self, error: &AgentError, lived: Duration) -> Duration {
        self.failures = if lived >= HEALTHY { 1 } else { self.failures.saturating_add(1) };
        self.losses = if lived >= NO_RIVAL { 0 } else { self.losses };
        match error {
            AgentError::InvalidToken { .. } | AgentError::TokenExpired { .. } => VERDICT_RETRY,
            AgentError::NewIdentity => Duration::ZERO,
            AgentError::Forgotten => {
                self.losses = self.losses.saturating_add(1);
                RIVAL.ceiling(self.losses)
            }
            _ => RECONNECT.delay(self.failures),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rival_is_not_fought() {
        let mut delays = ReconnectDelays::default();
        let pauses: Vec<_> =
            (0..10).map(|_| delays.pause_after(&AgentError::Forgotten, HEALTHY).as_millis()).collect();
        assert_eq!(pauses, [500, 1000, 2000, 4000, 8000, 16_000, 32_000, 60_000, 60_000, 60_000]);
        let other = AgentError::Socket(crate::socketio::SocketError::Closed);
        assert!(delays.pause_after(&other, Duration::ZERO) <= Duration::from_secs(5));
        assert_eq!(delays.pause_after(&AgentError::Forgotten, HEALTHY).as_secs(), 60, "still the same rival");
        assert_eq!(delays.pause_after(&AgentError::Forgotten, NO_RIVAL).as_millis(), 500);
    }

    #[test]
    fn failures_are_soon_tried_again_and_verdicts_are_not() {
        let mut delays = ReconnectDelays::default();
        let closed = AgentError::Socket(crate::socketio::SocketError::Closed);
        for _ in 0..100 {
            assert!(delays.pause_after(&closed, Duration::ZERO) <= Duration::from_secs(5));
        }
        assert!(delays.pause_after(&closed, HEALTHY) <= Duration::from_millis(500), "starts over");
        let verdict = AgentError::InvalidToken { message: String::new(), ended: Vec::new() };
        assert_eq!(delays.pause_after(&verdict, HEALTHY), VERDICT_RETRY);
        assert_eq!(delays.pause_after(&AgentError::NewIdentity, HEALTHY), Duration::ZERO);
    }
}
