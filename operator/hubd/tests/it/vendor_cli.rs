//! Every verb of the vendor's CLI against this hub, as the requests and frames that it sends: the table of README.md, row by row.

use serde_json::{Value, json};

use crate::support::{Agent, KEY, TestHub, bridge};

/// What the CLI prints after `[x]` or puts into its own sentence: the message, or the first message of a list of issues.
fn message(body: &Value) -> String {
    let message = body["message"].as_str().unwrap_or_default();
    match serde_json::from_str::<Value>(message) {
        Ok(issues) if issues.is_array() => issues[0]["message"].as_str().unwrap_or_default().to_owned(),
        _ => message.to_owned(),
    }
}

/// The request, and the status and part of the message of the refusal.
type Refusal = (&'static str, &'static str, Value, u16, &'static str);

#[tokio::test(flavor = "multi_thread")]
async fn what_is_refused_is_refused_with_what_to_do() {
    let hub = TestHub::start().await;
    let agent = hub.agent(KEY).await;
    let service = hub.service(&agent, "db", "workspace").await;
    let share = hub.share(&agent, &[service], json!({})).await;
    let none = || Value::Null;
    let table: Vec<Refusal> = vec![
        // up without a key, login without a key
        ("POST", "/v1/device/code", json!({"label": "laptop"}), 404, "connect up --api-key KEY"),
        ("GET", "/v1/device/token?device_code=0", none(), 404, "no login in a browser"),
        ("POST", "/v1/device/verify", json!({"userCode": "ABCD-EFGH"}), 404, "no login in a browser"),
        // share --require-approval, --pending, --approve, --deny, and shares without an end
        ("POST", "/v1/env-shares", json!({"requireDeviceApproval": true}), 400, "does not hold joins back"),
        ("GET", "/v1/env-shares/{code}/pending", none(), 404, "does not hold joins back"),
        ("POST", "/v1/env-shares/{code}/approve", json!({"agentId": "x"}), 404, "does not hold joins back"),
        ("POST", "/v1/env-shares/{code}/deny", json!({"agentId": "x"}), 404, "does not hold joins back"),
        ("POST", "/v1/env-shares", json!({"neverExpires": true}), 400, "Every share of this hub ends"),
        // links, tunnels and tokens of newer versions
        ("POST", "/v1/services/{service}/shares", json!({}), 404, "no public links"),
        ("GET", "/shared/0123456789abcdef", none(), 404, "no public links"),
        ("GET", "/w/01234567", none(), 404, "no public links"),
        ("GET", "/v1/tunnels", none(), 404, "connect reach SERVICE"),
        ("POST", "/v1/tunnels/x/connect", json!({}), 404, "connect reach SERVICE"),
        ("POST", "/v1/grants", json!({}), 404, "no tokens for single services"),
        ("POST", "/v1/agents/provision", json!({}), 404, "/v1/agents/register"),
        // and what nobody knows is answered as ever
        ("GET", "/v1/nonsense", none(), 404, "Cannot GET /v1/nonsense"),
    ];
    for (method, path, body, status, part) in table {
        let path = path.replace("{code}", share["code"].as_str().expect("a code"));
        let path = path.replace("{service}", &service.to_string());
        let body = Some(body).filter(|body| !body.is_null());
        let answer = hub.ask_as(&agent, method, &path, body.as_ref()).await;
        let said = message(&answer.body);
        assert!(answer.status == status && said.contains(part), "{method} {path}: {answer:?}");
        assert!(
            status != 404 || said.starts_with(&format!("Cannot {method} /")),
            "clients know an unknown endpoint by it"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn up_and_expose_and_reach_work_with_a_key() {
    let hub = TestHub::start().await;
    // up: register with the key, a socket without features, a heartbeat.
    let (exposing, reaching) = (hub.agent(KEY).await, hub.agent(KEY).await);
    let body = json!({"agentId": exposing.id, "token": exposing.token, "label": "laptop", "name": "default"});
    assert_eq!(hub.ask("POST", "/v1/agents/register", &[("x-api-key", KEY)], Some(&body)).await.status, 201);
    let mut exposer = hub.connect_with(&exposing, &[]).await;
    assert_eq!(exposer.call("heartbeat", Value::Null).await, json!({"success": true}));

    // expose 127.0.0.1:5432 --name db --public: no public URL is promised.
    let body = json!({"agentId": exposing.id, "name": "db", "targetHost": "127.0.0.1", "targetPort": 5432,
                      "protocol": "auto", "isPublic": true});
    let made = hub.ask("POST", "/v1/services/register", &[("x-api-key", KEY)], Some(&body)).await;
    let service = made.body["service"].clone();
    assert_eq!(
        (made.status, &service["isPublic"], &service["publicUrl"]),
        (201, &json!(false), &Value::Null)
    );
    let expose = json!({"serviceId": service["id"], "serviceName": "db", "tunnelPort": service["tunnelPort"],
                        "targetHost": "127.0.0.1", "targetPort": 5432});
    assert_eq!(exposer.call("expose", expose).await, json!({"success": true}));

    // reach db: looked up by name, checked, then dialled.
    let listed = hub.ask("GET", "/v1/services?name=db", &[("x-api-key", KEY)], None).await.body;
    let found =
        listed.as_array().expect("services").iter().find(|row| row["name"] == "db").expect("by its name");
    let id = found["id"].as_str().expect("an id");
    let body = json!({"sourceAgentId": reaching.id, "mode": "tcp", "timeoutMs": 5000});
    let path = format!("/v1/services/{id}/reach");
    let (checked, ()) = tokio::join!(hub.ask_as(&reaching, "POST", &path, Some(&body)), async {
        let dial = exposer.event("dial").await;
        exposer.emit("dial_success", json!({"connectionId": dial["connectionId"]})).await;
    });
    assert_eq!(
        (checked.status, &checked.body["session"]["outcome"]),
        (201, &json!("success")),
        "{checked:?}"
    );
    assert_eq!(checked.body["diagnostic"]["tlsStatus"], Value::Null, "a database is not greeted with TLS");
    exposer.event("close").await;
    let mut joiner = hub.connect_with(&reaching, &[]).await;
    bridge(&mut joiner, &mut exposer, id.parse().expect("a UUID")).await;
}

/// The request that `share` sends: no routes.
async fn share_of(hub: &TestHub, agent: &Agent, extra: Value) -> Value {
    let answer = hub.ask_as(agent, "POST", "/v1/env-shares", Some(&extra)).await;
    assert_eq!(answer.status, 201, "{answer:?}");
    answer.body["share"].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn share_list_join_and_revoke_work_and_a_share_of_nothing_is_one() {
    let hub = TestHub::start().await;
    let (agent, operator) = (hub.agent(KEY).await, hub.agent(KEY).await);
    hub.service(&operator, "of-the-cluster", "workspace").await;
    for body in [json!({"expiresInHours": 24}), json!({"expiresInHours": 24, "routes": []})] {
        let empty = share_of(&hub, &agent, body).await;
        assert_eq!(empty["routes"], json!([]), "what others have exposed is not handed out");
    }
    hub.service(&agent, "db", "workspace").await;
    let share = share_of(&hub, &agent, json!({"name": "staging", "expiresInHours": 336})).await;
    let routes = share["routes"].as_array().expect("routes");
    assert_eq!((routes.len(), &routes[0]["serviceName"]), (1, &json!("db")));

    let listed = hub.ask_as(&agent, "GET", "/v1/env-shares", None).await.body;
    assert_eq!(
        (&listed["shares"][0]["code"], &listed["shares"][0]["routeCount"]),
        (&share["code"], &json!(1))
    );
    let path = format!("/v1/env-shares/{}", share["code"].as_str().expect("a code"));
    let teammate = hub.agent(KEY).await;
    assert_eq!(hub.ask("GET", &path, &[], None).await.body["routeCount"], 1);
    let body = json!({"agentLabel": "laptop"});
    let joined = hub.ask_as(&teammate, "POST", &format!("{path}/join"), Some(&body)).await;
    assert_eq!((joined.status, &joined.body["share"]["routes"][0]["serviceName"]), (201, &json!("db")));
    assert_eq!(hub.ask_as(&teammate, "DELETE", &path, None).await.status, 403);
    assert_eq!(hub.ask_as(&agent, "DELETE", &path, None).await.body["success"], true);
    assert_eq!(hub.ask("GET", &path, &[], None).await.status, 404);
}
