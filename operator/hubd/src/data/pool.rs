//! The data connections of one socket that wait: an exposing agent's for a stream, a joining agent's for an `open`.

use std::{
    collections::VecDeque,
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use super::Connection;
use crate::{limits::DATA_WAITING_PER_SOCKET, secret::Ticket};

/// What belongs to one socket.
pub struct DataPool {
    ticket: Ticket,
    /// Connections that wait, for whatever.
    waiting: Arc<AtomicUsize>,
    state: Mutex<State>,
    /// Cancelled when the socket is gone, and its connections with it.
    gone: CancellationToken,
}

#[derive(Default)]
struct State {
    idle: VecDeque<(Connection, Waiting)>,
    /// Streams that found none, longest waiting first.
    wanting: VecDeque<oneshot::Sender<Connection>>,
    closed: bool,
    /// Whether there ever was one.
    tried: bool,
}

/// One of the connections that wait.
#[derive(Debug)]
pub struct Waiting(Arc<AtomicUsize>);

/// What a stream gets.
pub enum Taken {
    Now(Connection),
    /// As soon as there is one.
    Later(oneshot::Receiver<Connection>),
    /// The agent has never had one.
    Never,
}

// === impl DataPool ===

impl DataPool {
    pub fn new(ticket: Ticket) -> Self {
        Self { ticket, waiting: Arc::default(), state: Mutex::default(), gone: CancellationToken::new() }
    }

    /// What the agent's connections open with.
    pub fn ticket(&self) -> &Ticket {
        &self.ticket
    }

    pub fn opens_with(&self, ticket: &str) -> bool {
        !self.gone.is_cancelled() && self.ticket.matches(ticket)
    }

    /// A place to wait in, unless the agent has too many waiting.
    pub fn wait_here(&self) -> Option<Waiting> {
        let place = Waiting(self.waiting.clone());
        (self.waiting.fetch_add(1, Ordering::AcqRel) < DATA_WAITING_PER_SOCKET).then_some(place)
    }

    /// Cancelled when the socket is gone.
    pub fn gone(&self) -> &CancellationToken {
        &self.gone
    }

    /// Gives a connection to the stream that has waited longest, or lets it wait for one.
    pub fn put(&self, connection: Connection, waiting: Waiting) {
        let mut state = self.lock();
        state.tried = true;
        if state.closed {
            return;
        }
        let mut connection = connection;
        while let Some(wanting) = state.wanting.pop_front() {
            match wanting.send(connection) {
                Ok(()) => return,
                Err(back) => connection = back, // whoever wanted it has gone
            }
        }
        state.idle.push_back((connection, waiting));
    }

    /// The newest connection that still stands, for those are likeliest to.
    pub fn take(&self) -> Taken {
        let mut state = self.lock();
        while let Some((mut connection, _)) = state.idle.pop_back() {
            if connection.is_quiet() {
                return Taken::Now(connection);
            }
        }
        if !state.tried || state.closed {
            return Taken::Never;
        }
        let (wanting, later) = oneshot::channel();
        if state.wanting.len().is_power_of_two() {
            state.wanting.retain(|wanting| !wanting.is_closed()); // now and then, for nobody else forgets those
        }
        state.wanting.push_back(wanting);
        Taken::Later(later)
    }

    /// Takes away what agents said to keep connections alive, and those connections that have ended.
    pub fn sweep(&self) {
        self.lock().idle.retain_mut(|(connection, _)| connection.is_quiet());
    }

    /// The socket is gone: nothing waits here any more.
    pub fn close(&self) {
        self.gone.cancel();
        let mut state = self.lock();
        let State { idle, wanting, closed, tried: _ } = &mut *state;
        *closed = true;
        idle.clear();
        wanting.clear();
    }

    /// No code panics while it holds this lock, so a poisoned one is as good as any.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for DataPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DataPool").field("idle", &self.lock().idle.len()).finish_non_exhaustive()
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}
