//! The events of the namespace `/agent`, typed. Base64 begins and ends here.
//!
//! Incoming events are read from the text of their frame: a chunk's connection id is borrowed and its bytes are
//! decoded once, into the buffer that is written to the TCP stream. Outgoing chunks are encoded straight into the
//! frame that is sent.

use std::borrow::Cow;
use std::sync::LazyLock;

use base64::Engine;
use base64::engine::Simd;
use base64::engine::general_purpose::PAD;
use bytes::Bytes;
use jiff::Timestamp;
use secrecy::ExposeSecret;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::client::Features;
use crate::identity::Identity;
use crate::socketio::{Event, Utf8Bytes};

/// The namespace of agents.
pub const NAMESPACE: &str = "/agent";

/// Either end can finish its direction without ending the other.
pub const HALF_CLOSE: &str = "half-close";

/// The hub tells about joins and ends of shares.
pub const SHARE_EVENTS: &str = "share-events";

/// What we tell a hub that we can do.
const OUR_FEATURES: [&str; 2] = [HALF_CLOSE, SHARE_EVENTS];

/// Hubs use UUIDs, some with a prefix of a few letters; anything longer is refused.
const MAX_CONNECTION_ID_BYTES: usize = 128;

/// What a hub says, in our words.
#[derive(Debug)]
pub enum Said<'a> {
    /// The hub has registered this socket.
    Connected(Connected),
    /// The credentials were not accepted; the namespace is left next.
    Error(Rejected),
    /// The token ends soon.
    TokenWarning(TokenWarning),
    /// Open a connection (exposing side).
    Dial(Dial<'a>),
    /// Bytes for a connection.
    Data(Data<'a>),
    /// The peer will send no more.
    Fin(Id<'a>),
    /// The connection is over.
    Close(Id<'a>),
    /// The connection can be used (joining side).
    Ready(Id<'a>),
    /// The connection cannot be had (joining side).
    Failed(Failed<'a>),
    /// Somebody joined a share of this agent.
    ShareJoined(ShareJoined),
    /// A share that this agent joined is over.
    ShareEnded(ShareEnded),
    /// A chunk for this connection that is not base64: the connection cannot go on.
    Spoilt(Id<'a>),
    /// Something that does not concern us.
    Other,
}

/// An event that has a known name and an unknown shape.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unreadable;

/// The connection an event is about.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Id<'a> {
    /// Chosen by the hub or the joiner, opaque to us.
    #[serde(borrow)]
    pub connection_id: Cow<'a, str>,
}

/// A chunk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Data<'a> {
    /// The connection.
    pub connection_id: Cow<'a, str>,
    /// Its bytes.
    pub bytes: Bytes,
}

/// The hub's welcome.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Connected {
    /// When the token ends.
    #[serde(default)]
    pub token_expires_at: Option<Timestamp>,
    /// What the hub can do beyond the vendor's.
    #[serde(default)]
    pub features: Features,
}

/// Credentials were not accepted.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
pub struct Rejected {
    /// `INVALID_TOKEN` or `TOKEN_EXPIRED`.
    #[serde(default)]
    pub code: String,
    /// For people.
    #[serde(default)]
    pub message: String,
}

/// The token ends soon.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct TokenWarning {
    /// When.
    pub expires_at: Timestamp,
}

/// A connection is wanted. Host and port that hubs add are not even read.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Dial<'a> {
    /// The connection.
    #[serde(borrow)]
    pub connection_id: Cow<'a, str>,
    /// The service.
    #[serde(borrow)]
    pub service_id: Cow<'a, str>,
    /// Whether a terminal is wanted, which nobody gets.
    #[serde(default)]
    pub pty: bool,
}

/// A connection cannot be had.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Failed<'a> {
    /// The connection.
    #[serde(borrow)]
    pub connection_id: Cow<'a, str>,
    /// For people.
    #[serde(borrow, default)]
    pub error: Cow<'a, str>,
}

/// Somebody joined.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct ShareJoined {
    /// The share.
    pub id: Uuid,
    /// How often it has been joined.
    pub count: u64,
    /// Who.
    pub agent_label: String,
    /// When.
    pub joined_at: Timestamp,
}

