//! What many noisy measurements say together: medians, ranges, percentiles, ratios of pairs, and when a run says nothing.
//!
//! Two figures that were taken in different minutes of a busy machine cannot be compared. Every round therefore measures
//! all paths one after the other, and only figures of the same round are divided by each other.

use std::collections::BTreeMap;

/// A run in which plain loopback itself varied by more than this says nothing about anything that runs over it.
pub const VOID_VARIATION: f64 = 1.5;

/// The middle of some values and how far they lie apart.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spread {
    /// Half of the values are above, half below.
    pub median: f64,
    /// The lowest.
    pub min: f64,
    /// The highest.
    pub max: f64,
}

/// One quantity of one path, such as the 99th percentile of its round trips.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Quantity {
    /// Which path.
    pub path: &'static str,
    /// What was measured on it.
    pub what: &'static str,
}

/// All rounds of one run: the same quantities in each, taken side by side.
#[derive(Clone, Debug, Default)]
pub struct Rounds {
    raw: Vec<f64>,
    taken: BTreeMap<Quantity, Vec<f64>>,
}

// === impl Spread ===

impl Spread {
    /// Of these values; none when there is none.
    pub fn of(values: &[f64]) -> Option<Self> {
        let sorted = sorted(values);
        let (min, max) = (*sorted.first()?, *sorted.last()?);
        let middle = sorted.len() / 2;
        let median = if sorted.len() % 2 == 1 {
            sorted[middle]
        } else {
            f64::midpoint(sorted[middle - 1], sorted[middle])
        };
        Some(Self { median, min, max })
    }

    /// A value that was taken once.
    pub fn once(value: f64) -> Self {
        Self { median: value, min: value, max: value }
    }

    /// The highest as a multiple of the lowest.
    pub fn variation(&self) -> f64 {
        if self.min > 0.0 { self.max / self.min } else { f64::INFINITY }
    }
}

/// The value that `share` of all values do not exceed: 0.5 is the median, 0.99 the 99th percentile.
pub fn percentile(values: &[f64], share: f64) -> Option<f64> {
    let sorted = sorted(values);
    let rank = (share * sorted.len() as f64).ceil() as usize;
    sorted.get(rank.clamp(1, sorted.len().max(1)) - 1).copied()
}

fn sorted(values: &[f64]) -> Vec<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted
}

// === impl Rounds ===

impl Rounds {
    /// Adds what plain loopback gave in a new round.
    pub fn raw(&mut self, value: f64) {
        self.raw.push(value);
    }

    /// Adds what a path gave in the present round.
    pub fn took(&mut self, path: &'static str, what: &'static str, value: f64) {
        self.taken.entry(Quantity { path, what }).or_default().push(value);
    }

    /// How many rounds there were.
    pub fn count(&self) -> usize {
        self.raw.len()
    }

    /// What plain loopback gave.
    pub fn raw_spread(&self) -> Option<Spread> {
        Spread::of(&self.raw)
    }

    /// What a path gave.
    pub fn spread(&self, path: &'static str, what: &'static str) -> Option<Spread> {
        Spread::of(self.values(path, what))
    }

    /// One path as a multiple of another, round by round.
    pub fn ratio(
        &self,
        ours: (&'static str, &'static str),
        peer: (&'static str, &'static str),
    ) -> Option<Spread> {
        let pairs = self.values(ours.0, ours.1).iter().zip(self.values(peer.0, peer.1));
        Spread::of(&pairs.map(|(ours, peer)| ours / peer).collect::<Vec<_>>())
    }

    /// How much plain loopback varied.
    pub fn variation(&self) -> f64 {
        self.raw_spread().map_or(f64::INFINITY, |raw| raw.variation())
    }

    /// Whether the run says nothing.
    pub fn is_void(&self) -> bool {
        self.variation() > VOID_VARIATION
    }

    fn values(&self, path: &'static str, what: &'static str) -> &[f64] {
        self.taken.get(&Quantity { path, what }).map_or(&[], Vec::as_slice)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle_or_between_the_two_in_the_middle() {
        let odd = Spread::of(&[3.0, 1.0, 2.0]).expect("there are values");
        assert_eq!(odd, Spread { median: 2.0, min: 1.0, max: 3.0 });
        let even = Spread::of(&[4.0, 1.0, 2.0, 3.0]).expect("there are values");
        assert_eq!(even, Spread { median: 2.5, min: 1.0, max: 4.0 });
        assert_eq!(Spread::of(&[]), None);
    }

    #[test]
    fn a_percentile_is_a_value_that_was_seen() {
        let hundred: Vec<f64> = (1..=100).rev().map(f64::from).collect();
        assert_eq!(percentile(&hundred, 0.5), Some(50.0));
        assert_eq!(percentile(&hundred, 0.99), Some(99.0));
        assert_eq!(percentile(&hundred, 1.0), Some(100.0));
        assert_eq!(percentile(&[7.0], 0.99), Some(7.0));
        assert_eq!(percentile(&[7.0], 0.0), Some(7.0));
        assert_eq!(percentile(&[], 0.5), None);
    }

    #[test]
    fn ratios_are_taken_within_a_round() {
        let mut rounds = Rounds::default();
        // The machine was twice as fast in the second round, for everybody.
        for (raw, ours, peer) in [(100.0, 40.0, 50.0), (200.0, 80.0, 100.0), (100.0, 45.0, 50.0)] {
            rounds.raw(raw);
            rounds.took("ours", "rate", ours);
            rounds.took("peer", "rate", peer);
        }
        let ratio = rounds.ratio(("ours", "rate"), ("peer", "rate")).expect("both were measured");
        assert_eq!(ratio, Spread { median: 0.8, min: 0.8, max: 0.9 });
        assert_eq!(rounds.count(), 3);
        assert_eq!(rounds.ratio(("ours", "rate"), ("nobody", "rate")), None);
    }

    #[test]
    fn a_run_is_void_when_loopback_varies_by_more_than_half() {
        let run = |values: &[f64]| {
            let mut rounds = Rounds::default();
            values.iter().for_each(|value| rounds.raw(*value));
            rounds.is_void()
        };
        assert!(!run(&[1000.0, 1500.0, 1200.0]));
        assert!(run(&[1000.0, 1501.0, 1200.0]));
        assert!(run(&[0.0, 1.0]));
        assert!(run(&[]));
    }
}
