//! The bytes under a TLS session, of which only so many may come before the session is established: whoever greets us with
//! more costs memory and is not one of ours.

use std::{
    io::{Error, ErrorKind},
    pin::Pin,
    task::{Context, Poll, ready},
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};
use tokio_rustls::server::TlsStream;

use super::Tcp;

/// A connection, and how much may still come over it.
#[derive(Debug)]
pub struct Metered {
    tcp: TcpStream,
    /// `None`: as much as there is.
    left: Option<usize>,
}

// === impl Metered ===

impl Metered {
    pub fn new(tcp: TcpStream, most: usize) -> Self {
        Self { tcp, left: Some(most) }
    }

    /// From now on everything may come.
    pub fn open(&mut self) {
        self.left = None;
    }

    pub fn tcp(&self) -> &TcpStream {
        &self.tcp
    }
}

impl AsyncRead for Metered {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<Result<(), Error>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.tcp).poll_read(context, buffer))?;
        if let Some(left) = &mut self.left {
            let came = buffer.filled().len() - before;
            *left = left.checked_sub(came).ok_or_else(too_much)?;
        }
        Poll::Ready(Ok(()))
    }
}

fn too_much() -> Error {
    Error::new(ErrorKind::InvalidData, "a TLS handshake of this size is none of ours")
}

impl AsyncWrite for Metered {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<Result<usize, Error>> {
        Pin::new(&mut self.tcp).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[std::io::IoSlice<'_>],
    ) -> Poll<Result<usize, Error>> {
        Pin::new(&mut self.tcp).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.tcp.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<(), Error>> {
        Pin::new(&mut self.tcp).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<(), Error>> {
        Pin::new(&mut self.tcp).poll_shutdown(context)
    }
}

impl Tcp for TcpStream {
    fn tcp(&self) -> Option<&TcpStream> {
        Some(self)
    }
}

impl Tcp for TlsStream<Metered> {
    fn tcp(&self) -> Option<&TcpStream> {
        Some(self.get_ref().0.tcp())
    }
}
