//! What this machine is and what it allows: cores, open files, and the memory of a process.

use std::fs;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde::Serialize;

/// Open files for ten thousand connections, both ends of each, in one process.
const OPEN_FILES: u64 = 65_536;

/// The machine that figures were taken on.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Machine {
    cores: usize,
    processor: String,
    system: String,
}

impl Machine {
    pub(super) fn this() -> Self {
        let field = |text: &str, name: &str| {
            let line = text.lines().find(|line| line.starts_with(name))?;
            line.split_once(':').map(|(_, value)| value.trim().to_owned())
        };
        let processors = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
        Self {
            cores: std::thread::available_parallelism().map_or(0, usize::from),
            processor: field(&processors, "model name").unwrap_or_else(|| std::env::consts::ARCH.to_owned()),
            system: format!("{} {}", std::env::consts::OS, release.trim()).trim_end().to_owned(),
        }
    }

    /// In one line.
    pub(super) fn show(&self) -> String {
        let Self { cores, processor, system } = self;
        format!("{cores} cores, {processor}, {system}")
    }
}

/// Raises how many files we and the processes we start may have open, as far as we may.
pub(super) fn raise_file_limit() {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let all = Rlimit { current: Some(OPEN_FILES), maximum: Some(OPEN_FILES) };
    if current.is_none_or(|current| current >= OPEN_FILES) {
        return;
    }
    // Only root may raise the maximum; everybody may go up to it.
    if maximum.is_some_and(|maximum| maximum >= OPEN_FILES) || setrlimit(Resource::Nofile, all).is_err() {
        let allowed = maximum.map_or(OPEN_FILES, |maximum| maximum.min(OPEN_FILES));
        // What we have must do then.
        let _ = setrlimit(Resource::Nofile, Rlimit { current: Some(allowed), maximum });
    }
}

/// How many files a process that we start may have open.
pub(super) fn file_limit() -> u64 {
    getrlimit(Resource::Nofile).current.unwrap_or(OPEN_FILES)
}

/// KiB of memory that a process holds; none where the system does not tell.
pub(super) fn resident_kib(pid: u32) -> Option<f64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find(|line| line.starts_with("VmRSS:"))?;
    line.split_whitespace().nth(1)?.parse().ok()
}

/// Clock ticks, a hundredth of a second each, that a process has computed; none where the system does not tell.
pub(super) fn ticks(pid: u32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name of the program may hold anything, a parenthesis too; what follows the last one are numbers.
    let (_, numbers) = stat.rsplit_once(')')?;
    let mut times = numbers.split_whitespace().skip(11).map_while(|ticks| ticks.parse::<u64>().ok());
    Some(times.next()? + times.next()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(target_os = "linux")]
    #[test]
    fn the_work_of_a_process_is_read() {
        let before = ticks(std::process::id()).expect("Linux tells");
        while ticks(std::process::id()).expect("Linux tells") < before + 2 {} // each look is work
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn the_memory_of_a_process_is_read() {
        let before = resident_kib(std::process::id()).expect("Linux tells");
        let block = vec![1_u8; 64 * 1024 * 1024];
        let after = resident_kib(std::process::id()).expect("Linux tells");
        assert!(
            after - before > 32.0 * 1024.0,
            "{before} KiB, then {after} KiB with {} bytes more",
            block.len()
        );
    }
}
