//! The man pages, one per verb, from the same definition as the help.

use std::path::Path;

use clap::CommandFactory as _;

use crate::cli::Cli;
use crate::failure::{Failure, Outcome, words_of};

/// Writes them to a folder.
pub fn run(folder: &Path) -> Outcome<()> {
    clap_mangen::generate_to(Cli::command(), folder).map_err(|error| {
        Failure::new(format!("Cannot write man pages to {}: {}", folder.display(), words_of(error.kind())))
    })
}
