//! A point of wall-clock time as the hub keeps and tells it: milliseconds in the database, ISO-8601 in JSON.
//! One type, so that no `i64` is ever read as seconds.

use std::{fmt, time::Duration};

use jiff::Timestamp;
use serde::{Serialize, Serializer};

/// Milliseconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Moment(i64);

impl Moment {
    /// Later than any share: year 9999.
    pub const NEVER: Self = Self(253_402_207_200_000);

    /// The wall clock.
    pub fn now() -> Self {
        Self(Timestamp::now().as_millisecond())
    }

    pub const fn from_millis(millis: i64) -> Self {
        Self(millis)
    }

    pub const fn millis(self) -> i64 {
        self.0
    }

    /// Reads what people and our API write: `2026-12-01T18:00:00Z`, any offset.
    pub fn parse(text: &str) -> Option<Self> {
        let moment = Self(text.parse::<Timestamp>().ok()?.as_millisecond());
        (moment < Self::NEVER).then_some(moment)
    }

    pub fn after(self, duration: Duration) -> Self {
        let millis = i64::try_from(duration.as_millis()).unwrap_or(i64::MAX);
        Self(self.0.saturating_add(millis)).min(Self::NEVER)
    }

    pub fn before(self, duration: Duration) -> Self {
        let millis = i64::try_from(duration.as_millis()).unwrap_or(i64::MAX);
        Self(self.0.saturating_sub(millis))
    }

    /// How long until then; nothing when it has passed.
    pub fn until(self, then: Self) -> Duration {
        Duration::from_millis(u64::try_from(then.0.saturating_sub(self.0)).unwrap_or(0))
    }
}

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match Timestamp::from_millisecond(self.0) {
            Ok(time) => write!(f, "{}", time.strftime("%Y-%m-%dT%H:%M:%S.%3fZ")),
            Err(_) => write!(f, "{}ms", self.0),
        }
    }
}

impl Serialize for Moment {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_carry_milliseconds_and_come_back() {
        let moment = Moment::from_millis(1_796_140_428_005);
        assert_eq!(moment.to_string(), "2026-12-01T15:53:48.005Z");
        assert_eq!(Moment::parse(&moment.to_string()), Some(moment));
        assert_eq!(Moment::parse("2026-12-01T16:53:48.005+01:00"), Some(moment));
        assert_eq!(Moment::NEVER.to_string(), "9999-12-30T22:00:00.000Z");
    }

    #[test]
    fn what_is_no_date_is_refused() {
        for text in ["", "tomorrow", "2026-13-01T00:00:00Z", "99999-01-01T00:00:00Z"] {
            assert_eq!(Moment::parse(text), None, "{text}");
        }
    }
}
