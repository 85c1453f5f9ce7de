//! Forms that several commands draw: the page's box, durations, dates, and the list of routes.

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

use crate::sanitize::Clean;
use crate::screen;

/// Columns between the two borders of the page's box; more where a line needs them.
const BOX_WIDTH: usize = 49;

/// From this many hours on a list says days.
const DAYS_FROM_HOURS: i64 = 48;

/// Longest abbreviation of a time zone; longer words are names such as `Unknown`.
const LONGEST_ZONE: usize = 5;

/// Half a minute. Ends are whole seconds of another machine's clock; without rounding a share made this instant for 24
/// hours would be listed as 23.
const ROUNDING: SignedDuration = SignedDuration::from_secs(30);

/// A line in the page's box; as it is when nobody looks at a terminal.
pub fn boxed(line: &str, draw: bool) -> String {
    if !draw {
        return format!("  {line}\n");
    }
    // What stands in it is copied as one word: it is not broken.
    let width = BOX_WIDTH.max(screen::columns(line) + 3);
    let (border, line) = ("─".repeat(width), screen::padded(line, width - 2));
    format!("  ┌{border}┐\n  │  {line}│\n  └{border}┘\n")
}

/// What is left of a share, as lists show it: `22h`, `6d`, `12m`.
pub fn short_rest(end: Timestamp, now: Timestamp) -> String {
    let minutes = minutes_left(end, now);
    match minutes / 60 {
        _ if minutes <= 0 => "now".to_owned(),
        0 => format!("{minutes}m"),
        hours if hours < DAYS_FROM_HOURS => format!("{hours}h"),
        hours => format!("{}d", hours / 24),
    }
}

/// As [`short_rest`], for a share whose end nobody has said yet.
pub fn short_rest_or_unknown(end: Option<Timestamp>, now: Timestamp) -> String {
    end.map_or_else(|| "unknown".to_owned(), |end| short_rest(end, now))
}

/// How long ago something was, as kubectl's column AGE says it.
pub fn age(then: Timestamp, now: Timestamp) -> String {
    const MINUTE: i64 = 60;
    const HOUR: i64 = 60 * MINUTE;
    const DAY: i64 = 24 * HOUR;
    let seconds = now.duration_since(then).as_secs().max(0);
    let two = |big: i64, unit: char, small: i64, rest: char| match seconds % big / small {
        0 => format!("{}{unit}", seconds / big),
        left => format!("{}{unit}{left}{rest}", seconds / big),
    };
    match seconds {
        _ if seconds < 2 * MINUTE => format!("{seconds}s"),
        _ if seconds < 10 * MINUTE => two(MINUTE, 'm', 1, 's'),
        _ if seconds < 3 * HOUR => format!("{}m", seconds / MINUTE),
        _ if seconds < 8 * HOUR => two(HOUR, 'h', MINUTE, 'm'),
        _ if seconds < 2 * DAY => format!("{}h", seconds / HOUR),
        _ if seconds < 8 * DAY => two(DAY, 'd', HOUR, 'h'),
        _ => format!("{}d", seconds / DAY),
    }
}

/// What is left of a share, in words: `24 hours`, `7 days`, `1 hour`, `12 minutes`.
pub fn rest_in_words(end: Timestamp, now: Timestamp) -> String {
    let minutes = minutes_left(end, now);
    let hours = (minutes + 30) / 60;
    match hours {
        _ if minutes <= 0 => "less than a minute".to_owned(),
        _ if minutes < 60 => counted(minutes, "minute"),
        hours if hours >= DAYS_FROM_HOURS && hours % 24 == 0 => counted(hours / 24, "day"),
        hours => counted(hours, "hour"),
    }
}

/// A date for the person who reads it, in the zone of this machine: `Mon Jan 15 2024 11:30:00 CET`.
pub fn date(time: Timestamp) -> String {
    date_in(time, &zone())
}

/// A date as the page writes it, for what is read by many people in many places: `Mon Jan 15 2024 10:30:00 GMT`.
pub fn date_utc(time: Timestamp) -> String {
    date_in(time, &TimeZone::UTC)
}

/// The zone of whoever reads: that of `TZ`, else the system's.
pub fn zone() -> TimeZone {
    // Tests of words must not depend on where they run; those of the binary set `TZ`.
    if cfg!(test) { TimeZone::UTC } else { TimeZone::system() }
}

/// A date in this zone. A zone without letters of its own is told by its distance, as in `GMT+05:45`.
fn date_in(time: Timestamp, zone: &TimeZone) -> String {
    let local = time.to_zoned(zone.clone());
    let letters = local.strftime("%Z").to_string();
    let has_letters = letters.len() <= LONGEST_ZONE && letters.bytes().all(|byte| byte.is_ascii_alphabetic());
    let zone = match (local.offset().is_zero(), has_letters) {
        (true, _) if !has_letters || letters == "UTC" => "GMT".to_owned(),
        (_, true) => letters,
        _ => local.strftime("GMT%:z").to_string(),
    };
    format!("{} {zone}", local.strftime("%a %b %d %Y %H:%M:%S"))
}

