//! A connection over the agent's socket: one chunk of the TCP stream becomes one event, and one event one chunk, encrypted and
//! decrypted on the way where the ends agreed on that.
//!
//! Outward, a connection first waits until it has something to read, then for its turn in the shared queue, and only
//! then reads one chunk. So a connection holds no buffer while it waits, turns are fair, and a slow hub pushes TCP back.

use std::io;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use connect_frames::buffers::Buffer;
use tokio::io::AsyncWriteExt;
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use super::events::{AtEnd, ConnectionEvents};
use super::{Direction, Keys, LINGER, NotAgreed, PumpEnd, Transport};
use crate::budget::{InboxRx, Item};
use crate::e2e::{NONCE_BYTES, OVERHEAD_BYTES, Opener, Sealer, Side};
use crate::liveness::LastActivity;
use crate::permission::{Guarded, Pass};
use crate::socketio::Utf8Bytes;

/// The agent's socket, as one connection uses it.
pub(crate) struct Recorded<'a, D> {
    pub(crate) inbox: InboxRx,
    pub(crate) events: &'a ConnectionEvents,
    pub(crate) keys: Option<Keys>,
    /// Dropped when nothing more can come from the hub, which ends the inbox once it is empty.
    pub(crate) detach: Option<D>,
}

/// From the TCP stream to the hub.
struct Outward<'a, D> {
    read: ReadHalf<'a>,
    events: &'a ConnectionEvents,
    sealer: Option<Sealer>,
    pass: &'a Pass,
    /// When bytes last went the other way.
    progress: LastActivity,
    detach: &'a mut Option<D>,
}

/// From the hub to the TCP stream.
struct Inward<'a> {
    write: Guarded<WriteHalf<'a>>,
    inbox: &'a mut InboxRx,
    side: Side,
    opener: Option<Opener>,
    pass: &'a Pass,
}

// === impl Recorded ===

impl<D: Send> Transport for Recorded<'_, D> {
    fn directions<'a>(
        &'a mut self,
        read: ReadHalf<'a>,
        write: Guarded<WriteHalf<'a>>,
        pass: &'a Pass,
    ) -> (impl Direction, impl Direction) {
        let Self { inbox, events, keys, detach } = self;
        let (sealer, opener) = keys.take().unzip();
        let outward = Outward { read, events, sealer, pass, progress: inbox.progress(), detach };
        (outward, Inward { write, inbox, side: events.side(), opener, pass })
    }

    fn given_up(&self) -> Option<CancellationToken> {
        Some(self.inbox.given_up())
    }
}

// === impl Outward ===

impl<D: Send> Direction for Outward<'_, D> {
    async fn step(&mut self) -> Result<Option<usize>, PumpEnd> {
        loop {
            self.read.readable().await.map_err(PumpEnd::Broken)?;
            let slot = self.events.emitter.slot().await?;
            if !self.pass.holds() {
                return Err(PumpEnd::Forbidden);
            }
            match self.frame() {
                Ok(None) => break,
                Ok(Some((text, len))) => {
                    slot.put(text, self.pass);
                    return Ok(Some(len));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(PumpEnd::Broken(error)),
            }
        }
        self.end().await
    }
}

impl<D: Send> Outward<'_, D> {
    /// Reads one chunk into its frame; `None` at the end of the stream.
    fn frame(&mut self) -> io::Result<Option<(Utf8Bytes, usize)>> {
        let Self { read, events, sealer, .. } = self;
        let mut buffer = Buffer::take();
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
    }

    /// The TCP stream has no more bytes: says so as the hub knows it, while what still comes the other way is delivered.
    async fn end(&mut self) -> Result<Option<usize>, PumpEnd> {
        match self.events.at_end {
            AtEnd::Finish => {
                self.events.finish().await?;
                return Ok(None);
            }
            AtEnd::Close => {
                self.events.close().await?;
                *self.detach = None; // the hub sends nothing after a close
                sleep(LINGER).await; // what was already here may still be delivered, which ends this sooner
            }
            AtEnd::CloseAfter(grace) => {
                until_quiet(&self.progress, grace).await;
                self.events.close().await?;
            }
        }
        Err(PumpEnd::Done)
    }
}

/// Waits until nothing has happened for so long, counted from now on.
async fn until_quiet(progress: &LastActivity, grace: Duration) {
    let began = Instant::now();
    loop {
        let left = grace.saturating_sub(progress.idle_for().min(began.elapsed()));
        if left.is_zero() {
            return;
        }
        sleep(left).await;
    }
}

// === impl Inward ===

impl Direction for Inward<'_> {
    async fn step(&mut self) -> Result<Option<usize>, PumpEnd> {
        let (bytes, _charge) = loop {
            match self.inbox.next().await {
                Some(Item::Chunk(bytes, charge)) => break (bytes, charge),
                Some(Item::Ready) => {}
                Some(Item::Handshake(_)) if self.may_ignore_a_handshake() => {}
                Some(Item::Handshake(_)) => return Err(broken(NotAgreed::TooLate)),
                Some(Item::Failed(reason)) => return Err(broken(reason)),
                Some(Item::Fin) => {
                    self.write.shutdown().await.map_err(PumpEnd::Broken)?;
                    return Ok(None);
                }
                Some(Item::Close) | None => {
                    let ended = self.write.shutdown().await;
                    let allowed = ended.is_ok() || self.pass.holds(); // the stream may have ended already
                    return Err(if allowed { PumpEnd::Done } else { PumpEnd::Forbidden });
                }
            }
        };
        self.take(bytes).await.map(Some).map_err(PumpEnd::Broken)
    }
}

impl Inward<'_> {
    /// Writes one chunk, decrypted where the ends agreed on that, and says how many bytes it was.
    async fn take(&mut self, bytes: Bytes) -> io::Result<usize> {
        let Some(opener) = &mut self.opener else {
            write_all(&mut self.write, self.inbox, &bytes).await?;
            return Ok(bytes.len());
        };
        let mut packet = BytesMut::from(bytes); // in place: nobody else holds these bytes
        let text = opener.open(&mut packet).map_err(io::Error::other)?;
        write_all(&mut self.write, self.inbox, text).await?;
        Ok(text.len())
    }

    /// An exposer that has sent bytes in plain leaves a late wish unanswered, and the joiner goes on in plain, too.
    fn may_ignore_a_handshake(&self) -> bool {
        self.opener.is_none() && self.side == Side::Exposer
    }
}

fn broken(why: impl Into<crate::error::Cause>) -> PumpEnd {
    PumpEnd::Broken(io::Error::other(why))
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
