//! When shares end: which is next, and which are due. A plain structure without a clock, so it can be tested to death.
//!
//! An end is an instant of the wall clock, and it is kept as one: a step of that clock moves the distance to every end
//! at once, but neither their order nor their keys. Waiting is done by the monotonic clock, by the one task of whoever keeps
//! the queue; it looks at the wall clock again at least every [`CLOCK_CHECK`].

use std::collections::{BTreeSet, HashMap};
use std::hash::Hash;
use std::time::Duration;

/// How often the wall clock is looked at, whatever the next end is, so that a step of the clock or a resume after suspend
/// ends shares within a second.
pub const CLOCK_CHECK: Duration = Duration::from_millis(500);

/// The ends of all live shares, ordered by time. `K` names a share, `T` is an instant of the wall clock.
#[derive(Debug)]
pub struct Expirations<K, T> {
    by_time: BTreeSet<(T, K)>,
    by_share: HashMap<K, T>,
}

// === impl Expirations ===

impl<K: Clone + Hash + Ord, T: Copy + Ord> Expirations<K, T> {
    /// Sets or moves the end of a share.
    pub fn arm(&mut self, share: &K, at: T) {
        self.disarm(share);
        self.by_share.insert(share.clone(), at);
        self.by_time.insert((at, share.clone()));
    }

    /// Forgets the end of a share.
    pub fn disarm(&mut self, share: &K) {
        if let Some((share, at)) = self.by_share.remove_entry(share) {
            self.by_time.remove(&(at, share));
        }
    }

    /// The instant of the next end.
    pub fn next(&self) -> Option<T> {
        self.by_time.first().map(|(at, _)| *at)
    }

    /// Takes out every share whose end is not after `now`, earliest first.
    pub fn take_due(&mut self, now: T) -> Vec<K> {
        let mut due = Vec::new();
        while self.next().is_some_and(|at| at <= now) {
            let Some((_, share)) = self.by_time.pop_first() else { break };
            self.by_share.remove(&share);
            due.push(share);
        }
        due
    }
}

impl<K, T> Default for Expirations<K, T> {
    fn default() -> Self {
        Self { by_time: BTreeSet::new(), by_share: HashMap::new() }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[derive(Clone, Debug)]
    enum Step {
        Arm(u8, i64),
        Disarm(u8),
        Due(i64),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            4 => (0u8..8, 0i64..50).prop_map(|(share, at)| Step::Arm(share, at)),
            1 => (0u8..8).prop_map(Step::Disarm),
            4 => (0i64..50).prop_map(Step::Due),
        ]
    }

    proptest! {
        /// The same steps on a plain list that is searched from end to end, by a clock that steps back and forth.
        #[test]
        fn it_behaves_like_a_plain_list(steps in proptest::collection::vec(step(), 0..200)) {
            let mut expirations = Expirations::default();
            let mut list: Vec<(i64, u8)> = Vec::new();
            for step in steps {
                match step {
                    Step::Arm(share, second) => {
                        expirations.arm(&share, second);
                        list.retain(|(_, other)| *other != share);
                        list.push((second, share));
                    }
                    Step::Disarm(share) => {
                        expirations.disarm(&share);
                        list.retain(|(_, other)| *other != share);
                    }
                    Step::Due(now) => {
                        let due = expirations.take_due(now);
                        list.sort_unstable();
                        let expected: Vec<u8> =
                            list.iter().filter(|(end, _)| *end <= now).map(|(_, share)| *share).collect();
                        list.retain(|(end, _)| *end > now);
                        prop_assert_eq!(due, expected);
                    }
                }
                prop_assert_eq!(expirations.next(), list.iter().map(|(end, _)| *end).min());
                prop_assert_eq!(expirations.by_time.len(), expirations.by_share.len());
            }
        }
    }
}
