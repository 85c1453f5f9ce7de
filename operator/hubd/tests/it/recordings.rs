//! Every recorded request, in its order, against this hub: the same status and the same body, but for ids and times and
//! for what [`DIFFERENCES`] says and why.

use std::collections::HashMap;

use serde_json::{Value, json};

use crate::support::{KEY, TestHub};

const RECORDED: &str = include_str!("../../../hub/tests/recordings/http.json");

/// What this hub answers in another way on purpose: the recording's name, the status, the message if it is an error,
/// and the reason.
const DIFFERENCES: &[(&str, u16, Option<&str>, &str)] = &[
    (
        "register service: unknown agent",
        400,
        Some("Agent not found. Register the agent first."),
        "a database's own error text is nobody's business",
    ),
    ("delete service (no such route in this version)", 200, None, "a service can be deleted here"),
    (
        "rotate token: old token",
        201,
        None,
        "a token counts until its successor is used, so that a lost answer locks nobody out",
    ),
    (
        "env-share: nothing exposed, no routes",
        201,
        None,
        "a share of nothing is a share: `Routes being shared: (none)`",
    ),
    ("create env-share: 14d", 201, None, "a share may last longer than a week"),
    (
        "create env-share: no agent header",
        401,
        Some("Unauthorized"),
        "a missing header is no fault of the hub",
    ),
    ("create env-share: no key", 401, Some("Unauthorized"), "a missing header is no fault of the hub"),
    (
        "create env-share: malformed json",
        400,
        Some("Body is not JSON: key must be a string at line 1 column 2"),
        "another parser, other words",
    ),
    ("preview revoked", 404, Some("Share not found"), "one answer for every refusal"),
    ("join revoked", 404, Some("Share not found"), "one answer for every refusal"),
];

/// Fields whose values are different on purpose wherever they stand, and why.
const OWN_VALUES: &[(&str, &str)] = &[
    ("publicUrl", "this hub serves no public links, so it names none"),
    ("publicSubdomain", "likewise"),
    ("isPublic", "likewise: nothing here is public"),
    ("targetHost", "joining agents are told the route's name, not a host of the maker's network"),
    ("targetPort", "joining agents are told the local port"),
    ("diagnosticHistoryLimit", "this hub keeps 20"),
    ("isOnline", "here it means that there is a socket, and these agents have none"),
];

/// Fields that this hub does not tell.
const UNTOLD: &[(&str, &str)] = &[
    ("tokenHash", "nobody needs other agents' hashes"),
    ("lastSeenIp", "nobody needs other agents' addresses"),
];

/// Fields that this hub tells in addition, at most.
const ADDED: &[&str] = &[
    "appReady",
    "dbConnected",
    "hub",
    "version",
    "features",
    "limits",
    "id",
    "state",
    "endReason",
    "joins",
    "lastJoinedAt",
    "idempotencyKey",
    "connected",
    "cut",
];

#[tokio::test(flavor = "multi_thread")]
async fn the_recorded_requests_are_answered_alike() {
    let hub = TestHub::start().await;
    let recorded: Vec<Value> = serde_json::from_str(RECORDED).expect("JSON");
    assert!(
        DIFFERENCES.iter().all(|(name, ..)| recorded.iter().any(|one| one["name"] == *name)),
        "names one there is"
    );
    let mut names = HashMap::new();
    for one in &recorded {
        let (name, request, expected) =
            (one["name"].as_str().expect("a name"), &one["request"], &one["response"]);
        let answer = replay(&hub, request, &names).await;
        match DIFFERENCES.iter().find(|(different, ..)| *different == name) {
            Some((_, status, message, _)) => {
                assert_eq!(i64::from(answer.status), i64::from(*status), "{name}: {answer:?}");
                assert_ne!(
                    (json!(answer.status), &answer.body),
                    (expected["status"].clone(), &expected["body"]),
                    "{name}: no difference"
                );
                if let Some(message) = message {
                    assert_eq!(answer.body["message"], *message, "{name}");
                    assert_eq!(answer.body["statusCode"], *status, "{name}");
                }
                if name.starts_with("delete service") {
                    // The recordings go on with it.
                    bring_back(&hub, &mut names).await;
                }
                if status < &300 && name.contains("env-share: ") {
                    revoke(&hub, &names, &answer.body).await;
                }
            }
            None => {
                assert_eq!(json!(answer.status), expected["status"], "{name}: {answer:?}");
                compare(name, "", &expected["body"], &answer.body, &mut names);
            }
        }
    }
}

/// Sends a recorded request with what our hub called things.
async fn replay(hub: &TestHub, request: &Value, names: &HashMap<String, String>) -> crate::support::Answer {
    let headers = request["headers"].as_object().expect("headers");
    let headers = headers.iter().filter(|(name, _)| *name != "content-type");
    let headers =
        headers.map(|(name, value)| (name.as_str(), value.as_str().expect("text"))).collect::<Vec<_>>();
    let path = renamed(request["path"].as_str().expect("a path"), names);
    let body = match &request["body"] {
        Value::Null => None,
        Value::String(text) if text.contains("more than 100 KiB") => Some(vec![b'x'; 100 * 1024 + 1]),
        Value::String(text) => Some(text.clone().into_bytes()),
        body => Some(renamed(&body.to_string(), names).into_bytes()),
    };
    hub.ask_raw(request["method"].as_str().expect("a method"), &path, &headers, body).await
}

