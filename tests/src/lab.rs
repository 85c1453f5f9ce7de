//! What was left running on purpose: written down, so that it can be ended later.

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use rustix::process::{Pid, Signal, kill_process_group, test_kill_process_group};
use serde::{Deserialize, Serialize};

use crate::scratch::private_file;
use crate::toolchain::cache;
use connect_tools::say;

/// How long a process may take to end after a polite request before it is killed.
const POLITE: Duration = Duration::from_secs(10);

/// Pause between two looks at a process that is ending.
const PAUSE: Duration = Duration::from_millis(20);

/// Processes and folders that outlive us.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Remains {
    processes: Vec<Remaining>,
    folders: Vec<PathBuf>,
}

/// A process, and the instant of its start, by which it is told from a later one with the same number.
#[derive(Debug, Serialize, Deserialize)]
struct Remaining {
    pid: u32,
    started: Option<String>,
}

impl Remains {
    /// Adds processes, to be ended in this order, and folders.
    pub fn add(
        &mut self,
        processes: impl IntoIterator<Item = u32>,
        folders: impl IntoIterator<Item = PathBuf>,
    ) {
        let started = |pid| Remaining { pid, started: start_time(pid) };
        self.processes.extend(processes.into_iter().map(started));
        self.folders.extend(folders);
    }

    /// Writes them down for [`down`].
    ///
    /// # Errors
    /// The cache folder is not writable.
    pub fn write(&self) -> Result<()> {
        let path = file()?;
        fs::create_dir_all(path.parent().context("a file in a folder")?)
            .context("cannot make the cache folder")?;
        private_file(&path, serde_json::to_vec_pretty(self).context("it is JSON")?)
    }
}

/// Fails while something was left running: its addresses would be in our way.
///
/// # Errors
/// Something is up.
pub fn must_be_down() -> Result<()> {
    if file()?.exists() {
        bail!("a lab was left running: use it, or end it with `make down` first");
    }
    Ok(())
}

/// Ends what was left running.
///
/// # Errors
/// What was written down cannot be read.
pub fn down() -> Result<()> {
    let path = file()?;
    if !path.exists() {
        say("Nothing was left running.");
        return Ok(());
    }
    let text = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let Remains { processes, folders } =
        serde_json::from_slice(&text).with_context(|| format!("{} is damaged: remove it", path.display()))?;
    for Remaining { pid, started } in processes {
        if started == start_time(pid) {
            end(pid);
        }
    }
    for folder in folders {
        // It may be gone already.
        let _ = fs::remove_dir_all(folder);
    }
    fs::remove_file(&path).with_context(|| format!("cannot remove {}", path.display()))?;
    say("Everything has ended; nothing is left running.");
    Ok(())
}

fn end(pid: u32) {
    let Some(group) = i32::try_from(pid).ok().and_then(Pid::from_raw) else { return };
    // Each call fails only when the process has ended, which is what we want.
    let _ = kill_process_group(group, Signal::TERM);
    let end = Instant::now() + POLITE;
    while Instant::now() < end && test_kill_process_group(group).is_ok() && start_time(pid).is_some() {
        std::thread::sleep(PAUSE);
    }
    let _ = kill_process_group(group, Signal::KILL);
}

/// When the process started, as Linux counts; nothing for one that has ended, and on other systems.
fn start_time(pid: u32) -> Option<String> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name, in parentheses, may hold spaces; after it come the state and then numbers.
    let (_, fields) = stat.rsplit_once(") ")?;
    let mut fields = fields.split(' ');
    let state = fields.next()?;
    (state != "Z").then(|| fields.nth(18).map(str::to_owned))?
}

fn file() -> Result<PathBuf> {
    Ok(cache()?.join("lab.json"))
}
