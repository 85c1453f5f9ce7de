//! Programs of others that say much: kept in a log, and shown when they fail.

use std::fs::{self, File};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context as _, Result, ensure};

use crate::cache;

/// Lines of a log that are shown after a failure: enough for the reason of cargo and go.
const SHOWN_LINES: usize = 40;

/// Runs a command without its words; when it fails, the last of them are in the error.
///
/// # Errors
/// It cannot be started or fails.
pub fn quietly(what: &str, command: &mut Command) -> Result<()> {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let logs = cache()?.join("logs");
    fs::create_dir_all(&logs).with_context(|| format!("cannot make {}", logs.display()))?;
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let log = logs.join(format!("{}-{number}.log", std::process::id()));
    let file = File::create(&log).with_context(|| format!("cannot write {}", log.display()))?;
    let both = file.try_clone().context("cannot write one log from two streams")?;
    command.stdin(Stdio::null()).stdout(both).stderr(file);
    let status = command.status().with_context(|| format!("cannot start {what}"))?;
    let said = fs::read(&log).unwrap_or_default();
    let said = String::from_utf8_lossy(&said);
    let skipped = said.lines().count().saturating_sub(SHOWN_LINES);
    let last: Vec<&str> = said.lines().skip(skipped).collect();
    ensure!(
        status.success(),
        "{what} ended with {status}:\n{}\n(all of it: {})",
        last.join("\n"),
        log.display()
    );
    // Nobody needs it any more; it may be in use by nobody else.
    let _ = fs::remove_file(&log);
    Ok(())
}
