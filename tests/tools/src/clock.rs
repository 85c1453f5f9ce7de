//! Steps that take minutes, with a clock: one line that is rewritten on a terminal, else a plain line at least once a minute.

use std::io::{IsTerminal, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::Result;

use crate::human;

/// How often a terminal's line is written anew: a clock of seconds.
const TERMINAL: Duration = Duration::from_secs(1);

/// How often a line is written where lines stay.
const LOG: Duration = Duration::from_secs(60);

/// Moves to the line's begin and clears what is left of it.
const CLEAR: &str = "\r\x1b[K";

/// The clock of a few steps, of which several may run at once.
pub struct Clock {
    board: Arc<Mutex<Board>>,
    over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

/// What the clock shows.
struct Board {
    out: Box<dyn Write + Send>,
    terminal: bool,
    steps: usize,
    begun: usize,
    running: Vec<Running>,
    written: Instant,
}

struct Running {
    number: usize,
    name: String,
    usually: String,
    since: Instant,
}

impl Clock {
    /// A clock for so many steps, on stderr.
    pub fn new(steps: usize) -> Self {
        let stderr = std::io::stderr();
        let terminal = stderr.is_terminal();
        let board = Arc::new(Mutex::new(Board::new(steps, terminal, Box::new(stderr), Instant::now())));
        let over = Arc::new(AtomicBool::new(false));
        let (shown, ended) = (Arc::clone(&board), Arc::clone(&over));
        let thread = thread::spawn(move || {
            while !ended.load(Ordering::Acquire) {
                thread::park_timeout(TERMINAL);
                shown.lock().unwrap_or_else(PoisonError::into_inner).tick(Instant::now());
            }
        });
        Self { board, over, thread: Some(thread) }
    }

    /// Runs one step; what it usually takes is said at its begin.
    ///
    /// # Errors
    /// Those of `work`.
    pub fn step<T>(&self, name: &str, usually: &str, work: impl FnOnce() -> Result<T>) -> Result<T> {
        let number = self.with(|board| board.begin(name, usually, Instant::now()));
        let done = work();
        self.with(|board| board.end(number, done.is_ok(), Instant::now()));
        done
    }

    fn with<T>(&self, change: impl FnOnce(&mut Board) -> T) -> T {
        change(&mut self.board.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Drop for Clock {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            // It ends within a tick and holds nothing.
            let _ = thread.join();
        }
    }
}

impl Board {
    fn new(steps: usize, terminal: bool, out: Box<dyn Write + Send>, now: Instant) -> Self {
        Self { out, terminal, steps, begun: 0, running: Vec::new(), written: now }
    }

    fn begin(&mut self, name: &str, usually: &str, now: Instant) -> usize {
        self.begun += 1;
        let number = self.begun;
        let (name, usually) = (name.to_owned(), usually.to_owned());
        if !self.terminal {
            self.line(&format!("[{number}/{}] {name}, usually {usually}", self.steps));
        }
        self.running.push(Running { number, name, usually, since: now });
        self.show(now);
        number
    }

    fn end(&mut self, number: usize, succeeded: bool, now: Instant) {
        let Some(place) = self.running.iter().position(|it| it.number == number) else { return };
        let Running { name, since, .. } = self.running.remove(place);
        let how = if succeeded { "done in" } else { "failed after" };
        self.line(&format!("[{number}/{}] {name}: {how} {}", self.steps, human(now.duration_since(since))));
        self.show(now);
    }

    /// A terminal sees the clock move; a log is told that there is life.
    fn tick(&mut self, now: Instant) {
        if self.terminal {
            self.show(now);
        } else if now.duration_since(self.written) >= LOG && !self.running.is_empty() {
            let text = self.clocks(now);
            self.line(&text);
            self.written = now;
        }
    }

    fn show(&mut self, now: Instant) {
        if self.terminal {
            let text = if self.running.is_empty() { String::new() } else { self.clocks(now) };
            self.write(&format!("{CLEAR}{text}"));
        }
        self.written = now;
    }

    fn clocks(&self, now: Instant) -> String {
        let clock = |it: &Running| {
            let seconds = now.duration_since(it.since).as_secs();
            let (minutes, seconds) = (seconds / 60, seconds % 60);
            format!(
                "[{}/{}] {} {minutes}:{seconds:02} (usually {})",
                it.number, self.steps, it.name, it.usually
            )
        };
        self.running.iter().map(clock).collect::<Vec<_>>().join("  ")
    }

    fn line(&mut self, text: &str) {
        let clear = if self.terminal { CLEAR } else { "" };
        self.write(&format!("{clear}{text}\n"));
    }

    fn write(&mut self, text: &str) {
        // Nobody is there to be told that stderr is closed.
        let _ = self.out.write_all(text.as_bytes());
        let _ = self.out.flush();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

    use super::*;

    /// More lines than any of these tests makes a board write.
    const LINES: usize = 1_000;

    struct Pipe(SyncSender<String>);

    impl Write for Pipe {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            let text = String::from_utf8_lossy(bytes).into_owned();
            self.0.try_send(text).map_err(std::io::Error::other)?;
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    /// A board, what it writes, and the time of its begin.
    fn board(terminal: bool) -> (Board, Receiver<String>, Instant) {
        let (sender, receiver) = sync_channel(LINES);
        let now = Instant::now();
        (Board::new(5, terminal, Box::new(Pipe(sender)), now), receiver, now)
    }

    fn after(begin: Instant, seconds: u64) -> Instant {
        begin + Duration::from_secs(seconds)
    }

    #[test]
    fn a_log_has_plain_lines_and_one_a_minute() {
        let (mut board, written, begin) = board(false);
        let number = board.begin("kube-apiserver", "3-7 min", begin);
        for second in 1..=150 {
            board.tick(after(begin, second));
        }
        board.end(number, true, after(begin, 151));
        let lines: Vec<String> = written.try_iter().collect();
        assert_eq!(
            lines,
            [
                "[1/5] kube-apiserver, usually 3-7 min\n",
                "[1/5] kube-apiserver 1:00 (usually 3-7 min)\n",
                "[1/5] kube-apiserver 2:00 (usually 3-7 min)\n",
                "[1/5] kube-apiserver: done in 2 min 31 s\n",
            ]
        );
    }

    #[test]
    fn a_terminal_has_one_line_that_is_rewritten_for_all_that_runs() {
        let (mut board, written, begin) = board(true);
        let first = board.begin("programs", "2 min", begin);
        board.begin("kube-apiserver", "3-7 min", begin);
        assert!(written.try_iter().all(|text| text.starts_with(CLEAR) && !text.contains('\n')));
        board.tick(after(begin, 61));
        let text: String = written.try_iter().collect();
        assert_eq!(
            text,
            format!(
                "{CLEAR}[1/5] programs 1:01 (usually 2 min)  [2/5] kube-apiserver 1:01 (usually 3-7 min)"
            )
        );
        board.end(first, false, after(begin, 62));
        let text: String = written.try_iter().collect();
        let done = format!("{CLEAR}[1/5] programs: failed after 1 min 2 s\n");
        assert_eq!(text, format!("{done}{CLEAR}[2/5] kube-apiserver 1:02 (usually 3-7 min)"));
    }
}
