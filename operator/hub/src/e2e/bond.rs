//! Binds a connection's keys to what both ends know of the share's code and its hub does not.
//!
//! The shape of Noise's `NNpsk0` in the two messages that there are anyway. The joiner proves with its first word that it
//! knows the secret, the exposer with its answer; what one of them proves holds for this connection, this service and these
//! public keys. Each connection still has an X25519 agreement of its own, so that a secret found later opens nothing.
//!
//! ```text
//! joiner's proof    HMAC(K.proving, "pc-e2e-v2 init" | SHA-256(connection id) | service id | joiner's public key)
//! keys and C        HKDF(ikm: X25519 | K.mixed, salt: SHA-256(connection id),
//!                        info: "pc-e2e-v2" | service id | joiner's public key | exposer's public key)
//! exposer's proof   HMAC(C, "pc-e2e-v2 accept")
//! ```

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::{digest, hkdf, hmac};
use uuid::Uuid;
use x25519_dalek::PublicKey;

use super::{E2eError, KEY_BYTES, Offer, Opener, Refused, Sealer, Side, directions, public_key};
use crate::code_key::{CodeKey, Verification};

/// What the joiner proves.
const INIT: &[u8] = b"pc-e2e-v2 init";

/// What the keys are for.
const PURPOSE: &[u8] = b"pc-e2e-v2";

/// What the exposer proves.
const ACCEPT: &[u8] = b"pc-e2e-v2 accept";

/// What a connection of a code with a secret is bound to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bond<'a> {
    pub(crate) key: &'a CodeKey,
    /// The hub's id of the service that is asked for.
    pub(crate) service_id: Uuid,
    pub(crate) connection_id: &'a str,
}

/// What an exposer answers to whom it will have.
pub(crate) struct Answer {
    pub(crate) keys: (Sealer, Opener),
    pub(crate) public_key: String,
    /// Only for a joiner that has proven to know a secret.
    pub(crate) proof: Option<String>,
}

/// Both directions' keys, and the one by which the exposer proves that it has them.
struct Keys {
    to_exposer: [u8; KEY_BYTES],
    to_joiner: [u8; KEY_BYTES],
    accepting: hmac::Key,
}

struct ThreeKeys;

impl hkdf::KeyType for ThreeKeys {
    fn len(&self) -> usize {
        3 * KEY_BYTES
    }
}

// === impl Bond ===

impl Bond<'_> {
    /// What the joiner says beside its public key.
    pub(crate) fn joiner_proof(&self, offer: &Offer) -> String {
        let said = self.said_by_joiner(&PublicKey::from(&offer.0));
        STANDARD.encode(hmac::sign(&self.key.proving(), &said))
    }

    /// The joiner's last step: the keys, if the exposer knows the secret.
    pub(crate) fn conclude(
        &self,
        offer: &Offer,
        peer_public_key: &str,
        peer_proof: Option<&str>,
    ) -> Result<(Sealer, Opener), E2eError> {
        let (joiner, exposer) = (PublicKey::from(&offer.0), public_key(peer_public_key)?);
        let Keys { to_exposer, to_joiner, accepting } =
            self.keys(&offer.shared(&exposer)?, &joiner, &exposer);
        let proof = STANDARD.decode(peer_proof.ok_or(E2eError::Unbound)?).map_err(|_| E2eError::Mismatch)?;
        hmac::verify(&accepting, ACCEPT, &proof).map_err(|_| E2eError::Mismatch)?;
        Ok(directions(&to_exposer, &to_joiner, Side::Joiner))
    }

    fn is_proven_by(&self, joiner: &PublicKey, proof: &[u8]) -> bool {
        hmac::verify(&self.key.proving(), &self.said_by_joiner(joiner), proof).is_ok()
    }

    fn said_by_joiner(&self, joiner: &PublicKey) -> Vec<u8> {
        let connection = digest::digest(&digest::SHA256, self.connection_id.as_bytes());
        [INIT, connection.as_ref(), self.service_id.as_bytes(), joiner.as_bytes()].concat()
    }

    fn keys(&self, shared: &[u8; KEY_BYTES], joiner: &PublicKey, exposer: &PublicKey) -> Keys {
        let salt = digest::digest(&digest::SHA256, self.connection_id.as_bytes());
        let info = [PURPOSE, self.service_id.as_bytes(), joiner.as_bytes(), exposer.as_bytes()];
        let mut keys = [0; 3 * KEY_BYTES];
        hkdf::Salt::new(hkdf::HKDF_SHA256, salt.as_ref())
            .extract(&[shared.as_slice(), self.key.mixed()].concat())
            .expand(&info, ThreeKeys)
            .and_then(|okm| okm.fill(&mut keys))
            .expect("96 bytes are far less than HKDF can give, and are what is asked for");
        let part = |number: usize| -> [u8; KEY_BYTES] {
            keys[number * KEY_BYTES..][..KEY_BYTES].try_into().expect("a third of the keys")
        };
        Keys {
            to_exposer: part(0),
            to_joiner: part(1),
            accepting: hmac::Key::new(hmac::HMAC_SHA256, &part(2)),
        }
    }
}

