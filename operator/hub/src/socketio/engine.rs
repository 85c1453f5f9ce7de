//! Engine.IO 4 over one websocket: opening it, pings and pongs, silence, and a writer of its own.
//!
//! The writer is a task: whoever has bytes to send waits for a slot in its queue, never for the network itself, and
//! the reader never waits for the writer, pongs included. So reading and writing cannot block each other.

use std::sync::Arc;
use std::time::Duration;

use futures::stream::{SplitSink, SplitStream};
use futures::{SinkExt, StreamExt};
use hyper::StatusCode;
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{self, Message, Utf8Bytes};
use tokio_util::sync::CancellationToken;

use super::packet::{EngineHandshake, Frame};
use super::{Received, SocketError};

use crate::dial::{Dialer, Obstacle, Stream, intercepted};
use crate::liveness::LastActivity;
use crate::permission::Pass;
use crate::url::{Endpoint, HubUrl};

/// The largest message we read. Hubs send chunks of at most 64 KiB; more than this is a fault or an attack.
pub(super) const MAX_MESSAGE_BYTES: usize = 4 * 1024 * 1024;

/// Frames that wait for the network: enough to keep it busy, and at 44 KiB each a bounded 1.4 MiB.
const FRAME_QUEUE: usize = 32;

/// Bytes the websocket gathers before it writes by itself; the writer flushes earlier when its queue is empty.
const WRITE_BUFFER_BYTES: usize = 128 * 1024;

/// Bytes the websocket may hold while the network does not take any: its own buffer and one frame more.
const MAX_WRITE_BUFFER_BYTES: usize = WRITE_BUFFER_BYTES + 2 * 1024 * 1024;

/// How long a leaving socket may take to say its last words.
const FAREWELL_TIMEOUT: Duration = Duration::from_secs(1);

/// Whatever the hub allows itself, silence longer than this means that it is gone: the agent asks something every
/// four seconds, so a living hub has said two things in this time.
const MAX_SILENCE: Duration = Duration::from_secs(9);

type WebSocket = WebSocketStream<Stream>;

/// The incoming half. Dropping it ends the writer and the connection.
pub(super) struct Reader {
    stream: SplitStream<WebSocket>,
    pong: Arc<Notify>,
    /// When the hub last showed that it lives.
    life: LastActivity,
    silence: Duration,
    /// Whether the caller was given a message and may have been busy with it since.
    was_away: bool,
    writer: Writer,
}

/// The way to the writer's queue.
#[derive(Clone, Debug)]
pub(super) struct Outbox {
    /// Anyone --a frame--> Writer.
    pub(super) frames_tx: mpsc::Sender<Outgoing>,
}

/// A frame that waits to be written.
#[derive(Debug)]
pub(super) struct Outgoing {
    pub(super) text: Utf8Bytes,
    /// The frame is dropped unsent when this no longer holds.
    pub(super) while_allowed: Option<Pass>,
}

struct Writer {
    task: JoinHandle<()>,
    leave: CancellationToken,
}

/// Opens the websocket and waits for the open packet. The caller sets the deadline.
pub(super) async fn open(
    url: &HubUrl,
    dialer: &Dialer,
) -> Result<(Reader, Outbox, EngineHandshake), SocketError> {
    let config = WebSocketConfig::default()
        .max_message_size(Some(MAX_MESSAGE_BYTES))
        .max_frame_size(Some(MAX_MESSAGE_BYTES))
        .write_buffer_size(WRITE_BUFFER_BYTES)
        .max_write_buffer_size(MAX_WRITE_BUFFER_BYTES);
    let Endpoint { host, port, tls, .. } = url.endpoint("/");
    let stream = dialer.dial(&host, port, tls).await?;
    let (socket, _) = tokio_tungstenite::client_async_with_config(url.socket(), stream, Some(config))
        .await
        .map_err(|source| not_opened(url, source))?;
    let (sink, mut stream) = socket.split();
    let open = first_packet(&mut stream).await?;

    let life = LastActivity::now();
    let pong = Arc::new(Notify::new());
    let leave = CancellationToken::new();
    let (frames_tx, frames_rx) = mpsc::channel(FRAME_QUEUE);
    let task = tokio::spawn(write(sink, frames_rx, Arc::clone(&pong), leave.clone(), life.clone()));
    let silence = open.silence().min(MAX_SILENCE);
    let reader = Reader { stream, pong, life, silence, was_away: true, writer: Writer { task, leave } };
    Ok((reader, Outbox { frames_tx }, open))
}

/// What stands between us and the hub, where its answer tells.
fn not_opened(url: &HubUrl, source: tungstenite::Error) -> SocketError {
    let obstacle = match &source {
        tungstenite::Error::Http(answer) => {
            let passing = [StatusCode::REQUEST_TIMEOUT, StatusCode::TOO_EARLY, StatusCode::TOO_MANY_REQUESTS];
            let status = answer.status();
            let elsewhere = intercepted::by(status, answer.headers(), url.as_str());
            let is_verdict = !status.is_server_error() && !passing.contains(&status);
            elsewhere.or(is_verdict.then_some(Obstacle::NoWebSocket { status: Some(status.as_u16()) }))
        }
        _ => None,
    };
    match obstacle {
        Some(obstacle) => SocketError::Dial(obstacle.into()),
        None => SocketError::Connect { source: Box::new(source) },
    }
}

