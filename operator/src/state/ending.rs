//! Whether the only namespace of a scope is being deleted.

use std::sync::atomic::{AtomicBool, Ordering};

/// Whether the scope's namespace is being deleted.
#[derive(Debug, Default)]
pub struct Ending(AtomicBool);

impl Ending {
    /// Whether nothing may be begun any more.
    pub fn has_begun(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }

    /// Begins it; `false` when it has begun already.
    pub fn begin(&self) -> bool {
        !self.0.swap(true, Ordering::AcqRel)
    }

    /// The namespace is there, perhaps as one of the same name.
    pub fn cancel(&self) {
        self.0.store(false, Ordering::Release);
    }
}
