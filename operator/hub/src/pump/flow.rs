//! The two ends of a TCP stream as the pump uses them: one chunk out of it into a frame, one chunk out of an event into
//! it, encrypted and decrypted on the way where the ends agreed on that.

use std::cell::RefCell;
use std::io;

use bytes::{Bytes, BytesMut};
use tokio::io::AsyncWriteExt;
use tokio::net::tcp::{ReadHalf, WriteHalf};

use super::events::{ConnectionEvents, MAX_CHUNK_BYTES};
use crate::budget::InboxRx;
use crate::e2e::{NONCE_BYTES, OVERHEAD_BYTES, Opener, Sealer, Side};
use crate::permission::Guarded;
use crate::socketio::Utf8Bytes;

thread_local! {
    /// One read buffer per thread, used between two awaits: idle connections hold none.
    pub(super) static CHUNK: RefCell<Vec<u8>> = RefCell::new(vec![0; MAX_CHUNK_BYTES]);
}

/// Where bytes for the hub come from.
pub(super) struct Source<'a> {
    pub(super) read: ReadHalf<'a>,
    pub(super) events: &'a ConnectionEvents,
    pub(super) sealer: Option<Sealer>,
}

/// Where bytes from the hub go to.
pub(super) struct Sink<'a> {
    pub(super) write: Guarded<WriteHalf<'a>>,
    pub(super) side: Side,
    pub(super) opener: Option<Opener>,
}

// === impl Source ===

impl Source<'_> {
    /// Reads one chunk into its frame; `None` at the end of the stream.
    pub(super) fn frame(&mut self) -> io::Result<Option<(Utf8Bytes, usize)>> {
        let Self { read, events, sealer } = self;
        CHUNK.with_borrow_mut(|buffer| {
            let Some(sealer) = sealer else {
                let len = read.try_read(&mut buffer[..events.chunk_bytes])?;
                return Ok((len > 0).then(|| (events.frames.frame(&buffer[..len]), len)));
            };
            let text = NONCE_BYTES..NONCE_BYTES + events.chunk_bytes - OVERHEAD_BYTES;
            let len = read.try_read(&mut buffer[text])?;
            let packet = &mut buffer[..len + OVERHEAD_BYTES];
            Ok((len > 0).then(|| {
                sealer.seal(packet);
                (events.frames.frame(packet), len)
            }))
        })
    }
}

// === impl Sink ===

impl Sink<'_> {
    /// Writes one chunk, decrypted where the ends agreed on that, and says how many bytes it was.
    pub(super) async fn take(&mut self, inbox: &InboxRx, bytes: Bytes) -> io::Result<usize> {
        let Some(opener) = &mut self.opener else {
            return write_all(&mut self.write, inbox, &bytes).await.map(|()| bytes.len());
        };
        let mut packet = BytesMut::from(bytes); // in place: nobody else holds these bytes
        let text = opener.open(&mut packet).map_err(io::Error::other)?;
        write_all(&mut self.write, inbox, text).await.map(|()| text.len())
    }

    /// An exposer that has sent bytes in plain leaves a late wish unanswered, and the joiner goes on in plain, too.
    pub(super) fn may_ignore_a_handshake(&self) -> bool {
        self.opener.is_none() && self.side == Side::Exposer
    }
}

/// Writes everything and reports each part, so that a slow reader is told from one that does not read.
async fn write_all(write: &mut Guarded<WriteHalf<'_>>, inbox: &InboxRx, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        let written = write.write(bytes).await?;
        if written == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        bytes = &bytes[written..];
        inbox.moved();
    }
    Ok(())
}
