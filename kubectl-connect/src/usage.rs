//! Turns what clap says about a wrong command line into one sentence that says what to do.

use clap::error::{ContextKind, ContextValue, ErrorKind};

use crate::failure::Failure;

/// What is to be done about a command line that did not parse.
pub enum Verdict {
    /// It asked for this text: help or version.
    Show(String),
    /// It was wrong.
    Wrong(Failure),
}

/// Judges clap's error.
pub fn judge(error: &clap::Error) -> Verdict {
    match error.kind() {
        ErrorKind::DisplayHelp
        | ErrorKind::DisplayVersion
        | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => Verdict::Show(error.to_string()),
        _ => Verdict::Wrong(Failure::new(sentence(error)).hint(format!("See {} --help.", command(error)))),
    }
}

fn sentence(error: &clap::Error) -> String {
    let context = |kind| error.get(kind).map(words).unwrap_or_default();
    let argument = context(ContextKind::InvalidArg);
    let value = context(ContextKind::InvalidValue);
    match error.kind() {
        ErrorKind::InvalidSubcommand => {
            let name = context(ContextKind::InvalidSubcommand);
            format!("Unknown command {name}{}", suggestion(error, ContextKind::SuggestedSubcommand))
        }
        ErrorKind::UnknownArgument if is_negative(&argument) => {
            format!("Unknown flag {argument}; numbers and durations have no minus here")
        }
        ErrorKind::UnknownArgument => {
            let kind = if argument.starts_with('-') { "Unknown flag" } else { "Unexpected argument" };
            format!("{kind} {argument}{}", suggestion(error, ContextKind::SuggestedArg))
        }
        ErrorKind::InvalidValue if value.is_empty() => format!("{argument} needs a value"),
        ErrorKind::InvalidValue => {
            format!("{value} is no value for {argument}: use {}", context(ContextKind::ValidValue))
        }
        ErrorKind::ValueValidation => {
            let cause = std::error::Error::source(error).map(|cause| format!(": {cause}"));
            format!("{value} is no value for {argument}{}", cause.unwrap_or_default())
        }
        ErrorKind::MissingRequiredArgument => match argument.rsplit_once(" or ") {
            Some((first, last)) => format!("{first} and {last} are missing"),
            None => format!("{argument} is missing"),
        },
        ErrorKind::ArgumentConflict => match context(ContextKind::PriorArg) {
            other if other == argument => format!("{argument} is given more than once"),
            other => format!("Cannot use {argument} and {other} together"),
        },
        _ => first_line(error),
    }
}

/// Whether somebody wrote a negative number or duration, of which clap makes a flag.
fn is_negative(argument: &str) -> bool {
    argument.strip_prefix('-').is_some_and(|rest| rest.starts_with(|first: char| first.is_ascii_digit()))
}

/// clap's own words, for the kinds that have no better ones here.
fn first_line(error: &clap::Error) -> String {
    let text = error.to_string();
    let line = text.lines().next().unwrap_or_default();
    line.strip_prefix("error: ").unwrap_or(line).to_owned()
}

fn suggestion(error: &clap::Error, kind: ContextKind) -> String {
    match error.get(kind).map(words) {
        Some(known) if !known.is_empty() => format!("; did you mean {known}?"),
        _ => String::new(),
    }
}

fn words(value: &ContextValue) -> String {
    match value {
        ContextValue::String(text) => text.clone(),
        ContextValue::Strings(texts) => match texts.as_slice() {
            [] => String::new(),
            [only] => only.clone(),
            [first @ .., last] => format!("{} or {last}", first.join(", ")),
        },
        ContextValue::Number(number) => number.to_string(),
        _ => String::new(),
    }
}

/// The command that was meant, as the usage line names it.
fn command(error: &clap::Error) -> String {
    let usage = match error.get(ContextKind::Usage) {
        Some(ContextValue::StyledStr(usage)) => usage.to_string(),
        _ => String::new(),
    };
    usage
        .split_whitespace()
        .skip_while(|word| *word != "kubectl")
        .take_while(|word| word.bytes().all(|byte| byte.is_ascii_lowercase()))
        .reduce_words()
        .unwrap_or_else(|| "kubectl connect".to_owned())
}

/// Joins words by blanks; nothing when there are none.
trait ReduceWords {
    fn reduce_words(self) -> Option<String>;
}

impl<'a, I: Iterator<Item = &'a str>> ReduceWords for I {
    fn reduce_words(self) -> Option<String> {
        let words: Vec<&str> = self.collect();
        (!words.is_empty()).then(|| words.join(" "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::Cli;
    use clap::Parser;

    fn wrong(arguments: &[&str]) -> String {
        let line = ["kubectl-connect"].iter().chain(arguments);
        match judge(&Cli::try_parse_from(line).expect_err("must not parse")) {
            Verdict::Wrong(failure) => failure.render(),
            Verdict::Show(text) => panic!("shows {text}"),
        }
    }

    #[test]
    fn every_mistake_is_one_sentence_and_a_way_on() {
        for (arguments, sentence, command) in [
            (["xyzzy"].as_slice(), "Unknown command xyzzy", "kubectl connect"),
            (&["shar"], "Unknown command shar; did you mean share?", "kubectl connect"),
            (
                &["share", "--expire", "1h"],
                "Unknown flag --expire; did you mean --expires?",
                "kubectl connect share",
            ),
            (
                &["extend", "web", "-4h"],
                "Unknown flag -4; numbers and durations have no minus here",
                "kubectl connect extend",
            ),
            (&["share", "extra"], "Unexpected argument extra", "kubectl connect share"),
            (&["share", "--name"], "--name <NAME> needs a value", "kubectl connect"),
            (&["expose"], "<SERVICE[:PORT]> is missing", "kubectl connect expose"),
            (
                &["expose", "a", "--protocol", "udp"],
                "udp is no value for --protocol <PROTOCOL>: use auto, tcp, http or https",
                "kubectl connect",
            ),
            (
                &["expose", "a", "--local-port", "0"],
                "0 is no value for --local-port <PORT>: 0 is not in 1..=65535",
                "kubectl connect",
            ),
            (&["join"], "<CODE> is missing", "kubectl connect join"),
            (
                &["join", "a", "--hub", "x", "--hub", "y"],
                "--hub <URL> is given more than once",
                "kubectl connect join",
            ),
        ] {
            assert_eq!(wrong(arguments), format!("[x] {sentence}\nSee {command} --help.\n"), "{arguments:?}");
        }
    }
}
