//! Text of Engine.IO 4 and Socket.IO 5, parsed and printed without any I/O.
//!
//! Parsing borrows from the frame and looks no further than it must: an event's arguments stay JSON text until
//! somebody knows their type, because most frames carry tens of kilobytes of base64. Nothing here panics.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use serde::Deserialize;
use thiserror::Error;

/// One Engine.IO packet: what a websocket text frame holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Frame<'a> {
    /// The hub's first words.
    Open(EngineHandshake),
    /// The end.
    Close,
    /// Asks for a pong.
    Ping,
    /// Answers a ping.
    Pong,
    /// A Socket.IO packet.
    Message(&'a str),
    /// Part of a transport upgrade, which a websocket never needs.
    Noop,
}

/// What the hub lays down for the connection.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct EngineHandshake {
    ping_interval: u32,
    ping_timeout: u32,
    #[serde(default = "default_max_payload")]
    max_payload: u64,
}

/// One Socket.IO packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Packet<'a> {
    /// Joins a namespace, or confirms it.
    Connect {
        /// The namespace.
        namespace: &'a str,
        /// A JSON value, or nothing.
        data: &'a str,
    },
    /// Leaves a namespace.
    Disconnect {
        /// The namespace.
        namespace: &'a str,
    },
    /// Something happened.
    Event {
        /// The namespace.
        namespace: &'a str,
        /// Present when an answer is wanted.
        id: Option<u64>,
        /// What happened.
        name: Cow<'a, str>,
        /// JSON values with commas between them, or nothing.
        args: &'a str,
    },
    /// The answer to an event.
    Ack {
        /// The namespace.
        namespace: &'a str,
        /// Which event.
        id: u64,
        /// JSON values with commas between them, or nothing.
        args: &'a str,
    },
    /// A namespace was refused.
    Refused {
        /// The namespace.
        namespace: &'a str,
        /// A JSON value, or nothing.
        data: &'a str,
    },
}

/// Why a text is no packet.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum Malformed {
    /// An empty frame.
    #[error("empty frame")]
    Empty,
    /// The first character is no known type.
    #[error("unknown packet type")]
    UnknownType,
    /// An attachment, which this protocol does without.
    #[error("binary packets are not supported")]
    Binary,
    /// The open packet is not what it should be.
    #[error("unreadable open packet")]
    Open,
    /// An event is not an array that begins with a name.
    #[error("unreadable event")]
    Event,
    /// An answer is not an array or has no number.
    #[error("unreadable acknowledgement")]
    Ack,
}

/// The namespace that is not written.
const ROOT: &str = "/";

/// What a hub that does not tell accepts: the default of the vendor's server.
const fn default_max_payload() -> u64 {
    1_000_000
}

// === impl Open ===

impl EngineHandshake {
    /// Silence for longer than this means that the hub is gone.
    pub fn silence(&self) -> Duration {
        Duration::from_millis(u64::from(self.ping_interval) + u64::from(self.ping_timeout))
    }

    /// The largest frame the hub accepts, in bytes.
    pub fn max_payload(&self) -> usize {
        usize::try_from(self.max_payload).unwrap_or(usize::MAX)
    }
}

// === impl Frame ===

impl<'a> Frame<'a> {
    /// Reads a websocket text frame.
    pub fn parse(text: &'a str) -> Result<Self, Malformed> {
        let kind = *text.as_bytes().first().ok_or(Malformed::Empty)?;
        if !kind.is_ascii_digit() {
            return Err(Malformed::UnknownType);
        }
        let rest = &text[1..];
        match kind {
            b'0' => serde_json::from_str(rest).map(Self::Open).map_err(|_| Malformed::Open),
            b'1' => Ok(Self::Close),
            b'2' => Ok(Self::Ping),
            b'3' => Ok(Self::Pong),
            b'4' => Ok(Self::Message(rest)),
            b'5' | b'6' => Ok(Self::Noop),
            _ => Err(Malformed::UnknownType),
        }
    }
}

// === impl Packet ===

