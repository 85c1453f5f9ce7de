//! Tells an answer of a hub from one of something in between, such as the page to log in to a network.

use hyper::StatusCode;
use hyper::header::{CONTENT_TYPE, HeaderMap, LOCATION};
use url::Url;

use super::Obstacle;

/// What answered in place of the hub at `hub`, if the hub did not. Hubs speak JSON and never send anybody elsewhere.
pub(crate) fn by(status: StatusCode, headers: &HeaderMap, hub: &str) -> Option<Obstacle> {
    let page = Some(Obstacle::WebPage { status: status.as_u16() });
    if status.is_redirection() {
        let to = headers.get(LOCATION).and_then(|to| to.to_str().ok()).and_then(|to| origin(to, hub));
        return to.map(|to| Obstacle::Redirect { to }).or(page);
    }
    let passes_for_an_answer = status.is_success()
        || matches!(
            status,
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN | StatusCode::UNAVAILABLE_FOR_LEGAL_REASONS
        );
    let is_of_networks = matches!(
        status,
        StatusCode::PROXY_AUTHENTICATION_REQUIRED | StatusCode::NETWORK_AUTHENTICATION_REQUIRED
    );
    if is_of_networks || (passes_for_an_answer && is_html(headers)) { page } else { None }
}

fn is_html(headers: &HeaderMap) -> bool {
    let kind = headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    kind.trim_start().to_ascii_lowercase().starts_with("text/html")
}

/// Scheme, host and port of where a redirect leads: the rest may name the user or the share.
fn origin(location: &str, hub: &str) -> Option<String> {
    let to = Url::parse(hub).ok()?.join(location).ok()?;
    to.host_str()?;
    Some(to.origin().ascii_serialization())
}

#[cfg(test)]
mod tests {
    use hyper::header::{HeaderName, HeaderValue};

    use super::*;

    #[test]
    fn pages_are_told_from_answers() {
        let redirect = |to: &str| Some(Obstacle::Redirect { to: to.to_owned() });
        let page = |status| Some(Obstacle::WebPage { status });
        for (status, header, expected) in [
            (200, ("content-type", "application/json"), None),
            (200, ("content-type", "text/html; charset=utf-8"), page(200)),
            (200, ("x", "y"), None),
            (
                302,
                ("location", "https://login.corp.example/?back=/v1/env-shares/abc"),
                redirect("https://login.corp.example"),
            ),
            (307, ("location", "http://10.0.0.1:8080/"), redirect("http://10.0.0.1:8080")),
            (301, ("location", "/login"), redirect("https://hub.example.com")),
            (302, ("location", "mailto:x"), page(302)),
            (302, ("x", "y"), page(302)),
            (401, ("content-type", "application/json"), None),
            (403, ("content-type", "Text/HTML"), page(403)),
            (404, ("content-type", "text/html"), None),
            (407, ("x", "y"), page(407)),
            (502, ("content-type", "text/html"), None),
            (511, ("x", "y"), page(511)),
        ] {
            let status = StatusCode::from_u16(status).expect("a status");
            let (name, value) = header;
            let headers = [(HeaderName::from_static(name), HeaderValue::from_static(value))];
            let found = by(status, &headers.into_iter().collect(), "https://hub.example.com/pre");
            assert_eq!(found, expected, "{status} {header:?}");
        }
    }
}
