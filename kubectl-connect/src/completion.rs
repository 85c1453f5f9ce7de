//! What could stand where the cursor is, asked by the script that `completion kubectl` prints.
//!
//! `line` finds out what is wanted from the definition of the command line; `names` asks the cluster for names. Whoever
//! presses Tab wants words or nothing: no failure is ever shown, and nobody waits long.

mod line;
mod names;

use std::time::Duration;

use clap::CommandFactory as _;

use crate::cli::Cli;
use crate::failure::Outcome;
use crate::printer::Printer;
use line::{Line, Wanted};

/// The hidden verb; a word that clap would take apart.
const VERB: &str = "__complete";

/// Longest wait for the cluster. Longer, and whoever pressed Tab goes on typing.
const PATIENCE: Duration = Duration::from_secs(2);

/// What kubectl's completion understands in the last line: complete files, as shells do by themselves.
const FILES: &str = ":0";

/// The same: complete no files.
const NO_FILES: &str = ":4";

/// A word that could stand there, and what it means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// The word.
    pub word: String,
    /// What it means, in a few words; may be empty.
    pub about: String,
}

/// The words that were typed after `connect`, when that is what the process was started for.
pub fn asked(mut arguments: impl Iterator<Item = String>) -> Option<Vec<String>> {
    (arguments.nth(1)? == VERB).then(|| arguments.collect())
}

/// Prints what could stand there.
pub fn answer(words: &[String], printer: Printer) -> Outcome<()> {
    let mut root = Cli::command();
    root.build();
    let line = Line::read(&root, words);
    let (candidates, directive) = match line.wanted {
        Wanted::Words(candidates) => (candidates, NO_FILES),
        Wanted::Files => (Vec::new(), FILES),
        Wanted::Nothing => (Vec::new(), NO_FILES),
        Wanted::Names(names) => (names::find(names, &line.flags), NO_FILES),
    };
    let mut text = String::new();
    for Candidate { word, about } in candidates {
        if word.starts_with(line.prefix) && word.chars().all(|character| character.is_ascii_graphic()) {
            let about = crate::sanitize::Clean::new(&about);
            text.push_str(&if about.as_str().is_empty() {
                format!("{word}\n")
            } else {
                format!("{word}\t{about}\n")
            });
        }
    }
    text.push_str(directive);
    text.push('\n');
    Ok(printer.data(&text)?)
}

// === impl Candidate ===

impl Candidate {
    fn new(word: impl Into<String>, about: impl Into<String>) -> Self {
        Self { word: word.into(), about: about.into() }
    }
}
