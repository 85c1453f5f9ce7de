//! Shares: made once, joined by code, gone at their end.

use std::time::Duration;

use connect_hubd::Limits;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::{Agent, KEY, OTHER_KEY, TestHub, bridge, eventually, route};

/// A date so far ahead that a test is over before, or as near as asked.
fn in_millis(millis: i64) -> String {
    jiff::Timestamp::now()
        .checked_add(jiff::SignedDuration::from_millis(millis))
        .expect("in range")
        .to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_reaches_what_it_was_granted_and_nothing_else() {
    let hub = TestHub::start().await;
    let maker = hub.agent(KEY).await;
    let (shared, private) =
        (hub.service(&maker, "db", "shared").await, hub.service(&maker, "admin", "shared").await);
    let open = hub.service(&maker, "open", "workspace").await;
    let share = hub.share(&maker, &[shared], json!({"name": "demo"})).await;
    let mut exposer = hub.connect(&maker).await;

    let guest = hub.join_as_guest(&share["code"]).await;
    let joined = exposer.event("share_joined").await;
    assert_eq!(
        (&joined["id"], &joined["count"], &joined["agentLabel"]),
        (&share["id"], &json!(1), &json!("guest laptop"))
    );

    let mut joiner = hub.connect(&guest).await;
    bridge(&mut joiner, &mut exposer, shared).await;
    for refused in [private, open, Uuid::new_v4()] {
        let (_, reply) = joiner.reach(refused).await;
        assert_eq!(reply, json!({"success": false, "error": "Service not found"}));
    }
    assert_eq!(hub.hub.open_bridges(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shared_service_is_closed_to_its_own_workspace_without_a_grant() {
    let hub = TestHub::start().await;
    let (maker, colleague, stranger) =
        (hub.agent(KEY).await, hub.agent(KEY).await, hub.agent(OTHER_KEY).await);
    let (shared, open) =
        (hub.service(&maker, "db", "shared").await, hub.service(&maker, "web", "workspace").await);
    let share = hub.share(&maker, &[shared], json!({})).await;
    let mut exposer = hub.connect(&maker).await;
    let (mut inside, mut outside) = (hub.connect(&colleague).await, hub.connect(&stranger).await);

    let not_found = json!({"success": false, "error": "Service not found"});
    assert_eq!(inside.reach(shared).await.1, not_found);
    bridge(&mut inside, &mut exposer, open).await;
    assert_eq!(outside.reach(shared).await.1, not_found);
    assert_eq!(outside.reach(open).await.1, not_found);

    // A code makes the difference, for both.
    let path = format!("/v1/env-shares/{}/join", share["code"].as_str().expect("a code"));
    for (agent, socket) in [(&colleague, &mut inside), (&stranger, &mut outside)] {
        assert_eq!(hub.ask_as(agent, "POST", &path, Some(&json!({}))).await.status, 201);
        bridge(socket, &mut exposer, shared).await;
    }
    assert_eq!(outside.reach(open).await.1, not_found, "a grant opens its routes only");
}

#[tokio::test(flavor = "multi_thread")]
async fn expiry_cuts_its_bridges_and_no_others() {
    let hub = TestHub::start().await;
    let maker = hub.agent(KEY).await;
    let (short, long) =
        (hub.service(&maker, "short", "shared").await, hub.service(&maker, "long", "shared").await);
    let ending = hub.share(&maker, &[short], json!({"expiresAt": in_millis(1500)})).await;
    let lasting = hub.share(&maker, &[long], json!({"expiresInHours": 336})).await;
    let (guest, other) =
        (hub.join_as_guest(&ending["code"]).await, hub.join_as_guest(&lasting["code"]).await);
    let mut exposer = hub.connect(&maker).await;
    let (mut joiner, mut staying) = (hub.connect(&guest).await, hub.connect(&other).await);
    let cut = bridge(&mut joiner, &mut exposer, short).await;
    let kept = bridge(&mut staying, &mut exposer, long).await;

    let (first, ended) = joiner.any_event().await;
    assert_eq!((first.as_str(), &ended), ("share_ended", &json!({"id": ending["id"], "reason": "expired"})));
    assert!(
        jiff::Timestamp::now() >= ending["expiresAt"].as_str().expect("a date").parse().expect("a date"),
        "too early"
    );
    assert_eq!(joiner.any_event().await, ("reach_close".into(), json!({"connectionId": cut})));
    assert_eq!(exposer.event("close").await, json!({"connectionId": cut}));
    assert_eq!(joiner.frame().await.as_deref(), Some("41/agent,"), "a guest has nothing left here");

    staying.emit("reach_data", json!({"connectionId": kept, "data": "eA=="})).await;
    assert_eq!(exposer.event("data").await, json!({"connectionId": kept, "data": "eA=="}));
    staying.expect_silence().await;

    let path = format!("/v1/env-shares/{}", ending["code"].as_str().expect("a code"));
    let answer = hub.ask("GET", &path, &[], None).await;
    assert_eq!((answer.status, answer.body), (404, json!({"statusCode": 404, "message": "Share not found"})));
    let listed = hub.ask_as(&maker, "GET", "/v1/env-shares", None).await.body;
    assert_eq!(listed["shares"].as_array().map(Vec::len), Some(1));
    let change = hub.ask_as(&maker, "PATCH", &path, Some(&json!({"expiresAt": in_millis(60_000)}))).await;
    assert_eq!((change.status, &change.body["message"]), (409, &json!("Share has ended")));
}

#[tokio::test(flavor = "multi_thread")]
async fn revoking_cuts_at_once_and_only_its_maker_may() {
    let hub = TestHub::start().await;
    let (maker, colleague) = (hub.agent(KEY).await, hub.agent(KEY).await);
    let service = hub.service(&maker, "db", "shared").await;
    let share = hub.share(&maker, &[service], json!({})).await;
    let guest = hub.join_as_guest(&share["code"]).await;
    let (mut exposer, mut joiner) = (hub.connect(&maker).await, hub.connect(&guest).await);
    let id = bridge(&mut joiner, &mut exposer, service).await;

    let path = format!("/v1/env-shares/{}", share["code"].as_str().expect("a code").to_uppercase());
    assert_eq!(hub.ask_as(&colleague, "POST", &format!("{path}/join"), Some(&json!({}))).await.status, 201);
    let mut inside = hub.connect(&colleague).await;
    bridge(&mut inside, &mut exposer, service).await;
    assert_eq!(hub.ask_as(&colleague, "DELETE", &path, None).await.status, 403);
    assert_eq!(hub.ask_as(&colleague, "GET", &format!("{path}/joins"), None).await.status, 404);
    assert_eq!(hub.ask_as(&maker, "DELETE", &path, None).await.status, 200);
    assert_eq!(
        joiner.any_event().await,
        ("share_ended".into(), json!({"id": share["id"], "reason": "revoked"}))
    );
    assert_eq!(joiner.any_event().await, ("reach_close".into(), json!({"connectionId": id})));
    exposer.event("close").await;
    assert_eq!(inside.event("share_ended").await["reason"], "revoked");
    inside.event("reach_close").await;
    assert_eq!(
        inside.reach(service).await.1["error"],
        "Service not found",
        "it stays, but its grant is gone"
    );
    assert_eq!(hub.hub.open_bridges(), 0);

    // The guest's token is as dead as the share.
    let mut again = crate::support::Socket::open(&hub.url).await;
    again.send(&format!("40/agent,{}", json!({"agentId": guest.id, "token": guest.token}))).await;
    again.frame().await.expect("joined");
    assert_eq!(again.any_event().await.1["code"], "INVALID_TOKEN");
    assert_eq!(hub.ask_as(&maker, "DELETE", &path, None).await.status, 200, "twice is as good as once");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_share_can_be_changed_while_it_is_used() {
    let hub = TestHub::start().await;
    let maker = hub.agent(KEY).await;
    let (kept, dropped) =
        (hub.service(&maker, "kept", "shared").await, hub.service(&maker, "dropped", "shared").await);
    let share = hub.share(&maker, &[kept, dropped], json!({"expiresAt": in_millis(60_000)})).await;
    let guest = hub.join_as_guest(&share["code"]).await;
    let (mut exposer, mut joiner) = (hub.connect(&maker).await, hub.connect(&guest).await);
    bridge(&mut joiner, &mut exposer, kept).await;
    let cut = bridge(&mut joiner, &mut exposer, dropped).await;

    let path = format!("/v1/env-shares/{}", share["code"].as_str().expect("a code"));
    let change = json!({"expiresAt": in_millis(120_000), "maxJoins": 1, "routes": [route(kept)]});
    let answer = hub.ask_as(&maker, "PATCH", &path, Some(&change)).await;
    assert_eq!((answer.status, &answer.body["share"]["state"]), (200, &json!("active")), "{answer:?}");
    assert_eq!(answer.body["share"]["code"], share["code"]);
    assert_eq!(answer.body["share"]["routes"].as_array().map(Vec::len), Some(1));
    let changed = json!({"id": share["id"], "expiresAt": answer.body["share"]["expiresAt"]});
    assert_eq!(joiner.event("share_changed").await, changed);
    assert_eq!(joiner.event("reach_close").await, json!({"connectionId": cut}));
    assert_eq!(joiner.reach(dropped).await.1["error"], "Service not found");
    bridge(&mut joiner, &mut exposer, kept).await;
    let refused = hub.ask("POST", &format!("{path}/join"), &[], Some(&json!({}))).await;
    assert_eq!(refused.status, 404, "one agent has joined, and one may");

    // Brought forward, the end comes sooner, for the bridges too.
    hub.ask_as(&maker, "PATCH", &path, Some(&json!({"expiresAt": in_millis(300)}))).await;
    assert_eq!(joiner.event("share_ended").await["reason"], "expired");
    eventually("all cut", async || hub.hub.open_bridges() == 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn deleting_a_service_cuts_it_and_frees_its_port() {
    let hub = TestHub::start().await;
    let (maker, stranger) = (hub.agent(KEY).await, hub.agent(OTHER_KEY).await);
    let service = hub.service(&maker, "db", "workspace").await;
    let (mut exposer, mut joiner) = (hub.connect(&maker).await, hub.connect(&maker).await);
    assert_eq!(exposer.call("expose", json!({"serviceId": service})).await, json!({"success": true}));
    let id = bridge(&mut joiner, &mut exposer, service).await;

    let path = format!("/v1/services/{service}");
    assert_eq!(hub.ask_as(&stranger, "DELETE", &path, None).await.status, 403);
    let answer = hub.ask_as(&maker, "DELETE", &path, None).await;
    assert_eq!(
        (answer.status, answer.body),
        (200, json!({"success": true, "cut": {"joiners": 1, "connections": 1}}))
    );
    assert_eq!(joiner.event("reach_close").await, json!({"connectionId": id}));
    assert_eq!(joiner.reach(service).await.1["error"], "Service not found");
    assert_eq!(hub.ask_as(&maker, "DELETE", &path, None).await.status, 404);

    let body = json!({"agentId": maker.id, "name": "new", "targetHost": "h", "targetPort": 1});
    let answer = hub.ask_as(&maker, "POST", "/v1/services/register", Some(&body)).await;
    assert_eq!(answer.body["service"]["tunnelPort"], 23_000);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_is_replaced_by_its_own_agent_only() {
    let hub = TestHub::start().await;
    let (maker, colleague) = (hub.agent(KEY).await, hub.agent(KEY).await);
    let id = hub.service(&maker, "shop/demo/db", "shared").await;
    let body = |host: &str| json!({"name": "shop/demo/db", "targetHost": host, "targetPort": 5432});
    let as_agent =
        |agent: Uuid| json!({"agentId": agent, "name": "shop/demo/db", "targetHost": "h", "targetPort": 1});

    let taken = hub.ask_as(&colleague, "POST", "/v1/services/register", Some(&as_agent(colleague.id))).await;
    assert_eq!(
        (taken.status, &taken.body["message"]),
        (409, &json!("Service name belongs to another agent of the workspace"))
    );
    let external = hub.ask_as(&colleague, "POST", "/v1/services/external", Some(&body("elsewhere"))).await;
    assert_eq!(external.status, 409, "{external:?}");
    let again = hub.ask_as(&maker, "POST", "/v1/services/register", Some(&as_agent(maker.id))).await;
    assert_eq!((again.status, &again.body["service"]["id"]), (201, &json!(id)));

    // Another workspace has names of its own, and a name that is freed is anybody's.
    let stranger = hub.agent(OTHER_KEY).await;
    assert_ne!(hub.service(&stranger, "shop/demo/db", "shared").await, id);
    hub.ask_as(&maker, "DELETE", &format!("/v1/services/{id}"), None).await;
    hub.service(&colleague, "shop/demo/db", "shared").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_removes_itself_and_what_is_its_own() {
    let hub = TestHub::start().await;
    let (maker, colleague) = (hub.agent(KEY).await, hub.agent(KEY).await);
    let (own, other) =
        (hub.service(&maker, "own", "shared").await, hub.service(&colleague, "other", "shared").await);
    let share = hub.share(&maker, &[own], json!({})).await;
    let kept = hub.share(&colleague, &[other], json!({})).await;
    let path = format!("/v1/agents/{}", maker.id);
    assert_eq!(hub.ask_as(&colleague, "DELETE", &path, None).await.status, 403);
    assert_eq!(hub.ask_as(&maker, "DELETE", &path, None).await.status, 409, "it has a share");

    let code = |share: &Value| format!("/v1/env-shares/{}", share["code"].as_str().expect("a code"));
    hub.join_as_guest(&share["code"]).await;
    assert_eq!(hub.ask_as(&maker, "DELETE", &code(&share), None).await.status, 200);
    assert_eq!(hub.ask_as(&maker, "DELETE", &path, None).await.status, 200);
    assert_eq!(hub.ask_as(&maker, "GET", "/v1/env-shares", None).await.status, 401);
    let services = hub.ask_as(&colleague, "GET", "/v1/services", None).await.body;
    assert_eq!(services.as_array().map(Vec::len), Some(1), "{services}");
    assert_eq!(hub.ask("GET", &code(&kept), &[], None).await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_idempotency_key_makes_one_share() {
    let hub = TestHub::start().await;
    let (maker, colleague) = (hub.agent(KEY).await, hub.agent(KEY).await);
    let (id, other) = (maker.id.to_string(), colleague.id.to_string());
    let create = async |agent: &str, key: &str| {
        let headers = [("x-api-key", KEY), ("x-agent-id", agent), ("idempotency-key", key)];
        let answer = hub.ask("POST", "/v1/env-shares", &headers, Some(&json!({}))).await;
        assert_eq!(answer.status, 201, "{answer:?}");
        answer.body["share"].clone()
    };
    // At once ...
    let (a, b, c) = tokio::join!(create(&id, "k1"), create(&id, "k1"), create(&id, "k1"));
    assert_eq!((&a, &a), (&b, &c));
    assert_eq!(a["routes"], json!([]), "a key makes an empty share possible");
    // ... and later, and not for another key or agent.
    assert_eq!(create(&id, "k1").await, a);
    assert_ne!(create(&id, "k2").await["code"], a["code"]);
    assert_ne!(create(&other, "k3").await["code"], a["code"]);
    // What it was made with is told to its maker, and its key is nobody else's while the share lives.
    let listed = hub.ask_as(&maker, "GET", "/v1/env-shares", None).await.body;
    let keys =
        listed["shares"].as_array().expect("a list").iter().map(|share| share["idempotencyKey"].clone());
    assert_eq!(keys.collect::<Vec<_>>(), [json!("k2"), json!("k1")]);
    let foreign = [("x-api-key", KEY), ("x-agent-id", other.as_str()), ("idempotency-key", "k1")];
    let taken = hub.ask("POST", "/v1/env-shares", &foreign, Some(&json!({}))).await;
    assert_eq!(taken.status, 409, "{taken:?}");
    let path = format!("/v1/env-shares/{}", a["code"].as_str().expect("a code"));
    assert_eq!(hub.ask_as(&maker, "DELETE", &path, None).await.status, 200);
    assert_ne!(create(&other, "k1").await["code"], a["code"]);
    let bad = [("x-api-key", KEY), ("x-agent-id", id.as_str()), ("idempotency-key", "with space")];
    assert_eq!(hub.ask("POST", "/v1/env-shares", &bad, Some(&json!({}))).await.status, 400);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_refusal_is_the_same_answer() {
    let limits = Limits { failures_per_address: 1000, failures_per_code: 1000, ..Limits::default() };
    let hub = TestHub::with_limits(limits).await;
    let maker = hub.agent(KEY).await;
    let service = hub.service(&maker, "db", "shared").await;
    let share = async |extra: Value| hub.share(&maker, &[service], extra).await["code"].clone();
    let (revoked, full) = (share(json!({})).await, share(json!({"maxJoins": 1})).await);
    let expired = share(json!({"expiresAt": in_millis(50)})).await;
    hub.ask_as(&maker, "DELETE", &format!("/v1/env-shares/{}", revoked.as_str().expect("a code")), None)
        .await;
    hub.join_as_guest(&full).await;
    eventually("it expires", async || {
        let listed = hub.ask_as(&maker, "GET", "/v1/env-shares", None).await.body;
        listed["shares"].as_array().is_some_and(|shares| shares.iter().all(|share| share["code"] != expired))
    })
    .await;

    let not_found = json!({"statusCode": 404, "message": "Share not found"});
    for code in
        [&revoked, &full, &expired, &json!("abcdefgh23"), &json!("short"), &json!("%00%ff"), &json!("a%2Fb")]
    {
        let path = format!("/v1/env-shares/{}", code.as_str().expect("a code"));
        let preview = hub.ask("GET", &path, &[], None).await;
        let join = hub.ask("POST", &format!("{path}/join"), &[], Some(&json!({}))).await;
        let known =
            hub.ask_as(&hub.agent(OTHER_KEY).await, "POST", &format!("{path}/join"), Some(&json!({}))).await;
        for answer in [preview, join, known] {
            assert_eq!((answer.status, &answer.body), (404, &not_found), "{code}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_guesses_is_kept_out_for_a_while() {
    let limits = Limits { failures_per_address: 5, failures_per_code: 3, ..Limits::default() };
    let hub = TestHub::with_limits(limits).await;
    let maker = hub.agent(KEY).await;
    let share = hub.share(&maker, &[], json!({"expiresAt": in_millis(60_000), "maxJoins": 1})).await;
    let good = format!("/v1/env-shares/{}", share["code"].as_str().expect("a code"));
    assert_eq!(hub.ask("GET", &good, &[], None).await.status, 200);

    let ask = async |path: &str| hub.ask("GET", path, &[], None).await;
    for _ in 0..3 {
        assert_eq!(ask("/v1/env-shares/abcdefgh23").await.status, 404);
    }
    let answer = ask("/v1/env-shares/ABCDEFGH23").await;
    assert_eq!(answer.status, 429, "this code was tried too often");
    let seconds = answer.headers["retry-after"].to_str().expect("text").parse::<u64>().expect("seconds");
    assert!((1..=600).contains(&seconds));
    let message = format!("Too many attempts. Try again in {seconds} seconds.");
    assert_eq!(answer.body, json!({"statusCode": 429, "message": message}));

    assert_eq!(ask(&good).await.status, 200);
    for code in ["abcdefgh24", "nonsense"] {
        assert_eq!(ask(&format!("/v1/env-shares/{code}")).await.status, 404);
    }
    // The address has no try left: what is wrong is not told from what is locked, what is right opens.
    for code in ["abcdefgh25", "nonsense", "abcdefgh25/join"] {
        let method = if code.ends_with("join") { "POST" } else { "GET" };
        let answer = hub.ask(method, &format!("/v1/env-shares/{code}"), &[], None).await;
        assert_eq!(answer.status, 429, "{code}");
    }
    assert_eq!(ask(&good).await.status, 200);
    let join = hub.ask("POST", &format!("{good}/join"), &[], Some(&json!({}))).await;
    assert_eq!(join.status, 201);
    assert_eq!(ask(&good).await.status, 429, "one agent may join, and one has");
    // A header that nobody of ours wrote changes nothing.
    let forged = hub.ask("GET", &good, &[("x-forwarded-for", "192.0.2.1")], None).await;
    assert_eq!(forged.status, 429);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_guesses_at_once_are_no_more_than_in_a_row_and_lock_no_right_code_out() {
    let hub = TestHub::start().await;
    let maker = hub.agent(KEY).await;
    let share = hub.share(&maker, &[], json!({"expiresAt": in_millis(600_000)})).await;
    let good = format!("/v1/env-shares/{}", share["code"].as_str().expect("a code"));
    let letters = "abcdefghjkmnpqrstuvwxyz23456789".chars().collect::<Vec<_>>();
    let guess = async |number: usize| {
        let [a, b] = [letters[number % 31], letters[number / 31 % 31]];
        hub.ask("GET", &format!("/v1/env-shares/aaaaaaa{a}{b}z"), &[], None).await.status
    };
    let guesses = futures::future::join_all((0..900).map(guess));
    let good_ones = futures::future::join_all((0..20).map(|_| hub.ask("GET", &good, &[], None)));
    let (guesses, good_ones) = tokio::join!(guesses, good_ones);
    let count = |status| guesses.iter().filter(|answer| **answer == status).count();
    assert_eq!((count(404) + count(429), count(404) <= 20), (900, true), "{guesses:?}");
    assert!(good_ones.iter().all(|answer| answer.status == 200));
    assert_eq!(guess(901).await, 429);
    assert_eq!(hub.ask("POST", &format!("{good}/join"), &[], Some(&json!({}))).await.status, 201);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_address_joins_only_so_often_and_who_has_joined_may_come_again() {
    let hub = TestHub::with_limits(Limits { joins_per_address: 3, ..Limits::default() }).await;
    let (maker, member, late) = (hub.agent(KEY).await, hub.agent(KEY).await, hub.agent(KEY).await);
    let share = hub.share(&maker, &[], json!({"expiresAt": in_millis(600_000)})).await;
    let path = format!("/v1/env-shares/{}/join", share["code"].as_str().expect("a code"));
    let join = async |agent: Option<&Agent>| match agent {
        Some(agent) => hub.ask_as(agent, "POST", &path, Some(&json!({}))).await,
        None => hub.ask("POST", &path, &[], Some(&json!({}))).await,
    };
    for _ in 0..10 {
        assert_eq!(join(Some(&member)).await.status, 201, "it counts once");
    }
    assert_eq!((join(None).await.status, join(None).await.status), (201, 201));
    for newcomer in [None, Some(&late)] {
        let answer = join(newcomer).await;
        assert_eq!(answer.status, 429);
        let said = answer.body["message"].as_str().expect("text");
        assert!(said.starts_with("Too many joins from this address. Try again in "), "{said}");
        assert!(answer.headers.contains_key("retry-after"));
    }
    assert_eq!(join(Some(&member)).await.status, 201);
    let wrong = hub.ask("POST", "/v1/env-shares/abcdefgh23/join", &[], Some(&json!({}))).await;
    assert_eq!(wrong.status, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_share_without_routes_covers_what_its_maker_exposes_and_nothing_of_others() {
    let hub = TestHub::start().await;
    let (operator, laptop) = (hub.agent(KEY).await, hub.agent(KEY).await);
    hub.service(&operator, "shop/demo/db", "shared").await;
    hub.service(&operator, "admin", "workspace").await;
    for body in [json!({}), json!({"routes": []})] {
        let answer = hub.ask_as(&laptop, "POST", "/v1/env-shares", Some(&body)).await;
        assert_eq!((answer.status, &answer.body["share"]["routes"]), (201, &json!([])), "{}", answer.body);
    }
    hub.service(&laptop, "web", "workspace").await;
    let share = hub.share(&laptop, &[], json!({})).await;
    let names = share["routes"].as_array().expect("routes").iter().map(|route| &route["serviceName"]);
    assert_eq!(names.collect::<Vec<_>>(), ["web"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_workspace_has_its_own_services_and_is_told_how_many() {
    let hub = TestHub::with_limits(Limits { services_per_workspace: 2, ..Limits::default() }).await;
    let health = hub.ask("GET", "/health", &[], None).await.body;
    assert_eq!(health["limits"]["servicesPerWorkspace"], 2);
    for key in [KEY, OTHER_KEY] {
        let agent = hub.agent(key).await;
        for (name, port) in [("one", 23_000), ("two", 23_001), ("one", 23_000)] {
            let body = json!({"agentId": agent.id, "name": name, "targetHost": "h", "targetPort": 1});
            let answer = hub.ask_as(&agent, "POST", "/v1/services/register", Some(&body)).await;
            assert_eq!((answer.status, &answer.body["service"]["tunnelPort"]), (201, &json!(port)));
        }
        let body = json!({"agentId": agent.id, "name": "three", "targetHost": "h", "targetPort": 1});
        let answer = hub.ask_as(&agent, "POST", "/v1/services/register", Some(&body)).await;
        let said = answer.body["message"].as_str().expect("text");
        assert_eq!(answer.status, 402);
        assert!(
            said.starts_with("Service limit reached: a workspace has at most 2 services here."),
            "{said}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_is_as_long_as_it_looks() {
    let hub = TestHub::start().await;
    let maker = hub.agent(KEY).await;
    for (letter, length, status) in [
        ("a", 100, 201),
        ("a", 101, 400),
        ("ü", 100, 201),
        ("😀", 60, 201),
        ("😀", 100, 201),
        ("😀", 101, 400),
    ] {
        let body = json!({"name": letter.repeat(length), "expiresAt": in_millis(60_000)});
        let answer = hub.ask_as(&maker, "POST", "/v1/env-shares", Some(&body)).await;
        assert_eq!(answer.status, status, "{length} x {letter}: {answer:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn behind_a_proxy_its_last_word_is_the_address() {
    let limits = Limits { failures_per_address: 1, trusted_proxies: 1, ..Limits::default() };
    let hub = TestHub::with_limits(limits).await;
    let ask = async |forwarded: &str| {
        hub.ask("GET", "/v1/env-shares/nonsense", &[("x-forwarded-for", forwarded)], None).await.status
    };
    assert_eq!(ask("192.0.2.1").await, 404);
    assert_eq!(ask("192.0.2.1").await, 429);
    assert_eq!(ask("198.51.100.1, 192.0.2.1").await, 429, "what a client adds stands further left");
    assert_eq!(ask("192.0.2.1, 198.51.100.1").await, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn joins_are_told_to_the_maker_and_internal_hosts_to_nobody() {
    let hub = TestHub::start().await;
    let (maker, colleague) = (hub.agent(KEY).await, hub.agent(KEY).await);
    let service = hub.service(&maker, "db", "shared").await;
    let share = hub.share(&maker, &[service], json!({})).await;
    let path = format!("/v1/env-shares/{}", share["code"].as_str().expect("a code"));
    let guest = hub.join_as_guest(&share["code"]).await;
    for _ in 0..2 {
        let answer = hub.ask_as(&colleague, "POST", &format!("{path}/join"), Some(&json!({}))).await;
        assert!(!answer.body.to_string().contains("10.0.0.1"), "{answer:?}");
        let told = &answer.body["share"]["routes"][0];
        assert_eq!((&told["targetHost"], &told["targetPort"]), (&json!("db"), &json!(15432)));
        assert!(answer.body.get("agent").is_none(), "it has an identity");
    }
    assert!(!hub.ask("GET", &path, &[], None).await.body.to_string().contains("10.0.0.1"));

    let joins = hub.ask_as(&maker, "GET", &format!("{path}/joins"), None).await.body;
    assert_eq!(joins["count"], 3);
    let agents = joins["joins"].as_array().expect("joins").iter().map(|join| join["agentId"].clone());
    assert_eq!(agents.collect::<Vec<_>>(), [json!(colleague.id), json!(colleague.id), json!(guest.id)]);
    let row = hub.ask_as(&maker, "GET", "/v1/env-shares", None).await.body["shares"][0].clone();
    assert_eq!((&row["joinCount"], &row["joins"][2]["agentLabel"]), (&json!(3), &json!("guest laptop")));
    assert_eq!(row["lastJoinedAt"], row["joins"][0]["joinedAt"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_route_must_lead_to_the_makers_workspace() {
    let hub = TestHub::start().await;
    let (maker, stranger) = (hub.agent(KEY).await, hub.agent(OTHER_KEY).await);
    let foreign = hub.service(&stranger, "db", "workspace").await;
    for service in [foreign, Uuid::new_v4()] {
        let body = json!({"routes": [route(service)]});
        let answer = hub.ask_as(&maker, "POST", "/v1/env-shares", Some(&body)).await;
        assert_eq!(
            (answer.status, &answer.body["message"]),
            (
                400,
                &json!(
                    "Route db names a service that this workspace does not have. Register the service first."
                )
            )
        );
    }
    let past = json!({"expiresAt": "2020-01-01T00:00:00Z"});
    let answer = hub.ask_as(&maker, "POST", "/v1/env-shares", Some(&past)).await;
    assert_eq!(answer.status, 400);
    assert!(answer.body["message"].as_str().expect("text").contains("expiresAt must be in the future"));
    assert_eq!(hub.ask_as(&maker, "GET", "/v1/env-shares", None).await.body, json!({"shares": []}));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_share_that_ended_while_the_hub_was_away_is_over_when_it_is_back() {
    let hub = TestHub::start().await;
    let maker = hub.agent(KEY).await;
    let service = hub.service(&maker, "db", "shared").await;
    let soon = hub.share(&maker, &[service], json!({"expiresAt": in_millis(400)})).await;
    let later = hub.share(&maker, &[service], json!({"expiresAt": in_millis(6000)})).await;
    let (dead, alive) = (hub.join_as_guest(&soon["code"]).await, hub.join_as_guest(&later["code"]).await);
    let (data, end) =
        (hub.data, soon["expiresAt"].as_str().expect("a date").parse::<jiff::Timestamp>().expect("a date"));
    hub.hub.stop().await;
    eventually("the end passes", async || jiff::Timestamp::now() > end).await;
    let hub = TestHub::over(data, Limits::default()).await;

    let mut exposer = hub.connect(&maker).await;
    let mut joiner = hub.connect(&alive).await;
    bridge(&mut joiner, &mut exposer, service).await;
    let mut refused = crate::support::Socket::open(&hub.url).await;
    refused.send(&format!("40/agent,{}", json!({"agentId": dead.id, "token": dead.token}))).await;
    refused.frame().await.expect("joined");
    assert_eq!(refused.any_event().await.1["code"], "INVALID_TOKEN");

    let rows = hub.ask_as(&maker, "GET", "/v1/env-shares", None).await.body;
    assert_eq!(rows["shares"][0]["joinCount"], 1, "connecting again is no join");
    // And the one that lives still ends on time: the timer has learnt it again.
    assert_eq!(joiner.event("share_ended").await, json!({"id": later["id"], "reason": "expired"}));
    let hub = hub.restart().await;
    tokio::time::timeout(Duration::from_secs(5), hub.hub.stop()).await.expect("stops in order");
}
