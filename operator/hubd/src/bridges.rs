//! Bridges: one joining agent's connection through the hub to one exposing agent's service.
//!
//! Both sides know a bridge by the id that the joining one made up (end-to-end encryption is keyed by it, so the hub
//! may not change it). Every event is checked against who owns the id. A bridge lives under the terms on which it was
//! allowed, a share or the workspace, and is cut as soon as those end.

mod answer;
mod bridge;
mod cut;
mod flow;
mod queue;

pub use bridge::{Bridge, Dialled, Terms, Toward};
pub use cut::{tell_end, tell_new_end};
pub use queue::Kind;

use std::{
    collections::{HashMap, HashSet, hash_map::Entry},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use uuid::Uuid;

use crate::{
    agents::Session,
    limits::{BRIDGES_EXPOSED, BRIDGES_JOINED, BRIDGES_SHARED},
};

/// All bridges of the hub. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Bridges {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    table: Mutex<Table>,
    /// Counts what may have changed anybody's rights: see [`Bridges::generation`].
    generation: AtomicU64,
    /// Events for ids that belong to somebody else.
    foreign: AtomicU64,
    stall: Duration,
}

/// Every bridge, and how many of them somebody has.
#[derive(Debug, Default)]
struct Table {
    by_id: HashMap<Arc<str>, Arc<Bridge>>,
    /// By joining agent, all its sockets together.
    joined: Tally,
    /// By the share under whose terms they are.
    shared: Tally,
}

/// Counts by id; who has none is not in it.
#[derive(Debug, Default)]
struct Tally(HashMap<Uuid, usize>);

/// Why a bridge was not begun.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// Somebody has a bridge of that id.
    IdTaken,
    /// The agent has as many as it may.
    TooMany,
}

/// What an end has cut off.
#[derive(Debug, Default)]
pub struct Cut {
    /// Connections.
    pub connections: usize,
    /// Whose they were.
    pub joiners: HashSet<Uuid>,
}

// === impl Cut ===

impl Cut {
    /// Counts a bridge that is about to be cut. Those of the hub itself, which only checks, are nobody's.
    fn count(&mut self, bridge: &Bridge) {
        if let Some(joiner) = &bridge.joiner {
            self.connections += 1;
            self.joiners.insert(joiner.agent);
        }
    }
}

// === impl Bridges ===

impl Bridges {
    pub fn new(stall: Duration) -> Self {
        let inner = Inner {
            table: Mutex::default(),
            generation: AtomicU64::new(0),
            foreign: AtomicU64::new(0),
            stall,
        };
        Self { inner: Arc::new(inner) }
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.lock().by_id.len()
    }

    /// How many connections every agent has under every share.
    pub fn by_share(&self) -> HashMap<(Uuid, Uuid), usize> {
        let mut counts = HashMap::new();
        for bridge in self.lock().by_id.values() {
            if let (Some(share), Some(joiner)) = (bridge.share(), &bridge.joiner) {
                *counts.entry((share, joiner.agent)).or_default() += 1;
            }
        }
        counts
    }

    /// How many events named a bridge of somebody else.
    pub fn foreign_events(&self) -> u64 {
        self.inner.foreign.load(Ordering::Relaxed)
    }

    /// Adds a bridge, unless its id is taken or its agent has too many.
    pub fn insert(&self, bridge: &Arc<Bridge>) -> Result<(), Refusal> {
        let Table { by_id, joined, shared: _ } = &mut *self.lock();
        let Entry::Vacant(place) = by_id.entry(bridge.id.clone()) else { return Err(Refusal::IdTaken) };
        if let Some(joiner) = &bridge.joiner
            && !joined.add(joiner.agent, BRIDGES_JOINED)
        {
            return Err(Refusal::TooMany);
        }
        place.insert(bridge.clone());
        Ok(())
    }

    /// Sets who serves a bridge and under which terms; false when that agent or the share has too many, or the bridge is gone.
    pub fn agree(&self, bridge: &Arc<Bridge>, terms: Terms) -> bool {
        if terms.exposer.exposing.fetch_add(1, Ordering::AcqRel) >= BRIDGES_EXPOSED {
            terms.exposer.exposing.fetch_sub(1, Ordering::AcqRel);
            return false;
        }
        if let Some((share, _)) = terms.share
            && !self.lock().shared.add(share, BRIDGES_SHARED)
        {
            terms.exposer.exposing.fetch_sub(1, Ordering::AcqRel);
            return false;
        }
        if let Some(before) = bridge.set_terms(Some(terms)) {
            self.forget_terms(&before);
        }
        if bridge.is_closed() {
            self.release_terms(bridge); // removed meanwhile, perhaps before it had terms
            return false;
        }
        true
    }

