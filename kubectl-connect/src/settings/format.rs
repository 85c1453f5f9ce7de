//! How an answer is printed: which forms there are, and which flags go together.

use crate::cli::{ObjectOutputArg, ObjectOutputArgs, OutputArg, OutputArgs};
use crate::failure::{Failure, Outcome};

/// The form of an answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// Words for people.
    #[default]
    Human,
    /// A table with more columns.
    Wide,
    /// One JSON document.
    Json,
    /// One YAML document.
    Yaml,
    /// `kind.group/name`, a line for each object.
    Name,
    /// Markdown for a pull request.
    Markdown {
        /// Whether the code is in it.
        show_code: bool,
    },
}

/// Checks `-o` and what belongs to it.
///
/// # Errors
/// `--show-code` without the form that it speaks of.
pub fn format(args: &OutputArgs) -> Outcome<Format> {
    let OutputArgs { output, show_code } = *args;
    if show_code && output != Some(OutputArg::Md) {
        return Err(Failure::new(
            "--show-code needs -o md: every other form shows the code to users who can read its Secret",
        ));
    }
    Ok(match output {
        None => Format::Human,
        Some(OutputArg::Wide) => Format::Wide,
        Some(OutputArg::Json) => Format::Json,
        Some(OutputArg::Yaml) => Format::Yaml,
        Some(OutputArg::Name) => Format::Name,
        Some(OutputArg::Md) => Format::Markdown { show_code },
    })
}

/// The form of an object: what kubectl knows, and words for people.
pub fn object(args: &ObjectOutputArgs) -> Format {
    match args.output {
        None => Format::Human,
        Some(ObjectOutputArg::Json) => Format::Json,
        Some(ObjectOutputArg::Yaml) => Format::Yaml,
        Some(ObjectOutputArg::Name) => Format::Name,
    }
}

/// A label selector, checked as far as it can be without the cluster.
///
/// # Errors
/// It is empty.
pub fn selector(text: Option<String>) -> Outcome<Option<String>> {
    match text {
        Some(text) if text.trim().is_empty() => {
            Err(Failure::new("--selector needs labels, for example -l preview=pr-1234"))
        }
        text => Ok(text),
    }
}

// === impl Format ===

impl Format {
    /// Whether talk such as "Creating..." belongs on stdout: only where people read it.
    pub fn is_human(self) -> bool {
        self == Self::Human
    }
}
