//! Encryption of one connection between joiner and exposer, so that a hub in between moves bytes it cannot read.
//!
//! Both ends make a key pair for this one connection and send the public half through the hub. What they agree on
//! gives one AES-256-GCM key per direction; every packet carries the next number of its direction, so a packet that
//! was changed, repeated, dropped or moved is refused. Where the share's code has a secret, both ends prove that they know it
//! and the keys are bound to it, so that a hub which replaces public keys is found out ([`bond`]). Without one the keys are
//! bound to no identity, and such a hub can read along: see decisions 0011 and 0026.
//!
//! ```text
//! packet   nonce: 4 zero bytes, 8 bytes counter | cipher text | 16 bytes tag
//! ```

mod bond;

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::{digest, hkdf};
use serde::{Deserialize, Serialize};
use thiserror::Error;
use x25519_dalek::{PublicKey, StaticSecret};

pub(crate) use self::bond::{Answer, Bond};

/// What a packet is longer than its plain text: nonce and tag.
pub(crate) const OVERHEAD_BYTES: usize = NONCE_LEN + TAG_BYTES;

/// How much of that comes before the text.
pub(crate) const NONCE_BYTES: usize = NONCE_LEN;

/// The authentication tag of AES-256-GCM.
const TAG_BYTES: usize = 16;

/// An AES-256 key, an X25519 key and a SHA-256 hash are all this long.
const KEY_BYTES: usize = 32;

/// What the keys are for; both ends must say the same.
const PURPOSE: &[u8] = b"pc-e2e-v1";

/// What comes before the 32 bytes of an X25519 public key in its DER form (SubjectPublicKeyInfo, RFC 8410).
const SPKI_HEAD: [u8; 12] = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x6e, 0x03, 0x21, 0x00];

/// A public key as it is sent: base64 of the head and the key.
const PUBLIC_KEY_CHARS: usize = (SPKI_HEAD.len() + KEY_BYTES).div_ceil(3) * 4;

/// Which end of the connection we are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    /// Opened the connection, and speaks first in the handshake.
    Joiner,
    /// Answers.
    Exposer,
}

/// One end's key pair: for one connection, used once.
pub(crate) struct Offer(StaticSecret);

/// Encrypts one direction.
pub(crate) struct Sealer(Direction);

/// Decrypts the other direction.
pub(crate) struct Opener(Direction);

/// One direction's key and the number of its next packet.
struct Direction {
    /// Half a kilobyte, which is not moved about.
    key: Box<LessSafeKey>,
    counter: u64,
}

/// What the two ends say to each other before the first packet: JSON text in the event `e2e_handshake`.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub(crate) enum Handshake {
    /// The joiner's first word.
    Init {
        /// Base64 of the DER form.
        pubkey: String,
        /// That the joiner knows the code's secret.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        proof: Option<String>,
    },
    /// The exposer's answer, after which it encrypts.
    Accept {
        /// Base64 of the DER form.
        pubkey: String,
        /// When the share ends: hubs that know whole hours only cannot tell.
        #[serde(rename = "endsAt", default, skip_serializing_if = "Option::is_none")]
        ends_at: Option<Timestamp>,
        /// That the exposer knows the secret that the joiner has proven to know.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        proof: Option<String>,
    },
    /// The exposer's answer to whom it will not have; it then closes the connection.
    Refuse {
        /// Why.
        reason: Refused,
    },
}

/// Why an exposer will not have a joiner.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Refused {
    /// It proves nothing, and must.
    Unverified,
    /// What it proves to know is no secret of a code that leads here.
    Mismatch,
    /// For another reason.
    #[serde(other)]
    Other,
}

/// Why a connection cannot be encrypted, or cannot go on.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub(crate) enum E2eError {
    /// The payload of a handshake is not one.
    #[error("the other end's handshake cannot be read")]
    Handshake,
    /// The public key is none, or one that gives a secret everybody knows.
    #[error("the other end's public key is not usable")]
    PublicKey,
    /// The packet is not the next one of its direction.
    #[error("an encrypted packet is missing, repeated or out of order")]
    OutOfOrder,
    /// The packet was changed on the way, or made with another key.
    #[error("an encrypted packet was changed on the way")]
    Tampered,
    /// The other end encrypts, and does not show that it knows the secret.
    #[error(
        "the other end does not say that it knows this code's secret: it is older than the code, or the hub took the words away"
    )]
    Unbound,
    /// The other end shows that it does not know the secret.
    #[error("the other end does not know this code's secret: wrong code, or the hub replaced the keys")]
    Mismatch,
    /// The joiner has no secret, and the share wants one.
    #[error("this share takes the full code only, with the part behind the +")]
    Unverified,
}

// === impl Offer ===

impl Offer {
    pub(crate) fn generate() -> Self {
        let mut secret = [0; KEY_BYTES];
        getrandom::fill(&mut secret).expect("the system has a source of randomness");
        Self(StaticSecret::from(secret))
    }

    /// The public half in base64 of its DER form.
    pub(crate) fn public_key(&self) -> String {
        let public = PublicKey::from(&self.0);
        STANDARD.encode([SPKI_HEAD.as_slice(), public.as_bytes()].concat())
    }

