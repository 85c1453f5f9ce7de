//! What a GitOps tool manages is changed in Git: it would put back what is changed here.

use connect_crds::{EnvironmentShare, gitops};
use kube::ResourceExt;
use serde_json::Value;

use crate::failure::{Failure, Outcome};
use crate::printer::Printer;
use crate::views::document;

/// Lets a change pass unless a GitOps tool manages the share. Then the lines to commit are printed instead, and nothing is
/// changed; with `force` it is changed all the same, with a warning.
///
/// # Errors
/// A tool manages the share.
pub fn check(share: &EnvironmentShare, change: &Value, force: bool, printer: Printer) -> Outcome<()> {
    let Some(tool) = gitops::manager(share) else { return Ok(()) };
    let name = share.name_any();
    if force {
        printer.talk(&format!("[!] {tool} manages share {name} and may put back what is changed here\n"));
        return Ok(());
    }
    printer.data(&document::yaml(change)?)?;
    Err(Failure::new(format!(
        "{tool} manages share {name} and would put back what is changed here: nothing was changed"
    ))
    .hint("Commit the lines above to its manifest, or change it here all the same with --force."))
}
