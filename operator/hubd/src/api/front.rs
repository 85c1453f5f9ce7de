//! `GET /`: what this is, for somebody who opened the address in a browser or asked with curl. Names no share and runs nothing.

use std::sync::Arc;

use axum::{
    extract::State,
    http::{HeaderMap, HeaderName, header},
    response::{Html, IntoResponse, Response},
};

use crate::core::Core;

/// Nothing is loaded, run or framed, and nothing is sent from here.
const POLICY: &str = "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
/// Stands for the hub's address where nobody said what that is.
const ADDRESS: &str = "https://HUB";

const SAFE: [(HeaderName, &str); 5] = [
    (header::CONTENT_SECURITY_POLICY, POLICY),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::REFERRER_POLICY, "no-referrer"),
    (header::X_FRAME_OPTIONS, "DENY"),
    (header::VARY, "accept"),
];

pub async fn front(State(core): State<Arc<Core>>, headers: HeaderMap) -> Response {
    let wants_html = headers
        .get(header::ACCEPT)
        .and_then(|accept| accept.to_str().ok())
        .is_some_and(|accept| accept.contains("text/html"));
    let hub = core.public_url.as_deref().unwrap_or(ADDRESS);
    let page = if wants_html { Html(html(hub)).into_response() } else { text(hub).into_response() };
    std::future::ready((SAFE, page).into_response()).await
}

fn text(hub: &str) -> String {
    format!(
        "This is a Private Connect hub (connect-hubd {version}). It connects teammates to services that somebody shares with \
         them by a code.\n\n\
         Do you have a code? With kubectl and its connect plugin, in a terminal:\n\n    \
         kubectl connect join CODE --hub {hub}\n\n\
         The services then appear on localhost until the share ends. No code? Ask the person who shares the service.\n\n\
         Status and features: /health\n",
        version = env!("CARGO_PKG_VERSION"),
    )
}

fn html(hub: &str) -> String {
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width\"><title>Private Connect hub</title></head>\n<body>\n\
         <h1>Private Connect hub</h1>\n\
         <p>This hub connects teammates to services that somebody shares with them by a code.</p>\n\
         <p>Do you have a code? With <code>kubectl</code> and its <code>connect</code> plugin, in a terminal:</p>\n\
         <pre>kubectl connect join CODE --hub {hub}</pre>\n\
         <p>The services then appear on localhost until the share ends. No code? Ask the person who shares the service.</p>\n\
         <p>connect-hubd {version}, <a href=\"health\">status and features</a></p>\n</body>\n</html>\n",
        hub = escaped(hub),
        version = env!("CARGO_PKG_VERSION"),
    )
}

/// A text as HTML may have it.
fn escaped(text: &str) -> String {
    text.chars().fold(String::with_capacity(text.len()), |mut escaped, c| {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            c => escaped.push(c),
        }
        escaped
    })
}
