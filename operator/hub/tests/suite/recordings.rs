//! What the vendor's hub really said: every recorded frame is read and printed alike, every recorded answer typed.

use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex};

use axum::body::Bytes;
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::response::IntoResponse;
use connect_hub::Error;
use connect_hub::client::{
    Client, ClientOptions, Deleted, NewRoute, NewService, NewShare, Revoked, ShareEnd,
};
use connect_hub::identity::Identity;
use connect_hub::socketio::packet::{Frame, Packet};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use uuid::Uuid;

use crate::support::{tls, url};

const FRAMES: &str = include_str!("../recordings/frames.json");
const HTTP: &str = include_str!("../recordings/http.json");

#[derive(Deserialize)]
struct RecordedFrame {
    from: String,
    frame: Option<String>,
}

#[derive(Clone, Deserialize)]
struct Exchange {
    name: String,
    request: Request,
    response: Response,
}

#[derive(Clone, Deserialize)]
struct Request {
    method: String,
    path: String,
    headers: std::collections::BTreeMap<String, String>,
    body: Value,
}

#[derive(Clone, Deserialize)]
struct Response {
    status: u16,
    body: Value,
}

#[test]
fn every_recorded_frame_is_read_and_the_agents_are_printed_alike() {
    let sockets: std::collections::BTreeMap<String, Vec<RecordedFrame>> =
        serde_json::from_str(FRAMES).expect("JSON");
    let mut seen = 0;
    for RecordedFrame { from, frame } in sockets.into_values().flatten() {
        let Some(text) = frame else { continue };
        if text.ends_with("bytes)") {
            continue; // the recording names the length of one huge frame instead of holding it
        }
        let packet = match Frame::parse(&text).expect("a frame") {
            Frame::Message(message) => Packet::parse(message).expect("a packet"),
            Frame::Open(open) => {
                assert_eq!((open.silence().as_secs(), open.max_payload()), (45, 1_000_000));
                continue;
            }
            other => panic!("{other:?}"),
        };
        if let Packet::Event { args, .. } | Packet::Ack { args, .. } = &packet {
            assert!(args.is_empty() || serde_json::from_str::<Value>(args).is_ok(), "{args}");
        }
        assert_eq!(packet.to_string(), text);
        seen += usize::from(from == "agent");
    }
    assert_eq!(seen, 24, "all frames of agents");
}

/// Answers every request as recorded, after holding it against the recording.
struct Replay {
    url: String,
    now: Arc<Mutex<Option<Exchange>>>,
}

impl Replay {
    async fn start() -> Self {
        let now = Arc::new(Mutex::new(None));
        let shared: Arc<Mutex<Option<Exchange>>> = Arc::clone(&now);
        let answer = move |method: Method, uri: Uri, headers: HeaderMap, body: Bytes| {
            let exchange = shared.lock().expect("lock").take().expect("one request per recording");
            async move { replay(&exchange, &method, &uri, &headers, &body) }
        };
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("bound"));
        let app = axum::Router::new().fallback(answer);
        tokio::spawn(async move { axum::serve(listener, app).await.expect("serving") });
        Self { url, now }
    }
}

fn replay(
    exchange: &Exchange,
    method: &Method,
    uri: &Uri,
    headers: &HeaderMap,
    body: &[u8],
) -> impl IntoResponse + use<> {
    let Exchange { name, request, response } = exchange;
    assert_eq!((method.as_str(), uri.path()), (request.method.as_str(), request.path.as_str()), "{name}");
    for header in ["x-api-key", "x-agent-id"] {
        if name == "create env-share: no agent header" && header == "x-agent-id" {
            continue; // this client always names an agent
        }
        let sent = headers.get(header).and_then(|value| value.to_str().ok());
        assert_eq!(sent, request.headers.get(header).map(String::as_str), "{name}: {header}");
    }
    if !differs_in_its_body(name) {
        let sent: Value =
            if body.is_empty() { Value::Null } else { serde_json::from_slice(body).expect("JSON") };
        assert_eq!(sent, request.body, "{name}: body");
    }
    let status = StatusCode::from_u16(response.status).expect("a status");
    (status, [("content-type", "application/json; charset=utf-8")], response.body.to_string())
}