    /// Forgets a bridge; false when that has been done.
    pub fn remove(&self, bridge: &Arc<Bridge>) -> bool {
        if !bridge.close() {
            return false;
        }
        let mut table = self.lock();
        table.by_id.remove(&bridge.id);
        if let Some(joiner) = &bridge.joiner {
            table.joined.take(joiner.agent);
        }
        drop(table);
        self.release_terms(bridge);
        bridge.clear_queues();
        bridge.cut.cancel();
        true
    }

    fn release_terms(&self, bridge: &Bridge) {
        if let Some(terms) = bridge.set_terms(None) {
            self.forget_terms(&terms);
        }
    }

    fn forget_terms(&self, terms: &Terms) {
        terms.exposer.exposing.fetch_sub(1, Ordering::AcqRel);
        if let Some((share, _)) = terms.share {
            self.lock().shared.take(share);
        }
    }

    /// The bridge of this id if `session` is the side that sends in this direction. An id that is not known is a bridge
    /// that has just ended; one that belongs to others is counted.
    pub fn sent_by(&self, session: &Arc<Session>, toward: Toward, id: &str) -> Option<Arc<Bridge>> {
        let bridge = self.lock().by_id.get(id).cloned()?;
        if !bridge.by_data && bridge.sender(toward).is_some_and(|sender| Arc::ptr_eq(&sender, session)) {
            return Some(bridge);
        }
        self.inner.foreign.fetch_add(1, Ordering::Relaxed);
        tracing::debug!(agent = %session.agent, "an event for somebody else's bridge was ignored");
        None
    }

    /// In which direction `session` sends over the bridge of this id.
    pub fn direction_from(&self, session: &Arc<Session>, id: &str) -> Option<Toward> {
        let bridge = self.lock().by_id.get(id).filter(|bridge| !bridge.by_data).cloned()?;
        [Toward::Exposer, Toward::Joiner]
            .into_iter()
            .find(|toward| bridge.sender(*toward).is_some_and(|sender| Arc::ptr_eq(&sender, session)))
    }

    /// Grows, before anybody looks for bridges to cut, whenever rights may have shrunk. Whoever reads it, then asks for
    /// rights, then sets the terms, and finds it unchanged, has a bridge that either is allowed or will be cut.
    pub fn generation(&self) -> u64 {
        self.inner.generation.load(Ordering::SeqCst)
    }

    fn rights_changed(&self) {
        self.inner.generation.fetch_add(1, Ordering::SeqCst);
    }

    fn matching(&self, wanted: impl Fn(&Bridge) -> bool) -> Vec<Arc<Bridge>> {
        self.lock().by_id.values().filter(|bridge| wanted(bridge)).cloned().collect()
    }

    /// No code panics while it holds this lock, so a poisoned one is as good as any.
    fn lock(&self) -> MutexGuard<'_, Table> {
        self.inner.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Tally ===

impl Tally {
    /// One more, unless there are as many as may be.
    fn add(&mut self, id: Uuid, most: usize) -> bool {
        let count = self.0.entry(id).or_default();
        if *count >= most {
            return false;
        }
        *count += 1;
        true
    }

    /// One less.
    fn take(&mut self, id: Uuid) {
        if let Entry::Occupied(mut count) = self.0.entry(id) {
            *count.get_mut() -= 1;
            if *count.get() == 0 {
                count.remove();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tally_counts_by_id_and_forgets_who_has_none() {
        let (mut tally, [a, b]) = (Tally::default(), [Uuid::new_v4(), Uuid::new_v4()]);
        assert!(tally.add(a, 2) && tally.add(a, 2) && tally.add(b, 2));
        assert!(!tally.add(a, 2), "as many as may be");
        tally.take(a);
        assert!(tally.add(a, 2));
        for id in [a, a, a, b] {
            tally.take(id); // once more than there are
        }
        assert!(tally.0.is_empty());
        assert!(!tally.add(a, 0) && tally.0.len() <= 1);
    }
}
