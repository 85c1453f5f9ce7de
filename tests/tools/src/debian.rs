//! PostgreSQL and Redis, from the system's packages.

use std::cmp::Reverse;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;

use anyhow::{Context as _, Result, bail};

use crate::{on_path, quietly, timed};

/// Debian and its children keep each version's programs here, off `PATH`.
const VERSIONS: &str = "/usr/lib/postgresql";

/// Programs without which a folder is of no use to us.
const NEEDED: [&str; 2] = ["initdb", "postgres"];

/// What `find` finds, after installing `package` when it finds nothing and we may install.
pub(crate) fn provided(name: &str, package: &str, find: impl Fn() -> Option<PathBuf>) -> Result<PathBuf> {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _turn = ONE_AT_A_TIME.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    if let Some(found) = find() {
        return Ok(found);
    }
    let (Some(apt), true) = (on_path("apt-get"), rustix::process::geteuid().is_root()) else {
        bail!(
            "{name} is needed and was not found: install it (on Debian or Ubuntu `sudo apt-get install {package}`)"
        );
    };
    timed(format!("Installing {name} by apt-get, because it was not found"), || {
        run(&apt, &["update", "--quiet=2"])?;
        run(&apt, &["install", "--yes", "--quiet=2", "--no-install-recommends", package])
    })?;
    find().with_context(|| format!("apt-get installed {package}, and {name} is still not there"))
}

/// The newest PostgreSQL: among the system's versions, else beside `initdb` on `PATH`.
pub(crate) fn postgresql_folder() -> Option<PathBuf> {
    let complete = |folder: &PathBuf| NEEDED.iter().all(|program| folder.join(program).is_file());
    let mut versions: Vec<(u32, PathBuf)> = fs::read_dir(VERSIONS)
        .into_iter()
        .flatten()
        .filter_map(|entry| {
            let path = entry.ok()?.path();
            Some((path.file_name()?.to_str()?.parse().ok()?, path.join("bin")))
        })
        .filter(|(_, folder)| complete(folder))
        .collect();
    versions.sort_by_key(|(version, _)| Reverse(*version));
    let beside = || Some(on_path("initdb")?.parent()?.to_owned()).filter(complete);
    versions.into_iter().next().map(|(_, folder)| folder).or_else(beside)
}

fn run(apt: &Path, arguments: &[&str]) -> Result<()> {
    let mut command = Command::new(apt);
    command.args(arguments).env("DEBIAN_FRONTEND", "noninteractive");
    // The packages would start a server of their own, which nobody asked for.
    command.env("RUNLEVEL", "1");
    quietly(&format!("apt-get {}", arguments.join(" ")), &mut command)
}
