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
        printer.talk(&format!("[!] {tool} manages share {name} and may revert this change\n"));
        return Ok(());
    }
    printer.data(&document::yaml(change)?)?;
    Err(Failure::new(format!("{tool} manages share {name} and would revert the change: nothing was changed"))
        .hint("Commit the lines above to its manifest, or change it here anyway with --force."))
}

/// Lets a deletion pass unless a GitOps tool manages the share: it would make it again, with another code.
///
/// # Errors
/// A tool manages the share.
pub fn check_deletion(share: &EnvironmentShare, force: bool, printer: Printer) -> Outcome<()> {
    let Some(tool) = gitops::manager(share) else { return Ok(()) };
    let name = share.name_any();
    if force {
        printer.talk(&format!("[!] {tool} manages share {name} and may create it again\n"));
        return Ok(());
    }
    Err(Failure::new(format!("{tool} manages share {name} and would create it again: nothing was deleted"))
        .hint("Remove its manifest from Git, end it with kubectl connect revoke, or delete it here anyway with --force."))
}
