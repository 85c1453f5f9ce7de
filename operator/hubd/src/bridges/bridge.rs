//! One bridge: its two sides, the terms it lives under, its two queues.

use std::sync::{
    Arc, Mutex, MutexGuard, PoisonError,
    atomic::{AtomicBool, AtomicI64, Ordering},
};

use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::queue::Queue;
use crate::{agents::Session, timestamp::Timestamp};

/// A direction, by where it leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Toward {
    Exposer,
    Joiner,
}

/// Who serves a bridge, and what allows it.
#[derive(Debug, Clone)]
pub struct Terms {
    pub exposer: Arc<Session>,
    /// The share and its end. `None`: both are of one workspace.
    pub share: Option<(Uuid, Timestamp)>,
}

/// What came of a dial: `Err` holds the exposing agent's words.
pub type Dialled = Result<(), String>;

/// A connection through the hub.
#[derive(Debug)]
pub struct Bridge {
    pub id: Arc<str>,
    /// `None`: the hub itself, which only checks.
    pub joiner: Option<Arc<Session>>,
    pub service: Uuid,
    /// Set once the bridge is allowed.
    terms: Mutex<Option<Terms>>,
    /// [`Terms::share`]'s end, for a look without a lock at every chunk.
    ends_at: AtomicI64,
    /// Told once what came of the dial.
    dialled: Mutex<Option<oneshot::Sender<Dialled>>>,
    pub to_exposer: Queue,
    pub to_joiner: Queue,
    /// Carried by data connections: no event is about it.
    pub by_data: bool,
    /// Cancelled when the bridge is forgotten, for whoever relays it.
    pub cut: CancellationToken,
    closed: AtomicBool,
}

// === impl Toward ===

impl Toward {
    pub fn back(self) -> Self {
        match self {
            Self::Exposer => Self::Joiner,
            Self::Joiner => Self::Exposer,
        }
    }
}

// === impl Bridge ===

impl Bridge {
    /// A bridge over the agents' sockets; `dialled` hears what came of the dial.
    pub fn new(
        id: &str,
        joiner: Option<Arc<Session>>,
        service: Uuid,
        dialled: oneshot::Sender<Dialled>,
    ) -> Arc<Self> {
        Self::begin(id, joiner, service, Some(dialled))
    }

    /// A bridge over data connections, which dial and answer for themselves.
    pub fn over_data(id: &str, joiner: Arc<Session>, service: Uuid) -> Arc<Self> {
        Self::begin(id, Some(joiner), service, None)
    }

    fn begin(
        id: &str,
        joiner: Option<Arc<Session>>,
        service: Uuid,
        dialled: Option<oneshot::Sender<Dialled>>,
    ) -> Arc<Self> {
        Arc::new(Self {
            id: id.into(),
            joiner,
            service,
            terms: Mutex::new(None),
            ends_at: AtomicI64::new(i64::MAX),
            by_data: dialled.is_none(),
            dialled: Mutex::new(dialled),
            to_exposer: Queue::default(),
            to_joiner: Queue::default(),
            cut: CancellationToken::new(),
            closed: AtomicBool::new(false),
        })
    }

    /// One whose share is over, of which nobody was told.
    #[cfg(test)]
    pub fn past_its_end() -> Arc<Self> {
        let bridge = Self::new("late", None, Uuid::nil(), oneshot::channel().0);
        bridge.ends_at.store(0, Ordering::Release);
        bridge
    }

    pub fn queue(&self, toward: Toward) -> &Queue {
        match toward {
            Toward::Exposer => &self.to_exposer,
            Toward::Joiner => &self.to_joiner,
        }
    }

    /// Who sends in this direction.
    pub fn sender(&self, toward: Toward) -> Option<Arc<Session>> {
        self.receiver(toward.back())
    }

    /// Who receives in this direction.
    pub fn receiver(&self, toward: Toward) -> Option<Arc<Session>> {
        match toward {
            Toward::Joiner => self.joiner.clone(),
            Toward::Exposer => lock(&self.terms).as_ref().map(|terms| terms.exposer.clone()),
        }
    }

    pub fn share(&self) -> Option<Uuid> {
        lock(&self.terms).as_ref().and_then(|terms| terms.share).map(|(id, _)| id)
    }

    /// Whether this socket is one of the two sides.
    pub fn involves(&self, session: &Arc<Session>) -> bool {
        [Toward::Exposer, Toward::Joiner]
            .into_iter()
            .any(|toward| self.receiver(toward).is_some_and(|side| Arc::ptr_eq(&side, session)))
    }

    /// Sets the terms and gives back the old ones.
    pub fn set_terms(&self, terms: Option<Terms>) -> Option<Terms> {
        let mut current = lock(&self.terms);
        let end = terms.as_ref().and_then(|terms| terms.share).map_or(i64::MAX, |(_, end)| end.millis());
        self.ends_at.store(end, Ordering::Release);
        std::mem::replace(&mut *current, terms)
    }

    /// Sets when the bridge's share ends, if that is its share.
    pub fn set_end(&self, share: Uuid, end: Timestamp) {
        let mut terms = lock(&self.terms);
        if let Some((id, ends_at)) = terms.as_mut().and_then(|terms| terms.share.as_mut())
            && *id == share
        {
            *ends_at = end;
            self.ends_at.store(end.millis(), Ordering::Release);
        }
    }

    /// Whether its share's end has passed, by the wall clock, whatever any timer did.
    pub fn is_past_end(&self) -> bool {
        let end = self.ends_at.load(Ordering::Acquire);
        end != i64::MAX && end <= Timestamp::now().millis()
    }

    /// Tells what came of the dial; false when that was told before.
    pub fn answer(&self, outcome: Dialled) -> bool {
        lock(&self.dialled).take().is_some_and(|dialled| {
            let _ = dialled.send(outcome); // nobody may wait any more
            true
        })
    }

    pub fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    /// Closes; false when it was closed.
    pub fn close(&self) -> bool {
        !self.closed.swap(true, Ordering::AcqRel)
    }

    pub fn clear_queues(&self) {
        self.to_exposer.clear();
        self.to_joiner.clear();
    }
}

/// No code of ours panics while it holds one of these locks, so a poisoned one is as good as any.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
