//! What people type out of habit, and the command that does what they mean.

/// Verbs of other tools, and what is the same here.
const VERBS: [(&[&str], &str); 9] = [
    (&["list", "ls", "shares"], "kubectl connect share --list"),
    (&["create", "new", "start"], "kubectl connect share"),
    (&["stop", "unshare", "end", "cancel", "kill"], "kubectl connect revoke"),
    (&["remove", "rm", "del"], "kubectl connect delete"),
    (&["get", "show", "describe", "info", "ps"], "kubectl connect status"),
    (&["check", "diagnose", "test"], "kubectl connect doctor"),
    (&["renew", "prolong", "expire"], "kubectl connect extend"),
    (&["publish", "add"], "kubectl connect expose"),
    (&["hide", "unpublish"], "kubectl connect unexpose"),
];

/// Words for ending a join.
const LEAVING: [&str; 5] = ["leave", "disconnect", "quit", "exit", "unjoin"];

/// First words of `kubectl expose`'s own form.
const SERVICE_WORDS: [&str; 4] = ["svc", "service", "services", "service/"];

/// What was meant by a verb that does not exist; `rest` are the words behind it.
pub fn verb(word: &str, rest: &[String]) -> Option<String> {
    let word = word.to_ascii_lowercase();
    if LEAVING.contains(&word.as_str()) {
        return Some("to leave a share, press Ctrl-C where kubectl connect join runs".to_owned());
    }
    let (_, command) = VERBS.iter().find(|(words, _)| words.contains(&word.as_str()))?;
    // What was typed behind it goes on where it has the same meaning: one plain word, such as a code.
    let target = match rest {
        [target] if is_plain(target) && takes_a_target(command) => format!(" {target}"),
        [] if command.ends_with("revoke") || command.ends_with("delete") => " CODE".to_owned(),
        _ => String::new(),
    };
    Some(format!("use {command}{target}"))
}

/// What was meant by a word or flag that this verb does not take; `words` are all words behind the verb.
pub fn argument(verb: &str, wrong: &str, words: &[String]) -> Option<String> {
    let plain: Vec<&str> =
        words.iter().map(String::as_str).take_while(|word| !word.starts_with('-')).collect();
    match verb {
        "share" => share(wrong, &plain),
        "expose" => expose(wrong, words, &plain),
        "extend" => match plain.as_slice() {
            [share, count, unit, ..] if is_plain(share) && is_plain(count) && matches!(*unit, "h" | "d") => {
                Some(format!("use kubectl connect extend {share} {count}{unit}"))
            }
            _ => None,
        },
        "revoke" | "delete" | "rotate" | "unexpose" if !wrong.starts_with('-') => {
            Some("name one at a time".to_owned())
        }
        "status" if !wrong.starts_with('-') => Some("name one share, or none to see them all".to_owned()),
        _ => None,
    }
}

fn share(wrong: &str, plain: &[&str]) -> Option<String> {
    let target = |command: &str| match plain {
        [_, target] if is_plain(target) => format!("use kubectl connect {command} {target}"),
        _ => format!("use kubectl connect {command}"),
    };
    match wrong {
        "list" | "ls" => Some("use kubectl connect share --list".to_owned()),
        "status" | "show" | "get" => Some(target("status")),
        "revoke" | "stop" | "end" => Some(target("revoke")),
        "delete" | "remove" | "rm" => Some(target("delete")),
        "extend" | "rotate" => Some(target(wrong)),
        word if !word.starts_with('-') && is_service(word) => {
            Some(format!("to share one Service, use kubectl connect share --service {word}"))
        }
        _ => None,
    }
}

/// `expose api 8080`, `expose svc api 8080`, `expose api --port 8080`.
fn expose(wrong: &str, words: &[String], plain: &[&str]) -> Option<String> {
    let plain = match plain {
        [first, rest @ ..] if SERVICE_WORDS.contains(first) => rest,
        all => all,
    };
    let port = match (plain, wrong.trim_start_matches('-')) {
        ([_, port, ..], _) if !wrong.starts_with('-') => (*port).to_owned(),
        ([_], _) if !wrong.starts_with('-') => String::new(),
        (_, "port" | "target-port" | "service-port") => value_of(wrong, words)?,
        _ => return None,
    };
    let service = plain.first()?.split(':').next()?;
    let target = if port.is_empty() { service.to_owned() } else { format!("{service}:{port}") };
    is_service(&target).then(|| format!("use kubectl connect expose {target}"))
}

/// What stands behind a flag that does not exist.
fn value_of(flag: &str, words: &[String]) -> Option<String> {
    let mut words = words.iter().skip_while(|word| word.split('=').next() != Some(flag));
    let found = words.next()?;
    found.split_once('=').map(|(_, value)| value.to_owned()).or_else(|| words.next().cloned())
}

fn takes_a_target(command: &str) -> bool {
    !command.contains("--") && !command.ends_with("doctor") && command != "kubectl connect share"
}

/// Whether a word can stand in a command line as it is.
fn is_plain(word: &str) -> bool {
    !word.is_empty()
        && !word.starts_with('-')
        && word.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.:/".contains(&byte))
}

/// Whether it may be `NAME` or `NAME:PORT`.
fn is_service(word: &str) -> bool {
    is_plain(word) && word.bytes().all(|byte| !byte.is_ascii_uppercase()) && word.split(':').count() <= 2
}
