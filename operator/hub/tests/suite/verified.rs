//! Codes with a part that no hub is told: what a hub that takes an active part can do with one, and without.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use connect_hub::code_key::{CodeKey, Verification};
use connect_hub::join::{Join, JoinConfig, JoinEvent, Timing, Transport};
use connect_hub::tunnel::{RefusedDial, ShareKey};
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use ring::{digest, hkdf};
use serde_json::{Value, json};
use x25519_dalek::{PublicKey, StaticSecret};

use crate::encryption::{Middle, SHARE, data, decoded};
use crate::support::lab::{Hub, Lab, dial, dial_echo, on_every_hub};
use crate::support::node::NodeHub;
use crate::support::services::{echo, exchange, reset};
use crate::support::{event, eventually, within};

const HANDLE: &str = "k7mwx2pq9d";
const SECRET: &str = "abcdefghjkmnpqrs";
const OTHER_SECRET: &str = "srqpnmkjhgfedcba";

/// What a joiner says when the other end does not know the secret, and when it does not say that it does.
const DOES_NOT_KNOW: &str =
    "the other end does not know this code's secret: wrong code, or the hub replaced the keys";
const DOES_NOT_SAY: &str = "the other end does not say that it knows this code's secret";

fn key(secret: &str) -> CodeKey {
    CodeKey::new(HANDLE, &secret.into())
}

fn verified() -> Verification {
    Verification { keys: vec![key(SECRET)], required: true }
}

/// A key pair of the hub's own.
struct OwnKeys(StaticSecret);

impl OwnKeys {
    fn new(byte: u8) -> Self {
        Self(StaticSecret::from([byte; 32]))
    }

    fn public(&self) -> String {
        let head = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x6e, 0x03, 0x21, 0x00];
        STANDARD.encode([head.as_slice(), PublicKey::from(&self.0).as_bytes()].concat())
    }

    /// What `packet` says, the first from the joiner with this public key: as `PROTOCOL.md` has it for keys without a secret.
    fn open(&self, joiner: &str, connection_id: &str, packet: &[u8]) -> Option<Vec<u8>> {
        struct BothKeys;
        impl hkdf::KeyType for BothKeys {
            fn len(&self) -> usize {
                64
            }
        }
        let joiner: [u8; 32] = STANDARD.decode(joiner).ok()?.get(12..)?.try_into().ok()?;
        let shared = self.0.diffie_hellman(&PublicKey::from(joiner));
        let salt = digest::digest(&digest::SHA256, connection_id.as_bytes());
        let mut keys = [0; 64];
        let prk = hkdf::Salt::new(hkdf::HKDF_SHA256, salt.as_ref()).extract(shared.as_bytes());
        prk.expand(&[b"pc-e2e-v1"], BothKeys).ok()?.fill(&mut keys).ok()?;
        let key = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &keys[..32]).ok()?);
        let (nonce, sealed) = packet.split_at_checked(12)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let mut sealed = sealed.to_vec();
        Some(key.open_in_place(nonce, Aad::empty(), &mut sealed).ok()?.to_vec())
    }
}

/// The words of a handshake event.
fn said(event: &Value) -> Value {
    serde_json::from_str(event["payload"].as_str().expect("text")).expect("JSON")
}

/// The same event with other words.
fn with(event: &Value, change: impl FnOnce(&mut Value)) -> Value {
    let mut words = said(event);
    change(&mut words);
    json!({"connectionId": event["connectionId"], "payload": words.to_string()})
}

async fn handshake(agent: &mut crate::support::raw::RawAgent) -> Value {
    let (name, event) = agent.event().await;
    assert_eq!(name, "e2e_handshake", "{event}");
    event
}

/// Why the next connection of a join failed.
async fn failure(join: &mut Join) -> String {
    let failed = event(join, "a failure", |event| matches!(event, JoinEvent::RouteFailed { .. })).await;
    let JoinEvent::RouteFailed { reason, .. } = failed else { unreachable!("waited for") };
    reason
}

#[tokio::test]
async fn a_hub_that_replaces_both_keys_reads_along_without_a_secret() {
    let mut middle = Middle::start_with(None, Verification::default()).await;
    let (to_exposer, to_joiner) = (OwnKeys::new(1), OwnKeys::new(2));
    let mut connection = middle.open(Some(true)).await;
    let init = handshake(&mut middle.joiner).await;
    let replaced = with(&init, |words| words["pubkey"] = to_exposer.public().into());
    middle.exposer.emit("e2e_handshake", &replaced).await;
    let accept = handshake(&mut middle.exposer).await;
    let replaced = with(&accept, |words| words["pubkey"] = to_joiner.public().into());
    middle.joiner.emit("e2e_handshake", &replaced).await;
    let packet = middle.packet_of_client(&mut connection, b"the password").await;
    let joiner = said(&init)["pubkey"].as_str().expect("a key").to_owned();
    let id = connection.id.as_str().expect("an id");
    assert_eq!(to_joiner.open(&joiner, id, &decoded(&packet)).expect("opens"), b"the password");
}

