//! What must not be guessed or seen: API keys, agents' tokens, share codes. Made here, hashed here, compared here.
//!
//! Keys and tokens carry 192 and 256 random bits, so an unsalted SHA-256 is as good as any slow hash; only the hash is
//! stored. A code is typed by people and told to its owner again, so it is stored as it is.

use std::fmt;

use connect_frames::letters::{self, ALPHABET};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

/// 31^10 codes are 49.5 bits: with the attempt limits out of reach, and still said over a telephone.
const CODE_LENGTH: usize = 10;
/// What an API key begins with.
const KEY_PREFIX: &str = "pc_";
/// Random bytes of an API key.
const KEY_BYTES: usize = 24;
/// Random bytes of an agent's token.
const TOKEN_BYTES: usize = 32;
/// The shortest key that may be imported: shorter ones could be guessed.
const IMPORTED_KEY_LENGTH: usize = 16;
/// The longest key that may be imported; a header has its limits.
const IMPORTED_KEY_LIMIT: usize = 256;

/// A share's code. Debug does not show it.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct ShareCode(String);

/// The SHA-256 of a key or token, in hex.
#[derive(Clone, PartialEq, Eq)]
pub struct SecretHash(String);

/// What opens the data connections of one socket. Lives in memory only; Debug does not show it.
#[derive(Clone)]
pub struct Ticket(String);

/// The operating system gave no random bytes.
#[derive(Debug, thiserror::Error)]
#[error("asking the operating system for random bytes: {0}")]
pub struct NoRandomness(getrandom::Error);

// === impl Ticket ===

impl Ticket {
    pub fn generate() -> Result<Self, NoRandomness> {
        Ok(Self(hex(&random::<TOKEN_BYTES>()?)))
    }

    /// For the agent alone.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether `text` is the ticket, in a time that does not tell how much of it is.
    pub fn matches(&self, text: &str) -> bool {
        bool::from(self.0.as_bytes().ct_eq(text.as_bytes()))
    }
}

impl fmt::Debug for Ticket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Ticket")
    }
}

// === impl ShareCode ===

impl ShareCode {
    /// A new code, every one equally likely.
    pub fn generate() -> Result<Self, NoRandomness> {
        let mut code = String::with_capacity(CODE_LENGTH);
        while code.len() < CODE_LENGTH {
            let left = CODE_LENGTH - code.len();
            code.extend(letters::fair(random::<{ CODE_LENGTH * 2 }>()?).take(left));
        }
        Ok(Self(code))
    }

    /// What somebody typed, in any case. `None` when no code can look like that.
    pub fn parse(text: &str) -> Option<Self> {
        let code = text.trim().to_ascii_lowercase();
        let possible = code.len() == CODE_LENGTH && code.bytes().all(|byte| ALPHABET.contains(&byte));
        possible.then_some(Self(code))
    }

    /// A code as the database holds it.
    pub fn stored(code: String) -> Self {
        Self(code)
    }

    /// The code in clear: for the database and for those who may have it.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for ShareCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ShareCode(..)")
    }
}

// === impl SecretHash ===

impl SecretHash {
    pub fn of(secret: &str) -> Self {
        Self(hex(&Sha256::digest(secret.as_bytes())))
    }

    /// A hash as the database holds it.
    pub fn stored(hash: String) -> Self {
        Self(hash)
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether `secret` has this hash, in a time that does not depend on where they differ.
    pub fn matches(&self, secret: &str) -> bool {
        self.0.as_bytes().ct_eq(Self::of(secret).0.as_bytes()).into()
    }
}

impl fmt::Debug for SecretHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretHash(..)")
    }
}

/// A new API key: `pc_` and 48 hex digits.
pub fn generate_key() -> Result<String, NoRandomness> {
    Ok(format!("{KEY_PREFIX}{}", hex(&random::<KEY_BYTES>()?)))
}

/// A new agent's token: 64 hex digits.
pub fn generate_token() -> Result<String, NoRandomness> {
    Ok(hex(&random::<TOKEN_BYTES>()?))
}

/// Whether `key` may be imported as an API key: long enough not to be guessed, and fit for a header.
pub fn is_importable_key(key: &str) -> bool {
    (IMPORTED_KEY_LENGTH..=IMPORTED_KEY_LIMIT).contains(&key.len())
        && key.bytes().all(|b| b.is_ascii_graphic())
}

fn random<const N: usize>() -> Result<[u8; N], NoRandomness> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(NoRandomness)?;
    Ok(bytes)
}

fn hex(bytes: &[u8]) -> String {
    use fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}"); // writing to a String cannot fail
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_use_the_whole_alphabet_evenly() {
        let mut counts = [0_u32; 31];
        for _ in 0..3_100 {
            let code = ShareCode::generate().expect("random bytes");
            assert_eq!(ShareCode::parse(code.reveal()).as_ref(), Some(&code));
            for byte in code.reveal().bytes() {
                counts[ALPHABET.iter().position(|letter| *letter == byte).expect("of the alphabet")] += 1;
            }
        }
        // 31,000 letters: 1,000 of each, standard deviation 31; a modulo of a byte would give a..h 1,090.
        let (favoured, rest) = counts.split_at(8);
        let mean = |part: &[u32]| f64::from(part.iter().sum::<u32>()) / part.len() as f64;
        assert!((mean(favoured) - mean(rest)).abs() < 65.0, "{counts:?}");
        assert!(counts.iter().all(|count| (800..1200).contains(count)), "{counts:?}");
    }

    #[test]
    fn a_typed_code_may_be_in_any_case_but_must_be_possible() {
        assert_eq!(ShareCode::parse(" ABCDEFGH23 ").expect("possible").reveal(), "abcdefgh23");
        for impossible in
            ["", "abc", "abcdefgh2", "abcdefgh234", "abcdefghi2", "abcdefgh20", "ab/cdefgh2", "äbcdefgh2"]
        {
            assert_eq!(ShareCode::parse(impossible), None, "{impossible}");
        }
    }

    #[test]
    fn nothing_shows_in_debug() {
        let code = ShareCode::generate().expect("random bytes");
        assert!(!format!("{code:?}").contains(code.reveal()));
        let hash = SecretHash::of("token");
        assert!(!format!("{hash:?}").contains(hash.as_str()));
    }

    #[test]
    fn a_hash_knows_its_secret() {
        let key = generate_key().expect("random bytes");
        assert_eq!(key.len(), 51);
        assert!(
            is_importable_key(&key)
                && !is_importable_key("pc_short")
                && !is_importable_key("with a space in it")
        );
        let hash = SecretHash::of(&key);
        assert!(hash.matches(&key) && !hash.matches("pc_other"));
        assert_eq!(hash.as_str().len(), 64);
    }
}
