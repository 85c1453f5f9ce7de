//! Encryption from end to end: what a hub sees, what it can no longer do, and agents that have none.
//!
//! The hub here is the test itself: two raw ones, one for each end, and every event between them is passed by hand.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use connect_hub::code_key::{CodeKey, Verification};
use connect_hub::identity::Identity;
use connect_hub::join::{Join, JoinConfig, JoinEvent};
use connect_hub::tunnel::{Route, Routes, ShareKey, SystemClock, Tunnel, TunnelConfig};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use uuid::Uuid;

use crate::support::lab::{Hub, Lab, dial, dial_echo, on_every_hub};
use crate::support::node::NodeHub;
use crate::support::raw::{RawAgent, RawHub};
use crate::support::services::{Manual, bytes, echo, exchange, reset};
use crate::support::{connected, event, eventually, fixed, local_join, tls, url, within};

/// What our own hub can do.
const FEATURES: [&str; 3] = ["half-close", "share-events", "e2e"];

/// A public key that is one: the joiner's of the vectors in `operator/hub/src/e2e/tests.rs`.
const PUBLIC_KEY: &str = "MCowBQYDK2VuAyEAq5AvAmz/+ozly9BDuBxvZsygzR3gb2E+AmcduMDSI3o=";

/// The share of the service between the two.
pub const SHARE: &str = "share";

/// Both ends, and the test between them.
pub struct Middle {
    pub exposer: RawAgent,
    pub joiner: RawAgent,
    pub tunnel: Tunnel,
    pub routes: Routes,
    pub join: Join,
    service: Manual,
    service_id: Uuid,
    _hubs: [RawHub; 2],
}

/// One connection that is ready at both ends.
pub struct Connection {
    pub id: Value,
    pub client: TcpStream,
    pub at_service: TcpStream,
}

impl Middle {
    async fn start() -> Self {
        Self::start_with(None, Verification::default()).await
    }

    /// A joiner whose code has this secret, and an exposer who asks for this.
    pub async fn start_with(code_key: Option<CodeKey>, verification: Verification) -> Self {
        let hubs = [RawHub::start().await, RawHub::start().await];
        let service = Manual::start().await;
        let service_id = Uuid::new_v4();
        let routes = Routes::new(Arc::new(SystemClock));
        let share = ShareKey(SHARE.into());
        routes.set_verification(&share, verification);
        routes.set_end(&share, jiff::Timestamp::MAX);
        let (name, protocol, targets) = ("api".into(), "tcp".into(), vec![service.address]);
        routes.set(service_id, Route { share: Some(share), name, tunnel_port: None, protocol, targets });
        let limits = connect_hub::tunnel::Limits::default();
        let memory = connect_hub::tunnel::Memory::default();
        let config = TunnelConfig { url: url(&hubs[0].url), tls: tls(), limits, memory };
        let tunnel = Tunnel::start(config, fixed(Identity::generate()), routes.clone());
        let mut exposer = hubs[0].accept(&FEATURES).await;
        connected(&tunnel).await;
        exposer.expect("expose").await;
        let config = JoinConfig { code_key, ..local_join(&hubs[1].url, service_id) };
        let (join, joiner) = tokio::join!(Join::start(config), hubs[1].accept(&FEATURES));
        let join = join.expect("joined");
        Self { exposer, joiner, tunnel, routes, join, service, service_id, _hubs: hubs }
    }

    /// Opens a connection; `told` is what each end is told about the other.
    pub async fn open(&mut self, told: Option<bool>) -> Connection {
        let client = dial(&self.join, 0).await;
        self.joiner.peer_e2e = told;
        let id = self.joiner.expect("reach_connect").await["connectionId"].clone();
        let at_service = self.dial(&id, told).await;
        self.joiner.emit("reach_ready", &json!({"connectionId": id})).await;
        Connection { id, client, at_service }
    }

    /// Dials the exposer as hubs do, and gives the service's end.
    async fn dial(&mut self, id: &Value, told: Option<bool>) -> TcpStream {
        let dial = json!({"connectionId": id, "serviceId": self.service_id, "e2e": told});
        self.exposer.emit("dial", &dial).await;
        assert_eq!(&self.exposer.expect("dial_success").await["connectionId"], id);
        self.service.accept().await
    }

    /// Passes the handshakes of a new connection.
    async fn shake_hands(&mut self) {
        let (name, init) = self.joiner.event().await;
        assert_eq!(name, "e2e_handshake", "{init}");
        self.exposer.emit("e2e_handshake", &init).await;
        let (name, accept) = self.exposer.event().await;
        assert_eq!((name.as_str(), &accept["connectionId"]), ("e2e_handshake", &init["connectionId"]));
        self.joiner.emit("e2e_handshake", &accept).await;
    }

