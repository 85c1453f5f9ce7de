//! When shares end: which is next, and which are due. A plain structure without a clock, so it can be tested to death.
//!
//! An end is an instant of the wall clock, and it is kept as one: a step of that clock moves the distance to every end
//! at once, but neither their order nor their keys. Waiting is done by the monotonic clock, by the one task in
//! `routes`, which looks at the wall clock again at least every half second.

use std::collections::{BTreeSet, HashMap};

use jiff::Timestamp;

use super::ShareKey;

/// The ends of all live shares, ordered by time.
#[derive(Debug, Default)]
pub(super) struct Expirations {
    by_time: BTreeSet<(Timestamp, ShareKey)>,
    by_share: HashMap<ShareKey, Timestamp>,
}

impl Expirations {
    /// Sets or moves the end of a share.
    pub(super) fn arm(&mut self, share: &ShareKey, at: Timestamp) {
        self.disarm(share);
        self.by_share.insert(share.clone(), at);
        self.by_time.insert((at, share.clone()));
    }

    /// Forgets the end of a share.
    pub(super) fn disarm(&mut self, share: &ShareKey) {
        if let Some(at) = self.by_share.remove(share) {
            self.by_time.remove(&(at, share.clone()));
        }
    }

    /// The instant of the next end.
    pub(super) fn next(&self) -> Option<Timestamp> {
        self.by_time.first().map(|(at, _)| *at)
    }

    /// Takes out every share whose end is not after `now`, earliest first.
    pub(super) fn take_due(&mut self, now: Timestamp) -> Vec<ShareKey> {
        let mut due = Vec::new();
        while let Some((at, _)) = self.by_time.first() {
            if *at > now {
                break;
            }
            let Some((_, share)) = self.by_time.pop_first() else { break };
            self.by_share.remove(&share);
            due.push(share);
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[derive(Clone, Debug)]
    enum Step {
        Arm(u8, i64),
        Disarm(u8),
        Due(i64),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            (0u8..8, 0i64..50).prop_map(|(share, at)| Step::Arm(share, at)),
            (0u8..8).prop_map(Step::Disarm),
            (0i64..50).prop_map(Step::Due),
        ]
    }

    fn key(share: u8) -> ShareKey {
        ShareKey(format!("share-{share}"))
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).expect("in range")
    }

    proptest! {
        /// The same steps on a plain list that is searched from end to end.
        #[test]
        fn it_behaves_like_a_plain_list(steps in proptest::collection::vec(step(), 0..200)) {
            let mut expirations = Expirations::default();
            let mut list: Vec<(i64, u8)> = Vec::new();
            for step in steps {
                match step {
                    Step::Arm(share, second) => {
                        expirations.arm(&key(share), at(second));
                        list.retain(|(_, other)| *other != share);
                        list.push((second, share));
                    }
                    Step::Disarm(share) => {
                        expirations.disarm(&key(share));
                        list.retain(|(_, other)| *other != share);
                    }
                    Step::Due(now) => {
                        let due = expirations.take_due(at(now));
                        list.sort_unstable();
                        let expected: Vec<ShareKey> =
                            list.iter().filter(|(end, _)| *end <= now).map(|(_, share)| key(*share)).collect();
                        list.retain(|(end, _)| *end > now);
                        prop_assert_eq!(due, expected);
                    }
                }
                prop_assert_eq!(expirations.next(), list.iter().map(|(end, _)| at(*end)).min());
                prop_assert_eq!(expirations.by_time.len(), expirations.by_share.len());
            }
        }
    }
}
