//! The fast path to a hub of ours: connections of TCP that carry nothing but one stream of bytes at a time.
//!
//! Over the agent's socket the bytes of all connections share one WebSocket, in base64 and JSON. A hub that says
//! `data-connections` also takes connections of their own: an HTTP/1.1 upgrade, and after it frames. Each belongs to
//! the agent's socket, by a ticket that the hub's welcome gave, and ends with it.
//!
//! ```text
//! joiner                      hub                                exposer
//!   | -- open (service, key) --> authorises, picks one of its own --> | asks its routes, connects
//!   | <------------------------- ready (key) or refused ------------- |
//!   | <======== data ... fin, both ways; the hub forwards ==========> |
//!   | -- open again, the same service: the pair stays together -----> |
//! ```
//!
//! Guarantees: a stream ends in order only when both sides said `fin`; anything else resets the local connection, so
//! that nobody takes a part for the whole. A slow reader slows its own connection down by TCP's means and no other.
//! What is between them is encrypted from end to end: the keys are agreed with `open` and `ready`, a `fin` is a packet
//! like the others, and one that was changed, dropped or forged ends the stream as a reset.
//! What does not speak this path gets the recorded protocol, connection by connection.

mod connect;
mod keys;
mod offering;
mod reaching;
mod reader;
mod stream;

pub(crate) use self::connect::Connector;
pub(crate) use self::offering::{Offering, Wanted};
pub(crate) use self::reaching::{NotReached, Reaching};

/// What is used of what a hub can do. The default is right outside of tests and measurements.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transport {
    /// Carry connections beside the agent's socket where the hub can.
    pub data_connections: bool,
    /// Encrypt them between the two ends.
    pub encryption: bool,
}

impl Default for Transport {
    fn default() -> Self {
        Self { data_connections: true, encryption: true }
    }
}
