//! What waits in one direction of one bridge. Bytes and their end share one queue, so an end never overtakes bytes.

use std::{
    collections::VecDeque,
    sync::{Mutex, MutexGuard, PoisonError},
};

use serde_json::value::RawValue;

use crate::{limits::EVENT_OVERHEAD, wire::Queued};

/// What a text is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Bytes of the connection, in base64 as they came.
    Data,
    /// A step of the agents' own encryption.
    Handshake,
}

/// One thing in the queue.
#[derive(Debug)]
pub enum Item {
    Text {
        kind: Kind,
        /// A JSON text, as it is said again.
        text: Box<RawValue>,
        /// On the sender's account for as long as it waits: given back when dropped.
        _queued: Queued,
    },
    /// No more bytes will come from this side.
    Fin,
    /// The sending side is gone.
    Close,
}

/// A queue, and what is known about it.
#[derive(Debug, Default)]
pub struct QueueState {
    pub items: VecDeque<Item>,
    /// What the texts in the queue weigh.
    pub weight: usize,
    /// The other end may be sent to.
    pub ready: bool,
    /// A task empties the queue.
    pub draining: bool,
    /// Nothing more is taken in.
    pub shut: bool,
    /// A [`Item::Fin`] has come out at the other end.
    pub finished: bool,
}

/// One direction.
#[derive(Debug, Default)]
pub struct Queue(Mutex<QueueState>);

// === impl Item ===

impl Item {
    pub fn weight(&self) -> usize {
        match self {
            Self::Text { text, .. } => weight(text),
            Self::Fin | Self::Close => EVENT_OVERHEAD,
        }
    }
}

// === impl Queue ===

impl Queue {
    /// No code panics while it holds this lock, so a poisoned one is as good as any.
    pub fn lock(&self) -> MutexGuard<'_, QueueState> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes nothing more in and forgets what waits.
    pub fn clear(&self) {
        let mut queue = self.lock();
        queue.shut = true;
        queue.weight = 0;
        queue.items.clear();
    }
}

/// What one event with this text costs.
pub fn weight(text: &RawValue) -> usize {
    text.get().len() + EVENT_OVERHEAD
}