async fn first_packet(stream: &mut SplitStream<WebSocket>) -> Result<EngineHandshake, SocketError> {
    loop {
        match stream.next().await {
            Some(Ok(Message::Text(text))) => match Frame::parse(&text) {
                Ok(Frame::Open(open)) => return Ok(open),
                _ => return Err(SocketError::NotSocketIo),
            },
            Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
            Some(Ok(_)) => return Err(SocketError::NotSocketIo),
            Some(Err(source)) => return Err(SocketError::Connect { source: Box::new(source) }),
            None => return Err(SocketError::Closed),
        }
    }
}

// === impl Reader ===

impl Reader {
    /// The next Socket.IO packet, as the frame that holds it. Answers pings meanwhile. Cancel safe.
    pub(super) async fn next(&mut self) -> Result<Received, SocketError> {
        loop {
            let message = self.message().await?;
            let Message::Text(text) = message else {
                match message {
                    Message::Ping(_) | Message::Pong(_) => continue, // the websocket answers by itself
                    Message::Close(_) => return Err(SocketError::Closed),
                    _ => return Ok(Received::Unreadable),
                }
            };
            match Frame::parse(&text) {
                Ok(Frame::Message(_)) => return Ok(Received::Packet(text)),
                Ok(Frame::Ping) => self.pong.notify_one(),
                Ok(Frame::Close) => return Err(SocketError::Closed),
                Ok(Frame::Pong | Frame::Noop | Frame::Open(_)) => {}
                Err(_) => return Ok(Received::Unreadable),
            }
        }
    }

    /// Waits for a message, but not for longer than a living hub can be silent. Only the time spent here counts, so
    /// a reader that was busy elsewhere does not blame the hub.
    async fn message(&mut self) -> Result<Message, SocketError> {
        if std::mem::take(&mut self.was_away) {
            self.life.touch();
        }
        loop {
            let left = self.silence.saturating_sub(self.life.idle_for());
            if left.is_zero() {
                return Err(SocketError::Silent { after: self.silence });
            }
            match timeout(left, self.stream.next()).await {
                Ok(Some(Ok(message))) => {
                    self.was_away = true;
                    return Ok(message);
                }
                Ok(Some(Err(source))) => return Err(broken(source)),
                Ok(None) => return Err(SocketError::Closed),
                Err(_) => {}
            }
        }
    }

    /// Writes what is queued, says goodbye and ends; bounded in time.
    pub(super) async fn leave(mut self) {
        self.writer.leave.cancel();
        let _ = timeout(FAREWELL_TIMEOUT, &mut self.writer.task).await; // a writer that cannot is dropped
    }
}

fn broken(source: tungstenite::Error) -> SocketError {
    match source {
        tungstenite::Error::Capacity(_) => SocketError::TooLarge { limit: MAX_MESSAGE_BYTES },
        tungstenite::Error::ConnectionClosed | tungstenite::Error::AlreadyClosed => SocketError::Closed,
        source => SocketError::Broken { source: Box::new(source) },
    }
}

// === impl Writer ===

impl Drop for Writer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Writes frames in the order of the queue and pongs before them, until told to leave or the connection breaks.
async fn write(
    mut sink: SplitSink<WebSocket, Message>,
    mut frames_rx: mpsc::Receiver<Outgoing>,
    pong: Arc<Notify>,
    leave: CancellationToken,
    life: LastActivity,
) {
    loop {
        let message = tokio::select! {
            biased;
            () = pong.notified() => Message::text("3"),
            frame = frames_rx.recv() => match frame {
                Some(frame) if frame.is_stale() => continue,
                Some(frame) => Message::Text(frame.text),
                None => break,
            },
            () = leave.cancelled() => break,
        };
        if feed(&mut sink, message, &life).await.is_err() {
            return;
        }
        if frames_rx.is_empty() && flush(&mut sink, &life).await.is_err() {
            return;
        }
    }
    let _ = sink.close().await; // the hub may be gone already
}

async fn feed(
    sink: &mut SplitSink<WebSocket, Message>,
    message: Message,
    life: &LastActivity,
) -> Result<(), tungstenite::Error> {
    watched(sink.feed(message), life).await
}

async fn flush(
    sink: &mut SplitSink<WebSocket, Message>,
    life: &LastActivity,
) -> Result<(), tungstenite::Error> {
    watched(sink.flush(), life).await
}

/// A write that had to wait and then went through shows that the hub takes bytes: on a slow line its answer to our
/// question may be stuck behind megabytes of our own.
async fn watched<F, T>(write: F, life: &LastActivity) -> T
where
    F: Future<Output = T>,
{
    let mut write = std::pin::pin!(write);
    match futures::poll!(&mut write) {
        std::task::Poll::Ready(done) => done,
        std::task::Poll::Pending => {
            let done = write.await;
            life.touch();
            done
        }
    }
}

// === impl Outgoing ===

impl Outgoing {
    fn is_stale(&self) -> bool {
        self.while_allowed.as_ref().is_some_and(|pass| !pass.holds())
    }
}
