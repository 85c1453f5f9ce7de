//! What is said on a data connection: `type u8 | length u24 big endian | payload`.

use serde::{Deserialize, Serialize};
use thiserror::Error;
use uuid::Uuid;

/// Bytes before a payload: its type and its length.
pub const HEADER_BYTES: usize = 4;

/// The longest payload: what one read of a busy TCP connection gives, and still a short turn for everybody else.
pub const MAX_PAYLOAD_BYTES: usize = 64 * 1024;

/// The longest frame.
pub const MAX_FRAME_BYTES: usize = HEADER_BYTES + MAX_PAYLOAD_BYTES;

/// The longest payload that is a message: ids, a key, a reason of a sentence.
pub const MAX_MESSAGE_BYTES: usize = 2 * 1024;

/// A whole ping.
pub const PING: [u8; HEADER_BYTES] = Header { kind: Kind::Ping, length: 0 }.encode();

/// The longest `fin`: nothing, or the seal of nothing, which is a nonce of 12 bytes and a tag of 16.
pub const MAX_FIN_BYTES: usize = 28;

/// What a frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// A stream begins: [`Open`].
    Open = 1,
    /// It can be used: [`Ready`].
    Ready = 2,
    /// It cannot be had: [`Refused`].
    Refused = 3,
    /// Bytes of it, at least one.
    Data = 4,
    /// The sender has no more; the stream is over when both have said so.
    Fin = 5,
    /// Nothing: said while there is nothing else to say, so that whatever is in between does not take the connection for dead.
    Ping = 6,
}

/// What stands before a payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// What the frame is.
    pub kind: Kind,
    /// Bytes of its payload.
    pub length: usize,
}

/// The other side does not speak as agreed; the connection cannot go on.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("the other side sent {0}")]
pub struct Malformed(
    /// What came instead, after "the other side sent".
    pub &'static str,
);

/// A joiner wants a stream to a service.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Open {
    /// Chosen by the joiner, never twice: the keys depend on it.
    pub connection_id: String,
    /// The service at the hub.
    pub service_id: Uuid,
    /// The joiner's half of the key agreement; without it the bytes are not encrypted between the ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub public_key: Option<String>,
    /// That the joiner knows the secret of the code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proof: Option<String>,
}

/// The exposer has reached the service.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Ready {
    /// The exposer's half of the key agreement.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub public_key: Option<String>,
    /// That the exposer knows the secret that the joiner has proven to know.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proof: Option<String>,
}

/// Why a stream cannot be had.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
pub struct Refused {
    /// Which kind of reason.
    #[serde(default)]
    pub code: RefusedCode,
    /// For people.
    #[serde(default)]
    pub message: String,
}

/// What to do about it.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum RefusedCode {
    /// The exposer does not know data connections: the recorded protocol reaches it, now and later.
    Unsupported,
    /// The exposer has none at the moment: the recorded protocol reaches it.
    Unavailable,
    /// No.
    #[default]
    #[serde(other)]
    Refused,
}

// === impl Header ===

impl Header {
    /// For a payload that its writer has bounded.
    pub const fn encode(self) -> [u8; HEADER_BYTES] {
        let [_, a, b, c] = (self.length as u32).to_be_bytes(); // every payload fits 24 bits
        [self.kind as u8, a, b, c]
    }

    /// Reads a header. Fails for a type that is not known, and for a length that its type cannot have.
    pub fn decode(bytes: [u8; HEADER_BYTES]) -> Result<Self, Malformed> {
        let [kind, a, b, c] = bytes;
        let length = u32::from_be_bytes([0, a, b, c]) as usize;
        let (kind, bounds) = match kind {
            1 => (Kind::Open, 1..=MAX_MESSAGE_BYTES),
            2 => (Kind::Ready, 1..=MAX_MESSAGE_BYTES),
            3 => (Kind::Refused, 1..=MAX_MESSAGE_BYTES),
            4 => (Kind::Data, 1..=MAX_PAYLOAD_BYTES),
            5 => (Kind::Fin, 0..=MAX_FIN_BYTES),
            6 => (Kind::Ping, 0..=0),
            _ => return Err(Malformed("a frame of no known type")),
        };
        if !bounds.contains(&length) {
            return Err(Malformed("a frame of an impossible length"));
        }
        Ok(Self { kind, length })
    }
}

/// A whole frame that carries a message.
pub fn message(kind: Kind, message: &impl Serialize) -> Vec<u8> {
    let payload = serde_json::to_vec(message).expect("structs of strings are always JSON");
    let mut frame = Header { kind, length: payload.len() }.encode().to_vec();
    frame.extend(payload);
    frame
}

/// Reads a message.
pub fn parse<'a, T: Deserialize<'a>>(payload: &'a [u8]) -> Result<T, Malformed> {
    serde_json::from_slice(payload).map_err(|_| Malformed("a message that cannot be read"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn messages_are_what_the_hub_reads() {
        let public_key = Some("k".into());
        let open = Open { connection_id: "c".into(), service_id: Uuid::nil(), public_key, proof: None };
        let frame = message(Kind::Open, &open);
        let text =
            r#"{"connectionId":"c","serviceId":"00000000-0000-0000-0000-000000000000","publicKey":"k"}"#;
        assert_eq!(&frame[HEADER_BYTES..], text.as_bytes());
        assert_eq!(parse::<Open>(text.as_bytes()), Ok(open));
        assert_eq!(parse::<Ready>(b"{}"), Ok(Ready::default()));
        let refused: Refused = parse(br#"{"code":"something-new","message":"m"}"#).expect("readable");
        assert_eq!(refused.code, RefusedCode::Refused);
        let refused: Refused = parse(br#"{"code":"unsupported"}"#).expect("readable");
        assert_eq!(refused.code, RefusedCode::Unsupported);
    }

    proptest! {
        #[test]
        fn a_header_is_refused_or_means_itself(bytes: [u8; HEADER_BYTES]) {
            if let Ok(header) = Header::decode(bytes) {
                prop_assert!(header.length <= MAX_PAYLOAD_BYTES);
                prop_assert_eq!(header.encode(), bytes);
            }
        }

        #[test]
        fn a_message_is_refused_or_read(bytes: Vec<u8>) {
            let _ = (parse::<Open>(&bytes), parse::<Ready>(&bytes), parse::<Refused>(&bytes));
        }
    }
}