#[tokio::test]
async fn a_hub_that_replaces_keys_is_found_out_by_whom_it_tells_them() {
    let mut middle = Middle::start_with(Some(key(SECRET)), verified()).await;
    let share = ShareKey(SHARE.into());
    let own = OwnKeys::new(1);
    for number in 1..=3 {
        // The joiner's key, whatever is made of its proof.
        let mut connection = middle.open(Some(true)).await;
        let init = handshake(&mut middle.joiner).await;
        let replaced = with(&init, |words| words["pubkey"] = own.public().into());
        middle.exposer.emit("e2e_handshake", &replaced).await;
        let refusal = handshake(&mut middle.exposer).await;
        assert_eq!(said(&refusal), json!({"type": "refuse", "reason": "mismatch"}));
        assert_eq!(middle.exposer.expect("close").await["connectionId"], connection.id);
        reset(&mut connection.at_service).await;
        middle.joiner.emit("e2e_handshake", &refusal).await;
        assert_eq!(failure(&mut middle.join).await, DOES_NOT_KNOW);
        reset(&mut connection.client).await;
        assert_eq!(middle.routes.mismatches(&share).count, number);

        // The exposer's key.
        let mut connection = middle.open(Some(true)).await;
        let init = handshake(&mut middle.joiner).await;
        middle.exposer.emit("e2e_handshake", &init).await;
        let accept = handshake(&mut middle.exposer).await;
        let replaced = with(&accept, |words| words["pubkey"] = own.public().into());
        middle.joiner.emit("e2e_handshake", &replaced).await;
        assert_eq!(middle.joiner.expect("reach_close").await["connectionId"], connection.id);
        assert_eq!(failure(&mut middle.join).await, DOES_NOT_KNOW);
        reset(&mut connection.client).await;
    }
    assert_eq!(middle.tunnel.stats().refused_dials(RefusedDial::SecretMismatch), 3);
    // Nothing of that tells the secret, whole or in the groups in which people are given it.
    for heard in [&middle.joiner.heard, &middle.exposer.heard] {
        assert!(heard.contains("e2e_handshake"));
        let heard = heard.to_lowercase().replace('-', "");
        assert!(!heard.contains(SECRET));
    }
}

#[tokio::test]
async fn a_hub_that_takes_the_proofs_away_or_claims_that_nobody_encrypts_gets_nothing() {
    let mut middle = Middle::start_with(Some(key(SECRET)), verified()).await;
    // Of the joiner.
    let connection = middle.open(Some(true)).await;
    let init = handshake(&mut middle.joiner).await;
    middle.exposer.emit("e2e_handshake", &with(&init, |words| words["proof"] = Value::Null)).await;
    let refusal = handshake(&mut middle.exposer).await;
    assert_eq!(said(&refusal), json!({"type": "refuse", "reason": "unverified"}));
    drop(connection);
    // Of the exposer.
    let mut connection = middle.open(Some(true)).await;
    let init = handshake(&mut middle.joiner).await;
    middle.exposer.emit("e2e_handshake", &init).await;
    let accept = handshake(&mut middle.exposer).await;
    middle.joiner.emit("e2e_handshake", &with(&accept, |words| words["proof"] = Value::Null)).await;
    let reason = failure(&mut middle.join).await;
    assert!(reason.starts_with(DOES_NOT_SAY), "{reason}");
    reset(&mut connection.client).await;
    // Plain bytes of a service that is none, and an end that "cannot".
    let mut connection = middle.open(None).await;
    handshake(&mut middle.joiner).await;
    middle.joiner.emit("reach_data", &data(&connection.id, b"220 hello")).await;
    assert_eq!(failure(&mut middle.join).await, "the other end sent bytes in plain");
    reset(&mut connection.client).await;
    let mut connection = middle.open(Some(false)).await;
    assert!(failure(&mut middle.join).await.contains("does not encrypt"));
    reset(&mut connection.client).await;
    // And a joiner that "cannot", at the other end.
    assert_eq!(said(&handshake(&mut middle.exposer).await)["reason"], "unverified");
    assert_eq!(middle.tunnel.stats().encrypted_connections(), 1, "the one whose answer was changed");
}

