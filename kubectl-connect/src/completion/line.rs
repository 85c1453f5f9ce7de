//! A command line that is being typed: what it says so far, and what is wanted where the cursor is.

use std::collections::BTreeMap;

use clap::{Arg, ArgAction, Command};

use super::Candidate;

/// What could stand where the cursor is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// One of these.
    Words(Vec<Candidate>),
    /// A name that a cluster or a kubeconfig knows.
    Names(Names),
    /// A file.
    Files,
    /// Something we do not know.
    Nothing,
}

/// Kinds of names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Names {
    Namespaces,
    Contexts,
    Clusters,
    Users,
    Services,
    Exposes,
    Shares,
    LiveShares,
    LiveSharesAndCodes,
    Codes,
}

/// What is known of the line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line<'a> {
    /// What is wanted.
    pub wanted: Wanted,
    /// How it begins.
    pub prefix: &'a str,
    /// Flags with a value so far, by their long name.
    pub flags: BTreeMap<String, String>,
}

/// A line that is being read.
struct Reader<'a> {
    command: &'a Command,
    positionals: usize,
    given: Vec<&'a str>,
    flags: BTreeMap<String, String>,
    /// The flag whose value comes next.
    open: Option<&'a Arg>,
}

// === impl Line ===

impl<'a> Line<'a> {
    /// Reads the words after `connect`; the last one is where the cursor is. `root` must have been built.
    pub fn read(root: &Command, words: &'a [String]) -> Self {
        let Some((last, before)) = words.split_last() else {
            return Self { wanted: Wanted::Nothing, prefix: "", flags: BTreeMap::new() };
        };
        let mut reader =
            Reader { command: root, positionals: 0, given: Vec::new(), flags: BTreeMap::new(), open: None };
        if before.iter().any(|word| reader.take(word)) {
            return Self { wanted: Wanted::Files, prefix: last, flags: reader.flags };
        }
        let (wanted, prefix) = reader.wanted(last);
        Self { wanted, prefix, flags: reader.flags }
    }
}

// === impl Reader ===

impl<'a> Reader<'a> {
    /// Takes one more word. Says whether what follows is a command of somebody else's.
    fn take(&mut self, word: &str) -> bool {
        if let Some(flag) = self.open.take() {
            self.note(flag, word);
        } else if word == "--" {
            return true;
        } else if let Some(long) = word.strip_prefix("--") {
            let (name, value) =
                long.split_once('=').map_or((long, None), |(name, value)| (name, Some(value)));
            let flag = self.flag(|flag| flag.get_long() == Some(name));
            self.flag_with(flag, value);
        } else if let Some(short) = word.strip_prefix('-').filter(|rest| !rest.is_empty()) {
            let mut letters = short.chars();
            let letter = letters.next();
            let flag = self.flag(|flag| flag.get_short() == letter);
            let rest = letters.as_str();
            self.flag_with(flag, (!rest.is_empty()).then(|| rest.trim_start_matches('=')));
        } else if let Some(verb) = self.command.find_subcommand(word) {
            self.command = verb;
        } else {
            self.positionals += 1;
        }
        false
    }

    fn flag(&self, is_it: impl Fn(&Arg) -> bool) -> Option<&'a Arg> {
        self.command.get_arguments().find(|flag| is_it(flag))
    }

    fn flag_with(&mut self, flag: Option<&'a Arg>, value: Option<&str>) {
        let Some(flag) = flag else { return };
        self.given.extend(flag.get_long());
        match value {
            Some(value) => self.note(flag, value),
            None if flag.get_action().takes_values() => self.open = Some(flag),
            None => {}
        }
    }

    fn note(&mut self, flag: &Arg, value: &str) {
        self.flags.extend(flag.get_long().map(|name| (name.to_owned(), value.to_owned())));
    }

    /// What is wanted at the cursor, and how it begins.
    fn wanted<'w>(&self, last: &'w str) -> (Wanted, &'w str) {
        if let Some(flag) = self.open {
            return (self.value_of(flag), last);
        }
        if let Some((name, value)) = last.strip_prefix("--").and_then(|long| long.split_once('=')) {
            let flag = self.flag(|flag| flag.get_long() == Some(name));
            return (flag.map_or(Wanted::Nothing, |flag| self.value_of(flag)), value);
        }
        if last.starts_with('-') {
            return (Wanted::Words(self.flags_left()), last);
        }
        if self.command.has_subcommands() {
            return (Wanted::Words(verbs(self.command)), last);
        }
        let positional = self.command.get_positionals().filter(|positional| !positional.is_last_set());
        let positional = positional.into_iter().nth(self.positionals);
        (positional.map_or(Wanted::Nothing, |positional| self.value_of(positional)), last)
    }

    fn value_of(&self, argument: &Arg) -> Wanted {
        let possible = argument.get_possible_values();
        if !possible.is_empty() {
            let visible = possible.iter().filter(|value| !value.is_hide_set());
            return Wanted::Words(visible.map(|value| Candidate::new(value.get_name(), "")).collect());
        }
        if let Some(names) = names_of(self.command.get_name(), argument.get_id().as_str()) {
            return Wanted::Names(names);
        }
        let is_path = argument.get_value_names().is_some_and(|names| names.iter().any(|name| name == "PATH"));
        if is_path { Wanted::Files } else { Wanted::Nothing }
    }

    /// The flags that may still be given.
    fn flags_left(&self) -> Vec<Candidate> {
        let left = self.command.get_arguments().filter(|flag| !flag.is_hide_set()).filter(|flag| {
            let given = flag.get_long().is_some_and(|name| self.given.contains(&name));
            !given || matches!(flag.get_action(), ArgAction::Append | ArgAction::Count)
        });
        left.filter_map(|flag| {
            Some(Candidate::new(format!("--{}", flag.get_long()?), about(flag.get_help())))
        })
        .collect()
    }
}