    /// The packet that the joiner sends for these bytes of its client.
    pub async fn packet_of_client(&mut self, connection: &mut Connection, text: &[u8]) -> Value {
        connection.client.write_all(text).await.expect("written");
        chunk(self.joiner.event().await, "reach_data")
    }

    /// The packet that the exposer sends for these bytes of its service.
    async fn packet_of_service(&mut self, connection: &mut Connection, text: &[u8]) -> Value {
        connection.at_service.write_all(text).await.expect("written");
        chunk(self.exposer.event().await, "data")
    }

    /// A new connection carries bytes both ways.
    async fn still_works(&mut self) {
        let mut connection = self.open(Some(true)).await;
        self.shake_hands().await;
        let packet = self.packet_of_client(&mut connection, b"ping").await;
        self.exposer.emit("data", &packet).await;
        read(&mut connection.at_service, b"ping").await;
        assert_eq!(self.tunnel.stats().reconnects(), 0);
    }
}

fn chunk((name, payload): (String, Value), expected: &str) -> Value {
    assert_eq!(name, expected, "{payload}");
    payload
}

pub fn data(id: &Value, text: &[u8]) -> Value {
    json!({"connectionId": id, "data": STANDARD.encode(text)})
}

pub fn decoded(packet: &Value) -> Vec<u8> {
    STANDARD.decode(packet["data"].as_str().expect("text")).expect("base64")
}

fn init(id: &Value) -> Value {
    json!({"connectionId": id, "payload": json!({"type": "init", "pubkey": PUBLIC_KEY}).to_string()})
}

async fn read(stream: &mut TcpStream, expected: &[u8]) {
    let mut got = vec![0; expected.len()];
    within("bytes", stream.read_exact(&mut got)).await.expect("read");
    assert_eq!(got, expected);
}

#[tokio::test]
async fn a_hub_passes_bytes_that_it_cannot_read() {
    let mut middle = Middle::start().await;
    for told in [Some(true), None] {
        let mut connection = middle.open(told).await;
        middle.shake_hands().await;
        for number in 0..3u8 {
            let question = [b"the question ".as_slice(), &[number]].concat();
            let packet = middle.packet_of_client(&mut connection, &question).await;
            assert_eq!(decoded(&packet).len(), question.len() + 28);
            assert_eq!(decoded(&packet)[..12], [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, number]);
            assert!(!decoded(&packet).windows(8).any(|part| part == b"question"));
            middle.exposer.emit("data", &packet).await;
            read(&mut connection.at_service, &question).await;

            let packet = middle.packet_of_service(&mut connection, b"the answer").await;
            assert!(!decoded(&packet).windows(6).any(|part| part == b"answer"));
            middle.joiner.emit("reach_data", &packet).await;
            read(&mut connection.client, b"the answer").await;
        }
    }
    assert_eq!(middle.tunnel.stats().encrypted_connections(), 2);
}

#[tokio::test]
async fn a_packet_that_was_changed_repeated_or_left_out_ends_its_connection_alone() {
    fn changed(first: &Value, _: &Value) -> Vec<Value> {
        let mut bytes = decoded(first);
        bytes[14] ^= 1;
        vec![data(&first["connectionId"], &bytes)]
    }
    let attacks: [fn(&Value, &Value) -> Vec<Value>; 4] = [
        changed,
        |first, _| vec![first.clone(), first.clone()],
        |_, second| vec![second.clone()],
        |first, _| vec![data(&first["connectionId"], b"in plain")],
    ];
    let mut middle = Middle::start().await;
    for attack in attacks {
        let mut connection = middle.open(Some(true)).await;
        middle.shake_hands().await;
        let first = middle.packet_of_client(&mut connection, b"first").await;
        let second = middle.packet_of_client(&mut connection, b"second").await;
        for packet in attack(&first, &second) {
            middle.exposer.emit("data", &packet).await;
        }
        assert_eq!(middle.exposer.expect("close").await["connectionId"], connection.id);
        reset(&mut connection.at_service).await;

        let mut connection = middle.open(Some(true)).await;
        middle.shake_hands().await;
        let first = middle.packet_of_service(&mut connection, b"first").await;
        let second = middle.packet_of_service(&mut connection, b"second").await;
        for packet in attack(&first, &second) {
            middle.joiner.emit("reach_data", &packet).await;
        }
        assert_eq!(middle.joiner.expect("reach_close").await["connectionId"], connection.id);
        reset(&mut connection.client).await;
    }
    middle.still_works().await;
}

