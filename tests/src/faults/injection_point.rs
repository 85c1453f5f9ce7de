//! What a request or a watch event is called, so that the same one is found again in another run.

use axum::http::Method;
use serde_json::Value;

/// A request to the API server: verb, resource and object, as `patch environmentshares/status open`. One that is only tried out
/// begins with `try`.
pub(super) fn of_api_request(method: &Method, path: &str, query: &str) -> String {
    let parts: Vec<&str> = path.trim_matches('/').split('/').collect();
    // api/v1/... or apis/GROUP/VERSION/..., then perhaps namespaces/NAME/, then the resource.
    let rest = match parts.as_slice() {
        ["api", _, rest @ ..] | ["apis", _, _, rest @ ..] => rest,
        other => other,
    };
    let rest = match rest {
        ["namespaces", _, rest @ ..] if !rest.is_empty() => rest,
        other => other,
    };
    let (resource, name, part) = match rest {
        [resource] => (*resource, "", ""),
        [resource, name] => (*resource, *name, ""),
        [resource, name, part, ..] => (*resource, *name, *part),
        [] => ("", "", ""),
    };
    let watches = query.split('&').any(|pair| pair == "watch=true" || pair == "watch=1");
    let verb = match *method {
        Method::GET if watches => "watch",
        Method::GET if name.is_empty() => "list",
        Method::GET => "get",
        Method::POST => "create",
        Method::PUT => "update",
        Method::PATCH => "patch",
        Method::DELETE => "delete",
        _ => "other",
    };
    let part = if part.is_empty() { String::new() } else { format!("/{part}") };
    let tried = if query.split('&').any(|pair| pair == "dryRun=All") { "try " } else { "" };
    format!("{tried}{verb} {resource}{part} {name}").trim_end().to_owned()
}

/// A call to a hub: method and path, with `:id` for whatever names one thing.
pub(super) fn of_hub_call(method: &Method, path: &str) -> String {
    let mut parts: Vec<&str> = path.trim_matches('/').split('/').collect();
    if let ["v1", _, id, ..] = parts.as_mut_slice()
        && !matches!(*id, "register" | "rotate-token" | "heartbeat")
    {
        *id = ":id";
    }
    format!("{method} /{}", parts.join("/"))
}

/// Who says something on a hub's socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Said {
    /// The operator.
    ToHub,
    /// The hub.
    ByHub,
}

/// What is said on a hub's socket, as `hear connected`; nothing for pings, and for the bytes of connections.
pub(super) fn of_socket_event(said: Said, text: &str) -> Option<String> {
    let (kind, rest) = text.split_at_checked(2)?;
    let what = match kind {
        "40" => "CONNECT".to_owned(),
        "41" => "DISCONNECT".to_owned(),
        "42" => {
            let (_, array) = rest.split_once('[')?;
            let name = array.trim_start().strip_prefix('"')?.split('"').next()?;
            if matches!(name, "data" | "reach_data") {
                return None;
            }
            name.to_owned()
        }
        "43" => "ACK".to_owned(),
        "44" => "REFUSED".to_owned(),
        _ => return None,
    };
    let verb = match said {
        Said::ToHub => SAY,
        Said::ByHub => HEAR,
    };
    Some(format!("{verb}{what}"))
}

/// Whether this is the name of something said on a hub's socket.
pub(super) fn is_socket_event(injection_point: &str) -> bool {
    injection_point.starts_with(SAY) || injection_point.starts_with(HEAR)
}

/// How names of what the operator says begin.
const SAY: &str = "say ";

/// How names of what the hub says begin.
const HEAR: &str = "hear ";

/// An event of a watch, as `MODIFIED EnvironmentShare open`; nothing for bookmarks and errors.
pub(super) fn of_event(line: &[u8]) -> Option<String> {
    let event: Value = serde_json::from_slice(line).ok()?;
    let (what, object) = (event["type"].as_str()?, &event["object"]);
    if !matches!(what, "ADDED" | "MODIFIED" | "DELETED") {
        return None;
    }
    let kind = object["kind"].as_str()?;
    // Slices are named at random; the Service they belong to is what tells them apart.
    let name = object["metadata"]["labels"]["kubernetes.io/service-name"]
        .as_str()
        .or_else(|| object["metadata"]["name"].as_str())?;
    Some(format!("{what} {kind} {name}"))
}

/// Whether a request changes something.
pub(super) fn is_write(method: &Method) -> bool {
    *method != Method::GET
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_have_names_without_what_differs_between_runs() {
        let patch = |path| of_api_request(&Method::PATCH, path, "fieldManager=x");
        assert_eq!(
            patch("/apis/connect.privateconnect.co/v1alpha1/namespaces/n-1/environmentshares/open/status"),
            "patch environmentshares/status open"
        );
        assert_eq!(patch("/api/v1/namespaces/n-1/secrets/code"), "patch secrets code");
        let get = |path, query| of_api_request(&Method::GET, path, query);
        assert_eq!(get("/api/v1/namespaces/n-1/services", "watch=true&x=y"), "watch services");
        assert_eq!(get("/api/v1/services", ""), "list services");
        assert_eq!(get("/api/v1/namespaces/n-1", ""), "get namespaces n-1");
        assert_eq!(of_hub_call(&Method::DELETE, "/v1/env-shares/abc"), "DELETE /v1/env-shares/:id");
        assert_eq!(of_hub_call(&Method::POST, "/v1/services/register"), "POST /v1/services/register");
        assert_eq!(of_hub_call(&Method::GET, "/health"), "GET /health");
        let event = br#"{"type":"ADDED","object":{"kind":"Secret","metadata":{"name":"code"}}}"#;
        assert_eq!(of_event(event).as_deref(), Some("ADDED Secret code"));
    }

    #[test]
    fn what_sockets_say_has_a_name_and_pings_and_bytes_have_none() {
        for (text, name) in [
            (r#"40/agent,{"token":"t"}"#, Some("hear CONNECT")),
            (r#"42/agent,["connected",{}]"#, Some("hear connected")),
            (r#"42/agent,17["heartbeat"]"#, Some("hear heartbeat")),
            (r#"43/agent,17[]"#, Some("hear ACK")),
            (r#"42/agent,["data",{"connectionId":"c"}]"#, None),
            ("42", None),
            ("2", None),
            ("", None),
        ] {
            assert_eq!(of_socket_event(Said::ByHub, text).as_deref(), name, "{text}");
        }
        let said = of_socket_event(Said::ToHub, "41/agent,").expect("a name");
        assert_eq!(said, "say DISCONNECT");
        assert!(is_socket_event(&said) && !is_socket_event("GET /health"));
    }
}
