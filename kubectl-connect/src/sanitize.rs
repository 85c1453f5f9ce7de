//! Makes text from outside harmless for a terminal: hubs, objects and files decide what is in it, not we.
//!
//! A name with an escape sequence could recolour the screen, move the cursor over our own words or set the clipboard; a
//! line break could forge a whole line such as `[ok]`. Everything that is not plainly visible is therefore written out.

use std::fmt;

/// Longest text shown, in characters. Longer ones are cut: a message is for reading, and a hub may send a megabyte.
const MAX_SHOWN: usize = 1_000;

/// One line of text that may be shown. Views hold this instead of `String`, so that nothing reaches a screen unread.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Clean(String);

// === impl Clean ===

impl Clean {
    /// Writes out whatever is not plainly visible, and cuts what is too long to read.
    pub fn new(text: &str) -> Self {
        let mut shown = String::with_capacity(text.len());
        for (index, character) in text.chars().enumerate() {
            if index == MAX_SHOWN {
                shown.push('…');
                break;
            }
            if is_hidden(character) {
                shown.extend(character.escape_default());
            } else {
                shown.push(character);
            }
        }
        Self(shown)
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<&str> for Clean {
    fn from(text: &str) -> Self {
        Self::new(text)
    }
}

impl From<&String> for Clean {
    fn from(text: &String) -> Self {
        Self::new(text)
    }
}

impl serde::Serialize for Clean {
    /// As shown: JSON and YAML reach a terminal as well.
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl fmt::Display for Clean {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// Controls, line breaks of any kind, and characters that reorder or hide what stands beside them.
fn is_hidden(character: char) -> bool {
    character.is_control()
        || matches!(character,
            '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn plain_text_stays_and_the_rest_is_written_out() {
        for (text, shown) in [
            ("staging-env", "staging-env"),
            ("Müller → 東京 🤝", "Müller → 東京 🤝"),
            ("a\u{1b}[31mred", r"a\u{1b}[31mred"),
            ("two\nlines\r\t", r"two\nlines\r\t"),
            ("\u{9b}31m", r"\u{9b}31m"),
            ("abc\u{202e}fed", r"abc\u{202e}fed"),
            ("zero\u{200b}width\u{7f}", r"zero\u{200b}width\u{7f}"),
        ] {
            assert_eq!(Clean::new(text).as_str(), shown);
        }
    }

    #[test]
    fn long_text_is_cut_where_one_can_see_it() {
        let shown = Clean::new(&"x".repeat(MAX_SHOWN + 1));
        assert_eq!(shown.as_str().chars().count(), MAX_SHOWN + 1);
        assert!(shown.as_str().ends_with("x…"));
    }

    proptest! {
        #[test]
        fn nothing_hidden_is_left(text in any::<String>()) {
            prop_assert!(!Clean::new(&text).as_str().chars().any(is_hidden));
        }

        #[test]
        fn visible_ascii_is_unchanged(text in "[ -~]{0,200}") {
            let shown = Clean::new(&text);
            prop_assert_eq!(shown.as_str(), text);
        }

        #[test]
        fn cleaning_twice_changes_nothing(text in ".{0,80}") {
            let once = Clean::new(&text);
            prop_assert_eq!(Clean::new(once.as_str()), once);
        }
    }
}
