//! Turns what clap says about a wrong command line into one sentence that says what to do.

pub mod join;
mod slips;

use std::ffi::OsString;

use clap::CommandFactory as _;
use clap::error::{ContextKind, ContextValue, ErrorKind};

use crate::cli::Cli;
use crate::failure::Failure;

/// What is to be done about a command line that did not parse.
pub enum Verdict {
    /// It asked for this text: help or version.
    Show(String),
    /// It was wrong.
    Wrong(Failure),
}

/// The words with `help` in the first place turned into the flag that clap knows.
pub fn with_help(mut words: Vec<OsString>) -> Vec<OsString> {
    if words.get(1).is_some_and(|word| word == "help") {
        words.remove(1);
        words.push("--help".into());
    }
    words
}

/// Judges clap's error about these words. Some of them are repeated where `may_show` says that only people read.
pub fn judge(error: &clap::Error, words: &[OsString], may_show: bool) -> Verdict {
    if let Some(failure) = join::without_dashes(error, words, may_show) {
        return Verdict::Wrong(failure);
    }
    match error.kind() {
        ErrorKind::DisplayHelp
        | ErrorKind::DisplayVersion
        | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => Verdict::Show(error.to_string()),
        _ => {
            let typed = Typed::read(words);
            let help = typed.verb.as_ref().map_or_else(String::new, |verb| format!(" {verb}"));
            let failure = Failure::new(sentence(error, &typed));
            Verdict::Wrong(failure.hint(format!("See kubectl connect{help} --help.")))
        }
    }
}

/// What was typed: the verb, if it is one, and the words behind it or behind what stands in its place.
struct Typed {
    verb: Option<String>,
    rest: Vec<String>,
}

impl Typed {
    fn read(words: &[OsString]) -> Self {
        let words: Vec<String> =
            words.iter().skip(1).map(|word| word.to_string_lossy().into_owned()).collect();
        let cli = Cli::command();
        let takes_value = |word: &str| {
            let flag = cli.get_arguments().find(|flag| {
                flag.get_long().is_some_and(|long| word == format!("--{long}"))
                    || flag.get_short().is_some_and(|short| word == format!("-{short}"))
            });
            flag.is_some_and(|flag| flag.get_action().takes_values())
        };
        let mut at = 0;
        while let Some(word) = words.get(at).filter(|word| word.starts_with('-')) {
            at += 1 + usize::from(takes_value(word));
        }
        let verb =
            words.get(at).filter(|word| cli.find_subcommand(word).is_some_and(|verb| !verb.is_hide_set()));
        Self { verb: verb.cloned(), rest: words.get(at + 1..).unwrap_or_default().to_vec() }
    }
}

fn sentence(error: &clap::Error, typed: &Typed) -> String {
    let context = |kind| error.get(kind).map(words).unwrap_or_default();
    let argument = context(ContextKind::InvalidArg);
    let value = context(ContextKind::InvalidValue);
    match error.kind() {
        ErrorKind::InvalidSubcommand => {
            let name = context(ContextKind::InvalidSubcommand);
            match slips::verb(&name, &typed.rest) {
                Some(meant) => format!("Unknown command {name}: {meant}"),
                None => {
                    format!("Unknown command {name}{}", suggestion(error, ContextKind::SuggestedSubcommand))
                }
            }
        }
        ErrorKind::UnknownArgument if is_negative(&argument) => {
            format!("Unknown flag {argument}: numbers and durations cannot be negative here")
        }
        ErrorKind::UnknownArgument => {
            let kind = if argument.starts_with('-') { "Unknown flag" } else { "Unexpected argument" };
            match typed.verb.as_deref().and_then(|verb| slips::argument(verb, &argument, &typed.rest)) {
                Some(meant) => format!("{kind} {argument}: {meant}"),
                None => format!("{kind} {argument}{}", suggestion(error, ContextKind::SuggestedArg)),
            }
        }
        ErrorKind::InvalidValue if value.is_empty() => format!("{argument} needs a value"),
        ErrorKind::InvalidValue => {
            format!("Invalid value {value} for {}: use {}", bare(&argument), context(ContextKind::ValidValue))
        }
        ErrorKind::ValueValidation => {
            let cause = std::error::Error::source(error).map(|cause| cause.to_string());
            format!("Invalid value {value} for {}{}", bare(&argument), rule(cause.as_deref()))
        }
        ErrorKind::MissingRequiredArgument => match argument.rsplit_once(" or ") {
            Some((first, last)) => format!("{first} and {last} are missing"),
            None => format!("{argument} is missing"),
        },
        ErrorKind::ArgumentConflict => match context(ContextKind::PriorArg) {
            other if other == argument => format!("{} is given more than once", bare(&argument)),
            other => format!("Cannot use {} and {} together", bare(&argument), bare(&other)),
        },
        _ => first_line(error),
    }
}

/// `--port` of `--port <ROUTE=PORT>` or `--wait[=<BOOL>]`; what has no flag stays as it is.
fn bare(argument: &str) -> &str {
    if argument.starts_with('-') {
        argument.split([' ', '[', '=']).next().unwrap_or(argument)
    } else {
        argument
    }
}