// === impl Answer ===

impl Answer {
    /// The exposer's part: whom it takes, and with which keys. What a joiner is refused for is
    /// [`E2eError::Unverified`] or [`E2eError::Mismatch`].
    pub(crate) fn to(
        verification: &Verification,
        (service_id, connection_id): (Uuid, &str),
        peer_public_key: &str,
        peer_proof: Option<&str>,
    ) -> Result<Self, E2eError> {
        let offer = Offer::generate();
        let ours = offer.public_key();
        let Some(proof) = peer_proof else {
            if verification.required {
                return Err(E2eError::Unverified);
            }
            let keys = offer.agree(peer_public_key, connection_id, Side::Exposer)?;
            return Ok(Self { keys, public_key: ours, proof: None });
        };
        let joiner = public_key(peer_public_key)?;
        let proof = STANDARD.decode(proof).map_err(|_| E2eError::Mismatch)?;
        let bonds = verification.keys.iter().map(|key| Bond { key, service_id, connection_id });
        let bond = bonds.into_iter().find(|bond| bond.is_proven_by(&joiner, &proof));
        let bond = bond.ok_or(E2eError::Mismatch)?;
        let exposer = PublicKey::from(&offer.0);
        let Keys { to_exposer, to_joiner, accepting } = bond.keys(&offer.shared(&joiner)?, &joiner, &exposer);
        let proof = STANDARD.encode(hmac::sign(&accepting, ACCEPT));
        let keys = directions(&to_exposer, &to_joiner, Side::Exposer);
        Ok(Self { keys, public_key: ours, proof: Some(proof) })
    }
}

// === impl Refused ===

