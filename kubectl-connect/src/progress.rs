//! A turning sign on stderr while somebody waits at a terminal, with how long and for what; nothing at all elsewhere.

use std::io::{self, Write};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::task::JoinHandle;

use crate::sanitize::Clean;
use crate::screen::{self, screen_width};

/// Between two pictures: fast enough to look alive, slow enough for a terminal far away.
const TURN: Duration = Duration::from_millis(120);

/// The pictures, in their order.
const PICTURES: [char; 8] = ['⣷', '⣯', '⣟', '⡿', '⢿', '⣻', '⣽', '⣾'];

/// How long one waits before a clock is of interest.
const QUIET: Duration = Duration::from_secs(2);

/// Turns until it is dropped, and leaves an empty line.
pub struct Spinner {
    turning: Option<JoinHandle<()>>,
    line: Arc<Mutex<Line>>,
}

/// What is drawn, and how much of it stands on the screen.
#[derive(Default)]
struct Line {
    words: String,
    reason: Option<Clean>,
    /// Columns drawn last.
    drawn: usize,
}

// === impl Spinner ===

impl Spinner {
    /// Nothing, where nobody looks.
    pub fn none() -> Self {
        Self { turning: None, line: Arc::default() }
    }

    /// Starts to turn beside these words.
    pub fn start(words: &str) -> Self {
        let line = Arc::new(Mutex::new(Line { words: words.to_owned(), ..Line::default() }));
        let drawn = Arc::clone(&line);
        let turning = tokio::spawn(async move {
            let since = Instant::now();
            for picture in PICTURES.iter().cycle() {
                let text = locked(&drawn).draw(*picture, since.elapsed(), screen_width());
                write(&text);
                tokio::time::sleep(TURN).await;
            }
        });
        Self { turning: Some(turning), line }
    }

    /// Says what is waited for now, where that is known.
    pub fn because(&self, reason: Option<impl std::fmt::Display>) {
        locked(&self.line).reason = reason.map(|reason| Clean::new(&reason.to_string()));
    }
}

impl Drop for Spinner {
    fn drop(&mut self) {
        if let Some(turning) = self.turning.take() {
            turning.abort();
            let text = locked(&self.line).wipe(screen_width());
            write(&text);
        }
    }
}

// === impl Line ===

impl Line {
    /// What to write so that the screen shows the line, in one row whatever the width.
    fn draw(&mut self, picture: char, waited: Duration, columns: usize) -> String {
        let mut line = format!("{picture} {}", self.words);
        if waited >= QUIET {
            line.push_str(&format!(" ({}s)", waited.as_secs()));
        }
        if let Some(reason) = &self.reason {
            line.push_str(&format!(": {reason}"));
        }
        // The last column stays free: writing to it wraps on some terminals.
        let line = screen::fitting(&line, columns.saturating_sub(1));
        let wipe = self.wipe(columns);
        self.drawn = screen::columns(line);
        format!("{wipe}{line}")
    }

    /// What to write so that nothing of it is left: a terminal that has become narrower shows it in several rows.
    fn wipe(&mut self, columns: usize) -> String {
        let rows_above = self.drawn.saturating_sub(1) / columns.max(1);
        self.drawn = 0;
        match rows_above {
            0 => "\r\u{1b}[2K".to_owned(),
            rows => format!("\r\u{1b}[{rows}A\u{1b}[J"),
        }
    }
}

fn locked(line: &Mutex<Line>) -> std::sync::MutexGuard<'_, Line> {
    line.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Nobody can be told when this fails.
fn write(text: &str) {
    let mut stderr = io::stderr().lock();
    let _ = stderr.write_all(text.as_bytes()).and_then(|()| stderr.flush());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_says_for_what_and_how_long_in_one_row() {
        let mut line = Line { words: "Waiting".into(), ..Line::default() };
        assert_eq!(line.draw('⣷', Duration::ZERO, 80), "\r\u{1b}[2K⣷ Waiting");
        line.reason = Some(Clean::new("the hub is\u{1b}[2J away"));
        assert_eq!(
            line.draw('⣯', Duration::from_secs(12), 80),
            "\r\u{1b}[2K⣯ Waiting (12s): the hub is\\u{1b}[2J away"
        );
        assert!(
            line.draw('⣯', Duration::from_secs(12), 12).ends_with("J⣯ Waiting ("),
            "eleven of twelve columns"
        );
    }

    #[test]
    fn one_row_of_80_columns_is_one_row_in_every_script() {
        for reason in ["支付".repeat(60), "🚀".repeat(60), "nai\u{308}ve ".repeat(20), "plain ".repeat(20)]
        {
            let mut line =
                Line { words: "Waiting".into(), reason: Some(Clean::new(&reason)), ..Line::default() };
            let drawn = line.draw('⣷', Duration::from_secs(3), 80);
            assert!((78..80).contains(&line.drawn), "{} columns: {drawn}", line.drawn);
            assert_eq!(line.wipe(80), "\r\u{1b}[2K");
        }
    }

    #[test]
    fn a_terminal_that_becomes_narrower_keeps_no_stale_row() {
        let mut line = Line { words: "x".repeat(58), ..Line::default() };
        line.draw('⣷', Duration::ZERO, 80);
        // 60 characters stand in three rows of 20: two are above the one of the cursor.
        assert_eq!(line.draw('⣷', Duration::ZERO, 20), format!("\r\u{1b}[2A\u{1b}[J⣷ {}", "x".repeat(17)));
        assert_eq!(line.wipe(10), "\r\u{1b}[1A\u{1b}[J");
    }
}