#[tokio::test]
async fn a_joiner_that_can_never_goes_on_in_plain_with_an_exposer_that_can() {
    let mut middle = Middle::start().await;
    // It hears bytes in plain, or nothing at all.
    for plain in [true, false] {
        let mut connection = middle.open(Some(true)).await;
        connection.client.write_all(b"secret").await.expect("written");
        assert_eq!(middle.joiner.event().await.0, "e2e_handshake");
        if plain {
            middle.joiner.emit("reach_data", &data(&connection.id, b"plain")).await;
        }
        let (name, payload) = middle.joiner.event().await;
        assert_eq!((name.as_str(), &payload["connectionId"]), ("reach_close", &connection.id));
        reset(&mut connection.client).await;
    }
}

#[tokio::test]
async fn an_exposer_that_can_never_goes_on_in_plain_with_a_joiner_that_can() {
    let mut middle = Middle::start().await;
    for plain in [true, false] {
        let id = json!(format!("plain-{plain}"));
        let mut at_service = middle.dial(&id, Some(true)).await;
        at_service.write_all(b"secret").await.expect("written");
        if plain {
            middle.exposer.emit("data", &data(&id, b"plain")).await;
        }
        let (name, payload) = middle.exposer.event().await;
        assert_eq!((name.as_str(), &payload["connectionId"]), ("close", &id));
        reset(&mut at_service).await;
    }
    assert_eq!(middle.tunnel.stats().encrypted_connections(), 0);
}

#[tokio::test]
async fn a_joiner_offers_once_to_who_does_not_answer() {
    let mut middle = Middle::start().await;
    let mut connection = middle.open(None).await;
    let (name, offer) = middle.joiner.event().await;
    assert_eq!(name, "e2e_handshake", "{offer}");
    let packet = middle.packet_of_client(&mut connection, b"in plain").await;
    assert_eq!(decoded(&packet), b"in plain");
    // Too late: only one end would encrypt.
    let accept = json!({"type": "accept", "pubkey": PUBLIC_KEY}).to_string();
    let accept = json!({"connectionId": connection.id, "payload": accept});
    middle.joiner.emit("e2e_handshake", &accept).await;
    assert_eq!(middle.joiner.event().await.0, "reach_close");
    reset(&mut connection.client).await;

    let mut connection = middle.open(None).await;
    let packet = middle.packet_of_client(&mut connection, b"at once").await;
    assert_eq!(decoded(&packet), b"at once");
    // The teammate is told, and once.
    let mut told = Vec::new();
    let over = json!({"id": Uuid::new_v4(), "reason": "revoked"});
    middle.joiner.emit("share_ended", &over).await;
    event(&mut middle.join, "a warning and the end", |event| {
        told.push(event.clone());
        matches!(event, JoinEvent::Ended { .. })
    })
    .await;
    let warnings =
        told.iter().filter(|told| **told == JoinEvent::NotEncrypted { name: "api".into() }).count();
    assert_eq!(warnings, 1, "{told:?}");
}

#[tokio::test]
async fn the_first_silence_of_a_join_is_waited_for_once_and_at_no_other_route() {
    let hub = RawHub::start().await;
    let mut config = local_join(&hub.url, Uuid::new_v4());
    let mut other = config.routes[0].clone();
    (other.name, other.service_id) = ("other".into(), Uuid::new_v4());
    config.routes.push(other);
    let (join, mut agent) = tokio::join!(Join::start(config), hub.accept(&[]));
    let join = join.expect("joined");
    let mut offers = 0;
    // The second route, then the first again, then both after the hub was away.
    for (route, is_new) in [(0, false), (1, false), (0, false), (1, true), (0, false)] {
        if is_new {
            drop(agent);
            agent = hub.accept(&[]).await;
        }
        agent.peer_e2e = None;
        let mut client = dial(&join, route).await;
        client.write_all(b"hello").await.expect("written");
        let id = agent.expect("reach_connect").await["connectionId"].clone();
        agent.emit("reach_ready", &json!({"connectionId": id})).await;
        let (mut name, mut payload) = agent.event().await;
        if name == "e2e_handshake" {
            offers += 1;
            (name, payload) = agent.event().await;
        }
        assert_eq!(decoded(&chunk((name, payload), "reach_data")), b"hello");
    }
    assert_eq!(offers, 1);
}

