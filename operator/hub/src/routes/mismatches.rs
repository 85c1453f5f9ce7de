//! Connections of a share whose two ends did not know the same secret: the sign of a wrong code, or of a hub that replaces keys.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use jiff::{SignedDuration, Timestamp};
use tokio::sync::broadcast;

use super::ShareKey;
use crate::clock::Clock;

/// So many within [`WITHIN`] are no slip of a person any more.
const REPEATED: usize = 5;

/// A minute: a person who has mistyped a code notices by then.
const WITHIN: SignedDuration = SignedDuration::from_secs(60);

/// What was counted of one share since its secret is what it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Mismatches {
    /// How many there were.
    pub count: u64,
    /// Whether five came within a minute at some time.
    pub repeated: bool,
}

#[derive(Debug, Default)]
pub(super) struct Counted {
    seen: Mismatches,
    /// When the newest were, oldest first; at most [`REPEATED`].
    recent: VecDeque<Timestamp>,
}

/// Rings for one share.
pub(crate) struct Alarm {
    pub(super) share: ShareKey,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) counted: Arc<Mutex<Counted>>,
    /// Connections --share with a mismatch, at the first and when they repeat--> whoever asked.
    pub(super) mismatched_tx: broadcast::Sender<ShareKey>,
}

// === impl Alarm ===

impl Alarm {
    /// One more.
    pub(super) fn ring(&self) {
        let mut counted = self.counted.lock().unwrap_or_else(PoisonError::into_inner);
        let is_news = counted.add(self.clock.now());
        drop(counted);
        if is_news {
            let _ = self.mismatched_tx.send(self.share.clone()); // nobody listening is fine
        }
    }
}

impl std::fmt::Debug for Alarm {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Alarm").field("share", &self.share).finish_non_exhaustive()
    }
}

// === impl Counted ===

impl Counted {
    pub(super) fn seen(&self) -> Mismatches {
        self.seen
    }

    /// Whether it is the first, or the one by which they repeat.
    fn add(&mut self, now: Timestamp) -> bool {
        self.seen.count += 1;
        if self.recent.len() == REPEATED {
            self.recent.pop_front();
        }
        self.recent.push_back(now);
        let oldest = self.recent.front().copied().unwrap_or(now);
        let repeats = self.recent.len() == REPEATED && now.duration_since(oldest) <= WITHIN;
        let is_news = self.seen.count == 1 || (repeats && !self.seen.repeated);
        self.seen.repeated |= repeats;
        is_news
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn five_within_a_minute_repeat_and_five_in_an_hour_do_not() {
        let at = |second: i64| Timestamp::from_second(second).expect("a date");
        let mut slow = Counted::default();
        let news: Vec<bool> = (0..8).map(|number| slow.add(at(number * 16))).collect();
        assert_eq!(news, [true, false, false, false, false, false, false, false]);
        assert_eq!(slow.seen(), Mismatches { count: 8, repeated: false });
        let news: Vec<bool> = (0..6).map(|number| slow.add(at(1000 + number * 15))).collect();
        assert_eq!(news, [false, false, false, false, true, false]);
        assert_eq!(slow.seen(), Mismatches { count: 14, repeated: true });
    }
}
