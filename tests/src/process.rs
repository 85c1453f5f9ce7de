//! Processes that a test starts, watches, freezes and ends; what they printed is shown when something goes wrong.
//!
//! Output goes to files and not through pipes: a process never blocks on a reader that is busy, it may outlive us where
//! that is asked for, and its log can be read at any time.

use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow, bail};
use rustix::process::{Pid, Signal, kill_process_group};

use crate::reaper;
use crate::wait::eventually;

/// How long a process may take to end after a polite request before it is killed.
const POLITE: Duration = Duration::from_secs(10);

/// How much of the end of a log is shown in an error: enough for the reason, little enough to read.
const TAIL_BYTES: u64 = 4_000;

/// Pause between two looks at a process that is ending.
const PAUSE: Duration = Duration::from_millis(10);

/// A process in a process group of its own. It ends when this value is dropped or we end.
pub struct Process {
    name: String,
    child: Child,
    pid: Pid,
    stdout: Log,
    stderr: Log,
    ended: Option<ExitStatus>,
}

/// What one process prints to one stream: a file, from where it began. An earlier process of the same name may have written
/// before.
#[derive(Clone)]
struct Log {
    path: PathBuf,
    begin: u64,
}

impl Process {
    /// Starts `command`; its output goes to `NAME.out` and `NAME.err` in the folder `logs`.
    ///
    /// # Errors
    /// The program is missing or cannot be run.
    pub fn start(name: &str, mut command: Command, logs: &Path) -> Result<Self> {
        let (stdout, stdout_file) = Log::open(logs.join(format!("{name}.out")))?;
        let (stderr, stderr_file) = Log::open(logs.join(format!("{name}.err")))?;
        let program = command.get_program().to_string_lossy().into_owned();
        let child = command
            .stdin(Stdio::null())
            .stdout(stdout_file)
            .stderr(stderr_file)
            .process_group(0)
            .spawn()
            .with_context(|| format!("cannot start {name} ({program})"))?;
        reaper::started(child.id())?;
        let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw).context("an odd process id")?;
        Ok(Self { name: name.to_owned(), child, pid, stdout, stderr, ended: None })
    }

    /// The process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Everything printed to stdout so far.
    pub fn stdout(&self) -> String {
        self.stdout.text()
    }

    /// Everything printed to stderr so far.
    pub fn stderr(&self) -> String {
        self.stderr.text()
    }

    /// The exit status, when the process has ended.
    ///
    /// # Errors
    /// The system cannot tell.
    pub fn status(&mut self) -> Result<Option<ExitStatus>> {
        if self.ended.is_none() {
            self.ended = self.child.try_wait().with_context(|| format!("cannot ask after {}", self.name))?;
            if self.ended.is_some() {
                reaper::ended(self.child.id());
            }
        }
        Ok(self.ended)
    }

    /// Waits until `find` finds something in what was printed, to stdout and then to stderr.
    ///
    /// # Errors
    /// The process ended or the deadline passed first; the message holds the end of its log.
    pub async fn printed<T>(
        &mut self,
        what: &str,
        deadline: Duration,
        find: impl Fn(&str) -> Option<T>,
    ) -> Result<T> {
        let (stdout, stderr) = (self.stdout.clone(), self.stderr.clone());
        let found = eventually(what, deadline, || {
            // The status is read first: what a process printed before its end is complete then.
            let ended = self.status();
            let found = find(&(stdout.text() + &stderr.text()));
            async move {
                match (found, ended?) {
                    (Some(found), _) => Ok(Some(found)),
                    (None, Some(_)) => Ok(None),
                    (None, None) => Err(anyhow!("it runs and has not printed that")),
                }
            }
        })
        .await;
        match found {
            Ok(Some(found)) => Ok(found),
            Ok(None) => Err(self.failure(&format!("it ended before this was seen: {what}"))),
            Err(error) => Err(error.context(self.failure("it did not get there"))),
        }
    }

    /// Waits for the end of the process.
    ///
    /// # Errors
    /// It still runs at the deadline.
    pub async fn end(&mut self, deadline: Duration) -> Result<ExitStatus> {
        let what = format!("{} ends", self.name);
        let ended = eventually(&what, deadline, || {
            let status = self.status();
            async move { status?.context("it still runs") }
        })
        .await;
        ended.map_err(|error| error.context(self.failure("it should have ended")))
    }

    /// Fails with the end of the log when the process has ended.
    ///
    /// # Errors
    /// The process has ended.
    pub fn must_run(&mut self) -> Result<()> {
        match self.status()? {
            None => Ok(()),
            Some(status) => Err(self.failure(&format!("it ended with {status}"))),
        }
    }

    /// Asks the process to end (SIGTERM), and kills it when it does not within seconds.
    ///
    /// # Errors
    /// The system cannot tell how it ended.
    pub fn terminate(&mut self) -> Result<ExitStatus> {
        self.signal(Signal::TERM)?;
        let end = Instant::now() + POLITE;
        while Instant::now() < end {
            if let Some(status) = self.status()? {
                return Ok(status);
            }
            std::thread::sleep(PAUSE);
        }
        self.kill()
    }

    /// Kills the process and all it started (SIGKILL): it has no chance to clean up.
    ///
    /// # Errors
    /// The system cannot tell how it ended.
    pub fn kill(&mut self) -> Result<ExitStatus> {
        self.signal(Signal::KILL)?;
        let status = self.child.wait().with_context(|| format!("cannot wait for {}", self.name))?;
        if self.ended.replace(status).is_none() {
            reaper::ended(self.child.id());
        }
        Ok(status)
    }

    /// Stops the process where it stands (SIGSTOP); its sockets stay open.
    ///
    /// # Errors
    /// It has ended.
    pub fn freeze(&self) -> Result<()> {
        self.signal(Signal::STOP)
    }

    /// Lets a frozen process go on (SIGCONT).
    ///
    /// # Errors
    /// It has ended.
    pub fn resume(&self) -> Result<()> {
        self.signal(Signal::CONT)
    }

    fn signal(&self, signal: Signal) -> Result<()> {
        if self.ended.is_some() {
            bail!("{} has ended already", self.name);
        }
        match kill_process_group(self.pid, signal) {
            // It ended a moment ago and nobody has asked for its status yet.
            Ok(()) | Err(rustix::io::Errno::SRCH) => Ok(()),
            Err(error) => Err(error).with_context(|| format!("cannot signal {}", self.name)),
        }
    }

    /// Lets the process go on after we have ended.
    pub fn release(mut self) -> u32 {
        reaper::ended(self.child.id());
        // Whoever asks for the status of a process that is not ours any more gets none; dropping must not end it.
        self.ended = Some(ExitStatus::default());
        self.child.id()
    }

    /// An error that shows the end of what the process printed.
    pub fn failure(&self, what: &str) -> anyhow::Error {
        let logs = [&self.stdout, &self.stderr].map(Log::tail).concat();
        anyhow!("{}: {what}; the end of its log:\n{logs}", self.name)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.ended.is_none() && !matches!(self.status(), Ok(Some(_))) {
            // A frozen process would not hear the request to end.
            let _ = self.signal(Signal::CONT);
            let _ = self.terminate();
        }
    }
}

