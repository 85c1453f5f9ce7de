//! The instant at which a share ends, as people type it: a time of today or tomorrow, a date and time in their own zone, or
//! one that says its zone.

use jiff::civil::{DateTime, Time};
use jiff::{Timestamp, ToSpan, Zoned};

use crate::failure::{Failure, Outcome};
use crate::output;

/// Forms that are understood, for the sentence about one that is not.
const FORMS: &str = "18:00, tomorrow 18:00, 2026-12-01 18:00 or 2026-12-01T18:00:00Z";

/// Reads the instant; times without a zone are those of `now`'s.
///
/// # Errors
/// It is none of the forms, or it is past.
pub fn parse(text: &str, now: &Zoned) -> Outcome<Timestamp> {
    let wrong = |what: String| Failure::new(format!("Invalid value {text} for --until: {what}"));
    let text = text.trim();
    let is_date_only = text.parse::<jiff::civil::Date>().is_ok() && !text.contains(':');
    if is_date_only {
        return Err(wrong(format!("it has no time of day; use for example {text} 18:00")));
    }
    let end = read(text, now).ok_or_else(|| wrong(format!("use for example {FORMS}")))?;
    if end <= now.timestamp() {
        return Err(wrong(format!("{} is past", output::date(end))));
    }
    Ok(connect_crds::condition::whole_second(end))
}

fn read(text: &str, now: &Zoned) -> Option<Timestamp> {
    if let Ok(instant) = text.parse::<Timestamp>() {
        return Some(instant);
    }
    let in_zone = |local: DateTime| local.to_zoned(now.time_zone().clone()).ok().map(|end| end.timestamp());
    let is_time_only = text.bytes().all(|byte| byte.is_ascii_digit() || byte == b':');
    if let (true, Ok(time)) = (is_time_only, text.parse::<Time>()) {
        let today = in_zone(now.date().to_datetime(time))?;
        let has_passed = today <= now.timestamp();
        return if has_passed { in_zone(now.date().tomorrow().ok()?.to_datetime(time)) } else { Some(today) };
    }
    if let Some((day, time)) = text.split_once(' ')
        && let Some(days) = ["today", "tomorrow"].iter().position(|word| day.eq_ignore_ascii_case(word))
    {
        let date = now.date().checked_add(i64::try_from(days).ok()?.days()).ok()?;
        return in_zone(date.to_datetime(time.trim().parse().ok()?));
    }
    // A date and a time of day; jiff would also take a date alone.
    text.contains(':').then(|| in_zone(text.parse().ok()?)).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::tz::TimeZone;
    use proptest::prelude::*;

    fn now() -> Zoned {
        let zone = TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3").expect("a zone");
        "2026-11-30T12:00:00Z".parse::<Timestamp>().expect("a time").to_zoned(zone)
    }

    #[test]
    fn times_are_those_of_the_person_who_types_them() {
        for (text, end) in [
            ("18:00", "2026-11-30T17:00:00Z"),
            ("09:30", "2026-12-01T08:30:00Z"),
            ("today 18:00", "2026-11-30T17:00:00Z"),
            ("Tomorrow 18:00", "2026-12-01T17:00:00Z"),
            ("2026-12-01 18:00", "2026-12-01T17:00:00Z"),
            ("2026-12-01T18:00", "2026-12-01T17:00:00Z"),
            ("2027-07-01 18:00:30", "2027-07-01T16:00:30Z"),
            ("2026-12-01T18:00:00Z", "2026-12-01T18:00:00Z"),
            ("2026-12-01T18:00:00.7+05:45", "2026-12-01T12:15:00Z"),
            (" 18:00 ", "2026-11-30T17:00:00Z"),
        ] {
            assert_eq!(parse(text, &now()).map(|end| end.to_string()).as_deref(), Ok(end), "{text}");
        }
    }

    #[test]
    fn anything_else_is_one_sentence() {
        let forms = format!("use for example {FORMS}");
        for (text, why) in [
            ("", forms.as_str()),
            ("soon", &forms),
            ("25:00", &forms),
            ("4h", &forms),
            ("tomorrow", &forms),
            ("2026-13-01 18:00", &forms),
            ("2026-12-01", "it has no time of day; use for example 2026-12-01 18:00"),
            ("2025-12-01 18:00", "Mon Dec 01 2025 17:00:00 GMT is past"),
            ("today 09:00", "Mon Nov 30 2026 08:00:00 GMT is past"),
        ] {
            let said = parse(text, &now()).expect_err(text).render();
            assert_eq!(said, format!("[x] Invalid value {text} for --until: {why}\n"));
        }
    }

    proptest! {
        #[test]
        fn nothing_that_is_typed_panics(text in "[0-9T: +Z.-]{0,25}|.{0,20}") {
            let _ = parse(&text, &now());
        }
    }
}
