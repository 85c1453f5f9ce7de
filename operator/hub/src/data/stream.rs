//! The TCP connection under a data connection, encrypted towards the hub or not.

use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;
use tokio_util::either::Either;

/// A connection to the hub: plain, or over TLS.
pub(super) type DataStream = Either<TcpStream, Box<TlsStream<TcpStream>>>;
