//! Sockets: who gets in, as recorded, and what one agent's sockets do to each other.

use serde_json::{Value, json};
use uuid::Uuid;

use connect_hubd::Limits;

use crate::support::{KEY, OTHER_KEY, Socket, TestHub, bridge, eventually};

#[tokio::test(flavor = "multi_thread")]
async fn the_engine_opens_with_the_recorded_figures() {
    let hub = TestHub::start().await;
    let url = hub.url.replacen("http", "ws", 1);
    let (mut stream, _) =
        tokio_tungstenite::connect_async(format!("{url}/socket.io/?EIO=4&transport=websocket"))
            .await
            .expect("connects");
    let frame = futures::StreamExt::next(&mut stream)
        .await
        .expect("a frame")
        .expect("a frame")
        .into_text()
        .expect("text");
    let mut open: Value =
        serde_json::from_str(frame.strip_prefix('0').expect("an open packet")).expect("JSON");
    open["sid"] = Value::Null;
    let expected = json!({"sid": null, "upgrades": [], "pingInterval": 25_000, "pingTimeout": 20_000, "maxPayload": 1_000_000});
    assert_eq!(open, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_not_known_hears_why_and_who_says_nothing_hears_nothing() {
    let hub = TestHub::start().await;
    let agent = hub.agent(KEY).await;
    for (id, token) in [(agent.id, "0".repeat(64)), (Uuid::new_v4(), agent.token.clone())] {
        let mut socket = Socket::open(&hub.url).await;
        socket.send(&format!("40/agent,{}", json!({"agentId": id, "token": token}))).await;
        assert!(socket.frame().await.expect("open").starts_with("40/agent,{\"sid\""), "joined first");
        let error = json!({"code": "INVALID_TOKEN", "message": "Invalid credentials"});
        assert_eq!(socket.frame().await, Some(format!("42/agent,{}", json!(["error", error]))));
        assert_eq!(socket.frame().await.as_deref(), Some("41/agent,"));
        // The websocket stays: a better token gets in over it.
        socket.send(&format!("40/agent,{}", json!({"agentId": agent.id, "token": agent.token}))).await;
        assert!(socket.event("connected").await["tokenExpiresAt"].is_string());
    }
    for auth in ["", "{}", r#"{"agentId":"x","token":"y"}"#] {
        let mut socket = Socket::open(&hub.url).await;
        socket.send(&format!("40/agent,{auth}")).await;
        assert!(socket.frame().await.expect("open").starts_with("40/agent,{\"sid\""), "joined first");
        assert_eq!(socket.frame().await.as_deref(), Some("41/agent,"), "{auth}");
    }
    let mut socket = Socket::open(&hub.url).await;
    socket.send("40/elsewhere,").await;
    assert_eq!(socket.frame().await.as_deref(), Some(r#"44/elsewhere,{"message":"Invalid namespace"}"#));
}

#[tokio::test(flavor = "multi_thread")]
async fn events_are_answered_as_recorded() {
    let hub = TestHub::start().await;
    let (agent, stranger) = (hub.agent(KEY).await, hub.agent(OTHER_KEY).await);
    let (own, foreign) =
        (hub.service(&agent, "db", "workspace").await, hub.service(&stranger, "db", "workspace").await);
    let colleague = hub.agent(KEY).await;
    let neighbour = hub.service(&colleague, "web", "workspace").await;
    let mut socket = hub.connect(&agent).await;
    assert_eq!(socket.call("heartbeat", Value::Null).await, json!({"success": true}));
    assert_eq!(
        socket.call("expose", json!({"serviceId": own, "tunnelPort": 1})).await,
        json!({"success": true})
    );
    let refused = |error: &str| json!({"success": false, "error": error});
    assert_eq!(
        socket.call("expose", json!({"serviceId": neighbour})).await,
        refused("Not authorized to expose this service")
    );
    for service in [foreign, Uuid::new_v4()] {
        assert_eq!(socket.call("expose", json!({"serviceId": service})).await, refused("Service not found"));
    }
    assert_eq!(socket.reach(neighbour).await.1, refused("Exposing agent is not connected"));

    socket.emit("data", json!({"connectionId": "x"})).await;
    assert_eq!(
        socket.event("exception").await,
        json!({"status": "error", "message": "Internal server error"})
    );
    socket.emit("no such event", json!({"a": 1})).await;
    socket.emit("data", json!({"connectionId": "unknown", "data": "eA=="})).await;
    socket.expect_silence().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stale_disconnect_does_not_unregister_the_newer_socket() {
    let hub = TestHub::start().await;
    let (agent, colleague) = (hub.agent(KEY).await, hub.agent(KEY).await);
    let service = hub.service(&agent, "db", "workspace").await;
    let (mut old, mut joiner) = (hub.connect(&agent).await, hub.connect(&colleague).await);
    let id = bridge(&mut joiner, &mut old, service).await;
    let mut new = hub.connect(&agent).await;

    // What the old one carries it goes on carrying; it no longer speaks for the agent.
    joiner.emit("reach_data", json!({"connectionId": id, "data": "eA=="})).await;
    assert_eq!(old.event("data").await["data"], "eA==");
    assert_eq!(old.call("heartbeat", Value::Null).await, json!({"success": false}));
    assert_eq!(new.call("heartbeat", Value::Null).await, json!({"success": true}));
    bridge(&mut joiner, &mut new, service).await;

    old.close().await;
    assert_eq!(joiner.event("reach_close").await, json!({"connectionId": id}));
    assert_eq!(new.call("expose", json!({"serviceId": service})).await, json!({"success": true}));
    bridge(&mut joiner, &mut new, service).await;

    // A socket that exposes nothing, as a second command of the CLI opens it, takes no dials away.
    let mut idle = hub.connect(&agent).await;
    bridge(&mut joiner, &mut new, service).await;
    idle.expect_silence().await;

    new.close().await;
    idle.close().await;
    eventually("offline", async || {
        joiner.reach(service).await.1["error"] == "Exposing agent is not connected"
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rotated_token_replaces_the_old_one_once_it_is_used() {
    let hub = TestHub::start().await;
    let mut agent = hub.agent(KEY).await;
    let rotate = async |token: &str| {
        let body = json!({"agentId": agent.id, "currentToken": token});
        hub.ask("POST", "/v1/agents/rotate-token", &[], Some(&body)).await
    };
    let lost = rotate(&agent.token).await;
    assert_eq!(lost.status, 201);
    // Whoever has not heard the answer asks again.
    hub.connect(&agent).await.close().await;
    let answer = rotate(&agent.token).await;
    assert_eq!(answer.status, 201);
    let new = answer.body["newToken"].as_str().expect("a token").to_owned();
    assert_eq!(new.len(), 64);
    assert_ne!(answer.body["newToken"], lost.body["newToken"]);

    let register = async |token: &str| {
        let body = json!({"agentId": agent.id, "token": token});
        hub.ask("POST", "/v1/agents/register", &[("x-api-key", KEY)], Some(&body)).await
    };
    let renewed = register(&new).await;
    assert_eq!((renewed.status, &renewed.body["agent"]["label"]), (201, &json!("test agent")));
    let stale = rotate(&agent.token).await;
    assert_eq!((stale.status, &stale.body["message"]), (401, &json!("Invalid current token")));
    assert_eq!(register(&agent.token).await.status, 409, "a workspace key does not replace a token");
    let body = json!({"agentId": agent.id, "token": new});
    let foreign = hub.ask("POST", "/v1/agents/register", &[("x-api-key", OTHER_KEY)], Some(&body)).await;
    assert_eq!(foreign.status, 409);
    agent.token = new;
    hub.connect(&agent).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frame_over_the_limit_closes_the_socket_and_no_other() {
    let hub = TestHub::start().await;
    let agent = hub.agent(KEY).await;
    let (mut rude, mut calm) = (hub.connect(&agent).await, hub.connect(&agent).await);
    let event = json!(["reach_data", {"connectionId": "x", "data": "A".repeat(1_100_000)}]);
    // The hub may close while it is still being sent.
    let _ = rude.try_send(&format!("42/agent,{event}")).await;
    while rude.frame().await.is_some() {}
    assert_eq!(calm.call("heartbeat", Value::Null).await, json!({"success": true}));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_check_goes_through_the_agent() {
    let hub = TestHub::start().await;
    let agent = hub.agent(KEY).await;
    let service = hub.service(&agent, "db", "workspace").await;
    let path = format!("/v1/services/{service}/check");
    let offline = hub.ask_as(&agent, "POST", &path, None).await;
    assert_eq!((offline.status, &offline.body["diagnostic"]["tcpStatus"]), (201, &json!("FAIL")));

    let mut exposer = hub.connect(&agent).await;
    let answer = async |socket: &mut Socket, event: &str, error: Value| {
        let dial = socket.event("dial").await;
        assert_eq!((&dial["targetHost"], &dial["targetPort"]), (&json!("10.0.0.1"), &json!(5432)));
        socket.emit(event, json!({"connectionId": dial["connectionId"], "error": error})).await;
    };
    let (checked, ()) = tokio::join!(
        hub.ask_as(&agent, "POST", &path, None),
        answer(&mut exposer, "dial_success", Value::Null)
    );
    assert_eq!(checked.body["diagnostic"]["tcpStatus"], "OK", "{checked:?}");
    assert_eq!(
        (&checked.body["diagnostic"]["tlsStatus"], &checked.body["service"]["status"]),
        (&Value::Null, &json!("OK"))
    );
    exposer.event("close").await;

    let reach = format!("/v1/services/{service}/reach");
    let body = json!({"sourceAgentId": agent.id});
    let (reached, ()) = tokio::join!(
        hub.ask_as(&agent, "POST", &reach, Some(&body)),
        answer(&mut exposer, "dial_error", json!("connection refused"))
    );
    assert_eq!((reached.status, &reached.body["session"]["outcome"]), (201, &json!("failure")));
    assert!(reached.body["diagnostic"]["message"].as_str().expect("text").ends_with("connection refused"));
    let row = hub.ask_as(&agent, "GET", &format!("/v1/services/{service}"), None).await.body;
    assert_eq!((&row["status"], row["diagnostics"].as_array().map(Vec::len)), (&json!("FAIL"), Some(3)));
    assert_eq!(hub.hub.open_bridges(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_workspace_refuses_newcomers_and_nobody_else() {
    let hub = TestHub::with_limits(Limits { sockets_per_workspace: 2, ..Limits::default() }).await;
    let (first, second, third) = (hub.agent(KEY).await, hub.agent(KEY).await, hub.agent(KEY).await);
    let (mut old, _other) = (hub.connect(&first).await, hub.connect(&second).await);
    let mut refused = Socket::open(&hub.url).await;
    refused.send(&format!("40/agent,{}", json!({"agentId": third.id, "token": third.token}))).await;
    let said = refused.event("error").await;
    assert_eq!(said["code"], "TOO_MANY_SOCKETS");
    let sentence = "This workspace has 2 sockets connected, as many as it may have: end some of its agents, or use another workspace";
    assert_eq!(said["message"], sentence);
    assert_eq!(refused.frame().await.as_deref(), Some("41/agent,"));

    // Who comes back takes its own place, other workspaces have theirs, and guests are none of a workspace's agents.
    let mut new = hub.connect(&first).await;
    assert_eq!(old.frame().await.as_deref(), Some("41/agent,"), "its older socket goes");
    assert_eq!(new.call("heartbeat", Value::Null).await, json!({"success": true}));
    hub.connect(&hub.agent(OTHER_KEY).await).await;
    let share = hub.share(&second, &[], json!({})).await;
    hub.connect(&hub.join_as_guest(&share["code"]).await).await;

    // A place that is given back can be taken.
    new.close().await;
    eventually("there is room", async || {
        let mut socket = Socket::open(&hub.url).await;
        socket.send(&format!("40/agent,{}", json!({"agentId": third.id, "token": third.token}))).await;
        let mut welcome = socket.frame().await.unwrap_or_default();
        while welcome.starts_with("40/agent") {
            welcome = socket.frame().await.unwrap_or_default();
        }
        welcome.starts_with("42/agent,[\"connected\"")
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_more_socket_than_an_agent_may_have_closes_its_oldest() {
    let hub = TestHub::start().await;
    let agent = hub.agent(KEY).await;
    let share = hub.share(&agent, &[], json!({})).await;
    let guest = hub.join_as_guest(&share["code"]).await;
    for (who, most) in [(&agent, 32), (&guest, 4)] {
        let mut sockets = Vec::new();
        for _ in 0..=most {
            sockets.push(hub.connect(who).await);
        }
        let mut oldest = sockets.remove(0);
        eventually("the oldest is told", async || oldest.frame().await.as_deref() == Some("41/agent,")).await;
        assert_eq!(
            sockets[0].call("heartbeat", Value::Null).await,
            json!({"success": false}),
            "not the newest"
        );
        let newest = sockets.last_mut().expect("one");
        assert_eq!(newest.call("heartbeat", Value::Null).await, json!({"success": true}));
    }
}
