//! Nothing is left running: a small shell process that outlives ours just long enough to clean up after it.
//!
//! A test binary can end in ways that run no destructor: a panic that aborts, Ctrl+C, SIGKILL, or simply statics, which Rust
//! never drops. The reaper reads from a pipe which processes we started and which folders we made. When the pipe closes,
//! for whatever reason, it stops the processes that are left and removes the folders.

use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use anyhow::{Context as _, Result, anyhow};

/// Stops every process group it was told of (first politely, after 3 s by force), and removes every folder.
const SCRIPT: &str = r#"
processes=" " folders="" kept=""
while read -r what value; do
  case "$what" in
    started) processes="$processes$value " ;;
    ended) case "$processes" in *" $value "*) processes="${processes%% "$value" *} ${processes#* "$value" }" ;; esac ;;
    folder) folders="$folders$value
" ;;
    kept) kept="$kept$value
" ;;
  esac
done
for p in $processes; do kill -s TERM -- "-$p" 2>/dev/null; done
tries=0
while [ $tries -lt 30 ]; do
  alive=
  for p in $processes; do kill -s 0 -- "-$p" 2>/dev/null && alive=yes; done
  [ -z "$alive" ] && break
  sleep 0.1
  tries=$((tries + 1))
done
for p in $processes; do kill -s KILL -- "-$p" 2>/dev/null; done
printf '%s' "$folders" | while read -r f; do
  case "
$kept" in *"
$f
"*) ;; *) rm -rf -- "$f" ;; esac
done
"#;

/// The pipe to the shell that cleans up when we are gone.
struct Reaper {
    pipe: ChildStdin,
    /// Kept so that the pipe's other end is known to be ours; reaped by whoever inherits it.
    _shell: Child,
}

/// The process group `pid` runs until [`ended`] is called for it, or until we end.
///
/// # Errors
/// There is no `sh`.
pub fn started(pid: u32) -> Result<()> {
    tell(format_args!("started {pid}"))
}

/// The process group `pid` has ended and its number may be used by others.
pub fn ended(pid: u32) {
    // A reaper that is gone guards nothing any more.
    let _ = tell(format_args!("ended {pid}"));
}

/// The folder is removed when we end.
///
/// # Errors
/// There is no `sh`, or the path has a line break.
pub fn folder(path: &Path) -> Result<()> {
    let text = path.to_str().filter(|text| !text.contains('\n')).context("an odd folder name")?;
    tell(format_args!("folder {text}"))
}

/// The folder stays after we have ended.
pub fn kept(path: &Path) {
    // A reaper that is gone removes nothing any more.
    let _ = tell(format_args!("kept {}", path.display()));
}

fn tell(line: std::fmt::Arguments<'_>) -> Result<()> {
    let mut reaper = reaper()?;
    writeln!(reaper.pipe, "{line}").context("the process that cleans up after us is gone")
}

fn reaper() -> Result<MutexGuard<'static, Reaper>> {
    static REAPER: OnceLock<Result<Mutex<Reaper>>> = OnceLock::new();
    match REAPER.get_or_init(|| summon().map(Mutex::new)) {
        Ok(reaper) => Ok(reaper.lock().unwrap_or_else(PoisonError::into_inner)),
        Err(error) => Err(anyhow!("{error:#}")),
    }
}

fn summon() -> Result<Reaper> {
    let mut shell = Command::new("sh")
        .args(["-c", SCRIPT])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        // Ctrl+C is for us; the reaper acts when we have gone.
        .process_group(0)
        .spawn()
        .context("cannot start `sh`, which cleans up after us")?;
    let pipe = shell.stdin.take().context("the shell has no stdin")?;
    Ok(Reaper { pipe, _shell: shell })
}
