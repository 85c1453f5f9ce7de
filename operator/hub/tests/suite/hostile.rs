//! A hub that is wrong or worse: the agent answers what it must, dials nothing it should not, and goes on.

use std::net::SocketAddr;
use std::sync::Arc;

use connect_hub::identity::Identity;
use connect_hub::join::{Join, JoinEvent};
use connect_hub::tunnel::{
    Limits, Memory, RefusedDial, Route, Routes, Stats, SystemClock, Tunnel, TunnelConfig, TunnelEvent,
};
use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use uuid::Uuid;

use crate::support::raw::{RawAgent, RawHub};
use crate::support::services::{Manual, ended, nobody, reset};
use crate::support::{connected, event, eventually, fixed, local_join, tls, url, within};

/// A tunnel with one route, and its hub's side.
struct Exposed {
    hub: RawHub,
    agent: RawAgent,
    tunnel: Tunnel,
    routes: Routes,
    service: Manual,
    service_id: Uuid,
}

impl Exposed {
    async fn start(features: &[&str], limits: Limits) -> Self {
        let hub = RawHub::start().await;
        let service = Manual::start().await;
        let routes = Routes::new(Arc::new(SystemClock));
        let service_id = Uuid::new_v4();
        routes.set(service_id, open_route(vec![service.address]));
        let config = TunnelConfig { url: url(&hub.url), tls: tls(), limits, memory: Memory::default() };
        let tunnel = Tunnel::start(config, fixed(Identity::generate()), routes.clone());
        let mut agent = hub.accept(features).await;
        connected(&tunnel).await;
        let exposed = agent.expect("expose").await;
        assert_eq!(exposed["serviceId"], json!(service_id));
        assert!(!exposed.to_string().contains("127.0.0.1"), "an address of the cluster: {exposed}");
        Self { hub, agent, tunnel, routes, service, service_id }
    }

    /// Dials and gives the Service's end.
    async fn dial(&mut self, connection_id: &str) -> TcpStream {
        let dial = json!({"connectionId": connection_id, "serviceId": self.service_id,
            "targetHost": "169.254.169.254", "targetPort": 80});
        self.agent.emit("dial", &dial).await;
        assert_eq!(self.agent.expect("dial_success").await["connectionId"], connection_id);
        self.service.accept().await
    }

    /// The error that a dial is answered with.
    async fn refused(&mut self, dial: Value) -> Value {
        self.agent.emit("dial", &dial).await;
        self.agent.expect("dial_error").await
    }

    fn stats(&self) -> Arc<Stats> {
        self.tunnel.stats()
    }

    /// A connection still works from end to end.
    async fn still_works(&mut self) {
        let id = Uuid::new_v4().to_string();
        let mut at_service = self.dial(&id).await;
        self.agent.emit("data", &json!({"connectionId": id, "data": "cGluZw=="})).await;
        let mut got = [0; 4];
        within("bytes at the service", at_service.read_exact(&mut got)).await.expect("read");
        assert_eq!(&got, b"ping");
        at_service.write_all(b"pong").await.expect("written");
        assert_eq!(self.agent.expect("data").await, json!({"connectionId": id, "data": "cG9uZw=="}));
        assert_eq!(self.stats().reconnects(), 0);
    }
}

fn open_route(targets: Vec<SocketAddr>) -> Route {
    Route { share: None, name: "api".into(), tunnel_port: None, protocol: "tcp".into(), targets }
}

#[tokio::test]
async fn what_may_not_be_dialled_is_refused_with_a_reason_and_counted() {
    let mut lab = Exposed::start(&[], Limits { connections: 1, ..Limits::default() }).await;
    let nowhere = Uuid::new_v4();
    lab.routes.set(nowhere, open_route(Vec::new()));
    let gone = Uuid::new_v4();
    lab.routes.set(gone, open_route(vec![nobody().await]));
    let known = lab.service_id;
    for (dial, why) in [
        (json!({"connectionId": "c", "serviceId": Uuid::new_v4()}), RefusedDial::UnknownService),
        (json!({"connectionId": "c", "serviceId": "../../etc"}), RefusedDial::UnknownService),
        (json!({"connectionId": "c", "serviceId": known, "pty": true}), RefusedDial::Terminal),
        (json!({"connectionId": "c", "serviceId": nowhere}), RefusedDial::NoTarget),
        (json!({"connectionId": "c", "serviceId": gone}), RefusedDial::ConnectFailed),
    ] {
        let before = lab.stats().refused_dials(why);
        let error = lab.refused(dial.clone()).await;
        assert_eq!(error["connectionId"], "c");
        assert!(error["error"].as_str().is_some_and(|text| !text.is_empty()), "{dial}: {error}");
        assert_eq!(lab.stats().refused_dials(why), before + 1, "{dial}");
    }
    let _open = lab.dial("one").await;
    lab.refused(json!({"connectionId": "two", "serviceId": known})).await;
    lab.refused(json!({"connectionId": "one", "serviceId": known})).await;
    assert_eq!(lab.stats().refused_dials(RefusedDial::Limit), 2);
    assert_eq!(lab.stats().total_connections(), 1);
}

