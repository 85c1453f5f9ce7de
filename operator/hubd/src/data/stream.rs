//! A TCP connection after its upgrade, taken out of everything that HTTP and the recorded protocol put around it.

use std::{
    pin::Pin,
    task::{Context, Poll, Waker},
};

use connect_frames::frame::PING;
use hyper::upgrade::{Parts, Upgraded};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead as _, ReadBuf},
    net::TcpStream,
};
use tokio_rustls::server::TlsStream;
use tokio_util::{either::Either, sync::CancellationToken};

use super::{Connection, reader::FrameReader};
use crate::{
    places::Place,
    wire::{Metered, Wire, WireIo, patient},
};

/// Pings read at once.
const PINGS_AT_ONCE: usize = 16;

/// A connection of an agent.
#[derive(Debug)]
pub struct DataStream {
    pub socket: Socket,
    /// Cancelled when the hub drops all connections.
    pub killed: CancellationToken,
    /// One of the connections that we serve at a time.
    _place: Place,
}

/// What the bytes go over: plain, or TLS.
pub type Socket = Either<TcpStream, Box<TlsStream<Metered>>>;

/// The connection under an upgrade; `None` for one that did not come from our listener.
pub fn after(upgraded: Upgraded, wire: &Wire) -> Option<Connection> {
    let killed = wire.closed();
    match upgraded.downcast::<TokioIo<WireIo<TcpStream>>>() {
        Ok(parts) => Some(unwrap(parts, Socket::Left, killed)),
        Err(upgraded) => {
            let parts = upgraded.downcast::<TokioIo<WireIo<TlsStream<Metered>>>>().ok()?;
            Some(unwrap(parts, |stream| Socket::Right(Box::new(stream)), killed))
        }
    }
}

fn unwrap<S>(
    parts: Parts<TokioIo<WireIo<S>>>,
    socket: impl FnOnce(S) -> Socket,
    killed: CancellationToken,
) -> Connection {
    let (stream, place) = parts.io.into_inner().into_parts();
    let stream = DataStream { socket: socket(stream), killed, _place: place };
    patient(tcp(&stream.socket));
    Connection { reader: FrameReader { early: parts.read_buf.to_vec() }, stream }
}

// === impl Connection ===

impl Connection {
    /// Whether it still stands and nothing has come but pings, which are taken away.
    pub fn is_quiet(&mut self) -> bool {
        let mut some = [0; PINGS_AT_ONCE * PING.len()];
        while self.reader.is_quiet() {
            let mut room = ReadBuf::new(&mut some);
            let socket = Pin::new(&mut self.stream.socket);
            match socket.poll_read(&mut Context::from_waker(Waker::noop()), &mut room) {
                Poll::Pending => return true,
                Poll::Ready(Ok(())) if !room.filled().is_empty() => {
                    self.reader.early.extend_from_slice(room.filled());
                }
                Poll::Ready(_) => return false,
            }
        }
        false
    }
}

/// The TCP connection, encrypted or not.
pub fn tcp(socket: &Socket) -> &TcpStream {
    match socket {
        Either::Left(stream) => stream,
        Either::Right(stream) => stream.get_ref().0.tcp(),
    }
}
