//! The vendor-like hub on Node: `tests/node/hub.js` with the npm package `socket.io`.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use serde::Deserialize;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::OnceCell;

use super::within;

/// A running hub. It ends with its standard input, so also when the tests are killed.
pub struct NodeHub {
    pub url: String,
    _child: Child,
}

#[derive(Deserialize)]
struct Ready {
    url: String,
}

/// Where the package is installed: the sources stay clean, and one install serves all tests.
static INSTALLED: OnceCell<PathBuf> = OnceCell::const_new();

impl NodeHub {
    /// Starts a hub; Node and npm must be there.
    pub async fn start() -> Self {
        Self::start_with(&[]).await
    }

    /// The same with more arguments.
    pub async fn start_with(arguments: &[&str]) -> Self {
        let home = INSTALLED.get_or_init(install).await;
        let mut child = Command::new("node")
            .arg(sources().join("hub.js"))
            .arg("0")
            .args(arguments)
            .env("NODE_PATH", home.join("node_modules"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("node is needed for this test");
        let output = child.stdout.take().expect("piped");
        let mut lines = BufReader::new(output).lines();
        let line = within("the hub's address", lines.next_line()).await.expect("read").expect("a line");
        let Ready { url } = serde_json::from_str(&line).expect("a JSON line");
        Self { url, _child: child }
    }
}

fn sources() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/node")
}

/// Installs exactly what the lock file names, once per content of the lock file.
async fn install() -> PathBuf {
    let home = Path::new(env!("CARGO_TARGET_TMPDIR")).join("node-hub");
    let lock = std::fs::read(sources().join("package-lock.json")).expect("lock file");
    let done = home.join("node_modules/.installed-from.json");
    if std::fs::read(&done).is_ok_and(|installed| installed == lock) {
        return home;
    }
    std::fs::create_dir_all(&home).expect("cache directory");
    for file in ["package.json", "package-lock.json", ".npmrc"] {
        std::fs::copy(sources().join(file), home.join(file)).expect("copied");
    }
    let output =
        Command::new("npm").arg("ci").current_dir(&home).output().await.expect("npm is needed for this test");
    assert!(output.status.success(), "npm ci failed: {}", String::from_utf8_lossy(&output.stderr));
    std::fs::write(done, lock).expect("marked");
    home
}