/// Recordings of requests that this client cannot make: bad on purpose, or with optional fields left out.
fn differs_in_its_body(name: &str) -> bool {
    const OURS_DIFFER: [&str; 14] = [
        "register: no key",
        "register: bad key",
        "register: bad body",
        "env-share: nothing exposed, no routes",
        "register service again (upsert)",
        "register service: bad port",
        "register service: unknown agent",
        "create env-share: snapshot (no routes)",
        "create env-share: fraction of an hour 1.5",
        "create env-share: malformed json",
        "create env-share: body over 100 KiB",
        "join: unknown code",
        "join: other workspace",
        "join revoked",
    ];
    OURS_DIFFER.contains(&name) || (name.starts_with("create env-share:") && !name.ends_with("14d"))
}

#[tokio::test]
async fn every_recorded_answer_is_typed() {
    let hub = Replay::start().await;
    let exchanges: Vec<Exchange> = serde_json::from_str(HTTP).expect("JSON");
    assert_eq!(exchanges.len(), 49, "all recordings");
    for exchange in exchanges {
        if matches!(exchange.name.as_str(), "workspace") || exchange.name.starts_with("get service") {
            continue; // calls that this client has no use for
        }
        *hub.now.lock().expect("lock") = Some(exchange.clone());
        let key = exchange.request.headers.get("x-api-key").map(|key| SecretString::from(key.clone()));
        let options = ClientOptions { api_key: key, tls: tls() };
        let client = Client::new(url(&hub.url), options).expect("a client");
        let outcome = repeat(&client, &exchange).await;
        assert!(hub.now.lock().expect("lock").is_none(), "{}: was asked", exchange.name);
        judge(&exchange, outcome);
    }
}

/// What a call gave, as far as the recording can confirm it.
type Outcome = Result<Value, Error>;

async fn repeat(client: &Client, exchange: &Exchange) -> Outcome {
    let Request { method, path, headers, body } = &exchange.request;
    let agent = headers.get("x-agent-id").and_then(|id| id.parse().ok());
    let steps: Vec<&str> = path.trim_start_matches('/').split('/').collect();
    match (method.as_str(), steps.as_slice()) {
        ("GET", ["health"]) => client.health().await.map(|health| {
            assert!(health.features.is_empty() && health.version.is_none());
            Value::Null
        }),
        ("POST", ["v1", "agents", "register"]) => {
            let label = body["label"].as_str().unwrap_or("default");
            client.register_agent(&identity(body), label, body["name"].as_str()).await.map(|()| Value::Null)
        }
        ("POST", ["v1", "agents", "heartbeat"]) => {
            client.heartbeat(&identity(body)).await.map(|()| Value::Null)
        }
        ("POST", ["v1", "agents", "rotate-token"]) => client.rotate_token(&identity(body)).await.map(|rotated| {
            json!({"newToken": rotated.token.expose_secret(), "expiresAt": format!("{:.3}", rotated.expires_at)})
        }),
        ("POST", ["v1", "services", "register"]) => {
            let agent = identity(body).agent_id;
            client.register_service(agent, &service(body)).await.map(|service| {
                json!({"service": {"id": service.id, "name": service.name,
                    "tunnelPort": service.tunnel_port, "publicUrl": service.public_url}})
            })
        }
        ("GET", ["v1", "services"]) => client.services().await.map(|rows| {
            let rows = rows.into_iter().map(|row| {
                json!({"id": row.id, "name": row.name, "agentId": row.agent_id,
                    "tunnelPort": row.tunnel_port, "targetPort": row.target_port})
            });
            rows.collect()
        }),
        ("DELETE", ["v1", "services", id]) => {
            let deleted = client.delete_service(id.parse().expect("a UUID")).await;
            assert!(matches!(deleted, Ok(Deleted::Unsupported)), "{deleted:?}");
            Ok(Value::Null)
        }
        (method, ["v1", "env-shares", rest @ ..]) => shares(client, method, rest, agent, body).await,
        _ => panic!("{}: no call for {method} {path}", exchange.name),
    }
}

