//! Opens a data connection: TCP, TLS where the hub has it, an HTTP/1.1 upgrade, and from there on frames.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use connect_frames::frame::{self, Kind, Malformed};
use futures::FutureExt;
use hyper::client::conn::http1;
use hyper::header::{CONNECTION, HOST, UPGRADE};
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use secrecy::ExposeSecret;
use serde::{Deserialize, Serialize};
use thiserror::Error;
use tokio::io::{AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::time::timeout;
use uuid::Uuid;

use super::reader::{FrameReader, ReadError};
use crate::dial::{DialError, Dialer, Stream};
use crate::protocol::Ticket;
use crate::url::{Endpoint, HubUrl};

/// What the hub is asked to speak after the upgrade.
const PROTOCOL: &str = "private-connect-data";

/// How long one connection may take to be opened, all its steps together.
const OPEN_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a connection may have nothing to say before it says so: with the 5 s between two looks at those
/// that wait, that is half of the 30 s after which strict gateways take a quiet connection for dead.
pub(super) const PING_EVERY: Duration = Duration::from_secs(10);

/// Which side of streams a connection is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    Join,
    Expose,
}

/// Whom to connect to and as whom. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Connector {
    target: Arc<Target>,
}

struct Target {
    endpoint: Endpoint,
    dialer: Dialer,
    agent_id: Uuid,
    ticket: Ticket,
}

/// An open data connection.
pub(crate) struct Connection {
    pub(super) reader: FrameReader<ReadHalf<Stream>>,
    pub(super) writer: WriteHalf<Stream>,
}

