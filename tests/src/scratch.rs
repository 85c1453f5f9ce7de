//! Folders of our own: one per control plane or test, removed at the end however the end comes.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use tempfile::TempDir;

use crate::reaper;

/// Others may pass through but not look: PostgreSQL runs as another user below it.
const PASSAGE: u32 = 0o711;

/// A folder that is removed when dropped, or by the reaper.
pub struct Scratch {
    dir: TempDir,
}

impl Scratch {
    /// A new folder in the system's temporary folder.
    ///
    /// # Errors
    /// The temporary folder is not writable.
    pub fn new(purpose: &str) -> Result<Self> {
        let dir = tempfile::Builder::new()
            .prefix(&format!("private-connect-{purpose}-"))
            .permissions(Permissions::from_mode(PASSAGE))
            .tempdir()
            .context("cannot make a temporary folder")?;
        reaper::folder(dir.path())?;
        Ok(Self { dir })
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    /// A folder inside, readable by us alone.
    ///
    /// # Errors
    /// It cannot be made.
    pub fn folder(&self, name: &str) -> Result<PathBuf> {
        private_folder(&self.path().join(name))
    }

    /// Leaves the folder where it is.
    pub fn release(self) -> PathBuf {
        reaper::kept(self.dir.path());
        self.dir.keep()
    }
}

/// Makes a folder, unless it is there, that only we can read.
///
/// # Errors
/// It cannot be made.
pub fn private_folder(path: &Path) -> Result<PathBuf> {
    fs::create_dir_all(path)
        .and_then(|()| fs::set_permissions(path, Permissions::from_mode(0o700)))
        .with_context(|| format!("cannot make {}", path.display()))?;
    Ok(path.to_owned())
}

/// Writes a file that only we can read.
///
/// # Errors
/// It cannot be written.
pub fn private_file(path: &Path, content: impl AsRef<[u8]>) -> Result<()> {
    fs::write(path, content)
        .and_then(|()| fs::set_permissions(path, Permissions::from_mode(0o600)))
        .with_context(|| format!("cannot write {}", path.display()))
}
