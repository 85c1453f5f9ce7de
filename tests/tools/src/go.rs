//! Programs written in Go, built from the modules that `tests/control-plane/*/go.mod` pins.
//!
//! Building is the only way that needs nothing but Go and its module proxy. It takes minutes, so it is done once: the
//! folder is named after the pinned versions, a build appears in it by a rename, and a lock keeps two from building at once.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};
use sha2::{Digest, Sha256};

use crate::{cache, on_path, quietly, say, timed};

/// Bytes of the pins' checksum that name the folder: 64 bits, far more than two sets of versions need.
const NAME_BYTES: usize = 8;

/// Nobody debugs these programs, so their compiler need not describe them to a debugger.
const COMPILER_FLAGS: &str = "all=-dwarf=false";

/// Where the Kubernetes programs keep the version they tell; without it they call themselves v0.0.0.
const VERSION_PACKAGE: &str = "k8s.io/component-base/version";

/// The folder with each program of `packages` (name and Go package), built when it is not there.
pub(crate) fn built(module: &str, packages: &[(&str, &str)]) -> Result<PathBuf> {
    let folder = folder(module)?;
    let missing =
        || packages.iter().copied().filter(|(program, _)| !folder.join(program).is_file()).collect();
    let absent: Vec<_> = missing();
    if absent.is_empty() {
        return Ok(folder);
    }
    fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let _lock = lock(&folder)?;
    // Whoever had the lock before us may have built some of them.
    let absent: Vec<_> = missing();
    if !absent.is_empty() {
        build(&source(module), &absent, &folder)?;
    }
    Ok(folder)
}

/// Where the programs of a module are once they are built.
pub(crate) fn folder(module: &str) -> Result<PathBuf> {
    let source = source(module);
    let mut pins = read(&source.join("go.sum"))?;
    // A program of ours is as old as its source.
    let own = source.join("main.go");
    if own.is_file() {
        pins.extend(read(&own)?);
    }
    Ok(cache()?.join(format!("{module}-{}", short_hex(&pins))))
}

/// Major and minor version of Kubernetes that a module pins.
pub(crate) fn version(module: &str) -> Result<(u32, u32)> {
    let version = pinned(&source(module))?.context("no Kubernetes is pinned")?;
    let mut numbers = version.trim_start_matches('v').split('.').map(str::parse);
    let mut next =
        || numbers.next().context("a version has three numbers")?.context("a version is of numbers");
    Ok((next()?, next()?))
}

fn source(module: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../control-plane").join(module)
}

/// All at once: the compiler has most packages in common, and links one while it compiles the next.
fn build(source: &Path, packages: &[(&str, &str)], folder: &Path) -> Result<()> {
    let names = packages.iter().map(|(program, _)| *program).collect::<Vec<_>>().join(", ");
    let go = on_path("go").with_context(|| {
        format!(
            "{names} must be built and there is no `go` on PATH: install Go 1.26 (https://go.dev/dl/), or set \
             KUBEBUILDER_ASSETS to a folder with etcd, kube-apiserver, kube-controller-manager and kubectl"
        )
    })?;
    timed(format!("Building {names} from Go modules, once, into {}", folder.display()), || {
        let partial = folder.join(".partial");
        fs::create_dir_all(&partial).with_context(|| format!("cannot make {}", partial.display()))?;
        let mut command = Command::new(go);
        command.current_dir(source).env("CGO_ENABLED", "0").args([
            "build",
            "-trimpath",
            "-gcflags",
            COMPILER_FLAGS,
        ]);
        command.args(["-ldflags", &linker_flags(source)?, "-o"]).arg(format!("{}/", partial.display()));
        command.args(packages.iter().map(|(_, package)| package));
        quietly("go build", &mut command)?;
        for (program, package) in packages {
            let made = partial.join(called(program, package));
            fs::rename(&made, folder.join(program))
                .with_context(|| format!("go made no {}", made.display()))?;
        }
        fs::remove_dir_all(&partial).with_context(|| format!("cannot remove {}", partial.display()))
    })
}

/// How go calls what it builds of a package: after the last part of its path that is no version.
fn called<'a>(program: &'a str, package: &'a str) -> &'a str {
    let is_version = |part: &&str| part.strip_prefix('v').is_some_and(|rest| rest.parse::<u32>().is_ok());
    package.rsplit('/').find(|part| !is_version(part)).filter(|part| *part != ".").unwrap_or(program)
}

fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).with_context(|| format!("cannot read {}", path.display()))
}

/// Leaves out symbols, and tells the program its version.
fn linker_flags(source: &Path) -> Result<String> {
    let version = pinned(source)?;
    let mut flags = "-s -w".to_owned();
    if let Some(version) = version.as_deref() {
        let mut numbers = version.trim_start_matches('v').split('.');
        let (major, minor) = (numbers.next().unwrap_or_default(), numbers.next().unwrap_or_default());
        for (name, value) in [("gitVersion", version), ("gitMajor", major), ("gitMinor", minor)] {
            flags.push_str(&format!(" -X {VERSION_PACKAGE}.{name}={value}"));
        }
    }
    Ok(flags)
}

/// The version of Kubernetes that a `go.mod` pins.
fn pinned(source: &Path) -> Result<Option<String>> {
    let pins = String::from_utf8(read(&source.join("go.mod"))?).context("go.mod is text")?;
    Ok(pins.lines().find_map(|line| line.trim().strip_prefix("k8s.io/kubernetes ")).map(str::to_owned))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_are_called_as_go_calls_them() {
        for (program, package, name) in [
            ("kubectl", "k8s.io/kubernetes/cmd/kubectl", "kubectl"),
            ("etcd", "go.etcd.io/etcd/server/v3", "server"),
            ("build-context", ".", "build-context"),
        ] {
            assert_eq!(called(program, package), name);
        }
    }

    #[test]
    fn a_version_is_pinned() -> Result<()> {
        assert!(version("kubernetes")? >= (1, 30));
        Ok(())
    }
}
