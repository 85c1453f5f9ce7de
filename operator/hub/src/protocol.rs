//! The events of the namespace `/agent`, typed. Base64 begins and ends here.
//!
//! Incoming events are read from the text of their frame: a chunk's connection id is borrowed and its bytes are
//! decoded once, into the buffer that is written to the TCP stream. Outgoing chunks are encoded straight into the
//! frame that is sent.

mod chunk;
mod payload;

use serde::Deserialize;

pub(crate) use self::chunk::ChunkFrames;
use self::chunk::{Chunk, decode};
pub(crate) use self::payload::auth;
pub use self::payload::*;
use crate::socketio::Event;

/// The namespace of agents.
pub const NAMESPACE: &str = "/agent";

/// Either end can finish its direction without ending the other.
pub const HALF_CLOSE: &str = "half-close";

/// The hub tells about joins and ends of shares.
pub const SHARE_EVENTS: &str = "share-events";

/// The hub tells each end of a connection whether the other encrypts.
pub const E2E: &str = "e2e";

/// The hub tells who is connected under a share.
pub const PRESENCE: &str = "presence";

/// Bytes may go over connections of their own: see `data`.
pub const DATA_CONNECTIONS: &str = "data-connections";

/// What a hub says, in our words.
#[derive(Debug)]
pub enum Said<'a> {
    /// The hub has registered this socket.
    Connected(Connected),
    /// The credentials were not accepted; the namespace is left next.
    Error(Rejected),
    /// The token ends soon.
    TokenWarning(TokenWarning),
    /// Open a connection (exposing side).
    Dial(Dial<'a>),
    /// Bytes for a connection.
    Data(Data<'a>),
    /// The peer will send no more.
    Fin(Id<'a>),
    /// The connection is over.
    Close(Id<'a>),
    /// The connection can be used (joining side).
    Ready(Id<'a>),
    /// The connection cannot be had (joining side).
    Failed(Failed<'a>),
    /// The other end's word on encrypting a connection.
    Handshake(Shake<'a>),
    /// Somebody joined a share of this agent.
    ShareJoined(ShareJoined),
    /// Who is connected under a share of this agent.
    SharePresence(SharePresence),
    /// A share that this agent joined ends at another time.
    ShareChanged(ShareChanged),
    /// A share that this agent joined is over.
    ShareEnded(ShareEnded),
    /// A chunk for this connection that is not base64: the connection cannot go on.
    Spoilt(Id<'a>),
    /// More data connections are wanted than wait at the hub (exposing side).
    DataWanted,
    /// Something that does not concern us.
    Other,
}

/// An event that has a known name and an unknown shape.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unreadable;

// === impl Said ===

impl<'a> Said<'a> {
    /// Reads an event.
    pub fn read(event: &'a Event) -> Result<Self, Unreadable> {
        Ok(match event.name() {
            "data" | "reach_data" => return read_data(event),
            "dial" => Self::Dial(payload::<Dial<'_>>(event)?.checked()?),
            "close" | "reach_close" => Self::Close(payload::<Id<'_>>(event)?.checked()?),
            "fin" | "reach_fin" => Self::Fin(payload::<Id<'_>>(event)?.checked()?),
            "reach_ready" => Self::Ready(payload::<Id<'_>>(event)?.checked()?),
            "reach_error" => Self::Failed(payload(event)?),
            "e2e_handshake" => Self::Handshake(payload::<Shake<'_>>(event)?.checked()?),
            "connected" => Self::Connected(payload(event).unwrap_or_default()),
            "error" => Self::Error(payload(event)?),
            "token_warning" => Self::TokenWarning(payload(event)?),
            "share_joined" => Self::ShareJoined(payload(event)?),
            "share_presence" => Self::SharePresence(payload(event)?),
            "share_changed" => Self::ShareChanged(payload(event)?),
            "share_ended" => Self::ShareEnded(payload(event)?),
            "data_wanted" => Self::DataWanted,
            _ => Self::Other,
        })
    }
}

fn payload<'a, T: Deserialize<'a>>(event: &'a Event) -> Result<T, Unreadable> {
    event.payload().ok_or(Unreadable)
}

fn read_data(event: &Event) -> Result<Said<'_>, Unreadable> {
    let Some(Chunk { connection_id, data }) = event.payload() else {
        // Without its bytes the connection would silently lose some.
        return Ok(Said::Spoilt(payload::<Id<'_>>(event)?.checked()?));
    };
    match decode(&data) {
        Some(bytes) => Ok(Said::Data(Data { connection_id, bytes })),
        None => Ok(Said::Spoilt(Id { connection_id })),
    }
}