/// Whole names only, segments of a path and texts of JSON: a code of ours may contain the short name of something else.
fn renamed(text: &str, names: &HashMap<String, String>) -> String {
    let part = |part: &str| {
        let (name, end) = part.split_at(part.len() - usize::from(part.ends_with(['/', '"'])));
        format!("{}{end}", names.get(name).map_or(name, String::as_str))
    };
    text.split_inclusive(['/', '"']).map(part).collect()
}

#[test]
fn a_name_in_another_name_is_left_alone() {
    let names = [("ajaxxd", "k7w2x9pqrs"), ("w2", "default")];
    let names = names.map(|(theirs, ours)| (theirs.to_owned(), ours.to_owned())).into();
    assert_eq!(renamed("/v1/env-shares/ajaxxd/join", &names), "/v1/env-shares/k7w2x9pqrs/join");
    assert_eq!(renamed(r#"{"id":"w2","code":"ajaxxd"}"#, &names), r#"{"id":"default","code":"k7w2x9pqrs"}"#);
}

/// The recorded value and ours: the same keys, the same kinds, and the same values where they are not made by a hub.
fn compare(name: &str, at: &str, theirs: &Value, ours: &Value, names: &mut HashMap<String, String>) {
    let key = at.rsplit('.').next().unwrap_or_default();
    match (theirs, ours) {
        (Value::Object(theirs), Value::Object(ours)) => {
            for (key, value) in
                theirs.iter().filter(|(key, _)| !UNTOLD.iter().any(|(untold, _)| untold == key))
            {
                let mine = ours.get(key).unwrap_or_else(|| panic!("{name}: {at}.{key} is missing"));
                compare(name, &format!("{at}.{key}"), value, mine, names);
            }
            for key in ours.keys().filter(|key| !theirs.contains_key(*key)) {
                assert!(ADDED.contains(&key.as_str()), "{name}: {at}.{key} is neither recorded nor known");
            }
        }
        (Value::Array(theirs), Value::Array(ours)) => {
            assert_eq!(theirs.len(), ours.len(), "{name}: {at}");
            theirs
                .iter()
                .zip(ours)
                .for_each(|(theirs, ours)| compare(name, &format!("{at}[]"), theirs, ours, names));
        }
        _ if OWN_VALUES.iter().any(|(own, _)| *own == key) => {}
        (Value::String(theirs), Value::String(ours)) if is_date(theirs) => {
            assert!(is_date(ours), "{name}: {at}: {ours}");
        }
        (Value::String(theirs), Value::String(ours)) if is_made_by_a_hub(key) => {
            let known = names.entry(theirs.clone()).or_insert_with(|| ours.clone());
            assert_eq!(known, ours, "{name}: {at} changed");
        }
        _ => assert_eq!(theirs, ours, "{name}: {at}"),
    }
}

fn is_made_by_a_hub(key: &str) -> bool {
    matches!(key, "id" | "workspaceId" | "serviceId" | "agentId" | "code" | "newToken")
}

/// `2026-11-23T02:53:48.489Z`, to the letter.
fn is_date(text: &str) -> bool {
    text.len() == 24
        && text.ends_with('Z')
        && text.as_bytes()[19] == b'.'
        && text.parse::<jiff::Timestamp>().is_ok()
}

/// Registers the recorded services again, in their order, after this hub, unlike the recorded one, has deleted one.
async fn bring_back(hub: &TestHub, names: &mut HashMap<String, String>) {
    let agent = names["e820b10a-5e07-4d3f-b815-68a9cd6fbf8f"].clone();
    let web = format!("/v1/services/{}", names["d82ec1a0-22ae-430f-9093-9c04c2705037"]);
    assert_eq!(hub.ask("DELETE", &web, &[("x-api-key", KEY)], None).await.status, 200);
    let services = [
        ("dd3f0bbb-ceb3-4ee5-8bcb-86aa8f87ac7b", "api", "tcp", 23_000),
        ("d82ec1a0-22ae-430f-9093-9c04c2705037", "web", "http", 23_001),
    ];
    for (theirs, name, protocol, port) in services {
        let body = json!({"agentId": agent, "name": name, "targetHost": "127.0.0.1", "targetPort": 40_693,
                          "protocol": protocol});
        let answer = hub.ask("POST", "/v1/services/register", &[("x-api-key", KEY)], Some(&body)).await;
        assert_eq!(answer.body["service"]["tunnelPort"], port, "freed ports are given again");
        let id = answer.body["service"]["id"].as_str().expect("an id").to_owned();
        names.insert(theirs.to_owned(), id);
    }
}

/// Takes a share away that the recorded hub did not make, so that the lists stay alike.
async fn revoke(hub: &TestHub, names: &HashMap<String, String>, created: &Value) {
    let agent = &names["e820b10a-5e07-4d3f-b815-68a9cd6fbf8f"];
    let path = format!("/v1/env-shares/{}", created["share"]["code"].as_str().expect("a code"));
    let answer = hub.ask("DELETE", &path, &[("x-api-key", KEY), ("x-agent-id", agent)], None).await;
    assert_eq!(answer.status, 200);
}