/// What clap says of a number, in the words of everything else.
fn rule(cause: Option<&str>) -> String {
    match cause {
        None => String::new(),
        Some(cause) if cause.contains("invalid digit") => ": use a number".to_owned(),
        Some(cause) => match cause.split_once(" is not in ").and_then(|(_, range)| range.split_once("..=")) {
            Some((from, to)) => format!(": use a number from {from} to {to}"),
            None => format!(": {cause}"),
        },
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

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    fn wrong(line: &str) -> String {
        let words: Vec<OsString> =
            ["kubectl-connect"].into_iter().chain(line.split_whitespace()).map(OsString::from).collect();
        match judge(&Cli::try_parse_from(&words).expect_err("must not parse"), &words, true) {
            Verdict::Wrong(failure) => failure.render(),
            Verdict::Show(text) => panic!("shows {text}"),
        }
    }

    #[test]
    fn every_mistake_is_one_sentence_and_a_way_on() {
        for (line, sentence, verb) in [
            ("xyzzy", "Unknown command xyzzy", ""),
            ("shar", "Unknown command shar; did you mean share?", ""),
            ("share --expire 1h", "Unknown flag --expire; did you mean --expires?", " share"),
            ("extend web -4h", "Unknown flag -4: numbers and durations cannot be negative here", " extend"),
            ("share --name", "--name <NAME> needs a value", " share"),
            ("-n share extend", "<NAME|CODE> and <DURATION> are missing", " extend"),
            ("--context=dev expose", "<SERVICE[:PORT]> is missing", " expose"),
            (
                "expose a --protocol udp",
                "Invalid value udp for --protocol: use auto, tcp, http or https",
                " expose",
            ),
            (
                "expose a --local-port 0",
                "Invalid value 0 for --local-port: use a number from 1 to 65535",
                " expose",
            ),
            ("expose a --local-port x", "Invalid value x for --local-port: use a number", " expose"),
            (
                "share --max-joins 0",
                "Invalid value 0 for --max-joins: use a number from 1 to 1000000",
                " share",
            ),
            ("join a --hub x --hub y", "--hub is given more than once", " join"),
        ] {
            let expected = format!("[x] {sentence}\nSee kubectl connect{verb} --help.\n");
            assert_eq!(wrong(line), expected, "{line}");
        }
    }

    #[test]
    fn habits_from_elsewhere_get_the_command_that_does_it() {
        for (line, meant) in [
            ("list", "Unknown command list: use kubectl connect share --list"),
            ("ls", "Unknown command ls: use kubectl connect share --list"),
            ("stop", "Unknown command stop: use kubectl connect revoke CODE"),
            ("stop abc123", "Unknown command stop: use kubectl connect revoke abc123"),
            ("unshare demo", "Unknown command unshare: use kubectl connect revoke demo"),
            ("unshare a;b", "Unknown command unshare: use kubectl connect revoke"),
            ("rm demo", "Unknown command rm: use kubectl connect delete demo"),
            ("-n dev get demo", "Unknown command get: use kubectl connect status demo"),
            (
                "leave",
                "Unknown command leave: to leave a share, press Ctrl-C where kubectl connect join runs",
            ),
            ("create", "Unknown command create: use kubectl connect share"),
            (
                "share postgres",
                "Unexpected argument postgres: to share one Service, use kubectl connect share --service postgres",
            ),
            (
                "share postgres:5432",
                "Unexpected argument postgres:5432: to share one Service, use kubectl connect share --service postgres:5432",
            ),
            ("share list", "Unexpected argument list: use kubectl connect share --list"),
            ("share revoke abc123", "Unexpected argument revoke: use kubectl connect revoke abc123"),
            ("share status", "Unexpected argument status: use kubectl connect status"),
            ("share $(x)", "Unexpected argument $(x)"),
            ("expose api 8080", "Unexpected argument 8080: use kubectl connect expose api:8080"),
            ("expose svc api 8080", "Unexpected argument api: use kubectl connect expose api:8080"),
            ("expose service api", "Unexpected argument api: use kubectl connect expose api"),
            (
                "expose svc/api http --name web",
                "Unexpected argument http: use kubectl connect expose svc/api:http",
            ),
            ("expose api --port 8080", "Unknown flag --port: use kubectl connect expose api:8080"),
            ("expose api --port=8080", "Unknown flag --port: use kubectl connect expose api:8080"),
            ("extend demo 4 h", "Unexpected argument h: use kubectl connect extend demo 4h"),
            ("revoke a b", "Unexpected argument b: name one at a time"),
            ("status a b", "Unexpected argument b: name one share, or none to see them all"),
        ] {
            assert_eq!(wrong(line).lines().next(), Some(format!("[x] {meant}").as_str()), "{line}");
        }
    }

    #[test]
    fn help_is_a_verb_as_well() {
        let words = |line: &str| line.split(' ').map(OsString::from).collect::<Vec<_>>();
        assert_eq!(with_help(words("kubectl-connect help")), words("kubectl-connect --help"));
        assert_eq!(with_help(words("kubectl-connect help share")), words("kubectl-connect share --help"));
        assert_eq!(with_help(words("kubectl-connect share help")), words("kubectl-connect share help"));
    }
}
