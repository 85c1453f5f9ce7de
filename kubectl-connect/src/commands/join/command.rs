//! `join CODE -- command`: runs a command while joined, and leaves with its exit code and nothing behind.
//!
//! On a terminal the command is in our process group, so that it may read from the terminal and has Ctrl-C from it.
//! Elsewhere, as in a CI job, it has a group of its own: signals go to the whole group, and whatever the command left
//! running is ended with it.

use std::ffi::OsString;
use std::future::pending;
use std::io::{ErrorKind, IsTerminal};
use std::process::ExitStatus;
use std::time::Duration;

use connect_hub::clock::Clock;
use connect_hub::join::{Join, JoinEnd, JoinEvent};
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::environment::Variables;
use super::notices::Notices;
use super::view;
use crate::failure::{Exit, Failure, Outcome, words_of};
use crate::interrupt::{Signal, Signals};
use crate::printer::Printer;
use crate::settings::code::VARIABLE as CODE_VARIABLE;

/// How long a command that was told to end may take before it is killed: as long as `docker stop` and the like give.
const GRACE: Duration = Duration::from_secs(10);

/// Pause between two looks at a process group that is ending.
const LOOK: Duration = Duration::from_millis(20);

/// As `timeout` has it: the time was up before the command was done.
const SHARE_ENDED: u8 = 124;

/// As shells have it: there is such a file, but it cannot be run.
const CANNOT_RUN: u8 = 126;

/// As shells have it: there is no such command.
const NOT_FOUND: u8 = 127;

/// As shells have it: a signal with this number more than that ended the command.
#[cfg(unix)]
const SIGNALLED: i32 = 128;

/// A command that runs.
struct Running {
    child: Child,
    /// The process group that is the command's own.
    #[cfg(unix)]
    group: Option<rustix::process::Pid>,
}

/// Runs the command until it or the share ends.
pub async fn run(
    join: &mut Join,
    words: &[OsString],
    variables: &Variables,
    clock: &dyn Clock,
    printer: Printer,
) -> Outcome<Exit> {
    let mut signals = Signals::listen()?;
    let mut running = Running::start(words, variables)?;
    let mut killed_at = None;
    let mut notices = Notices::default();
    loop {
        let event = tokio::select! {
            status = running.child.wait() => {
                running.sweep().await;
                return Ok(Exit::Command(code(status?)));
            }
            event = join.next_event() => event,
            signal = signals.next() => {
                running.pass_on(signal);
                if signal.ends() {
                    killed_at.get_or_insert_with(|| Instant::now() + GRACE);
                }
                continue;
            }
            () = at(killed_at) => {
                running.kill();
                killed_at = None;
                continue;
            }
        };
        if let JoinEvent::Ended { reason } = event {
            running.end().await;
            return Err(share_ended(reason));
        }
        if let Some(line) = notices.line(&event, clock.now()) {
            printer.talk(&line);
        }
    }
}

async fn at(instant: Option<Instant>) {
    match instant {
        Some(instant) => sleep_until(instant).await,
        None => pending().await,
    }
}

fn share_ended(reason: JoinEnd) -> Failure {
    let why = match view::ending(reason) {
        Ok(_) if reason == JoinEnd::Rotated => "The share got a new code",
        Ok(line) => line.trim().trim_end_matches('.'),
        Err(line) => line,
    };
    Failure::new(format!("{why} before the command was done; it was ended"))
        .hint("Ask the share's owner for a new code, or for a longer time.")
        .leaves_with(Exit::Command(SHARE_ENDED))
}

#[cfg(unix)]
fn code(status: ExitStatus) -> u8 {
    use std::os::unix::process::ExitStatusExt as _;

    let code = status.code().or_else(|| status.signal().map(|signal| SIGNALLED + signal));
    code.and_then(|code| u8::try_from(code).ok()).unwrap_or(u8::MAX)
}

#[cfg(not(unix))]
fn code(status: ExitStatus) -> u8 {
    status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(u8::MAX)
}

// === impl Running ===

impl Running {
    fn start(words: &[OsString], variables: &Variables) -> Outcome<Self> {
        let (program, arguments) = words.split_first().expect("settings demand a command");
        let mut command = Command::new(program);
        // The command has the routes; the code is not its business.
        command.args(arguments).envs(variables).env_remove(CODE_VARIABLE).kill_on_drop(true);
        let has_own_group = cfg!(unix) && !std::io::stdin().is_terminal();
        #[cfg(unix)]
        if has_own_group {
            command.process_group(0);
        }
        let child = command.spawn().map_err(|error| {
            let code = if error.kind() == ErrorKind::NotFound { NOT_FOUND } else { CANNOT_RUN };
            Failure::new(format!("Cannot run {}: {}", program.to_string_lossy(), words_of(error.kind())))
                .leaves_with(Exit::Command(code))
        })?;
        #[cfg(unix)]
        let group = has_own_group
            .then(|| {
                child.id().and_then(|id| i32::try_from(id).ok()).and_then(rustix::process::Pid::from_raw)
            })
            .flatten();
        #[cfg(not(unix))]
        let _ = has_own_group;
        Ok(Self {
            child,
            #[cfg(unix)]
            group,
        })
    }

    /// Tells the command to end, waits, and kills it when it does not.
    async fn end(&mut self) {
        self.pass_on(Signal::Terminate);
        if timeout(GRACE, self.child.wait()).await.is_err() {
            self.kill();
            let _ = self.child.wait().await; // a killed process ends
        }
        self.sweep().await;
    }
}

#[cfg(unix)]
impl Running {
    /// Gives a signal to the command. What a terminal sent has reached it already.
    fn pass_on(&self, signal: Signal) {
        use rustix::process::{Pid, kill_process, kill_process_group};

        // Each call fails only when nobody is left to signal.
        if let Some(group) = self.group {
            let _ = kill_process_group(group, signal.number());
        } else if signal != Signal::Interrupt
            && let Some(leader) =
                self.child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw)
        {
            let _ = kill_process(leader, signal.number());
        }
    }

    fn kill(&mut self) {
        if let Some(group) = self.group {
            let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
        }
        let _ = self.child.start_kill(); // fails when it has ended
    }

    /// Ends what the command has left running in its group.
    async fn sweep(&mut self) {
        use rustix::process::{kill_process_group, test_kill_process_group};

        let Some(group) = self.group else { return };
        self.pass_on(Signal::Terminate);
        let gone = async {
            while test_kill_process_group(group).is_ok() {
                sleep(LOOK).await;
            }
        };
        if timeout(GRACE, gone).await.is_err() {
            let _ = kill_process_group(group, rustix::process::Signal::KILL);
        }
    }
}

#[cfg(not(unix))]
impl Running {
    /// Ctrl-C reaches the command from the console; there is nothing else to give.
    fn pass_on(&self, _: Signal) {}

    fn kill(&mut self) {
        let _ = self.child.start_kill(); // fails when it has ended
    }

    async fn sweep(&mut self) {
        std::future::ready(()).await;
    }
}
