//! One proven socket of an agent: who it is, what it understands, and how events get to it.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
};

use serde::Serialize;
use socketioxide::{SendError, SocketError, socket::Socket};
use tokio::sync::Semaphore;
use uuid::Uuid;

use crate::{data::DataPool, limits::CALLS_PER_SOCKET, secret::Ticket, wire::Wire};

/// The feature of carrying streams beside the socket.
pub const DATA_CONNECTIONS: &str = "data-connections";

/// What an agent said it understands beyond the recorded protocol.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Features {
    pub half_close: bool,
    pub share_events: bool,
    /// Whether it encrypts from end to end. `None`: it said nothing of its features, as the vendor's agents do, which
    /// may or may not encrypt.
    pub e2e: Option<bool>,
    pub data_connections: bool,
    /// Whether it wants to hear who is connected under its shares.
    pub presence: bool,
}

/// A proven socket.
#[derive(Debug)]
pub struct Session {
    pub agent: Uuid,
    /// `None`: a guest, who joined by a code alone.
    pub workspace: Option<String>,
    pub features: Features,
    pub wire: Arc<Wire>,
    socket: Arc<Socket>,
    closed: AtomicBool,
    /// Whether it has said a word on encryption, whatever it named.
    shook_hands: AtomicBool,
    /// Services that this very socket exposes, each with when it said so.
    exposed: Mutex<HashMap<Uuid, u64>>,
    /// Bridges in which this is the exposing side.
    pub exposing: AtomicUsize,
    /// Room for requests that wait for the database.
    pub calls: Arc<Semaphore>,
    /// Its data connections that carry nothing now.
    pub data: DataPool,
}

/// The socket is gone or going.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gone;

/// Counts `expose` events of all sockets, to tell which came last.
static EXPOSURES: AtomicU64 = AtomicU64::new(1);

// === impl Features ===

impl Features {
    /// What every hub of ours understands, as it says in `connected`; [`DATA_CONNECTIONS`] is said where there are any.
    pub const OURS: [&str; 6] =
        ["half-close", "share-events", "e2e", "e2e-handshake-relay", "end-reasons", "presence"];

    pub fn from_names<'a>(names: impl IntoIterator<Item = &'a str>) -> Self {
        names.into_iter().fold(Self::default(), |features, name| {
            let features = Self { e2e: features.e2e.or(Some(false)), ..features };
            match name {
                "half-close" => Self { half_close: true, ..features },
                "share-events" => Self { share_events: true, ..features },
                "e2e" => Self { e2e: Some(true), ..features },
                "presence" => Self { presence: true, ..features },
                DATA_CONNECTIONS => Self { data_connections: true, ..features },
                _ => features,
            }
        })
    }
}

// === impl Session ===

impl Session {
    pub fn new(
        agent: Uuid,
        workspace: Option<String>,
        features: Features,
        socket: Arc<Socket>,
        wire: Arc<Wire>,
        ticket: Ticket,
    ) -> Self {
        wire.sessions.fetch_add(1, Ordering::AcqRel);
        wire.prove();
        Self {
            agent,
            workspace,
            features,
            wire,
            socket,
            closed: AtomicBool::new(false),
            shook_hands: AtomicBool::new(false),
            exposed: Mutex::default(),
            exposing: AtomicUsize::new(0),
            calls: Arc::new(Semaphore::new(CALLS_PER_SOCKET)),
            data: DataPool::new(ticket),
        }
    }

    /// Sends one event. `weight` is what was reserved in the window for it; 0 for what must go at once. A socket that
    /// cannot even queue it has tens of thousands of events waiting: it is closed.
    pub fn emit(&self, event: &str, payload: &impl Serialize, weight: usize) -> Result<(), Gone> {
        let sent = self.wire.hand_over(weight, || self.socket.emit(event, payload));
        match sent {
            Ok(()) => Ok(()),
            Err(SendError::Socket(SocketError::InternalChannelFull)) => {
                tracing::warn!(agent = %self.agent, "closing a socket that takes no events");
                self.wire.kill();
                Err(Gone)
            }
            Err(_) => Err(Gone),
        }
    }

    /// Whether this end encrypts, for the other one. An agent that names no features does not, as far as anybody can tell:
    /// who waited for its word would wait at every connection. One that was heard to speak of it may.
    pub fn encrypts(&self) -> Option<bool> {
        let silent = !self.shook_hands.load(Ordering::Acquire);
        self.features.e2e.or(silent.then_some(false))
    }

    /// Notes that this end has said a word on encryption.
    pub fn shakes_hands(&self) {
        self.shook_hands.store(true, Ordering::Release);
    }

    /// Says that this socket exposes `service` now.
    pub fn expose(&self, service: Uuid) {
        let mut exposed = self.exposed.lock().unwrap_or_else(PoisonError::into_inner);
        exposed.insert(service, EXPOSURES.fetch_add(1, Ordering::Relaxed));
    }

    /// Says that `service` is no more.
    pub fn unexpose(&self, service: Uuid) {
        self.exposed.lock().unwrap_or_else(PoisonError::into_inner).remove(&service);
    }

    pub fn exposed_since(&self, service: Uuid) -> Option<u64> {
        self.exposed.lock().unwrap_or_else(PoisonError::into_inner).get(&service).copied()
    }

    pub fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    /// Notes that the socket has gone; false when that was known.
    pub fn close(&self) -> bool {
        let first = !self.closed.swap(true, Ordering::AcqRel);
        if first {
            self.wire.sessions.fetch_sub(1, Ordering::AcqRel);
            self.data.close();
        }
        first
    }

    /// Tells this socket from all others.
    pub fn key(&self) -> usize {
        std::ptr::from_ref(self) as usize
    }

    /// Takes the socket out of the namespace, after what was sent before.
    pub fn disconnect(&self) {
        if self.socket.clone().disconnect().is_err() {
            self.wire.kill();
        }
    }
}
