//! Bridges: what one side says reaches the other, in order, and nobody else.

use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::{KEY, Socket, TestHub, bridge, eventually};

/// A hub, a service, and a socket on either side of it.
struct Pair {
    hub: TestHub,
    service: Uuid,
    exposer: Socket,
    joiner: Socket,
}

async fn pair(exposer_features: &[&str], joiner_features: &[&str]) -> Pair {
    let hub = TestHub::start().await;
    let (maker, colleague) = (hub.agent(KEY).await, hub.agent(KEY).await);
    let service = hub.service(&maker, "db", "workspace").await;
    let exposer = hub.connect_with(&maker, exposer_features).await;
    let joiner = hub.connect_with(&colleague, joiner_features).await;
    Pair { hub, service, exposer, joiner }
}

fn data(id: &str, text: &str) -> Value {
    json!({"connectionId": id, "data": text})
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_sent_before_the_dial_has_succeeded_come_first() {
    let Pair { hub: _hub, service, mut exposer, mut joiner } = pair(&[], &[]).await;
    // Again and again: sometimes the bytes come before the bridge is allowed, sometimes before it is dialled.
    for _ in 0..50 {
        let id = Uuid::new_v4().to_string();
        joiner.emit("reach_connect", json!({"connectionId": id, "serviceId": service})).await;
        for text in ["b25l", "dHdv", "dGhyZWU="] {
            joiner.emit("reach_data", data(&id, text)).await;
        }
        exposer.event("dial").await;
        exposer.emit("dial_success", json!({"connectionId": id})).await;
        joiner.emit("reach_data", data(&id, "Zm91cg==")).await;
        for text in ["b25l", "dHdv", "dGhyZWU=", "Zm91cg=="] {
            assert_eq!(exposer.any_event().await, ("data".into(), data(&id, text)));
        }
        exposer.emit("data", data(&id, "YW5zd2Vy")).await;
        assert_eq!(joiner.any_event().await, ("reach_ready".into(), json!({"connectionId": id})));
        assert_eq!(joiner.any_event().await, ("reach_data".into(), data(&id, "YW5zd2Vy")));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_close_comes_after_the_bytes_before_it() {
    let Pair { hub, service, mut exposer, mut joiner } = pair(&[], &[]).await;
    let id = bridge(&mut joiner, &mut exposer, service).await;
    for number in 0..100 {
        exposer.emit("data", data(&id, &format!("{number:04}"))).await;
    }
    exposer.emit("close", json!({"connectionId": id})).await;
    for number in 0..100 {
        assert_eq!(joiner.any_event().await, ("reach_data".into(), data(&id, &format!("{number:04}"))));
    }
    assert_eq!(joiner.any_event().await, ("reach_close".into(), json!({"connectionId": id})));
    eventually("gone", async || hub.hub.open_bridges() == 0).await;

    let id = bridge(&mut joiner, &mut exposer, service).await;
    joiner.emit("reach_data", data(&id, "bGFzdA==")).await;
    joiner.emit("reach_close", json!({"connectionId": id})).await;
    assert_eq!(exposer.any_event().await, ("data".into(), data(&id, "bGFzdA==")));
    assert_eq!(exposer.any_event().await, ("close".into(), json!({"connectionId": id})));
    joiner.expect_silence().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn half_close_is_told_to_those_who_know_it() {
    let Pair { hub, service, mut exposer, mut joiner } = pair(&["half-close"], &["half-close"]).await;
    let id = bridge(&mut joiner, &mut exposer, service).await;
    let connection = json!({"connectionId": id});
    joiner.emit("reach_data", data(&id, "cXVlc3Rpb24=")).await;
    joiner.emit("reach_fin", connection.clone()).await;
    assert_eq!(exposer.any_event().await, ("data".into(), data(&id, "cXVlc3Rpb24=")));
    assert_eq!(exposer.any_event().await, ("fin".into(), connection.clone()));
    // The other direction still works, and a finished one takes nothing more.
    joiner.emit("reach_data", data(&id, "bGF0ZQ==")).await;
    exposer.emit("data", data(&id, "YW5zd2Vy")).await;
    assert_eq!(joiner.any_event().await, ("reach_data".into(), data(&id, "YW5zd2Vy")));
    assert_eq!(hub.hub.open_bridges(), 1);
    exposer.emit("fin", connection.clone()).await;
    assert_eq!(joiner.any_event().await, ("reach_fin".into(), connection));
    eventually("gone", async || hub.hub.open_bridges() == 0).await;
    exposer.expect_silence().await;
    joiner.expect_silence().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_half_close_an_exposer_may_finish_its_answer() {
    let Pair { hub, service, mut exposer, mut joiner } = pair(&[], &["half-close"]).await;
    let id = bridge(&mut joiner, &mut exposer, service).await;
    let connection = json!({"connectionId": id});
    joiner.emit("reach_data", data(&id, "cXVlc3Rpb24=")).await;
    joiner.emit("reach_fin", connection.clone()).await;
    assert_eq!(exposer.any_event().await, ("data".into(), data(&id, "cXVlc3Rpb24=")));
    exposer.expect_silence().await;
    exposer.emit("data", data(&id, "YW5zd2Vy")).await;
    exposer.emit("close", connection.clone()).await;
    assert_eq!(joiner.any_event().await, ("reach_data".into(), data(&id, "YW5zd2Vy")));
    assert_eq!(joiner.any_event().await, ("reach_close".into(), connection));
    eventually("gone", async || hub.hub.open_bridges() == 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_half_close_a_joiner_is_closed_after_the_last_bytes() {
    let Pair { hub, service, mut exposer, mut joiner } = pair(&["half-close"], &[]).await;
    let id = bridge(&mut joiner, &mut exposer, service).await;
    let connection = json!({"connectionId": id});
    exposer.emit("data", data(&id, "YW5zd2Vy")).await;
    exposer.emit("fin", connection.clone()).await;
    assert_eq!(joiner.any_event().await, ("reach_data".into(), data(&id, "YW5zd2Vy")));
    assert_eq!(joiner.any_event().await, ("reach_close".into(), connection.clone()));
    assert_eq!(exposer.any_event().await, ("close".into(), connection));
    eventually("gone", async || hub.hub.open_bridges() == 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bridge_obeys_its_two_sides_only() {
    let Pair { hub, service, mut exposer, mut joiner } = pair(&[], &[]).await;
    let id = bridge(&mut joiner, &mut exposer, service).await;
    let mut intruder = hub.connect(&hub.agent(KEY).await).await;
    let attack = async |socket: &mut Socket, events: &[&str]| {
        for event in events {
            socket
                .emit(
                    event,
                    json!({"connectionId": id, "data": "ZXZpbA==", "payload": "evil", "error": "evil"}),
                )
                .await;
        }
        socket.call("heartbeat", Value::Null).await;
    };
    let all = [
        "reach_data",
        "data",
        "reach_close",
        "close",
        "reach_fin",
        "fin",
        "dial_success",
        "dial_error",
        "e2e_handshake",
    ];
    attack(&mut intruder, &all).await;
    assert_eq!(hub.hub.foreign_events(), all.len() as u64);
    // Not even the two sides may speak for each other.
    attack(&mut joiner, &["data", "close", "fin", "dial_error"]).await;
    attack(&mut exposer, &["reach_data", "reach_close", "reach_fin"]).await;
    assert_eq!(hub.hub.foreign_events(), all.len() as u64 + 7);
    let (_, taken) =
        (id.clone(), intruder.call("reach_connect", json!({"connectionId": id, "serviceId": service})).await);
    assert_eq!(taken, json!({"success": false, "error": "Connection id is in use"}));

    joiner.emit("reach_data", data(&id, "Z29vZA==")).await;
    assert_eq!(exposer.any_event().await, ("data".into(), data(&id, "Z29vZA==")));
    for socket in [&mut joiner, &mut exposer, &mut intruder] {
        socket.expect_silence().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn encryption_between_agents_is_relayed_both_ways_in_order() {
    let Pair { hub: _hub, service, mut exposer, mut joiner } = pair(&[], &[]).await;
    let id = bridge(&mut joiner, &mut exposer, service).await;
    let init = json!({"connectionId": id, "payload": r#"{"type":"init","pubkey":"a\"b"}"#});
    joiner.emit("e2e_handshake", init.clone()).await;
    joiner.emit("reach_data", data(&id, "eA==")).await;
    assert_eq!(exposer.any_event().await, ("e2e_handshake".into(), init));
    assert_eq!(exposer.any_event().await, ("data".into(), data(&id, "eA==")));
    let accept = json!({"connectionId": id, "payload": "accept"});
    exposer.emit("e2e_handshake", accept.clone()).await;
    assert_eq!(joiner.any_event().await, ("e2e_handshake".into(), accept));
}

#[tokio::test(flavor = "multi_thread")]
async fn each_side_is_told_whether_the_other_encrypts_unless_nobody_knows() {
    // An exposing agent that names no features does not encrypt; a joining one shows what it does by what it sends first.
    let able = |features: &[&str]| Value::from(features.contains(&"e2e"));
    let told = |features: &[&str]| if features.is_empty() { Value::Null } else { able(features) };
    let sets: [&[&str]; 3] = [&[], &["half-close"], &["half-close", "e2e"]];
    for (exposer_features, joiner_features) in sets.into_iter().flat_map(|one| sets.map(|other| (one, other)))
    {
        let Pair { hub: _hub, service, mut exposer, mut joiner } =
            pair(exposer_features, joiner_features).await;
        let (_, reply) = joiner.reach(service).await;
        assert_eq!(reply["e2e"], able(exposer_features), "{exposer_features:?} {joiner_features:?}");
        let dial = exposer.event("dial").await;
        assert_eq!(dial["e2e"], told(joiner_features), "{exposer_features:?} {joiner_features:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_named_no_features_but_spoke_of_encryption_may_encrypt() {
    let Pair { hub: _hub, service, mut exposer, mut joiner } = pair(&[], &["e2e"]).await;
    let id = bridge(&mut joiner, &mut exposer, service).await;
    exposer.emit("e2e_handshake", json!({"connectionId": id, "payload": "{}"})).await;
    joiner.event("e2e_handshake").await;
    let (_, reply) = joiner.reach(service).await;
    assert_eq!(reply, json!({"success": true}), "nobody knows");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_dial_closes_and_a_gone_side_is_told() {
    let Pair { hub, service, mut exposer, mut joiner } = pair(&[], &[]).await;
    let (id, reply) = joiner.reach(service).await;
    assert_eq!(reply, json!({"success": true, "e2e": false}));
    exposer.event("dial").await;
    exposer.emit("dial_error", json!({"connectionId": id, "error": "connect ECONNREFUSED"})).await;
    assert_eq!(joiner.any_event().await, ("reach_close".into(), json!({"connectionId": id})));
    for bad in ["", "a b", &"x".repeat(65)] {
        let reply = joiner.call("reach_connect", json!({"connectionId": bad, "serviceId": service})).await;
        assert_eq!(reply["success"], false, "{bad}");
    }

    let id = bridge(&mut joiner, &mut exposer, service).await;
    joiner.close().await;
    assert_eq!(exposer.any_event().await, ("close".into(), json!({"connectionId": id})));
    eventually("gone", async || hub.hub.open_bridges() == 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dial_without_an_answer_ends_on_both_sides() {
    let Pair { hub, service, mut exposer, mut joiner } = pair(&[], &[]).await;
    let (id, _) = joiner.reach(service).await;
    exposer.event("dial").await;
    let error = json!({"connectionId": id, "error": "Connection timeout"});
    assert_eq!(joiner.any_event().await, ("reach_error".into(), error));
    assert_eq!(exposer.any_event().await, ("close".into(), json!({"connectionId": id})));
    exposer.emit("dial_success", json!({"connectionId": id})).await;
    exposer.expect_silence().await;
    joiner.expect_silence().await;
    assert_eq!(hub.hub.open_bridges(), 0);
}
