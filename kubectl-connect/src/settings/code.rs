//! Where the code of a share comes from: an argument, stdin, a file or the environment, and from one of them only.
//!
//! An argument is seen by other users of the machine and stays in the shell's history; the others are for machines.

use std::io::{self, IsTerminal, Read, Write};
use std::path::Path;

use connect_hub::join_token::{self, InvalidToken, JoinToken};
use secrecy::{ExposeSecret, SecretString};

use super::Environment;
use super::config_file::{Problem, read_limited};
use crate::failure::{Failure, Outcome};

/// The variable that may hold the code.
pub const VARIABLE: &str = "CONNECT_CODE";

/// An argument or a file of this name is stdin.
const STDIN: &str = "-";

/// What a user is told who gave none, or several.
const WAYS: &str =
    "Give it once: join CODE, join - (from stdin), --code-file FILE, or CONNECT_CODE in the environment";

/// Largest input that is read, in bytes: a token as UTF-16, as PowerShell writes files, and a byte more shows one that is too long.
const MAX_INPUT: u64 = 2 * join_token::MAX_BYTES as u64 + 1;

/// One of the ways.
enum Source<'a> {
    Argument(&'a str),
    Stdin,
    File(&'a Path),
    Variable(String),
}

/// Reads the code from where it is given.
///
/// # Errors
/// It is given nowhere, twice, or cannot be used.
pub fn read(
    argument: Option<&SecretString>,
    file: Option<&Path>,
    stdin: &mut dyn FnMut() -> io::Result<Vec<u8>>,
    environment: Environment<'_>,
) -> Outcome<JoinToken> {
    let sources = [
        argument.map(|text| match text.expose_secret() {
            STDIN => Source::Stdin,
            text => Source::Argument(text),
        }),
        file.map(|path| if path == Path::new(STDIN) { Source::Stdin } else { Source::File(path) }),
        environment(VARIABLE).map(Source::Variable),
    ];
    let mut given = sources.into_iter().flatten();
    let source = given.next().ok_or_else(|| Failure::new("The share code is missing").hint(WAYS))?;
    if let Some(other) = given.next() {
        let sentence = format!("The share code is given twice: {} and {}", source.place(), other.place());
        return Err(Failure::new(sentence).hint(WAYS));
    }
    source.token(stdin)
}

/// What stands on stdin; a person at a terminal is asked for a line.
///
/// # Errors
/// It cannot be read.
pub fn stdin() -> io::Result<Vec<u8>> {
    let stdin = io::stdin();
    let mut bytes = Vec::new();
    if stdin.is_terminal() {
        let mut stderr = io::stderr();
        stderr.write_all(b"Share code: ").and_then(|()| stderr.flush())?;
        io::BufRead::read_until(&mut stdin.lock().take(MAX_INPUT), b'\n', &mut bytes)?;
    } else {
        stdin.lock().take(MAX_INPUT).read_to_end(&mut bytes)?;
    }
    Ok(bytes)
}

// === impl Source ===

impl Source<'_> {
    fn place(&self) -> String {
        match self {
            Self::Argument(_) => "as an argument".to_owned(),
            Self::Stdin => "on stdin".to_owned(),
            Self::File(path) => format!("in the file {}", path.display()),
            Self::Variable(_) => format!("in {VARIABLE}"),
        }
    }

    fn token(&self, stdin: &mut dyn FnMut() -> io::Result<Vec<u8>>) -> Outcome<JoinToken> {
        let refuse = |why: String| Failure::new(format!("Cannot use the share code {}: {why}", self.place()));
        let read = match self {
            Self::Argument(text) => Ok((*text).to_owned()),
            Self::Variable(text) => Ok(text.clone()),
            Self::Stdin => {
                stdin().map(|bytes| text(&bytes)).map_err(|error| refuse(error.kind().to_string()))
            }
            Self::File(path) => match read_limited(path, MAX_INPUT) {
                Ok(bytes) => Ok(text(&bytes)),
                Err(Problem::Read(kind)) => Err(refuse(crate::failure::words_of(kind))),
                Err(problem) => Err(refuse(problem.to_string())),
            },
        };
        JoinToken::parse(&read?).map_err(|error| match (self, error) {
            (Self::Argument(_), InvalidToken::Empty) => {
                Failure::new("The share code is empty").hint("Use: kubectl connect join CODE")
            }
            (_, InvalidToken::Empty) => refuse("it is empty".to_owned()),
            (Self::Argument(_), error) => Failure::new(sentence(&error.to_string()))
                .hint("Paste the code, or the whole line that kubectl connect share printed."),
            (_, error) => refuse(error.to_string()),
        })
    }
}

