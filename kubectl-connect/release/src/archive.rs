//! Archives that are the same whenever they are made of the same files: sorted by us, without owners and times.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::Path;

use anyhow::{Context as _, Result};
use flate2::{Compression, GzBuilder};
use sha2::{Digest, Sha256};
use tar::{Builder, Header};

/// Rights of a program and of everything else.
const PROGRAM: u32 = 0o755;
const DATA: u32 = 0o644;

/// A file of an archive.
pub struct Entry {
    name: String,
    mode: u32,
    bytes: Vec<u8>,
}

// === impl Entry ===

impl Entry {
    /// A program.
    pub fn program(name: &str, bytes: Vec<u8>) -> Self {
        Self { name: name.to_owned(), mode: PROGRAM, bytes }
    }

    /// Anything else.
    pub fn data(name: &str, bytes: Vec<u8>) -> Self {
        Self { name: name.to_owned(), mode: DATA, bytes }
    }

    /// A file as it is; a script stays executable.
    pub fn file(name: &str, path: &Path) -> Result<Self> {
        let bytes = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
        Ok(if bytes.starts_with(b"#!") { Self::program(name, bytes) } else { Self::data(name, bytes) })
    }
}

/// Writes an archive.
pub fn write(path: &Path, entries: &[Entry]) -> Result<()> {
    let failed = || format!("cannot write {}", path.display());
    let file = File::create(path).with_context(failed)?;
    // No time and no name of a file inside: both would differ from one run to the next.
    let mut archive = Builder::new(GzBuilder::new().mtime(0).write(file, Compression::best()));
    for Entry { name, mode, bytes } in entries {
        let mut header = Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_mode(*mode);
        header.set_mtime(0);
        header.set_cksum();
        archive.append_data(&mut header, name, bytes.as_slice()).with_context(failed)?;
    }
    let mut file = archive.into_inner().and_then(flate2::write::GzEncoder::finish).with_context(failed)?;
    file.flush().with_context(failed)
}

/// The names of what is in an archive.
pub fn names(path: &Path) -> Result<Vec<String>> {
    let failed = || format!("cannot read {}", path.display());
    let file = File::open(path).with_context(failed)?;
    let mut archive = tar::Archive::new(flate2::read::GzDecoder::new(file));
    let entries = archive.entries().with_context(failed)?;
    entries.map(|entry| Ok(entry?.path()?.to_string_lossy().into_owned())).collect()
}

/// The SHA-256 of a file, in hexadecimal digits.
pub fn sum(path: &Path) -> Result<String> {
    let bytes = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    Ok(Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect())
}
