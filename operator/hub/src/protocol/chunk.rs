//! Chunks of bytes as base64 inside a frame: the only part of the protocol that every byte passes.

use std::borrow::Cow;
use std::sync::LazyLock;

use base64::Engine;
use base64::engine::Simd;
use base64::engine::general_purpose::PAD;
use bytes::Bytes;
use serde::Deserialize;

use super::NAMESPACE;
use crate::socketio::Utf8Bytes;

/// What closes a chunk's frame.
const CHUNK_TAIL: &[u8] = b"\"}]";

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Chunk<'a> {
    #[serde(borrow)]
    pub(super) connection_id: Cow<'a, str>,
    #[serde(borrow)]
    pub(super) data: Cow<'a, str>,
}

/// Makes the frames of one connection's chunks.
#[derive(Debug)]
pub(crate) struct ChunkFrames {
    head: String,
}

/// The standard alphabet with padding, as fast as the machine can.
static BASE64: LazyLock<Simd> = LazyLock::new(|| Simd::standard(PAD));

/// The bytes behind strict base64.
pub(super) fn decode(text: &str) -> Option<Bytes> {
    let mut bytes = Vec::new();
    BASE64.decode_vec(text, &mut bytes).ok()?;
    Some(bytes.into())
}

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