/// Why there is no data connection.
#[derive(Debug, Error)]
pub(crate) enum ConnectError {
    #[error("connecting to the hub")]
    Connect(#[from] DialError),
    #[error("asking the hub for a data connection")]
    Ask(#[source] hyper::Error),
    #[error("the hub answered {0} to a data connection")]
    Refused(StatusCode),
    #[error("the hub did not open a data connection within {} seconds", OPEN_TIMEOUT.as_secs())]
    TimedOut,
    #[error("{0}")]
    Malformed(#[from] Malformed),
    #[error("waiting for a stream")]
    Waiting(#[from] ReadError),
}

// === impl Connector ===

impl Connector {
    pub(crate) fn new(url: &HubUrl, tls: Arc<rustls::ClientConfig>, agent_id: Uuid, ticket: Ticket) -> Self {
        let endpoint = url.endpoint("/v1/data");
        let dialer = Dialer::new(tls);
        Self { target: Arc::new(Target { endpoint, dialer, agent_id, ticket }) }
    }

    /// Opens a connection; bounded in time.
    pub(crate) async fn connect(&self, role: Role) -> Result<Connection, ConnectError> {
        // Boxed, or whatever carries a stream afterwards would keep the room that opening needs.
        let opened = Box::pin(async {
            let Target { endpoint: Endpoint { host, port, tls, .. }, dialer, .. } = &*self.target;
            let stream = dialer.dial(host, *port, *tls).await?;
            self.upgrade(stream, role).await
        });
        timeout(OPEN_TIMEOUT, opened).await.map_err(|_| ConnectError::TimedOut)?
    }

    async fn upgrade(&self, stream: Stream, role: Role) -> Result<Connection, ConnectError> {
        let Target { endpoint, agent_id, ticket, .. } = &*self.target;
        let role = match role {
            Role::Join => "join",
            Role::Expose => "expose",
        };
        let request = Request::get(&endpoint.path)
            .header(HOST, &endpoint.authority)
            .header(CONNECTION, "upgrade")
            .header(UPGRADE, PROTOCOL)
            .header("x-agent-id", agent_id.to_string())
            .header("x-data-ticket", ticket.0.expose_secret())
            .header("x-data-role", role)
            .body(String::new())
            .map_err(|error| DialError::Connect(io::Error::other(error)))?;
        let (mut sender, connection) =
            http1::handshake(TokioIo::new(stream)).await.map_err(ConnectError::Ask)?;
        // The sender goes with the answer, so that a connection which was not upgraded ends as well.
        let asking = async move { sender.send_request(request).await.map(|response| response.status()) };
        let (status, parts) = tokio::join!(asking, connection.without_shutdown());
        match status.map_err(ConnectError::Ask)? {
            StatusCode::SWITCHING_PROTOCOLS => {}
            status => return Err(ConnectError::Refused(status)),
        }
        let parts = parts.map_err(ConnectError::Ask)?;
        let (read, write) = tokio::io::split(parts.io.into_inner());
        Ok(Connection { reader: FrameReader::new(read, &parts.read_buf)?, writer: write })
    }
}

// === impl ConnectError ===

impl ConnectError {
    /// Whether asking again over the same socket is pointless: whatever is in between does not know the upgrade.
    pub(crate) fn is_verdict(&self) -> bool {
        let passing = [StatusCode::REQUEST_TIMEOUT, StatusCode::TOO_MANY_REQUESTS];
        matches!(self, Self::Refused(status) if !status.is_server_error() && !passing.contains(status))
    }
}

// === impl Connection ===

impl Connection {
    /// Whether it still stands and nothing has come that nobody asked for.
    pub(crate) fn is_quiet(&mut self) -> bool {
        self.reader.is_quiet()
    }

    /// Sends one message.
    pub(super) async fn send(&mut self, kind: Kind, message: &impl Serialize) -> io::Result<()> {
        self.writer.write_all(&frame::message(kind, message)).await?;
        self.writer.flush().await
    }

    /// Says that it lives.
    pub(super) async fn ping(&mut self) -> io::Result<()> {
        self.writer.write_all(&frame::PING).await?;
        self.writer.flush().await
    }

    /// Says that it lives, if that can be said at once; a connection that is full needs no pings.
    pub(super) fn ping_now(&mut self) {
        let _ = self.ping().now_or_never(); // one that is gone is found out when it is used
    }

    /// Waits until something comes, and says meanwhile that it lives.
    pub(super) async fn rest(&mut self) -> Result<(), ReadError> {
        loop {
            if let Ok(arrived) = timeout(PING_EVERY, self.reader.arrives()).await {
                return arrived;
            }
            self.ping().await.map_err(ReadError::Broken)?;
        }
    }

    /// Waits until something comes, be it a ping; an error when nothing does in time.
    pub(super) async fn heard(&mut self, within: Duration) -> Result<(), ReadError> {
        timeout(within, self.reader.heard()).await.unwrap_or(Err(ReadError::Silent))
    }

    /// The next frame.
    pub(super) async fn next(&mut self) -> Result<(Kind, &mut [u8]), ReadError> {
        self.reader.next().await
    }

    /// The next frame, which must be a message of this kind, however long it takes.
    pub(super) async fn expect<T: for<'a> Deserialize<'a>>(&mut self, wanted: Kind) -> Result<T, ReadError> {
        self.rest().await?;
        let (kind, payload) = self.next().await?;
        if kind != wanted {
            return Err(Malformed("a frame out of turn").into());
        }
        Ok(frame::parse(payload)?)
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use tokio::io::AsyncReadExt;
    use tokio::net::{TcpListener, TcpStream};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn whoever_waits_says_that_it_lives() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("binds");
        let address = listener.local_addr().expect("is bound");
        let (near, far) = tokio::join!(TcpStream::connect(address), listener.accept());
        let (read, writer) = tokio::io::split(Stream::from(near.expect("connects")));
        let mut connection = Connection { reader: FrameReader::new(read, &[]).expect("fits"), writer };
        let mut far = far.expect("connects").0;

        let hub = async {
            let mut pings = [0; 2 * frame::PING.len()];
            far.read_exact(&mut pings).await.expect("two pings");
            assert_eq!(pings, [frame::PING, frame::PING].concat()[..]);
            far.write_all(&frame::PING).await.expect("written");
            far.write_all(&frame::message(Kind::Ready, &frame::Ready::default())).await.expect("written");
        };
        let (ready, ()) = tokio::join!(connection.expect::<frame::Ready>(Kind::Ready), hub);
        assert_eq!(ready.expect("a message"), frame::Ready::default());
        assert!(matches!(connection.heard(PING_EVERY).await, Err(ReadError::Silent)));
    }
}
