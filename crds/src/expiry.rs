//! How long a share lives: parsing of `24h` and `7d`, and the instant a share ends.

use std::fmt;
use std::str::FromStr;

use jiff::{SignedDuration, Timestamp};

/// Life of a share whose spec names neither `expires` nor `expirationTime`, in hours (the page: "24h (default)").
pub const DEFAULT_EXPIRY_HOURS: u32 = 24;

/// The most digits of a duration, also leading zeros: the definition's rules take no more.
pub const MAX_EXPIRY_DIGITS: usize = 5;

/// The greatest number that so many digits say, of hours or of days.
const MAX_COUNT: u32 = 99_999;

/// Longest duration, in hours: 99,999 days.
pub const MAX_EXPIRY_HOURS: u32 = MAX_COUNT * HOURS_PER_DAY;

const HOURS_PER_DAY: u32 = 24;

/// A share's duration, a whole number of hours or days that `expires` can say in at most [`MAX_EXPIRY_DIGITS`] digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Expiry {
    hours: u32,
}

/// The text is not a duration such as `1h` or `7d`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("Invalid expires format. Use: 1h, 4h, 24h, 7d, etc.")]
pub struct InvalidExpiry;

impl Expiry {
    /// So many hours.
    ///
    /// # Errors
    /// There are none, or more than `expires` can say: beyond 99,999 only whole days, and at most
    /// [`MAX_EXPIRY_HOURS`].
    pub fn from_hours(hours: u32) -> Result<Self, InvalidExpiry> {
        let can_be_said = match hours {
            0 => false,
            1..=MAX_COUNT => true,
            _ => hours.is_multiple_of(HOURS_PER_DAY) && hours <= MAX_EXPIRY_HOURS,
        };
        if can_be_said { Ok(Self { hours }) } else { Err(InvalidExpiry) }
    }

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
            [.., b'd'] => (&text[..text.len() - 1], HOURS_PER_DAY),
            _ => return Err(InvalidExpiry),
        };
        // `u32::from_str` alone would accept a leading plus sign.
        let are_digits = digits.bytes().all(|byte| byte.is_ascii_digit());
        if digits.is_empty() || digits.len() > MAX_EXPIRY_DIGITS || !are_digits {
            return Err(InvalidExpiry);
        }
        let count: u32 = digits.parse().map_err(|_| InvalidExpiry)?;
        Self::from_hours(count * unit)
    }
}

impl fmt::Display for Expiry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.hours.is_multiple_of(HOURS_PER_DAY) && self.hours > HOURS_PER_DAY {
            write!(f, "{}d", self.hours / HOURS_PER_DAY)
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
            "100000h",
            "2399976h",
            "000001h",
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
        fn what_is_printed_reads_back(hours in 0..=MAX_EXPIRY_HOURS + 100) {
            let Ok(expiry) = Expiry::from_hours(hours) else {
                prop_assert!(hours == 0 || hours > MAX_COUNT, "{hours}");
                return Ok(());
            };
            prop_assert_eq!(expiry.hours(), hours);
            prop_assert_eq!(expiry.to_string().parse::<Expiry>(), Ok(expiry));
        }

        #[test]
        fn the_end_is_after_the_start(hours in 1..=MAX_COUNT, start in 0i64..4_000_000_000) {
            let expiry: Expiry = format!("{hours}h").parse().expect("whole hours in range are valid");
            let start = Timestamp::from_second(start).expect("a date before 2100");
            prop_assert_eq!(expiry.after(start).duration_since(start), expiry.duration());
        }
    }
}
