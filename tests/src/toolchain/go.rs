//! Programs written in Go, built from the modules that `tests/control-plane/*/go.mod` pin.
//!
//! Building is the only way that needs nothing but Go and its module proxy. It takes minutes, so it is done once: the
//! folder is named after the pinned versions, a build appears in it by a rename, and a lock keeps two from building at once.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use sha2::{Digest, Sha256};

use super::{cache, on_path};
use crate::progress::{say, timed};

/// Bytes of the pins' checksum that name the folder: 64 bits, far more than two sets of versions need.
const NAME_BYTES: usize = 8;

/// Where the Kubernetes programs keep the version they tell; without it they call themselves v0.0.0.
const VERSION_PACKAGE: &str = "k8s.io/component-base/version";

/// The folder with each program of `packages` (name and Go package), built when it is not there.
pub(super) fn built(module: &str, packages: &[(&str, &str)]) -> Result<PathBuf> {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("control-plane").join(module);
    let mut pins = read(&source.join("go.sum"))?;
    // A program of ours is as old as its source.
    let own = source.join("main.go");
    if own.is_file() {
        pins.extend(read(&own)?);
    }
    let folder = cache()?.join(format!("{module}-{}", short_hex(&pins)));
    let missing = |folder: &Path| -> Vec<(String, String)> {
        let absent = packages.iter().filter(|(program, _)| !folder.join(program).is_file());
        absent.map(|(program, package)| ((*program).to_owned(), (*package).to_owned())).collect()
    };
    if missing(&folder).is_empty() {
        return Ok(folder);
    }
    fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let _lock = lock(&folder)?;
    // Whoever had the lock before us may have built some of them.
    for (program, package) in missing(&folder) {
        build(&source, &program, &package, &folder)?;
    }
    Ok(folder)
}

fn build(source: &Path, program: &str, package: &str, folder: &Path) -> Result<()> {
    let go = on_path("go").with_context(|| {
        format!(
            "{program} has to be built and there is no `go` on PATH: install Go 1.26 (https://go.dev/dl/), \
             or set KUBEBUILDER_ASSETS to a folder with etcd, kube-apiserver, kube-controller-manager and kubectl"
        )
    })?;
    let what = format!("Building {program} from its Go module, once, into {}", folder.display());
    let partial = folder.join(format!(".{program}.partial"));
    timed(what, || {
        let status = Command::new(go)
            .current_dir(source)
            .env("CGO_ENABLED", "0")
            .args(["build", "-trimpath", "-ldflags", &linker_flags(source)?, "-o"])
            .arg(&partial)
            .arg(package)
            .status()
            .context("cannot start go")?;
        ensure!(status.success(), "go build {package} ended with {status}; what it said is above");
        fs::rename(&partial, folder.join(program)).with_context(|| format!("cannot put {program} in place"))
    })
}

fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).with_context(|| format!("cannot read {}", path.display()))
}

/// Leaves out symbols, and tells the program its version.
fn linker_flags(source: &Path) -> Result<String> {
    let pins = source.join("go.mod");
    let pins = fs::read_to_string(&pins).with_context(|| format!("cannot read {}", pins.display()))?;
    let version = pins.lines().find_map(|line| line.trim().strip_prefix("k8s.io/kubernetes "));
    let mut flags = "-s -w".to_owned();
    if let Some(version) = version {
        let mut numbers = version.trim_start_matches('v').split('.');
        let (major, minor) = (numbers.next().unwrap_or_default(), numbers.next().unwrap_or_default());
        for (name, value) in [("gitVersion", version), ("gitMajor", major), ("gitMinor", minor)] {
            flags.push_str(&format!(" -X {VERSION_PACKAGE}.{name}={value}"));
        }
    }
    Ok(flags)
}

/// Held until dropped; the system gives it up for us when we end.
fn lock(folder: &Path) -> Result<File> {
    let path = folder.with_extension("lock");
    let file = File::create(&path).with_context(|| format!("cannot write {}", path.display()))?;
    if file.try_lock().is_err() {
        say(format_args!("Waiting for another run that builds into {}", folder.display()));
        file.lock().with_context(|| format!("cannot lock {}", path.display()))?;
    }
    Ok(file)
}

fn short_hex(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().take(NAME_BYTES).map(|byte| format!("{byte:02x}")).collect()
}
