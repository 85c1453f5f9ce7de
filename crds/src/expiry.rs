//! How long a share lives: parsing of `24h` and `7d`, and the instant a share ends.

use std::fmt;
use std::str::FromStr;

use jiff::{SignedDuration, Timestamp};

/// Life of a share whose spec names neither `expires` nor `expirationTime`, in hours (the page: "24h (default)").
pub const DEFAULT_EXPIRY_HOURS: u32 = 24;

/// Longest duration accepted, in hours: 99,999 days, the longest that the schema's six characters can say.
pub const MAX_EXPIRY_HOURS: u32 = 99_999 * 24;

/// A share's duration, a whole number of hours or days.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Expiry {
    hours: u32,
}

/// The text is not a duration such as `1h` or `7d`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("Invalid expires format. Use: 1h, 4h, 24h, 7d, etc.")]
pub struct InvalidExpiry;

impl Expiry {
    /// The duration in hours, at least 1.
    pub fn hours(self) -> u32 {
        self.hours
    }

    /// The duration.
    pub fn duration(self) -> SignedDuration {
        SignedDuration::from_hours(i64::from(self.hours))
    }

    /// The instant this much after `start`, or the end of the calendar when that comes first.
    pub fn after(self, start: Timestamp) -> Timestamp {
        start.checked_add(self.duration()).unwrap_or(Timestamp::MAX)
    }
}

impl Default for Expiry {
    fn default() -> Self {
        Self { hours: DEFAULT_EXPIRY_HOURS }
    }
}

impl FromStr for Expiry {
    type Err = InvalidExpiry;

    fn from_str(text: &str) -> Result<Self, InvalidExpiry> {
        let (digits, unit) = match text.as_bytes() {
            [.., b'h'] => (&text[..text.len() - 1], 1),
            [.., b'd'] => (&text[..text.len() - 1], 24),
            _ => return Err(InvalidExpiry),
        };
        // `u32::from_str` alone would accept a leading plus sign.
        if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(InvalidExpiry);
        }
        let count: u32 = digits.parse().map_err(|_| InvalidExpiry)?;
        let hours = count.checked_mul(unit).ok_or(InvalidExpiry)?;
        if hours == 0 || hours > MAX_EXPIRY_HOURS {
            return Err(InvalidExpiry);
        }
        Ok(Self { hours })
    }
}

impl fmt::Display for Expiry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.hours.is_multiple_of(24) && self.hours > 24 {
            write!(f, "{}d", self.hours / 24)
        } else {
            write!(f, "{}h", self.hours)
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_pages_examples() {
        for (text, hours) in [("1h", 1), ("4h", 4), ("24h", 24), ("7d", 168), ("14d", 336)] {
            assert_eq!(text.parse::<Expiry>().map(Expiry::hours), Ok(hours), "{text}");
        }
    }

    #[test]
    fn anything_else_is_refused() {
        for text in [
            "2weeks",
            "",
            "h",
            "d",
            "0h",
            "0d",
            "-1h",
            "+1h",
            "1.5h",
            "1H",
            " 1h",
            "1h ",
            "99999999999h",
            "9999999d",
            "1m",
            "never",
            "1ħ",
        ] {
            assert_eq!(text.parse::<Expiry>(), Err(InvalidExpiry), "{text}");
        }
    }

    proptest! {
        #[test]
        fn never_panics(text in ".{0,12}") {
            let _ = text.parse::<Expiry>();
        }

        #[test]
        fn what_is_printed_reads_back(hours in 1..=MAX_EXPIRY_HOURS) {
            let expiry: Expiry = format!("{hours}h").parse().expect("whole hours in range are valid");
            prop_assert_eq!(expiry.to_string().parse::<Expiry>(), Ok(expiry));
        }

        #[test]
        fn the_end_is_after_the_start(hours in 1..=MAX_EXPIRY_HOURS, start in 0i64..4_000_000_000) {
            let expiry: Expiry = format!("{hours}h").parse().expect("whole hours in range are valid");
            let start = Timestamp::from_second(start).expect("a date before 2100");
            prop_assert_eq!(expiry.after(start).duration_since(start), expiry.duration());
        }
    }
}
