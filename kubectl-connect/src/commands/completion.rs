//! `completion`: the scripts that make shells, or kubectl itself, complete what one types.

use clap::CommandFactory as _;
use clap_complete::{Shell, generate};

use crate::cli::{Cli, ShellArg};
use crate::failure::Outcome;
use crate::printer::Printer;

/// The name under which the scripts for shells complete; `kubectl connect` is completed by kubectl.
const PROGRAM: &str = "kubectl-connect";

/// kubectl runs a program of the name `kubectl_complete-connect` with the words that were typed after `connect`.
const FOR_KUBECTL: &str = "\
#!/bin/sh
# Completes `kubectl connect`: put this on the PATH, executable, under the name kubectl_complete-connect.
exec kubectl-connect __complete \"$@\"
";

/// Prints a script.
pub fn run(shell: ShellArg, printer: Printer) -> Outcome<()> {
    let shell = match shell {
        ShellArg::Kubectl => return Ok(printer.data(FOR_KUBECTL)?),
        ShellArg::Bash => Shell::Bash,
        ShellArg::Zsh => Shell::Zsh,
        ShellArg::Fish => Shell::Fish,
        ShellArg::Powershell => Shell::PowerShell,
    };
    let mut script = Vec::new();
    generate(shell, &mut Cli::command(), PROGRAM, &mut script);
    Ok(printer.data(&String::from_utf8_lossy(&script))?)
}
