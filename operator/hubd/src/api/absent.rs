//! What other hubs have and this one has not: a refusal that says what to do instead. It begins as every answer to an unknown
//! endpoint does, which is how clients know one.

use axum::http::{Method, Uri};

use super::ApiError;

/// Endpoints by their segments, `*` for any one, `**` for any that follow.
const ABSENT: &[(&[&str], &str)] = &[
    (
        &["v1", "device", "**"],
        "this hub has no login in a browser. Ask its administrator for an API key, then run: connect up --api-key KEY",
    ),
    (&["v1", "auth", "**"], "this hub has no accounts. Its API keys are made with: connect-hubd key create"),
    (
        &["v1", "env-shares", "*", "pending"],
        "this hub does not hold joins back for approval. End a share whose code is in the wrong hands: connect share --revoke CODE",
    ),
    (&["v1", "env-shares", "*", "approve"], APPROVAL),
    (&["v1", "env-shares", "*", "deny"], APPROVAL),
    (&["v1", "services", "*", "shares", "**"], PUBLIC_LINKS),
    (&["v1", "services", "*", "shares"], PUBLIC_LINKS),
    (&["shared", "**"], PUBLIC_LINKS),
    (&["w", "**"], PUBLIC_LINKS),
    (
        &["v1", "agents", "provision"],
        "this hub makes no credentials for agents. Register an agent with your own: POST /v1/agents/register",
    ),
    (&["v1", "tunnels", "**"], TUNNELS),
    (&["v1", "tunnels"], TUNNELS),
    (&["v1", "grants", "**"], GRANTS),
    (&["v1", "grants"], GRANTS),
];

const APPROVAL: &str =
    "this hub does not hold joins back for approval. Whoever has the code joins until the share ends";
const PUBLIC_LINKS: &str = "this hub has no public links. Share the service by a code: connect share";
const TUNNELS: &str = "this hub opens no ports for tunnels. Reach a service with: connect reach SERVICE";
const GRANTS: &str = "this hub has no tokens for single services. Share them by a code: connect share";

/// The answer to a request that no endpoint takes.
pub async fn no_such_route(method: Method, uri: Uri) -> ApiError {
    std::future::ready(ApiError::no_such_route(&method, uri.path(), instead(uri.path()))).await
}

/// What to do instead of asking for this path, if that is known.
fn instead(path: &str) -> Option<&'static str> {
    let segments = path.trim_matches('/').split('/').collect::<Vec<_>>();
    ABSENT.iter().find(|(pattern, _)| matches(pattern, &segments)).map(|(_, sentence)| *sentence)
}

fn matches(pattern: &[&str], segments: &[&str]) -> bool {
    match (pattern, segments) {
        ([], []) | (["**"], [_, ..]) => true,
        ([first, pattern @ ..], [segment, segments @ ..]) => {
            (*first == "*" || first == segment) && matches(pattern, segments)
        }
        _ => false,
    }
}
