//! A hub with the habits of the vendor's, on the same server library: `operator/hub/tests/node/hub.js`.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context as _, Result, ensure};
use serde::Deserialize;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::OnceCell;
use tokio::time::timeout;

use crate::control_plane::random_hex;
use crate::scratch::private_file;
use crate::toolchain::cache;
use crate::wait::PATIENTLY;

/// Where the hub and the list of its packages are.
const SOURCES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../operator/hub/tests/node");

/// What npm installs from.
const PACKAGES: [&str; 3] = ["package.json", "package-lock.json", ".npmrc"];

/// Random bytes of an API key.
const KEY_BYTES: usize = 24;

/// A running hub. It ends with its standard input, so also when we are killed.
pub struct VendorHub {
    url: String,
    key_file: PathBuf,
    _child: Child,
}

/// The line that it prints once it listens.
#[derive(Deserialize)]
struct Ready {
    url: String,
}

impl VendorHub {
    /// Starts a hub with this in its environment, and makes an API key for an operator in `folder`.
    ///
    /// # Errors
    /// Node or npm is missing, or the hub does not listen in time.
    pub async fn start(folder: &Path, environment: &[(&str, &str)]) -> Result<Self> {
        static INSTALLED: OnceCell<PathBuf> = OnceCell::const_new();
        let home = INSTALLED.get_or_try_init(install).await?;
        let mut child = Command::new("node")
            .arg(Path::new(SOURCES).join("hub.js"))
            .env("NODE_PATH", home.join("node_modules"))
            .envs(environment.iter().copied())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .context("cannot start node")?;
        let stdout = child.stdout.take().context("it is a pipe")?;
        let line = timeout(PATIENTLY, BufReader::new(stdout).lines().next_line())
            .await
            .context("the hub does not say where it listens")??;
        let Ready { url } = serde_json::from_str(&line.context("the hub has ended")?)
            .context("the hub prints its address as JSON")?;
        let key_file = folder.join("vendor-hub-api-key");
        private_file(&key_file, format!("pc_{}", random_hex::<KEY_BYTES>()?))?;
        Ok(Self { url, key_file, _child: child })
    }

    /// The hub's URL.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// A file with an API key for the operator.
    pub fn key_file(&self) -> &Path {
        &self.key_file
    }
}

/// Installs exactly what the lock file names, once per content of the lock file.
async fn install() -> Result<PathBuf> {
    let sources = Path::new(SOURCES);
    let home = cache()?.join("vendor-hub");
    let lock = std::fs::read(sources.join("package-lock.json")).context("the hub has a lock file")?;
    let done = home.join("node_modules/.installed-from.json");
    if std::fs::read(&done).is_ok_and(|installed| installed == lock) {
        return Ok(home);
    }
    std::fs::create_dir_all(&home).context("cannot make the cache folder")?;
    for file in PACKAGES {
        std::fs::copy(sources.join(file), home.join(file)).with_context(|| format!("cannot copy {file}"))?;
    }
    let output = Command::new("npm").arg("ci").current_dir(&home).output().await.context("npm is missing")?;
    ensure!(output.status.success(), "npm ci failed: {}", String::from_utf8_lossy(&output.stderr));
    std::fs::write(done, lock).context("cannot write to the cache folder")?;
    Ok(home)
}
