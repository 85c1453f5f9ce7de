//! The byte stream that hyper and the WebSocket read and write, with the gate and the window in it.

use std::{
    future::Future as _,
    io::{Error, ErrorKind},
    pin::Pin,
    sync::{Arc, atomic::Ordering},
    task::{Context, Poll, ready},
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    sync::OwnedSemaphorePermit,
};
use tokio_util::sync::WaitForCancellationFutureOwned;

use super::{Wire, frames::Frames, lock};
use crate::limits::UNPROVEN_BYTES;

/// How a 101 begins; after the empty line that ends it come frames.
const UPGRADE: &[u8] = b"HTTP/1.1 101 ";
const END_OF_HEAD: &[u8] = b"\r\n\r\n";
/// Bytes read at a time while only the rest of a frame may be.
const GATED_READ: usize = 4096;
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
    /// One of the connections that we serve at a time; given back with the stream.
    place: OwnedSemaphorePermit,
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
    pub fn new(stream: S, wire: Arc<Wire>, place: OwnedSemaphorePermit) -> Self {
        Self {
            stream,
            read_closed: Box::pin(wire.closed.clone().cancelled_owned()),
            write_closed: Box::pin(wire.closed.clone().cancelled_owned()),
            wire,
            phase: Phase::Responses(0),
            received: Frames::default(),
            sent: Frames::default(),
            unproven: 0,
            place,
        }
    }

    /// The stream by itself, for whoever needs neither gate nor window.
    pub fn into_parts(self) -> (S, OwnedSemaphorePermit) {
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
        let proven = self.wire.sessions.load(Ordering::Acquire) > 0;
        self.unproven = if proven { 0 } else { self.unproven + bytes.len() };
        if self.unproven > UNPROVEN_BYTES {
            self.wire.kill();
            return Err(TooMuch);
        }
        Ok(())
    }

    /// How much may be read now: `None` for as much as there is room for; a pending poll while the gate is closed.
    fn poll_gate(&mut self, context: &Context<'_>) -> Poll<Allowed> {
        let mut gate = lock(&self.wire.gate);
        if !gate.closed || !matches!(self.phase, Phase::Frames) {
            return Poll::Ready(Allowed::All);
        }
        match self.received.until_end() {
            Some(bytes) => Poll::Ready(Allowed::AtMost(bytes)),
            None if gate.owes_pong => {
                gate.owes_pong = false;
                Poll::Ready(Allowed::Pong)
            }
            None => {
                gate.reader = Some(context.waker().clone());
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

impl<S: AsyncRead + Unpin> AsyncRead for WireIo<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        let this = &mut *self;
        if this.read_closed.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Ok(())); // nothing read: the end
        }
        let start = buffer.filled().len();
        match ready!(this.poll_gate(cx)) {
            Allowed::Pong if buffer.remaining() >= PONG_FRAME.len() => {
                buffer.put_slice(&PONG_FRAME);
                return Poll::Ready(Ok(()));
            }
            Allowed::All | Allowed::Pong => ready!(Pin::new(&mut this.stream).poll_read(cx, buffer))?,
            Allowed::AtMost(bytes) => {
                let mut piece = [0; GATED_READ];
                let mut part = ReadBuf::new(&mut piece[..bytes.min(buffer.remaining()).min(GATED_READ)]);
                ready!(Pin::new(&mut this.stream).poll_read(cx, &mut part))?;
                buffer.put_slice(part.filled());
            }
        }
        if matches!(this.phase, Phase::Frames) && this.follow_received(&buffer.filled()[start..]).is_err() {
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
        let written = ready!(Pin::new(&mut this.stream).poll_write(cx, bytes))?;
        this.follow_sent(&bytes[..written]);
        Poll::Ready(Ok(written))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        if self.write_closed.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Err(Error::new(ErrorKind::BrokenPipe, "the hub has closed this connection")));
        }
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        if self.write_closed.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
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
mod tests {
    use std::time::Duration;

    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream},
        sync::Semaphore,
    };
    use tokio_util::sync::CancellationToken;

    use super::*;
    use crate::{
        limits::{EVENT_OVERHEAD, FEED_HIGH, FEED_UNDER_PRESSURE, HUB_QUEUE, WINDOW_BYTES},
        wire::NoWindow,
    };

    /// A connection on which frames flow, and its other end.
    async fn upgraded() -> (WireIo<DuplexStream>, Arc<Wire>, DuplexStream) {
        let (ours, mut theirs) = tokio::io::duplex(1024 * 1024);
        let place = Arc::new(Semaphore::new(1)).acquire_owned().await.expect("is open");
        let wire = Arc::new(Wire::new(
            "127.0.0.1:1".parse().expect("an address"),
            CancellationToken::new(),
            Arc::default(),
        ));
        wire.sessions.store(1, Ordering::Release);
        let mut io = WireIo::new(ours, wire.clone(), place);
        // A body may say what it likes; the upgrade comes after it, in pieces.
        let head: &[&[u8]] = &[
            b"HTTP/1.1 200 OK\r\n\r\nHTTP/1.1 101 x\r\n\r\n",
            b"HTTP/1.1 10",
            b"1 Switching\r\nA: b\r\n\r",
            b"\n",
        ];
        for (index, bytes) in head.iter().enumerate() {
            if index == 1 {
                wire.expect_frames();
            }
            io.write_all(bytes).await.expect("writes");
        }
        let mut seen = vec![0; head.iter().map(|bytes| bytes.len()).sum()];
        theirs.read_exact(&mut seen).await.expect("reads");
        assert!(matches!(io.phase, Phase::Frames));
        (io, wire, theirs)
    }

    fn masked(payload: &[u8]) -> Vec<u8> {
        [&[0x81, 0x80 | payload.len() as u8, 0, 0, 0, 0], payload].concat()
    }

    async fn reads_nothing(io: &mut WireIo<DuplexStream>) -> bool {
        let mut byte = [0];
        // One poll tells: whatever could be read is there already.
        futures::poll!(std::pin::pin!(io.read(&mut byte))).is_pending()
    }

    #[tokio::test]
    async fn a_closed_gate_lets_the_current_frame_through_and_no_other() {
        let (mut io, wire, mut theirs) = upgraded().await;
        theirs.write_all(&[masked(b"first"), masked(b"second")].concat()).await.expect("writes");
        let mut bytes = [0; 64];
        io.read_exact(&mut bytes[..3]).await.expect("reads");
        let queued = wire.queue(FEED_HIGH + 1);
        assert!(wire.is_gated());
        let rest = masked(b"first").len() - 3;
        io.read_exact(&mut bytes[..rest]).await.expect("reads");
        assert!(reads_nothing(&mut io).await);
        drop(queued);
        let next = io.read(&mut bytes).await.expect("reads");
        assert_eq!(&bytes[..next], masked(b"second"));
    }

    #[tokio::test]
    async fn a_ping_behind_a_closed_gate_is_answered_here() {
        let (mut io, wire, mut theirs) = upgraded().await;
        let _queued = wire.queue(FEED_HIGH + 1);
        theirs.write_all(&masked(b"data")).await.expect("writes");
        assert!(reads_nothing(&mut io).await);
        io.write_all(&[0x81, 1, b'2']).await.expect("writes");
        let mut bytes = [0; 64];
        let answer = io.read(&mut bytes).await.expect("reads");
        assert_eq!(&bytes[..answer], PONG_FRAME);
        assert!(reads_nothing(&mut io).await, "once");
        io.write_all(&[0x81, 2, b'2', b'x']).await.expect("writes");
        assert!(reads_nothing(&mut io).await, "that was no ping");
    }

    #[tokio::test]
    async fn room_comes_back_when_an_event_has_been_taken() {
        let (mut io, wire, mut theirs) = upgraded().await;
        wire.reserve(WINDOW_BYTES, Duration::from_secs(60), || true).await.expect("there is room");
        wire.hand_over(WINDOW_BYTES, || Ok::<_, ()>(())).expect("handed over");
        assert!(!wire.try_reserve(EVENT_OVERHEAD));
        io.write_all(&[0x81, 3, b'4', b'3']).await.expect("writes");
        assert!(!wire.try_reserve(EVENT_OVERHEAD), "half of an acknowledgement");
        io.write_all(&[b'x', 0x81, 3, b'4', b'2', b'x']).await.expect("writes");
        assert!(wire.try_reserve(WINDOW_BYTES));
        let mut taken = [0; 10];
        theirs.read_exact(&mut taken).await.expect("reads");
    }

    #[tokio::test(start_paused = true)]
    async fn a_receiver_that_takes_nothing_is_given_up_only_for_good_reason() {
        let (_io, wire, _theirs) = upgraded().await;
        assert!(wire.try_reserve(WINDOW_BYTES));
        let stalled = wire.reserve(1, Duration::from_secs(10), || true).await;
        assert_eq!(stalled, Err(NoWindow::Stalled));
        let mut patient = std::pin::pin!(wire.reserve(1, Duration::from_secs(10), || false));
        assert!(tokio::time::timeout(Duration::from_secs(100), &mut patient).await.is_err());
        wire.give_back(WINDOW_BYTES);
        assert_eq!(patient.await, Ok(()));
        wire.kill();
        assert_eq!(wire.reserve(1, Duration::from_secs(10), || true).await, Err(NoWindow::Closed));
    }

    #[tokio::test]
    async fn under_pressure_everybody_is_held_up_early_and_let_go_again() {
        let (_io, wire, _theirs) = upgraded().await;
        let hog = Arc::new(Wire::new(wire.peer, CancellationToken::new(), wire.budget.clone()));
        let modest = wire.queue(FEED_UNDER_PRESSURE);
        let hogged = hog.queue(HUB_QUEUE);
        assert!(!wire.is_gated() && hog.is_gated());
        let more = wire.queue(EVENT_OVERHEAD);
        assert!(wire.is_gated());
        drop(modest);
        assert!(!wire.is_gated(), "its own share is small again, whatever the others do");
        drop((hogged, more));
        assert!(!hog.is_gated());
        assert_eq!(wire.budget.0.load(Ordering::Acquire), 0);
    }

    #[tokio::test]
    async fn connections_that_take_nothing_are_bounded_together_and_others_go_on_event_by_event() {
        const EVENT: usize = WINDOW_BYTES / 4;
        let (mut io, wire, mut theirs) = upgraded().await;
        let stalled = |_| Arc::new(Wire::new(wire.peer, CancellationToken::new(), wire.budget.clone()));
        let stalled: Vec<_> = (0..2 * HUB_QUEUE / WINDOW_BYTES).map(stalled).collect();
        for wire in &stalled {
            while wire.try_reserve(EVENT) {}
        }
        let held = wire.budget.0.load(Ordering::Acquire);
        assert!(held > HUB_QUEUE && held <= HUB_QUEUE + EVENT, "{held}");

        // One that takes its events still gets them, the next when the last has left.
        wire.reserve(EVENT, Duration::from_secs(60), || true).await.expect("the first");
        wire.hand_over(EVENT, || Ok::<_, ()>(())).expect("handed over");
        let mut next = std::pin::pin!(wire.reserve(EVENT, Duration::from_secs(60), || true));
        assert!(futures::poll!(&mut next).is_pending());
        io.write_all(&[0x81, 3, b'4', b'2', b'x']).await.expect("writes");
        assert_eq!(next.await, Ok(()));
        wire.give_back(EVENT);
        let mut taken = [0; 5];
        theirs.read_exact(&mut taken).await.expect("reads");

        drop(stalled);
        assert_eq!(wire.budget.0.load(Ordering::Acquire), 0, "what was held has gone with its connections");
        assert!(wire.try_reserve(WINDOW_BYTES));
    }

    #[tokio::test]
    async fn who_does_not_say_who_it_is_may_not_send_much() {
        let (mut io, wire, mut theirs) = upgraded().await;
        wire.sessions.store(0, Ordering::Release);
        theirs.write_all(&vec![0; UNPROVEN_BYTES + 1]).await.expect("writes");
        let mut bytes = Vec::new();
        let read = io.read_to_end(&mut bytes).await.expect("ends");
        assert!(read <= UNPROVEN_BYTES);
    }

    #[tokio::test]
    async fn a_killed_connection_ends_for_whoever_waits() {
        let (mut io, wire, _theirs) = upgraded().await;
        let _queued = wire.queue(FEED_HIGH + 1);
        assert!(reads_nothing(&mut io).await);
        wire.kill();
        assert_eq!(io.read(&mut [0; 8]).await.expect("ends"), 0);
        assert!(io.write_all(b"x").await.is_err());
    }
}
