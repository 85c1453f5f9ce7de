//! What the demo prints: chapters, what was typed with its output, what was seen, and a table at the end.

use std::io::Write;

use crate::control_plane::Output;

/// What was told so far.
#[derive(Default)]
pub(super) struct Story {
    chapters: usize,
    /// Rows of the table: the step, and what was seen.
    rows: Vec<(String, String)>,
}

impl Story {
    /// A new step begins.
    pub(super) fn chapter(&mut self, title: &str) {
        self.chapters += 1;
        print(&format!("\n{}. {title}", self.chapters));
    }

    /// What a person typed, and all it printed.
    pub(super) fn typed(&self, output: &Output) {
        self.command(output.command());
        self.said(&output.stdout);
        self.said(&output.stderr);
    }

    /// What a person typed.
    pub(super) fn command(&self, command: &str) {
        print(&format!("   $ {command}"));
    }

    /// What a program printed.
    pub(super) fn said(&self, text: &str) {
        for line in text.lines().filter(|line| !line.trim().is_empty()) {
            print(&format!("   | {line}"));
        }
    }

    /// Something seen on the way.
    pub(super) fn saw(&self, what: &str) {
        print(&format!("   {what}"));
    }

    /// The step ends with this; it becomes a row of the table.
    pub(super) fn seen(&mut self, step: &str, what: &str) {
        print(&format!("   => {what}"));
        self.rows.push((step.to_owned(), what.to_owned()));
    }

    /// The table of all steps.
    pub(super) fn table(&self) {
        let width = self.rows.iter().map(|(step, _)| step.chars().count()).max().unwrap_or_default();
        print("");
        for (step, what) in &self.rows {
            print(&format!("  [ok] {step:<width$}  {what}"));
        }
        print("");
    }
}

fn print(line: &str) {
    // A reader who has gone away wants no more lines, but the demo still cleans up.
    let _ = writeln!(std::io::stdout().lock(), "{line}");
}