/// `    • postgres → localhost:5432`
pub fn route_line(name: &Clean, port: i32) -> String {
    format!("    • {name} → localhost:{port}\n")
}

/// `1 hour`, `2 hours`.
pub fn counted(count: i64, unit: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {unit}{plural}")
}

fn minutes_left(end: Timestamp, now: Timestamp) -> i64 {
    (end.duration_since(now) + ROUNDING).as_mins()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(seconds: i64) -> (Timestamp, Timestamp) {
        (Timestamp::from_second(1_700_000_000 + seconds).expect("valid"), at(1_700_000_000))
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).expect("valid")
    }

    #[test]
    fn the_box_is_the_one_of_the_page() {
        assert_eq!(
            boxed("Share Code: abc123", true),
            "  ┌─────────────────────────────────────────────────┐\n  \
               │  Share Code: abc123                             │\n  \
               └─────────────────────────────────────────────────┘\n"
        );
        assert_eq!(boxed("Share Code: abc123", false), "  Share Code: abc123\n");
    }

    #[test]
    fn lists_say_minutes_hours_and_days() {
        const MINUTE: i64 = 60;
        const HOUR: i64 = 60 * MINUTE;
        const DAY: i64 = 24 * HOUR;
        for (seconds, text) in [
            (-5, "now"),
            (10, "now"),
            (45, "1m"),
            (20 * MINUTE, "20m"),
            (HOUR - MINUTE, "59m"),
            (HOUR - 1, "1h"),
            (22 * HOUR + 50 * MINUTE, "22h"),
            (DAY - 2, "24h"),
            (2 * DAY - MINUTE, "47h"),
            (2 * DAY, "2d"),
            (7 * DAY - 1, "7d"),
            (7 * DAY - HOUR, "6d"),
        ] {
            let (end, now) = after(seconds);
            assert_eq!(short_rest(end, now), text, "{seconds} s");
        }
    }

    #[test]
    fn ages_are_kubectl_s() {
        for (seconds, text) in [
            (-3, "0s"),
            (119, "119s"),
            (120, "2m"),
            (330, "5m30s"),
            (1_800, "30m"),
            (4 * 3_600 + 120, "4h2m"),
            (30 * 3_600, "30h"),
            (3 * 86_400, "3d"),
            (3 * 86_400 + 7_200, "3d2h"),
            (40 * 86_400, "40d"),
        ] {
            let (then, now) = (at(1_700_000_000), at(1_700_000_000 + seconds));
            assert_eq!(age(then, now), text, "{seconds} s");
        }
    }

    #[test]
    fn words_round_to_what_was_asked_for() {
        for (seconds, text) in [
            (-1, "less than a minute"),
            (50, "1 minute"),
            (1_200, "20 minutes"),
            (3_600 - 58, "59 minutes"),
            (3_600 - 5, "1 hour"),
            (4 * 3_600 - 58, "4 hours"),
            (24 * 3_600 - 58, "24 hours"),
            (36 * 3_600, "36 hours"),
            (48 * 3_600 - 58, "2 days"),
            (7 * 86_400 - 58, "7 days"),
            (7 * 86_400 - 3 * 3_600, "165 hours"),
        ] {
            let (end, now) = after(seconds);
            assert_eq!(rest_in_words(end, now), text, "{seconds} s");
        }
    }

    #[test]
    fn dates_are_the_page_s() {
        assert_eq!(date_utc(at(1_705_314_600)), "Mon Jan 15 2024 10:30:00 GMT");
    }

    #[test]
    fn dates_for_people_are_in_their_zone() {
        // POSIX forms, so that no zone needs to be installed.
        for (zone, winter, summer) in [
            ("UTC0", "Mon Jan 15 2024 10:30:00 GMT", "Mon Jul 15 2024 10:30:00 GMT"),
            ("CET-1CEST,M3.5.0,M10.5.0/3", "Mon Jan 15 2024 11:30:00 CET", "Mon Jul 15 2024 12:30:00 CEST"),
            ("EST5EDT,M3.2.0,M11.1.0", "Mon Jan 15 2024 05:30:00 EST", "Mon Jul 15 2024 06:30:00 EDT"),
            ("GMT0BST,M3.5.0/1,M10.5.0", "Mon Jan 15 2024 10:30:00 GMT", "Mon Jul 15 2024 11:30:00 BST"),
            ("<+0545>-5:45", "Mon Jan 15 2024 16:15:00 GMT+05:45", "Mon Jul 15 2024 16:15:00 GMT+05:45"),
            ("<-03>3", "Mon Jan 15 2024 07:30:00 GMT-03:00", "Mon Jul 15 2024 07:30:00 GMT-03:00"),
        ] {
            let zone = TimeZone::posix(zone).expect("a zone");
            assert_eq!(date_in(at(1_705_314_600), &zone), winter);
            assert_eq!(date_in(at(1_721_039_400), &zone), summer);
        }
        assert_eq!(date_in(at(1_705_314_600), &TimeZone::unknown()), "Mon Jan 15 2024 10:30:00 GMT");
    }
}
