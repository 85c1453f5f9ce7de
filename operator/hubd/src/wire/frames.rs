//! Follows a stream of WebSocket frames by their heads alone, in whatever pieces it comes: where one ends, and what it
//! begins with. It changes nothing and copies no payload.

/// The longest head: two bytes, eight of length, four of mask.
const HEAD_BYTES: usize = 14;

/// A frame that has passed completely.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Passed {
    /// How long its payload was.
    pub length: u64,
    /// The first two bytes of an unmasked payload, as far as it has them.
    pub begins: [u8; 2],
}

/// Where in the stream we are.
#[derive(Debug, Default)]
pub struct Frames {
    head: [u8; HEAD_BYTES],
    /// Bytes of the head seen so far.
    head_seen: usize,
    /// The payload's length, once the head is complete.
    length: Option<u64>,
    /// Bytes of the payload seen so far.
    seen: u64,
    begins: [u8; 2],
}

// === impl Frames ===

impl Frames {
    /// Follows `bytes`, telling `passed` of every frame that ends in them.
    pub fn follow(&mut self, mut bytes: &[u8], mut passed: impl FnMut(Passed)) {
        loop {
            let Some(length) = self.length else {
                let Some((first, rest)) = bytes.split_first() else { return };
                self.head[self.head_seen] = *first;
                self.head_seen += 1;
                bytes = rest;
                self.length = self.payload_length();
                continue;
            };
            let left = usize::try_from(length - self.seen).unwrap_or(usize::MAX);
            let (here, rest) = bytes.split_at(left.min(bytes.len()));
            for (index, byte) in (self.seen..2).zip(here) {
                self.begins[index as usize] = *byte;
            }
            self.seen += here.len() as u64;
            bytes = rest;
            if self.seen < length {
                return;
            }
            passed(Passed { length, begins: self.begins });
            *self = Self::default();
        }
    }

    /// How many bytes may be read without passing the end of the current frame; `None` between two frames.
    pub fn until_end(&self) -> Option<usize> {
        match self.length {
            Some(length) => Some(usize::try_from(length - self.seen).unwrap_or(usize::MAX)),
            None if self.head_seen == 0 => None,
            None => Some(self.head_length().unwrap_or(2) - self.head_seen),
        }
    }

    /// How long the head is, once its first two bytes are there.
    fn head_length(&self) -> Option<usize> {
        let extended = match self.head[1] & 0x7f {
            _ if self.head_seen < 2 => return None,
            126 => 2,
            127 => 8,
            _ => 0,
        };
        let mask = if self.head[1] & 0x80 == 0 { 0 } else { 4 };
        Some(2 + extended + mask)
    }

    /// The payload's length, once the head is complete.
    fn payload_length(&self) -> Option<u64> {
        if self.head_seen < self.head_length()? {
            return None;
        }
        let number = |bytes: &[u8]| bytes.iter().fold(0_u64, |sum, byte| sum << 8 | u64::from(*byte));
        Some(match self.head[1] & 0x7f {
            126 => number(&self.head[2..4]),
            127 => number(&self.head[2..10]),
            short => u64::from(short),
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn frame(payload: &[u8], masked: bool) -> Vec<u8> {
        let mask_bit = if masked { 0x80 } else { 0 };
        let mut bytes = vec![0x81];
        match payload.len() {
            short @ 0..126 => bytes.push(mask_bit | short as u8),
            middle @ 126..65_536 => {
                bytes.push(mask_bit | 126);
                bytes.extend((middle as u16).to_be_bytes());
            }
            long => {
                bytes.push(mask_bit | 127);
                bytes.extend((long as u64).to_be_bytes());
            }
        }
        if masked {
            bytes.extend([0; 4]);
        }
        bytes.extend(payload);
        bytes
    }

    #[test]
    fn frames_are_found_in_pieces_of_any_size() {
        let payloads =
            [b"2".to_vec(), Vec::new(), b"42".to_vec(), vec![b'4'; 125], vec![b'x'; 126], vec![b'y'; 70_000]];
        for masked in [false, true] {
            let stream = payloads.iter().flat_map(|payload| frame(payload, masked)).collect::<Vec<_>>();
            for piece in [1, 2, 3, 7, 125, 4096, stream.len()] {
                let (mut frames, mut passed) = (Frames::default(), Vec::new());
                for bytes in stream.chunks(piece) {
                    frames.follow(bytes, |frame| passed.push(frame));
                }
                assert_eq!(
                    passed.iter().map(|frame| frame.length).collect::<Vec<_>>(),
                    [1, 0, 2, 125, 126, 70_000]
                );
                assert_eq!(
                    passed.iter().map(|frame| frame.begins[0]).collect::<Vec<_>>(),
                    [b'2', 0, b'4', b'4', b'x', b'y']
                );
                assert_eq!(frames.until_end(), None, "between two frames");
            }
        }
    }

    proptest! {
        #[test]
        fn frames_of_any_length_are_found_wherever_the_stream_is_cut(
            lengths in prop::collection::vec(prop_oneof![0..300_usize, 65_000..66_000_usize], 1..8),
            masked in any::<bool>(),
            cuts in prop::collection::vec(1..5_000_usize, 1..20),
        ) {
            let payload = |length: usize| vec![b'4'; length];
            let stream = lengths.iter().flat_map(|length| frame(&payload(*length), masked)).collect::<Vec<_>>();
            let (mut frames, mut passed, mut rest) = (Frames::default(), Vec::new(), &stream[..]);
            for size in cuts.iter().cycle() {
                let (piece, more) = rest.split_at(rest.len().min(*size));
                frames.follow(piece, |frame| passed.push(frame.length));
                rest = more;
                if rest.is_empty() {
                    break;
                }
                prop_assert!(frames.until_end().is_none_or(|left| left > 0 && left <= rest.len()));
            }
            prop_assert_eq!(passed, lengths.iter().map(|length| *length as u64).collect::<Vec<_>>());
            prop_assert_eq!(frames.until_end(), None);
        }

        #[test]
        fn any_bytes_are_followed_alike_whole_and_in_pieces(
            bytes in prop::collection::vec(any::<u8>(), 0..400),
            size in 1..50_usize,
        ) {
            let (mut whole, mut pieces) = (Frames::default(), Frames::default());
            let (mut of_whole, mut of_pieces) = (Vec::new(), Vec::new());
            whole.follow(&bytes, |frame| of_whole.push(frame));
            bytes.chunks(size).for_each(|piece| pieces.follow(piece, |frame| of_pieces.push(frame)));
            prop_assert_eq!(of_whole, of_pieces);
            prop_assert_eq!(whole.until_end(), pieces.until_end());
        }
    }

    #[test]
    fn the_end_of_a_frame_is_never_read_past() {
        for masked in [false, true] {
            let stream = [frame(&vec![b'x'; 70_000], masked), frame(b"next", masked)].concat();
            let (mut frames, mut at, mut ended) = (Frames::default(), 1, 0);
            frames.follow(&stream[..1], |_| ended += 1);
            while let Some(more) = frames.until_end() {
                assert!(more > 0, "no progress at {at}");
                frames.follow(&stream[at..at + more.min(1000)], |_| ended += 1);
                at += more.min(1000);
            }
            assert_eq!((ended, at), (1, stream.len() - frame(b"next", masked).len()));
        }
    }
}
