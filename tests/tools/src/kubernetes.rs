//! The programs of a real control plane: what the machine has, else what is built from Go modules.

use std::cmp::Reverse;
use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;

use crate::{go, on_path, say};

/// Names a folder with the Kubernetes programs, as known from controller-runtime's tests.
const ASSETS: &str = "KUBEBUILDER_ASSETS";

/// What the control plane consists of, and kubectl to talk to it: each with its Go package.
const ETCD: (&str, &str) = ("etcd", "go.etcd.io/etcd/server/v3");
const API_SERVER: (&str, &str) = ("kube-apiserver", "k8s.io/kubernetes/cmd/kube-apiserver");
const CONTROLLER_MANAGER: (&str, &str) =
    ("kube-controller-manager", "k8s.io/kubernetes/cmd/kube-controller-manager");
const KUBECTL: (&str, &str) = ("kubectl", "k8s.io/kubernetes/cmd/kubectl");

/// The folder in `tests/control-plane` whose `go.mod` pins them.
const MODULE: &str = "kubernetes";

/// The oldest API server that our definitions are made for: 1.30.
const OLDEST: (u32, u32) = (1, 30);

/// How many minor versions kubectl may be away from its API server, by Kubernetes' own rule.
const SKEW: u32 = 1;

/// Where setup-envtest keeps what it fetched, below the folder of a user's data on Linux and on a Mac.
const ENVTEST: [(&str, &str); 2] = [
    (".local/share", "kubebuilder-envtest/k8s"),
    ("Library/Application Support", "io.kubebuilder.envtest/k8s"),
];

/// Where kubebuilder's own installation was, before setup-envtest.
const KUBEBUILDER: &str = "/usr/local/kubebuilder/bin";

/// What somebody wants of a control plane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// An API server that stores, judges and tells: enough for the demo. Any version that our definitions are made for.
    ApiServer,
    /// Its controllers, too: namespaces that are deleted, garbage that is collected. The version that is pinned.
    Everything,
}

/// The programs of a real control plane.
#[derive(Clone, Debug)]
pub struct Kubernetes {
    etcd: PathBuf,
    api_server: PathBuf,
    controller_manager: Option<PathBuf>,
    kubectl: PathBuf,
}

impl Kubernetes {
    /// The programs: from `KUBEBUILDER_ASSETS` when it has them all, else from the cache, else, where any version does, from
    /// setup-envtest's folder; else built into the cache.
    ///
    /// # Errors
    /// They have to be built and Go is missing, or the build fails.
    pub fn get(need: Need) -> Result<Self> {
        if let Some(found) = Self::found(need)? {
            return Ok(found);
        }
        let mut packages = vec![API_SERVER, ETCD];
        if need == Need::Everything {
            packages.push(CONTROLLER_MANAGER);
        }
        let kubectl = match need {
            Need::ApiServer => fitting_kubectl(go::version(MODULE)?),
            Need::Everything => None,
        };
        if kubectl.is_none() {
            packages.push(KUBECTL);
        }
        let folder = go::built(MODULE, &packages)?;
        Ok(Self::of(&folder, need, kubectl))
    }

    /// Those of the machine; none when something has to be built.
    ///
    /// # Errors
    /// There is no cache folder.
    pub fn found(need: Need) -> Result<Option<Self>> {
        if let Some(folder) = env::var_os(ASSETS).map(PathBuf::from) {
            match missing(&folder, need) {
                None => return Ok(Some(Self::of(&folder, need, None))),
                Some(missing) => {
                    say(format_args!(
                        "{ASSETS} names {}, which has no {missing}: not used",
                        folder.display()
                    ));
                }
            }
        }
        let built = go::folder(MODULE)?;
        let pinned = go::version(MODULE)?;
        Ok(match missing(&built, need) {
            None => Some(Self::of(&built, need, None)),
            Some("kubectl") if need == Need::ApiServer => {
                fitting_kubectl(pinned).map(|kubectl| Self::of(&built, need, Some(kubectl)))
            }
            Some(_) if need == Need::ApiServer => Self::of_envtest(),
            Some(_) => None,
        })
    }

    fn of_envtest() -> Option<Self> {
        let home = PathBuf::from(env::var_os("HOME")?);
        let mut folders: Vec<_> = ENVTEST.map(|(data, folder)| home.join(data).join(folder)).into();
        folders.extend(env::var_os("XDG_DATA_HOME").map(|data| PathBuf::from(data).join(ENVTEST[0].1)));
        let newest = folders.iter().find_map(|folder| newest(folder));
        let folder = newest.or_else(|| {
            Some(PathBuf::from(KUBEBUILDER)).filter(|it| missing(it, Need::ApiServer).is_none())
        })?;
        say(format_args!("Using the control plane in {}", folder.display()));
        Some(Self::of(&folder, Need::ApiServer, None))
    }