async fn shares(client: &Client, method: &str, rest: &[&str], agent: Option<Uuid>, body: &Value) -> Outcome {
    let code = |text: &str| SecretString::from(text.to_owned());
    match (method, rest, agent) {
        ("POST", [], agent) => client.create_share(agent.unwrap_or_default(), &share(body), None).await.map(|share| {
            json!({"share": {"code": share.code.expose_secret(), "name": share.name,
                "expiresAt": format!("{:.3}", share.expires_at)}})
        }),
        ("GET", [], Some(agent)) => client.shares(agent).await.map(|rows| {
            let rows: Vec<Value> = rows
                .iter()
                .map(|row| {
                    json!({"code": row.code.expose_secret(), "name": row.name, "routeCount": row.route_count,
                        "joinCount": row.join_count, "expiresAt": format!("{:.3}", row.expires_at),
                        "createdAt": format!("{:.3}", row.created_at)})
                })
                .collect();
            json!({"shares": rows})
        }),
        ("GET", [text], _) => client.preview(&code(text)).await.map(|preview| {
            json!({"name": preview.name, "routeCount": preview.route_count, "joinCount": preview.join_count})
        }),
        ("POST", [text, "join"], agent) => {
            let label = body["agentLabel"].as_str().unwrap_or_default();
            client.join(&code(text), label, agent).await.map(|joined| {
                assert!(joined.agent.is_none());
                let route = &joined.share.routes[0];
                json!({"share": {"name": joined.share.name, "routes": [{"serviceName": route.service_name,
                    "serviceId": route.service_id, "localPort": route.local_port}]}})
            })
        }
        ("DELETE", [text], Some(agent)) => client.revoke_share(agent, &code(text)).await.map(|revoked| {
            let known = matches!(revoked, Revoked::Done(None));
            assert_eq!(known, *text != "zzzzzz");
            Value::Null
        }),
        other => panic!("no call for {other:?}"),
    }
}

fn identity(body: &Value) -> Identity {
    let token = body["token"].as_str().or(body["currentToken"].as_str()).unwrap_or_default();
    let agent_id = body["agentId"].as_str().and_then(|id| id.parse().ok()).unwrap_or_default();
    Identity { agent_id, token: token.into() }
}

fn service(body: &Value) -> NewService {
    NewService {
        name: body["name"].as_str().expect("a name").into(),
        target_host: body["targetHost"].as_str().expect("a host").into(),
        target_port: body["targetPort"].as_u64().and_then(|port| port.try_into().ok()).unwrap_or(1),
        protocol: if body["protocol"] == "http" { "http" } else { "tcp" },
        is_public: body["isPublic"] == true,
        reach: None,
    }
}

fn share(body: &Value) -> NewShare {
    let route = |route: &Value| NewRoute {
        service_name: route["serviceName"].as_str().expect("a name").into(),
        service_id: route["serviceId"].as_str().and_then(|id| id.parse().ok()),
        target_host: route["targetHost"].as_str().expect("a host").into(),
        target_port: route["targetPort"].as_u64().and_then(|port| port.try_into().ok()).expect("a port"),
        local_port: route["localPort"].as_u64().and_then(|port| port.try_into().ok()),
        protocol: route["protocol"].as_str().expect("a protocol").into(),
    };
    NewShare {
        name: body["name"].as_str().map(Into::into),
        end: ShareEnd::Hours(
            body["expiresInHours"].as_u64().and_then(|hours| hours.try_into().ok()).unwrap_or(1),
        ),
        max_joins: None,
        routes: body["routes"]
            .as_array()
            .map(|routes| routes.iter().map(route).collect())
            .unwrap_or_default(),
    }
}

/// A success must hold what was recorded, a refusal its status, words and reason.
fn judge(exchange: &Exchange, outcome: Outcome) {
    let Exchange { name, request: _, response } = exchange;
    match outcome {
        Ok(value) => assert_contains(name, &response.body, &value),
        Err(error) => {
            assert_eq!(error.status(), Some(response.status), "{name}");
            let connect_hub::Error::Rejected(refused) = &error else { panic!("{name}: {error}") };
            let text = &refused.message;
            let recorded = response.body["message"].as_str().expect("a message");
            let words: Vec<String> = match serde_json::from_str::<Vec<Value>>(recorded) {
                Ok(issues) => {
                    issues.iter().map(|issue| issue["message"].as_str().expect("text").into()).collect()
                }
                Err(_) => vec![recorded.to_owned()],
            };
            for word in words {
                assert!(text.contains(&word), "{name}: {text}");
            }
            assert!(!text.contains('{') && !text.contains('\n'), "{name}: {text}");
            let expected = match response.status {
                401 | 403 => "InvalidCredentials",
                404 => "NotFound",
                500 => "HubUnreachable",
                _ => "HubRejected",
            };
            assert_eq!(error.reason(), expected, "{name}");
        }
    }
}

/// Every value that the client gave stands in the recording at the same place.
fn assert_contains(name: &str, recorded: &Value, got: &Value) {
    match got {
        Value::Object(fields) => {
            for (field, value) in fields {
                assert_contains(name, &recorded[field], value);
            }
        }
        Value::Array(items) => {
            assert_eq!(recorded.as_array().map(Vec::len), Some(items.len()), "{name}");
            for (index, item) in items.iter().enumerate() {
                assert_contains(name, &recorded[index], item);
            }
        }
        Value::Null => {}
        value => assert_eq!(value, recorded, "{name}"),
    }
}
