//! Which services encrypt, at a hub that does not tell: learned at connections, for the life of the join.
//!
//! A share's services have one agent and one hub. So when the first offer of a join is not answered, none is made any more:
//! nobody waits twice for a hub that passes no offers on. A service that has answered is not taken for one that cannot when
//! a busy line makes it late, and where one has answered the silence of another says nothing of the rest.

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use uuid::Uuid;

use crate::pump::Peer;

/// What one join has learned.
#[derive(Debug, Default)]
pub(super) struct Peers(Mutex<Learned>);

#[derive(Debug, Default)]
struct Learned {
    peers: HashMap<Uuid, Peer>,
    /// An offer was not answered before any was.
    is_silent: bool,
    /// Services to which a connection was in plain.
    plain: HashSet<Uuid>,
}

// === impl Peers ===

impl Peers {
    /// What is known of a service of which the hub told `told`.
    pub(super) fn known(&self, service_id: Uuid, told: Peer) -> Peer {
        match told {
            Peer::Unknown => {
                let learned = self.lock();
                let other = if learned.is_silent { Peer::Unable } else { Peer::Unknown };
                learned.peers.get(&service_id).copied().unwrap_or(other)
            }
            told => told,
        }
    }

    /// A service accepted an offer.
    pub(super) fn encrypts(&self, service_id: Uuid) {
        self.lock().peers.insert(service_id, Peer::Proven);
    }

    /// A service did not answer an offer.
    pub(super) fn is_silent(&self, service_id: Uuid) {
        let mut learned = self.lock();
        learned.is_silent |= !learned.peers.values().any(|peer| *peer == Peer::Proven);
        learned.peers.insert(service_id, Peer::Unable);
    }

    /// A connection to a service is in plain; whether that is news.
    pub(super) fn is_in_plain(&self, service_id: Uuid) -> bool {
        self.lock().plain.insert(service_id)
    }

    fn lock(&self) -> MutexGuard<'_, Learned> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_silence_is_remembered_for_all_unless_somebody_has_answered() {
        let [one, two, three] = [1, 2, 3].map(Uuid::from_u128);
        let silent = Peers::default();
        assert_eq!(silent.known(one, Peer::Unknown), Peer::Unknown);
        silent.is_silent(one);
        for (told, known) in
            [(Peer::Unknown, Peer::Unable), (Peer::Able, Peer::Able), (Peer::Unable, Peer::Unable)]
        {
            assert_eq!(silent.known(two, told), known, "what the hub tells counts for more");
        }

        let mixed = Peers::default();
        mixed.encrypts(one);
        mixed.is_silent(two);
        let known = [one, two, three].map(|service| mixed.known(service, Peer::Unknown));
        assert_eq!(known, [Peer::Proven, Peer::Unable, Peer::Unknown]);
    }
}
