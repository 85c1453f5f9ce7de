//! Which services encrypt, at a hub that does not tell: learned at the first connection to each, for one socket's life.
//!
//! So a service that does not answer is waited for once and not at every connection, and one that has answered is not
//! taken for one that cannot when a busy line makes it late.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tracing::{debug, warn};
use uuid::Uuid;

use crate::pump::Peer;

/// What one socket has learned.
#[derive(Debug, Default)]
pub(super) struct Peers(Mutex<HashMap<Uuid, Peer>>);

// === impl Peers ===

impl Peers {
    /// What is known of a service of which the hub told `told`.
    pub(super) fn known(&self, service_id: Uuid, told: Peer) -> Peer {
        match told {
            Peer::Unknown => self.lock().get(&service_id).copied().unwrap_or(Peer::Unknown),
            told => told,
        }
    }

    /// A service accepted an offer.
    pub(super) fn encrypts(&self, service_id: Uuid) {
        self.lock().insert(service_id, Peer::Proven);
    }

    /// A service did not answer an offer. Said aloud for the first of them; after that it is no news.
    pub(super) fn is_silent(&self, service_id: Uuid, route: &str) {
        let mut peers = self.lock();
        let first = !peers.values().any(|peer| *peer == Peer::Unable);
        peers.insert(service_id, Peer::Unable);
        drop(peers);
        if first {
            warn!(route, "the other end does not encrypt: the hub can read what passes");
        } else {
            debug!(route, "the other end does not encrypt");
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Uuid, Peer>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
