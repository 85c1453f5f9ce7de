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
use crate::progress::{say, timed};

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
    PRODUCT.get_or_try_init(|| blocking(build)).await
}

/// What cargo says of one thing it built.
#[derive(Deserialize)]
struct Artifact {
    executable: Option<PathBuf>,
}

/// What is built.
const BINARIES: [&str; 3] = ["connect-operator", "connect-hubd", "kubectl-connect"];

fn build() -> Result<Product> {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("tests/ is in the workspace")?;
    // The whole workspace, because cargo then chooses the features that `make` has built already; but not `lab`, which may be
    // the program that is running now and starts itself again for the HTTP server.
    let mut arguments = vec!["build", "--workspace", "--message-format=json-render-diagnostics"];
    arguments.extend(BINARIES.iter().flat_map(|name| ["--bin", name]));
    if !cfg!(debug_assertions) {
        arguments.push("--release");
    }
    let output = timed("Building operator, hub and plugin", || {
        Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
            .current_dir(workspace)
            .args(arguments)
            .stdin(Stdio::null())
            .stderr(Stdio::inherit())
            .output()
            .context("cannot start cargo, which builds the operator, the hub and the plugin")
    })?;
    ensure!(output.status.success(), "cargo build ended with {}; what it said is above", output.status);
    let folder = String::from_utf8_lossy(&output.stdout)
        .lines()
        .filter_map(|line| serde_json::from_str::<Artifact>(line).ok()?.executable)
        .find(|executable| executable.ends_with("connect-operator"))
        .and_then(|executable| Some(executable.parent()?.to_owned()))
        .context("cargo built no connect-operator")?;
    say(format_args!("Using the binaries in {}", folder.display()));
    Ok(Product { folder })
}