#[tokio::test]
async fn a_joiner_goes_on_in_plain_when_the_service_does() {
    let mut middle = Middle::start().await;
    let mut connection = middle.open(None).await;
    assert_eq!(middle.joiner.event().await.0, "e2e_handshake");
    middle.joiner.emit("reach_data", &data(&connection.id, b"220 hello")).await;
    read(&mut connection.client, b"220 hello").await;
    let packet = middle.packet_of_client(&mut connection, b"HELO").await;
    assert_eq!(decoded(&packet), b"HELO");
}

#[tokio::test]
async fn a_joiner_without_encryption_is_served_in_plain() {
    let mut middle = Middle::start().await;
    for (number, told) in [None, Some(false)].into_iter().enumerate() {
        // It speaks first.
        let id = json!(format!("speaks-first-{number}"));
        let mut at_service = middle.dial(&id, told).await;
        middle.exposer.emit("data", &data(&id, b"ping")).await;
        read(&mut at_service, b"ping").await;
        at_service.write_all(b"pong").await.expect("written");
        assert_eq!(decoded(&chunk(middle.exposer.event().await, "data")), b"pong");

        // The service does; a wish that comes afterwards stays unanswered, so that both ends go on in plain.
        let id = json!(format!("listens-first-{number}"));
        let mut at_service = middle.dial(&id, told).await;
        at_service.write_all(b"220 hello").await.expect("written");
        assert_eq!(decoded(&chunk(middle.exposer.event().await, "data")), b"220 hello");
        middle.exposer.emit("e2e_handshake", &init(&id)).await;
        middle.exposer.emit("data", &data(&id, b"HELO")).await;
        read(&mut at_service, b"HELO").await;
        at_service.write_all(b"250 ok").await.expect("written");
        assert_eq!(decoded(&chunk(middle.exposer.event().await, "data")), b"250 ok");
    }
    assert_eq!(middle.tunnel.stats().encrypted_connections(), 0);
}

#[tokio::test]
async fn a_handshake_that_is_none_ends_its_connection_alone() {
    let mut middle = Middle::start().await;
    let payloads = [
        json!("").to_string(),
        json!({"type": "init"}).to_string(),
        json!({"type": "init", "pubkey": "AAAA"}).to_string(),
        json!({"type": "accept", "pubkey": PUBLIC_KEY}).to_string(),
    ];
    for (number, payload) in payloads.into_iter().enumerate() {
        let id = json!(format!("spoilt-{number}"));
        let mut at_service = middle.dial(&id, Some(true)).await;
        middle.exposer.emit("e2e_handshake", &json!({"connectionId": id, "payload": payload})).await;
        assert_eq!(middle.exposer.expect("close").await["connectionId"], id);
        reset(&mut at_service).await;
    }
    // A second one, and events that cannot be read at all.
    let id = json!("twice");
    let mut at_service = middle.dial(&id, Some(true)).await;
    middle.exposer.emit("e2e_handshake", &init(&id)).await;
    middle.exposer.emit("e2e_handshake", &init(&id)).await;
    assert_eq!(middle.exposer.expect("close").await["connectionId"], id);
    reset(&mut at_service).await;
    let malformed = middle.tunnel.stats().malformed_frames();
    let large = "x".repeat(2000);
    for payload in [json!(large), json!(1), Value::Null] {
        middle.exposer.emit("e2e_handshake", &json!({"connectionId": "twice", "payload": payload})).await;
    }
    middle.still_works().await;
    assert_eq!(middle.tunnel.stats().malformed_frames(), malformed + 3);
}

on_every_hub!(our_own_ends_encrypt);

async fn our_own_ends_encrypt(hub: Hub) {
    let lab = Lab::start(hub).await;
    let join = lab.join(vec![lab.expose("share", "api", echo().await).await]).await;
    let mut client = dial_echo(&join, 0).await;
    let sent = bytes(7, 300_000);
    assert!(exchange(&mut client, &sent).await == sent, "bytes differ");
    let stats = lab.tunnel.stats();
    eventually("every connection is encrypted", || {
        stats.encrypted_connections() == stats.total_connections() && stats.open_connections() == 1
    })
    .await;
}

#[tokio::test]
async fn a_hub_that_relays_no_handshake_still_carries_bytes() {
    let hub = Hub::Node(NodeHub::start_with(&["--no-relay"]).await);
    let lab = Lab::start(hub).await;
    let join = lab.join(vec![lab.expose("share", "api", echo().await).await]).await;
    let mut client = dial_echo(&join, 0).await;
    assert_eq!(exchange(&mut client, b"in plain").await, b"in plain");
    assert_eq!(lab.tunnel.stats().encrypted_connections(), 0);
}