/// A share is over.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
pub struct ShareEnded {
    /// The share.
    pub id: Uuid,
    /// Why.
    #[serde(default)]
    pub reason: EndedReason,
}

/// Why a share is over, as hubs say it.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub enum EndedReason {
    /// Its time was up.
    Expired,
    /// It was taken back.
    Revoked,
    /// It was removed, or something we do not know yet.
    #[default]
    #[serde(other)]
    Deleted,
}

/// The answer to most questions.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
pub struct Answer {
    /// Whether it worked.
    pub success: bool,
    /// Why not.
    #[serde(default)]
    pub error: Option<String>,
}

/// What is said about one service that is to be exposed.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Expose<'a> {
    /// The service.
    pub service_id: Uuid,
    /// Its name.
    pub service_name: &'a str,
    /// The hub's own port for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tunnel_port: Option<u16>,
    /// Never an address of the cluster: what comes back in a dial is ignored.
    pub target_host: &'a str,
    /// See `target_host`.
    pub target_port: u16,
    /// `auto`, `tcp`, `http` or `https`.
    pub protocol: &'a str,
}

/// A connection to a service is wanted (joining side).
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ReachConnect<'a> {
    /// The connection, chosen by us.
    pub connection_id: &'a str,
    /// The service.
    pub service_id: Uuid,
}

/// An event about a connection and nothing else.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct About<'a> {
    /// The connection.
    pub connection_id: &'a str,
}

/// A connection that could not be made (exposing side).
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DialError<'a> {
    /// The connection.
    pub connection_id: &'a str,
    /// For people.
    pub error: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Auth<'a> {
    agent_id: Uuid,
    token: &'a str,
    features: [&'static str; 2],
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Chunk<'a> {
    #[serde(borrow)]
    connection_id: Cow<'a, str>,
    #[serde(borrow)]
    data: Cow<'a, str>,
}

/// What goes with the join of the namespace. Holds the token: never log it.
pub(crate) fn auth(identity: &Identity) -> String {
    let auth =
        Auth { agent_id: identity.agent_id, token: identity.token.expose_secret(), features: OUR_FEATURES };
    serde_json::to_string(&auth).expect("a struct of strings is always JSON")
}

// === impl Said ===