impl<'a> Packet<'a> {
    /// Reads what an Engine.IO message holds.
    pub fn parse(text: &'a str) -> Result<Self, Malformed> {
        let kind = *text.as_bytes().first().ok_or(Malformed::Empty)?;
        if !kind.is_ascii_digit() {
            return Err(Malformed::UnknownType);
        }
        let (namespace, rest) = split_namespace(&text[1..]);
        match kind {
            b'0' => Ok(Self::Connect { namespace, data: rest }),
            b'1' => Ok(Self::Disconnect { namespace }),
            b'2' => {
                let (id, array) = split_id(rest).ok_or(Malformed::Event)?;
                let (name, args) = array_of(array).and_then(split_name).ok_or(Malformed::Event)?;
                Ok(Self::Event { namespace, id, name, args })
            }
            b'3' => {
                let (id, array) = split_id(rest).ok_or(Malformed::Ack)?;
                let (Some(id), Some(args)) = (id, array_of(array)) else { return Err(Malformed::Ack) };
                Ok(Self::Ack { namespace, id, args })
            }
            b'4' => Ok(Self::Refused { namespace, data: rest }),
            b'5' | b'6' => Err(Malformed::Binary),
            _ => Err(Malformed::UnknownType),
        }
    }
}

/// Prints the packet as an Engine.IO message, the leading `4` included.
impl fmt::Display for Packet<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connect { namespace, data } => write!(f, "40{}{data}", Prefix(namespace)),
            Self::Disconnect { namespace } => write!(f, "41{}", Prefix(namespace)),
            Self::Event { namespace, id, name, args } => {
                write!(f, "42{}", Prefix(namespace))?;
                if let Some(id) = id {
                    write!(f, "{id}")?;
                }
                let name = serde_json::to_string(name).map_err(|_| fmt::Error)?;
                let comma = if args.is_empty() { "" } else { "," };
                write!(f, "[{name}{comma}{args}]")
            }
            Self::Ack { namespace, id, args } => write!(f, "43{}{id}[{args}]", Prefix(namespace)),
            Self::Refused { namespace, data } => write!(f, "44{}{data}", Prefix(namespace)),
        }
    }
}

struct Prefix<'a>(&'a str);

impl fmt::Display for Prefix<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 == ROOT { Ok(()) } else { write!(f, "{},", self.0) }
    }
}

fn split_namespace(text: &str) -> (&str, &str) {
    if !text.starts_with('/') {
        return (ROOT, text);
    }
    text.split_once(',').unwrap_or((text, ""))
}

/// The digits before the array; `None` when they are no number.
fn split_id(text: &str) -> Option<(Option<u64>, &str)> {
    let end = text.bytes().position(|byte| !byte.is_ascii_digit()).unwrap_or(text.len());
    let (digits, rest) = text.split_at(end);
    if digits.is_empty() { Some((None, rest)) } else { Some((Some(digits.parse().ok()?), rest)) }
}

fn array_of(text: &str) -> Option<&str> {
    text.trim_ascii_end().strip_prefix('[')?.strip_suffix(']').map(str::trim_ascii)
}

