//! Who waits for which answer.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

/// The receiving end of all answers: when it goes, nobody waits for one any longer.
pub(super) struct AnsweredHere(pub(super) Arc<Acks>);

#[derive(Debug, Default)]
pub(super) struct Acks {
    next: AtomicU64,
    /// Reader --arguments of the answer--> whoever called.
    waiting: Mutex<HashMap<u64, oneshot::Sender<String>>>,
}

/// Takes the entry of a call out of the table, also when the caller stopped waiting.
pub(super) struct Waiting<'a> {
    acks: &'a Acks,
    pub(super) id: u64,
}

// === impl Acks ===

impl Acks {
    pub(super) fn expect(&self, answer_tx: oneshot::Sender<String>) -> Waiting<'_> {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        self.lock().insert(id, answer_tx);
        Waiting { acks: self, id }
    }

    pub(super) fn settle(&self, id: u64, args: &str) {
        if let Some(answer_tx) = self.lock().remove(&id) {
            let _ = answer_tx.send(args.to_owned()); // the caller may have stopped waiting
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<u64, oneshot::Sender<String>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for AnsweredHere {
    fn drop(&mut self) {
        self.0.lock().clear();
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.acks.lock().remove(&self.id);
    }
}
