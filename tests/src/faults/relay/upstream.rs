//! Who is behind the relay, and how it is asked.

use std::net::SocketAddr;

use anyhow::{Context as _, Result};
use axum::body::{Body, Bytes};
use axum::http::{HeaderValue, Request, Response, StatusCode, header, request};
use serde_json::json;

/// Who is asked.
pub enum Upstream {
    /// The API server, as somebody who may do everything.
    Api(kube::Client),
    /// The hub at this address.
    Hub(SocketAddr, reqwest::Client),
}

impl Upstream {
    /// Asks, and gives the answer.
    pub(super) async fn forward(&self, parts: &request::Parts, body: Bytes) -> Result<Response<Body>> {
        match self {
            Self::Api(client) => {
                let mut request = Request::builder().method(parts.method.clone()).uri(parts.uri.clone());
                for name in [header::ACCEPT, header::CONTENT_TYPE] {
                    if let Some(value) = parts.headers.get(&name) {
                        request = request.header(name, value);
                    }
                }
                let request = request.body(kube::client::Body::from(body)).context("it was one before")?;
                let (mut parts, body) =
                    client.send(request).await.context("the API server is away")?.into_parts();
                // The body is decoded, and its length another.
                for name in [header::CONTENT_LENGTH, header::CONTENT_ENCODING, header::TRANSFER_ENCODING] {
                    parts.headers.remove(name);
                }
                Ok(Response::from_parts(parts, Body::new(body)))
            }
            Self::Hub(address, http) => {
                let path = parts.uri.path_and_query().map_or("/", |path| path.as_str());
                let mut headers = parts.headers.clone();
                headers.remove(header::HOST);
                let request = http.request(parts.method.clone(), format!("http://{address}{path}"));
                let answer = request.headers(headers).body(body).send().await.context("the hub is away")?;
                let mut response = Response::builder().status(answer.status());
                for (name, value) in answer.headers() {
                    if *name != header::TRANSFER_ENCODING && *name != header::CONTENT_LENGTH {
                        response = response.header(name, value);
                    }
                }
                let body = answer.bytes().await.context("the hub's answer breaks off")?;
                response.body(Body::from(body)).context("it was one before")
            }
        }
    }
}

/// What the API server, or else a hub, says when it refuses.
pub(super) fn refusal(status: u16, is_api: bool) -> Response<Body> {
    let reason = match status {
        409 => "Conflict",
        410 => "Expired",
        429 => "TooManyRequests",
        500 => "InternalError",
        _ => "ServiceUnavailable",
    };
    let message = "a fault of the tests";
    let body = if is_api {
        json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "message": message, "reason": reason, "code": status})
    } else {
        json!({"statusCode": status, "message": message})
    };
    let mut response = Response::new(Body::from(body.to_string()));
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::SERVICE_UNAVAILABLE);
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    if status == 429 {
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
    }
    response
}