#[tokio::test]
async fn rubbish_is_counted_and_the_session_lives_on() {
    let mut lab = Exposed::start(&[], Limits::default()).await;
    let long = "x".repeat(200);
    let frames = [
        "",
        "x",
        "9",
        "4",
        "42",
        "42/agent,",
        "42/agent,[",
        "42/agent,[]",
        "42/agent,[1]",
        r#"42/agent,["dial"]"#,
        r#"42/agent,["dial",null]"#,
        r#"42/agent,["dial",{"connectionId":1,"serviceId":2}]"#,
        r#"42/agent,["dial",{"serviceId":"x"}]"#,
        r#"42/agent,["data",{"data":"cGluZw=="}]"#,
        r#"42/agent,["data",{"connectionId":"a","data":"cGluZw=="}"#,
        r#"42/agent,["close",{}]"#,
        &format!(r#"42/agent,["close",{{"connectionId":"{long}"}}]"#),
        r#"43/agent,99999999999999999999999[{}]"#,
        r#"451-/agent,["data",{"_placeholder":true,"num":0}]"#,
    ];
    for frame in frames {
        lab.agent.send(frame).await;
    }
    lab.agent.send_message(Message::binary(vec![1, 2, 3])).await;
    // Harmless: unknown events, foreign namespaces, answers nobody waits for.
    for frame in
        [r#"42/agent,["resize",{"cols":80}]"#, r#"42/other,["dial",{}]"#, "43/agent,4711[]", "6", "42[\"x\"]"]
    {
        lab.agent.send(frame).await;
    }
    lab.still_works().await;
    let expected = u64::try_from(frames.len()).expect("small") + 1;
    assert_eq!(lab.stats().malformed_frames(), expected);
}

#[tokio::test]
async fn a_message_that_is_too_large_is_not_read_and_the_agent_is_back() {
    let mut lab = Exposed::start(&[], Limits::default()).await;
    let large = "A".repeat(4 * 1024 * 1024);
    // The agent leaves at its head, so the rest may find nobody.
    let large = format!(r#"42/agent,["data",{{"connectionId":"c","data":"{large}"}}]"#);
    let _ = lab.agent.try_send(&large).await;
    lab.agent = lab.hub.accept(&[]).await;
    lab.agent.expect("expose").await;
    let _open = lab.dial("afterwards").await;
    assert_eq!((lab.stats().malformed_frames(), lab.stats().reconnects()), (1, 1));
}

#[tokio::test]
async fn a_flood_of_dials_that_are_refused_keeps_nobody_waiting() {
    const FLOOD: u64 = 20_000;
    let mut lab = Exposed::start(&[], Limits::default()).await;
    let mut held = lab.dial("held").await;
    // A hub that does not listen to the answers.
    for number in 0..FLOOD {
        let dial = json!({"connectionId": format!("c-{number}"), "serviceId": Uuid::nil()});
        lab.agent.emit("dial", &dial).await;
    }
    lab.agent.emit("data", &json!({"connectionId": "held", "data": "cGluZw=="})).await;
    let mut got = [0; 4];
    within("bytes behind the flood", held.read_exact(&mut got)).await.expect("read");
    assert_eq!(&got, b"ping");
    lab.still_works().await;
    assert_eq!(lab.stats().refused_dials(RefusedDial::UnknownService), FLOOD, "each was refused and counted");
}

#[tokio::test]
async fn events_for_connections_that_are_not_ours_are_counted_and_change_nothing() {
    let mut lab = Exposed::start(&["half-close"], Limits::default()).await;
    for event in ["data", "fin", "close"] {
        lab.agent.emit(event, &json!({"connectionId": "foreign", "data": "cGluZw=="})).await;
    }
    lab.still_works().await;
    assert_eq!(lab.stats().foreign_events(), 3);
}

#[tokio::test]
async fn a_spoilt_chunk_and_one_that_is_too_large_end_their_connection_only() {
    let limits = Limits { link_bytes: 64 * 1024, ..Limits::default() };
    let mut lab = Exposed::start(&[], limits).await;
    let large = "A".repeat(128 * 1024);
    for data in [json!("not base64!"), json!("cGluZw"), json!(42), Value::Null, json!(large)] {
        let mut at_service = lab.dial("spoilt").await;
        lab.agent.emit("data", &json!({"connectionId": "spoilt", "data": data})).await;
        assert_eq!(lab.agent.expect("close").await["connectionId"], "spoilt");
        reset(&mut at_service).await;
    }
    lab.still_works().await;
    assert_eq!(lab.stats().malformed_frames(), 4);
    assert_eq!(lab.stats().stalled_connections(), 5);
}

#[tokio::test]
async fn half_close_is_spoken_only_to_a_hub_that_knows_it() {
    let mut vendor = Exposed::start(&[], Limits::default()).await;
    let mut at_service = vendor.dial("c").await;
    at_service.write_all(b"bye").await.expect("written");
    at_service.shutdown().await.expect("ended");
    assert_eq!(vendor.agent.expect("data").await["data"], "Ynll");
    assert_eq!(vendor.agent.expect("close").await, json!({"connectionId": "c"}));
    ended(&mut at_service).await;

    let mut ours = Exposed::start(&["half-close"], Limits::default()).await;
    let mut at_service = ours.dial("c").await;
    at_service.write_all(b"bye").await.expect("written");
    at_service.shutdown().await.expect("ended");
    assert_eq!(ours.agent.expect("data").await["data"], "Ynll");
    assert_eq!(ours.agent.expect("fin").await, json!({"connectionId": "c"}));
    ours.agent.emit("data", &json!({"connectionId": "c", "data": "cGluZw=="})).await;
    ours.agent.emit("fin", &json!({"connectionId": "c"})).await;
    let mut got = Vec::new();
    within("the rest", at_service.read_to_end(&mut got)).await.expect("an orderly end");
    assert_eq!(got, b"ping");
    eventually("the connection is gone", || ours.stats().open_connections() == 0).await;
}

#[tokio::test]
async fn all_is_exposed_again_after_every_welcome_and_after_every_change() {
    let mut lab = Exposed::start(&[], Limits::default()).await;
    let second = Uuid::new_v4();
    lab.routes.set(second, open_route(vec![lab.service.address]));
    assert_eq!(lab.agent.expect("expose").await["serviceId"], json!(second));

    lab.agent.emit("connected", &json!({"message": "again"})).await;
    let mut again = [lab.agent.expect("expose").await, lab.agent.expect("expose").await];
    again.sort_by_key(|payload| payload["serviceId"] != json!(second));
    assert_eq!(again[0]["serviceId"], json!(second));
    assert_eq!(again[1]["serviceId"], json!(lab.service_id));

    drop(lab.agent);
    let mut agent = lab.hub.accept(&[]).await;
    let ids = [
        agent.expect("expose").await["serviceId"].clone(),
        agent.expect("expose").await["serviceId"].clone(),
    ];
    assert!(ids.contains(&json!(second)) && ids.contains(&json!(lab.service_id)), "{ids:?}");
}

#[tokio::test]
async fn joins_and_warnings_are_told() {
    let mut lab = Exposed::start(&["share-events"], Limits::default()).await;
    let mut events = lab.tunnel.events();
    let (id, at): (Uuid, Timestamp) = (Uuid::new_v4(), "2026-11-23T12:00:00.500Z".parse().expect("valid"));
    let joined = json!({"id": id, "count": 3, "agentLabel": "ann", "joinedAt": at.to_string()});
    lab.agent.emit("share_joined", &joined).await;
    let told = within("the join", events.recv()).await.expect("told");
    let expected = TunnelEvent::ShareJoined { id, count: 3, agent_label: "ann".into(), joined_at: at };
    assert_eq!(told, expected);
    lab.agent.emit("token_warning", &json!({"message": "soon", "expiresAt": at.to_string()})).await;
    let told = within("the warning", events.recv()).await.expect("told");
    assert_eq!(told, TunnelEvent::TokenExpiring { expires_at: at });
}

#[tokio::test]
async fn a_joiner_takes_nothing_from_a_hub_that_it_did_not_ask_for() {
    let hub = RawHub::start().await;
    let config = local_join(&hub.url, Uuid::new_v4());
    let (join, agent) = tokio::join!(Join::start(config), hub.accept(&[]));
    let (mut join, mut agent) = (join.expect("joined"), agent);
    agent.emit("dial", &json!({"connectionId": "c", "serviceId": Uuid::new_v4()})).await;
    assert_eq!(agent.expect("dial_error").await["connectionId"], "c");
    for event in ["reach_ready", "reach_data", "reach_fin", "reach_close", "reach_error"] {
        agent.emit(event, &json!({"connectionId": "foreign", "data": "cGluZw==", "error": "x"})).await;
    }

    // A connection that the hub closes instead of making it ready is reset, and one it gives up later too.
    for (answer, ready) in [("reach_close", false), ("reach_error", false), ("reach_error", true)] {
        let mut client = TcpStream::connect(("127.0.0.1", join.routes()[0].port)).await.expect("connected");
        client.write_all(b"first bytes").await.expect("written");
        let id = agent.expect("reach_connect").await["connectionId"].clone();
        if ready {
            agent.emit("reach_ready", &json!({"connectionId": id})).await;
            assert_eq!(agent.expect("reach_data").await["data"], "Zmlyc3QgYnl0ZXM=");
        }
        agent.emit(answer, &json!({"connectionId": id, "error": "Connection timeout"})).await;
        reset(&mut client).await;
        if !ready {
            event(&mut join, "a failed route", |event| matches!(event, JoinEvent::RouteFailed { .. })).await;
        }
    }
}
