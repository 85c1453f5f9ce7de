//! The byte stream that hyper and the WebSocket read and write, with the backpressure and the window in it.

use std::{
    future::Future as _,
    io::{Error, ErrorKind},
    pin::Pin,
    sync::{Arc, atomic::Ordering},
    task::{Context, Poll, ready},
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    time::Instant,
};
use tokio_util::sync::WaitForCancellationFutureOwned;

use super::{Wire, frames::Frames, lock, pace::Pace};
use crate::{limits::UNPROVEN_BYTES, places::Place};

/// How a 101 begins; after the empty line that ends it come frames.
const UPGRADE: &[u8] = b"HTTP/1.1 101 ";
const END_OF_HEAD: &[u8] = b"\r\n\r\n";
/// Bytes read at a time while only the rest of a frame may be.
const PAUSED_READ: usize = 4096;
/// A client's answer to a ping, as it comes in a masked frame (with a mask of zeros).
const PONG_FRAME: [u8; 7] = [0x81, 0x81, 0, 0, 0, 0, b'3'];

/// A connection with its [`Wire`].
#[derive(Debug)]
pub struct WireIo<S> {
    stream: S,
    wire: Arc<Wire>,
    read_closed: Pin<Box<WaitForCancellationFutureOwned>>,
    write_closed: Pin<Box<WaitForCancellationFutureOwned>>,
    phase: Phase,
    received: Frames,
    sent: Frames,
    /// Bytes of frames received since nobody was proven.
    unproven: usize,
    pace: Pace,
    /// Whether the kernel has been told that this peer may take its time.
    trusted: bool,
    /// Given back with the stream.
    place: Place,
}

/// What a stream goes over.
pub trait Tcp {
    /// The connection, for its settings.
    fn tcp(&self) -> Option<&TcpStream>;
}

/// What is being written.
#[derive(Debug, Clone, Copy)]
enum Phase {
    /// Responses; so many bytes of [`UPGRADE`] have matched.
    Responses(usize),
    /// The head of a 101; so many bytes of [`END_OF_HEAD`] have matched.
    UpgradeHead(usize),
    Frames,
}

// === impl WireIo ===

impl<S> WireIo<S> {
    pub fn new(stream: S, wire: Arc<Wire>, place: Place, accepted: Instant) -> Self {
        Self {
            stream,
            read_closed: Box::pin(wire.closed.clone().cancelled_owned()),
            write_closed: Box::pin(wire.closed.clone().cancelled_owned()),
            wire,
            phase: Phase::Responses(0),
            received: Frames::default(),
            sent: Frames::default(),
            unproven: 0,
            pace: Pace::new(accepted),
            trusted: false,
            place,
        }
    }

    /// The stream by itself, for whoever needs neither backpressure nor window nor clocks.
    pub fn into_parts(self) -> (S, Place) {
        (self.stream, self.place)
    }

    /// Follows what was written: responses until a 101, then frames.
    fn follow_sent(&mut self, mut bytes: &[u8]) {
        loop {
            let Some((first, rest)) = bytes.split_first() else { return };
            match self.phase {
                Phase::Responses(_) if !self.wire.upgrading.load(Ordering::Acquire) => return,
                Phase::Responses(matched) => {
                    let matched = advance(UPGRADE, matched, *first);
                    let done = matched == UPGRADE.len();
                    self.phase = if done { Phase::UpgradeHead(0) } else { Phase::Responses(matched) };
                    bytes = rest;
                }
                Phase::UpgradeHead(matched) => {
                    let matched = advance(END_OF_HEAD, matched, *first);
                    let done = matched == END_OF_HEAD.len();
                    self.phase = if done { Phase::Frames } else { Phase::UpgradeHead(matched) };
                    bytes = rest;
                }
                Phase::Frames => {
                    let wire = &self.wire;
                    self.sent.follow(bytes, |frame| match (frame.begins, frame.length) {
                        ([b'4', b'2'], _) => wire.event_taken(),
                        ([b'2', _], 1) => wire.ping_taken(),
                        _ => {}
                    });
                    return;
                }
            }
        }
    }

    /// Follows what was read. An error is somebody who sends a lot and does not say who it is.
    fn follow_received(&mut self, bytes: &[u8]) -> Result<(), TooMuch> {
        self.received.follow(bytes, |_| {});
        self.unproven = if self.wire.is_proven() { 0 } else { self.unproven + bytes.len() };
        if self.unproven > UNPROVEN_BYTES {
            self.wire.kill();
            return Err(TooMuch);
        }
        Ok(())
    }

