//! One connection as the hub knows it: its id, the event names of our side, and what to do at its end.

use std::time::Duration;

use crate::e2e::{Handshake, OVERHEAD_BYTES, Side};
use crate::protocol::{About, ChunkFrames, Shake};
use crate::socketio::{EmitError, Emitter};

/// The most bytes of one event: large enough for speed, small enough that a short turn of another is soon.
const MAX_CHUNK_BYTES: usize = 32 * 1024;

/// The fewest bytes of one event that carry any text when it is encrypted; a hub that takes less cannot be served.
const MIN_CHUNK_BYTES: usize = OVERHEAD_BYTES + 1;

/// What events of one connection are called, as one side emits them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct EventNames {
    pub(crate) side: Side,
    pub(crate) data: &'static str,
    pub(crate) fin: &'static str,
    pub(crate) close: &'static str,
}

/// The event names of the exposing side.
pub(crate) const EXPOSER: EventNames =
    EventNames { side: Side::Exposer, data: "data", fin: "fin", close: "close" };

/// The event names of the joining side.
pub(crate) const JOINER: EventNames =
    EventNames { side: Side::Joiner, data: "reach_data", fin: "reach_fin", close: "reach_close" };

/// One connection as the hub knows it.
#[derive(Debug)]
pub(crate) struct ConnectionEvents {
    pub(super) emitter: Emitter,
    names: EventNames,
    connection_id: String,
    pub(super) frames: ChunkFrames,
    pub(super) chunk_bytes: usize,
    pub(super) at_end: AtEnd,
}

/// What to do when the TCP stream has no more bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AtEnd {
    /// Say so and go on in the other direction.
    Finish,
    /// Close the connection; bytes that are already here are still delivered.
    Close,
    /// Wait for the other side to end, but not for longer than this after its last bytes; then close.
    CloseAfter(Duration),
}

// === impl ConnectionEvents ===

impl ConnectionEvents {
    pub(crate) fn new(emitter: Emitter, names: EventNames, connection_id: String, at_end: AtEnd) -> Self {
        let frames = ChunkFrames::new(names.data, &connection_id);
        let chunk_bytes = frames.largest_chunk(emitter.max_payload()).clamp(MIN_CHUNK_BYTES, MAX_CHUNK_BYTES);
        Self { emitter, names, connection_id, frames, chunk_bytes, at_end }
    }

    pub(crate) fn connection_id(&self) -> &str {
        &self.connection_id
    }

    pub(super) fn side(&self) -> Side {
        self.names.side
    }

    /// Tells the other end our word on encryption.
    pub(super) async fn shake_hands(&self, handshake: &Handshake) -> Result<(), EmitError> {
        let payload = handshake.to_payload().into();
        let shake = Shake { connection_id: self.connection_id.as_str().into(), payload };
        self.emitter.emit("e2e_handshake", &shake).await
    }

    /// Tells the hub that the connection is over.
    pub(crate) async fn close(&self) -> Result<(), EmitError> {
        self.emitter.emit(self.names.close, &About { connection_id: &self.connection_id }).await
    }

    pub(super) async fn finish(&self) -> Result<(), EmitError> {
        self.emitter.emit(self.names.fin, &About { connection_id: &self.connection_id }).await
    }
}
