//! What chats, mails and terminals put around a word, and into it.

use std::borrow::Cow;

use url::Url;

/// The text without what cannot be seen, with plain blanks for blanks of every kind and plain letters for wide ones.
pub(super) fn plain(text: &str) -> String {
    let seen = text.chars().filter(|&letter| !is_invisible(letter)).map(narrow);
    let blanks = seen.map(|letter| if letter.is_whitespace() || letter.is_control() { ' ' } else { letter });
    blanks.collect::<String>().trim().to_owned()
}

/// The plain form of a letter, digit or mark that is as wide as the others of East Asian scripts.
fn narrow(letter: char) -> char {
    /// From the wide forms to the plain ones.
    const DISTANCE: u32 = 0xff01 - 0x21;
    match letter {
        '\u{ff01}'..='\u{ff5e}' => char::from_u32(letter as u32 - DISTANCE).unwrap_or(letter),
        _ => letter,
    }
}

/// Zero-width characters, marks of direction and soft hyphens.
fn is_invisible(letter: char) -> bool {
    matches!(letter,
        '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}')
}

/// Blanks, dashes, quotes, and the marks of sentences, lists, links and boxes: no code has them.
pub(super) fn is_noise(letter: char) -> bool {
    letter == ' '
        || letter.is_ascii_punctuation() && !matches!(letter, '%' | '@' | '=' | '&' | '$' | '+' | '^')
        || matches!(letter,
            '\u{2010}'..='\u{201f}' | '\u{2212}' | '\u{2022}' | '\u{2026}' | '\u{2039}' | '\u{203a}' | '\u{ab}' | '\u{bb}'
            | '\u{2500}'..='\u{257f}' | '\u{3001}' | '\u{3002}' | '\u{300c}'..='\u{300f}' | '\u{ff0c}' | '\u{ff0e}')
}

/// Without the words before a code, such as `Share Code:`.
pub(super) fn without_label(text: &str) -> &str {
    match text.rsplit_once(':') {
        Some((label, rest)) if label.trim_end().to_ascii_lowercase().ends_with("code") => rest,
        _ => text,
    }
}

/// Whether a text holds an address and not only a code.
pub(super) fn is_link(text: &str) -> bool {
    let inside = text.trim_matches(is_noise);
    inside.contains("://") || inside.contains(['/', '#'])
}

/// A link from its scheme on. Chats leave a usual scheme out.
pub(super) fn with_scheme(text: &str) -> Cow<'_, str> {
    let Some(at) = text.find("://") else {
        let rest = text.trim_start_matches(|letter| is_noise(letter) && letter != '[');
        let is_here = ["localhost", "127.", "[::1]"].iter().any(|host| rest.starts_with(host));
        return Cow::Owned(format!("{}://{rest}", if is_here { "http" } else { "https" }));
    };
    let scheme = text[..at].bytes().rev().take_while(u8::is_ascii_alphabetic).count();
    Cow::Borrowed(&text[at - scheme..])
}

/// The link inside a link, as mail filters and searches wrap them: `https://filter.example/?url=https%3A%2F%2F...%23CODE`.
pub(super) fn wrapped(text: &str) -> Option<String> {
    let url = Url::parse(text).ok().filter(|url| url.fragment().is_none())?;
    let is_link = |value: &str| ["https://", "http://"].iter().any(|scheme| value.starts_with(scheme));
    url.query_pairs().map(|(_, value)| value).find(|value| is_link(value)).map(Cow::into_owned)
}

/// Up to the quote or bracket that closes what stands around a link.
pub(super) fn until_closed(text: &str) -> &str {
    text.split(['"', '\'', '`', '<', '>', '(', ')', '[', ']', '{', '}', '|', ',', ';']).next().unwrap_or(text)
}

/// A word without what stands around it. An address may end with a bracket of its own.
pub(super) fn bare(word: &str) -> &str {
    word.trim_matches(|letter| is_noise(letter) && !matches!(letter, '/' | '[' | ']'))
}
