//! What a release consists of: an archive for each platform, their sums, and the Krew manifest that names them.
//!
//! An archive has the plugin, its licence, man pages, completions and a bill of materials. It is made here for every
//! platform whose Rust target is installed; the release workflow runs the same on machines for the others.

mod archive;
mod bom;
mod krew;
mod platform;

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail, ensure};
use serde::Deserialize;

use archive::Entry;
pub use krew::check;
pub use platform::Platform;

/// The plugin's package and program.
const PLUGIN: &str = "kubectl-connect";

/// The programs of the operator's image.
const IN_THE_IMAGE: [&str; 2] = ["connect-operator", "connect-hubd"];

/// What the image's programs are resolved for.
const IMAGE_TARGET: &str = "x86_64-unknown-linux-gnu";

/// The sums of all archives, as `sha256sum --check` reads them.
const SUMS: &str = "SHA256SUMS";

/// The Krew manifest.
const MANIFEST: &str = "connect.yaml";

/// What to make.
pub struct Plan {
    /// Where everything goes.
    pub folder: PathBuf,
    /// Rust targets to build for; none means all that are installed.
    pub targets: Vec<String>,
    /// Only sums and manifest, of the archives that are there.
    pub manifest_only: bool,
    /// Fail unless the manifest names every platform.
    pub complete: bool,
    /// Where the archives will be found. Default: the folder.
    pub url: Option<String>,
}

/// Makes a release, or the part of it that can be made here.
///
/// # Errors
/// A build fails, or the manifest does not name what is there.
pub fn run(plan: &Plan) -> Result<()> {
    let Plan { folder, targets, manifest_only, complete, url } = plan;
    fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let folder = folder.canonicalize()?;
    if !manifest_only {
        for platform in chosen(targets)? {
            let program = build(platform)?;
            let path = pack(platform, &program, &folder)?;
            eprintln!("Packed {}", path.display());
        }
        bill_the_image(&folder)?;
    }
    let url = url.clone().unwrap_or_else(|| format!("file://{}", folder.display()));
    let named = publish(&folder, &url)?;
    for platform in Platform::ALL.iter().filter(|platform| !named.contains(*platform)) {
        ensure!(!complete, "there is no archive for {}", platform.name());
        eprintln!("Not here: {}. The release workflow builds it ({}).", platform.name(), platform.target);
    }
    Ok(())
}

/// Writes sums and manifest for the archives in the folder, and checks them. Gives the platforms that they name.
///
/// # Errors
/// There is no archive, or what was written does not fit what is there.
pub fn publish(folder: &Path, url: &str) -> Result<Vec<Platform>> {
    let there: Vec<_> = Platform::ALL
        .into_iter()
        .filter(|platform| folder.join(platform.archive(VERSION)).is_file())
        .collect();
    ensure!(!there.is_empty(), "there is no archive in {}", folder.display());
    let mut sums = String::new();
    for platform in &there {
        let name = platform.archive(VERSION);
        sums.push_str(&format!("{}  {name}\n", archive::sum(&folder.join(&name))?));
    }
    fs::write(folder.join(SUMS), sums).context("cannot write the sums")?;
    let template = fs::read_to_string(workspace()?.join(PLUGIN).join("krew").join(MANIFEST))
        .context("cannot read the manifest's template")?;
    let manifest = krew::manifest(&template, VERSION, url, folder, &there)?;
    fs::write(folder.join(MANIFEST), manifest).context("cannot write the manifest")?;
    check(folder)?;
    Ok(there)
}

/// Writes a bill of materials for each program of the operator's image, whose two platforms link the same crates.
///
/// # Errors
/// Cargo does not resolve a program, or the folder is not writable.
pub fn bill_the_image(folder: &Path) -> Result<Vec<PathBuf>> {
    let bills = IN_THE_IMAGE.iter().map(|program| {
        let path = folder.join(format!("{program}.cdx.json"));
        fs::write(&path, bom::of(program, IMAGE_TARGET)?)
            .with_context(|| format!("cannot write {}", path.display()))?;
        Ok(path)
    });
    bills.collect()
}

/// Packs a program and what belongs to it.
///
/// # Errors
/// A file that belongs to it is missing, or the folder is not writable.
pub fn pack(platform: Platform, program: &Path, folder: &Path) -> Result<PathBuf> {
    let workspace = workspace()?;
    let plugin = workspace.join(PLUGIN);
    let mut entries = vec![
        Entry::program(
            platform.program(),
            fs::read(program).with_context(|| format!("cannot read {}", program.display()))?,
        ),
        Entry::file("LICENSE", &workspace.join("LICENSE"))?,
        Entry::file("CHANGELOG.md", &workspace.join("CHANGELOG.md"))?,
        Entry::data("kubectl-connect.cdx.json", bom::of(PLUGIN, platform.target)?),
    ];
    for (inside, beside) in [("man", plugin.join("man")), ("completions", plugin.join("completions"))] {
        let mut names: Vec<_> = fs::read_dir(&beside)
            .and_then(|files| files.map(|file| Ok(file?.file_name())).collect::<std::io::Result<_>>())
            .with_context(|| format!("cannot read {}", beside.display()))?;
        names.sort();
        for name in names {
            let text = name.to_string_lossy();
            entries.push(Entry::file(&format!("{inside}/{text}"), &beside.join(&name))?);
        }
    }
    let path = folder.join(platform.archive(VERSION));
    archive::write(&path, &entries)?;
    Ok(path)
}

/// The version of everything in the workspace.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

fn chosen(targets: &[String]) -> Result<Vec<Platform>> {
    if targets.is_empty() {
        let installed: Vec<_> =
            Platform::ALL.into_iter().filter(|platform| is_installed(platform.target)).collect();
        ensure!(!installed.is_empty(), "no Rust target of a platform is installed: see rustup target list");
        return Ok(installed);
    }
    let known = |target: &String| Platform::ALL.into_iter().find(|platform| platform.target == target);
    targets
        .iter()
        .map(|target| known(target).with_context(|| format!("{target} is no target of a release")))
        .collect()
}

/// Whether the standard library for a target is installed.
fn is_installed(target: &str) -> bool {
    let output = Command::new("rustc").args(["--print", "target-libdir", "--target", target]).output();
    output.is_ok_and(|output| {
        output.status.success() && Path::new(String::from_utf8_lossy(&output.stdout).trim()).is_dir()
    })
}

#[derive(Deserialize)]
struct Artifact {
    executable: Option<PathBuf>,
}

fn build(platform: Platform) -> Result<PathBuf> {
    eprintln!("Building {PLUGIN} for {}", platform.name());
    let output = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .current_dir(workspace()?)
        .args(["build", "--release", "--locked", "--package", PLUGIN, "--target", platform.target])
        .arg("--message-format=json-render-diagnostics")
        .stderr(std::process::Stdio::inherit())
        .output()
        .context("cannot start cargo")?;
    if !output.status.success() {
        bail!("building for {} ended with {}", platform.name(), output.status);
    }
    String::from_utf8_lossy(&output.stdout)
        .lines()
        .filter_map(|line| serde_json::from_str::<Artifact>(line).ok()?.executable)
        .next_back()
        .context("cargo built no program")
}

fn workspace() -> Result<&'static Path> {
    let own = Path::new(env!("CARGO_MANIFEST_DIR"));
    own.ancestors().nth(2).context("kubectl-connect/release/ is in the workspace")
}