impl<'a> Said<'a> {
    /// Reads an event.
    pub fn read(event: &'a Event) -> Result<Self, Unreadable> {
        Ok(match event.name() {
            "data" | "reach_data" => return read_data(event),
            "dial" => Self::Dial(payload::<Dial<'_>>(event)?.checked()?),
            "close" | "reach_close" => Self::Close(payload::<Id<'_>>(event)?.checked()?),
            "fin" | "reach_fin" => Self::Fin(payload::<Id<'_>>(event)?.checked()?),
            "reach_ready" => Self::Ready(payload::<Id<'_>>(event)?.checked()?),
            "reach_error" => Self::Failed(payload(event)?),
            "connected" => Self::Connected(payload(event).unwrap_or_default()),
            "error" => Self::Error(payload(event)?),
            "token_warning" => Self::TokenWarning(payload(event)?),
            "share_joined" => Self::ShareJoined(payload(event)?),
            "share_ended" => Self::ShareEnded(payload(event)?),
            _ => Self::Other,
        })
    }
}

fn payload<'a, T: Deserialize<'a>>(event: &'a Event) -> Result<T, Unreadable> {
    event.payload().ok_or(Unreadable)
}

fn read_data(event: &Event) -> Result<Said<'_>, Unreadable> {
    let Chunk { connection_id, data } = match event.payload() {
        Some(chunk) => chunk,
        // Without its bytes the connection would silently lose some.
        None => return Ok(Said::Spoilt(payload::<Id<'_>>(event)?.checked()?)),
    };
    match decode(&data) {
        Some(bytes) => Ok(Said::Data(Data { connection_id, bytes })),
        None => Ok(Said::Spoilt(Id { connection_id })),
    }
}

// === impl Id ===

impl Id<'_> {
    fn checked(self) -> Result<Self, Unreadable> {
        is_acceptable(&self.connection_id).then_some(self).ok_or(Unreadable)
    }
}

// === impl Dial ===

impl Dial<'_> {
    fn checked(self) -> Result<Self, Unreadable> {
        is_acceptable(&self.connection_id).then_some(self).ok_or(Unreadable)
    }
}

fn is_acceptable(connection_id: &str) -> bool {
    (1..=MAX_CONNECTION_ID_BYTES).contains(&connection_id.len())
}

/// The standard alphabet with padding, as fast as the machine can.
static BASE64: LazyLock<Simd> = LazyLock::new(|| Simd::standard(PAD));

/// The bytes behind strict base64.
pub fn decode(text: &str) -> Option<Bytes> {
    let mut bytes = Vec::new();
    BASE64.decode_vec(text, &mut bytes).ok()?;
    Some(bytes.into())
}

/// Makes the frames of one connection's chunks.
#[derive(Debug)]
pub(crate) struct ChunkFrames {
    head: String,
}

/// What closes a chunk's frame.
const CHUNK_TAIL: &[u8] = b"\"}]";

// === impl ChunkFrames ===

impl ChunkFrames {
    /// For chunks that are sent as `event` for `connection_id`.
    pub(crate) fn new(event: &str, connection_id: &str) -> Self {
        let id = serde_json::to_string(connection_id).expect("a string is always JSON");
        Self { head: format!(r#"42{NAMESPACE},["{event}",{{"connectionId":{id},"data":""#) }
    }

    /// The frame of one chunk.
    pub(crate) fn frame(&self, chunk: &[u8]) -> Utf8Bytes {
        let head = self.head.as_bytes();
        let encoded =
            base64::encoded_len(chunk.len(), true).expect("a chunk is far smaller than the address space");
        let mut frame = Vec::with_capacity(head.len() + encoded + CHUNK_TAIL.len());
        frame.extend_from_slice(head);
        frame.resize(head.len() + encoded, 0);
        BASE64.encode_slice(chunk, &mut frame[head.len()..]).expect("the length was computed for this chunk");
        frame.extend_from_slice(CHUNK_TAIL);
        Utf8Bytes::try_from(Bytes::from(frame)).expect("JSON of a string and base64 are UTF-8")
    }

    /// The largest chunk whose frame a hub accepts that takes `max_payload` bytes.
    pub(crate) fn largest_chunk(&self, max_payload: usize) -> usize {
        max_payload.saturating_sub(self.head.len() + CHUNK_TAIL.len()) / 4 * 3
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::socketio::packet::{Frame, Packet};
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_chunk_is_the_same_after_its_frame(
            bytes in proptest::collection::vec(any::<u8>(), 0..5000), id in "\\PC{1,40}"
        ) {
            let frames = ChunkFrames::new("data", &id);
            let text = frames.frame(&bytes);
            let Ok(Frame::Message(message)) = Frame::parse(&text) else { panic!("no message") };
            let Ok(Packet::Event { namespace, name, args, id: None }) = Packet::parse(message) else { panic!("no event") };
            prop_assert_eq!((namespace, name.as_ref()), (NAMESPACE, "data"));
            let chunk: Chunk<'_> = serde_json::from_str(args).expect("a chunk");
            prop_assert_eq!(chunk.connection_id.as_ref(), id.as_str());
            let decoded = decode(&chunk.data).expect("base64");
            prop_assert_eq!(decoded.as_ref(), bytes.as_slice());
        }

        #[test]
        fn a_chunk_of_the_largest_size_fits(max_payload in 200usize..200_000) {
            let frames = ChunkFrames::new("reach_data", "dd3f0bbb-ceb3-4ee5-8bcb-86aa8f87ac7b");
            let largest = frames.largest_chunk(max_payload);
            prop_assert!(frames.frame(&vec![7; largest]).len() <= max_payload);
        }

        #[test]
        fn rubbish_is_not_decoded(text in "\\PC*") {
            let _ = decode(&text);
        }
    }

    #[test]
    fn only_strict_base64_is_accepted() {
        assert_eq!(decode("cGluZw==").as_deref(), Some(b"ping".as_slice()));
        for text in ["cGluZw", "cGluZw=", "cGlu Zw==", "cG-_", "c", "cGluZw==="] {
            assert_eq!(decode(text), None, "{text}");
        }
    }
}
