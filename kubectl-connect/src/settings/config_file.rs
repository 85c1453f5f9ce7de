//! The `connect` tool's config file, read for two things only: the hub's URL and an API key. What `login` keeps beside
//! them is in `credentials`.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use secrecy::SecretString;
use serde::Deserialize;

use crate::failure::{Failure, Outcome, words_of};

/// Where the file is, below the home folder.
const DEFAULT_PATH: &str = ".private-connect/config.json";

/// Largest file read, in bytes. A config of the `connect` tool has a few hundred.
pub(super) const MAX_BYTES: u64 = 64 * 1024;

/// What of the file is used.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ConfigFile {
    /// The hub.
    #[serde(default)]
    pub hub_url: Option<String>,
    /// An API key of the hub's workspace.
    #[serde(default)]
    pub api_key: Option<SecretString>,
}

/// What came of looking for the file.
#[derive(Debug, Default)]
pub struct Found {
    /// What it says; nothing when there is none.
    pub file: ConfigFile,
    /// Why a file that nobody asked for by name was left aside.
    pub warning: Option<String>,
}

/// Reads the file that was asked for; or the usual one when `home` is known, which may be missing.
///
/// # Errors
/// The file that was asked for cannot be read.
pub fn read(asked: Option<&Path>, home: Option<PathBuf>) -> Outcome<Found> {
    if let Some(path) = asked {
        let file = load(path).map_err(|problem| {
            Failure::new(format!("Cannot use the config file {}: {problem}", path.display()))
        })?;
        return Ok(Found { file, warning: None });
    }
    let Some(path) = home.map(|home| home.join(DEFAULT_PATH)) else { return Ok(Found::default()) };
    match load(&path) {
        Ok(file) => Ok(Found { file, warning: None }),
        Err(Problem::Read(ErrorKind::NotFound | ErrorKind::NotADirectory)) => Ok(Found::default()),
        Err(problem) => {
            let warning = format!("Leaving the config file {} aside: {problem}", path.display());
            Ok(Found { file: ConfigFile::default(), warning: Some(warning) })
        }
    }
}

/// Why a file is no config. Never repeats what is in it: there is a key in it.
#[derive(Debug, thiserror::Error)]
pub(super) enum Problem {
    #[error("{}", words_of(*.0))]
    Read(ErrorKind),
    #[error("it is too large")]
    TooLarge,
    #[error("it is not JSON with the fields hubUrl and apiKey as text")]
    Format,
}

fn load(path: &Path) -> Result<ConfigFile, Problem> {
    let text = read_limited(path, MAX_BYTES)?;
    serde_json::from_slice(&text).map_err(|_| Problem::Format)
}

pub(super) fn read_limited(path: &Path, limit: u64) -> Result<Vec<u8>, Problem> {
    use std::io::Read as _;

    let file = std::fs::File::open(path).map_err(|error| Problem::Read(error.kind()))?;
    let mut text = Vec::new();
    file.take(limit + 1).read_to_end(&mut text).map_err(|error| Problem::Read(error.kind()))?;
    if text.len() as u64 > limit { Err(Problem::TooLarge) } else { Ok(text) }
}

/// The first line of a file that holds a secret, without blanks around it.
///
/// # Errors
/// The file cannot be read or is empty.
pub fn read_secret(path: &Path) -> Outcome<SecretString> {
    let refuse = |why: &dyn std::fmt::Display| {
        Failure::new(format!("Cannot use the API key file {}: {why}", path.display()))
    };
    let bytes = read_limited(path, MAX_BYTES).map_err(|problem| refuse(&problem))?;
    key_in(bytes).map_err(|why| refuse(&why))
}

/// The key that is written to stdin.
///
/// # Errors
/// It cannot be read, or there is none.
pub fn read_secret_from_stdin() -> Outcome<SecretString> {
    use std::io::Read as _;

    let mut bytes = Vec::new();
    std::io::stdin()
        .lock()
        .take(MAX_BYTES)
        .read_to_end(&mut bytes)
        .map_err(|error| error.kind().to_string())
        .and_then(|_| key_in(bytes).map_err(str::to_owned))
        .map_err(|why| Failure::new(format!("Cannot use the API key on stdin: {why}")))
}

fn key_in(bytes: Vec<u8>) -> Result<SecretString, &'static str> {
    let text = String::from_utf8(bytes).map_err(|_| "it is not text")?;
    match text.trim() {
        "" => Err("it is empty"),
        key if key.contains(char::is_control) => Err("it is more than one line"),
        key => Ok(key.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use secrecy::ExposeSecret;

    fn folder_with(content: &str) -> tempfile::TempDir {
        let home = tempfile::tempdir().expect("a folder");
        std::fs::create_dir(home.path().join(".private-connect")).expect("a folder");
        std::fs::write(home.path().join(DEFAULT_PATH), content).expect("a file");
        home
    }

    #[test]
    fn the_usual_file_gives_hub_and_key_and_other_fields_do_not_matter() {
        let home = folder_with(r#"{"hubUrl":"https://h","apiKey":"pc_1","agentId":"x","token":"y"}"#);
        let found = read(None, Some(home.path().to_owned())).expect("readable");
        assert_eq!(found.file.hub_url.as_deref(), Some("https://h"));
        assert_eq!(found.file.api_key.map(|key| key.expose_secret().to_owned()).as_deref(), Some("pc_1"));
        assert_eq!(found.warning, None);
    }

    #[test]
    fn a_missing_usual_file_is_no_news() {
        let home = tempfile::tempdir().expect("a folder");
        let found = read(None, Some(home.path().to_owned())).expect("nothing to complain about");
        assert!(found.file.hub_url.is_none() && found.warning.is_none());
    }

    #[test]
    fn a_broken_usual_file_is_left_aside_and_its_content_not_repeated() {
        let home = folder_with(r#"{"apiKey": pc_secret"#);
        let warning = read(None, Some(home.path().to_owned())).expect("goes on").warning.expect("says so");
        assert!(warning.ends_with("it is not JSON with the fields hubUrl and apiKey as text"), "{warning}");
        assert!(!warning.contains("pc_secret"));
    }

    #[test]
    fn a_file_that_was_asked_for_must_be_there() {
        let missing = read(Some(Path::new("/nowhere/config.json")), None).expect_err("missing");
        assert_eq!(missing.render(), "[x] Cannot use the config file /nowhere/config.json: not found\n");
    }

    #[test]
    fn a_key_file_gives_its_text_without_the_line_break() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("key");
        std::fs::write(&path, "pc_abc\n").expect("a file");
        assert_eq!(read_secret(&path).expect("a key").expose_secret(), "pc_abc");
        std::fs::write(&path, " \n").expect("a file");
        assert!(read_secret(&path).expect_err("empty").render().ends_with("it is empty\n"));
    }
}
