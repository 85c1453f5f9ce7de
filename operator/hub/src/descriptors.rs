//! Open files: every connection is one, and a process may have few unless it asks for what it is allowed.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tracing::debug;

/// Lets this process open as many files as the system allows it. For the start of a process that carries connections;
/// one that may not is no worse off.
pub fn raise_limit() {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }) {
        debug!(%error, ?current, "the limit of open files stays as it is");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_as_allowed() {
        raise_limit();
        let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
        // Some systems allow less than they say; then nothing changes.
        assert!(current == maximum || cfg!(not(target_os = "linux")));
    }
}
