//! The screen that stderr leads to.

use std::io;

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// Columns of a screen that does not tell its width, as serial consoles and some terminals in containers do not.
const USUAL_WIDTH: usize = 80;

/// How wide the screen is that stderr leads to, now: it may be changed at any time.
pub fn screen_width() -> usize {
    let size = terminal_size::terminal_size_of(io::stderr());
    size.map(|(width, _)| usize::from(width.0)).filter(|width| *width > 0).unwrap_or(USUAL_WIDTH)
}

/// How many columns a text takes: letters of some scripts and most emoji take two, marks upon letters none.
pub fn columns(text: &str) -> usize {
    text.width()
}

/// As much of the beginning of a text as fits into so many columns.
pub fn fitting(text: &str, columns: usize) -> &str {
    let mut end = 0;
    for (at, letter) in text.char_indices() {
        let next = at + letter.len_utf8();
        // Some take less together than one by one, and none more.
        if letter.width().unwrap_or(0) > 0 && self::columns(&text[..next]) > columns {
            break;
        }
        end = next;
    }
    &text[..end]
}

/// The text with blanks behind it, up to so many columns.
pub fn padded(text: &str, columns: usize) -> String {
    let blanks = columns.saturating_sub(self::columns(text));
    format!("{text}{}", " ".repeat(blanks))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_takes_two_columns_is_counted_as_two() {
        for (text, width, first_four) in [
            ("api", 3, "api"),
            ("naïve", 5, "naïv"),
            ("nai\u{308}ve", 5, "nai\u{308}v"),
            ("支付", 4, "支付"),
            ("a支付", 5, "a支"),
            ("한국어", 6, "한국"),
            ("ｶﾅ", 2, "ｶﾅ"),
            ("🚀🚀🚀", 6, "🚀🚀"),
            ("👩\u{200d}💻 dev", 6, "👩\u{200d}💻 d"),
            ("🇩🇪!", 3, "🇩🇪!"),
            ("→ • ─", 5, "→ • "),
            ("", 0, ""),
        ] {
            assert_eq!(columns(text), width, "{text:?}");
            assert_eq!(fitting(text, 4), first_four, "{text:?}");
            assert_eq!(columns(&padded(text, 8)), 8, "{text:?}");
        }
        assert_eq!(fitting("支", 1), "");
        assert_eq!(padded("支付", 3), "支付");
    }
}
