//! What one route has carried.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use super::ShareKey;

/// Counters of a route, from when it was first set until it is removed.
#[derive(Debug, Default)]
pub struct Traffic {
    pub(super) open: AtomicUsize,
    pub(crate) opened: AtomicU64,
    pub(crate) bytes_in: AtomicU64,
    pub(crate) bytes_out: AtomicU64,
}

/// A route and its counters.
#[derive(Clone, Debug)]
pub struct Carried {
    /// The service's name at the hub.
    pub service: String,
    /// The share that the service is of, unless it is of several.
    pub share: Option<ShareKey>,
    /// What it has carried.
    pub traffic: Arc<Traffic>,
}

// === impl Traffic ===

impl Traffic {
    /// Connections open now, those being opened included.
    pub fn open(&self) -> usize {
        self.open.load(Ordering::Acquire)
    }

    /// Connections opened so far.
    pub fn opened(&self) -> u64 {
        self.opened.load(Ordering::Relaxed)
    }

    /// Bytes written to the Service so far.
    pub fn bytes_in(&self) -> u64 {
        self.bytes_in.load(Ordering::Relaxed)
    }

    /// Bytes read from the Service so far.
    pub fn bytes_out(&self) -> u64 {
        self.bytes_out.load(Ordering::Relaxed)
    }
}
