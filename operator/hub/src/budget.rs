//! Bytes that came from the hub and wait for a TCP stream: bounded per connection and over all connections.
//!
//! The recorded protocol has no flow control, so the reader of the socket decides. It hands a chunk over at once while
//! there is room. When there is none it waits for a connection that still moves, because then the hub is pushed back
//! and nothing is lost. Everybody waits with it, so a connection that does not move at all is given up, and so is one that
//! moves so slowly that it has held everybody up for [`inbox::HELD_LIMIT`]: it loses itself only.

mod inbox;
mod memory;

use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::time::timeout;

pub(crate) use self::inbox::{InboxRx, InboxTx, Item, NotAccepted, inbox};
pub use self::memory::Memory;
use self::memory::Portion;

/// A connection with bytes waiting that took none for this long does not move.
const STILL: Duration = Duration::from_secs(1);

/// What a chunk costs at least, so that a flood of single bytes is bounded too.
const MIN_CHARGE: usize = 256;

/// Bounds that hold whatever the hub or a Service does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Connections open or being opened at once; further dials are refused.
    pub connections: usize,
    /// Bytes from the hub that wait for one Service.
    pub link_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { connections: 16_384, link_bytes: 4 * 1024 * 1024 }
    }
}

/// The bytes that may wait over all connections of one tunnel.
#[derive(Clone, Debug)]
pub(crate) struct Budget {
    all: Portion,
    link_bytes: usize,
}

// === impl Budget ===

impl Budget {
    /// At most `link_bytes` for one connection, and for all what the memory allows.
    pub(crate) fn new(memory: &Memory, link_bytes: usize) -> Self {
        let all = memory.portion();
        let most = all.most().clamp(MIN_CHARGE, Semaphore::MAX_PERMITS);
        Self { link_bytes: link_bytes.clamp(MIN_CHARGE, most), all }
    }

    /// Waits until there is room for a chunk of so many bytes, or nobody has made any for as long as it takes a connection to
    /// be still.
    pub(crate) async fn room_for(&self, bytes: usize) {
        let _ = timeout(STILL, self.all.room_for(charge(bytes))).await; // the next push finds out which it was
    }

    /// Bytes waiting now.
    pub(crate) fn used(&self) -> usize {
        self.all.used()
    }
}

fn charge(bytes: usize) -> usize {
    bytes.max(MIN_CHARGE)
}
