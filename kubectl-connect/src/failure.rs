//! Why a command did not do what was asked: one sentence, what to do next, and the exit code.

use std::io::ErrorKind;

use connect_hub::dial::Obstacle;

use crate::sanitize::Clean;

/// Exit codes, as `--help` documents them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// It was done.
    Success,
    /// The answer is no: wrong options, nothing to act on, no rights, or a cluster or hub that cannot be reached.
    No,
    /// The cluster or the hub answered, and failed.
    Fault,
    /// What a command run by `join` ended with, or why there is none.
    Command(u8),
}

impl Exit {
    /// The number the shell sees.
    pub fn code(self) -> u8 {
        match self {
            Exit::Success => 0,
            Exit::No => 1,
            Exit::Fault => 2,
            Exit::Command(code) => code,
        }
    }
}

/// A command that failed. What it shows is clean, whatever it was made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// One sentence for people.
    sentence: Clean,
    /// Lines that say what to do.
    hints: Vec<Clean>,
    /// The exit code.
    exit: Exit,
    /// Whether a peer answered with a refusal, so that certainly nothing was done.
    is_refusal: bool,
    /// Whether the user lacks a permission.
    is_forbidden: bool,
}

/// What commands return.
pub type Outcome<T> = Result<T, Failure>;

// === impl Failure ===

impl Failure {
    /// The answer is no, for this reason.
    pub fn new(sentence: impl AsRef<str>) -> Self {
        Self {
            sentence: Clean::new(sentence.as_ref()),
            hints: Vec::new(),
            exit: Exit::No,
            is_refusal: false,
            is_forbidden: false,
        }
    }

    /// Nobody reads what we write any more, which is how a pipe ends: no failure at all.
    pub fn reader_gone() -> Self {
        Self { exit: Exit::Success, ..Self::new("") }
    }

    /// The cluster or the hub failed.
    pub fn fault(sentence: impl AsRef<str>) -> Self {
        Self { exit: Exit::Fault, ..Self::new(sentence) }
    }

    /// The page's words for a hub that does not answer.
    pub fn hub_down(url: impl std::fmt::Display) -> Self {
        Self::new(format!("Cannot connect to hub at {url}"))
            .hint("Make sure the hub is running and accessible.")
    }

    /// Adds a line that says what to do.
    #[must_use]
    pub fn hint(mut self, line: impl AsRef<str>) -> Self {
        self.hints.push(Clean::new(line.as_ref()));
        self
    }

    /// Leaves with this exit code instead.
    #[must_use]
    pub fn leaves_with(mut self, exit: Exit) -> Self {
        self.exit = exit;
        self
    }

    /// Marks it as a peer's refusal: certainly nothing was done.
    #[must_use]
    pub fn refusal(mut self) -> Self {
        self.is_refusal = true;
        self
    }

    /// Marks it as the lack of a permission.
    #[must_use]
    pub fn forbidden(mut self) -> Self {
        self.is_forbidden = true;
        self
    }

    /// Whether the user lacks a permission.
    pub fn is_forbidden(&self) -> bool {
        self.is_forbidden
    }

    /// Takes that mark away: the refused step was not the first one.
    #[must_use]
    pub fn later(mut self) -> Self {
        self.is_refusal = false;
        self
    }

    /// Whether certainly nothing was done.
    pub fn is_refusal(&self) -> bool {
        self.is_refusal
    }

    /// The exit code.
    pub fn exit(&self) -> Exit {
        self.exit
    }

    /// What the terminal shows.
    pub fn render(&self) -> String {
        if self.exit == Exit::Success {
            return String::new();
        }
        let mut text = format!("[x] {}\n", self.sentence);
        for hint in &self.hints {
            text.push_str(hint.as_str());
            text.push('\n');
        }
        text
    }
}

impl From<std::io::Error> for Failure {
    /// Output that could not be written.
    fn from(error: std::io::Error) -> Self {
        match error.kind() {
            std::io::ErrorKind::BrokenPipe => Self::reader_gone(),
            kind => Self::new(format!("Cannot write the output: {kind}")),
        }
    }
}

/// The words of an error and of everything beneath it, without saying the same twice.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let words = cause.to_string();
        if !text.contains(&words) {
            text = format!("{text}: {words}");
        }
        source = cause.source();
    }
    text
}

/// What the system said, in a word or two that people use.
pub fn words_of(kind: ErrorKind) -> String {
    match kind {
        ErrorKind::NotFound => "not found".to_owned(),
        other => other.to_string(),
    }
}

/// The innermost cause, in words that people use: what the network or the system said, without its numbers.
pub fn root(error: &(dyn std::error::Error + 'static)) -> String {
    let mut innermost = error;
    let mut kind = None;
    loop {
        if let Some(system) = innermost.downcast_ref::<std::io::Error>() {
            kind = Some(system.kind()).filter(|kind| SYSTEM.contains(kind)).or(kind);
        }
        match innermost.source() {
            Some(source) => innermost = source,
            None => break,
        }
    }
    kind.map_or_else(|| plain(&innermost.to_string()), |kind| kind.to_string())
}

/// Kinds whose own words say all.
const SYSTEM: [ErrorKind; 6] = [
    ErrorKind::ConnectionRefused,
    ErrorKind::ConnectionReset,
    ErrorKind::ConnectionAborted,
    ErrorKind::HostUnreachable,
    ErrorKind::NetworkUnreachable,
    ErrorKind::BrokenPipe,
];

/// What a library says, as a person would.
fn plain(text: &str) -> String {
    let text = text.split(" (os error ").next().unwrap_or(text);
    let lower = text.to_ascii_lowercase();
    if lower.contains("deadline has elapsed") || lower.contains("timed out") {
        "no answer in time".to_owned()
    } else if lower.contains("failed to lookup address") || lower.contains("dns error") {
        "the name cannot be resolved".to_owned()
    } else {
        text.to_owned()
    }
}

/// What to do about an obstacle, as a sentence of its own.
pub fn advice(obstacle: &Obstacle) -> String {
    let remedy = obstacle.remedy();
    let (first, rest) = remedy.split_at(remedy.chars().next().map_or(0, char::len_utf8));
    format!("{}{rest}.", first.to_uppercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hub_that_is_down_is_said_in_the_words_of_the_page() {
        let failure = Failure::hub_down("https://hub.privateconnect.co");
        assert_eq!(
            failure.render(),
            "[x] Cannot connect to hub at https://hub.privateconnect.co\n\
             Make sure the hub is running and accessible.\n"
        );
        assert_eq!(failure.exit().code(), 1);
    }

    #[test]
    fn a_cause_is_told_in_plain_words() {
        for (error, words) in [
            (std::io::Error::from_raw_os_error(111), "connection refused"),
            (std::io::Error::from(ErrorKind::ConnectionReset), "connection reset"),
            (std::io::Error::other("deadline has elapsed"), "no answer in time"),
            (std::io::Error::from(ErrorKind::TimedOut), "no answer in time"),
            (
                std::io::Error::other("failed to lookup address information: Name or service not known"),
                "the name cannot be resolved",
            ),
            (std::io::Error::other("invalid peer certificate: Expired"), "invalid peer certificate: Expired"),
        ] {
            assert_eq!(root(&error), words);
        }
    }

    #[test]
    fn a_sentence_stays_one_line() {
        let failure = Failure::fault("hub says: no\n[ok] all is well\u{1b}[2J");
        assert_eq!(failure.render(), "[x] hub says: no\\n[ok] all is well\\u{1b}[2J\n");
        assert_eq!(failure.exit().code(), 2);
    }
}
