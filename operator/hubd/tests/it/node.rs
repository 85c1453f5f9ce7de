//! The vendor's own Socket.IO library on both sides of this hub. Skipped, with a word, where there is no Node.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use crate::support::{KEY, TestHub};

const SOURCES: [&str; 3] = ["package.json", "package-lock.json", "agents.js"];

/// A folder under `target` with the library installed.
fn installed() -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("node");
    fs::create_dir_all(&folder).expect("makes a folder");
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/node");
    let lock = |folder: &Path| fs::read(folder.join("package-lock.json")).ok();
    let up_to_date =
        folder.join("node_modules/.package-lock.json").exists() && lock(&folder) == lock(&sources);
    for source in SOURCES {
        fs::copy(sources.join(source), folder.join(source)).expect("copies");
    }
    if !up_to_date {
        let output =
            Command::new("npm").args(["ci", "--no-audit", "--no-fund"]).current_dir(&folder).output();
        let output = output.expect("npm runs");
        assert!(output.status.success(), "npm ci: {}", String::from_utf8_lossy(&output.stderr));
    }
    folder
}

#[tokio::test(flavor = "multi_thread")]
async fn the_vendors_library_exposes_and_joins() {
    if Command::new("node").arg("--version").output().is_err() {
        eprintln!("skipped: there is no node here");
        return;
    }
    let folder = tokio::task::spawn_blocking(installed).await.expect("installs");
    let hub = TestHub::start().await;
    let mut command = Command::new("node");
    command.arg("agents.js").args([&hub.url, KEY]).current_dir(folder);
    let output = tokio::task::spawn_blocking(move || command.output()).await.expect("joins").expect("runs");
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{err}");
    assert_eq!(out.trim(), r#"{"echoed":4194304}"#, "{err}");
}
