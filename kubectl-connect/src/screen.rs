//! The screen that stderr leads to.

use std::io;

/// Columns of a screen that does not tell its width, as serial consoles and some terminals in containers do not.
const USUAL_WIDTH: usize = 80;

/// How wide the screen is that stderr leads to, now: it may be changed at any time.
pub fn screen_width() -> usize {
    let size = terminal_size::terminal_size_of(io::stderr());
    size.map(|(width, _)| usize::from(width.0)).filter(|width| *width > 0).unwrap_or(USUAL_WIDTH)
}