    /// Ends the connection when its peer has taken too long to say what it wants or who it is.
    fn is_late(&mut self, context: &mut Context<'_>) -> bool
    where
        S: Tcp,
    {
        let late = match self.phase {
            Phase::Frames => {
                let proven = self.wire.is_proven();
                if proven && !self.trusted {
                    self.trusted = true;
                    self.stream.tcp().map(patient);
                }
                self.pace.proof_is_late(proven || self.wire.is_being_proven(), context)
            }
            _ => self.pace.request_is_late(&self.wire.stage, context),
        };
        if late {
            self.wire.kill();
        }
        late
    }

    /// What a write came to. One that takes too long ends the connection, unless its peer is known.
    fn written<T>(&mut self, written: Poll<T>, context: &mut Context<'_>) -> Poll<Result<T, Error>> {
        if written.is_pending() {
            let may_wait = matches!(self.phase, Phase::Frames) && self.wire.is_proven();
            if !may_wait && self.pace.reader_is_late(context) {
                self.wire.kill();
                return Poll::Ready(Err(Error::new(ErrorKind::TimedOut, "the peer reads nothing")));
            }
        }
        written.map(Ok)
    }

    /// How much may be read now: `None` for as much as there is room for; a pending poll while reading is paused.
    fn poll_backpressure(&mut self, context: &Context<'_>) -> Poll<Allowed> {
        let mut backpressure = lock(&self.wire.backpressure);
        if !backpressure.paused || !matches!(self.phase, Phase::Frames) {
            return Poll::Ready(Allowed::All);
        }
        match self.received.until_end() {
            Some(bytes) => Poll::Ready(Allowed::AtMost(bytes)),
            None if backpressure.owes_pong => {
                backpressure.owes_pong = false;
                Poll::Ready(Allowed::Pong)
            }
            None => {
                backpressure.reader = Some(context.waker().clone());
                Poll::Pending
            }
        }
    }
}

struct TooMuch;

enum Allowed {
    All,
    AtMost(usize),
    /// Nothing, but the peer's answer to our ping is due.
    Pong,
}

impl<S: AsyncRead + Tcp + Unpin> AsyncRead for WireIo<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        let this = &mut *self;
        if this.read_closed.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Ok(())); // nothing read: the end
        }
        if this.is_late(cx) {
            return Poll::Ready(Ok(()));
        }
        let start = buffer.filled().len();
        match ready!(this.poll_backpressure(cx)) {
            Allowed::Pong if buffer.remaining() >= PONG_FRAME.len() => {
                buffer.put_slice(&PONG_FRAME);
                return Poll::Ready(Ok(()));
            }
            Allowed::All | Allowed::Pong => ready!(Pin::new(&mut this.stream).poll_read(cx, buffer))?,
            Allowed::AtMost(bytes) => {
                let mut piece = [0; PAUSED_READ];
                let mut part = ReadBuf::new(&mut piece[..bytes.min(buffer.remaining()).min(PAUSED_READ)]);
                ready!(Pin::new(&mut this.stream).poll_read(cx, &mut part))?;
                buffer.put_slice(part.filled());
            }
        }
        let came = &buffer.filled()[start..];
        if !matches!(this.phase, Phase::Frames) {
            this.wire.stage.came(came.len());
        } else if this.follow_received(came).is_err() {
            buffer.set_filled(start); // the end
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for WireIo<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        let this = &mut *self;
        if this.write_closed.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Err(Error::new(ErrorKind::BrokenPipe, "the hub has closed this connection")));
        }
        let written = Pin::new(&mut this.stream).poll_write(cx, bytes);
        let written = ready!(this.written(written, cx))??;
        this.pace.took(written);
        this.follow_sent(&bytes[..written]);
        Poll::Ready(Ok(written))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        if self.write_closed.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Err(Error::new(ErrorKind::BrokenPipe, "the hub has closed this connection")));
        }
        let flushed = Pin::new(&mut self.stream).poll_flush(cx);
        ready!(self.written(flushed, cx))??;
        self.pace.took_all();
        if self.wire.stage.flushed() {
            self.wire.seat.rest();
        }
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        if self.write_closed.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Ok(()));
        }
        let shut = Pin::new(&mut self.stream).poll_shutdown(cx);
        Poll::Ready(ready!(self.written(shut, cx))?)
    }
}

/// Lets the kernel wait for a peer for as long as it does by itself.
pub fn patient(tcp: &TcpStream) {
    // A connection that has gone has nothing to wait for.
    let _ = rustix::net::sockopt::set_tcp_user_timeout(tcp, 0);
}

/// How many bytes of `pattern` match after one more; the patterns here repeat nothing but their first byte.
fn advance(pattern: &[u8], matched: usize, byte: u8) -> usize {
    if pattern[matched] == byte {
        return matched + 1;
    }
    // "\r\n\r" + "\r" starts anew at the last byte; "H" in the other pattern likewise.
    usize::from(pattern[0] == byte)
}

#[cfg(test)]
mod tests;
