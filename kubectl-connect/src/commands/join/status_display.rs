//! A line per route that shows what passes, drawn over and over in the same place of a terminal.
//!
//! Only a person at a terminal sees it: a log would be flooded.

use connect_hub::join::{BoundRoute, Traffic};

use crate::sanitize::Clean;
use crate::screen::{self, screen_width};

/// Widths of the columns for names and for addresses; longer ones push the rest to the right.
const NAME_WIDTH: usize = 16;
const ADDRESS_WIDTH: usize = 16;

/// Bytes in the next greater unit.
const STEP: f64 = 1024.0;

/// What is on the screen.
#[derive(Debug, Default)]
pub struct StatusDisplay {
    shown: Vec<String>,
}

// === impl StatusDisplay ===

impl StatusDisplay {
    /// What to write so that the screen shows these lines; nothing when it does already.
    pub fn show(&mut self, lines: Vec<String>) -> Option<String> {
        if self.shown == lines {
            return None;
        }
        let text = format!(
            "{}{}",
            self.take_away(),
            lines.iter().map(|line| format!("{line}\n")).collect::<String>()
        );
        self.shown = lines;
        Some(text)
    }

    /// What to write so that the lines are gone from the screen and other words can stand there.
    pub fn take_away(&mut self) -> String {
        self.take_away_from(screen_width())
    }

    /// As [`Self::take_away`], from a screen of this width: lines that were drawn on a wider one stand in several rows now.
    fn take_away_from(&mut self, columns: usize) -> String {
        let rows = |line: &String| screen::columns(line).div_ceil(columns.max(1)).max(1);
        match std::mem::take(&mut self.shown).iter().map(rows).sum::<usize>() {
            0 => String::new(),
            // So many lines up, then clear to the end of the screen.
            lines => format!("\u{1b}[{lines}A\u{1b}[J"),
        }
    }
}

/// The lines, none of them wider than the terminal: a wrapped line would be two when it is taken away.
pub fn lines(routes: &[BoundRoute], traffic: &[Traffic], host: &str, columns: usize) -> Vec<String> {
    routes.iter().zip(traffic).map(|(route, traffic)| line(route, *traffic, host, columns)).collect()
}

fn line(route: &BoundRoute, traffic: Traffic, host: &str, columns: usize) -> String {
    let Traffic { open, total, received, sent } = traffic;
    let name = Clean::new(&route.name);
    let address = format!("{host}:{}", route.port);
    let name = screen::padded(name.as_str(), NAME_WIDTH);
    let line = format!(
        "  {name} {address:<ADDRESS_WIDTH$} {open} open of {total}  ↓ {}  ↑ {}",
        bytes(received),
        bytes(sent)
    );
    // The last column stays free: writing to it wraps on some terminals.
    screen::fitting(&line, columns.saturating_sub(1)).to_owned()
}

/// `0 B`, `999 B`, `1.2 KiB`, `3.4 GiB`.
fn bytes(count: u64) -> String {
    #[allow(clippy::cast_precision_loss, reason = "one decimal is shown")]
    let mut value = count as f64;
    let mut unit = "B";
    for next in ["KiB", "MiB", "GiB", "TiB"] {
        if value < STEP {
            break;
        }
        value /= STEP;
        unit = next;
    }
    if unit == "B" { format!("{count} B") } else { format!("{value:.1} {unit}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn route(name: &str) -> BoundRoute {
        BoundRoute { name: name.into(), wanted_port: 5432, port: 5432, protocol: "auto".into() }
    }

    #[test]
    fn a_line_says_where_how_many_and_how_much() {
        let traffic = Traffic { open: 2, total: 14, received: 1_258_291, sent: 999 };
        let routes = [route("postgres"), route("a\u{1b}[2J")];
        assert_eq!(
            lines(&routes, &[traffic, Traffic::default()], "localhost", 120),
            [
                "  postgres         localhost:5432   2 open of 14  ↓ 1.2 MiB  ↑ 999 B",
                "  a\\u{1b}[2J       localhost:5432   0 open of 0  ↓ 0 B  ↑ 0 B",
            ]
        );
    }

    #[test]
    fn a_line_is_never_wider_than_the_terminal() {
        for columns in [0, 1, 20, 80] {
            let line = &lines(&[route(&"x".repeat(99))], &[Traffic::default()], "localhost", columns)[0];
            assert!(line.chars().count() < columns.max(1), "{columns}: {line}");
        }
    }

    #[test]
    fn the_screen_is_written_only_when_it_changes_and_cleared_by_its_own_lines() {
        let mut display = StatusDisplay::default();
        assert_eq!(display.take_away(), "");
        assert_eq!(display.show(vec!["a".into(), "b".into()]).as_deref(), Some("a\nb\n"));
        assert_eq!(display.show(vec!["a".into(), "b".into()]), None);
        assert_eq!(display.show(vec!["c".into()]).as_deref(), Some("\u{1b}[2A\u{1b}[Jc\n"));
        assert_eq!(display.take_away(), "\u{1b}[1A\u{1b}[J");
        assert_eq!(display.take_away(), "");
    }

    #[test]
    fn a_terminal_that_becomes_narrower_keeps_no_stale_row() {
        for (columns, rows) in [(80, 2), (60, 2), (59, 3), (30, 3), (20, 4), (0, 61)] {
            let mut display = StatusDisplay::default();
            let _ = display.show(vec!["x".repeat(60), "y".into()]);
            assert_eq!(
                display.take_away_from(columns),
                format!("\u{1b}[{rows}A\u{1b}[J"),
                "{columns} columns"
            );
        }
    }

    #[test]
    fn bytes_have_units_of_1024() {
        for (count, text) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.0 KiB"),
            (1536, "1.5 KiB"),
            (5 << 30, "5.0 GiB"),
            (u64::MAX, "16777216.0 TiB"),
        ] {
            assert_eq!(bytes(count), text);
        }
    }
}
