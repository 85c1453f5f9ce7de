//! The bytes from hubs that may wait in this process for their Services, over all hubs.
//!
//! Each hub may have as much waiting as is still free: alone at most half, with another one at most a third each, and so
//! on. So the sum is bounded whatever hubs do, and one that floods finds itself at its limit while there is room for the
//! others. Switches share their buffers among ports like this (Choudhury and Hahne, "Dynamic queue length thresholds", 1998).

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::Notify;

/// What one hub may have waiting by default, when it is alone: a WebSocket's fast line for a third of a second, or a dozen
/// connections whose Service has just stopped reading.
const ALONE_BYTES: usize = 48 * 1024 * 1024;

/// Room for bytes that wait. Clones share it; each tunnel of a process gets one.
#[derive(Clone, Debug)]
pub struct Memory(Arc<Pool>);

#[derive(Debug)]
struct Pool {
    bytes: usize,
    used: AtomicUsize,
    /// Whoever gives room back --there is some--> readers of sockets.
    freed: Notify,
}

/// What one tunnel takes of the memory.
#[derive(Clone, Debug)]
pub(super) struct Portion {
    pool: Arc<Pool>,
    own: Arc<AtomicUsize>,
}

/// Room taken; given back when dropped.
#[derive(Debug)]
pub(super) struct Taken {
    portion: Portion,
    bytes: usize,
}

// === impl Memory ===

impl Memory {
    /// Room for so many bytes over all tunnels that get this; each may use as much as it leaves free, so one alone half.
    /// With what the allocator and frames on their way add, a process takes about an eighth more.
    pub fn new(bytes: usize) -> Self {
        Self(Arc::new(Pool { bytes, used: AtomicUsize::new(0), freed: Notify::new() }))
    }

    /// All of it, in bytes.
    pub fn bytes(&self) -> usize {
        self.0.bytes
    }

    /// What is taken of it now, in bytes; never more than [`Self::bytes`].
    pub fn used(&self) -> usize {
        self.0.used.load(Ordering::Acquire)
    }

    pub(super) fn portion(&self) -> Portion {
        Portion { pool: Arc::clone(&self.0), own: Arc::default() }
    }
}

impl Default for Memory {
    /// 96 MiB.
    fn default() -> Self {
        Self::new(2 * ALONE_BYTES)
    }
}

// === impl Portion ===

impl Portion {
    /// Takes room, if there is some.
    pub(super) fn take(&self, bytes: usize) -> Option<Taken> {
        let Self { pool, own } = self;
        let fits = |used: usize| {
            let used = used.checked_add(bytes)?;
            let free = pool.bytes.checked_sub(used)?;
            (own.load(Ordering::Acquire) + bytes <= free).then_some(used)
        };
        pool.used.fetch_update(Ordering::AcqRel, Ordering::Acquire, fits).ok()?;
        own.fetch_add(bytes, Ordering::AcqRel);
        Some(Taken { portion: self.clone(), bytes })
    }

    /// Waits until there is room, without taking it. Cancel safe.
    pub(super) async fn room_for(&self, bytes: usize) {
        loop {
            let freed = self.pool.freed.notified();
            if self.take(bytes).is_some() {
                return;
            }
            freed.await;
        }
    }

    /// The most that this may have alone.
    pub(super) fn most(&self) -> usize {
        self.pool.bytes / 2
    }

    /// What is taken now.
    pub(super) fn used(&self) -> usize {
        self.own.load(Ordering::Acquire)
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        let Self { portion: Portion { pool, own }, bytes } = self;
        own.fetch_sub(*bytes, Ordering::AcqRel);
        pool.used.fetch_sub(*bytes, Ordering::AcqRel);
        pool.freed.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(portion: &Portion) -> Vec<Taken> {
        std::iter::from_fn(|| portion.take(1)).collect()
    }

    #[test]
    fn each_has_as_much_as_it_leaves_free_and_there_is_always_room_for_one_more() {
        let memory = Memory::new(120);
        let portions = [memory.portion(), memory.portion(), memory.portion()];
        let first = all(&portions[0]);
        assert_eq!(first.len(), 60, "alone it has half");
        let second = all(&portions[1]);
        assert_eq!(second.len(), 30, "half of what was free");
        assert!(!all(&portions[2]).is_empty(), "and there is some left");
        assert!(memory.used() < memory.bytes());

        drop((first, second));
        assert_eq!(memory.used(), 0);
        let (mut one, mut two) = (Vec::new(), Vec::new());
        for _ in 0..120 {
            one.extend(portions[0].take(1));
            two.extend(portions[1].take(1));
        }
        assert_eq!((one.len(), two.len()), (40, 40), "a third each");
    }

    #[tokio::test]
    async fn whoever_waits_is_woken_by_room_that_another_hub_gives_back() {
        let memory = Memory::new(120);
        let (hub, other) = (memory.portion(), memory.portion());
        let held = all(&other);
        let mine = all(&hub);
        let mut room = std::pin::pin!(hub.room_for(1));
        assert!(futures::poll!(&mut room).is_pending());
        drop(held);
        room.await;
        drop(mine);
        assert_eq!(memory.used(), 0, "room that was waited for is not taken");
    }
}
