//! Durations as kubectl's flags take them: `30s`, `2m`, `1h`, `1m30s`, `500ms`, or a bare number of seconds.

use std::time::Duration;

/// Longest wait that can be asked for. kubectl's `0` means no limit; here it means this much, because nothing waits for
/// ever on a peer.
const MAX_WAIT: Duration = Duration::from_secs(60 * 60);

/// Units, the longer names first where one is the start of another.
const UNITS: [(&str, u64); 4] = [("ms", 1), ("h", 3_600_000), ("m", 60_000), ("s", 1_000)];

/// Reads a duration; `None` when the text is none. Longer ones are cut to [`MAX_WAIT`].
pub fn parse(text: &str) -> Option<Duration> {
    let milliseconds = match text.parse::<u64>() {
        Ok(seconds) if is_digits(text) => seconds.saturating_mul(1_000),
        _ => sum(text)?,
    };
    let duration = Duration::from_millis(milliseconds);
    Some(if duration.is_zero() { MAX_WAIT } else { duration.min(MAX_WAIT) })
}

/// Writes a duration in the largest unit that fits: `1m`, `90s`, `500ms`.
pub fn print(duration: Duration) -> String {
    let milliseconds = duration.as_millis();
    [("h", 3_600_000), ("m", 60_000), ("s", 1_000)]
        .into_iter()
        .find(|(_, size)| milliseconds >= *size && milliseconds.is_multiple_of(*size))
        .map_or_else(|| format!("{milliseconds}ms"), |(unit, size)| format!("{}{unit}", milliseconds / size))
}

fn sum(text: &str) -> Option<u64> {
    let mut rest = text;
    let mut total: u64 = 0;
    while !rest.is_empty() {
        let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let count: u64 = rest[..digits].parse().ok()?;
        rest = &rest[digits..];
        let (unit, size) = UNITS.into_iter().find(|(unit, _)| rest.starts_with(unit))?;
        rest = &rest[unit.len()..];
        total = total.checked_add(count.checked_mul(size)?)?;
    }
    (!text.is_empty()).then_some(total)
}

fn is_digits(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn kubectl_s_forms_are_understood() {
        for (text, milliseconds) in [
            ("5", 5_000),
            ("5s", 5_000),
            ("1m30s", 90_000),
            ("2m", 120_000),
            ("500ms", 500),
            ("1h", 3_600_000),
            ("0", 3_600_000),
            ("0s", 3_600_000),
            ("100h", 3_600_000),
        ] {
            assert_eq!(parse(text), Some(Duration::from_millis(milliseconds)), "{text}");
        }
    }

    #[test]
    fn anything_else_is_refused() {
        for text in
            ["", "s", "soon", "-1s", "+5", "1.5s", "5 s", "5sm", "5x", "99999999999999999999s", "1d", "५s"]
        {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn never_panics(text in ".{0,12}") {
            let _ = parse(&text);
        }

        #[test]
        fn what_is_printed_reads_back(milliseconds in 1u64..=3_600_000) {
            let duration = Duration::from_millis(milliseconds);
            prop_assert_eq!(parse(&print(duration)), Some(duration));
        }
    }
}