// === impl Log ===

impl Log {
    /// The file, to be written at its end.
    fn open(path: PathBuf) -> Result<(Self, File)> {
        let open = || -> std::io::Result<(File, u64)> {
            let file = File::options().create(true).append(true).open(&path)?;
            let begin = file.metadata()?.len();
            Ok((file, begin))
        };
        let (file, begin) = open().with_context(|| format!("cannot write {}", path.display()))?;
        Ok((Self { path, begin }, file))
    }

    /// All of it.
    fn text(&self) -> String {
        self.text_from(self.begin)
    }

    /// The end of it.
    fn tail(&self) -> String {
        let length = fs::metadata(&self.path).map_or(0, |about| about.len());
        self.text_from(length.saturating_sub(TAIL_BYTES).max(self.begin))
    }

    // A log that cannot be read is as good as none: whoever looks for a line says that it is not there.
    fn text_from(&self, begin: u64) -> String {
        let read = || -> std::io::Result<Vec<u8>> {
            let mut file = File::open(&self.path)?;
            file.seek(SeekFrom::Start(begin))?;
            let mut bytes = Vec::new();
            file.read_to_end(&mut bytes)?;
            Ok(bytes)
        };
        String::from_utf8_lossy(&read().unwrap_or_default()).into_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scratch::Scratch;
    use crate::wait::SOON;

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    #[tokio::test]
    async fn a_line_is_found_and_the_end_is_seen() {
        let scratch = Scratch::new("process").expect("a folder");
        let mut process =
            Process::start("talker", shell("echo port 42; exit 3"), scratch.path()).expect("sh starts");
        let port = process.printed("a port", SOON, |out| out.strip_prefix("port ").map(str::to_owned)).await;
        assert_eq!(port.expect("the line is there").trim(), "42");
        assert_eq!(process.end(SOON).await.expect("it ends").code(), Some(3));
    }

    #[tokio::test]
    async fn an_early_end_shows_the_log() {
        let scratch = Scratch::new("process").expect("a folder");
        let mut process =
            Process::start("failer", shell("echo broken >&2; exit 1"), scratch.path()).expect("sh starts");
        let error = process.printed("a port", SOON, |_| None::<()>).await.expect_err("nothing is printed");
        let text = format!("{error:#}");
        assert!(text.contains("ended before this was seen: a port") && text.contains("broken"), "{text}");
    }

    #[tokio::test]
    async fn what_an_earlier_process_printed_is_not_this_ones() {
        let scratch = Scratch::new("process").expect("a folder");
        let mut first = Process::start("same", shell("echo first"), scratch.path()).expect("sh starts");
        first.end(SOON).await.expect("it ends");
        let mut second = Process::start("same", shell("echo second"), scratch.path()).expect("sh starts");
        second.end(SOON).await.expect("it ends");
        assert_eq!(second.stdout(), "second\n");
    }

    #[tokio::test]
    async fn a_frozen_process_says_nothing_until_it_is_thawed() {
        let scratch = Scratch::new("process").expect("a folder");
        let mut process =
            Process::start("cat", shell("kill -STOP $$; echo on; exec sleep 60"), scratch.path())
                .expect("sh starts");
        eventually("it has stopped itself", SOON, || async {
            let stat = fs::read_to_string(format!("/proc/{}/stat", process.id()))?;
            if stat.contains(") T ") { Ok(()) } else { Err(anyhow!("{stat}")) }
        })
        .await
        .expect("it stops");
        assert_eq!(process.stdout(), "");
        process.resume().expect("it is there");
        process.printed("a line", SOON, |out| out.contains("on").then_some(())).await.expect("it goes on");
        assert!(process.terminate().expect("it ends").code().is_none());
    }
}
