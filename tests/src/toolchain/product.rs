//! Our own binaries, as the sources are now.
//!
//! The runner builds test binaries, not what they start, so a test could meet yesterday's operator. Cargo is therefore
//! asked once per run; when everything is fresh that takes a second.

use std::env;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, ensure};
use serde::Deserialize;
use tokio::sync::OnceCell;

use super::blocking;
use connect_tools::{say, timed};

/// Our binaries.
#[derive(Clone, Debug)]
pub struct Product {
    folder: PathBuf,
}

impl Product {
    /// The operator.
    pub fn operator(&self) -> PathBuf {
        self.folder.join("connect-operator")
    }

    /// The hub as a process of its own.
    pub fn hub(&self) -> PathBuf {
        self.folder.join("connect-hubd")
    }

    /// The folder with the plugin `kubectl-connect`, for `PATH`.
    pub fn folder(&self) -> &Path {
        &self.folder
    }
}

/// The binaries, built once per run with the profile that we were built with.
///
/// # Errors
/// The build fails.
pub async fn product() -> Result<&'static Product> {
    static PRODUCT: OnceCell<Product> = OnceCell::const_new();
    let build = || {
        if let Some(folder) = env::var_os(BUILT).map(PathBuf::from) {
            return Ok(Product { folder });
        }
        let operator = build(&BINARIES, &[])?;
        let folder = operator.parent().context("a file is in a folder")?.to_owned();
        say(format_args!("Using the binaries in {}", folder.display()));
        Ok(Product { folder })
    };
    PRODUCT.get_or_try_init(|| blocking(build)).await
}

/// The operator with fail points, built once per run. It has another name than the operator of the product,
/// so that neither is taken for the other.
///
/// # Errors
/// The build fails.
pub async fn faulty_operator() -> Result<PathBuf> {
    static FAULTY: OnceCell<PathBuf> = OnceCell::const_new();
    // After the product: cargo builds one thing at a time anyway.
    product().await?;
    let build = || build(&[FAULTY_OPERATOR], &["--features", "connect-operator/faults"]);
    FAULTY.get_or_try_init(|| blocking(build)).await.cloned()
}

/// Names the folder of our binaries when they were built a moment ago, as `make demo` does.
const BUILT: &str = "CONNECT_PRODUCT";

/// What cargo says of one thing it built.
#[derive(Deserialize)]
struct Artifact {
    executable: Option<PathBuf>,
}

/// What is built.
const BINARIES: [&str; 3] = ["connect-operator", "connect-hubd", "kubectl-connect"];

/// How the names begin under which cargo tells a program about its own package.
const OF_THE_PACKAGE: [&str; 2] = ["CARGO_PKG_", "CARGO_MANIFEST_"];

/// Whether we are a test. Cargo then has built all dependencies with the features that tests ask for, and only builds that name a
/// test find them again: without that it would build everything a second time. Cargo keeps tests, and nothing else that runs, in
/// a folder `deps`.
fn in_a_test() -> bool {
    env::current_exe().is_ok_and(|program| program.parent().is_some_and(|folder| folder.ends_with("deps")))
}

/// The operator with fail points.
const FAULTY_OPERATOR: &str = "connect-operator-faults";

/// Builds these programs and says where the first is.
fn build(programs: &[&str], more: &[&str]) -> Result<PathBuf> {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("tests/ is in the workspace")?;
    // The whole workspace, because cargo then chooses the features that `make` has built already; but not `lab`, which may be
    // the program that is running now and starts itself again for the HTTP server.
    let mut arguments = vec!["build", "--workspace", "--message-format=json-render-diagnostics"];
    arguments.extend(programs.iter().flat_map(|name| ["--bin", name]));
    arguments.extend(more);
    if in_a_test() {
        arguments.extend(["--test", "it"]);
    }
    if !cfg!(debug_assertions) {
        arguments.push("--release");
    }
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(workspace).args(arguments).stdin(Stdio::null()).stderr(Stdio::inherit());
    // What cargo tells the program that it runs about its package. Build scripts, ring's for one, ask for the same names: they
    // would run again, and all that depends on them be built again.
    for (name, _) in env::vars_os() {
        if name.to_str().is_some_and(|name| OF_THE_PACKAGE.iter().any(|prefix| name.starts_with(prefix))) {
            cargo.env_remove(name);
        }
    }
    let output = timed("Building operator, hub and plugin", || {
        cargo.output().context("cannot start cargo, which builds the operator, the hub and the plugin")
    })?;
    ensure!(output.status.success(), "cargo build ended with {}; what it said is above", output.status);
    let wanted = programs.first().context("something is to be built")?;
    String::from_utf8_lossy(&output.stdout)
        .lines()
        .filter_map(|line| serde_json::from_str::<Artifact>(line).ok()?.executable)
        .find(|executable| executable.ends_with(wanted))
        .with_context(|| format!("cargo built no {wanted}"))
}