/// Input as text. What is no text is no code either, and is refused as such.
fn text(bytes: &[u8]) -> String {
    match bytes {
        [0xff, 0xfe, rest @ ..] => {
            let units = rest.as_chunks::<2>().0.iter().map(|&pair| u16::from_le_bytes(pair));
            char::decode_utf16(units).map(|unit| unit.unwrap_or(char::REPLACEMENT_CHARACTER)).collect()
        }
        _ => String::from_utf8_lossy(bytes).into_owned(),
    }
}

fn sentence(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map(|first| first.to_uppercase().chain(letters).collect()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The code that is read from these places.
    fn code(
        argument: Option<&str>,
        file: Option<&str>,
        stdin: &[u8],
        variable: Option<&str>,
    ) -> Result<String, String> {
        let folder = tempfile::tempdir().expect("a folder");
        let path = file.map(|content| match content {
            STDIN => STDIN.into(),
            content => {
                let path = folder.path().join("code");
                std::fs::write(&path, content).expect("a file");
                path
            }
        });
        let argument = argument.map(SecretString::from);
        let environment = |name: &str| variable.filter(|_| name == VARIABLE).map(str::to_owned);
        let read = read(argument.as_ref(), path.as_deref(), &mut || Ok(stdin.to_vec()), &environment);
        let text = |failure: Failure| failure.render().replace(&*folder.path().to_string_lossy(), "FOLDER");
        read.map(|token| token.code.expose_secret().to_owned()).map_err(text)
    }

    #[test]
    fn each_way_alone_gives_the_code() {
        let utf16: Vec<u8> = "\u{feff}abc123\r\n".encode_utf16().flat_map(u16::to_le_bytes).collect();
        for (argument, file, stdin, variable) in [
            (Some("abc123"), None, b"".as_slice(), None),
            (Some("-"), None, b"abc123\n", None),
            (Some("-"), None, b"\xef\xbb\xbfabc123\r\n", None),
            (Some("-"), None, &utf16, None),
            (None, Some("-"), b"abc123", None),
            (None, Some("abc123\n"), b"", None),
            (None, Some("https://hub.example.com/#ABC123"), b"", None),
            (None, None, b"", Some("abc123")),
        ] {
            assert_eq!(
                code(argument, file, stdin, variable),
                Ok("abc123".into()),
                "{argument:?} {file:?} {variable:?}"
            );
        }
    }

    #[test]
    fn none_two_and_unusable_ones_are_a_sentence_without_the_code() {
        for (argument, file, variable, sentence) in [
            (None, None, None, "The share code is missing".to_owned()),
            (Some("s3cr"), Some("s3cr"), None, "The share code is given twice: as an argument and in the file FOLDER/code".into()),
            (Some("-"), Some("s3cr"), None, "The share code is given twice: on stdin and in the file FOLDER/code".into()),
            (Some("s3cr"), None, Some("s3cr"), "The share code is given twice: as an argument and in CONNECT_CODE".into()),
            (None, Some("s3cr"), Some("s3cr"), "The share code is given twice: in the file FOLDER/code and in CONNECT_CODE".into()),
            (Some(" "), None, None, "The share code is empty".into()),
            (Some("s3cr@"), None, None, "This is not a share code: a code consists of letters and digits".into()),
            (Some("-"), None, None, "Cannot use the share code on stdin: it is empty".into()),
            (None, Some("\n"), None, "Cannot use the share code in the file FOLDER/code: it is empty".into()),
            (None, None, Some("s3cr@"), "Cannot use the share code in CONNECT_CODE: this is not a share code: a code consists of letters and digits".into()),
        ] {
            let said = code(argument, file, b"", variable).expect_err("refused");
            assert_eq!(said.lines().next(), Some(format!("[x] {sentence}").as_str()));
            assert!(!said.contains("s3cr"), "{said}");
        }
        let large = vec![b'a'; usize::try_from(MAX_INPUT).expect("small")];
        assert!(code(Some("-"), None, &large, None).is_err());
        let nowhere = read(None, Some(Path::new("/nowhere/code")), &mut || Ok(Vec::new()), &|_| None);
        assert_eq!(
            nowhere.expect_err("refused").render(),
            "[x] Cannot use the share code in the file /nowhere/code: not found\n"
        );
    }
}