fn verbs(command: &Command) -> Vec<Candidate> {
    let visible = command.get_subcommands().filter(|verb| !verb.is_hide_set());
    visible.map(|verb| Candidate::new(verb.get_name(), about(verb.get_about()))).collect()
}

fn about(text: Option<&clap::builder::StyledStr>) -> String {
    text.map(|text| text.to_string().lines().next().unwrap_or_default().to_owned()).unwrap_or_default()
}

/// The names that an argument takes, by verb and argument.
fn names_of(verb: &str, argument: &str) -> Option<Names> {
    Some(match (verb, argument) {
        (_, "namespace") => Names::Namespaces,
        (_, "context") => Names::Contexts,
        (_, "cluster") => Names::Clusters,
        (_, "user") => Names::Users,
        ("expose", "service") => Names::Services,
        ("unexpose", "name") => Names::Exposes,
        ("join", "code") => Names::Codes,
        ("share", "revoke") | ("revoke", "share") => Names::LiveSharesAndCodes,
        ("extend" | "rotate", "share") => Names::LiveShares,
        ("status" | "delete", "share") => Names::Shares,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::Cli;
    use clap::CommandFactory as _;
    use proptest::prelude::*;

    fn read(line: &str) -> (Wanted, String, BTreeMap<String, String>) {
        let mut root = Cli::command();
        root.build();
        let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
        let Line { wanted, prefix, flags } = Line::read(&root, &words);
        (wanted, prefix.to_owned(), flags)
    }

    fn words(line: &str) -> Vec<String> {
        match read(line).0 {
            Wanted::Words(candidates) => candidates.into_iter().map(|candidate| candidate.word).collect(),
            other => panic!("{line}: {other:?}"),
        }
    }

    #[test]
    fn verbs_come_first_and_hidden_ones_never() {
        let verbs = words("");
        assert!(
            ["share", "join", "expose", "completion"]
                .iter()
                .all(|verb| verbs.iter().any(|word| word == verb))
        );
        assert!(!verbs.iter().any(|verb| verb == "man" || verb == "help"), "{verbs:?}");
        assert_eq!(words("-n dev "), verbs);
    }

    #[test]
    fn flags_are_offered_until_they_are_given() {
        let flags = words("join --");
        assert!(["--hub", "--only", "--namespace"].iter().all(|flag| flags.iter().any(|word| word == flag)));
        let flags = words("join --hub https://x --only a --");
        assert!(!flags.iter().any(|flag| flag == "--hub"), "{flags:?}");
        assert!(flags.iter().any(|flag| flag == "--only"), "it can be repeated: {flags:?}");
    }

    #[test]
    fn each_place_wants_its_own_names() {
        for (line, wanted) in [
            ("unexpose ", Wanted::Names(Names::Exposes)),
            ("unexpose a ", Wanted::Nothing),
            ("expose ", Wanted::Names(Names::Services)),
            ("join ", Wanted::Names(Names::Codes)),
            ("join --hub https://x ", Wanted::Names(Names::Codes)),
            ("join a --hub ", Wanted::Nothing),
            ("join a -- make ", Wanted::Files),
            ("join a --api-key-file ", Wanted::Files),
            ("share --revoke ", Wanted::Names(Names::LiveSharesAndCodes)),
            ("share --revoke=", Wanted::Names(Names::LiveSharesAndCodes)),
            ("share -n ", Wanted::Names(Names::Namespaces)),
            ("share --context ", Wanted::Names(Names::Contexts)),
            ("share --frob ", Wanted::Nothing),
        ] {
            assert_eq!(read(line).0, wanted, "{line}");
        }
        assert_eq!(words("expose a --protocol "), ["auto", "tcp", "http", "https"]);
        assert_eq!(words("completion "), ["kubectl", "bash", "zsh", "fish", "powershell"]);
    }

    #[test]
    fn what_was_typed_before_says_where_names_are() {
        let (_, prefix, flags) = read("-nstaging share --context=dev --kubeconfig /k --revoke ab");
        assert_eq!(prefix, "ab");
        let known = |name: &str| flags.get(name).map(String::as_str);
        assert_eq!(
            (known("namespace"), known("context"), known("kubeconfig")),
            (Some("staging"), Some("dev"), Some("/k"))
        );
        let (wanted, prefix, _) = read("expose a --protocol=ht");
        assert!(matches!(wanted, Wanted::Words(_)));
        assert_eq!(prefix, "ht");
    }

    proptest! {
        #[test]
        fn nothing_that_is_typed_panics(line in "(-{0,2}[a-z=]{0,8} ?){0,6}|.{0,30}") {
            let _ = read(&line);
        }
    }
}
