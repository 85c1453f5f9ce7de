//! The mark by which an object's share is known at a hub.
//!
//! Vendor hubs have no idempotent creation, so a share carries its object's mark at the end of its name there: ` #` and eight
//! hexadecimal digits of the hash of the object's UID.

use std::fmt;

use sha2::{Digest, Sha256};

/// Hexadecimal digits of a mark: enough to tell the shares of one operator apart, short beside a name.
const DIGITS: usize = 8;

/// What an object is known by at a hub: eight hexadecimal digits of the SHA-256 of its UID.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Mark(String);

// === impl Mark ===

impl Mark {
    /// The mark of the object with this UID.
    #[must_use]
    pub fn of(uid: &str) -> Self {
        let digest = Sha256::digest(uid.as_bytes());
        Self(digest.iter().take(DIGITS / 2).map(|byte| format!("{byte:02x}")).collect())
    }

    /// What people call a hub's share, and the mark behind it.
    #[must_use]
    pub fn split(name: &str) -> (&str, Option<Self>) {
        let is_digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        match name.rsplit_once('#') {
            Some((friendly, digits)) if digits.len() == DIGITS && digits.bytes().all(is_digit) => {
                (friendly.trim_end(), Some(Self(digits.to_owned())))
            }
            _ => (name, None),
        }
    }

    /// The mark at the end of a hub share's name.
    #[must_use]
    pub fn in_name(name: &str) -> Option<Self> {
        Self::split(name).1
    }
}

impl fmt::Display for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_is_told_from_a_name() {
        let mark = Mark::of("4f3c9d7e-0000-4000-8000-000000000000");
        assert_eq!(Mark::split(&format!("demo #{mark}")), ("demo", Some(mark.clone())));
        assert_eq!(Mark::split(&format!("#{mark}")), ("", Some(mark)));
        for name in ["demo", "demo #12", "demo #zzzzzzzz", "demo #C07E1BC7", ""] {
            assert_eq!(Mark::split(name), (name, None));
        }
    }
}
