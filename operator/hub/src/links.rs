//! The connections of one socket by the hub's id for them. An id that is not here is not ours.
//!
//! The reader of the socket hands bytes over through this table. Whatever one connection does, the others go on: a
//! connection that does not take its bytes is given up, and only that one.

pub(crate) mod link;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use thiserror::Error;
use tracing::warn;

use crate::budget::{Budget, InboxTx, NotAccepted};
use crate::protocol::Data;

/// Connections given up to make room for one chunk, each wait at most as long as it takes one to be still; then the chunk's own
/// connection goes.
const MAX_EVICTIONS: usize = 8;

/// The table. Clones share it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Links(Arc<Mutex<HashMap<String, InboxTx>>>);

/// Takes a connection out of the table when it goes.
#[derive(Debug)]
pub(crate) struct Registration {
    links: Links,
    connection_id: String,
}

/// An event for a connection that is not ours.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("the connection is not ours")]
pub(crate) struct Foreign;

// === impl Links ===

impl Links {
    /// Adds a connection until the registration is dropped.
    pub(crate) fn register(&self, connection_id: String, inbox: InboxTx) -> Registration {
        self.lock().insert(connection_id.clone(), inbox);
        Registration { links: self.clone(), connection_id }
    }

    /// Hands a chunk to its connection; one that does not take its bytes is given up. Cancel safe.
    pub(crate) async fn deliver(&self, budget: &Budget, data: Data<'_>) -> Result<(), Foreign> {
        let Data { connection_id, bytes } = data;
        let inbox = self.get(&connection_id).ok_or(Foreign)?;
        for _ in 0..MAX_EVICTIONS {
            match inbox.push(budget, bytes.clone()).await {
                Ok(()) | Err(NotAccepted::Gone) => return Ok(()),
                Err(NotAccepted::Crowded) => {
                    // Whoever has not moved for long goes at once, for everybody waits meanwhile.
                    self.give_up_largest_still();
                    budget.room_for(bytes.len()).await; // by then somebody is still, or the next look finds room
                }
                Err(NotAccepted::Stalled | NotAccepted::OverLimit) => break,
            }
        }
        warn!(link = connection_id.as_ref(), waiting = inbox.waiting(), "connection given up");
        inbox.give_up();
        Ok(())
    }

    /// Does something to the connection's inbox.
    pub(crate) fn with(&self, connection_id: &str, act: impl FnOnce(&InboxTx)) -> Result<(), Foreign> {
        self.get(connection_id).map(|inbox| act(&inbox)).ok_or(Foreign)
    }

    pub(crate) fn has(&self, connection_id: &str) -> bool {
        self.lock().contains_key(connection_id)
    }

    pub(crate) fn len(&self) -> usize {
        self.lock().len()
    }

    pub(crate) fn ids(&self) -> Vec<String> {
        self.lock().keys().cloned().collect()
    }

    fn get(&self, connection_id: &str) -> Option<InboxTx> {
        self.lock().get(connection_id).cloned()
    }

    /// Makes room at the cost of the connection that has most waiting and does not move, if there is one.
    fn give_up_largest_still(&self) {
        let table = self.lock();
        let still = table.iter().filter(|(_, inbox)| inbox.is_still());
        if let Some((connection_id, inbox)) = still.max_by_key(|(_, inbox)| inbox.waiting()) {
            warn!(link = connection_id, waiting = inbox.waiting(), "connection given up to make room");
            inbox.give_up();
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, InboxTx>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        self.links.lock().remove(&self.connection_id);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use bytes::Bytes;
    use tokio::time::{Instant, advance};

    use super::*;
    use crate::budget::Memory;
    use crate::budget::inbox;

    const CHUNK: usize = 16 * 1024;

    fn data(connection_id: &'static str) -> Data<'static> {
        Data { connection_id: connection_id.into(), bytes: Bytes::from(vec![1; CHUNK]) }
    }

    /// A connection that takes nothing, and goes when it is given up.
    fn still(links: &Links, budget: &Budget, connection_id: &'static str) -> tokio::task::JoinHandle<()> {
        let (inbox_tx, inbox_rx) = inbox(budget);
        let registration = links.register(connection_id.to_owned(), inbox_tx);
        tokio::spawn(async move {
            inbox_rx.given_up().cancelled().await;
            drop((registration, inbox_rx));
        })
    }

    #[tokio::test(start_paused = true)]
    async fn those_that_do_not_move_make_room_at_once_however_many_there_are() {
        const STILL_ONES: [&str; 4] = ["a", "b", "c", "d"];
        let budget = Budget::new(&Memory::new(2 * STILL_ONES.len() * CHUNK), 2 * CHUNK);
        let links = Links::default();
        let still_ones = STILL_ONES.map(|id| still(&links, &budget, id));
        for id in STILL_ONES {
            links.deliver(&budget, data(id)).await.expect("it is ours");
        }
        assert_eq!(budget.used(), STILL_ONES.len() * CHUNK, "there is no room");
        advance(Duration::from_secs(2)).await;

        let before = Instant::now();
        let _neighbours = ["e", "f"].map(|id| still(&links, &budget, id));
        for id in ["e", "f", "e", "f"] {
            links.deliver(&budget, data(id)).await.expect("it is ours");
        }
        assert_eq!(before.elapsed(), Duration::ZERO, "nobody waited");
        for ended in still_ones {
            ended.await.expect("given up");
        }
        assert_eq!(links.len(), 2, "the neighbours are there");
        assert_eq!(budget.used(), 4 * CHUNK, "with all their bytes");
    }
}