#[tokio::test]
async fn a_packet_that_does_not_open_rings_for_its_share_and_five_within_a_minute_repeat() {
    let mut middle = Middle::start_with(Some(key(SECRET)), verified()).await;
    let (routes, share) = (middle.routes.clone(), ShareKey(SHARE.into()));
    let mut told = routes.mismatched();
    for number in 1..=5 {
        let mut connection = middle.open(Some(true)).await;
        let init = handshake(&mut middle.joiner).await;
        middle.exposer.emit("e2e_handshake", &init).await;
        let accept = handshake(&mut middle.exposer).await;
        middle.joiner.emit("e2e_handshake", &accept).await;
        let packet = middle.packet_of_client(&mut connection, b"hello").await;
        let mut bytes = decoded(&packet);
        bytes[14] ^= 1;
        middle.exposer.emit("data", &data(&connection.id, &bytes)).await;
        assert_eq!(middle.exposer.expect("close").await["connectionId"], connection.id);
        let seen = routes.mismatches(&share);
        assert_eq!((seen.count, seen.repeated), (number, number == 5));
    }
    assert_eq!(middle.tunnel.stats().unopened_packets(), 5);
    assert_eq!([told.recv().await, told.recv().await], [Ok(share.clone()), Ok(share.clone())]);
    assert!(told.is_empty(), "the first, and that they repeat");
    // Another secret begins anew; the same one does not.
    routes.set_verification(&share, verified());
    assert_eq!(routes.mismatches(&share).count, 5);
    routes.set_verification(&share, Verification { keys: vec![key(OTHER_SECRET)], required: true });
    assert_eq!(routes.mismatches(&share).count, 0);
}

on_every_hub!(who_gets_in);

/// Every joiner at every exposer, over the agents' sockets and beside them.
async fn who_gets_in(hub: Hub) {
    let lab = Lab::start(hub).await;
    let share = ShareKey("share".into());
    let service = echo().await;
    let none: &[&str] = &[];
    for (at_exposer, required, joiner, reason) in [
        (none, false, None, None),
        (none, false, Some(SECRET), Some(DOES_NOT_KNOW)),
        (&[SECRET], false, None, None),
        (&[SECRET], false, Some(SECRET), None),
        (&[SECRET], false, Some(OTHER_SECRET), Some(DOES_NOT_KNOW)),
        (&[SECRET], true, None, Some("this share takes the full code only")),
        (&[SECRET], true, Some(SECRET), None),
        (&[OTHER_SECRET, SECRET], true, Some(SECRET), None),
        (&[SECRET], true, Some(OTHER_SECRET), Some(DOES_NOT_KNOW)),
    ] {
        let keys = at_exposer.iter().map(|secret| key(secret)).collect();
        lab.routes.set_verification(&share, Verification { keys, required });
        for data_connections in [true, false] {
            let route = lab.expose("share", "api", service).await;
            let config = JoinConfig { code_key: joiner.map(key), ..lab.join_config(vec![route]).await };
            let transport = Transport { data_connections, ..Transport::default() };
            let joined = Join::start_over(config, Timing::default(), transport);
            let mut join = within("a join", joined).await.expect("joined");
            let case = format!("{at_exposer:?} {required} {joiner:?} {data_connections}");
            let Some(reason) = reason else {
                let mut client = dial_echo(&join, 0).await;
                assert_eq!(exchange(&mut client, b"hello").await, b"hello", "{case}");
                continue;
            };
            // What comes first may be that the service is not exposed yet.
            within(&case, async {
                loop {
                    let _client = dial(&join, 0).await;
                    if failure(&mut join).await.starts_with(reason) {
                        return;
                    }
                }
            })
            .await;
        }
    }
    let stats = lab.tunnel.stats();
    eventually("every connection is encrypted", || {
        stats.encrypted_connections() > 0 && stats.refused_dials(RefusedDial::SecretMismatch) >= 6
    })
    .await;
}

#[tokio::test]
async fn at_a_hub_that_relays_no_handshake_a_code_with_a_secret_gets_nothing() {
    let lab = Lab::start(Hub::Node(NodeHub::start_with(&["--no-relay"]).await)).await;
    lab.routes.set_verification(
        &ShareKey("share".into()),
        Verification { keys: vec![key(SECRET)], required: false },
    );
    let route = lab.expose("share", "api", echo().await).await;
    let by_handle = lab.join(vec![route.clone()]).await;
    let mut client = dial_echo(&by_handle, 0).await;
    assert_eq!(exchange(&mut client, b"with the handle").await, b"with the handle");
    let config = JoinConfig { code_key: Some(key(SECRET)), ..lab.join_config(vec![route]).await };
    let mut join = within("a join", Join::start(config)).await.expect("joined");
    let mut client = dial(&join, 0).await;
    assert_eq!(failure(&mut join).await, "the other end did not agree on encryption in time");
    reset(&mut client).await;
}
