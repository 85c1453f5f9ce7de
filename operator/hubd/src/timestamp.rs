//! A point of wall-clock time as the hub keeps and tells it: milliseconds in the database, ISO-8601 in JSON.
//! One type, so that no `i64` is ever read as seconds.

use std::{fmt, time::Duration};

use jiff::Timestamp as JiffTimestamp;
use serde::{Serialize, Serializer};

/// Milliseconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

impl Timestamp {
    /// Later than any share: year 9999.
    pub const NEVER: Self = Self(253_402_207_200_000);

    /// The wall clock.
    pub fn now() -> Self {
        Self(JiffTimestamp::now().as_millisecond())
    }

    pub const fn from_millis(millis: i64) -> Self {
        Self(millis)
    }

    pub const fn millis(self) -> i64 {
        self.0
    }

    /// Reads what people and our API write: `2026-12-01T18:00:00Z`, any offset.
    pub fn parse(text: &str) -> Option<Self> {
        let timestamp = Self(text.parse::<JiffTimestamp>().ok()?.as_millisecond());
        (timestamp < Self::NEVER).then_some(timestamp)
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

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match JiffTimestamp::from_millisecond(self.0) {
            Ok(time) => write!(f, "{}", time.strftime("%Y-%m-%dT%H:%M:%S.%3fZ")),
            Err(_) => write!(f, "{}ms", self.0),
        }
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_carry_milliseconds_and_come_back() {
        let timestamp = Timestamp::from_millis(1_796_140_428_005);
        assert_eq!(timestamp.to_string(), "2026-12-01T15:53:48.005Z");
        assert_eq!(Timestamp::parse(&timestamp.to_string()), Some(timestamp));
        assert_eq!(Timestamp::parse("2026-12-01T16:53:48.005+01:00"), Some(timestamp));
        assert_eq!(Timestamp::NEVER.to_string(), "9999-12-30T22:00:00.000Z");
    }

    #[test]
    fn what_is_no_date_is_refused() {
        for text in ["", "tomorrow", "2026-13-01T00:00:00Z", "99999-01-01T00:00:00Z"] {
            assert_eq!(Timestamp::parse(text), None, "{text}");
        }
    }
}
