//! What the repository says of itself: paths that are named exist, versions that stand in several places agree, workflows ask for
//! no more than they need. Small and fast: no cluster, no product.

mod decisions;
mod guides;
mod modules;
mod paths;
mod promises;
mod versions;
mod workflows;

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

/// The workspace.
const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");

/// Every file that git holds or would hold.
fn files() -> Result<Vec<String>> {
    let words = ["-C", ROOT, "ls-files", "--cached", "--others", "--exclude-standard"];
    let output = Command::new("git").args(words).output().context("cannot start git")?;
    ensure!(output.status.success(), "git ls-files: {}", String::from_utf8_lossy(&output.stderr));
    let listed = String::from_utf8(output.stdout).context("names are text")?;
    Ok(listed.lines().filter(|path| Path::new(ROOT).join(path).is_file()).map(str::to_owned).collect())
}

fn read(path: &str) -> Result<String> {
    fs::read_to_string(Path::new(ROOT).join(path)).with_context(|| format!("cannot read {path}"))
}