/// The name at the head of an event's array, and what follows the comma.
fn split_name(array: &str) -> Option<(Cow<'_, str>, &str)> {
    let inner = array.strip_prefix('"')?;
    let end = inner.bytes().position(|byte| byte == b'"' || byte == b'\\')?;
    let (name, rest) = if inner.as_bytes()[end] == b'"' && !inner[..end].contains(char::is_control) {
        (Cow::Borrowed(&inner[..end]), &inner[end + 1..])
    } else {
        let mut values = serde_json::Deserializer::from_str(array).into_iter::<String>();
        let name = values.next()?.ok()?;
        (Cow::Owned(name), array.get(values.byte_offset()..)?)
    };
    let rest = rest.trim_ascii_start();
    if rest.is_empty() {
        return Some((name, ""));
    }
    let args = rest.strip_prefix(',')?.trim_ascii_start();
    (!args.is_empty()).then_some((name, args))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn message(text: &str) -> Packet<'_> {
        match Frame::parse(text) {
            Ok(Frame::Message(message)) => Packet::parse(message).expect("a packet"),
            other => panic!("{text}: {other:?}"),
        }
    }

    #[test]
    fn the_open_packet_tells_silence_and_size() {
        let text =
            r#"0{"sid":"x","upgrades":[],"pingInterval":25000,"pingTimeout":20000,"maxPayload":1000000}"#;
        let Ok(Frame::Open(open)) = Frame::parse(text) else { panic!("no open packet") };
        assert_eq!((open.silence(), open.max_payload()), (Duration::from_secs(45), 1_000_000));
        assert_eq!(Frame::parse("0{}"), Err(Malformed::Open));
        assert_eq!(Frame::parse(r#"0{"pingInterval":-1,"pingTimeout":1}"#), Err(Malformed::Open));
    }

    #[test]
    fn the_specifications_examples_are_read_and_printed_alike() {
        for text in [
            "40",
            "40/admin,",
            r#"40/agent,{"agentId":"a"}"#,
            r#"42["foo"]"#,
            r#"42/admin,["bar"]"#,
            r#"4212["foo"]"#,
            r#"42/agent,7["expose",{"a":[1,"]"]},2]"#,
            r#"43/admin,13["bar",{}]"#,
            "4312[]",
            "41/admin,",
            r#"44/x,{"message":"Invalid namespace"}"#,
        ] {
            assert_eq!(message(text).to_string(), text);
        }
    }

    #[test]
    fn an_escaped_name_is_understood() {
        let Packet::Event { name, args, .. } = message(r#"42["a\"\u00e4", 1 ]"#) else { panic!("no event") };
        assert_eq!((name.as_ref(), args), ("a\"ä", "1"));
    }

    #[test]
    fn what_is_no_packet_is_refused_with_its_reason() {
        for (text, why) in [
            ("", Malformed::Empty),
            ("9", Malformed::UnknownType),
            ("é", Malformed::UnknownType),
            ("2", Malformed::Event),
            ("2[]", Malformed::Event),
            ("2[1]", Malformed::Event),
            (r#"2["a""#, Malformed::Event),
            (r#"2["a" 1]"#, Malformed::Event),
            (r#"2["a",]"#, Malformed::Event),
            (r#"299999999999999999999["a"]"#, Malformed::Event),
            ("3[]", Malformed::Ack),
            ("31", Malformed::Ack),
            (r#"51-["a",{"_placeholder":true,"num":0}]"#, Malformed::Binary),
        ] {
            assert_eq!(Packet::parse(text), Err(why), "{text}");
        }
    }

    proptest! {
        #[test]
        fn parsing_never_panics_and_printing_what_was_parsed_parses_alike(text in "[0-9]?[0-9]?(/[a-z,]*)?[0-9]*\\PC*") {
            if let Ok(Frame::Message(inner)) = Frame::parse(&text)
                && let Ok(packet) = Packet::parse(inner)
            {
                let printed = packet.to_string();
                prop_assert_eq!(&message(&printed), &packet);
            }
        }

        #[test]
        fn every_event_round_trips(
            namespace in "/[a-z]{0,8}", id in proptest::option::of(any::<u64>()), name in any::<String>(),
            args in proptest::option::of("[a-z\\]\\[\"]{1,20}"),
        ) {
            let args = args.map(|args| serde_json::to_string(&args).expect("serialisable")).unwrap_or_default();
            let packet = Packet::Event { namespace: &namespace, id, name: name.into(), args: &args };
            let printed = packet.to_string();
            prop_assert_eq!(&message(&printed), &packet);
        }

        #[test]
        fn every_answer_round_trips(namespace in "/[a-z]{0,8}", id in any::<u64>(), number in any::<i32>()) {
            let args = number.to_string();
            let packet = Packet::Ack { namespace: &namespace, id, args: &args };
            let printed = packet.to_string();
            prop_assert_eq!(&message(&printed), &packet);
        }
    }
}