impl Refused {
    /// What is said to a joiner that is not taken for this reason; `None` for an error that is no such reason.
    pub(crate) fn of(error: E2eError) -> Option<Self> {
        match error {
            E2eError::Unverified => Some(Self::Unverified),
            E2eError::Mismatch => Some(Self::Mismatch),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use x25519_dalek::StaticSecret;

    use super::*;
    use crate::e2e::tests::{
        CONNECTION_ID, EXPOSER_PRIVATE, EXPOSER_PUBLIC, JOINER_PRIVATE, JOINER_PUBLIC, hex, sealed,
    };

    const HANDLE: &str = "k7mwx2pq9d";
    const SECRET: &str = "abcdefghjkmnpqrs";
    const SERVICE_ID: Uuid = Uuid::from_u128(0x9999_9999_aaaa_4bbb_8ccc_dddd_dddd_dddd);
    const JOINER_PROOF: &str = "Nt4DBlgDNtIBBSpjxebOJXR6hhovPiN4spnqh/xXAMI=";
    const EXPOSER_PROOF: &str = "Z7Vcu3EbrHriZb0o+YtM5EbQeVeERPXBK2achiAAkvc=";
    const KEY_TO_EXPOSER: &str = "ad3128ba2ec87b9393353cf66bcf71dca33d683563001a859bef018cb975ff28";
    const KEY_TO_JOINER: &str = "1a94c6962ff673d98f08bf33057a58f337b4e27678b6ec8ec6b8c50816be4c61";

    fn key(secret: &str) -> CodeKey {
        CodeKey::new(HANDLE, &secret.into())
    }

    fn verification(secrets: &[&str], required: bool) -> Verification {
        Verification { keys: secrets.iter().map(|secret| key(secret)).collect(), required }
    }

    fn offer(private: &str) -> Offer {
        Offer(StaticSecret::from(hex(private)))
    }

    #[test]
    fn proofs_and_keys_are_those_of_the_vector() {
        let key = key(SECRET);
        let bond = Bond { key: &key, service_id: SERVICE_ID, connection_id: CONNECTION_ID };
        assert_eq!(bond.joiner_proof(&offer(JOINER_PRIVATE)), JOINER_PROOF);
        let (joiner, exposer) = (public_key(JOINER_PUBLIC), public_key(EXPOSER_PUBLIC));
        let (joiner, exposer) = (joiner.expect("a key"), exposer.expect("a key"));
        let shared = offer(EXPOSER_PRIVATE).shared(&joiner).expect("contributory");
        let keys = bond.keys(&shared, &joiner, &exposer);
        assert_eq!((keys.to_exposer, keys.to_joiner), (hex(KEY_TO_EXPOSER), hex(KEY_TO_JOINER)));
        assert_eq!(STANDARD.encode(hmac::sign(&keys.accepting, ACCEPT)), EXPOSER_PROOF);
        let concluded = bond.conclude(&offer(JOINER_PRIVATE), EXPOSER_PUBLIC, Some(EXPOSER_PROOF));
        assert!(concluded.is_ok());
    }

    #[test]
    fn ends_that_know_the_secret_agree_whatever_other_codes_lead_there() {
        let (key, joiner) = (key(SECRET), Offer::generate());
        let bond = Bond { key: &key, service_id: SERVICE_ID, connection_id: CONNECTION_ID };
        let proof = bond.joiner_proof(&joiner);
        for secrets in [vec![SECRET], vec!["another1another1", SECRET, "athirdz2athirdz2"]] {
            let answer = Answer::to(
                &verification(&secrets, true),
                (SERVICE_ID, CONNECTION_ID),
                &joiner.public_key(),
                Some(&proof),
            );
            let Answer { keys: (mut seals, _), public_key, proof } = answer.expect("taken");
            let (_, mut opens) = bond.conclude(&joiner, &public_key, proof.as_deref()).expect("proven");
            assert_eq!(opens.open(&mut sealed(&mut seals, b"hello")), Ok(b"hello".to_vec().as_mut_slice()));
        }
    }

    #[test]
    fn whatever_a_hub_changes_is_found_out_by_the_end_that_it_is_told_to() {
        let key = key(SECRET);
        let (joiner, hub) = (Offer::generate(), Offer::generate());
        let bond = Bond { key: &key, service_id: SERVICE_ID, connection_id: CONNECTION_ID };
        let proof = bond.joiner_proof(&joiner);
        let others = Uuid::from_u128(1);
        for (service_id, connection_id, public_key, proof, error) in [
            (SERVICE_ID, CONNECTION_ID, hub.public_key(), Some(proof.as_str()), E2eError::Mismatch),
            (others, CONNECTION_ID, joiner.public_key(), Some(&proof), E2eError::Mismatch),
            (SERVICE_ID, "another", joiner.public_key(), Some(&proof), E2eError::Mismatch),
            (SERVICE_ID, CONNECTION_ID, joiner.public_key(), Some("no base64"), E2eError::Mismatch),
            (SERVICE_ID, CONNECTION_ID, joiner.public_key(), Some("AAAA"), E2eError::Mismatch),
            (SERVICE_ID, CONNECTION_ID, joiner.public_key(), None, E2eError::Unverified),
        ] {
            let answer =
                Answer::to(&verification(&[SECRET], true), (service_id, connection_id), &public_key, proof);
            assert_eq!(answer.map(|_| ()), Err(error));
        }
        // And on the way back.
        let taken = Answer::to(
            &verification(&[SECRET], true),
            (SERVICE_ID, CONNECTION_ID),
            &joiner.public_key(),
            Some(&proof),
        );
        let Answer { public_key, proof, .. } = taken.expect("taken");
        for (public_key, proof, error) in [
            (&hub.public_key(), proof.as_deref(), E2eError::Mismatch),
            (&public_key, Some("AAAA"), E2eError::Mismatch),
            (&public_key, None, E2eError::Unbound),
        ] {
            assert_eq!(bond.conclude(&joiner, public_key, proof).map(|_| ()), Err(error));
        }
    }

    #[test]
    fn another_secret_is_a_mismatch_and_none_is_taken_only_where_it_may_be() {
        let joiner = Offer::generate();
        let wrong = key("srqpnmkjhgfedcba");
        let bond = Bond { key: &wrong, service_id: SERVICE_ID, connection_id: CONNECTION_ID };
        let proof = bond.joiner_proof(&joiner);
        for (secrets, required, proof, expected) in [
            (vec![SECRET], true, Some(proof.as_str()), Err(E2eError::Mismatch)),
            (vec![SECRET], false, Some(proof.as_str()), Err(E2eError::Mismatch)),
            (vec![], false, Some(proof.as_str()), Err(E2eError::Mismatch)),
            (vec![SECRET], false, None, Ok(())),
            (vec![], false, None, Ok(())),
            (vec![], true, None, Err(E2eError::Unverified)),
        ] {
            let answer = Answer::to(
                &verification(&secrets, required),
                (SERVICE_ID, CONNECTION_ID),
                &joiner.public_key(),
                proof,
            );
            assert_eq!(answer.map(|_| ()), expected, "{secrets:?} {required} {proof:?}");
        }
    }
}
