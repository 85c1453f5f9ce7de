//! A TCP connection after its upgrade, taken out of everything that HTTP and the recorded protocol put around it.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, Waker},
};

use hyper::upgrade::{Parts, Upgraded};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    sync::OwnedSemaphorePermit,
};
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;

use super::{Connection, frame::FrameReader};
use crate::wire::{Wire, WireIo};

/// A connection of an agent.
#[derive(Debug)]
pub struct DataStream {
    pub socket: Socket,
    /// Cancelled when the hub drops all connections.
    pub killed: CancellationToken,
    /// One of the connections that we serve at a time.
    _place: OwnedSemaphorePermit,
}

/// What the bytes go over.
#[derive(Debug)]
pub enum Socket {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

/// The connection under an upgrade; `None` for one that did not come from our listener.
pub fn after(upgraded: Upgraded, wire: &Wire) -> Option<Connection> {
    let killed = wire.closed();
    match upgraded.downcast::<TokioIo<WireIo<TcpStream>>>() {
        Ok(parts) => Some(unwrap(parts, Socket::Plain, killed)),
        Err(upgraded) => {
            let parts = upgraded.downcast::<TokioIo<WireIo<TlsStream<TcpStream>>>>().ok()?;
            Some(unwrap(parts, |stream| Socket::Tls(Box::new(stream)), killed))
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
    Connection { reader: FrameReader { early: parts.read_buf.to_vec() }, stream }
}

// === impl Connection ===

impl Connection {
    /// Whether it still stands and nothing has come that nobody asked for.
    pub fn is_quiet(&mut self) -> bool {
        let mut byte = [0];
        let read = Pin::new(&mut self.stream.socket)
            .poll_read(&mut Context::from_waker(Waker::noop()), &mut ReadBuf::new(&mut byte));
        self.reader.early.is_empty() && read.is_pending()
    }
}

// === impl Socket ===

impl Socket {
    /// The TCP connection, encrypted or not.
    pub fn tcp(&self) -> &TcpStream {
        match self {
            Self::Plain(stream) => stream,
            Self::Tls(stream) => stream.get_ref().0,
        }
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        room: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_read(context, room),
            Self::Tls(stream) => Pin::new(stream).poll_read(context, room),
        }
    }
}

impl AsyncWrite for Socket {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write(context, bytes),
            Self::Tls(stream) => Pin::new(stream).poll_write(context, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_flush(context),
            Self::Tls(stream) => Pin::new(stream).poll_flush(context),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(context),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(context),
        }
    }
}
