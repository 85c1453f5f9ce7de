//! Why a connection could not be had or is over, and why an event was not sent.

use std::time::Duration;

use thiserror::Error;
use tokio_tungstenite::tungstenite;

use crate::dial::DialError;
/// Why a connection could not be had or is over.
#[derive(Debug, Error)]
pub enum SocketError {
    /// No connection to the hub.
    #[error("{0}")]
    Dial(#[from] DialError),
    /// No websocket.
    #[error("opening the websocket")]
    Connect {
        /// What the network or the hub said.
        #[source]
        source: Box<tungstenite::Error>,
    },
    /// The handshake took too long.
    #[error("the hub did not finish the handshake within {} seconds", after.as_secs())]
    HandshakeTimedOut {
        /// The limit.
        after: Duration,
    },
    /// Whatever is at the other end, it is no Socket.IO server.
    #[error("the answer is not that of a Socket.IO server")]
    NotSocketIo,
    /// The namespace was refused.
    #[error("the hub refused the namespace: {message}")]
    Refused {
        /// The hub's words.
        message: String,
    },
    /// The hub left the namespace.
    #[error("the hub disconnected this agent")]
    Disconnected,
    /// The websocket was closed.
    #[error("the hub closed the connection")]
    Closed,
    /// The websocket broke.
    #[error("the connection to the hub broke")]
    Broken {
        /// What the network said.
        #[source]
        source: Box<tungstenite::Error>,
    },
    /// Nothing came for too long.
    #[error("the hub went silent for {} seconds", after.as_secs())]
    Silent {
        /// The limit.
        after: Duration,
    },
    /// A message was larger than we read.
    #[error("the hub sent a message of more than {limit} bytes")]
    TooLarge {
        /// The limit in bytes.
        limit: usize,
    },
}

/// Why an event was not sent or not answered.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum EmitError {
    /// The connection is over.
    #[error("the connection to the hub is over")]
    Gone,
    /// The frame is larger than the hub accepts.
    #[error("the event is larger than the hub accepts")]
    TooLarge,
    /// No answer came.
    #[error("the hub did not answer in time")]
    TimedOut,
    /// The event cannot be written as JSON, or its answer cannot be read.
    #[error("the event or its answer is not what it should be")]
    Malformed,
}

// === impl SocketError ===

impl SocketError {
    /// Whether there was a connection, and on it nothing that a websocket begins with: as of something in between that
    /// breaks websockets off or holds them back.
    pub(crate) fn opens_nothing(&self) -> bool {
        match self {
            Self::Connect { source } => !matches!(**source, tungstenite::Error::Http(_)),
            Self::HandshakeTimedOut { .. } | Self::NotSocketIo | Self::Closed => true,
            _ => false,
        }
    }
}
