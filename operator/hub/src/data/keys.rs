//! One stream's keys, if it has any: sealing and opening frames in place.

use connect_frames::frame::{HEADER_BYTES, Header, Kind, MAX_FIN_BYTES, MAX_PAYLOAD_BYTES, Malformed};

use crate::e2e::{NONCE_BYTES, OVERHEAD_BYTES, Opener, Sealer};
use crate::pump::NOT_NEXT;

/// Where the plain text of a frame begins, whether it is sealed or not.
pub(super) const TEXT_AT: usize = HEADER_BYTES + NONCE_BYTES;

/// The most plain text of one frame: sealed, it is a payload of full size.
pub(super) const MAX_TEXT_BYTES: usize = MAX_PAYLOAD_BYTES - OVERHEAD_BYTES;

// The codec lets a sealed `fin` pass, which is the seal of nothing.
const _: () = assert!(MAX_FIN_BYTES == OVERHEAD_BYTES);

/// Both directions of one stream.
#[derive(Debug)]
pub(super) struct Keys {
    pub(super) seal: Seal,
    pub(super) unseal: Unseal,
}

/// Our direction.
#[derive(Debug)]
pub(super) struct Seal(Option<Sealer>);

/// The other side's direction.
#[derive(Debug)]
pub(super) struct Unseal(Option<Opener>);

// === impl Keys ===

impl Keys {
    /// Those that the ends agreed on, or none.
    pub(super) fn new(agreed: Option<(Sealer, Opener)>) -> Self {
        let (sealer, opener) = agreed.unzip();
        Self { seal: Seal(sealer), unseal: Unseal(opener) }
    }
}

// === impl Seal ===

impl Seal {
    /// Makes a frame around the text at [`TEXT_AT`], which is at most [`MAX_TEXT_BYTES`] long, and gives it.
    pub(super) fn frame<'a>(&mut self, kind: Kind, buffer: &'a mut [u8], length: usize) -> &'a [u8] {
        let start = match &mut self.0 {
            Some(sealer) => {
                sealer.seal(&mut buffer[HEADER_BYTES..HEADER_BYTES + length + OVERHEAD_BYTES]);
                0
            }
            None => NONCE_BYTES,
        };
        let length = if start == 0 { length + OVERHEAD_BYTES } else { length };
        buffer[start..start + HEADER_BYTES].copy_from_slice(&Header { kind, length }.encode());
        &buffer[start..start + HEADER_BYTES + length]
    }
}

// === impl Unseal ===

impl Unseal {
    /// The text of a payload.
    pub(super) fn text<'a>(&mut self, payload: &'a mut [u8]) -> Result<&'a [u8], Malformed> {
        match &mut self.0 {
            Some(opener) => Ok(opener.open(payload).map_err(|_| NOT_NEXT)?),
            None => Ok(payload),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::e2e::{Offer, Side};

    fn pair(encrypted: bool) -> (Keys, Keys) {
        let (joiner, exposer) = (Offer::generate(), Offer::generate());
        let (to_exposer, to_joiner) = (joiner.public_key(), exposer.public_key());
        if !encrypted {
            return (Keys::new(None), Keys::new(None));
        }
        let joiner = joiner.agree(&to_joiner, "id", Side::Joiner).expect("keys");
        let exposer = exposer.agree(&to_exposer, "id", Side::Exposer).expect("keys");
        (Keys::new(Some(joiner)), Keys::new(Some(exposer)))
    }

    fn framed(seal: &mut Seal, text: &[u8]) -> Vec<u8> {
        let mut buffer = vec![0; TEXT_AT + text.len() + OVERHEAD_BYTES];
        buffer[TEXT_AT..TEXT_AT + text.len()].copy_from_slice(text);
        seal.frame(Kind::Data, &mut buffer, text.len()).to_vec()
    }

    proptest! {
        #[test]
        fn what_is_framed_is_read(
            encrypted: bool,
            texts in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..200), 1..5),
        ) {
            let (mut joiner, mut exposer) = pair(encrypted);
            for text in texts {
                let mut frame = framed(&mut joiner.seal, &text);
                let (header, payload) = frame.split_at_mut(HEADER_BYTES);
                let header = Header::decode([header[0], header[1], header[2], header[3]]).expect("a header");
                prop_assert_eq!(header.length, payload.len());
                prop_assert_eq!(exposer.unseal.text(payload).expect("the next one"), &text[..]);
            }
        }

        #[test]
        fn a_changed_packet_is_refused(text: Vec<u8>, at: usize, bit in 0..8u8) {
            let (mut joiner, mut exposer) = pair(true);
            let mut payload = framed(&mut joiner.seal, &text).split_off(HEADER_BYTES);
            let at = at % payload.len();
            payload[at] ^= 1 << bit;
            prop_assert!(exposer.unseal.text(&mut payload).is_err());
        }
    }

    #[test]
    fn a_full_frame_has_a_full_payload() {
        let (mut joiner, _) = pair(true);
        let frame = framed(&mut joiner.seal, &vec![1; MAX_TEXT_BYTES]);
        assert_eq!(frame.len(), HEADER_BYTES + MAX_PAYLOAD_BYTES);
    }
}
