//! Buffers for one frame, lent only while there are bytes in them: a connection that rests holds none.

use std::cell::RefCell;
use std::ops::{Deref, DerefMut};

use crate::frame::{HEADER_BYTES, MAX_FRAME_BYTES};

/// One whole frame and the head of the next, so that frames of full size are read in step and never moved.
const BUFFER_BYTES: usize = MAX_FRAME_BYTES + HEADER_BYTES;

/// Buffers that one thread keeps: as many as are in use at a time between two waits, and some.
const KEPT_PER_THREAD: usize = 16;

thread_local! {
    static KEPT: RefCell<Vec<Box<[u8]>>> = const { RefCell::new(Vec::new()) };
}

/// A buffer on loan, which goes back to its thread when it is dropped.
#[derive(Debug)]
pub struct Buffer(Option<Box<[u8]>>);

// === impl Buffer ===

impl Buffer {
    /// One of those that this thread keeps, or a new one. What is in it is what its last borrower left.
    pub fn take() -> Self {
        let kept = KEPT.with_borrow_mut(Vec::pop);
        Self(Some(kept.unwrap_or_else(|| vec![0; BUFFER_BYTES].into_boxed_slice())))
    }
}

impl Deref for Buffer {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.0.as_deref().unwrap_or_default()
    }
}

impl DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut [u8] {
        self.0.as_deref_mut().unwrap_or_default()
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        let Some(buffer) = self.0.take() else { return };
        // A thread that is ending keeps nothing.
        let _ = KEPT.try_with(|kept| {
            let mut kept = kept.borrow_mut();
            if kept.len() < KEPT_PER_THREAD {
                kept.push(buffer);
            }
        });
    }
}
