//! Two data connections become one path: what comes from one goes to the other, unread, until either ends or the
//! bridge is cut.
//!
//! Backpressure is TCP's: what the receiver does not take is not read from the sender. A pair that rests holds no
//! buffer. An end of the path in the midst of a stream shows both agents that the stream is not whole, for they have
//! heard no `fin`; so nothing is said here.

use std::{
    ops::Range,
    pin::Pin,
    task::{Context, Poll, ready},
};

use connect_frames::{buffers::Buffer, frame::MAX_FRAME_BYTES};
use tokio::io::{AsyncRead as _, AsyncWrite as _, ReadBuf};

use crate::{
    bridges::Bridge,
    data::{
        Connection,
        stream::{Socket, tcp},
    },
    reach::DataBridge,
};

/// Reads after which a direction lets others have their turn.
const TURN: u32 = 4;

/// Why a path ended.
enum Ended {
    /// A side has no more, or broke.
    Left,
    /// The bridge is cut.
    Cut,
    /// The clock passed the end of the bridge's share.
    PastEnd,
}

/// Bytes on their way from one connection to the other.
#[derive(Default)]
struct Direction {
    held: Option<(Buffer, Range<usize>)>,
    /// Whether something was written that TLS may still hold.
    unflushed: bool,
}

/// Relays until the pair is over.
pub async fn run(begun: &DataBridge, joiner: Connection, exposer: Connection) {
    let bridge = &begun.bridge;
    let killed = exposer.stream.killed.clone();
    let mut to_exposer = Direction::holding(&joiner.reader.early);
    let mut to_joiner = Direction::holding(&exposer.reader.early);
    let (mut joiner, mut exposer) = (joiner.stream, exposer.stream);
    let (joining, exposing) = (&mut joiner.socket, &mut exposer.socket);
    let both = std::future::poll_fn(|context| {
        if let Poll::Ready(ended) = to_exposer.poll(context, joining, exposing, bridge) {
            return Poll::Ready(ended);
        }
        to_joiner.poll(context, exposing, joining, bridge)
    });
    let ended = tokio::select! {
        biased;
        () = bridge.cut.cancelled() => Ended::Cut,
        () = killed.cancelled() => Ended::Cut,
        ended = both => ended,
    };
    match ended {
        Ended::Left => return,
        Ended::Cut => {}
        Ended::PastEnd => begun.expire(),
    }
    for socket in [&joiner.socket, &exposer.socket] {
        // Neither what waits here nor what waits in the kernel may arrive any more; one that is gone needs no reset.
        let _ = tcp(socket).set_zero_linger();
    }
}

// === impl Direction ===

impl Direction {
    fn holding(early: &[u8]) -> Self {
        if early.is_empty() {
            return Self::default();
        }
        let mut buffer = Buffer::take();
        // More than a buffer cannot have come before its sender knew of a stream.
        let length = early.len().min(buffer.len());
        buffer[..length].copy_from_slice(&early[..length]);
        Self { held: Some((buffer, 0..length)), unflushed: false }
    }

    /// Moves what can be moved now; ready when the path is over.
    fn poll(
        &mut self,
        context: &mut Context<'_>,
        from: &mut Socket,
        to: &mut Socket,
        bridge: &Bridge,
    ) -> Poll<Ended> {
        for _ in 0..TURN {
            // Before every write, also of what was held before: the receiver may have made room long after the end.
            if self.held.is_some() && bridge.is_past_end() {
                return Poll::Ready(Ended::PastEnd);
            }
            ready!(self.poll_write(context, to));
            if self.held.is_some() {
                return Poll::Ready(Ended::Left); // the receiver broke
            }
            if ready!(self.poll_read(context, from)) == 0 {
                return Poll::Ready(Ended::Left);
            }
        }
        context.waker().wake_by_ref(); // there may be more, after the others
        Poll::Pending
    }

    /// Takes what there is; 0 when there will be no more.
    fn poll_read(&mut self, context: &mut Context<'_>, from: &mut Socket) -> Poll<usize> {
        let mut buffer = Buffer::take();
        // One frame at most, so that frames of full size are passed on in step and not in ever other pieces.
        let mut room = ReadBuf::new(&mut buffer[..MAX_FRAME_BYTES]);
        let read = ready!(Pin::new(from).poll_read(context, &mut room));
        let length = read.map_or(0, |()| room.filled().len());
        self.held = (length > 0).then_some((buffer, 0..length));
        Poll::Ready(length)
    }

    /// Gives on what there is. What is still held when this is ready cannot be given.
    fn poll_write(&mut self, context: &mut Context<'_>, to: &mut Socket) -> Poll<()> {
        while let Some((buffer, left)) = &mut self.held {
            match ready!(Pin::new(&mut *to).poll_write(context, &buffer[left.clone()])) {
                Ok(0) | Err(_) => return Poll::Ready(()),
                Ok(written) => left.start += written,
            }
            self.unflushed = true;
            if left.start == left.end {
                self.held = None;
            }
        }
        if self.unflushed {
            let _ = ready!(Pin::new(to).poll_flush(context)); // one that broke shows it at the next write or read
            self.unflushed = false;
        }
        Poll::Ready(())
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use tokio::{
        io::AsyncReadExt as _,
        net::{TcpListener, TcpStream},
    };

    use super::*;

    async fn socket() -> (Socket, TcpStream) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("binds");
        let address = listener.local_addr().expect("is bound");
        let (near, far) = tokio::join!(TcpStream::connect(address), listener.accept());
        (Socket::Left(near.expect("connects")), far.expect("connects").0)
    }

    #[tokio::test]
    async fn what_was_held_when_a_machine_fell_asleep_does_not_pass_after_the_end() {
        let ((mut from, _sender), (mut to, mut receiver)) = (socket().await, socket().await);
        let bridge = Bridge::past_its_end();
        let mut held = Direction::holding(b"late");
        let ended = std::future::poll_fn(|context| held.poll(context, &mut from, &mut to, &bridge)).await;
        assert!(matches!(ended, Ended::PastEnd));
        drop(to);
        let mut passed = Vec::new();
        receiver.read_to_end(&mut passed).await.expect("the end");
        assert_eq!(passed, b"");
    }
}
