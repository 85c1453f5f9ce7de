//! Slips of the verb `join`: a line that was pasted behind itself, and a command without `--`.

use std::ffi::{OsStr, OsString};

use clap::error::{ContextKind, ContextValue, ErrorKind};

use crate::failure::Failure;

/// How a line begins that a teammate is sent.
const LINES: [&[&str]; 4] = [
    &["kubectl", "connect", "join"],
    &["kubectl-connect", "join"],
    &["k", "connect", "join"],
    &["connect", "join"],
];

/// The words of a command line without a pasted line's beginning behind `join`.
pub fn without_repetition(mut words: Vec<OsString>) -> Vec<OsString> {
    if let Some(verb) = words.iter().position(|word| word == "join") {
        let behind = |line: &&[&str]| {
            let rest = words.get(verb + 1..).unwrap_or_default();
            rest.len() >= line.len() && rest.iter().zip(line.iter()).all(|(word, known)| word == known)
        };
        if let Some(line) = LINES.iter().copied().find(|line| behind(line)) {
            words.drain(verb + 1..=verb + line.len());
        }
    }
    words
}

/// The failure of a line on which a command follows the code at once. What was typed is shown to people only: in a log it
/// might be a part of the code.
pub fn without_dashes(error: &clap::Error, words: &[OsString], may_show: bool) -> Option<Failure> {
    let Some(ContextValue::String(unexpected)) = error.get(ContextKind::InvalidArg) else { return None };
    let verb = words.iter().position(|word| word == "join")?;
    if error.kind() != ErrorKind::UnknownArgument || unexpected.starts_with('-') {
        return None;
    }
    let from = words.iter().skip(verb + 1).position(|word| word == OsStr::new(unexpected))? + verb + 1;
    let command: Vec<String> = words[from..].iter().map(|word| shell_word(&word.to_string_lossy())).collect();
    let command = if may_show { command.join(" ") } else { "COMMAND".to_owned() };
    Some(
        Failure::new("A command to run while joined must follow --")
            .hint(format!("Use: kubectl connect join CODE -- {command}")),
    )
}

fn shell_word(word: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_./:=@%+,".contains(&byte);
    match word {
        word if !word.is_empty() && word.bytes().all(is_plain) => word.to_owned(),
        word => format!("'{}'", word.replace('\'', r"'\''")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::{Cli, Command};
    use clap::Parser as _;

    fn words(line: &[&str]) -> Vec<OsString> {
        ["kubectl-connect"].iter().chain(line).map(OsString::from).collect()
    }

    #[test]
    fn a_pasted_line_behind_join_is_read_once() {
        for line in [
            ["join", "kubectl", "connect", "join", "abc123", "--hub", "https://x"].as_slice(),
            &["join", "kubectl-connect", "join", "abc123", "--hub", "https://x"],
            &["join", "connect", "join", "abc123", "--hub", "https://x"],
            &["-n", "a", "join", "abc123", "--hub", "https://x"],
        ] {
            let cli = Cli::try_parse_from(without_repetition(words(line))).expect("valid");
            let Command::Join(args) = cli.command else { panic!("not join") };
            assert_eq!(args.hub.hub.as_deref(), Some("https://x"), "{line:?}");
            assert!(args.command.is_empty() && args.code.is_some());
        }
        let other = words(&["share", "--name", "join"]);
        assert_eq!(without_repetition(other.clone()), other);
    }

    #[test]
    fn a_command_without_dashes_gets_the_right_line() {
        for (line, command) in [
            (["join", "abc123", "make", "test"].as_slice(), "make test"),
            (&["join", "abc123", "--only", "api", "make", "my test"], "make 'my test'"),
            (&["join", "abc123", "sh", "-c", "echo $PGPORT"], "sh -c 'echo $PGPORT'"),
        ] {
            let line = words(line);
            let error = Cli::try_parse_from(&line).expect_err("no dashes");
            let shown = |may_show| without_dashes(&error, &line, may_show).expect("this slip").render();
            let said = shown(true);
            assert!(said.contains(&format!("Use: kubectl connect join CODE -- {command}\n")), "{said}");
            assert!(shown(false).contains("Use: kubectl connect join CODE -- COMMAND\n"));
            assert!(!said.contains("abc123"), "{said}");
        }
        let line = words(&["join", "abc123", "--frob"]);
        assert!(without_dashes(&Cli::try_parse_from(&line).expect_err("unknown"), &line, true).is_none());
        let line = words(&["share", "extra"]);
        assert!(without_dashes(&Cli::try_parse_from(&line).expect_err("unknown"), &line, true).is_none());
    }
}
