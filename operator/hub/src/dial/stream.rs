//! A connection to the hub, whatever it goes through.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use hyper_util::client::legacy::connect::{Connected, Connection};
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// Bytes to a hub and back. Straight ones, which carry nearly everything, need no indirection.
pub struct Stream(Inner);

enum Inner {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
    Tunnel(Box<dyn Io>),
}

/// What a tunnel may be made of.
pub(super) trait Io: AsyncRead + AsyncWrite + Send + Sync + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Sync + Unpin> Io for T {}

// === impl Stream ===

impl Stream {
    pub(super) fn tunnel(io: impl Io + 'static) -> Self {
        Self(Inner::Tunnel(Box::new(io)))
    }

    pub(super) async fn encrypted(self, tls: &TlsConnector, name: ServerName<'static>) -> io::Result<Self> {
        match self.0 {
            Inner::Plain(stream) => Ok(Self(Inner::Tls(Box::new(tls.connect(name, stream).await?)))),
            Inner::Tls(stream) => Ok(Self::tunnel(tls.connect(name, stream).await?)),
            Inner::Tunnel(stream) => Ok(Self::tunnel(tls.connect(name, stream).await?)),
        }
    }
}

impl From<TcpStream> for Stream {
    fn from(stream: TcpStream) -> Self {
        Self(Inner::Plain(stream))
    }
}

/// Calls the same method of whatever is inside.
macro_rules! inside {
    ($stream:expr, $method:ident $(, $argument:expr)*) => {
        match &mut $stream.get_mut().0 {
            Inner::Plain(stream) => Pin::new(stream).$method($($argument),*),
            Inner::Tls(stream) => Pin::new(stream).$method($($argument),*),
            Inner::Tunnel(stream) => Pin::new(stream).$method($($argument),*),
        }
    };
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        inside!(self, poll_read, cx, buf)
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        inside!(self, poll_write, cx, buf)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        inside!(self, poll_write_vectored, cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        match &self.0 {
            Inner::Plain(stream) => stream.is_write_vectored(),
            Inner::Tls(stream) => stream.is_write_vectored(),
            Inner::Tunnel(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        inside!(self, poll_flush, cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        inside!(self, poll_shutdown, cx)
    }
}

impl Connection for Stream {
    fn connected(&self) -> Connected {
        Connected::new()
    }
}

/// TLS as everything here does it.
pub(super) fn connector(tls: &Arc<rustls::ClientConfig>) -> TlsConnector {
    TlsConnector::from(Arc::clone(tls))
}
