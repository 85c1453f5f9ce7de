//! Where words go: data to stdout, talk to stderr, each line flushed, and colour only for people.
//!
//! Views are plain text; the marks `[ok]`, `[x]` and `[!]` are painted here. `anstream` takes the paint away when the
//! stream is not a terminal or `NO_COLOR` is set. Colour never carries a meaning of its own.

use std::io::{self, IsTerminal, Write};
use std::sync::OnceLock;

use owo_colors::OwoColorize;
use secrecy::{ExposeSecret, SecretString};

use crate::progress::Spinner;
use crate::screen::screen_width;

/// Stands for a code where it must not be shown.
const MASK: &str = "***";

/// What only a terminal may show. A process joins one share.
static HIDDEN: OnceLock<SecretString> = OnceLock::new();

/// Who is reading. Passed to every command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Printer {
    /// Whether stdout is a terminal: boxes are for people.
    stdout_is_terminal: bool,
    /// Whether stderr is one; else it is somebody's log.
    stderr_is_terminal: bool,
    /// Whether stderr is a terminal on which the cursor can be moved.
    stderr_is_screen: bool,
}

// === impl Printer ===

impl Printer {
    /// Looks at what the process was given.
    pub fn from_process() -> Self {
        let can_move = std::env::var_os("TERM").is_none_or(|name| name != "dumb");
        let stderr_is_terminal = io::stderr().is_terminal();
        Self {
            stdout_is_terminal: io::stdout().is_terminal(),
            stderr_is_terminal,
            stderr_is_screen: stderr_is_terminal && can_move,
        }
    }

    /// From now on only terminals show this; logs have a mask in its place, whoever repeats it.
    pub fn hide(self, secret: &SecretString) {
        let _ = HIDDEN.set(secret.clone()); // there is one for each process
    }

    /// Whether a person reads stderr.
    pub fn talks_to_people(self) -> bool {
        self.stderr_is_terminal
    }

    /// Whether a person reads stdout.
    pub fn draws_boxes(self) -> bool {
        self.stdout_is_terminal
    }

    /// The width of the screen on which lines can be drawn over and over; nothing where there is none.
    pub fn screen_width(self) -> Option<usize> {
        self.stderr_is_screen.then(screen_width)
    }

    /// Text with movements of the cursor, to a screen. Nobody can be told when that fails.
    pub fn draw(self, text: &str) {
        let mut stream = io::stderr().lock();
        let _ = stream.write_all(text.as_bytes()).and_then(|()| stream.flush());
    }

    /// A sign that something is waited for, until it is dropped. Only a person at a terminal sees it.
    pub fn spinner(self, words: &str) -> Spinner {
        if self.stderr_is_screen { Spinner::start(words) } else { Spinner::none() }
    }

    /// What was asked for, to stdout.
    ///
    /// # Errors
    /// The reader has gone, or the disk is full.
    pub fn data(self, text: &str) -> io::Result<()> {
        write(&mut anstream::stdout().lock(), &masked(text, self.stdout_is_terminal))
    }

    /// Everything else, to stderr. Nobody can be told when that fails.
    pub fn talk(self, text: &str) {
        let _ = write(&mut anstream::stderr().lock(), &masked(text, self.stderr_is_terminal));
    }
}

fn masked(text: &str, is_terminal: bool) -> String {
    match HIDDEN.get() {
        Some(secret) if !is_terminal => without(text, secret.expose_secret()),
        _ => text.to_owned(),
    }
}

/// A text with a mask for every word that is this secret, in capitals or not.
fn without(text: &str, secret: &str) -> String {
    let (folded, secret) = (text.to_ascii_lowercase(), secret.to_ascii_lowercase());
    let is_inner = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
    let mut shown = String::with_capacity(text.len());
    let mut from = 0;
    for (at, found) in folded.match_indices(&secret) {
        let end = at + found.len();
        let is_word = !is_inner(folded.as_bytes()[..at].last()) && !is_inner(folded.as_bytes().get(end));
        if is_word && !found.is_empty() {
            shown.push_str(&text[from..at]);
            shown.push_str(MASK);
            from = end;
        }
    }
    shown.push_str(&text[from..]);
    shown
}

/// Whole text at once, then a flush: a script that waits for a line gets it.
fn write(stream: &mut impl Write, text: &str) -> io::Result<()> {
    stream.write_all(paint(text).as_bytes())?;
    stream.flush()
}

fn paint(text: &str) -> String {
    let mut painted = String::with_capacity(text.len() + 16);
    for line in text.split_inclusive('\n') {
        let (indent, rest) = line.split_at(line.len() - line.trim_start_matches(' ').len());
        painted.push_str(indent);
        match rest {
            _ if rest.starts_with("[ok]") => painted.push_str(&format!("{}{}", "[ok]".green(), &rest[4..])),
            _ if rest.starts_with("[x]") => painted.push_str(&format!("{}{}", "[x]".red(), &rest[3..])),
            _ if rest.starts_with("[!]") => painted.push_str(&format!("{}{}", "[!]".yellow(), &rest[3..])),
            _ => painted.push_str(rest),
        }
    }
    painted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_masked_wherever_it_stands_as_a_word() {
        for (text, shown) in [
            ("Joining environment share: k7mwx2\n", "Joining environment share: ***\n"),
            ("k7mwx2", "***"),
            ("a K7MWX2, and 'k7mwx2'.", "a ***, and '***'."),
            ("https://hub.example.com/#k7mwx2", "https://hub.example.com/#***"),
            ("ak7mwx2 k7mwx2b é k7mwx2 →", "ak7mwx2 k7mwx2b é *** →"),
            ("nothing", "nothing"),
        ] {
            assert_eq!(without(text, "k7mwx2"), shown);
        }
        assert_eq!(without("as it is", ""), "as it is");
    }

    #[test]
    fn only_marks_at_the_start_of_a_line_are_painted() {
        let plain = "[ok] done\n    [ok] postgres → localhost:5432\nsays [ok]\n\n[x] no\n[!] hm";
        let painted = paint(plain);
        assert_eq!(anstream::adapter::strip_str(&painted).to_string(), plain);
        assert_eq!(painted.matches('\u{1b}').count(), 8, "four marks, each on and off: {painted:?}");
    }
}
