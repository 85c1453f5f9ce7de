//! What the owner of a hub and of a share is told: who is connected, whom an end cut off and why it came, what is counted.

use serde_json::{Value, json};

use crate::support::{Agent, KEY, Socket, TestHub, bridge, eventually};

fn path(share: &Value) -> String {
    format!("/v1/env-shares/{}", share["code"].as_str().expect("a code"))
}

/// Ends a share with the reason that a header gives.
async fn end(hub: &TestHub, maker: &Agent, share: &Value, reason: &str) -> Value {
    let id = maker.id.to_string();
    let headers = [("x-api-key", maker.key), ("x-agent-id", &id), ("end-reason", reason)];
    let answer = hub.ask("DELETE", &path(share), &headers, None).await;
    assert_eq!((answer.status, &answer.body["success"]), (200, &json!(true)), "{answer:?}");
    answer.body["cut"].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_end_has_a_reason_for_those_who_are_there_and_those_who_come_back() {
    let reasons = [("", "revoked"), ("rotated", "rotated"), ("deleted", "deleted"), ("because", "revoked")];
    for (asked, told) in reasons {
        let hub = TestHub::start().await;
        let (maker, colleague) = (hub.agent(KEY).await, hub.agent(KEY).await);
        let service = hub.service(&maker, "db", "shared").await;
        let share = hub.share(&maker, &[service], json!({})).await;
        let (there, away) =
            (hub.join_as_guest(&share["code"]).await, hub.join_as_guest(&share["code"]).await);
        let join = format!("{}/join", path(&share));
        assert_eq!(hub.ask_as(&colleague, "POST", &join, Some(&json!({}))).await.status, 201);
        let mut joiner = hub.connect(&there).await;
        end(&hub, &maker, &share, asked).await;

        let over = json!({"id": share["id"], "reason": told});
        assert_eq!(joiner.event("share_ended").await, over);
        let mut late = Socket::open(&hub.url).await;
        late.send(&format!("40/agent,{}", json!({"agentId": away.id, "token": away.token}))).await;
        let refused = late.event("error").await;
        assert_eq!((&refused["code"], &refused["ended"]), (&json!("INVALID_TOKEN"), &json!([over])));
        let welcome = hub.connect(&colleague).await.welcome;
        assert_eq!((&welcome["shares"], &welcome["ended"]), (&json!([]), &json!([over])), "{asked}");
        // What was refused stays refused, with the same words as ever.
        assert_eq!(hub.ask("GET", &path(&share), &[], None).await.body["message"], "Share not found");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_share_that_is_made_again_says_why_it_is_over() {
    let hub = TestHub::start().await;
    let maker = hub.agent(KEY).await;
    let id = maker.id.to_string();
    let headers = [("x-api-key", KEY), ("x-agent-id", id.as_str()), ("idempotency-key", "once")];
    let create =
        async || hub.ask("POST", "/v1/env-shares", &headers, Some(&json!({}))).await.body["share"].clone();
    let share = create().await;
    assert_eq!((&share["state"], &share["endReason"]), (&json!("active"), &Value::Null));
    end(&hub, &maker, &share, "rotated").await;
    let again = create().await;
    assert_eq!((&again["state"], &again["endReason"]), (&json!("revoked"), &json!("rotated")));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_end_says_whom_it_cut_off() {
    let hub = TestHub::start().await;
    let maker = hub.agent(KEY).await;
    let (db, web) = (hub.service(&maker, "db", "shared").await, hub.service(&maker, "web", "shared").await);
    let share = hub.share(&maker, &[db, web], json!({})).await;
    let mut exposer = hub.connect(&maker).await;
    let guests = [
        hub.join_as_guest(&share["code"]).await,
        hub.join_as_guest(&share["code"]).await,
        hub.join_as_guest(&share["code"]).await, // never connects
    ];
    let (mut busy, _idle) = (hub.connect(&guests[0]).await, hub.connect(&guests[1]).await);
    for service in [db, db, web] {
        bridge(&mut busy, &mut exposer, service).await;
    }
    let routes = json!({"routes": [crate::support::route(db)]});
    let changed = hub.ask_as(&maker, "PATCH", &path(&share), Some(&routes)).await;
    assert_eq!(changed.body["cut"], json!({"joiners": 1, "connections": 1}));
    assert_eq!(end(&hub, &maker, &share, "rotated").await, json!({"joiners": 2, "connections": 2}));
    assert_eq!(end(&hub, &maker, &share, "rotated").await, json!({"joiners": 0, "connections": 0}), "once");
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_made_a_share_knows_who_is_connected() {
    let hub = TestHub::start().await;
    let maker = hub.agent(KEY).await;
    let service = hub.service(&maker, "db", "shared").await;
    let share = hub.share(&maker, &[service], json!({})).await;
    let mut exposer = hub.connect_with(&maker, &["share-events", "presence"]).await;
    let joins = async || hub.ask_as(&maker, "GET", &format!("{}/joins", path(&share)), None).await.body;
    let nobody = json!({"joiners": 0, "connections": 0});
    let guest = hub.join_as_guest(&share["code"]).await;
    hub.join_as_guest(&share["code"]).await;
    assert_eq!(joins().await["connected"], nobody, "joining is not being connected");

    let mut joiner = hub.connect(&guest).await;
    let told = exposer.event("share_presence").await;
    assert_eq!(
        (&told["id"], &told["connected"]["joiners"], &told["count"]),
        (&share["id"], &json!(1), &json!(2))
    );
    bridge(&mut joiner, &mut exposer, service).await;
    bridge(&mut joiner, &mut exposer, service).await;
    let one = json!({"joiners": 1, "connections": 2});
    let listed = joins().await;
    assert_eq!(listed["connected"], one);
    let of = |body: &Value, agent: &Agent| {
        let rows = body["joins"].as_array().expect("joins");
        let row = rows.iter().find(|row| row["agentId"] == json!(agent.id)).expect("a join");
        (row["connected"].clone(), row["connections"].clone())
    };
    assert_eq!(of(&listed, &guest), (json!(true), json!(2)));
    let row = hub.ask_as(&maker, "GET", "/v1/env-shares", None).await.body["shares"][0].clone();
    assert_eq!(row["connected"], one);
    assert_eq!(
        row["joins"].as_array().expect("joins").iter().filter(|join| join["connected"] == true).count(),
        1
    );

    joiner.close().await;
    assert_eq!(exposer.event("share_presence").await["connected"], nobody);
    eventually("the list knows", async || joins().await["connected"] == nobody).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_hub_can_do_is_said_before_anybody_connects() {
    use connect_hubd::Limits;

    for data_connections in [true, false] {
        let hub = TestHub::with_limits(Limits { data_connections, ..Limits::default() }).await;
        let agent = hub.agent(KEY).await;
        let health = hub.ask("GET", "/health", &[], None).await.body;
        let welcome = hub.connect(&agent).await.welcome;
        for told in [&health["features"], &welcome["features"]] {
            let has = |name: &str| told.as_array().expect("features").contains(&json!(name));
            assert!(has("e2e-handshake-relay") && has("end-reasons"), "{told}");
            assert_eq!(has("data-connections"), data_connections, "{told}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_older_copy_of_the_data_knows_no_newer_agent_and_lets_it_register_again() {
    let hub = TestHub::start().await;
    let old = hub.agent(KEY).await;
    let service = hub.service(&old, "old", "shared").await;
    let TestHub { hub: running, data, .. } = hub;
    running.stop().await;
    let copy = tempfile::tempdir().expect("a folder");
    let copy_files = |from: &std::path::Path, to: &std::path::Path| {
        for entry in std::fs::read_dir(from).expect("readable") {
            let entry = entry.expect("readable");
            std::fs::copy(entry.path(), to.join(entry.file_name())).expect("copies");
        }
    };
    copy_files(data.path(), copy.path());

    // Life goes on: a new agent, a service and a share of its own. Then the copy is put back.
    let hub = TestHub::over(data, connect_hubd::Limits::default()).await;
    let new = hub.agent(KEY).await;
    let lost = hub.service(&new, "new", "shared").await;
    let share = hub.share(&new, &[lost], json!({})).await;
    hub.hub.stop().await;
    let hub = TestHub::over(copy, connect_hubd::Limits::default()).await;

    let mut socket = Socket::open(&hub.url).await;
    let auth = format!("40/agent,{}", json!({"agentId": new.id, "token": new.token}));
    socket.send(&auth).await;
    assert_eq!(
        socket.event("error").await,
        json!({"code": "INVALID_TOKEN", "message": "Invalid credentials"})
    );
    let beat = json!({"agentId": new.id, "token": new.token});
    assert_eq!(hub.ask("POST", "/v1/agents/heartbeat", &[], Some(&beat)).await.status, 401);
    assert_eq!(hub.ask_as(&new, "GET", "/v1/env-shares", None).await.status, 401, "it must register first");

    let body = json!({"agentId": new.id, "token": new.token, "label": "back"});
    let registered = hub.ask("POST", "/v1/agents/register", &[("x-api-key", KEY)], Some(&body)).await;
    assert_eq!((registered.status, &registered.body["agent"]["id"]), (201, &json!(new.id)));
    socket.send(&auth).await; // over the same websocket, too
    socket.event("connected").await;
    let again = hub.service(&new, "new", "shared").await;
    assert_eq!(hub.ask("GET", &path(&share), &[], None).await.status, 404, "the copy never knew it");
    let made = hub.share(&new, &[again], json!({})).await;
    let guest = hub.join_as_guest(&made["code"]).await;
    let mut joiner = hub.connect(&guest).await;
    bridge(&mut joiner, &mut socket, again).await;
    // What the copy knew works as before.
    let shared = hub.share(&old, &[service], json!({})).await;
    assert_eq!(hub.ask("GET", &path(&shared), &[], None).await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_count_and_name_nobody() {
    let hub = TestHub::start().await;
    let address = hub.hub.serve_metrics("127.0.0.1:0".parse().expect("an address")).await.expect("listens");
    let maker = hub.agent(KEY).await;
    let service = hub.service(&maker, "db", "shared").await;
    let share = hub.share(&maker, &[service], json!({"name": "quarterly"})).await;
    let guest = hub.join_as_guest(&share["code"]).await;
    let (mut exposer, mut joiner) = (hub.connect(&maker).await, hub.connect(&guest).await);
    bridge(&mut joiner, &mut exposer, service).await;
    hub.ask("GET", "/v1/env-shares/zzzzzzzzzz", &[], None).await;
    let read = async || {
        let response =
            crate::support::http().get(format!("http://{address}/metrics")).send().await.expect("an answer");
        assert_eq!(response.status(), 200);
        response.text().await.expect("text")
    };
    let text = read().await;
    for line in [
        "connect_hub_joins_total 1",
        "connect_hub_refused_codes_total 1",
        "connect_hub_agents_connected 2",
        "connect_hub_sockets_open 2",
        "connect_hub_connections_open 1",
    ] {
        assert!(text.lines().any(|told| told == line), "{line} is not in:\n{text}");
    }
    for secret in [share["code"].as_str().expect("a code"), "quarterly", &guest.id.to_string(), KEY] {
        assert!(!text.contains(secret));
    }
    end(&hub, &maker, &share, "rotated").await;
    assert!(read().await.contains("connect_hub_shares_ended_total{reason=\"rotated\"} 1"));
    assert_eq!(hub.ask("GET", "/metrics", &[], None).await.status, 404, "not where everybody comes");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_front_page_says_what_this_is_and_runs_nothing() {
    let hub = TestHub::start().await;
    for (accept, kind) in [("text/html,*/*", "text/html"), ("*/*", "text/plain"), ("", "text/plain")] {
        let request =
            crate::support::http().get(format!("{}/?code=<script>", hub.url)).header("accept", accept);
        let response = request.send().await.expect("an answer");
        assert_eq!(response.status(), 200);
        let header = |name: &str| {
            response.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned()
        };
        assert!(header("content-type").starts_with(kind), "{accept}");
        assert!(header("content-security-policy").contains("default-src 'none'"));
        assert_eq!(header("x-content-type-options"), "nosniff");
        let page = response.text().await.expect("text");
        assert!(page.contains("Private Connect hub") && page.contains("kubectl connect join CODE"), "{page}");
        assert!(!page.contains("script") && !page.contains("http-equiv"), "{page}");
    }
}
