//! The programs that tests and the demo run: found where they are, else built or installed, saying what and why.
//!
//! Nothing here asks a question. What is built goes to a cache folder that the next run finds; what must be installed is
//! installed by the system's packages when we may, else one sentence says what to install.

mod debian;
mod go;
mod product;

use std::env;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

pub use product::{Product, faulty_operator, product};

use crate::progress::say;

/// Names a folder with the Kubernetes programs, as known from controller-runtime's tests.
const ASSETS: &str = "KUBEBUILDER_ASSETS";

/// What the control plane consists of, and kubectl to talk to it.
const ETCD: &str = "etcd";
const API_SERVER: &str = "kube-apiserver";
const CONTROLLER_MANAGER: &str = "kube-controller-manager";
const KUBECTL: &str = "kubectl";
const KUBERNETES: [&str; 4] = [ETCD, API_SERVER, CONTROLLER_MANAGER, KUBECTL];

/// The programs of a real control plane.
#[derive(Clone, Debug)]
pub struct Kubernetes {
    folder: PathBuf,
}

impl Kubernetes {
    /// The store.
    pub fn etcd(&self) -> PathBuf {
        self.folder.join(ETCD)
    }

    /// The API server.
    pub fn api_server(&self) -> PathBuf {
        self.folder.join(API_SERVER)
    }

    /// The controllers.
    pub fn controller_manager(&self) -> PathBuf {
        self.folder.join(CONTROLLER_MANAGER)
    }

    /// The command line.
    pub fn kubectl(&self) -> PathBuf {
        self.folder.join(KUBECTL)
    }
}

/// The Kubernetes programs: from `KUBEBUILDER_ASSETS` when it has them all, else from the cache, else built into it.
///
/// # Errors
/// They have to be built and Go is missing, or the build fails.
pub async fn kubernetes() -> Result<Kubernetes> {
    blocking(|| {
        if let Some(folder) = env::var_os(ASSETS).map(PathBuf::from) {
            match KUBERNETES.iter().find(|program| !folder.join(program).is_file()) {
                None => return Ok(Kubernetes { folder }),
                Some(missing) => {
                    say(format_args!(
                        "{ASSETS} names {}, which has no {missing}: not used",
                        folder.display()
                    ));
                }
            }
        }
        let packages = [
            (API_SERVER, "k8s.io/kubernetes/cmd/kube-apiserver"),
            (CONTROLLER_MANAGER, "k8s.io/kubernetes/cmd/kube-controller-manager"),
            (KUBECTL, "k8s.io/kubernetes/cmd/kubectl"),
            (ETCD, "go.etcd.io/etcd/server/v3"),
        ];
        Ok(Kubernetes { folder: go::built("kubernetes", &packages)? })
    })
    .await
}

/// Helm, from the cache, else built into it.
///
/// # Errors
/// It has to be built and Go is missing, or the build fails.
pub async fn helm() -> Result<PathBuf> {
    blocking(|| Ok(go::built("helm", &[("helm", "helm.sh/helm/v4/cmd/helm")])?.join("helm"))).await
}

/// Says what a build context holds, by Docker's own code; from the cache, else built into it.
///
/// # Errors
/// It has to be built and Go is missing, or the build fails.
pub async fn build_context() -> Result<PathBuf> {
    let built = || go::built("build-context", &[("build-context", ".")]);
    blocking(move || Ok(built()?.join("build-context"))).await
}

/// The folder of PostgreSQL's server programs, installed when it is missing and we may.
///
/// # Errors
/// PostgreSQL is missing and we may not install it.
pub async fn postgresql() -> Result<PathBuf> {
    blocking(|| debian::provided("PostgreSQL", "postgresql", debian::postgresql_folder)).await
}

/// The Redis server, installed when it is missing and we may.
///
/// # Errors
/// Redis is missing and we may not install it.
pub async fn redis_server() -> Result<PathBuf> {
    blocking(|| debian::provided("Redis", "redis-server", || on_path("redis-server"))).await
}

/// A small program that scripts of ours call, such as jq, from the package of its name when it is missing and we may.
///
/// # Errors
/// It is missing and we may not install it.
pub async fn script_tool(name: &'static str) -> Result<PathBuf> {
    blocking(move || debian::provided(name, name, || on_path(name))).await
}

/// The program of this name on `PATH`.
pub fn on_path(program: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH")?;
    env::split_paths(&path).map(|folder| folder.join(program)).find(|file| file.is_file())
}

/// Where programs are kept between runs: `$XDG_CACHE_HOME/private-connect` or `~/.cache/private-connect`.
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

/// Runs work of minutes without holding up the runtime.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    tokio::task::spawn_blocking(work).await.context("the work was given up")?
}
