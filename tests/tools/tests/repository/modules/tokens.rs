//! The words of a source file, without its comments, texts and characters.

/// Words and marks, `::` as one; a text or a character is left out.
pub(super) fn tokens(source: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut rest = source;
    while let Some(first) = rest.chars().next() {
        let length = match first {
            '/' if rest.starts_with("//") => rest.find('\n').unwrap_or(rest.len()),
            '/' if rest.starts_with("/*") => block_comment(rest),
            '"' => text(rest),
            'r' | 'b' | 'c' if literal(rest) > 0 => literal(rest),
            '\'' => character(rest),
            ':' if rest.starts_with("::") => {
                found.push("::".to_owned());
                2
            }
            _ if is_word(first) => {
                let end = rest.find(|it| !is_word(it)).unwrap_or(rest.len());
                found.push(rest[..end].to_owned());
                end
            }
            _ => {
                if !first.is_whitespace() {
                    found.push(first.to_string());
                }
                first.len_utf8()
            }
        };
        rest = &rest[length..];
    }
    found
}

fn is_word(it: char) -> bool {
    it.is_alphanumeric() || it == '_'
}

/// The length of `/* ... */`, which may hold others.
fn block_comment(rest: &str) -> usize {
    let (mut depth, mut at) = (0, 0);
    while at < rest.len() {
        let step = if rest[at..].starts_with("/*") {
            depth += 1;
            2
        } else if rest[at..].starts_with("*/") {
            depth -= 1;
            2
        } else {
            rest[at..].chars().next().map_or(1, char::len_utf8)
        };
        at += step;
        if depth == 0 {
            break;
        }
    }
    at.min(rest.len())
}

/// The length of `"..."`.
fn text(rest: &str) -> usize {
    let mut is_escaped = false;
    let end = rest.char_indices().skip(1).find(|(_, it)| {
        let ends = *it == '"' && !is_escaped;
        is_escaped = *it == '\\' && !is_escaped;
        ends
    });
    end.map_or(rest.len(), |(at, _)| at + 1)
}

/// The length of a text with a prefix, `r#"..."#` or `b"..."`; 0 when this is a word.
fn literal(rest: &str) -> usize {
    let prefix = rest.find(|it: char| !"rbc".contains(it)).unwrap_or(rest.len());
    let after = &rest[prefix..];
    if prefix > 2 {
        return 0;
    }
    if !rest[..prefix].contains('r') {
        return if after.starts_with('"') { prefix + text(after) } else { 0 };
    }
    let hashes = after.len() - after.trim_start_matches('#').len();
    if !after[hashes..].starts_with('"') {
        return 0;
    }
    let begin = prefix + hashes + 1;
    let end = format!("\"{}", "#".repeat(hashes));
    rest[begin..].find(&end).map_or(rest.len(), |at| begin + at + end.len())
}

/// The length of `'x'`, or of the mark alone that begins a lifetime.
fn character(rest: &str) -> usize {
    let mut inside = rest.char_indices().skip(1);
    match (inside.next(), inside.next()) {
        (Some((_, '\\')), Some(_)) => inside.find(|(_, it)| *it == '\'').map_or(1, |(at, _)| at + 1),
        (Some(_), Some((at, '\''))) => at + 1,
        _ => 1,
    }
}

#[test]
fn comments_texts_and_characters_are_left_out() {
    let source = r####"
        // crate::a
        /* crate::b /* crate::c */ crate::d */
        let x = ("crate::e \" crate::f", r#"crate::g " "#, b"crate::h", 'c', '\'', '"', '\u{1b}');
        fn f<'a>(_: &'a str) -> crate::i::J<'a> {}
    "####;
    let words = tokens(source).concat();
    assert_eq!(words, "letx=(,,,,,,);fnf<a>(_:&astr)->crate::i::J<a>{}");
}
