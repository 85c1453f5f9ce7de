//! The reaper: what a process that is killed had started ends with it.

use std::env;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

use crate::process::Process;
use crate::scratch::Scratch;
use crate::wait::{SOON, eventually};

/// Set in the process that is killed; names the folder that it writes to.
const VICTIM: &str = "CONNECT_TESTS_VICTIM";

#[tokio::test]
async fn what_a_killed_process_started_ends_too() -> Result<()> {
    if let Some(folder) = env::var_os(VICTIM) {
        return victim(PathBuf::from(folder)).await;
    }
    let scratch = Scratch::new("killed")?;
    let mut ourselves = Command::new(env::current_exe()?);
    ourselves.args(["--exact", "killed::what_a_killed_process_started_ends_too"]);
    ourselves.env(VICTIM, scratch.path());
    let mut killed = Process::start("victim", ourselves, scratch.path())?;
    let started = scratch.path().join("started");
    let (pid, folder) = eventually("it has started a process", SOON, || async {
        let text = fs::read_to_string(&started)?;
        let (pid, folder) = text.trim_end().split_once(' ').context("half a line")?;
        Ok((pid.to_owned(), PathBuf::from(folder)))
    })
    .await?;
    ensure!(is_running(&pid) && folder.exists(), "there is nothing to clean up");
    killed.kill()?;
    eventually("what it started has ended", SOON, || async {
        ensure!(!is_running(&pid), "process {pid} runs");
        ensure!(!folder.exists(), "{} exists", folder.display());
        Ok(())
    })
    .await
}

/// Starts a process, tells the other side, and stays until it is killed.
async fn victim(folder: PathBuf) -> Result<()> {
    let scratch = Scratch::new("victim")?;
    let mut command = Command::new("sleep");
    command.arg("600");
    let process = Process::start("sleep", command, scratch.path())?;
    let line = format!("{} {}", process.id(), scratch.path().display());
    fs::write(folder.join("half"), line)?;
    fs::rename(folder.join("half"), folder.join("started"))?;
    std::future::pending().await
}

fn is_running(pid: &str) -> bool {
    let state = fs::read_to_string(format!("/proc/{pid}/stat"));
    state.is_ok_and(|state| !state.contains(") Z "))
}