    /// The two directions of the connection, as seen by `side`.
    pub(crate) fn agree(
        self,
        peer_public_key: &str,
        connection_id: &str,
        side: Side,
    ) -> Result<(Sealer, Opener), E2eError> {
        let shared = self.shared(&public_key(peer_public_key)?)?;
        let keys = keys(&shared, connection_id);
        let (to_exposer, to_joiner) = keys.split_at(KEY_BYTES);
        Ok(directions(to_exposer, to_joiner, side))
    }

    /// What both ends have in common, and nobody else.
    fn shared(&self, peer: &PublicKey) -> Result<[u8; KEY_BYTES], E2eError> {
        let shared = self.0.diffie_hellman(peer);
        shared.was_contributory().then(|| shared.to_bytes()).ok_or(E2eError::PublicKey)
    }
}

/// The two directions as seen by `side`.
fn directions(to_exposer: &[u8], to_joiner: &[u8], side: Side) -> (Sealer, Opener) {
    let (ours, theirs) = match side {
        Side::Joiner => (to_exposer, to_joiner),
        Side::Exposer => (to_joiner, to_exposer),
    };
    (Sealer(Direction::new(ours)), Opener(Direction::new(theirs)))
}

fn public_key(text: &str) -> Result<PublicKey, E2eError> {
    if text.len() != PUBLIC_KEY_CHARS {
        return Err(E2eError::PublicKey);
    }
    let der = STANDARD.decode(text).map_err(|_| E2eError::PublicKey)?;
    let key = der.strip_prefix(&SPKI_HEAD).ok_or(E2eError::PublicKey)?;
    <[u8; KEY_BYTES]>::try_from(key).map(PublicKey::from).map_err(|_| E2eError::PublicKey)
}

/// Both keys: first joiner to exposer, then exposer to joiner.
fn keys(shared: &[u8; KEY_BYTES], connection_id: &str) -> [u8; 2 * KEY_BYTES] {
    struct BothKeys;
    impl hkdf::KeyType for BothKeys {
        fn len(&self) -> usize {
            2 * KEY_BYTES
        }
    }
    let salt = digest::digest(&digest::SHA256, connection_id.as_bytes());
    let mut keys = [0; 2 * KEY_BYTES];
    hkdf::Salt::new(hkdf::HKDF_SHA256, salt.as_ref())
        .extract(shared)
        .expand(&[PURPOSE], BothKeys)
        .and_then(|okm| okm.fill(&mut keys))
        .expect("64 bytes are far less than HKDF can give, and are what is asked for");
    keys
}

// === impl Sealer ===

impl Sealer {
    /// Encrypts in place. The plain text is in the middle of `packet`: before it room for the nonce, behind it for the
    /// tag, together [`OVERHEAD_BYTES`].
    ///
    /// # Panics
    ///
    /// When `packet` has no such room.
    pub(crate) fn seal(&mut self, packet: &mut [u8]) {
        let Self(direction) = self;
        let (nonce, rest) = packet.split_at_mut(NONCE_LEN);
        let (text, tag) = rest.split_at_mut(rest.len() - TAG_BYTES);
        nonce.copy_from_slice(&direction.nonce());
        let sealed = direction
            .key
            .seal_in_place_separate_tag(Nonce::assume_unique_for_key(direction.nonce()), Aad::empty(), text)
            .expect("a chunk is far shorter than AES-GCM can take");
        tag.copy_from_slice(sealed.as_ref());
        direction.advance();
    }
}

// === impl Opener ===

impl Opener {
    /// Decrypts in place and gives the plain text. After an error the connection cannot go on.
    pub(crate) fn open<'a>(&mut self, packet: &'a mut [u8]) -> Result<&'a mut [u8], E2eError> {
        let Self(direction) = self;
        let expected = direction.nonce();
        let (nonce, sealed) = packet.split_at_mut_checked(NONCE_LEN).ok_or(E2eError::Tampered)?;
        if *nonce != expected {
            return Err(E2eError::OutOfOrder);
        }
        let text = direction
            .key
            .open_in_place(Nonce::assume_unique_for_key(expected), Aad::empty(), sealed)
            .map_err(|_| E2eError::Tampered)?;
        direction.advance();
        Ok(text)
    }
}

// === impl Direction ===

impl Direction {
    fn new(key: &[u8]) -> Self {
        let key = UnboundKey::new(&AES_256_GCM, key).expect("an AES-256 key is 32 bytes");
        Self { key: Box::new(LessSafeKey::new(key)), counter: 0 }
    }

    fn nonce(&self) -> [u8; NONCE_LEN] {
        let mut nonce = [0; NONCE_LEN];
        nonce[NONCE_LEN - size_of::<u64>()..].copy_from_slice(&self.counter.to_be_bytes());
        nonce
    }

    fn advance(&mut self) {
        self.counter = self.counter.checked_add(1).expect("nobody sends 2^64 packets");
    }
}

// === impl Handshake ===

impl Handshake {
    /// Reads the payload of a handshake event.
    pub(crate) fn read(payload: &str) -> Result<Self, E2eError> {
        serde_json::from_str(payload).map_err(|_| E2eError::Handshake)
    }

    /// The payload of a handshake event.
    pub(crate) fn to_payload(&self) -> String {
        serde_json::to_string(self).expect("strings and a time are always JSON")
    }
}

impl fmt::Debug for Offer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Offer")
    }
}

impl fmt::Debug for Sealer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sealer")
    }
}

impl fmt::Debug for Opener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Opener")
    }
}

#[cfg(test)]
mod tests;
