//! Which services encrypt, at a hub that does not tell: learned at the first connection to each, for one socket's life.
//!
//! So a service that does not answer is waited for once and not at every connection, and one that has answered is not
//! taken for one that cannot when a busy line makes it late.

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use uuid::Uuid;

use crate::pump::Peer;

/// What one socket has learned.
#[derive(Debug, Default)]
pub(super) struct Peers(Mutex<Learned>);

#[derive(Debug, Default)]
struct Learned {
    peers: HashMap<Uuid, Peer>,
    /// Services to which a connection was in plain.
    plain: HashSet<Uuid>,
}

// === impl Peers ===

impl Peers {
    /// What is known of a service of which the hub told `told`.
    pub(super) fn known(&self, service_id: Uuid, told: Peer) -> Peer {
        match told {
            Peer::Unknown => self.lock().peers.get(&service_id).copied().unwrap_or(Peer::Unknown),
            told => told,
        }
    }

    /// A service accepted an offer.
    pub(super) fn encrypts(&self, service_id: Uuid) {
        self.lock().peers.insert(service_id, Peer::Proven);
    }

    /// A service did not answer an offer.
    pub(super) fn is_silent(&self, service_id: Uuid) {
        self.lock().peers.insert(service_id, Peer::Unable);
    }

    /// A connection to a service is in plain; whether that is news.
    pub(super) fn is_in_plain(&self, service_id: Uuid) -> bool {
        self.lock().plain.insert(service_id)
    }

    fn lock(&self) -> MutexGuard<'_, Learned> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
