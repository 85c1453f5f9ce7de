//! The programs that tests and the demo run: found where they are, else built or installed, saying what and why.
//!
//! Nothing here asks a question. What is built goes to a cache folder that the next run finds; what must be installed is
//! installed by the system's packages when we may, else one sentence says what to install. The crate is small so that
//! `make demo` can tell how far it is before the rest is compiled.

pub mod between;
mod clock;
mod debian;
mod go;
mod kubernetes;
pub mod progress;
mod quiet;

use std::env;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

pub use clock::Clock;
pub use kubernetes::{Kubernetes, Need, kubectl};
pub use progress::{human, say, timed};
pub use quiet::quietly;

/// Helm, from the cache, else built into it.
///
/// # Errors
/// It has to be built and Go is missing, or the build fails.
pub fn helm() -> Result<PathBuf> {
    Ok(go::built("helm", &[("helm", "helm.sh/helm/v4/cmd/helm")])?.join("helm"))
}

/// Asks Flux and kstatus how an object is, by their own code; from the cache, else built into it.
///
/// # Errors
/// It has to be built and Go is missing, or the build fails.
pub fn flux_rules() -> Result<PathBuf> {
    Ok(go::built("flux", &[("flux", ".")])?.join("flux"))
}

/// Asks Argo CD how an object is and what its actions make of it, by its own code; from the cache, else built into it.
///
/// # Errors
/// It has to be built and Go is missing, or the build fails.
pub fn argo_rules() -> Result<PathBuf> {
    Ok(go::built("argo-cd", &[("argo-cd", ".")])?.join("argo-cd"))
}

/// Says what a build context holds, by Docker's own code; from the cache, else built into it.
///
/// # Errors
/// It has to be built and Go is missing, or the build fails.
pub fn build_context() -> Result<PathBuf> {
    Ok(go::built("build-context", &[("build-context", ".")])?.join("build-context"))
}

/// The folder of PostgreSQL's server programs, installed when it is missing and we may.
///
/// # Errors
/// PostgreSQL is missing and we may not install it.
pub fn postgresql() -> Result<PathBuf> {
    debian::provided("PostgreSQL", "postgresql", debian::postgresql_folder)
}

/// The Redis server, installed when it is missing and we may.
///
/// # Errors
/// Redis is missing and we may not install it.
pub fn redis_server() -> Result<PathBuf> {
    debian::provided("Redis", "redis-server", || on_path("redis-server"))
}

/// What stands between teammates, operators and hubs in tests: two proxies and two gateways, installed when they are missing
/// and we may.
///
/// # Errors
/// One is missing and we may not install it.
pub fn in_between() -> Result<()> {
    for (name, package) in [
        ("tinyproxy", "tinyproxy-bin"),
        ("microsocks", "microsocks"),
        ("nginx", "nginx-light"),
        ("haproxy", "haproxy"),
    ] {
        // Debian keeps servers where only root's PATH looks.
        let find = || {
            let of_root = Some(Path::new("/usr/sbin").join(name)).filter(|file| file.is_file());
            on_path(name).or(of_root)
        };
        debian::provided(name, package, find)?;
    }
    Ok(())
}

/// A small program from the package of its name, when it is missing and we may.
///
/// # Errors
/// It is missing and we may not install it.
pub fn script_tool(name: &str) -> Result<PathBuf> {
    debian::provided(name, name, || on_path(name))
}

/// Whether PostgreSQL and Redis are there, so that nothing has to be installed for the demo.
pub fn has_services() -> bool {
    debian::postgresql_folder().is_some() && on_path("redis-server").is_some()
}

/// The program of this name on `PATH`.
pub fn on_path(program: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH")?;
    env::split_paths(&path).map(|folder| folder.join(program)).find(|file| file.is_file())
}

/// Where programs are kept between runs: `$XDG_CACHE_HOME/private-connect` or `~/.cache/private-connect`.
///
/// # Errors
/// There is no home.
pub fn cache() -> Result<PathBuf> {
    let base = env::var_os("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .filter(|path| path.is_absolute())
        .or_else(|| Some(Path::new(&env::var_os("HOME")?).join(".cache")))
        .context(
            "neither XDG_CACHE_HOME nor HOME is set, so there is no folder for built programs: set HOME",
        )?;
    Ok(base.join("private-connect"))
}