    fn of(folder: &Path, need: Need, kubectl: Option<PathBuf>) -> Self {
        Self {
            etcd: folder.join(ETCD.0),
            api_server: folder.join(API_SERVER.0),
            controller_manager: (need == Need::Everything).then(|| folder.join(CONTROLLER_MANAGER.0)),
            kubectl: kubectl.unwrap_or_else(|| folder.join(KUBECTL.0)),
        }
    }

    /// The store.
    pub fn etcd(&self) -> &Path {
        &self.etcd
    }

    /// The API server.
    pub fn api_server(&self) -> &Path {
        &self.api_server
    }

    /// The controllers, when [`Need::Everything`] was asked for.
    pub fn controller_manager(&self) -> Option<&Path> {
        self.controller_manager.as_deref()
    }

    /// The command line.
    pub fn kubectl(&self) -> &Path {
        &self.kubectl
    }
}

/// kubectl for a cluster of somebody else: the one on `PATH`, else the one of [`Kubernetes::get`].
///
/// # Errors
/// It has to be built and Go is missing, or the build fails.
pub fn kubectl() -> Result<PathBuf> {
    match on_path(KUBECTL.0) {
        Some(found) => Ok(found),
        None => Ok(go::built(MODULE, &[KUBECTL])?.join(KUBECTL.0)),
    }
}

/// The first program that this folder lacks.
fn missing(folder: &Path, need: Need) -> Option<&'static str> {
    let mut wanted = vec![ETCD, API_SERVER, KUBECTL];
    if need == Need::Everything {
        wanted.push(CONTROLLER_MANAGER);
    }
    // kubectl last: it alone may come from elsewhere.
    wanted.sort_by_key(|it| *it == KUBECTL);
    wanted.into_iter().map(|(program, _)| program).find(|program| !folder.join(program).is_file())
}

/// The newest version in a folder of setup-envtest, whose folders are called `1.36.0-linux-amd64`.
fn newest(folder: &Path) -> Option<PathBuf> {
    let mut versions: Vec<((u32, u32, u32), PathBuf)> = fs::read_dir(folder)
        .ok()?
        .filter_map(|entry| {
            let path = entry.ok()?.path();
            let name = path.file_name()?.to_str()?;
            let mut numbers = name.split('-').next()?.split('.').map(|it| it.parse().ok());
            Some(((numbers.next()??, numbers.next()??, numbers.next()??), path))
        })
        .filter(|((major, minor, _), path)| {
            (*major, *minor) >= OLDEST && missing(path, Need::ApiServer).is_none()
        })
        .collect();
    versions.sort_by_key(|(version, _)| Reverse(*version));
    versions.into_iter().next().map(|(_, path)| path)
}

/// The kubectl on `PATH`, when it may be used with an API server of this version.
fn fitting_kubectl((_, minor): (u32, u32)) -> Option<PathBuf> {
    let program = on_path(KUBECTL.0)?;
    let output = Command::new(&program).args(["version", "--client", "--output=yaml"]).output().ok()?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let found = said.lines().find_map(|line| line.trim().strip_prefix("minor: "))?;
    let found: u32 = found.trim_matches(['"', '+']).parse().ok()?;
    (found.abs_diff(minor) <= SKEW).then_some(program)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(programs: &[&str], folder: &Path) -> Result<()> {
        fs::create_dir_all(folder)?;
        programs.iter().try_for_each(|program| Ok(fs::write(folder.join(program), "")?))
    }

    #[test]
    fn the_newest_complete_version_of_setup_envtest_is_used() -> Result<()> {
        let all = ["etcd", "kube-apiserver", "kubectl"];
        let home = tempfile::tempdir()?;
        assert_eq!(newest(home.path()), None);
        with(&all, &home.path().join("1.29.5-linux-amd64"))?;
        assert_eq!(newest(home.path()), None, "older than our definitions");
        with(&all, &home.path().join("1.31.0-linux-amd64"))?;
        with(&all, &home.path().join("1.9.0-linux-amd64"))?;
        with(&["etcd"], &home.path().join("1.36.0-linux-amd64"))?;
        with(&all, &home.path().join("not-a-version"))?;
        assert_eq!(newest(home.path()), Some(home.path().join("1.31.0-linux-amd64")));
        Ok(())
    }

    #[test]
    fn what_is_missing_depends_on_the_need() -> Result<()> {
        let folder = tempfile::tempdir()?;
        with(&["etcd", "kube-apiserver"], folder.path())?;
        assert_eq!(missing(folder.path(), Need::ApiServer), Some("kubectl"));
        with(&["kubectl"], folder.path())?;
        assert_eq!(missing(folder.path(), Need::ApiServer), None);
        assert_eq!(missing(folder.path(), Need::Everything), Some("kube-controller-manager"));
        Ok(())
    }
}
