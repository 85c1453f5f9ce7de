//! The data folder: which one is taken for a hub's, so that a typing error does not begin an empty hub beside the old one.

use std::{
    fs,
    io::ErrorKind,
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

use super::StoreError;

/// The database within the data folder.
const FILE: &str = "hub.sqlite";
/// What a new volume holds that nobody put there; names that begin with a dot are passed over, too.
const VOLUME_ROOT: &str = "lost+found";

/// Which folders will do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Folder {
    /// One that holds a hub.
    OfHub,
    /// That, or one that is empty, as a new volume is.
    OfHubOrEmpty,
    /// Any; it is made when missing.
    Any,
}

/// Why a folder was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoHub {
    /// It is not there.
    #[error("does not exist. To start a new hub, make the folder or run `connect-hubd init` first")]
    Missing,
    /// It has none in it, and there is nothing to ask of a new one.
    #[error("holds no hub. To start a new hub in it, run `connect-hubd init` first")]
    Empty,
    /// It has something else in it.
    #[error(
        "holds other files, but no hub (hub.sqlite). To start a new hub there anyway, run `connect-hubd init` first"
    )]
    OtherFiles,
}

/// Whether there is a hub in `folder`.
pub fn holds_hub(folder: &Path) -> bool {
    folder.join(FILE).exists()
}

/// The file in `folder`, both made readable by us alone.
pub(super) fn prepare(folder: &Path, wanted: Folder) -> Result<PathBuf, StoreError> {
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| StoreError::Prepare { path, source }
    };
    let path = folder.join(FILE);
    if wanted == Folder::Any {
        match fs::DirBuilder::new().recursive(true).mode(0o700).create(folder) {
            Err(error) if error.kind() != ErrorKind::AlreadyExists => return Err(failed(folder)(error)),
            _ => {}
        }
    } else if !path.exists() {
        let why = match fs::read_dir(folder) {
            Err(error) if error.kind() == ErrorKind::NotFound => Some(NoHub::Missing),
            Err(error) => return Err(failed(folder)(error)),
            Ok(mut entries) => match entries.any(|entry| entry.is_ok_and(|entry| is_somebodys(&entry))) {
                true => Some(NoHub::OtherFiles),
                false => (wanted == Folder::OfHub).then_some(NoHub::Empty),
            },
        };
        if let Some(why) = why {
            return Err(StoreError::NoHub { folder: folder.to_owned(), why });
        }
    }
    // SQLite gives its journal files the mode of the database, so this decides for all of them.
    let opened = fs::OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(&path);
    opened.and_then(|file| file.set_permissions(fs::Permissions::from_mode(0o600))).map_err(failed(&path))?;
    Ok(path)
}

fn is_somebodys(entry: &fs::DirEntry) -> bool {
    let name = entry.file_name();
    name != VOLUME_ROOT && !name.as_encoded_bytes().starts_with(b".")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_looks_like_a_hub_or_a_new_volume_is_taken() {
        let root = tempfile::tempdir().expect("a folder");
        let folder = |name: &str, files: &[&str]| {
            let path = root.path().join(name);
            fs::create_dir(&path).expect("makes a folder");
            for file in files {
                fs::write(path.join(file), "").expect("writes");
            }
            path
        };
        let missing = root.path().join("typo/hub");
        let empty = folder("empty", &[]);
        let volume = folder("volume", &[VOLUME_ROOT, ".snapshot"]);
        let other = folder("other", &["passwd"]);
        let hub = folder("hub", &[FILE, "tls.crt"]);
        let table = [
            (&missing, Folder::OfHub, Some(NoHub::Missing)),
            (&missing, Folder::OfHubOrEmpty, Some(NoHub::Missing)),
            (&empty, Folder::OfHub, Some(NoHub::Empty)),
            (&volume, Folder::OfHub, Some(NoHub::Empty)),
            (&other, Folder::OfHub, Some(NoHub::OtherFiles)),
            (&other, Folder::OfHubOrEmpty, Some(NoHub::OtherFiles)),
            (&hub, Folder::OfHub, None),
            (&hub, Folder::OfHubOrEmpty, None),
            (&empty, Folder::OfHubOrEmpty, None),
            (&volume, Folder::OfHubOrEmpty, None),
            (&missing, Folder::Any, None),
            (&other, Folder::Any, None),
        ];
        for (path, wanted, refused) in table {
            let told = match prepare(path, wanted) {
                Ok(_) => None,
                Err(StoreError::NoHub { why, .. }) => Some(why),
                Err(error) => panic!("{}: {error}", path.display()),
            };
            assert_eq!(told, refused, "{} as {wanted:?}", path.display());
        }
    }
}
