//! A turning sign on stderr while somebody waits at a terminal; nothing at all elsewhere.

use std::io::{self, Write};
use std::time::Duration;

use tokio::task::JoinHandle;

/// Between two pictures: fast enough to look alive, slow enough for a terminal far away.
const TURN: Duration = Duration::from_millis(120);

/// The pictures, in their order.
const PICTURES: [char; 8] = ['⣷', '⣯', '⣟', '⡿', '⢿', '⣻', '⣽', '⣾'];

/// Back to the start of the line, and nothing on it.
const WIPE: &str = "\r\u{1b}[2K";

/// Turns until it is dropped, and leaves an empty line.
pub struct Spinner(Option<JoinHandle<()>>);

// === impl Spinner ===

impl Spinner {
    /// Nothing, where nobody looks.
    pub fn none() -> Self {
        Self(None)
    }

    /// Starts to turn beside these words.
    pub fn start(words: &str) -> Self {
        let words = words.to_owned();
        Self(Some(tokio::spawn(async move {
            for picture in PICTURES.iter().cycle() {
                write(&format!("{WIPE}{picture} {words}"));
                tokio::time::sleep(TURN).await;
            }
        })))
    }
}

impl Drop for Spinner {
    fn drop(&mut self) {
        if let Some(turning) = self.0.take() {
            turning.abort();
            write(WIPE);
        }
    }
}

/// Nobody can be told when this fails.
fn write(text: &str) {
    let mut stderr = io::stderr().lock();
    let _ = stderr.write_all(text.as_bytes()).and_then(|()| stderr.flush());
}
