//! The Krew manifest: written from a template for the archives that are there, and checked against them.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, bail, ensure};
use serde::Deserialize;

use super::archive;
use super::platform::Platform;
use super::{MANIFEST, SUMS};

/// After this line of the template comes what is repeated.
const PLATFORMS: &str = "  platforms:\n";

#[derive(Deserialize)]
struct Manifest {
    spec: Spec,
}

#[derive(Deserialize)]
struct Spec {
    platforms: Vec<Named>,
}

#[derive(Deserialize)]
struct Named {
    uri: String,
    sha256: String,
    bin: String,
}

/// The manifest for these platforms, whose archives are in the folder and will be found below the URL.
pub fn manifest(
    template: &str,
    version: &str,
    url: &str,
    folder: &Path,
    platforms: &[Platform],
) -> Result<String> {
    let (head, block) = template.split_once(PLATFORMS).context("the template lists platforms")?;
    let head = head.lines().filter(|line| !line.starts_with('#')).map(|line| format!("{line}\n"));
    let mut manifest = head.collect::<String>().replace("{{version}}", version) + PLATFORMS;
    for platform in platforms {
        let file = platform.archive(version);
        let filled = block
            .replace("{{os}}", platform.os)
            .replace("{{arch}}", platform.arch)
            .replace("{{uri}}", &format!("{}/{file}", url.trim_end_matches('/')))
            .replace("{{sha256}}", &archive::sum(&folder.join(file))?)
            .replace("{{bin}}", platform.program());
        manifest.push_str(&filled);
    }
    ensure!(!manifest.contains("{{"), "the template has a blank that nobody fills in");
    Ok(manifest)
}

/// Whether manifest and sums name the files of a folder: each is there, has that sum, and holds program and licence.
///
/// # Errors
/// Something that is named is not so.
pub fn check(folder: &Path) -> Result<()> {
    let text = fs::read_to_string(folder.join(MANIFEST)).context("cannot read the manifest")?;
    let sums = fs::read_to_string(folder.join(SUMS)).context("cannot read the sums")?;
    let Manifest { spec: Spec { platforms } } =
        serde_saphyr::from_str(&text).context("the manifest cannot be read")?;
    ensure!(!platforms.is_empty(), "the manifest names no archive");
    for Named { uri, sha256, bin } in platforms {
        let file = uri.rsplit('/').next().unwrap_or_default();
        let path = folder.join(file);
        ensure!(path.is_file(), "the manifest names {file}, which is not there");
        let sum = archive::sum(&path)?;
        ensure!(sum == sha256, "the manifest has another sum for {file}");
        ensure!(
            sums.lines().any(|line| line == format!("{sum}  {file}")),
            "{SUMS} has another sum for {file}"
        );
        let names = archive::names(&path)?;
        for needed in [bin.as_str(), "LICENSE"] {
            if !names.iter().any(|name| name == needed) {
                bail!("{file} has no {needed}");
            }
        }
    }
    Ok(())
}
