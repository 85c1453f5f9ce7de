//! The user's wish to stop: Ctrl-C, or a polite kill.

use crate::failure::{Failure, Outcome};

/// What a process may be told from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// Ctrl-C.
    Interrupt,
    /// The polite kill.
    #[cfg_attr(not(unix), allow(dead_code, reason = "only Unix systems have it"))]
    Terminate,
    /// The terminal is gone.
    #[cfg(unix)]
    Hangup,
    /// Ctrl-\.
    #[cfg(unix)]
    Quit,
}

/// Everything a process may be told from outside, one after the other. While this lives, nothing of it ends us.
pub struct Signals {
    #[cfg(unix)]
    streams: Vec<(Signal, tokio::signal::unix::Signal)>,
}

/// Returns when the process is asked to end. Cancel safe, but what comes while nobody waits is lost: who waits again and again
/// keeps [`Signals`].
pub async fn requested() {
    match Signals::that_end() {
        Ok(mut signals) => drop(signals.next().await),
        Err(_) => std::future::pending().await,
    }
}

#[cfg(not(unix))]
async fn interrupted() {
    if tokio::signal::ctrl_c().await.is_err() {
        std::future::pending::<()>().await;
    }
}

// === impl Signal ===

impl Signal {
    /// Whether whoever sent it wants an end for certain; Ctrl-C may only mean the query that runs.
    pub fn ends(self) -> bool {
        self != Signal::Interrupt
    }

    /// The system's name of it.
    #[cfg(unix)]
    pub fn number(self) -> rustix::process::Signal {
        match self {
            Signal::Interrupt => rustix::process::Signal::INT,
            Signal::Terminate => rustix::process::Signal::TERM,
            Signal::Hangup => rustix::process::Signal::HUP,
            Signal::Quit => rustix::process::Signal::QUIT,
        }
    }
}

// === impl Signals ===

#[cfg(unix)]
impl Signals {
    /// Listens from now on.
    pub fn listen() -> Outcome<Self> {
        Self::of(&[Signal::Interrupt, Signal::Terminate, Signal::Hangup, Signal::Quit])
    }

    /// Listens from now on for those by which people and systems ask a process to end.
    pub fn that_end() -> Outcome<Self> {
        Self::of(&[Signal::Interrupt, Signal::Terminate])
    }

    fn of(kinds: &[Signal]) -> Outcome<Self> {
        use tokio::signal::unix::{SignalKind, signal};

        let kinds = kinds.iter().map(|kind| (*kind, SignalKind::from_raw(kind.number().as_raw())));
        let listening: std::io::Result<_> = kinds.map(|(known, kind)| Ok((known, signal(kind)?))).collect();
        let streams =
            listening.map_err(|error| Failure::new(format!("Cannot listen for signals: {error}")))?;
        Ok(Self { streams })
    }

    /// The next one. Cancel safe.
    pub async fn next(&mut self) -> Signal {
        std::future::poll_fn(|context| {
            let due = self.streams.iter_mut().find_map(|(known, stream)| {
                matches!(stream.poll_recv(context), std::task::Poll::Ready(Some(()))).then_some(*known)
            });
            due.map_or(std::task::Poll::Pending, std::task::Poll::Ready)
        })
        .await
    }
}

#[cfg(not(unix))]
impl Signals {
    /// Listens from now on.
    pub fn listen() -> Outcome<Self> {
        Ok(Self {})
    }

    /// Listens from now on for those by which people ask a process to end.
    pub fn that_end() -> Outcome<Self> {
        Self::listen()
    }

    /// The next one. Cancel safe.
    pub async fn next(&mut self) -> Signal {
        interrupted().await;
        Signal::Interrupt
    }
}
