//! `version`: what this plugin is. Asks nobody.

use crate::failure::Outcome;
use crate::printer::Printer;

/// Prints the version.
pub fn run(printer: Printer) -> Outcome<()> {
    printer.data(&format!("kubectl-connect {}\n", env!("CARGO_PKG_VERSION")))?;
    Ok(())
}
