//! A command line that was pasted as a whole: `kubectl connect join CODE --hub URL`.

use super::visible;

/// Flags that are followed by a value, which is no code.
const WITH_VALUE: [&str; 18] = [
    "--config",
    "--hub-ca-file",
    "--api-key-file",
    "--label",
    "--address",
    "--port",
    "--only",
    "--service",
    "--namespace",
    "-n",
    "--context",
    "--cluster",
    "--user",
    "--kubeconfig",
    "--as",
    "--as-group",
    "--request-timeout",
    "--code-file",
];

/// What of a line is of use.
pub(super) struct Line<'a> {
    /// What is no flag: the code, in one word or several.
    pub(super) words: Vec<&'a str>,
    pub(super) hub: Option<&'a str>,
    pub(super) allows_insecure: bool,
    pub(super) through_cluster: bool,
}

// === impl Line ===

impl<'a> Line<'a> {
    /// The line in a text, if it is one.
    pub(super) fn find(text: &'a str) -> Option<Self> {
        let words: Vec<&str> = text.split(' ').filter(|word| !word.is_empty()).collect();
        let is_verb = |(at, word): (usize, &&str)| {
            visible::bare(word) == "join"
                && words.get(at.wrapping_sub(1)).is_none_or(|before| before.ends_with("connect"))
        };
        let verb = words.iter().enumerate().position(is_verb).filter(|at| at + 1 < words.len());
        let has_hub = || words.iter().any(|word| word.starts_with("--hub"));
        let from = verb.map_or_else(|| has_hub().then_some(0), |at| Some(at + 1))?;
        Some(Self::read(&words[from..]))
    }

    fn read(words: &[&'a str]) -> Self {
        let mut line = Self { words: Vec::new(), hub: None, allows_insecure: false, through_cluster: false };
        let mut rest = words.iter().copied();
        while let Some(word) = rest.next() {
            match visible_flag(word) {
                "--" => break,
                "--hub" | "-H" => line.hub = rest.next(),
                "--allow-insecure-hub" => line.allows_insecure = true,
                "--through-cluster" => line.through_cluster = true,
                flag if WITH_VALUE.contains(&flag) => drop(rest.next()),
                flag if flag.starts_with("--hub=") => line.hub = flag.strip_prefix("--hub="),
                flag if flag.starts_with('-') => {}
                _ => line.words.push(word),
            }
        }
        line
    }
}

/// A word without a quote or a full stop behind it, as far as it may be a flag.
fn visible_flag(word: &str) -> &str {
    if word.starts_with('-') { word.trim_end_matches(['"', '\'', '`', '.', ',']) } else { word }
}
