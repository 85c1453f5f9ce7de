//! Who an agent is to a hub: an id that anyone may see and a token that nobody may.

use std::fmt::Write as _;

use secrecy::SecretString;
use uuid::Uuid;

/// Bytes of randomness in a token; printed as 64 hex digits, the length the hub's own agents use.
const TOKEN_BYTES: usize = 32;

/// An agent's credentials. `Debug` does not show the token.
#[derive(Clone, Debug)]
pub struct Identity {
    /// The agent's id at the hub.
    pub agent_id: Uuid,
    /// Proves that a socket is this agent's.
    pub token: SecretString,
}

impl Identity {
    /// A new random identity.
    ///
    /// # Panics
    /// When the system has no source of randomness: no secret can be made then.
    pub fn generate() -> Self {
        let mut bytes = [0u8; TOKEN_BYTES];
        getrandom::fill(&mut bytes).expect("a system without randomness cannot make secrets");
        let mut token = String::with_capacity(2 * TOKEN_BYTES);
        for byte in bytes {
            let _ = write!(token, "{byte:02x}"); // writing to a String cannot fail
        }
        Self { agent_id: Uuid::new_v4(), token: token.into() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use secrecy::ExposeSecret;

    #[test]
    fn a_generated_identity_is_new_and_hides_its_token() {
        let (one, two) = (Identity::generate(), Identity::generate());
        assert_ne!(one.agent_id, two.agent_id);
        assert_ne!(one.token.expose_secret(), two.token.expose_secret());
        assert_eq!(one.token.expose_secret().len(), 64);
        assert!(!format!("{one:?}").contains(one.token.expose_secret()));
    }
}
