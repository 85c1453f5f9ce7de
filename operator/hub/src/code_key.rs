//! The half of a share code that no hub sees, and the keys that come of it.
//!
//! A full code is `<handle>+<secret>`: the handle is the hub's own code, the secret is drawn by whoever makes the share.
//! Both ends derive the same keys of it, which bind every connection of the share: see decision 0026.

use std::fmt;

use connect_frames::letters::{self, ALPHABET};
use ring::{hkdf, hmac};
use secrecy::{ExposeSecret, SecretString};

/// Characters of a secret: 31^16 are 79 bits, so that nobody tries them all, and nothing slow need be done with them.
const SECRET_CHARS: usize = 16;

/// What the keys are derived for; both ends must say the same.
const PURPOSE: &[u8] = b"pc-code-v1";

/// An HMAC key and what is mixed into a key agreement are each this long, in bytes.
const KEY_BYTES: usize = 32;

/// What both ends of a share's connections know and its hub does not.
#[derive(Clone, PartialEq, Eq)]
pub struct CodeKey {
    /// Proves that the secret is known.
    proving: [u8; KEY_BYTES],
    /// Goes into the keys of every connection.
    mixed: [u8; KEY_BYTES],
}

/// What is asked of whoever connects to a share.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verification {
    /// The keys of the codes that lead here; none while no code has a secret.
    pub keys: Vec<CodeKey>,
    /// Whether who knows none of the secrets is refused.
    pub required: bool,
}

/// Both keys at once.
struct BothKeys;

impl hkdf::KeyType for BothKeys {
    fn len(&self) -> usize {
        2 * KEY_BYTES
    }
}

// === impl CodeKey ===

impl CodeKey {
    /// The keys of a share: of its secret, bound to its handle. Capitals count as small letters, as in codes.
    pub fn new(handle: &str, secret: &SecretString) -> Self {
        let (handle, secret) = (handle.to_ascii_lowercase(), secret.expose_secret().to_ascii_lowercase());
        let mut keys = [0; 2 * KEY_BYTES];
        hkdf::Salt::new(hkdf::HKDF_SHA256, PURPOSE)
            .extract(secret.as_bytes())
            .expand(&[handle.as_bytes()], BothKeys)
            .and_then(|okm| okm.fill(&mut keys))
            .expect("64 bytes are far less than HKDF can give, and are what is asked for");
        let (proving, mixed) = keys.split_at(KEY_BYTES);
        let part = |part: &[u8]| part.try_into().expect("half of the keys");
        Self { proving: part(proving), mixed: part(mixed) }
    }

    pub(crate) fn proving(&self) -> hmac::Key {
        hmac::Key::new(hmac::HMAC_SHA256, &self.proving)
    }

    pub(crate) fn mixed(&self) -> &[u8; KEY_BYTES] {
        &self.mixed
    }
}

impl fmt::Debug for CodeKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CodeKey")
    }
}

/// A new secret, every one equally likely.
///
/// # Panics
/// When the system has no source of randomness.
pub fn draw_secret() -> SecretString {
    let mut secret = String::with_capacity(SECRET_CHARS);
    while secret.len() < SECRET_CHARS {
        let mut bytes = [0; 2 * SECRET_CHARS];
        getrandom::fill(&mut bytes).expect("the system has a source of randomness");
        let left = SECRET_CHARS - secret.len();
        secret.extend(letters::fair(bytes).take(left));
    }
    SecretString::from(secret)
}

/// Whether a text without blanks and dashes, in small letters, is as long as a secret and of its letters.
pub fn is_secret(text: &str) -> bool {
    text.len() == SECRET_CHARS && text.bytes().all(|byte| ALPHABET.contains(&byte))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn the_keys_are_those_of_the_vector() {
        let key = CodeKey::new("k7mwx2pq9d", &"abcdefghjkmnpqrs".into());
        assert_eq!(key, CodeKey::new("K7MWX2PQ9D", &"ABCDEFGHJKMNPQRS".into()));
        let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        assert_eq!(hex(&key.proving), "1740b26c5691fb05ea3d3eaa1cb02de29b6930a24ce5864a10e0b5a4769b308c");
        assert_eq!(hex(&key.mixed), "ede07e62ec2b2bc24b235fadf23ef354c0bf40649736bc93cd12021be348c622");
    }

    #[test]
    fn another_handle_or_secret_gives_other_keys() {
        let key = |handle: &str, secret: &str| CodeKey::new(handle, &secret.into());
        let one = key("k7mwx2pq9d", "abcdefghjkmnpqrs");
        for other in [key("k7mwx2pq9e", "abcdefghjkmnpqrs"), key("k7mwx2pq9d", "abcdefghjkmnpqrt")] {
            assert!(one.proving != other.proving && one.mixed != other.mixed);
        }
        assert_eq!(format!("{one:?}"), "CodeKey");
    }

    #[test]
    fn secrets_are_whole_differ_and_use_every_letter() {
        let secrets: BTreeSet<String> = (0..200).map(|_| draw_secret().expose_secret().to_owned()).collect();
        assert_eq!(secrets.len(), 200);
        assert!(secrets.iter().all(|secret| is_secret(secret)));
        let letters: BTreeSet<u8> = secrets.iter().flat_map(|secret| secret.bytes()).collect();
        assert_eq!(letters.len(), ALPHABET.len());
        assert!(!is_secret("abcdefghjkmnpqr") && !is_secret("abcdefghjkmnpqr0"));
    }
}
