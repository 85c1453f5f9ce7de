//! By how much the hub's clock and this machine's differ, as the `Date` of the hub's answers tells.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hyper::header::{AGE, DATE, HeaderMap};
use jiff::fmt::rfc2822;
use jiff::{SignedDuration, Timestamp};

/// A `Date` has whole seconds, cut off: the clock that wrote it was up to this much further.
const DATE_STEP: SignedDuration = SignedDuration::from_secs(1);

/// The hub's time minus this machine's, known to within an uncertainty.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClockOffset {
    /// Positive where the hub's clock is ahead of this machine's.
    pub offset: SignedDuration,
    /// The true offset is no further from `offset` than this: half a second or less, plus half of a call's round trip.
    pub uncertainty: Duration,
}

/// What the answers of one hub have told so far. Clones share it.
#[derive(Clone, Debug, Default)]
pub(super) struct Measured(Arc<Mutex<Option<Bounds>>>);

/// The offset lies between these.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Bounds {
    least: SignedDuration,
    most: SignedDuration,
}

// === impl ClockOffset ===

impl ClockOffset {
    /// What the hub's clock says when this machine's says `local`.
    pub fn hub_time(self, local: Timestamp) -> Timestamp {
        local.saturating_add(self.offset).unwrap_or(local)
    }

    /// Whether the clocks differ by more than `tolerance` for certain.
    pub fn exceeds(self, tolerance: Duration) -> bool {
        self.offset.unsigned_abs().saturating_sub(self.uncertainty) > tolerance
    }
}

// === impl Measured ===

impl Measured {
    /// What is known; `None` before the first answer with a date.
    pub(super) fn offset(&self) -> Option<ClockOffset> {
        let bounds = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        bounds.map(Bounds::middle)
    }

    /// Learns from an answer whose head came at `received` by this machine's clock, `took` after the question was sent.
    pub(super) fn learn(&self, headers: &HeaderMap, received: Timestamp, took: Duration) {
        let Some(new) = date(headers).and_then(|date| Bounds::new(date, received, took)) else { return };
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *known = Some(known.map_or(new, |known| known.narrowed(new)));
    }
}

/// When the hub made the answer; `None` for a copy that a cache kept.
fn date(headers: &HeaderMap) -> Option<Timestamp> {
    if headers.contains_key(AGE) {
        return None;
    }
    let text = headers.get(DATE)?.to_str().ok()?;
    rfc2822::DateTimeParser::new().parse_timestamp(text.trim()).ok()
}

// === impl Bounds ===

impl Bounds {
    fn new(date: Timestamp, received: Timestamp, took: Duration) -> Option<Self> {
        let least = date.duration_since(received);
        let most = least.checked_add(DATE_STEP)?.checked_add(SignedDuration::try_from(took).ok()?)?;
        Some(Self { least, most })
    }

    /// What both say. Where they contradict each other a clock has been set, and the new one is right.
    fn narrowed(self, new: Self) -> Self {
        let both = Self { least: self.least.max(new.least), most: self.most.min(new.most) };
        if both.least <= both.most { both } else { new }
    }

    fn middle(self) -> ClockOffset {
        let half = (self.most - self.least) / 2;
        ClockOffset { offset: self.least + half, uncertainty: half.unsigned_abs() }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let pairs = pairs.iter().map(|(name, value)| {
            (hyper::header::HeaderName::from_static(name), value.parse().expect("a value"))
        });
        pairs.collect()
    }

    fn at(text: &str) -> Timestamp {
        text.parse().expect("an instant")
    }

    fn learned(answers: &[(&str, &str, u64)]) -> Option<ClockOffset> {
        let measured = Measured::default();
        for (date, received, took) in answers {
            let took = Duration::from_millis(*took);
            measured.clone().learn(&headers(&[("date", date)]), at(received), took);
        }
        measured.offset()
    }

    #[test]
    fn the_offset_is_what_the_date_tells_and_no_more_certain() {
        let date = "Mon, 23 Nov 2026 12:00:00 GMT";
        for (received, took, offset, uncertainty) in [
            ("2026-11-23T12:00:00.5Z", 0, 0, 500),
            ("2026-11-23T12:00:00.5Z", 200, 100, 600),
            ("2026-11-24T13:00:00.5Z", 0, -25 * 3_600_000, 500),
            ("2026-11-22T11:00:00.5Z", 0, 25 * 3_600_000, 500),
        ] {
            let expected = ClockOffset {
                offset: SignedDuration::from_millis(offset),
                uncertainty: Duration::from_millis(uncertainty),
            };
            assert_eq!(learned(&[(date, received, took)]), Some(expected), "{received}");
            assert_eq!(expected.exceeds(Duration::from_secs(60)), offset.abs() > 60_000, "{received}");
        }
    }

    #[test]
    fn more_answers_make_it_more_certain_and_a_clock_that_was_set_is_followed() {
        let first = ("Mon, 23 Nov 2026 12:00:00 GMT", "2026-11-23T12:00:00.9Z", 0);
        let second = ("Mon, 23 Nov 2026 12:00:01 GMT", "2026-11-23T12:00:01.1Z", 0);
        let both = learned(&[first, second]).expect("known");
        assert_eq!((both.offset.as_millis(), both.uncertainty.as_millis()), (0, 100));
        let set = ("Mon, 23 Nov 2026 12:00:02 GMT", "2026-11-23T11:00:02.5Z", 0);
        let after = learned(&[first, second, set]).expect("known");
        assert_eq!((after.offset.as_secs(), after.uncertainty.as_millis()), (3600, 500));
        assert_eq!(after.hub_time(at("2026-11-23T11:00:05Z")), at("2026-11-23T12:00:05Z"));
    }

    #[test]
    fn what_is_no_date_of_the_hub_s_own_tells_nothing() {
        assert_eq!(learned(&[]), None);
        for date in ["", "now", "Mon, 23 Nov 2026"] {
            assert_eq!(learned(&[(date, "2026-11-23T12:00:00Z", 0)]), None, "{date}");
        }
        let kept = headers(&[("date", "Mon, 23 Nov 2026 12:00:00 GMT"), ("age", "0")]);
        assert_eq!(date(&kept), None);
    }

    proptest! {
        #[test]
        fn the_true_offset_is_within_the_uncertainty(
            truth in -100_000_000i64..100_000_000,
            calls in prop::collection::vec((0i64..10_000, 0i64..3_000, 0i64..3_000), 1..6),
        ) {
            let measured = Measured::default();
            let start = at("2026-11-23T12:00:00Z");
            for (sent, there, back) in calls {
                let sent = start + SignedDuration::from_millis(sent);
                let written = sent + SignedDuration::from_millis(there + truth);
                let date = Timestamp::from_second(written.as_millisecond().div_euclid(1000)).expect("in range");
                let date = date.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string();
                let received = sent + SignedDuration::from_millis(there + back);
                let took = Duration::from_millis(u64::try_from(there + back).expect("positive"));
                measured.learn(&headers(&[("date", &date)]), received, took);
            }
            let ClockOffset { offset, uncertainty } = measured.offset().expect("known");
            let error = (SignedDuration::from_millis(truth) - offset).unsigned_abs();
            prop_assert!(error <= uncertainty + Duration::from_millis(1), "{offset:?} {uncertainty:?}");
        }

        #[test]
        fn no_date_makes_it_panic(date in "\\PC*", took in any::<u64>()) {
            if let Ok(value) = date.parse() {
                let mut headers = HeaderMap::new();
                headers.insert(DATE, value);
                Measured::default().learn(&headers, Timestamp::MAX, Duration::from_millis(took));
            }
        }
    }
}
